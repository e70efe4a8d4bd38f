//! Damage of every kind, at start and under way: what is read afterwards is true, and appends go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::metric::{Labels, NAME, Sample, SeriesReader as _};
use crate::store::{Role, Store};

const T0: i64 = 1_760_000_000_000;
const SERIES: u64 = 40;
const EACH: u64 = 400;

/// Awkward for packing, so that a file has many pages.
fn bits(series: u64, i: u64) -> u64 {
    (series << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn labels(series: u64) -> Labels {
    Labels::new([(NAME, "m".to_string()), ("series", format!("{series:02}"))])
}

fn batch(from: u64, to: u64) -> Vec<(Labels, Vec<Sample>)> {
    let sample =
        |series, i: u64| Sample { t: Timestamp::from_ms(T0 + i as i64 * 15_000), v: f64::from_bits(bits(series, i)) };
    (0..SERIES).map(|s| (labels(s), (from..to).map(|i| sample(s, i)).collect())).collect()
}

fn clock() -> Arc<ManualClock> {
    ManualClock::at(Timestamp::from_ms(T0 + EACH as i64 * 15_000 + 3 * 3_600_000))
}

/// Half in a page, half in the head; the page in the file, the rest in the log.
async fn filled(dir: &Path) -> Store {
    let store = Store::open(dir, Role::Daemon, clock()).await.unwrap();
    for from in (0..EACH).step_by(20) {
        store.samples.append_series(batch(from, from + 20)).await.unwrap();
        if from == EACH / 2 {
            store.samples.maintain(store.clock.now(), Timestamp::MIN).await.unwrap();
            let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
            let writer = store.samples.inner.db.writer();
            let run = writer.inspect(move |c| {
                Box::pin(async move {
                    sqlx::raw_sql(checkpoint).execute(c).await?;
                    Ok(())
                })
            });
            run.await.unwrap();
        }
    }
    store
}

/// Fails when anything read is not true or there twice; how many samples there are.
async fn read_true(store: &Store) -> std::result::Result<usize, String> {
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX));
    let found = store.samples.select(&[], from, to, usize::MAX).await.map_err(|e| e.to_string())?;
    let mut many = 0;
    for one in found {
        let series = (0..SERIES).find(|s| labels(*s) == one.labels).unwrap_or_else(|| panic!("{} is new", one.labels));
        assert!(one.samples.is_sorted_by(|a, b| a.t < b.t), "{}", one.labels);
        for s in &one.samples {
            let i = (s.t.ms() - T0) / 15_000;
            assert_eq!(s.v.to_bits(), bits(series, i as u64), "{} at {i}", one.labels);
        }
        many += one.samples.len();
    }
    Ok(many)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
    fn noise(&mut self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|b| *b = self.below(256) as u8);
    }
}

/// One kind of damage to a copy of the files.
fn harm(dir: &Path, seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (file, log) = (dir.join("samples.db"), dir.join("samples.db-wal"));
    let mut bytes = std::fs::read(&file).unwrap();
    let pages = bytes.len() as u64 / 4096;
    match seed % 5 {
        0 | 1 => {
            for _ in 0..1 + dice.below(6) {
                let at = (4096 * (1 + dice.below(pages - 1)) + dice.below(3000)) as usize;
                let length = 1 + dice.below(1000) as usize;
                dice.noise(&mut bytes[at..at + length]);
            }
        }
        2 => {
            let whole = std::fs::metadata(&log).unwrap().len();
            std::fs::File::options().write(true).open(&log).unwrap().set_len(dice.below(whole)).unwrap();
        }
        3 => dice.noise(&mut bytes[..4096]),
        _ => bytes.truncate(dice.below(bytes.len() as u64) as usize),
    }
    std::fs::write(&file, bytes).unwrap();
}

