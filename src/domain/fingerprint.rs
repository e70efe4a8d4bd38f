//! What a finding is known by from run to run, where it is about a secret: its place and, when `HYPERCARE_KEY` is set, a
//! tag of the value (gates.md 0.5). Another secret on the same line has another tag, so that nothing written for the old
//! one covers the new one.
//!
//! `PLACE-TAG`: 16 hex digits as of every finding, and 32 of HMAC-SHA256 over place and value, both framed by their
//! lengths. Without the key nobody can try values against the tag. Values only; the command line reads the variable.

use ring::hmac;

use super::evidence::hex;
use super::secret::{self, Revealed};

pub const VARIABLE: &str = "HYPERCARE_KEY";
/// 128 bits in hex. Whoever can guess the key can try passwords against the tags of a published report.
const KEY_CHARS_MIN: usize = 32;
const PLACE_CHARS: usize = 16;
const TAG_CHARS: usize = 32;

/// The team's key: in the environment of whoever checks, and nowhere else.
#[derive(Clone)]
pub struct FingerprintKey(hmac::Key);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE} has fewer than {KEY_CHARS_MIN} characters: anybody could try them all")]
pub struct WeakKey;

impl FingerprintKey {
    /// `None`: not set, or empty, as CI systems give a secret that a change under review may not have.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<FingerprintKey>, WeakKey> {
        let text = variable(VARIABLE).unwrap_or_default();
        let text = text.trim();
        match text.chars().count() {
            0 => Ok(None),
            n if n < KEY_CHARS_MIN => Err(WeakKey),
            _ => {
                // No output may hold it.
                let key = Revealed::new(text.to_string());
                Ok(Some(FingerprintKey(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))))
            }
        }
    }

    /// Which key this is, for what is kept between runs.
    pub fn id(&self) -> String {
        self.tag(&[b"which key"])
    }

    /// A place's fingerprint, bound to the value that was found there.
    pub fn bind(&self, place: &str, value: &[u8]) -> String {
        format!("{place}-{}", self.tag(&[place.as_bytes(), value]))
    }

    fn tag(&self, parts: &[&[u8]]) -> String {
        let mut tag = hmac::Context::with_key(&self.0);
        for part in parts {
            tag.update(&(part.len() as u64).to_le_bytes());
            tag.update(part);
        }
        hex(tag.sign().as_ref())[..TAG_CHARS].to_string()
    }
}

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(VARIABLE)
    }
}

/// Is a finding the one that somebody has written down?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    Yes,
    /// Another one altogether.
    No,
    /// At the same place, and nobody can tell that it is the same secret; the words say why, after "because".
    Doubtful(&'static str),
}

/// Compares what was written down with what is there now. Tags in constant time.
pub fn meant(noted: &str, found: &str) -> Meant {
    let ((noted, then), (found, now)) = (parts(noted), parts(found));
    if noted != found {
        return Meant::No;
    }
    match (then, now) {
        (None, None) => Meant::Yes,
        (Some(then), Some(now)) if secret::same(then.as_bytes(), now.as_bytes()) => Meant::Yes,
        (Some(_), Some(_)) => {
            Meant::Doubtful("it is about another secret at this place, or was made with another HYPERCARE_KEY")
        }
        (Some(_), None) => Meant::Doubtful("it was made with HYPERCARE_KEY, which is not set here"),
        (None, Some(_)) => {
            Meant::Doubtful("it was made without HYPERCARE_KEY, so it does not say which secret it is about")
        }
    }
}

/// Could this be a fingerprint of a finding?
pub fn is_fingerprint(text: &str) -> bool {
    is_hex(parts(text).0, PLACE_CHARS)
}

/// Place and tag.
fn parts(print: &str) -> (&str, Option<&str>) {
    match print.split_once('-') {
        Some((place, tag)) if is_hex(place, PLACE_CHARS) && is_hex(tag, TAG_CHARS) => (place, Some(tag)),
        _ => (print, None),
    }
}

fn is_hex(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> FingerprintKey {
        FingerprintKey::read(|_| Some(text.into())).unwrap().unwrap()
    }

    const PLACE: &str = "0123456789abcdef";

    #[test]
    fn the_same_secret_under_the_same_key_and_nothing_else() {
        let (ours, theirs) = (key(&"k".repeat(32)), key(&"l".repeat(40)));
        let noted = ours.bind(PLACE, b"old");
        assert_eq!(noted.len(), 16 + 1 + 32);
        assert_eq!(meant(&noted, &ours.bind(PLACE, b"old")), Meant::Yes);
        assert_eq!(meant(PLACE, PLACE), Meant::Yes, "as before, without a key");
        assert_eq!(meant(&noted, &ours.bind("fedcba9876543210", b"old")), Meant::No);
        assert_eq!(meant("any other text", "any other text"), Meant::Yes);
        for (found, why) in [
            (ours.bind(PLACE, b"new"), "another secret"),
            (theirs.bind(PLACE, b"old"), "another HYPERCARE_KEY"),
            (PLACE.to_string(), "is not set here"),
            (noted.replace(&noted[40..42], "zz"), ""),
        ] {
            match meant(&noted, &found) {
                Meant::Doubtful(said) => assert!(said.contains(why), "{said}"),
                other => assert!(why.is_empty() && other == Meant::No, "{found}: {other:?}"),
            }
        }
        assert!(matches!(meant(PLACE, &noted), Meant::Doubtful(why) if why.contains("without HYPERCARE_KEY")));
        assert_ne!(ours.id(), theirs.id());
    }

    #[test]
    fn keys_that_can_be_guessed_are_refused() {
        let read =
            |text: Option<&str>| FingerprintKey::read(|name| text.filter(|_| name == VARIABLE).map(String::from));
        assert!(read(None).unwrap().is_none() && read(Some(" \n")).unwrap().is_none());
        assert_eq!(read(Some("hunter2")).err(), Some(WeakKey));
        let (one, other) = (read(Some(&format!("{}\n", "k".repeat(32)))).unwrap(), key(&"k".repeat(32)));
        assert_eq!(one.unwrap().id(), other.id(), "a newline at the end is no part of it");
        assert_eq!(format!("{other:?}"), "HYPERCARE_KEY");
    }

    #[test]
    fn prints_and_other_texts() {
        let print = key(&"k".repeat(32)).bind(PLACE, b"x");
        assert!(is_fingerprint(PLACE) && is_fingerprint(&print));
        for other in ["", "0123", "0123456789ABCDEF", "0123456789abcdef-12", &print[..40], "n1:5d0c"] {
            assert!(!is_fingerprint(other), "{other}");
        }
    }
}
