//! Arguments of `flowers completions`.

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  source <(flowers completions bash)
  flowers completions zsh > ~/.zfunc/_flowers
  flowers completions fish > ~/.config/fish/completions/flowers.fish
  flowers completions powershell >> $PROFILE")]
pub struct CompletionsArgs {
    /// Shell to write for
    pub shell: Shell,
}
