//! A plan in the making: the values that nodes have computed, and the steps so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;

use super::arena::{Region, place};
use super::values::{Argument, BufferId, Slot, Value};
use super::{Form, Operand, Place, Placed, Plan, Step, Work};
use crate::error::Result;
use crate::graph::{Graph, InferenceGraph, Node, NodeId, Op, QuantizationParameters};
use crate::inference::Arithmetic;
use crate::inference::onednn::attributes::Settings;
use crate::inference::onednn::constants::Constants;
use crate::inference::onednn::ffi;
use crate::inference::onednn::memory::{Buffer, Desc, Kind};
use crate::inference::onednn::primitives::Primitive;

/// Makes the primitives of a network for batches of `batch` images, for as many threads as the calling
/// thread has. Its outputs are the scores and the values of the observed nodes.
///
/// Feature maps have their channels innermost, so that kernels of every kind follow each other without
/// copies in between; only weights are in an order that oneDNN chooses.
///
/// # Errors
/// When oneDNN has no fast kernel for a node, with its name.
pub(in crate::inference::onednn) fn build(
    network: &InferenceGraph,
    arithmetic: Arithmetic,
    batch: usize,
    observed: &[NodeId],
    constants: &Constants,
) -> Result<Plan> {
    let graph = network.graph();
    let mut builder = Builder {
        network,
        graph,
        arithmetic,
        head: crate::inference::head(graph),
        batch,
        observed,
        constants,
        values: Vec::new(),
        floats: BTreeMap::new(),
        regions: Vec::new(),
        steps: Vec::new(),
        scratchpad: 0,
    };
    for (id, node) in graph.iter() {
        let value = builder.node(id, node);
        let value = value.with_context(|| format!("{} ({})", node.name, node.op.name()))?;
        builder.values.push(value);
    }
    builder.finish()
}

pub(super) struct Builder<'a> {
    pub(super) network: &'a InferenceGraph,
    pub(super) graph: &'a Graph,
    pub(super) arithmetic: Arithmetic,
    head: usize,
    pub(super) batch: usize,
    observed: &'a [NodeId],
    constants: &'a Constants,
    /// Of the nodes so far.
    values: Vec<Value>,
    /// Values of other forms as real numbers.
    floats: BTreeMap<(NodeId, Kind), Value>,
    regions: Vec<Region>,
    steps: Vec<(Work, Vec<Argument>)>,
    scratchpad: usize,
}

