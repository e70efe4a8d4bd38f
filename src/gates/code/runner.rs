//! Which test runner a repository uses, whether there are tests, and the command that writes a report we can read.

use super::role::Role;
use super::syntax::Source;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};

/// The command that makes a readable report with the detected runner, for hints; nothing runs it. In a repository of
/// several languages the one with the most tests speaks.
pub fn command(repo: &Repo) -> &'static str {
    struct Command(&'static str);
    repo.once(&[], || Command(choose(repo))).0
}

fn choose(repo: &Repo) -> &'static str {
    let has = |name: &str| repo.files.iter().any(|f| f.path == name);
    let python = || match () {
        _ if runs_django(repo) => "coverage run manage.py test && coverage xml",
        _ => "pytest --cov --cov-report=xml --junitxml=junit.xml",
    };
    match most_tested(repo) {
        Some("js") => javascript(repo),
        Some("py") => python(),
        Some("rb") => "COVERAGE=1 bundle exec rspec (with simplecov-lcov)",
        Some("php") => "vendor/bin/phpunit --coverage-cobertura coverage.xml",
        Some("go") => "go test -coverprofile=cover.out ./...",
        Some("cs") => "dotnet test --collect:\"XPlat Code Coverage\"",
        Some("ex") => "mix coveralls.lcov (with excoveralls)",
        Some("java") => java(repo),
        _ if has("Cargo.toml") => "cargo llvm-cov --lcov --output-path lcov.info",
        _ if has("package.json") => javascript(repo),
        _ if has("go.mod") => "go test -coverprofile=cover.out ./...",
        _ if has("pyproject.toml") || has("setup.py") || has("pytest.ini") || has("requirements.txt") => python(),
        _ if has("composer.json") => "vendor/bin/phpunit --coverage-cobertura coverage.xml",
        _ if has("Gemfile") => "COVERAGE=1 bundle exec rspec (with simplecov-lcov)",
        _ if has("pom.xml") || has("build.gradle") || has("build.gradle.kts") => java(repo),
        _ => "the tests with an lcov or Cobertura report",
    }
}

/// The language of most test files. Rust's lie in the sources and are not told by their names.
fn most_tested(repo: &Repo) -> Option<&'static str> {
    let language = |path: &str| match path.rsplit_once('.')?.1 {
        "js" | "mjs" | "cjs" | "jsx" | "ts" | "mts" | "cts" | "tsx" => Some("js"),
        "java" | "kt" | "groovy" => Some("java"),
        "exs" => Some("ex"),
        other => ["py", "rb", "php", "go", "cs"].into_iter().find(|l| *l == other),
    };
    let mut counts = std::collections::BTreeMap::new();
    for file in repo.files.iter().filter(|f| Role::of_path(&f.path) == Role::Test) {
        if let Some(language) = language(&file.path) {
            *counts.entry(language).or_insert(0_u32) += 1;
        }
    }
    // A few end-to-end tests beside a Rust program are not its test suite.
    let rust = repo.files.iter().filter(|f| f.path.ends_with(".rs")).count() as u32;
    counts.into_iter().max_by_key(|(_, n)| *n).filter(|(_, n)| *n > rust / 10).map(|(language, _)| language)
}

fn holds(repo: &Repo, name: &str, word: &str) -> bool {
    repo.files.iter().any(|f| f.path == name)
        && repo.read_text(name, SOURCE_FILE_BYTES_MAX).is_ok_and(|text| text.contains(word))
}

fn javascript(repo: &Repo) -> &'static str {
    match () {
        _ if holds(repo, "package.json", "\"vitest\"") => "npx vitest run --coverage --coverage.reporter=lcov",
        _ if holds(repo, "package.json", "\"jest\"") => "npx jest --coverage --coverageReporters=lcov",
        _ => "npx c8 --all --reporter=lcov npm test",
    }
}

fn java(repo: &Repo) -> &'static str {
    match repo.files.iter().any(|f| f.path == "pom.xml") {
        true => "mvn verify (with jacoco-maven-plugin's report goal)",
        false => "gradle test jacocoTestReport (with xml.required = true)",
    }
}

/// Django's own runner, where nothing speaks of pytest.
fn runs_django(repo: &Repo) -> bool {
    let pytest = ["pyproject.toml", "setup.cfg", "pytest.ini", "tox.ini", "requirements.txt"];
    let manage = repo.files.iter().any(|f| f.path == "manage.py" || f.path.ends_with("/manage.py"));
    manage && !pytest.iter().any(|name| holds(repo, name, "pytest"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    #[test]
    fn the_language_with_the_most_tests_speaks() {
        let check = |files: &[(&str, &str)], expect: &str| {
            let (_dir, repo) = testing::repo(files);
            assert!(command(&repo).starts_with(expect), "{files:?}: {}", command(&repo));
        };
        let npm = ("package.json", "{\"devDependencies\": {\"jest\": \"1\"}}");
        check(&[npm, ("tests/a.test.js", "")], "npx jest");
        check(&[npm, ("tests/ATest.php", ""), ("tests/BTest.php", ""), ("js/a.test.ts", "")], "vendor/bin/phpunit");
        check(&[npm, ("shop/tests/test_a.py", ""), ("manage.py", "")], "coverage run manage.py test");
        check(&[npm, ("shop/tests/test_a.py", ""), ("pytest.ini", "[pytest]\n")], "pytest --cov");
        check(&[("Cargo.toml", ""), ("src/lib.rs", "#[test]\nfn a() {}\n")], "cargo llvm-cov");
        check(&[("build.gradle", ""), ("src/test/java/ATest.java", "")], "gradle test");
        check(&[("README.md", "")], "the tests with");
    }
}
