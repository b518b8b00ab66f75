//! Removes what inference does not need.

use super::Rewrite;
use crate::graph::{Graph, Op};

/// Dropout and stochastic depth do nothing in inference.
pub fn without_dropout(graph: &Graph) -> Graph {
    let mut rewrite = Rewrite::new(graph);
    for node in graph.nodes() {
        match node.op {
            Op::Dropout { .. } | Op::StochasticDepth { .. } => rewrite.replace_by(node.inputs[0]),
            _ => rewrite.keep(|_| ()),
        }
    }
    rewrite.finish()
}

/// Removes the nodes that the output does not depend on; the input stays.
pub fn without_dead_nodes(graph: &Graph) -> Graph {
    let mut alive = vec![false; graph.nodes().len()];
    alive[graph.output().index()] = true;
    alive[graph.input().index()] = true;
    for (id, node) in graph.iter().rev() {
        if alive[id.index()] {
            for input in &node.inputs {
                alive[input.index()] = true;
            }
        }
    }
    let mut rewrite = Rewrite::new(graph);
    for alive in alive {
        match alive {
            true => rewrite.keep(|_| ()),
            false => rewrite.remove(),
        }
    }
    rewrite.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d};

    fn names(graph: &Graph) -> Vec<&str> {
        graph.nodes().iter().map(|n| &*n.name).collect()
    }

    #[test]
    fn dropout_is_replaced_by_its_input() {
        let (mut g, x) = Builder::new(8);
        let x = g.flatten("flat", x);
        let x = g.dropout("drop", x, 0.5);
        let x = g.linear("fc", x, 2);
        let last = g.dropout("last", x, 0.5);
        let graph = without_dropout(&g.finish(last).unwrap());
        assert_eq!(names(&graph), ["input", "flat", "fc"]);
        let fc = graph.find("fc").unwrap();
        assert_eq!(graph[fc].inputs, [graph.find("flat").unwrap()]);
        assert_eq!(graph.output(), fc);
    }

    #[test]
    fn what_the_output_does_not_need_is_removed() {
        let (mut g, x) = Builder::new(8);
        let a = g.conv2d("a", x, Conv2d::new(4, 3));
        let unused = g.conv2d("unused", a, Conv2d::new(4, 3));
        g.conv2d("unused2", unused, Conv2d::new(4, 3));
        let b = g.conv2d("b", a, Conv2d::new(4, 3));
        let graph = without_dead_nodes(&g.finish(b).unwrap());
        assert_eq!(names(&graph), ["input", "a", "b"]);
        assert_eq!(graph.output_shape(), [4, 8, 8]);
    }
}
