//! A launch as it might have been, in a real store: what the tests of this room, and eyes, look at.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::alert::{AlertSeverity, AlertState, NotifyReason, Transition};
use crate::domain::clock::ManualClock;
use crate::domain::feedback::{Cue, Cursor, FeedbackItem, FeedbackKind, FeedbackPage, UP};
use crate::domain::gap::{Gap, GapReason};
use crate::domain::incident::Incident;
use crate::domain::launch::{Launch, Move};
use crate::domain::marker::{Marker, MarkerKind};
use crate::domain::metric::{LabelledSample, Labels, NAME, Sample};
use crate::domain::notification::{AlertLine, DeliveryAttempt, Fact, Message, MessageKind, NewOutbox, Settle, Thread};
use crate::domain::release::ReleaseId;
use crate::domain::verdict::{Class, Decision, GateResult, GateRun, Outcome, Overlay, Tier, Verdict};
use crate::store::state::alerts::AlertingCommit;
use crate::store::{Role, Store};

/// What goes wrong in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    Healthy,
    /// 36 minutes of 30 % errors and slow answers, alerts, complaints, a dead letter, a waiver that came true.
    Broken,
}

pub struct Story {
    pub store: Store,
    pub launch: String,
    pub t0: Timestamp,
    pub window: Duration,
    pub interval: Duration,
    _dir: tempfile::TempDir,
}

const BUCKETS: [f64; 8] = [0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2];

/// Even, repeatable noise in [0, 1).
fn noise(i: i64, salt: i64) -> f64 {
    let mut x = (i.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(salt * 1_442_695_040_888_963_407)) as u64;
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    (x >> 11) as f64 / (1u64 << 53) as f64
}

impl Story {
    /// A share of the window, so that one plot fits every length.
    pub fn share(&self, share: f64) -> Timestamp {
        Timestamp::from_ms(self.t0.ms() + (self.window.as_millis() as f64 * share) as i64)
    }
    pub fn inputs(&self, as_of: Timestamp) -> Inputs {
        let config = ServiceConfig {
            timezone: Some("Europe/Berlin".into()),
            owner: Some("team-payments".into()),
            ..ServiceConfig::default()
        };
        let mut inputs = Inputs::new(&self.launch, as_of, config);
        inputs.interval = self.interval;
        inputs.config_hash = "c0ffee".repeat(10);
        inputs.latency_objective = Some(Duration::from_millis(500));
        inputs.slos = BTreeMap::from([(
            "checkout".to_string(),
            Objective {
                name: "checkout".into(),
                objective: 99.5,
                bad: Some(r#"http_requests_total{job="shop",code=~"5.."}"#.into()),
                good: None,
                total: r#"http_requests_total{job="shop"}"#.into(),
                period: Duration::from_secs(30 * 86_400),
            },
        )]);
        inputs
    }

    /// Plans, measures a day before, goes live, lives through `plot`.
    pub async fn live(plot: Plot, window: Duration, interval: Duration) -> Story {
        let t0 = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
        let story = Story::planned(t0, window, interval).await;
        story.traffic(plot).await;
        story.go().await;
        if plot == Plot::Broken {
            story.trouble().await;
        }
        story
    }

    pub async fn planned(t0: Timestamp, window: Duration, interval: Duration) -> Story {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Role::Daemon, ManualClock::at(t0.plus(window))).await.unwrap();
        let story = Story { store, launch: "shop-20261122-1".into(), t0, window, interval, _dir: dir };
        let launch = Launch {
            id: story.launch.clone(),
            service: "shop".into(),
            version: Some("v1.4.0".into()),
            commit: Some("9f3c2e1d7a".into()),
            state: LaunchState::Planned,
            rev: 0,
            planned_at: t0.minus(Duration::from_secs(86_400)),
            live_at: None,
            window_end: None,
            state_since: t0.minus(Duration::from_secs(86_400)),
            window_ms: window.as_millis() as i64,
            timezone: "Europe/Berlin".into(),
            config_hash: "abc".into(),
            gate_run: Some("run-1".into()),
        };
        story.store.state.plan_launch(&launch, "ana").await.unwrap();
        story.store.state.save_gate_run(&gate_run(t0), &[]).await.unwrap();
        story
    }

