//! The shape of a token: a prefix that nobody writes by accident, and what must follow. Matched by hand at the places
//! where an automaton found the prefix: no regular expression runs over a file. Pure.

/// Characters that a part of a token is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Digit,
    /// Upper or lower case, one of them at a time being the providers' habit, not checked.
    Hex,
    Upper32,
    Alnum,
    /// Letters, digits, `_` and `-`: base64 for URLs.
    Word,
    /// base64, with its padding.
    Base64,
    /// [`Class::Word`] and a dot.
    Dotted,
    /// crypt(3)'s alphabet.
    Crypt,
    /// [`Class::Word`] and what else Azure puts in.
    Tilde,
}

impl Class {
    pub fn has(self, byte: u8) -> bool {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        match self {
            Class::Digit => byte.is_ascii_digit(),
            Class::Hex => byte.is_ascii_hexdigit(),
            Class::Upper32 => byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte),
            Class::Alnum => byte.is_ascii_alphanumeric(),
            Class::Word => word,
            Class::Base64 => byte.is_ascii_alphanumeric() || b"+/=".contains(&byte),
            Class::Crypt => byte.is_ascii_alphanumeric() || b"./".contains(&byte),
            Class::Dotted => word || byte == b'.',
            Class::Tilde => word || b".~".contains(&byte),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// So many of a class, at least and at most; greedy.
    Run(Class, usize, usize),
    Text(&'static str),
}

/// `n` of a class.
pub(super) const fn exactly(class: Class, n: usize) -> Part {
    Part::Run(class, n, n)
}

/// Where a token with `prefix` at `at` begins and ends: at boundaries. Up to `before.2` characters of a class may stand
/// before the prefix.
pub(super) fn token(
    text: &[u8],
    at: usize,
    before: Option<(Class, usize, usize)>,
    prefix: &str,
    parts: &[Part],
) -> Option<(usize, usize)> {
    let start = match before {
        None => at,
        Some((class, min, max)) => {
            let run = text[..at].iter().rev().take(max).take_while(|b| class.has(**b)).count();
            if run < min {
                return None;
            }
            at - run
        }
    };
    if !begins(text, start) {
        return None;
    }
    Some((start, end(text, at + prefix.len(), parts)?))
}

fn end(text: &[u8], mut at: usize, parts: &[Part]) -> Option<usize> {
    let mut last = None;
    for part in parts {
        match part {
            Part::Text(expect) => {
                if !text[at..].starts_with(expect.as_bytes()) {
                    return None;
                }
                at += expect.len();
                last = None;
            }
            Part::Run(class, min, max) => {
                let run = text[at..].iter().take(*max).take_while(|b| class.has(**b)).count();
                if run < *min {
                    return None;
                }
                at += run;
                last = Some(*class);
            }
        }
    }
    // One character more of the same kind, and it is something longer.
    let more = last.is_some_and(|class| text.get(at).is_some_and(|b| class.has(*b)));
    (!more).then_some(at)
}

/// Nothing of a word stands before it; the `n` of a `\n` within a string does not count.
fn begins(text: &[u8], start: usize) -> bool {
    let Some(before) = start.checked_sub(1).map(|i| text[i]) else { return true };
    let joins = text[start].is_ascii_alphanumeric();
    let escaped = start >= 2 && text[start - 2] == b'\\' && b"nrt\"'".contains(&before);
    // `%22` and its like end in a digit.
    let percent =
        start >= 3 && text[start - 3] == b'%' && text[start - 2].is_ascii_hexdigit() && before.is_ascii_hexdigit();
    !joins || !(before.is_ascii_alphanumeric() || before == b'_') || escaped || percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_where_its_kind_of_character_does() {
        let parts = [exactly(Class::Hex, 4), Part::Text("."), Part::Run(Class::Alnum, 2, 3)];
        let found = |text: &str, before| {
            let at = text.find("k_").unwrap();
            token(text.as_bytes(), at, before, "k_", &parts).map(|(start, end)| text[start..end].to_string())
        };
        for (text, expect) in [
            ("k_00ff.Zz", Some("k_00ff.Zz")),
            ("x='k_00ff.Zz1'", Some("k_00ff.Zz1")),
            ("\\nk_00ff.Zz1 ", Some("k_00ff.Zz1")),
            ("%22k_00ff.Zz1%22", Some("k_00ff.Zz1")),
            ("k_00ff.Zz12", None),
            ("ak_00ff.Zz", None),
            ("_k_00ff.Zz", None),
            ("k_00f.Zz", None),
            ("k_00fff.Zz", None),
        ] {
            assert_eq!(found(text, None).as_deref(), expect, "{text}");
        }
        let digits = Some((Class::Digit, 2, 3));
        assert_eq!(found("x=123k_00ff.Zz", digits).as_deref(), Some("123k_00ff.Zz"));
        assert_eq!(found("x=1k_00ff.Zz", digits), None);
        assert_eq!(found("x=1234k_00ff.Zz", digits), None);
    }
}
