//! `flowers completions`: what a shell needs to complete commands, options and their values.

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory};
use clap_complete::generate;

use super::output::Output;
use crate::cli::Cli;
use crate::cli::completions::CompletionsArgs;
use crate::error::Result;
use crate::models::ARCHITECTURES;
use crate::training::recipe::RECIPES;

pub(super) fn run(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut command(), "flowers", &mut script);
    let script = String::from_utf8(script)?;
    Output::stdout(false).text(script.trim_end())
}

/// The command line, with the names that it only looks up later.
fn command() -> Command {
    let recipes = RECIPES.iter().map(|recipe| recipe.name);
    let architectures = ARCHITECTURES.iter().map(|architecture| architecture.name);
    let (recipes, architectures) = (
        PossibleValuesParser::new(recipes),
        PossibleValuesParser::new(architectures),
    );
    Cli::command().mut_subcommand("train", |train| {
        train
            .mut_arg("arch", |arch| arch.value_parser(architectures))
            .mut_arg("recipe", |recipe| recipe.value_parser(recipes))
    })
}
