//! Solves for the classifier on the features of all photos at once.

use std::time::Instant;

use anyhow::Context;

use super::callback::Callback;
use super::checkpoint::{Resumed, State};
use super::epoch::{announced, class_weights};
use super::features::{FeatureCache, FeatureSource, ViewCost};
use super::job::Job;
use super::network::Network;
use super::phase::{Phase, Views};
use super::profile::{Profile, Stopwatch};
use super::solver::{Chunk, Fitted, LinearHead, Objective, Samples};
use super::source::BatchSource;
use super::tensors;
use super::trainer::PhaseTrainer;
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
/// As many rows at most stay in memory, and choose the weight decay.
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
        let (trained, validated) = self.solve(validator, &mut profile)?;
        profile.solver = watch.lap() - profile.validation;
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

    /// Solves with every weight decay, on as many rows as fit in memory, and once with that of the
    /// smallest validation loss on all of them; where few photos validate, the loss tells heads apart
    /// that the accuracy does not. Gives its training loss and accuracy, and its validation.
    fn solve(
        &self,
        validator: &mut Validator,
        profile: &mut Profile,
    ) -> Result<(Fitted, Evaluation)> {
        let Self { job, network, .. } = *self;
        let source = self.cache.source(self.head).context("the head's cut")?;
        let held = HeldSamples::new(job, &source, HELD)?;
        let Op::Linear(linear) = &self.classifier()?.op else {
            anyhow::bail!("the classifier is a linear layer");
        };
        let (classes, features) = (linear.out_features as i64, linear.in_features as i64);
        let config = job.run.config();
        let class_weights = config.class_weights.then(|| class_weights(job));
        let objective = |weight_decay| Objective {
            weight_decay,
            label_smoothing: config.label_smoothing,
            taught: config.distillation().map_or(0.0, |found| found.weight),
            class_weights: class_weights.as_deref(),
        };
        let mut validate = |head: &LinearHead| {
            self.assign(head)?;
            let cached = source.validation(network, job.val);
            validator.measure(job, network, cached, profile, &mut |_| Ok(()))
        };
        let mut best: Option<(Evaluation, LinearHead, f64)> = None;
        let mut head = LinearHead::zeros(classes, features)?;
        for weight_decay in WEIGHT_DECAYS {
            head = objective(weight_decay).minimise(&held, &head)?;
            let found = validate(&head)?;
            let is_better = |best: &Evaluation| found.loss < best.loss;
            if best.as_ref().is_none_or(|(best, ..)| is_better(best)) {
                best = Some((found, head.shallow_clone(), weight_decay));
            }
        }
        let (validated, head, weight_decay) = best.context("there is a weight decay")?;
        if held.is_all {
            self.assign(&head)?;
            return Ok((head.fitted(&held)?, validated));
        }
        let all = StoredSamples::new(job, &source);
        let head = objective(weight_decay).minimise(&all, &head)?;
        let validated = validate(&head)?;
        Ok((head.fitted(&all)?, validated))
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

/// The features of the training photos' views, read anew each time.
struct StoredSamples<'a> {
    source: &'a FeatureSource<'a>,
    rows: Vec<u64>,
    labels: Vec<i64>,
}

impl<'a> StoredSamples<'a> {
    /// All views of all photos.
    fn new(job: &Job<'_>, source: &'a FeatureSource<'a>) -> Self {
        Self::every(1, job, source)
    }

    /// Every `nth` view of each photo, beginning with another view from photo to photo.
    fn every(nth: usize, job: &Job<'_>, source: &'a FeatureSource<'a>) -> Self {
        let photos = || job.train.iter().enumerate();
        let all = (0..source.features.views())
            .flat_map(|view| photos().map(move |(at, &photo)| (at, photo, view)));
        let kept = all.filter(|&(at, _, view)| (at + view).is_multiple_of(nth));
        let known = kept.filter_map(|(_, photo, view)| {
            let row = source.features.row(photo, view)?;
            Some((row, job.photos[photo].class as i64))
        });
        let (rows, labels) = known.unzip();
        Self {
            source,
            rows,
            labels,
        }
    }
}

impl Samples for StoredSamples<'_> {
    fn for_each(&self, each: &mut dyn FnMut(&Chunk) -> Result<()>) -> Result<()> {
        let FeatureSource {
            features,
            level,
            taught,
            ..
        } = *self.source;
        for (rows, labels) in self.rows.chunks(CHUNK).zip(self.labels.chunks(CHUNK)) {
            let read = |level| features.read(level, rows, Device::Cpu);
            each(&Chunk {
                x: read(level)?,
                labels: tensors::labels(labels, Device::Cpu)?,
                taught: taught.map(read).transpose()?,
            })?;
        }
        Ok(())
    }
}

/// Features in memory.
struct HeldSamples {
    chunks: Vec<Chunk>,
    /// Whether they are all that there are.
    is_all: bool,
}

impl HeldSamples {
    /// Views of as many photos as possible, in about `most` rows.
    fn new(job: &Job<'_>, source: &FeatureSource<'_>, most: usize) -> Result<Self> {
        let rows = job.train.len() * source.features.views();
        let nth = rows.div_ceil(most).max(1);
        let mut chunks = Vec::new();
        StoredSamples::every(nth, job, source).for_each(&mut |chunk| {
            chunks.push(chunk.shallow_clone());
            Ok(())
        })?;
        Ok(Self {
            chunks,
            is_all: nth == 1,
        })
    }
}

impl Samples for HeldSamples {
    fn for_each(&self, each: &mut dyn FnMut(&Chunk) -> Result<()>) -> Result<()> {
        self.chunks.iter().try_for_each(each)
    }
}
