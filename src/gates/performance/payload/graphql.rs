//! Two questions to a GraphQL endpoint that cost it nothing: a query fifteen deep, skipped by directive so that only its
//! validation happens, and two hundred aliases of `__typename` (ASVS 5 4.3.1, 4.3.2).

use serde::Serialize;
use serde_json::Value as Json;
use url::Url;

use super::look::Asker;
use crate::gates::inventory::{Field, GraphQl, graphql_fields};
use crate::net::NetError;

/// A limit above this is none.
const DEPTH: usize = 15;
const ALIASES: usize = 200;
/// Of one query.
const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Types that are followed in search of a way that comes back to itself.
const STEPS_MAX: usize = 20_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Limit {
    /// The query was refused.
    Refused,
    /// The query was taken.
    None,
    /// The schema itself is not that deep.
    BySchema,
    /// Could not be told.
    Unknown,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Probed {
    pub(super) path: String,
    pub(super) introspection: bool,
    pub(super) depth: Limit,
    pub(super) aliases: Limit,
}

pub(super) async fn probe(asker: &Asker<'_>, endpoint: &GraphQl) -> Probed {
    let aliases: String = (0..ALIASES).map(|n| format!("a{n}:__typename ")).collect();
    let aliases = taken(asker, &endpoint.path, &format!("{{{aliases}}}")).await;
    let depth = match way(endpoint, DEPTH) {
        _ if endpoint.schema.is_null() => Limit::Unknown,
        None => Limit::BySchema,
        Some(steps) => {
            // The same way, short, must be taken: else the refusal says nothing about depth.
            let shallow = taken(asker, &endpoint.path, &query(&steps[..2])).await;
            match shallow {
                Limit::None => taken(asker, &endpoint.path, &query(&steps)).await,
                _ => Limit::Unknown,
            }
        }
    };
    Probed { path: endpoint.path.clone(), introspection: endpoint.introspection, depth, aliases }
}

async fn taken(asker: &Asker<'_>, path: &str, query: &str) -> Limit {
    if query.len() > QUERY_BYTES_MAX {
        return Limit::Unknown;
    }
    match ask(asker, path, query).await {
        Ok(body) if body["errors"].as_array().is_some_and(|e| !e.is_empty()) => Limit::Refused,
        Ok(body) if body["data"].is_object() => Limit::None,
        _ => Limit::Unknown,
    }
}

async fn ask(asker: &Asker<'_>, path: &str, query: &str) -> Result<Json, NetError> {
    let joined: Result<Url, _> = asker.base.join(path.trim_start_matches('/'));
    let mut url = joined.map_err(|e| NetError::Protocol(e.to_string()))?;
    url.query_pairs_mut().append_pair("query", query);
    let answer = asker.get(url).await?;
    Ok(serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// A field with what it must be given.
type Step = String;

fn query(steps: &[Step]) -> String {
    let mut out = String::from("{__typename ");
    for (nth, step) in steps.iter().enumerate() {
        out.push_str(step);
        out.push_str(if nth == 0 { " @skip(if:true){" } else { "{" });
    }
    out.push_str("__typename");
    out.extend(std::iter::repeat_n('}', steps.len() + 1));
    out
}

/// Fields that lead `depth` types down from the query type; `None`: the schema ends before.
fn way(endpoint: &GraphQl, depth: usize) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut left = STEPS_MAX;
    deeper(&endpoint.schema, &endpoint.queries, depth, &mut steps, &mut left).then_some(steps)
}

fn deeper(schema: &Json, fields: &[Field], depth: usize, steps: &mut Vec<Step>, left: &mut usize) -> bool {
    if depth == 0 {
        return true;
    }
    for field in fields {
        *left = left.saturating_sub(1);
        if *left == 0 {
            return false;
        }
        let next = graphql_fields(schema, &field.gives);
        let Some(step) = step(field).filter(|_| !next.is_empty() && !field.gives.starts_with("__")) else { continue };
        steps.push(step);
        if deeper(schema, &next, depth - 1, steps, left) {
            return true;
        }
        steps.pop();
    }
    false
}

/// `user(id:"hc")`; `None` when an argument is needed that has no plain literal.
fn step(field: &Field) -> Option<Step> {
    let mut args = Vec::new();
    for (name, kind, _) in field.args.iter().filter(|(_, _, required)| *required) {
        let literal = match kind.as_str() {
            "ID" | "String" => "\"hc\"",
            "Int" | "Float" => "1",
            "Boolean" => "false",
            _ => return None,
        };
        args.push(format!("{name}:{literal}"));
    }
    Some(if args.is_empty() { field.name.clone() } else { format!("{}({})", field.name, args.join(",")) })
}