#[tokio::test]
async fn whatever_is_damaged_what_is_read_is_true_and_the_store_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let store = filled(root.path()).await;
    let whole = (SERIES * EACH) as usize;
    assert_eq!(read_true(&store).await, Ok(whole));
    let (mut renewed, mut kept) = (0, BTreeMap::<u64, usize>::new());
    for seed in 0..60 {
        let copy = tempfile::tempdir().unwrap();
        for name in ["samples.db", "samples.db-wal"] {
            std::fs::copy(root.path().join(name), copy.path().join(name)).unwrap();
        }
        harm(copy.path(), seed);
        let store = Store::open(copy.path(), Role::Daemon, clock()).await.unwrap_or_else(|e| panic!("{seed}: {e}"));
        let first = read_true(&store).await;
        assert!(first.is_ok() || store.samples.inner.db.damage().is_some(), "{seed}: {first:?}");
        store.samples.renew().await.unwrap();
        let many = read_true(&store).await.unwrap_or_else(|e| panic!("{seed}: {e}"));
        assert!(first.is_err() || first == Ok(many), "{seed}: {first:?}, then {many}");
        let next = batch(EACH, EACH + 1);
        assert_eq!(store.samples.append_series(next).await.unwrap().accepted, SERIES, "{seed}");
        store.close().await;
        let store = Store::open(copy.path(), Role::Daemon, clock()).await.unwrap();
        assert_eq!(read_true(&store).await, Ok(many + SERIES as usize), "{seed}");
        renewed += store.samples.set_aside().len();
        *kept.entry(seed % 5).or_default() += many;
        store.close().await;
    }
    assert!(renewed >= 15, "{renewed}");
    // A damaged page takes neither the head nor the series with it.
    assert!(kept[&0] > 12 * whole / 4, "{kept:?}");
}

#[tokio::test]
async fn a_file_in_use_is_replaced_under_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path()).await;
    let before = store.samples.stats().await.unwrap();
    assert!(before.page_samples > 0 && before.head_samples > 0);
    let newest = *store.samples.inner.read().pages.keys().next_back().unwrap();
    store.samples.inner.db.noticed(StoreError::corrupt("somebody says so"));
    store.samples.damaged().await;
    let reads = async {
        for _ in 0..20 {
            // Pages come over one after the other: less for a moment, never what is not true.
            read_true(&store).await.unwrap();
        }
    };
    let (renewed, ()) = tokio::join!(store.samples.renew(), reads);
    renewed.unwrap();
    assert_eq!(read_true(&store).await, Ok((SERIES * EACH) as usize));
    let after = store.samples.stats().await.unwrap();
    assert_eq!((after.page_samples, after.head_samples), (before.page_samples, before.head_samples));
    let oldest = *store.samples.inner.read().pages.keys().next().unwrap();
    assert!(oldest > newest, "a number of a page is never given twice");
    assert_eq!(store.samples.set_aside().len(), 1);
    assert_eq!(store.samples.inner.db.damage(), None);

    // Only so many are kept.
    for _ in 0..3 {
        store.samples.inner.db.noticed(StoreError::corrupt("again"));
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        store.samples.renew().await.unwrap();
    }
    assert!(store.samples.set_aside().len() <= KEPT_MAX);
    store.close().await;
}

#[tokio::test]
async fn a_full_file_takes_samples_again_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(dir.path()).await;
    let limit = async |pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        let writer = store.samples.inner.db.writer();
        let run = writer.inspect(move |c| {
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(c).await?;
                Ok(())
            })
        });
        run.await.unwrap();
    };
    limit(1).await;
    let mut next = EACH;
    let full = loop {
        match store.samples.append_series(batch(next, next + 5)).await {
            Ok(_) => next += 5,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::DiskFull), "{full}");
    assert_eq!(store.samples.refused().as_deref(), Some("the disk is full"));
    // Upkeep says so too, and what is there stays readable.
    assert!(read_true(&store).await.unwrap() as u64 == next * SERIES);

    limit(1 << 30).await;
    store.samples.append_series(batch(next, next + 5)).await.unwrap();
    assert_eq!(store.samples.refused(), None);
    assert_eq!(read_true(&store).await, Ok(((next + 5) * SERIES) as usize));
    store.close().await;
}
