//! Gate runs, and the receipts that gates read back.

use super::evidence;
use super::row::{json, maybe_text, text, time, to_json};
use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::{Evidence, sha256_hex};
use crate::domain::notification::{Message, MessageKind, OutboxState};
use crate::domain::verdict::GateRun;

/// What `announce` leaves behind: one channel's acceptance of one release's announcement.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Announcement {
    pub service: String,
    pub version: Option<String>,
    pub commit: Option<String>,
    pub channel: String,
    pub at: Timestamp,
    /// SHA-256 of the text.
    pub digest: String,
    /// `pending`, `delivered`, `dead`: read from the outbox row that carried it.
    pub state: String,
    pub remote_id: Option<String>,
    pub acked_by: Option<String>,
}

impl State {
    /// Stores the run and appends `evidence` (gate id, item) to the ledger, in one transaction.
    pub async fn save_gate_run(&self, run: &GateRun, evidence: &[(String, Evidence)]) -> Result<()> {
        let (run, evidence) = (run.clone(), evidence.to_vec());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO gate_run (run, service, started_at, decision, body) VALUES (?1, ?2, ?3, ?4, ?5)
                         ON CONFLICT (run) DO UPDATE SET decision = ?4, body = ?5",
                    )
                    .bind(&run.run)
                    .bind(&run.service)
                    .bind(run.started_at.ms())
                    .bind(run.decision.word())
                    .bind(to_json(&run)?)
                    .execute(&mut *c)
                    .await?;
                    for (gate, item) in &evidence {
                        evidence::append(c, run.started_at, &run.run, gate, item, &run.rid).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
    pub async fn gate_run(&self, run: &str) -> Result<Option<GateRun>> {
        let row = sqlx::query("SELECT body FROM gate_run WHERE run = ?1")
            .bind(run)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(|row| json(&row, "body")).transpose()
    }
    /// Newest run of the whole checklist: one that was limited to some gates decides nothing.
    pub async fn latest_gate_run(&self, service: &str) -> Result<Option<GateRun>> {
        self.gate_run_before(service, Timestamp::MAX).await
    }
    /// Newest run of the whole checklist that started at or before `at`.
    pub async fn gate_run_before(&self, service: &str, at: Timestamp) -> Result<Option<GateRun>> {
        let row = sqlx::query(
            "SELECT body FROM gate_run WHERE service = ?1 AND started_at <= ?2 AND body ->> 'scope' IS NULL
             ORDER BY started_at DESC, run DESC LIMIT 1",
        )
        .bind(service)
        .bind(at.ms())
        .fetch_optional(&mut *self.reader().await?)
        .await?;
        row.map(|row| json(&row, "body")).transpose()
    }
    /// Announcements of a service, newest first; their state follows the outbox.
    pub async fn announcements(&self, service: &str) -> Result<Vec<Announcement>> {
        let rows = sqlx::query(
            "SELECT channel, enqueued_at, message, state, remote_id FROM outbox WHERE service = ?1 AND kind = ?2
             ORDER BY enqueued_at DESC, id DESC",
        )
        .bind(service)
        .bind(MessageKind::ReleaseAnnounced.word())
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter()
            .map(|row| {
                let message: Message = json(row, "message")?;
                let said = |key: &str| message.data.get(key).and_then(|v| v.as_str()).map(str::to_string);
                // A lease is the dispatcher's business: to everybody else the row still waits.
                let state = match text(row, "state")? {
                    leased if leased == OutboxState::Leased.word() => OutboxState::Pending.word().to_string(),
                    state => state,
                };
                Ok(Announcement {
                    service: message.service.clone(),
                    version: said("version"),
                    commit: said("commit"),
                    channel: text(row, "channel")?,
                    at: time(row, "enqueued_at")?,
                    digest: said("digest").unwrap_or_else(|| sha256_hex(message.body.as_bytes())),
                    state,
                    remote_id: maybe_text(row, "remote_id")?,
                    acked_by: said("acked_by"),
                })
            })
            .collect()
    }
}
