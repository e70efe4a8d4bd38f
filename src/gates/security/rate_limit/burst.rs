//! One route asked often: the burst itself, forged client addresses once it is limited, and the way back.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::Config;
use super::announced::Announced;
use crate::domain::clock::SharedClock;
use crate::gates::inventory::{Inventory, Operation, Place, values};
use crate::net::safety::{Prober, Target};
use crate::net::{NetError, Request, Response};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Public,
    Search,
    GraphQl,
    Login,
}

#[derive(Debug, Clone, Serialize)]
pub struct Route {
    pub kind: Kind,
    pub method: &'static str,
    /// With its query.
    pub path: String,
    #[serde(skip)]
    pub body: Option<(&'static str, String)>,
}

impl Route {
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Shot {
    pub status: u16,
    pub announced: Announced,
    /// Until its answer.
    pub took_ms: u64,
}

/// What one route did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Burst {
    pub shots: Vec<Shot>,
    /// The first that was turned away, from 1.
    pub limited_at: Option<usize>,
    /// A quota larger than the burst, counted down one by one.
    pub counted: bool,
    /// Headers under which the limit was gone.
    pub bypassed: Vec<&'static str>,
    /// How often the rest of the quota rose within one window.
    pub jumps: usize,
    /// Nobody was refused, but answers came later and later: a queue that drains at its own pace.
    pub held_back: bool,
    pub back: Back,
    pub took_ms: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Back {
    /// Nothing to come back from.
    #[default]
    NotAsked,
    After {
        seconds: u64,
    },
    /// The announced wait is longer than `max_wait`.
    Later {
        seconds: u64,
    },
    Never,
}

/// Client addresses as proxies write them; each of a network made for examples (RFC 5737).
const FORGED: [(&str, &str); 6] = [
    ("x-forwarded-for", "203.0.113.7"),
    ("x-real-ip", "203.0.113.8"),
    ("forwarded", "for=203.0.113.9"),
    ("cf-connecting-ip", "203.0.113.10"),
    ("true-client-ip", "203.0.113.11"),
    ("x-client-ip", "203.0.113.12"),
];
/// A counter that falls so often by one is a counter.
const COUNTED_MIN: usize = 5;
/// Answers that take so long, and so many times longer than one after a rest, wait for their turn.
const HELD_MS_MIN: u64 = 50;
const HELD_FACTOR: u64 = 5;
const REST: Duration = Duration::from_secs(2);
/// Between two looks whether the limit is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const LOGINS: [&str; 6] = ["login", "signin", "sign-in", "sign_in", "sessions", "authenticate"];

pub struct Burster<'a> {
    pub prober: &'a Prober,
    pub target: &'a Target,
    pub config: &'a Config,
    pub clock: SharedClock,
}

impl Burster<'_> {
    /// At most five routes.
    pub async fn choose(&self, inventory: &Inventory, run: &str) -> Result<Vec<Route>, NetError> {
        let get = |kind, path: String| Route { kind, method: "GET", path, body: None };
        let mut out: Vec<Route> = self.config.routes.iter().map(|path| get(Kind::Public, path.clone())).collect();
        if out.is_empty() {
            let open = |op: &&Operation| {
                op.method == "GET" && op.guarded != Some(true) && op.at(Place::Path).next().is_none() && op.certain
            };
            let is_search = |op: &Operation| op.template.to_ascii_lowercase().contains("search");
            let all: Vec<&Operation> = inventory.operations.iter().filter(open).collect();
            // The front page is often a file; what computes needs the limit more.
            let (front, deeper): (Vec<&Operation>, Vec<_>) = all.iter().partition(|op| op.template == "/");
            for op in deeper.iter().chain(&front).filter(|op| !is_search(op)).take(super::ROUTES_MAX) {
                let route = get(Kind::Public, values::path(op, |_| None));
                // One that strangers may not see is not public.
                if self.fire(&route, None).await?.status < 400 {
                    out.push(route);
                    break;
                }
            }
            out.extend(all.iter().find(|op| is_search(op)).map(|op| get(Kind::Search, values::path(op, |_| None))));
            if let Some(graphql) = &inventory.graphql {
                let body = Some(("application/json", "{\"query\":\"{__typename}\"}".to_string()));
                out.push(Route { kind: Kind::GraphQl, method: "POST", path: graphql.path.clone(), body });
            }
            if out.is_empty() {
                out.push(get(Kind::Public, "/".into()));
            }
        }
        let last =
            |op: &&Operation| op.template.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_ascii_lowercase();
        let posts = || inventory.operations.iter().filter(|op| matches!(op.method.as_str(), "POST" | "ANY"));
        let found = || LOGINS.iter().find_map(|word| posts().find(|op| last(op) == *word));
        if let Some(path) = self.config.login.clone().or_else(|| found().map(|op| op.template.clone())) {
            let nobody = format!("hc-nobody-{run}");
            let fields =
                [(self.config.username_field.as_str(), nobody.as_str()), (&self.config.password_field, "wrong")];
            let body = Some(self.config.format.body(fields));
            out.push(Route { kind: Kind::Login, method: "POST", path, body });
        }
        Ok(out)
    }

