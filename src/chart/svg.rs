//! One line chart as one SVG. Colours are classes over `tokens.css` with the light values as attributes, so that the
//! drawing follows the page's theme inside HTML and still stands alone as a file.

use std::fmt::Write as _;
use std::time::Duration;

use super::decimate::{POINTS_MAX, decimate};
use super::scale::{clock_label, log_ticks, nice_ticks, time_ticks};
use super::table::notes;
use super::{LineChart, Tone, escape};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;

/// Average advance of a 13 px system font; SVG text cannot be measured without a font, so room is reserved by it.
const GLYPH: f64 = 6.8;
const LANE: f64 = 17.0;
const LANES_MAX: usize = 4;
const LINES_MAX: usize = 4;
/// Lines break where points are further apart than this many steps: nothing is drawn over a gap.
const GAP_STEPS: f64 = 2.5;
/// An objective this many times above the data would flatten them: it is then told in words at the axis.
const OBJECTIVE_REACH: f64 = 3.0;

const STROKES: [(&str, &str, &str); LINES_MAX] =
    [("c-s1", "#2457d6", ""), ("c-s2", "#d9730d", ""), ("c-s3", "#7b8594", ""), ("c-s4", "#14181f", "2 3")];
const FILLS: [(&str, &str); LINES_MAX] =
    [("c-f1", "#2457d6"), ("c-f2", "#b85f00"), ("c-f3", "#5d6673"), ("c-f4", "#14181f")];

/// Where things are, px.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    from: i64,
    span: f64,
    low: f64,
    high: f64,
    factor: f64,
    log: bool,
}

impl Plot {
    fn x(&self, t: Timestamp) -> f64 {
        let share = (t.ms() - self.from) as f64 / self.span;
        self.left + (self.right - self.left) * share.clamp(0.0, 1.0)
    }
    /// Of a value in axis units.
    fn y(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.bottom - (self.bottom - self.top) * share.clamp(0.0, 1.0)
    }
}

/// The chart as SVG text: `role="img"` with a label that tells the message. The visible title is the page's
/// (see [`super::figure`]), where it can wrap.
pub fn line(chart: &LineChart) -> String {
    let lanes = lanes(chart);
    let mark_rows = mark_rows(chart);
    let (plot, ticks, axis_unit, objective_shown) = layout(chart, mark_rows.height, lanes.len());
    let height = plot.bottom + 24.0 + lanes.len() as f64 * LANE + if lanes.is_empty() { 0.0 } else { 6.0 };
    let label = std::iter::once(chart.title.clone()).chain(notes(chart)).collect::<Vec<_>>().join(". ");
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" width=\"{}\" height=\"{}\" role=\"img\" \
         aria-label=\"{}\" font-family=\"system-ui, sans-serif\" font-size=\"13\">",
        chart.width,
        px(height),
        chart.width,
        px(height),
        escape(&label)
    );
    grounds(&mut svg, chart, &plot);
    grid(&mut svg, chart, &plot, &ticks);
    if let (Some((value, text)), true) = (&chart.objective, objective_shown) {
        dashed(&mut svg, &plot, *value, text);
    }
    marks(&mut svg, chart, &plot, &mark_rows);
    head(&mut svg, chart, &plot, &axis_unit, objective_shown);
    lines(&mut svg, chart, &plot);
    strip(&mut svg, chart, &plot, &lanes);
    svg.push_str("</svg>");
    svg
}

/// One decimal of a pixel; never `-0`.
fn px(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".into() } else { text.to_string() }
}

fn text(svg: &mut String, class: &str, fill: &str, anchor: &str, x: f64, y: f64, words: &str) {
    let anchor = if anchor == "start" { String::new() } else { format!(" text-anchor=\"{anchor}\"") };
    let _ = write!(
        svg,
        "<text class=\"{class}\" fill=\"{fill}\" x=\"{}\" y=\"{}\"{anchor}>{}</text>",
        px(x),
        px(y),
        escape(words)
    );
}

