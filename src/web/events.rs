//! `/api/hc/v1/events`: a server-sent event whenever something changed; the page then asks for what is new.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::watch;

use super::App;
use super::problem::problem;

/// How often the store is asked whether anybody wrote, while somebody listens.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pages that may listen at once; each is an open connection.
const LISTENERS_MAX: usize = 64;
/// Lets proxies and browsers see that the line is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Notices commits of this process and others, until the app stops. Nothing is asked while nobody listens.
pub(super) async fn look_for_changes(app: App) {
    let mut last = None;
    loop {
        tokio::select! {
            () = app.stopping.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if app.changes.receiver_count() == 0 {
            last = None;
            continue;
        }
        match app.store.revision().await {
            Ok(now) if last != Some(now) => {
                last = Some(now);
                app.changes.send_modify(|n| *n += 1);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "asking the store for changes failed"),
        }
    }
}

pub(super) async fn events(State(app): State<App>) -> Response {
    if app.changes.receiver_count() >= LISTENERS_MAX {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too many pages listen already");
    }
    // Subscribed before the first answer, so that no change falls between.
    let listener = app.changes.subscribe();
    let stream = stream::unfold((app, listener, true), next);
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

type Listening = (App, watch::Receiver<u64>, bool);

async fn next((app, mut listener, first): Listening) -> Option<(Result<Event, Infallible>, Listening)> {
    if first {
        return Some((Ok(Event::default().retry(LOOK_EVERY * 2).comment("listening")), (app, listener, false)));
    }
    let number = tokio::select! {
        () = app.stopping.cancelled() => return None,
        changed = listener.changed() => {
            changed.ok()?;
            *listener.borrow_and_update()
        }
    };
    let event = Event::default().event("change").id(number.to_string()).data(number.to_string());
    Some((Ok(event), (app, listener, false)))
}
