//! Runs the gates for a launch and keeps what they saw: run and evidence go into the ledger in one transaction.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Setup;
use crate::domain::evidence::LedgerEntry;
use crate::domain::fingerprint::{FingerprintKey, WeakKey};
use crate::domain::verdict::GateRun;
use crate::gates::context::{AnnouncementReceipt, Receipts};
use crate::gates::evidence::Kept;
use crate::gates::{GateInputs, Options, RunError, run_gates};
use crate::net::Client;
use crate::store::{Store, StoreError};

#[derive(Debug, thiserror::Error)]
pub enum GatingError {
    #[error("no service {0} in the configuration")]
    NoService(String),
    #[error(transparent)]
    Key(#[from] WeakKey),
    #[error(transparent)]
    Gates(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One whole run for `service`, stored. Cancelling `stop` ends it within a second with what it has.
pub async fn run(store: &Store, setup: &Setup, service: &str, stop: CancellationToken) -> Result<GateRun, GatingError> {
    let service_config = setup.services.get(service).ok_or_else(|| GatingError::NoService(service.into()))?.clone();
    let fingerprint_key = FingerprintKey::read(|name| std::env::var(name).ok())?;
    let inputs = GateInputs {
        service: service.to_string(),
        service_config,
        config: setup.gates.clone(),
        repo: None,
        url: None,
        channels: setup.channels.keys().cloned().collect(),
        receipts: receipts(store, service).await?,
        runs_dir: setup.run_dir.clone(),
        client: Client::new(),
        clock: store.clock.clone(),
        // A launch is decided on what is true now.
        cache_dir: None,
        options: Options { allow_exec: setup.allow_exec, fingerprint_key, ..Options::default() },
        progress: Arc::new(|gate, what| tracing::debug!(gate, what, "gate")),
        stop,
    };
    let checked = run_gates(inputs).await?;
    store.state.save_gate_run(&checked.run, &checked.evidence).await?;
    Ok(checked.run)
}

/// Newer imports are more likely to be about this release.
const IMPORTS_MAX: u32 = 60;

/// What only the store knows and gates ask for.
pub async fn receipts(store: &Store, service: &str) -> Result<Receipts, StoreError> {
    let announcements = store.state.announcements(service).await?;
    let receipt = |a: crate::store::state::gates::Announcement| AnnouncementReceipt {
        version: a.version,
        commit: a.commit,
        channel: a.channel,
        at: a.at,
        state: a.state,
        remote_id: a.remote_id,
        acked_by: a.acked_by,
    };
    let launch = store.state.open_launch(service).await?;
    let evidence = store.state.imports(IMPORTS_MAX).await?;
    let kept = |(entry, content): (LedgerEntry, serde_json::Value)| Kept { content, imported_at: entry.at };
    Ok(Receipts {
        announcements: announcements.into_iter().map(receipt).collect(),
        evidence: evidence.into_iter().map(kept).collect(),
        launch_at: launch.filter(|l| l.live_at.is_none()).map(|l| l.planned_at),
    })
}
