//! What `.gitleaks.toml` says: rules of the team's own, and what to overlook. Our own rules run beside them; those that
//! it disables are told as suppressed. A pattern that cannot be read is a problem, never a rule that finds nothing.
//!
//! Source: gitleaks' README (8.x), "Configuration"; its patterns are RE2's, which the regex crate reads but for brackets
//! within brackets.

use std::sync::Arc;

use aho_corasick::AhoCorasick;
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

use super::checks::entropy;
use super::scan::{Hit, hit};

/// Of one configuration, and of what it extends.
const RULES_MAX: usize = 500;
const PATTERN_BYTES_MAX: usize = 8 * 1024;
/// A pattern that compiles to more is one that no team wrote.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// Of one rule in one file.
const MATCHES_MAX: usize = 1_000;

/// Everything of it that can be obeyed, and what cannot.
#[derive(Debug, Default)]
pub(super) struct Gitleaks {
    rules: Vec<Rule>,
    /// For all rules, ours too.
    lists: Vec<List>,
    disabled: Vec<String>,
    /// `.gitleaks.toml, rule `shop-key`: …`.
    pub problems: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    id: Arc<str>,
    regex: Option<Regex>,
    group: usize,
    entropy: f64,
    path: Option<Regex>,
    keywords: Option<AhoCorasick>,
    lists: Vec<List>,
}

