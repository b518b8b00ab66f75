//! Computes features with an inference backend.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use super::cut::Cut;
use super::store::Features;
use crate::data::loader::Transform;
use crate::data::{Loader, Worked};
use crate::error::{Error, Result};
use crate::graph::InferenceGraph;
use crate::image::augment::Augmentations;
use crate::inference::{self, FeatureExtractor, Images, Options};
use crate::training::callback::{Callback, Event};
use crate::training::job::Job;
use crate::training::network::Network;

/// Photos that are decoded and run together.
const BATCH: usize = 32;
/// The fewest photos that features are computed of, whatever the time budget.
const FEWEST: usize = 64;

/// The frozen layers of a network, compiled in the fastest precision of the machine.
pub(crate) struct Extractor<'a> {
    job: &'a Job<'a>,
    backend: Box<dyn FeatureExtractor>,
}

/// What a view cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ViewCost {
    pub photos: usize,
    /// Time spent waiting for photos, and the work of the threads that load them.
    pub waited: Duration,
    pub worked: Worked,
}

impl AddAssign for ViewCost {
    fn add_assign(&mut self, other: Self) {
        self.photos += other.photos;
        self.waited += other.waited;
        self.worked += other.worked;
    }
}

impl<'a> Extractor<'a> {
    /// Compiles the layers of a network before some cuts.
    ///
    /// # Errors
    /// Those of [`inference::load_extractor`].
    pub(crate) fn new(job: &'a Job<'a>, network: &Network, cuts: &[Cut]) -> Result<Self> {
        let graph = network.graph();
        let deepest = cuts.iter().map(|cut| cut.value).max();
        let part = graph.ending_at(deepest.unwrap_or(graph.output()));
        let folded = InferenceGraph::float(&part, &network.state_dict()?)?;
        let fused_away =
            || Error::Usage("--freeze-until: choose the first layer of a block".into());
        let nodes = cuts.iter().map(|cut| {
            let node = folded.computes(graph, cut.value);
            node.ok_or_else(|| fused_away().into())
        });
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let options = Options::auto(network.device());
        let preprocessing = &job.run.manifest().preprocessing;
        let backend = inference::load_extractor(&folded, preprocessing, &options, &nodes)?;
        Ok(Self { job, backend })
    }

    /// Adds the next view of some photos to the features: the photos as evaluation sees them, or
    /// transformed at random; `views` are wanted in all. A time budget may end it sooner. Photos that
    /// can't be decoded are left out and counted.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when the run is stopped, those of reading photos and of writing
    /// features.
    pub(crate) fn add_view(
        &self,
        features: &mut Features,
        views: usize,
        photos: Vec<usize>,
        augmentations: Option<&Augmentations>,
        callback: &mut dyn Callback,
    ) -> Result<ViewCost> {
        let (config, of) = (self.job.run.config(), photos.len());
        let view = features.views();
        callback.on_event(&Event::Extracting {
            view,
            views,
            images: photos.len(),
        })?;
        let transform = Transform {
            limits: self.job.limits,
            preprocessing: self.job.run.manifest().preprocessing.clone(),
            augmentations: augmentations.cloned(),
            seed: config.seed,
            epoch: view as u64,
            cache: None,
        };
        let all = Arc::clone(&self.job.photos);
        let loader = Loader::new(all, photos, BATCH, transform, config.workers)?;
        let mut loader = loader.tolerating(&self.job.undecodable);
        let mut rows = features.begin_view();
        let mut count = 0;
        while let Some(batch) = loader.next() {
            let batch = batch?;
            if !batch.labels.is_empty() {
                let values = self.backend.values(Images::Rgb8(&batch.pixels))?;
                let mut values: Vec<Vec<f32>> =
                    values.into_iter().map(|node| node.values).collect();
                if let Some(teacher) = self.job.teacher {
                    values.push(teacher.probabilities(&batch.pixels, batch.size)?);
                }
                rows.append(&batch.indices, &values)?;
            }
            let images = batch.labels.len();
            count += images;
            loader.recycle(batch);
            callback.on_event(&Event::Extracted { images })?;
            if count >= FEWEST && self.job.budget.is_some_and(|budget| budget.ends_features()) {
                callback.on_event(&Event::FeaturesCut { images: count, of })?;
                break;
            }
            if self.job.is_stopped() {
                return Err(self.job.interrupted());
            }
        }
        rows.finish()?;
        Ok(ViewCost {
            photos: count,
            waited: loader.waited(),
            worked: loader.worked(),
        })
    }
}

/// What the features of a run depend on, as text.
pub(crate) fn key(job: &Job<'_>, network: &Network, cuts: &[Cut]) -> Result<String> {
    let (config, manifest) = (job.run.config(), job.run.manifest());
    let nodes: Vec<&str> = cuts
        .iter()
        .map(|cut| network.graph()[cut.value].name.as_str())
        .collect();
    Ok(serde_json::to_string(&(
        env!("CARGO_PKG_VERSION"),
        (config.arch.name, &config.weights, &config.weights_sha256),
        (config.recipe.name, config.augment, config.random_erasing),
        (config.seed, &manifest.split_sha256, &manifest.preprocessing),
        nodes,
        (&config.teacher_sha256, &config.unlabelled_sha256),
    ))?)
}
