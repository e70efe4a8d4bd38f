//! The engine of `monitoring.alert_errors`, `alert_cpu`, `alert_memory` and `alert_backlog`: is there a rule that would
//! fire, and would it stay silent while all is well?
//!
//! `read.rs` collects the rules; `roles.rs` says what each metric stands for, and so which rules serve which family;
//! `world.rs` makes series that fit a rule, `simulate.rs` lets it run on them, `grade.rs` tries it at every level;
//! `route.rs` follows Alertmanager's routes, `live.rs` asks a Prometheus server. The best rule of a family counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::units::{Span, count};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::context::Repo;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, GateContext, patterns, suppression};
use crate::net::safety::Intent;

mod elsewhere;
mod grade;
mod grafana;
mod live;
mod missing;
mod read;
mod roles;
pub mod route;
mod simulate;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth;
mod untemplate;
mod world;

use grade::{Grade, Standing};
use live::{Live, Trouble};
use read::{Found, Rule};
use simulate::Subject;

/// `[gates.monitoring.alerts]`, for all four gates.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Base URL of the Prometheus server whose rules are in force; its host must be loopback or a declared target.
    /// Default: the one of `[gates.monitoring.metrics]`.
    pub prometheus: Option<Url>,
    /// From the first bad minute to the alert.
    pub max_detection: Span,
    /// Rule files to leave out, as gitignore patterns.
    pub exclude: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config { prometheus: None, max_detection: Span::secs(15 * 60), exclude: Vec::new() }
    }
}

impl Config {
    /// Problems by path below `gates.monitoring.alerts`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(60..=3600).contains(&self.max_detection.get().as_secs()) {
            problems.push(Problem::at(["max_detection"], "must lie between 1m and 1h"));
        }
        problems.extend(patterns::problems("exclude", &self.exclude));
        problems
    }
}

/// What the four gates look at.
pub const READS: &str = "Prometheus rule files, PrometheusRule and ConfigMap manifests, Helm values and templates, Grafana's alert \
     provisioning, Alertmanager's routes, CloudWatch and Datadog in Terraform; the live rules of the Prometheus \
     server named in the settings";

/// What an alert is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Errors,
    Cpu,
    Memory,
    Backlog,
}

impl Family {
    /// In a sentence: "no alert watches …".
    fn words(self) -> &'static str {
        match self {
            Family::Errors => "the share of 5xx answers",
            Family::Cpu => "CPU use",
            Family::Memory => "memory use",
            Family::Backlog => "a growing queue",
        }
    }
}

/// Trying rules takes milliseconds each; whoever has thousands of one family gets an answer nevertheless.
const TIME_MAX: Duration = Duration::from_secs(40);
/// Of the rules that are not the best, so many are listed.
const OTHERS_MAX: usize = 15;

/// A rule of the family, tried.
struct Tried<'a> {
    rule: &'a Rule,
    grade: Grade,
    /// `None`: no server was asked.
    troubles: Option<Vec<Trouble>>,
}

impl Tried<'_> {
    fn is_dead(&self) -> bool {
        self.troubles.iter().flatten().any(|t| t.dead)
    }
    /// The best first; of equals one on what everybody measures.
    fn rank(&self) -> (Standing, bool) {
        let usual = ["node_", "container_", "http_", "process_"].iter().any(|p| self.rule.text.contains(p));
        (if self.is_dead() { Standing::Bad } else { self.grade.standing }, usual)
    }
}

/// What the four gates do.
pub async fn check(ctx: &GateContext, about: &'static About, family: Family) -> Outcome {
    let config = &ctx.config.monitoring.alerts;
    let server = config.prometheus.as_ref().or(ctx.config.monitoring.metrics.prometheus.as_ref());
    let repo = match (ctx.need_repo(), server) {
        (Ok(repo), _) => Some(repo.clone()),
        (Err(_), Some(_)) => None,
        (Err(outcome), None) => return *outcome,
    };
    let written = match &repo {
        Some(repo) => {
            let (repo, exclude) = (repo.clone(), config.exclude.clone());
            match tokio::task::spawn_blocking(move || written(&repo, &exclude)).await {
                Ok(found) => found,
                Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                Err(_) => return Outcome::error("stopped", "the run was stopped before the gate had ended"),
            }
        }
        None => Arc::new(Found::default()),
    };
    let prober = ctx.prober(about.id, Intent::Passive);
    let live = match server {
        Some(server) => match Live::open(&prober, server).await {
            Ok(live) => Some(live),
            Err(outcome) => return *outcome,
        },
        None => None,
    };
    let found = live.as_ref().map_or(&*written, |l| &l.found);
    let (tried, known) = match try_all(found, family, config, live.as_ref(), ctx).await {
        Ok(tried) => tried,
        Err(outcome) => return *outcome,
    };
    if tried.is_empty() {
        return missing::outcome(ctx, family, &written, live.is_some());
    }
    conclude(family, tried, known, &written, &|findings: &mut [Finding]| {
        if let Some(repo) = &repo {
            suppression::mark(repo, about.id, findings);
        }
    })
}

