//! Who approved what: changesets, notes and the forge's answers to one standing each. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Config;
use super::history::{Changeset, Shape};
use super::notes::Notes;
use super::owners::Owners;
use crate::gates::forge::Change;

/// How a changeset stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Standing {
    /// By a senior, on the last push.
    Approved { by: String, how: &'static str },
    /// Approved, but who is senior cannot be told: no list, or a team whose members are not known here.
    PerhapsSenior { by: String, why: String },
    /// Only an unsigned trailer says so.
    Trailer { by: String },
    /// Made by bots alone, approved by nobody.
    Bot,
    /// Rule and words.
    Not { rule: &'static str, why: String },
    /// Nobody could be asked.
    Unknown { why: String },
}

/// What the forge said of a changeset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// There is no forge to ask, or not for this one.
    No,
    Failed(String),
    Answered(Vec<Change>),
}

/// An approval, from wherever.
struct Approval {
    by: BTreeSet<String>,
    shown: String,
    is_bot: bool,
    stale: bool,
    how: &'static str,
}

pub struct Bench<'b> {
    pub config: &'b Config,
    pub owners: &'b Owners,
    pub notes: &'b Notes,
    /// Noted commits that say the same as a changeset's, by the changeset's landed commit.
    pub same: &'b BTreeMap<String, BTreeSet<String>>,
}

