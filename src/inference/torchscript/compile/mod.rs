//! From a graph to a TorchScript module: one statement a node.

mod float;
mod int8;
mod pool;
mod tokens;

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::archive::Module;
use super::batches::Batches;
use super::target::Target;
use crate::error::Result;
use crate::graph::{Activation, Graph, InferenceGraph, NodeId, Op, QuantizationParameters};
use crate::inference::{Arithmetic, head};
use crate::weights::Tensor;

/// A compiled network.
pub struct Compiled<'a> {
    pub module: Module<'a>,
    /// Whether weights are packed, so that each of [`Batches::sizes`] has a method of its own.
    pub packed: bool,
}

/// Compiles a network.
///
/// The module's `forward` takes a batch `(n, 3, size, size)`, float32, bfloat16 or, for integer kernels,
/// uint8, in channels-last order for fused operators, and gives float32
/// scores `(n, classes)`. Where the operators are fused, weights are packed once when the module is
/// loaded, since oneDNN would reorder weights of another order at each call; the order depends on
/// the batch size, so that each of them has a method, e.g. `forward1`. With `observed` the method
/// `values` gives those nodes' values, as float32 in the order asked for.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when the weights do not fit the graph.
pub fn compile<'a>(
    network: &'a InferenceGraph,
    target: Target,
    batches: Batches,
    observed: &[NodeId],
) -> Result<Compiled<'a>> {
    let mut parameters = Parameters::default();
    let method = |parameters: &mut Parameters<'a>, packing| -> Result<String> {
        let mut method = Method::new(network, target, batches, packing, observed, parameters);
        method.write()
    };
    let mut methods = method(&mut parameters, batches.usual)?;
    if parameters.packed {
        for size in batches.others() {
            methods.push_str(&method(&mut parameters, size)?);
        }
    }
    Ok(Compiled {
        packed: parameters.packed,
        module: Module {
            attributes: parameters.attributes,
            methods,
            prepare: parameters.prepare,
            extra: Vec::new(),
        },
    })
}

/// How the images of a compiled network are quantized, if it takes integers.
pub(super) fn takes_integers(
    network: &InferenceGraph,
    target: Target,
) -> Option<QuantizationParameters> {
    let input = network.qparams(network.graph().input())?;
    (target.fused && target.arithmetic == Arithmetic::Int8).then_some(input)
}

/// The method whose weights are packed for a batch size.
pub(super) fn method_of(size: usize, batches: Batches) -> String {
    match size == batches.usual {
        true => "forward".into(),
        false => format!("forward{size}"),
    }
}

/// What the methods of a module share.
#[derive(Default)]
struct Parameters<'a> {
    attributes: Vec<(String, Cow<'a, Tensor>)>,
    names: BTreeSet<String>,
    /// Statements that run once, on the attributes.
    prepare: String,
    packed: bool,
}

impl<'a> Parameters<'a> {
    /// Adds an attribute unless it is there. Says whether it was added.
    fn add(&mut self, name: &str, tensor: Cow<'a, Tensor>) -> bool {
        let added = self.names.insert(name.into());
        if added {
            self.attributes.push((name.into(), tensor));
        }
        added
    }

    fn prepare(&mut self, statement: &str) {
        self.prepare.push_str(&format!("    {statement}\n"));
    }
}

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Float,
    Integer(QuantizationParameters),
}

/// The variable of a node's value.
fn v(id: NodeId) -> String {
    format!("v{}", id.index())
}

/// A method in the making.
struct Method<'a, 'o> {
    network: &'a InferenceGraph,
    graph: &'a Graph,
    target: Target,
    batches: Batches,
    /// The batch size that the weights of this method are packed for.
    packing: usize,
    observed: &'o [NodeId],
    /// Index of the first node of the head.
    head: usize,
    parameters: &'o mut Parameters<'a>,
    body: String,
    /// Of the nodes that are written.
    forms: Vec<Form>,
}

impl<'a, 'o> Method<'a, 'o> {
    fn new(
        network: &'a InferenceGraph,
        target: Target,
        batches: Batches,
        packing: usize,
        observed: &'o [NodeId],
        parameters: &'o mut Parameters<'a>,
    ) -> Self {
        Self {
            network,
            graph: network.graph(),
            target,
            batches,
            packing,
            observed,
            head: head(network.graph()),
            parameters,
            body: String::new(),
            forms: Vec::new(),
        }
    }