/// Text with an outline of the ground, so that it stays readable over lines.
fn haloed(svg: &mut String, class: &str, fill: &str, anchor: &str, x: f64, y: f64, words: &str) {
    let _ = write!(
        svg,
        "<text class=\"c-halo\" stroke=\"#ffffff\" fill=\"none\" stroke-width=\"4\" stroke-linejoin=\"round\" x=\"{}\" y=\"{}\" \
         text-anchor=\"{anchor}\" aria-hidden=\"true\">{}</text>",
        px(x),
        px(y),
        escape(words)
    );
    text(svg, class, fill, anchor, x, y, words);
}

fn clip(words: &str, room: f64) -> String {
    let fits = (room / GLYPH).max(1.0) as usize;
    if words.chars().count() <= fits {
        return words.to_string();
    }
    words.chars().take(fits.saturating_sub(1)).chain(['…']).collect()
}

fn layout(chart: &LineChart, marks_height: f64, lanes: usize) -> (Plot, Vec<f64>, String, bool) {
    let values = || chart.lines.iter().flat_map(|l| &l.points).map(|p| p.1).filter(|v| v.is_finite());
    let band = chart.baseline.as_ref().filter(|b| b.low.is_finite() && b.high.is_finite());
    let data_high = values().chain(band.map(|b| b.high)).fold(f64::NEG_INFINITY, f64::max);
    let data_low = values().chain(band.map(|b| b.low)).fold(f64::INFINITY, f64::min);
    let goal = chart.objective.as_ref().map(|o| o.0).filter(|v| v.is_finite());
    let objective_shown =
        goal.is_some_and(|g| !data_high.is_finite() || data_high <= 0.0 || g <= data_high * OBJECTIVE_REACH);
    let shown_goal = goal.filter(|_| objective_shown);
    let mut high = shown_goal.map_or(data_high, |g| data_high.max(g));
    if !high.is_finite() || high <= 0.0 {
        // Nothing, or all zero: an axis from zero to one unit of the thing.
        high = if chart.unit == super::Unit::Ratio { 0.01 } else { 1.0 };
    }
    let low_seen = shown_goal.map_or(data_low, |g| data_low.min(g));
    let log = chart.log && low_seen > 0.0 && low_seen.is_finite();
    let (factor, unit) = chart.unit.axis(high);
    let ticks = if log {
        log_ticks(low_seen * factor, high * factor)
    } else {
        nice_ticks(low_seen.min(0.0) * factor, high * factor)
    };
    let tick_width = ticks.iter().map(|t| tick(*t).chars().count()).max().unwrap_or(1) as f64 * GLYPH;
    let wide = chart.width >= 600;
    let ends = chart.lines.iter().take(LINES_MAX).map(|l| end_label(chart, l, wide).chars().count()).max().unwrap_or(0);
    let plot_top = 24.0 + marks_height;
    let strip = lanes as f64 * LANE + if lanes > 0 { 6.0 } else { 0.0 };
    let least = if wide { chart.gutters.wide } else { chart.gutters.narrow };
    let plot = Plot {
        left: (tick_width.max(14.0) + 8.0).max(least.0),
        right: f64::from(chart.width) - (if ends == 0 { 6.0 } else { ends as f64 * GLYPH + 12.0 }).max(least.1),
        top: plot_top,
        bottom: (f64::from(chart.height) - 24.0 - strip * 0.4).max(plot_top + 80.0),
        from: chart.from.ms(),
        span: (chart.to.ms() - chart.from.ms()).max(1) as f64,
        low: ticks.first().copied().unwrap_or(0.0),
        high: ticks.last().copied().unwrap_or(1.0),
        factor,
        log,
    };
    let unit = match (log, unit.is_empty()) {
        (true, _) => format!("{unit}, log scale"),
        (false, _) => unit,
    };
    (plot, ticks, unit, objective_shown)
}

