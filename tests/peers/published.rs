//! Published ImageNet weights: what is read of them, and what they give.

use flowers::device::Device;
use flowers::models;
use flowers::training::{Mode, Network};
use flowers::weights::{self, Values};
use serde_json::Value;

use crate::golden::{TOLERANCE, difference, pictures};
use crate::needs::weights as folder;

pub fn published_weights_load() {
    let folder = folder();
    // The sums of all elements are torch's, added up in float64.
    for (file, tensors, trained, sum) in [
        (
            "mobilenet_v2-b0353104.pth",
            314,
            3_504_872,
            74_441_704.640_338_39,
        ),
        (
            "efficientnet-lite0-57934424.pth",
            296,
            4_652_008,
            425_663.245_001_555_6,
        ),
    ] {
        let found = weights::read(&folder.join(file)).unwrap();
        assert_eq!(found.len(), tensors);
        let buffers = [".running_mean", ".running_var", ".num_batches_tracked"];
        let parameters = found
            .iter()
            .filter(|(name, _)| !buffers.iter().any(|end| name.ends_with(end)));
        assert_eq!(
            parameters.map(|(_, tensor)| tensor.len()).sum::<usize>(),
            trained
        );
        let total: f64 = found
            .values()
            .map(|tensor| match &tensor.values {
                Values::F32(values) => values.iter().map(|value| f64::from(*value)).sum(),
                Values::I64(values) => values.iter().sum::<i64>() as f64,
                other => panic!("{other:?}"),
            })
            .sum();
        assert!((total / sum - 1.0).abs() < 1e-9, "{file}: {total}");
    }
}

pub fn published_weights_give_the_published_logits() {
    let folder = folder();
    let golden: Value =
        serde_json::from_str(include_str!("../golden/models/imagenet.json")).unwrap();
    for (name, file) in [
        ("mobilenet_v2", "mobilenet_v2-b0353104.pth"),
        ("efficientnet_lite0", "efficientnet-lite0-57934424.pth"),
    ] {
        let architecture = models::find(name).unwrap();
        let graph = architecture.graph(&architecture.imagenet()).unwrap();
        let stored = weights::read(&folder.join(file)).unwrap();
        let network = Network::new(graph, &stored, Device::Cpu).unwrap();
        let logits = network.forward(&pictures(2, 224), Mode::Evaluate).unwrap();
        let worst = difference(&logits, &golden[file]);
        assert!(worst <= TOLERANCE, "{name}: logits differ by {worst}");
    }
}
