//! Groups: which alerts belong together, when each group must speak, and the messages of those that must speak now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::rules::VALUE_SERIES;
use super::{Draft, Engine, EngineError, Key, RESTART_HOLD, new_id};
use crate::alerts::group::{self, Member, News, REOPEN};
use crate::alerts::measure::Measure;
use crate::alerts::rulefile::Kind;
use crate::alerts::{inhibit, message, route, silence};
use crate::domain::alert::{Ack, Alert, AlertSeverity, AlertState, NotifGroup, NotifyReason, Silence};
use crate::domain::clock::Timestamp;
use crate::domain::marker::MarkerKind;
use crate::domain::metric::{Labels, MatchOp, Matcher, NAME, SeriesReader};
use crate::domain::notification::NewOutbox;
use crate::store::state::alerts::AlertingCommit;

/// An ack lasts at most a day, so older ones are over.
const ACKS_BACK: Duration = Duration::from_secs(24 * 3600);
/// Samples read to find an alert's worst value.
const PEAK_SAMPLES_MAX: usize = 100_000;

/// What mutes, and who has said "I have it".
struct World {
    silences: Vec<Silence>,
    acks: Vec<Ack>,
    quiet: BTreeSet<String>,
}

impl Engine {
    async fn world(&self, now: Timestamp) -> Result<World, EngineError> {
        let quiet =
            self.scheduled().flat_map(|s| &s.group.rules).filter(|r| matches!(&r.kind, Kind::Alert(a) if a.quiet));
        Ok(World {
            silences: self.store.state.silences(now).await?,
            acks: self.store.state.acks(now.minus(ACKS_BACK), now).await?,
            quiet: quiet.map(|r| r.id.clone()).collect(),
        })
    }

