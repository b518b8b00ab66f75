//! From a graph to a TorchScript module: one statement a node.

mod float;
mod int8;
mod network;
mod pool;

use std::borrow::Cow;

use crate::error::Result;
use crate::graph::{Activation, Affine, Graph, Node, Op};
use crate::weights::Tensor;

use super::precision::{Arithmetic, Target};
use super::torchscript::Module;

pub use network::Network;

/// Compiles a network.
///
/// The module's `forward` takes a batch `(n, 3, size, size)`, float32, bfloat16 or, as
/// [`takes_integers`] says, uint8, in channels-last order for fused operators, and gives float32
/// logits `(n, classes)`. Where the operators are fused, `prepare` packs the weights once, for
/// `batches.usual` pictures, and again for the methods of the other batches ([`method_of`]):
/// oneDNN would reorder weights of the wrong order at each call. With `observed` the method
/// `values` gives those nodes' values too, as float32 in the order asked for.
///
/// # Errors
/// [`Error::Data`](crate::error::Error::Data) when the weights do not fit the graph.
pub fn compile<'a>(
    network: &'a Network,
    target: Target,
    batches: Batches,
    observed: &[usize],
) -> Result<Module<'a>> {
    let mut compiler = Compiler {
        network,
        target,
        batches,
        observed,
        attributes: Vec::new(),
        prepare: String::new(),
        body: String::new(),
        head: head(&network.graph),
        forms: Vec::new(),
    };
    for place in 0..network.graph.nodes().len() {
        let form = compiler.node(place)?;
        compiler.forms.push(form);
    }
    compiler.finish()
}

/// The integers that a compiled network takes its pictures in, instead of real numbers.
pub fn takes_integers(network: &Network, target: Target) -> Option<Affine> {
    let input = network.affine(0)?;
    (target.fused && target.arithmetic == Arithmetic::Int8).then_some(input)
}

/// Numbers of pictures that run together.
#[derive(Debug, Clone, Copy)]
pub struct Batches {
    /// What weights are packed for, if no other batch wants them otherwise.
    pub usual: usize,
    /// Batches that have weights of their own.
    pub others: &'static [usize],
    /// Whether odd numbers are slower: oneDNN wants other weights for them.
    pub even: bool,
}

impl Batches {
    /// For code that packs no weights.
    pub const ANY: Self = Self {
        usual: 1,
        others: &[],
        even: false,
    };
}

/// The method for one of the batches that have weights of their own.
pub fn method_of(batch: usize) -> String {
    format!("forward{batch}")
}

/// Attributes of weights in the order that a kernel wants: the number of pictures and the layer
/// follow.
const PACKED: &str = "self.packed";

/// How a value is stored.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Float,
    Integer(Affine),
}

/// Where the head begins: after the last convolution and normalisation. It costs next to nothing,
/// and its sums decide, so it is never rounded to bfloat16.
fn head(graph: &Graph) -> usize {
    let body = |node: &Node| matches!(node.op, Op::Conv2d(_) | Op::BatchNorm2d(_));
    graph
        .nodes()
        .iter()
        .rposition(body)
        .map_or(0, |last| last + 1)
}

struct Compiler<'a, 'o> {
    network: &'a Network,
    target: Target,
    batches: Batches,
    observed: &'o [usize],
    attributes: Vec<(String, Cow<'a, Tensor>)>,
    prepare: String,
    body: String,
    /// Place of the first node of the head.
    head: usize,
    /// Of the nodes that are compiled; the value of node 3 is the variable `v3`.
    forms: Vec<Form>,
}

impl<'a> Compiler<'a, '_> {
    /// Writes a node's statements, and says how its value is stored.
    fn node(&mut self, place: usize) -> Result<Form> {
        let node = &self.network.graph.nodes()[place];
        let value = match &node.op {
            Op::Input => match takes_integers(self.network, self.target) {
                Some(affine) => {
                    self.assign(place, "x");
                    return Ok(Form::Integer(affine));
                }
                None => "x".into(),
            },
            Op::MaxPool2d(pool) => return self.max_pool(place, pool),
            Op::Conv2d(conv) if self.is_integer_layer(place) => {
                return self.integer_convolution(place, conv);
            }
            Op::Linear(linear) if self.is_integer_layer(place) => {
                return self.integer_linear(place, linear);
            }
            Op::Conv2d(conv) => self.convolution(place, conv)?,
            Op::Linear(_) => self.linear(place)?,
            Op::BatchNorm2d(norm) => {
                let [w, b, m, v] = ["weight", "bias", "running_mean", "running_var"]
                    .map(|suffix| self.parameter(place, suffix));
                let (x, w, b, m, v) = (self.float(node.inputs[0]), w?, b?, m?, v?);
                let eps = norm.eps;
                format!("torch.batch_norm({x}, {w}, {b}, {m}, {v}, False, 0.1, {eps:?}, False)")
            }
            Op::Affine { scale, shift } => {
                let [scale, shift] = [("scale", scale), ("shift", shift)].map(|(name, values)| {
                    let tensor = Tensor::f32([3, 1, 1], values.to_vec());
                    self.attribute(&format!("{name}{place}"), Cow::Owned(tensor))
                });
                let x = self.float(node.inputs[0]);
                format!("torch.add(torch.mul({x}, {scale}), {shift})")
            }
            Op::ToPlanes => format!(
                "torch.permute(torch.to(v{}, 6), [0, 3, 1, 2])",
                node.inputs[0]
            ),
            Op::GlobalAvgPool => self.global_average(node.inputs[0]),
            Op::Concat => {
                let all: Vec<String> = node.inputs.iter().map(|&i| self.float(i)).collect();
                format!("torch.cat([{}], 1)", all.join(", "))
            }
            Op::Add | Op::Mul => {
                let [a, b] = [0, 1].map(|i| self.float(node.inputs[i]));
                let operator = if node.op == Op::Add { "add" } else { "mul" };
                format!("torch.{operator}({a}, {b})")
            }
            other => self.unary(other, node.inputs[0])?,
        };
        self.assign(place, &value);
        self.stored(place)
    }

