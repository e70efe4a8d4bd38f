//! Values for parameters: what was seen, what is documented, what a schema allows. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};

use super::{Body, Operation, Param, Place};

/// Schemas may be recursive, documents of strangers too.
const DEPTH_MAX: usize = 6;

/// What a segment of a path may hold as it is (RFC 3986, 2.3).
const SEGMENT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A parameter of a path of which only the name is known.
pub fn in_path(name: &str) -> Param {
    Param { name: name.to_string(), place: Place::Path, required: true, schema: Json::Null, example: None }
}

/// A plain value as it stands in a URL.
pub fn text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(yes) => Some(yes.to_string()),
        _ => None,
    }
}

/// A value that the parameter's schema allows: what was seen or documented first.
pub fn plausible(param: &Param) -> String {
    let known = param.example.clone().or_else(|| text(&param.schema["default"]));
    known.or_else(|| text(&valid(&param.schema))).unwrap_or_else(|| by_name(&param.name).into())
}

/// Words that names promise, where no schema tells.
fn by_name(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let has = |word: &str| name.contains(word);
    match () {
        () if has("email") => "hc@example.invalid",
        () if has("date") => "2026-01-31",
        () if has("limit") || has("size") || has("page") || has("offset") || name == "n" => "1",
        () if name == "q" || has("search") || has("query") || has("name") || has("term") => "a",
        () => "1",
    }
}

/// A value that a JSON Schema allows, as small as it goes.
pub fn valid(schema: &Json) -> Json {
    made(schema, 0)
}

fn made(schema: &Json, depth: usize) -> Json {
    for known in [&schema["example"], &schema["const"], &schema["default"], &schema["examples"][0], &schema["enum"][0]]
    {
        if !known.is_null() {
            return known.clone();
        }
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(first) = schema[choice].as_array().and_then(|all| all.iter().find(|s| s["type"] != "null")) {
            return made(first, depth + 1);
        }
    }
    // OpenAPI 3.1 may name several types.
    let kind = schema["type"]
        .as_str()
        .or_else(|| schema["type"].as_array()?.iter().filter_map(Json::as_str).find(|t| *t != "null"));
    match kind {
        Some("object") => object(schema, depth),
        None if schema["properties"].is_object() => object(schema, depth),
        Some("array") if depth < DEPTH_MAX && schema["minItems"].as_u64().unwrap_or(0) > 0 => {
            json!([made(&schema["items"], depth + 1)])
        }
        Some("array") => json!([]),
        Some("integer") => json!(least(schema).map_or(1, |least| least.ceil() as i64)),
        Some("number") => json!(least(schema).unwrap_or(1.0)),
        Some("boolean") => json!(true),
        Some("string") => json!(word(schema)),
        _ => Json::Null,
    }
}

fn object(schema: &Json, depth: usize) -> Json {
    let mut out = serde_json::Map::new();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        if depth < DEPTH_MAX && (required.is_empty() || required.contains(&name.as_str())) && part["readOnly"] != true {
            out.insert(name.clone(), made(part, depth + 1));
        }
    }
    Json::Object(out)
}

fn least(schema: &Json) -> Option<f64> {
    let above = schema["exclusiveMinimum"].as_f64().map(|least| least + 1.0);
    let least = schema["minimum"].as_f64().or(above)?;
    Some(if least > 1.0 { least } else { 1.0f64.min(schema["maximum"].as_f64().unwrap_or(1.0)) })
}

fn word(schema: &Json) -> String {
    let plain = match schema["format"].as_str().unwrap_or_default() {
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "date" => "2026-01-31",
        "date-time" => "2026-01-31T12:00:00Z",
        "email" => "hc@example.invalid",
        "uri" | "url" => "https://example.invalid/",
        "ipv4" => "192.0.2.1",
        "byte" => "aGM=",
        _ => "hc-probe",
    };
    let longest = schema["maxLength"].as_u64().unwrap_or(64).min(64) as usize;
    let shortest = schema["minLength"].as_u64().unwrap_or(0).min(64) as usize;
    let mut out: String = plain.chars().take(longest.max(1)).collect();
    while out.len() < shortest {
        out.push('a');
    }
    out
}

