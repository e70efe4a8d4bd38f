//! Which fields of an answer nobody outside may see: by name, and by the shape of the value. Values never leave this file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;

use crate::domain::verdict::{Confidence, Severity};

/// Nodes of one answer that are looked at.
const NODES_MAX: usize = 200_000;
const DEPTH_MAX: usize = 32;
/// Addresses of one answer that are told apart.
const EMAILS_MAX: usize = 1000;

/// A field that should not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leak {
    /// What the value is: `bcrypt hash`, `secret by its name`.
    pub(super) shape: &'static str,
    pub(super) severity: Severity,
    pub(super) confidence: Confidence,
    /// How often in this answer.
    pub(super) times: u64,
}

struct Shape {
    what: &'static str,
    pattern: Regex,
}

/// Values that are secret whatever their field is called.
static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shape = |what, pattern: &str| Shape { what, pattern: Regex::new(pattern).expect("fixed") };
    vec![
        shape("bcrypt hash", r"^\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}$"),
        shape("argon2 hash", r"^\$?argon2(?:id|i|d)?\$"),
        shape("scrypt hash", r"^(?:\$scrypt\$|\$7\$|scrypt:\d+:\d+:\d+\$)"),
        shape("PBKDF2 hash", r"^(?:\$?pbkdf2[_:-]sha\d+[$:])"),
        shape("crypt hash", r"^\$[156]\$[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{22,}$"),
        shape("LDAP hash", r"^\{(?:SSHA|SHA|MD5|CRYPT)(?:\d+)?\}[A-Za-z0-9+/=$./]{16,}$"),
        shape("private key", r"^-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
        shape("live key", r"^(?:sk_live_|rk_live_|ghp_|gho_|xox[bp]-|AKIA[A-Z0-9]{16}$)"),
    ]
});

/// Names that say so themselves, without case, `_` and `-`.
const NAMES: [(&[&str], &str); 6] = [
    (
        &[
            "password",
            "passwd",
            "pwd",
            "passwordhash",
            "hashedpassword",
            "passwordhashed",
            "passhash",
            "pwdhash",
            "passworddigest",
            "encryptedpassword",
            "passwordsalt",
            "salt",
        ],
        "password or what guards it",
    ),
    (&["secret", "clientsecret", "secretkey", "privatekey", "signingkey", "encryptionkey", "webhooksecret"], "secret"),
    (
        &[
            "apikey",
            "accesskey",
            "secretaccesskey",
            "resettoken",
            "passwordresettoken",
            "refreshtoken",
            "rememberToken",
            "remembertoken",
            "confirmationtoken",
            "sessiontoken",
            "sessionid",
        ],
        "credential",
    ),
    (
        &["otp", "otpsecret", "totpsecret", "mfasecret", "twofactorsecret", "recoverycodes", "backupcodes"],
        "second factor",
    ),
    (&["ssn", "socialsecuritynumber", "taxid", "nationalid"], "identity number"),
    (&["cardnumber", "creditcard", "creditcardnumber", "cvv", "cvc", "pan"], "card"),
];

/// May be what the caller needs; told when it looks like a credential.
const TOKENS: [&str; 5] = ["token", "accesstoken", "authtoken", "idtoken", "jwt"];

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Is there a value worth hiding? Flags, gaps and masks are none.
fn is_filled(value: &Json) -> bool {
    match value {
        Json::String(text) => {
            let text = text.trim();
            let masked = text.chars().all(|c| matches!(c, '*' | '•' | 'x' | 'X' | '.' | '-'))
                || text.contains("***")
                || text.contains("•••")
                || text.starts_with('[')
                || text.starts_with('<');
            !text.is_empty() && !masked
        }
        Json::Number(_) => true,
        Json::Array(items) => items.iter().any(is_filled),
        _ => false,
    }
}

fn judged(name: &str, value: &Json) -> Option<(&'static str, Severity, Confidence)> {
    if let Json::String(text) = value
        && let Some(shape) = SHAPES.iter().find(|s| s.pattern.is_match(text.trim()))
    {
        return Some((shape.what, Severity::Critical, Confidence::High));
    }
    let name = plain(name);
    if let Some((_, what)) = NAMES.iter().find(|(names, _)| names.contains(&name.as_str())) {
        let digits = |v: &Json| v.as_str().is_some_and(|t| t.chars().filter(char::is_ascii_digit).count() >= 3);
        let fits = match *what {
            "identity number" | "card" => value.is_number() || digits(value),
            _ => is_filled(value),
        };
        return fits.then_some((*what, Severity::High, Confidence::High));
    }
    let long = value.as_str().is_some_and(|t| t.len() >= 20 && !t.contains(char::is_whitespace));
    (TOKENS.contains(&name.as_str()) && long).then_some(("token", Severity::Medium, Confidence::Medium))
}

