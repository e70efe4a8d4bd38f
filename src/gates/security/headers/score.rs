//! The score sheet of one class of answers: what each header is worth, and what fails whatever the sum.
//!
//! Points are HTTP Observatory's. Bonuses count only when the score without them is at least 90, so that extras do not
//! buy off a hole.

use super::classes::{Role, Seen};
use super::csp;
use crate::domain::verdict::Severity;
use crate::gates::web;

/// Below this the bonuses are not counted.
const BONUS_FROM: i32 = 90;
const HALF_YEAR_S: u64 = 15_552_000;
const YEAR_S: u64 = 31_536_000;

/// What helmet's defaults set (or, for X-Powered-By, remove), for comparison.
pub(super) const HELMET: [&str; 13] = [
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "origin-agent-cluster",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-dns-prefetch-control",
    "x-download-options",
    "x-frame-options",
    "x-permitted-cross-domain-policies",
    "x-powered-by",
    "x-xss-protection",
];

/// Headers that only tell an attacker what to look up (OWASP's remove-list); `server` is judged apart.
const LEAKS: [&str; 14] = [
    "x-powered-by",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-generator",
    "x-drupal-cache",
    "x-powered-cms",
    "x-php-version",
    "x-owa-version",
    "x-sourcefiles",
    "x-jitsi-release",
    "x-varnish-server",
    "x-umbraco-version",
    "x-litespeed-purge",
    "liferay-portal",
];

/// Words in the names of cookies that hold a login.
const SESSION_WORDS: [&str; 9] = ["sess", "sid", "login", "auth", "token", "jwt", "remember", "identity", "user_id"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    /// Counts by its points.
    Note,
    /// Warns whatever the sum.
    Warn,
    /// Fails whatever the sum.
    Fail,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Level::Good => "good",
            Level::Note => "note",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}

/// One line of the sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) rule: &'static str,
    pub(super) points: i32,
    pub(super) level: Level,
    pub(super) what: String,
    /// The header to add, when that is the trouble.
    pub(super) missing: Option<&'static str>,
}

impl Mark {
    pub(super) fn new(rule: &'static str, points: i32, level: Level, what: String) -> Mark {
        Mark { rule, points, level, what, missing: None }
    }
    fn missing(rule: &'static str, points: i32, header: &'static str) -> Mark {
        Mark { missing: Some(header), ..Mark::new(rule, points, Level::Note, format!("no {header}")) }
    }
    fn good(rule: &'static str, points: i32, what: impl Into<String>) -> Mark {
        Mark::new(rule, points, Level::Good, what.into())
    }
    pub(super) fn is_bad(&self) -> bool {
        self.level > Level::Good
    }
    pub(super) fn severity(&self) -> Severity {
        match self.level {
            Level::Fail => Severity::High,
            Level::Warn => Severity::Medium,
            _ if self.points <= -20 => Severity::Medium,
            _ => Severity::Low,
        }
    }
}

pub(super) struct Sheet {
    pub(super) class: &'static str,
    pub(super) marks: Vec<Mark>,
}

impl Sheet {
    /// 0 to 100 and, with bonuses, above.
    pub(super) fn score(&self) -> i32 {
        let lost: i32 = self.marks.iter().map(|m| m.points.min(0)).sum();
        let won: i32 = self.marks.iter().map(|m| m.points.max(0)).sum();
        let base = 100 + lost;
        (if base >= BONUS_FROM { base + won } else { base }).max(0)
    }
}

/// Observatory's grades.
pub(super) fn grade(score: i32) -> &'static str {
    match score {
        100.. => "A+",
        90.. => "A",
        85.. => "A-",
        80.. => "B+",
        70.. => "B",
        65.. => "B-",
        60.. => "C+",
        50.. => "C",
        45.. => "C-",
        40.. => "D+",
        30.. => "D",
        25.. => "D-",
        _ => "F",
    }
}

/// From where the answers are looked at.
pub(super) struct View<'a> {
    pub(super) https: bool,
    pub(super) api_profile: bool,
    pub(super) exempt_cookies: &'a [String],
}

pub(super) fn sheet(seen: &Seen, view: &View<'_>) -> Sheet {
    let mut marks = Vec::new();
    let is_page = web::is_html(&seen.response) && seen.role != Role::Redirect;
    if is_page {
        page(seen, view, &mut marks);
    }
    if seen.role != Role::Redirect {
        nosniff(seen, &mut marks);
    }
    if seen.role == Role::Api && view.api_profile && !is_page {
        api(seen, &mut marks);
    }
    if is_page || (seen.role == Role::Api && view.api_profile) {
        bare(seen, &mut marks);
    }
    if view.https {
        hsts(seen, &mut marks);
    }
    cookies(seen, view, &mut marks);
    leaks(seen, &mut marks);
    Sheet { class: seen.role.word(), marks }
}

