//! Coverage of the lines that changed since the previous release.

use std::collections::BTreeMap;

use super::{Changed, FileLines, Merged};
use crate::gates::context::Repo;
use crate::gates::suppression::is_comment;

/// Uncovered changed lines listed at most.
const CHANGED_LISTED_MAX: usize = 200;

/// Coverage of the lines added since the tag before HEAD. `None` without git or tag.
pub(super) fn changed(
    repo: &Repo,
    merged: &BTreeMap<&str, Merged>,
    files: &BTreeMap<String, FileLines>,
) -> Option<Changed> {
    let git = repo.git.as_ref()?;
    let since = git.run(&["describe", "--tags", "--abbrev=0", "HEAD^"]).ok()?.trim().to_string();
    let range = format!("{since}..HEAD");
    let diff = git
        .run(&[
            "diff",
            "--unified=0",
            "--no-color",
            "--no-ext-diff",
            "--no-textconv",
            "--diff-filter=AMR",
            "--relative",
            &range,
            "--",
        ])
        .ok()?;
    let mut changed = Changed { since, ..Changed::default() };
    let mut file: Option<&str> = None;
    // The line that the next `+` row is, and how many of them the hunk still has.
    let (mut line, mut rest) = (0_u32, 0_u32);
    for row in diff.lines() {
        if rest > 0 && row.starts_with('+') {
            let text = row.get(1..).unwrap_or_default();
            if let Some(path) = file {
                changed.line(path, line, text, merged.get(path));
            }
            (line, rest) = (line.saturating_add(1), rest - 1);
        } else if let Some(path) = row.strip_prefix("+++ b/") {
            file = files.contains_key(path).then_some(path);
        } else if let Some((start, length)) = row.strip_prefix("@@ ").and_then(added) {
            (line, rest) = (start, length);
        }
    }
    Some(changed)
}

impl Changed {
    fn line(&mut self, path: &str, line: u32, text: &str, of: Option<&Merged>) {
        let hits = match of {
            // Nobody reported the file: every added line of code counts as uncovered.
            None => (!is_bare(text)).then_some(0),
            // A block spans blank lines and closing brackets too.
            Some(of) if !of.blocks.is_empty() && is_bare(text) => None,
            Some(of) => of.lines.get(&line).copied(),
        };
        let Some(hits) = hits else { return };
        self.total += 1;
        self.covered += u64::from(hits > 0);
        if hits == 0 && self.uncovered.len() < CHANGED_LISTED_MAX {
            self.uncovered.push(format!("{path}:{line}"));
        }
    }
}

/// Nothing but brackets, or a comment.
fn is_bare(text: &str) -> bool {
    let text = text.trim();
    text.chars().all(|c| "(){}[],;".contains(c)) || is_comment(text)
}

/// `-a,b +c,d @@ …` → (c, d).
fn added(hunk: &str) -> Option<(u32, u32)> {
    let plus = hunk.split_whitespace().find_map(|w| w.strip_prefix('+'))?;
    let (start, length) = plus.split_once(',').unwrap_or((plus, "1"));
    Some((start.parse().ok()?, length.parse().ok()?))
}
