//! Gate `security.authz`: who is let in sees what is his, and does what his role may.
//!
//! Why at launch: the commonest hole of an API is `GET /orders/902` asked by the owner of 901. Touches the target with GETs
//! alone, and with ids that the actors' own lists show. Function level: every readable route as every role, against the
//! matrix that people have agreed on ([`Config::matrix`], role by role: what it may and may not ask). Without one, what was
//! observed is written beside the run for them to read, correct and commit. Object level: what one actor's lists show is
//! asked as another who has no business with it.
//! Sources: ASVS 5 8.2.1 to 8.2.3, 8.3.2, 8.4.1; WSTG-ATHZ-02 to 04, APIT-02; API1, API3, API5:2023.

mod judge;
mod matrix;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _};
use regex::Regex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::matrix::Matrix;
use super::auth::sensitive::{self, Why};
use crate::domain::problem::Problem;
use crate::domain::service::Profile;
use crate::domain::verdict::{Class, Outcome, Tier, Verdict};
use crate::gates::actors::Headers;
use crate::gates::calibrate::{self, NotFound};
use crate::gates::inventory::{Operation, covers, harvest, values};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage, web};
use crate::net::safety::{Intent, Prober};
use crate::net::{NetError, Response};

/// `[gates.security.authz]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The agreed matrix, a file of the repository: a table per role with `allow` and `deny`, lists of `GET /path/{id}`.
    pub matrix: String,
    /// Routes whose objects every signed-in user may read: paths, a `*` at the end covers what is below.
    pub shared: Vec<String>,
    /// Roles that may see what belongs to others.
    pub privileged: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        let privileged = ["admin", "administrator", "root", "superuser", "owner", "staff", "support"];
        Config {
            matrix: ".hypercare/authz.toml".into(),
            shared: Vec::new(),
            privileged: privileged.map(String::from).to_vec(),
        }
    }
}

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        let wrong = |path: &&String| !path.starts_with('/') || *path == "/*";
        let problem =
            |path: &String| Problem::at(["shared"], format!("`{path}` is not a path of this site: it begins with /"));
        let problems: Vec<Problem> = self.shared.iter().filter(wrong).map(problem).collect();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
    fn is_privileged(&self, role: &str) -> bool {
        self.privileged.iter().any(|known| known.eq_ignore_ascii_case(role))
    }
}

static ABOUT: About = About {
    id: "security.authz",
    section: Section::Security,
    class: Class::A,
    line: "role & permission system tested",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Active,
    lock: Lock::TargetActive,
    needs: &["security.auth"],
    timeout: Duration::from_secs(300),
    skipped_for: &[Profile::StaticSite],
    reads: "the configured actors (two of one role, one of another), every route that can be read, the agreed matrix, and the ids \
            that each actor's own lists show",
    decides: "no role reaches what the matrix denies, and no actor reads what another's lists alone show",
    fix: "filter by owner in the query (WHERE owner_id = the signed-in user), check the role in the router, and commit the \
          agreed matrix",
};

/// Requests under way at once; the guard's own limit may be lower.
const CONCURRENCY: usize = 4;
/// The rest of the gate's time is for the last answers.
const ROUNDS_MAX: Duration = Duration::from_secs(270);
/// Objects of one route and one actor that others ask for.
const OBJECTS_MAX: usize = 2;

pub struct Authz;

impl Gate for Authz {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = check(ctx).await.unwrap_or_else(|outcome| *outcome);
            ctx.with_imports(&ABOUT, own)
        })
    }
}

/// Somebody who is signed in.
struct Person {
    name: String,
    role: String,
    id: Option<String>,
    headers: Headers,
    /// What his own lists show.
    own: harvest::Paths,
    /// Whose they say that it is.
    owners: harvest::Owners,
    /// Names that the service may know him by.
    known_as: Vec<String>,
}

/// What a role got on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Cell {
    Allowed,
    Denied,
    Unknown,
}

/// One object of one actor, asked by another.
struct Object {
    operation: String,
    place: Option<(String, u32)>,
    owner: String,
    other: String,
    status: u16,
    /// The other got what the owner gets.
    read: bool,
    /// A list that both see says whose it is; that is no secret, but what stands behind may be.
    listed: bool,
    /// The answer has fields that one keeps to oneself.
    telling: bool,
}

