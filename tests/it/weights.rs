//! Weight files: what PyTorch saved is read as PyTorch reads it, and nothing else does harm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use flowers::error::exit_code;
use flowers::weights::{self, StateDict, Tensor, Values, pth, safetensors, without_prefix};
use proptest::prelude::*;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights")
}

fn golden_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ext| ext == "pth"))
        .collect();
    files.sort();
    files
}

/// The message of a refused golden file; checks that it is one line and says "bad data".
fn refusal(file: &str) -> String {
    let error = weights::read(&folder().join(file)).unwrap_err();
    let message = format!("{error:#}");
    assert_eq!(exit_code(&error), 3, "{message}");
    assert!(!message.contains('\n'), "{message}");
    assert!(message.contains(file), "{message}");
    message
}

/// Whether a tensor holds the listed numbers: exactly, as both come from the same bytes.
fn holds(found: &Values, dtype: &Value, wanted: &[Value]) -> bool {
    let integers = || wanted.iter().map(|value| value.as_i64().unwrap());
    match found {
        Values::F32(found) => {
            let wanted = wanted.iter().map(|value| value.as_f64().unwrap() as f32);
            dtype == "float32" && wanted.eq(found.iter().copied())
        }
        Values::I64(found) => dtype == "int64" && integers().eq(found.iter().copied()),
        Values::I32(found) => {
            dtype == "int32" && integers().eq(found.iter().map(|x| i64::from(*x)))
        }
        Values::I8(found) => dtype == "int8" && integers().eq(found.iter().map(|x| i64::from(*x))),
        Values::U8(found) => dtype == "uint8" && integers().eq(found.iter().map(|x| i64::from(*x))),
    }
}

#[test]
fn every_file_holds_what_torch_finds_in_it() {
    check_against("expected.json", 29);
}

#[test]
fn what_scripts_save_around_the_state_dict_is_passed_over() {
    check_against("checkpoints.json", 16);
}

/// Reads the files that a list names, and compares their tensors with those of the list.
#[track_caller]
fn check_against(list: &str, files: usize) {
    let expected = std::fs::read(folder().join(list)).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, Value>> =
        serde_json::from_slice(&expected).unwrap();
    assert!(expected.len() >= files, "{}", expected.len());
    for (file, tensors) in expected {
        let found = weights::read(&folder().join(&file)).unwrap();
        let (found, _) = without_prefix(found, |name| tensors.contains_key(name));
        assert!(
            found.keys().eq(tensors.keys()),
            "{file}: {:?}",
            found.keys()
        );
        for (name, tensor) in tensors {
            let wanted = tensor["values"].as_array().unwrap();
            let shape = serde_json::to_value(&found[&name].shape).unwrap();
            assert_eq!(tensor["shape"], shape, "{file}: {name}");
            let values = &found[&name].values;
            assert!(
                holds(values, &tensor["dtype"], wanted),
                "{file}: {name}: {values:?}"
            );
        }
    }
}

#[test]
fn a_file_that_asks_to_run_something_is_refused_by_name() {
    for file in [
        "evil_zip_p2",
        "evil_zip_p4",
        "evil_legacy_p2",
        "evil_legacy_p4",
    ] {
        let message = refusal(&format!("{file}.pth"));
        assert!(
            message.contains("would run posix.system, which is refused"),
            "{message}"
        );
    }
    let message = refusal("whole_model_zip_p2.pth");
    for words in [
        "torch.nn.modules.container.Sequential",
        "torch.save(model.state_dict(), FILE)",
    ] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_is_no_state_dict_is_said_to_be_none() {
    assert!(refusal("checkpoint_none_p2.pth").contains("no dict of tensors"));
    let several = refusal("checkpoint_several_p2.pth");
    assert!(
        several.contains("several state dicts (discriminator, generator)"),
        "{several}"
    );
    assert!(refusal("list_legacy_p2.pth").contains("holds a list, not a state dict"));
    assert!(refusal("big_endian.pth").contains("big-endian"));
    let quantized = refusal("checkpoint_quantized_p2.pth");
    assert!(
        quantized.contains("torchvision's quantized models do; give the float weights"),
        "{quantized}"
    );
    assert!(refusal("torchscript.pth").contains("TorchScript"));
}

#[test]
fn a_tensor_that_is_not_finite_is_named() {
    let nan = refusal("checkpoint_nan_p2.pth");
    assert!(nan.contains("spoilt holds NaN (1 of 3 values"), "{nan}");
    let infinity = refusal("checkpoint_infinity_p2.pth");
    assert!(
        infinity.contains("spoilt holds infinity (1 of 2 values"),
        "{infinity}"
    );
}

#[test]
fn the_content_decides_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    let message = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        let error = weights::read(&path).unwrap_err();
        assert_eq!(exit_code(&error), 3);
        format!("{error:#}")
    };
    assert!(message(b"").contains("it is empty"));
    assert!(message(b"<!DOCTYPE html>").contains("a web page"));
    assert!(message(b"version https://git-lfs.github.com/spec/v1").contains("git lfs pull"));
    assert!(message(b"some text or other").contains("it is text"));
    assert!(message(b"\xff\xd8\xff\xe0 a rose").contains("a JPEG picture"));
    assert!(message(b"\x80\x04N.").contains("not one of PyTorch's"));
    assert!(message(b"PK\x03\x04rest").contains("cut short or damaged"));

    safetensors::write(&path, &sample(), &BTreeMap::new()).unwrap();
    assert_eq!(weights::read(&path).unwrap(), sample());
}

