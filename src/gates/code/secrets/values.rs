//! Is this value a secret, or does it stand for one? Placeholders, references, names, words; and how random it is. Pure.

use super::checks::{entropy, hex_entropy};

/// What people write where a secret goes.
const PLACEHOLDERS: &[&str] = &[
    "example",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "replace",
    "redacted",
    "removed",
    "dummy",
    "sample",
    "insert",
    "todo",
    "fixme",
    "lorem",
    "foobar",
    "foo_bar",
    "notreal",
    "not-real",
    "not_real",
    "notasecret",
    "fake",
    "your-",
    "your_",
    "yourkey",
    "yoursecret",
    "yourtoken",
    "yourpass",
    "yourapi",
    "my-secret",
    "my_secret",
    "mysecret",
    "my-token",
    "mytoken",
    "my_token",
    "mypass",
    "my-pass",
    "my_pass",
    "supersecret",
    "super-secret",
    "super_secret",
    "secret_key",
    "secretkey",
    "secret-key",
    "api_key",
    "apikey",
    "api-key",
    "access_token",
    "accesstoken",
    "xxxx",
    "0000000",
    "1234567",
    "abcdef",
    "qwerty",
    "password1",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "testtest",
    "test_",
    "test-",
    "testing",
    "-test",
    "_test",
    "mock",
    "undefined",
    "deadbeef",
    "...",
    "***",
    "___",
    "---",
    // The samples of RFC 6749, copied into every library for it.
    "2yotnfzfejr1zcsicmwpaa",
    "tgzv3jokf0xg5qx2tlkwia",
    "splxlobezqqybys6wxsbia",
    "7fjfp0zbr1ktdrbnfvdmiw",
    "gx1fbat3bv",
    // Of RFC 5849, and the storage emulator's one key for everybody.
    "0685bd9184jfhq22",
    "ad180jjd733klru7",
    "wojio9a2w5mfwdgidvzbtsmk",
    "dpf43f3p2l4k3l03",
    "kd94hf93k423kf44",
    "hh5s93j4hdidpola",
    "nnch734d00sl2jdk",
    "pfkkdhi9sl3r4s00",
    "4572616e48616d6d65724c61686176",
    "eby8vdm02xnocqflquwjpllmetlcdxj1",
    "here>",
    "password_here",
    "_1234",
    "some_",
    "some-",
    "default",
    "minio123",
    "minioadmin",
];

/// Stands for a secret, and is none.
pub(super) fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    PLACEHOLDERS.iter().any(|p| lower.contains(p)) || repeats(value) || is_ordered(&lower)
}

/// What is stored in a password's place, so that nobody has to know it.
pub(super) fn is_hash(value: &str) -> bool {
    const SCHEMES: [&str; 14] = [
        "$argon2", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$apr1$", "argon2", "bcrypt", "pbkdf2", "scrypt", "sha256$",
        "sha512$", "{SSHA",
    ];
    SCHEMES.iter().any(|scheme| value.starts_with(scheme)) && value.contains(['$', ':', '}'])
}

/// A text in another script, written as escapes: `\u4e2a\u4eba`.
pub(super) fn is_escaped_text(value: &str) -> bool {
    value.matches("\\u").count() >= 3
}

/// Five of the same in a row, or one short text again and again.
fn repeats(value: &str) -> bool {
    let bytes = value.as_bytes();
    let run = bytes.windows(5).any(|w| w.iter().all(|b| *b == w[0]) && w[0] != b'=');
    let unit = |n: usize| bytes.len() >= 4 * n && bytes.chunks(n).all(|c| bytes.starts_with(c));
    run || (1..=8).any(unit)
}

/// Mostly letters and digits in their order, also one kind between the other: an alphabet, not a token.
fn is_ordered(lower: &str) -> bool {
    let stepwise = |bytes: &[u8]| {
        let steps = bytes.windows(2).filter(|w| w[1] == w[0].wrapping_add(1) || w[1].wrapping_add(1) == w[0]).count();
        steps * 2 > bytes.len()
    };
    let of = |class: fn(&u8) -> bool| lower.bytes().filter(class).collect::<Vec<u8>>();
    let (letters, digits) = (of(u8::is_ascii_alphabetic), of(u8::is_ascii_digit));
    let woven = letters.len() >= 6 && digits.len() >= 6 && stepwise(&letters) && stepwise(&digits);
    lower.len() >= 8 && (stepwise(lower.as_bytes()) || woven)
}

