//! How much of a network computes with integers.

use serde::Serialize;

use crate::graph::InferenceGraph;

/// The integer part of a network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Coverage {
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
    pub(crate) fn of(network: &InferenceGraph) -> Self {
        let graph = network.graph();
        let layers = || network.layers();
        let int8 = || layers().filter_map(|id| Some((id, network.int8_weight(id)?)));
        let parameters: usize = int8().map(|(_, weight)| weight.values().len()).sum();
        let macs: u64 = int8()
            .map(|(id, _)| graph[id].op.macs(&graph[id].shape))
            .sum();
        Self {
            layers: layers().count(),
            int8_layers: int8().count(),
            int8_parameters: parameters as f64 / graph.parameter_count().max(1) as f64,
            int8_macs: macs as f64 / graph.macs().max(1) as f64,
            bytes: network.byte_len(),
        }
    }
}
