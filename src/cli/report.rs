//! `hypercare report`: what happened, as of any time; `report verify`: made again, is it the same?

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use serde::Serialize;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, pad, paint};
use super::{Exit, Failure, Global};
use crate::config::{Loaded, Secrets};
use crate::daemon::tell;
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::domain::launch::Launch;
use crate::domain::units::Span;
use crate::report::{self, Documents, Inputs, NoticeContext, ReportError, Word};
use crate::store::state::reports::StoredReport;
use crate::store::{Role, Store};

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  hypercare report                             Markdown on stdout
  hypercare report --open                      the page, in the browser
  hypercare report --at 2h --out report.html   as it stood two hours ago
  hypercare report --send                      to the launch's report.to, through the outbox
  hypercare report verify                      recompute what was stored and compare the bytes

Exit codes: 0 GREEN or AMBER, 1 RED, 3 UNKNOWN."
)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    which: Which,
    /// What to print or write [default: by --out's ending, else md; html with --open]
    #[arg(long, value_name = "FORMAT")]
    format: Option<DocumentFormat>,
    /// Write here instead of to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the page and open it in the browser
    #[arg(long)]
    open: bool,
    /// Store it and put it into the outbox for the channels of the launch's `report.to`
    #[arg(long)]
    send: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make every stored report again and compare the bytes
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The launch [default: the newest that went live]
    #[arg(long, value_name = "ID")]
    launch: Option<String>,
    #[command(flatten)]
    format: FormatArg,
}

/// Which launch, as of when.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Which {
    /// The launch [default: the newest that went live]
    #[arg(long, value_name = "ID")]
    pub launch: Option<String>,
    /// As of this time: RFC 3339, epoch seconds, or so long ago (90m) [default: now, at most the window's end]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DocumentFormat {
    Html,
    Md,
    Json,
}

impl DocumentFormat {
    pub fn ending(self) -> &'static str {
        match self {
            DocumentFormat::Html => "html",
            DocumentFormat::Md => "md",
            DocumentFormat::Json => "json",
        }
    }
    /// By the ending of a file's name.
    pub fn of(path: &Path) -> Option<DocumentFormat> {
        match path.extension()?.to_str()? {
            "html" | "htm" => Some(DocumentFormat::Html),
            "md" | "markdown" => Some(DocumentFormat::Md),
            "json" => Some(DocumentFormat::Json),
            _ => None,
        }
    }
    pub fn pick(self, rendered: &report::Rendered) -> &str {
        match self {
            DocumentFormat::Html => &rendered.html,
            DocumentFormat::Md => &rendered.md,
            DocumentFormat::Json => &rendered.json,
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let (loaded, store) = open(global).await?;
    let done = match &args.action {
        Some(Action::Verify(verify)) => run_verify(verify, &loaded, &store).await,
        None => run_report(&args, global, &loaded, &store).await,
    };
    store.close().await;
    done
}

/// The configuration and the store beside a running daemon.
pub async fn open(global: &Global) -> anyhow::Result<(Loaded, Store)> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let dir = loaded.store_dir();
    if !dir.exists() {
        let message = format!("there is no store at {}", dir.display());
        return Err(Failure::new(Exit::Unreachable, message).hint("`hypercare run` makes one").into());
    }
    let store = Store::open(&dir, Role::Client, global.clock.clone()).await?;
    let store = crate::remote::attach(store, &loaded.config.store.engine);
    Ok((loaded, store))
}

/// The launch that was named, else the newest that went live.
pub async fn launch(store: &Store, named: Option<&str>) -> anyhow::Result<Launch> {
    if let Some(id) = named {
        let found = store.state.launch(id).await?;
        return found.ok_or_else(|| Failure::new(Exit::Usage, format!("there is no launch {id:?}")).into());
    }
    let live = store.state.launches().await?.into_iter().filter(|l| l.live_at.is_some()).max_by_key(|l| l.live_at);
    live.ok_or_else(|| Failure::new(Exit::Usage, "no launch has gone live yet").hint("`hypercare go`").into())
}

