//! `hypercare completions SHELL`: the completion script, for `source <(hypercare completions bash)`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::output::Out;
use super::{Cli, Exit, Global};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(hypercare completions bash)
  hypercare completions zsh > ~/.zfunc/_hypercare
  hypercare completions fish > ~/.config/fish/completions/hypercare.fish")]
pub struct Args {
    shell: Shell,
}

pub async fn run(args: Args, _global: &Global) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "hypercare", &mut script);
    let mut out = Out::stdout();
    out.bytes(&script)?;
    out.flush()?;
    Ok(Exit::Yes)
}
