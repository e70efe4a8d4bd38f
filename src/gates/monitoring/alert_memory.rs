//! Gate `monitoring.alert_memory`: would somebody hear of memory that fills up?
//!
//! One of four gates over one engine; read `alerts/mod.rs`. To fix a failure: add a rule on the share of memory in use.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::alerts::{Family, READS, check, proof};
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::proof::Proof;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

pub struct AlertMemory;

pub static ABOUT: About = About {
    id: "monitoring.alert_memory",
    section: Section::Monitoring,
    class: Class::B,
    line: "alert configured for: memory full",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[Profile::StaticSite],
    reads: READS,
    decides: "a rule selects memory in use or kills for want of it; on made-up series it is silent at half and fires at 95 % \
              or below; on the server its selectors have series",
    fix: "add a rule on the share of memory in use",
};

impl Gate for AlertMemory {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        Some(proof(
            ("it fires before memory is full", "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1"),
            (
                "it goes by free memory, of which a healthy Linux has little",
                "node_memory_MemFree_bytes / node_memory_MemTotal_bytes < 0.2",
            ),
        ))
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(check(ctx, &ABOUT, Family::Memory))
    }
}
