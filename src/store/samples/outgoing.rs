//! What waits to be sent to a store elsewhere, in the order it came in: the head's batches after a durable position, and
//! those that were sealed before they were sent, which are kept aside for it.
//!
//! A position moves only after the other side has said yes, so that nothing is lost by a crash of either side. Off (and
//! free) unless [`Samples::keep_outgoing`] was called for this file.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{Row, SqliteConnection};
use tokio::sync::watch;

use super::{Inner, Samples, batch};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Sample};
use crate::store::StoreError;
use crate::store::state::Result;

/// A piece is cut before its labels and samples take more than this: the usual limit of a proxy on a request's body is
/// 1 MiB, and snappy halves label sets at least.
const PIECE_BYTES_MAX: usize = 2 << 20;
/// Batches that wait aside take at most this part of the file's cap.
const WAITING_PART: u64 = 4;

/// How far sending has come: all batches up to one, and so many samples of a later one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    batch: i64,
    part: i64,
    samples: i64,
}

impl Sent {
    fn is_after(self, other: Sent) -> bool {
        let place = |sent: Sent| (sent.batch.max(sent.part - 1), sent.samples);
        place(self) > place(other)
    }

    /// How many of a batch's samples lie before this position.
    fn of(self, batch: i64, samples: usize) -> usize {
        match () {
            () if batch <= self.batch => samples,
            () if batch == self.part => usize::try_from(self.samples).unwrap_or(0).min(samples),
            () => 0,
        }
    }
}

/// What to send next.
#[derive(Debug, Default)]
pub struct Piece {
    /// Each series once, in the order they came up; its samples ascend.
    pub series: Vec<(Labels, Vec<Sample>)>,
    pub samples: u64,
    /// Samples of series that retention has forgotten.
    pub forgotten: u64,
    /// Where sending has come to when all of it is there.
    pub upto: Sent,
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub samples: u64,
    /// Newest sample of the oldest batch that waits.
    pub oldest: Option<Timestamp>,
}

/// What this process knows of it.
pub(super) struct Outgoing {
    on: AtomicBool,
    /// The other side does not answer: nobody should wait for it.
    stuck: AtomicBool,
    last: AtomicI64,
    appended: watch::Sender<i64>,
    sent: watch::Sender<i64>,
}

impl Default for Outgoing {
    fn default() -> Outgoing {
        let (on, stuck, last) = Default::default();
        Outgoing { on, stuck, last, appended: watch::Sender::new(0), sent: watch::Sender::new(0) }
    }
}

impl Outgoing {
    pub(super) fn appended(&self, batch: i64) {
        self.last.store(batch, Ordering::SeqCst);
        self.appended.send_replace(batch);
    }
}

impl Samples {
    /// From now on what is appended, and what is in the head, waits to be sent. Returns how far sending had come, and what
    /// was under way, if anything: see [`Samples::sending`].
    pub async fn keep_outgoing(&self) -> Result<(Sent, Option<Sent>)> {
        self.writable()?;
        let (sent, asked, last) = self
            .inner
            .db
            .write(|c| {
                Box::pin(async move {
                    sqlx::raw_sql(
                        "INSERT OR IGNORE INTO meta VALUES ('sent_batch', 0), ('sent_part', 0), ('sent_samples', 0),
                                                           ('asked_batch', 0), ('asked_part', 0), ('asked_samples', 0)",
                    )
                    .execute(&mut *c)
                    .await?;
                    let last: i64 =
                        sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM head_batch").fetch_one(&mut *c).await?;
                    let (sent, asked) = (position(&mut *c, "sent").await?, position(c, "asked").await?);
                    Ok((sent.unwrap_or_default(), asked, last))
                })
            })
            .await?;
        let outgoing = &self.inner.outgoing;
        outgoing.last.fetch_max(last, Ordering::SeqCst);
        outgoing.sent.send_replace(sent.batch);
        outgoing.on.store(true, Ordering::SeqCst);
        Ok((sent, asked.filter(|asked| asked.is_after(sent))))
    }

    /// Nothing is to be sent any more; what waits is let go. Returns how many batches had waited aside.
    pub async fn drop_outgoing(&self) -> Result<u64> {
        self.inner.outgoing.on.store(false, Ordering::SeqCst);
        self.inner
            .db
            .write(|c| {
                Box::pin(async move {
                    sqlx::raw_sql("DELETE FROM meta WHERE key GLOB 'sent_*' OR key GLOB 'asked_*'")
                        .execute(&mut *c)
                        .await?;
                    Ok(sqlx::query("DELETE FROM outgoing").execute(c).await?.rows_affected())
                })
            })
            .await
    }

