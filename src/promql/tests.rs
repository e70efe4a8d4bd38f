//! Whole queries over series in memory: syntax, matching, names, windows. Formulas are tested beside their code, and
//! `tests/promql_differential.rs` compares with a real Prometheus.

use super::*;
use crate::domain::metric::{Sample, stale_marker};

fn labels(text: &[(&str, &str)]) -> Labels {
    Labels::new(text.iter().copied())
}

/// A series at 0, `step`, `2 * step` … seconds; `None` is a hole.
fn series(pairs: &[(&str, &str)], step: i64, values: &[Option<f64>]) -> Series {
    let samples = values
        .iter()
        .enumerate()
        .filter_map(|(i, v)| v.map(|v| Sample { t: Timestamp::from_ms(i as i64 * step * 1000), v }));
    Series { labels: labels(pairs), samples: samples.collect() }
}

fn shop() -> MemoryReader {
    let counter = |job: &str, code: &str, by: f64| {
        let values: Vec<Option<f64>> = (0..=60).map(|i| Some(f64::from(i) * by)).collect();
        series(&[(NAME, "requests_total"), ("job", job), ("code", code)], 15, &values)
    };
    let bucket = |le: &str, count: f64| series(&[(NAME, "d_bucket"), ("le", le)], 15, &[Some(count); 61]);
    MemoryReader {
        series: vec![
            counter("a", "200", 15.0),
            counter("a", "500", 3.0),
            counter("b", "200", 30.0),
            series(&[(NAME, "owner"), ("job", "a"), ("team", "x")], 15, &[Some(1.0); 61]),
            series(&[(NAME, "owner"), ("job", "b"), ("team", "y")], 15, &[Some(1.0); 61]),
            bucket("0.1", 10.0),
            bucket("1", 20.0),
            bucket("+Inf", 20.0),
        ],
    }
}

async fn at(reader: &MemoryReader, query: &str, seconds: i64) -> Result<Value, QueryError> {
    instant(reader, &parse(query)?, Timestamp::from_ms(seconds * 1000), &Options::default()).await
}

/// `labels value` per element, values to nine decimals, or the error.
async fn show(query: &str) -> Vec<String> {
    match at(&shop(), query, 900).await {
        Ok(Value::Vector(v)) => {
            v.iter().map(|(l, v)| format!("{l} {}", number::plain((v * 1e9).round() / 1e9))).collect()
        }
        Ok(Value::Scalar(v)) => vec![number::plain(v)],
        Ok(other) => vec![format!("{other:?}")],
        Err(e) => vec![e.to_string()],
    }
}

