//! The ONNX interpreter and libtorch read every architecture back.

use std::sync::atomic::AtomicBool;

use flowers::bundle::Bundle;
use flowers::export::{self, Artifact, FORMATS, Format, Input, Options, Verdict, Weights};
use flowers::graph::Method;
use flowers::inference::torchscript::Loaded;
use flowers::labels::Labels;
use flowers::progress::Silent;
use flowers::weights::Tensor;

use super::{bundle, int8, samples};
use crate::networks::kinds;

/// Asserts that a file of the bundle gives the scores of the model; gives the difference of scores.
#[track_caller]
fn verified(format: &str, bundle: &flowers::bundle::Bundle, options: &Options) -> f32 {
    let format = export::find(format).unwrap();
    let file = format.encode(bundle, options).unwrap();
    let result = format
        .verify(
            || Ok(file),
            bundle.clone(),
            options,
            &samples(3),
            &AtomicBool::new(false),
            &Silent,
        )
        .unwrap();
    let Verdict::Scores(agreement) = &result.verdict else {
        panic!("scores are compared");
    };
    let name = &bundle.manifest.architecture;
    println!("{name} {} {options:?}: {agreement:?}", format.name);
    assert!(
        result.passed,
        "{name} {} {options:?}: {agreement:?}",
        format.name
    );
    assert_eq!(agreement.pictures, 3);
    agreement.largest_difference / agreement.tolerance
}

fn image_with_probabilities(opset: i64) -> Options {
    Options {
        opset,
        input: Input::Image,
        softmax: true,
        batch: Some(2),
        ..Options::default()
    }
}

fn opset(opset: i64) -> Options {
    Options {
        opset,
        ..Options::default()
    }
}

#[test]
fn onnx_of_every_architecture_answers_alike() {
    for architecture in kinds() {
        let bundle = bundle(architecture.name);
        // LayerNormalization is younger than the other operators.
        let lowest = match architecture.name {
            "convnext_tiny" => 17,
            _ => 11,
        };
        verified("onnx", &bundle, &opset(lowest));
        verified("onnx", &bundle, &image_with_probabilities(21));
    }
}

#[test]
fn int8_onnx_answers_alike() {
    for name in ["resnet18", "mobilenet_v2", "efficientnet_lite0"] {
        let bundle = int8(&bundle(name));
        verified("onnx", &bundle, &opset(13));
        verified("onnx", &bundle, &image_with_probabilities(21));
    }
}

#[test]
fn torchscript_of_every_architecture_answers_alike_in_libtorch() {
    for architecture in kinds() {
        let bundle = bundle(architecture.name);
        verified("torchscript", &bundle, &Options::default());
        let image = Options {
            input: Input::Image,
            softmax: true,
            ..Options::default()
        };
        verified("torchscript", &bundle, &image);
        verified("torchscript", &int8(&bundle), &image);
    }
}

#[test]
fn tflite_of_every_architecture_is_read_back() {
    let pictures = Options {
        input: Input::Image,
        softmax: true,
        ..Options::default()
    };
    for architecture in kinds() {
        let bundle = bundle(architecture.name);
        verified("tflite", &bundle, &pictures);
        verified("tflite", &int8(&bundle), &pictures);
    }
    let half = Options {
        weights: Weights::Float16,
        ..pictures.clone()
    };
    let mut bundle = bundle("resnet18");
    verified("tflite", &bundle, &half);

    let format = export::find("tflite").unwrap();
    bundle = int8(&bundle);
    let refused = format.encode(&bundle, &half).unwrap_err().to_string();
    assert!(refused.contains("leave out --weights"), "{refused}");
    let quantization = bundle.manifest.quantization.as_mut().unwrap();
    quantization.method = Method::Dynamic;
    let refused = format.encode(&bundle, &pictures).unwrap_err().to_string();
    assert!(refused.contains("--method static"), "{refused}");
}

#[test]
fn formats_of_tensorflow_and_core_ml_are_read_back() {
    let image = Options {
        input: Input::Image,
        softmax: true,
        ..Options::default()
    };
    let trainable = Options {
        trainable: true,
        ..image.clone()
    };
    for architecture in kinds() {
        let bundle = bundle(architecture.name);
        for format in ["saved-model", "keras", "coreml"] {
            verified(format, &bundle, &image);
        }
        verified("keras-h5", &bundle, &trainable);
    }
    let bundle = bundle("mobilenet_v2");
    let float = Options {
        input: Input::Float,
        ..image.clone()
    };
    for format in ["saved-model", "keras", "keras-h5"] {
        verified(format, &bundle, &float);
    }
    let half = Options {
        weights: Weights::Float16,
        ..image
    };
    verified("coreml", &bundle, &half);
}

#[test]
fn a_file_with_other_labels_or_of_other_integers_fails() {
    let model = bundle("mobilenet_v2");
    let mut renamed = model.clone();
    let names = (0..10).map(|class| format!("another {class}"));
    renamed.manifest.labels = Labels::new(names).unwrap();
    let verify = |format: &Format, of: &Bundle, against: &Bundle| {
        let options = Options {
            input: format.defaults.input,
            softmax: format.defaults.softmax,
            ..Options::default()
        };
        let file = format.encode(of, &options).unwrap();
        format.verify(
            || Ok(file),
            against.clone(),
            &options,
            &samples(3),
            &AtomicBool::new(false),
            &Silent,
        )
    };
    let holds_labels = [
        "tflite",
        "saved-model",
        "keras",
        "keras-h5",
        "coreml",
        "web",
        "triton",
    ];
    for name in holds_labels {
        let refused = verify(export::find(name).unwrap(), &renamed, &model);
        assert_eq!(
            flowers::error::exit_code(&refused.unwrap_err()),
            1,
            "{name}"
        );
    }
    let mut other = model.clone();
    let head = other.weights.get_mut("classifier.1.weight").unwrap();
    *head = Tensor::f32(head.shape.clone(), vec![0.0; head.len()]);
    for name in ["tflite", "web", "triton", "onnx"] {
        let found = verify(export::find(name).unwrap(), &int8(&other), &int8(&model));
        assert!(!found.unwrap().passed, "{name}");
    }
}

#[test]
fn a_file_of_another_model_fails() {
    let (model, mut other) = (bundle("resnet18"), bundle("resnet18"));
    let head = other.weights.get_mut("fc.bias").unwrap();
    *head = Tensor::f32([10], vec![1.0; 10]);
    for format in FORMATS {
        let name = format.name;
        let options = Options {
            input: format.defaults.input,
            softmax: format.defaults.softmax,
            ..Options::default()
        };
        let file = format.encode(&other, &options).unwrap();
        let start = |content: &[u8]| content[..content.len().min(200)].to_vec();
        let broken = match &file {
            Artifact::File(content) => Artifact::File(start(content)),
            Artifact::Folder(members) => {
                let members = members
                    .iter()
                    .map(|(name, file)| (name.clone(), start(file)));
                Artifact::Folder(members.collect())
            }
        };
        let result = format.verify(
            || Ok(file),
            model.clone(),
            &options,
            &samples(1),
            &AtomicBool::new(false),
            &Silent,
        );
        assert!(!result.unwrap().passed, "{name}");
        let broken = format.verify(
            || Ok(broken),
            model.clone(),
            &options,
            &samples(1),
            &AtomicBool::new(false),
            &Silent,
        );
        assert_eq!(flowers::error::exit_code(&broken.unwrap_err()), 1, "{name}");
    }
    assert!(Loaded::read(b"no archive").is_err());
}
