//! Reports and postmortems as written.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::outbox;
use super::row::{int, text, time};
use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::notification::NewOutbox;

#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct StoredReport {
    /// 0 when not stored yet.
    pub id: i64,
    pub launch: String,
    /// `go_live` or `postmortem`.
    pub kind: String,
    /// `html`, `md`, `json`.
    pub format: String,
    pub as_of: Timestamp,
    /// Over database rows read, config, templates and version.
    pub input_hash: String,
    /// SHA-256 of `bytes`.
    pub bytes_hash: String,
    #[serde(skip)]
    pub bytes: Vec<u8>,
    pub made_at: Timestamp,
}

/// Makes the rows that announce stored documents, from their ids.
pub type Notices = Box<dyn FnOnce(&[i64]) -> Vec<NewOutbox> + Send>;

impl State {
    /// Stores the documents and enqueues what announces them, in one transaction. Keyed by (launch, kind, format, as_of):
    /// a repeat returns the ids stored before and enqueues nothing. `notices` get the ids to fill their attachments.
    pub async fn save_reports(&self, reports: Vec<StoredReport>, notices: Notices) -> Result<Vec<i64>> {
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let mut ids = Vec::with_capacity(reports.len());
                    let mut fresh = false;
                    for report in &reports {
                        let (id, new) = save(c, report).await?;
                        ids.push(id);
                        fresh |= new;
                    }
                    if fresh {
                        for notice in &notices(&ids) {
                            outbox::insert(c, notice).await?;
                        }
                    }
                    Ok(ids)
                })
            })
            .await
    }
    pub async fn report(&self, id: i64) -> Result<Option<StoredReport>> {
        let row = sqlx::query("SELECT * FROM report WHERE id = ?1")
            .bind(id)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(StoredReport { bytes: row.try_get("bytes")?, ..without_bytes(&row)? }))
    }
    /// Newest first, without bytes.
    pub async fn reports(&self, launch: &str) -> Result<Vec<StoredReport>> {
        let rows = sqlx::query(
            "SELECT id, launch, kind, format, as_of, input_hash, bytes_hash, made_at FROM report WHERE launch = ?1
             ORDER BY as_of DESC, id DESC",
        )
        .bind(launch)
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(without_bytes).collect()
    }
}

async fn save(connection: &mut SqliteConnection, r: &StoredReport) -> Result<(i64, bool)> {
    let known: Option<i64> =
        sqlx::query_scalar("SELECT id FROM report WHERE launch = ?1 AND kind = ?2 AND format = ?3 AND as_of = ?4")
            .bind(&r.launch)
            .bind(&r.kind)
            .bind(&r.format)
            .bind(r.as_of.ms())
            .fetch_optional(&mut *connection)
            .await?;
    if let Some(id) = known {
        return Ok((id, false));
    }
    let id = sqlx::query_scalar(
        "INSERT INTO report (launch, kind, format, as_of, input_hash, bytes_hash, made_at, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) RETURNING id",
    )
    .bind(&r.launch)
    .bind(&r.kind)
    .bind(&r.format)
    .bind(r.as_of.ms())
    .bind(&r.input_hash)
    .bind(&r.bytes_hash)
    .bind(r.made_at.ms())
    .bind(&r.bytes)
    .fetch_one(connection)
    .await?;
    Ok((id, true))
}

fn without_bytes(row: &SqliteRow) -> Result<StoredReport> {
    Ok(StoredReport {
        id: int(row, "id")?,
        launch: text(row, "launch")?,
        kind: text(row, "kind")?,
        format: text(row, "format")?,
        as_of: time(row, "as_of")?,
        input_hash: text(row, "input_hash")?,
        bytes_hash: text(row, "bytes_hash")?,
        bytes: Vec::new(),
        made_at: time(row, "made_at")?,
    })
}