    /// Members by group key, with route and group labels.
    fn members<'a>(
        &self,
        alerts: &'a BTreeMap<Key, Alert>,
        world: &World,
        now: Timestamp,
    ) -> BTreeMap<String, (usize, Labels, Vec<Member<'a>>)> {
        let mut out: BTreeMap<String, (usize, Labels, Vec<Member<'a>>)> = BTreeMap::new();
        let spoken = alerts.values().filter(|a| {
            !world.quiet.contains(&a.rule)
                && matches!(a.state, AlertState::Firing | AlertState::Unknown | AlertState::Resolved)
        });
        for alert in spoken {
            let muted = silence::muted(&world.silences, &alert.labels, now)
                || inhibit::source(alert, alerts.values().filter(|a| !world.quiet.contains(&a.rule))).is_some();
            for index in route::takes(&self.routes, &alert.labels) {
                let by: Vec<&str> = self.routes[index].group_by.iter().map(String::as_str).collect();
                let labels = alert.labels.only(&by);
                let entry = out.entry(route::group_key(index, &labels)).or_insert((index, labels, Vec::new()));
                entry.2.push(Member { alert, muted });
            }
        }
        out
    }

    /// The groups whose row changes with this draft: opened, re-opened, re-scheduled, acknowledged.
    pub(super) async fn regroup(&self, draft: &Draft) -> Result<Vec<NotifGroup>, EngineError> {
        let now = draft.now;
        let world = self.world(now).await?;
        let members = self.members(&draft.alerts, &world, now);
        let open = self.told.values().filter(|g| g.closed_at.is_none()).map(|g| g.key.clone());
        let keys: BTreeSet<String> = members.keys().cloned().chain(open).collect();
        let mut changed = Vec::new();
        for key in keys {
            let old = self.told.get(&key);
            let Some((index, labels, members)) = members.get(&key) else {
                changed.extend(old.and_then(|g| self.without_members(g, draft)));
                continue;
            };
            let live =
                members.iter().any(|m| !m.muted && matches!(m.alert.state, AlertState::Firing | AlertState::Unknown));
            let route = &self.routes[*index];
            let mut next = match old {
                Some(group) if group.closed_at.is_none() => group.clone(),
                Some(group) if live && group.closed_at.is_some_and(|at| now.since(at) < REOPEN) => {
                    NotifGroup { closed_at: None, next_flush: None, ..group.clone() }
                }
                _ if live => self.open_group(&key, labels, members, old, now).await?,
                _ => continue,
            };
            next.channels = route.channels.clone();
            next.failover = route.failover.clone();
            let news = group::news(&next, members);
            let ack = group::acknowledged(&world.acks, &next, &news, now);
            next.acked_until = ack.map(|a| a.until);
            next.acked_by = ack.map(|a| a.by.clone());
            let timings = group::timings(&self.setup.config, route, group::severity(&news));
            next.next_flush = group::next_flush(&next, &news, &timings, now);
            if next.next_flush.is_none() && next.told.is_empty() {
                // Nothing was told and nothing is left to tell: silenced or inhibited while it waited.
                next.closed_at = Some(now);
            }
            if Some(&next) != old {
                changed.push(next);
            }
        }
        Ok(changed)
    }

    /// An open group that no alert belongs to any more: rules, routes or labels changed, or all were forgotten. What
    /// still fires is told by its new group; of the rest the end is told here.
    fn without_members(&self, old: &NotifGroup, draft: &Draft) -> Option<NotifGroup> {
        let fires = |fingerprint: &str| {
            draft
                .alerts
                .values()
                .any(|a| a.fingerprint == fingerprint && matches!(a.state, AlertState::Firing | AlertState::Unknown))
        };
        let mut next = old.clone();
        next.told.retain(|fingerprint, _| !fires(fingerprint));
        next.next_flush = Some(old.next_flush.map_or(draft.now, |at| at.min(draft.now)));
        if next.told.is_empty() {
            next.closed_at = Some(draft.now);
            next.next_flush = None;
        }
        (next != *old).then_some(next)
    }

    async fn open_group(
        &self,
        key: &str,
        labels: &Labels,
        members: &[Member<'_>],
        old: Option<&NotifGroup>,
        now: Timestamp,
    ) -> Result<NotifGroup, EngineError> {
        // From the first member's firing, so that its own flash is still within the episode.
        let fired =
            members.iter().filter(|m| m.alert.state != AlertState::Resolved).filter_map(|m| m.alert.fired_at).min();
        // After whatever the episode before has said, so that this one's first message is its root.
        let opened_at = fired
            .unwrap_or(now)
            .max(old.and_then(|g| g.closed_at).map_or(Timestamp::MIN, |at| at.plus(Duration::from_millis(1))));
        let service = members.first().map_or("", |m| &m.alert.service);
        let number = self.store.state.next_episode_number().await?;
        Ok(NotifGroup {
            labels: labels.clone(),
            last_sent: old.and_then(|g| g.last_sent),
            seq: old.map_or(0, |g| g.seq),
            ..NotifGroup::opened(key, service, &new_id(now), number, opened_at)
        })
    }

    /// Speaks for every group that is due: outbox rows and group state in one commit. Returns the rows written.
    pub(super) async fn flush(&mut self, now: Timestamp) -> Result<usize, EngineError> {
        let due = |g: &&NotifGroup| g.closed_at.is_none() && g.next_flush.is_some_and(|at| at <= now);
        let due: Vec<NotifGroup> = self.told.values().filter(due).cloned().collect();
        if due.is_empty() {
            return Ok(0);
        }
        let world = self.world(now).await?;
        let members = self.members(&self.alerts, &world, now);
        let mut commit = AlertingCommit::default();
        for old in due {
            let (index, members) = match members.get(&old.key) {
                Some((index, _, members)) => (*index, members.as_slice()),
                None => (self.routes.len() - 1, &[][..]),
            };
            if self.held(&old, members, now) {
                continue;
            }
            let news = group::news(&old, members);
            let timings = group::timings(&self.setup.config, &self.routes[index], group::severity(&news));
            let reason = group::decide(&old, &news, &timings, now);
            let next = group::after(&old, &news, reason, &timings, now);
            if reason != NotifyReason::None {
                commit.outbox.extend(self.rows(&old, &next, reason, &news, &world, now).await?);
            }
            if next != old {
                commit.groups.push(next);
            }
        }
        let (rows, groups) = (commit.outbox.len(), commit.groups.clone());
        if !commit.is_empty() {
            self.store.state.commit_alerting(commit).await?;
        }
        self.told.extend(groups.into_iter().map(|g| (g.key.clone(), g)));
        Ok(rows)
    }

    /// After a restart a group waits until each of its rules has seen fresh data, so that only real differences are told.
    fn held(&self, group: &NotifGroup, members: &[Member<'_>], now: Timestamp) -> bool {
        let waiting = |rule: &str| self.unready.contains(rule);
        let told =
            |fingerprint: &String| self.alerts.values().any(|a| a.fingerprint == *fingerprint && waiting(&a.rule));
        now < self.opened_at.plus(RESTART_HOLD)
            && (members.iter().any(|m| waiting(&m.alert.rule)) || group.told.keys().any(told))
    }

    async fn rows(
        &self,
        old: &NotifGroup,
        next: &NotifGroup,
        reason: NotifyReason,
        news: &News<'_>,
        world: &World,
        now: Timestamp,
    ) -> Result<Vec<NewOutbox>, EngineError> {
        let all: Vec<&Alert> = news.live.iter().chain(&news.over).chain(&news.flashes).copied().collect();
        let began = all.iter().filter_map(|a| a.active_at).min().unwrap_or(old.opened_at);
        let markers = self.store.state.markers(&old.service, began.minus(message::MARKER_NEAR), began).await?;
        // An incident is an effect, not a cause.
        let marker = markers.iter().rev().find(|m| !matches!(m.kind, MarkerKind::Incident | MarkerKind::Note));
        let complaints = match self.setup.feedback_services.contains(&old.service) {
            true => {
                let items = self.store.state.feedback(&old.service, began, now).await?;
                let people: BTreeSet<&str> = items.iter().map(|i| i.author_hash.as_str()).collect();
                Some((items.len(), people.len()))
            }
            false => None,
        };
        let peak = match (reason, all.first()) {
            (NotifyReason::AllResolved, Some(alert)) => self.peak(alert, now).await,
            _ => None,
        };
        let mine: BTreeSet<&str> = all.iter().map(|a| a.fingerprint.as_str()).collect();
        let others: Vec<&Alert> = self
            .alerts
            .values()
            .filter(|a| a.state == AlertState::Firing && a.service == old.service && !world.quiet.contains(&a.rule))
            .filter(|a| !mine.contains(a.fingerprint.as_str()))
            .collect();
        let ack = world.acks.iter().rev().find(|a| a.episode == old.episode);
        let measure = |alert: &Alert| -> Measure { self.measure_of(&alert.rule) };
        let message = message::build(&message::Context {
            group: next,
            reason,
            news,
            service: self.setup.services.get(&old.service),
            measure: &measure,
            marker,
            others: &others,
            ack,
            peak,
            complaints,
            external_url: self.setup.external_url.as_deref(),
            root: old.last_sent.is_none_or(|at| at < old.opened_at),
            now,
        });
        let priority = message.severity;
        Ok(next
            .channels
            .iter()
            .map(|channel| NewOutbox {
                id: new_id(now),
                channel: channel.clone(),
                group_key: next.key.clone(),
                seq: next.seq,
                reason,
                priority,
                message: message.clone(),
                not_before: now,
                give_up_at: now.plus(give_up(priority)),
                failover: next.failover.clone().filter(|_| priority == AlertSeverity::Critical),
                enqueued_at: now,
            })
            .collect())
    }

    /// The worst value while it was active, as far as samples are kept.
    async fn peak(&self, alert: &Alert, now: Timestamp) -> Option<f64> {
        let from = alert.active_at?;
        let mut matchers: Vec<Matcher> = alert.labels.iter().map(|(n, v)| Matcher::equal(n, v)).collect();
        matchers.push(Matcher { label: NAME.into(), op: MatchOp::Equal(VALUE_SERIES.into()) });
        let to = alert.resolved_at.unwrap_or(now);
        // A message without its worst value beats no message.
        let series = self.store.samples.select(&matchers, from, to, PEAK_SAMPLES_MAX).await.ok()?;
        let values = series.iter().flat_map(|s| &s.samples).map(|s| s.v).filter(|v| v.is_finite());
        let below = self.measure_of(&alert.rule).below;
        values.reduce(|a, b| if below { a.min(b) } else { a.max(b) })
    }
}

/// How long a message is worth sending.
fn give_up(severity: AlertSeverity) -> Duration {
    Duration::from_secs(match severity {
        AlertSeverity::Critical => 24 * 3600,
        AlertSeverity::Warning => 6 * 3600,
        AlertSeverity::Info => 2 * 3600,
    })
}
