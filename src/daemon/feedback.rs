//! Hears users: polls each feedback source at its pace, and takes what the form brings. Items and cursor commit together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::poll::{Ingest, sleep_until};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{FeedbackPage, UP};
use crate::domain::metric::{LabelledSample, Labels, NAME, Sample};
use crate::sources::feedback::Feedback;
use crate::sources::metric::Batch;
use crate::store::{Store, StoreError};

/// Pages taken in a row before the source has to wait its interval: a back-fill must not hold the loop for ever.
const PAGES_AT_ONCE: usize = 20;

/// Stores a page and wakes the rules when it brought something new.
pub async fn save(
    store: &Store,
    service: &str,
    source: &str,
    page: &FeedbackPage,
    arrived: &Notify,
) -> Result<u64, StoreError> {
    let new = store.state.save_feedback_page(service, source, page, store.clock.now()).await?;
    if new > 0 {
        arrived.notify_one();
    }
    Ok(new)
}

/// Polls one source until shutdown.
pub async fn listen(
    feedback: Feedback,
    store: Store,
    ingest: Ingest,
    arrived: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let Some(source) = &feedback.source else { return };
    let mut due = store.clock.now();
    while sleep_until(due, &store.clock, &shutdown).await.is_ok() {
        due = store.clock.now().plus(feedback.interval);
        for _ in 0..PAGES_AT_ONCE {
            let cursor = match store.state.feedback_cursor(&feedback.name).await {
                Ok(cursor) => cursor,
                Err(error) => {
                    tracing::error!(source = %feedback.name, %error, "reading the feedback cursor failed");
                    break;
                }
            };
            let now = store.clock.now();
            let polled = tokio::select! {
                () = shutdown.cancelled() => return,
                polled = source.poll(&cursor, now) => polled,
            };
            ingest.push(answered(&feedback, now, polled.is_ok())).await;
            let page = match polled {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(source = %feedback.name, %error, "polling feedback failed");
                    let text = error.to_string();
                    let noted = store.state.record_feedback_error(&feedback.service, &feedback.name, now, &text).await;
                    if let Err(error) = noted {
                        tracing::error!(source = %feedback.name, %error, "recording a feedback error failed");
                    }
                    break;
                }
            };
            if let Err(error) = save(&store, &feedback.service, &feedback.name, &page, &arrived).await {
                // The cursor did not move, so the next poll reads the same page again: nothing is lost.
                tracing::error!(source = %feedback.name, %error, "saving feedback failed");
                break;
            }
            if let Some(patience) = page.not_before {
                due = due.max(patience);
            }
            if !page.more {
                break;
            }
            if shutdown.is_cancelled() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Whether a poll was answered, as a series: what was heard up to a time can be said later, and rules can ask for it.
fn answered(feedback: &Feedback, at: Timestamp, up: bool) -> Batch {
    let labels = Labels::new([(NAME, UP), ("service", &feedback.service), ("source", &feedback.name)]);
    let sample = LabelledSample { labels, sample: Sample { t: at, v: f64::from(u8::from(up)) } };
    Batch { target: feedback.name.clone(), samples: vec![sample], ..Batch::default() }
}
