//! Looks through one file: two automata find where a token may begin or a secret may be named, everything else happens
//! at those places. Pure; a value goes no further than a place in the text.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use super::assignment::{self, Form};
use super::checks::{self, Pem, entropy};
use super::curl;
use super::kubernetes;
use super::named;
use super::registry;
use super::rules::{Rule, rules};
use super::shape;
use super::values::is_placeholder;
use crate::domain::verdict::{Confidence, Severity};

/// A secret in a text: where, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    pub rule: &'static str,
    /// A rule of the team's own: `rule` is `custom` then.
    pub custom: Option<Arc<str>>,
    /// Who can revoke it.
    pub provider: &'static str,
    pub severity: Severity,
    pub confidence: Confidence,
    /// Its own structure says so, or that it is none; `None`: it has no structure to check.
    pub valid: Option<bool>,
    /// In bits per character, of the secret.
    pub entropy: f64,
    pub place: Range<usize>,
    /// It was written in base64, hex or percent signs: `place` is the whole of that.
    pub encoded: Option<&'static str>,
    /// The secret itself, for comparisons in memory.
    pub value: Value,
}

/// A secret's bytes: no `Display`, and `Debug` does not show them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Value(pub Vec<u8>);

impl Hit {
    /// The name of the rule that found it.
    pub fn name(&self) -> &str {
        self.custom.as_deref().unwrap_or(self.rule)
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// How a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    pub form: Form,
    /// What a browser is given: everybody reads it.
    pub served: bool,
    /// Names with values too; else only tokens that say what they are: lock files, minified code, binaries.
    pub names: bool,
    pub kind: Kind,
    pub people: People,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Code,
    /// Settings of the product.
    Config,
    /// It exists to hold a program's credentials: `.netrc`, `sftp-config.json`.
    Keeper,
}

/// For whom it is written: real keys live everywhere, but invented ones live in some places by the thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum People {
    /// Those who run it.
    Users,
    /// Examples and templates: invented values, and now and then somebody's own.
    Samples,
    /// Tests and what they work on.
    Tests,
    /// Documentation.
    Readers,
}

/// What an automaton's pattern stands for.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Shape(&'static Rule, usize),
    Pem,
    Putty,
    Url,
    Curl,
}

