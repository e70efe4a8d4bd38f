//! `pgbackrest info --output=json`: stanzas with their backups; a status code other than 0 is trouble.

use serde::Deserialize;

use super::super::scan::clean;
use super::{Backup, Backups};
use crate::domain::clock::Timestamp;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Stanza {
    name: String,
    status: Status,
    #[serde(default)]
    backup: Vec<Row>,
}

#[derive(Deserialize)]
struct Status {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Row {
    label: String,
    #[serde(rename = "type")]
    kind: String,
    /// True when pages failed their checksum.
    error: Option<bool>,
    timestamp: Times,
    info: Option<Info>,
    backrest: Option<Version>,
}

#[derive(Deserialize)]
struct Times {
    stop: f64,
}

#[derive(Deserialize)]
struct Info {
    size: Option<u64>,
}

#[derive(Deserialize)]
struct Version {
    version: Option<String>,
}

pub fn parse(text: &str) -> Result<Backups, ImportError> {
    let stanzas: Vec<Stanza> = json::read(text)?;
    if stanzas.is_empty() {
        return Err(ImportError::Empty("stanza"));
    }
    let mut out = Backups { tool: "pgbackrest", version: None, backups: vec![], troubles: vec![] };
    for stanza in stanzas {
        if stanza.status.code != 0 {
            out.troubles.push(clean(&format!("{}: {}", stanza.name, stanza.status.message)));
        }
        for row in stanza.backup {
            out.version = row.backrest.and_then(|b| b.version).map(|v| clean(&v)).or(out.version);
            out.backups.push(Backup {
                id: clean(&row.label),
                of: clean(&stanza.name),
                kind: clean(&row.kind),
                ended_at: Some(Timestamp::from_seconds(row.timestamp.stop)),
                bytes: row.info.and_then(|i| i.size),
                ok: row.error != Some(true),
            });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::import::cuts;

    /// The shape that 2.45 writes.
    const INFO: &str = r#"[{"archive":[{"id":"15-1","max":"000000010000000000000004","min":"000000010000000000000001"}],"backup":[
      {"backrest":{"format":5,"version":"2.45"},"error":false,"info":{"delta":1,"size":22992555},"label":"20261123-122420F","prior":null,"timestamp":{"start":1795436660,"stop":1795436667},"type":"full"},
      {"backrest":{"format":5,"version":"2.45"},"error":true,"info":{"size":22992554},"label":"20261123-122420F_20261123-122428I","timestamp":{"start":1795436668,"stop":1795436669},"type":"incr"}],
      "cipher":"none","name":"main","status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"#;

    #[test]
    fn stanzas_and_backups() {
        let list = parse(INFO).unwrap();
        assert_eq!((list.backups.len(), list.version.as_deref(), list.troubles.len()), (2, Some("2.45"), 0));
        let newest = list.newest().unwrap();
        assert_eq!(
            (newest.id.as_str(), newest.kind.as_str(), newest.ended_at.unwrap().ms()),
            ("20261123-122420F", "full", 1_795_436_667_000)
        );
        let missing = r#"[{"backup": [], "name": "main", "status": {"code": 2, "message": "no valid backups"}}]"#;
        assert_eq!(parse(missing).unwrap().troubles, ["main: no valid backups"]);
        assert!(parse("[]").is_err() && parse("{}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..INFO.len()) {
            cuts::refused(INFO, at, parse)?;
        }
    }
}
