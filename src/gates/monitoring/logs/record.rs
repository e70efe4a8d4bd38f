//! One log line as a record: JSON object, logfmt, or text. Pure.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Json,
    Logfmt,
    Text,
}

/// What a record's time says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// An instant: a zone is given, or it counts from the epoch.
    Zoned,
    /// A time of day somewhere, or something else.
    Unzoned,
    Missing,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub format: Format,
    pub stamp: Stamp,
    /// Keys with dots for nesting; empty for text.
    pub fields: BTreeMap<String, Value>,
}

const TIME: [&str; 6] = ["time", "timestamp", "@timestamp", "ts", "date", "datetime"];
const LEVEL: [&str; 5] = ["level", "lvl", "severity", "log.level", "levelname"];
const MESSAGE: [&str; 3] = ["msg", "message", "event"];
/// Objects within objects beyond this are left as they are.
const DEPTH_MAX: usize = 8;

impl Record {
    pub fn parse(line: &str) -> Record {
        let line = line.trim();
        if let Ok(Value::Object(object)) = serde_json::from_str(line) {
            let mut fields = BTreeMap::new();
            flatten("", &Value::Object(object), 0, &mut fields);
            return Record::of(Format::Json, fields);
        }
        match logfmt(line) {
            Some(fields) => Record::of(Format::Logfmt, fields),
            None => Record { format: Format::Text, stamp: Stamp::Missing, fields: BTreeMap::new() },
        }
    }

    fn of(format: Format, fields: BTreeMap<String, Value>) -> Record {
        let stamp = TIME.iter().find_map(|key| fields.get(*key)).map_or(Stamp::Missing, stamp);
        Record { format, stamp, fields }
    }

    /// The first of these fields that is there.
    pub fn first(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| self.fields.get(*name))
    }
    pub fn has_level(&self) -> bool {
        self.first(&LEVEL).is_some()
    }
    pub fn has_message(&self) -> bool {
        self.first(&MESSAGE).is_some()
    }
}

fn flatten(prefix: &str, value: &Value, depth: usize, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(object) if depth < DEPTH_MAX => {
            for (key, value) in object {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, depth + 1, out);
            }
        }
        _ => {
            out.insert(prefix.to_string(), value.clone());
        }
    }
}

fn stamp(value: &Value) -> Stamp {
    match value {
        Value::Number(_) => Stamp::Zoned,
        Value::String(text) => {
            let zoned = DateTime::parse_from_rfc3339(text).is_ok()
                || ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f %z"]
                    .iter()
                    .any(|format| DateTime::parse_from_str(text, format).is_ok())
                // logfmt has no numbers: seconds or milliseconds of this century.
                || text.parse::<f64>().is_ok_and(|n| n > 1e9);
            if zoned { Stamp::Zoned } else { Stamp::Unzoned }
        }
        _ => Stamp::Unzoned,
    }
}

/// Two or more `key=value` and nothing else; values may be quoted, with `\"` inside.
fn logfmt(line: &str) -> Option<BTreeMap<String, Value>> {
    let mut fields = BTreeMap::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "._-@".contains(c)) {
            return None;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (quoted[..end].replace("\\\"", "\""), &quoted[end + 1..])
            }
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_string(), &after[end..])
            }
        };
        if !(after.is_empty() || after.starts_with(' ')) {
            return None;
        }
        fields.insert(key.to_string(), Value::String(value));
        rest = after.trim_start();
    }
    (fields.len() >= 2).then_some(fields)
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at),
            _ => {}
        }
    }
    None
}
