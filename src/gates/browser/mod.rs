//! A real browser for gates that must see what people see: Chromium, spoken to over the DevTools protocol (CDP).
//!
//! It never opens a connection: every request of a page is paused (`Fetch.enable`) and answered by an [`Interceptor`], as a
//! rule by [`Through`], which sends it through the safety engine. Whatever escapes that (WebSockets, prefetches) meets a
//! proxy that does not exist. `pipe.rs` is the process and the protocol, `page.rs` one tab, `through.rs` the way out.
//! Each start has a fresh profile, which is removed at the end together with the process and its children.

mod page;
mod pipe;
mod through;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use url::Url;

pub use page::Page;
pub use through::Through;

/// Names under which Chromium is found on PATH, first one wins.
const NAMES: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
    "headless_shell",
    "microsoft-edge",
];

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum BrowserError {
    #[error("no browser: none of {} is on PATH", NAMES.join(", "))]
    Missing,
    #[error("{0} is no browser that can be started: {1}")]
    Start(String, String),
    #[error("the browser refused {0}: {1}")]
    Refused(String, String),
    #[error("the browser did not answer {0} in time")]
    Timeout(String),
    #[error("the browser has ended")]
    Ended,
}

/// One request that a page wants to make.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// As the protocol names it: `Document`, `Script`, `XHR`, `Fetch`, `Image`, …
    pub kind: String,
}

impl Asked {
    /// Made by the page's own code, not by its markup.
    pub fn is_call(&self) -> bool {
        matches!(self.kind.as_str(), "XHR" | "Fetch" | "EventSource")
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// What a page gets for a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: bytes::Bytes,
    },
    /// A network error by the protocol's name: `BlockedByClient`, `InternetDisconnected`, `TimedOut`, `ConnectionRefused`.
    Fail(&'static str),
}

/// Answers the requests of a page. Slow answers keep that request waiting, nothing else.
pub trait Interceptor: Send + Sync {
    fn answer<'a>(&'a self, asked: Asked) -> BoxFuture<'a, Reply>;
}

/// A running browser; ends with the value.
pub struct Browser {
    process: pipe::Process,
}

impl Browser {
    /// The browser of the configuration, or the first on PATH.
    pub fn find(configured: Option<&Path>) -> Result<PathBuf, BrowserError> {
        if let Some(path) = configured {
            let missing = || BrowserError::Start(path.display().to_string(), "no such file".into());
            return path.is_file().then(|| path.to_path_buf()).ok_or_else(missing);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let candidates = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        candidates.into_iter().find(|file| file.is_file()).ok_or(BrowserError::Missing)
    }

    /// Starts it with a fresh profile; errors when it does not speak within 20 s.
    pub async fn start(program: &Path) -> Result<Browser, BrowserError> {
        Ok(Browser { process: pipe::Process::start(program).await? })
    }

    /// `HeadlessChrome/156.0.0.0`
    pub fn version(&self) -> &str {
        &self.process.version
    }

    /// A blank tab with cookies and storage of its own.
    pub async fn page(&self, interceptor: Arc<dyn Interceptor>) -> Result<Page, BrowserError> {
        Page::open(self.process.connection.clone(), interceptor).await
    }
}

#[cfg(test)]
mod tests;
