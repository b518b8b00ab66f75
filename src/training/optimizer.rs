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
    /// What a recipe's learning rate, made for Adam, is multiplied by.
    pub fn usual_rate(self) -> f64 {
        match self {
            Self::Adam | Self::Adamw => 1.0,
            Self::Sgd => 10.0,
        }
    }

    /// The weight decay if nothing is said, as in PyTorch.
    pub fn usual_decay(self) -> f64 {
        match self {
            Self::Adamw => 0.01,
            Self::Adam | Self::Sgd => 0.0,
        }
    }
}

/// The fused operators, which tch does not bind, behind one method each.
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

    /// Differentiates a scalar loss and moves the parameters against the gradient.
    pub fn step(&mut self, loss: &Tensor, learning_rate: f64) -> Result<()> {
        let parameters: Vec<&Tensor> = self.groups.iter().flat_map(|g| &g.parameters).collect();
        let mut gradients = torch(Tensor::f_run_backward(&[loss], &parameters, false, false))?;
        let first_step = self.taken == 0;
        self.taken += 1;
        for group in &self.groups {
            let rest = gradients.split_off(group.parameters.len());
            let gradients = std::mem::replace(&mut gradients, rest);
            if gradients.is_empty() {
                continue;
            }
            let gradients = group.laid_out(gradients)?;
            tch::no_grad(|| self.apply(group, gradients, learning_rate, first_step))?;
        }
        Ok(())
    }

    fn apply(
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

    /// Everything that a resumed run needs, as tensors named `<parameter>/<state>`.
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

    /// Takes up the state of an optimizer of the same kind over the same parameters after
    /// `taken` steps.
    ///
    /// # Errors
    /// [`Error::Data`] when a tensor is missing.
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

    /// The fused steps walk memory, so a gradient must lie as its parameter does.
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