impl Bench<'_> {
    pub fn standing(&self, changeset: &Changeset, asked: &Asked) -> Standing {
        let evil = changeset.evil.as_ref().filter(|e| !e.is_empty());
        let mut approvals = self.by_note(changeset, evil.is_some());
        let changes: &[Change] = match asked {
            Asked::Answered(changes) => changes,
            _ => &[],
        };
        let mut authors: BTreeSet<String> = changeset.people().iter().flat_map(|p| p.identities()).collect();
        for change in changes {
            authors.extend(change.authors.iter().cloned());
            authors.insert(change.author.to_lowercase());
            // What a merge added, no request has shown.
            if evil.is_none() {
                approvals.extend(by_forge(change));
            }
        }
        if let Some(standing) = self.best(&approvals, &authors, changeset) {
            return standing;
        }
        if let Some(paths) = evil {
            let why = format!("the merge changes {} beyond what it merges", paths.join(", "));
            if !self.notes.any && !matches!(asked, Asked::Answered(_)) {
                return Standing::Unknown { why: format!("{why}, and neither forge nor notes could be asked") };
            }
            return Standing::Not { rule: "evil-merge", why };
        }
        let bots = changeset.authors().iter().all(|p| self.is_bot(&p.name) || self.is_bot(&p.email));
        if bots && approvals.is_empty() {
            return Standing::Bot;
        }
        if let Some(not) = self.why_not(&approvals, &authors) {
            return not;
        }
        let trailer = changeset.commits.iter().chain([&changeset.landed]).flat_map(|c| &c.trailers);
        let mut others = trailer.filter(|p| p.identities().is_disjoint(&authors));
        if let Some(person) = others.next() {
            return Standing::Trailer { by: person.email.clone() };
        }
        self.unapproved(changeset, asked, changes)
    }

    fn unapproved(&self, changeset: &Changeset, asked: &Asked, changes: &[Change]) -> Standing {
        let direct = |why: &str| Standing::Not { rule: "direct-push", why: why.to_string() };
        match asked {
            Asked::Answered(_) if changes.is_empty() => direct("pushed without a change request"),
            Asked::Answered(_) => {
                let merger = changes.iter().find_map(|c| c.merged_by.clone());
                let by = merger.map(|m| format!(" (merged by {m}, which is not an approval)")).unwrap_or_default();
                Standing::Not { rule: "unapproved", why: format!("nobody has approved it{by}") }
            }
            _ if self.notes.any && changeset.shape == Shape::Direct => {
                direct("pushed directly, and no note approves it")
            }
            _ if self.notes.any => Standing::Not { rule: "unapproved", why: "no note approves it".into() },
            Asked::Failed(why) => Standing::Unknown { why: why.clone() },
            Asked::No => Standing::Unknown { why: "neither forge nor notes could be asked".into() },
        }
    }

    /// Notes on its last push, on the commit that landed, or on one that says the same.
    fn by_note(&self, changeset: &Changeset, evil: bool) -> Vec<Approval> {
        let none = BTreeSet::new();
        let same = self.same.get(&changeset.landed.id).unwrap_or(&none);
        let is_earlier = |commit: &str| changeset.commits.iter().any(|c| c.id == commit);
        let approval = |note: &super::notes::Note| {
            let landed = note.commit == changeset.landed.id;
            // Only who has seen the merge itself has seen what it added.
            let last = landed || (!evil && (note.commit == changeset.head || same.contains(&note.commit)));
            (last || is_earlier(&note.commit)).then(|| Approval {
                shown: note.by.iter().next().cloned().unwrap_or_default(),
                by: note.by.clone(),
                is_bot: note.by.iter().any(|b| self.is_bot(b)),
                stale: !last,
                how: "signed note",
            })
        };
        let rejected: Vec<&super::notes::Note> = self.notes.good.iter().filter(|n| !n.approves).collect();
        let taken_back = |note: &&super::notes::Note| {
            rejected.iter().any(|r| r.commit == note.commit && !r.by.is_disjoint(&note.by))
        };
        let approving = self.notes.good.iter().filter(|n| n.approves).filter(|n| !taken_back(n));
        approving.filter_map(approval).collect()
    }

    /// The standing that enough good approvals give.
    fn best(&self, approvals: &[Approval], authors: &BTreeSet<String>, changeset: &Changeset) -> Option<Standing> {
        let good: Vec<&Approval> =
            approvals.iter().filter(|a| !a.is_bot && !a.stale && a.by.is_disjoint(authors)).collect();
        let needed = self.config.min_approvals.max(1) as usize;
        if good.len() < needed {
            return None;
        }
        let shown = |a: &&Approval| a.shown.clone();
        let seniors = self.seniors(changeset);
        if self.config.external {
            return Some(Standing::Approved {
                by: good.iter().map(shown).collect::<Vec<_>>().join(", "),
                how: good[0].how,
            });
        }
        if let Some(senior) = good.iter().find(|a| seniors.iter().any(|s| a.by.contains(s))) {
            return Some(Standing::Approved { by: senior.shown.clone(), how: senior.how });
        }
        let by = good[0].shown.clone();
        let team = seniors.iter().find(|s| s.contains('/'));
        match team {
            _ if seniors.is_empty() => {
                Some(Standing::PerhapsSenior { by, why: "nobody is named as senior for these files".into() })
            }
            Some(team) => {
                Some(Standing::PerhapsSenior { by, why: format!("who belongs to @{team} is not known here") })
            }
            None => None,
        }
    }

    /// Approvals there are, and none that counts.
    fn why_not(&self, approvals: &[Approval], authors: &BTreeSet<String>) -> Option<Standing> {
        // The nearest miss says most: somebody else's, then anybody's.
        let people = || approvals.iter().filter(|a| !a.is_bot);
        let others = people().find(|a| a.by.is_disjoint(authors));
        let first = others.or(people().next()).or(approvals.first())?;
        let by = &first.shown;
        let (rule, why) = if first.is_bot {
            ("bot-approval", format!("approved by the bot {by} alone"))
        } else if !first.by.is_disjoint(authors) {
            ("self-approval", format!("approved by {by}, who wrote part of it"))
        } else if first.stale {
            ("stale-approval", format!("approved by {by} before the last push"))
        } else if approvals.len() < self.config.min_approvals as usize {
            ("too-few-approvals", format!("{} of {} approvals", approvals.len(), self.config.min_approvals))
        } else {
            ("not-senior", format!("approved by {by}, who is no senior for these files"))
        };
        Some(Standing::Not { rule, why })
    }

    /// Who may approve: the configured seniors, else the owners of what was touched. Lower case, no `@` in front.
    pub fn seniors(&self, changeset: &Changeset) -> BTreeSet<String> {
        if !self.config.senior.is_empty() {
            return self.config.senior.iter().map(|s| s.trim_start_matches('@').to_lowercase()).collect();
        }
        changeset.paths.iter().flat_map(|p| self.owners.of(p)).collect()
    }

    fn is_bot(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let local = name.split('@').next().unwrap_or(&name);
        self.config.bots.iter().map(|pattern| pattern.to_lowercase()).any(|p| is_like(&name, &p) || is_like(local, &p))
    }
}

/// `*` stands for anything. Asked of every change twice, so no pattern is built for it.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn by_forge(change: &Change) -> Vec<Approval> {
    let approval = |review: &crate::gates::forge::Review| {
        let name = review.name.as_ref().map(|n| format!("name:{}", n.to_lowercase()));
        Approval {
            by: [review.by.to_lowercase()].into_iter().chain(name).collect(),
            shown: review.by.clone(),
            is_bot: review.is_bot,
            stale: review.stale,
            how: "forge",
        }
    };
    change.reviews.iter().filter(|r| r.approves).map(approval).collect()
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_star_stands_for_anything() {
        for (text, pattern) in
            [("renovate[bot]", "*[bot]"), ("abc", "abc"), ("abc", "*"), ("a-b-c", "a*b*c"), ("", "*"), ("aa", "a*a")]
        {
            assert!(is_like(text, pattern), "{text} {pattern}");
        }
        for (text, pattern) in [("bot", "*[bot]"), ("abcd", "abc"), ("a", "a*a"), ("acb", "a*b*c"), ("x", "")] {
            assert!(!is_like(text, pattern), "{text} {pattern}");
        }
    }
}
