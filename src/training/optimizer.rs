//! Adam, AdamW and SGD with state that can be saved: libtorch's fused steps, one call each.

use std::collections::BTreeMap;
use std::io::Cursor;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{CModule, IValue, Tensor};

use super::gradients::Gradients;
use super::tensors::{to_device, to_host, torch};
use crate::error::{Error, Result};
use crate::graph::Role;
use crate::inference::torchscript::archive::Module;
use crate::weights::{self, StateDict};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Kingma and Ba, 2014; weight decay is added to the gradient
    Adam,
    /// Loshchilov and Hutter, 2017; weight decay acts on the weights
    Adamw,
    /// Nesterov momentum 0.9
    Sgd,
}

impl Algorithm {
    /// Factor on a recipe's learning rate, which is meant for Adam.
    pub fn usual_rate(self) -> f64 {
        match self {
            Self::Adam | Self::Adamw => 1.0,
            Self::Sgd => 10.0,
        }
    }

    /// The default weight decay, as in PyTorch.
    pub fn usual_decay(self) -> f64 {
        match self {
            Self::Adamw => 0.01,
            Self::Adam | Self::Sgd => 0.0,
        }
    }
}

/// Name of the gradients since the last update, and of what they are to be divided by.
const ACCUMULATED: &str = "accumulated";

/// libtorch's fused optimizer steps, which tch does not bind, as one TorchScript method each.
const STEPS: &str = "
  def adam(self: __torch__.Net, p: List[Tensor], g: List[Tensor], m: List[Tensor], v: List[Tensor], s: List[Tensor], lr: float, decay: float) -> NoneType:
    torch._fused_adam_(p, g, m, v, annotate(List[Tensor], []), s, lr=lr, beta1=0.9, beta2=0.999, weight_decay=decay, eps=1e-08, amsgrad=False, maximize=False)
    return None
  def adamw(self: __torch__.Net, p: List[Tensor], g: List[Tensor], m: List[Tensor], v: List[Tensor], s: List[Tensor], lr: float, decay: float) -> NoneType:
    torch._fused_adamw_(p, g, m, v, annotate(List[Tensor], []), s, lr=lr, beta1=0.9, beta2=0.999, weight_decay=decay, eps=1e-08, amsgrad=False, maximize=False)
    return None
  def sgd(self: __torch__.Net, p: List[Tensor], g: List[Tensor], m: List[Tensor], lr: float, decay: float, first: bool) -> NoneType:
    torch._fused_sgd_(p, g, m, weight_decay=decay, momentum=0.9, lr=lr, dampening=0.0, nesterov=True, maximize=False, is_first_step=first)
    return None
";

/// An optimizer over the trainable tensors of a network.
pub struct Optimizer {
    algorithm: Algorithm,
    steps: CModule,
    /// Weights first, which decay; then biases and scales, which do not.
    groups: [Group; 2],
    taken: u64,
    accumulated: Option<Accumulated>,
}

/// Gradients of batches since the last update.
struct Accumulated {
    sum: Gradients,
    /// What they are to be divided by.
    weight: f32,
}

struct Group {
    decay: f64,
    names: Vec<String>,
    parameters: Vec<Tensor>,
    /// Running mean of the gradients, or the momentum.
    first: Vec<Tensor>,
    /// Running mean of the squared gradients (Adam, AdamW).
    second: Vec<Tensor>,
    /// Steps taken, as float tensors (Adam, AdamW).
    counts: Vec<Tensor>,
}

impl Optimizer {
    /// A fresh optimizer; `parameters` as [`super::Network::trainable`] gives them.
    pub fn new(
        algorithm: Algorithm,
        parameters: Vec<(String, Role, Tensor)>,
        weight_decay: f64,
    ) -> Result<Self> {
        let archive = Module::of_methods(STEPS).to_bytes()?;
        let steps = torch(CModule::load_data(&mut Cursor::new(archive)))?;
        let (weights, others) = parameters
            .into_iter()
            .partition(|(_, role, _)| *role == Role::Weight);
        Ok(Self {
            algorithm,
            steps,
            groups: [
                Group::new(weights, weight_decay, algorithm)?,
                Group::new(others, 0.0, algorithm)?,
            ],
            taken: 0,
            accumulated: None,
        })
    }

