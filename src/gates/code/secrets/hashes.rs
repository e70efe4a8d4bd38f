//! Password hashes without a mark of their own: rows of users in dumps of databases, with MD5 or SHA in hex. Pure.

use super::scan::{Hit, People, View, hit};
use super::values::is_hex;
use crate::domain::verdict::{Confidence, Severity};

/// Dumps are long; so many rows say enough.
const ROWS_MAX: usize = 50;

/// The hashes that stand beside mail addresses in the rows of a dump.
pub(super) fn rows(text: &[u8], path: &str, view: View) -> Vec<Hit> {
    let mut hits = Vec::new();
    if !path.to_ascii_lowercase().ends_with(".sql") || view.people != People::Users {
        return hits;
    }
    let mut at = 0;
    for line in text.split_inclusive(|b| *b == b'\n') {
        let begins = at;
        at += line.len();
        let Some(line) = std::str::from_utf8(line).ok().filter(|line| line.contains('@')) else { continue };
        let mut from = begins;
        for part in line.split('\'') {
            if matches!(part.len(), 32 | 40 | 64) && is_hex(part) {
                let found = hit("password-hash", "whoever has the password", from..from + part.len(), part);
                hits.push(Hit { severity: Severity::Medium, confidence: Confidence::High, ..found });
            }
            from += part.len() + 1;
        }
        if hits.len() >= ROWS_MAX {
            break;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::code::secrets::files;

    #[test]
    fn rows_of_users() {
        let text = "-- users\n(1, 'bob@shop.io', '7ada536411f87bb92f7724091c3dc814', 'x'),\n-- files\n\
                    (1, 'a.png', '7ada536411f87bb92f7724091c3dc814');\n";
        let found = |path: &str| {
            let view = files::view(path, text.as_bytes()).unwrap();
            rows(text.as_bytes(), path, view).iter().map(|h| text[h.place.clone()].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found("db/dump.sql"), ["7ada536411f87bb92f7724091c3dc814"]);
        assert!(found("tests/dump.sql").is_empty() && found("a.txt").is_empty());
    }
}
