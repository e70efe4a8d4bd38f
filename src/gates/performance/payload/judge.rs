//! The verdict on what the routes returned. Pure.

use serde_json::{Value as Json, json};

use super::graphql::{Limit, Probed};
use super::look::{Kind, Route};
use super::{ABOUT, Config};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier};

/// Shorter text gains nothing from compression.
const COMPRESSION_FROM_BYTES: usize = 1024;

pub(super) struct Seen {
    pub(super) routes: Vec<Route>,
    pub(super) graphql: Option<Probed>,
    /// Of the actor that asked; `None`: anonymous.
    pub(super) role: Option<String>,
    pub(super) production: bool,
}

fn finding(rule: &str, severity: Severity, route: &Route, message: String) -> Finding {
    let found =
        Finding::new(rule, severity, message).identified_by(&[ABOUT.id, rule, &route.name]).route(route.name.clone());
    match &route.place {
        Some((file, line)) => found.at(file.clone(), *line, 1),
        None => found,
    }
}

fn of_route(route: &Route, seen: &Seen, config: &Config) -> Vec<Finding> {
    let mut out = Vec::new();
    for (path, leak) in &route.leaks {
        let what = format!("{} returns {path} ({}, {} times)", route.name, leak.shape, leak.times);
        let mut found = finding("sensitive-field", leak.severity, route, what).confidence(leak.confidence);
        found = found.identified_by(&[ABOUT.id, "sensitive-field", &route.name, path]);
        out.push(found.fix(
            "leave it out: name the fields to return (select, serializer, DTO); allow = [{ field, reason }] if meant",
        ));
    }
    let admin = seen.role.as_deref().is_some_and(|r| r.to_ascii_lowercase().contains("admin"));
    if route.emails > 1 && !admin {
        let (severity, who) = match &seen.role {
            None => (Severity::High, "anybody"),
            Some(_) => (Severity::Medium, "a plain user"),
        };
        let what = format!("{} shows {} e-mail addresses to {who}", route.name, route.emails);
        let confidence = if seen.role.is_none() { Confidence::High } else { Confidence::Medium };
        out.push(finding("emails-of-others", severity, route, what).confidence(confidence).fix("leave them out"));
    }
    let kib = route.bytes as u64 / 1024;
    let oversize = route.truncated || route.bytes as u64 > config.max_kb * 1024;
    let ignored = |items: u64| route.limited.is_some_and(|limited| limited >= items) || route.limited.is_none();
    match &route.list {
        Some((at, items)) if (*items > config.max_items || oversize) && *items > 1 && ignored(*items) => {
            let what = format!("{} returns all {items} items of {at} ({kib} KiB) whatever the limit", route.name);
            out.push(
                finding("unbounded-list", Severity::High, route, what)
                    .fix("page it: limit of at most 100, and a cursor"),
            );
        }
        Some((at, items)) if *items > config.max_items => {
            let what = format!("{} returns {items} items of {at} unless a limit is given", route.name);
            out.push(
                finding("large-page", Severity::Medium, route, what).fix("give the limit a default of at most 100"),
            );
        }
        _ if oversize => {
            let more = if route.truncated { "more than " } else { "" };
            let what = format!("{} answers {more}{kib} KiB", route.name);
            out.push(finding("oversize", Severity::Medium, route, what).fix("return less: select fields, page lists"));
        }
        _ => {}
    }
    if !route.undocumented.is_empty() {
        let named: Vec<&str> = route.undocumented.iter().take(8).map(String::as_str).collect();
        let what = format!("{} returns fields that are not documented: {}", route.name, named.join(", "));
        out.push(finding("undocumented-field", Severity::Low, route, what).fix("document them, or leave them out"));
    }
    out
}

fn of_graphql(graphql: &Probed, production: bool) -> Vec<Finding> {
    let route = format!("GET {}", graphql.path);
    let finding = |rule: &str, severity, message: &str| {
        Finding::new(rule, severity, message).identified_by(&[ABOUT.id, rule]).route(route.clone())
    };
    let mut out = Vec::new();
    if graphql.depth == Limit::None {
        let what = "a GraphQL query 15 deep is taken: there is no depth limit";
        out.push(
            finding("graphql-depth", Severity::High, what)
                .fix("add a depth and cost limit (graphql-depth-limit, @escape.tech/graphql-armor)"),
        );
    } else if graphql.depth == Limit::Unknown {
        let what = "whether GraphQL limits the depth of queries could not be told: it does not describe itself, or refuses GET";
        out.push(
            finding("graphql-depth-unknown", Severity::Low, what)
                .confidence(Confidence::Medium)
                .fix("let the check ask staging with introspection on"),
        );
    }
    if graphql.aliases == Limit::None {
        let what = "a GraphQL query of 200 aliases is taken: one request may do the work of 200";
        out.push(finding("graphql-aliases", Severity::Medium, what).fix("limit aliases and batches"));
    }
    if graphql.introspection {
        let severity = if production { Severity::Medium } else { Severity::Info };
        out.push(
            finding("graphql-introspection", severity, "GraphQL describes itself to anybody")
                .fix("switch introspection off in production"),
        );
    }
    out
}

