//! Rollups of the series that a scan found: directories and bodies are read from the file for the query, bucket by bucket
//! they are put together series by series.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::TryStreamExt;
use sqlx::{Row as _, SqliteConnection};

use super::file::{checked, counters};
use super::pack::{code, restore_increases};
use crate::domain::metric::{Columns, ReadError};
use crate::domain::rollup::{Field, RolledReader, RolledScan, Wanted};
use crate::store::StoreError;
use crate::store::samples::batch::Damaged;
use crate::store::samples::page::{Directory, Reader};
use crate::store::samples::splice::Loaded;
use crate::store::samples::storage;

/// What a part has for a query, by field.
struct Piece {
    part: i64,
    fields: [Option<Loaded>; 6],
}

impl Piece {
    fn of(&self, field: Field) -> Option<&Loaded> {
        self.fields[code(field)].as_ref()
    }
}

/// See [`RolledScan`].
pub(in crate::store::samples) struct Rolled {
    pub until: i64,
    pub wanted: Option<Wanted>,
    /// Series by their numbers in the scan.
    pub series: Vec<u32>,
    /// By day and part.
    pieces: Vec<Piece>,
    /// Of series, at `until`.
    counters: HashMap<u32, f64>,
    /// Ends of buckets, the first excluded.
    pub range: (i64, i64),
    pub limit: usize,
    /// Values there may be.
    pub bound: usize,
    /// Values, by all readers.
    read: AtomicUsize,
}

impl Rolled {
    /// Nothing but up to where there are some.
    pub fn known(until: i64, range: (i64, i64), limit: usize) -> Rolled {
        let (wanted, bound, read) = (None, 0, AtomicUsize::new(0));
        let (series, pieces, counters) = Default::default();
        Rolled { until, wanted, series, pieces, counters, range, limit, bound, read }
    }
}

/// Adds what these parts have for the series of `rolled`. A part that is not there any more was dropped meanwhile, for its
/// age.
pub(in crate::store::samples) async fn load(
    connection: &mut SqliteConnection,
    rolled: &mut Rolled,
    parts: &[i64],
    wanted: Wanted,
) -> Result<(), ReadError> {
    let mut ids = rolled.series.clone();
    ids.sort_unstable();
    let mut found = directories(connection, parts, wanted).await.map_err(storage)?;
    found.retain(|_, (_, _, directory)| {
        let before = rolled.bound;
        directory.each(&ids, rolled.range, |_, place| rolled.bound += directory.count(place) as usize);
        rolled.bound > before
    });
    if rolled.bound > rolled.limit {
        return Err(ReadError::TooManySamples { limit: rolled.limit });
    }
    let mut pieces: Vec<Piece> = parts.iter().map(|part| Piece { part: *part, fields: Default::default() }).collect();
    let at: HashMap<i64, usize> = parts.iter().enumerate().map(|(at, part)| (*part, at)).collect();
    let bodies = bodies(connection, found.keys().copied().collect()).await.map_err(storage)?;
    for (id, body) in bodies {
        let Some((part, field, directory)) = found.remove(&id) else { continue };
        if let Some(slot) = at.get(&part).and_then(|at| pieces[*at].fields.get_mut(field)) {
            *slot = Some((directory, Arc::new(body)));
        }
    }
    pieces.retain(|piece| piece.of(Field::Last).is_some());
    (rolled.pieces, rolled.wanted) = (pieces, Some(wanted));
    if wanted.fields.contains(&Field::Increase) {
        rolled.counters = counters(connection, &ids).await.map_err(storage)?;
    }
    Ok(())
}

/// By row: part, field, directory.
type Directories = HashMap<i64, (i64, usize, Arc<Directory>)>;

async fn directories(
    connection: &mut SqliteConnection,
    parts: &[i64],
    wanted: Wanted,
) -> Result<Directories, StoreError> {
    let mut fields: Vec<usize> = wanted.fields.iter().map(|f| code(*f)).collect();
    fields.push(code(Field::Last));
    let mut rows = sqlx::query(
        "SELECT id, part, field, directory, directory_crc FROM rollup
         WHERE part IN (SELECT value FROM json_each(?1)) AND resolution_ms = ?2
           AND field IN (SELECT value FROM json_each(?3))",
    )
    .bind(serde_json::to_string(parts)?)
    .bind(wanted.resolution.ms())
    .bind(serde_json::to_string(&fields)?)
    .fetch(connection);
    let mut found = Directories::new();
    while let Some(row) = rows.try_next().await? {
        let (id, part, field): (i64, i64, i64) = (row.try_get("id")?, row.try_get("part")?, row.try_get("field")?);
        let directory = Directory::decode(&checked(&row, "directory", "directory_crc")?)
            .map_err(|e| StoreError::corrupt(format!("rollup {id}: {e}")))?;
        found.insert(id, (part, field as usize, Arc::new(directory)));
    }
    Ok(found)
}

