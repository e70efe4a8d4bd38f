//! Walks the pages with the browser: whole, then once for each fault, then with the API back.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use super::Config;
use super::judge;
use crate::domain::evidence::sha256_hex;
use crate::gates::browser::{Asked, Browser, BrowserError, Interceptor, Page, Reply, Through};

/// What happens to the API calls of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fault {
    ServerError,
    Unavailable,
    Timeout,
    Offline,
    Malformed,
    Unauthorised,
}

impl Fault {
    pub(super) const ALL: [Fault; 6] =
        [Fault::ServerError, Fault::Unavailable, Fault::Timeout, Fault::Offline, Fault::Malformed, Fault::Unauthorised];
    /// As messages say it: "when the API …".
    pub(super) fn words(self) -> &'static str {
        match self {
            Fault::ServerError => "answers 500",
            Fault::Unavailable => "answers 503",
            Fault::Timeout => "never answers",
            Fault::Offline => "cannot be reached",
            Fault::Malformed => "answers broken JSON",
            Fault::Unauthorised => "answers 401",
        }
    }
}

/// Stands in every injected body; a page that shows it shows people what was meant for programs.
pub(super) const MARK: &str = "hc-injected-fault";
/// Tabs at once; on two cores more only wait for each other.
const TABS: usize = 3;
/// One load of a page, the safety engine's pace included.
const LOAD_MAX: Duration = Duration::from_secs(40);
/// Pictures of what went wrong that are kept.
const PICTURES_MAX: usize = 10;

/// What a page shows, as its document says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Shown {
    pub(super) url: String,
    pub(super) title: String,
    /// Visible text, cut at 20,000 characters.
    pub(super) text: String,
    /// Visible texts of role=alert, role=status and live regions.
    pub(super) alerts: Vec<String>,
    /// Labels of visible buttons and links.
    pub(super) buttons: Vec<String>,
    pub(super) links: Vec<String>,
    /// Spinners, skeletons, aria-busy, endless animations: how many.
    pub(super) busy: u32,
    /// A visible password field: a login.
    pub(super) login: bool,
    /// The focus is on something other than the body.
    pub(super) focused: bool,
}

const SHOWN: &str = r#"(() => {
  const seen = e => { const r = e.getBoundingClientRect(), s = getComputedStyle(e);
    return r.width > 0 && r.height > 0 && s.visibility !== 'hidden' && s.display !== 'none' && +s.opacity > 0.05; };
  const some = (q, n) => [...document.querySelectorAll(q)].slice(0, 500).filter(seen).slice(0, n || 50);
  const label = e => (e.innerText || e.value || e.getAttribute('aria-label') || e.title || '').trim().slice(0, 80);
  const text = (document.body ? document.body.innerText : '').trim().slice(0, 20000);
  let busy = some('[aria-busy=true],[role=progressbar],progress:not([value])').length;
  busy += some('[class]').filter(e => /(^|[\s_-])(spinner|loader|loading|skeleton)/i.test(e.getAttribute('class') || '')).length;
  try { busy += document.getAnimations().filter(a => a.playState === 'running' && a.effect &&
    a.effect.getTiming().iterations === Infinity && a.effect.target && seen(a.effect.target)).length; } catch (e) {}
  return { url: location.href, title: document.title.slice(0, 200), text, busy,
    alerts: some('[role=alert],[role=status],[role=alertdialog],[aria-live=assertive],[aria-live=polite],output')
      .map(e => e.innerText.trim().slice(0, 300)).filter(t => t),
    buttons: some('button:not([disabled]),[role=button],input[type=submit],summary').map(label),
    links: some('a[href]').map(label),
    login: some('input[type=password]').length > 0,
    focused: !!document.activeElement && document.activeElement !== document.body };
})()"#;

/// Presses what is labelled as a second try, if anything is.
const RETRY: &str = r#"(() => {
  const found = [...document.querySelectorAll('button:not([disabled]),[role=button],a[href],input[type=submit]')].find(e =>
    /retry|try again|again|reload|refresh|erneut|nochmal|neu laden|r[eé]essayer|reintentar|riprova/i.test(e.innerText || e.value || e.getAttribute('aria-label') || ''));
  if (found) found.click();
  return !!found;
})()"#;

/// Pages of the same site that this one links.
const LINKS: &str = "[...document.querySelectorAll('a[href]')].map(a => a.href).slice(0, 200)";

/// One page under one fault, or under none.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Case {
    pub(super) shown: Shown,
    pub(super) errors: Vec<String>,
    pub(super) console: Vec<String>,
    /// API calls that were answered with the fault (of the whole page: all of them).
    pub(super) calls: Vec<String>,
    pub(super) recovery: Option<Recovery>,
    #[serde(skip)]
    pub(super) picture: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Recovery {
    /// Its own retry, or by itself.
    ByItself,
    /// Its retry did nothing; a reload did.
    RetryDead,
    /// It has no retry; a reload helped.
    ByReload,
    /// Not even after a reload.
    Never,
}

