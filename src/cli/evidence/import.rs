//! `hypercare evidence import KIND FILE`: another tool's report into the ledger, as plain figures, with its digest and what
//! it is bound to: commit, target and time, from the options, a sidecar `FILE.hc.json`, or the CI's variables.
//!
//! A file's own time is no provenance: a report that nothing binds is kept, and called unbound. The report itself is not
//! kept, and values of secrets are dropped while it is read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use super::super::check::{open, subject};
use super::super::output::{self, FormatArg, Out, Tone, clean_line, paint};
use super::super::{Exit, Failure, Global};
use crate::config::Loaded;
use crate::domain::clock::Timestamp;
use crate::domain::evidence::{Evidence, sha256_hex};
use crate::domain::release::ReleaseId;
use crate::gates::facts::git::Git;
use crate::gates::import::REPORT_BYTES_MAX;
use crate::gates::import::kind::{Content, Kind};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which tool or format wrote the report
    #[arg(value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(Kind::ALL.map(Kind::word)))]
    kind: String,
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The commit that was tested or scanned
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// The target that was tested, by its name in [[gates.target]]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// When the tool ran: RFC 3339, or seconds since the epoch
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    #[command(flatten)]
    which: subject::Which,
    #[command(flatten)]
    format: FormatArg,
}

/// What a report is about. `by`: `options`, `sidecar`, `ci`, or `nothing`.
#[derive(Debug, Default, Serialize)]
struct Binding {
    commit: Option<String>,
    target: Option<String>,
    at: Option<Timestamp>,
    by: &'static str,
}

/// `FILE.hc.json`
#[derive(Debug, Default, Deserialize)]
struct Sidecar {
    commit: Option<String>,
    target: Option<String>,
    #[serde(alias = "at")]
    time: Option<String>,
    version: Option<String>,
}

#[derive(Serialize)]
struct Imported<'a> {
    schema: &'static str,
    kind: &'a str,
    gate: &'a str,
    tool: Option<&'a str>,
    version: Option<&'a str>,
    summary: &'a str,
    binding: &'a Binding,
    digest: &'a str,
}

/// Sidecars are one line.
const SIDECAR_BYTES_MAX: u64 = 64 * 1024;
/// As for what gates see: larger evidence helps nobody.
const EVIDENCE_BYTES_MAX: usize = 1024 * 1024;

pub async fn run(args: Args, loaded: &Loaded, dir: &Path, global: &Global) -> anyhow::Result<Exit> {
    let kind = Kind::of(&args.kind)
        .ok_or_else(|| Failure::new(Exit::Usage, format!("no importer is called {}", args.kind)))?;
    let bytes = bounded(&args.file, REPORT_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    let content = kind.read(&text).map_err(|e| {
        let message = format!("{} is no {} report: {e}", clean_line(&args.file.display().to_string()), kind.word());
        Failure::new(Exit::No, message).hint("make it again, or name its kind; nothing was kept")
    })?;
    let sidecar = sidecar(&args.file)?;
    let binding = bind(&args, &sidecar, &content, loaded)?;
    let (tool, version) = content.tool();
    let version = version.or(sidecar.version.as_deref()).map(String::from);
    let name = args.file.file_name().map(|n| clean_line(&n.to_string_lossy())).unwrap_or_default();
    let service = subject::choose(loaded, &args.which)?.service;
    let kept = serde_json::json!({
        "service": service, "kind": kind.word(), "tool": tool, "version": version, "file": name, "bytes": bytes.len(),
        "sha256": format!("sha256:{}", sha256_hex(&bytes)), "binding": binding, "report": content,
    });
    if serde_json::to_vec(&kept)?.len() > EVIDENCE_BYTES_MAX {
        return Err(Failure::new(Exit::No, format!("{name} says more than 1 MiB even in short"))
            .hint("let the tool report less: one package, one severity")
            .into());
    }
    let evidence = Evidence::new(format!("import:{}", kind.word()), kept);
    let rid = ReleaseId {
        commit: binding.commit.clone(),
        targets: binding.target.iter().cloned().collect(),
        ..ReleaseId::default()
    };
    let store = open(dir, global).await?;
    let saved = store.state.add_evidence(global.clock.now(), "import", kind.gate(), &evidence, &rid).await;
    store.close().await;
    saved?;
    show(&args, kind, &content, &version, &binding, &evidence.digest())
}

fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let shown = clean_line(&path.display().to_string());
    let failed = |e: std::io::Error| Failure::new(Exit::Io, format!("cannot read {shown}: {}", e.kind()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(Exit::No, format!("{shown} is larger than {limit} bytes")));
    }
    Ok(bytes)
}

fn sidecar(file: &Path) -> Result<Sidecar, Failure> {
    let mut path = file.as_os_str().to_owned();
    path.push(".hc.json");
    let path = PathBuf::from(path);
    if !path.exists() {
        return Ok(Sidecar::default());
    }
    let bytes = bounded(&path, SIDECAR_BYTES_MAX)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let message = format!("{} is not JSON: line {}", clean_line(&path.display().to_string()), e.line());
        Failure::new(Exit::No, message)
            .hint(r#"write {"commit": "…", "target": "staging", "time": "2026-11-22T10:00:00Z"}"#)
    })
}

