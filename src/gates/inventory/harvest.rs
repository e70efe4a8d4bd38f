//! Ids that an actor's own lists show: `GET /teas` tells which `GET /teas/{id}` there are. Without them a request for one
//! object is a guess, and a 404 proves nothing.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use url::Url;

use super::{Inventory, Operation, covers, openapi, values};
use crate::gates::actors::Headers;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, Response};

/// Objects of one list that are taken.
const OBJECTS_MAX: usize = 3;
/// Lists that are asked.
const LISTS_MAX: usize = 60;
/// What an object calls its own name, in order of trust.
const KEYS: [&str; 9] = ["id", "_id", "uuid", "guid", "slug", "key", "number", "code", "name"];

/// By template, concrete paths of objects that this actor's lists show.
pub type Paths = BTreeMap<String, Vec<String>>;

/// By path, whose the list says that an object is: values of `user`, `owner_id` and their like.
pub type Owners = BTreeMap<String, Vec<String>>;

/// Fields of an object that name its owner.
const OWNERS: [&str; 15] = [
    "user",
    "owner",
    "author",
    "username",
    "user_id",
    "userId",
    "owner_id",
    "ownerId",
    "author_id",
    "authorId",
    "customer_id",
    "customerId",
    "account_id",
    "accountId",
    "created_by",
];

/// Asks the lists above every `{param}` that a GET knows, as this actor.
pub async fn own(prober: &Prober, base: &Url, inventory: &Inventory, headers: &Headers, ignore: &[String]) -> Paths {
    owned(prober, base, inventory, headers, ignore).await.0
}

/// The same, with whose each object is where its list tells.
pub async fn owned(
    prober: &Prober,
    base: &Url,
    inventory: &Inventory,
    headers: &Headers,
    ignore: &[String],
) -> (Paths, Owners) {
    let mut owners = Owners::new();
    let mut known = Paths::new();
    let mut asked = 0;
    let mut wanted: Vec<&str> =
        inventory.operations.iter().filter(|o| o.template.contains('{')).map(|o| o.template.as_str()).collect();
    wanted.dedup();
    wanted.sort_by_key(|template| template.matches('{').count());
    for template in wanted {
        let Some((above, name, rest)) = last_param(template) else { continue };
        let object = format!("{above}/{{{name}}}");
        if !known.contains_key(&object) && asked < LISTS_MAX {
            let Some(list) = inventory.operations.iter().find(|o| o.verb() == "GET" && same(&o.template, above)) else {
                continue;
            };
            let Some(path) = concrete(&list.template, &known) else { continue };
            if covers(ignore, &path) {
                continue;
            }
            asked += 1;
            let path =
                values::path(&Operation { template: path, params: list.params.clone(), ..list.clone() }, |_| None);
            let Ok(answer) = ask(prober, base, "GET", &path, headers).await else { continue };
            let ids = serde_json::from_slice(&answer.body).map(|body| ids(&body, name)).unwrap_or_default();
            let bare = path.split('?').next().unwrap_or(&path).trim_end_matches('/').to_string();
            let paths: Vec<String> = ids.iter().map(|(id, _)| format!("{bare}/{id}")).collect();
            for (path, (_, whose)) in paths.iter().zip(ids) {
                owners.insert(path.clone(), whose);
            }
            if !paths.is_empty() && answer.status < 300 {
                known.insert(object.clone(), paths);
            }
        }
        if !rest.is_empty()
            && let Some(paths) = known.get(&object)
        {
            let below: Vec<String> = paths.iter().map(|path| format!("{path}{rest}")).collect();
            for (path, below) in paths.iter().zip(&below) {
                owners.insert(below.clone(), owners.get(path).cloned().unwrap_or_default());
            }
            known.insert(template.to_string(), below);
        }
    }
    (known, owners)
}

/// One request for a path that may be odd; `path` is sent as it stands.
pub async fn ask(
    prober: &Prober,
    base: &Url,
    method: &str,
    path: &str,
    headers: &Headers,
) -> Result<Response, NetError> {
    let mut request = Request::get(address(base, path));
    request.method = method.to_string();
    request.headers = headers.clone();
    request.truncate = true;
    request.body_bytes_limit = 256 * 1024;
    prober.send(request).await
}

/// The target's address with this path and query, whatever slashes it begins with.
pub fn address(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    url.set_path(path);
    url.set_query(query);
    url
}

/// What stands before the last parameter, its name, and what stands behind.
fn last_param(template: &str) -> Option<(&str, &str, &str)> {
    let open = template.rfind("/{")?;
    let close = open + template[open..].find('}')?;
    let rest = &template[close + 1..];
    (rest.is_empty() || rest.starts_with('/')).then(|| (&template[..open], &template[open + 2..close], rest))
}

fn same(template: &str, above: &str) -> bool {
    template.trim_end_matches('/') == above && !above.is_empty()
}

