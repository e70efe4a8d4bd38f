//! Azure Pipelines as a job graph: stages, jobs and deployments, what they depend on, conditions, local templates.
//! Templates of other repositories are opaque.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::azure_tasks;
use super::commands::{Command, Work, commands};
use super::model::{ANY_BRANCH, Around, Job, Pipeline, Runs, Source, glob, line_with, strings};
use crate::gates::import::yaml::line_of;

/// Templates may use templates.
const DEPTH_MAX: usize = 8;
/// More jobs than this come from templates that call each other.
const JOBS_MAX: usize = 500;

/// `templates`: other YAML files of the repository, by path.
pub fn pipeline(file: &Source, templates: &BTreeMap<String, Source>, around: Around<'_>) -> Pipeline {
    let mut out = Pipeline::new("Azure Pipelines", "dependsOn: [");
    out.files.push(file.path.clone());
    let runs = triggers(&file.yaml, around.default_branch);
    let mut reader = Reader { templates, around, runs, out };
    let root = match file.yaml["extends"]["template"].as_str() {
        Some(path) => match reader.template(path, file) {
            Some(found) => found,
            None => {
                reader.opaque("extends", path, file, "");
                return reader.out;
            }
        },
        None => file.clone(),
    };
    let whole = Around1 { stage: "", needs: BTreeSet::new(), condition: Condition::default() };
    if let Some(stages) = root.yaml.get("stages") {
        reader.stages(stages, &root, 0);
    } else if let Some(jobs) = root.yaml.get("jobs") {
        reader.jobs(jobs, &root, &whole, 0);
    } else {
        let job = serde_json::json!({"job": "job", "steps": root.yaml["steps"]});
        reader.job(&job, &root, &whole);
    }
    reader.out
}

struct Reader<'r> {
    templates: &'r BTreeMap<String, Source>,
    around: Around<'r>,
    runs: Runs,
    out: Pipeline,
}

/// The stage around a job.
struct Around1<'s> {
    stage: &'s str,
    needs: BTreeSet<String>,
    condition: Condition,
}

