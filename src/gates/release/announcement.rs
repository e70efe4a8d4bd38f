//! Gate `release.announcement`: do the people concerned know?
//!
//! `hypercare announce` puts one message per release and channel into the outbox; the receipts come back through the
//! store and are handed to this gate, which sends nothing itself. Only a delivered message for this very release counts:
//! a dry run is not a send, and last week's mail was about another commit.
//!
//! Fix: `hypercare announce` (preview: `--dry-run`).

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::release::ReleaseId;
use crate::domain::units::{Span, prose};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{AnnouncementReceipt, GateContext};
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, Lock, Section, Stage};

/// `[gates.release.announcement]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Channels that hear of the release, by their names under `[channel]`.
    pub channels: Vec<String>,
    /// Teams that must have acknowledged. Default: none. Acknowledgement by reply link comes with a later version; until
    /// then a named team is a warning.
    pub teams: Vec<String>,
    /// How long before go-live people must know.
    pub lead: Span,
    /// Whom to ask, said in the announcement: a name, a chat channel, a phone number.
    pub contact: Option<String>,
    /// When it happens, in words: `Sunday 22:00 to 23:00 CET`. Default: the launch's window.
    pub window: Option<String>,
    /// What people will notice. Default: the change log's entry says it.
    pub impact: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            channels: Vec::new(),
            teams: Vec::new(),
            lead: Span::secs(2 * 3600),
            contact: None,
            window: None,
            impact: None,
        }
    }
}

impl Config {
    /// `known`: the configured channels.
    pub fn validate(&self, known: &[String]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        for (i, name) in self.channels.iter().enumerate() {
            if !known.contains(name) {
                let hint = if known.is_empty() {
                    "no channel is configured".into()
                } else {
                    format!("known: {}", known.join(", "))
                };
                problems.push(
                    Problem::at(["channels".into(), i.to_string()], format!("there is no channel `{name}`")).hint(hint),
                );
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

pub struct Announcement;

pub static ABOUT: About = About {
    id: "release.announcement",
    section: Section::Release,
    class: Class::B,
    line: "release announcement sent to relevant teams",
    min_tier: Tier::E3,
    attestable: true,
    stage: Stage::Human,
    lock: Lock::None,
    needs: &[],
    timeout: Duration::from_secs(60),
    skipped_for: &[],
    reads: "the receipts that `hypercare announce` left in the store: channel, release, delivery, acknowledgement",
    decides: "every configured channel has accepted the announcement of this very release, long enough before go-live, \
              and the teams that must know have acknowledged",
    fix: "hypercare announce (preview: --dry-run)",
};

impl Gate for Announcement {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        let shop = |what, announced| Fixture {
            channel: Some("mail"),
            announced,
            ..Fixture::of(what).settings(|config| config.release.announcement.channels = vec!["mail".into()])
        };
        Some(Proof { good: shop("the release was announced", Some("mail")), bad: shop("nobody was told", None) })
    }
    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let config = &ctx.config.release.announcement;
            judge(config, &ctx.channels, &ctx.receipts.announcements, &ctx.rid, ctx.clock.now())
        })
    }
}

/// The version and commit agree wherever both sides know them, and at least one is known.
fn is_about(receipt: &AnnouncementReceipt, rid: &ReleaseId) -> bool {
    let agree = |a: &Option<String>, b: &Option<String>| match (a, b) {
        (Some(a), Some(b)) => Some(a == b),
        _ => None,
    };
    match (agree(&receipt.version, &rid.version), agree(&receipt.commit, &rid.commit)) {
        (None, None) => false,
        (version, commit) => version != Some(false) && commit != Some(false),
    }
}

