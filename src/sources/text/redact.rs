//! Personal data out of text, before it is stored: email, phone, card, IBAN, IP address, JWT, tokens, long hex or
//! base64, userinfo and query of URLs. Each is replaced by a word in brackets and counted.
//!
//! Prefers to take too much: a lost number hurts nobody, a stored one may. Versions, prices and error codes stay.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Text without personal data, and how many pieces were replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    pub text: String,
    pub count: u32,
}

/// What a match becomes; `None` keeps it as it is.
type Judge = fn(&Captures<'_>) -> Option<String>;

/// In this order: what contains others comes first (a URL may hold a token, an address may look like a phone number).
static STEPS: LazyLock<Vec<(Regex, Judge)>> = LazyLock::new(|| {
    let step = |pattern: &str, judge: Judge| (Regex::new(pattern).expect("a fixed pattern"), judge);
    vec![
        step(r#"(?i)\b([a-z][a-z0-9+.-]{1,15}://)([^\s<>"'()\[\]]+)"#, url),
        step(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?", |_| Some("[token]".into())),
        step(
            r"(?i)\b(bearer|basic|token|api[_-]?key|secret|password|passwd|pwd)(\s*[:=]\s*|\s+)([^\s,;]{6,})",
            assigned,
        ),
        step(
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{16,}|[sprk]k_(?:live|test)_\w{8,}|xox[abeoprs]-[\w-]{8,}|A(?:KIA|SIA)[A-Z0-9]{16}|AIza[\w-]{30,}|whsec_[\w+/=]{16,}|npm_\w{30,}|SG\.[\w-]{16,}\.[\w-]{16,})",
            |_| Some("[token]".into()),
        ),
        step(r"(?i)[a-z0-9._%+'-]{1,64}@(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}\b", |_| Some("[email]".into())),
        step(
            r"(?i)[a-z0-9._%+-]{1,64}\s?(?:\(at\)|\[at\]|\sat\s)\s?[a-z0-9-]{1,63}\s?(?:\(dot\)|\[dot\]|\sdot\s)\s?[a-z]{2,24}\b",
            |_| Some("[email]".into()),
        ),
        step(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{2,4}){3,8}\b", iban),
        step(r"\b\d(?:[ -]?\d){12,18}\b", card),
        step(r"\b(?:\d{1,3}\.){3,}\d{1,3}\b(?:/\d{1,2}\b)?", ipv4),
        step(r"(?i)(?:\b[0-9a-f]{1,4}:|::)(?:[0-9a-f]{0,4}:){1,6}[0-9a-f]{0,4}(?:%\w+)?", ipv6),
        step(r"(?:\+|\b00)?\(?\b?\d[\d ()/.\-]{6,22}\d\b", phone),
        step(r"\b[0-9a-fA-F]{32,}\b", |_| Some("[hex]".into())),
        step(r"\b[A-Za-z0-9+/_-]{32,}={0,2}", base64ish),
    ]
});

/// Redacts `text`. A second pass over the result changes nothing.
pub fn redact(text: &str) -> Redacted {
    let mut count = 0;
    let mut out = text.to_string();
    for (pattern, judge) in STEPS.iter() {
        let replaced = pattern.replace_all(&out, |found: &Captures<'_>| match judge(found) {
            Some(word) => {
                count += 1;
                word
            }
            None => found[0].to_string(),
        });
        if let std::borrow::Cow::Owned(new) = replaced {
            out = new;
        }
    }
    Redacted { text: out, count }
}

/// Keeps scheme, host and path; userinfo, query and fragment go.
fn url(found: &Captures<'_>) -> Option<String> {
    let (scheme, rest) = (&found[1], &found[2]);
    let (authority, path) = rest.find(['/', '?', '#']).map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let kept = path.find(['?', '#']).map_or(path, |at| &path[..at]);
    let removed_query = if kept.len() < path.len() && path.len() - kept.len() > 1 { "?[query]" } else { "" };
    let removed_user = if host.len() < authority.len() { "[user]@" } else { "" };
    (!removed_query.is_empty() || !removed_user.is_empty())
        .then(|| format!("{scheme}{removed_user}{host}{kept}{removed_query}"))
}

/// `password: hunter2`. After a bare space only what looks like a secret goes: "password reset" stays.
fn assigned(found: &Captures<'_>) -> Option<String> {
    let value = &found[3];
    let certain = found[2].contains([':', '=']);
    let odd = value.chars().any(|c| c.is_ascii_digit()) && value.chars().any(char::is_alphabetic);
    ((certain || odd) && !value.starts_with('[')).then(|| format!("{}{}[token]", &found[1], &found[2]))
}

/// ISO 13616: the number, its first four moved to the end and letters as two digits, is 1 modulo 97.
fn iban(found: &Captures<'_>) -> Option<String> {
    let compact: Vec<u8> = found[0].bytes().filter(u8::is_ascii_alphanumeric).collect();
    if !(15..=34).contains(&compact.len()) {
        return None;
    }
    let rotated = compact[4..].iter().chain(&compact[..4]);
    let rest = rotated.fold(0u32, |rest, b| match b {
        b'0'..=b'9' => (rest * 10 + u32::from(b - b'0')) % 97,
        _ => (rest * 100 + u32::from(b - b'A') + 10) % 97,
    });
    (rest == 1).then(|| "[iban]".into())
}

/// ISO/IEC 7812 (Luhn).
fn card(found: &Captures<'_>) -> Option<String> {
    let digits: Vec<u32> = found[0].chars().filter_map(|c| c.to_digit(10)).collect();
    let sum: u32 =
        digits.iter().rev().enumerate().map(|(i, d)| if i % 2 == 0 { *d } else { (d * 2) / 10 + (d * 2) % 10 }).sum();
    (sum.is_multiple_of(10) && digits.iter().any(|d| *d != 0)).then(|| "[card]".into())
}

fn ipv4(found: &Captures<'_>) -> Option<String> {
    let address = found[0].split('/').next().unwrap_or("");
    address.parse::<std::net::Ipv4Addr>().ok().map(|_| "[ip]".into())
}

fn ipv6(found: &Captures<'_>) -> Option<String> {
    let address = found[0].split('%').next().unwrap_or("");
    // `12:34:56` is a time of day, not an address.
    let parsed = address.parse::<std::net::Ipv6Addr>().ok()?;
    (parsed.segments().iter().filter(|s| **s != 0).count() > 1).then(|| "[ip]".into())
}

/// Eight to fifteen digits (E.164) with at least one separator or a leading plus. Dates, versions, prices and decimal
/// numbers stay: they have dots alone, or the shape of a date.
fn phone(found: &Captures<'_>) -> Option<String> {
    static DATE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})(?:\s.*)?$")
            .expect("a fixed pattern")
    });
    let text = found[0].trim();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let plus = text.starts_with('+') || text.starts_with("00");
    let separated = text.contains([' ', '-', '/', '(']);
    let parenthesis_closed = !text.contains('(') || text.contains(')');
    let groups = text.split(|c: char| !c.is_ascii_digit()).filter(|g| !g.is_empty()).count();
    let plausible = plus || (separated && groups >= 2 && parenthesis_closed && !DATE.is_match(text));
    ((8..=15).contains(&digits) && plausible).then(|| "[phone]".into())
}

