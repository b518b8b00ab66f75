//! Position embeddings for another number of patches.

use tch::Tensor as Values;

use super::tensors::{to_device, to_host, torch};
use crate::error::Result;
use crate::graph::{Graph, Op};
use crate::weights::{StateDict, Tensor};

/// Resamples stored position embeddings, bicubically, to the image size of a graph, as is usual for
/// transformers that are fine-tuned at another size (Dosovitskiy et al., 2021, section 3.2). That of the class
/// token stays.
///
/// # Errors
/// When memory runs out.
pub(super) fn resample(graph: &Graph, stored: &mut StateDict) -> Result<()> {
    for node in graph.nodes() {
        let Op::PositionEmbedding { tokens, features } = node.op else {
            continue;
        };
        let Some(embedding) = stored.get_mut(&node.parameter("")) else {
            continue;
        };
        let [1, found, width] = embedding.shape[..] else {
            continue;
        };
        if let (Some(from), Some(to)) = (side(found), side(tokens))
            && width == features
            && from != to
        {
            *embedding = resampled(embedding, from, to, features)?;
        }
    }
    Ok(())
}

/// Patches along a side of a square image, given the tokens with that of the class.
fn side(tokens: usize) -> Option<usize> {
    let patches = tokens.checked_sub(1)?;
    let side = patches.isqrt();
    (side > 0 && side * side == patches).then_some(side)
}

fn resampled(embedding: &Tensor, from: usize, to: usize, features: usize) -> Result<Tensor> {
    let all = to_device(embedding, tch::Device::Cpu)?;
    let (from, to, features) = (from as i64, to as i64, features as i64);
    let of_patches = || {
        let map = all.f_narrow(1, 1, from * from)?;
        let map = map.f_reshape([1, from, from, features])?;
        let map = map.f_permute([0, 3, 1, 2])?;
        let map = map.f_upsample_bicubic2d([to, to], false, None, None)?;
        map.f_permute([0, 2, 3, 1])?
            .f_reshape([1, to * to, features])
    };
    let joined = || Values::f_cat(&[all.f_narrow(1, 0, 1)?, of_patches()?], 1);
    to_host(&torch(joined())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;

    #[test]
    fn patches_are_resampled_and_the_class_token_stays() {
        let graph = |tokens| {
            let (mut g, x) = Builder::new(tokens);
            let x = g.push("tokens", Op::Tokens, &[x]);
            let x = g.push("class", Op::ClassToken { features: 3 }, &[x]);
            let tokens = tokens * tokens + 1;
            let positions = Op::PositionEmbedding {
                tokens,
                features: 3,
            };
            let x = g.push("positions", positions, &[x]);
            g.finish(x).unwrap()
        };
        // The first feature is that of the class alone, the second the same everywhere, the third grows
        // from left to right.
        let mut values = vec![9.0, 1.0, 0.5];
        for at in 0..16 {
            values.extend([0.0, 1.0, (at % 4) as f32]);
        }
        let stored =
            || StateDict::from([("positions".into(), Tensor::f32([1, 17, 3], values.clone()))]);
        let mut same = stored();
        resample(&graph(4), &mut same).unwrap();
        assert_eq!(same, stored());
        let mut smaller = stored();
        resample(&graph(2), &mut smaller).unwrap();
        assert_eq!(smaller["positions"].shape, [1, 5, 3]);
        let found = smaller["positions"].as_f32().unwrap();
        assert_eq!(found[..3], [9.0, 1.0, 0.5]);
        for (at, patch) in found[3..].chunks(3).enumerate() {
            assert_eq!(patch[0], 0.0);
            assert!((patch[1] - 1.0).abs() < 1e-6);
            // Half-way between two columns of four: -0.09375, 0.59375, 0.59375, -0.09375 (Keys, 1981, with
            // a = -0.75), and beyond the side its own value.
            assert!(
                (patch[2] - [0.40625, 2.59375][at % 2]).abs() < 1e-5,
                "{patch:?}"
            );
        }
        let mut other =
            StateDict::from([("positions".into(), Tensor::f32([1, 16, 3], vec![0.0; 48]))]);
        let before = other.clone();
        resample(&graph(2), &mut other).unwrap();
        assert_eq!(
            other, before,
            "without a class token it is left to be refused"
        );
    }
}
