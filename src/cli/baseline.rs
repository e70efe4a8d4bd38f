//! `hypercare baseline`: writes down the findings that are there today, so that new ones stand out; shows them; lets
//! go of those that are mended. The file belongs into the repository. What may stand in it says `gates/baseline.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::check::{cache_dir, explained, fingerprint_key, subject};
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, paint};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::units::count;
use crate::domain::verdict::{GateRun, Verdict};
use crate::gates::baseline::{self, Against, Baseline, Document, Entry};
use crate::gates::context::Receipts;
use crate::gates::facts::walk;
use crate::gates::judge::FINDINGS_MAX;
use crate::gates::people::base;
use crate::gates::runner::Selection;
use crate::gates::{self, GateInputs, Options, Stage};
use crate::net::Client;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The baseline is .hypercare/baseline.json: commit it. It holds fingerprints of static findings of class B and C,
no code and no secret. It is a ratchet: `prune` lets it shrink, and whatever it covers beyond the base branch stops
the launch until somebody waives meta.suppressions.

Examples:
  hypercare baseline create                  today's findings are known
  hypercare baseline prune                   let go of what is mended
  hypercare baseline update --only code      new findings of one section are known too")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write down all findings of today
    Create {
        #[command(flatten)]
        looks: Looks,
        /// Although there is a baseline
        #[arg(long)]
        force: bool,
    },
    /// Add new findings, let go of those that are gone
    Update(Looks),
    /// What is known, and how it compares with the base branch
    Show {
        #[command(flatten)]
        which: subject::Which,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Let go of findings that are gone; adds nothing
    Prune(Looks),
}

#[derive(Debug, clap::Args)]
struct Looks {
    /// These gates or sections only, commas between; entries of others stay
    #[arg(long, value_name = "ID|SECTION", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    which: subject::Which,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.what {
        What::Show { which, format } => show(&which, format, global).await,
        What::Create { looks, force } => {
            let root = root(&looks.which, global)?;
            if root.join(baseline::FILE).exists() && !force {
                return Err(Failure::new(Exit::No, format!("{} is there already", baseline::FILE))
                    .hint("`hypercare baseline update` adds to it, --force writes it anew")
                    .into());
            }
            write(looks, &root, Way::Create, global).await
        }
        What::Update(looks) => {
            let root = root(&looks.which, global)?;
            write(looks, &root, Way::Update, global).await
        }
        What::Prune(looks) => {
            let root = root(&looks.which, global)?;
            write(looks, &root, Way::Prune, global).await
        }
    }
}

fn root(which: &subject::Which, global: &Global) -> anyhow::Result<PathBuf> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let repo = subject::choose(&loaded, which)?.repo.unwrap_or_else(|| PathBuf::from("."));
    repo.canonicalize().map_err(|e| Failure::new(Exit::Usage, format!("{}: {e}", repo.display())).into())
}

