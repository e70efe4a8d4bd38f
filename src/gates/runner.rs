//! Runs gates: stages in order, `needs` and locks within a stage, a time limit and a panic guard around each. One broken
//! gate never stops the others. Results come in registry order, whatever ended first.
//!
//! Knows no configuration file and no store; `run.rs` prepares what is needed and adds up the results.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::judge::judge;
use super::suppression;
use super::sweep::{self, Part};
use super::{Gate, GateContext, Lock, Section, Stage};
use crate::domain::evidence::Evidence;
use crate::domain::service::Profile;
use crate::domain::verdict::{GateResult, Outcome};

/// The whole run; a launch decision that takes longer is not one.
pub const RUN_MAX: Duration = Duration::from_secs(3600);

/// Runs `gates` and returns one result each, in the order given. `because` says why the profile is what it is.
pub async fn run(gates: &[Arc<dyn Gate>], ctx: &Arc<GateContext>, because: &str) -> Vec<(GateResult, Vec<Evidence>)> {
    let mut board = Board { gates, ctx, because, ended: gates.iter().map(|_| None).collect(), held: Held::default() };
    let everything = async {
        for stage in Stage::ALL {
            board.stage(stage).await;
        }
    };
    let cut = tokio::select! {
        biased;
        () = ctx.guard.stopped() => Some(("stopped", "a stop was asked for before this gate ended")),
        ended = timeout(RUN_MAX, everything) => ended.is_err().then_some(("timeout", "the whole run took too long")),
    };
    // Whatever was under way or not begun says why it has no answer.
    let (reason, what) = cut.unwrap_or(("not-run", "the gates that it needs wait for each other"));
    let unended = |gate: &Arc<dyn Gate>| {
        judge(gate.about(), Outcome::error(reason, what), Duration::ZERO, ctx.guard.requests_of(gate.about().id))
    };
    let ended = std::mem::take(&mut board.ended);
    ended.into_iter().zip(gates).map(|(result, gate)| result.unwrap_or_else(|| unended(gate))).collect()
}

/// Reading every file; what is larger is no product.
const SWEEP_MAX: Duration = Duration::from_secs(300);

/// Tells a thread that nobody waits for it any more.
struct Stops(Arc<AtomicBool>);

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who runs and who has ended.
struct Board<'a> {
    gates: &'a [Arc<dyn Gate>],
    ctx: &'a Arc<GateContext>,
    because: &'a str,
    ended: Vec<Option<(GateResult, Vec<Evidence>)>>,
    held: Held,
}

