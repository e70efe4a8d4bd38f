//! `hypercare gates prove`: every gate on a product it must let through and on one it must stop, both made on the spot:
//! a real git repository in a temporary folder, a server on a loopback address, and the very run that `check` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::output::{self, FormatArg, Out, Tone, pad, paint};
use super::{Exit, Failure, Global};
use crate::domain::clock::SharedClock;
use crate::domain::service::ServiceConfig;
use crate::domain::sshsig::Ephemeral;
use crate::domain::verdict::{GateResult, Verdict};
use crate::gates::code::review::notes;
use crate::gates::context::{AnnouncementReceipt, Receipts};
use crate::gates::facts::git::as_author;
use crate::gates::people::shelf;
use crate::gates::proof::{COMMIT, Fixture, Page, REQUESTS, TODAY};
use crate::gates::runner::Selection;
use crate::gates::{self, Config, Gate, GateInputs, Options};
use crate::net::Client;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// These gates or sections only, commas between; default: all
    #[arg(value_name = "ID|SECTION", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    format: FormatArg,
}

/// What one gate showed.
#[derive(Debug, Serialize)]
pub struct Row {
    pub id: &'static str,
    pub state: State,
    /// Why it is not proved, or what the gate said of the bad product.
    pub said: String,
    pub good: Option<Verdict>,
    pub bad: Option<Verdict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Let the good one through and stopped the bad one.
    Proved,
    /// Did not stop the bad one.
    DidNotBlock,
    /// Stopped the good one.
    BlockedGood,
    /// Could not be run.
    Broken,
    /// Has no fixture yet.
    NoProof,
    /// The gate itself is not built yet.
    NotBuilt,
}

impl State {
    fn failed(self) -> bool {
        matches!(self, State::DidNotBlock | State::BlockedGood | State::Broken)
    }
    fn word(self) -> &'static str {
        match self {
            State::Proved => "blocks",
            State::DidNotBlock => "DOES NOT BLOCK",
            State::BlockedGood => "BLOCKS THE GOOD ONE",
            State::Broken => "COULD NOT RUN",
            State::NoProof => "no proof yet",
            State::NotBuilt => "not built yet",
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let selection = Selection { only: args.only, ..Selection::default() };
    let gates = selection
        .of(gates::all())
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()).hint("`hypercare gates list` names them all"))?;
    let mut rows = Vec::new();
    for gate in &gates {
        rows.push(prove(gate.as_ref(), &global.clock, &global.shutdown).await);
    }
    let failed = rows.iter().any(|r| r.state.failed());
    if args.format.is_json() {
        output::json(&serde_json::json!({"schema": "hypercare.proofs/v1", "gates": rows}))?;
    } else {
        print(&rows)?;
    }
    Ok(if failed { Exit::No } else { Exit::Yes })
}

fn print(rows: &[Row]) -> anyhow::Result<()> {
    let mut out = Out::stdout();
    for row in rows {
        let tone = match row.state {
            State::Proved => Tone::Pass,
            State::NoProof | State::NotBuilt => Tone::Skip,
            _ => Tone::Fail,
        };
        let state = paint(tone, pad(row.state.word(), 20));
        out.line(format!("{} {state} {}", pad(row.id, 32), row.said).trim_end())?;
    }
    let of = |state: State| rows.iter().filter(|r| r.state == state).count();
    let failed = rows.iter().filter(|r| r.state.failed()).count();
    out.line("")?;
    out.line(format!(
        "{} proved, {failed} failed, {} without a proof, {} not built",
        of(State::Proved),
        of(State::NoProof),
        of(State::NotBuilt)
    ))?;
    out.flush()?;
    Ok(())
}

/// A busy machine disturbs whoever measures time.
const RETRIES: usize = 2;

/// Runs one gate on both of its products.
pub async fn prove(gate: &dyn Gate, clock: &SharedClock, stop: &CancellationToken) -> Row {
    let id = gate.about().id;
    let row = |state, said: String| Row { id, state, said, good: None, bad: None };
    if !gate.built() {
        return row(State::NotBuilt, String::new());
    }
    let Some(proof) = gate.proof() else { return row(State::NoProof, String::new()) };
    let good = look_again(id, &proof.good, clock, stop).await;
    let bad = look_again(id, &proof.bad, clock, stop).await;
    let (good, bad) = match (good, bad) {
        (Ok(good), Ok(bad)) => (good, bad),
        (Err(error), _) | (_, Err(error)) => return row(State::Broken, format!("{error:#}")),
    };
    // A gate that could not look has shown nothing, neither way.
    if let Some(unable) = [&good, &bad].into_iter().find(|result| result.verdict == Verdict::Error) {
        let said = format!("{}: {}", unable.reason.as_deref().unwrap_or("error"), unable.summary);
        return Row { good: Some(good.verdict), bad: Some(bad.verdict), ..row(State::Broken, said) };
    }
    let stopped = bad.verdict == Verdict::Fail && bad.blocks();
    let (state, said) = if !stopped {
        (State::DidNotBlock, format!("{}: {} {}", proof.bad.what, bad.verdict.word(), bad.summary))
    } else if good.blocks() || good.verdict == Verdict::Skip {
        (State::BlockedGood, format!("{}: {} {}", proof.good.what, good.verdict.word(), good.summary))
    } else {
        (State::Proved, proof.bad.what.to_string())
    };
    Row { id, state, said, good: Some(good.verdict), bad: Some(bad.verdict) }
}

