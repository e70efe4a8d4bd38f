//! Paths that a configuration names, as patterns of .gitignore relative to the repository.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::domain::problem::Problem;

/// `None` when there are none. What is no pattern is left out: [`problems`] has told of it.
pub fn matcher(root: &Path, patterns: &[String]) -> Option<Gitignore> {
    let mut builder = GitignoreBuilder::new(root);
    for pattern in patterns {
        let _ = builder.add_line(None, pattern);
    }
    if patterns.is_empty() { None } else { builder.build().ok() }
}

/// Does a pattern name the path, or a folder above it?
pub fn covers(matcher: Option<&Gitignore>, path: &str) -> bool {
    matcher.is_some_and(|m| m.matched_path_or_any_parents(path, false).is_ignore())
}

/// What is wrong with the patterns of a configuration's key.
pub fn problems(key: &str, patterns: &[String]) -> Vec<Problem> {
    let wrong = |pattern: &String| {
        let why = GitignoreBuilder::new("").add_line(None, pattern).err()?;
        let problem = Problem::at([key], format!("`{pattern}` is not a pattern: {why}"));
        Some(problem.hint("write as in .gitignore: tests/keys/**"))
    };
    patterns.iter().filter_map(wrong).collect()
}
