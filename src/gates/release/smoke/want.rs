//! Is an answer what an item wants? And what an item sends, with its places filled in. Pure, but for the environment's
//! `SMOKE_…` variables.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Item;
use crate::domain::release::ReleaseId;
use crate::domain::secret::Secret;
use crate::gates::release::endpoint_answers::{named, same_commit, same_version};
use crate::net::Response;

/// What a JSON value must be: the same, or what a table says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Want(pub Json);

/// A pattern of a list in a repository must not eat the machine.
const PATTERN_BYTES_MAX: usize = 1 << 20;

fn pattern(text: &str) -> Option<Result<Regex, regex::Error>> {
    let inner = text.strip_prefix('/')?.strip_suffix('/').filter(|p| !p.is_empty())?;
    Some(RegexBuilder::new(inner).size_limit(PATTERN_BYTES_MAX).build())
}

/// Why a text between slashes is no regular expression.
pub fn check(text: &str) -> Result<(), String> {
    match pattern(text) {
        Some(Err(e)) => Err(e.to_string().lines().last().unwrap_or_default().trim().to_string()),
        _ => Ok(()),
    }
}

/// A part of the text, or /a regular expression/ that matches in it.
fn holds(text: &str, wanted: &str) -> bool {
    match pattern(wanted) {
        Some(Ok(pattern)) => pattern.is_match(text),
        Some(Err(_)) => false,
        None => text.contains(wanted),
    }
}

/// Every expectation that is not met; empty: the answer is right.
pub fn unmet(item: &Item, response: &Response, release: &ReleaseId) -> Vec<String> {
    let mut out = Vec::new();
    if !item.statuses().contains(&response.status) {
        let wanted: Vec<String> = item.statuses().iter().map(u16::to_string).collect();
        out.push(format!("status {}, not {}", response.status, wanted.join(" or ")));
    }
    for (name, wanted) in &item.header {
        match response.header(&name.to_ascii_lowercase()) {
            None => out.push(format!("no header {name}")),
            Some(value) if !holds(value, wanted) => out.push(format!("header {name} is not {wanted}")),
            Some(_) => {}
        }
    }
    let body = response.text();
    out.extend(item.body.iter().filter(|w| !holds(&body, w)).map(|w| format!("the body lacks {w}")));
    out.extend(item.body_not.iter().filter(|w| holds(&body, w)).map(|w| format!("the body holds {w}")));
    if !item.json.is_empty() {
        match serde_json::from_str::<Json>(&body) {
            Err(_) => out.push("the body is no JSON".into()),
            Ok(json) => out.extend(item.json.iter().filter_map(|(path, want)| mismatch(&json, path, &want.0))),
        }
    }
    if item.release {
        out.extend(other_release(&body, release));
    }
    out
}

fn other_release(body: &str, release: &ReleaseId) -> Option<String> {
    let says = named(body);
    let (commit, version) = (release.commit.as_deref(), release.version.as_deref());
    match (&says.commit, commit, &says.version, version) {
        (Some(seen), Some(own), _, _) if same_commit(seen, own) => None,
        (Some(seen), Some(own), _, _) => Some(format!("answers for {}, not {}", short(seen), short(own))),
        (_, _, Some(seen), Some(own)) if same_version(seen, own) => None,
        (_, _, Some(seen), Some(own)) => Some(format!("answers for {}, not {own}", short(seen))),
        (None, _, None, _) => Some("names neither version nor commit".into()),
        _ => Some("the release's version and commit are not known here".into()),
    }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(12).collect()
}

/// `items[0].name`
pub fn at<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    let mut here = json;
    for part in path.split('.').filter(|p| !p.is_empty()) {
        let (key, rest) = part.find('[').map_or((part, ""), |i| part.split_at(i));
        if !key.is_empty() {
            here = here.get(key)?;
        }
        for index in rest.split('[').skip(1) {
            here = here.get(index.strip_suffix(']')?.parse::<usize>().ok()?)?;
        }
    }
    Some(here)
}

