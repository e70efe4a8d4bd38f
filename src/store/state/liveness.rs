//! When the daemon was alive, and the instance's own key.

use ring::rand::{SecureRandom, SystemRandom};

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::hex;
use crate::domain::secret::Revealed;
use crate::store::StoreError;

impl State {
    /// Upserts this boot's last sign of life.
    pub async fn beat(&self, boot: &str, at: Timestamp) -> Result<()> {
        *self.boot.lock().unwrap_or_else(|e| e.into_inner()) = Some(boot.to_string());
        let boot = boot.to_string();
        self.db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO liveness (boot, started_at, last_at) VALUES (?1, ?2, ?2)
                         ON CONFLICT (boot) DO UPDATE SET last_at = ?2, clean_shutdown = 0",
                    )
                    .bind(&boot)
                    .bind(at.ms())
                    .execute(c)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
    /// Last sign of life of any earlier boot, and whether it shut down cleanly.
    pub async fn last_beat(&self) -> Result<Option<(Timestamp, bool)>> {
        let own = self.boot.lock().unwrap_or_else(|e| e.into_inner()).clone();
        self.beat_of_others(own).await
    }
    /// Last sign of life of any boot, this one included.
    pub async fn newest_beat(&self) -> Result<Option<(Timestamp, bool)>> {
        self.beat_of_others(None).await
    }
    async fn beat_of_others(&self, own: Option<String>) -> Result<Option<(Timestamp, bool)>> {
        let row: Option<(i64, bool)> = sqlx::query_as(
            "SELECT last_at, clean_shutdown FROM liveness WHERE ?1 IS NULL OR boot <> ?1
             ORDER BY last_at DESC LIMIT 1",
        )
        .bind(own)
        .fetch_optional(&mut *self.reader().await?)
        .await?;
        Ok(row.map(|(at, clean)| (Timestamp::from_ms(at), clean)))
    }
    /// 32 random bytes, hex, made at first use: for author hashes and signed links.
    pub async fn instance_key(&self) -> Result<Revealed> {
        let mut fresh = [0u8; 32];
        SystemRandom::new()
            .fill(&mut fresh)
            .map_err(|_| StoreError::Database("the system gave no random bytes".into()))?;
        let fresh = hex(&fresh);
        let key: String = self
            .db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query("INSERT OR IGNORE INTO meta (key, value) VALUES ('instance_key', ?1)")
                        .bind(fresh)
                        .execute(&mut *c)
                        .await?;
                    let read = "SELECT value FROM meta WHERE key = 'instance_key'";
                    Ok(sqlx::query_scalar(read).fetch_one(c).await?)
                })
            })
            .await?;
        Ok(Revealed::new(key))
    }
    /// Marks this boot's end as wanted. Nothing to do for a process that never beat.
    pub(in crate::store) async fn say_goodbye(&self) -> Result<()> {
        let Some(boot) = self.boot.lock().unwrap_or_else(|e| e.into_inner()).clone() else { return Ok(()) };
        self.db
            .write(move |c| {
                Box::pin(async move {
                    sqlx::query("UPDATE liveness SET clean_shutdown = 1 WHERE boot = ?1").bind(boot).execute(c).await?;
                    Ok(())
                })
            })
            .await
    }
}
