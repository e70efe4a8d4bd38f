//! The state tables against a real file.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::domain::alert::*;
use crate::domain::clock::{ManualClock, Timestamp};
use crate::domain::evidence::Evidence;
use crate::domain::feedback::{Cursor, FeedbackItem, FeedbackKind, FeedbackPage};
use crate::domain::incident::Incident;
use crate::domain::launch::{Launch, LaunchState, Move, MoveRefused};
use crate::domain::marker::{Marker, MarkerKind};
use crate::domain::metric::Labels;
use crate::domain::notification::*;
use crate::domain::release::ReleaseId;
use crate::domain::verdict::{Decision, GateRun};
use crate::store::state::alerts::AlertingCommit;
use crate::store::state::reports::StoredReport;
use crate::store::{Role, Store, StoreError};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(1_760_000_000_000 + seconds * 1000)
}

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
}

impl std::ops::Deref for Bench {
    type Target = State;
    fn deref(&self) -> &State {
        &self.store.state
    }
}

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        Bench { dir, store }
    }
    /// As `kill -9` and a new start: nothing is closed.
    async fn crash(self) -> Bench {
        let Bench { dir, store } = self;
        drop(store);
        let store = open(dir.path()).await;
        Bench { dir, store }
    }
    async fn sql(&self, sql: &'static str) {
        self.database()
            .write(move |c| {
                Box::pin(async move {
                    sqlx::raw_sql(sql).execute(c).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
}

async fn open(dir: &std::path::Path) -> Store {
    Store::open(dir, Role::Daemon, ManualClock::at(at(0))).await.unwrap()
}

fn launch(id: &str) -> Launch {
    Launch {
        id: id.into(),
        service: "shop".into(),
        version: Some("v1.4.0".into()),
        commit: None,
        state: LaunchState::Planned,
        rev: 0,
        planned_at: at(0),
        live_at: None,
        window_end: None,
        state_since: at(0),
        window_ms: 86_400_000,
        timezone: "Europe/Berlin".into(),
        config_hash: "abc".into(),
        gate_run: None,
    }
}

fn row(channel: &str, group: &str, seq: i64, kind: MessageKind) -> NewOutbox {
    NewOutbox {
        id: format!("{channel}-{group}-{seq}"),
        channel: channel.into(),
        group_key: group.into(),
        seq,
        reason: NotifyReason::First,
        priority: AlertSeverity::Warning,
        message: Message {
            kind,
            service: "shop".into(),
            severity: AlertSeverity::Warning,
            title: "[shop] Http5xxHigh".into(),
            headline: "FIRING".into(),
            facts: vec![Fact::new("now", "12 %")],
            alerts: Vec::new(),
            runbook: None,
            rollback: None,
            thread: Some(Thread { key: "e1".into(), root: true }),
            created_at: at(0),
            timezone: "UTC".into(),
            body: "text".into(),
            html: None,
            attachments: Vec::new(),
            data: serde_json::json!({"version": "v1.4.0", "digest": "d1"}),
        },
        not_before: at(0),
        give_up_at: at(3600),
        failover: None,
        enqueued_at: at(seq),
    }
}

fn tried(id: &str, seconds: i64) -> DeliveryAttempt {
    DeliveryAttempt {
        outbox_id: id.into(),
        channel: "mail".into(),
        at: at(seconds),
        duration_ms: 20,
        outcome: "retry".into(),
        detail: "451".into(),
    }
}

fn ids(rows: &[OutboxRow]) -> Vec<&str> {
    rows.iter().map(|r| &*r.new.id).collect()
}

const LEASE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_launch_moves_by_compare_and_set() {
    let state = Bench::new().await;
    let planned = launch("shop-1");
    state.plan_launch(&planned, "ana").await.unwrap();
    let again = state.plan_launch(&launch("shop-2"), "ana").await;
    assert!(matches!(again, Err(StoreError::Refused(MoveRefused::AlreadyOpen { .. }))), "{again:?}");

    let mut mv = Move::to(LaunchState::Gating, &planned, at(1), "ana").because("go");
    mv.idempotency_key = Some("k1".into());
    let notice = row("mail", "shop-1", 1, MessageKind::LaunchStateChanged);
    let moved = state.move_launch("shop-1", mv.clone(), None, vec![notice]).await.unwrap();
    assert_eq!((moved.state, moved.rev, moved.state_since), (LaunchState::Gating, 1, at(1)));
    let repeat = state.move_launch("shop-1", mv.clone(), None, vec![]).await.unwrap();
    assert_eq!(repeat, moved, "the key was answered before");

    mv.idempotency_key = None;
    let stale = state.move_launch("shop-1", mv, None, vec![]).await;
    assert!(matches!(stale, Err(StoreError::Refused(MoveRefused::Stale { state: LaunchState::Gating, rev: 1 }))));
    let marker = Marker {
        service: "shop".into(),
        kind: MarkerKind::Deploy,
        at: at(2),
        received_at: at(2),
        source: "cli".into(),
        actor: "ana".into(),
        text: "v1.4.0".into(),
        dedup_key: "m1".into(),
    };
    let live = Move::to(LaunchState::Live, &moved, at(2), "ana");
    let illegal = state.move_launch("shop-1", live, Some(marker.clone()), vec![]).await;
    assert!(matches!(illegal, Err(StoreError::Refused(MoveRefused::Illegal { .. }))));
    assert_eq!(state.markers("shop", at(0), at(9)).await.unwrap(), [], "a refused move leaves nothing");

    assert!(state.add_marker(marker.clone()).await.unwrap());
    assert!(!state.add_marker(marker.clone()).await.unwrap());
    assert_eq!(state.markers("shop", at(2), at(2)).await.unwrap(), [marker]);

    let longer = state.extend_window("shop-1", 1, at(99), 99_000, "ana", "slow start").await.unwrap();
    assert_eq!((longer.rev, longer.window_end, longer.window_ms), (2, Some(at(99)), 99_000));
    let events = state.launch_events("shop-1").await.unwrap();
    assert_eq!(events.iter().map(|e| &*e.kind).collect::<Vec<_>>(), ["move", "extend"]);
    assert_eq!(events[0].text, "go");

    let gone = Move::to(LaunchState::Aborted, &longer, at(3), "ana");
    state.move_launch("shop-1", gone, None, vec![]).await.unwrap();
    assert_eq!(state.open_launch("shop").await.unwrap(), None);
    state.plan_launch(&launch("shop-2"), "ana").await.unwrap();
    let state = state.crash().await;
    assert_eq!(state.open_launch("shop").await.unwrap().unwrap().id, "shop-2");
    assert_eq!(state.launches().await.unwrap().len(), 2);
    let log = state.audit_log(10).await.unwrap();
    assert_eq!(
        log.iter().map(|e| &*e.action).collect::<Vec<_>>(),
        ["launch.plan", "launch.move", "launch.extend", "launch.move", "launch.plan"]
    );
    let missing = state.move_launch("nope", Move::to(LaunchState::Gating, &planned, at(1), "a"), None, vec![]).await;
    assert!(matches!(missing, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn unsent_news_gives_way_and_tried_news_keeps_its_turn() {
    let state = Bench::new().await;
    let firing = |seq| row("mail", "g", seq, MessageKind::AlertFiring);
    state.enqueue(vec![firing(1), firing(2)]).await.unwrap();
    state.enqueue(vec![firing(2)]).await.unwrap();
    assert_eq!(state.outbox_row("mail-g-1").await.unwrap().unwrap().state, OutboxState::Coalesced);

    let claimed = state.claim_outbox("mail", at(10), LEASE, 10).await.unwrap();
    assert_eq!(ids(&claimed), ["mail-g-2"]);
    assert_eq!((claimed[0].attempts, claimed[0].lease_until), (1, Some(at(50))));
    let retry = Settle::Retry { not_before: at(60), error: "451".into() };
    state.settle_outbox("mail-g-2", tried("mail-g-2", 11), retry).await.unwrap();

    state.enqueue(vec![row("mail", "g", 3, MessageKind::AlertResolved)]).await.unwrap();
    assert_eq!(ids(&state.claim_outbox("mail", at(59), LEASE, 10).await.unwrap()), [""; 0], "3 waits for 2");
    assert_eq!(state.next_outbox_due().await.unwrap(), Some(at(60)));
    assert_eq!(ids(&state.claim_outbox("mail", at(60), LEASE, 10).await.unwrap()), ["mail-g-2"]);
    let done = Settle::Delivered { remote_id: Some("<m2>".into()) };
    state.settle_outbox("mail-g-2", tried("mail-g-2", 61), done).await.unwrap();
    assert_eq!(ids(&state.claim_outbox("mail", at(61), LEASE, 10).await.unwrap()), ["mail-g-3"]);

    let row = state.outbox_row("mail-g-2").await.unwrap().unwrap();
    assert_eq!((row.state, row.attempts, row.remote_id.as_deref()), (OutboxState::Delivered, 2, Some("<m2>")));
    assert_eq!(row.accepted_at, Some(at(61).plus(Duration::from_millis(20))));
    assert_eq!(state.delivery_attempts("mail-g-2").await.unwrap().len(), 2);
    let depth = &state.outbox_depths().await.unwrap()[0];
    assert_eq!((depth.pending, depth.delivered, depth.dead, depth.oldest_pending), (1, 1, 0, Some(at(3))));
}

#[tokio::test]
async fn documents_and_announcements_are_never_superseded() {
    let state = Bench::new().await;
    state
        .enqueue(vec![
            row("mail", "launch", 1, MessageKind::LaunchStateChanged),
            row("mail", "launch", 2, MessageKind::ReleaseAnnounced),
            row("mail", "launch", 3, MessageKind::ReportReady),
            row("mail", "launch", 4, MessageKind::LaunchStateChanged),
        ])
        .await
        .unwrap();
    let states: Vec<_> = state.outbox(None, 9).await.unwrap().iter().rev().map(|r| r.state.word()).collect();
    assert_eq!(states, ["coalesced", "pending", "pending", "pending"]);
    let said = state.announcements("shop").await.unwrap();
    assert_eq!(said.len(), 1);
    assert_eq!((&*said[0].state, said[0].version.as_deref(), &*said[0].digest), ("pending", Some("v1.4.0"), "d1"));
    state.claim_outbox("mail", at(9), LEASE, 1).await.unwrap();
    assert_eq!(state.announcements("shop").await.unwrap()[0].state, "pending", "a lease is nobody's business");
}

#[tokio::test]
async fn claims_go_by_priority_and_a_lost_lease_comes_back() {
    let state = Bench::new().await;
    let mut critical = row("mail", "c", 5, MessageKind::AlertFiring);
    critical.priority = AlertSeverity::Critical;
    let later = NewOutbox { not_before: at(100), ..row("mail", "later", 1, MessageKind::AlertFiring) };
    state
        .enqueue(vec![
            row("mail", "b", 2, MessageKind::AlertFiring),
            row("mail", "a", 1, MessageKind::AlertFiring),
            later,
            row("hook", "a", 1, MessageKind::AlertFiring),
            critical,
        ])
        .await
        .unwrap();
    let first = state.claim_outbox("mail", at(10), LEASE, 2).await.unwrap();
    assert_eq!(ids(&first), ["mail-c-5", "mail-a-1"]);
    assert_eq!(ids(&state.claim_outbox("mail", at(10), LEASE, 9).await.unwrap()), ["mail-b-2"]);

    let state = state.crash().await;
    assert_eq!(ids(&state.claim_outbox("mail", at(49), LEASE, 9).await.unwrap()), [""; 0], "still leased");
    let again = state.claim_outbox("mail", at(50), LEASE, 9).await.unwrap();
    assert_eq!(ids(&again), ["mail-c-5", "mail-a-1", "mail-b-2"], "the same ids come again");
    assert_eq!(again[0].attempts, 2);
    assert_eq!(again[0].new, first[0].new);
    assert_eq!(state.release_leases().await.unwrap(), 3);
    assert_eq!(state.claim_outbox("mail", at(50), LEASE, 9).await.unwrap().len(), 3);
}

#[tokio::test]
async fn dead_rows_can_be_retried_or_dropped_and_that_is_audited() {
    let state = Bench::new().await;
    state.enqueue(vec![row("mail", "g", 1, MessageKind::AlertFiring)]).await.unwrap();
    state.claim_outbox("mail", at(1), LEASE, 1).await.unwrap();
    let dead = Settle::Dead { error: "550".into() };
    state.settle_outbox("mail-g-1", tried("mail-g-1", 1), dead).await.unwrap();
    assert_eq!(state.outbox_depths().await.unwrap()[0].dead, 1);
    assert!(state.retry_outbox("mail-g-1", at(7000), "ana").await.unwrap());
    let row = state.outbox_row("mail-g-1").await.unwrap().unwrap();
    assert_eq!((row.state, row.new.not_before), (OutboxState::Pending, at(7000)));
    assert!(row.new.give_up_at > at(7000), "it gets time to succeed");
    assert!(state.drop_outbox("mail-g-1", at(7001), "ana", "old news").await.unwrap());
    assert!(!state.drop_outbox("mail-g-1", at(7002), "ana", "twice").await.unwrap());
    assert!(!state.retry_outbox("mail-g-1", at(7002), "ana").await.unwrap());
    let log = state.audit_log(9).await.unwrap();
    assert_eq!(log.iter().map(|e| &*e.action).collect::<Vec<_>>(), ["outbox.drop", "outbox.retry"]);
}

fn alert() -> Alert {
    Alert {
        fingerprint: "00ff".into(),
        rule: "pack/Http5xxHigh".into(),
        service: "shop".into(),
        labels: Labels::new([("alertname", "Http5xxHigh"), ("service", "shop")]),
        annotations: BTreeMap::from([("summary".into(), "12 % fail".into())]),
        state: AlertState::Firing,
        value: Some(0.12),
        active_at: Some(at(0)),
        fired_at: Some(at(60)),
        resolved_at: None,
        last_eval: at(60),
        data_as_of: Some(at(59)),
        last_true: Some(at(60)),
        missing_since: None,
        episode: Some("e1".into()),
        expr: "x > 0.05".into(),
    }
}

fn group() -> NotifGroup {
    NotifGroup {
        labels: Labels::new([("service", "shop")]),
        channels: vec!["mail".into()],
        told: BTreeMap::from([("00ff".into(), AlertState::Firing)]),
        told_severity: Some(AlertSeverity::Critical),
        last_sent: Some(at(70)),
        next_flush: Some(at(130)),
        seq: 1,
        ..NotifGroup::opened("0/service=shop", "shop", "g1", 1, at(60))
    }
}

#[tokio::test]
async fn what_an_evaluation_decided_commits_as_one() {
    let state = Bench::new().await;
    let transition = Transition {
        at: at(60),
        fingerprint: "00ff".into(),
        rule: "pack/Http5xxHigh".into(),
        service: "shop".into(),
        labels: alert().labels,
        from: AlertState::Pending,
        to: AlertState::Firing,
        episode: Some("e1".into()),
        value: Some(0.12),
        reason: "condition".into(),
        text: "12 % fail".into(),
    };
    let incident = Incident {
        id: 0,
        service: "shop".into(),
        title: "errors".into(),
        sev: 2,
        opened_at: at(60),
        closed_at: None,
        episodes: vec!["e1".into()],
        opened_by: "alert".into(),
    };
    let commit = AlertingCommit {
        alerts: vec![alert()],
        transitions: vec![transition.clone()],
        groups: vec![group()],
        outbox: vec![row("mail", "g1", 1, MessageKind::AlertFiring)],
        incidents: vec![incident.clone()],
        ..AlertingCommit::default()
    };
    state.commit_alerting(commit).await.unwrap();
    let state = state.crash().await;
    assert_eq!(state.alerts().await.unwrap(), [alert()]);
    assert_eq!(state.transitions(Some("shop"), at(0), at(60)).await.unwrap(), [transition]);
    assert_eq!(state.transitions(Some("pay"), at(0), at(60)).await.unwrap(), []);
    assert_eq!(state.notif_groups().await.unwrap(), [group()]);
    assert_eq!(state.outbox_between(Some("shop"), at(0), at(99)).await.unwrap().len(), 1);
    let stored = state.incidents("shop", at(0), at(99)).await.unwrap();
    assert_eq!(stored, [Incident { id: stored[0].id, ..incident.clone() }]);

    let closed = Incident { closed_at: Some(at(90)), ..stored[0].clone() };
    let commit = AlertingCommit {
        forget: vec![("pack/Http5xxHigh".into(), "00ff".into())],
        incidents: vec![incident, closed.clone()],
        ..AlertingCommit::default()
    };
    state.commit_alerting(commit).await.unwrap();
    assert_eq!(state.alerts().await.unwrap(), []);
    assert_eq!(state.incidents("shop", at(80), at(99)).await.unwrap(), [closed], "saved twice, still one");
    assert_eq!(state.incidents("shop", at(91), at(99)).await.unwrap(), []);
    assert_eq!((state.next_episode_number().await.unwrap(), state.next_episode_number().await.unwrap()), (1, 2));
}

#[tokio::test]
async fn acks_and_silences_are_kept_and_audited() {
    let state = Bench::new().await;
    let ack = Ack { episode: "g1".into(), by: "ana".into(), at: at(80), until: at(3680), comment: "on it".into() };
    assert!(matches!(state.add_ack(ack.clone()).await, Err(StoreError::NotFound(_))));
    let commit = AlertingCommit { groups: vec![group()], ..AlertingCommit::default() };
    state.commit_alerting(commit).await.unwrap();
    let acked = state.add_ack(ack.clone()).await.unwrap();
    assert_eq!((acked.acked_until, acked.acked_by.as_deref()), (Some(at(3680)), Some("ana")));
    assert_eq!(state.notif_groups().await.unwrap(), [acked]);
    assert_eq!(state.acks(at(0), at(99)).await.unwrap(), [ack]);

    let silence = Silence {
        id: "s1".into(),
        matchers: BTreeMap::from([("service".into(), "shop".into())]),
        author: "ana".into(),
        comment: "planned".into(),
        from: at(0),
        until: at(600),
    };
    state.add_silence(silence.clone(), "ana").await.unwrap();
    assert_eq!(state.silences(at(599)).await.unwrap(), [silence]);
    assert!(state.expire_silence("s1", at(10), "ana").await.unwrap());
    assert!(!state.expire_silence("s1", at(11), "ana").await.unwrap());
    assert_eq!(state.silences(at(10)).await.unwrap(), []);
    assert_eq!(state.audit_log(9).await.unwrap().len(), 3);
}

fn run(id: &str, seconds: i64) -> GateRun {
    GateRun {
        schema: "hypercare.check/v1".into(),
        run: id.into(),
        service: "shop".into(),
        started_at: at(seconds),
        duration_ms: 5,
        rid: ReleaseId { commit: Some("9f3c2e1".into()), ..ReleaseId::default() },
        decision: Decision::NoGo,
        goals: Vec::new(),
        gates: Vec::new(),
        changed_thresholds: Vec::new(),
        requests: 0,
        scope: None,
        suppressions: vec![],
        base: None,
        ignored: Vec::new(),
    }
}

fn seen(n: u32) -> (String, Evidence) {
    ("security.headers".into(), Evidence::new("headers", serde_json::json!({"n": n, "a": "é"})))
}

#[tokio::test]
async fn gate_runs_and_their_evidence_are_found_again() {
    let state = Bench::new().await;
    state.save_gate_run(&run("r1", 1), &[seen(1), seen(2)]).await.unwrap();
    state.save_gate_run(&run("r2", 2), &[seen(2)]).await.unwrap();
    assert_eq!(state.latest_gate_run("shop").await.unwrap(), Some(run("r2", 2)));
    assert_eq!(state.gate_run_before("shop", at(1)).await.unwrap(), Some(run("r1", 1)));
    assert_eq!(state.gate_run("r9").await.unwrap(), None);
    let limited = GateRun { scope: Some("only code.coverage".into()), ..run("r3", 3) };
    state.save_gate_run(&limited, &[]).await.unwrap();
    assert_eq!(state.latest_gate_run("shop").await.unwrap().unwrap().run, "r2", "a limited run decides nothing");
    assert_eq!(state.gate_run("r3").await.unwrap(), Some(limited));
    let ledger = state.ledger(None, Some("r1"), 9).await.unwrap();
    assert_eq!(ledger.iter().map(|e| e.seq).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(state.evidence_content(&ledger[0].digest).await.unwrap(), Some(seen(2).1.content));
    let short = &ledger[0].digest["sha256:".len()..][..12];
    assert_eq!(state.evidence_content(short).await.unwrap(), Some(seen(2).1.content));
    assert!(state.evidence_content("").await.is_err(), "ambiguous");
    assert_eq!(state.evidence_content("ffffffffffffffffffff").await.unwrap(), None);
    let check = state.verify_ledger().await.unwrap();
    assert_eq!((check.rows, check.broken_at), (3, None));
    assert_eq!(check.head, state.ledger(None, None, 1).await.unwrap()[0].hash);
}

#[tokio::test]
async fn every_kind_of_tampering_with_the_ledger_shows() {
    for (edit, seq, why) in [
        ("UPDATE ledger SET gate = 'other' WHERE seq = 2", 2, "changed"),
        ("UPDATE ledger SET hash = prev_hash WHERE seq = 1", 1, "changed"),
        ("DELETE FROM ledger WHERE seq = 2", 3, "missing"),
        ("DELETE FROM ledger WHERE seq = 3", 3, "ends differently"),
        ("UPDATE evidence SET content = '{}' WHERE digest = (SELECT digest FROM ledger WHERE seq = 2)", 2, "evidence"),
        ("DELETE FROM evidence", 1, "missing"),
    ] {
        let state = Bench::new().await;
        state.save_gate_run(&run("r1", 1), &[seen(1), seen(2), seen(3)]).await.unwrap();
        state.sql(edit).await;
        let (at, fault) = state.verify_ledger().await.unwrap().broken_at.unwrap_or_else(|| panic!("{edit} not seen"));
        assert_eq!(at, seq, "{edit}: {fault}");
        assert!(fault.contains(why), "{edit}: {fault}");
    }
}

#[tokio::test]
async fn an_edited_audit_row_shows() {
    let state = Bench::new().await;
    for n in 0..3 {
        state.audit(at(n), "ana", "config.reload", "file", Some("why")).await.unwrap();
    }
    assert_eq!(state.verify_audit().await.unwrap().broken_at, None);
    state.sql("UPDATE audit SET actor = 'bob' WHERE seq = 2").await;
    assert_eq!(state.verify_audit().await.unwrap().broken_at.unwrap().0, 2);
}

fn item(id: &str, revision: &str, seconds: i64) -> FeedbackItem {
    FeedbackItem {
        source: "issues".into(),
        external_id: id.into(),
        revision: revision.into(),
        created_at: at(0),
        updated_at: at(seconds),
        fetched_at: at(seconds),
        kind: FeedbackKind::Issue,
        author_hash: "h1".into(),
        rating: None,
        title: "t".into(),
        text: revision.into(),
        url: None,
        app_version: None,
        platform: None,
        labels: Vec::new(),
        redactions: 0,
        sentiment: None,
        cues: Vec::new(),
    }
}

#[tokio::test]
async fn feedback_keeps_revisions_cursor_and_promises_to_forget() {
    let state = Bench::new().await;
    let page = |items, next: &str| FeedbackPage { items, next: Cursor(Some(next.into())), ..FeedbackPage::default() };
    let first = page(vec![item("1", "a", 1), item("2", "a", 1)], "c1");
    assert_eq!(state.save_feedback_page("shop", "issues", &first, at(1)).await.unwrap(), 2);
    assert_eq!(state.save_feedback_page("shop", "issues", &first, at(1)).await.unwrap(), 0, "a page twice");
    let edit = page(vec![item("1", "b", 2)], "c2");
    assert_eq!(state.save_feedback_page("shop", "issues", &edit, at(2)).await.unwrap(), 0, "an edit");
    let state = state.crash().await;
    assert_eq!(state.feedback_cursor("issues").await.unwrap(), Cursor(Some("c2".into())));
    let texts: Vec<_> = state.feedback("shop", at(0), at(9)).await.unwrap().into_iter().map(|i| i.text).collect();
    assert_eq!(texts, ["b", "a"]);

    state.record_feedback_error("shop", "issues", at(3), "429").await.unwrap();
    let fresh = &state.feedback_freshness("shop").await.unwrap()[0];
    assert_eq!((fresh.last_ok_poll, fresh.last_new_item), (Some(at(2)), Some(at(1))));
    assert_eq!(fresh.last_error.as_deref(), Some("429"));
    assert_eq!(state.feedback_cursor("issues").await.unwrap(), Cursor(Some("c2".into())));

    assert_eq!(state.forget_feedback(Some(""), None, "ana", at(4)).await.unwrap(), 0, "nobody is not everybody");
    assert_eq!(state.forget_feedback(None, Some(("issues", "2")), "ana", at(4)).await.unwrap(), 1);
    assert_eq!(state.forget_feedback(Some("h1"), None, "ana", at(4)).await.unwrap(), 1);
    assert_eq!(state.save_feedback_page("shop", "issues", &first, at(5)).await.unwrap(), 0);
    assert_eq!(state.feedback("shop", at(0), at(9)).await.unwrap(), []);
}

#[tokio::test]
async fn a_baseline_is_frozen_once() {
    let state = Bench::new().await;
    let baseline = baseline::Baseline {
        launch: "shop-1".into(),
        frozen_at: at(5),
        from: at(0),
        to: at(5),
        hash: "h".into(),
        series: vec![baseline::BaselineSeries {
            name: "traffic".into(),
            query: "sum(rate(x[5m]))".into(),
            unit: "req/s".into(),
            points: vec![(at(0), 0.1 + 0.2)],
            coverage: 1.0,
        }],
    };
    assert!(state.freeze_baseline(&baseline).await.unwrap());
    let other = baseline::Baseline { hash: "other".into(), ..baseline.clone() };
    assert!(!state.freeze_baseline(&other).await.unwrap());
    assert_eq!(state.baseline("shop-1").await.unwrap(), Some(baseline));
    assert_eq!(state.baseline("shop-2").await.unwrap(), None);
}

#[tokio::test]
async fn reports_are_stored_once_and_announced_with_their_ids() {
    let state = Bench::new().await;
    let report = |format: &str| StoredReport {
        id: 0,
        launch: "shop-1".into(),
        kind: "go_live".into(),
        format: format.into(),
        as_of: at(10),
        input_hash: "i".into(),
        bytes_hash: "b".into(),
        bytes: vec![0, 159, 255],
        made_at: at(11),
    };
    let notices = || -> reports::Notices {
        Box::new(|ids| {
            let mut row = row("mail", "shop-1", ids[0], MessageKind::ReportReady);
            let attach = |id: &i64| Attachment { name: "r".into(), mime: "text/html".into(), report: *id };
            row.message.attachments = ids.iter().map(attach).collect();
            vec![row]
        })
    };
    let ids = state.save_reports(vec![report("html"), report("md")], notices()).await.unwrap();
    assert_eq!(state.save_reports(vec![report("html"), report("md")], notices()).await.unwrap(), ids);
    let sent = state.outbox(None, 9).await.unwrap();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].new.message.attachments.iter().map(|a| a.report).collect::<Vec<_>>(), ids);
    assert_eq!(state.report(ids[0]).await.unwrap().unwrap(), StoredReport { id: ids[0], ..report("html") });
    let listed = state.reports("shop-1").await.unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|r| r.bytes.is_empty()));
}

#[tokio::test]
async fn liveness_tells_a_crash_from_a_goodbye() {
    let state = Bench::new().await;
    assert_eq!(state.last_beat().await.unwrap(), None);
    state.beat("b1", at(1)).await.unwrap();
    state.beat("b1", at(6)).await.unwrap();
    assert_eq!(state.last_beat().await.unwrap(), None, "its own life is no earlier boot");
    assert_eq!(state.newest_beat().await.unwrap(), Some((at(6), false)));
    let key = state.instance_key().await.unwrap();
    let state = state.crash().await;
    assert_eq!(state.last_beat().await.unwrap(), Some((at(6), false)));
    assert_eq!(state.instance_key().await.unwrap().expose(), key.expose());
    assert_eq!(key.expose().len(), 64);
    state.beat("b2", at(100)).await.unwrap();
    assert_eq!(state.last_beat().await.unwrap(), Some((at(6), false)));
    state.store.close().await;
    let state = state.crash().await;
    assert_eq!(state.last_beat().await.unwrap(), Some((at(100), true)));
}
