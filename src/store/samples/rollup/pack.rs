//! A part as rows of the file: one for each resolution and field. What `last` says already is left out: a least or greatest
//! value that is the last one in every bucket, and an increase that is the difference to the bucket before. Of a counter
//! that is never reset, one increase a day remains. Pure.

use crate::domain::metric::Labels;
use crate::domain::rollup::{Bucket, Field, Resolution};
use crate::store::samples::batch::Point;
use crate::store::samples::page::{Strand, build};

/// One series' day.
pub(super) struct Day {
    pub series: u32,
    pub labels: Labels,
    /// Of its samples, in milliseconds.
    pub first: i64,
    pub last: i64,
    /// Where a counter stands at its end.
    pub counter: Option<f64>,
    /// By resolution, in the order of [`Resolution::ALL`].
    pub buckets: [Vec<Bucket>; 2],
}

/// One row of `rollup`.
pub(super) struct Row {
    pub resolution: Resolution,
    pub field: Field,
    pub directory: Vec<u8>,
    pub body: Vec<u8>,
}

/// As the file names a field.
pub(super) fn code(field: Field) -> usize {
    match field {
        Field::Count => 0,
        Field::Sum => 1,
        Field::Min => 2,
        Field::Max => 3,
        Field::Last => 4,
        Field::Increase => 5,
    }
}

pub(super) fn rows(days: &[Day]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (nth, resolution) in Resolution::ALL.into_iter().enumerate() {
        for field in Field::ALL {
            let strand = |day: &Day| {
                let points = points(field, &day.buckets[nth]);
                (!points.is_empty()).then(|| Strand { series: day.series, labels: day.labels.clone(), points })
            };
            let strands: Vec<Strand> = days.iter().filter_map(strand).collect();
            if !strands.is_empty() {
                let (directory, body) = build(strands);
                rows.push(Row { resolution, field, directory: directory.encode(), body });
            }
        }
    }
    rows
}

fn points(field: Field, buckets: &[Bucket]) -> Vec<Point> {
    let point = |b: &Bucket| (b.end, b.get(field).to_bits());
    let all = || buckets.iter().map(point).collect::<Vec<Point>>();
    match field {
        Field::Count | Field::Sum | Field::Last => all(),
        Field::Min | Field::Max if buckets.iter().all(|b| b.get(field).to_bits() == b.last.to_bits()) => Vec::new(),
        Field::Min | Field::Max => all(),
        Field::Increase => {
            let told = |at: usize| at > 0 && difference(&buckets[at - 1], &buckets[at]) == point(&buckets[at]).1;
            let untold: Vec<Point> = (0..buckets.len()).filter(|at| !told(*at)).map(|at| point(&buckets[at])).collect();
            // Times of its own cost more than values that others share the times of.
            if untold.len() > buckets.len() / 2 { all() } else { untold }
        }
    }
}

fn difference(before: &Bucket, bucket: &Bucket) -> u64 {
    (bucket.last - before.last).to_bits()
}

/// The increases that [`points`] left out, from the `last` of all buckets, in place of those; `told` ascends.
pub(super) fn restore_increases(last: &mut [(i64, f64)], told: &[(i64, f64)]) {
    let (mut before, mut told) = (None, told.iter().peekable());
    for (end, value) in last {
        let now = *value;
        // The first of a part is always told.
        *value = before.map_or(0.0, |before| now - before);
        before = Some(now);
        while told.peek().is_some_and(|t| t.0 < *end) {
            told.next();
        }
        if let Some((_, increase)) = told.next_if(|t| t.0 == *end) {
            *value = *increase;
        }
    }
}
