//! Feedback sources: the trait and the registry.

pub mod feed;
pub mod form;
pub mod github;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::feedback::{Cursor, FeedbackPage};
use crate::domain::problem::Problem;
use crate::domain::secret::Revealed;
use crate::net::Client;

/// `[feedback.NAME]`: one place where users speak. The kind is a key: `[feedback.issues.from.github]`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub from: From,
}

/// The registry of feedback sources.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// Issues of a GitHub repository.
    Github(github::Config),
    /// RSS, Atom or JSON Feed.
    Feed(feed::Config),
    /// `POST /f/NAME` on the daemon: a form or a webhook of your own.
    Form(form::Config),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedbackError {
    /// 401, or 403 without rate-limit headers.
    #[error("not authorised: {0}")]
    Auth(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("answer not understood: {0}")]
    Malformed(String),
}

/// What building and polling needs.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: SharedClock,
    /// Keys the author hashes.
    pub instance_key: Revealed,
    pub default_service: Option<String>,
}

pub trait FeedbackSource: Send + Sync {
    /// One page after `after`. The first poll back-fills seven days.
    fn poll<'a>(&'a self, after: &'a Cursor, now: Timestamp) -> BoxFuture<'a, Result<FeedbackPage, FeedbackError>>;
}

/// A built source with its place in the house.
pub struct Feedback {
    pub name: String,
    pub service: String,
    pub interval: std::time::Duration,
    /// `None` for push-only sources (the form).
    pub source: Option<Box<dyn FeedbackSource>>,
}

pub fn build(_name: &str, _config: &Config, _ctx: &Context) -> Result<Feedback, Vec<Problem>> {
    unimplemented!()
}
