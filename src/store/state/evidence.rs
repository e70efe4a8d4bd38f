//! The evidence ledger: append-only, each row chained to the one before by hash.

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::chain::{self, Walk};
use super::row::{int, json, text, time, to_json};
use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::{Evidence, LedgerEntry, sha256_hex};
use crate::domain::release::ReleaseId;
use crate::store::StoreError;

/// Outcome of recomputing the chain.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChainCheck {
    pub rows: u64,
    /// Sequence number of the first row that does not fit, and why.
    pub broken_at: Option<(i64, String)>,
    pub head: String,
}

/// Stores the content and appends the ledger row, inside the caller's transaction.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    at: Timestamp,
    run: &str,
    gate: &str,
    evidence: &Evidence,
    rid: &ReleaseId,
) -> Result<()> {
    let digest = evidence.digest();
    sqlx::query("INSERT OR IGNORE INTO evidence (digest, content) VALUES (?1, ?2)")
        .bind(&digest)
        .bind(to_json(&evidence.content)?)
        .execute(&mut *connection)
        .await?;
    let canonical = |seq| canonical(seq, at, run, gate, &evidence.kind, &digest, rid);
    let link = chain::append(connection, "ledger", canonical).await?;
    sqlx::query(
        "INSERT INTO ledger (seq, at, run, gate, kind, digest, rid, prev_hash, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(link.seq)
    .bind(at.ms())
    .bind(run)
    .bind(gate)
    .bind(&evidence.kind)
    .bind(&digest)
    .bind(to_json(rid)?)
    .bind(link.prev_hash)
    .bind(link.hash)
    .execute(connection)
    .await?;
    Ok(())
}

fn canonical(
    seq: i64,
    at: Timestamp,
    run: &str,
    gate: &str,
    kind: &str,
    digest: &str,
    rid: &ReleaseId,
) -> serde_json::Value {
    serde_json::json!({
        "seq": seq, "at": at.ms(), "run": run, "gate": gate, "kind": kind, "digest": digest, "rid": rid,
    })
}

impl State {
    /// Appends one piece of evidence that no run of gates made: an imported report.
    pub async fn add_evidence(
        &self,
        at: Timestamp,
        run: &str,
        gate: &str,
        evidence: &Evidence,
        rid: &ReleaseId,
    ) -> Result<()> {
        let (run, gate, evidence, rid) = (run.to_string(), gate.to_string(), evidence.clone(), rid.clone());
        self.db.write(move |c| Box::pin(async move { append(c, at, &run, &gate, &evidence, &rid).await })).await
    }
    /// Newest first, at most `limit`; of one gate or one run when given.
    pub async fn ledger(&self, gate: Option<&str>, run: Option<&str>, limit: u32) -> Result<Vec<LedgerEntry>> {
        let rows = sqlx::query(
            "SELECT * FROM ledger WHERE (?1 IS NULL OR gate = ?1) AND (?2 IS NULL OR run = ?2)
             ORDER BY seq DESC LIMIT ?3",
        )
        .bind(gate)
        .bind(run)
        .bind(limit)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(entry).collect()
    }
    /// Imported reports with their content, newest first, at most `limit`.
    pub async fn imports(&self, limit: u32) -> Result<Vec<(LedgerEntry, serde_json::Value)>> {
        let rows = sqlx::query(
            "SELECT ledger.*, content FROM ledger JOIN evidence USING (digest) WHERE run = 'import'
             ORDER BY seq DESC LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(|row| Ok((entry(row)?, json(row, "content")?))).collect()
    }
    /// Content by digest (`sha256:…`, a unique prefix will do).
    pub async fn evidence_content(&self, digest: &str) -> Result<Option<serde_json::Value>> {
        let wanted = if digest.starts_with("sha256:") { digest.to_string() } else { format!("sha256:{digest}") };
        // Digests are hex, so everything with this prefix lies below the prefix and a tilde.
        let rows = sqlx::query("SELECT content FROM evidence WHERE digest >= ?1 AND digest < ?1 || '~' LIMIT 2")
            .bind(&wanted)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Ok(Some(json(row, "content")?)),
            _ => Err(StoreError::NotFound(format!("a single piece of evidence that starts with {wanted}"))),
        }
    }
    /// Recomputes every hash, those of the contents included.
    pub async fn verify_ledger(&self) -> Result<ChainCheck> {
        let mut reader = self.reader().await?;
        let mut walk = Walk::start();
        let mut rows =
            sqlx::query("SELECT ledger.*, content FROM ledger LEFT JOIN evidence USING (digest) ORDER BY seq")
                .fetch(&mut *reader);
        while let Some(row) = rows.try_next().await? {
            let e = entry(&row)?;
            walk.step(
                e.seq,
                &e.prev_hash,
                &e.hash,
                &canonical(e.seq, e.at, &e.run, &e.gate, &e.kind, &e.digest, &e.rid),
            );
            match row.try_get::<Option<String>, _>("content")? {
                None => walk.fault(e.seq, "its content is missing".into()),
                Some(content) if format!("sha256:{}", sha256_hex(content.as_bytes())) != e.digest => {
                    walk.fault(e.seq, "its evidence was changed".into());
                }
                Some(_) => {}
            }
        }
        drop(rows);
        walk.end(&mut reader, "ledger").await
    }
}

fn entry(row: &SqliteRow) -> Result<LedgerEntry> {
    Ok(LedgerEntry {
        seq: int(row, "seq")?,
        at: time(row, "at")?,
        run: text(row, "run")?,
        gate: text(row, "gate")?,
        kind: text(row, "kind")?,
        digest: text(row, "digest")?,
        rid: json(row, "rid")?,
        prev_hash: text(row, "prev_hash")?,
        hash: text(row, "hash")?,
    })
}
