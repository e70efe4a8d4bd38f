//! Gate `infrastructure.restart_health`: does everything that serves come back by itself, and can somebody see that it
//! is well?
//!
//! Reads how the product runs (`gates/manifests`) and judges each workload by the rules of whatever runs it: pods
//! (`pods.rs`), images and compose services (`containers.rs`), processes on a host and platforms (`processes.rs`). A file
//! only declares; a host without an orchestrator passes after a rehearsal. To fix a failure: the finding's own words.

mod containers;
mod pods;
mod processes;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::Repo;
use crate::gates::delivery::packages;
use crate::gates::forge::origin::Origin;
use crate::gates::manifests::{self, Manifests, Place, Purpose, Unread, platform::Care};
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::suppression;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.infrastructure.restart_health]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Descriptions to leave out, as gitignore patterns relative to the repository. Default: empty; examples, tests and
    /// files for a developer's machine never count.
    pub exclude: Vec<String>,
    /// What runs the images is described in another repository: an image without a health check warns instead of
    /// failing. Default: false.
    pub deployed_elsewhere: bool,
}

impl Config {
    /// Problems by path below `gates.infrastructure.restart_health`.
    pub fn validate(&self) -> Vec<Problem> {
        patterns::problems("exclude", &self.exclude)
    }
}

pub struct RestartHealth;

pub static ABOUT: About = About {
    id: "infrastructure.restart_health",
    section: Section::Infrastructure,
    class: Class::B,
    line: "auto-restart and healthcheck ready (PM2, Docker, k8s readiness)",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[Profile::StaticSite],
    reads: "Dockerfiles, compose files, Kubernetes manifests (Helm charts when helm can render them), PM2 ecosystem files, \
            systemd units, supervisor programs and platform files; examples, tests and files for a developer's machine \
            are left out",
    decides: "fails on a workload without a restart policy or a health check, on a probe that cannot work, and on a \
              liveness probe equal to the readiness probe; warns on a missing liveness or startup probe, budget, second \
              replica or memory limit, and on a host without an orchestrator as long as nobody rehearsed; passes when \
              every workload restarts and is checked; functions on a managed platform are skipped",
    fix: "compose: restart: unless-stopped and a healthcheck; Kubernetes: a readinessProbe, and a livenessProbe that \
          tests no dependency; PM2: autorestart; systemd: Restart=on-failure and RestartSec",
};

impl Gate for RestartHealth {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, rest: &str| {
            Fixture::of(what).file(
                "compose.yaml",
                format!("services:\n  shop:\n    image: registry.example/shop:1.0.0\n    ports: [\"80:3000\"]\n{rest}"),
            )
        };
        let cared = "    restart: unless-stopped\n    healthcheck:\n      test: [\"CMD\", \"wget\", \"-qO-\", \"http://127.0.0.1:3000/health\"]\n      \
                     interval: 10s\n      timeout: 3s\n      retries: 3\n";
        Some(Proof {
            good: shop("the service restarts and is asked for its health", cared),
            bad: shop("nothing restarts the service", ""),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let serves = ctx.facts.any("framework");
            let facts = ctx.facts.clone();
            let own = ctx.in_repo(move |repo, config| {
                let seen = look(repo, &config.infrastructure.restart_health, serves);
                judge(&Seen { published: packages::published(repo, &facts), ..seen })
            });
            ctx.with_imports(&ABOUT, own.await)
        })
    }
}

/// One workload in the evidence's table.
#[derive(Debug, Clone, Serialize)]
struct Row {
    place: Place,
    /// `compose service web`.
    what: String,
    restart: String,
    health: String,
    /// Something restarts it and moves it elsewhere; on a bare host nobody knows before a rehearsal.
    orchestrated: bool,
    /// Why no rule applies: a job, a function.
    exempt: Option<String>,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    rows: Vec<Row>,
    fails: Vec<Finding>,
    warns: Vec<Finding>,
    notes: Vec<Finding>,
    unread: Vec<Unread>,
    left_out: Vec<(String, Purpose)>,
    /// Names of managed platforms with the files that show them.
    managed: Vec<String>,
    /// A rehearsal (kill, healthy again in time) of this release has been seen. The rehearsal itself is not built yet.
    rehearsed: bool,
    /// The proof that nothing of it runs on a server.
    published: Option<String>,
}

