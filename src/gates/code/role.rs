//! What part a file plays: product code, or one of the kinds that never ship or may speak to a terminal. Decided by
//! path, by the manifests' entry points, and by the first lines. Knows no rule; every gate that reads source asks here.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use super::super::context::Repo;
use super::dotnet::{Project, Projects};

/// The part a source file plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs in production.
    Product,
    /// A command-line entry point: ships, but must print.
    Cli,
    Test,
    /// Build scripts, migrations, seeds, benchmarks, examples, documentation.
    Script,
    /// Settings written as code: `vite.config.ts`, `setup.py`.
    Config,
    /// Component catalogues: `*.stories.tsx`.
    Story,
    /// Somebody else's code, or a build product.
    Vendored,
    /// Written by a program.
    Generated,
}

/// Entry points that the manifests name, read once per run.
#[derive(Debug, Clone, Default)]
pub struct EntryPoints {
    paths: BTreeSet<String>,
    projects: Projects,
}

/// Manifests are small; a larger one is not a manifest.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

impl EntryPoints {
    /// `bin` of every package.json and `[project.scripts]` of every pyproject.toml.
    pub fn read(repo: &Repo) -> EntryPoints {
        let mut paths = BTreeSet::new();
        for file in repo.files.iter() {
            let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
            if Role::of_path(&file.path) == Role::Vendored {
                continue;
            }
            let targets = match name {
                "package.json" => node_bins(repo, &file.path),
                "pyproject.toml" => python_scripts(repo, &file.path),
                _ => continue,
            };
            for target in targets {
                paths.insert(join(folder, &target));
            }
        }
        EntryPoints { paths, projects: Projects::read(repo) }
    }

    /// The .NET project that compiles the file.
    pub fn dotnet(&self, path: &str) -> Option<&Project> {
        path.ends_with(".cs").then(|| self.projects.of(path)).flatten()
    }
}

fn join(folder: &str, path: &str) -> String {
    let path = path.trim_start_matches("./");
    if folder.is_empty() { path.to_string() } else { format!("{folder}/{path}") }
}

fn node_bins(repo: &Repo, path: &str) -> Vec<String> {
    let manifest: serde_json::Value = repo
        .read(path, MANIFEST_BYTES_MAX)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let mut out = match &manifest["bin"] {
        serde_json::Value::String(one) => vec![one.clone()],
        serde_json::Value::Object(many) => many.values().filter_map(|v| v.as_str().map(str::to_string)).collect(),
        _ => Vec::new(),
    };
    for (name, script) in manifest["scripts"].as_object().into_iter().flatten() {
        out.extend(chore(name, script.as_str().unwrap_or_default()).map(str::to_string));
    }
    out
}

/// What a script of package.json starts by hand: `"reset-password": "node extra/reset-password.js"`. `start` and its like
/// are the product.
fn chore<'s>(name: &str, script: &'s str) -> Option<&'s str> {
    let first = name.split([':', '-']).next().unwrap_or(name);
    if matches!(first, "start" | "serve" | "server" | "dev" | "prod" | "production" | "preview" | "worker" | "main") {
        return None;
    }
    let mut words = script.split_whitespace().skip_while(|w| w.contains('=')).peekable();
    if !matches!(words.next(), Some("node" | "tsx" | "ts-node" | "bun")) {
        return None;
    }
    let file = words.find(|w| !w.starts_with('-'))?;
    [".js", ".mjs", ".cjs", ".ts", ".mts"].iter().any(|e| file.ends_with(e)).then_some(file)
}

