//! `hypercare attest`: a person answers for one line of the checklist, in words, with evidence, by signature.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use url::Url;

use super::check::subject::{self, Which};
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, hang, paint};
use super::{Exit, Failure, Global, sign};
use crate::config::Secrets;
use crate::domain::clock::Timestamp;
use crate::domain::evidence::hex;
use crate::domain::units::{Span, prose};
use crate::gates;
use crate::gates::context::Repo;
use crate::gates::facts::git::Git;
use crate::gates::facts::{rid, walk};
use crate::gates::monitoring::alert_delivery::{self, canary::Canary};
use crate::gates::people::attestation::{self, LIFE_MAX, ROTATED_LIFE_MAX};
use crate::gates::people::shelf::{ATTESTATIONS, Shelf};
use crate::gates::people::statement::{
    self, Answer, Bound, Exhibit, NAMESPACE, Rotated, SCHEMA, SECRETS, Statement, Words,
};
use crate::gates::people::trust::Role;
use crate::gates::people::{About, People, demands};
use crate::net::safety::{Guard, Safety};
use crate::net::{Client, Request, redact_url};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The statement and its signature are files in .hypercare/attestations: commit them. They count when the
signer is in .hypercare/allowed_signers on the base branch (OpenSSH's format, namespace hypercare-attest),
in the role that the gate asks for (.hypercare/roles.toml), and as long as nothing that the gate reads
has changed.

Examples:
  hypercare attest release.announcement --evidence https://status.shop.example/42 --key ~/.ssh/id_ed25519
  hypercare attest release.qa --flow checkout --evidence qa/checkout.pdf --role qa
  hypercare attest code.secrets --rotated 0f3c…,91ab… --on 2026-11-20 --evidence rotation.log
  hypercare attest monitoring.alert_delivery --code 7F3K-9QWD
  hypercare attest code.review --export in-toto > review.intoto.jsonl")]
pub struct Args {
    /// The gate, or goal.NAME for a goal none of whose gates apply
    #[arg(value_name = "GATE")]
    gate: String,
    #[arg(long, default_value = "yes")]
    answer: Answer,
    /// What you looked at; a file is hashed, a URL fetched and hashed; may be given several times
    #[arg(long, value_name = "FILE|URL")]
    evidence: Vec<String>,
    /// How long you answer for it, at most 90d, 730d for rotated secrets [default: 30d, 365d]
    #[arg(long, value_name = "DURATION")]
    expires: Option<Span>,
    /// In which role you sign
    #[arg(long, value_name = "ROLE")]
    role: Option<Role>,
    /// One flow, or another part of the gate, instead of all of it
    #[arg(long, visible_alias = "subject", value_name = "NAME")]
    flow: Option<String>,
    /// Of code.secrets: these secrets of the history were revoked at those who gave them out; fingerprints as in the
    /// JSON output, commas between
    #[arg(long, value_name = "FINGERPRINT", value_delimiter = ',', conflicts_with_all = ["flow", "export"])]
    rotated: Vec<String>,
    /// The day on which the last of them was revoked, as 2026-11-20 [default: today]
    #[arg(long, value_name = "DAY", requires = "rotated")]
    on: Option<String>,
    /// Who has revoked them [default: the signer]
    #[arg(long, value_name = "NAME", requires = "rotated")]
    by: Option<String>,
    /// Of monitoring.alert_delivery: the code of the TEST alert that reached you; no signature is needed
    #[arg(long, value_name = "CODE", conflicts_with_all = ["evidence", "expires", "role", "flow", "rotated", "key", "signer", "export", "dry_run"])]
    code: Option<String>,
    /// A private key, or the .pub of one that your agent holds [default: git's user.signingkey]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Your name in allowed_signers [default: the key's]
    #[arg(long, value_name = "NAME")]
    signer: Option<String>,
    /// Print what would be signed, and sign nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the attestations of this gate that there are, one a line, instead of signing
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["evidence", "key", "dry_run"])]
    export: Option<Export>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Export {
    /// in-toto Statements, v1
    InToto,
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let subject = subject::choose(&loaded, &args.which)?;
    if let Some(code) = &args.code {
        return give_back(&args, code, &subject, global.clock.now());
    }
    let line = checked_gate(&args)?;
    let folder = subject.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    let wanted = loaded.config.gates.version.clone();
    let (external, now) = (loaded.config.gates.code.review.external, global.clock.now());
    let service = subject.service.clone();
    let look = move || -> anyhow::Result<(Repo, About, People)> {
        let repo = walk::open(&folder)?;
        let rid = rid::identify(Some(&repo), wanted.as_deref(), Vec::new()).rid;
        let about = About { service, rid, external, change: None };
        let people = People::open(&repo, &about, now);
        Ok((repo, about, people))
    };
    let (repo, about, people) = tokio::task::spawn_blocking(look).await??;
    if args.export.is_some() {
        return export(&repo, &args.gate);
    }
    let rid = bound(&about)?;
    let (usual, most) = match args.rotated.is_empty() {
        true => (Duration::from_secs(30 * 86_400), LIFE_MAX),
        false => (Duration::from_secs(365 * 86_400), ROTATED_LIFE_MAX),
    };
    let life = args.expires.map_or(usual, Span::get);
    if life > most {
        return Err(usage(format!("nobody answers for longer than {}", prose(most))).into());
    }
    let git = repo.git.as_ref();
    let key = match args.dry_run {
        true => sign::choose(args.key.as_deref(), git).ok(),
        false => Some(sign::choose(args.key.as_deref(), git)?),
    };
    let signer = match &key {
        Some(key) => key.name(args.signer.clone(), &people.trust, NAMESPACE, git, now),
        None => args.signer.clone().unwrap_or_else(|| "nobody yet".into()),
    };
    let rotated = rotated(&args, &signer, now)?;
    let mut statement = Statement {
        schema: SCHEMA.into(),
        statement: Words::default(),
        gate: args.gate.clone(),
        subject: args.flow.clone(),
        service: about.service.clone(),
        rid,
        answer: args.answer,
        rotated,
        evidence: exhibits(&args.evidence, &repo, global).await?,
        signer,
        role: args.role.or(demands::of(&args.gate).role.filter(|_| people.trust.in_force && !external)),
        issued: now.rfc3339(),
        expires: now.plus(life).rfc3339(),
    };
    statement.statement = statement.todays_words(&line);
    let message = statement.canonical()?;
    let mut out = Out::stdout();
    if !args.format.is_json() {
        tell(&statement, &mut out)?;
    }
    let Some(key) = key.filter(|_| !args.dry_run) else {
        out.line(if args.format.is_json() { message } else { "nothing was signed (--dry-run)".into() })?;
        out.flush()?;
        return Ok(Exit::Yes);
    };
    out.flush()?;
    let signature = key.sign(NAMESPACE, message.as_bytes())?;
    let path = write(&repo, &statement, &message, now)?;
    let beside = sign::place(&path, &signature)?;
    let refused = judged(&repo, &about, &path, now);
    finish(&args, &statement, &path, &beside, refused, &mut out)
}

