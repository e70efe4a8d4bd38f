//! One run of the checklist, from a folder and a URL to a [`GateRun`]. `check`, the daemon and the demo all call
//! [`run_gates`]; the caller saves what comes back.
//!
//! Prepares (walk, facts, identity, target, preflight), hands over to `runner.rs`, lays attestations and waivers over the results and
//! lets `decision.rs` add them up. Knows no store and no command line.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::baseline::Baseline;
use super::cache::Cache;
use super::context::{Progress, Receipts, Repo};
use super::evidence::Reports;
use super::facts::walk::{self, WalkError};
use super::facts::{Facts, rid};
use super::people::{self, People, attestation, base};
use super::runner::{self, NoSuchGate, Selection};
use super::waiver;
use super::{Config, Gate, GateContext, Lock, decision};
use crate::domain::clock::SharedClock;
use crate::domain::evidence::Evidence;
use crate::domain::fingerprint::FingerprintKey;
use crate::domain::service::{Profile, ServiceConfig};
use crate::domain::suppression;
use crate::domain::verdict::GateRun;
use crate::net::safety::{Guard, Intent, Target};
use crate::net::{Client, NetError, address, redact_url};

pub const SCHEMA: &str = "hypercare.check/v1";
/// Who asks for the one request before all others.
const PREFLIGHT: &str = "preflight";

/// Everything a run needs. Paths are resolved; secrets stay references.
pub struct GateInputs {
    pub service: String,
    pub service_config: ServiceConfig,
    pub config: Config,
    /// Wins over the service's `repo`. Neither: no repository.
    pub repo: Option<PathBuf>,
    /// Wins over the service's `url` and the configured targets' choice.
    pub url: Option<Url>,
    /// Names of the configured channels.
    pub channels: Vec<String>,
    pub receipts: Receipts,
    /// `RUNS/ID/requests.ndjson` is the request ledger; usually `.hypercare/runs` of the project.
    pub runs_dir: PathBuf,
    pub client: Client,
    pub clock: SharedClock,
    /// Where answers are kept between runs, outside the repository. `None`: nothing is reused.
    pub cache_dir: Option<PathBuf>,
    pub options: Options,
    pub progress: Progress,
    /// Cancel it and the run ends within a second, with what it has.
    pub stop: CancellationToken,
}

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub selection: Selection,
    /// Nothing reused, a tag demanded, a dirty tree refused.
    pub release: bool,
    /// Commands named in the repository may run.
    pub allow_exec: bool,
    /// What the CI says it builds: binds reports that its own job left in the work tree.
    pub ci_commit: Option<String>,
    /// A change that is not merged is under check: what people sign is read from its base.
    pub change: Option<base::Change>,
    /// `HYPERCARE_KEY`: fingerprints of secrets name the value too.
    pub fingerprint_key: Option<FingerprintKey>,
}

/// What came of it.
#[derive(Debug)]
pub struct Checked {
    pub run: GateRun,
    /// (gate, item) in registry order, for the ledger.
    pub evidence: Vec<(String, Evidence)>,
    pub facts: Arc<Facts>,
    pub profile: Profile,
    /// A gate was refused for safety: exit code 4.
    pub refused: Option<String>,
}

/// Why there is no run at all. Trouble inside a run is a gate's `error`.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Repo(#[from] WalkError),
    #[error(transparent)]
    Gate(#[from] NoSuchGate),
    #[error("nothing is left to run: --only, --skip and --stage leave no gate")]
    Nothing,
    #[error("the work tree has changes, so this release could not be reproduced")]
    Dirty,
    #[error("cannot write the request ledger in {path}: {source}")]
    RunDir { path: String, source: std::io::Error },
    #[error(transparent)]
    Refused(NetError),
}

