//! Arguments of `flowers man`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowers man ~/.local/share/man/man1
  man flowers-train")]
pub struct ManArgs {
    /// Folder to write to, one page for each command; created if missing
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}
