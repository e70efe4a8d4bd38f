//! What was seen of the endpoints, to a verdict. Pure.

use std::collections::BTreeMap;

use super::{Answer, Config, Role, Seen, answers};
use crate::domain::exposition;
use crate::domain::release::ReleaseId;
use crate::domain::service::Profile;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::release::endpoint_answers::Named;

/// The value that `share` of the sorted values do not exceed (nearest rank).
fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[derive(Debug, Default)]
struct Findings {
    fails: Vec<Finding>,
    warns: Vec<Finding>,
    notes: Vec<Finding>,
}

fn finding(rule: &str, severity: Severity, path: &str, message: impl Into<String>, fix: impl Into<String>) -> Finding {
    let route = format!("GET {path}");
    Finding::new(rule, severity, message).fix(fix).identified_by(&[rule, &route]).route(route)
}

/// Pure: what was seen, to a verdict.
pub(super) fn judge(seen: &Seen, config: &Config, profile: Profile, rid: &ReleaseId) -> Outcome {
    let required = Role::required(profile);
    let unlocked = |answer: &Answer| !matches!(answer.status, 401 | 403);
    if !seen.unknown.is_empty()
        && seen.unknown.values().chain(seen.blocked.values()).all(|a| !unlocked(a))
        && seen.found.is_empty()
    {
        return Outcome::error("no-credentials", "every path asks for credentials")
            .hint("let the four endpoints answer without them, or name an ops_url that does")
            .evidence("endpoints", evidence(seen));
    }
    let mut out = Findings::default();
    let mut unknown_release = false;
    for role in required.iter().copied() {
        match (seen.found.get(&role), seen.blocked.get(&role)) {
            (Some(answer), _) => correct(role, answer, seen, config, rid, &mut out, &mut unknown_release),
            // Metrics behind a password are ready; who may scrape them is for security.exposure.
            (None, Some(blocked)) if role == Role::Metrics && !unlocked(blocked) => out.notes.push(finding(
                "metrics-authenticated",
                Severity::Info,
                &blocked.path,
                format!("{} asks for credentials ({}), so it was not parsed", blocked.path, blocked.status),
                "nothing to do",
            )),
            (None, blocked) => missing(role, blocked, config, &mut out),
        }
    }
    catch_all(seen, &mut out);
    if !seen.found.contains_key(&Role::Ready) && required.contains(&Role::Health) {
        let fix = "answer 503 while a dependency is down, and 200 on the health endpoint";
        out.notes.push(finding("no-readiness", Severity::Info, &config.ready.join(" "), "no readiness endpoint", fix));
    }
    conclude(seen, out, required, unknown_release, rid)
}

fn missing(role: Role, blocked: Option<&Answer>, config: &Config, out: &mut Findings) {
    let first = role.paths(config).first().map_or("", |p| p.as_str());
    let (message, fix) = match blocked.map(|b| (b.status, b.path.as_str())) {
        Some((status @ 300..=399, path)) => {
            (format!("{path} redirects ({status})"), "answer without a login".to_string())
        }
        Some((status @ (401 | 403), path)) => {
            (format!("{path} asks for credentials ({status})"), "answer without a login".into())
        }
        Some((429, path)) => (format!("{path} is rate limited (429)"), "leave the endpoint out of the limiter".into()),
        Some((status, path)) => (format!("{path} answers {status}"), "mend the endpoint".into()),
        None => (
            format!("no {} endpoint: {} answer nothing of their own", role.word(), role.paths(config).join(", ")),
            format!("serve {first}"),
        ),
    };
    out.fails.push(finding(&format!("missing-{}", role.word()), Severity::High, first, message, fix));
}

