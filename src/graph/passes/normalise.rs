//! Moves the normalisation of pixels into the network.

use super::Rewrite;
use super::fold::numbers;
use crate::error::Result;
use crate::graph::{Graph, Op, Padding};
use crate::weights::{StateDict, Tensor};

/// The node of [`with_pixels`] whose value is what the network took before.
pub const NORMALISE: &str = "normalise";

/// Lets a network take 8-bit RGB pictures `[size, size, 3]`: its input is followed by an
/// [`Op::ToPlanes`] named `planes`, and by an [`Op::Affine`] named [`NORMALISE`] that computes
/// `(x / 255 - mean) / std`.
pub fn with_pixels(graph: &Graph, mean: [f32; 3], std: [f32; 3]) -> Graph {
    let affine = Op::Affine {
        scale: std.map(|std| 1.0 / (255.0 * std)),
        shift: std::array::from_fn(|c| -mean[c] / std[c]),
    };
    let mut rewrite = Rewrite::new(graph);
    for node in graph.nodes() {
        rewrite.keep(|node| {
            if node.op == Op::Input {
                node.shape.rotate_left(1);
            }
        });
        if node.op == Op::Input {
            rewrite.insert("planes", Op::ToPlanes, node.shape.clone());
            rewrite.insert(NORMALISE, affine.clone(), node.shape.clone());
        }
    }
    rewrite.finish()
}

/// Folds an [`Op::Affine`] into the convolution that alone reads it, as far as that is exact:
/// the scale always, since padding is zero before and after; the shift too when there is no
/// padding. With padding a scale of 1 and the shift `shift / scale` are left.
///
/// # Errors
/// [`crate::error::Error::Data`] when the convolution's weight is missing or holds integers.
pub fn fold_affine(graph: &Graph, weights: &StateDict) -> Result<(Graph, StateDict)> {
    let mut weights = weights.clone();
    let found = graph.nodes().iter().enumerate().find_map(|(place, node)| {
        let Op::Affine { scale, shift } = node.op else {
            return None;
        };
        let reader = graph.only_reader(place)?;
        match &graph.nodes()[reader].op {
            Op::Conv2d(conv) if conv.groups == 1 && scale.iter().all(|s| *s != 0.0) => {
                Some((place, reader, conv.clone(), scale, shift))
            }
            _ => None,
        }
    });
    let Some((place, reader, conv, scale, shift)) = found else {
        return Ok((graph.clone(), weights));
    };
    let whole = conv.padding == Padding::both(0);
    let name = &graph.nodes()[reader].name;
    let taps = conv.kernel * conv.kernel;
    let shape = [
        conv.out_channels,
        conv.in_channels,
        conv.kernel,
        conv.kernel,
    ];
    let weight_name = format!("{name}.weight");
    let before = numbers(&weights, &weight_name, &shape)?.to_vec();
    if whole {
        let bias_name = format!("{name}.bias");
        let mut bias = match conv.bias {
            true => numbers(&weights, &bias_name, &[conv.out_channels])?.to_vec(),
            false => vec![0.0; conv.out_channels],
        };
        for (value, row) in bias.iter_mut().zip(before.chunks(3 * taps)) {
            let moved = row.iter().enumerate();
            let moved = moved.map(|(at, w)| f64::from(*w) * f64::from(shift[at / taps]));
            *value = (f64::from(*value) + moved.sum::<f64>()) as f32;
        }
        weights.insert(bias_name, Tensor::f32([conv.out_channels], bias));
    }
    let scaled = before.iter().enumerate();
    let scaled = scaled.map(|(at, w)| w * scale[at / taps % 3]).collect();
    weights.insert(weight_name, Tensor::f32(shape, scaled));

    let mut rewrite = Rewrite::new(graph);
    for (at, node) in graph.nodes().iter().enumerate() {
        if at == place && whole {
            rewrite.skip(node.inputs[0]);
            continue;
        }
        rewrite.keep(|node| match &mut node.op {
            Op::Affine { .. } if at == place => {
                node.op = Op::Affine {
                    scale: [1.0; 3],
                    shift: std::array::from_fn(|c| shift[c] / scale[c]),
                };
            }
            Op::Conv2d(conv) if at == reader => conv.bias |= whole,
            _ => (),
        });
    }
    Ok((rewrite.finish(), weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Conv2d};

    const MEAN: [f32; 3] = [0.4, 0.5, 0.25];
    const STD: [f32; 3] = [0.2, 0.25, 0.5];

    fn network(padding: usize) -> (Graph, StateDict) {
        let (mut g, x) = Builder::new(4);
        let conv = Conv2d::new(1, 1).padding(Padding::both(padding));
        let x = g.conv2d("conv", x, conv);
        let graph = with_pixels(&g.finish(x).unwrap(), MEAN, STD);
        let weight = Tensor::f32([1, 3, 1, 1], vec![1.0, 2.0, 3.0]);
        (graph, StateDict::from([("conv.weight".into(), weight)]))
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn without_padding_nothing_is_left() {
        let (graph, weights) = network(0);
        assert_eq!(graph.nodes()[0].shape, [4, 4, 3]);
        assert_eq!(graph.nodes()[2].name, NORMALISE);
        assert_eq!(graph.nodes()[3].inputs, [2]);
        let (graph, weights) = fold_affine(&graph, &weights).unwrap();
        assert_eq!(graph.nodes().len(), 3);
        // w / (255 std), and -w mean / std summed: -2 - 4 - 1.5.
        close(
            weights["conv.weight"].as_f32().unwrap(),
            &[1.0 / 51.0, 2.0 / 63.75, 3.0 / 127.5],
        );
        close(weights["conv.bias"].as_f32().unwrap(), &[-7.5]);
    }

    #[test]
    fn with_padding_the_mean_is_left() {
        let (graph, weights) = network(1);
        let (graph, weights) = fold_affine(&graph, &weights).unwrap();
        let Op::Affine { scale, shift } = graph.nodes()[2].op else {
            panic!("the shift stays");
        };
        assert_eq!(scale, [1.0; 3]);
        close(&shift, &[-102.0, -127.5, -63.75]);
        assert!(!weights.contains_key("conv.bias"));
    }
}
