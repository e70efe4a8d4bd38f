//! What counts as a leftover, per language: matched on syntax nodes, so that strings, comments and look-alikes do not.
//! Pure: tree and text in, [`Hit`]s out. Which file is looked at and what a hit means is `leftover_debug.rs`.

pub mod csharp;
mod shadows;

use tree_sitter::Node;

use self::shadows::shadows;
use super::syntax::{self, Language, Parsed, text, walk_to};

/// How much a hit weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Stops or crashes the program, or dumps its insides: fails wherever it ships.
    Leftover,
    /// Debug output that a command-line program may mean: fails in product code.
    Console,
    /// Plain output: a warning in product code that has a logger.
    Print,
    /// Plain output of a program within a module: what it prints is its answer.
    Answer,
    /// Handed on or replaced, not called here: noted.
    Mention,
    /// A box that stops the page: a warning in product code.
    Alert,
    /// A box that asks: noted.
    Ask,
    /// Silences the rest of a test suite.
    Focus,
}

/// One match. Row and byte column count from 0, as tree-sitter does.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub rule: &'static str,
    pub weight: Weight,
    /// The call as a reader would name it: `console.log`, `dbg!`, `binding.pry`.
    pub call: String,
    pub row: usize,
    pub column: usize,
    pub function: Option<String>,
}

/// The hits of a parsed text at these places (ascending), in source order.
pub fn find(parsed: &Parsed, source: &[u8], places: &[usize]) -> Vec<Hit> {
    let mut hits = Vec::new();
    walk_to(&parsed.tree, places, |node, ancestors| {
        let found = match parsed.language {
            Language::JavaScript | Language::TypeScript | Language::Tsx => javascript(node, ancestors, source),
            Language::Python => python(node, ancestors, source),
            Language::Go => go(node, source),
            Language::Rust => rust(node, ancestors, source),
            Language::Java => java(node, source),
            Language::Ruby => ruby(node, ancestors, source),
            Language::Php => php(node, ancestors, source),
        };
        if let Some((rule, weight, call)) = found {
            let at = node.start_position();
            let function = syntax::enclosing_function(ancestors, source);
            hits.push(Hit { rule, weight, call, row: at.row, column: at.column, function });
        }
    });
    let shadowed = shadows(parsed, source, &hits);
    hits.retain(|hit| !shadowed.iter().any(|s| s.covers(hit)));
    hits
}

impl Hit {
    /// The name that a program could have bound to something else.
    fn bare(&self) -> &str {
        self.call.split('.').next().unwrap_or(&self.call).trim_end_matches('!')
    }
}

type Found = Option<(&'static str, Weight, String)>;

fn field<'t>(node: Node<'t>, name: &str) -> Option<Node<'t>> {
    node.child_by_field_name(name)
}

const CONSOLE_DEBUG: [&str; 6] = ["log", "debug", "dir", "dirxml", "trace", "table"];
/// Methods that take a function and would print each item: `promise.then(console.log)`.
const TAKES_CALLBACK: [&str; 6] = ["then", "forEach", "map", "subscribe", "tap", "finally"];
const FOCUSABLE: [&str; 6] = ["it", "test", "describe", "context", "suite", "specify"];

fn javascript(node: Node<'_>, ancestors: &[Node<'_>], source: &[u8]) -> Found {
    match node.kind() {
        "debugger_statement" => Some(("debugger", Weight::Leftover, "debugger".into())),
        "call_expression" => {
            let callee = field(node, "function")?;
            if let Some(method) = console_method(callee, source) {
                return console(&method);
            }
            // `console.log.apply(console, args)`; `.bind` builds a logger and is not a call.
            if callee.kind() == "member_expression"
                && matches!(text(field(callee, "property")?, source), "apply" | "call")
                && let Some(method) = console_method(field(callee, "object")?, source)
            {
                return console(&method);
            }
            dialog(callee, source).or_else(|| focused(callee, source))
        }
        "member_expression" | "subscript_expression" => {
            let method = console_method(node, source)?;
            if is_called(node, ancestors, source) {
                return None;
            }
            match given_to(ancestors, source) {
                // `orders.forEach(console.log)`
                Some(taker) if TAKES_CALLBACK.contains(&taker) => console(&method),
                _ => Some(("console", Weight::Mention, format!("console.{method}"))),
            }
        }
        _ => None,
    }
}

