//! A TensorFlow Lite file in the making: tensors, operators, and the tables that hold them.

use super::flatbuffer::{Field, Table};
use super::schema::{
    IDENTIFIER, VERSION, buffer, dtype, metadata, model, operator, operator_code, options_type,
    quantization, signature, subgraph, tensor,
};

/// A tensor of a file, by position.
pub(super) type TensorId = i32;

/// How integers stand for real numbers: `scale * (q - zero_point)`, one pair or one for each slice of
/// an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scales {
    pub scale: Vec<f32>,
    pub zero_point: Vec<i64>,
    pub axis: i32,
}

impl Scales {
    pub(super) fn one(scale: f32, zero_point: i64) -> Self {
        Self {
            scale: vec![scale],
            zero_point: vec![zero_point],
            axis: 0,
        }
    }

    /// Symmetric, along an axis.
    pub(super) fn along(axis: i32, scale: Vec<f32>) -> Self {
        Self {
            zero_point: vec![0; scale.len()],
            scale,
            axis,
        }
    }
}

struct Entry {
    name: String,
    shape: Vec<i32>,
    dtype: i8,
    scales: Option<Scales>,
    /// Position of its constant's buffer; 0 for what is computed.
    buffer: u32,
}

struct Operator<'a> {
    code: u32,
    inputs: Vec<TensorId>,
    outputs: Vec<TensorId>,
    options_type: u8,
    options: Table<'a>,
}

/// A file in the making.
pub(super) struct File<'a> {
    /// The first one stands for no data.
    buffers: Vec<Vec<u8>>,
    tensors: Vec<Entry>,
    operators: Vec<Operator<'a>>,
    /// Operators with their versions.
    codes: Vec<(i32, i32)>,
}

/// What surrounds the network in a file.
pub(super) struct Frame<'a> {
    pub input: TensorId,
    pub output: TensorId,
    pub description: &'a str,
    /// The content of the entry `TFLITE_METADATA`.
    pub metadata: Vec<u8>,
}

/// Names of the signature's input and output.
pub(super) const INPUT: &str = "image";
pub(super) const OUTPUT: &str = "probabilities";

impl<'a> File<'a> {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![Vec::new()],
            tensors: Vec::new(),
            operators: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// A tensor that is computed, or the input.
    pub(super) fn tensor(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        dtype: i8,
        scales: Option<Scales>,
    ) -> TensorId {
        self.tensors.push(Entry {
            name: name.into(),
            shape: shape.iter().map(|&side| side as i32).collect(),
            dtype,
            scales,
            buffer: 0,
        });
        self.tensors.len() as TensorId - 1
    }

    /// A constant, little-endian.
    pub(super) fn constant(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        dtype: i8,
        bytes: Vec<u8>,
        scales: Option<Scales>,
    ) -> TensorId {
        let id = self.tensor(name, shape, dtype, scales);
        self.buffers.push(bytes);
        self.tensors[id as usize].buffer = self.buffers.len() as u32 - 1;
        id
    }

