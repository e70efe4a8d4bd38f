//! Alert rules as a repository holds them: Prometheus rule files, PrometheusRule and ConfigMap manifests, Helm values,
//! rule templates of Helm and Ansible, Grafana's alert provisioning, Alertmanager's configuration. Whatever mapping has
//! `alert` and `expr` is a rule, wherever it stands; each keeps file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::elsewhere::{self, Declared};
use super::{grafana, untemplate};
use crate::gates::context::{Repo, RepoFile, on_every_core};
use crate::gates::import::yaml;
use crate::promql::{self, Expr};

/// Rule files are written by people and generators; the largest public ones are below a megabyte.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;
/// Mappings inside mappings.
const DEPTH_MAX: usize = 40;
/// A key `alert` or `record`, as YAML or JSON has it; dashboards are full of other alerts.
static RULE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"(?m)^[\s{-]*["']?(?:alert|record)["']?:\s*\S"#).expect("a pattern of ours"));
/// Rules of one repository; whoever has more generates them.
const RULES_MAX: usize = 20_000;

/// One alert.
#[derive(Debug, Clone)]
pub struct Rule {
    pub name: String,
    pub text: String,
    /// `Err`: why it is no PromQL.
    pub expr: Result<Expr, String>,
    pub wait: Duration,
    pub labels: BTreeMap<String, String>,
    pub file: String,
    pub line: u32,
    /// Holds a placeholder where a number should be: only its form can be judged.
    pub templated: bool,
}

/// One recording rule.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub name: String,
    pub expr: Expr,
    pub labels: BTreeMap<String, String>,
}

/// An Alertmanager configuration.
#[derive(Debug, Clone)]
pub struct Alertmanager {
    pub file: String,
    pub value: Value,
}

#[derive(Debug, Clone, Default)]
pub struct Found {
    pub alerts: Vec<Rule>,
    pub records: BTreeMap<String, Vec<Recorded>>,
    pub alertmanagers: Vec<Alertmanager>,
    /// Files that look like rules and could not be read: path, line, why.
    pub unreadable: Vec<(String, u32, String)>,
    /// Alerts that live in somebody else's language.
    pub declared: Vec<Declared>,
    /// Rules written in jsonnet: nobody here renders them.
    pub jsonnet: Vec<String>,
    /// Rules of examples, documentation and tests, which watch nothing.
    pub examples: BTreeSet<String>,
}

/// Blocking. Reads every YAML file that mentions alerts.
pub fn look(repo: &Repo) -> Found {
    let files: Vec<&RepoFile> =
        repo.files.iter().filter(|f| f.bytes <= FILE_BYTES_MAX && is_candidate(&f.path)).collect();
    let parts = on_every_core(&files, |file| {
        let mut found = Found::default();
        if let Ok(text) = repo.read_text(&file.path, FILE_BYTES_MAX) {
            read(&file.path, &text, &mut found);
        }
        found
    });
    let mut all = Found::default();
    for part in parts {
        all.add(part);
    }
    all
}

impl Found {
    fn add(&mut self, other: Found) {
        let room = RULES_MAX.saturating_sub(self.alerts.len());
        self.alerts.extend(other.alerts.into_iter().take(room));
        for (name, records) in other.records {
            self.records.entry(name).or_default().extend(records);
        }
        self.alertmanagers.extend(other.alertmanagers);
        self.unreadable.extend(other.unreadable);
        self.declared.extend(other.declared);
        self.jsonnet.extend(other.jsonnet);
        self.examples.extend(other.examples);
    }
}

fn is_candidate(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let lower =
        [".j2", ".tmpl", ".tpl", ".gotmpl", ".erb"].iter().find_map(|e| lower.strip_suffix(e)).unwrap_or(&lower);
    [".yml", ".yaml", ".rules", ".rule", ".tf", ".libsonnet", ".jsonnet"].iter().any(|e| lower.ends_with(e))
        || (lower.ends_with(".json") && lower.contains("alert"))
}

/// Folders whose rules watch nothing.
fn is_example(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let folders = lower.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/').any(|part| {
        matches!(
            part,
            "test"
                | "tests"
                | "testdata"
                | "test-data"
                | "__tests__"
                | "fixtures"
                | "spec"
                | "node_modules"
                | "vendor"
                | "third_party"
                | "example"
                | "examples"
                | "docs"
                | "doc"
                | "documentation"
                | "sample"
                | "samples"
        )
    })
}