/// The node is what a call calls, itself or through `.apply` and `.call`.
fn is_called(node: Node<'_>, ancestors: &[Node<'_>], source: &[u8]) -> bool {
    let calls = |call: Node<'_>, callee| call.kind() == "call_expression" && field(call, "function") == Some(callee);
    match ancestors {
        [.., call] if calls(*call, node) => true,
        [.., call, member] => {
            let through = field(*member, "property").is_some_and(|p| matches!(text(p, source), "apply" | "call"));
            through && calls(*call, *member)
        }
        _ => false,
    }
}

/// The method of the call that takes it as an argument: `forEach`.
fn given_to<'s>(ancestors: &[Node<'_>], source: &'s [u8]) -> Option<&'s str> {
    let [.., call, arguments] = ancestors else { return None };
    let callee = field(*call, "function").filter(|callee| callee.kind() == "member_expression")?;
    (arguments.kind() == "arguments").then(|| field(callee, "property").map(|p| text(p, source))).flatten()
}

fn console(method: &str) -> Found {
    let weight = if CONSOLE_DEBUG.contains(&method) { Weight::Console } else { Weight::Print };
    Some(("console", weight, format!("console.{method}")))
}

/// `log` of `console.log`, `console["log"]`, `window.console.log`.
fn console_method(node: Node<'_>, source: &[u8]) -> Option<String> {
    let object = field(node, "object")?;
    let is_console = match object.kind() {
        "identifier" => text(object, source) == "console",
        "member_expression" => {
            text(field(object, "property")?, source) == "console"
                && matches!(text(field(object, "object")?, source), "window" | "globalThis" | "global" | "self")
        }
        _ => false,
    };
    if !is_console {
        return None;
    }
    match node.kind() {
        "member_expression" => Some(text(field(node, "property")?, source).to_string()),
        "subscript_expression" => {
            let index = field(node, "index")?;
            (index.kind() == "string").then(|| text(index, source).trim_matches(['"', '\'']).to_string())
        }
        _ => None,
    }
}

/// Boxes of the browser that stop the page: `alert(…)`, `window.confirm(…)`.
fn dialog(callee: Node<'_>, source: &[u8]) -> Found {
    let name = match callee.kind() {
        "identifier" => text(callee, source),
        "member_expression" => {
            let object = text(field(callee, "object")?, source);
            if !matches!(object, "window" | "globalThis") {
                return None;
            }
            text(field(callee, "property")?, source)
        }
        _ => return None,
    };
    let weight = match name {
        "alert" => Weight::Alert,
        // These ask, which is no leftover.
        "confirm" | "prompt" => Weight::Ask,
        _ => return None,
    };
    Some(("alert", weight, name.to_string()))
}

/// `it.only(…)`, `describe.only.each(…)`, `fit(…)`.
fn focused(callee: Node<'_>, source: &[u8]) -> Found {
    let chain = text(callee, source);
    if chain.len() > 60 || chain.contains('(') {
        return None;
    }
    let mut parts = chain.split('.');
    let base = parts.next()?;
    let only = FOCUSABLE.contains(&base) && parts.any(|p| p.trim() == "only");
    let short = matches!(chain, "fit" | "fdescribe" | "fcontext" | "ftest");
    (only || short).then(|| ("focused-test", Weight::Focus, chain.to_string()))
}

fn python(node: Node<'_>, ancestors: &[Node<'_>], source: &[u8]) -> Found {
    match node.kind() {
        "call" => {}
        "import_statement" | "import_from_statement" => return python_import(node, source),
        _ => return None,
    }
    let callee = field(node, "function")?;
    let name = text(callee, source);
    let print = || {
        let weight = if in_main_block(ancestors, source) { Weight::Answer } else { Weight::Print };
        goes_to_a_terminal(node, source).then(|| ("print", weight, name.to_string()))
    };
    match callee.kind() {
        "identifier" => match name {
            "breakpoint" | "set_trace" => Some(("debugger", Weight::Leftover, name.into())),
            "print" => print(),
            // Programs have one of their own.
            "pprint" if String::from_utf8_lossy(source).contains("from pprint import") => print(),
            _ => None,
        },
        "attribute" => {
            let (object, method) = name.rsplit_once('.')?;
            let debugger = matches!(object, "pdb" | "ipdb" | "pudb" | "wdb" | "bpdb" | "rpdb" | "IPython")
                && matches!(method, "set_trace" | "post_mortem" | "pm" | "embed" | "runcall");
            match (object, method) {
                ("pprint", "pprint") => print(),
                _ => debugger.then(|| ("debugger", Weight::Leftover, name.to_string())),
            }
        }
        _ => None,
    }
}

