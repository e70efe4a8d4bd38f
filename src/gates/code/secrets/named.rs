//! Secrets that only their name gives away: `DB_PASSWORD=…`, `"api_key": "…"`. Pure.

use std::ops::Range;

use super::checks::base64;
use super::cloud::has_random_part;
use super::scan::{Hit, Kind, People, View, hit};
use super::values::{
    is_escaped_text, is_hash, is_hex, is_placeholder, is_random, is_reference, is_strong, is_uuid, is_wordy,
};
use super::{files, headers};
use crate::domain::verdict::{Confidence, Severity};
use crate::gates::infrastructure::secret_values::{entropy, is_secret_name};

/// Words in names that are looked at; case does not matter.
pub(super) const NAMES: &[&str] = &[
    "pass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "api.key",
    "accesskey",
    "access_key",
    "access-key",
    "privatekey",
    "private_key",
    "credential",
    "auth_key",
    "authkey",
    "authorization",
    "encryption_key",
    "encryptionkey",
    "signing_key",
    "signingkey",
    "master_key",
    "masterkey",
    "account_key",
    "accountkey",
    "storage_key",
    "license_key",
    "connectionstring",
    "connection_string",
    "_auth",
    "\"auth\"",
    "cookie_key",
    "session_key",
    "salt",
    "shared_key",
    "nonce_key",
    "logged_in_key",
    "_key",
    "-key",
    "aeskey",
    "appkey",
    "hmackey",
    "presharedkey",
    "validationkey",
    "decryptionkey",
    "psk",
    "\"key\"",
    "\nkey ",
    "\nkey=",
    "\nkey:",
    "\"result\"",
    "\"data\"",
];

/// Names that [`is_secret_name`] does not know: it knows those of settings.
const OWN_NAMES: &[&str] =
    &["secretkey", "aeskey", "appkey", "hmackey", "presharedkey", "validationkey", "decryptionkey", "psk"];

/// Looked for longer values than anybody writes.
const VALUE_BYTES_MIN: usize = 6;
const VALUE_BYTES_MAX: usize = 300;
/// Of a session of AWS.
const TOKEN_BYTES_MAX: usize = 1_300;

/// What manuals sign sessions and tokens with, and a forger tries first.
const PUBLISHED: &[&str] = &["keyboard cat", "keyboardcat", "shhhhh", "shhhhhared-secret", "your-256-bit-secret"];

