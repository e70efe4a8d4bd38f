//! The files of `.hypercare/` that people sign or that say who may: from the work tree, or as they are in a commit.

use std::collections::BTreeMap;

use crate::gates::context::Repo;
use crate::gates::facts::git::{Git, GitError};

const FOLDER: &str = ".hypercare";
pub const SIGNERS: &str = ".hypercare/allowed_signers";
pub const REVOKED: &str = ".hypercare/revoked_keys";
pub const ROLES: &str = ".hypercare/roles.toml";
pub const WAIVERS: &str = ".hypercare/waivers";
pub const ATTESTATIONS: &str = ".hypercare/attestations";

/// What reports call them when head and base differ.
pub const KEYS: [&str; 5] = ["allowed_signers", "revoked_keys", "roles", "waivers", "attestations"];

/// A statement or a signature is some kilobytes; lists of signers are longer.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// More files than this are not read.
const FILES_MAX: usize = 2000;

/// Path to content, the path as seen from the repository's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    pub truncated: bool,
}

impl Shelf {
    /// As it lies on the disk. What cannot be read is not there.
    pub fn of_tree(repo: &Repo) -> Shelf {
        let mut out = Shelf::default();
        for path in [SIGNERS, REVOKED, ROLES] {
            if let Ok(bytes) = repo.read(path, FILE_BYTES_MAX) {
                out.files.insert(path.into(), bytes);
            }
        }
        for folder in [WAIVERS, ATTESTATIONS] {
            let Ok(entries) = std::fs::read_dir(repo.root().join(folder)) else { continue };
            let mut names: Vec<String> = entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
            names.sort();
            for name in names {
                if out.files.len() >= FILES_MAX {
                    out.truncated = true;
                    break;
                }
                let path = format!("{folder}/{name}");
                if let Some(bytes) = wanted(&path).then(|| repo.read(&path, FILE_BYTES_MAX).ok()).flatten() {
                    out.files.insert(path, bytes);
                }
            }
        }
        out
    }

    /// As it is in a commit. Signers of a folder inside a larger repository may stand at its top.
    pub fn of_commit(repo: &Repo, git: &Git, commit: &str) -> Result<Shelf, GitError> {
        let top = git.root().canonicalize().unwrap_or_else(|_| git.root().to_path_buf());
        let prefix = repo.root().strip_prefix(&top).unwrap_or(std::path::Path::new("")).to_string_lossy().into_owned();
        let inside = if prefix.is_empty() { FOLDER.to_string() } else { format!("{prefix}/{FOLDER}") };
        let mut out = Shelf::default();
        out.take(git, commit, &inside)?;
        if !prefix.is_empty() && !out.files.contains_key(SIGNERS) {
            let mut above = Shelf::default();
            above.take(git, commit, FOLDER)?;
            above.files.retain(|path, _| [SIGNERS, REVOKED, ROLES].contains(&path.as_str()));
            out.files.extend(above.files);
        }
        Ok(out)
    }

    fn take(&mut self, git: &Git, commit: &str, folder: &str) -> Result<(), GitError> {
        let listed = git.run(&["ls-tree", "-r", "-l", "-z", "--full-tree", commit, "--", &format!("{folder}/")])?;
        for line in listed.split('\0') {
            let Some((meta, path)) = line.split_once('\t') else { continue };
            let Some(path) = path.strip_prefix(folder).map(|p| format!("{FOLDER}{p}")) else { continue };
            let [mode, _, id, size] = meta.split_whitespace().collect::<Vec<_>>()[..] else { continue };
            let small = size.parse::<u64>().is_ok_and(|size| size <= FILE_BYTES_MAX);
            if !mode.starts_with("100") || !small || !wanted(&path) {
                continue;
            }
            if self.files.len() >= FILES_MAX {
                self.truncated = true;
                break;
            }
            self.files.insert(path, git.run(&["cat-file", "blob", id])?.into_bytes());
        }
        Ok(())
    }

    pub fn text(&self, path: &str) -> Option<std::borrow::Cow<'_, str>> {
        self.files.get(path).map(|bytes| String::from_utf8_lossy(bytes))
    }

    /// Statements in a folder, sorted by path.
    pub fn statements<'s>(&'s self, folder: &'s str) -> impl Iterator<Item = (&'s str, &'s [u8])> {
        let inside = move |path: &str| path.strip_prefix(folder).is_some_and(|p| p.starts_with('/'));
        let json = self.files.iter().filter(move |(path, _)| inside(path) && path.ends_with(".json"));
        json.map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
    }

    /// The signatures beside a statement: `FILE.sig`, `FILE.2.sig`, …
    pub fn signatures<'s>(&'s self, statement: &'s str) -> impl Iterator<Item = std::borrow::Cow<'s, str>> {
        let beside = move |path: &str| {
            let middle = path.strip_prefix(statement).and_then(|p| p.strip_prefix('.'));
            middle.is_some_and(|m| m == "sig" || m.strip_suffix(".sig").is_some_and(|n| n.parse::<u8>().is_ok()))
        };
        self.files.iter().filter(move |(path, _)| beside(path)).map(|(_, bytes)| String::from_utf8_lossy(bytes))
    }

    /// Which of [`KEYS`] are not the same in the two.
    pub fn differences(&self, other: &Shelf) -> Vec<String> {
        let of = |shelf: &Shelf, key: &str| -> BTreeMap<String, Vec<u8>> {
            let named = |path: &str| {
                let rest = path.strip_prefix(FOLDER).and_then(|p| p.strip_prefix('/')).unwrap_or_default();
                rest.split(['/', '.']).next() == Some(key)
            };
            shelf.files.iter().filter(|(p, _)| named(p)).map(|(p, b)| (p.clone(), b.clone())).collect()
        };
        KEYS.into_iter().filter(|key| of(self, key) != of(other, key)).map(String::from).collect()
    }
}

fn wanted(path: &str) -> bool {
    let listed = [WAIVERS, ATTESTATIONS].iter().any(|f| path.strip_prefix(f).is_some_and(|p| p.starts_with('/')));
    [SIGNERS, REVOKED, ROLES].contains(&path) || (listed && (path.ends_with(".json") || path.ends_with(".sig")))
}
