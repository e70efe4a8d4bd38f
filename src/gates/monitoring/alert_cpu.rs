//! Gate `monitoring.alert_cpu`: would somebody hear of a CPU above 80 %?
//!
//! One of four gates over one engine; read `alerts/mod.rs`. To fix a failure: add a rule that fires when CPU use stays above 80 %.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::alerts::{Family, READS, check, proof};
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::proof::Proof;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

pub struct AlertCpu;

pub static ABOUT: About = About {
    id: "monitoring.alert_cpu",
    section: Section::Monitoring,
    class: Class::B,
    line: "alert configured for: CPU > 80%",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[Profile::StaticSite],
    reads: READS,
    decides: "a rule selects CPU time; on made-up series the first level at which it fires, in steps of 5 %, lies between 65 \
              and 85 %; silent at 90 % fails; on the server its selectors have series",
    fix: "add a rule that fires when CPU use stays above 80 %",
};

impl Gate for AlertCpu {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        Some(proof(
            ("it fires at 85 %", "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) > 0.8"),
            (
                "the comparison is the wrong way round",
                "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) < 0.8",
            ),
        ))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(check(ctx, &ABOUT, Family::Cpu))
    }
}