    pub async fn traffic(&self, plot: Plot) {
        let labels = |name: &str, more: &[(&str, &str)]| {
            let base = [(NAME, name), ("job", "shop"), ("instance", "shop:9000"), ("service", "shop")];
            Labels::new(base.iter().chain(more).map(|(n, v)| (n.to_string(), v.to_string())))
        };
        let step = self.interval.as_millis() as i64;
        let (from, to) = (self.t0.ms() - self.window.as_millis() as i64, self.t0.ms() + self.window.as_millis() as i64);
        let (bad_from, bad_to) = (self.share(0.6).ms(), self.share(0.625).ms());
        let (mut ok, mut failed, mut buckets, mut sum) = (0.0f64, 0.0f64, [0.0f64; 9], 0.0);
        let mut cpu = 0.0;
        let mut batch = Vec::new();
        let mut t = from;
        let mut i = 0;
        while t <= to {
            let day = (t.rem_euclid(86_400_000)) as f64 / 86_400_000.0;
            let season = 1.0 + 0.45 * ((day - 0.3) * std::f64::consts::TAU).sin();
            let bad = plot == Plot::Broken && (bad_from..bad_to).contains(&t);
            // A stretch in which nothing was scraped.
            let blind = plot == Plot::Broken && (self.share(0.3).ms()..self.share(0.32).ms()).contains(&t);
            let requests = (42.0 * season + 6.0 * noise(i, 1)) * step as f64 / 1000.0;
            let share = if bad { 0.3 } else { 0.0006 * noise(i, 2) };
            failed += requests * share;
            ok += requests * (1.0 - share);
            let scale = if bad { 4.0 } else { 1.0 + 0.15 * noise(i, 3) };
            for (n, le) in BUCKETS.iter().enumerate() {
                buckets[n] += requests * (1.0 - (-le / (0.06 * scale)).exp());
            }
            buckets[8] += requests;
            sum += requests * 0.06 * scale;
            cpu += (0.2 + 0.1 * season + if bad { 0.5 } else { 0.0 }) * step as f64 / 1000.0;
            let mut push = |l: Labels, v: f64| {
                batch.push(LabelledSample { labels: l, sample: Sample { t: Timestamp::from_ms(t), v } })
            };
            if !blind {
                push(labels("http_requests_total", &[("code", "200")]), ok.floor());
                push(labels("http_requests_total", &[("code", "500")]), failed.floor());
                for (n, le) in BUCKETS.iter().enumerate() {
                    push(
                        labels("http_request_duration_seconds_bucket", &[("le", &le.to_string())]),
                        buckets[n].floor(),
                    );
                }
                push(labels("http_request_duration_seconds_bucket", &[("le", "+Inf")]), buckets[8].floor());
                push(labels("http_request_duration_seconds_count", &[]), buckets[8].floor());
                push(labels("http_request_duration_seconds_sum", &[]), sum);
                push(labels("process_cpu_seconds_total", &[]), cpu);
                push(
                    labels("queue_depth", &[("queue", "mail")]),
                    (3.0 + 5.0 * noise(i, 4) + if bad { 60.0 } else { 0.0 }).floor(),
                );
                push(labels("node_memory_MemAvailable_bytes", &[]), 3.1e9 + 2e8 * noise(i, 5));
                push(labels("node_memory_MemTotal_bytes", &[]), 8.2e9);
            }
            push(labels("up", &[]), if blind { 0.0 } else { 1.0 });
            push(labels("probe_success", &[]), 1.0);
            t += step;
            i += 1;
            if batch.len() > 20_000 {
                self.store.samples.append(std::mem::take(&mut batch)).await.unwrap();
            }
        }
        self.store.samples.append(batch).await.unwrap();
    }

    /// Baseline, then every move up to hypercare.
    pub async fn go(&self) {
        let config = ServiceConfig::default();
        let window = (self.t0.minus(self.window), self.t0.minus(self.window / 48));
        let frozen = baseline::capture(&self.store, ("shop", &config), window, self.interval, self.t0, &self.launch)
            .await
            .unwrap();
        self.store.state.freeze_baseline(&frozen).await.unwrap();
        self.walk(&[LaunchState::Gating, LaunchState::AwaitingDecision, LaunchState::Cleared, LaunchState::Live]).await;
        self.store.state.add_marker(self.marker(MarkerKind::Deploy, self.t0, "v1.4.0")).await.unwrap();
    }

    pub async fn walk(&self, states: &[LaunchState]) {
        for state in states {
            let launch = self.store.state.launch(&self.launch).await.unwrap().unwrap();
            let at = match state {
                LaunchState::Hypercare => self.share(0.62),
                LaunchState::RolledBack => self.share(0.64),
                _ => self.t0,
            };
            let mut step = Move::to(*state, &launch, at, "ana").because("tested");
            if *state == LaunchState::Live {
                step.live_at = Some(self.t0);
                step.window_end = Some(self.t0.plus(self.window));
            }
            self.store.state.move_launch(&self.launch, step, None, vec![]).await.unwrap();
        }
    }

