//! Is this setting a secret, and does its value stand in clear? By the name's vocabulary, by the value's shape, and by
//! its entropy. Pure, and careful: a value goes in and never comes out.

use std::sync::LazyLock;

use base64::Engine as _;
use regex::Regex;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// Readable only with a key: dotenvx, sops, ansible-vault.
    Encrypted,
    /// Points to where the value lives: `${DB_PASSWORD}`, `vault:…`, `arn:aws:secretsmanager:…`.
    Reference,
    /// In clear and harmless.
    Plain,
    /// In clear, and a secret by its name or shape.
    Secret,
    /// In clear, and looks as random as a secret; the name says nothing.
    Suspect,
}

static SECRET_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(pass(word|wd|phrase)?|pwd|secret|token|api_?key|private_?key|access_?key|credentials?|signing_?key|encryption_?key|auth_?key|master_?key|jwt_?key|_key|salt|dsn|connection_?string|webhook_?url|cookie_?key)$",
    )
    .ok()
});

/// Endings that turn a secret word into something about a secret.
static ABOUT_NAME: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)(from_?secret$|existing_?secret$|secret_?name$|public_?key|publishable_?key|site_?key|cache_?key|primary_?key|foreign_?key|sort_?key|key_?id|access_?key_?id|bypass|compass|^next_public_|^vite_|^react_app_|^nuxt_public_|^gatsby_|^expo_public_|^dotenv_public_key)",
    )
    .ok()
});

/// Shapes of well-known credentials.
static SECRET_SHAPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"^(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk_live_\w{10,}|rk_live_\w{10,}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|AGE-SECRET-KEY-1\w{20,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,})|-----BEGIN [A-Z ]*PRIVATE KEY-----|^[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@${<]{3,}@",
    )
    .ok()
});

/// Names whose value must not stand in clear.
pub fn is_secret_name(name: &str) -> bool {
    let matches = |rule: &LazyLock<Option<Regex>>| rule.as_ref().is_some_and(|r| r.is_match(name));
    matches(&SECRET_NAME) && !matches(&ABOUT_NAME)
}

/// Shorter values of unknown names are words and numbers.
const SUSPECT_CHARS_MIN: usize = 24;
/// Bits per character; base64 of random bytes has 5 and more at this length, English words under 3.5.
const SUSPECT_BITS_MIN: f64 = 4.0;

pub fn classify(name: &str, value: &str) -> Value {
    let value = value.trim();
    if is_encrypted(value) {
        return Value::Encrypted;
    }
    if value.is_empty() || is_harmless(value) {
        return Value::Plain;
    }
    if is_reference(value) {
        return Value::Reference;
    }
    if SECRET_SHAPE.as_ref().is_some_and(|r| r.is_match(value)) {
        return Value::Secret;
    }
    if is_secret_name(name) {
        return Value::Secret;
    }
    let public = ABOUT_NAME.as_ref().is_some_and(|r| r.is_match(name));
    // `quay.io/jiralert/jiralert-linux-amd64`: an image, a host, a path.
    let place = value.contains('/') && value.split('/').next().is_some_and(|host| host.contains('.'));
    let random = !place
        && value.len() >= SUSPECT_CHARS_MIN
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-.".contains(&b))
        && value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b.is_ascii_alphabetic())
        && entropy(value) >= SUSPECT_BITS_MIN;
    if random && !public { Value::Suspect } else { Value::Plain }
}

/// dotenvx: the point of an ephemeral key, nonce and tag alone make 81 bytes (65 + 16; compressed 33 + 16 + 16 = 65).
const DOTENVX_BYTES_MIN: usize = 65;

fn is_encrypted(value: &str) -> bool {
    if let Some(rest) = value.strip_prefix("encrypted:") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(rest.trim());
        return bytes.is_ok_and(|b| b.len() >= DOTENVX_BYTES_MIN);
    }
    (value.starts_with("ENC[AES256_GCM,data:") && value.ends_with(']') && value.contains(",tag:"))
        || value.starts_with("$ANSIBLE_VAULT;")
        || value.starts_with("-----BEGIN AGE ENCRYPTED FILE-----")
        || value.starts_with("-----BEGIN PGP MESSAGE-----")
}

fn is_reference(value: &str) -> bool {
    let braces = |open: &str, close: &str| value.starts_with(open) && value.ends_with(close);
    braces("${", "}")
        || braces("{{", "}}")
        || braces("<", ">")
        || braces("$(", ")")
        || braces("%{", "}")
        || (value.starts_with('$') && value.len() > 1 && value[1..].bytes().all(|b| b.is_ascii_uppercase() || b == b'_' || b.is_ascii_digit()))
        // A URL whose password is filled in elsewhere.
        || (value.contains("://") && (value.contains(":${") || value.contains(":{{") || value.contains(":<")))
        || ["vault:", "op://", "arn:aws:secretsmanager:", "arn:aws:ssm:", "ref+", "sm://", "gcp-secret:", "awssm://", "azurekv://",
            "file:", "secretref:", "infisical:", "doppler:", "/run/secrets/", "projects/"]
            .iter()
            .any(|p| value.starts_with(p))
}

