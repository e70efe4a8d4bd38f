//! Reports of other tools as gates use them: each with what it is bound to, how old it is, and whether it still counts.
//!
//! The one place for the rules of gates.md 0.1 and 0.11: a report of this commit counts; one of another commit counts as
//! long as nothing that the gate looks at has changed since; one that nothing binds caps the gate at a warning; one about
//! another host, release or month is stale. A gate asks [`GateContext::evidence_for`], or lets
//! [`GateContext::with_imports`] do the rest. `topic.rs` says which report speaks to which gate, `join.rs` adds scanners'
//! findings to a gate's own, `discover.rs` looks into the repository's own report folders. Reports kept in the store are
//! handed in by the caller: gates know no store.

mod discover;
mod join;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::context::Repo;
use super::import::kind::{Content, Kind};
use super::{Config, GateContext};
use crate::domain::clock::Timestamp;
use crate::domain::units::{count, prose};
use crate::net::safety::Target;

pub use join::looked_not;

/// One report as the store keeps it: what `evidence import` wrote, and when.
#[derive(Debug, Clone)]
pub struct Kept {
    pub content: serde_json::Value,
    pub imported_at: Timestamp,
}

/// What `evidence import` writes; more than this is for people.
#[derive(Deserialize)]
struct Written {
    kind: String,
    file: String,
    sha256: String,
    /// Older ones do not tell.
    service: Option<String>,
    binding: Binding,
    report: Content,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Binding {
    pub commit: Option<String>,
    pub target: Option<String>,
    pub at: Option<Timestamp>,
}

/// One report, read.
#[derive(Debug, Clone)]
pub struct Imported {
    pub kind: Kind,
    pub content: Content,
    /// The report's own name.
    pub file: String,
    pub sha256: String,
    pub commit: Option<String>,
    pub target: Option<String>,
    /// When the tool ran; where nothing tells, the earliest that it can have been, or when it was imported.
    pub ran_at: Timestamp,
    reach: Reach,
}

/// How the report's commit stands to what is checked.
#[derive(Debug, Clone, PartialEq)]
enum Reach {
    Unbound,
    /// Files that differ from that commit, below the repository's folder.
    Since(BTreeSet<String>),
    /// There is nothing to compare with.
    Foreign(String),
}

/// What a report is worth to one gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Bound,
    /// Counts, but the gate warns at best. Why, as a fragment.
    Unbound(String),
    /// Proves nothing. Why, as a fragment.
    Stale(String),
}

impl Standing {
    pub fn is_stale(&self) -> bool {
        matches!(self, Standing::Stale(_))
    }
    pub fn word(&self) -> &'static str {
        match self {
            Standing::Bound => "bound",
            Standing::Unbound(_) => "unbound",
            Standing::Stale(_) => "stale",
        }
    }
    pub fn why(&self) -> Option<&str> {
        match self {
            Standing::Bound => None,
            Standing::Unbound(why) | Standing::Stale(why) => Some(why),
        }
    }
}

/// A report for one gate.
#[derive(Debug)]
pub struct Piece<'a> {
    pub report: &'a Imported,
    pub standing: Standing,
}

impl Piece<'_> {
    /// As the gate's own evidence lists it.
    pub fn row(&self, now: Timestamp) -> serde_json::Value {
        let r = self.report;
        serde_json::json!({
            "kind": r.kind.word(), "file": r.file, "sha256": r.sha256, "commit": r.commit, "target": r.target,
            "ran_at": r.ran_at, "age_s": now.since(r.ran_at).as_secs(), "standing": self.standing.word(),
            "why": self.standing.why(), "says": r.content.summary(),
        })
    }
    /// `k6 summary.json, 3 d old`
    pub fn name(&self, now: Timestamp) -> String {
        format!("{} {}, {} old", self.report.kind.word(), self.report.file, prose(now.since(self.report.ran_at)))
    }
}

/// All reports of one run.
#[derive(Debug, Default)]
pub struct Reports {
    reports: Vec<Imported>,
}

/// Reports of one run; the newest are kept.
const REPORTS_MAX: usize = 100;
/// A report's commit is compared with the work tree; more commits than these are not.
const COMMITS_MAX: usize = 20;