    async fn fire(&self, route: &Route, forged: Option<(&str, &str)>) -> Result<Shot, NetError> {
        let mut url = self.target.url.clone();
        let (path, query) = route.path.split_once('?').map_or((route.path.as_str(), None), |(p, q)| (p, Some(q)));
        url.set_path(&format!("{}{path}", self.target.url.path().trim_end_matches('/')));
        url.set_query(query);
        let request = match &route.body {
            Some((kind, body)) => Request::post(url, kind, body.clone()),
            None => Request::get(url),
        };
        let request = Request { truncate: true, ..request };
        let request = match forged {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let answer: Response = self.prober.send(request).await?;
        let announced = Announced::read(|name| answer.header(name), self.clock.now());
        Ok(Shot { status: answer.status, announced, took_ms: answer.duration.as_millis() as u64 })
    }

    pub async fn burst(&self, route: &Route) -> Result<Burst, NetError> {
        let mut out = Burst::default();
        let most = if route.kind == Kind::Login { self.config.login_attempts } else { self.config.burst };
        // Our own load may still be counted.
        let first = self.fire(route, None).await?;
        if first.status == 429 {
            let wait = first.announced.wait().unwrap_or(LOOK_EVERY * 5).min(self.config.max_wait.get());
            tokio::time::sleep(wait).await;
        }
        let begun = Instant::now();
        for nth in 1..=most as usize {
            let shot = self.fire(route, None).await?;
            let limited = is_limited(&shot, out.shots.first());
            out.shots.push(shot);
            if limited {
                out.limited_at = Some(nth);
                break;
            }
        }
        out.took_ms = begun.elapsed().as_millis() as u64;
        out.jumps = jumps(&out.shots);
        out.counted = out.limited_at.is_none() && is_counted(&out.shots, most);
        out.held_back = out.limited_at.is_none() && self.is_held_back(route, &out.shots).await?;
        if out.limited_at.is_some() || out.counted {
            for (name, value) in FORGED {
                if self.is_through(route, &out, (name, value)).await? {
                    out.bypassed.push(name);
                }
            }
        }
        if out.limited_at.is_some() {
            out.back = self.back(route, &out).await?;
        }
        Ok(out)
    }

    /// One at a time, they waited; after a rest, one does not: it was a queue, not the work.
    async fn is_held_back(&self, route: &Route, shots: &[Shot]) -> Result<bool, NetError> {
        let mut took: Vec<u64> = shots.iter().map(|s| s.took_ms).collect();
        took.sort_unstable();
        let usual = took.get(took.len() / 2).copied().unwrap_or_default();
        if usual < HELD_MS_MIN {
            return Ok(false);
        }
        tokio::time::sleep(REST).await;
        Ok(usual >= HELD_FACTOR * self.fire(route, None).await?.took_ms.max(1))
    }

    /// Does a header take the limit away, and is the limit still there without it?
    async fn is_through(&self, route: &Route, burst: &Burst, forged: (&str, &str)) -> Result<bool, NetError> {
        let other = self.fire(route, Some(forged)).await?;
        let own = self.fire(route, None).await?;
        Ok(match burst.limited_at {
            Some(_) => !is_limited(&other, burst.shots.first()) && is_limited(&own, burst.shots.first()),
            // A counter of its own starts from the top.
            None => match (other.announced.remaining, own.announced.remaining) {
                (Some(other), Some(own)) => other > own + 2,
                _ => false,
            },
        })
    }

    async fn back(&self, route: &Route, burst: &Burst) -> Result<Back, NetError> {
        let told = burst.shots.last().and_then(|shot| shot.announced.wait());
        let patience = self.config.max_wait.get();
        if let Some(told) = told.filter(|told| *told > patience) {
            return Ok(Back::Later { seconds: told.as_secs() });
        }
        let begun = Instant::now();
        // Asking meanwhile may prolong a limit.
        tokio::time::sleep(told.unwrap_or(LOOK_EVERY)).await;
        loop {
            if !is_limited(&self.fire(route, None).await?, burst.shots.first()) {
                return Ok(Back::After { seconds: begun.elapsed().as_secs() });
            }
            if begun.elapsed() + LOOK_EVERY > patience {
                return Ok(Back::Never);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Where nothing was limited: is this machine alone let off? A client behind it would be limited then.
    pub async fn is_exempt(&self, seen: &[(Route, Burst)]) -> Result<bool, NetError> {
        let unlimited = |(_, burst): &&(Route, Burst)| burst.limited_at.is_none() && !burst.counted;
        let Some((route, burst)) = seen.iter().find(unlimited) else { return Ok(false) };
        for _ in 0..burst.shots.len() + 1 {
            let shot = self.fire(route, Some(FORGED[0])).await?;
            if is_limited(&shot, burst.shots.first()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// 429; or 503 that tells when to come back, or that came only after other answers, as nginx' `limit_req` gives it; or 403
/// and 423 after other answers, as firewalls and locks of accounts give them.
pub fn is_limited(shot: &Shot, first: Option<&Shot>) -> bool {
    match shot.status {
        429 => true,
        503 => shot.announced.retry_s.is_some() || first.is_some_and(|first| first.status < 500),
        403 | 423 => first.is_some_and(|first| !matches!(first.status, 403 | 423 | 500..)),
        _ => false,
    }
}

/// Rises of the rest within one window. A bucket that refills rises by one; another instance's counter by more.
fn jumps(shots: &[Shot]) -> usize {
    let rests: Vec<u64> = shots.iter().filter_map(|s| s.announced.remaining).collect();
    rests.windows(2).filter(|w| w[1] > w[0] + 1).count()
}

fn is_counted(shots: &[Shot], burst: u32) -> bool {
    let quota = shots.iter().find_map(|s| s.announced.quota.or(s.announced.remaining));
    let falls = shots.windows(2).filter(|w| match (w[0].announced.remaining, w[1].announced.remaining) {
        (Some(before), Some(after)) => before == after + 1,
        _ => false,
    });
    quota.is_some_and(|quota| quota > u64::from(burst)) && falls.count() >= COUNTED_MIN
}
