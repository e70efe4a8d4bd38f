//! Channels: the trait and the registry. One file each, one shape: `Config`, `validate`, `build`, `send`.

pub mod email;
pub mod webhook;

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::clock::SharedClock;
use crate::domain::notification::OutboxRow;
use crate::domain::problem::Problem;
use crate::net::Client;
use crate::notify::bucket::Rate;

/// `[channel.NAME]`: a way to reach people. The kind is a key: `[channel.oncall.via.email]`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub via: Via,
}

impl Via {
    /// The key in the file: `email`.
    pub fn kind(&self) -> &'static str {
        match self {
            Via::Email(_) => "email",
            Via::Webhook(_) => "webhook",
        }
    }
}

impl Config {
    /// Everything wrong with this entry, paths below `channel.NAME`. Pure: no network, no files.
    pub fn problems(&self) -> Vec<Problem> {
        match &self.via {
            Via::Email(config) => config.problems().into_iter().map(|p| p.under(&["via", "email"])).collect(),
            Via::Webhook(config) => config.problems().into_iter().map(|p| p.under(&["via", "webhook"])).collect(),
        }
    }
}

/// The registry of channels.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    Email(email::Config),
    Webhook(webhook::Config),
}

/// The remote side accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What it called the message, when it said so.
    pub remote_id: Option<String>,
    /// One line for `outbox show`: `250 2.0.0 queued`, `204 No Content`.
    pub detail: String,
}

/// A sender says whether to retry; it does not retry itself. Texts are redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("{detail}")]
    Retry { detail: String, after: Option<Duration> },
    #[error("{detail}")]
    Permanent { detail: String, disable: bool },
}

/// A file to attach, loaded by the dispatcher.
#[derive(Debug, Clone)]
pub struct AttachedFile {
    pub name: String,
    pub mime: String,
    pub bytes: Vec<u8>,
}

pub trait Channel: Send + Sync {
    /// Connect to last byte.
    fn timeout(&self) -> Duration;
    /// How much the other side takes.
    fn rate(&self) -> Rate;
    /// Rows on their way at once, each of another group.
    fn parallel(&self) -> u32 {
        1
    }
    /// Sends one row. The row's id is the idempotency key: the same on every try.
    fn send<'a>(&'a self, row: &'a OutboxRow, files: &'a [AttachedFile]) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub clock: SharedClock,
}

/// Builds one channel. Problems have paths below `channel.NAME`.
pub fn build(name: &str, config: &Config, ctx: &Context) -> Result<Box<dyn Channel>, Vec<Problem>> {
    match &config.via {
        Via::Email(email) => match email.build(name, ctx) {
            Ok(channel) => Ok(Box::new(channel)),
            Err(problems) => Err(problems.into_iter().map(|p| p.under(&["via", "email"])).collect()),
        },
        Via::Webhook(webhook) => match webhook.build(name, ctx) {
            Ok(channel) => Ok(Box::new(channel)),
            Err(problems) => Err(problems.into_iter().map(|p| p.under(&["via", "webhook"])).collect()),
        },
    }
}
