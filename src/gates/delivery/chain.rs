//! Is the chain build -> test -> deploy whole? Pure: job graphs to findings. Stages may stand in different CI systems;
//! the order is asked of each deploying job within its own.

use super::ci::commands::{Command, Work};
use super::ci::model::{Job, Pipeline};
use crate::domain::verdict::{Finding, Severity};

/// What is wrong, and what is right all the same.
#[derive(Debug, Default)]
pub struct Chain {
    pub fails: Vec<Finding>,
    pub warns: Vec<Finding>,
    pub notes: Vec<Finding>,
    /// For the summary of a warning: `build -> test -> deploy`, or as much of it as there is.
    pub proved: String,
}

/// `package`: the manifest of what is published rather than deployed.
/// The file whose jobs do most: what is missing belongs there, not into the one that greets newcomers.
fn busiest<'p>(pipelines: &[&'p Pipeline]) -> &'p str {
    let work = |file: &&str| -> usize {
        let jobs = pipelines.iter().flat_map(|p| &p.jobs);
        jobs.filter(|j| j.file == **file).map(|j| j.commands.len()).sum()
    };
    let files: Vec<&str> = pipelines.iter().flat_map(|p| &p.files).map(String::as_str).collect();
    // Of several alike the first.
    files.into_iter().rev().max_by_key(work).unwrap_or("")
}

pub fn judge(pipelines: &[&Pipeline], external_deploy: bool, package: Option<&str>) -> Chain {
    let mut out = Chain::default();
    for pipeline in pipelines {
        out.fails.extend(pipeline.dangers.clone());
        out.warns.extend(pipeline.habits.clone());
    }
    let all = || pipelines.iter().flat_map(|p| p.jobs.iter());
    let opaque: Vec<&Job> = all().filter(|j| j.opaque.is_some()).collect();
    out.warns.extend(opaque.iter().map(|job| unseen(job)));
    let tests: Vec<&Job> = all().filter(|j| j.effective(Work::Test).is_some()).collect();
    neutralised(&mut out, pipelines, &tests);
    let missing = |work: &str, fix: &str| {
        Finding::new(format!("missing-{work}"), Severity::High, format!("no job runs a {work}"))
            .in_file(busiest(pipelines))
            .fix(fix)
            .identified_by(&["missing", work])
    };
    let scripts: Vec<Finding> = all().filter_map(not_understood).collect();
    let hidden = !opaque.is_empty() || !scripts.is_empty();
    if tests.is_empty() && !hidden && out.fails.iter().all(|f| f.rule != "neutralised-test") {
        out.fails.push(missing("test", "add a job that runs the tests"));
    }
    // Tests of a language that needs no compiler stand for its build.
    let builds = all().any(|j| j.has(Work::Build) || j.has(Work::Install)) || !tests.is_empty();
    if !builds && !hidden {
        out.fails.push(missing("build", "add a step that installs and builds"));
    }
    if tests.is_empty() {
        out.warns.extend(scripts);
    }
    let mut deploys = 0;
    for pipeline in pipelines {
        deploys += order(pipeline, &tests, &mut out);
    }
    out.proved = match (tests.is_empty(), deploys) {
        (true, _) => "no test seen",
        (false, 0) => "build -> test",
        (false, _) => "build -> test -> deploy",
    }
    .to_string();
    if deploys == 0 {
        let all_seen = !hidden && out.warns.iter().all(|w| w.rule != "opaque-include");
        match package {
            Some(manifest) if !external_deploy => out.warns.push(by_hand(manifest, all_seen)),
            _ if external_deploy || hidden => {
                let finding = missing("deploy", "see that the deploy elsewhere waits for these tests");
                out.warns.push(Finding { severity: Severity::Low, ..finding });
            }
            Some(_) => {}
            None => {
                let fix = "add a deploying job after the tests, or set external_deploy = true";
                out.fails.push(missing("deploy", fix));
            }
        }
    }
    occasions(&mut out, &tests, &opaque);
    for list in [&mut out.fails, &mut out.warns] {
        list.sort_by(|a, b| (b.severity, &a.file, a.line).cmp(&(a.severity, &b.file, b.line)));
    }
    out
}

