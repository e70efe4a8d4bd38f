//! Reads a change log: Keep a Changelog 1.1, and its looser relatives (setext headings, no brackets, other dates).
//!
//! Pure text to entries with line numbers; `release/changelog.rs` judges them, `announce` quotes them.

use std::sync::LazyLock;

use chrono::NaiveDate;
use regex::Regex;
use serde::Serialize;

/// The groups of Keep a Changelog.
pub const GROUPS: [&str; 6] = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
/// A change log larger than this is cut; the newest entries come first.
pub const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// One release in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// As written, without brackets and link; `None` for `Unreleased`.
    pub version: Option<String>,
    /// As written after the version.
    pub date_text: Option<String>,
    #[serde(skip)]
    pub date: Option<NaiveDate>,
    pub yanked: bool,
    /// Of the heading, from 1.
    pub line: u32,
    /// Headings one level down: `Added`, …
    pub groups: Vec<String>,
    /// Bullet texts, without the bullet.
    pub items: Vec<String>,
    /// Everything under the heading, trimmed.
    pub body: String,
}

impl Entry {
    pub fn is_unreleased(&self) -> bool {
        self.version.is_none()
    }
    pub fn is_empty(&self) -> bool {
        self.body.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'))
    }
}

/// Names of the file, without signs, in the order in which they win.
const NAMES: [&str; 6] = ["changelog", "changes", "history", "news", "releasenotes", "releases"];

/// The file of a repository: the shortest path called as one of [`NAMES`] (any case) with a text extension.
/// Release notes next to the root win over those of packages.
pub fn find<'a>(paths: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rank = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let stem = stem.replace(['-', '_', ' '], "");
        let stem = NAMES.iter().position(|s| stem.eq_ignore_ascii_case(s))?;
        let text = ["", "md", "markdown", "rst", "txt"].iter().any(|e| extension.eq_ignore_ascii_case(e));
        // `docs/CHANGELOG.md` counts; a dependency's or a package's does not.
        (text && matches!(folder, "" | "docs" | "doc")).then_some((folder.len(), stem))
    };
    paths.filter_map(|p| rank(p).map(|r| (r, p))).min().map(|(_, p)| p)
}

/// The newest of release notes that have a file each: `docs/release-notes/version-4.6.md`.
pub fn in_folder<'a>(paths: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const FOLDERS: [&str; 6] = ["releasenotes", "releases", "changelog", "changelogs", "changes", "history"];
    let numbers = |path: &str| -> Option<Vec<u64>> {
        let (folder, name) = path.rsplit_once('/')?;
        let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
        let named = FOLDERS.contains(&last.replace(['-', '_', ' '], "").to_ascii_lowercase().as_str());
        let (stem, extension) = name.rsplit_once('.')?;
        let text = ["md", "markdown", "rst", "txt"].iter().any(|e| extension.eq_ignore_ascii_case(e));
        let start = stem
            .find(|c: char| c.is_ascii_digit())
            .filter(|_| named && text && matches!(above, "" | "docs" | "doc"))?;
        stem[start..].split(['.', '-', '_']).map(|part| part.parse().ok()).collect()
    };
    paths.filter_map(|p| numbers(p).map(|n| (n, p))).max().map(|(_, p)| p)
}

/// Entries in file order. Text before the first one is dropped.
pub fn parse(text: &str) -> Vec<Entry> {
    let lines: Vec<&str> = text.lines().collect();
    let mut headings: Vec<Heading> = Vec::new();
    let mut fenced = false;
    for (i, line) in lines.iter().enumerate() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        }
        if let (false, Some(heading)) = (fenced, heading(&lines, i)) {
            headings.push(heading);
        }
    }
    // The level on which versions live: that of the first heading which names one.
    let is_entry = |h: &Heading| entry_of(h).is_some();
    let Some(level) = headings.iter().find(|h| is_entry(h)).map(|h| h.level) else { return Vec::new() };
    let mut out: Vec<Entry> = Vec::new();
    for (n, heading) in headings.iter().enumerate() {
        // A patch release may stand one level deeper than its minor (as some generators write it).
        let found = if heading.level <= level + 1 { entry_of(heading) } else { None };
        let end = headings.get(n + 1).map_or(lines.len(), |h| h.at);
        let own: Vec<&str> = lines[heading.body_at.min(end)..end].to_vec();
        match found {
            Some(mut entry) => {
                absorb(&mut entry, &own);
                out.push(entry);
            }
            None if heading.level > level => {
                if let Some(entry) = out.last_mut() {
                    let name = heading.text.trim_end_matches(':').trim().to_string();
                    entry.body.push_str(&format!("\n### {name}\n"));
                    entry.groups.push(name);
                    absorb(entry, &own);
                }
            }
            None => {}
        }
    }
    for entry in &mut out {
        entry.body = entry.body.trim().to_string();
    }
    out
}

