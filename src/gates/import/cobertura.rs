//! Cobertura's XML, as coverage.py, gcovr, c8, nyc, PHPUnit, coverlet and many more write it: `class` elements with a
//! `filename`, relative to one of the `<source>` folders, and `line number hits`. What the root and the classes say of
//! covered lines is held against the lines.

use std::collections::BTreeMap;

use super::counted::damaged;
use super::xml::{Step, walk};
use super::{Coverage, ImportError, Lines, Tally, epoch, slashes};

/// Of classes whose rate is not that of their lines: one in so many is damage, more are another way to count.
const DAMAGED_ONE_IN: usize = 10;

/// One `<class>`.
#[derive(Default)]
struct Class {
    file: String,
    rate: Option<String>,
    own: Lines,
    of_methods: Lines,
    /// Rows, with those that repeat a line.
    rows: Tally,
}

/// What the writer counted, and what its classes hold.
#[derive(Default)]
struct Said {
    whole: Option<Tally>,
    /// Rows by file: a writer may count a line once for each method on it.
    rows: BTreeMap<String, Tally>,
    /// Classes whose rate is not that of their lines, and the first of them.
    off: usize,
    first: Option<(String, Tally, Tally)>,
    classes: usize,
}

/// Reads a report. Lines of `<methods>` repeat those of their class and count only where the class has none itself.
pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    let mut said = Said::default();
    let mut source: Option<String> = None;
    let mut class: Option<Class> = None;
    let mut is_cobertura = false;
    walk(text, |path, step| {
        match step {
            Step::Open { name: "coverage", attributes } if path.len() == 1 => {
                is_cobertura = true;
                report.made_at = attributes.get("timestamp").and_then(|t| epoch(t));
                let count = |key: &str| attributes.get(key).and_then(|v| v.trim().parse::<u64>().ok());
                let whole = count("lines-covered").zip(count("lines-valid"));
                said.whole = whole.map(|(covered, total)| Tally { covered, total });
            }
            Step::Open { .. } if !is_cobertura => return Err("the root element is not <coverage>".into()),
            Step::Open { name: "source", .. } => source = Some(String::new()),
            Step::Text(text) => {
                if let Some(source) = &mut source {
                    source.push_str(text);
                }
            }
            Step::Close { name: "source" } => {
                report.roots.extend(source.take().map(|s| slashes(&s)).filter(|s| !s.is_empty()));
            }
            Step::Open { name: "class", attributes } => {
                let file = attributes.get("filename").ok_or("a <class> without filename")?;
                let rate = attributes.get("line-rate").cloned();
                class = Some(Class { file: slashes(file), rate, ..Class::default() });
            }
            Step::Open { name: "line", attributes } => {
                let Some(class) = &mut class else { return Ok(()) };
                let number = |key: &str| attributes.get(key).and_then(|v| v.trim().parse::<f64>().ok());
                let (line, hits) = number("number").zip(number("hits")).ok_or("a <line> without number and hits")?;
                if line >= 1.0 && line <= f64::from(u32::MAX) {
                    let in_method = path.iter().any(|p| p == "method");
                    let lines = if in_method { &mut class.of_methods } else { &mut class.own };
                    let seen = lines.entry(line as u32).or_insert(0);
                    *seen = (*seen).max(hits.max(0.0) as u64);
                    if !in_method {
                        class.rows.total += 1;
                        class.rows.covered += u64::from(hits > 0.0);
                    }
                }
            }
            Step::Close { name: "class" } => {
                if let Some(class) = class.take() {
                    close(&mut report, &mut said, class);
                }
            }
            Step::Open { .. } | Step::Close { .. } => {}
        }
        Ok(())
    })?;
    if report.files.is_empty() { Err(ImportError::Empty("<class>")) } else { settle(report, said) }
}

fn close(report: &mut Coverage, said: &mut Said, class: Class) {
    let Class { file, rate, own, of_methods, rows } = class;
    let lines = if own.is_empty() { of_methods } else { own };
    let read = Tally { covered: lines.values().filter(|h| **h > 0).count() as u64, total: lines.len() as u64 };
    said.classes += 1;
    if let Some((rate, tolerance)) = rate.as_deref().and_then(precise).filter(|_| read.total > 0) {
        let is = |t: Tally| t.total > 0 && (t.covered as f64 / t.total as f64 - rate).abs() <= tolerance;
        if !is(read) && !is(rows) {
            said.off += 1;
            let covered = (rate.clamp(0.0, 1.0) * read.total as f64).round() as u64;
            said.first.get_or_insert((file.clone(), Tally { covered, total: read.total }, read));
        }
    }
    let sum = said.rows.entry(file.clone()).or_default();
    *sum = Tally { covered: sum.covered + rows.covered, total: sum.total + rows.total };
    report.files.entry(file.clone()).or_default();
    for (line, hits) in lines {
        report.add(&file, line, hits);
    }
}