/// What an answer holds that it should not, by the field's path (`users[].password_hash`), and all its field paths.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) leaks: BTreeMap<String, Leak>,
    /// Different e-mail addresses inside of lists.
    pub(super) emails: usize,
}

pub(super) fn look(answer: &Json) -> Fields {
    let mut out = Fields::default();
    let mut emails = std::collections::BTreeSet::new();
    let mut todo: Vec<(String, String, &Json, usize, bool)> = vec![(String::new(), String::new(), answer, 0, false)];
    let mut nodes = 0;
    while let Some((path, name, value, depth, in_list)) = todo.pop() {
        nodes += 1;
        if nodes > NODES_MAX || depth > DEPTH_MAX {
            continue;
        }
        if let Some((shape, severity, confidence)) = (!name.is_empty()).then(|| judged(&name, value)).flatten() {
            let leak = out.leaks.entry(path.clone()).or_insert(Leak { shape, severity, confidence, times: 0 });
            leak.times += 1;
            continue;
        }
        match value {
            Json::Object(map) => {
                for (key, inner) in map {
                    let key: String = key.chars().filter(|c| !c.is_control()).take(60).collect();
                    let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    todo.push((at, key, inner, depth + 1, in_list));
                }
            }
            Json::Array(items) => {
                for item in items {
                    todo.push((format!("{path}[]"), name.clone(), item, depth + 1, true));
                }
            }
            Json::String(text)
                if in_list && plain(&name).ends_with("email") && text.contains('@') && emails.len() < EMAILS_MAX =>
            {
                emails.insert(text.as_str());
            }
            _ => {}
        }
    }
    out.emails = emails.len();
    out
}

/// Paths of an answer that its documented schema does not know; nothing when the schema names no property.
pub(super) fn undocumented(answer: &Json, schema: &Json) -> Vec<String> {
    let mut out = std::collections::BTreeSet::new();
    beyond(answer, schema, "", 0, &mut out);
    out.into_iter().collect()
}

fn beyond(value: &Json, schema: &Json, path: &str, depth: usize, out: &mut std::collections::BTreeSet<String>) {
    // A choice of schemas would have to be resolved first.
    if depth > DEPTH_MAX || out.len() > 50 || ["oneOf", "anyOf", "allOf"].iter().any(|k| schema[*k].is_array()) {
        return;
    }
    match value {
        Json::Array(items) => {
            for item in items.iter().take(20) {
                beyond(item, &schema["items"], &format!("{path}[]"), depth + 1, out);
            }
        }
        Json::Object(map) => {
            let Some(known) = schema["properties"].as_object().filter(|p| !p.is_empty()) else { return };
            if schema["additionalProperties"] == true || schema["additionalProperties"].is_object() {
                return;
            }
            for (key, inner) in map {
                let key_shown: String = key.chars().filter(|c| !c.is_control()).take(60).collect();
                let at = if path.is_empty() { key_shown } else { format!("{path}.{key_shown}") };
                match known.get(key) {
                    Some(own) => beyond(inner, own, &at, depth + 1, out),
                    None => {
                        out.insert(at);
                    }
                }
            }
        }
        _ => {}
    }
}

/// The list that an answer is, or holds: where it stands, how many items it has.
pub(super) fn list(answer: &Json) -> Option<(String, u64)> {
    match answer {
        Json::Array(items) => Some(("[]".into(), items.len() as u64)),
        Json::Object(map) => {
            let inner = |(key, value): (&String, &Json)| match value {
                Json::Array(items) if items.iter().all(Json::is_object) && !items.is_empty() => {
                    Some((format!("{key}[]"), items.len() as u64))
                }
                Json::Object(deeper) if key == "data" || key == "_embedded" => deeper.iter().find_map(|(k, v)| {
                    v.as_array().filter(|i| !i.is_empty()).map(|i| (format!("{key}.{k}[]"), i.len() as u64))
                }),
                _ => None,
            };
            map.iter().filter_map(inner).max_by_key(|(_, n)| *n)
        }
        _ => None,
    }
}