struct Heading {
    text: String,
    level: usize,
    /// Index of its first line, and of the first line of its body.
    at: usize,
    body_at: usize,
}

fn heading(lines: &[&str], i: usize) -> Option<Heading> {
    let line = lines[i].trim_end();
    let hashes = line.bytes().take_while(|b| *b == b'#').count();
    if (1..=6).contains(&hashes) && line[hashes..].starts_with([' ', '\t']) {
        let text = line[hashes..].trim().trim_end_matches('#').trim_end().to_string();
        return Some(Heading { text, level: hashes, at: i, body_at: i + 1 });
    }
    // Setext: a line of `=` or `-` under one line of text.
    let under = lines.get(i + 1)?.trim_end();
    let bar = under.chars().next().filter(|c| "=-~^".contains(*c))?;
    let underlined = under.len() >= 3 && under.chars().all(|c| c == bar);
    let plain = !line.trim().is_empty() && !line.starts_with([' ', '\t', '-', '*', '>', '|']);
    (underlined && plain).then(|| Heading {
        text: line.trim().into(),
        level: if bar == '=' { 1 } else { 2 },
        at: i,
        body_at: i + 2,
    })
}

static HEADING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?ix)^ (?:release\s+|version\s+|[a-z0-9@/_-]+@)? \[? (?P<version>v?\d+\.\d+(?:\.\d+)?[0-9a-z.+-]*) \]? (?:\([^)\s]*://[^)]*\)|\[[^\]]*\])?
        (?: \s* [-–—:/,(]* \s* (?P<date>\d{4}[-/.]\d{1,2}[-/.]\d{1,2} | \d{1,2}[./]\d{1,2}[./]\d{4} | \d{1,2}\s+[a-z]{3,9}\.?\s+\d{4} | [a-z]{3,9}\.?\s+\d{1,2},?\s+\d{4} | \d{4}-\S+) \)? )? (?P<rest>.*)$",
    )
    .expect("a pattern of ours")
});
static UNRELEASED: LazyLock<Regex> = LazyLock::new(|| {
    let names = "unreleased( changes)?|next( release| version)?|upcoming( release| changes)?|main|master|head|trunk|develop|development|in development|latest changes";
    Regex::new(&format!(r"(?i)^\[?({names})\]?(\([^)]*\))?$")).expect("a pattern of ours")
});

fn entry_of(heading: &Heading) -> Option<Entry> {
    let text = heading.text.trim_matches('*').trim();
    let line = heading.at as u32 + 1;
    if UNRELEASED.is_match(text) {
        return Some(Entry { line, ..Entry::default() });
    }
    let found = HEADING.captures(text).or_else(|| named(text))?;
    let date_text = found.name("date").map(|d| d.as_str().to_string());
    Some(Entry {
        version: Some(found["version"].trim_end_matches('.').to_string()),
        date: date_text.as_deref().and_then(|d| NaiveDate::parse_from_str(d, "%Y-%m-%d").ok()),
        date_text,
        yanked: found["rest"].to_uppercase().contains("YANKED"),
        line,
        ..Entry::default()
    })
}

/// The product's name before its version: `paperless-ngx 3.0.5`. All three numbers and nothing behind them but a date, so
/// that "Python 3.12 support" is no release.
fn named(text: &str) -> Option<regex::Captures<'_>> {
    let (name, behind) = text.split_once(' ')?;
    let found = HEADING.captures(behind.trim_start())?;
    let whole = found["version"].matches('.').count() >= 2 && found["rest"].trim().is_empty();
    (whole && name.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(found)
}