/// Until it could look.
async fn look_again(
    id: &str,
    fixture: &Fixture,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> anyhow::Result<GateResult> {
    let mut result = look(id, fixture, clock, stop).await;
    for _ in 0..RETRIES {
        if !matches!(&result, Ok(result) if result.verdict == Verdict::Error) {
            break;
        }
        result = look(id, fixture, clock, stop).await;
    }
    result
}

async fn look(
    id: &str,
    fixture: &Fixture,
    clock: &SharedClock,
    stop: &CancellationToken,
) -> anyhow::Result<GateResult> {
    let folder = Folder::new()?;
    let repo = folder.0.join("repo");
    let commit = make(&repo, fixture, &clock.now().rfc3339()[..10])?;
    let done = stop.child_token();
    let served = match fixture.pages.is_empty() {
        true => None,
        false => Some(serve(fixture.pages.clone(), commit.clone(), done.clone()).await?),
    };
    let mut config = Config::default();
    // Nobody else is on a server of our own: no need to be polite to it.
    config.safety.rps = 1000;
    if let Some(change) = fixture.settings {
        change(&mut config);
    }
    let announced = fixture.announced.map(|channel| AnnouncementReceipt {
        version: None,
        commit: Some(commit.clone()),
        channel: channel.into(),
        at: clock.now().minus(Duration::from_secs(86_400)),
        state: "delivered".into(),
        remote_id: None,
        acked_by: None,
    });
    let inputs = GateInputs {
        service: "proof".into(),
        service_config: ServiceConfig { profile: fixture.profile, ..ServiceConfig::default() },
        config,
        repo: Some(repo),
        url: served,
        channels: fixture.channel.iter().map(|c| c.to_string()).collect(),
        receipts: Receipts { announcements: announced.into_iter().collect(), ..Receipts::default() },
        runs_dir: folder.0.join("runs"),
        client: Client::new(),
        clock: clock.clone(),
        cache_dir: None,
        options: Options {
            selection: Selection { only: vec![id.into()], ..Selection::default() },
            ..Options::default()
        },
        progress: Arc::new(|_, _| {}),
        stop: stop.clone(),
    };
    let checked = gates::run_gates(inputs).await;
    done.cancel();
    let run = checked.map_err(|e| anyhow::anyhow!("{e}"))?.run;
    run.gates.into_iter().find(|g| g.id == id).context("the gate gave no result")
}

/// A temporary folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let path = std::env::temp_dir().join(format!("hypercare-prove-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The repository of a fixture, and its commit.
fn make(root: &Path, fixture: &Fixture, today: &str) -> anyhow::Result<String> {
    let write = |path: &str, text: &str| -> anyhow::Result<()> {
        let full = root.join(path);
        std::fs::create_dir_all(full.parent().unwrap_or(root))?;
        std::fs::write(&full, text.replace(TODAY, today)).with_context(|| format!("cannot write {}", full.display()))
    };
    std::fs::create_dir_all(root)?;
    write("README.md", "# A product in miniature\n")?;
    for (path, text) in &fixture.files {
        write(path, text)?;
    }
    let key = match fixture.reviewed_by {
        Some(who) => {
            let key = Ephemeral::new().context("no random numbers")?;
            let line = format!("{who} namespaces=\"{}\" {}\n", notes::NAMESPACE, key.public().line());
            write(shelf::SIGNERS, &line)?;
            Some(key)
        }
        None => None,
    };
    git(root, &["init", "--quiet", "--initial-branch=main"])?;
    git(root, &["add", "--all", "--force"])?;
    git(root, &["commit", "--quiet", "--message", "feat: first"])?;
    if let Some(tag) = fixture.tag {
        git(root, &["tag", "--annotate", tag, "--message", tag])?;
    }
    for (path, text) in &fixture.then {
        write(path, text)?;
    }
    if !fixture.then.is_empty() {
        git(root, &["add", "--all", "--force"])?;
        git(root, &["commit", "--quiet", "--message", "feat: second"])?;
    }
    if let Some(key) = key {
        let text = notes::text(git(root, &["rev-parse", "HEAD"])?.trim(), true);
        let note = format!("{text}{}", key.sign(notes::NAMESPACE, text.as_bytes()));
        git(root, &["notes", "--ref", notes::REF, "add", "--message", &note])?;
    }
    let commit = git(root, &["rev-parse", "HEAD"])?.trim().to_string();
    for (path, text) in &fixture.left {
        write(path, &text.replace(COMMIT, &commit))?;
    }
    Ok(commit)
}

fn git(root: &Path, args: &[&str]) -> anyhow::Result<String> {
    as_author(root, ("Ann", "ann@example.com"), args).context("proofs make repositories")
}

/// Serves the pages on a free loopback port until the token is cancelled.
async fn serve(pages: Vec<Page>, commit: String, done: CancellationToken) -> anyhow::Result<Url> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.context("cannot listen on a loopback address")?;
    let url = Url::parse(&format!("http://{}/", listener.local_addr()?))?;
    let exact: BTreeMap<&'static str, Page> = pages.into_iter().map(|p| (p.path, p)).collect();
    let (pages, seen) = (Arc::new(exact), Arc::new(Seen::default()));
    let router = Router::new().fallback(move |request: Request| {
        let (pages, seen, commit) = (pages.clone(), seen.clone(), commit.clone());
        async move { answer(&pages, &seen, &commit, request.uri().path()).await }
    });
    tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(done.cancelled_owned()).await });
    Ok(url)
}

