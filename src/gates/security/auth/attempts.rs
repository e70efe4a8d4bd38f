//! What somebody tries who has no right to be there, and what an answer to it means. Pure apart from sending.

use super::token::Jwt;
use crate::gates::actors::Headers;
use crate::gates::calibrate::NotFound;
use crate::gates::web;
use crate::net::Response;

/// One try.
pub(super) struct Attempt {
    /// Rule of the finding when it gets in.
    pub rule: &'static str,
    pub what: String,
    pub method: String,
    pub path: String,
    pub headers: Headers,
}

/// What an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Seen {
    Protected,
    Open,
    /// Neither: why.
    Unproven(&'static str),
}

/// Above this two answers tell the same.
const SAME: f64 = 0.6;

/// `door`: what somebody who may come in gets.
pub(super) fn seen(answer: &Response, door: Option<&Response>, unsafe_method: bool, not_found: &NotFound) -> Seen {
    let hidden = || door.is_some_and(|door| door.status < 300);
    match answer.status {
        401 | 403 | 407 => Seen::Protected,
        300..=399 => match answer.header("location").is_some_and(is_login) || hidden() {
            true => Seen::Protected,
            false => Seen::Unproven("redirected"),
        },
        404 | 405 | 410 if hidden() => Seen::Protected,
        404 | 405 | 410 => Seen::Unproven("not found"),
        429 => Seen::Unproven("throttled"),
        400..=499 => Seen::Unproven("validated before it asked who is there"),
        500.. => Seen::Unproven("server error"),
        _ if not_found.is_like(answer) => {
            if hidden() {
                Seen::Protected
            } else {
                Seen::Unproven("not found")
            }
        }
        _ if is_login_page(answer) || refuses(answer) => Seen::Protected,
        _ if unsafe_method => Seen::Open,
        _ => match door {
            Some(door) if door.status < 300 && web::similarity(&answer.text(), &door.text()) >= SAME => Seen::Open,
            Some(door) if door.status < 300 => Seen::Unproven("another answer"),
            _ if answer.body.is_empty() => Seen::Unproven("empty"),
            _ => Seen::Open,
        },
    }
}

pub(super) fn is_login(location: &str) -> bool {
    let location = location.to_ascii_lowercase();
    ["login", "signin", "sign-in", "sign_in", "sso", "auth", "session"].iter().any(|word| location.contains(word))
}

/// A page that asks for a password.
fn is_login_page(answer: &Response) -> bool {
    web::is_html(answer)
        && web::tags(&answer.text(), "input")
            .iter()
            .any(|t| t.get("type").is_some_and(|k| k.eq_ignore_ascii_case("password")))
}

/// Says no in words, with a status that says yes.
fn refuses(answer: &Response) -> bool {
    if answer.body.len() > 2000 {
        return false;
    }
    let text = answer.text().to_ascii_lowercase();
    [
        "unauthorized",
        "unauthenticated",
        "not authenticated",
        "not authorized",
        "login required",
        "access denied",
        "forbidden",
    ]
    .iter()
    .any(|words| text.contains(words))
}

/// The actor's credentials, spoilt.
pub(super) fn garbage(headers: &Headers) -> Headers {
    let spoilt = |name: &str, value: &str| match name {
        "authorization" => match value.split_once(' ') {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("basic") => "Basic aGM6aGMtZ2FyYmFnZQ==".to_string(),
            Some((scheme, _)) => format!("{scheme} hc-garbage"),
            None => "hc-garbage".into(),
        },
        "cookie" => {
            let pairs = value.split(';').map(|pair| pair.split('=').next().unwrap_or_default().trim());
            pairs.map(|name| format!("{name}=hc-garbage")).collect::<Vec<_>>().join("; ")
        }
        _ => "hc-garbage".into(),
    };
    headers.iter().map(|(name, value)| (name.clone(), spoilt(name, value))).collect()
}

/// The JWT among an actor's credentials: the token as it stands there.
pub(super) fn jwt(headers: &Headers) -> Option<(String, Jwt)> {
    let words = headers.iter().flat_map(|(_, value)| value.split([' ', ';', '=', ',']));
    words.filter(|word| word.len() < 8192).find_map(|word| Some((word.to_string(), Jwt::parse(word)?)))
}

/// The headers with another token in the place of the actor's.
pub(super) fn with(headers: &Headers, token: &str, other: &str) -> Headers {
    headers.iter().map(|(name, value)| (name.clone(), value.replace(token, other))).collect()
}

/// Ways around a rule that looks at the path or the method alone; without credentials. `path` has no query.
pub(super) fn tricks(path: &str) -> Vec<Attempt> {
    let mut out = Vec::new();
    let mut add = |what: &str, method: &str, path: String, headers: &[(&str, &str)]| {
        out.push(Attempt {
            rule: "path-trick",
            what: what.to_string(),
            method: method.to_string(),
            path,
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
        });
    };
    let (head, last) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
    let upper = |segment: &str| {
        let mut chars = segment.chars();
        chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
    };
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let cased = path.replacen(first, &first.to_ascii_uppercase(), 1);
    if cased != path {
        add("capital letters", "GET", cased, &[]);
    }
    let cased = format!("{head}/{}", upper(last));
    if cased != path {
        add("a capital letter at the end", "GET", cased, &[]);
    }
    add("a slash at the end", "GET", format!("{}/", path.trim_end_matches('/')), &[]);
    add("two slashes", "GET", format!("/{path}"), &[]);
    add("a path parameter", "GET", format!("{};hc=1", path.trim_end_matches('/')), &[]);
    add("..;/", "GET", format!("/hc/..;{path}"), &[]);
    add("HEAD", "HEAD", path.to_string(), &[]);
    add("X-Original-URL", "GET", "/".into(), &[("x-original-url", path), ("x-rewrite-url", path)]);
    add("X-HTTP-Method-Override", "POST", path.to_string(), &[("x-http-method-override", "GET")]);
    out
}
