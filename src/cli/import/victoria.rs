//! VictoriaMetrics' JSON line export (`/api/v1/export`), piece by piece: on each line one series, or a stretch of one, as
//! `{"metric":{"__name__":"up",…},"values":[1,0],"timestamps":[1700000000000,1700000015000]}`, times in milliseconds.
//!
//! A line is held until it ends. Older versions write `+Inf` and `NaN` bare, which no JSON parser takes, and numbers must
//! arrive to the last bit: the arrays are read here, `serde_json` reads the labels. The only NaN that VictoriaMetrics
//! keeps is the stale marker; newer versions write it as `null`.

use std::collections::{BTreeMap, HashSet};

use crate::domain::clock::Timestamp;
use crate::domain::exposition::{LIMITS, ParseError, ParseErrorKind};
use crate::domain::metric::{Labels, NAME, Sample, stale_marker};
use crate::store::samples::SeriesBatch;

/// Longest line: some three million samples. `max_rows_per_line` makes an export's lines shorter.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Series of one file: more than the store takes.
const SERIES_MAX: usize = 300_000;

#[derive(Default)]
pub(super) struct Lines {
    number: usize,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    series: HashSet<Labels>,
    found: SeriesBatch,
    waiting: usize,
}

/// Why a line is refused: where in it, and what.
type Refused = (usize, String);

impl Lines {
    /// Does a file that begins like this hold such lines? OpenMetrics may open a brace, too, and a quote in it, but puts no
    /// colon behind that.
    pub(super) fn begin_with(bytes: &[u8]) -> bool {
        let mut at = Cursor { line: bytes, at: 0 };
        at.white();
        if !at.take(b'{') {
            return false;
        }
        at.white();
        matches!(at.name(), Ok("metric" | "values" | "timestamps")) && {
            at.white();
            at.take(b':')
        }
    }

    /// Bytes as they come, cut anywhere. After an error nothing more may be fed.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ParseError> {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            if self.rest.is_empty() {
                self.line(&bytes[..end])?;
            } else {
                self.keep(&bytes[..end])?;
                let line = std::mem::take(&mut self.rest);
                self.line(&line)?;
            }
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes)
    }

    pub(super) fn finish(&mut self) -> Result<(), ParseError> {
        let line = std::mem::take(&mut self.rest);
        if line.is_empty() { Ok(()) } else { self.line(&line) }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }
    pub(super) fn take(&mut self) -> SeriesBatch {
        self.waiting = 0;
        std::mem::take(&mut self.found)
    }
    /// Distinct series so far.
    pub(super) fn series(&self) -> usize {
        self.series.len()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        if self.rest.len() + bytes.len() > LINE_BYTES_MAX {
            let mib = LINE_BYTES_MAX >> 20;
            let message = format!("the line is longer than {mib} MiB; export with max_rows_per_line=100000");
            return Err(ParseError { line: self.number + 1, column: 1, message, kind: ParseErrorKind::Limit });
        }
        self.rest.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ParseError> {
        self.number += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let number = self.number;
        let refused =
            |(at, message)| ParseError { line: number, column: at + 1, message, kind: ParseErrorKind::Syntax };
        let (labels, samples) = series(line).map_err(refused)?;
        let labels = match self.series.get(&labels) {
            Some(known) => known.clone(),
            None if self.series.len() >= SERIES_MAX => {
                let message = format!("more than {SERIES_MAX} series");
                return Err(ParseError { line: number, column: 1, message, kind: ParseErrorKind::Limit });
            }
            None => {
                self.series.insert(labels.clone());
                labels
            }
        };
        if !samples.is_empty() {
            self.waiting += samples.len();
            self.found.push((labels, samples));
        }
        Ok(())
    }
}

