//! Features in files: float16 rows that are read at random, so that memory does not grow with the
//! number of photos.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::rows::Rows;
use crate::device::Device;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::training::tensors::torch;

/// Features of photos at one or more nodes of a network. View 0 of a photo is what evaluation sees,
/// the others are random transforms of it.
pub(crate) struct Features {
    /// `None` for files without a name, which are gone when they are closed.
    folder: Option<PathBuf>,
    levels: Vec<Level>,
    index: Index,
    /// The row of each photo and view.
    rows: HashMap<(usize, usize), u64>,
}

/// The values of one node.
struct Level {
    file: File,
    /// Without the batch dimension, the channels innermost.
    shape: Vec<i64>,
}

/// What the files hold. It is written after each view, and rows that it does not know are cut off.
#[derive(Serialize, Deserialize)]
struct Index {
    /// What the features depend on; with another key they are computed anew.
    key: String,
    /// Indices of the photos of each view, in the order of their rows.
    views: Vec<Vec<usize>>,
}

const INDEX: &str = "index.json";

impl Features {
    /// Opens the features of a folder, or makes it. `shapes` are those of the nodes, (channels) or
    /// (height, width, channels).
    ///
    /// # Errors
    /// [`Error::Environment`] when the folder can't be written to.
    pub(crate) fn open(folder: &Path, key: String, shapes: Vec<Vec<i64>>) -> Result<Self> {
        files::create_folder(folder)?;
        let stored = std::fs::read(folder.join(INDEX)).ok();
        let stored = stored.and_then(|text| serde_json::from_slice::<Index>(&text).ok());
        let index = stored.filter(|index| index.key == key);
        let index = index.unwrap_or(Index {
            key,
            views: Vec::new(),
        });
        let opened = |(level, shape): (usize, Vec<i64>)| {
            let path = folder.join(format!("{level}.f16"));
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false);
            let file = options.open(&path);
            file.map(|file| Level { file, shape })
                .map_err(|cause| unusable(&path, &cause))
        };
        let levels = shapes.into_iter().enumerate().map(opened);
        let mut features = Self {
            folder: Some(folder.into()),
            levels: levels.collect::<Result<_>>()?,
            index,
            rows: HashMap::new(),
        };
        features.cut()?;
        Ok(features)
    }

    /// No features, in the system's folder for temporary files.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written to.
    pub(crate) fn temporary(shapes: Vec<Vec<i64>>) -> Result<Self> {
        let opened = |shape| {
            let file = tempfile::tempfile();
            file.map(|file| Level { file, shape })
                .map_err(|cause| unusable(&std::env::temp_dir(), &cause))
        };
        Ok(Self {
            folder: None,
            levels: shapes.into_iter().map(opened).collect::<Result<_>>()?,
            index: Index {
                key: String::new(),
                views: Vec::new(),
            },
            rows: HashMap::new(),
        })
    }

    fn place(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Cuts off what an interrupted view left, and lists the rows.
    fn cut(&mut self) -> Result<()> {
        let row = |(view, photos): (usize, &Vec<usize>)| {
            let of_view = move |&photo: &usize| (photo, view);
            photos.iter().map(of_view).collect::<Vec<_>>()
        };
        let listed: Vec<_> = self.index.views.iter().enumerate().flat_map(row).collect();
        let sizes = self.levels.iter().map(|level| {
            let held = level.file.metadata()?.len();
            let known = listed.len() as u64 * level.row_bytes();
            Ok((held >= known).then_some(known))
        });
        let sizes = sizes.collect::<io::Result<Option<Vec<u64>>>>();
        let sizes = sizes.map_err(|cause| unusable(&self.place(), &cause))?;
        self.rows.clear();
        if sizes.is_some() {
            self.rows.extend(listed.into_iter().zip(0..));
        } else {
            // A file is shorter than the index says: nothing can be trusted.
            self.index.views.clear();
        }
        for (level, size) in self
            .levels
            .iter()
            .zip(sizes.unwrap_or(vec![0; self.levels.len()]))
        {
            let cut = level.file.set_len(size);
            cut.map_err(|cause| unusable(&self.place(), &cause))?;
        }
        Ok(())
    }

    /// Number of nodes.
    pub(super) fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Number of photos in a complete view.
    pub(super) fn photos(&self, view: usize) -> usize {
        self.index.views[view].len()
    }

    /// Rows of a complete view as they are stored.
    ///
    /// # Errors
    /// [`Error::Environment`] when a file can't be read.
    pub(super) fn stored(&self, view: usize, photos: Range<usize>) -> Result<Rows> {
        let before: usize = self.index.views[..view].iter().map(Vec::len).sum();
        let first = (before + photos.start) as u64;
        let levels = self.levels.iter().map(|level| {
            let mut bytes = vec![0u8; photos.len() * level.row_bytes() as usize];
            let read = read_at(&level.file, &mut bytes, first * level.row_bytes());
            read.map_err(|cause| unusable(&self.place(), &cause))?;
            Ok(bytes)
        });
        Ok(Rows {
            levels: levels.collect::<Result<_>>()?,
            photos: self.index.views[view][photos].to_vec(),
        })
    }

    /// Number of complete views.
    pub(crate) fn views(&self) -> usize {
        self.index.views.len()
    }

    /// The row of a photo, unless it could not be decoded or the view is missing.
    pub(crate) fn row(&self, photo: usize, view: usize) -> Option<u64> {
        self.rows.get(&(photo, view)).copied()
    }

    /// Rows of a view in the making.
    pub(super) fn begin_view(&mut self) -> View<'_> {
        View {
            first: self.rows.len() as u64,
            photos: Vec::new(),
            features: self,
        }
    }

    /// Rows of a node as float32, (n, channels) or (n, channels, height, width) with the channels
    /// innermost in memory, on a device.
    ///
    /// # Errors
    /// [`Error::Environment`] when the file can't be read or memory runs out.
    pub(crate) fn read(&self, level: usize, rows: &[u64], device: Device) -> Result<Tensor> {
        let level = &self.levels[level];
        let row_bytes = level.row_bytes() as usize;
        let mut bytes = vec![0u8; row_bytes * rows.len()];
        for (row, into) in rows.iter().zip(bytes.chunks_mut(row_bytes)) {
            let read = read_at(&level.file, into, row * row_bytes as u64);
            read.map_err(|cause| unusable(&self.place(), &cause))?;
        }
        let mut shape = vec![rows.len() as i64];
        shape.extend(&level.shape);
        let stored = Tensor::f_from_data_size(&bytes, &shape, Kind::Half);
        let there = stored.and_then(|x| x.f_to_device(device.into())?.f_to_kind(Kind::Float));
        match level.shape.len() {
            3 => torch(there.and_then(|x| x.f_permute([0, 3, 1, 2]))),
            _ => torch(there),
        }
    }

    /// Removes the files.
    pub(crate) fn remove(self) {
        if let Some(folder) = self.folder {
            std::fs::remove_dir_all(folder).ok();
        }
    }
}

