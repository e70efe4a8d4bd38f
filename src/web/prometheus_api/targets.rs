//! `targets`, `scrape_pools`, `metadata`, `alertmanagers`. Whether a target is up is read from its series `up`.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use serde_json::{Value as Json, json};

use super::params::Params;
use super::{Answer, Backend, Problem, Target, internal, plain};
use crate::domain::metric::{Matcher, NAME, Sample, SeriesReader as _, is_stale};
use crate::promql::duration_text;

pub(super) async fn targets<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::read(query.as_deref(), &Bytes::new());
    let state = params.get("state").unwrap_or("any").to_ascii_lowercase();
    let pool = params.get("scrapePool");
    let facts = backend.facts();
    let mut active = Vec::new();
    if state != "dropped" {
        for target in facts.targets.iter().filter(|t| pool.is_none_or(|p| t.pool == p)) {
            active.push(describe(&backend, target).await?);
        }
    }
    let data = match state.as_str() {
        "active" => json!({ "activeTargets": active, "droppedTargets": [], "droppedTargetCounts": null }),
        _ => json!({ "activeTargets": active, "droppedTargets": [], "droppedTargetCounts": {} }),
    };
    Ok(plain(data))
}

async fn describe<B: Backend>(backend: &B, target: &Target) -> Result<Json, Problem> {
    let up = newest(backend, target, "up").await?;
    let took = newest(backend, target, "scrape_duration_seconds").await?;
    let health = match up {
        Some(s) if s.v == 1.0 => "up",
        Some(_) => "down",
        None => "unknown",
    };
    let last = up.map_or_else(|| "0001-01-01T00:00:00Z".into(), |s| s.t.rfc3339());
    let (scheme, rest) = target.url.split_once("://").unwrap_or(("http", &target.url));
    let (address, path) = rest.split_once('/').map_or((rest, String::new()), |(a, p)| (a, format!("/{p}")));
    let [interval, timeout] = [target.interval, target.timeout].map(|d| duration_text(d.as_secs_f64()));
    Ok(json!({
        "discoveredLabels": {
            "__address__": address, "__metrics_path__": path, "__scheme__": scheme,
            "__scrape_interval__": interval, "__scrape_timeout__": timeout, "job": target.pool,
        },
        "labels": target.labels,
        "scrapePool": target.pool,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": if health == "down" { "the last scrape failed" } else { "" },
        "lastScrape": last,
        "lastScrapeDuration": took.map_or(0.0, |s| s.v),
        "health": health,
        "scrapeInterval": interval,
        "scrapeTimeout": timeout,
    }))
}

/// The target's newest sample of a series that scraping itself leaves.
async fn newest<B: Backend>(backend: &B, target: &Target, name: &str) -> Result<Option<Sample>, Problem> {
    let mut matchers = vec![Matcher::equal(NAME, name)];
    let own = target.labels.iter().filter(|(n, _)| matches!(n.as_str(), "job" | "instance"));
    matchers.extend(own.map(|(n, v)| Matcher::equal(n, v)));
    let now = backend.clock().now();
    let from = now.minus(backend.options().lookback);
    // Our own scrapes are here, wherever queries are answered.
    let found = match backend.samples() {
        Some(samples) => samples.select(&matchers, from, now, 10_000).await,
        None => backend.reader().select(&matchers, from, now, 10_000).await,
    };
    let found = found.map_err(internal)?;
    Ok(found.iter().filter_map(|s| s.samples.last().copied()).filter(|s| !is_stale(s.v)).max_by_key(|s| s.t))
}

pub(super) async fn pools<B: Backend>(State(backend): State<B>) -> Answer {
    let mut pools: Vec<String> = backend.facts().targets.iter().map(|t| t.pool.clone()).collect();
    pools.sort();
    pools.dedup();
    Ok(plain(json!({ "scrapePools": pools })))
}

/// Messages leave by channels of our own.
pub(super) async fn alertmanagers() -> Answer {
    Ok(plain(json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] })))
}

/// By family, one entry each: the store keeps the newest that was heard.
pub(super) async fn metadata<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::read(query.as_deref(), &Bytes::new());
    let number = |name: &str| match params.get(name) {
        None => Ok(usize::MAX),
        Some(given) => match given.parse::<i64>() {
            Ok(n) => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
            Err(_) => Err(Problem::bad_data(format!("{name} must be a number"))),
        },
    };
    let (limit, per_metric) = (number("limit")?, number("limit_per_metric")?);
    let only = params.get("metric");
    let mut families: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for m in backend.metadata().await.map_err(internal)? {
        if only.is_some_and(|name| name != m.family) {
            continue;
        }
        if families.len() >= limit && !families.contains_key(&m.family) {
            continue;
        }
        let kind = serde_json::to_value(m.kind).unwrap_or_default();
        let entries = families.entry(m.family).or_default();
        if per_metric == 0 || entries.len() < per_metric {
            entries.push(json!({ "type": kind, "help": m.help, "unit": m.unit }));
        }
    }
    Ok(plain(json!(families)))
}
