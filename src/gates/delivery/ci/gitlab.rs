//! GitLab CI as a job graph: stages and `needs`, `extends` and `default`, local includes, rules and `only` as far as
//! they say when a job runs. Remote includes and templates are opaque.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::commands::commands;
use super::indirect::Indirect;
use super::model::{Job, Pipeline, Runs, line_with};
use crate::domain::verdict::{Finding, Severity};
use crate::gates::import::yaml::line_of;

/// Top-level keys that are not jobs.
const RESERVED: [&str; 15] = [
    "stages",
    "default",
    "include",
    "workflow",
    "variables",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "pages:deploy",
    "spec",
    "types",
    "true",
    "false",
];

/// `files` are the main file and its local includes in the order in which GitLab merges them: path, text, content.
pub fn pipeline(files: &[(String, String, Json)], default_branch: &str, indirect: &Indirect) -> Pipeline {
    let mut out = Pipeline::new("GitLab CI", "needs: [");
    let mut merged: Map<String, Json> = Map::new();
    for (path, text, content) in files {
        out.files.push(path.clone());
        for include in includes(&content["include"]) {
            if let Include::Opaque(what) = include {
                let line = line_of(text, "include", 1, 0);
                out.habits.push(
                    Finding::new(
                        "opaque-include",
                        Severity::Low,
                        format!("{what} is included from elsewhere and was not looked into"),
                    )
                    .at(path, line, 1)
                    .fix("include a file of this repository, or check it there")
                    .identified_by(&["opaque-include", path, &what]),
                );
            }
        }
        for (key, value) in content.as_object().into_iter().flatten() {
            let mine = merged.entry(key.clone()).or_insert(Json::Null);
            *mine = merge(mine.take(), value.clone());
        }
    }
    let stages: Vec<String> = match merged.get("stages").and_then(Json::as_array) {
        Some(list) => list.iter().filter_map(|s| s.as_str().map(str::to_string)).collect(),
        None => ["build", "test", "deploy"].map(str::to_string).to_vec(),
    };
    let position = |stage: &str| match stage {
        ".pre" => 0,
        ".post" => usize::MAX,
        other => stages.iter().position(|s| s == other).map_or(usize::MAX - 1, |i| i + 1),
    };
    let workflow = merged.get("workflow").map(|w| rules(&w["rules"], default_branch)).unwrap_or(Some(Runs::BOTH));
    let mut staged: Vec<(usize, Job, bool)> = Vec::new();
    for (name, job) in
        merged.iter().filter(|(k, v)| !k.starts_with('.') && !RESERVED.contains(&k.as_str()) && v.is_object())
    {
        let job = resolve(job, &merged, 0);
        if job.get("trigger").is_some() {
            let what = format!("child pipeline of {name}");
            staged.push((position(stage(&job)), opaque(name, files, what), false));
            continue;
        }
        let has_needs = job.get("needs").is_some();
        let built = build(name, &job, &merged, files, default_branch, indirect, workflow);
        staged.push((position(stage(&job)), built, has_needs));
    }
    let ids: Vec<(usize, String)> = staged.iter().map(|(s, j, _)| (*s, j.id.clone())).collect();
    for (stage, mut job, has_needs) in staged {
        if !has_needs {
            job.needs = ids.iter().filter(|(s, _)| *s < stage).map(|(_, id)| id.clone()).collect();
        }
        out.jobs.push(job);
    }
    out
}

/// What an `include:` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Include {
    /// A path of this repository.
    Local(String),
    Opaque(String),
}

pub fn includes(value: &Json) -> Vec<Include> {
    let items: Vec<&Json> = match value {
        Json::Array(items) => items.iter().collect(),
        Json::Null => Vec::new(),
        one => vec![one],
    };
    let one = |item: &Json| {
        let text = item.as_str().or_else(|| item["local"].as_str());
        match text {
            Some(path) if !path.contains("://") => Include::Local(path.trim_start_matches('/').to_string()),
            Some(url) => Include::Opaque(url.to_string()),
            None => {
                let what = ["template", "remote", "project", "component"].iter().find_map(|k| item[*k].as_str());
                Include::Opaque(what.unwrap_or("an include").to_string())
            }
        }
    };
    items.into_iter().map(one).collect()
}

