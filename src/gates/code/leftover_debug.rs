//! Gate `code.leftover_debug`: debugger statements, debug output and unfinished markers in code that ships.
//!
//! A forgotten `console.log` floods logs and leaks data; a `debugger` or `binding.pry` stops a server. Sources are
//! matched on their syntax tree (`debug_rules.rs`), so strings, comments and look-alikes do not count; which files ship
//! says `role.rs`. A bundler that drops console calls (`bundler.rs`) turns its sources' hits into notes. Reads files
//! only. To fix a failure: remove the call, use the logger, or say why it stays: `hypercare:allow` with a reason.

mod judge;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use self::judge::{Effect, Seen, judge};
use super::bundler::{self, Drop};
use super::debug_places::{self, Aim};
use super::debug_rules::{self, Hit, Weight};
use super::linters;
use super::role::{EntryPoints, Role};
use super::syntax::{self, Source};
use crate::domain::problem::Problem;
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
    /// Command-line programs print their answers. `true`: they are looked at like all other code, as ESLint's `no-console`
    /// and Ruff's `T20` do. Default: false.
    pub strict: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { allow: vec!["console.error".into(), "console.warn".into()], strict: false }
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
    reads: "sources in JavaScript, TypeScript, Vue, Svelte, Python, Go, Rust, Java, Ruby and PHP by syntax tree, C# by \
            its tokens, and the bundler's settings; not tests (only for focused ones), scripts, settings, stories, vendored or generated files",
    decides: "fails on debugger statements, console.log|debug|dir|trace|table, breakpoint(), pdb, binding.pry, byebug, \
              var_dump, dd, dbg!, Debugger.Break, todo!, unimplemented!, spew.Dump, printStackTrace in code that ships; warns on alert(), \
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
            let own = ctx.in_sweep(ABOUT.id, move |repo, config, _: &Looking, found| {
                judge(&gather(repo, found, &facts, &config.code.leftover_debug))
            });
            ctx.with_imports(&ABOUT, own.await)
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
                // The plain output of C# is a hit only where its framework's own logger is.
                let own = path.ends_with(".cs").then_some("ILogger");
                report(&mut seen, path, &hits, &text, logger.as_deref().or(own), config);
            }
            None if role.ships() => seen.unparsable.push(path.to_string()),
            None => {}
        }
    }
    suppression::mark(repo, ABOUT.id, seen.findings.iter_mut().map(|(_, finding)| finding));
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
    /// Programs are code like any other.
    strict: bool,
}

impl Looking {
    fn new(repo: &Repo, facts: &Facts, config: &Config) -> Looking {
        let entries = EntryPoints::read(repo);
        Looking { entries, allow: config.allow.clone(), logger: facts.any("logger"), strict: config.strict }
    }

    fn aim(&self, path: &str, role: Role) -> Option<Aim> {
        match role {
            Role::Test => Some(Aim::Focus),
            Role::Product if self.logger || self.entries.dotnet(path).is_some_and(|p| p.logger) => Some(Aim::Prints),
            _ => role.ships().then_some(Aim::Leftovers),
        }
    }

    /// `None`: it could not be parsed.
    fn hits(&self, path: &str, source: Source, role: Role, text: &[u8]) -> Option<Vec<Hit>> {
        let Some(aim) = self.aim(path, role) else { return Some(Vec::new()) };
        let places = debug_places::places(source, aim, text, &self.allow);
        if places.is_empty() {
            return Some(Vec::new());
        }
        let mut hits = match source {
            Source::CSharp => debug_rules::csharp::find(text)?,
            _ => debug_rules::find(&syntax::parse(source, text)?, text, &places),
        };
        hits.retain(|hit| match hit.weight {
            Weight::Leftover => role.ships(),
            Weight::Answer => role == Role::Product && self.strict,
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
            let role = match Role::of(&file.path, text, &self.entries) {
                Role::Cli if self.strict => Role::Product,
                role => role,
            };
            let with_text = |hits: Vec<Hit>| match hits.is_empty() {
                true => (hits, String::new()),
                false => (hits, String::from_utf8_lossy(text).into_owned()),
            };
            Code { role, hits: self.hits(&file.path, source, role, text).map(with_text) }
        });
        Read { code, drops }
    }
}

/// Turns the hits of one file into findings.
fn report(seen: &mut Seen, path: &str, hits: &[Hit], text: &str, logger: Option<&str>, config: &Config) {
    let lines: Vec<&str> = text.lines().collect();
    let mut ordinals: BTreeMap<(&str, String), u32> = BTreeMap::new();
    for hit in hits {
        if config.allow.contains(&hit.call)
            || (matches!(hit.weight, Weight::Print | Weight::Answer) && logger.is_none())
        {
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
            (None, Weight::Print | Weight::Answer) => (Effect::Warn, Severity::Low, format!("{} {place}", hit.call)),
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
        Weight::Console | Weight::Print | Weight::Answer => match logger {
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

#[cfg(test)]
mod tests;
