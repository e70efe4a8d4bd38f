//! `/api/v1/…` word for word Prometheus': `query`, `query_range`, `series`, `labels`, `label/NAME/values`, so that
//! Grafana and promtool work unchanged. Mount [`router`]; whatever holds the samples implements [`Backend`].
//!
//! Source of shapes and words: Prometheus 3, `web/api/v1/api.go`. Numbers are texts inside JSON, times are numbers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::metric::{Labels, Matcher, NAME, Sample, Series, SeriesReader};
use crate::domain::units::Span;
use crate::promql::{self, Options, POINTS_MAX, QueryError, Value, number};
use crate::store::Samples;

/// What the API reads.
pub trait Backend: Clone + Send + Sync + 'static {
    fn reader(&self) -> Arc<dyn SeriesReader>;
    fn clock(&self) -> SharedClock;
    /// The index of the samples store, which answers `labels` and `series` without reading samples.
    fn samples(&self) -> Option<Samples> {
        None
    }
    fn options(&self) -> Options {
        Options::default()
    }
}

/// Queries from outside take at most this long, however long they ask for.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// Series that `series` and `labels` look through when there is no index.
const SCANNED_SAMPLES_MAX: usize = 5_000_000;
/// `series` and `labels` look this far back when no start is given: Grafana always gives one, people rarely do.
const SERIES_WINDOW: Duration = Duration::from_secs(24 * 3600);

/// The routes, with their full paths.
pub fn router<B: Backend>(backend: B) -> Router {
    Router::new()
        .route("/api/v1/query", get(query::<B>).post(query::<B>))
        .route("/api/v1/query_range", get(query_range::<B>).post(query_range::<B>))
        .route("/api/v1/series", get(series::<B>).post(series::<B>))
        .route("/api/v1/labels", get(labels::<B>).post(labels::<B>))
        .route("/api/v1/label/{name}/values", get(label_values::<B>))
        .with_state(backend)
}

/// Prometheus' error envelope.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Problem {
    fn bad(parameter: &str, what: impl std::fmt::Display) -> Problem {
        let message = format!("invalid parameter {parameter:?}: {what}");
        Problem { status: StatusCode::BAD_REQUEST, kind: "bad_data", message }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        let message = error.to_string();
        let (status, kind) = match error {
            QueryError::Parse { .. } => return Problem::bad("query", message),
            QueryError::TooManyPoints { .. } => (StatusCode::BAD_REQUEST, "bad_data"),
            QueryError::Execution(_) | QueryError::TooManySamples { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "execution")
            }
            QueryError::Timeout(_) => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            QueryError::Read(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Problem { status, kind, message }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body =
            format!("{{\"status\":\"error\",\"errorType\":\"{}\",\"error\":{}}}", self.kind, text(&self.message));
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

type Answer = Result<Response, Problem>;

fn success(data: &str) -> Response {
    let body = format!("{{\"status\":\"success\",\"data\":{data}}}");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Parameters of the query string and, for POST, of the form; the form comes first.
struct Params(Vec<(String, String)>);

impl Params {
    fn read(query: Option<&str>, body: &Bytes) -> Params {
        let pairs = |bytes: &[u8]| url::form_urlencoded::parse(bytes).into_owned().collect::<Vec<_>>();
        let mut all = pairs(body);
        all.extend(pairs(query.unwrap_or("").as_bytes()));
        Params(all)
    }
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| v.as_str())
    }
    fn time(&self, name: &str, default: Option<Timestamp>) -> Result<Timestamp, Problem> {
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
    fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        let Some(given) = self.get(name) else { return Ok(None) };
        let complain = || Problem::bad(name, format!("cannot parse {given:?} to a valid duration"));
        match given.parse::<f64>() {
            Ok(seconds) if seconds.is_sign_negative() || seconds == 0.0 => Ok(Some(Duration::ZERO)),
            Ok(seconds) => Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| complain()),
            Err(_) => given.parse::<Span>().map(|s| Some(s.get())).map_err(|_| complain()),
        }
    }
    fn options(&self, mut options: Options) -> Result<Options, Problem> {
        options.timeout = options.timeout.min(self.duration("timeout")?.unwrap_or(TIMEOUT_MAX)).min(TIMEOUT_MAX);
        if let Some(lookback) = self.duration("lookback_delta")? {
            options.lookback = lookback;
        }
        Ok(options)
    }
    fn expr(&self) -> Result<promql::Expr, Problem> {
        promql::parse(self.get("query").unwrap_or("")).map_err(Problem::from)
    }
    /// `match[]`, each a vector selector. With the period to look at.
    fn matches(&self, now: Timestamp) -> Result<(Vec<Vec<Matcher>>, Timestamp, Timestamp), Problem> {
        let end = self.time("end", Some(now))?;
        let start = self.time("start", Some(end.minus(SERIES_WINDOW)))?;
        let mut all = Vec::new();
        for (_, given) in self.0.iter().filter(|(n, _)| n == "match[]") {
            let expr = promql::parse(given).map_err(|e| Problem::bad("match[]", e))?;
            match expr.plain_selector() {
                Some(matchers) => all.push(matchers.to_vec()),
                None => return Err(Problem::bad("match[]", "expected a vector selector")),
            }
        }
        Ok((all, start, end))
    }
}

