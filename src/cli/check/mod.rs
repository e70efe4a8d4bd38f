//! `hypercare check`: runs the gates once, prints the checklist, keeps run and evidence in the store.
//!
//! `subject.rs` finds out what is checked; `human.rs`, `markdown.rs`, `junit.rs` and `sarif.rs` print it; the work is
//! `gates::run_gates`.

mod base;
mod human;
mod junit;
mod markdown;
mod progress;
#[cfg(test)]
pub mod sample;
mod sarif;
pub mod schema;
mod set;
pub mod subject;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;

use super::config::Need;
use super::output::{self, Out};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::daemon::gating;
use crate::domain::fingerprint::FingerprintKey;
use crate::domain::verdict::{Decision, GateRun};
use crate::gates::runner::Selection;
use crate::gates::{self, Checked, GateInputs, Options, RunError, Stage};
use crate::net::Client;
use crate::store::{Role, Store};

use subject::Which;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare check                                       everything in hypercare.toml
  hypercare check --repo . --url https://staging.shop.example    no file needed
  hypercare check --stage static --format markdown      under a pull request
  hypercare check --only security --set safety.rps=3    one section, politely

HYPERCARE_KEY in the environment (32 characters or more) puts a tag of the value into the fingerprints of
secrets: what was waived or attested for one secret does not cover another one at the same place.

Exit codes: 0 GO or GO WITH RISKS (--strict: GO only), 1 NO-GO, 3 could not decide, 4 refused for safety.")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Run these only: gates or sections, commas between
    #[arg(long, value_name = "ID|SECTION", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these out
    #[arg(long, value_name = "ID|SECTION", value_delimiter = ',')]
    skip: Vec<String>,
    /// Run these stages only; the decision is about them alone
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    stage: Vec<StageArg>,
    /// One run with another number: performance.load.target_rps=200
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,
    /// Write the result here instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the same run in another format too: sarif=check.sarif
    #[arg(long, value_name = "FORMAT=FILE", value_parser = Also::parse)]
    also: Vec<Also>,
    /// Reuse no answer of an earlier run
    #[arg(long)]
    no_cache: bool,
    /// Let commands named in the repository run
    #[arg(long)]
    allow_exec: bool,
    /// Exit 1 on GO WITH RISKS too
    #[arg(long)]
    strict: bool,
    /// The release itself: a tag is demanded, a changed work tree refused, nothing reused
    #[arg(long)]
    release: bool,
    /// The change is not merged yet, and this is where it wants to go: targets, signers, waivers and attestations are
    /// read there [default: what the CI says]
    #[arg(long, value_name = "REF")]
    base: Option<String>,
    /// All findings instead of the first three of each gate
    #[arg(long)]
    all_findings: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    /// For a comment under a pull request
    Markdown,
    /// JUnit XML, for CI systems that show tests
    Junit,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// One more copy of the result.
#[derive(Debug, Clone)]
struct Also {
    format: Format,
    path: PathBuf,
}