/// `name = "shop.cli:main"` may live in `shop/cli.py`, `src/shop/cli.py` or a package's `__init__.py`/`__main__.py`.
fn python_scripts(repo: &Repo, path: &str) -> Vec<String> {
    let text = repo.read_text(path, MANIFEST_BYTES_MAX).unwrap_or_default();
    let Ok(manifest) = text.parse::<toml::Table>() else { return Vec::new() };
    let project = manifest.get("project").and_then(|p| p.get("scripts"));
    let poetry = manifest.get("tool").and_then(|t| t.get("poetry")).and_then(|p| p.get("scripts"));
    let mut out = Vec::new();
    for script in [project, poetry].into_iter().flatten().filter_map(toml::Value::as_table).flat_map(|t| t.values()) {
        let Some(module) = script.as_str().and_then(|s| s.split(':').next()) else { continue };
        let module = module.trim().replace('.', "/");
        for root in ["", "src/"] {
            out.extend(["", "/__init__", "/__main__"].map(|end| format!("{root}{module}{end}.py")));
        }
    }
    out
}

/// Folders by what lies in them, wherever in the path they stand.
const FOLDERS: [(Role, &[&str]); 4] = [
    (
        Role::Vendored,
        &[
            "node_modules",
            "bower_components",
            "vendor",
            "vendored",
            "third_party",
            "third-party",
            "dist",
            "out",
            "Pods",
            ".yarn",
            ".mvn",
            ".next",
            ".nuxt",
            "site-packages",
            "target",
            "htmlcov",
            "__pycache__",
        ],
    ),
    (Role::Generated, &["generated", "__generated__"]),
    (
        Role::Test,
        &[
            "test",
            "tests",
            "__tests__",
            "__mocks__",
            "spec",
            "specs",
            "e2e",
            "cypress",
            "playwright",
            "testdata",
            "test-utils",
            "fixtures",
            "step_definitions",
            "androidTest",
            "integration-test",
            "integration-tests",
            "smoke-test",
            "smoke-tests",
        ],
    ),
    (
        Role::Script,
        &[
            "scripts",
            "script",
            "tools",
            "tool",
            "bench",
            "benches",
            "benchmark",
            "benchmarks",
            "examples",
            "example",
            "samples",
            "docs",
            "doc",
            "migrations",
            "migrate",
            "seeds",
            "seeders",
            "commands",
            ".github",
            ".storybook",
            "coverage",
            "build",
            "hack",
            "extra",
            "extras",
            "contrib",
        ],
    ),
];

/// The first of [`FOLDERS`] that names the folder.
static BY_FOLDER: LazyLock<HashMap<&str, usize>> = LazyLock::new(|| {
    let all = FOLDERS.iter().enumerate().rev();
    all.flat_map(|(nth, (_, folders))| folders.iter().map(move |folder| (*folder, nth))).collect()
});

