//! OTLP metrics in protobuf. Field numbers: opentelemetry-proto, `metrics.proto`, `common.proto`, `resource.proto`,
//! `metrics_service.proto`. Unknown fields are skipped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::message::{
    Attributes, Buckets, Data, ExponentialPoint, HistogramPoint, Metric, Number, Point, Request, Resource,
    SummaryPoint, Temporality, double_text,
};
use super::{ITEMS_MAX, TOO_MANY_ITEMS};
use crate::domain::varint;
use crate::sources::receive::ReceiveError;
use crate::sources::receive::protobuf::{Reader, Value};

/// Values within values; the specification names no end, our stack does.
const DEPTH_MAX: usize = 16;

type Read<T> = Result<T, ReceiveError>;

/// What may still come.
struct Budget(usize);

impl Budget {
    fn spend(&mut self) -> Read<()> {
        self.0 = self.0.checked_sub(1).ok_or(TOO_MANY_ITEMS)?;
        Ok(())
    }
}

pub(super) fn read(body: &[u8]) -> Read<Request> {
    let (mut request, mut budget) = (Request::default(), Budget(ITEMS_MAX));
    let mut reader = Reader::new(body);
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            budget.spend()?;
            request.resources.push(resource(value.message(&reader)?, &mut budget)?);
        }
    }
    Ok(request)
}

fn resource(mut reader: Reader, budget: &mut Budget) -> Read<Resource> {
    let mut out = Resource::default();
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => {
                let mut inner = value.message(&reader)?;
                while let Some((number, value)) = inner.field()? {
                    if number == 1 {
                        attribute(value.message(&inner)?, &mut out.attributes, budget)?;
                    }
                }
            }
            2 => {
                let mut scope = value.message(&reader)?;
                while let Some((number, value)) = scope.field()? {
                    if number == 2 {
                        budget.spend()?;
                        out.metrics.push(metric(value.message(&scope)?, budget)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(out)
}

fn metric(mut reader: Reader, budget: &mut Budget) -> Read<Metric> {
    let mut out = Metric::default();
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => out.name = value.text(&reader)?.to_string(),
            2 => out.description = value.text(&reader)?.to_string(),
            3 => out.unit = value.text(&reader)?.to_string(),
            5 => out.data = Data::Gauge(points(value.message(&reader)?, budget, number_point)?.0),
            7 => {
                let (points, temporality, monotonic) = points(value.message(&reader)?, budget, number_point)?;
                out.data = Data::Sum { points, temporality, monotonic };
            }
            9 => {
                let (points, temporality, _) = points(value.message(&reader)?, budget, histogram_point)?;
                out.data = Data::Histogram { points, temporality };
            }
            10 => {
                let (points, temporality, _) = points(value.message(&reader)?, budget, exponential_point)?;
                out.data = Data::Exponential { points, temporality };
            }
            11 => out.data = Data::Summary(points(value.message(&reader)?, budget, summary_point)?.0),
            _ => {}
        }
    }
    Ok(out)
}

/// Points, temporality and monotony: the kinds of metrics number them alike.
fn points<T>(
    mut reader: Reader,
    budget: &mut Budget,
    mut one: impl FnMut(Reader, &mut Budget) -> Read<T>,
) -> Read<(Vec<T>, Temporality, bool)> {
    let (mut points, mut temporality, mut monotonic) = (Vec::new(), Temporality::default(), false);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => {
                budget.spend()?;
                points.push(one(value.message(&reader)?, budget)?);
            }
            2 => temporality = Temporality::of(value.number(&reader)?),
            3 => monotonic = value.number(&reader)? != 0,
            _ => {}
        }
    }
    Ok((points, temporality, monotonic))
}

