//! `flowers quantize`: what it writes, what it says, and what it refuses.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use flowers::bundle::Bundle;
use flowers::graph::Method;
use flowers::inference::{self, Images, Kernels, Options, Precision};
use flowers::weights::{Dtype, Tensor, Values};
use serde_json::Value;
use tempfile::TempDir;

use crate::networks;
use crate::support::{Said, model, names, photos, run, start, wait_until};

fn arguments<'a>(model: &'a Path, out: &'a Path, options: &[&'a str]) -> Vec<&'a Path> {
    let first = [Path::new("quantize"), model, Path::new("--out"), out];
    let threads = ["--threads", "1"].map(Path::new);
    let options = options.iter().copied().map(Path::new);
    first.into_iter().chain(threads).chain(options).collect()
}

fn quantize(model: &Path, out: &Path, options: &[&str]) -> Said {
    run(arguments(model, out, options))
}

/// `--calibration PHOTOS` and some more.
fn calibrated<'a>(options: &[&'a str]) -> Vec<&'a str> {
    let calibration = ["--calibration", photos().to_str().unwrap()];
    [&calibration[..], options].concat()
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("int8.safetensors");
    (folder, out)
}

fn logits(bundle: &Bundle, kernels: Kernels, pictures: &[u8]) -> Vec<f32> {
    let precision = match &bundle.manifest.quantization {
        Some(_) => Precision::Int8,
        None => Precision::Float32,
    };
    let options = Options {
        precision,
        kernels,
        ..Options::cpu()
    };
    let backend = inference::load_bundle(bundle.clone(), &options).unwrap();
    backend.logits(Images::Rgb8(pictures)).unwrap()
}

/// The drawn photos as the model sees them.
fn pictures(bundle: &Bundle) -> Vec<u8> {
    let files = walkdir::WalkDir::new(photos()).sort_by_file_name();
    let files = files.into_iter().map(Result::unwrap);
    let photos = files.filter(|entry| entry.file_type().is_file());
    let fitted = photos.map(|photo| {
        let picture = image::open(photo.path()).unwrap().to_rgb8();
        bundle.manifest.preprocessing.fit(&picture).into_raw()
    });
    fitted.flatten().collect()
}

#[test]
fn a_static_model_is_small_and_answers_as_the_float_one() {
    let (_folder, out) = place();
    let photos = photos().to_str().unwrap();
    let options = calibrated(&["--eval", photos, "--max-drop", "1", "--json"]);
    let said = quantize(&model(), &out, &options).done();
    let told = &said.json()[0];
    assert_eq!(told["method"], "static");
    assert_eq!(told["observer"], "mse");
    assert_eq!(told["samples"], 24);
    assert_eq!(told["evaluation"]["n"], 6);
    assert_eq!(told["int8_layers"], told["layers"]);
    assert!(told["int8_parameters"].as_f64().unwrap() > 0.98);

    let [float, int8] = [&model(), &out].map(|path| Bundle::read(path).unwrap().0);
    let quantization = int8.manifest.quantization.as_ref().unwrap();
    assert_eq!(quantization.method, Method::Static);
    assert_eq!(quantization.details["evaluation"], told["evaluation"]);
    assert_eq!(int8.manifest.split_sha256, float.manifest.split_sha256);
    let pixels = quantization.values["input"];
    let tables = int8.manifest.preprocessing.tables();
    for table in tables {
        for end in [table[0], table[255]] {
            let rounded = pixels.dequantize(pixels.quantize(end));
            assert!(
                (rounded - end).abs() <= 0.51 * pixels.scale,
                "{end} {rounded}"
            );
        }
    }
    let first = &int8.weights["features.0.0.weight"];
    assert_eq!(
        (first.dtype(), &first.shape[..]),
        (Dtype::I8, &[32, 3, 3, 3][..])
    );
    assert_eq!(int8.weights["features.0.0.weight_scale"].shape, [32]);
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(&out) * 3 < size(&model()));

    let pictures = pictures(&float);
    let expected = logits(&float, Kernels::Auto, &pictures);
    let power = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
    for kernels in [Kernels::Auto, Kernels::Plain] {
        let found = logits(&int8, kernels, &pictures);
        let apart = power(&mut expected.iter().zip(&found).map(|(a, b)| a - b));
        let share = apart / power(&mut expected.iter().copied());
        assert!(share < 0.05, "{kernels:?}: {share}");
    }
}

