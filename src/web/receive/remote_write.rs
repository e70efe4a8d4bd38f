//! `POST /api/v1/write`: Prometheus remote write 1.0. 204 when all is stored; 400 says what was not, while the rest is.
//!
//! Source: the remote write 1.0 specification. A sender repeats what was answered 5xx and drops what was answered 400.

use std::sync::PoisonError;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{
    App, Trouble, UNPACKED_BYTES_MAX, add_headers, aside, check_origin, check_token, plain_header, read, store, told,
};
use crate::sources::receive::remote_write::{Unpacking, decode, unpacked};
use crate::sources::receive::{ReceiveError, Received, Refused};

pub(super) async fn write(State(app): State<App>, request: Request) -> Response {
    match take(&app, request).await {
        Ok(refused) if refused.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(refused) => (StatusCode::BAD_REQUEST, told(&refused)).into_response(),
        Err(trouble) => {
            let (status, why) = trouble.parts();
            tracing::debug!(%status, why, "remote write refused");
            let mut response = (status, why).into_response();
            add_headers(status, response.headers_mut());
            response
        }
    }
}

async fn take(app: &App, request: Request) -> Result<Refused, Trouble> {
    let (head, body) = request.into_parts();
    check_origin(&head.headers)?;
    check_token(app, "remote_write", &head.headers)?;
    check_headers(&head.headers)?;
    let _turn = app.doors.turn().await?;
    let packed = read(body).await?;
    let shared = app.clone();
    let received = aside(move || unpack(&packed, &shared)).await?;
    store(app, "remote_write", received).await
}

fn check_headers(headers: &HeaderMap) -> Result<(), Trouble> {
    let encoding = plain_header(headers, header::CONTENT_ENCODING);
    if encoding != "snappy" {
        let why = format!("content encoding {encoding:?}; remote write 1.0 is packed with snappy");
        return Err(Trouble::Unsupported(why));
    }
    let kind = plain_header(headers, header::CONTENT_TYPE);
    if kind != "application/x-protobuf" {
        return Err(Trouble::Unsupported(format!("content type {kind:?}; expected application/x-protobuf")));
    }
    let whole = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let message = whole.split(';').skip(1).find_map(|p| p.trim().strip_prefix("proto="));
    if let Some(message) = message.map(|m| m.trim_matches('"')).filter(|m| *m != "prometheus.WriteRequest") {
        let why = format!("message {message:?}; only remote write 1.0, prometheus.WriteRequest, is understood");
        return Err(Trouble::Unsupported(why));
    }
    // 0.1.0 is what version 1.0 of the protocol says of itself. Old agents say nothing.
    let version = headers.get("x-prometheus-remote-write-version").map(|v| v.to_str().unwrap_or("?"));
    match version {
        None => Ok(()),
        Some(v) if v.starts_with("0.1.") || v.starts_with("1.") => Ok(()),
        Some(v) => Err(Trouble::Unsupported(format!("remote write version {v:?}; 0.1.0 is understood"))),
    }
}

fn unpack(packed: &[u8], app: &App) -> Result<Received, Trouble> {
    let body = unpacked(packed, UNPACKED_BYTES_MAX).map_err(|error| match error {
        Unpacking::TooLong => Trouble::unpacked_too_large(),
        Unpacking::Malformed(_) => Trouble::Bad(error.to_string()),
    })?;
    let mut cache = app.doors.cache.lock().unwrap_or_else(PoisonError::into_inner);
    let result = decode(&body, &mut cache);
    result.map_err(|error| match error {
        ReceiveError::TooMuch(_) => Trouble::TooLarge(error.to_string()),
        _ => Trouble::Bad(error.to_string()),
    })
}
