//! Operators on feature maps: pooling, normalisation, elementwise functions, and the order of channels.

use std::sync::Arc;

use super::builder::Builder;
use super::native::Native;
use super::values::Value;
use super::{Form, Work};
use crate::error::Result;
use crate::graph::{Activation, BatchNorm2d, NodeId, Pool2d};
use crate::inference::onednn::ffi;
use crate::inference::onednn::memory::{Desc, Kind, channels_last, row_major};
use crate::inference::onednn::primitives::{Primitive, Window};

impl Builder<'_> {
    /// Of integers the largest are the same integers.
    pub(super) fn max_pool(&mut self, id: NodeId, pool: &Pool2d) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let src = match self.value(input) {
            value if matches!(value.form, Form::Integer(_)) => value,
            _ => self.float(input, self.kind(id))?,
        };
        let dst = self.place(id, src.form)?;
        self.pool(ffi::MAX_POOLING, pool, input, &src, &dst)?;
        match src.form {
            Form::Integer(_) => Ok(dst),
            Form::Float(_) => self.stored(id, dst),
        }
    }

    pub(super) fn average_pool(&mut self, id: NodeId, pool: &Pool2d) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let src = self.float(input, self.kind(id))?;
        let dst = self.place(id, src.form)?;
        self.pool(ffi::AVERAGE_POOLING_WITH_PADDING, pool, input, &src, &dst)?;
        self.stored(id, dst)
    }

    fn pool(
        &mut self,
        algorithm: i32,
        pool: &Pool2d,
        input: NodeId,
        src: &Value,
        dst: &Value,
    ) -> Result<()> {
        let [_, _, height, width] = self.dims(input)?;
        let padding = [height, width].map(|side| pool.around(side));
        let window = Window {
            before: padding.map(|padding| padding.before),
            after: padding.map(|padding| padding.after),
            ..Window::sliding(pool.stride)
        };
        let descs = [&src.desc, &dst.desc];
        let primitive = Primitive::pooling(algorithm, descs, [pool.kernel; 2], &window)?;
        let arguments = vec![src.argument(ffi::SRC), dst.argument(ffi::DST)];
        self.kernel(primitive, arguments)
    }

    pub(super) fn global_average(&mut self, id: NodeId) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let [images, channels, height, width] = self.dims(input)?;
        let value = self.value(input);
        let dst = self.place(id, Form::Float(self.kind(id)))?;
        if let Form::Integer(qparams) = value.form {
            let work = Native::Mean {
                images,
                pixels: height * width,
                channels,
                qparams,
            };
            self.step(
                Work::Native(work),
                vec![value.argument(ffi::SRC), dst.argument(ffi::DST)],
            );
            return self.stored(id, dst);
        }
        let src = self.float(input, self.kind(id))?;
        let algorithm = ffi::AVERAGE_POOLING_WITH_PADDING;
        let window = Window::sliding(1);
        let descs = [&src.desc, &dst.desc];
        let primitive = Primitive::pooling(algorithm, descs, [height, width], &window)?;
        let arguments = vec![src.argument(ffi::SRC), dst.argument(ffi::DST)];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    pub(super) fn batch_norm(&mut self, id: NodeId, norm: &BatchNorm2d) -> Result<Value> {
        let src = self.float(self.graph[id].inputs[0], self.kind(id))?;
        let dst = self.place(id, src.form)?;
        let primitive = Primitive::batch_normalization([&src.desc, &dst.desc], norm.eps as f32)?;
        let mut arguments = vec![src.argument(ffi::SRC), dst.argument(ffi::DST)];
        for (role, suffix) in [
            (ffi::MEAN, "running_mean"),
            (ffi::VARIANCE, "running_var"),
            (ffi::SCALE, "weight"),
            (ffi::SHIFT, "bias"),
        ] {
            arguments.push(self.parameter(role, (id, suffix), Kind::Float32, &[norm.channels])?);
        }
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    pub(super) fn activation(&mut self, id: NodeId, kind: Activation) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let src = self.float(input, self.kind(id))?;
        let dst = self.owned(input, src.clone(), id)?;
        let primitive = Primitive::eltwise(kind.into(), [&dst.desc, &dst.desc])?;
        let arguments = vec![dst.argument(ffi::SRC), dst.argument(ffi::DST)];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    pub(super) fn add(&mut self, id: NodeId) -> Result<Value> {
        let [a, b] = self.two(id)?;
        let dst = self.place(id, a.form)?;
        let primitive = Primitive::binary(ffi::ADD, [&a.desc, &b.desc, &dst.desc])?;
        let arguments = vec![
            a.argument(ffi::SRC),
            b.argument(ffi::SRC_1),
            dst.argument(ffi::DST),
        ];
        self.kernel(primitive, arguments)?;
        self.stored(id, dst)
    }

    /// oneDNN repeats a factor for each channel in all images, so that those of each image take a kernel
    /// each.
    pub(super) fn multiply(&mut self, id: NodeId) -> Result<Value> {
        let inputs = &self.graph[id].inputs;
        let shapes = [inputs[0], inputs[1]].map(|input| self.graph[input].shape.clone());
        let [mut a, mut b] = self.two(id)?;
        if shapes[0].iter().product::<usize>() < shapes[1].iter().product::<usize>() {
            std::mem::swap(&mut a, &mut b);
        }
        let dst = self.place(id, a.form)?;
        let kind = a.form.kind();
        let [images, channels, height, width] = self.dims(id)?;
        let one = |height, width| Desc::channels_last(kind, [1, channels, height, width]);
        let (map, factor) = match shapes[0] == shapes[1] {
            true => (one(height, width)?, one(height, width)?),
            false => (one(height, width)?, one(1, 1)?),
        };
        let primitive = Arc::new(Primitive::binary(ffi::MULTIPLY, [&map, &factor, &map])?);
        for image in 0..images {
            let [at, of_factor] = [&map, &factor].map(|desc| image * desc.size());
            let arguments = vec![
                a.part(ffi::SRC, &map, at),
                b.part(ffi::SRC_1, &factor, of_factor),
                dst.part(ffi::DST, &map, at),
            ];
            self.kernels(&primitive, arguments)?;
        }
        self.stored(id, dst)
    }

    /// Both inputs as real numbers.
    fn two(&mut self, id: NodeId) -> Result<[Value; 2]> {
        let inputs = &self.graph[id].inputs;
        let kind = self.kind(id);
        Ok([self.float(inputs[0], kind)?, self.float(inputs[1], kind)?])
    }

    /// Each input is copied to its channels, integers as integers.
    pub(super) fn concat(&mut self, id: NodeId) -> Result<Value> {
        let inputs = self.graph[id].inputs.clone();
        let kind = self.kind(id);
        let are_integers = inputs
            .iter()
            .all(|&input| matches!(self.value(input).form, Form::Integer(_)));
        let form = match self.qparams(id) {
            Some(qparams) if are_integers => Form::Integer(qparams),
            _ => Form::Float(kind),
        };
        let dst = self.place(id, form)?;
        let strides = channels_last(self.dims(id)?);
        let mut first = 0;
        for input in inputs {
            let src = match form {
                Form::Integer(_) => self.value(input),
                Form::Float(kind) => self.float(input, kind)?,
            };
            let dims = self.dims(input)?;
            let part = Desc::strided(form.kind(), &dims, &strides)?;
            self.copy_at((&src, &src.desc, 0), (&dst, &part, first))?;
            first += dims[1];
        }
        match form {
            Form::Integer(_) => Ok(dst),
            Form::Float(_) => self.stored(id, dst),
        }
    }

    pub(super) fn slice(&mut self, id: NodeId, start: usize) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let src = self.value(input);
        let dst = self.place(id, src.form)?;
        let strides = channels_last(self.dims(input)?);
        let part = Desc::strided(src.form.kind(), &self.dims(id)?, &strides)?;
        self.copy_at((&src, &part, start), (&dst, &dst.desc, 0))?;
        self.rearranged(id, dst)
    }

    pub(super) fn shuffle(&mut self, id: NodeId, groups: usize) -> Result<Value> {
        let [images, channels, height, width] = self.dims(id)?;
        let src = self.value(self.graph[id].inputs[0]);
        let dst = self.place(id, src.form)?;
        let each = channels / groups.max(1);
        let dims = [images * height * width, groups, each];
        let before = Desc::strided(src.form.kind(), &dims, &row_major(&dims))?;
        let after = Desc::strided(src.form.kind(), &dims, &[channels, 1, groups])?;
        self.copy_at((&src, &before, 0), (&dst, &after, 0))?;
        self.rearranged(id, dst)
    }

    /// Integers stay what they are.
    fn rearranged(&mut self, id: NodeId, value: Value) -> Result<Value> {
        match value.form {
            Form::Integer(_) => Ok(value),
            Form::Float(_) => self.stored(id, value),
        }
    }

    /// PyTorch's vectors have the pixels of each channel in a row.
    pub(super) fn flatten(&mut self, id: NodeId) -> Result<Value> {
        let input = self.graph[id].inputs[0];
        let src = self.value(input);
        let desc = self.desc(id, src.form.kind())?;
        let [_, _, height, width] = self.dims(input)?;
        if height * width == 1 {
            return Ok(src.viewed(desc));
        }
        let dst = self.place(id, src.form)?;
        let planes = Desc::dense(src.form.kind(), &self.dims(input)?)?;
        self.copy_at((&src, &src.desc, 0), (&dst, &planes, 0))?;
        Ok(dst)
    }
}
