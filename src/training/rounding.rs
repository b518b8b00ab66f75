//! Weights and values rounded as an int8 network holds them, with gradients that pass through.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::tensors::torch;
use crate::device::Device;
use crate::error::Result;
use crate::graph::{NodeId, QuantizationParameters};

/// Which parts of a network are rounded, and how.
#[derive(Debug, Clone)]
pub(crate) struct FakeQuantization {
    /// Scales of layers' weights, one for each output; the integers go from -127 to 127.
    pub weights: BTreeMap<NodeId, Vec<f32>>,
    /// Values of nodes that are rounded to uint8.
    pub values: BTreeMap<NodeId, QuantizationParameters>,
}

/// The same on a device.
pub(super) struct Rounding {
    /// Scales and zero points, which are 0.
    weights: BTreeMap<NodeId, [Tensor; 2]>,
    values: BTreeMap<NodeId, QuantizationParameters>,
}

impl Rounding {
    pub(super) fn new(rounded: &FakeQuantization, device: Device) -> Result<Self> {
        let on_device = |scales: &Vec<f32>| {
            let scales = Tensor::f_from_slice(scales)?.f_to_device(device.into())?;
            let zeros = scales.f_zeros_like()?.f_to_kind(Kind::Int)?;
            Ok([scales, zeros])
        };
        let weights = rounded.weights.iter();
        let weights = weights.map(|(&id, scales)| Ok((id, torch(on_device(scales))?)));
        Ok(Self {
            weights: weights.collect::<Result<_>>()?,
            values: rounded.values.clone(),
        })
    }

    /// The tensors of a node, of which the first, the weight of a layer, is rounded. Gradients pass
    /// through where the integers are not cut off.
    pub(super) fn tensors(&self, id: NodeId, tensors: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut copies: Vec<Tensor> = tensors.iter().map(Tensor::shallow_clone).collect();
        if let (Some([scales, zeros]), Some(weight)) = (self.weights.get(&id), copies.first_mut()) {
            let rounded = weight.f_fake_quantize_per_channel_affine(scales, zeros, 0, -127, 127);
            *weight = torch(rounded)?;
        }
        Ok(copies)
    }

    /// A value as the integers hold it.
    pub(super) fn value(&self, id: NodeId, x: Tensor) -> Result<Tensor> {
        let Some(qparams) = self.values.get(&id) else {
            return Ok(x);
        };
        let (scale, zero_point) = (f64::from(qparams.scale), i64::from(qparams.zero_point));
        torch(x.f_fake_quantize_per_tensor_affine(scale, zero_point, 0, 255))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d};

    fn vector(x: &Tensor) -> Vec<f32> {
        Vec::try_from(x.flatten(0, -1)).unwrap()
    }

    fn qparams(scale: f32) -> QuantizationParameters {
        QuantizationParameters {
            scale,
            zero_point: 128,
        }
    }

    /// By hand: integers are rounded half to even and cut off; their gradients are 1 and 0.
    #[test]
    fn values_and_weights_are_rounded_as_integers_hold_them() {
        let (mut g, x) = Builder::new(1);
        let x = g.conv2d("conv", x, Conv2d::new(2, 1));
        let graph = g.finish(x).unwrap();
        let (input, conv) = (graph.input(), graph.output());
        let rounded = FakeQuantization {
            weights: BTreeMap::from([(conv, vec![0.5, 0.01])]),
            values: BTreeMap::from([(input, qparams(0.25))]),
        };
        let rounding = Rounding::new(&rounded, Device::Cpu).unwrap();
        let values = Tensor::from_slice(&[0.3f32, -0.375, -40.0, 31.8]).set_requires_grad(true);
        let found = rounding.value(input, values.shallow_clone()).unwrap();
        assert_eq!(vector(&found.detach()), [0.25, -0.5, -32.0, 31.75]);
        found.sum(Kind::Float).backward();
        assert_eq!(vector(&values.grad()), [1.0, 1.0, 0.0, 1.0]);
        let weight = Tensor::from_slice(&[0.7f32, -0.2, 70.0, 0.7, -0.202, 2.0]);
        let weight = weight.reshape([2, 3, 1, 1]);
        let found = rounding.tensors(conv, &[weight]).unwrap();
        let expected = [0.5, 0.0, 63.5, 0.7, -0.2, 1.27];
        for (found, expected) in vector(&found[0]).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        let other = rounding.value(conv, Tensor::from_slice(&[0.3f32])).unwrap();
        assert_eq!(vector(&other), [0.3]);
    }
}
