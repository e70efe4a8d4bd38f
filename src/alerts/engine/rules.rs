//! Rule groups that are due, feedback, and hypercare's own troubles: each becomes observations of alerts, and each alert
//! takes one step.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{
    BROKEN_AFTER, Draft, Engine, EngineError, FEEDBACK_EVERY_MIN, Identity, Key, RESTART_HOLD, SELF_GROUP,
    SELF_SERVICE, Scheduled,
};
use super::{memory, new_id, remember, timing, transition};
use crate::alerts::evaluate::{self, Instance, Sight};
use crate::alerts::measure::Measure;
use crate::alerts::pack;
use crate::alerts::rulefile::{AlertRule, Kind, Rule, RuleGroup};
use crate::alerts::standing::Evaluation;
use crate::alerts::state::{self, OnMissing, Seen, Timing};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::clock::Timestamp;
use crate::domain::gap::Gap;
use crate::domain::metric::{LabelledSample, Labels, NAME, Sample, stale_marker};

/// Gaps are read this far back: as far as `evaluate::sight` looks.
const GAPS_BACK: Duration = Duration::from_secs(20 * 60);
/// Where queries are answered elsewhere, rules wait so long for the newest samples to be there: a moment as a rule.
const ARRIVES_WITHIN: Duration = Duration::from_secs(2);
/// Days of feedback the spike's baseline needs, and the window before it.
const FEEDBACK_BACK: Duration = Duration::from_secs(8 * 86_400);
/// A message that waits longer than this is stuck: retries have come to their slowest.
const STUCK_AFTER: Duration = Duration::from_secs(600);
/// A damaged file is spoken of until it is removed, but not longer than this.
const SET_ASIDE_TOLD: Duration = Duration::from_secs(86_400);
/// Samples are stored again when they were for this long.
const SETTLED_AFTER: Duration = Duration::from_secs(30);
/// In the group [`SELF_GROUP`].
const SELF_ALERTS: [&str; 6] =
    ["RuleBroken", "RuleLimitHit", "OutboxStuck", "ChannelDown", "SamplesNotStored", "SamplesSetAside"];
/// What tells an alert's own number from all others.
pub const VALUE_SERIES: &str = "hypercare_alert_value";

/// At once, without patience: feedback and self rules do their own counting.
const AT_ONCE: Timing = Timing { wait: Duration::ZERO, keep_firing: Duration::ZERO, on_missing: OnMissing::Resolve };

impl Engine {
    pub(super) async fn evaluate_due(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        let gaps = match self.store.samples.gaps(draft.now.minus(GAPS_BACK), draft.now).await {
            Ok(gaps) => gaps,
            Err(error) => {
                // What cannot be read says nothing about anybody: rules wait, our own troubles are told.
                tracing::error!(%error, "rules were not evaluated: the samples cannot be read");
                draft.report.errors.push((SELF_GROUP.into(), error.to_string()));
                return Ok(());
            }
        };
        let count = self.files.len() + self.packs.groups.len();
        for i in 0..count {
            if self.scheduled_at(i).due.is_some_and(|due| due > draft.now) {
                continue;
            }
            if draft.report.groups_evaluated == 0 {
                self.store.samples.arrived(ARRIVES_WITHIN).await;
            }
            let scheduled = self.scheduled_at(i);
            scheduled.due = Some(next_slot(&scheduled.group, scheduled.interval, draft.now));
            let group = scheduled.group.clone();
            draft.report.groups_evaluated += 1;
            let (begun, mut rules_took) = (self.clock.monotonic(), Vec::with_capacity(group.rules.len()));
            for rule in &group.rules {
                draft.report.rules_evaluated += 1;
                let begun = self.clock.monotonic();
                let result = match &rule.kind {
                    Kind::Record => self.record(&group, rule, draft).await,
                    Kind::Alert(alert) => self.alert(&group, rule, alert, &gaps, draft).await,
                };
                self.note(&rule.id, result, draft);
                rules_took.push(self.clock.monotonic().saturating_sub(begun));
            }
            let took = self.clock.monotonic().saturating_sub(begun);
            let scheduled = self.scheduled_at(i);
            (scheduled.last, scheduled.rules_took) = (Some(Evaluation { at: draft.now, took }), rules_took);
        }
        Ok(())
    }

    /// Groups of files, then of packs.
    fn scheduled_at(&mut self, i: usize) -> &mut Scheduled {
        match i.checked_sub(self.files.len()) {
            None => &mut self.files[i],
            Some(i) => &mut self.packs.groups[i],
        }
    }

