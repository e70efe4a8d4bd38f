//! What was seen of the metrics, to a verdict. Pure.

use super::{Config, Scraper, Seen, slack};
use crate::domain::clock::Timestamp;
use crate::domain::service::Profile;
use crate::domain::units::number;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::net::redact_url;

/// A family with more series than this will hurt whoever stores it.
const SERIES_PER_FAMILY_MAX: usize = 1000;
/// Share of the load test's requests that the counter must know.
const LOAD_SHARE_MIN: f64 = 0.98;

fn finding(rule: &str, severity: Severity, object: &str, message: impl Into<String>, fix: &str) -> Finding {
    Finding::new(rule, severity, message).route(object).fix(fix).identified_by(&[rule, object])
}

/// Pure: what was seen, to a verdict.
pub(super) fn judge(seen: &Seen, config: &Config, profile: Profile, now: Timestamp) -> Outcome {
    let mut fails = Vec::new();
    let mut warns = Vec::new();
    let endpoint = redact_url(&seen.endpoint);
    let mut error = None;

    if let Some(name) = &seen.backwards {
        if seen.restarted {
            error = Some(
                Outcome::error("restarted", "the process was restarted while it was looked at")
                    .hint("run again when the target is steady"),
            );
        } else {
            fails.push(finding(
                "backwards",
                Severity::High,
                name,
                format!("{name} went backwards: several workers, each with a registry of its own"),
                "share one registry: multiprocess mode, or aggregate in the primary",
            ));
        }
    }
    if profile == Profile::Worker {
        if seen.red.jobs.is_none() {
            fails.push(finding(
                "no-work-counter",
                Severity::High,
                &endpoint,
                "no counter of jobs, tasks or messages",
                "count what the worker has done",
            ));
        }
    } else {
        judge_red(seen, &mut fails, &mut warns);
        error = error.or_else(|| judge_movement(seen, &mut fails));
    }
    for (part, found, fix) in [
        ("CPU time", &seen.red.cpu, "register the process collector"),
        ("memory", &seen.red.memory, "register the process collector"),
    ] {
        if found.is_none() {
            warns.push(finding(
                "no-process-metrics",
                Severity::Low,
                part,
                format!("no metric of the process's {part}"),
                fix,
            ));
        }
    }
    for (family, size) in seen.sizes.iter().filter(|(_, n)| *n >= SERIES_PER_FAMILY_MAX) {
        warns.push(finding(
            "many-series",
            Severity::Medium,
            family,
            format!("{family} has {size} series"),
            "drop the label that holds ids or raw paths",
        ));
    }
    if let Some((metric, label)) = &seen.canary {
        warns.push(finding(
            "raw-path-label",
            Severity::Medium,
            metric,
            format!("{metric} took an unknown path into label {label}: anybody can make it grow"),
            "label with the route's template, and unknown routes with one word",
        ));
    }
    if let Some((load, total)) = &seen.total_after_load
        && *total < load.requests as f64 * LOAD_SHARE_MIN
    {
        let counted = number(*total);
        fails.push(finding(
            "load-not-counted",
            Severity::High,
            &endpoint,
            format!("the load test sent {} requests, the counter knows {counted}", load.requests),
            "count in the outermost middleware, on one registry for all workers",
        ));
    }
    judge_scraper(seen, now, &mut fails, &mut warns);
    conclude(seen, config, fails, warns, error)
}

fn judge_red(seen: &Seen, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    let endpoint = redact_url(&seen.endpoint);
    match &seen.red.requests {
        None => fails.push(finding(
            "no-request-counter",
            Severity::High,
            &endpoint,
            "no counter of HTTP requests",
            "count requests by method, route and status",
        )),
        Some(requests) if requests.status_label.is_none() => fails.push(finding(
            "no-status-label",
            Severity::High,
            &requests.name,
            format!("{} carries no status", requests.name),
            "add the status as a label, or errors cannot be seen",
        )),
        Some(_) => {}
    }
    match &seen.red.latency {
        None => fails.push(finding(
            "no-latency",
            Severity::High,
            &endpoint,
            "no histogram of request durations",
            "observe every request's duration in seconds",
        )),
        Some(family) if seen.red.latency_is_summary => warns.push(finding(
            "latency-summary",
            Severity::Low,
            family,
            format!("{family} is a summary: its quantiles cannot be added up over instances"),
            "use a histogram",
        )),
        Some(_) => {}
    }
}

