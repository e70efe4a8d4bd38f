//! Gate `code.edge_cases`: does the service say no in good order to what it cannot take?
//!
//! Every operation of the inventory is asked with odd values, one parameter at a time (`cases.rs`). GET by itself; unsafe
//! methods get bodies that their schema forbids, and ids that do not exist, never anything valid (gates.md 0.4). A server
//! error counts when it comes twice and something valid is answered between the two, so that an overloaded or restarting
//! host is no defect of a route. `ask.rs` sends, `judge.rs` concludes. Sources: WSTG-ERRH-01 and 02, ASVS 16.5.1, CWE-209.
//! To fix a failure: validate each parameter at the boundary, and answer 400 or 422.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

mod ask;
mod cases;
mod judge;
mod leaks;
#[cfg(test)]
mod tests;

/// `[gates.code.edge_cases]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Odd requests for one operation. Default: 40.
    pub max_cases_per_op: usize,
    /// Operations that are not asked, as routes that fail on purpose: paths, a `*` at the end covers what is below.
    pub ignore: Vec<String>,
    /// Share of operations that must be exercised. Default: 0.9.
    pub floor: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { max_cases_per_op: 40, ignore: Vec::new(), floor: 0.9 }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if !(1..=200).contains(&self.max_cases_per_op) {
            problems.push(Problem::at(["max_cases_per_op"], "must lie between 1 and 200"));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            problems.push(Problem::at(["floor"], "is a share: write 0 to 1"));
        }
        for path in self.ignore.iter().filter(|path| !path.starts_with('/')) {
            problems.push(Problem::at(["ignore"], format!("`{path}` is not a path of this site: it begins with /")));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

pub struct EdgeCases;

pub static ABOUT: About = About {
    id: "code.edge_cases",
    section: Section::Code,
    class: Class::B,
    line: "edge cases handled properly",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &["security.injection"],
    timeout: Duration::from_secs(300),
    skipped_for: &[],
    reads: "the answers of every operation of the inventory to odd values: absent, empty, huge, of another type, with bytes \
            that are no text; to bodies that are cut, null, deep or of another media type; and to a method that is not \
            offered. Unsafe methods get invalid bodies and ids that do not exist, nothing else",
    decides: "no server error, broken connection or leak (stack trace, SQL, path) that comes twice while valid requests are \
              fine; invalid input that is accepted, errors of several shapes, 405 without Allow and slow refusals warn; \
              90 % of the operations exercised",
    fix: "validate each parameter at the boundary and answer 400 or 422 (RFC 9457)",
};

impl Gate for EdgeCases {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let document = r#"{"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {"/teas/{id}": {"get":
            {"parameters": [{"name": "id", "in": "path", "required": true, "example": "green"}]}}}}"#;
        let trace = "Traceback (most recent call last):\n  File \"/srv/shop/app.py\", line 3, in tea\n";
        let shop = |what| {
            Fixture::of(what)
                .settings(|config| config.code.edge_cases.max_cases_per_op = 6)
                .page(Page::json("/openapi.json", document))
                .page(Page::json("/teas/green", "{}"))
        };
        Some(Proof {
            good: shop("a tea that nobody has is refused")
                .page(Page::json("/teas/*", "{\"error\": \"no such tea\"}").status(404)),
            bad: shop("a tea that nobody has ends in a server error")
                .page(Page::new("/teas/*", "text/plain", trace).status(500)),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let target = match ctx.need_target() {
                Ok(target) => target,
                Err(outcome) => return *outcome,
            };
            let config = &ctx.config.code.edge_cases;
            judge::judge(&ask::ask(ctx, target, config).await, config)
        })
    }
}
