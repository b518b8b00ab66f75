//! The features of a run: computed when a phase needs them, and kept in its folder.

use std::path::Path;

use super::copied::copy_from_first;
use super::cut::Cut;
use super::extract::{Extractor, ViewCost, key};
use super::source::FeatureSource;
use super::store::Features;
use crate::data::content::{hex, sha256};
use crate::data::loader::epoch_order;
use crate::error::Result;
use crate::graph::NodeId;
use crate::image::augment::Augmentations;
use crate::training::callback::Callback;
use crate::training::job::Job;
use crate::training::network::Network;

/// Features at the cuts of a run's phases.
pub(crate) struct FeatureCache<'a> {
    job: &'a Job<'a>,
    cuts: Vec<Cut>,
    features: Features,
    /// Views that the phases want in all.
    wanted: usize,
    /// Compiled while views are missing.
    extractor: Option<Extractor<'a>>,
}

impl<'a> FeatureCache<'a> {
    /// Opens the features of a run, cut before the first trained node of each of its phases, in its
    /// folder or where it shares them. So many views are wanted in all.
    ///
    /// # Errors
    /// Those of [`Cut::before`] and [`Features::open`].
    pub(crate) fn open(
        job: &'a Job<'a>,
        folder: &Path,
        network: &Network,
        trained: &[NodeId],
        wanted: usize,
    ) -> Result<Self> {
        let graph = network.graph();
        let cuts = trained.iter().map(|&first| Cut::before(graph, first));
        let cuts = cuts.collect::<Result<Vec<_>>>()?;
        let shapes = cuts.iter().map(|cut| cut.shape(graph));
        // What the teachers say comes after what the cuts hold.
        let taught = job.teacher.map(|teacher| vec![teacher.classes() as i64]);
        let shapes = shapes.chain(taught).collect();
        let key = key(job, network, &cuts)?;
        let shared = job.shared_features.as_ref();
        let shared = shared.map(|all| all.join(&hex(&sha256(&[key.as_bytes()]))[..16]));
        let features = match job.share().rank {
            0 => Features::open(shared.as_deref().unwrap_or(folder), key, shapes),
            _ => Features::temporary(shapes),
        };
        Ok(Self {
            features: features?,
            job,
            cuts,
            wanted,
            extractor: None,
        })
    }

    /// Gives the other processes the features that process 0 has of a run that is resumed.
    ///
    /// # Errors
    /// Those of any process.
    pub(crate) fn agree(mut self) -> Result<Self> {
        if let Some(group) = self.job.group {
            copy_from_first(&mut self.features, group)?;
        }
        Ok(self)
    }

    /// Computes views until there are so many; the first is the photos as evaluation sees them.
    ///
    /// # Errors
    /// Those of [`Extractor::add_view`].
    pub(crate) fn extend(
        &mut self,
        network: &Network,
        views: usize,
        augmentations: &Augmentations,
        callback: &mut dyn Callback,
    ) -> Result<ViewCost> {
        let mut cost = ViewCost::default();
        let wanted = self.wanted.max(views);
        while self.features.views() < views {
            let extractor = match self.extractor.take() {
                Some(extractor) => extractor,
                None => {
                    let compiled = Extractor::new(self.job, network, &self.cuts);
                    self.job.together(compiled)?
                }
            };
            let (photos, random) = match self.features.views() {
                0 => (self.plain_order(), None),
                _ => (self.job.train.to_vec(), Some(augmentations)),
            };
            cost += extractor.add_view(&mut self.features, wanted, photos, random, callback)?;
            self.extractor = Some(extractor);
        }
        Ok(cost)
    }

    /// All photos; under a time budget in random order, so that any beginning holds every class, with
    /// one to validate on first.
    fn plain_order(&self) -> Vec<usize> {
        let Job { train, val, .. } = *self.job;
        let all = [val, train].concat();
        if self.job.budget.is_none() {
            return all;
        }
        let seed = self.job.run.config().seed;
        let mut order = epoch_order(all.len(), seed, 0);
        if let Some(first) = order.iter().position(|&at| at < val.len()) {
            order.swap(0, first);
        }
        order.into_iter().map(|at| all[at]).collect()
    }

    /// Removes the features, which the model does not need.
    pub(crate) fn remove(self) {
        self.features.remove();
    }

    /// Frees what only the computation of further views needs.
    pub(crate) fn release_extractor(&mut self) {
        self.extractor = None;
    }

    /// The features that a phase trains on, by its first trained node.
    pub(crate) fn source(&self, first: NodeId) -> Option<FeatureSource<'_>> {
        let level = self.cuts.iter().position(|cut| cut.first == first)?;
        let config = self.job.run.config();
        Some(FeatureSource {
            features: &self.features,
            level,
            taught: self.job.teacher.map(|_| self.cuts.len()),
            cut: self.cuts[level],
            photos: &self.job.photos,
            batch_size: config.batch_size,
            seed: config.seed,
            share: self.job.share(),
        })
    }
}
