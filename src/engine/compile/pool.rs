//! Pooling.

use super::{Compiler, Form, dequantized, pair};
use crate::error::Result;
use crate::graph::Pool2d;

impl Compiler<'_, '_> {
    /// The maximum; of integers in their own operator, since ATen's refuses large uint8 tensors.
    pub(super) fn max_pool(&mut self, place: usize, pool: &Pool2d) -> Result<Form> {
        let input = self.network.graph.nodes()[place].inputs[0];
        let (kernel, stride, padding) = (pair(pool.kernel), pair(pool.stride), pair(pool.padding));
        let window = format!("{kernel}, {stride}, {padding}, [1, 1], False");
        if let Form::Integer(affine) = self.forms[input] {
            self.assign(
                place,
                &format!("ops.quantized.max_pool2d(v{input}, {window})"),
            );
            return Ok(Form::Integer(affine));
        }
        let x = self.float(input);
        self.assign(place, &format!("torch.max_pool2d({x}, {window})"));
        self.stored(place)
    }

    /// The mean over height and width; of integers without their real numbers in between.
    pub(super) fn global_average(&mut self, input: usize) -> String {
        match self.forms[input] {
            Form::Float => format!("torch.adaptive_avg_pool2d({}, [1, 1])", self.float(input)),
            Form::Integer(affine) => {
                let mean = format!("torch.mean(v{input}, [2, 3], True, dtype=6)");
                dequantized(&mean, affine)
            }
        }
    }
}
