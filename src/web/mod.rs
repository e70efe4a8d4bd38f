//! The launch room, `/status`, `/health`, `/ready`, `/metrics`, `/version`, and Prometheus' query API. Loopback only;
//! writes are refused but for feedback forms and, when `[web]` opens them, samples from agents (`receive/`).
//!
//! Reads the store and shows it; decides nothing and must not know the daemon. Read `access.rs` (who may ask), then
//! `room.rs` (what the page says).

mod access;
mod events;
mod forms;
mod health;
mod metrics;
mod page;
mod problem;
pub mod prometheus_api;
mod receive;
mod reports;
mod room;
mod signals;
mod status;
mod verdict;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::TimeoutLayer;

use crate::domain::alert::Alert;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::launch::Launch;
use crate::domain::metric::{Metadata, SeriesReader};
use crate::domain::secret::Secret;
use crate::domain::service::ServiceConfig;
use crate::promql;
use crate::report;
use crate::store::{Samples, Store};

pub use access::check_listen;
pub use forms::{FormAnswer, FormHandler, FormRequest};
pub use receive::Open;

/// `[web]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Loopback only for now: a public address is refused.
    pub listen: SocketAddr,
    /// How people reach it, for links in messages. Default: `http://LISTEN`.
    pub external_url: Option<url::Url>,
    /// Take samples by Prometheus remote write 1.0 at `/api/v1/write`. Off: nobody but this program writes samples.
    pub remote_write: bool,
    /// Take OpenTelemetry metrics (OTLP over HTTP) at `/api/v1/otlp/v1/metrics`. Off, as above.
    pub otlp: bool,
    /// Who sends samples must say `Authorization: Bearer` and this. None: whoever can reach us, which is this machine.
    pub write_token: Option<Secret>,
}

impl Default for Config {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9095));
        Config { listen, external_url: None, remote_write: false, otlp: false, write_token: None }
    }
}

impl Config {
    /// What agents may send.
    pub fn open(&self) -> Open {
        Open { remote_write: self.remote_write, otlp: self.otlp, token: self.write_token.clone() }
    }
}

/// Longer than the longest query (30 s) by what rendering its answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);
/// PromQL expressions are long, but not this long.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Connections that are still open this long after shutdown began are cut.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// What the room needs to be built.
pub struct Parts {
    pub store: Store,
    /// By name; the first one is shown unless another's launch is open.
    pub services: BTreeMap<String, ServiceConfig>,
    /// True once rules were evaluated on this boot.
    pub ready: Arc<AtomicBool>,
    /// How people reach us, as links in messages say.
    pub external_url: String,
    pub listen: SocketAddr,
    /// By the name in `/f/NAME`.
    pub forms: BTreeMap<String, FormHandler>,
    /// What agents may send.
    pub open: Open,
    /// What the query API says of rules and targets.
    pub facts: prometheus_api::Facts,
}

impl Parts {
    /// No services, no forms, no open doors, not ready yet, and no links but to pages of its own.
    pub fn bare(store: Store, listen: SocketAddr) -> Parts {
        Parts {
            store,
            services: BTreeMap::new(),
            ready: Arc::default(),
            external_url: String::new(),
            listen,
            forms: BTreeMap::new(),
            open: Open::default(),
            facts: Default::default(),
        }
    }
}

/// What the report of a launch depends on besides the database, as of an instant.
pub type ReportInputs = Arc<dyn Fn(&Launch, Timestamp) -> report::Inputs + Send + Sync>;

/// Everything the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

pub struct Shared {
    pub(in crate::web) store: Store,
    pub(in crate::web) services: BTreeMap<String, ServiceConfig>,
    pub(in crate::web) ready: Arc<AtomicBool>,
    pub(in crate::web) forms: BTreeMap<String, FormHandler>,
    pub(in crate::web) doors: receive::Doors,
    facts: Arc<prometheus_api::Facts>,
    pub(in crate::web) report_inputs: ReportInputs,
    pub(in crate::web) pages: page::Cache,
    pub(in crate::web) verdicts: verdict::Cache,
    pub(in crate::web) results: promql::Cache,
    pub(in crate::web) changes: watch::Sender<u64>,
    pub(in crate::web) stopping: CancellationToken,
    external_host: Option<String>,
    listen: SocketAddr,
    started: Duration,
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// With report inputs made of the services alone: no objectives, the usual interval.
    pub fn new(parts: Parts) -> App {
        let services = parts.services.clone();
        App::with_report_inputs(
            parts,
            Arc::new(move |launch, as_of| {
                let service = services.get(&launch.service).cloned().unwrap_or_default();
                report::Inputs::new(launch.id.clone(), as_of, service)
            }),
        )
    }