/// `--at`, else now; never later than the window's end, so that a finished launch has one report.
pub fn as_of(which: &Which, launch: &Launch, now: Timestamp) -> Result<Timestamp, Failure> {
    let at = match &which.at {
        None => now,
        Some(text) => {
            let ago = || text.parse::<Span>().ok().map(|s| now.minus(s.get()));
            Timestamp::parse(text).or_else(ago).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("{text:?} is not a time"))
                    .hint("write 2026-11-22T10:00:00Z, epoch seconds, or a duration such as 90m for so long ago")
            })?
        }
    };
    Ok(launch.window_end.map_or(at, |end| at.min(end)))
}

/// What the report of `launch` depends on besides the database: the same as the daemon's, so that bytes compare.
pub fn inputs(loaded: &Loaded, launch: &Launch, as_of: Timestamp) -> Inputs {
    tell::inputs(&loaded.setup(false), launch, as_of)
}

/// A report that cannot be made for reasons the caller can mend is a wrong command line, not our fault.
pub fn explained(error: ReportError) -> anyhow::Error {
    match error {
        ReportError::Store(e) => e.into(),
        ReportError::NoLaunch(_) | ReportError::NotLive { .. } | ReportError::TooEarly { .. } => {
            Failure::new(Exit::Usage, error.to_string()).into()
        }
        ReportError::Samples(_) => Failure::new(Exit::Io, error.to_string()).into(),
        ReportError::Render { .. } => Failure::new(Exit::Internal, error.to_string()).into(),
    }
}

async fn run_report(args: &Args, global: &Global, loaded: &Loaded, store: &Store) -> anyhow::Result<Exit> {
    let now = global.clock.now();
    let launch = launch(store, args.which.launch.as_deref()).await?;
    let inputs = inputs(loaded, &launch, as_of(&args.which, &launch, now)?);
    let documents = report::documents(store, &inputs).await.map_err(explained)?;
    if args.send {
        send(&documents, loaded, store, &launch, now).await?;
    }
    let by_name = args.out.as_deref().and_then(DocumentFormat::of);
    let format = args.format.or(by_name).unwrap_or(if args.open { DocumentFormat::Html } else { DocumentFormat::Md });
    let text = format.pick(&documents.report);
    let file = match (&args.out, args.open) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => {
            let folder = loaded.store_dir().join("reports");
            std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            Some(folder.join(format!("{}.{}", launch.id, format.ending())))
        }
        (None, false) => None,
    };
    match &file {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
            summary(&documents, Some(path))?;
        }
        // A message about sending is the result then; the document was not asked for.
        None if args.send && args.format.is_none() => summary(&documents, None)?,
        None => output::print(text)?,
    }
    if let (Some(path), true) = (&file, args.open) {
        browse(path);
    }
    Ok(match documents.verdict {
        Word::Green | Word::Amber => Exit::Yes,
        Word::Red => Exit::No,
        Word::Unknown => Exit::Undecided,
    })
}

fn tone(word: Word) -> Tone {
    match word {
        Word::Green => Tone::Pass,
        Word::Amber => Tone::Warn,
        Word::Red => Tone::Fail,
        Word::Unknown => Tone::Error,
    }
}

fn summary(documents: &Documents, path: Option<&PathBuf>) -> anyhow::Result<()> {
    let verdict = &documents.model.verdict;
    let mut out = Out::stdout();
    let word = paint(tone(verdict.word), format!("{} {}", verdict.mark, verdict.title));
    out.line(format!("{word}  {}", clean_line(&verdict.sentence)))?;
    if let Some(path) = path {
        out.line(format!("   {}", path.display()))?;
    }
    if documents.postmortem.is_some() {
        out.line(paint(Tone::Soft, "   a postmortem is due: hypercare postmortem draft --out postmortem.md"))?;
    }
    out.flush()?;
    Ok(())
}

/// Stores the documents and their outbox rows in one transaction; the daemon sends them.
async fn send(
    documents: &Documents,
    loaded: &Loaded,
    store: &Store,
    launch: &Launch,
    now: Timestamp,
) -> anyhow::Result<()> {
    let config = loaded.config.launch.get(&launch.service).cloned().unwrap_or_default().report;
    if config.to.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("launch.{}.report.to names no channel", launch.service))
            .hint(format!("[launch.{}]\nreport = {{ to = [\"stakeholders\"] }}", launch.service))
            .into());
    }
    let as_of = documents.model.as_of.at;
    let before = store.state.reports(&launch.id).await?.into_iter().any(|r| r.as_of == as_of);
    let formats = config.formats.iter().filter_map(|f| serde_json::to_value(f).ok()?.as_str().map(str::to_string));
    let context = NoticeContext { channels: config.to.clone(), formats: formats.collect(), now };
    let rows = report::stored(documents, now);
    let notices = report::notices(documents, &rows, &context).map_err(explained)?;
    store.state.save_reports(rows, notices).await?;
    let mut err = anstream::stderr();
    if before {
        let _ = writeln!(err, "the report as of {as_of} was stored and sent before; nothing new was queued");
    } else {
        let _ = writeln!(err, "queued for {}; `hypercare outbox list` shows what became of it", config.to.join(", "));
    }
    Ok(())
}

