//! The outbox: claim with a lease, send outside the transaction, settle.
//!
//! Order within (channel, group) is strict: only the lowest unsettled `seq` is ever handed out. A row that was tried keeps
//! its turn, because the world may have seen it; one that was never tried gives way to newer news of the same kind.

use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::audit::{self, Deed};
use super::row::{from_serde_word, int, json, maybe_text, maybe_time, text, time, to_json, word};
use super::{Result, State};
use crate::domain::alert::AlertSeverity;
use crate::domain::clock::Timestamp;
use crate::domain::notification::{DeliveryAttempt, MessageKind, NewOutbox, OutboxRow, OutboxState, Settle};
use crate::store::StoreError;

/// Depth per channel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OutboxDepth {
    pub channel: String,
    pub pending: u64,
    pub delivered: u64,
    pub dead: u64,
    pub oldest_pending: Option<Timestamp>,
}

/// News that newer news of the same family makes needless. Documents, announcements and tests are never superseded.
fn family(kind: MessageKind) -> Option<&'static str> {
    match kind {
        MessageKind::AlertFiring | MessageKind::AlertResolved | MessageKind::AlertUnknown => Some("alert."),
        MessageKind::LaunchStateChanged => Some("launch."),
        MessageKind::ReleaseAnnounced | MessageKind::ReportReady | MessageKind::ChannelTest => None,
    }
}

/// Inserts inside the caller's transaction; false, and nothing changes, when (channel, group_key, seq) or the id exists.
/// Older rows of the family that were never tried become `coalesced`.
pub(super) async fn insert(connection: &mut SqliteConnection, row: &NewOutbox) -> Result<bool> {
    let done = sqlx::query(
        "INSERT INTO outbox (id, channel, group_key, seq, service, kind, reason, priority, message, failover,
                             enqueued_at, not_before, give_up_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, 'pending') ON CONFLICT DO NOTHING",
    )
    .bind(&row.id)
    .bind(&row.channel)
    .bind(&row.group_key)
    .bind(row.seq)
    .bind(&row.message.service)
    .bind(row.message.kind.word())
    .bind(row.reason.word())
    .bind(rank(row.priority))
    .bind(to_json(&row.message)?)
    .bind(&row.failover)
    .bind(row.enqueued_at.ms())
    .bind(row.not_before.ms())
    .bind(row.give_up_at.ms())
    .execute(&mut *connection)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if let Some(family) = family(row.message.kind) {
        sqlx::query(
            "UPDATE outbox SET state = 'coalesced'
             WHERE channel = ?1 AND group_key = ?2 AND seq < ?3 AND state = 'pending' AND attempts = 0
               AND substr(kind, 1, length(?4)) = ?4",
        )
        .bind(&row.channel)
        .bind(&row.group_key)
        .bind(row.seq)
        .bind(family)
        .execute(connection)
        .await?;
    }
    Ok(true)
}

fn rank(priority: AlertSeverity) -> i64 {
    match priority {
        AlertSeverity::Info => 0,
        AlertSeverity::Warning => 1,
        AlertSeverity::Critical => 2,
    }
}

