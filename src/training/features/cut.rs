//! Where a network is cut into a frozen part, which runs once for each photo, and the rest.

use crate::error::{Error, Result};
use crate::graph::{Graph, NodeId};

/// A cut that a single value crosses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The first node behind the cut.
    pub first: NodeId,
    /// What the nodes behind the cut read of those before it.
    pub value: NodeId,
}

impl Cut {
    /// The cut before a node.
    ///
    /// # Errors
    /// [`Error::Usage`] when the node lies inside a residual block, so that several values cross.
    pub(crate) fn before(graph: &Graph, first: NodeId) -> Result<Self> {
        let behind = graph.iter().filter(|(id, _)| *id >= first);
        let mut crossing: Vec<NodeId> = behind
            .flat_map(|(_, node)| node.inputs.iter().copied())
            .filter(|input| *input < first)
            .collect();
        crossing.sort_unstable();
        crossing.dedup();
        match crossing[..] {
            [value] => Ok(Self { first, value }),
            _ => {
                let message = format!(
                    "--freeze-until: {} lies inside a block, where the frozen layers can't be cut \
                     off; choose the first layer of a block",
                    graph[first].name
                );
                Err(Error::Usage(message).into())
            }
        }
    }

    /// Bytes that the value takes for one image as it is stored, in float16.
    pub(crate) fn bytes(self, graph: &Graph) -> u64 {
        2 * self.shape(graph).iter().product::<i64>() as u64
    }

    /// The shape of the value for one image as it is stored, the channels innermost.
    pub(crate) fn shape(self, graph: &Graph) -> Vec<i64> {
        let shape: Vec<i64> = graph[self.value].shape.iter().map(|&n| n as i64).collect();
        match shape[..] {
            [channels, height, width] => vec![height, width, channels],
            _ => shape,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    #[test]
    fn blocks_are_cut_between_and_not_inside() {
        let architecture = models::find("resnet18").unwrap();
        let graph = architecture.graph(&architecture.imagenet()).unwrap();
        let cut = |name: &str| Cut::before(&graph, graph.find(name).unwrap());
        let layer4 = cut("layer4.0.conv1").unwrap();
        assert_eq!(layer4.shape(&graph), [14, 14, 256]);
        assert_eq!(layer4.bytes(&graph), 2 * 14 * 14 * 256);
        assert_eq!(cut("fc").unwrap().shape(&graph), [512]);
        let error = cut("layer4.0.conv2").unwrap_err().to_string();
        assert!(
            error.contains("layer4.0.conv2 lies inside a block"),
            "{error}"
        );
    }

    #[test]
    fn every_architecture_can_be_cut_where_fine_tuning_begins() {
        for architecture in models::ARCHITECTURES {
            let graph = architecture.graph(&architecture.imagenet()).unwrap();
            for layer in [architecture.head, architecture.fine_tune_from] {
                Cut::before(&graph, graph.layer(layer).unwrap()).unwrap();
            }
        }
    }
}