impl Builder<'_> {
    fn node(&mut self, id: NodeId, node: &Node) -> Result<Value> {
        match &node.op {
            Op::Input => self.input(id),
            Op::Conv2d(conv) => self.convolution(id, conv),
            Op::Linear(linear) => self.linear(id, linear),
            Op::BatchNorm2d(norm) => self.batch_norm(id, norm),
            Op::LayerNorm(norm) => self.layer_norm(id, norm),
            Op::LayerScale { features, .. } => self.layer_scale(id, *features),
            Op::Activation(kind) => self.activation(id, *kind),
            Op::MaxPool2d(pool) => self.max_pool(id, pool),
            Op::AvgPool2d(pool) => self.average_pool(id, pool),
            Op::GlobalAvgPool => self.global_average(id),
            Op::Add => self.add(id),
            Op::Mul => self.multiply(id),
            Op::Concat => self.concat(id),
            &Op::Slice { start, .. } => self.slice(id, start),
            &Op::ChannelShuffle { groups } => self.shuffle(id, groups),
            Op::Flatten => self.flatten(id),
            Op::Dropout { .. } | Op::StochasticDepth { .. } => Ok(self.value(node.inputs[0])),
            Op::Softmax => self.softmax(id),
            Op::Tokens => self.tokens(id),
            Op::ClassToken { features } => self.class_token(id, *features),
            Op::PositionEmbedding { tokens, features } => {
                self.position_embedding(id, tokens * features)
            }
            Op::Attention { heads } => self.attention(id, *heads),
            Op::FirstToken => self.first_token(id),
            Op::PixelsToFloat | Op::Normalize { .. } => {
                anyhow::bail!("images are normalised before a plan")
            }
        }
    }

    fn input(&mut self, id: NodeId) -> Result<Value> {
        let form = match self.qparams(id) {
            Some(qparams) => Form::Integer(qparams),
            None => Form::Float(self.kind(id)),
        };
        let dims = self.dims(id)?;
        self.new_value(Desc::channels_last(form.kind(), dims)?, form)
    }

    /// The float type that a node computes in.
    pub(super) fn kind(&self, id: NodeId) -> Kind {
        match self.arithmetic {
            Arithmetic::Bfloat16 if id.index() < self.head => Kind::Bfloat16,
            _ => Kind::Float32,
        }
    }

    /// The quantization parameters of a value that is stored as integers.
    pub(super) fn qparams(&self, id: NodeId) -> Option<QuantizationParameters> {
        match self.arithmetic {
            Arithmetic::Int8 => self.network.qparams(id),
            _ => None,
        }
    }

    /// The shape of a node's map for a batch.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn dims(&self, id: NodeId) -> Result<[usize; 4]> {
        match self.graph[id].shape[..] {
            [channels, height, width] => Ok([self.batch, channels, height, width]),
            ref shape => anyhow::bail!("a feature map is needed, and the shape is {shape:?}"),
        }
    }

    /// The dense descriptor of a node's value: maps with the channels innermost.
    pub(super) fn desc(&self, id: NodeId, kind: Kind) -> Result<Desc> {
        match self.graph[id].shape.len() {
            3 => Desc::channels_last(kind, self.dims(id)?),
            _ => {
                let mut dims = vec![self.batch];
                dims.extend(&self.graph[id].shape);
                Desc::dense(kind, &dims)
            }
        }
    }

    /// A value as it is stored.
    pub(super) fn value(&self, id: NodeId) -> Value {
        self.values[id.index()].clone()
    }

    /// A value as real numbers of a type.
    ///
    /// # Errors
    /// When oneDNN can't convert it.
    pub(super) fn float(&mut self, id: NodeId, kind: Kind) -> Result<Value> {
        let value = self.value(id);
        if value.form == Form::Float(kind) {
            return Ok(value);
        }
        if let Some(found) = self.floats.get(&(id, kind)) {
            return Ok(found.clone());
        }
        let desc = self.desc(id, kind)?;
        let converted = self.new_value(desc, Form::Float(kind))?;
        self.copy(&value, &converted)?;
        self.floats.insert((id, kind), converted.clone());
        Ok(converted)
    }

    /// The value of a node that was computed as real numbers, in the form that its readers take.
    ///
    /// # Errors
    /// As [`Builder::float`].
    pub(super) fn stored(&mut self, id: NodeId, real: Value) -> Result<Value> {
        let Some(qparams) = self.qparams(id) else {
            return Ok(real);
        };
        let rounded = self.new_value(self.desc(id, Kind::Uint8)?, Form::Integer(qparams))?;
        self.copy(&real, &rounded)?;
        Ok(rounded)
    }

    /// A place for a node's value in the form that its readers take.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn place(&mut self, id: NodeId, form: Form) -> Result<Value> {
        self.new_value(self.desc(id, form.kind())?, form)
    }

    pub(super) fn new_value(&mut self, desc: Desc, form: Form) -> Result<Value> {
        let now = self.steps.len();
        self.regions.push(Region {
            size: desc.size(),
            steps: now..=now,
        });
        Ok(Value {
            desc,
            buffer: BufferId(self.regions.len() - 1),
            form,
        })
    }

    /// The memory of a value for its reader to write on: its own where nobody else reads it, else a copy.
    ///
    /// # Errors
    /// As [`Builder::float`].
    pub(super) fn owned(&mut self, of: NodeId, value: Value, reader: NodeId) -> Result<Value> {
        let is_shared = |other: NodeId| {
            let used_later = self.graph.readers(other).iter().any(|&at| at > reader);
            used_later || other == self.graph.output() || self.observed.contains(&other)
        };
        let others = self.values.iter().enumerate();
        let mut others = others.filter(|(_, other)| other.buffer == value.buffer);
        let ids: Vec<NodeId> = self.graph.ids().collect();
        let reads = self.graph[reader].inputs.iter();
        let reads = reads.filter(|&&at| self.value(at).buffer == value.buffer);
        if reads.count() < 2 && !others.any(|(at, _)| is_shared(ids[at])) {
            self.floats.retain(|_, other| other.buffer != value.buffer);
            return Ok(value);
        }
        let copy = self.place(of, value.form)?;
        self.copy(&value, &copy)?;
        Ok(copy)
    }

    /// Copies a value, between forms if need be.
    ///
    /// # Errors
    /// When oneDNN can't.
    pub(super) fn copy(&mut self, from: &Value, to: &Value) -> Result<()> {
        self.copy_at((from, &from.desc, 0), (to, &to.desc, 0))
    }

    /// Copies a part of a value to a part of another, each given by a descriptor and an offset in numbers.
    ///
    /// # Errors
    /// When oneDNN can't.
    pub(super) fn copy_at(
        &mut self,
        (from, from_desc, from_offset): (&Value, &Desc, usize),
        (to, to_desc, to_offset): (&Value, &Desc, usize),
    ) -> Result<()> {
        let mut settings = Settings::default();
        let mut arguments = Vec::new();
        if from.form != to.form {
            for (role, form) in [(ffi::SRC, from.form), (ffi::DST, to.form)] {
                if let Form::Integer(qparams) = form {
                    self.quantized(role, qparams, &mut settings, &mut arguments)?;
                }
            }
        }
        let primitive = Primitive::reorder([from_desc, to_desc], &settings)?;
        let sizes = [from, to].map(|value| value.form.kind().size());
        arguments.push(from.part(ffi::SRC, from_desc, from_offset * sizes[0]));
        arguments.push(to.part(ffi::DST, to_desc, to_offset * sizes[1]));
        self.kernel(primitive, arguments)
    }

    /// Settings and arguments that give one argument a scale and a zero point.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn quantized(
        &self,
        role: i32,
        qparams: QuantizationParameters,
        settings: &mut Settings,
        arguments: &mut Vec<Argument>,
    ) -> Result<()> {
        settings.scales.push((role, 0));
        arguments.push(Argument::numbers(
            ffi::SCALES_OF | role,
            Kind::Float32,
            &qparams.scale.to_ne_bytes(),
        )?);
        if qparams.zero_point != 0 {
            settings.zero_points.push(role);
            let zero_point = i32::from(qparams.zero_point).to_ne_bytes();
            arguments.push(Argument::numbers(
                ffi::ZERO_POINTS_OF | role,
                Kind::Int32,
                &zero_point,
            )?);
        }
        Ok(())
    }

    /// A constant of a node in the order of `desc`, made of `source` unless it was made before.
    ///
    /// # Errors
    /// Those of `source`.
    pub(super) fn constant(
        &self,
        role: i32,
        of: (NodeId, &'static str),
        desc: Desc,
        source: impl FnOnce() -> Result<(Desc, Buffer)>,
    ) -> Result<Argument> {
        let are_integers = self.network.int8_weight(of.0).is_some() && role == ffi::WEIGHTS;
        let buffer = self.constants.get(of, &desc, are_integers, source)?;
        Ok(Argument {
            role,
            desc,
            slot: Slot::Constant(buffer),
        })
    }

    /// A float parameter of a node as an argument, in another shape and perhaps another type.
    ///
    /// # Errors
    /// When the node has none.
    pub(super) fn parameter(
        &self,
        role: i32,
        (id, suffix): (NodeId, &'static str),
        kind: Kind,
        dims: &[usize],
    ) -> Result<Argument> {
        let desc = Desc::dense(kind, dims)?;
        self.constant(role, (id, suffix), desc, || {
            let values = floats(self.network, id, suffix)?;
            Ok((Desc::dense(Kind::Float32, dims)?, bytes(values)))
        })
    }

    /// Adds a step that runs a primitive.
    ///
    /// # Errors
    /// When memory runs out.
    pub(super) fn kernel(&mut self, primitive: Primitive, arguments: Vec<Argument>) -> Result<()> {
        self.kernels(&Arc::new(primitive), arguments)
    }

    /// As [`Builder::kernel`], for a primitive that runs several times.
    ///
    /// # Errors
    /// As there.
    pub(super) fn kernels(
        &mut self,
        primitive: &Arc<Primitive>,
        mut arguments: Vec<Argument>,
    ) -> Result<()> {
        self.scratchpad = self.scratchpad.max(primitive.scratchpad.size());
        arguments.push(Argument {
            role: ffi::SCRATCHPAD,
            desc: primitive.scratchpad.clone(),
            slot: Slot::Scratchpad,
        });
        self.step(Work::Kernel(Arc::clone(primitive)), arguments);
        Ok(())
    }

    pub(super) fn step(&mut self, work: Work, arguments: Vec<Argument>) {
        let now = self.steps.len();
        for argument in &arguments {
            if let Slot::Buffer(BufferId(at), _) = argument.slot {
                let steps = &mut self.regions[at].steps;
                *steps = (*steps.start()).min(now)..=now;
            }
        }
        self.steps.push((work, arguments));
    }

    fn finish(mut self) -> Result<Plan> {
        let input = self.value(self.graph.input());
        let mut outputs = Vec::new();
        for id in std::iter::once(self.graph.output()).chain(self.observed.iter().copied()) {
            outputs.push((id, self.float(id, Kind::Float32)?));
        }
        let end = self.steps.len();
        // Read after the last step, and written before the first.
        for (_, output) in &outputs {
            let steps = &mut self.regions[output.buffer.0].steps;
            *steps = *steps.start()..=end;
        }
        let steps = &mut self.regions[input.buffer.0].steps;
        *steps = 0..=*steps.end();
        self.regions.push(Region {
            size: self.scratchpad,
            steps: 0..=end,
        });
        let (offsets, size) = place(&self.regions);
        let placed = |id: NodeId, value: &Value| Placed {
            offset: offsets[value.buffer.0],
            values: self.batch * self.graph[id].shape.iter().product::<usize>(),
            form: value.form,
        };
        let input = placed(self.graph.input(), &input);
        let outputs = outputs.iter().map(|(id, value)| placed(*id, value));
        let outputs = outputs.collect();
        let scratchpad = offsets[self.regions.len() - 1];
        let operand = |argument: Argument| Operand {
            role: argument.role,
            desc: argument.desc,
            place: match argument.slot {
                Slot::Buffer(BufferId(at), offset) => Place::Value(offsets[at] + offset),
                Slot::Constant(buffer) => Place::Constant(buffer),
                Slot::Scratchpad => Place::Value(scratchpad),
            },
        };
        let steps = self.steps.into_iter().map(|(work, arguments)| Step {
            work,
            operands: arguments.into_iter().map(operand).collect(),
        });
        Ok(Plan {
            steps: steps.collect(),
            size,
            input,
            outputs,
        })
    }
}

/// The values of a float parameter.
///
/// # Errors
/// When the node has none.
pub(super) fn floats<'a>(
    network: &'a InferenceGraph,
    id: NodeId,
    suffix: &str,
) -> Result<&'a [f32]> {
    let tensor = network.parameter(id, suffix)?;
    let values = tensor.as_f32();
    values.with_context(|| format!("{suffix} is not float32"))
}

/// float32 numbers in memory.
pub(super) fn bytes(values: &[f32]) -> Buffer {
    let mut buffer = Buffer::new(4 * values.len());
    let places = buffer.bytes_mut().as_chunks_mut().0;
    for (place, value) in places.iter_mut().zip(values) {
        *place = value.to_ne_bytes();
    }
    buffer
}