impl State {
    /// Ignores rows whose (channel, group_key, seq) exists.
    pub async fn enqueue(&self, rows: Vec<NewOutbox>) -> Result<()> {
        self.db
            .write(move |c| {
                Box::pin(async move {
                    for row in &rows {
                        insert(c, row).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
    /// Rows of `channel` that are due (`not_before <= now`, not leased or lease over), critical first then oldest,
    /// and only the lowest unsettled `seq` of each group. Sets `lease_until = now + lease` and counts the attempt.
    pub async fn claim_outbox(
        &self,
        channel: &str,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<OutboxRow>> {
        let channel = channel.to_string();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let ids: Vec<String> = sqlx::query_scalar(
                        "SELECT id FROM outbox AS o
                         WHERE channel = ?1 AND not_before <= ?2
                           AND (state = 'pending' OR (state = 'leased' AND lease_until <= ?2))
                           AND NOT EXISTS (SELECT 1 FROM outbox AS earlier
                                           WHERE earlier.channel = o.channel AND earlier.group_key = o.group_key
                                             AND earlier.seq < o.seq AND earlier.state IN ('pending', 'leased'))
                         ORDER BY priority DESC, enqueued_at, seq, id LIMIT ?3",
                    )
                    .bind(&channel)
                    .bind(now.ms())
                    .bind(limit)
                    .fetch_all(&mut *c)
                    .await?;
                    let mut claimed = Vec::with_capacity(ids.len());
                    for id in ids {
                        let row = sqlx::query(
                            "UPDATE outbox SET state = 'leased', lease_until = ?2, attempts = attempts + 1
                             WHERE id = ?1 RETURNING *",
                        )
                        .bind(&id)
                        .bind(now.plus(lease).ms())
                        .fetch_one(&mut *c)
                        .await?;
                        claimed.push(outbox_row(&row)?);
                    }
                    Ok(claimed)
                })
            })
            .await
    }
    /// Records the attempt and the row's new state in one transaction. A row that was dropped meanwhile stays dropped,
    /// unless it was delivered: that cannot be undone, so it is said.
    pub async fn settle_outbox(&self, id: &str, attempt: DeliveryAttempt, settle: Settle) -> Result<()> {
        let id = id.to_string();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    insert_attempt(c, &attempt).await?;
                    let done =
                        match &settle {
                            Settle::Delivered { remote_id } => {
                                sqlx::query(
                                    "UPDATE outbox SET state = 'delivered', accepted_at = ?2, remote_id = ?3,
                                                   lease_until = NULL, last_error = NULL
                                 WHERE id = ?1",
                                )
                                .bind(&id)
                                .bind(attempt.at.plus(Duration::from_millis(attempt.duration_ms)).ms())
                                .bind(remote_id)
                                .execute(c)
                                .await?
                            }
                            Settle::Retry { not_before, error } => sqlx::query(
                                "UPDATE outbox SET state = iif(state = 'leased', 'pending', state), not_before = ?2,
                                                   last_error = ?3, lease_until = NULL
                                 WHERE id = ?1",
                            )
                            .bind(&id)
                            .bind(not_before.ms())
                            .bind(error)
                            .execute(c)
                            .await?,
                            Settle::Dead { error } => {
                                sqlx::query(
                                    "UPDATE outbox SET state = iif(state IN ('leased', 'pending'), 'dead', state),
                                                   last_error = ?2, lease_until = NULL
                                 WHERE id = ?1",
                                )
                                .bind(&id)
                                .bind(error)
                                .execute(c)
                                .await?
                            }
                        };
                    if done.rows_affected() == 0 {
                        return Err(StoreError::NotFound(format!("outbox row {id}")));
                    }
                    Ok(())
                })
            })
            .await
    }
    /// Frees every lease (start of the daemon: the previous owner is gone).
    pub async fn release_leases(&self) -> Result<u64> {
        self.db
            .write(|c| {
                Box::pin(async move {
                    let free = "UPDATE outbox SET state = 'pending', lease_until = NULL WHERE state = 'leased'";
                    Ok(sqlx::query(free).execute(c).await?.rows_affected())
                })
            })
            .await
    }
    /// Next instant at which some row becomes due, for the dispatcher's sleep.
    pub async fn next_outbox_due(&self) -> Result<Option<Timestamp>> {
        let due: Option<i64> = sqlx::query_scalar(
            "SELECT min(iif(o.state = 'leased', max(o.lease_until, o.not_before), o.not_before)) FROM outbox AS o
             WHERE o.state IN ('pending', 'leased')
               AND NOT EXISTS (SELECT 1 FROM outbox AS earlier
                               WHERE earlier.channel = o.channel AND earlier.group_key = o.group_key
                                 AND earlier.seq < o.seq AND earlier.state IN ('pending', 'leased'))",
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        Ok(due.map(Timestamp::from_ms))
    }
    /// Newest first.
    pub async fn outbox(&self, state: Option<OutboxState>, limit: u32) -> Result<Vec<OutboxRow>> {
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE ?1 IS NULL OR state = ?1 ORDER BY enqueued_at DESC, id DESC LIMIT ?2",
        )
        .bind(state.map(OutboxState::word))
        .bind(limit)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(outbox_row).collect()
    }
    pub async fn outbox_row(&self, id: &str) -> Result<Option<OutboxRow>> {
        let row = sqlx::query("SELECT * FROM outbox WHERE id = ?1")
            .bind(id)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.as_ref().map(outbox_row).transpose()
    }
    /// Rows enqueued in `[from, to]`, oldest first, of one service when given.
    pub async fn outbox_between(
        &self,
        service: Option<&str>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<OutboxRow>> {
        let rows = sqlx::query(
            "SELECT * FROM outbox WHERE enqueued_at BETWEEN ?1 AND ?2 AND (?3 IS NULL OR service = ?3)
             ORDER BY enqueued_at, id",
        )
        .bind(from.ms())
        .bind(to.ms())
        .bind(service)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(outbox_row).collect()
    }
    /// Oldest first.
    pub async fn delivery_attempts(&self, outbox_id: &str) -> Result<Vec<DeliveryAttempt>> {
        let rows = sqlx::query("SELECT * FROM delivery_attempt WHERE outbox_id = ?1 ORDER BY id")
            .bind(outbox_id)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(attempt).collect()
    }
    /// Makes a pending or dead row due at once, with an audit row; false when there is none. A dead row gets as long to
    /// succeed as it had at first.
    pub async fn retry_outbox(&self, id: &str, now: Timestamp, actor: &str) -> Result<bool> {
        let (id, actor) = (id.to_string(), actor.to_string());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE outbox SET state = 'pending', not_before = ?2, lease_until = NULL,
                                           give_up_at = max(give_up_at, ?2 + (give_up_at - enqueued_at))
                         WHERE id = ?1 AND state IN ('pending', 'dead')",
                    )
                    .bind(&id)
                    .bind(now.ms())
                    .execute(&mut *c)
                    .await?;
                    if done.rows_affected() == 0 {
                        return Ok(false);
                    }
                    let deed = Deed { at: now, actor: &actor, action: "outbox.retry", subject: &id, ..Deed::default() };
                    audit::append(c, deed).await?;
                    Ok(true)
                })
            })
            .await
    }
    /// Gives a row up by hand; false when there is none that waits or is dead.
    pub async fn drop_outbox(&self, id: &str, now: Timestamp, actor: &str, reason: &str) -> Result<bool> {
        let (id, actor, reason) = (id.to_string(), actor.to_string(), reason.to_string());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let before: Option<String> = sqlx::query_scalar(
                        "SELECT state FROM outbox WHERE id = ?1 AND state IN ('pending', 'leased', 'dead')",
                    )
                    .bind(&id)
                    .fetch_optional(&mut *c)
                    .await?;
                    let Some(before) = before else { return Ok(false) };
                    sqlx::query("UPDATE outbox SET state = 'dropped', lease_until = NULL WHERE id = ?1")
                        .bind(&id)
                        .execute(&mut *c)
                        .await?;
                    audit::append(
                        c,
                        Deed {
                            at: now,
                            actor: &actor,
                            action: "outbox.drop",
                            subject: &id,
                            before: Some(&before),
                            after: Some(OutboxState::Dropped.word()),
                            reason: Some(&reason),
                        },
                    )
                    .await?;
                    Ok(true)
                })
            })
            .await
    }
    /// By channel; only channels that ever had a row.
    pub async fn outbox_depths(&self) -> Result<Vec<OutboxDepth>> {
        let rows = sqlx::query(
            "SELECT channel, sum(state IN ('pending', 'leased')) AS pending, sum(state = 'delivered') AS delivered,
                    sum(state = 'dead') AS dead, min(iif(state IN ('pending', 'leased'), enqueued_at, NULL)) AS oldest
             FROM outbox GROUP BY channel ORDER BY channel",
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(OutboxDepth {
                    channel: text(row, "channel")?,
                    pending: int(row, "pending")? as u64,
                    delivered: int(row, "delivered")? as u64,
                    dead: int(row, "dead")? as u64,
                    oldest_pending: maybe_time(row, "oldest")?,
                })
            })
            .collect()
    }
}