/// Flags, small numbers, placeholders: no attacker learns anything.
fn is_harmless(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    matches!(lower.as_str(), "true" | "false" | "null" | "none" | "nil" | "yes" | "no" | "on" | "off")
        || (value.len() < 6 && value.bytes().all(|b| b.is_ascii_digit()))
        || [
            "changeme",
            "change_me",
            "change-me",
            "changethis",
            "change_this",
            "change-this",
            "fake_",
            "fake-",
            "replace_me",
            "replaceme",
            "your-",
            "your_",
            "example",
            "placeholder",
            "todo",
            "dummy",
        ]
        .iter()
        .any(|p| lower.starts_with(p))
        // The word for it, where the value belongs: `token: "token"`.
        || matches!(lower.as_str(), "token" | "apikey" | "api_key" | "api-key" | "foo" | "bar" | "baz" | "foobar")
        || (value.starts_with("Your") || value.starts_with("My")) && value.bytes().all(|b| b.is_ascii_alphabetic())
        || lower.bytes().all(|b| matches!(b, b'x' | b'*' | b'.' | b'-'))
}

/// Shannon entropy in bits per character.
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    counts.iter().filter(|c| **c > 0).map(|c| f64::from(*c) / length).map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expect: Value) {
        assert_eq!(classify(name, value), expect, "{name}={value}");
    }

    #[test]
    fn names_and_shapes() {
        for name in [
            "DB_PASSWORD",
            "dbPassword",
            "SECRET_KEY_BASE_SECRET",
            "API_KEY",
            "STRIPE_SECRET",
            "SENTRY_DSN",
            "AWS_SECRET_ACCESS_KEY",
            "JWT_SALT",
            "SECRET_KEY",
        ] {
            check(name, "correct horse battery", Value::Secret);
        }
        for name in [
            "PORT",
            "DOTENV_PUBLIC_KEY",
            "AWS_ACCESS_KEY_ID",
            "PASSWORD_MIN_LENGTH",
            "TOKEN_TTL",
            "VITE_API_KEY",
            "CACHE_KEY",
            "KEYBOARD",
            "TLS_KEY_FILE",
            "AUTHOR",
        ] {
            check(name, "correct horse battery", Value::Plain);
        }
        check("DATABASE_URL", "postgres://shop:s3cret@db/shop", Value::Secret);
        check("DATABASE_URL", "postgres://db/shop", Value::Plain);
        check("X", &format!("ghp_{}", "a1".repeat(18)), Value::Secret);
    }

    #[test]
    fn encrypted_and_references() {
        check("DB_PASSWORD", &format!("encrypted:{}", "QUJD".repeat(30)), Value::Encrypted);
        check("DB_PASSWORD", "encrypted:hunter2", Value::Secret);
        check("DB_PASSWORD", "ENC[AES256_GCM,data:a,iv:b,tag:c,type:str]", Value::Encrypted);
        check("DB_PASSWORD", "ENC[not really]", Value::Secret);
        for value in [
            "${DB_PASSWORD}",
            "$DB_PASSWORD",
            "{{ vault_db }}",
            "<from vault>",
            "vault:kv/shop#db",
            "op://shop/db/password",
            "/run/secrets/db",
        ] {
            check("DB_PASSWORD", value, Value::Reference);
        }
        check("DATABASE_URL", "postgres://shop:${DB_PASSWORD}@db/shop", Value::Reference);
        check("DB_PASSWORD", "$uperSecret", Value::Secret);
    }

    #[test]
    fn harmless_and_suspect() {
        for value in
            ["", "true", "8080", "changeme", "changethis", "fake_password", "foo", "your-token-here", "xxxxxxxx"]
        {
            check("DB_PASSWORD", value, Value::Plain);
        }
        check("BUILD", "f3Kd92mZpQ7xL1vT8sWc4Rb6", Value::Suspect);
        // What charts say by default: the word where the value belongs, an image, the name of somebody else's secret.
        check("token", "token", Value::Plain);
        check("apiToken", "YourPingdomApiToken", Value::Plain);
        check("repository", "quay.io/jiralert/jiralert-linux-amd64", Value::Plain);
        check("configFromSecret", "prometheus-settings", Value::Plain);
        check("existingSecret", "prometheus-settings", Value::Plain);
        check("DB_PASSWORD", "YourMother1", Value::Secret);
        check("REGION", "eu-central-1-with-a-long-name", Value::Plain);
    }
}
