//! Content-Security-Policy, judged as HTTP Observatory judges it. Several policies are all in force, so the best counts.

use std::collections::BTreeMap;

/// What the policy is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Csp {
    /// `default-src 'none'` and nothing unsafe.
    Deny,
    Clean,
    /// Only styles may be inline: what most sites need.
    InlineStyles,
    Eval,
    /// Scripts may be inline or come from anywhere; says what.
    Loose(&'static str),
    /// No directive that means anything.
    Invalid,
    Missing,
}

impl Csp {
    pub(super) fn points(&self) -> i32 {
        match self {
            Csp::Deny => 10,
            Csp::Clean => 5,
            Csp::InlineStyles => 0,
            Csp::Eval => -10,
            Csp::Loose(_) => -20,
            Csp::Invalid | Csp::Missing => -25,
        }
    }
    pub(super) fn what(&self) -> &'static str {
        match self {
            Csp::Deny => "CSP denies by default",
            Csp::Clean => "CSP without unsafe sources",
            Csp::InlineStyles => "CSP that allows inline styles only",
            Csp::Eval => "CSP allows eval",
            Csp::Loose(why) => why,
            Csp::Invalid => "CSP without a directive that browsers know",
            Csp::Missing => "no Content-Security-Policy",
        }
    }
}

type Policy = BTreeMap<String, Vec<String>>;

/// Values of the headers or `<meta>` elements; commas part policies.
pub(super) fn policies<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Policy> {
    values.flat_map(|v| v.split(',')).map(parse).filter(|p| !p.is_empty()).collect()
}

fn parse(text: &str) -> Policy {
    let mut policy = Policy::new();
    for directive in text.split(';') {
        let mut words = directive.split_ascii_whitespace().map(str::to_ascii_lowercase);
        let Some(name) = words.next() else { continue };
        // The first of two equal directives is in force.
        policy.entry(name).or_insert_with(|| words.collect());
    }
    policy
}

pub(super) fn judge(policies: &[Policy], https: bool) -> Csp {
    policies.iter().map(|p| judge_one(p, https)).max_by_key(Csp::points).unwrap_or(Csp::Missing)
}

/// Does a policy say who may frame the page? `'none'`, `'self'` or named hosts; `*` protects nothing.
pub(super) fn frame_ancestors(policies: &[Policy]) -> Option<&[String]> {
    policies.iter().find_map(|p| p.get("frame-ancestors")).map(Vec::as_slice).filter(|v| !v.iter().any(|s| s == "*"))
}

const KNOWN: [&str; 8] =
    ["default-src", "script-src", "style-src", "object-src", "base-uri", "frame-ancestors", "form-action", "img-src"];

fn judge_one(policy: &Policy, https: bool) -> Csp {
    if !KNOWN.iter().any(|name| policy.contains_key(*name)) {
        return Csp::Invalid;
    }
    let fallback = policy.get("default-src");
    let sources = |name: &str| policy.get(name).or(fallback);
    let Some(scripts) = sources("script-src") else {
        return Csp::Loose("CSP lets scripts come from anywhere (neither script-src nor default-src)");
    };
    let has = |list: &[String], what: &str| list.iter().any(|s| s == what);
    let guarded = scripts.iter().any(|s| {
        ["'nonce-", "'sha256-", "'sha384-", "'sha512-"].iter().any(|p| s.starts_with(p)) || s == "'strict-dynamic'"
    });
    let is_dynamic = has(scripts, "'strict-dynamic'") && guarded;
    // Browsers ignore 'unsafe-inline' beside a nonce or hash.
    if has(scripts, "'unsafe-inline'") && !guarded {
        return Csp::Loose("CSP allows inline scripts");
    }
    let is_broad =
        |list: &[String]| list.iter().any(|s| matches!(s.as_str(), "*" | "https:" | "http:" | "data:" | "blob:"));
    if is_broad(scripts) && !is_dynamic {
        return Csp::Loose("CSP lets scripts come from any host");
    }
    if sources("object-src").is_none_or(|list| is_broad(list)) {
        return Csp::Loose("CSP lets plug-ins come from any host (object-src)");
    }
    if https && scripts.iter().any(|s| s.starts_with("http://")) {
        return Csp::Loose("CSP lets scripts come over plain http");
    }
    if has(scripts, "'unsafe-eval'") {
        return Csp::Eval;
    }
    if sources("style-src").is_some_and(|list| has(list, "'unsafe-inline'")) {
        return Csp::InlineStyles;
    }
    if fallback.is_some_and(|list| list.len() == 1 && list[0] == "'none'") { Csp::Deny } else { Csp::Clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, points: i32) {
        let judged = judge(&policies([value].into_iter()), true);
        assert_eq!(judged.points(), points, "{value}: {judged:?}");
    }

    #[test]
    fn policies_are_worth_what_observatory_gives() {
        check("default-src 'none'; script-src 'self'", 10);
        check("default-src 'self'; object-src 'none'", 5);
        check("default-src 'self'; style-src 'self' 'unsafe-inline'", 0);
        check("default-src 'self'; script-src 'self' 'unsafe-eval'", -10);
        check("script-src 'self' 'unsafe-inline'; object-src 'none'", -20);
        check("script-src 'nonce-abc' 'unsafe-inline'; object-src 'none'", 5);
        check("script-src 'nonce-abc' 'strict-dynamic' https: 'unsafe-inline'; object-src 'none'; base-uri 'none'", 5);
        check("default-src *", -20);
        check("default-src 'self' https:", -20);
        check("script-src 'self'", -20);
        check("frame-ancestors 'none'", -20);
        check("script-src 'self' http://cdn.example; object-src 'none'", -20);
        check("upgrade-insecure-requests", -25);
        check("", -25);
        check("default-src *, default-src 'none'", 10);
    }

    #[test]
    fn framing_is_told_from_every_policy() {
        let parsed = policies(["default-src 'self'", "frame-ancestors 'self' https://a.example"].into_iter());
        assert_eq!(frame_ancestors(&parsed).map(<[String]>::len), Some(2));
        assert_eq!(frame_ancestors(&policies(["frame-ancestors *"].into_iter())), None);
    }
}
