//! Feedback sources: the trait, the registry, and what all of them share. One file each, one shape: `Config`,
//! `validate`, `build`, `poll`. A source returns redacted items and a cursor; the caller commits both together.
//!
//! Must not know the store, nor who polls when. Copy `feed.rs` for a new one.

pub mod feed;
pub mod form;
pub mod github;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::text::{self, Markup};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::feedback::{Cursor, FeedbackItem, FeedbackKind, FeedbackPage};
use crate::domain::problem::Problem;
use crate::domain::secret::{Revealed, redact};
use crate::domain::units::Span;
use crate::net::{Client, NetError, Response};

/// The first poll of a source goes back this far, for the baseline.
pub const BACKFILL: Duration = Duration::from_secs(7 * 86_400);
/// Every poll reads this much again, because services list late.
pub const OVERLAP: Duration = Duration::from_secs(600);
/// More often than this no public service likes to be asked.
const INTERVAL_MIN: Span = Span::secs(1);

/// `[feedback.NAME]`: one place where users speak. The kind is a key: `[feedback.issues.from.github]`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub from: From,
}

/// The registry of feedback sources.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// Issues of a GitHub repository.
    Github(github::Config),
    /// RSS, Atom or JSON Feed.
    Feed(feed::Config),
    /// `POST /f/NAME` on the daemon: a form or a webhook of your own.
    Form(form::Config),
}

impl From {
    /// The kind's key in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            From::Github(_) => "github",
            From::Feed(_) => "feed",
            From::Form(_) => "form",
        }
    }
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FeedbackError {
    /// 401, or 403 without rate-limit headers.
    #[error("not authorised: {0}")]
    Auth(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("answer not understood: {0}")]
    Malformed(String),
}

impl std::convert::From<NetError> for FeedbackError {
    fn from(error: NetError) -> FeedbackError {
        FeedbackError::Unreachable(redact(&error.to_string()))
    }
}

/// What building and polling needs.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: SharedClock,
    /// Keys the author hashes.
    pub instance_key: Revealed,
    pub default_service: Option<String>,
}

pub trait FeedbackSource: Send + Sync {
    /// One page after `after`. The first poll back-fills seven days.
    fn poll<'a>(&'a self, after: &'a Cursor, now: Timestamp) -> BoxFuture<'a, Result<FeedbackPage, FeedbackError>>;
}

/// A built source with its place in the house.
pub struct Feedback {
    pub name: String,
    pub service: String,
    pub interval: Duration,
    /// `None` for push-only sources (the form).
    pub source: Option<Box<dyn FeedbackSource>>,
    /// What `POST /f/NAME` hands its body to; `None` for polled sources.
    pub form: Option<Arc<form::Form>>,
}

/// All problems of one `[feedback.NAME]`, with paths from `from.KIND` on. Pure: no network, no files.
pub fn validate(config: &Config) -> Vec<Problem> {
    let result = match &config.from {
        From::Github(c) => c.validate().map(drop),
        From::Feed(c) => c.validate().map(drop),
        From::Form(c) => c.validate().map(drop),
    };
    let kind = config.from.word();
    result.err().unwrap_or_default().into_iter().map(|p| p.under(&["from", kind])).collect()
}

/// Builds one `[feedback.NAME]`. Paths of problems start at `from.KIND`: the caller knows the rest.
pub fn build(name: &str, config: &Config, ctx: &Context) -> Result<Feedback, Vec<Problem>> {
    let kind = config.from.word();
    let under =
        |problems: Vec<Problem>| -> Vec<Problem> { problems.into_iter().map(|p| p.under(&["from", kind])).collect() };
    let service = |own: &Option<String>| {
        own.clone().or_else(|| ctx.default_service.clone()).ok_or_else(|| {
            under(vec![
                Problem::at(["service"], "which service is this feedback about?").hint("add service = \"NAME\""),
            ])
        })
    };
    let author = AuthorKey { key: ctx.instance_key.clone(), source: name.into() };
    Ok(match &config.from {
        From::Github(c) => Feedback {
            name: name.into(),
            service: service(&c.service)?,
            interval: c.interval.get(),
            source: Some(Box::new(c.validate().map_err(under)?.build(name, author, ctx))),
            form: None,
        },
        From::Feed(c) => Feedback {
            name: name.into(),
            service: service(&c.service)?,
            interval: c.interval.get(),
            source: Some(Box::new(c.validate().map_err(under)?.build(name, author, ctx))),
            form: None,
        },
        From::Form(c) => Feedback {
            name: name.into(),
            service: service(&c.service)?,
            interval: five_minutes().get(),
            source: None,
            form: Some(Arc::new(c.validate().map_err(under)?.build(name, author))),
        },
    })
}