/// Adds what one file holds.
pub fn read(path: &str, text: &str, found: &mut Found) {
    if path.ends_with(".tf") {
        return found.declared.extend(elsewhere::terraform(path, text).into_iter().filter(|_| !is_example(path)));
    }
    if path.ends_with("sonnet") {
        let rules = text.lines().any(|l| l.trim_start().trim_start_matches("'").starts_with("alert:"))
            && text.contains("expr:");
        if rules {
            if is_example(path) {
                found.examples.insert(path.into())
            } else {
                found.jsonnet.push(path.into());
                true
            };
        }
        return;
    }
    let rules = RULE.is_match(text) && text.contains("expr");
    let provisioned = text.contains("relativeTimeRange") && text.contains("condition");
    let routing = text.contains("receivers:") && text.contains("route:");
    let cloud = text.contains("AWS::CloudWatch::Alarm");
    if !(rules || provisioned || routing || cloud) {
        return;
    }
    let (documents, templated) = match yaml::documents(text) {
        Ok(documents) => (documents, false),
        Err(error) => match yaml::documents(&untemplate::untemplate(text)) {
            Ok(documents) if text.contains("{{") || text.contains("{%") => (documents, true),
            _ => {
                // Only what is surely a rule file is worth an error.
                if rules && text.contains("expr:") && !is_example(path) {
                    let why = error.to_string();
                    let line = why.split("line ").nth(1).and_then(|t| t.split(|c: char| !c.is_ascii_digit()).next());
                    let line = line.and_then(|n| n.parse().ok()).unwrap_or(1);
                    found.unreadable.push((path.into(), line, why));
                }
                return;
            }
        },
    };
    let mut reader =
        Reader { path, lines: text.lines().collect(), taken: BTreeSet::new(), templated, found: Found::default() };
    for document in &documents {
        reader.walk(document, 0);
        elsewhere::cloudformation(path, text, document, &mut reader.found.declared);
    }
    let part = reader.found;
    if is_example(path) {
        if !part.alerts.is_empty() {
            found.examples.insert(path.into());
        }
        return;
    }
    found.add(part);
}

struct Reader<'a> {
    path: &'a str,
    lines: Vec<&'a str>,
    /// Lines that already belong to a rule.
    taken: BTreeSet<usize>,
    templated: bool,
    found: Found,
}

