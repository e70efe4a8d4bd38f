//! kube-score's JSON: objects, each with checks graded 1 (critical), 5 (warning), 7 (almost ok) or 10 (ok).

use serde::Deserialize;

use super::{Found, Scan, Standing};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Object {
    object_name: String,
    #[serde(default)]
    checks: Vec<Check>,
    file_name: Option<String>,
    file_row: Option<u32>,
}

#[derive(Deserialize)]
struct Check {
    check: About,
    grade: u32,
    #[serde(default)]
    skipped: bool,
    comments: Option<Vec<Comment>>,
}

#[derive(Deserialize)]
struct About {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Comment {
    #[serde(default)]
    summary: String,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let objects: Vec<Object> = json::read(text)?;
    if objects.is_empty() {
        return Err(ImportError::Empty("object"));
    }
    let mut findings = Vec::new();
    for object in &objects {
        for check in &object.checks {
            let severity = match check.grade {
                0 | 1 => Severity::High,
                2..=5 => Severity::Medium,
                6..=9 => Severity::Low,
                _ => continue,
            };
            let said = check.comments.iter().flatten().map(|c| c.summary.as_str()).find(|s| !s.is_empty());
            let standing = if check.skipped { Standing::Suppressed } else { Standing::Open };
            let mut out = Found::new(&check.check.id, severity, said.unwrap_or(&check.check.name))
                .place(&object.object_name)
                .standing(standing);
            if let Some(file) = object.file_name.as_ref().filter(|f| !f.is_empty() && *f != "STDIN") {
                out = out.at(file, object.file_row);
            }
            findings.push(out);
        }
    }
    Ok(Scan::new("kube-score", None, findings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"[{"object_name": "web apps/v1//Deployment", "type_meta": {"kind": "Deployment"}, "file_name": "k8s/web.yaml", "file_row": 1, "checks": [
      {"check": {"id": "pod-probes", "name": "Pod Probes"}, "grade": 1, "skipped": false, "comments": [{"path": "", "summary": "Container is missing a readinessProbe"}]},
      {"check": {"id": "label-values", "name": "Label values"}, "grade": 10, "skipped": false, "comments": null},
      {"check": {"id": "container-resources", "name": "Resources"}, "grade": 5, "skipped": true, "comments": null}]}]"#;

    #[test]
    fn contract_grades() {
        let scan = parse(REPORT).unwrap();
        let rows: Vec<_> = scan.findings.iter().map(|f| (f.rule.as_str(), f.severity, f.standing)).collect();
        assert_eq!(
            rows,
            [
                ("pod-probes", Severity::High, Standing::Open),
                ("container-resources", Severity::Medium, Standing::Suppressed)
            ]
        );
        assert!(parse("[]").is_err() && parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
