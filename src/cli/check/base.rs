//! `check` on a change that is not merged: where requests go, and how many, is read from the base branch's configuration;
//! otherwise a pull request could point the probes, with real credentials, at its author's host (gates.md 0.4).
//!
//! A configuration outside the repository is the operator's own and is taken as it is; so are `--url` and `--set`.

use std::path::{Path, PathBuf};

use super::subject::{self, Which};
use crate::cli::{Exit, Failure};
use crate::config::dom::SourceFile;
use crate::config::expand::ProcessEnv;
use crate::config::{self, Config, Loaded, Secrets};
use crate::gates::facts::{git::Git, walk};
use crate::gates::people::base::{self, Change, Wanted};

/// The configuration to check with, and the change if it is one.
pub async fn apply(loaded: Loaded, which: &Which, option: Option<&str>) -> Result<(Loaded, Option<Change>), Failure> {
    let told = || base::told(|name| std::env::var(name).ok());
    let Some(wanted) = option.map(Wanted::option).or_else(told) else { return Ok((loaded, None)) };
    let folder = subject::choose(&loaded, which)?.repo.unwrap_or_else(|| PathBuf::from("."));
    let work = move || look(loaded, &folder, wanted);
    tokio::task::spawn_blocking(work).await.map_err(|e| Failure::new(Exit::Internal, e.to_string()))?
}

/// Blocking.
fn look(mut loaded: Loaded, folder: &Path, wanted: Wanted) -> Result<(Loaded, Option<Change>), Failure> {
    let repo = walk::open(folder).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let mut change = Change::find(&repo, wanted);
    let top = repo.git.as_ref().map_or(repo.root(), Git::root);
    let Some(inside) = within(&loaded, top) else { return Ok((loaded, Some(change))) };
    let commit = repo.git.as_ref().zip(change.base.commit.clone());
    match commit.map(|(git, commit)| at(git, &commit, &inside)) {
        // Not there yet: the base's configuration is an empty one.
        Some(files) => match files.and_then(read) {
            Ok(agreed) => change.differs = trade(&mut loaded.config, &agreed),
            Err(why) => {
                tracing::warn!("the configuration of {} cannot be read: {why}", change.base.name);
                change.untrusted = trade(&mut loaded.config, &Config::default());
            }
        },
        None => change.untrusted = trade(&mut loaded.config, &Config::default()),
    }
    Ok((loaded, Some(change)))
}

/// Paths of the configuration's files inside the repository; `None`: it lies elsewhere, or there is none.
fn within(loaded: &Loaded, top: &Path) -> Option<Vec<(PathBuf, String)>> {
    let top = top.canonicalize().ok()?;
    let inside = |file: &SourceFile| {
        // Where the name stands and where it leads: a link that the change brings along does not lead out of the rule.
        let folder = file.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let stands = folder.canonicalize().ok().and_then(|folder| Some(folder.join(file.path.file_name()?)));
        let places = [stands, file.path.canonicalize().ok()];
        let name = places.into_iter().flatten().find_map(|p| Some(p.strip_prefix(&top).ok()?.to_path_buf()))?;
        Some((file.path.clone(), name.to_str()?.replace('\\', "/")))
    };
    let found: Vec<_> = loaded.files.iter().filter_map(inside).collect();
    (!found.is_empty()).then_some(found)
}

/// The files as they are in a commit; those that are not there are left out.
fn at(git: &Git, commit: &str, inside: &[(PathBuf, String)]) -> Result<Vec<(PathBuf, String)>, String> {
    let mut out = Vec::new();
    for (path, name) in inside {
        let listed = git.run(&["ls-tree", "--full-tree", commit, "--", name]).map_err(|e| e.to_string())?;
        if let Some(id) = listed.split_whitespace().nth(2) {
            out.push((path.clone(), git.run(&["cat-file", "blob", id]).map_err(|e| e.to_string())?));
        }
    }
    Ok(out)
}

/// One file, or several as the folder of a configuration is read. A file that the change deletes is not looked for: what
/// it held is then not there, which is never more than was agreed on.
fn read(files: Vec<(PathBuf, String)>) -> Result<Config, String> {
    match files.is_empty() {
        true => Ok(Config::default()),
        false => config::load_texts(files, Secrets::MayBeMissing, &ProcessEnv)
            .map(|loaded| loaded.config)
            .map_err(|e| e.to_string()),
    }
}

/// Takes what decides where requests go from `agreed`; names the keys in which the two differ.
fn trade(config: &mut Config, agreed: &Config) -> Vec<String> {
    let mut differs = Vec::new();
    let keys = |config: &Config| {
        [
            ("target", serde_json::json!(config.gates.target)),
            ("safety", serde_json::json!(config.gates.safety)),
            ("actor", serde_json::json!(config.gates.actor)),
            ("database", serde_json::json!(config.gates.database)),
        ]
    };
    for ((key, own), (_, other)) in keys(config).into_iter().zip(keys(agreed)) {
        if own != other {
            differs.push(key.to_string());
        }
    }
    config.gates.target = agreed.gates.target.clone();
    config.gates.safety = agreed.gates.safety.clone();
    config.gates.actor = agreed.gates.actor.clone();
    config.gates.database = agreed.gates.database.clone();
    for (name, service) in &mut config.service {
        let url = agreed.service.get(name).and_then(|s| s.url.clone());
        if service.url != url {
            differs.push(format!("service.{name}.url"));
            service.url = url;
        }
    }
    differs
}
