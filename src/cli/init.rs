//! `hypercare init`: looks around, writes a commented `hypercare.toml`, and says what it found and what it could not.
//!
//! The text is made in `init/draft.rs`, which is pure; what it writes passes `config check`, or nothing is written.

mod draft;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use url::Url;

use super::check::subject;
use super::facts::{LABELS, list};
use super::output::{self, Out, Tone, clean_line, hang, pad, paint};
use super::{Exit, Failure, Global};
use crate::config::{self, Secrets, expand::ProcessEnv};
use crate::domain::units::duration_ms;
use crate::gates::facts::{Facts, walk};
use draft::{Answers, Plan, draft, missing};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare init --repo . --url https://staging.shop.example
  hypercare init --yes                 ask nothing")]
pub struct Args {
    /// Repository to look at
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// What the gates probe: the staging URL
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The service's name [default: the folder's]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Ask nothing; what no file can know becomes a line to confirm
    #[arg(long)]
    yes: bool,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let path = global.flags.config.clone().unwrap_or_else(|| config::DEFAULT_FILE.into());
    if path.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("{} is a folder", path.display())).hint("name a file").into());
    }
    if path.exists() && !args.force {
        let failure = Failure::new(Exit::Usage, format!("{} exists", path.display()));
        return Err(failure.hint("--force overwrites it; --config FILE writes elsewhere").into());
    }
    let folder = args.repo.clone();
    let seen =
        tokio::task::spawn_blocking(move || walk::open(&folder).map(|r| (Facts::look(&r), r.root, r.git.is_some())));
    let (facts, root, git) = seen.await?.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let name = args
        .service
        .as_deref()
        .map(subject::name)
        .or_else(|| root.file_name().map(|n| subject::name(&n.to_string_lossy())));
    let name = name.filter(|n| !n.is_empty()).unwrap_or_else(|| "service".into());
    let asking = !args.yes && std::io::stdin().is_terminal();
    let url = match args.url {
        None if asking => ask("Where does staging run (a URL; empty: not yet)")?
            .map(|u| u.parse().with_context(|| format!("{u} is not a URL")))
            .transpose()
            .map_err(|e| Failure::new(Exit::Usage, format!("{e:#}")))?,
        given => given,
    };
    let answers = if asking { ask_people(&facts)? } else { Answers::default() };
    // A configuration that lies elsewhere still means this folder.
    let elsewhere = path.parent().is_some_and(|p| !p.as_os_str().is_empty() && p != Path::new("."));
    let repo = if elsewhere && args.repo.is_relative() { root } else { args.repo };
    let plan = Plan { name, repo, url, facts, git, answers };
    let text = draft(&plan);
    // What we write must hold; if it does not, that is our fault and nothing is written.
    config::load_text(&text, &path, Secrets::MayBeMissing, &ProcessEnv)
        .map_err(|e| anyhow::anyhow!("the draft does not hold: {e}"))
        .with_context(|| Failure::new(Exit::Internal, "cannot write a configuration that holds").hint("report this"))?;
    std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    tell(&plan, &path)?;
    Ok(Exit::Yes)
}

/// What no file can know.
fn ask_people(facts: &Facts) -> anyhow::Result<Answers> {
    let mail = ask("Who hears of the release (a mail address; empty: nobody yet)")?;
    let target_rps = ask_for("How many requests a second must it hold (empty: 10000)", |text| {
        text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0)
    })?;
    let senior = match facts.of("codeowner").next() {
        Some(_) => None,
        None => ask("Whose approval counts as a senior's (logins or addresses, with commas; empty: nobody yet)")?,
    };
    let senior = senior.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|s| !s.is_empty());
    let senior = senior.map(String::from).collect();
    let rollback = ask_for("How long may the way back take (empty: 10m)", |text| {
        duration_ms(text, 86_400_000).ok().map(|_| text.to_string())
    })?;
    Ok(Answers { mail, target_rps, senior, rollback })
}

/// Asks until the answer can be read, or there is none.
fn ask_for<T>(question: &str, read: impl Fn(&str) -> Option<T>) -> anyhow::Result<Option<T>> {
    loop {
        let Some(answer) = ask(question)? else { return Ok(None) };
        match read(&answer) {
            Some(value) => return Ok(Some(value)),
            None => Out::stdout().line(format!("{} cannot be read, once more", clean_line(&answer)))?,
        }
    }
}

fn ask(question: &str) -> anyhow::Result<Option<String>> {
    let mut out = Out::stdout();
    out.text(format!("{question}: "))?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_string()).filter(|a| !a.is_empty()))
}

fn tell(plan: &Plan, path: &Path) -> anyhow::Result<()> {
    let mut out = Out::stdout();
    let width = output::width();
    let (profile, because) = plan.facts.profile();
    out.line(paint(Tone::Strong, "found"))?;
    let line = |out: &mut Out, label: &str, text: &str| {
        out.line(format!("  {} {}", pad(&paint(Tone::Soft, label), 12), hang(&clean_line(text), 15, width)))
    };
    line(&mut out, "profile", &format!("{} because of {because}", profile.word()))?;
    for (kind, label) in LABELS {
        let text = list(&plan.facts, kind);
        if !text.is_empty() {
            line(&mut out, label, &text)?;
        }
    }
    let missing = missing(plan);
    if !missing.is_empty() {
        out.line("")?;
        out.line(paint(Tone::Strong, "could not find"))?;
        for text in missing {
            out.line(format!("  {} {}", paint(Tone::Warn, "▲"), hang(text, 4, width)))?;
        }
    }
    out.line("")?;
    out.line(format!("{} {}", paint(Tone::Pass, "✔ wrote"), path.display()))?;
    out.line("        next: look for \"please confirm\" in it, then hypercare check")?;
    Ok(out.flush()?)
}