/// A job that runs a script of its own in which nothing was recognised, and nothing else that is known.
fn not_understood(job: &Job) -> Option<Finding> {
    let (line, command) = job.commands.iter().find(|(_, c)| c.work == Work::Script)?;
    let message = format!("job {} runs `{}`, in which no build, test or deploy was recognised", job.name, command.text);
    let finding = Finding::new("script-not-understood", Severity::Low, message)
        .at(&job.file, *line, 1)
        .fix("call the tests by their usual command in the pipeline's own file")
        .identified_by(&["script-not-understood", &job.id]);
    Some(finding)
}

/// A library without a publishing job: its releases are somebody's handiwork, which is no defect of its CI.
fn by_hand(manifest: &str, all_seen: bool) -> Finding {
    let message = match all_seen {
        true => "no job publishes this package: its releases are made outside CI",
        false => "no job that could be read publishes this package",
    };
    Finding::new("release-by-hand", Severity::Low, message)
        .in_file(manifest)
        .fix("publish from CI after the tests, or set external_deploy = true if releases are made elsewhere")
        .identified_by(&["release-by-hand"])
}

fn unseen(job: &Job) -> Finding {
    let what = job.opaque.as_deref().unwrap_or_default();
    Finding::new("opaque", Severity::Low, format!("job {} runs {what}, which was not looked into", job.name))
        .at(&job.file, job.line, 1)
        .fix("check it where it is written")
        .identified_by(&["opaque", &job.id])
}

