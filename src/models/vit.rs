//! Vision transformers: ViT-B/16 as in torchvision (Dosovitskiy et al., 2021,
//! <https://arxiv.org/abs/2010.11929>), and the ViT-S/14 of DINOv2 (Oquab et al., 2023,
//! <https://arxiv.org/abs/2304.07193>), whose blocks have layer scales.

use super::pretrained::{Publisher, Source};
use super::published::{TORCHVISION, Terms, in_proportion, torchvision};
use super::{Architecture, Options};
use crate::error::{Error, Result};
use crate::graph::{Activation, Builder, Conv2d, Graph, Linear, NodeId, Op, Padding};
use crate::image::preprocess::Interpolation::Bicubic;

pub(super) const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        name: "vit_b_16",
        family: "Vision Transformer",
        paper: "Dosovitskiy et al., 2021",
        summary: "base, patches of 16",
        head: "heads.head",
        fine_tune_from: "encoder.layers.encoder_layer_10",
        source: torchvision!("vit_b_16", "c867db91"),
        accuracy: 81.072,
        renamed: since_renamed,
        build: |options| VIT_B_16.build(options),
        ..TORCHVISION
    },
    Architecture {
        name: "dinov2_vits14",
        family: "DINOv2",
        paper: "Oquab et al., 2023",
        summary: "small, patches of 14",
        head: "head",
        fine_tune_from: "blocks.10",
        preprocessing: |size| in_proportion(size, 256, 224, Bicubic),
        source: Source {
            publisher: Publisher::Url(
                "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
            ),
            sha256: "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
        },
        accuracy: 81.1,
        terms: Terms {
            measured_by: "Oquab et al., 2023, of a linear layer on its features",
            licence: "Apache-2.0",
            note: "They have no classifier: one is trained on their features",
        },
        ignored: &["mask_token"],
        build: |options| DINOV2_VITS14.build(options),
        ..TORCHVISION
    },
];

const EPS: f64 = 1e-6;

/// The linear layers of torchvision's files, which its code has called otherwise since.
fn since_renamed(name: &str) -> Option<String> {
    let renamed = name.replace("mlp.linear_1.", "mlp.0.");
    let renamed = renamed.replace("mlp.linear_2.", "mlp.3.");
    (renamed != name).then_some(renamed)
}

/// Sizes, and the names of the parameters.
struct Transformer {
    patch: usize,
    features: usize,
    blocks: usize,
    heads: usize,
    patches: &'static str,
    class_token: &'static str,
    positions: &'static str,
    block: &'static str,
    /// Queries, keys and values, with what stands before `weight`, and the layer after the attention.
    attention: ([&'static str; 2], char),
    norms: [&'static str; 2],
    mlp: [&'static str; 2],
    scales: Option<[&'static str; 2]>,
    norm: &'static str,
    head: &'static str,
}

const VIT_B_16: Transformer = Transformer {
    patch: 16,
    features: 768,
    blocks: 12,
    heads: 12,
    patches: "conv_proj",
    class_token: "class_token",
    positions: "encoder.pos_embedding",
    block: "encoder.layers.encoder_layer_",
    attention: (["self_attention.in_proj", "self_attention.out_proj"], '_'),
    norms: ["ln_1", "ln_2"],
    mlp: ["mlp.0", "mlp.3"],
    scales: None,
    norm: "encoder.ln",
    head: "heads.head",
};

const DINOV2_VITS14: Transformer = Transformer {
    patch: 14,
    features: 384,
    blocks: 12,
    heads: 6,
    patches: "patch_embed.proj",
    class_token: "cls_token",
    positions: "pos_embed",
    block: "blocks.",
    attention: (["attn.qkv", "attn.proj"], '.'),
    norms: ["norm1", "norm2"],
    mlp: ["mlp.fc1", "mlp.fc2"],
    scales: Some(["ls1.gamma", "ls2.gamma"]),
    norm: "norm",
    head: "head",
};

impl Transformer {
    fn build(&self, options: &Options) -> Result<Graph> {
        let (size, patch, features) = (options.image_size, self.patch, self.features);
        if !size.is_multiple_of(patch) {
            let near = (size / patch).max(1) * patch;
            let message = format!(
                "images of {size} pixels are not whole patches of {patch}: use an image size of {near}, or \
                 another multiple"
            );
            return Err(Error::Usage(message).into());
        }
        let (mut g, x) = Builder::new(size);
        let patches = Conv2d::new(features, patch).stride(patch);
        let patches = patches.padding(Padding::both(0)).bias();
        let x = g.conv2d(self.patches, x, patches);
        let x = g.push("tokens", Op::Tokens, &[x]);
        let x = g.push(self.class_token, Op::ClassToken { features }, &[x]);
        let tokens = (size / patch).pow(2) + 1;
        let positions = Op::PositionEmbedding { tokens, features };
        let mut x = g.push(self.positions, positions, &[x]);
        for block in 0..self.blocks {
            x = self.block(&mut g, &format!("{}{block}", self.block), x);
        }
        let x = g.layer_norm(self.norm, x, EPS);
        let x = g.push("first_token", Op::FirstToken, &[x]);
        let x = options.head.build(&mut g, self.head, x, options.classes);
        g.finish(x)
    }

    /// Attention and two linear layers, each added to what it reads.
    fn block(&self, g: &mut Builder, name: &str, x: NodeId) -> NodeId {
        let layer = |part: &str| format!("{name}.{part}");
        let (features, [[norm1, norm2], [fc1, fc2]]) = (self.features, [self.norms, self.mlp]);
        let ([qkv, proj], separator) = self.attention;

        let y = g.layer_norm(layer(norm1), x, EPS);
        let packed = Linear {
            in_features: features,
            separator,
            ..Linear::new(3 * features)
        };
        let y = g.push(layer(qkv), Op::Linear(packed), &[y]);
        let heads = self.heads;
        let y = g.push(layer("attention"), Op::Attention { heads }, &[y]);
        let y = g.linear(layer(proj), y, features);
        let x = self.added(g, name, 0, x, y);

        let y = g.layer_norm(layer(norm2), x, EPS);
        let y = g.linear(layer(fc1), y, 4 * features);
        let y = g.activation(layer("gelu"), y, Activation::Gelu);
        let y = g.linear(layer(fc2), y, features);
        self.added(g, name, 1, x, y)
    }

    fn added(&self, g: &mut Builder, name: &str, half: usize, x: NodeId, y: NodeId) -> NodeId {
        let y = match self.scales {
            Some(scales) => g.layer_scale(format!("{name}.{}", scales[half]), y),
            None => y,
        };
        g.add(format!("{name}.add{half}"), x, y)
    }
}
