//! Series kept at a Prometheus, Mimir, Thanos or VictoriaMetrics that already is there, for whoever has outgrown one
//! machine: what is collected leaves by remote write 1.0, queries are answered by its PromQL.
//!
//! `send.rs` empties the durable queue of `store/samples/outgoing.rs`, with `domain/remote_write.rs` for the bytes; `read.rs` asks the
//! HTTP API, with `answer.rs` for what comes back. The samples here stay for their retention: nothing is lost while the
//! other side is away.

mod answer;
mod read;
mod selector;
mod send;

use std::sync::Arc;

use crate::domain::secret::{SecretError, authorization};
use crate::net::{Client, Request};
use crate::store::{Engine, Remote, Store};

pub use read::Reader;
pub use send::{Delivered, Sender};

/// The store as the configuration wants it read.
pub fn attach(store: Store, engine: &Engine) -> Store {
    match engine.remote() {
        Some(remote) => store.read_from(Arc::new(Reader::new(remote, Client::new()))),
        None => store,
    }
}

/// Who we say we are: read at each request.
fn sign(remote: &Remote, mut request: Request) -> Result<Request, SecretError> {
    if let Some(value) = authorization(remote.bearer_token.as_ref(), remote.basic_auth.as_ref())? {
        request = request.header("authorization", value);
    }
    Ok(match &remote.tenant {
        Some(tenant) => request.header("x-scope-orgid", tenant),
        None => request,
    })
}

/// What to do about a status that no second try will change; empty when the body says more.
fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => "check bearer_token, basic_auth and tenant in [store] engine",
        404 | 405 => {
            "check the path: `prometheus` is the URL before /api/v1, `write` is whole, and a Prometheus must run \
             with --web.enable-remote-write-receiver"
        }
        300..=399 => "it redirects: write the final address into [store] engine",
        413 => "its limit on a request's body is below 1 MiB: raise it",
        _ => "",
    }
}

/// The beginning of a body, as one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(1000)]);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    crate::domain::secret::redact(&line)
}
