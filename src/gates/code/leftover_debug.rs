//! Gate `code.leftover_debug`: debugger statements, debug output and unfinished markers in code that ships.
//!
//! A forgotten `console.log` floods logs and leaks data; a `debugger` or `binding.pry` stops a server. Sources are
//! matched on their syntax tree (`debug_rules.rs`), so strings, comments and look-alikes do not count; which files ship
//! says `role.rs`. A bundler that drops console calls (`bundler.rs`) turns its sources' hits into notes. Reads files
//! only. To fix a failure: remove the call, use the logger, or say why it stays: `hypercare:allow` with a reason.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::bundler::{self, Drop};
use super::debug_places::{self, Aim};
use super::debug_rules::{self, Hit, Weight};
use super::linters;
use super::role::{EntryPoints, Role};
use super::syntax::{self, Source};
use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{Repo, RepoFile, SOURCE_FILE_BYTES_MAX};
use crate::gates::facts::Facts;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::suppression::{self, Inline};
use crate::gates::{About, Found, Gate, GateContext, Lock, Part, Reader, Section, Stage};

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
              var_dump, dd, dbg!, todo!, unimplemented!, spew.Dump, printStackTrace in code that ships; warns on alert(), \
              on plain prints where a logger is used, and on focused tests; notes what the bundler drops",
    fix: "remove the call or use the logger; intended output: // hypercare:allow code.leftover_debug -- <reason>",
};

impl Gate for LeftoverDebug {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, line: &str| {
            Fixture::of(what)
                .file("package.json", "{\"name\": \"shop\"}\n")
                .file("src/cart.js", format!("export function total(cents) {{\n{line}  return cents;\n}}\n"))
        };
        let bad = shop("a debugger statement was left behind", "  debugger;\n  console.log(cents);\n");
        Some(Proof { good: shop("nothing was left behind", ""), bad })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let facts = ctx.facts.clone();
            ctx.in_sweep(ABOUT.id, move |repo, config, _: &Looking, found| {
                judge(&gather(repo, found, &facts, &config.code.leftover_debug))
            })
            .await
        })
    }

    fn keeps(&self) -> bool {
        true
    }

    fn reader(&self, ctx: &GateContext) -> Option<Part> {
        let config = &ctx.config.code.leftover_debug;
        ctx.repo.as_ref().map(|repo| Part::new(Looking::new(repo, &ctx.facts, config)))
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
    /// Hits that they take away.
    dropped: usize,
}

/// Adds up what was found in each file.
fn gather(repo: &Repo, mut found: Found<Looking>, facts: &Facts, config: &Config) -> Seen {
    let logger = facts.of("logger").next().map(|f| f.value.clone());
    let mut seen = Seen::default();
    for source in repo.files.iter().filter_map(|file| Some((Source::of(&file.path)?, file))) {
        seen.code_files += 1;
        if let (Source::NoGrammar(name), file) = source
            && Role::of_path(&file.path).ships()
        {
            seen.known += 1;
            *seen.unsupported.entry(name).or_default() += 1;
        }
    }
    // Settings first: they say what the hits mean.
    seen.drops = found.iter_mut().flat_map(|(_, read)| std::mem::take(&mut read.drops)).collect();
    for (nth, read) in found {
        let path = repo.files[nth].path.as_str();
        let Some(Code { role, hits }) = read.code else { continue };
        seen.known += u64::from(role.ships());
        match hits {
            Some((hits, text)) => {
                seen.covered += u64::from(role.ships());
                report(&mut seen, path, &hits, &text, logger.as_deref(), config);
            }
            None if role.ships() => seen.unparsable.push(path.to_string()),
            None => {}
        }
    }
    seen
}

/// What is read in one file.
struct Read {
    code: Option<Code>,
    drops: Vec<Drop>,
}

/// The part that a source plays, and what was found in it.
struct Code {
    role: Role,
    /// The text is kept only where there are hits. `None`: it could not be read.
    hits: Option<(Vec<Hit>, String)>,
}

/// Looks at each source that ships, and at tests.
struct Looking {
    entries: EntryPoints,
    allow: Vec<String>,
    /// Plain output matters only beside a logger.
    logger: bool,
}

impl Looking {
    fn new(repo: &Repo, facts: &Facts, config: &Config) -> Looking {
        let entries = EntryPoints::read(repo);
        Looking { entries, allow: config.allow.clone(), logger: facts.any("logger") }
    }

    fn aim(&self, role: Role) -> Option<Aim> {
        match role {
            Role::Test => Some(Aim::Focus),
            Role::Product if self.logger => Some(Aim::Prints),
            _ => role.ships().then_some(Aim::Leftovers),
        }
    }

