//! `series`, `labels`, `label/NAME/values`.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};

use super::params::{Params, truncate};
use super::{Answer, Backend, Problem, internal, json, success};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Matcher, NAME};
use crate::domain::query::Listing;
use crate::promql::{Notes, QueryError};

/// Series that are looked through when there is no index.
const SCANNED_SAMPLES_MAX: usize = 5_000_000;

pub(super) async fn series<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let limit = params.limit("limit")?;
    let (matches, start, end) = params.matches()?;
    if matches.is_empty() {
        return Err(Problem::bad_data("no match[] parameter provided"));
    }
    let found = label_sets(&backend, matches, start, end).await?;
    let mut notes = Notes::default();
    let mut found: Vec<Labels> = found.into_iter().collect();
    truncate(&mut found, limit, &mut notes);
    let mut out = String::from("[");
    for (i, labels) in found.iter().enumerate() {
        out.push_str(if i > 0 { "," } else { "" });
        json::labels(&mut out, labels);
    }
    out.push(']');
    Ok(success(&out, &notes))
}

pub(super) async fn names<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let limit = params.limit("limit")?;
    let (matches, start, end) = params.matches()?;
    let reader = backend.reader();
    let names: Vec<String> = match (reader.engine(), matches.is_empty(), backend.samples()) {
        (Some(engine), ..) => {
            let of = Listing { matches: &matches, start, end };
            engine.label_names(of).await.map_err(QueryError::from)?
        }
        (None, true, Some(samples)) => samples.label_names().await.map_err(internal)?,
        _ => {
            let sets = label_sets(&backend, matches, start, end).await?;
            let names: BTreeSet<&str> = sets.iter().flat_map(|l| l.iter().map(|(n, _)| n)).collect();
            names.into_iter().map(str::to_string).collect()
        }
    };
    Ok(texts(names, limit))
}

pub(super) async fn values<B: Backend>(
    State(backend): State<B>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let name = unescape(&name);
    if name.is_empty() {
        return Err(Problem::bad_data("invalid label name: \"\""));
    }
    let params = Params::read(query.as_deref(), &Bytes::new());
    let limit = params.limit("limit")?;
    let (matches, start, end) = params.matches()?;
    let reader = backend.reader();
    let values: Vec<String> = match (reader.engine(), matches.is_empty(), backend.samples()) {
        (Some(engine), ..) => {
            let of = Listing { matches: &matches, start, end };
            engine.label_values(&name, of).await.map_err(QueryError::from)?
        }
        (None, true, Some(samples)) => samples.label_values(&name).await.map_err(internal)?,
        _ => {
            let sets = label_sets(&backend, matches, start, end).await?;
            let values: BTreeSet<&str> = sets.iter().filter_map(|l| l.get(&name)).collect();
            values.into_iter().map(str::to_string).collect()
        }
    };
    Ok(texts(values, limit))
}

fn texts(mut all: Vec<String>, limit: Option<usize>) -> axum::response::Response {
    let mut notes = Notes::default();
    truncate(&mut all, limit, &mut notes);
    success(&json::texts(&all), &notes)
}

/// A UTF-8 name in a path: `U__` in front, `__` for an underscore, `_HEX_` for what is not a letter or digit. What is
/// not such a name is one itself.
fn unescape(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_string() };
    let mut out = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once('_') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            out.push('_');
            rest = after;
            continue;
        }
        let code = after.split_once('_').filter(|(hex, _)| hex.len() <= 6);
        let read = code.and_then(|(hex, rest)| Some((char::from_u32(u32::from_str_radix(hex, 16).ok()?)?, rest)));
        let Some((c, after)) = read else { return name.to_string() };
        out.push(c);
        rest = after;
    }
    out + rest
}

/// Label sets that fit any of `matches` (all of them when there is none), sorted, each once.
async fn label_sets<B: Backend>(
    backend: &B,
    mut matches: Vec<Vec<Matcher>>,
    start: Timestamp,
    end: Timestamp,
) -> Result<BTreeSet<Labels>, Problem> {
    if matches.is_empty() {
        let everything = Matcher::regex(NAME, ".+").map_err(|e| Problem::bad("match[]", e))?;
        matches.push(vec![everything]);
    }
    if let Some(engine) = backend.reader().engine() {
        let of = Listing { matches: &matches, start, end };
        return Ok(engine.label_sets(of).await.map_err(QueryError::from)?.into_iter().collect());
    }
    let mut found = BTreeSet::new();
    for matchers in &matches {
        match backend.samples() {
            Some(samples) => found.extend(samples.series(matchers, start, end).await.map_err(internal)?),
            None => {
                let series = backend.reader().select(matchers, start, end, SCANNED_SAMPLES_MAX).await;
                found.extend(series.map_err(|e| Problem::from(QueryError::from(e)))?.into_iter().map(|s| s.labels));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod unescaping {
    use super::unescape;

    #[test]
    fn names_in_paths() {
        for (given, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___65e5_x", "日x"),
            ("U__a_zz_", "U__a_zz_"),
        ] {
            assert_eq!(unescape(given), name);
        }
    }
}