impl State {
    /// (channel, outcome, tries), by channel and outcome.
    pub async fn delivery_counts(&self) -> Result<Vec<(String, String, u64)>> {
        let rows: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT channel, outcome, count(*) FROM delivery_attempt GROUP BY channel, outcome ORDER BY channel, outcome",
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(rows.into_iter().map(|(channel, outcome, n)| (channel, outcome, n as u64)).collect())
    }
}

async fn insert_attempt(connection: &mut SqliteConnection, a: &DeliveryAttempt) -> Result<()> {
    sqlx::query(
        "INSERT INTO delivery_attempt (outbox_id, channel, at, duration_ms, outcome, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(&a.outbox_id)
    .bind(&a.channel)
    .bind(a.at.ms())
    .bind(a.duration_ms as i64)
    .bind(&a.outcome)
    .bind(&a.detail)
    .execute(connection)
    .await?;
    Ok(())
}

fn outbox_row(row: &SqliteRow) -> Result<OutboxRow> {
    let priority = match int(row, "priority")? {
        0 => AlertSeverity::Info,
        1 => AlertSeverity::Warning,
        _ => AlertSeverity::Critical,
    };
    Ok(OutboxRow {
        new: NewOutbox {
            id: text(row, "id")?,
            channel: text(row, "channel")?,
            group_key: text(row, "group_key")?,
            seq: int(row, "seq")?,
            reason: word(row, "reason", from_serde_word)?,
            priority,
            message: json(row, "message")?,
            not_before: time(row, "not_before")?,
            give_up_at: time(row, "give_up_at")?,
            failover: maybe_text(row, "failover")?,
            enqueued_at: time(row, "enqueued_at")?,
        },
        state: word(row, "state", OutboxState::parse)?,
        attempts: row.try_get::<u32, _>("attempts")?,
        lease_until: maybe_time(row, "lease_until")?,
        accepted_at: maybe_time(row, "accepted_at")?,
        last_error: maybe_text(row, "last_error")?,
        remote_id: maybe_text(row, "remote_id")?,
    })
}

fn attempt(row: &SqliteRow) -> Result<DeliveryAttempt> {
    Ok(DeliveryAttempt {
        outbox_id: text(row, "outbox_id")?,
        channel: text(row, "channel")?,
        at: time(row, "at")?,
        duration_ms: int(row, "duration_ms")? as u64,
        outcome: text(row, "outcome")?,
        detail: text(row, "detail")?,
    })
}
