//! OpenMetrics with timestamps, piece by piece: what `hypercare import` reads. Of any length, in bounded memory.
//!
//! A file of history names few series on very many lines. The part of a line before its value is looked up as it stands;
//! only a series that is new, or a line that is odd, goes through the whole grammar of `line.rs`. Families may come in any
//! order, as promtool takes them.

use std::collections::{HashMap, HashSet};

use super::line::{Line, Measured, Sampled};
use super::{Format, LIMITS, ParseError, ParseErrorKind, Strings, not_utf8};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Metadata, MetricKind, Sample, Text};

/// Series of one file: more than the store takes.
const SERIES_MAX: usize = 300_000;
/// Families whose metadata are kept.
const FAMILIES_MAX: usize = 20_000;

/// Feed it, take what it found, finish it.
#[derive(Default)]
pub struct Stream {
    /// Lines so far.
    number: usize,
    ended: bool,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    /// By the bytes before the value.
    series: HashMap<Box<[u8]>, usize>,
    /// However they are spelt.
    by_labels: HashMap<Labels, usize>,
    labels: Vec<Labels>,
    /// The last line's series: often the next one's too.
    last: (Vec<u8>, usize),
    texts: HashSet<Text>,
    families: HashMap<String, Metadata>,
    found: Vec<(Labels, Vec<Sample>)>,
    /// Place of each series in `found`, or none.
    places: Vec<Option<u32>>,
    waiting: usize,
}

impl Stream {
    pub fn new() -> Stream {
        Stream::default()
    }

