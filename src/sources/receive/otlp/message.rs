//! An OTLP metrics request as far as we read it, whichever way it was written.

/// Attributes with their values as texts, in the sender's order.
pub(super) type Attributes = Vec<(String, String)>;

#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) resources: Vec<Resource>,
}

#[derive(Debug, Default)]
pub(super) struct Resource {
    pub(super) attributes: Attributes,
    /// Of all scopes.
    pub(super) metrics: Vec<Metric>,
}

#[derive(Debug, Default)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) unit: String,
    pub(super) data: Data,
}

#[derive(Debug, Default)]
pub(super) enum Data {
    Gauge(Vec<Number>),
    Sum {
        points: Vec<Number>,
        temporality: Temporality,
        monotonic: bool,
    },
    Histogram {
        points: Vec<HistogramPoint>,
        temporality: Temporality,
    },
    Summary(Vec<SummaryPoint>),
    Exponential {
        points: Vec<ExponentialPoint>,
        temporality: Temporality,
    },
    #[default]
    Nothing,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    #[default]
    Unspecified,
    Delta,
    Cumulative,
}

impl Temporality {
    pub(super) fn of(number: u64) -> Temporality {
        match number {
            1 => Temporality::Delta,
            2 => Temporality::Cumulative,
            _ => Temporality::Unspecified,
        }
    }
}

/// What points of every kind have.
#[derive(Debug, Default)]
pub(super) struct Point {
    pub(super) attributes: Attributes,
    /// From when on it counts; 0 when the sender does not say.
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    pub(super) flags: u64,
}

impl Point {
    /// The series ended here: OTLP's stale marker.
    pub(super) fn has_no_value(&self) -> bool {
        self.flags & 1 == 1
    }
}

#[derive(Debug, Default)]
pub(super) struct Number {
    pub(super) point: Point,
    pub(super) value: f64,
}

#[derive(Debug, Default)]
pub(super) struct HistogramPoint {
    pub(super) point: Point,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    /// Not cumulative; one more than bounds.
    pub(super) counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
}

/// Buckets whose bounds are powers of `2^(2^-scale)`.
#[derive(Debug, Default)]
pub(super) struct ExponentialPoint {
    pub(super) point: Point,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) scale: i32,
    /// Observations no farther from zero than the threshold.
    pub(super) zeros: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
}

/// Bucket `i` of the list holds what lies between the powers `offset + i` and `offset + i + 1`.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct SummaryPoint {
    pub(super) point: Point,
    pub(super) count: u64,
    pub(super) sum: f64,
    /// Quantile and value.
    pub(super) quantiles: Vec<(f64, f64)>,
}

/// A double as an attribute's text: plain within reason, else with an exponent (encoding/json's rule, which the collector
/// follows).
pub(super) fn double_text(v: f64) -> String {
    let size = v.abs();
    if v.is_nan() || v.is_infinite() {
        return if v.is_nan() {
            "NaN".into()
        } else if v > 0.0 {
            "+Inf".into()
        } else {
            "-Inf".into()
        };
    }
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return v.to_string();
    }
    let text = format!("{v:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}
