//! Removes what inference does not need.

use super::Rewrite;
use crate::graph::{Graph, Op};

/// Dropout does nothing in inference.
pub fn without_dropout(graph: &Graph) -> Graph {
    let mut rewrite = Rewrite::new(graph);
    for node in graph.nodes() {
        match node.op {
            Op::Dropout { .. } => rewrite.skip(node.inputs[0]),
            _ => rewrite.keep(|_| ()),
        }
    }
    rewrite.finish()
}

/// Removes the nodes that the answer does not depend on; the input stays.
pub fn without_dead_nodes(graph: &Graph) -> Graph {
    let nodes = graph.nodes();
    let mut alive = vec![false; nodes.len()];
    alive[graph.output()] = true;
    for (place, node) in nodes.iter().enumerate().rev() {
        if node.op == Op::Input {
            alive[place] = true;
        }
        if alive[place] {
            for &input in &node.inputs {
                alive[input] = true;
            }
        }
    }
    let mut rewrite = Rewrite::new(graph);
    for alive in alive {
        if alive {
            rewrite.keep(|_| ());
        } else {
            rewrite.drop();
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
    fn dropout_stands_for_its_input() {
        let (mut g, x) = Builder::new(8);
        let x = g.flatten("flat", x);
        let x = g.dropout("drop", x, 0.5);
        let x = g.linear("fc", x, 2);
        let last = g.dropout("last", x, 0.5);
        let graph = without_dropout(&g.finish(last).unwrap());
        assert_eq!(names(&graph), ["input", "flat", "fc"]);
        assert_eq!(graph.nodes()[2].inputs, [1]);
        assert_eq!(graph.output(), 2);
    }

    #[test]
    fn what_the_answer_does_not_need_goes() {
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
