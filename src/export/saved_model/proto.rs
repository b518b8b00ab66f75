//! The fields in use of TensorFlow's protocol buffers (`saved_model.proto`, `graph.proto` and what they
//! import).

use std::collections::BTreeMap;

use prost::{Message, Oneof};

/// Values of [`Attribute`]'s types.
pub(super) mod dtype {
    pub(in crate::export::saved_model) const FLOAT: i32 = 1;
    pub(in crate::export::saved_model) const INT32: i32 = 3;
    pub(in crate::export::saved_model) const UINT8: i32 = 4;
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SavedModel {
    #[prost(int64, tag = "1")]
    pub schema_version: i64,
    #[prost(message, repeated, tag = "2")]
    pub meta_graphs: Vec<MetaGraph>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaGraph {
    #[prost(message, optional, tag = "1")]
    pub info: Option<MetaInfo>,
    #[prost(message, optional, tag = "2")]
    pub graph: Option<Graph>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub signatures: BTreeMap<String, Signature>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MetaInfo {
    #[prost(string, repeated, tag = "4")]
    pub tags: Vec<String>,
    #[prost(string, tag = "5")]
    pub tensorflow_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(message, optional, tag = "4")]
    pub versions: Option<Versions>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Versions {
    #[prost(int32, tag = "1")]
    pub producer: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub operator: String,
    #[prost(string, repeated, tag = "3")]
    pub inputs: Vec<String>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub attributes: BTreeMap<String, Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub value: Option<Value>,
}

/// A value is written even where it is 0.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(message, tag = "1")]
    Ints(Ints),
    #[prost(bytes = "vec", tag = "2")]
    Text(Vec<u8>),
    #[prost(int64, tag = "3")]
    Int(i64),
    #[prost(float, tag = "4")]
    Float(f32),
    #[prost(bool, tag = "5")]
    Bool(bool),
    #[prost(int32, tag = "6")]
    Type(i32),
    #[prost(message, tag = "7")]
    Shape(Shape),
    #[prost(message, tag = "8")]
    Tensor(Constant),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ints {
    #[prost(int64, repeated, tag = "3")]
    pub values: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub sides: Vec<Side>,
}

/// -1 for any size.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Side {
    #[prost(int64, tag = "1")]
    pub size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Constant {
    #[prost(int32, tag = "1")]
    pub dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
    /// Little-endian.
    #[prost(bytes = "vec", tag = "4")]
    pub content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Signature {
    #[prost(btree_map = "string, message", tag = "1")]
    pub inputs: BTreeMap<String, TensorInfo>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub outputs: BTreeMap<String, TensorInfo>,
    #[prost(string, tag = "3")]
    pub method: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorInfo {
    /// Of a node and its output: `image:0`.
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub dtype: i32,
    #[prost(message, optional, tag = "3")]
    pub shape: Option<Shape>,
}

impl Shape {
    pub(super) fn new(sides: &[i64]) -> Self {
        let sides = sides.iter().map(|&size| Side { size });
        Self {
            sides: sides.collect(),
        }
    }

    pub(super) fn sides(&self) -> Vec<i64> {
        self.sides.iter().map(|side| side.size).collect()
    }
}
