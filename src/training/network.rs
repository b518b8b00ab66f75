//! Runs any graph over libtorch tensors, with or without autograd.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Context;
use tch::{Kind, Tensor};

use super::operators::{
    activation, attention, channel_shuffle, class_token, convolve, layer_norm, linear, normalise,
    stochastic_depth, tokens,
};
use super::precision::Precision;
use super::rounding::Rounding;
use super::tensors::{self, channels_last, torch};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::{Activation, Graph, Node, NodeId, Op, Role};
use crate::weights::StateDict;

/// A graph with its parameters on a device. Feature maps and convolution weights are kept in
/// channels-last order, which the CPU's kernels are fastest on.
pub struct Network {
    graph: Graph,
    /// The tensors of each node, in the order of its slots.
    tensors: Vec<Vec<Tensor>>,
    /// The last node that reads each node's value; `None` for the output.
    last_use: Vec<Option<NodeId>>,
    /// Nodes before this one are frozen: no gradient, running statistics as they are.
    trainable_from: NodeId,
    device: Device,
    precision: Precision,
    rounding: Option<Rounding>,
}

/// Values of nodes.
pub type Activations = BTreeMap<NodeId, Tensor>;

/// How a forward pass treats dropout and normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout acts, normalisation uses and updates batch statistics, gradients are tracked.
    Train,
    /// No dropout, normalisation uses running statistics, no gradients, all in float32.
    Evaluate,
}

impl Network {
    /// Moves parameters to a device. Everything is trainable until [`Network::freeze_until`].
    ///
    /// # Errors
    /// [`Error::Data`] when the state dict lacks a parameter of the graph or has it in another
    /// shape; [`Error::Environment`] when memory runs out.
    pub fn new(graph: Graph, weights: &StateDict, device: Device) -> Result<Self> {
        let mut held: Vec<Vec<Tensor>> = graph.nodes().iter().map(|_| Vec::new()).collect();
        for parameter in graph.parameters() {
            let stored = weights.tensor(&parameter.name, &parameter.shape)?;
            if parameter.role != Role::BatchesTracked && stored.as_f32().is_none() {
                let message = format!("{} holds integers, which can't be trained", parameter.name);
                return Err(Error::Data(message).into());
            }
            let tensor = tensors::to_device(stored, device.into())?;
            held[parameter.node.index()].push(tensor);
        }
        let mut last_use: Vec<Option<NodeId>> = graph.ids().map(Some).collect();
        for (id, node) in graph.iter() {
            for input in &node.inputs {
                last_use[input.index()] = Some(id);
            }
        }
        last_use[graph.output().index()] = None;
        let input = graph.input();
        let mut network = Self {
            graph,
            tensors: held,
            last_use,
            trainable_from: input,
            device,
            precision: Precision::Float32,
            rounding: None,
        };
        network.freeze_until(input)?;
        Ok(network)
    }

