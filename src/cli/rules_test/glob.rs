//! `rule_files`: patterns of paths, as Go's `filepath.Glob` reads them: `*`, `?` and `[a-z]` stand for parts of one name, in any
//! component of the path; a backslash takes a character as it is. What a pattern does not find is no error.

use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::domain::metric::anchored;

/// Files of one pattern.
const FILES_MAX: usize = 10_000;

/// In the order of their names. A relative pattern starts at `dir`.
pub(super) fn files(dir: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    // `join` keeps an absolute pattern as it is.
    let mut found = vec![PathBuf::new()];
    let whole = dir.join(pattern);
    let from_dir = dir.components().count();
    for (i, component) in whole.components().enumerate() {
        let name = component.as_os_str().to_string_lossy();
        let ours = i >= from_dir || Path::new(pattern).is_absolute();
        let literal = !ours || !matches!(component, Component::Normal(_)) || !name.contains(['*', '?', '[', '\\']);
        found = match literal {
            true => found.into_iter().map(|p| p.join(component)).collect(),
            false => {
                let wanted = expression(&name)?;
                found.iter().flat_map(|folder| matching(folder, &wanted)).take(FILES_MAX).collect()
            }
        };
    }
    found.retain(|path| path.exists());
    Ok(found)
}

fn matching(folder: &Path, wanted: &Regex) -> Vec<PathBuf> {
    let folder_or_here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder_or_here) else { return Vec::new() };
    let fits = |entry: &std::fs::DirEntry| wanted.is_match(&entry.file_name().to_string_lossy());
    let mut found: Vec<PathBuf> =
        entries.filter_map(Result::ok).filter(fits).map(|e| folder.join(e.file_name())).collect();
    found.sort();
    found
}

/// One component of the pattern as a regular expression.
fn expression(name: &str) -> Result<Regex, String> {
    let bad = |what: &str| format!("{what}; a pattern knows *, ?, [a-z], [^a-z] and \\");
    let mut out = String::new();
    let mut chars = name.chars().peekable();
    let taken = |c: Option<char>| c.map(|c| regex::escape(&c.to_string())).ok_or_else(|| bad("ends in a backslash"));
    while let Some(c) = chars.next() {
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '\\' => out.push_str(&taken(chars.next())?),
            '[' => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                let mut first = true;
                loop {
                    let c = chars.next().ok_or_else(|| bad("a [ that is not closed"))?;
                    match c {
                        ']' if !first => break,
                        ']' => return Err(bad("[] stands for nothing")),
                        '\\' => out.push_str(&taken(chars.next())?),
                        '-' => out.push('-'),
                        c => out.push_str(&regex::escape(&c.to_string())),
                    }
                    first = false;
                }
                out.push(']');
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    anchored(&out).map_err(|_| bad("cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_reach_into_folders() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, name) in [("a[1]", "x.yml"), ("b", "y1.yml"), ("b", "y2.yaml"), ("b", ".z.yml")] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join(name), "").unwrap();
        }
        let found = |pattern: &str| -> Vec<String> {
            let all = files(dir.path(), pattern).unwrap();
            all.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("*/*.yml"), ["a[1]/x.yml", "b/.z.yml", "b/y1.yml"]);
        assert_eq!(found("b/y?.y*ml"), ["b/y1.yml", "b/y2.yaml"]);
        assert_eq!(found("[a-c]/y[^2].yml"), ["b/y1.yml"]);
        assert_eq!(found("a\\[1]/x.yml"), ["a[1]/x.yml"]);
        assert_eq!(found("b/../b/y1.yml"), ["b/../b/y1.yml"]);
        assert!(found("none*").is_empty() && found("none.yml").is_empty());
        for bad in ["[a", "[]", "a\\"] {
            assert!(files(dir.path(), bad).is_err(), "{bad}");
        }
    }
}
