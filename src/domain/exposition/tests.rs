//! Tests of the whole parser: good bodies, errors with positions, limits, lints, random bytes.

use proptest::prelude::*;

use super::*;
use crate::domain::metric::{MetricKind, NAME};

const TEXT: Option<&str> = Some("text/plain; version=0.0.4; charset=utf-8");
const OM: Option<&str> = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");

fn good(content_type: Option<&str>, body: &str) -> Exposition {
    parse(content_type, body.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{body}"))
}
fn shown(exposition: &Exposition) -> Vec<String> {
    exposition.samples.iter().map(|s| format!("{} {} {:?}", s.labels, s.value, s.timestamp_ms)).collect()
}
fn rules(exposition: &Exposition) -> Vec<(usize, &'static str)> {
    exposition.problems.iter().map(|p| (p.line, p.rule)).collect()
}
fn check_error(content_type: Option<&str>, body: &str, expect: &str) {
    let error = parse(content_type, body.as_bytes()).expect_err(body).to_string();
    assert!(error.starts_with(expect), "{body:?}: {error}, expected {expect}");
}

#[test]
fn reads_the_example_of_the_format_documentation() {
    let body = r#"# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320
"#;
    let read = good(TEXT, body);
    assert_eq!(read.format, Format::Text);
    assert_eq!(read.samples.len(), 9);
    assert_eq!(read.samples[0].timestamp_ms, Some(1_395_066_363_000));
    assert_eq!(read.samples[2].labels.get("error"), Some("Cannot find file:\n\"FILE.TXT\""));
    assert_eq!(read.samples[4].value, f64::INFINITY);
    let families: Vec<_> = read.families.iter().map(|f| (f.family.as_str(), f.kind)).collect();
    assert_eq!(families[0], ("http_requests_total", MetricKind::Counter));
    assert_eq!(families.last(), Some(&("http_request_duration_seconds", MetricKind::Histogram)));
    assert_eq!(families.len(), 5, "buckets, sum and count belong to their histogram");
}

#[test]
fn text_is_generous_with_blanks_and_the_last_newline() {
    let read = good(TEXT, "  a  { x = \"1\" , }   2   \n\n\t\nb NaN");
    assert_eq!(shown(&read), ["a{x=\"1\"} 2 None", "b NaN None"]);
}

#[test]
fn reads_openmetrics_with_exemplars_units_and_seconds() {
    let body = "# TYPE foo_seconds histogram\n# UNIT foo_seconds seconds\n# HELP foo_seconds How\\nlong.\n\
        foo_seconds_bucket{le=\"1.0\"} 4 1.5 # {trace_id=\"KOO5S4vxi0o\"} 0.67 1520879607.789\n\
        foo_seconds_bucket{le=\"+Inf\"} 8 1.5 # {} 9.8\nfoo_seconds_sum 324789.3 1.5\nfoo_seconds_count 8 1.5\n\
        foo_seconds_created 1520430000.123 1.5\n\
        # TYPE c counter\n# HELP c C.\nc_total 17.0\n# EOF\n";
    let read = good(OM, body);
    assert_eq!(read.problems, []);
    let exemplar = read.samples[0].exemplar.as_ref().unwrap();
    assert_eq!(
        (exemplar.labels.get("trace_id"), exemplar.timestamp_ms),
        (Some("KOO5S4vxi0o"), Some(1_520_879_607_789))
    );
    assert_eq!(read.samples[0].timestamp_ms, Some(1500));
    assert_eq!(read.families[0].help, "How\nlong.");
    assert_eq!(read.families.len(), 2);
    assert_eq!(good(OM, "# EOF").samples.len(), 0);
    assert_eq!(good(None, body).format, Format::OpenMetrics);
    assert_eq!(good(None, "a 1\n").format, Format::Text);
    check_error(None, "", "line 1, column 1: the body is cut short");
    check_error(None, "a 1\n# EOFx", "line 2, column 7: the body is cut short");
}

#[test]
fn quoted_names_may_be_any_utf8() {
    let read = good(
        TEXT,
        "# TYPE \"http.server.active\" gauge\n{\"http.server.active\",\"käse.art\"=\"ü\"} 3\n{\"plain\"} 1\n",
    );
    assert_eq!(read.samples[0].labels.get("käse.art"), Some("ü"));
    assert_eq!(read.families[read.samples[0].family].kind, MetricKind::Gauge);
    assert_eq!(read.samples[1].labels.name(), "plain");
    // Where it stands among the labels does not matter, as in Prometheus; escapes are those of label values.
    let read = good(TEXT, "# TYPE \"a\\\"b\" gauge\n{l=\"1\",\"a\\\"b\"} 3\n");
    assert_eq!((read.samples[0].labels.name(), read.families.len()), ("a\"b", 1));
    assert_eq!(read.families[0].kind, MetricKind::Gauge);
    check_error(TEXT, "{\"a\",\"b\"} 1\n", "line 1, column 9: expected `=` after label b, found `}`");
    check_error(TEXT, "a{\"b\"} 1\n", "line 1, column 6: expected `=` after label b, found `}`");
}

#[test]
fn errors_name_line_and_column() {
    for (body, expect) in [
        ("a 1\nb{x=\"1\" 2\n", "line 2, column 9: expected `,` or `}`, found `2`"),
        ("a{x=1} 2\n", "line 1, column 5: expected `\"`, found `1`"),
        ("a{x=\"1} 2\n", "line 1, column 5: the quote is never closed"),
        ("a{x=\"1\",x=\"2\"} 2\n", "line 1, column 9: label x is given twice"),
        ("a{__name__=\"b\"} 2\n", "line 1, column 3: label __name__ is given twice"),
        ("a\n", "line 1, column 2: expected a blank before the value"),
        ("a one\n", "line 1, column 3: `one` is not a value"),
        ("a 1 1.5\n", "line 1, column 5: `1.5` is not a timestamp in whole milliseconds"),
        ("a 1 2 3\n", "line 1, column 7: expected the end of the line, found `3`"),
        ("a 1\r\n", "line 1, column 3: `1\\r` is not a value"),
        ("9a 1\n", "line 1, column 1: expected a metric's name, found `9`"),
        ("<!doctype html>\n", "line 1, column 1: expected a metric's name, found `<`"),
        ("# TYPE a counterr\n", "line 1, column 10: `counterr` is not a metric type"),
        ("{x=\"1\"} 2\n", "line 1, column 1: the sample has no name"),
        ("ä 1\n", "line 1, column 1: expected a metric's name, found `ä`"),
        ("a 1 # {t=\"x\"} 1\n", "line 1, column 5: `#` is not a timestamp"),
        ("a {count:1} 1\n", "line 1, column 9"),
    ] {
        check_error(TEXT, body, expect);
    }
    let error = parse(TEXT, b"a 1\nb{x=\"\xff\"} 1\n").unwrap_err();
    assert_eq!((error.line, error.column, &*error.message), (2, 6, "not UTF-8"));
}

#[test]
fn openmetrics_is_strict() {
    for (body, expect) in [
        ("a 1\n", "line 2, column 1: the body is cut short"),
        ("a 1\n# EOF\na 2\n", "line 3, column 1: nothing may follow"),
        ("a 1\n# EO", "line 2, column 5: the body is cut short"),
        ("\n# EOF\n", "line 1, column 1: expected a metric's name, found the end"),
        ("# a comment\n# EOF\n", "line 1, column 1: OpenMetrics allows no comment"),
        ("a  1\n# EOF\n", "line 1, column 3: expected a value"),
        ("a{x=\"1\",} 1\n# EOF\n", "line 1, column 9: expected a label's name"),
        ("a 1\n# TYPE a gauge\n# EOF\n", "line 2, column 3: # TYPE of a comes after"),
        ("# TYPE a gauge\n# TYPE a gauge\n# EOF\n", "line 2, column 3: second # TYPE of a"),
        ("# TYPE a untyped\n# EOF\n", "line 1, column 10: `untyped`"),
        ("a 1 NaN\n# EOF\n", "line 1, column 5: `NaN` is not a timestamp"),
        ("a 1 # 2\n# EOF\n", "line 1, column 7: an exemplar starts"),
    ] {
        check_error(OM, body, expect);
    }
}

#[test]
fn the_content_type_decides() {
    check_error(Some("text/html"), "a 1\n", "line 1, column 1: content type `text/html`");
    check_error(Some(""), "a 1\n", "line 1, column 1: content type ``");
    check_error(OM, "a 1\n", "line 2");
    assert_eq!(good(Some("text/plain"), "a 1\n# EOF\n").format, Format::Text);
}

#[test]
fn limits_end_a_body_that_is_too_much() {
    let small = Limits { body_bytes: 200, samples: 2, labels: 2, name_bytes: 8, value_bytes: 8, line_bytes: 40 };
    let kind = |body: &str| {
        parse_within(TEXT, body.as_bytes(), &small, &mut Template::default(), &|labels| labels).map_err(|e| e.kind)
    };
    assert!(kind("a{x=\"12345678\",y=\"1\"} 1\nb 1\n").is_ok());
    for body in [
        "a 1\nb 1\nc 1\n",
        "a{x=\"1\",y=\"1\",z=\"1\"} 1\n",
        "a{x=\"123456789\"} 1\n",
        "abcdefghi 1\n",
        "a{abcdefghi=\"1\"} 1\n",
        "# HELP a aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
        &"a 1\n".repeat(60),
    ] {
        assert_eq!(kind(body).unwrap_err(), ParseErrorKind::Limit, "{body}");
    }
}

#[test]
fn problems_are_found_and_sorted() {
    let body = "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# TYPE b counter\nb{x=\"\\d\"} -1\na_total 2\nc 1\n\
        # TYPE h histogram\n# HELP h H.\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"2\"} 3\nh_bucket 3\n# TYPE c gauge\n";
    let read = good(TEXT, body);
    let expect = [
        (5, "counter-total"),
        (5, "counter-value"),
        (5, "missing-help"),
        (5, "odd-escape"),
        (6, "duplicate-series"),
        (6, "interleaved-family"),
        (7, "missing-help"),
        (11, "bucket-inf"),
        (11, "bucket-order"),
        (12, "bucket-le"),
        (13, "interleaved-family"),
        (13, "metadata-after-samples"),
    ];
    assert_eq!(rules(&read), expect);
    assert_eq!(read.samples[1].labels.get("x"), Some("\\d"));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300), om in any::<bool>()) {
        let _ = parse(if om { OM } else { TEXT }, &body);
    }

    #[test]
    fn almost_expositions_never_panic(body in "[a-z{}\"=, #\\\\\n1-9.éHELPTYPEOF_]{0,120}", om in any::<bool>()) {
        if let Err(error) = parse(if om { OM } else { TEXT }, body.as_bytes()) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }

    #[test]
    fn what_is_written_is_read(
        value in any::<f64>(),
        label in "\\PC{0,20}",
        ts in proptest::option::of(-4_000_000_000_000i64..4_000_000_000_000),
    ) {
        let labels = Labels::new([(NAME, "m"), ("l", label.as_str())]);
        let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let body = match ts {
            Some(ts) => format!("m{{l=\"{escaped}\"}} {value} {ts}\n"),
            None => format!("m{{l=\"{escaped}\"}} {value}\n"),
        };
        let read = parse(TEXT, body.as_bytes()).unwrap();
        prop_assert_eq!(&read.samples[0].labels, &labels);
        prop_assert_eq!(read.samples[0].timestamp_ms, ts);
        prop_assert!(read.samples[0].value == value || value.is_nan() && read.samples[0].value.is_nan());
    }
}

