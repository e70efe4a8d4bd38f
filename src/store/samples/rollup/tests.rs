//! Rollups of a real file: what raw samples said, buckets say when those are gone; through crashes, late samples, retention,
//! a second reader and damage.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::clock::{Clock as _, ManualClock, Timestamp};
use crate::domain::metric::{Columns, Matcher, NAME, Need, Sample, Series, SeriesReader as _, stale_marker};
use crate::domain::rollup::{Bucket, Field, Resolution, Wanted, roll};
use crate::store::StoreError;
use crate::store::samples::Samples;
use crate::store::{Role, Store};

/// A midnight.
const T0: i64 = 20_371 * DAY_MS;
const STEP: i64 = 30_000;
const A_DAY: Duration = Duration::from_secs(86_400);

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
    fn at(&self, ms: i64) -> Timestamp {
        self.clock.jump_wall(Timestamp::from_ms(ms));
        Timestamp::from_ms(ms)
    }
}

fn labels(series: usize) -> Labels {
    let name = ["hits_total", "load", "rt_bucket", "rt_bucket", "rt_count", "quiet"][series];
    let le = if name == "rt_bucket" { ["0.1", "+Inf"][series % 2] } else { "" };
    Labels::new([(NAME, name), ("job", "shop"), ("le", le)])
}

const SERIES: usize = 6;

/// A counter with resets, a gauge with NaN and stale markers, a histogram, and a series that pauses for a day and a half.
fn value(series: usize, i: i64) -> Option<f64> {
    let dice = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    Some(match series {
        0 => (i % 3000 * 3) as f64 + (dice % 3) as f64,
        1 if i % 401 == 7 => f64::NAN,
        1 if i % 97 == 5 => stale_marker(),
        // In eighths: sums are the same whatever was added first.
        1 => (dice % 1000) as f64 / 8.0,
        2 => (i / 2) as f64,
        3 | 4 => i as f64,
        _ if (2880..7200).contains(&i) => return None,
        _ => (i * 2) as f64,
    })
}

fn samples_of(series: usize, from: i64, to: i64) -> Vec<Sample> {
    let first = (from - T0).div_euclid(STEP);
    let many = (to - from) / STEP;
    let one = |i| value(series, i).map(|v| Sample { t: Timestamp::from_ms(T0 + i * STEP), v });
    (first..first + many).filter_map(one).collect()
}

async fn fill(bench: &Bench, store: &Store, from: i64, to: i64) {
    bench.at(to);
    let batch = (0..SERIES).map(|s| (labels(s), samples_of(s, from, to))).filter(|b| !b.1.is_empty()).collect();
    store.samples.append_series(batch).await.unwrap();
}

/// All buckets of a field, by series' labels, and the time up to which there are some.
async fn rolled(samples: &Samples, resolution: Resolution, field: Field) -> (i64, Vec<(Labels, Vec<(i64, f64)>)>) {
    let fields: &'static [Field] = match field {
        Field::Count => &[Field::Count],
        Field::Sum => &[Field::Sum],
        Field::Min => &[Field::Min],
        Field::Max => &[Field::Max],
        Field::Last => &[Field::Last],
        Field::Increase => &[Field::Increase],
    };
    let (start, end) = (Timestamp::from_ms(T0 - DAY_MS), Timestamp::from_ms(T0 + 40 * DAY_MS));
    let need = Need { start, end, limit: usize::MAX, rolled: Some(Wanted { resolution, fields }) };
    let matcher = [Matcher::regex(NAME, ".+").unwrap()];
    let scan = samples.scan(&matcher, need).await.unwrap();
    let Some(rolled) = scan.rolled() else { return (i64::MIN, Vec::new()) };
    let (mut reader, mut columns, mut found) = (rolled.reader(), Columns::default(), Vec::new());
    for nth in 0..scan.count() {
        reader.read(nth, field, &mut columns).unwrap();
        if !columns.values.is_empty() {
            let points = columns.samples().map(|s| (s.t.ms(), s.v)).collect();
            found.push((scan.labels(nth).clone(), points));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    (rolled.until(), found)
}

/// Fails when any bucket of any field is not what the samples in `[T0, to)` say.
async fn check(samples: &Samples, to: i64) {
    let mut order: Vec<usize> = (0..SERIES).collect();
    order.sort_by_key(|s| labels(*s));
    for resolution in Resolution::ALL {
        let wanted: Vec<(Labels, Vec<Bucket>)> = order
            .iter()
            .map(|s| {
                let raw = samples_of(*s, T0, to).into_iter().map(|s| (s.t.ms(), s.v));
                (labels(*s), roll(raw, resolution, None))
            })
            .collect();
        for field in Field::ALL {
            let (until, found) = rolled(samples, resolution, field).await;
            assert_eq!(until, to);
            assert_eq!(found.len(), wanted.len());
            for ((labels, points), (expected, buckets)) in found.iter().zip(&wanted) {
                assert_eq!(labels, expected);
                let direct: Vec<(i64, f64)> = buckets.iter().map(|b| (b.end, b.get(field))).collect();
                assert_eq!(points.len(), direct.len(), "{field:?} of {labels} at {resolution:?}");
                for (found, wanted) in points.iter().zip(direct) {
                    let same = found.0 == wanted.0 && found.1.to_bits() == wanted.1.to_bits();
                    assert!(same, "{field:?} of {labels} at {resolution:?}: {found:?} and not {wanted:?}");
                }
            }
        }
    }
}

async fn raw(samples: &Samples) -> Vec<Series> {
    samples.select(&[], Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), usize::MAX).await.unwrap()
}

