//! What an answer announces of its limiter, in all the ways that are about: `RateLimit` and `RateLimit-Policy` as structured
//! fields (draft-ietf-httpapi-ratelimit-headers, 8 and later), the split `RateLimit-Limit/-Remaining/-Reset` of its earlier
//! drafts, the combined field of draft 7, `X-RateLimit-*`, and `Retry-After` (RFC 9110 10.2.3). Pure; wrong text is none.

use std::time::Duration;

use crate::domain::clock::Timestamp;

/// The tightest of what was announced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Announced {
    /// Requests of one window.
    pub quota: Option<u64>,
    pub remaining: Option<u64>,
    /// Until the quota is whole again, seconds.
    pub reset_s: Option<u64>,
    /// `Retry-After`, seconds.
    pub retry_s: Option<u64>,
}

impl Announced {
    /// How long to wait before the next try.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_s.or(self.reset_s).map(Duration::from_secs)
    }

    /// `header` gives a field's value by its lower-case name. `now` turns dates into seconds.
    pub fn read<'h>(header: impl Fn(&str) -> Option<&'h str>, now: Timestamp) -> Announced {
        let mut out = Announced { retry_s: header("retry-after").and_then(|v| retry(v, now)), ..Announced::default() };
        for (field, fill) in [("ratelimit", true), ("ratelimit-policy", false)] {
            for item in header(field).map(items).unwrap_or_default() {
                out.take(&item, fill);
            }
        }
        for prefix in ["ratelimit", "x-ratelimit", "x-rate-limit"] {
            let number = |name: &str| header(&format!("{prefix}-{name}")).and_then(first_number);
            // `100, 100;w=60`: the first is the one in force.
            out.quota = out.quota.or_else(|| number("limit"));
            out.remaining = out.remaining.or_else(|| number("remaining"));
            out.reset_s = out.reset_s.or_else(|| number("reset").map(|reset| seconds(reset, now)));
        }
        out
    }

    /// `state`: `r` and `t` of `RateLimit`; else `q` and `w` of a policy.
    fn take(&mut self, item: &Item, state: bool) {
        let least = |have: Option<u64>, new: Option<u64>| match (have, new) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if state {
            // Of several policies the one that is nearest to its end counts; draft 7 writes names out.
            let remaining = item.number(&["r", "remaining"]);
            if least(self.remaining, remaining) == remaining && remaining.is_some() {
                self.reset_s = item.number(&["t", "reset"]).or(self.reset_s);
            }
            self.remaining = least(self.remaining, remaining);
            self.quota = least(self.quota, item.number(&["limit"]));
        } else {
            let quota = item.number(&["q"]).or_else(|| item.bare.parse().ok());
            self.quota = least(self.quota, quota);
        }
    }
}

/// One member of a list: `"burst";r=9;t=30`, `100;w=60`, or the pairs of draft 7.
#[derive(Debug, Default)]
struct Item {
    bare: String,
    parameters: Vec<(String, String)>,
}

impl Item {
    fn number(&self, names: &[&str]) -> Option<u64> {
        self.parameters.iter().find(|(name, _)| names.contains(&name.as_str()))?.1.parse().ok()
    }
}

/// More members or parameters than these are nonsense.
const PARTS_MAX: usize = 50;

/// Members of a structured list (RFC 9651), as far as numbers go; commas and semicolons within quotes belong to a name.
fn items(value: &str) -> Vec<Item> {
    let draft_7 = split(value, ',').iter().all(|part| pair(part).is_some());
    if draft_7 {
        // `limit=100, remaining=99, reset=60` is one state, not three members.
        let parameters = split(value, ',').iter().filter_map(|part| pair(part)).collect();
        return vec![Item { bare: String::new(), parameters }];
    }
    let member = |part: &String| {
        let mut pieces = split(part, ';').into_iter();
        let bare = pieces.next().unwrap_or_default().trim().trim_matches('"').to_string();
        Item { bare, parameters: pieces.filter_map(|piece| pair(&piece)).collect() }
    };
    split(value, ',').iter().map(member).collect()
}

