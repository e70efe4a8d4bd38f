//! The annotations with which kube-score and kube-linter are told to ignore a check, honoured here too. Our own marker and
//! the baseline are `gates/suppression.rs`. Allowed findings stay listed and do not count.

use crate::gates::manifests::pod::Workload;

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
