//! An ONNX model in memory, run node by node.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail, ensure};
use prost::Message;
use tch::{Kind, Tensor};

use super::OPSETS;
use super::operators;
use super::proto::{Graph, Initializer, Model, Node, ValueInfo};
use crate::error::Result;
use crate::inference::{Backend, Execution, Images};
use crate::torch::torch;

type Values = HashMap<String, Tensor>;

/// A model of one input and one output, on the CPU.
pub struct Interpreter {
    opset: i64,
    /// What depends on the input, each with the values that nobody reads after it.
    nodes: Vec<(Node, Vec<String>)>,
    constants: Mutex<Values>,
    input: Declared,
    output: Declared,
}

/// What the graph says of its input or output.
struct Declared {
    name: String,
    kind: Kind,
    /// `None` for a length that is left open.
    shape: Vec<Option<i64>>,
}

impl Interpreter {
    /// Decodes a file, and computes what depends on constants alone.
    ///
    /// # Errors
    /// For a model that is broken or beyond this interpreter, naming the node.
    pub fn read(file: &[u8]) -> Result<Self> {
        let model = Model::decode(file)?;
        let opset = match &*model.opset_import {
            [set] if set.domain.is_empty() && OPSETS.contains(&set.version) => set.version,
            sets => bail!("its operators are of unknown sets: {sets:?}"),
        };
        let graph = model.graph.context("it has no graph")?;
        let (input, output) = match (&*graph.input, &*graph.output) {
            ([input], [output]) => (Declared::of(input)?, Declared::of(output)?),
            _ => bail!("it has not one input and one output"),
        };
        let mut constants = constants(&graph)?;
        let mut nodes = Vec::new();
        for node in graph.node {
            match node.input.iter().all(|name| constants.contains_key(name)) {
                true => step(&node, opset, &mut constants)?,
                false => nodes.push(node),
            }
        }
        Ok(Self {
            opset,
            nodes: with_last_reads(nodes, &output.name),
            constants: Mutex::new(constants),
            input,
            output,
        })
    }

    fn run(&self, x: Tensor) -> Result<Tensor> {
        self.input.check(&x)?;
        let constants = self.constants.lock();
        let constants = constants.unwrap_or_else(PoisonError::into_inner);
        let mut values: Values = constants
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        drop(constants);
        define(&mut values, &self.input.name, x)?;
        for (node, read_last) in &self.nodes {
            step(node, self.opset, &mut values)?;
            for name in read_last {
                values.remove(name);
            }
        }
        let name = &self.output.name;
        let output = values.remove(name);
        let output = output.with_context(|| format!("no node computes {name}"))?;
        self.output.check(&output)?;
        Ok(output)
    }
}

impl Backend for Interpreter {
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>> {
        let side = self.image_size() as i64;
        let x = match images {
            Images::Rgb8(pixels) => Tensor::from_slice(pixels).f_reshape([-1, side, side, 3]),
            Images::Normalised(planes) => Tensor::from_slice(planes).f_reshape([-1, 3, side, side]),
        };
        let scores = tch::no_grad(|| self.run(torch(x)?))?;
        Ok(Vec::try_from(torch(scores.f_reshape([-1]))?)?)
    }

    fn classes(&self) -> usize {
        self.output.length(1)
    }

    fn image_size(&self) -> usize {
        // Channels come first or last.
        self.input.length(2)
    }

    fn execution(&self) -> Execution {
        Execution::PLAIN
    }
}

impl Declared {
    fn of(info: &ValueInfo) -> Result<Self> {
        let tensor = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref());
        let tensor = tensor.with_context(|| format!("{} is not a tensor", info.name))?;
        let shape = tensor.shape.as_ref();
        let shape = shape.with_context(|| format!("{} has no shape", info.name))?;
        Ok(Self {
            name: info.name.clone(),
            kind: operators::kind(tensor.element.into())?,
            shape: shape.dim.iter().map(|length| length.value).collect(),
        })
    }

    /// The length of a dimension, 0 where it is left open or missing.
    fn length(&self, dimension: usize) -> usize {
        let length = self.shape.get(dimension).copied().flatten();
        length.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
    }

    fn check(&self, tensor: &Tensor) -> Result<()> {
        let (kind, shape) = (tensor.kind(), tensor.size());
        let fits = self.shape.len() == shape.len()
            && self
                .shape
                .iter()
                .zip(&shape)
                .all(|(declared, found)| declared.is_none_or(|length| length == *found));
        ensure!(
            kind == self.kind && fits,
            "{} is {kind:?} {shape:?}, and declared as {:?} {:?}",
            self.name,
            self.kind,
            self.shape
        );
        Ok(())
    }
}

fn constants(graph: &Graph) -> Result<Values> {
    let mut values = Values::new();
    for initializer in &graph.initializer {
        let name = &initializer.name;
        let tensor = constant(initializer).with_context(|| name.clone())?;
        define(&mut values, name, tensor)?;
    }
    Ok(values)
}

fn constant(initializer: &Initializer) -> Result<Tensor> {
    let Initializer { dims, raw_data, .. } = initializer;
    let kind = operators::kind(initializer.data_type.into())?;
    let mut lengths = dims.iter().map(|&length| usize::try_from(length).ok());
    let bytes = lengths.try_fold(kind.elt_size_in_bytes(), |bytes, length| {
        bytes.checked_mul(length?)
    });
    ensure!(
        bytes == Some(raw_data.len()),
        "{} bytes do not fit {kind:?} {dims:?}",
        raw_data.len()
    );
    torch(Tensor::f_from_data_size(raw_data, dims, kind))
}

/// Computes a node, and keeps its outputs.
fn step(node: &Node, opset: i64, values: &mut Values) -> Result<()> {
    let name = || format!("{} {}", node.op_type, node.name);
    let input = |value: &String| {
        let found = values.get(value);
        found.with_context(|| format!("{} reads {value} before it is computed", name()))
    };
    let inputs: Vec<&Tensor> = node.input.iter().map(input).collect::<Result<_>>()?;
    let outputs = operators::run(node, opset, &inputs).with_context(name)?;
    ensure!(
        outputs.len() == node.output.len(),
        "{} has {} outputs",
        name(),
        node.output.len()
    );
    for (name, output) in node.output.iter().zip(outputs) {
        define(values, name, output)?;
    }
    Ok(())
}

fn define(values: &mut Values, name: &str, value: Tensor) -> Result<()> {
    let before = values.insert(name.into(), value);
    ensure!(before.is_none(), "{name} is defined twice");
    Ok(())
}

/// Each node with its inputs that neither a later node reads nor the caller.
fn with_last_reads(nodes: Vec<Node>, output: &str) -> Vec<(Node, Vec<String>)> {
    let mut read = HashSet::from([output.to_owned()]);
    let mut annotated = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().rev() {
        let inputs = node.input.iter();
        let last = inputs.filter(|name| read.insert((*name).clone()));
        let last = last.cloned().collect();
        annotated.push((node, last));
    }
    annotated.reverse();
    annotated
}
