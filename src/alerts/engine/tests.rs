//! The engine on a manual clock with the real store: what fires, who is told, and that a crash changes neither.

use std::sync::Arc;

use super::*;
use crate::alerts::silence;
use crate::domain::alert::{Ack, NotifyReason};
use crate::domain::clock::{Clock, ManualClock};
use crate::domain::gap::{Gap, GapReason};
use crate::domain::marker::{Marker, MarkerKind};
use crate::domain::metric::{NAME, Sample, stale_marker};
use crate::domain::notification::{MessageKind, OutboxRow};
use crate::domain::units::Span;
use crate::store::Role;

const STEP: i64 = 15;

/// A store, a clock, an engine, and a series `x{job="app",instance="a:1"}` to play with.
struct House {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    setup: Setup,
    engine: Option<Engine>,
}

impl House {
    async fn new(rules: &str) -> House {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::parse("2026-11-22T10:00:00Z").unwrap());
        let store = Store::open(&dir.path().join("data"), Role::Daemon, clock.clone()).await.unwrap();
        let file = dir.path().join("rules.yml");
        std::fs::write(&file, format!("groups:\n- name: g\n  rules:\n{rules}")).unwrap();
        let setup = Setup {
            services: [("shop".to_string(), ServiceConfig::default())].into(),
            config: Config { pack: false, ..Config::default() },
            rule_files: vec![file],
            channels: vec!["mail".into()],
            ..Setup::default()
        };
        let mut house = House { dir, clock, store, setup, engine: None };
        house.start().await;
        house
    }

    async fn start(&mut self) {
        let engine = Engine::open(self.store.clone(), self.setup.clone(), self.clock.clone()).await;
        self.engine = Some(engine.unwrap_or_else(|e| panic!("{e}")));
    }

    /// The daemon's last sign of life, a stop of `seconds`, and a new boot on the same files.
    async fn stop_for(&mut self, seconds: i64) {
        self.store.state.beat("boot-1", self.clock.now()).await.unwrap();
        self.engine = None;
        self.store.close().await;
        self.wait(seconds);
        let again = Store::open(&self.dir.path().join("data"), Role::Daemon, self.clock.clone()).await;
        self.store = again.unwrap();
        self.start().await;
    }

    fn rewrite(&self, rules: &str) {
        std::fs::write(self.dir.path().join("rules.yml"), format!("groups:\n- name: g\n  rules:\n{rules}")).unwrap();
    }

    async fn put(&self, labels: &[(&str, &str)], v: f64) {
        let labels = Labels::new(labels.iter().copied());
        let sample = crate::domain::metric::LabelledSample { labels, sample: Sample { t: self.clock.now(), v } };
        self.store.samples.append(vec![sample]).await.unwrap();
    }

    async fn x(&self, v: f64) {
        self.put(&[(NAME, "x"), ("job", "app"), ("instance", "a:1")], v).await;
    }

    /// A failed scrape: stale marker and gap, as the collector writes them.
    async fn fail(&self) {
        self.x(stale_marker()).await;
        let now = self.clock.now();
        let gap = Gap {
            target: "app".into(),
            from: now,
            to: now.plus(Duration::from_secs(STEP as u64)),
            reason: GapReason::Timeout,
            detail: String::new(),
        };
        self.store.samples.record_gap(gap).await.unwrap();
    }

    async fn tick(&mut self) -> TickReport {
        let now = self.clock.now();
        self.engine.as_mut().unwrap().tick(now).await.unwrap()
    }

    fn wait(&self, seconds: i64) {
        self.clock.advance(Duration::from_secs(seconds as u64));
    }

    /// `1` true, `0` false, `-` a failed scrape, `.` nothing at all; one tick after each, 15 s apart.
    async fn play(&mut self, story: &str) {
        for c in story.chars() {
            match c {
                '-' => self.fail().await,
                '.' => {}
                c => self.x(f64::from(c.to_digit(10).unwrap())).await,
            }
            self.tick().await;
            self.wait(STEP);
        }
    }

    /// What was said about the service; that nobody fetches the mail (OutboxStuck) is beside the point here.
    async fn outbox(&self) -> Vec<OutboxRow> {
        let mut rows = self.store.state.outbox(None, 1000).await.unwrap();
        rows.retain(|r| r.new.message.service != SELF_SERVICE);
        rows.sort_by_key(|r| (r.new.enqueued_at, r.new.seq));
        rows
    }

    async fn told(&self) -> Vec<(NotifyReason, MessageKind)> {
        self.outbox().await.iter().map(|r| (r.new.reason, r.new.message.kind)).collect()
    }

    async fn transitions(&self) -> Vec<(AlertState, String)> {
        let all = self.store.state.transitions(None, Timestamp::from_ms(0), Timestamp::MAX).await.unwrap();
        all.into_iter().map(|t| (t.to, t.reason)).collect()
    }

    fn state(&self) -> AlertState {
        self.engine.as_ref().unwrap().alerts().next().map_or(AlertState::Inactive, |a| a.state)
    }
}

