//! Computes features with an inference backend.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use super::cut::Cut;
use super::rows::Rows;
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
        self.job.together(callback.on_event(&Event::Extracting {
            view,
            views,
            images: of,
        }))?;
        let transform = Transform {
            limits: self.job.limits,
            preprocessing: self.job.run.manifest().preprocessing.clone(),
            augmentations: augmentations.cloned(),
            seed: config.seed,
            epoch: view as u64,
            cache: None,
        };
        let all = Arc::clone(&self.job.photos);
        let share = self.job.share();
        let own = photos[share.of(of)].to_vec();
        let loader = Loader::new(all, own, BATCH, transform, self.job.workers());
        let loader = self.job.together(loader)?;
        let mut loader = loader.tolerating(&self.job.undecodable);
        let levels = features.levels();
        let mut view = features.begin_view();
        let mut count = 0;
        let mut told = Ok(());
        // As many for each process: none has more photos than the first.
        for _ in 0..of.div_ceil(share.world).div_ceil(BATCH) {
            let own = told.and_then(|()| self.rows(&mut loader, levels));
            let (parts, stops) = self.gathered(own)?;
            let images: usize = parts.iter().map(|rows| rows.photos.len()).sum();
            count += images;
            told = parts.iter().try_for_each(|rows| view.append(rows));
            told = told.and_then(|()| callback.on_event(&Event::Extracted { images }));
            if stops {
                return Err(self.job.interrupted());
            }
            let is_late = self.job.budget.map(|budget| budget.ends_features());
            if count >= FEWEST && self.job.decided(is_late)? {
                told = told
                    .and_then(|()| callback.on_event(&Event::FeaturesCut { images: count, of }));
                break;
            }
        }
        self.job.together(told.and_then(|()| view.finish()))?;
        Ok(ViewCost {
            photos: count,
            waited: loader.waited(),
            worked: loader.worked(),
        })
    }

    /// The features of the next batch, of no photos after the last.
    fn rows(&self, loader: &mut Loader, levels: usize) -> Result<Rows> {
        let Some(batch) = loader.next() else {
            return Ok(Rows::empty(levels));
        };
        let batch = batch?;
        if batch.labels.is_empty() {
            return Ok(Rows::empty(levels));
        }
        let values = self.backend.values(Images::Rgb8(&batch.pixels))?;
        let mut values: Vec<Vec<f32>> = values.into_iter().map(|node| node.values).collect();
        if let Some(teacher) = self.job.teacher {
            values.push(teacher.probabilities(&batch.pixels, batch.size)?);
        }
        let rows = Rows::new(batch.indices.clone(), &values);
        loader.recycle(batch);
        Ok(rows)
    }

    /// The rows of all processes, and whether one is to stop.
    fn gathered(&self, own: Result<Rows>) -> Result<(Vec<Rows>, bool)> {
        let is_stopped = self.job.is_stopped();
        let Some(group) = self.job.group else {
            return Ok((vec![own?], is_stopped));
        };
        let own = group.together(own)?;
        let [stops] = group.sum(Ok([f64::from(u8::from(is_stopped))]))?;
        Ok((own.gathered(group)?, stops > 0.0))
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
