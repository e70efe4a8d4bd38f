//! Tests of the gate: pipelines of each system as people write them.

use super::*;
use crate::domain::verdict::Verdict;
use crate::gates::testing;

fn run() -> Run {
    Run::Green { url: "https://ci.example/1".into(), commit: "c0ffee".into() }
}

fn outcome(files: &[(&str, &str)], run: Run, config: &Config) -> Outcome {
    let (_dir, repo) = testing::repo(files);
    judge(&Seen { run, ..look(&repo, config) }, config)
}

/// Verdict and the rules found, with a run for the commit.
fn check(files: &[(&str, &str)], verdict: Verdict, rules: &[&str]) -> Outcome {
    let outcome = outcome(files, run(), &Config::default());
    let got: Vec<&str> = outcome.findings.iter().map(|f| f.rule.as_str()).collect();
    assert_eq!((outcome.verdict, got), (verdict, rules.to_vec()), "{}\n{outcome:#?}", files[0].1);
    outcome
}

const GOOD: &str = "\
name: CI
on: [push, pull_request]
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: npm ci && npm run build
  test:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - run: npm ci
      - run: npx jest --ci
  deploy:
    needs: [test]
    if: github.ref == 'refs/heads/main'
    runs-on: ubuntu-latest
    environment: production
    steps:
      - run: ./scripts/deploy.sh
";

fn github(text: &str, verdict: Verdict, rules: &[&str]) -> Outcome {
    check(&[(".github/workflows/ci.yml", text)], verdict, rules)
}

#[test]
fn a_proved_chain_passes_and_without_a_run_it_warns() {
    let good = github(GOOD, Verdict::Pass, &[]);
    assert_eq!((good.tier, good.covered, good.known), (Some(Tier::E2), Some(3), Some(3)));
    let unproved = outcome(
        &[(".github/workflows/ci.yml", GOOD)],
        Run::Unknown { why: "GITHUB_TOKEN is not set".into() },
        &Config::default(),
    );
    assert_eq!((unproved.verdict, unproved.tier), (Verdict::Warn, Some(Tier::E1)));
    assert!(unproved.summary.contains("no run evidence"), "{}", unproved.summary);
}

/// One defect at a time, each caught; the good file raises nothing.
#[test]
fn mutants_of_a_good_workflow() {
    let mutate = |from: &str, to: &str, rules: &[&str]| {
        assert!(GOOD.contains(from), "{from}");
        github(&GOOD.replace(from, to), Verdict::Fail, rules)
    };
    let cut = mutate("needs: [test]", "needs: [build]", &["deploy-without-test"]);
    assert_eq!(
        cut.hint.unwrap(),
        "job \"deploy\" can run without tests: add needs: [test] (file .github/workflows/ci.yml:15)"
    );
    mutate("    needs: [test]\n", "", &["deploy-without-test"]);
    mutate("jest --ci", "jest --ci || true", &["neutralised-test", "deploy-without-test"]);
    mutate("jest --ci", "jest --passWithNoTests", &["neutralised-test", "deploy-without-test"]);
    mutate(
        "      - run: npx jest --ci\n",
        "      - run: npx jest --ci\n        continue-on-error: true\n",
        &["neutralised-test", "deploy-without-test"],
    );
    mutate("  test:\n", "  test:\n    if: false\n", &["neutralised-test", "deploy-without-test"]);
    mutate("  test:\n", "  test:\n    continue-on-error: true\n", &["neutralised-test", "deploy-without-test"]);
    mutate(
        "npx jest --ci",
        "|\n          set +e\n          npx jest --ci",
        &["neutralised-test", "deploy-without-test"],
    );
    mutate("npx jest --ci", "npm run lint", &["missing-test", "deploy-without-test"]);
    mutate(
        "if: github.ref == 'refs/heads/main'",
        "if: always() && github.ref == 'refs/heads/main'",
        &["deploy-always"],
    );
    mutate("on: [push, pull_request]", "on: push", &["tests-not-on-pull-requests"]);
    mutate("on: [push, pull_request]", "on: pull_request", &["tests-not-on-default-branch"]);
    mutate(
        "on: [push, pull_request]",
        "on: {pull_request: {}, push: {branches: [develop]}}",
        &["tests-not-on-default-branch"],
    );
    mutate(
        "on: [push, pull_request]",
        "on: {pull_request: {}, push: {tags: ['v*']}}",
        &["tests-not-on-default-branch"],
    );
}