/// Does the counter follow the requests? `Some` when it cannot be told.
fn judge_movement(seen: &Seen, fails: &mut Vec<Finding>) -> Option<Outcome> {
    let (growth, name) = (seen.growth.as_ref()?, &seen.red.requests.as_ref()?.name);
    // A sum over workers in turn means nothing.
    if seen.backwards.is_some() {
        return None;
    }
    let (sent, slack) = (seen.sent as f64, slack(seen.sent));
    // The look before was itself a request, counted after its own answer was written.
    let fits = |grown: f64| grown >= sent - slack && grown <= sent + slack + 1.0;
    if fits(growth.matching) || fits(growth.largest) {
        return None;
    }
    let grown = number(growth.matching);
    let message = format!("{name} grew {grown} for {} requests on {}", seen.sent, seen.route);
    if growth.matching < sent - slack {
        let fix = "middleware is mounted after the router, or counts on another port";
        fails.push(finding(
            "counter-stuck",
            Severity::High,
            name,
            format!("{message}: {fix}"),
            "count in the outermost middleware",
        ));
        return None;
    }
    // Others use the target: then the number says nothing.
    if seen.idle > 1.0 + slack {
        return Some(
            Outcome::error("noisy", format!("{message}, but also {} while nothing was sent", number(seen.idle)))
                .hint("run while nobody else uses the target, or set route to one that nobody calls"),
        );
    }
    fails.push(finding("counted-twice", Severity::High, name, message, "mount the middleware once"));
    None
}

fn judge_scraper(seen: &Seen, now: Timestamp, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    let endpoint = redact_url(&seen.endpoint);
    match &seen.scraper {
        Scraper::Watch(true) => {}
        Scraper::Watch(false) => warns.push(finding(
            "not-scraped",
            Severity::Medium,
            &endpoint,
            "nobody is known to scrape it",
            "set prometheus in [gates.monitoring.metrics], or watch it: [metric.app.from.prometheus]",
        )),
        Scraper::NoSuchTarget => fails.push(finding(
            "not-a-target",
            Severity::High,
            &endpoint,
            "Prometheus has no such target",
            "add it to scrape_configs",
        )),
        Scraper::Blind(name) => fails.push(finding(
            "not-queryable",
            Severity::High,
            name,
            format!("Prometheus scrapes the target, but {name} has no series there"),
            "look for metric_relabel_configs that drop it",
        )),
        Scraper::Target(target) => {
            if let Some(trouble) = target.trouble(now) {
                fails.push(finding("target-down", Severity::High, &endpoint, trouble, "mend the scrape"));
            }
        }
    }
}

fn conclude(seen: &Seen, config: &Config, fails: Vec<Finding>, warns: Vec<Finding>, error: Option<Outcome>) -> Outcome {
    let more = |n: usize| if n > 1 { format!(" and {} more", n - 1) } else { String::new() };
    let grown = seen.growth.as_ref().map(|g| g.matching);
    let moved = match (&seen.red.requests, grown) {
        (Some(requests), Some(grown)) => format!("{} grew {} for {} requests", requests.name, number(grown), seen.sent),
        _ => format!("{} series", seen.series),
    };
    let outcome = match (fails.first(), error, warns.first()) {
        (Some(first), _, _) => Outcome::fail(format!("{}{}", first.message, more(fails.len()))).hint(first.fix.clone()),
        (None, Some(error), _) => error,
        (None, None, Some(first)) => {
            Outcome::warn(format!("{moved}, but {}{}", first.message, more(warns.len()))).hint(first.fix.clone())
        }
        (None, None, None) => Outcome::pass(format!("{moved}; {} families, {} series", seen.families, seen.series)),
    };
    let outcome = if outcome.reason.is_none() { outcome.tier(Tier::E3) } else { outcome };
    let outcome = match grown {
        Some(grown) => outcome.value(grown, config.requests),
        None => outcome,
    };
    outcome
        .covered(seen.families as u64, seen.families as u64)
        .findings(fails.into_iter().chain(warns).collect())
        .evidence("metrics", evidence(seen))
}

/// Families listed in the evidence.
const EVIDENCE_ROWS_MAX: usize = 200;

fn evidence(seen: &Seen) -> serde_json::Value {
    serde_json::json!({
        "endpoint": redact_url(&seen.endpoint),
        "roles": seen.red,
        "families": seen.families, "series": seen.series,
        "largest": seen.sizes.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
        "movement": {"route": seen.route, "sent": seen.sent, "growth": seen.growth, "idle": seen.idle},
        "load": seen.total_after_load.as_ref().map(|(load, total)| serde_json::json!({"sent": load.requests, "counted": total})),
        "scraper": seen.scraper,
    })
}
