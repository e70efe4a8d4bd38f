//! A damaged file: it is set aside under another name, and what memory and its readable pages still give goes on in a new
//! one. The watch does not stop for it.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::{Connection, Row, SqliteConnection};

use super::append::{self, Plan};
use super::batch::BatchSample;
use super::index::{BatchInfo, Index, Page};
use super::seal::NewPage;
use super::series::Entry;
use super::{KIND, Samples, load, rollup};
use crate::domain::clock::Timestamp;
use crate::store::StoreError;
use crate::store::db::{self, Db};
use crate::store::reserve::Reserve;
use crate::store::state::Result;

/// A disk that damages file after file must not be filled with them.
const KEPT_MAX: usize = 2;
/// Samples of one batch of the head in a new file.
const BATCH_SAMPLES: usize = 100_000;
/// Of the file's own name.
const SUFFIX: &str = ".damaged-";

/// A damaged file that waits for somebody to look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub file: PathBuf,
    pub at: Timestamp,
}

impl Samples {
    /// Returns once damage was met and is not mended yet.
    pub async fn damaged(&self) {
        self.inner.db.damaged().await;
    }

    /// Sets the file aside when it was found damaged, and goes on in a new one. Appends wait meanwhile.
    pub async fn renew(&self) -> Result<()> {
        self.writable()?;
        let Some(why) = self.inner.db.damage() else { return Ok(()) };
        let _one_at_a_time = self.inner.upkeep.lock().await;
        let aside = aside(&self.inner.db.path, self.inner.clock.now());
        tracing::error!(why, set_aside = %aside.display(), "samples.db is damaged; going on in a new file");
        let inner = self.inner.clone();
        let begun = self.inner.db.replace(&KIND, aside.clone(), move |c| {
            Box::pin(async move {
                let (series, batches, page) = parts(&inner.read());
                let batches = begin(c, series, batches, page).await?;
                let mut index = inner.write();
                index.batches = batches;
                index.changes.note(i64::MIN);
                Ok(std::mem::take(&mut index.pages))
            })
        });
        let pages = begun.await?;
        forget_old(&self.inner.db.path);
        let mut old = db::open_existing(&aside).await.ok();
        let copied = self.copy_pages(&mut old, pages).await.and(self.copy_rollups(&mut old).await);
        if let Some(old) = old {
            let _ = old.close().await;
        }
        // What was computed while they were away is not what they say.
        self.inner.write().changes.note(i64::MIN);
        copied
    }

    /// Damaged files of this folder, oldest first.
    pub fn set_aside(&self) -> Vec<SetAside> {
        all_aside(&self.inner.db.path)
    }

    /// Pages that the old file still gives. What it does not give is gone.
    async fn copy_pages(&self, old: &mut Option<SqliteConnection>, pages: BTreeMap<i64, Page>) -> Result<()> {
        let (mut kept, mut lost) = (0u64, Vec::new());
        for (id, page) in pages {
            let body = match old {
                Some(old) => body(old, id).await,
                None => None,
            };
            match body {
                Some(body) => {
                    kept += page.samples;
                    self.add_pages(vec![NewPage { page, body }]).await?;
                }
                None => lost.push(page),
            }
        }
        let from = lost.iter().map(|p| p.start).min().map(|t| Timestamp::from_ms(t).rfc3339());
        let to = lost.iter().map(|p| p.end).max().map(|t| Timestamp::from_ms(t).rfc3339());
        let gone: u64 = lost.iter().map(|p| p.samples).sum();
        tracing::warn!(kept, lost = gone, from, to, "sealed samples taken over from the damaged file");
        Ok(())
    }

    async fn copy_rollups(&self, old: &mut Option<SqliteConnection>) -> Result<()> {
        let before = self.inner.read().rollups.clone();
        let kept = match old {
            Some(old) => rollup::carry_over(old, &self.inner.db, &before).await?,
            None => Vec::new(),
        };
        let lost = before.all().count() - kept.len();
        if lost > 0 {
            tracing::warn!(kept = kept.len(), lost, "parts of rollups taken over from the damaged file");
        }
        self.inner.write().rollups.replace(kept);
        Ok(())
    }
}

