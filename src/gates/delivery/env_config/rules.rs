//! What is wrong with one value of production's environment: rules E01 to E08 and E13, each from the name and the value
//! alone. Pure; a rule answers in words about the value and never quotes it.

use super::dotenv::Hidden;
use crate::gates::infrastructure::secret_values::{self, Value, entropy};

/// A broken rule: its number, what is wrong in words that fit after the key's name, and whether it is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub rule: &'static str,
    pub problem: String,
    pub sure: bool,
}

fn broken(rule: &'static str, problem: impl Into<String>) -> Option<Broken> {
    Some(Broken { rule, problem: problem.into(), sure: true })
}

fn maybe(rule: &'static str, problem: impl Into<String>) -> Option<Broken> {
    Some(Broken { rule, problem: problem.into(), sure: false })
}

/// Is the value of secret class: by its name, its shape, or its randomness?
pub fn is_secret(name: &str, value: &Hidden) -> bool {
    matches!(secret_values::classify(name, value.expose()), Value::Secret | Value::Suspect)
        || (secret_values::is_secret_name(name) && !is_elsewhere(value) && value.expose().len() > 5)
}

/// Encrypted, or filled in from a place we cannot see.
pub fn is_elsewhere(value: &Hidden) -> bool {
    let angle = value.expose().trim().starts_with('<');
    matches!(secret_values::classify("X", value.expose()), Value::Encrypted | Value::Reference) && !angle
}

pub fn is_encrypted(value: &Hidden) -> bool {
    secret_values::classify("X", value.expose()) == Value::Encrypted
}

/// All rules that a value breaks alone. `loopback_allowed` names keys whose loopback address is meant.
pub fn of_value(name: &str, value: &Hidden, loopback_allowed: bool) -> Vec<Broken> {
    let text = value.expose().trim();
    if text.is_empty() || is_elsewhere(value) {
        return Vec::new();
    }
    let upper = name.to_ascii_uppercase();
    let placeholder = placeholder(&upper, text);
    // What is a placeholder is nothing else besides.
    if placeholder.is_some() {
        return placeholder.into_iter().collect();
    }
    let address = if is_origin_list(&upper) {
        origins(text)
    } else {
        (!loopback_allowed).then(|| loopback(&upper, text)).flatten().or_else(|| plaintext(text))
    };
    [address, debug(&upper, text), sandbox(&upper, text), weak_key(&upper, text)].into_iter().flatten().collect()
}

/// E04
fn placeholder(name: &str, text: &str) -> Option<Broken> {
    const WORDS: [&str; 21] = [
        "changeme",
        "change_me",
        "change-me",
        "changethis",
        "change_this",
        "change-this",
        "fake_",
        "fake-",
        "changeit",
        "replaceme",
        "replace_me",
        "replace-me",
        "todo",
        "tbd",
        "fixme",
        "placeholder",
        "your-",
        "your_",
        "insert-",
        "insert_",
        "<",
    ];
    const WEAK: [&str; 16] = [
        "password",
        "passwd",
        "secret",
        "admin",
        "root",
        "postgres",
        "mysql",
        "test",
        "test123",
        "123456",
        "12345678",
        "qwerty",
        "default",
        "guest",
        "letmein",
        "supersecret",
    ];
    let lower = text.to_ascii_lowercase();
    let letters: Vec<char> = lower.chars().collect();
    let repeated = letters.len() >= 4 && letters.iter().all(|c| *c == letters[0]) && !letters[0].is_ascii_digit();
    let secret = secret_values::is_secret_name(name) || name.ends_with("_PASS") || name.contains("PASSWORD");
    let inside = host_and_user(text).is_some_and(|(_, password)| {
        let p = password.unwrap_or_default().to_ascii_lowercase();
        WEAK.contains(&p.as_str()) || WORDS.iter().any(|w| p.starts_with(w))
    });
    let angle = lower.starts_with('<') && lower.ends_with('>') && !lower.contains("</");
    match () {
        _ if angle || (!lower.starts_with('<') && WORDS.iter().any(|w| lower.starts_with(w))) => {
            broken("E04", "is a placeholder")
        }
        _ if repeated => broken("E04", "is one character repeated"),
        _ if inside => broken("E04", "holds a placeholder or a well-known password"),
        _ if secret && WEAK.contains(&lower.as_str()) => broken("E04", "is a well-known word, not a secret"),
        _ if secret
            && ["changeme", "change-me", "change_me", "your-", "your_", "example", "insecure", "placeholder"]
                .iter()
                .any(|w| lower.contains(w)) =>
        {
            broken("E04", "is a placeholder")
        }
        _ if host_and_user(text).is_some_and(|(host, _)| is_example(&host)) => {
            broken("E04", "points to a host of the documentation")
        }
        _ => None,
    }
}

