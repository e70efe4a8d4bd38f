//! Channel `email`: multipart mail over SMTP, one thread per episode, the same Message-ID on every try of a row.
//!
//! 465 is implicit TLS, 587 must offer STARTTLS, and plain text is spoken only to loopback or when allowed. A 4xx answer
//! is tried again, a 5xx is final for that recipient. Composing is `notify/mail.rs`, the session `notify/smtp.rs`,
//! retrying the dispatcher's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{AttachedFile, Channel, Context, Receipt, SendError};
use crate::domain::notification::OutboxRow;
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, redact};
use crate::notify::bucket::Rate;
use crate::notify::mail::{self, Draft};
use crate::notify::message::view;
use crate::notify::render::Renderer;
use crate::notify::smtp::{self, Failure, Protection, Server};

/// Connect to last byte: some servers hold the banner for 30 s and more.
const TIMEOUT: Duration = Duration::from_secs(120);
/// A mail server that is sent more than this thinks of spam, and people stop reading.
const RATE: Rate = Rate { burst: 30, per_second: 0.5 };
/// Recipients of one channel.
const RECIPIENTS_MAX: usize = 50;
/// Rows whose accepted recipients are remembered between tries.
const REMEMBERED_MAX: usize = 256;

/// `[channel.NAME.via.email]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who gets the mail: `ops@shop.example` or `Ops <ops@shop.example>`.
    pub to: Vec<String>,
    /// The mail server: `smtps://HOST:465` (TLS) or `smtp://HOST:587` (STARTTLS, required). Default: the machine's own
    /// mail server, `smtp://127.0.0.1:25`.
    #[serde(default)]
    pub smtp: Option<Url>,
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
    /// PEM file of a private certificate authority, trusted besides the system's; TLS is required then, on loopback
    /// too. Relative to this file.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<PathBuf>,
    /// Folder with your own `message.html.tera` or `message.txt.tera`. Default: the built-in ones.
    #[serde(default)]
    #[schemars(extend("format" = "path"))]
    pub templates: Option<PathBuf>,
}

/// What is left to do is only to read files.
#[derive(Debug)]
struct Checked {
    to: Vec<Mailbox>,
    from: Mailbox,
    host: String,
    port: u16,
    protection: Protection,
}

impl Config {
    /// Everything wrong with it. Pure.
    pub fn problems(&self) -> Vec<Problem> {
        self.validate().err().unwrap_or_default()
    }

    fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut to = Vec::new();
        for (i, text) in self.to.iter().enumerate() {
            match text.parse::<Mailbox>() {
                Ok(mailbox) => to.push(mailbox),
                Err(_) => problems.push(
                    Problem::at(["to", &i.to_string()], format!("`{}` is not a mail address", text.escape_debug()))
                        .hint("ops@shop.example, or Ops <ops@shop.example>"),
                ),
            }
        }
        if self.to.is_empty() {
            problems.push(Problem::at(["to"], "names nobody"));
        }
        if self.to.len() > RECIPIENTS_MAX {
            problems
                .push(Problem::at(["to"], format!("more than {RECIPIENTS_MAX} recipients")).hint("use a list address"));
        }
        let from = match &self.from {
            Some(text) => text.parse::<Mailbox>().ok(),
            None => default_sender(),
        };
        if from.is_none() {
            problems.push(Problem::at(["from"], "is not a mail address").hint("hypercare <hypercare@shop.example>"));
        }
        let (host, port, protection) = self.server(&mut problems);
        match (&self.username, &self.password) {
            (Some(_), None) => problems.push(Problem::at(["username"], "needs `password`")),
            (None, Some(_)) => problems.push(Problem::at(["password"], "needs `username`")),
            _ => {}
        }
        match (problems.is_empty(), from) {
            (true, Some(from)) => Ok(Checked { to, from, host, port, protection }),
            _ => Err(problems),
        }
    }

    fn server(&self, problems: &mut Vec<Problem>) -> (String, u16, Protection) {
        let Some(smtp) = &self.smtp else { return ("127.0.0.1".into(), 25, Protection::Plain) };
        let host = smtp.host_str().unwrap_or_default().trim_matches(['[', ']']).to_string();
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let (protection, port) = match smtp.scheme() {
            "smtps" => (Protection::Implicit, 465),
            // Who names an authority wants TLS, on loopback too.
            "smtp" if self.tls_ca.is_some() => (Protection::StartTls, 587),
            "smtp" if loopback => (Protection::Plain, 25),
            "smtp" if self.allow_plaintext => (Protection::Plain, 587),
            "smtp" => (Protection::StartTls, 587),
            _ => {
                let problem = Problem::at(["smtp"], "must begin with smtps:// or smtp://");
                problems.push(problem.hint("smtps://mail.shop.example:465"));
                (Protection::StartTls, 587)
            }
        };
        if host.is_empty() {
            problems.push(Problem::at(["smtp"], "names no host"));
        }
        if !smtp.username().is_empty() || smtp.password().is_some() {
            problems.push(Problem::at(["smtp"], "must not hold a login").hint("use `username` and `password`"));
        }
        (host, smtp.port().unwrap_or(port), protection)
    }

    pub fn build(&self, name: &str, _ctx: &Context) -> Result<Email, Vec<Problem>> {
        let checked = self.validate()?;
        let renderer = match &self.templates {
            None => Renderer::default(),
            Some(folder) => {
                let (renderer, errors) = Renderer::with_overrides("email", folder);
                for error in errors {
                    tracing::error!(%error, channel = name, "the built-in template stands in");
                }
                renderer
            }
        };
        let authority = match &self.tls_ca {
            None => None,
            Some(path) => match std::fs::read(path)
                .map_err(|e| e.to_string())
                .and_then(|pem| Certificate::from_pem(&pem).map_err(|e| e.to_string()))
            {
                Ok(certificate) => Some(certificate),
                Err(e) => return Err(vec![Problem::at(["tls_ca"], format!("cannot read {}: {e}", path.display()))]),
            },
        };
        Ok(Email {
            checked,
            username: self.username.clone(),
            password: self.password.clone(),
            authority,
            renderer,
            tls: OnceLock::new(),
            accepted: Mutex::new(BTreeMap::new()),
        })
    }
}