/// Filled in elsewhere: a variable, a template, a path, a URL, a call.
pub(super) fn is_reference(value: &str) -> bool {
    let first = value.as_bytes().first().copied().unwrap_or(b' ');
    let opens = ["${", "{{", "$(", "%(", "#{", "<%", "{%", "((", "env(", "env.", "process.", "os.", "@@", "enc("];
    let lower = value.to_ascii_lowercase();
    b"$<{[(".contains(&first)
        || b"@&*/.%#".contains(&first) && !is_strong(&value[1..])
        || opens.iter().any(|open| lower.contains(open))
        || lower.contains("://")
        || is_call(value)
        // A pattern for such values, or a part of one.
        || ["[0-9", "[a-z", "\\w", "\\d", "(?", ".$"].iter().any(|part| lower.contains(part))
        || [
            "vault:",
            "arn:",
            "op://",
            "ref+",
            "secretref",
            "file:",
            "projects/",
            "kms:",
            "encrypted:",
            "!vault",
            "data:",
            "urn:",
        ]
        .iter()
        .any(|p| lower.starts_with(p))
}

/// Of every kind of character, and no path: what begins with a sign by chance.
pub(super) fn is_strong(rest: &str) -> bool {
    let has = |class: fn(&u8) -> bool| rest.bytes().any(|b| class(&b));
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    rest.len() >= 8 && mixed && !rest.contains(['/', '.', '(', '{', '%', '$', ':', '<', '_', '-']) && !is_wordy(rest)
        // base64.
        || rest.len() >= 39 && mixed && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)) && entropy(rest) >= 4.2
}

/// `random_string(26)`: worked out when the program runs.
fn is_call(value: &str) -> bool {
    let name = value.split('(').next().unwrap_or(value);
    value.trim_end_matches(';').ends_with(')')
        && name.len() < value.len()
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b))
        && name.contains(['_', '.'])
}

/// Made of words, as names in programs are: `access-token-v2`, `passwordResetToken`, `shop.auth.token1`.
pub(super) fn is_wordy(value: &str) -> bool {
    let (mut pieces, mut letters) = (0, 0);
    let mut rest = value;
    while !rest.is_empty() {
        let piece = piece(rest);
        // Where no piece begins, at least that character goes.
        rest = rest[piece.len()..].trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        if piece.is_empty() {
            continue;
        }
        pieces += 1;
        if piece.bytes().all(|b| b.is_ascii_alphabetic()) {
            letters += if is_word(piece) { piece.len() } else { 0 };
        }
    }
    let all = value.chars().filter(|c| c.is_alphanumeric()).count();
    // A word or two and a number; random letters make short pieces that are no words.
    pieces > 0 && letters * 10 >= all * 7
}

/// Up to the next change of case or kind: `Reset` of `ResetToken2`.
fn piece(text: &str) -> &str {
    let kind = |b: u8| (b.is_ascii_digit(), b.is_ascii_alphabetic());
    let bytes = text.as_bytes();
    let mut at = usize::from(!bytes.is_empty());
    while at < bytes.len() {
        let (before, now) = (bytes[at - 1], bytes[at]);
        let turns = kind(before) != kind(now) || before.is_ascii_lowercase() && now.is_ascii_uppercase();
        if turns || !now.is_ascii_alphanumeric() {
            break;
        }
        at += 1;
    }
    // Only ASCII was stepped over, or one whole character.
    while !text.is_char_boundary(at) {
        at += 1;
    }
    let piece = &text[..at];
    if piece.bytes().any(|b| b.is_ascii_alphanumeric()) { piece } else { "" }
}

/// Could be said: has vowels, and not too many consonants in a row.
fn is_word(piece: &str) -> bool {
    let lower = piece.to_ascii_lowercase();
    let vowel = |b: u8| b"aeiouy".contains(&b);
    let vowels = lower.bytes().filter(|b| vowel(*b)).count();
    let longest = lower.as_bytes().split(|b| vowel(*b)).map(<[u8]>::len).max().unwrap_or(0);
    let one_case =
        piece.bytes().skip(1).all(|b| b.is_ascii_lowercase()) || piece.bytes().all(|b| b.is_ascii_uppercase());
    piece.len() >= 3 && one_case && vowels * 6 >= piece.len() && longest <= 4
}

/// `8-4-4-4-12`.
pub(super) fn is_uuid(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    parts.iter().map(|p| p.len()).eq([8, 4, 4, 4, 12]) && parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))
}

pub(super) fn is_hex(value: &str) -> bool {
    value.len() >= 16 && value.bytes().all(|b| b.is_ascii_hexdigit())
}

