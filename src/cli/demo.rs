//! `hypercare demo`: the whole job in about three minutes, with nothing installed.

use std::path::PathBuf;

use super::{Exit, Failure, Global};
use crate::demo::{self, Options};
use crate::domain::units::Span;

/// See the whole job in about three minutes: a tea shop goes live, breaks, is mended, is told about
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Everything is real but the length of the window: an HTTP service with a database and metrics, traffic,\n\
a git repository, mail and webhooks on loopback. Every step is a command you could type, and is shown."
)]
pub struct Args {
    /// Where everything is kept; emptied first if an earlier demo made it
    #[arg(long, value_name = "DIR", default_value = "hypercare-demo")]
    out: PathBuf,
    /// Length of the hypercare window
    #[arg(long, value_name = "DURATION", default_value = "90s")]
    window: Span,
    /// No fault: a launch as one would wish it
    #[arg(long)]
    healthy: bool,
    /// Do not open the launch room and the report in the browser
    #[arg(long)]
    no_open: bool,
    /// Stay up afterwards until Ctrl-C
    #[arg(long)]
    keep: bool,
}

/// Shorter windows end before an alert can fire and resolve.
const WINDOW_MIN: Span = Span::secs(30);

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    if args.window < WINDOW_MIN {
        return Err(Failure::new(Exit::Usage, format!("--window {} is too short", args.window))
            .hint(format!("{WINDOW_MIN} at least: alerts must fire, be told and resolve inside it"))
            .into());
    }
    let options = Options {
        out: args.out,
        window: args.window.get(),
        healthy: args.healthy,
        open: !args.no_open,
        keep: args.keep,
    };
    demo::run(&options, global.clock.clone(), global.shutdown.clone()).await?;
    Ok(Exit::Yes)
}
