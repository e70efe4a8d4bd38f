//! Looks through one file: two automata find where a token may begin or a secret may be named, everything else happens
//! at those places. Pure; a value goes no further than a place in the text.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

use super::assignment::{self, Form};
use super::checks::{self, Check, Pem, entropy};
use super::commands::{self, COMMANDS};
use super::rules::{Rule, rules};
use super::seams::{self, Joined};
use super::shape;
use super::values::is_placeholder;
use super::{cloud, curl, encodings, files, hashes, headers, kubernetes, named, pairs, registry, urls};
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
    /// A text beside the sources: `README.md`, a runbook.
    Prose,
}

/// What an automaton's pattern stands for.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Shape(&'static Rule, usize),
    Pem,
    Putty,
    Url,
    Curl,
    Command(usize),
    /// A scheme of authorization.
    Scheme(&'static str),
    Signature,
    Oracle,
    /// `Secret Access Key` in prose, and the id that a table has before it.
    CloudName(usize),
    Decoded,
    /// Between two literals, and behind a list of them.
    Seam,
    List,
}

/// Where a look is worth it, besides tokens' prefixes and commands.
const MARKS: [(&str, Mark); 26] = [
    ("-----BEGIN ", Mark::Pem),
    ("PuTTY-User-Key-File-", Mark::Putty),
    ("://", Mark::Url),
    ("curl ", Mark::Curl),
    ("Bearer ", Mark::Scheme("Bearer ")),
    ("bearer ", Mark::Scheme("bearer ")),
    ("Basic ", Mark::Scheme("Basic ")),
    ("sig=", Mark::Signature),
    ("jdbc:oracle:thin:", Mark::Oracle),
    ("Secret Access Key", Mark::CloudName(17)),
    ("Secret access key", Mark::CloudName(17)),
    ("AKIA", Mark::CloudName(20)),
    ("| base64 -d", Mark::Decoded),
    ("| base64 -D", Mark::Decoded),
    ("| base64 --decode", Mark::Decoded),
    ("' + '", Mark::Seam),
    ("\" + \"", Mark::Seam),
    ("'+'", Mark::Seam),
    ("\"+\"", Mark::Seam),
    ("' +\n", Mark::Seam),
    ("\" +\n", Mark::Seam),
    ("' . '", Mark::Seam),
    ("\" . \"", Mark::Seam),
    ("].join('')", Mark::List),
    ("].join(\"\")", Mark::List),
    ("] join ''", Mark::List),
];

struct Automata {
    marks: Vec<Mark>,
    tokens: AhoCorasick,
    names: AhoCorasick,
}

