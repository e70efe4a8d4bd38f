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

/// Case (part of the query) and why it is left out.
const KNOWN: &[(&str, &str)] = &[
    ("a\\xc5z", "a label name that is not UTF-8: a Rust string cannot hold one, the parser reads U+00C5"),
    ("\"\\xff\"", "the same"),
];

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
    Skipped,
    Failed(String),
}

async fn run(case: &Case, reader: &MemoryReader, native: &[Labels]) -> Verdict {
    if case.expected.iter().any(|l| l.contains("{{")) || case.query.contains("_with_nhcb") {
        return Verdict::Skipped;
    }
    let opts = Options::default();
    let expr = match promql::parse(&case.query) {
        Ok(expr) => expr,
        Err(e) if case.fails => {
            return if e.to_string().is_empty() { Verdict::Failed("no words".into()) } else { Verdict::Passed };
        }
        Err(e) if e.to_string().contains("not supported") || e.to_string().contains("unknown function") => {
            return Verdict::Skipped;
        }
        Err(e) => return Verdict::Failed(format!("refused: {e}")),
    };
    let selects_native = |matchers: &Vec<Matcher>| native.iter().any(|l| matchers.iter().all(|m| m.matches(l)));
    if expr.selectors().iter().any(selects_native) {
        return Verdict::Skipped;
    }
    let mut lines: Vec<(Labels, Vec<Option<f64>>)> = Vec::new();
    let mut scalar = None;
    for line in &case.expected {
        if let Some(v) = number::parse(line.trim()) {
            scalar = Some(v);
            continue;
        }
        let Some((labels, values)) = series_line(line) else { return Verdict::Failed(format!("unreadable: {line}")) };
        let Some(values) = points(values) else { return Verdict::Failed(format!("unreadable: {line}")) };
        lines.push((labels, values));
    }
    match case.when {
        When::Instant(at) => {
            let got = promql::instant(reader, &expr, Timestamp::from_ms(at), &opts).await;
            match got {
                Err(_) if case.fails => Verdict::Passed,
                Err(e) => Verdict::Failed(e.to_string()),
                Ok(v) if case.fails => Verdict::Failed(format!("should fail, gave {v:?}")),
                Ok(Value::Scalar(v)) => match scalar {
                    Some(want) if near(v, want) => Verdict::Passed,
                    want => Verdict::Failed(format!("got {v}, want {want:?}")),
                },
                Ok(Value::Vector(mut got)) => {
                    let mut want: Vec<(Labels, f64)> =
                        lines.into_iter().map(|(l, v)| (l, v.first().copied().flatten().unwrap_or(f64::NAN))).collect();
                    if !case.ordered {
                        got.sort_by(|a, b| a.0.cmp(&b.0));
                        want.sort_by(|a, b| a.0.cmp(&b.0));
                    }
                    let same =
                        got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| g.0 == w.0 && near(g.1, w.1));
                    if same { Verdict::Passed } else { Verdict::Failed(format!("got {got:?}\n     want {want:?}")) }
                }
                // The scripts write a range with its own steps; the instant tests of ranges are ours.
                Ok(Value::Matrix(_) | Value::String(_)) => Verdict::Skipped,
            }
        }
        When::Range { start, end, step } => {
            let (from, to) = (Timestamp::from_ms(start), Timestamp::from_ms(end));
            match promql::range(reader, &expr, from, to, Duration::from_millis(step as u64), &opts).await {
                Err(_) if case.fails => Verdict::Passed,
                Err(e) => Verdict::Failed(e.to_string()),
                Ok(v) if case.fails => Verdict::Failed(format!("should fail, gave {v:?}")),
                Ok(got) => {
                    let mut want: Vec<(Labels, Vec<(i64, f64)>)> = lines
                        .into_iter()
                        .map(|(l, v)| {
                            let at = |(i, v): (usize, Option<f64>)| v.map(|v| (start + i as i64 * step, v));
                            (l, v.into_iter().enumerate().filter_map(at).collect::<Vec<_>>())
                        })
                        .filter(|(_, v)| !v.is_empty())
                        .collect();
                    want.sort_by(|a, b| a.0.cmp(&b.0));
                    let same = got.len() == want.len()
                        && got.iter().zip(&want).all(|(g, (labels, points))| {
                            g.labels == *labels
                                && g.samples.len() == points.len()
                                && g.samples.iter().zip(points).all(|(s, (t, v))| s.t.ms() == *t && near(s.v, *v))
                        });
                    if same { Verdict::Passed } else { Verdict::Failed(format!("got {got:?}\n     want {want:?}")) }
                }
            }
        }
    }
}

#[tokio::test]
async fn scripts_pass() {
    let (passed, skipped) = run_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/promql")).await;
    assert!(passed >= 45 && skipped == 0, "{passed} passed, {skipped} left out");
    if let Some(dir) = std::env::var_os("PROMQLTEST_DIR") {
        let (passed, skipped) = run_folder(Path::new(&dir)).await;
        println!("{}: {passed} passed, {skipped} left out", dir.to_string_lossy());
        assert!(passed > skipped, "{passed} passed, {skipped} left out");
    }
}

/// Runs every script of a folder; how many cases passed and how many were left out.
async fn run_folder(dir: &Path) -> (usize, usize) {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "test"));
    files.sort();
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
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
                    Some(what) if what.starts_with("fail") => case.fails = true,
                    Some("ordered") => case.ordered = true,
                    Some(what) if what.starts_with("range") || what.starts_with("string") => {}
                    Some(_) => {}
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
            if KNOWN.iter().any(|(part, _)| case.query.contains(part)) {
                skipped += 1;
                continue;
            }
            match run(&case, &reader, &native).await {
                Verdict::Passed => passed += 1,
                Verdict::Skipped => skipped += 1,
                Verdict::Failed(why) => failures.push(format!("{name}:{}: {}\n     {why}", case.line, case.query)),
            }
        }
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