    /// The code of the method; with it that of `values`, if nodes are observed.
    fn write(&mut self) -> Result<String> {
        for id in self.graph.ids() {
            let form = self.node(id)?;
            self.forms.push(form);
        }
        let name = method_of(self.packing, self.batches);
        let scores = self.as_float32(self.graph.output());
        let mut code = format!(
            "  def {name}(self: __torch__.Net, x: Tensor) -> Tensor:\n{}    return {scores}\n",
            self.body
        );
        if !self.observed.is_empty() && self.packing == self.batches.usual {
            let values = self.observed.iter().map(|&id| self.as_float32(id));
            let values = values.collect::<Vec<_>>().join(", ");
            code.push_str(&format!(
                "  def values(self: __torch__.Net, x: Tensor) -> List[Tensor]:\n{}    return \
                 [{values}]\n",
                self.body
            ));
        }
        Ok(code)
    }

    fn as_float32(&self, id: NodeId) -> String {
        format!("torch.to({}, 6)", self.float(id))
    }

    /// Writes a node's statements, and says how its value is stored.
    fn node(&mut self, id: NodeId) -> Result<Form> {
        let graph = self.graph;
        let node = &graph[id];
        let x = |method: &Self| method.float(node.inputs[0]);
        let value = match &node.op {
            Op::Input => match takes_integers(self.network, self.target) {
                Some(qparams) => {
                    self.assign(id, "x");
                    return Ok(Form::Integer(qparams));
                }
                None => "x".into(),
            },
            Op::MaxPool2d(pool) => return self.max_pool(id, pool),
            Op::Conv2d(conv) => match self.integer_layer(id) {
                Some(weight) => return self.integer_convolution(id, conv, weight),
                None => self.convolution(id, conv)?,
            },
            Op::Linear(linear) => match self.integer_layer(id) {
                Some(weight) => return self.integer_linear(id, linear, weight),
                None => self.linear(id)?,
            },
            Op::BatchNorm2d(norm) => {
                let [w, b, m, v] = ["weight", "bias", "running_mean", "running_var"]
                    .map(|suffix| self.parameter(id, suffix));
                let (x, w, b, m, v) = (x(self), w?.0, b?.0, m?.0, v?.0);
                let eps = norm.eps;
                format!("torch.batch_norm({x}, {w}, {b}, {m}, {v}, False, 0.1, {eps:?}, False)")
            }
            Op::Normalize { scale, shift } => {
                let [scale, shift] = [("scale", scale), ("shift", shift)].map(|(name, values)| {
                    let tensor = Tensor::f32([3, 1, 1], values.to_vec());
                    self.attribute(name, id, Cow::Owned(tensor)).0
                });
                format!("torch.add(torch.mul({}, {scale}), {shift})", x(self))
            }
            Op::PixelsToFloat => format!(
                "torch.permute(torch.to({}, 6), [0, 3, 1, 2])",
                v(node.inputs[0])
            ),
            Op::LayerNorm(norm) => self.layer_norm(id, norm)?,
            Op::LayerScale { .. } => {
                let scale = self.parameter(id, "")?.0;
                format!("torch.mul({}, {scale})", x(self))
            }
            Op::Slice { .. } | Op::ChannelShuffle { .. } => return Ok(self.rearranged(id)),
            Op::Tokens => self.tokens(id),
            Op::ClassToken { .. } => self.class_token(id)?,
            Op::PositionEmbedding { .. } => {
                let embedding = self.parameter(id, "")?.0;
                format!("torch.add({}, {embedding})", x(self))
            }
            Op::Attention { heads } => self.attention(id, *heads),
            Op::FirstToken => format!("torch.select({}, 1, 0)", x(self)),
            Op::Activation(kind) => activation(*kind, &x(self)),
            Op::AvgPool2d(pool) => {
                let (k, s, p) = (pair(pool.kernel), pair(pool.stride), pair(pool.padding));
                format!(
                    "torch.avg_pool2d({}, {k}, {s}, {p}, False, True, None)",
                    x(self)
                )
            }
            Op::GlobalAvgPool => self.global_average(node.inputs[0]),
            Op::Concat => {
                let all: Vec<String> = node.inputs.iter().map(|&id| self.float(id)).collect();
                format!("torch.cat([{}], 1)", all.join(", "))
            }
            Op::Add => format!("torch.add({}, {})", x(self), self.float(node.inputs[1])),
            Op::Mul => format!("torch.mul({}, {})", x(self), self.float(node.inputs[1])),
            Op::Flatten => format!("torch.flatten({}, 1, -1)", x(self)),
            Op::Dropout { .. } | Op::StochasticDepth { .. } => x(self),
            Op::Softmax => format!("torch.softmax({}, -1)", x(self)),
        };
        self.assign(id, &value);
        Ok(self.stored(id))
    }

