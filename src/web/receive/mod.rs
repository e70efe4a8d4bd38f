//! What others may send us: `POST /api/v1/write` (Prometheus remote write 1.0) and `POST /api/v1/otlp/v1/metrics` (OTLP).
//! Closed unless `[web]` opens them; loopback like everything here, never from a page in a browser, and where
//! `[web] write_token` is set only from who knows it.
//!
//! A request waits for its turn, is read within a time and a size, unpacked, decoded off the event loop, and stored as
//! one batch. `sources/receive` decodes, `store` takes it whole; here is only HTTP.

mod otlp;
mod remote_write;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::routing::post;
use http_body_util::BodyExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::App;
use crate::domain::metric::{Labels, Matcher, SeriesReader as _};
use crate::domain::secret::Secret;
use crate::sources::receive::remote_write::Cache;
use crate::sources::receive::totals::{Increase, Totals};
use crate::sources::receive::{Received, Refused};
use crate::store::StoreError;
use crate::store::samples::Appended;
use crate::telemetry::own;

pub(super) const REMOTE_WRITE: &str = "/api/v1/write";
/// As Prometheus names it.
pub(super) const OTLP: &str = "/api/v1/otlp/v1/metrics";

/// Longest body as it comes over the wire.
const PACKED_BYTES_MAX: usize = 16 << 20;
/// Of a body that is too long.
const THROWN_AWAY_MAX: usize = 4 * PACKED_BYTES_MAX;
/// Longest body after unpacking. Prometheus sends about 200 KiB, other agents up to 8 MiB.
const UNPACKED_BYTES_MAX: usize = 32 << 20;
/// From the first byte of a body to its last.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// A sender that cannot have its turn within this comes back later.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// Requests worked on at once: bounds memory, and the store writes one batch after the other anyway.
const AT_ONCE: usize = 2;
/// A sender that does one thing wrong does it with every request.
const WARN_EVERY_S: u64 = 60;
/// A series that was silent for longer starts from zero again, as a counter does after a restart.
const TOTAL_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// A day at one a second, and those of series with more labels besides.
const TOTAL_SAMPLES_MAX: usize = 1_000_000;
/// What a sender is told to wait, in seconds.
const RETRY_AFTER: &str = "5";

/// Which doors are open, and to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Open {
    pub remote_write: bool,
    pub otlp: bool,
    /// What a sender has to show. `None`: nothing.
    pub token: Option<Secret>,
}

impl Open {
    /// May this path be posted to?
    pub(super) fn allows(&self, path: &str) -> bool {
        self.remote_write && path == REMOTE_WRITE || self.otlp && path == OTLP
    }
}

/// What the handlers share.
pub(in crate::web) struct Doors {
    pub(in crate::web) open: Open,
    turns: Semaphore,
    cache: Mutex<Cache>,
    /// Held until the new ones are stored: two requests never add to the same.
    totals: tokio::sync::Mutex<Totals>,
    /// Second, on the monotonic clock, from which on a refusal is worth a line in the log again.
    warn_from: AtomicU64,
}

impl Doors {
    pub(super) fn new(open: Open) -> Doors {
        Doors {
            open,
            turns: Semaphore::new(AT_ONCE),
            cache: Mutex::default(),
            totals: tokio::sync::Mutex::default(),
            warn_from: AtomicU64::new(0),
        }
    }

