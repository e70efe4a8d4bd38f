//! Parts in the file.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::{Row as _, SqliteConnection};

use super::pack::{Day, Row, code};
use super::{Part, Rollups};
use crate::store::StoreError;
use crate::store::samples::index::Index;
use crate::store::samples::load::Item;
use crate::store::state::Result;

/// A part that is not in the file yet.
pub(super) struct NewPart {
    pub day: i64,
    pub first: String,
    pub last: String,
    pub rows: Vec<Row>,
}

/// What is to be known of a series when its samples are gone.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    series: u32,
    first: i64,
    last: i64,
    counter: Option<f64>,
}

impl Seen {
    pub fn of(day: &Day) -> Seen {
        Seen { series: day.series, first: day.first, last: day.last, counter: day.counter }
    }
}

/// Writes a part that does not count yet.
pub(super) async fn write_part(connection: &mut SqliteConnection, new: &NewPart) -> Result<Part> {
    let bytes = new.rows.iter().map(|r| (r.directory.len() + r.body.len()) as u64).sum();
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO rollup_part (day, first, last, bytes, live) VALUES (?1, ?2, ?3, ?4, 0) RETURNING id",
    )
    .bind(new.day)
    .bind(&new.first)
    .bind(&new.last)
    .bind(bytes as i64)
    .fetch_one(&mut *connection)
    .await?;
    for row in &new.rows {
        let key = (row.resolution.ms(), code(row.field) as i64);
        let summed = |blob: &'_ [u8]| i64::from(crc32fast::hash(blob));
        let (directory, body) = (&row.directory[..], &row.body[..]);
        insert(connection, id, key, (directory, summed(directory)), (body, summed(body))).await?;
    }
    Ok(Part { id, day: new.day, first: new.first.clone(), last: new.last.clone(), bytes })
}