/// Is the value given to this name a secret?
pub(super) fn judge(name: &str, value: &str, place: Range<usize>, path: &str, view: View) -> Option<Hit> {
    let session = name.to_ascii_lowercase().ends_with("token");
    let most = if session { TOKEN_BYTES_MAX } else { VALUE_BYTES_MAX };
    if !(VALUE_BYTES_MIN..=most).contains(&value.len()) || !value.is_ascii() {
        return None;
    }
    // A hash has a rule of its own.
    if is_hash(value) || is_escaped_text(value) {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    if view.people == People::Users && lower.ends_with("secret") && PUBLISHED.contains(&value) {
        let found = hit("published-secret", "whoever runs the program", place, value);
        return Some(Hit { confidence: Confidence::Medium, ..found });
    }
    // What a manifest gives a machine is what the machine gets, weak as it may be.
    let stored =
        lower == "secret_string" && value.bytes().filter(u8::is_ascii_digit).count() >= 3 && !value.contains(' ');
    let given = path.ends_with(".tf")
        && view.people == People::Users
        && (stored || lower.ends_with("password") && is_chosen(value));
    if given && !is_reference(value) {
        return Some(Hit { confidence: Confidence::Medium, ..hit("password", "whoever issued it", place, value) });
    }
    // WordPress' salts have every printable character, the space too.
    let noise =
        value.len() >= 48 && entropy(value) >= 4.8 && value.bytes().filter(u8::is_ascii_punctuation).count() >= 8;
    if !noise
        && (is_reference(value)
            || is_placeholder(value)
            || value.contains(char::is_whitespace) && !name.to_ascii_lowercase().ends_with("authorization"))
    {
        return None;
    }
    if let Some(basic) = headers::authorization(name, value, place.clone(), path) {
        let sample = view.people != People::Users;
        return Some(Hit { confidence: if sample { Confidence::Low } else { basic.confidence }, ..basic });
    }
    let short = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase().replace('-', "_");
    let short = short.trim_start_matches('_');
    if !(named_so(name, short, value) || named_by_place(short, value, path)) || is_harmless(short) {
        return None;
    }
    if let Some((rule, provider)) = known(name, value, path) {
        let aside = matches!(view.people, People::Tests | People::Readers | People::Prose);
        let confidence = if aside { Confidence::Medium } else { Confidence::High };
        return Some(Hit { severity: Severity::Critical, confidence, ..hit(rule, provider, place, value) });
    }
    // Many services' tokens are UUIDs; in programs most of them are numbers of something.
    let issued = ["token", "api_key", "apikey", "password", "secret"].iter().any(|end| short.ends_with(end));
    if is_uuid(value) && (view.kind == Kind::Code || !issued) || value.to_ascii_lowercase().contains(short) {
        return None;
    }
    let password = short.contains("pass") || short.contains("pwd") || matches!(short, "psk" | "result");
    let phrase = (issued && is_phrase(value)).then_some(Confidence::Medium);
    let confidence = confidence(value, password, noise, view.kind).max(phrase)?;
    // A pipeline's test database has an easy password; what it publishes with has not.
    let published =
        files::is_pipeline(&path.to_ascii_lowercase()) && value.len() >= 10 && is_strong(value) && !is_wordy(value);
    let confidence = if published { confidence.min(Confidence::Medium) } else { told_by(view.people, confidence) };
    let telling = ["secret", "pass", "pwd", "token", "credential"].iter().any(|w| short.contains(w));
    let severity = if telling || view.kind != Kind::Code { Severity::High } else { Severity::Medium };
    let rule = if password { "password" } else { "generic-secret" };
    Some(Hit { severity, confidence, ..hit(rule, "whoever issued it", place, value) })
}

/// A literal that stands where a password does, whatever it is called.
pub(super) fn given(value: &str, place: Range<usize>, view: View) -> Option<Hit> {
    let clear = (VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len())
        && value.is_ascii()
        && !is_reference(value)
        && !is_placeholder(value)
        && !value.contains(char::is_whitespace);
    let confidence = clear.then(|| confidence(value, true, false, view.kind))??;
    Some(Hit { confidence: told_by(view.people, confidence), ..hit("password", "the service it opens", place, value) })
}

/// A test's password for a test's database; a value to be replaced by the reader's own.
fn told_by(people: People, confidence: Confidence) -> Confidence {
    match (people, confidence) {
        (People::Users, confidence) => confidence,
        (People::Samples | People::Prose, Confidence::High) => Confidence::Medium,
        _ => Confidence::Low,
    }
}

/// Is it a secret by its name?
fn named_so(name: &str, short: &str, value: &str) -> bool {
    // The credentials of container registries.
    let registry = short == "auth" && is_random(value) && value.len() >= 24 && !value.contains('_');
    registry
        || is_secret_name(short)
        || is_secret_name(&name.replace('-', "_"))
        || short.ends_with("secret_key_base")
        || OWN_NAMES.iter().any(|own| short.replace('_', "").ends_with(own))
}

/// Names that say nothing but in some files: `key` of settings, `result` of a state.
fn named_by_place(short: &str, value: &str, path: &str) -> bool {
    const SETTINGS: [&str; 8] = ["config", "settings", "secret", "credential", ".ini", ".conf", ".properties", ".env"];
    let file = path.rsplit(['/', '!']).next().unwrap_or(path).to_ascii_lowercase();
    match short {
        "data" => {
            let plain = base64(value).and_then(|bytes| String::from_utf8(bytes).ok());
            let random = plain.map_or(is_random(value), |plain| has_random_part(&plain));
            path.split('/').any(|folder| folder == "secrets") && value.len() >= 24 && random
        }
        "result" => file.contains(".tfstate") && is_chosen(value),
        "key" => value.len() >= 24 && is_random(value) && SETTINGS.iter().any(|part| file.contains(part)),
        _ => false,
    }
}

/// `None`: it is no secret.
fn confidence(value: &str, password: bool, noise: bool, kind: Kind) -> Option<Confidence> {
    let random = noise || is_random(value) || is_uuid(value);
    let numbered = is_uuid(value) && kind != Kind::Keeper;
    if random && value.len() >= 20 && !numbered && (is_hex(value) || entropy(value) >= 3.8) {
        return Some(Confidence::High);
    }
    match kind {
        _ if random => Some(Confidence::Medium),
        // What stands there for a password is one.
        Kind::Keeper if password && is_password(value) => Some(Confidence::High),
        Kind::Keeper if password => Some(Confidence::Medium),
        Kind::Config if password && is_password(value) && !is_word_and_number(value) => Some(Confidence::Medium),
        _ if password && is_password(value) && !is_wordy(value) => Some(Confidence::Medium),
        // A word and a number: counted, and told where such things are collected.
        _ if password && is_password(value) => Some(Confidence::Low),
        // Base64 that happens to have no digit.
        _ if value.len() >= 16 && entropy(value) >= 3.4 && is_mixed(value) && !is_wordy(value) => Some(Confidence::Low),
        _ => None,
    }
}

/// Names that only sound like it.
fn is_harmless(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    [
        "pagetoken",
        "nexttoken",
        "continuationtoken",
        "csrftoken",
        "authenticitytoken",
        "xsrftoken",
        "synctoken",
        "canceltoken",
        "pushtoken",
        "tokentype",
    ]
    .iter()
    .any(|known| name.ends_with(known))
        || ["public", "publishable", "sitekey", "cachekey", "bypass", "compass", "hash", "digest"]
            .iter()
            .any(|part| name.contains(part))
}

/// What a person thinks up: letters with digits or signs, not a phrase of a program.
fn is_password(value: &str) -> bool {
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    let others = value.bytes().filter(|b| b.is_ascii_digit() || b"!@#$%^&*+?=".contains(b)).count();
    let code = value.contains(['(', ')', '{', '}', '<', '>', '[', ']', '\\', '|', ';']);
    value.len() >= 7 && letters >= 2 && others >= 1 && !code && entropy(value) >= 2.5
}

/// Capitals and small letters, and nothing of a program.
fn is_mixed(value: &str) -> bool {
    let has = |class: fn(&u8) -> bool| value.bytes().any(|b| class(&b));
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b));
    plain && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

