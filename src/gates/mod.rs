//! Pre-launch checks. A gate looks at the real thing and returns an [`Outcome`]; it writes nothing, knows no store, and
//! reaches network, files and clock only through its [`GateContext`].
//!
//! `all()` is THE registry. Add a gate by adding one file and one line there. Read `context.rs`, then a reference gate
//! of the kind you need: `security/headers.rs` (a target), `code/coverage.rs` (a report), `delivery/naming.rs` (git).

pub mod context;
pub mod facts;

pub mod code;
pub mod delivery;
pub mod infrastructure;
pub mod monitoring;
pub mod performance;
pub mod release;
pub mod security;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::net::safety::{Safety, Target};

pub use context::GateContext;

/// The seven sections, in the checklist's own order. A section is a folder here and the prefix of its gates' ids.
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
}

impl Section {
    pub const ALL: [Section; 7] = [
        Section::Code,
        Section::Delivery,
        Section::Security,
        Section::Performance,
        Section::Monitoring,
        Section::Infrastructure,
        Section::Release,
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
    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome>;
}

/// `[gates]`: targets, actors, budgets and one table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Hosts the gates may reach. Without one, each service's `url` is a passive target (active when it is loopback).
    pub target: Vec<Target>,
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
}
