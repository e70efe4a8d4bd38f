//! Gate `delivery.pipeline`: does every deploy come after a build and after tests that can fail?
//!
//! Reads the CI files as job graphs (`ci/`, one reader a system) and asks (`chain.rs`): is there a build, a test, a deploy;
//! has each deploying job a test among what it needs; do tests run on pull requests and on the default branch; can a
//! stranger's pull request run code with our secrets. Tests that cannot fail do not count. A file proves an intention
//! only: without a run for this commit the gate warns. To fix a failure: add the missing `needs`.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::chain;
use super::ci;
use super::ci::model::{Job, Pipeline};
use super::packages::package;
use super::run::{self, Run};
use crate::domain::units::count;
use crate::domain::verdict::{Class, Finding, Outcome, Severity, Tier};
use crate::gates::context::Repo;
use crate::gates::proof::{Fixture, Proof};
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
    reads: "GitHub Actions, GitLab CI, CircleCI, Azure Pipelines, Bitbucket, Drone, Woodpecker and Jenkinsfiles with their \
            local includes and templates, the scripts and make targets they call, and the run of this commit: from the \
            CI system's own variables, or from the forge by GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN",
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

    fn proof(&self) -> Option<Proof> {
        let shop = |what, test: &str, needs: &str| {
            let job = |name: &str, needs: &str, run: &str| {
                format!("  {name}:\n    needs: [{needs}]\n    runs-on: ubuntu-latest\n    steps:\n      - run: {run}\n")
            };
            let jobs =
                [job("build", "", "npm run build"), job("test", "build", test), job("deploy", needs, "./deploy.sh")];
            let text = format!("on:\n  push: {{branches: [main]}}\n  pull_request:\njobs:\n{}", jobs.concat());
            Fixture::of(what)
                .file("package.json", "{\"scripts\": {\"test\": \"node --test\", \"build\": \"node build.js\"}}\n")
                .file(".github/workflows/pipeline.yml", text)
        };
        Some(Proof {
            good: shop("tests come before the deploy", "npm test", "test"),
            bad: shop("the deploy waits for no test, and the tests cannot fail", "npm test || true", "build"),
        })
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let repo = match ctx.need_repo() {
                Ok(repo) => repo.clone(),
                Err(outcome) => return *outcome,
            };
            let config = ctx.config.clone();
            let own = config.clone();
            let looked = tokio::task::spawn_blocking(move || look(&repo, &own.delivery.pipeline)).await;
            let mut seen = match looked {
                Ok(seen) => seen,
                Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
                Err(_) => return Outcome::error("stopped", "the run was stopped before the gate had ended"),
            };
            seen.run = match run::inside(|name| std::env::var(name).ok(), ctx.rid.commit.as_deref()) {
                Some(inside) => inside,
                // Without a chain to confirm nobody need be asked.
                None if seen.read.pipelines.is_empty() => seen.run,
                None => run::ask(ctx, ABOUT.id, &chain_files(&seen.read)).await,
            };
            ctx.with_imports(&ABOUT, judge(&seen, &config.delivery.pipeline))
        })
    }
}

/// Everything the verdict rests on.
#[derive(Debug)]
struct Seen {
    read: ci::Read,
    run: Run,
    /// What is published rather than deployed: a library or a program, and nothing here that is put on a server.
    package: Option<String>,
    /// A platform that fetches each push of the branch by itself.
    fetched: bool,
}

/// Files of platforms that deploy what is pushed, without a job of ours.
const FETCHED: [&str; 7] =
    ["Procfile", "heroku.yml", "render.yaml", "vercel.json", "netlify.toml", "railway.json", "railway.toml"];

/// Files whose jobs build, test or deploy.
fn chain_files(read: &ci::Read) -> Vec<String> {
    let jobs = read.pipelines.iter().flat_map(|p| &p.jobs);
    let files: BTreeSet<String> = jobs.filter(|j| !j.commands.is_empty()).map(|j| j.file.clone()).collect();
    files.into_iter().collect()
}

