//! SARIF 2.1.0 of any tool. A level that is absent is the rule's, else `warning`; a suppression that was not rejected
//! means not open; results that are no problem (`pass`, `notApplicable`) or are gone since the baseline are left out.

use serde::Deserialize;

use super::{Found, Scan, Standing, severity};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Log {
    version: String,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    tool: Tool,
    // Null when the tool did not run to its end.
    results: Option<Vec<Row>>,
    #[serde(default)]
    invocations: Vec<Invocation>,
}

#[derive(Deserialize)]
struct Invocation {
    #[serde(rename = "executionSuccessful")]
    successful: Option<bool>,
}

#[derive(Deserialize)]
struct Tool {
    driver: Driver,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: String,
    version: Option<String>,
    semantic_version: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: String,
    default_configuration: Option<Level>,
    short_description: Option<Text>,
    properties: Option<Properties>,
}

#[derive(Deserialize)]
struct Level {
    level: Option<String>,
}

#[derive(Deserialize)]
struct Text {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "security-severity")]
    score: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    rule_id: Option<String>,
    rule: Option<Reference>,
    rule_index: Option<i64>,
    level: Option<String>,
    kind: Option<String>,
    message: Option<Text>,
    baseline_state: Option<String>,
    #[serde(default)]
    suppressions: Option<Vec<Suppression>>,
    #[serde(default)]
    locations: Vec<Location>,
}

#[derive(Deserialize)]
struct Reference {
    id: Option<String>,
    index: Option<i64>,
}

#[derive(Deserialize)]
struct Suppression {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Option<Physical>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Option<Artifact>,
    region: Option<Region>,
}

#[derive(Deserialize)]
struct Artifact {
    uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: Option<u32>,
}

/// Their messages may quote the secret.
const SECRET_SCANNERS: [&str; 7] =
    ["gitleaks", "kingfisher", "trufflehog", "detect-secrets", "betterleaks", "noseyparker", "ggshield"];

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let log: Log = json::read(text)?;
    if !log.version.starts_with("2.1") {
        return Err(ImportError::at(1, "not SARIF 2.1"));
    }
    let first = log.runs.first().ok_or(ImportError::Empty("run"))?;
    let tool = log.runs.iter().map(|r| r.tool.driver.name.as_str()).collect::<Vec<_>>().join(", ");
    let version = first.tool.driver.semantic_version.clone().or(first.tool.driver.version.clone());
    let mut findings = Vec::new();
    for run in &log.runs {
        if run.invocations.iter().any(|i| i.successful == Some(false)) {
            return Err(ImportError::at(1, "the tool says that it did not succeed"));
        }
        let results = run.results.as_ref().ok_or(ImportError::Empty("results"))?;
        findings.extend(results.iter().filter_map(|row| found(row, &run.tool.driver)));
    }
    Ok(Scan::new(tool, version.as_deref(), findings))
}

fn found(row: &Row, driver: &Driver) -> Option<Found> {
    if row.baseline_state.as_deref() == Some("absent")
        || row.kind.as_deref().is_some_and(|k| !matches!(k, "fail" | "open" | "review"))
    {
        return None;
    }
    let index = row.rule_index.or(row.rule.as_ref().and_then(|r| r.index)).and_then(|i| usize::try_from(i).ok());
    let named = row.rule_id.clone().or(row.rule.as_ref().and_then(|r| r.id.clone()));
    let rule =
        index.and_then(|i| driver.rules.get(i)).or_else(|| driver.rules.iter().find(|r| named.as_ref() == Some(&r.id)));
    let level = row.level.clone().or_else(|| rule?.default_configuration.as_ref()?.level.clone());
    let level = level.as_deref().unwrap_or("warning");
    let score = rule.and_then(|r| r.properties.as_ref()?.score.as_ref()).and_then(number);
    let severity = score.map_or_else(|| severity(level).unwrap_or(Severity::Medium), by_score);
    let described = rule.and_then(|r| r.short_description.as_ref()?.text.clone());
    let quiet = SECRET_SCANNERS.iter().any(|s| driver.name.to_ascii_lowercase().contains(s));
    let message = if quiet { described } else { row.message.as_ref().and_then(|m| m.text.clone()).or(described) };
    let id = named.or_else(|| rule.map(|r| r.id.clone())).unwrap_or_else(|| "unnamed".into());
    // GitHub strips the path of the class before it.
    let mut out = Found::new(&id, severity, message.unwrap_or_default());
    let rejected = |s: &Suppression| matches!(s.status.as_deref(), Some("rejected" | "underReview"));
    if row.suppressions.as_ref().is_some_and(|s| !s.is_empty() && !s.iter().all(rejected)) {
        out = out.standing(Standing::Suppressed);
    }
    let physical = row.locations.first().and_then(|l| l.physical_location.as_ref());
    if let Some(uri) = physical.and_then(|p| p.artifact_location.as_ref()?.uri.as_ref()) {
        out = out.at(uri, physical.and_then(|p| p.region.as_ref()?.start_line));
    }
    Some(out)
}

