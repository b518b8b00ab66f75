//! A network that is ready to be compiled.

use crate::engine::NotFinite;
use crate::error::{Error, Result, shown};
use crate::graph::passes::{for_inference, for_inference_with, found, fuse, numbers};
use crate::graph::{Affine, Graph, Quantization, Role};
use crate::weights::{StateDict, Tensor, Values};

/// A graph that is fused, its normalisations folded, and its parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    pub graph: Graph,
    pub weights: StateDict,
    pub quantization: Option<Quantization>,
}

impl Network {
    /// A float network from its architecture's graph.
    ///
    /// # Errors
    /// [`Error::Data`] when the weights do not fit the graph, with [`NotFinite`] as its context when
    /// one is no finite number.
    pub fn of_float(graph: &Graph, weights: &StateDict) -> Result<Self> {
        let (graph, weights) = for_inference_with(graph, weights)?;
        let network = Self {
            graph: fuse(&graph),
            weights,
            quantization: None,
        };
        network.check()?;
        Ok(network)
    }

    /// An int8 network from its architecture's graph; `weights` are those of the fused graph.
    ///
    /// # Errors
    /// As [`Network::of_float`], and [`Error::Data`] for integers without a scale.
    pub fn of_int8(graph: &Graph, weights: StateDict, quantization: Quantization) -> Result<Self> {
        let network = Self {
            graph: fuse(&for_inference(graph)),
            weights,
            quantization: Some(quantization),
        };
        network.check()?;
        Ok(network)
    }

    /// Refuses what can't be computed with. A number that is none has to be found here: a fused
    /// ReLU makes zeros of it, and the scores would not tell.
    fn check(&self) -> Result<()> {
        for parameter in self.graph.parameters() {
            let name = &parameter.name;
            let tensor = found(&self.weights, name, &parameter.shape)?;
            let numbers = match &tensor.values {
                Values::I8(_) if parameter.role == Role::Weight => {
                    let outputs = &parameter.shape[..1];
                    numbers(&self.weights, &format!("{name}_scale"), outputs)?
                }
                Values::I64(_) if parameter.role == Role::BatchesTracked => continue,
                _ => numbers(&self.weights, name, &parameter.shape)?,
            };
            if !numbers.iter().all(|number| number.is_finite()) {
                return NotFinite::of_weights();
            }
        }
        let values = self.quantization.iter().flat_map(|q| &q.values);
        for (name, Affine { scale, .. }) in values {
            if !(scale.is_finite() && *scale > 0.0) {
                let message = format!("the scale of {} is {scale}", shown(name));
                return Err(Error::Data(message).into());
            }
        }
        Ok(())
    }

    /// The integers that a value is stored as.
    pub fn affine(&self, place: usize) -> Option<Affine> {
        let values = &self.quantization.as_ref()?.values;
        values.get(&self.graph.nodes()[place].name).copied()
    }

    /// A tensor of a layer, e.g. `weight`.
    pub fn tensor(&self, place: usize, suffix: &str) -> Result<&Tensor> {
        let name = format!("{}.{suffix}", self.graph.nodes()[place].name);
        self.weights
            .get(&name)
            .ok_or_else(|| Error::Data(format!("the weights lack {name}")).into())
    }

    /// Whether a layer's weights are integers.
    pub fn is_int8(&self, place: usize) -> bool {
        self.tensor(place, "weight_scale").is_ok()
    }
}
