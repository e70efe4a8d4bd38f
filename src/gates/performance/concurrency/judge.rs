//! What a thousand users met, to a verdict. Pure.

use serde_json::json;

use super::people::Routes;
use super::{ABOUT, Config};
use crate::domain::units::{count, number};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier, fingerprint};
use crate::gates::database::connections::Connections;
use crate::load::users::{Report, Step, StepReport};

pub struct Seen {
    pub report: Report,
    pub pool: Option<Connections>,
    pub names: Vec<String>,
    pub signs_in: bool,
    pub routes: Routes,
}

/// Of users and of requests.
const SUCCESS_MIN: f64 = 0.99;
/// More 429 than this and a limiter was measured, not the service.
const THROTTLED_MAX: f64 = 0.01;
/// Up to so many times p95_ms the gate warns.
const SLOW_FACTOR: f64 = 2.5;
/// Of the database's connections.
const POOL_MAX: f64 = 0.8;
/// A generator that wakes up later than this measures itself.
const LAG_MS_MAX: f64 = 250.0;
/// Mix-ups that are listed.
const SHOWN: usize = 5;

pub fn no_page() -> Outcome {
    Outcome::error("no-page", "no route shows users who they are, so mix-ups could not be seen")
        .hint("[gates.performance.concurrency] me = \"/path\" of a page that names the signed-in user")
}

