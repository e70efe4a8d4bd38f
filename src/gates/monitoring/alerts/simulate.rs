//! A rule in a small world: does it fire, and when? Recording rules that it rests on are computed first; every step is
//! evaluated by our own engine, as Prometheus would, once a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use super::read::{Recorded, Rule};
use super::world::{self, Case, HEALTHY, Row, SHAPES, Times};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{MatchOp, Matcher, NAME, Series};
use crate::promql::{self, Expr, MemoryReader, Options, duration_text, number};

/// Between two evaluations, and the unit of what is reported.
pub const MINUTE: i64 = 60;
/// How long after the change a rule is looked at.
pub const HORIZON_MINUTES: i64 = 60;
/// The longest past that is made up: burn-rate rules look at three days.
const PAST_MAX: i64 = 3 * 86_400;
/// A past longer than this is sampled once a minute.
const FINE_PAST: i64 = 2 * 3600;
/// Recording rules that one alert may rest on, and those of one name.
const RECORDS_MAX: usize = 40;
const RECORDS_OF_A_NAME_MAX: usize = 4;
/// Samples of one try.
const SAMPLES_MAX: usize = 1_000_000;
/// Recording rules that rest on recording rules.
const DEPTH_MAX: usize = 8;

/// A rule with everything it rests on.
pub struct Subject<'a> {
    pub rule: &'a Rule,
    pub expr: &'a Expr,
    /// In the order in which they must be computed.
    pub records: Vec<&'a Recorded>,
    /// What is selected that no rule records, in the order of the text.
    pub selectors: Vec<Vec<Matcher>>,
    /// Of each of them: is it looked at over a range?
    pub ranged: Vec<bool>,
    demands: Vec<Matcher>,
    used: BTreeSet<String>,
    pub limit: Option<f64>,
    times: Times,
}

/// The world that fits the rule.
pub struct World {
    pub rows: Vec<Row>,
    pub times: Times,
}

