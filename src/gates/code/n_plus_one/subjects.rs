//! What can be a list: GET routes of the inventory, and GraphQL fields that give lists of objects with objects in them; each
//! with the addresses that ask for few and for many items. Pure.

use serde_json::Value as Json;
use url::Url;

use super::Config;
use crate::gates::inventory::{Field, GraphQl, Inventory, Operation, Place, values};
use crate::net::Response;

/// Few and many items. Many is what most lists give as a page.
pub const FEW: usize = 2;
pub const MANY: usize = 20;

/// Usual names of the parameter, in the order of being tried where nothing documents one.
const SIZE_PARAMS: [&str; 8] = ["limit", "per_page", "page_size", "pageSize", "size", "first", "perPage", "page[size]"];
/// Other spellings that documents use.
const MORE_PARAMS: [&str; 7] = ["count", "take", "top", "$top", "max_results", "maxResults", "rows"];
/// Undocumented names that are tried on one route.
const TRIED_MAX: usize = 5;

/// One thing to ask for.
#[derive(Debug, Clone)]
pub struct Subject {
    /// `GET /orders`, or `{ orders }` of GraphQL.
    pub name: String,
    /// File and line.
    pub place: Option<(String, u32)>,
    pub is_graphql: bool,
    pub url: Url,
    /// Parameter, address for few, address for many.
    pub sizes: Vec<(String, Url, Url)>,
}

pub fn of(inventory: &Inventory, base: &Url, config: &Config) -> Vec<Subject> {
    let mut out: Vec<Subject> = inventory
        .operations
        .iter()
        .filter(|o| o.verb() == "GET" && o.is_safe() && !ends_something(&o.template))
        .filter_map(|o| of_route(o, base, config))
        .collect();
    if let Some(graphql) = &inventory.graphql {
        out.extend(of_graphql(graphql, base));
    }
    out
}

/// A GET that somebody has made to do something all the same: it would end the session that the others are asked in.
fn ends_something(template: &str) -> bool {
    let template = template.to_ascii_lowercase();
    ["logout", "log-out", "signout", "sign-out", "unsubscribe", "delete"].iter().any(|word| template.contains(word))
}

fn of_route(operation: &Operation, base: &Url, config: &Config) -> Option<Subject> {
    let url = joined(base, &values::path(operation, |_| None))?;
    let own = config.size_params.iter().map(String::as_str);
    let usual: Vec<&str> = own.chain(SIZE_PARAMS).chain(MORE_PARAMS).collect();
    let documented: Vec<&str> =
        operation.at(Place::Query).map(|p| p.name.as_str()).filter(|name| usual.contains(name)).collect();
    let names: Vec<&str> = match documented.is_empty() {
        true => usual.iter().copied().take(TRIED_MAX.max(config.size_params.len())).collect(),
        false => documented,
    };
    let sized = |name: &str| {
        let with = |n: usize| with_query(&url, name, &n.to_string());
        (name.to_string(), with(FEW), with(MANY))
    };
    let sizes = names.into_iter().map(sized).collect();
    Some(Subject { name: operation.name(), place: operation.place.clone(), is_graphql: false, url, sizes })
}

/// The path below the target's own.
fn joined(base: &Url, path: &str) -> Option<Url> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url.set_fragment(None);
    (url.origin() == base.origin()).then_some(url)
}

/// The same address with one parameter set.
fn with_query(url: &Url, name: &str, value: &str) -> Url {
    let kept: Vec<(String, String)> =
        url.query_pairs().filter(|(key, _)| key != name).map(|(k, v)| (k.into(), v.into())).collect();
    let mut out = url.clone();
    out.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, value);
    out
}

/// Objects inside the listed ones that are asked for.
const NESTED_MAX: usize = 4;

fn of_graphql(graphql: &GraphQl, base: &Url) -> Vec<Subject> {
    graphql.queries.iter().filter_map(|field| of_field(graphql, field, base)).collect()
}

/// `{ orders(first: 2) { id customer { name } } }`, when its arguments need nothing else.
fn of_field(graphql: &GraphQl, field: &Field, base: &Url) -> Option<Subject> {
    if !field.list || field.args.iter().any(|(_, _, required)| *required) {
        return None;
    }
    let selection = selection(graphql, &field.gives)?;
    let query = |args: String| {
        let mut url = joined(base, &graphql.path)?;
        url.query_pairs_mut().append_pair("query", &format!("{{{}{args}{{{selection}}}}}", field.name));
        Some(url)
    };
    let size = field
        .args
        .iter()
        .find(|(name, kind, _)| kind == "Int" && ["first", "limit", "take", "size"].contains(&name.as_str()));
    let sized =
        |name: &String| Some((name.clone(), query(format!("({name}:{FEW})"))?, query(format!("({name}:{MANY})"))?));
    Some(Subject {
        name: format!("GraphQL {{ {} }}", field.name),
        place: None,
        is_graphql: true,
        url: query(String::new())?,
        sizes: size.and_then(|(name, _, _)| sized(name)).into_iter().collect(),
    })
}

