//! From answers to the verdict. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Config;
use super::ask::{Asked, Defect, Seen, What};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::web;

pub(super) fn judge(seen: &Seen, config: &Config) -> Outcome {
    let known = seen.operations.len() as u64;
    let covered = seen.operations.iter().filter(|o| o.unasked.is_none() && o.cases > 0).count() as u64;
    let mut findings: Vec<Finding> = seen.operations.iter().flat_map(of_operation).collect();
    findings.extend(shapes(seen));
    let cases: u64 = seen.operations.iter().map(|o| o.cases).sum();
    let bad = findings.iter().filter(|f| f.severity >= Severity::High && f.confidence == Confidence::High).count();
    let evidence = json!({
        "operations": seen.operations,
        "requests": seen.requests,
        "inventory": seen.told,
        "stopped": seen.stopped.as_ref().map(ToString::to_string),
        "cut_short": seen.cut_short,
    });
    if bad == 0 {
        if let Some(error) = seen.stopped.as_ref().filter(|_| covered == 0) {
            return web::trouble(error).evidence("edge-cases", evidence);
        }
        if known == 0 {
            return Outcome::error("nothing-to-inspect", "no operation is known")
                .hint("serve or commit an OpenAPI document, or give recorded traffic in [gates.routes]")
                .evidence("edge-cases", evidence);
        }
        if covered == 0 {
            let why = seen.operations.iter().find_map(|o| o.unasked.clone()).unwrap_or_default();
            return Outcome::error(
                "nothing-to-inspect",
                format!("none of {known} operations could be exercised: {why}"),
            )
            .hint("give an account that may use them in [gates] actor")
            .findings(findings)
            .evidence("edge-cases", evidence);
        }
    }
    let share = covered as f64 * 100.0 / (known.max(1)) as f64;
    let weak = findings.iter().any(|f| f.severity >= Severity::Low);
    let verdict = match () {
        () if bad > 0 => Verdict::Fail,
        () if weak || share < 100.0 * config.floor || seen.stopped.is_some() => Verdict::Warn,
        () => Verdict::Pass,
    };
    let mut said = format!("{cases} odd requests to {covered} of {known} operations");
    match verdict {
        Verdict::Fail => said = format!("{bad} defects: {said}"),
        Verdict::Warn if weak => said.push_str(&format!(", {} weak spots", findings.len())),
        Verdict::Warn => said.push_str(&format!(": under the floor of {}%", 100.0 * config.floor)),
        _ => said.push_str(", each refused in good order"),
    }
    if let Some(error) = &seen.stopped {
        said.push_str(&format!("; ended early: {error}"));
    }
    let made = match verdict {
        Verdict::Fail => Outcome::fail(said),
        Verdict::Warn => Outcome::warn(said),
        _ => Outcome::pass(said),
    };
    let first = seen.operations.iter().flat_map(|o| o.defects.iter().map(move |d| (o, d))).min_by_key(|(_, d)| d.what);
    let hint = match first {
        Some((operation, defect)) => hint(operation, defect),
        None if verdict == Verdict::Warn => {
            let why = seen.operations.iter().find_map(|o| Some(format!("{}: {}", o.name, o.unasked.as_ref()?)));
            why.unwrap_or_else(|| "write every error in one shape, best application/problem+json (RFC 9457)".into())
        }
        None => String::new(),
    };
    let made = made
        .value(bad as u64, 0)
        .covered(covered, known)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("edge-cases", evidence);
    if hint.is_empty() { made } else { made.hint(hint) }
}

fn status(defect: &Defect) -> String {
    defect.status.map_or_else(|| "no answer".into(), |status| status.to_string())
}

fn hint(operation: &Asked, defect: &Defect) -> String {
    let part = if defect.part.is_empty() { "the request" } else { &defect.part };
    format!(
        "{}: {} returned {}. Validate {part} at the boundary and answer 400 or 422; reproduce: {}",
        operation.name,
        defect.case,
        status(defect),
        defect.curl
    )
}

/// One finding for each kind of defect and part of the request, with the first case.
fn of_operation(operation: &Asked) -> Vec<Finding> {
    let mut groups: BTreeMap<(What, &str), Vec<&Defect>> = BTreeMap::new();
    for defect in &operation.defects {
        groups.entry((defect.what, &defect.part)).or_default().push(defect);
    }
    let one = |((what, part), defects): ((What, &str), Vec<&Defect>)| {
        let first = defects[0];
        let (rule, severity, confidence, says) = match what {
            What::ServerError => ("server-error", Severity::High, Confidence::High, "is answered"),
            What::Broken => ("broken-connection", Severity::High, Confidence::High, "breaks the connection:"),
            What::Leak => ("leak", Severity::High, Confidence::High, "shows"),
            What::Gateway => ("gateway-error", Severity::Medium, Confidence::Medium, "is answered by a gateway"),
            What::Accepted => ("invalid-accepted", Severity::Medium, Confidence::Medium, "is accepted"),
            What::NoAllow => ("no-allow", Severity::Low, Confidence::High, "is answered 405 without Allow"),
            What::Slow => ("slow-refusal", Severity::Low, Confidence::Medium, "takes"),
            What::ValidFails => ("valid-fails", Severity::Medium, Confidence::Medium, "is answered"),
        };
        let mut message = format!("{}: {} {says}", operation.name, first.case);
        if matches!(what, What::ServerError | What::Gateway | What::Accepted | What::ValidFails) {
            message.push_str(&format!(" {}", status(first)));
        }
        if !first.detail.is_empty() {
            message.push_str(&format!(" {}", first.detail));
        }
        if defects.len() > 1 {
            message.push_str(&format!(" ({} cases)", defects.len()));
        }
        Finding::new(rule, severity, message)
            .confidence(confidence)
            .route(operation.name.clone())
            .fix(format!("answer 4xx in the API's own error shape; reproduce: {}", first.curl))
            .identified_by(&[rule, &operation.name, part])
    };
    groups.into_iter().map(one).collect()
}

/// Refusals in JSON here and in something else there.
fn shapes(seen: &Seen) -> Option<Finding> {
    let mut by_shape: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for operation in &seen.operations {
        for (shape, case) in &operation.shapes {
            by_shape.entry(shape).or_insert((&operation.name, case));
        }
    }
    let kinds: BTreeSet<&str> = by_shape.keys().copied().collect();
    if kinds.len() < 2 || !kinds.iter().any(|k| k.starts_with("JSON") || k.contains("json")) {
        return None;
    }
    let told: Vec<String> =
        by_shape.iter().take(4).map(|(shape, (name, case))| format!("{shape} ({name}, {case})")).collect();
    let message = format!("errors come in {} shapes: {}", kinds.len(), told.join("; "));
    Some(
        Finding::new("error-shapes", Severity::Low, message)
            .fix("write every error in one shape, best application/problem+json (RFC 9457)")
            .identified_by(&["error-shapes"]),
    )
}