/// Opens the file, or, when it is too damaged for that, a new one with what can be read of the old.
pub(super) async fn open(dir: &Path, reserve: Arc<Reserve>, now: Timestamp) -> Result<(Db, (Index, load::Mark))> {
    let path = dir.join(KIND.file);
    let why = match Db::open(dir, &KIND, reserve.clone(), |c| Box::pin(load::all(c))).await {
        Err(StoreError::Corrupt { detail, .. }) => detail,
        other => return other,
    };
    let aside = aside(&path, now);
    tracing::error!(why, set_aside = %aside.display(), "samples.db is damaged; beginning a new file");
    db::move_aside(&path, &aside)?;
    forget_old(&path);
    let mut old = db::open_existing(&aside).await.ok();
    let index = match &mut old {
        Some(old) => load::rescue(old).await,
        None => Index::default(),
    };
    let (series, batches, page) = parts(&index);
    let (db, _) = Db::open(dir, &KIND, reserve.clone(), move |c| Box::pin(begin(c, series, batches, page))).await?;
    for (id, page) in index.pages {
        let body = match &mut old {
            Some(old) => body(old, id).await,
            None => None,
        };
        if let Some(body) = body {
            db.write(move |c| Box::pin(async move { super::seal::insert(c, &NewPage { page, body }).await })).await?;
        }
    }
    if let Some(mut old) = old {
        rollup::carry_over(&mut old, &db, &index.rollups).await?;
        let _ = old.close().await;
    }
    db.close().await;
    Db::open(dir, &KIND, reserve, |c| Box::pin(load::all(c))).await
}

type Series = Vec<(u32, crate::domain::metric::Labels)>;

/// What memory has of the file: series, the head as batches, and the highest number of a page.
fn parts(index: &Index) -> (Series, Vec<Vec<BatchSample>>, i64) {
    let series = index.series.iter().map(|(id, e)| (*id, e.labels.clone())).collect();
    let all = |e: &Entry| e.between(i64::MIN, i64::MAX);
    let head = |(id, e): (&u32, &Entry)| all(e).into_iter().map(|(t, v)| (*id, t, v)).collect::<Vec<_>>();
    let samples: Vec<BatchSample> = index.series.iter().flat_map(head).collect();
    let batches = samples.chunks(BATCH_SAMPLES).map(<[BatchSample]>::to_vec).collect();
    (series, batches, index.pages.keys().next_back().copied().unwrap_or(0))
}

/// Fills a new file. Numbers of pages are never given twice: a read under way may still look for an old one.
async fn begin(
    connection: &mut SqliteConnection,
    series: Series,
    batches: Vec<Vec<BatchSample>>,
    page: i64,
) -> Result<VecDeque<BatchInfo>> {
    let mut tx = connection.begin().await?;
    sqlx::query("INSERT INTO sqlite_sequence (name, seq) VALUES ('page', ?1)").bind(page).execute(&mut *tx).await?;
    append::write(&mut tx, &Plan::of(series, Vec::new())).await?;
    let mut written = VecDeque::new();
    for samples in batches {
        written.extend(append::write(&mut tx, &Plan::of(Vec::new(), samples)).await?);
    }
    tx.commit().await?;
    Ok(written)
}

/// A page's body, when the file still gives it whole.
async fn body(old: &mut SqliteConnection, id: i64) -> Option<Vec<u8>> {
    let row = sqlx::query("SELECT crc, body FROM page WHERE id = ?1").bind(id).fetch_optional(old).await.ok()??;
    let body: Vec<u8> = row.try_get("body").ok()?;
    (i64::from(crc32fast::hash(&body)) == row.try_get::<i64, _>("crc").ok()?).then_some(body)
}

fn aside(path: &Path, now: Timestamp) -> PathBuf {
    let name = |ms: i64| PathBuf::from(format!("{}{SUFFIX}{ms}", path.display()));
    (now.ms()..).map(name).find(|n| !n.exists()).unwrap_or_else(|| name(now.ms()))
}

fn all_aside(path: &Path) -> Vec<SetAside> {
    let (Some(dir), Some(own)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let one = |name: &str| {
        let ms: i64 = name.strip_prefix(own)?.strip_prefix(SUFFIX)?.parse().ok()?;
        Some(SetAside { file: dir.join(name), at: Timestamp::from_ms(ms) })
    };
    let mut found: Vec<SetAside> = entries.filter_map(|e| one(e.ok()?.file_name().to_str()?)).collect();
    found.sort_by_key(|f| f.at);
    found
}

fn forget_old(path: &Path) {
    let all = all_aside(path);
    for old in &all[..all.len().saturating_sub(KEPT_MAX)] {
        for name in db::with_logs(&old.file) {
            let _ = std::fs::remove_file(name);
        }
    }
}

#[cfg(test)]
mod tests;
