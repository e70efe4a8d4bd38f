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

/// Passive gates send a few dozen polite requests.
const PASSIVE: Duration = Duration::from_secs(60);

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