    /// A recording rule: results are durable before the next rule of the group reads them.
    async fn record(&mut self, group: &RuleGroup, rule: &Rule, draft: &Draft) -> Result<(), String> {
        let at = draft.now.minus(group.offset);
        let mut samples = evaluate::record(&*self.store.reader(), group, rule, at, &self.options).await?;
        let now_there: BTreeSet<Labels> = samples.iter().map(|s| s.labels.clone()).collect();
        let before = self.recorded.insert(rule.id.clone(), now_there.clone()).unwrap_or_default();
        let gone = before.into_iter().filter(|l| !now_there.contains(l));
        samples.extend(gone.map(|labels| LabelledSample { labels, sample: Sample { t: at, v: stale_marker() } }));
        if !samples.is_empty() {
            self.store.samples.append(samples).await.map_err(|e| format!("the result could not be stored: {e}"))?;
            self.store.samples.arrived(ARRIVES_WITHIN).await;
        }
        Ok(())
    }

    async fn alert(
        &mut self,
        group: &RuleGroup,
        rule: &Rule,
        alert: &AlertRule,
        gaps: &[Gap],
        draft: &mut Draft,
    ) -> Result<(), String> {
        let at = draft.now.minus(group.offset);
        let service_of = |labels: &Labels| self.service_of(labels);
        let context = evaluate::Context {
            external_url: self.setup.external_url.as_deref().unwrap_or(""),
            external_labels: &std::collections::BTreeMap::new(),
            now: draft.now,
            options: &self.options,
            service_of: &service_of,
        };
        let instances = evaluate::alerts(&*self.store.reader(), group, rule, alert, at, &context).await?;
        let known = draft.alerts.range((rule.id.clone(), String::new())..).next().is_some_and(|(k, _)| k.0 == rule.id);
        let waiting = self.unready.contains(&rule.id);
        let sight = match known || waiting || !instances.is_empty() {
            // What was collected here, stale markers and all, whoever answers the query.
            true => evaluate::sight(&self.store.samples, rule, gaps, at, &self.options).await?,
            false => Sight::default(),
        };
        if waiting {
            // An empty result right after a restart is what an empty window gives, not recovery.
            let reach = rule.expr.reach(&self.options).unwrap_or_default().min(RESTART_HOLD);
            let whole_window = draft.now >= self.opened_at.plus(reach);
            let fresh = sight.as_of.is_some_and(|t| t >= self.opened_at) && (!instances.is_empty() || whole_window);
            let blind = rule.expr.selectors().is_empty();
            if !(fresh || blind || draft.now >= self.opened_at.plus(RESTART_HOLD)) {
                return Ok(());
            }
            self.unready.remove(&rule.id);
        }
        let identity = Identity {
            id: &rule.id,
            expr: rule.expr.text(),
            timing: timing(alert),
            measure: &alert.measure,
            limit: group.limit,
        };
        let refused = observe(draft, &identity, instances, sight, &self.told_active());
        let trouble = self.troubles.entry(rule.id.clone()).or_default();
        trouble.limit_hit = refused > 0;
        if refused > 0 {
            tracing::warn!(
                rule = rule.id,
                refused,
                limit = group.limit,
                "rule limit hit: existing alerts are kept, new ones refused"
            );
        }
        Ok(())
    }

    /// Counts errors in a row; an error leaves every state as it is (D3).
    fn note(&mut self, rule: &str, result: Result<(), String>, draft: &mut Draft) {
        let trouble = self.troubles.entry(rule.to_string()).or_default();
        match result {
            Ok(()) => trouble.in_a_row = 0,
            Err(message) => {
                trouble.in_a_row = trouble.in_a_row.saturating_add(1);
                if trouble.in_a_row == 1 || trouble.text != message {
                    tracing::warn!(rule, error = message, "rule could not be evaluated");
                }
                trouble.text = message.clone();
                draft.report.errors.push((rule.to_string(), message));
            }
        }
    }

    /// Fingerprints some group has told as firing or unknown: they are not forgotten before that is settled.
    fn told_active(&self) -> BTreeSet<String> {
        self.told.values().filter(|g| g.closed_at.is_none()).flat_map(|g| g.told.keys().cloned()).collect()
    }

