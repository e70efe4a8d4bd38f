//! An append: what of a batch is taken, decided against the index as it is, then one row of the head, durable before
//! readers and rules see it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::SqliteConnection;

use super::batch::{self, BatchSample};
use super::index::{BatchInfo, Index, SERIES_MAX};
use super::{Appended, Samples};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{LabelledSample, Labels, Sample};
use crate::store::StoreError;
use crate::store::state::Result;
use crate::store::writer::transaction;

/// A sample further ahead of our clock than this is refused (watch.md 2.1): it would block its series until then.
const AHEAD_MAX: Duration = Duration::from_secs(600);
/// An append waits for a seal while the head has more samples than this (16 bytes each): a backfill brings millions a
/// second, and upkeep comes once a minute.
const HEAD_SAMPLES_WAIT: u64 = 1_000_000;

/// Series with their samples in ascending time. A series may come more than once.
pub type SeriesBatch = Vec<(Labels, Vec<Sample>)>;

impl Samples {
    /// Durable when it returns. Samples of one series must come in ascending time. The index keeps labels as they are:
    /// a source should share their texts.
    pub async fn append(&self, batch: Vec<LabelledSample>) -> Result<Appended> {
        self.take(batch.into_iter().map(|s| (s.labels, One(s.sample))), Index::adopt).await
    }

    /// [`Samples::append`] for many samples of each series, which are then looked up once.
    pub async fn append_series(&self, batch: SeriesBatch) -> Result<Appended> {
        self.take(batch.into_iter(), |index, id, labels| index.insert(id, &labels)).await
    }

    async fn take<S>(
        &self,
        batch: impl ExactSizeIterator<Item = (Labels, S)> + Send + 'static,
        insert: fn(&mut Index, u32, Labels),
    ) -> Result<Appended>
    where
        S: AsRef<[Sample]> + Send,
    {
        if batch.len() == 0 {
            return Ok(Appended::default());
        }
        let appended = match self.room() {
            Ok(()) => self.append_now(batch, insert).await,
            Err(error) => Err(error),
        };
        let why = appended.as_ref().err().map(ToString::to_string);
        *self.inner.refused.lock().unwrap_or_else(PoisonError::into_inner) = why;
        appended
    }

