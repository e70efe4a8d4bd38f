//! Prometheus rule files, read unchanged. Every mistake of a file at once, each with line and column; an expression the
//! evaluator cannot do is a mistake of the file and not of three in the morning.
//!
//! Semantics and defaults are Prometheus' (`model/rulefmt`). Knows no store; `evaluate.rs` runs what this yields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::gotmpl::Template;
use super::measure::{self, Measure};
use super::state::OnMissing;
use crate::domain::units::Span;
use crate::promql::{self, Expr, QueryError};

/// Largest rule file: the largest public collections are below 1 MiB.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// Rules of one file.
pub const RULES_MAX: usize = 10_000;

/// One thing wrong with a rule file. Line and column count from 1; 0 when the place is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    pub file: String,
    pub line: u64,
    pub column: u64,
    pub message: String,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}:{}: {}", self.file, self.column, self.message),
        }
    }
}

/// A file without mistakes.
#[derive(Debug, Clone)]
pub struct RuleFile {
    pub groups: Vec<RuleGroup>,
    /// Worth saying, but no reason to refuse the file: unknown template functions.
    pub warnings: Vec<RuleProblem>,
}

/// Rules that run in order at one instant.
#[derive(Debug, Clone)]
pub struct RuleGroup {
    pub name: String,
    pub file: String,
    /// `None`: the interval of `[alerts]`.
    pub interval: Option<Duration>,
    /// Alerts or samples a rule of the group may give; 0 is no limit.
    pub limit: usize,
    /// Evaluate this much in the past.
    pub offset: Duration,
    /// Put under every rule's own labels.
    pub labels: BTreeMap<String, String>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub struct Rule {
    /// `group/name`, with `#2` for a second of the same name.
    pub id: String,
    /// Alert name or recorded metric.
    pub name: String,
    pub expr: Expr,
    pub labels: BTreeMap<String, Template>,
    pub kind: Kind,
    pub line: u64,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Record,
    Alert(Box<AlertRule>),
}

#[derive(Debug, Clone)]
pub struct AlertRule {
    pub wait: Duration,
    pub keep_firing: Duration,
    pub on_missing: OnMissing,
    pub annotations: BTreeMap<String, Template>,
    pub measure: Measure,
    /// Fires inside only and is never told (the dead-man switch).
    pub quiet: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    groups: Option<Vec<RawGroup>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Spanned<String>,
    #[serde(default)]
    interval: Option<Spanned<String>>,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    query_offset: Option<Spanned<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, Spanned<String>>>,
    // Go reads an empty key as nothing, so `rules:` alone is legal.
    #[serde(default)]
    rules: Option<Vec<Spanned<RawRule>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    #[serde(default)]
    record: Option<Spanned<String>>,
    #[serde(default)]
    alert: Option<Spanned<String>>,
    #[serde(default)]
    expr: Option<Spanned<String>>,
    #[serde(default, rename = "for")]
    wait: Option<Spanned<String>>,
    #[serde(default)]
    keep_firing_for: Option<Spanned<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, Spanned<String>>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, Spanned<String>>>,
}

/// Reads and parses a file.
pub fn read(path: &Path) -> Result<RuleFile, Vec<RuleProblem>> {
    let name = path.display().to_string();
    let whole = |message: String| vec![RuleProblem { file: name.clone(), line: 0, column: 0, message }];
    let size = std::fs::metadata(path).map_err(|e| whole(format!("cannot be read: {e}")))?;
    if size.len() > FILE_BYTES_MAX {
        return Err(whole(format!("is larger than {} MiB", FILE_BYTES_MAX >> 20)));
    }
    let bytes = std::fs::read(path).map_err(|e| whole(format!("cannot be read: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8 text".into()))?;
    parse(&name, &text)
}

/// Parses a file's text; `file` is its name in problems.
pub fn parse(file: &str, text: &str) -> Result<RuleFile, Vec<RuleProblem>> {
    // Strict booleans: `yes` and `on` are words in a label, not true.
    let options = serde_saphyr::options! { strict_booleans: true };
    let raw: RawFile = match text.trim().is_empty() {
        true => RawFile { groups: None },
        false => serde_saphyr::from_str_with_options(text, options).map_err(|e| {
            let (line, column) = e.location().map_or((0, 0), |l| (l.line(), l.column()));
            vec![RuleProblem { file: file.into(), line, column, message: yaml_message(&e) }]
        })?,
    };
    let mut reader = Reader { file, lines: text.lines().collect(), problems: Vec::new(), warnings: Vec::new() };
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    let mut rules_left = RULES_MAX;
    for group in raw.groups.unwrap_or_default() {
        if !names.insert(group.name.value.clone()) {
            reader.problem(&group.name, format!("group `{}` is there twice", group.name.value));
        }
        if group.name.value.is_empty() {
            reader.problem(&group.name, "a group needs a name");
        }
        rules_left = rules_left.saturating_sub(group.rules.as_ref().map_or(0, Vec::len));
        if rules_left == 0 {
            reader.problem(&group.name, format!("more than {RULES_MAX} rules in one file"));
            break;
        }
        groups.push(reader.group(group));
    }
    if reader.problems.is_empty() { Ok(RuleFile { groups, warnings: reader.warnings }) } else { Err(reader.problems) }
}

/// The parser's own words without its picture of the line: the caller draws that.
fn yaml_message(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("not valid YAML");
    let first = first.trim_start_matches("error: ");
    // The place is told apart from the message.
    let first = match first.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((place, message)) if place.starts_with(|c: char| c.is_ascii_digit()) => message,
        _ => first,
    };
    first.split(" at line ").next().unwrap_or(first).trim().to_string()
}

struct Reader<'a> {
    file: &'a str,
    lines: Vec<&'a str>,
    problems: Vec<RuleProblem>,
    warnings: Vec<RuleProblem>,
}

