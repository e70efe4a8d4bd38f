//! `restic snapshots --json`. A snapshot that is listed has ended; whether its data is whole, `restic check` tells.

use serde::Deserialize;

use super::super::scan::clean;
use super::{Backup, Backups};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Row {
    time: String,
    hostname: String,
    id: String,
    short_id: Option<String>,
    program_version: Option<String>,
    summary: Option<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    total_bytes_processed: Option<u64>,
}

pub fn parse(text: &str) -> Result<Backups, ImportError> {
    let rows: Vec<Row> = json::read(text)?;
    if rows.is_empty() {
        return Err(ImportError::Empty("snapshot"));
    }
    let version =
        rows.iter().rev().find_map(|r| r.program_version.as_deref()).map(|v| clean(v.trim_start_matches("restic ")));
    let backup = |row: Row| Backup {
        id: clean(row.short_id.as_deref().unwrap_or(&row.id)),
        of: clean(&row.hostname),
        kind: "snapshot".into(),
        ended_at: Timestamp::parse(&row.time),
        bytes: row.summary.and_then(|s| s.total_bytes_processed),
        ok: true,
    };
    Ok(Backups { tool: "restic", version, backups: rows.into_iter().map(backup).collect(), troubles: vec![] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that 0.14 writes; 0.17 adds version and summary.
    const LIST: &str = r#"[{"time":"2026-11-23T12:23:37.046622349Z","tree":"6dca","paths":["/srv"],"hostname":"vm","username":"root","id":"dbd72baab431ad5c","short_id":"dbd72baa"},
      {"time":"2026-11-24T12:23:37.046622349+01:00","tree":"6dca","paths":["/srv"],"hostname":"vm","id":"aaaa","short_id":"aaaa","program_version":"restic 0.17.3","summary":{"total_bytes_processed":42}}]"#;

    #[test]
    fn snapshots() {
        let list = parse(LIST).unwrap();
        let newest = list.newest().unwrap();
        assert_eq!((newest.id.as_str(), newest.bytes, list.version.as_deref()), ("aaaa", Some(42), Some("0.17.3")));
        assert_eq!(list.backups[0].ended_at.unwrap().rfc3339(), "2026-11-23T12:23:37Z");
        assert!(parse("[]").is_err() && parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..LIST.len()) {
            cuts::refused(LIST, at, parse)?;
        }
    }
}