#[test]
fn the_same_call_writes_the_same_bytes() {
    let (folder, out) = place();
    let again = folder.path().join("again.safetensors");
    let options = calibrated(&["--samples", "5", "--observer", "percentile"]);
    let said = quantize(&model(), &out, &options).done();
    assert!(
        said.stdout.contains("int8: 53 of 53 layers"),
        "{}",
        said.stdout
    );
    quantize(&model(), &again, &options).done();
    assert!(fs::read(&out).unwrap() == fs::read(&again).unwrap());
    let other = calibrated(&["--samples", "5", "--observer", "minmax", "--force"]);
    quantize(&model(), &again, &other).done();
    assert!(fs::read(&out).unwrap() != fs::read(&again).unwrap());
}

#[test]
fn dynamic_says_how_little_it_is() {
    let (_folder, out) = place();
    let said = quantize(&model(), &out, &["--method", "dynamic"]).done();
    let words = "1 of 53 layers with 0.17% of the parameters";
    assert!(said.stdout.contains(words), "{}", said.stdout);
    assert!(said.stdout.contains("--method static"), "{}", said.stdout);
    let [float, int8] = [&model(), &out].map(|path| Bundle::read(path).unwrap().0);
    let quantization = int8.manifest.quantization.as_ref().unwrap();
    assert!(quantization.values.is_empty());
    assert_eq!(int8.weights["classifier.1.weight"].dtype(), Dtype::I8);
    assert_eq!(int8.weights["features.0.0.weight"].dtype(), Dtype::F32);
    let pictures = pictures(&float);
    let expected = logits(&float, Kernels::Auto, &pictures);
    let found = logits(&int8, Kernels::Auto, &pictures);
    let largest = expected.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    for (a, b) in expected.iter().zip(&found) {
        assert!((a - b).abs() < 0.05 * largest, "{a} {b}");
    }
}

/// A model whose classes differ by less than a step of int8: every row of the classifier has one
/// huge weight, of a feature that all classes share.
fn coarse(folder: &Path) -> PathBuf {
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    let weight = bundle.weights.get_mut("classifier.1.weight").unwrap();
    let columns = weight.shape[1];
    if let Values::F32(values) = &mut weight.values {
        values.chunks_mut(columns).for_each(|row| row[0] = 1e4);
    }
    // What else there is of the colours still makes out all classes.
    let bias = bundle.weights.get_mut("classifier.1.bias").unwrap();
    bias.values = Values::F32(vec![0.93, 2.51, -3.44]);
    let path = folder.join("coarse.safetensors");
    bundle.write(&path).unwrap();
    path
}

/// The drawn photos as a part of a data set, each in the class that the model takes it for.
pub fn as_predicted(model: &Path, folder: &Path, part: &str) -> PathBuf {
    let predict = [Path::new("predict"), model, photos()];
    let options = ["--json", "--precision", "float32"].map(Path::new);
    let answers = run(predict.into_iter().chain(options)).done().json();
    for (number, answer) in answers.iter().enumerate() {
        let class = folder.join(part).join(answer["class"].as_str().unwrap());
        fs::create_dir_all(&class).unwrap();
        let copy = class.join(format!("{number}.jpg"));
        fs::copy(answer["file"].as_str().unwrap(), copy).unwrap();
    }
    folder.to_path_buf()
}

