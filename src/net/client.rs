//! The HTTP client for sources, channels and gates.

use std::time::Duration;

use bytes::Bytes;
use url::Url;

use crate::domain::gap::GapReason;

/// How redirects are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// A 3xx is the answer.
    None,
    /// At most so many, to the same host only.
    SameHost(u8),
    /// At most so many; credentials are dropped when the host changes.
    Follow(u8),
}

/// One request. Header order is kept.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// From connect to last byte.
    pub timeout: Duration,
    /// After decompression. A longer body ends in [`NetError::BodyTooLarge`] unless `truncate`.
    pub body_bytes_limit: usize,
    /// Keep the first `body_bytes_limit` bytes of a longer body instead of failing.
    pub truncate: bool,
    pub redirects: Redirects,
    /// Loopback and private ranges may be reached. Link-local and cloud metadata addresses never are.
    pub allow_private: bool,
}

impl Request {
    /// GET, 10 s, 1 MiB, no redirects, private addresses allowed.
    pub fn get(url: Url) -> Request {
        Request {
            method: "GET".into(),
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(10),
            body_bytes_limit: 1 << 20,
            truncate: false,
            redirects: Redirects::None,
            allow_private: true,
        }
    }
    pub fn post(url: Url, content_type: &str, body: impl Into<Bytes>) -> Request {
        Request { method: "POST".into(), body: body.into(), ..Request::get(url) }.header("content-type", content_type)
    }
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = timeout;
        self
    }
}

/// Facts about the TLS session, when there was one.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsFacts {
    pub not_before: crate::domain::clock::Timestamp,
    pub not_after: crate::domain::clock::Timestamp,
    pub subject: String,
    pub issuer: String,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// As received: lower-case names, duplicates kept, order kept.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub truncated: bool,
    pub duration: Duration,
    /// After redirects.
    pub url: Url,
    pub tls: Option<TlsFacts>,
}

impl Response {
    /// First value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// Lossy UTF-8.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Redacted: no query string, no userinfo, no secret in any message.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum NetError {
    #[error("name not found: {0}")]
    Dns(String),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the body is longer than {0} bytes")]
    BodyTooLarge(usize),
    #[error("broken HTTP: {0}")]
    Protocol(String),
    /// Refused by the safety engine: exit code 4.
    #[error("refused for safety: {0}")]
    Refused(String),
    /// Budget of the gate is used up, or the circuit breaker is open, or STOP was asked for.
    #[error("stopped: {0}")]
    Stopped(String),
}

impl NetError {
    pub fn gap_reason(&self) -> GapReason {
        match self {
            NetError::Dns(_) => GapReason::Dns,
            NetError::Connect(_) => GapReason::Connect,
            NetError::Tls(_) => GapReason::Tls,
            NetError::Timeout(_) => GapReason::Timeout,
            NetError::BodyTooLarge(_) => GapReason::Limit,
            NetError::Protocol(_) => GapReason::Parse,
            NetError::Refused(_) | NetError::Stopped(_) => GapReason::Disabled,
        }
    }
}

/// Cheap to clone; keeps connections alive between requests.
#[derive(Clone)]
pub struct Client {}

impl Client {
    /// System roots, TLS verified, `User-Agent: hypercare/VERSION`.
    pub fn new() -> Client {
        unimplemented!()
    }
    pub async fn send(&self, _request: Request) -> Result<Response, NetError> {
        unimplemented!()
    }
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}
