//! Rails' `config/routes.rb` and the files that it draws: verbs, resources, namespaces, scopes.

use std::collections::HashMap;

use tree_sitter::Node;

use super::template::{self, Style};
use super::tree::{Source, child_of, children, field, line};
use super::{File, Found, Route, Unread};
use crate::gates::code::syntax::{self, Visit};

pub fn routes(files: &[&File]) -> Found {
    let mut reader = Reader { files, concerns: HashMap::new(), out: Found::default() };
    for file in files.iter().filter(|f| f.path.contains("config/routes")) {
        reader.concerns_of(file);
    }
    for file in files.iter().filter(|f| f.path.ends_with("config/routes.rb")) {
        let source = Source { path: &file.path, text: &file.text };
        let mut draws = Vec::new();
        syntax::walk(&file.tree, |node, _| {
            let is_draw = node.kind() == "call" && source.text(node).contains("routes.draw");
            if is_draw && method_name(&source, node) == "draw" && field(node, "block").is_some() {
                draws.push(node);
                return Visit::Skip;
            }
            Visit::Enter
        });
        for draw in draws {
            reader.block(&source, draw, &Scope::default(), 0);
        }
    }
    reader.out
}

/// Where in the routes we are.
#[derive(Debug, Clone, Default)]
struct Scope {
    prefix: String,
    /// Of the resource around: what its members lie below.
    member: Option<String>,
    collection: Option<String>,
    /// Members of nested resources lie below what the outermost resource lies below.
    shallow: bool,
    outside: Option<String>,
    /// `path_names: { new: "neu" }`
    names: HashMap<String, String>,
}

/// A file that draws itself goes in a circle.
const DEPTH_MAX: usize = 20;

struct Reader<'f> {
    files: &'f [&'f File],
    /// `concern :name do … end`, by name.
    concerns: HashMap<String, (&'f File, Node<'f>)>,
    out: Found,
}

fn method_name<'s>(source: &Source<'s>, call: Node<'_>) -> &'s str {
    field(call, "method").map_or("", |m| source.text(m))
}

/// Arguments without options, and options by name.
fn parts<'t>(source: &Source<'_>, call: Node<'t>) -> (Vec<Node<'t>>, Vec<(String, Node<'t>)>) {
    let (mut plain, mut options) = (Vec::new(), Vec::new());
    for argument in field(call, "arguments").map(children).unwrap_or_default() {
        let pairs = match argument.kind() {
            "pair" => vec![argument],
            "hash" => children(argument),
            _ => {
                plain.push(argument);
                continue;
            }
        };
        for pair in pairs.into_iter().filter(|p| p.kind() == "pair") {
            let (Some(key), Some(value)) = (field(pair, "key"), field(pair, "value")) else { continue };
            // `get "a" => "b#c"`: the key is the path.
            if key.kind() == "string" {
                plain.push(key);
            }
            options.push((source.text(key).trim_matches(':').to_string(), value));
        }
    }
    (plain, options)
}

/// A string or a symbol.
fn word(source: &Source<'_>, node: Node<'_>) -> Option<String> {
    match node.kind() {
        "string" if child_of(node, "interpolation").is_none() => {
            Some(children(node).into_iter().map(|n| source.text(n)).collect())
        }
        "simple_symbol" => Some(source.text(node).trim_start_matches(':').to_string()),
        _ => None,
    }
}

/// One word or an array of them: `:a`, `[:a, :b]`, `%i[a b]`.
fn word_list(source: &Source<'_>, node: Node<'_>) -> Vec<String> {
    match node.kind() {
        "array" => children(node).into_iter().filter_map(|n| word(source, n)).collect(),
        "symbol_array" | "string_array" => children(node).into_iter().map(|n| source.text(n).to_string()).collect(),
        _ => word(source, node).into_iter().collect(),
    }
}

