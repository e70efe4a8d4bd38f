//! The inbound form: `POST /f/NAME` with JSON or a form body. Origin list, rate limit per address, honeypot and minimum
//! fill time against robots; no cookies. The web room answers 202 with the same words whatever happens here, so that a
//! robot learns nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AuthorKey, Raw, digest};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{Cursor, FeedbackKind, FeedbackPage};
use crate::domain::problem::Problem;
use crate::domain::units::Span;
use crate::sources::text::{self, Markup};

/// Longest body: a long letter with its context.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// Addresses remembered for the rate limit; when full, the oldest window goes.
const ADDRESSES_MAX: usize = 10_000;
const WINDOW: Duration = Duration::from_secs(60);
/// Fields read of one form.
const FIELDS_MAX: usize = 64;
/// Longest short field (version, platform) in bytes.
const SHORT_BYTES_MAX: usize = 64;

/// `[feedback.NAME.from.form]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Default: the only service.
    pub service: Option<String>,
    /// Origins whose pages may post: `https://shop.example`. Empty: any, and requests without an Origin.
    pub origins: Vec<String>,
    /// Messages per address and minute. Default 5: more is a robot or an office behind one address.
    pub per_minute: u32,
    /// Name of a field that people cannot see; a message that fills it is a robot's.
    pub honeypot: String,
    /// A form that says when it was shown (`started`, seconds since the epoch) must have been open at least this long.
    pub min_fill: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            service: None,
            origins: Vec::new(),
            per_minute: 5,
            honeypot: "website".into(),
            min_fill: Span::secs(2),
        }
    }
}

/// Why a message was not taken. Never told to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormRefused {
    #[error("body over 16 KiB")]
    TooLarge,
    #[error("content type is neither JSON nor a form")]
    ContentType,
    #[error("body not understood")]
    Malformed,
    #[error("neither a text nor a rating")]
    Empty,
    #[error("too many messages from this address")]
    RateLimited,
    #[error("filled in by a robot")]
    Robot,
}

/// A configuration without problems.
pub struct Checked(Config);

impl Config {
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        for origin in &self.origins {
            let parsed = url::Url::parse(origin).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
            if parsed.is_none_or(|u| u.origin().ascii_serialization() != *origin) {
                problems.push(
                    Problem::at(["origins"], format!("`{origin}` is not an origin"))
                        .hint("scheme, host and port only: https://shop.example"),
                );
            }
        }
        if self.per_minute == 0 {
            problems.push(Problem::at(["per_minute"], "is 0: nobody could write").hint("leave the source out instead"));
        }
        if self.honeypot.is_empty() || FIELDS.contains(&self.honeypot.as_str()) {
            problems.push(Problem::at(["honeypot"], "must be a field of its own").hint("\"website\" is a good bait"));
        }
        if problems.is_empty() { Ok(Checked(self.clone())) } else { Err(problems) }
    }
}

impl Checked {
    pub fn build(self, name: &str, author: AuthorKey) -> Form {
        Form { name: name.into(), author, config: self.0, seen: Mutex::new(BTreeMap::new()) }
    }
}

/// What a form may send; aliases are other people's names for the same thing.
const FIELDS: [&str; 13] = [
    "text",
    "message",
    "comment",
    "body",
    "title",
    "subject",
    "rating",
    "email",
    "name",
    "url",
    "app_version",
    "platform",
    "started",
];

/// A form that waits for messages.
pub struct Form {
    name: String,
    author: AuthorKey,
    config: Config,
    /// Address (IPv6: its /64) → start of its minute, messages in it.
    seen: Mutex<BTreeMap<IpAddr, (Timestamp, u32)>>,
}

impl Form {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// May a page of this origin post here? `None`: the request had no Origin header.
    pub fn origin_allowed(&self, origin: Option<&str>) -> bool {
        self.config.origins.is_empty() || origin.is_some_and(|o| self.config.origins.iter().any(|a| a == o))
    }

