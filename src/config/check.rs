//! Walks what the user wrote along the configuration's JSON Schema: unknown keys with the nearest known one, wrong types,
//! unknown words, missing keys, literal secrets, all at once; and returns the expanded value ready for serde.
//!
//! Three formats mean more than their type here: `secret` (a reference that stays one), `path` (relative to the file it
//! stands in) and `uri`. Knows no room: everything comes from the schema.

use std::path::Path;

use serde_json::{Map, Value as Json};

use super::dom::{Node, Place, SourceFile, Value};
use super::expand::{Environment, expand};
use super::explain::Diagnostic;
use crate::domain::secret::Secret;

/// Where in the tree: keys and indices.
pub type Trail = Vec<String>;

/// What the walk found out.
#[derive(Debug, Default)]
pub struct Checked {
    pub diagnostics: Vec<Diagnostic>,
    /// Values that were expanded or resolved, as written: what `config show` and the hash use.
    pub written: Vec<(Trail, String)>,
    /// Every secret reference, resolved against its file.
    pub secrets: Vec<(Secret, Place)>,
    /// Byte ranges per file that must not be shown.
    pub masked: Vec<Place>,
    /// Entries with something wrong in them.
    pub wrong: Vec<Trail>,
}

pub struct Walk<'a> {
    pub schema: &'a Json,
    pub files: &'a [SourceFile],
    pub env: &'a dyn Environment,
    pub found: Checked,
}

