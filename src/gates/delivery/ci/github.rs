//! GitHub Actions workflows as a job graph: triggers, `needs`, conditions, local reusable workflows and composite
//! actions looked into, remote ones opaque. Also the patterns by which a stranger's pull request gets to run code.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::actions;
use super::commands::{Command, Work, commands};
use super::indirect::Indirect;
use super::model::{Job, Pipeline, Runs, glob, line_with, strings};
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
    let mut out = Pipeline::new("GitHub Actions", "needs: [");
    for workflow in workflows {
        out.files.push(workflow.path.to_string());
        let called =
            workflow.yaml["on"].as_object().is_some_and(|on| on.len() == 1 && on.contains_key("workflow_call"))
                || workflow.yaml["on"] == "workflow_call";
        super::github_dangers::dangers(&mut out, workflow);
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
            restricted: triggers.restricted || environment.is_some() || is_limited(&condition),
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
        if makes_a_cluster(&job["steps"]) {
            built.commands.retain(|(_, c)| c.work != Work::Deploy || !is_for_a_cluster(&c.text));
        }
        out.push(built);
    }
    out
}

/// What is put on a cluster that the job has made for itself goes with the job: that is a test, and no deploy.
fn makes_a_cluster(steps: &Json) -> bool {
    const ACTIONS: [&str; 8] = [
        "kind-action",
        "setup-kind",
        "setup-minikube",
        "k3d-action",
        "setup-k3d",
        "setup-k3s",
        "microk8s-actions",
        "k3s-action",
    ];
    const COMMANDS: [&str; 5] =
        ["kind create cluster", "minikube start", "k3d cluster create", "microk8s install", "get.k3s.io"];
    steps.as_array().into_iter().flatten().any(|step| {
        let uses = step["uses"].as_str().unwrap_or_default();
        let run = step["run"].as_str().unwrap_or_default();
        ACTIONS.iter().any(|a| uses.contains(a)) || COMMANDS.iter().any(|c| run.contains(c))
    })
}

fn is_for_a_cluster(command: &str) -> bool {
    let own_script = ["./", "sh ", "bash ", "make "].iter().any(|start| command.starts_with(start));
    own_script
        || ["kubectl", "helm", "kustomize", "skaffold", "timoni", "flux"].iter().any(|tool| command.contains(tool))
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
        let folder =
            step["working-directory"].as_str().unwrap_or_default().trim_start_matches("./").trim_end_matches('/');
        let (line, found) = if let Some(run) = step["run"].as_str() {
            (line_with(workflow.text, run, job_line), commands(run, folder, around.indirect))
        } else if let Some(uses) = step["uses"].as_str() {
            let line = line_with(workflow.text, uses, job_line);
            let local = uses.strip_prefix("./").and_then(|p| around.actions.get(p.trim_end_matches('/')));
            if let Some(action) = local.filter(|_| depth < DEPTH_MAX) {
                let inner = self::steps(&action["runs"]["steps"], workflow, line, around, depth + 1);
                (line, inner.into_iter().map(|(_, c)| c).collect())
            } else {
                (line, action(uses, &step["with"], folder, around.indirect))
            }
        } else {
            continue;
        };
        // `if: always()` on a deploying step: it runs after a failed test of the same job.
        let regardless = runs_always(&condition);
        let conditional = !condition.is_empty() && !regardless;
        out.extend(found.into_iter().map(|c| {
            let own = c.neutralised.clone().or_else(|| neutral.clone());
            let neutralised = own
                .or((regardless && matches!(c.work, Work::Deploy | Work::Publish)).then(|| "if: always()".to_string()));
            (line, Command { neutralised, restricted: c.restricted || conditional, ..c })
        }));
    }
    out
}

/// A ready-made action: by its name, else by the script it is handed to run.
fn action(uses: &str, with: &Json, folder: &str, indirect: &Indirect) -> Vec<Command> {
    let text = |key: &str| with[key].as_str().unwrap_or_default();
    let pushes = with["push"] == true || with["push"].as_str().is_some_and(|p| p != "false");
    if uses.starts_with("pypa/cibuildwheel@") {
        let work = |work| Command { work, text: uses.to_string(), neutralised: None, restricted: false };
        let tests = indirect.wheels_are_tested.then(|| work(Work::Test));
        return std::iter::once(work(Work::Build)).chain(tests).collect();
    }
    // Opening the pull request of a release releases nothing.
    if text("command") == "release-pr" {
        return Vec::new();
    }
    if let Some(found) = actions::command(uses, pushes) {
        let restricted = text("push").contains("github.");
        return vec![Command { restricted, ..found }];
    }
    if uses.starts_with("actions/github-script@") {
        return Vec::new();
    }
    let cargo = if uses.starts_with("actions-rs/cargo@") { "cargo " } else { "" };
    let scripts = ["run", "script", "command", "commands", "cmd"].map(text);
    commands(
        &scripts.map(|s| if s.is_empty() { String::new() } else { format!("{cargo}{s}") }).join("\n"),
        folder,
        indirect,
    )
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
        // An expression may be true. One over the matrix forgives only some of the jobs: the experimental ones.
        Json::String(text) => text != "false" && !text.contains("matrix."),
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

/// Does a condition narrow where the job runs? By a ref, an event, an input, or an earlier job's decision. A test for
/// the repository's owner alone lets every branch of that owner in.
fn is_limited(condition: &str) -> bool {
    [
        "github.ref",
        "refs/heads",
        "refs/tags",
        "github.event",
        "github.base_ref",
        "head_branch",
        "inputs.",
        "needs.",
        "vars.",
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