impl Role {
    /// From the path alone.
    pub fn of_path(path: &str) -> Role {
        let mut segments: Vec<&str> = path.split('/').collect();
        let name = segments.pop().unwrap_or_default();
        // Below `src/main/java` a folder is a package: `org/springframework/samples/petclinic` is no sample.
        let jvm = |w: &[&str]| w[..2] == ["src", "main"] && matches!(w[2], "java" | "kotlin" | "scala" | "groovy");
        let packages = segments.windows(3).position(jvm).map_or(segments.len(), |at| at + 3);
        let says = |at: usize, folder: &str| match folder {
            // A script folder only where frameworks put their chores: Django's management/commands.
            "commands" => at > 0 && segments[at - 1] == "management",
            "doc" | "coverage" | "build" | "out" | "target" | "extra" | "extras" | "contrib" => at == 0,
            // `com/example/shop` is a package, where most Java projects begin.
            "example" => at == 0 || !matches!(segments[at - 1], "com" | "org" | "net" | "io"),
            _ => at < packages,
        };
        let known = segments.iter().enumerate().filter(|(at, folder)| says(*at, folder));
        if let Some(nth) = known.filter_map(|(_, folder)| BY_FOLDER.get(bare(folder))).min() {
            return FOLDERS[*nth].0;
        }
        if let Some(role) = name.ends_with(".cs").then(|| segments.iter().find_map(|s| dotnet_folder(s))).flatten() {
            return role;
        }
        // Gradle's sets of sources: `src/dockerTest/java`.
        if segments.windows(2).any(|w| w[0] == "src" && w[1].ends_with("Test")) {
            return Role::Test;
        }
        let lower = name.to_ascii_lowercase();
        let stem = lower.rsplit_once('.').map_or(lower.as_str(), |(s, _)| s);
        let ends = |ends: &[&str]| ends.iter().any(|e| stem.ends_with(e));
        if ends(&[".min", ".bundle", ".chunk"]) || lower.ends_with(".min.js") {
            Role::Vendored
        } else if ends(&[
            ".pb",
            "_pb2",
            "_pb2_grpc",
            "_pb",
            ".generated",
            ".gen",
            "_generated",
            ".pb.gw",
            ".designer",
            ".g.i",
            ".g",
        ]) {
            Role::Generated
        } else if ends(&[".test", ".spec", ".e2e", ".cy", "_test", "_tests", "_spec", ".tests"])
            || stem.starts_with("test_")
            || matches!(stem, "tests" | "test" | "conftest" | "spec_helper" | "rails_helper" | "test_helper")
            || [
                "Test.java",
                "Tests.java",
                "IT.java",
                "TestCase.java",
                "Test.php",
                "TestCase.php",
                "Test.cs",
                "Tests.cs",
            ]
            .iter()
            .any(|e| name.ends_with(e))
        {
            Role::Test
        } else if ends(&[".stories", ".story"]) {
            Role::Story
        } else if is_settings(&lower, stem) {
            Role::Config
        } else if lower == "build.rs" || lower.ends_with(".rake") || matches!(path, "db/seeds.rb" | "manage.py") {
            Role::Script
        } else if segments.iter().any(|s| matches!(*s, "bin" | "cli")) || matches!(stem, "cli" | "__main__") {
            Role::Cli
        } else {
            Role::Product
        }
    }

    /// From path, manifests and text. `text` may be the file's beginning only.
    pub fn of(path: &str, text: &[u8], entries: &EntryPoints) -> Role {
        let by_path = Role::of_path(path);
        if by_path != Role::Product {
            return by_path;
        }
        let head = String::from_utf8_lossy(&text[..text.len().min(HEAD_BYTES)]);
        if is_generated(&head) {
            Role::Generated
        } else if is_minified(text) || is_a_copy(path, &head) {
            Role::Vendored
        } else if entries.paths.contains(path)
            || entries.dotnet(path).is_some_and(|project| project.console)
            || head.starts_with("#!")
            // No program can import `update-data.py`; somebody starts it.
            || path.ends_with(".py") && path.rsplit('/').next().is_some_and(|name| name.contains('-'))
            || imports_a_cli_library(path, &head)
        {
            Role::Cli
        } else {
            Role::Product
        }
    }

    /// Does it run where users are?
    pub fn ships(self) -> bool {
        matches!(self, Role::Product | Role::Cli)
    }
}

/// `old_migrations` and `post_migrations` are migrations.
fn bare(folder: &str) -> &str {
    if folder.ends_with("_migrations") { "migrations" } else { folder }
}

/// A project's folder has its name: `Shop.Api.Tests`, `Shop.IntegrationTests`.
fn dotnet_folder(segment: &str) -> Option<Role> {
    let last = segment.rsplit('.').next().unwrap_or(segment);
    match last {
        "Test" | "Testing" | "TestUtilities" | "TestHelpers" => Some(Role::Test),
        "Benchmarks" | "Benchmark" | "Samples" => Some(Role::Script),
        _ => last.ends_with("Tests").then_some(Role::Test),
    }
}

/// Settings written as code, by lower-case name and its stem.
fn is_settings(name: &str, stem: &str) -> bool {
    let script = [".js", ".ts", ".mjs", ".cjs", ".mts", ".cts"].iter().any(|e| name.ends_with(e));
    let suffix =
        [".config", ".conf"].iter().any(|e| stem.ends_with(e)) || (stem.starts_with('.') && stem.ends_with("rc"));
    let tool = ["webpack.", "rollup.", "vite.", "gulpfile", "gruntfile"].iter().any(|t| stem.starts_with(t));
    (script && (suffix || tool)) || matches!(name, "setup.py" | "noxfile.py" | "fabfile.py" | "rakefile")
}