/// Takes the code of a canary alert. The code itself is the proof that somebody was reached: nothing is signed.
fn give_back(args: &Args, code: &str, subject: &subject::Subject, now: Timestamp) -> anyhow::Result<Exit> {
    let delivery = &alert_delivery::ABOUT;
    if args.gate != delivery.id {
        return Err(usage(format!("--code belongs to {}", delivery.id)).into());
    }
    let git = subject.repo.as_deref().and_then(Git::discover);
    let named = git.and_then(|git| git.run(&["config", "user.name"]).ok()).map(|name| clean_line(name.trim()));
    let by = named.filter(|name| !name.is_empty()).or_else(|| std::env::var("USER").ok()).unwrap_or("somebody".into());
    let root = subject.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    let canary = Canary::answer(&root.join(".hypercare/runs/attest"), code, &by, now).map_err(|why| {
        usage(why.to_string()).hint(format!("`hypercare check --only {}` posts a canary", delivery.id))
    })?;
    let after = prose(now.since(canary.posted));
    let mut out = Out::stdout();
    if args.format.is_json() {
        out.line(
            serde_json::json!({"gate": delivery.id, "posted": canary.posted, "answered": now, "by": by}).to_string(),
        )?;
    } else {
        out.line(format!(
            "{} the canary reached {by}, the code came back {after} after it was sent",
            paint(Tone::Pass, "✔")
        ))?;
        out.line(format!("  hypercare check --only {} now passes on it", delivery.id))?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

/// The checklist's words for it, or why it cannot be attested.
fn checked_gate(args: &Args) -> Result<String, Failure> {
    let line = attestation::line_of(&args.gate).ok_or_else(|| {
        usage(format!("{} is neither a gate nor a goal", args.gate)).hint("`hypercare gates list` names the gates")
    })?;
    let all = gates::all();
    let about = all.iter().map(|g| g.about()).find(|a| a.id == args.gate);
    if !args.rotated.is_empty() {
        if args.gate != SECRETS || args.answer == Answer::No {
            return Err(usage(format!(
                "--rotated is about secrets that are no longer worth anything: attest {SECRETS}"
            )));
        }
        return Ok(line);
    }
    if about.is_some_and(|a| !a.attestable) && args.flow.is_none() && args.export.is_none() {
        let message = format!("nobody's word can stand in for {}: it must be shown", args.gate);
        return Err(usage(message).hint(format!("hypercare gates explain {}", args.gate)));
    }
    Ok(line)
}

/// What is said of secrets of the history, if anything is.
fn rotated(args: &Args, signer: &str, now: Timestamp) -> Result<Option<Rotated>, Failure> {
    if args.rotated.is_empty() {
        return Ok(None);
    }
    let (today, text) =
        (now.utc().date_naive(), |text: &Option<String>| text.as_deref().map(str::trim).map(String::from));
    let mut fingerprints: Vec<String> = args.rotated.iter().map(|print| print.trim().to_string()).collect();
    fingerprints.sort();
    fingerprints.dedup();
    let out = Rotated {
        fingerprints,
        on: text(&args.on).unwrap_or_else(|| today.to_string()),
        by: text(&args.by).unwrap_or_else(|| signer.to_string()),
    };
    let hint = "hypercare check --only code.secrets --format json names the fingerprints";
    out.check(today).map(|()| Some(out)).map_err(|why| usage(why).hint(hint))
}

fn bound(about: &About) -> Result<Bound, Failure> {
    let rid = &about.rid;
    let (Some(commit), Some(tree)) = (rid.commit.clone(), rid.tree.clone()) else {
        return Err(usage("there is no commit to answer for")
            .hint("run in a git repository that has one, or name it with --repo"));
    };
    if rid.dirty {
        return Err(
            usage("the work tree has changes, and an attestation is about a commit").hint("commit or stash them first")
        );
    }
    Ok(Bound { commit, tree, version: rid.version.clone() })
}

/// Exactly what is about to be signed.
fn tell(s: &Statement, out: &mut Out) -> std::io::Result<()> {
    let width = output::width();
    out.line(hang(&clean_line(&s.statement.text), 0, width))?;
    for exhibit in &s.evidence {
        let what = match (&exhibit.sha256, &exhibit.unverifiable) {
            (Some(hash), _) => format!("sha256:{hash}"),
            (None, why) => format!("UNVERIFIABLE: {}", why.as_deref().unwrap_or("not read")),
        };
        out.line(format!(
            "  evidence  {}",
            hang(&format!("{} {}", clean_line(&exhibit.name), clean_line(&what)), 12, width)
        ))?;
    }
    let role = s.role.map(|r| format!(" as {}", r.word())).unwrap_or_default();
    out.line(format!("  signer    {}{role}, until {}", clean_line(&s.signer), s.expires))
}

/// A statement is some kilobytes; what it points to may be a recording.
const EVIDENCE_BYTES_MAX: u64 = 512 << 20;
const EVIDENCE_MAX: usize = 50;

async fn exhibits(given: &[String], repo: &Repo, global: &Global) -> anyhow::Result<Vec<Exhibit>> {
    if given.len() > EVIDENCE_MAX {
        return Err(usage(format!("more than {EVIDENCE_MAX} pieces of evidence")).into());
    }
    let mut guard = None;
    let mut out = Vec::new();
    for name in given {
        match Url::parse(name).ok().filter(|u| matches!(u.scheme(), "http" | "https")) {
            None => {
                let (path, root) = (PathBuf::from(name), repo.root().to_path_buf());
                out.push(tokio::task::spawn_blocking(move || of_file(&path, &root)).await??);
            }
            Some(url) => {
                if guard.is_none() {
                    guard = Some(ledger(repo, global)?);
                }
                out.push(of_url(guard.as_ref().context("no ledger")?, url).await);
            }
        }
    }
    Ok(out)
}

/// Blocking.
fn of_file(path: &Path, root: &Path) -> anyhow::Result<Exhibit> {
    use std::io::Read as _;
    let wrong = |e: std::io::Error| usage(format!("evidence {}: {e}", path.display()));
    let mut file = std::fs::File::open(path).map_err(wrong)?;
    if file.metadata().map_err(wrong)?.len() > EVIDENCE_BYTES_MAX {
        return Err(usage(format!("evidence {} is larger than 512 MiB", path.display())).into());
    }
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut buffer, mut bytes) = (vec![0; 1 << 16], 0);
    loop {
        let n = file.read(&mut buffer).map_err(wrong)?;
        if n == 0 {
            break;
        }
        bytes += n as u64;
        hash.update(&buffer[..n]);
    }
    // The path inside the repository, else the file's own name: where it lies on this machine is nobody's business.
    let inside = path.canonicalize().ok().and_then(|p| Some(p.strip_prefix(root).ok()?.to_string_lossy().into_owned()));
    let name = inside.or_else(|| path.file_name().map(|n| n.to_string_lossy().into_owned())).unwrap_or_default();
    Ok(Exhibit { name, sha256: Some(hex(hash.finish().as_ref())), bytes: Some(bytes), unverifiable: None })
}

pub fn ledger(repo: &Repo, global: &Global) -> anyhow::Result<std::sync::Arc<Guard>> {
    let run = format!("attest-{}", uuid::Uuid::new_v4());
    let runs = repo.root().join(".hypercare/runs");
    let dir = runs.join(&run);
    let guard = Guard::new(Client::new(), Safety::default(), Vec::new(), dir.clone(), run, global.clock.clone())
        .with_context(|| format!("cannot write the request ledger in {}", dir.display()))?;
    gates::ignore_runs(&runs);
    Ok(guard)
}

/// One GET to what the operator has named, through the budgets and the ledger of every request.
async fn of_url(guard: &std::sync::Arc<Guard>, url: Url) -> Exhibit {
    let request = Request::get(url.clone()).timeout(Duration::from_secs(10));
    let mut out = Exhibit { name: redact_url(&url), sha256: None, bytes: None, unverifiable: None };
    match guard.api_prober("attest", &url).send(request).await {
        Ok(answer) if answer.status == 200 => {
            out.sha256 = Some(crate::domain::evidence::sha256_hex(&answer.body));
            out.bytes = Some(answer.body.len() as u64);
        }
        Ok(answer) => out.unverifiable = Some(format!("it answered {}", answer.status)),
        Err(error) => out.unverifiable = Some(error.to_string()),
    }
    out
}

fn write(repo: &Repo, statement: &Statement, message: &str, now: Timestamp) -> Result<PathBuf, Failure> {
    use std::io::Write as _;
    let subject = statement.subject.as_deref().or(statement.rotated.as_ref().map(|_| "rotated"));
    let part = subject.map(|s| format!("-{s}")).unwrap_or_default();
    let name = format!("{}{part}-{}", statement.gate, now.utc().format("%Y%m%dT%H%M%SZ"));
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect();
    let folder = repo.root().join(ATTESTATIONS);
    let path = folder.join(format!("{name}.json"));
    let io = |e: std::io::Error| Failure::new(Exit::Io, format!("{}: {e}", path.display()));
    std::fs::create_dir_all(&folder).map_err(io)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(io)?;
    file.write_all(message.as_bytes()).map_err(io)?;
    Ok(path)
}

/// Would it count now? The words say why not.
fn judged(repo: &Repo, about: &About, path: &Path, now: Timestamp) -> Option<String> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let people = People::open(repo, about, now);
    people.attestations.invalid.into_iter().find(|(file, _)| file.ends_with(&name)).map(|(_, why)| why)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    file: String,
    signature: String,
    counts: bool,
    why_not: Option<&'a str>,
    statement: &'a Statement,
}

