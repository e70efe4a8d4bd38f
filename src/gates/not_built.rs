//! Gates of the checklist that this version cannot run yet. Each answers `error not-built` and blocks, so that the table
//! stays honest: a line nobody looked at is not a pass.
//!
//! Building one: write `SECTION/NAME.rs`, take its entry out of here, and change its line in `gates::all()`.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{About, Gate, GateContext, Lock, Section, Stage};
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};

/// A line of the checklist without a gate behind it.
pub struct NotBuilt(pub &'static About);

impl Gate for NotBuilt {
    fn about(&self) -> &'static About {
        self.0
    }
    fn built(&self) -> bool {
        false
    }
    fn check<'a>(&'a self, _ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            Outcome::error("not-built", "not built yet: check it by hand")
                .hint(format!("hypercare waive {} --reason … --approver … --expires 7d", self.0.id))
        })
    }
}

/// Static gates read files only; a minute or two is plenty for the largest repository.
/// Passive gates send a few dozen polite requests.
const PASSIVE: Duration = Duration::from_secs(60);
/// Active gates walk the whole route inventory at ten requests a second.
const ACTIVE: Duration = Duration::from_secs(300);
/// Rehearsals wait for a rollback or a restore.
const REHEARSAL: Duration = Duration::from_secs(900);

pub static CODE_N_PLUS_ONE: About = About {
    id: "code.n_plus_one",
    section: Section::Code,
    class: Class::B,
    line: "no N+1 queries (GraphQL/ORM optimized)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &[],
    timeout: ACTIVE,
    skipped_for: &[Profile::StaticSite],
    reads: "database statement counters or spans while list routes are asked for few and for many items",
    decides: "the number of statements does not grow with the number of items",
    fix: "load related rows in one query (include, preload, join, data loader)",
};

pub static DELIVERY_STAGING: About = About {
    id: "delivery.staging",
    section: Section::Delivery,
    class: Class::B,
    line: "staging/UAT environment available and tested",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: PASSIVE,
    skipped_for: &[],
    reads: "the staging target, the version it serves, and test results bound to this release",
    decides: "staging is up, runs this release, is not production, and was tested",
    fix: "deploy this release to staging first, then run the tests there",
};

pub static SECURITY_AUTH: About = About {
    id: "security.auth",
    section: Section::Security,
    class: Class::A,
    line: "auth applied on all sensitive routes (JWT, OAuth, API keys)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &[],
    timeout: ACTIVE,
    skipped_for: &[Profile::Worker, Profile::StaticSite],
    reads: "the route inventory and the configured actors",
    decides: "every sensitive route refuses a caller without valid credentials",
    fix: "mount the authentication before the route, or declare the route public with a reason",
};

pub static SECURITY_AUTHZ: About = About {
    id: "security.authz",
    section: Section::Security,
    class: Class::A,
    line: "role & permission system tested",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &["security.auth"],
    timeout: ACTIVE,
    skipped_for: &[Profile::Worker, Profile::StaticSite],
    reads: "actors of two roles, the role matrix, and each other's objects",
    decides: "no role reaches what the matrix denies and no actor reads another's objects",
    fix: "filter by owner in the query and check the role on the route",
};

pub static SECURITY_INJECTION: About = About {
    id: "security.injection",
    section: Section::Security,
    class: Class::A,
    line: "checked for XSS, SQLi, path traversal",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &["security.authz"],
    timeout: ACTIVE,
    skipped_for: &[Profile::Worker, Profile::StaticSite],
    reads: "the parameters of every route, probed with canaries that change nothing",
    decides: "no canary is reflected unencoded, changes a query, or leaves its folder",
    fix: "use bound parameters, contextual encoding, and resolve paths under their root",
};

pub static SECURITY_RATE_LIMIT: About = About {
    id: "security.rate_limit",
    section: Section::Security,
    class: Class::A,
    line: "rate limiting/throttling for public APIs",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &[
        "performance.concurrency",
        "performance.db_index",
        "performance.caching",
        "monitoring.metrics",
        "infrastructure.autoscaling",
    ],
    timeout: ACTIVE,
    skipped_for: &[Profile::Worker],
    reads: "the answers to a burst on login, search and a public route",
    decides: "a limit answers 429 and is per client and per account",
    fix: "add a limiter keyed on account and client address with a shared store",
};

pub static PERFORMANCE_CONCURRENCY: About = About {
    id: "performance.concurrency",
    section: Section::Performance,
    class: Class::B,
    line: "concurrent users simulated (e.g. 1k logins)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &["performance.load"],
    timeout: ACTIVE,
    skipped_for: &[Profile::Worker, Profile::StaticSite],
    reads: "a thousand sessions held at one instant on staging",
    decides: "99 % succeed within the limits and nobody sees another's session",
    fix: "seed test users and widen what saturates first",
};