/// Room that the chart takes left and right of its plot.
pub(super) fn gutters(chart: &LineChart) -> (f64, f64) {
    let (plot, ..) = layout(chart, 0.0, 0);
    (plot.left, f64::from(chart.width) - plot.right)
}

fn tick(value: f64) -> String {
    crate::domain::units::number(value)
}

/// `p95 640 ms` on wide drawings, `p95` on narrow ones.
fn end_label(chart: &LineChart, line: &super::Line, wide: bool) -> String {
    let last = line.points.iter().rev().find(|p| p.1.is_finite());
    match last {
        Some(last) if wide => clip(&format!("{} {}", line.name, chart.unit.text(last.1)), 26.0 * GLYPH),
        _ => clip(&line.name, if wide { 20.0 } else { 8.0 } * GLYPH),
    }
}

/// Baseline band, gaps, maintenance: behind everything.
fn grounds(svg: &mut String, chart: &LineChart, plot: &Plot) {
    let tall = px(plot.bottom - plot.top);
    for (from, to) in gaps(chart) {
        let (a, b) = (plot.x(from), plot.x(to));
        if b - a < 2.0 {
            continue;
        }
        let _ = write!(
            svg,
            "<rect class=\"c-gap\" fill=\"#f6f7f9\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{tall}\"/>",
            px(a),
            px(plot.top),
            px(b - a)
        );
        if b - a > 8.0 * GLYPH {
            text(svg, "c-faint", "#7b8594", "middle", (a + b) / 2.0, (plot.top + plot.bottom) / 2.0, "no data");
        }
    }
    if let Some(band) = chart.baseline.as_ref().filter(|b| b.low.is_finite() && b.high.is_finite()) {
        let (top, bottom) = (plot.y(band.high * plot.factor), plot.y(band.low * plot.factor));
        // A band of no width is still drawn: what was normal was then one value.
        let (top, bottom) = if bottom - top < 3.0 { (top - 1.5, top + 1.5) } else { (top, bottom) };
        let _ = write!(
            svg,
            "<rect class=\"c-band\" fill=\"#2457d6\" fill-opacity=\"0.12\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            px(plot.left),
            px(top),
            px(plot.right - plot.left),
            px(bottom - top)
        );
    }
    if !chart.maintenance.is_empty() {
        let id = format!(
            "h{}",
            &sha256_hex(format!("{}\0{}\0{}", chart.title, chart.width, chart.from.ms()).as_bytes())[..12]
        );
        let _ = write!(
            svg,
            "<defs><pattern id=\"{id}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <path class=\"c-hatch\" stroke=\"#7b8594\" stroke-width=\"1\" d=\"M0 0V6\"/></pattern></defs>"
        );
        for (from, to) in &chart.maintenance {
            let (a, b) = (plot.x(*from), plot.x(*to));
            let _ = write!(
                svg,
                "<rect fill=\"url(#{id})\" opacity=\".5\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{tall}\"><title>maintenance</title></rect>",
                px(a),
                px(plot.top),
                px((b - a).max(1.0))
            );
        }
    }
}

/// Stretches inside the window without a point of any line, longer than the tolerance.
fn gaps(chart: &LineChart) -> Vec<(Timestamp, Timestamp)> {
    let mut times: Vec<Timestamp> =
        chart.lines.iter().flat_map(|l| &l.points).filter(|p| p.1.is_finite()).map(|p| p.0).collect();
    times.sort_unstable();
    let tolerance = chart.step.mul_f64(GAP_STEPS);
    let mut found = Vec::new();
    let mut last = chart.from;
    for t in times.into_iter().chain([chart.to]) {
        if t.since(last) > tolerance {
            found.push((last, t));
        }
        last = last.max(t);
    }
    found
}

