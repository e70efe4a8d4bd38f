//! CircleCI as a job graph: workflows and what they require, reusable commands and their parameters, approvals, branch
//! and tag filters. Orbs of others are opaque, those written in the file are looked into.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::actions;
use super::commands::{Command, Work, commands};
use super::model::{ANY_BRANCH, Around, Job, Pipeline, Runs, Source, line_with, strings};
use crate::gates::import::yaml::line_of;

/// CircleCI refuses deeper nesting long before.
const DEPTH_MAX: usize = 8;

pub fn pipeline(file: &Source, around: Around<'_>) -> Pipeline {
    let mut out = Pipeline::new("CircleCI", "requires: [");
    out.files.push(file.path.clone());
    let reader = Reader { file, around };
    let workflows = file.yaml["workflows"].as_object();
    let workflows: Vec<(&String, &Json)> =
        workflows.into_iter().flatten().filter(|(name, w)| *name != "version" && w.is_object()).collect();
    for (name, workflow) in &workflows {
        let mut jobs = reader.workflow(name, workflow);
        out.jobs.append(&mut jobs);
    }
    if workflows.is_empty()
        && let Some(build) = file.yaml["jobs"].get("build")
    {
        out.jobs.push(reader.job("build", "build", build, &Json::Null, Runs::BOTH));
    }
    out
}

struct Reader<'r> {
    file: &'r Source,
    around: Around<'r>,
}

type Values = BTreeMap<String, Json>;

impl Reader<'_> {
    fn workflow(&self, name: &str, workflow: &Json) -> Vec<Job> {
        let limits = self.workflow_runs(workflow);
        let mut out: Vec<Job> = Vec::new();
        for entry in workflow["jobs"].as_array().into_iter().flatten() {
            let (job_name, options) = match entry {
                Json::String(job) => (job.as_str(), &Json::Null),
                Json::Object(map) => match map.iter().next() {
                    Some((job, options)) => (job.as_str(), options),
                    None => continue,
                },
                _ => continue,
            };
            let shown = options["name"].as_str().unwrap_or(job_name);
            let mut runs = self.filters(&options["filters"]);
            runs.on_pull_request &= limits.0.on_pull_request;
            runs.on_default_branch &= limits.0.on_default_branch;
            let mut job = match self.file.yaml["jobs"].get(job_name).or_else(|| self.in_orb(job_name, "jobs")) {
                Some(body) => self.job(job_name, shown, body, options, runs),
                None if options["type"] == "approval" => {
                    Job { name: shown.into(), restricted: true, runs, ..self.place(job_name) }
                }
                None => Job {
                    name: shown.into(),
                    opaque: Some(format!("the orb's job {job_name}")),
                    runs,
                    ..self.place(job_name)
                },
            };
            // A deploying orb says so in its name.
            if job.opaque.is_some()
                && let Some(command) = actions::command(job_name, true)
            {
                job.commands.push((job.line, command));
            }
            for step in ["pre-steps", "post-steps"] {
                let mut around = self.steps(&options[step], &Values::new(), job.line, 0);
                if step == "pre-steps" {
                    around.append(&mut job.commands);
                    job.commands = around;
                } else {
                    job.commands.append(&mut around);
                }
            }
            job.id = format!("{name}/{shown}");
            job.needs = requires(&options["requires"]).into_iter().map(|n| format!("{name}/{n}")).collect();
            job.always = forgives(&options["requires"]);
            job.restricted |= limits.1 || !runs.on_pull_request;
            out.push(job);
        }
        out
    }

    /// When a workflow runs at all, and whether a condition of its own limits it.
    fn workflow_runs(&self, workflow: &Json) -> (Runs, bool) {
        if workflow.get("triggers").is_some() {
            return (Runs::default(), true);
        }
        let condition = workflow.get("when").map(|w| (w, true)).or(workflow.get("unless").map(|u| (u, false)));
        let Some((condition, wanted)) = condition else { return (Runs::BOTH, false) };
        let text = condition.to_string();
        let constant = match condition {
            Json::Bool(flag) => Some(*flag),
            Json::String(words) => words
                .trim_start_matches("<<")
                .trim_end_matches(">>")
                .trim()
                .strip_prefix("pipeline.parameters.")
                .and_then(|p| self.file.yaml["parameters"][p]["default"].as_bool()),
            _ => None,
        };
        if constant.is_some_and(|value| value != wanted) {
            return (Runs::default(), true);
        }
        (Runs::BOTH, text.contains("pipeline.git.branch") || text.contains("pipeline.git.tag"))
    }

    /// Without a branch filter a job runs on every branch; a filter for tags alone does not take it from them.
    fn filters(&self, filters: &Json) -> Runs {
        if let Some(words) = filters.as_str() {
            let named = words.contains("pipeline.git.branch") || words.contains("pipeline.git.tag");
            return Runs { on_pull_request: !named, on_default_branch: words.contains(self.around.default_branch) };
        }
        let (only, ignore) = (strings(&filters["branches"]["only"]), strings(&filters["branches"]["ignore"]));
        let through = |branch: &str| {
            (only.is_empty() || only.iter().any(|p| matches(p, branch))) && !ignore.iter().any(|p| matches(p, branch))
        };
        Runs { on_pull_request: through(ANY_BRANCH), on_default_branch: through(self.around.default_branch) }
    }

    fn place(&self, name: &str) -> Job {
        let jobs = line_of(&self.file.text, "jobs", 1, 0);
        let line = line_of(&self.file.text, name, jobs, 0);
        Job { id: name.into(), name: name.into(), file: self.file.path.clone(), line, ..Job::default() }
    }

    fn job(&self, name: &str, shown: &str, body: &Json, given: &Json, runs: Runs) -> Job {
        let place = self.place(name);
        let values = values(&body["parameters"], given);
        let commands = self.steps(&body["steps"], &values, place.line, 0);
        let restricted = body["type"] == "approval" || given["type"] == "approval";
        Job { name: shown.into(), commands, runs, restricted, ..place }
    }

    fn steps(&self, steps: &Json, values: &Values, from: u32, depth: usize) -> Vec<(u32, Command)> {
        if depth > DEPTH_MAX {
            return Vec::new();
        }
        // `steps: << parameters.after >>`: the caller's own steps.
        if let Some(given) = steps.as_str().and_then(parameter).and_then(|name| values.get(name)) {
            return self.steps(given, &Values::new(), from, depth + 1);
        }
        let mut out = Vec::new();
        for step in steps.as_array().into_iter().flatten() {
            let (name, body) = match step {
                Json::String(name) => (name.as_str(), &Json::Null),
                Json::Object(map) => match map.iter().next() {
                    Some((name, body)) => (name.as_str(), body),
                    None => continue,
                },
                _ => continue,
            };
            match name {
                "run" => out.extend(self.run(body, values, from)),
                "when" | "unless" => {
                    let inner = self.steps(&body["steps"], values, from, depth + 1);
                    out.extend(inner.into_iter().map(|(l, c)| (l, Command { restricted: true, ..c })));
                }
                "steps" => out.extend(self.steps(body, values, from, depth + 1)),
                _ => {
                    let known = self.file.yaml["commands"].get(name).or_else(|| self.in_orb(name, "commands"));
                    if let Some(command) = known {
                        let mut inner_values = self::values(&command["parameters"], body);
                        for value in inner_values.values_mut() {
                            *value = filled(value, values);
                        }
                        let line = line_of(&self.file.text, name, from, 0);
                        out.extend(self.steps(&command["steps"], &inner_values, line, depth + 1));
                    } else if name.contains('/')
                        && let Some(command) = actions::command(name, true)
                    {
                        out.push((line_with(&self.file.text, name, from), command));
                    } else if let Some(given) = parameter(name).and_then(|n| values.get(n)) {
                        out.extend(self.steps(given, &Values::new(), from, depth + 1));
                    }
                }
            }
        }
        out
    }

    fn run(&self, body: &Json, values: &Values, from: u32) -> Vec<(u32, Command)> {
        let Some(script) = body.as_str().or_else(|| body["command"].as_str()) else { return Vec::new() };
        let line = line_with(&self.file.text, script, from);
        let folder = body["working_directory"].as_str().unwrap_or_default().trim_start_matches("./");
        let script = filled(&Json::String(script.to_string()), values);
        let found = commands(script.as_str().unwrap_or_default(), folder, self.around.indirect);
        let regardless = matches!(body["when"].as_str(), Some("always" | "on_fail"));
        let found = found.into_iter().map(|c| {
            let forced = regardless && matches!(c.work, Work::Deploy | Work::Publish);
            Command { neutralised: c.neutralised.clone().or(forced.then(|| "when: always".to_string())), ..c }
        });
        found.map(|c| (line, c)).collect()
    }

    /// `name/part` of an orb that is written in this very file.
    fn in_orb(&self, name: &str, kind: &str) -> Option<&Json> {
        let (orb, part) = name.split_once('/')?;
        self.file.yaml["orbs"][orb][kind].get(part)
    }
}

