//! `samples.db`: series, samples, gaps. A durable head of recent batches, sealed into compressed pages.
//!
//! Each append is one row of `head_batch` and, once committed, samples in memory; `maintain` moves old ones into pages of
//! many series, the pages of a window that is over into few large ones, and days that retention lets go into rollups. Only
//! the writer task changes the index, so memory and file agree. Read `index.rs`, then `page.rs`, `column.rs` and
//! `splice.rs`, then `seal.rs` and `compact.rs`, then `retain.rs` and `rollup/`.

mod append;
mod batch;
mod changes;
mod column;
mod compact;
#[doc(hidden)]
pub mod fuzzing;
mod gaps;
mod head;
mod index;
mod load;
mod outgoing;
mod page;
mod read;
mod renew;
mod retain;
mod rollup;
mod seal;
mod series;
mod splice;
mod warm;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::sqlite::SqliteSynchronous;

use super::db::{Db, Kind};
use super::reserve::Reserve;
use super::state::Result;
use super::writer::WriterStats;
use super::{Role, StoreError};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::metric::{Labels, Matcher, NAME, Need, ReadError, Series, SeriesReader, SeriesScan, unpacked};
use crate::domain::roles::Roles;

pub use append::SeriesBatch;
use index::Index;
use load::Mark;
pub use outgoing::{Piece, Sent, Waiting};
use read::{Scan, Sight, bodies};
pub use renew::SetAside;
use retain::Limits;
use rollup::Rolled;
use splice::Loaded;
use warm::Warm;

const KIND: Kind = Kind {
    file: "samples.db",
    // A crash of the program loses nothing; a power cut may lose the last seconds, which makes history thinner and no more.
    synchronous: SqliteSynchronous::Normal,
    // Batches are written once and read at the next start: nothing to keep.
    cache: "-512",
    migrations: &[
        include_str!("../../../migrations/samples/0001_series.sql"),
        include_str!("../../../migrations/samples/0002_head.sql"),
        include_str!("../../../migrations/samples/0003_pages.sql"),
        include_str!("../../../migrations/samples/0004_gaps.sql"),
        include_str!("../../../migrations/samples/0005_metadata.sql"),
        include_str!("../../../migrations/samples/0006_page_directory_crc.sql"),
        include_str!("../../../migrations/samples/0007_outgoing.sql"),
        include_str!("../../../migrations/samples/0008_rollups.sql"),
    ],
};

/// Handle on `samples.db`. Cheap to clone.
#[derive(Clone)]
pub struct Samples {
    inner: Arc<Inner>,
}

struct Inner {
    db: Db,
    role: Role,
    clock: SharedClock,
    index: RwLock<Index>,
    /// How far `index` reaches, for a client that follows the daemon's writes.
    followed: tokio::sync::Mutex<Mark>,
    upkeep: tokio::sync::Mutex<()>,
    limits: Mutex<Limits>,
    warm: Mutex<Warm>,
    /// Why the last append failed; none when it did not.
    refused: Mutex<Option<String>>,
    outgoing: outgoing::Outgoing,
}

impl Inner {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
    fn warm(&self) -> MutexGuard<'_, Warm> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an append did. Refused samples are counted, never an error. A sample that repeats the last one of its series,
/// time and value, is neither.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    pub accepted: u64,
    pub out_of_order: u64,
    pub duplicate: u64,
    pub too_far_ahead: u64,
    pub series_limit: u64,
    pub new_series: u64,
}

