//! Where imported samples go: the store itself, or the daemon that holds it.

use super::reader::Piece;
use super::{Exit, Failure, Global, Sum};
use crate::config::Loaded;
use crate::domain::clock::Timestamp;
use crate::domain::remote_write;
use crate::domain::secret::authorization;
use crate::net::{Client, Request};
use crate::store::{Role, Store, StoreError};

/// Samples between two rounds of upkeep: what waits unsealed is held in memory.
const SEAL_EVERY: u64 = 2_000_000;
/// The daemon takes up to a million; this is a few megabytes.
const POST_SAMPLES: usize = 100_000;

pub(super) enum Target {
    /// A dry run.
    Nothing,
    Store {
        store: Store,
        unsealed: u64,
    },
    Daemon {
        client: Client,
        url: url::Url,
        /// The value of an `Authorization` header.
        token: Option<String>,
    },
}

impl Target {
    pub(super) async fn open(loaded: &Loaded, global: &Global) -> anyhow::Result<Target> {
        let dir = loaded.store_dir();
        match Store::open(&dir, Role::Daemon, global.clock.clone()).await {
            Ok(store) => {
                // What is dropped for space or age is the daemon's decision: it knows what an open launch needs.
                store.samples.set_limits(u64::MAX, None);
                store.samples.keep_rollups(std::time::Duration::MAX);
                Ok(Target::Store { store, unsealed: 0 })
            }
            Err(StoreError::Locked { .. }) if loaded.config.web.remote_write => {
                let url = format!("http://{}/api/v1/write", loaded.config.web.listen);
                let url = url::Url::parse(&url).map_err(|e| Failure::new(Exit::Usage, format!("{url}: {e}")))?;
                tracing::info!(%url, "a daemon holds the store: importing through it");
                let token = authorization(loaded.config.web.write_token.as_ref(), None);
                let token = token.map_err(|e| Failure::new(Exit::Usage, format!("[web] write_token: {e}")))?;
                Ok(Target::Daemon { client: Client::new(), url, token })
            }
            Err(error @ StoreError::Locked { .. }) => Err(Failure::new(Exit::TryAgain, error.to_string())
                .hint("stop the daemon, or let it take samples: [web] remote_write = true")
                .into()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn store(&mut self, piece: Piece, sum: &mut Sum, now: Timestamp) -> anyhow::Result<()> {
        match self {
            Target::Nothing => Ok(()),
            Target::Store { store, unsealed } => {
                let done = store.samples.append_series(piece.series).await?;
                store.samples.record_metadata(piece.metadata).await?;
                sum.stored += done.accepted;
                sum.out_of_order += done.out_of_order;
                sum.duplicate += done.duplicate;
                sum.too_far_ahead += done.too_far_ahead;
                sum.series_limit += done.series_limit;
                let counted =
                    done.accepted + done.out_of_order + done.duplicate + done.too_far_ahead + done.series_limit;
                sum.repeated += (piece.samples as u64).saturating_sub(counted);
                *unsealed += done.accepted;
                if *unsealed >= SEAL_EVERY {
                    *unsealed = 0;
                    store.samples.maintain(now, Timestamp::from_ms(i64::MIN)).await?;
                }
                Ok(())
            }
            Target::Daemon { client, url, token } => {
                for part in parts(piece) {
                    post(client, url, token.as_deref(), part, sum).await?;
                }
                Ok(())
            }
        }
    }

    pub(super) async fn close(self, now: Timestamp) -> anyhow::Result<()> {
        if let Target::Store { store, .. } = self {
            let sealed = store.samples.maintain(now, Timestamp::from_ms(i64::MIN)).await;
            store.close().await;
            sealed?;
        }
        Ok(())
    }
}

/// A piece may end well above what it was meant to hold; the daemon has a limit.
fn parts(piece: Piece) -> Vec<Piece> {
    let mut parts = vec![Piece { metadata: piece.metadata, ..Piece::default() }];
    for (labels, samples) in piece.series {
        for samples in samples.chunks(POST_SAMPLES) {
            if parts.last().is_none_or(|p| p.samples + samples.len() > POST_SAMPLES && p.samples > 0) {
                parts.push(Piece::default());
            }
            if let Some(part) = parts.last_mut() {
                part.samples += samples.len();
                part.series.push((labels.clone(), samples.to_vec()));
            }
        }
    }
    parts
}

async fn post(client: &Client, url: &url::Url, token: Option<&str>, part: Piece, sum: &mut Sum) -> anyhow::Result<()> {
    if part.samples == 0 && part.metadata.is_empty() {
        return Ok(());
    }
    let body = remote_write::encode(&part.series, &part.metadata);
    let packed = snap::raw::Encoder::new().compress_vec(&body)?;
    let mut request = Request::post(url.clone(), "application/x-protobuf", packed)
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0");
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = client.send(request).await?;
    match response.status {
        200 | 204 => sum.stored += part.samples as u64,
        // The rest was stored. The first word of the answer is how many were not.
        400 => {
            let text = response.text();
            let refused = text.split(' ').next().and_then(|n| n.parse().ok());
            let Some(refused) = refused else {
                return Err(Failure::new(Exit::No, format!("the daemon refuses: {text}")).into());
            };
            tracing::warn!("{text}");
            sum.refused += refused;
            sum.stored += (part.samples as u64).saturating_sub(refused);
        }
        status => {
            let text = response.text();
            return Err(Failure::new(Exit::TryAgain, format!("the daemon answers {status}: {text}")).into());
        }
    }
    Ok(())
}
