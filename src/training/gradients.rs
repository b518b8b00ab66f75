//! Gradients between the backward pass and the update: summed over batches, scaled, clipped.

use tch::{Kind, Tensor};

use super::tensors::torch;
use crate::error::Result;

/// The gradient of each parameter, in the optimizer's order. Between
/// [`Optimizer::gradients`](super::Optimizer::gradients) and
/// [`Optimizer::apply`](super::Optimizer::apply) they may be clipped, scaled, accumulated, or
/// averaged over processes.
#[derive(Debug)]
pub struct Gradients(pub(super) Vec<Tensor>);

impl Gradients {
    /// One tensor a parameter, of its shape and type.
    pub fn tensors_mut(&mut self) -> &mut [Tensor] {
        &mut self.0
    }

    /// Adds others, tensor by tensor.
    ///
    /// # Errors
    /// When they are those of other parameters.
    pub fn add(&mut self, others: &Self) -> Result<()> {
        for (sum, other) in self.0.iter_mut().zip(&others.0) {
            torch(sum.f_add_(other).map(drop))?;
        }
        Ok(())
    }

    /// Multiplies them all.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        for gradient in &mut self.0 {
            torch(gradient.f_mul_scalar_(factor).map(drop))?;
        }
        Ok(())
    }

    /// Scales them such that the norm of all of them as one vector is at most `max_norm`, as
    /// `torch.nn.utils.clip_grad_norm_` does (Pascanu et al., 2013).
    ///
    /// # Errors
    /// When memory runs out.
    pub fn clip_norm(&mut self, max_norm: f64) -> Result<()> {
        // PyTorch's, against a division by zero.
        const EPSILON: f64 = 1e-6;
        let norms = self.0.iter().map(|gradient| torch(gradient.f_norm()));
        let norms = norms.collect::<Result<Vec<Tensor>>>()?;
        // Stays on the device: nothing waits for a GPU.
        let factor = torch(Tensor::f_stack(&norms, 0).and_then(|norms| {
            let norm = norms.f_to_kind(Kind::Float)?.f_norm()?;
            let factor = norm.f_add_scalar(EPSILON)?.f_reciprocal()?;
            factor.f_mul_scalar(max_norm)?.f_clamp_max(1.0)
        }))?;
        for gradient in &mut self.0 {
            torch(gradient.f_mul_(&factor).map(drop))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradients() -> Gradients {
        let matrix = Tensor::from_slice(&[3.0f32, -4.0, 1.5, 0.25]).reshape([2, 2]);
        Gradients(vec![matrix, Tensor::from_slice(&[12.0f32, -0.5])])
    }

    fn values(gradients: &Gradients) -> Vec<f32> {
        let flat = gradients.0.iter().map(|tensor| tensor.flatten(0, -1));
        flat.flat_map(|tensor| Vec::<f32>::try_from(tensor).unwrap())
            .collect()
    }

    /// tests/golden/steps.py
    #[test]
    fn the_norm_is_clipped_as_by_pytorch() {
        let mut clipped = gradients();
        clipped.clip_norm(2.0).unwrap();
        let expected = CLIPPED;
        for (value, expected) in values(&clipped).iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        }
        let mut small = gradients();
        small.clip_norm(100.0).unwrap();
        assert_eq!(values(&small), values(&gradients()));
    }

    #[test]
    fn sums_are_scaled_to_means() {
        let mut sum = gradients();
        sum.add(&gradients()).unwrap();
        sum.add(&gradients()).unwrap();
        sum.scale(0.25).unwrap();
        assert_eq!(values(&sum), [2.25, -3.0, 1.125, 0.1875, 9.0, -0.375]);
    }

    const CLIPPED: [f32; 6] = [
        0.458_078_65,
        -0.610_771_54,
        0.229_039_33,
        0.038_173_22,
        1.832_314_6,
        -0.076_346_44,
    ];
}
