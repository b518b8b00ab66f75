//! Solves for the classifier on the features of all photos at once.

use std::time::Instant;

use anyhow::Context;
use tch::Tensor;

use super::callback::Callback;
use super::checkpoint::{Resumed, State};
use super::features::{FeatureCache, FeatureSource, ViewCost};
use super::job::Job;
use super::network::Network;
use super::phase::{Phase, Views};
use super::profile::{Profile, Stopwatch};
use super::solver::{Fitted, LinearHead, Objective, Samples};
use super::source::BatchSource;
use super::tensors;
use super::trainer::{PhaseTrainer, announced, class_weights};
use super::validator::Validator;
use crate::device::Device;
use crate::error::Result;
use crate::graph::{Node, NodeId, Op};
use crate::metrics::{Epoch, Evaluation};
use crate::weights::StateDict;

/// The weight decays that are tried; the validation loss chooses.
const WEIGHT_DECAYS: [f64; 4] = [1e-2, 3e-3, 1e-3, 3e-4];
/// Rows of features that are read together.
const CHUNK: usize = 4096;
/// As many rows at most stay in memory.
const HELD: usize = 32_768;

/// Solves for the classifier, in one epoch, with as many views of the photos as a time budget allows.
pub(super) struct HeadSolver<'a, 'j> {
    pub job: &'j Job<'j>,
    pub phase: &'a Phase,
    pub network: &'a Network,
    pub cache: &'a mut FeatureCache<'j>,
    pub views: &'a Views,
    /// The first node of the classifier.
    pub head: NodeId,
}

impl PhaseTrainer for HeadSolver<'_, '_> {
    fn restore(&mut self, _resumed: &Resumed) -> Result<()> {
        Ok(())
    }

    fn model(&self) -> &Network {
        self.network
    }

    fn end_phase(&self) -> Result<()> {
        Ok(())
    }

    fn epochs(&mut self, _state: &mut State, _callback: &mut dyn Callback) -> Result<usize> {
        Ok(self.phase.epochs)
    }

    fn epoch(
        &mut self,
        state: &mut State,
        validator: &mut Validator,
        callback: &mut dyn Callback,
    ) -> Result<(Epoch, Profile)> {
        let mut profile = Profile::default();
        let (started, mut watch) = (Instant::now(), Stopwatch::start());
        let images = self.job.train.len();
        callback.on_event(&announced(self.job, self.phase, state, images))?;
        let cost = self.extract(callback)?;
        let extracting = watch.lap();
        profile.add_loading(cost.waited, cost.worked);
        profile.features = extracting - profile.waiting;
        let (trained, validated) = self.solve(validator)?;
        profile.optimizer = watch.lap();
        profile.total = started.elapsed().as_secs_f64();
        let row = Epoch {
            epoch: state.history.len() + 1,
            phase: self.phase.name.into(),
            // There are no steps.
            learning_rate: 0.0,
            train_loss: trained.loss,
            train_accuracy: trained.accuracy,
            val_loss: validated.loss,
            val_accuracy: validated.accuracy,
            images_per_second: cost.photos as f64 / extracting,
            waiting: profile.waiting / profile.total,
            seconds: profile.total,
            candidate: true,
        };
        Ok((row, profile))
    }

    fn save(&self, state: &State) -> Result<()> {
        let run = self.job.run;
        run.save_checkpoint(state, self.network, StateDict::new(), [None, None])
    }
}

impl HeadSolver<'_, '_> {
    /// Computes the features of the views.
    fn extract(&mut self, callback: &mut dyn Callback) -> Result<ViewCost> {
        let (network, budget) = (self.network, self.job.budget);
        let mut whole = ViewCost::default();
        let mut watch = Stopwatch::start();
        for views in 1..=self.views.count {
            let augmentations = &self.views.augmentations;
            whole += self.cache.extend(network, views, augmentations, callback)?;
            let last = watch.lap();
            if budget.is_some_and(|budget| !budget.allows_view(last)) {
                break;
            }
        }
        Ok(whole)
    }