async fn query<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let at = params.time("time", Some(backend.clock().now()))?;
    let options = params.options(backend.options())?;
    let expr = params.expr()?;
    let value = promql::instant(&*backend.reader(), &expr, at, &options).await?;
    Ok(success(&instant_json(&value, at)))
}

async fn query_range<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let (start, end) = (params.time("start", None)?, params.time("end", None)?);
    if end < start {
        return Err(Problem::bad("end", "end timestamp must not be before start time"));
    }
    let step = params.duration("step")?.unwrap_or(Duration::ZERO);
    if step < Duration::from_millis(1) {
        let what = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(Problem::bad("step", what));
    }
    let mut options = params.options(backend.options())?;
    options.points_max = options.points_max.min(POINTS_MAX);
    let expr = params.expr()?;
    let series = promql::range(&*backend.reader(), &expr, start, end, step, &options).await?;
    Ok(success(&format!("{{\"resultType\":\"matrix\",\"result\":{}}}", matrix_json(&series))))
}

async fn series<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let (matches, start, end) = params.matches(backend.clock().now())?;
    if matches.is_empty() {
        let message = "no match[] parameter provided".into();
        return Err(Problem { status: StatusCode::BAD_REQUEST, kind: "bad_data", message });
    }
    let found: Vec<String> = label_sets(&backend, matches, start, end).await?.iter().map(labels_json).collect();
    Ok(success(&format!("[{}]", found.join(","))))
}

async fn labels<B: Backend>(State(backend): State<B>, RawQuery(query): RawQuery, body: Bytes) -> Answer {
    let params = Params::read(query.as_deref(), &body);
    let (matches, start, end) = params.matches(backend.clock().now())?;
    if let (true, Some(samples)) = (matches.is_empty(), backend.samples()) {
        return Ok(success(&texts(samples.label_names().await.map_err(internal)?)));
    }
    let sets = label_sets(&backend, matches, start, end).await?;
    let names: BTreeSet<String> = sets.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_string())).collect();
    Ok(success(&texts(names)))
}

