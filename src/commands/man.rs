//! `flowers man`: a manual page for each command.

use clap::CommandFactory;

use super::output::Output;
use crate::cli::Cli;
use crate::cli::man::ManArgs;
use crate::error::{Error, Result, shown};
use crate::files;

pub(super) fn run(args: &ManArgs) -> Result<()> {
    let folder = &args.folder;
    files::create_folder(folder)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(|cause| {
        Error::Environment(format!("can't write to {}: {cause}", shown(folder)))
    })?;
    Output::stdout(false).text(format_args!("manual pages in {}", shown(folder)))
}