#[test]
fn sensitive_layers_go_back_to_float_or_nothing_is_written() {
    let (folder, out) = place();
    let others = tempfile::tempdir().unwrap();
    let coarse = coarse(others.path());
    let photos = as_predicted(&coarse, &others.path().join("photos"), "test");
    let photos = photos.to_str().unwrap();
    let options = ["--method", "dynamic", "--eval", photos, "--max-drop", "0"];
    let words = [
        "no matter which layers are int8",
        "--max-drop 0",
        "nothing was written",
    ];
    quantize(&coarse, &out, &options).failed(1, &words);
    assert_eq!(names(folder.path()), [""; 0]);

    let options = calibrated(&["--eval", photos, "--max-drop", "0.3", "--json"]);
    let said = quantize(&coarse, &out, &options).done();
    let told = &said.json()[0];
    assert_eq!(told["float_layers"][0], "classifier.1");
    assert_eq!(told["sensitivity"][0]["layer"], "classifier.1");
    assert_eq!(told["sensitivity"].as_array().unwrap().len(), 53);
    assert!(told["evaluation"]["difference"].as_f64().unwrap() >= -0.3);
    let (int8, _) = Bundle::read(&out).unwrap();
    assert_eq!(int8.weights["classifier.1.weight"].dtype(), Dtype::F32);
    assert_eq!(int8.weights["features.0.0.weight"].dtype(), Dtype::I8);
    assert_eq!(told["finetuned"], Value::Null);
}

#[test]
fn fine_tuning_comes_before_layers_go_back_to_float() {
    let (_folder, out) = place();
    let others = tempfile::tempdir().unwrap();
    let coarse = coarse(others.path());
    let evaluated = as_predicted(&coarse, &others.path().join("photos"), "test");
    let evaluated = evaluated.to_str().unwrap();
    let tuned = ["--finetune", photos().to_str().unwrap(), "--epochs", "1"];
    let options = ["--eval", evaluated, "--max-drop", "0.3", "--json"];
    let options = calibrated(&[&options[..], &tuned].concat());
    let said = quantize(&coarse, &out, &options).done();
    let told = &said.json()[0];
    // Whether it helps where a step of int8 is larger than what tells classes apart is a matter of
    // rounding.
    let helped = !said.stderr.contains("going on without");
    let epochs = if helped { 1.into() } else { Value::Null };
    assert_eq!(told["finetuned"], epochs, "{}", said.stderr);
    assert_eq!(told["float_layers"][0], "classifier.1");
    assert!(
        said.stderr.contains("--max-drop 0.3: fine-tuning"),
        "{}",
        said.stderr
    );
    // Where nothing is lost, nothing is trained.
    let out = others.path().join("fine.safetensors");
    let options = ["--eval", evaluated, "--max-drop", "1", "--json"];
    let options = calibrated(&[&options[..], &tuned].concat());
    let told = &quantize(&coarse, &out, &options).done().json()[0];
    assert_eq!(told["finetuned"], Value::Null);
    quantize(&model(), &out, &calibrated(&tuned)).misused(&["--eval"]);
}

#[test]
fn senseless_calls_are_refused() {
    let (folder, out) = place();
    let nothing = |said: Said, code, words: &[&str]| {
        said.failed(code, words);
        assert!(!out.exists());
    };
    nothing(quantize(&model(), &out, &[]), 2, &["--calibration DATA"]);
    let dynamic = calibrated(&["--method", "dynamic"]);
    nothing(quantize(&model(), &out, &dynamic), 2, &["--calibration"]);
    let options = calibrated(&[]);
    nothing(
        quantize(&photos().join("rose/rose-0001.jpg"), &out, &options),
        3,
        &["rose-0001.jpg", "the first argument is the model"],
    );
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let calibration = ["--calibration", empty.to_str().unwrap()];
    nothing(quantize(&model(), &out, &calibration), 3, &["empty"]);
    fs::create_dir(empty.join("rose")).unwrap();
    nothing(
        quantize(&model(), &out, &calibration),
        3,
        &["empty", "no photos"],
    );
    let deep = folder.path().join("no/int8.safetensors");
    quantize(&model(), &deep, &options).failed(4, &["no/int8.safetensors"]);
    let itself = [&options[..], &["--force"]].concat();
    quantize(&model(), &model(), &itself).failed(2, &["the model itself"]);
    quantize(&model(), &out, &["--samples", "9"]).misused(&["--calibration"]);
    quantize(&model(), &out, &["--max-drop", "0.1"]).misused(&["--eval"]);
    quantize(&model(), &out, &calibrated(&["--samples", "0"])).misused(&["--samples"]);
}