/// What the server remembers of its callers.
#[derive(Default)]
struct Seen {
    /// Requests for `/`.
    front: AtomicU64,
    /// Of pages with a limit: requests of the last second.
    lately: Mutex<BTreeMap<&'static str, Vec<Instant>>>,
}

impl Seen {
    fn is_too_much(&self, page: &Page) -> bool {
        let Some(most) = page.at_most else { return false };
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let times = lately.entry(page.path).or_default();
        times.retain(|at| at.elapsed() < Duration::from_secs(1));
        let full = times.len() >= most;
        if !full {
            times.push(Instant::now());
        }
        full
    }
}

async fn answer(pages: &BTreeMap<&'static str, Page>, seen: &Seen, commit: &str, path: &str) -> Response<Body> {
    let below = |p: &&Page| p.path.strip_suffix('*').is_some_and(|base| path.starts_with(base));
    let page = pages.get(path).or_else(|| pages.values().find(below));
    let front = u64::from(path == "/");
    let requests = seen.front.fetch_add(front, Ordering::Relaxed) + front;
    let Some(page) = page else {
        return Response::builder().status(404).body(Body::from("not found")).unwrap_or_default();
    };
    if seen.is_too_much(page) {
        let refused = Response::builder().status(429).header("retry-after", "1");
        return refused.body(Body::from("too many requests")).unwrap_or_default();
    }
    if !page.after.is_zero() {
        tokio::time::sleep(page.after).await;
    }
    let mut response = Response::builder().status(page.status);
    for (name, value) in &page.headers {
        response = response.header(*name, *value);
    }
    let body = page.body.replace(COMMIT, commit).replace(REQUESTS, &requests.to_string());
    response.body(Body::from(body)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;

    /// Every gate that has a fixture blocks; whoever builds a gate without one is told by the table, not by this test.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_proof_holds() {
        let (clock, stop): (SharedClock, _) = (SystemClock::shared(), CancellationToken::new());
        let mut failed = Vec::new();
        let mut proved = 0;
        for gate in gates::all() {
            let row = prove(gate.as_ref(), &clock, &stop).await;
            proved += usize::from(row.state == State::Proved);
            // How fast the machine is that runs the tests is not what is tested.
            let busy = row.id == "performance.load" && row.state == State::Broken;
            if row.state.failed() && !busy {
                failed.push(format!("{} {:?}: {}", row.id, row.state, row.said));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(proved >= 16, "{proved}");
    }

    /// A gate that looks away is caught.
    #[tokio::test]
    async fn a_gate_that_does_not_block_is_told() {
        struct Blind;
        impl Gate for Blind {
            fn about(&self) -> &'static gates::About {
                &gates::code::leftover_debug::ABOUT
            }
            fn proof(&self) -> Option<gates::proof::Proof> {
                let nothing = || Fixture::of("nothing is wrong").file("src/cart.js", "export const total = 1;\n");
                Some(gates::proof::Proof { good: nothing(), bad: nothing() })
            }
            fn check<'a>(
                &'a self,
                _: &'a gates::GateContext,
            ) -> futures_util::future::BoxFuture<'a, crate::domain::verdict::Outcome> {
                Box::pin(async { crate::domain::verdict::Outcome::pass("nothing") })
            }
        }
        let row = prove(&Blind, &SystemClock::shared(), &CancellationToken::new()).await;
        assert_eq!(row.state, State::DidNotBlock, "{row:?}");
    }
}
