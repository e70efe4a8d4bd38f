//! `borg list --json` and `borg info --json`: archives with their times, local to the machine that asked and without a
//! zone, so they are taken as UTC: off by half a day at most.

use serde::Deserialize;

use super::super::scan::clean;
use super::{Backup, Backups};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Report {
    archives: Vec<Row>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Repository {
    location: String,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    start: Option<String>,
    end: Option<String>,
    stats: Option<Stats>,
}

#[derive(Deserialize)]
struct Stats {
    original_size: Option<u64>,
}

pub fn parse(text: &str) -> Result<Backups, ImportError> {
    let report: Report = json::read(text)?;
    if report.archives.is_empty() {
        return Err(ImportError::Empty("archive"));
    }
    let of = clean(&super::super::scan::address(&report.repository.location));
    let backup = |row: Row| Backup {
        id: clean(&row.name),
        of: of.clone(),
        kind: "snapshot".into(),
        ended_at: row.end.or(row.start).and_then(|t| Timestamp::parse(&format!("{t}Z"))),
        bytes: row.stats.and_then(|s| s.original_size),
        // One that was interrupted is a checkpoint.
        ok: !row.name.contains(".checkpoint"),
    };
    Ok(Backups {
        tool: "borg",
        version: None,
        backups: report.archives.into_iter().map(backup).collect(),
        troubles: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that 1.2 writes.
    const LIST: &str = r#"{"archives": [{"archive": "a", "id": "7669", "name": "a", "start": "2026-11-23T12:23:39.000000", "time": "2026-11-23T12:23:39.000000"},
      {"archive": "b.checkpoint", "id": "1", "name": "b.checkpoint", "start": "2026-11-24T12:00:00.000000"}],
      "encryption": {"mode": "none"}, "repository": {"id": "c0ec", "last_modified": "2026-11-23T12:23:39.000000", "location": "/srv/br"}}"#;

    #[test]
    fn checkpoints_are_not_done() {
        let list = parse(LIST).unwrap();
        assert_eq!((list.newest().unwrap().id.as_str(), list.backups.len()), ("a", 2));
        assert_eq!(list.backups[0].ended_at.unwrap().rfc3339(), "2026-11-23T12:23:39Z");
        assert!(parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..LIST.len()) {
            cuts::refused(LIST, at, parse)?;
        }
    }
}
