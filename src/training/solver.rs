//! Multinomial logistic regression on features, by L-BFGS.

use std::collections::VecDeque;

use tch::{Device, Kind, Reduction, Tensor};

use super::tensors::torch;
use crate::error::Result;

/// Features with their classes, as often as the solver asks for them.
pub(super) trait Samples {
    /// Calls `each` with chunks of the samples.
    ///
    /// # Errors
    /// Those of `each` and of reading.
    fn for_each(&self, each: &mut dyn FnMut(&Chunk) -> Result<()>) -> Result<()>;
}

/// Some samples.
#[derive(Debug)]
pub(super) struct Chunk {
    /// float32 (n, features).
    pub x: Tensor,
    /// Class ids, int64 (n).
    pub labels: Tensor,
    /// Probabilities that teachers give, float32 (n, classes).
    pub taught: Option<Tensor>,
}

impl Chunk {
    /// The same tensors.
    pub(super) fn shallow_clone(&self) -> Self {
        Self {
            x: self.x.shallow_clone(),
            labels: self.labels.shallow_clone(),
            taught: self.taught.as_ref().map(Tensor::shallow_clone),
        }
    }
}

/// The function that is minimised: mean cross-entropy with smoothed labels, or with those and what
/// teachers say, plus half of `weight_decay` times the squared norm of the weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Objective<'a> {
    pub weight_decay: f64,
    pub label_smoothing: f64,
    /// Share of the targets that is the teachers'.
    pub taught: f64,
    /// The weight of a sample of each class; `None` for 1.
    pub class_weights: Option<&'a [f32]>,
}

/// A linear layer: weight, float64 (classes, features), and bias, float64 (classes).
#[derive(Debug)]
pub(super) struct LinearHead {
    pub weight: Tensor,
    pub bias: Tensor,
}

/// How well a head fits samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fitted {
    /// Mean cross-entropy in nats.
    pub loss: f64,
    pub accuracy: f64,
}

/// Pairs of steps and gradient changes that approximate the curvature.
const MEMORY: usize = 8;
const MAX_ITERATIONS: usize = 200;
/// The minimum is reached when no component of the gradient is larger.
const TOLERANCE: f64 = 1e-4;
/// The part of the decrease that the slope promises which a step has to bring (Armijo's condition).
const SUFFICIENT: f64 = 1e-4;
const SMALLEST_STEP: f64 = 1e-8;

impl LinearHead {
    pub(super) fn zeros(classes: i64, features: i64) -> Result<Self> {
        let zeros = |shape: &[i64]| torch(Tensor::f_zeros(shape, (Kind::Double, Device::Cpu)));
        Ok(Self {
            weight: zeros(&[classes, features])?,
            bias: zeros(&[classes])?,
        })
    }

    /// The same tensors.
    pub(super) fn shallow_clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
        }
    }

    /// The head with its bias plus `factor` times the logits of some features.
    fn shifted(&self, features: &Tensor, factor: f64) -> Result<Self> {
        let logits = self.weight.f_mv(features);
        let shift = logits.and_then(|logits| logits.f_mul_scalar(factor));
        Ok(Self {
            weight: self.weight.shallow_clone(),
            bias: torch(shift.and_then(|shift| self.bias.f_add(&shift)))?,
        })
    }

    /// The same in float32.
    fn single(&self) -> Result<Self> {
        Ok(Self {
            weight: torch(self.weight.f_to_kind(Kind::Float))?,
            bias: torch(self.bias.f_to_kind(Kind::Float))?,
        })
    }

    /// How well the head fits samples.
    ///
    /// # Errors
    /// Those of reading the samples, and when memory runs out.
    pub(super) fn fitted(&self, samples: &dyn Samples) -> Result<Fitted> {
        let Self { weight, bias } = self.single()?;
        let (mut loss, mut hits, mut count) = (0.0, 0, 0);
        samples.for_each(&mut |Chunk { x, labels, .. }| {
            let logits = torch(x.f_linear(&weight, Some(&bias)))?;
            let sum = torch(logits.f_cross_entropy_loss::<Tensor>(
                labels,
                None,
                Reduction::Sum,
                -100,
                0.0,
            ))?;
            loss += torch(f64::try_from(&sum))?;
            let right = torch(
                logits
                    .f_argmax(-1, false)
                    .and_then(|found| found.f_eq_tensor(labels)?.f_sum(Kind::Int64)),
            )?;
            hits += torch(i64::try_from(&right))?;
            count += labels.size()[0];
            Ok(())
        })?;
        let count = count.max(1) as f64;
        Ok(Fitted {
            loss: loss / count,
            accuracy: hits as f64 / count,
        })
    }

    fn from_flat(flat: &Tensor, classes: i64, features: i64) -> Result<Self> {
        let weights = classes * features;
        Ok(Self {
            weight: torch(
                flat.f_narrow(0, 0, weights)
                    .and_then(|w| w.f_reshape([classes, features])),
            )?,
            bias: torch(flat.f_narrow(0, weights, classes))?,
        })
    }

    fn flat(&self) -> Result<Tensor> {
        torch(
            self.weight
                .f_flatten(0, -1)
                .and_then(|weight| Tensor::f_cat(&[&weight, &self.bias], 0)),
        )
    }
}

