//! An append: what of a batch is taken, decided against the index as it is, then one row of the head, durable before
//! readers and rules see it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use sqlx::SqliteConnection;

use super::batch::{self, BatchSample};
use super::index::{BatchInfo, Index, SERIES_MAX};
use super::series::{Entry, NOWHERE, Place};
use super::{Appended, Samples};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{LabelledSample, Labels, Round, Sample};
use crate::store::StoreError;
use crate::store::state::Result;
use crate::store::writer::transaction;

/// A sample further ahead of our clock than this is refused (watch.md 2.1): it would block its series until then.
const AHEAD_MAX: Duration = Duration::from_secs(600);
/// An append waits for a seal while the head has more samples than this: a backfill brings millions a second, and upkeep
/// comes once a minute.
const HEAD_SAMPLES_WAIT: u64 = 1_000_000;

/// Series written by one statement: the first scrapes bring thousands, and what they take is not given back.
const SERIES_ROWS: usize = 256;

/// Series with their samples in ascending time. A series may come more than once.
pub type SeriesBatch = Vec<(Labels, Vec<Sample>)>;

impl Samples {
    /// Durable when it returns. Samples of one series must come in ascending time. The index keeps labels as they are:
    /// a source should share their texts.
    pub async fn append(&self, batch: Vec<LabelledSample>) -> Result<Appended> {
        self.append_rounds(Vec::new(), batch).await
    }

