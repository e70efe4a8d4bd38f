//! Findings that somebody has allowed where they stand: `hypercare:allow` in a comment, and the annotations with which
//! kube-score and kube-linter are told to ignore a check. Allowed ones stay listed and do not count.

use std::collections::BTreeMap;

use crate::domain::verdict::Finding;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};
use crate::gates::manifests::pod::Workload;
use crate::gates::suppression::{self, Inline};

/// Marks the findings of `gate` that their own line, or a comment above it, allows.
pub fn inline(repo: &Repo, gate: &str, findings: &mut [Finding]) {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for finding in findings.iter_mut().filter(|f| f.suppressed.is_none()) {
        let (Some(file), Some(line)) = (finding.file.clone(), finding.line) else { continue };
        let text =
            texts.entry(file).or_insert_with_key(|f| repo.read_text(f, SOURCE_FILE_BYTES_MAX).unwrap_or_default());
        if !text.contains("hypercare:allow") {
            continue;
        }
        let lines: Vec<&str> = text.lines().collect();
        match suppression::inline(&lines, line, gate, &finding.rule) {
            Some(Inline::Allowed(why)) => finding.suppressed = Some(why),
            Some(Inline::NoReason(at)) => {
                finding.fix.push_str(&format!("; hypercare:allow on line {at} gives no reason and does not count"));
            }
            None => {}
        }
    }
}

/// The annotation of `workload` that ignores one of `checks` (names of kube-score or kube-linter).
pub fn annotation(workload: &Workload, checks: &[&str]) -> Option<String> {
    workload.annotations.iter().find_map(|(key, value)| {
        let named = match key.as_str() {
            "kube-score/ignore" => value.split(',').any(|v| checks.contains(&v.trim())),
            "kube-linter.io/ignore-all" => true,
            _ => key.strip_prefix("ignore-check.kube-linter.io/").is_some_and(|check| checks.contains(&check)),
        };
        named.then(|| format!("annotation {key}: {value}"))
    })
}