impl Walk<'_> {
    /// The value for serde, without what is wrong in it; `None` when the whole is unusable.
    pub fn value(&mut self, node: &Node, schema: &Json, trail: &mut Trail) -> Option<Json> {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array()) {
            let choices: Vec<Json> = choices.iter().map(|c| self.resolve(c)).filter(|c| c["type"] != "null").collect();
            return match &choices[..] {
                [one] => self.value(node, &with_format(one, &schema), trail),
                _ => self.choice(node, &choices, trail),
            };
        }
        match &node.value {
            Value::Table(map) => {
                if !self.takes(&schema, "object") {
                    return self.wrong_type(node, &schema, trail);
                }
                let mut out = Map::new();
                for (key, child) in map {
                    trail.push(key.clone());
                    let known = schema["properties"].get(key);
                    let other = schema.get("additionalProperties");
                    let value = match (known, other) {
                        (Some(sub), _) => self.value(child, &sub.clone(), trail),
                        (None, Some(Json::Bool(false))) => {
                            self.unknown_key(key, child, map, &schema, trail);
                            None
                        }
                        (None, Some(sub @ Json::Object(_))) => self.value(child, &sub.clone(), trail),
                        (None, _) => self.any(child, trail),
                    };
                    if let Some(value) = value {
                        out.insert(key.clone(), value);
                    }
                    trail.pop();
                }
                self.missing_keys(node, map, &schema, trail);
                Some(Json::Object(out))
            }
            Value::Array(items) => {
                if !self.takes(&schema, "array") {
                    return self.wrong_type(node, &schema, trail);
                }
                // `format` on a list means its items.
                let item = with_format(schema.get("items").unwrap_or(&Json::Bool(true)), &schema);
                let mut out = Vec::new();
                for (index, child) in items.iter().enumerate() {
                    trail.push(index.to_string());
                    // A wrong item leaves a hole, so that later indices still name the right item.
                    out.push(self.value(child, &item, trail).unwrap_or(Json::Null));
                    trail.pop();
                }
                let wrong = out.iter().any(Json::is_null);
                (!wrong).then_some(Json::Array(out))
            }
            Value::Text(text) => self.text(text, node, &schema, trail),
            Value::Integer(n) if self.takes(&schema, "integer") || self.takes(&schema, "number") => {
                self.in_range(*n as f64, node, &schema, trail).then(|| Json::from(*n))
            }
            Value::Float(n) if self.takes(&schema, "number") => {
                self.in_range(*n, node, &schema, trail).then(|| Json::from(*n))
            }
            Value::Boolean(b) if self.takes(&schema, "boolean") => Some(Json::from(*b)),
            _ => self.wrong_type(node, &schema, trail),
        }
    }

    fn resolve(&self, schema: &Json) -> Json {
        let mut schema = schema.clone();
        for _ in 0..8 {
            let Some(target) = schema["$ref"].as_str().and_then(|r| r.strip_prefix('#')) else { break };
            let resolved = self.schema.pointer(target).cloned().unwrap_or(Json::Bool(true));
            schema = with_format(&resolved, &schema);
        }
        schema
    }

    /// A secret, or an optional one.
    fn may_be_secret(&self, schema: &Json) -> bool {
        let schema = self.resolve(schema);
        let choices = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
        is_secret(&schema) || choices.iter().any(|c| is_secret(&self.resolve(c)))
    }

    fn takes(&self, schema: &Json, kind: &str) -> bool {
        match &schema["type"] {
            Json::String(one) => one == kind,
            Json::Array(many) => many.iter().any(|t| t == kind),
            // A schema without a type takes anything.
            _ => schema.get("const").is_none() && schema.get("enum").is_none(),
        }
    }

    fn wrong(&mut self, diagnostic: Diagnostic, trail: &Trail) -> Option<Json> {
        self.found.diagnostics.push(diagnostic);
        self.found.wrong.push(trail.clone());
        None
    }

    fn wrong_type(&mut self, node: &Node, schema: &Json, trail: &Trail) -> Option<Json> {
        let expected = expected(schema);
        if is_secret(schema) {
            self.found.masked.push(node.place.clone());
        }
        let mut diagnostic = Diagnostic::error(
            node.shown_at().clone(),
            format!("`{}` must be {expected}, not {}", last(trail), node.value.kind()),
        );
        if let Some(hint) = schema["description"].as_str().and_then(first_line) {
            diagnostic = diagnostic.hint(hint);
        }
        self.wrong(diagnostic, trail)
    }

    fn text(&mut self, text: &str, node: &Node, schema: &Json, trail: &mut Trail) -> Option<Json> {
        if is_secret(schema) {
            return self.secret(text, node, trail);
        }
        let dir = self.files.get(node.place.file).map(SourceFile::dir).unwrap_or(Path::new("")).to_path_buf();
        let expanded = match expand(text, &dir, self.env) {
            Ok(expanded) => expanded,
            Err(errors) => {
                for error in errors {
                    self.wrong(Diagnostic::error(node.place.clone(), error), trail);
                }
                return None;
            }
        };
        if expanded.is_some() {
            self.found.written.push((trail.clone(), text.to_string()));
        }
        let was_expanded = expanded.is_some();
        let text = expanded.unwrap_or_else(|| text.to_string());
        if !self.takes(schema, "string") && schema.get("const").is_none() && schema.get("enum").is_none() {
            // `port = "${env:PORT}"`: a reference may stand where a number is wanted.
            if was_expanded && let Some(value) = coerced(&text, |kind| self.takes(schema, kind)) {
                return Some(value);
            }
            return self.wrong_type(node, schema, trail);
        }
        let words = words_of(schema);
        if !words.is_empty() && !words.contains(&text.as_str()) {
            return self.unknown_word(&text, &words, node, trail);
        }
        match schema["format"].as_str() {
            Some("path") => {
                let resolved = dir.join(&text);
                if resolved.as_os_str() != text.as_str() && !was_expanded {
                    self.found.written.push((trail.clone(), text.clone()));
                }
                Some(Json::from(resolved.to_string_lossy().into_owned()))
            }
            Some("uri") => self.uri(&text, was_expanded, node, trail),
            _ => Some(Json::from(text)),
        }
    }

    fn uri(&mut self, text: &str, was_expanded: bool, node: &Node, trail: &Trail) -> Option<Json> {
        match url::Url::parse(text) {
            Ok(url) if url.password().is_some() => {
                if !was_expanded {
                    self.found.masked.push(node.place.clone());
                }
                let diagnostic = Diagnostic::error(node.place.clone(), format!("`{}` holds a password", last(trail)))
                    .hint("take it out of the URL and give it as a reference in a field of its own");
                self.wrong(diagnostic, trail)
            }
            Ok(_) => Some(Json::from(text)),
            Err(e) => {
                let diagnostic = Diagnostic::error(node.place.clone(), format!("`{}` is not a URL: {e}", last(trail)))
                    .hint("write it whole, for example https://shop.example/");
                self.wrong(diagnostic, trail)
            }
        }
    }

    fn secret(&mut self, text: &str, node: &Node, trail: &Trail) -> Option<Json> {
        let how = "write ${env:NAME}, ${file:PATH} or ${cred:NAME}";
        match Secret::parse(text) {
            Some(Secret::Env(name)) if name.contains(":-") => {
                self.found.masked.push(node.place.clone());
                let message = format!("`{}` is a secret: it cannot have a default in the file", last(trail));
                self.wrong(Diagnostic::error(node.place.clone(), message).hint(how), trail)
            }
            Some(secret) => {
                let resolved = match secret {
                    Secret::File(path) => {
                        let dir = self.files.get(node.place.file).map(SourceFile::dir).unwrap_or(Path::new(""));
                        Secret::File(dir.join(path))
                    }
                    other => other,
                };
                let shown = resolved.to_string();
                if shown != text {
                    self.found.written.push((trail.clone(), text.to_string()));
                }
                self.found.secrets.push((resolved, node.place.clone()));
                Some(Json::from(shown))
            }
            None => {
                self.found.masked.push(node.place.clone());
                let message = format!("`{}` is a secret and must not stand in the file", last(trail));
                self.wrong(Diagnostic::error(node.place.clone(), message).hint(how), trail)
            }
        }
    }

    fn in_range(&mut self, n: f64, node: &Node, schema: &Json, trail: &Trail) -> bool {
        let (mut low, mut high) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if let Some(bits) = schema["format"].as_str().and_then(|f| f.strip_prefix("uint")) {
            low = low.or(Some(0.0));
            high = high.or(bits.parse::<i32>().ok().map(|b| 2f64.powi(b) - 1.0));
        }
        let message = match (low, high) {
            (Some(low), _) if n < low => format!("`{}` must be at least {low}", last(trail)),
            (_, Some(high)) if n > high => format!("`{}` must be at most {high}", last(trail)),
            _ => return true,
        };
        self.wrong(Diagnostic::error(node.place.clone(), message), trail);
        false
    }

    fn unknown_word(&mut self, text: &str, words: &[&str], node: &Node, trail: &Trail) -> Option<Json> {
        let shown: String = text.chars().take(40).collect();
        let message = format!("`{}` cannot be `{shown}`", last(trail));
        let diagnostic = Diagnostic::error(node.place.clone(), message).hint(suggest(text, words, "one of"));
        self.wrong(diagnostic, trail)
    }

    fn unknown_key(
        &mut self,
        key: &str,
        node: &Node,
        table: &std::collections::BTreeMap<String, Node>,
        schema: &Json,
        trail: &Trail,
    ) {
        let all = keys_of(schema);
        let near = nearest(key, &all);
        let secret = near.is_some_and(|n| self.may_be_secret(&schema["properties"][n]));
        if secret || smells_secret(key) {
            self.found.masked.push(node.place.clone());
        }
        let holder = trail[..trail.len() - 1].join(".");
        let message = match holder.as_str() {
            "" => format!("unknown key `{key}`"),
            holder => format!("unknown key `{key}` in `{holder}`"),
        };
        let hint = match near {
            Some(near) if table.contains_key(near) => format!("did you mean `{near}`? it is set already"),
            Some(near) => format!("did you mean `{near}`?"),
            None if all.is_empty() => "nothing can be set here".into(),
            None => format!("known keys: {}", all.join(", ")),
        };
        let place = node.key.clone().unwrap_or_else(|| node.place.clone());
        self.wrong(Diagnostic::error(place, message).hint(hint), trail);
    }

    fn missing_keys(
        &mut self,
        node: &Node,
        map: &std::collections::BTreeMap<String, Node>,
        schema: &Json,
        trail: &Trail,
    ) {
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        for key in required.iter().filter_map(Json::as_str).filter(|k| !map.contains_key(*k)) {
            // A misspelt key was reported already; that its right spelling is missing follows from it.
            let known = keys_of(schema);
            let misspelt = map.keys().any(|k| !known.contains(&k.as_str()) && nearest(k, &[key]).is_some());
            let mut diagnostic = Diagnostic::error(
                node.shown_at().clone(),
                match last(trail) {
                    "" => format!("`{key}` is missing"),
                    _ => format!("`{}` needs `{key}`", trail.join(".")),
                },
            );
            if let Some(what) = schema["properties"][key]["description"].as_str().and_then(first_line) {
                diagnostic = diagnostic.hint(what);
            }
            if misspelt {
                self.found.wrong.push(trail.clone());
            } else {
                self.wrong(diagnostic, trail);
            }
        }
    }

    /// One of several shapes: words, `kind = { … }` tables, or plain types.
    fn choice(&mut self, node: &Node, choices: &[Json], trail: &mut Trail) -> Option<Json> {
        let kinds: Vec<(&str, &Json)> = choices.iter().filter_map(as_kind).collect();
        match &node.value {
            Value::Table(map) if !kinds.is_empty() => {
                let names: Vec<&str> = kinds.iter().map(|(k, _)| *k).collect();
                if map.len() > 1 && map.keys().all(|k| names.contains(&k.as_str())) {
                    let message = format!("`{}` takes one kind, not {}", trail.join("."), map.len());
                    return self.wrong(Diagnostic::error(node.shown_at().clone(), message), trail);
                }
                let Some((key, child)) = map.iter().next() else {
                    let message = format!("`{}` needs a kind", trail.join("."));
                    let diagnostic = Diagnostic::error(node.shown_at().clone(), message)
                        .hint(format!("one of {}", names.join(", ")));
                    return self.wrong(diagnostic, trail);
                };
                let mut out = None;
                for (key, child) in map {
                    trail.push(key.clone());
                    match kinds.iter().find(|(k, _)| k == key) {
                        Some((_, sub)) => {
                            out =
                                self.value(child, sub, trail).map(|v| Json::Object(Map::from_iter([(key.clone(), v)])));
                        }
                        None => {
                            if smells_secret(key) {
                                self.found.masked.push(child.place.clone());
                            }
                            let place = child.key.clone().unwrap_or_else(|| child.place.clone());
                            let message = format!("unknown kind `{key}` in `{}`", trail[..trail.len() - 1].join("."));
                            let diagnostic =
                                Diagnostic::error(place, message).hint(suggest(key, &names, "known kinds:"));
                            self.wrong(diagnostic, trail);
                        }
                    }
                    trail.pop();
                }
                let _ = (key, child);
                out
            }
            Value::Text(text) => {
                let words: Vec<&str> = choices.iter().flat_map(words_of).collect();
                let plain = choices.iter().find(|c| self.takes(c, "string") && words_of(c).is_empty());
                match plain {
                    Some(plain) => self.text(text, node, &plain.clone(), trail),
                    None if words.contains(&text.as_str()) => Some(Json::from(text.clone())),
                    None if !words.is_empty() => self.unknown_word(text, &words, node, trail),
                    None => self.none_fits(node, choices, trail),
                }
            }
            _ => {
                let kind = match &node.value {
                    Value::Table(_) => "object",
                    Value::Array(_) => "array",
                    Value::Integer(_) => "integer",
                    Value::Float(_) => "number",
                    Value::Boolean(_) => "boolean",
                    Value::Text(_) => "string",
                };
                let fits = |c: &&Json| self.takes(c, kind) || (kind == "integer" && self.takes(c, "number"));
                match choices.iter().find(fits).cloned() {
                    Some(fitting) => self.value(node, &fitting, trail),
                    None => self.none_fits(node, choices, trail),
                }
            }
        }
    }

    fn none_fits(&mut self, node: &Node, choices: &[Json], trail: &Trail) -> Option<Json> {
        let mut kinds: Vec<String> = choices.iter().map(expected).collect();
        kinds.dedup();
        let message = format!("`{}` must be {}, not {}", last(trail), kinds.join(" or "), node.value.kind());
        self.wrong(Diagnostic::error(node.shown_at().clone(), message), trail)
    }

    /// A value that the schema does not describe: expanded only.
    fn any(&mut self, node: &Node, trail: &mut Trail) -> Option<Json> {
        self.value(node, &Json::Bool(true), trail)
    }
}

