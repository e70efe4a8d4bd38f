//! Gate `code.leftover_debug`: debugger statements, debug output and unfinished markers in code that ships.
//!
//! A forgotten `console.log` floods logs and leaks data; a `debugger` or `binding.pry` stops a server. Sources are
//! matched on their syntax tree (`debug_rules.rs`), so strings, comments and look-alikes do not count; which files ship
//! says `role.rs`. A bundler that drops console calls (`bundler.rs`) turns its sources' hits into notes. Reads files
//! only. To fix a failure: remove the call, use the logger, or say why it stays: `hypercare:allow` with a reason.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::bundler::{self, Drop};
use super::debug_rules::{self, Hit, Weight};
use super::linters;
use super::role::{EntryPoints, Role};
use super::syntax::{self, Language, Source};
use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{Repo, RepoFile, SOURCE_FILE_BYTES_MAX, off_thread, on_every_core};
use crate::gates::facts::Facts;
use crate::gates::suppression::{self, Inline};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.code.leftover_debug]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Calls that may stay everywhere, by name: `console.info`, `fmt.Println`, `puts`.
    /// Default: `["console.error", "console.warn"]`, which carry real trouble in a browser.
    pub allow: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config { allow: vec!["console.error".into(), "console.warn".into()] }
    }
}

impl Config {
    /// Problems by path below `gates.code.leftover_debug`.
    pub fn validate(&self) -> Vec<Problem> {
        let odd = |name: &&String| name.is_empty() || name.contains(|c: char| c.is_whitespace() || "()*;".contains(c));
        let problem = |name: &String| {
            Problem::at(["allow"], format!("`{name}` is not the name of a call")).hint("write for example console.info")
        };
        self.allow.iter().filter(odd).map(problem).collect()
    }
}

pub struct LeftoverDebug;

pub static ABOUT: About = About {
    id: "code.leftover_debug",
    section: Section::Code,
    class: Class::B,
    line: "no leftover console.log or debugger in code",
    min_tier: Tier::E1,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "sources in JavaScript, TypeScript, Vue, Svelte, Python, Go, Rust, Java, Ruby and PHP by syntax tree, and the \
            bundler's settings; not tests (only for focused ones), scripts, settings, stories, vendored or generated files",
    decides: "fails on debugger statements, console.log|debug|dir|trace|table, breakpoint(), pdb, binding.pry, byebug, \
              var_dump, dd, dbg!, todo!, unimplemented!, spew.Dump, printStackTrace in code that ships; warns on plain \
              prints where a logger is used, and on focused tests; notes what the bundler drops",
    fix: "remove the call or use the logger; intended output: // hypercare:allow code.leftover_debug -- <reason>",
};

impl Gate for LeftoverDebug {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo.clone(),
                Err(outcome) => return *outcome,
            };
            let (facts, config) = (ctx.facts.clone(), ctx.config.clone());
            off_thread(move || judge(&look(&repo, &facts, &config.code.leftover_debug))).await
        })
    }
}

/// What a finding does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Note,
    Warn,
    Fail,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    /// Files of program code of any role.
    code_files: u64,
    /// Files that ship, and those of them that were inspected.
    known: u64,
    covered: u64,
    /// Files that ship but could not be understood: broken, too large, unreadable.
    unparsable: Vec<String>,
    /// Files that ship in languages without a grammar, by language.
    unsupported: BTreeMap<&'static str, u64>,
    findings: Vec<(Effect, Finding)>,
    /// One row per finding, for the ledger.
    rows: Vec<serde_json::Value>,
    drops: Vec<Drop>,
}