/// A path with real ids where the template has parameters.
pub fn concrete(template: &str, known: &Paths) -> Option<String> {
    if !template.contains('{') {
        return Some(template.to_string());
    }
    if let Some(path) = known.get(template).and_then(|paths| paths.first()) {
        return Some(path.clone());
    }
    let (above, name, rest) = last_param(template)?;
    let path = known.get(&format!("{above}/{{{name}}}"))?.first()?;
    openapi::names(rest).is_empty().then(|| format!("{path}{rest}"))
}

/// Ids of the objects in the first list of an answer, and whose each is.
fn ids(body: &Json, param: &str) -> Vec<(String, Vec<String>)> {
    let list = match body {
        Json::Array(list) => Some(list),
        Json::Object(parts) => parts.values().find_map(|part| match part {
            Json::Array(list) if list.iter().any(Json::is_object) => Some(list),
            Json::Object(inner) => inner.values().find_map(Json::as_array),
            _ => None,
        }),
        _ => None,
    };
    let id = |object: &Json| {
        let text = |key: &str| {
            values::text(&object[key])
                .filter(|id| !id.is_empty() && id.len() <= 64 && !id.contains(['/', '?', '#', '%', ' ']))
        };
        let named = param.to_ascii_lowercase();
        let plain = KEYS.iter().any(|key| named.ends_with(key)).then(|| text(param)).flatten();
        plain.or_else(|| KEYS.iter().find_map(|key| text(key))).or_else(|| text(param))
    };
    let whose = |object: &Json| OWNERS.iter().filter_map(|key| values::text(&object[*key])).collect();
    list.into_iter().flatten().filter_map(|object| Some((id(object)?, whose(object)))).take(OBJECTS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Source;
    use super::*;
    use crate::gates::testing;
    use crate::net::safety::Intent;
    use crate::net::tests_support::{Served, serve};

    #[tokio::test]
    async fn lists_tell_the_ids_of_what_is_below_them() {
        let server = serve(|request| {
            let body = match request.split(' ').nth(1).unwrap_or_default() {
                "/users" => json!([{ "id": 4, "name": "ann" }, { "id": 5 }]),
                "/users/4/orders?limit=1" => json!({ "items": [{ "number": "o-9" }], "total": 1 }),
                other => panic!("{other}"),
            };
            assert!(request.contains("authorization: Bearer a"), "{request}");
            Served::with(200, &[], body.to_string().as_bytes())
        })
        .await;
        let operation = |template: &str| Operation::new("GET", template, Source::Code);
        let mut inventory = Inventory::default();
        for template in
            ["/users", "/users/{id}", "/users/{id}/card", "/users/{id}/orders", "/users/{id}/orders/{order}", "/x/{y}"]
        {
            inventory.operations.push(operation(template));
        }
        let limit = super::super::Param {
            name: "limit".into(),
            place: super::super::Place::Query,
            required: true,
            schema: Json::Null,
            example: None,
        };
        inventory.operations[3].params.push(limit);
        let (_dir, ctx) = testing::context(|_| {});
        let prober = ctx.prober("inventory", Intent::Passive);
        let headers = vec![("authorization".to_string(), "Bearer a".to_string())];
        let known = own(&prober, &server.url("/").parse().unwrap(), &inventory, &headers, &[]).await;
        assert_eq!(known["/users/{id}"], ["/users/4", "/users/5"]);
        assert_eq!(known["/users/{id}/orders/{order}"], ["/users/4/orders/o-9"]);
        assert_eq!(concrete("/users/{id}/card", &known).unwrap(), "/users/4/card");
        assert_eq!(concrete("/x/{y}", &known), None);
        assert_eq!(concrete("/users", &known).unwrap(), "/users");
    }

    #[test]
    fn ids_of_all_kinds_and_none_that_are_no_segment() {
        for (body, expect) in [
            (json!([{ "tea": "oolong", "id": 7 }]), vec!["7"]),
            (json!([{ "tea": "oolong" }]), vec!["oolong"]),
            (json!({ "data": { "rows": [{ "_id": "a1" }] } }), vec!["a1"]),
            (json!([{ "id": "a/b" }, { "slug": "ok" }]), vec!["ok"]),
            (json!([1, 2]), vec![]),
            (json!("x"), vec![]),
        ] {
            let found: Vec<String> = ids(&body, "tea").into_iter().map(|(id, _)| id).collect();
            assert_eq!(found, expect, "{body}");
        }
        assert_eq!(
            ids(&json!([{ "id": 1, "user": "ann", "owner_id": 4 }]), "id"),
            [("1".to_string(), vec!["ann".to_string(), "4".into()])]
        );
        let base: Url = "http://h.invalid/app/?x=1".parse().unwrap();
        assert_eq!(address(&base, "//a/..;/b?c='").as_str(), "http://h.invalid//a/..;/b?c=%27");
    }
}
