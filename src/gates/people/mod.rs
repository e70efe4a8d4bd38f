//! What people sign, and who may: attestations and waivers, the signers of the base branch, the rule for changes that are
//! not merged (gates.md 0.4, 0.6, 0.7).
//!
//! `base.rs` finds the branch that others have agreed on, `shelf.rs` reads `.hypercare/` from the work tree or from a
//! commit, `trust.rs` says whose signature counts, `attestation.rs` and `../waiver.rs` judge what was signed. Asks git,
//! signs nothing (`cli/sign.rs` does), sends nothing.

pub mod attestation;
pub mod authors;
pub mod base;
pub mod demands;
pub mod shelf;
pub mod statement;
pub mod trust;

#[cfg(test)]
mod tests;

use self::attestation::{Attestation, Attestations, Facts};
use self::base::{Base, Change};
use self::shelf::Shelf;
use self::trust::Trust;
use super::context::Repo;
use super::waiver::{self, Waivers};
use crate::domain::clock::Timestamp;
use crate::domain::release::ReleaseId;
use crate::domain::verdict::{BaseBranch, Ignored};

/// Everything signed that one run knows.
#[derive(Debug, Clone, Default)]
pub struct People {
    pub trust: Trust,
    pub waivers: Waivers,
    pub attestations: Attestations,
    /// Of a change that is not merged: what it was compared with.
    pub base: Option<BaseBranch>,
}

/// What a run knows besides the repository.
#[derive(Debug, Clone, Default)]
pub struct About {
    pub service: String,
    pub rid: ReleaseId,
    /// A team of one (`[gates.code.review] external`).
    pub external: bool,
    /// `None`: what is checked out is what others have agreed on, or nobody says otherwise.
    pub change: Option<Change>,
}

impl People {
    /// Blocking: reads files and asks git.
    pub fn open(repo: &Repo, about: &About, now: Timestamp) -> People {
        let base = about.change.as_ref().map_or_else(|| Base::find(repo, None), |change| change.base.clone());
        let here = Shelf::of_tree(repo);
        let agreed = base.shelf(repo);
        let trust = Trust::new(&base, agreed.as_ref(), &here);
        // What a change brings along does not speak for it.
        let nothing = Shelf::default();
        let in_force = match about.change.is_some() {
            true => agreed.as_ref().unwrap_or(&nothing),
            false => &here,
        };
        let facts = Facts::new(repo, about, &trust);
        let mut waivers = waiver::read(in_force, &trust, &facts, now);
        let attestations = attestation::read(in_force, &trust, &facts, now);
        waivers.unsigned_will_do = !trust.in_force;
        let base = about.change.as_ref().map(|change| told(change, agreed.as_ref().map(|a| here.differences(a))));
        People { trust, waivers, attestations, base }
    }

    /// Without a repository nobody can have signed anything; what is said of the change stays.
    pub fn nobody(change: Option<&Change>) -> People {
        People { base: change.map(|change| told(change, Some(Vec::new()))), ..People::default() }
    }

    /// What was found and does not count, and why.
    pub fn ignored(&self) -> Vec<Ignored> {
        let signers = self.trust.complaints.iter().cloned();
        let listed = self.waivers.invalid.iter().chain(&self.attestations.invalid).cloned();
        signers.chain(listed).map(|(file, why)| Ignored { file, why }).collect()
    }

    /// Attestations of `gate` that count for this release: signed by somebody known, in the role that the gate asks for,
    /// neither lapsed nor overtaken. Answer "yes" only.
    pub fn attested<'p>(&'p self, gate: &'p str) -> impl Iterator<Item = &'p Attestation> {
        self.attestations.valid.iter().filter(move |a| a.gate == gate && a.yes && a.rotated.is_none())
    }

    /// What somebody known says of secrets that are in the history and worth nothing any more.
    pub fn rotations(&self) -> Vec<Attestation> {
        self.attestations.valid.iter().filter(|a| a.rotated.is_some()).cloned().collect()
    }
}

/// `differs`: keys of `.hypercare/`. `None`: the base could not be read.
fn told(change: &Change, differs: Option<Vec<String>>) -> BaseBranch {
    let untrusted = if differs.is_none() { &shelf::KEYS[..] } else { &[] };
    let all = |own: &[String], more: Vec<String>| own.iter().cloned().chain(more).collect();
    BaseBranch {
        name: change.base.name.clone(),
        commit: change.base.commit.clone(),
        told_by: change.wanted.told_by.clone(),
        not_trusted: all(&change.untrusted, untrusted.iter().map(|key| key.to_string()).collect()),
        differs: all(&change.differs, differs.unwrap_or_default()),
    }
}
