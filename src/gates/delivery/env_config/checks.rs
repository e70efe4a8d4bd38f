//! The rules E01 to E14 over what was seen: from environments, usages and Dockerfiles to places where a rule is broken.
//! Pure. A [`Hit`] names keys, places and relations, and never a value.

use std::collections::BTreeMap;

use ring::hmac;

use super::dotenv::{Entry, Flaw, Hidden};
use super::look::{Seen, Source, Stage as Whose};
use super::usages::{Need, Usage};
use super::{Config, rules};
use crate::domain::verdict::{Confidence, Finding, Severity};

/// These only warn.
pub const WEAK_RULES: [&str; 4] = ["E08", "E09", "E12", "E14"];

/// A broken rule at a place.
pub struct Hit {
    pub rule: &'static str,
    pub key: String,
    pub file: String,
    pub line: Option<u32>,
    /// Fits after the key's name.
    pub problem: String,
    pub fix: String,
    pub sure: bool,
    pub suppressed: Option<String>,
}

const FIX: &str =
    "set a production value in the store that production reads; generate secrets: openssl rand -base64 48";

impl Hit {
    fn at(rule: &'static str, source: &Source, entry: &Entry, problem: impl Into<String>) -> Hit {
        Hit {
            rule,
            key: entry.name.clone(),
            file: source.path.clone(),
            line: Some(entry.line),
            problem: problem.into(),
            fix: FIX.into(),
            sure: true,
            suppressed: source.allowed.get(&(entry.line, rule)).cloned(),
        }
    }

    pub fn fails(&self) -> bool {
        self.sure && !WEAK_RULES.contains(&self.rule) && self.suppressed.is_none()
    }

    pub fn finding(&self) -> Finding {
        let severity = match () {
            _ if WEAK_RULES.contains(&self.rule) => Severity::Low,
            _ if self.sure => Severity::High,
            _ => Severity::Medium,
        };
        let mut finding =
            Finding::new(self.rule, severity, format!("{} {}", self.key, self.problem)).fix(self.fix.clone());
        finding = match self.line {
            Some(line) => finding.at(self.file.clone(), line, 1),
            None => finding.in_file(self.file.clone()),
        };
        finding.confidence = if self.sure { Confidence::High } else { Confidence::Medium };
        finding.suppressed.clone_from(&self.suppressed);
        finding.route(self.key.clone()).identified_by(&[self.rule, &self.file, &self.key])
    }
}

/// E03 to E08 and E13: each value alone.
pub fn values(source: &Source, config: &Config, hits: &mut Vec<Hit>) {
    for entry in &source.entries {
        let allowed = config.allow_loopback.contains(&entry.name);
        for broken in rules::of_value(&entry.name, &entry.value, allowed) {
            let shared = broken.rule == "E03" && source.shares_loopback;
            let mut hit = Hit::at(broken.rule, source, entry, broken.problem);
            // In a pod, loopback is the neighbour.
            hit.sure = broken.sure && !shared;
            if broken.rule == "E03" {
                hit.fix = format!(
                    "write the address of production's own service, or allow_loopback = [\"{}\"] when it is a sidecar",
                    entry.name
                );
            }
            hits.push(hit);
        }
    }
}

