//! The samples store against a real file: what goes in comes out, through seal, crash and a second reader.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Point;
use super::*;
use crate::domain::clock::{Clock as _, ManualClock};
use crate::domain::gap::{Gap, GapReason};
use crate::domain::metric::{LabelledSample, STALE_BITS, Sample};
use crate::store::Store;

const T0: i64 = 1_760_000_000_000;

struct Bench {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap(), clock: ManualClock::at(Timestamp::from_ms(T0)) }
    }
    async fn open(&self, role: Role) -> Store {
        Store::open(self.dir.path(), role, self.clock.clone()).await.unwrap()
    }
}

fn labels(name: &str, instance: &str) -> Labels {
    Labels::new([(NAME, name), ("instance", instance)])
}

fn sample(labels: &Labels, ms: i64, bits: u64) -> LabelledSample {
    LabelledSample { labels: labels.clone(), sample: Sample { t: Timestamp::from_ms(ms), v: f64::from_bits(bits) } }
}

async fn all(samples: &Samples) -> Vec<Series> {
    samples.select(&[], Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), usize::MAX).await.unwrap()
}

/// Three hours of two series at 15 s, with awkward values.
async fn fill(bench: &Bench, samples: &Samples) {
    for i in 0..720i64 {
        let t = T0 + i * 15_000;
        bench.clock.jump_wall(Timestamp::from_ms(t));
        let odd = [STALE_BITS, f64::NAN.to_bits(), (-0.0f64).to_bits(), f64::INFINITY.to_bits()];
        let value = if i % 50 == 7 { odd[(i as usize / 50) % 4] } else { (i as f64 * 1.5).to_bits() };
        let batch = vec![sample(&labels("a", "x"), t, value), sample(&labels("b", "x"), t, (i as f64).to_bits())];
        assert_eq!(samples.append(batch).await.unwrap().accepted, 2);
    }
}

#[tokio::test]
async fn samples_survive_a_crash_and_a_seal_bit_for_bit() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store.samples).await;
    let before = all(&store.samples).await;
    assert_eq!(before.len(), 2);
    assert!(before.iter().all(|s| s.samples.len() == 720));

    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(all(&store.samples).await, before, "the head is replayed");

    let now = bench.clock.now();
    store.samples.maintain(now, Timestamp::from_ms(0)).await.unwrap();
    let stats = store.samples.stats().await.unwrap();
    assert!(stats.page_samples > 900 && stats.head_samples < 500, "{stats:?}");
    assert_eq!(stats.page_samples + stats.head_samples, 1440);
    assert_eq!(all(&store.samples).await, before, "pages and head together are the same");

    store.samples.maintain(now, Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(store.samples.stats().await.unwrap(), stats, "a second seal finds nothing to do");
    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(all(&store.samples).await, before, "and so after another crash");
    let five_minutes = store.samples.select(&[], now.minus(Duration::from_secs(300)), now, 1000).await.unwrap();
    assert_eq!(five_minutes[0].samples.len(), 21, "both ends are inside");
}

#[tokio::test]
async fn a_seal_that_died_between_its_slices_is_repeated_without_harm() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store.samples).await;
    let before = all(&store.samples).await;
    // As after a crash: a page of one series is written, the batches are still there.
    let labels = before[0].labels.clone();
    let points: Vec<Point> = before[0].samples.iter().take(300).map(|s| (s.t.ms(), s.v.to_bits())).collect();
    let series = store.samples.inner.read().find(&labels).unwrap();
    let strand = page::Strand { series: series.1, labels, points };
    store.samples.add_pages(vec![seal::pack(0, seal::slot_of(T0), vec![strand])]).await.unwrap();
    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(all(&store.samples).await, before);
    store.samples.maintain(bench.clock.now(), Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(all(&store.samples).await, before);
}

