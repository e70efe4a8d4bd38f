//! Gate `delivery.rollback`: if the launch goes wrong, is there a way back? What a repository can tell: a procedure that
//! says when, how, who, how long and what becomes of the data; a previous release to go back to; and a schema that the
//! previous code can live with (`migrations.rs`).
//!
//! A rehearsal on staging is what proves a plan; without one this gate warns at best. To fix a failure: write the
//! procedure down, expand before you contract.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::migrations::{self, Risk, Step};
use super::packages::{only_documents, published};
use crate::domain::evidence::sha256_hex;
use crate::domain::problem::Problem;
use crate::domain::units::{Span, count};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier, Verdict};
use crate::gates::context::Repo;
use crate::gates::facts::Facts;
use crate::gates::facts::git::Git;
use crate::gates::facts::versions;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.delivery.rollback]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What puts the previous release back. Run in rehearsals only, and only with --allow-exec.
    pub command: Option<String>,
    /// The document. Default: ROLLBACK.md, docs/**/rollback*, or a section about rollback in another document.
    pub doc: Option<String>,
    /// How long the way back may take. Default: 10m.
    pub max_duration: Span,
}

impl Default for Config {
    fn default() -> Self {
        Config { command: None, doc: None, max_duration: Span::secs(600) }
    }
}

impl Config {
    pub fn validate(&self) -> Vec<Problem> {
        let empty = |text: &Option<String>| text.as_ref().is_some_and(|t| t.trim().is_empty());
        let keys = [("command", &self.command), ("doc", &self.doc)];
        keys.into_iter()
            .filter(|(_, v)| empty(v))
            .map(|(key, _)| Problem::at([key], "is empty").hint("leave it out"))
            .collect()
    }
}

pub struct Rollback;

pub static ABOUT: About = About {
    id: "delivery.rollback",
    section: Section::Delivery,
    class: Class::A,
    line: "rollback plan in place (script or quick revert strategy)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "the rollback command, document or script, the previous release tag, revisionHistoryLimit of Deployments, and \
            the migrations since that tag (Alembic, Django, Rails, Flyway, Prisma, Knex, golang-migrate, sqlx, diesel)",
    decides: "there is a procedure naming trigger, steps, owner, time and data; the platform keeps previous revisions; no \
              migration drops, renames or narrows what the previous release's code still names; without a rehearsal it warns",
    fix: "write ROLLBACK.md, keep previous revisions, split a destructive migration into expand and contract",
};

impl Gate for Rollback {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let plan = "# Rollback\n\nWhen the error rate stays above 2 % for five minutes, the on-call engineer (owner) runs:\n\n\
                    1. `kubectl rollout undo deployment/shop`\n2. look at /version\n\nIt takes 5 minutes. Data: migrations only \
                    add columns, so nothing in the database is lost.\n";
        let shop = |what, kept: u32| {
            let deployment = format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: shop\nspec:\n  revisionHistoryLimit: {kept}\n"
            );
            Fixture::of(what).file("ROLLBACK.md", plan).file("k8s/shop.yaml", deployment)
        };
        Some(Proof {
            good: shop("a procedure is written down and the last releases are kept", 5),
            bad: shop("the platform keeps no earlier release", 0),
        })
    }

    /// Nothing open is a plan, which is not a rehearsal.
    fn without_findings(&self) -> Option<Verdict> {
        Some(Verdict::Warn)
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let (tag, facts) = (ctx.rid.version.clone(), ctx.facts.clone());
            ctx.in_repo(move |repo, config| {
                let config = &config.delivery.rollback;
                judge(&look(repo, &facts, config), config, tag.as_deref())
            })
            .await
        })
    }
}

/// A document is read by people.
const DOC_BYTES_MAX: u64 = 1024 * 1024;
/// Migrations of one release.
const MIGRATIONS_MAX: usize = 500;

/// The five things that whoever rolls back at night needs to read, and words that give them away.
const PARTS: [(&str, &[&str]); 5] = [
    ("trigger", &["when", "trigger", "if ", "criteria", "threshold"]),
    ("steps", &["```", "1.", "- ", "step", "run "]),
    ("owner", &["owner", "on-call", "on call", "responsible", "who ", "contact", "team", "@"]),
    ("expected time", &["minute", " min", "second", "duration", "how long", "takes"]),
    ("data effects", &["data", "database", "migration", "schema"]),
];

