//! The parameters of the channels that are kept.

use super::choice::Choice;
use super::groups::{Kept, kept};
use super::prunable::Prunable;
use crate::bundle::Bundle;
use crate::error::Result;
use crate::graph::{NodeId, Op, Parameter};
use crate::weights::{StateDict, Tensor, Values};

impl Prunable {
    /// The model without the channels that a choice gives up.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) when a parameter is missing or has another shape.
    pub(crate) fn pruned(&self, choice: &Choice) -> Result<Bundle> {
        let kept = kept(&self.graph, &self.groups, &choice.units);
        let mut manifest = self.bundle.manifest.clone();
        manifest.channels.extend(choice.channels.clone());
        // They are those of the whole network.
        manifest.metrics = None;
        let parameters = self.graph.parameters();
        let weights = parameters.map(|parameter| self.narrowed(parameter, &kept));
        Ok(Bundle {
            manifest,
            weights: weights.collect::<Result<StateDict>>()?,
        })
    }

    fn narrowed(&self, parameter: Parameter, kept: &Kept) -> Result<(String, Tensor)> {
        let channels = |id: NodeId| kept.get(&id).map(Vec::as_slice).unwrap_or_default();
        let Parameter {
            name, shape, node, ..
        } = parameter;
        let tensor = self.bundle.weights.tensor(&name, &shape)?;
        let operator = &self.graph[node];
        let reads_all = match &operator.op {
            Op::Conv2d(conv) => conv.groups == 1,
            op => matches!(op, Op::Linear(_)),
        };
        let tensor = match shape.len() {
            0 => tensor.clone(),
            2.. if reads_all => {
                let outputs = selected(tensor, 0, channels(node));
                selected(&outputs, 1, channels(operator.inputs[0]))
            }
            _ => selected(tensor, 0, channels(node)),
        };
        Ok((name, tensor))
    }
}

/// Some slices of a tensor along an axis.
fn selected(tensor: &Tensor, axis: usize, indices: &[usize]) -> Tensor {
    let Values::F32(values) = &tensor.values else {
        return tensor.clone();
    };
    let inner: usize = tensor.shape[axis + 1..].iter().product();
    let outer: usize = tensor.shape[..axis].iter().product();
    let length = tensor.shape[axis];
    let mut shape = tensor.shape.clone();
    shape[axis] = indices.len();
    let mut chosen = Vec::with_capacity(shape.iter().product());
    for block in 0..outer {
        for index in indices {
            let start = (block * length + index) * inner;
            chosen.extend_from_slice(&values[start..start + inner]);
        }
    }
    Tensor::f32(shape, chosen)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::bundle::Manifest;
    use crate::device::Device;
    use crate::evaluation::speed::random_images;
    use crate::inference::{self, Images, Options};
    use crate::labels::Labels;
    use crate::models;
    use crate::pruning::choice::Scores;
    use crate::pruning::groups::channels;

    /// One of each kind of block; the others differ in numbers only.
    const KINDS: [&str; 14] = [
        "alexnet",
        "densenet121",
        "efficientnet_b0",
        "efficientnet_lite0",
        "googlenet",
        "mnasnet1_0",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        "resnet18",
        "resnext50_32x4d",
        "shufflenet_v2_x1_0",
        "squeezenet1_1",
        "vgg11_bn",
    ];

    /// A network with random weights on the smallest pictures that it takes.
    fn model(name: &str) -> Prunable {
        let architecture = models::find(name).unwrap();
        let graph = |size: u32| {
            let labels = Labels::new(["a", "b", "c"]).unwrap();
            let head = architecture.default_head();
            let preprocessing = (architecture.preprocessing)(size);
            let manifest = Manifest::new(name, head, labels, preprocessing);
            manifest.graph().ok().map(|graph| (manifest, graph))
        };
        let (manifest, graph) = [64, 224].into_iter().find_map(graph).unwrap();
        let weights = graph.initialise(1);
        Prunable::new(Bundle { manifest, weights }).unwrap()
    }

    /// Importance at random.
    fn scores(model: &Prunable) -> Scores {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let nodes = model.graph.iter();
        let scores = nodes.map(|(id, node)| {
            let of_node = (0..channels(node)).map(|_| rng.random::<f64>());
            (id, of_node.collect())
        });
        scores.collect()
    }

    /// The whole network in which the channels that are given up compute nothing.
    fn silenced(model: &Prunable, kept: &Kept) -> Bundle {
        let mut bundle = model.bundle.clone();
        for parameter in model.graph.parameters() {
            if !parameter.role.is_learned() {
                continue;
            }
            let values = bundle.weights.f32_mut(&parameter.name).unwrap();
            let length = values.len() / parameter.shape[0];
            for (channel, values) in values.chunks_mut(length).enumerate() {
                if kept[&parameter.node].binary_search(&channel).is_err() {
                    values.fill(0.0);
                }
            }
        }
        bundle
    }

    fn logits(bundle: Bundle) -> Vec<f32> {
        let backend = inference::load_bundle(bundle, &Options::float32(Device::Cpu)).unwrap();
        let size = backend.image_size();
        let pixels = random_images(2, size);
        backend.logits(Images::Rgb8(&pixels)).unwrap()
    }

    /// Channels that computed nothing can go without a trace.
    #[test]
    fn a_pruned_network_computes_what_the_rest_of_the_whole_one_did() {
        for name in KINDS {
            let model = model(name);
            let half = model.graph.macs() / 2;
            let choice = model.choose(&scores(&model), half, 8).unwrap();
            let share = choice.macs as f64 / half as f64;
            assert!(share <= 1.0 && share > 0.8, "{name}: {share}");
            let kept = kept(&model.graph, &model.groups, &choice.units);
            let pruned = model.pruned(&choice).unwrap();
            assert_eq!(
                pruned.manifest.graph().unwrap().macs(),
                choice.macs,
                "{name}"
            );
            let (found, expected) = (logits(pruned), logits(silenced(&model, &kept)));
            let largest = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            assert!(largest > 1e-3, "{name}: {expected:?}");
            for (a, b) in found.iter().zip(&expected) {
                assert!(
                    (a - b).abs() <= 1e-4 * largest,
                    "{name}: {found:?} {expected:?}"
                );
            }
        }
    }

    #[test]
    fn what_can_t_be_had_is_refused() {
        let model = model("resnet18");
        let refused = model.choose(&scores(&model), 1000, 8).unwrap_err();
        assert!(
            refused.to_string().contains("an eighth of the channels"),
            "{refused}"
        );
        let vit = models::find("vit_b_16").unwrap();
        let labels = Labels::new(["a", "b"]).unwrap();
        let preprocessing = (vit.preprocessing)(224);
        let manifest = Manifest::new("vit_b_16", vit.default_head(), labels, preprocessing);
        let weights = StateDict::new();
        let refused = Prunable::new(Bundle { manifest, weights }).err().unwrap();
        assert!(refused.to_string().contains("Tokens tokens"), "{refused}");
    }

    #[test]
    fn slices_are_taken_along_an_axis() {
        let values = (0..12).map(|value| value as f32).collect();
        let tensor = Tensor::f32([2, 3, 2], values);
        let rows = selected(&tensor, 0, &[1]);
        assert_eq!(rows.shape, [1, 3, 2]);
        assert_eq!(rows.as_f32().unwrap(), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        let columns = selected(&tensor, 1, &[0, 2]);
        assert_eq!(columns.shape, [2, 2, 2]);
        let expected = [0.0, 1.0, 4.0, 5.0, 6.0, 7.0, 10.0, 11.0];
        assert_eq!(columns.as_f32().unwrap(), expected);
    }
}
