//! A CI system's files as one job graph, whatever system wrote them: the readers beside this file build it,
//! `pipeline.rs` judges it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::commands::{Command, Work};
use super::indirect::Indirect;
use crate::domain::verdict::Finding;

/// When something runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Runs {
    pub on_pull_request: bool,
    pub on_default_branch: bool,
}

#[derive(Debug, Clone, Default)]
pub struct Job {
    /// Unique in the graph: `file:job` where files have jobs of the same name.
    pub id: String,
    /// As people call it.
    pub name: String,
    pub file: String,
    /// From 1.
    pub line: u32,
    /// In order, with the line of each.
    pub commands: Vec<(u32, Command)>,
    /// Jobs that must have succeeded before.
    pub needs: BTreeSet<String>,
    /// `environment:` or an equivalent says it deploys.
    pub environment: Option<String>,
    pub runs: Runs,
    /// Why all its commands count for nothing: `continue-on-error`, `allow_failure`, `if: false`, `when: manual`.
    pub neutralised: Option<String>,
    /// Runs although what it needs has failed: `if: always()`, `when: always`.
    pub always: bool,
    /// Deploys only from a branch, a tag, or after an approval.
    pub restricted: bool,
    /// Work done elsewhere, out of sight: a remote reusable workflow.
    pub opaque: Option<String>,
}

impl Runs {
    pub const BOTH: Runs = Runs { on_pull_request: true, on_default_branch: true };
}

impl Job {
    /// The first command of this kind that counts, with its line.
    pub fn effective(&self, work: Work) -> Option<(u32, &Command)> {
        let own = self.commands.iter().find(|(_, c)| c.work == work && c.neutralised.is_none());
        own.filter(|_| self.neutralised.is_none()).map(|(line, c)| (*line, c))
    }
    pub fn has(&self, work: Work) -> bool {
        self.commands.iter().any(|(_, c)| c.work == work)
    }
    /// Is there a test that counts before the first command of this kind?
    pub fn tests_before(&self, work: Work) -> bool {
        let first = self.commands.iter().position(|(_, c)| c.work == work).unwrap_or(self.commands.len());
        self.neutralised.is_none()
            && self.commands[..first].iter().any(|(_, c)| c.work == Work::Test && c.neutralised.is_none())
    }
}

/// What a reader may know of the repository around its files.
#[derive(Clone, Copy)]
pub struct Around<'r> {
    pub default_branch: &'r str,
    pub indirect: &'r Indirect,
}

/// One file of a CI system, parsed.
#[derive(Debug, Clone, Default)]
pub struct Source {
    pub path: String,
    pub text: String,
    /// The last document; [`Json::Null`] where the file is no YAML.
    pub yaml: Json,
}

/// A string, or the strings of a list.
pub fn strings(value: &Json) -> Vec<String> {
    match value {
        Json::String(one) => vec![one.clone()],
        Json::Array(many) => many.iter().filter_map(|v| v.as_str().map(str::to_string)).collect(),
        _ => Vec::new(),
    }
}

/// Branch filters as most systems write them: `*` stops at a slash, `**` does not, `{a,b}` is either.
pub fn glob(pattern: &str, name: &str) -> bool {
    let escaped = regex::escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", ".");
    let escaped = escaped.replace(r"\{", "(").replace(r"\}", ")").replace(',', "|");
    regex::Regex::new(&format!("^({escaped})$")).is_ok_and(|r| r.is_match(name))
}

/// A branch that nobody has named: what a filter lets through that lets anything through.
pub const ANY_BRANCH: &str = "some-ones-topic-branch";

/// Everything one CI system's files say.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    /// `GitHub Actions`, `GitLab CI`.
    pub system: &'static str,
    /// How this system writes that a job waits for another, up to the name: `needs: [`.
    pub waits: &'static str,
    pub files: Vec<String>,
    pub jobs: Vec<Job>,
    /// Patterns that let strangers in: fail.
    pub dangers: Vec<Finding>,
    /// Weak habits: warn.
    pub habits: Vec<Finding>,
}

impl Pipeline {
    pub fn new(system: &'static str, waits: &'static str) -> Pipeline {
        Pipeline { system, waits, ..Pipeline::default() }
    }
    /// Limited to a branch, a tag or an approval, by its own words or by those of a job it waits for.
    pub fn is_restricted(&self, job: &Job) -> bool {
        job.restricted || (!job.always && self.ancestors(job).iter().any(|a| a.restricted))
    }
    /// All jobs that must have succeeded before `job`. Circles, which no CI system accepts, end the search.
    pub fn ancestors<'p>(&'p self, job: &Job) -> Vec<&'p Job> {
        let by_id: BTreeMap<&str, &Job> = self.jobs.iter().map(|j| (j.id.as_str(), j)).collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = job.needs.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if let Some(found) = by_id.get(id).filter(|f| f.id != job.id)
                && seen.insert(found.id.as_str())
            {
                // Behind a job that runs regardless, nothing is sure to have succeeded.
                if !found.always {
                    open.extend(found.needs.iter().map(String::as_str));
                }
            }
        }
        seen.iter().map(|id| by_id[id]).collect()
    }
}

/// The line (from 1) at or below `from` that holds the beginning of `text`; `from` when none does.
pub fn line_with(file: &str, text: &str, from: u32) -> u32 {
    let head: String =
        text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default().trim().chars().take(40).collect();
    if head.is_empty() {
        return from;
    }
    let skip = from.saturating_sub(1) as usize;
    file.lines().enumerate().skip(skip).find(|(_, l)| l.contains(&head)).map_or(from, |(i, _)| i as u32 + 1)
}
