//! Attestations: signed statements in `.hypercare/attestations/`, judged, and laid over results.
//!
//! One counts when its signature is good, its signer is on the base branch's list in the role that the gate asks for, it
//! is about this release, and it has not lapsed: by date, or because a file that the gate reads has changed since. It
//! stands in for what the gate could not see (`error`) or saw only weakly (`warn`); a defect that was shown stays shown:
//! against `fail` it helps only where the missing thing is the very word of a person (`release.announcement` sent by other
//! means). The verdict stays what it was; the overlay says who answers for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde::Serialize;

use super::demands::{self, Demand};
use super::shelf::{ATTESTATIONS, Shelf};
use super::statement::{self, Answer, NAMESPACE, Rotated, SCHEMA, Statement};
use super::trust::{Role, Trust};
use super::{About, authors};
use crate::domain::canonical::canonical;
use crate::domain::clock::Timestamp;
use crate::domain::units::prose;
use crate::domain::verdict::{GateResult, Goal, GoalState, Overlay, Tier, Verdict};
use crate::gates::context::Repo;
use crate::gates::decision::GOALS;
use crate::gates::facts::git::Git;

/// Who answers for longer answers for another product.
pub const LIFE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// What was revoked stays revoked, and the history stays; once in two years somebody looks again.
pub const ROTATED_LIFE_MAX: Duration = Duration::from_secs(730 * 86_400);
/// Clocks of two machines may differ by this much.
const SKEW: Duration = Duration::from_secs(300);

/// One that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attestation {
    pub file: String,
    pub gate: String,
    /// A flow, or another part of the gate. `None`: all of it.
    pub subject: Option<String>,
    pub yes: bool,
    pub signer: String,
    /// By `roles.toml`, not by what the signer says.
    pub roles: BTreeSet<Role>,
    pub key: String,
    pub commit: String,
    pub issued: Timestamp,
    pub expires: Timestamp,
    /// Pieces of evidence, and how many of them nobody can check.
    pub evidence: usize,
    pub unverifiable: usize,
    /// Of secrets in the history; such a one says nothing of the gate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotated: Option<Rotated>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attestations {
    /// Newest first.
    pub valid: Vec<Attestation>,
    /// (file, why it does not count).
    pub invalid: Vec<(String, String)>,
    /// The same by gate, where the gate could be read.
    pub refused: Vec<(String, String)>,
}

/// The first file that has changed, if one has; the words say why it cannot be told.
type Changed = Result<Option<String>, String>;

/// What is asked of git, once.
pub struct Facts<'r> {
    git: Option<&'r Git>,
    about: &'r About,
    /// A team of one has no senior to ask.
    no_senior: bool,
    authors: OnceLock<Result<BTreeSet<String>, String>>,
    changed: Mutex<BTreeMap<(String, &'static [&'static str]), Changed>>,
}

impl<'r> Facts<'r> {
    pub fn new(repo: &'r Repo, about: &'r About, trust: &Trust) -> Facts<'r> {
        Facts {
            git: repo.git.as_ref(),
            about,
            no_senior: about.external && !trust.has(Role::Senior),
            authors: OnceLock::new(),
            changed: Mutex::default(),
        }
    }

    /// The words say why it cannot be told.
    pub fn wrote(&self, names: &BTreeSet<String>) -> Result<bool, String> {
        let git = self.git.ok_or("this is no git repository, so the release's authors are not known")?;
        let authors = self.authors.get_or_init(|| authors::of_release(git));
        Ok(authors::wrote(authors.as_ref().map_err(Clone::clone)?, names, Some(git)))
    }

    /// A file among `inputs` that is not as it was in `commit`.
    fn changed_since(&self, commit: &str, inputs: &'static [&'static str]) -> Changed {
        let git = self.git.ok_or("this is no git repository")?;
        let mut known = self.changed.lock().unwrap_or_else(|e| e.into_inner());
        let ask = || {
            let ours = [":(top,glob,exclude)**/.hypercare/**", ":(top,glob,exclude)**/hypercare-data/**"];
            let paths: Vec<&str> = inputs.iter().copied().chain(ours).collect();
            let here = format!("{commit}^{{commit}}");
            git.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &here])
                .map_err(|_| format!("commit {} is not in this clone", short(commit)))?;
            // The work tree, not HEAD: what is not committed has changed too.
            let diff = git.run(&[&["diff", "--name-only", "-z", commit, "--"], &paths[..]].concat());
            let new = git.run(&[&["ls-files", "-z", "--others", "--exclude-standard", "--"], &paths[..]].concat());
            let both = diff.map_err(|e| e.to_string())? + &new.map_err(|e| e.to_string())?;
            Ok(both.split('\0').find(|name| !name.is_empty()).map(String::from))
        };
        known.entry((commit.to_string(), inputs)).or_insert_with(ask).clone()
    }
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// Blocking.
pub fn read(shelf: &Shelf, trust: &Trust, facts: &Facts<'_>, now: Timestamp) -> Attestations {
    let mut out = Attestations::default();
    for (file, bytes) in shelf.statements(ATTESTATIONS) {
        let judged = parse(bytes).and_then(|(statement, message)| {
            let gate = statement.gate.clone();
            check(file, statement, &message, shelf, trust, facts, now).map_err(|why| (Some(gate), why))
        });
        match judged {
            Ok(attestation) => out.valid.push(attestation),
            Err((gate, why)) => {
                out.refused.extend(gate.map(|gate| (gate, format!("{file}: {why}"))));
                out.invalid.push((file.to_string(), why));
            }
        }
    }
    out.valid.sort_by_key(|a| std::cmp::Reverse(a.issued));
    if shelf.truncated {
        out.invalid.push((ATTESTATIONS.into(), "too many files; the rest is not read".into()));
    }
    out
}

