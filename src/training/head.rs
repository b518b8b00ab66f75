//! Solves for the classifier on the features of all photos at once.

use std::time::Instant;

use anyhow::Context;
use tch::Tensor;

use super::callback::Callback;
use super::checkpoint::{Resumed, State};
use super::epoch::{announced, class_weights};
use super::features::{FeatureCache, FeatureSource, ViewCost};
use super::job::Job;
use super::network::Network;
use super::phase::{Phase, Views};
use super::profile::{Profile, Stopwatch};
use super::solver::{Chunk, Fitted, LinearHead, Objective, Samples};
use super::tensors::{self, torch};
use super::trainer::PhaseTrainer;
use super::validator::{Validator, by_network};
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
        _validator: &mut Validator,
        callback: &mut dyn Callback,
    ) -> Result<(Epoch, Profile)> {
        let mut profile = Profile::default();
        let (started, mut watch) = (Instant::now(), Stopwatch::start());
        let images = self.job.train.len();
        let announced = announced(self.job, self.phase, state, images);
        self.job.together(callback.on_event(&announced))?;
        let cost = self.extract(callback)?;
        let extracting = watch.lap();
        profile.add_loading(cost.waited, cost.worked);
        profile.features = extracting - profile.waiting;
        let Solved {
            trained, validated, ..
        } = self.solved(&mut profile)?;
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
            let is_last = budget.map(|budget| !budget.allows_view(last));
            if self.job.decided(is_last)? {
                break;
            }
        }
        Ok(whole)
    }

    /// What process 0 solves for, in every process's network.
    fn solved(&self, profile: &mut Profile) -> Result<Solved> {
        let Some(group) = self.job.group else {
            return self.solve(profile);
        };
        let own = match group.is_first() {
            true => self.solve(profile).map(Some),
            false => Ok(None),
        };
        let own = group.patiently(|| group.together(own))?;
        let (classes, features) = self.sizes()?;
        let mut numbers = match own {
            Some(solved) => solved.to_numbers()?,
            None => vec![0.0; Solved::numbers(classes, features)],
        };
        group.add_up(&mut numbers)?;
        let solved = Solved::from_numbers(&numbers, classes, features)?;
        self.assign(&solved.head)?;
        Ok(solved)
    }

    /// Classes and features of the classifier.
    fn sizes(&self) -> Result<(i64, i64)> {
        match &self.classifier()?.op {
            Op::Linear(linear) => Ok((linear.out_features as i64, linear.in_features as i64)),
            _ => anyhow::bail!("the classifier is a linear layer"),
        }
    }

    /// Solves with every weight decay, on as many rows as fit in memory, and once with that of the
    /// smallest validation loss on all of them; where few photos validate, the loss tells heads apart
    /// that the accuracy does not.
    fn solve(&self, profile: &mut Profile) -> Result<Solved> {
        let Self { job, network, .. } = *self;
        let source = self.cache.source(self.head).context("the head's cut")?;
        let held = HeldSamples::new(job, &source, HELD)?;
        let (classes, features) = self.sizes()?;
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
            let mut watch = Stopwatch::start();
            let batches = source.evaluated(network, job.val);
            let predictions = by_network(job, network, batches, &mut |_| Ok(()))?;
            profile.validation += watch.lap();
            let found = Evaluation::of(&predictions)?;
            Ok::<_, anyhow::Error>(Fitted {
                loss: found.loss,
                accuracy: found.accuracy,
            })
        };
        let mut best: Option<(Fitted, LinearHead, f64)> = None;
        let mut head = LinearHead::zeros(classes, features)?;
        for weight_decay in WEIGHT_DECAYS {
            head = objective(weight_decay).minimise(&held, &head)?;
            let found = validate(&head)?;
            let is_better = |best: &Fitted| found.loss < best.loss;
            if best.as_ref().is_none_or(|(best, ..)| is_better(best)) {
                best = Some((found, head.shallow_clone(), weight_decay));
            }
        }
        let (validated, head, weight_decay) = best.context("there is a weight decay")?;
        if held.is_all {
            self.assign(&head)?;
            return Ok(Solved {
                trained: head.fitted(&held)?,
                validated,
                head,
            });
        }
        let all = StoredSamples::new(job, &source);
        let head = objective(weight_decay).minimise(&all, &head)?;
        let validated = validate(&head)?;
        Ok(Solved {
            trained: head.fitted(&all)?,
            validated,
            head,
        })
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

/// A head, and how well it fits the photos to train and to validate on.
struct Solved {
    trained: Fitted,
    validated: Fitted,
    head: LinearHead,
}

impl Solved {
    /// How many numbers it is.
    fn numbers(classes: i64, features: i64) -> usize {
        4 + (classes * features + classes) as usize
    }

    fn to_numbers(&self) -> Result<Vec<f64>> {
        let Self {
            trained, validated, ..
        } = self;
        let mut numbers = vec![
            trained.loss,
            trained.accuracy,
            validated.loss,
            validated.accuracy,
        ];
        for tensor in [&self.head.weight, &self.head.bias] {
            let (from, count) = (numbers.len(), tensor.numel());
            numbers.resize(from + count, 0.0);
            torch(tensor.f_copy_data(&mut numbers[from..], count))?;
        }
        Ok(numbers)
    }

    fn from_numbers(numbers: &[f64], classes: i64, features: i64) -> Result<Self> {
        let fitted = |from: usize| Fitted {
            loss: numbers[from],
            accuracy: numbers[from + 1],
        };
        let (weight, bias) = numbers[4..].split_at((classes * features) as usize);
        let weight = Tensor::f_from_slice(weight).and_then(|all| all.f_view([classes, features]));
        Ok(Self {
            trained: fitted(0),
            validated: fitted(2),
            head: LinearHead {
                weight: torch(weight)?,
                bias: torch(Tensor::f_from_slice(bias))?,
            },
        })
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