impl Reader<'_> {
    fn stages(&mut self, stages: &Json, file: &Source, depth: usize) {
        let mut by_stage: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut previous: Option<String> = None;
        for (index, stage) in flat(stages).into_iter().enumerate() {
            if let Some(path) = stage["template"].as_str() {
                match self.template(path, file).filter(|_| depth < DEPTH_MAX) {
                    Some(found) => self.stages(&found.yaml["stages"], &found, depth + 1),
                    None => self.opaque(path, path, file, ""),
                }
                continue;
            }
            let name = stage["stage"].as_str().map_or_else(|| format!("stage {}", index + 1), str::to_string);
            // Without dependsOn a stage waits for the one before it; `[]` waits for none.
            let before = match stage.get("dependsOn") {
                Some(named) => strings(named),
                None => previous.iter().cloned().collect(),
            };
            let needs = before.iter().filter_map(|b| by_stage.get(b)).flatten().cloned().collect();
            let around = Around1 { stage: &name, needs, condition: Condition::of(&stage["condition"]) };
            let first = self.out.jobs.len();
            self.jobs(&stage["jobs"], file, &around, depth);
            let ids = self.out.jobs[first..].iter().map(|j| j.id.clone()).collect();
            by_stage.insert(name.clone(), ids);
            previous = Some(name);
        }
    }

    fn jobs(&mut self, jobs: &Json, file: &Source, around: &Around1<'_>, depth: usize) {
        for job in flat(jobs) {
            if self.out.jobs.len() >= JOBS_MAX {
                return;
            }
            match job["template"].as_str() {
                Some(path) => match self.template(path, file).filter(|_| depth < DEPTH_MAX) {
                    Some(found) => self.jobs(&found.yaml["jobs"], &found, around, depth + 1),
                    None => self.opaque(path, path, file, around.stage),
                },
                None => self.job(job, file, around),
            }
        }
    }

    fn job(&mut self, job: &Json, file: &Source, around: &Around1<'_>) {
        let name = job["job"].as_str().or_else(|| job["deployment"].as_str()).unwrap_or("job").to_string();
        let id =
            |name: &str| if around.stage.is_empty() { name.to_string() } else { format!("{}.{name}", around.stage) };
        let line = line_with(&file.text, &name, 1);
        let condition = Condition::of(&job["condition"]);
        let environment = job["environment"].as_str().or_else(|| job["environment"]["name"].as_str());
        let deploys = job.get("deployment").is_some();
        let mut found = self.steps(&job["steps"], file, line, 0);
        for (_, phase) in job["strategy"].as_object().into_iter().flatten() {
            for (_, hook) in phase.as_object().into_iter().flatten() {
                found.extend(self.steps(&hook["steps"], file, line, 0));
            }
        }
        let forgiving = job["continueOnError"] == true || job["continueOnError"] == "true";
        let neutralised = match () {
            _ if condition.never || around.condition.never => Some("condition: false".to_string()),
            _ if forgiving => Some("continueOnError".to_string()),
            _ => None,
        };
        let mut runs = self.runs;
        runs.on_pull_request &= !condition.not_pull_request && !around.condition.not_pull_request;
        self.out.jobs.push(Job {
            id: id(&name),
            name,
            file: file.path.clone(),
            line,
            commands: found,
            needs: strings(&job["dependsOn"]).iter().map(|n| id(n)).chain(around.needs.iter().cloned()).collect(),
            environment: deploys.then(|| environment.unwrap_or("deployment").to_string()),
            runs,
            neutralised,
            always: condition.always || around.condition.always,
            restricted: condition.limited || around.condition.limited || deploys || !self.runs.on_pull_request,
            opaque: None,
        });
    }

    fn steps(&self, steps: &Json, file: &Source, from: u32, depth: usize) -> Vec<(u32, Command)> {
        let mut out = Vec::new();
        for step in flat(steps) {
            if let Some(path) = step["template"].as_str() {
                if let Some(found) = self.template(path, file).filter(|_| depth < DEPTH_MAX) {
                    let inner = self.steps(&found.yaml["steps"], &found, 1, depth + 1);
                    let line = line_with(&file.text, path, from);
                    out.extend(inner.into_iter().map(|(_, c)| (line, c)));
                }
                continue;
            }
            if step["enabled"] == false || step["enabled"] == "false" {
                continue;
            }
            let condition = Condition::of(&step["condition"]);
            let script = ["script", "bash", "pwsh", "powershell"].into_iter().find_map(|k| step[k].as_str());
            let folder = step["workingDirectory"].as_str().unwrap_or_default().trim_start_matches("./");
            let (line, found) = match (script, step["task"].as_str()) {
                (Some(script), _) => {
                    (line_with(&file.text, script, from), commands(script, folder, self.around.indirect))
                }
                (None, Some(task)) => {
                    (line_with(&file.text, task, from), azure_tasks::work(task, &step["inputs"], self.around.indirect))
                }
                _ => continue,
            };
            let forgiving = step["continueOnError"] == true || step["continueOnError"] == "true";
            out.extend(found.into_iter().map(|c| {
                let forced = condition.always && matches!(c.work, Work::Deploy | Work::Publish);
                let why = match () {
                    _ if condition.never => Some("condition: false"),
                    _ if forgiving => Some("continueOnError"),
                    _ if forced => Some("condition: always()"),
                    _ => None,
                };
                let neutralised = c.neutralised.clone().or(why.map(str::to_string));
                (line, Command { neutralised, restricted: c.restricted || condition.limited, ..c })
            }));
        }
        out
    }

    /// A template of this repository: from the root with a slash, else beside the file that names it.
    fn template(&self, path: &str, from: &Source) -> Option<Source> {
        let (path, elsewhere) = path.split_once('@').unwrap_or((path, "self"));
        if elsewhere != "self" {
            return None;
        }
        let folder = from.path.rsplit_once('/').map_or("", |(f, _)| f);
        let joined = match path.strip_prefix('/') {
            Some(rooted) => rooted.to_string(),
            None if folder.is_empty() => path.to_string(),
            None => format!("{folder}/{path}"),
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                other => parts.push(other),
            }
        }
        self.templates.get(&parts.join("/")).cloned()
    }

    fn opaque(&mut self, name: &str, path: &str, file: &Source, stage: &str) {
        let line = line_with(&file.text, path, line_of(&file.text, "extends", 1, 0));
        self.out.jobs.push(Job {
            id: format!("{stage}.{name}"),
            name: name.to_string(),
            file: file.path.clone(),
            line,
            opaque: Some(format!("the template {path}")),
            runs: self.runs,
            ..Job::default()
        });
    }
}

