//! Gate `infrastructure.backup_restore`: is there a fresh backup, and does the product come back from it?
//!
//! A backup that nobody has restored is a hope. The newest file must be young enough (`listing.rs`); under `--allow-exec` it
//! is restored into a database made for that on a scratch server (`restore.rs`), and what came back is compared with the
//! source: every object, the rows, the sequences, the newest entry, the product's own queries (`judge.rs`). What a rehearsal
//! showed is kept beside the runs and counts for 30 days. PostgreSQL. To fix a failure: the finding's own words.

mod judge;
mod listing;
mod restore;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::service::Profile;
use crate::domain::units::Span;
use crate::domain::verdict::{Class, Outcome, Tier};
use crate::gates::database::scratch::Scratch;
use crate::gates::database::{self, DbError, Session};
use crate::gates::{About, Gate, GateContext, Lock, Section, Stage};
use judge::{Checked, Seen};
use listing::Backup;

/// `[gates.infrastructure.backup_restore]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The backup's file, absolute or relative to the repository; `*` in its name: the newest of them. A folder of
    /// `pg_dump -Fd` counts as a file.
    pub artifact: Option<PathBuf>,
    /// A PostgreSQL server on which a database may be made and dropped: `${env:SCRATCH_DATABASE_URL}`. Never the source's.
    pub scratch: Option<Secret>,
    /// A program and its arguments that restore `{artifact}` into the database that PGHOST, PGPORT, PGUSER, PGPASSWORD and
    /// PGDATABASE name, or DATABASE_URL. Default: pg_restore, or psql for a plain dump.
    pub command: Vec<String>,
    /// Recovery point objective: so much work may be lost.
    pub rpo: Span,
    /// Recovery time objective: so long may the restore take.
    pub rto: Span,
    /// A rehearsal counts for so long.
    pub max_rehearsal_age: Span,
    /// A column with the time of a row's making, as `orders.created_at`: its newest entry tells what would be lost.
    pub clock: Option<String>,
    /// Queries of the product that must give a row from the restored copy.
    pub smoke: Vec<String>,
    /// The place where the backups lie is encrypted. Default: a name that ends with .gpg, .age, .asc or .enc tells.
    pub encrypted: Option<bool>,
    /// The place where the backups lie survives the database's host. Default: a database on another machine tells.
    pub off_host: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            artifact: None,
            scratch: None,
            command: Vec::new(),
            rpo: Span::secs(24 * 3600),
            rto: Span::secs(4 * 3600),
            max_rehearsal_age: Span::secs(30 * 86_400),
            clock: None,
            smoke: Vec::new(),
            encrypted: None,
            off_host: None,
        }
    }
}

impl Config {
    /// Problems by path below `gates.infrastructure.backup_restore`.
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, span) in [("rpo", self.rpo), ("rto", self.rto), ("max_rehearsal_age", self.max_rehearsal_age)] {
            if span.get().is_zero() {
                problems.push(Problem::at([key], "must be above zero"));
            }
        }
        if self.rto.get() > RTO_MAX {
            problems.push(Problem::at(["rto"], "must be one day at most"));
        }
        let is_column = |clock: &String| (2..=3).contains(&clock.split('.').filter(|part| !part.is_empty()).count());
        if self.clock.as_ref().is_some_and(|clock| !is_column(clock)) {
            problems.push(Problem::at(["clock"], "is no column").hint("write table.column, as orders.created_at"));
        }
        let folder = self.artifact.as_ref().and_then(|path| path.parent());
        if folder.is_some_and(|folder| folder.to_string_lossy().contains('*')) {
            problems.push(
                Problem::at(["artifact"], "has a `*` in a folder's name").hint("only the file's name may have it"),
            );
        }
        problems
    }
}

const RTO_MAX: Duration = Duration::from_secs(86_400);

pub struct BackupRestore;

pub static ABOUT: About = About {
    id: "infrastructure.backup_restore",
    section: Section::Infrastructure,
    class: Class::A,
    line: "database backup and restore tested",
    min_tier: Tier::E2,
    attestable: true,
    stage: Stage::Rehearsal,
    lock: Lock::TargetExclusive,
    needs: &[],
    // The longest rto, twice, and the comparison.
    timeout: Duration::from_secs(2 * 86_400 + 3600),
    skipped_for: &[Profile::StaticSite],
    reads: "the newest backup file; with --allow-exec and a scratch server a restore of it into a database made for that; \
            catalog, row counts, sequences and the newest entry of the source and of the copy. PostgreSQL",
    decides: "the newest backup is younger than rpo, whole, and a restore within 30 days gave back every object, the rows, \
              sequences ahead of their columns, entries no older than rpo, within rto; on the database's own machine, in \
              clear or rehearsed too long ago warns; none, stale, empty or one that does not load fails",
    fix: "take a backup and rehearse its restore",
};

impl Gate for BackupRestore {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn check<'a>(&'a self, ctx: &'a GateContext) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let own = follow(ctx).await.unwrap_or_else(|outcome| *outcome);
            ctx.with_imports(&ABOUT, own)
        })
    }
}

