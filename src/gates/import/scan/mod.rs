//! What scanners report, reduced to findings: rule, place, severity, and whether somebody has ruled it out already. A
//! secret's value is dropped while the report is read; it never reaches a value of ours.

pub mod detect_secrets;
pub mod gitleaks;
pub mod hadolint;
pub mod kingfisher;
pub mod kube_linter;
pub mod kube_score;
pub mod nuclei;
pub mod sarif;
pub mod trufflehog;
pub mod zap;

use serde::{Deserialize, Serialize};

use crate::domain::secret::redact;
use crate::domain::verdict::Severity;

/// Does the finding still stand, as far as the report knows?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    Open,
    /// Suppressed in the tool, with or without a reason.
    Suppressed,
    /// A person or the tool says it is none.
    FalsePositive,
}

/// Did the scanner try the credential?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Live {
    Yes,
    No,
    /// Not tried, or the try failed: neither proof nor relief.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub rule: String,
    pub severity: Severity,
    pub standing: Standing,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// Method and address without its query, or an object's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub live: Option<Live>,
    /// What kind of rule it is, by the tool's own order: nuclei's folder of templates.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub topic: Option<String>,
}

impl Found {
    pub fn new(rule: impl AsRef<str>, severity: Severity, message: impl AsRef<str>) -> Found {
        Found {
            rule: clean(rule.as_ref()),
            severity,
            standing: Standing::Open,
            file: None,
            line: None,
            place: None,
            commit: None,
            message: clean(message.as_ref()),
            live: None,
            topic: None,
        }
    }
    pub fn at(mut self, file: impl AsRef<str>, line: Option<u32>) -> Found {
        let file = super::slashes(file.as_ref());
        self.file = Some(clean(file.strip_prefix("file://").unwrap_or(&file).trim_start_matches("./")));
        self.line = line.filter(|l| *l > 0);
        self
    }
    pub fn place(mut self, place: impl AsRef<str>) -> Found {
        self.place = Some(clean(place.as_ref()));
        self
    }
    pub fn standing(mut self, standing: Standing) -> Found {
        self.standing = standing;
        self
    }
}

/// One report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    pub tool: String,
    pub version: Option<String>,
    pub findings: Vec<Found>,
    /// Instances that the report counts but does not list, and findings beyond our own limit.
    pub unlisted: u64,
    /// What the report cannot prove, in words.
    pub limits: Vec<String>,
}

/// Findings kept of one report; the rest is counted.
const FOUND_MAX: usize = 2_000;

impl Scan {
    pub fn new(tool: impl AsRef<str>, version: Option<&str>, mut findings: Vec<Found>) -> Scan {
        let unlisted = findings.len().saturating_sub(FOUND_MAX) as u64;
        findings.truncate(FOUND_MAX);
        Scan { tool: clean(tool.as_ref()), version: version.map(clean), findings, unlisted, limits: vec![] }
    }
    pub fn open(&self) -> usize {
        self.findings.iter().filter(|f| f.standing == Standing::Open).count()
    }
}

/// Longer texts are essays.
const TEXT_CHARS_MAX: usize = 300;

/// One harmless line.
pub fn clean(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    redact(line).chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// An address without its query and its credentials, which may hold tokens.
pub fn address(text: &str) -> String {
    let bare = text.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.find('/').map_or((rest, ""), |i| rest.split_at(i));
            format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or(host))
        }
        None => bare.to_string(),
    }
}

/// The usual words; `None` for others.
pub fn severity(word: &str) -> Option<Severity> {
    Some(match word.to_ascii_lowercase().as_str() {
        "critical" => Severity::Critical,
        "high" | "error" => Severity::High,
        "medium" | "moderate" | "warning" => Severity::Medium,
        "low" | "note" | "style" => Severity::Low,
        "info" | "informational" | "unknown" | "none" => Severity::Info,
        _ => return None,
    })
}

/// Looks for the values that a test planted in everything that an importer gives.
#[cfg(test)]
pub(crate) fn tells_nothing(scan: &Scan, planted: &[&str]) {
    let said = format!("{scan:?}{}", serde_json::to_string(scan).unwrap());
    for value in planted {
        assert!(!said.contains(value), "{value} stands in {said}");
    }
}