/// A body that the schema allows: the documented example first.
pub fn body(body: &Body) -> Json {
    body.example.clone().unwrap_or_else(|| valid(&body.schema))
}

/// A path with its query as a valid request has it: seen once, or filled in. `choose` may give a parameter another value;
/// `None` from it means the plausible one.
pub fn path(operation: &Operation, choose: impl Fn(&Param) -> Option<String>) -> String {
    let seen = operation.seen.first().map(|seen| seen.split_once('?').unwrap_or((seen, "")));
    let chosen: Vec<(&Param, Option<String>)> = operation.params.iter().map(|param| (param, choose(param))).collect();
    let in_path = chosen.iter().any(|(param, value)| param.place == Place::Path && value.is_some());
    let mut out = match seen {
        Some((path, _)) if !in_path => path.to_string(),
        _ => filled(operation, &chosen),
    };
    let mut query: Vec<(String, String)> = Vec::new();
    if let Some((_, seen)) = seen {
        query.extend(url::form_urlencoded::parse(seen.as_bytes()).into_owned());
    }
    for (param, value) in chosen.iter().filter(|(param, _)| param.place == Place::Query) {
        let known = query.iter_mut().find(|(name, _)| *name == param.name);
        match (known, value) {
            (Some(known), Some(value)) => known.1 = value.clone(),
            (None, Some(value)) => query.push((param.name.clone(), value.clone())),
            (None, None) if param.required => query.push((param.name.clone(), plausible(param))),
            _ => {}
        }
    }
    if !query.is_empty() {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&query).finish();
        out.push('?');
        out.push_str(&query);
    }
    out
}

/// A value as a segment of a path.
pub fn segment(value: &str) -> String {
    utf8_percent_encode(value, &SEGMENT).to_string()
}

fn filled(operation: &Operation, chosen: &[(&Param, Option<String>)]) -> String {
    let mut out = String::new();
    let mut rest = operation.template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else { break };
        let param = chosen.iter().find(|(param, _)| param.place == Place::Path && param.name == name);
        let value = match param {
            Some((_, Some(value))) => value.clone(),
            Some((param, None)) => plausible(param),
            None => by_name(name).to_string(),
        };
        out.push_str(&segment(&value));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn param(name: &str, place: Place, schema: Json) -> Param {
        Param { name: name.into(), place, required: true, schema, example: None }
    }

    #[test]
    fn a_request_is_filled_in_from_what_is_known() {
        let mut operation = Operation::new("GET", "/u/{id}/f/{name}", Source::OpenApi);
        operation.params.push(param("id", Place::Path, json!({ "type": "integer", "minimum": 100 })));
        operation.params.push(param("name", Place::Path, Json::Null));
        operation.params.push(param("since", Place::Query, json!({ "type": "string", "format": "date" })));
        assert_eq!(path(&operation, |_| None), "/u/100/f/a?since=2026-01-31");
        let odd = path(&operation, |p| (p.name == "name").then(|| "a/b ü'".to_string()));
        assert_eq!(odd, "/u/100/f/a%2Fb%20%C3%BC%27?since=2026-01-31");
        operation.seen.push("/u/7/f/x?since=2020-01-01&p=2".into());
        assert_eq!(path(&operation, |_| None), "/u/7/f/x?since=2020-01-01&p=2");
        assert_eq!(path(&operation, |p| (p.place == Place::Query).then(|| "'".to_string())), "/u/7/f/x?since=%27&p=2");
    }

    #[test]
    fn a_body_holds_what_the_schema_asks_and_no_more() {
        let schema = json!({ "type": "object", "required": ["name", "age", "tags", "kind", "when"], "properties": {
            "name": { "type": "string", "minLength": 12 }, "age": { "type": "integer", "minimum": 18 },
            "tags": { "type": "array", "minItems": 1, "items": { "type": "string", "maxLength": 2 } },
            "kind": { "enum": ["tea", "cup"] }, "note": { "type": "string" },
            "when": { "type": ["null", "string"], "format": "date" },
        }});
        let expect = json!({ "name": "hc-probeaaaa", "age": 18, "tags": ["hc"], "kind": "tea", "when": "2026-01-31" });
        assert_eq!(valid(&schema), expect);
    }
}
