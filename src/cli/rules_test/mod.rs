//! `hypercare rules test FILE`: promtool's unit-test format for rules. Series are written down, time runs at the
//! evaluation interval, and what fires or is recorded is compared with what was expected.

mod simulate;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Exit;
use super::output::{self, FormatArg, Out, Tone};
use crate::alerts::rulefile::{self, RuleGroup};
use crate::domain::metric::anchored;
use crate::promql;
use simulate::Run;

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

fn shown(ms: i64) -> String {
    promql::duration_text(ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