    pub(super) fn floats(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: &[f32],
    ) -> TensorId {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, shape, dtype::FLOAT32, bytes, None)
    }

    pub(super) fn ints(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: &[i32],
    ) -> TensorId {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(name, shape, dtype::INT32, bytes, None)
    }

    /// Adds an operator of the lowest version that has what is asked of it.
    pub(super) fn push(
        &mut self,
        (code, version): (i32, i32),
        inputs: &[TensorId],
        output: TensorId,
        options: Table<'a>,
    ) {
        let known = self
            .codes
            .iter()
            .position(|&known| known == (code, version));
        let at = known.unwrap_or_else(|| {
            self.codes.push((code, version));
            self.codes.len() - 1
        });
        self.operators.push(Operator {
            code: at as u32,
            inputs: inputs.to_vec(),
            outputs: vec![output],
            options_type: options_type(code),
            options,
        });
    }

    pub(super) fn into_bytes(mut self, frame: &Frame<'_>) -> Vec<u8> {
        let described = self.buffers.len() as u32;
        self.buffers.push(frame.metadata.clone());
        let named = |name, value| {
            Table::new()
                .with(metadata::NAME, Field::Text(name))
                .with(metadata::BUFFER, Field::U32(value))
        };
        let (inputs, outputs) = (
            named(INPUT, frame.input as u32),
            named(OUTPUT, frame.output as u32),
        );
        let signature = Table::new()
            .with(signature::INPUTS, Field::Tables(vec![inputs]))
            .with(signature::OUTPUTS, Field::Tables(vec![outputs]))
            .with(signature::KEY, Field::Text("serving_default"))
            .with(signature::SUBGRAPH, Field::U32(0));
        let subgraph = Table::new()
            .with(
                subgraph::TENSORS,
                Field::Tables(self.tensors.iter().map(Entry::table).collect()),
            )
            .with(subgraph::INPUTS, Field::Ints(vec![frame.input]))
            .with(subgraph::OUTPUTS, Field::Ints(vec![frame.output]))
            .with(
                subgraph::OPERATORS,
                Field::Tables(self.operators.iter().map(Operator::table).collect()),
            )
            .with(subgraph::NAME, Field::Text("main"));
        let described = named("TFLITE_METADATA", described);
        let root = Table::new()
            .with(model::VERSION, Field::U32(VERSION))
            .with(
                model::OPERATOR_CODES,
                Field::Tables(self.codes.iter().map(code_table).collect()),
            )
            .with(model::SUBGRAPHS, Field::Tables(vec![subgraph]))
            .with(model::DESCRIPTION, Field::Text(frame.description))
            .with(
                model::BUFFERS,
                Field::Tables(
                    self.buffers
                        .iter()
                        .map(|bytes| buffer_table(bytes))
                        .collect(),
                ),
            )
            .with(model::METADATA, Field::Tables(vec![described]))
            .with(model::SIGNATURES, Field::Tables(vec![signature]));
        root.to_file(IDENTIFIER)
    }
}

impl Entry {
    fn table(&self) -> Table<'_> {
        let table = Table::new()
            .with(tensor::SHAPE, Field::Ints(self.shape.clone()))
            .with(tensor::TYPE, Field::I8(self.dtype))
            .with(tensor::BUFFER, Field::U32(self.buffer))
            .with(tensor::NAME, Field::Text(&self.name));
        match &self.scales {
            Some(scales) => table.with(tensor::QUANTIZATION, Field::Table(scales.table())),
            None => table,
        }
    }
}

impl Scales {
    fn table(&self) -> Table<'static> {
        Table::new()
            .with(quantization::SCALE, Field::Floats(self.scale.clone()))
            .with(
                quantization::ZERO_POINT,
                Field::Longs(self.zero_point.clone()),
            )
            .with(quantization::DIMENSION, Field::I32(self.axis))
    }
}

impl Operator<'_> {
    fn table(&self) -> Table<'_> {
        let table = Table::new()
            .with(operator::CODE, Field::U32(self.code))
            .with(operator::INPUTS, Field::Ints(self.inputs.clone()))
            .with(operator::OUTPUTS, Field::Ints(self.outputs.clone()));
        match self.options_type {
            0 => table,
            kind => table
                .with(operator::OPTIONS_TYPE, Field::U8(kind))
                .with(operator::OPTIONS, Field::Table(self.options.clone())),
        }
    }
}

/// The code is in both of its fields, for older readers and newer ones.
fn code_table(&(code, version): &(i32, i32)) -> Table<'static> {
    Table::new()
        .with(
            operator_code::DEPRECATED_CODE,
            Field::I8(code.min(127) as i8),
        )
        .with(operator_code::VERSION, Field::I32(version))
        .with(operator_code::CODE, Field::I32(code))
}

fn buffer_table(bytes: &[u8]) -> Table<'_> {
    match bytes {
        [] => Table::new(),
        bytes => Table::new().with(buffer::DATA, Field::Bytes(bytes)),
    }
}
