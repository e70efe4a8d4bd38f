//! Gate `infrastructure.autoscaling`: does what serves requests on Kubernetes (or in a cloud's machine groups) grow with
//! them?
//!
//! An autoscaler that names nothing, looks at a share of requests nobody set, or fights a fixed `replicas` never scales.
//! Objects come from `gates/manifests`, rules are in `rules.rs`; sessions in memory make every second replica a logout.
//! Manifests only declare: that replicas rose under load is for the load test to show. To fix: the finding's own words.

mod rules;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::code::sessions::{self, LocalSessions};
use crate::gates::context::Repo;
use crate::gates::manifests::{self, Manifests, Place, Unread};
use crate::gates::patterns;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::suppression;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.infrastructure.autoscaling]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Workloads that must run once: single writers, schedulers. Names as in the manifests. Default: empty; databases,
    /// leader-elected workloads and those with a disk of their own are known.
    pub singletons: Vec<String>,
    /// Lowest and highest share of the request, in percent, that an autoscaler may aim at. Default: 50 and 80.
    pub target_percent: [u32; 2],
    /// Descriptions to leave out, as gitignore patterns relative to the repository. Default: empty.
    pub exclude: Vec<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config { singletons: Vec::new(), target_percent: [50, 80], exclude: Vec::new() }
    }
}

impl Config {
    /// Problems by path below `gates.infrastructure.autoscaling`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut out = patterns::problems("exclude", &self.exclude);
        let [low, high] = self.target_percent;
        if low == 0 || low > high {
            out.push(Problem::at(
                ["target_percent"],
                format!("[{low}, {high}] is no range; write for example [50, 80]"),
            ));
        }
        out
    }
}

pub struct Autoscaling;

pub static ABOUT: About = About {
    id: "infrastructure.autoscaling",
    section: Section::Infrastructure,
    class: Class::B,
    line: "horizontal scaling/pod autoscaling if using k8s",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[Profile::StaticSite],
    reads: "HorizontalPodAutoscaler (v1 to v2), KEDA ScaledObject, workloads and their Services, requests, budgets and \
            spread, VerticalPodAutoscaler, Terraform and CloudFormation scaling groups, PM2 cluster mode, and where the \
            code keeps sessions",
    decides: "fails on an autoscaler without its target, on a CPU or memory target without requests, on replicas fixed \
              beside an autoscaler, on a vertical autoscaler for the same resource, on one replica without any \
              autoscaler, and on sessions in memory with more than one replica; warns below two replicas, outside 50 to \
              80 %, on a short scale-down window, and without spread; databases, single writers, jobs and daemons are \
              exempt; without Kubernetes and scaling groups it is skipped",
    fix: "an autoscaler/v2 with minReplicas 2 or more at 50 to 80 %, resources.requests on every container, and no \
          replicas in the Deployment; sessions in Redis",
};

impl Gate for Autoscaling {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, target: &str| {
            let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: shop }\nspec:\n  selector: { matchLabels: { app: shop } }\n  \
                              template:\n    metadata: { labels: { app: shop } }\n    spec:\n      containers:\n        - name: shop\n          \
                              image: registry.example/shop:1.0.0\n          resources: { requests: { cpu: 250m, memory: 128Mi } }\n";
            let service = "apiVersion: v1\nkind: Service\nmetadata: { name: shop }\nspec:\n  selector: { app: shop }\n  ports: [{ port: 80 }]\n";
            let scaler = format!(
                "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{ name: shop }}\nspec:\n  scaleTargetRef: {{ apiVersion: \
                 apps/v1, kind: Deployment, name: {target} }}\n  minReplicas: 3\n  maxReplicas: 10\n  metrics:\n    - type: Resource\n      \
                 resource: {{ name: cpu, target: {{ type: Utilization, averageUtilization: 70 }} }}\n"
            );
            Fixture::of(what).file("k8s/shop.yaml", [deployment, service, &scaler].join("---\n"))
        };
        Some(Proof {
            good: shop("three replicas and more, by need", "shop"),
            bad: shop("the autoscaler names a deployment that does not exist", "store"),
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = ctx.in_repo(|repo, config| judge(&look(repo, &config.infrastructure.autoscaling)));
            ctx.with_imports(&ABOUT, own.await)
        })
    }
}

