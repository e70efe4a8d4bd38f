//! One series out of its columns in several pages and its head. Pure.
//!
//! Series that were scraped together have the same times everywhere: those are put together once and shared.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::batch::{Damaged, Point};
use super::page::{Directory, Place, Reader};
use crate::domain::metric::Columns;

/// A page with the bytes that its directory speaks of.
pub(super) type Loaded = (Arc<Directory>, Arc<Vec<u8>>);

/// More than a query over many targets needs at once; each holds the times of a series.
const SHAPES_MAX: usize = 64;

/// Which columns follow each other: (position of the page, its group).
type Parts = Vec<(usize, u32)>;

/// The times of series that have the same parts.
struct Shape {
    /// Rows of each part that lie in the range.
    rows: Vec<Range<usize>>,
    sealed: Arc<Vec<i64>>,
    /// With those of the head that was seen last.
    whole: Arc<Vec<i64>>,
    /// Parts of one series do not overlap, unless a compaction was interrupted: then they agree.
    ascending: bool,
}

/// Unpacks series for one thread.
pub(super) struct Splicer<'p> {
    pages: &'p [Loaded],
    readers: Vec<Reader>,
    range: (i64, i64),
    shapes: HashMap<Parts, Shape>,
    parts: Parts,
}

impl<'p> Splicer<'p> {
    /// Samples outside of `range`, both ends included, are left out.
    pub fn new(pages: &'p [Loaded], range: (i64, i64)) -> Splicer<'p> {
        let readers = pages.iter().map(|_| Reader::default()).collect();
        Splicer { pages, readers, range, shapes: HashMap::new(), parts: Vec::new() }
    }

    /// Replaces `columns`. `head` lies in the range and after all pages. An error names the position of the page.
    pub fn read(
        &mut self,
        places: &[(usize, Place)],
        head: &[Point],
        columns: &mut Columns,
    ) -> Result<(), (usize, Damaged)> {
        self.parts.clear();
        self.parts.extend(places.iter().map(|(page, place)| (*page, place.group)));
        if !self.shapes.contains_key(&self.parts) {
            if self.shapes.len() == SHAPES_MAX {
                self.shapes.clear();
            }
            let shape = self.shape()?;
            self.shapes.insert(self.parts.clone(), shape);
        }
        let Some(shape) = self.shapes.get_mut(&self.parts) else { return Ok(()) };
        columns.values.clear();
        for ((page, place), rows) in places.iter().zip(&shape.rows) {
            let (directory, body) = &self.pages[*page];
            self.readers[*page]
                .read(directory, body, *place, rows.clone(), &mut columns.values)
                .map_err(|e| (*page, e))?;
        }
        let known = shape.whole.get(shape.sealed.len()..).unwrap_or_default();
        if known.len() != head.len() || known.iter().zip(head).any(|(t, point)| *t != point.0) {
            shape.whole = Arc::new(shape.sealed.iter().copied().chain(head.iter().map(|p| p.0)).collect());
        }
        columns.times = shape.whole.clone();
        columns.values.extend(head.iter().map(|p| f64::from_bits(p.1)));
        let joined = || shape.sealed.last().zip(head.first()).is_none_or(|(last, next)| *last < next.0);
        if !shape.ascending || !joined() {
            in_order(columns);
        }
        Ok(())
    }

    fn shape(&self) -> Result<Shape, (usize, Damaged)> {
        let (mut rows, mut sealed) = (Vec::with_capacity(self.parts.len()), Vec::new());
        for &(page, group) in &self.parts {
            let (directory, body) = &self.pages[page];
            let times = directory.times(body, group).map_err(|e| (page, e))?;
            let from = times.partition_point(|t| *t < self.range.0);
            let to = times.partition_point(|t| *t <= self.range.1).max(from);
            sealed.extend_from_slice(&times[from..to]);
            rows.push(from..to);
        }
        let ascending = sealed.is_sorted_by(|a, b| a < b);
        let sealed = Arc::new(sealed);
        Ok(Shape { rows, whole: sealed.clone(), sealed, ascending })
    }
}

/// Each time once, in order.
fn in_order(columns: &mut Columns) {
    let mut points: Vec<(i64, f64)> = columns.times.iter().copied().zip(columns.values.iter().copied()).collect();
    points.sort_by_key(|p| p.0);
    points.dedup_by_key(|p| p.0);
    columns.set(points.into_iter());
}
