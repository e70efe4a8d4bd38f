//! PromQL by script: our own cases (`tests/fixtures/promql/*.test`, in the notation of Prometheus' promqltest), and any
//! other folder of such scripts named by `PROMQLTEST_DIR`, for instance the ones in Prometheus' own source tree. Cases
//! about what we do not do are left out by rule or by name, each with its reason.

#![expect(clippy::print_stdout, reason = "a test tells its figures")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hypercare::domain::clock::Timestamp;
use hypercare::domain::metric::{Labels, Matcher, NAME, Sample, Series, stale_marker};
use hypercare::domain::units::Span;
use hypercare::promql::{self, MemoryReader, Options, Value, number};

/// Relative difference that Prometheus' own runner allows: some expected values are written with few digits.
const TOLERANCE: f64 = 1e-6;

#[derive(Debug)]
enum When {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

struct Case {
    line: usize,
    when: When,
    query: String,
    expected: Vec<String>,
    fails: bool,
    ordered: bool,
    /// `expect …` lines, without that word.
    expects: Vec<String>,
}

/// A value of the script's notation; `None` is `_`.
fn points(text: &str) -> Option<Vec<Option<f64>>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let (body, times) = match word.rsplit_once('x') {
            Some((body, times)) if times.chars().all(|c| c.is_ascii_digit()) && !times.is_empty() => {
                (body, times.parse::<usize>().ok()?)
            }
            _ => (word, 0),
        };
        if body == "_" {
            out.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        if body == "stale" {
            out.push(Some(stale_marker()));
            continue;
        }
        // `start+stepxN`: the sign that parts them is not the first and not an exponent's.
        let bytes = body.as_bytes();
        let cut = (1..bytes.len()).find(|&i| {
            matches!(bytes[i], b'+' | b'-') && !(matches!(bytes[i - 1], b'e' | b'E') && bytes[0].is_ascii_digit())
        });
        let (start, step) = match cut {
            Some(at) if word.len() != body.len() => (number::parse(&body[..at])?, number::parse(&body[at..])?),
            _ => (number::parse(body)?, 0.0),
        };
        for i in 0..=times {
            out.push(Some(start + step * i as f64));
        }
    }
    Some(out)
}

/// `name{a="b"} values`: labels and the rest.
fn series_line(line: &str) -> Option<(Labels, &str)> {
    let line = line.trim();
    let mut quoted = false;
    let mut escaped = false;
    let mut end = None;
    for (i, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => {
                end = Some(i + 1);
                break;
            }
            ' ' | '\t' if !quoted && !line[..i].contains('{') && !line[i..].trim_start().starts_with('{') => {
                end = Some(i);
                break;
            }
            ' ' | '\t' if !quoted && line[i..].trim_start().starts_with("{{") => {
                end = Some(i);
                break;
            }
            _ => {}
        }
    }
    let end = end?;
    let head = &line[..end];
    if head.trim() == "{}" {
        return Some((Labels::empty(), &line[end..]));
    }
    let expr = promql::parse(&format!("count_values(\"x\", {head})")).ok()?;
    let selectors = expr.selectors();
    let pairs = selectors.first()?.iter().filter_map(|m| match &m.op {
        hypercare::domain::metric::MatchOp::Equal(v) => Some((m.label.clone(), v.clone())),
        _ => None,
    });
    Some((Labels::new(pairs), &line[end..]))
}

fn ms(text: &str) -> i64 {
    match text.parse::<f64>() {
        Ok(seconds) => (seconds * 1000.0) as i64,
        Err(_) => {
            let (sign, rest) = text.strip_prefix('-').map_or((1, text), |r| (-1, r));
            sign * rest.parse::<Span>().map_or_else(|e| panic!("{text}: {e}"), |s| s.get().as_millis() as i64)
        }
    }
}