#[tokio::test]
async fn queries_give_what_prometheus_gives() {
    for (query, expected) in [
        ("1 + 2 * 3 ^ 2", vec!["19"]),
        ("-2 ^ 2", vec!["-4"]),
        ("2 > bool 1", vec!["1"]),
        ("time()", vec!["900"]),
        ("rate(requests_total{job=\"a\"}[5m])", vec![r#"{code="200",job="a"} 1"#, r#"{code="500",job="a"} 0.2"#]),
        ("sum by (job) (rate(requests_total[5m]))", vec![r#"{job="a"} 1.2"#, r#"{job="b"} 2"#]),
        ("sum without (code, job) (requests_total)", vec!["{} 2880"]),
        ("requests_total{code=~\"5..\"} > 100", vec![r#"requests_total{code="500",job="a"} 180"#]),
        ("100 < requests_total{code=\"500\"}", vec![r#"requests_total{code="500",job="a"} 180"#]),
        ("requests_total{code=\"500\"} > bool 1000", vec![r#"{code="500",job="a"} 0"#]),
        (
            "sum by (job) (requests_total) * on (job) group_left (team) owner",
            vec![r#"{job="a",team="x"} 1080"#, r#"{job="b",team="y"} 1800"#],
        ),
        ("requests_total{code=\"500\"} / ignoring (code) requests_total{code=\"200\"}", vec![r#"{job="a"} 0.2"#]),
        ("owner unless on (job) requests_total{code=\"500\"}", vec![r#"owner{job="b",team="y"} 1"#]),
        ("owner and on (job) requests_total{code=\"500\"}", vec![r#"owner{job="a",team="x"} 1"#]),
        ("absent(nothing{job=\"a\",code=~\"5..\"})", vec![r#"{job="a"} 1"#]),
        ("absent(owner)", vec![]),
        ("count(owner) or vector(0)", vec!["{} 2"]),
        ("histogram_quantile(0.5, d_bucket)", vec!["{} 0.1"]),
        ("topk(1, requests_total)", vec![r#"requests_total{code="200",job="b"} 1800"#]),
        (
            "bottomk(2, requests_total)",
            vec![r#"requests_total{code="500",job="a"} 180"#, r#"requests_total{code="200",job="a"} 900"#],
        ),
        ("count_values(\"v\", owner)", vec![r#"{v="1"} 2"#]),
        ("max_over_time(sum(requests_total)[2m:30s])", vec!["{} 2880"]),
        (
            "label_replace(owner{job=\"a\"}, \"t\", \"<$1>\", \"team\", \"(.)\")",
            vec![r#"owner{job="a",t="<x>",team="x"} 1"#],
        ),
        ("label_join(owner{job=\"a\"}, \"j\", \"-\", \"job\", \"team\")", vec![r#"owner{j="a-x",job="a",team="x"} 1"#]),
        ("requests_total{code=\"500\"} offset 5m", vec![r#"requests_total{code="500",job="a"} 120"#]),
        ("requests_total{code=\"500\"} @ 300", vec![r#"requests_total{code="500",job="a"} 60"#]),
        ("timestamp(requests_total{code=\"500\"} offset 50s)", vec![r#"{code="500",job="a"} 840"#]),
        ("scalar(owner)", vec!["NaN"]),
        ("last_over_time(owner{job=\"a\"}[1m])", vec![r#"owner{job="a",team="x"} 1"#]),
        ("sort_desc(sum by (job) (requests_total))", vec![r#"{job="b"} 1800"#, r#"{job="a"} 1080"#]),
    ] {
        assert_eq!(show(query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn ambiguous_data_is_an_error_in_prometheus_words() {
    for (query, part) in [
        ("owner * on () owner", "found duplicate series for the match group {} on the right hand-side"),
        ("requests_total * on (job) owner", "many-to-one matching must be explicit"),
        ("label_replace(owner, \"job\", \"\", \"\", \"\") * 0 + on () group_left owner", "found duplicate series"),
        (
            "-label_replace(label_replace(owner, \"job\", \"x\", \"\", \"\"), \"team\", \"\", \"\", \"\")",
            "same labelset",
        ),
        ("rate({__name__=~\"owner|d_bucket\",le=\"\",job=\"\"}[5m])", ""),
    ] {
        let shown = show(query).await.concat();
        assert!(shown.contains(part), "{query}: {shown}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_its_place() {
    for (query, message, column) in [
        ("sum(limitk(1, up))", "limitk() is experimental and is not supported", Some(5)),
        ("1 + holt_winters(x[5m], 0.1, 0.1)", "unknown function with name \"holt_winters\"", Some(5)),
        ("up +\n  info(x)", "function \"info\" is not enabled", Some(3)),
        ("a + on(x) fill(0) b", "binop fill modifiers are experimental and not supported", Some(11)),
        ("(up", "unclosed left parenthesis", Some(4)),
        ("up)", "unexpected right parenthesis ')'", Some(3)),
        ("up{", "unexpected end of input inside braces", Some(4)),
        ("up{job=1}", "unexpected character inside braces: '1'", Some(8)),
        ("up{job}", "unexpected \"}\" in label matching, expected label matching operator", Some(7)),
        ("foo bar", "unexpected identifier \"bar\"", Some(5)),
        ("sum(up) by up", "unexpected identifier \"up\" in grouping opts, expected \"(\"", Some(12)),
        ("up[5m", "unclosed left bracket", Some(6)),
        ("up[x]", "unexpected character: 'x', expected ':'", Some(4)),
        ("up[0s]", "duration must be greater than 0", Some(4)),
        ("up[1h30m1h]", "not a valid duration string: \"1h30m1h\"", Some(4)),
        ("sum(up)[5m]", "ranges only allowed for vector selectors", Some(8)),
        ("up offset 5m[5m]", "no offset modifiers allowed before range", Some(13)),
        ("up offset 5m offset 5m", "offset may not be set multiple times", Some(1)),
        ("up @ 1 @ 2", "@ <timestamp> may not be set multiple times", Some(1)),
        ("rate(up)", "expected type range vector in call to function \"rate\", got instant vector", Some(6)),
        ("rate(up[5m], 1)", "expected 1 argument(s) in call to \"rate\", got 2", Some(1)),
        ("ln(0)", "expected type instant vector in call to function \"ln\", got scalar", Some(4)),
        ("1 > 2", "comparisons between scalars must use BOOL modifier", Some(3)),
        ("1 and up", "set operator \"and\" not allowed in binary scalar expression", Some(1)),
        ("(1)[5m:1m]", "subquery is only allowed on instant vector, got scalar instead", Some(1)),
        ("up{__name__=\"a\"}", "metric name must not be set twice: \"up\" or \"a\"", Some(1)),
        ("{job=~\".*\"}", "vector selector must contain at least one non-empty matcher", Some(1)),
        ("sum(up, 1)", "wrong number of arguments for aggregate expression provided, expected 1, got 2", Some(1)),
        ("up{job=~\"(\"}", "error parsing regexp: invalid pattern: `(`", Some(4)),
        ("\"a\\q\"", "unknown escape sequence U+0071 'q'", Some(1)),
        ("", "unknown position: parse error: no expression found in input", None),
    ] {
        match parse(query) {
            Err(QueryError::Parse { message: got, at }) => {
                assert_eq!((got.as_str(), at.map(|p| p.column)), (message, column), "{query}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
    let late = parse("label_replace(up, \"a\", \"b\", \"c\", \"(\")").unwrap_err();
    assert!(matches!(&late, QueryError::Execution(m) if m.contains("regular expression")), "{late:?}");
    assert!(parse(&format!("{}1{}", "(".repeat(65), ")".repeat(65))).is_err());
    assert!(parse(&format!("1{}", "+1".repeat(600))).is_err());
    assert!(parse(&"x".repeat(20_000)).is_err());
}

#[tokio::test]
async fn a_sample_stands_for_five_minutes_and_a_stale_marker_ends_it() {
    let one = Sample { t: Timestamp::from_ms(60_000), v: 7.0 };
    let stale = Sample { t: Timestamp::from_ms(120_000), v: stale_marker() };
    let reader = |samples| MemoryReader { series: vec![Series { labels: labels(&[(NAME, "x")]), samples }] };
    let there = async |r: &MemoryReader, s| at(r, "x", s).await.unwrap() != Value::Vector(vec![]);
    let alive = reader(vec![one]);
    assert!(!there(&alive, 59).await);
    assert!(there(&alive, 60).await);
    assert!(there(&alive, 359).await);
    assert!(!there(&alive, 360).await, "the window is open on the left");
    let ended = reader(vec![one, stale]);
    assert!(there(&ended, 119).await);
    assert!(!there(&ended, 120).await);
    assert_eq!(
        at(&ended, "count_over_time(x[5m])", 130).await.unwrap(),
        Value::Vector(vec![(Labels::empty(), 1.0)]),
        "a marker is no sample"
    );
}

#[tokio::test]
async fn ranges_have_steps_and_subqueries_are_aligned() {
    let reader = shop();
    let expr = parse("sum(requests_total{job=\"a\"})").unwrap();
    let (start, end) = (Timestamp::from_ms(30_000), Timestamp::from_ms(95_000));
    let opts = Options::default();
    let got = range(&reader, &expr, start, end, Duration::from_secs(30), &opts).await.unwrap();
    let points: Vec<(i64, f64)> = got[0].samples.iter().map(|s| (s.t.ms() / 1000, s.v)).collect();
    assert_eq!(points, [(30, 36.0), (60, 72.0), (90, 108.0)]);

    let scalar = range(&reader, &parse("1").unwrap(), start, end, Duration::from_secs(60), &opts).await.unwrap();
    assert_eq!((scalar[0].labels.len(), scalar[0].samples.len()), (0, 2));

    // (35, 95] holds the multiples of 30: 60 and 90.
    let value = at(&reader, "count_over_time(vector(1)[1m:30s])", 95).await.unwrap();
    assert_eq!(value, Value::Vector(vec![(Labels::empty(), 2.0)]));

    let too_many = range(&reader, &expr, start, Timestamp::from_ms(i64::MAX), Duration::from_secs(1), &opts).await;
    assert_eq!(too_many, Err(QueryError::TooManyPoints { limit: POINTS_MAX }));
    let text = range(&reader, &parse("\"x\"").unwrap(), start, end, Duration::from_secs(1), &opts).await;
    assert!(matches!(text, Err(QueryError::Parse { .. })));
}

#[tokio::test]
async fn limits_hold() {
    let opts = Options { samples_max: 10, ..Options::default() };
    let expr = parse("rate(requests_total[5m])").unwrap();
    let got = instant(&shop(), &expr, Timestamp::from_ms(900_000), &opts).await;
    assert_eq!(got, Err(QueryError::TooManySamples { limit: 10 }));

    let expr = parse("vector(1)[1y:1ms]").unwrap();
    let got = instant(&shop(), &expr, Timestamp::from_ms(900_000), &Options::default()).await;
    assert!(matches!(got, Err(QueryError::TooManySamples { .. })), "{got:?}");
}

#[test]
fn an_expression_tells_what_it_reads() {
    let expr = parse("sum(rate(a_total{job=\"x\"}[5m] offset 1m)) / count({__name__=~\"b.*\"})").unwrap();
    assert_eq!(expr.metric_names(), ["a_total"]);
    assert_eq!(expr.selectors().len(), 2);
    assert_eq!(expr.selectors()[0].len(), 2);
    assert_eq!(expr.reach(&Options::default()), Some(Duration::from_millis(360_000 - 1)));
    assert_eq!(parse("a @ 5").unwrap().reach(&Options::default()), None);
    assert_eq!(expr.result_type(), "vector");
}

#[tokio::test]
async fn durations_may_be_computed() {
    for (query, expected) in [
        ("count_over_time(owner{job=\"a\"}[30 + 1m])", "{job=\"a\",team=\"x\"} 6"),
        ("requests_total{code=\"500\"} offset (2m * 2 + 60)", "requests_total{code=\"500\",job=\"a\"} 120"),
        ("requests_total{code=\"500\"} offset 5m + 1", "{code=\"500\",job=\"a\"} 121"),
        ("count_over_time(owner{job=\"a\"}[max_of(range(), 1m)])", "{job=\"a\",team=\"x\"} 4"),
        ("1h30m", "5400"),
        ("0x1F + 010", "39"),
    ] {
        assert_eq!(show(query).await, [expected], "{query}");
    }
    let expr = parse("count_over_time(owner{job=\"a\"}[step()])").unwrap();
    let (start, end) = (Timestamp::from_ms(600_000), Timestamp::from_ms(900_000));
    let got = range(&shop(), &expr, start, end, Duration::from_secs(60), &Options::default()).await.unwrap();
    assert!(got[0].samples.iter().all(|s| s.v == 4.0), "{got:?}");
    let refused = instant(&shop(), &expr, end, &Options::default()).await;
    assert!(matches!(refused, Err(QueryError::Parse { .. })), "an instant has no step: {refused:?}");
}

#[tokio::test]
async fn answers_carry_notes() {
    let notes = async |query: &str| {
        let expr = parse(query).unwrap();
        let answer = answer_instant(&shop(), &expr, Timestamp::from_ms(900_000), &Options::default()).await;
        answer.unwrap().notes
    };
    assert_eq!(
        notes("sum(\n  quantile(-0.5, owner))").await.warnings,
        ["PromQL warning: quantile value should be between 0 and 1, got -0.5 (2:12)"]
    );
    assert_eq!(
        notes("rate(owner[5m])").await.infos,
        [
            "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"owner\" (1:6)"
        ]
    );
    assert_eq!(
        notes("histogram_quantile(0.5, owner)").await.warnings,
        ["PromQL warning: bucket label \"le\" is missing or has a malformed value of \"\" (1:25)"]
    );
    assert_eq!(notes("rate(requests_total[5m])").await, Notes::default());
}
