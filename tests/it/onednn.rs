//! The backend of oneDNN's plans beside libtorch's, and what happens where it can't be used.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowers::graph::InferenceGraph;
use flowers::image::Preprocessing;
use flowers::inference::{self, Backend, Choice, Cpu, Images, Options, Precision};
use flowers::models::ARCHITECTURES;
use tempfile::TempDir;

use crate::networks::{graph, pictures, quantized, side, weights};
use crate::support::{Said, flowers, model, photos};

fn load(network: &InferenceGraph, size: usize, options: Options) -> Box<dyn Backend> {
    let preprocessing = Preprocessing::imagenet(size as u32);
    inference::load(network, &preprocessing, &options).unwrap()
}

/// The largest difference of scores, relative to the largest score.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, f32::max) / largest
}

#[test]
fn every_architecture_answers_as_by_libtorch_in_every_precision() {
    for architecture in ARCHITECTURES {
        let name = architecture.name;
        let graph = graph(name);
        let float = InferenceGraph::float(&graph, &weights(&graph)).unwrap();
        let size = side(name);
        let images = pictures(3, size);
        let mut precisions = vec![(Precision::Float32, 1e-4)];
        if Cpu::detect().bfloat16 {
            precisions.push((Precision::Bfloat16, 0.1));
        }
        for (precision, tolerance) in precisions {
            let [ours, theirs] = [Choice::Onednn, Choice::Torchscript].map(|backend| {
                let options = Options {
                    precision,
                    backend,
                    ..Options::cpu()
                };
                let backend = load(&float, size, options);
                backend.logits(Images::Rgb8(&images)).unwrap()
            });
            let apart = difference(&ours, &theirs);
            assert!(apart < tolerance, "{name} {precision}: {apart}");
        }
    }
}

#[test]
fn an_image_has_the_same_scores_alone_and_in_any_batch() {
    for name in ["resnet18", "mobilenet_v3_small", "vit_b_16"] {
        let graph = graph(name);
        let size = side(name);
        let float = InferenceGraph::float(&graph, &weights(&graph)).unwrap();
        for network in [quantized(&float), float] {
            let is_int8 = network.quantized().is_some();
            let options = Options {
                precision: Precision::Auto,
                backend: Choice::Onednn,
                ..Options::cpu()
            };
            let backend = load(&network, size, options);
            let images = pictures(7, size);
            let one = images.len() / 7;
            let together = backend.logits(Images::Rgb8(&images)).unwrap();
            let rows = together.chunks(backend.classes());
            for (image, row) in images.chunks(one).zip(rows) {
                let alone = backend.logits(Images::Rgb8(image)).unwrap();
                let apart = difference(&alone, row);
                assert!(apart < 0.05, "{name} int8 {is_int8}: {apart}");
            }
        }
    }
}

/// Names a library.
const LIBRARY: &str = "FLOWERS_ONEDNN";

/// What `predict` says with an environment variable.
fn predicted_with(name: &str, value: &Path, options: &[&str]) -> Said {
    let mut command = flowers();
    command.env(name, value);
    command
        .arg("predict")
        .arg(model())
        .arg(photos())
        .args(options);
    Said::of(command.output().unwrap())
}

/// A library with these C functions.
fn compiled(folder: &TempDir, name: &str, code: &str) -> PathBuf {
    let source = folder.path().join(name).with_extension("c");
    fs::write(&source, code).unwrap();
    let library = source.with_extension("so");
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    compiler.args(["-shared", "-fPIC", "-o"]);
    let status = compiler.arg(&library).arg(&source).status().unwrap();
    assert!(status.success());
    library
}

fn of_version(major: u32, minor: u32, runtime: u32) -> String {
    format!(
        "struct {{ int a, b, c; const char *hash; unsigned cpu, gpu; }} static version = \
         {{ {major}, {minor}, 0, 0, {runtime}, 0 }};\nconst void *dnnl_version(void) {{ return &version; }}\n"
    )
}

#[test]
fn a_library_that_will_not_do_is_named_and_libtorch_answers() {
    let folder = tempfile::tempdir().unwrap();
    let truncated = folder.path().join("truncated.so");
    let binary = fs::read(env!("CARGO_BIN_EXE_flowers")).unwrap();
    fs::write(&truncated, &binary[..5000]).unwrap();
    let text = folder.path().join("text.so");
    fs::write(&text, "no library ".repeat(99)).unwrap();
    let openmp = 2;
    let cases = [
        (folder.path().join("absent.so"), "No such file"),
        (truncated, "it is truncated"),
        (text, "not a library for this machine"),
        (
            compiled(&folder, "older", &of_version(3, 5, openmp)),
            "oneDNN 3.5 is not one of the releases from 3.6",
        ),
        (
            compiled(&folder, "newer", &of_version(4, 0, openmp)),
            "oneDNN 4.0 is not one of the releases from 3.6",
        ),
        (
            compiled(&folder, "sequential", &of_version(3, 6, 1)),
            "not built for OpenMP",
        ),
        (
            compiled(&folder, "lacking", &of_version(3, 6, openmp)),
            "undefined symbol: dnnl_get_effective_cpu_isa",
        ),
        (compiled(&folder, "other", "int f;"), "dnnl_version"),
    ];
    let usual = predicted_with(LIBRARY, Path::new(""), &["--backend", "torchscript"]).done();
    for (library, why) in cases {
        let said = predicted_with(LIBRARY, &library, &[]).done();
        assert_eq!(said.stdout, usual.stdout, "{library:?}");
        let lines: Vec<&str> = said.stderr.lines().collect();
        let about: Vec<&&str> = lines
            .iter()
            .filter(|line| line.contains("oneDNN is not used"))
            .collect();
        assert_eq!(about.len(), 1, "{}", said.stderr);
        assert!(about[0].contains(why), "{why}: {}", about[0]);
        let named = library.file_name().unwrap().to_str().unwrap();
        let said = predicted_with(LIBRARY, &library, &["--backend", "onednn"]);
        said.failed(4, &["FLOWERS_ONEDNN", named, why]);
    }
}

#[test]
fn a_processor_without_avx2_is_computed_on_by_libtorch() {
    let with = |options: &[&str]| predicted_with("ONEDNN_MAX_CPU_ISA", Path::new("SSE41"), options);
    let said = with(&[]).done();
    assert!(
        said.stderr.contains("need a processor with AVX2"),
        "{}",
        said.stderr
    );
    with(&["--backend", "onednn"]).failed(4, &["AVX2"]);
}