fn singular(name: &str) -> String {
    const IRREGULAR: [(&str, &str); 10] = [
        ("people", "person"),
        ("men", "man"),
        ("women", "woman"),
        ("children", "child"),
        ("mice", "mouse"),
        ("movies", "movie"),
        ("series", "series"),
        ("news", "news"),
        ("statuses", "status"),
        ("shoes", "shoe"),
    ];
    // The last word of `sales_people` counts.
    let (before, last) = name.rsplit_once('_').map_or(("", name), |(b, l)| (b, l));
    if let Some((_, one)) = IRREGULAR.iter().find(|(many, _)| *many == last) {
        return if before.is_empty() { one.to_string() } else { format!("{before}_{one}") };
    }
    match name {
        _ if name.ends_with("ies") => format!("{}y", &name[..name.len() - 3]),
        _ if name.ends_with("sses") || name.ends_with("xes") || name.ends_with("ches") => name[..name.len() - 2].into(),
        _ if name.ends_with("ses") && !name.ends_with("uses") => name[..name.len() - 1].into(),
        _ if name.ends_with("ss") || name.ends_with("us") => name.into(),
        _ => name.strip_suffix('s').unwrap_or(name).into(),
    }
}

/// (action, verbs, of a member, behind it)
const ACTIONS: [(&str, &[&str], bool, &str); 7] = [
    ("index", &["GET"], false, ""),
    ("create", &["POST"], false, ""),
    ("new", &["GET"], false, "/new"),
    ("edit", &["GET"], true, "/edit"),
    ("show", &["GET"], true, ""),
    ("update", &["PATCH", "PUT"], true, ""),
    ("destroy", &["DELETE"], true, ""),
];

impl<'f> Reader<'f> {
    fn block(&mut self, source: &Source<'_>, call: Node<'_>, scope: &Scope, depth: usize) {
        let Some(block) = field(call, "block").filter(|_| depth < DEPTH_MAX) else { return };
        let body = field(block, "body").unwrap_or(block);
        for statement in children(body) {
            self.statement(source, statement, scope, depth + 1);
        }
    }

    fn statement(&mut self, source: &Source<'_>, node: Node<'_>, scope: &Scope, depth: usize) {
        match node.kind() {
            "call" => self.call(source, node, scope, depth),
            // What only runs under a condition is there for somebody.
            "if" | "unless" | "if_modifier" | "unless_modifier" | "then" | "else" | "begin" | "body_statement"
                if depth < DEPTH_MAX =>
            {
                for inner in children(node) {
                    self.statement(source, inner, scope, depth + 1);
                }
            }
            "identifier" if source.text(node) == "root" => {}
            _ => {}
        }
    }