/// Runs the checklist once.
pub async fn run_gates(inputs: GateInputs) -> Result<Checked, RunError> {
    let GateInputs { service, service_config, config, runs_dir, clock, options, stop, .. } = inputs;
    let (started_at, begun) = (clock.now(), clock.monotonic());
    let gates = options.selection.of(super::all())?;
    if gates.is_empty() {
        return Err(RunError::Nothing);
    }
    let (target, targets) = choose_target(&config, &service_config, inputs.url.as_ref());
    let url = target.as_ref().map(|t| redact_url(&t.url));
    let folder = inputs.repo.or_else(|| service_config.repo.clone());
    let wanted = config.version.clone();
    let wanted_base = options.change.as_ref().map(|change| change.wanted.clone());
    let base = wanted_base.clone();
    let mut seen = off_thread(move || look(folder.as_deref(), wanted.as_deref(), url, base.as_ref())).await?;
    if options.release && seen.identity.rid.dirty {
        return Err(RunError::Dirty);
    }
    let (profile, because) = match service_config.profile {
        Profile::Auto => seen.facts.profile(),
        set => (set, format!("profile = \"{}\" is set", set.word())),
    };

    let reports = {
        let (kept, repo, name) = (inputs.receipts.evidence.clone(), seen.repo.clone(), service.clone());
        let (ci_commit, now) = (options.ci_commit.clone(), started_at);
        off_thread(move || Reports::gather(&kept, repo.as_ref(), &name, ci_commit.as_deref(), now)).await
    };
    let people = match seen.repo.clone() {
        Some(repo) => {
            let about = people::About {
                service: service.clone(),
                rid: seen.identity.rid.clone(),
                external: config.code.review.external,
                change: options.change.clone(),
            };
            Arc::new(off_thread(move || People::open(&repo, &about, started_at)).await)
        }
        None => Arc::new(People::nobody(options.change.as_ref())),
    };
    let kept = !options.release && !options.allow_exec && gates.iter().any(|gate| gate.keeps());
    let cache = match inputs.cache_dir.filter(|_| kept) {
        Some(base) => {
            let settings = serde_json::json!({
                "config": config, "profile": profile.word(), "evidence": reports.key(started_at),
                "base": wanted_base.as_ref().and_then(|w| w.branch.as_deref()), "attested": &people.attestations.valid,
                "fingerprints": options.fingerprint_key.as_ref().map(FingerprintKey::id),
            });
            let repo = seen.repo.clone();
            off_thread(move || repo.and_then(|repo| Cache::open(&base, &repo, &settings))).await.map(Arc::new)
        }
        None => None,
    };
    if let Some(repo) = &mut seen.repo {
        repo.kept = cache.clone();
    }
    let id = run_id(started_at);
    let run_dir = runs_dir.join(&id);
    let guard = Guard::new(inputs.client, config.safety.clone(), targets, run_dir.clone(), id.clone(), clock.clone())
        .map_err(|source| RunError::RunDir { path: run_dir.display().to_string(), source })?;
    ignore_runs(&runs_dir);
    let unreachable = match &target {
        Some(target) if gates.iter().any(|g| touches_target(g.as_ref())) => preflight(&guard, target).await?,
        _ => None,
    };

    let ctx = Arc::new(GateContext {
        service: service.clone(),
        repo: seen.repo,
        facts: seen.facts.clone(),
        profile,
        target,
        unreachable,
        rid: seen.identity.rid.clone(),
        config: Arc::new(config),
        guard: guard.clone(),
        clock: clock.clone(),
        release_mode: options.release,
        allow_exec: options.allow_exec,
        receipts: inputs.receipts,
        evidence: reports,
        wanted_base,
        channels: inputs.channels,
        earlier: Mutex::default(),
        load_totals: Mutex::default(),
        swept: Default::default(),
        inventory: Default::default(),
        sessions: Default::default(),
        cache,
        people: people.clone(),
        fingerprint_key: options.fingerprint_key,
        progress: inputs.progress,
    });
    let forward = {
        let (from, to) = (stop.clone(), guard.stop.clone());
        tokio::spawn(async move {
            from.cancelled().await;
            to.cancel();
        })
    };
    let judged = runner::run(&gates, &ctx, &because).await;
    forward.abort();

    let now = clock.now();
    let attestable = |id: &str| gates.iter().map(|g| g.about()).any(|a| a.id == id && a.attestable);
    let mut results = Vec::with_capacity(judged.len());
    let mut evidence = Vec::new();
    for (mut result, items) in judged {
        let may = attestable(&result.id);
        attestation::apply(&mut result, may, &people.attestations);
        waiver::apply(&mut result, &people.waivers.valid, now);
        evidence.extend(items.into_iter().map(|e| (result.id.clone(), e)));
        results.push(result);
    }
    let refused =
        results.iter().find(|r| r.reason.as_deref() == Some("refused")).map(|r| format!("{}: {}", r.id, r.summary));
    let run = GateRun {
        schema: SCHEMA.into(),
        run: id,
        service,
        started_at,
        duration_ms: clock.monotonic().saturating_sub(begun).as_millis() as u64,
        rid: seen.identity.rid,
        decision: decision::decide(&results),
        goals: {
            let mut goals = decision::goals(&results);
            attestation::apply_to_goals(&mut goals, &results, &people.attestations);
            goals
        },
        requests: results.iter().map(|r| r.requests).sum::<u64>() + guard.requests_of(PREFLIGHT),
        suppressions: suppression::list(&results),
        gates: results,
        changed_thresholds: changed(&ctx.config),
        scope: options.selection.scope(),
        base: people.base.clone(),
        ignored: people.ignored(),
    };
    Ok(Checked { run, evidence, facts: seen.facts, profile, refused })
}

