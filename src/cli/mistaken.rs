//! Options that other tools have, each with a tip that says what to write here.

use clap::builder::UnknownArgumentValueParser;
use clap::{Arg, ArgAction, Command};

struct Mistaken {
    commands: &'static [&'static str],
    options: &'static [&'static str],
    /// Whether they are written with a value.
    takes_value: bool,
    tip: &'static str,
}

const MISTAKEN: &[Mistaken] = &[
    Mistaken {
        commands: &["train"],
        options: &["--data", "--dataset", "--data-dir", "--data-path"],
        takes_value: true,
        tip: "the data set folder is given without an option: flowers train DATA --out RUN",
    },
    Mistaken {
        commands: &["train"],
        options: &["--output", "--output-dir", "--save-dir", "--project"],
        takes_value: true,
        tip: "the folder for the run is given with '--out RUN'",
    },
    Mistaken {
        commands: &["train", "tune"],
        options: &["--pretrained"],
        takes_value: false,
        tip: "training starts from ImageNet weights unless '--weights' says otherwise: imagenet, \
              none, auto, or a file",
    },
    Mistaken {
        commands: &["train", "tune"],
        options: &["--model", "--model-name", "--backbone"],
        takes_value: true,
        tip: "the network is chosen with '--arch NAME', its weights with '--weights FILE'",
    },
    Mistaken {
        commands: &["train", "tune"],
        options: &["--learning-rate"],
        takes_value: true,
        tip: "the learning rate is set with '--lr RATE'",
    },
    Mistaken {
        commands: &["train", "tune"],
        options: &["--gpu", "--gpus", "--cuda"],
        takes_value: false,
        tip: "the device is chosen with '--device cuda'",
    },
    Mistaken {
        commands: &["compare"],
        options: &["--archs", "--models", "--model", "--candidates"],
        takes_value: true,
        tip: "the networks are given as a list, '--arch resnet18,mobilenet_v2'",
    },
    Mistaken {
        commands: &["tune"],
        options: &["--n-trials", "--num-trials", "--num-samples", "--timeout"],
        takes_value: true,
        tip: "a search ends after '--trials N', or when '--time-budget 10m' is over",
    },
    Mistaken {
        commands: &["predict"],
        options: &["--model", "--weights", "--checkpoint"],
        takes_value: true,
        tip: "the model is given without an option: flowers predict MODEL FILE_OR_DIR...",
    },
    Mistaken {
        commands: &["predict"],
        options: &["--image", "--images", "--input", "--source", "--data"],
        takes_value: true,
        tip: "pictures are given without an option: flowers predict MODEL FILE_OR_DIR...",
    },
    Mistaken {
        commands: &["predict"],
        options: &["--out", "--output"],
        takes_value: true,
        tip: "results go to standard output: flowers predict MODEL FILE_OR_DIR... --json > FILE",
    },
    Mistaken {
        commands: &["eval"],
        options: &["--model", "--weights", "--checkpoint"],
        takes_value: true,
        tip: "the model is given without an option: flowers eval MODEL DATA",
    },
    Mistaken {
        commands: &["eval"],
        options: &["--data", "--dataset", "--data-dir"],
        takes_value: true,
        tip: "the data set folder is given without an option: flowers eval MODEL DATA",
    },
    Mistaken {
        commands: &["eval"],
        options: &["--out", "--output"],
        takes_value: true,
        tip: "'--report DIR' writes a report, and '--json' prints the result",
    },
    Mistaken {
        commands: &["serve", "export", "quantize", "bench", "info"],
        options: &["--model", "--weights", "--checkpoint"],
        takes_value: true,
        tip: "the model is given without an option, right after the command",
    },
    Mistaken {
        commands: &["export", "quantize"],
        options: &["--output", "--output-dir"],
        takes_value: true,
        tip: "the file to write is given with '--out FILE'",
    },
    Mistaken {
        commands: &["quantize"],
        options: &["--data", "--dataset"],
        takes_value: true,
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
            let hidden = Arg::new(*option).hide(true).value_parser(tip);
            let hidden = hidden.long(option.trim_start_matches('-'));
            match mistaken.takes_value {
                true => hidden.value_name("VALUE"),
                false => hidden.action(ArgAction::SetTrue),
            }
        };
        command.args(mistaken.options.iter().map(hidden))
    })
}