fn sample() -> StateDict {
    let tensor = |shape: &[usize], values| Tensor {
        shape: shape.to_vec(),
        values,
    };
    StateDict::from([
        (
            "conv.weight".into(),
            tensor(&[2, 1], Values::F32(vec![0.5, -1.0])),
        ),
        (
            "bn.num_batches_tracked".into(),
            tensor(&[], Values::I64(vec![7])),
        ),
        ("q.zero".into(), tensor(&[3], Values::I8(vec![-1, 0, 1]))),
        ("q.weight".into(), tensor(&[1], Values::U8(vec![9]))),
        ("q.bias".into(), tensor(&[2], Values::I32(vec![1, -2]))),
        ("none".into(), tensor(&[0, 4], Values::F32(vec![]))),
    ])
}

#[test]
fn safetensors_come_back_and_their_bytes_are_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let notes: BTreeMap<String, String> = ["z", "a", "m"]
        .map(|key| (key.to_owned(), format!("{key} \"quoted\"\n")))
        .into();
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    safetensors::write(&one, &sample(), &notes).unwrap();
    assert_eq!(safetensors::read(&one).unwrap(), (sample(), notes.clone()));
    safetensors::write(&two, &sample(), &notes).unwrap();
    let bytes = std::fs::read(&one).unwrap();
    assert_eq!(bytes, std::fs::read(&two).unwrap());

    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(header % 8, 0);
    let reference = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(
        reference.tensor("q.bias").unwrap().data(),
        [1, 0, 0, 0, 254, 255, 255, 255]
    );
}

#[test]
fn a_safetensors_header_that_lies_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lie.safetensors");
    let message = |header: &str, data: &[u8]| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        std::fs::write(&path, &bytes).unwrap();
        let error = safetensors::read(&path).unwrap_err();
        assert_eq!(exit_code(&error), 3);
        let message = format!("{error:#}");
        assert!(
            message.contains("lie.safetensors") && !message.contains('\n'),
            "{message}"
        );
        message
    };
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    assert!(message(&entry("F32", "[2]", "[0,8]"), &[0; 7]).contains("cut short"));
    assert!(message(&entry("F32", "[2]", "[0,8]"), &[0; 9]).contains("damaged"));
    assert!(message(&entry("F32", "[3]", "[0,8]"), &[0; 8]).contains("header is damaged"));
    assert!(message(&entry("F32", "[2]", "[8,16]"), &[0; 16]).contains("header is damaged"));
    let huge = "[9223372036854775807,9223372036854775807]";
    assert!(message(&entry("F32", huge, "[0,8]"), &[0; 8]).contains("header is damaged"));
    assert!(message(&entry("U64", "[1]", "[0,8]"), &[0; 8]).contains("a holds U64 values"));
    assert!(message(&entry("X9", "[1]", "[0,8]"), &[0; 8]).contains("header is damaged"));
    assert!(message("{", &[]).contains("header is damaged"));

    std::fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
    assert!(
        safetensors::read(&path)
            .unwrap_err()
            .root_cause()
            .to_string()
            .contains("cut short")
    );
}

/// Reads bytes in the format that they begin with, as [`weights::read`] would.
fn read_bytes(bytes: &[u8]) -> anyhow::Result<StateDict> {
    match bytes {
        [0x80, 2..=5, ..] => pth::read_legacy(bytes),
        [b'P', ..] => pth::read_zip(bytes),
        _ => safetensors::read_from(&mut &*bytes, bytes.len() as u64).map(|(tensors, _)| tensors),
    }
}

/// Whatever happened to a file, it is read or refused, and takes memory in proportion.
fn check_harmless(bytes: &[u8]) {
    match read_bytes(bytes) {
        Ok(tensors) => {
            let memory: usize = tensors.values().map(Tensor::byte_len).sum();
            assert!(memory <= 64 * bytes.len());
        }
        Err(error) => assert_eq!(exit_code(&error), 3, "{error:#}"),
    }
}

