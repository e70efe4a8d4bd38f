//! `hypercare gates list|explain|prove|schema`: what is looked at, what decides, and how to mend it.

use std::path::Path;

use serde::Serialize;

use super::check::subject::{self, Which};
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone, clean_line, hang, pad, paint};
use super::{Exit, Failure, Global};
use crate::config::{Loaded, Secrets};
use crate::domain::service::Profile;
use crate::domain::units::prose;
use crate::domain::verdict::{Class, GateResult, Tier};
use crate::gates::facts::{Facts, walk};
use crate::gates::people::demands;
use crate::gates::{self, About, Gate, Lock, Section, decision, runner};
use crate::store::{Role, Store};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare gates list                          the checklist: what exists and what applies here
  hypercare gates explain security.headers      what it reads, what decides, how to mend it, what it said last
  hypercare gates prove                         each gate on a product it must stop")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// The whole checklist: class, stage, whether it applies here and why not
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Each gate on a product it must let through and one it must stop; exit 1 if one does not block
    Prove(super::prove::Args),
    /// The JSON Schema of `check --format json`
    Schema,
    /// One gate: inputs, rule, evidence, numbers in force, fix, last result
    Explain {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        format: FormatArg,
    },
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let what = match args.what {
        // Needs no configuration: it brings products of its own.
        What::Prove(args) => return super::prove::run(args, global).await,
        What::Schema => {
            output::json(&super::check::schema::document())?;
            return Ok(Exit::Yes);
        }
        what => what,
    };
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    match what {
        What::Prove(_) | What::Schema => Ok(Exit::Yes),
        What::List { which, format } => list(&loaded, &which, format).await,
        What::Explain { id, which, format } => explain(&loaded, &id, &which, format, global).await,
    }
}

#[derive(Serialize)]
struct Listed {
    schema: &'static str,
    service: String,
    profile: Profile,
    because: String,
    gates: Vec<Row>,
}

/// One gate for machines; `explain` prints the same and more.
#[derive(Serialize)]
struct Row {
    id: &'static str,
    section: Section,
    class: Class,
    line: &'static str,
    built: bool,
    /// Does the profile leave it out?
    applies: bool,
    min_tier: Tier,
    attestable: bool,
    stage: &'static str,
    needs: &'static [&'static str],
    timeout_s: u64,
    goal: &'static str,
    critical: bool,
    reads: &'static str,
    decides: &'static str,
    fix: &'static str,
}

fn row(gate: &dyn Gate, profile: Profile) -> Row {
    let a = gate.about();
    let goal = decision::GOALS.iter().find(|g| g.feeders().any(|f| f == a.id));
    Row {
        id: a.id,
        section: a.section,
        class: a.class,
        line: a.line,
        built: gate.built(),
        applies: !a.skipped_for.contains(&profile),
        min_tier: a.min_tier,
        attestable: a.attestable,
        stage: a.stage.word(),
        needs: a.needs,
        timeout_s: a.timeout.as_secs(),
        goal: goal.map_or("", |g| g.title),
        critical: goal.is_some_and(|g| g.critical.contains(&a.id)),
        reads: a.reads,
        decides: a.decides,
        fix: a.fix,
    }
}

/// The profile in force and why. Looks at the repository when the configuration leaves it open.
async fn profile(subject: &subject::Subject) -> anyhow::Result<(Profile, String)> {
    match (subject.service_config.profile, subject.repo.clone()) {
        (Profile::Auto, Some(folder)) => {
            let seen = tokio::task::spawn_blocking(move || -> anyhow::Result<(Profile, String)> {
                Ok(Facts::look(&walk::open(&folder)?).profile())
            });
            seen.await?.map_err(|e| Failure::new(Exit::Usage, e.to_string()).into())
        }
        (Profile::Auto, None) => Ok((Profile::WebApp, "there is no repository to tell".into())),
        (set, _) => Ok((set, "the configuration says so".into())),
    }
}