    /// One message as a page of one item. The caller stores the page with an empty cursor.
    pub fn accept(
        &self,
        body: &[u8],
        content_type: &str,
        remote: IpAddr,
        now: Timestamp,
    ) -> Result<FeedbackPage, FormRefused> {
        if body.len() > BODY_BYTES_MAX {
            return Err(FormRefused::TooLarge);
        }
        if !self.within_rate(remote, now) {
            return Err(FormRefused::RateLimited);
        }
        let fields = fields(body, content_type)?;
        let get =
            |names: &[&str]| names.iter().find_map(|n| fields.get(*n)).map(|v| v.trim()).filter(|v| !v.is_empty());
        if get(&[&self.config.honeypot]).is_some() {
            return Err(FormRefused::Robot);
        }
        if let Some(started) = get(&["started"]) {
            let started = Timestamp::parse(started).ok_or(FormRefused::Malformed)?;
            if now.since(started) < self.config.min_fill.get() {
                return Err(FormRefused::Robot);
            }
        }
        let text = get(&["text", "message", "comment", "body"]).unwrap_or("");
        let rating = match get(&["rating"]) {
            Some(r) => Some(r.parse::<u8>().ok().filter(|r| (1..=5).contains(r)).ok_or(FormRefused::Malformed)?),
            None => None,
        };
        if text.is_empty() && rating.is_none() {
            return Err(FormRefused::Empty);
        }
        // Without a name or an address to go by, the sender's network address tells two people apart, hashed.
        let remote_text = network(remote).to_string();
        let author = self.author.hash(get(&["email", "name"]).unwrap_or(&remote_text));
        let title = get(&["title", "subject"]).unwrap_or("");
        let minute = (now.ms() / 60_000).to_string();
        let mut item = Raw {
            source: &self.name,
            // The same words of the same person within a minute are a double click.
            external_id: digest(&[&author, title, text, rating.map_or("", |_| "rated"), &minute]),
            kind: FeedbackKind::Form,
            created_at: now,
            updated_at: now,
            fetched_at: now,
            author_hash: author.clone(),
            rating,
            title,
            text,
            markup: Markup::Plain,
            url: get(&["url"]).map(String::from),
            labels: Vec::new(),
        }
        .read();
        let short = |v: &str| text::redact::redact(&text::normalise::clean(v, SHORT_BYTES_MAX).replace('\n', " ")).text;
        item.app_version = get(&["app_version"]).map(short);
        item.platform = get(&["platform"]).map(short);
        Ok(FeedbackPage { items: vec![item], next: Cursor::default(), more: false, not_before: None })
    }

    /// Counts this message and says whether it is still within the limit.
    fn within_rate(&self, remote: IpAddr, now: Timestamp) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(|e| e.into_inner());
        if seen.len() >= ADDRESSES_MAX {
            seen.retain(|_, (start, _)| now.since(*start) < WINDOW);
            if seen.len() >= ADDRESSES_MAX {
                // Full of fresh addresses: a flood. Everybody waits rather than nobody being counted.
                return false;
            }
        }
        let entry = seen.entry(network(remote)).or_insert((now, 0));
        if now.since(entry.0) >= WINDOW {
            *entry = (now, 0);
        }
        entry.1 += 1;
        entry.1 <= self.config.per_minute
    }
}

/// One household has a whole /64 of IPv6.
fn network(remote: IpAddr) -> IpAddr {
    match remote.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
    }
}