/// Options before the sidecar before the CI. What is given must be true: the commit exists, the target is configured,
/// and the report is about its host.
fn bind(args: &Args, sidecar: &Sidecar, content: &Content, loaded: &Loaded) -> Result<Binding, Failure> {
    let (commit, by) = match (&args.commit, &sidecar.commit) {
        (Some(commit), _) => (Some(commit.clone()), "options"),
        (None, Some(commit)) => (Some(commit.clone()), "sidecar"),
        (None, None) => ci_commit().map_or((None, "nothing"), |commit| (Some(commit), "ci")),
    };
    let commit = commit.map(|c| full_commit(&c, args, loaded)).transpose()?;
    let target = args.target.clone().or_else(|| sidecar.target.clone());
    let time = args.at.as_ref().or(sidecar.time.as_ref());
    let at = match time {
        Some(text) => Some(Timestamp::parse(text).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{}` is not a time", clean_line(text)))
                .hint("write 2026-11-22T10:00:00Z")
        })?),
        None => match content {
            Content::Load(load) => load.started_at,
            _ => None,
        },
    };
    check_target(target.as_deref(), content, loaded)?;
    Ok(Binding { commit, target, at, by })
}

/// What the CI system says it builds.
pub fn ci_commit() -> Option<String> {
    let names =
        ["GITHUB_SHA", "CI_COMMIT_SHA", "BITBUCKET_COMMIT", "BUILD_SOURCEVERSION", "CIRCLE_SHA1", "DRONE_COMMIT_SHA"];
    names.iter().find_map(|name| std::env::var(name).ok())
}

fn full_commit(commit: &str, args: &Args, loaded: &Loaded) -> Result<String, Failure> {
    let hex = (7..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex {
        return Err(Failure::new(Exit::Usage, format!("`{}` is not a commit", clean_line(commit)))
            .hint("give 7 to 40 hex digits"));
    }
    let repo = subject::choose(loaded, &args.which)?.repo.unwrap_or_else(|| PathBuf::from("."));
    let Some(git) = Git::discover(&repo) else { return Ok(commit.to_ascii_lowercase()) };
    let found = git.run(&["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")]);
    found.map(|full| full.trim().to_string()).map_err(|_| {
        Failure::new(Exit::No, format!("commit {commit} is not in this repository"))
            .hint("fetch it, or give --repo DIR")
    })
}

fn check_target(target: Option<&str>, content: &Content, loaded: &Loaded) -> Result<(), Failure> {
    let targets = &loaded.config.gates.target;
    let known = targets.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", ");
    let chosen = target.map(|name| targets.iter().find(|t| t.name == name).ok_or(name)).transpose();
    let chosen = chosen.map_err(|name| {
        let failure = Failure::new(Exit::Usage, format!("there is no target `{}`", clean_line(name)));
        if known.is_empty() {
            failure.hint("configure it: [[gates.target]]")
        } else {
            failure.hint(format!("there are: {known}"))
        }
    })?;
    let Content::Load(load) = content else { return Ok(()) };
    let host = load.url.as_deref().and_then(|u| Url::parse(u).ok()).and_then(|u| u.host_str().map(str::to_string));
    let Some(host) = host else { return Ok(()) };
    let hosts: Vec<&str> = match chosen {
        Some(target) => target.url.host_str().into_iter().collect(),
        None => targets.iter().filter_map(|t| t.url.host_str()).collect(),
    };
    if hosts.is_empty() || hosts.contains(&host.as_str()) {
        return Ok(());
    }
    Err(Failure::new(Exit::No, format!("the report is about {}, not about {}", clean_line(&host), hosts.join(" or ")))
        .hint("a report about another host says nothing here; nothing was kept"))
}

fn show(
    args: &Args,
    kind: Kind,
    content: &Content,
    version: &Option<String>,
    binding: &Binding,
    digest: &str,
) -> anyhow::Result<Exit> {
    let summary = content.summary();
    if args.format.is_json() {
        output::json(&Imported {
            schema: "hypercare.evidence-import/v1",
            kind: kind.word(),
            gate: kind.gate(),
            tool: content.tool().0,
            version: version.as_deref(),
            summary: &summary,
            binding,
            digest,
        })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    let short = binding.commit.as_deref().map(|c| &c[..c.len().min(7)]);
    out.line(format!("{} {} for {}: {}", paint(Tone::Pass, "✔ kept"), kind.word(), kind.gate(), clean_line(&summary)))?;
    match short {
        _ if kind == Kind::Reviews => out.line("  bound by the commits that it names")?,
        Some(commit) => out.line(format!("  bound to {commit} by {}{}", binding.by, target_text(binding)))?,
        None => out.line(format!(
            "  {}: no commit by option, sidecar or CI{}; a gate that rests on it can only warn",
            paint(Tone::Warn, "unbound"),
            target_text(binding)
        ))?,
    }
    out.line(format!("  {digest}"))?;
    out.flush()?;
    Ok(Exit::Yes)
}

fn target_text(binding: &Binding) -> String {
    binding.target.as_ref().map(|t| format!(", target {}", clean_line(t))).unwrap_or_default()
}
