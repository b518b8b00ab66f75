//! Pooling.

use super::{Form, Method, dequantized, pair, v};
use crate::error::Result;
use crate::graph::{NodeId, Pool2d};

impl Method<'_, '_> {
    /// The maximum; of integers in their own operator, since ATen's refuses large uint8 tensors.
    pub(super) fn max_pool(&mut self, id: NodeId, pool: &Pool2d) -> Result<Form> {
        let input = self.graph[id].inputs[0];
        let (kernel, stride, padding) = (pair(pool.kernel), pair(pool.stride), pair(pool.padding));
        let ceil_mode = if pool.ceil_mode { "True" } else { "False" };
        let window = format!("{kernel}, {stride}, {padding}, [1, 1], {ceil_mode}");
        if let Form::Integer(qparams) = self.forms[input.index()] {
            let maximum = format!("ops.quantized.max_pool2d({}, {window})", v(input));
            self.assign(id, &maximum);
            return Ok(Form::Integer(qparams));
        }
        let x = self.float(input);
        self.assign(id, &format!("torch.max_pool2d({x}, {window})"));
        Ok(self.stored(id))
    }

    /// The mean over height and width; of integers without their real numbers in between.
    pub(super) fn global_average(&self, input: NodeId) -> String {
        match self.forms[input.index()] {
            Form::Float => format!("torch.adaptive_avg_pool2d({}, [1, 1])", self.float(input)),
            Form::Integer(qparams) => {
                let mean = format!("torch.mean({}, [2, 3], True, dtype=6)", v(input));
                dequantized(&mean, qparams)
            }
        }
    }
}