impl std::ops::AddAssign for Appended {
    fn add_assign(&mut self, other: Appended) {
        self.accepted += other.accepted;
        self.out_of_order += other.out_of_order;
        self.duplicate += other.duplicate;
        self.too_far_ahead += other.too_far_ahead;
        self.series_limit += other.series_limit;
        self.new_series += other.new_series;
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct SampleStats {
    pub series: u64,
    pub head_samples: u64,
    pub page_samples: u64,
    pub page_bytes: u64,
    pub rollup_bytes: u64,
    pub file_bytes: u64,
}

impl Samples {
    pub(super) async fn open(dir: &Path, role: Role, reserve: Arc<Reserve>, clock: SharedClock) -> Result<Samples> {
        let (db, (index, mark)) = match role {
            Role::Daemon => renew::open(dir, reserve, clock.now()).await?,
            Role::Client => Db::open(dir, &KIND, reserve, |c| Box::pin(load::all(c))).await?,
        };
        Ok(Samples {
            inner: Arc::new(Inner {
                db,
                role,
                clock,
                index: RwLock::new(index),
                followed: tokio::sync::Mutex::new(mark),
                upkeep: tokio::sync::Mutex::new(()),
                limits: Mutex::default(),
                warm: Mutex::default(),
                refused: Mutex::default(),
                outgoing: outgoing::Outgoing::default(),
            }),
        })
    }
    pub(super) async fn close(&self) {
        self.inner.db.close().await;
    }
    pub(super) async fn revision(&self) -> Result<u64> {
        self.inner.db.revision().await
    }
    #[cfg(test)]
    pub(super) fn database(&self) -> &Db {
        &self.inner.db
    }
    pub fn writer_stats(&self) -> &WriterStats {
        self.inner.db.stats()
    }

    /// The index belongs to one process: a second writer would give one number to two series.
    fn writable(&self) -> Result<()> {
        match self.inner.role {
            Role::Daemon => Ok(()),
            Role::Client => Err(StoreError::Database("samples are written by the daemon alone".into())),
        }
    }

    pub async fn label_names(&self) -> Result<Vec<String>> {
        self.follow().await?;
        Ok(self.inner.read().label_names())
    }
    pub async fn label_values(&self, name: &str) -> Result<Vec<String>> {
        self.follow().await?;
        Ok(self.inner.read().label_values(name))
    }
    /// Label sets of series that match and have samples in the range, sorted.
    pub async fn series(&self, matchers: &[Matcher], start: Timestamp, end: Timestamp) -> Result<Vec<Labels>> {
        self.follow().await?;
        let (start, end) = (start.ms(), end.ms());
        let rolled = self.rolled_between(start, end).await?;
        let index = self.inner.read();
        let (mut found, mut sealed): (Vec<Labels>, Vec<u32>) = (Vec::new(), Vec::new());
        for id in index.select(matchers) {
            let Some(entry) = index.series.get(&id) else { continue };
            if rolled.contains(&id) || !entry.between(start, end).is_empty() {
                found.push(entry.labels.clone());
            } else if entry.sealed_to.is_some_and(|t| t >= start) {
                sealed.push(id);
            }
        }
        let mut hit = vec![false; sealed.len()];
        for page in index.pages.values().filter(|p| p.start <= end && p.end >= start) {
            page.directory.each(&sealed, (start, end), |at, _| hit[at] = true);
        }
        let labels = |(id, _): (&u32, _)| index.series.get(id).map(|e| e.labels.clone());
        found.extend(sealed.iter().zip(hit).filter(|(_, hit)| *hit).filter_map(labels));
        found.sort();
        Ok(found)
    }
    /// Series with rollups that began before `end` and went on after `start`. Whether they paused meanwhile is not worth
    /// reading them for.
    async fn rolled_between(&self, start: i64, end: i64) -> Result<HashSet<u32>> {
        if self.inner.read().rollups.until().is_none_or(|until| start >= until) {
            return Ok(HashSet::new());
        }
        let ids: Vec<u32> = sqlx::query_scalar("SELECT id FROM rolled_series WHERE to_t >= ?1 AND from_t <= ?2")
            .bind(start)
            .bind(end)
            .fetch_all(&mut *self.inner.db.reader().await?)
            .await
            .map_err(|e| self.inner.db.noticed(e.into()))?;
        Ok(ids.into_iter().collect())
    }
    /// The roles of a service, by `[service.NAME] roles` and by what is stored: series that carry its `service` label,
    /// else series that carry none.
    pub async fn roles(&self, config: &BTreeMap<String, String>, service: &str) -> Result<Roles> {
        self.follow().await?;
        let index = self.inner.read();
        let among = |service: &str| {
            // What is only in rollups may have had another name for a year.
            let select = |name: &str| {
                let mut ids = index.select(&[Matcher::equal(NAME, name), Matcher::equal("service", service)]);
                ids.retain(|id| index.series.get(id).is_some_and(|e| index.is_live(e)));
                ids
            };
            let labels_of = |name: &str| {
                let ids = select(name);
                let labels = ids.iter().filter_map(|id| index.series.get(id)).flat_map(|e| e.labels.iter());
                labels.map(|(n, _)| n.to_string()).collect()
            };
            let matcher = format!("service={service:?}");
            Roles::resolve_among(config, Some(&matcher), &|name| !select(name).is_empty(), &labels_of)
        };
        Ok(among(service).or(among("")))
    }
    pub async fn stats(&self) -> Result<SampleStats> {
        self.follow().await?;
        let index = self.inner.read();
        Ok(SampleStats {
            series: index.series.len() as u64,
            head_samples: index.head_samples,
            page_samples: index.pages.values().map(|p| p.samples).sum(),
            page_bytes: index.pages.values().map(|p| p.bytes).sum(),
            rollup_bytes: index.rollups.bytes(),
            file_bytes: self.inner.db.bytes(),
        })
    }

    /// A client takes in what the daemon wrote since it last looked; the daemon's own index is always current.
    async fn follow(&self) -> Result<()> {
        if self.inner.role == Role::Daemon {
            return Ok(());
        }
        let mut seen = self.inner.followed.lock().await;
        let mut reader = self.inner.db.reader().await?;
        let mut tx = reader.begin().await?;
        let now = load::mark(&mut tx).await?;
        if now == *seen {
            return Ok(());
        }
        if load::only_grew(*seen, now) {
            // Read aside, then taken over whole: a failure half way leaves the index as it was.
            let mut items = Vec::new();
            load::read_after(&mut tx, *seen, |item| items.push(item)).await?;
            let mut index = self.inner.write();
            items.into_iter().for_each(|item| index.apply(item));
            *seen = now;
            return Ok(());
        }
        drop(tx);
        let (index, mark) = load::all(&mut reader).await?;
        *self.inner.write() = index;
        *seen = mark;
        Ok(())
    }

    /// What the index has for a read, with the pages that it names.
    async fn sight(&self, matchers: &[Matcher], range: (i64, i64), limit: usize) -> ReadResult<(Sight, Vec<Loaded>)> {
        /// A page that goes between the look and the read is in another by then.
        const LOOKS: u32 = 20;
        self.follow().await.map_err(storage)?;
        for look in 0..LOOKS {
            let sight = Sight::of(&self.inner.read(), matchers, range.0, range.1);
            if sight.head_samples.0 > limit {
                return Err(ReadError::TooManySamples { limit });
            }
            let directories = sight.pages.iter().map(|p| (p.id, p.directory.clone())).collect();
            let loaded = bodies(&self.inner, directories).await.map_err(|e| storage(self.inner.db.noticed(e)))?;
            if let Some(mut loaded) = loaded {
                let mut warm = self.inner.warm();
                loaded.iter().for_each(|(id, (_, body))| warm.put(*id, body.clone()));
                let loaded = sight.pages.iter().filter_map(|p| loaded.remove(&p.id)).collect();
                return Ok((sight, loaded));
            }
            tokio::time::sleep(Duration::from_millis(u64::from(look))).await;
        }
        Err(ReadError::Storage("pages of samples keep moving; try again".into()))
    }

    /// Looked for after the raw samples: a day that is rolled up in between is there twice, and not neither.
    async fn rolled(&self, scan: &Scan, need: &Need) -> ReadResult<Option<Rolled>> {
        let (mut rolled, parts) = {
            let index = self.inner.read();
            let Some(until) = index.rollups.until().filter(|until| need.start.ms() < *until) else { return Ok(None) };
            // A window is widened to whole buckets at its start, and begins at one.
            let widened = need.rolled.map_or(0, |wanted| 2 * wanted.resolution.ms());
            let range = (need.start.ms().saturating_sub(widened), need.end.ms().min(until));
            let labels = (0..scan.count()).map(|nth| scan.labels(nth));
            (Rolled::known(until, range, need.limit), index.rollups.parts(labels, range))
        };
        if let Some(wanted) = need.rolled {
            rolled.series = scan.ids();
            let mut reader = self.inner.db.reader().await.map_err(storage)?;
            rollup::load(&mut reader, &mut rolled, &parts, wanted).await?;
        }
        Ok(Some(rolled))
    }

    async fn read(&self, matchers: &[Matcher], range: (i64, i64), limit: usize) -> ReadResult<Vec<Series>> {
        let (sight, loaded) = self.sight(matchers, range, limit).await?;
        let small = sight.is_small();
        let scan = sight.scan(loaded, range, limit);
        if small {
            return unpacked(&scan);
        }
        tokio::task::spawn_blocking(move || unpacked(&scan))
            .await
            .map_err(|_| ReadError::Storage("unpacking samples panicked".into()))?
    }
}

type ReadResult<T> = std::result::Result<T, ReadError>;

impl SeriesReader for Samples {
    fn select<'a>(
        &'a self,
        matchers: &'a [Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, ReadResult<Vec<Series>>> {
        Box::pin(self.read(matchers, (start.ms(), end.ms()), limit))
    }

    fn scan<'a>(&'a self, matchers: &'a [Matcher], need: Need) -> BoxFuture<'a, ReadResult<Box<dyn SeriesScan>>> {
        Box::pin(async move {
            let range = (need.start.ms(), need.end.ms());
            let (sight, loaded) = self.sight(matchers, range, need.limit).await?;
            let mut scan = sight.scan(loaded, range, need.limit);
            scan.rolled = self.rolled(&scan, &need).await?;
            Ok(Box::new(scan) as Box<dyn SeriesScan>)
        })
    }

    fn rolled_until(&self) -> Option<Timestamp> {
        self.inner.read().rollups.until().map(Timestamp::from_ms)
    }

    fn revision(&self) -> Option<u64> {
        // A client's index is current only while it reads.
        (self.inner.role == Role::Daemon).then(|| self.inner.read().changes.revision())
    }

    fn changed_from(&self, revision: u64) -> Option<Timestamp> {
        self.inner.read().changes.since(revision).map(Timestamp::from_ms)
    }
}

fn storage(error: impl Into<StoreError>) -> ReadError {
    ReadError::Storage(error.into().to_string())
}

#[cfg(test)]
mod tests;
