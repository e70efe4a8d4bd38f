//! Which lines belong to which request, and what they carry, to a verdict. Pure.

use serde_json::{Value as Json, json};

use super::ABOUT;
use crate::domain::units::{count, number};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::monitoring::logs::Lines;
use crate::gates::monitoring::logs::record::{Format, Record};

/// One request.
#[derive(Debug, Clone)]
pub struct Sent {
    /// 32 hexadecimal digits of `traceparent`.
    pub trace: String,
    /// `X-Request-Id`.
    pub id: String,
    /// Without the query.
    pub path: String,
    /// Stands in its path or query, and nowhere else.
    pub mark: String,
    pub template: Option<String>,
    /// The actor's own id, where the configuration tells it; `None`: nobody was signed in.
    pub user: Option<Option<String>>,
}

impl Sent {
    /// Does the line belong to it?
    pub fn is_in(&self, line: &str) -> bool {
        let ends = |at: usize, word: &str| !line[at + word.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
        let holds = |word: &str| line.match_indices(word).any(|(at, _)| ends(at, word));
        holds(&self.trace) || holds(&self.id) || holds(&self.mark)
    }
}

const TRACE: [&str; 14] = [
    "trace_id",
    "traceid",
    "trace.id",
    "dd.trace_id",
    "oteltraceid",
    "requestid",
    "request_id",
    "reqid",
    "req.id",
    "request.id",
    "x-request-id",
    "correlationid",
    "correlation_id",
    "traceparent",
];
const USER: [&str; 9] = ["userid", "user_id", "user.id", "enduser.id", "sub", "user", "usr.id", "uid", "account_id"];
const ROUTE: [&str; 12] = [
    "route",
    "http.route",
    "url.path",
    "req.url",
    "path",
    "url",
    "req.path",
    "request.path",
    "http.target",
    "uri",
    "request.url",
    "req.route.path",
];
const METHOD: [&str; 6] = ["method", "req.method", "http.method", "http.request.method", "request.method", "verb"];
const STATUS: [&str; 8] = [
    "status",
    "statuscode",
    "status_code",
    "res.statuscode",
    "http.status_code",
    "http.response.status_code",
    "response.status",
    "res.status",
];
const DURATION: [&str; 10] = [
    "duration",
    "duration_ms",
    "durationms",
    "responsetime",
    "response_time",
    "elapsed",
    "elapsed_ms",
    "latency",
    "latency_ms",
    "request_time",
];

/// The values of fields that are called so, whatever their capitals.
fn values<'r>(record: &'r Record, names: &'r [&str]) -> impl Iterator<Item = String> + 'r {
    let called = move |key: &str| {
        let key = key.to_ascii_lowercase();
        names.iter().any(|name| key == *name || key.strip_suffix(name).is_some_and(|front| front.ends_with('.')))
    };
    record.fields.iter().filter(move |(key, _)| called(key)).filter_map(|(_, value)| match value {
        Json::String(text) if !text.is_empty() => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// A line of one of the requests.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Row {
    /// The id that was sent.
    pub id: bool,
    /// An id, but another one.
    pub other_id: bool,
    pub error: bool,
    pub route: bool,
    /// `None`: the request shows no difference between path and template.
    pub template: Option<bool>,
    pub method: bool,
    pub status: bool,
    pub duration: bool,
    /// `None`: nobody was signed in.
    pub user: Option<bool>,
    pub email: bool,
    pub text: bool,
}

#[derive(Debug, Default)]
pub struct Seen {
    pub source: String,
    pub requests: usize,
    /// Of these, such that left a line.
    pub found: usize,
    pub signed: bool,
    pub rows: Vec<Row>,
    /// Lines between these in which no id stands: nobody can tell whose they are.
    pub nobodys: usize,
    pub cut: bool,
}

impl Seen {
    pub fn of(sent: &[Sent], lines: &Lines, source: String) -> Seen {
        let mut seen = Seen { source, requests: sent.len(), cut: lines.cut, ..Seen::default() };
        for request in sent {
            let own: Vec<&String> = lines.lines.iter().filter(|line| request.is_in(line)).collect();
            seen.found += usize::from(!own.is_empty());
            seen.signed |= request.user.is_some();
            seen.rows.extend(own.into_iter().map(|line| row(line, request)));
        }
        // Between ours: what came before was for the routes' inventory, or is older.
        let is_own = |line: &String| sent.iter().any(|request| request.is_in(line));
        let first = lines.lines.iter().position(is_own).unwrap_or(0);
        let last = lines.lines.iter().rposition(is_own).unwrap_or(0);
        let others = lines.lines[first.min(lines.lines.len())..last.max(first)].iter().filter(|line| !is_own(line));
        seen.nobodys = others.filter(|line| values(&Record::parse(line), &TRACE).next().is_none()).count();
        seen
    }
}

fn row(line: &str, sent: &Sent) -> Row {
    let record = Record::parse(line);
    if record.format == Format::Text {
        let has = |word: &str| line.contains(word);
        let id = has(&sent.trace) || has(&sent.id);
        return Row { id, text: true, user: sent.user.as_ref().map(|_| false), ..Row::default() };
    }
    let is_sent = |value: &String| value.contains(&sent.trace) || *value == sent.id;
    let ids: Vec<String> = values(&record, &TRACE).collect();
    let id = ids.iter().any(is_sent);
    let routes: Vec<String> = values(&record, &ROUTE).collect();
    let template = sent
        .template
        .as_deref()
        .filter(|t| t.contains('{'))
        .map(|t| routes.iter().any(|value| shape(value) == shape(t) && *value != sent.path));
    let users: Vec<String> = values(&record, &USER).collect();
    let user = sent.user.as_ref().map(|wanted| match wanted {
        Some(wanted) => users.iter().any(|u| u == wanted),
        None => !users.is_empty(),
    });
    let level = values(&record, &["level", "severity", "levelname", "lvl"]).next().unwrap_or_default();
    let number = level.parse::<u32>().unwrap_or(0);
    Row {
        id,
        other_id: !id && !ids.is_empty(),
        error: number >= 50 || matches!(level.to_ascii_lowercase().as_str(), "error" | "fatal" | "critical"),
        route: !routes.is_empty(),
        template: template.filter(|_| !routes.is_empty()),
        method: values(&record, &METHOD).next().is_some(),
        status: values(&record, &STATUS).next().is_some(),
        duration: values(&record, &DURATION).next().is_some(),
        email: sent.user.is_some() && users.iter().any(|u| u.contains('@')),
        user,
        text: false,
    }
}

/// Parameters of all frameworks as `*`: `/users/{id}`, `/users/:id`, `/users/<int:id>`.
fn shape(route: &str) -> String {
    let part = |part: &str| match part.starts_with([':', '{', '<', '[', '*']) {
        true => "*".to_string(),
        false => part.to_string(),
    };
    route.split('?').next().unwrap_or_default().trim_end_matches('/').split('/').map(part).collect::<Vec<_>>().join("/")
}

const GOOD_MIN: f64 = 0.95;
const WEAK_MIN: f64 = 0.8;

pub fn judge(seen: &Seen) -> Outcome {
    let rows = &seen.rows;
    let share = |n: usize, of: usize| if of == 0 { 1.0 } else { n as f64 / of as f64 };
    let percent = |share: f64| number((share * 100.0).floor());
    let evidence = json!({"source": seen.source, "requests": seen.requests, "found": seen.found,
                          "lines": rows, "lines_without_id": seen.nobodys});
    let done = |outcome: Outcome| {
        outcome.covered(seen.found as u64, seen.requests as u64).evidence("log_context", evidence.clone())
    };
    if rows.is_empty() || seen.cut {
        let outcome = match seen.cut {
            true => Outcome::error("too-much", format!("{} is too busy: not all of it could be read", seen.source)),
            false => Outcome::error("no-lines", format!("no line of the requests arrived in {}", seen.source)),
        };
        return done(outcome.hint("monitoring.logging says what is wrong with the way into the log"));
    }
    let mut findings = Vec::new();
    let mut miss = |rule: &str, severity, text: String, fix: &str| {
        findings.push(Finding::new(rule, severity, text).fix(fix).identified_by(&[ABOUT.id, rule]));
    };
    let ids = share(rows.iter().filter(|r| r.id).count(), rows.len());
    let any = share(rows.iter().filter(|r| r.id || r.other_id).count(), rows.len());
    if ids < GOOD_MIN {
        let text = format!("{} % of the lines carry the id of their request", percent(ids));
        match any {
            any if any >= GOOD_MIN => {
                let text = "lines carry ids of the service's own, not the one that was sent".to_string();
                let fix = "take the trace id from traceparent, or the request id from X-Request-Id";
                miss("not-propagated", Severity::Medium, text, fix);
            }
            _ if ids >= WEAK_MIN => miss("some-without-id", Severity::Medium, text, ABOUT.fix),
            _ => miss("no-id", Severity::High, text, ABOUT.fix),
        }
    }
    // A service that knows its own ids alone was told so; one that took ours must not lose it where it matters.
    if rows.iter().any(|r| r.error && !r.id && !(r.other_id && ids == 0.0)) {
        let text = "an error's line does not carry the id of its request".to_string();
        miss("error-without-id", Severity::High, text, ABOUT.fix);
    }
    // One for every second request is no accident.
    if seen.nobodys > 0 && seen.nobodys * 2 >= seen.requests {
        let text = format!("{} between those of the requests carry no id at all", count(seen.nobodys, "line"));
        miss("lines-without-id", Severity::Medium, text, ABOUT.fix);
    }
    // Lines that tell of a request as a whole: one for each is enough.
    let access: Vec<&Row> = rows.iter().filter(|r| r.status || r.method || r.route).collect();
    let lacks = |has: fn(&Row) -> bool| {
        access.is_empty() || share(access.iter().filter(|r| has(r)).count(), access.len()) < GOOD_MIN
    };
    let missing: Vec<&str> = [
        ("route", lacks(|r| r.route)),
        ("method", lacks(|r| r.method)),
        ("status", lacks(|r| r.status)),
        ("duration", lacks(|r| r.duration)),
    ]
    .into_iter()
    .filter_map(|(name, lacks)| lacks.then_some(name))
    .collect();
    if !missing.is_empty() {
        let text = format!("lines lack {}", missing.join(", "));
        miss("no-fields", Severity::Medium, text, "log them once per request, as fields of their own");
    }
    let told: Vec<bool> = rows.iter().filter_map(|r| r.template).collect();
    if !told.is_empty() && told.iter().all(|template| !template) {
        let text = "lines carry the raw path, not the route: /users/17 and /users/18 are counted apart".to_string();
        miss(
            "raw-path",
            Severity::Medium,
            text,
            "log the route's template: req.route.path, request.url_rule, http.route",
        );
    }
    if told.is_empty() {
        let text =
            "no route with a parameter was asked: whether lines carry the template was not looked at".to_string();
        miss("no-template", Severity::Info, text, "name the route inventory: [gates.routes]");
    }
    let users: Vec<bool> = rows.iter().filter_map(|r| r.user).collect();
    if seen.signed && !users.is_empty() {
        let ratio = share(users.iter().filter(|u| **u).count(), users.len());
        if ratio < GOOD_MIN {
            let text = format!("{} % of the lines of a signed-in user name the user", percent(ratio));
            let severity = if ratio < WEAK_MIN { Severity::High } else { Severity::Medium };
            miss(
                "no-user",
                severity,
                text,
                "bind the user's id once it is known; see id of the actor in [[gates.actor]]",
            );
        }
    }
    if rows.iter().any(|r| r.email) {
        let text = "the user is named by an e-mail address".to_string();
        miss("email-as-user", Severity::Medium, text, "log an opaque id: an address in the log is personal data");
    }
    if !seen.signed {
        let text = "no actor: whether lines name the user was not looked at".to_string();
        miss("no-actor", Severity::Info, text, "name an account in [[gates.actor]]");
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let noted = findings.iter().filter(|f| f.severity >= Severity::Medium).count();
    let more = if noted > 1 { format!(" and {} more", noted - 1) } else { String::new() };
    let outcome = match findings.first().filter(|f| f.severity >= Severity::Medium) {
        Some(first) => {
            let text = format!("{}{more}", first.message);
            let outcome = if first.severity >= Severity::High { Outcome::fail(text) } else { Outcome::warn(text) };
            outcome.hint(first.fix.clone())
        }
        None => Outcome::pass(format!(
            "{} % of {} lines carry the id of their request, with route, method, status and duration",
            percent(ids),
            rows.len()
        )),
    };
    done(outcome.tier(Tier::E3).findings(findings))
}