#[derive(Debug, Default)]
struct Seen {
    /// File, and the text about rollback.
    doc: Option<(String, String)>,
    script: Option<String>,
    /// The configured document is not there.
    missing_doc: Option<String>,
    no_history: Vec<(String, u32)>,
    previous: Option<String>,
    is_git: bool,
    shallow: bool,
    migrations: Vec<Migration>,
    package: bool,
    /// The proof that nothing runs at all.
    only_documents: Option<String>,
}

#[derive(Debug, Serialize)]
struct Migration {
    file: String,
    /// With whether the previous release's code still names the object.
    steps: Vec<(Step, bool)>,
    has_down: bool,
}

/// Blocking.
fn look(repo: &Repo, facts: &Facts, config: &Config) -> Seen {
    let only_documents = only_documents(repo);
    let package = only_documents.is_none() && published(repo, facts).is_some();
    let mut seen = Seen { package, only_documents, script: script(repo), ..Seen::default() };
    match &config.doc {
        Some(path) => match repo.read_text(path, DOC_BYTES_MAX) {
            Ok(text) => seen.doc = Some((path.clone(), text)),
            Err(_) => seen.missing_doc = Some(path.clone()),
        },
        None => seen.doc = document(repo),
    }
    for file in repo.files.iter().filter(|f| f.path.ends_with(".yaml") || f.path.ends_with(".yml")) {
        if file.bytes > DOC_BYTES_MAX {
            continue;
        }
        let text = repo.read_text(&file.path, DOC_BYTES_MAX).unwrap_or_default();
        let zero = |line: &str| line.trim().strip_prefix("revisionHistoryLimit:").is_some_and(|v| v.trim() == "0");
        seen.no_history
            .extend(text.lines().enumerate().filter(|(_, l)| zero(l)).map(|(i, _)| (file.path.clone(), i as u32 + 1)));
    }
    if let Some(git) = &repo.git {
        seen.is_git = true;
        seen.shallow = git.work_tree().shallow;
        let tags = git.run(&["tag", "--merged", "HEAD", "--no-contains", "HEAD"]).unwrap_or_default();
        let releases = tags.lines().filter_map(|t| versions::of_tag(t).filter(|v| !v.is_prerelease()).map(|v| (v, t)));
        seen.previous = releases.max_by(|a, b| a.0.precedence(&b.0)).map(|(_, t)| t.to_string());
        if let Some(tag) = seen.previous.clone() {
            seen.migrations = changed_migrations(repo, git, &tag);
        }
    }
    seen
}

/// A document of its own, else a section of another.
fn document(repo: &Repo) -> Option<(String, String)> {
    let is_text = |p: &str| [".md", ".txt", ".rst", ".adoc", ".markdown"].iter().any(|e| p.ends_with(e));
    let near = |p: &str| !p.contains('/') || p.starts_with("docs/") || p.starts_with("doc/") || p.starts_with("ops/");
    let texts = || repo.files.iter().map(|f| f.path.as_str()).filter(|p| is_text(&p.to_ascii_lowercase()) && near(p));
    let named = |p: &&str| p.rsplit('/').next().is_some_and(|n| n.to_ascii_lowercase().contains("rollback"));
    let read = |p: &str| repo.read_text(p, DOC_BYTES_MAX).ok().map(|text| (p.to_string(), text));
    if let Some(found) = texts().find(named).and_then(read) {
        return Some(found);
    }
    // Change logs speak of rollbacks that were.
    let history = |p: &str| ["change", "history", "news", "release"].iter().any(|w| p.to_ascii_lowercase().contains(w));
    texts()
        .filter(|p| !history(p))
        .take(200)
        .filter_map(read)
        .find_map(|(path, text)| section(&text).map(|s| (path, s)))
}

/// The part under a heading about rolling back.
fn section(text: &str) -> Option<String> {
    let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
    let about = |line: &str| {
        let lower = line.to_ascii_lowercase();
        ["rollback", "roll back", "roll-back", "rolling back"].iter().any(|w| lower.contains(w))
    };
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|l| level(l) > 0 && about(l))?;
    let end = lines[start + 1..].iter().position(|l| level(l) > 0 && level(l) <= level(lines[start]));
    Some(lines[start..end.map_or(lines.len(), |e| start + 1 + e)].join("\n"))
}

