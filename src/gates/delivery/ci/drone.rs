//! Drone and Woodpecker as a job graph: a job is a step. Steps run one after the other unless one of them says what it
//! depends on; pipelines (Drone) and workflow files (Woodpecker) wait for those they depend on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::actions;
use super::commands::{Command, commands};
use super::model::{ANY_BRANCH, Around, Job, Pipeline, Runs, Source, glob, line_with, strings};
use crate::gates::import::yaml::{self, line_of};

/// `.drone.yml`: one document for each pipeline.
pub fn drone(file: &Source, around: Around<'_>) -> Pipeline {
    let mut out = Pipeline::new("Drone", "depends_on: [");
    out.files.push(file.path.clone());
    let documents = yaml::documents(&file.text).unwrap_or_default();
    let unnamed = |index: usize| format!("pipeline {}", index + 1);
    for (index, document) in documents.iter().enumerate() {
        // Since 1.0 every document says its kind; secrets and signatures are documents too.
        let kind = document["kind"].as_str().unwrap_or("pipeline");
        if kind == "pipeline" {
            let name = document["name"].as_str().map_or_else(|| unnamed(index), str::to_string);
            workflow(&mut out, file, &name, document, &document["trigger"], around);
        }
    }
    link(&mut out);
    out
}

/// `.woodpecker.yml`, or each file of `.woodpecker/`.
pub fn woodpecker(files: &[Source], around: Around<'_>) -> Pipeline {
    let mut out = Pipeline::new("Woodpecker", "depends_on: [");
    for file in files {
        out.files.push(file.path.clone());
        let name = file.path.rsplit('/').next().unwrap_or(&file.path);
        let name = name.trim_end_matches(".yml").trim_end_matches(".yaml").trim_start_matches('.');
        workflow(&mut out, file, name, &file.yaml, &file.yaml["when"], around);
    }
    link(&mut out);
    out
}

/// Marks a need that is a whole workflow, until all are known.
const WHOLE: &str = "workflow:";

fn workflow(out: &mut Pipeline, file: &Source, name: &str, body: &Json, when: &Json, around: Around<'_>) {
    let limits = When::of(when, around.default_branch);
    let before: Vec<String> = strings(&body["depends_on"]).into_iter().map(|w| format!("{WHOLE}{w}")).collect();
    let steps = steps(if body["steps"].is_null() { &body["pipeline"] } else { &body["steps"] }, &file.text);
    let any_graph = steps.iter().any(|(_, s)| s.get("depends_on").is_some());
    let mut earlier: BTreeSet<String> = BTreeSet::new();
    let from = line_of(&file.text, "steps", line_with(&file.text, &format!("name: {name}"), 1), 0);
    for (step_name, step) in steps {
        let own = When::of(&step["when"], around.default_branch);
        let line = step_line(&file.text, &step_name, from);
        let id = format!("{name}/{step_name}");
        let needs: BTreeSet<String> = if any_graph {
            strings(&step["depends_on"]).into_iter().map(|n| format!("{name}/{n}")).collect()
        } else {
            earlier.clone()
        };
        let failure =
            step["failure"].as_str().or_else(|| step["ignore_errors"].as_bool().filter(|f| *f).map(|_| "ignore"));
        out.jobs.push(Job {
            id: id.clone(),
            name: step_name,
            file: file.path.clone(),
            line,
            commands: work(step, &file.text, line, around),
            needs: needs.into_iter().chain(before.iter().cloned()).collect(),
            runs: Runs {
                on_pull_request: own.runs.on_pull_request && limits.runs.on_pull_request,
                on_default_branch: own.runs.on_default_branch && limits.runs.on_default_branch,
            },
            neutralised: match failure {
                Some("ignore") => Some("failure: ignore".into()),
                _ if own.never || limits.never => Some("never runs".into()),
                _ => None,
            },
            always: own.after_failure,
            restricted: own.limited || limits.limited,
            ..Job::default()
        });
        earlier.insert(id);
    }
}

/// Steps by name, in the order of the file. Woodpecker allows a mapping, Drone before 1.0 knew nothing else.
fn steps<'j>(value: &'j Json, text: &str) -> Vec<(String, &'j Json)> {
    match value {
        Json::Array(list) => {
            let name = |(i, s): (usize, &'j Json)| {
                (s["name"].as_str().map_or_else(|| format!("step {}", i + 1), str::to_string), s)
            };
            list.iter().enumerate().map(name).collect()
        }
        Json::Object(map) => {
            let from = line_of(text, "steps", 1, 0);
            let mut found: Vec<(String, &Json)> = map.iter().map(|(k, v)| (k.clone(), v)).collect();
            found.sort_by_key(|(name, _)| line_of(text, name, from, 0));
            found
        }
        _ => Vec::new(),
    }
}