/// What is read of a body that follows others, in a form that can be compared.
fn follow(kind: Option<&str>, body: &str, template: &mut Template) -> Result<String, ParseError> {
    let complete = |labels: Labels| labels.with("job", "shop");
    let read = parse_within(kind, body.as_bytes(), &LIMITS, template, &complete)?;
    assert_eq!(read.roster.series().len(), read.values.len());
    Ok(format!("{:?} {:?} {:?}", read.roster.series(), read.values, read.families))
}

#[test]
fn a_body_that_follows_another_is_read_like_any() {
    let bodies = [
        "# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\nb 3\nc {y=\"1\"} 4\n",
        "# TYPE a counter\na_total{x=\"1\"} 1.5\na_total{x=\"2\"}  NaN\nb 3 7\nc {y=\"1\"} 4",
        "# TYPE a counter\na_total{x=\"1\"} 5\na_total{x=\"2\"} 6\nb{y=\"1\"} 7\nb {y=\"2\"} 8\nb 9 1000\nc {y=\"1\"} 4\n",
        "a_total{x=\"2\"} 6\n",
        "d{z=\"\\x\"} 1\nb_more 2\nb 3\na_total{x=\"2\"}\t6\n",
        "d{z=\"\\x\"} 1\nb_more 2\nb 3\na_total{x=\"2\",} 6\n",
        " b 1\n\n# note\nb 2\n  ",
        " b 1\n\n# note\nb{} 2\n  ",
    ];
    let mut template = Template::default();
    for body in bodies {
        for _ in 0..2 {
            let again = follow(TEXT, body, &mut template).unwrap();
            assert_eq!(again, follow(TEXT, body, &mut Template::default()).unwrap());
        }
    }
    // What text allows, OpenMetrics may not.
    let body = "d{z=\"\\x\"} 1\nb_more 2\nb 3\na_total{x=\"2\",} 6\n# EOF\n";
    assert!(follow(OM, body, &mut template).is_err());
    // After an error nothing is known.
    assert!(follow(TEXT, bodies[0], &mut template).is_ok());
}

