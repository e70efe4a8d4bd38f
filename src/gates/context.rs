//! What a gate is given: repository, facts, target, release identity, configuration, budgets, clock, earlier outcomes.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::baseline::Baseline;
use super::cache::Cache;
use super::evidence::{Kept, Reports};
use super::facts::Facts;
use super::people::People;
use super::people::attestation::Attestation;
use super::people::base::Wanted;
use super::sweep::{Found, Reader, Swept};
use crate::domain::clock::{SharedClock, Timestamp};
use crate::domain::fingerprint::FingerprintKey;
use crate::domain::release::ReleaseId;
use crate::domain::service::Profile;
use crate::domain::verdict::{GateResult, Outcome};
use crate::net::NetError;
use crate::net::safety::{Guard, Intent, Prober, Target};

/// One text or binary file of the repository, by its path with `/` relative to the repository's root.
#[derive(Debug, Clone)]
pub struct RepoFile {
    pub path: String,
    pub bytes: u64,
}

/// The repository as walked once for all gates: tracked files in a git repository (untracked-unignored ones too),
/// every file not ignored elsewhere.
#[derive(Debug, Clone)]
pub struct Repo {
    pub root: PathBuf,
    /// Is it a git repository (with git on PATH)?
    pub git: Option<super::facts::git::Git>,
    /// Sorted by path.
    pub files: Arc<Vec<RepoFile>>,
    /// Findings that were there before; empty unless a run read it.
    pub baseline: Arc<Baseline>,
    /// What earlier runs have found in the same files; `None`: nothing is reused.
    pub kept: Option<Arc<Cache>>,
    asked: Asked,
}

/// Answers to [`Repo::once`], by what they are and whom they leave out.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Answers>>);
type Answers = HashMap<(TypeId, Vec<String>), Arc<dyn Any + Send + Sync>>;

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Asked")
    }
}

/// Files larger than this are not read as source.
pub const SOURCE_FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

impl Repo {
    pub fn new(root: PathBuf, git: Option<super::facts::git::Git>, files: Vec<RepoFile>) -> Repo {
        Repo { root, git, files: Arc::new(files), baseline: Arc::default(), kept: None, asked: Asked::default() }
    }
    /// The same repository without the files that `keep` refuses.
    pub fn only(&self, keep: impl Fn(&RepoFile) -> bool) -> Repo {
        let files = self.files.iter().filter(|f| keep(f)).cloned().collect();
        Repo { baseline: self.baseline.clone(), ..Repo::new(self.root.clone(), self.git.clone(), files) }
    }
    /// What several gates ask of the same files, worked out by whoever asks first. The answer is known by its type and by
    /// the patterns that it leaves out: one type, one question.
    pub fn once<T: Send + Sync + 'static>(&self, exclude: &[String], work: impl FnOnce() -> T) -> Arc<T> {
        let slot = {
            let mut asked = self.asked.0.lock().unwrap_or_else(PoisonError::into_inner);
            let empty = || Arc::new(OnceLock::<Arc<T>>::new()) as Arc<dyn Any + Send + Sync>;
            asked.entry((TypeId::of::<T>(), exclude.to_vec())).or_insert_with(empty).clone()
        };
        match slot.downcast::<OnceLock<Arc<T>>>() {
            Ok(slot) => slot.get_or_init(|| Arc::new(work())).clone(),
            Err(_) => Arc::new(work()),
        }
    }
    /// What the files say and took long to find, as an earlier run has found it in the same files, or found now. It rests
    /// on files, refs and configuration alone, and holds no verdict.
    pub fn known<T: Serialize + DeserializeOwned>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        self.recall(name).unwrap_or_else(|| {
            let found = work();
            self.remember(name, &found);
            found
        })
    }
    pub fn recall<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.kept.as_ref()?.recall(name)
    }
    pub fn remember<T: Serialize>(&self, name: &str, found: &T) {
        if let Some(cache) = &self.kept {
            cache.remember(name, found);
        }
    }
    /// Permission bits of a file, where the system has them.
    pub fn mode(&self, path: &str) -> Option<u32> {
        #[cfg(unix)]
        return {
            use std::os::unix::fs::PermissionsExt as _;
            self.root.join(path).metadata().ok().map(|m| m.permissions().mode() & 0o777)
        };
        #[cfg(not(unix))]
        None
    }
    /// Reads a file of the repository, at most `limit` bytes; errors name the path. Never leaves the root through a link.
    pub fn read(&self, path: &str, limit: u64) -> std::io::Result<Vec<u8>> {
        use std::io::Read as _;
        if let Ok(nth) = self.files.binary_search_by(|file| file.path.as_str().cmp(path)) {
            return self.read_listed(&self.files[nth], limit);
        }
        let full = self.root.join(path);
        let real = full.canonicalize()?;
        if !real.starts_with(self.root.canonicalize()?) {
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, "link leaves the repository"));
        }
        let mut out = Vec::new();
        std::fs::File::open(real)?.take(limit).read_to_end(&mut out)?;
        Ok(out)
    }
    /// All of a file of [`Repo::files`], at most `limit` bytes: the walk has seen that it lies within.
    pub fn read_listed(&self, file: &RepoFile, limit: u64) -> std::io::Result<Vec<u8>> {
        use std::io::Read as _;
        // One byte more, so that the end is seen without another look.
        let mut out = Vec::with_capacity(file.bytes.min(limit) as usize + 1);
        std::fs::File::open(self.root.join(&file.path))?.take(limit).read_to_end(&mut out)?;
        Ok(out)
    }
    /// Lossy UTF-8 of [`Repo::read`].
    pub fn read_text(&self, path: &str, limit: u64) -> std::io::Result<String> {
        self.read(path, limit).map(|b| String::from_utf8_lossy(&b).into_owned())
    }
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// What the load gate hands to `monitoring.metrics` for reconciliation, and to the watch as capacity.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct LoadTotals {
    pub requests: u64,
    pub by_status: BTreeMap<u16, u64>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    pub achieved_rps: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

