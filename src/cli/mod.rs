//! The command line: one file per command, `output.rs` for what people see, `exit.rs` for exit codes.
//!
//! To add a command: write `cli/NAME.rs` with a clap `Args` struct and
//! `pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit>`, then add one `mod` line, one variant to
//! [`Command`] and one arm to [`Command::run`]. Results go to stdout through [`output::Out`], logs to stderr through
//! `tracing`. Commands that are promised but not built yet do not appear at all.

pub mod check;
pub mod exit;
pub mod output;

mod alerts;
mod announce;
mod attest;
mod audit;
mod baseline;
mod channel;
mod completions;
mod config;
mod demo;
mod evidence;
mod facts;
mod feedback;
mod gates;
mod import;
mod init;
mod launch;
mod load;
mod metrics;
mod outbox;
mod postmortem;
mod probe;
mod prove;
mod query;
mod query_facts;
mod report;
mod review;
mod rules;
mod rules_test;
mod run;
mod scrape;
mod sign;
mod silence;
mod smoke;
mod status;
mod waive;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use tokio_util::sync::CancellationToken;

use crate::domain::clock::{SharedClock, SystemClock};
use crate::telemetry::{self, LogFormat};

pub use config::Need;
pub use exit::{Exit, Failure};

/// Launch day in one binary: pre-launch gates, post-launch watch, go-live report.
#[derive(Debug, Parser)]
#[command(name = "hypercare", version, max_term_width = 100, after_help = STORY, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub flags: GlobalFlags,
    #[command(subcommand)]
    pub command: Command,
}

const STORY: &str = "\
The story in five commands:
  hypercare init --repo . --url https://staging.shop.example   look around, write hypercare.toml
  hypercare check                                              run the gates once: READY TO GO LIVE?
  hypercare run                                                the daemon: gates, go, watch, report
  hypercare go                                                 go live; refused while NO-GO
  hypercare report --open                                      what happened; by itself after 24 h

Exit codes: 0 yes, 1 no, 2 command line or configuration wrong, 3 could not decide, 4 refused for safety,
69 cannot reach, 70 our own fault, 74 input/output or damaged store, 75 try again.";

/// Flags that every command understands, before or after its name.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GlobalFlags {
    /// Configuration file, or a folder whose *.toml files are merged [default: hypercare.toml]
    #[arg(long, global = true, value_name = "FILE|DIR", env = "HYPERCARE_CONFIG", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// Shape of the log lines on stderr
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human", help_heading = "Global options")]
    pub log_format: LogFormat,
    /// Say more on stderr; twice says everything
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
    /// Say only what went wrong on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Colour on a terminal; NO_COLOR is respected
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub color: ColorWhen,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    #[default]
    Auto,
    Always,
    Never,
}

