//! The forge that a repository comes from, asked over its API, read only: runs of a commit, change requests, approvals.
//! GitHub, GitLab, Gitea and Forgejo; one file each turns their answers into the same values. Requests go through the
//! guard like every other; the token comes from the environment and is in no log, error or ledger.

mod gitea;
mod github;
mod gitlab;
pub mod origin;
mod protection;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use url::Url;

use self::origin::{Kind, Origin};
pub use self::protection::Protection;
use super::GateContext;
use super::context::Repo;
use crate::domain::clock::Timestamp;
use crate::domain::secret::Revealed;
use crate::net::safety::{Guard, Prober};
use crate::net::{NetError, Redirects, Request, Response, address};

/// How a run ended, or that it has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Success,
    /// With the forge's word: `failure`, `canceled`.
    Failed(String),
    /// Queued, running, waiting for somebody.
    Open(String),
    /// Says nothing either way: skipped, neutral.
    Neutral,
}

/// One run of a workflow or pipeline for one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CiRun {
    pub name: String,
    /// The workflow's file, where the forge tells.
    pub file: Option<String>,
    pub state: RunState,
    pub url: String,
    pub commit: String,
}

/// A pull or merge request, with those who approved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `#12`, `!12`.
    pub id: String,
    pub url: String,
    pub author: String,
    /// Everybody whose work is in it, as the forge knows them: logins, addresses, `name:…`; lower case.
    pub authors: Vec<String>,
    /// Last commit that was pushed to it.
    pub head: String,
    pub merged: bool,
    pub merged_by: Option<String>,
    pub reviews: Vec<Review>,
}

/// The latest word of one reviewer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The login.
    pub by: String,
    /// The name beside it, if the forge tells.
    pub name: Option<String>,
    pub is_bot: bool,
    pub approves: bool,
    /// The commit it was given for. `None`: the forge does not tell.
    pub commit: Option<String>,
    /// Given before the last push.
    pub stale: bool,
    pub at: Option<Timestamp>,
}

/// Why there is no forge to ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoForge {
    #[error("the repository has no remote named origin on a forge")]
    NoOrigin,
    #[error("what kind of forge {0} is cannot be told")]
    UnknownKind(String),
    #[error("{variable} is not set, so {name} at {host} was not asked")]
    NoToken { name: &'static str, host: String, variable: &'static str },
    #[error("{0} speaks plain http: a token is not sent there")]
    Plain(String),
}

