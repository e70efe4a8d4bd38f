//! `hypercare alerts`: what burns; `hypercare ack`: who has it. Both work on the store; a running daemon picks an ack up
//! at its next evaluation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::alerts::silence;
use crate::config::Secrets;
use crate::domain::alert::{Ack, Alert, AlertState, NotifGroup};
use crate::domain::clock::Timestamp;
use crate::domain::units::{self, Span};
use crate::store::{Role, Store};

/// An ack lasts at most so long, as a silence does.
const ACK_MAX: std::time::Duration = silence::DURATION_MAX;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare alerts                    what fires, is unknown or pending; exit 1 when something fires
  hypercare alerts --all              resolved ones of the last quarter of an hour too
  hypercare alerts --format json")]
pub struct Args {
    /// Only this service
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Resolved ones too, and the dead-man switch
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// Say "I have it": stops repeats of an episode for a while
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare ack 214 --for 60m --comment \"looking at the database\"
  hypercare ack 0192f7c1 --for 2h             a unique beginning of the episode's id is enough
A new alert in the group, or a higher severity, ends it.")]
pub struct AckArgs {
    /// Number of the episode as in the message (#214), or the beginning of its id
    #[arg(value_name = "EPISODE|NUMBER")]
    episode: String,
    /// For how long, at most 24h
    #[arg(long = "for", value_name = "DURATION", default_value = "60m")]
    lasts: Span,
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    /// Who has it, for the audit trail [default: the login name]
    #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
    actor: Option<String>,
    #[command(flatten)]
    format: FormatArg,
}

/// The store beside a running daemon; an error when there is none yet.
pub(super) async fn store(global: &Global, need: Need) -> anyhow::Result<Store> {
    let loaded = global.config(need, Secrets::MayBeMissing)?;
    let dir = loaded.store_dir();
    if !dir.join("state.db").exists() {
        let message = format!("there is no store at {}", dir.display());
        return Err(Failure::new(Exit::Unreachable, message).hint("`hypercare run` makes one").into());
    }
    let store = Store::open(&dir, Role::Client, global.clock.clone()).await?;
    Ok(crate::remote::attach(store, &loaded.config.store.engine))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    at: Timestamp,
    firing: usize,
    alerts: Vec<&'a Alert>,
    /// Open groups: number, episode, who has acknowledged.
    groups: Vec<&'a NotifGroup>,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let store = store(global, Need::Nothing).await?;
    let found =
        async { Ok::<_, anyhow::Error>((store.state.alerts().await?, store.state.notif_groups().await?)) }.await;
    store.close().await;
    let (alerts, groups) = found?;
    let wanted = |a: &&Alert| {
        let state = matches!(a.state, AlertState::Firing | AlertState::Unknown | AlertState::Pending);
        let quiet = a.name() == "DeadMansSwitch";
        args.service.as_ref().is_none_or(|s| *s == a.service) && (args.all || (state && !quiet))
    };
    let mut alerts: Vec<&Alert> = alerts.iter().filter(wanted).collect();
    // Worst first: what fires, by severity, oldest first.
    alerts.sort_by_key(|a| (rank(a.state), std::cmp::Reverse(a.severity()), a.active_at, a.fingerprint.clone()));
    let groups: Vec<&NotifGroup> = groups.iter().filter(|g| g.closed_at.is_none()).collect();
    let firing = alerts.iter().filter(|a| a.state == AlertState::Firing && a.name() != "DeadMansSwitch").count();
    let mut out = Out::stdout();
    if args.format.is_json() {
        out.json(&Document { schema: "hypercare.alerts/v1", at: global.clock.now(), firing, alerts, groups })?;
    } else if alerts.is_empty() {
        out.line("nothing fires")?;
    } else {
        let numbers: BTreeMap<&str, &NotifGroup> =
            groups.iter().flat_map(|g| g.told.keys().map(move |k| (k.as_str(), *g))).collect();
        for alert in alerts {
            print(&mut out, alert, numbers.get(alert.fingerprint.as_str()).copied(), global.clock.now())?;
        }
    }
    out.flush()?;
    Ok(if firing > 0 { Exit::No } else { Exit::Yes })
}

fn rank(state: AlertState) -> u8 {
    match state {
        AlertState::Firing => 0,
        AlertState::Unknown => 1,
        AlertState::Pending => 2,
        AlertState::Resolved => 3,
        AlertState::Inactive => 4,
    }
}

fn print(out: &mut Out, alert: &Alert, group: Option<&NotifGroup>, now: Timestamp) -> std::io::Result<()> {
    let state = output::paint(alert.state.into(), alert.state.word().to_uppercase());
    let severity = output::paint(alert.severity().into(), alert.severity().word());
    let since = alert.active_at.map_or(String::new(), |t| format!("for {}", units::prose(now.since(t))));
    let number = group.map(|g| format!("  #{}", g.number)).unwrap_or_default();
    let acked = group
        .and_then(|g| Some((g.acked_by.as_deref()?, g.acked_until.filter(|t| *t > now)?)))
        .map(|(by, until)| format!("  acknowledged by {} until {until}", output::clean_line(by)))
        .unwrap_or_default();
    let name = output::paint(Tone::Strong, output::clean_line(alert.name()));
    out.line(format!(
        "{} {} {name}  {}  {since}{number}{acked}",
        output::pad(&state, 8),
        output::pad(&severity, 8),
        output::clean_line(&alert.service)
    ))?;
    let said = alert.annotations.get("summary").filter(|s| !s.is_empty());
    let value = alert.value.map(|v| format!("value {}", units::number(v))).unwrap_or_default();
    out.line(format!("         {}", output::clean_line(said.unwrap_or(&value))))?;
    let rest = alert.labels.without(&["alertname", "severity", "service"]);
    if !rest.is_empty() {
        out.line(format!("         {}", output::paint(Tone::Soft, output::clean_line(&rest.to_string()))))?;
    }
    Ok(())
}

pub async fn ack(args: AckArgs, global: &Global) -> anyhow::Result<Exit> {
    let lasts = args.lasts.get();
    if lasts.is_zero() || lasts > ACK_MAX {
        return Err(Failure::new(Exit::Usage, "an acknowledgement lasts between 1s and 24h").into());
    }
    let store = store(global, Need::Nothing).await?;
    let result = acknowledge(&args, &store, global.clock.now()).await;
    store.close().await;
    let group = result?;
    if args.format.is_json() {
        output::json(&serde_json::json!({"schema": "hypercare.ack/v1", "group": group}))?;
    } else {
        let until = group.acked_until.map(|t| t.rfc3339()).unwrap_or_default();
        let name = output::clean_line(group.labels.get("alertname").unwrap_or("alerts"));
        output::print(&format!("#{} {name} is yours until {until}; repeats stop\n", group.number))?;
    }
    Ok(Exit::Yes)
}

async fn acknowledge(args: &AckArgs, store: &Store, now: Timestamp) -> anyhow::Result<NotifGroup> {
    let groups = store.state.notif_groups().await?;
    let open: Vec<&NotifGroup> = groups.iter().filter(|g| g.closed_at.is_none()).collect();
    let group = find(&open, &args.episode)?;
    let ack = Ack {
        episode: group.episode.clone(),
        by: super::launch::actor(args.actor.as_deref()),
        at: now,
        until: now.plus(args.lasts.get()),
        comment: args.comment.trim().to_string(),
    };
    Ok(store.state.add_ack(ack).await?)
}

/// By number (`214`, `#214`), else by the beginning of the episode's id.
fn find<'a>(open: &[&'a NotifGroup], wanted: &str) -> Result<&'a NotifGroup, Failure> {
    let number = wanted.trim_start_matches('#').parse::<i64>().ok();
    // A number first: an id that begins with digits only is named by more of it.
    if let Some(group) = open.iter().find(|g| Some(g.number) == number) {
        return Ok(group);
    }
    let by_id: Vec<&&NotifGroup> =
        open.iter().filter(|g| !wanted.is_empty() && g.episode.starts_with(wanted)).collect();
    match by_id.as_slice() {
        [one] => Ok(one),
        [] => {
            let known: Vec<String> = open.iter().map(|g| format!("#{}", g.number)).collect();
            let hint =
                if known.is_empty() { "nothing is open".to_string() } else { format!("open: {}", known.join(", ")) };
            Err(Failure::new(Exit::No, format!("no open episode {}", output::clean_line(wanted))).hint(hint))
        }
        many => Err(Failure::new(Exit::Usage, format!("{} episodes begin with {wanted}; give more of it", many.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: i64, episode: &str) -> NotifGroup {
        NotifGroup::opened(&format!("0/{number}"), "shop", episode, number, Timestamp::from_ms(0))
    }

    #[test]
    fn an_episode_is_found_by_number_or_by_the_beginning_of_its_id() {
        let (a, b) = (group(1, "0192aa"), group(12, "0192ab"));
        let open = [&a, &b];
        for (wanted, number) in [("12", 12), ("#1", 1), ("0192ab", 12)] {
            assert_eq!(find(&open, wanted).unwrap().number, number, "{wanted}");
        }
        assert_eq!(find(&open, "0192a").unwrap_err().exit, Exit::Usage);
        let none = find(&open, "7").unwrap_err();
        assert_eq!((none.exit, none.hint.as_deref()), (Exit::No, Some("open: #1, #12")));
        assert!(find(&open, "").is_err());
    }
}