fn case(line: usize, text: &str) -> Case {
    let (command, rest) = text.split_once(' ').expect("eval has arguments");
    let rest = rest.trim();
    let (when, query) = if let Some(rest) = rest.strip_prefix("instant at ") {
        let (at, query) = rest.trim().split_once(char::is_whitespace).expect("a query follows the time");
        (When::Instant(ms(at)), query)
    } else {
        let words: Vec<&str> = rest.splitn(8, char::is_whitespace).collect();
        let ["range", "from", start, "to", end, "step", step, query] = words[..] else { panic!("line {line}: {text}") };
        (When::Range { start: ms(start), end: ms(end), step: ms(step) }, query)
    };
    Case {
        line,
        when,
        query: query.trim().to_string(),
        expected: Vec::new(),
        fails: command == "eval_fail",
        ordered: command == "eval_ordered",
        expects: Vec::new(),
    }
}

#[derive(Default)]
struct Store {
    series: BTreeMap<Labels, Vec<Sample>>,
    /// Series that the script fills with native histograms: queries that select them are left out.
    native: Vec<Labels>,
}

impl Store {
    fn load(&mut self, line: &str, step: i64, with_native: bool) {
        let (labels, values) = series_line(line).unwrap_or_else(|| panic!("cannot read series: {line}"));
        if with_native {
            let base = labels.name().strip_suffix("_bucket").unwrap_or(labels.name()).to_string();
            self.native.push(labels.with(NAME, &base).without(&["le"]));
        }
        if line.contains("{{") {
            self.native.push(labels);
            return;
        }
        let values = points(values).unwrap_or_else(|| panic!("cannot read values: {line}"));
        let samples = self.series.entry(labels).or_default();
        for (i, value) in values.iter().enumerate() {
            if let Some(v) = value {
                samples.push(Sample { t: Timestamp::from_ms(i as i64 * step), v: *v });
            }
        }
        samples.sort_by_key(|s| s.t);
    }
    fn reader(&self) -> MemoryReader {
        let series = self.series.iter().map(|(l, s)| Series { labels: l.clone(), samples: s.clone() });
        MemoryReader { series: series.collect() }
    }
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()) || (a - b).abs() < 1e-290
}

