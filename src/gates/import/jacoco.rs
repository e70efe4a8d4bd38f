//! JaCoCo's XML: packages with source files, and for each line the instructions that were missed (`mi`) and covered
//! (`ci`). A line with one covered instruction is covered, as in JaCoCo's own line counter. Paths are package and file
//! name; where the source folder lies is for the reader to find. JaCoCo's own line counter is held against the lines.

use super::counted::Counts;
use super::xml::{Step, walk};
use super::{Coverage, ImportError, Tally, epoch};

pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    let mut package: Option<String> = None;
    let mut file: Option<String> = None;
    let mut own: Vec<(String, Tally)> = Vec::new();
    walk(text, |path, step| {
        match step {
            Step::Open { name, .. } if path.len() == 1 && name != "report" => {
                return Err("the root element is not <report>".into());
            }
            // The last session is the youngest; one that ended says when.
            Step::Open { name: "sessioninfo", attributes } => {
                let dumped = attributes.get("dump").and_then(|t| epoch(t));
                report.made_at = report.made_at.max(dumped);
            }
            Step::Open { name: "package", attributes } => {
                package = Some(attributes.get("name").ok_or("a <package> without name")?.clone());
            }
            Step::Close { name: "package" } => package = None,
            Step::Open { name: "sourcefile", attributes } => {
                let name = attributes.get("name").ok_or("a <sourcefile> without name")?;
                let folder = package.as_deref().ok_or("a <sourcefile> outside of a <package>")?;
                let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                report.files.entry(path.clone()).or_default();
                file = Some(path);
            }
            Step::Close { name: "sourcefile" } => file = None,
            Step::Open { name: "line", attributes } => {
                let Some(file) = &file else { return Ok(()) };
                let number = |key: &str| attributes.get(key).and_then(|v| v.parse::<u32>().ok());
                let line = number("nr").filter(|n| *n > 0).ok_or("a <line> without nr")?;
                let (missed, covered) = number("mi").zip(number("ci")).ok_or("a <line> without instruction counts")?;
                if missed > 0 || covered > 0 {
                    report.add(file, line, u64::from(covered > 0));
                }
            }
            Step::Open { name: "counter", attributes } if attributes.get("type").is_some_and(|t| t == "LINE") => {
                let Some(file) = &file else { return Ok(()) };
                let number = |key: &str| attributes.get(key).and_then(|v| v.parse::<u64>().ok());
                let (missed, covered) =
                    number("missed").zip(number("covered")).ok_or("a <counter> without missed and covered")?;
                own.push((file.clone(), Tally { covered, total: missed.saturating_add(covered) }));
            }
            Step::Open { .. } | Step::Text(_) | Step::Close { .. } => {}
        }
        Ok(())
    })?;
    if report.files.is_empty() {
        return Err(ImportError::Empty("<sourcefile>"));
    }
    let mut counts = Counts::default();
    for (file, own) in own {
        let read = report.lines(&file);
        counts.add(&file, own, read);
    }
    counts.settle(&mut report)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::gates::import::cuts;

    const REPORT: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><!DOCTYPE report PUBLIC "-//JACOCO//DTD Report 1.1//EN" "report.dtd"><report name="shop"><sessioninfo id="ci-1" start="1795341600000" dump="1795341660000"/><group name="core"><package name="com/example/shop"><class name="com/example/shop/Cart" sourcefilename="Cart.java"><method name="total" desc="()I" line="4"><counter type="LINE" missed="1" covered="2"/></method></class><sourcefile name="Cart.java"><line nr="3" mi="0" ci="3" mb="0" cb="0"/><line nr="5" mi="2" ci="4" mb="1" cb="1"/><line nr="6" mi="2" ci="0" mb="0" cb="0"/><counter type="LINE" missed="1" covered="2"/></sourcefile></package><package name=""><sourcefile name="Main.java"/></package></group></report>"#;

    #[test]
    fn reads_files_by_package() {
        let report = parse(REPORT).unwrap();
        assert_eq!(report.files["com/example/shop/Cart.java"], [(3, 1), (5, 1), (6, 0)].into());
        assert!(report.files["Main.java"].is_empty());
        assert_eq!(report.made_at, Some(Timestamp::from_ms(1_795_341_660_000)));
    }

    #[test]
    fn the_line_counter_is_held_against_the_lines() {
        let changed = REPORT.replace(r#"nr="6" mi="2" ci="0""#, r#"nr="6" mi="2" ci="1""#);
        assert!(matches!(parse(&changed), Err(ImportError::Damaged(_))));
    }

    #[test]
    fn other_xml_is_refused() {
        for bad in ["<report/>", "<coverage/>", "<report><sourcefile name='A.java'/></report>"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let no_counts =
            "<report><package name='a'><sourcefile name='A.java'><line nr='1'/></sourcefile></package></report>";
        assert!(parse(no_counts).is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_cut_is_an_error(at in 0..REPORT.len()) {
            cuts::refused(REPORT, at, parse)?;
        }
    }
}