/// The statement and the bytes that were signed, whatever line ends an editor has added around them.
pub fn parse(bytes: &[u8]) -> Result<(Statement, String), (Option<String>, String)> {
    let none = |why: String| (None, why);
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| none(e.to_string()))?;
    let message = canonical(&value).map_err(|e| none(e.to_string()))?;
    Ok((serde_json::from_value(value).map_err(|e| none(e.to_string()))?, message))
}

fn check(
    file: &str,
    s: Statement,
    message: &str,
    shelf: &Shelf,
    trust: &Trust,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Result<Attestation, String> {
    let line = line_of(&s.gate).ok_or_else(|| format!("{} is no gate", s.gate))?;
    if s.schema != SCHEMA {
        return Err(format!("schema must be {SCHEMA}"));
    }
    let signature = shelf.signatures(file).next().ok_or("it is not signed: there is no .sig beside it")?;
    let signer = trust.check(Some(&s.signer), NAMESPACE, message.as_bytes(), &signature, now)?;
    if s.todays_words(&line) != s.statement {
        return Err("its words are no longer those of the checklist: sign today's".into());
    }
    if s.service != facts.about.service {
        return Err(format!("it is about {}, not about {}", s.service, facts.about.service));
    }
    let (issued, expires) = life(&s, now)?;
    if let Some(rotated) = &s.rotated {
        if s.gate != statement::SECRETS || s.answer != Answer::Yes || s.subject.is_some() {
            return Err(format!("rotated secrets are of {}, of all of it, and the answer is yes", statement::SECRETS));
        }
        rotated.check(issued.utc().date_naive())?;
    }
    let demand = demands::of(&s.gate);
    demanded(&s, &signer.roles, demand, trust, facts)?;
    if demand.four_eyes && facts.wrote(&signer.names)? {
        return Err(format!("{} wrote a part of this release, and nobody signs for his own work", s.signer));
    }
    // What was revoked stays so, whatever is changed afterwards: it is about secrets, by their fingerprints.
    if s.rotated.is_none() {
        still_about(&s, demand, facts)?;
    }
    let unverifiable = s.evidence.iter().filter(|e| e.sha256.is_none()).count();
    Ok(Attestation {
        file: file.into(),
        gate: s.gate,
        subject: s.subject,
        yes: s.answer == Answer::Yes,
        signer: s.signer,
        roles: signer.roles,
        key: signer.key,
        commit: s.rid.commit,
        issued,
        expires,
        evidence: s.evidence.len(),
        unverifiable,
        rotated: s.rotated,
    })
}

/// What a gate or a goal says in the checklist.
pub fn line_of(gate: &str) -> Option<String> {
    if let Some(goal) = gate.strip_prefix(demands::GOAL) {
        return GOALS.iter().find(|g| g.id == goal).map(|g| g.title.to_string());
    }
    crate::gates::all().iter().map(|g| g.about()).find(|a| a.id == gate).map(|a| a.line.to_string())
}

fn life(s: &Statement, now: Timestamp) -> Result<(Timestamp, Timestamp), String> {
    let (issued, expires) = Timestamp::parse(&s.issued)
        .zip(Timestamp::parse(&s.expires))
        .ok_or("issued and expires must be RFC 3339 times")?;
    if issued > now.plus(SKEW) {
        return Err("issued in the future".into());
    }
    let most = if s.rotated.is_some() { ROTATED_LIFE_MAX } else { LIFE_MAX };
    if expires <= issued || expires.since(issued) > most {
        return Err(format!("it must live between now and {}", prose(most)));
    }
    if expires <= now {
        return Err(format!("it lapsed {} ago", prose(now.since(expires))));
    }
    Ok((issued, expires))
}

fn demanded(
    s: &Statement,
    roles: &BTreeSet<Role>,
    demand: Demand,
    trust: &Trust,
    facts: &Facts<'_>,
) -> Result<(), String> {
    let own = demand.role.filter(|role| !(*role == Role::Senior && facts.no_senior));
    for role in [own, trust.required(&s.gate), s.role].into_iter().flatten() {
        if !roles.contains(&role) {
            return Err(format!(
                "{} is not named as {} in {} of {}",
                s.signer,
                role.word(),
                super::shelf::ROLES,
                trust.base
            ));
        }
    }
    Ok(())
}

fn still_about(s: &Statement, demand: Demand, facts: &Facts<'_>) -> Result<(), String> {
    let rid = &facts.about.rid;
    if let (true, Some(then), Some(now)) = (demand.inputs.is_empty(), &s.rid.version, &rid.version) {
        return match then == now {
            true => Ok(()),
            false => Err(format!("it is about {then}, and this is {now}")),
        };
    }
    let inputs: &'static [&'static str] = if demand.inputs.is_empty() { &[":(top)"] } else { demand.inputs };
    match facts.changed_since(&s.rid.commit, inputs)? {
        None => Ok(()),
        Some(file) => Err(format!("{file} has changed since commit {}, which it is about", short(&s.rid.commit))),
    }
}

