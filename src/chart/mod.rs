//! Series → SVG, text table and sparkline: one look for report, mail, launch room and terminal. Pure and deterministic.
//!
//! Must not know a store, a clock or a template. [`line`] draws one SVG, [`figure`] wraps a wide and a narrow drawing
//! with its title sentence and its table, [`table`] is the text twin. Colours are classes over the tokens of
//! [`TOKENS_CSS`], with the light values as attributes. Read `svg.rs` next.

mod decimate;
mod scale;
mod spark;
mod svg;
mod table;

use std::time::Duration;

use chrono_tz::Tz;

use crate::domain::clock::Timestamp;
use crate::domain::units;

pub use decimate::{POINTS_MAX, decimate};
pub use scale::{clock_label, day_label};
pub use spark::{spark_text, spark_text_in, sparkline_svg};
pub use svg::line;
pub use table::{TableTwin, table};

/// Custom properties and chart classes, light and dark: the one file of colours for report, mail and launch room.
pub const TOKENS_CSS: &str = include_str!("../../templates/report/tokens.css");

/// Width in px of the drawing for desks and paper; the report's column is 960 px with 28 px margins.
pub const WIDE: u32 = 904;
/// Width in px of the drawing for phones of 390 px with 16 px margins.
pub const NARROW: u32 = 358;

/// What the numbers are; decides ticks, figures and whether the axis starts at zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// Whole things.
    Count,
    /// 0 to 1, read as percent.
    Ratio,
    /// Seconds, read as ms below one second.
    Seconds,
    Bytes,
    /// `req/s`, `items`.
    Other(String),
}

impl Unit {
    /// Figure and unit apart, so that the unit can be set softer: `("640", "ms")`. The figure of no data is `–`.
    pub fn split(&self, value: f64) -> (String, String) {
        if !value.is_finite() {
            return ("–".into(), String::new());
        }
        match self {
            Unit::Count => (units::number(value), String::new()),
            Unit::Ratio => (percent_figure(value), "%".into()),
            Unit::Seconds if value == 0.0 => ("0".into(), "ms".into()),
            Unit::Seconds if value.abs() < 0.9995 => (figure3(value * 1000.0), "ms".into()),
            Unit::Seconds => (figure3(value), "s".into()),
            Unit::Bytes => {
                let text = units::bytes(value);
                let (n, u) = text.split_once(' ').unwrap_or((&text, ""));
                (n.into(), u.into())
            }
            Unit::Other(unit) => (figure3(value), unit.clone()),
        }
    }
    /// `640 ms`, `12.4 %`.
    pub fn text(&self, value: f64) -> String {
        let (n, u) = self.split(value);
        if u.is_empty() { n } else { format!("{n} {u}") }
    }
    /// Factor and name of the axis whose largest value is `max`.
    fn axis(&self, max: f64) -> (f64, String) {
        match self {
            Unit::Count => (1.0, String::new()),
            Unit::Ratio => (100.0, "%".into()),
            Unit::Seconds if max < 2.0 => (1000.0, "ms".into()),
            Unit::Seconds => (1.0, "s".into()),
            Unit::Bytes => {
                let steps =
                    [(1024f64.powi(4), "TiB"), (1024f64.powi(3), "GiB"), (1024f64.powi(2), "MiB"), (1024.0, "KiB")];
                let (size, name) = steps.into_iter().find(|(s, _)| max >= *s).unwrap_or((1.0, "B"));
                (1.0 / size, name.into())
            }
            Unit::Other(unit) => (1.0, unit.clone()),
        }
    }
}

/// Three significant digits, more only for whole numbers: what an eye takes in at once.
fn figure3(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    units::group_thousands(text)
}

/// Percent with care near 100: 99.95 % must not become 100 %.
fn percent_figure(ratio: f64) -> String {
    let p = ratio * 100.0;
    if p > 99.0 && p < 100.0 {
        let missing = 100.0 - p;
        let digits = (1 - missing.log10().floor() as i32).clamp(1, 6) as usize;
        // Cut, not rounded: 99.9999 % of a thing that is not whole never reads as whole.
        let scale = 10f64.powi(digits as i32);
        let text = format!("{:.digits$}", (p * scale + 1e-6).floor() / scale);
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    figure3(p)
}

/// One line of a chart, ascending in time. NaN is a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    pub points: Vec<(Timestamp, f64)>,
}

/// What was normal: drawn behind the lines over the whole width.
#[derive(Debug, Clone, PartialEq)]
pub struct Band {
    pub low: f64,
    pub high: f64,
    /// `normal 160–210 ms`.
    pub label: String,
}

/// A vertical hairline with a flag: go-live, deploy, rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub at: Timestamp,
    pub label: String,
}

/// Colour and word of a bar in the alert strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    Info,
    Warning,
    Critical,
}