async fn run(store: &Store, sql: &'static str) {
    let write = store.samples.inner.db.write(move |c| {
        Box::pin(async move {
            sqlx::raw_sql(sql).execute(c).await?;
            Ok(())
        })
    });
    write.await.unwrap();
}

/// Three days in the store, of which the first two are rolled up.
async fn two_days(bench: &Bench) -> Store {
    let store = bench.open(Role::Daemon).await;
    for hour in 0..72 {
        fill(bench, &store, T0 + hour * 3_600_000, T0 + (hour + 1) * 3_600_000).await;
    }
    let now = bench.at(T0 + 3 * DAY_MS + 3 * 3_600_000);
    store.samples.maintain(now, Timestamp::from_ms(T0 + 2 * DAY_MS + 1)).await.unwrap();
    store
}

#[tokio::test]
async fn days_that_retention_lets_go_become_what_their_samples_were() {
    let bench = Bench::new();
    let store = two_days(&bench).await;
    check(&store.samples, T0 + 2 * DAY_MS).await;
    let left = raw(&store.samples).await;
    assert!(left.iter().all(|s| s.samples[0].t.ms() >= T0 + 2 * DAY_MS), "the third day is not over yet");
    let before = store.samples.stats().await.unwrap();
    assert!(before.rollup_bytes > 0 && before.page_samples > 0);

    store.samples.maintain(bench.clock.now(), Timestamp::from_ms(T0 + 2 * DAY_MS + 1)).await.unwrap();
    assert_eq!(store.samples.stats().await.unwrap(), before, "there is nothing to do a second time");
    drop(store);
    let store = bench.open(Role::Daemon).await;
    check(&store.samples, T0 + 2 * DAY_MS).await;
    assert_eq!(raw(&store.samples).await, left);
}

#[tokio::test]
async fn a_client_sees_rollups_and_follows_the_daemon() {
    let bench = Bench::new();
    let store = two_days(&bench).await;
    let client = bench.open(Role::Client).await;
    check(&client.samples, T0 + 2 * DAY_MS).await;
    let now = bench.at(T0 + 4 * DAY_MS);
    store.samples.maintain(now, Timestamp::from_ms(T0 + 3 * DAY_MS)).await.unwrap();
    check(&store.samples, T0 + 3 * DAY_MS).await;
    check(&client.samples, T0 + 3 * DAY_MS).await;
}

#[tokio::test]
async fn a_roll_that_died_leaves_raw_samples_and_no_trace() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    fill(&bench, &store, T0, T0 + DAY_MS).await;
    let now = bench.at(T0 + DAY_MS + 4 * 3_600_000);
    store.samples.maintain(now, Timestamp::from_ms(0)).await.unwrap();
    let before = raw(&store.samples).await;
    // The last transaction fails. As after a crash, parts that do not count stay behind.
    run(&store, "CREATE TRIGGER stuck BEFORE DELETE ON page BEGIN SELECT raise(IGNORE); END").await;
    assert!(store.samples.roll_day(T0).await.is_err());
    assert_eq!(raw(&store.samples).await, before);
    assert_eq!(rolled(&store.samples, Resolution::Hour, Field::Sum).await.1, []);
    run(&store, "DROP TRIGGER stuck").await;
    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(raw(&store.samples).await, before);
    assert_eq!(rolled(&store.samples, Resolution::Hour, Field::Sum).await.1, []);

    store.samples.roll_day(T0).await.unwrap();
    check(&store.samples, T0 + DAY_MS).await;
    let mut reader = store.samples.inner.db.reader().await.unwrap();
    let dead: i64 =
        sqlx::query_scalar("SELECT count(*) FROM rollup_part WHERE live = 0").fetch_one(&mut *reader).await.unwrap();
    assert_eq!(dead, 0);
}

#[tokio::test]
async fn samples_that_come_late_are_added_to_their_day() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    let noon = T0 + DAY_MS / 2 + 5 * STEP;
    fill(&bench, &store, T0, noon).await;
    let now = bench.at(T0 + 2 * DAY_MS);
    store.samples.maintain(now, Timestamp::from_ms(T0 + DAY_MS)).await.unwrap();
    assert_eq!(rolled(&store.samples, Resolution::Hour, Field::Sum).await.0, T0 + DAY_MS);
    // After a restart as well: what is rolled up is not taken again.
    drop(store);
    let store = bench.open(Role::Daemon).await;
    let again = store.samples.append_series(vec![(labels(0), samples_of(0, T0, noon))]).await.unwrap();
    assert_eq!((again.accepted, again.duplicate + again.out_of_order + 1), (0, samples_of(0, T0, noon).len() as u64));
    fill(&bench, &store, noon, T0 + DAY_MS).await;
    let now = bench.at(T0 + 2 * DAY_MS);
    store.samples.maintain(now, Timestamp::from_ms(0)).await.unwrap();
    assert_eq!(raw(&store.samples).await, [], "a day that is rolled up takes late samples in at once");
    check(&store.samples, T0 + DAY_MS).await;
}

