//! OpenAPI 3.0 and 3.1, Swagger 2.0: a document's operations. References inside the document are followed, bounded; what
//! is malformed is left out, for a document that somebody serves is no contract with us.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use url::Url;

use super::{Body, FILE_BYTES_MAX, Operation, Param, Place, Source};
use crate::gates::context::Repo;
use crate::gates::import::yaml;
use crate::net::Request;
use crate::net::safety::Prober;

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// Where services serve their own document.
const PATHS: [&str; 8] = [
    "openapi.json",
    "v3/api-docs",
    "swagger.json",
    "api-docs",
    "swagger/v1/swagger.json",
    "api/openapi.json",
    "openapi.yaml",
    "api/schema/?format=json",
];
/// Schemas refer to each other, and to themselves.
const DEPTH_MAX: usize = 12;
/// Parts of one schema that are written out.
const NODES_MAX: usize = 2000;

/// A document of the repository.
pub fn file(repo: &Repo, path: &str) -> Result<Vec<Operation>, String> {
    let text = repo.read_text(path, FILE_BYTES_MAX).map_err(|e| e.to_string())?;
    let document = parse(&text, path.ends_with(".json")).ok_or("neither JSON nor YAML")?;
    let mut operations = read(&document);
    for operation in &mut operations {
        operation.place = Some((path.to_string(), line_of(&text, &operation.template, &document)));
    }
    Ok(operations)
}

/// The document that the service itself serves: its path and operations.
pub(super) async fn live(prober: &Prober, base: &Url, unread: &mut Vec<String>) -> Option<(String, Vec<Operation>)> {
    for path in PATHS {
        let url = base.join(path).ok()?;
        // Documents of large products have several hundred KiB; the guard's own limit is 1 MiB.
        let request = Request::get(url).header("accept", "application/json, application/yaml");
        let answer = match prober.send(request).await {
            Ok(answer) => answer,
            Err(error) => {
                unread.push(format!("GET /{path}: {error}"));
                continue;
            }
        };
        if answer.status != 200 {
            continue;
        }
        let text = answer.text();
        let Some(document) = parse(&text, !path.ends_with(".yaml")) else { continue };
        if document["paths"].is_object() && (document["openapi"].is_string() || document["swagger"].is_string()) {
            return Some((format!("/{path}"), read(&document)));
        }
    }
    None
}

/// The document of a file or an answer.
pub fn parse(text: &str, json: bool) -> Option<Json> {
    match json {
        true => serde_json::from_str(text).ok(),
        false => yaml::documents(text).ok().and_then(|all| all.into_iter().next()),
    }
}

/// Every operation of a document. Pure.
pub fn read(document: &Json) -> Vec<Operation> {
    let base = base(document);
    let mut out = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten().filter(|(path, _)| path.starts_with('/')) {
        let item = follow(document, item);
        for method in METHODS.iter().filter(|method| item[**method].is_object()) {
            out.push(operation(document, &format!("{base}{path}"), method, item));
        }
    }
    out
}

fn operation(document: &Json, template: &str, method: &str, item: &Json) -> Operation {
    let own = &item[method];
    let mut out = Operation::new(method, template, Source::OpenApi);
    // The operation's parameters win over those of its path.
    let mut params: BTreeMap<(Place, String), Param> = BTreeMap::new();
    for raw in
        [&item["parameters"], &own["parameters"]].into_iter().flat_map(|list| list.as_array().into_iter().flatten())
    {
        let raw = follow(document, raw);
        let name = raw["name"].as_str().unwrap_or_default();
        match raw["in"].as_str().unwrap_or_default() {
            "body" => out.body = Some(body("application/json", document, raw, raw["required"] == true)),
            "formData" => form(&mut out.body, document, raw, name),
            place => {
                let place = match place {
                    "path" => Place::Path,
                    "query" => Place::Query,
                    "header" => Place::Header,
                    "cookie" => Place::Cookie,
                    _ => continue,
                };
                params.insert((place, name.to_string()), param(document, raw, name, place));
            }
        }
    }
    // A template's parameters that the document does not describe are parameters all the same.
    for name in names(template) {
        params.entry((Place::Path, name.clone())).or_insert_with(|| super::values::in_path(&name));
    }
    out.params = params.into_values().collect();
    let request = follow(document, &own["requestBody"]);
    if let Some((media, content)) = preferred(&request["content"]) {
        out.body = Some(body(media, document, content, request["required"] == true));
    }
    out.answer = answer(document, &own["responses"]);
    out.guarded = guarded(document, own);
    out
}

fn param(document: &Json, raw: &Json, name: &str, place: Place) -> Param {
    let schema = match raw.get("schema").or_else(|| preferred(&raw["content"]).map(|(_, c)| &c["schema"])) {
        Some(schema) => whole(document, schema),
        // Swagger 2 keeps the type beside the name.
        None => {
            let parts = [
                "type",
                "format",
                "enum",
                "minimum",
                "maximum",
                "pattern",
                "minLength",
                "maxLength",
                "default",
                "items",
            ];
            let own = parts.iter().filter_map(|key| Some((key.to_string(), raw.get(*key)?.clone())));
            Json::Object(own.collect())
        }
    };
    let named = raw["examples"].as_object().and_then(|all| all.values().next()).map(|first| &first["value"]);
    let example = [Some(&raw["example"]), named, Some(&schema["example"]), Some(&schema["examples"][0])]
        .into_iter()
        .flatten()
        .find_map(super::values::text);
    Param { name: name.to_string(), place, required: raw["required"] == true || place == Place::Path, schema, example }
}

