//! Silences: labels that are not told for a while. A silenced alert still fires; when the silence ends while it does, it
//! is told. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::alert::Silence;
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, MatchOp};

use super::route;

/// Nobody's silence outlives a day.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a silence needs; `problem` is a sentence for people.
pub fn new(
    id: String,
    matchers: &str,
    lasts: Duration,
    comment: &str,
    author: &str,
    now: Timestamp,
) -> Result<Silence, String> {
    let mut pairs = BTreeMap::new();
    for matcher in route::matchers(matchers)? {
        let MatchOp::Equal(value) = matcher.op else {
            return Err(format!("a silence names labels exactly: write {}=\"VALUE\"", matcher.label));
        };
        pairs.insert(matcher.label, value);
    }
    if pairs.is_empty() {
        return Err(
            "a silence without a label would mute everything; name at least one, for example alertname=\"CpuHigh\""
                .into(),
        );
    }
    if comment.trim().is_empty() {
        return Err("a silence needs a comment: why, for whoever comes next".into());
    }
    if lasts.is_zero() || lasts > DURATION_MAX {
        return Err("a silence lasts between 1s and 24h".into());
    }
    Ok(Silence {
        id,
        matchers: pairs,
        author: author.into(),
        comment: comment.trim().into(),
        from: now,
        until: now.plus(lasts),
    })
}

pub fn muted(silences: &[Silence], labels: &Labels, now: Timestamp) -> bool {
    silences.iter().any(|s| s.mutes(labels, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_needs_a_label_a_reason_and_an_end() {
        let now = Timestamp::from_ms(0);
        let try_ = |m: &str, hours: u64, c: &str| new("s".into(), m, Duration::from_secs(hours * 3600), c, "ana", now);
        let silence = try_("alertname=CpuHigh", 1, "known").unwrap();
        let labels = Labels::new([("alertname", "CpuHigh"), ("service", "shop")]);
        assert!(muted(std::slice::from_ref(&silence), &labels, now));
        assert!(!muted(&[silence], &labels, now.plus(Duration::from_secs(3600))));
        for (m, h, c) in [("", 1, "x"), ("a=b", 0, "x"), ("a=b", 25, "x"), ("a=b", 1, " "), ("a=~b", 1, "x")] {
            assert!(try_(m, h, c).is_err(), "{m} {h} {c}");
        }
    }
}
