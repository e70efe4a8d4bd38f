//! `hypercare rules test FILE`: promtool's unit-test format for rules. Series are written down, time runs at the
//! evaluation interval, and what fires or is recorded is compared with what was expected.

mod glob;
mod simulate;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::Exit;
use super::output::{self, FormatArg, Out, Tone};
use crate::alerts::rulefile::{self, RuleGroup};
use crate::domain::clock::Timestamp;
use crate::promql;
use simulate::Run;

/// Promtool's `evaluation_interval` when the file names none.
const EVERY: Duration = Duration::from_secs(60);

/// Go's YAML reads a key without a value as nothing, so `exp_alerts:` alone is legal.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TestFile {
    #[serde(deserialize_with = "nullable")]
    rule_files: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    evaluation_interval: Option<String>,
    #[serde(deserialize_with = "nullable")]
    group_eval_order: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    fuzzy_compare: bool,
    #[serde(deserialize_with = "nullable")]
    tests: Vec<Test>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Test {
    #[serde(deserialize_with = "nullable")]
    name: String,
    #[serde(deserialize_with = "nullable")]
    interval: Option<String>,
    #[serde(deserialize_with = "nullable")]
    input_series: Vec<Input>,
    #[serde(deserialize_with = "nullable")]
    alert_rule_test: Vec<AlertTest>,
    #[serde(deserialize_with = "nullable")]
    promql_expr_test: Vec<ExprTest>,
    #[serde(deserialize_with = "nullable")]
    external_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    external_url: String,
    /// Seconds since 1970, or RFC 3339; everything else in the test counts from there.
    #[serde(deserialize_with = "nullable")]
    start_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Input {
    #[serde(deserialize_with = "nullable")]
    series: String,
    #[serde(deserialize_with = "nullable")]
    values: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AlertTest {
    #[serde(deserialize_with = "nullable")]
    eval_time: Option<String>,
    #[serde(deserialize_with = "nullable")]
    alertname: String,
    #[serde(deserialize_with = "nullable")]
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExpectedAlert {
    #[serde(deserialize_with = "nullable")]
    exp_labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExprTest {
    #[serde(deserialize_with = "nullable")]
    expr: String,
    #[serde(deserialize_with = "nullable")]
    eval_time: Option<String>,
    #[serde(deserialize_with = "nullable")]
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ExpectedSample {
    #[serde(deserialize_with = "nullable")]
    labels: String,
    #[serde(deserialize_with = "nullable")]
    value: Number,
    #[serde(deserialize_with = "nullable")]
    histogram: String,
}

/// A number and not a text that looks like one: promtool tells them apart.
#[derive(Debug, Clone, Copy, Default)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Number, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Number;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number without quotes; YAML spells the special ones .inf, -.inf and .nan")
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
        }
        from.deserialize_any(Visitor)
    }
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// How values are compared: `fuzzy_compare` forgives the last bit.
#[derive(Debug, Clone, Copy)]
enum Compare {
    Exact,
    Fuzzy,
}

impl Compare {
    /// As in promtool, NaN equals nothing.
    fn same(self, a: f64, b: f64) -> bool {
        a == b || matches!(self, Compare::Fuzzy) && !a.is_nan() && (a.next_up() == b || a.next_down() == b)
    }
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
    let options = serde_saphyr::options! {
        strict_booleans: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
    };
    let parsed: TestFile = serde_saphyr::from_str_with_options(&text, options).map_err(|e| e.to_string())?;
    let groups = groups(path, &parsed)?;
    let every = parsed.evaluation_interval.as_deref().map_or(Ok(Duration::ZERO), duration)?;
    let every = if every.is_zero() { EVERY } else { every };
    let mut failures = Vec::new();
    for (n, test) in parsed.tests.iter().enumerate() {
        let name = if test.name.is_empty() { format!("test {}", n + 1) } else { test.name.clone() };
        let compare = if parsed.fuzzy_compare { Compare::Fuzzy } else { Compare::Exact };
        match Run::new(test, &groups, every, compare) {
            Err(why) => failures.push(format!("{name}: {why}")),
            Ok(mut run) => failures.extend(run.all().await.into_iter().map(|f| format!("{name}: {f}"))),
        }
    }
    Ok(failures)
}

/// Of all rule files, beside the test file, in the order that is asked for.
fn groups(path: &Path, parsed: &TestFile) -> Result<Vec<RuleGroup>, String> {
    let order = &parsed.group_eval_order;
    if let Some(twice) = order.iter().enumerate().find(|(i, name)| order[..*i].contains(name)) {
        return Err(format!("group_eval_order names {:?} twice", twice.1));
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut groups = Vec::new();
    for pattern in &parsed.rule_files {
        let found = glob::files(dir, pattern).map_err(|why| format!("rule_files: {pattern:?}: {why}"))?;
        if found.is_empty() {
            // As promtool: what the rules should have done is missed by the tests.
            tracing::warn!("{}: no rule file at {}", path.display(), dir.join(pattern).display());
        }
        for file in found {
            let read = rulefile::read(&file);
            let read = read.map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
            groups.extend(read.groups);
        }
    }
    groups.sort_by_key(|g| order.iter().position(|n| *n == g.name).unwrap_or(usize::MAX));
    Ok(groups)
}

/// One or more whole numbers with a unit each, or a bare zero: not PromQL's durations, which may be computed.
fn duration(text: &str) -> Result<Duration, String> {
    let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let unit = text.ends_with(|c: char| c.is_ascii_lowercase());
    let seconds = match text {
        "0" => Some(0.0),
        _ => promql::duration_seconds(text).filter(|_| plain && unit),
    };
    let seconds = seconds.ok_or_else(|| format!("{text:?} is not a duration; write 90s or 1m30s"))?;
    Duration::try_from_secs_f64(seconds).map_err(|e| format!("{text:?}: {e}"))
}

/// `eval_time`: zero when it is left out.
fn milliseconds(text: &Option<String>) -> Result<i64, String> {
    text.as_deref().map_or(Ok(Duration::ZERO), duration).map(|d| d.as_millis() as i64)
}

/// `start_timestamp`, in milliseconds.
fn start(text: &str) -> Result<i64, String> {
    Timestamp::parse(text).map(Timestamp::ms).ok_or_else(|| {
        format!("start_timestamp: {text:?} is neither seconds since 1970 nor a time like 2026-01-31T12:00:00Z")
    })
}

fn shown(ms: i64) -> String {
    promql::duration_text(ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
