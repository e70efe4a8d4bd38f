//! Results as Prometheus writes them. Matrices can be megabytes, so they are written into one buffer.

use std::fmt::Write as _;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Sample, Series};
use crate::promql::{Value, number};

/// `"resultType":…,"result":…` of an instant query.
pub(super) fn instant(value: &Value, at: Timestamp) -> String {
    let mut out = format!("\"resultType\":\"{}\",\"result\":", value.kind());
    match value {
        Value::Scalar(v) => point(&mut out, Sample { t: at, v: *v }),
        Value::String(s) => {
            out.push('[');
            time(&mut out, at);
            _ = write!(out, ",{}]", text(s));
        }
        Value::Matrix(series) => matrix(&mut out, series),
        Value::Vector(elements) => {
            out.push('[');
            for (i, (metric, v)) in elements.iter().enumerate() {
                out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
                labels(&mut out, metric);
                out.push_str(",\"value\":");
                point(&mut out, Sample { t: at, v: *v });
                out.push('}');
            }
            out.push(']');
        }
    }
    out
}

/// The same of a range query.
pub(super) fn range(series: &[Series]) -> String {
    let points: usize = series.iter().map(|s| s.samples.len()).sum();
    let mut out = String::with_capacity(points * 24 + series.len() * 128 + 64);
    out.push_str("\"resultType\":\"matrix\",\"result\":");
    matrix(&mut out, series);
    out
}

fn matrix(out: &mut String, series: &[Series]) {
    out.push('[');
    for (i, one) in series.iter().enumerate() {
        out.push_str(if i > 0 { ",{\"metric\":" } else { "{\"metric\":" });
        labels(out, &one.labels);
        out.push_str(",\"values\":[");
        for (i, sample) in one.samples.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            point(out, *sample);
        }
        out.push_str("]}");
    }
    out.push(']');
}

fn point(out: &mut String, sample: Sample) {
    out.push('[');
    time(out, sample.t);
    out.push_str(",\"");
    number::push(out, sample.v);
    out.push_str("\"]");
}

/// Seconds with three decimals, or none when they are zero.
fn time(out: &mut String, t: Timestamp) {
    let ms = t.ms().unsigned_abs();
    if t.ms() < 0 {
        out.push('-');
    }
    out.push_str(itoa::Buffer::new().format(ms / 1000));
    if !ms.is_multiple_of(1000) {
        _ = write!(out, ".{:03}", ms % 1000);
    }
}

pub(super) fn labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (i, (name, value)) in labels.iter().enumerate() {
        _ = write!(out, "{}{}:{}", if i > 0 { "," } else { "" }, text(name), text(value));
    }
    out.push('}');
}

pub(super) fn texts<'a>(all: impl IntoIterator<Item = &'a String>) -> String {
    let all: Vec<String> = all.into_iter().map(|t| text(t)).collect();
    format!("[{}]", all.join(","))
}

/// A JSON string. Serialising a text cannot fail.
pub(super) fn text(s: &str) -> String {
    serde_json::Value::from(s).to_string()
}
