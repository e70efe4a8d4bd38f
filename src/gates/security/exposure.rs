//! Gate `security.exposure`: nothing that was meant for the team answers the public.
//!
//! Why at launch: a served `.git` or `.env` is the whole company in one GET, and scanners look for it within minutes of
//! the first DNS record. Touches the target with some 170 passive GETs of at most 64 KiB. First it learns what "not
//! found" looks like (`gates/calibrate.rs`); a hit then needs the content's fingerprint, never a 200 alone, so that
//! single-page apps stay clean. The list is `exposure/entries.toml`. Ports are not scanned yet.
//! Sources: WSTG-CONF-03 to 06, WSTG-INFO-03, ASVS 5 13.4. Fix: deny it at the edge and rotate what it showed.

mod entries;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use self::entries::{ENTRIES, Entry};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::calibrate::{self, NotFound};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::web;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::address::is_loopback;
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Response};

/// `[gates.security.exposure]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Paths that are public on purpose, each with its reason. A path may end in `*`.
    pub allow: Vec<Allow>,
}

/// `{ path = "/openapi.json", reason = "the API is public" }`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    pub path: String,
    /// Stands in every output beside the finding.
    pub reason: String,
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for allow in &self.allow {
            if !allow.path.starts_with('/') || allow.path == "/*" {
                problems.push(Problem::at(["allow"], format!("`{}` is not a path of this site", allow.path)));
            }
            if allow.reason.trim().is_empty() {
                problems.push(Problem::at(["allow"], format!("{} is allowed without a reason", allow.path)));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn reason_for(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or(path);
        let covers = |allowed: &str| match allowed.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == allowed,
        };
        self.allow.iter().find(|a| covers(&a.path)).map(|a| a.reason.as_str())
    }
}

/// Requests under way at once; the guard's own limit may be lower.
const CONCURRENCY: usize = 4;
/// Bundles whose source maps are asked for.
const BUNDLES_MAX: usize = 10;
/// More 429 and 503 than this share, and the answers say nothing about what is exposed.
const THROTTLED_RATIO: f64 = 0.1;

static ABOUT: About = About {
    id: "security.exposure",
    section: Section::Security,
    class: Class::A,
    line: "no publicly exposed sensitive endpoints (/admin, /debug)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: Duration::from_secs(240),
    skipped_for: &[Profile::Worker],
    reads: "some 160 paths of the target: version control, configuration, backups, keys, logs, debug and profiling, \
            metrics, admin pages, API documentation, source maps, folder listings",
    decides: "an answer counts when its content is what the path promises and differs from what unknown paths get. \
              Version control, configuration, backups, keys, debug, open admin pages and public metrics fail; login \
              pages of admin tools, API documentation, introspection, source maps and listings warn. Ports are not scanned",
    fix: "deny it at the edge (nginx: location ~ /\\.(?!well-known) { deny all; }), move metrics to ops_url, and rotate \
          whatever was readable. What is public on purpose: allow = [{ path = \"…\", reason = \"…\" }]",
};

pub struct Exposure;

impl Gate for Exposure {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        let shop = |what| Fixture::of(what).page(Page::new("/", "text/html", "<!doctype html><title>Shop</title>"));
        let head = Page::new("/.git/HEAD", "application/octet-stream", "ref: refs/heads/main\n");
        let config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";
        let config = Page::new("/.git/config", "application/octet-stream", config);
        Some(Proof {
            good: shop("only the front page answers"),
            bad: shop("the repository itself is served").page(head).page(config),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = check(ctx).await.unwrap_or_else(|outcome| *outcome);
            ctx.with_imports(&ABOUT, own)
        })
    }
}