/// One workload and its autoscaler, for the evidence's table.
#[derive(Debug, Clone, Serialize)]
struct Row {
    place: Place,
    what: String,
    /// Fixed number, where the manifest has one.
    replicas: Option<i64>,
    /// `HPA shop, 2 to 9`; empty when nothing scales it.
    scaled_by: String,
    /// Why nothing has to scale it.
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
    sessions: Vec<LocalSessions>,
    /// Kubernetes kinds and scaling groups that were found at all.
    kinds: BTreeSet<String>,
    looked_into: usize,
    /// What scales without Kubernetes, for the proof of a skip.
    elsewhere: Vec<String>,
    /// Did replicas rise and fall during the load test? Nobody watches that yet.
    observed: Option<bool>,
}

impl Seen {
    fn finding(rule: &str, severity: Severity, place: &Place, what: &str, problem: &str, fix: &str) -> Finding {
        Finding::new(rule, severity, format!("{what} {problem}"))
            .at(&place.file, place.line, 1)
            .route(what)
            .fix(fix)
            .identified_by(&[rule, &place.file, what])
    }
    fn fail(&mut self, rule: &str, place: &Place, what: &str, problem: &str, fix: &str) {
        self.fails.push(Self::finding(rule, Severity::High, place, what, problem, fix));
    }
    fn warn(&mut self, rule: &str, place: &Place, what: &str, problem: &str, fix: &str) {
        self.warns.push(Self::finding(rule, Severity::Medium, place, what, problem, fix));
    }
    fn note(&mut self, rule: &str, place: &Place, what: &str, problem: &str, fix: &str) {
        self.notes.push(Self::finding(rule, Severity::Info, place, what, problem, fix));
    }
}

fn look(repo: &Repo, config: &Config) -> Seen {
    let all = manifests::look(repo, &config.exclude);
    let mut seen = Seen { looked_into: all.looked_into, ..Seen::default() };
    // A broken compose file says nothing about a cluster.
    seen.unread = all.unread.iter().filter(|u| is_cluster_file(repo, u)).cloned().collect();
    seen.kinds = all.cluster.workloads.iter().map(|w| w.kind.clone()).collect();
    seen.kinds.extend(all.cluster.autoscalers.iter().map(|a| rules::kind_of(a).to_string()));
    seen.kinds.extend(all.scaling_groups.iter().map(|g| g.kind.clone()));
    rules::workloads(&all.cluster, config, &mut seen);
    rules::autoscalers(&all.cluster, config, &mut seen);
    rules::groups(&all.scaling_groups, &mut seen);
    if let Some((what, n)) = runs_several(&all) {
        seen.sessions = sessions::look(repo);
        sessions_kept(&all, &what, n, &mut seen);
    }
    seen.elsewhere = elsewhere(&all);
    for list in [&mut seen.fails, &mut seen.warns, &mut seen.notes] {
        let mut told = BTreeSet::new();
        list.retain(|f| told.insert((f.rule.clone(), f.message.clone())));
        suppression::mark(repo, ABOUT.id, list);
    }
    seen
}

/// Kubernetes or CloudFormation, by its text.
fn is_cluster_file(repo: &Repo, unread: &Unread) -> bool {
    if unread.template {
        return true;
    }
    let text = repo.read_text(&unread.place.file, 64 * 1024).unwrap_or_default();
    manifests::kubernetes::looks_like(&text) || manifests::scaling_group::looks_like_cloudformation(&text)
}

/// Something that runs in more than one process, and in how many.
fn runs_several(all: &Manifests) -> Option<(String, i64)> {
    let cluster = &all.cluster;
    let many = cluster.workloads.iter().enumerate().find_map(|(i, w)| {
        let most = cluster.autoscaler_of(i).map_or(w.replicas.map_or(1, |(n, _)| n), |a| a.max.map_or(2, |(n, _)| n));
        (w.is_scalable() && most > 1 && cluster.service_of(i).is_some() && !rules::is_backing(w))
            .then(|| (w.title(), most))
    });
    let services = all.compose.iter().flat_map(|f| &f.services);
    let compose = services
        .filter(|s| !s.is_supporting())
        .find_map(|s| Some((format!("compose service {}", s.name), s.replicas.filter(|(n, _)| *n > 1)?.0)));
    let pm2 = all.pm2.iter().find(|a| a.is_cluster()).map(|a| (format!("PM2 app {}", a.name), 2));
    many.or(compose).or(pm2)
}

/// Sessions in one process are lost to its twins.
fn sessions_kept(all: &Manifests, what: &str, n: i64, seen: &mut Seen) {
    let Some(first) = seen.sessions.first().cloned() else { return };
    let place = Place { file: first.file.clone(), line: first.line };
    let problem = format!("keeps sessions in one process ({}) while {what} runs {n} or more", first.by);
    // With several workloads it is not known whose code this is.
    let sure = all.cluster.workloads.iter().filter(|w| w.is_scalable() && !rules::is_backing(w)).count() <= 1;
    let (file, fix) = (first.file.clone(), "keep sessions in Redis or another shared store, or in signed cookies");
    if sure {
        seen.fail("local-sessions", &place, &file, &problem, fix)
    } else {
        seen.warn("local-sessions", &place, &file, &problem, fix)
    }
}

