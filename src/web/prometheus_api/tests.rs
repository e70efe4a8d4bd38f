//! The API over HTTP, as its clients see it.

use super::*;
use crate::alerts::standing::Evaluation;
use crate::domain::clock::ManualClock;
use crate::domain::metric::{Labels, MetricKind, NAME, Sample, Series};
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
    fn facts(&self) -> Arc<Facts> {
        let rules = "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up==0\n    for: 1m\n    labels: {severity: page}\n  - record: a:b\n    expr: sum(up)\n";
        let labels = [("job", "a"), ("instance", "x:1")].map(|(n, v)| (n.to_string(), v.to_string()));
        let groups = crate::alerts::rulefile::parse("r.yml", rules).unwrap().groups;
        let board = Board::default();
        let mut standing = GroupStanding::fresh(Arc::new(groups[0].clone()), Duration::from_secs(30));
        let last = Evaluation { at: Timestamp::from_ms(45_000), took: Duration::from_millis(250) };
        (standing.last, standing.rules[1].last) = (Some(last), Some(last));
        standing.rules[1].error = Some("two results".into());
        board.write(vec![standing]);
        Arc::new(Facts {
            groups,
            board,
            interval: Duration::from_secs(15),
            targets: vec![Target {
                pool: "a".into(),
                url: "http://x:1/metrics".into(),
                labels: labels.into(),
                interval: Duration::from_secs(15),
                timeout: Duration::from_secs(10),
            }],
            retention: Duration::from_secs(86_400),
            listen: "127.0.0.1:9095".into(),
            started: None,
        })
    }
    fn metadata(&self) -> BoxFuture<'_, Result<Vec<Metadata>, String>> {
        let one = |family: &str, kind| Metadata { family: family.into(), kind, help: "h".into(), unit: String::new() };
        Box::pin(async move { Ok(vec![one("b", MetricKind::Counter), one("up", MetricKind::Gauge)]) })
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
        (
            "query?query=up%7B",
            400,
            "bad_data",
            "invalid parameter \\\"query\\\": 1:4: parse error: unexpected end of input inside braces",
        ),
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

#[test]
fn without_an_engine_rules_are_what_the_files_say() {
    let facts = Facts { board: Board::default(), ..(*Fixed(Arc::default()).facts()).clone() };
    let standing = facts.standing();
    assert_eq!((standing.len(), standing[0].interval, standing[0].last), (1, Duration::from_secs(15), None));
}

#[tokio::test]
async fn a_form_may_be_posted() {
    let url = format!("{}query", serve().await).parse().unwrap();
    let request = Request::post(url, "application/x-www-form-urlencoded", "query=count(up)&time=30");
    let body = Client::new().send(request).await.unwrap().text().into_owned();
    assert!(body.ends_with(r#""result":[{"metric":{},"value":[30,"2"]}]}}"#), "{body}");
}

#[tokio::test]
async fn limits_warnings_and_stats_stand_beside_the_data() {
    for (path, part) in [
        ("query?query=up&time=60&limit=1", r#"]}]},"warnings":["results truncated due to limit"]}"#),
        ("labels?limit=1", r#"["__name__"],"warnings":["results truncated due to limit"]}"#),
        ("query?query=quantile(2,up)&time=60", "quantile value should be between 0 and 1, got 2 (1:10)"),
        ("query?query=rate(up%5B1m%5D)&time=60", r#""infos":["PromQL info: metric might not be a counter, "#),
        ("query?query=1&stats=all", r#""stats":{"timings":{"evalTotalTime":"#),
        ("query?query=up&time=70&lookback_delta=5s", r#""result":[]"#),
        ("query_range?query=up&start=0&end=1970-01-01T00:01:00Z&step=1m&limit=1", r#""values":[[0,"1"],[60,"1"]]"#),
    ] {
        let (status, body) = get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains(part), "{path}: {body}");
    }
}

#[tokio::test]
async fn configuration_is_told() {
    for (path, pointer, value) in [
        ("rules", "/data/groups/0/rules/0/query", serde_json::json!("up == 0")),
        ("rules", "/data/groups/0/rules/0/duration", serde_json::json!(60)),
        ("rules", "/data/groups/0/rules/0/state", serde_json::json!("inactive")),
        ("rules?type=record", "/data/groups/0/rules/0/type", serde_json::json!("recording")),
        ("rules", "/data/groups/0/interval", serde_json::json!(30)),
        ("rules", "/data/groups/0/evaluationTime", serde_json::json!(0.25)),
        ("rules", "/data/groups/0/lastEvaluation", serde_json::json!("1970-01-01T00:00:45Z")),
        ("rules", "/data/groups/0/rules/0/health", serde_json::json!("unknown")),
        ("rules", "/data/groups/0/rules/0/lastEvaluation", serde_json::json!("0001-01-01T00:00:00Z")),
        ("rules", "/data/groups/0/rules/1/health", serde_json::json!("err")),
        ("rules", "/data/groups/0/rules/1/lastError", serde_json::json!("two results")),
        ("rules?rule_name[]=none", "/data/groups", serde_json::json!([])),
        ("targets", "/data/activeTargets/0/discoveredLabels/__address__", serde_json::json!("x:1")),
        ("targets?state=active", "/data/activeTargets/0/scrapePool", serde_json::json!("a")),
        ("targets?state=dropped", "/data/activeTargets", serde_json::json!([])),
        ("status/flags", "/data/query.lookback-delta", serde_json::json!("5m")),
        ("status/runtimeinfo", "/data/storageRetention", serde_json::json!("1d")),
        ("status/tsdb", "/data/headStats/numSeries", serde_json::json!(0)),
    ] {
        let (status, body) = get(path).await;
        assert_eq!(status, 200, "{path}: {body}");
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json.pointer(pointer), Some(&value), "{path}: {body}");
    }
    let (_, body) = get("status/config").await;
    assert!(body.contains("job_name") && body.contains("r.yml"), "{body}");
    let (_, body) = get("status/buildinfo").await;
    assert!(body.contains("\"version\":\"3."), "{body}");
}