impl Level {
    fn row_bytes(&self) -> u64 {
        2 * self.shape.iter().product::<i64>() as u64
    }
}

/// A view in the making; it is forgotten unless it is finished.
pub(super) struct View<'a> {
    features: &'a mut Features,
    /// The first row.
    first: u64,
    photos: Vec<usize>,
}

impl View<'_> {
    /// Appends the features of some photos.
    ///
    /// # Errors
    /// [`Error::Environment`] when the disk is full.
    pub(super) fn append(&mut self, rows: &Rows) -> Result<()> {
        let row = self.first + self.photos.len() as u64;
        for (level, bytes) in self.features.levels.iter().zip(&rows.levels) {
            let written = write_at(&level.file, bytes, row * level.row_bytes());
            written.map_err(|cause| full(&self.features.place(), &cause))?;
        }
        self.photos.extend(&rows.photos);
        Ok(())
    }

    /// Makes the view part of the features.
    ///
    /// # Errors
    /// As [`View::append`].
    pub(super) fn finish(self) -> Result<()> {
        let features = self.features;
        let view = features.index.views.len();
        for level in &features.levels {
            let synced = level.file.sync_data();
            synced.map_err(|cause| full(&features.place(), &cause))?;
        }
        let rows = self.photos.iter().map(|&photo| (photo, view));
        features.rows.extend(rows.zip(self.first..));
        features.index.views.push(self.photos);
        let Some(folder) = &features.folder else {
            return Ok(());
        };
        let text = serde_json::to_vec(&features.index)?;
        files::write_atomically(&folder.join(INDEX), |sink| sink.write_all(&text))
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(bytes)
}

