//! `hypercare smoke init|run|schema`: the list of what to look at right after a deploy. `init` writes a first one from the
//! sources, `run` walks through it on a target, twice, through the same safety engine as the gates.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use url::Url;

use super::check::subject;
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, paint};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::service::Profile;
use crate::domain::units::count;
use crate::gates::facts::{Facts, rid, walk as files};
use crate::gates::release::shown;
use crate::gates::release::smoke::walk::{State, Walk, Walker, walk};
use crate::gates::release::smoke::{self, FILE, FILE_BYTES_MAX, Smoke, draft};
use crate::gates::{self, TryOut};
use crate::net::safety::Intent;
use crate::net::{Client, NetError};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare smoke init                                      write smoke.toml from the routes of this repository
  hypercare smoke run --url https://staging.shop.example    walk through it, twice
  hypercare smoke schema > smoke.schema.json                for your editor

Exit code 0 when every item is green twice, 1 when one is red, 3 when one could not be asked, 4 refused for safety.")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write a first smoke.toml from what the sources show; review and commit it
    Init {
        /// Repository to look at
        #[arg(long, value_name = "DIR", default_value = ".")]
        repo: PathBuf,
        /// Where to write it [default: smoke.toml in the repository]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
    },
    /// Ask every item, twice; all must be green
    Run {
        #[command(flatten)]
        which: subject::Which,
        /// The list [default: smoke.toml in the repository]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Walk through it once only
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Print the JSON Schema of smoke.toml
    Schema,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.what {
        What::Schema => {
            output::json(&smoke::schema())?;
            Ok(Exit::Yes)
        }
        What::Init { repo, out, force } => init(repo, out, force, global).await,
        What::Run { which, file, once, format } => walk_through(which, file, once, format, global).await,
    }
}

async fn init(repo: PathBuf, out: Option<PathBuf>, force: bool, global: &Global) -> anyhow::Result<Exit> {
    let path = out.unwrap_or_else(|| repo.join(FILE));
    if path.exists() && !force {
        let failure = Failure::new(Exit::Usage, format!("{} exists", path.display()));
        return Err(failure.hint("--force overwrites it; --out FILE writes elsewhere").into());
    }
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let endpoints = loaded.config.gates.release.endpoints.clone();
    let set = loaded.config.only_service().and_then(|n| loaded.config.service.get(n)).map(|s| s.profile);
    let drafted = tokio::task::spawn_blocking(move || {
        let repo = files::open(&repo)?;
        let profile = set.filter(|p| *p != Profile::Auto).unwrap_or_else(|| Facts::look(&repo).profile().0);
        Ok::<_, files::WalkError>(draft::draft(&shown::look(&repo), profile, &endpoints))
    });
    let (text, items) = drafted.await?.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    // What we write must hold; if it does not, that is our fault and nothing is written.
    if let Err(why) = Smoke::parse(&text) {
        return Err(Failure::new(Exit::Internal, format!("the draft does not hold: {why}")).hint("report this").into());
    }
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let mut out = Out::stdout();
    out.line(format!("{} {}: {}", paint(Tone::Pass, "✔ wrote"), path.display(), count(items, "item")))?;
    out.line("  review it: fill in the texts that only the right page has, then")?;
    out.line("  hypercare smoke run --url https://staging.example.com")?;
    out.flush()?;
    Ok(Exit::Yes)
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    url: String,
    file: String,
    green: bool,
    walks: &'a [Walk],
}

