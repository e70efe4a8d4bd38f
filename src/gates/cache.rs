//! Answers of gates that rest on the repository alone, kept between runs and reused while none of what they rest on has
//! changed: the program, the gates' configuration, every file, every ref (gates.md 0.9).
//!
//! They lie in the user's own cache folder, outside the repository: a change under test must not bring its own verdicts.
//! What cannot be read or written there is as if there were none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::context::Repo;
use super::infrastructure::env_encrypted::dotenv_on_disk;
use crate::domain::clock::Timestamp;
use crate::domain::evidence::{hex, sha256_hex};
use crate::domain::verdict::{Outcome, Verdict};

/// Of files that git has not seen as they are, to be read for their hash. More, and nothing is reused.
const CHANGED_FILES_MAX: usize = 5_000;
const CHANGED_BYTES_MAX: u64 = 256 << 20;
/// Findings and evidence are bounded far below it.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub struct Cache {
    /// Of this repository.
    dir: PathBuf,
    /// Of everything that all answers rest on.
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Kept<T> {
    key: String,
    at: Timestamp,
    what: T,
}

impl Cache {
    /// Blocking: asks git. `settings` is everything else that answers rest on. `None`: nothing can be reused.
    pub fn open(base: &Path, repo: &Repo, settings: &serde_json::Value) -> Option<Cache> {
        let mut key = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            key.update(&(part.len() as u64).to_le_bytes());
            key.update(part);
        };
        add(program()?.as_bytes());
        add(settings.to_string().as_bytes());
        add(repo.root.to_str()?.as_bytes());
        let git = repo.git.as_ref()?;
        let seen = git.work_tree();
        seen.state().ok()?.iter().for_each(|part| add(part.as_bytes()));
        add(&[u8::from(seen.shallow)]);
        let names: Vec<&str> = seen.unstaged().ok()?.collect();
        let mut left = CHANGED_BYTES_MAX;
        for name in (names.len() <= CHANGED_FILES_MAX).then_some(names)? {
            add(name.as_bytes());
            let path = git.root().join(name);
            match std::fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_file() => {
                    left = left.checked_sub(meta.len())?;
                    add(std::fs::read(&path).ok().map(|bytes| sha256_hex(&bytes))?.as_bytes());
                }
                Ok(_) => add(b"no file"),
                Err(_) => add(b"gone"),
            }
        }
        // Settings that git ignores lie on the disk all the same, and gates look at them.
        for path in &dotenv_on_disk(repo).0 {
            let meta = std::fs::metadata(repo.root.join(path)).ok()?;
            add(path.as_bytes());
            add(format!("{:?} {:?}", meta.permissions(), meta.modified().ok()?).as_bytes());
            add(sha256_hex(&std::fs::read(repo.root.join(path)).ok()?).as_bytes());
        }
        let folder = &sha256_hex(repo.root.to_str()?.as_bytes())[..16];
        Some(Cache { dir: base.join("gates").join(folder), key: hex(key.finish().as_ref()) })
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<Kept<T>> {
        let path = self.dir.join(format!("{name}.json"));
        if std::fs::metadata(&path).ok()?.len() > ANSWER_BYTES_MAX {
            return None;
        }
        let kept: Kept<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (kept.key == self.key).then_some(kept)
    }

    /// The answer and how old it is.
    pub fn get(&self, gate: &str, now: Timestamp) -> Option<(Outcome, Duration)> {
        let kept = self.read(gate)?;
        let age = Duration::from_millis(now.ms().checked_sub(kept.at.ms())?.try_into().ok()?);
        Some((kept.what, age))
    }

    /// Keeps an answer. "Could not check" is none.
    pub fn put(&self, gate: &str, outcome: &Outcome, now: Timestamp) {
        if outcome.verdict == Verdict::Error {
            return;
        }
        self.write(gate, now, outcome);
    }

    /// What the files say, without a verdict: [`Repo::known`].
    pub fn recall<T: DeserializeOwned>(&self, what: &str) -> Option<T> {
        self.read(&format!("known.{what}")).map(|kept| kept.what)
    }

    pub fn remember<T: Serialize>(&self, name: &str, what: &T) {
        self.write(&format!("known.{name}"), Timestamp::default(), what);
    }

    fn write<T: Serialize>(&self, name: &str, at: Timestamp, what: &T) {
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.dir)?;
            // Two runs may write at once: each its own file, then one rename.
            let own = self.dir.join(format!("{name}.{}", std::process::id()));
            std::fs::write(&own, serde_json::to_vec(&Kept { key: self.key.clone(), at, what })?)?;
            let named = self.dir.join(format!("{name}.json"));
            std::fs::rename(&own, named).inspect_err(|_| drop(std::fs::remove_file(&own)))
        };
        if let Err(error) = write() {
            tracing::debug!(name, %error, "not kept for the next run");
        }
    }
}

