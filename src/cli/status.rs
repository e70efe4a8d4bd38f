//! `hypercare status`: one screen that says where the launch is, whether we are well, and what burns.

use std::time::Duration;

use super::config::Need;
use super::output::{FormatArg, Out, Tone, clean_line, pad, paint};
use super::{Exit, Global};
use crate::config::Secrets;
use crate::domain::alert::AlertState;
use crate::domain::units::prose;
use crate::domain::verdict::GoalState;
use crate::report::status::{self, Status};
use crate::store::{Role, Store};

/// Where is the launch, are we well, what burns
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show it again every two seconds until Ctrl-C
    #[arg(long, conflicts_with = "format")]
    watch: bool,
    #[command(flatten)]
    format: FormatArg,
}

/// Often enough to feel live, rarely enough to be read.
const WATCH_EVERY: Duration = Duration::from_secs(2);

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let services: Vec<String> = loaded.config.service.keys().cloned().collect();
    let store = Store::open(&loaded.store_dir(), Role::Client, global.clock.clone()).await?;
    loop {
        let status = status::read(&store, &services, global.clock.now()).await?;
        if args.format.is_json() {
            super::output::json(&status)?;
        } else {
            let mut out = Out::stdout();
            if args.watch && super::output::is_live() {
                // Home and clear to the end: less flicker than clearing first.
                out.text("\x1b[H\x1b[J")?;
            }
            for line in lines(&status) {
                out.line(line)?;
            }
            out.flush()?;
        }
        if !args.watch {
            let burning = status.alerts.firing > 0;
            return Ok(if burning { Exit::No } else { Exit::Yes });
        }
        tokio::select! {
            () = global.shutdown.cancelled() => return Ok(Exit::Yes),
            () = tokio::time::sleep(WATCH_EVERY) => {}
        }
    }
}

fn lines(status: &Status) -> Vec<String> {
    let mut out = Vec::new();
    if status.launches.is_empty() {
        out.push("no launch yet".to_string());
        out.push(format!("        next: {}", paint(Tone::Accent, "hypercare run")));
    }
    for launch in &status.launches {
        let state = paint(Tone::Strong, launch.state.word().replace('_', " ").to_uppercase());
        let version = launch.version.as_deref().unwrap_or("(version unknown)");
        let mut line = format!("{state}  {} {}", clean_line(&launch.service), clean_line(version));
        if let (Some(t), Some(left)) = (launch.t_plus_s, launch.left_s) {
            let span = |s: i64| prose(Duration::from_secs(s.max(0) as u64));
            line.push_str(&format!(" · T+{} · {} left", span(t), span(left)));
        }
        out.push(line);
        if let Some(decision) = launch.decision {
            out.push(format!("  gates     {}", decision.title()));
        }
        for goal in &launch.goals {
            let (mark, tone) = match goal.state {
                GoalState::Ready => ("✔", Tone::Pass),
                GoalState::AtRisk => ("▲", Tone::Warn),
                GoalState::NotReady => ("✘", Tone::Fail),
                GoalState::Unknown => ("?", Tone::Error),
            };
            out.push(format!("  {} {} {}", paint(tone, mark), pad(&goal.title, 26), clean_line(&goal.summary)));
        }
    }
    let alerts = &status.alerts;
    let tone = if alerts.firing > 0 { Tone::Fail } else { Tone::Pass };
    let mut line = paint(tone, format!("{} firing", alerts.firing)).to_string();
    for (n, word) in [(alerts.pending, "pending"), (alerts.unknown, "unknown"), (alerts.silences, "silences")] {
        if n > 0 {
            line.push_str(&format!(" · {n} {word}"));
        }
    }
    out.push(format!("alerts    {line}"));
    for alert in &alerts.list {
        let tone = if alert.state == AlertState::Firing { Tone::from(alert.severity) } else { Tone::Soft };
        let number = alert.number.map(|n| format!(" #{n}")).unwrap_or_default();
        let acked = alert.acked_by.as_ref().map(|by| format!(" · acked by {}", clean_line(by))).unwrap_or_default();
        let age = alert.since.map(|t| format!(" · {}", prose(status.as_of.since(t)))).unwrap_or_default();
        let head = paint(tone, format!("{} {}", pad(alert.state.word(), 8), alert.severity.word()));
        out.push(format!("  {head} {}{number}{age}{acked}", clean_line(&alert.name)));
        if !alert.summary.is_empty() {
            out.push(format!("           {}", clean_line(&alert.summary)));
        }
    }
    for depth in &status.outbox {
        let dead = if depth.dead > 0 {
            paint(Tone::Fail, format!(" · {} dead", depth.dead)).to_string()
        } else {
            String::new()
        };
        let (sent, waiting) = (depth.delivered, depth.pending);
        out.push(format!("outbox    {} {sent} delivered · {waiting} waiting{dead}", pad(&depth.channel, 12)));
    }
    for feedback in &status.feedback {
        let (n, cues) = (feedback.items, feedback.with_cues);
        out.push(format!("feedback  {} {n} in 24 h · {cues} with a severity cue", pad(&feedback.service, 12)));
    }
    out.push(match (status.daemon.alive, status.daemon.last_seen) {
        (true, _) => format!("daemon    {}", paint(Tone::Pass, "alive")),
        (false, Some(t)) => format!("daemon    {} since {t}", paint(Tone::Fail, "silent")),
        (false, None) => format!("daemon    {}", paint(Tone::Soft, "never ran here")),
    });
    out
}