impl Board<'_> {
    /// Dropping the future ends the gates under way.
    async fn stage(&mut self, stage: Stage) {
        let mut waiting: Vec<usize> = (0..self.gates.len()).filter(|i| self.gates[*i].about().stage == stage).collect();
        self.reuse(&mut waiting);
        let (swept, reading) = if stage == Stage::Static { self.sweep(&waiting).await } else { Default::default() };
        let mut running: JoinSet<(usize, Outcome, Duration)> = JoinSet::new();
        loop {
            // In registry order, so that two runs over the same repository touch the target in the same order.
            waiting.retain(|&i| {
                let about = self.gates[i].about();
                if !self.needs_ended(i) || !self.held.take(about.lock) {
                    return true;
                }
                running.spawn(one(i, self.gates[i].clone(), self.ctx.clone(), self.skip(i)));
                false
            });
            match running.join_next().await {
                Some(Ok((i, mut outcome, duration))) => {
                    suppression::settle(self.gates[i].as_ref(), self.ctx.repo.as_ref(), &mut outcome);
                    self.held.give_back(self.gates[i].about().lock);
                    let read = if swept.contains(self.gates[i].about().id) { reading } else { Duration::ZERO };
                    if let Some(cache) = self.ctx.cache.as_ref().filter(|_| self.gates[i].keeps()) {
                        cache.put(self.gates[i].about().id, &outcome, self.ctx.clock.now());
                    }
                    self.end(i, outcome, duration + read, Duration::ZERO);
                }
                // The guard inside catches panics; a task lost otherwise is reported as not run.
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    /// Reads every file once for the gates that want them all. Says which did, and how long it took.
    async fn sweep(&self, waiting: &[usize]) -> (BTreeSet<&'static str>, Duration) {
        let (begun, ctx) = (self.ctx.clock.monotonic(), self.ctx.clone());
        let gates: Vec<Arc<dyn Gate>> =
            waiting.iter().filter(|i| self.skip(**i).is_none()).map(|i| self.gates[*i].clone()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        // Also when this future is dropped.
        let _stops = Stops(stop.clone());
        let work = tokio::task::spawn_blocking(move || {
            let part = |gate: &Arc<dyn Gate>| Some((gate.about().id, gate.reader(&ctx)?));
            let parts: Vec<(&'static str, Part)> = gates.iter().filter_map(part).collect();
            let names: BTreeSet<&'static str> = parts.iter().map(|(name, _)| *name).collect();
            if let (Some(repo), Some(first)) = (&ctx.repo, names.first()) {
                let of = repo.files.len();
                let progress = |seen: usize| (ctx.progress)(first, &format!("{seen} of {of} files"));
                sweep::sweep(repo, parts, &stop, progress, &ctx.swept);
            }
            names
        });
        // A panic here leaves nothing for the gates, and each of them says so.
        let names = timeout(SWEEP_MAX, work).await.ok().and_then(Result::ok).unwrap_or_default();
        (names, self.ctx.clock.monotonic().saturating_sub(begun))
    }

    /// A need that is not part of this run does not hold anybody up. What is about the check itself is the last of its
    /// stage: it tells of the others.
    fn needs_ended(&self, i: usize) -> bool {
        let own = self.gates[i].about();
        if own.section == Section::Meta {
            let open = |(gate, ended): (&Arc<dyn Gate>, &Option<_>)| {
                let about = gate.about();
                ended.is_none() && about.section != Section::Meta && about.stage <= own.stage
            };
            return !self.gates.iter().zip(&self.ended).any(open);
        }
        self.gates[i]
            .about()
            .needs
            .iter()
            .all(|need| self.gates.iter().zip(&self.ended).all(|(g, ended)| g.about().id != *need || ended.is_some()))
    }

    /// Ends the gates whose answer of an earlier run still holds.
    fn reuse(&mut self, waiting: &mut Vec<usize>) {
        let Some(cache) = &self.ctx.cache else { return };
        let now = self.ctx.clock.now();
        let kept = |i: usize| {
            let gate = &self.gates[i];
            (gate.keeps() && self.skip(i).is_none()).then(|| cache.get(gate.about().id, now)).flatten()
        };
        let reused: Vec<(usize, (Outcome, Duration))> = waiting.iter().filter_map(|&i| Some((i, kept(i)?))).collect();
        waiting.retain(|i| reused.iter().all(|(reused, _)| reused != i));
        for (i, (outcome, age)) in reused {
            self.end(i, outcome, Duration::ZERO, age);
        }
    }

    /// `age`: of an answer that is reused.
    fn end(&mut self, i: usize, outcome: Outcome, duration: Duration, age: Duration) {
        let about = self.gates[i].about();
        let mut judged = judge(about, outcome, duration, self.ctx.guard.requests_of(about.id));
        judged.0.age_s = age.as_secs();
        let mut earlier = self.ctx.earlier.lock().unwrap_or_else(|e| e.into_inner());
        earlier.insert(about.id.into(), judged.0.clone());
        drop(earlier);
        (self.ctx.progress)(about.id, "");
        self.ended[i] = Some(judged);
    }

    fn skip(&self, i: usize) -> Option<Outcome> {
        let (about, profile) = (self.gates[i].about(), self.ctx.profile);
        // A worker that listens after all is looked at like anybody who listens.
        let listens =
            profile == Profile::Worker && about.section == Section::Security && self.ctx.facts.any("framework");
        let skips = about.skipped_for.contains(&profile) && !listens;
        skips.then(|| Outcome::skip(format!("profile:{}", profile.word()), format!("does not apply: {}", self.because)))
    }
}

/// One gate with its time limit and panic guard.
async fn one(
    i: usize,
    gate: Arc<dyn Gate>,
    ctx: Arc<GateContext>,
    skip: Option<Outcome>,
) -> (usize, Outcome, Duration) {
    if let Some(skip) = skip {
        return (i, skip, Duration::ZERO);
    }
    let about = gate.about();
    let begun = ctx.clock.monotonic();
    (ctx.progress)(about.id, "running");
    let limit = gate.timeout(&ctx);
    let outcome = match timeout(limit, AssertUnwindSafe(gate.check(&ctx)).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let said = sweep::said(panic.as_ref());
            tracing::error!(gate = about.id, panic = said, "gate panicked");
            Outcome::error("panicked", format!("the gate stopped on a fault of its own: {said}"))
                .hint("this is a bug in hypercare; the other gates are not touched by it")
        }
        Err(_) => {
            let limit = crate::domain::units::prose(limit);
            Outcome::error("timeout", format!("no answer within {limit}"))
        }
    };
    (i, outcome, ctx.clock.monotonic().saturating_sub(begun))
}

/// Locks held by running gates.
#[derive(Default)]
struct Held {
    fs: usize,
    shared: usize,
    active: bool,
    exclusive: bool,
}

impl Held {
    /// Takes the lock when it is free. Shared and active gates keep out of each other's way by the guard's budgets; an
    /// exclusive one is alone with the target.
    fn take(&mut self, lock: Lock) -> bool {
        let free = match lock {
            Lock::None => true,
            Lock::Fs => self.fs < cpus(),
            Lock::TargetShared => !self.exclusive,
            Lock::TargetActive => !self.exclusive && !self.active,
            Lock::TargetExclusive => !self.exclusive && !self.active && self.shared == 0,
        };
        if free {
            match lock {
                Lock::None => {}
                Lock::Fs => self.fs += 1,
                Lock::TargetShared => self.shared += 1,
                Lock::TargetActive => self.active = true,
                Lock::TargetExclusive => self.exclusive = true,
            }
        }
        free
    }

    fn give_back(&mut self, lock: Lock) {
        match lock {
            Lock::None => {}
            Lock::Fs => self.fs -= 1,
            Lock::TargetShared => self.shared -= 1,
            Lock::TargetActive => self.active = false,
            Lock::TargetExclusive => self.exclusive = false,
        }
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get())
}

/// What a run is limited to.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Ids or sections; empty: all.
    pub only: Vec<String>,
    pub skip: Vec<String>,
    /// Empty: all.
    pub stages: Vec<Stage>,
}

/// A name that is neither a gate nor a section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no gate and no section is called `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
pub struct NoSuchGate {
    pub name: String,
    pub nearest: Option<String>,
}

impl Selection {
    /// The gates to run, in registry order.
    pub fn of(&self, all: Vec<Box<dyn Gate>>) -> Result<Vec<Arc<dyn Gate>>, NoSuchGate> {
        let mut known: BTreeSet<&str> = all.iter().map(|g| g.about().id).collect();
        known.extend(Section::ALL.map(Section::word));
        for name in self.only.iter().chain(&self.skip) {
            check_name(name, &known)?;
        }
        let named =
            |list: &[String], g: &dyn Gate| list.iter().any(|n| n == g.about().id || n == g.about().section.word());
        let chosen = all.into_iter().map(Arc::from).filter(|g: &Arc<dyn Gate>| {
            (self.only.is_empty() || named(&self.only, g.as_ref()))
                && !named(&self.skip, g.as_ref())
                && (self.stages.is_empty() || self.stages.contains(&g.about().stage))
        });
        Ok(chosen.collect())
    }

    /// In words; `None` for the whole checklist.
    pub fn scope(&self) -> Option<String> {
        let list = |word: &str, names: Vec<&str>| (!names.is_empty()).then(|| format!("{word} {}", names.join(", ")));
        let parts = [
            list("only", self.only.iter().map(String::as_str).collect()),
            list("without", self.skip.iter().map(String::as_str).collect()),
            list("stage", self.stages.iter().map(|s| s.word()).collect()),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Is `name` known? The nearest known one comes with the refusal.
pub fn check_name(name: &str, known: &BTreeSet<&str>) -> Result<(), NoSuchGate> {
    if known.contains(name) {
        return Ok(());
    }
    let nearest = known
        .iter()
        .map(|k| (strsim::jaro_winkler(k, name), *k))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(near, _)| *near > 0.7)
        .map(|(_, k)| k.to_string());
    Err(NoSuchGate { name: name.into(), nearest })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::domain::verdict::{Class, Tier, Verdict};
    use crate::gates::About;
    use crate::gates::testing;

    type Log = Arc<Mutex<Vec<String>>>;

    /// A gate that writes down when it begins and ends, and does one thing in between.
    struct Act {
        about: &'static About,
        log: Log,
        does: Does,
    }
    #[derive(Clone, Copy)]
    enum Does {
        Pass,
        /// Gives others a chance to run meanwhile.
        Yield,
        Panic,
        Hang,
    }

    impl Gate for Act {
        fn about(&self) -> &'static About {
            self.about
        }
        fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
            Box::pin(async move {
                let note = |what: &str| self.log.lock().unwrap().push(format!("{what}{}", self.about.id));
                note("+");
                match self.does {
                    Does::Pass => {}
                    Does::Yield => {
                        for _ in 0..50 {
                            tokio::task::yield_now().await;
                        }
                    }
                    Does::Panic => panic!("on purpose"),
                    Does::Hang => std::future::pending::<()>().await,
                }
                note("-");
                let seen = ctx.earlier.lock().unwrap().len() as u64;
                Outcome::pass("done").tier(Tier::E3).value(seen, 0)
            })
        }
    }

    fn about(id: &'static str, stage: Stage, lock: Lock, needs: &'static [&'static str]) -> &'static About {
        Box::leak(Box::new(About {
            id,
            section: Section::Security,
            class: Class::A,
            line: "l",
            min_tier: Tier::E1,
            attestable: false,
            stage,
            lock,
            needs,
            timeout: Duration::from_secs(30),
            skipped_for: &[Profile::StaticSite],
            reads: "r",
            decides: "d",
            fix: "f",
        }))
    }

    fn acts(log: &Log, list: &[(&'static About, Does)]) -> Vec<Arc<dyn Gate>> {
        list.iter()
            .map(|(about, does)| Arc::new(Act { about, log: log.clone(), does: *does }) as Arc<dyn Gate>)
            .collect()
    }

    async fn go(gates: &[Arc<dyn Gate>]) -> Vec<GateResult> {
        let (_dir, ctx) = testing::context(|_| {});
        run(gates, &Arc::new(ctx), "").await.into_iter().map(|(r, _)| r).collect()
    }

    #[tokio::test]
    async fn results_come_in_registry_order_and_stages_run_in_theirs() {
        let log = Log::default();
        let gates = acts(
            &log,
            &[
                (about("a.human", Stage::Human, Lock::None, &[]), Does::Pass),
                (about("a.static", Stage::Static, Lock::Fs, &[]), Does::Yield),
                (about("a.passive", Stage::Passive, Lock::TargetShared, &[]), Does::Pass),
            ],
        );
        let results = go(&gates).await;
        assert_eq!(results.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["a.human", "a.static", "a.passive"]);
        assert_eq!(
            *log.lock().unwrap(),
            ["+a.static", "-a.static", "+a.passive", "-a.passive", "+a.human", "-a.human"]
        );
        // The last saw the results of the others.
        assert_eq!(results[0].value, Some(2.into()));
    }

    #[tokio::test]
    async fn needs_and_exclusive_locks_hold() {
        let log = Log::default();
        let gates = acts(
            &log,
            &[
                (about("a.limiter", Stage::Exclusive, Lock::TargetExclusive, &["a.load"]), Does::Yield),
                (about("a.load", Stage::Exclusive, Lock::TargetExclusive, &[]), Does::Yield),
                (about("a.reader", Stage::Exclusive, Lock::TargetShared, &["a.load", "a.absent"]), Does::Yield),
            ],
        );
        assert!(go(&gates).await.iter().all(|r| r.verdict == Verdict::Pass));
        let log = log.lock().unwrap();
        let at = |what: &str| log.iter().position(|l| l == what).unwrap();
        assert!(at("-a.load") < at("+a.limiter") && at("-a.load") < at("+a.reader"), "{log:?}");
        assert!(at("-a.limiter") < at("+a.reader") || at("-a.reader") < at("+a.limiter"), "{log:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_a_hang_stop_nobody_else() {
        let log = Log::default();
        let gates = acts(
            &log,
            &[
                (about("a.panics", Stage::Static, Lock::Fs, &[]), Does::Panic),
                (about("a.hangs", Stage::Static, Lock::None, &[]), Does::Hang),
                (about("a.works", Stage::Static, Lock::None, &[]), Does::Pass),
                (about("a.later", Stage::Human, Lock::None, &["a.hangs"]), Does::Pass),
            ],
        );
        let reasons: Vec<_> = go(&gates).await.into_iter().map(|r| (r.verdict, r.reason)).collect();
        assert_eq!(
            reasons,
            [
                (Verdict::Error, Some("panicked".into())),
                (Verdict::Error, Some("timeout".into())),
                (Verdict::Pass, None),
                (Verdict::Pass, None),
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_what_runs_and_what_waits() {
        let log = Log::default();
        let gates = acts(
            &log,
            &[
                (about("a.done", Stage::Static, Lock::Fs, &[]), Does::Pass),
                (about("a.hangs", Stage::Passive, Lock::None, &[]), Does::Hang),
                (about("a.never", Stage::Human, Lock::None, &[]), Does::Pass),
            ],
        );
        let (_dir, ctx) = testing::context(|_| {});
        let stop = ctx.guard.stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            stop.cancel();
        });
        let results = run(&gates, &Arc::new(ctx), "").await;
        let reasons: Vec<_> = results.into_iter().map(|(r, _)| r.reason).collect();
        assert_eq!(reasons, [None, Some("stopped".into()), Some("stopped".into())]);
        assert!(!log.lock().unwrap().contains(&"+a.never".into()));
    }

    #[tokio::test]
    async fn gates_that_wait_for_each_other_are_reported() {
        let log = Log::default();
        let gates = acts(
            &log,
            &[
                (about("a.x", Stage::Static, Lock::Fs, &["a.y"]), Does::Pass),
                (about("a.y", Stage::Static, Lock::Fs, &["a.x"]), Does::Pass),
            ],
        );
        assert!(go(&gates).await.iter().all(|r| r.reason.as_deref() == Some("not-run")));
    }

    #[tokio::test]
    async fn profiles_skip_unless_a_worker_listens() {
        let log = Log::default();
        let gates = acts(&log, &[(about("a.x", Stage::Static, Lock::Fs, &[]), Does::Pass)]);
        let (_dir, ctx) = testing::context(|ctx| ctx.profile = Profile::StaticSite);
        let skipped = run(&gates, &Arc::new(ctx), "mkdocs (mkdocs.yml)").await.remove(0).0;
        assert_eq!((skipped.verdict, skipped.reason.as_deref()), (Verdict::Skip, Some("profile:static-site")));
        assert!(skipped.summary.contains("mkdocs.yml"));
        assert!(log.lock().unwrap().is_empty());
    }

    #[test]
    fn selections_name_gates_and_sections() {
        let pick = |only: &[&str], skip: &[&str], stages: &[Stage]| {
            let own = |list: &[&str]| list.iter().map(|s| s.to_string()).collect();
            let selection = Selection { only: own(only), skip: own(skip), stages: stages.to_vec() };
            let ids = selection.of(super::super::all()).map(|g| g.iter().map(|g| g.about().id).collect::<Vec<_>>());
            (ids, selection.scope())
        };
        assert_eq!(pick(&[], &[], &[]).0.unwrap().len(), super::super::CHECKLIST_LINES + 1);
        assert_eq!(pick(&[], &[], &[]).1, None);
        assert_eq!(pick(&["release.qa", "code.review"], &[], &[]).0.unwrap(), ["code.review", "release.qa"]);
        assert_eq!(pick(&["code"], &["code.secrets"], &[]).0.unwrap().len(), 5);
        assert_eq!(pick(&["code"], &["code.secrets"], &[]).1.as_deref(), Some("only code; without code.secrets"));
        assert!(pick(&[], &[], &[Stage::Human]).0.unwrap().contains(&"release.announcement"));
        let error = pick(&["code.reviews"], &[], &[]).0.unwrap_err();
        assert_eq!(error.to_string(), "no gate and no section is called `code.reviews`; did you mean code.review?");
    }
}
