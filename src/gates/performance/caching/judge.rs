//! The verdict on what was seen of caches. Pure.

use serde_json::{Value as Json, json};

use super::directives::{IMMUTABLE_S, LIFETIME_MIN_S};
use super::look::{Asset, Look, Route};
use super::{ABOUT, Config};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier, Verdict};
use crate::net::redis::Info;

/// Keys without an end, of all keys, above which Redis only grows.
const ENDLESS_RATIO_MAX: f64 = 0.2;
/// A ratio below this is hardly a cache.
const RATIO_POOR: f64 = 0.5;

pub(super) struct Seen {
    pub(super) look: Look,
    /// `None`: none configured.
    pub(super) redis: Option<Result<Info, String>>,
    /// What the manifests name, with its place.
    pub(super) declared: Option<String>,
    /// Of `performance.load`, when it ran.
    pub(super) load: Option<Verdict>,
    pub(super) actors: usize,
}

fn finding(rule: &str, severity: Severity, on: &str, message: String) -> Finding {
    Finding::new(rule, severity, message).identified_by(&[ABOUT.id, rule, on])
}

fn of_route(route: &Route) -> Option<Finding> {
    let (rule, severity, what, fix) = if let Some(who) = route.leaked_to {
        let what = format!("{} serves one user's answer to {who}", route.name);
        (
            "serves-anothers-answer",
            Severity::Critical,
            what,
            "do not cache it in the proxy; Cache-Control: private, no-store",
        )
    } else if let (true, Some(by)) = (route.private, &route.shared) {
        let what = format!("{} differs from user to user, and shared caches may keep it ({by})", route.name);
        ("private-answer-cacheable", Severity::Critical, what, "Cache-Control: private, no-store (ASVS 14.3.2)")
    } else if let (true, Some(by)) = (route.cookie, &route.shared) {
        let what = format!("{} sets a cookie on an answer that shared caches may keep ({by})", route.name);
        (
            "cookie-on-cacheable",
            Severity::High,
            what,
            "leave the cookie out of what is cached, or make the answer private",
        )
    } else {
        return None;
    };
    let mut found = finding(rule, severity, &route.name, what).route(route.name.clone()).fix(fix);
    found.escalate = true;
    Some(match &route.place {
        Some((file, line)) => found.at(file.clone(), *line, 1),
        None => found,
    })
}