impl Reader<'_> {
    fn walk(&mut self, value: &Value, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        match value {
            Value::Array(items) => items.iter().for_each(|v| self.walk(v, depth + 1)),
            Value::Object(map) => {
                if let Some(expr) = text(&value["expr"]) {
                    if let Some(name) = text(&value["alert"]) {
                        return self.alert(&name, &expr, value);
                    }
                    if let Some(name) = text(&value["record"]) {
                        return self.record(&name, &expr, value);
                    }
                }
                if value["data"].is_array() && value["condition"].is_string() && value["title"].is_string() {
                    return self.grafana(value);
                }
                // A chart's own defaults route nothing anywhere: whoever installs it sets them.
                let defaults = self.path.ends_with("values.yaml") && self.path.contains("charts/");
                if value["route"]["receiver"].is_string() && value["receivers"].is_array() && !defaults {
                    self.found.alertmanagers.push(Alertmanager { file: self.path.into(), value: value.clone() });
                }
                map.values().for_each(|v| self.walk(v, depth + 1));
            }
            // A ConfigMap carries the files as texts.
            Value::String(text) if text.contains('\n') && (text.contains("alert:") || text.contains("receivers:")) => {
                for document in yaml::documents(text).unwrap_or_default().iter().filter(|d| !d.is_string()) {
                    self.walk(document, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn alert(&mut self, name: &str, expr: &str, value: &Value) {
        let line = self.line_of("alert", name);
        let wait = text(&value["for"]);
        let seconds = wait.as_deref().map(|w| promql::duration_seconds(w).or_else(|| w.parse().ok()));
        let unknown_wait = matches!(seconds, Some(None));
        let parsed = promql::parse(expr).map_err(|e| e.to_string());
        let templated = self.templated && (unknown_wait || parsed.as_ref().is_ok_and(untemplate::is_open));
        self.found.alerts.push(Rule {
            name: name.into(),
            text: expr.trim().into(),
            expr: parsed,
            wait: Duration::from_secs_f64(seconds.flatten().unwrap_or(0.0).clamp(0.0, 1e9)),
            labels: labels(&value["labels"]),
            file: self.path.into(),
            line,
            templated,
        });
    }

    fn record(&mut self, name: &str, expr: &str, value: &Value) {
        let Ok(expr) = promql::parse(expr) else { return };
        let recorded = Recorded { name: name.into(), expr, labels: labels(&value["labels"]) };
        self.found.records.entry(name.into()).or_default().push(recorded);
    }

    fn grafana(&mut self, value: &Value) {
        let name = text(&value["title"]).unwrap_or_default();
        let line = self.line_of("title", &name);
        let Some(expr) = grafana::expression(value) else { return };
        let wait = text(&value["for"]).and_then(|w| promql::duration_seconds(&w)).unwrap_or(0.0);
        self.found.alerts.push(Rule {
            name,
            expr: promql::parse(&expr).map_err(|e| e.to_string()),
            text: expr,
            wait: Duration::from_secs_f64(wait.clamp(0.0, 1e9)),
            labels: labels(&value["labels"]),
            file: self.path.into(),
            line,
            templated: false,
        });
    }

    /// The next line (from 1) that says `key: name` and is not another rule's.
    fn line_of(&mut self, key: &str, name: &str) -> u32 {
        let says = |line: &str| {
            let line = line.trim_start().trim_start_matches("- ").trim_start_matches(['{', ' ', '"', '\'']);
            let rest = line.strip_prefix(key).map(|rest| rest.trim_start_matches(['"', '\'', ' ', ':']));
            rest.is_some_and(|rest| rest.starts_with(name) || (self.templated && rest.starts_with("{{")))
        };
        let at = self.lines.iter().enumerate().position(|(i, line)| !self.taken.contains(&i) && says(line));
        self.taken.extend(at);
        at.map_or(1, |i| i as u32 + 1)
    }
}

/// A scalar as text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    value.as_object().into_iter().flatten().filter_map(|(n, v)| Some((n.clone(), text(v)?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str, text: &str) -> Vec<(String, u32)> {
        let mut found = Found::default();
        read(path, text, &mut found);
        found.alerts.into_iter().map(|r| (r.name, r.line)).collect()
    }

    #[test]
    fn rules_wherever_they_stand() {
        let rules = "groups:\n- name: a\n  rules:\n  - record: x\n    expr: up\n  - alert: Down\n    expr: up == 0\n    for: 5m\n  - expr: up == 1\n    alert: Up\n";
        assert_eq!(names("a.yml", rules), [("Down".into(), 6), ("Up".into(), 10)]);
        let manifest = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec:\n  groups:\n  - name: a\n    rules:\n    - alert: Down\n      expr: up == 0\n";
        assert_eq!(names("a.yaml", manifest), [("Down".into(), 7)]);
        let map = "kind: ConfigMap\ndata:\n  a.rules: |\n    groups:\n    - name: a\n      rules:\n      - alert: Down\n        expr: up == 0\n";
        assert_eq!(names("a.yaml", map), [("Down".into(), 7)]);
        let values = "prometheusRule:\n  enabled: true\n  rules:\n    - alert: Down\n      expr: up == 0\n";
        assert_eq!(names("values.yaml", values), [("Down".into(), 4)]);
        let chart = "{{- if .Values.on }}\nkind: PrometheusRule\nspec:\n  groups:\n  {{- range .Values.x }}\n  - name: a\n    rules:\n    - alert: Down\n      expr: up{job=\"{{ .job }}\"} == 0\n      annotations:\n        a: '{{`{{`}} $value {{`}}`}}'\n  {{- end }}\n{{- end }}\n";
        assert_eq!(names("templates/a.yaml", chart), [("Down".into(), 8)]);
        let ansible = "groups:\n- name: a\n  rules:\n{% for x in y %}\n  - alert: {{ x.name }}\n    expr: up == {{ x.limit }}\n{% endfor %}\n";
        assert_eq!(names("alert.rules.j2", ansible).len(), 1);
        assert_eq!(names("docs/a.yml", rules), []);
    }

    #[test]
    fn broken_rules_are_said_and_other_yaml_is_not() {
        let broken = |path: &str, text: &str| {
            let mut found = Found::default();
            read(path, text, &mut found);
            found.unreadable.len()
        };
        assert_eq!(broken("a.yml", "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: \"up\n"), 1);
        assert_eq!(broken("a.yml", "x: [\nalert: 1"), 0);
    }

    proptest! {
        /// Whatever a file holds, nothing panics.
        #[test]
        fn nothing_panics(text in "([a-z:{}%\\[\\] \n-]|alert: |expr: |\\{\\{ |\\}\\}|groups:\n){0,60}") {
            let mut found = Found::default();
            read("a.yml", &text, &mut found);
            untemplate::untemplate(&text);
        }
    }
}
