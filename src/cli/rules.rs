//! `hypercare rules check|eval|test FILE`: Prometheus rule files with line-accurate errors, and what they would say now.
//! `rules_test.rs` has the unit tests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::alerts::evaluate::{self, Context};
use crate::alerts::rulefile::{self, Kind, RuleFile, RuleProblem};
use crate::config::Secrets;
use crate::domain::clock::Timestamp;
use crate::domain::metric::{self, LabelledSample, Labels, Matcher, ReadError, Series, SeriesReader, SeriesScan};
use crate::domain::query::QueryEngine;
use crate::domain::units::{self, Span};
use crate::promql::Options;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare rules check config/rules/*.yml            every mistake, with file:line:column; exit 1 when there is one
  hypercare rules test tests/rules/*.yml              promtool's unit tests; exit 1 when one fails
  hypercare rules eval config/rules/shop.yml          what each rule gives now, on the stored samples
  hypercare rules eval config/rules/shop.yml --at 2h  what it gave two hours ago")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say everything that is wrong with rule files; exit 1 when something is
    Check {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Run unit tests of rules in promtool's format; exit 1 when one fails
    Test {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Evaluate every rule of a file once, on the stored samples; nothing is stored and nobody is told
    Eval {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Evaluate at this time instead of now: RFC 3339, epoch seconds, or so long ago (10m)
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
        #[command(flatten)]
        format: FormatArg,
    },
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.what {
        What::Check { files, format } => check(&files, format),
        What::Test { files, format } => super::rules_test::run(&files, format).await,
        What::Eval { file, at, format } => eval(file, at, format, global).await,
    }
}

#[derive(Serialize)]
struct CheckDocument {
    schema: &'static str,
    ok: bool,
    files: Vec<CheckedFile>,
}

#[derive(Serialize)]
struct CheckedFile {
    file: String,
    ok: bool,
    groups: usize,
    alerts: usize,
    recordings: usize,
    errors: Vec<Place>,
    warnings: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    line: u64,
    column: u64,
    message: String,
}

fn places(problems: &[RuleProblem]) -> Vec<Place> {
    problems.iter().map(|p| Place { line: p.line, column: p.column, message: p.message.clone() }).collect()
}

fn check(files: &[PathBuf], format: FormatArg) -> anyhow::Result<Exit> {
    let mut checked = Vec::new();
    let mut out = Out::stdout();
    for path in files {
        let name = path.display().to_string();
        let result = rulefile::read(path);
        if !format.is_json() {
            let source = std::fs::read_to_string(path).unwrap_or_default();
            match &result {
                Ok(file) => {
                    for warning in &file.warnings {
                        show(&mut out, Tone::Warn, "warning", warning, &source)?;
                    }
                    let (alerts, recordings) = count(file);
                    let good = output::paint(Tone::Pass, "✔");
                    let what = format!("{} groups, {alerts} alerts, {recordings} recording rules", file.groups.len());
                    out.line(format!("{good} {}: {what}", output::clean_line(&name)))?;
                }
                Err(problems) => {
                    for problem in problems {
                        show(&mut out, Tone::Fail, "error", problem, &source)?;
                    }
                }
            }
        }
        checked.push(match result {
            Ok(file) => {
                let (alerts, recordings) = count(&file);
                let warnings = places(&file.warnings);
                CheckedFile {
                    file: name,
                    ok: true,
                    groups: file.groups.len(),
                    alerts,
                    recordings,
                    errors: Vec::new(),
                    warnings,
                }
            }
            Err(problems) => {
                let errors = places(&problems);
                CheckedFile { file: name, ok: false, groups: 0, alerts: 0, recordings: 0, errors, warnings: Vec::new() }
            }
        });
    }
    let ok = checked.iter().all(|f| f.ok);
    if format.is_json() {
        out.json(&CheckDocument { schema: "hypercare.rules_check/v1", ok, files: checked })?;
    }
    out.flush()?;
    Ok(if ok { Exit::Yes } else { Exit::No })
}

fn count(file: &RuleFile) -> (usize, usize) {
    let rules = || file.groups.iter().flat_map(|g| &g.rules);
    let alerts = rules().filter(|r| matches!(r.kind, Kind::Alert(_))).count();
    (alerts, rules().count() - alerts)
}

/// `file:line:column: error: message`, then the line with a mark under the place.
fn show(out: &mut Out, tone: Tone, word: &str, problem: &RuleProblem, source: &str) -> std::io::Result<()> {
    let place = match problem.line {
        0 => problem.file.clone(),
        line => format!("{}:{line}:{}", problem.file, problem.column),
    };
    out.line(format!(
        "{}: {}: {}",
        output::clean_line(&place),
        output::paint(tone, word),
        output::clean(&problem.message)
    ))?;
    let line = usize::try_from(problem.line).ok().and_then(|l| l.checked_sub(1)).and_then(|l| source.lines().nth(l));
    if let Some(line) = line {
        let before: String = line.chars().take(problem.column.saturating_sub(1) as usize).collect();
        out.line(format!("  {}", output::clean_line(line)))?;
        out.line(format!(
            "  {}{}",
            " ".repeat(output::columns(&output::clean_line(&before))),
            output::paint(tone, "^")
        ))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct EvalDocument {
    schema: &'static str,
    file: String,
    at: Timestamp,
    rules: Vec<Evaluated>,
}

#[derive(Serialize)]
struct Evaluated {
    group: String,
    name: String,
    kind: &'static str,
    expr: String,
    error: Option<String>,
    results: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    labels: Labels,
    /// As PromQL prints it; JSON has no NaN.
    value: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

async fn eval(file: PathBuf, at: Option<String>, format: FormatArg, global: &Global) -> anyhow::Result<Exit> {
    let rules = match rulefile::read(&file) {
        Ok(rules) => rules,
        Err(problems) => {
            let source = std::fs::read_to_string(&file).unwrap_or_default();
            let mut out = Out::stdout();
            for problem in &problems {
                show(&mut out, Tone::Fail, "error", problem, &source)?;
            }
            out.flush()?;
            return Ok(Exit::No);
        }
    };
    let now = global.clock.now();
    let at = match &at {
        None => now,
        Some(text) => Timestamp::parse(text)
            .or_else(|| text.parse::<Span>().ok().map(|s| now.minus(s.get())))
            .ok_or_else(|| {
                Failure::new(Exit::Usage, format!("{text:?} is not a time"))
                    .hint("write RFC 3339, epoch seconds, or 90m for so long ago")
            })?,
    };
    let store = super::alerts::store(global, Need::Nothing).await?;
    let only = global.config(Need::Nothing, Secrets::MayBeMissing)?.config.only_service().unwrap_or("").to_string();
    let evaluated = evaluate_all(&rules, &*store.reader(), at, &only).await;
    store.close().await;
    let broken = evaluated.iter().any(|r| r.error.is_some());
    let mut out = Out::stdout();
    if format.is_json() {
        let file = file.display().to_string();
        out.json(&EvalDocument { schema: "hypercare.rules_eval/v1", file, at, rules: evaluated })?;
    } else {
        for rule in &evaluated {
            print(&mut out, rule)?;
        }
    }
    out.flush()?;
    Ok(if broken { Exit::No } else { Exit::Yes })
}

/// In order at one instant; what a rule records is seen by the rules after it, and by nobody else.
async fn evaluate_all(file: &RuleFile, samples: &dyn SeriesReader, at: Timestamp, only: &str) -> Vec<Evaluated> {
    let options = Options::default();
    let mut over = Overlay { base: samples, recorded: Vec::new() };
    let service_of = |_: &Labels| only.to_string();
    let external_labels = &std::collections::BTreeMap::new();
    let context = Context { external_url: "", external_labels, now: at, options: &options, service_of: &service_of };
    let mut out = Vec::new();
    for group in &file.groups {
        for rule in &group.rules {
            let (kind, result) = match &rule.kind {
                Kind::Record => {
                    let result = evaluate::record(&over, group, rule, at, &options).await;
                    let rows = result.map(|samples| {
                        let rows = samples.iter().map(|s| row(s.labels.clone(), s.sample.v, BTreeMap::new())).collect();
                        over.recorded.extend(samples);
                        rows
                    });
                    ("recording", rows)
                }
                Kind::Alert(alert) => {
                    let found = evaluate::alerts(&over, group, rule, alert, at, &context).await;
                    let rows = |found: Vec<evaluate::Instance>| {
                        found.into_iter().map(|i| row(i.labels, i.value, i.annotations)).collect::<Vec<_>>()
                    };
                    ("alerting", found.map(rows))
                }
            };
            let (results, error) = result.map_or_else(|e| (Vec::new(), Some(e)), |rows| (rows, None));
            let expr = rule.expr.text().to_string();
            out.push(Evaluated { group: group.name.clone(), name: rule.name.clone(), kind, expr, error, results });
        }
    }
    out
}

fn row(labels: Labels, value: f64, annotations: BTreeMap<String, String>) -> Row {
    Row { labels, value: crate::promql::number::plain(value), annotations }
}

/// Rows of one rule; the rest is counted. JSON has them all.
const ROWS_MAX: usize = 20;

fn print(out: &mut Out, rule: &Evaluated) -> std::io::Result<()> {
    let (tone, state) = match (&rule.error, rule.kind, rule.results.len()) {
        (Some(_), ..) => (Tone::Error, "error".to_string()),
        (None, "alerting", 0) => (Tone::Pass, "not true".to_string()),
        (None, "alerting", n) => (Tone::Fail, format!("true for {n}")),
        (None, _, n) => (Tone::Soft, format!("{n} samples")),
    };
    let name = output::paint(Tone::Strong, output::clean_line(&format!("{}/{}", rule.group, rule.name)));
    out.line(format!("{name}  {}", output::paint(tone, state)))?;
    if let Some(error) = &rule.error {
        out.line(format!("  {}", output::clean_line(error)))?;
    }
    for row in rule.results.iter().take(ROWS_MAX) {
        let number = row.value.parse().map_or_else(|_| row.value.clone(), units::number);
        out.line(format!("  {number}  {}", output::clean_line(&row.labels.to_string())))?;
        if let Some(summary) = row.annotations.get("summary") {
            out.line(format!("    {}", output::paint(Tone::Soft, output::clean_line(summary))))?;
        }
    }
    if rule.results.len() > ROWS_MAX {
        out.line(format!("  … and {} more", rule.results.len() - ROWS_MAX))?;
    }
    Ok(())
}

/// The store with what was recorded in this run laid over it.
struct Overlay<'a> {
    base: &'a dyn SeriesReader,
    recorded: Vec<LabelledSample>,
}

impl SeriesReader for Overlay<'_> {
    /// An engine elsewhere does not know what was recorded here.
    fn engine(&self) -> Option<&dyn QueryEngine> {
        self.base.engine().filter(|_| self.recorded.is_empty())
    }

    fn select<'a>(
        &'a self,
        matchers: &'a [Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Series>, ReadError>> {
        Box::pin(async move {
            let mut found = self.base.select(matchers, start, end, limit).await?;
            let mine = self
                .recorded
                .iter()
                .filter(|s| (start..=end).contains(&s.sample.t) && matchers.iter().all(|m| m.matches(&s.labels)));
            for LabelledSample { labels, sample } in mine {
                match found.iter_mut().find(|s| s.labels == *labels) {
                    Some(series) => {
                        series.samples.retain(|s| s.t < sample.t);
                        series.samples.push(*sample);
                    }
                    None => found.push(Series { labels: labels.clone(), samples: vec![*sample] }),
                }
            }
            found.sort_by(|a, b| a.labels.cmp(&b.labels));
            Ok(found)
        })
    }

    /// Rollups are the store's own.
    fn scan<'a>(
        &'a self,
        matchers: &'a [Matcher],
        need: metric::Need,
    ) -> BoxFuture<'a, Result<Box<dyn SeriesScan>, ReadError>> {
        if self.recorded.is_empty() {
            return self.base.scan(matchers, need);
        }
        Box::pin(async move {
            let series = self.select(matchers, need.start, need.end, need.limit).await?;
            Ok(Box::new(series) as Box<dyn SeriesScan>)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::domain::metric::{NAME, Sample};
    use crate::store::{Role, Store};

    #[tokio::test]
    async fn later_rules_see_what_earlier_ones_recorded_and_nothing_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let at = Timestamp::from_ms(1_700_000_000_000);
        let store = Store::open(dir.path(), Role::Daemon, ManualClock::at(at)).await.unwrap();
        let labels = Labels::new([(NAME, "x"), ("job", "app")]);
        store.samples.append(vec![LabelledSample { labels, sample: Sample { t: at, v: 3.0 } }]).await.unwrap();
        let file = rulefile::parse(
            "r.yml",
            "groups:\n- name: g\n  rules:\n  - record: job:x\n    expr: sum by (job) (x)\n  - alert: A\n    expr: job:x > 2\n  - alert: B\n    expr: x * on (job) group_left y\n",
        )
        .unwrap();
        let found = evaluate_all(&file, &store.samples, at, "shop").await;
        assert_eq!(found[0].results[0].labels.to_string(), "job:x{job=\"app\"}");
        assert_eq!((found[1].results.len(), &*found[1].results[0].value), (1, "3"));
        assert_eq!(found[1].results[0].labels.get("service"), Some("shop"));
        assert!(found[2].results.is_empty() && found[2].error.is_none());
        assert_eq!(store.samples.label_values(NAME).await.unwrap(), ["x"]);
        store.close().await;
    }
}
