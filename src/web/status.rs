//! `/status`: the present as JSON (`hypercare.status/v1`, the same as `hypercare status --format json`), or as a plain
//! page for a browser.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Serialize;

use super::App;
use super::page;
use super::problem::store_failed;
use crate::report::status::{self, Status};

#[derive(Serialize)]
struct Page<'a> {
    text: String,
    status: &'a Status,
}

pub(super) async fn status(State(app): State<App>, headers: HeaderMap) -> Response {
    let services: Vec<String> = app.services.keys().cloned().collect();
    let status = match status::read(&app.store, &services, app.now()).await {
        Ok(status) => status,
        Err(error) => return store_failed(&error),
    };
    let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let json = serde_json::to_string_pretty(&status);
    match json {
        Ok(text) if accept.contains("text/html") => {
            match page::render("status.html", &Page { text, status: &status }) {
                Ok(html) => Html(html).into_response(),
                Err(error) => error.answer(),
            }
        }
        Ok(text) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => store_failed(&error),
    }
}