    /// The same network, trained with convolutions and feature maps in this precision. Parameters,
    /// statistics, linear layers and logits stay float32, as in mixed precision training
    /// (Micikevicius et al., 2018; Kalamkar et al., 2019).
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same network with weights and values rounded. A convolution may add and activate then.
    pub(super) fn rounded(self, rounding: Rounding) -> Self {
        Self {
            rounding: Some(rounding),
            ..self
        }
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub(super) fn classes(&self) -> usize {
        self.graph.output_shape().iter().product()
    }

    /// Freezes every node before `first`: its parameters get no gradient and its normalisation
    /// keeps its running statistics. Unfreezes the rest.
    pub fn freeze_until(&mut self, first: NodeId) -> Result<()> {
        self.trainable_from = first;
        for ((id, node), tensors) in self.graph.iter().zip(&self.tensors) {
            for (slot, tensor) in node.op.slots().iter().zip(tensors) {
                if slot.role.is_learned() {
                    torch(tensor.f_set_requires_grad(id >= first).map(drop))?;
                }
            }
        }
        Ok(())
    }

    fn is_frozen(&self, node: NodeId) -> bool {
        node < self.trainable_from
    }

    /// The tensors that an optimizer updates, with their `state_dict` names and roles.
    pub fn trainable(&self) -> Vec<(String, Role, Tensor)> {
        self.named()
            .filter(|(node, _, role, _)| role.is_learned() && !self.is_frozen(*node))
            .map(|(_, name, role, tensor)| (name, role, tensor.shallow_clone()))
            .collect()
    }

    /// The running statistics that training updates.
    pub(super) fn statistics(&self) -> Vec<Tensor> {
        let updated = self.named().filter(|(node, _, role, _)| {
            let is_statistic = matches!(role, Role::RunningMean | Role::RunningVariance);
            is_statistic && !self.is_frozen(*node)
        });
        updated.map(|(.., tensor)| tensor.shallow_clone()).collect()
    }

    /// Counts a batch that other processes have trained on.
    pub(super) fn count_batch(&self) -> Result<()> {
        for (node, _, role, tensor) in self.named() {
            if role == Role::BatchesTracked && !self.is_frozen(node) {
                torch(tensor.shallow_clone().f_add_scalar_(1).map(drop))?;
            }
        }
        Ok(())
    }

    /// Whether every parameter and running statistic is finite.
    pub fn is_finite(&self) -> Result<bool> {
        for (_, _, _, tensor) in self.named() {
            let finite = torch(tensor.f_isfinite().and_then(|t| t.f_all()))?;
            if torch(i64::try_from(&finite))? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Replaces the values of a parameter.
    ///
    /// # Errors
    /// When there is none of that name and shape.
    pub(super) fn assign(&self, name: &str, values: &Tensor) -> Result<()> {
        let mut named = self.named();
        let found = named.find(|(_, own, _, tensor)| own == name && tensor.size() == values.size());
        let (_, _, _, tensor) =
            found.with_context(|| format!("no parameter {name} of that shape"))?;
        tch::no_grad(|| torch(tensor.shallow_clone().f_copy_(values).map(drop)))
    }

    /// Multiplies a parameter.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn scale(&self, name: &str, factor: f64) -> Result<()> {
        let found = self.named().find(|(_, own, _, _)| own == name);
        let (_, _, _, tensor) = found.with_context(|| format!("no parameter {name}"))?;
        tch::no_grad(|| torch(tensor.shallow_clone().f_mul_scalar_(factor).map(drop)))
    }

    /// Copies every parameter and buffer to host memory.
    pub fn state_dict(&self) -> Result<StateDict> {
        self.named()
            .map(|(_, name, _, tensor)| Ok((name, tensors::to_host(tensor)?)))
            .collect()
    }

    /// A copy that is not trained. It shares the tensors of frozen nodes.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn detached(&self) -> Result<Self> {
        let nodes = self.graph.iter().zip(&self.tensors);
        let copies = nodes.map(|((id, _), tensors)| {
            let copies = tensors.iter().map(|tensor| match self.is_frozen(id) {
                true => Ok(tensor.shallow_clone()),
                false => torch(tensors::copied(tensor)),
            });
            copies.collect()
        });
        Ok(Self {
            graph: self.graph.clone(),
            tensors: copies.collect::<Result<_>>()?,
            last_use: self.last_use.clone(),
            trainable_from: self.trainable_from,
            device: self.device,
            precision: self.precision,
            rounding: None,
        })
    }

    /// Moves each tensor that is not frozen, running statistics too, by a part of the way to that of
    /// another network of the same graph, with 1 onto it. Counts are copied.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn move_towards(&self, other: &Self, part: f64) -> Result<()> {
        let pairs = self.named().zip(other.named());
        let trained = pairs.filter(|((node, ..), _)| !self.is_frozen(*node));
        tch::no_grad(|| {
            for ((_, _, _, tensor), (_, _, _, target)) in trained {
                let mut tensor = tensor.shallow_clone();
                torch(match tensor.is_floating_point() {
                    true => tensor.f_lerp_(target, part).map(drop),
                    false => tensor.f_copy_(target),
                })?;
            }
            Ok(())
        })
    }

    /// Takes over the values of [`Network::state_dict`].
    ///
    /// # Errors
    /// [`Error::Data`] when one is missing or has another shape.
    pub(super) fn load(&self, weights: &StateDict) -> Result<()> {
        for (parameter, (_, _, _, tensor)) in self.graph.parameters().zip(self.named()) {
            let stored = weights.tensor(&parameter.name, &parameter.shape)?;
            let stored = tensors::to_device(stored, self.device.into())?;
            tch::no_grad(|| torch(tensor.shallow_clone().f_copy_(&stored)))?;
        }
        Ok(())
    }

