//! OTLP metrics in JSON: proto3's mapping with 64-bit numbers as texts or numbers, enumerations as numbers, unknown keys
//! skipped. Source: the OTLP specification, "JSON Protobuf Encoding".

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::{self, Attributes, Data, Temporality, double_text};
use super::{ITEMS_MAX, TOO_MANY_ITEMS};
use crate::sources::receive::ReceiveError;

pub(super) fn read(body: &[u8]) -> Result<message::Request, ReceiveError> {
    // Every object and every further element of a list costs one of these; cheaper to count than to build.
    if body.iter().filter(|b| matches!(b, b'{' | b',')).count() > 2 * ITEMS_MAX {
        return Err(TOO_MANY_ITEMS);
    }
    let request: Request = serde_json::from_slice(body).map_err(|e| ReceiveError::Json(e.to_string()))?;
    let resources = request.resource_metrics.into_iter().map(|r| message::Resource {
        attributes: attributes(r.resource.attributes),
        metrics: r.scope_metrics.into_iter().flat_map(|s| s.metrics).map(metric).collect(),
    });
    Ok(message::Request { resources: resources.collect() })
}

/// JSON's null is the default, as everywhere in proto3.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default, deserialize_with = "nullable")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceMetrics {
    #[serde(default, deserialize_with = "nullable")]
    resource: Resource,
    #[serde(default, deserialize_with = "nullable")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Deserialize, Default)]
