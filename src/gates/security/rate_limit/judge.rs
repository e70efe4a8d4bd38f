//! What bursts met, to a verdict. Pure.

use serde_json::json;

use super::ABOUT;
use super::burst::{Back, Burst, Kind, Route};
use crate::domain::units::{count, number};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};

/// A counter that rose more often than this has brothers.
const JUMPS_MAX: usize = 2;

pub fn judge(seen: &[(Route, Burst)], exempt: bool) -> Outcome {
    if exempt {
        let text = "this machine is exempt from the limiter: a client behind it is limited";
        return evidence(Outcome::error("loopback-exempt", text), seen)
            .hint("check from another machine, or declare a trusted proxy and let the check come as a client of 203.0.113.0/24");
    }
    if let Some((route, burst)) = seen.iter().find(|(_, b)| b.limited_at == Some(1)) {
        let text = format!("{} answered {} to the first request already", route.name(), burst.shots[0].status);
        return evidence(Outcome::error("always-limited", text), seen)
            .hint("wait until the limit of earlier requests is over, or name another route: routes");
    }
    let lost = |(route, burst): &&(Route, Burst)| {
        route.kind == Kind::Login && burst.shots.first().is_some_and(|shot| matches!(shot.status, 404 | 405 | 415))
    };
    if let Some((route, burst)) = seen.iter().find(lost) {
        let text = format!("{} answered {}: no login was tried", route.name(), burst.shots[0].status);
        return evidence(Outcome::error("no-login", text), seen).hint("name its path and its body: login, format");
    }
    let mut findings: Vec<Finding> = seen.iter().flat_map(|(route, burst)| findings_of(route, burst)).collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let more = |n: usize| if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let noted = findings.iter().filter(|f| f.severity >= Severity::Medium).count();
    let outcome = match findings.first().filter(|f| f.severity >= Severity::Medium) {
        Some(first) => {
            let text = format!("{}{}", first.message, more(noted));
            let outcome = if first.severity >= Severity::High { Outcome::fail(text) } else { Outcome::warn(text) };
            outcome.hint(first.fix.clone())
        }
        None => {
            let one = |(route, burst): &(Route, Burst)| match burst.limited_at {
                Some(nth) => format!("{} after {}", route.name(), nth - 1),
                None => format!("{} by its counter", route.name()),
            };
            let all: Vec<String> = seen.iter().map(one).collect();
            let open = if has_login(seen) { "" } else { "; no login was found to try" };
            Outcome::pass(format!("{} limited: {}{open}", count(seen.len(), "route"), all.join(", ")))
        }
    };
    let limited = seen.iter().filter(|(_, b)| b.limited_at.is_some() || b.counted || b.held_back).count();
    evidence(outcome.value(limited, seen.len()).tier(Tier::E3).findings(findings), seen)
}

fn has_login(seen: &[(Route, Burst)]) -> bool {
    seen.iter().any(|(route, _)| route.kind == Kind::Login)
}

/// Ended from outside: what was shown stays shown.
pub fn stopped(seen: &[(Route, Burst)], error: Outcome) -> Outcome {
    let findings: Vec<Finding> = seen.iter().flat_map(|(route, burst)| findings_of(route, burst)).collect();
    evidence(error.findings(findings), seen)
}

fn evidence(outcome: Outcome, seen: &[(Route, Burst)]) -> Outcome {
    let row = |(route, burst): &(Route, Burst)| {
        let statuses = burst.shots.iter().fold(std::collections::BTreeMap::<u16, u32>::new(), |mut all, shot| {
            *all.entry(shot.status).or_default() += 1;
            all
        });
        json!({
            "route": route, "sent": burst.shots.len(), "took_ms": burst.took_ms, "statuses": statuses,
            "limited_at": burst.limited_at, "counted": burst.counted, "bypassed_by": burst.bypassed,
            "jumps": burst.jumps, "back": burst.back, "first": burst.shots.first(), "last": burst.shots.last(),
        })
    };
    let rows: Vec<_> = seen.iter().map(row).collect();
    outcome.covered(seen.len() as u64, seen.len() as u64).evidence("rate_limit", json!(rows))
}

fn findings_of(route: &Route, burst: &Burst) -> Vec<Finding> {
    let name = route.name();
    let mut out = Vec::new();
    let mut miss = |rule: &str, severity, text: String, fix: &str| {
        let found = Finding::new(rule, severity, text).fix(fix).route(name.clone());
        out.push(found.identified_by(&[ABOUT.id, rule, &name]));
    };
    if burst.held_back && !burst.counted {
        let text = format!("{name}: nobody was refused, answers were held back instead: callers pile up in the queue");
        miss("held-back", Severity::Medium, text, "limit_req … nodelay; refuse with 429 what exceeds the burst");
        return out;
    }
    if burst.limited_at.is_none() && !burst.counted {
        let seconds = number((burst.took_ms as f64 / 100.0).round() / 10.0);
        let text = format!("{name}: {} in {seconds} s all accepted", count(burst.shots.len(), "request"));
        let (rule, fix) = match route.kind {
            Kind::Login => ("login-unlimited", "limit logins by account and by client address, e.g. 5 a minute"),
            _ => ("unlimited", ABOUT.fix),
        };
        miss(rule, Severity::High, text, fix);
        return out;
    }
    if !burst.bypassed.is_empty() {
        let text =
            format!("{name}: the limit is gone with {}: anybody can write that header", burst.bypassed.join(", "));
        let fix = "take the client's address from the connection, or from the header of a proxy that you trust and that \
                   overwrites it (trust proxy, set_real_ip_from, ProxyFix)";
        miss("bypass", Severity::High, text, fix);
    }
    if let Some(last) = burst.shots.last().filter(|_| burst.limited_at.is_some()) {
        if last.status == 503 {
            let text = format!("{name}: who asks too often gets 503, which tells of an outage");
            miss("status-503", Severity::Medium, text, "limit_req_status 429;");
        }
        if matches!(last.status, 403 | 423) {
            let text = format!("{name}: who asks too often gets {}, which tells of missing rights", last.status);
            miss("status-403", Severity::Medium, text, "answer 429 with Retry-After");
        }
        if last.announced.retry_s.is_none() {
            let text = format!("{name}: {} without Retry-After: clients cannot know when to come back", last.status);
            miss(
                "no-retry-after",
                Severity::Medium,
                text,
                "send Retry-After with every 429 (RFC 9110 10.2.3, RFC 6585 4)",
            );
        }
    }
    if burst.jumps > JUMPS_MAX {
        let text = format!("{name}: the rest of the quota rose {} times: each instance counts for itself", burst.jumps);
        miss(
            "per-instance",
            Severity::Medium,
            text,
            "keep the counters in a store that all instances share, such as Redis",
        );
    }
    match burst.back {
        Back::Never => {
            let text = format!("{name}: still limited when the wait was over");
            miss(
                "no-recovery",
                Severity::Medium,
                text,
                "let the window end; do not prolong it by requests that were refused",
            );
        }
        Back::Later { seconds } => {
            let text = format!("{name}: limited for {seconds} s, longer than was waited");
            miss("recovery-not-seen", Severity::Info, text, "raise max_wait to see the way back");
        }
        Back::NotAsked | Back::After { .. } => {}
    }
    out
}
