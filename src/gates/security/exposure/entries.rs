//! The list of what is looked for, `entries.toml`, and whether an answer is one of its entries.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::calibrate::NotFound;
use crate::domain::verdict::{Confidence, Severity};
use crate::gates::web;
use crate::net::Response;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    path: String,
    what: String,
    severity: Severity,
    #[serde(rename = "match")]
    positive: Option<String>,
    not: Option<String>,
    magic: Option<String>,
    #[serde(default)]
    html: bool,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    any: bool,
    #[serde(default)]
    ops: bool,
}

pub(super) struct Entry {
    pub(super) path: String,
    pub(super) what: String,
    pub(super) severity: Severity,
    fingerprint: Fingerprint,
    not: Option<Regex>,
    html: bool,
    admin: bool,
    any: bool,
    pub(super) ops: bool,
}

enum Fingerprint {
    Text(Regex),
    Magic(Vec<u8>),
}

/// An entry that answered as itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
    /// By what it was known: the pattern, never the content.
    pub(super) matched: String,
    /// A login page stands before it.
    pub(super) login: bool,
}

/// The list as shipped; a test reads every entry.
pub(super) static ENTRIES: LazyLock<Vec<Entry>> =
    LazyLock::new(|| read(include_str!("entries.toml")).unwrap_or_default());

pub(super) fn read(text: &str) -> Result<Vec<Entry>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        entry: Vec<Raw>,
    }
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    file.entry.into_iter().map(Entry::check).collect()
}

fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).multi_line(true).build().map_err(|e| e.to_string())
}

impl Entry {
    fn check(raw: Raw) -> Result<Entry, String> {
        let fingerprint = match (&raw.positive, &raw.magic) {
            (Some(text), None) => Fingerprint::Text(pattern(text)?),
            (None, Some(hex)) => Fingerprint::Magic(from_hex(hex).ok_or(format!("{}: bad magic", raw.path))?),
            _ => return Err(format!("{}: either match or magic", raw.path)),
        };
        let not = raw.not.as_deref().map(pattern).transpose()?;
        let Raw { path, what, severity, html, admin, any, ops, .. } = raw;
        Ok(Entry { path, what, severity, fingerprint, not, html, admin, any, ops })
    }

    /// Is this answer what the entry names? A status 200 alone proves nothing.
    pub(super) fn judge(&self, response: &Response, not_found: &NotFound) -> Option<Hit> {
        if response.status != 200 || response.body.is_empty() || not_found.is_like(response) {
            return None;
        }
        let text = response.text();
        let is_page =
            web::is_html(response) || text.trim_start().starts_with("<!") || text.trim_start().starts_with("<html");
        if is_page && !self.html {
            return None;
        }
        if self.not.as_ref().is_some_and(|not| not.is_match(&response.body)) {
            return None;
        }
        let login = self.admin && is_page && has_password_field(&text);
        let known_by = match &self.fingerprint {
            Fingerprint::Text(regex) => regex.is_match(&response.body).then(|| regex.as_str().to_string()),
            Fingerprint::Magic(bytes) => response.body.starts_with(bytes).then(|| "its first bytes".to_string()),
        };
        let (matched, confidence) = match known_by {
            Some(matched) => (matched, Confidence::High),
            None => {
                (String::from("an answer where unknown paths are 404"), self.any_answer(response, &text, not_found)?)
            }
        };
        let severity = if login { Severity::Medium } else { self.severity };
        Some(Hit { severity, confidence, matched, login })
    }

    /// `/admin` and `/debug` count whatever they look like, where unknown paths are plainly refused.
    fn any_answer(&self, response: &Response, text: &str, not_found: &NotFound) -> Option<Confidence> {
        if !self.any || not_found.is_soft() || says_error(response, text) {
            return None;
        }
        // The shell of a single-page app is empty until its scripts have asked who is there.
        let is_shell = web::is_html(response) && text.contains("<script");
        Some(if is_shell { Confidence::Medium } else { Confidence::High })
    }
}

fn has_password_field(html: &str) -> bool {
    web::tags(html, "input").iter().any(|i| i.get("type").is_some_and(|t| t.eq_ignore_ascii_case("password")))
}

/// `{"error": …}` with status 200 is a refusal in other clothes.
fn says_error(response: &Response, text: &str) -> bool {
    if !web::is_json(response) {
        return false;
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(map)) => {
            ["error", "errors", "message", "code"].iter().any(|k| map.contains_key(*k))
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    let digits = digits.filter(|d| !d.is_empty() && d.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sound() {
        let entries = read(include_str!("entries.toml")).unwrap();
        assert!(entries.len() >= 150 && ENTRIES.len() == entries.len(), "{}", entries.len());
        let mut seen = std::collections::BTreeSet::new();
        for entry in &entries {
            assert!(entry.path.starts_with('/') && seen.insert(&entry.path), "{}", entry.path);
            assert!(!entry.what.is_empty() && entry.severity > Severity::Info, "{}", entry.path);
            if let Fingerprint::Text(regex) = &entry.fingerprint {
                assert!(!regex.is_match(b""), "{} matches nothing at all", entry.path);
            }
        }
        assert!(read("[[entry]]\npath = '/x'\nwhat = 'x'\nseverity = 'low'\nmatch = '('").is_err());
        assert!(read("[[entry]]\npath = '/x'\nwhat = 'x'\nseverity = 'low'").is_err());
    }
}
