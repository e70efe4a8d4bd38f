//! Asks static files and routes, each twice, and lays what actors get beside what nobody gets. Bodies are compared, not kept.

use std::collections::BTreeSet;

use serde::Serialize;
use url::Url;

use super::{Config, directives};
use crate::domain::evidence::sha256_hex;
use crate::gates::actors::Headers;
use crate::gates::inventory::{Inventory, Operation, Place, values};
use crate::gates::web;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, Response};

/// Static files of the front page that are looked at.
const ASSETS_MAX: usize = 12;
/// Read of one answer; enough to tell two apart.
const BODY_BYTES_MAX: usize = 256 * 1024;
const LEAVES: [&str; 6] = ["logout", "signout", "sign-out", "log-out", "unsubscribe", "delete"];

/// A static file.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Asset {
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) hashed: bool,
    pub(super) cache_control: Option<String>,
    pub(super) lifetime_s: u64,
    pub(super) immutable: bool,
    /// ETag or Last-Modified.
    pub(super) validator: bool,
    /// A conditional request got 304.
    pub(super) revalidates: bool,
    pub(super) hit: Option<&'static str>,
    pub(super) cookie: bool,
}

/// A route, as the first actor (or nobody, without actors) and as others.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Route {
    pub(super) name: String,
    pub(super) status: u16,
    pub(super) cache_control: Option<String>,
    /// By what a shared cache may keep the answer.
    pub(super) shared: Option<String>,
    pub(super) hit: Option<&'static str>,
    pub(super) cookie: bool,
    /// Others get another answer, past every cache.
    pub(super) private: bool,
    /// Who got the first actor's answer although he would have got another one.
    pub(super) leaked_to: Option<&'static str>,
    pub(super) place: Option<(String, u32)>,
}

#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) assets: Vec<Asset>,
    pub(super) routes: Vec<Route>,
    /// Known, but not answered well.
    pub(super) unread: Vec<String>,
}

pub(super) struct Asker<'a> {
    pub(super) prober: &'a Prober,
    pub(super) base: &'a Url,
    pub(super) actors: &'a [Headers],
    pub(super) config: &'a Config,
    pub(super) canary: &'a str,
}

/// What two answers are compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print {
    status: u16,
    body: String,
}

fn print(response: &Response) -> Print {
    Print { status: response.status, body: sha256_hex(&response.body) }
}

