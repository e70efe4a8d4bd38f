//! Gate `delivery.pipeline`: does every deploy come after a build and after tests that can fail?
//!
//! Reads the CI files as a job graph (`ci_github.rs`, `ci_gitlab.rs`, commands by `ci_commands.rs`) and asks: is there a
//! build, a test, a deploy; has each deploying job a test among what it needs; do tests run on pull requests and on the
//! default branch; can a stranger's pull request run code with our secrets. Tests that cannot fail do not count. A file
//! proves an intention only: without a run for this commit the gate warns. To fix a failure: add the missing `needs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::ci_commands::{Indirect, Work, makefile_targets};
use super::ci_github::{self, Surroundings, Workflow};
use super::ci_gitlab::{self, Include};
use super::ci_model::{Job, Pipeline};
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::{Repo, off_thread};
use crate::gates::import::yaml;
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};

/// `[gates.delivery.pipeline]`
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The deploy is done elsewhere (a GitOps repository, a platform that watches the branch): its absence here warns
    /// instead of failing. Default: false.
    pub external_deploy: bool,
    /// The branch that releases come from. Default: what origin's HEAD says, else `main` or `master`.
    pub default_branch: Option<String>,
}

pub struct CiPipeline;

pub static ABOUT: About = About {
    id: "delivery.pipeline",
    section: Section::Delivery,
    class: Class::B,
    line: "CI pipeline set up (build -> test -> deploy)",
    min_tier: Tier::E2,
    attestable: false,
    stage: Stage::Static,
    lock: Lock::Fs,
    needs: &[],
    timeout: Duration::from_secs(120),
    skipped_for: &[],
    reads: "GitHub Actions workflows and GitLab CI with their local includes, the scripts and make targets they call, and \
            the CI system's own variables when run inside it",
    decides: "every deploying job has an effective test before it; tests run on pull requests and the default branch; \
              tests under continue-on-error, allow_failure, || true, set +e, if: false or --passWithNoTests do not count; \
              checkouts of strangers under pull_request_target and event fields inside scripts fail; unpinned actions \
              warn; a correct chain without a run for this commit warns",
    fix: "add needs: [test] to the deploying job; let failing tests fail; run hypercare check inside the pipeline",
};

impl Gate for CiPipeline {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo.clone(),
                Err(outcome) => return *outcome,
            };
            let config = ctx.config.clone();
            let run = run_evidence(|name| std::env::var(name).ok(), ctx.rid.commit.as_deref());
            off_thread(move || {
                let config = &config.delivery.pipeline;
                judge(&look(&repo, config, run), config)
            })
            .await
        })
    }
}

/// A run of the pipeline for the commit that is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Run {
    url: String,
    commit: String,
}

