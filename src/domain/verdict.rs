//! What a gate says: verdict, class, tier, findings, result; and what they add up to: goals and decision.

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use super::release::ReleaseId;

/// Words are lower case in JSON. Order of aggregation: fail > error > warn > pass > skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not applicable, with a machine code and positive proof.
    Skip,
    /// Proved at the gate's minimum evidence tier; never given when nothing was inspected.
    Pass,
    /// Works but weak, or proved only at a lower tier.
    Warn,
    /// Could not be checked. Never counts as pass.
    Error,
    /// A defect was shown.
    Fail,
}

impl Verdict {
    pub const ALL: [Verdict; 5] = [Verdict::Pass, Verdict::Warn, Verdict::Fail, Verdict::Error, Verdict::Skip];
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Skip => "skip",
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Error => "error",
            Verdict::Fail => "fail",
        }
    }
    pub fn mark(self) -> &'static str {
        match self {
            Verdict::Pass => "✔",
            Verdict::Warn => "▲",
            Verdict::Fail => "✘",
            Verdict::Error => "?",
            Verdict::Skip => "○",
        }
    }
    pub fn parse(word: &str) -> Option<Verdict> {
        Verdict::ALL.into_iter().find(|v| v.word() == word)
    }
}

/// A blocker, B required, C advisory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Class {
    A,
    B,
    C,
}

/// How strong the evidence is. E3 observed, E2 reported by another tool, E1 declared in source, E0 attested by a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Tier {
    E0,
    E1,
    E2,
    E3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    Low,
    Medium,
    High,
}

/// One defect or note, with its place. `file` is relative to the repository with `/`; line and column count from 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    pub rule: String,
    pub severity: Severity,
    pub confidence: Confidence,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
    /// `GET /orders`, or an object's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub route: Option<String>,
    pub message: String,
    pub fix: String,
    /// Stable across runs and line shifts: what suppressions and waivers name.
    pub fingerprint: String,
    /// Suppressed in source, by baseline or by waiver: listed, not counted. The text says by what and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub suppressed: Option<String>,
    /// Blocks although the gate's class would not.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub escalate: bool,
}

impl Finding {
    pub fn new(rule: impl Into<String>, severity: Severity, message: impl Into<String>) -> Finding {
        let (rule, message) = (rule.into(), message.into());
        let fingerprint = fingerprint(&[&rule, &message]);
        Finding {
            rule,
            severity,
            confidence: Confidence::High,
            file: None,
            line: None,
            column: None,
            route: None,
            message,
            fix: String::new(),
            fingerprint,
            suppressed: None,
            escalate: false,
        }
    }
    pub fn confidence(mut self, confidence: Confidence) -> Finding {
        self.confidence = confidence;
        self
    }
    pub fn at(mut self, file: impl Into<String>, line: u32, column: u32) -> Finding {
        self.file = Some(file.into());
        self.line = Some(line);
        self.column = Some(column);
        self
    }
    pub fn in_file(mut self, file: impl Into<String>) -> Finding {
        self.file = Some(file.into());
        self
    }
    pub fn route(mut self, route: impl Into<String>) -> Finding {
        self.route = Some(route.into());
        self
    }
    pub fn fix(mut self, fix: impl Into<String>) -> Finding {
        self.fix = fix.into();
        self
    }
    /// Replaces the fingerprint by one over `parts` (what stays the same when lines move).
    pub fn identified_by(mut self, parts: &[&str]) -> Finding {
        self.fingerprint = fingerprint(parts);
        self
    }
}

/// Sixteen hex digits over the length-framed parts.
pub fn fingerprint(parts: &[&str]) -> String {
    let framed: Vec<u8> =
        parts.iter().flat_map(|p| (p.len() as u32).to_le_bytes().into_iter().chain(p.bytes())).collect();
    super::evidence::sha256_hex(&framed)[..16].to_string()
}

