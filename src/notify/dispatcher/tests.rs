//! The dispatcher against a real store and a channel that does as it is told.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;

use super::*;
use crate::domain::alert::NotifyReason;
use crate::domain::clock::{Clock as _, ManualClock};
use crate::domain::notification::Message;
use crate::notify::bucket::Rate;
use crate::notify::message::tests::example;
use crate::store::Role;

type Log = Arc<Mutex<Vec<String>>>;

/// Answers from a list, then accepts; writes down `channel:id:headline`.
struct Scripted {
    name: &'static str,
    answers: Mutex<VecDeque<Result<Receipt, SendError>>>,
    log: Log,
    rate: Rate,
}

impl Channel for Scripted {
    fn timeout(&self) -> Duration {
        Duration::from_secs(20)
    }
    fn rate(&self) -> Rate {
        self.rate
    }
    fn send<'a>(&'a self, row: &'a OutboxRow, _: &'a [AttachedFile]) -> BoxFuture<'a, Result<Receipt, SendError>> {
        self.log.lock().unwrap().push(format!("{} {} {}", self.name, row.new.id, row.new.message.headline));
        let answer = self.answers.lock().unwrap().pop_front();
        let good = Receipt { remote_id: Some("r".into()), detail: "250 ok".into() };
        Box::pin(async move { answer.unwrap_or(Ok(good)) })
    }
}

struct World {
    clock: Arc<ManualClock>,
    store: Store,
    dispatcher: Dispatcher,
    log: Log,
    _dir: tempfile::TempDir,
}

const FAST: Rate = Rate { burst: 100, per_second: 100.0 };

fn no(detail: &str) -> Result<Receipt, SendError> {
    Err(SendError::Retry { detail: detail.into(), after: None })
}

fn never(disable: bool) -> Result<Receipt, SendError> {
    Err(SendError::Permanent { detail: "410 gone".into(), disable })
}

