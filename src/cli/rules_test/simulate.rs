//! One test: time runs at the evaluation interval, rules write into the test's own series.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::values::{NO_HISTOGRAMS, labels, points};
use super::{AlertTest, Compare, ExprTest, Test, duration, milliseconds, shown, start};
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
    test: &'t Test,
    groups: &'t [RuleGroup],
    every_ms: i64,
    start_ms: i64,
    compare: Compare,
    options: Options,
    /// What is written down and not there yet: as in promtool nobody sees a sample before an evaluation has passed it.
    ahead: Vec<(Labels, VecDeque<Sample>)>,
    there: MemoryReader,
    /// Places in `there`.
    places: HashMap<Labels, usize>,
    /// By [`key`].
    active: BTreeMap<String, BTreeMap<Labels, Active>>,
    /// What a rule wrote at its last evaluation; what is gone gets a stale marker.
    written: BTreeMap<String, BTreeSet<Labels>>,
}

/// A group's name is its own only within its file.
fn key(group: &RuleGroup, rule: &Rule) -> String {
    format!("{};{}", group.file, rule.id)
}

impl<'t> Run<'t> {
    pub(super) fn new(
        test: &'t Test,
        groups: &'t [RuleGroup],
        every: Duration,
        compare: Compare,
    ) -> Result<Run<'t>, String> {
        let interval = test.interval.as_deref().map_or(Ok(Duration::ZERO), duration)?;
        let interval_ms = if interval.is_zero() { every } else { interval }.as_millis() as i64;
        let start_ms = test.start_timestamp.as_deref().map_or(Ok(0), start)?;
        // Of two with the same labels the later counts, as in promtool.
        let mut ahead: BTreeMap<Labels, VecDeque<Sample>> = BTreeMap::new();
        for input in &test.input_series {
            if input.series.trim().is_empty() {
                return Err("one of input_series has no series".into());
            }
            let labels = labels(&input.series).map_err(|why| format!("series {:?}: {why}", input.series))?;
            let points = points(&input.values).map_err(|why| format!("{}: {why}", input.series))?;
            let at = |i: usize| Timestamp::from_ms(start_ms.saturating_add((i as i64).saturating_mul(interval_ms)));
            let samples = points.into_iter().enumerate().filter_map(|(i, v)| v.map(|v| Sample { t: at(i), v }));
            ahead.insert(labels, samples.collect());
        }
        Ok(Run {
            test,
            groups,
            every_ms: every.as_millis() as i64,
            start_ms,
            compare,
            options: Options { subquery_step: every, ..Options::default() },
            ahead: ahead.into_iter().collect(),
            there: MemoryReader::default(),
            places: HashMap::new(),
            active: BTreeMap::new(),
            written: BTreeMap::new(),
        })
    }

    pub(super) async fn all(&mut self) -> Vec<String> {
        match self.checked().await {
            Ok(failures) => failures,
            Err(why) => vec![why],
        }
    }

    async fn checked(&mut self) -> Result<Vec<String>, String> {
        let Test { alert_rule_test: alerts, promql_expr_test: exprs, .. } = self.test;
        let alert_times: Vec<i64> = alerts.iter().map(|t| milliseconds(&t.eval_time)).collect::<Result<_, _>>()?;
        let expr_times: Vec<i64> = exprs.iter().map(|t| milliseconds(&t.eval_time)).collect::<Result<_, _>>()?;
        if let Some((_, at)) = alerts.iter().zip(&alert_times).find(|(test, _)| test.alertname.is_empty()) {
            return Err(format!("the alert_rule_test at {} needs an alertname", shown(*at)));
        }
        let last = alert_times.iter().chain(&expr_times).copied().max().unwrap_or(0);
        if last / self.every_ms > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} evaluations"));
        }
        let mut failures = Vec::new();
        for step in 0..=last / self.every_ms {
            let since = step * self.every_ms;
            let now = self.start_ms.saturating_add(since);
            self.pass(now);
            self.evaluate(now).await?;
            // What is asked between two evaluations is answered by the one before.
            let due = |at: i64| at >= since && at < since + self.every_ms;
            for (alert, at) in alerts.iter().zip(&alert_times).filter(|(_, at)| due(**at)) {
                failures.extend(self.alerts_differ(alert, *at));
            }
        }
        for (expr, at) in exprs.iter().zip(&expr_times) {
            failures.extend(self.samples_differ(expr, *at).await);
        }
        Ok(failures)
    }

    /// Brings what is written down until `now`.
    fn pass(&mut self, now: i64) {
        let mut ahead = std::mem::take(&mut self.ahead);
        for (labels, samples) in &mut ahead {
            while let Some(sample) = samples.pop_front_if(|s| s.t.ms() <= now) {
                self.append(labels, sample);
            }
        }
        self.ahead = ahead;
    }

    /// A series takes one value for a time, the first.
    fn append(&mut self, labels: &Labels, sample: Sample) {
        let all = &mut self.there.series;
        let place = *self.places.entry(labels.clone()).or_insert_with(|| {
            all.push(Series { labels: labels.clone(), samples: Vec::new() });
            all.len() - 1
        });
        let samples = &mut self.there.series[place].samples;
        if samples.last().is_none_or(|last| last.t < sample.t) {
            samples.push(sample);
        }
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

    fn write(&mut self, rule: &str, now: i64, samples: Vec<(Labels, f64)>) {
        let t = Timestamp::from_ms(now);
        let fresh: BTreeSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
        let before = self.written.insert(rule.to_string(), fresh).unwrap_or_default();
        let now_there = &self.written[rule];
        let gone = before.into_iter().filter(|l| !now_there.contains(l)).map(|l| (l, stale_marker()));
        for (labels, v) in samples.into_iter().chain(gone.collect::<Vec<_>>()) {
            self.append(&labels, Sample { t, v });
        }
    }

    async fn record(&mut self, group: &RuleGroup, rule: &Rule, now: i64) -> Result<(), String> {
        let at = Timestamp::from_ms(now).minus(group.offset);
        let samples = evaluate::record(&self.there, group, rule, at, &self.options).await?;
        self.write(&key(group, rule), now, samples.into_iter().map(|s| (s.labels, s.sample.v)).collect());
        Ok(())
    }

    async fn alert(&mut self, group: &RuleGroup, rule: &Rule, alert: &AlertRule, now: i64) -> Result<(), String> {
        let at = Timestamp::from_ms(now).minus(group.offset);
        let context = Context {
            external_url: &self.test.external_url,
            external_labels: &self.test.external_labels,
            now: at,
            options: &self.options,
            service_of: &|_: &Labels| String::new(),
        };
        let found = evaluate::alerts(&self.there, group, rule, alert, at, &context).await?;
        let active = self.active.entry(key(group, rule)).or_default();
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
        self.write(&key(group, rule), now, samples);
        Ok(())
    }

    fn alerts_differ(&self, test: &AlertTest, at: i64) -> Option<String> {
        let rules = self.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r)));
        let of_name = rules.filter(|(_, r)| r.name == test.alertname);
        let firing = of_name.filter_map(|(g, r)| self.active.get(&key(g, r))).flatten().filter(|(_, a)| a.fired);
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
            if !sample.histogram.is_empty() {
                return Some(format!("{place}, labels {:?}: {NO_HISTOGRAMS}", sample.labels));
            }
            match labels(&sample.labels) {
                Ok(labels) => want.push((labels, sample.value.0)),
                Err(why) => return Some(format!("{place}, labels {:?}: {why}", sample.labels)),
            }
        }
        want.sort_by(|a, b| a.0.cmp(&b.0));
        let near = |(g, w): (&(Labels, f64), &(Labels, f64))| g.0 == w.0 && self.compare.same(g.1, w.1);
        let same = got.len() == want.len() && got.iter().zip(&want).all(near);
        let listed = |all: &[(Labels, f64)]| -> String {
            let text: Vec<String> = all.iter().map(|(l, v)| format!("{l} {}", number::plain(*v))).collect();
            if text.is_empty() { "nil".into() } else { text.join(", ") }
        };
        let nan = got.iter().chain(&want).any(|s| s.1.is_nan());
        let hint = if nan { "\n  NaN equals nothing, itself included" } else { "" };
        (!same).then(|| format!("{place}\n  exp: {}\n  got: {}{hint}", listed(&want), listed(&got)))
    }

    async fn query(&self, text: &str, at: i64) -> Result<Vec<(Labels, f64)>, String> {
        let expr = promql::parse(text).map_err(|e| e.to_string())?;
        let at = Timestamp::from_ms(self.start_ms.saturating_add(at));
        let value = promql::instant(&self.there, &expr, at, &self.options).await;
        let mut got = match value.map_err(|e| e.to_string())? {
            Value::Vector(vector) => vector,
            Value::Scalar(v) => vec![(Labels::empty(), v)],
            other => return Err(format!("gives a {}, not a vector", other.kind())),
        };
        got.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(got)
    }
}
