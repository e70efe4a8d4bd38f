//! What headers of requests give away: `Authorization: Basic …`, `Bearer …`, wherever they are written. Pure.

use std::ops::Range;

use super::checks::base64;
use super::scan::{Hit, People, View, hit};
use super::values::{is_placeholder, is_random, is_reference, is_wordy};
use crate::domain::verdict::Confidence;

/// A token is no longer; signed ones have a rule of their own.
const TOKEN_BYTES_MAX: usize = 600;

/// What follows `Bearer ` or `Basic `; `at` is where that stands.
pub(super) fn said(text: &[u8], at: usize, scheme: &str, view: View) -> Option<Hit> {
    let from = at + scheme.len();
    let rest = &text[from..text.len().min(from + TOKEN_BYTES_MAX)];
    let end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"._~+/=-".contains(b))).unwrap_or(rest.len());
    let value = std::str::from_utf8(&rest[..end]).ok()?;
    let basic = scheme.eq_ignore_ascii_case("basic ");
    let found = if basic {
        user_and_password(value).then(|| hit("basic-auth", "the service it opens", from..from + end, value))
    } else {
        bearer(&format!("{scheme}{value}"), at..from + end).filter(|_| value.bytes().any(|b| b.is_ascii_digit()))
    };
    let confidence = if view.people == People::Users { Confidence::High } else { Confidence::Low };
    found.map(|hit| Hit { confidence, ..hit })
}

/// Does it stand for `user:password` in base64, and for a real one?
fn user_and_password(encoded: &str) -> bool {
    let Some(decoded) = base64(encoded) else { return false };
    let Some((user, password)) = std::str::from_utf8(&decoded).ok().and_then(|text| text.split_once(':')) else {
        return false;
    };
    let samples = ["open sesame", "opensesame", "password", "secret", "test", "pass"];
    password.len() >= 4
        && !user.is_empty()
        && decoded.iter().all(u8::is_ascii_graphic)
        && !samples.contains(&&*password.to_ascii_lowercase())
        && !is_placeholder(password)
        && !is_reference(password)
        && user != password
}

/// `Authorization: Basic …`, npm's `_auth=…`, Docker's `"auth": "…"`: a user and a password in base64.
pub(super) fn authorization(name: &str, value: &str, place: Range<usize>, path: &str) -> Option<Hit> {
    let lower = name.to_ascii_lowercase();
    let docker = lower == "auth" && path.to_ascii_lowercase().contains("docker");
    let encoded = match value.strip_prefix("Basic ").or(value.strip_prefix("basic ")) {
        Some(encoded) if lower.ends_with("authorization") => encoded,
        _ if lower.ends_with("authorization") => return bearer(value, place),
        None if lower.ends_with("_auth") || docker => value,
        _ => return None,
    };
    user_and_password(encoded).then(|| hit("basic-auth", "the service it opens", place, value))
}

/// `Bearer …`: something random, or it is an example.
fn bearer(value: &str, place: Range<usize>) -> Option<Hit> {
    let (_, token) = ["bearer", "token", "apikey", "key"].iter().find_map(|kind| {
        let said = value.get(..kind.len()).filter(|said| said.eq_ignore_ascii_case(kind))?;
        Some((said, value[kind.len()..].strip_prefix(' ')?.trim()))
    })?;
    let place = place.end - token.len()..place.end;
    // "this is a fake token", in base64.
    let said = base64(token).and_then(|bytes| String::from_utf8(bytes).ok());
    let real = token.len() >= 20
        && !said.is_some_and(|said| is_placeholder(&said) || is_wordy(&said))
        && is_random(token)
        && !is_placeholder(token)
        && !is_reference(token)
        && !token.starts_with("eyJ");
    real.then(|| hit("bearer-token", "the service it opens", place, token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::code::secrets::files;

    #[test]
    fn headers_of_requests() {
        let found = |scheme: &str, value: &str| {
            let text = format!("curl -H 'Authorization: {scheme}{value}' https://shop.io");
            let view = files::view("a.sh", text.as_bytes()).unwrap();
            let hit = said(text.as_bytes(), text.find(scheme).unwrap(), scheme, view)?;
            Some((hit.rule, text[hit.place].to_string()))
        };
        let token = "hJ8s0aK2lQ9zT4mVx7cRpW3e";
        assert_eq!(found("Bearer ", token), Some(("bearer-token", token.into())));
        assert_eq!(found("Basic ", "Ym9iOkh4N2tRMnZMcA=="), Some(("basic-auth", "Ym9iOkh4N2tRMnZMcA==".into())));
        for (scheme, value) in [
            ("Bearer ", "mF_9.B5f-4.1JqM"),
            ("Bearer ", "of-bad-news-and-good-ones"),
            ("Bearer ", "$TOKEN"),
            ("Bearer ", "dGhpcyBpcyBhIGZha2UgYmVhcmVyIHRva2VuIQ=="),
            ("Basic ", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("Basic ", "understanding"),
            ("Basic ", ""),
        ] {
            assert_eq!(found(scheme, value), None, "{scheme}{value}");
        }
    }
}
