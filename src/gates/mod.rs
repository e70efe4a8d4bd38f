//! Pre-launch checks. A gate looks at the real thing and returns an [`Outcome`]; it writes nothing, knows no store, and
//! reaches network, files and clock only through its [`GateContext`].
//!
//! `all()` is THE registry. Add a gate by adding one file and one line there. Read `context.rs`, then a reference gate
//! of the kind you need: `security/headers.rs` (a target), `code/coverage.rs` (a report), `delivery/naming.rs` (git).

pub mod actors;
pub mod baseline;
pub mod browser;
mod cache;
pub(crate) mod calibrate;
pub mod context;
pub mod database;
pub mod decision;
pub mod evidence;
pub mod facts;
pub mod forge;
pub mod import;
pub mod inventory;
pub mod judge;
pub mod manifests;
pub mod not_built;
pub mod patterns;
pub mod people;
pub mod proof;
pub mod routes;
mod run;
pub mod runner;
pub mod suppression;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
pub mod waiver;
pub(crate) mod web;
pub mod words;

pub mod code;
mod command;
pub mod delivery;
pub mod infrastructure;
pub mod meta;
pub mod monitoring;
pub mod performance;
pub mod release;
pub mod security;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier, Verdict};
use crate::net::safety::{Safety, Target};

pub use context::GateContext;
pub use run::{Checked, GateInputs, Options, RunError, SCHEMA, TryOut, changed, ignore_runs, run_gates, try_out};
pub use sweep::{Found, Part, Reader};

/// The seven sections, in the checklist's own order, and the one about the check itself. A section is a folder here and
/// the prefix of its gates' ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    Code,
    Delivery,
    Security,
    Performance,
    Monitoring,
    Infrastructure,
    Release,
    /// About the check itself: no line of the checklist, and no part of READY TO GO LIVE.
    Meta,
}

impl Section {
    pub const ALL: [Section; 8] = [
        Section::Code,
        Section::Delivery,
        Section::Security,
        Section::Performance,
        Section::Monitoring,
        Section::Infrastructure,
        Section::Release,
        Section::Meta,
    ];
    pub fn word(self) -> &'static str {
        match self {
            Section::Code => "code",
            Section::Delivery => "delivery",
            Section::Security => "security",
            Section::Performance => "performance",
            Section::Monitoring => "monitoring",
            Section::Infrastructure => "infrastructure",
            Section::Release => "release",
            Section::Meta => "meta",
        }
    }
    /// Heading of the human table.
    pub fn title(self) -> &'static str {
        match self {
            Section::Code => "CODE & FUNCTIONAL",
            Section::Delivery => "CI/CD & DEPLOYMENT",
            Section::Security => "SECURITY",
            Section::Performance => "PERFORMANCE & SCALING",
            Section::Monitoring => "MONITORING & ALERTING",
            Section::Infrastructure => "INFRASTRUCTURE",
            Section::Release => "RELEASE",
            Section::Meta => "ABOUT THIS CHECK",
        }
    }
}

/// When a gate runs. Stages are a DAG's levels: a stage starts when the one before has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Static,
    Passive,
    Active,
    Exclusive,
    Rehearsal,
    Human,
}

impl Stage {
    pub const ALL: [Stage; 6] =
        [Stage::Static, Stage::Passive, Stage::Active, Stage::Exclusive, Stage::Rehearsal, Stage::Human];
    pub fn word(self) -> &'static str {
        match self {
            Stage::Static => "static",
            Stage::Passive => "passive",
            Stage::Active => "active",
            Stage::Exclusive => "exclusive",
            Stage::Rehearsal => "rehearsal",
            Stage::Human => "human",
        }
    }
}

/// What the gate must hold while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Files only: as many at once as there are CPUs.
    Fs,
    /// Shares the target politely.
    TargetShared,
    /// One active gate at a time per host.
    TargetActive,
    /// Nothing else touches the host.
    TargetExclusive,
    None,
}