fn correct(
    role: Role,
    answer: &Answer,
    seen: &Seen,
    config: &Config,
    rid: &ReleaseId,
    out: &mut Findings,
    unknown_release: &mut bool,
) {
    let path = answer.path.as_str();
    if let Some(odd) = seen.odd.get(&role) {
        let list: Vec<String> = odd.iter().map(|(status, n)| format!("{n}x {status}")).collect();
        let (rule, fix) = match odd.contains_key(&429) {
            true => ("rate-limited", "leave the endpoint out of the limiter"),
            false => ("unsteady", "every instance must answer 200"),
        };
        out.fails.push(finding(
            rule,
            Severity::High,
            path,
            format!("{path} also answered {} of {} calls", list.join(", "), config.calls),
            fix,
        ));
    }
    match role {
        Role::Health => health(answer, seen, config, out),
        Role::Status => {
            if config.status.first().is_some_and(|first| first != path) {
                let first = &config.status[0];
                out.warns.push(finding(
                    "status-alias",
                    Severity::Low,
                    path,
                    format!("the status is at {path}, not at {first}"),
                    format!("serve it at {first} too"),
                ));
            }
            if !serde_json::from_str::<serde_json::Value>(&answer.body).is_ok_and(|v| v.is_object() || v.is_array()) {
                out.warns.push(finding(
                    "status-not-json",
                    Severity::Low,
                    path,
                    format!("{path} is no JSON with the state of each part"),
                    "answer {\"status\": …, \"components\": {…}}",
                ));
            }
        }
        Role::Metrics => match exposition::parse(answer.content_type.as_deref(), answer.body.as_bytes()) {
            Ok(parsed) if parsed.samples.is_empty() => {
                out.fails.push(finding(
                    "metrics-empty",
                    Severity::High,
                    path,
                    format!("{path} holds no sample"),
                    "register the metrics before the server starts",
                ));
            }
            Ok(_) if !answer.ops => out.notes.push(finding(
                "metrics-public",
                Severity::Info,
                path,
                format!("{path} is open on the public address"),
                "serve it on an internal address and name that as ops_url; security.exposure judges it",
            )),
            Ok(_) => {}
            Err(error) => out.fails.push(finding(
                "metrics-broken",
                Severity::High,
                path,
                format!("{path}: {error}"),
                "serve the Prometheus text format with its content type",
            )),
        },
        Role::Version => version(answer, seen, rid, out, unknown_release),
        Role::Ready => {}
    }
}

fn health(answer: &Answer, seen: &Seen, config: &Config, out: &mut Findings) {
    let path = answer.path.as_str();
    if let Some(status) = answers::claims_trouble(&answer.body) {
        out.fails.push(finding(
            "health-lies",
            Severity::High,
            path,
            format!("{path} answers 200 and says `{status}`"),
            "answer 503 while unhealthy",
        ));
    }
    if let Some(p95) = percentile(&seen.health_ms, 0.95).filter(|p| *p > config.p95_ms) {
        let message = format!("{path} p95 is {p95:.0} ms, limit {:.0} ms", config.p95_ms);
        out.warns.push(finding(
            "health-slow",
            Severity::Medium,
            path,
            message,
            "check dependencies in the background, not in the request",
        ));
    }
    if !answer.cache_control.as_deref().is_some_and(|c| c.to_ascii_lowercase().contains("no-store")) {
        out.warns.push(finding(
            "health-cacheable",
            Severity::Low,
            path,
            format!("{path} may be cached"),
            "send Cache-Control: no-store",
        ));
    }
    // Operators may see details on their own address.
    if let Some(detail) = answers::detail(&answer.body).filter(|_| !answer.ops) {
        let detail: String = detail.chars().take(60).collect();
        out.warns.push(finding(
            "health-detail",
            Severity::Medium,
            path,
            format!("{path} tells strangers about `{detail}`"),
            "say pass or fail only; serve details on ops_url",
        ));
    }
}

fn version(answer: &Answer, seen: &Seen, rid: &ReleaseId, out: &mut Findings, unknown_release: &mut bool) {
    let path = answer.path.as_str();
    if seen.versions.len() > 1 {
        let list: Vec<String> = seen.versions.iter().map(|(n, count)| format!("{} ({count}x)", shown(n))).collect();
        out.fails.push(finding(
            "version-skew",
            Severity::High,
            path,
            format!("{path} differs between calls: {}", list.join(", ")),
            "roll every instance to the release",
        ));
        return;
    }
    let Some(named) = seen.versions.keys().next() else { return };
    let commit = named.commit.as_deref().zip(rid.commit.as_deref()).map(|(a, b)| answers::same_commit(a, b));
    let version = named.version.as_deref().zip(rid.version.as_deref()).map(|(a, b)| answers::same_version(a, b));
    match (commit, version) {
        // A version may lag in a file, but a wrong commit is a wrong build.
        (Some(false), _) | (_, Some(false)) => {
            let release =
                shown(&Named { version: rid.version.clone(), commit: rid.short_commit().map(str::to_string) });
            let message = format!("{path} says {}, the release is {release}", shown(named));
            out.fails.push(finding(
                "version-wrong",
                Severity::High,
                path,
                message,
                "deploy the release, or inject the commit at build time: --build-arg GIT_SHA=$(git rev-parse HEAD)",
            ));
        }
        (None, None) if *named == Named::default() => {
            out.fails.push(finding(
                "version-empty",
                Severity::High,
                path,
                format!("{path} names neither version nor commit"),
                "answer {\"version\": …, \"commit\": …}",
            ));
        }
        (None, None) => *unknown_release = true,
        (Some(true), _) | (_, Some(true)) => {}
    }
}

