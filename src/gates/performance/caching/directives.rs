//! What an answer's headers say about caching: `Cache-Control` and its kin (RFC 9111), and the traces that caches leave.

use std::sync::LazyLock;

use regex::Regex;

use crate::net::Response;

/// `Cache-Control`, read leniently: names in lower case, unknown ones ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) public: bool,
    pub(super) private: bool,
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) immutable: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
}

pub(super) fn directives<'a>(values: impl Iterator<Item = &'a str>) -> Directives {
    let mut out = Directives::default();
    for part in values.flat_map(|v| v.split(',')) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let seconds = || value.trim().trim_matches('"').parse::<u64>().ok();
        match name.trim().to_ascii_lowercase().as_str() {
            "public" => out.public = true,
            // `private="field"` restricts that field alone.
            "private" => out.private |= value.is_empty(),
            "no-store" => out.no_store = true,
            "no-cache" => out.no_cache |= value.is_empty(),
            "must-revalidate" => out.must_revalidate = true,
            "immutable" => out.immutable = true,
            "max-age" => out.max_age = seconds(),
            "s-maxage" => out.s_maxage = seconds(),
            _ => {}
        }
    }
    out
}

pub(super) fn of(response: &Response) -> Directives {
    directives(response.header_all("cache-control"))
}

/// May a shared cache keep this answer and give it to others without asking (RFC 9111, 3 and 3.5)? `authorized`: the
/// request carried `Authorization`. The text says by what.
pub(super) fn shared(response: &Response, authorized: bool) -> Option<String> {
    let d = of(response);
    let varies = |name: &str| {
        response.header_all("vary").flat_map(|v| v.split(',')).any(|v| v.trim().eq_ignore_ascii_case(name))
    };
    for name in ["cdn-cache-control", "surrogate-control"] {
        let own = directives(response.header_all(name));
        if own.max_age.or(own.s_maxage).is_some_and(|s| s > 0) && !own.no_store && !own.private {
            return Some(name.into());
        }
    }
    if d.no_store || d.private || d.no_cache || varies("*") {
        return None;
    }
    // Keyed by what makes the difference: each user has an entry of his own.
    if varies("cookie") || varies("authorization") {
        return None;
    }
    if let Some(seconds) = d.s_maxage {
        return (seconds > 0).then(|| "Cache-Control: s-maxage".into());
    }
    if d.public && d.max_age != Some(0) {
        return Some("Cache-Control: public".into());
    }
    let fresh = d.max_age.is_some_and(|s| s > 0);
    match (authorized, fresh) {
        (true, true) if d.must_revalidate => Some("Cache-Control: must-revalidate with max-age".into()),
        (false, true) => Some("Cache-Control: max-age without private".into()),
        _ => None,
    }
}

/// Was this answer served by a cache on the way? By which header it says so.
pub(super) fn hit(response: &Response) -> Option<&'static str> {
    let has = |name: &str, words: &[&str]| {
        let values: Vec<String> = response.header_all(name).map(str::to_ascii_lowercase).collect();
        values.iter().any(|value| {
            let all = value.split(|c: char| !c.is_ascii_alphanumeric());
            all.into_iter().any(|word| words.contains(&word))
        })
    };
    if has("cache-status", &["hit"]) {
        return Some("Cache-Status");
    }
    for name in [
        "cf-cache-status",
        "x-cache",
        "x-cache-status",
        "x-proxy-cache",
        "x-nginx-cache",
        "x-vercel-cache",
        "x-nextjs-cache",
        "x-drupal-cache",
        "x-litespeed-cache",
        "x-cache-hit",
    ] {
        if has(name, &["hit", "stale", "true"]) {
            return Some(name);
        }
    }
    // Varnish names the request that filled the cache beside this one.
    if response.header("x-varnish").is_some_and(|v| v.split_whitespace().count() == 2) {
        return Some("x-varnish");
    }
    response.header("age").and_then(|v| v.trim().parse::<u64>().ok()).filter(|age| *age > 0).map(|_| "Age")
}

/// Does the name change with the content? `app.3f2a9c1b.js`, `index-DkJ3x9aP.css`.
pub(super) fn is_hashed(path: &str) -> bool {
    static HASH: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[.\-_]([A-Za-z0-9_-]{8,64})(?:\.min)?\.[a-z0-9]{2,5}$").expect("fixed"));
    HASH.captures(path).is_some_and(|found| {
        let word = &found[1];
        let digits = word.chars().any(|c| c.is_ascii_digit());
        let hex = word.chars().all(|c| c.is_ascii_hexdigit());
        let mixed =
            word.chars().any(|c| c.is_ascii_lowercase()) && word.chars().skip(1).any(|c| c.is_ascii_uppercase());
        (digits && (hex || mixed)) || (mixed && word.len() == 8)
    })
}

/// Twenty minutes is the least that spares anybody a request.
pub(super) const LIFETIME_MIN_S: u64 = 1200;
/// A year, as RFC 8246 has it for what never changes.
pub(super) const IMMUTABLE_S: u64 = 31_536_000;