/// Inspects all sources on as many threads as there are processors.
fn look(repo: &Repo, facts: &Facts, config: &Config) -> Seen {
    let logger = facts.of("logger").next().map(|f| f.value.clone());
    let entries = EntryPoints::read(repo);
    let sources: Vec<(&RepoFile, Source)> =
        repo.files.iter().filter_map(|f| Source::of(&f.path).map(|s| (f, s))).collect();

    let results = on_every_core(&sources, |(file, source)| look_at(repo, file, *source, &entries));
    let mut seen = Seen { code_files: sources.len() as u64, drops: bundler::drops(repo), ..Seen::default() };
    for ((file, _), Read { role, content }) in sources.iter().zip(results) {
        let path = file.path.as_str();
        seen.known += u64::from(role.ships());
        match content {
            Content::Hits { hits, text } => {
                seen.covered += u64::from(role.ships());
                report(&mut seen, path, &hits, &text, logger.as_deref(), config);
            }
            Content::NotRead if role.ships() => seen.unparsable.push(path.to_string()),
            Content::NoGrammar(name) if role.ships() => *seen.unsupported.entry(name).or_default() += 1,
            Content::NotRead | Content::NoGrammar(_) => {}
        }
    }
    seen
}

/// One file: the part it plays and what was found in it.
struct Read {
    role: Role,
    content: Content,
}

enum Content {
    /// Inspected. The text is kept only where there are hits.
    Hits {
        hits: Vec<Hit>,
        text: String,
    },
    NotRead,
    NoGrammar(&'static str),
}

/// One automaton per language, and one for tests.
struct Words {
    by_language: BTreeMap<Language, AhoCorasick>,
    focus: AhoCorasick,
}

#[expect(clippy::expect_used, reason = "the words are constants, and every test of this gate builds the automata")]
static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let automaton = |words: &[&str]| AhoCorasick::new(words).expect("constant words");
    Words {
        by_language: Language::ALL.map(|l| (l, automaton(debug_rules::candidates(l)))).into(),
        focus: automaton(&debug_rules::FOCUS_CANDIDATES),
    }
});

impl Words {
    fn any(&self, source: Source, role: Role, text: &[u8]) -> bool {
        let language = match source {
            Source::Grammar(language) => language,
            Source::Embedded => Language::JavaScript,
            Source::NoGrammar(_) => return false,
        };
        match role {
            Role::Test => self.focus.is_match(text),
            _ => role.ships() && self.by_language.get(&language).is_some_and(|w| w.is_match(text)),
        }
    }
}

fn look_at(repo: &Repo, file: &RepoFile, source: Source, entries: &EntryPoints) -> Read {
    let clean = || Content::Hits { hits: Vec::new(), text: String::new() };
    let role = Role::of_path(&file.path);
    if !role.ships() && role != Role::Test {
        return Read { role, content: clean() };
    }
    if let Source::NoGrammar(name) = source {
        return Read { role, content: Content::NoGrammar(name) };
    }
    let text = match repo.read(&file.path, SOURCE_FILE_BYTES_MAX) {
        Ok(text) if file.bytes <= SOURCE_FILE_BYTES_MAX => text,
        _ => return Read { role, content: Content::NotRead },
    };
    let role = Role::of(&file.path, &text, entries);
    if !WORDS.any(source, role, &text) {
        return Read { role, content: clean() };
    }
    let Some(parsed) = syntax::parse(source, &text) else {
        return Read { role, content: Content::NotRead };
    };
    let mut hits = debug_rules::find(&parsed, &text);
    hits.retain(|hit| match hit.weight {
        Weight::Leftover => role.ships(),
        Weight::Console | Weight::Print => role == Role::Product,
        Weight::Focus => role == Role::Test,
    });
    let text = if hits.is_empty() { String::new() } else { String::from_utf8_lossy(&text).into_owned() };
    Read { role, content: Content::Hits { hits, text } }
}