/// `import pdb`, `from ipdb import set_trace`.
fn python_import(node: Node<'_>, source: &[u8]) -> Found {
    const DEBUGGERS: [&str; 6] = ["pdb", "ipdb", "pudb", "wdb", "bpdb", "rpdb"];
    let module = match field(node, "module_name") {
        Some(module) => text(module, source),
        None => {
            let mut cursor = node.walk();
            let mut names = node.children_by_field_name("name", &mut cursor);
            let plain = |n: Node<'_>| text(field(n, "name").unwrap_or(n), source);
            return names
                .any(|n| DEBUGGERS.contains(&plain(n)))
                .then(|| ("debugger", Weight::Leftover, text(node, source).to_string()));
        }
    };
    DEBUGGERS.contains(&module).then(|| ("debugger", Weight::Leftover, format!("import of {module}")))
}

/// Not into a file that it names.
fn goes_to_a_terminal(call: Node<'_>, source: &[u8]) -> bool {
    let Some(arguments) = field(call, "arguments") else { return true };
    let mut cursor = arguments.walk();
    let mut keywords = arguments.named_children(&mut cursor).filter(|n| n.kind() == "keyword_argument");
    let file = keywords.find(|n| field(*n, "name").is_some_and(|n| text(n, source) == "file"));
    let into = file.and_then(|n| field(n, "value")).map(|n| text(n, source));
    into.is_none_or(|into| matches!(into, "None" | "sys.stdout" | "sys.stderr"))
}

/// `if __name__ == "__main__":` is a program of its own.
fn in_main_block(ancestors: &[Node<'_>], source: &[u8]) -> bool {
    ancestors.iter().any(|n| {
        n.kind() == "if_statement" && field(*n, "condition").is_some_and(|c| text(c, source).contains("__name__"))
    })
}

fn go(node: Node<'_>, source: &[u8]) -> Found {
    if node.kind() != "call_expression" {
        return None;
    }
    let callee = field(node, "function")?;
    let name = text(callee, source);
    match name {
        "runtime.Breakpoint" => Some(("debugger", Weight::Leftover, name.into())),
        "spew.Dump" | "spew.Fdump" | "spew.Printf" | "pp.Println" => Some(("dump", Weight::Leftover, name.into())),
        "fmt.Print" | "fmt.Println" | "fmt.Printf" | "print" | "println" => Some(("print", Weight::Print, name.into())),
        _ => None,
    }
}

fn rust(node: Node<'_>, ancestors: &[Node<'_>], source: &[u8]) -> Found {
    let name = match node.kind() {
        "macro_invocation" => text(field(node, "macro")?, source),
        // Inside another macro's arguments there are only tokens: `vec![dbg!(x)]`.
        "identifier" if ancestors.last()?.kind() == "token_tree" && node.next_sibling()?.kind() == "!" => {
            text(node, source)
        }
        _ => return None,
    };
    let last = name.rsplit("::").next().unwrap_or(name);
    let (rule, weight) = match last {
        "dbg" => ("dbg", Weight::Leftover),
        "todo" | "unimplemented" => ("unfinished", Weight::Leftover),
        "println" | "print" | "eprintln" | "eprint" => ("print", Weight::Print),
        _ => return None,
    };
    (!in_rust_test(ancestors, source)).then(|| (rule, weight, format!("{last}!")))
}

