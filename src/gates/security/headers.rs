//! Gate `security.headers`: every kind of answer carries the headers that tell browsers what to refuse.
//!
//! Why at launch: a page without them is one injected script away from losing its users' sessions, and the fix is one
//! line of middleware. Touches the target with some thirty passive requests. Scored as Mozilla's HTTP Observatory does
//! (`headers/score.rs`); the worst class of answers decides, because a header set on pages alone vanishes on errors.
//! Sources: HTTP Observatory's scoring, ASVS 5 3.3 and 3.4, WSTG-CONF-07, CONF-14, CLNT-07. Read `headers/classes.rs`
//! for what is asked, `headers/csp.rs` and `headers/cors.rs` for the two rules that need thought.

mod classes;
mod cors;
mod csp;
mod score;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::classes::{Collected, Role};
use self::score::{Level, Mark, Sheet};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::web;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::NetError;
use crate::net::safety::Intent;

/// `[gates.security.headers]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Score from which the gate passes, 50 to 100 points. Below 50 it fails. The checklist's number.
    pub minimum: u32,
    /// More pages to look at, as paths: `["/shop", "/account"]`.
    pub pages: Vec<String>,
    /// Paths of the API that answer JSON. Default: `/api`, `/api/v1` and what the front page itself is.
    pub api: Vec<String>,
    /// Cookies of the platform (session affinity, bot defence) whose flags are not yours to set.
    pub exempt_cookies: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let exempt = ["AWSALB", "AWSALBCORS", "AWSALBTG", "AWSALBTGCORS", "ARRAffinity", "ARRAffinitySameSite"];
        let defence = ["__cf_bm", "__cfduid", "cf_clearance", "incap_ses", "visid_incap", "BIGipServer"];
        Config {
            minimum: 75,
            pages: Vec::new(),
            api: Vec::new(),
            exempt_cookies: exempt.into_iter().chain(defence).map(String::from).collect(),
        }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if !(FAIL_BELOW as u32..=100).contains(&self.minimum) {
            problems.push(Problem::at(["minimum"], format!("must be between {FAIL_BELOW} and 100")));
        }
        for (key, paths) in [("pages", &self.pages), ("api", &self.api)] {
            if let Some(bad) = paths.iter().find(|p| !p.starts_with('/')) {
                problems.push(Problem::at([key], format!("`{bad}` is not a path; it must start with /")));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// HTTP Observatory's D+ and worse.
const FAIL_BELOW: i32 = 50;
/// A certificate that ends sooner will end during the watch or on a weekend.
const CERTIFICATE_DAYS_MIN: u64 = 14;

static ABOUT: About = About {
    id: "security.headers",
    section: Section::Security,
    class: Class::B,
    line: "security headers enabled (helmet, CORS, etc.)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[Profile::Worker],
    reads: "the front page, a login page, API answers, a 404, a 400, a static file and a redirect of the target, and how \
            it answers foreign origins (CORS)",
    decides: "each class of answers is scored as HTTP Observatory does; the worst one decides: 75 points pass, below 50 \
              fails. Credentialed CORS for any origin, session cookies open to scripts, https without HSTS, an ending \
              certificate, or a page with no protection at all fail at once. Plain http can at best warn",
    fix: "Express: app.use(helmet()); nginx: add_header … always in the server block, repeated in every location that \
          adds one",
};

pub struct Headers;

impl Gate for Headers {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        const SAFE: &[(&str, &str)] = &[
            (
                "content-security-policy",
                "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; object-src 'none'",
            ),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ];
        let shop = |what, headers: &[(&'static str, &'static str)]| {
            let page =
                || Page::new("/", "text/html; charset=utf-8", "<!doctype html><title>Shop</title>").headers(headers);
            let lost = Page { path: "/*", status: 404, ..page() };
            Fixture { profile: Profile::WebApp, ..Fixture::of(what) }.page(page()).page(lost)
        };
        let bad =
            shop("no security header is sent, and the server names itself", &[("x-powered-by", "Express 4.17.1")]);
        Some(Proof { good: shop("every security header is sent", SAFE), bad })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = check(ctx).await.unwrap_or_else(|outcome| *outcome);
            ctx.with_imports(&ABOUT, own)
        })
    }
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?;
    let config = &ctx.config.security.headers;
    if let Err(problems) = config.validate() {
        return Err(Box::new(Outcome::error("bad-config", problems[0].to_string())));
    }
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let canary = web::canary(&ctx.guard.run);
    let collected = match classes::collect(&prober, &target.url, config, &canary).await {
        Ok(collected) => collected,
        Err(NetError::Tls(why)) => return Ok(broken_certificate(&why)),
        Err(error) => return Err(Box::new(web::trouble(&error))),
    };
    if let Some(front) = collected.seen.iter().find(|s| s.role == Role::Page && s.response.status >= 500) {
        let what = format!("the front page answers {}; headers of a broken page prove nothing", front.response.status);
        return Err(Box::new(Outcome::error("server-error", what).hint("start the target properly, or correct --url")));
    }
    let mut answers = Vec::new();
    for seen in collected.seen.iter().filter(|s| matches!(s.role, Role::Page | Role::Api)).take(2) {
        answers.extend(cors::ask(&prober, &seen.url, &canary).await);
    }
    Ok(judge(ctx, &collected, &answers))
}

