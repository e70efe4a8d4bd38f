//! YAML (and so JSON) of strangers with the line of every key and value. Aliases and merge keys are resolved and point at
//! the place where the value was written. Bounded by the parser's own budget; the last of two equal keys wins.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::ImportError;
use super::yaml;

/// A value and the line (from 1) where it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub line: u32,
    pub value: Value,
}

/// Scalars are text as written (numbers without needless zeros); `on`, `yes`, `no` and `off` stay words.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Text(String),
    List(Vec<Node>),
    /// Key, line of the key, value; in the file's order.
    Map(Vec<(String, u32, Node)>),
}

/// All documents of a file, empty ones left out.
pub fn documents(text: &str) -> Result<Vec<Node>, ImportError> {
    let parsed = serde_saphyr::from_multiple_with_options::<Node>(text.trim_start_matches('\u{feff}'), yaml::options());
    let nodes = parsed.map_err(|e| yaml::refused(&e))?;
    Ok(nodes.into_iter().filter(|n| n.value != Value::Null).collect())
}

/// What is not there.
static NOTHING: Node = Node { line: 0, value: Value::Null };

impl Node {
    /// The value of a key; a null on line 0 when there is none, or when this is no mapping.
    pub fn get(&self, key: &str) -> &Node {
        self.entries().iter().find(|(k, _, _)| k == key).map_or(&NOTHING, |(_, _, n)| n)
    }
    /// [`Node::get`] again and again.
    pub fn at(&self, path: &[&str]) -> &Node {
        path.iter().fold(self, |node, key| node.get(key))
    }
    /// The line of a key, or this node's own.
    pub fn line_of(&self, key: &str) -> u32 {
        self.entries().iter().find(|(k, _, _)| k == key).map_or(self.line, |(_, line, _)| *line)
    }
    /// Is there anything, were it only an empty mapping?
    pub fn is_there(&self) -> bool {
        self.value != Value::Null
    }
    pub fn has(&self, key: &str) -> bool {
        self.entries().iter().any(|(k, _, _)| k == key)
    }
    pub fn entries(&self) -> &[(String, u32, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }
    /// A scalar's text; `None` for null, lists and mappings.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            _ => None,
        }
    }
    pub fn integer(&self) -> Option<i64> {
        self.text()?.trim().parse().ok()
    }
    /// `true`, `yes`, `on` and their opposites.
    pub fn flag(&self) -> Option<bool> {
        match self.text()?.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        }
    }
    /// The scalars of a list, or the one scalar.
    pub fn texts(&self) -> Vec<&str> {
        match &self.value {
            Value::List(items) => items.iter().filter_map(Node::text).collect(),
            _ => self.text().into_iter().collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(from)?;
        Ok(Node { line: spanned.defined.line() as u32, value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }
    fn visit_bool<E: Error>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }
    fn visit_i64<E: Error>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Text(v.to_string()))
    }
    fn visit_u64<E: Error>(self, v: u64) -> Result<Value, E> {
        Ok(Value::Text(v.to_string()))
    }
    fn visit_i128<E: Error>(self, v: i128) -> Result<Value, E> {
        Ok(Value::Text(v.to_string()))
    }
    fn visit_u128<E: Error>(self, v: u128) -> Result<Value, E> {
        Ok(Value::Text(v.to_string()))
    }
    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Text(v.to_string()))
    }
    fn visit_str<E: Error>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_string()))
    }
    fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Value, E> {
        Ok(Value::Text(String::from_utf8_lossy(v).into_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(node) = access.next_element()? {
            items.push(node);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = access.next_entry::<Spanned<String>, Node>()? {
            entries.push((key.value, key.defined.line() as u32, node));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_key_has_its_line() {
        let text = "x: &d\n  restart: no\nweb:\n  <<: *d\n  image: a\n  ports:\n    - 80\n---\n- {a: true}\n";
        let docs = documents(text).unwrap();
        let web = docs[0].get("web");
        assert_eq!((docs[0].line_of("web"), web.line_of("image"), web.line_of("restart")), (3, 5, 2));
        assert_eq!(web.get("restart").text(), Some("no"));
        assert_eq!(web.get("restart").flag(), Some(false));
        assert_eq!((web.get("ports").items()[0].line, web.get("ports").texts()), (7, vec!["80"]));
        assert!(!web.get("none").is_there() && web.at(&["none", "deeper"]).text().is_none());
        assert_eq!(docs[1].items()[0].get("a").flag(), Some(true));
    }

    #[test]
    fn json_is_yaml_and_errors_have_a_line() {
        assert_eq!(documents("{\n \"apps\": [\n  {\"name\": \"a\"}]}").unwrap()[0].get("apps").items()[0].line, 3);
        let error = documents("a: 1\nb: [\n").unwrap_err();
        assert!(matches!(error, ImportError::Malformed { .. }), "{error}");
        let deep = "[".repeat(100_000);
        assert!(documents(&deep).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z:\\-&*<\\[\\]{}\"'|> \n\t#!0-9]{0,200}") {
            let _ = documents(&text);
        }

        #[test]
        fn reads_back_what_was_written(keys in proptest::collection::btree_map("[a-m]{1,8}", 0u32..9999, 1..12)) {
            let text: String = keys.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
            let docs = documents(&text).unwrap();
            for (at, (key, value)) in keys.iter().enumerate() {
                prop_assert_eq!(docs[0].get(key).integer(), Some(i64::from(*value)));
                prop_assert_eq!(docs[0].line_of(key), at as u32 + 1);
            }
        }
    }
}
