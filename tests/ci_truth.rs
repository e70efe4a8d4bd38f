//! `delivery.pipeline`'s reading of real CI files beside the truth that people wrote by hand (`fixtures/ci/truth.toml`).
//! Needs clones: `CI_CLONES=DIR cargo test --test ci_truth -- --ignored`, one folder a repository, called after the last
//! part of its name or `OWNER+NAME`. Nothing of them is kept here.

#![expect(clippy::print_stdout, reason = "a test tells its figures")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hypercare::gates::delivery::ci;
use hypercare::gates::delivery::ci::commands::Work;
use hypercare::gates::delivery::ci::model::Job;
use hypercare::gates::facts::walk;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Truth {
    repository: String,
    commit: String,
    tests: Vec<String>,
    releases: Vec<String>,
    gated: String,
    pull: bool,
    main: bool,
    /// Where the tool says otherwise, and why.
    #[serde(default)]
    differs: Vec<String>,
}

const KEYS: [&str; 5] = ["tests", "releases", "gated", "pull", "main"];

fn truths() -> BTreeMap<String, Truth> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ci/truth.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn the_truth_is_well_formed() {
    let all = truths();
    assert!(all.len() >= 20, "{}", all.len());
    for (name, truth) in &all {
        assert_eq!(truth.commit.len(), 40, "{name}");
        assert!(["yes", "no", "none"].contains(&truth.gated.as_str()), "{name}");
        assert_eq!(truth.gated == "none", truth.releases.is_empty(), "{name}");
        for row in &truth.differs {
            assert!(KEYS.iter().any(|key| row.starts_with(&format!("{key}: "))), "{name}: {row}");
        }
    }
}

fn clone_of(root: &Path, repository: &str) -> Option<PathBuf> {
    let last = repository.rsplit('/').next().unwrap();
    let names = [repository.replace('/', "+"), format!("rel-{}", repository.replace('/', "+")), last.to_string()];
    names.into_iter().map(|n| root.join(n)).find(|p| p.is_dir())
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

/// The jobs' names, after the file's where they are named so.
fn named(patterns: &[String], jobs: &[&Job]) -> BTreeSet<String> {
    let is = |job: &&&Job| {
        let file = job.file.rsplit('/').next().unwrap_or_default();
        patterns.iter().any(|p| glob(p, &job.name) || glob(p, &format!("{file}:{}", job.name)))
    };
    jobs.iter().filter(is).map(|j| j.id.clone()).collect()
}

/// What the tool says and the truth does not, by key; and whether every pattern of the truth names a job.
fn compare(truth: &Truth, dir: &Path) -> Vec<String> {
    let repo = walk::open(dir).unwrap();
    let branch =
        std::process::Command::new("git").args(["-C"]).arg(dir).args(["symbolic-ref", "--short", "HEAD"]).output();
    let branch = branch.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
    let read = ci::read(&repo, if branch.is_empty() { "main" } else { &branch });
    let jobs: Vec<&Job> = read.pipelines.iter().flat_map(|p| &p.jobs).collect();
    let mut out = Vec::new();
    let tests: BTreeSet<String> =
        jobs.iter().filter(|j| j.effective(Work::Test).is_some()).map(|j| j.id.clone()).collect();
    let releases: BTreeSet<String> =
        jobs.iter().filter(|j| j.has(Work::Deploy) || j.has(Work::Publish)).map(|j| j.id.clone()).collect();
    for (key, patterns, seen) in [("tests", &truth.tests, &tests), ("releases", &truth.releases, &releases)] {
        let wanted = named(patterns, &jobs);
        let missed: Vec<_> = wanted.difference(seen).collect();
        let more: Vec<_> = seen.difference(&wanted).collect();
        if !missed.is_empty() || !more.is_empty() {
            out.push(format!("{key}: missed {missed:?}, too many {more:?}"));
        }
        for pattern in patterns {
            if named(std::slice::from_ref(pattern), &jobs).is_empty() {
                out.push(format!(
                    "{key}: no job is called {pattern}; there are {:?}",
                    jobs.iter().map(|j| &j.name).collect::<Vec<_>>()
                ));
            }
        }
    }
    // As the gate asks it: a test before the release in the same job, or in a job it waits for.
    let mut gated = "none";
    for pipeline in &read.pipelines {
        for job in pipeline.jobs.iter().filter(|j| releases.contains(&j.id)) {
            let work = if job.has(Work::Deploy) { Work::Deploy } else { Work::Publish };
            let behind = pipeline.ancestors(job).iter().any(|a| a.effective(Work::Test).is_some());
            gated = match job.tests_before(work) || behind {
                true if gated != "no" => "yes",
                _ => "no",
            };
        }
    }
    if gated != truth.gated {
        out.push(format!("gated: {gated}, the truth is {}", truth.gated));
    }
    let runs = |on: fn(&Job) -> bool| jobs.iter().any(|j| tests.contains(&j.id) && on(j));
    for (key, seen, wanted) in [
        ("pull", runs(|j| j.runs.on_pull_request), truth.pull),
        ("main", runs(|j| j.runs.on_default_branch), truth.main),
    ] {
        if seen != wanted {
            out.push(format!("{key}: {seen}, the truth is {wanted}"));
        }
    }
    out
}

#[test]
#[ignore = "needs clones of public repositories: CI_CLONES=DIR"]
fn real_ci_files_are_read_right() {
    let roots: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("CI_CLONES").expect("CI_CLONES names folders")).collect();
    let (mut wrong, mut seen, mut same) = (Vec::new(), 0, 0);
    for (name, truth) in truths() {
        let Some(dir) = roots.iter().find_map(|root| clone_of(root, &truth.repository)) else {
            println!("{name}: no clone");
            continue;
        };
        seen += 1;
        let said = compare(&truth, &dir);
        let explained = |row: &&String| {
            let key = row.split(':').next().unwrap_or_default();
            truth.differs.iter().any(|d| d.starts_with(&format!("{key}:")))
        };
        same += KEYS.len() - said.iter().map(|r| r.split(':').next()).collect::<BTreeSet<_>>().len();
        for row in &said {
            println!("{name}: {row}{}", if explained(&row) { " (explained)" } else { "" });
        }
        wrong.extend(said.iter().filter(|r| !explained(r)).map(|r| format!("{name}: {r}")));
        for row in truth.differs.iter().filter(|d| !said.iter().any(|r| r.split(':').next() == d.split(':').next())) {
            println!("{name}: no longer differs: {row}");
        }
    }
    println!("{same} of {} answers agree, in {seen} repositories", seen * KEYS.len());
    assert!(seen > 0, "no clone in {roots:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
