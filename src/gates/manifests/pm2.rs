//! PM2 ecosystem files: the `apps` of `ecosystem.config.js`, `.json` or `.yaml`. JavaScript is read as a syntax tree and
//! never run; a value that is no literal is known to be there, not what it is.

use std::collections::BTreeMap;

use super::{Place, Unread, broken, unread};
use crate::gates::code::syntax::{self, Language, Source, Visit};
use crate::gates::import::located::{self, Node};

/// One app.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    pub place: Place,
    pub name: String,
    /// Options as written and their lines; `None` for a value that only running the file would tell.
    pub options: BTreeMap<String, (Option<String>, u32)>,
}

impl App {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.options.get(key)?.0.as_deref()
    }
    pub fn has(&self, key: &str) -> bool {
        self.options.contains_key(key)
    }
    pub fn line_of(&self, key: &str) -> u32 {
        self.options.get(key).map_or(self.place.line, |(_, line)| *line)
    }
    /// More than one process for the same port.
    pub fn is_cluster(&self) -> bool {
        let many = self
            .get("instances")
            .is_some_and(|n| matches!(n, "max" | "0") || n.parse::<i64>().is_ok_and(|n| n.abs() > 1));
        many && self.get("exec_mode").is_none_or(|m| m.starts_with("cluster"))
    }
}

/// By a lower-case file name.
pub fn is_one(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(s, _)| s);
    let kind = [".js", ".cjs", ".mjs", ".json", ".yaml", ".yml", ".ts"].iter().any(|e| name.ends_with(e));
    kind && (stem.starts_with("ecosystem")
        || stem.ends_with("ecosystem.config")
        || stem == "pm2"
        || stem.starts_with("pm2.")
        || matches!(stem, "process.config" | "pm2.config"))
}

pub fn parse(path: &str, text: &str) -> Result<Vec<App>, Unread> {
    if [".json", ".yaml", ".yml"].iter().any(|e| path.ends_with(e)) {
        let documents = located::documents(text).map_err(|e| broken(path, &e))?;
        return Ok(documents.iter().flat_map(|d| apps(path, d)).collect());
    }
    script(path, text)
}

fn apps(path: &str, document: &Node) -> Vec<App> {
    let listed = document.get("apps");
    let items = if listed.items().is_empty() { document.items() } else { listed.items() };
    let one = |node: &Node| {
        let option = |(k, line, v): &(String, u32, Node)| (k.clone(), (v.text().map(String::from), *line));
        app(path, node.line, node.entries().iter().map(option).collect())
    };
    items.iter().filter(|n| n.has("script") || n.has("name")).map(one).collect()
}

fn app(path: &str, line: u32, options: BTreeMap<String, (Option<String>, u32)>) -> App {
    let text = |key: &str| options.get(key).and_then(|(v, _)| v.clone());
    let name = text("name").or_else(|| text("script")).unwrap_or_else(|| "app".into());
    App { place: Place::new(path, line), name, options }
}

/// Every object literal with a `script` inside an `apps` array.
fn script(path: &str, text: &str) -> Result<Vec<App>, Unread> {
    let language = if path.ends_with(".ts") { Language::TypeScript } else { Language::JavaScript };
    let Some(parsed) = syntax::parse(Source::Grammar(language), text.as_bytes()) else {
        return Err(unread(path, 1, "JavaScript that cannot be parsed"));
    };
    let mut out = Vec::new();
    syntax::walk(&parsed.tree, |node, ancestors| {
        if node.kind() != "object" {
            return Visit::Enter;
        }
        let in_apps = ancestors.iter().any(|a| {
            let key = a.child_by_field_name(if a.kind() == "pair" { "key" } else { "name" });
            matches!(a.kind(), "pair" | "variable_declarator")
                && key.is_some_and(|k| syntax::text(k, text.as_bytes()).trim_matches(['"', '\'']) == "apps")
        });
        let options = options(node, text.as_bytes());
        if !in_apps || !options.contains_key("script") {
            return Visit::Enter;
        }
        out.push(app(path, node.start_position().row as u32 + 1, options));
        Visit::Skip
    });
    if out.is_empty() && text.contains("apps") {
        return Err(unread(path, 1, "its apps are computed: only running the file would tell them"));
    }
    Ok(out)
}

fn options(object: tree_sitter::Node<'_>, source: &[u8]) -> BTreeMap<String, (Option<String>, u32)> {
    let mut cursor = object.walk();
    let pair = |pair: tree_sitter::Node<'_>| {
        let line = pair.start_position().row as u32 + 1;
        if pair.kind() == "shorthand_property_identifier" {
            return Some((syntax::text(pair, source).to_string(), (None, line)));
        }
        let key = syntax::text(pair.child_by_field_name("key")?, source).trim_matches(['"', '\'']).to_string();
        let value = pair.child_by_field_name("value")?;
        let text = syntax::text(value, source);
        let literal = match value.kind() {
            "string" => Some(text.trim_matches(['"', '\'']).to_string()),
            "number" | "true" | "false" | "null" | "unary_expression" => Some(text.to_string()),
            // `process.env.X || 4`: the default is what stands in the file.
            _ => None,
        };
        Some((key, (literal, line)))
    };
    object.named_children(&mut cursor).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scripts_json_and_yaml_agree() {
        let js = "const base = { cwd: '.' };\nmodule.exports = {\n  apps: [{\n    name: 'web', // front\n    script: './a.js',\n    instances: 'max',\n    autorestart: false,\n    env: { A: 'b', script: 'x' },\n    max_memory_restart: limit(),\n  }],\n  deploy: { production: { script: 'n' } },\n}\n";
        let json = "{\n\n \"apps\": [{\n \"name\": \"web\",\n \"script\": \"./a.js\", \"instances\": \"max\",\n\n \"autorestart\": false, \"max_memory_restart\": \"1G\"}]}";
        for (path, text) in [("ecosystem.config.js", js), ("ecosystem.json", json)] {
            let apps = parse(path, text).unwrap();
            assert_eq!(apps.len(), 1, "{path}");
            let app = &apps[0];
            assert_eq!((app.name.as_str(), app.place.line, app.is_cluster()), ("web", 3, true), "{path}");
            assert_eq!((app.get("autorestart"), app.line_of("autorestart")), (Some("false"), 7), "{path}");
            assert!(app.has("max_memory_restart"));
        }
        let yaml = parse("ecosystem.yml", "apps:\n  - script: a.js\n    instances: 1\n").unwrap();
        assert_eq!((yaml[0].name.as_str(), yaml[0].is_cluster()), ("a.js", false));
    }

    #[test]
    fn what_only_running_tells_is_said() {
        let why = parse("ecosystem.config.js", "module.exports = { apps: services.map(toApp) }\n").unwrap_err();
        assert!(why.why.contains("computed"), "{why:?}");
        assert!(parse("ecosystem.json", "{").is_err());
        assert!(is_one("ecosystem.config.cjs") && is_one("pm2.json") && !is_one("ecosystem.md"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(apps|script|name|: |\\[|\\]|\\{|\\}|,|'a'|\"b\"|true|[a-z(). \n]){0,40}") {
            for path in ["ecosystem.config.js", "ecosystem.json", "ecosystem.yml"] { let _ = parse(path, &text); }
        }
    }
}
