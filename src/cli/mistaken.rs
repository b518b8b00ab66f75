//! Options that other tools have, each with a tip that says what to write here.

use clap::builder::UnknownArgumentValueParser;
use clap::{Arg, Command};

struct Mistaken {
    commands: &'static [&'static str],
    options: &'static [&'static str],
    tip: &'static str,
}

const MISTAKEN: &[Mistaken] = &[
    Mistaken {
        commands: &["train"],
        options: &["--data", "--dataset", "--data-dir", "--data-path"],
        tip: "the data set folder is given without an option: flowers train DATA --out RUN",
    },
    Mistaken {
        commands: &["train"],
        options: &["--output", "--output-dir", "--save-dir", "--project"],
        tip: "the folder for the run is given with '--out RUN'",
    },
    Mistaken {
        commands: &["train"],
        options: &["--pretrained"],
        tip: "training starts from ImageNet weights unless '--weights' says otherwise: imagenet, \
              none, auto, or a file",
    },
    Mistaken {
        commands: &["train"],
        options: &["--model", "--model-name", "--backbone"],
        tip: "the network is chosen with '--arch NAME', its weights with '--weights FILE'",
    },
    Mistaken {
        commands: &["train"],
        options: &["--learning-rate"],
        tip: "the learning rate is set with '--lr RATE'",
    },
    Mistaken {
        commands: &["train"],
        options: &["--gpu", "--gpus", "--cuda"],
        tip: "the device is chosen with '--device cuda'",
    },
    Mistaken {
        commands: &["predict"],
        options: &["--model", "--weights", "--checkpoint"],
        tip: "the model is given without an option: flowers predict MODEL IMAGE...",
    },
    Mistaken {
        commands: &["predict"],
        options: &["--image", "--images", "--input", "--source", "--data"],
        tip: "images are given without an option: flowers predict MODEL IMAGE...",
    },
    Mistaken {
        commands: &["predict"],
        options: &["--out", "--output"],
        tip: "results go to standard output: flowers predict MODEL IMAGE... --json > FILE",
    },
    Mistaken {
        commands: &["eval"],
        options: &["--model", "--weights", "--checkpoint"],
        tip: "the model is given without an option: flowers eval MODEL DATA",
    },
    Mistaken {
        commands: &["eval"],
        options: &["--data", "--dataset", "--data-dir"],
        tip: "the data set folder is given without an option: flowers eval MODEL DATA",
    },
    Mistaken {
        commands: &["eval"],
        options: &["--out", "--output"],
        tip: "'--report DIR' writes a report, and '--json' prints the result",
    },
    Mistaken {
        commands: &["serve", "export", "quantize", "bench", "info"],
        options: &["--model", "--weights", "--checkpoint"],
        tip: "the model is given without an option, right after the command",
    },
    Mistaken {
        commands: &["export", "quantize"],
        options: &["--output", "--output-dir"],
        tip: "the file to write is given with '--out FILE'",
    },
    Mistaken {
        commands: &["quantize"],
        options: &["--data", "--dataset"],
        tip: "photos to calibrate with are given with '--calibration DATA', and photos to measure \
              on with '--eval DATA'",
    },
];

/// Adds to a command the options that it lacks, hidden: each is refused with its tip.
pub(super) fn with_tips(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let tips = MISTAKEN.iter().filter(|m| m.commands.contains(&&*name));
    tips.fold(command, |command, mistaken| {
        let hidden = |option: &&'static str| {
            let tip = UnknownArgumentValueParser::suggest(mistaken.tip);
            // With the dashes, the id is not that of an argument.
            Arg::new(*option)
                .long(option.trim_start_matches('-'))
                .hide(true)
                .num_args(0..=1)
                .default_missing_value("")
                .value_parser(tip)
        };
        command.args(mistaken.options.iter().map(hidden))
    })
}