/// A row of a part: its resolution and field; directory and body each with their checksum.
async fn insert(
    connection: &mut SqliteConnection,
    part: i64,
    (resolution_ms, field): (i64, i64),
    (directory, directory_crc): (&[u8], i64),
    (body, crc): (&[u8], i64),
) -> Result<()> {
    sqlx::query(
        "INSERT INTO rollup (part, resolution_ms, field, directory, directory_crc, crc, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(part)
    .bind(resolution_ms)
    .bind(field)
    .bind(directory)
    .bind(directory_crc)
    .bind(crc)
    .bind(body)
    .execute(connection)
    .await?;
    Ok(())
}

/// Of series: number, first and last sample that were rolled up, the counter's bits.
type Remembered = (u32, i64, i64, Option<i64>);

async fn remember(connection: &mut SqliteConnection, series: &[Remembered]) -> Result<()> {
    sqlx::query(
        "INSERT INTO rolled_series (id, from_t, to_t, counter)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE true
         ON CONFLICT (id) DO UPDATE SET from_t = min(from_t, excluded.from_t), to_t = max(to_t, excluded.to_t),
                                        counter = coalesce(excluded.counter, counter)",
    )
    .bind(serde_json::to_string(series)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// From here on the parts count and the pages they were made of are gone: all or nothing.
pub(super) async fn publish(
    connection: &mut SqliteConnection,
    parts: &[Part],
    seen: &[Seen],
    pages: &[i64],
) -> Result<()> {
    let ids: Vec<i64> = parts.iter().map(|p| p.id).collect();
    sqlx::query("UPDATE rollup_part SET live = 1 WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(serde_json::to_string(&ids)?)
        .execute(&mut *connection)
        .await?;
    let rows: Vec<Remembered> =
        seen.iter().map(|s| (s.series, s.first, s.last, s.counter.map(|c| c.to_bits() as i64))).collect();
    remember(&mut *connection, &rows).await?;
    let gone = sqlx::query("DELETE FROM page WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(serde_json::to_string(pages)?)
        .execute(connection)
        .await?;
    if gone.rows_affected() == pages.len() as u64 {
        return Ok(());
    }
    Err(StoreError::Database("samples changed while they were rolled up; they stay until the next round".into()))
}

/// Deletes what a roll that did not come to its end has left.
pub(super) async fn discard_unfinished(connection: &mut SqliteConnection) -> Result<()> {
    sqlx::query("DELETE FROM rollup WHERE part IN (SELECT id FROM rollup_part WHERE live = 0)")
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM rollup_part WHERE live = 0").execute(connection).await?;
    Ok(())
}

pub(in crate::store::samples) async fn drop_day(connection: &mut SqliteConnection, day: i64) -> Result<()> {
    sqlx::query("DELETE FROM rollup WHERE part IN (SELECT id FROM rollup_part WHERE day = ?1)")
        .bind(day)
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM rollup_part WHERE day = ?1").bind(day).execute(connection).await?;
    Ok(())
}

/// Where the counters of these series stood when they were rolled up last.
pub(super) async fn counters(connection: &mut SqliteConnection, series: &[u32]) -> Result<HashMap<u32, f64>> {
    let known: Vec<(u32, i64)> = sqlx::query_as(
        "SELECT id, counter FROM rolled_series
         WHERE id IN (SELECT value FROM json_each(?1)) AND counter IS NOT NULL",
    )
    .bind(serde_json::to_string(series)?)
    .fetch_all(connection)
    .await?;
    Ok(known.into_iter().map(|(id, bits)| (id, f64::from_bits(bits as u64))).collect())
}

/// What memory needs of all parts: which there are, and up to when the samples of a series are rolled up.
pub(in crate::store::samples) async fn read_all(
    connection: &mut SqliteConnection,
    take: &mut impl FnMut(Result<Item>) -> Result<()>,
) -> Result<()> {
    let mut rows = sqlx::query_as::<_, (i64, i64, String, String, i64)>(
        "SELECT id, day, first, last, bytes FROM rollup_part WHERE live = 1 ORDER BY id",
    )
    .fetch(&mut *connection);
    while let Some((id, day, first, last, bytes)) = rows.try_next().await? {
        take(Ok(Item::Rollup(Part { id, day, first, last, bytes: bytes as u64 })))?;
    }
    drop(rows);
    let mut rows = sqlx::query_as("SELECT id, to_t FROM rolled_series").fetch(connection);
    while let Some((series, to)) = rows.try_next().await? {
        take(Ok(Item::RolledTo(series, to)))?;
    }
    Ok(())
}

/// Shows a part to readers.
pub(in crate::store::samples) fn add(index: &mut Index, parts: &[Part]) {
    parts.iter().for_each(|part| index.rollups.insert(part.clone()));
}

type Carried = Vec<(i64, i64, Vec<u8>, i64, i64, Vec<u8>)>;

/// Takes parts over from a damaged file, under their numbers, and what is known of their series. A part that is not whole
/// would be read wrongly: it is left behind. Gives back those that came over.
pub(in crate::store::samples) async fn carry_over(
    old: &mut SqliteConnection,
    new: &crate::store::db::Db,
    parts: &Rollups,
) -> Result<Vec<Part>> {
    let rows = sqlx::query_as("SELECT id, from_t, to_t, counter FROM rolled_series").fetch_all(&mut *old).await;
    let seen: Vec<Remembered> = rows.unwrap_or_default();
    new.write(move |c| Box::pin(async move { remember(c, &seen).await })).await?;
    let mut kept = Vec::new();
    for part in parts.all() {
        let Ok(rows) = whole(old, part.id).await else { continue };
        let written = part.clone();
        new.write(move |c| Box::pin(async move { restore(c, &written, &rows).await })).await?;
        kept.push(part.clone());
    }
    Ok(kept)
}

async fn whole(old: &mut SqliteConnection, part: i64) -> Result<Carried> {
    let rows: Carried = sqlx::query_as(
        "SELECT resolution_ms, field, directory, directory_crc, crc, body FROM rollup WHERE part = ?1 ORDER BY id",
    )
    .bind(part)
    .fetch_all(old)
    .await?;
    let bytes: usize = rows.iter().map(|r| r.2.len() + r.5.len()).sum();
    let sound = |blob: &[u8], crc: i64| i64::from(crc32fast::hash(blob)) == crc;
    match bytes > 0 && rows.iter().all(|r| sound(&r.2, r.3) && sound(&r.5, r.4)) {
        true => Ok(rows),
        false => Err(StoreError::corrupt(format!("part {part} of the rollups"))),
    }
}

async fn restore(connection: &mut SqliteConnection, part: &Part, rows: &Carried) -> Result<()> {
    sqlx::query("INSERT INTO rollup_part (id, day, first, last, bytes, live) VALUES (?1, ?2, ?3, ?4, ?5, 1)")
        .bind(part.id)
        .bind(part.day)
        .bind(&part.first)
        .bind(&part.last)
        .bind(part.bytes as i64)
        .execute(&mut *connection)
        .await?;
    for (resolution, field, directory, directory_crc, crc, body) in rows {
        insert(connection, part.id, (*resolution, *field), (directory, *directory_crc), (body, *crc)).await?;
    }
    Ok(())
}

/// A row's directory or body, when it matches its checksum.
pub(super) fn checked(row: &sqlx::sqlite::SqliteRow, blob: &str, crc: &str) -> Result<Vec<u8>> {
    let bytes: Vec<u8> = row.try_get(blob)?;
    if i64::from(crc32fast::hash(&bytes)) == row.try_get::<i64, _>(crc)? {
        return Ok(bytes);
    }
    let id: i64 = row.try_get("id")?;
    Err(StoreError::corrupt(format!("the {blob} of rollup {id} does not match its checksum")))
}
