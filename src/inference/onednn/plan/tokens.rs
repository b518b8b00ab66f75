//! Operators on the features of each pixel or token.

use std::sync::Arc;

use super::Form;
use super::builder::Builder;
use super::values::Value;
use crate::error::Result;
use crate::graph::{LayerNorm, NodeId};
use crate::inference::onednn::attributes::{Eltwise, PostOp, Settings};
use crate::inference::onednn::ffi;
use crate::inference::onednn::memory::{Desc, Kind};
use crate::inference::onednn::primitives::Primitive;

impl Builder<'_> {
    /// Pixels or tokens of a value with so many features each.
    fn rows(&self, id: NodeId, features: usize) -> usize {
        self.batch * self.graph[id].shape.iter().product::<usize>() / features.max(1)
    }

    pub(super) fn layer_norm(&mut self, id: NodeId, norm: &LayerNorm) -> Result<Value> {
        let features = norm.features;
        let src = self.float(self.graph[id].inputs[0], self.kind(id))?;
        let dst = self.place(id, src.form)?;
        let rows = Desc::dense(src.form.kind(), &[self.rows(id, features), features])?;
        let primitive = Primitive::layer_normalization([&rows, &rows], norm.eps as f32)?;
        let arguments = vec![
            src.part(ffi::SRC, &rows, 0),
            dst.part(ffi::DST, &rows, 0),
            self.parameter(ffi::SCALE, (id, "weight"), Kind::Float32, &[features])?,
            self.parameter(ffi::SHIFT, (id, "bias"), Kind::Float32, &[features])?,
        ];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    pub(super) fn layer_scale(&mut self, id: NodeId, features: usize) -> Result<Value> {
        let kind = self.kind(id);
        let src = self.float(self.graph[id].inputs[0], kind)?;
        let dst = self.place(id, src.form)?;
        let rows = Desc::dense(kind, &[self.rows(id, features), features])?;
        let factor = Desc::dense(kind, &[1, features])?;
        let primitive = Primitive::binary(ffi::MULTIPLY, [&rows, &factor, &rows])?;
        let arguments = vec![
            src.part(ffi::SRC, &rows, 0),
            self.parameter(ffi::SRC_1, (id, ""), kind, &[1, features])?,
            dst.part(ffi::DST, &rows, 0),
        ];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    /// With the channels of a map innermost, its pixels are tokens.
    pub(super) fn tokens(&mut self, id: NodeId) -> Result<Value> {
        let src = self.float(self.graph[id].inputs[0], self.kind(id))?;
        let value = src.viewed(self.desc(id, src.form.kind())?);
        self.stored(id, value)
    }

    pub(super) fn class_token(&mut self, id: NodeId, features: usize) -> Result<Value> {
        let kind = self.kind(id);
        let input = self.graph[id].inputs[0];
        let src = self.float(input, kind)?;
        let dst = self.place(id, src.form)?;
        let tokens = self.graph[input].shape[0];
        let size = (tokens + 1) * features;
        let (dims, strides) = ([self.batch, tokens, features], [size, features, 1]);
        let rest = Desc::strided(kind, &dims, &strides)?;
        self.copy_at((&src, &src.desc, 0), (&dst, &rest, features))?;
        let one = Desc::dense(kind, &[features])?;
        let copy = Arc::new(Primitive::reorder([&one, &one], &Settings::default())?);
        for image in 0..self.batch {
            let arguments = vec![
                self.parameter(ffi::SRC, (id, ""), kind, &[features])?,
                dst.part(ffi::DST, &one, image * size * kind.size()),
            ];
            self.kernels(&copy, arguments)?;
        }
        self.stored(id, dst)
    }

    pub(super) fn position_embedding(&mut self, id: NodeId, values: usize) -> Result<Value> {
        let kind = self.kind(id);
        let src = self.float(self.graph[id].inputs[0], kind)?;
        let dst = self.place(id, src.form)?;
        let one = Desc::dense(kind, &[1, values])?;
        let add = Arc::new(Primitive::binary(ffi::ADD, [&one, &one, &one])?);
        for image in 0..self.batch {
            let offset = image * values * kind.size();
            let arguments = vec![
                src.part(ffi::SRC, &one, offset),
                self.parameter(ffi::SRC_1, (id, ""), kind, &[1, values])?,
                dst.part(ffi::DST, &one, offset),
            ];
            self.kernels(&add, arguments)?;
        }
        self.stored(id, dst)
    }

    /// Scores, their softmax, and the weighted values, of all heads at once.
    pub(super) fn attention(&mut self, id: NodeId, heads: usize) -> Result<Value> {
        let kind = self.kind(id);
        let src = self.float(self.graph[id].inputs[0], kind)?;
        let dst = self.place(id, src.form)?;
        let [tokens, features] = [self.graph[id].shape[0], self.graph[id].shape[1]];
        let (n, each) = (self.batch, features / heads.max(1));
        let row = 3 * features;
        let apart = |dims: [usize; 2], strides: [usize; 2]| {
            let strides = [tokens * row, each, strides[0], strides[1]];
            Desc::strided(kind, &[n, heads, dims[0], dims[1]], &strides)
        };
        let queries = apart([tokens, each], [row, 1])?;
        let keys = apart([each, tokens], [1, row])?;
        let values = apart([tokens, each], [row, 1])?;
        let of_scores = [n, heads, tokens, tokens];
        let scores = Desc::dense(Kind::Float32, &of_scores)?;
        let weights = Desc::dense(kind, &of_scores)?;
        let scale = PostOp::Eltwise(Eltwise {
            algorithm: ffi::LINEAR,
            alpha: 1.0 / (each as f32).sqrt(),
            beta: 0.0,
        });
        let settings = Settings {
            post_ops: vec![scale],
            ..Settings::default()
        };
        let product = Primitive::matmul([&queries, &keys, &scores], &settings)?;
        let scored = self.new_value(scores.clone(), Form::Float(Kind::Float32))?;
        let arguments = vec![
            src.part(ffi::SRC, &queries, 0),
            src.part(ffi::WEIGHTS, &keys, features * kind.size()),
            scored.argument(ffi::DST),
        ];
        self.kernel(product, arguments)?;
        let softmax = Primitive::softmax([&scores, &weights], 3)?;
        let weighted = self.new_value(weights.clone(), Form::Float(kind))?;
        let arguments = vec![scored.argument(ffi::SRC), weighted.argument(ffi::DST)];
        self.kernel(softmax, arguments)?;
        let strides = [tokens * features, each, features, 1];
        let mixed = Desc::strided(kind, &[n, heads, tokens, each], &strides)?;
        let product = Primitive::matmul([&weights, &values, &mixed], &Settings::default())?;
        let arguments = vec![
            weighted.argument(ffi::SRC),
            src.part(ffi::WEIGHTS, &values, 2 * features * kind.size()),
            dst.part(ffi::DST, &mixed, 0),
        ];
        self.kernel(product, arguments)?;
        self.stored(id, dst)
    }

    pub(super) fn first_token(&mut self, id: NodeId) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let src = self.float(input, self.kind(id))?;
        let dst = self.place(id, src.form)?;
        let features = self.graph[id].shape[0];
        let strides = [self.graph[input].shape[0] * features, 1];
        let first = Desc::strided(src.form.kind(), &[self.batch, features], &strides)?;
        self.copy_at((&src, &first, 0), (&dst, &dst.desc, 0))?;
        self.stored(id, dst)
    }

    pub(super) fn softmax(&mut self, id: NodeId) -> Result<Value> {
        let src = self.float(self.graph[id].inputs[0], self.kind(id))?;
        let dst = self.place(id, src.form)?;
        let axis = self.graph[id].shape.len();
        let primitive = Primitive::softmax([&src.desc, &dst.desc], axis)?;
        let arguments = vec![src.argument(ffi::SRC), dst.argument(ffi::DST)];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }
}