fn is_example(host: &str) -> bool {
    ["example.com", "example.org", "example.net"].iter().any(|e| host == *e || host.ends_with(&format!(".{e}")))
        || host.ends_with(".example")
        || host.ends_with(".invalid")
}

/// Host of a URL or `host:port`, and the password before it.
fn host_and_user(text: &str) -> Option<(String, Option<String>)> {
    let (_, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(u, h)| (Some(u), h));
    let password = user.and_then(|u| u.split_once(':')).map(|(_, p)| p.to_string());
    Some((bare_host(host), password))
}

fn bare_host(host: &str) -> String {
    let host = match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split([':', ',']).next().unwrap_or_default(),
    };
    host.to_ascii_lowercase()
}

/// E03
fn loopback(name: &str, text: &str) -> Option<Broken> {
    // Where the program listens: loopback behind a proxy is right.
    const LISTENS: [&str; 8] =
        ["HOST", "HOSTNAME", "BIND", "LISTEN", "BIND_ADDR", "LISTEN_ADDR", "SERVER_HOST", "APP_HOST"];
    if LISTENS.contains(&name) || name.contains("BIND") || name.contains("LISTEN") {
        return None;
    }
    let host = match host_and_user(text) {
        Some((host, _)) => host,
        None if names_a_host(name) && !text.contains(char::is_whitespace) => bare_host(text),
        None => return None,
    };
    match () {
        _ if is_loopback(&host) => broken("E03", "points to this machine itself"),
        _ if host == "host.docker.internal" || host == "host.containers.internal" => {
            broken("E03", "points to the developer's machine around the container")
        }
        _ if (host.ends_with(".local") && !host.ends_with("cluster.local"))
            || host.ends_with(".test")
            || host.ends_with(".localhost") =>
        {
            broken("E03", "points to a name that only a local network knows")
        }
        _ if is_tunnel(&host) => broken("E03", "points to a developer's tunnel"),
        _ => None,
    }
}

pub fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host == "::1"
        || (host.starts_with("127.") && host.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

fn is_tunnel(host: &str) -> bool {
    [
        "ngrok.io",
        "ngrok.app",
        "ngrok.dev",
        "ngrok-free.app",
        "ngrok-free.dev",
        "trycloudflare.com",
        "loca.lt",
        "localtunnel.me",
        "serveo.net",
        "lhr.life",
    ]
    .iter()
    .any(|t| host.ends_with(&format!(".{t}")))
}

fn names_a_host(name: &str) -> bool {
    [
        "HOST", "URL", "URI", "ENDPOINT", "SERVER", "ADDR", "ADDRESS", "BROKER", "BROKERS", "DSN", "NODES", "HOSTS",
        "DOMAIN",
    ]
    .iter()
    .any(|w| name.split('_').next_back() == Some(w))
}

/// E08
fn plaintext(text: &str) -> Option<Broken> {
    const SCHEMES: [&str; 9] = ["http", "ws", "redis", "amqp", "mqtt", "ftp", "ldap", "smtp", "nats"];
    let (scheme, _) = text.split_once("://")?;
    let (host, _) = host_and_user(text)?;
    let open = SCHEMES.contains(&scheme.to_ascii_lowercase().as_str())
        || (scheme.starts_with("postgres") && text.contains("sslmode=disable"));
    (open && is_remote(&host)).then(|| broken("E08", "sends in clear to a remote host")).flatten()
}

/// Reached over the open network, as far as a name tells: it has a public suffix, or is a public address.
fn is_remote(host: &str) -> bool {
    if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
        return !(address.is_private() || address.is_loopback() || address.is_link_local() || address.is_unspecified());
    }
    let inside = ["local", "internal", "localhost", "svc", "test", "lan", "cluster", "docker", "consul", "arpa"];
    host.contains('.') && !host.contains(':') && host.rsplit('.').next().is_some_and(|tld| !inside.contains(&tld))
}