    /// `None`: it could not be parsed.
    fn hits(&self, source: Source, role: Role, text: &[u8]) -> Option<Vec<Hit>> {
        let Some(aim) = self.aim(role) else { return Some(Vec::new()) };
        let places = debug_places::places(source, aim, text, &self.allow);
        if places.is_empty() {
            return Some(Vec::new());
        }
        let mut hits = debug_rules::find(&syntax::parse(source, text)?, text, &places);
        hits.retain(|hit| match hit.weight {
            Weight::Leftover => role.ships(),
            Weight::Console | Weight::Print | Weight::Mention | Weight::Alert | Weight::Ask => role == Role::Product,
            Weight::Focus => role == Role::Test,
        });
        Some(hits)
    }
}

/// Is it a source that is looked at, by its name?
fn is_code(path: &str) -> Option<Source> {
    let source = Source::of(path).filter(|source| !matches!(source, Source::NoGrammar(_)))?;
    let role = Role::of_path(path);
    (role.ships() || role == Role::Test).then_some(source)
}

impl Reader for Looking {
    type Found = Read;

    fn wants(&self, file: &RepoFile) -> Option<u64> {
        let wanted = is_code(&file.path).is_some() || bundler::may_hold_settings(&file.path);
        wanted.then_some(SOURCE_FILE_BYTES_MAX)
    }

    fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Read {
        let source = is_code(&file.path);
        let Some(text) = text else {
            let code = source.map(|_| Code { role: Role::of_path(&file.path), hits: None });
            return Read { code, drops: Vec::new() };
        };
        let drops = match bundler::may_hold_settings(&file.path) {
            true => bundler::drops(&file.path, &String::from_utf8_lossy(text)),
            false => Vec::new(),
        };
        let code = source.map(|source| {
            let role = Role::of(&file.path, text, &self.entries);
            let with_text = |hits: Vec<Hit>| match hits.is_empty() {
                true => (hits, String::new()),
                false => (hits, String::from_utf8_lossy(text).into_owned()),
            };
            Code { role, hits: self.hits(source, role, text).map(with_text) }
        });
        Read { code, drops }
    }
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
                seen.dropped += 1;
                let by = format!(", dropped by {} ({}:{})", d.tool, d.file, d.line);
                (Effect::Note, Severity::Info, format!("{} {place}{by}", hit.call))
            }
            (None, Weight::Leftover) => (Effect::Fail, Severity::Medium, format!("{} {place}", hit.call)),
            (None, Weight::Console) => (Effect::Fail, Severity::Low, format!("{} {place}", hit.call)),
            (None, Weight::Print) => (Effect::Warn, Severity::Low, format!("{} {place}", hit.call)),
            (None, Weight::Alert) => (Effect::Warn, Severity::Low, format!("{} {place}", hit.call)),
            (None, Weight::Mention) => {
                (Effect::Note, Severity::Info, format!("{} {place}, not called there", hit.call))
            }
            (None, Weight::Ask) => (Effect::Note, Severity::Info, format!("{} {place}", hit.call)),
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
        Weight::Mention => "see where it is called".into(),
        Weight::Alert | Weight::Ask => "tell it in the page".into(),
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
        let of = |rule| counted(Effect::Warn).filter(|(_, f)| f.rule == rule).count();
        let (focus, alerts) = (of("focused-test"), of("alert"));
        let parts = [(focus, "focused test"), (alerts, "alert"), (warns - focus - alerts, "print")];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, w)| count(*n, w)).collect();
        Outcome::warn(format!("{} in {}", parts.join(", "), count(files(counted(Effect::Warn)), "file")))
    } else if (seen.covered as f64) < seen.known as f64 * COVERED_SHARE_MIN {
        let also =
            if languages.is_empty() { String::new() } else { format!(" (no grammar for {})", languages.join(", ")) };
        Outcome::warn(format!("no leftovers in the {} of {} files inspected{also}", seen.covered, seen.known))
    } else {
        let also = match seen.dropped {
            0 => String::new(),
            n => format!("; {} dropped by the bundler", count(n, "call")),
        };
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
    use crate::gates::{sweep, testing};

    fn run_with(files: &[(&str, &str)], facts: &[(&'static str, &str)], config: &Config) -> Outcome {
        let (_dir, repo) = testing::repo(files);
        let facts = testing::facts(facts);
        let (_, found) = sweep::alone(&repo, Looking::new(&repo, &facts, config));
        judge(&gather(&repo, found, &facts, config))
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