#[test]
fn tests_before_the_deploy_in_one_job_are_enough() {
    let one = "on: [push, pull_request]\njobs:\n  all:\n    environment: production\n    steps:\n      - run: npm ci\n      - run: npx vitest run\n      - run: npx wrangler deploy\n";
    github(one, Verdict::Pass, &[]);
    let after = one
        .replace("npx vitest run", "X")
        .replace("npx wrangler deploy", "npx vitest run")
        .replace("- run: X", "- run: npx wrangler deploy");
    github(&after, Verdict::Fail, &["deploy-without-test"]);
    let regardless = one.replace("- run: npx wrangler deploy", "- run: npx wrangler deploy\n        if: always()");
    github(&regardless, Verdict::Fail, &["deploy-always"]);
}

#[test]
fn reusable_workflows_and_workflow_run() {
    let tests = "on: workflow_call\njobs:\n  unit:\n    steps:\n      - run: pip install -r requirements.txt\n      - run: pytest\n";
    let caller = "on: [push, pull_request]\njobs:\n  test:\n    uses: ./.github/workflows/tests.yml\n  deploy:\n    needs: test\n    environment: production\n    steps:\n      - run: flyctl deploy\n";
    check(&[(".github/workflows/ci.yml", caller), (".github/workflows/tests.yml", tests)], Verdict::Pass, &[]);
    let remote = caller.replace("./.github/workflows/tests.yml", "acme/ci/.github/workflows/tests.yml@v1");
    let outcome = check(&[(".github/workflows/ci.yml", &remote)], Verdict::Warn, &["deploy-without-test", "opaque"]);
    assert_eq!((outcome.covered, outcome.known), (Some(1), Some(2)));

    let ci = "name: CI\non: [push, pull_request]\njobs:\n  test:\n    steps:\n      - run: go build ./... && go test ./...\n";
    let release = "on:\n  workflow_run:\n    workflows: [CI]\n    types: [completed]\njobs:\n  deploy:\n    if: github.event.workflow_run.conclusion == 'success'\n    environment: production\n    steps:\n      - run: kubectl apply -f k8s\n";
    check(&[(".github/workflows/ci.yml", ci), (".github/workflows/release.yml", release)], Verdict::Pass, &[]);
    let blind = release.replace("    if: github.event.workflow_run.conclusion == 'success'\n", "");
    check(
        &[(".github/workflows/ci.yml", ci), (".github/workflows/release.yml", &blind)],
        Verdict::Fail,
        &["deploy-without-test"],
    );
}

