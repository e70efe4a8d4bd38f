//! TruffleHog's JSON, one finding a line. `Raw`, `RawV2` and `Redacted` are not even read. A failed verification is
//! neither proof nor relief: unknown.

use serde::Deserialize;

use super::{Found, Live, Scan};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Found(Row),
    /// Its log goes to the same terminal.
    Log {
        #[serde(rename = "level")]
        _level: serde::de::IgnoredAny,
        #[serde(rename = "msg")]
        _msg: serde::de::IgnoredAny,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    detector_name: String,
    verified: bool,
    verification_error: Option<String>,
    source_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    data: Option<std::collections::BTreeMap<String, Place>>,
}

#[derive(Deserialize)]
struct Place {
    file: Option<String>,
    line: Option<u32>,
    commit: Option<String>,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let lines: Vec<Line> = json::lines(text)?;
    if lines.is_empty() {
        // Nothing found and nothing run look the same.
        return Err(ImportError::Empty("line; run it with --json and keep its log beside"));
    }
    let rows = lines.into_iter().filter_map(|l| if let Line::Found(row) = l { Some(row) } else { None });
    Ok(Scan::new("trufflehog", None, rows.map(found).collect()))
}

fn found(row: Row) -> Found {
    let live = match (row.verified, row.verification_error.is_some_and(|e| !e.is_empty())) {
        (true, _) => Live::Yes,
        (false, true) => Live::Unknown,
        (false, false) => Live::No,
    };
    let severity = if live == Live::Yes { Severity::Critical } else { Severity::High };
    let mut out = Found::new(&row.detector_name, severity, format!("{} credential", row.detector_name));
    let place = row.source_metadata.and_then(|m| m.data).and_then(|d| d.into_values().next());
    if let Some(place) = place {
        if let Some(file) = place.file {
            out = out.at(file, place.line);
        }
        out.commit = place.commit.filter(|c| !c.is_empty() && c.bytes().all(|b| b.is_ascii_hexdigit()));
    }
    out.live = Some(live);
    out
}

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;

    const REPORT: &str = concat!(
        r#"{"level":"info-0","ts":"2026-01-01T00:00:00Z","logger":"trufflehog","msg":"running source"}"#,
        "\n",
        r#"{"SourceMetadata":{"Data":{"Filesystem":{"file":"src/a.py","line":4}}},"SourceID":1,"DetectorName":"AWS","Verified":true,"Raw":"hunter2hunter2","RawV2":"hunter2hunter2:x","Redacted":"hunter2"}"#,
        "\n",
        r#"{"SourceMetadata":{"Data":{"Git":{"commit":"9f3c2e1","file":"b.py","line":1,"email":"a"}}},"DetectorName":"Stripe","Verified":false,"VerificationError":"timeout","Raw":"hunter2hunter2"}"#,
        "\n",
        r#"{"SourceMetadata":{"Data":{}},"DetectorName":"Slack","Verified":false,"Raw":"hunter2hunter2"}"#,
        "\n",
    );

    #[test]
    fn contract_verified_or_unknown() {
        let scan = parse(REPORT).unwrap();
        let rows: Vec<_> =
            scan.findings.iter().map(|f| (f.rule.as_str(), f.file.as_deref(), f.live.unwrap())).collect();
        assert_eq!(
            rows,
            [("AWS", Some("src/a.py"), Live::Yes), ("Stripe", Some("b.py"), Live::Unknown), ("Slack", None, Live::No)]
        );
        tells_nothing(&scan, &["hunter2"]);
        assert!(parse("").is_err() && parse("{}\n").is_err());
        assert!(parse(&REPORT[..REPORT.len() - 20]).is_err());
    }
}
