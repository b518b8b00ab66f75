//! Turns logits into probabilities.

use super::Rewrite;
use crate::graph::{Graph, Op};

/// The network with an [`Op::Softmax`] named `softmax` as its last node.
pub fn with_softmax(graph: &Graph) -> Graph {
    let mut rewrite = Rewrite::new(graph);
    for (id, node) in graph.iter() {
        rewrite.keep(|_| ());
        if id == graph.output() {
            rewrite.insert("softmax", Op::Softmax, node.shape.clone());
        }
    }
    rewrite.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;

    #[test]
    fn the_output_is_that_of_the_softmax() {
        let (mut g, x) = Builder::new(4);
        let x = g.global_avg_pool("pool", x);
        let x = g.flatten("flatten", x);
        let graph = with_softmax(&g.finish(x).unwrap());
        let last = &graph[graph.output()];
        let flatten = graph.find("flatten").unwrap();
        assert_eq!((&last.op, &last.inputs[..]), (&Op::Softmax, &[flatten][..]));
        assert_eq!(graph.output_shape(), [3]);
    }
}
