//! The fields in use of Core ML's protocol buffers (`Model.proto`, `FeatureTypes.proto`, `MIL.proto`).

use std::collections::BTreeMap;

use prost::{Message, Oneof};

/// Element types of [`TensorType`].
pub(super) mod dtype {
    pub(in crate::export::coreml) const BOOL: i32 = 1;
    pub(in crate::export::coreml) const STRING: i32 = 2;
    pub(in crate::export::coreml) const FLOAT16: i32 = 10;
    pub(in crate::export::coreml) const FLOAT32: i32 = 11;
    pub(in crate::export::coreml) const FLOAT64: i32 = 12;
    pub(in crate::export::coreml) const INT32: i32 = 23;
}

/// The order of an image's channels.
pub(super) const RGB: i32 = 20;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(int32, tag = "1")]
    pub version: i32,
    #[prost(message, optional, tag = "2")]
    pub description: Option<Description>,
    #[prost(message, optional, tag = "502")]
    pub program: Option<Program>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Description {
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<Feature>,
    #[prost(message, repeated, tag = "10")]
    pub outputs: Vec<Feature>,
    #[prost(string, tag = "11")]
    pub predicted: String,
    #[prost(string, tag = "12")]
    pub probabilities: String,
    #[prost(message, optional, tag = "100")]
    pub metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Metadata {
    #[prost(string, tag = "1")]
    pub description: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, tag = "3")]
    pub author: String,
    #[prost(string, tag = "4")]
    pub license: String,
    #[prost(btree_map = "string, string", tag = "100")]
    pub others: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Feature {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub description: String,
    #[prost(message, optional, tag = "3")]
    pub kind: Option<FeatureType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureType {
    #[prost(oneof = "Kind", tags = "3, 4, 6")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(message, tag = "3")]
    Text(Empty),
    #[prost(message, tag = "4")]
    Image(Image),
    #[prost(message, tag = "6")]
    Dictionary(ByText),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(int64, tag = "1")]
    pub width: i64,
    #[prost(int64, tag = "2")]
    pub height: i64,
    #[prost(int32, tag = "3")]
    pub channels: i32,
}

/// A dictionary whose keys are texts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ByText {
    #[prost(message, optional, tag = "2")]
    pub keys: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Program {
    #[prost(int64, tag = "1")]
    pub version: i64,
    #[prost(btree_map = "string, message", tag = "2")]
    pub functions: BTreeMap<String, Function>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(message, repeated, tag = "1")]
    pub inputs: Vec<Named>,
    #[prost(string, tag = "2")]
    pub opset: String,
    #[prost(btree_map = "string, message", tag = "3")]
    pub blocks: BTreeMap<String, Block>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Block {
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub operations: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub inputs: BTreeMap<String, Argument>,
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<Named>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub attributes: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Argument {
    #[prost(message, repeated, tag = "1")]
    pub bindings: Vec<Binding>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Binding {
    #[prost(oneof = "Bound", tags = "1, 2")]
    pub bound: Option<Bound>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Bound {
    #[prost(string, tag = "1")]
    Name(String),
    #[prost(message, tag = "2")]
    Value(Value),
}

/// A value's name and type.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<ValueType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueType {
    #[prost(oneof = "Type", tags = "1, 2, 4")]
    pub kind: Option<Type>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Type {
    #[prost(message, tag = "1")]
    Tensor(TensorType),
    #[prost(message, tag = "2")]
    List(Box<ListType>),
    #[prost(message, tag = "4")]
    Dictionary(Box<DictionaryType>),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    #[prost(int64, tag = "2")]
    pub rank: i64,
    #[prost(message, repeated, tag = "3")]
    pub sides: Vec<Side>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Side {
    #[prost(message, optional, tag = "1")]
    pub constant: Option<Constant>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Constant {
    #[prost(uint64, tag = "1")]
    pub size: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListType {
    #[prost(message, optional, tag = "1")]
    pub element: Option<ValueType>,
    #[prost(message, optional, tag = "2")]
    pub length: Option<Side>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DictionaryType {
    #[prost(message, optional, tag = "1")]
    pub keys: Option<ValueType>,
    #[prost(message, optional, tag = "2")]
    pub values: Option<ValueType>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(message, optional, tag = "2")]
    pub kind: Option<ValueType>,
    #[prost(oneof = "Content", tags = "3, 5")]
    pub content: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Content {
    #[prost(message, tag = "3")]
    Immediate(Immediate),
    #[prost(message, tag = "5")]
    Blob(Blob),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Immediate {
    #[prost(oneof = "Items", tags = "1, 3")]
    pub items: Option<Items>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Items {
    #[prost(message, tag = "1")]
    Tensor(Elements),
    #[prost(message, tag = "3")]
    List(List),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct List {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// The elements of a tensor, row-major.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Elements {
    #[prost(oneof = "Stored", tags = "1, 2, 3, 4, 7")]
    pub stored: Option<Stored>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Stored {
    #[prost(message, tag = "1")]
    Floats(Floats),
    #[prost(message, tag = "2")]
    Ints(Ints),
    #[prost(message, tag = "3")]
    Bools(Bools),
    #[prost(message, tag = "4")]
    Texts(Texts),
    /// Little-endian; of float16.
    #[prost(message, tag = "7")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Floats {
    #[prost(float, repeated, tag = "1")]
    pub values: Vec<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ints {
    #[prost(int32, repeated, tag = "1")]
    pub values: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bools {
    #[prost(bool, repeated, tag = "1")]
    pub values: Vec<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Texts {
    #[prost(string, repeated, tag = "1")]
    pub values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Bytes {
    #[prost(bytes = "vec", tag = "1")]
    pub values: Vec<u8>,
}

/// A tensor in a file of the package.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Blob {
    #[prost(string, tag = "1")]
    pub file: String,
    #[prost(uint64, tag = "2")]
    pub offset: u64,
}

impl Side {
    pub(super) fn new(size: usize) -> Self {
        let constant = Some(Constant { size: size as u64 });
        Self { constant }
    }
}

impl ValueType {
    pub(super) fn tensor(dtype: i32, shape: &[usize]) -> Self {
        let kind = Type::Tensor(TensorType {
            dtype,
            rank: shape.len() as i64,
            sides: shape.iter().map(|&side| Side::new(side)).collect(),
        });
        Self { kind: Some(kind) }
    }

    /// Element type and shape of a tensor.
    pub(super) fn as_tensor(&self) -> Option<(i32, Vec<usize>)> {
        match &self.kind {
            Some(Type::Tensor(tensor)) => {
                let sides = tensor.sides.iter();
                let sides = sides.map(|side| Some(side.constant.as_ref()?.size as usize));
                Some((tensor.dtype, sides.collect::<Option<_>>()?))
            }
            _ => None,
        }
    }
}

impl Value {
    pub(super) fn immediate(dtype: i32, shape: &[usize], stored: Stored) -> Self {
        let stored = Some(stored);
        let items = Some(Items::Tensor(Elements { stored }));
        Self {
            kind: Some(ValueType::tensor(dtype, shape)),
            content: Some(Content::Immediate(Immediate { items })),
        }
    }

    pub(super) fn text(text: &str) -> Self {
        let values = vec![text.to_owned()];
        Self::immediate(dtype::STRING, &[], Stored::Texts(Texts { values }))
    }

    /// The elements of an immediate tensor.
    pub(super) fn stored(&self) -> Option<&Stored> {
        match &self.content {
            Some(Content::Immediate(Immediate {
                items: Some(Items::Tensor(elements)),
            })) => elements.stored.as_ref(),
            _ => None,
        }
    }
}