fn number_point(mut reader: Reader, budget: &mut Budget) -> Read<Number> {
    let mut out = Number::default();
    while let Some((number, value)) = reader.field()? {
        match number {
            4 => out.value = value.double(&reader)?,
            // An sfixed64.
            6 => out.value = value.number(&reader)? as i64 as f64,
            _ => common(&mut out.point, (number, value), (7, 8), &reader, budget)?,
        }
    }
    Ok(out)
}

fn histogram_point(mut reader: Reader, budget: &mut Budget) -> Read<HistogramPoint> {
    let mut out = HistogramPoint::default();
    while let Some((number, value)) = reader.field()? {
        match number {
            4 => out.count = value.number(&reader)?,
            5 => out.sum = Some(value.double(&reader)?),
            6 => repeated(value, &reader, budget, |bits| out.counts.push(bits))?,
            7 => repeated(value, &reader, budget, |bits| out.bounds.push(f64::from_bits(bits)))?,
            _ => common(&mut out.point, (number, value), (9, 10), &reader, budget)?,
        }
    }
    Ok(out)
}

fn exponential_point(mut reader: Reader, budget: &mut Budget) -> Read<ExponentialPoint> {
    let mut out = ExponentialPoint::default();
    while let Some((number, value)) = reader.field()? {
        match number {
            4 => out.count = value.number(&reader)?,
            5 => out.sum = Some(value.double(&reader)?),
            6 => out.scale = sint32(value.number(&reader)?),
            7 => out.zeros = value.number(&reader)?,
            8 => out.positive = buckets(value.message(&reader)?, budget)?,
            9 => out.negative = buckets(value.message(&reader)?, budget)?,
            14 => out.zero_threshold = value.double(&reader)?,
            _ => common(&mut out.point, (number, value), (1, 10), &reader, budget)?,
        }
    }
    Ok(out)
}

fn buckets(mut reader: Reader, budget: &mut Budget) -> Read<Buckets> {
    let mut out = Buckets::default();
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, value) => out.offset = sint32(value.number(&reader)?),
            (2, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    budget.spend()?;
                    out.counts.push(packed.varint()?);
                }
            }
            (2, value) => {
                budget.spend()?;
                out.counts.push(value.number(&reader)?);
            }
            _ => {}
        }
    }
    Ok(out)
}

fn sint32(number: u64) -> i32 {
    varint::unzigzag(number) as i32
}

fn summary_point(mut reader: Reader, budget: &mut Budget) -> Read<SummaryPoint> {
    let mut out = SummaryPoint::default();
    while let Some((number, value)) = reader.field()? {
        match number {
            4 => out.count = value.number(&reader)?,
            5 => out.sum = value.double(&reader)?,
            6 => {
                budget.spend()?;
                let (mut inner, mut pair) = (value.message(&reader)?, (0.0, 0.0));
                while let Some((number, value)) = inner.field()? {
                    match number {
                        1 => pair.0 = value.double(&inner)?,
                        2 => pair.1 = value.double(&inner)?,
                        _ => {}
                    }
                }
                out.quantiles.push(pair);
            }
            _ => common(&mut out.point, (number, value), (7, 8), &reader, budget)?,
        }
    }
    Ok(out)
}

/// Time, attributes and flags; the last two stand under numbers of their own in each kind of point.
fn common<'a>(
    point: &mut Point,
    (number, value): (u32, Value<'a>),
    (attributes, flags): (u32, u32),
    reader: &Reader<'a>,
    budget: &mut Budget,
) -> Read<()> {
    if number == 2 {
        point.start_ns = value.number(reader)?;
    } else if number == 3 {
        point.time_ns = value.number(reader)?;
    } else if number == attributes {
        attribute(value.message(reader)?, &mut point.attributes, budget)?;
    } else if number == flags {
        point.flags = value.number(reader)?;
    }
    Ok(())
}

/// Eight bytes each: packed, or one a field.
fn repeated(value: Value, reader: &Reader, budget: &mut Budget, mut push: impl FnMut(u64)) -> Read<()> {
    let Value::Bytes(mut packed) = value else {
        budget.spend()?;
        push(value.number(reader)?);
        return Ok(());
    };
    while !packed.is_empty() {
        budget.spend()?;
        push(packed.fixed64()?);
    }
    Ok(())
}

