//! What detection found in a repository: languages, frameworks, databases, CI, manifests; each fact with file and line,
//! so that a wrong guess can be argued with.

pub mod git;

use serde::Serialize;

/// One detected fact: `kind` from the lists below, `value` what it is, and where it was seen.
/// Kinds: `language`, `framework`, `database`, `queue`, `cache`, `storage`, `ci`, `forge`, `container`, `kubernetes`,
/// `process-manager`, `proxy`, `coverage-report`, `test-report`, `openapi`, `manifest-version`, `logger`, `metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub kind: &'static str,
    pub value: String,
    pub file: String,
    pub line: Option<u32>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    pub facts: Vec<Fact>,
}

impl Facts {
    pub fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Fact> {
        self.facts.iter().filter(move |f| f.kind == kind)
    }
    pub fn has(&self, kind: &str, value: &str) -> bool {
        self.of(kind).any(|f| f.value == value)
    }
}
