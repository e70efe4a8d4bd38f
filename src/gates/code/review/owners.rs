//! CODEOWNERS of GitHub, GitLab, Gitea: which people own which paths. The last line that matches decides; GitLab's
//! sections each have their own, with default owners in the heading. Pure but for the patterns' matcher.

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// Where the forges look, in their order.
pub const PLACES: [&str; 5] =
    [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS", ".gitea/CODEOWNERS"];

/// A house has fewer lines; each costs a matcher.
const LINES_MAX: usize = 2000;

#[derive(Debug, Default)]
pub struct Owners {
    sections: Vec<Vec<Line>>,
}

#[derive(Debug)]
struct Line {
    pattern: Gitignore,
    owners: Vec<String>,
}

impl Owners {
    pub fn parse(text: &str) -> Owners {
        let mut out = Owners { sections: vec![Vec::new()] };
        let mut default: Vec<String> = Vec::new();
        for line in text.lines().take(LINES_MAX) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[').or_else(|| line.strip_prefix("^[")) {
                // `[Database][2] @dba`: the number is how many must approve.
                let tail = rest.rsplit_once(']').map_or("", |(_, tail)| tail);
                default = owners(tail);
                out.sections.push(Vec::new());
                continue;
            }
            let (pattern, named) = split(line);
            let named = owners(&named);
            let mut builder = GitignoreBuilder::new("");
            if builder.add_line(None, &pattern).is_err() {
                continue;
            }
            let Ok(pattern) = builder.build() else { continue };
            let owners = if named.is_empty() { default.clone() } else { named };
            if let Some(section) = out.sections.last_mut() {
                section.push(Line { pattern, owners });
            }
        }
        out
    }

    /// Owners of a path: logins without `@`, addresses, teams as `org/team`; lower case.
    pub fn of(&self, path: &str) -> Vec<String> {
        let path = path.trim_start_matches('/');
        let last = |section: &Vec<Line>| {
            let line = section.iter().rev().find(|l| l.pattern.matched_path_or_any_parents(path, false).is_ignore());
            line.map(|l| l.owners.clone()).unwrap_or_default()
        };
        self.sections.iter().flat_map(last).collect()
    }
}

/// The pattern ends at a blank that no backslash protects.
fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            '\\' => escaped = !escaped,
            c if c.is_whitespace() && !escaped => return (line[..at].to_string(), line[at..].to_string()),
            _ => escaped = false,
        }
    }
    (line.to_string(), String::new())
}

fn owners(text: &str) -> Vec<String> {
    let text = text.split(" #").next().unwrap_or(text);
    text.split_whitespace()
        .filter(|w| w.starts_with('@') || w.contains('@'))
        .map(|w| w.trim_start_matches('@').to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_line_decides() {
        let owners =
            Owners::parse("# all\n*  @acme/core @Ann\n/docs/  bob@example.com # words\n*.sql @dba\n/docs/free/\n");
        assert_eq!(owners.of("src/a.js"), ["acme/core", "ann"]);
        assert_eq!(owners.of("docs/a.md"), ["bob@example.com"]);
        assert_eq!(owners.of("db/a.sql"), ["dba"]);
        assert_eq!(owners.of("docs/free/x"), [""; 0], "nobody on purpose");
    }

    #[test]
    fn sections_of_gitlab() {
        let owners = Owners::parse("* @ann\n[Database][2] @dba\ndb/\ndb/seed/ @bob\n");
        assert_eq!(owners.of("db/a.sql"), ["ann", "dba"]);
        assert_eq!(owners.of("db/seed/a.sql"), ["ann", "bob"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "([*/a-z\\[\\]^\\\\!@# .]{0,20}\n){0,10}", path in "[a-z/]{0,20}") {
            Owners::parse(&text).of(&path);
        }
    }
}