/// What a gate says about itself: `gates list` and `gates explain` print it.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// `section.file`: `security.headers`.
    pub id: &'static str,
    pub section: Section,
    pub class: Class,
    /// The checklist's own line.
    pub line: &'static str,
    /// Weakest evidence that may pass.
    pub min_tier: Tier,
    /// A signed attestation may stand in.
    pub attestable: bool,
    pub stage: Stage,
    pub lock: Lock,
    /// Gates that must have ended before.
    pub needs: &'static [&'static str],
    pub timeout: Duration,
    /// Profiles for which it does not apply.
    pub skipped_for: &'static [Profile],
    /// Prose for `gates explain`: what is read, what decides, and how to fix a failure.
    pub reads: &'static str,
    pub decides: &'static str,
    pub fix: &'static str,
}

/// A gate cannot fail to answer: "could not tell" is an [`Outcome::error`].
pub trait Gate: Send + Sync {
    fn about(&self) -> &'static About;
    /// How long it may take; gates whose work depends on the configuration (a load test) answer from it.
    fn timeout(&self, _ctx: &GateContext) -> Duration {
        self.about().timeout
    }
    /// False for lines of the checklist that only answer `error not-built`.
    fn built(&self) -> bool {
        true
    }
    /// A product it lets through and one it stops, for `gates prove`. `None`: nobody has shown yet that it blocks.
    fn proof(&self) -> Option<proof::Proof> {
        None
    }
    /// Its answer rests on the repository's files and refs, `.env` files on disk and the gates' configuration alone: reused while
    /// they stay the same.
    fn keeps(&self) -> bool {
        false
    }
    /// What is left of its verdict when every finding that decides it is suppressed, for the runner's second look
    /// ([`suppression::settle`]). `None`: it rests on more than findings, such as a share, a score, or the best of
    /// several rules; suppressed ones are listed and change nothing.
    fn without_findings(&self) -> Option<Verdict> {
        let about = self.about();
        (about.stage == Stage::Static && about.min_tier <= Tier::E1).then_some(Verdict::Warn)
    }
    /// Its part in the one read of every file that the static stage begins with; [`GateContext::swept`] has what came of
    /// it. Blocking: called off the async threads.
    fn reader(&self, _ctx: &GateContext) -> Option<Part> {
        None
    }
    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome>;
}

/// Lines of the checklist; gates about the check itself are none.
pub const CHECKLIST_LINES: usize = 42;

/// THE registry: every line of the checklist, in the checklist's own order. Results come in this order too.
pub fn all() -> Vec<Box<dyn Gate>> {
    fn later(about: &'static About) -> Box<dyn Gate> {
        Box::new(not_built::NotBuilt(about))
    }
    vec![
        // code
        Box::new(code::review::Review),
        Box::new(code::coverage::Coverage),
        Box::new(code::edge_cases::EdgeCases),
        Box::new(code::n_plus_one::NPlusOne),
        Box::new(code::leftover_debug::LeftoverDebug),
        Box::new(code::secrets::Secrets),
        // delivery
        Box::new(delivery::pipeline::CiPipeline),
        Box::new(delivery::rollback::Rollback),
        Box::new(delivery::staging::Staging),
        Box::new(delivery::env_config::EnvConfig),
        Box::new(delivery::naming::Naming),
        // security
        Box::new(security::auth::Auth),
        Box::new(security::authz::Authz),
        Box::new(security::exposure::Exposure),
        Box::new(security::injection::Injection),
        Box::new(security::rate_limit::RateLimit),
        Box::new(security::headers::Headers),
        // performance
        Box::new(performance::load::Load),
        Box::new(performance::concurrency::Concurrency),
        Box::new(performance::db_index::DbIndex),
        Box::new(performance::caching::Caching),
        Box::new(performance::media_offload::MediaOffload),
        Box::new(performance::payload::Payload),
        // monitoring
        Box::new(monitoring::logging::Logging),
        Box::new(monitoring::log_context::LogContext),
        Box::new(monitoring::metrics::Metrics),
        Box::new(monitoring::alert_errors::AlertErrors),
        Box::new(monitoring::alert_cpu::AlertCpu),
        Box::new(monitoring::alert_memory::AlertMemory),
        Box::new(monitoring::alert_backlog::AlertBacklog),
        Box::new(monitoring::alert_delivery::AlertDelivery),
        // infrastructure
        later(&not_built::INFRASTRUCTURE_LOAD_BALANCER),
        Box::new(infrastructure::restart_health::RestartHealth),
        Box::new(infrastructure::backup_restore::BackupRestore),
        Box::new(infrastructure::autoscaling::Autoscaling),
        Box::new(infrastructure::env_encrypted::EnvEncrypted),
        // release
        Box::new(release::changelog::Changelog),
        Box::new(release::announcement::Announcement),
        Box::new(release::post_deploy::PostDeploy),
        Box::new(release::qa::Qa),
        Box::new(release::fallback_ui::FallbackUi),
        Box::new(release::endpoints::Endpoints),
        // about the check itself
        Box::new(meta::suppressions::Suppressions),
    ]
}

