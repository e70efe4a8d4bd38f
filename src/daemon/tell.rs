//! Writes the report at the window's end, and the postmortem when the launch went wrong; stores them together with the
//! outbox rows that send them.

use std::time::Duration;

use super::{ReportFormat, Setup};
use crate::domain::clock::Timestamp;
use crate::domain::launch::Launch;
use crate::report::{self, Documents, Inputs, NoticeContext, ReportError};
use crate::sources::metric::From;
use crate::store::Store;

/// Builds every document of `launch` as of `as_of`, stores them and enqueues the mail. Once per (launch, kind, as_of):
/// a second call changes nothing. Returns the documents.
pub async fn write(
    store: &Store,
    setup: &Setup,
    launch: &Launch,
    as_of: Timestamp,
    made_at: Timestamp,
) -> Result<Documents, ReportError> {
    let documents = report::documents(store, &inputs(setup, launch, as_of)).await?;
    let config = setup.launch_config(&launch.service).report;
    let formats = config.formats.iter().filter_map(|f| match f {
        ReportFormat::Html => Some("html"),
        ReportFormat::Md => Some("md"),
        ReportFormat::Json => Some("json"),
        ReportFormat::Pdf => None,
    });
    let context = NoticeContext { channels: config.to, formats: formats.map(str::to_string).collect(), now: made_at };
    let rows = report::stored(&documents, made_at);
    let notices = report::notices(&documents, &rows, &context)?;
    store.state.save_reports(rows, notices).await?;
    Ok(documents)
}

/// What the report of `launch` is a function of, besides the database.
pub fn inputs(setup: &Setup, launch: &Launch, as_of: Timestamp) -> Inputs {
    let service = setup.services.get(&launch.service).cloned().unwrap_or_default();
    let ours = setup.objectives.iter().filter(|o| o.service.as_deref().is_none_or(|s| s == launch.service));
    Inputs {
        slos: ours.map(|o| (o.objective.name.clone(), o.objective.clone())).collect(),
        interval: interval(setup, &launch.service),
        config_hash: setup.config_hash.clone(),
        ..Inputs::new(&launch.id, as_of, service)
    }
}

/// The finest interval at which the service's series arrive.
pub fn interval(setup: &Setup, service: &str) -> Duration {
    let only = setup.only_service();
    let of = |named: &Option<String>| named.as_deref().or(only.as_deref()).is_none_or(|s| s == service);
    let intervals = setup.metrics.values().filter_map(|m| match &m.from {
        From::Prometheus(c) if of(&c.service) => Some(c.interval.get()),
        From::Prometheus(_) | From::Http(_) | From::Host(_) => None,
    });
    intervals.min().unwrap_or(Duration::from_secs(15))
}
