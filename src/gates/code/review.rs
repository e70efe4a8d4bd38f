//! Gate `code.review`: was every change since the previous release approved by a senior who wrote none of it?
//!
//! Changes come from git (`review/history.rs`), approvals from signed notes (`review/notes.rs`), from the forge's API, or
//! from an export of it where no token is (`review/exported.rs`); seniors from the configuration or CODEOWNERS. An
//! approval counts on the last push only; a bot's, an author's, a trailer that anybody can type do not. After OpenSSF
//! Scorecard's Code-Review, but for every commit, and by name. To fix a failure: have the last push approved.

mod exported;
pub mod history;
mod judge;
pub mod notes;
mod owners;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use self::exported::Exported;
use self::history::{Changeset, History};
use self::judge::{Asked, Bench, Standing};
use self::notes::Notes;
use self::owners::Owners;
use crate::domain::clock::Timestamp;
use crate::domain::problem::Problem;
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::Repo;
use crate::gates::facts::git::{Git, GitError};
use crate::gates::forge::{Forge, Protection};
use crate::gates::people::trust::Trust;
use crate::gates::proof::{Fixture, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.code.review]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who may approve: addresses, or logins on the forge. Default: the owners of the touched files (CODEOWNERS).
    pub senior: Vec<String>,
    /// How many must approve, one of them a senior. Default: 1.
    pub min_approvals: u32,
    /// Names of robots, `*` for anything: what they make only warns, what they approve does not count. Default: `*[bot]`.
    pub bots: Vec<String>,
    /// A team of one: the approval of anybody outside the list of authors will do. Default: false.
    pub external: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { senior: Vec::new(), min_approvals: 1, bots: vec!["*[bot]".into()], external: false }
    }
}

impl Config {
    pub fn validate(&self) -> Vec<Problem> {
        let mut out = Vec::new();
        if self.min_approvals == 0 || self.min_approvals > 10 {
            out.push(Problem::at(["min_approvals"], format!("{} approvals", self.min_approvals)).hint("from 1 to 10"));
        }
        out
    }
}

pub struct Review;

pub static ABOUT: About = About {
    id: "code.review",
    section: Section::Code,
    class: Class::A,
    line: "reviewed and approved by at least one senior developer",
    min_tier: Tier::E2,
    attestable: true,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(300),
    skipped_for: &[],
    reads: "the commits since the previous release tag, .mailmap, CODEOWNERS, signed notes in refs/notes/hypercare-review, \
            and the forge's approvals and how it guards the main branch, by GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN; without \
            one an export of the approvals (hypercare evidence import reviews FILE)",
    decides: "every human changeset has an approval by a senior who wrote none of it, on the last pushed head; bots' \
              approvals, the authors' own, and those before the last push do not count; a merge that changes more than it \
              merges is unreviewed; unsigned Reviewed-by trailers only warn",
    fix: "ask a senior developer to approve the last push of each change, or to sign it: hypercare review sign COMMIT",
};

impl Gate for Review {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let shop = |what, signer| {
            let owners = Fixture::of(what).file("CODEOWNERS", "* sue@example.com ann@example.com\n").tag("v1.0.0");
            Fixture { reviewed_by: Some(signer), ..owners.then("src/cart.js", "export const total = 1;\n") }
        };
        // Everything in a proof is by ann.
        let good = shop("another senior has signed the change", "sue@example.com");
        Some(Proof { good, bad: shop("the author has signed her own change", "ann@example.com") })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if let Err(outcome) = ctx.need_git() {
                return *outcome;
            }
            let Some(repo) = ctx.repo.clone() else {
                return Outcome::error("no-repository", "no repository to look at");
            };
            let forge = Forge::of(ctx, ABOUT.id);
            let no_forge = forge.as_ref().err().map(ToString::to_string);
            let remote = repo.git.as_ref().and_then(|git| git.run(&["remote", "get-url", "origin"]).ok());
            let exported = Exported::of(&ctx.evidence_for(ABOUT.id), remote.as_deref());
            let told = Told { trust: ctx.people.trust.clone(), forge: forge.ok(), no_forge, exported };
            review(repo, &ctx.config.code.review, ctx.release_mode, ctx.clock.now(), told).await
        })
    }
}