struct Automata {
    marks: Vec<Mark>,
    tokens: AhoCorasick,
    names: AhoCorasick,
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and every test of this gate builds the automata")]
static AUTOMATA: LazyLock<Automata> = LazyLock::new(|| {
    let shapes = rules().flat_map(|r| r.shapes.iter().enumerate().map(move |(i, s)| (s.0, Mark::Shape(r, i))));
    let others =
        [("-----BEGIN ", Mark::Pem), ("PuTTY-User-Key-File-", Mark::Putty), ("://", Mark::Url), ("curl ", Mark::Curl)];
    let (patterns, marks): (Vec<&str>, Vec<Mark>) = shapes.chain(others).unzip();
    let build = |patterns: &[&str], no_case: bool| {
        AhoCorasickBuilder::new()
            .kind(Some(AhoCorasickKind::DFA))
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(no_case)
            .build(patterns)
            .expect("constant patterns")
    };
    Automata { marks, tokens: build(&patterns, false), names: build(named::NAMES, true) }
});

/// Encodings within encodings that are looked into.
const DEPTH_MAX: u8 = 2;

/// Every secret of a file, in the order of their places, each place once.
pub(super) fn scan(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits = tokens(text, path, view);
    hits.extend(named::whole(text, path));
    hits.extend(kubernetes::secrets(text, path, view));
    if view.names {
        hits.extend(assigned(text, path, view));
    }
    hits.extend(encoded(text, path, view, DEPTH_MAX));
    // Those that know more come first, and hide what lies within them.
    hits.sort_by_key(|h| (std::cmp::Reverse((h.confidence, h.severity)), h.place.start));
    let mut kept: Vec<Hit> = Vec::new();
    for hit in hits {
        let known = |k: &Hit| k.place.start < hit.place.end && hit.place.start < k.place.end;
        if !kept.iter().any(known) {
            kept.push(hit);
        }
    }
    kept.sort_by_key(|h| h.place.start);
    // A registry's password stands in the address of each package.
    if registry::is_of_packages(path) {
        let mut told = HashSet::new();
        kept.retain(|h| !h.rule.starts_with("url-") || told.insert((h.rule, h.value.clone())));
    }
    if view.served {
        kept.iter_mut().for_each(told_to_all);
    }
    kept
}

/// What a browser gets, everybody has; but for keys that are made for browsers.
fn told_to_all(hit: &mut Hit) {
    let public = matches!(hit.rule, "gcp-api-key" | "newrelic-browser-key" | "jwt");
    if hit.severity == Severity::High && hit.confidence == Confidence::High && !public {
        hit.severity = Severity::Critical;
    }
}

/// Tokens that say what they are, keys, and URLs with passwords.
fn tokens(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits = Vec::new();
    for found in AUTOMATA.tokens.find_overlapping_iter(text) {
        let at = found.start();
        hits.extend(match AUTOMATA.marks[found.pattern().as_usize()] {
            Mark::Shape(rule, nth) => shaped(text, at, rule, nth).map(|hit| doubted(hit, text, view)),
            Mark::Pem => pem(text, at).map(|hit| key_of(hit, path, view)),
            Mark::Putty => putty(text, at).map(|hit| key_of(hit, path, view)),
            Mark::Url => {
                named::url(text, at, view).or_else(|| registry::url(text, at, path)).map(|hit| quieter(hit, text, view))
            }
            Mark::Curl => curl::user(text, at, view),
        });
    }
    hits
}

fn shaped(text: &[u8], at: usize, rule: &'static Rule, nth: usize) -> Option<Hit> {
    let (prefix, parts) = rule.shapes[nth];
    let (start, end) = shape::token(text, at, rule.before, prefix, parts)?;
    let token = std::str::from_utf8(&text[start..end]).ok()?;
    let body = token.get(prefix.len()..).unwrap_or(token);
    // Sixteen digits can say no more than four bits each, and twenty of them say three.
    let hex = body.bytes().all(|b| b.is_ascii_hexdigit());
    let least = if hex { rule.entropy_min.min(2.3) } else { rule.entropy_min };
    if entropy(body) < least || is_placeholder(body) {
        return None;
    }
    let valid = rule.check.of(token, prefix);
    // Invented ones have the shape but not the checksum; formats change, so a person has to look.
    let (severity, confidence) = match valid {
        Some(false) => (rule.severity.min(Severity::Medium), Confidence::Medium),
        _ => (rule.severity, Confidence::High),
    };
    if rule.id == "jwt" && valid == Some(false) {
        return None;
    }
    Some(Hit { severity, confidence, valid, ..hit(rule.id, rule.provider, start..end, token) })
}

/// With what most have: high severity and confidence, nothing checked.
pub(super) fn hit(rule: &'static str, provider: &'static str, place: Range<usize>, value: &str) -> Hit {
    Hit {
        rule,
        custom: None,
        provider,
        severity: Severity::High,
        confidence: Confidence::High,
        valid: None,
        entropy: entropy(value),
        place,
        encoded: None,
        value: Value(value.as_bytes().to_vec()),
    }
}

/// Samples of signed tokens and of hashes belong into tests and documentation.
fn doubted(hit: Hit, text: &[u8], view: View) -> Hit {
    let aside = view.people != People::Users || view.kind == Kind::Code && is_comment(text, hit.place.start);
    let sample = aside && hit.severity == Severity::Medium;
    Hit { confidence: if sample { Confidence::Low } else { hit.confidence }, ..hit }
}

/// A test's server has a key of its own. Keys that people log in with are told even there.
fn key_of(hit: Hit, path: &str, view: View) -> Hit {
    let name = path.rsplit(['/', '!']).next().unwrap_or(path);
    let own = name.starts_with("id_") || name.ends_with(".ppk") || name.ends_with(".json");
    let confidence = match view.people {
        People::Users | People::Samples => hit.confidence,
        People::Tests if !own => Confidence::Low,
        _ => Confidence::Medium,
    };
    Hit { confidence, ..hit }
}

/// What a comment in a program shows is an example more often than not, and so is a password in one of settings.
fn quieter(hit: Hit, text: &[u8], view: View) -> Hit {
    let confidence = match hit.confidence {
        Confidence::High => Confidence::Medium,
        _ => Confidence::Low,
    };
    let thought_up = hit.rule == "password" && hit.confidence == Confidence::Medium;
    let aside = (view.kind == Kind::Code || thought_up) && is_comment(text, hit.place.start);
    Hit { confidence: if aside { confidence } else { hit.confidence }, ..hit }
}

/// Is the line one of a comment, as far as its beginning tells?
fn is_comment(text: &[u8], at: usize) -> bool {
    const LOOKED_AT: usize = 400;
    let before = &text[at.saturating_sub(LOOKED_AT)..at];
    let Some(begins) = before.iter().rposition(|b| *b == b'\n').map(|end| end + 1).or((at <= LOOKED_AT).then_some(0))
    else {
        return false;
    };
    let line = before[begins..].trim_ascii_start();
    ["//", "* ", "#", "/*", "-- ", "<!--", ">>>"].iter().any(|open| line.starts_with(open.as_bytes()))
}

fn pem(text: &[u8], at: usize) -> Option<Hit> {
    let head = &text[at..text.len().min(at + 64)];
    let label_end = head.windows(16).position(|w| w == b"PRIVATE KEY-----" || w == b"PRIVATE KEY BLOC")?;
    // Another `-----` before it: the label of something else.
    if head["-----BEGIN ".len()..label_end.max("-----BEGIN ".len())].contains(&b'-') {
        return None;
    }
    let lossy = text_from(text, at, 20 * 1024);
    let (kind, length) = checks::pem(&lossy);
    let (severity, valid) = match kind {
        Pem::Clear => (Severity::Critical, Some(true)),
        Pem::Encrypted => (Severity::Medium, Some(true)),
        Pem::Nothing => return None,
    };
    let place = at..text.len().min(at + length.max(head.len()));
    let rule = if kind == Pem::Encrypted { "encrypted-private-key" } else { "private-key" };
    Some(Hit { severity, valid, ..hit(rule, "whoever trusts it", place, &lossy[..length.min(lossy.len())]) })
}

fn putty(text: &[u8], at: usize) -> Option<Hit> {
    let body = text_from(text, at, 20 * 1024);
    // `PuTTY-User-Key-File-2: ssh-rsa`; a program that looks for it goes on otherwise.
    body.get("PuTTY-User-Key-File-".len() + 1..)?.strip_prefix(": ")?;
    let clear = body.lines().nth(1)?.trim() == "Encryption: none" && body.contains("Private-Lines:");
    let severity = if clear { Severity::Critical } else { Severity::Medium };
    let rule = if clear { "private-key" } else { "encrypted-private-key" };
    let end = text.len().min(at + body.len());
    Some(Hit { severity, valid: Some(true), ..hit(rule, "whoever trusts it", at..end, &body) })
}

fn text_from(text: &[u8], at: usize, bytes_max: usize) -> Cow<'_, str> {
    String::from_utf8_lossy(&text[at..text.len().min(at + bytes_max)])
}