/// Lists of origins and redirect targets have a rule of their own.
pub fn is_origin_list(name: &str) -> bool {
    ["CORS", "ORIGIN", "REDIRECT", "CALLBACK"].iter().any(|w| name.contains(w))
}

/// E13
fn origins(text: &str) -> Option<Broken> {
    for item in text.trim_matches(['[', ']']).split([',', ' ', ';', '|']).map(|i| i.trim().trim_matches(['"', '\''])) {
        let host = host_and_user(item).map_or_else(|| bare_host(item), |(host, _)| host);
        if item == "*" {
            return broken("E13", "allows every origin");
        }
        if is_loopback(&host) || host == "0.0.0.0" || is_tunnel(&host) {
            return broken("E13", "allows a developer's machine");
        }
    }
    None
}

/// E05
fn debug(name: &str, text: &str) -> Option<Broken> {
    let value = text.to_ascii_lowercase();
    let on = matches!(value.as_str(), "true" | "1" | "yes" | "on" | "t");
    let developing = ["dev", "develop", "development", "local", "test", "testing", "debug"].contains(&value.as_str());
    match name {
        "NODE_ENV" | "RAILS_ENV" | "RACK_ENV" | "MIX_ENV" if value != "production" => {
            let stage = matches!(value.as_str(), "staging" | "prod" | "preview");
            if stage { maybe("E05", "is not `production`") } else { broken("E05", "is not `production`") }
        }
        "APP_ENV"
        | "ENV"
        | "ENVIRONMENT"
        | "FLASK_ENV"
        | "DJANGO_ENV"
        | "GO_ENV"
        | "ASPNETCORE_ENVIRONMENT"
        | "DOTNET_ENVIRONMENT"
        | "GIN_MODE"
            if developing =>
        {
            broken("E05", "names a development environment")
        }
        "SPRING_PROFILES_ACTIVE" if value.split(',').any(|p| ["dev", "local", "test"].contains(&p.trim())) => {
            broken("E05", "names a development profile")
        }
        "DEBUG" | "APP_DEBUG" | "FLASK_DEBUG" | "DJANGO_DEBUG" | "DEBUG_MODE" | "WP_DEBUG" | "WERKZEUG_DEBUG_PIN"
            if on =>
        {
            broken("E05", "switches debugging on")
        }
        "DEBUG" if value.contains('*') => maybe("E05", "switches debug output on"),
        "ALLOWED_HOSTS" | "DJANGO_ALLOWED_HOSTS" | "TRUSTED_HOSTS"
            if value.split([',', ' ']).any(|h| h.trim_matches(['"', '\'', '[', ']']) == "*") =>
        {
            broken("E05", "lets every host name in")
        }
        _ => None,
    }
}