#[tokio::test]
async fn refused_samples_are_counted() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    let up = labels("up", "x");
    let one = 1f64.to_bits();
    let done = store
        .samples
        .append(vec![
            sample(&up, T0, one),
            sample(&up, T0, one),
            sample(&up, T0, 0),
            sample(&up, T0 - 1, one),
            sample(&up, T0 + 600_001, one),
            sample(&up, T0 + 600_000, one),
        ])
        .await
        .unwrap();
    let expected =
        Appended { accepted: 2, out_of_order: 1, duplicate: 1, too_far_ahead: 1, series_limit: 0, new_series: 1 };
    assert_eq!(done, expected);
    let again = store.samples.append(vec![sample(&up, T0 + 1000, one)]).await.unwrap();
    assert_eq!((again.accepted, again.out_of_order), (0, 1), "memory of the last sample spans appends");
}

#[tokio::test]
async fn a_client_reads_beside_the_daemon_and_follows_it() {
    let bench = Bench::new();
    let daemon = bench.open(Role::Daemon).await;
    fill(&bench, &daemon.samples).await;
    let client = bench.open(Role::Client).await;
    assert_eq!(all(&client.samples).await, all(&daemon.samples).await);

    let now = bench.clock.now();
    daemon.samples.append(vec![sample(&labels("new", "y"), now.ms(), 0)]).await.unwrap();
    assert_eq!(all(&client.samples).await, all(&daemon.samples).await, "new rows");
    daemon.samples.maintain(now, Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(all(&client.samples).await, all(&daemon.samples).await, "after a seal");
    assert!(client.samples.append(vec![sample(&labels("z", "z"), now.ms(), 0)]).await.is_err());
    assert_eq!(client.samples.label_values("instance").await.unwrap(), ["x", "y"]);
}

#[tokio::test]
async fn retention_drops_pages_and_forgets_series() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store.samples).await;
    let day = bench.clock.now().plus(Duration::from_secs(86_400));
    bench.clock.jump_wall(day);
    store.samples.append(vec![sample(&labels("young", "x"), day.ms(), 0)]).await.unwrap();
    store.samples.keep_rollups(Duration::ZERO);
    store.samples.maintain(day, day.minus(Duration::from_secs(3600))).await.unwrap();
    let left = all(&store.samples).await;
    assert_eq!(left.iter().map(|s| s.labels.name()).collect::<Vec<_>>(), ["young"]);
    assert_eq!(store.samples.label_values(NAME).await.unwrap(), ["young"]);
    let stats = store.samples.stats().await.unwrap();
    assert_eq!((stats.series, stats.page_samples, stats.page_bytes), (1, 0, 0));
}

#[tokio::test]
async fn the_cap_drops_the_oldest_but_never_what_is_pinned() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store.samples).await;
    let later = bench.clock.now().plus(Duration::from_secs(4 * 3600));
    store.samples.set_limits(1, Some(Timestamp::from_ms(0)));
    store.samples.maintain(later, Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(store.samples.stats().await.unwrap().page_samples, 1440, "pinned");
    store.samples.set_limits(1, None);
    store.samples.maintain(later, Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(store.samples.stats().await.unwrap().page_samples, 0);
}

#[tokio::test]
async fn the_limit_holds_over_head_and_pages() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store.samples).await;
    store.samples.maintain(bench.clock.now(), Timestamp::from_ms(0)).await.unwrap();
    let end = bench.clock.now();
    let few = store.samples.select(&[], Timestamp::from_ms(T0), end, 1439).await;
    assert!(matches!(few, Err(ReadError::TooManySamples { limit: 1439 })));
    assert!(store.samples.select(&[], Timestamp::from_ms(T0), end, 1440).await.is_ok());
}

