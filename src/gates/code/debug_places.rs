//! Where in a text a rule of `debug_rules.rs` may match, found without a syntax tree: files without such a place are
//! never parsed, and in a parsed one nothing else is looked at. May name a place too many, never one too few.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::syntax::{Language, Source};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aim {
    /// What stops a program, dumps its insides or is unfinished, and debug output.
    Leftovers,
    /// That, and plain output.
    Prints,
    /// Focused tests.
    Focus,
}

/// Byte offsets of the words, ascending. `allowed` are calls that may stay: `console.error`.
pub fn places(source: Source, aim: Aim, text: &[u8], allowed: &[String]) -> Vec<usize> {
    let language = match source {
        Source::Grammar(language) => language,
        Source::Embedded => Language::JavaScript,
        Source::CSharp => return csharp(aim, text),
        Source::NoGrammar(_) => return Vec::new(),
    };
    let Some(words) = AUTOMATA.get(&(language, aim)) else { return Vec::new() };
    let plausible = |from: usize, to: usize| match language.is_javascript() {
        true => !in_line_comment(text, from) && javascript(text, from, to, allowed),
        false => !is_name(before(text, from)) || !is_name(text.get(from).copied()),
    };
    words.find_iter(text).filter(|m| plausible(m.start(), m.end())).map(|m| m.start()).collect()
}

/// The first place of a word of C#'s rules.
fn csharp(aim: Aim, text: &[u8]) -> Vec<usize> {
    match aim {
        Aim::Focus => Vec::new(),
        Aim::Leftovers => CSHARP.find(text).map(|m| m.start()).into_iter().collect(),
        Aim::Prints => CSHARP_PRINTS.find(text).map(|m| m.start()).into_iter().collect(),
    }
}

#[expect(clippy::expect_used, reason = "the words are constants, and tests of this gate build the automata")]
static CSHARP: LazyLock<AhoCorasick> = LazyLock::new(|| AhoCorasick::new(["Debugger"]).expect("constant words"));
#[expect(clippy::expect_used, reason = "the words are constants, and tests of this gate build the automata")]
static CSHARP_PRINTS: LazyLock<AhoCorasick> =
    LazyLock::new(|| AhoCorasick::new(["Debugger", "Console", "Trace"]).expect("constant words"));

#[expect(clippy::expect_used, reason = "the words are constants, and every test of this gate builds the automata")]
static AUTOMATA: LazyLock<BTreeMap<(Language, Aim), AhoCorasick>> = LazyLock::new(|| {
    let build = |language, aim| {
        let words = match aim {
            Aim::Leftovers => leftovers(language).to_vec(),
            Aim::Prints => [leftovers(language), prints(language)].concat(),
            Aim::Focus => focus(language).to_vec(),
        };
        // Leftmost: what runs on vectors.
        let words = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(words);
        ((language, aim), words.expect("constant words"))
    };
    let aims = [Aim::Leftovers, Aim::Prints, Aim::Focus];
    Language::ALL.into_iter().flat_map(|language| aims.map(|aim| build(language, aim))).collect()
});

fn leftovers(language: Language) -> &'static [&'static str] {
    match language {
        Language::JavaScript | Language::TypeScript | Language::Tsx => {
            &["debugger", "console", "alert", "confirm", "prompt"]
        }
        Language::Python => &["breakpoint", "set_trace", "pdb", "ipdb", "bpdb", "rpdb", "pudb", "wdb", "IPython"],
        Language::Go => &["Breakpoint", "spew", "pp.P"],
        Language::Rust => &["dbg", "todo", "unimplemented"],
        Language::Java => &["printStackTrace"],
        Language::Ruby => &["binding", "byebug", "debugger", "Pry", "save_and_open"],
        Language::Php => &["xdebug", "dump", "Dump", "DUMP", "var_dump", "dd(", "dd (", "ddd", "debug_"],
    }
}

fn prints(language: Language) -> &'static [&'static str] {
    match language {
        Language::JavaScript | Language::TypeScript | Language::Tsx => &[],
        Language::Python => &["print", "pprint"],
        Language::Go => &["fmt.Print", "print"],
        Language::Rust => &["print", "eprint"],
        Language::Java => &["System"],
        Language::Ruby => &["puts", "print", "p ", "p(", "pp"],
        Language::Php => &["print_r", "var_export"],
    }
}