/// Something that can be run: a script, a make target, an npm script, a workflow.
fn script(repo: &Repo) -> Option<String> {
    let runnable = |p: &str| {
        let (folder, name) = p.rsplit_once('/').unwrap_or(("", p));
        let name = name.to_ascii_lowercase();
        let first = folder.split('/').next().unwrap_or_default();
        name.contains("rollback")
            && (matches!(first, "scripts" | "script" | "bin" | "ops" | "deploy" | "ci" | ".github" | "tools")
                || name.ends_with(".sh"))
            && [".sh", ".py", ".js", ".ts", ".rb", ".yml", ".yaml"]
                .iter()
                .any(|e| name.ends_with(e) || !name.contains('.'))
    };
    if let Some(file) = repo.files.iter().find(|f| runnable(&f.path)) {
        return Some(file.path.clone());
    }
    let make = repo.read_text("Makefile", DOC_BYTES_MAX).unwrap_or_default();
    if make.lines().any(|l| l.starts_with("rollback:")) {
        return Some("Makefile (rollback)".into());
    }
    let npm = repo
        .read("package.json", DOC_BYTES_MAX)
        .ok()
        .and_then(|b| serde_json::from_slice::<serde_json::Value>(&b).ok());
    let names = npm.as_ref().and_then(|m| m["scripts"].as_object()).into_iter().flatten();
    names.map(|(name, _)| name).find(|n| n.contains("rollback")).map(|n| format!("package.json ({n})"))
}

fn changed_migrations(repo: &Repo, git: &Git, tag: &str) -> Vec<Migration> {
    let range = format!("refs/tags/{tag}");
    let listed = git.run(&["diff", "--name-only", "--diff-filter=AM", "-z", &range, "HEAD"]).unwrap_or_default();
    let added = git.run(&["diff", "--name-only", "--diff-filter=A", "-z", &range, "HEAD"]).unwrap_or_default();
    let added: std::collections::BTreeSet<&str> = added.split('\0').collect();
    // A numbered migration of the previous release has been run; a change of its text (a formatter's) runs nothing.
    let numbered = |path: &str| path.rsplit('/').take(2).any(|part| part.starts_with(|c: char| c.is_ascii_digit()));
    let runs = |path: &&str| added.contains(path) || !numbered(path);
    let found = listed.split('\0').filter(runs).filter_map(|path| migrations::tool(path).map(|tool| (path, tool)));
    let one = |(path, tool): (&str, migrations::Tool)| {
        let text = repo.read_text(path, DOC_BYTES_MAX).ok()?;
        let down = tool.down_path(path).and_then(|p| repo.read_text(&p, DOC_BYTES_MAX).ok());
        let steps = migrations::lint(tool, &text).into_iter().map(|step| {
            let named = step.object.is_empty() || names_it(git, &range, &step.object);
            (step, named)
        });
        let has_down = migrations::has_down(tool, &text, down.as_deref());
        Some(Migration { file: path.to_string(), steps: steps.collect(), has_down })
    };
    found.take(MIGRATIONS_MAX).filter_map(one).collect()
}

/// Does the previous release's code, its migrations aside, still use the word?
fn names_it(git: &Git, tag: &str, object: &str) -> bool {
    let not = [
        ":(exclude)*.sql",
        ":(exclude,glob)**/migrations/**",
        ":(exclude,glob)**/migrate/**",
        ":(exclude,glob)**/versions/**",
        ":(exclude)*.md",
    ];
    let args: Vec<&str> =
        ["grep", "-l", "-w", "-I", "-F", "-i", "-e", object, tag, "--", "."].into_iter().chain(not).collect();
    // No match is git grep's way to fail.
    git.run(&args).is_ok_and(|out| !out.trim().is_empty())
}

