//! YAML of strangers as JSON values: bounded by the parser's own budget, `on`, `yes` and `off` stay words, tags are
//! ignored, the last of two equal keys wins. Lines are found by text, [`line_of`], or come with `located.rs`.

use serde_json::Value;

use super::ImportError;

/// All documents of a file, empty ones left out.
pub fn documents(text: &str) -> Result<Vec<Value>, ImportError> {
    serde_saphyr::from_multiple_with_options::<Value>(text.trim_start_matches('\u{feff}'), options())
        .map_err(|e| refused(&e))
}

/// How strangers' YAML is read, whatever comes out of it.
pub(super) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        strict_booleans: true,
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
        with_snippet: false,
        // Large compose files use one anchor dozens of times; what aliases may expand to is limited all the same.
        budget: serde_saphyr::budget! { alias_anchor_ratio_multiplier: 1000 },
    }
}

pub(super) fn refused(error: &serde_saphyr::Error) -> ImportError {
    let line = error.location().map_or(1, |l| l.line() as u32);
    let message = error.to_string();
    // A parser's message may quote the text, and the text may be a secret: keep its first words only.
    let message = message.lines().next().unwrap_or_default().split(['`', '"', '\'']).next().unwrap_or_default();
    ImportError::at(line, format!("not YAML: {}", message.trim()))
}

/// The line (from 1) of the `nth` (from 0) mapping key `key` in the text, at or below line `from`; `from` when not found.
pub fn line_of(text: &str, key: &str, from: u32, nth: usize) -> u32 {
    let is_key = |line: &str| {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let line = line.strip_prefix(['"', '\'']).unwrap_or(line);
        line.strip_prefix(key).is_some_and(|rest| {
            let rest = rest.strip_prefix(['"', '\'']).unwrap_or(rest);
            rest.trim_start().starts_with(':') || rest.trim_start().starts_with('=')
        })
    };
    let skip = from.saturating_sub(1) as usize;
    text.lines().enumerate().skip(skip).filter(|(_, l)| is_key(l)).nth(nth).map_or(from.max(1), |(i, _)| i as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let docs = documents("on: push\nflag: yes\nreal: true\n---\n- !vault |\n  x\n---\n").unwrap();
        assert_eq!(docs[0]["on"], "push");
        assert_eq!(docs[0]["flag"], "yes");
        assert_eq!(docs[0]["real"], true);
        assert_eq!(docs[1][0], "x\n");
        assert_eq!(docs.len(), 2);
    }

    #[test]
    fn errors_have_a_line_and_no_content() {
        let error = documents("a: 1\npassword: \"hunter2\n").unwrap_err();
        assert!(matches!(error, ImportError::Malformed { .. }) && !error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn anchors_cannot_explode() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..12 {
            let row = format!("*a{}, ", i - 1).repeat(9);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", row.trim_end_matches(", ")));
        }
        assert!(documents(&bomb).is_err());
    }

    #[test]
    fn one_anchor_may_be_used_often() {
        let uses: String = (0..500).map(|i| format!("s{i}:\n  <<: *d\n  n: *d\n")).collect();
        assert_eq!(documents(&format!("d: &d {{a: 1}}\n{uses}")).unwrap()[0]["s499"]["a"], 1);
    }

    #[test]
    fn finds_lines_of_keys() {
        let text = "jobs:\n  a:\n    run: x\n  b:\n    \"run\": y\n";
        assert_eq!(line_of(text, "run", 1, 0), 3);
        assert_eq!(line_of(text, "run", 1, 1), 5);
        assert_eq!(line_of(text, "run", 4, 0), 5);
        assert_eq!(line_of(text, "none", 2, 0), 2);
    }
}
