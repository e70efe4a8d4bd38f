//! `hypercare rules test FILE`: promtool's unit-test format for rules. Series are written down, time runs at the
//! evaluation interval, and what fires or is recorded is compared with what was expected.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Exit;
use super::output::{self, FormatArg, Out, Tone};
use crate::alerts::evaluate::{self, Context};
use crate::alerts::rulefile::{self, AlertRule, Kind, Rule, RuleGroup};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, MatchOp, Matcher, NAME, Sample, Series, anchored, stale_marker};
use crate::promql::{self, MemoryReader, Options, Value, number};

/// Evaluations of one test: a month at one minute.
const STEPS_MAX: i64 = 50_000;
/// Samples of one written series.
const POINTS_MAX: usize = 1_000_000;
/// Relative difference that `fuzzy_compare` forgives, as in promtool.
const FUZZ: f64 = 1e-15;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    #[serde(default)]
    rule_files: Vec<String>,
    #[serde(default)]
    evaluation_interval: Option<String>,
    #[serde(default)]
    group_eval_order: Vec<String>,
    #[serde(default)]
    fuzzy_compare: bool,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    #[serde(default)]
    name: String,
    #[serde(default)]
    interval: Option<String>,
    #[serde(default)]
    input_series: Vec<Input>,
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    promql_expr_test: Vec<ExprTest>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    external_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    series: String,
    values: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTest {
    eval_time: String,
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlert {
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExprTest {
    expr: String,
    eval_time: String,
    #[serde(default)]
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSample {
    #[serde(default)]
    labels: String,
    value: f64,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    ok: bool,
    files: Vec<Tested>,
}

#[derive(Serialize)]
struct Tested {
    file: String,
    ok: bool,
    failures: Vec<String>,
}

pub(super) async fn run(files: &[PathBuf], format: FormatArg) -> anyhow::Result<Exit> {
    let mut tested = Vec::new();
    for path in files {
        let failures = file(path).await.unwrap_or_else(|why| vec![why]);
        tested.push(Tested { file: path.display().to_string(), ok: failures.is_empty(), failures });
    }
    let ok = tested.iter().all(|t| t.ok);
    let mut out = Out::stdout();
    if format.is_json() {
        out.json(&Document { schema: "hypercare.rules_test/v1", ok, files: tested })?;
    } else {
        for one in &tested {
            let (tone, word) = if one.ok { (Tone::Pass, "SUCCESS") } else { (Tone::Fail, "FAILED") };
            out.line(format!("{}: {}", output::clean_line(&one.file), output::paint(tone, word)))?;
            for failure in &one.failures {
                for line in failure.lines() {
                    out.line(format!("  {}", output::clean_line(line)))?;
                }
            }
        }
    }
    out.flush()?;
    Ok(if ok { Exit::Yes } else { Exit::No })
}

/// What failed; `Err` when the file itself cannot be used.
async fn file(path: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let options = serde_saphyr::options! { strict_booleans: true };
    let parsed: TestFile = serde_saphyr::from_str_with_options(&text, options).map_err(|e| e.to_string())?;
    let groups = groups(path, &parsed)?;
    let every = match &parsed.evaluation_interval {
        None => Duration::from_secs(60),
        Some(text) => duration(text)?,
    };
    if every.is_zero() {
        return Err("evaluation_interval must be longer than zero".into());
    }
    let mut failures = Vec::new();
    for (n, test) in parsed.tests.iter().enumerate() {
        let name = if test.name.is_empty() { format!("test {}", n + 1) } else { test.name.clone() };
        let fuzz = if parsed.fuzzy_compare { FUZZ } else { 0.0 };
        match Run::new(test, &groups, every, fuzz) {
            Err(why) => failures.push(format!("{name}: {why}")),
            Ok(mut run) => failures.extend(run.all(test).await.into_iter().map(|f| format!("{name}: {f}"))),
        }
    }
    Ok(failures)
}

/// Of all rule files, beside the test file, in the order that is asked for.
fn groups(path: &Path, parsed: &TestFile) -> Result<Vec<RuleGroup>, String> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut groups = Vec::new();
    for pattern in &parsed.rule_files {
        let found = matching(&dir.join(pattern));
        if found.is_empty() {
            return Err(format!("no rule file at {}", dir.join(pattern).display()));
        }
        for file in found {
            let read = rulefile::read(&file);
            let read = read.map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
            groups.extend(read.groups);
        }
    }
    let order = |g: &RuleGroup| parsed.group_eval_order.iter().position(|n| *n == g.name).unwrap_or(usize::MAX);
    groups.sort_by_key(order);
    Ok(groups)
}

/// A `*` may stand in the file's name.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains('*') {
        return if pattern.exists() { vec![pattern.to_path_buf()] } else { Vec::new() };
    }
    let wanted = anchored(&regex::escape(&name).replace("\\*", ".*"));
    let entries = pattern.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let (Ok(wanted), Some(entries)) = (wanted, entries) else { return Vec::new() };
    let fits = |entry: &std::fs::DirEntry| wanted.is_match(&entry.file_name().to_string_lossy());
    let mut found: Vec<PathBuf> = entries.filter_map(Result::ok).filter(fits).map(|e| e.path()).collect();
    found.sort();
    found
}