#[expect(clippy::expect_used, reason = "the patterns are constants, and every test of this gate builds the automata")]
static AUTOMATA: LazyLock<Automata> = LazyLock::new(|| {
    let shapes = rules().flat_map(|r| r.shapes.iter().enumerate().map(move |(i, s)| (s.0, Mark::Shape(r, i))));
    let commands = COMMANDS.iter().enumerate().map(|(nth, (head, _))| (*head, Mark::Command(nth)));
    let (patterns, marks): (Vec<&str>, Vec<Mark>) = shapes.chain(MARKS).chain(commands).unzip();
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

/// Every secret of a file, in the order of their places, each place once.
pub(super) fn scan(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits = tokens(text, path, view);
    hits.extend(named::whole(text, path, view));
    hits.extend(kubernetes::secrets(text, path, view));
    hits.extend(hashes::rows(text, path, view));
    if view.names {
        hits.extend(assigned(text, path, view));
    }
    hits.extend(encodings::encoded(text, path, view, encodings::DEPTH_MAX));
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
    for hit in kept.iter_mut().filter(|hit| hit.rule == "aws-access-key" && has_signed(text, hit)) {
        hit.confidence = Confidence::Low;
    }
    // A page that a test keeps is somebody else's, and everybody has it.
    if files::is_page(path) && files::suite(path).is_some() {
        kept.iter_mut().for_each(|hit| hit.confidence = hit.confidence.min(Confidence::Medium));
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
pub(super) fn tokens(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits = Vec::new();
    for found in AUTOMATA.tokens.find_overlapping_iter(text) {
        let at = found.start();
        hits.extend(match AUTOMATA.marks[found.pattern().as_usize()] {
            Mark::Shape(rule, nth) => shaped(text, at, rule, nth).map(|hit| doubted(hit, text, view)),
            Mark::Pem => pem(text, at).map(|hit| key_of(hit, path, view)),
            Mark::Putty => putty(text, at).map(|hit| key_of(hit, path, view)),
            Mark::Url => {
                urls::url(text, at, view).or_else(|| registry::url(text, at, path)).map(|hit| quieter(hit, text, view))
            }
            Mark::Curl => curl::user(text, at, view),
            Mark::CloudName(length) => cloud::secret(text, at + length, view),
            Mark::Decoded => cloud::decoded(text, at, view),
            Mark::Signature => urls::signature(text, at),
            Mark::Oracle => urls::oracle(text, at, view),
            Mark::Scheme(scheme) => headers::said(text, at, scheme, view).map(|hit| quieter(hit, text, view)),
            Mark::Command(nth) if view.names => {
                commands::password(text, at, COMMANDS[nth], view).map(|hit| quieter(hit, text, view))
            }
            Mark::Command(_) => None,
            Mark::Seam => seams::summed(text, at).and_then(|joined| put_together(&joined, path, view)),
            Mark::List => seams::listed(text, at).and_then(|joined| put_together(&joined, path, view)),
        });
    }
    hits
}

/// A token in literals that a program joins; nothing is joined in what was joined.
fn put_together(joined: &Joined, path: &str, view: View) -> Option<Hit> {
    let found = tokens(joined.text.as_bytes(), path, view);
    let best = found.into_iter().max_by_key(|h| (h.confidence, h.severity))?;
    Some(Hit { place: joined.place.clone(), ..best })
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
    // Their prefixes alone say next to nothing.
    if matches!(rule.check, Check::Jwt | Check::Snowflake) && valid == Some(false) {
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
    let aside = view.people != People::Users || is_comment(text, hit.place.start);
    let sample = aside && hit.severity == Severity::Medium;
    Hit { confidence: if sample { Confidence::Low } else { hit.confidence }, ..hit }
}

/// The public half of a key, in an address that it has signed, percent signs or not.
fn has_signed(text: &[u8], hit: &Hit) -> bool {
    const LONGEST: usize = "X-Amz-Credential=".len();
    let near = &text[hit.place.start.saturating_sub(LONGEST)..hit.place.end];
    ["AWSAccessKeyId=", "Amz-Credential="].iter().any(|name| near.windows(name.len()).any(|at| at == name.as_bytes()))
}

/// A test's server has a key of its own. Keys that people log in with are told even there.
fn key_of(hit: Hit, path: &str, view: View) -> Hit {
    let name = path.rsplit(['/', '!']).next().unwrap_or(path);
    let own = name.starts_with("id_") || name.ends_with(".ppk") || name.ends_with(".json");
    let confidence = match view.people {
        People::Users | People::Samples => hit.confidence,
        People::Tests if !own => Confidence::Low,
        // What a manual shows.
        People::Readers if files::is_prose(name) => Confidence::Low,
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
    // C's, and the registries of `.npmrc`.
    if line.starts_with(b"#define") || line.starts_with(b"//") && line.windows(3).any(|three| three == b"/:_") {
        return false;
    }
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
        // A quote or a line's end may stand before the name that was looked for.
        let at = found.start() + usize::from(b"\"\n".contains(&text[found.start()]));
        let beside = |name: Range<usize>| pairs::value(text, &name).map(|value| (name, value, false));
        let around = || assignment::around(text, at, view.form).map(|of| (of.name, of.value, of.quoted));
        let Some((name, value, quoted)) = beside(assignment::name(text, at)).or_else(around) else { continue };
        // `secret_access_token` is found three times.
        if value.is_empty() || std::mem::replace(&mut last, value.start) == value.start {
            continue;
        }
        let joined = quoted.then(|| seams::goes_on(text, &value)).flatten();
        let name = std::str::from_utf8(&text[name]).unwrap_or_default();
        let hit = match &joined {
            Some(Joined { text, place }) => named::judge(name, text, place.clone(), path, view),
            None => match std::str::from_utf8(&text[value.clone()]) {
                Ok(one) => named::judge(name, one, value, path, view),
                Err(_) => None,
            },
        };
        hits.extend(hit.map(|hit| quieter(hit, text, view)));
    }
    hits
}