/// One path that is exposed.
struct Exposed {
    path: String,
    what: String,
    status: u16,
    bytes: usize,
    matched: String,
    severity: Severity,
    confidence: Confidence,
    ops: bool,
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?;
    let config = &ctx.config.security.exposure;
    if let Err(problems) = config.validate() {
        return Err(Box::new(Outcome::error("bad-config", problems[0].to_string())));
    }
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let canary = web::canary(&ctx.guard.run);
    let not_found =
        calibrate::calibrate(&prober, &target.url, &canary).await.map_err(|uncertain| Box::new(uncertain.outcome()))?;
    let mut scan = Scan::default();
    let asks: Vec<BoxFuture<'_, _>> = ENTRIES.iter().map(|entry| ask(&prober, &target.url, entry).boxed()).collect();
    let mut asked = futures_util::stream::iter(asks).buffered(CONCURRENCY);
    while let Some((entry, answer)) = asked.next().await {
        if scan.answers.is_multiple_of(20) {
            (ctx.progress)(ABOUT.id, &format!("{} of {} paths", scan.answers, ENTRIES.len()));
        }
        scan.take(entry, answer, &not_found);
    }
    drop(asked);
    source_maps(&prober, &target.url, &not_found, &mut scan).await;
    Ok(judge(target, config, &not_found, scan))
}

async fn ask(prober: &Prober, base: &Url, entry: &'static Entry) -> (&'static Entry, Result<Response, NetError>) {
    (entry, calibrate::get(prober, base, &entry.path).await)
}

#[derive(Default)]
struct Scan {
    asked: u64,
    answers: u64,
    throttled: u64,
    statuses: BTreeMap<u16, u64>,
    exposed: Vec<Exposed>,
    stopped: Option<NetError>,
    failed: Vec<String>,
}

impl Scan {
    fn take(&mut self, entry: &Entry, answer: Result<Response, NetError>, not_found: &NotFound) {
        let Some(response) = self.count(&entry.path, answer) else { return };
        let Some(hit) = entry.judge(&response, not_found) else { return };
        self.exposed.push(Exposed {
            path: entry.path.clone(),
            what: if hit.login { format!("the login of {}", entry.what) } else { entry.what.clone() },
            status: response.status,
            bytes: response.body.len(),
            matched: hit.matched,
            severity: hit.severity,
            confidence: hit.confidence,
            ops: entry.ops,
        });
    }

    fn count(&mut self, path: &str, answer: Result<Response, NetError>) -> Option<Response> {
        self.asked += 1;
        match answer {
            Ok(response) => {
                self.answers += 1;
                self.throttled += u64::from(matches!(response.status, 429 | 503));
                *self.statuses.entry(response.status).or_default() += 1;
                Some(response)
            }
            Err(error) => {
                self.failed.push(format!("{path}: {error}"));
                if matches!(error, NetError::Stopped(_) | NetError::Refused(_)) {
                    self.stopped.get_or_insert(error);
                }
                None
            }
        }
    }
}

/// Asks for the source maps of the front page's own bundles.
async fn source_maps(prober: &Prober, base: &Url, not_found: &NotFound, scan: &mut Scan) {
    let Ok(front) = calibrate::get(prober, base, base.path()).await else { return };
    if !web::is_html(&front) {
        return;
    }
    let tags = web::tags(&front.text(), "script");
    let bundles = tags.iter().filter_map(|t| base.join(t.get("src")?).ok()).filter(|u| u.origin() == base.origin());
    for bundle in bundles.take(BUNDLES_MAX) {
        let path = format!("{}.map", bundle.path());
        let answer = calibrate::get(prober, base, &path).await;
        let Some(response) = scan.count(&path, answer) else { continue };
        let text = response.text();
        // `sourcesContent` may lie beyond what is read; the beginning of a map is unmistakable.
        let is_map = text.trim_start().starts_with('{') && text.contains("\"version\"") && text.contains("\"sources\"");
        if response.status == 200 && is_map && !web::is_html(&response) && !not_found.is_like(&response) {
            scan.exposed.push(Exposed {
                path,
                what: "the source code behind the bundle (a source map)".into(),
                status: 200,
                bytes: response.body.len(),
                matched: "\"version\" and \"sources\"".into(),
                severity: Severity::Medium,
                confidence: Confidence::High,
                ops: false,
            });
        }
    }
}