    /// Gradients of a scalar loss with respect to the parameters.
    ///
    /// # Errors
    /// When the loss depends on no parameter that is trained, and when memory runs out.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients> {
        // libtorch would follow a null pointer.
        anyhow::ensure!(
            loss.requires_grad(),
            "the loss depends on no trainable parameter"
        );
        let parameters: Vec<&Tensor> = self.groups.iter().flat_map(|g| &g.parameters).collect();
        torch(Tensor::f_run_backward(&[loss], &parameters, false, false)).map(Gradients)
    }

    /// Adds the gradients of a batch for the next [`update`](Self::update). They are those of its
    /// mean loss times `weight`, its part of the mean over all.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn accumulate(&mut self, gradients: Gradients, weight: f32) -> Result<()> {
        // A norm is summed in the order of memory, which must be that of restored sums.
        let gradients = self.laid_out(gradients)?;
        match &mut self.accumulated {
            Some(accumulated) => {
                accumulated.sum.add(&gradients)?;
                accumulated.weight += weight;
            }
            None => {
                self.accumulated = Some(Accumulated {
                    sum: gradients,
                    weight,
                });
            }
        }
        Ok(())
    }

    /// Updates the parameters with the mean of the accumulated gradients, clipped to a norm if one is
    /// given. Does nothing when there are none.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub(super) fn update(&mut self, learning_rate: f64, clip_norm: Option<f64>) -> Result<()> {
        let Some(Accumulated { mut sum, weight }) = self.accumulated.take() else {
            return Ok(());
        };
        if weight != 1.0 {
            sum.scale(1.0 / f64::from(weight))?;
        }
        if let Some(max_norm) = clip_norm {
            sum.clip_norm(max_norm)?;
        }
        self.apply(sum, learning_rate)
    }

    /// Updates the parameters with gradients of this optimizer.
    pub fn apply(&mut self, gradients: Gradients, learning_rate: f64) -> Result<()> {
        let Gradients(mut gradients) = self.laid_out(gradients)?;
        let first_step = self.taken == 0;
        self.taken += 1;
        for group in &self.groups {
            let rest = gradients.split_off(group.parameters.len());
            let gradients = std::mem::replace(&mut gradients, rest);
            if gradients.is_empty() {
                continue;
            }
            tch::no_grad(|| self.update_group(group, gradients, learning_rate, first_step))?;
        }
        Ok(())
    }

    /// The gradients of a loss that no parameter has a part in.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn zero_gradients(&self) -> Result<Gradients> {
        let parameters = self.groups.iter().flat_map(|group| &group.parameters);
        let zeros = parameters.map(|parameter| torch(parameter.f_zeros_like()));
        zeros.collect::<Result<_>>().map(Gradients)
    }

    /// Gradients with the strides of their parameters, which the fused steps require.
    pub(super) fn laid_out(&self, gradients: Gradients) -> Result<Gradients> {
        let parameters = self.groups.iter().flat_map(|group| &group.parameters);
        let pairs = parameters.zip(gradients.0);
        let laid_out = pairs.map(|(parameter, gradient)| {
            if gradient.stride() == parameter.stride() {
                return Ok(gradient);
            }
            let mut moved = torch(parameter.f_zeros_like())?;
            torch(moved.f_copy_(&gradient))?;
            Ok(moved)
        });
        laid_out.collect::<Result<_>>().map(Gradients)
    }

    fn update_group(
        &self,
        group: &Group,
        gradients: Vec<Tensor>,
        learning_rate: f64,
        first_step: bool,
    ) -> Result<()> {
        let list = |tensors: &[Tensor]| {
            IValue::TensorList(tensors.iter().map(Tensor::shallow_clone).collect())
        };
        let mut arguments = vec![
            list(&group.parameters),
            IValue::TensorList(gradients),
            list(&group.first),
        ];
        let method = match self.algorithm {
            Algorithm::Sgd => "sgd",
            Algorithm::Adam => "adam",
            Algorithm::Adamw => "adamw",
        };
        if self.algorithm != Algorithm::Sgd {
            for count in &group.counts {
                torch(count.shallow_clone().f_add_scalar_(1.0).map(drop))?;
            }
            arguments.extend([list(&group.second), list(&group.counts)]);
        }
        arguments.extend([IValue::Double(learning_rate), IValue::Double(group.decay)]);
        if self.algorithm == Algorithm::Sgd {
            arguments.push(IValue::Bool(first_step));
        }
        torch(self.steps.method_is(method, &arguments)).map(drop)
    }

    /// The state that a resumed run needs, as tensors named `<parameter>/<state>`.
    pub fn state(&self) -> Result<StateDict> {
        let mut state = StateDict::new();
        for group in &self.groups {
            for (kind, tensors) in group.states() {
                for (name, tensor) in group.names.iter().zip(tensors) {
                    state.insert(format!("{name}/{kind}"), to_host(tensor)?);
                }
            }
        }
        if let Some(Accumulated { sum, weight }) = &self.accumulated {
            let names = self.groups.iter().flat_map(|group| &group.names);
            for (name, tensor) in names.zip(&sum.0) {
                state.insert(format!("{name}/{ACCUMULATED}"), to_host(tensor)?);
            }
            let weight = weights::Tensor::f32([1], vec![*weight]);
            state.insert(ACCUMULATED.into(), weight);
        }
        Ok(state)
    }

    /// Restores the [`state`](Self::state) of an optimizer with the same algorithm and parameters
    /// after `taken` steps.
    ///
    /// # Errors
    /// [`Error::Data`] when a tensor is missing or has another shape.
    pub fn restore(&mut self, state: &StateDict, taken: u64) -> Result<()> {
        self.taken = taken;
        for group in &self.groups {
            for (kind, tensors) in group.states() {
                for (name, tensor) in group.names.iter().zip(tensors) {
                    let saved = stored(state, &format!("{name}/{kind}"), tensor)?;
                    torch(tensor.shallow_clone().f_copy_(&saved).map(drop))?;
                }
            }
        }
        let weight = state.get(ACCUMULATED).and_then(weights::Tensor::as_f32);
        self.accumulated = match weight.and_then(|weight| weight.first()) {
            Some(&weight) => {
                let groups = self.groups.iter();
                let named = groups.flat_map(|group| group.names.iter().zip(&group.parameters));
                let saved = named
                    .map(|(name, tensor)| stored(state, &format!("{name}/{ACCUMULATED}"), tensor));
                let sum = Gradients(saved.collect::<Result<_>>()?);
                Some(Accumulated { sum, weight })
            }
            None => None,
        };
        Ok(())
    }

    /// Steps taken since the optimizer was made.
    pub fn taken(&self) -> u64 {
        self.taken
    }
}

