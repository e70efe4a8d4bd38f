//! What a GraphQL endpoint tells of itself by introspection (GraphQL specification, October 2021, section 4), asked by GET.

use serde::Serialize;
use serde_json::Value as Json;
use url::Url;

use crate::net::Request;
use crate::net::safety::Prober;

/// Where GraphQL is served.
const PATHS: [&str; 3] = ["graphql", "api/graphql", "query"];

/// Fields and arguments of every type, without descriptions; types nested four deep (`[[T!]!]!` needs six: rare).
const INTROSPECTION: &str = "{__schema{queryType{name}mutationType{name}types{kind name fields{name args{name type{...t}}type{...t}}}}}\
    fragment t on __Type{kind name ofType{kind name ofType{kind name ofType{kind name}}}}";

/// A GraphQL endpoint.
#[derive(Debug, Clone, Serialize)]
pub struct GraphQl {
    /// `/graphql`
    pub path: String,
    /// Does it describe itself to anybody?
    pub introspection: bool,
    /// Fields of the query type.
    pub queries: Vec<Field>,
    /// `__schema` as it came; null without introspection.
    #[serde(skip)]
    pub schema: Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    /// Name and type (`Int`, `ID`, `String`) of each argument, and whether it must be given.
    pub args: Vec<(String, String, bool)>,
    /// The named type behind lists and non-null.
    pub gives: String,
    pub list: bool,
}

/// The endpoint, when one answers. `likely`: the repository says that there is one; else only the usual place is tried.
pub(super) async fn look(prober: &Prober, base: &Url, likely: bool) -> Option<GraphQl> {
    for path in PATHS.iter().take(if likely { PATHS.len() } else { 1 }) {
        let mut url = base.join(path).ok()?;
        url.query_pairs_mut().append_pair("query", INTROSPECTION);
        // Servers that guard against forms of other sites ask for a header that no form can send.
        let request = Request::get(url).header("accept", "application/json").header("apollo-require-preflight", "true");
        let Ok(answer) = prober.send(request).await else { continue };
        let Ok(body) = serde_json::from_slice::<Json>(&answer.body) else { continue };
        let schema = &body["data"]["__schema"];
        if schema.is_object() {
            let queries = fields(schema, schema["queryType"]["name"].as_str().unwrap_or("Query"));
            return Some(GraphQl { path: format!("/{path}"), introspection: true, queries, schema: schema.clone() });
        }
        // Refuses introspection, or GET, in GraphQL's own words.
        let speaks = body["errors"].as_array().is_some_and(|errors| errors.iter().any(|e| e["message"].is_string()));
        if speaks && answer.status != 404 {
            let path = format!("/{path}");
            return Some(GraphQl { path, introspection: false, queries: Vec::new(), schema: Json::Null });
        }
    }
    None
}

/// Fields of a type.
pub fn fields(schema: &Json, name: &str) -> Vec<Field> {
    let all = schema["types"].as_array().into_iter().flatten();
    let Some(of) = all.filter(|t| t["name"] == name).find_map(|t| t["fields"].as_array()) else { return Vec::new() };
    of.iter()
        .filter_map(|field| {
            let (gives, list, _) = named(&field["type"]);
            let args = field["args"].as_array().into_iter().flatten().filter_map(|arg| {
                let (kind, _, required) = named(&arg["type"]);
                Some((arg["name"].as_str()?.to_string(), kind, required))
            });
            Some(Field { name: field["name"].as_str()?.to_string(), args: args.collect(), gives, list })
        })
        .collect()
}

/// The named type, whether a list is around it, whether it must be there.
fn named(kind: &Json) -> (String, bool, bool) {
    let required = kind["kind"] == "NON_NULL";
    let (mut at, mut list) = (kind, false);
    while at["ofType"].is_object() {
        list |= at["kind"] == "LIST";
        at = &at["ofType"];
    }
    (at["name"].as_str().unwrap_or_default().to_string(), list, required)
}