impl Objective<'_> {
    /// The minimum, sought from `start` on by L-BFGS (Liu and Nocedal, 1989) with backtracking.
    ///
    /// # Errors
    /// Those of reading the samples, and when memory runs out.
    pub(super) fn minimise(self, samples: &dyn Samples, start: &LinearHead) -> Result<LinearHead> {
        let (classes, features) = torch(start.weight.size2())?;
        let centre = centre(samples, features)?;
        let head = |x: &Tensor| LinearHead::from_flat(x, classes, features);
        let at = |x: &Tensor| self.at(&head(x)?, &centre, samples);
        let mut x = start.shifted(&centre, 1.0)?.flat()?;
        let (mut value, mut gradient) = at(&x)?;
        let mut memory = VecDeque::new();
        for _ in 0..MAX_ITERATIONS {
            if largest(&gradient)? < TOLERANCE {
                break;
            }
            let direction = direction(&gradient, &memory)?;
            let slope = dot(&direction, &gradient)?;
            let mut step = match memory.is_empty() {
                true => 1.0 / dot(&gradient, &gradient)?.sqrt().max(1.0),
                false => 1.0,
            };
            let moved = loop {
                let to = torch(direction.f_mul_scalar(step).and_then(|by| x.f_add(&by)))?;
                let (new, new_gradient) = at(&to)?;
                if new <= value + SUFFICIENT * step * slope {
                    break Some((to, new, new_gradient));
                }
                step /= 2.0;
                if step < SMALLEST_STEP {
                    break None;
                }
            };
            // Only rounding is left to gain.
            let Some((to, new, new_gradient)) = moved else {
                break;
            };
            remember(&mut memory, &x, &to, &gradient, &new_gradient)?;
            (x, value, gradient) = (to, new, new_gradient);
        }
        head(&x)?.shifted(&centre, -1.0)
    }

    /// The value for features that are centred, and its gradient, flattened as by
    /// [`LinearHead::flat`]. Products are computed in float32, sums in float64.
    fn at(
        self,
        head: &LinearHead,
        centre: &Tensor,
        samples: &dyn Samples,
    ) -> Result<(f64, Tensor)> {
        let (classes, features) = torch(head.weight.size2())?;
        let LinearHead { weight, bias } = head.shifted(centre, -1.0)?.single()?;
        let mut sums = LinearHead::zeros(classes, features)?;
        let class_weights = self.class_weights.map(Tensor::f_from_slice);
        let class_weights = torch(class_weights.transpose())?;
        let (mut loss, mut count) = (0.0, 0.0);
        samples.for_each(&mut |chunk| {
            let Chunk { x, labels, .. } = chunk;
            let logits = torch(x.f_linear(&weight, Some(&bias)))?;
            let log_p = torch(logits.f_log_softmax(-1, Kind::Float))?;
            let mut targets = self.targets(chunk, classes)?;
            let mut p = torch(log_p.f_exp())?;
            count += match &class_weights {
                None => labels.size()[0] as f64,
                Some(class_weights) => {
                    let of_rows = torch(class_weights.f_index_select(0, labels))?;
                    let column = torch(of_rows.f_unsqueeze(1))?;
                    targets = torch(targets.f_mul(&column))?;
                    p = torch(p.f_mul(&column))?;
                    torch(of_rows.f_sum(Kind::Double).and_then(|x| f64::try_from(&x)))?
                }
            };
            let sum = torch(targets.f_mul(&log_p).and_then(|x| x.f_sum(Kind::Double)))?;
            loss -= torch(f64::try_from(&sum))?;
            let error = torch(p.f_sub(&targets))?;
            let by_weight = torch(error.f_tr().and_then(|error| error.f_mm(x)))?;
            let by_bias = torch(error.f_sum_dim_intlist([0].as_slice(), false, Kind::Double))?;
            torch(sums.weight.f_add_(&by_weight).map(drop))?;
            torch(sums.bias.f_add_(&by_bias).map(drop))
        })?;
        let mean = 1.0 / count.max(f64::MIN_POSITIVE);
        let squares = torch(head.weight.f_square().and_then(|w| w.f_sum(Kind::Double)))?;
        let value = loss * mean + 0.5 * self.weight_decay * torch(f64::try_from(&squares))?;
        let gradient = LinearHead {
            weight: torch(
                sums.bias
                    .f_outer(centre)
                    .and_then(|shift| sums.weight.f_sub(&shift)?.f_mul_scalar(mean))
                    .and_then(|g| g.f_add(&head.weight.f_mul_scalar(self.weight_decay)?)),
            )?,
            bias: torch(sums.bias.f_mul_scalar(mean))?,
        };
        Ok((value, gradient.flat()?))
    }

    /// Smoothed one-hot targets, or those and what teachers say, float32 (n, classes).
    fn targets(self, chunk: &Chunk, classes: i64) -> Result<Tensor> {
        let smoothing = self.label_smoothing;
        let smoothed = || {
            let hot = chunk.labels.f_one_hot(classes)?.f_to_kind(Kind::Float)?;
            let hot = hot.f_mul_scalar(1.0 - smoothing)?;
            let own = hot.f_add_scalar(smoothing / classes as f64)?;
            match &chunk.taught {
                Some(taught) => own.f_lerp(taught, self.taught),
                None => Ok(own),
            }
        };
        torch(smoothed())
    }
}

