//! The chart as text: what a screen reader, a terminal or a doubting reader gets.

use super::scale::clock_label;
use super::{LineChart, escape};
use crate::domain::clock::Timestamp;

/// Rows of a table twin: enough to follow the story, few enough to read.
const ROWS: i64 = 24;

/// Header and rows of equal length, all text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTwin {
    /// First `time` with the zone, then one column a line.
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// First, worst and last value of each line.
    pub notes: Vec<String>,
}

/// At most 24 stretches of equal length: the mean of each line, `–` where there was no data.
pub fn table(chart: &LineChart) -> TableTwin {
    let span = (chart.to.ms() - chart.from.ms()).max(1);
    let rows = ROWS.min(span);
    let edge = |i: i64| chart.from.ms() + ((span as i128 * i as i128) / rows as i128) as i64;
    let header = std::iter::once(format!("time, {}", chart.zone.name()))
        .chain(chart.lines.iter().map(|l| format!("{}, mean", l.name)))
        .collect();
    let body = (0..rows)
        .map(|i| {
            let (from, to) = (edge(i), edge(i + 1));
            let last = i == rows - 1;
            let inside = |t: Timestamp| t.ms() >= from && (t.ms() < to || (last && t.ms() <= to));
            let values = chart.lines.iter().map(|line| {
                let (n, sum) = line
                    .points
                    .iter()
                    .filter(|p| inside(p.0) && p.1.is_finite())
                    .fold((0u32, 0.0), |(n, sum), p| (n + 1, sum + p.1));
                if n == 0 { "–".to_string() } else { chart.unit.text(sum / f64::from(n)) }
            });
            std::iter::once(clock_label(Timestamp::from_ms(from), chart.zone, span)).chain(values).collect()
        })
        .collect();
    TableTwin { header, rows: body, notes: notes(chart) }
}

/// `p95: first 180 ms, highest 640 ms at 02:12, last 190 ms`, one a line.
pub(super) fn notes(chart: &LineChart) -> Vec<String> {
    let span = chart.to.ms() - chart.from.ms();
    chart
        .lines
        .iter()
        .map(|line| {
            let finite: Vec<_> = line.points.iter().filter(|p| p.1.is_finite()).collect();
            let Some(highest) = finite.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a }) else {
                return format!("{}: no data", line.name);
            };
            format!(
                "{}: first {}, highest {} at {}, last {}",
                line.name,
                chart.unit.text(finite[0].1),
                chart.unit.text(highest.1),
                clock_label(highest.0, chart.zone, span),
                chart.unit.text(finite[finite.len() - 1].1),
            )
        })
        .collect()
}

impl TableTwin {
    /// A closed `<details>` with the table.
    pub fn html(&self) -> String {
        let mut out = String::from(
            "<details class=\"hc-table\"><summary>as a table</summary><table class=\"hc-twin\"><thead><tr>",
        );
        for cell in &self.header {
            out.push_str(&format!("<th scope=\"col\">{}</th>", escape(cell)));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for cell in row {
                out.push_str(&format!("<td>{}</td>", escape(cell)));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></details>");
        out
    }
    /// Columns aligned for a terminal.
    pub fn text(&self) -> String {
        use unicode_width::UnicodeWidthStr as _;
        let all = || std::iter::once(&self.header).chain(&self.rows);
        let widths: Vec<usize> =
            (0..self.header.len()).map(|i| all().map(|r| r[i].width()).max().unwrap_or(0)).collect();
        let mut out = String::new();
        for row in all() {
            let cells = row.iter().zip(&widths).enumerate().map(|(i, (cell, width))| {
                let pad = " ".repeat(width - cell.width());
                if i == 0 { format!("{cell}{pad}") } else { format!("{pad}{cell}") }
            });
            out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            out.push('\n');
        }
        out
    }
}