/// Pure. `receipts` newest first.
fn judge(
    config: &Config,
    channels: &[String],
    receipts: &[AnnouncementReceipt],
    rid: &ReleaseId,
    now: Timestamp,
) -> Outcome {
    if config.channels.is_empty() {
        return Outcome::error("no-channel", "no channel is named that hears of releases")
            .hint("set channels in [gates.release.announcement]");
    }
    if let Err(problems) = config.validate(channels) {
        let text: Vec<String> = problems.iter().map(Problem::to_string).collect();
        return Outcome::error("bad-config", text.join("; ")).hint("correct [gates.release.announcement]");
    }
    if rid.version.is_none() && rid.commit.is_none() {
        return Outcome::error("no-release", "neither version nor commit is known, so no receipt can belong to it")
            .hint("give --repo, or set [gates] version");
    }
    let of = |channel: &String| receipts.iter().find(|r| r.channel == *channel && is_about(r, rid));
    let newest: Vec<(&String, Option<&AnnouncementReceipt>)> = config.channels.iter().map(|c| (c, of(c))).collect();
    let state = |word: &str| -> Vec<&str> {
        newest.iter().filter(|(_, r)| r.is_some_and(|r| r.state == word)).map(|(c, _)| c.as_str()).collect()
    };
    let delivered: Vec<&AnnouncementReceipt> =
        newest.iter().filter_map(|(_, r)| *r).filter(|r| r.state == "delivered").collect();
    let pending = state("pending");
    let unsent: Vec<&str> = newest.iter().filter(|(_, r)| r.is_none()).map(|(c, _)| c.as_str()).collect();
    // Given up, dropped or replaced: it did not arrive.
    let lost: Vec<&str> = newest
        .iter()
        .filter(|(_, r)| r.is_some_and(|r| r.state != "delivered" && r.state != "pending"))
        .map(|(c, _)| c.as_str())
        .collect();

    let known = config.channels.len() as u64;
    let table: Vec<_> =
        newest.iter().map(|(channel, receipt)| serde_json::json!({"channel": channel, "receipt": receipt})).collect();
    let done = |outcome: Outcome| {
        outcome
            .value(delivered.len(), known)
            .covered(known, known)
            .tier(Tier::E3)
            .evidence("receipts", serde_json::json!(table))
    };
    let finding = |rule: &str, severity, channel: &str, message: String| {
        Finding::new(rule, severity, message).route(channel).fix("hypercare announce").identified_by(&[rule, channel])
    };
    if !unsent.is_empty() || !lost.is_empty() {
        let other = receipts.iter().find(|r| !is_about(r, rid));
        let mut findings = Vec::new();
        for channel in &unsent {
            let said = other.filter(|r| r.channel == **channel).and_then(|r| r.version.as_deref());
            let message = match said {
                Some(version) => format!("{channel} has heard of {version} only"),
                None => format!("nothing was sent to {channel}"),
            };
            findings.push(finding("not-sent", Severity::High, channel, message));
        }
        for channel in &lost {
            findings.push(finding(
                "not-delivered",
                Severity::High,
                channel,
                format!("the message to {channel} did not arrive"),
            ));
        }
        let summary = match (unsent.len() as u64 == known, lost.is_empty()) {
            (true, _) => "not announced".to_string(),
            (false, true) => format!("not sent to {}", unsent.join(", ")),
            (false, false) => format!("did not reach {}", [unsent, lost.clone()].concat().join(", ")),
        };
        let hint = if lost.is_empty() {
            "hypercare announce (preview: --dry-run)"
        } else {
            "hypercare outbox list --state dead says why; then: hypercare outbox retry ID"
        };
        return done(Outcome::fail(summary).findings(findings).hint(hint));
    }
    if !pending.is_empty() {
        return Outcome::error("pending", format!("on its way to {}, not accepted yet", pending.join(", ")))
            .value(delivered.len(), known)
            .evidence("receipts", serde_json::json!(table))
            .hint("`hypercare run` delivers what waits in the outbox");
    }
    let last = delivered.iter().map(|r| r.at).max().unwrap_or(now);
    let ago = now.since(last);
    let mut findings = Vec::new();
    for team in &config.teams {
        let acked =
            delivered.iter().any(|r| r.acked_by.as_deref().is_some_and(|a| a.split(',').any(|t| t.trim() == team)));
        if !acked {
            findings.push(finding("not-acknowledged", Severity::Low, team, format!("{team} has not acknowledged")));
        }
    }
    if ago < config.lead.get() {
        let message = format!("announced {} ago; people want {} before go-live", prose(ago), prose(config.lead.get()));
        findings.push(finding("short-lead", Severity::Low, "lead", message));
    }
    match findings.first().map(|f| f.message.clone()) {
        None => done(Outcome::pass(format!("delivered to {} {} ago", config.channels.join(", "), prose(ago)))),
        Some(first) => {
            let hint = "wait until the lead time has passed, or waive it with a reason";
            done(
                Outcome::warn(format!("delivered to {}; {first}", config.channels.join(", ")))
                    .findings(findings)
                    .hint(hint),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::Verdict;
    use crate::gates::testing::NOW;

    const HOUR: Duration = Duration::from_secs(3600);

    fn rid() -> ReleaseId {
        ReleaseId { version: Some("v1.4.0".into()), commit: Some("abc".into()), ..ReleaseId::default() }
    }
    fn receipt(channel: &str, state: &str) -> AnnouncementReceipt {
        AnnouncementReceipt {
            version: Some("v1.4.0".into()),
            commit: Some("abc".into()),
            channel: channel.into(),
            at: NOW.minus(5 * HOUR),
            state: state.into(),
            remote_id: None,
            acked_by: None,
        }
    }
    fn outcome(change: impl FnOnce(&mut Config), receipts: &[AnnouncementReceipt]) -> Outcome {
        let mut config = Config { channels: vec!["mail".into(), "chat".into()], ..Config::default() };
        change(&mut config);
        judge(&config, &["mail".into(), "chat".into()], receipts, &rid(), NOW)
    }

    #[test]
    fn delivered_everywhere_in_time_passes() {
        let o = outcome(|_| {}, &[receipt("mail", "delivered"), receipt("chat", "delivered")]);
        assert_eq!((o.verdict, o.tier), (Verdict::Pass, Some(Tier::E3)));
        assert_eq!(o.summary, "delivered to mail, chat 5 h ago");
    }

    #[test]
    fn anything_less_says_what_is_missing() {
        let (mail, chat) = (|state| receipt("mail", state), |state| receipt("chat", state));
        let check = |receipts: &[AnnouncementReceipt], verdict: Verdict, summary: &str| {
            let o = outcome(|_| {}, receipts);
            assert_eq!((o.verdict, o.summary.as_str()), (verdict, summary), "{o:#?}");
        };
        check(&[], Verdict::Fail, "not announced");
        check(&[mail("delivered")], Verdict::Fail, "not sent to chat");
        check(&[mail("delivered"), chat("dead")], Verdict::Fail, "did not reach chat");
        check(&[mail("delivered"), chat("dropped")], Verdict::Fail, "did not reach chat");
        check(&[mail("delivered"), chat("pending")], Verdict::Error, "on its way to chat, not accepted yet");
        // Newest first: a later success makes up for an earlier failure.
        let retried = outcome(|_| {}, &[chat("delivered"), chat("dead"), mail("delivered")]);
        assert_eq!(retried.verdict, Verdict::Pass);
    }

    #[test]
    fn another_release_does_not_count() {
        let old = |channel| AnnouncementReceipt { version: Some("v1.3.0".into()), ..receipt(channel, "delivered") };
        let o = outcome(|_| {}, &[old("mail"), old("chat")]);
        assert_eq!(o.verdict, Verdict::Fail);
        assert!(o.findings[0].message.contains("v1.3.0 only"), "{:?}", o.findings);
        let moved = |channel| AnnouncementReceipt { commit: Some("def".into()), ..receipt(channel, "delivered") };
        assert_eq!(outcome(|_| {}, &[moved("mail"), moved("chat")]).verdict, Verdict::Fail, "the tag was moved");
    }

    #[test]
    fn short_notice_and_silent_teams_are_warnings() {
        let late = |channel| AnnouncementReceipt { at: NOW.minus(HOUR), ..receipt(channel, "delivered") };
        let o = outcome(|_| {}, &[late("mail"), late("chat")]);
        assert_eq!((o.verdict, o.findings[0].rule.as_str()), (Verdict::Warn, "short-lead"));
        let both = [receipt("mail", "delivered"), receipt("chat", "delivered")];
        let o = outcome(|c| c.teams = vec!["support".into()], &both);
        assert_eq!((o.verdict, o.findings[0].rule.as_str()), (Verdict::Warn, "not-acknowledged"));
        let acked = AnnouncementReceipt { acked_by: Some("ops, support".into()), ..both[0].clone() };
        assert_eq!(outcome(|c| c.teams = vec!["support".into()], &[acked, both[1].clone()]).verdict, Verdict::Pass);
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        let reason = |change: fn(&mut Config)| outcome(change, &[]).reason;
        assert_eq!(reason(|c| c.channels.clear()).as_deref(), Some("no-channel"));
        assert_eq!(reason(|c| c.channels.push("pager".into())).as_deref(), Some("bad-config"));
        let config = Config { channels: vec!["mail".into()], ..Config::default() };
        let o = judge(&config, &["mail".into()], &[], &ReleaseId::default(), NOW);
        assert_eq!(o.reason.as_deref(), Some("no-release"));
    }
}