/// Two products with one alert each: what is right or wrong about it, and its expression.
pub fn proof(good: (&'static str, &str), bad: (&'static str, &str)) -> Proof {
    let shop = |(what, expr): (&'static str, &str)| {
        let rules = format!("groups:\n- name: shop\n  rules:\n  - alert: Proof\n    expr: {expr}\n    for: 5m\n");
        Fixture::of(what).file("rules.yml", rules)
    };
    Proof { good: shop(good), bad: shop(bad) }
}

/// The rules of the repository, read once for the four gates.
fn written(repo: &Repo, exclude: &[String]) -> Arc<Found> {
    repo.once(exclude, || {
        let excluded = patterns::matcher(repo.root(), exclude);
        read::look(&repo.only(|f| !patterns::covers(excluded.as_ref(), &f.path)))
    })
}

/// The family's rules, best first, and how many there are.
async fn try_all<'a>(
    found: &'a Found,
    family: Family,
    config: &Config,
    live: Option<&Live<'_>>,
    ctx: &GateContext,
) -> Result<(Vec<Tried<'a>>, usize), Box<Outcome>> {
    let subjects: Vec<Subject<'_>> = found.alerts.iter().filter_map(|r| Subject::new(r, &found.records)).collect();
    let subjects: Vec<Subject<'_>> = subjects.into_iter().filter(|s| grade::serves(s, family)).collect();
    let known = subjects.len();
    let (begun, mut tried) = (Instant::now(), Vec::new());
    for subject in &subjects {
        if begun.elapsed() > TIME_MAX {
            break;
        }
        let grade = grade::grade(subject, family, config).await;
        let troubles = match live {
            Some(live) if grade.standing > Standing::Bad => {
                Some(live.troubles(subject.rule, &subject.selectors, ctx.clock.now()).await?)
            }
            Some(_) => Some(Vec::new()),
            None => None,
        };
        tried.push(Tried { rule: subject.rule, grade, troubles });
        // Others use the same thread.
        tokio::task::yield_now().await;
    }
    tried.sort_by_key(|t| std::cmp::Reverse(t.rank()));
    Ok((tried, known))
}

/// `mark`: marks what somebody allowed where it stands.
fn conclude(
    family: Family,
    tried: Vec<Tried<'_>>,
    known: usize,
    written: &Found,
    mark: &dyn Fn(&mut [Finding]),
) -> Outcome {
    let place = |rule: &Rule| place(rule, written);
    let best = &tried[0];
    let name = &best.rule.name;
    let mut findings = Vec::new();
    for (nth, one) in tried.iter().enumerate() {
        let severity = match (nth, one.rank().0) {
            // All of them are bad: each is a reason.
            (_, Standing::Bad) if best.rank().0 == Standing::Bad => Severity::High,
            (0, _) => Severity::Medium,
            _ => Severity::Info,
        };
        if severity != Severity::Info || nth <= OTHERS_MAX {
            findings.extend(said(one, severity, &place));
        }
    }
    mark(&mut findings);
    // The best rule's findings stand first.
    let own = said(best, Severity::Medium, &place).len();
    let allowed = own > 0 && findings.iter().take(own).all(|f| f.suppressed.is_some());
    let mut standing = match (best.rank().0, allowed) {
        (standing, false) => standing,
        // Somebody answers for a rule that is no good; that does not make it good.
        (Standing::Bad, true) => Standing::Weak,
        (_, true) => Standing::Good,
    };
    if let Some(finding) = (family == Family::Errors).then(|| unrouted(best.rule, written, &place)).flatten() {
        let mut routed = [finding];
        mark(&mut routed);
        if routed[0].suppressed.is_none() {
            standing = standing.min(Standing::Weak);
        }
        findings.splice(0..0, routed);
    }
    let troubled = best.troubles.as_ref().map(|t| !t.is_empty());
    let others = if tried.len() > 1 { format!(" ({})", count(tried.len(), "rule")) } else { String::new() };
    let open = || findings.iter().find(|f| f.severity > Severity::Info && f.suppressed.is_none());
    let first = open().filter(|f| !allowed || f.rule == "unrouted");
    let reason = match first {
        Some(first) => Some(first.message.clone()),
        None if allowed => Some(format!("\"{name}\" is no good, and allowed where it stands")),
        None => findings.first().map(|f| f.message.clone()),
    };
    let hint = first.map(|f| f.fix.clone()).filter(|f| !f.is_empty());
    let outcome = match (standing, troubled) {
        (Standing::Bad, _) => Outcome::fail(format!("{}{others}", reason.unwrap_or_default())).tier(Tier::E2),
        (Standing::Good, Some(false)) => {
            Outcome::pass(format!("\"{name}\" {}{others}", best.grade.measured)).tier(Tier::E3)
        }
        (Standing::Good, None) => {
            let proved = format!(
                "\"{name}\" {} on made-up series{others}; nobody was asked whether it is loaded",
                best.grade.measured
            );
            Outcome::warn(proved)
                .tier(Tier::E2)
                .hint("set prometheus in [gates.monitoring.alerts] to the server that evaluates the rules")
        }
        _ => Outcome::warn(format!("{}{others}", reason.unwrap_or_default())).tier(Tier::E2),
    };
    let outcome = match hint {
        Some(hint) => outcome.hint(hint),
        None => outcome,
    };
    let rows: Vec<_> = tried.iter().take(50).map(|t| row(t, &place)).collect();
    let test = best.grade.test.as_ref().map(|(rules, test)| json!({"rules.yml": rules, "test.yml": test}));
    outcome
        .covered(tried.len() as u64, known as u64)
        .findings(findings)
        .evidence("alerts", json!({"rules": rows, "promtool": test}))
}

