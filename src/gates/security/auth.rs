//! Gate `security.auth`: every sensitive route asks who is there, and believes only what it can verify.
//!
//! Why at launch: one router mounted above the middleware, or a token whose signature nobody checks, and the first visitor
//! is everybody. Touches the target with active, harmless requests: none changes anything that exists. What must be
//! protected is found by `auth/sensitive.rs` (deny by default), what is tried stands in `auth/attempts.rs`, tokens are bent
//! in `auth/token.rs`, the verdict is `auth/judge.rs`. The wall must have a door: a route that refuses everybody proves
//! nothing, so each is asked as an actor too.
//! Sources: ASVS 5 6.3.4, 8.3.1, 9.1.1, 9.1.2, 9.2.1, 14.2.1; WSTG-ATHN-04, ATHZ-02, SESS-10; API2:2023; RFC 8725.

mod attempts;
mod judge;
pub(super) mod sensitive;
#[cfg(test)]
mod tests;
mod token;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tokio::time::Instant;
use url::Url;

use self::attempts::{Attempt, Seen};
use self::sensitive::Why;
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::actors::Headers;
use crate::gates::calibrate::{self, NotFound};
use crate::gates::inventory::{Inventory, Operation, Place, harvest, values};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage, web};
use crate::net::safety::{self, Intent, Prober};
use crate::net::{NetError, Request, Response};

/// `[gates.security.auth]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Routes that check a signature of their own, as webhooks do: paths, a `*` at the end covers what is below.
    pub signed: Vec<String>,
    /// PEM file of the repository with the public key of the tokens, beside what the service itself publishes.
    pub public_key: Option<String>,
    /// Share of the sensitive routes that must be proved.
    pub floor: f64,
    /// May DELETE be sent, for ids that do not exist?
    pub delete: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { signed: Vec::new(), public_key: None, floor: 0.95, delete: false }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.floor) {
            problems.push(Problem::at(["floor"], format!("{} is no share: write 0 to 1", self.floor)));
        }
        for path in self.signed.iter().filter(|path| !path.starts_with('/') || *path == "/*") {
            problems.push(Problem::at(["signed"], format!("`{path}` is not a path of this site: it begins with /")));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

static ABOUT: About = About {
    id: "security.auth",
    section: Section::Security,
    class: Class::A,
    line: "auth applied on all sensitive routes (JWT, OAuth, API keys)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &[],
    timeout: Duration::from_secs(300),
    skipped_for: &[Profile::StaticSite],
    reads: "the route inventory and the configured actors; each sensitive route is asked without credentials, with spoilt and \
            with forged ones, by odd spellings of its path, and as an actor",
    decides: "nobody gets in who may not, and an actor does; a token is believed only when its signature was checked. \
              Validation before authentication proves nothing and counts against the floor",
    fix: "mount the authentication middleware before every router and deny by default; name what is public on purpose in \
          [gates.routes] public",
};

/// Requests under way at once; the guard's own limit may be lower.
const CONCURRENCY: usize = 4;
/// The rest of the gate's time is for the last answers.
const ROUNDS_MAX: Duration = Duration::from_secs(270);
/// Routes on which every forgery and spelling is tried; beyond, two of them.
const THOROUGH_MAX: usize = 60;
/// Routes on which a credential in the query is tried.
const IN_QUERY_MAX: usize = 3;
/// Where services publish their keys.
const KEY_SETS: [&str; 3] = ["/.well-known/jwks.json", "/jwks.json", "/oauth2/jwks"];

pub struct Auth;

impl Gate for Auth {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        let document = "{\"openapi\": \"3.0.3\", \"components\": {\"securitySchemes\": {\"b\": {\"type\": \"http\", \"scheme\": \"bearer\"}}}, \
            \"paths\": {\"/orders\": {\"get\": {\"security\": [{\"b\": []}]}}}}";
        let shop = |what| {
            Fixture::of(what).file("openapi.json", document).page(Page::new("/", "text/html", "<title>Shop</title>"))
        };
        let refused = Page::json("/orders", "{\"error\": \"who are you?\"}")
            .status(401)
            .headers(&[("www-authenticate", "Bearer")]);
        Some(Proof {
            good: shop("orders are refused to strangers").page(refused),
            bad: shop("orders are shown to everybody")
                .page(Page::json("/orders", "[{\"id\": 1, \"tea\": \"oolong\", \"to\": \"Ann\"}]")),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = check(ctx).await.unwrap_or_else(|outcome| *outcome);
            ctx.with_imports(&ABOUT, own)
        })
    }
}

