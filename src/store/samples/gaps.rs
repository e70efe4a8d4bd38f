//! Gaps and metadata: small tables beside the samples.

use super::Samples;
use crate::domain::clock::Timestamp;
use crate::domain::gap::{Gap, GapReason};
use crate::domain::metric::{Metadata, MetricKind};
use crate::store::StoreError;
use crate::store::state::Result;

impl Samples {
    /// Upserted by family; a family that says nothing new costs no write.
    pub async fn record_metadata(&self, metadata: Vec<Metadata>) -> Result<()> {
        if metadata.is_empty() {
            return Ok(());
        }
        self.room()?;
        self.inner
            .db
            .write(move |c| {
                Box::pin(async move {
                    for m in &metadata {
                        sqlx::query(
                            "INSERT INTO metadata (family, kind, help, unit) VALUES (?1, ?2, ?3, ?4)
                             ON CONFLICT (family) DO UPDATE SET kind = ?2, help = ?3, unit = ?4
                             WHERE (kind, help, unit) <> (?2, ?3, ?4)",
                        )
                        .bind(&m.family)
                        .bind(kind_word(m.kind))
                        .bind(&m.help)
                        .bind(&m.unit)
                        .execute(&mut *c)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }
    /// By family.
    pub async fn metadata(&self) -> Result<Vec<Metadata>> {
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT family, kind, help, unit FROM metadata ORDER BY family")
                .fetch_all(&mut *self.inner.db.reader().await?)
                .await?;
        let kind = |word: &str| KINDS.into_iter().find(|k| kind_word(*k) == word).unwrap_or(MetricKind::Unknown);
        Ok(rows
            .into_iter()
            .map(|(family, word, help, unit)| Metadata { family, kind: kind(&word), help, unit })
            .collect())
    }
    /// Extends the last gap of the same target and reason when they touch, else inserts.
    pub async fn record_gap(&self, gap: Gap) -> Result<()> {
        self.room()?;
        self.inner
            .db
            .write(move |c| {
                Box::pin(async move {
                    let touching: Option<i64> = sqlx::query_scalar(
                        "SELECT id FROM gap WHERE target = ?1 AND reason = ?2 AND to_t >= ?3 AND from_t <= ?4
                         ORDER BY to_t DESC LIMIT 1",
                    )
                    .bind(&gap.target)
                    .bind(gap.reason.word())
                    .bind(gap.from.ms())
                    .bind(gap.to.ms())
                    .fetch_optional(&mut *c)
                    .await?;
                    let sql = match touching {
                        Some(_) => {
                            "UPDATE gap SET from_t = min(from_t, ?4), to_t = max(to_t, ?5), detail = ?6
                             WHERE id = ?1 AND target = ?2 AND reason = ?3"
                        }
                        None => {
                            "INSERT INTO gap (id, target, reason, from_t, to_t, detail)
                             VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
                        }
                    };
                    sqlx::query(sql)
                        .bind(touching)
                        .bind(&gap.target)
                        .bind(gap.reason.word())
                        .bind(gap.from.ms())
                        .bind(gap.to.ms())
                        .bind(&gap.detail)
                        .execute(c)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
    /// Gaps that overlap `[from, to]`, by start.
    pub async fn gaps(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>> {
        let rows: Vec<(String, String, i64, i64, String)> = sqlx::query_as(
            "SELECT target, reason, from_t, to_t, detail FROM gap WHERE from_t <= ?2 AND to_t >= ?1
             ORDER BY from_t, target, reason",
        )
        .bind(from.ms())
        .bind(to.ms())
        .fetch_all(&mut *self.inner.db.reader().await?)
        .await
        .map_err(|e| self.inner.db.noticed(e.into()))?;
        rows.into_iter()
            .map(|(target, reason, from, to, detail)| {
                let reason = GapReason::parse(&reason)
                    .ok_or_else(|| StoreError::corrupt(format!("a gap has the unknown reason {reason:?}")))?;
                Ok(Gap { target, from: Timestamp::from_ms(from), to: Timestamp::from_ms(to), reason, detail })
            })
            .collect()
    }
}

impl Samples {
    /// (reason, milliseconds) over all targets and all gaps that are kept, by reason.
    pub async fn gap_totals(&self) -> Result<Vec<(String, i64)>> {
        Ok(sqlx::query_as("SELECT reason, sum(to_t - from_t) FROM gap GROUP BY reason ORDER BY reason")
            .fetch_all(&mut *self.inner.db.reader().await?)
            .await?)
    }
}

const KINDS: [MetricKind; 8] = [
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::Stateset,
    MetricKind::Gaugehistogram,
    MetricKind::Unknown,
];

fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Histogram => "histogram",
        MetricKind::Summary => "summary",
        MetricKind::Info => "info",
        MetricKind::Stateset => "stateset",
        MetricKind::Gaugehistogram => "gaugehistogram",
        MetricKind::Unknown => "unknown",
    }
}
