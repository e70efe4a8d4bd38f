//! From what was tried to the verdict. Pure.

use serde_json::json;

use super::attempts::Seen;
use super::{Config, Row, Scan, Tried};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::web;

/// Routes that are named in one line.
const NAMED_MAX: usize = 3;

pub(super) fn judge(config: &Config, scan: Scan<'_>) -> Outcome {
    let mut findings: Vec<Finding> = scan.tried.iter().flat_map(open).collect();
    if let Some(length) = &scan.weak_secret {
        let message = format!("the tokens are signed with a word of {length} characters that everybody guesses");
        findings.push(
            Finding::new("weak-secret", Severity::Critical, message)
                .fix("sign with 32 random bytes from a secret store (openssl rand -base64 32), and sign everybody out")
                .identified_by(&["security.auth", "weak-secret"]),
        );
    }
    let asked: Vec<&Tried> = scan.tried.iter().filter(|t| t.left_out.is_none()).collect();
    let proved = asked.iter().filter(|t| is_proved(t)).count();
    let entered = findings.iter().filter(|f| f.severity >= Severity::High).count();
    findings.extend(scan.undeclared.iter().map(|operation| {
        let name = operation.name();
        Finding::new(
            "undeclared-public",
            Severity::Low,
            format!("{name} shows data to anybody, and nothing says that it may"),
        )
        .fix("protect it, or name it in [gates.routes] public")
        .route(&name)
        .identified_by(&["security.auth", "undeclared-public", &name])
    }));
    let mute: Vec<String> =
        asked.iter().filter(|t| t.rows.iter().any(|row| row.mute)).map(|t| t.operation.name()).collect();
    if let Some(first) = mute.first() {
        let message = format!("{} of {} routes answer 401 without WWW-Authenticate: {first}", mute.len(), asked.len());
        findings.push(
            Finding::new("no-challenge", Severity::Low, message)
                .fix("send WWW-Authenticate with every 401 (RFC 9110, 11.6.1)")
                .identified_by(&["security.auth", "no-challenge"]),
        );
    }
    let warns = findings.iter().filter(|f| f.severity > Severity::Info && f.severity < Severity::High).count();
    let evidence = evidence(&scan);
    let share = format!("{proved} of {} sensitive routes are proved to ask who is there", scan.known);
    let worst = findings.iter().max_by_key(|f| f.severity).map(|f| (f.message.clone(), f.fix.clone()));
    let outcome = if entered > 0 {
        let (message, fix) = worst.unwrap_or_default();
        Outcome::fail(format!("{entered} ways in: {message}")).hint(fix)
    } else if let Some(error) = &scan.stopped {
        let trouble = web::trouble(error);
        Outcome { summary: format!("{} ({share})", trouble.summary), ..trouble }
    } else if scan.late && proved < asked.len() {
        Outcome::error("timeout", format!("the time was over; {share}")).hint("raise safety.rps for this target")
    } else if scan.actors == 0 {
        Outcome::warn(format!("strangers are refused by {} of {} routes; no actor shows that anybody is let in", refused(&asked), scan.known))
            .hint("make an account for the check: [gates] actor = [{ name = \"alice\", role = \"user\", bearer = \"${env:HC_ALICE}\" }]")
    } else if scan.shut_out.len() == scan.actors {
        Outcome::error("no-credentials", scan.shut_out.join("; "))
            .hint("give the actors of [gates] actor credentials that work")
    } else if (proved as f64) < config.floor * asked.len() as f64 || asked.is_empty() {
        Outcome::warn(format!("{share}; {}", unproven(&asked)))
            .hint("ask who is there before validating, and give an actor that each route lets in")
    } else if let Some((message, fix)) = worst.filter(|_| warns > 0) {
        Outcome::warn(format!("{share}; {warns} to settle: {message}")).hint(fix)
    } else {
        Outcome::pass(share)
    };
    // What is left out on purpose is told, and not held against the service.
    outcome
        .value(proved, asked.len())
        .covered(proved as u64, asked.len() as u64)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("auth", evidence)
}

/// Refused to strangers, and opened to an actor.
fn is_proved(tried: &Tried<'_>) -> bool {
    tried.door.is_some() && tried.rows.first().is_some_and(|row| row.seen == Seen::Protected)
}