fn broken_certificate(why: &str) -> Outcome {
    let finding = Finding::new("certificate", Severity::High, format!("the certificate is not valid: {why}"))
        .identified_by(&["certificate"])
        .fix("serve a valid certificate with its full chain");
    Outcome::fail(format!("the certificate is not valid: {why}")).tier(Tier::E3).covered(1, 1).findings(vec![finding])
}

/// Everything from what was seen. Pure but for the clock, which the certificate's end is held against.
fn judge(ctx: &GateContext, collected: &Collected, answers: &[cors::Answer]) -> Outcome {
    let config = &ctx.config.security.headers;
    let view = score::View {
        https: collected.https,
        api_profile: ctx.profile == Profile::WebApi,
        exempt_cookies: &config.exempt_cookies,
    };
    let mut sheets: Vec<Sheet> = collected.seen.iter().map(|seen| score::sheet(seen, &view)).collect();
    let mut common = cors::judge(answers);
    common.extend(collected.https_redirect.mark());
    common.extend(certificate(ctx, collected));
    // What concerns the whole site is counted on the class that stands for it.
    if let Some(first) = sheets.first_mut() {
        first.marks.extend(common);
    }
    let worst = sheets.iter().min_by_key(|s| s.score());
    let (score, worst_class) = worst.map_or((0, "nothing"), |s| (s.score(), s.class));
    let findings = findings(&sheets);
    let verdict = verdict(&sheets, score, config.minimum as i32, collected.https);
    let lacks = missing(&sheets);
    let mut summary = summary(score, worst_class, &lacks, collected.https, sheets.len());
    if let Some(front) = collected.seen.first().filter(|s| s.response.status >= 400) {
        summary.push_str(&format!("; the front page answers {}", front.response.status));
    }
    let mut outcome = match verdict {
        Verdict::Fail => Outcome::fail(summary),
        Verdict::Warn => Outcome::warn(summary),
        _ => Outcome::pass(summary),
    };
    if verdict != Verdict::Pass {
        outcome = outcome.hint(hint(&lacks, &findings, collected.https));
    }
    outcome
        .value(score, config.minimum)
        .covered(sheets.len() as u64, (sheets.len() + collected.missed.len()) as u64)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("headers", evidence(collected, &sheets))
        .evidence("cors", json!(answers))
}

fn verdict(sheets: &[Sheet], score: i32, minimum: i32, https: bool) -> Verdict {
    let worst_level = sheets.iter().flat_map(|s| &s.marks).map(|m| m.level).max().unwrap_or(Level::Good);
    if worst_level == Level::Fail || score < FAIL_BELOW {
        Verdict::Fail
    } else if worst_level == Level::Warn || score < minimum || !https {
        Verdict::Warn
    } else {
        Verdict::Pass
    }
}

fn certificate(ctx: &GateContext, collected: &Collected) -> Option<Mark> {
    let facts = collected.seen.iter().find_map(|s| s.response.tls.as_ref())?;
    let days = facts.not_after.since(ctx.clock.now()).as_secs() / 86_400;
    (days < CERTIFICATE_DAYS_MIN)
        .then(|| Mark::new("certificate", 0, Level::Fail, format!("the certificate ends in {days} days")))
}