pub static PERFORMANCE_DB_INDEX: About = About {
    id: "performance.db_index",
    section: Section::Performance,
    class: Class::B,
    line: "DB indexed properly (EXPLAIN ANALYZE used)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetExclusive,
    needs: &["performance.load"],
    timeout: ACTIVE,
    skipped_for: &[Profile::StaticSite],
    reads: "statement statistics and plans after the load test",
    decides: "no costly statement scans where an index would serve",
    fix: "create the named index",
};

pub static PERFORMANCE_CACHING: About = About {
    id: "performance.caching",
    section: Section::Performance,
    class: Class::C,
    line: "Redis, CDN, or in-memory caching applied",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Exclusive,
    lock: Lock::TargetShared,
    needs: &["performance.load"],
    timeout: ACTIVE,
    skipped_for: &[],
    reads: "cache headers, hit ratios and cache counters during the load test",
    decides: "what may be cached is cached, and nothing private is",
    fix: "set Cache-Control on assets and cache what is asked for most",
};

pub static PERFORMANCE_PAYLOAD: About = About {
    id: "performance.payload",
    section: Section::Performance,
    class: Class::B,
    line: "API only returns necessary data (REST/GraphQL select)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: PASSIVE,
    skipped_for: &[Profile::Worker],
    reads: "fields, sizes and item counts of the answers",
    decides: "lists are paged and answers carry no undocumented or sensitive field",
    fix: "select the documented fields only and page lists",
};

pub static MONITORING_LOGGING: About = About {
    id: "monitoring.logging",
    section: Section::Monitoring,
    class: Class::B,
    line: "logging integrated (Winston, Pino, ELK, Datadog, etc.)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: PASSIVE,
    skipped_for: &[],
    reads: "the logger in the code, and whether a marked request arrives in the log store",
    decides: "marked requests arrive in time, structured, and without secrets",
    fix: "check the log transport and redact sensitive fields",
};

pub static MONITORING_LOG_CONTEXT: About = About {
    id: "monitoring.log_context",
    section: Section::Monitoring,
    class: Class::B,
    line: "logs include traceId, userId, route context",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &["monitoring.logging"],
    timeout: PASSIVE,
    skipped_for: &[],
    reads: "the fields of the log lines that the marked requests made",
    decides: "lines carry trace id, user id and route",
    fix: "bind the context once per request",
};

pub static MONITORING_ALERT_DELIVERY: About = About {
    id: "monitoring.alert_delivery",
    section: Section::Monitoring,
    class: Class::A,
    line: "monitoring & alerting",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Rehearsal,
    lock: Lock::TargetExclusive,
    needs: &["monitoring.alert_errors"],
    timeout: REHEARSAL,
    skipped_for: &[],
    reads: "the way from the alert rules to a person: receivers, routing, and a canary alert with a one-time code",
    decides: "the canary reached a person, who gave the code back",
    fix: "route the alerts' labels to a receiver that reaches somebody",
};

pub static INFRASTRUCTURE_LOAD_BALANCER: About = About {
    id: "infrastructure.load_balancer",
    section: Section::Infrastructure,
    class: Class::B,
    line: "load balancer configured and stable",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: PASSIVE,
    skipped_for: &[Profile::Worker],
    reads: "proxy configuration and how requests spread over the backends",
    decides: "two or more healthy backends, checked, with ordered timeouts",
    fix: "add a second server and health checks",
};

pub static INFRASTRUCTURE_BACKUP_RESTORE: About = About {
    id: "infrastructure.backup_restore",
    section: Section::Infrastructure,
    class: Class::A,
    line: "database backup and restore tested",
    min_tier: Tier::E2,
    attestable: true,
    stage: Stage::Rehearsal,
    lock: Lock::TargetExclusive,
    needs: &[],
    timeout: REHEARSAL,
    skipped_for: &[Profile::StaticSite],
    reads: "backup listings and a restore into a scratch instance",
    decides: "the newest backup is fresh enough and a restore gave the same schema and rows",
    fix: "take a backup and rehearse its restore",
};

pub static RELEASE_FALLBACK_UI: About = About {
    id: "release.fallback_ui",
    section: Section::Release,
    class: Class::B,
    line: "graceful fallback UI for error handling",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: PASSIVE,
    skipped_for: &[Profile::Worker],
    reads: "the top pages while their API calls fail in the browser",
    decides: "a visible message with a way on, no blank page and no raw error",
    fix: "wrap the page in an error boundary with a retry",
};
