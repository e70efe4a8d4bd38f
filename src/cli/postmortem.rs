//! `hypercare postmortem`: the draft with its facts, and whether people have answered it.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::output::{self, FormatArg, Out, Tone, clean_line, paint};
use super::report::{self as reports, DocumentFormat, Which};
use super::{Exit, Failure, Global};
use crate::report::lint::{self, Open};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare postmortem draft --out postmortem.md   facts filled in, questions marked
  hypercare postmortem lint postmortem.md          exit 1 while a question is open")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Write the draft; also for a launch that did not go wrong
    Draft(DraftArgs),
    /// List the questions nobody has answered yet
    Lint(LintArgs),
}

#[derive(Debug, clap::Args)]
struct DraftArgs {
    #[command(flatten)]
    which: Which,
    /// [default: by --out's ending, else md]
    #[arg(long, value_name = "FORMAT")]
    format: Option<DocumentFormat>,
    /// Write here instead of to stdout; never over an existing file without --force
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the file and the answers in it
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct LintArgs {
    /// The postmortem, Markdown or HTML
    file: PathBuf,
    #[command(flatten)]
    format: FormatArg,
}

/// A postmortem is written by hand; anything larger is not one.
const FILE_BYTES_MAX: u64 = 16 << 20;

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.action {
        Action::Draft(args) => draft(args, global).await,
        Action::Lint(args) => lint(&args),
    }
}

async fn draft(args: DraftArgs, global: &Global) -> anyhow::Result<Exit> {
    if let Some(path) = args.out.as_ref().filter(|p| p.exists() && !args.force) {
        let message = format!("{} exists; answers may stand in it", path.display());
        return Err(Failure::new(Exit::Refused, message).hint("--force overwrites it").into());
    }
    let (loaded, store) = reports::open(global).await?;
    let launch = reports::launch(&store, args.which.launch.as_deref()).await?;
    let as_of = reports::as_of(&args.which, &launch, global.clock.now())?;
    let mut inputs = reports::inputs(&loaded, &launch, as_of);
    let mut made = crate::report::documents(&store, &inputs).await.map_err(reports::explained)?;
    if made.postmortem.is_none() {
        // Nothing called for one, but a person just did.
        inputs.postmortem_asked = true;
        made = crate::report::documents(&store, &inputs).await.map_err(reports::explained)?;
    }
    store.close().await;
    let rendered = made.postmortem.context("no draft was made although one was asked for")?;
    let by_name = args.out.as_deref().and_then(DocumentFormat::of);
    let text = args.format.or(by_name).unwrap_or(DocumentFormat::Md).pick(&rendered);
    match &args.out {
        None => output::print(text)?,
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
            let open = lint::lint(&rendered.md).len();
            output::print(&format!("{}: {open} questions wait for people\n", path.display()))?;
        }
    }
    Ok(Exit::Yes)
}

#[derive(Serialize)]
struct Linted {
    schema: &'static str,
    open: Vec<Open>,
}

fn lint(args: &LintArgs) -> anyhow::Result<Exit> {
    let shown = args.file.display();
    let size = std::fs::metadata(&args.file).with_context(|| format!("reading {shown}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(Failure::new(Exit::Usage, format!("{shown} has {size} bytes; that is no postmortem")).into());
    }
    let bytes = std::fs::read(&args.file).with_context(|| format!("reading {shown}"))?;
    let open = lint::lint(&String::from_utf8_lossy(&bytes));
    let exit = if open.is_empty() { Exit::Yes } else { Exit::No };
    if args.format.is_json() {
        output::json(&Linted { schema: "hypercare.postmortem_lint/v1", open })?;
        return Ok(exit);
    }
    let mut out = Out::stdout();
    if open.is_empty() {
        out.line(format!("{}  every question is answered", paint(Tone::Pass, "✔")))?;
    }
    for o in &open {
        let due = o.due.as_deref().map(|d| format!("  due {}", clean_line(d))).unwrap_or_default();
        let place = paint(Tone::Soft, format!("{shown}:{}", o.line));
        out.line(format!("{}  {place}  {}{due}", paint(Tone::Fail, "✘"), paint(Tone::Strong, clean_line(&o.key))))?;
        out.line(format!("   {}", output::hang(&clean_line(&o.question), 3, output::width())))?;
    }
    out.flush()?;
    Ok(exit)
}