impl Reports {
    /// Reads what was kept, adds what lies in the repository's report folders. `ci_commit`: what the CI says it builds.
    /// Blocking: asks git.
    pub fn gather(
        kept: &[Kept],
        repo: Option<&Repo>,
        service: &str,
        ci_commit: Option<&str>,
        now: Timestamp,
    ) -> Reports {
        let mut found: Vec<(Imported, Binding)> = kept.iter().filter_map(|k| read(k, service)).collect();
        found.extend(repo.map(|repo| discover::look(repo, ci_commit, now)).unwrap_or_default());
        found.sort_by_key(|(report, _)| std::cmp::Reverse(report.ran_at));
        // A newer report of the same name takes the place of the older one: what it no longer lists is mended.
        let mut seen = BTreeSet::new();
        found.retain(|(report, _)| seen.insert((report.kind.word(), report.file.clone())));
        found.truncate(REPORTS_MAX);
        let mut commits: BTreeMap<String, Reach> = BTreeMap::new();
        let reports = found.into_iter().map(|(mut report, binding)| {
            if let Some(commit) = &report.commit {
                if !commits.contains_key(commit) {
                    let reach = match commits.len() < COMMITS_MAX {
                        true => compare(repo, commit),
                        false => Reach::Foreign("more commits than are compared".into()),
                    };
                    commits.insert(commit.clone(), reach);
                }
                report.reach = commits[commit].clone();
                // No tool ran on a commit before it was made.
                let made = || repo.and_then(|repo| committed(repo, commit));
                report.ran_at = binding.at.or_else(made).unwrap_or(report.ran_at).min(now);
            }
            report
        });
        Reports { reports: reports.collect() }
    }

    /// Changes whenever a gate might judge the reports otherwise; they age by the day.
    pub fn key(&self, now: Timestamp) -> serde_json::Value {
        if self.reports.is_empty() {
            return serde_json::Value::Null;
        }
        let row = |r: &Imported| serde_json::json!([r.kind.word(), r.file, r.sha256, r.commit, r.target, r.ran_at]);
        let rows: Vec<_> = self.reports.iter().map(row).collect();
        serde_json::json!([now.ms() / 86_400_000, rows])
    }

    pub fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }
}

impl GateContext {
    /// The reports that speak to a gate, newest first. Nothing is left out: stale ones say why they prove nothing.
    pub fn evidence_for(&self, gate: &str) -> Vec<Piece<'_>> {
        let speaks = self.evidence.reports.iter().filter(|r| topic::speaks_to(r, gate));
        speaks.map(|report| Piece { report, standing: standing(report, gate, self) }).collect()
    }
}

fn read(kept: &Kept, service: &str) -> Option<(Imported, Binding)> {
    // Of a later version, or damaged: `evidence verify` tells of the latter.
    let written: Written = serde_json::from_value(kept.content.clone()).ok()?;
    let kind = Kind::of(&written.kind).filter(|_| written.service.is_none_or(|own| own == service))?;
    let report = Imported {
        kind,
        content: written.report,
        file: written.file,
        sha256: written.sha256,
        // It becomes an argument of git's.
        commit: written.binding.commit.clone().filter(|c| c.bytes().all(|b| b.is_ascii_hexdigit())),
        target: written.binding.target.clone(),
        ran_at: written.binding.at.unwrap_or(kept.imported_at),
        reach: Reach::Unbound,
    };
    Some((report, written.binding))
}

/// What differs between a commit and the work tree.
fn compare(repo: Option<&Repo>, commit: &str) -> Reach {
    let foreign = |why: &str| Reach::Foreign(why.to_string());
    let Some((repo, git)) = repo.and_then(|r| Some((r, r.git.as_ref()?))) else {
        return foreign("there is no git repository to compare its commit with");
    };
    let short = &commit[..commit.len().min(7)];
    let prefix = git.below(&repo.root);
    let listed = |args: &[&str]| git.run(args).ok();
    let (Some(changed), Some(new)) = (
        listed(&["diff", "--name-only", "--no-renames", "-z", commit, "--"]),
        listed(&["ls-files", "--others", "--exclude-standard", "-z"]),
    ) else {
        return foreign(&format!("its commit {short} is not in this repository"));
    };
    // What git has never seen is somebody's work, or a report that a tool just wrote.
    let new = new.split('\0').filter(|n| topic::is_work(n));
    let names = changed.split('\0').chain(new).filter_map(|n| n.strip_prefix(prefix.as_str()));
    Reach::Since(names.filter(|n| !n.is_empty()).map(str::to_string).collect())
}

