//! `hypercare waive` writes a waiver into the repository, and signs it; `hypercare waivers` lists what is waived, by whom,
//! how long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::check::subject::{self, Subject, Which};
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, hang, paint};
use super::{Exit, Failure, Global, sign};
use crate::config::Secrets;
use crate::domain::clock::Timestamp;
use crate::domain::units::{Span, prose};
use crate::gates::context::Repo;
use crate::gates::facts::{git::Git, rid, walk};
use crate::gates::people::shelf::SIGNERS;
use crate::gates::people::{About, People};
use crate::gates::waiver::{self, NAMESPACE, State, Waiver};
use crate::gates::{self, runner};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The waiver is a file in .hypercare/waivers of the repository: commit it, so that others see it. Once
.hypercare/allowed_signers is on the base branch, it counts when its approver has signed it (--key, or
later --sign). Before that it counts unsigned, which every output says. Either way a waived gate never
gives more than GO WITH RISKS. A live secret, an open door or a missing backup takes two approvers, both
signatures, and 72 hours at most.

Examples:
  hypercare waive code.review --reason \"reviewed on paper, the forge is down\" --approver bob --expires 7d
  hypercare waive --sign .hypercare/waivers/code.review-20261122T100000Z.json --key ~/.ssh/id_ed25519")]
pub struct Args {
    /// The gate
    #[arg(value_name = "GATE", required_unless_present = "sign")]
    gate: Option<String>,
    /// Why the risk is taken, at least 20 characters
    #[arg(long, value_name = "TEXT", required_unless_present = "sign")]
    reason: Option<String>,
    /// Who takes it; not the one who asks; given twice for what is critical
    #[arg(long, value_name = "NAME", required_unless_present = "sign")]
    approver: Vec<String>,
    /// Who asks [default: git's user.name]
    #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
    requester: Option<String>,
    /// How long, at most 90d, for class A 14d
    #[arg(long, value_name = "DURATION", default_value = "7d")]
    expires: Span,
    /// One finding of the gate instead of all: its fingerprint in the JSON output
    #[arg(long, value_name = "FINGERPRINT")]
    finding: Option<String>,
    /// The approver's private key, or the .pub of one that an agent holds: sign at once
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Sign a waiver that is there, instead of writing one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gate", "reason", "approver", "finding"])]
    sign: Option<PathBuf>,
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

/// The repository, and what is signed in it.
struct House {
    repo: Repo,
    about: About,
    people: People,
}

fn subject(which: &Which, global: &Global) -> anyhow::Result<(Subject, bool)> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    Ok((subject::choose(&loaded, which)?, loaded.config.gates.code.review.external))
}

/// Blocking.
fn house(subject: Subject, external: bool, now: Timestamp) -> anyhow::Result<House> {
    let folder = subject.repo.unwrap_or_else(|| PathBuf::from("."));
    let wrong = |e: walk::WalkError| Failure::new(Exit::Usage, e.to_string());
    let repo = walk::open(&folder).map_err(wrong)?;
    let rid = rid::identify(Some(&repo), None, Vec::new()).rid;
    let about = About { service: subject.service, rid, external, change: None };
    let people = People::open(&repo, &about, now);
    Ok(House { repo, about, people })
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let (subject, external) = subject(&args.which, global)?;
    let now = global.clock.now();
    let house = tokio::task::spawn_blocking(move || house(subject, external, now)).await??;
    let path = match &args.sign {
        Some(path) => path.clone(),
        None => write(&args, &house, now)?,
    };
    let git = house.repo.git.as_ref();
    let key = match args.sign.is_some() {
        true => Some(sign::choose(args.key.as_deref(), git)?),
        false => sign::choose_if_given(args.key.as_deref(), git)?,
    };
    let mut out = Out::stdout();
    if let Some(key) = key {
        let beside = signed(&path, &key, &mut out)?;
        out.line(format!("  {}", beside.display()))?;
    }
    tell(&path, &house, now, &mut out)?;
    out.flush()?;
    Ok(Exit::Yes)
}

fn write(args: &Args, house: &House, now: Timestamp) -> anyhow::Result<PathBuf> {
    let gate = args.gate.as_deref().unwrap_or_default();
    let all = gates::all();
    let known = all.iter().map(|g| g.about().id).collect();
    runner::check_name(gate, &known)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()).hint("`hypercare gates list` names them all"))?;
    let Some(about) = all.iter().map(|g| g.about()).find(|a| a.id == gate) else {
        return Err(Failure::new(Exit::Usage, format!("{gate} is not a gate")).into());
    };
    let requester = match &args.requester {
        Some(name) => name.clone(),
        None => {
            let name = Git::discover(house.repo.root()).and_then(|g| g.run(&["config", "user.name"]).ok());
            let name = name.map(|n| n.trim().to_string()).filter(|n| !n.is_empty());
            name.ok_or_else(|| Failure::new(Exit::Usage, "nobody is named who asks").hint("give --requester NAME"))?
        }
    };
    let [first, rest @ ..] = &args.approver[..] else {
        return Err(Failure::new(Exit::Usage, "nobody is named who approves").hint("give --approver NAME").into());
    };
    if rest.len() > 1 {
        return Err(Failure::new(Exit::Usage, "two approvers are enough").into());
    }
    let reason = args.reason.as_deref().unwrap_or_default();
    let mut file = waiver::draft(gate, reason, &requester, first, now, args.expires.get());
    file.second = rest.first().cloned();
    file.fingerprint = args.finding.clone();
    let path = waiver::write(house.repo.root(), &file, now, about.class);
    Ok(path.map_err(|why| Failure::new(Exit::Usage, why))?)
}

