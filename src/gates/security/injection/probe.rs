//! One parameter of one route: what it is sent, and what the answers have in common with those of an interpreter.
//!
//! The order is from cheap to dear: a later family is left out when the parameter's budget is used up. A difference counts
//! when it is seen again with the same two values.

use serde_json::Value as Json;
use tokio::time::Instant;
use url::Url;

use super::PLACES;
use super::signs::{self, Context, ELEMENT};
use crate::gates::actors::Headers;
use crate::gates::inventory::{Operation, Param, Place, harvest, values};
use crate::gates::web;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, Response};

/// Above this two answers are the same (an interpreter has found the two values equal).
const SAME: f64 = 0.98;
/// Below this they are not.
const OTHER: f64 = 0.90;
/// Alternations of a pair of values that must agree.
const ALTERNATIONS: usize = 3;
/// Parameters that say where to go next.
const REDIRECTS: [&str; 18] = [
    "next",
    "url",
    "uri",
    "redirect",
    "redirect_uri",
    "redirect_url",
    "redirecturl",
    "return",
    "return_to",
    "returnto",
    "returnurl",
    "continue",
    "dest",
    "destination",
    "to",
    "goto",
    "target",
    "callback",
];

/// One parameter.
#[derive(Clone)]
pub(super) struct Point {
    /// With real ids where the template has parameters.
    operation: Operation,
    route: String,
    place: Option<(String, u32)>,
    param: Param,
    /// A value that works.
    value: String,
    /// In the body, by a JSON pointer.
    leaf: Option<String>,
}

impl Point {
    pub(super) fn all(operation: &Operation, own: &harvest::Paths) -> Vec<Point> {
        let concrete = operation.template.contains('{').then(|| harvest::concrete(&operation.template, own)).flatten();
        let mut asked = operation.clone();
        if let Some(path) = concrete.filter(|_| operation.seen.is_empty()) {
            asked.seen = vec![path];
        }
        let point = |param: &Param, value: String, leaf: Option<String>| Point {
            operation: asked.clone(),
            route: operation.name(),
            place: operation.place.clone(),
            param: param.clone(),
            value,
            leaf,
        };
        let plain = operation.params.iter().filter(|param| PLACES.contains(&param.place) && param.name != "*");
        let mut out: Vec<Point> = plain.map(|param| point(param, known(&asked, param), None)).collect();
        if let Some(body) = operation.body.as_ref().filter(|body| body.media.contains("json")) {
            for (pointer, value) in leaves(&values::body(body)) {
                let param = Param {
                    name: pointer.trim_start_matches('/').to_string(),
                    place: Place::Query,
                    required: false,
                    schema: Json::Null,
                    example: None,
                };
                out.push(point(&param, value, Some(pointer)));
            }
        }
        out
    }

    /// `q of GET /search`
    pub(super) fn name(&self) -> String {
        format!("{} of {}", self.param.name, self.route)
    }
    pub(super) fn route(&self) -> &str {
        &self.route
    }
    pub(super) fn param(&self) -> &str {
        &self.param.name
    }
    pub(super) fn source(&self) -> Option<&(String, u32)> {
        self.place.as_ref()
    }
}

/// The value that was seen in a path or its query; else a plausible one.
fn known(operation: &Operation, param: &Param) -> String {
    let seen = operation.seen.first().and_then(|seen| match param.place {
        Place::Query => {
            let (_, query) = seen.split_once('?')?;
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(name, _)| *name == param.name)
                .map(|(_, v)| v.into_owned())
        }
        Place::Path => {
            let path = seen.split('?').next()?;
            let wanted = format!("{{{}}}", param.name);
            let both = operation.template.split('/').zip(path.split('/'));
            both.into_iter().find(|(want, _)| *want == wanted).map(|(_, have)| have.to_string())
        }
        _ => None,
    });
    seen.filter(|value| !value.is_empty()).unwrap_or_else(|| values::plausible(param))
}

/// Texts and numbers of a JSON value, by pointer.
fn leaves(value: &Json) -> Vec<(String, String)> {
    fn walk(value: &Json, at: String, out: &mut Vec<(String, String)>) {
        match value {
            Json::Object(parts) => parts.iter().for_each(|(name, part)| {
                walk(part, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), out);
            }),
            Json::Array(parts) => {
                parts.iter().enumerate().for_each(|(nth, part)| walk(part, format!("{at}/{nth}"), out))
            }
            Json::String(_) | Json::Number(_) if out.len() < 40 => {
                out.push((at, values::text(value).unwrap_or_default()))
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    walk(value, String::new(), &mut out);
    out
}

/// A family of injection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Xss(Context),
    Sql,
    Traversal,
    Crlf,
    Template,
    Redirect,
}

/// What was found in one parameter.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub family: Family,
    /// Seen twice, or unmistakable.
    pub confirmed: bool,
    /// The decisive difference in words.
    pub shows: String,
    /// A request that shows it.
    pub curl: String,
}

