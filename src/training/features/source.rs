//! Batches of cached features.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::cut::Cut;
use super::store::Features;
use crate::data::{Photo, Worked};
use crate::distributed::Share;
use crate::error::Result;
use crate::training::network::{Activations, Network};
use crate::training::source::{BatchSource, Batches, DeviceBatch};

/// The features of photos at one cut. An epoch shows each photo once, in a view that is drawn at
/// random.
pub(crate) struct FeatureSource<'a> {
    pub features: &'a Features,
    /// The position of the cut in the features.
    pub level: usize,
    /// That of what the teachers say.
    pub taught: Option<usize>,
    pub cut: Cut,
    pub photos: &'a [Photo],
    pub batch_size: usize,
    pub seed: u64,
    /// What this process takes of each batch, and of the photos to validate on.
    pub share: Share,
}

impl BatchSource for FeatureSource<'_> {
    fn batches<'a>(
        &'a self,
        network: &'a Network,
        order: Vec<usize>,
        epoch: u64,
    ) -> Result<Box<dyn Batches + 'a>> {
        let row = |photo| self.drawn(photo, epoch);
        let parts = order
            .chunks(self.batch_size)
            .map(|photos| &photos[self.share.of_batch(photos.len())]);
        Ok(self.in_batches(network, parts, row))
    }

    fn validation<'a>(
        &'a self,
        network: &'a Network,
        photos: &[usize],
    ) -> Option<Box<dyn Batches + 'a>> {
        Some(self.evaluated(network, &photos[self.share.of(photos.len())]))
    }
}

impl FeatureSource<'_> {
    /// Batches of photos as evaluation sees them, for this process alone.
    pub(crate) fn evaluated<'a>(
        &'a self,
        network: &'a Network,
        photos: &[usize],
    ) -> Box<dyn Batches + 'a> {
        let row = |photo| self.features.row(photo, 0);
        self.in_batches(network, photos.chunks(self.batch_size), row)
    }

    /// Batches of those of the photos that have a row.
    fn in_batches<'a, 'p>(
        &'a self,
        network: &'a Network,
        batches: impl Iterator<Item = &'p [usize]>,
        row: impl Fn(usize) -> Option<u64>,
    ) -> Box<dyn Batches + 'a> {
        let rows = batches.map(|photos| {
            let with_row = |&photo: &usize| Some((photo, row(photo)?));
            photos.iter().filter_map(with_row).collect()
        });
        Box::new(FeatureBatches {
            source: self,
            network,
            rows: rows.collect::<Vec<_>>().into_iter(),
            waited: Duration::ZERO,
        })
    }

    /// The row of a photo in one of its views; `None` if it could not be decoded.
    fn drawn(&self, photo: usize, epoch: u64) -> Option<u64> {
        let digest = Sha256::new()
            .chain_update(b"view")
            .chain_update(self.seed.to_le_bytes())
            .chain_update(epoch.to_le_bytes())
            .chain_update(self.photos[photo].hash)
            .finalize();
        let views = self.features.views().max(1);
        let drawn = self.features.row(photo, usize::from(digest[0]) % views);
        // A time budget may have cut the view short.
        drawn.or_else(|| self.features.row(photo, 0))
    }
}

struct FeatureBatches<'a> {
    source: &'a FeatureSource<'a>,
    network: &'a Network,
    /// The photos of each batch with their rows.
    rows: std::vec::IntoIter<Vec<(usize, u64)>>,
    waited: Duration,
}

impl FeatureBatches<'_> {
    fn batch(&self, photos: &[(usize, u64)]) -> Result<DeviceBatch> {
        let FeatureSource {
            features,
            level,
            taught,
            cut,
            photos: all,
            ..
        } = *self.source;
        let rows: Vec<u64> = photos.iter().map(|&(_, row)| row).collect();
        let device = self.network.device();
        let values = features.read(level, &rows, device)?;
        let taught = taught.map(|level| features.read(level, &rows, device));
        let label = |&(photo, _): &(usize, u64)| all[photo].class as i64;
        Ok(DeviceBatch {
            first: cut.first.index(),
            values: Activations::from([(cut.value, values)]),
            labels: photos.iter().map(label).collect(),
            taught: taught.transpose()?,
        })
    }
}

impl Iterator for FeatureBatches<'_> {
    type Item = Result<DeviceBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let started = Instant::now();
        let photos = self.rows.next()?;
        let batch = self.batch(&photos);
        self.waited += started.elapsed();
        Some(batch)
    }
}

impl Batches for FeatureBatches<'_> {
    fn waited(&self) -> Duration {
        self.waited
    }

    fn worked(&self) -> Worked {
        Worked::default()
    }
}
