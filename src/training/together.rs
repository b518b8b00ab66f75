//! What several processes do together in training: steps on their parts of a batch, and validation.

use tch::Tensor;

use super::gradients::Gradients;
use super::job::Job;
use super::optimizer::Optimizer;
use super::profile::{Profile, Stopwatch};
use super::source::DeviceBatch;
use super::step::{Computed, Seeds, Step};
use super::tensors::torch;
use crate::distributed::Group;
use crate::error::Result;
use crate::labels::Labels;
use crate::metrics::{Outcome, Predictions};

/// Gradients of fewer values than this go together: a collective operation of their own costs more than
/// copying them.
const SMALL: usize = 1 << 16;

/// What a step of all processes came to.
pub(super) struct Taken {
    /// Photos of the batch; 0 where none could be decoded, and nothing was learned.
    pub count: usize,
    /// As [`StepResult`](super::step::StepResult) has it, of the whole batch.
    pub loss: f64,
    pub correct: u64,
    /// Whether a process is to stop.
    pub stops: bool,
}

impl Taken {
    /// A step without photos.
    fn nothing() -> Self {
        Self {
            count: 0,
            loss: 0.0,
            correct: 0,
            stops: false,
        }
    }
}

/// A process's part of a step.
struct Part<'a> {
    group: &'a Group,
    /// Its photos of the batch, or why it can't go on.
    batch: Result<DeviceBatch>,
    /// Fewer photos than these are left out.
    fewest: usize,
    stops: bool,
    seeds: Seeds,
}

impl Step<'_> {
    /// Takes a step of a run on a batch, or on this process's part of it.
    ///
    /// # Errors
    /// Why there is no batch, and when memory runs out.
    pub(super) fn take_any(
        &self,
        job: &Job<'_>,
        batch: Result<DeviceBatch>,
        seeds: Seeds,
        learning_rate: Option<f64>,
        optimizer: &mut Optimizer,
        profile: &mut Profile,
    ) -> Result<Taken> {
        // A single photo has no batch statistics: the others could not be decoded.
        let fewest = job.run.config().batch_size.min(2);
        let stops = job.is_stopped();
        if let Some(group) = job.group {
            let part = Part {
                group,
                batch,
                fewest,
                stops,
                seeds,
            };
            return self.take_part(part, learning_rate, optimizer, profile);
        }
        let batch = batch?;
        let count = batch.labels.len();
        if count < fewest {
            self.update(learning_rate, optimizer)?;
            return Ok(Taken::nothing());
        }
        let result = self.take(batch, seeds, learning_rate, optimizer, profile)?;
        Ok(Taken {
            count,
            loss: result.loss,
            correct: result.correct,
            stops: job.is_stopped(),
        })
    }

    /// As [`take`](Self::take), of a batch that each process has a part of. All get the gradient of the
    /// whole batch's loss, whatever the parts' sizes and the weights of their classes.
    ///
    /// # Errors
    /// Those of any process.
    fn take_part(
        &self,
        part: Part<'_>,
        learning_rate: Option<f64>,
        optimizer: &mut Optimizer,
        profile: &mut Profile,
    ) -> Result<Taken> {
        let Part { group, batch, .. } = part;
        let own = batch.and_then(|batch| {
            let count = batch.labels.len();
            if count < part.fewest {
                return Ok((None, [0.0; 4]));
            }
            let computed = self.compute(batch, part.seeds, true, optimizer, profile)?;
            let result = computed.result()?;
            let weight = f64::from(computed.weight);
            let numbers = [
                count as f64,
                weight,
                weight * result.loss,
                result.correct as f64,
            ];
            Ok((Some(computed), numbers))
        });
        let (computed, numbers) = match own {
            Ok((computed, numbers)) => (computed, Ok(numbers)),
            Err(error) => (None, Err(error)),
        };
        let mut watch = Stopwatch::start();
        let own_count = numbers.as_ref().map_or(0.0, |numbers| numbers[0]);
        let stops = f64::from(u8::from(part.stops));
        let numbers = numbers.map(|[count, weight, loss, hits]| [count, weight, loss, hits, stops]);
        let [count, weight, loss, correct, stops] = group.sum(numbers)?;
        if count > 0.0 {
            let gradients = self.add_up(group, computed, optimizer, own_count / count)?;
            profile.collectives += watch.lap();
            optimizer.accumulate(gradients, weight as f32)?;
        }
        self.update(learning_rate, optimizer)?;
        profile.optimizer += watch.lap();
        Ok(Taken {
            count: count as usize,
            loss: loss / weight,
            correct: correct as u64,
            stops: stops > 0.0,
        })
    }

    /// The sums of all processes' gradients; running statistics become means, weighted by the processes'
    /// parts of the batch.
    fn add_up(
        &self,
        group: &Group,
        computed: Option<Computed>,
        optimizer: &Optimizer,
        part: f64,
    ) -> Result<Gradients> {
        let gradients = match computed {
            Some(computed) => computed.gradients,
            None => {
                self.network.count_batch()?;
                optimizer.zero_gradients()?
            }
        };
        let gradients = optimizer.laid_out(gradients)?;
        let statistics = self.network.statistics();
        for statistic in &statistics {
            torch(statistic.shallow_clone().f_mul_scalar_(part).map(drop))?;
        }
        let all = gradients.0.iter().chain(&statistics);
        let all = all.map(in_memory_order).collect::<Result<Vec<Tensor>>>()?;
        let (small, mut sent): (Vec<Tensor>, Vec<Tensor>) =
            all.into_iter().partition(|tensor| tensor.numel() < SMALL);
        let joined = match small.is_empty() {
            true => None,
            false => Some(torch(Tensor::f_cat(&small, 0))?),
        };
        sent.extend(joined.as_ref().map(Tensor::shallow_clone));
        group.all_reduce(&sent)?;
        if let Some(joined) = joined {
            let sizes: Vec<i64> = small.iter().map(|tensor| tensor.numel() as i64).collect();
            let sums = torch(joined.f_split_with_sizes(&sizes, 0))?;
            for (tensor, sum) in small.iter().zip(sums) {
                torch(tensor.shallow_clone().f_copy_(&sum))?;
            }
        }
        Ok(gradients)
    }
}