/// Words and a number, as people make keys up: `BlueFalconRides2023`.
fn is_phrase(value: &str) -> bool {
    let digits = value.bytes().rev().take_while(u8::is_ascii_digit).count();
    let has = |class: fn(&u8) -> bool| value.bytes().any(|b| class(&b));
    value.len() >= 14
        && (3..=6).contains(&digits)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && value.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `postgres1`, `admin123`: what stands in a thousand compose files.
fn is_word_and_number(value: &str) -> bool {
    let word = value.trim_end_matches(|c: char| c.is_ascii_digit());
    value.len() < 10 && word.bytes().all(|b| b.is_ascii_alphabetic()) || value.contains(['/', ':', '.', ',', '_'])
}

/// As a person chooses it: small letters and digits, with capitals or signs; not what the documentation of a cloud says.
fn is_chosen(value: &str) -> bool {
    let has = |class: fn(&u8) -> bool| value.bytes().any(|b| class(&b));
    let lower = value.to_ascii_lowercase();
    let told = ["example", "change", "your", "placeholder", "replace", "dummy"].iter().any(|word| lower.contains(word));
    let signs = value.bytes().any(|b| b.is_ascii_uppercase() || b"@#!$%^&*".contains(&b));
    value.len() >= 8 && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit) && signs && !told
}

/// Files that are a secret as a whole, or of lines that are.
pub(super) fn whole(text: &[u8], path: &str, view: View) -> Option<Hit> {
    let name = path.rsplit(['/', '!']).next().unwrap_or(path);
    let text = std::str::from_utf8(text.get(..text.len().min(4096))?).ok()?;
    let rails = name == "master.key" || path.contains("config/credentials/") && name.ends_with(".key");
    let key = text.trim();
    // Jenkins' master.key has 256 digits.
    if rails && matches!(key.len(), 32 | 256) && is_hex(key) {
        let rule = if key.len() == 32 { "rails-key" } else { "jenkins-key" };
        let found = hit(rule, "whoever has the credentials file", 0..key.len(), key);
        let confidence = told_by(view.people, Confidence::High);
        return Some(Hit { severity: Severity::Critical, confidence, ..found });
    }
    if !matches!(name, ".pgpass" | "pgpass.conf") {
        return None;
    }
    // host:port:database:user:password; a backslash keeps a colon from being one.
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let fields: Vec<&str> = line.trim_end().splitn(5, ':').collect();
        if let ([_, _, _, _, password], false) = (&fields[..], line.starts_with('#'))
            && !password.is_empty()
        {
            let start = at + line.trim_end().len() - password.len();
            return Some(hit("password", "the database it opens", start..start + password.len(), password));
        }
        at += line.len();
    }
    None
}

/// Formats without a prefix, by name and length.
fn known(name: &str, value: &str, path: &str) -> Option<(&'static str, &'static str)> {
    let name = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let base64 = |n: usize| value.len() == n && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    let about = |what: &str| name.contains(what) || path.to_ascii_lowercase().contains(what);
    if base64(40)
        && (name.contains("secretaccesskey")
            || name.contains("aws") && name.contains("secret")
            || name == "secretkey" && about("s3"))
        && entropy(value) >= 4.0
    {
        return Some(("aws-secret-key", "AWS"));
    }
    if is_uuid(value) && about("heroku") && (name.contains("key") || name.contains("token")) {
        return Some(("heroku-key", "Heroku"));
    }
    if base64(88) && value.ends_with("==") && name.ends_with("accountkey") {
        return Some(("azure-storage-key", "Azure"));
    }
    if value.len() == 34 && value.starts_with("SK") && is_hex(&value[2..]) && about("twilio")
        || value.len() == 32 && is_hex(value) && name.contains("twilio")
    {
        return Some(("twilio-key", "Twilio"));
    }
    if value.len() == 36 && value.starts_with("key-") && is_hex(&value[4..]) {
        return Some(("mailgun-key", "Mailgun"));
    }
    let mailchimp =
        value.split_once("-us").is_some_and(|(key, place)| key.len() == 32 && is_hex(key) && place.len() <= 2);
    mailchimp.then_some(("mailchimp-key", "Mailchimp"))
}
