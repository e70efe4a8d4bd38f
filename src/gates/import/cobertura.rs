//! Cobertura's XML, as coverage.py, gcovr, c8, nyc, PHPUnit, coverlet and many more write it: `class` elements with a
//! `filename`, relative to one of the `<source>` folders, and `line number hits`.

use super::xml::{Step, walk};
use super::{Coverage, ImportError, Lines, epoch, slashes};

/// Reads a report. Lines of `<methods>` repeat those of their class and count only where the class has none itself.
pub fn parse(text: &str) -> Result<Coverage, ImportError> {
    let mut report = Coverage::default();
    let mut source: Option<String> = None;
    let mut class: Option<(String, Lines, Lines)> = None;
    let mut is_cobertura = false;
    walk(text, |path, step| {
        match step {
            Step::Open { name: "coverage", attributes } if path.len() == 1 => {
                is_cobertura = true;
                report.made_at = attributes.get("timestamp").and_then(|t| epoch(t));
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
                class = Some((slashes(file), Lines::new(), Lines::new()));
            }
            Step::Open { name: "line", attributes } => {
                let Some((_, own, of_methods)) = &mut class else { return Ok(()) };
                let number = |key: &str| attributes.get(key).and_then(|v| v.trim().parse::<f64>().ok());
                let (line, hits) = number("number").zip(number("hits")).ok_or("a <line> without number and hits")?;
                if line >= 1.0 && line <= f64::from(u32::MAX) {
                    let lines = if path.iter().any(|p| p == "method") { of_methods } else { own };
                    let seen = lines.entry(line as u32).or_insert(0);
                    *seen = (*seen).max(hits.max(0.0) as u64);
                }
            }
            Step::Close { name: "class" } => {
                if let Some((file, own, of_methods)) = class.take() {
                    report.files.entry(file.clone()).or_default();
                    for (line, hits) in if own.is_empty() { of_methods } else { own } {
                        report.add(&file, line, hits);
                    }
                }
            }
            Step::Open { .. } | Step::Close { .. } => {}
        }
        Ok(())
    })?;
    if report.files.is_empty() { Err(ImportError::Empty("<class>")) } else { Ok(report) }
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
