//! Phase-timed HTTP probe: resolve, connect, tls, processing, transfer, each hop timed, a fresh connection each time.

use std::net::IpAddr;
use std::time::Duration;

use super::client::{NetError, Request, Response};

/// Seconds per phase, summed over redirects. Names are blackbox_exporter's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Phases {
    pub resolve: Duration,
    pub connect: Duration,
    pub tls: Duration,
    pub processing: Duration,
    pub transfer: Duration,
}

#[derive(Debug, Clone)]
pub struct Probed {
    pub response: Response,
    pub phases: Phases,
    pub redirects: u32,
    pub address: IpAddr,
    pub tls_version: Option<String>,
}

/// Phases measured so far come with the error, so that a slow failure can be told from a fast one.
#[derive(Debug, Clone)]
pub struct ProbeFailed {
    pub error: NetError,
    pub phases: Phases,
}

/// Sends `request` over a new connection.
pub async fn probe(_request: Request) -> Result<Probed, ProbeFailed> {
    unimplemented!()
}