#[test]
fn scripts_are_looked_into() {
    let workflow = GOOD.replace("npx jest --ci", "npm test");
    let files = |script: &str| format!(r#"{{"scripts": {{"test": "{script}"}}}}"#);
    let with = |script: &str, verdict, rules: &[&str]| {
        check(&[(".github/workflows/ci.yml", &workflow), ("package.json", &files(script))], verdict, rules);
    };
    with("jest", Verdict::Pass, &[]);
    with("jest || true", Verdict::Fail, &["neutralised-test", "deploy-without-test"]);
    with("echo no tests yet", Verdict::Fail, &["neutralised-test", "deploy-without-test"]);
}

#[test]
fn strangers_are_kept_out() {
    let with = |from: &str, to: &str, verdict, rules: &[&str]| github(&GOOD.replace(from, to), verdict, rules);
    with(
        "npx jest --ci",
        "npx jest --ci && echo \"${{ github.event.pull_request.title }}\"",
        Verdict::Fail,
        &["script-injection"],
    );
    with("npx jest --ci", "npx jest --ci && echo \"${{ github.event.number }}\"", Verdict::Pass, &[]);
    let target = GOOD.replace("[push, pull_request]", "[push, pull_request_target]").replace(
        "actions/checkout@v4",
        "actions/checkout@v4\n        with: {ref: \"${{ github.event.pull_request.head.sha }}\"}",
    );
    github(&target, Verdict::Fail, &["untrusted-checkout"]);
    with("actions/checkout@v4", "acme/thing@v1", Verdict::Warn, &["unpinned-action"]);
    with("actions/checkout@v4", &format!("acme/thing@{}", "ab".repeat(20)), Verdict::Pass, &[]);
    with("jobs:\n", "permissions: write-all\njobs:\n", Verdict::Warn, &["token-write-all"]);
    let open =
        GOOD.replace("    if: github.ref == 'refs/heads/main'\n", "").replace("    environment: production\n", "");
    github(&open, Verdict::Warn, &["deploy-unrestricted"]);
}

const GITLAB: &str = "\
stages: [build, test, deploy]
default:
  before_script: [npm ci]
.base:
  image: node
compile:
  extends: .base
  stage: build
  script: npm run build
unit:
  extends: .base
  stage: test
  script:
    - npx vitest run
ship:
  stage: deploy
  script: [./deploy.sh]
  environment: production
  rules:
    - if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH
";

#[test]
fn gitlab_and_its_mutants() {
    let gitlab = |text: &str, verdict, rules: &[&str]| check(&[(".gitlab-ci.yml", text)], verdict, rules);
    gitlab(GITLAB, Verdict::Pass, &[]);
    let mutate = |from: &str, to: &str, rules: &[&str]| {
        assert!(GITLAB.contains(from), "{from}");
        gitlab(&GITLAB.replace(from, to), Verdict::Fail, rules);
    };
    mutate("  environment: production\n", "  environment: production\n  needs: []\n", &["deploy-without-test"]);
    mutate("  environment: production\n", "  environment: production\n  when: always\n", &["deploy-always"]);
    mutate("  stage: deploy\n", "  stage: build\n", &["deploy-without-test"]);
    mutate("    - npx vitest run\n", "    - npx vitest run || true\n", &["neutralised-test", "deploy-without-test"]);
    mutate("  stage: test\n", "  stage: test\n  allow_failure: true\n", &["neutralised-test", "deploy-without-test"]);
    mutate("  stage: test\n", "  stage: test\n  when: manual\n", &["neutralised-test", "deploy-without-test"]);
    mutate("  stage: test\n", "  stage: test\n  only: [merge_requests]\n", &["tests-not-on-default-branch"]);
    mutate(
        "  stage: test\n",
        "  stage: test\n  rules: [{if: $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH}]\n",
        &["tests-not-on-pull-requests"],
    );
    mutate("ship:", ".ship:", &["missing-deploy"]);
}

#[test]
fn gitlab_includes_local_files() {
    let main = GITLAB.replace(
        "unit:\n  extends: .base\n  stage: test\n  script:\n    - npx vitest run\n",
        "include: /ci/test.yml\n",
    );
    let test = "unit:\n  stage: test\n  script: npx vitest run\n";
    let outcome = check(&[(".gitlab-ci.yml", &main), ("ci/test.yml", test)], Verdict::Pass, &[]);
    assert!(outcome.summary.contains("2 files"), "{}", outcome.summary);
    let template = format!("include: [{{template: Jobs/SAST.gitlab-ci.yml}}]\n{GITLAB}");
    check(&[(".gitlab-ci.yml", &template)], Verdict::Warn, &["opaque-include"]);
}

#[test]
fn no_ci_fails_and_what_cannot_be_read_is_an_error() {
    check(&[("README.md", "")], Verdict::Fail, &["no-ci"]);
    for (path, text, reason) in [
        ("Jenkinsfile", "pipeline {}", "unreadable"),
        (".travis.yml", "language: go", "unsupported-ci"),
        (".circleci/config.yml", "jobs: [", "unreadable"),
        (".github/workflows/ci.yml", "on: [push\njobs:", "unreadable"),
        (".gitlab-ci.yml", "a: [", "unreadable"),
    ] {
        let outcome = check(&[(path, text)], Verdict::Error, &[]);
        assert_eq!(outcome.reason.as_deref(), Some(reason), "{path}");
        assert!(outcome.summary.contains(path), "{}", outcome.summary);
    }
    // A system that can be read speaks for the repository.
    check(&[(".github/workflows/ci.yml", GOOD), (".travis.yml", "")], Verdict::Pass, &[]);
}

#[test]
fn a_deploy_elsewhere_warns_when_the_user_says_so() {
    let ci = "on: [push, pull_request]\njobs:\n  test:\n    steps:\n      - run: go build ./... && go test ./...\n";
    check(&[(".github/workflows/ci.yml", ci)], Verdict::Fail, &["missing-deploy"]);
    let config = Config { external_deploy: true, ..Config::default() };
    let outcome = outcome(&[(".github/workflows/ci.yml", ci)], run(), &config);
    assert_eq!(outcome.verdict, Verdict::Warn);
    // A platform that fetches what is pushed says so by its file.
    check(&[(".github/workflows/ci.yml", ci), ("Procfile", "web: ./shop\n")], Verdict::Warn, &["missing-deploy"]);
}

#[test]
fn the_run_of_the_commit_decides() {
    let of = |run: Run| outcome(&[(".github/workflows/ci.yml", GOOD)], run, &Config::default());
    let (url, commit) = ("https://ci.example/1".to_string(), "c0ffee".to_string());
    let red = of(Run::Red { url: url.clone(), commit: commit.clone(), what: "CI: failure".into() });
    assert_eq!((red.verdict, red.findings[0].rule.as_str()), (Verdict::Fail, "run-failed"));
    assert!(red.hint.unwrap().contains("https://ci.example/1"));
    let absent = of(Run::Absent { why: "GitHub knows no run".into() });
    assert_eq!((absent.verdict, absent.findings[0].rule.as_str()), (Verdict::Fail, "run-missing"));
    let open = of(Run::Open { url, commit, what: "CI: in_progress".into() });
    assert_eq!((open.verdict, open.tier), (Verdict::Warn, Some(Tier::E1)));
    let refused = of(Run::Refused { why: "GitHub answered 401".into() });
    assert_eq!((refused.verdict, refused.reason.as_deref()), (Verdict::Error, Some("forge-refused")));
}

/// A library is told about its releases in words that fit it; an application is not let off.
#[test]
fn a_package_without_a_publishing_job_is_warned() {
    let ci =
        (".github/workflows/ci.yml", "on: [push, pull_request]\njobs:\n  test:\n    steps:\n      - run: cargo test\n");
    let library = check(&[("Cargo.toml", "[package]\nname = 'x'\n"), ci], Verdict::Warn, &["release-by-hand"]);
    assert!(library.summary.contains("no job publishes this package"), "{}", library.summary);
    check(&[ci, ("Cargo.toml", ""), ("Dockerfile", "FROM x\n")], Verdict::Fail, &["missing-deploy"]);
    check(&[ci, ("package.json", "{\"private\": true}")], Verdict::Fail, &["missing-deploy"]);
}

/// What is not in the files that were read may be in one that could not be.
#[test]
fn absence_is_not_shown_by_half_of_the_files() {
    let ci = (".github/workflows/ci.yml", "on: push\njobs:\n  a:\n    steps:\n      - run: npm run lint\n");
    let outcome = outcome(&[ci, (".github/workflows/test.yml", "on: [")], run(), &Config::default());
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Error, Some("unreadable")));
}

