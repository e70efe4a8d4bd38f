//! Incidents.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::row::{int, json, maybe_time, ms, text, time, to_json};
use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::incident::Incident;

/// Inside the caller's transaction. A new incident that is saved twice (same service, opening, opener, title) is one.
pub(super) async fn save(connection: &mut SqliteConnection, i: &Incident) -> Result<i64> {
    let id = sqlx::query_scalar(
        "INSERT INTO incident (id, service, title, sev, opened_at, closed_at, episodes, opened_by)
         VALUES (nullif(?1, 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET title = ?3, sev = ?4, opened_at = ?5, closed_at = ?6, episodes = ?7
         ON CONFLICT (service, opened_at, opened_by, title) DO UPDATE SET sev = ?4, closed_at = ?6, episodes = ?7
         RETURNING id",
    )
    .bind(i.id)
    .bind(&i.service)
    .bind(&i.title)
    .bind(i64::from(i.sev))
    .bind(i.opened_at.ms())
    .bind(ms(i.closed_at))
    .bind(to_json(&i.episodes)?)
    .bind(&i.opened_by)
    .fetch_one(connection)
    .await?;
    Ok(id)
}

impl State {
    /// Inserts (id 0) or updates; returns the id.
    pub async fn save_incident(&self, incident: &Incident) -> Result<i64> {
        let incident = incident.clone();
        self.db.write(move |c| Box::pin(async move { save(c, &incident).await })).await
    }
    /// Incidents that overlap `[from, to]`, oldest first.
    pub async fn incidents(&self, service: &str, from: Timestamp, to: Timestamp) -> Result<Vec<Incident>> {
        let rows = sqlx::query(
            "SELECT * FROM incident WHERE service = ?1 AND opened_at <= ?3 AND (closed_at IS NULL OR closed_at >= ?2)
             ORDER BY opened_at, id",
        )
        .bind(service)
        .bind(from.ms())
        .bind(to.ms())
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter().map(incident).collect()
    }
}

fn incident(row: &SqliteRow) -> Result<Incident> {
    Ok(Incident {
        id: int(row, "id")?,
        service: text(row, "service")?,
        title: text(row, "title")?,
        sev: int(row, "sev")?.clamp(1, 3) as u8,
        opened_at: time(row, "opened_at")?,
        closed_at: maybe_time(row, "closed_at")?,
        episodes: json(row, "episodes")?,
        opened_by: text(row, "opened_by")?,
    })
}