/// Turns the hits of one file into findings.
fn report(seen: &mut Seen, path: &str, hits: &[Hit], text: &str, logger: Option<&str>, config: &Config) {
    let lines: Vec<&str> = text.lines().collect();
    let mut ordinals: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for hit in hits {
        if config.allow.contains(&hit.call) || (hit.weight == Weight::Print && logger.is_none()) {
            continue;
        }
        let line = lines.get(hit.row).copied().unwrap_or_default();
        let number = hit.row as u32 + 1;
        // Columns count characters, as editors do.
        let column = line.get(..hit.column).map_or(hit.column, |before| before.chars().count()) as u32 + 1;
        let normal = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let ordinal = ordinals.entry((hit.rule, normal.clone())).and_modify(|n| *n += 1).or_insert(0);

        let place = hit.function.as_ref().map_or("at top level".to_string(), |f| format!("in {f}"));
        let dropped = seen
            .drops
            .iter()
            .find(|d| d.reaches(path) && (hit.rule == "console" && d.console || hit.rule == "debugger" && d.debugger));
        let (effect, severity, mut message) = match (dropped, hit.weight) {
            (Some(d), _) => {
                let by = format!(", dropped by {} ({}:{})", d.tool, d.file, d.line);
                (Effect::Note, Severity::Info, format!("{} {place}{by}", hit.call))
            }
            (None, Weight::Leftover) => (Effect::Fail, Severity::Medium, format!("{} {place}", hit.call)),
            (None, Weight::Console) => (Effect::Fail, Severity::Low, format!("{} {place}", hit.call)),
            (None, Weight::Print) => (Effect::Warn, Severity::Low, format!("{} {place}", hit.call)),
            (None, Weight::Focus) => {
                (Effect::Warn, Severity::Medium, format!("{} {place} silences the other tests", hit.call))
            }
        };
        let mut finding_suppressed = linters::suppression(&lines, hit.row, hit.rule);
        match suppression::inline(&lines, number, ABOUT.id, hit.rule) {
            Some(Inline::Allowed(why)) => finding_suppressed = Some(why),
            Some(Inline::NoReason(at)) => {
                message.push_str(&format!("; the hypercare:allow on line {at} gives no reason and does not count"));
            }
            None => {}
        }
        let mut finding = Finding::new(hit.rule, severity, message)
            .at(path, number, column)
            .fix(fix(hit, logger))
            .identified_by(&[hit.rule, path, &normal, &ordinal.to_string()]);
        finding.suppressed = finding_suppressed;
        seen.rows.push(serde_json::json!({
            "file": path, "line": number, "column": column, "rule": hit.rule, "call": hit.call,
            "function": hit.function, "code": snippet(line), "suppressed": finding.suppressed,
        }));
        seen.findings.push((effect, finding));
    }
}

fn fix(hit: &Hit, logger: Option<&str>) -> String {
    match hit.weight {
        Weight::Focus => format!("run the whole suite again: take the focus from `{}`", hit.call),
        Weight::Leftover if hit.rule == "unfinished" => "write the missing part, or answer with an error".into(),
        Weight::Leftover => "remove it".into(),
        Weight::Console | Weight::Print => match logger {
            Some(logger) => format!("remove it or use {logger}"),
            None => "remove it or use a logger".into(),
        },
    }
}

/// Evidence shows code, not data: what stands in quotes may be somebody's token.
fn snippet(line: &str) -> String {
    const CHARS_MAX: usize = 120;
    let (mut out, mut quote) = (String::new(), None);
    for c in line.trim().chars() {
        match quote {
            Some(q) if c == q => (quote, _) = (None, out.push(c)),
            Some(_) => {}
            None if matches!(c, '"' | '\'' | '`') => {
                quote = Some(c);
                out.push(c);
                out.push('…');
            }
            None => out.push(c),
        }
    }
    out.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}