/// Everything from what was seen. Pure.
fn judge(target: &Target, config: &Config, not_found: &NotFound, scan: Scan) -> Outcome {
    // Nobody but this machine reaches a loopback target; if it says that its operators' address is the same, it is.
    let is_own_ops =
        is_loopback(&target.url) && target.ops_url.as_ref().is_some_and(|ops| ops.origin() == target.url.origin());
    let findings: Vec<Finding> = scan
        .exposed
        .iter()
        .map(|e| {
            let shown = target.url.join(&e.path).map_or_else(|_| e.path.clone(), |u| crate::net::redact_url(&u));
            let mut finding = Finding::new("exposed", e.severity, format!("{shown} serves {}", e.what))
                .confidence(e.confidence)
                .route(format!("GET {}", e.path))
                .identified_by(&["security.exposure", &e.path])
                .fix(fix(e));
            finding.suppressed = match config.reason_for(&e.path) {
                Some(reason) => Some(format!("allowed: {reason}")),
                None if e.ops && is_own_ops => Some("ops_url of a loopback target".into()),
                None => None,
            };
            finding
        })
        .collect();
    let open: Vec<&Finding> = findings.iter().filter(|f| f.suppressed.is_none()).collect();
    let fails = |f: &&&Finding| f.severity >= Severity::High && f.confidence == Confidence::High;
    let outcome = match (open.iter().find(fails), open.first()) {
        (Some(worst), _) => {
            let count = open.iter().filter(fails).count();
            Outcome::fail(format!("{count} of {} paths are exposed: {}", scan.asked, worst.message)).hint(hint(worst))
        }
        (None, _) if scan.stopped.is_some() => {
            let error = scan.stopped.clone().unwrap_or(NetError::Stopped("stopped".into()));
            let done = format!("{} of {} paths asked", scan.answers, scan.asked);
            let trouble = web::trouble(&error);
            Outcome { summary: format!("{} ({done})", trouble.summary), ..trouble }
        }
        (None, _) if scan.throttled as f64 > scan.answers as f64 * THROTTLED_RATIO => {
            Outcome::error("throttled", format!("{} of {} paths answered 429 or 503", scan.throttled, scan.answers))
                .hint("lower safety.rps, or let hypercare's address through the limiter")
        }
        (None, Some(first)) => {
            Outcome::warn(format!("{} paths deserve a look: {}", open.len(), first.message)).hint(hint(first))
        }
        (None, None) if not_found.is_closed() => {
            Outcome::warn(format!("everything asks for a login first; {} paths prove nothing behind it", scan.asked))
                .hint("check again without the login, as the public will see it")
        }
        (None, None) => Outcome::pass(format!("none of {} sensitive paths answers", scan.asked)),
    };
    let hits: Vec<_> = scan
        .exposed
        .iter()
        .map(|e| json!({ "path": e.path, "what": e.what, "status": e.status, "bytes": e.bytes, "known_by": e.matched }))
        .collect();
    let count = open.len();
    outcome.value(count, 0).covered(scan.answers, scan.asked).tier(Tier::E3).findings(findings).evidence(
        "exposure",
        json!({
            "calibration": not_found.record(), "soft_404": not_found.is_soft(), "asked": scan.asked,
            "statuses": scan.statuses.iter().map(|(s, n)| (s.to_string(), *n)).collect::<BTreeMap<_, _>>(),
            "hits": hits, "failed": scan.failed,
        }),
    )
}

fn fix(e: &Exposed) -> &'static str {
    if e.ops {
        "serve metrics on an address of their own and name it ops_url, or ask for a token"
    } else if e.path.starts_with("/.") {
        "nginx: location ~ /\\.(?!well-known) { deny all; }; rotate anything it showed"
    } else {
        match e.severity {
            Severity::Critical | Severity::High => {
                "deny it at the edge, or put a login before it; rotate anything it showed"
            }
            _ => "deny it at the edge, or allow it with a reason",
        }
    }
}

fn hint(finding: &Finding) -> String {
    format!("{}. {}", finding.message, finding.fix)
}