/// As unpredictable as what a machine made: by the alphabet that it is written in.
pub(super) fn is_random(value: &str) -> bool {
    if value.len() < 16 {
        return false;
    }
    if is_hex(value) {
        return hex_entropy(value) >= 3.0 && value.bytes().any(|b| b.is_ascii_alphabetic());
    }
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let letters = value.bytes().filter(u8::is_ascii_alphabetic).count();
    entropy(value) >= 3.5 && digits > 0 && letters > 0 && !is_wordy(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_a_secret() {
        for value in [
            "changeme",
            "your-api-key",
            "<token>",
            "xxxxxxxxxxxx",
            "abcdefgh12345678",
            "AKIAIOSFODNN7EXAMPLE",
            "2YotnFZFEjr1zCsicMWpAA",
            "abcabcabcabcabc",
            "A1B2C3D4E5F6G7H8I9J0",
        ] {
            assert!(is_placeholder(value) || is_reference(value), "{value}");
        }
        for value in [
            "${TOKEN}",
            "{{ token }}",
            "$TOKEN",
            "process.env.TOKEN",
            "/run/secrets/db",
            "https://x",
            "op://a/b/c",
            "%(pw)s",
            "string.$S2.delim1",
            "random_string(26)",
            "secrets.token_urlsafe(32);",
            "AKIA[0-9A-Z]{16}",
        ] {
            assert!(is_reference(value), "{value}");
        }
        for value in [
            "@uwlWXxdjm2Iog",
            "%LAxmw!Q9Ncj",
            "hJ8s0aK2lQ9z",
            "Tr0ub4dor&3",
            "hJ8s(aK2_lQ9z)",
            "9f3c1e07b2d84a6658c0d1fe73a92b4d",
        ] {
            assert!(!is_placeholder(value) && !is_reference(value), "{value}");
        }
    }

    #[test]
    fn what_only_looks_random() {
        let azurite = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        assert!(is_placeholder(azurite) && is_placeholder("kd94hf93k423kf44"));
        assert!(
            is_hash("pbkdf2_sha256$30000$eIoVnauBvLhA$x") && is_hash("$2y$10$abcdefgh") && is_hash("$argon2id$v=19$m")
        );
        assert!(!is_hash("bcryptographer1") && !is_hash("$ecret:99"));
        assert!(is_escaped_text("\\u521b\\u5efa\\u65b0\\u4ee4\\u724c") && !is_escaped_text("C:\\users\\k3y9"));
    }

    /// A letter beyond ASCII, wherever a piece would begin, once held the look up for ever.
    #[test]
    fn every_alphabet_is_read_to_its_end() {
        assert!(is_wordy("access-\u{e4}pfel") && !is_wordy("\u{e4}\u{5bc6}\u{7801}"));
        assert!(is_random("hJ8s0aK2\u{e4}Q9zT4mV") && !is_random("\u{5bc6}\u{7801}\u{5bc6}\u{7801}\u{5bc6}\u{7801}"));
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_judged(value in "([a-cA-C1-3%$({_./-]|\u{e4}|\u{c4}|\u{663}|\u{5bc6}|\u{1f511}| ){0,40}") {
            let judges: [fn(&str) -> bool; 7] =
                [is_placeholder, is_reference, is_strong, is_wordy, is_random, is_hash, is_escaped_text];
            for judge in judges {
                let _ = judge(&value);
            }
        }
    }

    #[test]
    fn words_are_no_tokens() {
        for value in [
            "access-token-v2",
            "passwordResetToken",
            "shop.auth.token1",
            "oauth2_authorization_code",
            "RefreshTokenExpired",
        ] {
            assert!(is_wordy(value) && !is_random(value), "{value}");
        }
        for value in [
            "hJ8s0aK2lQ9zT4mV",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzKEY1",
            "c7d2e9f01b3a4c5d6e7f8091a2b3c4d5",
            "9Xk2mPq7-vR4tLw8",
        ] {
            assert!(is_random(value), "{value} {}", is_wordy(value));
        }
        for value in ["12345678901234567", "2026-11-23T10:00:00Z", "aaaaaaaaaaaaaaaaaaaa1", "ünïcödé-wörds-are-fine"]
        {
            assert!(!is_random(value), "{value}");
        }
        assert!(is_uuid("6f9619ff-8b86-d011-b42d-00c04fc964ff") && !is_uuid("6f9619ff-8b86-d011-b42d"));
    }
}