    /// The next samples after `sent`, up to `until` if that is given, about `samples_max` of them at most; `None` when
    /// nothing waits.
    pub async fn outgoing(&self, sent: Sent, until: Option<Sent>, samples_max: usize) -> Result<Option<Piece>> {
        let bytes_left = PIECE_BYTES_MAX;
        let mut piece = Gather { upto: sent, until, left: samples_max, bytes_left, ..Gather::default() };
        let mut reader = self.inner.db.reader().await?;
        // One statement, so one moment: a seal moves batches from one table to the other.
        let mut rows = sqlx::query(
            "SELECT id, crc, blob FROM outgoing WHERE id > ?1 UNION ALL
             SELECT id, crc, blob FROM head_batch WHERE id > ?1 ORDER BY id",
        )
        .bind(sent.batch)
        .fetch(&mut *reader);
        while let Some(row) = rows.try_next().await? {
            let (id, blob): (i64, &[u8]) = (row.try_get("id")?, row.try_get("blob")?);
            if i64::from(crc32fast::hash(blob)) != row.try_get::<i64, _>("crc")? {
                return Err(StoreError::corrupt(format!(
                    "batch {id} that waits to be sent does not match its checksum"
                )));
            }
            let samples = batch::decode_batch(blob)
                .map_err(|e| StoreError::corrupt(format!("batch {id} that waits to be sent: {e}")))?;
            if !piece.take(&self.inner, id, &samples) {
                break;
            }
        }
        Ok((piece.upto != sent).then(|| piece.done()))
    }

    /// The other side is about to be asked to take all up to here. Whether it did is not known before [`Samples::sent`]:
    /// after a crash the same samples must go in one request again. With newer ones among them a Prometheus that has the
    /// others would refuse all.
    pub async fn sending(&self, upto: Sent) -> Result<()> {
        self.inner.db.write(move |c| Box::pin(move_to(c, "asked", upto))).await
    }

    /// All up to here is with the other side, or was refused by it for good.
    pub async fn sent(&self, upto: Sent) -> Result<()> {
        self.inner
            .db
            .write(move |c| {
                Box::pin(async move {
                    move_to(&mut *c, "sent", upto).await?;
                    sqlx::query("DELETE FROM outgoing WHERE id <= ?1").bind(upto.batch).execute(c).await?;
                    Ok(())
                })
            })
            .await?;
        self.inner.outgoing.stuck.store(false, Ordering::SeqCst);
        self.inner.outgoing.sent.send_replace(upto.batch);
        Ok(())
    }

    /// The other side does not answer: until it does, [`Samples::arrived`] does not wait for it.
    pub fn sending_is_stuck(&self) {
        self.inner.outgoing.stuck.store(true, Ordering::SeqCst);
        // Wakes whoever waits.
        self.inner.outgoing.sent.send_modify(|_| ());
    }

    /// Waits until there is something after `sent`.
    pub async fn something_to_send(&self, sent: Sent) {
        let mut appended = self.inner.outgoing.appended.subscribe();
        let _ = appended.wait_for(|last| *last > sent.batch).await;
    }

    /// Waits until what is appended by now has arrived at the store elsewhere, where it will be read: at most `within`,
    /// and not at all when nothing is sent or nobody answers.
    pub async fn arrived(&self, within: Duration) {
        let outgoing = &self.inner.outgoing;
        if !outgoing.on.load(Ordering::SeqCst) {
            return;
        }
        let wanted = outgoing.last.load(Ordering::SeqCst);
        let mut sent = outgoing.sent.subscribe();
        let there = sent.wait_for(|upto| *upto >= wanted || outgoing.stuck.load(Ordering::SeqCst));
        let _ = tokio::time::timeout(within, there).await;
    }