impl Seen {
    /// A finding of `rule` about `what`; its message begins with it.
    fn finding(rule: &str, severity: Severity, place: &Place, what: &str, problem: &str) -> Finding {
        Finding::new(rule, severity, format!("{what}: {problem}"))
            .at(&place.file, place.line, 1)
            .route(what)
            .identified_by(&[rule, &place.file, what])
    }
    fn fail(&mut self, rule: &str, place: &Place, what: &str, problem: &str, fix: impl Into<String>) -> &mut Finding {
        self.fails.push(Self::finding(rule, Severity::High, place, what, problem).fix(fix));
        let last = self.fails.len() - 1;
        &mut self.fails[last]
    }
    fn warn(&mut self, rule: &str, place: &Place, what: &str, problem: &str, fix: impl Into<String>) -> &mut Finding {
        self.warns.push(Self::finding(rule, Severity::Medium, place, what, problem).fix(fix));
        let last = self.warns.len() - 1;
        &mut self.warns[last]
    }
    fn note(&mut self, rule: &str, place: &Place, what: &str, problem: &str, fix: impl Into<String>) {
        self.notes.push(Self::finding(rule, Severity::Info, place, what, problem).fix(fix));
    }
}

fn look(repo: &Repo, config: &Config, serves: bool) -> Seen {
    let all = manifests::look(repo, &config.exclude);
    let mut seen = Seen { unread: all.unread.clone(), left_out: all.left_out.clone(), ..Seen::default() };
    pods::judge(&all.cluster, &mut seen);
    containers::compose(&all, own_name(repo).as_deref(), &mut seen);
    processes::judge(repo, &all, &mut seen);
    seen.managed = managed(&all);
    // What cannot be read may run the images: then nothing is known about them.
    if !all.runs_something() && seen.unread.is_empty() {
        containers::images(&all, config.deployed_elsewhere, serves, &mut seen);
    }
    for list in [&mut seen.fails, &mut seen.warns, &mut seen.notes] {
        same_once(list);
        suppression::mark(repo, ABOUT.id, list);
    }
    seen
}

/// What the repository is called where it comes from, as its image most likely is.
fn own_name(repo: &Repo) -> Option<String> {
    let remote = repo.git.as_ref()?.run(&["config", "--get", "remote.origin.url"]).ok()?;
    let path = Origin::parse(&remote)?.path;
    path.rsplit('/').next().map(str::to_ascii_lowercase)
}

fn managed(all: &Manifests) -> Vec<String> {
    let platforms =
        all.platforms.iter().filter(|p| p.care == Care::Managed).map(|p| format!("{} ({})", p.name, p.place));
    platforms.chain(all.cluster.managed.iter().map(|p| format!("Knative ({p})"))).collect()
}

