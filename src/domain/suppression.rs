//! What is listed and does not count: every finding that somebody suppressed, by what and why. One list for all
//! outputs.

use serde::{Deserialize, Serialize};

use super::verdict::GateResult;

/// By what a finding is suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Means {
    /// `hypercare:allow` in a comment.
    Inline,
    /// A comment or annotation for another tool, where the finding stands.
    Native,
    /// Another tool's own list of exceptions, or its report.
    List,
    /// `.hypercare/baseline.json`.
    Baseline,
    /// `.hypercare/waivers`.
    Waiver,
    /// `.hypercare/attestations`: a secret of the history was revoked.
    Attestation,
    /// The configuration.
    Setting,
}

impl Means {
    /// As `Finding::suppressed` begins: the texts are made by the gates' suppression rooms.
    pub fn of(text: &str) -> Means {
        let lists = [".gitleaksignore", ".secrets.baseline", "the allow list", "suppressed in", "ruled out"];
        match text {
            _ if text.starts_with("hypercare:allow") => Means::Inline,
            _ if text.starts_with("baseline, ") => Means::Baseline,
            _ if text.starts_with("waived by ") => Means::Waiver,
            _ if text.starts_with("rotated on ") => Means::Attestation,
            _ if text.starts_with("allowed: ") || text.starts_with("ops_url ") => Means::Setting,
            _ if lists.iter().any(|l| text.starts_with(l)) => Means::List,
            _ => Means::Native,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Means::Inline => "inline",
            Means::Native => "native",
            Means::List => "list",
            Means::Baseline => "baseline",
            Means::Waiver => "waiver",
            Means::Attestation => "attestation",
            Means::Setting => "setting",
        }
    }

    /// Does it stand in the source, beside the finding?
    pub fn is_in_source(self) -> bool {
        matches!(self, Means::Inline | Means::Native)
    }
}

/// One finding that is listed and does not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Suppressed {
    pub gate: String,
    pub rule: String,
    pub means: Means,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub route: Option<String>,
    pub fingerprint: String,
    /// By what and why, in words.
    pub justification: String,
}

impl Suppressed {
    /// `src/a.js:3`, else the route, else the rule.
    pub fn place(&self) -> String {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (Some(file), None) => file.clone(),
            (None, _) => self.route.clone().unwrap_or_else(|| self.rule.clone()),
        }
    }
}

/// In the order of gates and findings.
pub fn list(gates: &[GateResult]) -> Vec<Suppressed> {
    let of = |gate: &GateResult| {
        let one = |f: &super::verdict::Finding| {
            let justification = f.suppressed.clone()?;
            Some(Suppressed {
                gate: gate.id.clone(),
                rule: f.rule.clone(),
                means: Means::of(&justification),
                file: f.file.clone(),
                line: f.line,
                route: f.route.clone(),
                fingerprint: f.fingerprint.clone(),
                justification,
            })
        };
        gate.findings.iter().filter_map(one).collect::<Vec<_>>()
    };
    gates.iter().flat_map(of).collect()
}

/// `2 inline, 1 baseline`; empty when nothing is suppressed.
pub fn counts(list: &[Suppressed]) -> String {
    let mut counts: std::collections::BTreeMap<Means, usize> = Default::default();
    for one in list {
        *counts.entry(one.means).or_default() += 1;
    }
    counts.iter().map(|(means, n)| format!("{n} {}", means.word())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_the_means() {
        for (text, means) in [
            ("hypercare:allow on line 3: why", Means::Inline),
            ("eslint-disable-line on line 1", Means::Native),
            ("annotation kube-score/ignore: pod-probes", Means::Native),
            ("gitleaks:allow on line 2", Means::Native),
            (".gitleaksignore", Means::List),
            ("suppressed in the report of Semgrep", Means::List),
            ("baseline, known since 2026-11-01", Means::Baseline),
            ("waived by bob until 2026-12-01T00:00:00Z: why", Means::Waiver),
            ("allowed: the API is public", Means::Setting),
        ] {
            assert_eq!(Means::of(text), means, "{text}");
        }
    }
}