pub(super) struct Probed {
    pub point: Point,
    pub hits: Vec<Hit>,
    /// The valid request was answered, and the list was gone through.
    pub done: bool,
    pub requests: usize,
    pub error: Option<NetError>,
}

pub(super) struct Asking {
    pub prober: Prober,
    pub base: Url,
    pub headers: Headers,
    pub canary: String,
    /// Requests per parameter.
    pub max: usize,
    pub until: Instant,
}

/// The work on one parameter.
struct Turn<'a> {
    asking: &'a Asking,
    point: Point,
    base: Response,
    stable: bool,
    sent: usize,
    hits: Vec<Hit>,
}

impl Asking {
    pub(super) async fn get(&self, path: &str) -> Result<Response, NetError> {
        harvest::ask(&self.prober, &self.base, "GET", path, &self.headers).await
    }

    pub(super) async fn probe(&self, point: Point) -> Probed {
        let failed =
            |point: Point, error: Option<NetError>| Probed { point, hits: Vec::new(), done: false, requests: 1, error };
        if Instant::now() >= self.until {
            return failed(point, None);
        }
        let (base, again) = match (self.send(&point, &point.value).await, self.send(&point, &point.value).await) {
            (Ok(base), Ok(again)) => (base, again),
            (Err(error), _) | (_, Err(error)) => return failed(point, Some(error)),
        };
        // What does not work with a good value tells nothing with a bad one.
        if base.status >= 500 || matches!(base.status, 401 | 403 | 429) {
            return failed(point, None);
        }
        let stable = base.status == again.status && web::similarity(&base.text(), &again.text()) >= SAME;
        let mut turn = Turn { asking: self, point, base, stable, sent: 2, hits: Vec::new() };
        let ended = turn.go().await;
        let Turn { point, hits, sent, .. } = turn;
        match ended {
            Ok(done) => Probed { point, hits, done, requests: sent, error: None },
            Err(error) => Probed { point, hits, done: false, requests: sent, error: Some(error) },
        }
    }

    async fn send(&self, point: &Point, value: &str) -> Result<Response, NetError> {
        self.prober.send(self.request(point, value)).await
    }

    /// A value that the service may break on. When it does, the next request is a valid one, by which the breaker tells a
    /// careless program from a host in trouble.
    async fn provoke(&self, point: &Point, value: &str) -> Result<Response, NetError> {
        let answer = self.prober.provoking().send(self.request(point, value)).await?;
        if answer.status >= 500 {
            self.send(point, &point.value).await?;
        }
        Ok(answer)
    }

    fn request(&self, point: &Point, value: &str) -> Request {
        let chosen = |param: &Param| {
            let this = param.place == point.param.place && param.name == point.param.name && point.leaf.is_none();
            (this && param.place != Place::Header).then(|| value.to_string())
        };
        let path = match point.param.place {
            Place::Path if point.leaf.is_none() => in_path(&point.operation, &point.param.name, value, chosen),
            _ => values::path(&point.operation, chosen),
        };
        let mut request = Request::get(harvest::address(&self.base, &path));
        request.headers = self.headers.clone();
        request.truncate = true;
        request.body_bytes_limit = 256 * 1024;
        if point.param.place == Place::Header && point.leaf.is_none() {
            request.headers.push((point.param.name.to_ascii_lowercase(), value.to_string()));
        }
        if let (Some(pointer), Some(body)) = (&point.leaf, &point.operation.body) {
            request.method = point.operation.verb().to_string();
            let mut json = values::body(body);
            if let Some(leaf) = json.pointer_mut(pointer) {
                *leaf = Json::String(value.to_string());
            }
            request.headers.push(("content-type".into(), body.media.clone()));
            request.body = json.to_string().into();
        }
        request
    }

    fn curl(&self, point: &Point, value: &str) -> String {
        let request = self.request(point, value);
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let mut url = request.url.clone();
        // Fails only for URLs that cannot have userinfo.
        let _ = (url.set_username(""), url.set_password(None));
        let mut out = format!("curl -i {}", quoted(url.as_str()));
        if request.method != "GET" {
            out.push_str(&format!(" -X {} -d {}", request.method, quoted(&String::from_utf8_lossy(&request.body))));
        }
        if point.param.place == Place::Header && point.leaf.is_none() {
            out.push_str(&format!(" -H {}", quoted(&format!("{}: {value}", point.param.name))));
        }
        if !self.headers.is_empty() {
            out.push_str(" (as the first actor)");
        }
        out
    }
}