    /// How much waits to be sent; `None` when nothing is sent from here.
    pub async fn waiting(&self) -> Result<Option<Waiting>> {
        let mut reader = self.inner.db.reader().await?;
        let Some(sent) = position(&mut reader, "sent").await? else { return Ok(None) };
        let (samples, oldest): (i64, Option<i64>) = sqlx::query_as(
            "WITH waits AS (SELECT id, max_t, count FROM outgoing WHERE id > ?1 UNION ALL
                            SELECT id, max_t, count FROM head_batch WHERE id > ?1)
             SELECT coalesce(sum(count), 0), (SELECT max_t FROM waits ORDER BY id LIMIT 1) FROM waits",
        )
        .bind(sent.batch)
        .fetch_one(&mut *reader)
        .await?;
        // What is there of a batch counts once the whole is.
        let samples = samples.max(0) as u64;
        Ok(Some(Waiting { samples, oldest: oldest.map(Timestamp::from_ms) }))
    }

    /// Lets go of what waits longer than samples are kept, and of the oldest beyond a part of the file's cap. Returns
    /// how many samples were never sent.
    pub(super) async fn trim_outgoing(&self, keep_from: Timestamp) -> Result<u64> {
        if !self.inner.outgoing.on.load(Ordering::SeqCst) {
            return Ok(0);
        }
        let bytes_max = self.inner.limits.lock().unwrap_or_else(|e| e.into_inner()).bytes_max;
        let bytes_max = i64::try_from(bytes_max / WAITING_PART).unwrap_or(i64::MAX);
        let lost: i64 = self
            .inner
            .db
            .write(move |c| {
                Box::pin(async move {
                    let lost = sqlx::query_scalar::<_, i64>(
                        "DELETE FROM outgoing WHERE max_t < ?1 OR id <= coalesce((
                           SELECT id FROM (SELECT id, sum(length(blob)) OVER (ORDER BY id DESC) AS held FROM outgoing)
                           WHERE held > ?2 ORDER BY id DESC LIMIT 1), -1)
                         RETURNING count",
                    )
                    .bind(keep_from.ms())
                    .bind(bytes_max)
                    .fetch_all(c)
                    .await?;
                    Ok(lost.iter().sum())
                })
            })
            .await?;
        Ok(lost as u64)
    }
}

/// Before batches leave the head: what of them was not sent is put aside.
pub(super) async fn set_aside(connection: &mut SqliteConnection, last_batch: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO outgoing SELECT id, max_t, count, crc, blob FROM head_batch
         WHERE id <= ?1 AND id > (SELECT value FROM meta WHERE key = 'sent_batch')",
    )
    .bind(last_batch)
    .execute(connection)
    .await?;
    Ok(())
}

/// `which` is `sent` or `asked`.
async fn position(connection: &mut SqliteConnection, which: &str) -> Result<Option<Sent>> {
    let found: Option<(i64, i64, i64)> = sqlx::query_as(
        "SELECT b.value, p.value, s.value FROM meta b, meta p, meta s
         WHERE b.key = ?1 || '_batch' AND p.key = ?1 || '_part' AND s.key = ?1 || '_samples'",
    )
    .bind(which)
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|(batch, part, samples)| Sent { batch, part, samples }))
}

async fn move_to(connection: &mut SqliteConnection, which: &'static str, to: Sent) -> Result<()> {
    sqlx::query(
        "UPDATE meta SET value = CASE key WHEN ?1 || '_batch' THEN ?2 WHEN ?1 || '_part' THEN ?3 ELSE ?4 END
         WHERE key IN (?1 || '_batch', ?1 || '_part', ?1 || '_samples')",
    )
    .bind(which)
    .bind(to.batch)
    .bind(to.part)
    .bind(to.samples)
    .execute(connection)
    .await?;
    Ok(())
}

/// A piece in the making.
#[derive(Default)]
struct Gather {
    series: Vec<(Labels, Vec<Sample>)>,
    /// Where a series stands in `series`; `None`: it is forgotten.
    stands: HashMap<u32, Option<usize>>,
    samples: u64,
    forgotten: u64,
    upto: Sent,
    until: Option<Sent>,
    left: usize,
    bytes_left: usize,
}

impl Gather {
    /// Takes a batch from where sending has come to in it; false when the piece is full.
    fn take(&mut self, inner: &Inner, id: i64, samples: &[batch::BatchSample]) -> bool {
        const SAMPLE_BYTES: usize = 18;
        let index = inner.read();
        let from = if self.upto.part == id { usize::try_from(self.upto.samples).unwrap_or(0) } else { 0 };
        let from = from.min(samples.len());
        let end = self.until.map_or(samples.len(), |until| until.of(id, samples.len()));
        for (at, &(series, t, bits)) in samples.iter().enumerate().skip(from) {
            if self.left == 0 || self.bytes_left == 0 || at >= end {
                return false;
            }
            let found = self.stands.entry(series).or_insert_with(|| {
                let labels = index.series.get(&series)?.labels.clone();
                let bytes: usize = labels.iter().map(|(n, v)| n.len() + v.len() + 8).sum();
                self.bytes_left = self.bytes_left.saturating_sub(bytes);
                self.series.push((labels, Vec::new()));
                Some(self.series.len() - 1)
            });
            match found {
                Some(at) => {
                    self.series[*at].1.push(Sample { t: Timestamp::from_ms(t), v: f64::from_bits(bits) });
                    self.samples += 1;
                }
                None => self.forgotten += 1,
            }
            self.bytes_left = self.bytes_left.saturating_sub(SAMPLE_BYTES);
            self.left -= 1;
            if self.upto.part != id {
                (self.upto.part, self.upto.samples) = (id, 0);
            }
            self.upto.samples += 1;
        }
        self.upto = Sent { batch: id, part: 0, samples: 0 };
        true
    }