/// E09 and E14: how the file is written and who may read it.
pub fn writing(source: &Source, hits: &mut Vec<Hit>) {
    if !source.dotenv {
        return;
    }
    let mut first: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in &source.entries {
        if let Some(before) = first.insert(&entry.name, entry.line) {
            let mut hit =
                Hit::at("E09", source, entry, format!("is set twice, first on line {before}; the last one counts"));
            hit.fix = "keep one of them".into();
            hits.push(hit);
        }
        for flaw in &entry.flaws {
            let problem = match flaw {
                Flaw::Hash => "holds a # outside of quotes, where some libraries begin a comment",
                Flaw::Space => "holds a space outside of quotes, which a shell and some libraries refuse",
                Flaw::Dollar => "holds a $ that some libraries fill in",
                Flaw::Open => "begins with a quote that never ends",
            };
            let mut hit = Hit::at("E09", source, entry, problem);
            hit.fix = "put the value in single quotes".into();
            hits.push(hit);
        }
    }
    let mut whole = |rule, problem: String, fix: &str| {
        hits.push(Hit {
            rule,
            key: source.path.clone(),
            file: source.path.clone(),
            line: None,
            problem,
            fix: fix.into(),
            sure: true,
            suppressed: None,
        });
    };
    if source.crlf {
        whole("E09", "has Windows line ends, which become part of the values in a shell".into(), "save it with LF");
    }
    let secrets = source.entries.iter().any(|e| rules::is_secret(&e.name, &e.value) && !rules::is_elsewhere(&e.value));
    if let Some(mode) = source.mode.filter(|m| !source.tracked && secrets && m & 0o004 != 0) {
        whole(
            "E14",
            format!("holds secrets and everybody on the machine may read it (mode {mode:03o})"),
            "chmod 600 it",
        );
    }
}

/// E01. Returns how many needed variables may come from a place that cannot be seen.
pub fn required(seen: &Seen, production: &[&Source], hits: &mut Vec<Hit>) -> usize {
    let template = |name: &str| {
        seen.sources.iter().any(|s| s.stage == Whose::Template && s.entries.iter().any(|e| e.name == name))
    };
    let has_template = seen.sources.iter().any(|s| s.stage == Whose::Template);
    // A tracked `.env` is the base that frameworks load in production too.
    let base = |s: &&Source| s.stage == Whose::Local && s.tracked && s.path.rsplit('/').next() == Some(".env");
    let mut unseen = 0;
    for (name, usages) in &seen.usages {
        let covered = |u: &&Usage| production.iter().any(|s| u.file.starts_with(s.scope.as_str()));
        let Some(usage) = usages.iter().filter(covered).max_by_key(|u| u.need).filter(|u| u.need > Need::Optional)
        else {
            continue;
        };
        let set = |s: &Source| s.entries.iter().any(|e| e.name == *name && !e.value.expose().is_empty());
        if production.iter().any(|s| set(s)) || seen.sources.iter().filter(base).any(set) {
            continue;
        }
        let empty = production.iter().find_map(|s| s.entries.iter().find(|e| e.name == *name).map(|e| (s, e)));
        if let Some((source, entry)) = empty {
            let mut hit =
                Hit::at("E01", source, entry, format!("is empty, and {}:{} reads it", usage.file, usage.line));
            hit.sure = usage.need == Need::Required || rules::of_value(name, &Hidden::new("x"), false).is_empty();
            hits.push(hit);
            continue;
        }
        if production.iter().any(|s| s.open) {
            unseen += 1;
            continue;
        }
        let sure = usage.need == Need::Required || template(name);
        // Undeclared and unset: the template's rule says it once.
        if !sure && has_template {
            continue;
        }
        let files: Vec<&str> = production.iter().map(|s| s.path.as_str()).take(3).collect();
        hits.push(Hit {
            rule: "E01",
            key: name.clone(),
            file: usage.file.clone(),
            line: Some(usage.line),
            problem: format!("is read here, but {} does not set it", files.join(", ")),
            fix: FIX.into(),
            sure,
            suppressed: None,
        });
    }
    unseen
}