/// Prints what is signed, signs it, and lays the signature beside it.
fn signed(path: &Path, key: &sign::Key, out: &mut Out) -> anyhow::Result<PathBuf> {
    let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let (file, message) = waiver::parse(&bytes).map_err(wrong)?;
    let subject = file.gate.as_deref().or(file.fingerprint.as_deref()).unwrap_or_default();
    let text = format!("{} asks to waive {subject} until {}: {}", file.requester, file.expires, file.reason);
    out.line(hang(&clean_line(&text), 0, output::width()))?;
    out.flush()?;
    let signature = key.sign(NAMESPACE, message.as_bytes())?;
    if bytes != message.as_bytes() {
        std::fs::write(path, &message).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(sign::place(path, &signature)?)
}

/// What it is worth now.
fn tell(path: &Path, before: &House, now: Timestamp, out: &mut Out) -> std::io::Result<()> {
    let people = People::open(&before.repo, &before.about, now);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let is_it = |file: &str| file.ends_with(&format!("/{name}"));
    let valid = people.waivers.valid.iter().find(|w| is_it(&w.file));
    let invalid = people.waivers.invalid.iter().find(|(file, _)| is_it(file));
    out.line(format!("  {}", path.display()))?;
    match (valid, invalid) {
        (Some(w), _) => {
            let subject = w.gate.as_deref().or(w.fingerprint.as_deref()).unwrap_or_default();
            let how = if w.signed { "signed" } else { "UNSIGNED" };
            let mark = paint(Tone::Warn, "▲");
            out.line(format!("{mark} {} is waived until {}, {how}", clean_line(subject), w.expires))?;
            if !w.signed {
                let base = &before.people.trust.base;
                let text =
                    format!("it counts because {base} has no {SIGNERS}: whoever can write here could have written it");
                out.line(format!("  {}", hang(&text, 2, output::width())))?;
            }
            out.line("  commit it; the decision is now GO WITH RISKS at best")
        }
        (None, Some((_, why))) => {
            let text = hang(&format!("it does not count yet: {}", clean_line(why)), 2, output::width());
            out.line(format!("{} {text}", paint(Tone::Warn, "▲")))
        }
        (None, None) => out.line("  it lies outside of .hypercare/waivers, where nobody looks"),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    signatures: String,
    waivers: Vec<Listed<'a>>,
    ignored: Vec<Ignored<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    waiver: &'a Waiver,
    state: &'static str,
    lapsed_s: Option<u64>,
}

#[derive(Serialize)]
struct Ignored<'a> {
    file: &'a str,
    why: &'a str,
}

pub async fn list(args: ListArgs, global: &Global) -> anyhow::Result<Exit> {
    let (subject, external) = subject(&args.which, global)?;
    let now = global.clock.now();
    let people = tokio::task::spawn_blocking(move || house(subject, external, now)).await??.people;
    let found = &people.waivers;
    if args.format.is_json() {
        let listed = |w| {
            let lapsed = match Waiver::state(w, now) {
                State::Active => None,
                State::Lapsed(ago) => Some(ago.as_secs()),
            };
            Listed { waiver: w, state: if lapsed.is_some() { "lapsed" } else { "active" }, lapsed_s: lapsed }
        };
        output::json(&Document {
            schema: "hypercare.waivers/v1",
            signatures: worth(&people),
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
        let how = if w.signed { "signed" } else { "UNSIGNED" };
        out.line(format!("{}  {}  {life}, {how}", paint(tone, mark), paint(Tone::Strong, clean_line(&subject))))?;
        let second = w.second.as_deref().map(|s| format!(" and {s}")).unwrap_or_default();
        let who = format!("{} asked, {}{second} approved: {}", w.requester, w.approver, w.reason);
        out.line(format!("          {}", hang(&clean_line(&who), 10, output::width())))?;
    }
    for (file, why) in &found.invalid {
        let text = format!("{}: {}", clean_line(file), clean_line(why));
        out.line(format!("{}  {}", paint(Tone::Error, "? ignored"), hang(&text, 11, output::width())))?;
    }
    if !found.valid.is_empty() {
        out.line(paint(Tone::Soft, hang(&worth(&people), 0, output::width())))?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

/// What a signature is worth here, in words.
fn worth(people: &People) -> String {
    let base = &people.trust.base;
    match people.waivers.unsigned_will_do {
        true => {
            format!("{base} has no {SIGNERS}, so unsigned waivers count: each is as good as access to the work tree")
        }
        false => format!("only what its approver has signed counts: {SIGNERS} of {base}"),
    }
}