async fn walk_through(
    which: subject::Which,
    file: Option<PathBuf>,
    once: bool,
    format: FormatArg,
    global: &Global,
) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let subject = subject::choose(&loaded, &which)?;
    let root = subject.repo.clone().unwrap_or_else(|| PathBuf::from("."));
    let config = loaded.config.gates_told();
    let named = config.release.post_deploy.file.clone().unwrap_or_else(|| FILE.into());
    let file = file.unwrap_or_else(|| root.join(named));
    let list = read(&file)?;
    let (folder, version) = (subject.repo.clone(), config.version.clone());
    let release = tokio::task::spawn_blocking(move || {
        let repo = folder.and_then(|f| files::open(&f).ok());
        rid::identify(repo.as_ref(), version.as_deref(), Vec::new()).rid
    });
    let release = release.await?;
    let url: Option<&Url> = subject.url.as_ref();
    let (clock, stop, runs) = (global.clock.clone(), global.shutdown.clone(), root.join(".hypercare/runs"));
    let tried = gates::try_out(Client::new(), &config, &subject.service_config, url, &runs, clock, stop)
        .map_err(|e| Failure::new(Exit::Io, e.to_string()))?;
    let TryOut { guard, target } = tried.ok_or_else(|| {
        Failure::new(Exit::Usage, "no target to walk on").hint("give --url URL, or set url in [service.NAME]")
    })?;
    let (passive, active) = (guard.prober("smoke", Intent::Passive), guard.prober("smoke", Intent::Active));
    let allowed = match target.active && !target.is_production() {
        true => Ok(&active),
        false => Err(format!("{} is not open to requests that write (active = true)", target.name)),
    };
    let who = Walker { passive: &passive, active: allowed, base: &target.url, release: &release, run: &guard.run };
    let mut walks = Vec::new();
    for _ in 0..if once { 1 } else { 2 } {
        let walk = walk(&list, &who, |_| {}).await.map_err(stopped)?;
        let red = walk.red().next().is_some();
        walks.push(walk);
        if red {
            break;
        }
    }
    let green = walks.iter().all(|w| w.red().next().is_none() && w.errors().next().is_none());
    if format.is_json() {
        let (url, file) = (crate::net::redact_url(&target.url), file.display().to_string());
        output::json(&Document { schema: "hypercare.smoke/v1", url, file, green, walks: &walks })?;
    } else {
        show(&walks, once)?;
    }
    Ok(exit(&walks))
}

fn exit(walks: &[Walk]) -> Exit {
    match () {
        _ if walks.iter().any(Walk::is_silent) => Exit::Unreachable,
        _ if walks.iter().any(|w| w.red().next().is_some()) => Exit::No,
        _ if walks.iter().any(|w| w.errors().next().is_some()) => Exit::Undecided,
        // Nothing was asked, so nothing was shown.
        _ if walks.iter().any(|w| w.green() == 0) => Exit::Undecided,
        _ => Exit::Yes,
    }
}

fn stopped(error: NetError) -> anyhow::Error {
    let exit = match error {
        NetError::Refused(_) => Exit::Refused,
        NetError::Stopped(_) => Exit::Undecided,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, error.to_string()).into()
}

/// The list, with everything that is wrong with it.
fn read(path: &Path) -> Result<Smoke, Failure> {
    use std::io::Read as _;
    let shown = path.display();
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|f| f.take(FILE_BYTES_MAX).read_to_string(&mut text));
    opened.map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot read {shown}: {}", e.kind()))
            .hint("`hypercare smoke init` writes one, --file names another")
    })?;
    let list = Smoke::parse(&text).map_err(|why| Failure::new(Exit::Usage, format!("{shown}: {why}")))?;
    let (fails, _) = smoke::problems(&list, &smoke::lines(&text), FILE);
    match fails.first() {
        None => Ok(list),
        Some(first) => {
            let line = first.line.map(|l| format!(":{l}")).unwrap_or_default();
            Err(Failure::new(Exit::Usage, format!("{shown}{line}: {}", first.message)).hint(first.fix.clone()))
        }
    }
}

fn show(walks: &[Walk], once: bool) -> anyhow::Result<()> {
    let mut out = Out::stdout();
    let Some(last) = walks.last() else { return Ok(()) };
    for step in &last.steps {
        let (mark, text) = match &step.state {
            State::Green => (paint(Tone::Pass, "✔"), format!("{} ms", step.duration_ms)),
            State::Red { why } => (paint(Tone::Fail, "✘"), why.clone()),
            State::Error { why, .. } => (paint(Tone::Warn, "?"), why.clone()),
            State::Human { owner } => (paint(Tone::Skip, "○"), format!("{owner} does it")),
        };
        let tries = if step.tries > 1 { format!(", {} tries", step.tries) } else { String::new() };
        out.line(format!(
            "{mark} {}  {}",
            clean_line(&step.name),
            paint(Tone::Soft, clean_line(&format!("{text}{tries}")))
        ))?;
    }
    let red = last.red().count();
    let unasked = last.errors().count();
    out.line("")?;
    out.line(match (red, unasked) {
        (0, 0) if last.green() == 0 => "nothing was asked: every item is a person's".to_string(),
        (0, 0) => format!("{} green {}", count(last.green(), "item"), if once { "once" } else { "twice" }),
        (0, n) => format!("{} green, {} could not be asked", last.green(), count(n, "item")),
        (n, _) => format!("{} red in walk {}", count(n, "item"), walks.len()),
    })?;
    out.flush()?;
    Ok(())
}
