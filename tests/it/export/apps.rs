//! The example apps name what is in an export.

use std::fs;
use std::path::Path;

use flowers::export::{self, Input, Options};

use super::bundle;

/// The sources and instructions of an app, as one text.
fn app(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("assets")
        .join(name);
    let files = walkdir::WalkDir::new(root)
        .into_iter()
        .map(|file| file.unwrap());
    let text = |file: walkdir::DirEntry| fs::read_to_string(file.path()).unwrap();
    files
        .filter(|file| file.file_type().is_file())
        .map(text)
        .collect()
}

fn options() -> Options {
    Options {
        input: Input::Image,
        softmax: true,
        ..Options::default()
    }
}

fn contains(file: &[u8], text: &str) -> bool {
    file.windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn names_of_the_android_app_are_in_the_file() {
    let text = app("android");
    let exported = export::find("tflite")
        .unwrap()
        .encode(&bundle("mobilenet_v2"), &options());
    let exported = exported.unwrap();
    let file = exported.file().unwrap();
    for name in ["serving_default", "image", "probabilities", "labels.txt"] {
        assert!(text.contains(&format!("`{name}`")), "{name}");
        assert!(contains(file, name), "{name}");
    }
    assert_eq!(&file[4..8], b"TFL3");
    assert!(text.contains("0x334C4654"));
    assert!(text.contains("const val MODEL = \"flowers.tflite\""));
    assert!(text.contains("--format tflite --out app/src/main/assets/flowers.tflite"));
}

#[test]
fn names_of_the_ios_app_are_in_the_package() {
    let text = app("ios");
    let exported = export::find("coreml")
        .unwrap()
        .encode(&bundle("mobilenet_v2"), &options());
    let export::Artifact::Folder(members) = exported.unwrap() else {
        panic!("a folder");
    };
    let model = &members["Data/com.apple.CoreML/model.mlmodel"];
    for name in ["image", "classLabel", "classLabel_probs"] {
        assert!(text.contains(&format!("`{name}`")), "{name}");
        assert!(contains(model, name), "{name}");
    }
    assert!(text.contains("static let modelName = \"Flowers\""));
    assert!(text.contains("--format coreml --out Sources/Flowers.mlpackage"));
}
