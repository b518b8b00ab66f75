//! How much of a network computes with integers.

use serde::Serialize;

use crate::engine::compile::Network;
use crate::graph::Op;

/// The integer part of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coverage {
    /// Convolutions and linear layers.
    pub layers: usize,
    pub int8_layers: usize,
    /// Share of the learned values that are int8 weights, 0 to 1.
    pub int8_parameters: f64,
    /// Share of the multiply-accumulates that int8 layers do, 0 to 1.
    pub int8_macs: f64,
    /// Size of all parameters.
    pub bytes: usize,
}

impl Coverage {
    pub fn of(network: &Network) -> Self {
        let graph = &network.graph;
        let mut coverage = Self {
            layers: 0,
            int8_layers: 0,
            int8_parameters: 0.0,
            int8_macs: 0.0,
            bytes: network
                .weights
                .values()
                .map(|tensor| tensor.byte_len())
                .sum(),
        };
        let (mut parameters, mut macs) = (0, 0);
        for (place, node) in graph.nodes().iter().enumerate() {
            if !matches!(node.op, Op::Conv2d(_) | Op::Linear(_)) {
                continue;
            }
            coverage.layers += 1;
            if network.is_int8(place) {
                coverage.int8_layers += 1;
                parameters += network
                    .tensor(place, "weight")
                    .map_or(0, |tensor| tensor.len());
                macs += node.op.macs(&node.shape);
            }
        }
        coverage.int8_parameters = parameters as f64 / graph.parameter_count().max(1) as f64;
        coverage.int8_macs = macs as f64 / graph.macs().max(1) as f64;
        coverage
    }
}