    /// An operator of one input that has no parameters.
    fn unary(&mut self, op: &Op, input: usize) -> Result<String> {
        let x = self.float(input);
        Ok(match op {
            Op::Activation(kind) => activation(*kind, &x),
            Op::AvgPool2d(pool) => {
                let (k, s, p) = (pair(pool.kernel), pair(pool.stride), pair(pool.padding));
                format!("torch.avg_pool2d({x}, {k}, {s}, {p}, False, True, None)")
            }
            Op::Flatten => format!("torch.flatten({x}, 1, -1)"),
            Op::Dropout { .. } => x,
            Op::Softmax => format!("torch.softmax({x}, -1)"),
            other => anyhow::bail!("{} is not an operator of one input", other.name()),
        })
    }

    /// Rounds the value that was just computed in float to what it is stored as.
    fn stored(&mut self, place: usize) -> Result<Form> {
        if self.target.arithmetic == Arithmetic::RoundedToBfloat16 && place < self.head {
            self.assign(place, &format!("torch.to(torch.to(v{place}, 15), 6)"));
        }
        let affine = match self.target.arithmetic {
            Arithmetic::Int8 => self.network.affine(place),
            _ => None,
        };
        let Some(affine) = affine else {
            return Ok(Form::Float);
        };
        let (scale, zero) = (f64::from(affine.scale), affine.zero_point);
        if self.target.fused {
            let q = format!("torch.add(torch.round(torch.div(v{place}, {scale:?})), {zero})");
            self.assign(place, &format!("torch.to(torch.clamp({q}, 0, 255), 0)"));
            return Ok(Form::Integer(affine));
        }
        let rounded =
            format!("torch.fake_quantize_per_tensor_affine(v{place}, {scale:?}, {zero}, 0, 255)");
        self.assign(place, &rounded);
        Ok(Form::Float)
    }

    /// A value as real numbers.
    fn float(&mut self, place: usize) -> String {
        let reader = self.forms.len();
        match self.forms[place] {
            Form::Float
                if self.target.arithmetic == Arithmetic::Bfloat16
                    && place < self.head
                    && reader >= self.head =>
            {
                format!("torch.to(v{place}, 6)")
            }
            Form::Float => format!("v{place}"),
            Form::Integer(affine) => dequantized(&format!("torch.to(v{place}, 6)"), affine),
        }
    }

    fn assign(&mut self, place: usize, value: &str) {
        self.line(&format!("v{place} = {value}"));
    }

    fn line(&mut self, statement: &str) {
        self.body.push_str(&format!("    {statement}\n"));
    }

    /// Keeps a tensor; gives the expression that names it.
    fn attribute(&mut self, name: &str, tensor: Cow<'a, Tensor>) -> String {
        self.attributes.push((name.into(), tensor));
        format!("self.{name}")
    }

    /// A float parameter of a layer, in the numbers of the target.
    fn parameter(&mut self, place: usize, suffix: &str) -> Result<String> {
        let tensor = Cow::Borrowed(self.network.tensor(place, suffix)?);
        let own = self.attribute(&format!("{suffix}{place}"), tensor);
        match self.target.arithmetic {
            _ if place >= self.head => {}
            Arithmetic::Bfloat16 => {
                self.prepare
                    .push_str(&format!("    {own} = torch.to({own}, 15)\n"));
            }
            Arithmetic::RoundedToBfloat16 => {
                let rounded = format!("torch.to(torch.to({own}, 15), 6)");
                self.prepare.push_str(&format!("    {own} = {rounded}\n"));
            }
            Arithmetic::Float32 | Arithmetic::Int8 => {}
        }
        Ok(own)
    }

    fn finish(mut self) -> Result<Module<'a>> {
        let output = self.network.graph.output();
        let answer = format!("torch.to({}, 6)", self.float(output));
        let mut methods = String::new();
        let mut method = |signature: &str, body: &str, answer: &str| {
            methods.push_str(&format!("  def {signature}:\n{body}    return {answer}\n"));
        };
        let packed = |batch: usize| format!("{PACKED}{batch}_");
        let usual = packed(self.batches.usual);
        if self.body.contains(&usual) {
            for &batch in self.batches.others {
                let name = method_of(batch);
                let signature = format!("{name}(self: __torch__.Net, x: Tensor) -> Tensor");
                method(
                    &signature,
                    &self.body.replace(&usual, &packed(batch)),
                    &answer,
                );
            }
        }
        method(
            "forward(self: __torch__.Net, x: Tensor) -> Tensor",
            &self.body,
            &answer,
        );
        if !self.observed.is_empty() {
            let observed = self.observed.to_vec();
            let values: Vec<String> = observed
                .into_iter()
                .map(|place| format!("torch.to({}, 6)", self.float(place)))
                .collect();
            method(
                "values(self: __torch__.Net, x: Tensor) -> List[Tensor]",
                &self.body,
                &format!("[{}]", values.join(", ")),
            );
        }
        if !self.prepare.is_empty() {
            method(
                "prepare(self: __torch__.Net) -> NoneType",
                &self.prepare,
                "None",
            );
        }
        Ok(Module {
            attributes: self.attributes,
            methods,
            extra: Vec::new(),
        })
    }
}

fn pair(value: usize) -> String {
    format!("[{value}, {value}]")
}

fn dequantized(x: &str, affine: Affine) -> String {
    let (scale, zero) = (f64::from(affine.scale), affine.zero_point);
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
    }
}