fn duration(text: &str) -> Result<Duration, String> {
    let seconds = promql::duration_seconds(text).ok_or_else(|| format!("{text:?} is not a duration"))?;
    Ok(Duration::from_secs_f64(seconds))
}

fn milliseconds(text: &str) -> Result<i64, String> {
    // promtool takes a bare zero.
    if text == "0" { Ok(0) } else { duration(text).map(|d| d.as_millis() as i64) }
}

/// One alert while time runs.
struct Active {
    since: i64,
    fired: bool,
    /// First evaluation that no longer found it, while `keep_firing_for` lasts.
    left: Option<i64>,
    annotations: BTreeMap<String, String>,
}

/// One test: its series and what the rules made of them so far.
struct Run<'t> {
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
    fn new(test: &'t Test, groups: &'t [RuleGroup], every: Duration, fuzz: f64) -> Result<Run<'t>, String> {
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

    async fn all(&mut self, test: &Test) -> Vec<String> {
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

fn shown(ms: i64) -> String {
    promql::duration_text(ms as f64 / 1000.0)
}

/// `name{a="b"}`; empty or `{}` is no label at all.
fn labels(text: &str) -> Result<Labels, String> {
    if matches!(text.trim(), "" | "{}") {
        return Ok(Labels::empty());
    }
    let expr = promql::parse(text).map_err(|e| e.to_string())?;
    let matchers = expr.plain_selector().ok_or("is not the name of a series")?;
    let pair = |m: &Matcher| match &m.op {
        MatchOp::Equal(value) => Ok((m.label.clone(), value.clone())),
        _ => Err(format!("label {} must be given with =", m.label)),
    };
    Ok(Labels::new(matchers.iter().map(pair).collect::<Result<Vec<_>, String>>()?))
}

/// `1 2x3 0+1x10 _ _x2 stale`: `None` where nothing was scraped.
fn points(text: &str) -> Result<Vec<Option<f64>>, String> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let refused = || format!("cannot read {word:?}");
        let (body, times) = match word.rsplit_once('x') {
            Some((body, times)) => (body, Some(times.parse::<usize>().map_err(|_| refused())?)),
            None => (word, None),
        };
        if out.len().saturating_add(times.unwrap_or(0)) > POINTS_MAX {
            return Err(format!("more than {POINTS_MAX} samples"));
        }
        if body == "_" {
            out.extend(std::iter::repeat_n(None, times.unwrap_or(1)));
            continue;
        }
        // `start+step`: the sign that parts them is neither the first character nor an exponent's.
        let bytes = body.as_bytes();
        let sign = |i: &usize| matches!(bytes[*i], b'+' | b'-') && !matches!(bytes[*i - 1], b'e' | b'E');
        let cut = if times.is_some() { (1..bytes.len()).find(sign) } else { None };
        let (start, step) = match cut {
            Some(at) => (&body[..at], number::parse(&body[at..]).ok_or_else(refused)?),
            None => (body, 0.0),
        };
        let mut value = if start == "stale" { stale_marker() } else { number::parse(start).ok_or_else(refused)? };
        out.push(Some(value));
        for _ in 0..times.unwrap_or(0) {
            // Step by step as promtool counts, so that the last digits agree; a stale marker stays one.
            value = if step == 0.0 { value } else { value + step };
            out.push(Some(value));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: job:up:sum == 0
    for: 2m
    keep_firing_for: 1m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} has {{ $value }}"}
"#;

    const TESTS: &str = r#"
rule_files: [rules*.yml]
evaluation_interval: 1m
tests:
- name: outage
  interval: 1m
  input_series:
  - {series: 'up{job="a",instance="1"}', values: '1 0x5 1x5'}
  - {series: 'up{job="b",instance="1"}', values: '1x3 stale _x3 5-1x2'}
  alert_rule_test:
  - {eval_time: 2m, alertname: Down}
  - eval_time: 3m30s
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: page, job: a}
      exp_annotations: {summary: a has 0}
  - eval_time: 7m
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: page, job: a}
      exp_annotations: {summary: a has 0}
  - {eval_time: 9m, alertname: Down}
  promql_expr_test:
  - expr: job:up:sum
    eval_time: 3m
    exp_samples:
    - {labels: 'job:up:sum{job="a"}', value: 0}
    - {labels: 'job:up:sum{job="b"}', value: 1}
  - expr: job:up:sum{job="b"}
    eval_time: 5m
  - expr: ALERTS
    eval_time: 1m
    exp_samples:
    - {labels: 'ALERTS{alertname="Down",alertstate="pending",job="a",severity="page"}', value: 1}
  - expr: count_over_time(up{job="b"}[20m])
    eval_time: 10m
    exp_samples: [{labels: '{job="b",instance="1"}', value: 7}]
