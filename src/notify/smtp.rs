//! One SMTP session: connect, TLS, login, one message, one answer per recipient. lettre's own `send` gives up at the
//! first refused recipient; here the others still get theirs. Retrying is the dispatcher's.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};

use crate::domain::secret::redact;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// `smtps://`: TLS from the first byte.
    Implicit,
    /// `smtp://`: STARTTLS or nothing is sent.
    StartTls,
    /// Loopback, or allowed by the user.
    Plain,
}

/// Where and how.
pub struct Server {
    pub host: String,
    pub port: u16,
    pub protection: Protection,
    /// `None` for [`Protection::Plain`].
    pub tls: Option<TlsParameters>,
    pub login: Option<Credentials>,
}

/// What the server said.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Accepted, with the server's answer.
    pub accepted: Vec<Address>,
    /// 4xx: try these again.
    pub later: Vec<(Address, String)>,
    /// 5xx: never.
    pub refused: Vec<(Address, String)>,
    /// The answer to the message itself: `250 2.0.0 queued as 4F1`.
    pub answer: String,
}

/// Why nothing was accepted.
#[derive(Debug, PartialEq)]
pub enum Failure {
    /// Try the whole again.
    Retry {
        detail: String,
        after: Option<Duration>,
    },
    Permanent {
        detail: String,
    },
    /// 552, 554 5.3.4 or SIZE: it may go without its attachments.
    TooLarge {
        detail: String,
    },
}

/// A greylisting server wants to be asked again after some minutes, not seconds.
pub const GREYLIST_WAIT: Duration = Duration::from_secs(300);
/// A wrong password is mended by a person; asking faster may lock the account.
const LOGIN_WAIT: Duration = Duration::from_secs(300);

/// Delivers `mail` to `to` over a new connection. Bounded by the caller's timeout.
pub async fn deliver(server: &Server, from: &Address, to: &[Address], mail: &[u8]) -> Result<Outcome, Failure> {
    let mut connection = open(server).await?;
    let result = transact(&mut connection, from, to, mail).await;
    // The answer is in; whether the farewell is heard does not matter.
    let _ = tokio::time::timeout(Duration::from_secs(2), connection.quit()).await;
    result
}

async fn open(server: &Server) -> Result<AsyncSmtpConnection, Failure> {
    let hello = ClientId::default();
    let implicit = (server.protection == Protection::Implicit).then(|| server.tls.clone()).flatten();
    let address = (server.host.as_str(), server.port);
    // Some servers hold the banner for 30 s and more to tell robots: no timeout of our own below the whole.
    let mut connection =
        AsyncSmtpConnection::connect_tokio1(address, None, &hello, implicit, None).await.map_err(|e| patient(&e))?;
    if server.protection == Protection::StartTls {
        if !connection.can_starttls() {
            let detail = "the server offers no STARTTLS; allow_plaintext = true would send without TLS".to_string();
            return Err(Failure::Retry { detail, after: None });
        }
        let Some(tls) = server.tls.clone() else {
            return Err(Failure::Permanent { detail: "TLS is not set up".into() });
        };
        connection.starttls(tls, &hello).await.map_err(|e| patient(&e))?;
    }
    if let Some(login) = &server.login {
        connection.auth(&[Mechanism::Plain, Mechanism::Login], login).await.map_err(|e| Failure::Retry {
            detail: format!("login refused: {}", shown(&e)),
            after: e.is_permanent().then_some(LOGIN_WAIT),
        })?;
    }
    Ok(connection)
}

async fn transact(
    connection: &mut AsyncSmtpConnection,
    from: &Address,
    to: &[Address],
    mail: &[u8],
) -> Result<Outcome, Failure> {
    let mut parameters = Vec::new();
    let ascii = |a: &Address| a.to_string().is_ascii();
    let offers_utf8 = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    if !to.iter().all(ascii) || !ascii(from) {
        if !offers_utf8 {
            return Err(Failure::Permanent { detail: "the server does not take addresses beyond ASCII".into() });
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(Some(from.clone()), parameters)).await.map_err(|e| sorted(&e, "sender"))?;

    let mut outcome = Outcome::default();
    for address in to {
        match connection.command(Rcpt::new(address.clone(), vec![])).await {
            Ok(_) => outcome.accepted.push(address.clone()),
            Err(e) if e.is_permanent() => outcome.refused.push((address.clone(), shown(&e))),
            Err(e) if e.is_transient() => outcome.later.push((address.clone(), shown(&e))),
            Err(e) => return Err(patient(&e)),
        }
    }
    if outcome.accepted.is_empty() {
        return Err(nobody(&outcome));
    }
    connection.command(Data).await.map_err(|e| sorted(&e, "data"))?;
    let answer = connection.message(mail).await.map_err(|e| sorted(&e, "message"))?;
    outcome.answer = format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "));
    outcome.answer = redact(outcome.answer.trim());
    Ok(outcome)
}

fn nobody(outcome: &Outcome) -> Failure {
    let texts = outcome.later.iter().chain(&outcome.refused).map(|(a, why)| format!("{a}: {why}"));
    let detail = texts.collect::<Vec<_>>().join("; ");
    match outcome.later.is_empty() {
        true => Failure::Permanent { detail },
        false => {
            let grey = outcome.later.iter().any(|(_, why)| why.contains("450") || why.contains("451"));
            Failure::Retry { detail, after: grey.then_some(GREYLIST_WAIT) }
        }
    }
}

/// Connection trouble of any kind: the server may be back soon.
fn patient(error: &Error) -> Failure {
    Failure::Retry { detail: shown(error), after: None }
}

/// An answer to a command of the transaction.
fn sorted(error: &Error, what: &str) -> Failure {
    let detail = format!("{what}: {}", shown(error));
    let code = error.status().map(|c| c.to_string()).unwrap_or_default();
    match code.as_str() {
        "552" => Failure::TooLarge { detail },
        _ if error.is_permanent() && detail.contains("5.3.4") => Failure::TooLarge { detail },
        _ if error.is_permanent() => Failure::Permanent { detail },
        "450" | "451" => Failure::Retry { detail, after: Some(GREYLIST_WAIT) },
        _ => Failure::Retry { detail, after: None },
    }
}

/// The error and its causes on one line, redacted.
fn shown(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    super::message::tidy_line(&redact(&text), 500)
}
