//! What was normal before go-live: captured once, frozen with the launch, judged against ever after.

use std::time::Duration;

use super::gather::{Ask, roles};
use super::{ReportError, signals};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::domain::gap::Gap;
use crate::domain::service::ServiceConfig;
use crate::store::Store;
use crate::store::state::baseline::{Baseline, BaselineSeries};

/// Reads every signal of the service in `[from, to]`, in buckets of a 288th of the *launch window's* usual length
/// (`interval` is that of the samples): five minutes for a day, seconds for a demo. Buckets that touch a gap of the
/// daemon are left out. Pure but for reading; `store.state.freeze_baseline` keeps it.
///
/// `from` to `to` is the time before go-live that counts as normal; the caller has taken its guard off.
pub async fn capture(
    store: &Store,
    service: (&str, &ServiceConfig),
    window: (Timestamp, Timestamp),
    interval: Duration,
    now: Timestamp,
    launch: &str,
) -> Result<Baseline, ReportError> {
    let (from, to) = window;
    let bucket = signals::bucket(to.since(from), interval);
    let rate_window = signals::rate_window(bucket, interval);
    let roles = roles(store, service.0, service.1, from, to).await?;
    let reader = store.reader();
    let ask = Ask::new(&*reader, rate_window);
    let gaps = store.samples.gaps(from, to).await?;
    let mut series = Vec::new();
    for signal in signals::signals(service.0, &roles, rate_window) {
        let mut points = ask.range(&signal.query, from.plus(bucket), to, bucket).await?;
        points.retain(|p| !gaps.iter().any(|g| covers(g, p.0.minus(bucket), p.0)));
        let due = (to.since(from).as_millis() / bucket.as_millis().max(1)) as f64;
        series.push(BaselineSeries {
            name: signal.name,
            query: signal.query,
            unit: signal.unit.word().into(),
            coverage: if due > 0.0 { (points.len() as f64 / due).min(1.0) } else { 0.0 },
            points,
        });
    }
    series.retain(|s| !s.points.is_empty());
    let hash = sha256_hex(&serde_json::to_vec(&series).unwrap_or_default());
    Ok(Baseline { launch: launch.into(), frozen_at: now, from, to, hash, series })
}

fn covers(gap: &Gap, from: Timestamp, to: Timestamp) -> bool {
    gap.target == "*" && gap.from < to && gap.to > from
}
