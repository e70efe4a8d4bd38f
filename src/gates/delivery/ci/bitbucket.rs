//! Bitbucket Pipelines as a job graph: each list of steps (default, branches, pull requests, tags, custom) is a chain in
//! which a step waits for all before it; parallel steps wait for what comes before the group.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::actions;
use super::commands::{Command, Work, commands};
use super::model::{ANY_BRANCH, Around, Job, Pipeline, Runs, Source, glob, line_with};
use crate::gates::import::yaml::line_of;

pub fn pipeline(file: &Source, around: Around<'_>) -> Pipeline {
    let mut out = Pipeline::new("Bitbucket Pipelines", "a step after: [");
    out.files.push(file.path.clone());
    let pipelines = &file.yaml["pipelines"];
    let named = |branch: &str| pipelines["branches"].as_object().is_some_and(|m| m.keys().any(|p| glob(p, branch)));
    // `default` is for the branches that no pattern names.
    let default = Runs { on_pull_request: true, on_default_branch: !named(around.default_branch) };
    chain(&mut out, file, around, "default", &pipelines["default"], default, false);
    for (kind, only_here) in [("branches", true), ("pull-requests", false), ("tags", true), ("custom", true)] {
        for (pattern, steps) in pipelines[kind].as_object().into_iter().flatten() {
            let runs = match kind {
                "branches" => Runs {
                    on_pull_request: glob(pattern, ANY_BRANCH),
                    on_default_branch: glob(pattern, around.default_branch),
                },
                "pull-requests" => Runs { on_pull_request: true, on_default_branch: false },
                _ => Runs::default(),
            };
            let limited = only_here && !runs.on_pull_request;
            chain(&mut out, file, around, &format!("{kind}/{pattern}"), steps, runs, limited);
        }
    }
    out
}

fn chain(out: &mut Pipeline, file: &Source, around: Around<'_>, name: &str, steps: &Json, runs: Runs, limited: bool) {
    let from = line_of(&file.text, name.rsplit('/').next().unwrap_or(name), 1, 0);
    let mut before: BTreeSet<String> = BTreeSet::new();
    for (index, item) in steps.as_array().into_iter().flatten().enumerate() {
        let mut group = Vec::new();
        collect(item, &Json::Null, &mut group);
        let mut ids = BTreeSet::new();
        let stage = item.get("stage").is_some();
        for (nth, (step, outer)) in group.into_iter().enumerate() {
            let shown = step["name"].as_str().map_or_else(|| format!("step {}", index + 1), str::to_string);
            let line = line_with(&file.text, &shown, from);
            let deployment = step["deployment"].as_str().or_else(|| outer["deployment"].as_str());
            let manual = step["trigger"] == "manual" || outer["trigger"] == "manual";
            let job = Job {
                id: format!("{name}/{index}.{nth} {shown}"),
                name: shown,
                file: file.path.clone(),
                line,
                commands: script(step, file, around, line),
                needs: before.iter().cloned().collect(),
                environment: deployment.map(str::to_string),
                runs,
                neutralised: (step["on-fail"]["strategy"] == "ignore").then(|| "on-fail: ignore".to_string()),
                restricted: limited || manual || deployment.is_some(),
                ..Job::default()
            };
            // The steps of a stage come one after the other.
            if stage {
                before.insert(job.id.clone());
            }
            ids.insert(job.id.clone());
            out.jobs.push(job);
        }
        before.extend(ids);
    }
}

/// The steps of one item, with the stage around them.
fn collect<'j>(item: &'j Json, outer: &'j Json, out: &mut Vec<(&'j Json, &'j Json)>) {
    if let Some(step) = item.get("step") {
        out.push((step, outer));
    }
    let parallel = item["parallel"].as_array().or_else(|| item["parallel"]["steps"].as_array());
    for inner in parallel.into_iter().flatten() {
        collect(inner, outer, out);
    }
    for inner in item["stage"]["steps"].as_array().into_iter().flatten() {
        collect(inner, &item["stage"], out);
    }
}

fn script(step: &Json, file: &Source, around: Around<'_>, from: u32) -> Vec<(u32, Command)> {
    let mut out = Vec::new();
    for (key, regardless) in [("script", false), ("after-script", true)] {
        for item in step[key].as_array().into_iter().flatten() {
            let (text, found): (&str, Vec<Command>) = match (item.as_str(), item["pipe"].as_str()) {
                (Some(text), _) => (text, commands(text, "", around.indirect)),
                (None, Some(pipe)) => (pipe, actions::command(pipe, true).into_iter().collect()),
                _ => continue,
            };
            let line = line_with(&file.text, text, from);
            out.extend(found.into_iter().map(|c| {
                let forced = regardless && matches!(c.work, Work::Deploy | Work::Publish);
                let neutralised = c.neutralised.clone().or(forced.then(|| "after-script".to_string()));
                (line, Command { neutralised, ..c })
            }));
        }
    }
    out
}