/// The path that was seen, with one segment exchanged, so that the other ids stay real.
fn in_path(operation: &Operation, name: &str, value: &str, chosen: impl Fn(&Param) -> Option<String>) -> String {
    let Some(seen) = operation.seen.first() else { return values::path(operation, chosen) };
    let (path, query) = seen.split_once('?').map_or((seen.as_str(), None), |(path, query)| (path, Some(query)));
    let wanted = format!("{{{name}}}");
    let segments = operation.template.split('/').zip(path.split('/')).map(|(want, have)| match want == wanted {
        true => values::segment(value),
        false => have.to_string(),
    });
    let path = segments.collect::<Vec<_>>().join("/");
    query.map_or(path.clone(), |query| format!("{path}?{query}"))
}

impl Turn<'_> {
    /// Was everything sent?
    async fn go(&mut self) -> Result<bool, NetError> {
        self.reflection().await?;
        let redirects = REDIRECTS.contains(&self.point.param.name.to_ascii_lowercase().as_str());
        if redirects {
            self.redirect().await?;
        }
        self.sql().await?;
        self.traversal().await?;
        self.template().await?;
        self.crlf().await?;
        Ok(Instant::now() < self.asking.until)
    }

    /// `None`: the parameter's budget or the gate's time is used up.
    async fn send(&mut self, value: &str) -> Result<Option<Response>, NetError> {
        if self.sent >= self.asking.max || Instant::now() >= self.asking.until {
            return Ok(None);
        }
        self.sent += 1;
        match self.asking.provoke(&self.point, value).await {
            Ok(answer) => Ok(Some(answer)),
            // A value that a header cannot carry, an answer that broke off: nothing to compare.
            Err(NetError::Protocol(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn hit(&mut self, family: Family, confirmed: bool, shows: String, value: &str) {
        let curl = self.asking.curl(&self.point, value);
        self.hits.push(Hit { family, confirmed, shows, curl });
    }

    async fn reflection(&mut self) -> Result<(), NetError> {
        let canary = format!("{}r", self.asking.canary);
        let value = format!("{canary}'\"{ELEMENT}");
        let Some(answer) = self.send(&value).await? else { return Ok(()) };
        if let Some(context) = signs::reflected(&answer, &canary) {
            let place = match context {
                Context::Text => "as markup in the page",
                Context::Attribute => "out of the attribute that it stands in",
                Context::Script => "inside a script",
            };
            // Inside a script it depends on what surrounds it.
            self.hit(Family::Xss(context), context != Context::Script, format!("the value comes back {place}"), &value);
        }
        Ok(())
    }

    async fn redirect(&mut self) -> Result<(), NetError> {
        for value in ["https://hc.invalid/", "//hc.invalid/"] {
            let Some(answer) = self.send(value).await? else { return Ok(()) };
            let to = answer.header("location").and_then(|to| self.asking.base.join(to).ok());
            if (300..400).contains(&answer.status) && to.is_some_and(|to| to.host_str() == Some("hc.invalid")) {
                self.hit(Family::Redirect, true, "the answer leads to a foreign host".into(), value);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn sql(&mut self) -> Result<(), NetError> {
        let value = self.point.value.clone();
        let (odd, even) = (format!("{value}'"), format!("{value}''"));
        let (Some(one), Some(two)) = (self.send(&odd).await?, self.send(&even).await?) else { return Ok(()) };
        let words = signs::database_error(&one).filter(|_| signs::database_error(&self.base).is_none());
        let breaks = one.status >= 500 && two.status < 500;
        let quoted = words.is_some() && signs::database_error(&two).is_none();
        let suspicious = breaks || words.is_some();
        if quoted && self.again(&odd, |a| signs::database_error(a).is_some()).await? {
            let name = words.unwrap_or("a database");
            self.hit(Family::Sql, true, format!("one quote makes {name} complain of the statement, two do not"), &odd);
            return Ok(());
        }
        if self.stable {
            if let Some((yes, no)) = self.pairs().await? {
                self.hit(
                    Family::Sql,
                    true,
                    format!("`{yes}` is answered as the value itself, `{no}` is not, {ALTERNATIONS} times"),
                    &yes,
                );
                return Ok(());
            }
            if let Some(sum) = self.arithmetic().await? {
                self.hit(Family::Sql, true, format!("`{sum}` is worked out: it is answered as the value itself"), &sum);
                return Ok(());
            }
        }
        if suspicious {
            let shows = match words {
                Some(name) => format!("a quote makes {name} complain"),
                None => format!("one quote is answered {}, two are answered {}", one.status, two.status),
            };
            self.hit(Family::Sql, false, shows, &odd);
        }
        Ok(())
    }

    async fn again(&mut self, value: &str, shows: impl Fn(&Response) -> bool) -> Result<bool, NetError> {
        Ok(self.send(value).await?.is_some_and(|answer| shows(&answer)))
    }

    /// A condition that is true and one that is false, tied to the value by AND.
    async fn pairs(&mut self) -> Result<Option<(String, String)>, NetError> {
        let value = self.point.value.clone();
        let number = value.parse::<i64>().is_ok();
        let mut pairs = vec![(format!("{value}' AND '7'='7"), format!("{value}' AND '7'='8"))];
        if number {
            pairs.insert(0, (format!("{value} AND 7=7"), format!("{value} AND 7=8")));
        }
        for (yes, no) in pairs {
            if self.differ(&yes, &no).await? {
                let mut all = true;
                for _ in 1..ALTERNATIONS {
                    all = all && self.differ(&yes, &no).await?;
                }
                if all {
                    return Ok(Some((yes, no)));
                }
            }
        }
        Ok(None)
    }

    async fn differ(&mut self, yes: &str, no: &str) -> Result<bool, NetError> {
        let Some(one) = self.send(yes).await? else { return Ok(false) };
        if !self.is_base(&one) {
            return Ok(false);
        }
        let Some(other) = self.send(no).await? else { return Ok(false) };
        Ok(self.is_other(&other))
    }

    fn is_base(&self, answer: &Response) -> bool {
        answer.status == self.base.status && alike(&answer.text(), &self.base.text(), &self.point.value) >= SAME
    }
    fn is_other(&self, answer: &Response) -> bool {
        answer.status < 500
            && (answer.status != self.base.status
                || alike(&answer.text(), &self.base.text(), &self.point.value) <= OTHER)
    }

    /// 7 is 8-1 to a database, and not to a program that compares texts; and 8 is another thing.
    async fn arithmetic(&mut self) -> Result<Option<String>, NetError> {
        let Ok(number) = self.point.value.parse::<i64>() else { return Ok(None) };
        let Some(next) = number.checked_add(1) else { return Ok(None) };
        let (sum, other) = (format!("{next}-1"), next.to_string());
        for _ in 0..2 {
            if !self.differ(&sum, &other).await? {
                return Ok(None);
            }
        }
        // A program that reads digits and stops at the minus has found `next`, which is another.
        Ok(Some(sum))
    }

    async fn traversal(&mut self) -> Result<(), NetError> {
        let up = "../".repeat(8);
        let values = [
            format!("{up}etc/passwd"),
            format!("{}etc/passwd", "....//".repeat(8)),
            format!("{}etc%2fpasswd", "%2e%2e%2f".repeat(8)),
            "/etc/passwd".to_string(),
        ];
        for value in values {
            let Some(answer) = self.send(&value).await? else { return Ok(()) };
            if signs::is_foreign_file(&answer) && !signs::is_foreign_file(&self.base) {
                self.hit(Family::Traversal, true, "the answer is the system's list of users".into(), &value);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn template(&mut self) -> Result<(), NetError> {
        let canary = format!("{}t", self.asking.canary);
        for value in [format!("{canary}{{{{7*191}}}}z"), format!("{canary}${{7*191}}z")] {
            let Some(answer) = self.send(&value).await? else { return Ok(()) };
            if answer.text().contains(&format!("{canary}1337z")) {
                self.hit(Family::Template, true, "7*191 comes back as 1337".into(), &value);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn crlf(&mut self) -> Result<(), NetError> {
        let value = format!("{}\r\nx-hc-canary: 1", self.point.value);
        let Some(answer) = self.send(&value).await? else { return Ok(()) };
        if answer.header("x-hc-canary").is_some() {
            self.hit(Family::Crlf, true, "a line break in the value makes a header of its own".into(), &value);
        }
        Ok(())
    }
}

/// How alike two bodies are when neither is held against the other for repeating what it was asked for.
fn alike(a: &str, b: &str, value: &str) -> f64 {
    let bare = |text: &str| {
        let text = text
            .replace(" AND 7=7", "")
            .replace(" AND 7=8", "")
            .replace("' AND '7'='7", "")
            .replace("' AND '7'='8", "");
        if value.len() > 2 { text.replace(value, "") } else { text }
    };
    let (a, b) = (bare(a), bare(b));
    let lengths = a.len().min(b.len()) as f64 / a.len().max(b.len()).max(1) as f64;
    // Words alone do not see that a list of numbers is empty.
    web::similarity(&a, &b).min(if lengths < 0.7 { lengths } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn leaves_of_a_body_have_pointers() {
        let all = leaves(&json!({ "a": "x", "b": [{ "c/d": 7 }], "e": true }));
        assert_eq!(all, [("/a".to_string(), "x".to_string()), ("/b/0/c~1d".into(), "7".into())]);
    }

    #[test]
    fn an_empty_list_is_no_list_of_numbers() {
        assert!(alike("[1, 2, 3, 4, 5, 6]", "[]", "7") < OTHER);
        assert!(alike("results for 7 AND 7=7: oolong", "results for 7: oolong", "7") >= SAME);
    }
}