fn body(media: &str, document: &Json, content: &Json, required: bool) -> Body {
    let schema = whole(document, &content["schema"]);
    let named = content["examples"].as_object().and_then(|all| all.values().next()).map(|first| &first["value"]);
    let example = [Some(&content["example"]), named, Some(&schema["example"])]
        .into_iter()
        .flatten()
        .find(|value| !value.is_null())
        .cloned();
    Body { media: media.to_string(), schema, required, example }
}

/// Swagger 2 describes a form field by field.
fn form(body: &mut Option<Body>, document: &Json, raw: &Json, name: &str) {
    let body = body.get_or_insert_with(|| Body {
        media: "application/x-www-form-urlencoded".into(),
        schema: json!({ "type": "object", "properties": {}, "required": [] }),
        required: true,
        example: None,
    });
    if raw["type"] == "file" {
        body.media = "multipart/form-data".into();
    }
    body.schema["properties"][name] = param(document, raw, name, Place::Query).schema;
    if raw["required"] == true
        && let Some(required) = body.schema["required"].as_array_mut()
    {
        required.push(json!(name));
    }
}

/// The content that is tried first: JSON, else a form, else whichever is there.
fn preferred(content: &Json) -> Option<(&str, &Json)> {
    let all = content.as_object()?;
    let is = |wanted: fn(&str) -> bool| all.iter().find(move |(media, _)| wanted(media));
    let first = is(|m| m.starts_with("application/json") || m.ends_with("+json"))
        .or_else(|| is(|m| m.starts_with("application/x-www-form-urlencoded")))
        .or_else(|| all.iter().next());
    first.map(|(media, content)| (media.as_str(), content))
}

fn answer(document: &Json, responses: &Json) -> Option<Json> {
    let all = responses.as_object()?;
    let good =
        all.iter().find(|(status, _)| status.starts_with('2')).or_else(|| all.iter().find(|(s, _)| *s == "default"))?;
    let good = follow(document, good.1);
    let schema = preferred(&good["content"]).map(|(_, content)| &content["schema"]).unwrap_or(&good["schema"]);
    (!schema.is_null()).then(|| whole(document, schema))
}

/// `security: []` opens an operation; `{}` among the choices does too. `None`: the document knows no security at all.
fn guarded(document: &Json, own: &Json) -> Option<bool> {
    let choices = own.get("security").or_else(|| document.get("security"));
    match choices.and_then(Json::as_array) {
        Some(choices) => {
            Some(!choices.is_empty() && !choices.iter().any(|choice| choice.as_object().is_some_and(|c| c.is_empty())))
        }
        // Schemes are declared, and this operation asks for none of them.
        None if document["components"]["securitySchemes"].is_object()
            || document["securityDefinitions"].is_object() =>
        {
            Some(false)
        }
        None => None,
    }
}

/// What `$ref` stands for, where it stays inside the document.
fn follow<'d>(document: &'d Json, value: &'d Json) -> &'d Json {
    let mut value = value;
    for _ in 0..DEPTH_MAX {
        let Some(to) = value["$ref"].as_str().and_then(|to| to.strip_prefix('#')) else { return value };
        match document.pointer(to) {
            Some(found) => value = found,
            None => return value,
        }
    }
    value
}

/// A schema with its references written out, as deep as [`DEPTH_MAX`] and as large as [`NODES_MAX`]; beyond, empty ones.
fn whole(document: &Json, schema: &Json) -> Json {
    let mut left = NODES_MAX;
    written(document, schema, 0, &mut left)
}

fn written(document: &Json, schema: &Json, depth: usize, left: &mut usize) -> Json {
    if depth >= DEPTH_MAX || *left == 0 {
        return json!({});
    }
    *left -= 1;
    match follow(document, schema) {
        Json::Object(parts) => {
            let mut out = serde_json::Map::new();
            for (key, value) in parts.iter().filter(|(key, _)| !matches!(key.as_str(), "description" | "title" | "xml"))
            {
                out.insert(key.clone(), written(document, value, depth + 1, left));
            }
            // What all of several schemas ask is asked of one object.
            if let Some(Json::Array(all)) = out.remove("allOf") {
                for part in all {
                    join(&mut out, part);
                }
            }
            Json::Object(out)
        }
        Json::Array(parts) => parts.iter().map(|part| written(document, part, depth, left)).collect(),
        plain => plain.clone(),
    }
}

fn join(into: &mut serde_json::Map<String, Json>, part: Json) {
    let Json::Object(part) = part else { return };
    for (key, value) in part {
        match (into.get_mut(&key), value) {
            (Some(Json::Object(own)), Json::Object(more)) => own.extend(more),
            (Some(Json::Array(own)), Json::Array(more)) => own.extend(more),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The path of the first server (OpenAPI 3), or `basePath` (Swagger 2).
pub fn base(document: &Json) -> String {
    let server = document["servers"][0]["url"].as_str().unwrap_or_default();
    let path = match server.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => server,
    };
    let path = if path.is_empty() { document["basePath"].as_str().unwrap_or_default() } else { path };
    let path = path.trim_end_matches('/');
    if path.starts_with('/') && !path.contains('{') { path.to_string() } else { String::new() }
}

/// Names between braces, in order.
pub fn names(template: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        out.push(name.to_string());
        rest = after;
    }
    out
}

fn line_of(text: &str, template: &str, document: &Json) -> u32 {
    let base = base(document);
    let path = template.strip_prefix(&base).unwrap_or(template);
    yaml::line_of(text, path, 1, 0)
}
