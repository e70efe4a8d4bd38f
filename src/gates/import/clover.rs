//! Clover's XML, as PHPUnit, istanbul and OpenClover write it. Lines of type `stmt` and `cond` are code; `method` rows
//! stand beside them and would count a line twice. Files of `<testproject>` are tests, not the product. The metrics
//! of a file are held against its lines: PHPUnit counts the same, istanbul several statements on a line.

use super::counted::{Counts, damaged};
use super::xml::{Step, walk};
use super::{Coverage, ImportError, Tally, epoch, slashes};

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    let mut file: Option<String> = None;
    let mut writer = Writer::PhpUnit;
    let mut metrics: Vec<(String, Tally)> = Vec::new();
    walk(text, |path, step| {
        let in_tests = path.iter().any(|p| p == "testproject");
        match step {
            Step::Open { name, attributes } if path.len() == 1 => {
                if name != "coverage" {
                    return Err("the root element is not <coverage>".into());
                }
                writer = Writer::of(attributes.get("clover").map(String::as_str));
                report.made_at = attributes.get("generated").and_then(|t| epoch(t));
            }
            Step::Open { name: "file", attributes } if !in_tests => {
                // PHPUnit's name is the path; the others keep the path apart.
                let path = attributes.get("path").or(attributes.get("name")).ok_or("a <file> without name")?;
                let path = slashes(path);
                report.files.entry(path.clone()).or_default();
                file = Some(path);
            }
            Step::Close { name: "file" } => file = None,
            // Those of the file itself; a class in it has its own.
            Step::Open { name: "metrics", attributes } if path.iter().rev().nth(1).is_some_and(|p| p == "file") => {
                let count = |key: &str| attributes.get(key).and_then(|v| v.trim().parse::<u64>().ok());
                if let (Some(file), Some(total), Some(covered)) =
                    (&file, count("statements"), count("coveredstatements"))
                {
                    metrics.push((file.clone(), Tally { covered, total }));
                }
            }
            Step::Open { name: "line", attributes } => {
                let Some(file) = &file else { return Ok(()) };
                let number = |key: &str| attributes.get(key).and_then(|v| v.trim().parse::<u64>().ok());
                let line = number("num").and_then(|n| u32::try_from(n).ok()).ok_or("a <line> without num")?;
                let either = || number("truecount").zip(number("falsecount")).map(|(t, f)| t.saturating_add(f));
                let hits = match attributes.get("type").map(String::as_str) {
                    Some("stmt") => number("count"),
                    Some("cond") => number("count").or_else(either),
                    _ => return Ok(()),
                };
                if line > 0 {
                    report.add(file, line, hits.ok_or("a <line> without count")?);
                }
            }
            Step::Open { .. } | Step::Text(_) | Step::Close { .. } => {}
        }
        Ok(())
    })?;
    if report.files.is_empty() {
        return Err(ImportError::Empty("<file>"));
    }
    let mut counts = Counts::default();
    for (file, own) in metrics {
        let read = report.lines(&file);
        match writer {
            Writer::PhpUnit => counts.add(&file, own, read),
            // Each line has one statement or more, and a line that ran one that did.
            Writer::Istanbul if own.total < read.total || own.covered < read.covered => {
                return Err(damaged(&file, own, read));
            }
            Writer::Istanbul | Writer::Other => {}
        }
    }
    counts.settle(&mut report)?;
    Ok(report)
}

/// Who wrote it says how statements and lines relate.
enum Writer {
    PhpUnit,
    Istanbul,
    Other,
}

impl Writer {
    fn of(clover: Option<&str>) -> Writer {
        match clover {
            None => Writer::PhpUnit,
            Some("3.2.0") => Writer::Istanbul,
            Some(_) => Writer::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::gates::import::cuts;

    /// As nyc and jest write it.
    const ISTANBUL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<coverage generated="1795341600000" clover="3.2.0">
  <project timestamp="1795341600000" name="All files">
    <metrics statements="3" coveredstatements="2" conditionals="2" coveredconditionals="1" methods="1" coveredmethods="1"/>
    <file name="cart.js" path="C:\shop\src\cart.js">
      <metrics statements="3" coveredstatements="2"/>
      <line num="2" count="4" type="cond" truecount="1" falsecount="1"/>
      <line num="3" count="0" type="stmt"/>
      <line num="7" count="1" type="stmt"/>
    </file>
  </project>
</coverage>"#;

    #[test]
    fn reads_the_dialects() {
        let report = parse(ISTANBUL).unwrap();
        assert_eq!(report.files["C:/shop/src/cart.js"], [(2, 4), (3, 0), (7, 1)].into());
        assert_eq!(report.made_at, Some(Timestamp::from_ms(1_795_341_600_000)));
        let phpunit = r#"<coverage generated="1795341600"><project timestamp="1795341600"><package name="Shop">
            <file name="/ci/src/Cart.php"><class name="Cart" namespace="Shop"><metrics methods="1"/></class>
            <line num="5" type="method" name="total" visibility="public" complexity="2" crap="2" count="1"/>
            <line num="6" type="stmt" count="1"/><line num="9" type="stmt" count="0"/></file></package></project></coverage>"#;
        assert_eq!(parse(phpunit).unwrap().files["/ci/src/Cart.php"], [(6, 1), (9, 0)].into());
        let openclover = r#"<coverage generated="1795341600000" clover="4.5.0"><project><package name="a">
            <file name="A.java" path="/ci/src/A.java"><line num="3" type="cond" truecount="0" falsecount="2"/></file></package></project>
            <testproject><package name="a"><file name="ATest.java" path="/ci/test/ATest.java"/></package></testproject></coverage>"#;
        let report = parse(openclover).unwrap();
        assert_eq!(report.files["/ci/src/A.java"], [(3, 2)].into());
        assert_eq!(report.files.len(), 1);
    }

    #[test]
    fn metrics_are_held_against_the_lines() {
        let more = ISTANBUL.replace(r#"num="3" count="0""#, r#"num="3" count="5""#);
        assert!(matches!(parse(&more), Err(ImportError::Damaged(_))), "{more}");
        let phpunit = r#"<coverage generated="1"><project><file name="/ci/A.php"><class name="A"><metrics statements="9" coveredstatements="9"/></class>
            <line num="6" type="stmt" count="1"/><line num="9" type="stmt" count="0"/><metrics statements="2" coveredstatements="1"/></file></project></coverage>"#;
        assert!(parse(phpunit).is_ok());
        let less = phpunit.replace(r#"num="6" type="stmt" count="1""#, r#"num="6" type="stmt" count="0""#);
        assert!(matches!(parse(&less), Err(ImportError::Damaged(_))));
    }

    #[test]
    fn other_xml_is_refused() {
        for bad in
            ["<report/>", "<coverage/>", "<coverage><file name='a'><line num='1' type='stmt'/></file></coverage>"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..ISTANBUL.len()) {
            cuts::refused(ISTANBUL, at, parse)?;
        }
    }
}