fn grid(svg: &mut String, chart: &LineChart, plot: &Plot, ticks: &[f64]) {
    for value in ticks {
        let y = plot.y(*value);
        let base = *value == 0.0;
        let _ = write!(
            svg,
            "<path class=\"{}\" stroke=\"{}\" stroke-width=\"1\" d=\"M{} {}H{}\"/>",
            if base { "c-axis" } else { "c-grid" },
            if base { "#7b8594" } else { "#d9dde3" },
            px(plot.left),
            px(y.round() + 0.5),
            px(plot.right)
        );
        text(svg, "c-text", "#4a5361", "end", plot.left - 7.0, y + 4.5, &tick(*value));
    }
    let room = plot.right - plot.left;
    let per_label = if chart.to.since(chart.from) < Duration::from_secs(20 * 60) { 78.0 } else { 62.0 };
    let axis = plot.bottom + 18.0;
    for (at, label) in time_ticks(chart.from, chart.to, chart.zone, (room / per_label) as usize) {
        let x = plot.x(at);
        let _ = write!(svg, "<path class=\"c-axis\" stroke=\"#7b8594\" d=\"M{} {}v4\"/>", px(x), px(plot.bottom));
        let half = label.chars().count() as f64 * GLYPH / 2.0;
        let x = x.clamp(half, (f64::from(chart.width) - half).max(half));
        text(svg, "c-text", "#4a5361", "middle", x, axis, &label);
    }
}

/// Unit, what the band means, and an objective too far away to be drawn. Above the hairlines of the marks.
fn head(svg: &mut String, chart: &LineChart, plot: &Plot, unit: &str, objective_shown: bool) {
    let far = chart.objective.as_ref().filter(|_| !objective_shown).map(|(_, label)| format!("{label} lies above"));
    let band = chart.baseline.as_ref().map(|b| format!("band: {}", b.label));
    let parts = [Some(unit.to_string()).filter(|u| !u.is_empty()), band, far];
    let head = clip(&parts.into_iter().flatten().collect::<Vec<_>>().join(" · "), f64::from(chart.width));
    haloed(svg, "c-faint", "#7b8594", "start", 0.0, plot.top - 9.0, &head);
}

fn dashed(svg: &mut String, plot: &Plot, value: f64, label: &str) {
    let y = plot.y(value * plot.factor);
    let _ = write!(
        svg,
        "<path class=\"c-objective\" stroke=\"#4a5361\" stroke-width=\"1.5\" stroke-dasharray=\"5 4\" d=\"M{} {}H{}\"/>",
        px(plot.left),
        px(y),
        px(plot.right)
    );
    haloed(
        svg,
        "c-text",
        "#4a5361",
        "start",
        plot.left + 4.0,
        if y < plot.top + 16.0 { y + 15.0 } else { y - 5.0 },
        label,
    );
}

/// Rows for the flags' words, so that close markers do not write over each other.
struct MarkRows {
    /// Row of each mark; `None` when no row had room: the hairline stays, its word is in the tooltip.
    row: Vec<Option<usize>>,
    height: f64,
}

fn mark_rows(chart: &LineChart) -> MarkRows {
    let rows_max = if chart.width >= 600 { 3 } else { 2 };
    let span = (chart.to.ms() - chart.from.ms()).max(1) as f64;
    // The plot is not laid out yet; its usual width is near enough to decide about overlaps.
    let at = |t: Timestamp| (t.ms() - chart.from.ms()) as f64 / span * f64::from(chart.width) * 0.82;
    let mut taken: Vec<Vec<(f64, f64)>> = vec![Vec::new(); rows_max];
    let mut row = Vec::new();
    for mark in &chart.marks {
        let (x, words) = (at(mark.at), 14.0 + flag_words(chart, mark).chars().count() as f64 * GLYPH);
        let (a, b) = if flies_left(chart, mark, x) { (x - words, x + 4.0) } else { (x - 4.0, x + words) };
        let free = taken.iter().position(|row| row.iter().all(|(c, d)| b < *c || a > *d));
        if let Some(r) = free {
            taken[r].push((a, b));
        }
        row.push(free);
    }
    let used = row.iter().flatten().max().map_or(0, |r| r + 1);
    MarkRows { row, height: used as f64 * 16.0 }
}