fn samples() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.safetensors");
    safetensors::write(&path, &sample(), &BTreeMap::new()).unwrap();
    let files = golden_files().into_iter().chain([path]);
    files.map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn no_file_can_be_cut_short_unnoticed() {
    for bytes in samples() {
        for length in 0..bytes.len() {
            let error = read_bytes(&bytes[..length]).unwrap_err();
            assert_eq!(exit_code(&error), 3, "{error:#}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn flipped_bytes_do_no_harm(
        file in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        thread_local!(static SAMPLES: Vec<Vec<u8>> = samples());
        let mut bytes = SAMPLES.with(|samples| file.get(samples).clone());
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        check_harmless(&bytes);
    }
}

/// The older format around a pickled object and its storages.
fn legacy(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.\x80\x02}.");
    file.extend(object);
    file.extend(b"\x80\x02]");
    for (key, _) in storages {
        file.extend([b'U', key.len() as u8]);
        file.extend(key.as_bytes());
        file.push(b'a');
    }
    file.push(b'.');
    for (_, elements) in storages {
        file.extend((elements.len() as u64).to_le_bytes());
        file.extend(elements.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

/// A state dict with one tensor `a` over a storage of four elements.
fn one_tensor(offset: &[u8], shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let parts: [&[u8]; 6] = [
        b"\x80\x02}U\x01actorch._utils\n_rebuild_tensor_v2\n(\
          (U\x07storagectorch\nFloatStorage\nU\x011U\x03cpuK\x04NtQ",
        offset,
        shape,
        strides,
        b"\x89}tR",
        b"s.",
    ];
    legacy(&parts.concat(), &[("1", &[1.0, 2.0, 3.0, 4.0])])
}

#[test]
fn views_stay_inside_of_their_storage() {
    let fits = one_tensor(b"K\x01", b"K\x03\x85", b"K\x01\x85");
    let found = pth::read_legacy(&fits).unwrap();
    assert_eq!(found["a"], Tensor::f32([3], vec![2.0, 3.0, 4.0]));

    let huge = b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f";
    let pair = |item: &[u8]| [item, item, b"\x86"].concat();
    for outside in [
        one_tensor(b"K\x02", b"K\x03\x85", b"K\x01\x85"),
        one_tensor(b"K\x00", b"K\x03\x85", b"K\x02\x85"),
        one_tensor(b"K\x04", b")", b")"),
        one_tensor(b"K\x00", b"K\x03\x85", b")"),
        one_tensor(b"J\xff\xff\xff\xff", b"K\x03\x85", b"K\x01\x85"),
        one_tensor(b"K\x00", b"K\x03\x85", b"J\xff\xff\xff\xff\x85"),
        one_tensor(huge, &pair(huge), &pair(huge)),
        one_tensor(b"K\x00", &pair(huge), &pair(b"K\x00")),
    ] {
        let error = pth::read_legacy(&outside).unwrap_err();
        assert!(error.to_string().contains("tensor a is damaged"), "{error}");
    }
    // The stride of a single row is never stepped.
    let row = one_tensor(
        b"K\x01",
        b"K\x01K\x02\x86",
        &[&huge[..], b"K\x02\x86"].concat(),
    );
    let found = pth::read_legacy(&row).unwrap();
    assert_eq!(found["a"], Tensor::f32([1, 2], vec![2.0, 4.0]));
    // One element, a billion times.
    let expanded = one_tensor(b"K\x00", b"J\x00\xca\x9a\x3b\x85", b"K\x00\x85");
    let error = pth::read_legacy(&expanded).unwrap_err();
    assert!(error.to_string().contains("far more memory"), "{error}");
}

#[test]
fn a_long_reference_that_is_used_often_is_no_trap() {
    const TIMES: usize = 200_000;
    let reference = b"(U\x07storagectorch\nFloatStorage\nU\x011U\x03cpuK\x04";
    let mut object = [&b"\x80\x02Nq\x000"[..], reference].concat();
    object.extend(b"h\x00".repeat(TIMES));
    object.extend(b"tq\x010");
    object.extend(b"h\x01Q0".repeat(TIMES));
    object.extend(b"}.");
    let started = std::time::Instant::now();
    let error = pth::read_legacy(&legacy(&object, &[])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("reference to a storage is damaged")
    );
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn a_dict_that_holds_itself_is_no_trap() {
    let object = b"\x80\x02}q\x00U\x05modelh\x00s.";
    let error = pth::read_legacy(&legacy(object, &[])).unwrap_err();
    assert!(error.to_string().contains("no dict of tensors"), "{error}");
}