#[derive(Default)]
struct Scan {
    /// Route → role → what it got.
    cells: BTreeMap<String, BTreeMap<String, Cell>>,
    places: BTreeMap<String, (String, u32)>,
    objects: Vec<Object>,
    /// Routes of objects of which no list told an id.
    unproven: Vec<String>,
    /// Private by name, and two users' lists show the same.
    same_lists: Vec<String>,
    roles: Vec<String>,
    stopped: Option<NetError>,
    late: bool,
}

struct Asking<'c> {
    prober: Prober,
    base: &'c url::Url,
    not_found: NotFound,
    until: Instant,
}

async fn check(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let target = ctx.need_target()?;
    let config = &ctx.config.security.authz;
    if skipped(ctx) {
        return Err(Box::new(Outcome::skip("no-auth", "security.auth has found nothing that asks who is there")));
    }
    let matrix = match &ctx.repo {
        Some(repo) => Matrix::read(repo, &config.matrix)
            .map_err(|why| Box::new(Outcome::error("bad-config", format!("{}: {why}", config.matrix))))?,
        None => None,
    };
    enough(ctx)?;
    let inventory = ctx.inventory().await;
    let public = &ctx.config.routes.public;
    let wanted: Vec<&Operation> = inventory
        .operations
        .iter()
        .filter(|o| o.certain && o.verb() == "GET" && !sensitive::is_public(o, public))
        .collect();
    if wanted.is_empty() {
        return Err(Box::new(
            Outcome::error("nothing-to-inspect", "no route is known that somebody signed in could read")
                .hint("give an OpenAPI document, or recorded traffic: [gates.routes] har = [\"…\"]"),
        ));
    }
    let prober = ctx.prober(ABOUT.id, Intent::Active);
    let canary = web::canary(&ctx.guard.run);
    let not_found = calibrate::calibrate(&prober, &target.url, &canary).await.map_err(|u| Box::new(u.outcome()))?;
    let asking = Asking { prober, base: &target.url, not_found, until: Instant::now() + ROUNDS_MAX };

    (ctx.progress)(ABOUT.id, "reads each actor's own lists");
    let mut people = Vec::new();
    for actor in ctx.actors() {
        let headers = ctx.signed_in(actor).await.map_err(|why| Box::new(no_credentials(why)))?;
        let (own, owners) = harvest::owned(&asking.prober, asking.base, &inventory, &headers, public).await;
        let (name, role, id) = (actor.name.clone(), actor.role.clone(), actor.id.clone());
        let login = actor.login.as_ref().map(|login| login.username.clone());
        let basic = actor.basic.as_ref().map(|basic| basic.username.clone());
        let known_as = [Some(name.clone()), id.clone(), login, basic].into_iter().flatten().collect();
        people.push(Person { name, role, id, headers, own, owners, known_as });
    }
    let mut scan = Scan { roles: people.iter().map(|p| p.role.clone()).collect(), ..Scan::default() };
    scan.roles.sort();
    scan.roles.dedup();
    (ctx.progress)(ABOUT.id, "asks every route as every role");
    asking.functions(&wanted, &people, &mut scan).await;
    (ctx.progress)(ABOUT.id, "asks for each other's objects");
    asking.objects(&wanted, &people, config, &mut scan).await;
    let observed = matrix::observed(&scan.cells);
    let beside = ctx.guard.run_dir.join("authz.toml");
    let written = matrix.is_none() && std::fs::write(&beside, &observed).is_ok();
    let draft = written.then(|| beside.display().to_string());
    Ok(judge::judge(config, matrix.as_ref(), scan, draft.as_deref()))
}

fn skipped(ctx: &GateContext) -> bool {
    let earlier = ctx.earlier.lock().unwrap_or_else(|e| e.into_inner());
    earlier.get("security.auth").is_some_and(|r| r.verdict == Verdict::Skip)
}

fn no_credentials(why: impl Into<String>) -> Outcome {
    Outcome::error("no-credentials", why.into()).hint(
        "name three accounts made for the check: [gates] actor = [{ name = \"alice\", role = \"user\", … }, { name = \"bob\", role = \
         \"user\", … }, { name = \"root\", role = \"admin\", … }]",
    )
}

