//! One test: time runs at the evaluation interval, rules write into the test's own series.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::values::{labels, points};
use super::{AlertTest, ExprTest, Test, duration, milliseconds, shown};
use crate::alerts::evaluate::{self, Context};
use crate::alerts::rulefile::{AlertRule, Kind, Rule, RuleGroup};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, NAME, Sample, Series, stale_marker};
use crate::promql::{self, MemoryReader, Options, Value, number};

/// Evaluations of one test: a month at one minute.
const STEPS_MAX: i64 = 50_000;

/// One alert while time runs.
struct Active {
    since: i64,
    fired: bool,
    /// First evaluation that no longer found it, while `keep_firing_for` lasts.
    left: Option<i64>,
    annotations: BTreeMap<String, String>,
}

/// One test: its series and what the rules made of them so far.
pub(super) struct Run<'t> {
    groups: &'t [RuleGroup],
    every_ms: i64,
    fuzz: f64,
    external_url: &'t str,
    series: BTreeMap<Labels, Vec<Sample>>,
    /// By rule id.
    active: BTreeMap<String, BTreeMap<Labels, Active>>,
    /// What a rule wrote at its last evaluation; what is gone gets a stale marker.
    written: BTreeMap<String, BTreeSet<Labels>>,
}

impl<'t> Run<'t> {
    pub(super) fn new(test: &'t Test, groups: &'t [RuleGroup], every: Duration, fuzz: f64) -> Result<Run<'t>, String> {
        if !test.external_labels.is_empty() {
            return Err("external_labels are not supported".into());
        }
        let interval = test.interval.as_deref().map_or(Ok(every), duration)?.as_millis() as i64;
        let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
        for input in &test.input_series {
            let labels = labels(&input.series)?;
            let points = points(&input.values).map_err(|why| format!("{}: {why}", input.series))?;
            let at = |i: usize| Timestamp::from_ms(i as i64 * interval);
            let samples = points.into_iter().enumerate().filter_map(|(i, v)| v.map(|v| Sample { t: at(i), v }));
            if series.insert(labels, samples.collect()).is_some() {
                return Err(format!("series {} stands there twice", input.series));
            }
        }
        let (active, written) = (BTreeMap::new(), BTreeMap::new());
        let every_ms = every.as_millis() as i64;
        Ok(Run { groups, every_ms, fuzz, external_url: &test.external_url, series, active, written })
    }

    pub(super) async fn all(&mut self, test: &Test) -> Vec<String> {
        match self.checked(test).await {
            Ok(failures) => failures,
            Err(why) => vec![why],
        }
    }

    async fn checked(&mut self, test: &Test) -> Result<Vec<String>, String> {
        let alert_times: Vec<i64> =
            test.alert_rule_test.iter().map(|t| milliseconds(&t.eval_time)).collect::<Result<_, _>>()?;
        let expr_times: Vec<i64> =
            test.promql_expr_test.iter().map(|t| milliseconds(&t.eval_time)).collect::<Result<_, _>>()?;
        let last = alert_times.iter().chain(&expr_times).copied().max().unwrap_or(0);
        if last / self.every_ms > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} evaluations"));
        }
        let mut failures = Vec::new();
        for step in 0..=last / self.every_ms {
            let now = step * self.every_ms;
            self.evaluate(now).await?;
            // What is asked between two evaluations is answered by the one before.
            let due = |at: i64| at >= now && at < now + self.every_ms;
            for (alert, at) in test.alert_rule_test.iter().zip(&alert_times).filter(|(_, at)| due(**at)) {
                failures.extend(self.alerts_differ(alert, *at));
            }
        }
        for (expr, at) in test.promql_expr_test.iter().zip(&expr_times) {
            failures.extend(self.samples_differ(expr, *at).await);
        }
        Ok(failures)
    }

    async fn evaluate(&mut self, now: i64) -> Result<(), String> {
        let groups = self.groups;
        for group in groups {
            for rule in &group.rules {
                let result = match &rule.kind {
                    Kind::Record => self.record(group, rule, now).await,
                    Kind::Alert(alert) => self.alert(group, rule, alert, now).await,
                };
                result.map_err(|why| format!("rule {} at {}: {why}", rule.id, shown(now)))?;
            }
        }
        Ok(())
    }

    /// A copy for the evaluator: tests are small.
    fn reader(&self) -> MemoryReader {
        let series = self.series.iter().map(|(l, s)| Series { labels: l.clone(), samples: s.clone() });
        MemoryReader { series: series.collect() }
    }

    fn write(&mut self, rule: &str, now: i64, samples: Vec<(Labels, f64)>) {
        let t = Timestamp::from_ms(now);
        let fresh: BTreeSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
        let before = self.written.insert(rule.to_string(), fresh).unwrap_or_default();
        let now_there = &self.written[rule];
        let gone = before.into_iter().filter(|l| !now_there.contains(l)).map(|l| (l, stale_marker()));
        for (labels, v) in samples.into_iter().chain(gone.collect::<Vec<_>>()) {
            let all = self.series.entry(labels).or_default();
            let at = all.partition_point(|s| s.t < t);
            if all.get(at).is_none_or(|s| s.t != t) {
                all.insert(at, Sample { t, v });
            }
        }
    }

    async fn record(&mut self, group: &RuleGroup, rule: &Rule, now: i64) -> Result<(), String> {
        let at = Timestamp::from_ms(now).minus(group.offset);
        let samples = evaluate::record(&self.reader(), group, rule, at, &Options::default()).await?;
        self.write(&rule.id, now, samples.into_iter().map(|s| (s.labels, s.sample.v)).collect());
        Ok(())
    }

    async fn alert(&mut self, group: &RuleGroup, rule: &Rule, alert: &AlertRule, now: i64) -> Result<(), String> {
        let options = Options::default();
        let at = Timestamp::from_ms(now).minus(group.offset);
        let nobody = |_: &Labels| String::new();
        let context = Context { external_url: self.external_url, now: at, options: &options, service_of: &nobody };
        let found = evaluate::alerts(&self.reader(), group, rule, alert, at, &context).await?;
        let active = self.active.entry(rule.id.clone()).or_default();
        let keep_ms = alert.keep_firing.as_millis() as i64;
        let alive: BTreeSet<Labels> = found.iter().map(|i| i.labels.clone()).collect();
        active.retain(|labels, a| {
            let left = *a.left.get_or_insert(now);
            alive.contains(labels) || (a.fired && keep_ms > 0 && now - left < keep_ms)
        });
        for instance in found {
            let fresh = Active { since: now, fired: false, left: None, annotations: BTreeMap::new() };
            let one = active.entry(instance.labels).or_insert(fresh);
            (one.left, one.annotations) = (None, instance.annotations);
            one.fired |= now - one.since >= alert.wait.as_millis() as i64;
        }
        let state = |fired: bool| if fired { "firing" } else { "pending" };
        let series = active.iter().map(|(l, a)| (l.with(NAME, "ALERTS").with("alertstate", state(a.fired)), 1.0));
        let since = active.iter().map(|(l, a)| (l.with(NAME, "ALERTS_FOR_STATE"), a.since as f64 / 1000.0));
        let samples = series.chain(since).collect();
        self.write(&rule.id, now, samples);
        Ok(())
    }

    fn alerts_differ(&self, test: &AlertTest, at: i64) -> Option<String> {
        let rules = self.groups.iter().flat_map(|g| &g.rules).filter(|r| r.name == test.alertname);
        let firing = rules.filter_map(|r| self.active.get(&r.id)).flatten().filter(|(_, a)| a.fired);
        let mut got: Vec<(Labels, BTreeMap<String, String>)> =
            firing.map(|(l, a)| (l.clone(), a.annotations.clone())).collect();
        let mut want: Vec<(Labels, BTreeMap<String, String>)> = test
            .exp_alerts
            .iter()
            .map(|e| (e.exp_labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Labels>(), e))
            .map(|(labels, e)| (labels.with("alertname", &test.alertname), e.exp_annotations.clone()))
            .collect();
        got.sort();
        want.sort();
        let listed = |all: &[(Labels, BTreeMap<String, String>)]| -> String {
            let lines = all.iter().map(|(labels, annotations)| format!("\n    {labels} {annotations:?}"));
            let text: String = lines.collect();
            if text.is_empty() { " []".into() } else { text }
        };
        (got != want).then(|| {
            let (name, time) = (&test.alertname, shown(at));
            format!("alertname {name}, time {time}\n  exp:{}\n  got:{}", listed(&want), listed(&got))
        })
    }

    async fn samples_differ(&self, test: &ExprTest, at: i64) -> Option<String> {
        let place = format!("expr {:?}, time {}", test.expr, shown(at));
        let got = match self.query(&test.expr, at).await {
            Ok(got) => got,
            Err(why) => return Some(format!("{place}, err: {why}")),
        };
        let mut want = Vec::new();
        for sample in &test.exp_samples {
            match labels(&sample.labels) {
                Ok(labels) => want.push((labels, sample.value)),
                Err(why) => return Some(format!("{place}, labels {:?}: {why}", sample.labels)),
            }
        }
        want.sort_by(|a, b| a.0.cmp(&b.0));
        let near =
            |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= self.fuzz * a.abs().max(b.abs());
        let same = got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| g.0 == w.0 && near(g.1, w.1));
        let listed = |all: &[(Labels, f64)]| -> String {
            let text: Vec<String> = all.iter().map(|(l, v)| format!("{l} {}", number::plain(*v))).collect();
            if text.is_empty() { "nil".into() } else { text.join(", ") }
        };
        (!same).then(|| format!("{place}\n  exp: {}\n  got: {}", listed(&want), listed(&got)))
    }

    async fn query(&self, text: &str, at: i64) -> Result<Vec<(Labels, f64)>, String> {
        let expr = promql::parse(text).map_err(|e| e.to_string())?;
        let value = promql::instant(&self.reader(), &expr, Timestamp::from_ms(at), &Options::default()).await;
        let mut got = match value.map_err(|e| e.to_string())? {
            Value::Vector(vector) => vector,
            Value::Scalar(v) => vec![(Labels::empty(), v)],
            other => return Err(format!("gives a {}, not a vector", other.kind())),
        };
        got.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(got)
    }
}
