//! Asks for one answer of each class: front page, login, API, 404, 400, static file, redirect, and plain http beside https.

use url::Url;

use super::Config;
use super::score::{Level, Mark};
use crate::gates::web;
use crate::net::address::is_loopback;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, Response};

/// Hops from the given address to the page: / → /en → /en/home.
const FRONT_HOPS_MAX: usize = 4;
/// A page's markup is read this far.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// Where APIs tend to live, when nobody says.
const API_GUESSES: [&str; 2] = ["/api", "/api/v1"];

/// What the answer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Page,
    Login,
    Api,
    NotFound,
    BadRequest,
    Asset,
    Redirect,
}

impl Role {
    pub(super) fn word(self) -> &'static str {
        match self {
            Role::Page => "page",
            Role::Login => "login",
            Role::Api => "API",
            Role::NotFound => "404",
            Role::BadRequest => "400",
            Role::Asset => "static file",
            Role::Redirect => "redirect",
        }
    }
}

pub(super) struct Seen {
    pub(super) role: Role,
    pub(super) url: Url,
    /// `GET /path`
    pub(super) route: String,
    pub(super) response: Response,
}

/// What http://HOST/ does beside https://HOST/.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpsRedirect {
    /// The target is plain http, or its https port is not the usual one.
    NotAsked,
    /// Nobody listens on port 80.
    Closed,
    ToHttps,
    /// To https, but by way of another host, so that HSTS of this host is not seen.
    ViaOtherHost,
    Missing,
}

impl HttpsRedirect {
    pub(super) fn word(self) -> &'static str {
        match self {
            HttpsRedirect::NotAsked => "not asked",
            HttpsRedirect::Closed => "closed",
            HttpsRedirect::ToHttps => "to https",
            HttpsRedirect::ViaOtherHost => "via another host",
            HttpsRedirect::Missing => "missing",
        }
    }
    pub(super) fn mark(self) -> Option<Mark> {
        match self {
            HttpsRedirect::Missing => {
                Some(Mark::new("https-redirect", -20, Level::Note, "http:// does not redirect to https://".into()))
            }
            HttpsRedirect::ViaOtherHost => {
                Some(Mark::new("https-redirect", -5, Level::Note, "http:// redirects by way of another host".into()))
            }
            _ => None,
        }
    }
}

pub(super) struct Collected {
    /// The answer that stands for the site comes first.
    pub(super) seen: Vec<Seen>,
    /// Routes that should have answered and did not.
    pub(super) missed: Vec<String>,
    pub(super) https: bool,
    pub(super) https_redirect: HttpsRedirect,
}

/// Fails only when the front page itself cannot be had.
pub(super) async fn collect(prober: &Prober, base: &Url, config: &Config, canary: &str) -> Result<Collected, NetError> {
    let mut look = Look { prober, seen: Vec::new(), missed: Vec::new() };
    let mut url = base.clone();
    let mut front = look.fetch(&url).await?;
    for _ in 0..FRONT_HOPS_MAX {
        let Some(to) = redirect_of(&url, &front) else { break };
        look.keep(Role::Redirect, &url, front);
        if to.host() != url.host() {
            // Another host is another target: the redirect is all there is to see here.
            let https = url.scheme() == "https";
            return Ok(Collected {
                seen: look.seen,
                missed: look.missed,
                https,
                https_redirect: HttpsRedirect::NotAsked,
            });
        }
        url = to;
        front = look.fetch(&url).await?;
    }
    let html = if web::is_html(&front) { front.text().into_owned() } else { String::new() };
    let role = if web::is_json(&front) { Role::Api } else { Role::Page };
    look.keep(role, &url, front);
    let last = look.seen.len() - 1;
    look.seen.swap(0, last);

    for path in &config.pages {
        look.add(Role::Page, &url, path, |_| true).await;
    }
    let links = links(&html, &url, "a", "href");
    let is_login = |u: &&Url| {
        let path = u.path().to_ascii_lowercase();
        ["login", "signin", "sign-in", "log-in"].iter().any(|word| path.contains(word))
    };
    if let Some(login) = links.iter().find(is_login) {
        look.add(Role::Login, &url, login.as_str(), |r| r.status < 300).await;
    }
    if config.api.is_empty() {
        for path in API_GUESSES {
            if look.add(Role::Api, &url, path, |r| web::is_json(r) && r.status < 400).await {
                break;
            }
        }
    }
    for path in &config.api {
        look.add(Role::Api, &url, path, |_| true).await;
    }
    look.add(Role::NotFound, &url, &format!("/{canary}-nothing-here"), |r| (400..500).contains(&r.status)).await;
    look.add(Role::BadRequest, &url, "/%", |r| (400..500).contains(&r.status) && r.status != 404).await;
    let mut assets = links_of_assets(&html, &url);
    assets.extend(["/favicon.ico", "/robots.txt"].iter().filter_map(|p| url.join(p).ok()));
    for asset in assets.iter().take(3) {
        if look.add(Role::Asset, &url, asset.as_str(), |r| r.status == 200 && !web::is_html(r)).await {
            break;
        }
    }
    let https = url.scheme() == "https";
    let https_redirect = plain_http(prober, &url).await;
    Ok(Collected { seen: look.seen, missed: look.missed, https, https_redirect })
}