/// More changesets than this are not asked for one by one; they count as unknown.
const ASKED_MAX: usize = 200;

/// Who can tell of approvals besides git.
#[derive(Default)]
struct Told {
    trust: Trust,
    forge: Option<Forge>,
    /// Why there is no forge.
    no_forge: Option<String>,
    exported: Exported,
}

/// Everything git knows.
struct Local {
    history: History,
    notes: Notes,
    owners: Owners,
    same: BTreeMap<String, BTreeSet<String>>,
}

async fn review(repo: Repo, config: &Config, whole_release: bool, now: Timestamp, told: Told) -> Outcome {
    let Told { trust, forge, no_forge, exported } = told;
    let looked = tokio::task::spawn_blocking(move || look(&repo, whole_release, &trust, now)).await;
    let local = match looked {
        Ok(Ok(local)) => local,
        Ok(Err(error)) => {
            return Outcome::error("git", error.to_string()).hint("mend the repository, then check again");
        }
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => return Outcome::error("stopped", "the run was stopped before the gate had ended"),
    };
    if let Some(outcome) = nothing_to_review(&local.history) {
        return outcome;
    }
    let mut asked = Vec::new();
    for (index, changeset) in local.history.changesets.iter().enumerate() {
        asked.push(match &forge {
            Some(forge) if index < ASKED_MAX => ask(forge, changeset, asked.last()).await,
            Some(_) => Asked::Failed(format!("more than {ASKED_MAX} changes: not asked for")),
            None => Asked::No,
        });
    }
    let protection = match &forge {
        Some(forge) if asked.iter().any(|a| matches!(a, Asked::Answered(_))) => forge.protection().await.ok().flatten(),
        _ => None,
    };
    for (answer, changeset) in asked.iter_mut().zip(&local.history.changesets) {
        // The forge itself knows better than what was once written down.
        if !matches!(answer, Asked::Answered(_)) {
            match exported.answer(changeset) {
                Asked::No => {}
                other if matches!(other, Asked::Answered(_)) || *answer == Asked::No => *answer = other,
                _ => {}
            }
        }
    }
    let no_forge = no_forge.filter(|_| exported.files.is_empty() && exported.stale.is_empty());
    let mut outcome = conclude(&local, config, &asked, no_forge);
    outcome.findings.extend(protection.iter().flat_map(advice));
    if let Some(evidence) = outcome.evidence.first_mut() {
        evidence.content["branch_protection"] = serde_json::json!(protection);
        evidence.content["exports"] = serde_json::json!({"used": exported.files, "not_used": exported.stale});
    }
    outcome
}

/// How the main branch could be guarded better. Notes: what was approved was approved.
fn advice(protection: &Protection) -> Vec<Finding> {
    let note = |(rule, message): (&'static str, String)| {
        let fix = "change it in the settings of the branch on the forge";
        Finding::new(rule, Severity::Info, message).fix(fix).identified_by(&[rule, &protection.branch])
    };
    protection.advice().into_iter().map(note).collect()
}

/// Blocking.
fn look(repo: &Repo, whole_release: bool, trust: &Trust, now: Timestamp) -> Result<Local, GitError> {
    let git = repo.git.as_ref().ok_or(GitError::Missing)?;
    let mut history = history::read(git, whole_release)?;
    history.leave_out_statements();
    let notes = notes::read(git, trust, now);
    let owners = code_owners(repo, git, history.tag.as_deref());
    let known: BTreeSet<&str> =
        history.changesets.iter().flat_map(|c| c.commits.iter().chain([&c.landed])).map(|c| c.id.as_str()).collect();
    // Notes on commits that a rebase or a squash has replaced.
    let foreign: Vec<&str> = notes.good.iter().map(|n| n.commit.as_str()).filter(|c| !known.contains(c)).collect();
    let mut same: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for changeset in history.changesets.iter().filter(|c| c.landed.parents.len() < 2) {
        for commit in foreign.iter().filter(|c| notes::same_change(git, c, &changeset.landed.id)) {
            same.entry(changeset.landed.id.clone()).or_default().insert(commit.to_string());
        }
    }
    Ok(Local { history, notes, owners, same })
}