impl Also {
    fn parse(text: &str) -> Result<Also, String> {
        let (format, path) = text.split_once('=').ok_or("write FORMAT=FILE")?;
        if path.is_empty() {
            return Err("the file's name is missing".into());
        }
        Ok(Also { format: Format::from_str(format, true)?, path: path.into() })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StageArg {
    /// Files only
    Static,
    /// Plain requests
    Passive,
    /// Probes that try to break something
    Active,
    /// Alone with the target: load
    Exclusive,
    /// Drills
    Rehearsal,
    /// What people do: announcement
    Human,
}

impl From<StageArg> for Stage {
    fn from(stage: StageArg) -> Stage {
        match stage {
            StageArg::Static => Stage::Static,
            StageArg::Passive => Stage::Passive,
            StageArg::Active => Stage::Active,
            StageArg::Exclusive => Stage::Exclusive,
            StageArg::Rehearsal => Stage::Rehearsal,
            StageArg::Human => Stage::Human,
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let (loaded, change) = base::apply(loaded, &args.which, args.base.as_deref()).await?;
    let config = set::overlay(&loaded.config, &args.set)?;
    let subject = subject::choose(&loaded, &args.which)?;
    let dir = subject::store_dir(&loaded);
    let store = open(&dir, global).await?;
    let receipts = gating::receipts(&store, &subject.service).await?;
    let root = subject.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    let stages: Vec<Stage> = args.stage.iter().copied().map(Stage::from).collect();
    let fingerprint_key = fingerprint_key()?;
    let inputs = GateInputs {
        service: subject.service.clone(),
        service_config: subject.service_config,
        config: config.gates_told(),
        repo: subject.repo,
        url: subject.url,
        channels: config.channel.keys().cloned().collect(),
        receipts,
        runs_dir: root.join(".hypercare/runs"),
        client: Client::new(),
        clock: global.clock.clone(),
        cache_dir: (!args.no_cache).then(cache_dir).flatten(),
        options: Options {
            selection: Selection { only: args.only, skip: args.skip, stages },
            release: args.release,
            allow_exec: args.allow_exec,
            ci_commit: super::evidence::ci_commit(),
            change,
            fingerprint_key,
        },
        progress: progress::lines(global.flags.quiet),
        stop: global.shutdown.clone(),
    };
    let checked = match gates::run_gates(inputs).await {
        Ok(checked) => checked,
        Err(e) => {
            store.close().await;
            return Err(explained(e));
        }
    };
    let saved = store.state.save_gate_run(&checked.run, &checked.evidence).await;
    store.close().await;
    saved.with_context(|| format!("cannot keep the run in {}", dir.display()))?;
    for also in &args.also {
        write(&also.path, &rendered(&checked, also.format, global, args.all_findings)?)?;
    }
    show(&checked, args.format, args.out.as_deref(), global, args.all_findings)?;
    Ok(exit_code(&checked, args.strict))
}

/// The user's own cache folder (XDG Base Directory Specification).
pub fn cache_dir() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    Some(absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?.join("hypercare"))
}

/// The team's key from the environment; see docs/signing.md.
pub fn fingerprint_key() -> Result<Option<FingerprintKey>, Failure> {
    FingerprintKey::read(|name| std::env::var(name).ok())
        .map_err(|weak| Failure::new(Exit::Usage, weak.to_string()).hint("make one: openssl rand -hex 32"))
}

/// Opens the store as a tool beside the daemon; its errors name the folder.
pub async fn open(dir: &Path, global: &Global) -> anyhow::Result<Store> {
    Store::open(dir, Role::Client, global.clock.clone())
        .await
        .with_context(|| format!("cannot open the store in {}", dir.display()))
}

pub fn explained(error: RunError) -> anyhow::Error {
    let text = error.to_string();
    let failure = match error {
        RunError::Repo(_) => Failure::new(Exit::Usage, text).hint("name the repository's folder with --repo"),
        RunError::Gate(_) => Failure::new(Exit::Usage, text).hint("`hypercare gates list` names them all"),
        RunError::Nothing => Failure::new(Exit::Usage, text),
        RunError::Dirty => {
            Failure::new(Exit::Usage, text).hint("commit or stash the changes, or check without --release")
        }
        RunError::RunDir { .. } => Failure::new(Exit::Io, text).hint("make the folder writable"),
        RunError::Refused(_) => Failure::new(Exit::Refused, text),
    };
    failure.into()
}

fn rendered(checked: &Checked, format: Format, global: &Global, all: bool) -> anyhow::Result<String> {
    let run = &checked.run;
    Ok(match format {
        Format::Json => serde_json::to_string_pretty(run)? + "\n",
        Format::Markdown => markdown::render(run),
        Format::Junit => junit::render(run),
        Format::Sarif => serde_json::to_string_pretty(&sarif::render(run))? + "\n",
        Format::Human => human::render(&human::Page {
            run,
            known: gates::CHECKLIST_LINES,
            now: global.clock.now(),
            width: output::width(),
            all_findings: all,
        }),
    })
}

/// To a file, without colours.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let plain = anstream::adapter::strip_str(text).to_string();
    std::fs::write(path, plain).with_context(|| format!("cannot write {}", path.display()))
}

fn show(checked: &Checked, format: Format, out: Option<&Path>, global: &Global, all: bool) -> anyhow::Result<()> {
    let run = &checked.run;
    let text = rendered(checked, format, global, all)?;
    match out {
        None => output::print(&text)?,
        Some(path) => {
            write(path, &text)?;
            let mut out = Out::stdout();
            out.line(format!("{} · {}", run.decision.title(), path.display()))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// A shown defect (1) says more than a refusal (4), a refusal more than "could not decide" (3).
fn exit_code(checked: &Checked, strict: bool) -> Exit {
    match (checked.run.decision, &checked.refused) {
        (Decision::NoGo, _) => Exit::No,
        (_, Some(why)) => {
            tracing::error!("refused for safety: {why}");
            Exit::Refused
        }
        (decision, None) => decided(decision, strict),
    }
}

fn decided(decision: Decision, strict: bool) -> Exit {
    match decision {
        Decision::Go => Exit::Yes,
        Decision::GoWithRisks if strict => Exit::No,
        Decision::GoWithRisks => Exit::Yes,
        Decision::NoGo => Exit::No,
        Decision::Undecided => Exit::Undecided,
    }
}

/// The human page of a stored or fresh run, for other commands.
pub fn page(run: &GateRun, global: &Global) -> String {
    human::render(&human::Page {
        run,
        known: gates::CHECKLIST_LINES,
        now: global.clock.now(),
        width: output::width(),
        all_findings: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        for (decision, strict, exit) in [
            (Decision::Go, true, Exit::Yes),
            (Decision::GoWithRisks, false, Exit::Yes),
            (Decision::GoWithRisks, true, Exit::No),
            (Decision::NoGo, false, Exit::No),
            (Decision::Undecided, false, Exit::Undecided),
        ] {
            assert_eq!(decided(decision, strict), exit, "{decision:?} {strict}");
        }
    }

    #[test]
    fn the_json_has_the_promised_shape() {
        let json = serde_json::to_value(sample::run()).unwrap();
        insta::assert_json_snapshot!(json);
        let text = serde_json::to_string(&sample::run()).unwrap();
        assert!(text.starts_with("{\"schema\":\"hypercare.check/v1\""), "{text}");
    }
}