fn value<'a>(seen: &'a Seen, name: &str) -> Option<&'a str> {
    seen.response.header(name).map(str::trim).filter(|v| !v.is_empty())
}

fn page(seen: &Seen, view: &View<'_>, marks: &mut Vec<Mark>) {
    let html = seen.response.text();
    let in_headers = csp::policies(seen.response.header_all("content-security-policy"));
    let metas = web::tags(&html, "meta");
    let in_metas = metas
        .iter()
        .filter(|m| m.get("http-equiv").is_some_and(|v| v.eq_ignore_ascii_case("content-security-policy")))
        .filter_map(|m| m.get("content").map(String::as_str));
    let mut all = csp::policies(in_metas);
    all.extend(in_headers.iter().cloned());
    let judged = csp::judge(&all, view.https);
    marks.push(match judged {
        csp::Csp::Missing => Mark::missing("csp", judged.points(), "Content-Security-Policy"),
        _ if judged.points() < 0 => Mark::new("csp", judged.points(), Level::Note, judged.what().into()),
        _ => Mark::good("csp", judged.points(), judged.what()),
    });
    frames(seen, &in_headers, marks);
    referrer(seen, marks);
    isolation(seen, marks);
    scripts(seen, &html, marks);
}

/// `frame-ancestors` counts in headers only: browsers ignore it in `<meta>`.
fn frames(seen: &Seen, policies: &[std::collections::BTreeMap<String, Vec<String>>], marks: &mut Vec<Mark>) {
    let by_option = value(seen, "x-frame-options").map(str::to_ascii_lowercase);
    marks.push(match (csp::frame_ancestors(policies), by_option.as_deref()) {
        (Some(_), _) => Mark::good("frames", 5, "framing limited by CSP"),
        (None, Some("deny" | "sameorigin")) => Mark::good("frames", 5, "framing limited"),
        (None, Some(_)) => Mark::new("frames", -20, Level::Note, "X-Frame-Options says nothing browsers know".into()),
        (None, None) => Mark::missing("frames", -20, "X-Frame-Options"),
    });
}

fn nosniff(seen: &Seen, marks: &mut Vec<Mark>) {
    marks.push(match value(seen, "x-content-type-options") {
        Some(v) if v.split(',').all(|w| w.trim().eq_ignore_ascii_case("nosniff")) => {
            Mark::good("nosniff", 0, "nosniff")
        }
        Some(_) => Mark::new("nosniff", -5, Level::Note, "X-Content-Type-Options is not nosniff".into()),
        None => Mark::missing("nosniff", -5, "X-Content-Type-Options"),
    });
}

fn referrer(seen: &Seen, marks: &mut Vec<Mark>) {
    // The last value a browser knows is in force.
    let known = |w: &str| match w {
        "no-referrer" | "same-origin" | "strict-origin" | "strict-origin-when-cross-origin" => Some(true),
        "unsafe-url" | "origin" | "origin-when-cross-origin" | "no-referrer-when-downgrade" => Some(false),
        _ => None,
    };
    let Some(text) = value(seen, "referrer-policy") else { return };
    let private = text.to_ascii_lowercase().split(',').filter_map(|w| known(w.trim())).next_back();
    marks.push(match private {
        Some(true) => Mark::good("referrer", 5, "Referrer-Policy is private"),
        Some(false) => {
            Mark::new("referrer", -5, Level::Note, "Referrer-Policy tells other sites where users come from".into())
        }
        None => Mark::new("referrer", -5, Level::Note, "Referrer-Policy says nothing browsers know".into()),
    });
}

