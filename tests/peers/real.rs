//! Fine-tuning on real photos from real weights, held against torchvision.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::exported::{compare_on_photos, compare_tensorflow_on_photos};
use crate::needs;
use crate::support::{Said, run};

/// A model that was fine-tuned for two epochs a phase.
fn trained() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, model) = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (photos, out) = (needs::photos(), folder.path().join("run"));
        let weights = needs::weights().join("mobilenet_v2-b0353104.pth");
        let options = [
            "--arch",
            "mobilenet_v2",
            "--recipe",
            "two-phase",
            "--epochs",
            "2",
        ];
        let paths = [Path::new("train"), &photos, "--out".as_ref(), &out];
        let weights = [Path::new("--weights"), &weights];
        let options = options.iter().map(Path::new);
        run(paths.into_iter().chain(options).chain(weights)).done();
        (folder, out.join("model.safetensors"))
    });
    model
}

/// The floor is far below the 0.99 that it reaches: that is left to the benchmarks.
pub fn real_photos_are_learned_in_a_few_epochs() {
    let photos = needs::photos();
    let gate = ["--min-accuracy", "0.9"].map(Path::new);
    run([Path::new("eval"), trained(), &photos]
        .into_iter()
        .chain(gate))
    .done();
}

pub fn exports_answer_alike_on_real_photos() {
    compare_on_photos(trained(), &needs::photos().join("test"));
}

pub fn tensorflow_answers_alike_on_real_photos() {
    compare_tensorflow_on_photos(trained(), &needs::photos().join("test"));
}

pub fn int8_exports_answer_alike_on_real_photos() {
    let folder = tempfile::tempdir().unwrap();
    let int8 = folder.path().join("int8.safetensors");
    let calibration = needs::photos();
    let [calibrate, out] = ["--calibration", "--out"].map(Path::new);
    run([
        Path::new("quantize"),
        trained(),
        calibrate,
        &calibration,
        out,
        &int8,
    ])
    .done();
    compare_on_photos(&int8, &calibration.join("test"));
}

pub fn torchvision_answers_alike_on_real_photos() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parity.py");
    let mut command = Command::new(needs::python());
    command.args([script, env!("CARGO_BIN_EXE_flowers")]);
    command.args([trained(), &needs::photos().join("test")]);
    let said = Said::of(command.output().unwrap()).done();
    print!("{}", said.stdout);
}