/// Later wins, key by key.
fn merge(base: Json, over: Json) -> Json {
    match (base, over) {
        (Json::Object(mut base), Json::Object(over)) => {
            for (key, value) in over {
                let mine = base.entry(key).or_insert(Json::Null);
                *mine = merge(mine.take(), value);
            }
            Json::Object(base)
        }
        (_, over) => over,
    }
}

/// GitLab allows eleven levels of `extends`.
const EXTENDS_MAX: usize = 11;

fn resolve(job: &Json, all: &Map<String, Json>, depth: usize) -> Json {
    let parents = match &job["extends"] {
        Json::String(one) => vec![one.as_str()],
        Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let mut base = Json::Object(Map::new());
    if depth < EXTENDS_MAX {
        for parent in parents.iter().filter_map(|p| all.get(*p)) {
            base = merge(base, resolve(parent, all, depth + 1));
        }
    }
    merge(base, job.clone())
}

fn stage(job: &Json) -> &str {
    job["stage"].as_str().unwrap_or("test")
}

fn opaque(name: &str, files: &[(String, String, Json)], what: String) -> Job {
    let (path, line) = place(name, files);
    Job { id: name.into(), name: name.into(), file: path, line, opaque: Some(what), ..Job::default() }
}

fn place(name: &str, files: &[(String, String, Json)]) -> (String, u32) {
    let file = files.iter().find(|(_, _, content)| content.get(name).is_some()).or(files.first());
    file.map_or((String::new(), 1), |(path, text, _)| (path.clone(), line_of(text, name, 1, 0)))
}

fn build(
    name: &str,
    job: &Json,
    all: &Map<String, Json>,
    files: &[(String, String, Json)],
    default_branch: &str,
    indirect: &Indirect,
    workflow: Option<Runs>,
) -> Job {
    let (file, line) = place(name, files);
    let text = files.iter().find(|(path, _, _)| *path == file).map_or("", |(_, text, _)| text.as_str());
    let before = [
        &job["before_script"],
        all.get("default").map_or(&Json::Null, |d| &d["before_script"]),
        all.get("before_script").unwrap_or(&Json::Null),
    ]
    .into_iter()
    .find(|b| !b.is_null());
    let mut found = Vec::new();
    // One shell runs them all: a `set +e` before the script still holds in it.
    let lines: Vec<String> = before.into_iter().chain([&job["script"]]).flat_map(|s| script(s, all)).collect();
    for command in commands(&lines.join("\n"), "", indirect) {
        found.push((line_with(text, &command.text, line), command));
    }
    let runs = match (job.get("rules"), job.get("only"), job.get("except")) {
        (Some(list), _, _) => rules(list, default_branch),
        (None, Some(only), _) => Some(refs(only, default_branch)),
        (None, None, Some(except)) => {
            let out = refs(except, default_branch);
            Some(Runs { on_pull_request: !out.on_pull_request, on_default_branch: !out.on_default_branch })
        }
        (None, None, None) => Some(Runs::BOTH),
    };
    let manual = job["when"] == "manual";
    let all_rules_forgive = job["rules"].as_array().is_some_and(|r| {
        !r.is_empty() && r.iter().all(|r| r["allow_failure"] == true || r["when"] == "manual" || r["when"] == "never")
    });
    let forgiving = match &job["allow_failure"] {
        Json::Bool(flag) => *flag,
        Json::Object(_) => true,
        // Manual jobs may fail unless they say otherwise.
        _ => manual,
    };
    let neutralised = match runs {
        None => Some("never runs".to_string()),
        _ if job["when"] == "never" => Some("when: never".into()),
        _ if manual => Some("when: manual".into()),
        _ if forgiving || all_rules_forgive => Some("allow_failure".into()),
        _ => None,
    };
    let runs = runs.unwrap_or_default();
    let within = workflow.unwrap_or_default();
    // `action: stop` takes an environment down.
    let deploys = job["environment"]["action"].as_str().is_none_or(|a| a == "start");
    let environment = job["environment"].as_str().or_else(|| job["environment"]["name"].as_str());
    let environment = environment.filter(|_| deploys).map(str::to_string);
    Job {
        id: name.into(),
        name: name.into(),
        file,
        line,
        commands: found,
        needs: needs(&job["needs"]),
        restricted: environment.is_some() || manual || job.get("only").is_some() || restricted_by_rules(&job["rules"]),
        environment,
        runs: Runs {
            on_pull_request: runs.on_pull_request && within.on_pull_request,
            on_default_branch: runs.on_default_branch && within.on_default_branch,
        },
        neutralised,
        always: job["when"] == "always"
            || job["rules"].as_array().is_some_and(|r| r.iter().any(|r| r["when"] == "always")),
        opaque: None,
    }
}

fn needs(value: &Json) -> BTreeSet<String> {
    let name = |item: &Json| item.as_str().or_else(|| item["job"].as_str()).map(str::to_string);
    value.as_array().into_iter().flatten().filter_map(name).collect()
}

/// A script's lines; nested lists come from `!reference [.job, script]`.
fn script(value: &Json, all: &Map<String, Json>) -> Vec<String> {
    match value {
        Json::String(text) => vec![text.clone()],
        Json::Array(items) => {
            if let [Json::String(job), Json::String(key)] = items.as_slice()
                && job.starts_with('.')
                && let Some(target) = all.get(job).map(|j| &j[key.as_str()])
            {
                return script(target, &Map::new());
            }
            items.iter().flat_map(|item| script(item, all)).collect()
        }
        _ => Vec::new(),
    }
}

/// When rules let a job run; `None` when they never do.
fn rules(value: &Json, default_branch: &str) -> Option<Runs> {
    let Some(list) = value.as_array() else { return Some(Runs::BOTH) };
    let mut runs = Runs::default();
    let mut any = list.is_empty();
    for rule in list {
        if rule["when"] == "never" {
            // `if: $CI_PIPELINE_SOURCE == "merge_request_event"`, `when: never`: taken back for what follows.
            continue;
        }
        any = true;
        let text = rule["if"].as_str().unwrap_or_default();
        let merge_request = text.contains("merge_request") || text.contains("CI_MERGE_REQUEST");
        let default = text.contains("CI_DEFAULT_BRANCH")
            || text.contains(&format!("\"{default_branch}\""))
            || text.contains(&format!("'{default_branch}'"));
        let tag = text.contains("CI_COMMIT_TAG");
        if text.is_empty() || (!merge_request && !default && !tag) {
            return Some(Runs::BOTH);
        }
        runs.on_pull_request |= merge_request;
        runs.on_default_branch |= default;
    }
    any.then_some(runs)
}

/// The older `only:` and `except:`.
fn refs(value: &Json, default_branch: &str) -> Runs {
    let list = match value {
        Json::String(one) => vec![one.as_str()],
        Json::Array(many) => many.iter().filter_map(Json::as_str).collect(),
        Json::Object(map) => {
            map.get("refs").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
        }
        _ => Vec::new(),
    };
    let has = |word: &str| list.contains(&word);
    Runs {
        on_pull_request: has("merge_requests") || has("branches") || list.is_empty(),
        on_default_branch: has(default_branch)
            || has("branches")
            || has("pushes")
            || list.is_empty()
            || list.iter().any(|r| r.starts_with('/')),
    }
}

fn restricted_by_rules(value: &Json) -> bool {
    value.as_array().is_some_and(|list| {
        !list.is_empty()
            && list.iter().filter(|r| r["when"] != "never").all(|r| {
                let text = r["if"].as_str().unwrap_or_default();
                r["when"] == "manual"
                    || ["CI_COMMIT_BRANCH", "CI_COMMIT_TAG", "CI_COMMIT_REF", "CI_DEFAULT_BRANCH"]
                        .iter()
                        .any(|w| text.contains(w))
            })
    })
}
