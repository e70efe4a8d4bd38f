//! What the user wrote: TOML files parsed with the place of every key and value, and merged into one tree.
//! Knows no schema. Read `check.rs` next: it walks the tree along the configuration's schema.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::explain::Diagnostic;

/// A configuration is typed by people: a larger file is a mistake.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Files of one folder that are merged.
const FILES_MAX: usize = 200;
/// Nesting of tables and arrays, so that no input can exhaust the stack.
const DEPTH_MAX: usize = 32;

/// One file as read.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// As named by the user, for messages.
    pub path: PathBuf,
    pub text: String,
    /// Byte ranges that may hold a secret somebody pasted: never shown.
    pub masked: Vec<Range<usize>>,
}

impl SourceFile {
    /// Relative paths inside the file start here.
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    /// The text with what is masked as asterisks; byte offsets stay.
    pub fn shown(&self) -> String {
        let mut bytes = self.text.clone().into_bytes();
        for range in &self.masked {
            for b in bytes.iter_mut().take(range.end).skip(range.start) {
                if *b != b'\n' {
                    *b = b'*';
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Where something stands: a byte range of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index into the list of files.
    pub file: usize,
    pub span: Range<usize>,
}

/// A value with its places.
#[derive(Debug, Clone)]
pub struct Node {
    /// The key it stands under; `None` for array items and the root.
    pub key: Option<Place>,
    pub place: Place,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Value {
    /// With its article, for "expected …, found …".
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

impl Node {
    /// Where to point for the whole thing: a leaf's value, a table's key.
    pub fn shown_at(&self) -> &Place {
        match (&self.value, &self.key) {
            (Value::Table(_), Some(key)) => key,
            _ => &self.place,
        }
    }

    fn child(&self, part: &str) -> Option<&Node> {
        match &self.value {
            Value::Table(map) => map.get(part),
            Value::Array(items) => part.parse::<usize>().ok().and_then(|i| items.get(i)),
            _ => None,
        }
    }

    /// Follows `path` as far as it exists; the flag says whether it exists whole.
    pub fn lookup(&self, path: &[String]) -> (&Node, bool) {
        let mut node = self;
        for part in path {
            match node.child(part) {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }
}

/// Which files make up the configuration at `path`: the file itself, or all `*.toml` of the folder by name.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let unreadable = |e: std::io::Error| Diagnostic::nowhere(format!("cannot read {}: {e}", path.display()));
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|e| e == "toml") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    match files.len() {
        0 => Err(Diagnostic::nowhere(format!("{} holds no *.toml file", path.display()))),
        n if n > FILES_MAX => {
            Err(Diagnostic::nowhere(format!("{} holds {n} *.toml files; at most {FILES_MAX}", path.display())))
        }
        _ => Ok(files),
    }
}

/// Reads one file: UTF-8, bounded, without a byte order mark.
pub fn read(path: &Path) -> Result<SourceFile, Diagnostic> {
    use std::io::Read as _;
    let fail = |why: String| Diagnostic::nowhere(format!("cannot read {}: {why}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| fail(e.to_string()))?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(fail(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
        fail(format!("it is not UTF-8 text (line {line})"))
    })?;
    let text = text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text);
    Ok(SourceFile { path: path.to_path_buf(), text, masked: Vec::new() })
}

/// Parses file number `file`. Syntax errors come all at once, one a line.
pub fn parse(text: &str, file: usize) -> Result<Node, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let span = 0..0;
        let mut out = Vec::new();
        let value = table_of(table.into_inner(), file, 0, &mut out);
        return if out.is_empty() { Ok(Node { key: None, place: Place { file, span }, value }) } else { Err(out) };
    }
    let mut lines = std::collections::BTreeSet::new();
    Err(errors
        .into_iter()
        .filter_map(|e| {
            let span = e.span().unwrap_or(0..0);
            let span = span.start.min(text.len())..span.end.min(text.len());
            let line = text.as_bytes()[..span.start].iter().filter(|b| **b == b'\n').count();
            // Later errors of a line mostly follow from its first.
            let message = match e.message() {
                "duplicate key" => format!("`{}` is set twice", &text[span.clone()]),
                other => other.to_string(),
            };
            lines.insert(line).then(|| Diagnostic::error(Place { file, span }, message))
        })
        .collect())
}

fn table_of(table: DeTable<'_>, file: usize, depth: usize, out: &mut Vec<Diagnostic>) -> Value {
    let mut map = BTreeMap::new();
    for (key, value) in table {
        let key_place = Place { file, span: key.span() };
        if let Some(mut node) = node_of(value, file, depth + 1, out) {
            node.key = Some(key_place);
            map.insert(key.into_inner().into_owned(), node);
        }
    }
    Value::Table(map)
}

fn node_of(value: Spanned<DeValue<'_>>, file: usize, depth: usize, out: &mut Vec<Diagnostic>) -> Option<Node> {
    let place = Place { file, span: value.span() };
    if depth > DEPTH_MAX {
        out.push(Diagnostic::error(place, format!("nested more than {DEPTH_MAX} deep")));
        return None;
    }
    let value = match value.into_inner() {
        DeValue::String(s) => Value::Text(s.into_owned()),
        DeValue::Boolean(b) => Value::Boolean(b),
        DeValue::Datetime(d) => Value::Text(d.to_string()),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(n) => Value::Integer(n),
            Err(_) => {
                out.push(Diagnostic::error(place, "this number is too large"));
                return None;
            }
        },
        DeValue::Float(f) => match f.as_str().parse::<f64>() {
            Ok(n) if n.is_finite() => Value::Float(n),
            _ => {
                out.push(Diagnostic::error(place, "this is not a finite number"));
                return None;
            }
        },
        DeValue::Array(items) => {
            Value::Array(items.into_iter().filter_map(|item| node_of(item, file, depth + 1, out)).collect())
        }
        DeValue::Table(table) => table_of(table, file, depth, out),
    };
    Some(Node { key: None, place, value })
}

/// Puts `from` into `into`: tables merge, lists of tables (`[[route]]`) are joined in the order of the files' names, and
/// any other key that stands in two files is an error that names both.
pub fn merge(into: &mut Node, from: Node, path: &mut Vec<String>, out: &mut Vec<Diagnostic>) {
    let same_key_twice = |a: &Node, b: &Node, path: &[String]| {
        let first = a.key.clone().unwrap_or_else(|| a.place.clone());
        let second = b.key.clone().unwrap_or_else(|| b.place.clone());
        Diagnostic::error(second, format!("`{}` is set in two files", path.join(".")))
            .also(first, "first set here")
            .hint("keep one of them")
    };
    match (&mut into.value, from.value) {
        (Value::Table(a), Value::Table(b)) => {
            for (key, node) in b {
                path.push(key.clone());
                match a.get_mut(&key) {
                    Some(existing) => merge(existing, node, path, out),
                    None => {
                        a.insert(key, node);
                    }
                }
                path.pop();
            }
        }
        (Value::Array(a), Value::Array(b)) if a.iter().chain(&b).all(|n| matches!(n.value, Value::Table(_))) => {
            a.extend(b);
        }
        (_, value) => {
            let from = Node { key: from.key, place: from.place, value };
            out.push(same_key_twice(into, &from, path));
        }
    }
}
