//! `hypercare evidence list|show|verify|import`: what the gates saw and other tools reported, and proof that nobody changed
//! it since.

mod import;

use serde::Serialize;

use super::check::{open, subject};
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean, clean_line, pad, paint};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::evidence::LedgerEntry;
use crate::store::Store;
use crate::store::state::evidence::ChainCheck;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare evidence list --gate security.headers
  hypercare evidence show sha256:9f3c2e1
  hypercare evidence verify                     recomputes the chain; exit 1 when a row was changed
  hypercare evidence import k6 summary.json --target staging --commit 9f3c2e1")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Newest first
    List {
        /// Of one gate
        #[arg(long, value_name = "ID")]
        gate: Option<String>,
        /// Of one run
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
        #[command(flatten)]
        format: FormatArg,
    },
    /// The content of one item, by its digest or a unique beginning of it
    Show {
        #[arg(value_name = "DIGEST")]
        digest: String,
    },
    /// Recompute the hash chain
    Verify {
        #[command(flatten)]
        format: FormatArg,
    },
    /// Keep another tool's report: scanners, tests, load, coverage, backups
    Import(Box<import::Args>),
}

#[derive(Serialize)]
struct Listed {
    schema: &'static str,
    entries: Vec<LedgerEntry>,
}

#[derive(Serialize)]
struct Verified<'a> {
    schema: &'static str,
    ok: bool,
    #[serde(flatten)]
    chain: &'a ChainCheck,
}

/// The commit that a CI system says it builds.
pub fn ci_commit() -> Option<String> {
    import::ci_commit()
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let dir = subject::store_dir(&loaded);
    if let What::Import(args) = args.what {
        return import::run(*args, &loaded, &dir, global).await;
    }
    if !dir.join("state.db").exists() {
        let message = format!("there is no store in {}", dir.display());
        return Err(Failure::new(Exit::Unreachable, message).hint("`hypercare check` makes one").into());
    }
    let store = open(&dir, global).await?;
    let done = match args.what {
        What::List { gate, run, limit, format } => list(&store, gate, run, limit, format).await,
        What::Show { digest } => show(&store, &digest).await,
        What::Verify { format } => verify(&store, format).await,
        // Went its own way above: it makes the store.
        What::Import(_) => Ok(Exit::Internal),
    };
    store.close().await;
    done
}

async fn list(
    store: &Store,
    gate: Option<String>,
    run: Option<String>,
    limit: u32,
    format: FormatArg,
) -> anyhow::Result<Exit> {
    let entries = store.state.ledger(gate.as_deref(), run.as_deref(), limit).await?;
    if format.is_json() {
        output::json(&Listed { schema: "hypercare.evidence/v1", entries })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    let gates = entries.iter().map(|e| e.gate.len()).max().unwrap_or(0);
    let kinds = entries.iter().map(|e| e.kind.len()).max().unwrap_or(0);
    for e in &entries {
        let commit = e.rid.short_commit().unwrap_or("–");
        let (gate, kind) = (pad(&clean_line(&e.gate), gates), pad(&clean_line(&e.kind), kinds));
        let digest = e.digest.get(..19).unwrap_or(&e.digest);
        out.line(format!("{:>6}  {}  {gate}  {kind}  {}  {digest}", e.seq, e.at, clean_line(commit)))?;
    }
    if entries.is_empty() {
        out.line("no evidence yet")?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

async fn show(store: &Store, digest: &str) -> anyhow::Result<Exit> {
    let full = if digest.starts_with("sha256:") { digest.to_string() } else { format!("sha256:{digest}") };
    let Some(content) = store.state.evidence_content(&full).await? else {
        let message = format!("no evidence has the digest {}", clean_line(digest));
        return Err(Failure::new(Exit::No, message)
            .hint("`hypercare evidence list` names them; give more of it")
            .into());
    };
    // What a gate saw comes from outside: JSON escapes its control characters, and the terminal obeys nothing else.
    output::print(&(clean(&serde_json::to_string_pretty(&content)?) + "\n"))?;
    Ok(Exit::Yes)
}

async fn verify(store: &Store, format: FormatArg) -> anyhow::Result<Exit> {
    let chain = store.state.verify_ledger().await?;
    let ok = chain.broken_at.is_none();
    if format.is_json() {
        output::json(&Verified { schema: "hypercare.evidence-verify/v1", ok, chain: &chain })?;
    } else {
        let mut out = Out::stdout();
        match &chain.broken_at {
            None => {
                out.line(format!("{} {} rows, head {}", paint(Tone::Pass, "✔ unbroken"), chain.rows, chain.head))?
            }
            Some((seq, why)) => {
                out.line(format!("{} at row {seq}: {}", paint(Tone::Fail, "✘ broken"), clean_line(why)))?
            }
        }
        out.flush()?;
    }
    Ok(if ok { Exit::Yes } else { Exit::No })
}
