//! Reports that lie where tools and CI jobs usually leave them in the repository, known by their names. A sidecar binds
//! them; in a CI job, what git does not track was made by this very job. Coverage and JUnit reports are
//! `code.coverage`'s own to find.

use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::{Binding, Imported, Reach};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::gates::code::reports::modified;
use crate::gates::context::Repo;
use crate::gates::import::kind::{Content, Kind};
use crate::gates::import::scan;

/// Where reports usually lie. Looked into, not below.
const FOLDERS: [&str; 13] = [
    "",
    "reports",
    "report",
    "results",
    "artifacts",
    "test-results",
    "scan-results",
    "security",
    "load",
    "loadtest",
    "build/reports",
    "target/reports",
    ".hypercare/reports",
];
/// Names looked at in one folder.
const NAMES_MAX: usize = 2_000;
/// What nobody asked for by name is read when it is small.
const BYTES_MAX: u64 = 16 << 20;
const SIDECAR_BYTES_MAX: u64 = 64 * 1024;
const REPORTS_MAX: usize = 40;

#[derive(Deserialize)]
struct Sidecar {
    commit: Option<String>,
    target: Option<String>,
    #[serde(alias = "at")]
    time: Option<String>,
}

pub fn look(repo: &Repo, ci_commit: Option<&str>, now: Timestamp) -> Vec<(Imported, Binding)> {
    let mut out = Vec::new();
    for folder in FOLDERS {
        let Ok(entries) = std::fs::read_dir(repo.root.join(folder)) else { continue };
        let mut names: Vec<String> =
            entries.take(NAMES_MAX).flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if let Some(kind) = kind_of(&name).filter(|_| out.len() < REPORTS_MAX) {
                out.extend(one(repo, &path, kind, ci_commit, now));
            }
        }
    }
    out
}

fn one(repo: &Repo, path: &str, kind: Kind, ci_commit: Option<&str>, now: Timestamp) -> Option<(Imported, Binding)> {
    let bytes = bounded(&repo.root, path, BYTES_MAX)?;
    // What only has such a name is no report: nobody said that it is one.
    let content = kind.read(&String::from_utf8_lossy(&bytes)).ok()?;
    if matches!(&content, Content::Scan(scan) if scan.tool == "hypercare") {
        return None;
    }
    let sidecar = bounded(&repo.root, &format!("{path}.hc.json"), SIDECAR_BYTES_MAX)
        .and_then(|bytes| serde_json::from_slice::<Sidecar>(&bytes).ok());
    let tracked = repo.git.as_ref().is_some_and(|git| {
        let full = format!("{}{path}", git.below(&repo.root));
        git.run(&["ls-files", "--error-unmatch", "--", &format!(":(literal){full}")]).is_ok()
    });
    let hex = |c: &String| (7..=64).contains(&c.len()) && c.bytes().all(|b| b.is_ascii_hexdigit());
    let made_here = || ci_commit.filter(|_| !tracked).map(str::to_string);
    let commit = match &sidecar {
        Some(sidecar) => sidecar.commit.clone(),
        None => made_here(),
    };
    let started = match &content {
        Content::Load(load) => load.started_at,
        _ => None,
    };
    let at = sidecar.as_ref().and_then(|s| Timestamp::parse(s.time.as_deref()?)).or(started);
    let binding = Binding { commit: commit.filter(hex), target: sidecar.and_then(|s| s.target), at };
    let written = std::fs::symlink_metadata(repo.root.join(path)).ok().map(|meta| modified(&meta));
    let report = Imported {
        kind,
        content,
        file: scan::clean(path),
        sha256: format!("sha256:{}", sha256_hex(&bytes)),
        commit: binding.commit.clone(),
        target: binding.target.clone(),
        // No provenance, but the report is at least that old.
        ran_at: binding.at.or(written).unwrap_or(now).min(now),
        reach: Reach::Unbound,
    };
    Some((report, binding))
}

/// A regular file of the repository, not through a link.
fn bounded(root: &Path, path: &str, limit: u64) -> Option<Vec<u8>> {
    let full = root.join(path);
    let meta = std::fs::symlink_metadata(&full).ok().filter(|m| m.is_file() && m.len() <= limit)?;
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    std::fs::File::open(full).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Beginnings and ends of names that tools' own documents use.
const NAMES: [(&str, &[&str], Kind); 20] = [
    ("gitleaks", &[".json"], Kind::Gitleaks),
    ("trufflehog", &[".json", ".jsonl", ".ndjson"], Kind::TruffleHog),
    ("kingfisher", &[".json", ".jsonl"], Kind::Kingfisher),
    ("zap", &[".json", ".xml"], Kind::Zap),
    ("nuclei", &[".json", ".jsonl"], Kind::Nuclei),
    ("kube-score", &[".json"], Kind::KubeScore),
    ("kube_score", &[".json"], Kind::KubeScore),
    ("kube-linter", &[".json"], Kind::KubeLinter),
    ("kubelinter", &[".json"], Kind::KubeLinter),
    ("hadolint", &[".json"], Kind::Hadolint),
    ("k6", &[".json"], Kind::K6),
    ("oha", &[".json"], Kind::Oha),
    ("wrk2", &[".txt", ".log", ".out"], Kind::Wrk2),
    ("wrk", &[".txt", ".log", ".out"], Kind::Wrk),
    ("hey", &[".txt", ".log", ".out"], Kind::Hey),
    ("autocannon", &[".json"], Kind::Autocannon),
    ("artillery", &[".json"], Kind::Artillery),
    ("vegeta", &[".json"], Kind::Vegeta),
    ("bombardier", &[".json"], Kind::Bombardier),
    ("locust", &["_stats.csv"], Kind::Locust),
];

fn kind_of(name: &str) -> Option<Kind> {
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".hc.json") {
        return None;
    }
    if lower.ends_with(".sarif") || lower.ends_with(".sarif.json") {
        return Some(Kind::Sarif);
    }
    if lower.ends_with(".jtl") {
        return Some(Kind::JMeter);
    }
    let named = |(begin, ends, _): &&(&str, &[&str], Kind)| {
        // `wrk.txt` and `wrk-staging.txt`, but not `wrkbench.txt`.
        let rest = lower.strip_prefix(begin)?;
        let apart = rest.starts_with(|c: char| !c.is_ascii_alphanumeric());
        (apart && ends.iter().any(|e| rest.ends_with(e))).then_some(())
    };
    NAMES.iter().find(|row| named(row).is_some()).map(|(_, _, kind)| *kind)
}
