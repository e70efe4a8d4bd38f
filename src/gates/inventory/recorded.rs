//! Traffic that somebody recorded: HAR 1.2 of a browser, and access logs (common and combined format, or one JSON object a
//! line as nginx, Caddy and Traefik write them). Only methods, paths and names of parameters are taken; no header, no
//! cookie, no body. Pure.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use url::Url;

use super::{Operation, Param, Place, SEEN_MAX, Source};

/// Lines of one log that are read.
const LINES_MAX: usize = 1_000_000;
/// Different paths of one file that are kept.
const PATHS_MAX: usize = 5000;

/// Requests of a HAR file to the host that was asked most.
pub(super) fn har(text: &str) -> Result<Vec<Operation>, String> {
    let document: Json = serde_json::from_str(text).map_err(|e| format!("not a HAR file: {e}"))?;
    let entries = document["log"]["entries"].as_array().ok_or("not a HAR file: log.entries is missing")?;
    let requests: Vec<(&str, Url)> = entries
        .iter()
        .filter(|entry| entry["response"]["status"].as_u64().is_some_and(|status| (200..400).contains(&status)))
        .filter_map(|entry| {
            let request = &entry["request"];
            Some((request["method"].as_str()?, request["url"].as_str()?.parse::<Url>().ok()?))
        })
        .collect();
    let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, url) in &requests {
        *hosts.entry(url.origin().ascii_serialization()).or_default() += 1;
    }
    let Some((own, _)) = hosts.into_iter().max_by_key(|(_, count)| *count) else { return Ok(Vec::new()) };
    let mut kept = Kept::default();
    for (method, url) in requests.iter().filter(|(_, url)| url.origin().ascii_serialization() == own) {
        kept.take(method, &path_of(url), Source::Har);
    }
    Ok(kept.out())
}

/// Requests of an access log that were answered well.
pub(super) fn access_log(text: &str) -> Result<Vec<Operation>, String> {
    let mut kept = Kept::default();
    let (mut lines, mut read) = (0usize, 0usize);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()).take(LINES_MAX) {
        lines += 1;
        let Some((method, path, status)) = request(line) else { continue };
        read += 1;
        if (200..400).contains(&status) && path.starts_with('/') {
            kept.take(&method, &path, Source::AccessLog);
        }
    }
    if lines > 0 && read * 2 < lines {
        return Err(format!("{read} of {lines} lines are requests: neither common log format nor JSON lines"));
    }
    Ok(kept.out())
}

/// Method, path and status of one line.
fn request(line: &str) -> Option<(String, String, u16)> {
    if line.starts_with('{') {
        let entry: Json = serde_json::from_str(line).ok()?;
        let first = |names: &[&str]| names.iter().find_map(|name| entry.pointer(name).and_then(super::values::text));
        let whole = first(&["/request", "/req"]).unwrap_or_default();
        let mut words = whole.split(' ');
        let method = first(&["/request_method", "/method", "/request/method", "/RequestMethod", "/req/method"])
            .or_else(|| words.next().map(str::to_string))?;
        let path = first(&["/request_uri", "/uri", "/path", "/request/uri", "/RequestPath", "/url", "/req/url"])
            .or_else(|| words.next().map(str::to_string))?;
        let status = first(&["/status", "/response/status", "/DownstreamStatus", "/res/statusCode", "/status_code"])?;
        return Some((method, path, status.parse().ok()?));
    }
    // host ident user [time] "METHOD path HTTP/1.1" status bytes …
    let (_, after) = line.split_once('"')?;
    let (request, after) = after.split_once('"')?;
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let status = after.split_whitespace().next()?.parse().ok()?;
    method.chars().all(|c| c.is_ascii_uppercase()).then(|| (method.to_string(), path.to_string(), status))
}

/// Path and query of a URL.
pub(super) fn path_of(url: &Url) -> String {
    match url.query() {
        Some(query) if !query.is_empty() => format!("{}?{query}", url.path()),
        _ => url.path().to_string(),
    }
}

/// Operations by method and path, as they are seen.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<(String, String), Operation>);

impl Kept {
    pub(super) fn take(&mut self, method: &str, path: &str, source: Source) -> Option<&mut Operation> {
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let bare = bare.split('#').next().unwrap_or(bare);
        let key = (method.to_ascii_uppercase(), bare.to_string());
        if self.0.len() >= PATHS_MAX && !self.0.contains_key(&key) {
            return None;
        }
        let operation = self.0.entry(key).or_insert_with(|| Operation::new(method, bare, source));
        if operation.seen.len() < SEEN_MAX && !operation.seen.iter().any(|seen| seen == path) {
            operation.seen.push(path.to_string());
        }
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            // A token in a query is nobody's example.
            let value = (value.len() <= 32).then(|| value.to_string());
            put_query(operation, &name, value);
        }
        Some(operation)
    }
    pub(super) fn out(self) -> Vec<Operation> {
        self.0.into_values().collect()
    }
}

pub(super) fn put_query(operation: &mut Operation, name: &str, example: Option<String>) {
    if name.is_empty() || operation.params.iter().any(|p| p.place == Place::Query && p.name == name) {
        return;
    }
    let param = Param { name: name.to_string(), place: Place::Query, required: false, schema: Json::Null, example };
    operation.params.push(param);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(operations: &[Operation]) -> Vec<String> {
        let query = |o: &Operation| o.at(Place::Query).map(|p| p.name.clone()).collect::<Vec<_>>().join(",");
        operations.iter().map(|o| format!("{} [{}]", o.name(), query(o))).collect()
    }

    #[test]
    fn a_har_file_gives_the_requests_to_its_own_host() {
        let entry = |method: &str, url: &str, status: u16| serde_json::json!({ "request": { "method": method, "url": url }, "response": { "status": status } });
        let text = serde_json::json!({ "log": { "entries": [
            entry("GET", "https://shop.example/teas?page=2", 200),
            entry("POST", "https://shop.example/cart", 302),
            entry("GET", "https://shop.example/gone", 404),
            entry("GET", "https://cdn.example/a.js", 200),
        ]}});
        assert_eq!(names(&har(&text.to_string()).unwrap()), ["GET /teas [page]", "POST /cart []"]);
        assert!(har("{}").is_err() && har("x").is_err());
    }

    #[test]
    fn access_logs_of_several_servers() {
        let log = "10.0.0.1 - ada [22/Nov/2026:10:00:00 +0000] \"GET /teas?q=oolong HTTP/1.1\" 200 12 \"-\" \"curl\"\n\
            10.0.0.1 - - [22/Nov/2026:10:00:00 +0000] \"POST /cart HTTP/1.1\" 500 12\n\
            {\"request_method\": \"GET\", \"request_uri\": \"/a\", \"status\": 200}\n\
            {\"request\": \"GET /b HTTP/1.1\", \"status\": \"204\"}\n\
            {\"request\": {\"method\": \"PUT\", \"uri\": \"/c?x=1\"}, \"status\": 200}\n";
        assert_eq!(names(&access_log(log).unwrap()), ["GET /a []", "GET /b []", "GET /teas [q]", "PUT /c [x]"]);
        assert!(access_log("hello\nworld\n").is_err());
        assert!(access_log("").unwrap().is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_line_stops_it(text in "\\PC{0,60}") {
            let _ = (access_log(&text), har(&text));
        }
    }
}