/// One page: whole, and under each fault. `Err`: could not be looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PageSeen {
    pub(super) path: String,
    pub(super) whole: Result<Case, String>,
    pub(super) faults: Vec<(Fault, Result<Case, String>)>,
}

/// Answers API calls with the fault, lets everything else through.
struct Faulty {
    through: Arc<Through>,
    fault: Mutex<Option<Fault>>,
    silence: Duration,
    calls: Mutex<Vec<String>>,
    hit: AtomicU64,
}

impl Faulty {
    fn new(through: Arc<Through>, fault: Option<Fault>, silence: Duration) -> Arc<Faulty> {
        let (fault, calls) = (Mutex::new(fault), Mutex::default());
        Arc::new(Faulty { through, fault, silence, calls, hit: AtomicU64::new(0) })
    }
    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn lift(&self) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Interceptor for Faulty {
    fn answer<'a>(&'a self, asked: Asked) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            let fault = *self.fault.lock().unwrap_or_else(PoisonError::into_inner);
            if !asked.is_call() {
                return self.through.answer(asked).await;
            }
            {
                let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
                let call = format!("{} {}", asked.method, asked.url.path());
                if calls.len() < 50 && !calls.contains(&call) {
                    calls.push(call);
                }
            }
            let Some(fault) = fault else { return self.through.answer(asked).await };
            let answer = |status: u16, body: &str| {
                let mut headers = vec![
                    ("content-type".to_string(), "application/json".to_string()),
                    ("cache-control".into(), "no-store".into()),
                ];
                if let Some(origin) = asked.header("origin") {
                    headers.push(("access-control-allow-origin".into(), origin.into()));
                    headers.push(("access-control-allow-credentials".into(), "true".into()));
                }
                Reply::Answer { status, headers, body: Bytes::from(body.to_string()) }
            };
            let problem = |status: u16, title: &str| {
                let body = format!(
                    "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\"trace\":\"{MARK}\"}}"
                );
                answer(status, &body)
            };
            let reply = match fault {
                Fault::ServerError => problem(500, "Internal Server Error"),
                Fault::Unavailable => problem(503, "Service Unavailable"),
                Fault::Unauthorised => problem(401, "Unauthorized"),
                Fault::Malformed => answer(200, &format!("{{\"items\":[{{\"id\":1,\"name\":\"{MARK}")),
                Fault::Offline => Reply::Fail("InternetDisconnected"),
                Fault::Timeout => {
                    tokio::time::sleep(self.silence).await;
                    Reply::Fail("TimedOut")
                }
            };
            self.hit.fetch_add(1, Ordering::Relaxed);
            reply
        })
    }
}

pub(super) struct Walk<'w> {
    pub(super) browser: &'w Browser,
    pub(super) through: Arc<Through>,
    pub(super) base: &'w Url,
    pub(super) config: &'w Config,
}