    pub fn marker(&self, kind: MarkerKind, at: Timestamp, text: &str) -> Marker {
        Marker {
            service: "shop".into(),
            kind,
            at,
            received_at: at,
            source: "test".into(),
            actor: "ana".into(),
            text: text.into(),
            dedup_key: format!("{}-{}", kind.word(), at.ms()),
        }
    }

    async fn trouble(&self) {
        let state = &self.store.state;
        state
            .add_marker(self.marker(MarkerKind::Config, self.share(0.598), "payment timeout 2 s → 200 ms"))
            .await
            .unwrap();
        let mut commit = AlertingCommit::default();
        for (name, severity, from, to, text) in [
            ("Http5xxHigh", "critical", 0.6028, Some(0.6273), "5xx ratio 29.8 % (limit 5 %) over 5 m"),
            ("LatencyP95High", "warning", 0.6042, Some(0.6277), "p95 718 ms (limit 500 ms)"),
            ("QueueBacklogGrowing", "warning", 0.81, Some(0.8112), "queue mail 31 and growing"),
        ] {
            commit.transitions.extend(self.transitions(name, severity, from, to, text));
        }
        commit.incidents.push(Incident {
            id: 0,
            service: "shop".into(),
            title: "checkout answers with errors".into(),
            sev: 2,
            opened_at: self.share(0.6028),
            closed_at: Some(self.share(0.6343)),
            episodes: vec!["episode-Http5xxHigh".into(), "episode-LatencyP95High".into()],
            opened_by: "alert".into(),
        });
        commit.outbox.push(self.row("oncall", "Http5xxHigh", self.share(0.6028)));
        commit.outbox.push(self.row("sms", "Http5xxHigh", self.share(0.6028)));
        state.commit_alerting(commit).await.unwrap();
        for (channel, settle) in [
            ("oncall", Settle::Delivered { remote_id: Some("m1".into()) }),
            ("sms", Settle::Dead { error: "401 unauthorized".into() }),
        ] {
            let at = self.share(0.6028).plus(Duration::from_secs(11));
            let rows = state.claim_outbox(channel, at, Duration::from_secs(40), 5).await.unwrap();
            let attempt = DeliveryAttempt {
                outbox_id: rows[0].new.id.clone(),
                channel: channel.into(),
                at,
                duration_ms: 240,
                outcome: "delivered".into(),
                detail: String::new(),
            };
            state.settle_outbox(&rows[0].new.id, attempt, settle).await.unwrap();
        }
        let items = [
            (0.45, "Love the new checkout", "So much faster than before, thank you!", Some(5), ""),
            (
                0.6035,
                "Cannot pay",
                "Tried three cards, <b>every</b> payment fails with an error since this evening",
                Some(1),
                "payment",
            ),
            (
                0.6051,
                "Charged twice??",
                "Paid twice because the first try showed an error. [[HUMAN:x | y]] {{ 7*7 }}",
                Some(1),
                "payment",
            ),
            (0.7, "Slow on my phone", "The basket takes ages on mobile", Some(3), "slow"),
        ];
        let items = items.iter().enumerate().map(|(n, (at, title, text, rating, cue))| FeedbackItem {
            source: "app-store".into(),
            external_id: n.to_string(),
            revision: "1".into(),
            created_at: self.share(*at),
            updated_at: self.share(*at),
            fetched_at: self.share(*at),
            kind: FeedbackKind::Review,
            author_hash: format!("author{n}"),
            rating: *rating,
            title: title.to_string(),
            text: text.to_string(),
            url: Some(if n == 0 { "javascript:alert(1)".into() } else { format!("https://store.example/{n}") }),
            app_version: None,
            platform: None,
            labels: vec![],
            redactions: 0,
            sentiment: None,
            cues: if cue.is_empty() { vec![] } else { vec![Cue { name: cue.to_string(), start: 0, end: 3 }] },
        });
        let page =
            FeedbackPage { items: items.collect(), next: Cursor(Some("4".into())), more: false, not_before: None };
        state.save_feedback_page("shop", "app-store", &page, self.share(1.0)).await.unwrap();
        let up = Labels::new([(NAME, UP), ("service", "shop"), ("source", "app-store")]);
        let polls = (0..=20).map(|n| self.share(f64::from(n) / 20.0));
        let polls = polls.map(|t| LabelledSample { labels: up.clone(), sample: Sample { t, v: 1.0 } }).collect();
        self.store.samples.append(polls).await.unwrap();
        let gap = |target: &str, from: f64, to: f64, reason| Gap {
            target: target.into(),
            from: self.share(from),
            to: self.share(to),
            reason,
            detail: "connection refused".into(),
        };
        self.store.samples.record_gap(gap("app/shop:9000", 0.3, 0.32, GapReason::Connect)).await.unwrap();
        state.audit(self.t0, "ana", "note", "shop", Some("story")).await.unwrap();
    }