/// What a command gets besides its own arguments.
#[derive(Debug, Clone)]
pub struct Global {
    pub flags: GlobalFlags,
    pub clock: SharedClock,
    /// Cancelled by Ctrl-C or SIGTERM. Only commands that [`Command::drains`] need to look at it; the others are ended.
    pub shutdown: CancellationToken,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look around and write a commented hypercare.toml
    Init(init::Args),
    /// What detection finds in a repository, each fact with file and line
    Facts(facts::Args),
    /// Run the gates once: the checklist, READY TO GO LIVE, and a decision
    Check(check::Args),
    /// What the gates are: list them, explain one
    Gates(gates::Args),
    /// Answer for a line of the checklist yourself, by signature
    Attest(attest::Args),
    /// Approve a change by a signed note
    Review(review::Args),
    /// Accept a named risk for a limited time
    Waive(waive::Args),
    /// What is waived, by whom, and for how long
    Waivers(waive::ListArgs),
    /// Known findings that do not count: create, update, show, prune
    Baseline(baseline::Args),
    /// What the gates saw: list, show, verify the chain
    Evidence(evidence::Args),
    /// Tell the people concerned about the release
    Announce(announce::Args),
    /// What to look at right after a deploy: write the list, walk through it
    Smoke(smoke::Args),
    /// Watch: gates, go-live, metrics, rules, messages, report
    Run(run::Args),
    /// Go live: refused while NO-GO, unless every blocker is waived
    Go(launch::GoArgs),
    /// Decide against going live
    NoGo(launch::MoveArgs),
    /// Note a stage of the roll-out: 1%, 10%, 50%, 100%
    Stage(launch::StageArgs),
    /// Lengthen the window
    Extend(launch::ExtendArgs),
    /// Note that the release was rolled back; the recovery is watched and a postmortem written
    Rollback(launch::MoveArgs),
    /// End a launch without a report
    Abort(launch::MoveArgs),
    /// End the window now and write the report
    Close(launch::MoveArgs),
    /// Leave a marker on charts and timeline
    Mark(launch::MarkArgs),
    /// Where is the launch, are we well, what burns
    Status(status::Args),
    /// What burns: firing, unknown and pending alerts, and who has them
    Alerts(alerts::Args),
    /// Say "I have it": stops repeats of an episode for a while
    Ack(alerts::AckArgs),
    /// Mute alerts by label for a while: add, list, expire
    Silence(silence::Args),
    /// Check Prometheus rule files, or try them on the stored samples
    Rules(rules::Args),
    /// Ask the stored samples in PromQL, at one time or over a range
    Query(query::Args),
    /// Take history in: OpenMetrics text with timestamps, plain or gzip
    Import(import::Args),
    /// Is this an exposition, and what is wrong with it?
    Metrics(metrics::Args),
    /// Probe a URL once and see every phase
    Probe(probe::Args),
    /// Scrape a target once and see what would be stored
    Scrape(scrape::Args),
    /// List, test and confirm the ways to reach people
    Channel(channel::Args),
    /// What was sent, what waits, what was given up
    Outbox(outbox::Args),
    /// What users say: list, try a source, add by hand, forget
    Feedback(feedback::Args),
    /// What happened since go-live: verdict, figures, charts, incidents
    Report(report::Args),
    /// Draft the postmortem, or see what is still unanswered in it
    Postmortem(postmortem::Args),
    /// Load a URL and measure it: loopback, or a target with load = true
    Load(load::Args),
    /// Check, show and explain the configuration
    Config(config::Args),
    /// Who did what; `audit verify` recomputes the chain
    Audit(audit::Args),
    /// Print the completion script of a shell
    Completions(completions::Args),
    /// See the whole job in about three minutes: a tea shop goes live, breaks, is mended, is told about
    Demo(demo::Args),
}

impl Command {
    async fn run(self, global: &Global) -> anyhow::Result<Exit> {
        match self {
            Command::Init(args) => init::run(args, global).await,
            Command::Facts(args) => facts::run(args, global).await,
            Command::Check(args) => check::run(args, global).await,
            Command::Gates(args) => gates::run(args, global).await,
            Command::Attest(args) => attest::run(args, global).await,
            Command::Review(args) => review::run(args, global).await,
            Command::Waive(args) => waive::run(args, global).await,
            Command::Waivers(args) => waive::list(args, global).await,
            Command::Baseline(args) => baseline::run(args, global).await,
            Command::Evidence(args) => evidence::run(args, global).await,
            Command::Announce(args) => announce::run(args, global).await,
            Command::Smoke(args) => smoke::run(args, global).await,
            Command::Run(args) => run::run(args, global).await,
            Command::Go(args) => launch::go(args, global).await,
            Command::NoGo(args) => launch::no_go(args, global).await,
            Command::Stage(args) => launch::stage(args, global).await,
            Command::Extend(args) => launch::extend(args, global).await,
            Command::Rollback(args) => launch::rollback(args, global).await,
            Command::Abort(args) => launch::abort(args, global).await,
            Command::Close(args) => launch::close(args, global).await,
            Command::Mark(args) => launch::mark(args, global).await,
            Command::Status(args) => status::run(args, global).await,
            Command::Alerts(args) => alerts::run(args, global).await,
            Command::Ack(args) => alerts::ack(args, global).await,
            Command::Silence(args) => silence::run(args, global).await,
            Command::Rules(args) => rules::run(args, global).await,
            Command::Query(args) => query::run(args, global).await,
            Command::Import(args) => import::run(args, global).await,
            Command::Metrics(args) => metrics::run(args, global).await,
            Command::Probe(args) => probe::run(args, global).await,
            Command::Scrape(args) => scrape::run(args, global).await,
            Command::Channel(args) => channel::run(args, global).await,
            Command::Outbox(args) => outbox::run(args, global).await,
            Command::Feedback(args) => feedback::run(args, global).await,
            Command::Report(args) => report::run(args, global).await,
            Command::Postmortem(args) => postmortem::run(args, global).await,
            Command::Load(args) => load::run(args, global).await,
            Command::Config(args) => config::run(args, global).await,
            Command::Audit(args) => audit::run(args, global).await,
            Command::Completions(args) => completions::run(args, global).await,
            Command::Demo(args) => demo::run(args, global).await,
        }
    }