async fn list(loaded: &Loaded, which: &Which, format: FormatArg) -> anyhow::Result<Exit> {
    let subject = subject::choose(loaded, which)?;
    let (profile, because) = profile(&subject).await?;
    let rows: Vec<Row> = gates::all().iter().map(|g| row(g.as_ref(), profile)).collect();
    if format.is_json() {
        output::json(&Listed {
            schema: "hypercare.gates/v1",
            service: subject.service,
            profile,
            because,
            gates: rows,
        })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    let head = format!("{} · {} ({})", clean_line(&subject.service), profile.word(), clean_line(&because));
    out.line(paint(Tone::Strong, head))?;
    let ids = rows.iter().map(|r| r.id.len()).max().unwrap_or(0);
    let at = 2 + ids + 1 + 2 + 10 + 10;
    for section in Section::ALL {
        out.line("")?;
        out.line(paint(Tone::Strong, section.title()))?;
        for row in rows.iter().filter(|r| r.section == section) {
            let (state, tone) = match (row.built, row.applies) {
                (_, false) => ("skipped", Tone::Skip),
                (false, _) => ("not yet", Tone::Error),
                _ => ("ready", Tone::Pass),
            };
            let id = pad(row.id, ids);
            let state = pad(&paint(tone, state), 9);
            let line = hang(row.line, at, output::width());
            out.line(format!("  {id} {:?} {} {state} {line}", row.class, pad(row.stage, 9)))?;
        }
    }
    let missing = rows.iter().filter(|r| !r.built).count();
    out.line("")?;
    let note = format!(
        "{} gates; {missing} lines of the checklist cannot be checked by this version and block until waived",
        rows.len()
    );
    out.line(paint(Tone::Soft, hang(&note, 0, output::width())))?;
    out.flush()?;
    Ok(Exit::Yes)
}

#[derive(Serialize)]
struct Explained {
    schema: &'static str,
    gate: Row,
    /// `[gates.SECTION.NAME]` in force.
    config: Option<serde_json::Value>,
    last: Option<Last>,
}

#[derive(Serialize)]
struct Last {
    run: String,
    at: String,
    result: GateResult,
}

async fn explain(loaded: &Loaded, id: &str, which: &Which, format: FormatArg, global: &Global) -> anyhow::Result<Exit> {
    let all = gates::all();
    let known = all.iter().map(|g| g.about().id).collect();
    runner::check_name(id, &known)
        .map_err(|e| Failure::new(Exit::Usage, e.to_string()).hint("`hypercare gates list` names them all"))?;
    let Some(gate) = all.iter().find(|g| g.about().id == id) else {
        return Err(Failure::new(Exit::Usage, format!("{id} is not a gate")).into());
    };
    let subject = subject::choose(loaded, which)?;
    let profile = profile(&subject).await.map_or(Profile::WebApp, |(p, _)| p);
    let (section, name) = id.split_once('.').unwrap_or((id, ""));
    let config = serde_json::to_value(&loaded.config.gates)?.pointer(&format!("/{section}/{name}")).cloned();
    let last = last(&subject::store_dir(loaded), &subject.service, id, global).await?;
    if format.is_json() {
        output::json(&Explained { schema: "hypercare.gate/v1", gate: row(gate.as_ref(), profile), config, last })?;
        return Ok(Exit::Yes);
    }
    let text = page(gate.as_ref(), profile, config.as_ref(), last.as_ref(), output::width());
    output::print(&text)?;
    Ok(Exit::Yes)
}

/// The newest result of the gate, when there is a store.
async fn last(dir: &Path, service: &str, id: &str, global: &Global) -> anyhow::Result<Option<Last>> {
    if !dir.join("state.db").exists() {
        return Ok(None);
    }
    let store = Store::open(dir, Role::Client, global.clock.clone()).await?;
    let run = store.state.latest_gate_run(service).await;
    store.close().await;
    Ok(run?.and_then(|run| {
        let result = run.gates.into_iter().find(|g| g.id == id)?;
        Some(Last { run: run.run, at: run.started_at.rfc3339(), result })
    }))
}

fn page(
    gate: &dyn Gate,
    profile: Profile,
    config: Option<&serde_json::Value>,
    last: Option<&Last>,
    width: usize,
) -> String {
    let (about, row) = (gate.about(), row(gate, profile));
    let mut out = format!("{}\n{}\n\n", paint(Tone::Strong, about.id), about.line);
    let mut tell = |label: &str, text: &str| {
        let label = pad(&paint(Tone::Soft, label), 10);
        out.push_str(&format!("  {label} {}\n", hang(text, 13, width)));
    };
    tell("class", class_text(about));
    match row.goal {
        "" => tell("goal", "none: it is about the check itself"),
        goal => tell("goal", &format!("{goal}{}", if row.critical { ", critical" } else { "" })),
    }
    let needs = if about.needs.is_empty() { String::new() } else { format!(", after {}", about.needs.join(", ")) };
    tell(
        "stage",
        &format!("{}{needs}, {}, at most {}", about.stage.word(), lock_text(about.lock), prose(about.timeout)),
    );
    tell("evidence", tier_text(about));
    if about.attestable {
        let demand = demands::of(about.id);
        let role = demand.role.map(|r| format!(" as {}", r.word())).unwrap_or_default();
        let eyes = if demand.four_eyes { " by somebody who wrote no part of the release" } else { "" };
        tell(
            "attested",
            &format!(
                "a statement signed{role}{eyes} will do where it could not be seen: hypercare attest {}",
                about.id
            ),
        );
    }
    if !about.skipped_for.is_empty() {
        let words: Vec<_> = about.skipped_for.iter().map(|p| p.word()).collect();
        tell("skipped", &format!("for {}{}", words.join(", "), if row.applies { "" } else { ": not looked at here" }));
    }
    tell("reads", about.reads);
    tell("decides", about.decides);
    tell("fix", about.fix);
    match config {
        Some(serde_json::Value::Object(map)) if !map.is_empty() => {
            tell("numbers", &format!("[gates.{}]", about.id));
            for (key, value) in map {
                tell("", &format!("{key} = {value}"));
            }
        }
        _ => {}
    }
    if !gate.built() {
        tell(
            "state",
            "not built yet: answers `error not-built` and blocks until somebody checks by hand and waives it",
        );
    }
    if let Some(last) = last {
        let r = &last.result;
        let reason = r.reason.as_deref().map(|r| format!(" ({r})")).unwrap_or_default();
        tell("last", &format!("{}{reason} at {}: {}", r.verdict.word(), last.at, clean_line(&r.summary)));
        if let Some(hint) = &r.hint {
            tell("", &clean_line(hint));
        }
        for digest in &r.evidence {
            tell("", &format!("hypercare evidence show {}", digest.get(..19).unwrap_or(digest)));
        }
    }
    out
}

fn class_text(about: &About) -> &'static str {
    match about.class {
        Class::A => "A, blocker: a waiver lives 14 days at most",
        Class::B => "B, required: a waiver lives 90 days at most",
        Class::C => "C, advisory: never blocks by itself",
    }
}

