//! Which paths are the product itself: not its tests, examples, documentation, benchmarks, tools, nor somebody else's code.
//! A queue that only an example uses is not the product's queue.

use std::collections::HashMap;

/// Folders, wherever in the path they stand, by lower-case name without leading and trailing `_` and `.`.
const ASIDE: &[&str] = &[
    // tests
    "test",
    "tests",
    "testing",
    "testdata",
    "test-data",
    "test_data",
    "test-utils",
    "tests-e2e",
    "e2e",
    "spec",
    "specs",
    "fixture",
    "fixtures",
    "mock",
    "mocks",
    "cypress",
    "playwright",
    "integration-test",
    "integration-tests",
    "integration_tests",
    "acceptance",
    "testutil",
    "testutils",
    "androidtest",
    "stories",
    "storybook",
    // examples
    "example",
    "examples",
    "sample",
    "samples",
    "demo",
    "demos",
    "tutorial",
    "tutorials",
    "snippets",
    "cookbook",
    "playground",
    "playgrounds",
    "sandbox",
    "starters",
    "boilerplate",
    "codemods",
    // documentation
    "doc",
    "docs",
    "documentation",
    "docs_src",
    "docs-src",
    "dev-docs",
    // benchmarks
    "bench",
    "benches",
    "benchmark",
    "benchmarks",
    "loadtest",
    "load-test",
    "load-tests",
    "load-testing",
    "loadgenerator",
    "load-generator",
    "k6",
    "perf",
    // tools around the product
    "scripts",
    "script",
    "tools",
    "tooling",
    "hack",
    "dev",
    "development",
    "devcontainer",
    "devenv",
    "contrib",
    "github",
    "gitlab",
    "circleci",
    "vscode",
    "idea",
    "husky",
    "changeset",
    "build-tools",
    "packages-private",
    "archived",
    // others' code, and what programs wrote
    "vendor",
    "vendored",
    "third_party",
    "third-party",
    "3rdparty",
    "extern",
    "external",
    "node_modules",
    "bower_components",
    "site-packages",
    "dist",
    "generated",
    "genproto",
    "pods",
    "yarn",
    "next",
    "nuxt",
    "htmlcov",
    "pycache",
];

/// Answers for paths of one repository; files of one folder are asked one after another.
#[derive(Default)]
pub struct Own {
    folders: HashMap<String, bool>,
}

impl Own {
    /// Is the file the product's own?
    pub fn has(&mut self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let known = self.folders.get(folder).copied();
        let own = known.unwrap_or_else(|| {
            let own = is_own_folder(folder);
            self.folders.insert(folder.to_string(), own);
            own
        });
        own && !is_aside_file(name)
    }
}

/// By all the names in the folder's path.
pub fn is_own_folder(folder: &str) -> bool {
    let (mut before, mut sources) = (String::new(), String::new());
    for segment in folder.split('/').filter(|s| !s.is_empty()) {
        let lower = segment.to_ascii_lowercase();
        let name = lower.trim_matches(['_', '.']);
        // `com/example/shop` is a Java package, where most projects begin.
        let package = name == "example" && matches!(before.as_str(), "com" | "org" | "net" | "io");
        // `app/next` is a folder; `.next` is what the tool wrote.
        let hidden_only = matches!(name, "next" | "nuxt" | "yarn" | "github" | "gitlab") && !lower.starts_with('.');
        // Below `src/main/java` all names are packages: `org/springframework/samples/petclinic` is no sample.
        if sources == "src/main" && matches!(name, "java" | "kotlin" | "scala" | "groovy") {
            return true;
        }
        sources = format!("{before}/{lower}");
        if !package && !hidden_only && (ASIDE.contains(&name) || is_aside_compound(name)) {
            return false;
        }
        before = lower;
    }
    true
}

/// `flask-example`, `template-react`, `shop-e2e`, `testdata-2`.
fn is_aside_compound(name: &str) -> bool {
    ["example-", "examples-", "sample-", "template-", "testdata", "test-", "tests-", "e2e-", "fixture-"]
        .iter()
        .any(|start| name.starts_with(start))
        || ["-example", "-examples", "-sample", "-samples", "-e2e", "_test", "_tests", "-tests", "-test", "-fixtures"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// `cart.test.js`, `test_cart.py`, `cart_test.go`, `Dockerfile.dev`, `docker-compose.test.yml`.
fn is_aside_file(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // `.env.example` is how a product says which settings it has.
    if lower.starts_with(".env") || lower.contains("env.") || lower.ends_with(".env") {
        return lower.contains("test");
    }
    let lock = lower.starts_with("openapi") || lower.starts_with("swagger");
    let word = |p: &str| {
        matches!(p, "test" | "tests" | "spec" | "e2e" | "bench" | "stories" | "example" | "sample" | "mock" | "cy")
            || matches!(p, "dev" | "development" | "local" | "override" | "ci" | "debug" | "devcontainer")
                && (lower.contains("compose") || lower.contains("dockerfile") || lower.contains("requirements"))
    };
    !lock && lower.split(['.', '-', '_']).any(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell() {
        let mut own = Own::default();
        for (path, expect) in [
            ("package.json", true),
            ("src/app.py", true),
            ("examples/celery/pyproject.toml", false),
            ("docs/mkdocs.yml", false),
            ("packages/create-x/template-react/package.json", false),
            ("src/main/java/com/example/shop/App.java", true),
            ("shop/src/main/java/org/acme/samples/test/App.java", true),
            ("samples/src/main/java/org/acme/App.java", false),
            ("src/testdata/x/go.mod", false),
            (".github/actions/people/Dockerfile", false),
            ("github/client.go", true),
            ("Dockerfile-dev", false),
            ("docker-compose.override.yml", false),
            ("docker-compose.prod.yml", true),
            (".env.example", true),
            (".env.test", false),
            ("templates/dev.html", true),
            ("src/cart.test.ts", false),
            ("src/contest.py", true),
            ("server/next/a.js", true),
            (".next/server/a.js", false),
            ("openapi.example.yaml", true),
        ] {
            assert_eq!(own.has(path), expect, "{path}");
        }
    }
}