pub(super) fn judge(seen: &Seen, config: &Config) -> Outcome {
    let api: Vec<&Route> = seen.routes.iter().filter(|r| r.kind != Kind::Other).collect();
    let read: Vec<&Route> = api.iter().filter(|r| r.kind == Kind::Json).copied().collect();
    let graphql = u64::from(seen.graphql.is_some());
    if read.is_empty() && graphql == 0 {
        let others = seen.routes.len() - api.len();
        if api.is_empty() && others > 0 {
            return Outcome::skip("no-api", format!("{others} GET routes were asked, and all answer pages or files"));
        }
        let closed = api.iter().filter(|r| matches!(r.status, 401 | 403)).count();
        if closed > 0 && seen.role.is_none() {
            return Outcome::error("no-credentials", format!("{closed} of {} routes ask for credentials", api.len()))
                .hint("name an account for the check in [gates] actor")
                .evidence("payload", evidence(seen));
        }
        return Outcome::error("no-answers", format!("none of {} known GET routes answered JSON", api.len()))
            .hint("tell the routes: an OpenAPI document, or [gates.routes] har, access_log")
            .evidence("payload", evidence(seen));
    }
    let mut findings: Vec<Finding> = read.iter().flat_map(|route| of_route(route, seen, config)).collect();
    let plain: Vec<&&Route> = read.iter().filter(|r| !r.compressed && r.bytes > COMPRESSION_FROM_BYTES).collect();
    if let Some(largest) = plain.iter().max_by_key(|r| r.bytes) {
        let what = format!(
            "{} of {} answers over 1 KiB are not compressed, the largest {} KiB ({})",
            plain.len(),
            read.iter().filter(|r| r.bytes > COMPRESSION_FROM_BYTES).count(),
            largest.bytes / 1024,
            largest.name
        );
        let fix = "nginx: gzip on; gzip_types application/json; Express: app.use(compression())";
        findings.push(
            Finding::new("no-compression", Severity::Medium, what)
                .identified_by(&[ABOUT.id, "no-compression"])
                .fix(fix),
        );
    }
    findings.extend(seen.graphql.iter().flat_map(|g| of_graphql(g, seen.production)));
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let counted = findings.iter().filter(|f| f.severity > Severity::Info);
    let fails = |f: &Finding| f.severity >= Severity::High && f.confidence == Confidence::High;
    let outcome = if findings.iter().any(fails) {
        Outcome::fail(findings[0].message.clone())
    } else if counted.count() > 0 {
        Outcome::warn(findings[0].message.clone())
    } else {
        let mut sizes: Vec<usize> = read.iter().map(|r| r.bytes).collect();
        sizes.sort_unstable();
        let p95 = sizes.get((sizes.len() * 95).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        Outcome::pass(format!("{} routes return what they should, p95 {} bytes", read.len(), p95))
    };
    let outcome = match findings.iter().find(|f| f.severity > Severity::Info) {
        Some(first) => outcome.hint(format!("{}: {}", first.message, first.fix)),
        None => outcome,
    };
    outcome
        .covered(read.len() as u64 + graphql, api.len() as u64 + graphql)
        .tier(Tier::E3)
        .findings(findings)
        .evidence("payload", evidence(seen))
}

/// Paths and shapes, never values.
fn evidence(seen: &Seen) -> Json {
    let mut sizes: Vec<usize> = seen.routes.iter().filter(|r| r.kind == Kind::Json).map(|r| r.bytes).collect();
    sizes.sort_unstable();
    let at = |share: usize| sizes.get((sizes.len() * share).div_ceil(100).saturating_sub(1)).copied();
    let leaks = |r: &Route| -> Vec<Json> {
        r.leaks.iter().map(|(path, l)| json!({ "field": path, "shape": l.shape, "times": l.times })).collect()
    };
    let routes: Vec<Json> = seen.routes.iter().map(|r| json!({ "route": r, "fields": leaks(r) })).collect();
    json!({
        "routes": routes, "bytes_p50": at(50), "bytes_p95": at(95), "graphql": seen.graphql,
        "asked_as": seen.role.as_deref().unwrap_or("anonymous"),
    })
}
