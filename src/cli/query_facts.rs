//! What the query API says of rules and targets, from the configuration.

use std::net::SocketAddr;
use std::time::Duration;

use url::Url;

use crate::alerts::rulefile;
use crate::alerts::standing::Board;
use crate::daemon::Setup;
use crate::domain::clock::Timestamp;
use crate::domain::units::Span;
use crate::net::redact_url;
use crate::sources::metric::{From, prometheus};
use crate::web::prometheus_api::{Facts, Target};

/// Of scrapes that name none, as in `sources/metric`.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// A rule file with mistakes is left out: the daemon complains about it.
pub(super) fn of(setup: &Setup, board: Board, started: Timestamp, listen: SocketAddr) -> Facts {
    let files = setup.rule_files.iter().filter_map(|path| rulefile::read(path).ok());
    let targets = setup.metrics.iter().flat_map(|(name, config)| match &config.from {
        From::Prometheus(from) => targets(name, from, setup.only_service()),
        From::Http(_) | From::Host(_) => Vec::new(),
    });
    Facts {
        groups: files.flat_map(|f| f.groups).collect(),
        board,
        interval: setup.alerts.interval.get(),
        targets: targets.collect(),
        retention: setup.retention.get(),
        listen: listen.to_string(),
        started: Some(started),
    }
}

fn targets(job: &str, config: &prometheus::Config, only_service: Option<String>) -> Vec<Target> {
    let instances: Vec<String> = config.targets.iter().map(address).collect();
    let service = config.service.clone().or(only_service).unwrap_or_default();
    let timeout: Duration = config.timeout.map_or(TIMEOUT_DEFAULT.min(config.interval.get()), Span::get);
    let one = |(url, address): (&Url, &String)| {
        // Two exporters behind one address differ by their path.
        let shared = instances.iter().filter(|other| *other == address).count() > 1;
        let instance = if shared { format!("{address}{}", url.path()) } else { address.clone() };
        let mut url = url.clone();
        if url.path() == "/" {
            url.set_path("/metrics");
        }
        let own = [("job", job.to_string()), ("instance", instance), ("service", service.clone())];
        let mut labels = config.labels.clone();
        labels.extend(own.map(|(name, value)| (name.to_string(), value)));
        Target { pool: job.to_string(), url: redact_url(&url), labels, interval: config.interval.get(), timeout }
    };
    config.targets.iter().zip(&instances).map(one).collect()
}

fn address(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port_or_known_default().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}