    /// [`Samples::append`] for series that are known to come together, with `others` after them: all of it or nothing.
    pub async fn append_rounds(&self, rounds: Vec<Round>, others: Vec<LabelledSample>) -> Result<Appended> {
        let many = others.len() + rounds.iter().map(|r| r.samples.len()).sum::<usize>();
        let take = move |planner: &mut Planner<'_>| {
            rounds.iter().for_each(|round| planner.round(round));
            others.iter().for_each(|s| planner.labelled(&s.labels, std::slice::from_ref(&s.sample)));
        };
        self.take(many, take, Index::adopt).await
    }

    /// [`Samples::append`] for many samples of each series, which are then looked up once.
    pub async fn append_series(&self, batch: SeriesBatch) -> Result<Appended> {
        let many = batch.len();
        let take = move |planner: &mut Planner<'_>| {
            batch.iter().for_each(|(labels, samples)| planner.labelled(labels, samples));
        };
        self.take(many, take, |index, id, labels| index.insert(id, &labels)).await
    }

    /// `many`: how many samples there are, about.
    async fn take(
        &self,
        many: usize,
        take: impl FnOnce(&mut Planner<'_>) + Send + 'static,
        insert: fn(&mut Index, u32, Labels),
    ) -> Result<Appended> {
        if many == 0 {
            return Ok(Appended::default());
        }
        let appended = match self.room() {
            Ok(()) => self.append_now(many, take, insert).await,
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

    async fn append_now(
        &self,
        many: usize,
        take: impl FnOnce(&mut Planner<'_>) + Send + 'static,
        insert: fn(&mut Index, u32, Labels),
    ) -> Result<Appended> {
        self.make_room().await?;
        let (inner, published) = (self.inner.clone(), self.inner.clone());
        let (plan, _) = self
            .inner
            .db
            .work_then(
                move |c| {
                    Box::pin(async move {
                        let plan = Arc::new(plan(&inner.read(), many, take, inner.clock.now()));
                        let info = write_alone(c, plan.clone()).await?;
                        Ok((plan, info))
                    })
                },
                move |(plan, info)| {
                    let mut index = published.write();
                    plan.new.iter().for_each(|(labels, id)| insert(&mut index, *id, labels.clone()));
                    if let Some(info) = info {
                        index.replay(*info, &plan.samples, &plan.slots);
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

/// What an append will write.
pub(super) struct Plan {
    new: HashMap<Labels, u32>,
    samples: Vec<BatchSample>,
    /// Where the series of each sample is.
    slots: Vec<u32>,
    counts: Appended,
}

impl Plan {
    pub(super) fn of(new: impl IntoIterator<Item = (u32, Labels)>, samples: Vec<BatchSample>) -> Plan {
        let new = new.into_iter().map(|(id, labels)| (labels, id)).collect();
        Plan { new, samples, slots: Vec::new(), counts: Appended::default() }
    }
}

fn plan(index: &Index, many: usize, take: impl FnOnce(&mut Planner<'_>), now: Timestamp) -> Plan {
    let (samples, slots) = (Vec::with_capacity(many), Vec::with_capacity(many));
    let mut planner = Planner {
        index,
        plan: Plan { new: HashMap::new(), samples, slots, counts: Appended::default() },
        seen: vec![0; index.series.slots().div_ceil(64)],
        newest: HashMap::new(),
        noted: 0,
        ahead_max: now.plus(AHEAD_MAX),
    };
    take(&mut planner);
    planner.plan
}

/// Decides sample by sample.
struct Planner<'i> {
    index: &'i Index,
    plan: Plan,
    /// A bit for each slot: this append has brought something for its series.
    seen: Vec<u64>,
    /// Newest sample of series in this append, of the first `noted` that were taken: most series come once.
    newest: HashMap<u32, (i64, u64)>,
    noted: usize,
    ahead_max: Timestamp,
}

impl Planner<'_> {
    fn round(&mut self, round: &Round) {
        let index = self.index;
        let places = index.places(&round.roster);
        let mut forgotten = false;
        for ((labels, sample), place) in round.roster.series().iter().zip(&round.samples).zip(&*places) {
            match index.series.at(*place) {
                Some(entry) => self.known(*place, entry, std::slice::from_ref(sample)),
                None => {
                    forgotten |= *place != NOWHERE;
                    self.labelled(labels, std::slice::from_ref(sample));
                }
            }
        }
        if forgotten {
            index.forget_places(&round.roster);
        }
    }

    fn labelled(&mut self, labels: &Labels, samples: &[Sample]) {
        let index = self.index;
        if let Some(place) = index.find(labels)
            && let Some(entry) = index.series.at(place)
        {
            return self.known(place, entry, samples);
        }
        let known = self.plan.new.get(labels).copied();
        let room = index.live_series() + self.plan.new.len() < SERIES_MAX;
        let Some(id) = known.or_else(|| room.then(|| index.next_id.max(1) + self.plan.new.len() as u32)) else {
            self.plan.counts.series_limit += samples.len() as u64;
            return;
        };
        let last = known.and_then(|id| self.brought(id));
        if self.samples((NOWHERE.0, id), last, samples) && known.is_none() {
            self.plan.new.insert(labels.clone(), id);
            self.plan.counts.new_series += 1;
        }
    }

    fn known(&mut self, place: Place, entry: &Entry, samples: &[Sample]) {
        let (word, bit) = (place.0 as usize / 64, 1 << (place.0 % 64));
        let seen = self.seen.get_mut(word).is_some_and(|w| std::mem::replace(w, *w | bit) & bit != 0);
        let last = if seen { self.brought(place.1) } else { None };
        self.samples(place, last.or_else(|| entry.last()), samples);
    }

    /// The newest sample of a series that this append has taken.
    fn brought(&mut self, id: u32) -> Option<(i64, Option<u64>)> {
        self.newest.extend(self.plan.samples[self.noted..].iter().map(|&(id, t, v)| (id, (t, v))));
        self.noted = self.plan.samples.len();
        self.newest.get(&id).map(|&(t, v)| (t, Some(v)))
    }

    /// Was any taken?
    fn samples(&mut self, place: Place, mut last: Option<(i64, Option<u64>)>, samples: &[Sample]) -> bool {
        let plan = &mut self.plan;
        let before = plan.samples.len();
        for sample in samples {
            let (t, v) = (sample.t.ms(), sample.v.to_bits());
            match last {
                _ if sample.t > self.ahead_max => plan.counts.too_far_ahead += 1,
                Some((last, _)) if t < last => plan.counts.out_of_order += 1,
                // The value of a sealed sample is not in memory: a repeat of it is taken for the same.
                Some((last, bits)) if t == last => {
                    plan.counts.duplicate += u64::from(bits.is_some_and(|bits| bits != v));
                }
                _ => {
                    plan.samples.push((place.1, t, v));
                    plan.slots.push(place.0);
                    last = Some((t, Some(v)));
                }
            }
        }
        plan.counts.accepted += (plan.samples.len() - before) as u64;
        plan.samples.len() > before
    }
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
    let mut new: Vec<(&Labels, &u32)> = plan.new.iter().collect();
    new.sort_unstable_by_key(|(_, id)| **id);
    for some in new.chunks(SERIES_ROWS) {
        // One statement for hundreds of series; the labels' own JSON travels inside as text.
        let rows: Vec<(u32, String)> =
            some.iter().map(|(labels, id)| Ok((**id, serde_json::to_string(labels)?))).collect::<Result<_>>()?;
        sqlx::query("INSERT INTO series (id, labels) SELECT value ->> 0, value ->> 1 FROM json_each(?1)")
            .bind(serde_json::to_string(&rows)?)
            .execute(&mut *connection)
            .await?;
    }
    let Some(max_t) = plan.samples.iter().map(|s| s.1).max() else { return Ok(None) };
    let blob = batch::encode_batch(&plan.samples);
    // To the end of the statement: alone it commits there, and only there says whether that went well.
    let written = sqlx::query("INSERT INTO head_batch (max_t, count, crc, blob) VALUES (?1, ?2, ?3, ?4)")
        .bind(max_t)
        .bind(plan.samples.len() as i64)
        .bind(i64::from(crc32fast::hash(&blob)))
        .bind(&blob)
        .execute(connection)
        .await?;
    // Unlike `RETURNING` it takes no second message from the thread that runs the statement.
    let id = written.last_insert_rowid();
    Ok(Some(BatchInfo { id, max_t, count: plan.samples.len() as u64 }))
}