fn committed(repo: &Repo, commit: &str) -> Option<Timestamp> {
    let seconds = repo.git.as_ref()?.run(&["show", "-s", "--format=%ct", commit, "--"]).ok()?;
    seconds.trim().parse::<i64>().ok().map(|s| Timestamp::from_ms(s.saturating_mul(1000)))
}

fn standing(report: &Imported, gate: &str, ctx: &GateContext) -> Standing {
    let age = ctx.clock.now().since(report.ran_at);
    let limit = age_max(gate, &ctx.config);
    let runtime = topic::is_runtime(gate);
    // It names the commits that it is about.
    if matches!(report.content, Content::Reviews(_)) {
        let old = format!("it is {} old, older than {}", prose(age), prose(limit));
        return if age > limit { Standing::Stale(old) } else { Standing::Bound };
    }
    if let Some(why) = elsewhere(report, ctx).filter(|_| runtime) {
        return Standing::Stale(why);
    }
    match &report.reach {
        Reach::Foreign(why) => return Standing::Stale(why.clone()),
        Reach::Since(changed) => {
            let inputs: Vec<&String> = changed.iter().filter(|path| topic::matters(gate, path)).collect();
            if let Some(first) = inputs.first() {
                let more = inputs.len() - 1;
                let rest = if more > 0 { format!(" and {}", count(more, "other file")) } else { String::new() };
                let short = report.commit.as_deref().map_or("", |c| &c[..c.len().min(7)]);
                return Standing::Stale(format!("it is about commit {short}, and {first}{rest} changed since"));
            }
        }
        Reach::Unbound => {}
    }
    if age > limit {
        return Standing::Stale(format!("it is {} old, older than {}", prose(age), prose(limit)));
    }
    if report.reach == Reach::Unbound {
        return Standing::Unbound("nothing binds it to a commit (--commit SHA, or FILE.hc.json)".into());
    }
    if runtime && report.target.is_none() && topic::hosts(&report.content).is_empty() {
        return Standing::Unbound("it names no host (--target NAME)".into());
    }
    Standing::Bound
}

/// Why a report is about another system than the one that is checked.
fn elsewhere(report: &Imported, ctx: &GateContext) -> Option<String> {
    let targets = &ctx.guard.targets;
    let known = |test: &dyn Fn(&Target) -> bool| targets.iter().chain(&ctx.target).find(|t| test(t)).cloned();
    let named = match &report.target {
        None => None,
        Some(name) => match known(&|t| t.name == *name) {
            Some(target) => Some(target),
            None => return Some(format!("it is about target {name}, which is not configured")),
        },
    };
    let hosts = topic::hosts(&report.content);
    let host_of = |url: &Url| url.host_str().map(str::to_string);
    if named.is_none() && (hosts.is_empty() || (targets.is_empty() && ctx.target.is_none())) {
        return None;
    }
    let mut about = Vec::from_iter(named);
    for host in &hosts {
        match known(&|t| host_of(&t.url).as_ref() == Some(host)) {
            Some(target) => about.push(target),
            None => return Some(format!("it is about {host}, which is no target")),
        }
    }
    let live = about.iter().find(|t| t.is_production() && !topic::may_be_live(report));
    live.map(|t| format!("it is about {}, and staging is what counts", t.name))
}

/// How long evidence holds (gates.md 0.9).
fn age_max(gate: &str, config: &Config) -> Duration {
    const DAY: u64 = 86_400;
    match gate {
        "code.coverage" => config.code.coverage.max_age.get(),
        "delivery.staging" => config.delivery.staging.max_age.get(),
        "infrastructure.backup_restore" => Duration::from_secs(30 * DAY),
        "performance.load" | "performance.concurrency" => Duration::from_secs(14 * DAY),
        _ if gate.starts_with("security.") => Duration::from_secs(DAY),
        _ => Duration::from_secs(30 * DAY),
    }
}
