//! `query`, `query_range`, `query_exemplars`, `format_query`.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{RawQuery, State};

use super::params::{EVER, Params, truncate};
use super::{Answer, Backend, Problem, json, plain, success};
use crate::domain::clock::Timestamp;
use crate::promql::{self, POINTS_MAX, Value};

pub(super) async fn instant<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let started = Instant::now();
    let params = Params::read(query.as_deref(), &body);
    let limit = params.limit("limit")?;
    let at = params.time("time", Some(backend.clock().now()))?;
    let options = params.options(backend.options())?;
    let expr = params.expr()?;
    let mut answer = promql::answer_instant(&*backend.reader(), &expr, at, &options).await?;
    match &mut answer.value {
        Value::Vector(elements) => truncate(elements, limit, &mut answer.notes),
        Value::Matrix(series) => truncate(series, limit, &mut answer.notes),
        Value::Scalar(_) | Value::String(_) => {}
    }
    let stats = stats(&params, started, answer.samples);
    Ok(success(&format!("{{{}{stats}}}", json::instant(&answer.value, at)), &answer.notes))
}

pub(super) async fn range<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let started = Instant::now();
    let params = Params::read(query.as_deref(), &body);
    let limit = params.limit("limit")?;
    let (start, end) = (params.time("start", None)?, params.time("end", None)?);
    if end < start {
        return Err(Problem::bad("end", "end timestamp must not be before start time"));
    }
    if params.get("step").is_none() {
        return Err(Problem::bad("step", "cannot parse \"\" to a valid duration"));
    }
    let step = params.duration("step")?.unwrap_or(Duration::ZERO);
    if step < Duration::from_millis(1) {
        let what = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Problem::bad("step", what));
    }
    let mut options = params.options(backend.options())?;
    options.points_max = options.points_max.min(POINTS_MAX);
    let expr = params.expr()?;
    let reader = backend.reader();
    // As in VictoriaMetrics; Prometheus ignores it.
    let mut answer = match params.get("nocache") {
        Some("1") => promql::answer_range(&*reader, &expr, start, end, step, &options).await?,
        _ => backend.cache().range(&*reader, &expr, start, end, step, &options).await?,
    };
    truncate(&mut answer.value, limit, &mut answer.notes);
    let stats = stats(&params, started, answer.samples);
    Ok(success(&format!("{{{}{stats}}}", json::range(&answer.value)), &answer.notes))
}

/// Samples carry no exemplars here.
pub(super) async fn exemplars(RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let start = params.time("start", Some(Timestamp::from_ms(0)))?;
    let end = params.time("end", Some(Timestamp::from_ms(EVER)))?;
    if end < start {
        return Err(Problem::bad_data("end timestamp must not be before start timestamp"));
    }
    params.expr().map_err(|e| Problem::bad_data(e.message.replace("invalid parameter \"query\": ", "")))?;
    Ok(plain("[]"))
}

pub(super) async fn format(RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    Ok(plain(json::text(&params.expr()?.pretty())))
}

/// `,"stats":{…}` when it is asked for.
fn stats(params: &Params, started: Instant, samples: usize) -> String {
    if params.get("stats").is_none() {
        return String::new();
    }
    let total = started.elapsed().as_secs_f64();
    format!(
        ",\"stats\":{{\"timings\":{{\"evalTotalTime\":{total},\"resultSortTime\":0,\"queryPreparationTime\":0,\
         \"innerEvalTime\":{total},\"execQueueTime\":0,\"execTotalTime\":{total}}},\
         \"samples\":{{\"totalQueryableSamples\":{samples},\"peakSamples\":{samples}}}}}"
    )
}
