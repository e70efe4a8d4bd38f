//! The checklist on a terminal: header, sections I to VII, READY TO GO LIVE, decision. Pure: a run in, text out.
//!
//! Words carry the meaning; colours and marks repeat it. Everything from outside is cleaned before it is printed.

use crate::cli::output::{Tone, clean_line, columns, cut, pad, paint, wrap};
use crate::domain::clock::Timestamp;
use crate::domain::suppression;
use crate::domain::units::prose;
use crate::domain::verdict::{BaseBranch, Decision, GateResult, GateRun, GoalState, Overlay, Severity, Verdict};
use crate::gates::{Section, decision};

const ROMAN: [&str; 7] = ["I", "II", "III", "IV", "V", "VI", "VII"];
/// Findings shown per gate; the rest is counted.
const FINDINGS_SHOWN: usize = 3;
/// Suppressed findings shown; the rest is counted.
const SUPPRESSED_SHOWN: usize = 5;
/// Column where a gate's id begins.
const ID_AT: usize = 11;
/// Places longer than this get a line of their own.
const PLACE_COLUMNS_MAX: usize = 44;

/// Everything besides the run that the page tells.
pub struct Page<'a> {
    pub run: &'a GateRun,
    /// Lines of the whole checklist.
    pub known: usize,
    pub now: Timestamp,
    pub width: usize,
    /// All findings instead of the first few.
    pub all_findings: bool,
}

pub fn render(page: &Page<'_>) -> String {
    let run = page.run;
    let mut out = String::new();
    header(page, &mut out);
    let id_columns = run.gates.iter().map(|g| g.id.len()).max().unwrap_or(0).max(20);
    let text_at = ID_AT + id_columns + 1;
    for (i, section) in Section::ALL.into_iter().enumerate() {
        let gates: Vec<&GateResult> = run.gates.iter().filter(|g| g.section == section.word()).collect();
        if gates.is_empty() {
            continue;
        }
        line(&mut out, "");
        // What is about the check itself is no part of the checklist.
        let number = ROMAN.get(i).copied().unwrap_or_default();
        line(&mut out, &paint(Tone::Strong, format!("{number:<3} {}", section.title())));
        for gate in gates {
            gate_lines(page, gate, text_at, &mut out);
        }
    }
    suppressed(page, &mut out);
    goals(page, &mut out);
    closing(page, &mut out);
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text.trim_end());
    out.push('\n');
}

fn header(page: &Page<'_>, out: &mut String) {
    let run = page.run;
    let version = run.rid.version.as_deref().map(|v| format!(" {}", clean_line(v))).unwrap_or_default();
    let host = run.rid.targets.first().and_then(|t| url::Url::parse(t).ok());
    let host = host.and_then(|u| u.host_str().map(|h| u.port().map_or(h.to_string(), |p| format!("{h}:{p}"))));
    let parts = [
        Some(format!("hypercare {}", env!("CARGO_PKG_VERSION"))),
        Some(format!("{}{version}", clean_line(&run.service))),
        run.rid.short_commit().map(clean_line),
        host,
    ];
    let left = parts.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let lines = run.gates.iter().filter(|g| g.section != Section::Meta.word());
    let answered = lines.filter(|g| g.verdict != Verdict::Error).count();
    let took = prose(std::time::Duration::from_millis(run.duration_ms));
    let right = format!("{answered} of {} gates · {took}", page.known);
    let gap = page.width.saturating_sub(columns(&left) + columns(&right));
    if gap >= 2 {
        line(out, &format!("{}{}{}", paint(Tone::Strong, &left), " ".repeat(gap), paint(Tone::Soft, right)));
    } else {
        line(out, &paint(Tone::Strong, cut(&left, page.width)));
        line(out, &paint(Tone::Soft, right));
    }
}

