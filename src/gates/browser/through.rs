//! The usual way out of a page: its requests go through the safety engine, so that authorisation, pace, budget and ledger
//! hold for a browser as for everything else. What was read once is not asked for again in the same run.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;
use url::Url;

use super::{Asked, Interceptor, Reply};
use crate::net::safety::{PAGE_PART_BYTES_MAX, Prober};
use crate::net::{NetError, Redirects, Request};

/// Answers that are kept, in bytes.
const KEPT_BYTES_MAX: usize = 64 << 20;
const KEPT_MAX: usize = 1000;

/// Headers that are ours to set, or the connection's.
const NOT_PASSED_ON: [&str; 5] = ["host", "user-agent", "accept-encoding", "connection", "content-length"];

/// Sends a page's requests by probers of one gate.
pub struct Through {
    /// Reads.
    passive: Prober,
    /// Writes that the page makes by itself (GraphQL asks by POST); `None`: they are refused.
    active: Option<Prober>,
    /// Sent to the target's origin: what signs an actor in.
    headers: Vec<(String, String)>,
    origin: url::Origin,
    kept: Mutex<HashMap<String, Arc<OnceCell<Reply>>>>,
    bytes: AtomicUsize,
    /// Hosts that were not reached, with how often.
    refused: Mutex<BTreeMap<String, u64>>,
    /// Why the target could not be asked, the first time.
    trouble: Mutex<Option<NetError>>,
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Through {
    pub fn new(passive: Prober, active: Option<Prober>, base: &Url, headers: Vec<(String, String)>) -> Through {
        Through {
            passive: passive.for_pages(),
            active: active.map(Prober::for_pages),
            headers,
            origin: base.origin(),
            kept: Mutex::default(),
            bytes: AtomicUsize::new(0),
            refused: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// Hosts that pages asked for and the safety engine does not allow, with how often.
    pub fn refused(&self) -> BTreeMap<String, u64> {
        held(&self.refused).clone()
    }

    /// Why an allowed host could not be asked, the first time.
    pub fn trouble(&self) -> Option<NetError> {
        held(&self.trouble).clone()
    }

    async fn send(&self, asked: Asked) -> Reply {
        let prober = match (asked.method.as_str(), &self.active) {
            ("GET" | "HEAD" | "OPTIONS", _) | (_, None) => &self.passive,
            (_, Some(active)) => active,
        };
        let mut request = Request { redirects: Redirects::None, ..Request::get(asked.url.clone()) };
        request.body_bytes_limit = PAGE_PART_BYTES_MAX;
        request.method = asked.method.clone();
        request.body = asked.body.clone().unwrap_or_default().into();
        let passes = |name: &str| {
            let name = name.to_ascii_lowercase();
            !name.starts_with("sec-") && !name.starts_with("proxy-") && !NOT_PASSED_ON.contains(&name.as_str())
        };
        request.headers = asked.headers.iter().filter(|(n, _)| passes(n)).cloned().collect();
        if asked.url.origin() == self.origin {
            for (name, value) in &self.headers {
                if asked.header(name).is_none() {
                    request.headers.push((name.clone(), value.clone()));
                }
            }
        }
        match prober.send(request).await {
            Ok(answer) => Reply::Answer { status: answer.status, headers: answer.headers, body: answer.body },
            Err(NetError::Refused(_)) => {
                let host = asked.url.host_str().unwrap_or("?").chars().take(100).collect();
                let mut refused = held(&self.refused);
                if refused.len() < 100 || refused.contains_key(&host) {
                    *refused.entry(host).or_default() += 1;
                }
                Reply::Fail("BlockedByClient")
            }
            Err(error) => {
                let reason = if matches!(error, NetError::Timeout(_)) { "TimedOut" } else { "ConnectionFailed" };
                held(&self.trouble).get_or_insert(error);
                Reply::Fail(reason)
            }
        }
    }
}

impl Interceptor for Through {
    fn answer<'a>(&'a self, asked: Asked) -> BoxFuture<'a, Reply> {
        Box::pin(async move {
            if asked.method != "GET" {
                return self.send(asked).await;
            }
            let slot = {
                let mut kept = held(&self.kept);
                let room = kept.len() < KEPT_MAX && self.bytes.load(Ordering::Relaxed) < KEPT_BYTES_MAX;
                match kept.get(asked.url.as_str()) {
                    Some(slot) => Some(slot.clone()),
                    None if room => Some(kept.entry(asked.url.to_string()).or_default().clone()),
                    None => None,
                }
            };
            let Some(slot) = slot else { return self.send(asked).await };
            let fetch = async {
                let reply = self.send(asked).await;
                if let Reply::Answer { body, .. } = &reply {
                    self.bytes.fetch_add(body.len(), Ordering::Relaxed);
                }
                reply
            };
            slot.get_or_init(|| fetch).await.clone()
        })
    }
}
