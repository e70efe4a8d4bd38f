//! Has the pipeline run for this commit, and how did it end? Told by the CI system's own variables when the check runs
//! inside it, else by the forge's API. A foreign run proves nothing.

use serde::Serialize;

use crate::domain::verdict::Outcome;
use crate::gates::GateContext;
use crate::gates::forge::{CiRun, Forge, NoForge, RunState};

/// What is known of the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Run {
    /// The check runs inside of it.
    Inside {
        url: String,
        commit: String,
    },
    Green {
        url: String,
        commit: String,
    },
    Red {
        url: String,
        commit: String,
        what: String,
    },
    Open {
        url: String,
        commit: String,
        what: String,
    },
    /// The forge was asked and has none.
    Absent {
        why: String,
    },
    /// Nobody could be asked.
    Unknown {
        why: String,
    },
    /// The forge did not tell.
    Refused {
        why: String,
    },
}

impl Run {
    pub fn is_evidence(&self) -> bool {
        matches!(self, Run::Inside { .. } | Run::Green { .. })
    }
}

/// Commit, address of the run, by CI system: GitHub, GitLab and Woodpecker, CircleCI, Azure, Bitbucket, Drone, Jenkins.
const VARIABLES: [(&str, &str); 5] = [
    ("CI_COMMIT_SHA", "CI_PIPELINE_URL"),
    ("CIRCLE_SHA1", "CIRCLE_BUILD_URL"),
    ("DRONE_COMMIT_SHA", "DRONE_BUILD_LINK"),
    ("GIT_COMMIT", "BUILD_URL"),
    ("TRAVIS_COMMIT", "TRAVIS_BUILD_WEB_URL"),
];

/// CI variables speak for this commit, or not at all.
pub fn inside(variable: impl Fn(&str) -> Option<String>, commit: Option<&str>) -> Option<Run> {
    let commit = commit?;
    let part = |name: &str| variable(name).filter(|v| !v.is_empty());
    let is_ours = |name: &str| part(name).as_deref() == Some(commit);
    let run = |url: String| Some(Run::Inside { url, commit: commit.into() });
    if is_ours("GITHUB_SHA") {
        let base = format!("{}/{}", part("GITHUB_SERVER_URL")?, part("GITHUB_REPOSITORY")?);
        return run(format!("{base}/actions/runs/{}", part("GITHUB_RUN_ID")?));
    }
    if is_ours("BUILD_SOURCEVERSION") {
        let base = format!("{}{}", part("SYSTEM_TEAMFOUNDATIONCOLLECTIONURI")?, part("SYSTEM_TEAMPROJECT")?);
        return run(format!("{base}/_build/results?buildId={}", part("BUILD_BUILDID")?));
    }
    if is_ours("BITBUCKET_COMMIT") {
        let base = part("BITBUCKET_GIT_HTTP_ORIGIN")?;
        return run(format!("{base}/pipelines/results/{}", part("BITBUCKET_BUILD_NUMBER")?));
    }
    let (_, url) = VARIABLES.iter().find(|(sha, _)| is_ours(sha))?;
    run(part(url)?)
}

/// Asks the forge, if there is one to ask.
pub async fn ask(ctx: &GateContext, gate: &str, chain_files: &[String]) -> Run {
    let Some(commit) = ctx.rid.commit.as_deref() else {
        return Run::Unknown { why: "there is no commit yet".into() };
    };
    match Forge::of(ctx, gate) {
        Ok(forge) => of_forge(&forge, commit, chain_files).await,
        Err(NoForge::NoOrigin) => Run::Unknown { why: "the repository has no origin on a forge".into() },
        Err(why) => Run::Unknown { why: why.to_string() },
    }
}

pub async fn of_forge(forge: &Forge, commit: &str, chain_files: &[String]) -> Run {
    match forge.runs(commit).await {
        Ok(runs) => conclude(&runs, commit, chain_files, forge.kind.name()),
        Err(error) => Run::Refused { why: error.to_string() },
    }
}