/// A rate, and how far its digits may be off: some writers round, others cut. `1` and `0` mean all and nothing.
fn precise(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let digits = text.split_once('.').map_or(2, |(_, digits)| digits.len().clamp(1, 6));
    Some((text.parse().ok()?, 1.01 * 0.1_f64.powi(digits as i32)))
}

/// The root's count stands beside those of the classes: when both differ from the lines, lines were lost or changed.
fn settle(mut report: Coverage, said: Said) -> Result<Coverage, ImportError> {
    let sum = |tallies: &mut dyn Iterator<Item = Tally>| {
        tallies.fold(Tally::default(), |a, b| Tally { covered: a.covered + b.covered, total: a.total + b.total })
    };
    let read = sum(&mut report.files.keys().map(|file| report.lines(file)));
    let Some(whole) = said.whole.filter(|whole| *whole != read) else { return Ok(report) };
    if whole == sum(&mut said.rows.values().copied()) {
        report.tallies = said.rows;
        return Ok(report);
    }
    match said.first {
        Some((file, own, read)) if said.off * DAMAGED_ONE_IN <= said.classes.max(DAMAGED_ONE_IN) => {
            Err(damaged(&file, own, read))
        }
        // Every class agrees with its lines: a line that is missing was one of a class that is covered throughout.
        None if near(whole, read) => Err(damaged("all files together", whole, read)),
        // The root alone is damaged, or its writer counts in another way.
        _ => Ok(report),
    }
}

/// Too close for another way to count.
fn near(whole: Tally, read: Tally) -> bool {
    let limit = (read.total / 50).max(3);
    whole.total.abs_diff(read.total) <= limit && whole.covered.abs_diff(read.covered) <= limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;

    /// As nyc writes it: the method names a line that is not code of its own.
    const NYC: &str = r#"<?xml version="1.0" ?>
<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">
<coverage lines-valid="3" lines-covered="2" line-rate="0.66" timestamp="1795390364065" version="0.1">
  <sources><source>/ci/shop</source></sources>
  <packages><package name="main"><classes>
    <class name="cart.js" filename="src\cart.js" line-rate="0.66">
      <methods><method name="discount" hits="0"><lines><line number="8" hits="0"/></lines></method></methods>
      <lines><line number="2" hits="1" branch="false"/><line number="9" hits="0"/><line number="14" hits="1"/></lines>
    </class>
    <class name="empty.js" filename="src/empty.js"><methods/><lines/></class>
  </classes></package></packages>
</coverage>"#;

    #[test]
    fn reads_files_roots_and_time() {
        let report = parse(NYC).unwrap();
        assert_eq!(report.files["src/cart.js"], [(2, 1), (9, 0), (14, 1)].into());
        assert!(report.files["src/empty.js"].is_empty());
        assert_eq!(report.roots, ["/ci/shop"]);
        assert_eq!(report.made_at, Some(Timestamp::from_ms(1_795_390_364_065)));
        assert_eq!(epoch("1795390364"), Some(Timestamp::from_ms(1_795_390_364_000)));
        assert_eq!(epoch("0"), None);
    }

    #[test]
    fn a_changed_line_contradicts_its_class_and_the_root() {
        for (from, to) in
            [(r#"number="9" hits="0""#, r#"number="9" hits="7""#), (r#"<line number="14""#, r#"<lime number="14""#)]
        {
            let error = parse(&NYC.replace(from, to)).unwrap_err();
            assert!(error.to_string().starts_with("damaged: of src/cart.js "), "{error}");
        }
        // One of the two alone does no harm to the lines.
        for (from, to) in [
            (r#"lines-covered="2""#, r#"lines-covered="32""#),
            (r#"filename="src\cart.js" line-rate="0.66""#, r#"filename="src\cart.js" line-rate="0.16""#),
        ] {
            let changed = NYC.replace(from, to);
            assert_ne!(changed, NYC);
            assert_eq!(parse(&changed).unwrap().files["src/cart.js"].len(), 3, "{to}");
        }
        // coverlet: a line of two methods counts twice.
        let coverlet = r#"<coverage lines-covered="3" lines-valid="4"><packages><package><classes><class filename="a.cs" line-rate="0.75">
            <lines><line number="1" hits="1"/><line number="1" hits="1"/><line number="2" hits="4"/><line number="3" hits="0"/></lines>
            </class></classes></package></packages></coverage>"#;
        assert_eq!(parse(coverlet).unwrap().tally("a.cs"), Tally { covered: 3, total: 4 });
    }

    #[test]
    fn every_cut_is_noticed() {
        for end in (1..NYC.len()).filter(|e| NYC.is_char_boundary(*e)) {
            assert!(parse(&NYC[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn other_xml_is_refused() {
        for bad in ["<report/>", "<coverage/>", "<coverage><class/></coverage>"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
