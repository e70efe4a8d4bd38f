//! CORS: does the target let foreign pages read its answers, and with the user's cookies?
//!
//! Asks as a browser on a foreign page would: an unknown origin, `null`, names that look like the target's own at either
//! end (the two mistakes of home-made checks), its http twin, and a preflight.

use serde::Serialize;
use url::Url;

use super::score::{Level, Mark};
use crate::net::Request;
use crate::net::safety::Prober;

/// One question and what came back.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Answer {
    pub(super) route: String,
    /// `foreign`, `null`, `prefix`, `suffix`, `http-twin`, `preflight`.
    pub(super) kind: &'static str,
    pub(super) origin: String,
    pub(super) allow_origin: Option<String>,
    pub(super) allow_credentials: bool,
    pub(super) vary_origin: bool,
}

/// Questions that get no answer are left out: the classes have told that the target is there.
pub(super) async fn ask(prober: &Prober, url: &Url, canary: &str) -> Vec<Answer> {
    let host = url.host_str().unwrap_or("localhost");
    let foreign = format!("https://{canary}.invalid");
    let mut questions = vec![
        ("foreign", foreign.clone()),
        ("null", "null".to_string()),
        ("prefix", format!("https://hc{host}")),
        ("suffix", format!("https://{host}.{canary}.invalid")),
        ("preflight", foreign),
    ];
    if url.scheme() == "https" {
        questions.push(("http-twin", format!("http://{host}")));
    }
    let mut answers = Vec::new();
    for (kind, origin) in questions {
        let mut request = Request { truncate: true, ..Request::get(url.clone()) }.header("origin", &origin);
        if kind == "preflight" {
            request.method = "OPTIONS".into();
            request = request
                .header("access-control-request-method", "PUT")
                .header("access-control-request-headers", "x-hypercare-run");
        }
        let method = request.method.clone();
        let Ok(response) = prober.send(request).await else { continue };
        let vary = response
            .header_all("vary")
            .any(|v| v.split(',').any(|word| word.trim().eq_ignore_ascii_case("origin") || word.trim() == "*"));
        answers.push(Answer {
            route: format!("{method} {}", url.path()),
            kind,
            origin,
            allow_origin: response.header("access-control-allow-origin").map(|v| v.trim().to_string()),
            allow_credentials: response.header("access-control-allow-credentials").is_some_and(|v| v.trim() == "true"),
            vary_origin: vary,
        });
    }
    answers
}

/// Pure. Any origin with credentials is a hole; without them it is at least unwise.
pub(super) fn judge(answers: &[Answer]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for answer in answers {
        let Some(allowed) = &answer.allow_origin else { continue };
        let who = match answer.kind {
            "foreign" | "preflight" => "any origin",
            "null" => "the origin null (any sandboxed page)",
            "prefix" => "origins that end in the target's name",
            "suffix" => "origins that begin with the target's name",
            _ => "the plain-http twin of the target",
        };
        let route = &answer.route;
        if *allowed != answer.origin {
            if allowed == "*" && answer.allow_credentials {
                let what = format!("{route} allows * with credentials, which browsers refuse");
                marks.push(Mark::new("cors-wildcard", 0, Level::Note, what));
            }
            continue;
        }
        marks.push(match (answer.allow_credentials, answer.kind) {
            (true, "http-twin") => Mark::new(
                "cors-credentials",
                -10,
                Level::Warn,
                format!("{route} lets {who} read with the user's cookies"),
            ),
            (true, _) => Mark::new(
                "cors-credentials",
                -50,
                Level::Fail,
                format!("{route} lets {who} read with the user's cookies"),
            ),
            (false, _) => Mark::new("cors-reflection", 0, Level::Warn, format!("{route} reflects {who}")),
        });
        if !answer.vary_origin {
            let what = format!("{route} answers by origin without Vary: Origin, so caches mix answers up");
            marks.push(Mark::new("cors-vary", 0, Level::Warn, what));
        }
    }
    // The same hole through several doors is one hole.
    marks.sort_by_key(|m| (m.rule, m.points));
    marks.dedup_by_key(|m| m.rule);
    marks
}
