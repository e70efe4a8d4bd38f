//! How many connections the server holds, and how many it allows.

use super::session::{DbError, Session};

/// Of clients, whatever their state; the ones kept for superusers are not anybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Connections {
    pub used: u64,
    pub most: u64,
}

impl Session {
    /// One count of `pg_stat_activity`.
    pub async fn connections(&mut self) -> Result<Connections, DbError> {
        let sql = "SELECT /* hypercare */ (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::text, \
                   (current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int)::text";
        let rows = self.rows(sql.to_string()).await?;
        let told = |nth: usize| rows.first().and_then(|row| row.get(nth)?.as_deref()?.parse().ok()).unwrap_or(0);
        Ok(Connections { used: told(0), most: told(1) })
    }
}