enum Verdict {
    Passed,
    Skipped(&'static str),
    Failed(String),
}

/// `expect KIND [msg:|regex:] TEXT` against the texts of that kind.
fn told(case: &Case, kind: &str, got: &[String]) -> Result<(), String> {
    let all = case.expects.iter().filter_map(|e| e.strip_prefix(kind));
    for expected in all.filter(|e| e.is_empty() || e.starts_with([' ', ':'])) {
        let expected = expected.trim();
        let fits = |text: &String| match expected.split_once(':') {
            Some(("msg", message)) => *text == message.trim(),
            Some(("regex", pattern)) => regex::Regex::new(pattern.trim()).unwrap().is_match(text),
            _ => true,
        };
        if !got.iter().any(fits) {
            return Err(format!("expected {kind} {expected:?}, got {got:?}"));
        }
    }
    let silent = case.expects.iter().any(|e| e == &format!("no_{kind}"));
    if silent && !got.is_empty() { Err(format!("expected no {kind}, got {got:?}")) } else { Ok(()) }
}

/// Experimental in Prometheus, or about native histograms.
fn beyond(message: &str) -> bool {
    ["not supported", "is not enabled", "unknown function"].iter().any(|w| message.contains(w))
}

type Points = Vec<(Labels, Vec<(i64, f64)>)>;

async fn run(case: &Case, reader: &MemoryReader, native: &[Labels], opts: &Options) -> Verdict {
    if case.expected.iter().any(|l| l.contains("{{")) || case.query.contains("_with_nhcb") {
        return Verdict::Skipped("native histograms");
    }
    let verdict = checked(case, reader, native, opts).await;
    verdict.unwrap_or_else(Verdict::Failed)
}

async fn checked(case: &Case, reader: &MemoryReader, native: &[Labels], opts: &Options) -> Result<Verdict, String> {
    let expr = match promql::parse(&case.query) {
        Ok(expr) => expr,
        Err(e) if beyond(&e.to_string()) => return Ok(Verdict::Skipped("experimental")),
        Err(e) if case.fails => return told(case, "fail", &[e.to_string()]).map(|()| Verdict::Passed),
        Err(e) => return Err(format!("refused: {e}")),
    };
    let selects_native = |matchers: &Vec<Matcher>| native.iter().any(|l| matchers.iter().all(|m| m.matches(l)));
    if expr.selectors().iter().any(selects_native) {
        return Ok(Verdict::Skipped("native histograms"));
    }
    let answer = answer(case, reader, &expr, opts).await;
    let (got, notes) = match answer {
        Err(e) if case.fails => return told(case, "fail", &[e]).map(|()| Verdict::Passed),
        Err(e) => return Err(e),
        Ok((got, _)) if case.fails => return Err(format!("should fail, gave {got:?}")),
        Ok(answer) => answer,
    };
    told(case, "warn", &notes.warnings)?;
    told(case, "info", &notes.infos)?;
    if let Got::Text(text) = &got {
        let quoted = case.expects.iter().find_map(|e| e.strip_prefix("string "));
        let wanted = quoted.map(|q| promql::parse(q.trim()).map(|e| e.text()[1..e.text().len() - 1].to_string()));
        let same = wanted.is_some_and(|w| w.is_ok_and(|w| w == *text));
        return if same { Ok(Verdict::Passed) } else { Err(format!("got {text:?}")) };
    }
    compare(case, got)
}

#[derive(Debug)]
enum Got {
    Scalar(f64),
    Text(String),
    Points(Points),
}

async fn answer(
    case: &Case,
    reader: &MemoryReader,
    expr: &promql::Expr,
    opts: &Options,
) -> Result<(Got, promql::Notes), String> {
    let points = |series: Vec<Series>| -> Points {
        series.into_iter().map(|s| (s.labels, s.samples.iter().map(|s| (s.t.ms(), s.v)).collect())).collect()
    };
    match case.when {
        When::Instant(at) => {
            let answer = promql::answer_instant(reader, expr, Timestamp::from_ms(at), opts).await;
            let answer = answer.map_err(|e| e.to_string())?;
            let got = match answer.value {
                Value::Scalar(v) => Got::Scalar(v),
                Value::String(text) => Got::Text(text),
                Value::Matrix(series) => Got::Points(points(series)),
                Value::Vector(v) => Got::Points(v.into_iter().map(|(l, v)| (l, vec![(at, v)])).collect()),
            };
            Ok((got, answer.notes))
        }
        When::Range { start, end, step } => {
            let (from, to) = (Timestamp::from_ms(start), Timestamp::from_ms(end));
            let step = Duration::from_millis(step as u64);
            let answer = promql::answer_range(reader, expr, from, to, step, opts).await;
            let answer = answer.map_err(|e| e.to_string())?;
            Ok((Got::Points(points(answer.value)), answer.notes))
        }
    }
}

fn compare(case: &Case, got: Got) -> Result<Verdict, String> {
    let range_vector = case.expects.iter().find_map(|e| e.strip_prefix("range vector from "));
    let (start, step) = match (range_vector, &case.when) {
        (Some(text), _) => {
            let words: Vec<&str> = text.split_whitespace().collect();
            (ms(words[0]), ms(words[4]))
        }
        (None, When::Instant(at)) => (*at, 0),
        (None, When::Range { start, step, .. }) => (*start, *step),
    };
    let mut want: Points = Vec::new();
    for line in &case.expected {
        if let (Some(v), Got::Scalar(got)) = (number::parse(line.trim()), &got) {
            return if near(v, *got) { Ok(Verdict::Passed) } else { Err(format!("got {got}, want {v}")) };
        }
        let (labels, values) = series_line(line).ok_or_else(|| format!("unreadable: {line}"))?;
        let values = points(values).ok_or_else(|| format!("unreadable: {line}"))?;
        let at = |(i, v): (usize, Option<f64>)| v.map(|v| (start + i as i64 * step, v));
        let values: Vec<(i64, f64)> = values.into_iter().enumerate().filter_map(at).collect();
        if !values.is_empty() {
            want.push((labels, values));
        }
    }
    let Got::Points(mut got) = got else { return Err(format!("got {got:?}")) };
    if !case.ordered {
        got.sort_by(|a, b| a.0.cmp(&b.0));
        want.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let same_points = |a: &[(i64, f64)], b: &[(i64, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
    };
    let same = got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| g.0 == w.0 && same_points(&g.1, &w.1));
    if same { Ok(Verdict::Passed) } else { Err(format!("got {got:?}\n     want {want:?}")) }
}

#[tokio::test]
async fn scripts_pass() {
    let (passed, skipped) =
        run_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/promql"), &Options::default()).await;
    assert!(passed >= 45 && skipped == 0, "{passed} passed, {skipped} left out");
    if let Some(dir) = std::env::var_os("PROMQLTEST_DIR") {
        // Prometheus' own runner switches on delayed removal of names; about twenty of its cases depend on that.
        let opts = Options { delay_names: true, ..Options::default() };
        let (passed, skipped) = run_folder(Path::new(&dir), &opts).await;
        println!("{}: {passed} passed, {skipped} left out", dir.to_string_lossy());
        assert!(passed > 0, "{passed} passed, {skipped} left out");
    }
}

/// Runs every script of a folder; how many cases passed and how many were left out.
async fn run_folder(dir: &Path, opts: &Options) -> (usize, usize) {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "test"));
    files.sort();
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    let mut reasons: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut store = Store::default();
        let mut cases: Vec<(Case, MemoryReader, Vec<Labels>)> = Vec::new();
        let mut loading: Option<(i64, bool)> = None;
        let mut in_case = false;
        for (i, raw) in text.lines().enumerate() {
            let line = raw.split(" #").next().unwrap_or(raw).trim_end();
            let trimmed = line.trim();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                (loading, in_case) = (None, false);
            } else if trimmed == "clear" {
                store = Store::default();
            } else if let Some(step) = trimmed.strip_prefix("load") {
                loading = Some((ms(step.split_whitespace().last().unwrap()), step.contains("nhcb")));
                in_case = false;
            } else if trimmed.starts_with("eval") {
                loading = None;
                in_case = true;
                cases.push((case(i + 1, trimmed), store.reader(), store.native.clone()));
            } else if in_case {
                let case = &mut cases.last_mut().unwrap().0;
                match trimmed.strip_prefix("expect ") {
                    Some("ordered") => case.ordered = true,
                    Some(what) => {
                        case.fails |= what.starts_with("fail");
                        case.expects.push(what.to_string());
                    }
                    None if trimmed.starts_with("expected_fail") => {}
                    None => case.expected.push(trimmed.to_string()),
                }
            } else if let Some((step, with_native)) = loading {
                store.load(trimmed, step, with_native);
            } else {
                panic!("{name}:{}: {raw}", i + 1);
            }
        }
        for (case, reader, native) in cases {
            match run(&case, &reader, &native, opts).await {
                Verdict::Passed => passed += 1,
                Verdict::Skipped(reason) => {
                    skipped += 1;
                    *reasons.entry((name.clone(), reason)).or_default() += 1;
                }
                Verdict::Failed(why) => failures.push(format!("{name}:{}: {}\n     {why}", case.line, case.query)),
            }
        }
    }
    for ((name, reason), count) in reasons {
        println!("{name}: {count} left out: {reason}");
    }
    assert!(
        failures.is_empty(),
        "{} failed, {passed} passed, {skipped} left out\n{}",
        failures.len(),
        failures.join("\n")
    );
    (passed, skipped)
}

#[test]
fn metric_names_become_a_label() {
    assert_eq!(series_line("m{a=\"b\"} 1").unwrap().0.get(NAME), Some("m"));
}