    fn call(&mut self, source: &Source<'_>, call: Node<'_>, scope: &Scope, depth: usize) {
        let (plain, options) = parts(source, call);
        let option = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let first = plain.first().and_then(|n| word(source, *n));
        let name = method_name(source, call);
        match name {
            "get" | "post" | "put" | "patch" | "delete" | "options" | "match" => {
                let verbs = match (name, option("via")) {
                    ("match", Some(via)) => word_list(source, via),
                    ("match", None) => vec!["ANY".into()],
                    (verb, _) => vec![verb.to_string()],
                };
                let verbs =
                    verbs.into_iter().map(|v| if v == "all" { "ANY".into() } else { v }).collect::<Vec<String>>();
                let on = option("on").and_then(|n| word(source, n));
                let base = match (on.as_deref(), &scope.member, &scope.collection) {
                    (Some("member"), Some(member), _) => member,
                    (Some("collection"), _, Some(collection)) => collection,
                    _ => &scope.prefix,
                };
                if plain.is_empty() {
                    self.unread(source, call, "a path that is no literal");
                }
                for path in plain {
                    match word(source, path) {
                        Some(path) => verbs.iter().for_each(|verb| self.route(source, call, verb, base, &path)),
                        None => self.unread(source, call, "a path that is no literal"),
                    }
                }
            }
            "root" => self.route(source, call, "GET", &scope.prefix, "/"),
            "resources" => {
                for name in plain.iter().filter_map(|n| word(source, *n)) {
                    self.resources(source, call, scope, &name, &options, depth);
                }
            }
            "resource" => {
                for name in plain.iter().filter_map(|n| word(source, *n)) {
                    self.resource(source, call, scope, &name, &options, depth);
                }
            }
            "namespace" | "scope" => {
                let path = match option("path") {
                    Some(path) => word(source, path),
                    None if name == "scope" && first.is_none() && !plain.is_empty() => None,
                    None => Some(first.unwrap_or_default()),
                };
                let Some(path) = path else { return self.unread(source, call, "a path that is no literal") };
                let prefix = below(&scope.prefix, &path);
                let shallow = flag(source, option("shallow")).unwrap_or(scope.shallow);
                let names = names(source, option("path_names"), &scope.names);
                self.block(source, call, &Scope { prefix, shallow, names, ..Scope::default() }, depth);
            }
            "member" | "collection" => {
                let prefix = if name == "member" { &scope.member } else { &scope.collection };
                let prefix = prefix.clone().unwrap_or_else(|| scope.prefix.clone());
                self.block(source, call, &Scope { prefix, ..scope.clone() }, depth);
            }
            "draw" => self.drawn(first, scope, depth),
            // Read where it is used.
            "concern" => {}
            "concerns" => {
                for name in plain.iter().flat_map(|n| word_list(source, *n)) {
                    self.concern(source, call, &name, scope, depth);
                }
            }
            "shallow" => self.block(source, call, &Scope { shallow: true, ..scope.clone() }, depth),
            "mount" => self.unread(source, call, "the routes below come with an engine"),
            _ if name.starts_with("devise_") || name.starts_with("use_doorkeeper") => {
                self.unread(source, call, "the routes come with a package");
            }
            // constraints, defaults, authenticate, controller, with_options: they say who, not where.
            _ => self.block(source, call, scope, depth),
        }
    }

    fn drawn(&mut self, name: Option<String>, scope: &Scope, depth: usize) {
        let Some(name) = name else { return };
        let ending = format!("config/routes/{name}.rb");
        let files = self.files;
        let Some(file) = files.iter().find(|f| f.path.ends_with(&ending)).filter(|_| depth < DEPTH_MAX) else { return };
        let source = Source { path: &file.path, text: &file.text };
        for statement in children(file.tree.root_node()) {
            self.statement(&source, statement, scope, depth + 1);
        }
    }