async fn follow(ctx: &GateContext) -> Result<Outcome, Box<Outcome>> {
    let config = &ctx.config.infrastructure.backup_restore;
    // Its own words tell a product without a database from one whose address is not known.
    let mut source = database::open(ctx).await?;
    let Some(artifact) = &config.artifact else {
        let text = format!("{} has a backup that nobody named, or none", source.place);
        return Err(Box::new(
            Outcome::error("no-artifact", text)
                .hint("[gates.infrastructure.backup_restore] artifact = \"/mnt/backup/shop-*.dump\""),
        ));
    };
    let root = ctx.repo.as_ref().map_or(Path::new("."), |repo| repo.root());
    let (path, now) = (root.join(artifact), ctx.clock.now());
    let listed = tokio::task::spawn_blocking(move || listing::list(&path, now)).await;
    let backups = match listed {
        Ok(Ok(backups)) => backups,
        Ok(Err(e)) => {
            let text = format!("{}: {e}", artifact.display());
            return Err(Box::new(
                Outcome::error("unreadable", text).hint("the check's user must be allowed to read the backups"),
            ));
        }
        Err(e) => return Err(Box::new(Outcome::error("unreadable", e.to_string()))),
    };
    let mut seen = Seen {
        place: source.place.to_string(),
        own_host: crate::gates::database::is_own_place(&source.place.host),
        artifact: artifact.display().to_string(),
        backups,
        ..Seen::default()
    };
    let Some(newest) = seen.backups.first().cloned() else { return Ok(judge::judge(&seen, config, now)) };
    match (&config.scratch, ctx.allow_exec) {
        (Some(scratch), true) if newest.bytes > 0 => {
            let checked = rehearse(ctx, &mut source, scratch, &newest).await?;
            judge::keep(&ctx.guard.run_dir, &seen, &checked, now)
                .map_err(|e| Box::new(Outcome::error("not-kept", format!("what the restore showed: {e}"))))?;
            seen.checked = Some((checked, now));
        }
        (scratch, allowed) => {
            seen.checked = judge::kept(&ctx.guard.run_dir, &seen);
            seen.why_not = match (scratch, allowed) {
                (None, _) => Some("no scratch server is named"),
                (_, false) => Some("a restore runs only with --allow-exec"),
                _ => None,
            };
        }
    }
    Ok(judge::judge(&seen, config, now))
}

/// Restores into a database of its own, compares, and drops it.
async fn rehearse(
    ctx: &GateContext,
    source: &mut Session,
    url: &Secret,
    backup: &Backup,
) -> Result<Checked, Box<Outcome>> {
    let config = &ctx.config.infrastructure.backup_restore;
    let tell = |text: &str| (ctx.progress)(ABOUT.id, text);
    let failed = |what: &'static str| {
        move |e: DbError| {
            let mut outcome = e.outcome();
            outcome.summary = format!("{what}: {}", outcome.summary);
            Box::new(outcome)
        }
    };
    let of_source = failed("the source");
    let encoding = source.encoding().await.map_err(of_source)?;
    let mut before = Session::open(url, ctx.config.database.tls).await.map_err(failed("the scratch server"))?;
    let same = match (source.server_id().await.map_err(of_source)?, before.server_id().await.map_err(of_source)?) {
        (Some(one), Some(other)) => one == other,
        _ => source.place.host == before.place.host,
    };
    if same {
        let text = format!("the scratch server is {} itself, or a replica of it", source.place.host);
        return Err(Box::new(
            Outcome::error("same-server", text).hint("name a server of its own: a restore takes its disk and its time"),
        ));
    }
    drop(before);
    tell("making a database to restore into");
    let now_s = (ctx.clock.now().ms() / 1000).max(0) as u64;
    let scratch = Scratch::create(url, ctx.config.database.tls, &encoding, now_s)
        .await
        .map_err(failed("the scratch server; its role needs CREATEDB"))?;
    let begun = Instant::now();
    let folder = ctx.repo.as_ref().map_or(Path::new("."), |repo| repo.root()).to_path_buf();
    let looked = async {
        let restored = restore::restore(&scratch, backup, &config.command, &folder, config.rto.get() * 2, |s| {
            tell(&format!("restoring {}, {s} s", backup.name));
        })
        .await;
        let took = begun.elapsed();
        let mut checked = Checked {
            backup: backup.clone(),
            scratch: scratch.host.clone(),
            took_s: took.as_secs_f64(),
            ..Checked::default()
        };
        match restored {
            Ok(by) => checked.by = by,
            Err(restore::Stopped::Failed(text)) => {
                checked.stopped = Some(text);
                return Ok(checked);
            }
            Err(restore::Stopped::NoTool(outcome)) => return Err(outcome),
        }
        tell("comparing the copy with the source");
        scratch.analyze().await.map_err(failed("the copy"))?;
        let mut copy = scratch.session().await.map_err(failed("the copy"))?;
        let (ours, theirs) =
            (source.holdings(false).await.map_err(of_source)?, copy.holdings(true).await.map_err(failed("the copy"))?);
        checked.compare(&ours, &theirs);
        if let Some((table, column)) = config.clock.as_deref().and_then(|clock| clock.rsplit_once('.')) {
            let (new, old) = (
                source.newest(table, column).await.map_err(of_source)?,
                copy.newest(table, column).await.map_err(failed("the copy"))?,
            );
            checked.lag_s = Some(match (new, old) {
                (Some(new), Some(old)) => (new - old).max(0.0),
                (None, _) => 0.0,
                // Nothing came back of what there is.
                (Some(_), None) => f64::MAX,
            });
        }
        for sql in &config.smoke {
            match copy.gives_a_row(sql).await {
                Ok(true) => {}
                Ok(false) => checked.smoke_failed.push(format!("`{sql}` gives no row")),
                Err(DbError::Statement(state, text)) => checked.smoke_failed.push(format!("`{sql}`: {text} ({state})")),
                Err(other) => return Err(failed("the copy")(other)),
            }
        }
        Ok(checked)
    }
    .await;
    let left = scratch.name.clone();
    let dropped = scratch.drop().await;
    let mut checked = looked?;
    if dropped.is_err() {
        checked.left_behind = Some(left);
    }
    Ok(checked)
}

#[cfg(test)]
mod tests;