    /// Every tensor with its node, its name, and its role.
    fn named(&self) -> impl Iterator<Item = (NodeId, String, Role, &Tensor)> {
        self.graph.parameters().scan(0, |slot, parameter| {
            let tensors = &self.tensors[parameter.node.index()];
            let tensor = &tensors[*slot];
            *slot = (*slot + 1) % tensors.len();
            Some((parameter.node, parameter.name, parameter.role, tensor))
        })
    }

    /// Logits of a batch: float32 `(n, 3, size, size)`, normalised, to float32 `(n, classes)`.
    ///
    /// # Errors
    /// [`Error::Environment`] when memory runs out.
    pub fn forward(&self, pixels: &Tensor, mode: Mode) -> Result<Tensor> {
        self.logits(0, self.input(pixels)?, mode)
    }

    /// Normalised pixels, float32 `(n, 3, size, size)`, as the values that the first node starts
    /// from.
    pub fn input(&self, pixels: &Tensor) -> Result<Activations> {
        let pixels = torch(pixels.f_to_device(self.device.into()))?;
        let input = self.graph.input();
        let mut pixels = channels_last(&pixels)?;
        if let Some(rounding) = &self.rounding {
            pixels = rounding.value(input, pixels)?;
        }
        Ok(Activations::from([(input, pixels)]))
    }

    /// Logits, float32 `(n, classes)`, from the values that [`Network::forward_range`] gives for
    /// the nodes before the index `first`.
    pub fn logits(&self, first: usize, values: Activations, mode: Mode) -> Result<Tensor> {
        let mut values = self.forward_range(first..self.tensors.len(), values, mode)?;
        let logits = values
            .remove(&self.graph.output())
            .context("a graph's output is one of its nodes")?;
        // A classifier that is a convolution computes in the precision of the others.
        torch(logits.f_to_kind(Kind::Float))
    }

    /// Runs a range of nodes, by their indices. Takes the values of all earlier nodes that the range or a later node
    /// reads, and gives those that nodes after the range read, or the output. Running `0..k` and
    /// then `k..n` on what came out is the same as running `0..n`. The given tensors are not
    /// modified, so they can be used again.
    ///
    /// # Errors
    /// [`Error::Environment`] when memory runs out.
    pub fn forward_range(
        &self,
        range: Range<usize>,
        mut values: Activations,
        mode: Mode,
    ) -> Result<Activations> {
        let nodes = self.graph.iter().skip(range.start).take(range.len());
        for (id, node) in nodes.filter(|(_, node)| node.op != Op::Input) {
            let inputs = self.inputs(id, &mut values)?;
            let frozen = self.is_frozen(id);
            let pass = ForwardPass {
                first: range.start,
                mode: if frozen { Mode::Evaluate } else { mode },
                kind: match mode {
                    Mode::Train => self.precision.kind(),
                    Mode::Evaluate => Kind::Float,
                },
            };
            let run = || self.apply(id, inputs, pass);
            let value = match pass.mode {
                Mode::Train => run(),
                Mode::Evaluate => tch::no_grad(run),
            };
            values.insert(id, value.with_context(|| node.name.clone())?);
        }
        let is_read_later = |id: &NodeId| {
            let last = self.last_use[id.index()];
            last.is_none_or(|reader| reader.index() >= range.end)
        };
        values.retain(|id, _| is_read_later(id));
        Ok(values)
    }

    /// The inputs of a node, taken out of `values` if no later node reads them.
    fn inputs(&self, id: NodeId, values: &mut Activations) -> Result<Vec<Tensor>> {
        let inputs = &self.graph[id].inputs;
        let taken = inputs.iter().enumerate().map(|(slot, input)| {
            let again = inputs[slot + 1..].contains(input);
            if self.last_use[input.index()] == Some(id) && !again {
                values.remove(input)
            } else {
                values.get(input).map(Tensor::shallow_clone)
            }
        });
        taken
            .collect::<Option<_>>()
            .context("the inputs of a node are computed before it")
    }

    fn apply(&self, id: NodeId, x: Vec<Tensor>, pass: ForwardPass) -> Result<Tensor> {
        let own = &self.tensors[id.index()];
        let Some(rounding) = &self.rounding else {
            return self.computed(id, x, own, pass);
        };
        let value = self.computed(id, x, &rounding.tensors(id, own)?, pass)?;
        rounding.value(id, value)
    }

