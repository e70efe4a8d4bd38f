//! What stands behind a command's name: package.json scripts, make targets, shell scripts of the repository, Maven's
//! default goal. Read once for all readers.

use std::collections::BTreeMap;

use super::CI_FILE_BYTES_MAX;
use crate::gates::context::Repo;

/// Scripts that a pipeline may call: small, and not thousands.
const SCRIPT_BYTES_MAX: u64 = 64 * 1024;
const SCRIPTS_MAX: usize = 500;

/// Scripts and targets that a command may name.
#[derive(Debug, Clone, Default)]
pub struct Indirect {
    /// package.json scripts by folder (empty for the root) and name.
    pub scripts: BTreeMap<(String, String), String>,
    /// Makefile recipes of the root by target, prerequisites as `make NAME`; the first target's also under no name.
    pub targets: BTreeMap<String, String>,
    /// Shell scripts by path.
    pub shell: BTreeMap<String, String>,
    /// The wheels that cibuildwheel builds are tested: pyproject.toml has a test-command.
    pub wheels_are_tested: bool,
    /// What `mvn` runs without a goal, as the root's pom.xml says.
    pub maven_goal: Option<String>,
}

/// The script or recipe that `npm run x`, `make x` or `sh x` names.
pub fn behind(command: &str, folder: &str, indirect: &Indirect) -> Option<String> {
    let mut words = command.split(' ');
    let tool = words.next()?;
    match tool {
        "npm" | "yarn" | "pnpm" | "bun" => {
            let first = words.next()?;
            let name = match first {
                "run" | "run-script" => words.find(|w| !w.starts_with('-'))?,
                "t" | "tst" => "test",
                // `npm ci` installs; only a few scripts have a command of their own.
                other if tool == "npm" && !matches!(other, "test" | "start") => return None,
                other => other,
            };
            if tool == "bun" && first == "test" {
                return None;
            }
            indirect.scripts.get(&(folder.to_string(), name.to_string())).cloned()
        }
        "make" | "gmake" => {
            let rest: Vec<&str> = words.collect();
            // Another folder's Makefile was not read.
            if !folder.is_empty() || rest.iter().any(|w| w.starts_with("-C") || w.starts_with("-f")) {
                return None;
            }
            let number = |w: &str| w.bytes().all(|b| b.is_ascii_digit());
            let names: Vec<&str> =
                rest.into_iter().filter(|w| !w.starts_with('-') && !w.contains('=') && !number(w)).collect();
            let recipes = if names.is_empty() { vec![""] } else { names };
            let found: Vec<&str> =
                recipes.iter().filter_map(|n| indirect.targets.get(*n)).map(String::as_str).collect();
            (!found.is_empty()).then(|| found.concat())
        }
        "mvn" | "./mvnw" | "mvnw" => {
            let mut goals = words.filter(|w| !w.starts_with('-')).peekable();
            let default = indirect.maven_goal.as_ref().filter(|_| goals.peek().is_none())?;
            Some(format!("mvn {default}"))
        }
        _ => {
            let shells = ["sh", "bash", "zsh", "pwsh", "powershell", ".", "source"];
            let path = if shells.contains(&tool) { words.find(|w| !w.starts_with('-'))? } else { tool };
            let path = path.trim_matches(['"', '\'']).replace('\\', "/");
            let path = path.trim_start_matches("./");
            let here = if folder.is_empty() { path.to_string() } else { format!("{folder}/{path}") };
            indirect.shell.get(&here).or_else(|| indirect.shell.get(path)).cloned()
        }
    }
}

