//! `#if`: which branches a release build has. It has no `DEBUG`; what else is defined, nobody here knows. Pure.

/// What a condition says of a release: `None` when that depends.
type Known = Option<bool>;

#[derive(Debug, Default)]
pub(super) struct Branches {
    open: Vec<Open>,
}

/// One `#if` that has no `#endif` yet.
#[derive(Debug)]
struct Open {
    live: bool,
    /// One of its branches is taken for sure.
    taken: bool,
}

impl Branches {
    pub fn live(&self) -> bool {
        self.open.iter().all(|open| open.live)
    }

    pub fn directive(&mut self, word: &str, rest: &str) {
        /// Nobody nests deeper; what does is not skipped.
        const DEPTH_MAX: usize = 1_000;
        let depth = self.open.len();
        match (word, self.open.last_mut()) {
            ("if", _) if depth < DEPTH_MAX => {
                let known = condition(rest);
                self.open.push(Open { live: known != Some(false), taken: known == Some(true) });
            }
            ("elif", Some(open)) => {
                let known = condition(rest);
                open.live = !open.taken && known != Some(false);
                open.taken |= known == Some(true);
            }
            ("else", Some(open)) => open.live = !open.taken,
            ("endif", Some(_)) => {
                self.open.pop();
            }
            _ => {}
        }
    }
}

fn condition(text: &str) -> Known {
    /// Longer ones are not read.
    const BYTES_MAX: usize = 1_000;
    if text.len() > BYTES_MAX {
        return None;
    }
    let mut rest = text.trim();
    let known = either(&mut rest);
    known.filter(|_| rest.is_empty())
}

fn eat(rest: &mut &str, mark: &str) -> bool {
    match rest.strip_prefix(mark) {
        Some(after) => {
            *rest = after.trim_start();
            true
        }
        None => false,
    }
}

fn either(rest: &mut &str) -> Known {
    let mut known = both(rest);
    while eat(rest, "||") {
        known = match (known, both(rest)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        };
    }
    known
}

fn both(rest: &mut &str) -> Known {
    let mut known = one(rest);
    while eat(rest, "&&") {
        known = match (known, one(rest)) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
    known
}

fn one(rest: &mut &str) -> Known {
    let mut not = false;
    while eat(rest, "!") {
        not = !not;
    }
    let known = if eat(rest, "(") {
        let inner = either(rest);
        eat(rest, ")");
        inner
    } else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let word = &rest[..end];
        *rest = rest[end..].trim_start();
        match word {
            "DEBUG" | "false" => Some(false),
            "true" => Some(true),
            _ => None,
        }
    };
    known.map(|known| known != not)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        for (text, expect) in [
            ("DEBUG", Some(false)),
            ("!DEBUG", Some(true)),
            ("DEBUG && NET8_0", Some(false)),
            ("DEBUG || NET8_0", None),
            ("!(DEBUG || false)", Some(true)),
            ("NET8_0", None),
            ("DEBUG == true", None),
            ("", None),
        ] {
            assert_eq!(condition(text), expect, "{text}");
        }
        condition(&"(".repeat(999));
    }
}