/// As they stood at the previous release: nobody becomes an owner in the change that he approves.
fn code_owners(repo: &Repo, git: &Git, tag: Option<&str>) -> Owners {
    let then = |path: &str| git.run(&["show", &format!("refs/tags/{}:{path}", tag?)]).ok();
    let now = |path: &str| repo.read_text(path, 1 << 20).ok();
    let first = |read: &dyn Fn(&str) -> Option<String>| owners::PLACES.iter().find_map(|p| read(p));
    first(&then).or_else(|| first(&now)).map(|text| Owners::parse(&text)).unwrap_or_default()
}

fn nothing_to_review(history: &History) -> Option<Outcome> {
    if history.shallow {
        return Some(
            Outcome::error(
                "shallow-clone",
                "the clone is shallow: the commits since the previous release are not here",
            )
            .hint("fetch everything: git fetch --unshallow --tags; in GitHub Actions fetch-depth: 0"),
        );
    }
    match (&history.tag, history.changesets.is_empty()) {
        (since, true) if history.statements > 0 => {
            let since = since.as_deref().map(|tag| format!(" since {tag}")).unwrap_or_default();
            let said = count(history.statements, "commit");
            Some(Outcome::skip("no-changes", format!("{said}{since}, of signed statements alone")))
        }
        (Some(tag), true) => Some(
            Outcome::skip("no-changes", format!("no commit since {tag}"))
                .hint("with --release the changes that went into this tag are looked at"),
        ),
        (None, true) => Some(Outcome::error("nothing-to-inspect", "the repository has no commit")),
        _ => None,
    }
}

/// What the forge knows of the commit that landed; of the branch's head where that tells nothing.
async fn ask(forge: &Forge, changeset: &Changeset, before: Option<&Asked>) -> Asked {
    // One refusal is enough.
    if let Some(Asked::Failed(why)) = before {
        return Asked::Failed(why.clone());
    }
    let mut found = forge.changes_of(&changeset.landed.id).await;
    if changeset.head != changeset.landed.id && found.as_ref().is_ok_and(Vec::is_empty) {
        found = forge.changes_of(&changeset.head).await;
    }
    match found {
        Ok(mut changes) => {
            // A commit may stand in several requests; the merged ones brought it.
            if changes.iter().any(|c| c.merged) {
                changes.retain(|c| c.merged);
            }
            Asked::Answered(changes)
        }
        Err(error) => Asked::Failed(error.to_string()),
    }
}