/// Under `#[cfg(test)]`, `#[test]` or a runner's own `#[tokio::test]`.
fn in_rust_test(ancestors: &[Node<'_>], source: &[u8]) -> bool {
    ancestors
        .iter()
        .filter(|n| matches!(n.kind(), "mod_item" | "function_item" | "impl_item" | "macro_definition"))
        .any(|item| {
            let mut before = item.prev_named_sibling();
            while let Some(node) =
                before.filter(|n| matches!(n.kind(), "attribute_item" | "line_comment" | "block_comment"))
            {
                let attribute = text(node, source).replace("not(test)", "");
                let for_tests = attribute.contains("cfg")
                    && ["(test)", "(test,", " test)", " test,"].iter().any(|t| attribute.contains(t));
                // What only the documentation is made of runs nowhere.
                let for_readers = ["docsrs", "(doc)", "(doc,"].iter().any(|t| attribute.contains(t));
                if for_tests || for_readers || attribute.contains("test]") || attribute.contains("test(") {
                    return true;
                }
                before = node.prev_named_sibling();
            }
            false
        })
}

fn java(node: Node<'_>, source: &[u8]) -> Found {
    if node.kind() != "method_invocation" {
        return None;
    }
    let name = text(field(node, "name")?, source);
    let object = field(node, "object").map(|o| text(o, source)).unwrap_or_default();
    // `printStackTrace(writer)` is how a logger formats it.
    if name == "printStackTrace" && field(node, "arguments")?.named_child_count() == 0 {
        return Some(("stack-trace", Weight::Leftover, "printStackTrace".into()));
    }
    let print =
        matches!(object, "System.out" | "System.err") && matches!(name, "println" | "print" | "printf" | "format");
    print.then(|| ("print", Weight::Print, format!("{object}.{name}")))
}

fn ruby(node: Node<'_>, ancestors: &[Node<'_>], source: &[u8]) -> Found {
    match node.kind() {
        "identifier" if matches!(text(node, source), "byebug" | "debugger") => {
            // A bare word is a call only where a statement may stand.
            let statement = matches!(
                ancestors.last()?.kind(),
                "program"
                    | "body_statement"
                    | "block_body"
                    | "then"
                    | "else"
                    | "begin"
                    | "ensure"
                    | "do"
                    | "when"
                    | "if_modifier"
                    | "unless_modifier"
                    | "rescue_modifier"
            );
            statement.then(|| ("debugger", Weight::Leftover, text(node, source).to_string()))
        }
        "call" => {
            let method = text(field(node, "method")?, source);
            let receiver = field(node, "receiver").map(|r| text(r, source));
            match (receiver, method) {
                (Some("binding"), "pry" | "irb" | "remote_pry" | "break" | "b") => {
                    Some(("debugger", Weight::Leftover, format!("binding.{method}")))
                }
                (Some("Pry"), "start") => Some(("debugger", Weight::Leftover, "Pry.start".into())),
                (None, "byebug" | "debugger" | "save_and_open_page") => {
                    Some(("debugger", Weight::Leftover, method.into()))
                }
                (None, "puts" | "p" | "pp" | "print") => Some(("print", Weight::Print, method.into())),
                (Some("$stdout" | "STDOUT" | "Kernel"), "puts" | "print") => {
                    Some(("print", Weight::Print, format!("{}.{method}", receiver?)))
                }
                (None | Some("RSpec"), "fit" | "fdescribe" | "fcontext" | "fspecify" | "fexample") => {
                    Some(("focused-test", Weight::Focus, method.into()))
                }
                (_, "it" | "describe" | "context" | "specify") => {
                    let arguments = field(node, "arguments").map(|a| text(a, source)).unwrap_or_default();
                    let focus = arguments.contains("focus: true") || arguments.contains(":focus");
                    focus.then(|| ("focused-test", Weight::Focus, format!("{method} with focus")))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn php(node: Node<'_>, ancestors: &[Node<'_>], source: &[u8]) -> Found {
    if node.kind() != "function_call_expression" {
        return None;
    }
    let name = text(field(node, "function")?, source).trim_start_matches('\\').to_ascii_lowercase();
    let name = name.as_str();
    match name {
        "xdebug_break" => Some(("debugger", Weight::Leftover, name.into())),
        // Symfony's and Laravel's own helper is defined behind `function_exists`.
        "var_dump" | "dd" | "dump" | "ddd" | "debug_zval_refcount" | "debug_print_backtrace" => {
            let captured = ancestors.iter().any(|n| n.kind() == "function_call_expression");
            // A helper of that name is what others call to dump: `ddHeaders()`, `dump()` of a collection.
            let helper = ancestors.iter().filter(|n| matches!(n.kind(), "method_declaration" | "function_definition"));
            let helps = |name: &str| name.starts_with("dump") || name.starts_with("dd");
            let mut helper = helper.filter_map(|n| field(*n, "name")).map(|n| text(n, source));
            (!captured && !helper.any(helps)).then(|| ("dump", Weight::Leftover, name.to_string()))
        }
        // With a second argument both return their text instead of printing it.
        "print_r" | "var_export" => {
            let prints = field(node, "arguments")?.named_child_count() < 2;
            prints.then(|| ("print", Weight::Print, name.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
