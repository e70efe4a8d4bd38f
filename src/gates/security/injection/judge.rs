//! From what was probed to the verdict. Pure.

use serde_json::json;

use super::Scan;
use super::probe::{Family, Hit, Probed};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::judge::COVERAGE_FLOOR;
use crate::gates::web;

pub(super) fn judge(scan: Scan) -> Outcome {
    let findings: Vec<Finding> =
        scan.probed.iter().flat_map(|probed| probed.hits.iter().map(move |hit| finding(probed, hit))).collect();
    let (known, done) = (scan.probed.len(), scan.probed.iter().filter(|p| p.done).count());
    let confirmed = findings.iter().filter(|f| f.confidence == Confidence::High).count();
    let share = format!("{done} of {known} parameters probed");
    let worst = findings.iter().max_by_key(|f| (f.confidence == Confidence::High, f.severity));
    let told = worst.map(|f| (f.message.clone(), f.fix.clone())).unwrap_or_default();
    let outcome = if confirmed > 0 {
        Outcome::fail(format!("{confirmed} ways in: {}", told.0)).hint(told.1)
    } else if let Some(error) = &scan.stopped {
        let trouble = web::trouble(error);
        Outcome { summary: format!("{} ({share})", trouble.summary), ..trouble }
    } else if done == 0 {
        let why = scan.probed.iter().find_map(|p| p.error.as_ref()).map(ToString::to_string);
        let why = why.unwrap_or_else(|| "no route answers a valid request".into());
        Outcome::error("nothing-to-inspect", format!("none of {known} parameters could be probed: {why}"))
            .hint("give an actor that is let in, and examples of valid values in the OpenAPI document")
    } else if !findings.is_empty() {
        Outcome::warn(format!("{share}; one sign: {}", told.0)).hint(told.1)
    } else if scan.walled {
        Outcome::warn(format!("{share}, behind a wall that answers in the service's place"))
            .hint("let hypercare past the firewall on staging: what it hides is still there")
    } else if (done as f64) < COVERAGE_FLOOR * known as f64 {
        let missing = scan.probed.iter().find(|p| !p.done).map(|p| p.point.name()).unwrap_or_default();
        Outcome::warn(format!("{share}; a valid request for {missing} is not answered"))
            .hint("give an actor that is let in, and examples of valid values in the OpenAPI document")
    } else {
        Outcome::pass(format!("{share}: none reaches an interpreter"))
    };
    let rows: Vec<_> = scan
        .probed
        .iter()
        .map(|p| {
            json!({
                "parameter": p.point.name(), "requests": p.requests, "done": p.done, "error": p.error.as_ref().map(ToString::to_string),
                "shows": p.hits.iter().map(|h| json!({ "rule": rule(h.family), "shows": h.shows, "confirmed": h.confirmed, "curl": h.curl })).collect::<Vec<_>>(),
            })
        })
        .collect();
    let evidence = json!({ "parameters": rows, "not_asked": scan.left_out, "behind_a_wall": scan.walled });
    outcome
        .value(confirmed, 0)
        .covered(done as u64, known as u64)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("injection", evidence)
}

fn rule(family: Family) -> &'static str {
    match family {
        Family::Xss(_) => "reflected-xss",
        Family::Sql => "sql-injection",
        Family::Traversal => "path-traversal",
        Family::Crlf => "header-injection",
        Family::Template => "template-injection",
        Family::Redirect => "open-redirect",
    }
}

fn finding(probed: &Probed, hit: &Hit) -> Finding {
    let (severity, fix) = match hit.family {
        Family::Xss(_) => {
            (Severity::High, "encode for the place where the value stands, by the template engine's own escaping")
        }
        Family::Sql => (Severity::Critical, "bind the value as a parameter of the statement"),
        Family::Traversal => (Severity::Critical, "resolve the path and check that it stays below its root"),
        Family::Crlf => (Severity::High, "refuse line breaks in what becomes a header"),
        Family::Template => (Severity::Critical, "hand values to the template, never put them into its text"),
        Family::Redirect => (Severity::High, "redirect to paths of this site alone, or to a list of hosts"),
    };
    let (name, rule) = (probed.point.name(), rule(hit.family));
    let severity = if hit.confirmed { severity } else { Severity::Medium };
    let finding = Finding::new(rule, severity, format!("{name}: {}", hit.shows))
        .confidence(if hit.confirmed { Confidence::High } else { Confidence::Medium })
        .route(probed.point.route())
        .fix(format!("{fix}; reproduce: {}", hit.curl))
        .identified_by(&["security.injection", rule, probed.point.route(), probed.point.param()]);
    match probed.point.source() {
        Some((file, line)) => finding.at(file, *line, 1),
        None => finding,
    }
}
