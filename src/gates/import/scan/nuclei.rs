//! nuclei's JSONL (and its JSON array). Requests, responses, extracted results and curl commands hold what was found and
//! are not read.

use serde::Deserialize;

use super::{Found, Scan, address, severity};
use crate::domain::verdict::Severity;
use crate::gates::import::{ImportError, json};

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "template-id", alias = "templateID")]
    template: String,
    /// `http/exposures/configs/git-config.yaml`
    #[serde(rename = "template", default)]
    file: Option<String>,
    #[serde(rename = "template-path", default)]
    path: Option<String>,
    info: Info,
    #[serde(rename = "matched-at", alias = "matched")]
    matched: Option<String>,
    host: Option<String>,
    #[serde(rename = "matcher-status")]
    status: Option<bool>,
}

#[derive(Deserialize)]
struct Info {
    name: Option<String>,
    severity: Option<String>,
}

pub fn parse(text: &str) -> Result<Scan, ImportError> {
    let rows: Vec<Row> = if text.trim_start().starts_with('[') { json::read(text)? } else { json::lines(text)? };
    if rows.is_empty() && !text.trim_start().starts_with('[') {
        // Nothing found and nothing run look the same.
        return Err(ImportError::Empty("line; write it with -json-export"));
    }
    let found = |row: Row| {
        let severity = row.info.severity.as_deref().and_then(severity).unwrap_or(Severity::Medium);
        let out = Found::new(&row.template, severity, row.info.name.as_deref().unwrap_or(&row.template));
        let out = Found { topic: topic(&row), ..out };
        match row.matched.or(row.host) {
            Some(place) => out.place(address(&place)),
            None => out,
        }
    };
    // -matcher-status also lists what did not match.
    let matched = rows.into_iter().filter(|r| r.status != Some(false));
    Ok(Scan::new("nuclei", None, matched.map(found).collect()))
}

/// The folder of templates below `http/` or another protocol's.
fn topic(row: &Row) -> Option<String> {
    let path = row.file.as_ref().or(row.path.as_ref())?;
    let mut folders = path.split('/').skip_while(|f| !PROTOCOLS.contains(f)).skip(1);
    folders.next().filter(|f| !f.contains('.')).map(super::clean)
}

/// Folders at the top of nuclei-templates.
const PROTOCOLS: [&str; 6] = ["http", "network", "dns", "ssl", "javascript", "headless"];

#[cfg(test)]
mod tests {
    use super::super::tells_nothing;
    use super::*;

    const LINE: &str = r#"{"template-id":"git-config","info":{"name":"Git Config Exposure","severity":"medium","tags":["exposure"]},"type":"http","host":"https://shop.io","matched-at":"https://shop.io/.git/config?k=hunter2hunter2","extracted-results":["hunter2hunter2"],"request":"hunter2hunter2","curl-command":"hunter2hunter2","matcher-status":true}"#;

    #[test]
    fn contract_lines_and_arrays() {
        let scan = parse(&format!("{LINE}\n{}\n", LINE.replace("\"matcher-status\":true", "\"matcher-status\":false")))
            .unwrap();
        assert_eq!(scan.findings.len(), 1);
        assert_eq!(
            (scan.findings[0].severity, scan.findings[0].place.as_deref()),
            (Severity::Medium, Some("https://shop.io/.git/config"))
        );
        tells_nothing(&scan, &["hunter2"]);
        assert_eq!(parse(&format!("[{LINE}]")).unwrap().findings.len(), 1);
        assert_eq!(scan.findings[0].topic, None);
        for name in ["template", "template-path"] {
            let line = LINE.replacen('{', &format!("{{\"{name}\":\"/n/http/exposures/configs/a.yaml\","), 1);
            assert_eq!(parse(&line).unwrap().findings[0].topic.as_deref(), Some("exposures"));
        }
        assert_eq!(parse("[]").unwrap().findings, []);
        assert!(parse("").is_err() && parse(&LINE[..90]).is_err());
    }
}
