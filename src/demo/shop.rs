//! The shop: a small HTTP service with a SQLite database, Prometheus metrics and the four operators' endpoints. It
//! stands for somebody else's service, which is why it speaks SQL of its own and knows nothing of hypercare's rooms.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde_json::json;
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Orders that the worker ships each second while all is well.
const SHIPPED_PER_SECOND: i64 = 20;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    code: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

struct Inner {
    database: SqlitePool,
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    duration: Family<RouteLabels, Histogram>,
    queue_depth: Gauge,
    cpu_seconds: Counter<f64, AtomicU64>,
    memory_bytes: Gauge,
    queued: AtomicI64,
    broken: AtomicBool,
    failing_turn: AtomicU64,
    version: String,
    commit: Mutex<String>,
    forum: Mutex<Vec<String>>,
}

/// A running shop. Dropping it does not stop it; the token does.
#[derive(Clone)]
pub struct Shop {
    pub address: SocketAddr,
    inner: Arc<Inner>,
}

impl Shop {
    /// Opens the database in `dir`, listens on a free loopback port, serves until `shutdown`.
    pub async fn start(dir: &Path, version: &str, commit: &str, shutdown: CancellationToken) -> anyhow::Result<Shop> {
        let options = SqliteConnectOptions::new().filename(dir.join("shop.db")).create_if_missing(true);
        let database = SqlitePool::connect_with(options).await?;
        seed(&database).await?;

        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let duration = Family::<RouteLabels, Histogram>::new_with_constructor(|| {
            Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5])
        });
        let (queue_depth, memory_bytes) = (Gauge::default(), Gauge::default());
        let cpu_seconds = Counter::<f64, AtomicU64>::default();
        registry.register("http_requests", "Requests by route and status", requests.clone());
        registry.register_with_unit("http_request_duration", "Time to answer", Unit::Seconds, duration.clone());
        registry.register("queue_depth", "Orders that wait to be shipped", queue_depth.clone());
        registry.register_with_unit("process_cpu", "CPU time of the shop", Unit::Seconds, cpu_seconds.clone());
        registry.register_with_unit("process_resident_memory", "Memory of the shop", Unit::Bytes, memory_bytes.clone());

        let inner = Arc::new(Inner {
            database,
            registry: Mutex::new(registry),
            requests,
            duration,
            queue_depth,
            cpu_seconds,
            memory_bytes,
            queued: AtomicI64::new(0),
            broken: AtomicBool::new(false),
            failing_turn: AtomicU64::new(0),
            version: version.to_string(),
            commit: Mutex::new(commit.to_string()),
            forum: Mutex::new(Vec::new()),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stop = shutdown.clone();
        let app = router(inner.clone());
        tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await });
        tokio::spawn(ship_orders(inner.clone(), shutdown));
        Ok(Shop { address, inner })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Starts or mends the fault: checkouts fail and are slow, and nobody ships.
    pub fn set_broken(&self, broken: bool) {
        self.inner.broken.store(broken, Ordering::SeqCst);
    }

    /// A new build of the same version reaches staging.
    pub fn deploy(&self, commit: &str) {
        *lock(&self.inner.commit) = commit.to_string();
    }

    /// A customer posts in the shop's public forum (an Atom feed).
    pub fn post_in_forum(&self, entry: String) {
        lock(&self.inner.forum).push(entry);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

async fn seed(database: &SqlitePool) -> sqlx::Result<()> {
    for statement in [
        "CREATE TABLE IF NOT EXISTS product (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL) STRICT",
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, product INTEGER NOT NULL REFERENCES product(id)) STRICT",
        "INSERT OR IGNORE INTO product VALUES (1, 'Teapot', 2900), (2, 'Cup', 900), (3, 'Kettle', 5400), (4, 'Tray', 1900)",
    ] {
        sqlx::query(statement).execute(database).await?;
    }
    Ok(())
}

fn router(shop: Arc<Inner>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/api/products", get(products))
        .route("/api/checkout", post(checkout))
        .route("/forum.atom", get(forum))
        .route("/health", get(health))
        .route("/ready", get(health))
        .route("/status", get(status))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, Json(json!({"error": "no such page"}))) })
        .layer(middleware::from_fn_with_state(shop.clone(), measure))
        .with_state(shop)
}

/// Endpoints that only machines ask.
const OPERATORS: [&str; 6] = ["/health", "/ready", "/status", "/version", "/metrics", "/forum.atom"];

