//! JSON of strangers into the few fields an importer wants: typed, so that a huge report never becomes a huge tree, and
//! with errors that never quote the text, because the text may be a secret.

use serde::de::DeserializeOwned;

use super::ImportError;

/// One document. A byte order mark is forgiven, an end in the middle is [`ImportError::CutShort`].
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return Err(ImportError::Empty("JSON"));
    }
    serde_json::from_str(text).map_err(|e| error(&e, 0))
}

/// One document a line; empty lines are skipped. What stands in a line that is not JSON is never guessed at.
pub fn lines<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, ImportError> {
    let rows = text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    rows.map(|(row, line)| serde_json::from_str(line).map_err(|e| error(&e, row as u32))).collect()
}

fn error(e: &serde_json::Error, rows_before: u32) -> ImportError {
    if e.is_eof() {
        return ImportError::CutShort("a JSON value".into());
    }
    let message = e.to_string();
    // Up to the first quote: what follows is the text's own.
    let message = message.split([':', '`', '"', '\'']).next().unwrap_or_default().trim().to_string();
    let message = if e.is_data() { format!("not what this format holds: {message}") } else { message };
    ImportError::at(rows_before + e.line() as u32, message.split(" at line").next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_and_never_the_text() {
        type Numbers = Vec<u32>;
        assert_eq!(read::<Numbers>("\u{feff}[1,\n2]").unwrap(), [1, 2]);
        assert_eq!(read::<Numbers>("[1,"), Err(ImportError::CutShort("a JSON value".into())));
        assert_eq!(read::<Numbers>(" \n"), Err(ImportError::Empty("JSON")));
        let error = read::<Numbers>("[1,\n\"hunter2\"]").unwrap_err();
        assert!(matches!(error, ImportError::Malformed { line: 2, .. }), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        assert_eq!(lines::<u32>("1\n\n2\n").unwrap(), [1, 2]);
        assert!(matches!(lines::<u32>("1\nx"), Err(ImportError::Malformed { line: 2, .. })));
    }
}
