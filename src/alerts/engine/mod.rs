//! Reads, evaluates, records transitions and notifications together: the only part of this room that touches the store.
//!
//! One [`Engine::tick`]: evaluate every rule group that is due (`rules.rs`), step each alert, decide which groups must
//! speak and when (`tell.rs`), keep the incidents (`incidents.rs`), and commit all of it as one; then flush the groups
//! that are due in a second commit. A crash between the two loses nothing, because `next_flush` was in the first.

mod incidents;
mod packs;
mod rules;
mod tell;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::gotmpl::Template;
use super::measure::Measure;
use super::route::{self, Route};
use super::rulefile::{self, Kind, RuleGroup, RuleProblem};
use super::standing::{Board, Evaluation, GroupStanding, RuleStanding};
use super::state::{self, Memory, OnMissing, Timing};
use super::{Config, RouteConfig};
use crate::domain::alert::{Alert, AlertState, NotifGroup, Transition};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::incident::Incident;
use crate::domain::metric::{Labels, ReadError};
use crate::domain::secret::Secret;
use crate::domain::service::ServiceConfig;
use crate::promql::Options;
use crate::store::state::alerts::AlertingCommit;
use crate::store::{Store, StoreError};

/// After a restart nothing new is told before the rule has seen fresh data, but not longer than this.
const RESTART_HOLD: Duration = Duration::from_secs(90);
/// A message for the outside dead-man switch goes out this often.
pub const PING_EVERY: Duration = Duration::from_secs(60);
/// Feedback is judged at most this often, however short the rules' interval is.
const FEEDBACK_EVERY_MIN: Duration = Duration::from_secs(5);
/// Errors in a row after which a rule is called broken.
const BROKEN_AFTER: u32 = 3;
/// Group of hypercare's alerts about itself, and their service.
pub const SELF_GROUP: &str = "hypercare:self";
pub const SELF_SERVICE: &str = "hypercare";

/// What the engine needs of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    pub services: BTreeMap<String, ServiceConfig>,
    pub config: Config,
    /// Resolved against the configuration's folder, globs expanded, sorted.
    pub rule_files: Vec<PathBuf>,
    pub routes: Vec<RouteConfig>,
    /// Names of all channels: where everything goes that no route takes.
    pub channels: Vec<String>,
    /// Address of the launch room, for links.
    pub external_url: Option<String>,
    /// Services that have a feedback source.
    pub feedback_services: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Rules(Vec<RuleProblem>),
    #[error("route {number}: {message}")]
    Route { number: usize, message: String },
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What one tick did.
#[derive(Debug, Clone, Default)]
pub struct TickReport {
    pub groups_evaluated: usize,
    pub rules_evaluated: usize,
    pub transitions: Vec<Transition>,
    /// Outbox rows written.
    pub messages: usize,
    /// Rule id and what went wrong with it.
    pub errors: Vec<(String, String)>,
}

/// A rule as the API and `alerts` show it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RuleInfo {
    pub group: String,
    pub file: String,
    pub id: String,
    pub name: String,
    /// `recording` or `alerting`.
    pub kind: &'static str,
    pub expr: String,
    pub wait_s: f64,
    pub keep_firing_for_s: f64,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub interval_s: f64,
    /// `ok`, `err`, `unknown` (not evaluated yet).
    pub health: &'static str,
    pub last_error: String,
    pub last_eval: Option<Timestamp>,
}

/// A rule group with its schedule.
struct Scheduled {
    group: Arc<RuleGroup>,
    interval: Duration,
    /// `None`: not evaluated yet, so due.
    due: Option<Timestamp>,
    last: Option<Evaluation>,
    /// Of each rule at that evaluation; rules that came since are not there.
    rules_took: Vec<Duration>,
}

impl Scheduled {
    fn new(group: RuleGroup, interval: Duration) -> Scheduled {
        Scheduled { group: Arc::new(group), interval, due: None, last: None, rules_took: Vec::new() }
    }
}

#[derive(Debug, Clone, Default)]
struct Trouble {
    in_a_row: u32,
    text: String,
    limit_hit: bool,
}

type Key = (String, String);