/// Two of one role and one of another.
fn enough(ctx: &GateContext) -> Result<(), Box<Outcome>> {
    let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
    ctx.actors().iter().for_each(|actor| *roles.entry(&actor.role).or_default() += 1);
    let twins = roles.values().any(|count| *count >= 2);
    match (twins, roles.len() >= 2) {
        (true, true) => Ok(()),
        (false, true) => {
            Err(Box::new(no_credentials("no two actors share a role: nobody can ask for another's objects")))
        }
        (true, false) => Err(Box::new(no_credentials("all actors have one role: nothing shows what another may"))),
        (false, false) => {
            Err(Box::new(no_credentials(format!("{} actors are configured, three are needed", ctx.actors().len()))))
        }
    }
}

impl Asking<'_> {
    async fn ask(&self, path: &str, headers: &Headers) -> Option<Result<Response, NetError>> {
        if Instant::now() >= self.until {
            return None;
        }
        Some(harvest::ask(&self.prober, self.base, "GET", path, headers).await)
    }

    fn is_shown(&self, answer: &Response) -> bool {
        answer.status < 300 && !self.not_found.is_like(answer)
    }

    /// Every route as one actor of every role.
    async fn functions(&self, wanted: &[&Operation], people: &[Person], scan: &mut Scan) {
        let mut plan = Vec::new();
        for operation in wanted {
            for role in &scan.roles {
                let Some(person) = people.iter().find(|p| p.role == *role) else { continue };
                // The objects that this role's own lists show; else anybody's, for a role may be refused all of them.
                let of_anybody = || people.iter().find_map(|p| harvest::concrete(&operation.template, &p.own));
                let path = harvest::concrete(&operation.template, &person.own).or_else(of_anybody);
                let path = values::path(&filled(operation, path), |_| None);
                plan.push((operation.name(), role.clone(), path, &person.headers));
            }
            if let Some(place) = &operation.place {
                scan.places.insert(operation.name(), place.clone());
            }
        }
        let work: Vec<_> = plan.iter().map(|(_, _, path, headers)| self.ask(path, headers).boxed()).collect();
        let answers: Vec<_> = futures_util::stream::iter(work).buffered(CONCURRENCY).collect().await;
        for ((name, role, _, _), answer) in plan.iter().zip(answers) {
            let cell = match answer {
                None => {
                    scan.late = true;
                    Cell::Unknown
                }
                Some(Err(error)) => {
                    if matches!(error, NetError::Stopped(_)) {
                        scan.stopped.get_or_insert(error);
                    }
                    Cell::Unknown
                }
                Some(Ok(answer)) if self.is_shown(&answer) => Cell::Allowed,
                Some(Ok(answer)) if matches!(answer.status, 401 | 403) => Cell::Denied,
                // Hidden from one role, shown to another.
                Some(Ok(answer)) if matches!(answer.status, 404) => Cell::Denied,
                Some(Ok(_)) => Cell::Unknown,
            };
            scan.cells.entry(name.clone()).or_default().insert(role.clone(), cell);
        }
        // A 404 for everybody says that the object is not there, and nothing about roles.
        for cells in scan.cells.values_mut() {
            if !cells.values().any(|cell| *cell == Cell::Allowed) {
                cells.values_mut().for_each(|cell| *cell = Cell::Unknown);
            }
        }
    }

    /// What one actor's lists alone show, asked as the others of low rank.
    async fn objects(&self, wanted: &[&Operation], people: &[Person], config: &Config, scan: &mut Scan) {
        let low: Vec<&Person> = people.iter().filter(|p| !config.is_privileged(&p.role)).collect();
        let lists = wanted.iter().filter(|o| o.template.contains('{') && !covers(&config.shared, &o.template));
        for operation in lists {
            let paths: Vec<Vec<String>> = low.iter().map(|p| paths_of(operation, p)).collect();
            if paths.iter().all(Vec::is_empty) {
                scan.unproven.push(operation.name());
                continue;
            }
            let private = sensitive::why(operation, &[]) == Some(Why::Word);
            if paths.len() > 1 && paths.windows(2).all(|pair| pair[0] == pair[1]) {
                let claimed = self.claimed(operation, &low, &paths[0], scan).await;
                // Otherwise it is a catalogue that one must sign in for.
                if private && !claimed {
                    scan.same_lists.push(operation.name());
                }
                continue;
            }
            let mut tried = false;
            for (owner, own) in low.iter().zip(&paths) {
                for path in own.iter().take(OBJECTS_MAX) {
                    let others =
                        low.iter().zip(&paths).filter(|(p, theirs)| p.name != owner.name && !theirs.contains(path));
                    for (other, _) in others {
                        let object = self.object(operation, path, (owner, other), false, scan).await;
                        let Some(object) = object else { continue };
                        tried = true;
                        scan.objects.push(object);
                    }
                }
            }
            if !tried {
                scan.unproven.push(operation.name());
            }
        }
    }

    /// Objects that a list shows to all, with whose they are: asked as those whose they are not.
    async fn claimed(&self, operation: &Operation, low: &[&Person], paths: &[String], scan: &mut Scan) -> bool {
        let mut any = false;
        for owner in low {
            let is_his = |path: &&String| {
                owner.owners.get(*path).is_some_and(|whose| whose.iter().any(|name| owner.known_as.contains(name)))
            };
            for path in paths.iter().filter(is_his).take(OBJECTS_MAX) {
                for other in low.iter().filter(|p| p.name != owner.name) {
                    let Some(object) = self.object(operation, path, (owner, other), true, scan).await else { continue };
                    any = true;
                    scan.objects.push(object);
                }
            }
        }
        any
    }

    async fn object(
        &self,
        operation: &Operation,
        path: &str,
        (owner, other): (&Person, &Person),
        listed: bool,
        scan: &mut Scan,
    ) -> Option<Object> {
        let path = values::path(&filled(operation, Some(path.to_string())), |_| None);
        let (own, foreign) = (self.ask(&path, &owner.headers).await, self.ask(&path, &other.headers).await);
        let (Some(own), Some(foreign)) = (own, foreign) else {
            scan.late = true;
            return None;
        };
        let (own, foreign) = match (own, foreign) {
            (Ok(own), Ok(foreign)) => (own, foreign),
            (Err(error), _) | (_, Err(error)) => {
                if matches!(error, NetError::Stopped(_)) {
                    scan.stopped.get_or_insert(error);
                }
                return None;
            }
        };
        if !self.is_shown(&own) {
            return None;
        }
        let read = self.is_shown(&foreign) && web::similarity(&own.text(), &foreign.text()) >= 0.8;
        Some(Object {
            operation: operation.name(),
            place: operation.place.clone(),
            owner: owner.name.clone(),
            other: other.name.clone(),
            status: foreign.status,
            read,
            listed,
            telling: is_telling(&own),
        })
    }
}

