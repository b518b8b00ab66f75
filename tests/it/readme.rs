//! What the README tells people to type and to look at.

use std::path::Path;

use clap::Parser;
use flowers::cli::Cli;
use flowers::export::{FORMATS, Options};

use crate::networks::bundle;

const README: &str = include_str!("../../README.md");

/// The blocks of code in a language, without their fences.
fn blocks(language: &str) -> Vec<&'static str> {
    let fenced = README.split("```").skip(1).step_by(2);
    let blocks = fenced.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    blocks.collect()
}

/// Command lines of `flowers`, without pipes, redirections and comments.
fn commands() -> Vec<Vec<&'static str>> {
    let shell = blocks("sh").into_iter().flat_map(str::lines);
    let console = blocks("console").into_iter().flat_map(str::lines);
    let typed = console.filter_map(|line| line.strip_prefix("$ "));
    let lines = shell.chain(typed);
    let lines = lines.filter(|line| line.starts_with("flowers "));
    let plain = |line: &'static str| {
        let words = line.split_whitespace();
        let words = words.take_while(|word| !word.starts_with(['#', '|', '>', '&']));
        words.collect()
    };
    lines.map(plain).collect()
}

#[test]
fn every_command_is_understood() {
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands.iter().filter(|command| command[1] != "--version") {
        if let Err(error) = Cli::try_parse_from(command) {
            panic!("{}\n{error}", command.join(" "));
        }
    }
}

#[test]
fn every_file_is_there() {
    let within = |open: &str, close: char| -> Vec<&str> {
        let rests = README.split(open).skip(1);
        rests
            .map(|rest| rest.split(close).next().unwrap())
            .collect()
    };
    let (links, pictures) = (within("](", ')'), within("src=\"", '"'));
    assert!(links.len() > 2 && pictures.len() > 2);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [links, pictures].concat();
    for file in files.iter().filter(|file| !file.starts_with(['#', 'h'])) {
        assert!(root.join(file).exists(), "{file}");
    }
}

#[test]
fn formats_are_in_the_table_with_what_loads_them() {
    let manifest = bundle("mobilenet_v2").manifest;
    for format in FORMATS {
        let start = format!("| `{}` | ", format.name);
        let row = README.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", format.name));
        let loads = row.split(" | ").nth(2).unwrap();
        let example = format.example("model", &manifest, &Options::default());
        let known = format!("{}{}", example.code, example.needs);
        // What is in backticks is in the code that an export prints.
        for name in loads.split('`').skip(1).step_by(2) {
            let last = name.rsplit('.').next().unwrap();
            assert!(
                known.contains(last),
                "{}: {name} is not in {known}",
                format.name
            );
        }
    }
}