/// What the repository tells.
struct Seen {
    repo: Option<Repo>,
    facts: Arc<Facts>,
    identity: rid::Identity,
}

fn look(
    folder: Option<&Path>,
    wanted: Option<&str>,
    url: Option<String>,
    base: Option<&base::Wanted>,
) -> Result<Seen, RunError> {
    let mut repo = folder.map(walk::open).transpose()?;
    if let Some(repo) = &mut repo {
        repo.baseline = Arc::new(Baseline::read(repo, base));
    }
    let facts = Arc::new(repo.as_ref().map(Facts::look).unwrap_or_default());
    let identity = rid::identify(repo.as_ref(), wanted, url.into_iter().collect());
    Ok(Seen { repo, facts, identity })
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => std::panic::resume_unwind(e.try_into_panic().unwrap_or_else(|e| Box::new(e.to_string()))),
    }
}

/// Time-ordered, unique, made from the injected clock.
fn run_id(at: crate::domain::clock::Timestamp) -> String {
    let (s, ns) = (at.ms().max(0) as u64 / 1000, (at.ms().max(0) as u64 % 1000) as u32 * 1_000_000);
    uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, s, ns)).to_string()
}

/// The target in force, and all that may be touched. `--url` wins; then a target named `staging`, else the first that is
/// not production, else the service's `url` as a passive target (active and open to load on loopback only).
fn choose_target(config: &Config, service: &ServiceConfig, url: Option<&Url>) -> (Option<Target>, Vec<Target>) {
    let mut targets = config.target.clone();
    let plain = |url: &Url| {
        let own = address::is_loopback(url);
        Target { name: "url".into(), url: url.clone(), ops_url: None, active: own, load: own }
    };
    let chosen = match url {
        Some(url) => {
            let declared = targets.iter().find(|t| t.url.host() == url.host() && t.url.port() == url.port()).cloned();
            let chosen = declared.map_or_else(|| plain(url), |t| Target { url: url.clone(), ..t });
            targets.push(chosen.clone());
            Some(chosen)
        }
        None => {
            let named = targets.iter().find(|t| t.name == "staging");
            let chosen = named.or_else(|| targets.iter().find(|t| !t.is_production())).cloned();
            chosen.or_else(|| service.url.as_ref().map(plain)).inspect(|t| targets.push(t.clone()))
        }
    };
    (chosen, targets)
}

fn touches_target(gate: &dyn Gate) -> bool {
    gate.built() && !matches!(gate.about().lock, Lock::Fs | Lock::None)
}

/// A guard and the target in force, for commands that ask a target outside of a run.
pub struct TryOut {
    pub guard: Arc<Guard>,
    pub target: Target,
}

/// `None`: no target is configured or given. The ledger is `runs_dir/ID/requests.ndjson`, as in a run.
pub fn try_out(
    client: Client,
    config: &Config,
    service: &ServiceConfig,
    url: Option<&Url>,
    runs_dir: &Path,
    clock: SharedClock,
    stop: CancellationToken,
) -> Result<Option<TryOut>, RunError> {
    let (Some(target), targets) = choose_target(config, service, url) else { return Ok(None) };
    let id = run_id(clock.now());
    let run_dir = runs_dir.join(&id);
    let guard = Guard::new(client, config.safety.clone(), targets, run_dir.clone(), id, clock)
        .map_err(|source| RunError::RunDir { path: run_dir.display().to_string(), source })?;
    ignore_runs(runs_dir);
    let forward = guard.stop.clone();
    tokio::spawn(async move {
        stop.cancelled().await;
        forward.cancel();
    });
    Ok(Some(TryOut { guard, target }))
}