/// One allow list.
#[derive(Debug, Default)]
struct List {
    /// All of its kinds have to agree, not any of them.
    all: bool,
    target: Target,
    commits: Vec<String>,
    paths: Vec<Regex>,
    regexes: Vec<Regex>,
    words: Vec<String>,
    /// Of a global list: only these rules.
    rules: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Target {
    #[default]
    #[serde(alias = "")]
    Secret,
    Match,
    Line,
}

/// What an allow list is asked about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    pub rule: &'a str,
    pub path: &'a str,
    pub line: &'a str,
    pub secret: &'a [u8],
    pub matched: &'a [u8],
    /// `None`: it is there now.
    pub commit: Option<&'a str>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct File {
    extend: Extend,
    rules: Vec<RawRule>,
    allowlist: Option<RawList>,
    allowlists: Vec<RawList>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Extend {
    path: String,
    disabled_rules: Vec<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawRule {
    id: String,
    regex: String,
    secret_group: usize,
    entropy: f64,
    path: String,
    keywords: Vec<String>,
    allowlist: Option<RawList>,
    allowlists: Vec<RawList>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawList {
    condition: String,
    regex_target: Target,
    commits: Vec<String>,
    paths: Vec<String>,
    regexes: Vec<String>,
    stopwords: Vec<String>,
    target_rules: Vec<String>,
}

impl Gitleaks {
    /// `text` gives the text of a file of the repository; empty: there is none.
    pub fn read(text: &dyn Fn(&str) -> String) -> Gitleaks {
        let mut out = Gitleaks::default();
        out.file(".gitleaks.toml", text, 2);
        out
    }

    fn file(&mut self, name: &str, text: &dyn Fn(&str) -> String, depth: u8) {
        let content = text(name);
        let file: File = match toml::from_str(&content) {
            Ok(file) => file,
            Err(error) => {
                let line = error.span().map_or(1, |span| content[..span.start].matches('\n').count() + 1);
                return self.problems.push(format!("{name}:{line}: {}", error.message()));
            }
        };
        for raw in file.rules {
            let place = format!("{name}, rule `{}`", raw.id);
            // A rule that is only changed here (allow lists for one of gitleaks' own) has no pattern.
            let lists = raw.allowlist.into_iter().chain(raw.allowlists);
            let lists: Vec<List> = lists.map(|list| self.list(list, &place)).collect();
            let (Some(regex), Some(path)) = (self.pattern(&raw.regex, &place), self.pattern(&raw.path, &place)) else {
                continue;
            };
            if regex.as_ref().is_some_and(|r| raw.secret_group >= r.captures_len()) {
                self.problems.push(format!("{place}: its pattern has no group {}", raw.secret_group));
                continue;
            }
            if regex.is_none() && path.is_none() {
                let id = raw.id.clone();
                self.lists.extend(lists.into_iter().map(|list| List { rules: vec![id.clone()], ..list }));
                continue;
            }
            if self.rules.len() >= RULES_MAX {
                self.problems
                    .push(format!("{name}: more than {RULES_MAX} rules; `{}` and what follows is not used", raw.id));
                break;
            }
            let words: Vec<String> = raw.keywords.iter().map(|k| k.to_ascii_lowercase()).collect();
            let keywords = AhoCorasick::builder().ascii_case_insensitive(true).build(&words).ok();
            let keywords = keywords.filter(|_| !words.is_empty());
            let (id, group, entropy) = (raw.id.into(), raw.secret_group, raw.entropy);
            self.rules.push(Rule { id, regex, group, entropy, path, keywords, lists });
        }
        for raw in file.allowlist.into_iter().chain(file.allowlists) {
            let list = self.list(raw, &format!("{name}, its allow list"));
            self.lists.push(list);
        }
        self.disabled.extend(file.extend.disabled_rules);
        if !file.extend.path.is_empty() && depth > 0 {
            self.file(file.extend.path.trim_start_matches("./"), text, depth - 1);
        }
    }

    fn list(&mut self, raw: RawList, place: &str) -> List {
        let mut all = |patterns: &[String]| -> Vec<Regex> {
            patterns.iter().filter_map(|pattern| self.pattern(pattern, place).flatten()).collect()
        };
        List {
            all: raw.condition.eq_ignore_ascii_case("and"),
            target: raw.regex_target,
            paths: all(&raw.paths),
            regexes: all(&raw.regexes),
            commits: raw.commits.iter().map(|c| c.to_ascii_lowercase()).collect(),
            words: raw.stopwords.iter().map(|w| w.to_lowercase()).collect(),
            rules: raw.target_rules,
        }
    }

    /// `None`: it cannot be read, which is noted; `Some(None)`: there is none.
    fn pattern(&mut self, pattern: &str, place: &str) -> Option<Option<Regex>> {
        if pattern.is_empty() {
            return Some(None);
        }
        let read = match pattern.len() > PATTERN_BYTES_MAX {
            true => Err(format!("its pattern is longer than {PATTERN_BYTES_MAX} bytes")),
            false => compiled(pattern),
        };
        match read {
            Ok(regex) => Some(Some(regex)),
            Err(why) => {
                self.problems.push(format!("{place}: {why}"));
                None
            }
        }
    }

    /// What the team's own rules find in a text.
    pub fn find(&self, text: &[u8], path: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        for rule in self.rules.iter().filter(|r| r.path.as_ref().is_none_or(|p| p.is_match(path.as_bytes()))) {
            let Some(regex) = &rule.regex else {
                // The file itself is what must not be there.
                hits.push(Hit { custom: Some(rule.id.clone()), ..hit("custom", OWN, 0..0, path) });
                continue;
            };
            if rule.keywords.as_ref().is_some_and(|words| !words.is_match(text)) {
                continue;
            }
            for found in regex.captures_iter(text).take(MATCHES_MAX) {
                let first = || found.iter().skip(1).flatten().find(|group| !group.is_empty());
                let group = match rule.group {
                    0 => first().or(found.get(0)),
                    nth => found.get(nth),
                };
                let (Some(group), Some(whole)) = (group, found.get(0)) else { continue };
                let Ok(secret) = std::str::from_utf8(group.as_bytes()) else { continue };
                let asked = Asked {
                    rule: &rule.id,
                    path,
                    line: line(text, whole.start()),
                    secret: secret.as_bytes(),
                    matched: whole.as_bytes(),
                    commit: None,
                };
                let random = rule.entropy == 0.0 || entropy(secret) > rule.entropy;
                if random && !secret.is_empty() && !rule.lists.iter().any(|list| list.covers(&asked)) {
                    hits.push(Hit { custom: Some(rule.id.clone()), ..hit("custom", OWN, group.range(), secret) });
                }
            }
        }
        hits
    }

    /// By what it is overlooked.
    pub fn overlooks(&self, asked: &Asked<'_>) -> Option<String> {
        let named = |rules: &[String]| rules.iter().any(|rule| is_same(rule, asked.rule));
        if named(&self.disabled) {
            return Some("the disabled rules of .gitleaks.toml".into());
        }
        let covers = |list: &List| (list.rules.is_empty() || named(&list.rules)) && list.covers(asked);
        self.lists.iter().any(covers).then(|| "the allow list of .gitleaks.toml".into())
    }
}

/// Who can revoke what a team's own rule finds.
const OWN: &str = "whoever issued it";

/// Is our rule what gitleaks calls by that name? Its generic rule is what ours know by a name and a value.
fn is_same(theirs: &str, ours: &str) -> bool {
    let stem = |id: &str| id.split('-').next().unwrap_or(id).to_string();
    theirs == ours
        || match theirs {
            "generic-api-key" => matches!(ours, "generic-secret" | "password"),
            "curl-auth-header" | "curl-auth-user" => ours == "basic-auth",
            "aws-access-token" => ours == "aws-access-key",
            "private-key" => ours == "encrypted-private-key",
            // `stripe-access-token` and `stripe-key`.
            _ => {
                let kinds = ["-token", "-key", "-pat", "-secret", "-webhook-url", "-webhook"];
                kinds.iter().any(|kind| theirs.ends_with(kind)) && stem(theirs) == stem(ours) && stem(ours) != "generic"
            }
        }
}

impl List {
    fn covers(&self, asked: &Asked<'_>) -> bool {
        let target = match self.target {
            Target::Secret => asked.secret,
            Target::Match => asked.matched,
            Target::Line => asked.line.as_bytes(),
        };
        let lower = String::from_utf8_lossy(asked.secret).to_lowercase();
        let is_commit = |hash: &str| self.commits.iter().any(|c| c.len() >= 7 && hash.starts_with(c.as_str()));
        let kinds = [
            (self.commits.is_empty(), asked.commit.is_some_and(is_commit)),
            (self.paths.is_empty(), self.paths.iter().any(|r| r.is_match(asked.path.as_bytes()))),
            (self.regexes.is_empty(), self.regexes.iter().any(|r| r.is_match(target))),
            (self.words.is_empty(), self.words.iter().any(|word| lower.contains(word))),
        ];
        let mut said = kinds.iter().filter(|(none, _)| !none).map(|(_, covers)| *covers).peekable();
        said.peek().is_some() && if self.all { said.all(|covers| covers) } else { said.any(|covers| covers) }
    }
}

/// The line around a place; of very long ones, what is near.
fn line(text: &[u8], at: usize) -> &str {
    const SIDE_BYTES_MAX: usize = 1_000;
    let from =
        text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1).max(at.saturating_sub(SIDE_BYTES_MAX));
    let to = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |end| at + end).min(at + SIDE_BYTES_MAX);
    text[from..to].utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    let plain = unbracketed(pattern);
    let build = |unicode: bool| {
        let mut builder = RegexBuilder::new(&plain);
        builder.unicode(unicode).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
    };
    // Go's classes are ASCII's; what names others needs Unicode.
    let error = match build(false).or_else(|_| build(true)) {
        Ok(regex) => return Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => return Err("its pattern is too large".into()),
        Err(error) => error.to_string(),
    };
    // The last line of the message says why; those above draw the pattern.
    let why = error.lines().last().unwrap_or_default().trim_start_matches("error:").trim().to_string();
    Err(format!("its pattern cannot be read: {why}"))
}

/// Brackets and doubled signs within a class are themselves in RE2, and operators here.
fn unbracketed(pattern: &str) -> String {
    let (mut out, mut within, mut chars) = (String::with_capacity(pattern.len()), false, pattern.chars().peekable());
    let mut first = false;
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
                first = false;
                continue;
            }
            '[' if !within => (within, first) = (true, true),
            '[' if next == Some(':') => {
                // A named class goes to its own bracket.
                out.push(c);
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
                first = false;
                continue;
            }
            '[' => out.push('\\'),
            // A bracket right behind the opening one is itself.
            ']' if within && first => out.push('\\'),
            ']' => within = false,
            '&' | '~' if within && next == Some(c) => out.push('\\'),
            '-' if within && next == Some('-') => out.push('\\'),
            _ => {}
        }
        first = within && (first && (c == '[' || c == '^'));
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests;
