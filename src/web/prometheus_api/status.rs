//! `status/…`: what clients ask to learn whom they talk to.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use serde_json::{Value as Json, json};

use super::params::Params;
use super::{Answer, Backend, Problem, internal, plain};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Matcher, NAME};
use crate::promql::duration_text;

/// The version whose API and language this is; Grafana chooses its features by it.
const PROMETHEUS_VERSION: &str = concat!("3.5.0+hypercare.", env!("CARGO_PKG_VERSION"));

pub(super) async fn build() -> Answer {
    Ok(plain(json!({
        "version": PROMETHEUS_VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
    })))
}

pub(super) async fn runtime<B: Backend>(State(backend): State<B>) -> Answer {
    let facts = backend.facts();
    let now = backend.clock().now();
    let started = facts.started.unwrap_or(now).rfc3339();
    Ok(plain(json!({
        "startTime": started,
        // Where we run is nothing for a web client.
        "CWD": "", "hostname": "",
        "serverTime": now.rfc3339(),
        "reloadConfigSuccess": true,
        "lastConfigTime": started,
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "GOMEMLIMIT": 0, "GOGC": "", "GODEBUG": "",
        "storageRetention": duration_text(facts.retention.as_secs_f64()),
    })))
}

pub(super) async fn flags<B: Backend>(State(backend): State<B>) -> Answer {
    let (facts, options) = (backend.facts(), backend.options());
    Ok(plain(json!({
        "query.lookback-delta": duration_text(options.lookback.as_secs_f64()),
        "query.max-samples": options.samples_max.to_string(),
        "query.timeout": duration_text(options.timeout.as_secs_f64()),
        "storage.tsdb.retention.time": duration_text(facts.retention.as_secs_f64()),
        "web.listen-address": facts.listen,
    })))
}

/// What a Prometheus that does the same would be configured with.
pub(super) async fn config<B: Backend>(State(backend): State<B>) -> Answer {
    let facts = backend.facts();
    let mut yaml = format!("global:\n  evaluation_interval: {}\n", duration_text(facts.interval.as_secs_f64()));
    let quoted = |text: &str| json!(text).to_string();
    let mut files: Vec<&str> = facts.groups.iter().map(|g| g.file.as_str()).collect();
    files.dedup();
    if !files.is_empty() {
        yaml.push_str("rule_files:\n");
        files.iter().for_each(|f| yaml.push_str(&format!("- {}\n", quoted(f))));
    }
    let mut pools: BTreeMap<&str, Vec<&super::Target>> = BTreeMap::new();
    facts.targets.iter().for_each(|t| pools.entry(&t.pool).or_default().push(t));
    if !pools.is_empty() {
        yaml.push_str("scrape_configs:\n");
    }
    for (pool, targets) in pools {
        let interval = duration_text(targets[0].interval.as_secs_f64());
        yaml.push_str(&format!("- job_name: {}\n  scrape_interval: {interval}\n", quoted(pool)));
        yaml.push_str("  static_configs:\n  - targets:\n");
        targets.iter().for_each(|t| yaml.push_str(&format!("    - {}\n", quoted(&t.url))));
    }
    Ok(plain(json!({ "yaml": yaml })))
}

pub(super) async fn tsdb<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::read(query.as_deref(), &Bytes::new());
    let limit = match params.get("limit").map(str::parse::<usize>) {
        None => 10,
        Some(Ok(limit)) if limit > 0 => limit,
        Some(_) => return Err(Problem::bad_data("limit must be a positive number")),
    };
    let ever = Timestamp::from_ms(i64::MAX / 1_000_000);
    let everything = Matcher::regex(NAME, ".+").map_err(internal)?;
    let series = match backend.samples() {
        Some(samples) => samples.series(&[everything], Timestamp::from_ms(0), ever).await.map_err(internal)?,
        None => Vec::new(),
    };
    let (mut names, mut pairs) = (BTreeMap::<&str, usize>::new(), BTreeMap::<(&str, &str), usize>::new());
    for labels in &series {
        *names.entry(labels.name()).or_default() += 1;
        labels.iter().for_each(|pair| *pairs.entry(pair).or_default() += 1);
    }
    let (mut values, mut bytes) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    for (name, value) in pairs.keys() {
        *values.entry(name).or_default() += 1;
        *bytes.entry(name).or_default() += name.len() + value.len();
    }
    let pair_count = pairs.len();
    let named = |all: BTreeMap<&str, usize>| top(all.into_iter().map(|(n, c)| (n.to_string(), c)).collect(), limit);
    Ok(plain(json!({
        "headStats": {
            "numSeries": series.len(), "numLabelPairs": pair_count, "chunkCount": series.len(),
            "minTime": 0, "maxTime": backend.clock().now().ms(),
        },
        "seriesCountByMetricName": named(names),
        "labelValueCountByLabelName": named(values),
        "memoryInBytesByLabelName": named(bytes),
        "seriesCountByLabelValuePair": top(pairs.into_iter().map(|((n, v), c)| (format!("{n}={v}"), c)).collect(), limit),
    })))
}

fn top(mut all: Vec<(String, usize)>, limit: usize) -> Json {
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(limit);
    all.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
