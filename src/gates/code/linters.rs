//! Suppressions written for other linters that know the same rules: ESLint, Biome, Deno, TSLint, RuboCop, flake8 and
//! Ruff (`noqa`), golangci-lint. They are honoured, counted and listed. Our own marker is `gates/suppression.rs`.

/// The marker that covers `row` (from 0) for a rule of `debug_rules.rs`, as text for `Finding::suppressed`.
pub fn suppression(lines: &[&str], row: usize, rule: &str) -> Option<String> {
    let (linters, marks): (&[&str], &[&str]) = match rule {
        "console" => (&["no-console", "noConsole", "noConsoleLog"], &[]),
        "debugger" => (&["no-debugger", "noDebugger", "Lint/Debugger"], &[]),
        "alert" => (&["no-alert"], &[]),
        "print" => (&["Rails/Output", "forbidigo"], &["nolint:forbidigo"]),
        "focused-test" => (&["no-focused-tests", "no-only-tests", "no-exclusive-tests", "RSpec/Focus"], &[]),
        _ => return None,
    };
    let here = lines.get(row)?;
    let above = row.checked_sub(1).and_then(|i| lines.get(i)).copied().unwrap_or_default();
    let names = |directive: &str, line: &str| -> bool {
        let Some((_, rest)) = line.split_once(directive) else { return false };
        let rest = rest.split("--").next().unwrap_or_default().trim_end_matches("*/").trim();
        // Without a name the directive switches all rules off.
        rest.is_empty() || linters.iter().any(|l| rest.contains(l))
    };
    let said = |what: &str, row: usize| Some(format!("{what} on line {}", row + 1));
    for directive in ["eslint-disable-line", "rubocop:disable", "tslint:disable-line"] {
        if names(directive, here) {
            return said(directive, row);
        }
    }
    for directive in ["eslint-disable-next-line", "biome-ignore", "deno-lint-ignore", "tslint:disable-next-line"] {
        if names(directive, above) {
            return said(directive, row - 1);
        }
    }
    if let Some(mark) = marks.iter().find(|m| here.contains(**m)) {
        return said(mark, row);
    }
    let codes: &[&str] = match rule {
        "debugger" => &["T100"],
        "print" => &["T201", "T203"],
        _ => &[],
    };
    if let Some(mark) = noqa(here, codes) {
        return said(&mark, row);
    }
    // A block directive holds until it is taken back.
    let last = lines[..=row].iter().enumerate().rev().find_map(|(row, line)| {
        let plain = !line.contains("eslint-disable-") && names("eslint-disable", line);
        if plain { Some((row, true)) } else { names("eslint-enable", line).then_some((row, false)) }
    });
    last.filter(|(_, off)| *off).and_then(|(row, _)| said("eslint-disable", row))
}

/// `# noqa`, for all rules or for one of `codes`; as written by people: any case, with or without spaces.
fn noqa(line: &str, codes: &[&str]) -> Option<String> {
    let comment = line.rsplit_once('#')?.1.trim_start();
    let rest = comment.get(..4).filter(|w| w.eq_ignore_ascii_case("noqa")).map(|_| &comment[4..])?;
    if codes.is_empty() {
        return None;
    }
    let Some(named) = rest.trim_start().strip_prefix(':') else {
        // `# noqability` is a word.
        return rest.chars().next().is_none_or(|c| !c.is_alphanumeric()).then(|| "noqa".into());
    };
    let mut named = named.split([',', ' ']).map(str::trim).filter(|c| !c.is_empty());
    let hit = named.find(|code| codes.iter().any(|own| own.eq_ignore_ascii_case(code)));
    hit.map(|code| format!("noqa: {}", code.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: &str, text: &str, row: usize, expect: Option<&str>) {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(suppression(&lines, row, rule).as_deref(), expect, "{text}");
    }

    #[test]
    fn one_line_directives() {
        let line = Some("eslint-disable-line on line 1");
        check("console", "f() // eslint-disable-line no-console -- why", 0, line);
        check("console", "f() // eslint-disable-line", 0, line);
        check("console", "f() // eslint-disable-line no-alert", 0, None);
        check("debugger", "f() // eslint-disable-line no-console", 0, None);
        check(
            "console",
            "// eslint-disable-next-line no-alert, no-console\nf()",
            1,
            Some("eslint-disable-next-line on line 1"),
        );
        check("console", "// biome-ignore lint/suspicious/noConsole: why\nf()", 1, Some("biome-ignore on line 1"));
        check("debugger", "byebug # rubocop:disable Lint/Debugger", 0, Some("rubocop:disable on line 1"));
        check("print", "print(1)  # noqa: T201", 0, Some("noqa: T201 on line 1"));
        check("print", "print(1)  # noqa: E501", 0, None);
        check("print", "print(1)  # noqa: E501, T201 told", 0, Some("noqa: T201 on line 1"));
        check("debugger", "breakpoint()  #NOQA:T100", 0, Some("noqa: T100 on line 1"));
        check("print", "print(1)  # noqa", 0, Some("noqa on line 1"));
        check("print", "print(1)  # noqability", 0, None);
        check("console", "f() # noqa", 0, None);
        check("stack-trace", "f() // eslint-disable-line", 0, None);
    }

    #[test]
    fn block_directives_hold_until_taken_back() {
        let text = "/* eslint-disable no-console */\na\n/* eslint-enable no-console */\nb\n/* eslint-disable */\nc";
        check("console", text, 1, Some("eslint-disable on line 1"));
        check("console", text, 3, None);
        check("console", text, 5, Some("eslint-disable on line 5"));
        check("console", "// eslint-disable-next-line no-console\na\nb", 2, None);
    }
}