/// A cluster that the job makes is gone with it.
#[test]
fn what_goes_to_a_cluster_of_the_jobs_own_is_no_deploy() {
    let cluster = |maker: &str| {
        format!(
            "on: [push, pull_request]\njobs:\n  test:\n    steps:\n      - run: npm ci && npm test\n  cluster:\n    steps:\n      {maker}\n      - run: kubectl apply -f k8s/\n"
        )
    };
    let package = ("package.json", "{\"scripts\": {\"test\": \"node --test\"}}");
    let rules = |maker: &str| {
        let text = cluster(maker);
        let outcome = outcome(&[(".github/workflows/ci.yml", &text), package], run(), &Config::default());
        outcome.findings.iter().any(|f| f.rule == "deploy-without-test")
    };
    assert!(rules("- run: aws eks update-kubeconfig --name shop"), "somebody's cluster");
    assert!(!rules("- uses: helm/kind-action@v1"));
    assert!(!rules("- run: minikube start"));
}

#[test]
fn the_default_of_a_tool_is_what_it_runs() {
    let tests = |run: &str| {
        let text = format!("on: [push, pull_request]\njobs:\n  build:\n    steps:\n      - run: {run}\n");
        let outcome = outcome(&[(".github/workflows/ci.yml", &text)], self::run(), &Config::default());
        !outcome.findings.iter().any(|f| f.rule == "missing-test")
    };
    let tested = ["bundle exec rake", "mvn --errors --batch-mode -Ddoclint=all", "ct install --config ct.yaml"];
    for command in tested.into_iter().chain(["task ci:test", "task test:unit", "./ci/Test-Msvc", "just ci"]) {
        assert!(tests(command), "{command}");
    }
    let other = ["bundle exec rake db:migrate", "mvn -v", "mvn --version", "rake assets:precompile"];
    for command in other.into_iter().chain(["task ci:build", "task docs:test", "task ci:docs:publish"]) {
        assert!(!tests(command), "{command}");
    }
}

