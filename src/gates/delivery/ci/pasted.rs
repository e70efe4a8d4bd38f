//! Fields that strangers write, pasted into scripts before the shell sees them: a pull request's title that holds
//! `$(curl …|sh)` runs. GitHub and Jenkins have their own (`github_dangers.rs`, `jenkins.rs`); these replace text.

use std::sync::LazyLock;

use regex::Regex;

use super::model::Pipeline;
use crate::domain::verdict::{Finding, Severity};

type Pattern = LazyLock<Option<Regex>>;

/// Azure fills in `$(…)` before the script runs.
static AZURE: Pattern = LazyLock::new(|| {
    Regex::new(r"\$\((Build\.SourceVersionMessage|System\.PullRequest\.SourceBranch|Build\.SourceBranchName)\)").ok()
});
/// Drone and Woodpecker fill in `${…}` in the whole file; `$${…}` is left to the shell.
static DRONE: Pattern = LazyLock::new(|| {
    Regex::new(
        r"(?:^|[^$])\$\{(DRONE_(?:COMMIT_MESSAGE|PULL_REQUEST_TITLE|SOURCE_BRANCH|COMMIT_AUTHOR_NAME)|CI_(?:COMMIT_MESSAGE|COMMIT_SOURCE_BRANCH|COMMIT_PULL_REQUEST_TITLE|COMMIT_AUTHOR|PIPELINE_TITLE))[}:#%/^,]",
    )
    .ok()
});
/// CircleCI's pipeline values are filled in when the configuration is read.
static CIRCLE: Pattern = LazyLock::new(|| {
    Regex::new(r"<<\s*(pipeline\.(?:event|trigger_parameters)\.[\w.]*(?:title|body|message|head\.ref)|pipeline\.git\.branch)\s*>>")
        .ok()
});

/// Looks at the lines of scripts only: a condition or an environment variable may name these fields.
pub fn dangers(pipeline: &mut Pipeline, path: &str, text: &str) {
    let pattern = match pipeline.system {
        "Azure Pipelines" => &AZURE,
        "Drone" | "Woodpecker" => &DRONE,
        "CircleCI" => &CIRCLE,
        _ => return,
    };
    let Some(pattern) = pattern.as_ref() else { return };
    let mut script: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let bare = line.trim_start().trim_start_matches("- ");
        if script
            .is_some_and(|start| indent <= start && !line.trim().is_empty() && !line.trim_start().starts_with("- "))
        {
            script = None;
        }
        let opens = ["script:", "bash:", "pwsh:", "powershell:", "commands:", "command:", "run:", "inlineScript:"]
            .iter()
            .any(|k| bare.starts_with(k));
        if opens {
            script = Some(indent);
        }
        if script.is_none() || bare.starts_with('#') {
            continue;
        }
        if let Some(field) = pattern.captures(line).and_then(|c| c.get(1)) {
            let message =
                format!("{} is pasted into a script: whoever opens a pull request chooses it", field.as_str());
            // A branch's name is bound by git's rules: less room, not none.
            let branch = field.as_str().ends_with("git.branch") || field.as_str().ends_with("SourceBranchName");
            let severity = if branch { Severity::Medium } else { Severity::High };
            let finding = Finding::new("script-injection", severity, message)
                .at(path, index as u32 + 1, 1)
                .fix("hand it over as an environment variable, and quote it in the shell")
                .identified_by(&["script-injection", path, field.as_str()]);
            if branch { pipeline.habits.push(finding) } else { pipeline.dangers.push(finding) }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    pipeline.dangers.retain(|f| seen.insert(f.fingerprint.clone()));
}
