//! kube-linter's JSON: one report for each object and check that failed.

use serde::Deserialize;

use super::{Found, Scan};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    /// Null when nothing failed.
    reports: Option<Vec<Row>>,
    summary: Summary,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    kube_linter_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    check: String,
    diagnostic: Diagnostic,
    object: Object,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Diagnostic {
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    metadata: Option<Metadata>,
    k8s_object: Option<K8sObject>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    file_path: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct K8sObject {
    name: Option<String>,
    group_version_kind: Option<Kind>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Kind {
    kind: Option<String>,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let report: Report = json::read(text)?;
    let found = |row: Row| {
        let mut out = Found::new(row.check, Severity::Medium, row.diagnostic.message);
        if let Some(file) = row.object.metadata.and_then(|m| m.file_path) {
            out = out.at(file, None);
        }
        if let Some(object) = row.object.k8s_object {
            let kind = object.group_version_kind.and_then(|k| k.kind).unwrap_or_default();
            out = out.place(format!("{kind} {}", object.name.unwrap_or_default()));
        }
        out
    };
    let rows = report.reports.unwrap_or_default();
    Ok(Scan::new("kube-linter", report.summary.kube_linter_version.as_deref(), rows.into_iter().map(found).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"{"Checks": [], "Reports": [{"Diagnostic": {"Message": "container \"web\" does not specify a liveness probe"}, "Check": "no-liveness-probe",
      "Remediation": "Specify one", "Object": {"Metadata": {"FilePath": "k8s/web.yaml", "Raw": ""}, "K8sObject": {"Namespace": "", "Name": "web", "GroupVersionKind": {"Group": "apps", "Version": "v1", "Kind": "Deployment"}}}}],
      "Summary": {"ChecksStatus": "Failed", "CheckEvalTime": "2026-11-22T10:00:00Z", "KubeLinterVersion": "v0.7.2"}}"#;

    #[test]
    fn contract_reports() {
        let scan = parse(REPORT).unwrap();
        let found = &scan.findings[0];
        assert_eq!(
            (found.rule.as_str(), found.file.as_deref(), found.place.as_deref()),
            ("no-liveness-probe", Some("k8s/web.yaml"), Some("Deployment web"))
        );
        assert_eq!(scan.version.as_deref(), Some("v0.7.2"));
        assert_eq!(
            parse(r#"{"Checks": [], "Reports": null, "Summary": {"ChecksStatus": "Passed"}}"#).unwrap().findings,
            []
        );
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