fn step_line(text: &str, name: &str, from: u32) -> u32 {
    let keyed = line_of(text, name, from, 0);
    if keyed != from { keyed } else { line_with(text, &format!("name: {name}"), from) }
}

fn work(step: &Json, text: &str, from: u32, around: Around<'_>) -> Vec<(u32, Command)> {
    let lines = strings(if step["commands"].is_null() { &step["command"] } else { &step["commands"] });
    if !lines.is_empty() {
        let folder = step["directory"].as_str().unwrap_or_default().trim_matches('/');
        // One shell runs them all, and stops at the first that fails.
        let found = commands(&lines.join("\n"), folder, around.indirect);
        return found.into_iter().map(|c| (line_with(text, &c.text, from), c)).collect();
    }
    let image = actions::image_name(step["image"].as_str().unwrap_or_default());
    let settings = &step["settings"];
    let dry = ["dry_run", "dry-run"].iter().any(|k| settings[*k] == true || step[*k] == true);
    actions::command(&image, !dry).filter(|_| !dry).map(|c| (from, c)).into_iter().collect()
}

/// What `when:` or `trigger:` lets through.
struct When {
    runs: Runs,
    /// Not everything that comes along.
    limited: bool,
    after_failure: bool,
    never: bool,
}

impl When {
    fn of(value: &Json, default_branch: &str) -> When {
        let rules: Vec<&Json> = match value {
            Json::Array(list) => list.iter().collect(),
            Json::Null => Vec::new(),
            one => vec![one],
        };
        if rules.is_empty() {
            return When { runs: Runs::BOTH, limited: false, after_failure: false, never: false };
        }
        let mut out = When { runs: Runs::default(), limited: true, after_failure: false, never: false };
        for rule in rules {
            let events = |name: &str| lets(&rule["event"], name);
            let branch = |name: &str| lets(&rule["branch"], name) && lets(&rule["ref"], &format!("refs/heads/{name}"));
            // The branch of a pull request is the one it wants to go to.
            let pull_request =
                events("pull_request") && branch(default_branch) && lets(&rule["ref"], "refs/pull/1/head");
            out.runs.on_pull_request |= pull_request;
            out.runs.on_default_branch |= events("push") && branch(default_branch);
            let any_push = events("push") && branch(ANY_BRANCH);
            out.limited &= !(pull_request || any_push);
            out.after_failure |= rule.get("status").is_some() && lets(&rule["status"], "failure");
            out.never |= rule["evaluate"] == "false";
        }
        out
    }
}

/// A filter: a word, a list of words, or `{include, exclude}`. None lets everything through.
fn lets(filter: &Json, name: &str) -> bool {
    let expand = |p: &String| p.replace("${CI_REPO_DEFAULT_BRANCH}", "*").replace("${DRONE_REPO_BRANCH}", "*");
    let any = |patterns: &[String]| patterns.iter().any(|p| glob(&p.replace("$$", "$"), name));
    match filter {
        Json::Null => true,
        Json::Object(map) => {
            let part = |key: &str| map.get(key).map(strings).unwrap_or_default();
            let (include, exclude) = (part("include"), part("exclude"));
            (include.is_empty() || any(&include)) && !any(&exclude)
        }
        other => {
            let patterns = strings(other);
            // The forge's own default branch, whatever its name: never somebody's topic branch.
            let own_branch = name != ANY_BRANCH && !name.starts_with("refs/");
            any(&patterns) || (own_branch && patterns.iter().any(|p| expand(p) == "*" && p != "*"))
        }
    }
}

/// Turns needs of whole workflows into needs of all their steps.
fn link(out: &mut Pipeline) {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for job in &out.jobs {
        if let Some((workflow, _)) = job.id.split_once('/') {
            members.entry(workflow.to_string()).or_default().push(job.id.clone());
        }
    }
    for job in &mut out.jobs {
        let needs = std::mem::take(&mut job.needs);
        for need in needs {
            match need.strip_prefix(WHOLE) {
                Some(workflow) => job.needs.extend(members.get(workflow).into_iter().flatten().cloned()),
                None => {
                    job.needs.insert(need);
                }
            }
        }
    }
}