/// Everything the verdict rests on.
#[derive(Debug, Default)]
struct Seen {
    pipelines: Vec<Pipeline>,
    /// CI files that could not be read: path and why.
    unreadable: Vec<(String, String)>,
    /// CI systems without a reader here: path and name.
    unsupported: Vec<(String, &'static str)>,
    run: Option<Run>,
}

/// CI variables speak for this commit, or not at all: a foreign run proves nothing.
fn run_evidence(variable: impl Fn(&str) -> Option<String>, commit: Option<&str>) -> Option<Run> {
    let commit = commit?;
    let is_ours = |sha: &Option<String>| sha.as_deref() == Some(commit);
    if is_ours(&variable("GITHUB_SHA")) {
        let part = |name| variable(name).filter(|v| !v.is_empty());
        let url = format!(
            "{}/{}/actions/runs/{}",
            part("GITHUB_SERVER_URL")?,
            part("GITHUB_REPOSITORY")?,
            part("GITHUB_RUN_ID")?
        );
        return Some(Run { url, commit: commit.into() });
    }
    if is_ours(&variable("CI_COMMIT_SHA")) {
        return Some(Run { url: variable("CI_PIPELINE_URL")?, commit: commit.into() });
    }
    None
}

/// CI files are written by hand; a larger one is not.
const CI_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Local includes may include more.
const INCLUDES_MAX: usize = 50;

fn look(repo: &Repo, config: &Config, run: Option<Run>) -> Seen {
    let mut seen = Seen { run, ..Seen::default() };
    let default_branch = config.default_branch.clone().unwrap_or_else(|| default_branch(repo));
    let indirect = indirect(repo);
    let read = |path: &str| repo.read_text(path, CI_FILE_BYTES_MAX).map_err(|e| e.kind().to_string());

    let mut texts: Vec<(String, String, serde_json::Value)> = Vec::new();
    let mut actions = BTreeMap::new();
    for file in repo.files.iter().filter(|f| is_yaml(&f.path)) {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        if folder == ".github/workflows" {
            match read(&file.path).and_then(|text| parse(&text).map(|yaml| (text, yaml))) {
                Ok((text, yaml)) => texts.push((file.path.clone(), text, yaml)),
                Err(why) => seen.unreadable.push((file.path.clone(), why)),
            }
        } else if matches!(name, "action.yml" | "action.yaml")
            && let Ok(yaml) = read(&file.path).and_then(|text| parse(&text))
        {
            actions.insert(folder.to_string(), yaml);
        }
    }
    if !texts.is_empty() {
        let workflows: Vec<Workflow<'_>> =
            texts.iter().map(|(path, text, yaml)| Workflow { path, text, yaml: yaml.clone() }).collect();
        let around = Surroundings { default_branch: &default_branch, indirect: &indirect, actions: &actions };
        seen.pipelines.push(ci_github::pipeline(&workflows, &around));
    }

    let main = [".gitlab-ci.yml", ".gitlab-ci.yaml"].into_iter().find(|p| repo.files.iter().any(|f| f.path == *p));
    if let Some(main) = main {
        let mut files = Vec::new();
        let mut open = vec![main.to_string()];
        while let Some(path) = open.pop().filter(|_| files.len() < INCLUDES_MAX) {
            match read(&path).and_then(|text| parse(&text).map(|yaml| (text, yaml))) {
                Ok((text, yaml)) => {
                    for include in ci_gitlab::includes(&yaml["include"]) {
                        if let Include::Local(local) = include
                            && !files.iter().any(|(p, _, _)| *p == local)
                        {
                            let wanted = |f: &&crate::gates::context::RepoFile| glob_path(&local, &f.path);
                            open.extend(repo.files.iter().filter(wanted).map(|f| f.path.clone()));
                        }
                    }
                    // The including file wins over what it includes.
                    files.insert(0, (path, text, yaml));
                }
                Err(why) => seen.unreadable.push((path, why)),
            }
        }
        if !files.is_empty() {
            seen.pipelines.push(ci_gitlab::pipeline(&files, &default_branch, &indirect));
        }
    }
    for file in repo.files.iter() {
        if let Some(system) = unsupported(&file.path) {
            seen.unsupported.push((file.path.clone(), system));
        }
    }
    seen
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
        "Jenkinsfile" => Some("Jenkins"),
        ".circleci/config.yml" | ".circleci/config.yaml" => Some("CircleCI"),
        "azure-pipelines.yml" | "azure-pipelines.yaml" => Some("Azure Pipelines"),
        "bitbucket-pipelines.yml" => Some("Bitbucket Pipelines"),
        ".drone.yml" => Some("Drone"),
        ".travis.yml" => Some("Travis CI"),
        "appveyor.yml" | ".appveyor.yml" => Some("AppVeyor"),
        ".buildkite/pipeline.yml" | ".buildkite/pipeline.yaml" => Some("Buildkite"),
        _ if path == ".woodpecker.yml" || path.starts_with(".woodpecker/") => Some("Woodpecker"),
        _ if path.starts_with(".teamcity/") => Some("TeamCity"),
        _ => None,
    }
}

fn default_branch(repo: &Repo) -> String {
    let ask = |args: &[&str]| repo.git.as_ref().and_then(|g| g.run(args).ok()).map(|o| o.trim().to_string());
    if let Some(head) = ask(&["symbolic-ref", "--short", "refs/remotes/origin/HEAD"]) {
        return head.rsplit_once('/').map_or(head.clone(), |(_, b)| b.to_string());
    }
    let branches = ask(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]).unwrap_or_default();
    let known = ["main", "master", "trunk"].into_iter().find(|b| branches.lines().any(|l| l == *b));
    known.map(str::to_string).or_else(|| branches.lines().next().map(str::to_string)).unwrap_or_else(|| "main".into())
}

