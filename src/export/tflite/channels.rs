//! Operators over and among the channels of a map.

use super::file::{Scales, TensorId};
use super::flatbuffer::Field;
use super::schema::{code, dtype};
use super::writer::{Writer, options};
use crate::export::layout::{channels_last, map};
use crate::export::lowering::Step;

impl Writer<'_> {
    pub(super) fn layer_norm(
        &mut self,
        step: &Step<'_>,
        eps: f32,
        [weight, bias]: [&[f32]; 2],
    ) -> TensorId {
        let name = step.name.as_str();
        let part = |part: &str| format!("{name}.{part}");
        let x = self.float(step.inputs[0]);
        let shape = channels_last(&step.shape);
        let one = [1, shape[1], shape[2], 1];
        let axis = self.file.ints(part("axis"), &[1], &[3]);
        let eps = self.file.floats(part("eps"), &[1], &[eps]);
        let mean = |writer: &mut Self, of: &str, x| {
            let kept = options().with(0, Field::Bool(true));
            writer.push((code::MEAN, 1), &part(of), &[x, axis], &one, kept)
        };
        let average = mean(self, "mean", x);
        let centred = [x, average];
        let centred = self.push(
            (code::SUB, 1),
            &part("centred"),
            &centred,
            &shape,
            options(),
        );
        let both = [centred; 2];
        let squares = self.push((code::MUL, 1), &part("squares"), &both, &shape, options());
        let variance = mean(self, "variance", squares);
        let raised = [variance, eps];
        let raised = self.push((code::ADD, 1), &part("raised"), &raised, &one, options());
        let deviation = self.push(
            (code::RSQRT, 1),
            &part("deviation"),
            &[raised],
            &one,
            options(),
        );
        let both = [centred, deviation];
        let x = self.push(
            (code::MUL, 1),
            &part("normalised"),
            &both,
            &shape,
            options(),
        );
        self.affine_of(step, x, weight, bias)
    }

    /// The channels from `start` on; `scales` are those of integers.
    pub(super) fn slice(
        &mut self,
        step: &Step<'_>,
        x: TensorId,
        start: usize,
        scales: Option<Scales>,
    ) -> TensorId {
        let name = step.name.as_str();
        let shape = channels_last(&step.shape);
        let begin = self
            .file
            .ints(format!("{name}.begin"), &[4], &[0, 0, 0, start as i32]);
        // All there are along the other axes.
        let size = [-1, -1, -1, step.shape[0] as i32];
        let size = self.file.ints(format!("{name}.size"), &[4], &size);
        let (element, version) = kind(scales.as_ref());
        let output = self.file.tensor(name, &shape, element, scales);
        self.file
            .push((code::SLICE, version), &[x, begin, size], output, options());
        output
    }

    /// As [`Writer::slice`], with the channels of each group next to those of the others.
    pub(super) fn channel_shuffle(
        &mut self,
        step: &Step<'_>,
        x: TensorId,
        groups: usize,
        scales: Option<Scales>,
    ) -> TensorId {
        let name = step.name.as_str();
        let [channels, height, width] = map(&step.shape);
        let each = channels / groups;
        let (element, version) = kind(scales.as_ref());
        let apart = [1, height, width, groups, each];
        let named = format!("{name}.apart");
        let x = self.reshape(&named, x, &apart, |file| {
            file.tensor(&named, &apart, element, scales.clone())
        });
        let order = self
            .file
            .ints(format!("{name}.order"), &[5], &[0, 1, 2, 4, 3]);
        let columns = [1, height, width, each, groups];
        let swapped = format!("{name}.swapped");
        let swapped = self.file.tensor(swapped, &columns, element, scales.clone());
        self.file
            .push((code::TRANSPOSE, version), &[x, order], swapped, options());
        let shape = channels_last(&step.shape);
        self.reshape(name, swapped, &shape, |file| {
            file.tensor(name, &shape, element, scales)
        })
    }
}

/// The element type, and the version of operators that takes it.
fn kind(scales: Option<&Scales>) -> (i8, i32) {
    match scales {
        None => (dtype::FLOAT32, 1),
        Some(_) => (dtype::INT8, 2),
    }
}