/// Share of files that may be unparsable before the answer is "could not tell".
const UNPARSABLE_SHARE_MAX: f64 = 0.02;
/// Share of known files that must have been inspected for a pass (gates.md 0.1).
const COVERED_SHARE_MIN: f64 = 0.90;

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen) -> Outcome {
    if seen.code_files == 0 {
        return Outcome::skip("no-source", "no file of the repository is program code");
    }
    let languages: Vec<String> = seen.unsupported.iter().map(|(l, n)| format!("{n} {l}")).collect();
    let counted = |effect| seen.findings.iter().filter(move |(e, f)| *e == effect && f.suppressed.is_none());
    let (fails, warns) = (counted(Effect::Fail).count(), counted(Effect::Warn).count());
    let suppressed = seen.findings.iter().filter(|(_, f)| f.suppressed.is_some()).count();

    let outcome = if fails > 0 {
        Outcome::fail(format!("{} in {}", count(fails, "leftover"), count(files(counted(Effect::Fail)), "file")))
    } else if seen.covered == 0 {
        let what = match (seen.known, languages.is_empty()) {
            (0, _) => "all program code is tests, scripts, settings or generated".to_string(),
            (_, true) => "no source that ships could be read".to_string(),
            (_, false) => format!("no grammar for what ships: {} files", languages.join(", ")),
        };
        Outcome::error("nothing-to-inspect", what).hint("check that --repo names the product's sources")
    } else if seen.unparsable.len() as f64 > seen.known as f64 * UNPARSABLE_SHARE_MAX {
        let first = &seen.unparsable[0];
        Outcome::error("unparsable", format!("{} could not be parsed", count(seen.unparsable.len(), "file"))).hint(
            format!("{first} is the first; mend its syntax, or mark it generated with @generated in its first lines"),
        )
    } else if warns > 0 {
        let focus = counted(Effect::Warn).filter(|(_, f)| f.rule == "focused-test").count();
        let parts = [(focus, "focused test"), (warns - focus, "print")];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, w)| count(*n, w)).collect();
        Outcome::warn(format!("{} in {}", parts.join(" and "), count(files(counted(Effect::Warn)), "file")))
    } else if (seen.covered as f64) < seen.known as f64 * COVERED_SHARE_MIN {
        let also =
            if languages.is_empty() { String::new() } else { format!(" (no grammar for {})", languages.join(", ")) };
        Outcome::warn(format!("no leftovers in the {} of {} files inspected{also}", seen.covered, seen.known))
    } else {
        let notes = counted(Effect::Note).count();
        let also = if notes > 0 { format!("; {} dropped by the bundler", count(notes, "call")) } else { String::new() };
        Outcome::pass(format!("no leftovers in {}{also}", count(seen.covered as usize, "file")))
    };

    let judged = outcome.reason.is_none();
    let outcome = match counted(Effect::Fail).chain(counted(Effect::Warn)).next() {
        Some((_, f)) if judged => outcome.hint(format!(
            "{}:{} {}: {}; intended output: hypercare:allow {} -- <reason>",
            f.file.as_deref().unwrap_or_default(),
            f.line.unwrap_or_default(),
            f.message,
            f.fix,
            ABOUT.id,
        )),
        _ => outcome,
    };
    let outcome = if judged { outcome.value(fails, 0).tier(Tier::E1) } else { outcome };
    outcome.covered(seen.covered, seen.known).findings(seen.findings.iter().map(|(_, f)| f.clone()).collect()).evidence(
        "leftovers",
        serde_json::json!({
            "files": {"code": seen.code_files, "ship": seen.known, "inspected": seen.covered},
            "without_grammar": seen.unsupported,
            "unparsable": seen.unparsable.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
            "bundler": seen.drops,
            "suppressed": suppressed,
            "hits": seen.rows.iter().take(EVIDENCE_ROWS_MAX).collect::<Vec<_>>(),
            "hits_total": seen.rows.len(),
        }),
    )
}

/// Keeps one piece of evidence well under its limit of 1 MiB.
const EVIDENCE_ROWS_MAX: usize = 1000;

