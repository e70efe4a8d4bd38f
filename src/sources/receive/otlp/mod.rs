//! OTLP metrics: `ExportMetricsServiceRequest` as protobuf or JSON, translated as Prometheus translates it by default
//! (underscores, unit and type suffixes): `names.rs`. Resource attributes become `job`, `instance`, `service` and
//! `target_info`.
//!
//! Increases (delta temporality) are handed on to be added up: `../totals.rs`. Exponential histograms get explicit buckets:
//! `exponential.rs`; as increases they are refused, because their buckets come and go. Read `message.rs` (what arrives),
//! then `translate.rs` (what becomes of it).
//! Sources: opentelemetry-proto 1.x; the OTLP/HTTP specification; Prometheus' OTLP guide.

mod exponential;
mod json;
mod message;
mod names;
mod proto;
mod translate;

use super::{ReceiveError, Received};

/// Attributes, data points, buckets and whatever else a request is made of: what keeps a small body from growing large.
const ITEMS_MAX: usize = 1_000_000;
const TOO_MANY_ITEMS: ReceiveError = ReceiveError::TooMuch("1,000,000 attributes, points and buckets");

/// How the request is written; the answer is written alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Protobuf,
    Json,
}

/// Reads one request. What we do not take is counted in data points and left out. `services` are the configured ones: a
/// series gets the label `service` when its resource's `service.name` is one of them, or when there is only one.
pub fn decode(encoding: Encoding, body: &[u8], services: &[String]) -> Result<Received, ReceiveError> {
    let request = match encoding {
        Encoding::Protobuf => proto::read(body)?,
        Encoding::Json => json::read(body)?,
    };
    translate::series(request, services)
}

/// `ExportMetricsServiceResponse`: empty when all was taken, else with `partial_success`.
pub fn response(encoding: Encoding, rejected: u64, why: &str) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => proto::response(rejected, why),
        Encoding::Json => json::response(rejected, why),
    }
}

/// `google.rpc.Status`, the body of a failure. `code` is gRPC's: 3 for an invalid argument, 14 for unavailable.
pub fn status(encoding: Encoding, code: u8, message: &str) -> Vec<u8> {
    match encoding {
        Encoding::Protobuf => proto::status(code, message),
        Encoding::Json => serde_json::json!({"code": code, "message": message}).to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests;
