//! What a server answered, in a form in which answers are compared: figures mean something only for equal work.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Result;

/// By labels without the name, which VictoriaMetrics keeps where Prometheus drops it.
pub struct Answer(BTreeMap<String, Vec<(i64, f64)>>);

impl Answer {
    pub fn read(body: &[u8]) -> Result<Answer> {
        let body: Value = serde_json::from_slice(body)?;
        let rows = body["data"]["result"].as_array().ok_or("an answer without a result")?;
        rows.iter().map(row).collect::<Result<_>>().map(Answer)
    }

    pub fn rows(&self) -> usize {
        self.0.len()
    }

    pub fn points(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// The greatest relative difference of two values. Other rows or points are an error, which says what is different.
    pub fn differs(&self, other: &Answer) -> std::result::Result<f64, String> {
        let shape = |a: &Answer| format!("{} rows, {} points", a.rows(), a.points());
        if shape(self) != shape(other) {
            return Err(format!("{} against {}", shape(self), shape(other)));
        }
        let mut most = 0.0f64;
        for (labels, points) in &self.0 {
            let theirs = other.0.get(labels).ok_or_else(|| format!("no row {labels}"))?;
            for ((t, v), (their_t, their_v)) in points.iter().zip(theirs) {
                if t != their_t {
                    return Err(format!("{labels}: a point at {t} against one at {their_t}"));
                }
                let scale = v.abs().max(their_v.abs());
                if v.is_nan() != their_v.is_nan() {
                    return Err(format!("{labels} at {t}: {v} against {their_v}"));
                }
                if scale > 0.0 && v != their_v && !v.is_nan() {
                    most = most.max((v - their_v).abs() / scale);
                }
            }
        }
        Ok(most)
    }

    pub fn total(&self) -> f64 {
        self.0.values().flatten().map(|(_, v)| v).sum()
    }

    /// How many of these came out with the same bits.
    pub fn exact(&self, wanted: impl Iterator<Item = (i64, f64)>) -> usize {
        let held: BTreeMap<i64, u64> = self.0.values().flatten().map(|(t, v)| (*t, v.to_bits())).collect();
        wanted.filter(|(t, v)| held.get(t) == Some(&v.to_bits())).count()
    }
}

fn row(row: &Value) -> Result<(String, Vec<(i64, f64)>)> {
    let mut labels: BTreeMap<String, String> = serde_json::from_value(row["metric"].clone())?;
    labels.remove("__name__");
    let points = match (&row["values"], &row["value"]) {
        (Value::Array(values), _) => values.iter().map(point).collect::<Result<_>>()?,
        (_, value) => vec![point(value)?],
    };
    Ok((format!("{labels:?}"), points))
}

fn point(point: &Value) -> Result<(i64, f64)> {
    let seconds = point[0].as_f64().ok_or("a point without a time")?;
    let value = point[1].as_str().ok_or("a point without a value")?;
    Ok(((seconds * 1000.0).round() as i64, value.parse()?))
}