pub(crate) fn five_minutes() -> Span {
    Span::secs(300)
}

fn check_interval(interval: Span, problems: &mut Vec<Problem>) {
    if interval < INTERVAL_MIN {
        problems.push(Problem::at(["interval"], "is shorter than 1s").hint("5m is what most services allow"));
    }
}

/// Turns an author into a hash that counts people and names nobody.
#[derive(Clone)]
pub struct AuthorKey {
    key: Revealed,
    source: String,
}

impl AuthorKey {
    pub fn new(key: Revealed, source: &str) -> AuthorKey {
        AuthorKey { key, source: source.into() }
    }
    /// HMAC-SHA-256(instance key, source + author), 32 hex digits; empty for an unknown author. The parts are framed,
    /// so that `ab` + `c` is not `a` + `bc`; letter case of the author does not count.
    pub fn hash(&self, author: &str) -> String {
        let author = author.trim().to_lowercase();
        if author.is_empty() {
            return String::new();
        }
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.key.expose().as_bytes());
        let framed = format!("{}:{}{author}", self.source.len(), self.source);
        hex(&ring::hmac::sign(&key, framed.as_bytes()).as_ref()[..16])
    }
}

/// What somebody at the telephone or the counter wrote down: source of items added by hand.
pub const BY_HAND: &str = "by-hand";

/// One message added by hand, cleaned and redacted like any other. `author` may be empty.
pub fn by_hand(
    key: Revealed,
    title: &str,
    text: &str,
    rating: Option<u8>,
    author: &str,
    now: Timestamp,
) -> FeedbackPage {
    let author_hash = AuthorKey::new(key, BY_HAND).hash(author);
    let item = Raw {
        source: BY_HAND,
        external_id: digest(&[&author_hash, title, text, &now.ms().to_string()]),
        kind: FeedbackKind::Ticket,
        created_at: now,
        updated_at: now,
        fetched_at: now,
        author_hash,
        rating,
        title,
        text,
        markup: Markup::Plain,
        url: None,
        labels: Vec::new(),
    }
    .read();
    FeedbackPage { items: vec![item], ..FeedbackPage::default() }
}

/// First 16 hex digits of SHA-256 over length-framed parts: ids and revisions that depend on content alone.
fn digest(parts: &[&str]) -> String {
    crate::domain::verdict::fingerprint(parts)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What a source knows of an item before it was read.
struct Raw<'a> {
    source: &'a str,
    external_id: String,
    kind: FeedbackKind,
    created_at: Timestamp,
    updated_at: Timestamp,
    fetched_at: Timestamp,
    author_hash: String,
    rating: Option<u8>,
    title: &'a str,
    text: &'a str,
    markup: Markup,
    url: Option<String>,
    labels: Vec<String>,
}

/// Most labels kept of one item, and their length in bytes.
const LABELS_MAX: usize = 20;
const LABEL_BYTES_MAX: usize = 100;
const URL_BYTES_MAX: usize = 500;