    fn computed(
        &self,
        id: NodeId,
        x: Vec<Tensor>,
        tensors: &[Tensor],
        pass: ForwardPass,
    ) -> Result<Tensor> {
        let node = &self.graph[id];
        let training = pass.mode == Mode::Train;
        let mut first = x
            .first()
            .context("an operator has an input")?
            .shallow_clone();
        let value = match &node.op {
            Op::Conv2d(conv) => {
                let input = torch(first.f_to_kind(pass.kind))?;
                let cast = tensors.iter().map(|t| torch(t.f_to_kind(pass.kind)));
                let cast: Result<Vec<Tensor>> = cast.collect();
                return convolve(&input, &cast?, conv, x.get(1));
            }
            Op::BatchNorm2d(norm) => return normalise(&first, tensors, norm, training),
            Op::Linear(_) => match node.shape.len() {
                // The head decides: it is never rounded.
                1 => linear(&first, tensors, Kind::Float),
                _ => linear(&first, tensors, pass.kind),
            },
            Op::LayerNorm(norm) => layer_norm(&first, tensors, norm),
            Op::LayerScale { .. } => first.f_mul(&tensors[0].f_to_kind(first.kind())?),
            Op::Activation(kind) => self.activate(node, &mut first, *kind, pass),
            Op::MaxPool2d(pool) => first.f_max_pool2d(
                [pool.kernel as i64; 2],
                [pool.stride as i64; 2],
                [pool.padding as i64; 2],
                [1; 2],
                pool.ceil_mode,
            ),
            Op::AvgPool2d(pool) => first.f_avg_pool2d(
                [pool.kernel as i64; 2],
                [pool.stride as i64; 2],
                [pool.padding as i64; 2],
                false,
                true,
                None,
            ),
            Op::GlobalAvgPool => first.f_adaptive_avg_pool2d([1, 1]),
            // No other backward pass needs the output of a normalisation.
            Op::Add if self.owns_normalised(node, pass) => first.f_add_(&x[1]),
            Op::Add => first.f_add(&x[1]),
            Op::Mul => first.f_mul(&x[1]),
            Op::Concat => Tensor::f_cat(&x, 1),
            Op::Slice { start, end } => first.f_narrow(1, *start as i64, (end - start) as i64),
            Op::ChannelShuffle { groups } => channel_shuffle(&first, *groups as i64),
            Op::Flatten => first.f_flatten(1, -1),
            Op::Dropout { probability } => first.f_dropout(*probability, training),
            Op::StochasticDepth { probability } if training => {
                stochastic_depth(&first, *probability)
            }
            Op::StochasticDepth { .. } => Ok(first),
            Op::Tokens => tokens(&first),
            Op::ClassToken { .. } => class_token(&first, &tensors[0]),
            Op::PositionEmbedding { .. } => first.f_add(&tensors[0].f_to_kind(first.kind())?),
            Op::Attention { heads } => attention(&first, *heads as i64),
            Op::FirstToken => first.f_select(1, 0),
            Op::Softmax => first.f_softmax(-1, Kind::Float),
            Op::Input | Op::PixelsToFloat | Op::Normalize { .. } => {
                anyhow::bail!("{} is not an operator of training", node.op.name())
            }
        };
        torch(value)
    }

    fn activate(
        &self,
        node: &Node,
        x: &mut Tensor,
        kind: Activation,
        pass: ForwardPass,
    ) -> Result<Tensor, tch::TchError> {
        let producer = &self.graph[node.inputs[0]].op;
        let in_place = self.owns(node.inputs[0], pass)
            && matches!(producer, Op::BatchNorm2d(_) | Op::Add | Op::Linear(_));
        match kind {
            Activation::Relu if in_place => x.f_relu_(),
            Activation::Relu6 if in_place => x.f_relu6_(),
            kind => activation(x, kind),
        }
    }

    /// Whether a sum may overwrite its first input: the output of a normalisation that only the
    /// sum reads.
    fn owns_normalised(&self, node: &Node, pass: ForwardPass) -> bool {
        let input = node.inputs[0];
        self.owns(input, pass) && matches!(self.graph[input].op, Op::BatchNorm2d(_))
    }

    /// Whether a value was computed in this pass and is read once.
    fn owns(&self, value: NodeId, pass: ForwardPass) -> bool {
        let uses = self.graph.nodes().iter().flat_map(|node| &node.inputs);
        value.index() >= pass.first && uses.filter(|&&input| input == value).count() == 1
    }
}

/// A run over a range of nodes.
#[derive(Clone, Copy)]
struct ForwardPass {
    /// Index of the first node that is run.
    first: usize,
    mode: Mode,
    /// The type of feature maps.
    kind: Kind,
}