#[test]
fn photos_may_be_listed_in_a_file_of_labels() {
    let (folder, out) = place();
    let mut table = String::from("file,label\n");
    for class in names(photos()) {
        for name in names(&photos().join(&class)) {
            let path = photos().join(&class).join(name);
            table.push_str(&format!("{},{class}\n", path.display()));
        }
    }
    let labels = folder.path().join("labels.csv");
    fs::write(&labels, table).unwrap();
    let options = ["--calibration", labels.to_str().unwrap(), "--samples", "4"];
    quantize(&model(), &out, &options).done();
    assert!(out.exists());
}

#[test]
fn outputs_are_kept_and_int8_is_not_quantized_again() {
    let (folder, out) = place();
    let dynamic = ["--method", "dynamic"];
    quantize(&model(), &out, &dynamic).done();
    let written = fs::read(&out).unwrap();
    quantize(&model(), &out, &dynamic).failed(2, &["int8.safetensors already exists", "--force"]);
    quantize(&model(), &out, &[&dynamic[..], &["--force"]].concat()).done();
    assert!(fs::read(&out).unwrap() == written);
    let again = folder.path().join("again.safetensors");
    let words = ["int8.safetensors is already int8", "float model"];
    quantize(&out, &again, &dynamic).failed(3, &words);
    assert_eq!(names(folder.path()), ["int8.safetensors"]);
}

#[test]
#[cfg(unix)]
fn stopped_by_ctrl_c_it_leaves_nothing() {
    let (folder, out) = place();
    let log = folder.path().join("log");
    let options = calibrated(&["--eval", photos().to_str().unwrap()]);
    let model = model();
    let arguments = arguments(&model, &out, &options);
    let arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
    let mut child = start(&arguments, &log);
    // SIGTERM comes last: by then a SIGINT is not only caught, but sets the flag too.
    wait_until("signals are caught", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()));
        let Ok(status) = status else { return true };
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = caught.map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        mask.is_some_and(|mask| mask & 1 << (libc::SIGTERM - 1) != 0)
    });
    // SAFETY: the child was not waited for, so the number is its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    let status = child.wait().unwrap();
    assert_eq!(
        status.code(),
        Some(130),
        "{}",
        fs::read_to_string(&log).unwrap()
    );
    assert_eq!(names(folder.path()), ["log"]);
}

/// A model file that was tampered with is refused before anything is computed.
#[test]
fn integers_need_their_scales() {
    let float = networks::bundle("resnet18");
    let int8 = networks::int8(&float);
    let (folder, path) = place();
    let photo = folder.path().join("photo.png");
    image::RgbImage::new(64, 64).save(&photo).unwrap();
    let refused = |change: &dyn Fn(&mut Bundle), words: &[&str]| {
        let mut broken = int8.clone();
        change(&mut broken);
        broken.write(&path).unwrap();
        run([OsStr::new("predict"), path.as_ref(), photo.as_ref()]).failed(3, words);
    };
    let scale = "conv1.weight_scale";
    let numbers = |n: usize, value: f32| Tensor::f32([n], vec![value; n]);
    refused(
        &|model| drop(model.weights.remove(scale)),
        &["int8.safetensors", "lack", scale],
    );
    refused(
        &|model| drop(model.weights.insert(scale.into(), numbers(65, 0.1))),
        &["int8.safetensors", scale, "[65]", "[64]"],
    );
    refused(
        &|model| drop(model.weights.insert(scale.into(), numbers(64, f32::NAN))),
        &["int8.safetensors", scale, "NaN"],
    );
    refused(
        &|model| drop(model.weights.insert("conv1.weight".into(), numbers(3, 1.0))),
        &["int8.safetensors", "conv1.weight", "[3]"],
    );
    let zero = |model: &mut Bundle| {
        let quantization = model.manifest.quantization.as_mut().unwrap();
        quantization.values.get_mut("conv1").unwrap().scale = 0.0;
    };
    refused(&zero, &["int8.safetensors", "the scale of conv1 is 0"]);
}