struct Look<'a> {
    prober: &'a Prober,
    seen: Vec<Seen>,
    missed: Vec<String>,
}

impl Look<'_> {
    async fn fetch(&self, url: &Url) -> Result<Response, NetError> {
        let request = Request { body_bytes_limit: BODY_BYTES_MAX, truncate: true, ..Request::get(url.clone()) };
        self.prober.send(request.header("accept", "text/html,application/json;q=0.9,*/*;q=0.8")).await
    }

    fn keep(&mut self, role: Role, url: &Url, response: Response) {
        let route = format!("GET {}", url.path());
        self.seen.push(Seen { role, url: url.clone(), route, response });
    }

    /// Fetches and keeps the answer if it is of the wanted kind. A redirect is kept as one, once.
    async fn add(&mut self, role: Role, base: &Url, path: &str, wanted: impl Fn(&Response) -> bool) -> bool {
        let Ok(url) = base.join(path) else { return false };
        match self.fetch(&url).await {
            Ok(response) if redirect_of(&url, &response).is_some() && role != Role::NotFound => {
                if !self.seen.iter().any(|s| s.role == Role::Redirect) {
                    self.keep(Role::Redirect, &url, response);
                }
                false
            }
            Ok(response) if wanted(&response) => {
                self.keep(role, &url, response);
                true
            }
            Ok(_) => false,
            // Some servers close on a malformed path instead of answering 400: that is an answer too.
            Err(_) if role == Role::BadRequest => false,
            Err(error) => {
                self.missed.push(format!("GET {}: {error}", url.path()));
                false
            }
        }
    }
}

fn redirect_of(url: &Url, response: &Response) -> Option<Url> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    url.join(response.header("location")?).ok().filter(|to| matches!(to.scheme(), "http" | "https"))
}

/// Links of the page that stay on its host.
fn links(html: &str, base: &Url, tag: &str, attribute: &str) -> Vec<Url> {
    let tags = web::tags(html, tag);
    let targets = tags.iter().filter_map(|t| base.join(t.get(attribute)?).ok());
    targets.filter(|u| u.origin() == base.origin()).collect()
}

fn links_of_assets(html: &str, base: &Url) -> Vec<Url> {
    let mut out = links(html, base, "script", "src");
    out.extend(links(html, base, "link", "href").into_iter().filter(|u| u.path().contains('.')));
    out.extend(links(html, base, "img", "src"));
    out
}

async fn plain_http(prober: &Prober, url: &Url) -> HttpsRedirect {
    let mut plain = url.clone();
    // A loopback target has no public port 80 to ask about.
    if url.scheme() != "https" || url.port().is_some() || is_loopback(url) || plain.set_scheme("http").is_err() {
        return HttpsRedirect::NotAsked;
    }
    match prober.get(plain.clone()).await {
        Err(_) => HttpsRedirect::Closed,
        Ok(answer) => match redirect_of(&plain, &answer) {
            Some(to) if to.scheme() == "https" && to.host() == plain.host() => HttpsRedirect::ToHttps,
            Some(to) if to.scheme() == "https" => HttpsRedirect::ViaOtherHost,
            _ => HttpsRedirect::Missing,
        },
    }
}