fn flag_words(chart: &LineChart, mark: &super::Mark) -> String {
    clip(&mark.label, if chart.width >= 600 { 28.0 } else { 18.0 } * GLYPH)
}

/// Near the right edge the flag flies to the left.
fn flies_left(chart: &LineChart, mark: &super::Mark, x: f64) -> bool {
    x + 14.0 + flag_words(chart, mark).chars().count() as f64 * GLYPH > f64::from(chart.width)
}

fn marks(svg: &mut String, chart: &LineChart, plot: &Plot, rows: &MarkRows) {
    for (mark, row) in chart.marks.iter().zip(&rows.row) {
        let x = plot.x(mark.at);
        let span = chart.to.ms() - chart.from.ms();
        let y = match row {
            Some(r) => plot.top - rows.height - 20.0 + *r as f64 * 16.0,
            None => plot.top,
        };
        let _ = write!(
            svg,
            "<g><title>{} {}</title><path class=\"c-mark\" stroke=\"#14181f\" stroke-width=\"1\" fill=\"none\" d=\"M{x} {top}V{bottom}\"/>",
            escape(&clock_label(mark.at, chart.zone, span)),
            escape(&mark.label),
            x = px(x.round() + 0.5),
            top = px(y),
            bottom = px(plot.bottom)
        );
        let label = flag_words(chart, mark);
        if row.is_some() {
            let flip = flies_left(chart, mark, x);
            let side = if flip { -1.0 } else { 1.0 };
            let _ = write!(
                svg,
                "<path class=\"c-flag\" fill=\"#14181f\" d=\"M{} {}l{} 4l{} 4z\"/>",
                px(x.round() + 0.5),
                px(y),
                px(7.0 * side),
                px(-7.0 * side)
            );
            let anchor = if flip { "end" } else { "start" };
            text(svg, "c-text", "#4a5361", anchor, x + 11.0 * side, y + 9.0, &label);
        }
        svg.push_str("</g>");
    }
}

fn lines(svg: &mut String, chart: &LineChart, plot: &Plot) {
    let wide = chart.width >= 600;
    let tolerance = chart.step.mul_f64(GAP_STEPS);
    let drawn = chart.lines.iter().take(LINES_MAX).enumerate();
    // The first line matters most: drawn last, on top.
    for (i, line) in drawn.clone().rev() {
        let finite: Vec<_> = line
            .points
            .iter()
            .filter(|p| p.1.is_finite() && p.0 >= chart.from && p.0 <= chart.to && (!plot.log || p.1 > 0.0))
            .copied()
            .collect();
        let (class, colour, dash) = STROKES[i];
        let mut path = String::new();
        for piece in finite.chunk_by(|a, b| b.0.since(a.0) <= tolerance) {
            // Room is shared by length, so that many pieces together stay within the limit.
            let share = (POINTS_MAX * piece.len()).checked_div(finite.len()).unwrap_or(0).max(3);
            for (n, (t, v)) in decimate(piece, share).into_iter().enumerate() {
                let letter = if n == 0 { "M" } else { "L" };
                let _ = write!(path, "{letter}{} {}", px(plot.x(t)), px(plot.y(v * plot.factor)));
                if n == 0 && piece.len() == 1 {
                    path.push_str("h0");
                }
            }
        }
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        if !path.is_empty() {
            let _ = write!(
                svg,
                "<path class=\"{class}\" stroke=\"{colour}\" stroke-width=\"{}\"{dash} fill=\"none\" stroke-linecap=\"round\" \
                 stroke-linejoin=\"round\" d=\"{path}\"/>",
                if i == 0 { "2" } else { "1.5" }
            );
        }
    }
    // Labels at the lines' ends, pushed apart.
    let mut ends: Vec<(f64, f64, usize, String)> = drawn
        .filter_map(|(i, line)| {
            let last = line.points.iter().rev().find(|p| p.1.is_finite())?;
            Some((plot.y(last.1 * plot.factor), plot.x(last.0), i, end_label(chart, line, wide)))
        })
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    let heights = apart(&ends.iter().map(|e| e.0).collect::<Vec<_>>(), plot.top, plot.bottom + 12.0);
    for ((y, x, i, label), at) in ends.into_iter().zip(heights) {
        let (class, colour) = FILLS[i];
        let _ = write!(svg, "<circle class=\"{class}\" fill=\"{colour}\" cx=\"{}\" cy=\"{}\" r=\"3\"/>", px(x), px(y));
        haloed(svg, class, colour, "start", plot.right + 8.0, at + 4.5, &label);
    }
}

