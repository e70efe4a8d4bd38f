//! Leftovers in C#, by its tokens. `Debug.…` is not looked for: its methods are compiled into debug builds only.

use super::{Hit, Weight};
use crate::gates::code::csharp::{self, Kind, Token};

/// The hits of a text, in source order. `None`: it could not be read.
pub fn find(text: &[u8]) -> Option<Vec<Hit>> {
    let tokens = csharp::tokens(text)?;
    let file = File { text, tokens: &tokens };
    let mut hits = Vec::new();
    let mut scopes = Scopes::default();
    let static_console = file.has(&["using", "static", "System", ".", "Console", ";"]);
    let own = |name: &str| ["class", "struct", "interface", "enum"].iter().any(|kind| file.has(&[kind, name]));
    let rebound: Vec<&str> = ["Console", "Debugger", "Trace"].into_iter().filter(|name| own(name)).collect();
    for (nth, token) in tokens.iter().enumerate() {
        scopes.step(&file, nth);
        if scopes.left_out() {
            continue;
        }
        let Some((chain, _)) = file.call(nth) else { continue };
        let names: Vec<&str> = chain.iter().copied().filter(|part| part.chars().any(char::is_alphabetic)).collect();
        let bare = match &names[..] {
            ["global", "System", "Diagnostics", rest @ ..] | ["System", "Diagnostics", rest @ ..] => rest,
            ["global", "System", rest @ ..] | ["System", rest @ ..] => rest,
            all => all,
        };
        let found = match bare {
            ["Debugger", "Break" | "Launch"] => Some(("debugger", Weight::Leftover)),
            ["Console", "Write" | "WriteLine"] | ["Console", "Out" | "Error", "Write" | "WriteLine"] => {
                Some(("print", Weight::Print))
            }
            ["WriteLine" | "Write"] if static_console => Some(("print", Weight::Print)),
            ["Trace", "Write" | "WriteLine" | "WriteIf" | "WriteLineIf"] => Some(("print", Weight::Print)),
            _ => None,
        };
        let Some((rule, weight)) = found.filter(|_| !rebound.contains(&bare[0])) else { continue };
        let at = token.from;
        let row = text[..at].iter().filter(|b| **b == b'\n').count();
        let column = at - text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        hits.push(Hit { rule, weight, call: bare.join("."), row, column, function: scopes.function() });
    }
    Some(hits)
}

struct File<'a> {
    text: &'a [u8],
    tokens: &'a [Token],
}

/// Words in front of a bracket that are no method's name.
const KEYWORDS: [&str; 15] = [
    "if", "for", "foreach", "while", "switch", "using", "lock", "catch", "fixed", "when", "return", "await", "nameof",
    "typeof", "get",
];

impl<'a> File<'a> {
    fn word(&self, nth: usize) -> &'a str {
        self.tokens.get(nth).map_or("", |t| std::str::from_utf8(&self.text[t.from..t.to]).unwrap_or_default())
    }

    fn is_name(&self, nth: usize) -> bool {
        self.tokens.get(nth).is_some_and(|t| t.kind == Kind::Name)
    }

    /// Do these words stand somewhere, one after the other?
    fn has(&self, words: &[&str]) -> bool {
        (0..self.tokens.len()).any(|at| words.iter().enumerate().all(|(i, word)| self.word(at + i) == *word))
    }

    /// `System.Console.WriteLine(`: its parts, from where it begins, and where the bracket stands.
    fn call(&self, nth: usize) -> Option<(Vec<&'a str>, usize)> {
        let before = nth.checked_sub(1).map_or("", |before| self.word(before));
        if !self.is_name(nth) || matches!(before, "." | "::" | "new") {
            return None;
        }
        let (mut parts, mut at) = (vec![self.word(nth)], nth + 1);
        const PARTS_MAX: usize = 8;
        while matches!(self.word(at), "." | "::") && self.is_name(at + 1) && parts.len() < PARTS_MAX {
            parts.push(self.word(at + 1));
            at += 2;
        }
        // A name behind another is what it declares: `void Write(`.
        let declares = parts.len() == 1 && nth > 0 && self.is_name(nth - 1) && !KEYWORDS.contains(&before);
        (self.word(at) == "(" && !declares).then_some((parts, at))
    }

    /// The name of the method whose parameters end here: `Main` of `Main(string[] args)`.
    fn method_before(&self, close: usize) -> Option<&'a str> {
        let mut depth = 0u32;
        for at in (0..=close).rev() {
            match self.word(at) {
                ")" => depth += 1,
                "(" if depth == 1 => {
                    let name = self.word(at.checked_sub(1)?);
                    let before = at.checked_sub(2).map_or("", |before| self.word(before));
                    if matches!(name, "base" | "this") && before == ":" {
                        return self.method_before(at.checked_sub(3)?);
                    }
                    let declared = self.is_name(at - 1) && before != "new" && !KEYWORDS.contains(&name);
                    return declared.then_some(name);
                }
                // What stands before `: base` was no parameter list.
                "(" => depth = depth.checked_sub(1)?,
                "{" | "}" | ";" => return None,
                _ => {}
            }
        }
        None
    }
}