/// What one gate concluded. Built by the gate (verdict, summary, findings, evidence…); the runner fills in the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Machine code, required for skip and error: `no-db`, `unreachable`, `not-built`, …
    pub reason: Option<String>,
    /// One line: what was measured against what.
    pub summary: String,
    pub value: Option<serde_json::Value>,
    pub threshold: Option<serde_json::Value>,
    /// Items inspected of items known.
    pub covered: Option<u64>,
    pub known: Option<u64>,
    /// Strength of the evidence reached; `None` for skip and error.
    pub tier: Option<Tier>,
    pub findings: Vec<Finding>,
    pub hint: Option<String>,
    pub evidence: Vec<Evidence>,
}

impl Outcome {
    fn new(verdict: Verdict, summary: impl Into<String>) -> Outcome {
        Outcome {
            verdict,
            reason: None,
            summary: summary.into(),
            value: None,
            threshold: None,
            covered: None,
            known: None,
            tier: None,
            findings: Vec::new(),
            hint: None,
            evidence: Vec::new(),
        }
    }
    pub fn pass(summary: impl Into<String>) -> Outcome {
        Outcome::new(Verdict::Pass, summary)
    }
    pub fn warn(summary: impl Into<String>) -> Outcome {
        Outcome::new(Verdict::Warn, summary)
    }
    pub fn fail(summary: impl Into<String>) -> Outcome {
        Outcome::new(Verdict::Fail, summary)
    }
    pub fn skip(reason: impl Into<String>, proof: impl Into<String>) -> Outcome {
        Outcome { reason: Some(reason.into()), ..Outcome::new(Verdict::Skip, proof) }
    }
    pub fn error(reason: impl Into<String>, what: impl Into<String>) -> Outcome {
        Outcome { reason: Some(reason.into()), ..Outcome::new(Verdict::Error, what) }
    }
    pub fn value(mut self, value: impl Into<serde_json::Value>, threshold: impl Into<serde_json::Value>) -> Outcome {
        self.value = Some(value.into());
        self.threshold = Some(threshold.into());
        self
    }
    pub fn covered(mut self, covered: u64, known: u64) -> Outcome {
        self.covered = Some(covered);
        self.known = Some(known);
        self
    }
    pub fn tier(mut self, tier: Tier) -> Outcome {
        self.tier = Some(tier);
        self
    }
    pub fn findings(mut self, findings: Vec<Finding>) -> Outcome {
        self.findings = findings;
        self
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Outcome {
        self.hint = Some(hint.into());
        self
    }
    pub fn evidence(mut self, kind: impl Into<String>, content: serde_json::Value) -> Outcome {
        self.evidence.push(Evidence::new(kind, content));
        self
    }
}

/// A waiver or attestation laid over a verdict; the original verdict stays visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Overlay {
    Waived {
        reason: String,
        approver: String,
        expires: super::clock::Timestamp,
        /// The approver has signed it, and is known. Otherwise it is as good as access to the work tree.
        #[serde(default)]
        signed: bool,
    },
    /// Stands for a pass at E0.
    Attested {
        signer: String,
        /// `senior`, `ops`, `qa`, `product`.
        #[serde(default)]
        role: Option<String>,
        expires: super::clock::Timestamp,
    },
}

/// The base branch of a change that is not merged: signers, waivers, attestations and targets are read there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BaseBranch {
    /// `origin/main`
    pub name: String,
    /// `None`: it could not be read.
    pub commit: Option<String>,
    /// `--base`, or the CI's variable.
    pub told_by: String,
    /// What the change would change among the things that are read from the base.
    pub differs: Vec<String>,
    /// What was not trusted, because the base could not be read.
    pub not_trusted: Vec<String>,
}

/// Something signed, or meant to be, that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Ignored {
    pub file: String,
    pub why: String,
}