fn tier_text(about: &About) -> &'static str {
    match about.min_tier {
        Tier::E3 => "E3, observed: hypercare must have seen it itself",
        Tier::E2 => "E2, reported: another tool's output for this commit will do",
        Tier::E1 => "E1, declared: what source and configuration say will do",
        Tier::E0 => "E0, attested: a person's word will do",
    }
}

fn lock_text(lock: Lock) -> &'static str {
    match lock {
        Lock::Fs => "files only",
        Lock::TargetShared => "shares the target politely",
        Lock::TargetActive => "one probing gate at a time",
        Lock::TargetExclusive => "alone with the target",
        Lock::None => "no lock",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_the_table_of_goals_and_the_profile_say() {
        let all = gates::all();
        let find = |id: &str, profile| row(all.iter().find(|g| g.about().id == id).unwrap().as_ref(), profile);
        let naming = find("delivery.naming", Profile::WebApp);
        assert!(naming.built && naming.applies && !naming.critical);
        assert_eq!(naming.goal, "Code clean and stable");
        assert!(!find("infrastructure.load_balancer", Profile::WebApp).built);
        assert!(!find("security.headers", Profile::Worker).applies);
    }

    #[test]
    fn explains_a_gate() {
        let all = gates::all();
        let gate = all.iter().find(|g| g.about().id == "delivery.naming").unwrap();
        let config = serde_json::json!({"max_branch_age": "90d"});
        let text = page(gate.as_ref(), Profile::WebApp, Some(&config), None, 90);
        let text = anstream::adapter::strip_str(&text).to_string();
        for part in
            ["proper branch/tag naming", "B, required", "files only", "E1, declared", "max_branch_age = \"90d\""]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