pub fn judge(seen: &Seen, config: &Config) -> Outcome {
    let report = &seen.report;
    let step = |which: Step| report.steps.get(&which).cloned().unwrap_or_default();
    let (login, page) = (step(Step::Login), step(Step::Page));
    let (what, held) = match seen.signs_in {
        true => ("signed in", "sessions"),
        false => ("came", "visitors"),
    };
    let mut summary = format!("{} of {} {what}, {} {held} at one instant", report.arrived, report.users, report.peak);
    if seen.signs_in {
        summary += &format!(", login p95 {} ms", number(login.latency_ms.p95));
    }
    let evidence = json!({
        "report": Report { mix_ups: Vec::new(), ..report.clone() }, "database": seen.pool, "routes": seen.routes,
        "mix_ups": report.mix_ups.iter().take(100).map(|m| json!({
            "user": hashed(&seen.names, m.user), "saw": hashed(&seen.names, m.saw), "times": m.times,
        })).collect::<Vec<_>>(),
    });
    let done = |outcome: Outcome| {
        let outcome = outcome.value(report.peak, report.users).tier(Tier::E3).evidence("concurrency", evidence.clone());
        outcome.covered(report.arrived as u64, report.users as u64)
    };
    let failed = |s: &StepReport| s.errors.values().sum::<u64>() + by(s, |status| status >= 400);
    let throttled = by(&login, |s| s == 429) + by(&page, |s| s == 429);
    let all = login.requests + page.requests;
    let share = |n: u64, of: u64| if of == 0 { 0.0 } else { n as f64 / of as f64 };

    // A page of somebody else is the service's fault, whatever else went wrong.
    let mut findings = Vec::new();
    if !report.mix_ups.is_empty() {
        let users = report.mix_ups.iter().map(|m| m.user).collect::<std::collections::BTreeSet<_>>().len();
        let shown: Vec<String> = (report.mix_ups.iter().take(SHOWN))
            .map(|m| format!("{} saw {}", hashed(&seen.names, m.user), hashed(&seen.names, m.saw)))
            .collect();
        let me = seen.routes.me.as_deref().unwrap_or("the page");
        let text = format!("{} saw somebody else's {me}: {}", count(users, "user"), shown.join(", "));
        let fix = "keep the user with the request (AsyncLocalStorage, contextvars, request.user), never in a global or in a \
                   cache without the session in its key";
        findings.push(miss("mix-up", Severity::Critical, text).fix(fix));
    }
    if report.shared_sessions > 0 {
        let text = format!("{} given to more than one user", count(report.shared_sessions, "session id was"));
        let fix = "make session ids of 128 random bits, a new one at each login; never cache Set-Cookie";
        findings.push(miss("shared-session", Severity::Critical, text).fix(fix));
    }
    let not_measured = || not_measured(seen, &login, &page, throttled, all);
    if let Some(outcome) = findings.is_empty().then(not_measured).flatten() {
        return done(outcome);
    }
    let (ok, missing) = (share(report.peak as u64, report.users as u64), share(failed(&login) + failed(&page), all));
    if ok < SUCCESS_MIN {
        let lost = if report.lost > 0 { format!(", {} lost", count(report.lost, "session")) } else { String::new() };
        let text = format!("{summary}{lost}: {}", statuses(&login, &page));
        findings.push(miss("sessions", Severity::High, text));
    }
    if missing > 1.0 - SUCCESS_MIN {
        let text = format!("{} % of the requests failed: {}", number(missing * 100.0), statuses(&login, &page));
        findings.push(miss("errors", Severity::High, text));
    }
    let broken = by(&login, |s| s >= 500) + by(&page, |s| s >= 500);
    if broken > 0 && missing <= 1.0 - SUCCESS_MIN {
        let text = format!("{} answered 5xx: {}", count(broken as usize, "request was"), statuses(&login, &page));
        findings.push(miss("server-error", Severity::High, text));
    }
    if seen.signs_in && login.latency_ms.p95 > config.p95_ms {
        let (p95, limit) = (number(login.latency_ms.p95), number(config.p95_ms));
        let hard = login.latency_ms.p95 > config.p95_ms * SLOW_FACTOR;
        let text = format!("login p95 {p95} ms (≤ {limit} ms)");
        let fix = "give hashing more cores or workers; do not make the hash cheaper";
        findings.push(miss("slow-login", if hard { Severity::High } else { Severity::Medium }, text).fix(fix));
    }
    if let Some(pool) = seen.pool.filter(|p| p.most > 0) {
        let used = share(pool.used, pool.most);
        if used > POOL_MAX {
            let text = format!("{} of {} database connections in use", pool.used, pool.most);
            let fix = "put a pooler in between, or bound the pools of all instances below max_connections";
            findings.push(miss("pool", if used >= 1.0 { Severity::High } else { Severity::Medium }, text).fix(fix));
        }
    }
    if report.outlived > 0 {
        let text = format!("{} of {} sessions still worked after signing out", report.outlived, report.signed_out);
        let fix = "end the session on the server at logout (ASVS 5.0 7.4.1)";
        findings.push(miss("logout", Severity::Medium, text).fix(fix));
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let Some(first) = findings.first().cloned() else { return done(Outcome::pass(summary)) };
    let more = if findings.len() > 1 { format!(" and {} more", findings.len() - 1) } else { String::new() };
    let text = format!("{}{more}", first.message);
    let outcome = if first.severity >= Severity::High { Outcome::fail(text) } else { Outcome::warn(text) };
    done(outcome.findings(findings).hint(first.fix))
}

/// Why the run says nothing about the service.
fn not_measured(seen: &Seen, login: &StepReport, page: &StepReport, throttled: u64, all: u64) -> Option<Outcome> {
    let report = &seen.report;
    if report.interrupted {
        return Some(Outcome::error("interrupted", "the test was interrupted"));
    }
    let answered: u64 = login.by_status.values().chain(page.by_status.values()).sum();
    if answered == 0 {
        return Some(Outcome::error("nothing-measured", format!("no request was answered: {}", statuses(login, page))));
    }
    if throttled as f64 > THROTTLED_MAX * all as f64 {
        let text = format!("{throttled} of {all} answers were 429: a rate limiter was measured");
        return Some(Outcome::error("throttled", text).hint("exempt this source from the limiter on staging"));
    }
    let refused = by(login, |s| matches!(s, 400 | 401 | 403 | 404 | 405 | 415 | 422));
    if seen.signs_in && report.arrived == 0 && refused == login.requests {
        let path = seen.routes.login.as_deref().unwrap_or("the login");
        let text = format!("{path} refused every account: {}", statuses(login, page));
        let hint = "seed the accounts on staging; see login, format, username_field and password_field";
        return Some(Outcome::error("no-users", text).hint(hint));
    }
    if seen.signs_in && report.arrived > 0 && report.own == 0 {
        let me = seen.routes.me.as_deref().unwrap_or("the page");
        let text = format!("{me} names no user, so mix-ups could not be seen ({})", statuses(login, page));
        return Some(match page.by_status.contains_key(&200) {
            true => Outcome::error("no-page", text).hint("me = \"/path\" of a page that names the signed-in user"),
            false => return None,
        });
    }
    if report.lag_p99_ms > LAG_MS_MAX {
        let text = format!("the generator was late by {} ms (p99)", number(report.lag_p99_ms));
        return Some(
            Outcome::error("generator-saturated", text)
                .hint("run the gate from a machine of its own, or with more cores"),
        );
    }
    None
}

fn miss(rule: &str, severity: Severity, text: String) -> Finding {
    Finding::new(rule, severity, text).identified_by(&[ABOUT.id, rule]).fix(ABOUT.fix)
}

fn by(step: &StepReport, is: impl Fn(u16) -> bool) -> u64 {
    step.by_status.iter().filter(|(status, _)| is(**status)).map(|(_, n)| n).sum()
}

/// `login 200 × 990, 500 × 10; page 200 × 9000, timeout × 3`
fn statuses(login: &StepReport, page: &StepReport) -> String {
    let one = |name: &str, step: &StepReport| {
        let codes = step.by_status.iter().map(|(status, n)| format!("{status} × {n}"));
        let faults = step.errors.iter().map(|(fault, n)| format!("{fault} × {n}"));
        format!("{name} {}", codes.chain(faults).collect::<Vec<_>>().join(", "))
    };
    let parts = [("login", login), ("page", page)];
    parts.iter().filter(|(_, s)| s.requests > 0).map(|(name, s)| one(name, s)).collect::<Vec<_>>().join("; ")
}

/// Names of accounts stay out of the report: enough to find the same one again.
fn hashed(names: &[String], user: usize) -> String {
    let name = names.get(user).map_or("", String::as_str);
    fingerprint(&[ABOUT.id, name]).chars().take(8).collect()
}