impl<'a> Subject<'a> {
    pub fn new(rule: &'a Rule, records: &'a BTreeMap<String, Vec<Recorded>>) -> Option<Subject<'a>> {
        let expr = rule.expr.as_ref().ok()?;
        let mut subject = Subject {
            rule,
            expr,
            records: Vec::new(),
            selectors: Vec::new(),
            ranged: Vec::new(),
            demands: Vec::new(),
            used: expr.labels_used(),
            limit: expr.limit().map(|(limit, _)| limit),
            times: Times { change: 0, end: 0, scrape: 15 },
        };
        let past = subject.resolve(expr, records, 0);
        let past = past.map_or(PAST_MAX, |p| p.as_secs() as i64).clamp(600, PAST_MAX);
        let change = (past / MINUTE + 2) * MINUTE;
        let scrape = if change > FINE_PAST { MINUTE } else { 15 };
        subject.times = Times { change, end: change + HORIZON_MINUTES * MINUTE, scrape };
        Some(subject)
    }

    /// Collects what the expression selects, through recording rules; gives how far back it looks.
    fn resolve(
        &mut self,
        expr: &'a Expr,
        records: &'a BTreeMap<String, Vec<Recorded>>,
        depth: usize,
    ) -> Option<Duration> {
        let mut behind = Duration::ZERO;
        for (matchers, ranged) in expr.selectors().into_iter().zip(expr.ranged()) {
            let known = world::name_of(&matchers).and_then(|name| records.get(&name)).filter(|_| depth < DEPTH_MAX);
            let Some(known) = known else {
                self.selectors.push(matchers);
                self.ranged.push(ranged);
                continue;
            };
            // Generated rules record one name in hundreds of places: those that this selector takes.
            let taken =
                |r: &&Recorded| matchers.iter().all(|m| r.labels.get(&m.label).is_none_or(|v| m.matches_value(v)));
            for record in known.iter().filter(taken).take(RECORDS_OF_A_NAME_MAX) {
                let given = |m: &&Matcher| m.label != NAME && !record.labels.contains_key(&m.label);
                self.demands.extend(matchers.iter().filter(given).cloned());
                if self.records.len() >= RECORDS_MAX || self.records.iter().any(|r| std::ptr::eq(*r, record)) {
                    continue;
                }
                self.used.extend(record.expr.labels_used());
                behind = behind.max(self.resolve(&record.expr, records, depth + 1)?);
                self.records.push(record);
            }
        }
        Some(expr.reach(&Options::default())? + behind)
    }

    /// The first shape of world in which the rule fires when `worst` happens; else the first in which it can be
    /// evaluated and that has a series for every selector. `Err`: it can be tried in none.
    pub async fn world(&self, worst: &[Case]) -> Result<World, String> {
        let (mut quiet, mut why) = (None, String::from("no series could be made for its selectors"));
        for shape in SHAPES {
            let rows = world::rows(&self.selectors, &self.demands, &self.used, self.limit, shape);
            if rows.is_empty() {
                continue;
            }
            let world = World { rows, times: self.times };
            let met = |s: &Vec<Matcher>| world.rows.iter().any(|r| s.iter().all(|m| m.matches(&r.labels)));
            let complete = self.selectors.iter().all(met);
            let mut fits = true;
            for case in worst {
                match self.fires(&world, case).await {
                    Ok(Some(_)) => return Ok(world),
                    Ok(None) => {}
                    Err(message) => (why, fits) = (message, false),
                }
            }
            if fits && complete && quiet.is_none() {
                quiet = Some(world);
            }
        }
        quiet.ok_or(why)
    }

    /// Minutes from the change to the first firing, if it fires.
    pub async fn fires(&self, world: &World, case: &Case) -> Result<Option<i64>, String> {
        self.fires_as(self.expr, world, case).await
    }

    /// Would it be right if its limit, a percentage, were written as a ratio: silent while all is well, firing now?
    pub async fn fires_as_ratio(&self, world: &World, case: &Case) -> Result<bool, String> {
        let healthy = Case { traffic: case.traffic, ..HEALTHY };
        Ok(self.as_ratio(world, case).await? && !self.as_ratio(world, &healthy).await?)
    }

    async fn as_ratio(&self, world: &World, case: &Case) -> Result<bool, String> {
        let Some(limit) = self.limit.filter(|l| (1.0..=100.0).contains(l)) else { return Ok(false) };
        let number = regex::escape(&limit.to_string());
        let Ok(compared) = regex::Regex::new(&format!(r"([<>]=?\s*(?:bool\s+)?){number}(?:\.0+)?\b")) else {
            return Ok(false);
        };
        let text = compared.replace_all(self.expr.text(), format!("${{1}}{}", limit / 100.0));
        match promql::parse(&text) {
            Ok(expr) if text != self.expr.text() => Ok(self.fires_as(&expr, world, case).await?.is_some()),
            _ => Ok(false),
        }
    }

    async fn fires_as(&self, expr: &Expr, world: &World, case: &Case) -> Result<Option<i64>, String> {
        // Others use the same thread.
        tokio::task::yield_now().await;
        let Times { change, end, .. } = world.times;
        let at = |seconds: i64| Timestamp::from_ms(seconds * 1000);
        let step = Duration::from_secs(MINUTE as u64);
        let options = Options::default();
        if world.rows.len() * (end / world.times.scrape) as usize > SAMPLES_MAX {
            return Err("it selects too much".into());
        }
        let mut reader = MemoryReader { series: world::series(&world.rows, case, &world.times) };
        for record in &self.records {
            let answer = promql::range(&reader, &record.expr, at(0), at(end), step, &options).await;
            for series in answer.map_err(|e| e.to_string())? {
                let mut labels = series.labels.with(NAME, &record.name);
                for (name, value) in &record.labels {
                    labels = labels.with(name, value);
                }
                if !reader.series.iter().any(|s| s.labels == labels) {
                    reader.series.push(Series { labels, ..series });
                }
            }
        }
        let answer = promql::range(&reader, expr, at(change), at(end), step, &options).await;
        let wait = self.rule.wait.as_secs() as i64;
        let first = answer.map_err(|e| e.to_string())?.iter().filter_map(|s| first_firing(s, wait, end)).min();
        Ok(first.map(|t| (t - change) / MINUTE))
    }

    /// The case as a test for `promtool test rules`: it must fire at the minute said, and not the minute before.
    pub fn promtool_test(&self, world: &World, case: &Case, fired: Option<i64>) -> (String, String) {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let labels = |labels: &BTreeMap<String, String>| serde_json::to_string(labels).unwrap_or_default();
        let mut rules = String::from("groups:\n- name: tried\n  rules:\n");
        for record in &self.records {
            let _ = writeln!(rules, "  - record: {}\n    expr: {}", quoted(&record.name), quoted(record.expr.text()));
            let _ = writeln!(rules, "    labels: {}", labels(&record.labels));
        }
        let _ = writeln!(rules, "  - alert: Tried\n    expr: {}", quoted(self.expr.text()));
        let _ = writeln!(rules, "    for: {}", duration_text(self.rule.wait.as_secs_f64()));
        let mut test = String::from("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n");
        let _ = writeln!(test, "- interval: {}s\n  input_series:", world.times.scrape);
        for series in world::series(&world.rows, case, &world.times) {
            let values = notation(&series, world.times.scrape);
            let _ = writeln!(test, "  - series: {}", quoted(&series.labels.to_string()));
            let _ = writeln!(test, "    values: {}", quoted(&values));
        }
        let start = world.times.change / MINUTE;
        let _ = writeln!(test, "  promql_expr_test:");
        let firing = "ALERTS{alertname=\"Tried\",alertstate=\"firing\"}";
        // A minute of grace either way: whether a window holds its left edge has changed between Prometheus 2 and 3.
        let silent = fired.map_or(HORIZON_MINUTES, |minute| minute - 2).min(HORIZON_MINUTES);
        let fires = fired.map(|minute| minute + 1).filter(|minute| *minute <= HORIZON_MINUTES);
        for (minute, count) in [(silent, 0), (fires.unwrap_or(-1), 1)] {
            if minute >= 0 {
                let wanted = if count == 0 { "[]" } else { "[{labels: '{}', value: 1}]" };
                let text = if count == 0 {
                    format!("count({firing})")
                } else {
                    format!("count(count_over_time({firing}[90s])) > bool 0")
                };
                let _ = writeln!(
                    test,
                    "  - expr: {}\n    eval_time: {}m\n    exp_samples: {wanted}",
                    quoted(&text),
                    start + minute
                );
            }
        }
        (rules, test)
    }
}