fn absorb(entry: &mut Entry, lines: &[&str]) {
    for line in lines {
        // `[1.2.3]: https://…` reference definitions belong to nobody.
        if line.starts_with('[') && line.contains("]: ") {
            continue;
        }
        entry.body.push_str(line);
        entry.body.push('\n');
        let bullet = line.trim_start();
        if let Some(item) = ["- ", "* ", "+ "].iter().find_map(|b| bullet.strip_prefix(b)) {
            entry.items.push(item.trim().to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keep_a_changelog() {
        let text = "# Changelog\r\n\r\nAll notable changes.\r\n\r\n## [Unreleased]\r\n\r\n## [1.4.0] - 2026-11-20\r\n### Added\r\n- Checkout by card\r\n- Basket\r\n### Fixed\r\n- A leak\r\n\r\n## [1.3.0] - 2026-10-01 [YANKED]\r\n- Old\r\n\r\n[1.4.0]: https://example.com/1.4.0\r\n";
        let entries = parse(text);
        assert_eq!(entries.len(), 3);
        assert!(entries[0].is_unreleased() && entries[0].is_empty());
        let top = &entries[1];
        assert_eq!(top.version.as_deref(), Some("1.4.0"));
        assert_eq!(top.date, NaiveDate::from_ymd_opt(2026, 11, 20));
        assert_eq!((top.line, top.yanked), (7, false));
        assert_eq!(top.groups, ["Added", "Fixed"]);
        assert_eq!(top.items, ["Checkout by card", "Basket", "A leak"]);
        assert!(entries[2].yanked);
        assert!(!entries[2].body.contains("https"), "reference links belong to nobody");
    }

    #[test]
    fn reads_its_relatives() {
        let check = |text: &str, version: &str, date: Option<&str>| {
            let entries = parse(text);
            assert_eq!(entries.first().and_then(|e| e.version.as_deref()), Some(version), "{text:?}");
            assert_eq!(entries[0].date_text.as_deref(), date, "{text:?}");
        };
        check("Changelog\n=========\n\n1.2.3 (2026-01-05)\n------------------\n\n* One\n", "1.2.3", Some("2026-01-05"));
        check("## v2.0.0\n- One\n", "v2.0.0", None);
        check(
            "# [2.1.0](https://x.example/compare/a...b) (2026-03-04)\n\n### Bug Fixes\n* x\n",
            "2.1.0",
            Some("2026-03-04"),
        );
        check("## Version 1.0 - 3 May 2026\n- One\n", "1.0", Some("3 May 2026"));
        check("4.18.2 / 2022-10-08\n===================\n\n  * Fix regression\n", "4.18.2", Some("2022-10-08"));
        check("## 1.5.0-rc.1 — 2026-02-02 ##\n- One\n", "1.5.0-rc.1", Some("2026-02-02"));
        check("## pkg@3.0.1\n- One\n", "3.0.1", None);
        check("## **1.2.0**\n- One\n", "1.2.0", None);
        let named = parse("## paperless-ngx 3.0.5\n- One\n\n### Python 3.12 support\n\n## paperless-ngx 3.0.4\n");
        let versions: Vec<_> = named.iter().filter_map(|e| e.version.as_deref()).collect();
        assert_eq!(versions, ["3.0.5", "3.0.4"]);
    }

    #[test]
    fn what_is_not_out_yet_has_many_names() {
        for name in
            ["[Unreleased]", "HEAD", "Latest Changes", "Next release", "In development", "[main](https://x.example)"]
        {
            let entries = parse(&format!("# News\n\n## {name}\n\n- One\n\n## 1.2.0\n- Two\n"));
            assert_eq!(entries.len(), 2, "{name}");
            assert!(entries[0].is_unreleased() && !entries[0].is_empty(), "{name}");
        }
    }

    #[test]
    fn prose_and_code_are_not_entries() {
        assert!(parse("# Guide\n\n## Install\n\nUse 1.2.3.\n").is_empty());
        let entries = parse("## 1.0.0\n\n```\n## 9.9.9\n```\n- One\n");
        assert_eq!(entries.len(), 1);
        assert!(parse("").is_empty());
    }

    #[test]
    fn finds_the_file_of_the_product() {
        let find = |paths: &[&'static str]| find(paths.iter().copied());
        assert_eq!(find(&["a/CHANGELOG.md", "changelog.md", "docs/NEWS"]), Some("changelog.md"));
        assert_eq!(find(&["HISTORY.rst", "CHANGELOG.md"]), Some("CHANGELOG.md"));
        assert_eq!(find(&["release-notes.md", "README.md"]), Some("release-notes.md"));
        assert_eq!(find(&["docs/RELEASE_NOTES.rst", "releases.py"]), Some("docs/RELEASE_NOTES.rst"));
        let folder = |paths: &[&'static str]| in_folder(paths.iter().copied());
        let notes =
            ["docs/release-notes/version-4.9.md", "docs/release-notes/version-4.10.md", "docs/release-notes/index.md"];
        assert_eq!(folder(&notes), Some(notes[1]));
        assert_eq!(
            folder(&["docs/releases/6.1.1.txt", "docs/guide/2.0.md", "src/changes/9.0.md"]),
            Some("docs/releases/6.1.1.txt")
        );
        assert_eq!(find(&["vendor/x/CHANGELOG.md", "changelog.png"]), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_keeps_file_order(text in "([#=-]{0,3} ?(\\[?v?[0-9]{1,2}\\.[0-9]\\.[0-9]\\]?)?[ a-z\u{e4}-]{0,9}\r?\n){0,12}") {
            let entries = parse(&text);
            proptest::prop_assert!(entries.windows(2).all(|w| w[0].line < w[1].line));
        }
    }
}
