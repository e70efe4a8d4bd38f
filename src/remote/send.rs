//! Sending: empties the durable queue of samples into the store elsewhere, one request after the other, so that the samples
//! of a series arrive in order and a position says exactly what is there.
//!
//! 2xx moves the position. 5xx, 408, 429 and no answer are tried again for as long as it takes, slower and slower or as
//! `Retry-After` says: what waits is on disk. Any other answer means that no second try will help: what it refused is
//! counted and left behind (remote write 1.0, "Retries & Backoff").

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{advice, excerpt, sign};
use crate::domain::clock::SharedClock;
use crate::domain::remote_write;
use crate::net::{Client, Redirects, Request, redact_url, retry_after};
use crate::store::samples::{Piece, Sent};
use crate::store::{Remote, Samples, StoreError};
use crate::telemetry::own;

/// Samples of one request. Prometheus sends 2,000, agents up to 10,000; one request is what may be sent twice after a
/// crash, and what is in memory.
pub const SAMPLES_PER_REQUEST: usize = 5_000;
/// New samples are awaited together for so long: one request instead of one for each target.
const GATHER: Duration = Duration::from_millis(50);
/// First and longest wait before the next try.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A server cannot silence us longer than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// At shutdown the request under way has this long to be answered, so that it is not sent twice.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After an error of our own file.
const PAUSE: Duration = Duration::from_secs(5);
/// Refusals are told at most this often; the counter has them all.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Longest answer that is looked at.
const ANSWER_BYTES: usize = 4096;

/// Sends what `samples` has waiting.
pub struct Sender {
    samples: Samples,
    remote: Remote,
    client: Client,
    clock: SharedClock,
    /// What was refused was last told at this time, on the monotonic clock.
    told: Option<Duration>,
}

/// What became of a piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    Taken,
    /// Left behind, for this reason.
    Refused(String),
    /// Shutdown came first.
    Stopped,
}

/// What one try brought.
enum Tried {
    Taken,
    Refused(String),
    Later { why: String, after: Option<Duration> },
}

impl Sender {
    pub fn new(samples: Samples, remote: &Remote, client: Client, clock: SharedClock) -> Sender {
        Sender { samples, remote: remote.clone(), client, clock, told: None }
    }

    /// Sends until shutdown; goes on where the last run came to.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let result = self.empty(&shutdown).await;
            let Err(error) = result else { return };
            tracing::error!(%error, "samples that wait to be sent cannot be read; trying again");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn empty(&mut self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        let (mut sent, mut under_way) = self.samples.keep_outgoing().await?;
        while !shutdown.is_cancelled() {
            match self.samples.outgoing(sent, under_way.take(), SAMPLES_PER_REQUEST).await? {
                Some(piece) => {
                    self.samples.sending(piece.upto).await?;
                    match self.deliver(&piece, shutdown).await {
                        Delivered::Stopped => return Ok(()),
                        delivered => {
                            self.settle(&piece, delivered).await?;
                            sent = piece.upto;
                        }
                    }
                }
                None => self.wait(sent, shutdown).await,
            }
        }
        Ok(())
    }

    async fn wait(&self, sent: Sent, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.samples.something_to_send(sent) => tokio::time::sleep(GATHER).await,
        }
    }

    async fn settle(&mut self, piece: &Piece, delivered: Delivered) -> Result<(), StoreError> {
        match delivered {
            Delivered::Refused(why) => {
                own::sent_elsewhere("refused", piece.samples);
                let now = self.clock.monotonic();
                if self.told.is_none_or(|t| now.saturating_sub(t) >= TELL_EVERY) {
                    self.told = Some(now);
                    tracing::error!(samples = piece.samples, "{why}; of these samples some or all are not there");
                }
            }
            _ => own::sent_elsewhere("sent", piece.samples),
        }
        if piece.forgotten > 0 {
            own::sent_elsewhere("forgotten", piece.forgotten);
        }
        self.samples.sent(piece.upto).await
    }

    /// Tries until there is an answer that counts.
    pub async fn deliver(&self, piece: &Piece, shutdown: &CancellationToken) -> Delivered {
        if piece.samples == 0 {
            return Delivered::Taken;
        }
        let Some(body) = remote_write::packed(&piece.series).map(bytes::Bytes::from) else {
            return Delivered::Refused("the request is too long to be packed".into());
        };
        let mut backoff = BACKOFF.0;
        for tries in 1u64.. {
            let tried = tokio::select! {
                tried = self.attempt(body.clone()) => tried,
                () = async {
                    shutdown.cancelled().await;
                    tokio::time::sleep(LAST_ANSWER_WITHIN).await;
                } => return Delivered::Stopped,
            };
            let (why, after) = match tried {
                Tried::Taken | Tried::Refused(_) if tries > 1 => {
                    tracing::info!(tries, "the store elsewhere answers again; sending what waited");
                    return done(tried);
                }
                Tried::Later { why, after } => (why, after.map(|a| a.min(RETRY_AFTER_MAX))),
                tried => return done(tried),
            };
            self.samples.sending_is_stuck();
            own::sent_elsewhere("retried", piece.samples);
            if tries == 1 {
                tracing::warn!("{why}; samples wait on disk until it answers");
            } else {
                tracing::debug!(tries, "{why}");
            }
            let pause = after.unwrap_or_default().max(jittered(backoff));
            backoff = (backoff * 2).min(BACKOFF.1);
            tokio::select! {
                () = shutdown.cancelled() => return Delivered::Stopped,
                () = tokio::time::sleep(pause) => {}
            }
        }
        Delivered::Stopped
    }

    async fn attempt(&self, body: bytes::Bytes) -> Tried {
        let at = redact_url(&self.remote.write);
        let request = Request {
            timeout: self.remote.timeout.get(),
            body_bytes_limit: ANSWER_BYTES,
            truncate: true,
            redirects: Redirects::None,
            ..Request::post(self.remote.write.clone(), "application/x-protobuf", body)
        }
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0");
        let later = |why: String, after| Tried::Later { why: format!("{at}: {why}"), after };
        let request = match sign(&self.remote, request) {
            Ok(request) => request,
            Err(error) => return later(error.to_string(), None),
        };
        let response = match self.client.send(request).await {
            Ok(response) => response,
            Err(error) => return later(error.to_string(), None),
        };
        let said = excerpt(&response.body);
        let words =
            [advice(response.status), &said].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("; ");
        let why = format!("answered {}: {words}", response.status);
        match response.status {
            200..=299 => Tried::Taken,
            // Redirects are no answer to the question; they end when the configuration does.
            300..=399 | 408 | 429 | 500..=599 => later(why, retry_after(&response, self.clock.now())),
            _ => Tried::Refused(format!("{at} {why}")),
        }
    }
}

fn done(tried: Tried) -> Delivered {
    match tried {
        Tried::Refused(why) => Delivered::Refused(why),
        _ => Delivered::Taken,
    }
}

/// Between three quarters and the whole, so that senders that failed together come back apart.
fn jittered(wait: Duration) -> Duration {
    let dice = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    wait * 3 / 4 + wait * dice / 1024
}