/// One sensitive operation and what was tried on it.
struct Tried<'i> {
    operation: &'i Operation,
    why: Why,
    /// What is asked: the path with its query.
    path: String,
    /// As whom it opened, and what came.
    door: Option<(String, Headers, Response)>,
    /// Attempt, status, what it shows.
    rows: Vec<Row>,
    /// Not asked at all: why.
    left_out: Option<&'static str>,
}

struct Row {
    rule: &'static str,
    what: String,
    status: Option<u16>,
    seen: Seen,
    /// From a cache on the way.
    cached: bool,
    /// A 401 that does not say how to sign in.
    mute: bool,
}

/// Everything the verdict rests on.
struct Scan<'i> {
    tried: Vec<Tried<'i>>,
    /// Answers anybody with data, and nobody says that it may.
    undeclared: Vec<&'i Operation>,
    actors: usize,
    /// Actors who could not sign in, and why.
    shut_out: Vec<String>,
    /// Characters of the secret that was guessed.
    weak_secret: Option<usize>,
    stopped: Option<NetError>,
    late: bool,
    known: usize,
}

struct Probing<'c> {
    prober: Prober,
    base: &'c Url,
    not_found: NotFound,
    until: Instant,
    canary: String,
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?;
    let config = &ctx.config.security.auth;
    let inventory = ctx.inventory().await;
    if inventory.operations.is_empty() {
        return Err(Box::new(
            Outcome::error("nothing-to-inspect", "no route is known: neither document, source nor page tells of one")
                .hint("give an OpenAPI document, or recorded traffic: [gates.routes] har = [\"…\"]"),
        ));
    }
    let public: Vec<String> = ctx.config.routes.public.iter().chain(&config.signed).cloned().collect();
    let found: Vec<(&Operation, Why)> = inventory
        .operations
        .iter()
        .filter(|o| o.certain)
        .filter_map(|o| Some((o, sensitive::why(o, &public)?)))
        .collect();
    if found.is_empty() {
        return Err(Box::new(nothing_sensitive(ctx, &inventory)));
    }
    let prober = ctx.prober(ABOUT.id, Intent::Active);
    let canary = web::canary(&ctx.guard.run);
    let not_found = calibrate::calibrate(&prober, &target.url, &canary).await.map_err(|u| Box::new(u.outcome()))?;
    let probing = Probing { prober, base: &target.url, not_found, until: Instant::now() + ROUNDS_MAX, canary };

    let mut scan = Scan {
        tried: Vec::new(),
        undeclared: Vec::new(),
        actors: ctx.actors().len(),
        shut_out: Vec::new(),
        weak_secret: None,
        stopped: None,
        late: false,
        known: found.len(),
    };
    let mut signed: Vec<(String, Headers)> = Vec::new();
    for actor in ctx.actors() {
        match ctx.signed_in(actor).await {
            Ok(headers) => signed.push((actor.name.clone(), headers)),
            Err(why) => scan.shut_out.push(why),
        }
    }
    let none = Headers::new();
    let first = signed.first().map_or(&none, |(_, headers)| headers);
    let own = harvest::own(&probing.prober, &target.url, &inventory, first, &public).await;
    for (operation, why) in found {
        scan.tried.push(probing.planned(operation, why, &own, config));
    }

    (ctx.progress)(ABOUT.id, "asks without credentials and as an actor");
    probing.doors(&mut scan, &signed).await;
    let others: Vec<&Operation> = inventory
        .operations
        .iter()
        .filter(|o| {
            o.certain && o.verb() == "GET" && sensitive::why(o, &public).is_none() && !sensitive::is_public(o, &public)
        })
        .collect();
    probing.undeclared(&mut scan, &others).await;
    (ctx.progress)(ABOUT.id, "tries spoilt and forged credentials, and odd paths");
    let keys = probing.keys(ctx, config).await;
    probing.forge(ctx, &mut scan, &keys).await;
    Ok(judge::judge(config, scan))
}