#[tokio::test]
async fn a_flipped_bit_in_a_page_is_an_error_not_a_number() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store.samples).await;
    store.samples.maintain(bench.clock.now(), Timestamp::from_ms(0)).await.unwrap();
    store
        .samples
        .inner
        .db
        .write(|c| {
            Box::pin(async move {
                sqlx::query("UPDATE page SET body = cast(body || x'00' AS BLOB)").execute(c).await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let read = store.samples.select(&[], Timestamp::from_ms(T0), bench.clock.now(), 10_000).await;
    assert!(matches!(read, Err(ReadError::Storage(why)) if why.contains("checksum")));
}

#[tokio::test]
async fn gaps_that_touch_become_one() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    let gap = |target: &str, from, to, reason| Gap {
        target: target.into(),
        from: Timestamp::from_ms(from),
        to: Timestamp::from_ms(to),
        reason,
        detail: format!("{from}"),
    };
    for g in [
        gap("shop", 0, 10, GapReason::Timeout),
        gap("shop", 10, 20, GapReason::Timeout),
        gap("shop", 20, 30, GapReason::Dns),
        gap("other", 20, 30, GapReason::Timeout),
        gap("shop", 40, 50, GapReason::Timeout),
    ] {
        store.samples.record_gap(g).await.unwrap();
    }
    let read = store.samples.gaps(Timestamp::from_ms(0), Timestamp::from_ms(100)).await.unwrap();
    let spans: Vec<_> = read.iter().map(|g| (&*g.target, g.from.ms(), g.to.ms(), g.reason)).collect();
    assert_eq!(
        spans,
        [
            ("shop", 0, 20, GapReason::Timeout),
            ("other", 20, 30, GapReason::Timeout),
            ("shop", 20, 30, GapReason::Dns),
            ("shop", 40, 50, GapReason::Timeout),
        ]
    );
    assert_eq!(read[0].detail, "10", "the newest detail");
}

#[tokio::test]
async fn roles_are_those_of_the_service() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    let series = |name: &str, service: &str| Labels::new([(NAME, name), ("service", service), ("status", "200")]);
    let stored =
        [series("http_requests_total", "shop"), series("http_server_requests_total", "pay"), series("queue_depth", "")];
    store.samples.append(stored.iter().map(|l| sample(l, T0, 0)).collect()).await.unwrap();
    let roles = store.samples.roles(&BTreeMap::new(), "pay").await.unwrap();
    assert_eq!(roles.requests.as_deref(), Some(r#"http_server_requests_total{service="pay"}"#));
    assert_eq!((&*roles.status_label, roles.cpu), ("status", None));
    assert_eq!(roles.queue_depth.as_deref(), Some(r#"queue_depth{service=""}"#), "nobody's queue is everybody's");
}

/// Every 15 s from `from` to `to`: a histogram of three buckets, its count and a gauge, of two instances.
async fn scrape(bench: &Bench, samples: &Samples, from: i64, to: i64) {
    for t in (from..to).step_by(15_000) {
        bench.clock.jump_wall(Timestamp::from_ms(t));
        let mut batch = Vec::new();
        for instance in ["x", "y"] {
            let n = ((t - T0) / 15_000 + 1) as f64;
            for (le, share) in [("0.1", 2.0), ("1", 1.5), ("+Inf", 1.0)] {
                let labels = labels("rt_bucket", instance).with("le", le);
                batch.push(sample(&labels, t, (n / share).floor().to_bits()));
            }
            batch.push(sample(&labels("rt_count", instance), t, n.to_bits()));
            batch.push(sample(&labels("load", instance), t, (n.sin()).to_bits()));
        }
        samples.append(batch).await.unwrap();
    }
}

#[tokio::test]
async fn a_window_that_is_over_is_compacted_and_nothing_changes() {
    const HOUR: i64 = 3_600_000;
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    for hour in 0..16 {
        scrape(&bench, &store.samples, T0 + hour * HOUR, T0 + (hour + 1) * HOUR).await;
        store.samples.seal(bench.clock.now()).await.unwrap();
    }
    let before = all(&store.samples).await;
    assert_eq!(before.len(), 10);
    assert!(before.iter().all(|s| s.samples.len() == 16 * 240));
    let levels = |store: &Store| {
        let index = store.samples.inner.read();
        let of = |level| index.pages.values().filter(|p| p.level == level).count();
        (of(0), of(1))
    };
    assert_eq!(levels(&store).1, 0);
    let loose = store.samples.stats().await.unwrap();

    store.samples.compact(bench.clock.now()).await.unwrap();
    let (open, compacted) = levels(&store);
    assert!(open < 8 && (2..=3).contains(&compacted), "{open} open, {compacted} compacted");
    assert_eq!(all(&store.samples).await, before);
    let dense = store.samples.stats().await.unwrap();
    assert_eq!(dense.page_samples, loose.page_samples);
    assert!(dense.page_bytes < loose.page_bytes, "{dense:?} {loose:?}");
    let bucket = [Matcher::equal(NAME, "rt_bucket"), Matcher::equal("le", "1"), Matcher::equal("instance", "y")];
    let (from, to) = (Timestamp::from_ms(T0 + HOUR), Timestamp::from_ms(T0 + 13 * HOUR));
    let one = store.samples.select(&bucket, from, to, usize::MAX).await.unwrap();
    assert_eq!((one.len(), one[0].samples.len()), (1, 12 * 240 + 1));

    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(all(&store.samples).await, before, "and so after a crash");
    let client = bench.open(Role::Client).await;
    assert_eq!(all(&client.samples).await, before, "and beside the daemon");
}

#[tokio::test]
async fn a_compaction_that_died_half_way_is_mended_by_the_next() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    scrape(&bench, &store.samples, T0, T0 + 15 * 3_600_000).await;
    store.samples.seal(bench.clock.now()).await.unwrap();
    let before = all(&store.samples).await;
    let sealed = store.samples.stats().await.unwrap().page_samples;
    // The old pages as they were, after the new ones were written.
    let old: Vec<i64> = store.samples.inner.read().pages.keys().copied().collect();
    let directories = store.samples.inner.read().pages.iter().map(|(id, p)| (*id, p.directory.clone())).collect();
    let bodies = read::bodies(&store.samples.inner, directories).await.unwrap().unwrap();
    let copies: Vec<seal::NewPage> = {
        let index = store.samples.inner.read();
        old.iter().map(|id| seal::NewPage { page: index.pages[id].clone(), body: bodies[id].1.to_vec() }).collect()
    };
    store.samples.compact(bench.clock.now()).await.unwrap();
    store.samples.add_pages(copies).await.unwrap();
    assert!(store.samples.stats().await.unwrap().page_samples > sealed);
    assert_eq!(all(&store.samples).await, before, "read once although stored twice");
    store.samples.compact(bench.clock.now()).await.unwrap();
    assert_eq!(all(&store.samples).await, before);
    let left = store.samples.inner.read().pages.values().filter(|p| p.level == 0).map(|p| p.slot).max();
    assert!(left.is_none_or(|slot| slot + 2 * seal::WINDOW_MS > bench.clock.now().ms()));
}

#[tokio::test]
async fn a_backfill_of_many_samples_a_series_is_taken_and_sealed_on_the_way() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    bench.clock.jump_wall(Timestamp::from_ms(T0 + 40 * 3_600_000));
    let value = |series: i64, i: i64| (series * 1000 + i / 3) as f64;
    let mut sent = 0;
    for from in (0..5760).step_by(480) {
        let run = |series: i64| {
            let samples =
                (from..from + 480).map(|i| Sample { t: Timestamp::from_ms(T0 + i * 15_000), v: value(series, i) });
            (labels("events_total", &series.to_string()), samples.collect::<Vec<_>>())
        };
        let done = store.samples.append_series((0..400).map(run).collect()).await.unwrap();
        assert_eq!(done.accepted, 400 * 480);
        sent += done.accepted;
    }
    let stats = store.samples.stats().await.unwrap();
    assert!(stats.page_samples > 0, "the head did not wait for upkeep: {stats:?}");
    assert_eq!(stats.page_samples + stats.head_samples, sent);
    let again = store
        .samples
        .append_series(vec![(labels("events_total", "0"), vec![Sample { t: Timestamp::from_ms(T0), v: 0.0 }])]);
    assert_eq!(again.await.unwrap().out_of_order, 1);
    let one = [Matcher::equal("instance", "17")];
    let read = store.samples.select(&one, Timestamp::from_ms(T0), bench.clock.now(), usize::MAX).await.unwrap();
    let wanted: Vec<Sample> =
        (0..5760).map(|i| Sample { t: Timestamp::from_ms(T0 + i * 15_000), v: value(17, i) }).collect();
    assert_eq!(read[0].samples, wanted);
    store.samples.maintain(bench.clock.now(), Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(store.samples.select(&one, Timestamp::from_ms(T0), bench.clock.now(), usize::MAX).await.unwrap(), read);
}