fn split(text: &str, by: char) -> Vec<String> {
    let (mut parts, mut quoted) = (vec![String::new()], false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if c == by && !quoted && parts.len() < PARTS_MAX => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim().to_ascii_lowercase();
    let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    named.then(|| (name, value.trim().trim_matches('"').to_string()))
}

fn first_number(value: &str) -> Option<u64> {
    let text = value.split([',', ';']).next()?.trim();
    text.parse::<u64>()
        .ok()
        .or_else(|| text.parse::<f64>().ok().filter(|v| *v >= 0.0 && *v < 1e15).map(|v| v.ceil() as u64))
}

/// Seconds from now, or an instant in seconds or milliseconds since the epoch: GitHub and others write the latter.
fn seconds(reset: u64, now: Timestamp) -> u64 {
    let now = (now.ms() / 1000).max(0) as u64;
    match reset {
        0..1_000_000_000 => reset,
        1_000_000_000..1_000_000_000_000 => reset.saturating_sub(now),
        _ => (reset / 1000).saturating_sub(now),
    }
}

/// Seconds or a date.
fn retry(value: &str, now: Timestamp) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(seconds);
    }
    let at = chrono::DateTime::parse_from_rfc2822(value).ok()?.timestamp();
    Some((at - now.ms() / 1000).max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22T10:00:00Z
    const NOW: Timestamp = Timestamp::from_ms(1_795_341_600_000);

    #[track_caller]
    fn says(
        headers: &[(&str, &str)],
        quota: Option<u64>,
        remaining: Option<u64>,
        reset: Option<u64>,
        retry: Option<u64>,
    ) {
        let found = Announced::read(|name| headers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v), NOW);
        assert_eq!(found, Announced { quota, remaining, reset_s: reset, retry_s: retry }, "{headers:?}");
    }

    #[test]
    fn each_generation_of_headers() {
        // express-rate-limit 8, as its drafts are called there.
        let legacy =
            [("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "99"), ("x-ratelimit-reset", "1795341660")];
        says(&legacy, Some(100), Some(99), Some(60), None);
        let draft_6 = [
            ("ratelimit-policy", "100;w=60"),
            ("ratelimit-limit", "100"),
            ("ratelimit-remaining", "99"),
            ("ratelimit-reset", "60"),
        ];
        says(&draft_6, Some(100), Some(99), Some(60), None);
        let draft_7 = [("ratelimit-policy", "100;w=60"), ("ratelimit", "limit=100, remaining=99, reset=60")];
        says(&draft_7, Some(100), Some(99), Some(60), None);
        let draft_8 = [
            ("ratelimit-policy", "\"100-in-1min\"; q=100; w=60; pk=:ZjYyNTA=:"),
            ("ratelimit", "\"100-in-1min\"; r=99; t=60"),
        ];
        says(&draft_8, Some(100), Some(99), Some(60), None);
        // Two policies: the tighter one decides.
        let two = [
            ("ratelimit-policy", "\"burst\";q=10;w=1, \"day;, of\";q=1000;w=86400"),
            ("ratelimit", "\"burst\";r=9;t=1, \"day;, of\";r=4;t=3600"),
        ];
        says(&two, Some(10), Some(4), Some(3600), None);
        // Flask-Limiter, GitLab, and milliseconds.
        says(&[("x-ratelimit-limit", "5"), ("x-ratelimit-reset", "1795341660123")], Some(5), None, Some(60), None);
        says(&[("ratelimit-limit", "10, 10;w=1, 50;w=60")], Some(10), None, None, None);
    }

    #[test]
    fn when_to_come_back() {
        says(&[("retry-after", "120")], None, None, None, Some(120));
        says(&[("retry-after", "Sun, 22 Nov 2026 10:01:30 GMT")], None, None, None, Some(90));
        says(&[("retry-after", "Sun, 22 Nov 2026 09:00:00 GMT")], None, None, None, Some(0));
        let found = Announced::read(|name| (name == "retry-after").then_some("7"), NOW);
        assert_eq!(found.wait(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn nonsense_is_nothing() {
        let names = ["retry-after", "ratelimit", "ratelimit-policy", "ratelimit-limit", "x-ratelimit-reset"];
        for name in names {
            for value in ["", "soon", "-1", "=", ";;;", "\"", "a=b", "limit=x", "\"p\";r=", "NaN", "\u{e4}"] {
                says(&[(name, value)], None, None, None, None);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(value in "[\"a-z0-9=;, .-]{0,60}") {
            let _ = Announced::read(|_| Some(&value), NOW);
        }
    }
}