async fn label_values<B: Backend>(
    State(backend): State<B>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let params = Params::read(query.as_deref(), &Bytes::new());
    let (matches, start, end) = params.matches(backend.clock().now())?;
    if let (true, Some(samples)) = (matches.is_empty(), backend.samples()) {
        return Ok(success(&texts(samples.label_values(&name).await.map_err(internal)?)));
    }
    let sets = label_sets(&backend, matches, start, end).await?;
    let values: BTreeSet<String> = sets.iter().filter_map(|l| l.get(&name).map(str::to_string)).collect();
    Ok(success(&texts(values)))
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

/// The store's words stay in the log: a path or a statement is nothing for a web client.
fn internal(error: impl std::fmt::Display) -> Problem {
    tracing::warn!(%error, "the query API could not read the store");
    let message = "reading the store failed; see the log".into();
    Problem { status: StatusCode::INTERNAL_SERVER_ERROR, kind: "internal", message }
}

/// `{"resultType":…,"result":…}` of an instant query.
fn instant_json(value: &Value, at: Timestamp) -> String {
    let result = match value {
        Value::Scalar(v) => format!("[{},\"{}\"]", time(at), number::api(*v)),
        Value::String(s) => format!("[{},{}]", time(at), text(s)),
        Value::Matrix(series) => matrix_json(series),
        Value::Vector(elements) => {
            let elements: Vec<String> = elements
                .iter()
                .map(|(labels, v)| {
                    let point = point(Sample { t: at, v: *v });
                    format!("{{\"metric\":{},\"value\":{point}}}", labels_json(labels))
                })
                .collect();
            format!("[{}]", elements.join(","))
        }
    };
    format!("{{\"resultType\":\"{}\",\"result\":{result}}}", value.kind())
}

fn matrix_json(series: &[Series]) -> String {
    let series: Vec<String> = series
        .iter()
        .map(|s| {
            let values: Vec<String> = s.samples.iter().map(|s| point(*s)).collect();
            format!("{{\"metric\":{},\"values\":[{}]}}", labels_json(&s.labels), values.join(","))
        })
        .collect();
    format!("[{}]", series.join(","))
}

fn point(sample: Sample) -> String {
    format!("[{},\"{}\"]", time(sample.t), number::api(sample.v))
}

/// Seconds with three decimals, or none when they are zero.
fn time(t: Timestamp) -> String {
    let (sign, ms) = if t.ms() < 0 { ("-", t.ms().unsigned_abs()) } else { ("", t.ms().unsigned_abs()) };
    match ms % 1000 {
        0 => format!("{sign}{}", ms / 1000),
        fraction => format!("{sign}{}.{fraction:03}", ms / 1000),
    }
}

fn labels_json(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{}:{}", text(n), text(v))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn texts(all: impl IntoIterator<Item = String>) -> String {
    let all: Vec<String> = all.into_iter().map(|t| text(&t)).collect();
    format!("[{}]", all.join(","))
}

/// A JSON string. Serialising a text cannot fail.
fn text(s: &str) -> String {
    serde_json::Value::from(s).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::net::{Client, Request};
    use crate::promql::MemoryReader;

    #[derive(Clone)]
    struct Fixed(Arc<MemoryReader>);

    impl Backend for Fixed {
        fn reader(&self) -> Arc<dyn SeriesReader> {
            self.0.clone()
        }
        fn clock(&self) -> SharedClock {
            ManualClock::at(Timestamp::from_ms(60_500))
        }
    }

    async fn serve() -> String {
        let samples = |v: f64| (0..5).map(|i| Sample { t: Timestamp::from_ms(i * 15_000), v }).collect();
        let one = |job: &str, v| Series { labels: Labels::new([(NAME, "up"), ("job", job)]), samples: samples(v) };
        let reader = MemoryReader { series: vec![one("a", 1.0), one("b\"", 0.0)] };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = router(Fixed(Arc::new(reader)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/api/v1/")
    }

    async fn get(path: &str) -> (u16, String) {
        let url = format!("{}{path}", serve().await).parse().unwrap();
        let response = Client::new().send(Request::get(url)).await.unwrap();
        assert_eq!(response.header("content-type"), Some("application/json"));
        (response.status, response.text().into_owned())
    }

    #[tokio::test]
    async fn answers_have_prometheus_shape() {
        for (path, body) in [
            ("query?query=1", r#"{"resultType":"scalar","result":[60.500,"1"]}"#),
            ("query?query=%22x%22&time=5", r#"{"resultType":"string","result":[5,"x"]}"#),
            (
                "query?query=up&time=60",
                r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[60,"1"]},{"metric":{"__name__":"up","job":"b\""},"value":[60,"0"]}]}"#,
            ),
            (
                "query_range?query=sum(up)&start=0&end=30&step=15s",
                r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[15,"1"],[30,"1"]]}]}"#,
            ),
            (
                "query?query=up%7Bjob%3D%22a%22%7D%5B20s%5D&time=30",
                r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[15,"1"],[30,"1"]]}]}"#,
            ),
            ("series?match[]=up%7Bjob%3D%22a%22%7D", r#"[{"__name__":"up","job":"a"}]"#),
            ("labels", r#"["__name__","job"]"#),
            ("label/job/values", r#"["a","b\""]"#),
        ] {
            let (status, got) = get(path).await;
            assert_eq!((status, got), (200, format!("{{\"status\":\"success\",\"data\":{body}}}")), "{path}");
        }
    }

    #[tokio::test]
    async fn errors_have_prometheus_envelope() {
        for (path, status, kind, part) in [
            ("query?query=up%7B", 400, "bad_data", "invalid parameter \\\"query\\\": 1:3: parse error"),
            ("query", 400, "bad_data", "parse error"),
            ("query?query=1&time=noon", 400, "bad_data", "cannot parse \\\"noon\\\" to a valid timestamp"),
            ("query_range?query=1&start=0&end=1000000&step=1", 400, "bad_data", "maximum resolution of 11,000 points"),
            ("query_range?query=1&start=5&end=1&step=1", 400, "bad_data", "end timestamp must not be before"),
            ("query_range?query=1&start=0&end=1&step=0", 400, "bad_data", "zero or negative"),
            ("query_range?query=1&end=1&step=1", 400, "bad_data", "invalid parameter \\\"start\\\""),
            ("query?query=up*on()up&time=60", 422, "execution", "many-to-many matching not allowed"),
            ("series", 400, "bad_data", "no match[]"),
            ("series?match[]=sum(up)", 400, "bad_data", "vector selector"),
        ] {
            let (got, body) = get(path).await;
            assert_eq!(got, status, "{path}: {body}");
            let start = format!("{{\"status\":\"error\",\"errorType\":\"{kind}\",\"error\":");
            assert!(body.starts_with(&start) && body.contains(part), "{path}: {body}");
        }
    }

    #[tokio::test]
    async fn a_form_may_be_posted() {
        let url = format!("{}query", serve().await).parse().unwrap();
        let request = Request::post(url, "application/x-www-form-urlencoded", "query=count(up)&time=30");
        let body = Client::new().send(request).await.unwrap().text().into_owned();
        assert!(body.ends_with(r#""result":[{"metric":{},"value":[30,"2"]}]}}"#), "{body}");
    }
}