/// What is missing belongs into the file that works, not into the one that greets.
#[test]
fn what_is_missing_is_told_of_the_file_that_works() {
    let greet = "on: issues\njobs:\n  greet:\n    steps:\n      - run: echo hi\n";
    let release =
        "on: push\njobs:\n  release:\n    steps:\n      - run: npm ci && npm run build\n      - run: npm publish\n";
    let files = [(".github/workflows/greet.yml", greet), (".github/workflows/release.yml", release)];
    let outcome = outcome(&files, run(), &Config::default());
    let missing = outcome.findings.iter().find(|f| f.rule == "missing-test").unwrap();
    assert_eq!(missing.file.as_deref(), Some(".github/workflows/release.yml"));
}

/// A script called test that only looks at style, and a target that builds and then runs a script of its own.
#[test]
fn a_name_is_believed_where_nothing_else_is_known() {
    let tests = |run: &str, file: (&str, &str)| {
        let text = format!("on: [push, pull_request]\njobs:\n  build:\n    steps:\n      - run: {run}\n");
        let files = [(".github/workflows/ci.yml", text.as_str()), file];
        let outcome = outcome(&files, self::run(), &Config::default());
        !outcome.findings.iter().any(|f| f.rule == "missing-test")
    };
    let make = ("Makefile", "build:\n\tgo build ./...\ntest-e2e: build\n\tgo build ./cmd\n\t./end-to-end.sh\n");
    assert!(tests("make test-e2e", make));
    let lint = ("package.json", "{\"scripts\": {\"test:other\": \"yarn prettier --list-different\"}}");
    assert!(!tests("yarn test:other", lint));
    let vitest = ("package.json", "{\"scripts\": {\"test:app\": \"vitest\"}}");
    assert!(tests("yarn test:app", vitest));
}

#[test]
fn publishing_in_other_words() {
    let publishes = |step: &str| {
        let text = format!(
            "on: push\njobs:\n  out:\n    steps:\n      - run: make test\n  release:\n    steps:\n      - {step}\n"
        );
        let outcome = outcome(&[(".github/workflows/ci.yml", &text)], run(), &Config::default());
        outcome.findings.iter().any(|f| f.rule == "deploy-without-test")
    };
    for step in [
        "uses: mr-smithers-excellent/docker-build-push@v6",
        "run: docker buildx imagetools create -t acme/shop acme/shop@sha256:00",
        "run: ${PREFIX}twine upload dist/*",
    ] {
        assert!(publishes(step), "{step}");
    }
}
