//! Gate `monitoring.alert_errors`: would somebody hear of a high rate of server errors?
//!
//! One of four gates over one engine; read `alerts/mod.rs`. To fix a failure: add a rule on the share of 5xx answers, and route it to somebody.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::alerts::{Family, READS, check, proof};
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::proof::Proof;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

pub struct AlertErrors;

pub static ABOUT: About = About {
    id: "monitoring.alert_errors",
    section: Section::Monitoring,
    class: Class::A,
    line: "alert configured for: high error rate (5xx)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: READS,
    decides: "a rule selects failed requests by what its selectors mean; on made-up series it is silent at 0.1 % of errors \
              and fires within max_detection at 10 %, whatever the traffic; its labels are routed to a receiver; on the \
              server its selectors have series",
    fix: "add a rule on the share of 5xx answers, and route it to somebody",
};

impl Gate for AlertErrors {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        Some(proof(
            (
                "a share of errors is compared",
                "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
            ),
            (
                "a percentage is compared with a ratio, so it never fires",
                "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 5",
            ),
        ))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(check(ctx, &ABOUT, Family::Errors))
    }
}