impl Reader<'_> {
    fn place<T>(&self, at: &Spanned<T>, message: impl Into<String>) -> RuleProblem {
        RuleProblem {
            file: self.file.into(),
            line: at.referenced.line(),
            column: at.referenced.column(),
            message: message.into(),
        }
    }
    fn problem<T>(&mut self, at: &Spanned<T>, message: impl Into<String>) {
        let problem = self.place(at, message);
        self.problems.push(problem);
    }

    fn group(&mut self, raw: RawGroup) -> RuleGroup {
        let interval = self.duration(raw.interval.as_ref(), "interval");
        if interval.is_some_and(|i| i.is_zero())
            && let Some(at) = &raw.interval
        {
            self.problem(at, "interval is zero");
        }
        let offset = self.duration(raw.query_offset.as_ref(), "query_offset").unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (name, value) in raw.labels.iter().flatten() {
            self.label_name(name, value, true);
            labels.insert(name.clone(), value.value.clone());
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut rules = Vec::new();
        for rule in raw.rules.unwrap_or_default() {
            if let Some(mut rule) = self.rule(rule) {
                let id = format!("{}/{}", raw.name.value, rule.name);
                let nth = seen.entry(id.clone()).or_default();
                *nth += 1;
                rule.id = if *nth == 1 { id } else { format!("{id}#{nth}") };
                rules.push(rule);
            }
        }
        RuleGroup {
            name: raw.name.value,
            file: self.file.into(),
            interval: interval.filter(|i| !i.is_zero()),
            limit: usize::try_from(raw.limit.unwrap_or(0)).unwrap_or(0),
            offset,
            labels,
            rules,
        }
    }

    fn rule(&mut self, raw: Spanned<RawRule>) -> Option<Rule> {
        let before = self.problems.len();
        let line = raw.referenced.line();
        let (name, alert) = match (&raw.value.record, &raw.value.alert) {
            (Some(record), None) => (record, false),
            (None, Some(alert)) => (alert, true),
            (Some(_), Some(both)) => {
                self.problem(both, "a rule is either `record` or `alert`, not both");
                return None;
            }
            (None, None) => {
                self.problem(&raw, "a rule needs `record` or `alert`");
                return None;
            }
        };
        if alert && name.value.is_empty() {
            self.problem(name, "an alert needs a name");
        }
        if !alert && !metric_name(&name.value) {
            self.problem(name, format!("`{}` is not a metric's name", name.value));
        }
        let expr = match &raw.value.expr {
            Some(expr) if !expr.value.trim().is_empty() => self.expr(expr),
            Some(expr) => {
                self.problem(expr, "the expression is empty");
                None
            }
            None => {
                self.problem(&raw, "a rule needs an `expr`");
                None
            }
        };
        if !alert {
            for (key, at) in [("for", &raw.value.wait), ("keep_firing_for", &raw.value.keep_firing_for)] {
                if let Some(at) = at {
                    self.problem(at, format!("`{key}` belongs to an alert, not to a recording rule"));
                }
            }
            if let Some(at) = raw.value.annotations.iter().flatten().map(|(_, at)| at).next() {
                self.problem(at, "`annotations` belong to an alert, not to a recording rule");
            }
        }
        let wait = self.duration(raw.value.wait.as_ref(), "for").unwrap_or_default();
        let keep_firing = self.duration(raw.value.keep_firing_for.as_ref(), "keep_firing_for").unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (label, value) in raw.value.labels.iter().flatten() {
            self.label_name(label, value, alert);
            labels.insert(label.clone(), if alert { self.template(value) } else { Template::literal(&value.value) });
        }
        let mut annotations = BTreeMap::new();
        for (annotation, value) in raw.value.annotations.iter().flatten() {
            annotations.insert(annotation.clone(), self.template(value));
        }
        let expr = expr?;
        if self.problems.len() > before {
            return None;
        }
        if !matches!(expr.result_type(), "vector" | "scalar")
            && let Some(at) = &raw.value.expr
        {
            self.problem(at, format!("gives a {}; a rule needs a vector or a number", expr.result_type()));
            return None;
        }
        let kind = if alert {
            let measure = measure::of_expr(expr.text());
            Kind::Alert(Box::new(AlertRule {
                wait,
                keep_firing,
                on_missing: OnMissing::Resolve,
                annotations,
                measure,
                quiet: false,
            }))
        } else {
            Kind::Record
        };
        Some(Rule { id: String::new(), name: name.value.clone(), expr, labels, kind, line })
    }

    fn expr(&mut self, at: &Spanned<String>) -> Option<Expr> {
        match promql::parse(&at.value) {
            Ok(expr) => Some(expr),
            Err(error) => {
                let mut problem = self.place(at, "");
                let mut message = error.to_string();
                if let QueryError::Parse { message: text, at: position } = &error {
                    message = text.clone();
                    if let Some(position) = position {
                        (problem.line, problem.column) = self.inside(at, position.line as u64, position.column as u64);
                    }
                }
                problem.message = format!("expression: {message}");
                self.problems.push(problem);
                None
            }
        }
    }

    /// Where line and column of a value are in the file: exact for plain, quoted and literal (`|`) text; a folded (`>`)
    /// text has lost its lines, so its start is given.
    fn inside(&self, at: &Spanned<String>, line: u64, column: u64) -> (u64, u64) {
        let (start, from) = (at.referenced.line(), at.referenced.column());
        let source =
            usize::try_from(start).ok().and_then(|l| self.lines.get(l.saturating_sub(1))).copied().unwrap_or("");
        let rest: String = source.chars().skip(from.saturating_sub(1) as usize).collect();
        // The span of a block text begins at its indicator or at its first line, depending on the indicator.
        let indicator = rest.trim_start().starts_with('|');
        let key_line = source.trim_end().ends_with(['|', '-', '+']) && source.contains('|');
        if indicator || key_line {
            let target = start + line;
            let text = self.lines.get(target.saturating_sub(1) as usize).copied().unwrap_or("");
            let first = self.lines.get(start as usize).copied().unwrap_or("");
            let indent = (first.len() - first.trim_start().len()) as u64;
            return (target, (indent + column).min(text.chars().count() as u64 + 1));
        }
        if rest.starts_with('>') || source.trim_end().ends_with('>') {
            return (start, from);
        }
        let quote = u64::from(rest.starts_with(['"', '\'']));
        match line {
            1 => (start, from + quote + column - 1),
            _ => {
                let first = self.lines.get(start as usize).copied().unwrap_or("");
                let indent = (first.len() - first.trim_start().len()) as u64;
                if at.value.lines().count() > 1 && first.trim() == at.value.lines().nth(1).unwrap_or("").trim() {
                    // A literal text whose span begins at its first line.
                    (start + line - 1, indent + column)
                } else {
                    (start, from)
                }
            }
        }
    }

    fn duration(&mut self, at: Option<&Spanned<String>>, key: &str) -> Option<Duration> {
        let at = at?;
        match at.value.parse::<Span>() {
            Ok(span) => Some(span.get()),
            Err(message) => {
                self.problem(at, format!("`{key}`: {message}"));
                None
            }
        }
    }

    fn label_name(&mut self, name: &str, at: &Spanned<String>, alert: bool) {
        let legal = !name.is_empty() && name != "__name__" && !name.contains('\0');
        let reserved = alert && name == "alertname";
        if !legal || reserved {
            let why = if reserved { "is set by hypercare itself" } else { "is not a label's name" };
            self.problem(at, format!("label `{name}` {why}"));
        }
    }

    fn template(&mut self, at: &Spanned<String>) -> Template {
        match Template::parse(&at.value) {
            Ok(template) => {
                for function in template.unknown_functions() {
                    let warning =
                        self.place(at, format!("template function `{function}` is unknown and expands to nothing"));
                    self.warnings.push(warning);
                }
                template
            }
            Err(message) => {
                self.problem(at, format!("template: {message}"));
                Template::literal(&at.value)
            }
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn metric_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .enumerate()
            .all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || b == b':' || (i > 0 && b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        match parse("r.yml", text) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn reads_what_prometheus_reads() {
        let file = parse(
            "r.yml",
            r#"
groups:
  - name: shop
    interval: 30s
    limit: 10
    labels: { team: web }
    rules:
      - record: job:errors:rate5m
        expr: sum by (job) (rate(http_requests_total{code=~"5.."}[5m]))
        labels: { level: job }
      - alert: HighErrors
        expr: |
          job:errors:rate5m
            > 0.5
        for: 2m
        keep_firing_for: 1m30s
        labels: { severity: page, on: yes }
        annotations:
          summary: "{{ $labels.job }} has {{ $value | humanize }} errors/s"
          odd: "{{ frobnicate 1 }}"
      - alert: HighErrors
        expr: 1
"#,
        )
        .unwrap();
        let group = &file.groups[0];
        assert_eq!((group.interval, group.limit, group.rules.len()), (Some(Duration::from_secs(30)), 10, 3));
        assert_eq!(group.rules[1].id, "shop/HighErrors");
        assert_eq!(group.rules[2].id, "shop/HighErrors#2");
        assert_eq!(group.rules[1].labels["on"].source(), "yes");
        let Kind::Alert(alert) = &group.rules[1].kind else { panic!() };
        assert_eq!((alert.wait, alert.keep_firing), (Duration::from_secs(120), Duration::from_secs(90)));
        assert_eq!((alert.measure.limit, alert.measure.below), (Some(0.5), false));
        assert_eq!(file.warnings.len(), 1);
        assert!(
            file.warnings[0].to_string().starts_with("r.yml:20:16: template function `frobnicate`"),
            "{}",
            file.warnings[0]
        );
        assert!(parse("empty.yml", "").unwrap().groups.is_empty());
        assert!(parse("bare.yml", "groups:\n- name: a\n  labels:\n  rules:\n").unwrap().groups[0].rules.is_empty());
    }

    #[test]
    fn the_shipped_example_is_a_good_file() {
        let text = include_str!("../../config/rules/example.yml");
        let file = parse("example.yml", text).unwrap_or_else(|p| panic!("{p:?}"));
        assert_eq!((file.groups[0].rules.len(), file.warnings), (4, vec![]));
    }

    #[test]
    fn every_mistake_at_once_with_its_place() {
        let found = problems(
            r#"groups:
  - name: a
    rules:
      - alert: Bad
        expr: sum(rate(x[5m])
      - alert: Worse
        expr: up == 0
        for: 5 minutes
      - record: "not a name"
        expr: up
        for: 1m
      - expr: up
      - alert: Text
        expr: "up[5m]"
        labels: { alertname: x }
        annotations: { summary: "{{ if }}" }
  - name: a
"#,
        );
        let starts: Vec<String> =
            found.iter().map(|p| p.splitn(4, ':').take(3).collect::<Vec<_>>().join(":")).collect();
        assert_eq!(
            starts,
            [
                "r.yml:5:30",
                "r.yml:8:14",
                "r.yml:9:17",
                "r.yml:11:14",
                "r.yml:12:9",
                "r.yml:15:30",
                "r.yml:16:33",
                "r.yml:17:11"
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn an_expression_that_cannot_be_done_is_refused_at_load() {
        for text in ["histogram_fraction(0, 1, x)[", "limitk(2, up)", "up @ foo"] {
            let yaml = format!("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: {text}\n");
            let found = problems(&yaml);
            assert!(found.len() == 1 && found[0].starts_with("r.yml:5:"), "{text}: {found:?}");
        }
    }

    #[test]
    fn places_inside_literal_text() {
        let found = problems("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: |\n      up == 0\n      and )\n");
        assert!(found[0].starts_with("r.yml:7:11:"), "{found:?}");
    }

    #[test]
    fn yaml_that_is_not() {
        for (text, place) in [
            ("groups: [", "r.yml:1:"),
            ("groups:\n- name: a\n  rule: []\n", "r.yml:3:3"),
            ("x: 1", "r.yml:1:1"),
            ("- a", "r.yml:1:1"),
        ] {
            let found = problems(text);
            assert!(found[0].starts_with(place), "{text}: {found:?}");
        }
    }
}
