//! GitHub Actions workflows as a job graph: triggers, `needs`, conditions, local reusable workflows and composite
//! actions looked into, remote ones opaque. Also the patterns by which a stranger's pull request gets to run code.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;

use super::ci_commands::{Command, Indirect, Work, action_work, commands};
use super::ci_model::{Job, Pipeline, Runs, line_with};
use crate::domain::verdict::{Finding, Severity};
use crate::gates::import::yaml::line_of;

/// One workflow file, parsed.
pub struct Workflow<'r> {
    pub path: &'r str,
    pub text: &'r str,
    pub yaml: Json,
}

/// What workflows may refer to.
pub struct Surroundings<'r> {
    pub default_branch: &'r str,
    pub indirect: &'r Indirect,
    /// `action.yml` of local composite actions, by folder.
    pub actions: &'r BTreeMap<String, Json>,
}

pub fn pipeline(workflows: &[Workflow<'_>], around: &Surroundings<'_>) -> Pipeline {
    let mut out = Pipeline { system: "GitHub Actions", ..Pipeline::default() };
    for workflow in workflows {
        out.files.push(workflow.path.to_string());
        let called =
            workflow.yaml["on"].as_object().is_some_and(|on| on.len() == 1 && on.contains_key("workflow_call"))
                || workflow.yaml["on"] == "workflow_call";
        dangers(&mut out, workflow);
        // A workflow that is only called lives in its callers.
        if !called {
            let jobs = jobs_of(workflow, workflows, around, 0);
            out.jobs.extend(jobs);
        }
    }
    link_workflow_runs(&mut out, workflows);
    out
}

/// GitHub allows four levels of reusable workflows.
const DEPTH_MAX: usize = 4;

fn jobs_of(workflow: &Workflow<'_>, all: &[Workflow<'_>], around: &Surroundings<'_>, depth: usize) -> Vec<Job> {
    let triggers = triggers(&workflow.yaml["on"], around.default_branch);
    let jobs_line = line_of(workflow.text, "jobs", 1, 0);
    let mut out = Vec::new();
    for (id, job) in workflow.yaml["jobs"].as_object().into_iter().flatten() {
        let condition = condition(&job["if"]);
        let line = line_of(workflow.text, id, jobs_line + 1, 0);
        let environment = match &job["environment"] {
            Json::String(name) => Some(name.clone()),
            Json::Object(map) => Some(map.get("name").and_then(Json::as_str).unwrap_or("environment").to_string()),
            _ => None,
        };
        let mut built = Job {
            id: format!("{}:{id}", workflow.path),
            name: id.clone(),
            file: workflow.path.to_string(),
            line,
            needs: strings(&job["needs"]).into_iter().map(|n| format!("{}:{n}", workflow.path)).collect(),
            runs: triggers.runs,
            neutralised: neutralised(job, &condition),
            always: runs_always(&condition),
            restricted: triggers.restricted || environment.is_some() || speaks_of_ref(&condition),
            environment,
            ..Job::default()
        };
        if let Some(uses) = job["uses"].as_str() {
            match uses.strip_prefix("./").and_then(|path| all.iter().find(|w| w.path == path)) {
                Some(called) if depth < DEPTH_MAX => {
                    for inner in jobs_of(called, all, around, depth + 1) {
                        let neutral = inner.neutralised.clone();
                        built.commands.extend(inner.commands.into_iter().map(|(_, c)| {
                            let neutralised = c.neutralised.clone().or(neutral.clone());
                            (line, Command { neutralised, ..c })
                        }));
                        built.environment = built.environment.or(inner.environment);
                        built.opaque = built.opaque.or(inner.opaque);
                    }
                }
                _ => built.opaque = Some(uses.to_string()),
            }
        }
        built.commands.extend(steps(&job["steps"], workflow, line, around, 0));
        out.push(built);
    }
    out
}

fn steps(
    steps: &Json,
    workflow: &Workflow<'_>,
    job_line: u32,
    around: &Surroundings<'_>,
    depth: usize,
) -> Vec<(u32, Command)> {
    let mut out = Vec::new();
    for step in steps.as_array().into_iter().flatten() {
        let condition = condition(&step["if"]);
        let neutral = neutralised(step, &condition);
        let (line, found) = if let Some(run) = step["run"].as_str() {
            let folder =
                step["working-directory"].as_str().unwrap_or_default().trim_start_matches("./").trim_end_matches('/');
            (line_with(workflow.text, run, job_line), commands(run, folder, around.indirect))
        } else if let Some(uses) = step["uses"].as_str() {
            let line = line_with(workflow.text, uses, job_line);
            let local = uses.strip_prefix("./").and_then(|p| around.actions.get(p.trim_end_matches('/')));
            if let Some(action) = local.filter(|_| depth < DEPTH_MAX) {
                let inner = self::steps(&action["runs"]["steps"], workflow, line, around, depth + 1);
                (line, inner.into_iter().map(|(_, c)| c).collect())
            } else {
                let pushes =
                    step["with"]["push"] == true || step["with"]["push"].as_str().is_some_and(|p| p != "false");
                let found =
                    action_work(uses, pushes).map(|work| Command { work, text: uses.to_string(), neutralised: None });
                (line, found.into_iter().collect())
            }
        } else {
            continue;
        };
        // `if: always()` on a deploying step: it runs after a failed test of the same job.
        let regardless = runs_always(&condition);
        out.extend(found.into_iter().map(|c| {
            let own = c.neutralised.clone().or_else(|| neutral.clone());
            let neutralised = own
                .or((regardless && matches!(c.work, Work::Deploy | Work::Publish)).then(|| "if: always()".to_string()));
            (line, Command { neutralised, ..c })
        }));
    }
    out
}

