//! `/health`, `/ready`, `/version`: what we ask of others, we answer ourselves.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::App;

/// The writer must answer within this to be called alive (watch.md 7.2).
const ALIVE_WITHIN: Duration = Duration::from_secs(2);

/// Event loop and writer answer: `{"status":"pass"}`.
pub(super) async fn health(State(app): State<App>) -> Response {
    match writer_alive(&app).await {
        Ok(()) => answer(StatusCode::OK, "pass", &app, None),
        Err(why) => answer(StatusCode::SERVICE_UNAVAILABLE, "fail", &app, Some(&why)),
    }
}

/// Migrations are done (else there were no store), the writer is alive, rules were evaluated once.
pub(super) async fn ready(State(app): State<App>) -> Response {
    if !app.ready.load(Ordering::Relaxed) {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "fail", &app, Some("rules have not been evaluated yet"));
    }
    health(State(app)).await
}

pub(super) async fn version() -> Response {
    let body = serde_json::json!({
        "schema": "hypercare.version/v1", "name": "hypercare", "version": env!("CARGO_PKG_VERSION"),
    });
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn writer_alive(app: &App) -> Result<(), String> {
    match tokio::time::timeout(ALIVE_WITHIN, app.store.state.ping()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the store's writer: {error}")),
        Err(_) => Err(format!("the store's writer has not answered for {} s", ALIVE_WITHIN.as_secs())),
    }
}

/// The shape of draft-inadarei-api-health-check.
fn answer(code: StatusCode, status: &str, app: &App, output: Option<&str>) -> Response {
    let mut body = serde_json::json!({
        "status": status, "version": env!("CARGO_PKG_VERSION"), "description": "hypercare",
        "uptime_s": app.uptime().as_secs(),
    });
    if let Some(output) = output {
        body["output"] = output.into();
    }
    (code, [(header::CONTENT_TYPE, "application/health+json")], body.to_string()).into_response()
}