/// Evaluates rules and decides what is told. One per daemon.
pub struct Engine {
    store: Store,
    clock: SharedClock,
    setup: Setup,
    routes: Vec<Route>,
    options: Options,
    files: Vec<Scheduled>,
    packs: packs::Packs,
    alerts: BTreeMap<Key, Alert>,
    told: BTreeMap<String, NotifGroup>,
    incidents: BTreeMap<String, Incident>,
    /// Series each recording rule gave last, for stale markers.
    recorded: BTreeMap<String, BTreeSet<Labels>>,
    /// `ALERTS` and friends written last.
    alert_series: BTreeSet<Labels>,
    troubles: BTreeMap<String, Trouble>,
    opened_at: Timestamp,
    /// Rules that have not seen fresh data since a restart.
    unready: BTreeSet<String>,
    feedback_due: Timestamp,
    last_tick: Option<Timestamp>,
    last_ping: Option<Timestamp>,
    board: Board,
}

/// A tick in the making; becomes the engine's memory when it is committed.
struct Draft {
    now: Timestamp,
    alerts: BTreeMap<Key, Alert>,
    changed: BTreeSet<Key>,
    forget: BTreeSet<Key>,
    report: TickReport,
}

/// What stepping an alert needs of its rule.
struct Identity<'a> {
    id: &'a str,
    expr: &'a str,
    timing: Timing,
    measure: &'a Measure,
    /// New instances beyond this are refused; 0 is no limit.
    limit: usize,
}

impl Engine {
    /// Loads rules, alerts and groups, and applies what a gap since the last sign of life does to timers. Call it before
    /// the first beat of this boot.
    pub async fn open(store: Store, setup: Setup, clock: SharedClock) -> Result<Engine, EngineError> {
        let now = clock.now();
        let routes = parse_routes(&setup)?;
        let files = load_files(&setup)?;
        let alerts: BTreeMap<Key, Alert> =
            store.state.alerts().await?.into_iter().map(|a| ((a.rule.clone(), a.fingerprint.clone()), a)).collect();
        let told = store.state.notif_groups().await?.into_iter().map(|g| (g.key.clone(), g)).collect();
        let gap = store.state.last_beat().await?.map_or(Duration::ZERO, |(at, _)| now.since(at));
        let mut engine = Engine {
            store,
            clock,
            setup,
            routes,
            options: Options::default(),
            files,
            packs: packs::Packs::default(),
            alerts,
            told,
            incidents: BTreeMap::new(),
            recorded: BTreeMap::new(),
            alert_series: BTreeSet::new(),
            troubles: BTreeMap::new(),
            opened_at: now,
            unready: BTreeSet::new(),
            feedback_due: Timestamp::MIN,
            last_tick: None,
            last_ping: None,
            board: Board::default(),
        };
        engine.refresh_packs(now).await?;
        engine.load_incidents(now).await?;
        engine.after_gap(gap, now).await?;
        engine.post();
        Ok(engine)
    }

    /// Takes a new configuration. With a mistake in it the old one stays. Alerts whose rule is gone resolve at the next
    /// tick with reason `rule_removed`.
    pub async fn reload(&mut self, setup: Setup) -> Result<(), EngineError> {
        let (routes, files) = (parse_routes(&setup)?, load_files(&setup)?);
        (self.setup, self.routes, self.files) = (setup, routes, files);
        self.packs = packs::Packs::default();
        self.feedback_due = Timestamp::MIN;
        self.refresh_packs(self.clock.now()).await
    }

    /// Evaluates what is due at `now` and tells what is due. After an error nothing was changed in memory: call again.
    pub async fn tick(&mut self, now: Timestamp) -> Result<TickReport, EngineError> {
        self.refresh_packs(now).await?;
        let mut draft = Draft {
            now,
            alerts: self.alerts.clone(),
            changed: BTreeSet::new(),
            forget: BTreeSet::new(),
            report: TickReport::default(),
        };
        self.evaluate_due(&mut draft).await?;
        self.judge_feedback(&mut draft).await?;
        self.judge_self(&mut draft).await?;
        self.remove_orphans(&mut draft);
        self.write_alert_series(&draft).await;

        let groups = self.regroup(&draft).await?;
        let incidents = self.changed_incidents(&draft);
        let commit = AlertingCommit {
            alerts: draft.changed.iter().filter_map(|k| draft.alerts.get(k).cloned()).collect(),
            forget: draft.forget.iter().cloned().collect(),
            transitions: draft.report.transitions.clone(),
            groups: groups.clone(),
            outbox: Vec::new(),
            incidents: incidents.clone(),
        };
        if !commit.is_empty() {
            self.store.state.commit_alerting(commit).await?;
        }
        self.alerts = draft.alerts;
        self.told.extend(groups.into_iter().map(|g| (g.key.clone(), g)));
        if !incidents.is_empty() {
            self.load_incidents(now).await?;
        }
        draft.report.messages = self.flush(now).await?;
        self.last_tick = Some(now);
        if draft.report.groups_evaluated > 0 {
            self.post();
        }
        Ok(draft.report)
    }