    fn resources(
        &mut self,
        source: &Source<'_>,
        call: Node<'_>,
        scope: &Scope,
        name: &str,
        options: &[(String, Node<'_>)],
        depth: usize,
    ) {
        let option = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let path = option("path").and_then(|p| word(source, p)).unwrap_or_else(|| name.to_string());
        let param = option("param").and_then(|p| word(source, p)).unwrap_or_else(|| "id".to_string());
        let collection = below(&scope.prefix, &path);
        let shallow = flag(source, option("shallow")).unwrap_or(scope.shallow);
        let outside = scope.outside.clone().unwrap_or_else(|| scope.prefix.clone());
        let of_members = if shallow { below(&outside, &path) } else { collection.clone() };
        let member = format!("{of_members}/:{param}");
        let names = names(source, option("path_names"), &scope.names);
        self.actions(source, call, options, ("", &collection, &member), &names);
        let prefix = format!("{of_members}/:{}_{param}", singular(name));
        let (member, collection, outside) = (Some(member), Some(collection), Some(outside));
        let inside = Scope { prefix, member, collection, shallow, outside, names };
        self.block(source, call, &inside, depth);
        self.concerned(source, call, option("concerns"), &inside, depth);
    }

    fn resource(
        &mut self,
        source: &Source<'_>,
        call: Node<'_>,
        scope: &Scope,
        name: &str,
        options: &[(String, Node<'_>)],
        depth: usize,
    ) {
        let option = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        let path = option("path").and_then(|p| word(source, p)).unwrap_or_else(|| name.to_string());
        let base = below(&scope.prefix, &path);
        let names = names(source, option("path_names"), &scope.names);
        self.actions(source, call, options, ("index", &base, &base), &names);
        let (member, collection) = (Some(base.clone()), Some(base.clone()));
        let inside = Scope { prefix: base, member, collection, names, ..scope.clone() };
        self.block(source, call, &inside, depth);
        self.concerned(source, call, option("concerns"), &inside, depth);
    }

    /// The routes of a resource: the action that it has not, and the paths of its collection and of one member.
    fn actions(
        &mut self,
        source: &Source<'_>,
        call: Node<'_>,
        options: &[(String, Node<'_>)],
        (without, collection, member): (&str, &str, &str),
        names: &HashMap<String, String>,
    ) {
        let option = |name: &str| options.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        for (action, verbs, of_member, behind) in ACTIONS.into_iter().filter(|(action, ..)| *action != without) {
            if wanted(source, action, option("only"), option("except")) {
                let base = if of_member { member } else { collection };
                let named = names.get(behind.trim_start_matches('/')).filter(|_| !behind.is_empty());
                let behind = named.map_or(behind, String::as_str);
                verbs.iter().for_each(|verb| self.route(source, call, verb, base, behind));
            }
        }
    }

    fn concerned(
        &mut self,
        source: &Source<'_>,
        call: Node<'_>,
        concerns: Option<Node<'_>>,
        inside: &Scope,
        depth: usize,
    ) {
        for name in concerns.map(|list| word_list(source, list)).unwrap_or_default() {
            self.concern(source, call, &name, inside, depth);
        }
    }

    fn concern(&mut self, source: &Source<'_>, call: Node<'_>, name: &str, scope: &Scope, depth: usize) {
        match self.concerns.get(name).copied().filter(|_| depth < DEPTH_MAX) {
            Some((file, concern)) => {
                let there = Source { path: &file.path, text: &file.text };
                self.block(&there, concern, scope, depth + 1);
            }
            None => self.unread(source, call, "the routes of a concern"),
        }
    }

    fn concerns_of(&mut self, file: &'f File) {
        let source = Source { path: &file.path, text: &file.text };
        syntax::walk(&file.tree, |node, _| {
            if node.kind() == "call"
                && method_name(&source, node) == "concern"
                && field(node, "block").is_some()
                && let Some(name) = field(node, "arguments").and_then(|a| children(a).into_iter().next())
                && let Some(name) = word(&source, name)
            {
                self.concerns.entry(name).or_insert((file, node));
            }
            Visit::Enter
        });
    }

    fn route(&mut self, source: &Source<'_>, at: Node<'_>, verb: &str, base: &str, path: &str) {
        // `(.:format)` names an ending, not a path.
        // What stands in brackets may be left out; the whole is the path.
        let path = path.replace("(.:format)", "").replace(['(', ')'], "");
        let whole = template::join(base, &path, false);
        self.out.0.push(Route::new(verb, &whole, Style::Colon, source.path, line(at), "rails", true));
    }

    fn unread(&mut self, source: &Source<'_>, at: Node<'_>, why: &str) {
        self.out.1.push(Unread { file: source.path.to_string(), line: line(at), why: why.into() });
    }
}

fn below(prefix: &str, path: &str) -> String {
    if path.is_empty() || path == "/" { prefix.to_string() } else { template::join(prefix, path, false) }
}

/// `shallow: true`
fn flag(source: &Source<'_>, node: Option<Node<'_>>) -> Option<bool> {
    node.and_then(|n| source.text(n).parse().ok())
}

/// `path_names: { new: "neu" }`, together with those of the scope around.
fn names(source: &Source<'_>, hash: Option<Node<'_>>, above: &HashMap<String, String>) -> HashMap<String, String> {
    let mut out = above.clone();
    for pair in hash.map(children).unwrap_or_default() {
        let (key, value) = (field(pair, "key"), field(pair, "value").and_then(|v| word(source, v)));
        if let (Some(key), Some(value)) = (key, value) {
            out.insert(source.text(key).trim_matches(':').to_string(), value);
        }
    }
    out
}

fn wanted(source: &Source<'_>, action: &str, only: Option<Node<'_>>, except: Option<Node<'_>>) -> bool {
    let named = |node: Node<'_>| word_list(source, node).iter().any(|n| n == action);
    only.is_none_or(named) && !except.is_some_and(named)
}