/// Of each workflow the newest run counts; of the workflows those that build, test or deploy.
fn conclude(runs: &[CiRun], commit: &str, chain_files: &[String], forge: &str) -> Run {
    let mut newest: Vec<&CiRun> = Vec::new();
    for run in runs {
        let same = |r: &&&CiRun| r.name == run.name && r.file == run.file;
        let concerns = run.file.as_ref().is_none_or(|f| chain_files.contains(f));
        if concerns && run.state != RunState::Neutral && !newest.iter().any(|r| same(&r)) {
            newest.push(run);
        }
    }
    let commit = commit.to_string();
    let short = &commit[..commit.len().min(7)];
    let red = newest.iter().find_map(|r| match &r.state {
        RunState::Failed(what) => Some((r, what.clone())),
        _ => None,
    });
    let open = newest.iter().find_map(|r| match &r.state {
        RunState::Open(what) => Some((r, what.clone())),
        _ => None,
    });
    match (red, open, newest.first()) {
        (Some((run, what)), _, _) => {
            Run::Red { url: run.url.clone(), what: format!("{}: {what}", run.name), commit: commit.clone() }
        }
        (None, Some((run, what)), _) => {
            Run::Open { url: run.url.clone(), what: format!("{}: {what}", run.name), commit: commit.clone() }
        }
        (None, None, Some(run)) => Run::Green { url: run.url.clone(), commit: commit.clone() },
        (None, None, None) => Run::Absent { why: format!("{forge} knows no run of the pipeline for {short}") },
    }
}

/// For the error outcome when the forge was asked in vain.
pub fn refused(why: &str) -> Outcome {
    Outcome::error("forge-refused", format!("the run of this commit could not be read: {why}"))
        .hint("give a token that may read the repository's CI runs, or unset it to be told about the files alone")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, state: RunState) -> CiRun {
        let file = Some(format!(".github/workflows/{name}.yml"));
        CiRun { name: name.into(), file, state, url: format!("https://x/{name}"), commit: "c".into() }
    }

    #[test]
    fn the_newest_run_of_what_concerns_the_chain_decides() {
        let files: Vec<String> = ["ci", "release"].iter().map(|n| format!(".github/workflows/{n}.yml")).collect();
        let of = |runs: &[CiRun]| conclude(runs, "c0ffee0123", &files, "GitHub");
        let red = || RunState::Failed("failure".into());
        assert!(matches!(of(&[run("ci", RunState::Success)]), Run::Green { .. }));
        assert!(matches!(of(&[run("ci", RunState::Success), run("ci", red())]), Run::Green { .. }), "run again");
        assert!(matches!(of(&[run("ci", RunState::Success), run("release", red())]), Run::Red { .. }));
        assert!(matches!(of(&[run("ci", RunState::Success), run("stale", red())]), Run::Green { .. }));
        let open = RunState::Open("in_progress".into());
        assert!(matches!(of(&[run("ci", open.clone())]), Run::Open { .. }));
        assert!(matches!(of(&[run("ci", open), run("release", red())]), Run::Red { .. }));
        let absent = of(&[run("stale", RunState::Success), run("ci", RunState::Neutral)]);
        assert_eq!(absent, Run::Absent { why: "GitHub knows no run of the pipeline for c0ffee0".into() });
    }

    #[test]
    fn only_a_run_of_this_commit_is_evidence() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string())
        };
        let github: &[(&str, &str)] = &[
            ("GITHUB_SHA", "c0ffee"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/shop"),
            ("GITHUB_RUN_ID", "42"),
        ];
        let url = |run: Option<Run>| match run {
            Some(Run::Inside { url, .. }) => url,
            other => format!("{other:?}"),
        };
        assert_eq!(url(inside(with(github), Some("c0ffee"))), "https://github.com/acme/shop/actions/runs/42");
        assert_eq!(inside(with(github), Some("bad")), None);
        assert_eq!(inside(with(github), None), None);
        assert_eq!(inside(|_| None, Some("c0ffee")), None);
        let circle: &[(&str, &str)] =
            &[("CIRCLE_SHA1", "c0ffee"), ("CIRCLE_BUILD_URL", "https://circleci.com/gh/a/b/1")];
        assert_eq!(url(inside(with(circle), Some("c0ffee"))), "https://circleci.com/gh/a/b/1");
        let jenkins: &[(&str, &str)] = &[("GIT_COMMIT", "c0ffee"), ("BUILD_URL", "https://j/job/shop/7/")];
        assert_eq!(url(inside(with(jenkins), Some("c0ffee"))), "https://j/job/shop/7/");
    }
}
