//! Literals that a program puts together: `'ghp_' + '…'`, `['AK', 'IA…'].join('')`, a string over several lines. Pure.

use std::ops::Range;

/// Of one literal.
const LITERAL_BYTES_MAX: usize = 400;
/// Of what is put together.
const PARTS_MAX: usize = 40;
/// Blanks, an operator and a line's end between two literals.
const SEAM_BYTES_MAX: usize = 120;

/// What literals make together, and the place of all of them, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joined {
    pub text: String,
    pub place: Range<usize>,
}

/// How literals may be parted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parted {
    /// By `+` or `.`, or by a line's end.
    Summed,
    /// By commas, as a list is.
    Listed,
}

/// The literals around a seam such as `' + '`; `at` is where the closing quote of the first stands.
pub(super) fn summed(text: &[u8], at: usize) -> Option<Joined> {
    let from = at.saturating_sub(LITERAL_BYTES_MAX);
    let open = text[from..at].iter().rposition(|b| *b == text[at] || *b == b'\n')? + from;
    // Only the first of several seams tells of the whole.
    let first = text[..open].trim_ascii_end().last().is_none_or(|b| !b"+.".contains(b));
    (text[open] == text[at] && first).then(|| chain(text, open, Parted::Summed))?
}

/// The literals of a list that `].join('')` makes one text; `at` is where that stands.
pub(super) fn listed(text: &[u8], at: usize) -> Option<Joined> {
    const LIST_BYTES_MAX: usize = 1_000;
    let from = at.saturating_sub(LIST_BYTES_MAX);
    let open = text[from..at].iter().rposition(|b| *b == b'[')? + from;
    let first = open + 1 + text[open + 1..at].iter().position(|b| !b.is_ascii_whitespace())?;
    chain(text, first, Parted::Listed)
}

/// What a value goes on with: `value` is what stands between the quotes of its first literal.
pub(super) fn goes_on(text: &[u8], value: &Range<usize>) -> Option<Joined> {
    let open = value.start.checked_sub(1)?;
    // Quick: next to nothing goes on.
    let after = text.get(value.end + 1..)?;
    let next = after.iter().take(SEAM_BYTES_MAX).find(|b| !b.is_ascii_whitespace())?;
    b"+.\"'`".contains(next).then(|| chain(text, open, Parted::Summed))?
}

/// From an opening quote on; `None` for a literal alone.
fn chain(text: &[u8], open: usize, parted: Parted) -> Option<Joined> {
    let (mut joined, mut parts, mut at) = (Vec::new(), 0, open);
    let quote = text.get(open).copied().filter(|b| b"\"'`".contains(b))?;
    let end = loop {
        let literal = &text[at + 1..text.len().min(at + 1 + LITERAL_BYTES_MAX)];
        let length = literal.iter().position(|b| *b == quote || *b == b'\n').filter(|end| literal[*end] == quote)?;
        joined.extend_from_slice(&literal[..length]);
        (parts, at) = (parts + 1, at + 1 + length);
        match seam(&text[at + 1..], quote, parted) {
            Some(step) if parts < PARTS_MAX => at += 1 + step,
            _ => break at + 1,
        }
    };
    let text = String::from_utf8(joined).ok()?;
    (parts > 1 && !text.contains(['"', '\'', '`'])).then_some(Joined { text, place: open..end })
}

/// How far it is to the next literal's quote.
fn seam(rest: &[u8], quote: u8, parted: Parted) -> Option<usize> {
    let near = &rest[..rest.len().min(SEAM_BYTES_MAX)];
    let blanks = |from: usize| near[from..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let mut at = blanks(0);
    let operators: &[u8] = if parted == Parted::Listed { b"," } else { b"+." };
    match near.get(at) {
        Some(b) if operators.contains(b) => at += 1,
        // Python and C put together what follows on the next line.
        Some(_) if parted == Parted::Summed && near[..at].contains(&b'\n') => {}
        _ => return None,
    }
    at += blanks(at);
    (near.get(at) == Some(&quote)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_that_belong_together() {
        let sum = |text: &str, seam: &str| summed(text.as_bytes(), text.find(seam)?).map(|j| j.text);
        assert_eq!(sum("x = 'gh' + 'p_' +\n  'abc';", "' + '").as_deref(), Some("ghp_abc"));
        assert_eq!(sum("$x = \"gh\" . \"p_\";", "\" . \"").as_deref(), Some("ghp_"));
        assert_eq!(sum("'a' + 'b' + 'c'", "' + 'c").as_deref(), None, "told once");
        for none in ["x' + 'y", "'a' + y", "'a' + \"b\""] {
            assert_eq!(sum(none, "' + "), None, "{none}");
        }
        let list = |text: &str| listed(text.as_bytes(), text.find("].join")?).map(|j| j.text);
        assert_eq!(list("[ 'AK', 'IA',\n 'x' ].join('')").as_deref(), Some("AKIAx"));
        assert_eq!(list("[a, 'b'].join('')"), None);
        let on = |text: &str| goes_on(text.as_bytes(), &(5..8)).map(|j| (j.text, j.place));
        assert_eq!(on("k = 'abc' +\n 'def'"), Some(("abcdef".into(), 4..18)));
        assert_eq!(on("k = 'abc'\n    'def'\n"), Some(("abcdef".into(), 4..19)));
        assert_eq!(on("k = 'abc', 'def'"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "['\"+. ,\\[\\]\na]{0,40}", at in 0usize..40) {
            let at = at.min(text.len().saturating_sub(1));
            if !text.is_empty() {
                let _ = (summed(text.as_bytes(), at), listed(text.as_bytes(), at), goes_on(text.as_bytes(), &(at..at)));
            }
        }
    }
}
