//! Where the batches of a phase come from: photos, or whatever else gives a network its values.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tch::Tensor;

use super::job::Job;
use super::network::{Activations, Network};
use super::teacher::Teacher;
use super::tensors::torch;
use crate::data::loader::{Batch, Loader, Transform};
use crate::data::{BatchOrder, DecodedCache, Photo, Undecodable, Worked};
use crate::distributed::Share;
use crate::error::Result;
use crate::image::augment::Augmentations;
use crate::image::{Limits, Preprocessing};
use crate::torch::Normalise;

/// A data set as batches on the network's device. Of several processes, each has a part of every batch.
pub(super) trait BatchSource {
    /// The batches of an epoch, counted from 0: `order` holds indices of photos in the data set, the
    /// epoch chooses the random augmentations. The batches depend on these alone, so an epoch can be
    /// resumed with the rest of its order.
    fn batches<'a>(
        &'a self,
        network: &'a Network,
        order: Vec<usize>,
        epoch: u64,
    ) -> Result<Box<dyn Batches + 'a>>;

    /// Batches to validate the network on, from where the frozen layers end; `None` where validation
    /// has to start from the photos.
    fn validation<'a>(
        &'a self,
        _network: &'a Network,
        _photos: &[usize],
    ) -> Option<Box<dyn Batches + 'a>> {
        None
    }
}

/// The batches of an epoch. The iterator ends after the first error.
pub(super) trait Batches: Iterator<Item = Result<DeviceBatch>> {
    /// Time spent waiting for batches so far.
    fn waited(&self) -> Duration;

    /// What the threads that make them spent their time on so far.
    fn worked(&self) -> Worked;

    /// Time that the teachers took so far.
    fn teaching(&self) -> Duration {
        Duration::ZERO
    }
}

/// A batch that a network can run on.
pub(super) struct DeviceBatch {
    /// Index of the first node that is still to be run.
    pub first: usize,
    /// The values that it starts from; see [`Network::forward_range`].
    pub values: Activations,
    /// Class ids (n).
    pub labels: Vec<i64>,
    /// Probabilities that the teachers give, float32 (n, classes).
    pub taught: Option<Tensor>,
}

/// Photos, decoded and transformed ahead by worker threads. They stay 8-bit until they are on the
/// device.
pub(super) struct PhotoSource<'j> {
    /// Sees the same views.
    pub teacher: Option<&'j Teacher>,
    pub photos: Arc<[Photo]>,
    /// Counts the photos that are left out because they can't be decoded.
    pub undecodable: Arc<Undecodable>,
    pub preprocessing: Preprocessing,
    pub augmentations: Augmentations,
    pub limits: Limits,
    pub batch_size: usize,
    pub workers: usize,
    pub seed: u64,
    pub cache: Option<Arc<DecodedCache>>,
    /// What this process takes of each batch.
    pub share: Share,
}

impl<'j> PhotoSource<'j> {
    /// The photos of a run with these augmentations.
    pub(super) fn new(job: &Job<'j>, augmentations: &Augmentations) -> Self {
        let config = job.run.config();
        Self {
            teacher: job.teacher,
            photos: Arc::clone(&job.photos),
            undecodable: Arc::clone(&job.undecodable),
            preprocessing: job.run.manifest().preprocessing.clone(),
            augmentations: augmentations.clone(),
            limits: job.limits,
            batch_size: config.batch_size,
            workers: job.workers(),
            seed: config.seed,
            cache: job.cache.clone(),
            share: job.share(),
        }
    }
}

impl BatchSource for PhotoSource<'_> {
    fn batches<'a>(
        &'a self,
        network: &'a Network,
        order: Vec<usize>,
        epoch: u64,
    ) -> Result<Box<dyn Batches + 'a>> {
        let transform = Transform {
            limits: self.limits,
            preprocessing: self.preprocessing.clone(),
            augmentations: Some(self.augmentations.clone()),
            seed: self.seed,
            epoch,
            cache: self.cache.clone(),
        };
        let photos = Arc::clone(&self.photos);
        let part = |count| self.share.of_batch(count);
        let order = BatchOrder::parts(&order, self.batch_size, part);
        let loader = Loader::in_batches(photos, order, transform, self.workers)?;
        Ok(Box::new(PhotoBatches {
            loader: loader.tolerating(&self.undecodable),
            network,
            teacher: self.teacher,
            teaching: Duration::ZERO,
            normalise: Normalise::new(&self.preprocessing, network.device()),
        }))
    }
}

struct PhotoBatches<'a> {
    loader: Loader,
    network: &'a Network,
    teacher: Option<&'a Teacher>,
    teaching: Duration,
    normalise: Normalise,
}

impl PhotoBatches<'_> {
    fn batch(&mut self, batch: &Batch) -> Result<DeviceBatch> {
        let taught = match self.teacher {
            Some(teacher) if !batch.labels.is_empty() => {
                let started = Instant::now();
                let taught = teacher.probabilities(&batch.pixels, batch.size)?;
                self.teaching += started.elapsed();
                let shape = [-1, teacher.classes() as i64];
                let taught = Tensor::f_from_slice(&taught).and_then(|x| x.f_reshape(shape));
                let device = self.network.device().into();
                Some(torch(taught.and_then(|x| x.f_to_device(device)))?)
            }
            _ => None,
        };
        let pixels = self.normalise.pixels(&batch.pixels, batch.size)?;
        Ok(DeviceBatch {
            first: 0,
            values: self.network.input(&pixels)?,
            labels: batch.labels.clone(),
            taught,
        })
    }
}

impl Iterator for PhotoBatches<'_> {
    type Item = Result<DeviceBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.loader.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let on_device = self.batch(&batch);
        self.loader.recycle(batch);
        Some(on_device)
    }
}

impl Batches for PhotoBatches<'_> {
    fn waited(&self) -> Duration {
        self.loader.waited()
    }

    fn worked(&self) -> Worked {
        self.loader.worked()
    }

    fn teaching(&self) -> Duration {
        self.teaching
    }
}