fn nothing_sensitive(ctx: &GateContext, inventory: &Inventory) -> Outcome {
    let count = inventory.operations.len();
    if !inventory.is_told() {
        return Outcome::error(
            "nothing-to-inspect",
            format!("only a crawl of the pages tells of routes, and of {count} alone"),
        )
        .hint("give an OpenAPI document, or recorded traffic: [gates.routes] har = [\"…\"]");
    }
    if ctx.actors().is_empty() {
        let told = inventory.told.join(", ");
        return Outcome::skip(
            "no-auth",
            format!("none of {count} routes asks for a login, changes something or sounds private"),
        )
        .evidence("inventory", serde_json::json!({ "operations": count, "told": told }));
    }
    Outcome::error(
        "nothing-to-inspect",
        format!("actors are configured, and none of {count} known routes is sensitive"),
    )
    .hint("give an OpenAPI document with `security`, or recorded traffic: [gates.routes] har = [\"…\"]")
}

impl Probing<'_> {
    fn planned<'i>(&self, operation: &'i Operation, why: Why, own: &harvest::Paths, config: &Config) -> Tried<'i> {
        let path = match operation.is_safe() {
            true => {
                let filled = harvest::concrete(&operation.template, own).filter(|path| path.contains('/'));
                match (&filled, operation.template.contains('{')) {
                    (Some(path), true) => {
                        let bare = Operation { template: path.clone(), seen: Vec::new(), ..operation.clone() };
                        values::path(&bare, |_| None)
                    }
                    _ => values::path(operation, |_| None),
                }
            }
            // Nothing that exists is touched.
            false => {
                values::path(operation, |param| (param.place == Place::Path).then(|| format!("{}-0", self.canary)))
            }
        };
        let left_out = match operation.method.as_str() {
            "DELETE" if !config.delete => Some("DELETE is not sent; allow it with delete = true"),
            "DELETE" if !operation.template.contains('{') => Some("DELETE of what exists is never sent"),
            "HEAD" | "OPTIONS" | "TRACE" | "CONNECT" => Some("the method is not asked"),
            _ if !operation.is_safe() && safety::is_denied(&path) => Some("the path may pay, send or delete"),
            _ => None,
        };
        Tried { operation, why, path, door: None, rows: Vec::new(), left_out }
    }

    fn request(&self, operation: &Operation, path: &str, headers: &Headers) -> Request {
        let mut request = Request::get(harvest::address(self.base, path));
        request.method = operation.verb().to_string();
        request.headers = headers.clone();
        request.truncate = true;
        request.body_bytes_limit = 256 * 1024;
        if !operation.is_safe() {
            // Well-formed, so that it passes a parser that stands before the door; and nothing that a schema asks for.
            request.headers.push(("content-type".into(), "application/json".into()));
            request.body = format!("{{\"hc\":\"{}\"}}", self.canary).into();
        }
        request
    }

    /// `None` when the gate's time is over or somebody said stop.
    async fn send(&self, request: Request) -> Option<Result<Response, NetError>> {
        if Instant::now() >= self.until {
            return None;
        }
        Some(self.prober.send(request).await)
    }

    /// Each operation without credentials, then as the actors in turn until one is let in.
    async fn doors(&self, scan: &mut Scan<'_>, signed: &[(String, Headers)]) {
        let work = scan.tried.iter().filter(|t| t.left_out.is_none()).map(|tried| {
            async move {
                let nobody = self.send(self.request(tried.operation, &tried.path, &Headers::new())).await;
                let mut door = None;
                for (name, headers) in signed {
                    let answer = self.send(self.request(tried.operation, &tried.path, headers)).await;
                    let Some(Ok(answer)) = answer else { continue };
                    if self.lets_in(tried.operation, &answer, nobody.as_ref()) {
                        door = Some((name.clone(), headers.clone(), answer));
                        break;
                    }
                }
                (nobody, door)
            }
            .boxed()
        });
        let work: Vec<_> = work.collect();
        let mut asked: Vec<_> = futures_util::stream::iter(work).buffered(CONCURRENCY).collect().await;
        asked.reverse();
        for tried in scan.tried.iter_mut().filter(|t| t.left_out.is_none()) {
            let Some((nobody, door)) = asked.pop() else { break };
            tried.door = door;
            let row = match nobody {
                None => {
                    scan.late = true;
                    tried.left_out = Some("no time was left");
                    continue;
                }
                Some(answer) => {
                    let open = tried.door.as_ref().map(|(_, _, answer)| answer);
                    self.row("anonymous", "no credentials", answer, open, !tried.operation.is_safe(), &mut scan.stopped)
                }
            };
            tried.rows.push(row);
        }
    }

    /// Has this answer got past the door? A route that changes something is asked for what does not exist, so that "no
    /// such thing" and "not like this" are answers from behind it.
    fn lets_in(&self, operation: &Operation, answer: &Response, nobody: Option<&Result<Response, NetError>>) -> bool {
        if operation.is_safe() {
            return answer.status < 300 && !self.not_found.is_like(answer);
        }
        let other = !nobody.is_some_and(|nobody| nobody.as_ref().is_ok_and(|nobody| nobody.status == answer.status));
        match answer.status {
            401 | 403 | 429 | 500.. => false,
            300..=399 => !answer.header("location").is_some_and(attempts::is_login),
            _ => other || answer.status < 300,
        }
    }

    fn row(
        &self,
        rule: &'static str,
        what: &str,
        answer: Result<Response, NetError>,
        door: Option<&Response>,
        changes: bool,
        stopped: &mut Option<NetError>,
    ) -> Row {
        let what = what.to_string();
        match answer {
            Ok(answer) => Row {
                rule,
                what,
                status: Some(answer.status),
                seen: attempts::seen(&answer, door, changes, &self.not_found),
                cached: is_cached(&answer),
                mute: answer.status == 401 && answer.header("www-authenticate").is_none(),
            },
            Err(error) => {
                let why = if matches!(error, NetError::Refused(_)) { "refused for safety" } else { "no answer" };
                if matches!(error, NetError::Stopped(_)) {
                    stopped.get_or_insert(error);
                }
                Row { rule, what, status: None, seen: Seen::Unproven(why), cached: false, mute: false }
            }
        }
    }

    /// GETs that nobody calls sensitive and nobody calls public, and that show data to anybody.
    async fn undeclared<'i>(&self, scan: &mut Scan<'i>, others: &[&'i Operation]) {
        for operation in others.iter().filter(|o| !o.template.contains('{') || !o.seen.is_empty()) {
            let path = values::path(operation, |_| None);
            let Some(Ok(answer)) = self.send(self.request(operation, &path, &Headers::new())).await else { continue };
            let data = answer.status < 300 && web::is_json(&answer) && answer.body.len() > 2;
            if data && !self.not_found.is_like(&answer) {
                scan.undeclared.push(operation);
            }
        }
    }

    /// Public keys that the service publishes or the repository holds.
    async fn keys(&self, ctx: &GateContext, config: &Config) -> Vec<String> {
        let mut out = Vec::new();
        if let (Some(path), Some(repo)) = (&config.public_key, &ctx.repo)
            && let Ok(text) = repo.read_text(path, 64 * 1024)
        {
            out.push(text.trim_end().to_string());
            out.push(text);
        }
        for path in KEY_SETS {
            let answer = self.send(Request::get(harvest::address(self.base, path))).await;
            let Some(Ok(answer)) = answer else { continue };
            if answer.status == 200
                && let Ok(set) = serde_json::from_slice::<Json>(&answer.body)
                && set["keys"].is_array()
            {
                out.extend(token::public_keys(&set));
                break;
            }
        }
        out.dedup();
        out
    }

    /// Everything else on the routes whose door opens.
    async fn forge(&self, ctx: &GateContext, scan: &mut Scan<'_>, keys: &[String]) {
        let words = token::weak_words(&ctx.service);
        let many = scan.tried.len() > THOROUGH_MAX;
        let mut in_query = 0;
        for nth in 0..scan.tried.len() {
            let tried = &scan.tried[nth];
            let Some((_, headers, door)) = tried.door.clone() else { continue };
            // Who walks in at the front needs no ladder.
            if tried.rows.iter().any(|row| row.seen == Seen::Open) || !tried.operation.is_safe() {
                continue;
            }
            let jwt = attempts::jwt(&headers);
            if let (Some((_, jwt)), None) = (&jwt, &scan.weak_secret) {
                scan.weak_secret = jwt.weak_secret(words.iter().map(String::as_str)).map(|word| word.chars().count());
            }
            let path = tried.path.clone();
            // A cache that an actor has filled may know better now.
            if let Some(again) = self.send(self.request(tried.operation, &path, &Headers::new())).await {
                let row = self.row(
                    "anonymous",
                    "no credentials, after an actor",
                    again,
                    Some(&door),
                    false,
                    &mut scan.stopped,
                );
                if row.seen == Seen::Open {
                    scan.tried[nth].rows.push(row);
                    continue;
                }
            }
            let mut plan = vec![attempt("spoilt-credential", "spoilt credentials", &path, attempts::garbage(&headers))];
            if let Some((token, jwt)) = &jwt {
                for forged in jwt.forged(keys).into_iter().take(if many { 2 } else { usize::MAX }) {
                    plan.push(attempt(
                        forged.rule,
                        &forged.what,
                        &path,
                        attempts::with(&headers, token, &forged.token),
                    ));
                }
            }
            let bare = path.split('?').next().unwrap_or(&path);
            plan.extend(attempts::tricks(bare).into_iter().take(if many { 2 } else { usize::MAX }));
            let bearer =
                headers.iter().find(|(name, _)| name == "authorization").and_then(|(_, v)| v.strip_prefix("Bearer "));
            if let Some(token) = bearer.filter(|_| in_query < IN_QUERY_MAX) {
                in_query += 1;
                for name in ["access_token", "token", "api_key"] {
                    let mut url = harvest::address(self.base, &path);
                    url.query_pairs_mut().append_pair(name, token);
                    let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
                    plan.push(attempt("credential-in-query", &format!("the token as ?{name}="), &path, Headers::new()));
                }
            }
            let work: Vec<_> = plan.iter().map(|attempt| self.attempt(attempt).boxed()).collect();
            let answers: Vec<_> = futures_util::stream::iter(work).buffered(CONCURRENCY).collect().await;
            for (attempt, answer) in plan.iter().zip(answers) {
                let Some(answer) = answer else {
                    scan.late = true;
                    continue;
                };
                // A HEAD has no body to compare, and only its status speaks.
                let head = attempt.method == "HEAD";
                let row = self.row(attempt.rule, &attempt.what, answer, Some(&door), head, &mut scan.stopped);
                scan.tried[nth].rows.push(row);
            }
            if scan.stopped.is_some() {
                return;
            }
        }
    }

    async fn attempt(&self, attempt: &Attempt) -> Option<Result<Response, NetError>> {
        if attempt.method == "POST" && safety::is_denied(&attempt.path) {
            return Some(Err(NetError::Refused("the path may pay, send or delete".into())));
        }
        let mut request = Request::get(harvest::address(self.base, &attempt.path));
        request.method = attempt.method.clone();
        request.headers = attempt.headers.clone();
        request.truncate = true;
        request.body_bytes_limit = 256 * 1024;
        self.send(request).await
    }
}

fn attempt(rule: &'static str, what: &str, path: &str, headers: Headers) -> Attempt {
    Attempt { rule, what: what.to_string(), method: "GET".into(), path: path.to_string(), headers }
}

/// Did a cache on the way answer (RFC 9111, 5.1; RFC 9211)?
fn is_cached(answer: &Response) -> bool {
    let aged = answer.header("age").and_then(|age| age.trim().parse::<u64>().ok()).is_some_and(|age| age > 0);
    let hit = |name| answer.header(name).is_some_and(|value| value.to_ascii_lowercase().contains("hit"));
    aged || hit("x-cache") || hit("cache-status") || hit("cf-cache-status") || hit("x-cache-status")
}
