//! The list and what the walks gave, to a verdict. Pure.

use serde_json::json;

use super::super::smoke::walk::{State, Step, Walk};
use super::super::smoke::{FILE, Item, Smoke, problems};
use super::look::{List, Seen};
use crate::domain::units::count;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};

/// The list, if it can be walked; else the verdict without it.
pub fn declared(seen: &Seen) -> Result<&Smoke, Box<Outcome>> {
    let Some(list) = &seen.list else { return Err(Box::new(no_list(seen))) };
    let smoke = match &list.smoke {
        Ok(smoke) => smoke,
        Err(why) => {
            return Err(Box::new(
                Outcome::error("unreadable", format!("{}: {why}", list.path))
                    .hint("mend the file; hypercare smoke run says where it is wrong"),
            ));
        }
    };
    let (fails, warns) = problems(smoke, &list.lines, &list.path);
    if let Some(first) = fails.first() {
        let more = if fails.len() > 1 { format!(" and {} more", fails.len() - 1) } else { String::new() };
        let (text, fix) = (format!("{}{more}", first.message), first.fix.clone());
        let findings = fails.into_iter().chain(warns).collect();
        return Err(Box::new(Outcome::fail(text).tier(Tier::E1).findings(findings).hint(fix)));
    }
    Ok(smoke)
}

fn init_hint(seen: &Seen) -> String {
    format!("hypercare smoke init writes {FILE} from your routes ({}); review and commit", count(seen.drafted, "item"))
}

/// Prose, suites, or nothing.
fn no_list(seen: &Seen) -> Outcome {
    let known = json!({"prose": seen.prose, "suites": seen.suites});
    let outcome = match (seen.suites.first(), seen.prose.first()) {
        (Some((kind, (file, line))), _) => {
            let place = if *line > 0 { format!("{file}:{line}") } else { file.clone() };
            let what =
                if *kind == "script" { "a smoke script".to_string() } else { format!("{kind} tests tagged smoke") };
            let text = format!("{what} ({place}), declared, not demonstrated: hypercare does not run them");
            let finding =
                Finding::new("suite-only", Severity::Medium, text.clone()).identified_by(&["suite-only", file]);
            let finding = if *line > 0 { finding.at(file.clone(), *line, 1) } else { finding.in_file(file.clone()) };
            Outcome::warn(text)
                .findings(vec![finding.fix("write the same as smoke.toml, which is run against staging")])
        }
        (None, Some(path)) => {
            let text = format!("{path} describes what to look at, in prose that nothing runs");
            let finding = Finding::new("prose-only", Severity::Medium, text.clone()).in_file(path.clone());
            Outcome::warn(text).findings(vec![finding.fix(init_hint(seen)).identified_by(&["prose-only", path])])
        }
        (None, None) => {
            if let Some(proof) = &seen.published {
                return Outcome::skip("not-deployed", proof.clone());
            }
            let text = "no list of what to look at after a deploy";
            let finding = Finding::new("missing", Severity::High, text).fix(init_hint(seen));
            Outcome::fail(text).findings(vec![finding.identified_by(&["missing"])])
        }
    };
    outcome.tier(Tier::E1).hint(init_hint(seen)).evidence("found", known)
}

/// A list without a target to try it on.
pub fn not_walked(seen: &Seen) -> Outcome {
    let Some((list, smoke)) = readable(seen) else { return no_list(seen) };
    let mut findings = weak(seen, list, smoke);
    findings.extend(people(list, smoke));
    let counted = count(smoke.item.len(), "item");
    let text = format!("{} has {counted}, declared, not demonstrated: no target to try it on", list.path);
    let hint = match findings.first() {
        Some(first) if first.severity >= Severity::Medium => format!("{}: {}", first.message, first.fix),
        _ => "give --url URL, or declare staging in [gates] target".into(),
    };
    Outcome::warn(text).tier(Tier::E1).findings(findings).hint(hint)
}

fn readable(seen: &Seen) -> Option<(&List, &Smoke)> {
    let list = seen.list.as_ref()?;
    Some((list, list.smoke.as_ref().ok()?))
}

/// What makes a green list worth less: looks at the status alone, takes too long, leaves critical things out.
fn weak(seen: &Seen, list: &List, smoke: &Smoke) -> Vec<Finding> {
    let (_, mut warns) = problems(smoke, &list.lines, &list.path);
    for (what, aliases) in seen.critical.iter().filter(|(what, aliases)| !asks_for(smoke, what, aliases)) {
        let fix = match aliases.first() {
            Some(path) => format!("add an item: request = \"GET {path}\""),
            None => "add an item that logs in with an account made for it".into(),
        };
        let finding = Finding::new("not-covered", Severity::Medium, format!("no item asks for {what}"));
        warns.push(finding.in_file(list.path.clone()).fix(fix).identified_by(&["not-covered", what]));
    }
    if smoke.requests().next().is_none() {
        let text = "every item is a person's: nothing can be run";
        let finding = Finding::new("people-only", Severity::Medium, text).in_file(list.path.clone());
        warns.push(
            finding.fix("give the machine what it can ask: request = \"GET /health\"").identified_by(&["people-only"]),
        );
    }
    warns
}