/// E06
fn sandbox(name: &str, text: &str) -> Option<Broken> {
    let lower = text.to_ascii_lowercase();
    let test_key = ["sk_test_", "pk_test_", "rk_test_", "rzp_test_", "pdl_sdbx_", "key_test_"]
        .iter()
        .any(|p| lower.starts_with(p));
    let pays = ["PAYPAL", "BRAINTREE", "ADYEN", "PLAID", "STRIPE", "SQUARE", "MOLLIE", "PAYMENT", "KLARNA", "MIDTRANS"]
        .iter()
        .any(|p| name.contains(p));
    let modes = ["MODE", "ENV", "ENVIRONMENT"].contains(&name.rsplit('_').next().unwrap_or_default());
    match () {
        _ if test_key => broken("E06", "is a test-mode key"),
        _ if pays && modes && matches!(lower.as_str(), "sandbox" | "test" | "development") => {
            broken("E06", "is in sandbox mode")
        }
        _ if name.contains("SANDBOX") && matches!(lower.as_str(), "true" | "1" | "yes" | "on") => {
            broken("E06", "switches the sandbox on")
        }
        _ if host_and_user(text).is_some_and(|(host, _)| host.split(['.', '-']).any(|part| part == "sandbox")) => {
            broken("E06", "points to a sandbox")
        }
        // Google's documented test keys of reCAPTCHA let everybody in.
        _ if lower.starts_with("6leixactaaaa") => broken("E06", "is reCAPTCHA's public test key"),
        _ => None,
    }
}

const SIGNING_BITS_MIN: f64 = 128.0;

/// E07
fn weak_key(name: &str, text: &str) -> Option<Broken> {
    const SIGNS: [&str; 16] = [
        "SECRET_KEY",
        "SECRET_KEY_BASE",
        "APP_KEY",
        "JWT_SECRET",
        "JWT_KEY",
        "SESSION_SECRET",
        "SESSION_KEY",
        "COOKIE_SECRET",
        "COOKIE_KEY",
        "AUTH_SECRET",
        "NEXTAUTH_SECRET",
        "SIGNING_KEY",
        "SIGNING_SECRET",
        "ENCRYPTION_KEY",
        "HMAC_KEY",
        "CSRF_SECRET",
    ];
    let signs = SIGNS.iter().any(|s| name == *s || name.ends_with(&format!("_{s}")))
        || (name.contains("JWT") && name.ends_with("SECRET"));
    // A provider's own secret has the provider's length.
    let foreign = ["STRIPE", "SLACK", "GITHUB", "GITLAB", "WEBHOOK", "AWS", "GOOGLE", "TWILIO", "OAUTH", "CLIENT"]
        .iter()
        .any(|p| name.contains(p));
    if !signs || foreign || text.starts_with("-----BEGIN") || text.starts_with('/') {
        return None;
    }
    let bits = strength(text);
    (bits < SIGNING_BITS_MIN)
        .then(|| broken("E07", format!("signs with about {bits:.0} bits, 128 are needed")))
        .flatten()
}

