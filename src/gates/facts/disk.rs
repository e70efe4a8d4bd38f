//! What lies on the disk below the repository's root, tracked, ignored or new: reports of test runs and settings are
//! usually ignored by git. Names only, looked up once a run for all who ask.

use std::fs::{DirEntry, FileType};
use std::path::Path;
use std::sync::Arc;

use crate::gates::context::Repo;

/// Regular files, no links, by path relative to the root with `/`; a folder's files stand before those of its folders.
#[derive(Debug)]
pub struct Disk(pub Vec<String>);

/// A report lies a few folders deep: `packages/web/target/site/cobertura/coverage.xml`.
const DEPTH_MAX: usize = 8;
/// A disk with more is looked at in part; what a gate's configuration names is found anyway.
const ENTRIES_MAX: usize = 200_000;
/// Other people's files, and git's own.
const SKIPPED: [&str; 6] = [".git", "node_modules", "vendor", "venv", ".venv", "site-packages"];

impl Disk {
    pub fn of(repo: &Repo) -> Arc<Disk> {
        repo.once(&[], || Disk::look(&repo.root))
    }

    fn look(root: &Path) -> Disk {
        let (mut files, mut left) = (Vec::new(), ENTRIES_MAX);
        // Nearest folders last, so that they are taken first: names come in the same order on every machine.
        let mut folders = vec![(String::new(), 1)];
        while let Some((folder, depth)) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(root.join(&folder)) else { continue };
            let mut entries: Vec<(String, FileType)> = entries.flatten().filter_map(named).take(left).collect();
            left -= entries.len();
            entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            let path = |name: &str| if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
            files.extend(entries.iter().filter(|(_, kind)| kind.is_file()).map(|(name, _)| path(name)));
            let below = entries
                .iter()
                .rev()
                .filter(|(name, kind)| kind.is_dir() && depth < DEPTH_MAX && !SKIPPED.contains(&name.as_str()));
            folders.extend(below.map(|(name, _)| (path(name), depth + 1)));
        }
        Disk(files)
    }
}

fn named(entry: DirEntry) -> Option<(String, FileType)> {
    Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing::write;

    #[test]
    fn finds_what_git_ignores_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let deep = "a/b/c/d/e/f/g/deep.xml";
        for path in [".gitignore", "b.env", "a/.env", "node_modules/x/.env", ".git/x.env", deep, "a/b/c/d/e/f/g/h/no"] {
            write(dir.path(), path, b"");
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("z")).unwrap();
        assert_eq!(Disk::look(dir.path()).0, [".gitignore", "b.env", "a/.env", deep]);
        assert_eq!(Disk::look(&dir.path().join("none")).0, [""; 0]);
    }
}