/// Why the value at `path` is not what is wanted.
fn mismatch(json: &Json, path: &str, want: &Json) -> Option<String> {
    let found = at(json, path);
    let Json::Object(rules) = want else {
        let found = match found {
            None => return Some(format!("{path} is missing")),
            Some(found) => found,
        };
        let same = match (want, found) {
            (Json::String(w), Json::String(f)) => pattern(w).map_or(w == f, |p| p.is_ok_and(|p| p.is_match(f))),
            (Json::Number(w), Json::Number(f)) => w.as_f64() == f.as_f64(),
            (w, f) => w == f,
        };
        return (!same).then(|| format!("{path} is not {}", line(want)));
    };
    for (rule, wanted) in rules {
        let length = || match found {
            Some(Json::Array(all)) => Some(all.len() as f64),
            Some(Json::Object(all)) => Some(all.len() as f64),
            Some(Json::String(text)) => Some(text.chars().count() as f64),
            _ => None,
        };
        let number = found.and_then(Json::as_f64);
        let is =
            |value: Option<f64>, ok: fn(f64, f64) -> bool| value.zip(wanted.as_f64()).is_some_and(|(a, b)| ok(a, b));
        let met = match rule.as_str() {
            "exists" => wanted.as_bool() == Some(found.is_some_and(|f| !f.is_null())),
            "min" => is(number, |a, b| a >= b),
            "max" => is(number, |a, b| a <= b),
            "length_min" => is(length(), |a, b| a >= b),
            "contains" => match (found, wanted) {
                (Some(Json::String(text)), Json::String(part)) => holds(text, part),
                (Some(Json::Array(all)), wanted) => all.contains(wanted),
                _ => false,
            },
            _ => return Some(format!("{path}: there is no rule `{rule}`")),
        };
        if !met {
            return Some(format!("{path} is not {rule} {}", line(wanted)));
        }
    }
    None
}

fn line(value: &Json) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

static VARIABLE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{(env|file|cred|cmd):([^}]*)\}").expect("a pattern of ours"));

/// The first reference that a list in a repository has no right to.
pub fn foreign_secret(item: &Item) -> Option<String> {
    let sent = serde_json::to_string(&(&item.request, &item.headers, &item.send_json, &item.send_form, &item.cleanup));
    let sent = sent.unwrap_or_default();
    VARIABLE.captures_iter(&sent).find(|c| &c[1] != "env" || !c[2].starts_with("SMOKE_")).map(|c| c[2].to_string())
}