/// Bits an attacker must guess: by alphabet and length; words count as words.
fn strength(text: &str) -> f64 {
    let text = text.strip_prefix("base64:").unwrap_or(text);
    let pieces: Vec<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|p| !p.is_empty()).collect();
    let words = pieces
        .iter()
        .all(|p| p.len() <= 12 && (p.bytes().all(|b| b.is_ascii_lowercase()) || p.bytes().all(|b| b.is_ascii_digit())));
    if words && text.len() < 64 {
        // The long word list of passphrases has 7,776 words.
        return pieces.iter().map(|p| if p.as_bytes()[0].is_ascii_digit() { p.len() as f64 * 3.3 } else { 12.9 }).sum();
    }
    let has = |test: fn(&u8) -> bool| text.bytes().any(|b| test(&b));
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit());
    let alphabet = if hex {
        16.0
    } else {
        let classes = [
            (has(u8::is_ascii_digit as fn(&u8) -> bool), 10.0),
            (has(u8::is_ascii_lowercase), 26.0),
            (has(u8::is_ascii_uppercase), 26.0),
            (has(u8::is_ascii_punctuation), 12.0),
        ];
        classes.iter().filter(|(there, _)| *there).map(|(_, n)| n).sum::<f64>().max(2.0)
    };
    // The same few characters again and again are worth what their variety is.
    let varied = entropy(text) >= 3.0_f64.min((text.len() as f64).log2() * 0.75);
    let each = if varied { f64::log2(alphabet) } else { entropy(text) };
    text.len() as f64 * each
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, rules: &[&str]) {
        let got: Vec<_> = of_value(name, &Hidden::new(value), false).into_iter().map(|b| b.rule).collect();
        assert_eq!(got, rules, "{name}={value}");
    }

    #[test]
    fn addresses() {
        for value in [
            "http://localhost:3000",
            "postgres://u:p4ssw0rd@127.0.0.1/shop",
            "http://shop.local",
            "https://a1b2.ngrok-free.app",
            "http://[::1]:80/",
        ] {
            check("API_URL", value, &["E03"]);
        }
        check("DB_HOST", "localhost", &["E03"]);
        check("API_URL", "http://host.docker.internal:80", &["E03"]);
        check("REDIS_URL", "redis://cache:6379", &[]);
        check("API_URL", "http://api.shop.svc.cluster.local", &[]);
        check("API_URL", "http://10.0.0.7/", &[]);
        check("API_URL", "https://api.shop.io", &[]);
        check("API_URL", "http://api.shop.io", &["E08"]);
        check("HOST", "127.0.0.1", &[]);
        check("BIND_ADDR", "127.0.0.1:80", &[]);
        check("DATABASE_URL", "postgres://u:p4x9@db.shop.io/s?sslmode=disable", &["E08"]);
        check("CORS_ORIGINS", "https://shop.io,http://localhost:3000", &["E13"]);
        check("ALLOWED_ORIGIN", "*", &["E13"]);
        check("OAUTH_REDIRECT_URI", "https://shop.io/cb", &[]);
        assert_eq!(of_value("REDIS_URL", &Hidden::new("redis://localhost"), true), []);
    }

    #[test]
    fn placeholders() {
        for value in
            ["changeme", "your-api-key", "<token>", "xxxxxxxx", "CHANGE_ME_NOW", "todo", "changethis", "fake_password"]
        {
            check("API_KEY", value, &["E04"]);
        }
        check("DB_PASSWORD", "postgres", &["E04"]);
        check("DATABASE_URL", "postgres://shop:password@db/shop", &["E04"]);
        check("API_URL", "https://api.example.com", &["E04"]);
        check("JWT_SECRET", "insecure-dev-key-insecure-dev-key", &["E04"]);
        check("NAME", "Test", &[]);
        check("RATE", "1111", &[]);
        check("DB_USER", "postgres", &[]);
        check("HTML", "<b>hi</b>", &[]);
    }

    #[test]
    fn modes_and_test_keys() {
        for (name, value) in [
            ("NODE_ENV", "development"),
            ("DEBUG", "true"),
            ("APP_ENV", "local"),
            ("FLASK_DEBUG", "1"),
            ("ALLOWED_HOSTS", "*"),
        ] {
            check(name, value, &["E05"]);
        }
        check("NODE_ENV", "production", &[]);
        check("DEBUG", "false", &[]);
        check("APP_ENV", "production", &[]);
        check("STRIPE_SECRET_KEY", "sk_test_51Habcdefghijk", &["E06"]);
        check("PAYPAL_MODE", "sandbox", &["E06"]);
        check("PAY_URL", "https://api.sandbox.paypal.com", &["E06"]);
    }

    #[test]
    fn signing_keys_are_measured() {
        for value in ["short", "correct-horse-battery-staple", "0123456789abcdef0123", "aaaaaaaaaaaaaaab"] {
            check("JWT_SECRET", value, &["E07"]);
        }
        for value in [
            "9f8a7c6b5d4e3f2a1b0c9d8e7f6a5b4c",
            "q3T8vXz0LmN5pRs7Ku2WyA4b",
            "base64:uJ3k9fZs1QxYv7LrTn5BhC2dWm8EpGa6KtRiOy0HqNs=",
        ] {
            check("JWT_SECRET", value, &[]);
        }
        check("STRIPE_SIGNING_SECRET", "whsec_abc", &[]);
        check("JWT_SECRET", "${JWT_SECRET}", &[]);
        let problem = of_value("SECRET_KEY", &Hidden::new("hunter22"), false).remove(0).problem;
        assert!(!problem.contains("hunter"), "{problem}");
    }
}