    /// Solves with every weight decay, and keeps the head with the smallest validation loss, which
    /// tells them apart where few photos validate. Gives its training loss and accuracy, and its
    /// validation.
    fn solve(&self, validator: &mut Validator) -> Result<(Fitted, Evaluation)> {
        let Self { job, network, .. } = *self;
        let source = self.cache.source(self.head).context("the head's cut")?;
        let samples = HeadSamples::new(job, &source)?;
        let Op::Linear(linear) = &self.classifier()?.op else {
            anyhow::bail!("the classifier is a linear layer");
        };
        let (classes, features) = (linear.out_features as i64, linear.in_features as i64);
        let mut best: Option<(Evaluation, LinearHead)> = None;
        let mut ignored = Profile::default();
        let mut head = LinearHead::zeros(classes, features)?;
        let config = job.run.config();
        let class_weights = config.class_weights.then(|| class_weights(job));
        for weight_decay in WEIGHT_DECAYS {
            let objective = Objective {
                weight_decay,
                label_smoothing: config.label_smoothing,
                class_weights: class_weights.as_deref(),
            };
            head = objective.minimise(&samples, &head)?;
            self.assign(&head)?;
            let each = &mut |_| Ok(());
            let cached = source.validation(network, job.val);
            let found = validator.measure(job, network, cached, &mut ignored, each)?;
            let is_better = |best: &Evaluation| found.loss < best.loss;
            if best.as_ref().is_none_or(|(best, _)| is_better(best)) {
                best = Some((found, head.shallow_clone()));
            }
        }
        let (validated, head) = best.context("there is a regularisation")?;
        self.assign(&head)?;
        Ok((head.fitted(&samples)?, validated))
    }

    /// The one linear layer of the head.
    fn classifier(&self) -> Result<&Node> {
        let head = self.network.graph().iter().skip(self.head.index());
        let mut linear = head.filter(|(_, node)| matches!(node.op, Op::Linear(_)));
        match (linear.next(), linear.next()) {
            (Some((_, classifier)), None) => Ok(classifier),
            _ => anyhow::bail!("a head that is solved for has one linear layer"),
        }
    }

    fn assign(&self, head: &LinearHead) -> Result<()> {
        let name = &self.classifier()?.name;
        self.network
            .assign(&format!("{name}.weight"), &head.weight)?;
        self.network.assign(&format!("{name}.bias"), &head.bias)
    }
}

/// The features of all views of the training photos, in memory as long as they are few.
struct HeadSamples<'a> {
    source: &'a FeatureSource<'a>,
    rows: Vec<u64>,
    labels: Vec<i64>,
    held: Vec<(Tensor, Tensor)>,
}

impl<'a> HeadSamples<'a> {
    fn new(job: &Job<'_>, source: &'a FeatureSource<'a>) -> Result<Self> {
        let views = 0..source.features.views();
        let all = views.flat_map(|view| job.train.iter().map(move |&photo| (photo, view)));
        let known = all.filter_map(|(photo, view)| {
            let row = source.features.row(photo, view)?;
            Some((row, job.photos[photo].class as i64))
        });
        let (rows, labels) = known.unzip();
        let mut samples = Self {
            source,
            rows,
            labels,
            held: Vec::new(),
        };
        if samples.rows.len() <= HELD {
            let mut held = Vec::new();
            samples.for_each(&mut |x, labels| {
                held.push((x.shallow_clone(), labels.shallow_clone()));
                Ok(())
            })?;
            samples.held = held;
        }
        Ok(samples)
    }
}

impl Samples for HeadSamples<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&Tensor, &Tensor) -> Result<()>) -> Result<()> {
        if !self.held.is_empty() {
            return self.held.iter().try_for_each(|(x, labels)| each(x, labels));
        }
        let FeatureSource {
            features, level, ..
        } = *self.source;
        for (rows, labels) in self.rows.chunks(CHUNK).zip(self.labels.chunks(CHUNK)) {
            let x = features.read(level, rows, Device::Cpu)?;
            each(&x, &tensors::labels(labels, Device::Cpu)?)?;
        }
        Ok(())
    }
}