/// Recipes of a Makefile by target, one command a line.
pub fn makefile_targets(text: &str) -> BTreeMap<String, String> {
    let mut targets: BTreeMap<String, String> = BTreeMap::new();
    let mut current: Vec<String> = Vec::new();
    let mut first: Option<String> = None;
    for line in text.replace("\\\n", " ").lines() {
        if let Some(recipe) = line.strip_prefix('\t') {
            let recipe = recipe.trim_start_matches(['@', '+']).trim();
            // A leading dash tells make to go on after a failure.
            let recipe = recipe.strip_prefix('-').map_or(recipe.to_string(), |r| format!("{r} || true"));
            let recipe = recipe.replace("$(MAKE)", "make").replace("${MAKE}", "make");
            for target in &current {
                let body = targets.entry(target.clone()).or_default();
                body.push_str(&recipe);
                body.push('\n');
            }
        } else if let Some((names, needs)) =
            line.split_once(':').filter(|(n, r)| !n.contains(['=', '#', '$']) && !r.starts_with('='))
        {
            current = names.split_whitespace().filter(|n| !n.starts_with('.')).map(str::to_string).collect();
            first = first.or_else(|| current.first().filter(|n| !n.contains('%')).cloned());
            let needs = needs.trim_start_matches(':').split(['#', '|', ';']).next().unwrap_or_default();
            for need in needs.split_whitespace().filter(|n| !n.contains(['$', '=', '/', '.'])) {
                for target in &current {
                    targets.entry(target.clone()).or_default().push_str(&format!("make {need}\n"));
                }
            }
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            current.clear();
        }
    }
    if let Some(body) = first.and_then(|f| targets.get(&f).cloned()) {
        targets.insert(String::new(), body);
    }
    targets
}

/// Blocking: reads manifests and scripts.
pub fn read(repo: &Repo) -> Indirect {
    let mut out = Indirect::default();
    for file in repo.files.iter().filter(|f| !f.path.contains("node_modules/")) {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        if name == "package.json"
            && let Ok(bytes) = repo.read(&file.path, CI_FILE_BYTES_MAX)
            && let Ok(manifest) = serde_json::from_slice::<serde_json::Value>(&bytes)
        {
            for (script, text) in manifest["scripts"].as_object().into_iter().flatten() {
                out.scripts.insert((folder.into(), script.clone()), text.as_str().unwrap_or_default().into());
            }
        } else if folder.is_empty() && (name.to_ascii_lowercase().contains("makefile") || name.ends_with(".mk")) {
            let text = repo.read_text(&file.path, CI_FILE_BYTES_MAX).unwrap_or_default();
            let main = matches!(name, "Makefile" | "makefile" | "GNUmakefile");
            for (target, recipe) in makefile_targets(&text) {
                // An included file adds to what the main one says; it does not name the first target.
                if main || !target.is_empty() {
                    out.targets.entry(target).or_default().push_str(&recipe);
                }
            }
        } else if file.path == "pom.xml" {
            let text = repo.read_text(&file.path, CI_FILE_BYTES_MAX).unwrap_or_default();
            let goal = text.split_once("<defaultGoal>").and_then(|(_, rest)| rest.split_once("</defaultGoal>"));
            out.maven_goal = goal.map(|(goal, _)| goal.split_whitespace().collect::<Vec<_>>().join(" "));
        } else if file.path == "pyproject.toml" {
            let text = repo.read_text(&file.path, CI_FILE_BYTES_MAX).unwrap_or_default();
            out.wheels_are_tested = text.contains("tool.cibuildwheel") && text.contains("test-command");
        } else if is_script(folder, name) && file.bytes <= SCRIPT_BYTES_MAX && out.shell.len() < SCRIPTS_MAX {
            out.shell.insert(file.path.clone(), repo.read_text(&file.path, SCRIPT_BYTES_MAX).unwrap_or_default());
        }
    }
    out
}

/// Shell scripts by their ending, or by standing without one where scripts stand.
fn is_script(folder: &str, name: &str) -> bool {
    let first = folder.split('/').next().unwrap_or_default();
    let usual =
        ["ci", ".ci", "script", "scripts", "bin", "build", ".github", ".gitlab", ".gitlab-ci", ".circleci", "tools"];
    [".sh", ".bash", ".ps1"].iter().any(|e| name.ends_with(e)) || (!name.contains('.') && usual.contains(&first))
}
