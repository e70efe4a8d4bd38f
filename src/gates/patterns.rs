//! Paths that a configuration names, as patterns of .gitignore relative to the repository.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// `None` when there are none. What is no pattern is left out: [`check`] has told of it.
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

/// Why it is no pattern.
pub fn check(pattern: &str) -> Result<(), ignore::Error> {
    GitignoreBuilder::new("").add_line(None, pattern).map(|_| ())
}