/// One GET, so that an unreachable target fails once and not gate by gate. Any answer will do, whatever its status.
async fn preflight(guard: &Arc<Guard>, target: &Target) -> Result<Option<String>, RunError> {
    match guard.prober(PREFLIGHT, Intent::Passive).get(target.url.clone()).await {
        Ok(_) | Err(NetError::BodyTooLarge(_) | NetError::Protocol(_)) => Ok(None),
        Err(refused @ NetError::Refused(_)) => Err(RunError::Refused(refused)),
        // A stop is reported by the runner.
        Err(NetError::Stopped(_)) => Ok(None),
        Err(e) => Ok(Some(format!("{}: {e}", redact_url(&target.url)))),
    }
}

/// Keeps run folders and the project's token out of commits. Best effort: a ledger matters more than tidiness.
pub fn ignore_runs(runs_dir: &Path) {
    let Some(folder) = runs_dir.parent().filter(|p| p.file_name().is_some_and(|n| n == ".hypercare")) else { return };
    let path = folder.join(".gitignore");
    if !path.exists() {
        let _ = std::fs::write(path, "# written by hypercare\nruns/\ntoken\nSTOP\n.gitignore\n");
    }
}

/// Keys of the gates' own tables that differ from the checklist's numbers: (key, checklist, in force), sorted.
pub fn changed(config: &Config) -> Vec<(String, String, String)> {
    let tables = |config: &Config| {
        let mut value = serde_json::to_value(config).unwrap_or_default();
        if let Json::Object(map) = &mut value {
            map.retain(|key, _| super::Section::ALL.iter().any(|s| s.word() == key));
        }
        value
    };
    let mut out = Vec::new();
    differ("", &tables(&Config::default()), &tables(config), &mut out);
    out
}