fn indirect(repo: &Repo) -> Indirect {
    let mut out = Indirect::default();
    for file in repo.files.iter().filter(|f| !f.path.contains("node_modules/")) {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        if name == "package.json"
            && let Ok(bytes) = repo.read(&file.path, CI_FILE_BYTES_MAX)
            && let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(&bytes)
        {
            for (script, text) in manifest["scripts"].as_object().into_iter().flatten() {
                out.scripts.insert((folder.into(), script.clone()), text.as_str().unwrap_or_default().into());
            }
        } else if folder.is_empty() && matches!(name, "Makefile" | "makefile" | "GNUmakefile") {
            out.targets = makefile_targets(&repo.read_text(&file.path, CI_FILE_BYTES_MAX).unwrap_or_default());
        }
    }
    out
}

/// Deploys of a kind that may go without tests: a reviewer's preview, documentation, a component catalogue.
fn is_side_show(job: &Job) -> bool {
    let names =
        format!("{} {} {}", job.name, job.environment.as_deref().unwrap_or_default(), job.file).to_ascii_lowercase();
    ["preview", "review", "docs", "documentation", "storybook"].iter().any(|w| names.contains(w))
}

/// What is wrong with one system's chain.
#[derive(Debug, Default)]
struct Chain {
    fails: Vec<Finding>,
    warns: Vec<Finding>,
    notes: Vec<Finding>,
}

fn chain(pipeline: &Pipeline, config: &Config) -> Chain {
    let mut out = Chain { warns: pipeline.habits.clone(), fails: pipeline.dangers.clone(), notes: Vec::new() };
    let file = pipeline.files.first().map_or("", |f| f.as_str());
    let opaque: Vec<&Job> = pipeline.jobs.iter().filter(|j| j.opaque.is_some()).collect();
    let missing = |work: &str, fix: &str| {
        Finding::new(format!("missing-{work}"), Severity::High, format!("no job runs a {work}"))
            .in_file(file)
            .fix(fix)
            .identified_by(&["missing", work, pipeline.system])
    };
    for job in &opaque {
        out.warns.push(
            Finding::new(
                "opaque",
                Severity::Low,
                format!("job {} runs {}, which was not looked into", job.name, job.opaque.as_deref().unwrap_or("")),
            )
            .at(&job.file, job.line, 1)
            .fix("check that workflow where it lives")
            .identified_by(&["opaque", &job.id]),
        );
    }

    let tests: Vec<&Job> = pipeline.jobs.iter().filter(|j| j.effective(Work::Test).is_some()).collect();
    for job in &pipeline.jobs {
        for (line, command) in job.commands.iter().filter(|(_, c)| c.work == Work::Test) {
            let Some(why) = command.neutralised.as_ref().or(job.neutralised.as_ref()) else { continue };
            let message = format!("`{}` in job {} cannot fail: {why}", command.text, job.name);
            let finding = Finding::new("neutralised-test", Severity::High, message)
                .at(&job.file, *line, 1)
                .fix("let it fail the job")
                .identified_by(&["neutralised-test", &job.id, &command.text]);
            // Beside tests that count it is an experiment; alone it is the suite.
            if tests.is_empty() {
                out.fails.push(finding)
            } else {
                out.notes.push(Finding { severity: Severity::Info, ..finding })
            }
        }
    }
    if tests.is_empty() && opaque.is_empty() && out.fails.iter().all(|f| f.rule != "neutralised-test") {
        out.fails.push(missing("test", "add a job that runs the tests"));
    }
    let builds = pipeline.jobs.iter().any(|j| j.has(Work::Build) || j.has(Work::Install));
    if !builds && opaque.is_empty() {
        out.fails.push(missing("build", "add a step that installs and builds"));
    }
    order(pipeline, config, &tests, &mut out, missing);

    for (rule, runs, what) in [
        ("tests-not-on-pull-requests", (|j: &Job| j.runs.on_pull_request) as fn(&Job) -> bool, "pull requests"),
        ("tests-not-on-default-branch", |j: &Job| j.runs.on_default_branch, "the default branch"),
    ] {
        if !tests.is_empty() && !tests.iter().any(|j| runs(j)) {
            let finding = Finding::new(rule, Severity::Medium, format!("no effective test runs on {what}"))
                .at(&tests[0].file, tests[0].line, 1)
                .fix(format!("let the workflow with the tests run on {what} too"))
                .identified_by(&[rule, pipeline.system]);
            if opaque.iter().any(|j| runs(j)) { out.warns.push(finding) } else { out.fails.push(finding) }
        }
    }
    out
}