/// Which program answered: its version, and its file, because programs under development keep their version.
fn program() -> Option<String> {
    let meta = std::fs::metadata(std::env::current_exe().ok()?).ok()?;
    let changed = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(format!("{} {} {}", env!("CARGO_PKG_VERSION"), meta.len(), changed.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing::{self, NOW, commit, git, write};

    const GATE: &str = "code.leftover_debug";

    fn open(base: &Path, root: &Path) -> Cache {
        Cache::open(base, &testing::open(root), &serde_json::json!({"a": 1})).unwrap()
    }

    #[test]
    fn an_answer_holds_until_something_changes() {
        let base = tempfile::tempdir().unwrap();
        let (dir, _) = testing::git_repo(&[("a.js", "1"), (".gitignore", "*.log\n")]);
        let root = dir.path();
        let pass = Outcome::pass("fine").covered(1, 1).evidence("x", serde_json::json!({"n": 1}));
        open(base.path(), root).put(GATE, &pass, NOW);
        let get = || open(base.path(), root).get(GATE, Timestamp::from_ms(NOW.ms() + 5_000));
        let holds = Some((pass.clone(), Duration::from_secs(5)));
        assert_eq!(get(), holds);
        write(root, "x.log", b"ignored");
        assert_eq!(get(), holds);
        for (change, back) in [("a.js", Some("1")), ("new.js", None)] {
            write(root, change, b"changed");
            assert_eq!(get(), None, "{change}");
            match back {
                Some(text) => write(root, change, text.as_bytes()),
                None => std::fs::remove_file(root.join(change)).unwrap(),
            }
            git(root, &["update-index", "-q", "--refresh"]);
            assert_eq!(get(), holds, "{change} as before");
        }
        write(root, ".gitignore", b"*.log\n.env\n");
        open(base.path(), root).put(GATE, &pass, NOW);
        write(root, ".env", b"A=1");
        assert_eq!(get(), None, "settings that git ignores");
        std::fs::remove_file(root.join(".env")).unwrap();
        assert_eq!(get(), holds);
        git(root, &["branch", "other"]);
        assert_eq!(get(), None, "a new ref");
        git(root, &["branch", "-D", "other"]);
        commit(root, "empty");
        assert_eq!(get(), None, "a new commit");
    }

    #[test]
    fn errors_other_settings_and_plain_folders_are_not_kept() {
        let base = tempfile::tempdir().unwrap();
        let (dir, repo) = testing::git_repo(&[("a.js", "1")]);
        open(base.path(), dir.path()).put(GATE, &Outcome::error("timeout", "slow"), NOW);
        assert_eq!(open(base.path(), dir.path()).get(GATE, NOW), None);
        open(base.path(), dir.path()).put(GATE, &Outcome::pass("fine"), NOW);
        let other = Cache::open(base.path(), &repo, &serde_json::json!({"a": 2})).unwrap();
        assert_eq!(other.get(GATE, NOW), None);
        assert_eq!(open(base.path(), dir.path()).get(GATE, Timestamp::from_ms(NOW.ms() - 1)), None, "from the future");
        let (_plain, folder) = testing::repo(&[("a.js", "1")]);
        assert!(Cache::open(base.path(), &folder, &serde_json::Value::Null).is_none());
    }

    #[test]
    fn what_the_files_say_is_known_until_they_change() {
        let base = tempfile::tempdir().unwrap();
        let (dir, _) = testing::git_repo(&[("a.js", "1")]);
        let known = |n: u32| {
            let mut repo = testing::open(dir.path());
            repo.kept = Some(open(base.path(), dir.path()).into());
            repo.known("n", || n)
        };
        assert_eq!((known(1), known(2)), (1, 1));
        write(dir.path(), "a.js", b"2");
        assert_eq!((known(3), known(4)), (3, 3));
        assert_eq!(testing::open(dir.path()).known("n", || 5), 5, "without a cache");
    }
}