/// Does the answer have fields that one keeps to oneself?
fn is_telling(answer: &Response) -> bool {
    static FIELDS: LazyLock<Regex> = LazyLock::new(|| {
        let words = "secret|password|token|address|street|card|iban|phone|e?mail|balance|salary|ssn|birth|private|note";
        Regex::new(&format!("(?i)\"[a-z_]*(?:{words})[a-z_]*\"\\s*:")).expect("fixed")
    });
    web::is_json(answer) && FIELDS.is_match(&answer.text())
}

/// The operation at one concrete path.
fn filled(operation: &Operation, path: Option<String>) -> Operation {
    match path {
        Some(path) => Operation { template: path, seen: Vec::new(), ..operation.clone() },
        None => operation.clone(),
    }
}

/// Paths of this person's objects: by his lists, and by his own id where the path is about people.
fn paths_of(operation: &Operation, person: &Person) -> Vec<String> {
    if let Some(paths) = person.own.get(&operation.template) {
        return paths.clone();
    }
    let about_people =
        ["users", "user", "accounts", "account", "members", "customers", "profiles", "profile", "people"];
    let (Some(id), Some((above, rest))) = (&person.id, operation.template.split_once("/{")) else { return Vec::new() };
    let Some((_, rest)) = rest.split_once('}') else { return Vec::new() };
    let word = above.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    if !about_people.contains(&word.as_str()) || rest.contains('{') {
        return harvest::concrete(&operation.template, &person.own).into_iter().collect();
    }
    vec![format!("{above}/{id}{rest}")]
}