/// A tensor of a saved state on the device of one that it must have the shape of.
fn stored(state: &StateDict, key: &str, like: &Tensor) -> Result<Tensor> {
    let shape = like.size();
    let fits = |saved: &&weights::Tensor| {
        let sides = shape.iter().map(|&side| side as usize);
        sides.eq(saved.shape.iter().copied())
    };
    let saved = state
        .get(key)
        .filter(fits)
        .ok_or_else(|| Error::Data(format!("the checkpoint lacks the optimizer state {key}")))?;
    to_device(saved, like.device())
}

impl Group {
    fn new(
        parameters: Vec<(String, Role, Tensor)>,
        decay: f64,
        algorithm: Algorithm,
    ) -> Result<Self> {
        let (names, parameters): (Vec<_>, Vec<_>) = parameters
            .into_iter()
            .map(|(name, _, tensor)| (name, tensor))
            .unzip();
        let zeros = || -> Result<Vec<Tensor>> {
            parameters.iter().map(|p| torch(p.f_zeros_like())).collect()
        };
        let adaptive = algorithm != Algorithm::Sgd;
        let counts = parameters
            .iter()
            .map(|p| torch(Tensor::f_zeros([], (tch::Kind::Float, p.device()))));
        Ok(Self {
            decay,
            first: zeros()?,
            second: if adaptive { zeros()? } else { Vec::new() },
            counts: if adaptive {
                counts.collect::<Result<_>>()?
            } else {
                Vec::new()
            },
            names,
            parameters,
        })
    }