    /// The only service, the one the job is named after, or none.
    fn service_of(&self, labels: &Labels) -> String {
        let services = &self.setup.services;
        let job = labels.get("job").filter(|j| services.contains_key(*j));
        let only = || services.keys().next().filter(|_| services.len() == 1).map(String::as_str);
        job.or_else(only).unwrap_or("").to_string()
    }

    pub(super) async fn judge_feedback(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        if draft.now < self.feedback_due {
            return Ok(());
        }
        self.feedback_due = draft.now.plus(self.setup.config.interval.get().max(FEEDBACK_EVERY_MIN));
        let disabled = |name: &str| !self.setup.config.pack || self.setup.config.disable.iter().any(|d| d == name);
        for service in &self.setup.feedback_services {
            let items = self.store.state.feedback(service, draft.now.minus(FEEDBACK_BACK), draft.now).await?;
            let raised = pack::feedback::judge(&items, draft.now);
            for name in pack::feedback::NAMES.into_iter().filter(|n| !disabled(n)) {
                let instances = raised.iter().filter(|r| r.name == name).map(|r| {
                    let own = [("alertname", r.name), ("severity", r.severity), ("service", service.as_str())];
                    let labels = own.into_iter().chain(r.labels.iter().map(|(n, v)| (*n, v.as_str())));
                    Instance {
                        labels: Labels::new(labels),
                        service: service.clone(),
                        annotations: [("summary", &r.summary), ("description", &r.description)]
                            .into_iter()
                            .map(|(k, v)| (k.to_string(), v.clone()))
                            .collect(),
                        value: r.value,
                    }
                });
                let measure = Measure { what: "people or messages".into(), ..Measure::default() };
                let id = feedback_rule(service, name);
                let identity = Identity { id: &id, expr: "", timing: AT_ONCE, measure: &measure, limit: 0 };
                let sight = Sight { as_of: items.iter().map(|i| i.fetched_at).max(), missing: false };
                observe(draft, &identity, instances.collect(), sight, &self.told_active());
            }
        }
        Ok(())
    }

    /// What the watcher says about itself: [`SELF_ALERTS`].
    pub(super) async fn judge_self(&mut self, draft: &mut Draft) -> Result<(), EngineError> {
        let mut found: Vec<(&str, &str, &str, String, String, f64)> = Vec::new();
        for (rule, trouble) in &self.troubles {
            if trouble.in_a_row >= BROKEN_AFTER {
                let text =
                    format!("rule {rule} could not be evaluated {} times in a row: {}", trouble.in_a_row, trouble.text);
                found.push(("RuleBroken", "warning", "rule", rule.clone(), text, trouble.in_a_row.into()));
            }
            if trouble.limit_hit {
                let text = format!(
                    "rule {rule} gives more alerts than its group's limit; existing ones are kept, new ones refused"
                );
                found.push(("RuleLimitHit", "warning", "rule", rule.clone(), text, 1.0));
            }
        }
        for depth in self.store.state.outbox_depths().await? {
            let waits = depth.oldest_pending.map_or(Duration::ZERO, |t| draft.now.since(t));
            if waits > STUCK_AFTER {
                let text = format!(
                    "{} messages wait for channel {}, the oldest for {}",
                    depth.pending,
                    depth.channel,
                    crate::domain::units::prose(waits)
                );
                found.push(("OutboxStuck", "critical", "channel", depth.channel.clone(), text, depth.pending as f64));
            }
            if depth.dead > 0 {
                let text = format!(
                    "{} messages for channel {} were given up; see `hypercare outbox list`",
                    depth.dead, depth.channel
                );
                found.push(("ChannelDown", "warning", "channel", depth.channel, text, depth.dead as f64));
            }
        }
        if let Some(why) = self.store.samples.refused() {
            let dir = self.store.dir().display();
            let text = format!(
                "samples are not being stored in {dir}: {why}; once that is mended they are again, without a restart"
            );
            found.push(("SamplesNotStored", "critical", "file", "samples.db".into(), text, 1.0));
        }
        for bad in self.store.samples.set_aside().into_iter().filter(|b| draft.now.since(b.at) < SET_ASIDE_TOLD) {
            let name = bad.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = format!(
                "samples.db was damaged and is now {name}; what could be read of it goes on in a new file, the rest of \
                 the history is lost. Look at the disk, then remove that file",
            );
            found.push(("SamplesSetAside", "warning", "file", name, text, 1.0));
        }
        for name in SELF_ALERTS {
            let instances =
                found.iter().filter(|f| f.0 == name).map(|(name, severity, label, of, text, value)| Instance {
                    labels: Labels::new([
                        ("alertname", *name),
                        ("severity", severity),
                        ("service", SELF_SERVICE),
                        (label, of),
                    ]),
                    service: SELF_SERVICE.into(),
                    annotations: [("summary".to_string(), text.clone())].into(),
                    value: *value,
                });
            let id = format!("{SELF_GROUP}/{name}");
            // A disk that is full to the brim takes a small write now and then.
            let keep_firing = if name == "SamplesNotStored" { SETTLED_AFTER } else { Duration::ZERO };
            let timing = Timing { keep_firing, ..AT_ONCE };
            let identity = Identity { id: &id, expr: "", timing, measure: &Measure::default(), limit: 0 };
            let sight = Sight { as_of: Some(draft.now), missing: false };
            observe(draft, &identity, instances.collect(), sight, &self.told_active());
        }
        Ok(())
    }