/// `hypercare@HOSTNAME`, or at localhost when the machine's name is no domain.
fn default_sender() -> Option<Mailbox> {
    let host = ClientId::default().to_string();
    format!("hypercare <hypercare@{host}>").parse().or_else(|_| "hypercare <hypercare@localhost>".parse()).ok()
}

/// The built channel.
pub struct Email {
    checked: Checked,
    username: Option<String>,
    password: Option<Secret>,
    authority: Option<Certificate>,
    renderer: Renderer,
    /// Reading the system's certificates takes a while: at the first mail, not at the start.
    tls: OnceLock<TlsParameters>,
    /// Row → recipients that have it already, when others were told to come later.
    accepted: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Email {
    fn server(&self) -> Result<Server, SendError> {
        let retry = |detail: String| SendError::Retry { detail: redact(&detail), after: None };
        let login = match (&self.username, &self.password) {
            // Read at each send: a rotated password needs no restart.
            (Some(user), Some(password)) => {
                let password = password.reveal().map_err(|e| retry(format!("password: {e}")))?;
                Some(Credentials::new(user.clone(), password.expose().to_string()))
            }
            _ => None,
        };
        let tls = match self.checked.protection {
            Protection::Plain => None,
            Protection::Implicit | Protection::StartTls => Some(match self.tls.get() {
                Some(tls) => tls.clone(),
                None => {
                    let mut builder = TlsParameters::builder(self.checked.host.clone());
                    if let Some(authority) = &self.authority {
                        builder = builder.add_root_certificate(authority.clone());
                    }
                    let tls = builder.build_rustls().map_err(|e| retry(format!("TLS: {e}")))?;
                    self.tls.get_or_init(|| tls).clone()
                }
            }),
        };
        let Checked { host, port, protection, .. } = &self.checked;
        Ok(Server { host: host.clone(), port: *port, protection: *protection, tls, login })
    }

    async fn try_send(&self, row: &OutboxRow, files: &[AttachedFile]) -> Result<Receipt, SendError> {
        let server = self.server()?;
        let view = view(&row.new.message, &row.new.id);
        let (mut text, html) = self.renderer.mail(&view).await;
        let already = self.remembered(&row.new.id);
        let waiting: Vec<_> =
            self.checked.to.iter().map(|m| m.email.clone()).filter(|a| !already.contains(&a.to_string())).collect();
        let compose = |text: String, html: Option<String>, files: &[AttachedFile]| {
            let Checked { from, to, .. } = &self.checked;
            mail::compose(&Draft { row, from, to, text, html, files })
                .map_err(|detail| SendError::Permanent { detail: redact(&detail), disable: false })
        };
        let from = &self.checked.from.email;
        let bytes = compose(text.clone(), html.clone(), files)?;
        let result = match smtp::deliver(&server, from, &waiting, &bytes).await {
            // A report that is too large to attach is still news.
            Err(Failure::TooLarge { .. }) if !files.is_empty() => {
                text.push_str("\n(The attachments were too large for the mail server: see the launch room.)\n");
                let bytes = compose(text, html, &[])?;
                smtp::deliver(&server, from, &waiting, &bytes).await
            }
            other => other,
        };
        let outcome = result.map_err(|failure| match failure {
            Failure::Retry { detail, after } => {
                // Only the first answer is greylisting; later the usual waits apply.
                let first = row.attempts <= 1 || after != Some(smtp::GREYLIST_WAIT);
                SendError::Retry { detail, after: after.filter(|_| first) }
            }
            Failure::Permanent { detail } | Failure::TooLarge { detail } => {
                SendError::Permanent { detail, disable: false }
            }
        })?;
        self.receipt(row, outcome)
    }

    fn receipt(&self, row: &OutboxRow, outcome: smtp::Outcome) -> Result<Receipt, SendError> {
        let list = |those: &[(lettre::Address, String)]| {
            those.iter().map(|(a, why)| format!("{a}: {why}")).collect::<Vec<_>>().join("; ")
        };
        if !outcome.later.is_empty() {
            self.remember(&row.new.id, outcome.accepted.iter().map(ToString::to_string));
            let detail = format!("{} accepted; to come: {}", outcome.accepted.len(), list(&outcome.later));
            return Err(SendError::Retry { detail, after: None });
        }
        self.forget(&row.new.id);
        let mut detail = outcome.answer;
        if !outcome.refused.is_empty() {
            detail = format!("{detail}; refused for {}", list(&outcome.refused));
        }
        Ok(Receipt { remote_id: Some(mail::message_id(row, &self.checked.from)), detail })
    }

    fn remembered(&self, id: &str) -> BTreeSet<String> {
        self.accepted.lock().unwrap_or_else(|e| e.into_inner()).get(id).cloned().unwrap_or_default()
    }
    fn remember(&self, id: &str, addresses: impl Iterator<Item = String>) {
        let mut all = self.accepted.lock().unwrap_or_else(|e| e.into_inner());
        all.entry(id.to_string()).or_default().extend(addresses);
        // Ids grow with time: the first is the oldest.
        while all.len() > REMEMBERED_MAX {
            all.pop_first();
        }
    }
    fn forget(&self, id: &str) {
        self.accepted.lock().unwrap_or_else(|e| e.into_inner()).remove(id);
    }
}

impl Channel for Email {
    fn timeout(&self) -> Duration {
        TIMEOUT
    }
    fn rate(&self) -> Rate {
        RATE
    }
    fn send<'a>(&'a self, row: &'a OutboxRow, files: &'a [AttachedFile]) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.try_send(row, files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    fn checked(text: &str) -> (String, u16, Protection) {
        let c = config(text).validate().map_err(|p| format!("{p:?}")).unwrap();
        (c.host, c.port, c.protection)
    }

    // Delivery itself (good, refused, slow, TLS) is tested against a real server in tests/notify.rs.

    #[test]
    fn the_url_decides_how_the_line_is_protected() {
        let at = |smtp: &str| checked(&format!("to = ['a@b.example']\n{smtp}"));
        assert_eq!(at(""), ("127.0.0.1".into(), 25, Protection::Plain));
        assert_eq!(at("smtp = 'smtps://m.example'"), ("m.example".into(), 465, Protection::Implicit));
        assert_eq!(at("smtp = 'smtp://m.example'"), ("m.example".into(), 587, Protection::StartTls));
        assert_eq!(at("smtp = 'smtp://[::1]:2525'"), ("::1".into(), 2525, Protection::Plain));
        let plain = at("smtp = 'smtp://m.example:26'\nallow_plaintext = true");
        assert_eq!(plain, ("m.example".into(), 26, Protection::Plain));
    }

    #[test]
    fn every_mistake_is_found_at_once() {
        let text = "to = ['nobody', 'a@b.example']\nfrom = 'x'\nsmtp = 'http://u:p@m.example'\nusername = 'u'";
        let found: Vec<String> = config(text).problems().iter().map(ToString::to_string).collect();
        let paths: Vec<&str> = found.iter().map(|p| p.split(':').next().unwrap()).collect();
        assert_eq!(paths, ["to.0", "from", "smtp", "smtp", "username"], "{found:#?}");
        assert!(!config("to = []").problems().is_empty());
    }
}
