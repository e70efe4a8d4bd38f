//! RFC 9457: errors of the web room as `application/problem+json`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// `detail` is for people and says nothing about our insides.
pub(super) fn problem(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
}

/// The store could not be read: logged here, told without its text.
pub(super) fn store_failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "reading for the launch room failed");
    problem(StatusCode::SERVICE_UNAVAILABLE, "the store could not be read; the log says why")
}