/// The mean of the features, float64 (features). The minimum is the same without it, since the bias is
/// not decayed, but it takes several times as many steps to find.
fn centre(samples: &dyn Samples, features: i64) -> Result<Tensor> {
    let mut sum = torch(Tensor::f_zeros([features], (Kind::Double, Device::Cpu)))?;
    let mut count = 0;
    samples.for_each(&mut |Chunk { x, labels, .. }| {
        count += labels.size()[0];
        let of_chunk = x.f_sum_dim_intlist([0].as_slice(), false, Kind::Double);
        torch(
            of_chunk
                .and_then(|of_chunk| sum.f_add_(&of_chunk))
                .map(drop),
        )
    })?;
    torch(sum.f_div_scalar(count.max(1)))
}

/// A step, the change of the gradient, and the inverse of their product.
type Pair = (Tensor, Tensor, f64);

fn remember(
    memory: &mut VecDeque<Pair>,
    from: &Tensor,
    to: &Tensor,
    before: &Tensor,
    after: &Tensor,
) -> Result<()> {
    let (step, change) = (torch(to.f_sub(from))?, torch(after.f_sub(before))?);
    let curvature = dot(&step, &change)?;
    if curvature > 0.0 {
        memory.push_back((step, change, 1.0 / curvature));
    }
    if memory.len() > MEMORY {
        memory.pop_front();
    }
    Ok(())
}

/// The step that the gradient and the remembered curvature suggest: the two-loop recursion.
fn direction(gradient: &Tensor, memory: &VecDeque<Pair>) -> Result<Tensor> {
    let axpy = |x: &Tensor, factor: f64, y: &Tensor| {
        torch(y.f_mul_scalar(factor).and_then(|y| x.f_add(&y)))
    };
    let mut q = torch(gradient.f_neg())?;
    let mut factors = Vec::new();
    for (s, y, inverse) in memory.iter().rev() {
        let factor = inverse * dot(s, &q)?;
        q = axpy(&q, -factor, y)?;
        factors.push(factor);
    }
    if let Some((_, y, inverse)) = memory.back() {
        q = torch(q.f_mul_scalar(1.0 / (inverse * dot(y, y)?)))?;
    }
    for ((s, y, inverse), factor) in memory.iter().zip(factors.iter().rev()) {
        let correction = factor - inverse * dot(y, &q)?;
        q = axpy(&q, correction, s)?;
    }
    Ok(q)
}

fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    torch(a.f_dot(b).and_then(|dot| f64::try_from(&dot)))
}