fn finish(
    args: &Args,
    statement: &Statement,
    path: &Path,
    signature: &Path,
    refused: Option<String>,
    out: &mut Out,
) -> anyhow::Result<Exit> {
    if args.format.is_json() {
        output::json(&Document {
            schema: "hypercare.attest/v1",
            file: path.display().to_string(),
            signature: signature.display().to_string(),
            counts: refused.is_none(),
            why_not: refused.as_deref(),
            statement,
        })?;
        return Ok(Exit::Yes);
    }
    match refused {
        None => out.line(format!("{} signed; commit both files", paint(Tone::Pass, "✔")))?,
        Some(why) => {
            let text = hang(&format!("signed, but it does not count yet: {}", clean_line(&why)), 2, output::width());
            out.line(format!("{} {text}", paint(Tone::Warn, "▲")))?;
        }
    }
    out.line(format!("  {}", path.display()))?;
    out.line(format!("  {}", signature.display()))?;
    out.flush()?;
    Ok(Exit::Yes)
}

fn export(repo: &Repo, gate: &str) -> anyhow::Result<Exit> {
    let shelf = Shelf::of_tree(repo);
    let mut out = Out::stdout();
    let mut any = false;
    for (file, bytes) in shelf.statements(ATTESTATIONS) {
        let Ok((statement, _)) = attestation::parse(bytes) else { continue };
        let Some(signature) = shelf.signatures(file).next().filter(|_| statement.gate == gate) else { continue };
        out.line(serde_json::to_string(&statement::in_toto(&statement, &signature))?)?;
        any = true;
    }
    out.flush()?;
    match any {
        true => Ok(Exit::Yes),
        false => Err(Failure::new(Exit::No, format!("there is no signed attestation of {gate}")).into()),
    }
}