/// Letters of both cases and digits, long: a key, not a word. Paths and snake_case names stay.
fn base64ish(found: &Captures<'_>) -> Option<String> {
    let text = &found[0];
    let has = |f: fn(&char) -> bool| text.chars().any(|c| f(&c));
    let words = text.split(['/', '-', '_']).filter(|w| !w.is_empty());
    let longest = words.map(str::len).max().unwrap_or(0);
    (has(char::is_ascii_digit) && has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && longest >= 16)
        .then(|| "[token]".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: &str) {
        let once = redact(input);
        assert_eq!(once.text, expect, "{input}");
        assert_eq!(once.count == 0, input == expect, "{input}: count {}", once.count);
        assert_eq!(redact(&once.text).text, expect, "a second pass changes {input}");
    }

    #[test]
    fn takes_personal_data_out() {
        check("mail ana.b+x@mail.example.com now", "mail [email] now");
        check("ana (at) shop (dot) example", "[email]");
        check("call +49 170 1234567 or 0170-1234567.", "call [phone] or [phone].");
        check("(030) 1234-5678", "[phone]");
        check("card 4111 1111 1111 1111 charged", "card [card] charged");
        check("IBAN DE89 3704 0044 0532 0130 00", "IBAN [iban]");
        check("from 203.0.113.7 and 2001:db8::8a2e:370:7334", "from [ip] and [ip]");
        check("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[token]");
        check("Authorization: Bearer abcdef123456", "Authorization: Bearer [token]");
        check("password=hunter22", "password=[token]");
        check("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[token]");
        check("key 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "key [hex]");
        check("https://ana:pw@shop.example/cart?session=1#x", "https://[user]@shop.example/cart?[query]");
        check("AbCd1234EfGh5678IjKl9012MnOp3456Qr", "[token]");
    }

    #[test]
    fn leaves_the_rest_alone() {
        for kept in [
            "version 1.4.2 build 20261122",
            "2.10.33.4.5 is not an address",
            "it costs 1,299.00 EUR",
            "error 0x80070005 and code 500",
            "since 2026-11-22 10:15 it fails",
            "22.11.2026",
            "order 12345678 is missing",
            "the password reset does nothing",
            "at 12:34:56 it froze",
            "see https://shop.example/help/page",
            "src/components/checkout/PaymentMethodSelectorWithFallback",
            "a_very_long_snake_case_identifier_in_a_log_line",
        ] {
            check(kept, kept);
        }
    }

    #[test]
    fn a_wrong_checksum_is_not_a_card() {
        assert!(!redact("4111 1111 1111 1112").text.contains("[card]"));
        assert!(!redact("DE89 3704 0044 0532 0130 01").text.contains("[iban]"));
    }
}