/// Names with values.
fn assigned(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::new();
    let mut last = usize::MAX;
    for found in AUTOMATA.names.find_overlapping_iter(text) {
        // A quote may stand before the name that was looked for.
        let at = found.start() + usize::from(text[found.start()] == b'"');
        let Some(of) = assignment::around(text, at, view.form) else { continue };
        // `secret_access_token` is found three times.
        if of.value.is_empty() || std::mem::replace(&mut last, of.value.start) == of.value.start {
            continue;
        }
        let (Ok(name), Ok(value)) =
            (std::str::from_utf8(&text[of.name.clone()]), std::str::from_utf8(&text[of.value.clone()]))
        else {
            continue;
        };
        hits.extend(named::judge(name, value, of.value.clone(), path, view).map(|hit| quieter(hit, text, view)));
    }
    hits
}

/// Shortest encoded text that could hold a token.
const ENCODED_BYTES_MIN: usize = 32;
const ENCODED_BYTES_MAX: usize = 64 * 1024;

/// Secrets in base64, hex or percent signs.
fn encoded(text: &[u8], path: &str, view: View, depth: u8) -> Vec<Hit> {
    let mut hits = Vec::new();
    if depth == 0 {
        return hits;
    }
    let mut start = 0;
    for at in 0..=text.len() {
        if at < text.len() && IN_RUN[usize::from(text[at])] {
            continue;
        }
        if (ENCODED_BYTES_MIN..=ENCODED_BYTES_MAX).contains(&(at - start)) {
            hits.extend(decoded(&text[start..at], path, view, depth, start..at));
        }
        start = at + 1;
    }
    hits
}

/// Of what encoded texts are made.
static IN_RUN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] =
            b.is_ascii_alphanumeric() || b == b'+' || b == b'/' || b == b'=' || b == b'_' || b == b'-' || b == b'%';
        byte += 1;
    }
    table
};

fn decoded(run: &[u8], path: &str, view: View, depth: u8, place: Range<usize>) -> Option<Hit> {
    let run = std::str::from_utf8(run).ok()?;
    // `key=BASE64`: what stands before the sign is no part of it.
    let value = match run.trim_end_matches('=').rfind('=') {
        Some(at) => &run[at + 1..],
        None => run,
    };
    let (how, inner) = if value.contains('%') {
        ("percent signs", percent(value)?)
    } else if value.len() % 2 == 0 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
        ("hex", hex(value)?)
    } else {
        ("base64", checks::base64(value)?)
    };
    let printable = inner.iter().filter(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()).count();
    if inner.len() < 16 || printable * 20 < inner.len() * 19 {
        return None;
    }
    let mut found = tokens(&inner, path, view);
    if found.is_empty() {
        found = encoded(&inner, path, view, depth - 1);
    }
    // Signed tokens are base64 themselves, and their parts are not what leaked.
    let best = found.into_iter().filter(|h| h.rule != "jwt").max_by_key(|h| (h.confidence, h.severity))?;
    Some(Hit { place, encoded: Some(how), ..best })
}

fn percent(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
