//! `hypercare review sign`: approves a change by a signed note, which `code.review` verifies. For houses without a forge,
//! and for what the forge did not see. `hypercare review export`: the forge's approvals into a file, where a token is, for
//! a machine that has none.

use std::path::PathBuf;

use super::check::subject::{self, Which};
use super::config::Need;
use super::output::{self, Out, Tone, clean_line, paint};
use super::{Exit, Failure, Global, sign};
use crate::config::Secrets;
use crate::gates::code::review::history::{self, History};
use crate::gates::code::review::notes;
use crate::gates::context::Repo;
use crate::gates::facts::walk;
use crate::gates::forge::Forge;
use crate::gates::import::reviews::{self, Landed};
use crate::gates::people::{About, People};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Approve a commit by a signed note in refs/notes/hypercare-review
    Sign(SignArgs),
    /// Print what the forge knows of the approvals since the previous release, as JSON
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Run it where GITHUB_TOKEN, GITLAB_TOKEN or GITEA_TOKEN is set, and where there is none:
hypercare evidence import reviews FILE. The list of GitHub's own command line is taken too:
  gh pr list --state merged --limit 300 \\
    --json number,url,author,commits,headRefOid,mergeCommit,mergedBy,reviews > reviews.json")]
struct ExportArgs {
    /// A tag on HEAD is the release itself: what went into it is exported
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sign the last commit of the change as it was pushed for review. The note counts when the key is in
.hypercare/allowed_signers on the base branch for the namespace hypercare-review, and its owner is a
senior who wrote none of the change. Then share it: git push origin refs/notes/hypercare-review")]
struct SignArgs {
    /// The commit that you have reviewed
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// Take it back: the note says rejected
    #[arg(long)]
    reject: bool,
    /// A private key, or the .pub of one that your agent holds [default: git's user.signingkey]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let args = match args.what {
        What::Sign(args) => args,
        What::Export(args) => return export(args, global).await,
    };
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let repo = subject::choose(&loaded, &args.which)?.repo.unwrap_or_else(|| PathBuf::from("."));
    let now = global.clock.now();
    let work = move || -> anyhow::Result<Exit> {
        let repo = walk::open(&repo)?;
        let usage = |message: String| Failure::new(Exit::Usage, message);
        let git = repo.git.clone().ok_or_else(|| usage("this is no git repository".into()))?;
        let name = format!("{}^{{commit}}", args.commit);
        let commit = git
            .run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &name])
            .map_err(|_| usage(format!("{} is no commit of this repository", args.commit)))?;
        let commit = commit.trim();
        let text = notes::text(commit, !args.reject);
        let key = sign::choose(args.key.as_deref(), Some(&git))?;
        let mut out = Out::stdout();
        out.text(&text)?;
        let subject = git.run(&["log", "-1", "--format=%h %an: %s", commit]).unwrap_or_default();
        out.line(format!("  {}", clean_line(subject.trim())))?;
        out.flush()?;
        let signature = key.sign(notes::NAMESPACE, text.as_bytes())?;
        let note = format!("{text}{signature}");
        git.run(&["notes", "--ref", notes::REF, "append", "--message", &note, commit])
            .map_err(|e| Failure::new(Exit::Io, e.to_string()))?;
        let people = People::open(&repo, &About::default(), now);
        match people.trust.check(None, notes::NAMESPACE, text.as_bytes(), &signature, now) {
            Ok(signer) => {
                let names: Vec<&str> = signer.names.iter().map(String::as_str).collect();
                out.line(format!("{} signed by {}", paint(Tone::Pass, "✔"), clean_line(&names.join(", "))))?;
            }
            Err(why) => out.line(format!("{} signed, but it does not count yet: {why}", paint(Tone::Warn, "▲")))?,
        }
        out.line(format!("  share it: git push origin refs/notes/{}", notes::REF))?;
        out.flush()?;
        Ok(Exit::Yes)
    };
    tokio::task::spawn_blocking(work).await?
}

/// Changes of one release; `code.review` asks for no more.
const EXPORTED_MAX: usize = 200;

async fn export(args: ExportArgs, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let folder = subject::choose(&loaded, &args.which)?.repo.unwrap_or_else(|| PathBuf::from("."));
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let look = move || -> anyhow::Result<(Repo, History)> {
        let repo = walk::open(&folder)?;
        let git = repo.git.clone().ok_or_else(|| usage("this is no git repository".into()))?;
        let history = history::read(&git, args.release)?;
        Ok((repo, history))
    };
    let (repo, history) = tokio::task::spawn_blocking(look).await??;
    if history.shallow || history.truncated || history.changesets.len() > EXPORTED_MAX {
        let hint = "fetch everything (git fetch --unshallow --tags), and tag releases";
        return Err(usage(format!("not all changes are here, or more than {EXPORTED_MAX}")).hint(hint).into());
    }
    let guard = super::attest::ledger(&repo, global)?;
    let forge = Forge::open(Some(&repo), &guard, "review").map_err(|e| usage(e.to_string()))?;
    let mut changes: Vec<Landed> = Vec::new();
    for changeset in &history.changesets {
        for commit in [&changeset.landed.id, &changeset.head] {
            let found = forge.changes_of(commit).await.map_err(|e| Failure::new(Exit::Unreachable, e.to_string()))?;
            for change in found {
                match changes.iter_mut().find(|l| l.change.id == change.id) {
                    Some(known) if !known.commits.contains(commit) => known.commits.push(commit.clone()),
                    Some(_) => {}
                    None => changes.push(Landed { commits: vec![commit.clone()], change }),
                }
            }
            if changeset.head == changeset.landed.id || changes.iter().any(|l| l.commits.contains(commit)) {
                break;
            }
        }
    }
    output::json(&serde_json::json!({"schema": reviews::SCHEMA, "since": history.tag, "changes": changes}))?;
    Ok(Exit::Yes)
}