/// Lays the attestations over one result; notes (refused ones, a "no") go into the hint.
pub fn apply(result: &mut GateResult, attestable: bool, list: &Attestations) {
    if matches!(result.verdict, Verdict::Pass | Verdict::Skip) && !result.blocks() {
        return;
    }
    let mut notes: Vec<String> = list.refused.iter().filter(|(g, _)| *g == result.id).map(|(_, n)| n.clone()).collect();
    let whole = |a: &&Attestation| attestable && a.gate == result.id && a.subject.is_none() && a.rotated.is_none();
    let own: Vec<&Attestation> = list.valid.iter().filter(whole).collect();
    let no = own.iter().find(|a| !a.yes);
    if let Some(no) = no {
        notes.push(format!("{} has signed that the answer is no", no.signer));
    } else if let Some(yes) = own.first() {
        if may_answer(result, demands::of(&result.id).answers) {
            let role = demands::of(&result.id).role.filter(|role| yes.roles.contains(role));
            let role = role.or(yes.roles.first().copied()).map(|role| role.word().to_string());
            let (signer, expires) = (yes.signer.clone(), yes.expires);
            result.overlay = Some(Overlay::Attested { signer, role, expires });
            result.tier = result.tier.or(Some(Tier::E0));
        } else {
            notes.push(format!("{} attests it, but what was found here stands against that", yes.signer));
        }
    }
    if !notes.is_empty() {
        let hint = result.hint.take().into_iter().chain(notes).collect::<Vec<_>>();
        result.hint = Some(hint.join("; "));
    }
}

fn may_answer(result: &GateResult, answers: &[&str]) -> bool {
    let mut open = result.findings.iter().filter(|f| f.suppressed.is_none()).peekable();
    match result.verdict {
        Verdict::Pass | Verdict::Skip => false,
        Verdict::Warn | Verdict::Error => open.all(|f| !f.escalate),
        Verdict::Fail => open.peek().is_some() && open.all(|f| !f.escalate && answers.contains(&f.rule.as_str())),
    }
}

/// A goal whose critical gates were all skipped is unknown until somebody of operations says otherwise (gates.md 0.12).
pub fn apply_to_goals(goals: &mut [Goal], results: &[GateResult], list: &Attestations) {
    for goal in goals.iter_mut().filter(|g| g.state == GoalState::Unknown) {
        let Some(plan) = GOALS.iter().find(|plan| plan.id == goal.id) else { continue };
        let of = |ids: &[&str]| results.iter().filter(|r| ids.contains(&r.id.as_str())).collect::<Vec<_>>();
        let critical = of(plan.critical);
        let all_skipped = !critical.is_empty() && critical.iter().all(|r| r.verdict == Verdict::Skip);
        let open = of(plan.other).iter().any(|r| r.blocks());
        let name = format!("{}{}", demands::GOAL, goal.id);
        let own: Vec<&Attestation> = list.valid.iter().filter(|a| a.gate == name).collect();
        let (true, false, Some(first), true) = (all_skipped, open, own.first(), own.iter().all(|a| a.yes)) else {
            continue;
        };
        goal.state = GoalState::Ready;
        goal.summary = format!("nothing of it applies here, attested by {}", first.signer);
    }
}
