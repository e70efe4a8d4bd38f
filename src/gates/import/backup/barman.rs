//! `barman list-backups -f json`: servers with their backups. Only `DONE` can be restored with its WAL.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::scan::clean;
use super::{Backup, Backups};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Row {
    backup_id: String,
    status: String,
    /// Seconds as text.
    end_time_timestamp: Option<String>,
    size_bytes: Option<u64>,
}

pub fn parse(text: &str) -> Result<Backups, ImportError> {
    let servers: BTreeMap<String, Vec<Row>> = json::read(text)?;
    if servers.is_empty() {
        return Err(ImportError::Empty("server"));
    }
    let backup = |server: &str, row: Row| Backup {
        id: clean(&row.backup_id),
        of: clean(server),
        kind: "full".into(),
        ended_at: row.end_time_timestamp.and_then(|t| t.parse().ok()).map(Timestamp::from_seconds),
        bytes: row.size_bytes,
        ok: row.status == "DONE",
    };
    let backups = servers.into_iter().flat_map(|(server, rows)| rows.into_iter().map(move |row| backup(&server, row)));
    Ok(Backups { tool: "barman", version: None, backups: backups.collect(), troubles: vec![] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    const LIST: &str = r#"{"main": [{"backup_id": "20261123T120000", "end_time_timestamp": "1795435200", "end_time": "Mon Nov 23 12:00:00 2026", "size_bytes": 42,
      "wal_size_bytes": 0, "size": "42 B", "wal_size": "0 B", "status": "DONE", "retention_status": "-", "tablespaces": []},
      {"backup_id": "20261123T130000", "status": "FAILED"}]}"#;

    #[test]
    fn contract_only_done_counts() {
        let list = parse(LIST).unwrap();
        assert_eq!((list.backups.len(), list.newest().unwrap().id.as_str()), (2, "20261123T120000"));
        assert!(parse("{}").is_err() && parse("[]").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..LIST.len()) {
            cuts::refused(LIST, at, parse)?;
        }
    }
}
