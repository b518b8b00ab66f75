//! Linear layers of feature maps as the convolutions that they are.

use super::Rewrite;
use crate::graph::{Conv2d, Graph, Linear, Op};
use crate::weights::StateDict;

/// The graph with a 1 x 1 convolution for each linear layer that computes a feature map.
pub fn with_pointwise_convolutions(graph: &Graph) -> Graph {
    let mut rewrite = Rewrite::new(graph);
    for node in graph.nodes() {
        rewrite.keep(|kept| {
            if let (Op::Linear(linear), [_, _, _]) = (&node.op, &node.shape[..]) {
                kept.op = Op::Conv2d(pointwise(linear));
            }
        });
    }
    rewrite.finish()
}

/// Gives the weights of [`with_pointwise_convolutions`]' layers their shape, given those of the graph that it
/// is made of.
pub fn reshape_pointwise(graph: &Graph, weights: &mut StateDict) {
    for node in graph.nodes() {
        if let (Op::Linear(_), [_, _, _]) = (&node.op, &node.shape[..])
            && let Some(weight) = weights.get_mut(&node.parameter("weight"))
        {
            weight.shape.resize(4, 1);
        }
    }
}

fn pointwise(linear: &Linear) -> Conv2d {
    let mut conv = Conv2d::new(linear.out_features, 1).bias();
    conv.in_channels = linear.in_features;
    conv
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;

    #[test]
    fn only_linear_layers_of_maps_are_convolutions() {
        let (mut g, x) = Builder::new(4);
        let x = g.linear("map", x, 5);
        let x = g.global_avg_pool("pool", x);
        let x = g.flatten("flat", x);
        let x = g.linear("vector", x, 2);
        let graph = g.finish(x).unwrap();
        let mut weights = graph.initialise(0);
        reshape_pointwise(&graph, &mut weights);
        let convolved = with_pointwise_convolutions(&graph);
        let kinds: Vec<&str> = convolved
            .nodes()
            .iter()
            .map(|node| node.op.name())
            .collect();
        assert_eq!(
            kinds,
            ["Input", "Conv2d", "GlobalAvgPool", "Flatten", "Linear"]
        );
        for parameter in convolved.parameters() {
            assert_eq!(
                weights[&parameter.name].shape, parameter.shape,
                "{}",
                parameter.name
            );
        }
    }
}