    /// Where to read how the rules stand, while the engine works.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    fn post(&self) {
        let standing = |s: &Scheduled| {
            let rule = |(i, rule): (usize, &rulefile::Rule)| RuleStanding {
                last: s.last.zip(s.rules_took.get(i)).map(|(last, took)| Evaluation { took: *took, ..last }),
                error: self.troubles.get(&rule.id).filter(|t| t.in_a_row > 0).map(|t| t.text.clone()),
            };
            let rules = s.group.rules.iter().enumerate().map(rule).collect();
            GroupStanding { group: s.group.clone(), interval: s.interval, last: s.last, rules }
        };
        self.board.write(self.scheduled().map(standing).collect());
    }

    /// When `tick` has something to do next; never before `now`.
    pub fn next_wake(&self, now: Timestamp) -> Timestamp {
        let rules = self.scheduled().map(|s| s.due.unwrap_or(now));
        let flushes = self.told.values().filter(|g| g.closed_at.is_none()).filter_map(|g| g.next_flush);
        let feedback = (!self.setup.feedback_services.is_empty()).then_some(self.feedback_due);
        let fallback = now.plus(self.setup.config.interval.get());
        rules.chain(flushes).chain(feedback).min().unwrap_or(fallback).min(fallback).max(now)
    }

    /// The address to ping for the outside dead-man switch, when one is configured and it is time: only while rules are
    /// really evaluated, because a ping must mean "I could page you now".
    pub fn ping_due(&mut self, now: Timestamp) -> Option<&Secret> {
        let alive =
            self.last_tick.is_some_and(|t| now.since(t) <= (self.setup.config.interval.get() * 3).max(PING_EVERY));
        let due = self.last_ping.is_none_or(|t| now.since(t) >= PING_EVERY);
        let url = self.setup.config.dead_mans_switch.as_ref()?;
        if !(alive && due) {
            return None;
        }
        self.last_ping = Some(now);
        Some(url)
    }

    /// Every alert that is remembered, by rule and fingerprint.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// Every rule, in the order of files and then the packs.
    pub fn rules(&self) -> Vec<RuleInfo> {
        let texts = |map: &BTreeMap<String, Template>| {
            map.iter().map(|(k, t)| (k.clone(), t.source().to_string())).collect::<BTreeMap<_, _>>()
        };
        self.scheduled()
            .flat_map(|s| s.group.rules.iter().map(move |r| (s, r)))
            .map(|(s, rule)| {
                let trouble = self.troubles.get(&rule.id).filter(|t| t.in_a_row > 0);
                let (kind, wait, keep, annotations) = match &rule.kind {
                    Kind::Record => ("recording", Duration::ZERO, Duration::ZERO, BTreeMap::new()),
                    Kind::Alert(a) => ("alerting", a.wait, a.keep_firing, texts(&a.annotations)),
                };
                RuleInfo {
                    group: s.group.name.clone(),
                    file: s.group.file.clone(),
                    id: rule.id.clone(),
                    name: rule.name.clone(),
                    kind,
                    expr: rule.expr.text().to_string(),
                    wait_s: wait.as_secs_f64(),
                    keep_firing_for_s: keep.as_secs_f64(),
                    labels: texts(&rule.labels),
                    annotations,
                    interval_s: s.interval.as_secs_f64(),
                    health: match (trouble, s.last) {
                        (Some(_), _) => "err",
                        (None, Some(_)) => "ok",
                        (None, None) => "unknown",
                    },
                    last_error: trouble.map(|t| t.text.clone()).unwrap_or_default(),
                    last_eval: s.last.map(|e| e.at),
                }
            })
            .collect()
    }

    /// Built-in rules that cannot see anything, by service.
    pub fn blind(&self) -> &BTreeMap<String, Vec<&'static str>> {
        &self.packs.blind
    }

    fn scheduled(&self) -> impl Iterator<Item = &Scheduled> {
        self.files.iter().chain(&self.packs.groups)
    }

    /// Where a rule's measure comes from; the default for one that is gone.
    fn measure_of(&self, rule: &str) -> Measure {
        let alert = self.scheduled().flat_map(|s| &s.group.rules).find(|r| r.id == rule).map(|r| &r.kind);
        match alert {
            Some(Kind::Alert(alert)) => alert.measure.clone(),
            _ => Measure::default(),
        }
    }

    /// The restart rules of watch.md 1.5, committed before anything else happens.
    async fn after_gap(&mut self, gap: Duration, now: Timestamp) -> Result<(), EngineError> {
        let rules: BTreeMap<String, (Timing, Duration)> = self
            .scheduled()
            .flat_map(|s| s.group.rules.iter().map(|r| (r, s.interval)))
            .filter_map(|(rule, interval)| match &rule.kind {
                Kind::Alert(a) => Some((rule.id.clone(), (timing(a), interval))),
                Kind::Record => None,
            })
            .collect();
        let mut commit = AlertingCommit::default();
        let mut alerts = self.alerts.clone();
        for (key, alert) in &mut alerts {
            let instant = Timing { wait: Duration::ZERO, keep_firing: Duration::ZERO, on_missing: OnMissing::Resolve };
            let (timing, interval) = rules.get(&key.0).copied().unwrap_or((instant, self.setup.config.interval.get()));
            let (memory, change) = state::restart(&memory(alert), gap, interval, &timing, now);
            let before = alert.clone();
            remember(alert, &memory);
            if let Some(change) = change {
                commit.transitions.push(transition(alert, change, now, "the daemon did not run".into()));
            }
            if alert.state == AlertState::Inactive {
                commit.forget.push(key.clone());
            } else if *alert != before {
                commit.alerts.push(alert.clone());
            }
        }
        if !commit.is_empty() {
            self.store.state.commit_alerting(commit).await?;
        }
        alerts.retain(|_, a| a.state != AlertState::Inactive);
        self.alerts = alerts;
        self.unready = rules
            .into_iter()
            .filter(|(_, (_, interval))| gap > state::GAP_SHORT.max(*interval * 2))
            .map(|(id, _)| id)
            .collect();
        Ok(())
    }
}

