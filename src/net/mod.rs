//! The only door to the outside: one HTTP client with timeouts, body cap, redirect rule and pinning; the phase-timed
//! probe client; the safety engine that every gate must pass. Knows no gate, source or channel.
//!
//! Read `client.rs` first, then `address.rs` (which addresses are never reached) and `safety.rs` (what gates may do).

pub mod address;
mod body;
pub mod client;
pub mod probe;
mod redirect;
pub mod redis;
pub mod safety;
#[cfg(test)]
pub(crate) mod tests_support;
pub mod tls;

use std::time::Duration;

use crate::domain::clock::Timestamp;

pub use client::{Client, NetError, Redirects, Request, Response};
pub use tls::init;

/// What every request says it is, unless it brings a `user-agent` of its own.
pub const USER_AGENT: &str = concat!("hypercare/", env!("CARGO_PKG_VERSION"));

/// The URL for logs, errors and ledgers: no userinfo, no fragment, names of query parameters without their values.
pub fn redact_url(url: &url::Url) -> String {
    let mut shown = url.clone();
    // Fails only for URLs that cannot have userinfo.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if url.query().is_some() {
        let names: Vec<String> = url.query_pairs().map(|(name, _)| format!("{name}=…")).collect();
        shown.set_query(None);
        return crate::domain::secret::redact(&format!("{shown}?{}", names.join("&")));
    }
    crate::domain::secret::redact(shown.as_str())
}

/// `Retry-After` as seconds or as a date (RFC 9110, 10.2.3).
pub fn retry_after(answer: &Response, now: Timestamp) -> Option<Duration> {
    let text = answer.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(&text.replace("GMT", "+0000")).ok()?;
    Some(Timestamp::from_ms(date.timestamp_millis()).since(now))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shown_url_keeps_no_secret() {
        let url = "https://user:hunter2@shop.example/a?token=abc&b=1#frag".parse().unwrap();
        assert_eq!(super::redact_url(&url), "https://shop.example/a?token=…&b=…");
    }
}