/// What only the store knows; the caller reads it, because gates do not know the store.
#[derive(Debug, Clone, Default)]
pub struct Receipts {
    pub announcements: Vec<AnnouncementReceipt>,
    /// Imported reports, newest first.
    pub evidence: Vec<Kept>,
    /// When the service is to go live: of the launch that is planned.
    pub launch_at: Option<Timestamp>,
}

/// One channel's answer to one announcement.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct AnnouncementReceipt {
    pub version: Option<String>,
    pub commit: Option<String>,
    pub channel: String,
    pub at: Timestamp,
    /// `pending`, `delivered`, `dead`.
    pub state: String,
    pub remote_id: Option<String>,
    pub acked_by: Option<String>,
}

/// Called with (gate id, what it does now).
pub type Progress = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Handed to every gate. Shared; interior mutability only where gates pass something on.
pub struct GateContext {
    pub service: String,
    /// `None`: no repository was given or found.
    pub repo: Option<Repo>,
    pub facts: Arc<Facts>,
    pub profile: Profile,
    /// The target in force, usually staging. `None`: none configured.
    pub target: Option<Target>,
    /// `Some(reason)` when preflight found the target unreachable: gates that need it answer `error unreachable`.
    pub unreachable: Option<String>,
    pub rid: ReleaseId,
    pub config: Arc<super::Config>,
    pub guard: Arc<Guard>,
    pub clock: SharedClock,
    /// `--release`: no cache, a tag is demanded, a dirty tree refused.
    pub release_mode: bool,
    /// `--allow-exec` on the command line.
    pub allow_exec: bool,
    pub receipts: Receipts,
    /// Reports of other tools; gates ask [`GateContext::evidence_for`].
    pub evidence: Reports,
    /// As the CI tells it; what grew is measured against it.
    pub wanted_base: Option<Wanted>,
    /// Names of the configured channels (for `release.announcement`).
    pub channels: Vec<String>,
    /// Results of gates that ended, by id.
    pub earlier: Mutex<BTreeMap<String, GateResult>>,
    /// Left by `performance.load`.
    pub load_totals: Mutex<Option<LoadTotals>>,
    /// What the read of every file gave, by gate.
    pub swept: Swept,
    /// The product's routes, made when the first gate asks.
    pub inventory: super::inventory::Slot,
    /// Actors who have signed in.
    pub sessions: super::actors::Sessions,
    /// Answers of earlier runs. `None`: nothing is reused.
    pub cache: Option<Arc<Cache>>,
    /// What people have signed, and who may.
    pub people: Arc<People>,
    /// Names the secrets that are found, beside their places. `None`: places alone.
    pub fingerprint_key: Option<FingerprintKey>,
    /// One live line per running gate: (gate id, what it does now).
    pub progress: Progress,
}

