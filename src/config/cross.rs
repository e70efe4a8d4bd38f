//! What only the whole configuration can know: names that point at each other, and rules that span rooms. Each room
//! checks its own entries; this file asks them and adds the paths.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::check::suggest;
use super::dom::Node;
use super::{Config, names};
use crate::alerts::route;
use crate::daemon::ReportFormat;
use crate::domain::problem::Problem;
use crate::promql;
use crate::sources::{feedback, metric};

/// Names become labels, file names and parts of ids.
const NAME_CHARS_MAX: usize = 64;
/// Tables whose keys are names given by the user.
const NAMED: [&str; 6] = ["service", "metric", "feedback", "slo", "channel", "launch"];
/// Targets by these names are the real thing: never attacked.
const PRODUCTION: [&str; 3] = ["production", "prod", "live"];

pub fn problems(config: &Config, root: &Node) -> Vec<Problem> {
    let services = names(root, "service");
    let channels = names(root, "channel");
    let mut out = Vec::new();

    for table in NAMED {
        for name in names(root, table) {
            if let Some(problem) = bad_name(name) {
                out.push(Problem::at([table, name], problem).hint("letters, digits, `-`, `_` and `.`, at most 64"));
            }
        }
    }
    for (name, service) in &config.service {
        if let Some(zone) = &service.timezone
            && zone.parse::<chrono_tz::Tz>().is_err()
        {
            let hint = zone_like(zone)
                .map_or("an IANA name such as Europe/Berlin or UTC".to_string(), |z| format!("did you mean `{z}`?"));
            out.push(Problem::at(["service", name, "timezone"], format!("`{zone}` is not a time zone")).hint(hint));
        }
    }
    for (name, source) in &config.metric {
        out.extend(metric::validate(source).into_iter().map(|p| p.under(&["metric", name])));
    }
    for (name, source) in &config.feedback {
        out.extend(feedback::validate(source).into_iter().map(|p| p.under(&["feedback", name])));
    }
    if let Some(remote) = config.store.engine.remote() {
        out.extend(remote.problems().into_iter().map(|p| p.under(&["store", "engine"])));
    }
    for table in ["metric", "feedback"] {
        for name in names(root, table) {
            belongs_to_a_service(table, name, root, &services, &mut out);
        }
    }
    for (name, slo) in &config.slo {
        let at = |key: &str| ["slo".to_string(), name.clone(), key.to_string()];
        match &slo.service {
            Some(service) => known_service(&at("service"), service, &services, &mut out),
            None if services.len() != 1 && !services.contains(&name.as_str()) => {
                out.push(which_service(&["slo", name], &services));
            }
            None => {}
        }
        if !(slo.objective > 0.0 && slo.objective < 100.0) {
            out.push(Problem::at(at("objective"), "must lie between 0 and 100 per cent").hint("for example 99.9"));
        }
        for (key, expr) in [("bad", &slo.bad), ("good", &slo.good), ("total", &Some(slo.total.clone()))] {
            if let Some(Err(e)) = expr.as_ref().map(|e| promql::parse(e)) {
                out.push(Problem::at(at(key), format!("is not PromQL: {e}")));
            }
        }
        if slo.bad.is_some() == slo.good.is_some() {
            out.push(Problem::at(["slo", name], "needs either `bad` or `good`, and not both"));
        }
    }
    for (name, source) in &config.metric {
        let problems = crate::sources::metric::validate(source);
        out.extend(problems.into_iter().map(|p| p.under(&["metric", name])));
    }
    for (name, source) in &config.feedback {
        let problems = crate::sources::feedback::validate(source);
        out.extend(problems.into_iter().map(|p| p.under(&["feedback", name])));
    }
    out.extend(crate::alerts::validate(&config.alerts, &config.route));
    for (name, channel) in &config.channel {
        out.extend(channel.problems().into_iter().map(|p| p.under(&["channel", name])));
    }
    for (index, wish) in config.route.iter().enumerate() {
        let index = index.to_string();
        if let Err(e) = route::matchers(&wish.matchers) {
            let problem = Problem::at(["route", &index, "match"], format!("is not a list of matchers: {e}"));
            out.push(problem.hint(r#"severity="critical",service=~"shop|pay""#));
        }
        if wish.channels.is_empty() {
            out.push(Problem::at(["route", &index, "channels"], "this route tells nobody"));
        }
        for (i, channel) in wish.channels.iter().enumerate() {
            known_channel(&["route", &index, "channels", &i.to_string()], channel, &channels, &mut out);
        }
        if let Some(failover) = &wish.failover {
            known_channel(&["route", &index, "failover"], failover, &channels, &mut out);
        }
    }
    for (name, launch) in &config.launch {
        if !services.contains(&name.as_str()) {
            let problem = Problem::at(["launch", name], format!("there is no service `{name}`"));
            out.push(hinted(problem, name, &services, "services:"));
        }
        for (i, channel) in launch.notify.iter().enumerate() {
            known_channel(&["launch", name, "notify", &i.to_string()], channel, &channels, &mut out);
        }
        for (i, channel) in launch.report.to.iter().enumerate() {
            known_channel(&["launch", name, "report", "to", &i.to_string()], channel, &channels, &mut out);
        }
        for (i, format) in launch.report.formats.iter().enumerate() {
            if *format == ReportFormat::Pdf {
                let at = ["launch", name, "report", "formats", &i.to_string()];
                out.push(Problem::at(at, "pdf is not built yet").hint("html, md and json are"));
            }
        }
        for (key, span) in [("window", launch.window), ("baseline", launch.baseline)] {
            if span.get().is_zero() {
                out.push(Problem::at(["launch", name, key], "must be longer than zero"));
            }
        }
    }
    if !config.web.listen.ip().is_loopback() {
        let problem = Problem::at(["web", "listen"], "a public address needs tokens and TLS, which are not built yet");
        out.push(problem.hint("listen on 127.0.0.1 and put a proxy with a login in front"));
    }
    targets(config, &mut out);
    let known: Vec<String> = channels.iter().map(|c| c.to_string()).collect();
    out.extend(config.gates.problems(&known).into_iter().map(|p| p.under(&["gates"])));
    out
}

fn bad_name(name: &str) -> Option<String> {
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match (name.is_empty(), fits, name.len() <= NAME_CHARS_MAX, name.starts_with(['.', '-'])) {
        (true, ..) => Some("a name cannot be empty".into()),
        (_, false, ..) => Some(format!("`{name}` cannot be a name")),
        (_, _, false, _) => Some("this name is too long".into()),
        (_, _, _, true) => Some("a name starts with a letter or a digit".into()),
        _ => None,
    }
}

/// `[metric.NAME.from.KIND] service`, whatever the kind.
fn belongs_to_a_service(table: &str, name: &str, root: &Node, services: &[&str], out: &mut Vec<Problem>) {
    let from = [table.to_string(), name.to_string(), "from".to_string()];
    let (node, true) = root.lookup(&from) else { return };
    let super::Value::Table(kinds) = &node.value else { return };
    let Some(kind) = kinds.keys().next() else { return };
    let mut at = from.to_vec();
    at.extend([kind.clone(), "service".to_string()]);
    match root.lookup(&at) {
        (Node { value: super::Value::Text(service), .. }, true) => known_service(&at, service, services, out),
        (_, true) => {}
        (_, false) if services.len() == 1 => {}
        (_, false) => out.push(which_service(&[table, name], services)),
    }
}

fn which_service(at: &[&str], services: &[&str]) -> Problem {
    match services {
        [] => Problem::at(at.iter().copied(), "belongs to no service").hint("add a [service.NAME] table"),
        many => Problem::at(at.iter().copied(), "must say which service it belongs to")
            .hint(format!("service = one of {}", many.join(", "))),
    }
}

fn known_service(at: &[String], service: &str, services: &[&str], out: &mut Vec<Problem>) {
    // A reference is not looked at here: its value is checked when the source is built.
    if !services.contains(&service) && !service.contains("${") {
        let problem = Problem::at(at.iter().cloned(), format!("there is no service `{service}`"));
        out.push(hinted(problem, service, services, "services:"));
    }
}

fn known_channel(at: &[&str], channel: &str, channels: &[&str], out: &mut Vec<Problem>) {
    if !channels.contains(&channel) {
        let problem = Problem::at(at.iter().copied(), format!("there is no channel `{channel}`"));
        out.push(hinted(problem, channel, channels, "channels:"));
    }
}

fn hinted(problem: Problem, word: &str, known: &[&str], lead: &str) -> Problem {
    match known {
        [] => problem.hint("none is declared"),
        known => problem.hint(suggest(word, known, lead)),
    }
}

/// Production is looked at, never attacked: neither by its name nor by its host.
fn targets(config: &Config, out: &mut Vec<Problem>) {
    let live: BTreeSet<&str> = config
        .service
        .values()
        .filter(|s| s.live_url.is_some() && s.live_url != s.url)
        .filter_map(|s| s.live_url.as_ref()?.host_str())
        .filter(|host| !is_loopback(host))
        .collect();
    let mut seen = BTreeSet::new();
    for (index, target) in config.gates.target.iter().enumerate() {
        let index = index.to_string();
        if !seen.insert(target.name.as_str()) {
            out.push(Problem::at(
                ["gates", "target", &index, "name"],
                format!("two targets are called `{}`", target.name),
            ));
        }
        let by_name = PRODUCTION.contains(&target.name.to_lowercase().as_str());
        let by_host = target.url.host_str().is_some_and(|h| live.contains(h));
        for (key, on) in [("active", target.active), ("load", target.load)] {
            if on && (by_name || by_host) {
                let problem =
                    Problem::at(["gates", "target", &index, key], "production is never probed actively or loaded");
                out.push(problem.hint("point it at a staging copy"));
            }
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The zone whose city or whole name is nearest: `berlin` → `Europe/Berlin`.
fn zone_like(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase().replace(' ', "_");
    let city = word.rsplit('/').next().unwrap_or(&word).to_string();
    chrono_tz::TZ_VARIANTS
        .iter()
        .map(|z| z.name())
        .map(|name| {
            let lower = name.to_lowercase();
            let whole = strsim::damerau_levenshtein(&word, &lower);
            let part = strsim::damerau_levenshtein(&city, lower.rsplit('/').next().unwrap_or(&lower));
            // A city match in a longer name is worth a little less than the same distance in the whole name.
            (whole.min(part), !name.contains('/'), name)
        })
        .filter(|(distance, ..)| *distance <= 2)
        .min()
        .map(|(_, _, name)| name)
}