fn focus(language: Language) -> &'static [&'static str] {
    match language {
        Language::JavaScript | Language::TypeScript | Language::Tsx => {
            &["only", "fit", "fdescribe", "fcontext", "ftest"]
        }
        Language::Ruby => &["fit", "fdescribe", "fcontext", "fspecify", "fexample", "focus"],
        _ => &[],
    }
}

/// What may follow the word for a rule to match.
fn javascript(text: &[u8], from: usize, to: usize, allowed: &[String]) -> bool {
    if is_name(before(text, from)) || is_name(text.get(to).copied()) {
        return false;
    }
    let rest = &text[to..];
    let next = skip_space(rest);
    match &text[from..to] {
        // A statement ends with it; a comment may follow.
        b"debugger" => {
            let end = rest.iter().find(|b| !matches!(b, b' ' | b'\t'));
            matches!(end, None | Some(b';' | b'}' | b'/' | b'\r' | b'\n'))
        }
        b"console" => {
            let member = next.strip_prefix(b"?.").or(next.strip_prefix(b"."));
            match (member, next.first()) {
                (Some(member), _) => !is_allowed(skip_space(member), allowed),
                // An index, or a comment between the two.
                (None, first) => matches!(first, Some(b'[' | b'/')),
            }
        }
        b"only" => before(text, from) == Some(b'.'),
        // A call; `?.(` and a comment between the two.
        _ => matches!(next.first(), Some(b'(' | b'.' | b'`' | b'<' | b'?' | b'/')),
    }
}

fn is_allowed(member: &[u8], allowed: &[String]) -> bool {
    let name = &member[..member.iter().position(|b| !is_name(Some(*b))).unwrap_or(member.len())];
    allowed.iter().any(|call| call.strip_prefix("console.").is_some_and(|method| method.as_bytes() == name))
}

/// The line begins as a comment does, or as one goes on.
fn in_line_comment(text: &[u8], at: usize) -> bool {
    /// Longer lines are packed code.
    const BYTES_MAX: usize = 2_000;
    let before = &text[at.saturating_sub(BYTES_MAX)..at];
    let line = match before.iter().rposition(|b| *b == b'\n') {
        Some(end) => &before[end + 1..],
        None => before,
    };
    let line = line.trim_ascii_start();
    line.starts_with(b"//") || line.starts_with(b"* ")
}

fn before(text: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).map(|at| text[at])
}

/// A byte of a name in any of the languages.
fn is_name(byte: Option<u8>) -> bool {
    byte.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$' || b >= 0x80)
}

fn skip_space(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, aim: Aim, text: &str, expect: &[&str]) {
        let allowed = ["console.error".to_string()];
        let source = Source::of(path).unwrap();
        let got: Vec<&str> = places(source, aim, text.as_bytes(), &allowed)
            .into_iter()
            .map(|at| text[at..].split_inclusive(|c: char| !c.is_alphanumeric()).next().unwrap_or_default())
            .collect();
        assert_eq!(got, expect, "{path} {aim:?} {text}");
    }

    #[test]
    fn javascript_by_what_follows() {
        let aim = Aim::Leftovers;
        check(
            "a.js",
            aim,
            "console.log(1); console\n  .info(2); console?.dir(3)",
            &["console.", "console\n", "console?"],
        );
        check("a.ts", aim, "console['log'](1); console/*x*/.log(1)", &["console[", "console/"]);
        check("a.js", aim, "console.error(1); my_console.log(1); consoles.log(1); { console }", &[]);
        check("a.js", aim, "  // console.log(1)\n * console.log(2)\n", &[]);
        check("a.js", aim, "if (x) debugger; debugger\n y.debugger = 1", &["debugger;", "debugger\n"]);
        check("a.js", aim, "alert('x'); alerting(); dialog.confirm(1); const alert = 1", &["alert(", "confirm("]);
        check(
            "a.test.ts",
            Aim::Focus,
            "it.only(f); only(f); fit(f); outfit(f); fit.each`x`",
            &["only(", "fit(", "fit."],
        );
    }

    #[test]
    fn others_by_a_names_beginning() {
        check("a.py", Aim::Leftovers, "import pdb; x.breakpoint(); nobreakpoint; print(1)", &["pdb;", "breakpoint("]);
        check("a.py", Aim::Prints, "print(1); pprint(2); blueprint(3)", &["print(", "pprint("]);
        check("a.rb", Aim::Prints, "p x; help x; puts 1", &["p ", "puts "]);
        check("a.go", Aim::Focus, "only", &[]);
    }
}
