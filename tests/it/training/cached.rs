//! Runs that keep decoded photos.

use std::fs;
use std::path::Path;

use super::weights;
use crate::support::{Said, flowers, photos, train_arguments};

fn train(out: &Path, cache: &Path, options: &[&str]) -> Said {
    let options = [&["--epochs", "2"], options].concat();
    let mut command = flowers();
    command.args(train_arguments(photos(), out, &options));
    command.env("FLOWERS_CACHE", cache);
    Said::of(command.output().unwrap()).done()
}

#[test]
fn a_network_is_the_same_whatever_a_cache_holds() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let trained = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let said = train(&out, &cache, options);
        assert!(!said.stderr.contains("decoded photos"), "{}", said.stderr);
        weights(&out)
    };
    let expected = trained("ram", &["--cache", "ram"]);
    for name in ["cold", "warm"] {
        assert!(trained(name, &["--cache", "disk"]) == expected, "{name}");
    }
    assert_eq!(fs::read_dir(cache.join("decoded")).unwrap().count(), 1);
}

#[test]
fn a_cache_that_is_of_no_use_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache");
    fs::write(&file, b"no folder").unwrap();
    let disk = ["--cache", "disk"];
    let small = ["--cache", "ram", "--cache-size", "30kB"];
    for (name, options, words) in [
        ("disk", &disk[..], "decoded photos can't be kept in"),
        ("ram", &small[..], "the cache of decoded photos is full"),
    ] {
        let out = folder.path().join(name);
        let said = train(&out, &file, options);
        for text in [
            said.stderr,
            fs::read_to_string(out.join("train.log")).unwrap(),
        ] {
            let told = text.matches(&format!("warning: {words}")).count();
            assert_eq!(told, 1, "{text}");
        }
    }
}