fn files<'f>(findings: impl Iterator<Item = &'f (Effect, Finding)>) -> usize {
    findings.map(|(_, f)| f.file.as_deref()).collect::<std::collections::BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::Verdict;
    use crate::gates::testing;

    fn run_with(files: &[(&str, &str)], facts: &[(&'static str, &str)], config: &Config) -> Outcome {
        let (_dir, repo) = testing::repo(files);
        judge(&look(&repo, &testing::facts(facts), config))
    }

    fn run(files: &[(&str, &str)]) -> Outcome {
        run_with(files, &[("logger", "winston")], &Config::default())
    }

    /// Verdict, then `file:line:column rule` of every finding (in brackets when suppressed).
    fn check(files: &[(&str, &str)], verdict: Verdict, expect: &[&str]) -> Outcome {
        let outcome = run(files);
        let got: Vec<String> = outcome
            .findings
            .iter()
            .map(|f| {
                let (file, line, column) = (f.file.as_deref().unwrap(), f.line.unwrap(), f.column.unwrap());
                let row = format!("{file}:{line}:{column} {}", f.rule);
                if f.suppressed.is_some() { format!("[{row}]") } else { row }
            })
            .collect();
        assert_eq!((outcome.verdict, got.iter().map(String::as_str).collect::<Vec<_>>()), (verdict, expect.to_vec()));
        outcome
    }

    #[test]
    fn good_code_passes_with_its_denominator() {
        let outcome = check(
            &[
                ("src/a.js", "// console.log(1)\nlogger.info('console.log')\nconsole.error(e)\n"),
                ("src/a.test.js", "console.log(1)\ndebugger\n"),
                ("scripts/x.js", "console.log(1)\n"),
                ("bin/x.js", "console.log(1)\n"),
                ("vite.config.js", "console.log(1)\n"),
                ("src/A.stories.tsx", "console.log(1)\n"),
                ("node_modules/a/a.js", "debugger\n"),
            ],
            Verdict::Pass,
            &[],
        );
        assert_eq!((outcome.covered, outcome.known, outcome.tier), (Some(2), Some(2), Some(Tier::E1)));
    }

    #[test]
    fn leftovers_fail_with_place_function_and_hint() {
        let outcome = check(
            &[
                ("src/a.js", "function applyCoupon() {\n  console.log('é', x); console.log(1)\n}\n"),
                ("b.py", "breakpoint()\n"),
            ],
            Verdict::Fail,
            &["b.py:1:1 debugger", "src/a.js:2:3 console", "src/a.js:2:24 console"],
        );
        assert_eq!(outcome.summary, "3 leftovers in 2 files");
        assert_eq!(outcome.findings[1].message, "console.log in applyCoupon");
        assert_eq!((outcome.value, outcome.threshold), (Some(3.into()), Some(0.into())));
        assert!(
            outcome
                .hint
                .unwrap()
                .starts_with("b.py:1 debugger at top level".replace("debugger", "breakpoint").as_str())
        );
    }

    #[test]
    fn prints_warn_only_beside_a_logger() {
        let go: &[(&str, &str)] = &[("a.go", "package a\nfunc F() { fmt.Println(1) }\n")];
        check(go, Verdict::Warn, &["a.go:2:12 print"]);
        assert_eq!(run_with(go, &[], &Config::default()).verdict, Verdict::Pass);
        let allow = Config { allow: vec!["fmt.Println".into()] };
        assert_eq!(run_with(go, &[("logger", "zap")], &allow).verdict, Verdict::Pass);
    }

    #[test]
    fn a_program_may_print_but_not_stop() {
        check(&[("bin/a.js", "console.log(1)\ndebugger\n")], Verdict::Fail, &["bin/a.js:2:1 debugger"]);
        let manifest = r#"{"bin": {"shop": "./lib/main.js"}}"#;
        check(&[("package.json", manifest), ("lib/main.js", "console.log(1)\n")], Verdict::Pass, &[]);
    }

    #[test]
    fn focused_tests_warn() {
        let outcome = check(
            &[("a.js", "f()\n"), ("a.test.js", "it.only('x', f)\n")],
            Verdict::Warn,
            &["a.test.js:1:1 focused-test"],
        );
        assert_eq!(outcome.summary, "1 focused test in 1 file");
    }

    #[test]
    fn suppressions_are_listed_and_need_a_reason() {
        check(
            &[(
                "a.js",
                concat!(
                    "console.log(1) // hypercare:allow code.leftover_debug -- banner\n",
                    "// eslint-disable-next-line no-console\n",
                    "console.log(2)\n",
                    "console.log(3) // eslint-disable-line no-console -- banner\n",
                ),
            )],
            Verdict::Pass,
            &["[a.js:1:1 console]", "[a.js:3:1 console]", "[a.js:4:1 console]"],
        );
        let file = "/* eslint-disable no-console */\nconsole.log(1)\n/* eslint-enable */\nconsole.log(2)\n";
        check(&[("a.js", file)], Verdict::Fail, &["[a.js:2:1 console]", "a.js:4:1 console"]);
        check(&[("a.py", "print(1)  # noqa: T201\n")], Verdict::Pass, &["[a.py:1:1 print]"]);
        let outcome = run(&[("a.js", "console.log(1) // hypercare:allow code.leftover_debug\n")]);
        assert_eq!(outcome.verdict, Verdict::Fail);
        assert!(outcome.findings[0].message.contains("gives no reason"), "{}", outcome.findings[0].message);
    }

    #[test]
    fn a_bundler_that_drops_makes_them_notes() {
        let outcome = check(
            &[
                ("vite.config.js", "export default { esbuild: { drop: ['console'] } }\n"),
                ("src/a.js", "console.log(1)\n"),
            ],
            Verdict::Pass,
            &["src/a.js:1:1 console"],
        );
        assert_eq!(outcome.findings[0].severity, Severity::Info);
        check(
            &[
                ("vite.config.js", "export default { esbuild: { drop: ['console'] } }\n"),
                ("src/a.js", "debugger\n"),
                ("server/a.js", "console.log(1)\n"),
            ],
            Verdict::Fail,
            &["server/a.js:1:1 console", "src/a.js:1:1 debugger"],
        );
    }

    #[test]
    fn cannot_tell() {
        let outcome = run(&[("README.md", "console.log(1)\n")]);
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Skip, Some("no-source")));
        for (files, reason) in [
            (&[("scripts/a.js", "f()\n")][..], "nothing-to-inspect"),
            (&[("Program.cs", "class A {}\n")], "nothing-to-inspect"),
            (&[("a.js", "f()\n"), ("b.js", "%%% ]]] console.log((((( {{{{ %%% <<<\n")], "unparsable"),
        ] {
            let outcome = run(files);
            assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some(reason)), "{files:?}");
        }
    }

    #[test]
    fn languages_without_a_grammar_lower_the_denominator() {
        let outcome = check(&[("a.js", "f()\n"), ("A.cs", "class A {}\n")], Verdict::Warn, &[]);
        assert_eq!((outcome.covered, outcome.known), (Some(1), Some(2)));
        assert!(outcome.summary.contains("no grammar for 1 C#"), "{}", outcome.summary);
    }

    #[test]
    fn fingerprints_survive_line_shifts_and_tell_twins_apart() {
        let before = run(&[("a.js", "console.log(1)\nconsole.log(1)\n")]);
        let after = run(&[("a.js", "\n\n  console.log(1)\nf()\nconsole.log(1)\n")]);
        let prints = |o: &Outcome| o.findings.iter().map(|f| f.fingerprint.clone()).collect::<Vec<_>>();
        assert_eq!(prints(&before), prints(&after));
        assert_ne!(prints(&before)[0], prints(&before)[1]);
    }

    #[test]
    fn evidence_shows_no_data() {
        let outcome = run(&[("a.js", "console.log('ghp_0123456789', x)\n")]);
        let text = serde_json::to_string(&outcome.evidence[0].content).unwrap();
        assert!(!text.contains("ghp_") && text.contains("console.log('…', x)"), "{text}");
    }

    #[test]
    fn allow_wants_names() {
        assert_eq!(Config::default().validate(), []);
        assert_eq!(Config { allow: vec!["console.log()".into(), "".into()] }.validate().len(), 2);
    }
}