fn gate_lines(page: &Page<'_>, gate: &GateResult, text_at: usize, out: &mut String) {
    let tone = Tone::from(gate.verdict);
    let id_columns = text_at - ID_AT - 1;
    let word = pad(&paint(tone, format!("{} {}", gate.verdict.mark(), gate.verdict.word())), ID_AT - 3);
    let lead = format!("  {word} {} ", pad(&clean_line(&gate.id), id_columns));
    let badge = gate.tier.map(|t| format!("{t:?} · {}", age(gate.age_s))).unwrap_or_default();
    let room = page.width.saturating_sub(text_at).max(20);
    let first_room = room.saturating_sub(if badge.is_empty() { 0 } else { columns(&badge) + 2 }).max(20);
    let mut rows = wrap(&clean_line(&gate.summary), first_room).into_iter();
    let first = rows.next().unwrap_or_default();
    let badge = if badge.is_empty() { String::new() } else { format!("  {}", paint(Tone::Soft, badge)) };
    line(out, &format!("{lead}{}{badge}", pad(&first, first_room)));
    for row in rows {
        line(out, &format!("{}{row}", " ".repeat(text_at)));
    }
    if let Some(overlay) = &gate.overlay {
        noted(out, text_at, page.width, overlay_word(overlay), &overlay_text(overlay, page.now), Tone::Warn);
    }
    if matches!(gate.verdict, Verdict::Fail | Verdict::Warn | Verdict::Error) || gate.blocks() {
        details(page, gate, text_at, out);
    }
}

fn details(page: &Page<'_>, gate: &GateResult, text_at: usize, out: &mut String) {
    let mut open: Vec<_> = gate.findings.iter().filter(|f| f.suppressed.is_none()).collect();
    // What decides first; a note may stand in the first file.
    open.sort_by_key(|f| f.severity == Severity::Info);
    let shown = if page.all_findings { open.len() } else { FINDINGS_SHOWN };
    for finding in open.iter().take(shown) {
        let place = match (&finding.file, finding.line, finding.column) {
            (Some(file), Some(l), Some(c)) => format!("{file}:{l}:{c}"),
            (Some(file), Some(l), None) => format!("{file}:{l}"),
            (Some(file), None, _) => file.clone(),
            (None, ..) => finding.route.clone().unwrap_or_else(|| finding.rule.clone()),
        };
        noted(out, text_at, page.width, &clean_line(&place), &clean_line(&finding.message), Tone::Soft);
    }
    if open.len() > shown {
        noted(out, text_at, page.width, "", &format!("… and {} more", open.len() - shown), Tone::Soft);
    }
    let suppressed = gate.findings.len() - open.len();
    if suppressed > 0 {
        noted(out, text_at, page.width, "", &format!("{suppressed} suppressed"), Tone::Soft);
    }
    // Thirty lines of the same advice would hide the rest.
    let advice = gate.hint.as_deref().or_else(|| open.first().map(|f| f.fix.as_str()).filter(|f| !f.is_empty()));
    if let Some(advice) = advice.filter(|_| gate.reason.as_deref() != Some("not-built")) {
        noted(out, text_at, page.width, "fix", &clean_line(advice), Tone::Accent);
    }
}

/// `             src/cart.js:41:5       console.log in applyCoupon`
fn noted(out: &mut String, text_at: usize, width: usize, label: &str, text: &str, tone: Tone) {
    let at = ID_AT + 2;
    let rows = wrap(text, width.saturating_sub(text_at).max(20));
    let label_room = text_at - at - 1;
    let mut rows = rows.into_iter();
    if columns(label) > label_room {
        line(
            out,
            &format!("{}{}", " ".repeat(at), paint(tone, cut(label, PLACE_COLUMNS_MAX.max(width.saturating_sub(at))))),
        );
    } else {
        let first = rows.next().unwrap_or_default();
        line(out, &format!("{}{} {first}", " ".repeat(at), pad(&paint(tone, label), label_room)));
    }
    for row in rows {
        line(out, &format!("{}{row}", " ".repeat(text_at)));
    }
}