/// `[gates]`: targets, actors, budgets and one table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Hosts the gates may reach. Without one, each service's `url` is a passive target (active when it is loopback).
    pub target: Vec<Target>,
    /// Accounts made for the check: `{ name = "alice", role = "user", bearer = "${env:HC_ALICE}" }`, or with `basic`, `cookie`,
    /// `header`, `login`.
    pub actor: Vec<actors::Actor>,
    /// The target's database: `{ url = "${env:DATABASE_URL}" }`.
    pub database: database::Config,
    /// What the route inventory is made of.
    pub routes: inventory::Config,
    /// What one gate may spend on one target.
    pub safety: Safety,
    /// `auto` (tag on HEAD, else manifest, else changelog) or the version to be released.
    pub version: Option<String>,
    pub code: code::Config,
    pub delivery: delivery::Config,
    pub security: security::Config,
    pub performance: performance::Config,
    pub monitoring: monitoring::Config,
    pub infrastructure: infrastructure::Config,
    pub release: release::Config,
    pub meta: meta::Config,
}

impl Config {
    /// Everything wrong with the gates' tables, by path below `gates`. `channels` are the names that exist.
    pub fn problems(&self, channels: &[String]) -> Vec<Problem> {
        let none = |result: Result<(), Vec<Problem>>| result.err().unwrap_or_default();
        let tables = [
            ("code", "coverage", self.code.coverage.validate()),
            ("code", "edge_cases", none(self.code.edge_cases.validate())),
            ("code", "leftover_debug", self.code.leftover_debug.validate()),
            ("code", "n_plus_one", none(self.code.n_plus_one.validate())),
            ("code", "review", self.code.review.validate()),
            ("code", "secrets", self.code.secrets.validate()),
            ("delivery", "env_config", self.delivery.env_config.validate()),
            ("delivery", "naming", none(self.delivery.naming.validate().map(|_| ()))),
            ("delivery", "rollback", self.delivery.rollback.validate()),
            ("delivery", "staging", none(self.delivery.staging.validate())),
            ("security", "auth", none(self.security.auth.validate())),
            ("security", "authz", none(self.security.authz.validate())),
            ("security", "exposure", none(self.security.exposure.validate())),
            ("security", "headers", none(self.security.headers.validate())),
            ("security", "injection", none(self.security.injection.validate())),
            ("security", "rate_limit", self.security.rate_limit.validate()),
            ("performance", "db_index", none(self.performance.db_index.validate())),
            ("performance", "caching", self.performance.caching.validate()),
            ("performance", "concurrency", self.performance.concurrency.validate()),
            ("performance", "load", self.performance.load.validate()),
            ("performance", "media_offload", self.performance.media_offload.validate()),
            ("performance", "payload", self.performance.payload.validate()),
            ("monitoring", "logs", self.monitoring.logs.validate()),
            ("monitoring", "metrics", self.monitoring.metrics.validate()),
            ("monitoring", "alerts", self.monitoring.alerts.validate()),
            ("monitoring", "alert_delivery", self.monitoring.alert_delivery.validate()),
            ("infrastructure", "backup_restore", self.infrastructure.backup_restore.validate()),
            ("infrastructure", "autoscaling", self.infrastructure.autoscaling.validate()),
            ("infrastructure", "env_encrypted", self.infrastructure.env_encrypted.validate()),
            ("infrastructure", "restart_health", self.infrastructure.restart_health.validate()),
            ("release", "announcement", none(self.release.announcement.validate(channels))),
            ("release", "changelog", none(self.release.changelog.validate())),
            ("release", "fallback_ui", self.release.fallback_ui.validate()),
            ("release", "endpoints", self.release.endpoints.validate()),
            ("release", "post_deploy", self.release.post_deploy.validate()),
            ("release", "qa", self.release.qa.validate()),
            ("meta", "suppressions", self.meta.suppressions.validate()),
        ];
        let own = [("database", self.database.validate()), ("routes", self.routes.validate())]
            .into_iter()
            .flat_map(|(table, result)| none(result).into_iter().map(move |p| p.under(&[table])));
        let own: Vec<Problem> = own.chain(none(actors::Actor::validate(&self.actor))).collect();
        let under = |(section, gate, problems): (&'static str, &'static str, Vec<Problem>)| {
            problems.into_iter().map(move |p| p.under(&[section, gate]))
        };
        own.into_iter().chain(tables.into_iter().flat_map(under)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What every registered gate must say about itself, whoever writes it.
    #[test]
    fn every_gate_is_well_described_and_feeds_exactly_one_goal() {
        let gates = all();
        let lines = gates.iter().filter(|g| g.about().section != Section::Meta).count();
        assert_eq!(lines, CHECKLIST_LINES, "the checklist has 42 lines");
        let mut seen = BTreeSet::new();
        let mut section = Section::Code;
        for gate in &gates {
            let about = gate.about();
            let id = about.id;
            assert!(seen.insert(id), "{id} is registered twice");
            let (folder, file) = id.split_once('.').unwrap_or_else(|| panic!("{id} has no section"));
            assert_eq!(folder, about.section.word(), "{id}");
            assert!(about.section >= section, "{id} is out of the checklist's order");
            section = about.section;
            let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/gates/{folder}/{file}.rs"));
            assert!(!gate.built() || source.exists(), "{id} does not live in {}", source.display());
            for text in [about.line, about.reads, about.decides, about.fix] {
                assert!(!text.trim().is_empty(), "{id} lacks a description");
            }
            assert!(!about.timeout.is_zero(), "{id} has no time");
            let goals: Vec<_> = decision::GOALS.iter().filter(|g| g.feeders().any(|f| f == id)).map(|g| g.id).collect();
            // What is about the check itself says nothing of the product: it feeds no goal, and only the decision.
            let expect = usize::from(about.section != Section::Meta);
            assert_eq!(goals.len(), expect, "{id} feeds {goals:?}");
        }
        for about in gates.iter().map(|g| g.about()) {
            for need in about.needs {
                let before = gates.iter().map(|g| g.about()).find(|a| a.id == *need);
                let before = before.unwrap_or_else(|| panic!("{} needs unknown {need}", about.id));
                assert!(before.stage <= about.stage, "{} runs before {need}, which it needs", about.id);
            }
        }
        for feeder in decision::GOALS.iter().flat_map(|g| g.feeders()) {
            assert!(seen.contains(feeder), "a goal names unknown {feeder}");
        }
    }
}
