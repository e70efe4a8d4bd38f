//! `code.leftover_debug` beside ESLint (`no-console`, `no-debugger`, `no-alert`) and Ruff (`T10`, `T20`), as sets of file and
//! line: they must agree but for the differences that `fixtures/linters/differences.txt` explains one by one. Folders named
//! by `LINTED` (colons between them) are compared too, and precision and recall are told.

#![expect(clippy::print_stdout, reason = "a test tells its figures")]

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// File and line.
type Places = BTreeSet<(String, u64)>;

const JAVASCRIPT: [&str; 8] = ["js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "cts"];
/// So few files that no run has more findings than a gate lists.
const FILES_PER_RUN: usize = 60;

fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said()))
}

/// All that hypercare finds, whatever a comment allows, in programs too.
fn ours(dir: &Path) -> Places {
    let own = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypercare"));
    command.args(["check", "-q", "--no-cache", "--format", "json", "--only", "code.leftover_debug", "--repo"]).arg(dir);
    command.args(["--set", "code.leftover_debug.allow=[]", "--set", "code.leftover_debug.strict=true"]);
    let run = json(command.current_dir(own.path()));
    let findings = run["gates"][0]["findings"].as_array().unwrap();
    assert!(findings.len() < 1000, "more than are listed");
    let same = |f: &&Value| f["rule"] != "focused-test";
    findings.iter().filter(same).map(|f| (f["file"].as_str().unwrap().into(), f["line"].as_u64().unwrap())).collect()
}

/// What the linters find, and files that they cannot parse.
fn theirs(dir: &Path) -> (Places, BTreeSet<String>) {
    let (mut places, mut unparsed) = (Places::new(), BTreeSet::new());
    let relative = |path: &Value| {
        let path = Path::new(path.as_str().unwrap());
        path.strip_prefix(dir).unwrap().to_string_lossy().into_owned()
    };
    let modules = support::root().join("target/test-node/node_modules");
    let config = format!(
        "import ts from '{}/typescript-eslint/dist/index.js';\n\
         const names = ['console', 'window', 'alert', 'confirm', 'prompt'];\n\
         const languageOptions = {{ parser: ts.parser, parserOptions: {{ ecmaFeatures: {{ jsx: true }} }},\n\
           globals: Object.fromEntries(names.map((name) => [name, 'readonly'])) }};\n\
         const rules = {{ 'no-console': 'error', 'no-debugger': 'error', 'no-alert': 'error' }};\n\
         export default [{{ files: ['**/*.{{{}}}'], languageOptions, rules }}];\n",
        modules.display(),
        JAVASCRIPT.join(",")
    );
    std::fs::write(dir.join("eslint.config.mjs"), config).unwrap();
    let mut eslint = Command::new(modules.join(".bin/eslint"));
    let files = json(
        eslint
            .args(["--no-inline-config", "--no-warn-ignored", "--no-error-on-unmatched-pattern", "-f", "json", "src"])
            .current_dir(dir),
    );
    for file in files.as_array().unwrap() {
        for message in file["messages"].as_array().unwrap() {
            let path = relative(&file["filePath"]);
            match message["ruleId"].as_str() {
                Some(_) => drop(places.insert((path, message["line"].as_u64().unwrap()))),
                None => drop(unparsed.insert(path)),
            }
        }
    }
    let mut ruff = Command::new(support::python().with_file_name("ruff"));
    ruff.args(["check", "--isolated", "--no-cache", "--ignore-noqa", "--select", "T10,T20", "--output-format", "json"]);
    for message in json(ruff.arg("src").current_dir(dir)).as_array().unwrap() {
        let path = relative(&message["filename"]);
        match message["code"].as_str().filter(|code| code.starts_with('T')) {
            Some(_) => drop(places.insert((path, message["location"]["row"].as_u64().unwrap()))),
            None => drop(unparsed.insert(path)),
        }
    }
    (places, unparsed)
}

