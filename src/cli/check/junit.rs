//! The run as JUnit XML, for CI systems that show tests: a suite is a section, a case is a gate. What is waived is
//! skipped and says by whom; a warning passes and is told on the case's output.

use std::fmt::Write as _;

use crate::domain::verdict::{GateResult, GateRun, Overlay, Verdict};
use crate::gates::Section;

/// Findings told per gate; more belong into SARIF.
const FINDINGS_SHOWN: usize = 50;

pub fn render(run: &GateRun) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let suites: Vec<(Section, Vec<&GateResult>)> = Section::ALL
        .into_iter()
        .map(|section| (section, run.gates.iter().filter(|g| g.section == section.word()).collect()))
        .filter(|(_, gates): &(_, Vec<_>)| !gates.is_empty())
        .collect();
    let all: Vec<&GateResult> = run.gates.iter().collect();
    let _ = writeln!(out, "<testsuites name=\"hypercare {}\" {}>", escape(&run.service), counts(&all));
    for (section, gates) in suites {
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" {} timestamp=\"{}\">",
            section.word(),
            counts(&gates),
            run.started_at.rfc3339().trim_end_matches('Z')
        );
        for gate in gates {
            case(&mut out, gate);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// What a case counts as.
#[derive(PartialEq)]
enum Kind {
    Passed,
    Failure,
    Error,
    Skipped,
}

fn kind(gate: &GateResult) -> Kind {
    match gate.verdict {
        Verdict::Skip => Kind::Skipped,
        Verdict::Fail | Verdict::Error if gate.overlay.is_some() => Kind::Skipped,
        Verdict::Fail => Kind::Failure,
        Verdict::Error => Kind::Error,
        Verdict::Pass | Verdict::Warn => Kind::Passed,
    }
}

fn counts(gates: &[&GateResult]) -> String {
    let of = |wanted: Kind| gates.iter().filter(|g| kind(g) == wanted).count();
    let milliseconds: u64 = gates.iter().map(|g| g.duration_ms).sum();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        gates.len(),
        of(Kind::Failure),
        of(Kind::Error),
        of(Kind::Skipped),
        seconds(milliseconds)
    )
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

fn case(out: &mut String, gate: &GateResult) {
    let _ = write!(
        out,
        "    <testcase classname=\"hypercare.{}\" name=\"{}\" time=\"{}\"",
        escape(&gate.section),
        escape(&gate.id),
        seconds(gate.duration_ms)
    );
    let (summary, text) = (escape(&gate.summary), escape(&body(gate)));
    let reason = escape(gate.reason.as_deref().unwrap_or("finding"));
    let _ = match (kind(gate), gate.verdict) {
        (Kind::Failure, _) => {
            writeln!(out, ">\n      <failure message=\"{summary}\" type=\"{reason}\">{text}</failure>\n    </testcase>")
        }
        (Kind::Error, _) => {
            writeln!(out, ">\n      <error message=\"{summary}\" type=\"{reason}\">{text}</error>\n    </testcase>")
        }
        (Kind::Skipped, _) => {
            writeln!(out, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escape(&skipped(gate)))
        }
        (Kind::Passed, Verdict::Warn) => {
            let said = gate.overlay.as_ref().map_or(format!("warn: {summary}"), |_| escape(&skipped(gate)));
            writeln!(out, ">\n      <system-out>{said}\n{text}</system-out>\n    </testcase>")
        }
        (Kind::Passed, _) => writeln!(out, "/>"),
    };
}

fn skipped(gate: &GateResult) -> String {
    let laid_over = match &gate.overlay {
        Some(Overlay::Waived { reason, approver, expires, signed }) => {
            let word = if *signed { "" } else { " (unsigned)" };
            format!("{}, waived by {approver}{word} until {expires}: {reason}: ", gate.verdict.word())
        }
        Some(Overlay::Attested { signer, expires, .. }) => {
            format!("{}, attested by {signer} until {expires}: ", gate.verdict.word())
        }
        None => gate.reason.as_ref().map(|r| format!("{r}: ")).unwrap_or_default(),
    };
    format!("{laid_over}{}", gate.summary)
}

fn body(gate: &GateResult) -> String {
    let mut out = String::new();
    let open: Vec<_> = gate.findings.iter().filter(|f| f.suppressed.is_none()).collect();
    for finding in open.iter().take(FINDINGS_SHOWN) {
        let line = finding.line.map(|l| format!(":{l}")).unwrap_or_default();
        let place = finding.file.as_deref().or(finding.route.as_deref()).map(|p| format!("{p}{line}: "));
        let _ = writeln!(out, "{}{}", place.unwrap_or_default(), finding.message);
    }
    if open.len() > FINDINGS_SHOWN {
        let _ = writeln!(out, "and {} more", open.len() - FINDINGS_SHOWN);
    }
    if let Some(hint) = &gate.hint {
        let _ = writeln!(out, "Fix: {hint}");
    }
    out
}

/// For attributes and text alike; what XML cannot hold at all becomes a question mark.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::sample::{self, python};

    #[test]
    fn the_report() {
        insta::assert_snapshot!(render(&sample::run()));
    }

    #[test]
    fn a_real_reader_reads_it() {
        let mut run = sample::run();
        run.gates[2].summary = "]]> <b> & \"x\" \u{1} \u{ffff}".into();
        let read = "import sys, json\nfrom junitparser import JUnitXml\nx = JUnitXml.fromfile(sys.argv[1])\n\
                    cases = [[c.name, [r._tag for r in c.result]] for s in x for c in s]\n\
                    print(json.dumps({'tests': x.tests, 'failures': x.failures, 'errors': x.errors, 'skipped': x.skipped, 'cases': cases}))";
        let got: serde_json::Value = serde_json::from_str(&python(read, &render(&run))).unwrap();
        assert_eq!((&got["tests"], &got["failures"]), (&8.into(), &2.into()), "{got}");
        assert_eq!((&got["errors"], &got["skipped"]), (&1.into(), &2.into()), "{got}");
        assert_eq!(got["cases"][0], serde_json::json!(["code.review", ["skipped"]]));
        assert_eq!(got["cases"][2], serde_json::json!(["code.leftover_debug", ["failure"]]));
    }
}