impl GateContext {
    /// Attestations of a gate that count for this release, newest first: by somebody known, in the role that the gate asks
    /// for, neither lapsed nor overtaken by a change. `subject` names a part of the gate, as a flow of `release.qa`.
    pub fn attested<'c>(&'c self, gate: &'c str) -> impl Iterator<Item = &'c Attestation> {
        self.people.attested(gate)
    }

    /// The prober of a gate with its own budget.
    pub fn prober(&self, gate: &str, intent: Intent) -> Prober {
        self.guard.prober(gate, intent)
    }

    /// The target, or the outcome to return without one.
    pub fn need_target(&self) -> Result<&Target, Box<Outcome>> {
        if let Some(why) = &self.unreachable {
            return Err(Box::new(
                Outcome::error("unreachable", why.clone()).hint("start the target, or correct --url"),
            ));
        }
        self.target.as_ref().ok_or_else(|| {
            Box::new(
                Outcome::error("no-target", "no target to look at")
                    .hint("give --url URL, or set url in [service.NAME], or [gates] target"),
            )
        })
    }

    /// The repository, or the outcome to return without one.
    pub fn need_repo(&self) -> Result<&Repo, Box<Outcome>> {
        self.repo.as_ref().ok_or_else(|| {
            Box::new(
                Outcome::error("no-repository", "no repository to look at")
                    .hint("give --repo DIR, or set repo in [service.NAME]"),
            )
        })
    }

    /// What `judge` says of the repository, asked off the async threads; without a repository, that.
    pub async fn in_repo(&self, judge: impl FnOnce(&Repo, &super::Config) -> Outcome + Send + 'static) -> Outcome {
        match self.need_repo() {
            Ok(repo) => {
                let (repo, config) = (repo.clone(), self.config.clone());
                off_thread(move || judge(&repo, &config)).await
            }
            Err(outcome) => *outcome,
        }
    }

    /// The same with a gate's reader and what it made of the files.
    pub async fn in_sweep<R: Reader>(
        &self,
        gate: &str,
        judge: impl FnOnce(&Repo, &super::Config, &R, Found<R>) -> Outcome + Send + 'static,
    ) -> Outcome {
        if let Err(outcome) = self.need_repo() {
            return *outcome;
        }
        let swept = match self.swept.take::<R>(gate) {
            Some(Ok(swept)) => swept,
            Some(Err(said)) => {
                return Outcome::error("panicked", format!("the gate stopped on a fault of its own: {said}"))
                    .hint("this is a bug in hypercare; the other gates are not touched by it");
            }
            None => {
                return Outcome::error("timeout", "the repository's files were not read in time")
                    .hint("name a smaller folder with --repo");
            }
        };
        self.in_repo(move |repo, config| judge(repo, config, &swept.0, swept.1)).await
    }

    /// The git repository, or the outcome to return without one.
    pub fn need_git(&self) -> Result<&super::facts::git::Git, Box<Outcome>> {
        self.need_repo()?.git.as_ref().ok_or_else(|| {
            Box::new(
                Outcome::error("not-git", "the folder is not a git repository, or git is not on PATH")
                    .hint("run in a clone of the repository, with git installed"),
            )
        })
    }
}

/// Runs work that reads files or burns CPU off the async threads. A panic travels on to the runner's guard.
pub async fn off_thread(work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        Err(_) => Outcome::error("stopped", "the run was stopped before the gate had ended"),
    }
}

/// `work` on each item, on as many threads as there are processors; what it gives, in the order of the items.
pub fn on_every_core<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(items.len().max(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(nth) else { return };
                    let result = work(item);
                    results.lock().unwrap_or_else(|e| e.into_inner()).push((nth, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    results.sort_by_key(|(nth, _)| *nth);
    results.into_iter().map(|(_, result)| result).collect()
}

/// What a gate answers when the target could not be asked. `refused` ends the run with exit code 4.
pub fn not_asked(error: &NetError) -> Outcome {
    match error {
        NetError::Refused(why) => Outcome::error("refused", why.clone()),
        NetError::Stopped(why) => Outcome::error("stopped", why.clone()),
        NetError::Timeout(_) => {
            Outcome::error("timeout", error.to_string()).hint("see whether the target still answers")
        }
        _ => Outcome::error("unreachable", error.to_string()).hint("start the target, or correct --url"),
    }
}