fn differ(path: &str, checklist: &Json, own: &Json, out: &mut Vec<(String, String, String)>) {
    match (checklist, own) {
        (Json::Object(a), Json::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differ(&path, a.get(key).unwrap_or(&Json::Null), b.get(key).unwrap_or(&Json::Null), out);
            }
        }
        (a, b) if a != b => out.push((path.into(), plain(a), plain(b))),
        _ => {}
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        Json::Null => "unset".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::ManualClock;
    use crate::domain::verdict::{Decision, GateResult, Verdict};
    use crate::gates::Stage;
    use crate::gates::facts::git::scratch::Scratch;
    use crate::gates::testing::NOW;

    fn inputs(repo: Option<&Path>, runs: &Path, selection: Selection) -> GateInputs {
        GateInputs {
            service: "shop".into(),
            service_config: ServiceConfig::default(),
            config: Config::default(),
            repo: repo.map(Path::to_path_buf),
            url: None,
            channels: vec![],
            receipts: Receipts::default(),
            runs_dir: runs.join(".hypercare/runs"),
            client: Client::new(),
            clock: ManualClock::at(NOW),
            cache_dir: None,
            options: Options { selection, ..Options::default() },
            progress: Arc::new(|_, _| {}),
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn the_whole_checklist_without_anything_decides_nothing_and_passes_nothing() {
        let runs = tempfile::tempdir().unwrap();
        let done = run_gates(inputs(None, runs.path(), Selection::default())).await.unwrap();
        assert_eq!(done.run.gates.len(), super::super::CHECKLIST_LINES + 1);
        assert_eq!(done.run.schema, SCHEMA);
        assert!(done.run.gates.iter().all(|g| matches!(g.verdict, Verdict::Error | Verdict::Skip)), "{:#?}", done.run);
        assert_eq!(done.run.decision, Decision::Undecided);
        assert!(!done.run.clears());
        let ledger = runs.path().join(".hypercare/runs").join(&done.run.run).join("requests.ndjson");
        assert!(ledger.exists());
        assert!(runs.path().join(".hypercare/.gitignore").exists());
    }

    #[tokio::test]
    async fn an_unreachable_target_is_said_once_and_at_once() {
        let runs = tempfile::tempdir().unwrap();
        // A port that was free a moment ago: nobody listens.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let selection = Selection { stages: vec![Stage::Passive, Stage::Exclusive], ..Selection::default() };
        let mut inputs = inputs(None, runs.path(), selection);
        inputs.url = Some(format!("http://127.0.0.1:{port}/").parse().unwrap());
        let done = run_gates(inputs).await.unwrap();
        let built: Vec<GateResult> =
            done.run.gates.into_iter().filter(|g| g.reason.as_deref() != Some("not-built")).collect();
        assert!(built.iter().all(|g| g.verdict == Verdict::Error), "{built:#?}");
        // Without a database to look at the target is of no use to these two.
        let (database, others): (Vec<GateResult>, Vec<GateResult>) =
            built.into_iter().partition(|g| ["code.n_plus_one", "performance.db_index"].contains(&g.id.as_str()));
        assert!(database.iter().all(|g| g.reason.as_deref() == Some("no-database")), "{database:#?}");
        assert!(others.iter().all(|g| g.reason.as_deref() == Some("unreachable")), "{others:#?}");
        assert_eq!(done.run.requests, 1, "only the preflight knocked");
        assert_eq!(done.run.scope.as_deref(), Some("stage passive, exclusive"));
    }

    #[tokio::test]
    async fn release_mode_refuses_a_dirty_tree() {
        let repo = Scratch::new();
        repo.write("a", "1").commit("first");
        let runs = tempfile::tempdir().unwrap();
        let only = Selection { only: vec!["delivery.naming".into()], ..Selection::default() };
        let with = |selection: &Selection| {
            let mut inputs = inputs(Some(repo.path()), runs.path(), selection.clone());
            inputs.options.release = true;
            inputs
        };
        assert!(run_gates(with(&only)).await.is_ok());
        repo.write("a", "2");
        assert!(matches!(run_gates(with(&only)).await, Err(RunError::Dirty)));
    }

    #[tokio::test]
    async fn a_waiver_in_the_repository_covers_its_gate() {
        let repo = Scratch::new();
        repo.write("a", "1").commit("first");
        let day = std::time::Duration::from_secs(86_400);
        let file = waiver::draft("code.review", "reviewed on paper by two people", "ann", "bob", NOW, day);
        waiver::write(repo.path(), &file, NOW, crate::domain::verdict::Class::A).unwrap();
        let runs = tempfile::tempdir().unwrap();
        let only = Selection { only: vec!["code.review".into()], ..Selection::default() };
        let done = run_gates(inputs(Some(repo.path()), runs.path(), only)).await.unwrap();
        assert_eq!(done.run.gates[0].verdict, Verdict::Error);
        assert_eq!(done.run.decision, Decision::GoWithRisks);
        assert!(!done.run.clears(), "one gate is not a launch");
    }

    #[test]
    fn the_target_in_force() {
        let target = |name: &str, url: &str| Target {
            name: name.into(),
            url: url.parse().unwrap(),
            ops_url: None,
            active: true,
            load: true,
        };
        let config = Config {
            target: vec![target("production", "https://shop.example"), target("staging", "https://st.shop.example")],
            ..Config::default()
        };
        let service = ServiceConfig { url: "https://svc.example/".parse().ok(), ..ServiceConfig::default() };
        let pick = |config: &Config, url: Option<&str>| {
            let url = url.map(|u| u.parse().unwrap());
            let (chosen, all) = choose_target(config, &service, url.as_ref());
            let chosen = chosen.unwrap();
            assert!(all.iter().any(|t| t.url == chosen.url), "the chosen one may be touched");
            (chosen.name, chosen.url.to_string(), chosen.active)
        };
        assert_eq!(pick(&config, None), ("staging".into(), "https://st.shop.example/".into(), true));
        let other = pick(&config, Some("https://elsewhere.example/x"));
        assert_eq!(other, ("url".into(), "https://elsewhere.example/x".into(), false));
        assert_eq!(pick(&config, Some("https://shop.example/a")).0, "production");
        assert_eq!(pick(&Config::default(), None), ("url".into(), "https://svc.example/".into(), false));
        assert!(pick(&Config::default(), Some("http://127.0.0.1:1/")).2, "loopback may be probed");
    }

    #[test]
    fn changed_numbers_are_listed_beside_the_checklists() {
        assert_eq!(changed(&Config::default()), vec![]);
        let mut config = Config::default();
        config.delivery.naming.max_branch_age = "30d".parse().unwrap();
        assert_eq!(changed(&config), [("delivery.naming.max_branch_age".into(), "90d".into(), "30d".into())]);
    }
}