    /// With the inputs of the report that the daemon will write: the verdict so far is then that report's.
    pub fn with_report_inputs(parts: Parts, report_inputs: ReportInputs) -> App {
        let external = url::Url::parse(&parts.external_url).ok();
        App(Arc::new(Shared {
            started: parts.store.clock.monotonic(),
            store: parts.store,
            services: parts.services,
            ready: parts.ready,
            forms: parts.forms,
            doors: receive::Doors::new(parts.open),
            facts: Arc::new(parts.facts),
            report_inputs,
            pages: page::Cache::default(),
            verdicts: verdict::Cache::default(),
            results: promql::Cache::default(),
            changes: watch::Sender::new(0),
            stopping: CancellationToken::new(),
            external_host: external.and_then(|u| u.host_str().map(str::to_string)),
            listen: parts.listen,
        }))
    }

    fn answers_to(&self, host: &str) -> bool {
        access::is_local_host(host, self.listen.ip(), self.external_host.as_deref())
    }

    fn now(&self) -> Timestamp {
        self.store.clock.now()
    }

    fn uptime(&self) -> Duration {
        self.store.clock.monotonic().saturating_sub(self.started)
    }
}

impl prometheus_api::Backend for App {
    fn reader(&self) -> Arc<dyn SeriesReader> {
        self.store.reader()
    }
    fn clock(&self) -> SharedClock {
        self.store.clock.clone()
    }
    fn samples(&self) -> Option<Samples> {
        Some(self.store.samples.clone())
    }
    fn cache(&self) -> promql::Cache {
        self.results.clone()
    }
    fn facts(&self) -> Arc<prometheus_api::Facts> {
        self.facts.clone()
    }
    fn alerts(&self) -> BoxFuture<'_, Result<Vec<Alert>, String>> {
        Box::pin(async { self.store.state.alerts().await.map_err(|e| e.to_string()) })
    }
    fn metadata(&self) -> BoxFuture<'_, Result<Vec<Metadata>, String>> {
        Box::pin(async { self.store.samples.metadata().await.map_err(|e| e.to_string()) })
    }
}

/// All routes behind the guard.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page::room))
        .route("/assets/room.css", get(page::style))
        .route("/assets/room.js", get(page::script))
        .route("/reports/{id}", get(reports::show))
        .route("/status", get(status::status))
        .route("/health", get(health::health))
        .route("/-/healthy", get(health::health))
        .route("/ready", get(health::ready))
        .route("/-/ready", get(health::ready))
        .route("/version", get(health::version))
        .route("/metrics", get(metrics::metrics))
        .route("/api/hc/v1/events", get(events::events))
        .route(
            "/f/{name}",
            post(forms::post).options(forms::preflight).layer(DefaultBodyLimit::max(forms::BODY_BYTES_MAX)),
        )
        .merge(receive::router())
        .fallback(|| async { problem::problem(StatusCode::NOT_FOUND, "there is nothing here") })
        .with_state(app.clone())
        .merge(prometheus_api::router(app.clone()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER_WITHIN))
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a page panicked");
            problem::problem(StatusCode::INTERNAL_SERVER_ERROR, "our own fault; the log says more")
        }))
        .layer(from_fn_with_state(app, access::guard))
}

/// Serves until `shutdown` completes, then lets answers under way finish for a moment. Fails when the socket does, and at
/// once on an address that others could reach.
pub async fn serve(listener: TcpListener, app: App, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    check_listen(listener.local_addr()?)
        .map_err(|why| std::io::Error::new(std::io::ErrorKind::PermissionDenied, why))?;
    let looking = tokio::spawn(events::look_for_changes(app.clone()));
    let stopping = app.stopping.clone();
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopping.clone().cancelled_owned());
    let ending = async {
        shutdown.await;
        stopping.cancel();
        tokio::time::sleep(DRAIN_MAX).await;
    };
    let result = tokio::select! {
        served = serving => served,
        () = ending => Ok(()),
    };
    stopping.cancel();
    let _ = looking.await;
    result
}

#[cfg(test)]
mod tests;
