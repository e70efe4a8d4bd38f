//! Hash chains: `hash = sha256(prev_hash ‖ canonical row)`. Used by the evidence ledger and the audit trail.
//!
//! The newest link is kept apart as well, so that rows cut from the end are missed. Whoever can write the file can still
//! rewrite a whole chain: each report prints the head, and that copy is out of reach.

use sqlx::{Row, SqliteConnection};

use super::Result;
use super::evidence::ChainCheck;
use crate::domain::evidence::sha256_hex;

const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(super) struct Link {
    pub(super) seq: i64,
    pub(super) prev_hash: String,
    pub(super) hash: String,
}

/// Takes the next place in `chain` for a row whose canonical form `row` makes from its sequence number.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    chain: &'static str,
    row: impl FnOnce(i64) -> serde_json::Value,
) -> Result<Link> {
    let head = sqlx::query("SELECT seq, hash FROM chain_head WHERE chain = ?1")
        .bind(chain)
        .fetch_optional(&mut *connection)
        .await?;
    let (seq, prev_hash) = match head {
        Some(head) => (head.try_get::<i64, _>("seq")? + 1, head.try_get("hash")?),
        None => (1, START.to_string()),
    };
    let hash = link(&prev_hash, &row(seq));
    sqlx::query("INSERT INTO chain_head (chain, seq, hash) VALUES (?1, ?2, ?3) ON CONFLICT (chain) DO UPDATE SET seq = ?2, hash = ?3")
        .bind(chain)
        .bind(seq)
        .bind(&hash)
        .execute(connection)
        .await?;
    Ok(Link { seq, prev_hash, hash })
}

/// JSON objects are sorted by key, so equal rows give equal bytes.
fn link(prev_hash: &str, row: &serde_json::Value) -> String {
    sha256_hex(format!("{prev_hash}{row}").as_bytes())
}

/// Walks a chain from its start.
pub(super) struct Walk {
    rows: u64,
    next: i64,
    prev: String,
    broken_at: Option<(i64, String)>,
}

impl Walk {
    pub(super) fn start() -> Walk {
        Walk { rows: 0, next: 1, prev: START.into(), broken_at: None }
    }

    /// The first row that does not fit is kept; the walk goes on from what the row claims.
    pub(super) fn step(&mut self, seq: i64, prev_hash: &str, hash: &str, row: &serde_json::Value) {
        let fault = if seq != self.next {
            Some(format!("row {} is missing", self.next))
        } else if prev_hash != self.prev {
            Some("it does not follow from the row before".to_string())
        } else if link(prev_hash, row) != hash {
            Some("its content was changed".to_string())
        } else {
            None
        };
        if let Some(fault) = fault {
            self.fault(seq, fault);
        }
        (self.rows, self.next, self.prev) = (self.rows + 1, seq + 1, hash.to_string());
    }

    pub(super) fn fault(&mut self, seq: i64, fault: String) {
        self.broken_at.get_or_insert((seq, fault));
    }

    pub(super) async fn end(mut self, connection: &mut SqliteConnection, chain: &'static str) -> Result<ChainCheck> {
        let head: Option<(i64, String)> = sqlx::query_as("SELECT seq, hash FROM chain_head WHERE chain = ?1")
            .bind(chain)
            .fetch_optional(connection)
            .await?;
        let (seq, hash) = head.unwrap_or((0, START.into()));
        if (seq, &hash) != (self.next - 1, &self.prev) {
            self.fault(self.next, format!("the chain was {seq} rows long and now ends differently"));
        }
        Ok(ChainCheck { rows: self.rows, broken_at: self.broken_at, head: self.prev })
    }
}