const SIMPLE: &str = "  - alert: High\n    expr: x > 0\n    labels: { severity: critical }\n    annotations: { summary: '{{ $labels.instance }} has {{ $value }}' }\n";

fn with_for(wait: &str) -> String {
    SIMPLE.replace("    labels:", &format!("    for: {wait}\n    labels:"))
}

use AlertState::{Firing, Inactive, Pending, Resolved, Unknown};
use NotifyReason::{AllResolved, First};

#[tokio::test]
async fn fires_after_for_is_told_after_the_wait_and_resolves_in_the_same_thread() {
    let mut house = House::new(&with_for("30s")).await;
    house.play("0111111").await;
    assert_eq!(house.state(), Firing);
    assert_eq!(house.told().await, [(First, MessageKind::AlertFiring)]);
    house.play("00000").await;
    assert_eq!(house.state(), Resolved);
    let rows = house.outbox().await;
    assert_eq!(rows.iter().map(|r| r.new.reason).collect::<Vec<_>>(), [First, AllResolved]);
    let threads: Vec<_> = rows.iter().map(|r| r.new.message.thread.clone().unwrap()).collect();
    assert_eq!(threads[0].key, threads[1].key);
    assert_eq!((threads[0].root, threads[1].root), (true, false));
    assert_eq!(rows[0].new.message.headline, "FIRING critical · shop · High · #1");
    assert_eq!(rows[0].new.message.title, rows[1].new.message.title);
    let facts: Vec<&str> = rows[0].new.message.facts.iter().map(|f| f.text.as_str()).collect();
    assert!(facts.contains(&"a:1 has 1") && facts[0].starts_with("value 1 (limit 0)"), "{facts:?}");
    assert_eq!(rows[0].new.give_up_at, rows[0].new.enqueued_at.plus(Duration::from_secs(86_400)));
    let states: Vec<AlertState> = house.transitions().await.into_iter().map(|t| t.0).collect();
    assert_eq!(states, [Pending, Firing, Resolved]);
    // Nothing is left that would wake the engine for this group.
    assert!(house.engine.as_ref().unwrap().told.values().all(|g| g.next_flush.is_none()));
}

#[tokio::test]
async fn the_alert_is_a_series_and_its_worst_value_is_told_at_the_end() {
    let mut house = House::new(SIMPLE).await;
    house.play("1739000000").await;
    let rows = house.outbox().await;
    let worst = rows.last().unwrap().new.message.facts.iter().find(|f| f.label == "Worst").unwrap();
    assert_eq!(worst.text, "9");
    let matcher = [crate::domain::metric::Matcher::equal(NAME, "ALERTS")];
    let series = crate::domain::metric::SeriesReader::select(
        &house.store.samples,
        &matcher,
        Timestamp::MIN,
        Timestamp::MAX,
        100,
    );
    let series = series.await.unwrap();
    assert_eq!(series[0].labels.get("alertstate"), Some("firing"));
    assert_eq!(series[0].samples.len(), 5, "four values and a stale marker");
}

#[tokio::test]
async fn keep_firing_for_bridges_a_dip() {
    let mut house = House::new(&SIMPLE.replace("    labels:", "    keep_firing_for: 40s\n    labels:")).await;
    house.play("1001").await;
    assert_eq!(house.transitions().await.len(), 1);
    house.play("0000").await;
    assert_eq!(house.state(), Resolved);
}

