//! Feedback items and cursors.

use sqlx::SqliteConnection;

use super::audit::{self, Deed};
use super::row::{json, maybe_text, maybe_time, text, to_json};
use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{Cursor, FeedbackItem, FeedbackPage};

/// How fresh a source is: an empty answer is not "zero complaints".
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FeedbackFreshness {
    pub source: String,
    pub last_ok_poll: Option<Timestamp>,
    pub last_new_item: Option<Timestamp>,
    pub last_error: Option<String>,
}

impl State {
    /// Items (upserted by source, external id, revision) and cursor in one transaction. Returns how many were new: an
    /// edit of a known item is not, and forgotten items are not taken in again.
    pub async fn save_feedback_page(
        &self,
        service: &str,
        source: &str,
        page: &FeedbackPage,
        at: Timestamp,
    ) -> Result<u64> {
        let (service, source, page) = (service.to_string(), source.to_string(), page.clone());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let mut new = 0;
                    for item in &page.items {
                        new += u64::from(save(c, &service, item).await?);
                    }
                    sqlx::query(
                        "INSERT INTO feedback_source (source, service, cursor, last_ok_poll, last_new_item, last_error)
                         VALUES (?1, ?2, ?3, ?4, ?5, NULL)
                         ON CONFLICT (source) DO UPDATE SET service = ?2, cursor = ?3, last_ok_poll = ?4,
                             last_new_item = coalesce(?5, last_new_item), last_error = NULL",
                    )
                    .bind(&source)
                    .bind(&service)
                    .bind(&page.next.0)
                    .bind(at.ms())
                    .bind((new > 0).then_some(at.ms()))
                    .execute(c)
                    .await?;
                    Ok(new)
                })
            })
            .await
    }
    /// The cursor stays where it was.
    pub async fn record_feedback_error(&self, service: &str, source: &str, _at: Timestamp, error: &str) -> Result<()> {
        let (service, source, error) = (service.to_string(), source.to_string(), error.to_string());
        self.db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO feedback_source (source, service, last_error) VALUES (?1, ?2, ?3)
                         ON CONFLICT (source) DO UPDATE SET last_error = ?3",
                    )
                    .bind(&source)
                    .bind(&service)
                    .bind(&error)
                    .execute(c)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
    pub async fn feedback_cursor(&self, source: &str) -> Result<Cursor> {
        let cursor: Option<Option<String>> = sqlx::query_scalar("SELECT cursor FROM feedback_source WHERE source = ?1")
            .bind(source)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        Ok(Cursor(cursor.flatten()))
    }
    /// Each item created in `[from, to]` in its newest revision as of `to`, oldest first. Of an item that was only seen
    /// after a later edit, that one.
    pub async fn feedback(&self, service: &str, from: Timestamp, to: Timestamp) -> Result<Vec<FeedbackItem>> {
        let rows = sqlx::query(
            "SELECT body FROM (
                 SELECT *, row_number() OVER (PARTITION BY source, external_id
                                              ORDER BY CASE WHEN updated_at <= ?3 THEN -updated_at ELSE updated_at END,
                                                       fetched_at DESC, revision DESC) AS age
                 FROM feedback_item WHERE service = ?1 AND created_at BETWEEN ?2 AND ?3)
             WHERE age = 1 ORDER BY created_at, source, external_id",
        )
        .bind(service)
        .bind(from.ms())
        .bind(to.ms())
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(|row| json(row, "body")).collect()
    }
    /// By source.
    pub async fn feedback_freshness(&self, service: &str) -> Result<Vec<FeedbackFreshness>> {
        let rows = sqlx::query("SELECT * FROM feedback_source WHERE service = ?1 ORDER BY source")
            .bind(service)
            .fetch_all(&mut *self.reader().await?)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(FeedbackFreshness {
                    source: text(row, "source")?,
                    last_ok_poll: maybe_time(row, "last_ok_poll")?,
                    last_new_item: maybe_time(row, "last_new_item")?,
                    last_error: maybe_text(row, "last_error")?,
                })
            })
            .collect()
    }
    /// (source, items) over all services, by source; revisions of one item count once.
    pub async fn feedback_counts(&self) -> Result<Vec<(String, u64)>> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT source, count(DISTINCT external_id) FROM feedback_item GROUP BY source ORDER BY source",
        )
        .fetch_all(&mut *self.reader().await?)
        .await?;
        Ok(rows.into_iter().map(|(source, n)| (source, n as u64)).collect())
    }
    /// Deletes items by author hash or (source, external id), leaving a tombstone. Returns how many.
    pub async fn forget_feedback(
        &self,
        author_hash: Option<&str>,
        id: Option<(&str, &str)>,
        actor: &str,
        at: Timestamp,
    ) -> Result<u64> {
        // An empty hash means "unknown author": it must not forget everybody.
        let author = author_hash.filter(|h| !h.is_empty()).map(str::to_string);
        let id = id.map(|(source, external)| (source.to_string(), external.to_string()));
        let actor = actor.to_string();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let (source, external) = id.unzip();
                    let found: Vec<(String, String)> = sqlx::query_as(
                        "SELECT DISTINCT source, external_id FROM feedback_item
                         WHERE author_hash = ?1 OR (source = ?2 AND external_id = ?3)",
                    )
                    .bind(author)
                    .bind(source)
                    .bind(external)
                    .fetch_all(&mut *c)
                    .await?;
                    for (source, external) in &found {
                        forget(c, source, external, at).await?;
                    }
                    if !found.is_empty() {
                        let subject = format!("{} items", found.len());
                        audit::append(
                            c,
                            Deed { at, actor: &actor, action: "feedback.forget", subject: &subject, ..Deed::default() },
                        )
                        .await?;
                    }
                    Ok(found.len() as u64)
                })
            })
            .await
    }
}

/// True when the item was never seen before, in any revision.
async fn save(connection: &mut SqliteConnection, service: &str, item: &FeedbackItem) -> Result<bool> {
    let (forgotten, known): (bool, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM feedback_tombstone WHERE source = ?1 AND external_id = ?2),
                EXISTS (SELECT 1 FROM feedback_item WHERE source = ?1 AND external_id = ?2)",
    )
    .bind(&item.source)
    .bind(&item.external_id)
    .fetch_one(&mut *connection)
    .await?;
    if forgotten {
        return Ok(false);
    }
    sqlx::query(
        // A revision is what it was when it was first seen; a source that lists it at each poll changes nothing.
        "INSERT OR IGNORE INTO feedback_item (source, external_id, revision, service, created_at, updated_at, fetched_at,
                                               author_hash, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(&item.source)
    .bind(&item.external_id)
    .bind(&item.revision)
    .bind(service)
    .bind(item.created_at.ms())
    .bind(item.updated_at.ms())
    .bind(item.fetched_at.ms())
    .bind(&item.author_hash)
    .bind(to_json(item)?)
    .execute(connection)
    .await?;
    Ok(!known)
}

async fn forget(connection: &mut SqliteConnection, source: &str, external_id: &str, at: Timestamp) -> Result<()> {
    sqlx::query("INSERT OR IGNORE INTO feedback_tombstone (source, external_id, at) VALUES (?1, ?2, ?3)")
        .bind(source)
        .bind(external_id)
        .bind(at.ms())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM feedback_item WHERE source = ?1 AND external_id = ?2")
        .bind(source)
        .bind(external_id)
        .execute(connection)
        .await?;
    Ok(())
}
