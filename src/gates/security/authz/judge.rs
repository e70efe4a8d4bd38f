//! From what each role and each actor got to the verdict. Pure.

use serde_json::json;

use super::matrix::Matrix;
use super::{Cell, Config, Object, Scan};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::judge::COVERAGE_FLOOR;
use crate::gates::web;

/// Paths that belong to those who run the service.
const PRIVILEGED: [&str; 5] = ["admin", "internal", "backoffice", "superuser", "staff"];

pub(super) fn judge(config: &Config, matrix: Option<&Matrix>, scan: Scan, draft: Option<&str>) -> Outcome {
    let mut findings: Vec<Finding> = scan.objects.iter().filter(|o| o.read).map(foreign).collect();
    findings.dedup_by(|a, b| a.fingerprint == b.fingerprint);
    for (route, cells) in &scan.cells {
        for (role, cell) in cells {
            findings.extend(cell_finding(config, matrix, &scan, route, role, *cell));
        }
    }
    for route in &scan.same_lists {
        findings.push(
            Finding::new("same-list", Severity::Medium, format!("{route}: two users' lists show the same objects"))
                .route(route)
                .fix("filter the list by owner, or name the route in [gates.security.authz] shared")
                .identified_by(&["security.authz", "same-list", route]),
        );
    }
    let asked: std::collections::BTreeSet<&str> = scan.objects.iter().map(|o| o.operation.as_str()).collect();
    let (proved, objects) = (asked.len(), asked.len() + scan.unproven.len());
    let seen = scan.cells.values().filter(|cells| cells.values().all(|c| *c != Cell::Unknown)).count();
    let (covered, known) = (seen + proved, scan.cells.len() + objects);
    let fails = findings.iter().filter(|f| f.severity >= Severity::High).count();
    let warns = findings.iter().filter(|f| (Severity::Low..Severity::High).contains(&f.severity)).count();
    let worst =
        findings.iter().max_by_key(|f| f.severity).map(|f| (f.message.clone(), f.fix.clone())).unwrap_or_default();
    let share = format!(
        "{seen} of {} routes asked as {} roles, foreign objects on {proved} of {objects}",
        scan.cells.len(),
        scan.roles.len()
    );
    let outcome = if fails > 0 {
        Outcome::fail(format!("{fails} beyond their rights: {}", worst.0)).hint(worst.1)
    } else if let Some(error) = &scan.stopped {
        let trouble = web::trouble(error);
        Outcome { summary: format!("{} ({share})", trouble.summary), ..trouble }
    } else if scan.late {
        Outcome::error("timeout", format!("the time was over: {share}")).hint("raise safety.rps for this target")
    } else if covered == 0 {
        Outcome::error("nothing-to-inspect", "no actor is shown anything")
            .hint("give the actors some data of their own")
    } else if warns > 0 {
        Outcome::warn(format!("{share}; {warns} to settle: {}", worst.0)).hint(worst.1)
    } else if (proved as f64) < COVERAGE_FLOOR * objects as f64 {
        let missing = scan.unproven.first().cloned().unwrap_or_default();
        Outcome::warn(format!("{share}; no list shows an object of {missing}")).hint(format!(
            "give two actors of one role objects of their own, or name {missing} in [gates.security.authz] shared"
        ))
    } else if matrix.is_none() {
        let fix = match draft {
            Some(path) => format!("read {path}, correct it, and commit it as {}", config.matrix),
            None => format!("commit the agreed matrix as {}: a table per role with allow and deny", config.matrix),
        };
        Outcome::warn(format!("{share}; nobody has agreed on who may what")).hint(fix)
    } else {
        Outcome::pass(share)
    };
    let evidence = json!({
        "matrix": scan.cells, "agreed": matrix.is_some(), "draft": draft,
        "objects": scan.objects.iter().map(|o| json!({
            "route": o.operation, "owner": o.owner, "asked_by": o.other, "status": o.status, "read": o.read,
        })).collect::<Vec<_>>(),
        "without_an_object": scan.unproven,
    });
    outcome
        .value(fails, 0)
        .covered(covered as u64, known as u64)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("authz", evidence)
}

fn foreign(object: &Object) -> Finding {
    let Object { operation, owner, other, .. } = object;
    // Everybody sees in the list whose it is; it may be meant that everybody reads it, too.
    let (severity, confidence) = match object.listed && !object.telling {
        true => (Severity::Medium, Confidence::Medium),
        false => (Severity::Critical, Confidence::High),
    };
    let finding = Finding::new("foreign-object", severity, format!("{other} read {owner}'s {operation}"))
        .confidence(confidence)
        .route(operation)
        .fix("filter by owner in the query: WHERE owner_id = the signed-in user; or name the route in [gates.security.authz] shared")
        .identified_by(&["security.authz", "foreign-object", operation]);
    match &object.place {
        Some((file, line)) => finding.at(file, *line, 1),
        None => finding,
    }
}

fn cell_finding(
    config: &Config,
    matrix: Option<&Matrix>,
    scan: &Scan,
    route: &str,
    role: &str,
    cell: Cell,
) -> Option<Finding> {
    let agreed = matrix.map(|matrix| matrix.says(role, route));
    let words = route.split(['/', '-', '_']).any(|word| PRIVILEGED.contains(&word.to_ascii_lowercase().as_str()));
    let above = scan.roles.iter().any(|other| config.is_privileged(other)) && !config.is_privileged(role);
    let (rule, severity, message, fix) = match (agreed, cell) {
        (Some(Some(false)), Cell::Allowed) => (
            "role-exceeds",
            Severity::Critical,
            format!("{role} is let in at {route}, which the matrix denies"),
            "check the role in the router",
        ),
        (Some(Some(true)), Cell::Denied) => (
            "role-lacks",
            Severity::High,
            format!("{role} is refused at {route}, which the matrix allows"),
            "let the role in, or correct the matrix",
        ),
        // Where people have not decided, the name of the path speaks.
        (None | Some(None), Cell::Allowed) if words && above => {
            ("role-exceeds", Severity::Critical, format!("{role} is let in at {route}"), "check the role in the router")
        }
        (Some(None), Cell::Allowed | Cell::Denied) => (
            "undecided",
            Severity::Low,
            format!("the matrix says nothing about {role} at {route}"),
            "decide, and write it into the matrix",
        ),
        _ => return None,
    };
    let finding = Finding::new(rule, severity, message).route(route).fix(fix).identified_by(&[
        "security.authz",
        rule,
        role,
        route,
    ]);
    Some(match scan.places.get(route) {
        Some((file, line)) => finding.at(file, *line, 1),
        None => finding,
    })
}