/// Counts and times every request under its route template, and sets the security headers.
async fn measure(State(shop): State<Arc<Inner>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().to_string();
    let route = request.extensions().get::<MatchedPath>().map_or("other", |p| p.as_str()).to_string();
    let mut response = next.run(request).await;
    let code = u32::from(response.status().as_u16());
    // Operators' own looks are not traffic.
    if !OPERATORS.contains(&route.as_str()) {
        shop.requests.get_or_create(&RequestLabels { method, route: route.clone(), code }).inc();
        shop.duration.get_or_create(&RouteLabels { route }).observe(started.elapsed().as_secs_f64());
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

async fn home() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Tea shop</title><h1>Tea shop</h1><p>Teapots, cups, kettles.</p></html>",
    )
}

async fn products(State(shop): State<Arc<Inner>>) -> Response {
    let rows: sqlx::Result<Vec<(i64, String, i64)>> =
        sqlx::query_as("SELECT id, name, price_cents FROM product ORDER BY id LIMIT 50")
            .fetch_all(&shop.database)
            .await;
    match rows {
        Ok(rows) => {
            let items: Vec<_> =
                rows.iter().map(|(id, name, cents)| json!({"id": id, "name": name, "price_cents": cents})).collect();
            Json(json!({ "items": items })).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": "database"}))).into_response(),
    }
}

/// While broken, nine checkouts of ten time out on the payment provider and answer 500.
async fn checkout(State(shop): State<Arc<Inner>>) -> Response {
    if shop.broken.load(Ordering::SeqCst) && !shop.failing_turn.fetch_add(1, Ordering::SeqCst).is_multiple_of(10) {
        tokio::time::sleep(Duration::from_millis(350)).await;
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": "payment provider timed out"})))
            .into_response();
    }
    match sqlx::query("INSERT INTO orders (product) VALUES (1)").execute(&shop.database).await {
        Ok(done) => {
            shop.queued.fetch_add(1, Ordering::SeqCst);
            Json(json!({"order": done.last_insert_rowid(), "state": "accepted"})).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({"error": "database"}))).into_response(),
    }
}

async fn ship_orders(shop: Arc<Inner>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if !shop.broken.load(Ordering::SeqCst) {
            let waiting = shop.queued.load(Ordering::SeqCst);
            shop.queued.fetch_sub(waiting.min(SHIPPED_PER_SECOND), Ordering::SeqCst);
        }
    }
}

async fn health(State(shop): State<Arc<Inner>>) -> Response {
    let alive = sqlx::query("SELECT 1").execute(&shop.database).await.is_ok();
    let (code, word) = if alive { (StatusCode::OK, "pass") } else { (StatusCode::SERVICE_UNAVAILABLE, "fail") };
    let body = json!({ "status": word }).to_string();
    (code, [(header::CONTENT_TYPE, "application/health+json")], body).into_response()
}

async fn status(State(shop): State<Arc<Inner>>) -> Response {
    let shipping = if shop.broken.load(Ordering::SeqCst) { "degraded" } else { "ok" };
    Json(json!({"status": "ok", "components": {"database": "ok", "shipping": shipping}})).into_response()
}

async fn version(State(shop): State<Arc<Inner>>) -> Response {
    let commit = lock(&shop.commit).clone();
    Json(BTreeMap::from([("version", &shop.version), ("commit", &commit)])).into_response()
}

async fn metrics(State(shop): State<Arc<Inner>>) -> Response {
    shop.queue_depth.set(shop.queued.load(Ordering::SeqCst));
    if let Some((cpu, memory)) = own_usage() {
        let counted = shop.cpu_seconds.get();
        if cpu > counted {
            shop.cpu_seconds.inc_by(cpu - counted);
        }
        shop.memory_bytes.set(memory);
    }
    let mut body = String::new();
    match encode(&mut body, &lock(&shop.registry)) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], body).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// CPU seconds and resident bytes of this process, where /proc tells.
fn own_usage() -> Option<(f64, i64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let pages: i64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    // Linux reports 100 ticks a second and 4 KiB pages to user space on every platform this demo runs on.
    Some((ticks / 100.0, pages * 4096))
}

async fn forum(State(shop): State<Arc<Inner>>) -> Response {
    let entries = lock(&shop.forum).join("\n");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><feed xmlns=\"http://www.w3.org/2005/Atom\"><title>Tea shop forum</title><id>urn:tea:forum</id><updated>2026-01-01T00:00:00Z</updated>{entries}</feed>"
    );
    ([(header::CONTENT_TYPE, "application/atom+xml")], body).into_response()
}
