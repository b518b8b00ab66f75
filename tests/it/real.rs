//! Fine-tuning on real photos from real weights, held against torchvision where that is at hand.

use std::process::{Command, Output};

use crate::export::real::compare_on_photos;
use crate::support::{oxford12, real_weights};

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    output
}

#[test]
fn real_photos_are_learned_in_a_few_epochs() {
    let Some((weights, photos)) = real_weights().zip(oxford12()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let flowers = env!("CARGO_BIN_EXE_flowers");
    run(Command::new(flowers)
        .arg("train")
        .arg(&photos)
        .arg("--out")
        .arg(&out)
        .args([
            "--arch",
            "mobilenet_v2",
            "--recipe",
            "two-phase",
            "--epochs",
            "2",
        ])
        .arg("--weights")
        .arg(weights.join("mobilenet_v2-b0353104.pth")));
    let model = out.join("model.safetensors");
    run(Command::new(flowers)
        .arg("eval")
        .args([&model, &photos])
        .args(["--min-accuracy", "0.93"]));
    compare_on_photos(&model, &photos.join("test"));

    let python = std::env::var_os("FLOWERS_PYTHON").unwrap_or("python3".into());
    let has_peers = Command::new(&python)
        .args(["-c", "import torchvision, safetensors"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_peers {
        println!("skipped: FLOWERS_PYTHON has no torchvision and safetensors to compare with");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parity.py");
    let output = run(Command::new(&python)
        .args([script, flowers])
        .args([&model, &photos.join("test")]));
    print!("{}", String::from_utf8_lossy(&output.stdout));
}
