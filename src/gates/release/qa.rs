//! Gate `release.qa`: has somebody, or a test, gone through what users do, on this very build?
//!
//! A unit test says that a part works; launch day breaks at the seams: login, checkout, the mail with the new password.
//! Reads reports of test runs, exports of test-management tools and Markdown lists, and asks which flows the sources show
//! (`shown.rs`). Gathering is `qa/look.rs`, the verdict `qa/judge.rs`. A ticked box is no test: unsigned it warns at best.
//! To fix a failure: run a test that names the flow, or sign for it.

mod flows;
mod judge;
mod lists;
mod look;

pub use look::{Bound, Report, test_reports};

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::units::Span;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::context::Repo;
use crate::gates::delivery::{packages, run};
use crate::gates::facts::Facts;
use crate::gates::patterns;
use crate::gates::proof::{COMMIT, Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.release.qa]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Flows that must be proved. Default: `["auto"]`, those of login, logout, signup, password reset, checkout, error
    /// page, permissions and mobile layout that the sources show.
    pub flows: Vec<String>,
    /// Where QA lists and exports of test-management tools lie, as gitignore patterns. Default: empty, found by name.
    pub lists: Vec<String>,
    /// Where reports of test runs lie, as gitignore patterns. Default: empty, found by name.
    pub reports: Vec<String>,
    /// Older reports say nothing about today. Default: 7d.
    pub max_age: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config { flows: vec!["auto".into()], lists: vec![], reports: vec![], max_age: Span::secs(7 * 86_400) }
    }
}

impl Config {
    /// Problems by path below `gates.release.qa`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.flows.is_empty() || self.flows.iter().any(|f| flows::words(f).is_empty()) {
            problems.push(Problem::at(["flows"], "names no flow").hint("leave it out for those that the sources show"));
        }
        if self.flows.len() > 1 && self.flows.iter().any(|f| f == "auto") {
            problems.push(Problem::at(["flows"], "`auto` stands alone"));
        }
        for (key, named) in [("lists", &self.lists), ("reports", &self.reports)] {
            problems.extend(patterns::problems(key, named));
        }
        if self.max_age.get().is_zero() {
            problems.push(Problem::at(["max_age"], "no report is that young").hint("write for example 7d"));
        }
        problems
    }

    /// The flows that are named; `None`: those that the sources show.
    fn named(&self) -> Option<&[String]> {
        (self.flows != ["auto"]).then_some(self.flows.as_slice())
    }
}

pub struct Qa;

pub static ABOUT: About = About {
    id: "release.qa",
    section: Section::Release,
    class: Class::B,
    line: "QA checklist completed (login, checkout, error, etc.)",
    min_tier: Tier::E2,
    attestable: true,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "reports of test runs (JUnit, Playwright, Cypress, Mocha, CTRF, TAP) in the usual folders, QA*.md task lists, \
            exports of test-management tools (CSV, JSON), and the routes and pages that show which flows there are",
    decides: "each flow that the sources show has a green test of this commit, matched by tag, title or file, or an \
              exported result with tester, date and build; ticks in Markdown, unbound reports and reports of an older \
              commit warn; an open, outdated or failed item fails; tests without a report are an error",
    fix: "run the suite for the open flows and keep its report, or sign: hypercare attest release.qa --flow NAME",
};

impl Gate for Qa {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, checkout: &str| {
            let case =
                |name: &str, inner: &str| format!("<testcase classname=\"shop\" name=\"{name}\">{inner}</testcase>");
            let cases = case("login works", "") + &case("checkout pays", checkout);
            Fixture::of(what)
                .file("src/app.js", "app.post('/login', login)\napp.post('/checkout', checkout)\n")
                .left("test-results/junit.xml", format!("<testsuite name=\"e2e\">{cases}</testsuite>\n"))
                .left("test-results/junit.xml.hc.json", format!("{{\"commit\": \"{COMMIT}\"}}\n"))
        };
        Some(Proof {
            good: shop("login and checkout are green", ""),
            bad: shop("checkout fails", "<failure message=\"no button to pay\"/>"),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let in_ci = run::inside(|name| std::env::var(name).ok(), ctx.rid.commit.as_deref()).is_some();
            let (rid, now) = (ctx.rid.clone(), ctx.clock.now());
            let (attested, facts) = (attested_flows(ctx), ctx.facts.clone());
            ctx.in_repo(move |repo, config| {
                let config = &config.release.qa;
                let mut seen = look::look(repo, config, &rid, in_ci, now);
                seen.no_pages = !serves_pages(repo, &facts);
                let outcome = judge::judge(&seen, config.named(), &attested);
                packages::settled(outcome, &["no-report"], repo, &facts)
            })
            .await
        })
    }
}

/// A web application or a site of its own; a library's test page and an API's own notice are none.
fn serves_pages(repo: &Repo, facts: &Facts) -> bool {
    let published = packages::package(repo).is_some() && !facts.any("framework");
    !published && facts.components().iter().any(|c| matches!(c.profile, Profile::WebApp | Profile::StaticSite))
}

/// Flows that a person with role qa has signed for this release.
fn attested_flows(ctx: &GateContext) -> BTreeSet<String> {
    ctx.attested(ABOUT.id).filter_map(|a| a.subject.clone()).collect()
}

#[cfg(test)]
mod tests;
