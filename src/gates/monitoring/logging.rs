//! Gate `monitoring.logging`: does what happens reach the log, in time, readable by machines, and without secrets?
//!
//! At 3 a.m. the log is all there is. A logger in the manifest proves nothing: marked requests are sent, and their lines
//! must arrive where people will look (`logs/source.rs`). The requests carry a made-up bearer token, and where the target
//! is open to writes a made-up password and card number: none may come back in a line (ASVS 5 16.2.5), and a line end in a
//! request must not begin a line of its own (ASVS 5 16.4.1, CWE-117). To fix a failure: check the transport, redact fields.

mod judge;

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::logs::canary::Canary;
use super::logs::source::{Source, unread};
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::web::trouble;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use crate::net::safety::{Intent, Target};
use crate::net::{NetError, Request};

pub struct Logging;

pub static ABOUT: About = About {
    id: "monitoring.logging",
    section: Section::Monitoring,
    class: Class::B,
    line: "logging integrated (Winston, Pino, ELK, Datadog, etc.)",
    min_tier: Tier::E3,
    attestable: false,
    stage: Stage::Passive,
    lock: Lock::TargetShared,
    needs: &[],
    // Five times the longest max_lag, and the looks themselves.
    timeout: Duration::from_secs(1800),
    skipped_for: &[],
    reads: "five marked requests to a path that does not exist, and the log of [gates.monitoring.logs] since: a file, or \
            what a command prints",
    decides: "each request leaves a line within max_lag (up to five times as long warns), as JSON or logfmt with a zoned \
              time, where all instances' logs come together; no token, password or card number comes back, no request \
              forges a line; nothing arriving fails; no log to look into is an error",
    fix: "check the log transport and redact sensitive fields",
};

impl Gate for Logging {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { follow(ctx).await.unwrap_or_else(|outcome| *outcome) })
    }
}

/// Marked requests.
pub(super) const REQUESTS: usize = 5;
/// Up to so many times max_lag is waited.
const PATIENCE: u32 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What a request leaves may take a moment longer than its first line.
const STRAGGLERS: Duration = Duration::from_secs(1);

async fn follow(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.monitoring.logs;
    let target = ctx.need_target()?;
    let source = Source::open(ctx, ctx.clock.now())?;
    let canary =
        Canary::fresh().ok_or_else(|| Box::new(Outcome::error("no-canary", "the system gives no random numbers")))?;
    let writes = send(ctx, target, &canary).await.map_err(|e| Box::new(trouble(&e)))?;
    let (sent_at, limit) = (Instant::now(), config.max_lag.get() * PATIENCE);
    let seen = loop {
        let read = source.read().await;
        let complete = match &read {
            Ok(lines) => canary.look(lines, REQUESTS).is_complete(),
            Err(_) => false,
        };
        let over = sent_at.elapsed() >= limit;
        if complete || over {
            let lag = complete.then(|| sent_at.elapsed());
            tokio::time::sleep(STRAGGLERS).await;
            let lines = source.read().await.map_err(|why| Box::new(unread(&config.name(), &why)))?;
            let sighting = canary.look(&lines, REQUESTS);
            let sample = lines.lines.iter().find(|l| l.contains(&canary.nonce)).map(|l| canary.mask(l));
            break judge::Seen { sighting, lag, writes, sample, source: config.name(), central: config.is_central() };
        }
        let waited = sent_at.elapsed().as_secs();
        (ctx.progress)(ABOUT.id, &format!("{REQUESTS} requests sent, waiting {waited} s for their lines"));
        tokio::time::sleep(LOOK_EVERY).await;
    };
    Ok(judge::judge(&seen, config))
}

/// Five requests to paths of the canary; gives whether one of them could carry a body.
async fn send(ctx: &GateContext, target: &Target, canary: &Canary) -> Result<bool, NetError> {
    let (passive, active) = (ctx.prober(ABOUT.id, Intent::Passive), ctx.prober(ABOUT.id, Intent::Active));
    let writes = target.active && !target.is_production();
    for nth in 0..REQUESTS {
        let mut url = target.url.clone();
        url.set_path(&format!("{}{}", target.url.path().trim_end_matches('/'), canary.path(nth)));
        url.set_query((nth == 2).then(|| format!("note=a%0D%0A{}", canary.forged_start())).as_deref());
        let request = match nth {
            1 => Request::get(url).header("authorization", format!("Bearer {}", canary.bearer)),
            3 if writes => {
                let body = serde_json::json!({"password": canary.password, "card_number": canary.card});
                Request::post(url, "application/json", body.to_string())
            }
            _ => Request::get(url),
        };
        // W3C Trace Context: whoever follows the trace finds the line.
        let trace = format!("00-{:0>32}-{:016x}-01", canary.nonce.trim_start_matches("hcv"), nth + 1);
        let prober = if request.method == "POST" { &active } else { &passive };
        prober.send(Request { truncate: true, ..request.header("traceparent", trace) }).await?;
    }
    Ok(writes)
}

#[cfg(test)]
mod tests;