/// Every deploy comes after a test.
fn order(
    pipeline: &Pipeline,
    config: &Config,
    tests: &[&Job],
    out: &mut Chain,
    missing: impl Fn(&str, &str) -> Finding,
) {
    let runs = |j: &&Job| {
        j.neutralised
            .as_deref()
            .is_none_or(|why| why == "when: manual" || why == "allow_failure" || why == "continue-on-error")
    };
    let deploys = |j: &&Job| j.has(Work::Deploy) || j.environment.is_some();
    let mut work = Work::Deploy;
    let mut jobs: Vec<&Job> = pipeline.jobs.iter().filter(runs).filter(deploys).collect();
    if jobs.is_empty() {
        work = Work::Publish;
        jobs = pipeline.jobs.iter().filter(runs).filter(|j| j.has(Work::Publish)).collect();
    }
    let main: Vec<&Job> = jobs.iter().copied().filter(|j| !is_side_show(j)).collect();
    if main.is_empty() {
        let finding = missing("deploy", "add a deploying job after the tests, or set external_deploy = true");
        let elsewhere = config.external_deploy || pipeline.jobs.iter().any(|j| j.opaque.is_some());
        if elsewhere { out.warns.push(Finding { severity: Severity::Low, ..finding }) } else { out.fails.push(finding) }
    }
    for job in main {
        let ancestors = pipeline.ancestors(job);
        let step = job.commands.iter().find(|(_, c)| c.work == work);
        let line = step.map_or(job.line, |(line, _)| *line);
        let identity = ["deploy", job.id.as_str()];
        let regardless = job.always || step.is_some_and(|(_, c)| c.neutralised.as_deref() == Some("if: always()"));
        if regardless {
            out.fails.push(
                Finding::new(
                    "deploy-always",
                    Severity::High,
                    format!("job \"{}\" deploys although tests have failed", job.name),
                )
                .at(&job.file, line, 1)
                .fix("take away always()")
                .identified_by(&identity),
            );
        } else if !job.tests_before(work) && !ancestors.iter().any(|a| a.effective(Work::Test).is_some()) {
            let test = tests.first().map_or("test", |t| t.name.as_str());
            let finding = Finding::new(
                "deploy-without-test",
                Severity::High,
                format!("job \"{}\" can run without tests", job.name),
            )
            .at(&job.file, job.line, 1)
            .fix(format!("add needs: [{test}]"))
            .identified_by(&identity);
            let unknown = ancestors.iter().any(|a| a.opaque.is_some()) || job.opaque.is_some();
            if unknown { out.warns.push(finding) } else { out.fails.push(finding) }
        }
        if !job.restricted {
            out.warns.push(
                Finding::new(
                    "deploy-unrestricted",
                    Severity::Medium,
                    format!("job \"{}\" deploys from any branch", job.name),
                )
                .at(&job.file, job.line, 1)
                .fix("limit it to a branch, a tag, or an environment with approval")
                .identified_by(&["deploy-unrestricted", &job.id]),
            );
        }
    }
}

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, config: &Config) -> Outcome {
    let chains: Vec<(&Pipeline, Chain)> =
        seen.pipelines.iter().filter(|p| !p.jobs.is_empty()).map(|p| (p, chain(p, config))).collect();
    // With two systems the better chain is the pipeline; what lets strangers in counts from both.
    let Some((pipeline, best)) = chains.iter().min_by_key(|(_, c)| (c.fails.len(), c.warns.len())) else {
        return nothing(seen);
    };
    let mut fails = best.fails.clone();
    for (other, _) in chains.iter().filter(|(p, _)| p.system != pipeline.system) {
        fails.extend(other.dangers.clone());
    }
    let findings: Vec<Finding> = fails.iter().chain(&best.warns).chain(&best.notes).cloned().collect();
    let place = |f: &Finding| format!("{}:{}", f.file.as_deref().unwrap_or_default(), f.line.unwrap_or(1));
    let jobs = pipeline.jobs.len();
    let shape = format!("{}: {} job(s) in {} file(s)", pipeline.system, jobs, pipeline.files.len());

    let outcome = if let Some(first) = fails.first() {
        let more = if fails.len() > 1 { format!(" and {} more", fails.len() - 1) } else { String::new() };
        Outcome::fail(format!("{}{more}", first.message)).hint(format!(
            "{}: {} (file {})",
            first.message,
            first.fix,
            place(first)
        ))
    } else if let Some((path, why)) = seen.unreadable.first() {
        return Outcome::error("unreadable", format!("{path}: {why}")).hint("mend the file").findings(findings);
    } else if let Some(first) = best.warns.first() {
        let more = if best.warns.len() > 1 { format!(" and {} more", best.warns.len() - 1) } else { String::new() };
        Outcome::warn(format!("build -> test -> deploy; {}{more}", first.message)).hint(format!(
            "{} (file {})",
            first.fix,
            place(first)
        ))
    } else if seen.run.is_none() {
        Outcome::warn(format!("chain correct, but no run evidence ({shape})"))
            .hint("run hypercare check in a job of the pipeline: it reads GITHUB_SHA or CI_COMMIT_SHA")
    } else {
        Outcome::pass(format!("build -> test -> deploy ({shape})"))
    };
    let inspected = pipeline.jobs.iter().filter(|j| j.opaque.is_none()).count() as u64;
    outcome
        .value(fails.len(), 0)
        .tier(if seen.run.is_some() { Tier::E2 } else { Tier::E1 })
        .covered(inspected, jobs as u64)
        .findings(findings)
        .evidence("pipeline", evidence(seen))
}

