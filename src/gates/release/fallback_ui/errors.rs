//! What unknown and malformed addresses get: a page of the product with status 404, or, of an API, problem details (RFC 9457).

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value as Json, json};
use url::Url;

use super::ABOUT;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::web;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, Response};

/// Stack traces of the usual runtimes, and the pages that frameworks show to developers.
static TRACE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?m)Traceback \(most recent call last\)|^\s*at .{1,200}\(?[\w./\\-]+\.(?:[cm]?js|tsx?|java|cs|kt):\d+|",
        r"<br>\s*(?:&nbsp;|\s)*at .{1,200}:\d+:\d+|\bat /[\w./-]+\.[cm]?[jt]s:\d+:\d+|",
        r"^\s*File .{1,200}, line \d+, in |\bgoroutine \d+ \[|panicked at |",
        r"Werkzeug Debugger|DEBUG = True|Whoops, looks like something went wrong|Symfony\\Component|\bat [\w.$]+\([\w]+\.java:\d+\)"
    ))
    .expect("fixed")
});

/// Does the text show the insides of the program?
pub(super) fn has_trace(text: &str) -> bool {
    TRACE.is_match(text)
}

/// One answer to an address that nobody serves.
pub(super) struct Answer {
    pub(super) path: String,
    pub(super) response: Response,
    /// Asked as a browser asks for a page, or as a program asks for JSON.
    pub(super) as_page: bool,
}

pub(super) struct Errors {
    pub(super) front: Response,
    pub(super) answers: Vec<Answer>,
}

impl Errors {
    /// Is there anything for people to look at?
    pub(super) fn has_pages(&self) -> bool {
        web::is_html(&self.front) || matches!(self.front.status, 301..=308)
    }
}

/// The front page, an unknown address asked for as page and as JSON, and one whose encoding is broken.
pub(super) async fn ask(prober: &Prober, base: &Url, canary: &str) -> Result<Errors, NetError> {
    let page = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
    let get = async |path: &str, accept: &str| {
        let url = base.join(path).map_err(|e| NetError::Protocol(e.to_string()))?;
        prober.send(Request { truncate: true, ..Request::get(url) }.header("accept", accept)).await
    };
    let front = get(base.path(), page).await?;
    let mut answers = Vec::new();
    let unknown = format!("/{canary}-unknown");
    for (path, accept, as_page) in [
        (unknown.clone(), page, true),
        (unknown, "application/json", false),
        // Two of the three bytes that the first one announces: routers that decode paths trip over it.
        (format!("/{canary}-%E0%A4"), "application/json", false),
    ] {
        let response = get(&path, accept).await?;
        answers.push(Answer { path, response, as_page });
    }
    Ok(Errors { front, answers })
}

/// Pages that proxies and frameworks answer with when nobody wrote one.
fn is_bare(html: &str) -> bool {
    let text = html.to_ascii_lowercase();
    let stock = ["<center>nginx", "<hr><center>", "<address>apache", "<pre>cannot get ", "varnish cache server"];
    stock.iter().any(|s| text.contains(s))
        || !(text.contains("<style")
            || text.contains("stylesheet")
            || text.contains(" style=")
            || text.contains(" class="))
}

fn leads_on(html: &str) -> bool {
    !web::tags(html, "a").is_empty() || !web::forms(html).is_empty() || !web::tags(html, "button").is_empty()
}

/// What the answers to unknown addresses say of a product with pages.
pub(super) fn of_pages(errors: &Errors) -> Vec<Finding> {
    let mut out = traces(errors);
    let Some(unknown) = errors.answers.iter().find(|a| a.as_page) else { return out };
    let (status, text) = (unknown.response.status, unknown.response.text());
    let route = format!("GET {}", unknown.path);
    let finding = |rule: &str, severity, message: String| {
        Finding::new(rule, severity, message).identified_by(&[ABOUT.id, rule]).route(route.clone())
    };
    if status >= 500 && out.is_empty() {
        let what = format!("an unknown address is answered {status}");
        out.push(finding("unknown-5xx", Severity::High, what).fix("answer 404 with a page of your own"));
    } else if status == 200 {
        let what = "an unknown address is answered 200: a soft 404".to_string();
        out.push(finding("soft-404", Severity::Medium, what).fix("send status 404 with the page"));
    } else if status == 404 && web::is_html(&unknown.response) && is_bare(&text) {
        let what = "an unknown address gets the server's own bare page".to_string();
        let fix = "serve a page of your own: nginx `error_page 404 /404.html;`, Express a last app.use()";
        out.push(finding("bare-404", Severity::Medium, what).fix(fix));
    } else if status == 404 && !web::is_html(&unknown.response) {
        let what = format!("an unknown address gets {}, no page", shown_type(&unknown.response));
        out.push(finding("no-404-page", Severity::Medium, what).fix("serve a page to who asks for text/html"));
    } else if status == 404 && !leads_on(&text) && !text.contains("<script") {
        let what = "the page for unknown addresses leads nowhere".to_string();
        out.push(finding("404-no-way-on", Severity::Low, what).fix("link the front page from it"));
    }
    out
}