    /// Bytes as they come, cut anywhere. After an error nothing more may be fed.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ParseError> {
        if !self.rest.is_empty() {
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else { return self.keep(bytes) };
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&bytes[..end]);
            self.line(&line)?;
            bytes = &bytes[end + 1..];
        }
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.line(&bytes[..end])?;
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes)
    }

    /// The end of the file. It must have been `# EOF`.
    pub fn finish(&mut self) -> Result<(), ParseError> {
        let rest = std::mem::take(&mut self.rest);
        if rest == b"# EOF" && !self.ended {
            self.ended = true;
        } else if !rest.is_empty() {
            self.line(&rest)?;
        }
        if self.ended {
            return Ok(());
        }
        let message = "the file is cut short: OpenMetrics ends with # EOF".to_string();
        Err(ParseError { line: self.number + 1, column: 1, message, kind: ParseErrorKind::Syntax })
    }

    /// Samples that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
    /// Everything found since the last call, by series, each in the file's order.
    pub fn take(&mut self) -> Vec<(Labels, Vec<Sample>)> {
        self.places.fill(None);
        self.waiting = 0;
        std::mem::take(&mut self.found)
    }
    /// Distinct series so far.
    pub fn series(&self) -> usize {
        self.labels.len()
    }
    /// What the file says of its families, by name.
    pub fn take_metadata(&mut self) -> Vec<Metadata> {
        let mut all: Vec<Metadata> = std::mem::take(&mut self.families).into_values().collect();
        all.sort_by(|a, b| a.family.cmp(&b.family));
        all
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() <= LIMITS.line_bytes {
            return Ok(());
        }
        let message = format!("the line is longer than {} bytes", LIMITS.line_bytes);
        Err(ParseError { line: self.number + 1, column: 1, message, kind: ParseErrorKind::Limit })
    }

    fn line(&mut self, line: &[u8]) -> Result<(), ParseError> {
        self.number += 1;
        if self.ended {
            let message = "nothing may follow # EOF".to_string();
            return Err(ParseError { line: self.number, column: 1, message, kind: ParseErrorKind::Syntax });
        }
        if let Some((key, value, t)) = split(line) {
            if self.last.0 == key {
                self.push(self.last.1, Sample { t, v: value });
                return Ok(());
            }
            if let Some(series) = self.series.get(key).copied() {
                self.last.0.clear();
                self.last.0.extend_from_slice(key);
                self.last.1 = series;
                self.push(series, Sample { t, v: value });
                return Ok(());
            }
        }
        self.whole_line(line)
    }

    fn whole_line(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|e| ParseError { line: self.number, ..not_utf8(bytes, e.valid_up_to()) })?;
        let mut line = Line::new(text, self.number, Format::OpenMetrics, LIMITS);
        if text.len() > LIMITS.line_bytes {
            return Err(line.limit(0, format!("the line is longer than {} bytes", LIMITS.line_bytes)));
        }
        if text == "# EOF" {
            self.ended = true;
            return Ok(());
        }
        if line.peek() == Some(b'#') {
            return self.comment(&mut line);
        }
        let Sampled { labels, measured: Measured { value, timestamp_ms, .. }, .. } =
            line.sample(&mut Strings::default(), None, &mut false)?;
        let Some(t) = timestamp_ms else {
            return Err(line.error(text.len(), "a sample to import needs a timestamp, in seconds"));
        };
        let series = self.new_series(bytes, &labels, &line)?;
        self.push(series, Sample { t: Timestamp::from_ms(t), v: value });
        Ok(())
    }

    fn comment(&mut self, line: &mut Line) -> Result<(), ParseError> {
        let Some((keyword, _)) = line.comment_keyword()? else {
            return Err(line.error(0, "OpenMetrics allows no comment but # HELP, # TYPE, # UNIT and # EOF"));
        };
        let name = line.metric_name_anywhere()?.into_owned();
        let empty = |family: &str| {
            let (kind, help, unit) = (MetricKind::Unknown, String::new(), String::new());
            Metadata { family: family.to_string(), kind, help, unit }
        };
        let mut spare = empty(&name);
        let is_full = self.families.len() >= FAMILIES_MAX && !self.families.contains_key(&name);
        let family = if is_full { &mut spare } else { self.families.entry(name).or_insert(spare) };
        match keyword {
            "TYPE" => family.kind = line.kind()?,
            "HELP" => family.help = line.help_text()?,
            _ => family.unit = line.unit()?.to_string(),
        }
        Ok(())
    }

    /// The number of `labels`, under which the part of `bytes` before the value is remembered.
    fn new_series(&mut self, bytes: &[u8], labels: &Labels, line: &Line) -> Result<usize, ParseError> {
        let key = key_end(bytes).map(|end| &bytes[..end]);
        if let Some(known) = self.by_labels.get(labels).copied() {
            if let Some(key) = key
                && self.series.len() < SERIES_MAX
            {
                self.series.insert(key.into(), known);
            }
            return Ok(known);
        }
        if self.labels.len() >= SERIES_MAX {
            return Err(line.limit(0, format!("more than {SERIES_MAX} series")));
        }
        let mut share = |text: &Text| match self.texts.get(text) {
            Some(known) => known.clone(),
            None => {
                self.texts.insert(text.clone());
                text.clone()
            }
        };
        let labels = Labels::new(labels.pairs().iter().map(|(n, v)| (share(n), share(v))).collect::<Vec<_>>());
        let series = self.labels.len();
        self.by_labels.insert(labels.clone(), series);
        self.labels.push(labels);
        self.places.push(None);
        if let Some(key) = key {
            self.series.insert(key.into(), series);
        }
        Ok(series)
    }

    fn push(&mut self, series: usize, sample: Sample) {
        self.waiting += 1;
        match self.places[series] {
            Some(place) => self.found[place as usize].1.push(sample),
            None => {
                self.places[series] = Some(self.found.len() as u32);
                self.found.push((self.labels[series].clone(), vec![sample]));
            }
        }
    }
}

/// An ordinary line as series, value and time. `None` sends it through the whole grammar, which also knows what is wrong.
fn split(line: &[u8]) -> Option<(&[u8], f64, Timestamp)> {
    let (key, rest) = line.split_at(key_end(line)?);
    let rest = rest.strip_prefix(b" ")?;
    let space = rest.iter().position(|b| *b == b' ')?;
    let (value, time) = (std::str::from_utf8(&rest[..space]).ok()?, &rest[space + 1..]);
    // The grammar decides about words such as NaN and about signs before them.
    if key.is_empty() || !value.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E')) {
        return None;
    }
    Some((key, value.parse().ok()?, seconds(time)?))
}

/// Where name and labels end, if they end at all.
fn key_end(line: &[u8]) -> Option<usize> {
    let mut at = line.iter().position(|b| matches!(b, b'{' | b' '))?;
    if line[at] == b' ' {
        return Some(at);
    }
    let mut quoted = false;
    loop {
        at += 1;
        match line.get(at)? {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b'}' if !quoted => return Some(at + 1),
            _ => {}
        }
    }
}