fn refused(asked: &[&Tried<'_>]) -> usize {
    asked.iter().filter(|t| t.rows.first().is_some_and(|row| row.seen == Seen::Protected)).count()
}

fn unproven(asked: &[&Tried<'_>]) -> String {
    let why = |tried: &&&Tried<'_>| match tried.rows.first().map(|row| row.seen) {
        Some(Seen::Unproven(why)) => format!("{}: {why}", tried.operation.name()),
        _ => format!("{}: no actor is let in", tried.operation.name()),
    };
    let open: Vec<String> = asked.iter().filter(|t| !is_proved(t)).take(NAMED_MAX).map(|t| why(&t)).collect();
    open.join("; ")
}

/// What got in on one route: the plain way once, or each of the others.
fn open(tried: &Tried<'_>) -> Vec<Finding> {
    let name = tried.operation.name();
    let rows = tried.rows.iter().filter(|row| row.seen == Seen::Open);
    let one = |row: &Row| {
        let status = row.status.unwrap_or(0);
        let (rule, severity, confidence, message, fix) = match row.rule {
            "anonymous" if row.cached => (
                "cached-private",
                Severity::Critical,
                Confidence::High,
                format!("{name}: a cache shows strangers the copy that somebody else was given"),
                "answer private routes with Cache-Control: private, no-store".to_string(),
            ),
            "anonymous" => {
                let sure = tried.door.is_some() || !tried.operation.is_safe() || tried.operation.guarded == Some(true);
                let confidence = if sure { Confidence::High } else { Confidence::Medium };
                (
                    row.rule,
                    Severity::Critical,
                    confidence,
                    format!("{name} answered {status} without credentials"),
                    mount(tried),
                )
            }
            "credential-in-query" => (
                row.rule,
                Severity::Low,
                Confidence::High,
                format!("{name} takes {} and lets in who sends it: addresses end up in logs", row.what),
                "take credentials from headers alone (ASVS 5, 14.2.1)".to_string(),
            ),
            "path-trick" => (
                row.rule,
                Severity::Critical,
                Confidence::High,
                format!("{name} answered {status} without credentials, by {}", row.what),
                "decide in the application by the route that was matched, not at the edge by the text of the path"
                    .to_string(),
            ),
            _ => (
                row.rule,
                Severity::Critical,
                Confidence::High,
                format!("{name} answered {status} to {}", row.what),
                "verify the signature with one fixed algorithm and key before reading a claim (RFC 8725, 3.1)"
                    .to_string(),
            ),
        };
        let mut finding = Finding::new(rule, severity, message)
            .confidence(confidence)
            .route(&name)
            .fix(fix)
            .identified_by(&["security.auth", rule, &row.what, &name]);
        if let Some((file, line)) = &tried.operation.place {
            finding = finding.at(file, *line, 1);
        }
        // Without a second opinion a shown page may be meant.
        if confidence == Confidence::Medium {
            finding.severity = Severity::Medium;
        }
        finding
    };
    rows.map(one).collect()
}

fn mount(tried: &Tried<'_>) -> String {
    match &tried.operation.place {
        Some((file, line)) => format!(
            "mount the authentication middleware before line {line} of {file}, or name the route in [gates.routes] public"
        ),
        None => "mount the authentication middleware before it, or name the route in [gates.routes] public".into(),
    }
}

fn evidence(scan: &Scan<'_>) -> serde_json::Value {
    let row = |row: &Row| json!({ "attempt": row.what, "rule": row.rule, "status": row.status, "shows": row.seen });
    let routes: Vec<_> = scan
        .tried
        .iter()
        .map(|t| {
            json!({
                "route": t.operation.name(), "why": t.why, "sources": t.operation.sources, "left_out": t.left_out,
                "door": t.door.as_ref().map(|(name, _, answer)| json!({ "actor": name, "status": answer.status })),
                "attempts": t.rows.iter().map(row).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "routes": routes, "weak_secret": scan.weak_secret.is_some(), "actors": scan.actors, "could_not_sign_in": scan.shut_out,
        "undeclared": scan.undeclared.iter().map(|o| o.name()).collect::<Vec<_>>(),
    })
}