/// A base, its overlays and a rendered release say the same thing: said once, with the count of the other files.
fn same_once(findings: &mut Vec<Finding>) {
    let mut files: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let key = |f: &Finding| (f.rule.clone(), f.message.clone());
    for finding in findings.iter() {
        files.entry(key(finding)).or_default().extend(finding.file.clone());
    }
    let mut told = std::collections::BTreeSet::new();
    findings.retain(|f| told.insert(key(f)));
    for finding in findings.iter_mut() {
        let mut others = files.remove(&key(finding)).unwrap_or_default();
        others.sort();
        others.dedup();
        if others.len() > 1 {
            finding.message = format!("{} (also in {})", finding.message, count(others.len() - 1, "other file"));
        }
    }
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen) -> Outcome {
    let judged: Vec<&Row> = seen.rows.iter().filter(|r| r.exempt.is_none()).collect();
    let open = |list: &[Finding]| list.iter().filter(|f| f.suppressed.is_none()).cloned().collect::<Vec<_>>();
    let (fails, warns) = (open(&seen.fails), open(&seen.warns));
    let more = |list: &[Finding]| if list.len() > 1 { format!(" and {} more", list.len() - 1) } else { String::new() };
    let kinds = judged.len();
    let outcome = if let Some(first) = fails.first() {
        Outcome::fail(format!("{}{}", first.message, more(&fails))).hint(hint(first))
    } else if let Some(first) = seen.unread.first() {
        cannot_read(seen, first)
    } else if judged.is_empty() {
        return nothing(seen).findings(seen.notes.clone()).evidence("restart-health", evidence(seen));
    } else if let Some(first) = warns.first() {
        Outcome::warn(format!("{}{}", first.message, more(&warns))).hint(hint(first))
    } else if let Some(row) = judged.iter().find(|r| !r.orchestrated && !seen.rehearsed) {
        Outcome::warn(format!("{} restarting and checked as declared, not rehearsed", count(kinds, "workload")))
            .hint(format!("kill {} on staging and see it healthy again within 30 s ({})", row.what, row.place))
    } else {
        Outcome::pass(format!("{} restart by themselves and are checked", count(kinds, "workload")))
    };
    let findings = [&seen.fails, &seen.warns, &seen.notes].into_iter().flatten().cloned().collect();
    outcome
        .value(fails.len(), 0)
        .tier(if seen.rehearsed { Tier::E3 } else { Tier::E1 })
        .covered(kinds as u64, (kinds + seen.unread.len()) as u64)
        .findings(findings)
        .evidence("restart-health", evidence(seen))
}

fn hint(finding: &Finding) -> String {
    let place = format!("{}:{}", finding.file.as_deref().unwrap_or_default(), finding.line.unwrap_or(1));
    format!("{}: {} ({place})", finding.route.as_deref().unwrap_or_default(), finding.fix)
}

fn cannot_read(seen: &Seen, first: &Unread) -> Outcome {
    let others = seen.unread.len() - 1;
    let more = if others > 0 { format!(" and {} more", count(others, "file")) } else { String::new() };
    if first.template {
        return Outcome::error("not-rendered", format!("{}: {}{more}", first.place, first.why)).hint(
            "install helm and run again, or commit what is applied (helm template CHART > k8s/rendered.yaml), or leave \
             it out with exclude",
        );
    }
    Outcome::error("unreadable", format!("{}: {}{more}", first.place, first.why))
        .hint("mend the file, or leave it out with exclude")
}

/// No workload to judge: managed for us, or not described at all.
fn nothing(seen: &Seen) -> Outcome {
    if !seen.managed.is_empty() {
        return Outcome::skip("managed", format!("runs on {}, which restarts by itself", seen.managed.join(", ")));
    }
    if let Some(row) = seen.rows.first() {
        let why = row.exempt.as_deref().unwrap_or_default();
        return Outcome::error(
            "nothing-to-inspect",
            format!("only {} ({}): nothing that keeps running", row.what, why),
        )
        .hint("commit the description of what serves requests");
    }
    let left_out = match seen.left_out.as_slice() {
        [] => String::new(),
        [(path, purpose), rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("; left out: {path} ({}){more}", purpose.word())
        }
    };
    if let Some(proof) = &seen.published {
        return Outcome::skip("not-deployed", proof.clone());
    }
    Outcome::error("no-runtime", format!("nothing says how the product runs{left_out}")).hint(
        "commit what runs it: compose file, Kubernetes manifests, PM2 ecosystem, systemd unit, Procfile or platform file",
    )
}

/// Rows of the table in the evidence.
const EVIDENCE_ROWS_MAX: usize = 500;

fn evidence(seen: &Seen) -> serde_json::Value {
    serde_json::json!({
        "workloads": seen.rows.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "unread": seen.unread.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "left_out": seen.left_out.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "managed": seen.managed,
        "rehearsed": seen.rehearsed,
    })
}

#[cfg(test)]
mod tests;
