//! The run as a comment under a pull request: a hidden marker by which a bot finds its old comment, the goals, what
//! blocks first, the rest folded. Always shorter than what forges accept.

use std::fmt::Write as _;

use super::human;
use crate::domain::suppression;
use crate::domain::units::prose;
use crate::domain::verdict::{GateResult, GateRun, GoalState, Overlay, Verdict};
use crate::gates::decision;

/// Forges cut comments at 65,536 characters; this leaves room for what a bot adds.
pub const CHARS_MAX: usize = 60_000;
/// Findings per gate.
const FINDINGS_SHOWN: usize = 10;
/// Suppressed findings listed.
const SUPPRESSED_SHOWN: usize = 50;
/// What the last line needs.
const TAIL_CHARS: usize = 300;

/// Fewer than [`CHARS_MAX`] characters, whatever the run holds.
pub fn render(run: &GateRun) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "<!-- hypercare:check {} -->", escape(&run.service).replace("--", "-"));
    let version = run.rid.version.as_deref().map(|v| format!(" {}", escape(v))).unwrap_or_default();
    let commit = run.rid.short_commit().map(|c| format!(" · `{}`", code(c))).unwrap_or_default();
    let _ = writeln!(out, "## {} · {}{version}{commit}\n", run.decision.title(), escape(&run.service));
    let t = decision::tally(&run.gates);
    let _ = writeln!(
        out,
        "{} fail · {} could not be checked · {} warn · {} waived{} · {} pass · {} skip · {}\n",
        t.fail,
        t.error,
        t.warn,
        t.waived,
        if t.attested > 0 { format!(" · {} attested", t.attested) } else { String::new() },
        t.pass,
        t.skip,
        prose(std::time::Duration::from_millis(run.duration_ms))
    );
    if let Some(scope) = &run.scope {
        let _ = writeln!(out, "> Limited to {}; the rest was not looked at.\n", escape(scope));
    }
    if run.rid.dirty {
        let _ = writeln!(out, "> The work tree has changes: this release cannot be reproduced.\n");
    }
    if let Some(base) = &run.base {
        let _ = writeln!(out, "> Base: {}.\n", escape(&human::base_text(base)));
    }
    if human::unsigned(run) {
        let _ = writeln!(out, "> Unsigned: {}.\n", escape(human::UNSIGNED));
    }
    for ignored in run.ignored.iter().take(20) {
        let _ = writeln!(out, "> Ignored: `{}`: {}.\n", code(&ignored.file), escape(&ignored.why));
    }
    out.push_str("| READY TO GO LIVE | | |\n|---|---|---|\n");
    for goal in &run.goals {
        let state = match goal.state {
            GoalState::Ready => "✔ ready",
            GoalState::AtRisk => "▲ at risk",
            GoalState::NotReady => "✘ not ready",
            GoalState::Unknown => "? unknown",
        };
        let _ = writeln!(out, "| {} | {state} | {} |", escape(&goal.title), escape(&goal.summary));
    }
    for (key, checklist, own) in run.changed_thresholds.iter().take(20) {
        let _ =
            writeln!(out, "\nChanged: `{}` is {}, the checklist says {}.", code(key), escape(own), escape(checklist));
    }
    let mut gates: Vec<&GateResult> = run.gates.iter().collect();
    gates.sort_by_key(|g| decision::gravity(g));
    let (blocking, rest): (Vec<_>, Vec<_>) = gates.into_iter().partition(|g| g.blocks());
    let mut left_out = 0;
    let mut used = out.chars().count();
    let mut add = |out: &mut String, text: String| {
        let length = text.chars().count();
        let fits = used + length <= CHARS_MAX - TAIL_CHARS;
        if fits {
            used += length;
            out.push_str(&text);
        } else {
            left_out += 1;
        }
    };
    for gate in blocking {
        add(&mut out, full(gate));
    }
    let mut folded = String::new();
    for gate in rest {
        add(&mut folded, row(gate));
    }
    if !folded.is_empty() {
        out.push_str("\n<details><summary>The other gates</summary>\n\n| gate | verdict | |\n|---|---|---|\n");
        out.push_str(&folded);
        out.push_str("\n</details>\n");
    }
    suppressed(run, &mut out);
    if left_out > 0 {
        let _ =
            writeln!(out, "\n{left_out} more gates are left out here; `hypercare check --format json` has them all.");
    }
    out
}