    fn states(&self) -> BTreeMap<&'static str, &[Tensor]> {
        BTreeMap::from([
            ("first", &self.first[..]),
            ("second", &self.second[..]),
            ("count", &self.counts[..]),
        ])
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Reduction};

    use super::*;

    fn parameter(values: &[f32], shape: &[i64]) -> Tensor {
        Tensor::from_slice(values)
            .reshape(shape)
            .set_requires_grad(true)
    }

    fn sgd(parameters: &[&Tensor]) -> Optimizer {
        let named = |(n, p): (usize, &&Tensor)| (n.to_string(), Role::Weight, p.shallow_clone());
        let parameters = parameters.iter().enumerate().map(named).collect();
        Optimizer::new(Algorithm::Sgd, parameters, 0.0).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.detach().flatten(0, -1).try_into().unwrap()
    }

    #[test]
    fn scaled_gradients_move_the_parameters_less() {
        let weight = parameter(&[1.0, 2.0], &[2]);
        let mut optimizer = sgd(&[&weight]);
        let loss = (&weight * 3.0).sum(Kind::Float);
        let mut gradients = optimizer.gradients(&loss).unwrap();
        for gradient in gradients.tensors_mut() {
            *gradient = &*gradient / 3.0;
        }
        assert_eq!(values(&weight), [1.0, 2.0]);
        optimizer.apply(gradients, 0.5).unwrap();
        // Nesterov's first step: rate * (gradient + momentum * gradient) = 0.5 * 1.9.
        for (value, expected) in values(&weight).iter().zip([0.05, 1.05]) {
            assert!((value - expected).abs() < 1e-6, "{value}");
        }
        assert_eq!(optimizer.taken(), 1);
    }

    #[test]
    fn accumulated_parts_step_like_the_batch() {
        tch::manual_seed(1);
        let inputs = Tensor::randn([8, 3], (Kind::Float, Device::Cpu));
        let labels = Tensor::from_slice(&[0i64, 1, 1, 0, 1, 0, 0, 0]);
        let stepped = |parts: &[i64], interrupted: bool| {
            let weight = parameter(&[0.5, -0.25, 1.0, 0.125, 0.75, -1.0], &[2, 3]);
            let bias = parameter(&[0.1, -0.2], &[2]);
            let mut optimizer = sgd(&[&weight, &bias]);
            let mut start = 0;
            for &size in parts {
                let (x, y) = (inputs.narrow(0, start, size), labels.narrow(0, start, size));
                start += size;
                let logits = x.linear(&weight, Some(&bias));
                let loss =
                    logits.cross_entropy_loss::<Tensor>(&y, None, Reduction::Mean, -100, 0.0);
                let gradients = optimizer.gradients(&(loss * size)).unwrap();
                optimizer.accumulate(gradients, size as f32).unwrap();
                if interrupted {
                    let state = optimizer.state().unwrap();
                    optimizer = sgd(&[&weight, &bias]);
                    optimizer.restore(&state, 0).unwrap();
                }
            }
            optimizer.update(0.1, None).unwrap();
            optimizer.update(0.1, None).unwrap();
            assert_eq!(optimizer.taken(), 1, "nothing is left for a second update");
            [values(&weight), values(&bias)].concat()
        };
        let (whole, parts) = (stepped(&[8], false), stepped(&[3, 4, 1], false));
        let apart = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs());
        assert!(
            apart.clone().all(|apart| apart < 1e-6),
            "{whole:?} {parts:?}"
        );
        assert!((whole[0] - 0.5).abs() > 1e-3, "the step moves: {whole:?}");
        assert_eq!(stepped(&[3, 4, 1], true), parts);
    }
}
