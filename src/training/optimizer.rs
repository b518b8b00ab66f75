//! Adam, AdamW and SGD with state that can be saved: libtorch's fused steps, one call each.

use std::collections::BTreeMap;
use std::io::Cursor;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{CModule, IValue, Tensor};

use super::tensors::{to_device, to_host, torch};
use crate::error::{Error, Result};
use crate::graph::Role;
use crate::inference::torchscript::archive::Module;
use crate::weights::StateDict;

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

/// The gradient of each parameter, in the optimizer's order. Between [`Optimizer::gradients`] and
/// [`Optimizer::apply`] they may be clipped, scaled, accumulated, or averaged over processes.
#[derive(Debug)]
pub struct Gradients(Vec<Tensor>);

impl Gradients {
    /// One tensor a parameter, of its shape and type.
    pub fn tensors_mut(&mut self) -> &mut [Tensor] {
        &mut self.0
    }
}

/// An optimizer over the trainable tensors of a network.
pub struct Optimizer {
    algorithm: Algorithm,
    steps: CModule,
    /// Weights first, which decay; then biases and scales, which do not.
    groups: [Group; 2],
    taken: u64,
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

    /// Updates the parameters with gradients of this optimizer.
    pub fn apply(&mut self, gradients: Gradients, learning_rate: f64) -> Result<()> {
        let Gradients(mut gradients) = gradients;
        let first_step = self.taken == 0;
        self.taken += 1;
        for group in &self.groups {
            let rest = gradients.split_off(group.parameters.len());
            let gradients = std::mem::replace(&mut gradients, rest);
            if gradients.is_empty() {
                continue;
            }
            let gradients = group.laid_out(gradients)?;
            tch::no_grad(|| self.update(group, gradients, learning_rate, first_step))?;
        }
        Ok(())
    }

    fn update(
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
                    let key = format!("{name}/{kind}");
                    let saved = state.get(&key).filter(|saved| {
                        tensor
                            .size()
                            .iter()
                            .map(|&s| s as usize)
                            .eq(saved.shape.iter().copied())
                    });
                    let saved = saved.ok_or_else(|| {
                        Error::Data(format!("the checkpoint lacks the optimizer state {key}"))
                    })?;
                    let saved = to_device(saved, tensor.device())?;
                    torch(tensor.shallow_clone().f_copy_(&saved).map(drop))?;
                }
            }
        }
        Ok(())
    }

    /// Steps taken since the optimizer was made.
    pub fn taken(&self) -> u64 {
        self.taken
    }
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

    /// Gradients with the strides of their parameters, which the fused steps require.
    fn laid_out(&self, gradients: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let pairs = self.parameters.iter().zip(gradients);
        pairs
            .map(|(parameter, gradient)| {
                if gradient.stride() == parameter.stride() {
                    return Ok(gradient);
                }
                let mut moved = torch(parameter.f_zeros_like())?;
                torch(moved.f_copy_(&gradient))?;
                Ok(moved)
            })
            .collect()
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
    fn the_mean_gradient_of_two_halves_is_that_of_the_batch() {
        tch::manual_seed(1);
        let inputs = Tensor::randn([8, 3], (Kind::Float, Device::Cpu));
        let labels = Tensor::from_slice(&[0i64, 1, 1, 0, 1, 0, 0, 0]);
        let stepped = |parts: i64| {
            let weight = parameter(&[0.5, -0.25, 1.0, 0.125, 0.75, -1.0], &[2, 3]);
            let bias = parameter(&[0.1, -0.2], &[2]);
            let mut optimizer = sgd(&[&weight, &bias]);
            let size = 8 / parts;
            let mut parts = (0..parts).map(|part| {
                let (x, y) = (
                    inputs.narrow(0, part * size, size),
                    labels.narrow(0, part * size, size),
                );
                let logits = x.linear(&weight, Some(&bias));
                let loss =
                    logits.cross_entropy_loss::<Tensor>(&y, None, Reduction::Mean, -100, 0.0);
                optimizer.gradients(&loss).unwrap()
            });
            let mut mean = parts.next().unwrap();
            if let Some(mut other) = parts.next() {
                let pairs = mean.tensors_mut().iter_mut().zip(other.tensors_mut());
                pairs.for_each(|(a, b)| *a = (&*a + &*b) / 2.0);
            }
            drop(parts);
            optimizer.apply(mean, 0.1).unwrap();
            [values(&weight), values(&bias)].concat()
        };
        let (whole, halves) = (stepped(1), stepped(2));
        let apart = whole.iter().zip(&halves).map(|(a, b)| (a - b).abs());
        assert!(
            apart.clone().all(|apart| apart < 1e-6),
            "{whole:?} {halves:?}"
        );
        assert!((whole[0] - 0.5).abs() > 1e-3, "the step moves: {whole:?}");
    }
}
