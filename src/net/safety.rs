//! The safety engine: the one choke point through which gates reach a target. Authorisation, budgets, circuit breaker,
//! deny list, request ledger. A refusal exits 4 and names the host.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use super::client::{Client, NetError, Request, Response};
use crate::domain::clock::SharedClock;

/// `[gates] safety = {…}`: what one gate may spend on one target.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Safety {
    /// Requests per second.
    pub rps: u32,
    /// Connections at once.
    pub concurrency: u32,
    /// Requests per gate.
    pub max_requests: u64,
}

impl Default for Safety {
    fn default() -> Self {
        Safety { rps: 10, concurrency: 4, max_requests: 5000 }
    }
}

/// One entry of `[gates] target = […]`.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `staging`, `production`, …
    pub name: String,
    pub url: Url,
    /// Where operators' endpoints live (`/metrics`, `/health`); default: `url`.
    #[serde(default)]
    pub ops_url: Option<Url>,
    /// Active probes may run. Never true for production.
    #[serde(default)]
    pub active: bool,
    /// The load test may run.
    #[serde(default)]
    pub load: bool,
}

/// What a gate wants to do to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Plain GETs a browser might send.
    Passive,
    /// Probes that try to break something.
    Active,
    /// The load lane.
    Load,
}

/// Shared by all gates of one run.
pub struct Guard {
    // filled in with the room
    pub client: Client,
    pub safety: Safety,
    pub targets: Vec<Target>,
    /// `DIR/requests.ndjson` is the ledger.
    pub run_dir: PathBuf,
    pub run: String,
    pub clock: SharedClock,
}

impl Guard {
    pub fn new(
        _client: Client,
        _safety: Safety,
        _targets: Vec<Target>,
        _run_dir: PathBuf,
        _run: String,
        _clock: SharedClock,
    ) -> std::io::Result<Arc<Guard>> {
        unimplemented!()
    }
    /// May `url` be touched with this intent? Loopback is implicitly allowed; any other host needs a declared target
    /// (Active and Load: `active`/`load = true` plus proof of control).
    pub async fn authorise(&self, _url: &Url, _intent: Intent) -> Result<(), NetError> {
        unimplemented!()
    }
    /// The prober of one gate, with a budget of its own.
    pub fn prober(self: &Arc<Guard>, _gate: &str, _intent: Intent) -> Prober {
        unimplemented!()
    }
}

/// A gate's way to a target. Cheap to clone; the budget is shared by the clones.
#[derive(Clone)]
pub struct Prober {}

impl Prober {
    /// Adds `User-Agent` and `X-Hypercare-Run`, waits for its turn in the budget, writes the ledger, never follows a
    /// redirect to another host, caps the body at 1 MiB.
    pub async fn send(&self, _request: Request) -> Result<Response, NetError> {
        unimplemented!()
    }
    pub async fn get(&self, _url: Url) -> Result<Response, NetError> {
        unimplemented!()
    }
    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        unimplemented!()
    }
}
