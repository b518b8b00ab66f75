//! A model whose answers are known: its weights are set by hand so that it reads the mean colour
//! of a picture, whatever processor it runs on.

use std::path::Path;

use flowers::bundle::{Bundle, Manifest};
use flowers::data::{Folder, ScanOptions, Split, SplitOptions};
use flowers::graph::{Conv2d, Graph, NodeId, Op};
use flowers::image::Preprocessing;
use flowers::labels::Labels;
use flowers::progress::Silent;
use flowers::weights::{StateDict, Values};

pub const CLASSES: [&str; 3] = ["rose", "sunflower", "tulip"];

/// Side of the pictures in pixels.
pub const SIZE: u32 = 32;

/// What the classifier makes of the mean red, green and blue, 0 to 1: a row a class.
type Rows = [[f32; 3]; 3];

/// So that each drawn photo has a label that no rounding changes, each class some photos, and
/// grey noise is a tulip; see `every_photo_has_a_clear_answer`.
const ROWS: Rows = [[5.0, 8.0, -12.0], [-15.0, -3.0, -3.0], [10.0, -5.0, 15.0]];
const BIAS: [f32; 3] = [-4.0, 7.25, -9.75];

/// The model, as if it had been trained on a folder's usual split.
pub fn bundle(photos: &Path) -> Bundle {
    let folder = Folder::scan(&photos.into(), &ScanOptions::default(), &Silent).unwrap();
    let split = Split::make(&folder, &SplitOptions::default()).unwrap();
    let labels = Labels::new(CLASSES).unwrap();
    let preprocessing = Preprocessing::imagenet(SIZE);
    let mut manifest = Manifest::new("mobilenet_v2", Default::default(), labels, preprocessing);
    manifest.split_sha256 = Some(split.manifest.sha256().unwrap());
    let weights = weights(&manifest.graph().unwrap(), &manifest.preprocessing);
    Bundle { manifest, weights }
}

/// The logits of a picture of [`SIZE`] x [`SIZE`] pixels.
pub fn logits(picture: &image::RgbImage) -> [f64; 3] {
    let area = f64::from(picture.width() * picture.height());
    let mut mean = [0.0; 3];
    for pixel in picture.pixels() {
        for (mean, &value) in mean.iter_mut().zip(&pixel.0) {
            *mean += f64::from(value) / 255.0 / area;
        }
    }
    [0, 1, 2].map(|class| {
        let products = ROWS[class].iter().zip(mean).map(|(w, x)| f64::from(*w) * x);
        products.sum::<f64>() + f64::from(BIAS[class])
    })
}

/// The first three channels carry the mean colour through the network: stride 2 averages squares
/// of 2x2 pixels, everything else hands on, and what would be added to it is zero.
fn weights(graph: &Graph, preprocessing: &Preprocessing) -> StateDict {
    let added: Vec<NodeId> = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::Add))
        .map(|node| node.inputs[0])
        .collect();
    let mut weights = graph.initialise(0);
    let mut first = true;
    for (id, node) in graph.iter() {
        let mut set = |suffix: &str, values: Vec<f32>| {
            let tensor = weights.get_mut(&format!("{}.{suffix}", node.name)).unwrap();
            assert_eq!(tensor.len(), values.len());
            tensor.values = Values::F32(values);
        };
        match &node.op {
            Op::Conv2d(conv) => {
                set("weight", handing_on(conv));
            }
            Op::BatchNorm2d(norm) => {
                let channels = node.shape[0];
                set("running_var", vec![1.0 - norm.eps as f32; channels]);
                let (mut scale, mut shift) = (vec![1.0; channels], vec![0.0; channels]);
                if first {
                    // Colours of 0 to 1 again.
                    scale[..3].copy_from_slice(&preprocessing.std);
                    shift[..3].copy_from_slice(&preprocessing.mean);
                    first = false;
                }
                if added.contains(&id) {
                    scale.fill(0.0);
                }
                set("weight", scale);
                set("bias", shift);
            }
            Op::Linear(linear) => {
                let mut rows = vec![0.0; linear.in_features * CLASSES.len()];
                for (row, known) in rows.chunks_mut(linear.in_features).zip(ROWS) {
                    row[..3].copy_from_slice(&known);
                }
                set("weight", rows);
                set("bias", BIAS.to_vec());
            }
            _ => {}
        }
    }
    weights
}

/// A kernel that gives the first three channels what they are, or their means at stride 2.
fn handing_on(conv: &Conv2d) -> Vec<f32> {
    let (side, of_one) = (conv.kernel[0], conv.in_channels / conv.groups);
    let mut kernel = vec![0.0; conv.out_channels * of_one * side * side];
    for channel in 0..3 {
        let input = if conv.groups > 1 { 0 } else { channel };
        let middle = side / 2;
        let taps = if conv.stride == 2 {
            vec![middle, middle + 1]
        } else {
            vec![middle]
        };
        let share = 1.0 / (taps.len() * taps.len()) as f32;
        for &y in &taps {
            for &x in &taps {
                kernel[((channel * of_one + input) * side + y) * side + x] = share;
            }
        }
    }
    kernel
}
