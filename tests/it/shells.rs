//! `flowers completions` and `flowers man`.

use std::fs;

use clap::CommandFactory;
use flowers::cli::Cli;

use crate::support::{names, run};

#[test]
fn every_shell_completes_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run(["completions", shell]).done().stdout;
        for command in Cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell}");
        }
        for option in ["recipe", "two-phase", "min-accuracy", "resnet18"] {
            assert!(script.contains(option), "{shell}: {option}");
        }
    }
    run(["completions", "tcsh"]).misused(&["tcsh", "powershell"]);
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    run(["man".as_ref(), pages.as_os_str()]).done();
    let found = names(&pages);
    for command in Cli::command().get_subcommands() {
        let page = format!("flowers-{}.1", command.get_name());
        assert!(found.contains(&page), "{page} is not in {found:?}");
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH flowers"), "{text}");
    }
    assert!(
        found.contains(&"flowers-data-check.1".to_owned()),
        "{found:?}"
    );
    let train = fs::read_to_string(pages.join("flowers-train.1")).unwrap();
    assert!(train.contains("\\-\\-recipe") && train.contains(".SH"));

    let file = folder.path().join("file");
    fs::write(&file, b"mine").unwrap();
    run(["man".as_ref(), file.as_os_str()]).failed(4, &["file"]);
}
