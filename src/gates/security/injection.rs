//! Gate `security.injection`: no parameter reaches an interpreter as code.
//!
//! Why at launch: the first scanner comes within minutes, and these are what it looks for: reflection in a page (XSS), SQL,
//! path traversal, header splitting, templates, redirects to elsewhere. Touches staging with GETs whose values read and
//! change nothing: no OR, no UNION, no second statement, no file is written. Each parameter of each readable route gets a
//! short list of values (`injection/values.rs`); what counts is the difference between two answers, seen again
//! (`injection/probe.rs`), never a status alone. Bodies are sent only to routes that [`Config::bodies`] names.
//! Sources: WSTG-INPV-01, -05, -15, -18, ATHZ-01, CLNT-04; ASVS 5 1.2.1 to 1.2.5, 5.3.2; CWE-22, -79, -89, -93, -601, -1336.

mod judge;
mod probe;
mod signs;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::probe::{Asking, Point, Probed};
use crate::domain::problem::Problem;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::actors::Headers;
use crate::gates::inventory::{Inventory, Operation, Place, covers, harvest};
use crate::gates::proof::{Fixture, Page, Proof};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage, web};
use crate::net::NetError;
use crate::net::safety::Intent;

/// `[gates.security.injection]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Requests per parameter at most.
    pub max_per_param: usize,
    /// Routes to which a body may be sent: paths, a `*` at the end covers what is below.
    pub bodies: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config { max_per_param: 18, bodies: Vec::new() }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.max_per_param < 4 {
            problems.push(Problem::at(["max_per_param"], "fewer than 4 requests tell nothing about a parameter"));
        }
        for path in self.bodies.iter().filter(|path| !path.starts_with('/')) {
            problems.push(Problem::at(["bodies"], format!("`{path}` is not a path of this site: it begins with /")));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

static ABOUT: About = About {
    id: "security.injection",
    section: Section::Security,
    class: Class::A,
    line: "checked for XSS, SQLi, path traversal",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &["security.authz"],
    timeout: Duration::from_secs(300),
    skipped_for: &[],
    reads: "every parameter of every readable route, with values that a careless program would take for code: markup, quotes, \
            arithmetic, paths, line breaks, template expressions, foreign addresses",
    decides: "a value that changes an answer the way only an interpreter would, twice, fails; one sign alone warns; nine of ten \
              parameters must have been probed",
    fix: "bind parameters, encode for the place where the value stands, resolve paths and check that they stay below their root",
};

/// Parameters under work at once; the guard's own limit may be lower.
const CONCURRENCY: usize = 4;
/// The rest of the gate's time is for the last answers.
const ROUNDS_MAX: Duration = Duration::from_secs(270);
/// Answers of a wall that stands before the service.
const WALL: [u16; 5] = [403, 406, 419, 429, 501];

pub struct Injection;

impl Gate for Injection {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn proof(&self) -> Option<Proof> {
        let document = "{\"openapi\": \"3.0.3\", \"paths\": {\"/go\": {\"get\": {\"parameters\": [{\"name\": \"next\", \"in\": \"query\", \
            \"schema\": {\"type\": \"string\"}}]}}}}";
        let shop = |what| {
            Fixture::of(what).file("openapi.json", document).page(Page::new("/", "text/html", "<title>Shop</title>"))
        };
        let away = Page::new("/go", "text/html", "").status(302).headers(&[("location", "https://hc.invalid/")]);
        Some(Proof {
            good: shop("a redirect stays at home")
                .page(Page::new("/go", "text/html", "").status(302).headers(&[("location", "/")])),
            bad: shop("a redirect goes wherever the address says").page(away),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = check(ctx).await.unwrap_or_else(|outcome| *outcome);
            ctx.with_imports(&ABOUT, own)
        })
    }
}

/// Everything the verdict rests on.
#[derive(Default)]
struct Scan {
    probed: Vec<Probed>,
    /// Parameters of routes that are not asked.
    left_out: Vec<String>,
    walled: bool,
    stopped: Option<NetError>,
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?;
    let config = &ctx.config.security.injection;
    let inventory = ctx.inventory().await;
    let wanted = |o: &&Operation| o.certain && (o.verb() == "GET" || covers(&config.bodies, &o.template));
    let headers = match ctx.actors().first() {
        Some(actor) => ctx.signed_in(actor).await.map_err(|why| {
            Box::new(
                Outcome::error("no-credentials", why).hint("give the actors of [gates] actor credentials that work"),
            )
        })?,
        None => Headers::new(),
    };
    let prober = ctx.prober(ABOUT.id, Intent::Active);
    let own = harvest::own(&prober, &target.url, &inventory, &headers, &[]).await;
    let mut scan = Scan::default();
    let mut points = Vec::new();
    for operation in inventory.operations.iter().filter(|o| o.certain) {
        let all = Point::all(operation, &own);
        match wanted(&operation) {
            true => points.extend(all),
            false => scan.left_out.extend(all.iter().map(Point::name)),
        }
    }
    if points.is_empty() {
        return Err(Box::new(nothing(&inventory, &scan)));
    }
    let asking = Asking {
        prober,
        base: target.url.clone(),
        headers,
        canary: web::canary(&ctx.guard.run).replace('-', ""),
        max: config.max_per_param,
        until: Instant::now() + ROUNDS_MAX,
    };
    scan.walled = is_walled(&asking).await;
    let total = points.len();
    let work: Vec<_> = points.into_iter().map(|point| asking.probe(point).boxed()).collect();
    let mut answers = futures_util::stream::iter(work).buffered(CONCURRENCY);
    while let Some(probed) = answers.next().await {
        if scan.probed.len().is_multiple_of(5) {
            (ctx.progress)(ABOUT.id, &format!("{} of {total} parameters", scan.probed.len()));
        }
        if let Some(error @ NetError::Stopped(_)) = &probed.error {
            scan.stopped.get_or_insert(error.clone());
        }
        scan.probed.push(probed);
    }
    Ok(judge::judge(scan))
}

fn nothing(inventory: &Inventory, scan: &Scan) -> Outcome {
    let operations = inventory.operations.len();
    if !inventory.is_told() {
        let told = format!("no parameter is known: only a crawl tells of routes, and of {operations} alone");
        return Outcome::error("nothing-to-inspect", told)
            .hint("give an OpenAPI document, or recorded traffic: [gates.routes] har = [\"…\"]");
    }
    match scan.left_out.len() {
        0 => Outcome::skip("no-parameters", format!("none of {operations} routes takes a parameter")),
        count => Outcome::error(
            "nothing-to-inspect",
            format!("{count} parameters are known, all of routes that change something"),
        )
        .hint("name routes that may be sent a body: [gates.security.injection] bodies = [\"/search\"]"),
    }
}

/// A value that every wall refuses, on a page that everybody gets.
async fn is_walled(asking: &Asking) -> bool {
    let plain = asking.get("/").await;
    let odd = asking.get("/?hc=%3Cscript%3Ealert(1)%3C/script%3E../../../../etc/passwd").await;
    match (plain, odd) {
        (Ok(plain), Ok(odd)) => plain.status != odd.status && WALL.contains(&odd.status),
        _ => false,
    }
}

/// The places in which values are put.
const PLACES: [Place; 3] = [Place::Query, Place::Path, Place::Header];