    /// Why the last append failed; none while samples are being stored.
    pub fn refused(&self) -> Option<String> {
        self.inner.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// On a full disk what is left is for alerts; samples are taken again by themselves when there is room.
    pub(super) fn room(&self) -> Result<()> {
        self.writable()?;
        if self.inner.db.has_room() { Ok(()) } else { Err(StoreError::DiskFull) }
    }

    async fn append_now<S>(
        &self,
        batch: impl ExactSizeIterator<Item = (Labels, S)> + Send + 'static,
        insert: fn(&mut Index, u32, Labels),
    ) -> Result<Appended>
    where
        S: AsRef<[Sample]> + Send,
    {
        self.make_room().await?;
        let (inner, published) = (self.inner.clone(), self.inner.clone());
        let (plan, _) = self
            .inner
            .db
            .work_then(
                move |c| {
                    Box::pin(async move {
                        let plan = Arc::new(plan(&inner.read(), batch, inner.clock.now()));
                        let info = write_alone(c, plan.clone()).await?;
                        Ok((plan, info))
                    })
                },
                move |(plan, info)| {
                    let mut index = published.write();
                    plan.new.iter().for_each(|(labels, id)| insert(&mut index, *id, labels.clone()));
                    if let Some(info) = info {
                        index.replay(*info, &plan.samples);
                        published.outgoing.appended(info.id);
                    }
                },
            )
            .await?;
        Ok(plan.counts)
    }

    async fn make_room(&self) -> Result<()> {
        while self.inner.read().head_samples > HEAD_SAMPLES_WAIT {
            let before = self.inner.read().head_samples;
            let _one_at_a_time = self.inner.upkeep.lock().await;
            self.seal(self.inner.clock.now()).await?;
            if self.inner.read().head_samples >= before {
                break;
            }
        }
        Ok(())
    }
}

/// A single sample as a slice.
struct One(Sample);

impl AsRef<[Sample]> for One {
    fn as_ref(&self) -> &[Sample] {
        std::slice::from_ref(&self.0)
    }
}

/// What an append will write.
pub(super) struct Plan {
    new: HashMap<Labels, u32>,
    samples: Vec<BatchSample>,
    counts: Appended,
}

impl Plan {
    pub(super) fn of(new: impl IntoIterator<Item = (u32, Labels)>, samples: Vec<BatchSample>) -> Plan {
        let new = new.into_iter().map(|(id, labels)| (labels, id)).collect();
        Plan { new, samples, counts: Appended::default() }
    }
}

fn plan<S: AsRef<[Sample]>>(index: &Index, batch: impl ExactSizeIterator<Item = (Labels, S)>, now: Timestamp) -> Plan {
    let mut plan = Plan { new: HashMap::new(), samples: Vec::with_capacity(batch.len()), counts: Appended::default() };
    // Newest sample, time and bits, of series that this batch already brought.
    let mut last_of: HashMap<u32, (i64, Option<u64>)> = HashMap::with_capacity(batch.len());
    let ahead_max = now.plus(AHEAD_MAX);
    for (labels, samples) in batch {
        let samples = samples.as_ref();
        let known = index.find(&labels).or_else(|| plan.new.get(&labels).copied());
        let room = index.live_series() + plan.new.len() < SERIES_MAX;
        let Some(id) = known.or_else(|| room.then(|| index.next_id.max(1) + plan.new.len() as u32)) else {
            plan.counts.series_limit += samples.len() as u64;
            continue;
        };
        let mut last = last_of.get(&id).copied().or_else(|| index.series.get(&id).and_then(|e| e.last()));
        let before = plan.counts.accepted;
        for sample in samples {
            let (t, v) = (sample.t.ms(), sample.v.to_bits());
            match last {
                _ if sample.t > ahead_max => plan.counts.too_far_ahead += 1,
                Some((last, _)) if t < last => plan.counts.out_of_order += 1,
                // The value of a sealed sample is not in memory: a repeat of it is taken for the same.
                Some((last, bits)) if t == last => {
                    plan.counts.duplicate += u64::from(bits.is_some_and(|bits| bits != v));
                }
                _ => {
                    plan.samples.push((id, t, v));
                    plan.counts.accepted += 1;
                    last = Some((t, Some(v)));
                }
            }
        }
        if plan.counts.accepted > before {
            last_of.extend(last.map(|last| (id, last)));
            if known.is_none() {
                plan.new.insert(labels, id);
                plan.counts.new_series += 1;
            }
        }
    }
    plan
}

/// Known series take one statement, which needs no transaction around it: a scrape of a thousand samples should not wait
/// for three.
async fn write_alone(connection: &mut SqliteConnection, plan: Arc<Plan>) -> Result<Option<BatchInfo>> {
    if plan.new.is_empty() {
        match write(connection, &plan).await {
            Err(StoreError::Busy) => {}
            done => return done,
        }
    }
    transaction(connection, |c| Box::pin(async move { write(c, &plan).await })).await
}

pub(super) async fn write(connection: &mut SqliteConnection, plan: &Plan) -> Result<Option<BatchInfo>> {
    if !plan.new.is_empty() {
        // One statement for thousands of series; the labels' own JSON travels inside as text.
        let rows: Vec<(u32, String)> =
            plan.new.iter().map(|(labels, id)| Ok((*id, serde_json::to_string(labels)?))).collect::<Result<_>>()?;
        sqlx::query("INSERT INTO series (id, labels) SELECT value ->> 0, value ->> 1 FROM json_each(?1)")
            .bind(serde_json::to_string(&rows)?)
            .execute(&mut *connection)
            .await?;
    }
    let Some(max_t) = plan.samples.iter().map(|s| s.1).max() else { return Ok(None) };
    let blob = batch::encode_batch(&plan.samples);
    let ids: Vec<i64> =
        sqlx::query_scalar("INSERT INTO head_batch (max_t, count, crc, blob) VALUES (?1, ?2, ?3, ?4) RETURNING id")
            .bind(max_t)
            .bind(plan.samples.len() as i64)
            .bind(i64::from(crc32fast::hash(&blob)))
            .bind(&blob)
            // To the end of the statement: alone it commits there, and only there says whether that went well.
            .fetch_all(connection)
            .await?;
    let id = ids.first().copied().ok_or_else(|| StoreError::Database("a batch was given no number".into()))?;
    Ok(Some(BatchInfo { id, max_t, count: plan.samples.len() as u64 }))
}