#[cfg(not(unix))]
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    use std::io::{Seek, SeekFrom, Write};
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

fn unusable(path: &Path, cause: &io::Error) -> anyhow::Error {
    let path = shown(path);
    Error::Environment(format!("can't use the features in {path}: {cause}")).into()
}

fn full(folder: &Path, cause: &io::Error) -> anyhow::Error {
    let folder = shown(folder);
    let remedy = "free some space, or choose an --out (in process 0) or a TMPDIR (in the others) on a larger disk";
    Error::Environment(format!(
        "can't write features to {folder}: {cause}; {remedy}"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(folder: &Path, key: &str) -> Features {
        Features::open(folder, key.into(), vec![vec![2], vec![1, 2, 3]]).unwrap()
    }

    fn add(features: &mut Features, photos: &[usize], value: f32) {
        let mut view = features.begin_view();
        for &photo in photos {
            let first = photo as f32 + value;
            let map: Vec<f32> = (0..6).map(|at| first + at as f32).collect();
            let rows = Rows::new(vec![photo], &[vec![first, -first], map]);
            view.append(&rows).unwrap();
        }
        view.finish().unwrap();
    }

    fn values(features: &Features, level: usize, rows: &[u64]) -> Vec<f32> {
        let rows = features.read(level, rows, Device::Cpu).unwrap();
        Vec::try_from(rows.contiguous().flatten(0, -1)).unwrap()
    }

    #[test]
    fn rows_are_read_as_they_were_written_after_a_crash_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut features = opened(folder.path(), "a");
        add(&mut features, &[7, 3], 0.0);
        add(&mut features, &[3], 0.5);
        // A view that is never finished.
        let mut view = features.begin_view();
        let rows = Rows::new(vec![7], &[vec![9.0; 2], vec![9.0; 6]]);
        view.append(&rows).unwrap();
        drop(features);

        let features = opened(folder.path(), "a");
        assert_eq!(features.views(), 2);
        let rows = [(3, 0), (3, 1), (7, 0)].map(|(photo, view)| features.row(photo, view));
        assert_eq!(rows, [Some(1), Some(2), Some(0)]);
        assert_eq!(features.row(7, 1), None);
        assert_eq!(values(&features, 0, &[1, 2]), [3.0, -3.0, 3.5, -3.5]);
        // Stored (height, width, channels), read (channels, height, width).
        assert_eq!(
            values(&features, 1, &[0]),
            [7.0, 10.0, 8.0, 11.0, 9.0, 12.0]
        );
        let bytes = folder.path().join("0.f16").metadata().unwrap().len();
        assert_eq!(bytes, 3 * 4);
    }

    #[test]
    fn features_of_something_else_or_cut_short_are_computed_anew() {
        let folder = tempfile::tempdir().unwrap();
        add(&mut opened(folder.path(), "a"), &[1], 0.0);
        let cut = File::options()
            .write(true)
            .open(folder.path().join("1.f16"));
        let key = |key| opened(folder.path(), key).views();
        assert_eq!((key("a"), key("b"), key("a")), (1, 0, 0));
        add(&mut opened(folder.path(), "a"), &[1], 0.0);
        cut.unwrap().set_len(3).unwrap();
        assert_eq!(key("a"), 0);
    }

    #[test]
    fn values_beyond_float16_stay_finite() {
        let folder = tempfile::tempdir().unwrap();
        let mut features = opened(folder.path(), "a");
        let mut view = features.begin_view();
        let rows = Rows::new(vec![0], &[vec![1e9, -1e9], vec![0.0; 6]]);
        view.append(&rows).unwrap();
        view.finish().unwrap();
        assert_eq!(values(&features, 0, &[0]), [65504.0, -65504.0]);
    }
}
