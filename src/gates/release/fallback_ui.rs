//! Gate `release.fallback_ui`: when the API fails, do people see a message and a way on, or a blank page?
//!
//! Loads the top pages in a real Chromium, once whole and once for each fault: their API calls are answered in the browser
//! with 500, 503, silence, no network, half a JSON document, 401. The server sees one load of each page. Then the page
//! that an unknown address gets: styled, and with status 404. Products without pages: errors are JSON (RFC 9457), never HTML.
//! Sources: WSTG-ERRH-01, ASVS 5 16.5.2 and 16.5.4. `look.rs` drives the browser, `judge.rs` is the verdict, `errors.rs`
//! what unknown addresses get, `declared.rs` what the sources promise where no browser is found.
//! To fix a failure: wrap the page in an error boundary with a retry.

mod declared;
mod errors;
mod judge;
mod look;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::browser::{Browser, BrowserError, Through};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::web;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::Intent;

/// `[gates.release.fallback_ui]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Chromium or Chrome. Default: the first of chromium, google-chrome, headless shell on PATH.
    pub browser: Option<PathBuf>,
    /// Paths of the pages that matter: `["/", "/cart"]`. Default: the front page and the pages that it links.
    pub pages: Vec<String>,
    /// Pages at most. Default: 5.
    pub max_pages: usize,
    /// How long an API call that is never answered is kept waiting before it fails, seconds. Default: 15.
    pub timeout_s: f64,
    /// How soon after the fault the message must be there, seconds. Default: 5.
    pub within_s: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config { browser: None, pages: Vec::new(), max_pages: 5, timeout_s: 15.0, within_s: 5.0 }
    }
}

impl Config {
    /// Problems by path below `gates.release.fallback_ui`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(bad) = self.pages.iter().find(|p| !p.starts_with('/')) {
            problems.push(Problem::at(["pages"], format!("`{bad}` is not a path of this site: it begins with /")));
        }
        if !(1..=20).contains(&self.max_pages) {
            problems.push(Problem::at(["max_pages"], "must lie between 1 and 20"));
        }
        for (key, value) in [("timeout_s", self.timeout_s), ("within_s", self.within_s)] {
            if !(value.is_finite() && value > 0.0 && value <= 60.0) {
                problems.push(Problem::at([key], "must be above zero and at most 60 seconds"));
            }
        }
        problems
    }
}

pub static ABOUT: About = About {
    id: "release.fallback_ui",
    section: Section::Release,
    class: Class::B,
    line: "graceful fallback UI for error handling",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: Duration::from_secs(420),
    skipped_for: &[Profile::Worker],
    reads: "the top pages in Chromium, whole and while their API calls fail in the browser (500, 503, silence, no network, \
            broken JSON, 401), and what an unknown address gets; of products without pages, their error answers",
    decides: "each page says within five seconds what is wrong and offers a way on, and works again with the API; a blank \
              page, a stack trace or an endless spinner fails; a message without a way on, or an unknown address with \
              status 200, warns. API errors are JSON with the right status (RFC 9457), never HTML or a stack trace",
    fix: "wrap the page in an error boundary with a message (role=alert) and a retry; serve a page of your own for 404",
};

pub struct FallbackUi;

impl Gate for FallbackUi {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let api = |what| Fixture::of(what).page(Page::json("/", "{\"service\": \"shop\"}"));
        let problem = "{\"type\": \"about:blank\", \"title\": \"Not Found\", \"status\": 404}";
        let trace =
            "<!doctype html><pre>Error: no such route<br> at /srv/app/node_modules/express/lib/router.js:12:3</pre>";
        Some(Proof {
            good: api("unknown addresses get problem details")
                .page(Page::new("/*", "application/problem+json", problem).status(404)),
            bad: api("unknown addresses get a stack trace").page(Page::new("/*", "text/html", trace).status(500)),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { check(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?.clone();
    let config = ctx.config.release.fallback_ui.clone();
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let canary = web::canary(&ctx.guard.run);
    let found = errors::ask(&prober, &target.url, &canary).await;
    let errors = found.map_err(|e| Box::new(web::trouble(&e)))?;
    if errors.front.status >= 500 {
        let what = format!("the front page answers {}; its faults cannot be told from ours", errors.front.status);
        return Ok(errors::server_error(&errors, what));
    }
    if ctx.profile == Profile::WebApi || !errors.has_pages() {
        return Ok(errors::judge_api(&errors));
    }
    let program = match Browser::find(config.browser.as_deref()) {
        Ok(program) => program,
        Err(error) => return Ok(no_browser(ctx, &error).await),
    };
    (ctx.progress)(ABOUT.id, "starts a browser");
    let browser = match Browser::start(&program).await {
        Ok(browser) => browser,
        Err(error) => return Ok(no_browser(ctx, &error).await),
    };
    let active = ctx.guard.authorise(&target.url, Intent::Active).await.is_ok();
    let active = active.then(|| ctx.prober(ABOUT.id, Intent::Active));
    let headers = match ctx.actors().first() {
        Some(actor) => ctx.signed_in(actor).await.unwrap_or_default(),
        None => Vec::new(),
    };
    let through = Arc::new(Through::new(prober, active, &target.url, headers));
    let walk = look::Walk { browser: &browser, through: through.clone(), base: &target.url, config: &config };
    let seen = walk.all(&|doing| (ctx.progress)(ABOUT.id, doing)).await;
    let pictures = look::keep_pictures(&ctx.guard.run_dir, &seen).await;
    let boundary = declared::of(ctx).await;
    Ok(judge::judge(&judge::Seen {
        pages: seen,
        errors,
        refused: through.refused(),
        trouble: through.trouble().map(|e| e.to_string()),
        browser: browser.version().to_string(),
        boundary,
        pictures,
    }))
}

/// What the sources promise is weaker than what a browser shows, and better than nothing.
async fn no_browser(ctx: &GateContext, error: &BrowserError) -> Outcome {
    let hint = "install chromium, or set [gates.release.fallback_ui] browser = \"/path/to/chrome\"";
    match declared::of(ctx).await {
        Some(place) => {
            let what = format!("{place} handles errors: declared, not demonstrated, because {error}");
            Outcome::warn(what).tier(Tier::E1).hint(hint)
        }
        None => Outcome::error("tool-missing", error.to_string()).hint(hint),
    }
}