    /// On Ctrl-C these tidy up after themselves when `shutdown` is cancelled; a second Ctrl-C ends them at once.
    fn drains(&self) -> bool {
        matches!(self, Command::Baseline(_) | Command::Check(_) | Command::Demo(_) | Command::Load(_) | Command::Run(_))
    }

    /// Logs at `info` without `-v`: long-running commands, whose log is what an operator reads.
    fn narrates(&self) -> bool {
        matches!(self, Command::Run(_))
    }
}

/// Two workers: the daemon waits for the network most of the time, and heavy work runs in blocking threads.
const WORKER_THREADS: usize = 2;
/// Gates read files and hash in blocking threads; more would only fight over the disk.
const BLOCKING_THREADS_MAX: usize = 16;
/// Half of tokio's default; parsers bound their depth. Debug builds have larger frames.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 4 << 20 } else { 1 << 20 };
/// Work in blocking threads that does not end by itself is left behind after this.
const LEFTOVER_WAIT: Duration = Duration::from_secs(2);

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version arrive here too; a closed pipe while printing them is nobody's fault.
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage.into() } else { Exit::Yes.into() };
        }
    };
    match std::panic::catch_unwind(AssertUnwindSafe(|| start(cli))) {
        Ok(exit) => exit.into(),
        Err(_) => {
            exit::complain(&Failure::new(Exit::Internal, "hypercare stopped on a fault of its own").into());
            Exit::Internal.into()
        }
    }
}

fn start(cli: Cli) -> Exit {
    output::choose_color(cli.flags.color);
    telemetry::init(cli.flags.log_format, telemetry::level(cli.flags.quiet, cli.flags.verbose, cli.command.narrates()));
    // One TLS provider for the whole process; installed before anything can make a client.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => {
            exit::complain(&anyhow::Error::new(e).context("cannot start the runtime"));
            return Exit::Internal;
        }
    };
    let global = Global { flags: cli.flags, clock: SystemClock::shared(), shutdown: CancellationToken::new() };
    let result = runtime.block_on(supervise(cli.command, &global));
    runtime.shutdown_timeout(LEFTOVER_WAIT);
    match result {
        Ok(exit) => exit,
        Err(e) if exit::is_broken_pipe(&e) => Exit::Yes,
        Err(e) => {
            exit::complain(&e);
            exit::of(&e)
        }
    }
}

/// Runs the command while listening for signals.
async fn supervise(command: Command, global: &Global) -> anyhow::Result<Exit> {
    let drains = command.drains();
    // On the heap: the futures of large commands are large.
    let mut work = Box::pin(command.run(global));
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = interrupted() => {
                if !drains || global.shutdown.is_cancelled() {
                    return Ok(Exit::Interrupted);
                }
                tracing::info!("stopping; interrupt once more to stop at once");
                global.shutdown.cancel();
            }
        }
    }
}

/// Ctrl-C, or SIGTERM where there is one.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut term) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = term.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        }
    }

    #[test]
    fn global_flags_stand_before_or_after_the_command() {
        for line in [
            ["hypercare", "--config", "a.toml", "completions", "bash"],
            ["hypercare", "completions", "bash", "--config", "a.toml"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert_eq!(cli.flags.config, Some(PathBuf::from("a.toml")));
        }
    }
}