/// Pure.
fn judge(seen: &Seen, config: &Config, release: Option<&str>) -> Outcome {
    if let (Some(proof), None, None, None) = (&seen.only_documents, &seen.doc, &seen.missing_doc, &config.command) {
        return Outcome::skip("not-deployed", proof.clone());
    }
    let (mut fails, mut warns) = (Vec::new(), Vec::new());
    procedure(seen, config, &mut fails, &mut warns);
    for (file, line) in &seen.no_history {
        let message = "revisionHistoryLimit: 0 keeps no revision to go back to";
        fails.push(
            Finding::new("no-revisions", Severity::High, message)
                .at(file, *line, 1)
                .fix("take it away: the default keeps ten")
                .identified_by(&["no-revisions", file]),
        );
    }
    schema(seen, &mut fails, &mut warns);
    let findings: Vec<Finding> = fails.iter().chain(&warns).cloned().collect();
    let how = match (&config.command, &seen.script, &seen.doc) {
        (Some(_), _, _) => "rollback.command".to_string(),
        (None, Some(script), _) => script.clone(),
        (None, None, Some((doc, _))) => doc.clone(),
        (None, None, None) => "none".to_string(),
    };
    let limit = config.max_duration.to_string();
    let release = release.unwrap_or("this release");
    let outcome = match fails.first() {
        Some(first) => {
            let more = if fails.len() > 1 { format!(" and {} more", fails.len() - 1) } else { String::new() };
            Outcome::fail(format!("{}{more}", first.message)).hint(first.fix.clone())
        }
        None if seen.shallow => Outcome::error("shallow-clone", "the previous release is not in this shallow clone")
            .hint("fetch everything: git fetch --unshallow --tags"),
        None => {
            let changed = match seen.migrations.len() {
                0 => "no migration".to_string(),
                n => count(n, "migration"),
            };
            let since =
                seen.previous.as_deref().map_or("first release".to_string(), |t| format!("{changed} since {t}"));
            let weak = warns.first().map(|w| format!("; {}", w.message)).unwrap_or_default();
            let unwritten = seen.package && how == "none";
            // What people have downloaded cannot be rolled back, only withdrawn and followed.
            let (summary, hint) = match (seen.package, &warns[..]) {
                (true, [first, ..]) if unwritten => (first.message.clone(), first.fix.clone()),
                (true, _) => (
                    format!("plan: {how}; {since}; not rehearsed{weak}"),
                    format!(
                        "try {how} once with a pre-release: publish it, withdraw it, publish the next; keep the record"
                    ),
                ),
                (false, _) => (
                    format!("plan: {how}; {since}; not rehearsed{weak}"),
                    format!(
                        "No rehearsal for {release}. Rehearse it on staging (plan: {how}, limit {limit}), and keep the record"
                    ),
                ),
            };
            Outcome::warn(summary).hint(hint)
        }
    };
    let doc =
        seen.doc.as_ref().map(|(path, text)| serde_json::json!({"file": path, "sha256": sha256_hex(text.as_bytes())}));
    outcome.value(fails.len(), 0).tier(Tier::E1).findings(findings).evidence(
        "rollback",
        serde_json::json!({
            "document": doc, "script": seen.script, "command": config.command.is_some(), "previous": seen.previous,
            "migrations": seen.migrations,
        }),
    )
}

fn procedure(seen: &Seen, config: &Config, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    if let Some(path) = &seen.missing_doc {
        let finding = Finding::new(
            "missing-document",
            Severity::High,
            format!("{path}, named in the configuration, is not there"),
        );
        fails.push(finding.in_file(path).fix("write it, or correct doc").identified_by(&["missing-document"]));
    }
    if let Some((path, text)) = &seen.doc {
        let lower = text.to_ascii_lowercase();
        let lacks: Vec<&str> =
            PARTS.iter().filter(|(_, words)| !words.iter().any(|w| lower.contains(w))).map(|(part, _)| *part).collect();
        if !lacks.is_empty() {
            let message = format!("{path} does not say: {}", lacks.join(", "));
            warns.push(
                Finding::new("thin-document", Severity::Medium, message)
                    .in_file(path)
                    .fix("name trigger, steps, owner, expected time and what becomes of the data")
                    .identified_by(&["thin-document", path]),
            );
        }
    } else if config.command.is_none() && seen.script.is_none() && seen.missing_doc.is_none() {
        let words = if seen.package {
            (
                "how a bad release is withdrawn is not written down",
                "write it in ROLLBACK.md: who yanks or deprecates the version, and how a fixed one follows",
            )
        } else {
            (
                "no rollback procedure: neither a command nor a document",
                "write ROLLBACK.md: trigger, steps, owner, expected time, data effects; or set rollback.command",
            )
        };
        let finding =
            Finding::new("no-procedure", Severity::High, words.0).fix(words.1).identified_by(&["no-procedure"]);
        // What people have downloaded cannot be rolled back by anybody.
        if seen.package { warns.push(Finding { severity: Severity::Medium, ..finding }) } else { fails.push(finding) }
    }
}

