//! The frozen baseline of a launch: what was normal before go-live.

use super::row::{json, text, time, to_json};
use super::{Result, State};
use crate::domain::clock::Timestamp;

/// One series of figures before go-live, by 5-minute bucket.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BaselineSeries {
    /// `traffic`, `error_ratio`, `latency_p95`, … or a selector.
    pub name: String,
    /// The PromQL that gave it.
    pub query: String,
    pub unit: String,
    /// (bucket start, mean over the bucket); buckets without data are absent.
    pub points: Vec<(Timestamp, f64)>,
    /// Buckets with data of buckets due, 0 to 1.
    pub coverage: f64,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Baseline {
    pub launch: String,
    pub frozen_at: Timestamp,
    pub from: Timestamp,
    pub to: Timestamp,
    /// SHA-256 over the series.
    pub hash: String,
    pub series: Vec<BaselineSeries>,
}

impl State {
    /// Writes once: a second freeze for the same launch is ignored and returns false.
    pub async fn freeze_baseline(&self, baseline: &Baseline) -> Result<bool> {
        let b = baseline.clone();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT OR IGNORE INTO baseline (launch, frozen_at, from_at, to_at, hash, series)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )
                    .bind(&b.launch)
                    .bind(b.frozen_at.ms())
                    .bind(b.from.ms())
                    .bind(b.to.ms())
                    .bind(&b.hash)
                    .bind(to_json(&b.series)?)
                    .execute(c)
                    .await?;
                    Ok(done.rows_affected() > 0)
                })
            })
            .await
    }
    pub async fn baseline(&self, launch: &str) -> Result<Option<Baseline>> {
        let row = sqlx::query("SELECT * FROM baseline WHERE launch = ?1")
            .bind(launch)
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Baseline {
            launch: text(&row, "launch")?,
            frozen_at: time(&row, "frozen_at")?,
            from: time(&row, "from_at")?,
            to: time(&row, "to_at")?,
            hash: text(&row, "hash")?,
            series: json(&row, "series")?,
        }))
    }
}