/// One finding per rule, with the classes it was seen on.
fn findings(sheets: &[Sheet]) -> Vec<Finding> {
    let mut by_rule: BTreeMap<&str, (Vec<&str>, &Mark)> = BTreeMap::new();
    for sheet in sheets {
        for mark in sheet.marks.iter().filter(|m| m.is_bad()) {
            let (classes, worst) = by_rule.entry(mark.rule).or_insert_with(|| (Vec::new(), mark));
            if !classes.contains(&sheet.class) {
                classes.push(sheet.class);
            }
            if (mark.level, -mark.points) > (worst.level, -worst.points) {
                *worst = mark;
            }
        }
    }
    let mut found: Vec<Finding> = by_rule
        .into_iter()
        .map(|(rule, (classes, mark))| {
            Finding::new(rule, mark.severity(), format!("{} ({})", mark.what, classes.join(", ")))
                .identified_by(&["security.headers", rule])
                .fix(score::fix(rule))
        })
        .collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.rule.cmp(&b.rule)));
    found
}

/// Missing headers by name, each with the classes that lack it.
fn missing(sheets: &[Sheet]) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for sheet in sheets {
        for header in sheet.marks.iter().filter_map(|m| m.missing) {
            let classes = out.entry(header).or_default();
            if !classes.contains(&sheet.class) {
                classes.push(sheet.class);
            }
        }
    }
    out
}

fn summary(score: i32, worst: &str, lacks: &BTreeMap<&str, Vec<&str>>, https: bool, classes: usize) -> String {
    let mut text = format!("{score} points ({}), worst of {classes} classes: {worst}", score::grade(score));
    if !lacks.is_empty() {
        text.push_str(&format!("; missing {}", lacks.keys().copied().collect::<Vec<_>>().join(", ")));
    }
    if !https {
        text.push_str("; plain http, so HSTS and Secure cookies are not judged");
    }
    text
}

fn hint(lacks: &BTreeMap<&str, Vec<&str>>, findings: &[Finding], https: bool) -> String {
    if !lacks.is_empty() {
        let each: Vec<String> =
            lacks.iter().map(|(name, classes)| format!("{name} on {}", classes.join(", "))).collect();
        return format!("missing: {}. {}", each.join("; "), ABOUT.fix);
    }
    match findings.first() {
        Some(first) if first.severity >= Severity::Medium => format!("{}: {}", first.message, first.fix),
        _ if !https => "check the https address that users will see: --url https://…".into(),
        _ => ABOUT.fix.into(),
    }
}

/// Headers by class without cookie values, the sheets line by line, and the comparison with helmet's defaults.
fn evidence(collected: &Collected, sheets: &[Sheet]) -> Value {
    let classes: Vec<Value> = collected
        .seen
        .iter()
        .zip(sheets)
        .map(|(seen, sheet)| {
            let headers: Vec<[String; 2]> =
                seen.response.headers.iter().map(|(n, v)| [n.clone(), shown(n, v)]).collect();
            let lines: Vec<Value> = sheet
                .marks
                .iter()
                .map(|m| json!({ "rule": m.rule, "points": m.points, "level": m.level.word(), "what": m.what }))
                .collect();
            json!({
                "class": sheet.class, "route": seen.route, "status": seen.response.status, "score": sheet.score(),
                "headers": headers, "sheet": lines,
            })
        })
        .collect();
    let front = collected.seen.iter().find(|s| s.role != Role::Redirect);
    let helmet: BTreeMap<&str, Option<&str>> =
        score::HELMET.iter().map(|name| (*name, front.and_then(|s| s.response.header(name)))).collect();
    let tls = collected.seen.iter().find_map(|s| s.response.tls.as_ref()).map(|t| {
        json!({ "not_before": t.not_before.rfc3339(), "not_after": t.not_after.rfc3339(), "subject": t.subject, "issuer": t.issuer })
    });
    json!({
        "classes": classes, "helmet": helmet, "certificate": tls, "missed": collected.missed,
        "https_redirect": collected.https_redirect.word(),
    })
}

/// A header's value as evidence may keep it: a cookie without its value.
fn shown(name: &str, value: &str) -> String {
    if name != "set-cookie" {
        return value.chars().filter(|c| !c.is_control()).take(1000).collect();
    }
    let (pair, rest) = value.split_once(';').map_or((value, String::new()), |(p, r)| (p, format!(";{r}")));
    format!("{}=[redacted]{rest}", pair.split('=').next().unwrap_or("").trim())
}