async fn world(channels: Vec<(&'static str, Vec<Result<Receipt, SendError>>)>, rate: Rate) -> World {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(example().created_at);
    let store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
    let log: Log = Arc::default();
    let channels = channels
        .into_iter()
        .map(|(name, answers)| {
            let channel = Scripted { name, answers: Mutex::new(answers.into()), log: log.clone(), rate };
            (name.to_string(), Box::new(channel) as Box<dyn Channel>)
        })
        .collect();
    let dispatcher = Dispatcher::new(store.clone(), channels, clock.clone());
    World { clock, store, dispatcher, log, _dir: dir }
}

impl World {
    /// A row of group `group` with running number `seq`.
    async fn enqueue(&self, id: &str, group: &str, seq: i64, priority: AlertSeverity, failover: Option<&str>) {
        let now = self.clock.now();
        let message = Message { headline: format!("news {id}"), ..example() };
        let row = NewOutbox {
            id: id.into(),
            channel: "a".into(),
            group_key: group.into(),
            seq,
            reason: NotifyReason::First,
            priority,
            message,
            not_before: now,
            give_up_at: now.plus(Duration::from_secs(3600)),
            failover: failover.map(str::to_string),
            enqueued_at: now,
        };
        self.store.state.enqueue(vec![row]).await.unwrap();
    }
    async fn tick(&self) -> usize {
        self.dispatcher.tick(self.clock.now()).await
    }
    async fn after(&self, seconds: u64) -> usize {
        self.clock.advance(Duration::from_secs(seconds));
        self.tick().await
    }
    async fn row(&self, id: &str) -> OutboxRow {
        self.store.state.outbox_row(id).await.unwrap().unwrap()
    }
    fn sent(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

use AlertSeverity::{Critical, Warning};

#[tokio::test]
async fn delivers_once_and_remembers_what_the_other_side_said() {
    let w = world(vec![("a", vec![])], FAST).await;
    w.enqueue("1", "g", 1, Critical, None).await;
    assert_eq!(w.tick().await, 1);
    assert_eq!(w.tick().await, 0);
    let row = w.row("1").await;
    assert_eq!((row.state, row.remote_id.as_deref()), (OutboxState::Delivered, Some("r")));
    let attempts = w.store.state.delivery_attempts("1").await.unwrap();
    assert_eq!((attempts.len(), attempts[0].outcome.as_str()), (1, "delivered"));
}

#[tokio::test]
async fn tries_again_under_the_same_id_until_accepted() {
    let w = world(vec![("a", vec![no("down"), no("down")])], FAST).await;
    w.enqueue("1", "g", 1, Warning, None).await;
    w.tick().await;
    assert_eq!(w.row("1").await.last_error.as_deref(), Some("down"));
    assert_eq!(w.tick().await, 0, "not before its time");
    w.after(3).await;
    w.after(8).await;
    assert_eq!(w.row("1").await.state, OutboxState::Delivered);
    assert_eq!(w.sent(), ["a 1 news 1"; 3]);
}

#[tokio::test]
async fn the_receivers_patience_is_honoured() {
    let wait = Err(SendError::Retry { detail: "429".into(), after: Some(Duration::from_secs(60)) });
    let w = world(vec![("a", vec![wait])], FAST).await;
    w.enqueue("1", "g", 1, Warning, None).await;
    w.tick().await;
    assert_eq!(w.after(59).await, 0);
    assert_eq!(w.after(1).await, 1);
}

#[tokio::test]
async fn gives_up_in_the_end_and_stays_visible() {
    let w = world(vec![("a", vec![no("down"); 100])], FAST).await;
    w.enqueue("1", "g", 1, Warning, None).await;
    for _ in 0..100 {
        w.after(60).await;
    }
    let row = w.row("1").await;
    assert_eq!(row.state, OutboxState::Dead);
    assert!(row.last_error.unwrap().starts_with("given up: down"));
    assert!(row.attempts > 5 && row.attempts < 30, "{}", row.attempts);
}

#[tokio::test]
async fn order_within_a_group_is_kept_and_other_groups_do_not_wait() {
    let w = world(vec![("a", vec![no("down")])], FAST).await;
    w.enqueue("1", "g", 1, Warning, None).await;
    w.tick().await;
    w.enqueue("2", "g", 2, Warning, None).await;
    w.enqueue("3", "h", 1, Warning, None).await;
    w.tick().await;
    assert_eq!(w.sent(), ["a 1 news 1", "a 3 news 3"]);
    w.after(4).await;
    w.tick().await;
    assert_eq!(w.sent()[2..], ["a 1 news 1", "a 2 news 2"]);
}

#[tokio::test]
async fn a_critical_message_takes_the_other_way_after_two_minutes_once() {
    let w = world(vec![("a", vec![no("down"); 50]), ("b", vec![])], FAST).await;
    w.enqueue("1", "g", 1, Critical, Some("b")).await;
    w.enqueue("2", "h", 1, Warning, Some("b")).await;
    for _ in 0..11 {
        w.after(10).await;
    }
    assert!(!w.sent().iter().any(|l| l.starts_with("b ")), "too early");
    for _ in 0..10 {
        w.after(10).await;
    }
    let by_b: Vec<String> = w.sent().into_iter().filter(|l| l.starts_with("b ")).collect();
    assert_eq!(by_b.len(), 1, "{by_b:?}");
    assert!(by_b[0].ends_with("FAILOVER for a · news 1"), "{by_b:?}");
    assert_eq!(w.row("1").await.state, OutboxState::Pending, "the first keeps trying");
}

#[tokio::test]
async fn a_refused_critical_message_takes_the_other_way_at_once() {
    let w = world(vec![("a", vec![never(false)]), ("b", vec![])], FAST).await;
    w.enqueue("1", "g", 1, Critical, Some("b")).await;
    w.tick().await;
    w.tick().await;
    assert_eq!(w.row("1").await.state, OutboxState::Dead);
    assert_eq!(w.sent().len(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_the_channel_and_its_rows_move() {
    let w = world(vec![("a", vec![never(true)]), ("b", vec![])], FAST).await;
    for (id, group) in [("1", "g"), ("2", "h"), ("3", "i")] {
        w.enqueue(id, group, 1, Warning, Some("b")).await;
    }
    w.enqueue("4", "j", 1, Warning, None).await;
    for _ in 0..4 {
        w.tick().await;
    }
    let by = |name: &str| w.sent().iter().filter(|l| l.starts_with(name)).count();
    assert_eq!((by("a "), by("b ")), (1, 3), "{:?}", w.sent());
    assert_eq!(w.row("4").await.state, OutboxState::Pending, "no other way: it waits for a better configuration");
    w.after(4000).await;
    assert_eq!(w.row("4").await.state, OutboxState::Dead);
}

#[tokio::test]
async fn rows_of_a_removed_channel_do_not_wait_for_ever() {
    let w = world(vec![("b", vec![])], FAST).await;
    w.enqueue("1", "g", 1, Critical, Some("b")).await;
    w.enqueue("2", "h", 1, Warning, None).await;
    w.tick().await;
    w.tick().await;
    assert_eq!(w.sent().len(), 1);
    assert_eq!(w.row("2").await.state, OutboxState::Pending);
    w.after(3601).await;
    assert_eq!(w.row("2").await.state, OutboxState::Dead);
}

#[tokio::test]
async fn after_five_failures_one_row_probes_every_thirty_seconds() {
    let w = world(vec![("a", vec![no("down"); 7])], FAST).await;
    for i in 0..7 {
        w.enqueue(&i.to_string(), &format!("g{i}"), 1, Warning, None).await;
    }
    for _ in 0..7 {
        w.tick().await;
    }
    assert_eq!(w.sent().len(), 5);
    w.after(31).await;
    w.tick().await;
    assert_eq!(w.sent().len(), 6, "one probe, then quiet again");
    w.after(31).await;
    for _ in 0..10 {
        w.after(31).await;
    }
    for i in 0..7 {
        assert_eq!(w.row(&i.to_string()).await.state, OutboxState::Delivered);
    }
}

#[tokio::test]
async fn a_flood_of_warnings_leaves_room_for_a_page() {
    let w = world(vec![("a", vec![])], Rate { burst: 10, per_second: 0.001 }).await;
    for i in 0..20 {
        w.enqueue(&format!("w{i}"), &format!("g{i}"), 1, Warning, None).await;
    }
    for _ in 0..20 {
        w.tick().await;
    }
    assert_eq!(w.sent().len(), 7);
    w.enqueue("page", "p", 1, Critical, None).await;
    w.tick().await;
    assert_eq!(w.sent().last().unwrap(), "a page news page");
}

#[tokio::test]
async fn runs_until_told_to_stop_and_takes_over_what_a_crash_left() {
    let w = world(vec![("a", vec![])], FAST).await;
    w.enqueue("1", "g", 1, Critical, None).await;
    // A process that claimed and died.
    w.store.state.claim_outbox("a", w.clock.now(), Duration::from_secs(240), 10).await.unwrap();
    let shutdown = CancellationToken::new();
    let wake = w.dispatcher.wake_handle();
    let store = w.store.clone();
    let task = tokio::spawn(w.dispatcher.run(shutdown.clone()));
    for _ in 0..600 {
        if store.state.outbox_row("1").await.unwrap().unwrap().state == OutboxState::Delivered {
            break;
        }
        wake.notify_one();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    task.await.unwrap();
    assert_eq!(w.log.lock().unwrap().len(), 1);
}
