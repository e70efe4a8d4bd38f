//! Walks through a smoke list once: asks each item in order, again while it may be retried, and takes back what it wrote.
//! Every request goes through the gate's prober. Cookies are kept for the walk, so that a login holds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::{Item, Smoke, WITHIN_MAX, page, split, want};
use crate::domain::release::ReleaseId;
use crate::net::safety::Prober;
use crate::net::{NetError, Redirects, Request, Response};

/// Who asks whom about what.
pub struct Walker<'w> {
    pub passive: &'w Prober,
    /// For requests that write; the error says why none may be sent.
    pub active: Result<&'w Prober, String>,
    pub base: &'w Url,
    pub release: &'w ReleaseId,
    pub run: &'w str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum State {
    Green,
    /// What came back is not what must come back.
    Red {
        why: String,
    },
    /// Could not be asked: no browser, a variable that is not set, a write that is not allowed.
    Error {
        reason: &'static str,
        why: String,
    },
    /// A person's.
    Human {
        owner: String,
    },
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    pub name: String,
    /// Place in the list.
    #[serde(skip)]
    pub nth: usize,
    pub request: Option<String>,
    #[serde(flatten)]
    pub state: State,
    pub duration_ms: u64,
    pub tries: u32,
    /// Nothing answered at all.
    #[serde(skip)]
    pub silent: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Walk {
    pub steps: Vec<Step>,
    pub duration_ms: u64,
}

impl Walk {
    pub fn red(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| matches!(s.state, State::Red { .. }))
    }
    pub fn errors(&self) -> impl Iterator<Item = (&Step, &'static str, &str)> {
        self.steps.iter().filter_map(|s| match &s.state {
            State::Error { reason, why } => Some((s, *reason, why.as_str())),
            _ => None,
        })
    }
    pub fn green(&self) -> usize {
        self.steps.iter().filter(|s| s.state == State::Green).count()
    }
    /// Did nothing answer?
    pub fn is_silent(&self) -> bool {
        let mut asked = self.steps.iter().filter(|s| s.tries > 0).peekable();
        asked.peek().is_some() && asked.all(|s| s.silent)
    }
}

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// One walk. An error ends it: a stop was asked for, or the target may not be touched.
pub async fn walk(smoke: &Smoke, who: &Walker<'_>, told: impl Fn(&str)) -> Result<Walk, NetError> {
    let begun = Instant::now();
    let mut state = Memory::new(who);
    let mut steps = Vec::new();
    for (nth, item) in smoke.item.iter().enumerate() {
        told(&item.name);
        let step = |state, duration: Duration, tries, silent| Step {
            name: item.name.clone(),
            nth,
            request: item.request.clone().or(item.ui.as_ref().map(|p| format!("page {p}"))),
            state,
            duration_ms: duration.as_millis() as u64,
            tries,
            silent,
        };
        if item.request.is_none() {
            steps.push(step(by_hand(item), Duration::ZERO, 0, false));
        } else if begun.elapsed() > smoke.limit() {
            let why = format!("not asked: the list's {} s were over", smoke.limit().as_secs());
            steps.push(step(State::Red { why }, Duration::ZERO, 0, false));
        } else {
            let started = Instant::now();
            let (done, tries, silent) = patiently(item, who, &mut state).await?;
            steps.push(step(done, started.elapsed(), tries, silent));
        }
    }
    Ok(Walk { steps, duration_ms: begun.elapsed().as_millis() as u64 })
}

/// Items that no request answers. There is no browser here that could show a page.
fn by_hand(item: &Item) -> State {
    match (&item.ui, &item.owner) {
        (_, Some(owner)) => State::Human { owner: owner.clone() },
        (Some(page), None) => {
            State::Error { reason: "no-browser", why: format!("no browser is driven yet, so {page} was not looked at") }
        }
        (None, None) => State::Error { reason: "not-executable", why: "neither a request nor a person".into() },
    }
}

/// What the walk knows so far.
struct Memory {
    known: BTreeMap<String, String>,
    cookies: BTreeMap<String, String>,
    /// The answer to a path that cannot exist.
    unknown: Option<Response>,
}