fn condition(value: &Json) -> String {
    match value {
        Json::String(text) => text.trim().trim_start_matches("${{").trim_end_matches("}}").trim().to_string(),
        Json::Bool(flag) => flag.to_string(),
        _ => String::new(),
    }
}

fn neutralised(of: &Json, condition: &str) -> Option<String> {
    let forgiving = match &of["continue-on-error"] {
        Json::Bool(flag) => *flag,
        // An expression may be true.
        Json::String(text) => text != "false",
        _ => false,
    };
    match condition {
        "false" => Some("if: false".into()),
        _ if forgiving => Some("continue-on-error".into()),
        _ => None,
    }
}

fn runs_always(condition: &str) -> bool {
    // `!cancelled()` and `failure()` also run after a failed need.
    ["always()", "!cancelled()", "failure()"].iter().any(|f| condition.contains(f))
        && !condition.contains("needs.")
        && !condition.contains("success()")
}

fn speaks_of_ref(condition: &str) -> bool {
    [
        "github.ref",
        "refs/heads",
        "refs/tags",
        "github.event_name",
        "github.base_ref",
        "startsWith(github.ref",
        "workflow_run.head_branch",
    ]
    .iter()
    .any(|word| condition.contains(word))
}

struct Triggers {
    runs: Runs,
    /// No trigger lets an arbitrary branch in.
    restricted: bool,
}

fn triggers(on: &Json, default_branch: &str) -> Triggers {
    let events: BTreeMap<&str, &Json> = match on {
        Json::String(one) => [(one.as_str(), &Json::Null)].into(),
        Json::Array(many) => many.iter().filter_map(Json::as_str).map(|e| (e, &Json::Null)).collect(),
        Json::Object(map) => map.iter().map(|(k, v)| (k.as_str(), v)).collect(),
        _ => BTreeMap::new(),
    };
    let push = events.get("push");
    let branches = push.map(|p| strings(&p["branches"])).unwrap_or_default();
    let ignored = push.map(|p| strings(&p["branches-ignore"])).unwrap_or_default();
    let tags_only = push.is_some_and(|p| p.get("tags").is_some() && p.get("branches").is_none());
    let on_push = push.is_some()
        && !tags_only
        && (branches.is_empty() || branches.iter().any(|b| glob(b, default_branch)))
        && !ignored.iter().any(|b| glob(b, default_branch));
    let on_pull_request = ["pull_request", "pull_request_target", "merge_group"].iter().any(|e| events.contains_key(e));
    let any_branch =
        push.is_some() && !tags_only && (branches.is_empty() || branches.iter().any(|b| b == "**" || b == "*"));
    Triggers {
        runs: Runs { on_pull_request, on_default_branch: on_push || events.contains_key("merge_group") },
        restricted: !on_pull_request && !any_branch,
    }
}

/// GitHub's branch filters: `*` stops at a slash, `**` does not.
fn glob(pattern: &str, name: &str) -> bool {
    let pattern = regex::escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", ".");
    Regex::new(&format!("^{pattern}$")).is_ok_and(|r| r.is_match(name))
}

fn strings(value: &Json) -> Vec<String> {
    match value {
        Json::String(one) => vec![one.clone()],
        Json::Array(many) => many.iter().filter_map(|v| v.as_str().map(str::to_string)).collect(),
        _ => Vec::new(),
    }
}

/// `on: workflow_run` begins when another workflow has ended: a need, if success is asked for.
fn link_workflow_runs(out: &mut Pipeline, workflows: &[Workflow<'_>]) {
    for workflow in workflows {
        let before = strings(&workflow.yaml["on"]["workflow_run"]["workflows"]);
        if before.is_empty() || !workflow.text.contains("conclusion == 'success'") {
            continue;
        }
        let named = |w: &&Workflow<'_>| before.iter().any(|name| w.yaml["name"] == **name);
        let files: BTreeSet<&str> = workflows.iter().filter(named).map(|w| w.path).collect();
        let ids: Vec<String> =
            out.jobs.iter().filter(|j| files.contains(j.file.as_str())).map(|j| j.id.clone()).collect();
        for job in out.jobs.iter_mut().filter(|j| j.file == workflow.path) {
            job.needs.extend(ids.iter().cloned());
        }
    }
}

/// Event fields that a stranger writes.
static EVENT_FIELD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"\$\{\{[^}]*\b(github\.event\.(issue\.(title|body)|pull_request\.(title|body|head\.(ref|label|repo\.default_branch))|comment\.body|review\.body|review_comment\.body|discussion\.(title|body)|pages\b|commits\b|head_commit\.(message|author\.(name|email))|workflow_run\.(head_branch|head_commit\.message))|github\.head_ref)",
    )
    .ok()
});

/// Who publishes the runner itself may be trusted with a tag.
const OWN_ACTIONS: [&str; 2] = ["actions/", "github/"];

fn dangers(out: &mut Pipeline, workflow: &Workflow<'_>) {
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