impl Raw<'_> {
    /// Cleans, redacts and reads. The revision is a hash of what was said: an edit is a new one, a new comment or a
    /// second delivery is not.
    fn read(self) -> FeedbackItem {
        let reading = text::read(self.title, self.text, self.markup);
        let short = |s: &str| text::redact::redact(&text::normalise::clean(s, LABEL_BYTES_MAX)).text;
        let labels: Vec<String> =
            self.labels.iter().map(|l| short(l)).filter(|l| !l.is_empty()).take(LABELS_MAX).collect();
        let rating = self.rating.filter(|r| (1..=5).contains(r));
        let stars = rating.map(|r| r.to_string()).unwrap_or_default();
        FeedbackItem {
            revision: digest(&[&reading.title, &reading.text, &stars]),
            source: self.source.into(),
            // An id may be a URL with a session in it, or an address.
            external_id: if self.external_id.len() > 64 || self.external_id.contains('@') {
                digest(&[&self.external_id])
            } else {
                text::redact::redact(&text::normalise::clean(&self.external_id, 64)).text
            },
            created_at: self.created_at.min(self.fetched_at),
            updated_at: self.updated_at,
            fetched_at: self.fetched_at,
            kind: self.kind,
            author_hash: self.author_hash,
            rating,
            title: reading.title,
            text: reading.text,
            url: self
                .url
                .filter(|u| u.len() <= URL_BYTES_MAX && (u.starts_with("https://") || u.starts_with("http://")))
                .map(|u| text::redact::redact(&u).text),
            app_version: None,
            platform: None,
            labels,
            redactions: reading.redactions,
            sentiment: text::sentiment::of_rating(rating),
            cues: reading.cues,
        }
    }
}

/// What an HTTP answer means to every polled source.
enum Answer {
    Body,
    NotModified,
    /// Rate-limited until then.
    Wait(Timestamp),
}

/// Longest wait we accept from a server.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Wait when a server asks for patience without saying how much.
const WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// 200, 304, a rate limit (429, or 403 with its headers), or an error.
fn judge(response: &Response, now: Timestamp) -> Result<Answer, FeedbackError> {
    let number = |name: &str| response.header(name).and_then(|v| v.trim().parse::<u64>().ok());
    let retry_after = number("retry-after").map(|s| now.plus(Duration::from_secs(s).min(WAIT_MAX)));
    let reset = (number("x-ratelimit-remaining") == Some(0))
        .then(|| {
            number("x-ratelimit-reset")
                .map_or(now.plus(WAIT_DEFAULT), |s| Timestamp::from_ms((s as i64).saturating_mul(1000)))
        })
        .map(|t| t.max(now.plus(Duration::from_secs(1))).min(now.plus(WAIT_MAX)));
    match response.status {
        200..=299 => Ok(Answer::Body),
        304 => Ok(Answer::NotModified),
        429 => Ok(Answer::Wait(retry_after.or(reset).unwrap_or(now.plus(WAIT_DEFAULT)))),
        403 if retry_after.or(reset).is_some() => Ok(Answer::Wait(retry_after.or(reset).unwrap_or(now))),
        401 | 403 => Err(FeedbackError::Auth(format!("HTTP {}", response.status))),
        404 | 410 => Err(FeedbackError::Unreachable(format!(
            "HTTP {}: there is no such place, or the token may not see it",
            response.status
        ))),
        300..=399 => Err(FeedbackError::Unreachable(format!("HTTP {}: moved; give the new address", response.status))),
        status => Err(FeedbackError::Unreachable(format!("HTTP {status}"))),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::clock::ManualClock;

    pub(crate) fn context(now: Timestamp) -> Context {
        Context {
            client: Client::new(),
            clock: ManualClock::at(now),
            instance_key: Revealed::new("0123456789abcdef0123456789abcdef".into()),
            default_service: Some("shop".into()),
        }
    }

    #[test]
    fn author_hashes_count_people_and_depend_on_key_and_source() {
        let key = Revealed::new("first instance key".into());
        let (a, b) = (AuthorKey::new(key.clone(), "issues"), AuthorKey::new(key, "forum"));
        assert_eq!(a.hash("Ana"), a.hash(" ana "));
        assert_ne!(a.hash("ana"), b.hash("ana"));
        assert_ne!(a.hash("ana"), AuthorKey::new(Revealed::new("second instance key".into()), "issues").hash("ana"));
        assert_eq!(a.hash(" "), "");
        assert_eq!(a.hash("ana").len(), 32);
    }
}