#[test]
fn a_cut_body_is_an_error_although_its_lines_are_known() {
    let whole = "a 1\na 2 # {x=\"1\"} 3\n# EOF\n";
    for cut in ["a 1\na 2", "a 1\na 2\n", "a 1\na 2\n# EO", "a 1\na \n# EOF\n", "a 1\na 2\n# EOF\na 3\n", ""] {
        let mut template = Template::default();
        follow(OM, whole, &mut template).unwrap();
        follow(OM, whole, &mut template).unwrap();
        assert!(follow(OM, cut, &mut template).is_err(), "{cut:?}");
    }
}

#[test]
fn what_stays_the_same_is_the_same() {
    let mut template = Template::default();
    let mut read = |body: &str| parse_within(TEXT, body.as_bytes(), &LIMITS, &mut template, &|labels| labels).unwrap();
    let (first, second) = (read("# HELP a b\na 1\n"), read("# HELP a b\na 2\n"));
    assert!(Arc::ptr_eq(&first.roster, &second.roster) && Arc::ptr_eq(&first.families, &second.families));
    let third = read("# HELP a c\na 2\n");
    assert!(Arc::ptr_eq(&first.roster, &third.roster) && third.families[0].help == "c");
}

proptest::proptest! {
    #[test]
    fn any_bodies_in_a_row_are_read_like_each_alone(
        bodies in proptest::collection::vec("([abc]( ?\\{(x=\"[0-2]\",?)?\\})?[ \t]{1,2}[0-9]( 7)?\n){0,12}", 1..5)
    ) {
        let mut template = Template::default();
        for body in bodies {
            // The same lines with other values, too.
            for body in [body.replace('3', "-.5e3"), body] {
                let again = follow(TEXT, &body, &mut template);
                proptest::prop_assert_eq!(again, follow(TEXT, &body, &mut Template::default()));
            }
        }
    }
}
