//! Asks the GET routes of the inventory, lists twice, and keeps what the verdict needs: no values.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;
use url::Url;

use super::Config;
use super::fields::{self, Leak};
use crate::gates::actors::Headers;
use crate::gates::inventory::{Inventory, Operation, Place, values};
use crate::gates::web;
use crate::net::safety::{Prober, RESPONSE_BYTES_MAX};
use crate::net::{NetError, Request, Response};

/// Names under which lists take their limit.
const LIMITS: [&str; 9] = ["limit", "per_page", "perpage", "page_size", "pagesize", "size", "first", "count", "take"];
/// Routes that end something, although they are asked by GET.
const LEAVES: [&str; 6] = ["logout", "signout", "sign-out", "log-out", "unsubscribe", "delete"];

/// One route and what it answered.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Route {
    /// `GET /users/{id}`
    pub(super) name: String,
    pub(super) status: u16,
    pub(super) kind: Kind,
    pub(super) bytes: usize,
    pub(super) truncated: bool,
    pub(super) compressed: bool,
    /// Where the list stands, and its items.
    pub(super) list: Option<(String, u64)>,
    /// Items with `limit=1`; the list above has as many when the limit is ignored.
    pub(super) limited: Option<u64>,
    #[serde(skip)]
    pub(super) leaks: BTreeMap<String, Leak>,
    pub(super) undocumented: Vec<String>,
    pub(super) emails: usize,
    pub(super) place: Option<(String, u32)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Json,
    /// A page, a picture, a file: not an API's answer.
    Other,
    /// 401, 403, 404, 5xx, or no answer: nothing could be read.
    #[default]
    Unread,
}

pub(super) struct Asker<'a> {
    pub(super) prober: &'a Prober,
    pub(super) base: &'a Url,
    pub(super) headers: &'a Headers,
    pub(super) config: &'a Config,
}

impl Asker<'_> {
    pub(super) async fn get(&self, url: Url) -> Result<Response, NetError> {
        let mut request = Request { truncate: true, body_bytes_limit: RESPONSE_BYTES_MAX, ..Request::get(url) };
        request.headers = self.headers.clone();
        self.prober.send(request.header("accept", "application/json").header("accept-encoding", "gzip")).await
    }

    /// Routes without parameters first: their lists hold the ids that the others ask for. Errors when the target is gone or
    /// refused; a single route that fails is unread.
    pub(super) async fn all(
        &self,
        inventory: &Inventory,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Vec<Route>, NetError> {
        let asked = |o: &&Operation| {
            let path = o.template.to_ascii_lowercase();
            matches!(o.method.as_str(), "GET" | "ANY")
                && (o.certain || !o.seen.is_empty())
                && !path.contains('*')
                && !LEAVES.iter().any(|w| path.contains(w))
                && inventory.graphql.as_ref().is_none_or(|g| g.path != o.template)
        };
        let mut operations: Vec<&Operation> = inventory.operations.iter().filter(asked).collect();
        operations.sort_by_key(|o| o.at(Place::Path).count());
        operations.truncate(self.config.max_routes);
        // Ids by the path of the list that holds them: `/users` → 7.
        let mut ids: BTreeMap<String, String> = BTreeMap::new();
        let (mut out, mut last) = (Vec::new(), None);
        for operation in operations {
            progress(&operation.name());
            match self.route(operation, &mut ids).await {
                Ok(route) => out.push(route),
                Err(error @ (NetError::Refused(_) | NetError::Stopped(_))) => return Err(error),
                Err(error) => {
                    out.push(Route { name: operation.name(), ..Route::default() });
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if out.iter().all(|r| r.status == 0) => Err(error),
            _ => Ok(out),
        }
    }

    fn url(&self, operation: &Operation, ids: &BTreeMap<String, String>) -> Result<Url, NetError> {
        let (before, _) = operation.template.split_once("/{").unwrap_or((&operation.template, ""));
        let single = operation.at(Place::Path).count() == 1;
        let path = values::path(operation, |param| {
            (param.place == Place::Path && single).then(|| ids.get(before).cloned()).flatten()
        });
        let prefix = self.base.path().trim_end_matches('/');
        self.base.join(&format!("{prefix}{path}")).map_err(|e| NetError::Protocol(e.to_string()))
    }

    async fn route(&self, operation: &Operation, ids: &mut BTreeMap<String, String>) -> Result<Route, NetError> {
        let url = self.url(operation, ids)?;
        let response = self.get(url.clone()).await?;
        let mut route = Route {
            name: format!("GET {}", operation.template),
            status: response.status,
            bytes: response.body.len(),
            truncated: response.truncated,
            compressed: response.header("content-encoding").is_some_and(|e| e != "identity"),
            place: operation.place.clone(),
            ..Route::default()
        };
        if !(200..300).contains(&response.status) {
            return Ok(route);
        }
        if !web::is_json(&response) {
            route.kind = Kind::Other;
            return Ok(route);
        }
        route.kind = Kind::Json;
        if response.truncated {
            // Half a document cannot be read; that it is so long is the finding.
            return Ok(route);
        }
        let Ok(body) = serde_json::from_slice::<Json>(&response.body) else {
            route.kind = Kind::Unread;
            return Ok(route);
        };
        let seen = fields::look(&body);
        route.leaks = seen.leaks.into_iter().filter(|(path, _)| !self.config.allows(path)).collect();
        route.emails = if self.config.allows("email") { 0 } else { seen.emails };
        if let Some(schema) = &operation.answer {
            let beyond = fields::undocumented(&body, schema);
            route.undocumented = beyond.into_iter().filter(|path| !self.config.allows(path)).collect();
        }
        if let Some((at, items)) = fields::list(&body) {
            if let Some(id) = first_id(&body, &at) {
                ids.insert(operation.template.trim_end_matches('/').to_string(), id);
            }
            if items > 1 && (items > self.config.max_items || route.bytes as u64 > self.config.max_kb * 1024) {
                route.limited = self.limited(operation, url).await?;
            }
            route.list = Some((at, items));
        }
        Ok(route)
    }

    /// How many items the list has when one is asked for, by the documented name or by each of the usual ones together.
    async fn limited(&self, operation: &Operation, mut url: Url) -> Result<Option<u64>, NetError> {
        let known = operation.at(Place::Query).find(|p| LIMITS.contains(&p.name.to_ascii_lowercase().as_str()));
        let names: Vec<&str> = known.map_or_else(|| LIMITS[..7].to_vec(), |param| vec![param.name.as_str()]);
        let kept: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(name, _)| !names.contains(&name.as_str())).collect();
        url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(names.iter().map(|name| (*name, "1")));
        let response = self.get(url).await?;
        if response.status != 200 {
            return Ok(None);
        }
        if response.truncated {
            return Ok(Some(u64::MAX));
        }
        let body: Json = serde_json::from_slice(&response.body).unwrap_or_default();
        Ok(fields::list(&body).map(|(_, items)| items).or(Some(0)))
    }
}

fn first_id(body: &Json, at: &str) -> Option<String> {
    let mut list = body;
    for key in at.trim_end_matches("[]").split('.').filter(|k| !k.is_empty()) {
        list = &list[key];
    }
    let first = list.get(0)?;
    ["id", "_id", "uuid", "slug"].iter().find_map(|name| values::text(&first[*name]))
}