#[tokio::test]
async fn one_failed_scrape_restarts_for_as_in_prometheus_unless_the_rule_holds() {
    let mut house = House::new(&with_for("30s")).await;
    house.play("011-1").await;
    let states: Vec<AlertState> = house.transitions().await.into_iter().map(|t| t.0).collect();
    assert_eq!(states, [Pending, Inactive, Pending]);
    let mut house = House::new("").await;
    house.setup.config.pack = true;
    house.setup.services.get_mut("shop").unwrap().roles = [("cpu".to_string(), "x".to_string())].into();
    house.setup.rule_files.clear();
    house.start().await;
    // CpuHigh holds: a failed scrape in the middle of its ten minutes changes nothing.
    house.play(&format!("00{}-{}", "1".repeat(20), "1".repeat(22))).await;
    let engine = house.engine.as_ref().unwrap();
    let warning = engine.alerts().find(|a| a.labels.get("severity") == Some("warning")).unwrap();
    assert_eq!(warning.state, Firing);
    let changes: Vec<_> = house.transitions().await;
    assert!(!changes.iter().any(|c| c.0 == Inactive), "{changes:?}");
}

#[tokio::test]
async fn without_data_a_held_alert_becomes_unknown_once_and_comes_back() {
    let mut house = House::new("").await;
    house.setup.config.pack = true;
    house.setup.config.interval = Span::secs(15);
    house.setup.services.get_mut("shop").unwrap().roles = [("cpu".to_string(), "x".to_string())].into();
    house.setup.rule_files.clear();
    house.start().await;
    house.play(&"1".repeat(45)).await;
    let told = house.told().await.len();
    house.play(&"-".repeat(70)).await;
    let unknown: Vec<_> =
        house.told().await.into_iter().skip(told).filter(|t| t.1 == MessageKind::AlertUnknown).collect();
    assert!(!unknown.is_empty() && unknown.len() <= 2, "{unknown:?}");
    assert!(house.transitions().await.iter().any(|t| t.0 == Unknown && t.1 == "data_missing"));
    house.play("00000").await;
    let engine = house.engine.as_ref().unwrap();
    assert!(engine.alerts().filter(|a| a.name() == "CpuHigh").all(|a| a.state == Resolved));
}

#[tokio::test]
async fn a_target_removed_on_purpose_resolves() {
    let mut house = House::new(SIMPLE).await;
    house.play("11").await;
    house.x(stale_marker()).await;
    house.play(".").await;
    assert_eq!(house.state(), Resolved);
}