/// Flat fields of a JSON object or a form; other JSON values than strings, numbers and booleans are left out.
fn fields(body: &[u8], content_type: &str) -> Result<BTreeMap<String, String>, FormRefused> {
    let kind = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    if kind == "application/json" || kind.ends_with("+json") {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(body).map_err(|_| FormRefused::Malformed)?;
        let text = |v: serde_json::Value| match v {
            serde_json::Value::String(s) => Some(s),
            serde_json::Value::Number(n) => Some(n.to_string()),
            serde_json::Value::Bool(b) => Some(b.to_string()),
            _ => None,
        };
        return Ok(object.into_iter().take(FIELDS_MAX).filter_map(|(k, v)| Some((k, text(v)?))).collect());
    }
    if kind == "application/x-www-form-urlencoded" {
        return Ok(url::form_urlencoded::parse(body)
            .take(FIELDS_MAX)
            .map(|(k, v)| (k.into_owned(), v.into_owned()))
            .collect());
    }
    Err(FormRefused::ContentType)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::Revealed;

    const JSON: &str = "application/json";

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-22T12:00:00Z").unwrap()
    }

    fn form() -> Form {
        let config = Config { origins: vec!["https://shop.example".into()], ..Config::default() };
        config
            .validate()
            .ok()
            .unwrap()
            .build("contact", AuthorKey::new(Revealed::new("a key of some length".into()), "contact"))
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    #[test]
    fn takes_json_and_forms() {
        let form = form();
        let json = br#"{"text":"I was charged twice, ana@mail.example","rating":1,"app_version":"1.4.0","email":"ana@mail.example","nested":{}}"#;
        let page = form.accept(json, "application/json; charset=utf-8", ip(1), now()).unwrap();
        let item = &page.items[0];
        assert_eq!((&*item.text, item.rating, item.sentiment), ("I was charged twice, [email]", Some(1), Some(-1.0)));
        assert_eq!((item.cues[0].name.as_str(), item.app_version.as_deref()), ("payment", Some("1.4.0")));
        let body = b"message=hello+there&rating=5";
        let page = form.accept(body, "application/x-www-form-urlencoded", ip(2), now()).unwrap();
        assert_eq!(page.items[0].text, "hello there");
        assert_ne!(page.items[0].author_hash, item.author_hash);
    }

    #[test]
    fn a_double_click_is_one_item() {
        let form = form();
        let ids: Vec<String> = (0..2)
            .map(|_| form.accept(br#"{"text":"hi"}"#, JSON, ip(1), now()).unwrap().items[0].external_id.clone())
            .collect();
        assert_eq!(ids[0], ids[1]);
    }

    #[test]
    fn refuses_robots_and_nonsense() {
        let started = |seconds: i64| format!(r#"{{"text":"x","started":{}}}"#, now().ms() / 1000 - seconds);
        for (body, kind, why) in [
            (r#"{"text":"x","website":"http://spam"}"#.to_string(), JSON, FormRefused::Robot),
            (started(1), JSON, FormRefused::Robot),
            ("{}".into(), JSON, FormRefused::Empty),
            (r#"{"text":"  "}"#.into(), JSON, FormRefused::Empty),
            ("[1]".into(), JSON, FormRefused::Malformed),
            (r#"{"rating":9}"#.into(), JSON, FormRefused::Malformed),
            ("text=x".into(), "text/plain", FormRefused::ContentType),
            ("x".repeat(BODY_BYTES_MAX + 1), JSON, FormRefused::TooLarge),
        ] {
            assert_eq!(form().accept(body.as_bytes(), kind, ip(1), now()).unwrap_err(), why, "{body:.60}");
        }
        assert!(form().accept(started(5).as_bytes(), JSON, ip(1), now()).is_ok());
    }

    #[test]
    fn five_a_minute_per_address_and_per_v6_network() {
        let form = form();
        let send = |remote: IpAddr, at: Timestamp| form.accept(br#"{"text":"x"}"#, JSON, remote, at).is_ok();
        assert!((0..5).all(|_| send(ip(1), now())));
        assert!(!send(ip(1), now()));
        assert!(send(ip(2), now()));
        assert!(send(ip(1), now().plus(Duration::from_secs(61))));
        let v6 = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        assert!((0..5).all(|i| send(v6(i), now())));
        assert!(!send(v6(99), now()));
    }

    #[test]
    fn origins() {
        assert!(form().origin_allowed(Some("https://shop.example")));
        assert!(!form().origin_allowed(Some("https://evil.example")) && !form().origin_allowed(None));
        let bad = Config {
            origins: vec!["https://shop.example/".into()],
            per_minute: 0,
            honeypot: "text".into(),
            ..Config::default()
        };
        assert_eq!(bad.validate().err().unwrap().len(), 3);
    }
}
