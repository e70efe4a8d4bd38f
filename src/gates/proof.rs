//! What shows that a gate works: a product it lets through and one it must stop. Each gate keeps its own beside its code
//! ([`super::Gate::proof`]); `hypercare gates prove` makes both on the spot and runs the gate on them as `check` would.

use std::time::Duration;

use super::Config;
use crate::domain::service::Profile;

/// Two products: the gate must not block the good one, and must block the bad one.
pub struct Proof {
    pub good: Fixture,
    pub bad: Fixture,
}

/// A product in miniature. Texts may hold [`TODAY`], [`COMMIT`] and [`REQUESTS`].
#[derive(Default)]
pub struct Fixture {
    /// What is right or wrong about it.
    pub what: &'static str,
    /// Committed.
    pub files: Vec<(&'static str, String)>,
    /// Committed after the tag.
    pub then: Vec<(&'static str, String)>,
    /// The only signer there is; a review note of the last commit is signed in this name.
    pub reviewed_by: Option<&'static str>,
    /// Written after the commits: what builds leave behind.
    pub left: Vec<(&'static str, String)>,
    pub tag: Option<&'static str>,
    /// Served on a loopback address; none: no target.
    pub pages: Vec<Page>,
    /// The channel that has taken the announcement of this very release.
    pub announced: Option<&'static str>,
    /// The only channel there is.
    pub channel: Option<&'static str>,
    pub settings: Option<fn(&mut Config)>,
    pub profile: Profile,
}

/// One answer of the server; a path that ends in `*` answers everything below.
#[derive(Clone)]
pub struct Page {
    pub path: &'static str,
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: String,
    /// Before it answers.
    pub after: Duration,
    /// Within one second; what exceeds it gets 429.
    pub at_most: Option<usize>,
}

/// The day of the run: `2026-11-23`.
pub const TODAY: &str = "%TODAY%";
/// The commit that is checked, in full.
pub const COMMIT: &str = "%COMMIT%";
/// Requests for `/` so far.
pub const REQUESTS: &str = "%REQUESTS%";

impl Fixture {
    pub fn of(what: &'static str) -> Fixture {
        Fixture { what, profile: Profile::WebApi, ..Fixture::default() }
    }
    pub fn file(mut self, path: &'static str, text: impl Into<String>) -> Fixture {
        self.files.push((path, text.into()));
        self
    }
    pub fn then(mut self, path: &'static str, text: impl Into<String>) -> Fixture {
        self.then.push((path, text.into()));
        self
    }
    pub fn left(mut self, path: &'static str, text: impl Into<String>) -> Fixture {
        self.left.push((path, text.into()));
        self
    }
    pub fn tag(mut self, tag: &'static str) -> Fixture {
        self.tag = Some(tag);
        self
    }
    pub fn page(mut self, page: Page) -> Fixture {
        self.pages.push(page);
        self
    }
    pub fn settings(mut self, change: fn(&mut Config)) -> Fixture {
        self.settings = Some(change);
        self
    }
}

impl Page {
    pub fn new(path: &'static str, kind: &'static str, body: impl Into<String>) -> Page {
        Page {
            path,
            status: 200,
            headers: vec![("content-type", kind)],
            body: body.into(),
            after: Duration::ZERO,
            at_most: None,
        }
    }
    pub fn json(path: &'static str, body: impl Into<String>) -> Page {
        Page::new(path, "application/json", body)
    }
    pub fn at_most(mut self, requests: usize) -> Page {
        self.at_most = Some(requests);
        self
    }
    pub fn status(mut self, status: u16) -> Page {
        self.status = status;
        self
    }
    pub fn headers(mut self, headers: &[(&'static str, &'static str)]) -> Page {
        self.headers.extend(headers);
        self
    }
}
