//! Sparklines: a shape beside a figure, in SVG and in eighth blocks.

use std::fmt::Write as _;

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;
/// Points of one sparkline; more than two a pixel are noise.
const POINTS: usize = 120;
/// Columns of [`spark_text`].
const COLUMNS: usize = 40;

/// 120 × 28 px, from zero up (or from the least value below zero); NaN is a gap. Decoration: hidden from screen
/// readers, as the figure beside it says the same. Empty text when there is nothing to draw.
pub fn sparkline_svg(values: &[f64]) -> String {
    let values = buckets(values, POINTS);
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let Some(high) = finite().reduce(f64::max) else { return String::new() };
    let low = finite().fold(0.0f64, f64::min);
    let span = if high > low { high - low } else { 1.0 };
    let x = |i: usize| 2.0 + (WIDTH - 6.0) * i as f64 / (values.len() - 1).max(1) as f64;
    let y = |v: f64| HEIGHT - 3.0 - (HEIGHT - 6.0) * (v - low) / span;
    let mut path = String::new();
    let mut pen_down = false;
    let mut end = (0.0, 0.0);
    for (i, v) in values.iter().enumerate() {
        if v.is_finite() {
            end = (x(i), y(*v));
            // A lone point between gaps still leaves a dot: round caps draw a zero-length line.
            let _ = write!(path, "{}{:.1} {:.1}", if pen_down { "L" } else { "M" }, end.0, end.1);
            if !pen_down {
                let _ = write!(path, "h0");
            }
        }
        pen_down = v.is_finite();
    }
    format!(
        "<svg class=\"hc-spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" preserveAspectRatio=\"xMinYMid\" aria-hidden=\"true\">\
         <path class=\"c-s1\" d=\"{path}\" fill=\"none\" stroke=\"#2457d6\" stroke-width=\"1.5\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/>\
         <circle class=\"c-f1\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"#2457d6\"/></svg>",
        end.0, end.1
    )
}

/// At most forty eighth blocks, from zero up; a gap is a space: `▁▂▃█▂`.
pub fn spark_text(values: &[f64]) -> String {
    spark_text_in(values, COLUMNS)
}

/// [`spark_text`] in at most `columns` columns.
pub fn spark_text_in(values: &[f64], columns: usize) -> String {
    let values = buckets(values, columns.max(1));
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let low = finite().fold(0.0f64, f64::min);
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    values
        .iter()
        .map(|v| match v.is_finite() {
            false => ' ',
            true if high <= low => BLOCKS[0],
            true => BLOCKS[(((v - low) / (high - low)) * 7.0).round().clamp(0.0, 7.0) as usize],
        })
        .collect()
}

/// At most `n` values; each keeps the extreme farthest from zero of its stretch, so that a peak survives.
fn buckets(values: &[f64], n: usize) -> Vec<f64> {
    if values.len() <= n {
        return values.to_vec();
    }
    (0..n)
        .map(|b| {
            let (from, to) = (b * values.len() / n, (b + 1) * values.len() / n);
            let finite = values[from..to].iter().copied().filter(|v| v.is_finite());
            finite.reduce(|a, b| if b.abs() > a.abs() { b } else { a }).unwrap_or(f64::NAN)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(spark_text(&[0.0, 1.0, f64::NAN, 7.0]), "▁▂ █");
        assert_eq!(spark_text(&[]), "");
        assert_eq!(spark_text(&[0.0, 0.0]), "▁▁");
        let mut long = vec![1.0; 5000];
        long[4321] = 100.0;
        assert_eq!(spark_text_in(&long, 20).chars().filter(|c| *c == '█').count(), 1);
        assert_eq!(sparkline_svg(&[f64::NAN]), "");
        assert!(sparkline_svg(&[1.0]).contains("<path"));
        assert!(!sparkline_svg(&[1.0, f64::NAN, 2.0]).contains("NaN"));
    }
}
