//! Inline suppressions that every static gate honours: `hypercare:allow <gate>[/<rule>] -- reason`, in a comment on the
//! finding's line, or alone on the line above. Without a reason it does not count, and is reported. Native markers of
//! other tools (`eslint-disable`, `noqa`) belong to the gate that knows the rule.

/// What stands beside a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inline {
    /// Counts. The text is for `Finding::suppressed`: marker, line and reason.
    Allowed(String),
    /// Names the gate but gives no reason: ignored, to be reported. The line (from 1) of the marker.
    NoReason(u32),
}

const MARKER: &str = "hypercare:allow";

/// The suppression of `gate` and `rule` that covers `line` (from 1).
pub fn inline(lines: &[&str], line: u32, gate: &str, rule: &str) -> Option<Inline> {
    let at = (line as usize).checked_sub(1)?;
    let above = at.checked_sub(1).filter(|i| lines.get(*i).is_some_and(|l| is_comment(l)));
    [Some(at), above].into_iter().flatten().find_map(|i| read(lines.get(i)?, i as u32 + 1, gate, rule))
}

fn read(text: &str, line: u32, gate: &str, rule: &str) -> Option<Inline> {
    let after = text.split_once(MARKER)?.1;
    let (target, reason) = match after.split_once("--") {
        Some((target, reason)) => (target.trim(), clean(reason)),
        None => (clean(after), ""),
    };
    // Nothing but the name may stand before the dashes: `-->` closes a comment and gives no reason.
    let target = target.split_whitespace().next().unwrap_or_default();
    let (named, only) = target.split_once('/').map_or((target, None), |(g, r)| (g, Some(r)));
    if named != gate || only.is_some_and(|r| r != rule) {
        return None;
    }
    Some(if reason.is_empty() {
        Inline::NoReason(line)
    } else {
        Inline::Allowed(format!("{MARKER} on line {line}: {reason}"))
    })
}

/// A reason without the end of its comment.
fn clean(text: &str) -> &str {
    text.trim().trim_end_matches("*/").trim_end_matches("-->").trim_start_matches('>').trim()
}

/// Nothing but a comment stands on the line.
pub fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    ["//", "#", "/*", "*", "<!--", "{/*", "--", ";"].iter().any(|open| line.starts_with(open))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, line: u32, expect: Option<Inline>) {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(inline(&lines, line, "code.leftover_debug", "console"), expect, "{text}");
    }

    #[test]
    fn counts_with_a_reason_on_the_line_or_alone_above() {
        let allowed = |line, reason: &str| Some(Inline::Allowed(format!("hypercare:allow on line {line}: {reason}")));
        check("log(1) // hypercare:allow code.leftover_debug -- start-up banner", 1, allowed(1, "start-up banner"));
        check("/* hypercare:allow code.leftover_debug/console -- banner */\nlog(1)", 2, allowed(1, "banner"));
        check("# hypercare:allow code.leftover_debug/print -- banner\nlog(1)", 2, None);
        check("a() // hypercare:allow code.leftover_debug -- for a\nlog(1)", 2, None);
        check("// hypercare:allow code.secrets -- other gate\nlog(1)", 2, None);
        check("// hypercare:allow code.leftover_debug -- too far\n\nlog(1)", 3, None);
    }

    #[test]
    fn without_a_reason_it_is_reported() {
        for text in [
            "log(1) // hypercare:allow code.leftover_debug",
            "log(1) // hypercare:allow code.leftover_debug --",
            "log(1) /* hypercare:allow code.leftover_debug -- */",
            "<p> <!-- hypercare:allow code.leftover_debug -->",
        ] {
            check(text, 1, Some(Inline::NoReason(1)));
        }
    }
}