fn shown(named: &Named) -> String {
    match (&named.version, &named.commit) {
        (Some(v), Some(c)) => format!("{v} at {c}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "nothing".into(),
    }
}

fn catch_all(seen: &Seen, out: &mut Findings) {
    for unknown in seen.unknown.values().filter(|u| (200..300).contains(&u.status)) {
        out.warns.push(finding(
            "catch-all",
            Severity::Medium,
            "/<unknown>",
            format!("a path that cannot exist answers {}", unknown.status),
            "answer 404 to unknown paths; a balancer may take the page for health",
        ));
    }
}

fn conclude(seen: &Seen, out: Findings, required: &[Role], unknown_release: bool, rid: &ReleaseId) -> Outcome {
    let found = required.iter().filter(|r| seen.found.contains_key(r)).count() as u64;
    let words: Vec<&str> = required.iter().map(|r| r.word()).collect();
    let first = |list: &[Finding]| list.first().map(|f| (f.message.clone(), f.fix.clone())).unwrap_or_default();
    let more = |n: usize| if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let outcome = if !out.fails.is_empty() {
        let (message, fix) = first(&out.fails);
        Outcome::fail(format!("{message}{}", more(out.fails.len()))).hint(format!("{message}: {fix}"))
    } else if unknown_release {
        let named = seen.versions.keys().next().map(shown).unwrap_or_default();
        Outcome::error("no-release-identity", format!("the target says {named}, but the release is not known"))
            .hint("run in the release's git checkout with --repo, or set version in [gates]")
    } else if !out.warns.is_empty() {
        let (message, fix) = first(&out.warns);
        Outcome::warn(format!("{} answer, but {message}{}", words.join(", "), more(out.warns.len()))).hint(fix)
    } else {
        let release = rid.version.as_deref().or(rid.short_commit()).unwrap_or("the release");
        Outcome::pass(format!("{} answer; {release} is up", words.join(", ")))
    };
    let outcome = if outcome.reason.is_none() { outcome.value(found, required.len()).tier(Tier::E3) } else { outcome };
    outcome
        // A missing endpoint was looked for: it is inspected too.
        .covered(required.len() as u64, required.len() as u64)
        .findings(out.fails.into_iter().chain(out.warns).chain(out.notes).collect())
        .evidence("endpoints", evidence(seen))
}

/// Rows of the transcript kept; the calls after them repeat.
const TRANSCRIPT_ROWS_MAX: usize = 500;

fn evidence(seen: &Seen) -> serde_json::Value {
    serde_json::json!({
        "found": seen.found.iter().map(|(role, a)| (role.word(), a.path.as_str())).collect::<BTreeMap<_, _>>(),
        "versions": seen.versions.iter().map(|(n, count)| serde_json::json!({"named": n, "calls": count})).collect::<Vec<_>>(),
        "health_ms": {"p50": percentile(&seen.health_ms, 0.5), "p95": percentile(&seen.health_ms, 0.95), "calls": seen.health_ms.len()},
        "transcript": seen.transcript.iter().take(TRANSCRIPT_ROWS_MAX).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_health_warns() {
        let answer =
            Answer { path: "/health".into(), status: 200, cache_control: Some("no-store".into()), ..Answer::default() };
        let seen = Seen { health_ms: vec![10.0; 18].into_iter().chain([1500.0, 1600.0]).collect(), ..Seen::default() };
        let mut out = Findings::default();
        health(&answer, &seen, &Config::default(), &mut out);
        assert_eq!(out.warns[0].message, "/health p95 is 1500 ms, limit 1000 ms");
        assert_eq!(percentile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