fn neutralised(out: &mut Chain, pipelines: &[&Pipeline], tests: &[&Job]) {
    for job in pipelines.iter().flat_map(|p| p.jobs.iter()) {
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
}

/// Tests run on pull requests and on the default branch.
fn occasions(out: &mut Chain, tests: &[&Job], opaque: &[&Job]) {
    for (rule, runs, what) in [
        ("tests-not-on-pull-requests", (|j: &Job| j.runs.on_pull_request) as fn(&Job) -> bool, "pull requests"),
        ("tests-not-on-default-branch", |j: &Job| j.runs.on_default_branch, "the default branch"),
    ] {
        if !tests.is_empty() && !tests.iter().any(|j| runs(j)) {
            let finding = Finding::new(rule, Severity::Medium, format!("no effective test runs on {what}"))
                .at(&tests[0].file, tests[0].line, 1)
                .fix(format!("let the workflow with the tests run on {what} too"))
                .identified_by(&[rule]);
            if opaque.iter().any(|j| runs(j)) { out.warns.push(finding) } else { out.fails.push(finding) }
        }
    }
}

/// Deploys of a kind that may go without tests: a reviewer's preview, documentation, a component catalogue, a rehearsal.
fn is_side_show(job: &Job) -> bool {
    const WORDS: [&str; 11] = [
        "preview",
        "review",
        "docs",
        "documentation",
        "storybook",
        "testpyp",
        "dryrun",
        "ghpages",
        "githubpages",
        "translation",
        "crowdin",
    ];
    let names =
        format!("{} {} {}", job.name, job.environment.as_deref().unwrap_or_default(), job.file).to_ascii_lowercase();
    let names: String = names.chars().filter(|c| !matches!(c, '-' | '_')).collect();
    // A package put into a registry of the test's own.
    let rehearsal = job.name.split(['-', '_', ' ', ':', '/']).any(|part| part == "e2e");
    WORDS.iter().any(|w| names.contains(w))
        || (rehearsal && !job.has(Work::Deploy))
        || (job.name == "pages" && !job.has(Work::Publish))
}

/// A job that hands something out, what kind of work that is, and the step that does it.
type HandingOut<'p> = (&'p Job, Work, Option<&'p (u32, Command)>);

/// What a job hands out, if anything: its deploy, else its publishing.
fn handing_out(job: &Job) -> Option<(Work, Option<&(u32, Command)>)> {
    let of = |work: Work| job.commands.iter().find(|(_, c)| c.work == work);
    match (of(Work::Deploy), of(Work::Publish)) {
        (Some(step), _) => Some((Work::Deploy, Some(step))),
        (None, Some(step)) => Some((Work::Publish, Some(step))),
        // An environment may only lend its secrets to tests.
        (None, None) if job.environment.is_some() && !job.has(Work::Test) => Some((Work::Deploy, None)),
        (None, None) => None,
    }
}

/// Every deploy comes after a test. Gives how many there are.
fn order(pipeline: &Pipeline, all_tests: &[&Job], out: &mut Chain) -> usize {
    let runs = |j: &&Job| {
        j.neutralised
            .as_deref()
            .is_none_or(|why| ["when: manual", "allow_failure", "continue-on-error", "continueOnError"].contains(&why))
    };
    let jobs: Vec<HandingOut<'_>> = pipeline
        .jobs
        .iter()
        .filter(runs)
        .filter(|j| !is_side_show(j))
        .filter_map(|j| handing_out(j).map(|(work, step)| (j, work, step)))
        .collect();
    for (job, work, step) in &jobs {
        let ancestors = pipeline.ancestors(job);
        let line = step.map_or(job.line, |(line, _)| *line);
        let does = if *work == Work::Deploy { "deploys" } else { "publishes" };
        let excuse = step.and_then(|(_, c)| c.neutralised.as_deref()).unwrap_or_default();
        let regardless = job.always || excuse.contains("always") || excuse == "after-script";
        if regardless {
            out.fails.push(
                Finding::new(
                    "deploy-always",
                    Severity::High,
                    format!("job \"{}\" {does} although tests have failed", job.name),
                )
                .at(&job.file, line, 1)
                .fix("take away what makes it run always")
                .identified_by(&["deploy", &job.id]),
            );
        } else if !job.tests_before(*work) && !ancestors.iter().any(|a| a.effective(Work::Test).is_some()) {
            let finding = Finding::new(
                "deploy-without-test",
                Severity::High,
                format!("job \"{}\" can run without tests", job.name),
            )
            .at(&job.file, job.line, 1)
            .fix(how_to_wait(pipeline, job, all_tests))
            .identified_by(&["deploy", &job.id]);
            let unknown = ancestors.iter().any(|a| a.opaque.is_some()) || job.opaque.is_some();
            if unknown { out.warns.push(finding) } else { out.fails.push(finding) }
        }
        let limited = step.is_some_and(|(_, c)| c.restricted) || pipeline.is_restricted(job);
        if !limited {
            out.warns.push(
                Finding::new(
                    "deploy-unrestricted",
                    Severity::Medium,
                    format!("job \"{}\" {does} from any branch", job.name),
                )
                .at(&job.file, job.line, 1)
                .fix("limit it to a branch, a tag, or an environment with approval")
                .identified_by(&["deploy-unrestricted", &job.id]),
            );
        }
    }
    jobs.len()
}

/// In the words of the CI system, for the job that should wait.
fn how_to_wait(pipeline: &Pipeline, job: &Job, tests: &[&Job]) -> String {
    let mut own: Vec<&&Job> = tests.iter().filter(|t| pipeline.files.contains(&t.file)).collect();
    // The suite itself, not a benchmark or a linter that happens to run a test.
    own.sort_by_key(|t| {
        let usual = t.runs.on_pull_request && t.runs.on_default_branch;
        let called = format!("{} {}", t.name, t.file).to_ascii_lowercase();
        (t.file != job.file, !usual, !called.contains("test"), t.name.len())
    });
    let Some(test) = own.first() else {
        let elsewhere = tests.first().map_or("the tests".to_string(), |t| format!("the tests ({})", t.file));
        return format!("run {elsewhere} before it, in the same pipeline");
    };
    let name = &test.name;
    if test.file != job.file && pipeline.waits == "needs: [" && pipeline.system != "GitLab CI" {
        return format!("call the tests with uses: ./{} (on: workflow_call) and add needs: [{name}]", test.file);
    }
    match pipeline.waits.strip_suffix('[') {
        Some(words) if words.starts_with("an ") || words.starts_with("a ") => format!("make it {words}{name}"),
        _ if pipeline.system == "Woodpecker" && test.file != job.file => {
            let workflow = test.id.split('/').next().unwrap_or(name);
            format!("add depends_on: [{workflow}] to its workflow")
        }
        _ => format!("add {}{name}]", pipeline.waits),
    }
}