/// Imports and markers stand at the top.
const HEAD_BYTES: usize = 8 * 1024;

/// Libraries that only a command-line program uses, as its language imports them: what it prints is its answer.
const CLI_LIBRARIES: [(&[&str], &[&str]); 6] = [
    (
        &["js", "mjs", "cjs", "ts", "mts", "cts"],
        &["'commander'", "\"commander\"", "'yargs'", "\"yargs\"", "'@oclif/core'", "\"@oclif/core\""],
    ),
    (
        &["py"],
        &[
            "import argparse",
            "import click",
            "from click",
            "from argparse",
            "from typer",
            "import typer",
            "import docopt",
            "from docopt",
            "import fire",
        ],
    ),
    (&["go"], &["spf13/cobra", "urfave/cli", "alecthomas/kong"]),
    (&["rs"], &["use clap", "clap::", "structopt", "lexopt", "pico_args"]),
    (&["rb"], &["OptionParser", "< Thor"]),
    (&["php", "java"], &["Symfony\\Component\\Console", "picocli"]),
];

fn imports_a_cli_library(path: &str, head: &str) -> bool {
    let Some((_, ending)) = path.rsplit_once('.') else { return false };
    let libraries = CLI_LIBRARIES.iter().filter(|(endings, _)| endings.contains(&ending)).flat_map(|(_, l)| *l);
    let whole = |at: usize| !head[at..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    libraries.into_iter().any(|library| head.match_indices(library).any(|(at, found)| whole(at + found.len())))
}

/// The convention of Go (`// Code generated … DO NOT EDIT.`) and of most generators (`@generated`), in the first lines.
fn is_generated(head: &str) -> bool {
    head.lines().take(10).any(|line| {
        let lower = line.to_ascii_lowercase();
        (lower.contains("generated") && lower.contains("do not edit"))
            || line.contains("@generated")
            || lower.contains("<auto-generated")
            || lower.contains("this file is automatically generated")
            || lower.contains("autogenerated by")
    })
}

/// A library that was copied in beside the product's own scripts: it opens with its licence and its version.
fn is_a_copy(path: &str, head: &str) -> bool {
    const FOLDERS: [&str; 7] = ["static", "public", "assets", "resources", "webapp", "wwwroot", "htdocs"];
    let script = path.ends_with(".js") && path.split('/').any(|segment| FOLDERS.contains(&segment));
    let opening: String = head.trim_start().lines().take(12).collect::<Vec<_>>().join("\n");
    let licence = ["/*!", "@license", "BEGIN LICENSE", "@preserve"].iter().any(|mark| opening.contains(mark));
    let version = opening.as_bytes().windows(3).any(|w| w[0].is_ascii_digit() && w[1] == b'.' && w[2].is_ascii_digit());
    script && licence && version
}

/// Lines of a bundle are long; people's are not.
const MINIFIED_LINE_BYTES: usize = 500;
const MINIFIED_MIN_BYTES: usize = 5_000;

fn is_minified(text: &[u8]) -> bool {
    text.len() >= MINIFIED_MIN_BYTES
        && text.len() / (text.iter().filter(|b| **b == b'\n').count() + 1) > MINIFIED_LINE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_the_role() {
        for (path, role) in [
            ("src/cart.js", Role::Product),
            ("server.js", Role::Product),
            ("public/js/app.js", Role::Product),
            ("src/commands/order.ts", Role::Product),
            ("src/build/plan.ts", Role::Product),
            ("src/latest.js", Role::Product),
            ("src/contest.py", Role::Product),
            ("src/cart.test.js", Role::Test),
            ("src/__tests__/cart.js", Role::Test),
            ("cart_test.go", Role::Test),
            ("tests/test_cart.py", Role::Test),
            ("src/main/java/shop/Contest.java", Role::Product),
            ("src/main/java/org/springframework/samples/petclinic/Owner.java", Role::Product),
            ("examples/src/main/java/org/shop/Owner.java", Role::Script),
            ("charts/stack/hack/sync_rules.py", Role::Script),
            ("src/main/java/com/example/shop/Cart.java", Role::Product),
            ("src/main/java/example/Cart.java", Role::Script),
            ("src/test/java/shop/CartTest.java", Role::Test),
            ("spec/cart_spec.rb", Role::Test),
            ("scripts/release.js", Role::Script),
            ("build.rs", Role::Script),
            ("shop/management/commands/reindex.py", Role::Script),
            ("vite.config.ts", Role::Config),
            ("webpack.prod.js", Role::Config),
            (".eslintrc.js", Role::Config),
            ("setup.py", Role::Config),
            ("src/setup.ts", Role::Product),
            ("shop/tasks.py", Role::Product),
            ("src/Button.stories.tsx", Role::Story),
            ("bin/shop.js", Role::Cli),
            ("src/cli.ts", Role::Cli),
            ("node_modules/a/index.js", Role::Vendored),
            ("static/jquery.min.js", Role::Vendored),
            ("src/Shop.Api/Cart.cs", Role::Product),
            ("tests/Cart.cs", Role::Test),
            ("Shop.Api.Tests/Cart.cs", Role::Test),
            ("src/CartTests.cs", Role::Test),
            ("src/Contest.cs", Role::Product),
            ("src/Main.Designer.cs", Role::Generated),
            ("mod/src/dockerTest/java/A.java", Role::Test),
            ("src/Test/A.java", Role::Test),
            (".mvn/wrapper/A.java", Role::Vendored),
            ("api/shop.pb.go", Role::Generated),
            ("api/shop_pb2.py", Role::Generated),
        ] {
            assert_eq!(Role::of_path(path), role, "{path}");
        }
    }

    #[test]
    fn what_npm_scripts_start_by_hand() {
        assert_eq!(chore("reset-password", "node extra/reset-password.js"), Some("extra/reset-password.js"));
        assert_eq!(chore("seed", "NODE_ENV=x tsx --env-file=.env db/seed.ts"), Some("db/seed.ts"));
        for (name, script) in
            [("start", "node server.js"), ("start:prod", "node dist/main.js"), ("test", "jest"), ("x", "node -e 1")]
        {
            assert_eq!(chore(name, script), None, "{name}: {script}");
        }
        for (path, role) in [
            ("db/old_migrations/1_a.rb", Role::Script),
            ("extra/a.js", Role::Script),
            ("src/extra/a.js", Role::Product),
        ] {
            assert_eq!(Role::of_path(path), role, "{path}");
        }
    }

    #[test]
    fn text_tells_the_rest() {
        let none = EntryPoints::default();
        let of = |path: &str, text: &str| Role::of(path, text.as_bytes(), &none);
        assert_eq!(of("src/a.go", "// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a\n"), Role::Generated);
        assert_eq!(of("src/a.py", "import argparse\n"), Role::Cli);
        assert_eq!(of("src/a.ts", "import clickhouse from 'clickhouse'\n"), Role::Product);
        assert_eq!(of("src/a.py", "import clickhouse\n"), Role::Product);
        assert_eq!(of("src/a.js", "#!/usr/bin/env node\n"), Role::Cli);
        assert_eq!(of("src/update-data.py", "print(1)\n"), Role::Cli);
        let copy = "/*!\n * jQuery Form Plugin\n * version: 3.51.0\n */\nconsole.log(1)\n";
        assert_eq!((of("web/static/form.js", copy), of("src/form.js", copy)), (Role::Vendored, Role::Product));
        assert_eq!(of("src/a.js", &"a=1;".repeat(2000)), Role::Vendored);
        assert_eq!(of("src/a.js", &"let a = 1\n".repeat(2000)), Role::Product);
    }
}