/// One plain field, and each object with a plain field of its own. `None`: nothing is nested.
fn selection(graphql: &GraphQl, of: &str) -> Option<String> {
    let plain = |name: &str| {
        let all = crate::gates::inventory::graphql_fields(&graphql.schema, name);
        all.into_iter().find(|f| f.args.is_empty() && is_plain(&graphql.schema, &f.gives)).map(|f| f.name)
    };
    let own = plain(of)?;
    let nested: Vec<String> = crate::gates::inventory::graphql_fields(&graphql.schema, of)
        .into_iter()
        .filter(|f| !is_plain(&graphql.schema, &f.gives) && f.args.iter().all(|(_, _, required)| !required))
        .filter_map(|f| Some(format!("{}{{{}}}", f.name, plain(&f.gives)?)))
        .take(NESTED_MAX)
        .collect();
    (!nested.is_empty()).then(|| format!("{own} {}", nested.join(" ")))
}

fn is_plain(schema: &Json, name: &str) -> bool {
    let kind =
        schema["types"].as_array().into_iter().flatten().find(|t| t["name"] == name).and_then(|t| t["kind"].as_str());
    matches!(kind, Some("SCALAR" | "ENUM"))
}

/// How deep in an answer a list is looked for.
const DEPTH_MAX: usize = 4;

/// Items of an answer: the longest list of JSON that lies in no other list; rows or entries of a page.
pub fn items(response: &Response) -> Option<usize> {
    let text = response.text();
    match serde_json::from_str::<Json>(&text) {
        Ok(json) => longest(&json, 0),
        Err(_) => in_page(&text),
    }
}

fn longest(json: &Json, depth: usize) -> Option<usize> {
    match json {
        Json::Array(all) => Some(all.len()),
        Json::Object(all) if depth < DEPTH_MAX => all.values().filter_map(|part| longest(part, depth + 1)).max(),
        _ => None,
    }
}

/// Of a page: whichever is there most often.
fn in_page(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    if !lower.contains("<html") && !lower.contains("<body") && !lower.contains("<!doctype") {
        return None;
    }
    let rows = lower.matches("<tr").count().saturating_sub(lower.matches("<thead").count());
    [rows, lower.matches("<li").count() - lower.matches("<link").count(), lower.matches("<article").count()]
        .into_iter()
        .max()
        .filter(|n| *n > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::gates::inventory::{Param, Source};

    #[test]
    fn routes_and_their_sizes() {
        let base: Url = "http://127.0.0.1:1/api".parse().unwrap();
        let mut operation = Operation::new("GET", "/orders", Source::OpenApi);
        let schema = json!({ "type": "integer" });
        operation.params.push(Param {
            name: "per_page".into(),
            place: Place::Query,
            required: false,
            schema,
            example: None,
        });
        let inventory = Inventory {
            operations: vec![
                operation,
                Operation::new("GET", "/carts", Source::Code),
                Operation::new("POST", "/carts", Source::Code),
                Operation::new("GET", "/logout", Source::Code),
            ],
            ..Inventory::default()
        };
        let subjects = of(&inventory, &base, &Config::default());
        assert_eq!(subjects.len(), 2);
        assert_eq!(subjects[0].url.as_str(), "http://127.0.0.1:1/api/orders");
        assert_eq!(subjects[0].sizes.len(), 1);
        assert_eq!(subjects[0].sizes[0].1.as_str(), "http://127.0.0.1:1/api/orders?per_page=2");
        assert_eq!(subjects[1].sizes.len(), TRIED_MAX);
    }

    #[test]
    fn lists_of_answers() {
        assert_eq!(longest(&json!([1, [2, 3, 4, 5]]), 0), Some(2));
        assert_eq!(longest(&json!({ "warnings": [], "data": { "orders": [{ "lines": [1, 2, 3] }, {}] } }), 0), Some(2));
        assert_eq!(longest(&json!({ "id": 7 }), 0), None);
        assert_eq!(in_page("<!doctype html><link rel=a><ul><li>a<li>b</ul>"), Some(2));
        assert_eq!(in_page("plain text <li>"), None);
    }

    #[test]
    fn graphql_lists_with_objects_in_them() {
        let kind = |name: &str, kind: &str| json!({ "name": name, "kind": kind });
        let field = |name: &str, gives: Json| json!({ "name": name, "args": [], "type": gives });
        let schema = json!({ "types": [
            { "name": "Order", "kind": "OBJECT", "fields": [
                field("id", kind("ID", "SCALAR")), field("customer", kind("Customer", "OBJECT")) ] },
            { "name": "Customer", "kind": "OBJECT", "fields": [field("name", kind("String", "SCALAR"))] },
            { "name": "ID", "kind": "SCALAR" }, { "name": "String", "kind": "SCALAR" } ] });
        let list = |name: &str, gives: &str, args: Vec<(String, String, bool)>| Field {
            name: name.into(),
            args,
            gives: gives.into(),
            list: true,
        };
        let graphql = GraphQl {
            path: "/graphql".into(),
            introspection: true,
            queries: vec![
                list("orders", "Order", vec![("first".into(), "Int".into(), false)]),
                list("customers", "Customer", vec![]),
                list("ordersOf", "Order", vec![("id".into(), "ID".into(), true)]),
            ],
            schema,
        };
        let base: Url = "http://127.0.0.1:1/".parse().unwrap();
        let subjects = of_graphql(&graphql, &base);
        let names: Vec<&str> = subjects.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["GraphQL { orders }"]);
        let (_, query) = subjects[0].sizes[0].1.query_pairs().next().unwrap();
        assert_eq!(query, "{orders(first:2){id customer{name}}}");
    }
}
