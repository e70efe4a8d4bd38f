//! What a request asks: query string and form together, with Prometheus' ways of writing times and durations.

use std::time::Duration;

use axum::body::Bytes;

use crate::domain::clock::Timestamp;
use crate::domain::metric::Matcher;
use crate::promql::{self, Notes, Options};

use super::Problem;

/// Queries from outside take at most this long, however long they ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Milliseconds: later than any sample, and far from overflow.
pub(super) const EVER: i64 = i64::MAX / 1_000_000;

/// Parameters of the query string and, for POST, of the form; the form comes first.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn read(query: Option<&str>, body: &Bytes) -> Params {
        let pairs = |bytes: &[u8]| url::form_urlencoded::parse(bytes).into_owned().collect::<Vec<_>>();
        let mut all = pairs(body);
        all.extend(pairs(query.unwrap_or("").as_bytes()));
        Params(all)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
    }

    pub(super) fn time(&self, name: &str, default: Option<Timestamp>) -> Result<Timestamp, Problem> {
        match (self.get(name), default) {
            (None, Some(default)) => Ok(default),
            (given, _) => {
                let given = given.unwrap_or("");
                let complain = || Problem::bad(name, format!("cannot parse {given:?} to a valid timestamp"));
                Timestamp::parse(given).ok_or_else(complain)
            }
        }
    }

    /// Seconds, or a duration such as `15s`.
    pub(super) fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        let Some(given) = self.get(name) else { return Ok(None) };
        let complain = || Problem::bad(name, format!("cannot parse {given:?} to a valid duration"));
        let seconds = given.parse::<f64>().ok().or_else(|| promql::duration_seconds(given)).ok_or_else(complain)?;
        if seconds <= 0.0 {
            return Ok(Some(Duration::ZERO));
        }
        Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| complain())
    }

    /// How many elements may be answered; `None` is all.
    pub(super) fn limit(&self, name: &str) -> Result<Option<usize>, Problem> {
        let Some(given) = self.get(name) else { return Ok(None) };
        match given.parse::<i64>() {
            Ok(limit) if limit < 0 => Err(Problem::bad(name, "limit must be non-negative")),
            Ok(limit) => Ok(usize::try_from(limit).ok().filter(|l| *l > 0)),
            Err(_) => Err(Problem::bad(name, format!("cannot parse {given:?} to a valid limit"))),
        }
    }

    pub(super) fn options(&self, mut options: Options) -> Result<Options, Problem> {
        options.timeout = options.timeout.min(self.duration("timeout")?.unwrap_or(TIMEOUT_MAX)).min(TIMEOUT_MAX);
        let lookback = self.duration("lookback_delta").map_err(|_| {
            let given = self.get("lookback_delta").unwrap_or("");
            Problem::bad_data(format!(
                "error parsing lookback delta duration: cannot parse {given:?} to a valid duration"
            ))
        })?;
        if let Some(lookback) = lookback.filter(|l| !l.is_zero()) {
            options.lookback = lookback;
        }
        Ok(options)
    }

    pub(super) fn expr(&self) -> Result<promql::Expr, Problem> {
        promql::parse(self.get("query").unwrap_or("")).map_err(Problem::from)
    }

    /// `match[]`, each a vector selector, with the period to look at: all there is when none is given.
    pub(super) fn matches(&self) -> Result<(Vec<Vec<Matcher>>, Timestamp, Timestamp), Problem> {
        let end = self.time("end", Some(Timestamp::from_ms(EVER)))?;
        let start = self.time("start", Some(Timestamp::from_ms(-EVER)))?;
        let mut all = Vec::new();
        for given in self.all("match[]") {
            let expr = promql::parse(given).map_err(|e| {
                let message = e.to_string();
                let empty = message.contains("at least one non-empty matcher");
                if empty {
                    Problem::bad("match[]", "match[] must contain at least one non-empty matcher")
                } else {
                    Problem::bad("match[]", message)
                }
            })?;
            match expr.plain_selector() {
                Some(matchers) => all.push(matchers.to_vec()),
                None => return Err(Problem::bad("match[]", "expected a vector selector")),
            }
        }
        Ok((all, start, end))
    }
}

/// Cuts to the limit and says so.
pub(super) fn truncate<T>(all: &mut Vec<T>, limit: Option<usize>, notes: &mut Notes) {
    if let Some(limit) = limit.filter(|l| all.len() > *l) {
        all.truncate(limit);
        notes.warnings.push("results truncated due to limit".into());
    }
}
