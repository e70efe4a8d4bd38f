//! Secrets that only their name gives away: `DB_PASSWORD=…`, `"api_key": "…"`, `https://user:…@host`. Pure.

use std::ops::Range;

use super::scan::{Hit, Kind, People, View, hit};
use super::values::{is_hex, is_placeholder, is_random, is_reference, is_uuid, is_wordy};
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
];

/// Looked for longer values than anybody writes.
const VALUE_BYTES_MIN: usize = 6;
const VALUE_BYTES_MAX: usize = 300;

/// Is the value given to this name a secret?
pub(super) fn judge(name: &str, value: &str, place: Range<usize>, path: &str, view: View) -> Option<Hit> {
    if !(VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value.len()) || !value.is_ascii() {
        return None;
    }
    // What a manifest gives a machine is what the machine gets, weak as it may be.
    let given =
        path.ends_with(".tf") && view.people == People::Users && name.to_ascii_lowercase().ends_with("password");
    if given && is_chosen(value) && !is_reference(value) {
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
    if let Some(basic) = authorization(name, value, place.clone(), path) {
        let sample = view.people != People::Users;
        return Some(Hit { confidence: if sample { Confidence::Low } else { basic.confidence }, ..basic });
    }
    let short = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    // The credentials of container registries.
    let registry = short == "auth" && is_random(value) && value.len() >= 24;
    let secret = registry || is_secret_name(&short) || is_secret_name(name) || short.ends_with("secret_key_base");
    if !secret || is_harmless(&short) {
        return None;
    }
    if let Some((rule, provider)) = known(name, value, path) {
        let confidence = if view.people == People::Tests { Confidence::Medium } else { Confidence::High };
        return Some(Hit { severity: Severity::Critical, confidence, ..hit(rule, provider, place, value) });
    }
    let lower = value.to_ascii_lowercase();
    // Tokens of registries were UUIDs once.
    if is_uuid(value) && !(view.kind == Kind::Keeper && short.ends_with("authtoken")) || lower.contains(&*short) {
        return None;
    }
    let password = short.contains("pass") || short.contains("pwd");
    let confidence = confidence(value, password, noise, view.kind)?;
    let confidence = match (view.people, confidence) {
        (People::Users, confidence) => confidence,
        (People::Samples, Confidence::High) => Confidence::Medium,
        // A test's password for a test's database; a value to be replaced by the reader's own.
        _ => Confidence::Low,
    };
    let telling = ["secret", "pass", "pwd", "token", "credential"].iter().any(|w| short.contains(w));
    let severity = if telling || view.kind != Kind::Code { Severity::High } else { Severity::Medium };
    let rule = if password { "password" } else { "generic-secret" };
    Some(Hit { severity, confidence, ..hit(rule, "whoever issued it", place, value) })
}

/// `None`: it is no secret.
fn confidence(value: &str, password: bool, noise: bool, kind: Kind) -> Option<Confidence> {
    let random = noise || is_random(value) || is_uuid(value);
    if random && value.len() >= 20 && (is_hex(value) || entropy(value) >= 3.8) {
        return Some(Confidence::High);
    }
    match kind {
        _ if random => Some(Confidence::Medium),
        // What stands there for a password is one.
        Kind::Keeper if password && is_password(value) => Some(Confidence::High),
        Kind::Keeper if password => Some(Confidence::Medium),
        _ if password && is_password(value) && !is_wordy(value) => Some(Confidence::Medium),
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

/// As the rules of a cloud want it: capitals, small letters, digits; and not what the documentation of one says.
fn is_chosen(value: &str) -> bool {
    let has = |class: fn(&u8) -> bool| value.bytes().any(|b| class(&b));
    let lower = value.to_ascii_lowercase();
    let told = ["example", "change", "your", "placeholder", "replace", "dummy"].iter().any(|word| lower.contains(word));
    let of_every_kind = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    value.len() >= 8 && of_every_kind && !told
}

/// Files that are a secret as a whole, or of lines that are.
pub(super) fn whole(text: &[u8], path: &str) -> Option<Hit> {
    let name = path.rsplit(['/', '!']).next().unwrap_or(path);
    let text = std::str::from_utf8(text.get(..text.len().min(4096))?).ok()?;
    let rails = name == "master.key" || path.contains("config/credentials/") && name.ends_with(".key");
    if rails && text.trim().len() == 32 && is_hex(text.trim()) {
        return Some(Hit {
            severity: Severity::Critical,
            ..hit("rails-key", "whoever has the credentials file", 0..32, text.trim())
        });
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

/// `Authorization: Basic …`, npm's `_auth=…`, Docker's `"auth": "…"`: a user and a password in base64.
fn authorization(name: &str, value: &str, place: Range<usize>, path: &str) -> Option<Hit> {
    let lower = name.to_ascii_lowercase();
    let docker = lower == "auth" && path.to_ascii_lowercase().contains("docker");
    let encoded = match value.strip_prefix("Basic ").or(value.strip_prefix("basic ")) {
        Some(encoded) if lower.ends_with("authorization") => encoded,
        _ if lower.ends_with("authorization") => return bearer(value, place),
        None if lower.ends_with("_auth") || docker => value,
        _ => return None,
    };
    let decoded = super::checks::base64(encoded)?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let real = password.len() >= 4
        && !user.is_empty()
        && !is_placeholder(password)
        && !is_reference(password)
        && user != password;
    real.then(|| hit("basic-auth", "the service it opens", place, value))
}

/// `Bearer …`: something random, or it is an example.
fn bearer(value: &str, place: Range<usize>) -> Option<Hit> {
    let (_, token) = ["bearer", "token", "apikey", "key"].iter().find_map(|kind| {
        let said = value.get(..kind.len()).filter(|said| said.eq_ignore_ascii_case(kind))?;
        Some((said, value[kind.len()..].strip_prefix(' ')?.trim()))
    })?;
    let place = place.end - token.len()..place.end;
    let real = token.len() >= 20
        && is_random(token)
        && !is_placeholder(token)
        && !is_reference(token)
        && !token.starts_with("eyJ");
    real.then(|| hit("bearer-token", "the service it opens", place, token))
}

/// Words for a password in place of one.
const WORDS: &[&str] = &["pass", "passwd", "pwd", "secret", "token", "user", "username", "userpass", "mypass"];

/// `scheme://user:password@host`; `at` is where `://` stands.
pub(super) fn url(text: &[u8], at: usize, view: View) -> Option<Hit> {
    const AUTHORITY_BYTES_MAX: usize = 300;
    let from = at + 3;
    let rest = &text[from..text.len().min(from + AUTHORITY_BYTES_MAX)];
    let end =
        rest.iter().position(|b| b.is_ascii_whitespace() || b"/\"'`<>?#,;)(\\|".contains(b)).unwrap_or(rest.len());
    let at_sign = rest[..end].iter().rposition(|b| *b == b'@')?;
    let colon = rest[..at_sign].iter().position(|b| *b == b':')?;
    let host = std::str::from_utf8(&rest[at_sign + 1..end]).ok()?.to_ascii_lowercase();
    let user = std::str::from_utf8(&rest[..colon]).ok()?;
    let password = std::str::from_utf8(&rest[colon + 1..at_sign]).ok()?;
    if password.len() < 3
        || host.is_empty()
        || is_placeholder(password)
        || is_reference(password)
        || user.contains(['{', '$', '%'])
    {
        return None;
    }
    let lower = password.to_ascii_lowercase();
    let sample = view.people != People::Users;
    let said = ["pass", "secret", "token", "pwd", "user"].iter().any(|w| lower.contains(w));
    let own = user.eq_ignore_ascii_case(password)
        || ["postgres", "root", "admin", "guest", "mysql", "redis"].contains(&&*lower);
    let nowhere = is_nowhere(&host);
    let (severity, confidence) = match () {
        () if own || said && (sample || WORDS.contains(&&*lower)) => return None,
        () if view.people == People::Readers => (Severity::High, Confidence::Low),
        () if nowhere => (Severity::Low, Confidence::Low),
        () if view.people == People::Tests => (Severity::High, Confidence::Low),
        () if is_random(password) => (Severity::High, Confidence::High),
        () => (Severity::High, Confidence::Medium),
    };
    let place = from + colon + 1..from + at_sign;
    Some(Hit { severity, confidence, ..hit("url-password", "the service it opens", place, password) })
}

/// One's own machine, a neighbour in a compose file, or a name in an example.
pub(super) fn is_nowhere(host: &str) -> bool {
    const NAMES: &[&str] = &[
        "localhost",
        "127",
        "0",
        "[",
        "host",
        "hostname",
        "user",
        "foo",
        "server",
        "domain",
        "db",
        "database",
        "postgres",
        "postgresql",
        "mysql",
        "mariadb",
        "redis",
        "mongo",
        "mongodb",
        "rabbitmq",
        "example",
        "my",
        "your",
        "ip",
    ];
    let first = host.split(['.', ':']).next().unwrap_or(host);
    let reserved = [".test", ".example", ".local", ".invalid", ".localhost", ".internal"];
    let bare = host.split(':').next().unwrap_or(host);
    NAMES.contains(&first) || reserved.iter().any(|end| bare.ends_with(end)) || bare.contains("example.")
}
