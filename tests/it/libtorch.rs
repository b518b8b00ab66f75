//! The script that assembles libtorch.

use std::path::Path;
use std::process::Command;

#[test]
fn parts_of_wheels_are_downloaded_and_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new("python3");
    python.arg(root.join("tests/it/libtorch.py"));
    let output = python.arg(root.join("assets/setup")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("Ran 4 tests"),
        "{said}"
    );
}
