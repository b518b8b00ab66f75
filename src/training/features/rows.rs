//! Features of some photos on their way into the files, from one process or from several.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::distributed::Group;
use crate::error::Result;

/// The features of some photos.
pub(super) struct Rows {
    pub(super) photos: Vec<usize>,
    /// For each node its rows, float16 in memory order, row-major.
    pub(super) levels: Vec<Vec<u8>>,
}

impl Rows {
    /// Those of photos, given each node's rows, row-major.
    pub(super) fn new(photos: Vec<usize>, values: &[Vec<f32>]) -> Self {
        Self {
            photos,
            levels: values.iter().map(|values| to_f16(values)).collect(),
        }
    }

    /// Those of no photos, at so many nodes.
    pub(super) fn empty(levels: usize) -> Self {
        Self {
            photos: Vec::new(),
            levels: vec![Vec::new(); levels],
        }
    }

    /// The rows of all processes, by rank.
    ///
    /// # Errors
    /// As [`Group::gather`].
    pub(super) fn gathered(self, group: &Group) -> Result<Vec<Self>> {
        let photos = self.photos.iter();
        let photos: Vec<u8> = photos
            .flat_map(|&photo| (photo as u64).to_le_bytes())
            .collect();
        let parts = group.gather(&photos)?.into_iter().map(|bytes| {
            let (numbers, _) = bytes.as_chunks();
            let photos = numbers
                .iter()
                .map(|&number| u64::from_le_bytes(number) as usize);
            Self {
                photos: photos.collect(),
                levels: Vec::new(),
            }
        });
        let mut parts: Vec<Self> = parts.collect();
        for level in &self.levels {
            for (part, bytes) in parts.iter_mut().zip(group.gather(level)?) {
                part.levels.push(bytes);
            }
        }
        Ok(parts)
    }
}

/// float16 in memory order, little-endian. Larger values become the largest finite ones.
fn to_f16(values: &[f32]) -> Vec<u8> {
    let limit = f16::MAX.to_f32();
    let clamped: Vec<f32> = values.iter().map(|x| x.clamp(-limit, limit)).collect();
    let mut halves = vec![f16::ZERO; values.len()];
    halves.convert_from_f32_slice(&clamped);
    halves.iter().flat_map(|half| half.to_ne_bytes()).collect()
}
