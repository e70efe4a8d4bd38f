//! Secrets by reference. A secret field of the configuration holds `${env:NAME}`, `${file:PATH}` or `${cred:NAME}`,
//! never the value; the value is read at each use, so that a rotation needs no restart, and cannot be printed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::RwLock;

use base64::Engine as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Where a secret lives. `Debug`, `Display` and `Serialize` show the reference, never the value.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// `${env:NAME}`: an environment variable.
    Env(String),
    /// `${file:PATH}`: a file's content without its last newline. At most 64 KiB.
    File(PathBuf),
    /// `${cred:NAME}`: a systemd credential, `$CREDENTIALS_DIRECTORY/NAME`.
    Credential(String),
}

/// A secret's value in memory: no `Debug`, no `Display`, no `Serialize`.
#[derive(Clone)]
pub struct Revealed(String);

impl Revealed {
    /// Wraps a value that did not come from the configuration (a key made by us) and teaches it to the redactor.
    pub fn new(value: String) -> Revealed {
        remember(&value);
        Revealed(value)
    }
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Is this the value? Takes as long for a near miss as for a far one. An empty value is nobody's.
    pub fn is(&self, presented: &str) -> bool {
        !self.0.is_empty() && same(self.0.as_bytes(), presented.as_bytes())
    }
}

/// Are these the same bytes? Two tags under a key that lives for this comparison are compared, in constant time.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    use ring::hmac;
    let Ok(key) = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new()) else { return false };
    hmac::verify(&key, other, hmac::sign(&key, one).as_ref()).is_ok()
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    #[error("environment variable {0} is not set")]
    EnvMissing(String),
    #[error("file {0} could not be read: {1}")]
    File(String, String),
    #[error("no credential {0}: $CREDENTIALS_DIRECTORY is not set or holds no such file")]
    Credential(String),
}

/// `{ username = "…", password = "${env:NAME}" }`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    pub username: String,
    pub password: Secret,
}

/// The value of an `Authorization` header, read now, so that a rotation needs no restart; `None` when neither is given.
pub fn authorization(bearer: Option<&Secret>, basic: Option<&BasicAuth>) -> Result<Option<String>, SecretError> {
    if let Some(token) = bearer {
        return Ok(Some(format!("Bearer {}", token.reveal()?.expose())));
    }
    let Some(basic) = basic else { return Ok(None) };
    let pair = format!("{}:{}", basic.username, basic.password.reveal()?.expose());
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    Ok(Some(format!("Basic {encoded}")))
}

/// Limit on a secret file, so that `${file:/dev/zero}` ends.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

impl Secret {
    /// Parses a whole reference. `None` when the text is anything else, a literal for instance.
    pub fn parse(text: &str) -> Option<Secret> {
        let inner = text.trim().strip_prefix("${")?.strip_suffix('}')?;
        let (kind, name) = inner.split_once(':')?;
        if name.is_empty() || name.contains(['{', '}', '$']) {
            return None;
        }
        match kind {
            "env" => Some(Secret::Env(name.into())),
            "file" => Some(Secret::File(name.into())),
            "cred" => Some(Secret::Credential(name.into())),
            _ => None,
        }
    }

    /// Reads the value now and teaches it to the redactor.
    pub fn reveal(&self) -> Result<Revealed, SecretError> {
        let value = match self {
            Secret::Env(name) => std::env::var(name).map_err(|_| SecretError::EnvMissing(name.clone()))?,
            Secret::File(path) => {
                read_limited(path).map_err(|e| SecretError::File(path.display().to_string(), e.to_string()))?
            }
            Secret::Credential(name) => {
                let dir =
                    std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| SecretError::Credential(name.clone()))?;
                read_limited(&PathBuf::from(dir).join(name)).map_err(|_| SecretError::Credential(name.clone()))?
            }
        };
        Ok(Revealed::new(value))
    }
}

fn read_limited(path: &std::path::Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(SECRET_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_string())
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env(name) => write!(f, "${{env:{name}}}"),
            Secret::File(path) => write!(f, "${{file:{}}}", path.display()),
            Secret::Credential(name) => write!(f, "${{cred:{name}}}"),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Secret, D::Error> {
        let text = String::deserialize(d)?;
        // The text itself may be a secret somebody pasted: it must not appear in the error.
        Secret::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("a secret must be a reference: ${env:NAME}, ${file:PATH} or ${cred:NAME}")
        })
    }
}

impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "secret",
            "pattern": "^\\$\\{(env|file|cred):[^{}$]+\\}$",
            "description": "secret reference: ${env:NAME}, ${file:PATH} or ${cred:NAME}; a literal is an error"
        })
    }
}

/// Values below this length are not redacted: `true` or `80` would black out half of every text.
const REDACT_LENGTH_MIN: usize = 6;

static KNOWN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

fn remember(value: &str) {
    if value.len() < REDACT_LENGTH_MIN {
        return;
    }
    let forms = [
        value.to_string(),
        base64::engine::general_purpose::STANDARD.encode(value),
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value),
        url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
    ];
    KNOWN.write().unwrap_or_else(|e| e.into_inner()).extend(forms);
}

/// Replaces every secret value revealed so far (also its base64 and URL-encoded forms) by `[redacted]`.
/// All error, log and evidence text passes here.
pub fn redact(text: &str) -> String {
    let known = KNOWN.read().unwrap_or_else(|e| e.into_inner());
    let mut out = text.to_string();
    // Longest first, so that a secret that contains another leaves no tail.
    let mut values: Vec<&String> = known.iter().filter(|v| out.contains(v.as_str())).collect();
    values.sort_by_key(|v| std::cmp::Reverse(v.len()));
    for value in values {
        out = out.replace(value.as_str(), "[redacted]");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_references_only() {
        assert_eq!(Secret::parse("${env:TOKEN}"), Some(Secret::Env("TOKEN".into())));
        assert_eq!(Secret::parse("${file:secrets/github}"), Some(Secret::File("secrets/github".into())));
        for literal in ["hunter2", "${TOKEN}", "x${env:A}", "${env:}", "${vault:x}"] {
            assert_eq!(Secret::parse(literal), None, "{literal}");
        }
    }

    #[test]
    fn a_literal_is_refused_without_repeating_it() {
        let error = serde_json::from_str::<Secret>("\"hunter2hunter2\"").unwrap_err().to_string();
        assert!(error.contains("${env:NAME}") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn redacts_plain_and_encoded_forms() {
        let secret = Revealed::new("s3cr3t value/1".into());
        let encoded = base64::engine::general_purpose::STANDARD.encode(secret.expose());
        let text = format!("a={} b={encoded} c=s3cr3t+value%2F1", secret.expose());
        assert_eq!(redact(&text), "a=[redacted] b=[redacted] c=[redacted]");
    }
}