/// Heights for labels that want to stand at `wanted` (ascending): a line apart, from `top` down, and back up when the
/// last would fall below `bottom`.
fn apart(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    const LINE: f64 = 15.0;
    let mut at: Vec<f64> = Vec::with_capacity(wanted.len());
    for y in wanted {
        at.push(y.max(at.last().map_or(top, |last| last + LINE)));
    }
    let mut ceiling = bottom;
    for y in at.iter_mut().rev() {
        *y = y.min(ceiling);
        ceiling = *y - LINE;
    }
    at
}

/// Bars of one name, and the lane they share; the gravest first, then the earliest.
fn lanes(chart: &LineChart) -> Vec<(String, Vec<super::Bar>)> {
    let mut lanes: Vec<(String, Vec<super::Bar>)> = Vec::new();
    for bar in chart.alerts.iter().filter(|b| b.to >= chart.from && b.from <= chart.to) {
        match lanes.iter_mut().find(|l| l.0 == bar.name) {
            Some(lane) => lane.1.push(bar.clone()),
            None => lanes.push((bar.name.clone(), vec![bar.clone()])),
        }
    }
    let rank = |l: &(String, Vec<super::Bar>)| {
        (std::cmp::Reverse(l.1.iter().map(|b| b.tone).max()), l.1.iter().map(|b| b.from).min(), l.0.clone())
    };
    lanes.sort_by_key(rank);
    if lanes.len() > LANES_MAX {
        let rest = lanes.split_off(LANES_MAX - 1);
        let name = format!("{} more alerts", rest.len());
        lanes.push((name, rest.into_iter().flat_map(|l| l.1).collect()));
    }
    lanes
}