/// Why the forge did not tell. No message holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    #[error("{name} answered {status} to {path}: {why}")]
    Refused { name: &'static str, status: u16, path: String, why: &'static str },
    #[error("{0}")]
    Net(#[from] NetError),
    #[error("{name} answered {path} with something else than its API says: {what}")]
    Unexpected { name: &'static str, path: String, what: String },
}

/// One forge, one repository.
pub struct Forge {
    pub kind: Kind,
    api: Url,
    /// `owner/name`.
    path: String,
    token: Revealed,
    prober: Prober,
}

/// Pages of a list; a change request with more reviews than this is a forum.
const PAGES_MAX: usize = 5;
const PER_PAGE: usize = 100;

impl Forge {
    /// The forge of `origin`, for the requests of `gate`. Blocking for a moment: asks git for the remote.
    pub fn of(ctx: &GateContext, gate: &str) -> Result<Forge, NoForge> {
        Forge::open(ctx.repo.as_ref(), &ctx.guard, gate)
    }

    /// The same for commands outside of a run.
    pub fn open(repo: Option<&Repo>, guard: &Arc<Guard>, gate: &str) -> Result<Forge, NoForge> {
        let remote = repo.and_then(|r| r.git.as_ref()).and_then(|g| g.run(&["remote", "get-url", "origin"]).ok());
        Forge::at(remote.as_deref().unwrap_or_default(), guard, gate, |name| std::env::var(name).ok())
    }

    fn at(
        remote: &str,
        guard: &Arc<Guard>,
        gate: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Forge, NoForge> {
        let origin = Origin::parse(remote).ok_or(NoForge::NoOrigin)?;
        let (kind, api) =
            origin::forge_at(&origin, &variable).ok_or_else(|| NoForge::UnknownKind(origin.host.clone()))?;
        let token = variable(kind.variable()).filter(|t| !t.trim().is_empty());
        let Some(token) = token else {
            return Err(NoForge::NoToken { name: kind.name(), host: origin.host, variable: kind.variable() });
        };
        if api.scheme() != "https" && !address::is_loopback(&api) {
            return Err(NoForge::Plain(origin.host));
        }
        let prober = guard.api_prober(gate, &api);
        Ok(Forge { kind, api, path: origin.path, token: Revealed::new(token.trim().to_string()), prober })
    }

    /// Runs for a commit, the newest first. Empty when the forge knows the commit but no run, or does not know it.
    pub async fn runs(&self, commit: &str) -> Result<Vec<CiRun>, ForgeError> {
        match self.kind {
            Kind::GitHub => github::runs(self, commit).await,
            Kind::GitLab => gitlab::runs(self, commit).await,
            Kind::Gitea => gitea::runs(self, commit).await,
        }
    }

    /// The change requests that brought a commit, with their reviews.
    pub async fn changes_of(&self, commit: &str) -> Result<Vec<Change>, ForgeError> {
        match self.kind {
            Kind::GitHub => github::changes_of(self, commit).await,
            Kind::GitLab => gitlab::changes_of(self, commit).await,
            Kind::Gitea => gitea::changes_of(self, commit).await,
        }
    }

    /// `GET api/parts…?query`; `None` for 404: the token may not see it, or it is not there.
    async fn get(&self, parts: &[&str], query: &[(&str, &str)]) -> Result<Option<Json>, ForgeError> {
        let mut url = self.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let shown = url.path().to_string();
        let (name, value) = match self.kind {
            Kind::GitHub => ("authorization", format!("Bearer {}", self.token.expose())),
            Kind::GitLab => ("private-token", self.token.expose().to_string()),
            Kind::Gitea => ("authorization", format!("token {}", self.token.expose())),
        };
        let accept = if self.kind == Kind::GitHub { "application/vnd.github+json" } else { "application/json" };
        let mut request = Request::get(url).header("accept", accept).header(name, value);
        if self.kind == Kind::GitHub {
            request = request.header("x-github-api-version", "2022-11-28");
        }
        request.redirects = Redirects::SameHost(2);
        let answer = self.prober.send(request).await?;
        match answer.status {
            200 => {
                let parsed = serde_json::from_slice(&answer.body);
                parsed.map(Some).map_err(|e| self.unexpected(&shown, format!("no JSON at line {}", e.line())))
            }
            404 => Ok(None),
            status => {
                let why = why(&answer);
                Err(ForgeError::Refused { name: self.kind.name(), status, path: shown, why })
            }
        }
    }

    /// All pages of a list.
    async fn list(&self, parts: &[&str], query: &[(&str, &str)]) -> Result<Vec<Json>, ForgeError> {
        let mut out = Vec::new();
        let size = PER_PAGE.to_string();
        for page in 1..=PAGES_MAX {
            let page = page.to_string();
            let size_key = if self.kind == Kind::Gitea { "limit" } else { "per_page" };
            let query: Vec<(&str, &str)> =
                query.iter().copied().chain([(size_key, size.as_str()), ("page", page.as_str())]).collect();
            let Some(answer) = self.get(parts, &query).await? else { break };
            let Json::Array(items) = answer else {
                return Err(self.unexpected(&parts.join("/"), "not a list".into()));
            };
            let got = items.len();
            out.extend(items);
            // Gitea's pages are smaller than asked for when its owner says so.
            if got == 0 || (got < PER_PAGE && self.kind != Kind::Gitea) {
                break;
            }
        }
        Ok(out)
    }

    fn unexpected(&self, path: &str, what: String) -> ForgeError {
        ForgeError::Unexpected { name: self.kind.name(), path: path.to_string(), what }
    }
}

/// What a status means, in words.
fn why(answer: &Response) -> &'static str {
    let spent =
        answer.header("x-ratelimit-remaining") == Some("0") || answer.header("ratelimit-remaining") == Some("0");
    match answer.status {
        401 => "the token is not accepted",
        403 | 429 if spent => "the rate limit is used up",
        403 => "the token may not read this",
        429 => "too many requests",
        300..=399 => "the repository has moved: correct the remote",
        500..=599 => "it is in trouble",
        _ => "not an answer of its API",
    }
}

/// A short, harmless text of an answer.
fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Who stands behind the commits of a change request: accounts where the forge knows them, else addresses and names.
fn authors(commits: &[Json]) -> Vec<String> {
    let mut out = std::collections::BTreeSet::new();
    for commit in commits {
        for who in ["author", "committer"] {
            out.insert(text(&commit[who]["login"]));
            out.insert(text(&commit["commit"][who]["email"]));
            out.insert(text(&commit[format!("{who}_email").as_str()]));
            let name = text(&commit[format!("{who}_name").as_str()]);
            out.insert(if name.is_empty() { name } else { format!("name:{name}") });
        }
    }
    // GitHub's own hand presses the button.
    let own = ["", "web-flow", "noreply@github.com"];
    let lower: std::collections::BTreeSet<String> = out.into_iter().map(|a| a.to_lowercase()).collect();
    lower.into_iter().filter(|a| !own.contains(&a.as_str())).collect()
}

fn time(value: &Json) -> Option<Timestamp> {
    value.as_str().and_then(Timestamp::parse)
}