#[tokio::test]
async fn rollups_have_an_age_and_series_outlive_their_samples() {
    let bench = Bench::new();
    let store = two_days(&bench).await;
    let (first, second) = (Timestamp::from_ms(T0), Timestamp::from_ms(T0 + DAY_MS));
    let found = store.samples.series(&[], first, second).await.unwrap();
    assert_eq!(found.len(), SERIES, "series of days that are rolled up are found");
    let now = bench.at(T0 + 10 * DAY_MS);
    store.samples.maintain(now, now.minus(A_DAY)).await.unwrap();
    check(&store.samples, T0 + 3 * DAY_MS).await;
    assert_eq!(store.samples.inner.read().live_series(), 0, "they do not count against the limit of new ones");

    store.samples.keep_rollups(8 * A_DAY);
    store.samples.set_limits(u64::MAX, Some(first));
    store.samples.maintain(now, first).await.unwrap();
    check(&store.samples, T0 + 3 * DAY_MS).await;
    store.samples.set_limits(u64::MAX, None);
    store.samples.maintain(now, now.minus(A_DAY)).await.unwrap();
    assert_eq!(store.samples.inner.read().rollups.oldest_day(), Some(T0 + 2 * DAY_MS), "two are over, and not pinned");
    store.samples.keep_rollups(Duration::ZERO);
    store.samples.maintain(now, now.minus(A_DAY)).await.unwrap();
    let stats = store.samples.stats().await.unwrap();
    assert_eq!((stats.series, stats.rollup_bytes), (0, 0));
    let mut reader = store.samples.inner.db.reader().await.unwrap();
    for table in ["rollup", "rollup_part", "rolled_series", "page", "series"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut *reader).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[tokio::test]
async fn over_the_cap_raw_days_go_first_and_pinned_ones_never() {
    let bench = Bench::new();
    let store = bench.open(Role::Daemon).await;
    for hour in 0..72 {
        fill(&bench, &store, T0 + hour * 3_600_000, T0 + (hour + 1) * 3_600_000).await;
    }
    let now = bench.at(T0 + 3 * DAY_MS + 7 * 3_600_000);
    let never = Timestamp::from_ms(0);
    store.samples.set_limits(1, Some(Timestamp::from_ms(T0 + DAY_MS)));
    store.samples.maintain(now, never).await.unwrap();
    assert_eq!(rolled(&store.samples, Resolution::Hour, Field::Sum).await.1, [], "the day before the pin went whole");
    let left = raw(&store.samples).await;
    assert!(left.iter().all(|s| s.samples[0].t.ms() >= T0 + DAY_MS), "and the days after it stayed");
    assert!(left.iter().any(|s| s.samples[0].t.ms() == T0 + DAY_MS));
    store.samples.set_limits(1, None);
    store.samples.maintain(now, never).await.unwrap();
    let stats = store.samples.stats().await.unwrap();
    assert_eq!((stats.page_samples, stats.rollup_bytes), (0, 0));
}

#[tokio::test]
async fn a_damaged_file_hands_its_rollups_on() {
    let bench = Bench::new();
    let store = two_days(&bench).await;
    let parts = store.samples.inner.read().rollups.all().count();
    assert_eq!(parts, 2);
    // One part is not whole any more, and the file is known to be damaged.
    run(
        &store,
        "UPDATE rollup SET body = cast(body || x'00' AS BLOB)
         WHERE id = (SELECT id FROM rollup WHERE part = (SELECT max(id) FROM rollup_part) LIMIT 1)",
    )
    .await;
    let left = raw(&store.samples).await;
    store.samples.inner.db.noticed(StoreError::corrupt("a test"));
    store.samples.renew().await.unwrap();
    let known = |store: &Store| {
        let index = store.samples.inner.read();
        (index.rollups.until(), index.rollups.all().count())
    };
    assert_eq!(known(&store), (Some(T0 + DAY_MS), 1));
    check(&store.samples, T0 + DAY_MS).await;
    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(known(&store), (Some(T0 + DAY_MS), 1));
    check(&store.samples, T0 + DAY_MS).await;
    assert_eq!(raw(&store.samples).await, left);

    // And one that does not even open.
    run(&store, "UPDATE page SET directory_crc = directory_crc + 1").await;
    drop(store);
    let store = bench.open(Role::Daemon).await;
    assert_eq!(
        raw(&store.samples).await.iter().flat_map(|s| &s.samples).filter(|s| s.t.ms() < T0 + 3 * DAY_MS).count(),
        0
    );
    assert_eq!(known(&store), (Some(T0 + DAY_MS), 1));
    check(&store.samples, T0 + DAY_MS).await;
}