impl Asker<'_> {
    async fn get(&self, url: &Url, headers: &[(String, String)]) -> Result<Response, NetError> {
        let mut request = Request { truncate: true, body_bytes_limit: BODY_BYTES_MAX, ..Request::get(url.clone()) };
        request.headers = headers.to_vec();
        self.prober.send(request.header("accept", "text/html,application/json;q=0.9,*/*;q=0.8")).await
    }

    pub(super) async fn all(&self, inventory: &Inventory) -> Result<Look, NetError> {
        let mut out = Look::default();
        let front = self.get(self.base, &[]).await?;
        for url in self.assets(&front) {
            match self.asset(&url).await {
                Ok(asset) if asset.status == 200 => out.assets.push(asset),
                Ok(asset) => out.unread.push(format!("GET {} ({})", asset.path, asset.status)),
                Err(error @ (NetError::Refused(_) | NetError::Stopped(_))) => return Err(error),
                Err(error) => out.unread.push(format!("GET {}: {error}", url.path())),
            }
        }
        let mut routes = vec![(format!("GET {}", self.base.path()), self.base.clone(), None)];
        let prefix = self.base.path().trim_end_matches('/');
        for path in &self.config.paths {
            routes
                .extend(self.base.join(&format!("{prefix}{path}")).ok().map(|url| (format!("GET {path}"), url, None)));
        }
        let asked = |o: &&Operation| {
            let path = o.template.to_ascii_lowercase();
            matches!(o.method.as_str(), "GET" | "ANY")
                && (o.certain || !o.seen.is_empty())
                && (o.at(Place::Path).count() == 0 || !o.seen.is_empty())
                && !path.contains('*')
                && !LEAVES.iter().any(|w| path.contains(w))
        };
        for operation in inventory.operations.iter().filter(asked) {
            let path = values::path(operation, |_| None);
            let url = self.base.join(&format!("{prefix}{path}"));
            routes.extend(url.ok().map(|url| (format!("GET {}", operation.template), url, operation.place.clone())));
        }
        let mut known = BTreeSet::new();
        routes.retain(|(_, url, _)| known.insert(url.to_string()));
        routes.truncate(self.config.max_routes);
        for (name, url, place) in routes {
            match self.route(&url).await {
                Ok(route) if route.status == 200 => out.routes.push(Route { name, place, ..route }),
                Ok(route) => out.unread.push(format!("{name} ({})", route.status)),
                Err(error @ (NetError::Refused(_) | NetError::Stopped(_))) => return Err(error),
                Err(error) => out.unread.push(format!("{name}: {error}")),
            }
        }
        Ok(out)
    }

    /// Scripts, style sheets and pictures that the front page names and this host serves.
    fn assets(&self, front: &Response) -> Vec<Url> {
        if !web::is_html(front) {
            return Vec::new();
        }
        let text = front.text();
        let mut out: Vec<Url> = Vec::new();
        for (tag, attribute) in [("script", "src"), ("link", "href"), ("img", "src")] {
            for tag in web::tags(&text, tag) {
                let rel = tag.get("rel").map(|r| r.to_ascii_lowercase()).unwrap_or_default();
                let fetched = rel.is_empty()
                    || ["stylesheet", "icon", "preload", "modulepreload"].iter().any(|r| rel.contains(r));
                let url = tag.get(attribute).and_then(|to| self.base.join(to).ok());
                if let Some(url) = url.filter(|url| fetched && url.origin() == self.base.origin() && !out.contains(url))
                {
                    out.push(url);
                }
            }
        }
        out.truncate(ASSETS_MAX);
        out
    }

    async fn asset(&self, url: &Url) -> Result<Asset, NetError> {
        self.get(url, &[]).await?;
        let answer = self.get(url, &[]).await?;
        let own = directives::of(&answer);
        let mut asset = Asset {
            path: url.path().chars().take(200).collect(),
            status: answer.status,
            hashed: directives::is_hashed(url.path()),
            cache_control: shown(&answer),
            lifetime_s: if own.no_store || own.no_cache { 0 } else { own.max_age.unwrap_or(0) },
            immutable: own.immutable,
            hit: directives::hit(&answer),
            cookie: answer.header("set-cookie").is_some(),
            ..Asset::default()
        };
        let condition = match (answer.header("etag"), answer.header("last-modified")) {
            (Some(tag), _) => Some(("if-none-match".to_string(), tag.to_string())),
            (None, Some(date)) => Some(("if-modified-since".to_string(), date.to_string())),
            (None, None) => None,
        };
        if let Some(condition) = condition {
            asset.validator = true;
            asset.revalidates = self.get(url, &[condition]).await?.status == 304;
        }
        Ok(asset)
    }

    /// A route, asked twice as the first actor; then as others, from the cache and past it.
    async fn route(&self, url: &Url) -> Result<Route, NetError> {
        let nobody = Headers::new();
        let first = self.actors.first().unwrap_or(&nobody);
        let authorized = first.iter().any(|(n, _)| n.eq_ignore_ascii_case("authorization"));
        let warm = self.get(url, first).await?;
        let answer = self.get(url, first).await?;
        let mut route = Route {
            status: answer.status,
            cache_control: shown(&answer),
            shared: directives::shared(&answer, authorized).or_else(|| directives::shared(&warm, authorized)),
            hit: directives::hit(&answer),
            // A shared cache would give the cookie to everybody.
            cookie: warm.header("set-cookie").is_some() || answer.header("set-cookie").is_some(),
            ..Route::default()
        };
        if self.actors.is_empty() || answer.status != 200 {
            return Ok(route);
        }
        let own = print(&answer);
        let others = [("nobody", Some(&nobody)), ("another user", self.actors.get(1))];
        for (who, headers) in others.into_iter().filter_map(|(who, headers)| Some((who, headers?))) {
            let plain = print(&self.get(url, headers).await?);
            let past = print(&self.get(&self.busted(url, 1), headers).await?);
            if past == own {
                // The same for everybody.
                continue;
            }
            // A body that differs each time says nothing of whose it is.
            let again = print(&self.get(&self.busted(url, 2), headers).await?);
            if again != past {
                continue;
            }
            // And the actor's own, past the cache, must be his own still.
            let mine = print(&self.get(&self.busted(url, 3), first).await?);
            if mine.status != own.status || mine == past {
                continue;
            }
            route.private = true;
            if plain == own {
                route.leaked_to = route.leaked_to.or(Some(who));
            }
        }
        Ok(route)
    }

    fn busted(&self, url: &Url, nth: u32) -> Url {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("hc", &format!("{}-{nth}", self.canary));
        url
    }
}

fn shown(response: &Response) -> Option<String> {
    let all: Vec<&str> = response.header_all("cache-control").collect();
    (!all.is_empty()).then(|| all.join(", ").chars().filter(|c| !c.is_control()).take(200).collect())
}
