//! Which test runner a repository uses, whether there are tests, and the command that writes a report we can read.

use super::role::Role;
use super::syntax::Source;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};

/// The command that makes a readable report with the detected runner, for hints; nothing runs it.
pub fn command(repo: &Repo) -> &'static str {
    let has = |name: &str| repo.files.iter().any(|f| f.path == name);
    let holds = |name: &str, word: &str| {
        has(name) && repo.read_text(name, SOURCE_FILE_BYTES_MAX).is_ok_and(|text| text.contains(word))
    };
    match () {
        _ if holds("package.json", "\"vitest\"") => "npx vitest run --coverage --coverage.reporter=lcov",
        _ if holds("package.json", "\"jest\"") => "npx jest --coverage --coverageReporters=lcov",
        _ if has("package.json") => "npx c8 --all --reporter=lcov npm test",
        _ if has("Cargo.toml") => "cargo llvm-cov --lcov --output-path lcov.info",
        _ if has("go.mod") => "go test -coverprofile=cover.out ./...",
        _ if has("pyproject.toml") || has("setup.py") || has("pytest.ini") || has("requirements.txt") => {
            "pytest --cov --cov-report=xml --junitxml=junit.xml"
        }
        _ if has("composer.json") => "vendor/bin/phpunit --coverage-cobertura coverage.xml",
        _ if has("Gemfile") => "COVERAGE=1 bundle exec rspec (with simplecov-lcov)",
        _ if has("pom.xml") => "mvn verify (with jacoco-maven-plugin's report goal)",
        _ if has("build.gradle") || has("build.gradle.kts") => {
            "gradle test jacocoTestReport (with xml.required = true)"
        }
        _ => "the tests with an lcov or Cobertura report",
    }
}

/// How many test files there are: by name, or Rust sources with tests inside.
pub fn test_files(repo: &Repo) -> u64 {
    struct Tests(u64);
    repo.once(&[], || Tests(repo.known("code.test_files", || count(repo)))).0
}

fn count(repo: &Repo) -> u64 {
    let is_test = |path: &str, bytes: u64| match Role::of_path(path) {
        Role::Test => !["fixtures", "testdata", "__mocks__"].iter().any(|f| path.split('/').any(|s| s == *f)),
        Role::Product | Role::Cli if path.ends_with(".rs") && bytes <= SOURCE_FILE_BYTES_MAX => {
            repo.read_text(path, SOURCE_FILE_BYTES_MAX).is_ok_and(|t| t.contains("#[test]") || t.contains("::test]"))
        }
        _ => false,
    };
    repo.files.iter().filter(|f| Source::of(&f.path).is_some() && is_test(&f.path, f.bytes)).count() as u64
}
