//! The index and the head as the file has them: at start, and again and again for a program that reads beside the daemon.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::batch::{self, BatchSample};
use super::index::{BatchInfo, Index, Page};
use super::page::Directory;
use super::rollup::{self, Part};
use crate::domain::metric::Labels;
use crate::store::StoreError;
use crate::store::state::Result;

/// How far a loaded index reaches, for the next look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    epoch: i64,
    batch: i64,
    series: i64,
}

/// One row for the index.
pub(super) enum Item {
    Series(u32, Labels),
    Page(i64, Page),
    Rollup(Part),
    /// Samples of a series up to here are rolled up.
    RolledTo(u32, i64),
    Batch(BatchInfo, Vec<BatchSample>),
}

/// Reads everything.
pub(super) async fn all(connection: &mut SqliteConnection) -> Result<(Index, Mark)> {
    let mut index = Index::default();
    // One read transaction: series, watermarks and batches of one moment.
    let mut tx = connection.begin().await?;
    let mark = mark(&mut tx).await?;
    read_after(&mut tx, Mark::default(), |item| index.apply(item)).await?;
    let given: Option<i64> =
        sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'series'").fetch_optional(&mut *tx).await?;
    index.next_id = index.next_id.max(given.and_then(|n| u32::try_from(n + 1).ok()).unwrap_or(1));
    tx.commit().await?;
    Ok((index, mark))
}

/// Where the file is now.
pub(super) async fn mark(connection: &mut SqliteConnection) -> Result<Mark> {
    let (epoch, batch, series) = sqlx::query_as(
        "SELECT (SELECT value FROM meta WHERE key = 'epoch'), coalesce((SELECT max(id) FROM head_batch), 0),
                coalesce((SELECT max(id) FROM series), 0)",
    )
    .fetch_one(connection)
    .await?;
    Ok(Mark { epoch, batch, series })
}

/// Nothing but new rows since `seen`: no seal, no series forgotten.
pub(super) fn only_grew(seen: Mark, now: Mark) -> bool {
    seen.epoch == now.epoch && seen.batch <= now.batch && seen.series <= now.series
}

/// Hands out rows after `seen`; the caller holds a read transaction.
pub(super) async fn read_after(
    connection: &mut SqliteConnection,
    seen: Mark,
    mut take: impl FnMut(Item),
) -> Result<()> {
    let mut take = |item: Result<Item>| item.map(&mut take);
    read_series(connection, seen, &mut take).await?;
    if seen.epoch == 0 {
        read_pages(connection, &mut take).await?;
        rollup::read_all(connection, &mut take).await?;
    }
    read_batches(connection, seen, &mut take).await
}

/// What a damaged file still gives, table by table and row by row.
pub(super) async fn rescue(connection: &mut SqliteConnection) -> Index {
    let (mut index, seen) = (Index::default(), Mark::default());
    let mut in_rollups = 0;
    let mut take = |item: Result<Item>| {
        if let Ok(Item::RolledTo(id, _)) = item {
            in_rollups = in_rollups.max(id);
        }
        if let Ok(item) = item {
            index.apply(item);
        }
        Ok(())
    };
    let read = [
        read_series(connection, seen, &mut take).await,
        read_pages(connection, &mut take).await,
        rollup::read_all(connection, &mut take).await,
        read_batches(connection, seen, &mut take).await,
    ];
    for error in read.into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "a table of the damaged file ends early");
    }
    // A series that was not found still has its samples in pages or rollups: its number must not go to another.
    let in_pages = index.pages.values().flat_map(|p| p.directory.series().map(|(id, _)| id)).max();
    index.next_id = index.next_id.max(in_pages.unwrap_or(0).max(in_rollups).saturating_add(1));
    index
}

async fn read_series(
    connection: &mut SqliteConnection,
    seen: Mark,
    take: &mut impl FnMut(Result<Item>) -> Result<()>,
) -> Result<()> {
    let one = |row: &SqliteRow| {
        let id = u32::try_from(row.try_get::<i64, _>("id")?)
            .map_err(|_| StoreError::corrupt("a series has an impossible number"))?;
        Ok(Item::Series(id, serde_json::from_str(row.try_get("labels")?)?))
    };
    let mut rows =
        sqlx::query("SELECT id, labels FROM series WHERE id > ?1 ORDER BY id").bind(seen.series).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        take(one(&row))?;
    }
    Ok(())
}

/// The directories of all pages; bodies stay in the file.
async fn read_pages(
    connection: &mut SqliteConnection,
    take: &mut impl FnMut(Result<Item>) -> Result<()>,
) -> Result<()> {
    let one = |row: &SqliteRow| {
        let (id, level, bytes): (i64, i64, i64) = (row.try_get("id")?, row.try_get("level")?, row.try_get("bytes")?);
        let directory: &[u8] = row.try_get("directory")?;
        let crc: Option<i64> = row.try_get("directory_crc")?;
        if crc.is_some_and(|crc| crc != i64::from(crc32fast::hash(directory))) {
            return Err(StoreError::corrupt(format!("the directory of page {id} does not match its checksum")));
        }
        let directory =
            Directory::decode(directory).map_err(|e| StoreError::corrupt(format!("page {id} of samples: {e}")))?;
        Ok(Item::Page(id, Page::new(level as u8, row.try_get("slot")?, bytes as u64, directory)))
    };
    let mut rows =
        sqlx::query("SELECT id, level, slot, length(body) AS bytes, directory, directory_crc FROM page ORDER BY id")
            .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        take(one(&row))?;
    }
    Ok(())
}

async fn read_batches(
    connection: &mut SqliteConnection,
    seen: Mark,
    take: &mut impl FnMut(Result<Item>) -> Result<()>,
) -> Result<()> {
    let one = |row: &SqliteRow| {
        let (id, max_t, count): (i64, i64, i64) = (row.try_get("id")?, row.try_get("max_t")?, row.try_get("count")?);
        let blob: &[u8] = row.try_get("blob")?;
        if i64::from(crc32fast::hash(blob)) != row.try_get::<i64, _>("crc")? {
            return Err(StoreError::corrupt(format!("batch {id} of the head does not match its checksum")));
        }
        let samples =
            batch::decode_batch(blob).map_err(|e| StoreError::corrupt(format!("batch {id} of the head: {e}")))?;
        Ok(Item::Batch(BatchInfo { id, max_t, count: count as u64 }, samples))
    };
    let mut rows = sqlx::query("SELECT id, max_t, count, crc, blob FROM head_batch WHERE id > ?1 ORDER BY id")
        .bind(seen.batch)
        .fetch(connection);
    while let Some(row) = rows.try_next().await? {
        take(one(&row))?;
    }
    Ok(())
}
