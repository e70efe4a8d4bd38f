//! The patterns by which a stranger's pull request gets to run code in GitHub Actions, and weaker habits.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::github::Workflow;
use super::model::{Pipeline, line_with};
use crate::domain::verdict::{Finding, Severity};
use crate::gates::import::yaml::line_of;

/// Event fields that a stranger writes.
static EVENT_FIELD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\$\{\{[^}]*\b(github\.event\.(issue\.(title|body)|pull_request\.(title|body|head\.(ref|label|repo\.default_branch))|comment\.body|review\.body|review_comment\.body|discussion\.(title|body)|pages\b|commits\b|head_commit\.(message|author\.(name|email))|workflow_run\.(head_branch|head_commit\.message))|github\.head_ref)",
    )
    .ok()
});

/// Who publishes the runner itself may be trusted with a tag.
const OWN_ACTIONS: [&str; 2] = ["actions/", "github/"];

pub fn dangers(out: &mut Pipeline, workflow: &Workflow<'_>) {
    let (path, text) = (workflow.path, workflow.text);
    let on = &workflow.yaml["on"];
    let privileged = ["pull_request_target", "workflow_run"]
        .into_iter()
        .find(|e| on.get(*e).is_some() || on == *e || on.as_array().is_some_and(|a| a.iter().any(|v| v == *e)));
    let mut finding = |into_dangers: bool, rule: &str, severity: Severity, line: u32, message: String, fix: &str| {
        let finding = Finding::new(rule, severity, message.clone())
            .at(path, line, 1)
            .fix(fix)
            .identified_by(&[rule, path, &message]);
        if into_dangers { out.dangers.push(finding) } else { out.habits.push(finding) }
    };
    if workflow.yaml["permissions"] == "write-all" {
        let line = line_of(text, "permissions", 1, 0);
        finding(
            false,
            "token-write-all",
            Severity::Medium,
            line,
            "the token may write everything".into(),
            "name the permissions each job needs",
        );
    }
    for (id, job) in workflow.yaml["jobs"].as_object().into_iter().flatten() {
        let job_line = line_of(text, id, 1, 0);
        if job["permissions"] == "write-all" {
            finding(
                false,
                "token-write-all",
                Severity::Medium,
                job_line,
                format!("the token of job {id} may write everything"),
                "name the permissions the job needs",
            );
        }
        for step in job["steps"].as_array().into_iter().flatten() {
            let uses = step["uses"].as_str().unwrap_or_default();
            let script = step["run"].as_str().or_else(|| step["with"]["script"].as_str()).unwrap_or_default();
            if let Some(field) = EVENT_FIELD.as_ref().and_then(|r| r.captures(script)).and_then(|c| c.get(1)) {
                let line = line_with(text, script, job_line);
                let message = format!("{} is pasted into a script of job {id}", field.as_str());
                finding(
                    true,
                    "script-injection",
                    Severity::High,
                    line,
                    message,
                    "pass it through env: and quote the variable",
                );
            }
            if let Some(event) = privileged
                && uses.starts_with("actions/checkout@")
            {
                let from = format!("{} {}", step["with"]["ref"], step["with"]["repository"]);
                if ["pull_request.head", "github.head_ref", "refs/pull/", "workflow_run.head"]
                    .iter()
                    .any(|w| from.contains(w))
                {
                    let message =
                        format!("job {id} checks out a stranger's code under {event}, with this repository's secrets");
                    finding(
                        true,
                        "untrusted-checkout",
                        Severity::Critical,
                        line_with(text, uses, job_line),
                        message,
                        "use on: pull_request, or do not check out the head",
                    );
                }
            }
            let third_party =
                uses.contains('/') && !uses.starts_with("./") && !OWN_ACTIONS.iter().any(|o| uses.starts_with(o));
            let pinned = uses.rsplit_once('@').is_some_and(|(_, r)| {
                (r.len() == 40 && r.bytes().all(|b| b.is_ascii_hexdigit())) || r.starts_with("sha256:")
            });
            if third_party && !pinned {
                let message = format!("{uses} is not pinned to a commit");
                finding(
                    false,
                    "unpinned-action",
                    Severity::Low,
                    line_with(text, uses, job_line),
                    message,
                    "write the commit's 40 digits after @, and the version in a comment",
                );
            }
        }
    }
    // The same action in five jobs is one habit.
    let mut seen = BTreeSet::new();
    out.habits.retain(|f| seen.insert(f.fingerprint.clone()));
}
