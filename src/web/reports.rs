//! `/reports/ID`: a stored document as it was written and sent.

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::problem::{problem, store_failed};

/// A report is one file with its styles inside; it needs no script and no other file.
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";

pub(super) async fn show(State(app): State<App>, Path(id): Path<i64>) -> Response {
    let report = match app.store.state.report(id).await {
        Ok(Some(report)) => report,
        Ok(None) => return problem(StatusCode::NOT_FOUND, "there is no report of this number"),
        Err(error) => return store_failed(&error),
    };
    let mime = match report.format.as_str() {
        "html" => "text/html; charset=utf-8",
        "json" => "application/json",
        _ => "text/plain; charset=utf-8",
    };
    let mut response = ([(header::CONTENT_TYPE, mime)], report.bytes).into_response();
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    response
}
