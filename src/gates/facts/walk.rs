//! One walk of the repository for all gates: what git tracks plus what it neither tracks nor ignores; without git,
//! every file that no ignore file names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::git::Git;
use crate::gates::context::{Repo, RepoFile, on_every_core};

/// More files than this is a checkout of the world, not a product; the rest is left out and `truncated` says so.
pub const FILES_MAX: usize = 300_000;
/// Never part of the product, even when somebody tracks them or has no ignore file.
const SKIPPED: [&str; 3] = ["node_modules", ".git", "hypercare-data"];

#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("{path} is not a folder that can be read: {source}")]
    Folder { path: String, source: std::io::Error },
}

/// Blocking. Reads names and sizes, no content.
pub fn open(dir: &Path) -> Result<Repo, WalkError> {
    let fail = |source| WalkError::Folder { path: dir.display().to_string(), source };
    let root = dir.canonicalize().map_err(fail)?;
    std::fs::read_dir(&root).map_err(fail)?;
    let git = Git::discover(&root);
    // A folder that an outer repository ignores (a build folder, a fixture) is looked at as plain files.
    let files = git.as_ref().and_then(|g| listed(g, &root)).filter(|f| !f.is_empty()).unwrap_or_else(|| walked(&root));
    Ok(Repo::new(root, git, files))
}

fn listed(git: &Git, root: &Path) -> Option<Vec<RepoFile>> {
    let prefix = root.strip_prefix(git.root().canonicalize().ok()?).ok()?.to_string_lossy().replace('\\', "/");
    let seen = git.work_tree();
    let inside = |name: &str| match prefix.as_str() {
        "" => Some(name.to_string()),
        p => name.strip_prefix(p)?.strip_prefix('/').map(String::from),
    };
    let names = seen.tracked().ok()?.chain(seen.untracked());
    Some(sized(root, names.filter_map(inside)))
}

fn walked(root: &Path) -> Vec<RepoFile> {
    let walk = ignore::WalkBuilder::new(root)
        .hidden(false)
        .require_git(false)
        .parents(false)
        .git_global(false)
        .filter_entry(|e| !e.file_name().to_str().is_some_and(|n| SKIPPED.contains(&n)))
        .build();
    let names = walk.flatten().filter(|e| e.file_type().is_some_and(|t| t.is_file())).filter_map(|e| {
        let relative: PathBuf = e.path().strip_prefix(root).ok()?.into();
        Some(relative.to_str()?.replace('\\', "/"))
    });
    sized(root, names)
}

/// Regular files only: no links and nothing below one (they may leave the repository), no submodules, nothing that was
/// deleted.
fn sized(root: &Path, names: impl Iterator<Item = String>) -> Vec<RepoFile> {
    let mut folders: HashMap<String, bool> = HashMap::new();
    let names: Vec<String> = names
        .filter(|n| !n.split('/').any(|part| SKIPPED.contains(&part)))
        .filter(|n| n.rsplit_once('/').is_none_or(|(folder, _)| is_real(root, folder, &mut folders)))
        .collect();
    let bytes = on_every_core(&names, |path| {
        let meta = std::fs::symlink_metadata(root.join(path)).ok()?;
        meta.is_file().then_some(meta.len())
    });
    let both = names.into_iter().zip(bytes);
    let files = both.filter_map(|(path, bytes)| Some(RepoFile { path, bytes: bytes? }));
    let mut files: Vec<RepoFile> = files.take(FILES_MAX).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    files
}

/// The folder and all above it, below the root, are folders and no links. Each is asked once.
fn is_real(root: &Path, folder: &str, known: &mut HashMap<String, bool>) -> bool {
    if let Some(known) = known.get(folder) {
        return *known;
    }
    let above = folder.rsplit_once('/').is_none_or(|(above, _)| is_real(root, above, known));
    let real = above && std::fs::symlink_metadata(root.join(folder)).is_ok_and(|meta| meta.is_dir());
    known.insert(folder.to_string(), real);
    real
}

#[cfg(test)]
mod tests {
    use super::super::git::scratch::Scratch;
    use super::*;

    fn paths(repo: &Repo) -> Vec<&str> {
        repo.files.iter().map(|f| f.path.as_str()).collect()
    }

    #[test]
    fn sees_what_git_would_commit() {
        let repo = Scratch::new();
        repo.write(".gitignore", "*.log\n").write("src/a.js", "1").write("gone.js", "").commit("first");
        repo.write("new.js", "").write("x.log", "").write("ä b.js", "");
        std::fs::remove_file(repo.path().join("gone.js")).unwrap();
        assert_eq!(paths(&open(repo.path()).unwrap()), [".gitignore", "new.js", "src/a.js", "ä b.js"]);
        // A folder of it: names are relative to that folder.
        assert_eq!(paths(&open(&repo.path().join("src")).unwrap()), ["a.js"]);
    }

    #[test]
    fn works_without_git_and_never_follows_links() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("node_modules/x")).unwrap();
        for file in ["node_modules/x/i.js", "a.py", ".env", "b.log", ".gitignore"] {
            std::fs::write(dir.path().join(file), if file == ".gitignore" { "*.log" } else { "" }).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("passwd")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc", dir.path().join("etc")).unwrap();
        let repo = open(dir.path()).unwrap();
        assert!(repo.git.is_none());
        assert_eq!(paths(&repo), [".env", ".gitignore", "a.py"]);
    }

    #[test]
    fn says_what_is_not_a_folder() {
        let error = open(Path::new("/no/such/folder")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder"), "{error}");
    }
}