fn parse_routes(setup: &Setup) -> Result<Vec<Route>, EngineError> {
    route::routes(&setup.routes, &setup.channels)
        .map_err(|(index, message)| EngineError::Route { number: index + 1, message })
}

fn load_files(setup: &Setup) -> Result<Vec<Scheduled>, EngineError> {
    let (mut groups, mut problems) = (Vec::new(), Vec::new());
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for path in &setup.rule_files {
        match rulefile::read(path) {
            Ok(file) => {
                for warning in &file.warnings {
                    tracing::warn!(problem = %warning, "rule file");
                }
                for mut group in file.groups {
                    // Two files may use one group name; rule ids must still differ.
                    let nth = names.entry(group.name.clone()).or_default();
                    *nth += 1;
                    if *nth > 1 {
                        group.rules.iter_mut().for_each(|r| r.id = format!("{}@{nth}", r.id));
                    }
                    let interval = group.interval.unwrap_or(setup.config.interval.get());
                    groups.push(Scheduled::new(group, interval));
                }
            }
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(groups) } else { Err(EngineError::Rules(problems)) }
}

fn timing(alert: &rulefile::AlertRule) -> Timing {
    Timing { wait: alert.wait, keep_firing: alert.keep_firing, on_missing: alert.on_missing }
}

fn memory(alert: &Alert) -> Memory {
    Memory {
        state: alert.state,
        active_at: alert.active_at,
        fired_at: alert.fired_at,
        resolved_at: alert.resolved_at,
        last_true: alert.last_true,
        missing_since: alert.missing_since,
    }
}

fn remember(alert: &mut Alert, memory: &Memory) {
    alert.state = memory.state;
    alert.active_at = memory.active_at;
    alert.fired_at = memory.fired_at;
    alert.resolved_at = memory.resolved_at;
    alert.last_true = memory.last_true;
    alert.missing_since = memory.missing_since;
}

fn transition(alert: &Alert, change: state::Change, now: Timestamp, text: String) -> Transition {
    Transition {
        at: now,
        fingerprint: alert.fingerprint.clone(),
        rule: alert.rule.clone(),
        service: alert.service.clone(),
        labels: alert.labels.clone(),
        from: change.from,
        to: change.to,
        episode: alert.episode.clone(),
        value: alert.value,
        reason: change.reason.into(),
        text,
    }
}

/// A uuid v7 of this instant: sorts by time, unique by its random part.
fn new_id(now: Timestamp) -> String {
    let ms = now.ms().max(0) as u64;
    let stamp = uuid::Timestamp::from_unix_time(ms / 1000, (ms % 1000) as u32 * 1_000_000, 0, 0);
    uuid::Uuid::new_v7(stamp).to_string()
}