async fn bodies(connection: &mut SqliteConnection, ids: Vec<i64>) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
    let mut rows = sqlx::query("SELECT id, crc, body FROM rollup WHERE id IN (SELECT value FROM json_each(?1))")
        .bind(serde_json::to_string(&ids)?)
        .fetch(connection);
    let mut found = Vec::with_capacity(ids.len());
    while let Some(row) = rows.try_next().await? {
        found.push((row.try_get("id")?, checked(&row, "body", "crc")?));
    }
    Ok(found)
}

impl RolledScan for Rolled {
    fn until(&self) -> i64 {
        self.until
    }
    fn wanted(&self) -> Option<Wanted> {
        self.wanted
    }
    fn counter(&self, nth: usize) -> Option<f64> {
        self.series.get(nth).and_then(|series| self.counters.get(series)).copied()
    }
    fn reader(&self) -> Box<dyn RolledReader + '_> {
        let readers = self.pieces.iter().map(|_| Default::default()).collect();
        Box::new(PieceReader { rolled: self, readers, ends: HashMap::new(), values: Vec::new(), told: Vec::new() })
    }
}

struct PieceReader<'r> {
    rolled: &'r Rolled,
    readers: Vec<[Reader; 6]>,
    /// Of columns that stand together: by piece, field and group.
    ends: HashMap<(usize, Field, u32), Rc<Vec<i64>>>,
    values: Vec<f64>,
    told: Vec<(i64, f64)>,
}

impl RolledReader for PieceReader<'_> {
    fn read(&mut self, nth: usize, field: Field, columns: &mut Columns) -> Result<(), ReadError> {
        let (rolled, series) = (self.rolled, self.rolled.series.get(nth).copied().unwrap_or(0));
        let mut points = Vec::new();
        for (at, piece) in rolled.pieces.iter().enumerate() {
            let broken = |e: Damaged| ReadError::Storage(format!("part {} of the rollups: {e}", piece.part));
            self.piece(at, series, field, &mut points).map_err(broken)?;
        }
        points.retain(|(end, _)| *end > rolled.range.0 && *end <= rolled.range.1);
        if !points.is_sorted_by(|a, b| a.0 < b.0) {
            join(&mut points, field);
        }
        if rolled.read.fetch_add(points.len(), Relaxed) + points.len() > rolled.limit {
            return Err(ReadError::TooManySamples { limit: rolled.limit });
        }
        columns.set(points.iter().copied());
        Ok(())
    }
}

impl PieceReader<'_> {
    /// What `pack.rs` left out comes back.
    fn piece(&mut self, at: usize, series: u32, field: Field, out: &mut Vec<(i64, f64)>) -> Result<(), Damaged> {
        match field {
            Field::Count | Field::Sum | Field::Last => self.column(at, series, field, out)?,
            Field::Min | Field::Max => {
                let before = out.len();
                self.column(at, series, field, out)?;
                if out.len() == before {
                    self.column(at, series, Field::Last, out)?;
                }
            }
            Field::Increase => {
                let before = out.len();
                self.column(at, series, Field::Last, out)?;
                let mut told = std::mem::take(&mut self.told);
                told.clear();
                self.column(at, series, Field::Increase, &mut told)?;
                restore_increases(&mut out[before..], &told);
                self.told = told;
            }
        }
        Ok(())
    }

    /// Appends what is stored, if there is any.
    fn column(&mut self, at: usize, series: u32, field: Field, out: &mut Vec<(i64, f64)>) -> Result<(), Damaged> {
        let Some((directory, body)) = self.rolled.pieces[at].of(field) else { return Ok(()) };
        for place in directory.find(series, i64::MIN, i64::MAX) {
            let key = (at, field, place.group);
            let ends = match self.ends.get(&key) {
                Some(known) => known.clone(),
                None => {
                    let ends = Rc::new(directory.times(body, place.group)?);
                    self.ends.insert(key, ends.clone());
                    ends
                }
            };
            self.values.clear();
            self.readers[at][code(field)].read(directory, body, place, 0..ends.len(), &mut self.values)?;
            out.extend(ends.iter().copied().zip(self.values.iter().copied()));
        }
        Ok(())
    }
}

/// Each bucket once: one that ends at midnight, or of a day that was rolled up twice, comes from two parts.
fn join(points: &mut Vec<(i64, f64)>, field: Field) {
    points.sort_by_key(|p| p.0);
    points.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 = field.combine(earlier.1, later.1);
        }
        same
    });
}