/// The desktop's own opener. When there is none the path on stdout must do.
fn browse(path: &Path) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = || std::process::Stdio::null();
    let started = std::process::Command::new(opener).arg(path).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn();
    if let Err(error) = started {
        tracing::warn!(opener, %error, "cannot open the browser");
    }
}

#[derive(Serialize)]
struct Verified {
    schema: &'static str,
    launch: String,
    same: bool,
    documents: Vec<VerifiedDocument>,
}

#[derive(Serialize)]
struct VerifiedDocument {
    kind: String,
    format: String,
    as_of: Timestamp,
    same: bool,
    /// `same`, `differs`, `input changed`, `stored bytes are damaged`.
    reason: &'static str,
    stored: String,
    made: Option<String>,
}

async fn run_verify(args: &VerifyArgs, loaded: &Loaded, store: &Store) -> anyhow::Result<Exit> {
    let launch = launch(store, args.launch.as_deref()).await?;
    let stored = store.state.reports(&launch.id).await?;
    if stored.is_empty() {
        return Err(Failure::new(Exit::Undecided, format!("no report of {} is stored yet", launch.id))
            .hint("one is stored at the window's end, or by `hypercare report --send`")
            .into());
    }
    let mut instants: Vec<Timestamp> = stored.iter().map(|r| r.as_of).collect();
    instants.sort_unstable();
    instants.dedup();
    let mut documents = Vec::new();
    for at in instants {
        let made = report::documents(store, &inputs(loaded, &launch, at)).await.map_err(explained)?;
        let fresh = report::stored(&made, at);
        for old in stored.iter().filter(|r| r.as_of == at) {
            let bytes = store.state.report(old.id).await?.map(|r| r.bytes).unwrap_or_default();
            documents.push(compare(old, &bytes, &fresh));
        }
    }
    documents.sort_by(|a, b| (a.as_of, &a.kind, &a.format).cmp(&(b.as_of, &b.kind, &b.format)));
    let same = documents.iter().all(|d| d.same);
    let verified = Verified { schema: "hypercare.report_verify/v1", launch: launch.id, same, documents };
    if args.format.is_json() {
        output::json(&verified)?;
    } else {
        let mut out = Out::stdout();
        for d in &verified.documents {
            let mark = if d.same { paint(Tone::Pass, "✔ same   ") } else { paint(Tone::Fail, "✘ differs") };
            let reason = if d.same { String::new() } else { format!("  {}", d.reason) };
            out.line(format!("{mark}  {}  {}  {}{reason}", d.as_of, pad(&d.kind, 10), pad(&d.format, 4)))?;
        }
        out.flush()?;
    }
    Ok(if same { Exit::Yes } else { Exit::No })
}

fn compare(old: &StoredReport, bytes: &[u8], fresh: &[StoredReport]) -> VerifiedDocument {
    let new = fresh.iter().find(|r| r.kind == old.kind && r.format == old.format);
    let (same, reason) = match new {
        _ if sha256_hex(bytes) != old.bytes_hash => (false, "stored bytes are damaged"),
        Some(new) if new.bytes_hash == old.bytes_hash => (true, "same"),
        // Other data, configuration, templates or program: then other bytes are right.
        Some(new) if new.input_hash != old.input_hash => (false, "input changed: data, configuration or program"),
        Some(_) => (false, "differs from the same input"),
        None => (false, "no longer made from this input"),
    };
    VerifiedDocument {
        kind: old.kind.clone(),
        format: old.format.clone(),
        as_of: old.as_of,
        same,
        reason,
        stored: old.bytes_hash.clone(),
        made: new.map(|r| r.bytes_hash.clone()),
    }
}
