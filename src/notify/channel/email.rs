//! Channel `email`: multipart mail over SMTP, one thread per episode, the same Message-ID on every try of a row.
//!
//! 465 is implicit TLS, 587 must offer STARTTLS, and plain text is spoken only to loopback or when allowed. A 4xx answer
//! is tried again, a 5xx is final for that recipient. Rendering is `notify/message.rs`; retrying is the dispatcher's.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::problem::Problem;
use crate::domain::secret::Secret;

/// `[channel.NAME.via.email]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who gets the mail: `ops@shop.example` or `"Ops <ops@shop.example>"`.
    pub to: Vec<String>,
    /// The mail server: `smtps://HOST:465` (TLS) or `smtp://HOST:587` (STARTTLS, required). Default: the machine's own
    /// mail server, `smtp://127.0.0.1:25`.
    #[serde(default = "local_server")]
    pub smtp: Url,
    /// Sender; one the server may send for. Default: `hypercare@` and the machine's name.
    #[serde(default)]
    pub from: Option<String>,
    /// Login at the server. Default: none.
    #[serde(default)]
    pub username: Option<String>,
    /// Password that goes with `username`; a reference, never the value.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Speak without TLS to a server that is not this machine. Default: false, because the login and every alert could
    /// be read on the way.
    #[serde(default)]
    pub allow_plaintext: bool,
    /// PEM file of a private certificate authority, trusted besides the system's. Relative to this file.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<std::path::PathBuf>,
}

fn local_server() -> Url {
    Url::parse("smtp://127.0.0.1:25").expect("a constant URL parses")
}

impl Config {
    pub fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}
