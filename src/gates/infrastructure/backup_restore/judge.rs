//! The age of the backup and what its copy held, to a verdict; and the record of a rehearsal, `restore.json` beside the runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::listing::Backup;
use super::{ABOUT, Config};
use crate::domain::clock::Timestamp;
use crate::domain::units::{bytes, count, prose};
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::database::holdings::Holdings;

#[derive(Debug, Default)]
pub struct Seen {
    /// The source.
    pub place: String,
    /// The source runs on this machine.
    pub own_host: bool,
    pub artifact: String,
    /// Newest first.
    pub backups: Vec<Backup>,
    /// The rehearsal of now, or the last one that is kept.
    pub checked: Option<(Checked, Timestamp)>,
    /// Why there was none now.
    pub why_not: Option<&'static str>,
}

/// What one restore showed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    pub backup: Backup,
    /// `pg_restore (PostgreSQL) 15.14`.
    pub by: String,
    /// The scratch server.
    pub scratch: String,
    pub took_s: f64,
    /// The restore's own complaint.
    pub stopped: Option<String>,
    /// Objects of the source that the copy lacks, or has otherwise.
    pub missing: Vec<String>,
    pub missing_tables: Vec<String>,
    pub objects: usize,
    /// (table, rows of the source, rows of the copy) where far fewer came back.
    pub fewer: Vec<(String, u64, u64)>,
    pub tables: usize,
    /// Tables whose rows could not be compared.
    pub uncounted: Vec<String>,
    pub rows: u64,
    pub behind: Vec<String>,
    /// The source's newest entry is so much newer.
    pub lag_s: Option<f64>,
    pub smoke_failed: Vec<String>,
    /// The name of the database that could not be dropped.
    pub left_behind: Option<String>,
}

const KEPT_MAX: usize = 50;
/// Fewer rows than this share of the source's is no growth since the backup.
const ROWS_SHARE_MIN: f64 = 0.5;

impl Checked {
    pub fn compare(&mut self, source: &Holdings, copy: &Holdings) {
        self.objects = source.objects.len();
        self.missing = source.objects.difference(&copy.objects).take(KEPT_MAX).cloned().collect();
        self.tables = source.rows.len();
        self.missing_tables = source.rows.keys().filter(|table| !copy.rows.contains_key(*table)).cloned().collect();
        for (table, ours) in &source.rows {
            match (ours, copy.rows.get(table)) {
                (Some(ours), Some(Some(theirs))) => {
                    self.rows += theirs;
                    if (*theirs as f64) < *ours as f64 * ROWS_SHARE_MIN {
                        self.fewer.push((table.clone(), *ours, *theirs));
                    }
                }
                (_, Some(_)) => self.uncounted.push(table.clone()),
                (_, None) => {}
            }
        }
        self.behind = copy.behind.iter().filter(|s| !source.behind.contains(s)).cloned().collect();
    }
}