fn attribute(mut reader: Reader, to: &mut Attributes, budget: &mut Budget) -> Read<()> {
    budget.spend()?;
    let (mut key, mut text) = (String::new(), String::new());
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => key = value.text(&reader)?.to_string(),
            2 => {
                text = match any(value.message(&reader)?, DEPTH_MAX, budget)? {
                    Any::Text(text) => text,
                    Any::Double(v) => double_text(v),
                    Any::Json(Json::Null) => String::new(),
                    Any::Json(json) => json.to_string(),
                }
            }
            _ => {}
        }
    }
    to.push((key, text));
    Ok(())
}

/// An `AnyValue`. Within lists everything is JSON; alone, texts have no quotes.
enum Any {
    Text(String),
    Double(f64),
    Json(Json),
}

impl Any {
    fn into_json(self) -> Json {
        match self {
            Any::Text(text) => Json::String(text),
            Any::Double(v) => Json::from(v),
            Any::Json(json) => json,
        }
    }
}

fn any(mut reader: Reader, depth: usize, budget: &mut Budget) -> Read<Any> {
    let mut out = Any::Json(Json::Null);
    while let Some((number, value)) = reader.field()? {
        out = match number {
            1 => Any::Text(value.text(&reader)?.to_string()),
            2 => Any::Json(Json::Bool(value.number(&reader)? != 0)),
            3 => Any::Json(Json::from(value.number(&reader)? as i64)),
            4 => Any::Double(value.double(&reader)?),
            5 | 6 if depth == 0 => return Err(reader.error("values within values, too deep").into()),
            5 => Any::Json(Json::Array(list(value.message(&reader)?, depth - 1, budget)?)),
            6 => Any::Json(Json::Object(map(value.message(&reader)?, depth - 1, budget)?)),
            7 => Any::Text(STANDARD.encode(value.message(&reader)?.whole())),
            _ => out,
        };
    }
    Ok(out)
}

fn list(mut reader: Reader, depth: usize, budget: &mut Budget) -> Read<Vec<Json>> {
    let mut out = Vec::new();
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            budget.spend()?;
            out.push(any(value.message(&reader)?, depth, budget)?.into_json());
        }
    }
    Ok(out)
}

fn map(mut reader: Reader, depth: usize, budget: &mut Budget) -> Read<serde_json::Map<String, Json>> {
    let mut out = serde_json::Map::new();
    while let Some((number, value)) = reader.field()? {
        if number != 1 {
            continue;
        }
        budget.spend()?;
        let (mut pair, mut key, mut json) = (value.message(&reader)?, String::new(), Json::Null);
        while let Some((number, value)) = pair.field()? {
            match number {
                1 => key = value.text(&pair)?.to_string(),
                2 => json = any(value.message(&pair)?, depth, budget)?.into_json(),
                _ => {}
            }
        }
        out.insert(key, json);
    }
    Ok(out)
}

pub(super) fn response(rejected: u64, why: &str) -> Vec<u8> {
    let mut partial = Vec::new();
    if rejected > 0 {
        partial.push(0x08);
        varint::put(&mut partial, rejected);
    }
    bytes(2, why.as_bytes(), &mut partial);
    let mut out = Vec::new();
    bytes(1, &partial, &mut out);
    out
}

pub(super) fn status(code: u8, message: &str) -> Vec<u8> {
    let mut out = vec![0x08, code];
    bytes(2, message.as_bytes(), &mut out);
    out
}

/// Field `number`, of a length; nothing when it is empty.
fn bytes(number: u8, content: &[u8], to: &mut Vec<u8>) {
    if !content.is_empty() {
        to.push(number << 3 | 2);
        varint::put(to, content.len() as u64);
        to.extend_from_slice(content);
    }
}