    /// Alerts whose rule is gone: what fired resolves and says so.
    pub(super) fn remove_orphans(&self, draft: &mut Draft) {
        let mut rules: BTreeSet<String> =
            self.scheduled().flat_map(|s| s.group.rules.iter().map(|r| r.id.clone())).collect();
        for service in &self.setup.feedback_services {
            rules.extend(pack::feedback::NAMES.iter().map(|n| feedback_rule(service, n)));
        }
        let own = format!("{SELF_GROUP}/");
        let told = self.told_active();
        let orphans: Vec<Key> =
            draft.alerts.keys().filter(|(rule, _)| !rules.contains(rule) && !rule.starts_with(&own)).cloned().collect();
        for key in orphans {
            let Some(alert) = draft.alerts.get_mut(&key) else { continue };
            let (mut memory, change) = state::rule_removed(&memory(alert), draft.now);
            if memory.state == AlertState::Resolved && change.is_none() {
                memory = state::step(&memory, Seen::False, &AT_ONCE, draft.now).0;
            }
            let before = alert.clone();
            settle(draft, &key, memory, change, "the rule is gone".into(), &before, &told);
        }
    }

    /// `ALERTS`, `ALERTS_FOR_STATE` as Prometheus writes them, and each active alert's value; ended by stale markers.
    pub(super) async fn write_alert_series(&mut self, draft: &Draft) {
        let now = draft.now;
        let mut there = BTreeSet::new();
        let mut samples = Vec::new();
        for alert in draft.alerts.values() {
            let state = match alert.state {
                AlertState::Pending => "pending",
                AlertState::Firing | AlertState::Unknown => "firing",
                AlertState::Inactive | AlertState::Resolved => continue,
            };
            let of = |name: &str| alert.labels.with(NAME, name);
            let mut write = |labels: Labels, v: f64, fresh: bool| {
                if fresh {
                    samples.push(LabelledSample { labels: labels.clone(), sample: Sample { t: now, v } });
                }
                there.insert(labels);
            };
            let fresh = alert.last_eval == now;
            write(of("ALERTS").with("alertstate", state), 1.0, fresh);
            write(of("ALERTS_FOR_STATE"), alert.active_at.unwrap_or(now).seconds(), fresh);
            if let Some(value) = alert.value {
                write(of(VALUE_SERIES), value, fresh && alert.last_true == Some(now));
            }
        }
        let gone = self.alert_series.difference(&there).cloned();
        samples.extend(gone.map(|labels| LabelledSample { labels, sample: Sample { t: now, v: stale_marker() } }));
        if !samples.is_empty() {
            // They tell the past; the alerts themselves are in the other file and go out.
            if let Err(error) = self.store.samples.append(samples).await {
                // Told as SamplesNotStored, and this comes with every look.
                tracing::debug!(%error, "the series ALERTS could not be stored");
                return;
            }
        }
        self.alert_series = there;
    }
}

/// Absolute multiples of the interval, offset by a hash of the group so that groups do not run in step.
fn next_slot(group: &RuleGroup, interval: Duration, now: Timestamp) -> Timestamp {
    let step = interval.as_millis().max(1) as i64;
    let hash = Labels::new([("file", group.file.as_str()), ("group", group.name.as_str())]).fingerprint();
    // Whole seconds for people who read logs; short intervals have no room for it.
    let offset = (hash % step as u64) as i64 / 1000 * 1000;
    let elapsed = now.ms() - offset;
    Timestamp::from_ms((elapsed.div_euclid(step) + 1) * step + offset)
}

fn feedback_rule(service: &str, name: &str) -> String {
    format!("{}/{name}", pack::group_name(service))
}

