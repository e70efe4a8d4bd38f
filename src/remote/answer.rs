//! What Prometheus' HTTP API answers, in our values. Times come as seconds, values as text; both read back exactly.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Sample, Series};
use crate::domain::query::{Answered, Value};
use crate::promql::number;

/// The envelope of every answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    pub status: Cow<'a, str>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub error_type: String,
    #[serde(default)]
    pub error: String,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub infos: Vec<String>,
    /// VictoriaMetrics' cluster: some of its nodes did not answer.
    #[serde(default)]
    pub is_partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    #[serde(borrow)]
    result_type: Cow<'a, str>,
    #[serde(borrow)]
    result: &'a RawValue,
}

#[derive(Deserialize)]
struct Element {
    metric: Labels,
    /// Absent in a native histogram, which we do not have.
    value: Option<Point>,
}

#[derive(Deserialize)]
struct Row {
    metric: Labels,
    #[serde(default)]
    values: Vec<Point>,
}

struct Point(Sample);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Point, D::Error> {
        let (seconds, text) = <(f64, Cow<'de, str>)>::deserialize(deserializer)?;
        let v = number::parse(&text).ok_or_else(|| serde::de::Error::custom("a value is no number"))?;
        Ok(Point(Sample { t: Timestamp::from_ms((seconds * 1000.0).round() as i64), v }))
    }
}

/// The answer to a query.
pub(super) fn value(envelope: &Envelope, samples_max: usize) -> Result<Answered, Fault> {
    let data: Data = serde_json::from_str(envelope.data.ok_or(Fault::Missing("data"))?.get())?;
    let result = data.result.get();
    let value = match &*data.result_type {
        "scalar" => Value::Scalar(serde_json::from_str::<Point>(result)?.0.v),
        "string" => Value::String(serde_json::from_str::<(f64, String)>(result)?.1),
        "vector" => {
            let elements: Vec<Element> = serde_json::from_str(result)?;
            Value::Vector(elements.into_iter().filter_map(|e| Some((e.metric, e.value?.0.v))).collect())
        }
        "matrix" => {
            let rows: Vec<Row> = serde_json::from_str(result)?;
            let samples: usize = rows.iter().map(|r| r.values.len()).sum();
            if samples > samples_max {
                return Err(Fault::TooMany);
            }
            let series =
                |row: Row| Series { labels: row.metric, samples: row.values.into_iter().map(|p| p.0).collect() };
            Value::Matrix(rows.into_iter().filter(|r| !r.values.is_empty()).map(series).collect())
        }
        _ => return Err(Fault::Missing("a result type that we know")),
    };
    Ok(Answered { value, warnings: envelope.warnings.clone(), infos: envelope.infos.clone() })
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("it is not the JSON expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("more samples than asked for")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Answered, Fault> {
        value(&serde_json::from_str(body)?, 3)
    }

    #[test]
    fn all_kinds_are_read() {
        let scalar = read(r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"+Inf"]}}"#).unwrap();
        assert_eq!(scalar.value, Value::Scalar(f64::INFINITY));
        // VictoriaMetrics adds keys of its own and may change their order.
        let vector = read(
            r#"{"status":"success","isPartial":false,"data":{"result":[{"metric":{"a":"\u00fc"},"value":[1,"0.1"]},
                {"metric":{"h":"1"},"histogram":[1,{}]}],"resultType":"vector"},"warnings":["w"],"stats":{}}"#,
        )
        .unwrap();
        assert_eq!(vector.value, Value::Vector(vec![(Labels::new([("a", "ü")]), 0.1)]));
        assert_eq!(vector.warnings, ["w"]);
        let matrix = |values: &str| {
            read(&format!(
                r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"values":[{values}]}}]}}}}"#
            ))
        };
        let point = r#"[1795305600.123,"NaN"]"#;
        let Value::Matrix(series) = matrix(point).unwrap().value else { panic!() };
        assert_eq!(series[0].samples[0].t.ms(), 1_795_305_600_123);
        assert!(matches!(matrix(&[point; 4].join(",")), Err(Fault::TooMany)));
        assert!(matches!(matrix("[1,\"x\"]"), Err(Fault::Json(_))));
    }
}