fn row(tried: &Tried<'_>, place: &dyn Fn(&Rule) -> (String, u32)) -> serde_json::Value {
    let (file, line) = place(tried.rule);
    let live = tried.troubles.as_ref().map(|t| t.iter().map(|t| t.message.clone()).collect::<Vec<_>>());
    json!({"alert": tried.rule.name, "expr": tried.rule.text, "for_s": tried.rule.wait.as_secs(),
        "at": format!("{file}:{line}"), "grade": tried.grade.json(), "live": live})
}

/// Where a rule is written; one that only the server knows has no line.
fn place(rule: &Rule, written: &Found) -> (String, u32) {
    let home = written.alerts.iter().find(|r| rule.line == 0 && r.name == rule.name);
    home.map_or((rule.file.clone(), rule.line), |r| (r.file.clone(), r.line))
}

fn said(one: &Tried<'_>, severity: Severity, place: &dyn Fn(&Rule) -> (String, u32)) -> Vec<Finding> {
    let name = &one.rule.name;
    let (file, line) = place(one.rule);
    let make = |rule: &'static str, message: &str, fix: &str| {
        let finding =
            Finding::new(rule, severity, format!("\"{name}\" {message}")).fix(fix).identified_by(&[rule, &file, name]);
        if line > 0 { finding.at(&file, line, 1) } else { finding.route(format!("{file} {name}")) }
    };
    let reasons = one.grade.reasons.iter().map(|r| make(r.rule, &r.message, &r.fix));
    let troubles = one.troubles.iter().flatten().map(|t| make(t.rule, &t.message, "mend the rule on the server"));
    // What is dead is said first, then what is worst.
    troubles.chain(reasons).collect()
}

/// A rule nobody hears of: its labels end at a receiver that reaches nobody.
fn unrouted(rule: &Rule, written: &Found, place: &dyn Fn(&Rule) -> (String, u32)) -> Option<Finding> {
    let labels = simulate::fixed_labels(rule);
    let (file, line) = place(rule);
    let severity = labels.get("severity").map_or("no severity".to_string(), |s| format!("severity=\"{s}\""));
    // Of several configurations one that pages is enough: the others may be for other places.
    let mut why = None;
    for manager in &written.alertmanagers {
        let receivers = route::receivers(&manager.value, &labels);
        let reached = receivers.iter().any(|r| route::is_null(&manager.value, r) == Some(false));
        if let Some(by) = route::muted_by(&manager.value, &labels) {
            why.get_or_insert((format!("{severity} is kept down by {by} in {}", manager.file), manager));
        } else if reached {
            return None;
        } else {
            let names = receivers.join(", ");
            why.get_or_insert((
                format!("{severity} falls through to receiver \"{names}\" in {}", manager.file),
                manager,
            ));
        }
    }
    let (message, manager) = why?;
    let finding = Finding::new("unrouted", Severity::Medium, format!("\"{}\": {message}", rule.name))
        .fix(format!("add a route in {} to a receiver that reaches somebody", manager.file))
        .identified_by(&["unrouted", &file, &rule.name]);
    Some(if line > 0 { finding.at(&file, line, 1) } else { finding })
}