/// Blocking: reads files and asks git.
fn look(repo: &Repo, config: &Config) -> Seen {
    let default_branch = config.default_branch.clone().unwrap_or_else(|| default_branch(repo));
    let run = Run::Unknown { why: "nobody was asked".into() };
    let fetched = repo.files.iter().any(|f| FETCHED.contains(&f.path.as_str()));
    Seen { read: ci::read(repo, &default_branch), run, package: package(repo), fetched }
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

/// Pure: what was seen, to a verdict.
fn judge(seen: &Seen, config: &Config) -> Outcome {
    let pipelines: Vec<&Pipeline> = seen.read.pipelines.iter().filter(|p| !p.jobs.is_empty()).collect();
    if pipelines.is_empty() {
        return nothing(seen);
    }
    let chain = chain::judge(&pipelines, config.external_deploy || seen.fetched, seen.package.as_deref());
    let mut chain = chain;
    chain.fails.extend(run_failure(&seen.run));
    let findings: Vec<Finding> = chain.fails.iter().chain(&chain.warns).chain(&chain.notes).cloned().collect();
    let place = |f: &Finding| match (&f.file, f.line) {
        (Some(file), Some(line)) => format!(" (file {file}:{line})"),
        (Some(file), None) => format!(" (file {file})"),
        _ => String::new(),
    };
    let jobs: usize = pipelines.iter().map(|p| p.jobs.len()).sum();
    let files: usize = pipelines.iter().map(|p| p.files.len()).sum();
    let systems: Vec<&str> = pipelines.iter().map(|p| p.system).collect();
    let shape = format!("{}: {} in {}", systems.join(" and "), count(jobs, "job"), count(files, "file"));
    let more = |list: &[Finding]| if list.len() > 1 { format!(" and {} more", list.len() - 1) } else { String::new() };

    // What is absent from the files that were read may stand in one that was not.
    let by_absence =
        |f: &Finding| ["missing-", "deploy-without-test", "tests-not-on"].iter().any(|rule| f.rule.starts_with(rule));
    let shown = chain.fails.iter().any(|f| !by_absence(f)) || seen.read.unreadable.is_empty();
    let outcome = if let Some(first) = chain.fails.first().filter(|_| shown) {
        let hint = format!("{}: {}{}", first.message, first.fix, place(first));
        Outcome::fail(format!("{}{}", first.message, more(&chain.fails))).hint(hint)
    } else if let Some((path, why)) = seen.read.unreadable.first() {
        return Outcome::error("unreadable", format!("{path}: {why}")).hint("mend the file").findings(findings);
    } else if let Run::Refused { why } = &seen.run {
        return run::refused(why).findings(findings).evidence("pipeline", evidence(seen));
    } else if let Some(first) = chain.warns.first() {
        Outcome::warn(format!("{}; {}{}", chain.proved, first.message, more(&chain.warns))).hint(format!(
            "{}{}",
            first.fix,
            place(first)
        ))
    } else {
        match &seen.run {
            Run::Open { url, what, .. } => Outcome::warn(format!("chain correct, but its run has not ended ({what})"))
                .hint(format!("wait for {url}, then check again")),
            Run::Unknown { why } => Outcome::warn(format!("chain correct, but no run evidence: {why} ({shape})"))
                .hint("run hypercare check in a job of the pipeline, or set GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN"),
            _ => Outcome::pass(format!("build -> test -> deploy ({shape})")),
        }
    };
    let inspected = pipelines.iter().flat_map(|p| &p.jobs).filter(|j| j.opaque.is_none()).count() as u64;
    outcome
        .value(chain.fails.len(), 0)
        .tier(if seen.run.is_evidence() { Tier::E2 } else { Tier::E1 })
        .covered(inspected, jobs as u64)
        .findings(findings)
        .evidence("pipeline", evidence(seen))
}

/// A run that went wrong, or never happened.
fn run_failure(run: &Run) -> Option<Finding> {
    let (rule, message, fix) = match run {
        Run::Red { url, what, .. } => {
            ("run-failed", format!("the pipeline of this commit is red: {what} ({url})"), "mend what it found")
        }
        Run::Absent { why } => ("run-missing", why.clone(), "push the commit and let the pipeline run"),
        _ => return None,
    };
    Some(Finding::new(rule, Severity::High, message).fix(fix).identified_by(&[rule]))
}

/// No chain to judge: no CI at all, or none that can be read.
fn nothing(seen: &Seen) -> Outcome {
    if let Some((path, why)) = seen.read.unreadable.first() {
        return Outcome::error("unreadable", format!("{path}: {why}")).hint("mend the file");
    }
    if let Some((path, system)) = seen.read.unsupported.first() {
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
        "pipelines": seen.read.pipelines.iter().map(pipeline).collect::<Vec<_>>(),
        "unsupported": seen.read.unsupported,
        "run": seen.run,
    })
}

#[cfg(test)]
mod tests;