fn isolation(seen: &Seen, marks: &mut Vec<Mark>) {
    let rules: [(&'static str, &str, &[&str], &[&str]); 3] = [
        ("corp", "cross-origin-resource-policy", &["same-origin", "same-site"], &["cross-origin"]),
        (
            "coop",
            "cross-origin-opener-policy",
            &["same-origin", "same-origin-plus-coep", "noopener-allow-popups"],
            &["same-origin-allow-popups", "unsafe-none"],
        ),
        ("coep", "cross-origin-embedder-policy", &["require-corp", "credentialless"], &["unsafe-none"]),
    ];
    for (rule, header, strong, weak) in rules {
        let Some(text) = value(seen, header) else { continue };
        let word = text.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        marks.push(if strong.contains(&word.as_str()) {
            Mark::good(rule, 10, format!("{header}: {word}"))
        } else if weak.contains(&word.as_str()) {
            Mark::good(rule, 0, format!("{header}: {word}"))
        } else {
            Mark::new(rule, -5, Level::Note, format!("{header} says nothing browsers know"))
        });
    }
    if value(seen, "x-xss-protection").is_some_and(|v| v.starts_with('1')) {
        let what = "X-XSS-Protection: 1 is deprecated and itself exploitable; send 0 or nothing".to_string();
        marks.push(Mark::new("xss-protection", 0, Level::Warn, what));
    }
}

/// Scripts from other hosts: with a hash they are what was reviewed, without they are whatever the host sends today.
fn scripts(seen: &Seen, html: &str, marks: &mut Vec<Mark>) {
    let mut unpinned = 0;
    let mut plain = 0;
    for tag in web::tags(html, "script") {
        let Some(url) = tag.get("src").and_then(|src| seen.url.join(src).ok()) else { continue };
        if seen.url.scheme() == "https" && url.scheme() == "http" {
            plain += 1;
        } else if url.host() != seen.url.host() && tag.get("integrity").is_none_or(String::is_empty) {
            unpinned += 1;
        }
    }
    if plain > 0 {
        marks.push(Mark::new("script-http", -50, Level::Note, format!("{plain} scripts come over plain http")));
    }
    if unpinned > 0 {
        marks.push(Mark::new(
            "script-integrity",
            -5,
            Level::Note,
            format!("{unpinned} foreign scripts without integrity"),
        ));
    }
}

/// An API's answers are never pages: they may not be framed, and what belongs to one user may not be stored.
fn api(seen: &Seen, marks: &mut Vec<Mark>) {
    let policies = csp::policies(seen.response.header_all("content-security-policy"));
    let closed = csp::frame_ancestors(&policies).is_some_and(|v| v.len() == 1 && v[0] == "'none'");
    let denied = value(seen, "x-frame-options").is_some();
    if !closed && !denied {
        marks.push(Mark::missing("frames", -20, "Content-Security-Policy: frame-ancestors 'none'"));
    }
    let sets_session = seen.response.header_all("set-cookie").any(|c| is_session(cookie_name(c)));
    let stored = !value(seen, "cache-control").unwrap_or("").to_ascii_lowercase().contains("no-store");
    if sets_session && stored {
        marks.push(Mark::missing("no-store", -10, "Cache-Control: no-store"));
    }
}

/// None of the three that every guide starts with: nobody has enabled security headers here.
fn bare(seen: &Seen, marks: &mut Vec<Mark>) {
    let three = ["content-security-policy", "x-frame-options", "x-content-type-options"];
    let by_meta = marks.iter().any(|m| m.rule == "csp" && m.missing.is_none());
    if !by_meta && three.iter().all(|name| value(seen, name).is_none()) {
        let what = "no security header at all".to_string();
        marks.push(Mark::new("no-headers", 0, Level::Fail, what));
    }
}

fn hsts(seen: &Seen, marks: &mut Vec<Mark>) {
    let Some(text) = value(seen, "strict-transport-security") else {
        // One class without it is a hole in `add_header`; the page without it is a site without HSTS.
        let level = if matches!(seen.role, Role::Page | Role::Api) { Level::Fail } else { Level::Note };
        marks.push(Mark { level, ..Mark::missing("hsts", -20, "Strict-Transport-Security") });
        return;
    };
    let age = text
        .split(';')
        .filter_map(|d| d.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))
        .and_then(|(_, v)| v.trim().trim_matches('"').parse::<u64>().ok());
    marks.push(match age {
        None => Mark::new("hsts", -20, Level::Note, "Strict-Transport-Security has no max-age".into()),
        Some(s) if s < HALF_YEAR_S => {
            Mark::new("hsts", -10, Level::Note, format!("HSTS lasts {} days only", s / 86_400))
        }
        Some(s) if s < YEAR_S => {
            Mark::new("hsts", 0, Level::Warn, format!("HSTS lasts {} days; ASVS asks for a year", s / 86_400))
        }
        Some(_) => Mark::good("hsts", 0, "HSTS for a year or more"),
    });
}

fn cookie_name(header: &str) -> &str {
    header.split(['=', ';']).next().unwrap_or("").trim()
}

fn is_session(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SESSION_WORDS.iter().any(|word| name.contains(word)) && !is_csrf(&name)
}

fn is_csrf(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("csrf") || name.contains("xsrf")
}

