//! `POST /api/v1/otlp/v1/metrics`: OTLP metrics over HTTP, protobuf or JSON, plain or gzip. The answer is written as the
//! request was.
//!
//! Source: the OTLP/HTTP specification. 200 with `partial_success` when something was left out, 400 when everything was,
//! 503 with `Retry-After` when the sender should come back.

use std::io::Read as _;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{
    App, Trouble, UNPACKED_BYTES_MAX, add_headers, aside, check_origin, check_token, plain_header, read, store, told,
};
use crate::sources::receive::otlp::{self, Encoding};
use crate::sources::receive::{ReceiveError, Refused};

pub(super) async fn write(State(app): State<App>, request: Request) -> Response {
    let encoding = match encoding(request.headers()) {
        Ok(encoding) => encoding,
        Err(trouble) => return failed(Encoding::Json, trouble),
    };
    match take(&app, encoding, request).await {
        Ok(Outcome { refused, .. }) if refused.is_empty() => {
            answer(encoding, StatusCode::OK, otlp::response(encoding, 0, ""))
        }
        Ok(Outcome { refused, nothing_stored: true }) => failed(encoding, Trouble::Bad(told(&refused))),
        Ok(Outcome { refused, .. }) => {
            let why = told(&refused);
            answer(encoding, StatusCode::OK, otlp::response(encoding, refused.points, &why))
        }
        Err(trouble) => failed(encoding, trouble),
    }
}

struct Outcome {
    refused: Refused,
    nothing_stored: bool,
}

async fn take(app: &App, encoding: Encoding, request: Request) -> Result<Outcome, Trouble> {
    let (head, body) = request.into_parts();
    check_origin(&head.headers)?;
    check_token(app, "otlp", &head.headers)?;
    let packing = plain_header(&head.headers, header::CONTENT_ENCODING);
    if !matches!(&*packing, "" | "identity" | "gzip") {
        return Err(Trouble::Unsupported(format!("content encoding {packing:?}; expected gzip or none")));
    }
    let _turn = app.doors.turn().await?;
    let packed = read(body).await?;
    let services: Vec<String> = app.services.keys().cloned().collect();
    let received = aside(move || {
        let body = if packing == "gzip" { &unpack(&packed)? } else { &packed[..] };
        otlp::decode(encoding, body, &services).map_err(|error| match error {
            ReceiveError::TooMuch(_) => Trouble::TooLarge(error.to_string()),
            _ => Trouble::Bad(error.to_string()),
        })
    })
    .await?;
    let nothing_stored = received.samples() == 0;
    Ok(Outcome { refused: store(app, "otlp", received).await?, nothing_stored })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Trouble> {
    match &*plain_header(headers, header::CONTENT_TYPE) {
        "application/x-protobuf" => Ok(Encoding::Protobuf),
        "application/json" => Ok(Encoding::Json),
        other => {
            let why = format!("content type {other:?}; expected application/x-protobuf or application/json");
            Err(Trouble::Unsupported(why))
        }
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    let limit = UNPACKED_BYTES_MAX as u64;
    flate2::read::MultiGzDecoder::new(packed)
        .take(limit + 1)
        .read_to_end(&mut body)
        .map_err(|e| Trouble::Bad(format!("the body is not gzip: {e}")))?;
    if body.len() > UNPACKED_BYTES_MAX { Err(Trouble::unpacked_too_large()) } else { Ok(body) }
}

fn failed(encoding: Encoding, trouble: Trouble) -> Response {
    let (status, why) = trouble.parts();
    tracing::debug!(%status, why, "OTLP metrics refused");
    // gRPC's words: unavailable, unauthenticated, or an invalid argument.
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => 14,
        StatusCode::UNAUTHORIZED => 16,
        _ => 3,
    };
    let mut response = answer(encoding, status, otlp::status(encoding, code, &why));
    add_headers(status, response.headers_mut());
    response
}

fn answer(encoding: Encoding, status: StatusCode, body: Vec<u8>) -> Response {
    let kind = match encoding {
        Encoding::Protobuf => "application/x-protobuf",
        Encoding::Json => "application/json",
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}
