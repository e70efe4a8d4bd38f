//! The odd requests of one operation. Pure: an operation in, requests out.

use serde_json::{Value as Json, json};

use crate::gates::inventory::{Operation, Param, Place, values};

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Case {
    /// `page=-1`, `body cut short`: as findings name it.
    pub(super) what: String,
    /// The parameter or the body's field; empty for the whole request.
    pub(super) part: String,
    pub(super) method: String,
    /// Path and query, encoded.
    pub(super) path: String,
    /// Media type and bytes.
    pub(super) body: Option<(&'static str, String)>,
    /// What is documented forbids it: a success is wrong.
    pub(super) invalid: bool,
    /// The method is what is odd.
    pub(super) other_method: bool,
}

/// Stands for bytes that are no UTF-8, which no text can hold.
const RAW: &str = "hcrawbytes";
/// Nobody's id, in any type: the last but one of 32 bits, a nil UUID, a word.
const NOBODY: i64 = 2_147_483_646;
const NIL: &str = "00000000-0000-4000-8000-00000000dead";
/// Longer than any column, shorter than what servers take as a request line.
const LONG: usize = 10_000;
/// Levels of nesting that recursive parsers stumble on.
const DEPTH: usize = 200;

/// The request that shall be fine. `None` for unsafe methods, which are never sent anything valid.
pub(super) fn valid(operation: &Operation) -> Option<String> {
    operation.is_safe().then(|| values::path(operation, |_| None))
}

/// At most `max` odd requests; `offered` are the methods known of this path.
pub(super) fn cases(operation: &Operation, offered: &[&str], canary: &str, max: usize) -> Vec<Case> {
    let mut per_part: Vec<Vec<Case>> = Vec::new();
    if operation.is_safe() {
        for param in operation.params.iter().filter(|p| matches!(p.place, Place::Path | Place::Query)) {
            per_part.push(of_param(operation, param, canary));
        }
        if per_part.is_empty() {
            let path = values::path(operation, |_| None);
            let mark = if path.contains('?') { '&' } else { '?' };
            per_part.push(vec![
                case(operation, "an unknown parameter that is no text", "hc", format!("{path}{mark}hc=%FF%FE")),
                case(
                    operation,
                    "an unknown parameter of 10,000 characters",
                    "hc",
                    format!("{path}{mark}hc={}", "a".repeat(LONG)),
                ),
            ]);
        }
    } else {
        per_part.push(of_body(operation, canary));
        if operation.method == "DELETE" {
            per_part = vec![vec![case(operation, "an id that does not exist", "", nowhere(operation, canary))]];
        }
    }
    per_part.push(vec![not_offered(operation, offered, canary)]);
    // In turns, so that the limit takes from all parameters alike.
    let longest = per_part.iter().map(Vec::len).max().unwrap_or(0);
    let turns = (0..longest).flat_map(|nth| per_part.iter().filter_map(move |cases| cases.get(nth)));
    turns.take(max).cloned().collect()
}

fn case(operation: &Operation, what: impl Into<String>, part: &str, path: String) -> Case {
    Case {
        what: what.into(),
        part: part.into(),
        method: operation.verb().into(),
        path,
        body: None,
        invalid: false,
        other_method: false,
    }
}

/// May it be asked at all? Unsafe ones need a body to be wrong about, or an id to miss.
pub(super) fn askable(operation: &Operation) -> bool {
    match operation.method.as_str() {
        "POST" | "PUT" | "PATCH" => true,
        "DELETE" => operation.template.contains('{'),
        _ => operation.is_safe(),
    }
}

fn kind(schema: &Json) -> &str {
    schema["type"].as_str().unwrap_or_default()
}

fn of_param(operation: &Operation, param: &Param, canary: &str) -> Vec<Case> {
    let name = param.name.as_str();
    let lower = name.to_ascii_lowercase();
    let format = param.schema["format"].as_str().unwrap_or_default();
    let (number, whole) = (matches!(kind(&param.schema), "integer" | "number"), kind(&param.schema) == "integer");
    let choice = param.schema["enum"].is_array()
        || matches!(kind(&param.schema), "boolean")
        || matches!(format, "uuid" | "date" | "date-time");
    let in_query = param.place == Place::Query;
    // Value, how it is called, does the schema forbid it?
    let mut odd: Vec<(String, String, bool)> = Vec::new();
    let mut add = |value: &str, invalid: bool| odd.push((value.into(), format!("{name}={value}"), invalid));
    add(&format!("{canary}-x"), number || choice);
    add("-1", choice || param.schema["minimum"].as_f64().is_some_and(|least| least > -1.0));
    add("0", param.schema["minimum"].as_f64().is_some_and(|least| least > 0.0));
    for value in ["NaN", "1e309"] {
        add(value, whole || choice);
    }
    for value in ["2147483648", "9007199254740993", "1.5"] {
        add(value, choice || (whole && value == "1.5"));
    }
    if format.starts_with("date") || lower.contains("date") || lower.contains("since") {
        for value in ["2025-02-29", "9999-12-31"] {
            add(value, format == "date" && value == "2025-02-29");
        }
    }
    if ["limit", "size", "page", "offset", "count"].iter().any(|word| lower.contains(word)) {
        add("1000000", param.schema["maximum"].as_f64().is_some_and(|most| most < 1e6));
    }
    let mut add = |value: String, what: &str, invalid: bool| odd.push((value, format!("{name} {what}"), invalid));
    add(RAW.into(), "of bytes that are no UTF-8", false);
    add("\0".into(), "of a zero byte", number || choice);
    add("a".repeat(LONG), "of 10,000 characters", number || choice);
    add("🫖é\u{0301}".into(), "of astral and combining characters", number || choice);
    add("\u{202e}hc".into(), "with a right-to-left override", number || choice);
    if in_query {
        add(String::new(), "empty", (number || choice) && param.required);
        add("   ".into(), "of blanks", number || choice);
    }
    let mut out: Vec<Case> = odd
        .into_iter()
        .map(|(value, what, invalid)| {
            let chosen = |p: &Param| (p.name == param.name && p.place == param.place).then(|| value.clone());
            let path = values::path(operation, chosen).replace(RAW, "%FF%FE");
            Case { invalid, ..case(operation, what, name, path) }
        })
        .collect();
    if in_query {
        let path = values::path(operation, |_| None);
        let (bare, rest) = without(&path, name);
        let mark = if bare.contains('?') { '&' } else { '?' };
        let key: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
        let missing = Case { invalid: param.required, ..case(operation, format!("{name} absent"), name, bare.clone()) };
        out.insert(1, missing);
        let list = format!("{bare}{mark}{key}[]=1&{key}[a]=1");
        out.push(case(operation, format!("{name} as a list"), name, list));
        let value = rest.unwrap_or_else(|| values::plausible(param));
        let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        out.push(case(operation, format!("{name} twice"), name, format!("{bare}{mark}{key}={value}&{key}=hc")));
    }
    out
}

/// The path without one parameter of its query, and the value that it had.
fn without(path: &str, name: &str) -> (String, Option<String>) {
    let Some((bare, query)) = path.split_once('?') else { return (path.to_string(), None) };
    let all: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let had = all.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let kept: Vec<_> = all.into_iter().filter(|(n, _)| n != name).collect();
    if kept.is_empty() {
        return (bare.to_string(), had);
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&kept).finish();
    (format!("{bare}?{query}"), had)
}

/// The path with an id that nobody has.
fn nowhere(operation: &Operation, canary: &str) -> String {
    let nobody = |param: &Param| match (kind(&param.schema), param.schema["format"].as_str()) {
        ("integer" | "number", _) => NOBODY.to_string(),
        (_, Some("uuid")) => NIL.to_string(),
        _ => format!("{canary}-none"),
    };
    values::path(operation, |param| (param.place == Place::Path).then(|| nobody(param)))
}

fn of_body(operation: &Operation, canary: &str) -> Vec<Case> {
    const JSON: &str = "application/json";
    let path = nowhere(operation, canary);
    let one = |what: &str, part: &str, media: &'static str, text: String| Case {
        body: Some((media, text)),
        invalid: true,
        ..case(operation, what, part, path.clone())
    };
    let mut out = vec![
        one("a body cut short", "body", JSON, "{\"hc\": ".into()),
        one("null as the body", "body", JSON, "null".into()),
        one("a body 200 levels deep", "body", JSON, "[".repeat(DEPTH) + &"]".repeat(DEPTH)),
        one("a body of another media type", "body", "application/xml", "<hc/>".into()),
        one("a body that is no UTF-8 text of JSON", "body", JSON, "\u{feff}\u{202e}🫖".into()),
        one("a number as the body", "body", JSON, "1e309".into()),
    ];
    let Some(body) = operation.body.as_ref().filter(|b| b.media.contains("json")) else { return out };
    if body.required {
        out.push(one("an empty body", "body", JSON, String::new()));
    }
    let whole = values::body(body);
    let Some(fields) = whole.as_object() else { return out };
    let required: Vec<&str> =
        body.schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
    if !required.is_empty() {
        out.push(one("an empty object as the body", "body", JSON, "{}".into()));
    }
    for name in &required {
        let rest: serde_json::Map<String, Json> =
            fields.iter().filter(|(n, _)| n != name).map(|(n, v)| (n.clone(), v.clone())).collect();
        out.push(one(&format!("{name} absent"), name, JSON, Json::Object(rest).to_string()));
    }
    for (name, schema) in body.schema["properties"].as_object().into_iter().flatten() {
        let wrong = match kind(schema) {
            "string" => vec![json!({ "hc": 1 }), json!(7)],
            "integer" | "number" => vec![json!("hc"), json!([1])],
            "boolean" => vec![json!("hc")],
            "array" => vec![json!("hc"), json!(7)],
            "object" => vec![json!("hc")],
            _ => continue,
        };
        for wrong in wrong.into_iter().chain(required.contains(&name.as_str()).then_some(Json::Null)) {
            if wrong.is_null() && schema["nullable"] == true {
                continue;
            }
            let mut changed = fields.clone();
            changed.insert(name.clone(), wrong.clone());
            out.push(one(&format!("{name}: {wrong}"), name, JSON, Json::Object(changed).to_string()));
        }
        if let Some(longest) = schema["maxLength"].as_u64().filter(|n| *n < LONG as u64) {
            let mut changed = fields.clone();
            changed.insert(name.clone(), json!("🫖".repeat(longest as usize + 1)));
            out.push(one(
                &format!("{name} of {} characters", longest + 1),
                name,
                JSON,
                Json::Object(changed).to_string(),
            ));
        }
    }
    out
}

/// A method that this path does not offer: GET where there is none, else PROPFIND, which is safe (RFC 4918, 9.1).
fn not_offered(operation: &Operation, offered: &[&str], canary: &str) -> Case {
    let reads = offered.iter().any(|m| matches!(*m, "GET" | "HEAD" | "ANY"));
    let method = if reads { "PROPFIND" } else { "GET" };
    let path = nowhere(operation, canary);
    Case {
        method: method.into(),
        other_method: true,
        ..case(operation, format!("{method}, which is not offered"), "", path)
    }
}