fn strip(svg: &mut String, chart: &LineChart, plot: &Plot, lanes: &[(String, Vec<super::Bar>)]) {
    let span = chart.to.ms() - chart.from.ms();
    for (n, (name, bars)) in lanes.iter().enumerate() {
        let y = plot.bottom + 30.0 + n as f64 * LANE;
        let _ = write!(
            svg,
            "<path class=\"c-grid\" stroke=\"#d9dde3\" d=\"M{} {}H{}\"/>",
            px(plot.left),
            px(y + 4.5),
            px(plot.right)
        );
        let mut first = f64::INFINITY;
        let mut last: f64 = 0.0;
        for bar in bars {
            let (class, colour) = match bar.tone {
                Tone::Critical => ("c-critical", "#c0262d"),
                Tone::Warning => ("c-warning", "#a15c00"),
                Tone::Info => ("c-info", "#7b8594"),
            };
            let (a, b) = (plot.x(bar.from), plot.x(bar.to));
            first = first.min(a);
            last = last.max(b.max(a + 3.0));
            let _ = write!(
                svg,
                "<rect class=\"{class}\" fill=\"{colour}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"7\" rx=\"2\"><title>{} {}–{}</title></rect>",
                px(a),
                px(y + 1.0),
                px((b - a).max(3.0)),
                escape(&bar.name),
                clock_label(bar.from, chart.zone, span),
                clock_label(bar.to, chart.zone, span)
            );
        }
        // The word beside the colour: right of the bars, else left of them, else nothing fits and the tooltip has it.
        let need = name.chars().count() as f64 * GLYPH + 8.0;
        if f64::from(chart.width) - last > need {
            haloed(svg, "c-text", "#4a5361", "start", last + 6.0, y + 9.0, name);
        } else if first > need {
            haloed(svg, "c-text", "#4a5361", "end", first - 6.0, y + 9.0, name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Band, Bar, Line, Mark, Unit};
    use super::*;

    fn chart() -> LineChart {
        let at = |min: i64| Timestamp::from_ms(1_795_000_000_000 + min * 60_000);
        let mut chart = LineChart::new("p95 <rose> & fell", Unit::Seconds, at(0), at(600), chrono_tz::Europe::Berlin);
        let points =
            (0..600).filter(|m| !(200..260).contains(m)).map(|m| (at(m), 0.18 + f64::from(m as i32 % 17) / 100.0));
        chart.lines.push(Line { name: "p95\"><script>".into(), points: points.collect() });
        chart.lines.push(Line { name: "p50".into(), points: vec![(at(3), f64::NAN)] });
        chart.baseline = Some(Band { low: 0.15, high: 0.2, label: "normal".into() });
        chart.objective = Some((0.3, "objective 300 ms".into()));
        chart.marks.push(Mark { at: at(30), label: "go-live <b>".into() });
        chart.alerts.push(Bar { from: at(100), to: at(130), name: "Slow</svg>".into(), tone: Tone::Critical });
        chart.maintenance.push((at(400), at(430)));
        chart
    }

    #[test]
    fn labels_stand_apart_and_inside() {
        assert_eq!(apart(&[10.0, 50.0], 0.0, 100.0), [10.0, 50.0]);
        assert_eq!(apart(&[10.0, 12.0, 13.0], 0.0, 100.0), [10.0, 25.0, 40.0]);
        assert_eq!(apart(&[98.0, 99.0, 100.0], 0.0, 100.0), [70.0, 85.0, 100.0]);
        assert_eq!(apart(&[], 0.0, 100.0), [0.0; 0]);
    }

    #[test]
    fn the_same_chart_gives_the_same_bytes_and_outside_text_stays_text() {
        let svg = line(&chart());
        assert_eq!(svg, line(&chart()));
        for bad in ["<script", "<rose>", "<b>", "Slow</svg>", "NaN", "inf", "-0\""] {
            assert!(!svg.contains(bad), "{bad}");
        }
        assert!(svg.contains("role=\"img\"") && svg.contains("p95 &lt;rose&gt; &amp; fell. p95"));
        let mut reader = quick_xml::Reader::from_str(&svg);
        loop {
            match reader.read_event() {
                Ok(quick_xml::events::Event::Eof) => break,
                Ok(_) => {}
                Err(e) => panic!("not well-formed: {e}"),
            }
        }
    }

    #[test]
    fn a_gap_is_shaded_and_not_bridged() {
        let svg = line(&chart());
        assert_eq!(svg.matches("class=\"c-gap\"").count(), 1);
        let path = svg.split("class=\"c-s1\"").nth(1).unwrap();
        let path = path.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        assert_eq!(path.matches('M').count(), 2, "two pieces");
        assert!(path.matches(['M', 'L']).count() <= POINTS_MAX);
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let empty = LineChart { lines: vec![Line { name: "rate".into(), points: vec![] }], ..chart() };
        let svg = line(&empty);
        assert!(svg.contains("no data") && svg.contains("rate: no data"));
        let mut zero = chart();
        zero.log = true;
        zero.lines[0].points.iter_mut().for_each(|p| p.1 = 0.0);
        assert!(!line(&zero).contains("log scale"), "zero has no place on a logarithmic axis");
    }
}