    /// Agents seldom show their operator what we answer: our log does, now and then.
    fn warn(&self, now: Duration, door: &str, why: &str) {
        let now = now.as_secs();
        let due = self
            .warn_from
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |from| (now >= from).then_some(now + WARN_EVERY_S));
        if due.is_ok() {
            tracing::warn!(door, "{why}");
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Trouble> {
        let busy = || Trouble::Later("too many requests at once".into());
        tokio::time::timeout(TURN_WITHIN, self.turns.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
    }
}

pub(super) fn router() -> Router<App> {
    Router::new().route(REMOTE_WRITE, post(remote_write::write)).route(OTLP, post(otlp::write))
}

/// Why a request was not taken as a whole, in words for the sender.
#[derive(Debug)]
enum Trouble {
    /// 400: sending it again will not help.
    Bad(String),
    /// 401.
    Unknown(&'static str),
    /// 413.
    TooLarge(String),
    /// 415.
    Unsupported(String),
    /// 503: sending it again will.
    Later(String),
}

impl Trouble {
    fn parts(self) -> (StatusCode, String) {
        match self {
            Trouble::Bad(why) => (StatusCode::BAD_REQUEST, why),
            Trouble::Unknown(why) => (StatusCode::UNAUTHORIZED, why.into()),
            Trouble::TooLarge(why) => (StatusCode::PAYLOAD_TOO_LARGE, why),
            Trouble::Unsupported(why) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, why),
            Trouble::Later(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
    fn packed_too_large() -> Trouble {
        Trouble::TooLarge(format!("the body is longer than {} MiB; send less at a time", PACKED_BYTES_MAX >> 20))
    }
    fn unpacked_too_large() -> Trouble {
        let mib = UNPACKED_BYTES_MAX >> 20;
        Trouble::TooLarge(format!("the body is longer than {mib} MiB after unpacking; send less at a time"))
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        // The store's own words stay in the log: a path or a statement is nothing for a client.
        tracing::error!(%error, "received samples could not be stored");
        Trouble::Later("the samples could not be stored; see hypercare's log".into())
    }
}

/// The value of a header without its parameters, in lower case; empty when it is absent.
fn plain_header(headers: &HeaderMap, name: header::HeaderName) -> String {
    let value = headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// Before a byte of the body is read. The token is read at each request, so that a new one needs no restart.
fn check_token(app: &App, door: &'static str, headers: &HeaderMap) -> Result<(), Trouble> {
    let Some(token) = &app.doors.open.token else { return Ok(()) };
    let token = token.reveal().map_err(|error| {
        tracing::error!(door, %error, "[web] write_token cannot be read: samples are refused");
        Trouble::Later("the token cannot be checked; see hypercare's log".into())
    })?;
    let shown = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(bearer);
    if shown.is_some_and(|shown| token.is(shown)) {
        return Ok(());
    }
    let why = match shown {
        None => "samples need a token: send Authorization: Bearer and the value of [web] write_token",
        Some(_) => "this is not the token of [web] write_token",
    };
    app.doors.warn(app.store.clock.monotonic(), door, &format!("samples refused: {why}"));
    Err(Trouble::Unknown(why))
}

/// The scheme's name has no case.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What every refusal of a door says besides its body.
fn add_headers(status: StatusCode, headers: &mut HeaderMap) {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        _ => {}
    }
}

/// Agents have no origin; a page in a browser that tries to fill our store has.
fn check_origin(headers: &HeaderMap) -> Result<(), Trouble> {
    match headers.contains_key(header::ORIGIN) {
        true => Err(Trouble::Bad("pages in a browser may not send samples".into())),
        false => Ok(()),
    }
}

/// The whole body. One that is too long is read on for a while and thrown away, so that its sender sees our answer and
/// not a broken connection, which it would take for a reason to try again.
async fn read(body: Body) -> Result<Vec<u8>, Trouble> {
    let late = || Trouble::Later(format!("the body did not arrive within {} s", BODY_WITHIN.as_secs()));
    tokio::time::timeout(BODY_WITHIN, collect(body)).await.map_err(|_| late())?
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Trouble> {
    let (mut kept, mut total) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Trouble::Bad("the body is cut short".into()))?;
        let Some(data) = frame.data_ref() else { continue };
        total += data.len();
        if total > PACKED_BYTES_MAX {
            kept = Vec::new();
        } else {
            kept.extend_from_slice(data);
        }
        if total > THROWN_AWAY_MAX {
            break;
        }
    }
    if total > PACKED_BYTES_MAX { Err(Trouble::packed_too_large()) } else { Ok(kept) }
}

/// Runs `work` where it may take its milliseconds.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        tracing::error!("decoding received samples panicked");
        Trouble::Bad("our own fault; the log says more".into())
    })?
}

/// Stores what was decoded. Gives back what was refused, by the decoder and by the store.
async fn store(app: &App, door: &'static str, received: Received) -> Result<Refused, Trouble> {
    let Received { series, increases, metadata, mut refused } = received;
    let mut done = app.store.samples.append_series(series).await?;
    if !increases.is_empty() {
        done += add_up(app, increases, &mut refused).await?;
    }
    if !metadata.is_empty() {
        app.store.samples.record_metadata(metadata).await?;
    }
    count(door, &done, refused.points);
    for (points, why) in [
        (done.out_of_order, "out of order: older than the last sample of their series"),
        (done.duplicate, "duplicate: another value for the same series and time"),
        (done.too_far_ahead, "more than 10 minutes ahead of this machine's clock"),
        (done.series_limit, "of new series beyond the limit of live series"),
    ] {
        if points > 0 {
            refused.points += points;
            refused.why.push(format!("{points} {why}"));
        }
    }
    if !refused.is_empty() {
        app.doors.warn(app.store.clock.monotonic(), door, &told(&refused));
    }
    Ok(refused)
}

/// Adds to what each series has, and stores that.
async fn add_up(
    app: &App,
    increases: Vec<(Labels, Vec<Increase>)>,
    refused: &mut Refused,
) -> Result<Appended, Trouble> {
    let (samples, now) = (&app.store.samples, app.store.clock.now());
    let mut totals = app.doors.totals.lock().await;
    let unknown: Vec<Labels> = totals.unknown(&increases).into_iter().cloned().collect();
    for labels in unknown {
        let same: Vec<Matcher> = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let found = samples.select(&same, now.minus(TOTAL_WITHIN), now.plus(TOTAL_WITHIN), TOTAL_SAMPLES_MAX).await;
        let found = found.map_err(|error| {
            tracing::error!(%error, "the total of a received series could not be read");
            Trouble::Later("the samples could not be added up; see hypercare's log".into())
        })?;
        let known = found.iter().find(|s| s.labels == labels).map_or(&[][..], |s| &s.samples);
        totals.learn(&labels, known);
    }
    let series = totals.after(increases, refused);
    let sent: usize = series.iter().map(|(_, samples)| samples.len()).sum();
    let done = samples.append_series(series.clone()).await?;
    match done.accepted == sent as u64 {
        true => totals.keep(&series),
        // The store knows which of them it took.
        false => totals.forget(&series),
    }
    Ok(done)
}

fn count(door: &'static str, done: &Appended, invalid: u64) {
    for (result, samples) in [
        ("accepted", done.accepted),
        ("out_of_order", done.out_of_order),
        ("duplicate_ts", done.duplicate),
        ("too_far_ahead", done.too_far_ahead),
        ("series_limit", done.series_limit),
        ("invalid", invalid),
    ] {
        if samples > 0 {
            own::received(door, result, samples);
        }
    }
}

/// What was not stored, in one line.
fn told(refused: &Refused) -> String {
    format!("{} samples were not stored, the others were: {}", refused.points, refused.why.join("; "))
}

#[cfg(test)]
mod tests;