/// What is listed and does not count: by what and why.
fn suppressed(page: &Page<'_>, out: &mut String) {
    let list = &page.run.suppressions;
    if list.is_empty() {
        return;
    }
    line(out, "");
    line(out, &format!("{} {}", paint(Tone::Strong, "SUPPRESSED"), paint(Tone::Soft, suppression::counts(list))));
    let shown = if page.all_findings { list.len() } else { SUPPRESSED_SHOWN };
    for one in list.iter().take(shown) {
        let what = format!("{} {}/{}", one.place(), one.gate, one.rule);
        let at = 4;
        for (i, row) in wrap(&clean_line(&what), page.width.saturating_sub(2).max(20)).iter().enumerate() {
            line(out, &format!("{}{row}", " ".repeat(if i == 0 { 2 } else { at })));
        }
        for row in wrap(&clean_line(&one.justification), page.width.saturating_sub(at).max(20)) {
            line(out, &format!("{}{}", " ".repeat(at), paint(Tone::Soft, row)));
        }
    }
    if list.len() > shown {
        line(out, &paint(Tone::Soft, format!("  … and {} more (--all-findings)", list.len() - shown)));
    }
}

fn age(seconds: u64) -> String {
    if seconds == 0 { "now".into() } else { prose(std::time::Duration::from_secs(seconds)) }
}

fn overlay_word(overlay: &Overlay) -> &'static str {
    match overlay {
        Overlay::Waived { .. } => "waived",
        Overlay::Attested { .. } => "attested",
    }
}

fn overlay_text(overlay: &Overlay, now: Timestamp) -> String {
    let left = |expires: &Timestamp| prose(expires.since(now));
    match overlay {
        Overlay::Waived { reason, approver, expires, signed } => {
            let word = if *signed { "signed" } else { "UNSIGNED" };
            format!("by {}, {word}, {} left: {}", clean_line(approver), left(expires), clean_line(reason))
        }
        Overlay::Attested { signer, role, expires } => {
            let role = role.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
            format!("by {}{role}, {} left", clean_line(signer), left(expires))
        }
    }
}

/// Said under every result in which an unsigned waiver counts.
pub const UNSIGNED: &str = "a waiver here is as good as access to the work tree; commit .hypercare/allowed_signers to the base \
                            branch, and only signed ones count";

/// Does a waiver count that nobody has signed?
pub fn unsigned(run: &GateRun) -> bool {
    run.gates.iter().any(|g| matches!(g.overlay, Some(Overlay::Waived { signed: false, .. })))
}

/// What is said of the base branch of a change.
pub fn base_text(base: &BaseBranch) -> String {
    let list = |names: &[String]| names.join(", ");
    let name = clean_line(&base.name);
    let read = match &base.commit {
        Some(_) => format!("targets, signers, waivers and attestations are those of {name} ({})", base.told_by),
        None => format!(
            "{name} ({}) cannot be read here, so these of the change are not trusted: {}; fetch it: git fetch origin {name}",
            base.told_by,
            list(&base.not_trusted)
        ),
    };
    match base.differs.is_empty() {
        true => read,
        false => format!("{read}; the change would change: {}", list(&base.differs)),
    }
}

fn goals(page: &Page<'_>, out: &mut String) {
    line(out, "");
    line(out, &paint(Tone::Strong, "READY TO GO LIVE"));
    let columns = page.run.goals.iter().map(|g| g.title.chars().count()).max().unwrap_or(0);
    for goal in &page.run.goals {
        let (mark, tone) = match goal.state {
            GoalState::Ready => ("✔", Tone::Pass),
            GoalState::AtRisk => ("▲", Tone::Warn),
            GoalState::NotReady => ("✘", Tone::Fail),
            GoalState::Unknown => ("?", Tone::Error),
        };
        let state = match goal.state {
            GoalState::Ready => "ready",
            GoalState::AtRisk => "at risk",
            GoalState::NotReady => "not ready",
            GoalState::Unknown => "unknown",
        };
        let at = 4 + columns + 2 + 9 + 2;
        let rows = wrap(&clean_line(&goal.summary), page.width.saturating_sub(at).max(20));
        let lead = format!("  {} {}  {}  ", paint(tone, mark), pad(&goal.title, columns), pad(&paint(tone, state), 9));
        for (i, row) in rows.iter().enumerate() {
            let start = if i == 0 { lead.clone() } else { " ".repeat(at) };
            line(out, &format!("{start}{row}"));
        }
    }
}