fn largest(x: &Tensor) -> Result<f64> {
    torch(x.f_abs().and_then(|x| f64::try_from(&x.f_max()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASSES: i64 = 3;
    const FEATURES: i64 = 3;

    struct Chunks(Vec<Chunk>);

    impl Samples for Chunks {
        fn for_each(&self, each: &mut dyn FnMut(&Chunk) -> Result<()>) -> Result<()> {
            self.0.iter().try_for_each(each)
        }
    }

    /// The samples of `tests/golden/logistic_regression.py`.
    fn samples(chunk: usize) -> Chunks {
        let all: Vec<usize> = (0..24).collect();
        let chunks = all.chunks(chunk).map(|samples| {
            let value = |sample: usize, at: usize| {
                let bump = if sample % 3 == at { 0.5 } else { 0.0 };
                (2.0 + (1.7 * (3 * sample + at) as f64).sin() + bump) as f32
            };
            let x = samples
                .iter()
                .flat_map(|&s| (0..3).map(move |at| value(s, at)));
            let x: Vec<f32> = x.collect();
            let labels: Vec<i64> = samples.iter().map(|&s| (s % 3) as i64).collect();
            Chunk {
                x: Tensor::from_slice(&x).reshape([-1, FEATURES]),
                labels: Tensor::from_slice(&labels),
                taught: None,
            }
        });
        Chunks(chunks.collect())
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn the_minimum_is_that_of_scikit_learn() {
        let expected = [
            (
                0.0,
                None,
                [
                    0.634174, -0.045015, 0.070023, -0.752755, 0.348532, -0.68513, 0.118582,
                    -0.303518, 0.615108,
                ],
                [-1.378015, 2.33435, -0.956334],
            ),
            (
                0.1,
                None,
                [
                    0.568182, -0.039788, 0.065011, -0.676339, 0.308578, -0.615021, 0.108157,
                    -0.268789, 0.550011,
                ],
                [-1.242061, 2.105946, -0.863885],
            ),
            (
                0.1,
                Some(&[2.0, 0.75, 0.5][..]),
                [
                    0.638773, -0.048199, 0.14857, -0.588746, 0.298699, -0.492802, -0.050027,
                    -0.2505, 0.344232,
                ],
                [-0.901231, 1.508174, -0.606944],
            ),
        ];
        for (label_smoothing, class_weights, weight, bias) in expected {
            let objective = Objective {
                weight_decay: 0.05,
                label_smoothing,
                taught: 0.0,
                class_weights,
            };
            let start = LinearHead::zeros(CLASSES, FEATURES).unwrap();
            let found = objective.minimise(&samples(24), &start).unwrap();
            let pairs = values(&found.weight).into_iter().zip(weight);
            for (found, expected) in pairs.chain(values(&found.bias).into_iter().zip(bias)) {
                assert!((found - expected).abs() < 5e-3, "{found} is not {expected}");
            }
            // In chunks, from elsewhere.
            let again = objective.minimise(&samples(7), &found).unwrap();
            for (a, b) in values(&again.weight).iter().zip(values(&found.weight)) {
                assert!((a - b).abs() < 1e-3, "{a} is not {b}");
            }
        }
    }

    /// Teachers that spread a part of the target evenly are label smoothing.
    #[test]
    fn what_teachers_say_is_part_of_the_target() {
        let objective = |label_smoothing, taught| Objective {
            weight_decay: 0.05,
            label_smoothing,
            taught,
            class_weights: None,
        };
        let start = LinearHead::zeros(CLASSES, FEATURES).unwrap();
        let smoothed = objective(0.2, 0.0).minimise(&samples(24), &start);
        let mut evenly = samples(24);
        for chunk in &mut evenly.0 {
            let n = chunk.labels.size()[0];
            let even = Tensor::full([n, CLASSES], 1.0 / 3.0, (Kind::Float, Device::Cpu));
            chunk.taught = Some(even);
        }
        let taught = objective(0.0, 0.2).minimise(&evenly, &start).unwrap();
        let pairs = values(&smoothed.unwrap().weight).into_iter();
        for (a, b) in pairs.zip(values(&taught.weight)) {
            assert!((a - b).abs() < 1e-4, "{a} is not {b}");
        }
    }

    #[test]
    fn a_head_fits_as_its_logits_say() {
        let head = LinearHead {
            weight: Tensor::from_slice(&[1.0f64, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])
                .reshape([CLASSES, FEATURES]),
            bias: Tensor::zeros([CLASSES], (Kind::Double, Device::Cpu)),
        };
        let x = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 0.0, 2.0, 0.0]).reshape([2, 3]);
        let samples = Chunks(vec![Chunk {
            x,
            labels: Tensor::from_slice(&[0i64, 0]),
            taught: None,
        }]);
        let fitted = head.fitted(&samples).unwrap();
        let partition = (2.0f64.exp() + 2.0).ln();
        assert!((fitted.loss - (partition - 1.0)).abs() < 1e-6);
        assert_eq!(fitted.accuracy, 0.5);
    }
}
