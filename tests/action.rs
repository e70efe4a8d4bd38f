//! `action.yml`: every script is sound bash, nothing from outside is pasted into one, and the comment is renewed by its
//! marker. The forge is a stand-in for `gh` that writes down how it was called.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

fn action() -> serde_json::Value {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn step(name: &str) -> String {
    let action = action();
    let steps = action["runs"]["steps"].as_array().unwrap();
    steps.iter().find(|s| s["name"] == name).unwrap()["run"].as_str().unwrap().to_string()
}

#[test]
fn scripts_are_sound_and_take_input_by_environment_only() {
    let action = action();
    for step in action["runs"]["steps"].as_array().unwrap() {
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "{script}");
        let check = Command::new("bash").args(["-n", "-c", script]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}

fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a step with these programs in front of PATH; gives its exit code and output.
fn run(script: &str, dir: &Path, variables: &[(&str, &str)]) -> (i32, String) {
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("PATH", path).env("GITHUB_REPOSITORY", "tea/shop").current_dir(dir);
    command
        .env("GITHUB_OUTPUT", dir.join("output"))
        .env("RUNNER_TEMP", dir)
        .env("FOLDER", dir)
        .env_remove("GITHUB_STEP_SUMMARY");
    let output = command.envs(variables.iter().copied()).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn a_comment_is_written_once_and_then_renewed() {
    let comment = step("Comment");
    for (known, wanted) in [
        ("", "--method POST repos/tea/shop/issues/7/comments"),
        ("42", "--method PATCH repos/tea/shop/issues/comments/42"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        put(&dir.path().join("check.md"), "<!-- hypercare:check shop -->\n## GO\n");
        put(
            &dir.path().join("gh"),
            &format!("#!/bin/sh\necho \"$MARKER :: $*\" >>calls\ncase \"$*\" in *--paginate*) echo {known};; esac\n"),
        );
        let (code, output) = run(&comment, dir.path(), &[("NUMBER", "7")]);
        assert_eq!(code, 0, "{output}");
        let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
        assert!(calls.contains(wanted) && calls.starts_with("<!-- hypercare:check shop -->"), "{calls}");
    }
}

#[test]
fn a_forge_that_refuses_is_a_notice() {
    let dir = tempfile::tempdir().unwrap();
    put(&dir.path().join("check.md"), "<!-- hypercare:check shop -->\n");
    put(&dir.path().join("check.sarif"), "{}");
    put(&dir.path().join("gh"), "#!/bin/sh\nexit 1\n");
    let github = [("NUMBER", "7"), ("GITHUB_REF", "refs/heads/main"), ("GITHUB_SHA", "aa"), ("HEAD_SHA", "bb")];
    for name in ["Comment", "Upload findings"] {
        let (code, output) = run(&step(name), dir.path(), &github);
        assert!(code == 0 && output.contains("::notice::"), "{name} {code} {output}");
    }
}

#[test]
fn the_check_runs_once_and_its_exit_code_decides() {
    let dir = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_hypercare");
    let repo = dir.path().join("repo");
    std::fs::create_dir(&repo).unwrap();
    std::fs::write(repo.join("README.md"), "x").unwrap();
    let home = dir.path().join("data");
    let variables = [
        ("BINARY", binary),
        ("REPO_DIR", repo.to_str().unwrap()),
        ("TARGET", ""),
        ("CONFIG", ""),
        ("STAGE", ""),
        ("ARGS", "--only release.changelog"),
        ("XDG_DATA_HOME", home.to_str().unwrap()),
    ];
    let (code, output) = run(&step("Check"), dir.path(), &variables);
    assert_eq!(code, 0, "{output}");
    let told = std::fs::read_to_string(dir.path().join("output")).unwrap();
    let value =
        |key: &str| told.lines().find_map(|l| l.strip_prefix(&format!("{key}="))).unwrap_or_default().to_string();
    assert!(matches!(value("exit-code").as_str(), "1" | "3"), "{told}\n{output}");
    assert!(matches!(value("decision").as_str(), "no_go" | "undecided"), "{told}");
    for file in ["check.json", "check.sarif", "check.md"] {
        assert!(Path::new(&value("folder")).join(file).exists(), "{file}");
    }
    assert_eq!(run(&step("Decide"), dir.path(), &[("CODE", "3")]).0, 3);
}