/// `requires: [a, {b: [success]}]`
fn requires(value: &Json) -> Vec<String> {
    let name = |item: &Json| match item {
        Json::String(name) => Some(name.clone()),
        Json::Object(map) => map.keys().next().cloned(),
        _ => None,
    };
    value.as_array().into_iter().flatten().filter_map(name).collect()
}

/// `requires: [{a: [failed]}]`, `{a: terminal}`: runs although `a` has failed.
fn forgives(value: &Json) -> bool {
    let states = |item: &Json| item.as_object().and_then(|m| m.values().next()).map(strings).unwrap_or_default();
    value.as_array().into_iter().flatten().any(|i| states(i).iter().any(|s| s == "failed" || s == "terminal"))
}

fn matches(pattern: &str, branch: &str) -> bool {
    match pattern.strip_prefix('/').and_then(|p| p.strip_suffix('/')) {
        Some(regex) => regex::Regex::new(&format!("^(?:{regex})$")).is_ok_and(|r| r.is_match(branch)),
        None => pattern == branch,
    }
}

/// `<< parameters.x >>` and nothing else.
fn parameter(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("<<")?.strip_suffix(">>")?.trim();
    inner.strip_prefix("parameters.")
}

/// Parameters as given, else their defaults.
fn values(declared: &Json, given: &Json) -> Values {
    let of = |(name, about): (&String, &Json)| {
        let value = given.get(name).or_else(|| about.get("default")).cloned().unwrap_or(Json::Null);
        (name.clone(), value)
    };
    declared.as_object().into_iter().flatten().map(of).collect()
}

/// The text with its parameters filled in; whole values as they are.
fn filled(value: &Json, values: &Values) -> Json {
    let Some(text) = value.as_str() else { return value.clone() };
    if let Some(whole) = parameter(text).and_then(|name| values.get(name)) {
        return whole.clone();
    }
    let mut out = text.to_string();
    for (name, value) in values {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        out =
            out.replace(&format!("<< parameters.{name} >>"), &shown).replace(&format!("<<parameters.{name}>>"), &shown);
    }
    Json::String(out)
}