/// One gate's row in every output. Field names are `product.md`'s promise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateResult {
    pub id: String,
    pub section: String,
    pub class: Class,
    /// The checklist's own line.
    pub line: String,
    pub verdict: Verdict,
    pub overlay: Option<Overlay>,
    pub reason: Option<String>,
    pub summary: String,
    pub value: Option<serde_json::Value>,
    pub threshold: Option<serde_json::Value>,
    pub covered: Option<u64>,
    pub known: Option<u64>,
    pub tier: Option<Tier>,
    pub min_tier: Tier,
    pub findings: Vec<Finding>,
    pub hint: Option<String>,
    /// Digests; the content is in the ledger.
    pub evidence: Vec<String>,
    pub duration_ms: u64,
    /// Requests this gate sent.
    pub requests: u64,
    /// Age of a reused result; 0 when fresh.
    #[serde(default)]
    pub age_s: u64,
}

impl GateResult {
    /// Neither waived nor advisory, and not proved.
    pub fn blocks(&self) -> bool {
        let bad = matches!(self.verdict, Verdict::Fail | Verdict::Error);
        let escalated = self.findings.iter().any(|f| f.escalate && f.suppressed.is_none());
        self.overlay.is_none() && ((bad && self.class != Class::C) || escalated)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Go,
    GoWithRisks,
    NoGo,
    /// Nothing failed, but something could not be checked.
    Undecided,
}

impl Decision {
    pub fn word(self) -> &'static str {
        match self {
            Decision::Go => "go",
            Decision::GoWithRisks => "go_with_risks",
            Decision::NoGo => "no_go",
            Decision::Undecided => "undecided",
        }
    }
    /// As people read it on the terminal and in mails.
    pub fn title(self) -> &'static str {
        match self {
            Decision::Go => "GO",
            Decision::GoWithRisks => "GO WITH RISKS",
            Decision::NoGo => "NO-GO",
            Decision::Undecided => "UNDECIDED",
        }
    }
    /// May a launch go live on it?
    pub fn clears(self) -> bool {
        matches!(self, Decision::Go | Decision::GoWithRisks)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GoalState {
    Ready,
    AtRisk,
    NotReady,
    Unknown,
}

/// One of the five lines of READY TO GO LIVE.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Goal {
    /// `code`, `load`, `monitoring`, `rollback`, `stakeholders`.
    pub id: String,
    pub title: String,
    pub state: GoalState,
    /// One line of reasons for people.
    pub summary: String,
    /// Feeding gates, critical ones first.
    pub gates: Vec<String>,
}

/// A whole run of the gates: what `check --format json` prints and the store keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GateRun {
    /// `hypercare.check/v1`.
    pub schema: String,
    pub run: String,
    pub service: String,
    pub started_at: super::clock::Timestamp,
    pub duration_ms: u64,
    pub rid: ReleaseId,
    pub decision: Decision,
    pub goals: Vec<Goal>,
    pub gates: Vec<GateResult>,
    /// Config keys the user changed against the checklist's numbers: (key, checklist, in force).
    #[serde(default)]
    pub changed_thresholds: Vec<(String, String, String)>,
    pub requests: u64,
    /// What the run was limited to (`only code.coverage`, `stage static`); `None` for the whole checklist. The decision
    /// of a limited run says nothing about the rest, so it never clears a launch.
    #[serde(default)]
    pub scope: Option<String>,
    /// Every finding that is listed and does not count, with the reason; also in its gate's findings.
    #[serde(default)]
    pub suppressions: Vec<super::suppression::Suppressed>,
    /// Of a change that is not merged.
    #[serde(default)]
    pub base: Option<BaseBranch>,
    /// Waivers, attestations and lines of signers that do not count.
    #[serde(default)]
    pub ignored: Vec<Ignored>,
}

impl GateRun {
    /// May a launch go live on this run?
    pub fn clears(&self) -> bool {
        self.decision.clears() && self.scope.is_none()
    }
}