fn conclude(local: &Local, config: &Config, asked: &[Asked], no_forge: Option<String>) -> Outcome {
    let bench = Bench { config, owners: &local.owners, notes: &local.notes, same: &local.same };
    let rows: Vec<(&Changeset, Standing)> =
        local.history.changesets.iter().zip(asked).map(|(c, a)| (c, bench.standing(c, a))).collect();
    let total = rows.len();
    let open: Vec<&(&Changeset, Standing)> = rows.iter().filter(|(_, s)| matches!(s, Standing::Not { .. })).collect();
    let unknown: Vec<&(&Changeset, Standing)> =
        rows.iter().filter(|(_, s)| matches!(s, Standing::Unknown { .. })).collect();
    let weak = rows
        .iter()
        .filter(|(_, s)| matches!(s, Standing::Trailer { .. } | Standing::PerhapsSenior { .. } | Standing::Bot));
    let weak = weak.count();
    let since = local.history.tag.as_deref().map_or("the beginning".to_string(), str::to_string);
    let mut findings: Vec<Finding> = rows.iter().filter_map(|(c, s)| finding(c, s)).collect();
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let changes = |n: usize| count(n, "change");
    let ids = |rows: &[&(&Changeset, Standing)]| {
        let shown: Vec<&str> = rows.iter().take(8).map(|(c, _)| c.id.as_str()).collect();
        let more = if rows.len() > 8 { format!(" and {} more", rows.len() - 8) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    let seniors: BTreeSet<String> = open.iter().flat_map(|(c, _)| bench.seniors(c)).collect();
    let seniors: Vec<String> = seniors.into_iter().take(5).collect();
    let ask = if seniors.is_empty() { "a senior developer".to_string() } else { seniors.join(", ") };

    let outcome = if let Some((first, _)) = open.first() {
        Outcome::fail(format!("{} of {} since {since} lack a senior approval", open.len(), changes(total))).hint(format!(
            "{} since {since} lack a senior approval: {}. Ask {ask} to approve the last push, or sign: hypercare review sign {}",
            changes(open.len()),
            ids(&open),
            first.head
        ))
    } else if let Some((_, Standing::Unknown { why })) = unknown.first() {
        let why = no_forge.as_ref().unwrap_or(why);
        let text = format!("no review is known of {} of {} since {since}: {why}", unknown.len(), changes(total));
        return Outcome::error("no-review-evidence", text)
            .findings(findings)
            .hint("set GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN (reading is enough), import an export made where one is (hypercare review export), or let a senior sign: hypercare review sign COMMIT")
            .evidence("review", evidence(local, &rows));
    } else if weak > 0 || local.history.truncated {
        let first = findings.first().map_or("more commits than are read".to_string(), |f| f.message.clone());
        let more = if weak > 1 { format!(" and {} more", weak - 1) } else { String::new() };
        Outcome::warn(format!("{} since {since} reviewed, {weak} weakly: {first}{more}", changes(total)))
            .hint(findings.first().map_or_else(String::new, |f| f.fix.clone()))
    } else {
        Outcome::pass(format!("{} since {since}, each approved by a senior on its last push", changes(total)))
    };
    outcome
        .value(open.len(), 0)
        .tier(Tier::E2)
        .covered((total - unknown.len()) as u64, total as u64)
        .findings(findings)
        .evidence("review", evidence(local, &rows))
}

fn finding(changeset: &Changeset, standing: &Standing) -> Option<Finding> {
    let (rule, severity, why, fix) = match standing {
        Standing::Approved { .. } => return None,
        Standing::Not { rule, why } => {
            (*rule, Severity::High, why.clone(), "have the last push approved by a senior who wrote none of it")
        }
        Standing::PerhapsSenior { by, why } => (
            "senior-unknown",
            Severity::Medium,
            format!("approved by {by}, but {why}"),
            "name seniors in [gates.code.review] senior, or as persons in CODEOWNERS",
        ),
        Standing::Trailer { by } => (
            "unsigned-trailer",
            Severity::Medium,
            format!("only an unsigned trailer names {by} as reviewer"),
            "anyone can type a trailer: let the reviewer sign a note or approve on the forge",
        ),
        Standing::Bot => (
            "bot-change",
            Severity::Low,
            "made by a bot, approved by nobody".to_string(),
            "have a person approve what robots change",
        ),
        Standing::Unknown { why } => ("not-asked", Severity::Medium, why.clone(), "let the forge or signed notes tell"),
    };
    let subject: String = changeset.landed.subject.chars().take(60).collect();
    let message = format!("{} \"{subject}\" by {}: {why}", changeset.id, changeset.landed.author.name);
    let short = &changeset.landed.id[..12.min(changeset.landed.id.len())];
    Some(Finding::new(rule, severity, message).route(short).fix(fix).identified_by(&[rule, &changeset.landed.id]))
}

fn evidence(local: &Local, rows: &[(&Changeset, Standing)]) -> serde_json::Value {
    let row = |(c, s): &(&Changeset, Standing)| {
        let authors: Vec<String> = c.authors().iter().map(|p| format!("{} <{}>", p.name, p.email)).collect();
        serde_json::json!({
            "id": c.id, "shape": c.shape, "landed": c.landed.id, "head": c.head, "subject": c.landed.subject,
            "authors": authors, "commits": c.commits.len(), "standing": s,
        })
    };
    serde_json::json!({
        "since": local.history.tag,
        "changesets": rows.iter().map(row).collect::<Vec<_>>(),
        "notes": local.notes.good,
        "refused_notes": local.notes.bad,
    })
}