    fn done(self) -> Piece {
        let Gather { series, samples, forgotten, upto, .. } = self;
        Piece { series, samples, forgotten, upto }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock as _, ManualClock};
    use crate::domain::metric::{LabelledSample, NAME};
    use crate::store::{Role, Store};

    const T0: i64 = 1_760_000_000_000;

    fn batch(minute: i64) -> Vec<LabelledSample> {
        let t = Timestamp::from_ms(T0 + minute * 60_000);
        let of = |s: i64| Labels::new([(NAME, "x".to_string()), ("s", s.to_string())]);
        (0..10).map(|s| LabelledSample { labels: of(s), sample: Sample { t, v: s as f64 } }).collect()
    }

    #[tokio::test]
    async fn pieces_follow_each_other_across_batches_seals_and_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_ms(T0));
        let mut store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
        assert_eq!(store.samples.waiting().await.unwrap(), None);
        store.samples.append(batch(0)).await.unwrap();
        let (mut sent, _) = store.samples.keep_outgoing().await.unwrap();
        let mut seen = Vec::new();
        for minute in 1..400 {
            store.samples.append(batch(minute)).await.unwrap();
            clock.advance(Duration::from_secs(60));
            if minute % 100 == 50 {
                store.samples.maintain(clock.now(), Timestamp::from_ms(0)).await.unwrap();
                store.close().await;
                store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
                assert_eq!(store.samples.keep_outgoing().await.unwrap(), (sent, None));
                let piece = store.samples.outgoing(sent, None, 57).await.unwrap().unwrap();
                assert_eq!(piece.samples, 57);
                // Killed before the answer: the same samples again, although there are more by now.
                store.samples.sending(piece.upto).await.unwrap();
                store.close().await;
                store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
                assert_eq!(store.samples.keep_outgoing().await.unwrap(), (sent, Some(piece.upto)));
                let again = store.samples.outgoing(sent, Some(piece.upto), 1000).await.unwrap().unwrap();
                assert_eq!((again.upto, &again.series), (piece.upto, &piece.series));
                seen.push(piece.series);
                sent = piece.upto;
                store.samples.sent(sent).await.unwrap();
            }
        }
        while let Some(piece) = store.samples.outgoing(sent, None, 1000).await.unwrap() {
            assert!(piece.samples <= 1000 && piece.forgotten == 0);
            seen.push(piece.series);
            sent = piece.upto;
            store.samples.sent(sent).await.unwrap();
        }
        assert_eq!(store.samples.waiting().await.unwrap().unwrap().samples, 0);
        let mut times: HashMap<Labels, Vec<i64>> = HashMap::new();
        for (labels, samples) in seen.into_iter().flatten() {
            times.entry(labels).or_default().extend(samples.iter().map(|s| s.t.ms()));
        }
        let every: Vec<i64> = (0..400).map(|minute| T0 + minute * 60_000).collect();
        assert!(times.len() == 10 && times.values().all(|t| *t == every));
        store.close().await;
    }

    #[tokio::test]
    async fn what_waits_too_long_or_takes_too_much_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(Timestamp::from_ms(T0));
        let store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
        let (sent, _) = store.samples.keep_outgoing().await.unwrap();
        for minute in 0..300 {
            store.samples.append(batch(minute)).await.unwrap();
            clock.advance(Duration::from_secs(60));
        }
        let half = store.samples.outgoing(sent, None, 5).await.unwrap().unwrap();
        store.samples.sent(half.upto).await.unwrap();
        store.samples.maintain(clock.now(), Timestamp::from_ms(0)).await.unwrap();
        // The last hour is in the head still.
        let aside = 241;
        let lost = store.samples.trim_outgoing(Timestamp::from_ms(T0 + 10 * 60_000)).await.unwrap();
        assert_eq!(lost, 100);
        store.samples.set_limits(4 * 500, None);
        let lost = store.samples.trim_outgoing(Timestamp::from_ms(0)).await.unwrap();
        assert!((1500..10 * (aside - 10)).contains(&lost), "{lost}");
        // What was begun is gone; sending goes on with what is left.
        let next = store.samples.outgoing(half.upto, None, 10).await.unwrap().unwrap();
        assert_eq!((next.samples, next.series.len()), (10, 10));
        assert!(next.series[0].1[0].t.ms() > T0 + 100 * 60_000);
        assert_eq!(store.samples.drop_outgoing().await.unwrap(), aside - 10 - lost / 10);
        assert_eq!(store.samples.waiting().await.unwrap(), None);
        store.close().await;
    }
}