impl Memory {
    fn new(who: &Walker<'_>) -> Memory {
        let pairs = [
            ("run", Some(who.run.to_string())),
            ("version", who.release.version.clone()),
            ("commit", who.release.commit.clone()),
        ];
        let known = pairs.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?)));
        Memory { known: known.collect(), cookies: BTreeMap::new(), unknown: None }
    }
}

/// Why an item was not answered.
enum Trouble {
    /// Ends the walk.
    Stop(NetError),
    Error(&'static str, String),
    Red {
        why: String,
        silent: bool,
    },
}

async fn patiently(item: &Item, who: &Walker<'_>, memory: &mut Memory) -> Result<(State, u32, bool), NetError> {
    let (begun, patience) = (Instant::now(), item.retry.map_or(Duration::ZERO, |r| r.get()));
    let mut tries = 0;
    loop {
        tries += 1;
        let (why, silent) = match once(item, who, memory).await {
            Ok(()) => return Ok((State::Green, tries, false)),
            Err(Trouble::Stop(error)) => return Err(error),
            Err(Trouble::Error(reason, why)) => return Ok((State::Error { reason, why }, tries, false)),
            Err(Trouble::Red { why, silent }) => (why, silent),
        };
        if begun.elapsed() + PAUSE > patience {
            return Ok((State::Red { why }, tries, silent));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn red(why: impl Into<String>) -> Trouble {
    Trouble::Red { why: why.into(), silent: false }
}

async fn once(item: &Item, who: &Walker<'_>, memory: &mut Memory) -> Result<(), Trouble> {
    let request = request(item, who, memory)?;
    let url = request.url.clone();
    let response = send(item.writes(), request, who).await?;
    keep_cookies(&response, &mut memory.cookies);
    let body: Option<serde_json::Value> = serde_json::from_slice(&response.body).ok();
    let mut lost = None;
    for (name, path) in &item.save {
        match body.as_ref().and_then(|b| want::at(b, path)) {
            Some(value) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
                memory.known.insert(name.clone(), text);
            }
            None => lost = Some(format!("there is no {path} to save as {name}")),
        }
    }
    let unmet = want::unmet(item, &response, who.release);
    // What was written goes, whether the answer was right or not.
    let left = match &item.cleanup {
        Some(cleanup) if (200..300).contains(&response.status) => clean_up(cleanup, item, who, memory).await?,
        _ => None,
    };
    if let Some(why) = unmet.into_iter().next().or(lost).or(left) {
        return Err(red(why));
    }
    if item.assets {
        assets(&response, item, who).await?;
    }
    fallback(item, &url, who, memory).await
}

/// A list that a page for everything satisfies proves nothing: what an unknown path answers must not pass.
async fn fallback(item: &Item, url: &Url, who: &Walker<'_>, memory: &mut Memory) -> Result<(), Trouble> {
    let path = url.path().trim_end_matches('/');
    let home = path == who.base.path().trim_end_matches('/');
    if item.writes() || home || !item.statuses().iter().all(|s| (200..300).contains(s)) {
        return Ok(());
    }
    if memory.unknown.is_none() {
        let request = Request::get(at(who.base, &format!("/hc-{}-unknown", who.run))).timeout(WITHIN_MAX);
        memory.unknown = Some(send(false, Request { truncate: true, ..request }, who).await?);
    }
    let faked = memory.unknown.as_ref().is_some_and(|u| want::unmet(item, u, who.release).is_empty());
    match faked {
        true => Err(red(
            "a path that does not exist gives an answer that passes as well: ask for a text that only this page has",
        )),
        false => Ok(()),
    }
}

async fn assets(page_answer: &Response, item: &Item, who: &Walker<'_>) -> Result<(), Trouble> {
    let html = page_answer.text();
    let named = page::assets(&html, &page_answer.url);
    if named.is_empty() && !html.to_ascii_lowercase().contains("<html") {
        return Err(red("the answer is no page, so it names no scripts or style sheets"));
    }
    for url in named {
        let name = url.path().to_string();
        let request = Request { truncate: true, ..Request::get(url).timeout(item.within().min(WITHIN_MAX)) };
        let answer = send(false, request, who).await?;
        let is_page = answer.header("content-type").is_some_and(|t| t.starts_with("text/html"));
        match answer.status {
            200..300 if !is_page && !answer.body.is_empty() => {}
            200..300 if is_page => return Err(red(format!("the page names {name}, which answers with a page"))),
            200..300 => return Err(red(format!("the page names {name}, which is empty"))),
            status => return Err(red(format!("the page names {name}, which answers {status}"))),
        }
    }
    Ok(())
}

/// Why what was written is still there.
async fn clean_up(cleanup: &str, item: &Item, who: &Walker<'_>, memory: &Memory) -> Result<Option<String>, Trouble> {
    let error = |why: String| Trouble::Error("not-executable", why);
    let filled = want::fill(cleanup, &memory.known).map_err(error)?;
    let (method, path) = split(&filled).ok_or_else(|| error("cleanup is not METHOD /path".into()))?;
    let mut request = Request { method: method.into(), ..Request::get(at(who.base, path)) }.timeout(item.within());
    dress(&mut request, item, memory).map_err(error)?;
    let answer = send(true, request, who).await?;
    let gone = (200..300).contains(&answer.status) || matches!(answer.status, 404 | 410);
    Ok((!gone).then(|| format!("cleanup {cleanup} answered {}: what was written is still there", answer.status)))
}

fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(query);
    url.set_fragment(None);
    url
}

fn request(item: &Item, who: &Walker<'_>, memory: &Memory) -> Result<Request, Trouble> {
    let error = |why: String| Trouble::Error("not-executable", why);
    let filled = want::fill(item.request.as_deref().unwrap_or_default(), &memory.known).map_err(error)?;
    let (method, path) = split(&filled).ok_or_else(|| error("the request is not METHOD /path".into()))?;
    let mut request = Request { method: method.into(), truncate: true, ..Request::get(at(who.base, path)) };
    if item.follow {
        request.redirects = Redirects::SameHost(5);
    }
    if let Some(json) = &item.send_json {
        let json = want::fill_json(json, &memory.known).map_err(error)?;
        request.body = json.to_string().into();
        request = request.header("content-type", "application/json");
    } else if !item.send_form.is_empty() {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in &item.send_form {
            form.append_pair(key, &want::fill(value, &memory.known).map_err(error)?);
        }
        request.body = form.finish().into();
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    dress(&mut request, item, memory).map_err(error)?;
    Ok(request.timeout(item.within().min(WITHIN_MAX)))
}

/// Headers and cookies.
fn dress(request: &mut Request, item: &Item, memory: &Memory) -> Result<(), String> {
    for (name, value) in &item.headers {
        request.headers.push((name.to_ascii_lowercase(), want::fill(value, &memory.known)?));
    }
    if !memory.cookies.is_empty() && !item.headers.keys().any(|n| n.eq_ignore_ascii_case("cookie")) {
        let pairs: Vec<String> = memory.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.headers.push(("cookie".into(), pairs.join("; ")));
    }
    Ok(())
}

fn keep_cookies(response: &Response, jar: &mut BTreeMap<String, String>) {
    for set in response.header_all("set-cookie").take(50) {
        let Some((name, value)) = set.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
        let gone = value.trim().is_empty() || set.to_ascii_lowercase().contains("max-age=0");
        match gone {
            true => drop(jar.remove(name.trim())),
            false => drop(jar.insert(name.trim().to_string(), value.trim().to_string())),
        }
    }
}

async fn send(writes: bool, request: Request, who: &Walker<'_>) -> Result<Response, Trouble> {
    let prober = match writes {
        false => who.passive,
        true => match &who.active {
            Ok(prober) => *prober,
            Err(why) => return Err(Trouble::Error("not-active", why.clone())),
        },
    };
    prober.send(request).await.map_err(|error| match error {
        NetError::Stopped(_) => Trouble::Stop(error),
        // A write that the deny list holds back is this item's trouble; a host that may not be touched is everybody's.
        NetError::Refused(why) if writes => Trouble::Error("refused", why),
        NetError::Refused(_) => Trouble::Stop(error),
        NetError::Dns(_) | NetError::Connect(_) => Trouble::Red { why: error.to_string(), silent: true },
        other => red(other.to_string()),
    })
}
