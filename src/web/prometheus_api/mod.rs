//! `/api/v1/…` word for word Prometheus', so that Grafana and promtool work unchanged. Mount [`router`]; whatever holds
//! the samples implements [`Backend`].
//!
//! Source of shapes and words: Prometheus 3, `web/api/v1/api.go`. Numbers are texts inside JSON, times are numbers.
//! `params.rs` reads what is asked, `json.rs` writes what is answered; `query.rs`, `series.rs`, `rules.rs`, `targets.rs`
//! and `status.rs` are the endpoints.

mod json;
mod params;
mod query;
mod rules;
mod series;
mod status;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;

use crate::alerts::rulefile::RuleGroup;
use crate::alerts::standing::{Board, GroupStanding};
use crate::domain::alert::Alert;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::metric::{Metadata, SeriesReader};
use crate::promql::{Cache, Notes, Options, QueryError};
use crate::store::Samples;

use json::text;

/// What the API reads.
pub trait Backend: Clone + Send + Sync + 'static {
    fn reader(&self) -> Arc<dyn SeriesReader>;
    fn clock(&self) -> SharedClock;
    /// The index of the samples store, which answers `labels` and `series` without reading samples.
    fn samples(&self) -> Option<Samples> {
        None
    }
    fn options(&self) -> Options {
        Options::default()
    }
    /// Results of range queries, if they are to be kept.
    fn cache(&self) -> Cache {
        Cache::default()
    }
    /// What the configuration says.
    fn facts(&self) -> Arc<Facts> {
        Arc::default()
    }
    fn alerts(&self) -> BoxFuture<'_, Result<Vec<Alert>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn metadata(&self) -> BoxFuture<'_, Result<Vec<Metadata>, String>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// What the configuration says of rules and targets; `cli/run.rs` knows it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Groups of the rule files.
    pub groups: Vec<RuleGroup>,
    /// Those and the packs', as the engine evaluates them.
    pub board: Board,
    /// Of groups that name no interval.
    pub interval: Duration,
    pub targets: Vec<Target>,
    pub retention: Duration,
    pub listen: String,
    pub started: Option<Timestamp>,
}

impl Facts {
    /// Where no engine runs, what the files say.
    fn standing(&self) -> Arc<Vec<GroupStanding>> {
        let known = self.board.read();
        if !known.is_empty() {
            return known;
        }
        let of = |g: &RuleGroup| GroupStanding::fresh(Arc::new(g.clone()), g.interval.unwrap_or(self.interval));
        Arc::new(self.groups.iter().map(of).collect())
    }
}

/// Something that is scraped.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The name in `[metric.NAME]`, the label `job`.
    pub pool: String,
    pub url: String,
    /// `job`, `instance`, `service` and the labels added to every series.
    pub labels: BTreeMap<String, String>,
    pub interval: Duration,
    pub timeout: Duration,
}

/// The routes, with their full paths.
pub fn router<B: Backend>(backend: B) -> Router {
    Router::new()
        .route("/api/v1/query", get(query::instant::<B>).post(query::instant::<B>))
        .route("/api/v1/query_range", get(query::range::<B>).post(query::range::<B>))
        .route("/api/v1/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/api/v1/format_query", get(query::format).post(query::format))
        .route("/api/v1/series", get(series::series::<B>).post(series::series::<B>))
        .route("/api/v1/labels", get(series::names::<B>).post(series::names::<B>))
        .route("/api/v1/label/{name}/values", get(series::values::<B>))
        .route("/api/v1/metadata", get(targets::metadata::<B>))
        .route("/api/v1/targets", get(targets::targets::<B>))
        .route("/api/v1/scrape_pools", get(targets::pools::<B>))
        .route("/api/v1/alertmanagers", get(targets::alertmanagers))
        .route("/api/v1/rules", get(rules::rules::<B>))
        .route("/api/v1/alerts", get(rules::alerts::<B>))
        .route("/api/v1/status/buildinfo", get(status::build))
        .route("/api/v1/status/runtimeinfo", get(status::runtime::<B>))
        .route("/api/v1/status/flags", get(status::flags::<B>))
        .route("/api/v1/status/config", get(status::config::<B>))
        .route("/api/v1/status/tsdb", get(status::tsdb::<B>))
        .with_state(backend)
}

/// Prometheus' error envelope.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Problem {
    fn bad(parameter: &str, what: impl std::fmt::Display) -> Problem {
        Problem::bad_data(format!("invalid parameter {parameter:?}: {what}"))
    }

    fn bad_data(message: impl Into<String>) -> Problem {
        Problem { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into() }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        let message = error.to_string();
        let (status, kind) = match error {
            QueryError::Parse { .. } => return Problem::bad("query", message),
            QueryError::TooManyPoints { .. } => (StatusCode::BAD_REQUEST, "bad_data"),
            QueryError::Execution(_) | QueryError::TooManySamples { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution")
            }
            QueryError::Timeout(_) => {
                let message = "query timed out in expression evaluation".into();
                return Problem { status: StatusCode::SERVICE_UNAVAILABLE, kind: "timeout", message };
            }
            QueryError::Read(_) => return internal(message),
            // Its message was made for the user: an address without its secrets, and what to do.
            QueryError::Elsewhere(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Problem { status, kind, message }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body =
            format!("{{\"status\":\"error\",\"errorType\":\"{}\",\"error\":{}}}", self.kind, text(&self.message));
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

type Answer = Result<Response, Problem>;

/// The envelope of an answer; `notes` only where there are some.
fn success(data: &str, notes: &Notes) -> Response {
    let mut body = String::with_capacity(data.len() + 64);
    body.push_str("{\"status\":\"success\",\"data\":");
    body.push_str(data);
    for (key, all) in [("warnings", &notes.warnings), ("infos", &notes.infos)] {
        if !all.is_empty() {
            body.push_str(&format!(",\"{key}\":{}", json::texts(all)));
        }
    }
    body.push('}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn plain(data: impl std::fmt::Display) -> Response {
    success(&data.to_string(), &Notes::default())
}

/// The store's words stay in the log: a path or a statement is nothing for a web client.
fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the query API could not read the store");
    let message = "reading the store failed; see the log".into();
    Problem { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", message }
}

#[cfg(test)]
mod rolled_tests;
#[cfg(test)]
mod tests;
