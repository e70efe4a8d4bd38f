//! Whose signature counts: `.hypercare/allowed_signers` as it is on the base branch, less `.hypercare/revoked_keys`, with
//! the roles of `.hypercare/roles.toml`.
//!
//! `allowed_signers` is OpenSSH's file and has no room for roles, so they stand in a file of their own beside it:
//!
//! ```toml
//! [people]
//! senior = ["sue@example.com"]
//! qa = ["quinn@example.com"]
//! [required]                           # beyond what the checklist asks for
//! "release.announcement" = "product"
//! ```
//!
//! `revoked_keys` holds one public key or `SHA256:` fingerprint a line. It is honoured from the base branch and from the
//! work tree, because it only takes away; one that cannot be read takes everything away.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::base::Base;
use super::shelf::{REVOKED, ROLES, SIGNERS, Shelf};
use crate::domain::clock::Timestamp;
use crate::domain::sshsig::{self, AllowedSigners, PublicKey};

/// What somebody is in the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Senior,
    Ops,
    Qa,
    Product,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Role::Senior => "senior",
            Role::Ops => "ops",
            Role::Qa => "qa",
            Role::Product => "product",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Roles {
    people: BTreeMap<Role, Vec<String>>,
    required: BTreeMap<String, Role>,
}

/// A key whose signature is good and whose owner is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// All names of the key, lower case.
    pub names: BTreeSet<String>,
    /// `SHA256:…`
    pub key: String,
    pub roles: BTreeSet<Role>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Where the signers were read: `origin/main`.
    pub base: String,
    /// There is a list of signers on the base branch: from then on only signatures count.
    pub in_force: bool,
    signers: AllowedSigners,
    revoked: Vec<PublicKey>,
    revoked_prints: BTreeSet<String>,
    roles: Roles,
    /// Nothing can be trusted, and why.
    broken: Option<String>,
    /// (file, what is wrong with it).
    pub complaints: Vec<(String, String)>,
}

impl Trust {
    /// `agreed`: the base branch's files; `here`: the work tree's.
    pub fn new(base: &Base, agreed: Option<&Shelf>, here: &Shelf) -> Trust {
        let mut out = Trust { base: base.name.clone(), ..Trust::default() };
        let of_base = |path: &str| agreed.and_then(|shelf| shelf.text(path));
        if let Some(text) = of_base(SIGNERS) {
            let (signers, bad) = AllowedSigners::parse(&text);
            out.in_force = true;
            out.signers = signers;
            out.complaints.extend(bad.iter().map(|(line, why)| (format!("{SIGNERS}:{line}"), why.to_string())));
        }
        for text in [of_base(REVOKED), here.text(REVOKED)].into_iter().flatten() {
            out.revoke(&text);
        }
        if let Some(text) = of_base(ROLES) {
            match toml::from_str(&text) {
                Ok(roles) => out.roles = roles,
                Err(error) => out.complaints.push((ROLES.into(), error.message().to_string())),
            }
        }
        out
    }

    fn revoke(&mut self, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match PublicKey::parse(line) {
                Some(key) => self.revoked.push(key),
                None if line.starts_with("SHA256:") => {
                    let print = line.split_whitespace().next().unwrap_or_default();
                    self.revoked_prints.insert(print.to_string());
                }
                None => {
                    let why = "neither a public key nor a SHA256: fingerprint (binary revocation lists are not read), so no signature is trusted";
                    self.complaints.push((format!("{REVOKED}:{}", index + 1), why.into()));
                    self.broken = Some(format!("{REVOKED} cannot be read"));
                    return;
                }
            }
        }
    }

    /// Whether `signature` over `message` is by somebody known, and by whom; as `claimed` when the statement names its
    /// signer. The words say what is wrong.
    pub fn check(
        &self,
        claimed: Option<&str>,
        namespace: &str,
        message: &[u8],
        signature: &str,
        now: Timestamp,
    ) -> Result<Signer, String> {
        let signature = sshsig::parse(signature).map_err(|e| e.to_string())?;
        signature.verify(namespace, message).map_err(|e| e.to_string())?;
        let key = signature.key.fingerprint();
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        if self.revoked.contains(&signature.key) || self.revoked_prints.contains(&key) {
            return Err(format!("the key {key} is revoked"));
        }
        let mut names = self.signers.principals(&signature.key, namespace, now);
        names
            .extend(claimed.filter(|name| self.signers.allows(name, &signature.key, namespace, now)).map(String::from));
        let names: BTreeSet<String> = names.into_iter().map(|name| name.to_lowercase()).collect();
        if names.is_empty() && self.signers.knows(&signature.key) {
            let what = claimed.map(|c| format!(" for {c}")).unwrap_or_default();
            return Err(format!(
                "the key {key} may not sign{what} in {namespace} now, says {SIGNERS} of {}",
                self.base
            ));
        }
        if names.is_empty() {
            return Err(format!("the key {key} is not in {SIGNERS} of {}", self.base));
        }
        if let Some(claimed) = claimed.filter(|c| !names.contains(&c.to_lowercase())) {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(format!("signed by {}, not by {claimed}", known.join(", ")));
        }
        let roles = self.roles_of(&names);
        Ok(Signer { names, key, roles })
    }

    /// What a person with these names is.
    pub fn roles_of(&self, names: &BTreeSet<String>) -> BTreeSet<Role> {
        let is = |people: &Vec<String>| people.iter().any(|p| names.contains(&p.to_lowercase()));
        self.roles.people.iter().filter(|(_, people)| is(people)).map(|(role, _)| *role).collect()
    }

    /// Is anybody named in this role?
    pub fn has(&self, role: Role) -> bool {
        self.roles.people.get(&role).is_some_and(|people| !people.is_empty())
    }

    /// What the house asks beyond the checklist.
    pub fn required(&self, gate: &str) -> Option<Role> {
        self.roles.required.get(gate).copied()
    }

    /// The first name under which the key may sign.
    pub fn name_of(&self, key: &PublicKey, namespace: &str, now: Timestamp) -> Option<String> {
        self.signers.principals(key, namespace, now).into_iter().next()
    }
}
