//! The architecture's rules, checked on the source text.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from top to bottom: each may use those in the rows below its own, and itself.
///
/// The command line is below the commands, which are handed its arguments; it knows nothing but
/// the settings of a training, which are arguments themselves.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["commands"],
    &["cli"],
    &["comparison", "pruning", "tuning"],
    &["runs"],
    &["training", "export", "quantization", "serving"],
    &["evaluation"],
    &["report"],
    &["inference"],
    &["bundle", "data"],
    &["distributed"],
    &["models", "torch"],
    &["graph", "image", "metrics", "sample"],
    &["weights"],
    &[
        "device", "labels", "files", "progress", "machine", "memory", "values",
    ],
    &["names"],
    &["error"],
];

/// All that the command line takes from `training`.
const CLI_MAY_USE: [&str; 1] = ["Settings"];

/// The modules that depend on libtorch: themselves, or by `crate::torch`.
const USE_TORCH: [&str; 5] = [
    "src/torch/",
    "src/distributed/",
    "src/training/",
    "src/inference/torchscript/",
    "src/inference/onnx/",
];

struct Source {
    /// Relative to the repository, with forward slashes.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let files = walkdir::WalkDir::new(root().join(folder));
    let paths = files.into_iter().map(|entry| entry.unwrap().into_path());
    let sources: Vec<Source> = paths.filter(|path| rust(path)).map(source).collect();
    assert!(!sources.is_empty(), "{folder} holds sources");
    sources
}

fn source(path: PathBuf) -> Source {
    let relative = path.strip_prefix(root()).unwrap();
    Source {
        path: relative.to_str().unwrap().replace('\\', "/"),
        text: fs::read_to_string(&path).unwrap(),
    }
}

/// `src/graph/op.rs` and `src/graph.rs` belong to `graph`.
fn module(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap();
    path.split(['/', '.']).next().unwrap()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The identifiers that follow `prefix`, which itself follows no identifier.
fn named_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if !text[..at].ends_with(is_part) {
            names.push(&rest[..end]);
        }
    }
    names
}

/// Top modules that a file names, without itself.
fn imports(source: &Source) -> Vec<&str> {
    let prefix = match source.path.as_str() {
        "src/main.rs" => "flowers::",
        _ => "crate::",
    };
    let own = module(&source.path);
    let mut names = named_after(&source.text, prefix);
    names.retain(|name| *name != own);
    names
}

#[test]
fn imports_go_one_way() {
    for source in sources("src") {
        if source.path == "src/lib.rs" {
            continue;
        }
        let (path, from) = (&source.path, module(&source.path));
        let own = layer(from).unwrap_or_else(|| panic!("{from} is in no layer of this test"));
        for name in imports(&source) {
            let used = layer(name).unwrap_or_else(|| panic!("{path} names crate::{name}"));
            assert!(used > own, "{path}: {from} must not use {name}");
        }
        // Paths by which a file could get round the rule, or round this test.
        for detour in ["super::super", "crate::{", "crate::*"] {
            assert!(!source.text.contains(detour), "{path}: {detour}");
        }
    }
}

#[test]
fn the_layers_hold_the_modules_of_the_library() {
    let library = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: BTreeSet<&str> = named_after(&library, "mod ").into_iter().collect();
    let mut layered: BTreeSet<&str> = LAYERS.iter().copied().flatten().copied().collect();
    layered.remove("main");
    assert_eq!(declared, layered);
}

#[test]
fn the_command_line_takes_only_settings_from_training() {
    for source in sources("src/cli") {
        for name in named_after(&source.text, "crate::training::") {
            assert!(CLI_MAY_USE.contains(&name), "{}: {name}", source.path);
        }
    }
}

#[test]
fn few_modules_depend_on_libtorch() {
    let uses_torch = |source: &Source| {
        let code = without_comments(&source.text);
        let libraries = ["tch::", "torch_sys::", "crate::torch::"];
        libraries
            .iter()
            .any(|library| !named_after(&code, library).is_empty())
    };
    let users: Vec<Source> = sources("src").into_iter().filter(uses_torch).collect();
    for place in USE_TORCH {
        let used = users.iter().any(|source| source.path.starts_with(place));
        assert!(used, "{place} needs no libtorch");
    }
    for Source { path, .. } in &users {
        let allowed = USE_TORCH.iter().any(|place| path.starts_with(place));
        // Devices and threads are asked for here.
        assert!(
            allowed || path == "src/inference/mod.rs",
            "{path} uses libtorch"
        );
    }
}

fn without_comments(text: &str) -> String {
    let code = |line: &&str| !line.trim_start().starts_with("//");
    text.lines()
        .filter(code)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn every_file_says_what_it_is_for_and_is_short() {
    let folders = ["src", "tests", "benches"];
    let folders = folders
        .into_iter()
        .filter(|name| root().join(name).exists());
    for source in folders.flat_map(sources) {
        let (path, text) = (&source.path, &source.text);
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! "), "{path} opens with {first:?}");
        let lines = text.lines().count();
        assert!(lines <= 500, "{path} has {lines} lines");
    }
}

#[test]
fn nothing_is_left_undone() {
    // In two halves each, so that this file passes.
    let undone = [
        ("todo", "!("),
        ("unimplemented", "!("),
        ("dbg", "!("),
        ("#[", "ignore"),
        ("FIX", "ME"),
    ];
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (a, b) in undone {
            let word = format!("{a}{b}");
            assert!(!source.text.contains(&word), "{}: {word}", source.path);
        }
    }
}