fn asks_for(smoke: &Smoke, what: &str, aliases: &[String]) -> bool {
    let bare = |path: &str| path.split('?').next().unwrap_or_default().trim_end_matches('/').to_string();
    smoke.item.iter().any(|item| {
        let path = item.method_and_path().map(|(_, p)| p).or(item.ui.as_deref()).map(bare);
        let named = |words: &[&str]| {
            let text = format!("{} {}", item.name, path.as_deref().unwrap_or_default()).to_lowercase();
            words.iter().any(|w| text.contains(w))
        };
        let by_path = path.as_ref().is_some_and(|p| aliases.iter().any(|a| bare(a) == *p));
        match what {
            "health" => by_path || (path.is_some() && named(&["health", "healthy", "ready", "alive", "/up", "/ping"])),
            "version" => by_path || item.release,
            "login" => named(&["login", "log in", "logs in", "sign in", "sign_in", "signin"]),
            _ => by_path,
        }
    })
}

/// A note for each step that a person does.
fn people(list: &List, smoke: &Smoke) -> Vec<Finding> {
    let human = |item: &&Item| item.request.is_none() && item.owner.is_some();
    let note = |item: &Item| {
        let owner = item.owner.as_deref().unwrap_or_default();
        Finding::new("by-hand", Severity::Info, format!("{}: {owner} does it", item.name))
            .in_file(list.path.clone())
            .identified_by(&["by-hand", &item.name])
    };
    smoke.item.iter().filter(human).map(note).collect()
}

/// The walks were ended from outside. What was found before stays.
pub fn stopped(seen: &Seen, walks: &[Walk], error: Outcome) -> Outcome {
    let Some((list, _)) = readable(seen) else { return error };
    let red: Vec<Finding> = walks.iter().flat_map(Walk::red).map(|step| red_finding(list, step)).collect();
    match red.is_empty() {
        true => error,
        false => Outcome::fail(red[0].message.clone()).tier(Tier::E3).findings(red),
    }
}

fn red_finding(list: &List, step: &Step) -> Finding {
    let why = match &step.state {
        State::Red { why } => why.as_str(),
        _ => "",
    };
    let tries = if step.tries > 1 { format!(" ({} tries)", step.tries) } else { String::new() };
    let finding = Finding::new("red", Severity::High, format!("{}: {why}{tries}", step.name))
        .fix("mend it on staging before anybody deploys")
        .identified_by(&["red", &step.name]);
    let finding = match &step.request {
        Some(route) => finding.route(route.clone()),
        None => finding,
    };
    match list.lines.get(step.nth) {
        Some(line) => finding.at(list.path.clone(), *line, 1),
        None => finding.in_file(list.path.clone()),
    }
}

/// What the walks gave. `walks` is not empty.
pub fn walked(seen: &Seen, smoke: &Smoke, walks: &[Walk], target: &str) -> Outcome {
    let Some((list, _)) = readable(seen) else { return no_list(seen) };
    let evidence = json!({"list": list.path, "target": target, "walks": walks});
    if walks.iter().any(Walk::is_silent) {
        let why = walks.iter().flat_map(Walk::red).next().map(|s| s.state.clone());
        let why = if let Some(State::Red { why }) = why { why } else { String::new() };
        return Outcome::error("unreachable", why)
            .hint("start the target, or correct --url")
            .evidence("smoke", evidence);
    }
    let red: Vec<&Step> = walks.iter().flat_map(Walk::red).collect();
    let asked = smoke.requests().count();
    let weak = weak(seen, list, smoke);
    let mut findings: Vec<Finding> = red.iter().map(|step| red_finding(list, step)).collect();
    let errors: Vec<_> =
        walks[0].errors().map(|(step, reason, why)| (step.name.clone(), reason, why.to_string())).collect();
    findings.extend(errors.iter().map(|(name, reason, why)| {
        Finding::new(*reason, Severity::Medium, format!("{name}: {why}"))
            .in_file(list.path.clone())
            .identified_by(&[reason, name])
    }));
    findings.extend(weak.iter().cloned());
    findings.extend(people(list, smoke));
    let seconds = walks.iter().map(|w| w.duration_ms).max().unwrap_or(0) as f64 / 1000.0;
    let took = crate::domain::units::number(seconds);
    let green = walks.iter().map(Walk::green).min().unwrap_or(0);
    let outcome = if let Some(first) = findings.first().filter(|_| !red.is_empty()) {
        let more = if red.len() > 1 { format!(" and {} more", red.len() - 1) } else { String::new() };
        Outcome::fail(format!("red on {target}: {}{more}", first.message)).hint(first.fix.clone()).tier(Tier::E3)
    } else if let Some((name, reason, why)) = errors.first() {
        let (reason, text) = (*reason, format!("{} of {asked} green twice, but {name}: {why}", green));
        Outcome::error(reason, text).hint("name an owner who looks at it, or make it a request")
    } else if asked == 0 {
        Outcome::warn(format!("{} holds steps for people only", list.path)).tier(Tier::E1).hint(init_hint(seen))
    } else if let Some(first) = weak.first() {
        let more = if weak.len() > 1 { format!(" and {} more", weak.len() - 1) } else { String::new() };
        let text = format!("{} green twice on {target}, but {}{more}", count(green, "item"), first.message);
        Outcome::warn(text).hint(first.fix.clone()).tier(Tier::E3)
    } else {
        Outcome::pass(format!("{} green twice on {target}, {took} s a walk", count(green, "item"))).tier(Tier::E3)
    };
    let judged = outcome.reason.is_none();
    let outcome = outcome.findings(findings).evidence("smoke", evidence);
    if judged { outcome.value(green, asked).covered(asked as u64, asked as u64) } else { outcome }
}
