//! The example apps for phones: nothing here compiles them, but their sources have to parse.

use std::process::Command;

use crate::needs;
use crate::support::Said;

pub fn the_example_apps_parse() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut command = Command::new(needs::python());
    command.args([&format!("{root}/tests/golden/apps.py"), root]);
    let said = Said::of(command.output().unwrap()).done();
    assert!(said.stdout.contains("all of it parses"), "{}", said.stdout);
}
