//! Customers: a steady mix of requests against the shop until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::net::{Client, Request};

/// Requests per second.
pub const RATE: u32 = 30;

/// Of every ten requests seven look at the products and three buy. The front page is left to the gates, which count what
/// they send.
const MIX: [(&str, &str); 10] = [
    ("GET", "/api/products"),
    ("GET", "/api/products"),
    ("POST", "/api/checkout"),
    ("GET", "/api/products"),
    ("GET", "/api/products"),
    ("POST", "/api/checkout"),
    ("GET", "/api/products"),
    ("GET", "/api/products"),
    ("POST", "/api/checkout"),
    ("GET", "/api/products"),
];

/// Sends the mix at [`RATE`], each request on its own so that a slow answer holds up nobody.
/// Nobody comes while `closed` is set: gates that count requests want the target for themselves.
pub async fn run(base: Url, client: Client, closed: Arc<AtomicBool>, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / RATE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    for turn in 0usize.. {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        if closed.load(Ordering::Relaxed) {
            continue;
        }
        let (method, path) = MIX[turn % MIX.len()];
        let Ok(url) = base.join(path) else { return };
        let request = match method {
            "POST" => Request::post(url, "application/json", "{\"product\":1}"),
            _ => Request::get(url),
        };
        let client = client.clone();
        tokio::spawn(async move {
            // A customer does not care why it failed; the shop's own metrics count it.
            let _ = client.send(request.timeout(Duration::from_secs(5))).await;
        });
    }
}