/// `schema` with the `format` and `description` that stand beside its reference.
fn with_format(schema: &Json, beside: &Json) -> Json {
    let mut out = schema.clone();
    if let Json::Object(map) = &mut out {
        for key in ["format", "description"] {
            if !map.contains_key(key)
                && let Some(value) = beside.get(key)
            {
                map.insert(key.into(), value.clone());
            }
        }
    }
    out
}

fn is_secret(schema: &Json) -> bool {
    schema["format"] == "secret"
}

fn last(trail: &Trail) -> &str {
    // An item of a list is named by its list.
    trail.iter().rev().find(|p| p.parse::<usize>().is_err()).map(String::as_str).unwrap_or("")
}

fn keys_of(schema: &Json) -> Vec<&str> {
    schema["properties"].as_object().map(|m| m.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn words_of(schema: &Json) -> Vec<&str> {
    match (schema.get("const").and_then(Json::as_str), schema["enum"].as_array()) {
        (Some(word), _) => vec![word],
        (None, Some(words)) => words.iter().filter_map(Json::as_str).collect(),
        (None, None) => Vec::new(),
    }
}

/// An externally tagged variant: an object with exactly one, required, key.
fn as_kind(schema: &Json) -> Option<(&str, &Json)> {
    let (properties, required) = (schema["properties"].as_object()?, schema["required"].as_array()?);
    let (name, sub) = properties.iter().next()?;
    (properties.len() == 1 && required.len() == 1 && schema["additionalProperties"] == false)
        .then_some((name.as_str(), sub))
}

fn expected(schema: &Json) -> String {
    let words = words_of(schema);
    if !words.is_empty() {
        return words.join(" | ");
    }
    let one = |kind: &str| match kind {
        "object" => "a table".to_string(),
        "array" => "an array".into(),
        "integer" => "an integer".into(),
        "number" => "a number".into(),
        "boolean" => "true or false".into(),
        _ => "a string".into(),
    };
    match &schema["type"] {
        Json::String(kind) => one(kind),
        Json::Array(kinds) => {
            kinds.iter().filter_map(Json::as_str).filter(|k| *k != "null").map(one).collect::<Vec<_>>().join(" or ")
        }
        _ => "something else".into(),
    }
}

fn coerced(text: &str, takes: impl Fn(&str) -> bool) -> Option<Json> {
    let text = text.trim();
    if (takes("integer") || takes("number"))
        && let Ok(n) = text.parse::<i64>()
    {
        return Some(Json::from(n));
    }
    if takes("number")
        && let Ok(n) = text.parse::<f64>()
        && n.is_finite()
    {
        return Some(Json::from(n));
    }
    if takes("boolean")
        && let Ok(b) = text.parse::<bool>()
    {
        return Some(Json::from(b));
    }
    None
}

/// The known word closest to a misspelt one, when it is close enough to be meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&word, &k.to_lowercase().replace('-', "_")), *k))
        .filter(|(distance, k)| *distance <= (k.len().max(word.len()) / 3).max(1))
        .min()
        .map(|(_, k)| k)
}

/// "did you mean" when there is a near one, else the list.
pub fn suggest(word: &str, known: &[&str], lead: &str) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{lead} {}", known.join(", ")),
    }
}

/// A key whose value nobody should see even if the key is misspelt.
pub fn smells_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["pass", "secret", "token", "apikey", "api_key", "credential", "pwd"].iter().any(|s| key.contains(s))
}

/// Descriptions are Markdown from doc comments; the first sentence is the hint.
fn first_line(description: &str) -> Option<String> {
    let line = description.lines().next()?.trim().trim_end_matches(['.', ':']).to_string();
    (!line.is_empty()).then_some(line)
}