fn number(value: &serde_json::Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn by_score(score: f64) -> Severity {
    match score {
        s if s >= 9.0 => Severity::Critical,
        s if s >= 7.0 => Severity::High,
        s if s >= 4.0 => Severity::Medium,
        s if s > 0.0 => Severity::Low,
        _ => Severity::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;
    use crate::gates::import::cuts;

    const LOG: &str = r#"{"$schema": "x", "version": "2.1.0", "runs": [{"tool": {"driver": {"name": "Semgrep OSS", "semanticVersion": "1.2.0",
      "rules": [{"id": "sqli", "defaultConfiguration": {"level": "error"}, "properties": {"security-severity": "9.1"}}, {"id": "todo"}]}},
      "results": [
        {"ruleId": "sqli", "message": {"text": "tainted\nquery"}, "locations": [{"physicalLocation": {"artifactLocation": {"uri": "src/a.py"}, "region": {"startLine": 7}}}]},
        {"ruleIndex": 1, "message": {"text": "no level"}},
        {"ruleId": "todo", "level": "note", "suppressions": [{"kind": "inSource"}], "message": {"text": "x"}},
        {"ruleId": "todo", "level": "error", "suppressions": [{"kind": "external", "status": "rejected"}], "message": {"text": "y"}},
        {"ruleId": "todo", "kind": "pass", "message": {"text": "fine"}},
        {"ruleId": "todo", "baselineState": "absent", "message": {"text": "gone"}}]}]}"#;

    #[test]
    fn levels_suppressions_and_places() {
        let scan = parse(LOG).unwrap();
        let rows: Vec<_> = scan.findings.iter().map(|f| (f.rule.as_str(), f.severity, f.standing)).collect();
        assert_eq!(
            rows,
            [
                ("sqli", Severity::Critical, Standing::Open),
                ("todo", Severity::Medium, Standing::Open),
                ("todo", Severity::Low, Standing::Suppressed),
                ("todo", Severity::High, Standing::Open),
            ]
        );
        assert_eq!((scan.findings[0].file.as_deref(), scan.findings[0].line), (Some("src/a.py"), Some(7)));
        assert_eq!((scan.tool.as_str(), scan.version.as_deref(), scan.open()), ("Semgrep OSS", Some("1.2.0"), 3));
    }

    #[test]
    fn messages_of_secret_scanners_are_not_kept() {
        let log = LOG.replace("Semgrep OSS", "kingfisher").replace("no level", "hunter2hunter2");
        tells_nothing(&parse(&log).unwrap(), &["hunter2"]);
    }

    #[test]
    fn what_did_not_run_is_no_report() {
        let failed = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [], "invocations": [{"executionSuccessful": false}]}]}"#;
        let no_results = r#"{"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}}]}"#;
        for bad in
            ["{}", r#"{"version": "2.1.0", "runs": []}"#, r#"{"version": "1.0.0", "runs": []}"#, failed, no_results]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..LOG.len()) {
            cuts::refused(LOG, at, parse)?;
        }
    }
}