#[tokio::test]
async fn a_crash_between_any_two_ticks_sends_nothing_twice_and_loses_nothing() {
    let story = "0111111100000011111000000000";
    let whole = {
        let mut house = House::new(&with_for("30s")).await;
        house.play(story).await;
        house.told().await
    };
    assert_eq!(whole.len(), 4, "{whole:?}");
    let mut house = House::new(&with_for("30s")).await;
    for c in story.chars() {
        house.play(&c.to_string()).await;
        // Dropped without a word, and opened again on what was committed.
        house.engine = None;
        house.start().await;
    }
    assert_eq!(house.told().await, whole);
    let rows = house.outbox().await;
    let mut ids: Vec<&str> = rows.iter().map(|r| r.new.id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
}

#[tokio::test]
async fn a_crash_between_the_commit_and_the_flush_still_tells() {
    let mut house = House::new(SIMPLE).await;
    house.play("1").await;
    // The transition and the promise to speak are stored; the daemon dies before the group's wait is over.
    let groups = house.store.state.notif_groups().await.unwrap();
    assert_eq!(groups[0].next_flush, Some(house.clock.now().minus(Duration::from_secs(STEP as u64 - 10))));
    house.engine = None;
    house.wait(60);
    house.start().await;
    house.play("1").await;
    assert_eq!(house.told().await, [(First, MessageKind::AlertFiring)]);
}

#[tokio::test]
async fn a_long_stop_neither_resolves_nor_repeats_before_fresh_data() {
    let mut house = House::new(SIMPLE).await;
    house.play("11").await;
    assert_eq!(house.told().await.len(), 1);
    house.stop_for(1200).await;
    // Nothing has been scraped yet: the expression is empty, and that is not recovery.
    house.play("..").await;
    assert_eq!((house.state(), house.told().await.len()), (Firing, 1));
    house.play("111").await;
    assert_eq!((house.state(), house.told().await.len()), (Firing, 1));
    house.play("000000").await;
    assert_eq!(house.told().await.last().unwrap().0, AllResolved);
}

#[tokio::test]
async fn after_more_than_an_hour_firing_is_unknown_until_seen_and_quiet_about_it() {
    let mut house = House::new(SIMPLE).await;
    house.play("11").await;
    house.stop_for(7200).await;
    assert_eq!(house.state(), Unknown);
    house.play("1").await;
    assert_eq!(house.state(), Firing);
    let kinds: Vec<MessageKind> = house.told().await.into_iter().map(|t| t.1).collect();
    assert!(!kinds.contains(&MessageKind::AlertUnknown), "{kinds:?}");
}

#[tokio::test]
async fn a_silence_that_ends_while_it_fires_tells() {
    let mut house = House::new(SIMPLE).await;
    let silence =
        silence::new("s-1".into(), "alertname=High", Duration::from_secs(300), "known", "ana", house.clock.now());
    house.store.state.add_silence(silence.unwrap(), "ana").await.unwrap();
    house.play(&"1".repeat(20)).await;
    assert_eq!((house.state(), house.told().await.len()), (Firing, 0));
    house.play("11").await;
    assert_eq!(house.told().await, [(First, MessageKind::AlertFiring)]);
}

#[tokio::test]
async fn an_ack_stops_the_repeats_until_it_ends() {
    let mut house = House::new(SIMPLE).await;
    house.play("11").await;
    let episode = house.store.state.notif_groups().await.unwrap()[0].episode.clone();
    let now = house.clock.now();
    let ack =
        Ack { episode, by: "ana".into(), at: now, until: now.plus(Duration::from_secs(3600)), comment: "on it".into() };
    house.store.state.add_ack(ack).await.unwrap();
    house.play(&"1".repeat(238)).await;
    assert_eq!(house.told().await.len(), 1, "no repeat while acknowledged");
    house.play(&"1".repeat(8)).await;
    let told = house.told().await;
    assert_eq!((told.len(), told[1].0), (2, NotifyReason::Repeat));
}

#[tokio::test]
async fn a_rule_that_is_gone_resolves_its_alert_and_says_why() {
    let mut house = House::new(SIMPLE).await;
    house.play("11").await;
    house.rewrite("  - alert: Renamed\n    expr: x > 5\n");
    let setup = house.setup.clone();
    house.engine.as_mut().unwrap().reload(setup).await.unwrap();
    house.play("1111111").await;
    assert!(house.transitions().await.contains(&(Resolved, "rule_removed".into())));
    assert_eq!(house.told().await.last().unwrap().0, AllResolved);
    // A file with a mistake keeps the old rules.
    house.rewrite("  - alert: Bad\n    expr: '('\n");
    let setup = house.setup.clone();
    let error = house.engine.as_mut().unwrap().reload(setup).await.unwrap_err().to_string();
    assert!(error.contains("rules.yml:5:"), "{error}");
    assert_eq!(house.engine.as_ref().unwrap().rules()[0].name, "Renamed");
}

#[tokio::test]
async fn a_rule_error_leaves_the_state_and_three_make_it_broken() {
    let mut house =
        House::new(&SIMPLE.replace("{ severity: critical }", "{ severity: critical, instance: all }")).await;
    house.play("1").await;
    assert_eq!(house.state(), Firing);
    for _ in 0..4 {
        house.put(&[(NAME, "x"), ("job", "app"), ("instance", "b:1")], 1.0).await;
        house.play("1").await;
    }
    let alerts: Vec<(String, AlertState)> =
        house.engine.as_ref().unwrap().alerts().map(|a| (a.name().to_string(), a.state)).collect();
    assert_eq!(alerts, [("High".to_string(), Firing), ("RuleBroken".to_string(), Firing)]);
    assert_eq!(house.engine.as_ref().unwrap().rules()[0].health, "err");
    let board = house.engine.as_ref().unwrap().board().read();
    assert!(board[0].rules[0].error.as_ref().unwrap().contains("two results"), "{board:?}");
    assert_eq!((board[0].last.map(|e| e.at), board[0].rules.len()), (house.engine.as_ref().unwrap().last_tick, 1));
}

#[tokio::test]
async fn recording_rules_are_seen_by_the_next_rule_of_the_group() {
    let rules = "  - record: job:x:sum\n    expr: sum by (job) (x)\n  - alert: High\n    expr: job:x:sum > 0\n";
    let mut house = House::new(rules).await;
    house.play("1").await;
    assert_eq!(house.state(), Firing);
    house.x(stale_marker()).await;
    house.play(".").await;
    assert_eq!(house.state(), Resolved);
}

#[tokio::test]
async fn a_critical_alert_opens_an_incident_that_ends_ten_minutes_after_the_last() {
    let mut house = House::new(&format!("{SIMPLE}  - alert: Warn\n    expr: x > 1\n")).await;
    house.play("1120").await;
    let find = |house: &House| {
        let (state, to) = (house.store.state.clone(), house.clock.now());
        async move { state.incidents("shop", Timestamp::from_ms(0), to).await.unwrap() }
    };
    let open = find(&house).await;
    assert_eq!((open.len(), open[0].episodes.len(), open[0].closed_at), (1, 2, None));
    assert!(open[0].title.starts_with("High: a:1 has 1"), "{}", open[0].title);
    house.play(&"0".repeat(38)).await;
    assert_eq!(find(&house).await[0].closed_at, None);
    house.play("0000").await;
    let closed = find(&house).await;
    let started = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
    assert_eq!((closed.len(), closed[0].opened_at), (1, started));
    assert_eq!(closed[0].closed_at, Some(started.plus(Duration::from_secs(45))));
}

#[tokio::test]
async fn routes_choose_channels_and_the_nearest_change_is_named() {
    let mut house = House::new(SIMPLE).await;
    house.setup.channels = vec!["mail".into(), "pager".into()];
    house.setup.routes = vec![RouteConfig {
        matchers: "severity=critical".into(),
        channels: vec!["pager".into()],
        failover: Some("mail".into()),
        ..RouteConfig::default()
    }];
    house.start().await;
    let at = house.clock.now().minus(Duration::from_secs(180));
    let marker = Marker {
        service: "shop".into(),
        kind: MarkerKind::Deploy,
        at,
        received_at: at,
        source: "ci".into(),
        actor: "ana".into(),
        text: "1.4.2".into(),
        dedup_key: "d1".into(),
    };
    house.store.state.add_marker(marker).await.unwrap();
    house.play("11").await;
    let rows = house.outbox().await;
    assert_eq!(rows.len(), 1);
    assert_eq!((&*rows[0].new.channel, rows[0].new.failover.as_deref()), ("pager", Some("mail")));
    let change = rows[0].new.message.facts.iter().find(|f| f.label == "Change").unwrap();
    assert_eq!(change.text, "3 min after deploy 1.4.2 by ana");
}

#[tokio::test]
async fn the_pack_watches_a_service_and_the_cause_mutes_its_symptoms() {
    let mut house = House::new("").await;
    house.setup.config.pack = true;
    house.setup.rule_files.clear();
    house.start().await;
    let mut total = 0.0;
    for i in 0..40 {
        total += 100.0;
        let bad = if i < 4 { 0.0 } else { 80.0 * f64::from(i - 3) };
        house.put(&[(NAME, "http_requests_total"), ("code", "200"), ("job", "app")], total - bad).await;
        house.put(&[(NAME, "http_requests_total"), ("code", "500"), ("job", "app")], bad).await;
        house.tick().await;
        house.wait(STEP);
    }
    let firing: Vec<&str> =
        house.engine.as_ref().unwrap().alerts().filter(|a| a.state == Firing).map(Alert::name).collect();
    assert!(firing.contains(&"Http5xxOutage") && firing.contains(&"Http5xxHigh"), "{firing:?}");
    let told: std::collections::BTreeSet<String> =
        house.outbox().await.iter().map(|r| r.new.message.title.clone()).collect();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["[shop] Http5xxOutage"]);
    let first = &house.outbox().await[0].new.message.facts[0].text;
    assert!(first.starts_with("5xx ratio 8") && first.contains("(limit 50 %) over 1 min to"), "{first}");
    let blind = &house.engine.as_ref().unwrap().blind()["shop"];
    assert!(blind.contains(&"QueueBacklogGrowing") && !blind.contains(&"Http5xxHigh"), "{blind:?}");
}

#[tokio::test]
async fn the_dead_mans_switch_fires_inside_and_pings_outside_only_while_rules_run() {
    let mut house = House::new("").await;
    house.setup.config.pack = true;
    house.setup.config.dead_mans_switch = crate::domain::secret::Secret::parse("${env:PING_URL}");
    house.setup.rule_files.clear();
    house.start().await;
    let now = house.clock.now();
    assert!(house.engine.as_mut().unwrap().ping_due(now).is_none(), "nothing was evaluated yet");
    house.play("....").await;
    assert_eq!(house.state(), Firing);
    assert!(house.told().await.is_empty());
    let now = house.clock.now();
    let engine = house.engine.as_mut().unwrap();
    assert!(engine.ping_due(now).is_some());
    assert!(engine.ping_due(now.plus(Duration::from_secs(30))).is_none());
    assert!(engine.ping_due(now.plus(Duration::from_secs(300))).is_none(), "no tick for five minutes");
}
