//! The audit trail: who did what, before and after; rows chained by hash.

use futures_util::TryStreamExt;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::chain::{self, Walk};
use super::evidence::ChainCheck;
use super::row::{int, maybe_text, text, time};
use super::{Result, State};
use crate::domain::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    pub seq: i64,
    pub at: Timestamp,
    pub actor: String,
    /// `launch.move`, `alert.ack`, `silence.add`, `outbox.drop`, …
    pub action: String,
    pub subject: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub reason: Option<String>,
    pub hash: String,
}

/// One entry before it has its place in the chain.
#[derive(Debug, Default)]
pub(super) struct Deed<'a> {
    pub(super) at: Timestamp,
    pub(super) actor: &'a str,
    pub(super) action: &'a str,
    pub(super) subject: &'a str,
    pub(super) before: Option<&'a str>,
    pub(super) after: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
}

impl Deed<'_> {
    fn canonical(&self, seq: i64) -> serde_json::Value {
        serde_json::json!({
            "seq": seq, "at": self.at.ms(), "actor": self.actor, "action": self.action, "subject": self.subject,
            "before": self.before, "after": self.after, "reason": self.reason,
        })
    }
}

/// Appends inside the caller's transaction.
pub(super) async fn append(connection: &mut SqliteConnection, deed: Deed<'_>) -> Result<()> {
    let link = chain::append(connection, "audit", |seq| deed.canonical(seq)).await?;
    sqlx::query(
        "INSERT INTO audit (seq, at, actor, action, subject, before, after, reason, prev_hash, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )
    .bind(link.seq)
    .bind(deed.at.ms())
    .bind(deed.actor)
    .bind(deed.action)
    .bind(deed.subject)
    .bind(deed.before)
    .bind(deed.after)
    .bind(deed.reason)
    .bind(link.prev_hash)
    .bind(link.hash)
    .execute(connection)
    .await?;
    Ok(())
}

impl State {
    /// Appends a row of its own (functions that change state append theirs in their own transaction).
    pub async fn audit(
        &self,
        at: Timestamp,
        actor: &str,
        action: &str,
        subject: &str,
        reason: Option<&str>,
    ) -> Result<()> {
        let (actor, action, subject) = (actor.to_string(), action.to_string(), subject.to_string());
        let reason = reason.map(str::to_string);
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let reason = reason.as_deref();
                    append(c, Deed { at, actor: &actor, action: &action, subject: &subject, reason, ..Deed::default() })
                        .await
                })
            })
            .await
    }
    /// Newest first.
    pub async fn audit_log(&self, limit: u32) -> Result<Vec<AuditEntry>> {
        let rows = sqlx::query("SELECT * FROM audit ORDER BY seq DESC LIMIT ?1")
            .bind(limit)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter().map(entry).collect()
    }
    pub async fn verify_audit(&self) -> Result<ChainCheck> {
        let mut reader = self.reader().await?;
        let mut walk = Walk::start();
        let mut rows = sqlx::query("SELECT * FROM audit ORDER BY seq").fetch(&mut *reader);
        while let Some(row) = rows.try_next().await? {
            let e = entry(&row)?;
            let deed = Deed {
                at: e.at,
                actor: &e.actor,
                action: &e.action,
                subject: &e.subject,
                before: e.before.as_deref(),
                after: e.after.as_deref(),
                reason: e.reason.as_deref(),
            };
            walk.step(e.seq, &text(&row, "prev_hash")?, &e.hash, &deed.canonical(e.seq));
        }
        drop(rows);
        walk.end(&mut reader, "audit").await
    }
}

fn entry(row: &SqliteRow) -> Result<AuditEntry> {
    Ok(AuditEntry {
        seq: int(row, "seq")?,
        at: time(row, "at")?,
        actor: text(row, "actor")?,
        action: text(row, "action")?,
        subject: text(row, "subject")?,
        before: maybe_text(row, "before")?,
        after: maybe_text(row, "after")?,
        reason: maybe_text(row, "reason")?,
        hash: text(row, "hash")?,
    })
}