/// Lists with the items of `${{ if … }}:` and `${{ each … }}:` in their places.
fn flat(list: &Json) -> Vec<&Json> {
    let mut out = Vec::new();
    for item in list.as_array().into_iter().flatten() {
        let inserted = item.as_object().and_then(|m| m.iter().find(|(k, v)| k.starts_with("${{") && v.is_array()));
        match inserted {
            Some((_, inner)) => out.extend(flat(inner)),
            None => out.push(item),
        }
    }
    out
}

#[derive(Default, Clone)]
struct Condition {
    never: bool,
    always: bool,
    limited: bool,
    not_pull_request: bool,
}

impl Condition {
    fn of(value: &Json) -> Condition {
        let text = match value {
            Json::String(text) => text.to_ascii_lowercase(),
            Json::Bool(flag) => flag.to_string(),
            _ => return Condition::default(),
        };
        let has = |word: &str| text.contains(word);
        let pull_request = has("pullrequest");
        Condition {
            never: text.trim() == "false",
            // `always()` beside a look at an earlier result is a decision; alone it is not.
            always: (has("always()") || has("succeededorfailed()") || has("failed()"))
                && !has("dependencies.")
                && !has(".result"),
            limited: has("sourcebranch")
                || has("build.reason")
                || has("parameters")
                || has("variables")
                || has("dependencies."),
            not_pull_request: pull_request && (has("ne(") || has("not(")) || has("refs/heads/") || has("refs/tags/"),
        }
    }
}

/// Without `trigger` every branch is built, without `pr` every pull request; `none` takes it away.
fn triggers(root: &Json, default_branch: &str) -> Runs {
    let lets = |value: &Json, branch: &str| match value {
        Json::Null => true,
        Json::String(word) => word != "none" && glob(word, branch),
        Json::Array(_) => strings(value).iter().any(|p| glob(&double(p), branch)),
        Json::Object(map) => {
            let branches = map.get("branches").unwrap_or(&Json::Null);
            let include = if branches.is_array() { strings(branches) } else { strings(&branches["include"]) };
            let exclude = strings(&branches["exclude"]);
            let any = |patterns: &[String]| patterns.iter().any(|p| glob(&double(p), branch));
            // Tags alone: no branch is built.
            let tags_only = branches.is_null() && map.contains_key("tags");
            !tags_only && (include.is_empty() || any(&include)) && !any(&exclude)
        }
        Json::Bool(flag) => *flag,
        Json::Number(_) => true,
    };
    Runs {
        // A pull request is named by the branch it wants to go to.
        on_pull_request: lets(&root["pr"], default_branch),
        on_default_branch: lets(&root["trigger"], default_branch)
            || (root["pr"].is_null() && lets(&root["trigger"], ANY_BRANCH)),
    }
}

/// Azure's `*` goes over slashes.
fn double(pattern: &str) -> String {
    pattern.trim_start_matches("refs/heads/").replace('*', "**")
}