/// Its name, severity, what is wrong, the fix, and whom it concerns.
type Rule = (&'static str, Severity, &'static str, &'static str, fn(&Asset) -> bool);

fn of_assets(assets: &[Asset]) -> Vec<Finding> {
    let named = |bad: &[&Asset]| bad.iter().take(4).map(|a| a.path.as_str()).collect::<Vec<_>>().join(", ");
    let mut out = Vec::new();
    let rules: [Rule; 3] = [
        (
            "short-lived-hashed",
            Severity::Medium,
            "files with a hash in their name are not kept for a year",
            "Cache-Control: public, max-age=31536000, immutable",
            |a| a.hashed && a.lifetime_s < IMMUTABLE_S,
        ),
        (
            "uncached-asset",
            Severity::Medium,
            "static files have no lifetime and do not revalidate with 304",
            "send Cache-Control: max-age and an ETag",
            |a| !a.hashed && a.lifetime_s < LIFETIME_MIN_S && !a.revalidates,
        ),
        (
            "validator-ignored",
            Severity::Low,
            "files carry an ETag or a date, and are sent again in full to who has them",
            "answer 304 to If-None-Match and If-Modified-Since",
            |a| a.validator && !a.revalidates && !(a.hashed && a.lifetime_s >= IMMUTABLE_S),
        ),
    ];
    for (rule, severity, what, fix, is_bad) in rules {
        let bad: Vec<&Asset> = assets.iter().filter(|a| is_bad(a)).collect();
        // A file without a lifetime is told already.
        let told = rule == "validator-ignored" && out.iter().any(|f: &Finding| f.rule == "uncached-asset");
        if !bad.is_empty() && !told {
            let what = format!("{} of {} {what}: {}", bad.len(), assets.len(), named(&bad));
            out.push(finding(rule, severity, "assets", what).fix(fix));
        }
    }
    for asset in assets.iter().filter(|a| a.cookie && a.lifetime_s > 0) {
        let what = format!("GET {} sets a cookie on an answer that shared caches may keep", asset.path);
        let mut found = finding("cookie-on-cacheable", Severity::High, &asset.path, what)
            .route(format!("GET {}", asset.path))
            .fix("leave the session middleware out of static files");
        found.escalate = true;
        out.push(found);
    }
    out
}

/// Findings, and the ratio when there were enough look-ups for one.
fn of_redis(info: &Info, config: &Config) -> (Vec<Finding>, Option<f64>) {
    let mut out = Vec::new();
    let lookups = info.hits + info.misses;
    let ratio = (lookups >= config.min_lookups.max(1)).then(|| info.hits as f64 / lookups as f64);
    if let Some(ratio) = ratio.filter(|r| *r < config.hit_ratio) {
        let what = format!(
            "Redis answers {:.0} % of {lookups} look-ups, {:.0} % wanted",
            ratio * 100.0,
            config.hit_ratio * 100.0
        );
        let severity = if ratio < RATIO_POOR { Severity::High } else { Severity::Medium };
        out.push(finding("hit-ratio", severity, "redis", what).fix("cache what is asked for most, and for longer"));
    }
    if info.max_bytes == 0 {
        let what = "Redis has no maxmemory: a cache that only grows takes the host's".to_string();
        out.push(
            finding("no-maxmemory", Severity::Medium, "redis", what)
                .fix("maxmemory 256mb, maxmemory-policy allkeys-lru"),
        );
    } else if info.policy == "noeviction" {
        let what = "Redis evicts nothing: a full cache refuses every write".to_string();
        out.push(finding("noeviction", Severity::Medium, "redis", what).fix("maxmemory-policy allkeys-lru"));
    }
    let endless = info.keys.saturating_sub(info.expiring);
    if info.keys > 0 && endless as f64 > info.keys as f64 * ENDLESS_RATIO_MAX {
        let what = format!("{endless} of {} keys in Redis never end", info.keys);
        out.push(finding("keys-without-ttl", Severity::Low, "redis", what).fix("set each key with EX"));
    }
    (out, ratio)
}

pub(super) fn judge(seen: &Seen, config: &Config) -> Outcome {
    let look = &seen.look;
    let mut findings: Vec<Finding> = look.routes.iter().filter_map(of_route).collect();
    findings.extend(of_assets(&look.assets));
    let mut ratio = None;
    if let Some(Ok(info)) = &seen.redis {
        let (own, found) = of_redis(info, config);
        findings.extend(own);
        ratio = found;
    }
    findings.sort_by_key(|f| std::cmp::Reverse((f.escalate, f.severity)));
    let hit = look.assets.iter().find_map(|a| Some((a.path.clone(), a.hit?)));
    let hit = look.routes.iter().find_map(|r| Some((r.name.clone(), r.hit?))).or(hit);
    let covered = (look.assets.len() + look.routes.len()) as u64;
    let known = covered + look.unread.len() as u64;
    let leak = findings.iter().find(|f| f.escalate);
    let first = findings.first().map(|f| f.message.clone());
    let outcome = if let Some(leak) = leak {
        Outcome::fail(leak.message.clone())
    } else if let Some(Err(why)) = &seen.redis {
        Outcome::error("redis-unreachable", format!("Redis could not be asked: {why}"))
            .hint("correct [gates.performance.caching] redis, or take it out")
    } else if covered == 0 {
        Outcome::error("nothing-to-inspect", "no route and no static file answered 200")
            .hint("name an account in [gates] actor, or paths in [gates.performance.caching]")
    } else if ratio.is_some_and(|r| r < RATIO_POOR) {
        Outcome::fail(first.clone().unwrap_or_default())
    } else if hit.is_some() || ratio.is_some_and(|r| r >= config.hit_ratio) {
        let works = match (&hit, ratio) {
            (_, Some(ratio)) if ratio >= config.hit_ratio => {
                format!("Redis answers {:.0} % of the look-ups", ratio * 100.0)
            }
            (Some((on, by)), _) => format!("a shared cache answers {on} ({by})"),
            _ => "a cache works".into(),
        };
        match &first {
            None => Outcome::pass(works),
            Some(first) => Outcome::warn(format!("{works}; {first}")),
        }
    } else if let (Some(Ok(info)), None) = (&seen.redis, ratio) {
        let lookups = info.hits + info.misses;
        Outcome::warn(format!("Redis had {lookups} look-ups, too few for a ratio (at least {})", config.min_lookups))
    } else if let Some(first) = first.clone().filter(|_| ratio.is_some()) {
        Outcome::warn(first)
    } else if let Some(declared) = &seen.declared {
        Outcome::warn(format!("{declared} is declared, and no cache was seen to answer"))
    } else {
        match seen.load {
            Some(Verdict::Fail) => Outcome::fail("no cache was seen, and the load test failed"),
            Some(Verdict::Pass) => {
                Outcome::warn("no cache was seen; the load test passed without, so none is needed yet")
            }
            _ => Outcome::warn("no cache was seen, and no load test says whether one is needed"),
        }
    };
    let outcome = match findings.first() {
        _ if outcome.hint.is_some() => outcome,
        Some(first) => outcome.hint(format!("{}: {}", first.message, first.fix)),
        None if outcome.verdict == Verdict::Pass => outcome,
        None => outcome
            .hint("tell the Redis in [gates.performance.caching] redis, or let the cache say so (Cache-Status, Age)"),
    };
    let shown = ratio.map(|r| (r * 1000.0).round() / 1000.0);
    let outcome = match shown {
        Some(ratio) => outcome.value(ratio, config.hit_ratio),
        None => outcome,
    };
    outcome.covered(covered, known).tier(Tier::E3).findings(findings).evidence("caching", evidence(seen, ratio))
}

fn evidence(seen: &Seen, ratio: Option<f64>) -> Json {
    let redis = match &seen.redis {
        None => Json::Null,
        Some(Ok(info)) => json!(info),
        Some(Err(why)) => json!({ "error": why }),
    };
    json!({
        "assets": seen.look.assets, "routes": seen.look.routes, "unread": seen.look.unread, "redis": redis,
        "hit_ratio": ratio, "declared": seen.declared, "actors": seen.actors,
        "load": seen.load.map(Verdict::word),
    })
}
