//! The product's database as gates look at it: one door (`session.rs`), read-only and bounded, and behind it the counters of
//! statements (`statements.rs`), plans (`plans.rs`, `reading.rs`), the catalog (`catalog.rs`), what it holds (`holdings.rs`), and a scratch
//! database for a restore (`scratch.rs`). PostgreSQL 13 and later. All SQL that
//! gates speak stands in this folder. The address is a secret reference; outputs show host and name of the database alone.

pub mod catalog;
pub mod connections;
pub mod holdings;
pub mod plans;
pub mod reading;
pub mod scratch;
mod session;
pub mod statements;

use serde::{Deserialize, Serialize};

use super::GateContext;
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::verdict::Outcome;

pub use session::{DbError, Place, Session, is_own_place};

/// `[gates] database = { url = "${env:DATABASE_URL}" }`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the database of the target is: `${env:DATABASE_URL}` with `postgresql://user:password@host:5432/shop` in it.
    /// The role needs `pg_read_all_stats`, and `pg_read_all_data` for plans.
    pub url: Option<Secret>,
    /// Roles whose statements do not count: reports, batches, backups.
    pub ignore_users: Vec<String>,
    /// Hosts other than this machine are reached by TLS with a verified certificate. Default: true. `false` for a private
    /// network without TLS.
    pub tls: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { url: None, ignore_users: Vec::new(), tls: true }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let empty = |user: &&String| user.trim().is_empty();
        let problems: Vec<Problem> = self
            .ignore_users
            .iter()
            .filter(empty)
            .map(|_| Problem::at(["ignore_users"], "names an empty role").hint("leave it out"))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Why there is no session: no database at all, none that is named, or none that answers.
pub async fn open(ctx: &GateContext) -> Result<Session, Box<Outcome>> {
    let config = &ctx.config.database;
    let Some(url) = &config.url else { return Err(Box::new(unnamed(ctx))) };
    // Credentials travel with the connection: an operator's stop comes first.
    if ctx.guard.stop_asked() {
        return Err(Box::new(Outcome::error("stopped", "the run was stopped")));
    }
    Session::open(url, config.tls).await.map_err(|e| Box::new(e.outcome()))
}

/// No address is configured: skip with proof when the repository has no database, else an error that names the key.
fn unnamed(ctx: &GateContext) -> Outcome {
    let databases: Vec<_> =
        ctx.facts.of("database").chain(ctx.facts.of("migrations")).chain(ctx.facts.of("orm")).collect();
    match (&ctx.repo, databases.first()) {
        (Some(repo), None) => Outcome::skip(
            "no-db",
            format!("no driver, address, migration or service of a database in {} files", repo.files.len()),
        ),
        (None, _) => Outcome::error("no-database", "no repository and no address of a database to look at"),
        (_, Some(fact)) => Outcome::error(
            "no-database",
            format!("{} is used ({}), and its address is not known", fact.value, fact.place()),
        ),
    }
    .hint("[gates] database = { url = \"${env:DATABASE_URL}\" }: a role that may only read, with pg_read_all_stats")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::Verdict;
    use crate::gates::testing::{context, facts, repo};

    #[tokio::test]
    async fn without_an_address() {
        let (_dir, plain) = repo(&[("main.go", "package main\n")]);
        let (_run, ctx) = context(|ctx| ctx.repo = Some(plain.clone()));
        let outcome = open(&ctx).await.err().unwrap();
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Skip, Some("no-db")));
        let (_run, ctx) = context(|ctx| {
            ctx.repo = Some(plain);
            ctx.facts = std::sync::Arc::new(facts(&[("database", "postgresql")]));
        });
        let outcome = open(&ctx).await.err().unwrap();
        assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("no-database")));
        let (_run, ctx) = context(|_| ());
        assert_eq!(open(&ctx).await.err().unwrap().verdict, Verdict::Error);
    }
}