struct Resource {
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
struct ScopeMetrics {
    #[serde(default, deserialize_with = "nullable")]
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    description: String,
    #[serde(default, deserialize_with = "nullable")]
    unit: String,
    gauge: Option<Points<Number>>,
    sum: Option<Points<Number>>,
    histogram: Option<Points<Histogram>>,
    summary: Option<Points<Summary>>,
    exponential_histogram: Option<Points<Exponential>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Points<T> {
    #[serde(default = "Vec::new")]
    data_points: Vec<T>,
    #[serde(default, deserialize_with = "temporality")]
    aggregation_temporality: Temporality,
    #[serde(default)]
    is_monotonic: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Number {
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    start_time_unix_nano: Whole,
    #[serde(default)]
    time_unix_nano: Whole,
    #[serde(default)]
    flags: Whole,
    as_double: Option<Double>,
    as_int: Option<Whole>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Histogram {
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    start_time_unix_nano: Whole,
    #[serde(default)]
    time_unix_nano: Whole,
    #[serde(default)]
    flags: Whole,
    #[serde(default)]
    count: Whole,
    sum: Option<Double>,
    #[serde(default, deserialize_with = "nullable")]
    bucket_counts: Vec<Whole>,
    #[serde(default, deserialize_with = "nullable")]
    explicit_bounds: Vec<Double>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exponential {
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    start_time_unix_nano: Whole,
    #[serde(default)]
    time_unix_nano: Whole,
    #[serde(default)]
    flags: Whole,
    #[serde(default)]
    count: Whole,
    sum: Option<Double>,
    #[serde(default)]
    scale: Whole,
    #[serde(default)]
    zero_count: Whole,
    #[serde(default)]
    zero_threshold: Double,
    #[serde(default, deserialize_with = "nullable")]
    positive: Buckets,
    #[serde(default, deserialize_with = "nullable")]
    negative: Buckets,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Buckets {
    #[serde(default)]
    offset: Whole,
    #[serde(default, deserialize_with = "nullable")]
    bucket_counts: Vec<Whole>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<KeyValue>,
    #[serde(default)]
    start_time_unix_nano: Whole,
    #[serde(default)]
    time_unix_nano: Whole,
    #[serde(default)]
    flags: Whole,
    #[serde(default)]
    count: Whole,
    #[serde(default)]
    sum: Double,
    #[serde(default, deserialize_with = "nullable")]
    quantile_values: Vec<Quantile>,
}

#[derive(Deserialize)]
struct Quantile {
    #[serde(default)]
    quantile: Double,
    #[serde(default)]
    value: Double,
}

/// A 64-bit number: `"5"` or `5`.
#[derive(Default, Clone, Copy)]
struct Whole(i128);

impl Whole {
    fn unsigned(self) -> u64 {
        u64::try_from(self.0).unwrap_or(0)
    }
    /// A 32-bit number; one that does not fit goes as far as one can.
    fn small(self) -> i32 {
        self.0.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    }
}

/// A double: a number, or `"NaN"`, `"Infinity"`, `"-Infinity"`.
#[derive(Default, Clone, Copy)]
struct Double(f64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Whole, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number, or a text that is one")
            }
            fn visit_u64<E>(self, v: u64) -> Result<Whole, E> {
                Ok(Whole(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Whole, E> {
                Ok(Whole(v.into()))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Whole, E> {
                let fits = v.fract() == 0.0 && v.abs() < 2f64.powi(64);
                fits.then_some(Whole(v as i128)).ok_or_else(|| E::invalid_value(de::Unexpected::Float(v), &self))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Whole, E> {
                let value = v.parse::<u64>().map(i128::from).or_else(|_| v.parse::<i64>().map(i128::from));
                value.map(Whole).map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
            fn visit_unit<E>(self) -> Result<Whole, E> {
                Ok(Whole(0))
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Double, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Double;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number, or one of NaN, Infinity, -Infinity")
            }
            fn visit_u64<E>(self, v: u64) -> Result<Double, E> {
                Ok(Double(v as f64))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Double, E> {
                Ok(Double(v as f64))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Double, E> {
                Ok(Double(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Double, E> {
                v.parse().map(Double).map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
            fn visit_unit<E>(self) -> Result<Double, E> {
                Ok(Double(0.0))
            }
        }
        d.deserialize_any(V)
    }
}

/// A number; some senders write the name.
fn temporality<'de, D: Deserializer<'de>>(d: D) -> Result<Temporality, D::Error> {
    Ok(match Value::deserialize(d)? {
        Value::Number(n) => Temporality::of(n.as_u64().unwrap_or(0)),
        Value::String(s) if s == "AGGREGATION_TEMPORALITY_CUMULATIVE" => Temporality::Cumulative,
        Value::String(s) if s == "AGGREGATION_TEMPORALITY_DELTA" => Temporality::Delta,
        _ => Temporality::Unspecified,
    })
}

fn metric(m: Metric) -> message::Metric {
    let data = if let Some(gauge) = m.gauge {
        Data::Gauge(gauge.data_points.into_iter().map(number).collect())
    } else if let Some(sum) = m.sum {
        let points = sum.data_points.into_iter().map(number).collect();
        Data::Sum { points, temporality: sum.aggregation_temporality, monotonic: sum.is_monotonic }
    } else if let Some(histogram) = m.histogram {
        let points = histogram.data_points.into_iter().map(histogram_point).collect();
        Data::Histogram { points, temporality: histogram.aggregation_temporality }
    } else if let Some(summary) = m.summary {
        Data::Summary(summary.data_points.into_iter().map(summary_point).collect())
    } else if let Some(exponential) = m.exponential_histogram {
        let points = exponential.data_points.into_iter().map(exponential_point).collect();
        Data::Exponential { points, temporality: exponential.aggregation_temporality }
    } else {
        Data::Nothing
    };
    message::Metric { name: m.name, description: m.description, unit: m.unit, data }
}

fn point(own: Vec<KeyValue>, (start, time): (Whole, Whole), flags: Whole) -> message::Point {
    let (start_ns, time_ns) = (start.unsigned(), time.unsigned());
    message::Point { attributes: attributes(own), start_ns, time_ns, flags: flags.unsigned() }
}

fn number(n: Number) -> message::Number {
    let value = n.as_double.map(|d| d.0).or(n.as_int.map(|i| i.0 as f64)).unwrap_or(0.0);
    message::Number { point: point(n.attributes, (n.start_time_unix_nano, n.time_unix_nano), n.flags), value }
}

fn histogram_point(h: Histogram) -> message::HistogramPoint {
    message::HistogramPoint {
        point: point(h.attributes, (h.start_time_unix_nano, h.time_unix_nano), h.flags),
        count: h.count.unsigned(),
        sum: h.sum.map(|d| d.0),
        counts: h.bucket_counts.into_iter().map(Whole::unsigned).collect(),
        bounds: h.explicit_bounds.into_iter().map(|d| d.0).collect(),
    }
}

fn exponential_point(e: Exponential) -> message::ExponentialPoint {
    let buckets = |b: Buckets| message::Buckets {
        offset: b.offset.small(),
        counts: b.bucket_counts.into_iter().map(Whole::unsigned).collect(),
    };
    message::ExponentialPoint {
        point: point(e.attributes, (e.start_time_unix_nano, e.time_unix_nano), e.flags),
        count: e.count.unsigned(),
        sum: e.sum.map(|d| d.0),
        scale: e.scale.small(),
        zeros: e.zero_count.unsigned(),
        zero_threshold: e.zero_threshold.0,
        positive: buckets(e.positive),
        negative: buckets(e.negative),
    }
}

fn summary_point(s: Summary) -> message::SummaryPoint {
    message::SummaryPoint {
        point: point(s.attributes, (s.start_time_unix_nano, s.time_unix_nano), s.flags),
        count: s.count.unsigned(),
        sum: s.sum.0,
        quantiles: s.quantile_values.into_iter().map(|q| (q.quantile.0, q.value.0)).collect(),
    }
}

fn attributes(all: Vec<KeyValue>) -> Attributes {
    let text = |value: Value| match plain(value) {
        Value::String(text) => text,
        Value::Number(n) if n.is_f64() => double_text(n.as_f64().unwrap_or(0.0)),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    all.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

/// `{"stringValue": "x"}` as `"x"`, and so on inwards. serde_json bounds the depth.
fn plain(any: Value) -> Value {
    let Value::Object(map) = any else { return Value::Null };
    let Some((kind, value)) = map.into_iter().next() else { return Value::Null };
    match (kind.as_str(), value) {
        ("intValue", Value::String(text)) => text.parse::<i64>().map_or(Value::String(text), Value::from),
        // Within a list as in attributes of their own.
        ("doubleValue", Value::Number(n)) => n.as_f64().map_or(Value::Null, Value::from),
        ("arrayValue", Value::Object(mut list)) => match list.remove("values") {
            Some(Value::Array(values)) => Value::Array(values.into_iter().map(plain).collect()),
            _ => Value::Array(Vec::new()),
        },
        ("kvlistValue", Value::Object(mut list)) => {
            let Some(Value::Array(pairs)) = list.remove("values") else { return Value::Object(Default::default()) };
            let pair = |pair: Value| {
                let Value::Object(mut pair) = pair else { return None };
                let key = pair.get("key")?.as_str()?.to_string();
                Some((key, plain(pair.remove("value").unwrap_or_default())))
            };
            Value::Object(pairs.into_iter().filter_map(pair).collect())
        }
        (_, value) => value,
    }
}

pub(super) fn response(rejected: u64, why: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Partial<'a> {
        // Texts, as proto3 writes 64-bit numbers.
        rejected_data_points: String,
        error_message: &'a str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        partial_success: Option<Partial<'a>>,
    }
    let partial = Partial { rejected_data_points: rejected.to_string(), error_message: why };
    let response = Response { partial_success: (rejected > 0 || !why.is_empty()).then_some(partial) };
    serde_json::to_vec(&response).unwrap_or_default()
}
