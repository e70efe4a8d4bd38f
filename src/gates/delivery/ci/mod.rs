//! The CI files of a repository, whichever systems they are written for, as job graphs of one model (`model.rs`). One
//! reader a system; `commands.rs` says what a command does. Reads files, judges nothing: `../pipeline.rs` does.

mod actions;
mod azure;
mod azure_tasks;
mod bitbucket;
mod circle;
pub mod commands;
mod drone;
mod github;
mod github_dangers;
mod gitlab;
mod groovy;
mod indirect;
mod jenkins;
pub mod model;
mod pasted;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::BTreeMap;

use self::github::{Surroundings, Workflow};
use self::gitlab::Include;
use self::model::{Around, Pipeline, Source};
use crate::gates::context::{Repo, RepoFile};
use crate::gates::import::yaml;

/// What was found.
#[derive(Debug, Default)]
pub struct Read {
    pub pipelines: Vec<Pipeline>,
    /// CI files that could not be read: path and why.
    pub unreadable: Vec<(String, String)>,
    /// CI systems without a reader here: path and name.
    pub unsupported: Vec<(String, &'static str)>,
}

/// CI files are written by hand; a larger one is not.
pub const CI_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Local includes may include more.
const INCLUDES_MAX: usize = 50;
/// Blocking: reads files.
pub fn read(repo: &Repo, default_branch: &str) -> Read {
    let indirect = indirect::read(repo);
    let mut reader = Reader { repo, around: Around { default_branch, indirect: &indirect }, out: Read::default() };
    reader.github(".github/workflows", "GitHub Actions");
    reader.github(".forgejo/workflows", "Forgejo Actions");
    reader.github(".gitea/workflows", "Gitea Actions");
    reader.gitlab();
    reader.one(&[".circleci/config.yml", ".circleci/config.yaml"], circle::pipeline);
    reader.one(&["bitbucket-pipelines.yml", "bitbucket-pipelines.yaml"], bitbucket::pipeline);
    reader.one(&[".drone.yml", ".drone.yaml"], drone::drone);
    reader.woodpecker();
    reader.azure();
    reader.jenkins();
    for pipeline in &mut reader.out.pipelines {
        let texts = pipeline.files.clone();
        for path in texts {
            if let Ok(text) = repo.read_text(&path, CI_FILE_BYTES_MAX) {
                pasted::dangers(pipeline, &path, &text);
            }
        }
    }
    for file in repo.files.iter() {
        if let Some(system) = unsupported(&file.path) {
            reader.out.unsupported.push((file.path.clone(), system));
        }
    }
    reader.out
}

struct Reader<'r> {
    repo: &'r Repo,
    around: Around<'r>,
    out: Read,
}

