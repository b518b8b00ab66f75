//! Lets convolutions add a residual and apply an activation before they store their sums.

use super::Rewrite;
use crate::graph::{Activation, Epilogue, Graph, NodeId, Op};

/// Fuses convolution + activation, and convolution + residual add + activation. The fused node
/// keeps the convolution's name, since its parameters have it; its value is that of the last
/// node that was fused into it.
///
/// Normalisations have to be folded before.
pub fn fuse(graph: &Graph) -> Graph {
    fuse_activations(&fuse_adds(graph))
}

/// A sum is fused into the later of the two convolutions that it adds, so that the other addend is
/// computed by then.
fn fuse_adds(graph: &Graph) -> Graph {
    let is_plain = |value: &&NodeId| match &graph[**value].op {
        Op::Conv2d(conv) => {
            conv.epilogue == Epilogue::default() && graph.only_reader(**value).is_some()
        }
        _ => false,
    };
    let targets: Vec<Option<NodeId>> = graph
        .nodes()
        .iter()
        .map(|node| match node.inputs[..] {
            [a, b] if a != b && node.op == Op::Add => {
                node.inputs.iter().filter(is_plain).max().copied()
            }
            _ => None,
        })
        .collect();
    let mut rewrite = Rewrite::new(graph);
    for ((id, node), target) in graph.iter().zip(&targets) {
        match *target {
            Some(conv) => rewrite.keep(|sum| {
                let addend = node.inputs.iter().find(|&&input| input != conv);
                let before = &graph[conv];
                sum.name.clone_from(&before.name);
                sum.op = before.op.clone();
                sum.inputs = before.inputs.iter().chain(addend).copied().collect();
                if let Op::Conv2d(conv) = &mut sum.op {
                    conv.epilogue.add = true;
                }
            }),
            None if targets.contains(&Some(id)) => rewrite.remove(),
            None => rewrite.keep(|_| ()),
        }
    }
    rewrite.finish()
}

fn fuse_activations(graph: &Graph) -> Graph {
    // The activation that each convolution applies, and whether each activation is applied so.
    let mut applied: Vec<Option<Activation>> = vec![None; graph.nodes().len()];
    let mut fused = vec![false; graph.nodes().len()];
    for (id, node) in graph.iter() {
        let Op::Activation(kind) = node.op else {
            continue;
        };
        let before = node.inputs[0];
        if let Op::Conv2d(conv) = &graph[before].op
            && conv.epilogue.activation.is_none()
            && graph.only_reader(before) == Some(id)
        {
            applied[before.index()] = Some(kind);
            fused[id.index()] = true;
        }
    }
    let mut rewrite = Rewrite::new(graph);
    for (id, node) in graph.iter() {
        if fused[id.index()] {
            rewrite.replace_by(node.inputs[0]);
            continue;
        }
        rewrite.keep(|node| {
            if let (Op::Conv2d(conv), Some(kind)) = (&mut node.op, applied[id.index()]) {
                conv.epilogue.activation = Some(kind);
            }
        });
    }
    rewrite.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d, Node};

    fn conv<'a>(graph: &'a Graph, name: &str) -> (&'a Node, Epilogue) {
        let node = graph.nodes().iter().find(|node| node.name == name).unwrap();
        match &node.op {
            Op::Conv2d(conv) => (node, conv.epilogue),
            other => panic!("{name} is {}", other.name()),
        }
    }

    #[test]
    fn a_residual_block_becomes_three_convolutions() {
        let (mut g, x) = Builder::new(8);
        let skip = g.conv2d("down", x, Conv2d::new(4, 1));
        let a = g.conv2d("a", x, Conv2d::new(4, 3));
        let a = g.activation("relu", a, Activation::Relu);
        let b = g.conv2d("b", a, Conv2d::new(4, 3));
        let sum = g.add("add", b, skip);
        let out = g.activation("relu2", sum, Activation::Relu6);
        let graph = fuse(&g.finish(out).unwrap());
        let names: Vec<&str> = graph.nodes().iter().map(|n| &*n.name).collect();
        assert_eq!(names, ["input", "down", "a", "b"]);
        assert_eq!(conv(&graph, "down").1, Epilogue::default());
        let (b, epilogue) = conv(&graph, "b");
        assert_eq!(
            b.inputs,
            ["a", "down"].map(|name| graph.find(name).unwrap())
        );
        assert!(epilogue.add && epilogue.activation == Some(Activation::Relu6));
    }

    #[test]
    fn values_that_others_read_are_kept() {
        let (mut g, x) = Builder::new(8);
        let a = g.conv2d("a", x, Conv2d::new(3, 3));
        let relu = g.activation("relu", a, Activation::Relu);
        let sum = g.add("add", a, relu);
        let twice = g.add("twice", sum, sum);
        let graph = g.finish(twice).unwrap();
        assert_eq!(fuse(&graph), graph);
    }
}