/// One line.
fn series(line: &[u8]) -> Result<(Labels, Vec<Sample>), Refused> {
    let mut at = Cursor { line, at: 0 };
    let (mut metric, mut values, mut times) = (None, None, None);
    at.white();
    at.expect(b'{')?;
    loop {
        at.white();
        let begun = at.at;
        let key = at.name()?;
        at.white();
        at.expect(b':')?;
        at.white();
        match key {
            "metric" => metric = Some(at.labels()?),
            "values" => values = Some(at.array(value)?),
            "timestamps" => times = Some(at.array(|text| text.parse::<i64>().ok())?),
            other => return Err((begun, format!("`{}` is no key of an export", other.escape_debug()))),
        }
        at.white();
        if !at.take(b',') {
            break;
        }
    }
    at.expect(b'}')?;
    at.white();
    if at.at < line.len() {
        return Err((at.at, "nothing may follow the object".into()));
    }
    let (Some(labels), Some(values), Some(times)) = (metric, values, times) else {
        return Err((0, "the line needs metric, values and timestamps".into()));
    };
    if values.len() != times.len() {
        return Err((0, format!("{} values have {} timestamps", values.len(), times.len())));
    }
    let mut samples: Vec<Sample> =
        times.into_iter().zip(values).map(|(t, v)| Sample { t: Timestamp::from_ms(t), v }).collect();
    samples.sort_by_key(|s| s.t);
    Ok((labels, samples))
}

fn value(text: &str) -> Option<f64> {
    match text {
        "null" | "NaN" => Some(stale_marker()),
        "Inf" | "+Inf" | "Infinity" => Some(f64::INFINITY),
        "-Inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        // `f64::from_str` knows words of its own.
        _ => text.parse().ok().filter(|_| text.ends_with(|c: char| c.is_ascii_digit() || c == '.')),
    }
}

struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn white(&mut self) {
        self.at += self.line[self.at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.line.get(self.at) == Some(&byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Refused> {
        if self.take(byte) { Ok(()) } else { Err((self.at, format!("expected `{}`", byte as char))) }
    }

    /// A key, which has no escapes.
    fn name(&mut self) -> Result<&'a str, Refused> {
        self.expect(b'"')?;
        let rest = &self.line[self.at..];
        let end = rest.iter().position(|b| *b == b'"').ok_or((self.at, "the key is not closed".to_string()))?;
        let name = std::str::from_utf8(&rest[..end]).map_err(|_| (self.at, "the key is not UTF-8".to_string()))?;
        self.at += end + 1;
        Ok(name)
    }

    fn labels(&mut self) -> Result<Labels, Refused> {
        let mut read =
            serde_json::Deserializer::from_slice(&self.line[self.at..]).into_iter::<BTreeMap<String, String>>();
        let labels = match read.next() {
            Some(Ok(labels)) => labels,
            Some(Err(e)) => return Err((self.at + e.column().saturating_sub(1), format!("the labels: {e}"))),
            None => return Err((self.at, "the labels are missing".into())),
        };
        let begun = self.at;
        self.at += read.byte_offset();
        match unfit(&labels) {
            Some(why) => Err((begun, why)),
            None => Ok(Labels::new(labels)),
        }
    }

    /// Items without commas of their own; quotes around one do not count.
    fn array<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Refused> {
        self.expect(b'[')?;
        let rest = &self.line[self.at..];
        let end = rest.iter().position(|b| *b == b']').ok_or((self.at, "the list is not closed".to_string()))?;
        let whole = rest[..end].trim_ascii();
        let mut out = Vec::new();
        if !whole.is_empty() {
            for item in rest[..end].split(|b| *b == b',') {
                let text = std::str::from_utf8(item.trim_ascii()).unwrap_or("?");
                let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
                let shown = || text.chars().take(40).collect::<String>().escape_debug().to_string();
                out.push(read(bare).ok_or_else(|| (self.at, format!("`{}` cannot be read", shown())))?);
                self.at += item.len() + 1;
            }
        } else {
            self.at += end + 1;
        }
        Ok(out)
    }
}

/// The limits of a scrape hold here too.
fn unfit(labels: &BTreeMap<String, String>) -> Option<String> {
    let long = |what: &str, most: usize| Some(format!("{what} is longer than {most} bytes"));
    match () {
        () if labels.get(NAME).is_none_or(String::is_empty) => Some("a series without __name__".into()),
        () if labels.len() > LIMITS.labels + 1 => Some(format!("more than {} labels", LIMITS.labels)),
        () if labels.contains_key("") => Some("a label without a name".into()),
        () if labels[NAME].len() > LIMITS.name_bytes => long("the name", LIMITS.name_bytes),
        () if labels.keys().any(|k| k.len() > LIMITS.name_bytes) => long("a label's name", LIMITS.name_bytes),
        () if labels.values().any(|v| v.len() > LIMITS.value_bytes) => long("a label's value", LIMITS.value_bytes),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::STALE_BITS;

    /// Cut after every `step` bytes.
    fn read(text: &str, step: usize) -> Result<Vec<String>, String> {
        let mut lines = Lines::default();
        let fed = text.as_bytes().chunks(step).try_for_each(|piece| lines.feed(piece)).and_then(|()| lines.finish());
        fed.map_err(|e| format!("{}:{}: {}", e.line, e.column, e.message))?;
        let sample = |s: &Sample| {
            let v = if s.v.to_bits() == STALE_BITS { "stale".to_string() } else { s.v.to_string() };
            format!("{v}@{}", s.t.ms())
        };
        let shown = |(labels, samples): &(Labels, Vec<Sample>)| {
            format!("{labels} {}", samples.iter().map(sample).collect::<Vec<_>>().join(" "))
        };
        Ok(lines.take().iter().map(shown).collect())
    }

    #[test]
    fn old_and_new_spellings_are_read_however_they_are_cut() {
        let text = "{\"metric\":{\"__name__\":\"a\",\"q\":\"x\\\"\\n\"},\"values\":[1.5,0.1,1e-7],\"timestamps\":[1,3,2]}\n\n\
                    { \"timestamps\" : [1, 2,3,4,5] , \"values\": [+Inf,-Inf,NaN,null,\"Infinity\"], \"metric\": {\"__name__\":\"b\",\"e\":\"\"}}\r\n\
                    {\"metric\":{\"__name__\":\"c\"},\"values\":[],\"timestamps\":[]}\n\
                    {\"metric\":{\"__name__\":\"b\"},\"values\":[123456789.12345678],\"timestamps\":[6]}";
        let expected = [
            r#"a{q="x\"\n"} 1.5@1 0.0000001@2 0.1@3"#,
            "b inf@1 -inf@2 stale@3 stale@4 inf@5",
            "b 123456789.12345678@6",
        ];
        for step in [1, 7, 64, 10_000] {
            assert_eq!(read(text, step).unwrap(), expected, "{step}");
        }
        assert!(Lines::begin_with(text.as_bytes()) && Lines::begin_with(b" {\n \"values\" :["));
        for other in
            ["", "{", "a 1 1", "{\"a:b\"} 1 1", "{\"metric\"} 1 1", "{\"metric\",a=\"b\"} 1 1", "# EOF", "{\"x\":1}"]
        {
            assert!(!Lines::begin_with(other.as_bytes()), "{other}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_read_alike_however_it_is_cut(text in "[{\\[\"metricvalues,:0-9.NIn+\\]} ]{0,60}|\\{\"metric\":\\{\"__name__\":\"a\"\\},\"values\":\\[[0-9,nul\"I]{0,9}\\],\"timestamps\":\\[[0-9,]{0,9}\\]\\}", step in 1usize..9) {
            proptest::prop_assert_eq!(read(&text, step), read(&text, 1000));
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        let good = "{\"metric\":{\"__name__\":\"a\"},\"values\":[1],\"timestamps\":[1]}";
        for (from, to, expected) in [
            ("[1],\"t", "[1,x],\"t", "2:40: `x` cannot be read"),
            ("[1],\"t", "[1,infinity],\"t", "`infinity` cannot be read"),
            ("[1],\"t", "[1,2],\"t", "2 values have 1 timestamps"),
            ("[1]}", "[1.5]}", "`1.5` cannot be read"),
            ("[1]}", "[1]", "expected `}`"),
            ("[1]}", "[1", "the list is not closed"),
            ("[1]}", "[1]} x", "nothing may follow"),
            ("{\"__name__\":\"a\"}", "{}", "without __name__"),
            ("{\"__name__\":\"a\"}", "{\"__name__\":1}", "the labels: invalid type"),
            ("\"metric\"", "\"matric\"", "2:2: `matric` is no key"),
            ("\"metric\":{\"__name__\":\"a\"},", "", "needs metric"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let why = read(&format!("{good}\n{bad}"), 1000).unwrap_err();
            assert!(why.starts_with("2:") && why.contains(expected), "{why}");
        }
    }
}