/// Seconds with at most three decimals, exactly.
fn seconds(text: &[u8]) -> Option<Timestamp> {
    let (whole, decimals) = match text.iter().position(|b| *b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() || whole.len() > 12 || decimals.len() > 3 {
        return None;
    }
    let mut ms = 0i64;
    for digit in whole.iter().chain(decimals) {
        ms = ms * 10 + i64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    Some(Timestamp::from_ms(ms * [1000, 100, 10, 1][decimals.len()]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8], piece: usize) -> Result<Vec<String>, ParseError> {
        let mut stream = Stream::new();
        for piece in body.chunks(piece) {
            stream.feed(piece)?;
        }
        stream.finish()?;
        let show = |s: &Sample| format!("{}@{}", s.v, s.t.ms());
        let line = |(labels, samples): &(Labels, Vec<Sample>)| {
            format!("{labels} {}", samples.iter().map(show).collect::<Vec<_>>().join(" "))
        };
        Ok(stream.take().iter().map(line).collect())
    }

    #[test]
    fn series_are_gathered_however_the_bytes_are_cut() {
        // A value or a time that is written oddly belongs to its series all the same; so do labels in another order.
        let body = "# TYPE a counter\n# HELP a Ä.\na_total{x=\"} \\\"1\"} 1 1\na_total{x=\"2\"} 2 1.5\n\
            a_total{x=\"} \\\"1\"} 3.5e2 2.25\nb NaN 3\nb 4 1e3\n{\"käse\",l=\"ü\",k=\"1\"} -1 4.0001\n\
            {\"käse\",k=\"1\",l=\"ü\"} 2 5\nb 5 1005 # {t=\"1\"} 2\n# EOF";
        let expect =
            ["a_total{x=\"} \\\"1\"} 1@1000 350@2250", "a_total{x=\"2\"} 2@1500", "b NaN@3000 4@1000000 5@1005000"];
        for piece in [1, 2, 7, 1000] {
            let found = read(body.as_bytes(), piece).unwrap();
            assert_eq!(found[..3], expect, "pieces of {piece}");
            assert!(found[3].ends_with("-1@4000 2@5000"), "{}", found[3]);
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        for (body, expect) in [
            ("a 1 1\na 2\n# EOF\n", "line 2, column 4: a sample to import needs a timestamp"),
            ("a 1 1\na 1_2 1\n# EOF\n", "line 2, column 3: `1_2` is not a value"),
            ("a 1 1\na 2 z\n# EOF\n", "line 2, column 5: `z` is not a timestamp"),
            ("a 1 1\n", "line 2, column 1: the file is cut short"),
            ("a 1 1\n# EOF\na 1 2\n", "line 3, column 1: nothing may follow"),
            ("a{b=\"1} 1 1\n# EOF\n", "line 1, column 5: the quote is never closed"),
            ("a 1 1\n\n# EOF\n", "line 2, column 1: expected a metric's name"),
            ("# FOO\n# EOF\n", "line 1, column 1: OpenMetrics allows no comment"),
            ("a  1 1\n# EOF\n", "line 1, column 3: expected a value"),
        ] {
            let error = read(body.as_bytes(), 3).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{body:?}: {error}");
        }
        let error = read(b"a 1 1\na{x=\"\xff\"} 1 1\n# EOF\n", 5).unwrap_err();
        assert_eq!((error.line, error.column, &*error.message), (2, 6, "not UTF-8"));
        let error = read(&vec![b'a'; 70_000], 1000).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::Limit);
    }

    proptest! {
        #[test]
        fn reads_what_the_parser_reads(body in "([ab]\\{x=\"[yz \\\\]{0,2}\"\\} [0-9.eE+-]{1,5} [0-9.]{1,6}\n|b [0-9]{1,3} [0-9]\n){0,8}") {
            let body = format!("{body}# EOF\n");
            let parsed = super::super::parse_within(Some("application/openmetrics-text"), body.as_bytes(), &LIMITS, &mut Default::default(), &|labels| labels);
            let found = read(body.as_bytes(), 11);
            prop_assert_eq!(parsed.as_ref().err(), found.as_ref().err());
            if let (Ok(parsed), Ok(found)) = (parsed, found) {
                let samples: usize = found.iter().map(|l| l.matches('@').count()).sum();
                prop_assert_eq!(samples, parsed.values.len());
                for (labels, (value, time)) in parsed.roster.series().iter().zip(&parsed.values) {
                    let shown = format!("{value}@{}", time.unwrap());
                    prop_assert!(found.iter().any(|l| l.starts_with(&labels.to_string()) && l.contains(&shown)));
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200), piece in 1usize..50) {
            let _ = read(&body, piece);
        }
    }
}