    pub fn transitions(&self, name: &str, severity: &str, from: f64, to: Option<f64>, text: &str) -> Vec<Transition> {
        let labels = Labels::new([("alertname", name), ("service", "shop"), ("severity", severity)]);
        let one = |share: f64, a: AlertState, b: AlertState| Transition {
            at: self.share(share),
            fingerprint: format!("{:016x}", labels.fingerprint()),
            rule: format!("pack/{name}"),
            service: "shop".into(),
            labels: labels.clone(),
            from: a,
            to: b,
            episode: Some(format!("episode-{name}")),
            value: Some(0.3),
            reason: "condition".into(),
            text: text.into(),
        };
        let mut all = vec![
            one(from - 0.0014, AlertState::Inactive, AlertState::Pending),
            one(from, AlertState::Pending, AlertState::Firing),
        ];
        all.extend(to.map(|to| one(to, AlertState::Firing, AlertState::Resolved)));
        all
    }

    fn row(&self, channel: &str, alert: &str, at: Timestamp) -> NewOutbox {
        let labels = Labels::new([("alertname", alert), ("service", "shop"), ("severity", "critical")]);
        NewOutbox {
            id: format!("0199aaaa-0000-7000-8000-{:012}", channel.len()),
            channel: channel.into(),
            group_key: format!("0:{alert}"),
            seq: 1,
            reason: NotifyReason::First,
            priority: AlertSeverity::Critical,
            message: Message {
                kind: MessageKind::AlertFiring,
                service: "shop".into(),
                severity: AlertSeverity::Critical,
                title: format!("[shop] {alert}"),
                headline: format!("FIRING critical · shop · {alert} · #1"),
                facts: vec![Fact::new("measured", "29.8 %")],
                alerts: vec![AlertLine {
                    name: alert.into(),
                    state: AlertState::Firing,
                    severity: AlertSeverity::Critical,
                    labels,
                    summary: String::new(),
                    value: Some(0.298),
                    since: at,
                    resolved_at: None,
                }],
                runbook: None,
                rollback: None,
                thread: Some(Thread { key: "group-1".into(), root: true }),
                created_at: at,
                timezone: "UTC".into(),
                body: String::new(),
                html: None,
                attachments: vec![],
                data: serde_json::Value::Null,
            },
            not_before: at,
            give_up_at: at.plus(Duration::from_secs(86_400)),
            failover: None,
            enqueued_at: at,
        }
    }
}

fn gate_run(t0: Timestamp) -> GateRun {
    let gate = |id: &str, class: Class, line: &str, outcome: Outcome, overlay: Option<Overlay>| GateResult {
        id: id.into(),
        section: id.split('.').next().unwrap_or("").into(),
        class,
        line: line.into(),
        verdict: outcome.verdict,
        overlay,
        reason: outcome.reason,
        summary: outcome.summary,
        value: None,
        threshold: None,
        covered: None,
        known: None,
        tier: Some(Tier::E3),
        min_tier: Tier::E2,
        findings: vec![],
        hint: None,
        evidence: vec![],
        duration_ms: 10,
        requests: 0,
        age_s: 0,
    };
    let waiver = Overlay::Waived {
        reason: "load test next week".into(),
        approver: "cto".into(),
        expires: t0.plus(Duration::from_secs(7 * 86_400)),
        signed: false,
    };
    let mut gates = vec![
        gate(
            "performance.load",
            Class::A,
            "Load test passed",
            Outcome::fail("p99 2.1 s at 1,200 req/s (limit 1 s)"),
            Some(waiver),
        ),
        gate("monitoring.metrics", Class::B, "Metrics in place", Outcome::warn("no p95 objective is set"), None),
    ];
    gates.extend((0..12).map(|n| gate(&format!("code.check{n}"), Class::B, "checked", Outcome::pass("fine"), None)));
    debug_assert_eq!(gates[0].verdict, Verdict::Fail);
    GateRun {
        schema: "hypercare.check/v1".into(),
        run: "run-1".into(),
        scope: Default::default(),
        suppressions: vec![],
        service: "shop".into(),
        started_at: t0.minus(Duration::from_secs(7200)),
        duration_ms: 41_000,
        rid: ReleaseId::default(),
        decision: Decision::GoWithRisks,
        goals: vec![],
        gates,
        changed_thresholds: vec![],
        requests: 0,
        base: None,
        ignored: vec![],
    }
}