/// One evaluation of one rule: every instance was seen true, every other alert of the rule was not. Returns how many new
/// instances the limit refused.
fn observe(
    draft: &mut Draft,
    rule: &Identity<'_>,
    instances: Vec<Instance>,
    sight: Sight,
    told: &BTreeSet<String>,
) -> usize {
    let known: Vec<Key> = draft.alerts.keys().filter(|k| k.0 == rule.id).cloned().collect();
    let active = |draft: &Draft, key: &Key| {
        draft
            .alerts
            .get(key)
            .is_some_and(|a| matches!(a.state, AlertState::Pending | AlertState::Firing | AlertState::Unknown))
    };
    let mut active_count = known.iter().filter(|k| active(draft, k)).count();
    let (mut seen, mut refused) = (BTreeSet::new(), 0);
    for instance in instances {
        let fingerprint = format!("{:016x}", instance.labels.fingerprint());
        let key = (rule.id.to_string(), fingerprint.clone());
        if !active(draft, &key) {
            if rule.limit > 0 && active_count >= rule.limit {
                refused += 1;
                continue;
            }
            active_count += 1;
        }
        let value = instance.value.is_finite().then_some(instance.value);
        let alert = draft.alerts.entry(key.clone()).or_insert_with(|| Alert {
            fingerprint,
            rule: rule.id.into(),
            service: instance.service.clone(),
            labels: instance.labels.clone(),
            annotations: instance.annotations.clone(),
            state: AlertState::Inactive,
            value,
            active_at: None,
            fired_at: None,
            resolved_at: None,
            last_eval: draft.now,
            data_as_of: None,
            last_true: None,
            missing_since: None,
            episode: None,
            expr: rule.expr.into(),
        });
        let before = alert.clone();
        alert.annotations = instance.annotations;
        alert.value = value;
        alert.expr = rule.expr.into();
        alert.last_eval = draft.now;
        alert.data_as_of = sight.as_of.or(alert.data_as_of);
        let (memory, change) = state::step(&memory(alert), Seen::True, &rule.timing, draft.now);
        let text = text(alert, rule.measure);
        seen.insert(key.clone());
        settle(draft, &key, memory, change, text, &before, told);
    }
    for key in known.iter().filter(|k| !seen.contains(*k)) {
        let Some(alert) = draft.alerts.get_mut(key) else { continue };
        let before = alert.clone();
        alert.last_eval = draft.now;
        let seen = if sight.missing { Seen::Missing } else { Seen::False };
        let (memory, change) = state::step(&memory(alert), seen, &rule.timing, draft.now);
        let text = text(alert, rule.measure);
        settle(draft, key, memory, change, text, &before, told);
    }
    refused
}

/// One line of what was measured.
fn text(alert: &Alert, measure: &Measure) -> String {
    match alert.annotations.get("summary").map(|s| s.trim()).filter(|s| !s.is_empty()) {
        Some(summary) => summary.to_string(),
        None => measure.sentence(alert.value),
    }
}

/// Writes the new state into the draft: transition, episode, and what is to be stored or forgotten.
fn settle(
    draft: &mut Draft,
    key: &Key,
    memory: state::Memory,
    change: Option<state::Change>,
    text: String,
    before: &Alert,
    told: &BTreeSet<String>,
) {
    let Some(alert) = draft.alerts.get_mut(key) else { return };
    // What the world still believes to fire is not forgotten before it has been told otherwise.
    if memory.state == AlertState::Inactive && before.state == AlertState::Resolved && told.contains(&key.1) {
        return;
    }
    let fired_before = before.fired_at.is_some() && matches!(before.state, AlertState::Firing | AlertState::Unknown);
    remember(alert, &memory);
    if alert.state == AlertState::Firing && !fired_before {
        alert.episode = Some(new_id(draft.now));
    }
    if matches!(alert.state, AlertState::Pending) {
        alert.episode = None;
    }
    if let Some(change) = change
        // A resolved alert that is forgotten is no news.
        && !(change.from == AlertState::Resolved && change.to == AlertState::Inactive)
    {
        draft.report.transitions.push(transition(alert, change, draft.now, text));
    }
    if alert.state == AlertState::Inactive {
        draft.alerts.remove(key);
        draft.changed.remove(key);
        draft.forget.insert(key.clone());
    } else if alert != before {
        draft.changed.insert(key.clone());
        draft.forget.remove(key);
    }
}