/// What is listed and does not count, as far as there is room.
fn suppressed(run: &GateRun, out: &mut String) {
    let list = &run.suppressions;
    if list.is_empty() {
        return;
    }
    let counts = suppression::counts(list);
    let mut text = format!("\n<details><summary>{} suppressed: {counts}</summary>\n\n", list.len());
    let room = CHARS_MAX.saturating_sub(TAIL_CHARS * 2 + out.chars().count());
    let mut used = text.chars().count();
    let mut shown = 0;
    for one in list.iter().take(SUPPRESSED_SHOWN) {
        let place = format!("`{}` `{}/{}`", code(&one.place()), code(&one.gate), code(&one.rule));
        let row = format!("- {place}: {}\n", escape(&one.justification));
        used += row.chars().count();
        if used > room {
            break;
        }
        text.push_str(&row);
        shown += 1;
    }
    if shown < list.len() {
        let _ = writeln!(text, "- … and {} more", list.len() - shown);
    }
    text.push_str("\n</details>\n");
    out.push_str(&text);
}

fn full(gate: &GateResult) -> String {
    let mut out = String::new();
    let verdict = gate.verdict;
    let _ = writeln!(
        out,
        "\n#### {} `{}` {}\n\n{}\n",
        verdict.mark(),
        code(&gate.id),
        verdict.word(),
        escape(&gate.summary)
    );
    let open: Vec<_> = gate.findings.iter().filter(|f| f.suppressed.is_none()).collect();
    for finding in open.iter().take(FINDINGS_SHOWN) {
        let line = finding.line.map(|l| format!(":{l}")).unwrap_or_default();
        let place = finding.file.as_deref().or(finding.route.as_deref()).map(|p| format!("`{}{line}` ", code(p)));
        let _ = writeln!(out, "- {}{}", place.unwrap_or_default(), escape(&finding.message));
    }
    if open.len() > FINDINGS_SHOWN {
        let _ = writeln!(out, "- … and {} more", open.len() - FINDINGS_SHOWN);
    }
    if let Some(hint) = &gate.hint {
        let gap = if open.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}Fix: {}", escape(hint));
    }
    out
}

fn row(gate: &GateResult) -> String {
    let overlay = match &gate.overlay {
        Some(Overlay::Waived { approver, signed, .. }) => {
            format!(", waived by {}{}", escape(approver), if *signed { "" } else { " (UNSIGNED)" })
        }
        Some(Overlay::Attested { signer, role, .. }) => {
            let role = role.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
            format!(", attested by {}{role}", escape(signer))
        }
        None => String::new(),
    };
    let tier = gate.tier.filter(|_| gate.verdict == Verdict::Pass).map(|t| format!(" {t:?}")).unwrap_or_default();
    let verdict = format!("{} {}{tier}{overlay}", gate.verdict.mark(), gate.verdict.word());
    format!("| `{}` | {verdict} | {} |\n", code(&gate.id), escape(&gate.summary))
}

/// Text from outside as plain text: no markup, no mention, no table cell of its own.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A zero-width space keeps `@team` from ringing anybody's phone.
            '@' => out.push_str("@\u{200b}"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Inside backticks only a backtick and a line end, and in tables a bar, do harm.
fn code(text: &str) -> String {
    text.chars().map(|c| if c == '`' || c == '|' || c.is_control() { '·' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::sample;
    use crate::domain::verdict::{Finding, Severity};

    #[test]
    fn the_comment() {
        insta::assert_snapshot!(render(&sample::run()));
    }

    #[test]
    fn markup_from_outside_stays_text() {
        let mut run = sample::run();
        run.gates[2].findings[0].message = "<img src=x> @team [x](http://y) | `z`".into();
        run.service = "a --> b".into();
        let text = render(&run);
        assert!(!text.contains("<img") && !text.contains("@team") && text.contains("\\](http"), "{text}");
        assert!(text.starts_with("<!-- hypercare:check ") && text.lines().next().unwrap().matches("-->").count() == 1);
    }

    #[test]
    fn a_forge_takes_it_whatever_the_run_holds() {
        let mut run = sample::run();
        let gate = run.gates[2].clone();
        for i in 0..200 {
            let mut more = gate.clone();
            more.id = format!("code.gate_{i}");
            let finding = Finding::new("r", Severity::High, "\u{1F600}<|>".repeat(100));
            more.findings = vec![finding; 50];
            run.gates.push(more);
        }
        let text = render(&run);
        assert!(text.chars().count() < CHARS_MAX, "{}", text.chars().count());
        assert!(text.contains("more gates are left out"));
    }
}