/// E02 and E10. Values are compared as tags under a key that lives for this comparison.
pub fn same_secrets(seen: &Seen, production: &[&Source], hits: &mut Vec<Hit>) {
    let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()) else { return };
    let tag = |value: &Hidden| hmac::sign(&key, value.expose().trim().as_bytes()).as_ref().to_vec();
    let comparable = |e: &Entry| {
        rules::is_secret(&e.name, &e.value) && !rules::is_elsewhere(&e.value) && e.value.expose().trim().len() >= 6
    };
    let mut by_tag: BTreeMap<Vec<u8>, Vec<(&Source, &Entry)>> = BTreeMap::new();
    for source in &seen.sources {
        for entry in source.entries.iter().filter(|e| comparable(e)) {
            by_tag.entry(tag(&entry.value)).or_default().push((source, entry));
        }
    }
    for (nth, source) in production.iter().enumerate() {
        for entry in source.entries.iter().filter(|e| comparable(e)) {
            // A placeholder is wrong already, everywhere.
            if rules::of_value(&entry.name, &entry.value, false).iter().any(|b| b.rule == "E04") {
                continue;
            }
            let same = by_tag.get(&tag(&entry.value)).map_or(&[][..], Vec::as_slice);
            let elsewhere = same
                .iter()
                .filter(|(s, _)| s.stage != Whose::Production)
                .min_by_key(|(s, e)| (e.name != entry.name, s.stage));
            if let Some((other, twin)) = elsewhere {
                let place = format!("{}:{}", other.path, twin.line);
                let copied = matches!(other.stage, Whose::Local | Whose::Template) && twin.name == entry.name;
                let (rule, problem) = match (copied, twin.name == entry.name) {
                    (true, _) => ("E02", format!("is equal to the one in {place}")),
                    (false, true) => ("E10", format!("is the same secret as in {place}")),
                    (false, false) => ("E10", format!("is the same secret as {} in {place}", twin.name)),
                };
                hits.push(Hit::at(rule, source, entry, problem));
                continue;
            }
            // Each pair once: against what comes later.
            let later = production[nth..].iter().flat_map(|s| s.entries.iter().map(move |e| (s, e)));
            let twin = later
                .filter(|(s, e)| {
                    (s.path != source.path || e.line > entry.line) && e.name != entry.name && comparable(e)
                })
                .find(|(_, e)| e.value == entry.value && !one_purpose(&entry.name, &e.name));
            if let Some((other, twin)) = twin {
                hits.push(Hit::at(
                    "E10",
                    source,
                    entry,
                    format!("is the same secret as {} in {}:{}", twin.name, other.path, twin.line),
                ));
            }
        }
    }
}

/// Two names of one thing: the database's password for the server and for the client, `AUTH_SECRET` and `NEXTAUTH_SECRET`.
fn one_purpose(a: &str, b: &str) -> bool {
    let database = |n: &str| {
        ["DB", "DATABASE", "POSTGRES", "PG", "MYSQL", "MARIADB", "SQL", "MONGO", "REDIS", "RABBIT", "AMQP"]
            .iter()
            .any(|w| n.contains(w))
    };
    a.ends_with(b) || b.ends_with(a) || a.starts_with(b) || b.starts_with(a) || (database(a) && database(b))
}

/// E12
pub fn undeclared(seen: &Seen, hits: &mut Vec<Hit>) {
    let templates: Vec<&Source> = seen.sources.iter().filter(|s| s.stage == Whose::Template && s.dotenv).collect();
    for (name, usages) in &seen.usages {
        let near =
            |u: &&Usage| u.need > Need::Optional && templates.iter().any(|t| u.file.starts_with(t.scope.as_str()));
        let Some(usage) = usages.iter().find(near) else { continue };
        if templates.iter().any(|t| t.entries.iter().any(|e| e.name == *name)) {
            continue;
        }
        hits.push(Hit {
            rule: "E12",
            key: name.clone(),
            file: usage.file.clone(),
            line: Some(usage.line),
            problem: format!("is read here, but {} does not declare it", templates[0].path),
            fix: format!("add {name}= to {} with a word on what it is", templates[0].path),
            sure: true,
            suppressed: None,
        });
    }
}

/// E11
pub fn image_files(seen: &Seen, hits: &mut Vec<Hit>) {
    for copied in &seen.copied {
        hits.push(Hit {
            rule: "E11",
            key: copied.takes.clone().unwrap_or_else(|| ".env".into()),
            file: copied.file.clone(),
            line: Some(copied.line),
            problem: match copied.takes {
                Some(_) => {
                    "would enter the image: the whole context is copied and .dockerignore does not name it".into()
                }
                None => "would enter the image once it exists: .dockerignore does not name it".into(),
            },
            fix: "write .env* into .dockerignore".into(),
            sure: copied.takes.is_some(),
            suppressed: None,
        });
    }
}