impl Reader<'_> {
    fn has(&self, path: &str) -> bool {
        self.repo.files.binary_search_by(|f| f.path.as_str().cmp(path)).is_ok()
    }

    /// The file, or a note that it cannot be read.
    fn source(&mut self, path: &str) -> Option<Source> {
        let text = self.repo.read_text(path, CI_FILE_BYTES_MAX).map_err(|e| e.kind().to_string());
        match text.and_then(|text| parse(&text).map(|yaml| (text, yaml))) {
            Ok((text, yaml)) => Some(Source { path: path.to_string(), text, yaml }),
            Err(why) => {
                self.out.unreadable.push((path.to_string(), why));
                None
            }
        }
    }

    fn paths(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        self.repo.files.iter().filter(|f| wanted(&f.path)).map(|f| f.path.clone()).collect()
    }

    fn github(&mut self, folder: &str, system: &'static str) {
        let inside = |path: &str| path.rsplit_once('/').is_some_and(|(f, _)| f == folder) && is_yaml(path);
        let sources: Vec<Source> = self.paths(inside).iter().filter_map(|path| self.source(path)).collect();
        if sources.is_empty() {
            return;
        }
        let mut actions = BTreeMap::new();
        for path in self.paths(|p| matches!(p.rsplit('/').next(), Some("action.yml" | "action.yaml"))) {
            let text = self.repo.read_text(&path, CI_FILE_BYTES_MAX).unwrap_or_default();
            if let Ok(yaml) = parse(&text) {
                actions.insert(path.rsplit_once('/').map_or("", |(f, _)| f).to_string(), yaml);
            }
        }
        let workflows: Vec<Workflow<'_>> =
            sources.iter().map(|s| Workflow { path: &s.path, text: &s.text, yaml: s.yaml.clone() }).collect();
        let around = Surroundings {
            default_branch: self.around.default_branch,
            indirect: self.around.indirect,
            actions: &actions,
        };
        let mut pipeline = github::pipeline(&workflows, &around);
        pipeline.system = system;
        self.out.pipelines.push(pipeline);
    }

    fn gitlab(&mut self) {
        let Some(main) = [".gitlab-ci.yml", ".gitlab-ci.yaml"].into_iter().find(|p| self.has(p)) else { return };
        let mut files: Vec<(String, String, serde_json::Value)> = Vec::new();
        let mut open = vec![main.to_string()];
        while let Some(path) = open.pop().filter(|_| files.len() < INCLUDES_MAX) {
            let Some(source) = self.source(&path) else { continue };
            for include in gitlab::includes(&source.yaml["include"]) {
                if let Include::Local(local) = include
                    && !files.iter().any(|(p, _, _)| *p == local)
                {
                    let wanted = |f: &&RepoFile| glob_path(&local, &f.path);
                    open.extend(self.repo.files.iter().filter(wanted).map(|f| f.path.clone()));
                }
            }
            // The including file wins over what it includes.
            files.insert(0, (path, source.text, source.yaml));
        }
        if !files.is_empty() {
            self.out.pipelines.push(gitlab::pipeline(&files, self.around.default_branch, self.around.indirect));
        }
    }

    /// A system with one file.
    fn one(&mut self, paths: &[&str], build: impl Fn(&Source, Around<'_>) -> Pipeline) {
        let Some(path) = paths.iter().find(|p| self.has(p)) else { return };
        if let Some(source) = self.source(path) {
            let pipeline = build(&source, self.around);
            self.out.pipelines.push(pipeline);
        }
    }

    fn woodpecker(&mut self) {
        let own = |p: &str| {
            matches!(p, ".woodpecker.yml" | ".woodpecker.yaml") || (p.starts_with(".woodpecker/") && is_yaml(p))
        };
        let sources: Vec<Source> = self.paths(own).iter().filter_map(|path| self.woodpecker_source(path)).collect();
        if !sources.is_empty() {
            self.out.pipelines.push(drone::woodpecker(&sources, self.around));
        }
    }

    /// Woodpecker merges lists with `- <<: *list`, which YAML does not know: such lines only ever add paths to a filter.
    fn woodpecker_source(&mut self, path: &str) -> Option<Source> {
        let text = self.repo.read_text(path, CI_FILE_BYTES_MAX).unwrap_or_default();
        if parse(&text).is_ok() {
            return self.source(path);
        }
        let merges = |line: &&str| line.trim_start().starts_with("- <<: *");
        let without: String = text.lines().map(|l| if merges(&l) { "\n".into() } else { format!("{l}\n") }).collect();
        match parse(&without) {
            Ok(yaml) => Some(Source { path: path.to_string(), text, yaml }),
            Err(_) => self.source(path),
        }
    }

    fn azure(&mut self) {
        let own = |p: &str| {
            let (folder, name) = p.rsplit_once('/').unwrap_or(("", p));
            let main = matches!(name, "azure-pipelines.yml" | "azure-pipelines.yaml");
            (main && !folder.contains('/')) || p == ".vsts-ci.yml" || p == ".azuredevops/pipelines/azure-pipelines.yml"
        };
        for path in self.paths(own) {
            let Some(source) = self.source(&path) else { continue };
            let mut templates = BTreeMap::new();
            let mut open = vec![source.text.clone()];
            while let Some(text) = open.pop().filter(|_| templates.len() < INCLUDES_MAX) {
                for name in template_names(&text) {
                    for found in self.paths(|p| p == name || p.ends_with(&format!("/{name}"))) {
                        if !templates.contains_key(&found)
                            && templates.len() < INCLUDES_MAX
                            && let Some(template) = self.source(&found)
                        {
                            open.push(template.text.clone());
                            templates.insert(found, template);
                        }
                    }
                }
            }
            let pipeline = azure::pipeline(&source, &templates, self.around);
            self.out.pipelines.push(pipeline);
        }
    }

    fn jenkins(&mut self) {
        let places =
            ["Jenkinsfile", "jenkins/Jenkinsfile", ".jenkins/Jenkinsfile", "ci/Jenkinsfile", ".ci/Jenkinsfile"];
        let Some(path) = places.iter().find(|p| self.has(p)) else { return };
        match self.repo.read_text(path, CI_FILE_BYTES_MAX) {
            Ok(text) => {
                let source = Source { path: path.to_string(), text, ..Source::default() };
                let pipeline = jenkins::pipeline(&source, self.around);
                if pipeline.jobs.is_empty() {
                    let why = "neither stages nor steps that could be read".to_string();
                    self.out.unreadable.push((path.to_string(), why));
                } else {
                    self.out.pipelines.push(pipeline);
                }
            }
            Err(why) => self.out.unreadable.push((path.to_string(), why.kind().to_string())),
        }
    }
}

/// Last path parts of the templates that an Azure file names.
fn template_names(text: &str) -> Vec<String> {
    let value = |line: &str| {
        let rest = line.trim().trim_start_matches("- ").strip_prefix("template:")?.trim();
        let path = rest.trim_matches(['"', '\'']).split(['@', ' ']).next()?;
        path.rsplit('/').next().filter(|n| is_yaml(n)).map(str::to_string)
    };
    text.lines().filter_map(value).collect()
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

/// GitLab's includes may hold wildcards.
fn glob_path(pattern: &str, path: &str) -> bool {
    let pattern = regex::escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*");
    regex::Regex::new(&format!("^{pattern}$")).is_ok_and(|r| r.is_match(path))
}

fn parse(text: &str) -> Result<serde_json::Value, String> {
    let mut documents = yaml::documents(text).map_err(|e| e.to_string())?;
    // GitLab allows a header document (`spec:`) before the pipeline.
    documents.pop().filter(serde_json::Value::is_object).ok_or_else(|| "the file holds no mapping".to_string())
}

fn unsupported(path: &str) -> Option<&'static str> {
    match path {
        ".travis.yml" => Some("Travis CI"),
        "appveyor.yml" | ".appveyor.yml" => Some("AppVeyor"),
        ".buildkite/pipeline.yml" | ".buildkite/pipeline.yaml" => Some("Buildkite"),
        ".drone.star" | ".drone.jsonnet" => Some("Drone in Starlark or Jsonnet"),
        ".cirrus.yml" => Some("Cirrus CI"),
        ".build.yml" => Some("builds.sr.ht"),
        "cloudbuild.yaml" | "cloudbuild.yml" => Some("Google Cloud Build"),
        "buildspec.yml" => Some("AWS CodeBuild"),
        ".semaphore/semaphore.yml" => Some("Semaphore"),
        _ if path.starts_with(".teamcity/") => Some("TeamCity"),
        _ => None,
    }
}
