//! What all users met, together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Life, Shared, Step};
use crate::load::report::Latency;

/// What one kind of request gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StepReport {
    pub requests: u64,
    pub by_status: BTreeMap<u16, u64>,
    /// By class: `connect`, `timeout`, `reset`, `protocol`, `tls`.
    pub errors: BTreeMap<String, u64>,
    pub latency_ms: Latency,
}

/// Users who were given somebody else's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MixUp {
    pub user: usize,
    pub saw: usize,
    pub times: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    pub users: usize,
    /// Signed in, or arrived where nobody signs in.
    pub arrived: usize,
    /// Most sessions held at one instant; each proven by an answer of its own page after that instant.
    pub peak: usize,
    /// (second since the start, sessions held)
    pub held: Vec<(u64, usize)>,
    pub steps: BTreeMap<Step, StepReport>,
    pub mix_ups: Vec<MixUp>,
    /// Page answers that named the user, and that named nobody.
    pub own: u64,
    pub nobody: u64,
    /// Session ids or tokens that more than one user was given.
    pub shared_sessions: usize,
    /// Sessions that ended before the hold did.
    pub lost: usize,
    /// Signed out and then asked again: still signed in.
    pub outlived: usize,
    pub signed_out: usize,
    /// How late requests were sent, 99th percentile: a tired generator, not a slow service.
    pub lag_p99_ms: f64,
    /// The run was cut short from outside.
    pub interrupted: bool,
}

/// All lives together.
pub(super) fn report(users: usize, mut lives: Vec<(usize, Life)>, shared: &Shared, interrupted: bool) -> Report {
    lives.sort_by_key(|(user, _)| *user);
    let mut out = Report { users, interrupted, ..Report::default() };
    let mut changes: Vec<(Duration, i64)> = Vec::new();
    let (mut ids, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for (user, life) in &lives {
        out.arrived += usize::from(life.arrived);
        out.lost += usize::from(life.lost);
        out.own += life.own;
        out.nobody += life.nobody;
        out.signed_out += usize::from(life.signed_out);
        out.outlived += usize::from(life.outlived);
        out.mix_ups.extend(life.seen.iter().map(|(saw, times)| MixUp { user: *user, saw: *saw, times: *times }));
        if let Some((from, until)) = life.session {
            changes.extend([(from, 1), (until, -1)]);
        }
        twice.extend(life.id.filter(|id| !ids.insert(*id)));
    }
    out.shared_sessions = twice.len();
    changes.sort();
    let mut held = 0i64;
    let mut curve: BTreeMap<u64, usize> = BTreeMap::new();
    for (at, change) in changes {
        held += change;
        let now = held.max(0) as usize;
        out.peak = out.peak.max(now);
        let second = curve.entry(at.as_secs()).or_default();
        *second = now.max(*second);
    }
    out.held = curve.into_iter().collect();
    let steps = std::mem::take(&mut *shared.steps.lock().unwrap_or_else(PoisonError::into_inner));
    let told = |(step, (report, latency)): (Step, (StepReport, Histogram<u64>))| {
        (step, StepReport { latency_ms: Latency::of(&latency), ..report })
    };
    out.steps = steps.into_iter().map(told).collect();
    let lag = shared.lag.lock().unwrap_or_else(PoisonError::into_inner);
    out.lag_p99_ms = if lag.is_empty() { 0.0 } else { lag.value_at_quantile(0.99) as f64 / 1000.0 };
    out
}
