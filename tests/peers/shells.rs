//! The completion scripts, parsed by the shells that they are for.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::run;

pub fn bash_parses_its_completions() {
    parse("bash");
}

pub fn zsh_parses_its_completions() {
    parse("zsh");
}

fn parse(shell: &str) {
    let script = run(["completions", shell]).done().stdout;
    let mut parsed = Command::new(shell)
        .args(["-n", "/dev/stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = parsed.stdin.take().unwrap();
    stdin.write_all(script.as_bytes()).unwrap();
    drop(stdin);
    assert!(parsed.wait().unwrap().success());
}
