//! Tests of the readers: one good pipeline a system as people write it, and its mutants, through the whole gate's rules.

use super::super::chain;
use super::*;
use crate::gates::testing;

/// The rules found, failures with a `!`.
fn rules(files: &[(&str, &str)]) -> Vec<String> {
    let (_dir, repo) = testing::repo(files);
    let read = read(&repo, "main");
    assert_eq!(read.unreadable, [], "{files:?}");
    let pipelines: Vec<&Pipeline> = read.pipelines.iter().collect();
    assert!(!pipelines.is_empty(), "{files:?}");
    let chain = chain::judge(&pipelines, false, None);
    let fails = chain.fails.iter().map(|f| format!("!{}", f.rule));
    fails.chain(chain.warns.iter().map(|f| f.rule.clone())).collect()
}

/// The good file raises nothing; each change raises what it should, in whatever order. All differences in one go.
fn mutants(path: &str, good: &str, changes: &[(&str, &str, &[&str])]) {
    assert_eq!(rules(&[(path, good)]), [""; 0], "{good}");
    let mut wrong = Vec::new();
    for (from, to, expect) in changes {
        assert!(good.contains(from), "{from}");
        let mut got = rules(&[(path, &good.replacen(from, to, 1))]);
        let mut expect: Vec<String> = expect.iter().map(|e| e.to_string()).collect();
        got.sort();
        expect.sort();
        if got != expect {
            wrong.push(format!("{from:?} -> {to:?}: {got:?}, not {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const CIRCLE: &str = "\
version: 2.1
parameters:
  nightly: {type: boolean, default: false}
commands:
  prepare:
    parameters:
      tool: {type: string, default: npm}
    steps:
      - checkout
      - run: << parameters.tool >> ci
jobs:
  unit:
    docker: [{image: cimg/node:22.1}]
    steps:
      - prepare
      - run:
          name: Test
          command: npx jest --ci
  ship:
    docker: [{image: cimg/node:22.1}]
    steps:
      - checkout
      - run: npm run build
      - run: ./deploy.sh production
workflows:
  main:
    jobs:
      - unit
      - hold:
          type: approval
          requires: [unit]
      - ship:
          requires: [hold]
          filters:
            branches:
              only: /main|release-.*/
";

#[test]
fn circle() {
    mutants(
        ".circleci/config.yml",
        CIRCLE,
        &[
            ("          requires: [unit]\n", "", &["!deploy-without-test"]),
            ("npx jest --ci", "npx jest --ci || true", &["!neutralised-test", "!deploy-without-test"]),
            ("npx jest --ci", "npx eslint .", &["!missing-test", "!deploy-without-test"]),
            ("requires: [hold]", "requires: [{hold: [success, failed]}]", &["!deploy-always"]),
            ("      - unit\n", "      - unit: {filters: {branches: {only: main}}}\n", &["!tests-not-on-pull-requests"]),
            (
                "      - unit\n",
                "      - unit: {filters: {branches: {ignore: [main]}}}\n",
                &["!tests-not-on-default-branch"],
            ),
            (
                "      - ship:\n          requires: [hold]\n",
                "      - acme/ship:\n          requires: [hold]\n",
                &["missing-deploy", "opaque"],
            ),
            (
                "    jobs:\n      - unit",
                "    when: << pipeline.parameters.nightly >>\n    jobs:\n      - unit",
                &["!tests-not-on-pull-requests", "!tests-not-on-default-branch"],
            ),
            ("npm run build", "echo << pipeline.git.branch >>", &["script-injection"]),
        ],
    );
    let open = CIRCLE.replace("          filters:\n            branches:\n              only: /main|release-.*/\n", "");
    assert_eq!(rules(&[(".circleci/config.yml", &open)]), [""; 0], "somebody approves");
    let open = open.replace("          type: approval\n", "").replace("- hold:", "- unit:\n          name: hold");
    assert_eq!(rules(&[(".circleci/config.yml", &open)]), ["deploy-unrestricted"]);
}

const AZURE: &str = "\
trigger: [main]
pr: [main]
stages:
  - stage: Build
    jobs:
      - job: unit
        steps:
          - task: Npm@1
            inputs: {command: ci}
          - script: npx vitest run
            displayName: Test
  - stage: Ship
    condition: and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))
    jobs:
      - deployment: web
        environment: production
        strategy:
          runOnce:
            deploy:
              steps:
                - task: AzureWebApp@1
                  inputs: {appName: shop}
";

#[test]
fn azure() {
    mutants(
        "azure-pipelines.yml",
        AZURE,
        &[
            ("  - stage: Ship\n", "  - stage: Ship\n    dependsOn: []\n", &["!deploy-without-test"]),
            ("npx vitest run", "npx vitest run --passWithNoTests", &["!deploy-without-test", "!neutralised-test"]),
            (
                "            displayName: Test",
                "            continueOnError: true",
                &["!deploy-without-test", "!neutralised-test"],
            ),
            (
                "condition: and(succeeded(), eq(variables['Build.SourceBranch'], 'refs/heads/main'))",
                "condition: always()",
                &["!deploy-always"],
            ),
            ("pr: [main]", "pr: none", &["!tests-not-on-pull-requests"]),
            ("trigger: [main]", "trigger: none", &["!tests-not-on-default-branch"]),
            ("npx vitest run", "npx vitest run && echo $(Build.SourceVersionMessage)", &["!script-injection"]),
            (
                "      - job: unit\n        steps:\n",
                "      - template: ci/jobs.yml@shared\n      - job: x\n        steps:\n",
                &["opaque"],
            ),
        ],
    );
    let caller = AZURE.replace(
        "      - job: unit\n        steps:\n          - task: Npm@1\n            inputs: {command: ci}\n          - script: npx vitest run\n            displayName: Test\n",
        "      - template: ci/jobs.yml\n        parameters: {node: 22}\n",
    );
    let template = "parameters:\n  node: 20\njobs:\n  - job: unit\n    steps:\n      - ${{ if true }}:\n          - bash: npm ci && npm test\n";
    assert_eq!(rules(&[("azure-pipelines.yml", &caller), ("ci/jobs.yml", template)]), [""; 0]);
}

const BITBUCKET: &str = "\
pipelines:
  default:
    - step: &unit
        name: Unit
        script: [npm ci, npm test]
  branches:
    main:
      - step: *unit
      - parallel:
          - step:
              name: Images
              script: [docker build -t a .]
          - step:
              name: Lint
              script: [npm run lint]
      - step:
          name: Ship
          deployment: production
          script:
            - pipe: atlassian/aws-ecs-deploy:1.0.0
";

#[test]
fn bitbucket() {
    mutants(
        "bitbucket-pipelines.yml",
        BITBUCKET,
        &[
            ("      - step: *unit\n", "", &["!deploy-without-test", "!tests-not-on-default-branch"]),
            ("npm test", "npm test || true", &["!deploy-without-test", "!neutralised-test", "!neutralised-test"]),
            ("  default:", "  custom:\n   x:", &["!tests-not-on-pull-requests"]),
        ],
    );
}

const DRONE: &str = "\
kind: pipeline
type: docker
name: default
steps:
  - name: unit
    image: golang:1.25
    commands:
      - go build ./...
      - go test ./...
  - name: publish_latest
    image: plugins/docker:20
    settings: {repo: acme/shop}
    when:
      branch: [main]
      event: push
---
kind: secret
name: x
";

#[test]
fn drone() {
    mutants(
        ".drone.yml",
        DRONE,
        &[
            ("      - go test ./...\n", "", &["!missing-test", "!deploy-without-test"]),
            ("    commands:\n", "    failure: ignore\n    commands:\n", &["!deploy-without-test", "!neutralised-test"]),
            ("    settings:", "    depends_on: []\n    settings:", &["!deploy-without-test"]),
            ("      event: push\n", "      event: push\n      status: [success, failure]\n", &["!deploy-always"]),
            ("    when:\n      branch: [main]\n      event: push\n", "", &["deploy-unrestricted"]),
            ("steps:\n", "trigger: {event: [push], branch: [main]}\nsteps:\n", &["!tests-not-on-pull-requests"]),
            ("go test ./...\n", "go test ./... && echo ${DRONE_COMMIT_MESSAGE}\n", &["!script-injection"]),
            ("go test ./...\n", "go test ./... && echo $${DRONE_COMMIT_MESSAGE}\n", &[]),
        ],
    );
}

#[test]
fn woodpecker_waits_for_whole_workflows() {
    let test = "when:\n  - event: pull_request\n  - event: push\n    branch: ${CI_REPO_DEFAULT_BRANCH}\nsteps:\n  zz-vendor:\n    image: golang\n    commands: [go mod vendor]\n  unit:\n    image: golang\n    commands: [go test ./...]\n";
    let ship = "depends_on: [test]\nwhen: {event: push, branch: main}\nsteps:\n  - name: ship\n    image: appleboy/drone-ssh\n";
    let files = |ship: &str| rules(&[(".woodpecker/test.yaml", test), (".woodpecker/ship.yaml", ship)]);
    assert_eq!(files(ship), [""; 0]);
    assert_eq!(files(&ship.replace("depends_on: [test]\n", "")), ["!deploy-without-test"]);
    assert_eq!(files(&ship.replace("branch: main", "branch: '*'")), ["deploy-unrestricted"]);
}

const JENKINS: &str = "\
pipeline {
  agent any
  stages {
    stage('Build') { steps { sh 'mvn -B -DskipTests package' } }
    stage('Checks') {
      parallel {
        stage('Unit') { steps { sh 'mvn -B test' } }
        stage('Style') { steps { sh 'mvn checkstyle:check' } }
      }
    }
    stage('Ship') {
      when { branch 'main' }
      steps { sh './deploy.sh' }
    }
  }
  post { always { junit '**/*.xml' } }
}
";

#[test]
fn jenkins_declarative() {
    mutants(
        "Jenkinsfile",
        JENKINS,
        &[
            ("sh 'mvn -B test'", "sh 'mvn -B test || true'", &["!deploy-without-test", "!neutralised-test"]),
            ("sh 'mvn -B test'", "catchError { sh 'mvn -B test' }", &["!deploy-without-test", "!neutralised-test"]),
            (
                "sh 'mvn -B test'",
                "sh(script: 'mvn -B test', returnStatus: true)",
                &["!deploy-without-test", "!neutralised-test"],
            ),
            ("sh 'mvn -B test'", "echo 'mvn -B test'", &["!missing-test", "!deploy-without-test"]),
            ("      when { branch 'main' }\n", "", &["deploy-unrestricted"]),
            ("junit '**/*.xml'", "sh 'kubectl apply -f k8s'", &["!deploy-always"]),
            ("sh 'mvn -B test'", "sh \"mvn -B test ${env.CHANGE_TITLE}\"", &["!script-injection"]),
            ("sh 'mvn -B test'", "runTheTests()", &["opaque", "deploy-without-test"]),
            (
                "        stage('Unit') {",
                "        stage('Unit') { when { branch 'main' }",
                &["!tests-not-on-pull-requests"],
            ),
        ],
    );
}

#[test]
fn jenkins_scripted() {
    let good = "@Library('x') _\ndef suite(String jdk) {\n  sh \"./gradlew check -Pjdk=${jdk}\"\n}\nnode('linux') {\n  stage('Checkout') { checkout scm }\n  stage('Test') {\n    try { suite('21') } finally { junit 'x.xml' }\n  }\n  if (env.BRANCH_NAME == 'main') {\n    stage('Deploy') { sh 'kubectl apply -f k8s' }\n  }\n}\n";
    mutants(
        "Jenkinsfile",
        good,
        &[
            (
                "finally { junit 'x.xml' }",
                "catch (e) { echo 'never mind' }",
                &["!deploy-without-test", "!neutralised-test"],
            ),
            ("finally { junit 'x.xml' }", "catch (e) { throw e }", &[]),
            ("suite('21')", "echo 'x'", &["!missing-test", "!missing-build", "!deploy-without-test"]),
        ],
    );
    assert_eq!(rules(&[("Jenkinsfile", "buildPlugin(forkCount: '1C')\n")]), ["missing-deploy", "opaque"]);
    let old =
        "node {\n  stage 'test'\n  sh 'make test'\n  stage 'ship'\n  input 'sure?'\n  sh 'cap production deploy'\n}\n";
    assert_eq!(rules(&[("Jenkinsfile", old)]), ["deploy-unrestricted"]);
}

#[test]
fn stages_may_stand_in_different_systems_but_a_deploy_waits_within_its_own() {
    let tests = "on: [push, pull_request]\njobs:\n  unit:\n    steps:\n      - run: go build ./... && go test ./...\n";
    let ship = "pipelines:\n  branches:\n    main:\n      - step: {name: Ship, script: [flyctl deploy]}\n";
    let both = [(".github/workflows/ci.yml", tests), ("bitbucket-pipelines.yml", ship)];
    assert_eq!(rules(&both), ["!deploy-without-test"]);
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever stands in a CI file, every reader ends without a panic.
        #[test]
        fn readers_never_panic(lines in prop::collection::vec("[ ]{0,6}(- )?(jobs|steps|stages|stage|job|script|workflows|pipelines|default|kind|when|run|name|template|requires|needs|if|x)?:?( \\*?&?[\\[{]?[a-z$<>{}]{0,6}[\\]}]?)?", 0..25)) {
            let text = lines.join("\n");
            let paths = [
                ".github/workflows/a.yml", ".gitlab-ci.yml", ".circleci/config.yml", "bitbucket-pipelines.yml", ".drone.yml",
                ".woodpecker.yml", "azure-pipelines.yml", "Jenkinsfile",
            ];
            let files: Vec<(&str, &str)> = paths.iter().map(|p| (*p, text.as_str())).collect();
            let (_dir, repo) = testing::repo(&files);
            let read = read(&repo, "main");
            let pipelines: Vec<&Pipeline> = read.pipelines.iter().collect();
            chain::judge(&pipelines, false, None);
        }
    }
}
