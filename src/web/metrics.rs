//! `/metrics`: hypercare about itself, as OpenMetrics. Most figures are read from the store when asked, so that they are
//! true after a restart too; what only this process knows comes from `telemetry::own`.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::App;
use super::problem::store_failed;
use crate::domain::alert::AlertState;
use crate::domain::clock::Timestamp;
use crate::domain::launch::LaunchState;
use crate::store::{StoreError, WriterStats};
use crate::telemetry::own;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn metrics(State(app): State<App>) -> Response {
    let figures = match Figures::read(&app).await {
        Ok(figures) => figures,
        Err(error) => return store_failed(&error),
    };
    let mut registry = Registry::with_prefix("hypercare");
    registry.register_collector(Box::new(figures));
    let mut body = String::new();
    let printed = text::encode_registry(&mut body, own::registry())
        .and_then(|()| text::encode_registry(&mut body, &registry))
        .and_then(|()| text::encode_eof(&mut body));
    match printed {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(error) => store_failed(&error),
    }
}

/// What a family counts.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Gauge,
    /// The name ends in `_total` when printed.
    Counter,
}

type Labels = Vec<(&'static str, String)>;

/// Name, help, kind, and a value for each label set.
type Family = (&'static str, &'static str, Kind, Vec<(Labels, f64)>);

/// (name, help, kind, samples), in print order.
#[derive(Debug, Default)]
struct Figures(Vec<Family>);

impl Figures {
    fn add(&mut self, name: &'static str, help: &'static str, kind: Kind, samples: Vec<(Labels, f64)>) {
        if !samples.is_empty() {
            self.0.push((name, help, kind, samples));
        }
    }

    async fn read(app: &App) -> Result<Figures, StoreError> {
        let (state, samples, now) = (&app.store.state, &app.store.samples, app.now());
        let one = |v: f64| vec![(Labels::new(), v)];
        let seconds = |t: Timestamp| t.seconds();
        let mut f = Figures::default();

        let version = vec![(vec![("version", env!("CARGO_PKG_VERSION").to_string())], 1.0)];
        f.add("build_info", "Version of this program.", Kind::Gauge, version);
        f.add("uptime_seconds", "Since this process started serving.", Kind::Gauge, one(app.uptime().as_secs_f64()));
        f.add(
            "ready",
            "1 once rules were evaluated on this boot.",
            Kind::Gauge,
            one(f64::from(u8::from(app.ready.load(Ordering::Relaxed)))),
        );

        let launches = state.launches().await?;
        let by_state = |word: LaunchState| launches.iter().filter(|l| l.state == word).count() as f64;
        let states = LaunchState::ALL.into_iter().map(|s| (vec![("state", s.word().into())], by_state(s))).collect();
        f.add("launches", "Launches by state.", Kind::Gauge, states);

        let mut firing: BTreeMap<(String, &str), f64> = BTreeMap::new();
        for alert in state.alerts().await?.iter().filter(|a| a.state != AlertState::Inactive) {
            *firing.entry((alert.service.clone(), alert.state.word())).or_default() += 1.0;
        }
        let alerts = firing.into_iter().map(|((s, w), n)| (vec![("service", s), ("state", w.into())], n)).collect();
        f.add("alerts", "Alerts by state.", Kind::Gauge, alerts);

        let depths = state.outbox_depths().await?;
        let channel = |name: &str| vec![("channel", name.to_string())];
        let depth = |v: &dyn Fn(&crate::store::state::outbox::OutboxDepth) -> f64| {
            depths.iter().map(|d| (channel(&d.channel), v(d))).collect::<Vec<_>>()
        };
        f.add("outbox_pending", "Messages that wait.", Kind::Gauge, depth(&|d| d.pending as f64));
        f.add("outbox_dead", "Messages given up.", Kind::Gauge, depth(&|d| d.dead as f64));
        f.add(
            "outbox_oldest_age_seconds",
            "Age of the oldest message that waits.",
            Kind::Gauge,
            depth(&|d| d.oldest_pending.map_or(0.0, |t| now.since(t).as_secs_f64())),
        );
        let tries = state.delivery_counts().await?;
        let tries = tries.into_iter().map(|(c, o, n)| (vec![("channel", c), ("outcome", o)], n as f64)).collect();
        f.add("delivery", "Tries to deliver a message.", Kind::Counter, tries);

        let items = state.feedback_counts().await?;
        let items = items.into_iter().map(|(s, n)| (vec![("source", s)], n as f64)).collect();
        f.add("feedback_items", "Feedback items kept.", Kind::Gauge, items);
        let mut heard = Vec::new();
        for service in app.services.keys() {
            for source in state.feedback_freshness(service).await? {
                if let Some(at) = source.last_ok_poll {
                    heard.push((vec![("source", source.source)], seconds(at)));
                }
            }
        }
        f.add("source_last_ok_timestamp_seconds", "Last good poll of a feedback source.", Kind::Gauge, heard);

        let gaps = samples.gap_totals().await?;
        let gaps = gaps.into_iter().map(|(reason, ms)| (vec![("reason", reason)], ms as f64 / 1000.0)).collect();
        f.add("gap_seconds", "Time in which a target was not seen, within retention.", Kind::Gauge, gaps);

        let stats = samples.stats().await?;
        f.add("series", "Series in the store.", Kind::Gauge, one(stats.series as f64));
        f.add("head_samples", "Samples in memory.", Kind::Gauge, one(stats.head_samples as f64));
        f.add("page_samples", "Samples in sealed pages.", Kind::Gauge, one(stats.page_samples as f64));
        f.add("page_bytes", "Size of the sealed pages.", Kind::Gauge, one(stats.page_bytes as f64));
        f.add("rollup_bytes", "Size of the rollups.", Kind::Gauge, one(stats.rollup_bytes as f64));
        if let Some(waiting) = samples.waiting().await? {
            let behind = waiting.oldest.map_or(0.0, |t| now.since(t).as_secs_f64());
            f.add(
                "unsent_samples",
                "Samples that wait for the store elsewhere.",
                Kind::Gauge,
                one(waiting.samples as f64),
            );
            f.add("unsent_oldest_age_seconds", "Age of the oldest of them.", Kind::Gauge, one(behind));
        }
        let file = |name: &str, v: f64| (vec![("file", name.to_string())], v);
        let bytes = vec![file("samples", stats.file_bytes as f64), file("state", state.file_bytes() as f64)];
        f.add("db_bytes", "Size of the database files with their logs.", Kind::Gauge, bytes);
        let writer = |v: &dyn Fn(&WriterStats) -> f64| {
            vec![file("samples", v(samples.writer_stats())), file("state", v(state.writer_stats()))]
        };
        let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed) as f64;
        f.add("writer_queue_depth", "Writes that wait.", Kind::Gauge, writer(&|w| count(&w.queued)));
        f.add("writer_txns", "Transactions committed.", Kind::Counter, writer(&|w| count(&w.commits)));
        f.add("writer_failures", "Transactions failed.", Kind::Counter, writer(&|w| count(&w.failures)));
        let busy = writer(&|w| count(&w.busy_micros) / 1e6);
        f.add("writer_txn_seconds", "Time spent in transactions.", Kind::Counter, busy);
        Ok(f)
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        for (name, help, kind, samples) in &self.0 {
            let metric_type = match kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
            };
            let print = |value: f64, encoder: MetricEncoder| match kind {
                Kind::Gauge => ConstGauge::new(value).encode(encoder),
                Kind::Counter => ConstCounter::new(value).encode(encoder),
            };
            let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
            match samples.as_slice() {
                // As a family it would print empty braces.
                [(labels, value)] if labels.is_empty() => print(*value, family)?,
                samples => {
                    for (labels, value) in samples {
                        print(*value, family.encode_family(labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}