/// Samples in promtool's notation: `0+15x100` is 0 and a hundred steps of 15.
fn notation(series: &Series, scrape: i64) -> String {
    let values: Vec<f64> = series.samples.iter().map(|s| s.v).collect();
    let first = series.samples.first().map_or(0, |s| s.t.ms() / 1000 / scrape);
    let mut parts: Vec<String> = (first > 0).then(|| format!("_x{first}")).into_iter().collect();
    let mut at = 0;
    while let Some(start) = values.get(at) {
        let by = values.get(at + 1).map_or(0.0, |next| next - start);
        let on_line = |(i, v): &(usize, &f64)| (*v - (start + by * *i as f64)).abs() < 1e-6;
        let count = values[at..].iter().enumerate().take_while(on_line).count().max(1);
        parts.push(match by < 0.0 {
            true => format!("{}-{}x{}", number::plain(*start), number::plain(-by), count - 1),
            false => format!("{}+{}x{}", number::plain(*start), number::plain(by), count - 1),
        });
        at += count;
    }
    parts.join(" ")
}

/// When a series has been there for so long without a break, in seconds.
fn first_firing(series: &Series, wait: i64, end: i64) -> Option<i64> {
    let mut since: Option<(i64, i64)> = None;
    for sample in &series.samples {
        let t = sample.t.ms() / 1000;
        let start = match since {
            Some((start, last)) if t - last <= MINUTE => start,
            _ => t,
        };
        if t - start >= wait {
            return Some(t);
        }
        since = Some((start, t));
    }
    // What lasts to the end of the look goes on: it fires when its `for` is over.
    since.filter(|(_, last)| *last >= end).map(|(start, _)| start + wait)
}

/// Labels of the rule that are known before it fires.
pub fn fixed_labels(rule: &Rule) -> BTreeMap<String, String> {
    let known = |value: &str| !value.contains("{{") && !value.contains("templated_value");
    let labels = rule.labels.iter().filter(|(_, v)| known(v)).map(|(n, v)| (n.clone(), v.clone()));
    labels.chain([("alertname".to_string(), rule.name.clone())]).collect()
}

/// Equality matchers that name a place other than production.
pub fn staging_only(selectors: &[Vec<Matcher>]) -> Option<(String, String)> {
    let places =
        ["staging", "stage", "stg", "dev", "development", "test", "testing", "qa", "uat", "preprod", "sandbox"];
    let about = ["env", "environment", "stage", "tier", "deployment_environment", "namespace", "cluster"];
    selectors.iter().flatten().filter(|m| about.contains(&m.label.as_str())).find_map(|m| {
        let elsewhere = places.iter().find(|p| m.matches_value(p))?;
        let negative = matches!(m.op, MatchOp::NotEqual(_) | MatchOp::NotRegex(_));
        let live = ["production", "prod", "live", "main", "default", "prd"].iter().any(|p| m.matches_value(p));
        (!negative && !live).then(|| (m.label.clone(), (*elsewhere).to_string()))
    })
}