fn schema(seen: &Seen, fails: &mut Vec<Finding>, warns: &mut Vec<Finding>) {
    let plan = seen.doc.as_ref().map(|(_, text)| text.to_ascii_lowercase()).unwrap_or_default();
    let previous = seen.previous.as_deref().unwrap_or_default();
    for migration in &seen.migrations {
        for (step, named) in &migration.steps {
            let object = if step.object.is_empty() { "something".to_string() } else { step.object.clone() };
            let at = |finding: Finding| {
                finding.at(&migration.file, step.line, 1).identified_by(&[step.what, &migration.file, &step.object])
            };
            match step.risk {
                Risk::Locks => warns.push(
                    at(Finding::new(
                        "lock-hazard",
                        Severity::Medium,
                        format!("{} ({object}): the table is locked while it runs", step.what),
                    ))
                    .fix("create indexes CONCURRENTLY, add constraints NOT VALID, set lock_timeout"),
                ),
                // Contracting after the code has let go: the previous release does not mind.
                Risk::Irreversible if !named => {}
                Risk::Irreversible => {
                    let planned = !step.object.is_empty() && plan.contains(&step.object.to_ascii_lowercase());
                    let message =
                        format!("{} of {object}, which {previous} still names: its code cannot come back", step.what);
                    let finding = at(Finding::new("irreversible-migration", Severity::High, message))
                        .fix("first release code that does without it, then contract; or write the compensation into the rollback document");
                    if planned {
                        warns.push(Finding { severity: Severity::Medium, ..finding })
                    } else {
                        fails.push(finding)
                    }
                }
            }
        }
        if !migration.has_down {
            let message = format!("{} has no way down", migration.file);
            warns.push(
                Finding::new("no-down-step", Severity::Low, message)
                    .in_file(&migration.file)
                    .fix("write the down step, or why none is needed")
                    .identified_by(&["no-down-step", &migration.file]),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::facts::git::scratch::Scratch;
    use crate::gates::facts::walk;
    use crate::gates::testing;

    const DOC: &str = "# Rollback\nWhen errors rise over 2 %, the on-call engineer runs:\n\n1. `./deploy.sh v1`\n\nIt takes 5 minutes. The database stays as it is.\n";

    fn expect(repo: &Repo, config: &Config, verdict: Verdict, rules: &[&str]) -> Outcome {
        let outcome = judge(&look(repo, &Facts::default(), config), config, Some("v1.1.0"));
        let got: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
        assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{outcome:#?}");
        outcome
    }

    #[test]
    fn a_procedure_is_wanted() {
        let check = |files: &[(&str, &str)], verdict, rules: &[&str]| {
            let (_dir, repo) = testing::repo(files);
            expect(&repo, &Config::default(), verdict, rules)
        };
        let good = check(&[("ROLLBACK.md", DOC)], Verdict::Warn, &[]);
        assert!(
            good.summary.contains("not rehearsed") && good.hint.unwrap().contains("v1.1.0"),
            "a plan is not a rehearsal"
        );
        check(&[("docs/ops.md", &format!("# Ops\n## Other\nx\n#{DOC}"))], Verdict::Warn, &[]);
        check(&[("ROLLBACK.md", "Call Joe.")], Verdict::Warn, &["thin-document"]);
        check(&[("scripts/rollback.sh", "kubectl rollout undo deploy/shop")], Verdict::Warn, &[]);
        check(&[("Makefile", "rollback:\n\tcap production deploy:rollback\n")], Verdict::Warn, &[]);
        check(&[("README.md", "# Shop\n"), ("Dockerfile", "")], Verdict::Fail, &["no-procedure"]);
        check(&[("CHANGELOG.md", "# 1.0\n## Rollback\nfixed\n"), ("a.yaml", "")], Verdict::Fail, &["no-procedure"]);
        let library = check(&[("Cargo.toml", "[package]\n")], Verdict::Warn, &["no-procedure"]);
        assert_eq!(library.summary, "how a bad release is withdrawn is not written down");
        assert!(library.hint.unwrap().contains("who yanks or deprecates"), "a library has no staging");
        let (_dir, repo) = testing::repo(&[("README.md", "# Links\n"), ("LICENSE", "")]);
        let outcome = expect(&repo, &Config::default(), Verdict::Skip, &[]);
        assert_eq!(outcome.summary, "2 documents and nothing that runs");
        check(
            &[("ROLLBACK.md", DOC), ("k8s/a.yaml", "kind: Deployment\nspec:\n  revisionHistoryLimit: 0\n")],
            Verdict::Fail,
            &["no-revisions"],
        );
        let (_dir, repo) = testing::repo(&[("ROLLBACK.md", DOC)]);
        let named = Config { doc: Some("docs/back.md".into()), ..Config::default() };
        expect(&repo, &named, Verdict::Fail, &["missing-document"]);
    }

    #[test]
    fn the_schema_must_suit_the_previous_code() {
        let repo = Scratch::new();
        repo.write("ROLLBACK.md", DOC).write("app.js", "db.query('SELECT note FROM orders')");
        repo.write("migrations/0001_a.up.sql", "create table orders (note text, old text);")
            .commit("start")
            .tag("v1.0.0");
        let check = |file: &str, sql: &str, verdict, rules: &[&str]| {
            repo.git(&["checkout", "--quiet", "-B", "topic", "v1.0.0"]);
            repo.write(file, sql).write("migrations/0002_b.down.sql", "select 1;").commit("change");
            expect(&walk::open(repo.path()).unwrap(), &Config::default(), verdict, rules)
        };
        let up = "migrations/0002_b.up.sql";
        let broken =
            check(up, "-- gone\nALTER TABLE orders DROP COLUMN note;", Verdict::Fail, &["irreversible-migration"]);
        let finding = &broken.findings[0];
        assert_eq!((finding.file.as_deref(), finding.line), (Some(up), Some(2)));
        assert!(finding.message.contains("note, which v1.0.0 still names"), "{}", finding.message);
        // Contract: the previous code has already let go of it.
        check(up, "ALTER TABLE orders DROP COLUMN old;", Verdict::Warn, &[]);
        check(up, "ALTER TABLE orders ADD COLUMN price int NOT NULL DEFAULT 0;", Verdict::Warn, &[]);
        check(up, "CREATE INDEX by_note ON orders (note);", Verdict::Warn, &["lock-hazard"]);
        check("migrations/0003_c.up.sql", "create table x (id int);", Verdict::Warn, &["no-down-step"]);
        repo.write("ROLLBACK.md", &format!("{DOC}Restore note from the backup.\n")).commit("plan");
        check(up, "ALTER TABLE orders DROP COLUMN note;", Verdict::Fail, &["irreversible-migration"]);
    }

    /// A formatter went over what was run long ago.
    #[test]
    fn a_numbered_migration_of_the_last_release_is_not_run_again() {
        let repo = Scratch::new();
        let drop = "ALTER TABLE cart DROP COLUMN coupon;\n";
        repo.write("migrations/2019-01-01-000000_cart/up.sql", drop)
            .write("migrations/2019-01-01-000000_cart/down.sql", "");
        repo.write("src/cart.js", "cart.coupon\n").write("ROLLBACK.md", DOC).commit("first").tag("v1.0.0");
        repo.write("migrations/2019-01-01-000000_cart/up.sql", &format!("-- tidy\n{drop}")).commit("tidy");
        let open = walk::open(repo.path()).unwrap();
        let git = open.git.as_ref().unwrap();
        assert_eq!(changed_migrations(&open, git, "v1.0.0").len(), 0);
        repo.write("migrations/2020-01-01-000000_more/up.sql", drop).commit("more");
        assert_eq!(changed_migrations(&walk::open(repo.path()).unwrap(), git, "v1.0.0").len(), 1);
    }
}