pub fn judge(seen: &Seen, config: &Config, now: Timestamp) -> Outcome {
    let mut findings = Vec::new();
    let mut miss = |rule: &str, severity, text: String, fix: &str| {
        findings.push(Finding::new(rule, severity, text).fix(fix).identified_by(&[ABOUT.id, rule]));
    };
    let newest = seen.backups.first();
    match newest {
        None => miss(
            "no-backup",
            Severity::High,
            format!("no file is called {}", seen.artifact),
            "take a backup, every night",
        ),
        Some(newest) => {
            let age = now.since(newest.at);
            if newest.bytes == 0 {
                let text = format!("{} is empty", newest.name);
                miss("empty-backup", Severity::High, text, "see the log of the job that wrote it; check its exit code");
            }
            if age > config.rpo.get() {
                let text = format!("last good backup {} old > rpo {}", prose(age), prose(config.rpo.get()));
                miss("stale-backup", Severity::High, text, "see why the backup job no longer runs");
            }
            places(seen, config, newest, &mut miss);
        }
    }
    if let Some((checked, at)) = &seen.checked {
        rehearsed(checked, config, &mut miss);
        if let Some(newest) = newest.filter(|newest| newest.bytes > 0 && newest.bytes * 2 < checked.backup.bytes) {
            let (now, then) = (bytes(newest.bytes as f64), bytes(checked.backup.bytes as f64));
            let text = format!("{} has {now}, the one that was restored had {then}", newest.name);
            miss("shrunk", Severity::Medium, text, HOW);
        }
        let age = now.since(*at);
        if age > config.max_rehearsal_age.get() {
            let text = format!("the restore was rehearsed {} ago", prose(age));
            miss("old-rehearsal", Severity::Medium, text, HOW);
        }
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let failed = findings.first().is_some_and(|f| f.severity >= Severity::High);
    let outcome = match (&seen.checked, failed) {
        (None, false) => {
            let text =
                format!("{}, but nobody has restored it: {}", fresh(newest, now), seen.why_not.unwrap_or("not asked"));
            Outcome::error("not-rehearsed", text).hint(HOW)
        }
        (checked, _) => verdict(&findings, checked.as_ref(), newest, now),
    };
    let (tables, good) = seen.checked.as_ref().map_or((0, 0), |(c, _)| {
        (c.tables, c.tables - (c.missing_tables.len() + c.fewer.len() + c.uncounted.len()).min(c.tables))
    });
    outcome.covered(good as u64, tables as u64).findings(findings).evidence(
        "backup_restore",
        json!({
            "source": seen.place, "artifact": seen.artifact, "newest": newest, "backups": seen.backups.len(),
            "oldest": seen.backups.last().map(|b| b.at), "rehearsed_at": seen.checked.as_ref().map(|(_, at)| at),
            "restore": seen.checked.as_ref().map(|(checked, _)| checked),
        }),
    )
}

const HOW: &str = "hypercare check --only infrastructure.backup_restore --allow-exec, with scratch = \"${env:SCRATCH_DATABASE_URL}\" in \
                   [gates.infrastructure.backup_restore]";

fn fresh(newest: Option<&Backup>, now: Timestamp) -> String {
    newest.map_or_else(String::new, |newest| {
        format!("{}, {} old, {}", newest.name, prose(now.since(newest.at)), bytes(newest.bytes as f64))
    })
}

fn verdict(
    findings: &[Finding],
    checked: Option<&(Checked, Timestamp)>,
    newest: Option<&Backup>,
    now: Timestamp,
) -> Outcome {
    let noted: Vec<&Finding> = findings.iter().filter(|f| f.severity >= Severity::Medium).collect();
    let more = if noted.len() > 1 { format!(" and {} more", noted.len() - 1) } else { String::new() };
    let outcome = match noted.first() {
        Some(first) => {
            let text = format!("{}{more}", first.message);
            let outcome = if first.severity >= Severity::High { Outcome::fail(text) } else { Outcome::warn(text) };
            outcome.hint(first.fix.clone())
        }
        None => {
            let came = checked.map_or_else(String::new, |(c, at)| {
                let ago = match now.since(*at) {
                    age if age < Duration::from_secs(60) => String::new(),
                    age => format!(" {} ago", prose(age)),
                };
                format!(
                    "; restored{ago} in {}: {} with {} rows",
                    prose(Duration::from_secs_f64(c.took_s)),
                    count(c.tables, "table"),
                    crate::domain::units::group_thousands(&c.rows.to_string())
                )
            });
            Outcome::pass(format!("{}{came}", fresh(newest, now)))
        }
    };
    outcome.tier(if checked.is_some() { Tier::E3 } else { Tier::E2 })
}

/// Where it lies, and who could read it there.
fn places(seen: &Seen, config: &Config, newest: &Backup, miss: &mut impl FnMut(&str, Severity, String, &str)) {
    if !config.off_host.unwrap_or(!seen.own_host) {
        let text = format!("{} lies on the database's own machine, or nobody said otherwise", newest.name);
        miss("same-host", Severity::Medium, text, "copy it to another machine, and say off_host = true");
    }
    let sealed = [".gpg", ".pgp", ".asc", ".age", ".enc"].iter().any(|end| newest.name.ends_with(end));
    if !config.encrypted.unwrap_or(sealed) {
        let text = format!("{} is not encrypted, or nobody said otherwise", newest.name);
        miss("unencrypted", Severity::Medium, text, "encrypt it, or say encrypted = true where its storage is");
    }
    let span = seen.backups.last().map_or(Duration::ZERO, |oldest| newest.at.since(oldest.at));
    if span < KEEP_MIN {
        let text = format!("backups of {} are there; an error found after a week needs an older one", prose(span));
        miss("short-retention", Severity::Info, text, "keep seven days or more");
    }
}

const KEEP_MIN: Duration = Duration::from_secs(7 * 86_400);

fn rehearsed(checked: &Checked, config: &Config, miss: &mut impl FnMut(&str, Severity, String, &str)) {
    let name = &checked.backup.name;
    let few = |all: &[String]| {
        let more = if all.len() > 3 { format!(" and {} more", all.len() - 3) } else { String::new() };
        format!("{}{more}", all[..all.len().min(3)].join(", "))
    };
    if let Some(why) = &checked.stopped {
        let text = format!("{name} does not load: {why}");
        let fix = "dump with the same major version, whole, and make its roles and extensions on the scratch server \
                   (pg_dumpall --globals-only)";
        return miss("restore-failed", Severity::High, text, fix);
    }
    let took = Duration::from_secs_f64(checked.took_s);
    if took > config.rto.get() {
        let text = format!("the restore took {} (≤ {})", prose(took), prose(config.rto.get()));
        miss("over-rto", Severity::High, text, "restore in parallel (pg_restore --jobs), or from a physical backup");
    }
    if checked.tables == 0 {
        let text = "the source has no table: nothing was shown".to_string();
        miss("empty-source", Severity::Medium, text, "migrate the database, then check again");
    }
    if !checked.missing_tables.is_empty() {
        let text = format!("{name} came back without {}", few(&checked.missing_tables));
        miss("missing-table", Severity::High, text, "dump the whole database, with every schema");
    } else if !checked.missing.is_empty() {
        let text = format!("the copy differs from the source: {}", few(&checked.missing));
        miss("schema-differs", Severity::Medium, text, "take a backup after each migration; dump the whole database");
    }
    if !checked.fewer.is_empty() {
        let told: Vec<String> =
            checked.fewer.iter().map(|(t, of, rows)| format!("{t} has {rows} of {of} rows")).collect();
        miss(
            "missing-rows",
            Severity::High,
            few(&told),
            "see what the dump leaves out: --exclude-table-data, row security",
        );
    }
    if !checked.uncounted.is_empty() {
        let text = format!("rows were not compared: {}", few(&checked.uncounted));
        miss("not-counted", Severity::Medium, text, "GRANT pg_read_all_data TO the role of [gates] database");
    }
    if !checked.behind.is_empty() {
        let text = format!("the next number is already taken: {}", few(&checked.behind));
        miss("sequence-behind", Severity::High, text, "dump sequences with their tables, or setval after the restore");
    }
    match checked.lag_s {
        Some(lag) if lag > config.rpo.get().as_secs_f64() => {
            let told = if lag == f64::MAX {
                "none at all".into()
            } else {
                format!("{} old", prose(Duration::from_secs_f64(lag)))
            };
            let text = format!("the newest entry that came back is {told}, beside the source's");
            miss("stale-content", Severity::High, text, "the job copies something old: look where it dumps from");
        }
        Some(_) => {}
        None => {
            let text = "how old the newest entry is was not looked at".to_string();
            miss("no-clock", Severity::Info, text, "clock = \"orders.created_at\"");
        }
    }
    if !checked.smoke_failed.is_empty() {
        miss("smoke", Severity::High, few(&checked.smoke_failed), "see what the product lacks in the copy");
    }
    if let Some(left) = &checked.left_behind {
        let text = format!("{left} on {} could not be dropped", checked.scratch);
        miss("left-behind", Severity::Low, text, "DROP DATABASE … WITH (FORCE)");
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    source: String,
    artifact: String,
    at: Timestamp,
    checked: Checked,
}

const RECORD_BYTES_MAX: u64 = 1 << 20;

fn path(run_dir: &Path) -> PathBuf {
    run_dir.parent().unwrap_or(run_dir).join("restore.json")
}

/// A failed restore is kept as well: it takes the place of an older success.
pub fn keep(run_dir: &Path, seen: &Seen, checked: &Checked, now: Timestamp) -> std::io::Result<()> {
    let record =
        Record { source: seen.place.clone(), artifact: seen.artifact.clone(), at: now, checked: checked.clone() };
    let path = path(run_dir);
    let beside = path.with_extension("json.new");
    std::fs::create_dir_all(path.parent().unwrap_or(run_dir))?;
    std::fs::write(&beside, serde_json::to_string_pretty(&record)?)?;
    std::fs::rename(&beside, &path)
}

/// The last one of this source and these backups.
pub fn kept(run_dir: &Path, seen: &Seen) -> Option<(Checked, Timestamp)> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path(run_dir)).ok()?.take(RECORD_BYTES_MAX).read_to_string(&mut text).ok()?;
    let record: Record = serde_json::from_str(&text).ok()?;
    (record.source == seen.place && record.artifact == seen.artifact).then_some((record.checked, record.at))
}
