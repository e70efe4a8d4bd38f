//! `hypercare waive` writes a waiver into the repository; `hypercare waivers` lists what is waived, by whom, how long.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::check::subject::{self, Which};
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, hang, paint};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::units::{Span, prose};
use crate::gates::facts::{git::Git, walk};
use crate::gates::waiver::{self, State, Waiver};
use crate::gates::{self, runner};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The waiver is a file in .hypercare/waivers of the repository: commit it, so that others see it.
It is not signed: signatures come with a later version. Until then whoever can write to the work tree
can waive, so a waived gate never gives more than GO WITH RISKS.

Example:
  hypercare waive code.review --reason \"reviewed on paper, the forge is down\" --approver bob --expires 7d")]
pub struct Args {
    /// The gate
    #[arg(value_name = "GATE")]
    gate: String,
    /// Why the risk is taken, at least 20 characters
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who takes it; not the one who asks
    #[arg(long, value_name = "NAME")]
    approver: String,
    /// Who asks [default: git's user.name]
    #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
    requester: Option<String>,
    /// How long, at most 90d, for class A 14d
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    expires: Span,
    /// One finding of the gate instead of all: its fingerprint in the JSON output
    #[arg(long, value_name = "FINGERPRINT")]
    finding: Option<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    format: FormatArg,
}

fn root(which: &Which, global: &Global) -> anyhow::Result<PathBuf> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let repo = subject::choose(&loaded, which)?.repo.unwrap_or_else(|| PathBuf::from("."));
    repo.canonicalize().map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", repo.display())).into())
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let all = gates::all();
    let known = all.iter().map(|g| g.about().id).collect();
    runner::check_name(&args.gate, &known)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()).hint("`hypercare gates list` names them all"))?;
    let Some(about) = all.iter().map(|g| g.about()).find(|a| a.id == args.gate) else {
        return Err(Failure::new(Exit::Usage, format!("{} is not a gate", args.gate)).into());
    };
    let root = root(&args.which, global)?;
    let requester = match args.requester {
        Some(name) => name,
        None => {
            let git = Git::discover(&root).and_then(|g| g.run(&["config", "user.name"]).ok());
            let name = git.map(|n| n.trim().to_string()).filter(|n| !n.is_empty());
            name.ok_or_else(|| Failure::new(Exit::Usage, "nobody is named who asks").hint("give --requester NAME"))?
        }
    };
    let now = global.clock.now();
    let mut file = waiver::draft(&args.gate, &args.reason, &requester, &args.approver, now, args.expires.get());
    file.fingerprint = args.finding;
    let path = waiver::write(&root, &file, now, about.class).map_err(|why| Failure::new(Exit::Usage, why))?;
    let mut out = Out::stdout();
    out.line(format!("{} {} is waived until {} (unsigned)", paint(Tone::Warn, "▲"), args.gate, file.expires))?;
    out.line(format!("  {}", path.display()))?;
    out.line("  commit it; the decision is now GO WITH RISKS at best")?;
    out.flush()?;
    Ok(Exit::Yes)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    signatures: &'static str,
    waivers: Vec<Listed<'a>>,
    ignored: Vec<Ignored<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    waiver: &'a Waiver,
    state: &'static str,
    lapsed_s: Option<u64>,
    signed: bool,
}

#[derive(Serialize)]
struct Ignored<'a> {
    file: &'a str,
    why: &'a str,
}

pub async fn list(args: ListArgs, global: &Global) -> anyhow::Result<Exit> {
    let root = root(&args.which, global)?;
    let now = global.clock.now();
    let found = tokio::task::spawn_blocking(move || walk::open(&root).map(|repo| waiver::read(&repo, now))).await??;
    if args.format.is_json() {
        let listed = |w| {
            let lapsed = match Waiver::state(w, now) {
                State::Active => None,
                State::Lapsed(ago) => Some(ago.as_secs()),
            };
            Listed {
                waiver: w,
                state: if lapsed.is_some() { "lapsed" } else { "active" },
                lapsed_s: lapsed,
                signed: false,
            }
        };
        output::json(&Document {
            schema: "hypercare.waivers/v1",
            signatures: "not checked by this version",
            waivers: found.valid.iter().map(listed).collect(),
            ignored: found.invalid.iter().map(|(file, why)| Ignored { file, why }).collect(),
        })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    if found.valid.is_empty() && found.invalid.is_empty() {
        out.line("nothing is waived")?;
    }
    /// A waiver that ends this soon deserves a word now.
    const SOON: Duration = Duration::from_secs(2 * 86_400);
    for w in &found.valid {
        let (mark, tone) = match w.state(now) {
            State::Lapsed(_) => ("✘ lapsed", Tone::Fail),
            State::Active if w.expires.since(now) < SOON => ("▲ ending", Tone::Warn),
            State::Active => ("▲ active", Tone::Warn),
        };
        let subject = match (&w.gate, &w.fingerprint) {
            (Some(gate), Some(print)) => format!("{gate} {print}"),
            (Some(gate), None) => gate.clone(),
            (None, print) => print.clone().unwrap_or_default(),
        };
        let life = match w.state(now) {
            State::Active => format!("{} left", prose(w.expires.since(now))),
            State::Lapsed(ago) => format!("expired {} ago; it covers nothing", prose(ago)),
        };
        out.line(format!("{}  {}  {life}, unsigned", paint(tone, mark), paint(Tone::Strong, clean_line(&subject))))?;
        let who = format!("{} asked, {} approved: {}", w.requester, w.approver, w.reason);
        out.line(format!("          {}", hang(&clean_line(&who), 10, output::width())))?;
    }
    for (file, why) in &found.invalid {
        let text = format!("{}: {}", clean_line(file), clean_line(why));
        out.line(format!("{}  {}", paint(Tone::Error, "? ignored"), hang(&text, 11, output::width())))?;
    }
    if !found.valid.is_empty() {
        out.line(paint(
            Tone::Soft,
            "signatures are not checked by this version: a waiver is as good as access to the work tree",
        ))?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}