/// A view of all values of a dense tensor, flat, in the order in which they are in memory.
fn in_memory_order(tensor: &Tensor) -> Result<Tensor> {
    torch(tensor.f_as_strided([tensor.numel() as i64], [1], None))
}

/// The predictions for all validation photos, from those that each process made for its part.
///
/// # Errors
/// Those of any process.
pub(super) fn gathered(job: &Job<'_>, own: Result<Predictions>) -> Result<Predictions> {
    let Some(group) = job.group else {
        return own;
    };
    let own = group.together(own)?;
    let mut counts = vec![0.0; group.world()];
    counts[group.rank()] = own.outcomes().len() as f64;
    group.add_up(&mut counts)?;
    let before: f64 = counts[..group.rank()].iter().sum();
    let all: f64 = counts.iter().sum();
    let mut rows = vec![0.0; all as usize * COLUMNS];
    let mine = rows.chunks_mut(COLUMNS).skip(before as usize);
    for (row, outcome) in mine.zip(own.outcomes()) {
        row.copy_from_slice(&to_row(outcome));
    }
    group.add_up(&mut rows)?;
    let outcomes = rows.chunks(COLUMNS).map(from_row).collect();
    let labels: &Labels = &job.run.manifest().labels;
    Ok(Predictions::of_outcomes(labels.clone(), outcomes))
}

const COLUMNS: usize = 5;

fn to_row(outcome: &Outcome) -> [f64; COLUMNS] {
    [
        outcome.truth as f64,
        outcome.predicted as f64,
        outcome.confidence,
        outcome.rank as f64,
        outcome.log_likelihood,
    ]
}

fn from_row(row: &[f64]) -> Outcome {
    Outcome {
        truth: row[0] as usize,
        predicted: row[1] as usize,
        confidence: row[2],
        rank: row[3] as usize,
        log_likelihood: row[4],
    }
}
