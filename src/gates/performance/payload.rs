//! Gate `performance.payload`: does the API return what was asked for, and nothing else?
//!
//! Asks every known GET route as the first actor and reads the answers: fields that nobody outside may see, fields that the
//! OpenAPI document does not know, lists without an end, text that is not compressed; of GraphQL, whether a deep query or
//! hundreds of aliases are refused. The deep query is skipped by directive (`@skip(if: true)`): it is validated, and no
//! resolver runs. Values are never kept, only the paths and shapes of fields.
//! Sources: OWASP API3:2023 and API4:2023, ASVS 5 4.3.1, 4.3.2, 8.2.3. `fields.rs` knows what is sensitive, `look.rs` asks,
//! `graphql.rs` the two probes, `judge.rs` is the verdict.
//! To fix a failure: serialise the documented fields only (DTO, serializer, select), and page lists.

mod fields;
mod graphql;
mod judge;
mod look;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::Intent;

/// `[gates.performance.payload]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Longest answer, KiB of unpacked text. The checklist's number: 512.
    pub max_kb: u64,
    /// Most items of one list. The checklist's number: 100.
    pub max_items: u64,
    /// Routes that are asked at most. Default: 100.
    pub max_routes: usize,
    /// Fields that are returned on purpose, each with its reason.
    pub allow: Vec<Allow>,
}

/// `{ field = "token", reason = "the public key of the map service" }`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Allow {
    /// Name of the field, or its whole path as findings show it: `items[].token`.
    pub field: String,
    /// Stands in the evidence.
    pub reason: String,
}

impl Default for Config {
    fn default() -> Self {
        Config { max_kb: 512, max_items: 100, max_routes: 100, allow: Vec::new() }
    }
}

impl Config {
    /// Problems by path below `gates.performance.payload`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=1024).contains(&self.max_kb) {
            problems.push(Problem::at(["max_kb"], "must lie between 1 and 1024: no more than that is read"));
        }
        if self.max_items == 0 {
            problems.push(Problem::at(["max_items"], "must be above zero"));
        }
        if !(1..=1000).contains(&self.max_routes) {
            problems.push(Problem::at(["max_routes"], "must lie between 1 and 1000"));
        }
        for allow in &self.allow {
            if allow.field.trim().is_empty() || allow.reason.trim().is_empty() {
                problems.push(Problem::at(["allow"], format!("`{}` needs a field and a reason", allow.field)));
            }
        }
        problems
    }

    fn allows(&self, path: &str) -> bool {
        let name = path.rsplit('.').next().unwrap_or(path).trim_end_matches("[]");
        self.allow.iter().any(|a| a.field == path || a.field == name)
    }
}

pub static ABOUT: About = About {
    id: "performance.payload",
    section: Section::Performance,
    class: Class::B,
    line: "API only returns necessary data (REST/GraphQL select)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    timeout: Duration::from_secs(180),
    skipped_for: &[Profile::Worker],
    reads: "the JSON answers of every known GET route as the first actor, lists once more with limit=1; a GraphQL query 15 \
            deep and one of 200 aliases, neither of which runs a resolver",
    decides: "a password hash, secret, token or key in an answer, a list of more than 100 items that ignores its limit, or \
              GraphQL without a depth limit fails; fields that the document does not know, answers over 512 KiB, text over \
              1 KiB that is not compressed, and others' e-mail addresses warn; passes when 90 % of the routes answered",
    fix: "return the documented fields only (serializer, DTO, select), page lists with a limit of at most 100, compress text",
};

pub struct Payload;

impl Gate for Payload {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn proof(&self) -> Option<Proof> {
        let document = r#"{"openapi": "3.0.3", "info": {"title": "Shop", "version": "1"}, "paths": {"/users": {"get": {"responses":
            {"200": {"description": "ok", "content": {"application/json": {"schema": {"type": "array", "items":
            {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}}}}}}}}}}}"#;
        let shop = |what, body: &str| {
            Fixture::of(what)
                .page(Page::json("/", "{}"))
                .page(Page::json("/openapi.json", document))
                .page(Page::json("/users", body))
        };
        let hash = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        Some(Proof {
            good: shop("the documented fields alone", r#"[{"id": 1, "name": "Ann"}]"#),
            bad: shop(
                "the users' password hashes",
                &format!(r#"[{{"id": 1, "name": "Ann", "password_hash": "{hash}"}}]"#),
            ),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { check(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?.clone();
    let config = &ctx.config.performance.payload;
    let inventory = ctx.inventory().await;
    let prober = ctx.prober(ABOUT.id, Intent::Passive);
    let actor = ctx.actors().first();
    let headers = match actor {
        Some(actor) => match ctx.signed_in(actor).await {
            Ok(headers) => headers,
            Err(why) => {
                return Err(Box::new(Outcome::error("no-credentials", why).hint("correct the entry of [gates] actor")));
            }
        },
        None => Vec::new(),
    };
    let asker = look::Asker { prober: &prober, base: &target.url, headers: &headers, config };
    let routes = asker.all(&inventory, &|route| (ctx.progress)(ABOUT.id, route)).await;
    let routes = routes.map_err(|e| Box::new(crate::gates::web::trouble(&e)))?;
    let graphql = match &inventory.graphql {
        Some(endpoint) => Some(graphql::probe(&asker, endpoint).await),
        None => None,
    };
    let role = actor.map(|a| a.role.clone());
    Ok(judge::judge(&judge::Seen { routes, graphql, role, production: target.is_production() }, config))
}