/// A product with these files in its `src`, and loggers, beside which plain prints count.
fn product(files: &[(String, PathBuf)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("package.json"), r#"{"dependencies": {"winston": "3"}}"#).unwrap();
    std::fs::write(dir.path().join("requirements.txt"), "structlog\n").unwrap();
    for (name, from) in files {
        std::fs::copy(from, dir.path().join("src").join(name)).unwrap();
    }
    dir
}

#[test]
fn agrees_with_the_linters_but_for_what_is_explained() {
    let fixtures = support::root().join("tests/fixtures/linters");
    let names = ["cart.js", "view.tsx", "orders.py"];
    let dir = product(&names.map(|name| (name.to_string(), fixtures.join(name))));
    let root = dir.path().canonicalize().unwrap();
    let (ours, (theirs, unparsed)) = (ours(&root), theirs(&root));
    assert_eq!(unparsed, BTreeSet::new());
    assert!(theirs.len() > 20, "the linters found {theirs:?}");
    let line = |side: &str, (file, line): &(String, u64)| format!("{side} {file}:{line}");
    let mut differ: Vec<String> = ours.difference(&theirs).map(|place| line("ours", place)).collect();
    differ.extend(theirs.difference(&ours).map(|place| line("theirs", place)));
    let explained = std::fs::read_to_string(fixtures.join("differences.txt")).unwrap();
    let words = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let explained: Vec<String> = explained.lines().filter(|l| !l.starts_with('#')).map(words).collect();
    assert_eq!(differ, explained);
}

/// `LINTED=/repos/express:/repos/flask cargo test --test linters -- --nocapture`
#[test]
fn agrees_on_real_repositories() {
    for repo in std::env::var("LINTED").unwrap_or_default().split(':').filter(|repo| !repo.is_empty()) {
        compare(Path::new(repo));
    }
}

fn compare(repo: &Path) {
    let listed = Command::new("git").arg("-C").arg(repo).args(["ls-files", "-z"]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let declares = |path: &str| [".d.ts", ".d.mts", ".d.cts"].iter().any(|end| path.ends_with(end));
    let ending = |path: &str| path.rsplit_once('.').map(|(_, ending)| ending.to_string()).unwrap_or_default();
    let code = |path: &&str| ending(path) == "py" || JAVASCRIPT.contains(&ending(path).as_str()) && !declares(path);
    let files: Vec<&str> = listed.split('\0').filter(code).filter(|path| repo.join(path).is_file()).collect();
    let (mut both, mut only_ours, mut only_theirs, mut left_out) = (0, Vec::new(), Vec::new(), 0);
    for chunk in files.chunks(FILES_PER_RUN) {
        let name = |nth: usize, path: &str| format!("f{nth:02}.{}", ending(path));
        let named: Vec<(String, PathBuf)> =
            chunk.iter().enumerate().map(|(nth, path)| (name(nth, path), repo.join(path))).collect();
        let dir = product(&named);
        let root = dir.path().canonicalize().unwrap();
        let (ours, (theirs, unparsed)) = (ours(&root), theirs(&root));
        left_out += unparsed.len();
        let real = |(file, line): &(String, u64)| {
            let nth: usize = file["src/f".len()..].split('.').next().unwrap().parse().unwrap();
            format!("{}:{line}", chunk[nth])
        };
        let parsed = |place: &&(String, u64)| !unparsed.contains(&place.0);
        both += ours.intersection(&theirs).filter(parsed).count();
        only_ours.extend(ours.difference(&theirs).filter(parsed).map(real));
        only_theirs.extend(theirs.difference(&ours).filter(parsed).map(real));
    }
    let share = |others: usize| both as f64 / (both + others).max(1) as f64;
    println!(
        "{}: {} files ({left_out} not parsed there), both {both}, precision {:.4}, recall {:.4}",
        repo.display(),
        files.len(),
        share(only_ours.len()),
        share(only_theirs.len())
    );
    only_ours.iter().for_each(|place| println!("  ours   {place}"));
    only_theirs.iter().for_each(|place| println!("  theirs {place}"));
}