impl Walk<'_> {
    /// Every page, in order; the front page first.
    pub(super) async fn all(&self, progress: &(dyn Fn(&str) + Send + Sync)) -> Vec<PageSeen> {
        let given: Vec<Url> = self.config.pages.iter().filter_map(|p| self.base.join(p).ok()).collect();
        let first = given.first().cloned().unwrap_or_else(|| self.base.clone());
        progress("loads the front page");
        let (whole, links) = self.whole(&first).await;
        let mut urls = vec![first];
        urls.extend(given.into_iter().skip(1));
        if self.config.pages.is_empty() {
            for link in links {
                if urls.len() < self.config.max_pages && !urls.contains(&link) {
                    urls.push(link);
                }
            }
        }
        urls.truncate(self.config.max_pages);
        let mut seen = vec![PageSeen { path: urls[0].path().into(), whole, faults: Vec::new() }];
        for url in &urls[1..] {
            progress(&format!("loads {}", url.path()));
            let (whole, _) = self.whole(url).await;
            seen.push(PageSeen { path: url.path().into(), whole, faults: Vec::new() });
        }
        let calling = |page: &PageSeen| page.whole.as_ref().is_ok_and(|whole| !whole.calls.is_empty());
        let todo: Vec<(usize, Fault)> = (0..seen.len())
            .filter(|nth| calling(&seen[*nth]))
            .flat_map(|nth| Fault::ALL.into_iter().map(move |fault| (nth, fault)))
            .collect();
        let work = todo.into_iter().map(|(nth, fault)| {
            let (url, whole) = (urls[nth].clone(), seen[nth].whole.clone().unwrap_or_default());
            async move {
                progress(&format!("{} when the API {}", url.path(), fault.words()));
                (nth, fault, self.under(&url, fault, &whole).await.map_err(|e| e.to_string()))
            }
        });
        let cases: Vec<_> = futures_util::stream::iter(work.collect::<Vec<_>>()).buffered(TABS).collect().await;
        for (nth, fault, case) in cases {
            seen[nth].faults.push((fault, case));
        }
        seen
    }

    async fn whole(&self, url: &Url) -> (Result<Case, String>, Vec<Url>) {
        match self.try_whole(url).await {
            Ok((case, links)) => (Ok(case), links),
            Err(error) => (Err(error.to_string()), Vec::new()),
        }
    }

    async fn try_whole(&self, url: &Url) -> Result<(Case, Vec<Url>), BrowserError> {
        let faulty = Faulty::new(self.through.clone(), None, Duration::ZERO);
        let page = self.browser.page(faulty.clone()).await?;
        page.open_url(url, LOAD_MAX).await?;
        let links = page.evaluate(LINKS).await?;
        let links = links.as_array().into_iter().flatten().filter_map(|l| self.page_of_ours(l.as_str()?)).collect();
        Ok((case(&page, &faulty).await?, links))
    }

    /// A link that a reader would follow, without query and fragment.
    fn page_of_ours(&self, link: &str) -> Option<Url> {
        let mut url: Url = link.parse().ok()?;
        url.set_fragment(None);
        url.set_query(None);
        let path = url.path().to_ascii_lowercase();
        let file = path.rsplit('/').next().is_some_and(|last| last.contains('.') && !last.ends_with(".html"));
        let leaves =
            ["logout", "signout", "sign-out", "log-out", "delete", "unsubscribe"].iter().any(|w| path.contains(w));
        (url.origin() == self.base.origin() && !file && !leaves).then_some(url)
    }

    async fn under(&self, url: &Url, fault: Fault, whole: &Case) -> Result<Case, BrowserError> {
        let silence = Duration::from_secs_f64(self.config.timeout_s);
        let within = Duration::from_secs_f64(self.config.within_s);
        let faulty = Faulty::new(self.through.clone(), Some(fault), silence);
        let page = self.browser.page(faulty.clone()).await?;
        let limit = if fault == Fault::Timeout { silence } else { LOAD_MAX };
        page.open_url(url, limit).await?;
        // The clock runs from the first call that has failed.
        let until = Instant::now() + silence + within;
        while faulty.hit.load(Ordering::Relaxed) == 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let until = Instant::now() + within;
        let mut seen = loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = case(&page, &faulty).await?;
            if judge::of_case(whole, &now, fault).is_empty() || Instant::now() >= until {
                break now;
            }
        };
        if !judge::of_case(whole, &seen, fault).is_empty() {
            seen.picture = page.screenshot().await.unwrap_or_default();
        }
        faulty.lift();
        seen.recovery = Some(self.recover(&page, url, whole, &seen, fault, within).await?);
        Ok(seen)
    }

    /// Is the page whole again, once the API is?
    async fn recover(
        &self,
        page: &Page,
        url: &Url,
        whole: &Case,
        broken: &Case,
        fault: Fault,
        within: Duration,
    ) -> Result<Recovery, BrowserError> {
        let back = |shown: &Shown| judge::is_whole(&whole.shown, shown);
        if back(&broken.shown) {
            return Ok(Recovery::ByItself);
        }
        // A login is where a 401 leads; nobody signs in here.
        let pressed = !(fault == Fault::Unauthorised && broken.shown.login) && page.evaluate(RETRY).await? == true;
        let until = Instant::now() + if pressed { within } else { Duration::from_millis(300) };
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(150)).await;
            // While a click loads the page anew there may be no document to ask.
            if let Ok(shown) = shown(page).await
                && back(&shown)
            {
                return Ok(Recovery::ByItself);
            }
        }
        page.open_url(url, LOAD_MAX).await?;
        let until = Instant::now() + within;
        loop {
            if back(&shown(page).await?) {
                return Ok(if pressed { Recovery::RetryDead } else { Recovery::ByReload });
            }
            if Instant::now() >= until {
                return Ok(Recovery::Never);
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }
}

async fn shown(page: &Page) -> Result<Shown, BrowserError> {
    let value = page.evaluate(SHOWN).await?;
    serde_json::from_value(value).map_err(|e| BrowserError::Refused("a look at the page".into(), e.to_string()))
}

async fn case(page: &Page, faulty: &Faulty) -> Result<Case, BrowserError> {
    Ok(Case {
        shown: shown(page).await?,
        errors: page.errors(),
        console: page.console(),
        calls: faulty.calls(),
        recovery: None,
        picture: Vec::new(),
    })
}

/// Writes pictures of what went wrong beside the run's ledger; gives their names and digests.
pub(super) async fn keep_pictures(run_dir: &Path, seen: &[PageSeen]) -> Vec<(String, String)> {
    let folder: PathBuf = run_dir.join("fallback_ui");
    let mut kept = Vec::new();
    for (nth, page) in seen.iter().enumerate() {
        for (fault, case) in &page.faults {
            let Ok(case) = case else { continue };
            if case.picture.is_empty() || kept.len() >= PICTURES_MAX {
                continue;
            }
            let name = format!("page{}-{}.png", nth + 1, format!("{fault:?}").to_ascii_lowercase());
            let written = async {
                tokio::fs::create_dir_all(&folder).await?;
                tokio::fs::write(folder.join(&name), &case.picture).await
            };
            if written.await.is_ok() {
                kept.push((format!("fallback_ui/{name}"), sha256_hex(&case.picture)));
            }
        }
    }
    kept
}