/// Stack traces, wherever they are.
fn traces(errors: &Errors) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for answer in errors.answers.iter().filter(|a| has_trace(&a.response.text())) {
        if out.iter().any(|f| f.route.as_deref() == Some(&format!("GET {}", answer.path))) {
            continue;
        }
        let what = format!("{} is answered {} with a stack trace", answer.path, answer.response.status);
        let kind = if answer.path.contains('%') { "malformed" } else { "unknown" };
        out.push(
            Finding::new("stack-trace", Severity::High, what)
                .identified_by(&[ABOUT.id, "stack-trace", kind])
                .route(format!("GET {}", answer.path))
                .fix("switch the debug mode off (NODE_ENV=production, debug=False) and log the trace instead"),
        );
    }
    out
}

fn shown_type(response: &Response) -> String {
    let kind: String = web::media_type(response).chars().filter(|c| !c.is_control()).take(60).collect();
    if kind.is_empty() { "no type".into() } else { kind }
}

/// RFC 9457, 3.1: its own media type, or at least its members.
fn is_problem(response: &Response) -> bool {
    let body: Json = serde_json::from_slice(&response.body).unwrap_or_default();
    let members = ["type", "title", "status", "detail"].iter().filter(|m| !body[**m].is_null()).count();
    web::media_type(response) == "application/problem+json" && body.is_object() || members >= 2
}

/// The verdict on a product without pages.
pub(super) fn judge_api(errors: &Errors) -> Outcome {
    let mut findings = traces(errors);
    for answer in errors.answers.iter().filter(|a| !a.as_page) {
        let response = &answer.response;
        let malformed = answer.path.contains('%');
        let kind = if malformed { "a malformed address" } else { "an unknown address" };
        let finding = |rule: &str, severity, message: String| {
            Finding::new(rule, severity, message)
                .identified_by(&[ABOUT.id, rule, kind])
                .route(format!("GET {}", answer.path))
        };
        if matches!(response.status, 401 | 403) {
            // Everything asks for credentials first: that is an answer of its own kind, judged like the others below.
        } else if response.status >= 500 {
            findings.push(
                finding("wrong-status", Severity::High, format!("{kind} is answered {}", response.status))
                    .fix("answer 404 (malformed: 400) and keep 5xx for faults of the server"),
            );
        } else if response.status < 400 {
            let what = format!("{kind} is answered {}", response.status);
            findings.push(finding("wrong-status", Severity::Medium, what).fix("answer 404 to what nobody serves"));
        }
        if web::is_html(response) {
            let what = format!("{kind} is answered {} with HTML although JSON was asked for", response.status);
            findings.push(
                finding("html-error", Severity::High, what)
                    .fix("answer errors as application/problem+json (RFC 9457), in the proxy too"),
            );
        } else if response.status >= 400 && !is_problem(response) {
            let what = format!("{kind} is answered with {}, no problem details", shown_type(response));
            findings.push(
                finding("no-problem-details", Severity::Low, what)
                    .fix("answer application/problem+json with type, title and status (RFC 9457)"),
            );
        }
    }
    let asked = errors.answers.len() as u64;
    let worst = findings.iter().map(|f| f.severity).max();
    let outcome = match worst {
        Some(Severity::High | Severity::Critical) => Outcome::fail(findings[0].message.clone()),
        Some(Severity::Low | Severity::Medium) => Outcome::warn(findings[0].message.clone()),
        _ => Outcome::pass(format!(
            "{asked} error answers are problem details with the right status; there are no pages"
        )),
    };
    let outcome = match findings.first() {
        Some(first) => outcome.hint(format!("{}: {}", first.message, first.fix)),
        None => outcome,
    };
    outcome.covered(asked, asked).tier(Tier::E3).findings(findings).evidence("errors", record(errors))
}

/// The front page itself answers 5xx: nothing can be learnt of the product, only of what stands before it.
pub(super) fn server_error(errors: &Errors, what: String) -> Outcome {
    let front = &errors.front;
    let own = web::is_html(front) && !is_bare(&front.text()) && !has_trace(&front.text());
    let retry = front.header("retry-after").is_some();
    let said = match (own, retry) {
        (true, true) => "a page of its own with Retry-After stands in",
        (true, false) => "a page of its own stands in, without Retry-After",
        (false, _) => "people get the server's bare page: nginx `error_page 502 503 504 /down.html;`",
    };
    Outcome::error("server-error", format!("{what}; {said}"))
        .hint("start the target properly, or correct --url")
        .evidence("errors", record(errors))
}

pub(super) fn record(errors: &Errors) -> Json {
    let one = |path: &str, r: &Response| json!({ "path": path, "status": r.status, "type": shown_type(r), "bytes": r.body.len(), "retry_after": r.header("retry-after") });
    let answers: Vec<Json> = errors.answers.iter().map(|a| one(&a.path, &a.response)).collect();
    json!({ "front": one("/", &errors.front), "answers": answers })
}
