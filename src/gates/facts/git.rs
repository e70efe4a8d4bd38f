//! Questions to git, asked of the `git` program with hooks, file-system monitors and pagers switched off, a time limit
//! and a cap on its output. Blocking: gates ask inside `spawn_blocking`.

use std::io::{BufRead, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::worktree::WorkTree;

#[derive(Debug, Clone)]
pub struct Git {
    root: PathBuf,
    work_tree: Arc<OnceLock<WorkTree>>,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum GitError {
    #[error("git is not on PATH")]
    Missing,
    #[error("git {command}: {message}")]
    Failed { command: String, message: String },
    #[error("git {command} did not end within {seconds} s")]
    TooSlow { command: String, seconds: u64 },
}

/// Output larger than this is cut: the file list of a very large repository is some 20 MiB.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A question about a very large repository on a slow disk takes seconds.
const TIME_MAX: Duration = Duration::from_secs(60);

impl Git {
    /// `None` when `dir` is not inside a work tree, or git is not installed, or it refuses this folder.
    pub fn discover(dir: &Path) -> Option<Git> {
        let at = |root: PathBuf| Git { root, work_tree: Arc::default() };
        let top = at(dir.to_path_buf()).run(&["rev-parse", "--show-toplevel"]).ok()?;
        let top = top.trim_end_matches(['\r', '\n']);
        (!top.is_empty()).then(|| at(PathBuf::from(top)))
    }

    /// As it was when first asked.
    pub fn work_tree(&self) -> &WorkTree {
        self.work_tree.get_or_init(|| WorkTree::ask(self))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder of the repository below git's top level: empty, or ending in `/`.
    pub fn below(&self, folder: &Path) -> String {
        let real = folder.canonicalize().ok().zip(self.root.canonicalize().ok());
        let below =
            real.and_then(|(folder, top)| Some(folder.strip_prefix(top).ok()?.to_string_lossy().replace('\\', "/")));
        below.filter(|path| !path.is_empty()).map(|path| format!("{path}/")).unwrap_or_default()
    }

    fn spawn(&self, args: &[&str], input: Stdio) -> Result<Child, GitError> {
        Command::new("git")
            .arg("--no-pager")
            .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false"])
            // What git keeps in memory of packs: its own limits are for machines that do nothing else.
            .args(["-c", "core.packedGitLimit=24m", "-c", "core.packedGitWindowSize=1m"])
            .args(["-c", "core.deltaBaseCacheLimit=24m"])
            .args(["-c", "protocol.allow=never", "-C"])
            .arg(&self.root)
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C")
            // Variables of an outer git (a hook that runs us) would point elsewhere.
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|_| GitError::Missing)
    }

    /// Runs git and hands each line of its standard output, its end included, to `each`, until that breaks off. Lines
    /// longer than [`LINE_BYTES_MAX`] come in pieces. An error when it does not end within `time`.
    pub fn stream(
        &self,
        args: &[&str],
        time: Duration,
        each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GitError> {
        let child = self.spawn(args, Stdio::null())?;
        self.streamed(args, child, time, each)
    }

    /// The same, with `input` on its standard input.
    pub fn stream_with(
        &self,
        args: &[&str],
        input: String,
        time: Duration,
        each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GitError> {
        let mut child = self.spawn(args, Stdio::piped())?;
        feed(&mut child, input);
        self.streamed(args, child, time, each)
    }

    fn streamed(
        &self,
        args: &[&str],
        mut child: Child,
        time: Duration,
        mut each: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), GitError> {
        let command = args.first().copied().unwrap_or_default().to_string();
        let err = drain(child.stderr.take(), 64 * 1024);
        let Some(out) = child.stdout.take() else { return Err(GitError::Missing) };
        let (child, ended) = (Arc::new(Mutex::new(child)), Arc::new(AtomicBool::new(false)));
        // A reader cannot be told to stop waiting; a git that is gone lets it go.
        let (watched, finished) = (child.clone(), ended.clone());
        let until = Instant::now() + time;
        let watch = std::thread::spawn(move || {
            while !finished.load(Ordering::Relaxed) {
                if Instant::now() >= until {
                    let _ = watched.lock().unwrap_or_else(PoisonError::into_inner).kill();
                    return true;
                }
                std::thread::park_timeout(Duration::from_millis(200));
            }
            false
        });
        let read = lines(std::io::BufReader::with_capacity(256 * 1024, out), &mut each);
        ended.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        let late = watch.join().unwrap_or(false);
        let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(ControlFlow::Break(())) = read {
            let _ = child.kill();
        }
        let failed = |message: String| GitError::Failed { command: command.clone(), message };
        let status = child.wait().map_err(|e| failed(e.to_string()))?;
        match read {
            _ if late => Err(GitError::TooSlow { command, seconds: time.as_secs() }),
            Ok(ControlFlow::Break(())) => Ok(()),
            Err(error) => Err(failed(error.to_string())),
            Ok(ControlFlow::Continue(())) if status.success() => Ok(()),
            Ok(ControlFlow::Continue(())) => Err(failed(first_line(&err.recv_timeout(TIME_MAX).unwrap_or_default()))),
        }
    }

    /// Runs git and returns its standard output (lossy UTF-8).
    pub fn run(&self, args: &[&str]) -> Result<String, GitError> {
        let child = self.spawn(args, Stdio::null())?;
        self.output(args, child)
    }

    /// The same, with `input` on its standard input.
    pub fn run_with(&self, args: &[&str], input: String) -> Result<String, GitError> {
        let mut child = self.spawn(args, Stdio::piped())?;
        feed(&mut child, input);
        self.output(args, child)
    }

    fn output(&self, args: &[&str], mut child: Child) -> Result<String, GitError> {
        let command = args.first().copied().unwrap_or_default().to_string();
        let out = drain(child.stdout.take(), OUTPUT_BYTES_MAX);
        let err = drain(child.stderr.take(), 64 * 1024);
        let Ok(bytes) = out.recv_timeout(TIME_MAX) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(GitError::TooSlow { command, seconds: TIME_MAX.as_secs() });
        };
        let cut = bytes.len() as u64 >= OUTPUT_BYTES_MAX;
        if cut {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|e| GitError::Failed { command: command.clone(), message: e.to_string() })?;
        if !status.success() && !cut {
            let text = err.recv_timeout(TIME_MAX).unwrap_or_default();
            return Err(GitError::Failed { command, message: first_line(&text) });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Runs git in a repository that hypercare itself makes (a proof's, the demo's), as this author, and returns its standard
/// output. No hooks, no signatures, nothing on its standard input, whatever the user's own configuration says.
pub fn as_author(root: &Path, (name, email): (&str, &str), args: &[&str]) -> Result<String, GitError> {
    let git = Git { root: root.to_path_buf(), work_tree: Arc::default() };
    let (name, email) = (format!("user.name={name}"), format!("user.email={email}"));
    let own = ["-c", &name, "-c", &email, "-c", "commit.gpgSign=false", "-c", "tag.gpgSign=false"];
    let command = args.first().copied().unwrap_or_default().to_string();
    git.run(&[&own[..], args].concat()).map_err(|error| match error {
        GitError::Failed { message, .. } => GitError::Failed { command, message },
        GitError::TooSlow { seconds, .. } => GitError::TooSlow { command, seconds },
        GitError::Missing => GitError::Missing,
    })
}

/// On a thread of its own: git may answer before it has read everything.
fn feed(child: &mut Child, input: String) {
    if let Some(mut pipe) = child.stdin.take() {
        std::thread::spawn(move || {
            use std::io::Write as _;
            let _ = pipe.write_all(input.as_bytes());
        });
    }
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or("failed").to_string()
}

/// A line longer than this is data; it comes in pieces.
const LINE_BYTES_MAX: u64 = 1 << 20;

fn lines(mut from: impl BufRead, each: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> std::io::Result<ControlFlow<()>> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        if each(&line).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// Reads a pipe to its end or to `limit` on a thread of its own, so that neither pipe can block the other.
fn drain(pipe: Option<impl Read + Send + 'static>, limit: u64) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(limit).read_to_end(&mut bytes);
        }
        let _ = send.send(bytes);
    });
    receive
}

#[cfg(test)]
pub(crate) mod scratch {
    //! Real repositories for tests of gates: made in a temporary folder, with fixed people and times.

    use std::path::Path;
    use std::process::Command;

    pub(crate) struct Scratch {
        dir: tempfile::TempDir,
    }

    impl Scratch {
        /// An empty repository on branch `main`.
        pub fn new() -> Scratch {
            let repo = Scratch { dir: tempfile::tempdir().unwrap() };
            repo.git(&["init", "--quiet", "--initial-branch=main"]);
            repo
        }
        pub fn path(&self) -> &Path {
            self.dir.path()
        }
        pub fn git(&self, args: &[&str]) -> String {
            self.git_at("2026-11-20T10:00:00Z", args)
        }
        pub fn git_at(&self, when: &str, args: &[&str]) -> String {
            let out = Command::new("git")
                .arg("-C")
                .arg(self.path())
                .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgSign=false"])
                .args(["-c", "tag.gpgSign=false"])
                .args(args)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_SYSTEM", "/dev/null")
                .env("GIT_AUTHOR_DATE", when)
                .env("GIT_COMMITTER_DATE", when)
                .env_remove("GIT_DIR")
                .env_remove("GIT_INDEX_FILE")
                .output()
                .expect("git is needed for this test");
            assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().trim().to_string()
        }
        pub fn write(&self, path: &str, text: &str) -> &Scratch {
            let full = self.path().join(path);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            std::fs::write(full, text).unwrap();
            self
        }
        pub fn commit(&self, message: &str) -> &Scratch {
            self.git(&["add", "--all"]);
            self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
            self
        }
        pub fn tag(&self, name: &str) -> &Scratch {
            self.git(&["tag", "-a", name, "-m", name]);
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scratch::Scratch;
    use super::*;

    #[test]
    fn asks_and_says_what_went_wrong() {
        let repo = Scratch::new();
        repo.write("a", "1").commit("first");
        let git = Git::discover(repo.path()).unwrap();
        assert_eq!(git.run(&["log", "--format=%s"]).unwrap().trim(), "first");
        let error = git.run(&["rev-parse", "--verify", "nothing-here"]).unwrap_err();
        assert!(matches!(error, GitError::Failed { ref command, .. } if command == "rev-parse"), "{error}");
        let hash = git.run_with(&["hash-object", "--stdin"], "1".into()).unwrap();
        assert_eq!(hash.trim(), git.run(&["rev-parse", "HEAD:a"]).unwrap().trim());
        let mut subjects = Vec::new();
        let (minute, log) = (Duration::from_secs(60), ["log", "--format=%s"]);
        repo.commit("second");
        git.stream(&log, minute, |line| {
            subjects.push(String::from_utf8_lossy(line).into_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(subjects, ["second\n", "first\n"]);
        assert_eq!(git.stream(&log, minute, |_| ControlFlow::Break(())), Ok(()));
        let (mut told, head) = (String::new(), git.run(&["rev-parse", "HEAD:a"]).unwrap());
        git.stream_with(&["cat-file", "--batch-check=%(objectsize)"], head, minute, |line| {
            told += &String::from_utf8_lossy(line);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(told, "1\n");
        assert!(git.stream(&["log", "nothing-here"], minute, |_| ControlFlow::Continue(())).is_err());
        // It waits for our answer, which never comes.
        let stuck = git.stream(&["cat-file", "--batch", "--buffer", "--batch-all-objects"], Duration::ZERO, |_| {
            std::thread::park_timeout(Duration::from_millis(500));
            ControlFlow::Continue(())
        });
        assert!(matches!(stuck, Ok(()) | Err(GitError::TooSlow { .. })), "{stuck:?}");
        assert!(Git::discover(tempfile::tempdir().unwrap().path()).is_none());
    }

    #[test]
    fn makes_repositories_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| as_author(dir.path(), ("Tea Shop", "team@tea.example"), args);
        git(&["init", "--quiet", "--initial-branch=main"]).unwrap();
        git(&["commit", "--quiet", "--allow-empty", "--message", "first"]).unwrap();
        assert_eq!(git(&["log", "--format=%s by %cE"]).unwrap(), "first by team@tea.example\n");
        let error = git(&["tag", "--annotate", "v1", "--message", "v1", "nowhere"]).unwrap_err();
        assert!(matches!(&error, GitError::Failed { command, .. } if command == "tag"), "{error}");
    }
}