"#;

    fn folder(tests: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rules.yml"), RULES).unwrap();
        let path = dir.path().join("tests.yml");
        std::fs::write(&path, tests).unwrap();
        (dir, path)
    }

    /// With the real promtool beside us, where there is one.
    fn promtool(path: &Path) -> Option<bool> {
        let output = std::process::Command::new("promtool").args(["test", "rules"]).arg(path).output().ok()?;
        Some(output.status.success())
    }

    #[tokio::test]
    async fn promtool_agrees() {
        let (_dir, path) = folder(TESTS);
        let failures = file(&path).await.unwrap();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        // Debian's promtool does not know `keep_firing_for`; the rest it must see as we do.
        for (from, to) in [("value: 1}", "value: 2}"), ("a has 0}", "a has 1}"), ("eval_time: 2m,", "eval_time: 4m,")] {
            let without = RULES.replace("    keep_firing_for: 1m\n", "");
            let good = TESTS.replace("eval_time: 7m", "eval_time: 5m");
            for (text, expected) in [(good.clone(), true), (good.replacen(from, to, 1), false)] {
                let (dir, path) = folder(&text);
                std::fs::write(dir.path().join("rules.yml"), &without).unwrap();
                assert_eq!(file(&path).await.unwrap().is_empty(), expected, "{from}");
                assert!(promtool(&path).is_none_or(|ok| ok == expected), "{from}: promtool differs");
            }
        }
    }

    #[tokio::test]
    async fn differences_are_told() {
        let (_dir, path) = folder(&TESTS.replacen("value: 0}", "value: 3}", 1).replacen("has 0}", "has 9}", 1));
        let told = file(&path).await.unwrap().join("\n");
        assert!(told.contains("outage: alertname Down, time 3m30s") && told.contains("a has 9"), "{told}");
        assert!(
            told.contains("exp: job:up:sum{job=\"a\"} 3") && told.contains("got: job:up:sum{job=\"a\"} 0"),
            "{told}"
        );
        let (_dir, path) = folder("tests: [{interval: 1x}]");
        assert!(file(&path).await.unwrap()[0].contains("is not a duration"));
    }

    #[test]
    fn values_expand() {
        let v = |text: &str| points(text).unwrap();
        assert_eq!(v("1+2x2 -1 _ 4x1"), [Some(1.0), Some(3.0), Some(5.0), Some(-1.0), None, Some(4.0), Some(4.0)]);
        assert_eq!(v("1e-3-1e-3x1 _x2"), [Some(1e-3), Some(0.0), None, None]);
        assert!(v("stale")[0].unwrap().is_nan());
        assert!(points("{{schema:0}}").is_err() && points("1x2x3").is_err());
    }
}