    /// Rounds the value that was just computed in float to the type that it is stored in.
    fn stored(&mut self, id: NodeId) -> Form {
        let value = v(id);
        if self.target.arithmetic == Arithmetic::EmulatedBfloat16 && id.index() < self.head {
            self.assign(id, &format!("torch.to(torch.to({value}, 15), 6)"));
        }
        let qparams = match self.target.arithmetic {
            Arithmetic::Int8 => self.network.qparams(id),
            _ => None,
        };
        let Some(qparams) = qparams else {
            return Form::Float;
        };
        let (scale, zero) = (f64::from(qparams.scale), qparams.zero_point);
        if self.target.fused {
            let q = format!("torch.add(torch.round(torch.div({value}, {scale:?})), {zero})");
            self.assign(id, &format!("torch.to(torch.clamp({q}, 0, 255), 0)"));
            return Form::Integer(qparams);
        }
        let rounded =
            format!("torch.fake_quantize_per_tensor_affine({value}, {scale:?}, {zero}, 0, 255)");
        self.assign(id, &rounded);
        Form::Float
    }

    /// A value as real numbers, for the node that is being written.
    fn float(&self, id: NodeId) -> String {
        let reader = self.forms.len();
        match self.forms[id.index()] {
            Form::Float
                if self.target.arithmetic == Arithmetic::Bfloat16
                    && id.index() < self.head
                    && reader >= self.head =>
            {
                format!("torch.to({}, 6)", v(id))
            }
            Form::Float => v(id),
            Form::Integer(qparams) => dequantized(&format!("torch.to({}, 6)", v(id)), qparams),
        }
    }

    fn assign(&mut self, id: NodeId, value: &str) {
        self.line(&format!("{} = {value}", v(id)));
    }

    fn line(&mut self, statement: &str) {
        self.body.push_str(&format!("    {statement}\n"));
    }

    /// Keeps a tensor of a node; gives the expression that names it, and whether it is new.
    fn attribute(&mut self, name: &str, id: NodeId, tensor: Cow<'a, Tensor>) -> (String, bool) {
        let name = format!("{name}{}", id.index());
        let added = self.parameters.add(&name, tensor);
        (format!("self.{name}"), added)
    }

    /// A float parameter of a layer, in the arithmetic of the target, and whether it is new.
    fn parameter(&mut self, id: NodeId, suffix: &str) -> Result<(String, bool)> {
        let tensor = Cow::Borrowed(self.network.parameter(id, suffix)?);
        let name = if suffix.is_empty() { "value" } else { suffix };
        let (own, added) = self.attribute(name, id, tensor);
        let converted = match self.target.arithmetic {
            _ if id.index() >= self.head || !added => None,
            Arithmetic::Bfloat16 => Some(format!("torch.to({own}, 15)")),
            Arithmetic::EmulatedBfloat16 => Some(format!("torch.to(torch.to({own}, 15), 6)")),
            Arithmetic::Float32 | Arithmetic::Int8 => None,
        };
        if let Some(converted) = converted {
            self.parameters.prepare(&format!("{own} = {converted}"));
        }
        Ok((own, added))
    }
}

fn pair(value: usize) -> String {
    both([value; 2])
}

/// For height and width.
fn both([height, width]: [usize; 2]) -> String {
    format!("[{height}, {width}]")
}

fn dequantized(x: &str, qparams: QuantizationParameters) -> String {
    let (scale, zero) = (f64::from(qparams.scale), qparams.zero_point);
    match zero {
        0 => format!("torch.mul({x}, {scale:?})"),
        _ => format!("torch.mul(torch.sub({x}, {zero}), {scale:?})"),
    }
}

fn activation(kind: Activation, x: &str) -> String {
    match kind {
        Activation::Relu => format!("torch.relu({x})"),
        Activation::Relu6 => format!("torch.hardtanh({x}, 0., 6.)"),
        Activation::Hardswish => format!("torch.hardswish({x})"),
        Activation::Hardsigmoid => format!("torch.hardsigmoid({x})"),
        Activation::Silu => format!("torch.silu({x})"),
        Activation::Sigmoid => format!("torch.sigmoid({x})"),
        // In archives of this version it takes no more.
        Activation::Gelu => format!("torch.gelu({x})"),
    }
}
