//! What a message says: cleaned, redacted, and read for signs of harm. Pure functions over text; no source, no store.
//!
//! The order matters: `normalise` (no markup, no control characters), then `redact` (before anything is stored), then
//! `cues`. [`read`] does all three; raw text never leaves this folder.

pub mod cues;
pub mod normalise;
pub mod redact;
pub mod sentiment;

use crate::domain::feedback::Cue;

/// Longest text kept of one message, in bytes: the size of a long issue; what comes after says nothing new.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// Longest title kept, in bytes.
pub const TITLE_BYTES_MAX: usize = 300;

/// What is kept of a title and a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub title: String,
    pub text: String,
    /// How many pieces of personal data were replaced in both.
    pub redactions: u32,
    /// Found in `text`, or in the title when the text has none of its own (spans of the title are 0..0).
    pub cues: Vec<Cue>,
}

/// Whether the raw text is markup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Markup {
    Plain,
    Html,
}

/// Cleans, redacts and reads a message.
pub fn read(title: &str, text: &str, markup: Markup) -> Reading {
    let clean = |raw: &str, limit: usize| match markup {
        Markup::Html => normalise::clean(&normalise::html_to_text(raw, limit * 4), limit),
        Markup::Plain => normalise::clean(raw, limit),
    };
    let title = redact::redact(clean(title, TITLE_BYTES_MAX).replace('\n', " ").trim());
    let text = redact::redact(clean(text, TEXT_BYTES_MAX).trim());
    let mut found = cues::find(&text.text);
    for cue in cues::find(&title.text) {
        if !found.iter().any(|c| c.name == cue.name) {
            // A span names bytes of the text; a cue of the title alone has none.
            found.push(Cue { name: cue.name, start: 0, end: 0 });
        }
    }
    Reading { title: title.text, text: text.text, redactions: title.count + text.count, cues: found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_html_with_a_person_in_it() {
        let r = read(
            "Checkout <b>crashes</b>",
            "<p>Since the update I was charged twice.</p><script>alert(1)</script> Write to ana@shop.example",
            Markup::Html,
        );
        assert_eq!(r.title, "Checkout crashes");
        assert_eq!(r.text, "Since the update I was charged twice.\nWrite to [email]");
        assert_eq!(r.redactions, 1);
        let names: Vec<&str> = r.cues.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["payment", "crash"]);
    }
}