/// Where in the file we are: in which method, and whether a release has it.
#[derive(Default)]
struct Scopes<'a> {
    /// One for each open brace: the method that begins there, and whether it is left out of a release.
    open: Vec<(Option<&'a str>, bool)>,
    /// A method with an arrow, until its semicolon; how deep the braces were.
    arrow: Option<(&'a str, bool, usize)>,
    /// `[Conditional("DEBUG")]` was read, and its method comes.
    conditional: bool,
}

impl<'a> Scopes<'a> {
    fn step(&mut self, file: &File<'a>, nth: usize) {
        match file.word(nth) {
            "{" => {
                let method =
                    nth.checked_sub(1).filter(|at| file.word(*at) == ")").and_then(|at| file.method_before(at));
                let left_out = method.is_some() && std::mem::take(&mut self.conditional);
                self.open.push((method, left_out));
            }
            "}" => {
                self.open.pop();
            }
            ";" if self.arrow.is_some_and(|(_, _, depth)| depth == self.open.len()) => self.arrow = None,
            ">" if self.arrow.is_none() && nth >= 2 && file.word(nth - 1) == "=" && file.word(nth - 2) == ")" => {
                let method =
                    file.method_before(nth - 2).filter(|_| self.open.iter().all(|(method, _)| method.is_none()));
                self.arrow = method.map(|name| (name, std::mem::take(&mut self.conditional), self.open.len()));
            }
            "Conditional" | "ConditionalAttribute" => {
                let debug = file.word(nth + 1) == "(" && file.word(nth + 2) == "\"DEBUG\"";
                self.conditional |= debug && matches!(nth.checked_sub(1).map(|n| file.word(n)), Some("[" | "." | ","));
            }
            _ => {}
        }
    }

    fn left_out(&self) -> bool {
        self.open.iter().any(|(_, out)| *out) || self.arrow.is_some_and(|(_, out, _)| out)
    }

    fn function(&self) -> Option<String> {
        let named = self.open.iter().rev().find_map(|(method, _)| *method);
        named.or(self.arrow.map(|(name, ..)| name)).map(String::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hits as `line:column call (method)`.
    fn check(source: &str, expect: &[&str]) {
        let hits = find(source.as_bytes()).unwrap_or_else(|| panic!("not read: {source}"));
        let shown =
            |h: &Hit| format!("{}:{} {} ({})", h.row + 1, h.column + 1, h.call, h.function.as_deref().unwrap_or("-"));
        assert_eq!(hits.iter().map(shown).collect::<Vec<_>>(), expect, "{source}");
    }

    #[test]
    fn calls_with_their_methods() {
        check(
            "class A {\n  void Total(int x) {\n    if (x > 1) { Console.WriteLine($\"{x}\"); }\n    Debugger.Break();\n  }\n}",
            &["3:18 Console.WriteLine (Total)", "4:5 Debugger.Break (Total)"],
        );
        check(
            "class A : B { A(int x) : base(x) { System.Diagnostics.Debugger.Launch(); } }",
            &["1:36 Debugger.Launch (A)"],
        );
        check(
            "class A { void F() => global::System.Console.Error.WriteLine(1); int G; }",
            &["1:23 Console.Error.WriteLine (F)"],
        );
        check(
            "Console.Write(1);\nlist.ForEach(x => { Trace.WriteLine(x); });",
            &["1:1 Console.Write (-)", "2:21 Trace.WriteLine (-)"],
        );
        check(
            "using static System.Console;\nWriteLine(1);\nclass A { void WriteLine(int x) { } }",
            &["2:1 WriteLine (-)"],
        );
        check("var s = $\"a {Console.Write(1)} b\";", &["1:14 Console.Write (-)"]);
    }

    #[test]
    fn look_alikes_and_what_a_release_leaves_out() {
        for clean in [
            "// Console.WriteLine(1)\n/* Debugger.Break() */ var s = \"Debugger.Break()\"; var t = @\"Console.Write(\"\"1\"\")\";",
            "my.Console.WriteLine(1); logger.Trace.Write(1); x?.Debugger.Break();",
            "Debug.WriteLine(1); Debug.Assert(x); Console.ReadLine(); Console.Out.Flush();",
            "#if DEBUG\nDebugger.Launch();\n#endif\nvar x = nameof(Console.WriteLine);",
            "class A { [Conditional(\"DEBUG\")] void Log(string s) { Console.WriteLine(s); } }",
            "class A { [Conditional(\"DEBUG\")]\n static void Log(string s) => Debugger.Break(); }",
            "static class Console { } class B { void F() { Console.WriteLine(1); } }",
            "if (Debugger.IsAttached) { }",
        ] {
            check(clean, &[]);
        }
        check(
            "class A { [Conditional(\"DEBUG\")] void Log() { } void F() { Debugger.Break(); } }",
            &["1:60 Debugger.Break (F)"],
        );
        check("#if DEBUG\n#else\nDebugger.Break();\n#endif", &["3:1 Debugger.Break (-)"]);
        check("(:base(){", &[]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(parts in proptest::collection::vec(0..14usize, 0..60)) {
            let words = ["Console", ".", "Write", "(", ")", "{", "}", "=>", ";", ":", "base", "Conditional", "\"DEBUG\"", " "];
            let _ = find(parts.into_iter().map(|i| words[i]).collect::<String>().as_bytes());
        }
    }
}