fn cookies(seen: &Seen, view: &View<'_>, marks: &mut Vec<Mark>) {
    let mut all_good = true;
    let mut any = false;
    for header in seen.response.header_all("set-cookie") {
        let name = cookie_name(header);
        if view.exempt_cookies.iter().any(|e| name.starts_with(e.as_str())) {
            continue;
        }
        any = true;
        let attributes: Vec<(String, String)> = header
            .split(';')
            .skip(1)
            .map(|a| a.split_once('=').unwrap_or((a, "")))
            .map(|(n, v)| (n.trim().to_ascii_lowercase(), v.trim().to_ascii_lowercase()))
            .collect();
        let has = |what: &str| attributes.iter().any(|(n, _)| n == what);
        let same_site = attributes.iter().find(|(n, _)| n == "samesite").map(|(_, v)| v.as_str());
        let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
        let session = is_session(name);
        let before = marks.len();
        if view.https && !has("secure") {
            let (points, level) = if session { (-40, Level::Fail) } else { (-20, Level::Note) };
            marks.push(Mark::new(
                "cookie-secure",
                points,
                level,
                format!("cookie {shown} is sent over plain http too"),
            ));
        }
        if session && !has("httponly") {
            marks.push(Mark::new(
                "cookie-httponly",
                -30,
                Level::Fail,
                format!("scripts can read session cookie {shown}"),
            ));
        }
        let is_valid = matches!(same_site, None | Some("strict" | "lax" | "none"));
        if !is_valid || (same_site == Some("none") && view.https && !has("secure")) {
            marks.push(Mark::new(
                "cookie-samesite",
                -20,
                Level::Note,
                format!("SameSite of cookie {shown} is not valid"),
            ));
        } else if is_csrf(name) && same_site.is_none() {
            marks.push(Mark::new("cookie-samesite", -20, Level::Note, format!("CSRF cookie {shown} has no SameSite")));
        }
        all_good &= marks.len() == before && same_site.is_some_and(|v| v != "none");
    }
    if any && all_good {
        marks.push(Mark::good("cookies", 5, "cookies are well set"));
    }
}

fn leaks(seen: &Seen, marks: &mut Vec<Mark>) {
    let clean = |v: &str| v.chars().filter(|c| !c.is_control()).take(80).collect::<String>();
    if let Some(server) = value(seen, "server").filter(|v| v.contains(|c: char| c.is_ascii_digit())) {
        let what = format!("Server tells its version: {}", clean(server));
        marks.push(Mark::new("leak-server", 0, Level::Warn, what));
    }
    let told: Vec<String> =
        LEAKS.iter().filter_map(|name| value(seen, name).map(|v| format!("{name}: {}", clean(v)))).collect();
    if !told.is_empty() {
        marks.push(Mark::new("leak-powered-by", 0, Level::Warn, format!("tells what it runs on: {}", told.join(", "))));
    }
}

/// What to do about a rule.
pub(super) fn fix(rule: &str) -> &'static str {
    match rule {
        "csp" => {
            "send Content-Security-Policy, to begin with: default-src 'self'; object-src 'none'; frame-ancestors 'none'"
        }
        "frames" => "send Content-Security-Policy: frame-ancestors 'none' (or X-Frame-Options: DENY)",
        "nosniff" => "send X-Content-Type-Options: nosniff with every answer",
        "hsts" => "send Strict-Transport-Security: max-age=31536000; includeSubDomains",
        "no-headers" => "Express: app.use(helmet()); nginx: add_header … always",
        "referrer" => "send Referrer-Policy: strict-origin-when-cross-origin",
        "corp" | "coop" | "coep" => "send a value that browsers know, for example same-origin",
        "xss-protection" => "send X-XSS-Protection: 0, or remove it",
        "script-http" => "load scripts over https",
        "script-integrity" => "add integrity=\"sha384-…\" and crossorigin to scripts of other hosts",
        "cookie-secure" => "set the cookie with Secure",
        "cookie-httponly" => "set the cookie with HttpOnly",
        "cookie-samesite" => "set the cookie with SameSite=Lax or Strict",
        "cors-credentials" | "cors-reflection" => "allow origins by an exact list",
        "cors-vary" => "add Vary: Origin to answers that depend on it",
        "cors-wildcard" => "name the origin, or leave the credentials out",
        "https-redirect" => "redirect http:// to https:// on the same host first",
        "certificate" => "renew the certificate before go-live",
        "leak-server" => "nginx: server_tokens off; Apache: ServerTokens Prod",
        "leak-powered-by" => "Express: app.disable('x-powered-by'); PHP: expose_php = Off",
        "no-store" => "send Cache-Control: no-store with what belongs to one user",
        _ => "see gates explain security.headers",
    }
}
