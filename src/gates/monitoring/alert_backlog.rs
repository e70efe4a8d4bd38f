//! Gate `monitoring.alert_backlog`: would somebody hear of a queue that grows and grows?
//!
//! One of four gates over one engine; read `alerts/mod.rs`. To fix a failure: add a rule on the growth of the queue.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::alerts::{Family, READS, check, proof};
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::proof::Proof;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

pub struct AlertBacklog;

pub static ABOUT: About = About {
    id: "monitoring.alert_backlog",
    section: Section::Monitoring,
    class: Class::B,
    line: "alert configured for: queue backlog increasing",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[Profile::StaticSite],
    reads: READS,
    decides: "a rule selects a queue's length, age or flow; on made-up series it is silent on a short queue and fires while one \
              grows for max_detection; by size alone warns; without a queue it is skipped",
    fix: "add a rule on the growth of the queue",
};

impl Gate for AlertBacklog {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        Some(proof(
            ("it fires while a queue grows", "deriv(rabbitmq_queue_messages_ready[10m]) > 0"),
            ("it fires on every queue that is not empty", "rabbitmq_queue_messages_ready > 0"),
        ))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(check(ctx, &ABOUT, Family::Backlog))
    }
}