/// No chain to judge: no CI at all, or none that can be read.
fn nothing(seen: &Seen) -> Outcome {
    if let Some((path, why)) = seen.unreadable.first() {
        return Outcome::error("unreadable", format!("{path}: {why}")).hint("mend the file");
    }
    if let Some((path, system)) = seen.unsupported.first() {
        return Outcome::error("unsupported-ci", format!("{path}: {system} is not read yet"))
            .hint("check by hand that every deploy needs the tests, then waive this gate for a week");
    }
    Outcome::fail("no CI pipeline")
        .value(1, 0)
        .tier(Tier::E1)
        .findings(vec![
            Finding::new("no-ci", Severity::High, "neither .github/workflows nor .gitlab-ci.yml, nor another CI file")
                .fix("add a workflow: build, test, then deploy with needs: [test]")
                .identified_by(&["no-ci"]),
        ])
        .hint("add .github/workflows/ci.yml or .gitlab-ci.yml: build, test, then deploy with needs: [test]")
}

fn evidence(seen: &Seen) -> serde_json::Value {
    let job = |j: &Job| {
        let needs: BTreeSet<&str> = j.needs.iter().map(String::as_str).collect();
        let commands = j.commands.iter().map(|(line, c)| {
            serde_json::json!({"line": line, "work": c.work, "command": c.text, "neutralised": c.neutralised})
        });
        serde_json::json!({
            "id": j.id, "file": j.file, "line": j.line, "needs": needs, "runs": j.runs, "environment": j.environment,
            "neutralised": j.neutralised, "always": j.always, "restricted": j.restricted, "opaque": j.opaque,
            "commands": commands.collect::<Vec<_>>(),
        })
    };
    let pipeline = |p: &Pipeline| serde_json::json!({"system": p.system, "files": p.files, "jobs": p.jobs.iter().map(job).collect::<Vec<_>>()});
    serde_json::json!({
        "pipelines": seen.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
        "unsupported": seen.unsupported,
        "run": seen.run,
    })
}

#[cfg(test)]
mod tests;