fn closing(page: &Page<'_>, out: &mut String) {
    let run = page.run;
    let t = decision::tally(&run.gates);
    let counts = [
        (t.fail, "fail"),
        (t.error, "could not be checked"),
        (t.warn, if t.warn == 1 { "warning" } else { "warnings" }),
        (t.waived, "waived"),
        (t.attested, "attested"),
        (t.skip, "skipped"),
        (t.pass, "pass"),
    ];
    let counts: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let tone = match run.decision {
        Decision::Go => Tone::Pass,
        Decision::GoWithRisks => Tone::Warn,
        Decision::NoGo => Tone::Fail,
        Decision::Undecided => Tone::Error,
    };
    line(out, "");
    let title = run.decision.title();
    let at = title.chars().count() + 3;
    for (i, row) in wrap(&counts.join(" · "), page.width.saturating_sub(at).max(20)).iter().enumerate() {
        let lead = if i == 0 { pad(&paint(tone, title), at) } else { " ".repeat(at) };
        line(out, &format!("{lead}{row}"));
    }
    let mut tell = |label: &str, text: String| {
        let at = 8 + label.len() + 2;
        for (i, row) in wrap(&text, page.width.saturating_sub(at).max(20)).iter().enumerate() {
            let lead =
                if i == 0 { format!("        {}", paint(Tone::Soft, format!("{label}: "))) } else { " ".repeat(at) };
            line(out, &format!("{lead}{row}"));
        }
    };
    if let Some(scope) = &run.scope {
        tell("scope", format!("{} · the rest was not looked at, so this clears no launch", clean_line(scope)));
    }
    if run.rid.dirty {
        tell("note", "the work tree has changes: this release cannot be reproduced".into());
    }
    for (key, checklist, own) in &run.changed_thresholds {
        tell("changed", format!("{key} {}, the checklist says {}", clean_line(own), clean_line(checklist)));
    }
    if let Some(base) = &run.base {
        tell("base", base_text(base));
    }
    for ignored in &run.ignored {
        tell("ignored", format!("{}: {}", clean_line(&ignored.file), clean_line(&ignored.why)));
    }
    if unsigned(run) {
        tell("unsigned", UNSIGNED.into());
    }
    if let Some(next) = next(run) {
        tell("next", next);
    }
}

/// The one thing to do now: look at the gravest gate that hypercare can check at all.
fn next(run: &GateRun) -> Option<String> {
    let mut open: Vec<&GateResult> = run.gates.iter().filter(|g| g.blocks()).collect();
    open.sort_by_key(|g| (g.reason.as_deref() == Some("not-built"), decision::gravity(g)));
    let first = open.first();
    match (first, run.decision) {
        (Some(gate), _) if gate.reason.as_deref() == Some("not-built") => {
            Some(format!("check by hand what hypercare cannot yet, then: hypercare waive {} --help", gate.id))
        }
        (Some(gate), _) => Some(format!("hypercare gates explain {}", gate.id)),
        (None, Decision::Go | Decision::GoWithRisks) if run.scope.is_none() => Some("hypercare go".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::sample;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn page(run: &GateRun, width: usize) -> String {
        render(&Page { run, known: 42, now: sample::NOW, width, all_findings: false })
    }

    #[test]
    fn the_checklist() {
        insta::assert_snapshot!(plain(&page(&sample::run(), 100)));
    }

    #[test]
    fn narrow_terminals_wrap_under_their_own_column() {
        let text = plain(&page(&sample::run(), 72));
        insta::assert_snapshot!(text);
        assert!(!text.contains("\n\n\n"), "never more than one blank line");
    }

    #[test]
    fn nothing_from_outside_steers_the_terminal() {
        let mut run = sample::run();
        run.service = "sh\u{1b}]0;op".into();
        run.gates[0].summary = "x\u{1b}[2Jy\nz".into();
        let text = plain(&page(&run, 100));
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [60, 80, 100, 140] {
            for line in plain(&page(&sample::run(), width)).lines() {
                assert!(columns(line) <= width.max(72), "{width}: {line}");
            }
        }
    }
}