/// The file as it is; without one, an empty one.
fn read(root: &Path) -> anyhow::Result<Vec<Entry>> {
    let failed = |why: String| Failure::new(Exit::Io, format!("{}: {why}", baseline::FILE));
    match std::fs::read_to_string(root.join(baseline::FILE)) {
        Ok(text) => Ok(Document::parse(&text).map_err(|why| failed(why).hint("mend it, or create --force"))?.entries),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(vec![]),
        Err(e) => Err(failed(e.to_string()).into()),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Create,
    Update,
    Prune,
}

async fn write(looks: Looks, root: &Path, way: Way, global: &Global) -> anyhow::Result<Exit> {
    refuse_blockers(&looks.only)?;
    let old = if way == Way::Create { vec![] } else { read(root)? };
    let run = look(looks, root, global).await?;
    let today = global.clock.now().rfc3339()[..10].to_string();
    let new = merged(&old, &run, way, &today);
    let path = root.join(baseline::FILE);
    let failed = |e: std::io::Error| Failure::new(Exit::Io, format!("cannot write {}: {e}", path.display()));
    std::fs::create_dir_all(path.parent().unwrap_or(root)).map_err(failed)?;
    std::fs::write(&path, Document::new(new.clone()).text()).map_err(failed)?;
    let sum = |list: &[Entry]| list.iter().map(|e| e.count as usize).sum::<usize>();
    let (was, is) = (sum(&old), sum(&new));
    let mut out = Out::stdout();
    out.line(format!(
        "{} {} in {}, {was} before",
        paint(Tone::Pass, "✔"),
        count(is, "known finding"),
        clean_line(&path.display().to_string())
    ))?;
    if is > was {
        out.line(format!(
            "  {} more: commit it, and let somebody answer for them: hypercare waive meta.suppressions",
            is - was
        ))?;
    }
    for line in left_out(&run) {
        out.line(format!("  {}", clean_line(&line)))?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

/// Gates that were asked for by name and may not be in a baseline.
fn refuse_blockers(only: &[String]) -> Result<(), Failure> {
    let all = gates::all();
    let named = all.iter().filter(|g| only.iter().any(|o| o == g.about().id));
    match named.map(|g| baseline::accepts(g.as_ref())).find_map(Result::err) {
        None => Ok(()),
        Some(why) => Err(Failure::new(Exit::Usage, why).hint("`hypercare waive GATE` takes a named risk for a while")),
    }
}

/// The static gates, as `check` runs them.
async fn look(looks: Looks, root: &Path, global: &Global) -> anyhow::Result<GateRun> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let subject = subject::choose(&loaded, &looks.which)?;
    let change = {
        let (wanted, root) = (base::told(|name| std::env::var(name).ok()), root.to_path_buf());
        let find = move || wanted.map(|w| walk::open(&root).map(|repo| base::Change::find(&repo, w))).transpose();
        tokio::task::spawn_blocking(find).await??
    };
    let inputs = GateInputs {
        service: subject.service,
        service_config: subject.service_config,
        config: loaded.config.gates_told(),
        repo: Some(root.to_path_buf()),
        url: None,
        channels: loaded.config.channel.keys().cloned().collect(),
        receipts: Receipts::default(),
        runs_dir: root.join(".hypercare/runs"),
        client: Client::new(),
        clock: global.clock.clone(),
        cache_dir: cache_dir(),
        options: Options {
            selection: Selection { only: looks.only, skip: vec![], stages: vec![Stage::Static] },
            change,
            fingerprint_key: fingerprint_key()?,
            ..Options::default()
        },
        progress: std::sync::Arc::new(|_, _| {}),
        stop: global.shutdown.clone(),
    };
    Ok(gates::run_gates(inputs).await.map_err(explained)?.run)
}

/// What is to be known after it. Pure.
fn merged(old: &[Entry], run: &GateRun, way: Way, today: &str) -> Vec<Entry> {
    let all = gates::all();
    let may = |id: &str| all.iter().any(|g| g.about().id == id && baseline::accepts(g.as_ref()).is_ok());
    let mut seen: BTreeMap<(&str, &str), Entry> = BTreeMap::new();
    for gate in run.gates.iter().filter(|g| may(&g.id)) {
        for f in gate.findings.iter().filter(|f| baseline::may_stand(f)) {
            if f.suppressed.is_some() && !baseline::is_ours(f.suppressed.as_ref()) {
                continue;
            }
            let entry = seen.entry((&gate.id, &f.fingerprint)).or_insert_with(|| Entry {
                gate: gate.id.clone(),
                rule: f.rule.clone(),
                fingerprint: f.fingerprint.clone(),
                count: 0,
                file: f.file.clone(),
                since: today.into(),
            });
            entry.count += 1;
        }
    }
    // Of a gate that could not look, or found more than it lists, nothing is known to be gone.
    let whole = |id: &str| {
        run.gates.iter().any(|g| g.id == id && g.verdict != Verdict::Error && g.findings.len() < FINDINGS_MAX)
    };
    let mut out = Vec::new();
    for entry in old.iter().filter(|e| may(&e.gate)) {
        let found = seen.remove(&(entry.gate.as_str(), entry.fingerprint.as_str()));
        let n = match (&found, way) {
            (Some(found), Way::Prune) => found.count.min(entry.count),
            (Some(found), _) => found.count,
            (None, _) => 0,
        };
        let n = if whole(&entry.gate) { n } else { n.max(entry.count) };
        if n > 0 {
            out.push(Entry { count: n, ..entry.clone() });
        }
    }
    if way != Way::Prune {
        out.extend(seen.into_values());
    }
    out
}

/// Open findings that no baseline takes, by gate and reason.
fn left_out(run: &GateRun) -> Vec<String> {
    let all = gates::all();
    let why = |id: &str| baseline::accepts(all.iter().find(|g| g.about().id == id)?.as_ref()).err();
    let open = |gate: &crate::domain::verdict::GateResult| {
        gate.findings
            .iter()
            .filter(|f| f.suppressed.is_none() && f.severity > crate::domain::verdict::Severity::Info)
            .count()
    };
    let row = |gate: &crate::domain::verdict::GateResult| {
        let n = open(gate);
        let why = why(&gate.id).filter(|_| n > 0 && gate.id != "meta.suppressions")?;
        Some(format!("left out: {} ({why})", count(n, "finding")))
    };
    run.gates.iter().filter_map(row).collect()
}

#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    /// What growth is measured against.
    base: Option<&'a str>,
    entries: &'a [Entry],
    /// Entries with how many findings they cover beyond the base.
    grown: Vec<(&'a Entry, u32)>,
    /// Entries that cover nothing, and why.
    refused: Vec<(&'a Entry, &'a str)>,
}

async fn show(which: &subject::Which, format: FormatArg, global: &Global) -> anyhow::Result<Exit> {
    let root = root(which, global)?;
    let wanted = base::told(|name| std::env::var(name).ok());
    let read = move || walk::open(&root).map(|repo| Baseline::read(&repo, wanted.as_ref()));
    let found = tokio::task::spawn_blocking(read).await??;
    if let Some(why) = &found.unreadable {
        return Err(Failure::new(Exit::Io, format!("{}: {why}", baseline::FILE)).into());
    }
    let base = match &found.against {
        Against::Base(base) => Some(base.name.as_str()),
        Against::Nothing | Against::Unknown(_) => None,
    };
    if format.is_json() {
        output::json(&Shown {
            schema: "hypercare.baseline-list/v1",
            base,
            entries: &found.entries,
            grown: found.grown.iter().map(|(e, n)| (e, *n)).collect(),
            refused: found.refused.iter().map(|(e, why)| (e, why.as_str())).collect(),
        })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    for e in &found.entries {
        let times = if e.count > 1 { format!(" ×{}", e.count) } else { String::new() };
        let file = e.file.as_deref().unwrap_or("–");
        let what = format!("{} {}/{}  {file}{times}  since {}", e.fingerprint, e.gate, e.rule, e.since);
        let new = found.grown.iter().any(|(g, _)| g == e);
        let mark = if new { paint(Tone::Fail, "+") } else { paint(Tone::Soft, "·") };
        out.line(format!("{mark} {}", clean_line(&what)))?;
    }
    for (e, why) in &found.refused {
        out.line(format!("{} {}: {}", paint(Tone::Warn, "▲"), e.fingerprint, clean_line(why)))?;
    }
    let n: u32 = found.entries.iter().map(|e| e.count).sum();
    let grown: u32 = found.grown.iter().map(|(_, n)| n).sum();
    let against = match &found.against {
        Against::Base(base) => format!("{grown} more than on {}", clean_line(&base.name)),
        Against::Nothing => "nothing to compare with".into(),
        Against::Unknown(why) => format!("covers nothing: {}", clean_line(why)),
    };
    out.line(format!("{}; {against}", count(n as usize, "known finding")))?;
    out.flush()?;
    Ok(Exit::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::sample;

    fn entry(print: &str, count: u32, gate: &str) -> Entry {
        Entry {
            gate: gate.into(),
            rule: "console".into(),
            fingerprint: print.into(),
            count,
            file: Some("src/cart.js".into()),
            since: "2026-01-01".into(),
        }
    }

    fn after(old: &[Entry], way: Way, change: impl FnOnce(&mut GateRun)) -> Vec<String> {
        let mut run = sample::run();
        change(&mut run);
        let new = Document::new(merged(old, &run, way, "2026-11-22")).entries;
        new.iter().map(|e| format!("{}x{} {}", e.fingerprint, e.count, &e.since[5..])).collect()
    }

    #[test]
    fn it_knows_what_is_there_and_forgets_what_is_gone() {
        const GATE: &str = "code.leftover_debug";
        let one = sample::run().gates[2].findings[0].fingerprint.clone();
        let created = after(&[], Way::Create, |_| {});
        assert!(created.contains(&format!("{one}x2 11-22")), "two of the same kind: {created:?}");
        assert_eq!(created.len(), 3, "class A and runtime findings are left out: {created:?}");
        let old = [entry(&one, 3, GATE), entry("gone", 1, GATE), entry("other", 1, "infrastructure.autoscaling")];
        assert_eq!(after(&old, Way::Prune, |_| {}), [format!("{one}x2 01-01"), "otherx1 01-01".into()]);
        assert_eq!(after(&old, Way::Prune, |run| run.gates[2].verdict = Verdict::Error).len(), 3, "it could not look");
        let fewer = [entry(&one, 1, GATE)];
        assert_eq!(after(&fewer, Way::Prune, |_| {}), [format!("{one}x1 01-01")], "it adds nothing");
        let updated = after(&fewer, Way::Update, |_| {});
        assert!(updated.len() == 3 && updated.contains(&format!("{one}x2 01-01")), "{updated:?}");
        let allowed = after(&[], Way::Create, |run| {
            run.gates[2].findings.iter_mut().for_each(|f| f.suppressed = Some("hypercare:allow on line 1: why".into()));
        });
        assert_eq!(allowed, [""; 0], "allowed where it stands is enough");
    }

    #[test]
    fn blockers_are_refused_with_a_word() {
        let why = refuse_blockers(&["code.secrets".into()]).unwrap_err();
        assert!(why.to_string().contains("class A"), "{why}");
        assert!(refuse_blockers(&["code".into(), "code.leftover_debug".into()]).is_ok());
    }
}