/// A bar under the time axis; bars of one name share a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    pub from: Timestamp,
    pub to: Timestamp,
    pub name: String,
    pub tone: Tone,
}

/// One chart, one message.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// The message as a sentence: `p95 rose from 180 to 640 ms at 02:12`.
    pub title: String,
    pub unit: Unit,
    pub from: Timestamp,
    pub to: Timestamp,
    /// In which people read the time axis.
    pub zone: Tz,
    /// The first is the one that matters. At most four are drawn.
    pub lines: Vec<Line>,
    pub baseline: Option<Band>,
    /// Value and label of the dashed line.
    pub objective: Option<(f64, String)>,
    pub marks: Vec<Mark>,
    pub alerts: Vec<Bar>,
    /// Hatched.
    pub maintenance: Vec<(Timestamp, Timestamp)>,
    /// Points further apart than 2.5 steps are not joined.
    pub step: Duration,
    /// Logarithmic y axis (it says so); needs positive values.
    pub log: bool,
    /// px; see [`WIDE`] and [`NARROW`].
    pub width: u32,
    pub height: u32,
    /// Room left and right of the plot that is kept at least, px; see [`align`].
    pub gutters: Gutters,
}

/// Least room beside the plot, (left, right) px.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gutters {
    pub wide: (f64, f64),
    pub narrow: (f64, f64),
}

/// Gives all charts of a page the same plot, so that equal instants stand under each other.
pub fn align<'a>(charts: impl IntoIterator<Item = &'a mut LineChart>) {
    let mut charts: Vec<&mut LineChart> = charts.into_iter().collect();
    let most = |width: u32| {
        charts
            .iter()
            .map(|c| svg::gutters(&c.sized(width, 240)))
            .fold((0.0f64, 0.0f64), |a, b| (a.0.max(b.0), a.1.max(b.1)))
    };
    let gutters = Gutters { wide: most(WIDE), narrow: most(NARROW) };
    for chart in &mut charts {
        chart.gutters = gutters;
    }
}

impl LineChart {
    /// An empty chart of the usual size.
    pub fn new(title: impl Into<String>, unit: Unit, from: Timestamp, to: Timestamp, zone: Tz) -> LineChart {
        LineChart {
            title: title.into(),
            unit,
            from,
            to: to.max(from.plus(Duration::from_millis(1))),
            zone,
            lines: Vec::new(),
            baseline: None,
            objective: None,
            marks: Vec::new(),
            alerts: Vec::new(),
            maintenance: Vec::new(),
            step: Duration::from_secs(60),
            log: false,
            width: WIDE,
            height: 240,
            gutters: Gutters::default(),
        }
    }
    /// The same chart in another size.
    pub fn sized(&self, width: u32, height: u32) -> LineChart {
        LineChart { width, height, ..self.clone() }
    }
}

/// `<figure>`: the title sentence, a wide and a narrow drawing (CSS shows one), and the table behind `<details>`.
/// Safe to put into a page as it is.
pub fn figure(chart: &LineChart) -> String {
    let wide = line(&chart.sized(WIDE, 240)).replacen("<svg ", "<svg class=\"wide\" ", 1);
    let narrow = line(&chart.sized(NARROW, 220)).replacen("<svg ", "<svg class=\"narrow\" ", 1);
    format!(
        "<figure class=\"hc-chart\"><figcaption>{}</figcaption>{wide}{narrow}{}</figure>",
        escape(&chart.title),
        table(chart).html()
    )
}

/// For text and attribute values in HTML and SVG. Control characters go, as XML does not allow them.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || is_bidi(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Characters that turn the direction of text: a label must not reorder its neighbours.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        for (unit, value, text) in [
            (Unit::Seconds, 0.64, "640 ms"),
            (Unit::Seconds, 1.2345, "1.23 s"),
            (Unit::Seconds, 0.0, "0 ms"),
            (Unit::Ratio, 0.1234, "12.3 %"),
            (Unit::Ratio, 0.9995, "99.95 %"),
            (Unit::Ratio, 0.99999, "99.999 %"),
            (Unit::Ratio, 1.0, "100 %"),
            (Unit::Ratio, 0.0, "0 %"),
            (Unit::Count, 1234.0, "1,234"),
            (Unit::Other("req/s".into()), 12345.6, "12,346 req/s"),
            (Unit::Bytes, 1572864.0, "1.5 MiB"),
            (Unit::Seconds, f64::NAN, "–"),
        ] {
            assert_eq!(unit.text(value), text);
        }
    }

    #[test]
    fn what_comes_from_outside_is_text() {
        assert_eq!(escape("<b onx=\"1\">&'\u{1b}[31m\u{202e}\0"), "&lt;b onx=&quot;1&quot;&gt;&amp;&#39;[31m");
    }
}