fn elsewhere(all: &Manifests) -> Vec<String> {
    let pm2 = all.pm2.iter().filter(|a| a.is_cluster()).map(|a| format!("PM2 cluster {} ({})", a.name, a.place));
    let platforms = all.platforms.iter().map(|p| format!("{} ({})", p.name, p.place));
    let compose = all.compose.iter().map(|f| f.file.clone());
    pm2.chain(platforms).chain(compose).take(5).collect()
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen) -> Outcome {
    let open = |list: &[Finding]| list.iter().filter(|f| f.suppressed.is_none()).cloned().collect::<Vec<_>>();
    let (fails, warns) = (open(&seen.fails), open(&seen.warns));
    let more = |list: &[Finding]| if list.len() > 1 { format!(" and {} more", list.len() - 1) } else { String::new() };
    let judged = seen.rows.iter().filter(|r| r.exempt.is_none()).count();
    let outcome = if let Some(first) = fails.first() {
        Outcome::fail(format!("{}{}", first.message, more(&fails))).hint(hint(first))
    } else if let Some(first) = seen.unread.first() {
        let reason = if first.template { "not-rendered" } else { "unreadable" };
        let others = seen.unread.len() - 1;
        let rest = if others > 0 { format!(" and {} more", count(others, "file")) } else { String::new() };
        Outcome::error(reason, format!("{}: {}{rest}", first.place, first.why))
            .hint("install helm and run again, commit what is applied, or leave the file out with exclude")
    } else if seen.kinds.is_empty() {
        return skip(seen);
    } else if let Some(first) = warns.first() {
        Outcome::warn(format!("{}{}", first.message, more(&warns))).hint(hint(first))
    } else if judged == 0 {
        return exempt_only(seen);
    } else if seen.observed == Some(false) {
        Outcome::warn("replicas did not change during the load test").hint("raise the load, or lower the target")
    } else {
        let scaled = if seen.observed == Some(true) { ", seen scaling" } else { "" };
        Outcome::pass(format!("{} with an autoscaler that can work{scaled}", count(judged, "workload")))
    };
    let findings = [&seen.fails, &seen.warns, &seen.notes].into_iter().flatten().cloned().collect();
    outcome
        .value(fails.len(), 0)
        .tier(if seen.observed == Some(true) { Tier::E3 } else { Tier::E1 })
        .covered(judged as u64, (judged + seen.unread.len()) as u64)
        .findings(findings)
        .evidence("autoscaling", evidence(seen))
}

fn hint(finding: &Finding) -> String {
    let place = format!("{}:{}", finding.file.as_deref().unwrap_or_default(), finding.line.unwrap_or(1));
    format!("{}: {} ({place})", finding.message, finding.fix)
}

fn skip(seen: &Seen) -> Outcome {
    let runs =
        if seen.elsewhere.is_empty() { String::new() } else { format!("; it runs by {}", seen.elsewhere.join(", ")) };
    Outcome::skip(
        "no-k8s",
        format!(
            "{} looked into: no Kubernetes workload, no autoscaler, no scaling group{runs}",
            count(seen.looked_into, "YAML, JSON and Terraform file")
        ),
    )
    .evidence("autoscaling", evidence(seen))
}

/// Kubernetes, but nothing in it that ought to grow.
fn exempt_only(seen: &Seen) -> Outcome {
    let proof: Vec<String> = seen
        .rows
        .iter()
        .take(5)
        .map(|r| format!("{} ({}): {}", r.what, r.place, r.exempt.as_deref().unwrap_or_default()))
        .collect();
    if proof.is_empty() {
        return Outcome::error("nothing-to-inspect", "Kubernetes objects, but no workload among them")
            .hint("commit the workloads beside their autoscalers");
    }
    Outcome::skip("nothing-to-scale", proof.join("; ")).evidence("autoscaling", evidence(seen))
}

/// Rows of the table in the evidence.
const EVIDENCE_ROWS_MAX: usize = 500;

fn evidence(seen: &Seen) -> serde_json::Value {
    serde_json::json!({
        "workloads": seen.rows.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "kinds": seen.kinds,
        "sessions": seen.sessions.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "unread": seen.unread.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "looked_into": seen.looked_into,
    })
}

#[cfg(test)]
mod tests;