/// What goes into the places: `{run}`, `{version}`, `{commit}`, saved names; `${env:SMOKE_…}` is read now and never shown.
pub fn fill(text: &str, known: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let secret = open > 0 && rest.as_bytes()[open - 1] == b'$';
        let end = rest[open..].find('}').map(|n| open + n);
        let Some(end) = end else { break };
        let name = &rest[open + 1..end];
        out.push_str(&rest[..if secret { open - 1 } else { open }]);
        if secret {
            let variable = name.strip_prefix("env:").filter(|v| v.starts_with("SMOKE_"));
            let variable = variable.ok_or_else(|| format!("`{name}` may not be used in a smoke list"))?;
            let value = Secret::Env(variable.into()).reveal().map_err(|e| e.to_string())?;
            out.push_str(value.expose());
        } else if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty() {
            out.push_str(known.get(name).ok_or_else(|| format!("{{{name}}} is not known: no item before saved it"))?);
        } else {
            // Braces of JSON or of a regular expression.
            out.push_str(&rest[open..=end]);
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The same in every text of a JSON value.
pub fn fill_json(json: &Json, known: &BTreeMap<String, String>) -> Result<Json, String> {
    Ok(match json {
        Json::String(text) => Json::String(fill(text, known)?),
        Json::Array(all) => Json::Array(all.iter().map(|v| fill_json(v, known)).collect::<Result<_, _>>()?),
        Json::Object(map) => {
            Json::Object(map.iter().map(|(k, v)| Ok((k.clone(), fill_json(v, known)?))).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn response(status: u16, body: &str) -> Response {
        Response {
            status,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string().into(),
            truncated: false,
            duration: Duration::ZERO,
            url: "http://127.0.0.1/".parse().unwrap(),
            tls: None,
        }
    }

    fn check(item: &str, status: u16, body: &str, expect: &[&str]) {
        let item: Item = toml::from_str(item).unwrap();
        let release =
            ReleaseId { commit: Some("0123456789abcdef".into()), version: Some("1.4.0".into()), ..Default::default() };
        assert_eq!(unmet(&item, &response(status, body), &release), expect, "{body}");
    }

    #[test]
    fn expectations() {
        check("", 200, "", &[]);
        check("", 301, "", &["status 301, not 200"]);
        check("status = [301, 302]", 302, "", &[]);
        check("header = { Content-Type = \"json\", x = \"1\" }", 200, "", &["no header x"]);
        check("body = [\"Tea\", \"/[0-9]+ cups/\"]", 200, "Tea, 12 cups", &[]);
        check(
            "body = [\"Tea\"]\nbody_not = [\"<html\"]",
            200,
            "<html>",
            &["the body lacks Tea", "the body holds <html"],
        );
        check(
            "json = { \"items[0].name\" = \"Teapot\", n = { min = 1, max = 2 } }",
            200,
            r#"{"items": [{"name": "Teapot"}], "n": 1.5}"#,
            &[],
        );
        check(
            "json = { a = \"/^ok$/\", b = 1, c = { length_min = 2 }, d = { exists = false } }",
            200,
            r#"{"a": "ok", "b": 1.0, "c": [1, 2]}"#,
            &[],
        );
        check("json = { a = true }", 200, r#"{"a": false}"#, &["a is not true"]);
        check("json = { a = { contains = \"x\" } }", 200, r#"{"a": ["y"]}"#, &["a is not contains x"]);
        check("json = { a = 1 }", 200, "{}", &["a is missing"]);
        check("json = { a = 1 }", 200, "<p>", &["the body is no JSON"]);
        check("json = { a = { most = 1 } }", 200, "{}", &["a: there is no rule `most`"]);
        check("release = true", 200, r#"{"commit": "0123456"}"#, &[]);
        check("release = true", 200, r#"{"version": "v1.4.0"}"#, &[]);
        check("release = true", 200, r#"{"commit": "fedcba9"}"#, &["answers for fedcba9, not 0123456789ab"]);
        check("release = true", 200, "{}", &["names neither version nor commit"]);
    }

    #[test]
    fn places_are_filled_and_foreign_secrets_refused() {
        let known = BTreeMap::from([("run".to_string(), "r1".to_string())]);
        assert_eq!(fill("/x/hc-{run}?a={run}", &known).unwrap(), "/x/hc-r1?a=r1");
        assert_eq!(fill("{\"a\": 1}", &known).unwrap(), "{\"a\": 1}");
        assert!(fill("/x/{order}", &known).unwrap_err().contains("{order} is not known"));
        assert!(fill("${env:HOME}", &known).is_err());
        assert!(fill("${env:SMOKE_NOT_SET_ANYWHERE}", &known).unwrap_err().contains("SMOKE_NOT_SET_ANYWHERE"));
        let item = |text: &str| toml::from_str::<Item>(text).unwrap();
        assert_eq!(foreign_secret(&item("send_json = { a = [\"${env:HOME}\"] }")).as_deref(), Some("HOME"));
        assert_eq!(foreign_secret(&item("headers = { a = \"${file:/etc/passwd}\" }")).as_deref(), Some("/etc/passwd"));
        assert_eq!(foreign_secret(&item("headers = { a = \"${env:SMOKE_KEY}\" }")), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(path in "[a-z.\\[\\]0-9\u{e4}]{0,12}", text in "[${}a-z:\u{e4}]{0,20}") {
            let json = serde_json::json!({"a": [{"b": 1}]});
            let _ = (at(&json, &path), fill(&text, &BTreeMap::new()));
        }
    }
}
