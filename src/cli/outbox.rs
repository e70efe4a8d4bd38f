//! `hypercare outbox list|show|retry|drop`: what was sent, what waits, and what was given up.

use serde::Serialize;

use super::launch::actor;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global, Need};
use crate::config::{Loaded, Secrets};
use crate::domain::clock::Timestamp;
use crate::domain::notification::{DeliveryAttempt, OutboxRow, OutboxState};
use crate::domain::units;
use crate::store::{Role, Store};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare outbox list --state dead        what nobody got
  hypercare outbox show 0192f7c1            one message and every try; a unique beginning of the id is enough
  hypercare outbox retry 0192f7c1           due at once
  hypercare outbox drop 0192f7c1 --reason \"resolved by telephone\"")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List messages, newest first
    List {
        /// Only this state: pending, leased, delivered, coalesced, dead, dropped
        #[arg(long, value_parser = state)]
        state: Option<OutboxState>,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Show one message and every try
    Show {
        /// The id, or its beginning
        id: String,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Make a waiting or dead message due at once
    Retry {
        /// The id, or its beginning
        id: String,
        /// Who does it [default: the login name]
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
    },
    /// Give a message up, with a reason that stays on record
    Drop {
        /// The id, or its beginning
        id: String,
        #[arg(long)]
        reason: String,
        /// Who does it [default: the login name]
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
    },
}

fn state(word: &str) -> Result<OutboxState, String> {
    OutboxState::parse(word).ok_or_else(|| format!("one of {}", OutboxState::ALL.map(OutboxState::word).join(", ")))
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let store = store(global, &loaded).await?;
    let exit = answer(args.what, global, &store).await;
    store.close().await;
    exit
}

async fn answer(what: What, global: &Global, store: &Store) -> anyhow::Result<Exit> {
    let now = global.clock.now();
    match what {
        What::List { state, limit, format } => list(store.state.outbox(state, limit).await?, format, now),
        What::Show { id, format } => {
            let row = by_id(store, &id).await?;
            let attempts = store.state.delivery_attempts(&row.new.id).await?;
            show(&row, &attempts, format)
        }
        What::Retry { id, actor: by } => {
            let row = by_id(store, &id).await?;
            match store.state.retry_outbox(&row.new.id, now, &actor(by.as_deref())).await? {
                true => output::print(&format!("{} is due now; the daemon sends it\n", row.new.id))?,
                false => return Err(refused(&row, "tried again").into()),
            }
            Ok(Exit::Yes)
        }
        What::Drop { id, reason, actor: by } => {
            let row = by_id(store, &id).await?;
            match store.state.drop_outbox(&row.new.id, now, &actor(by.as_deref()), &reason).await? {
                true => output::print(&format!("{} is dropped\n", row.new.id))?,
                false => return Err(refused(&row, "dropped").into()),
            }
            Ok(Exit::Yes)
        }
    }
}

fn refused(row: &OutboxRow, what: &str) -> Failure {
    Failure::new(Exit::No, format!("{} is {}: it cannot be {what}", row.new.id, row.state.word()))
}

/// Rows that an abbreviated id is looked for in.
const LOOK_BACK: u32 = 10_000;

async fn by_id(store: &Store, id: &str) -> anyhow::Result<OutboxRow> {
    if let Some(row) = store.state.outbox_row(id).await? {
        return Ok(row);
    }
    let mut fitting = store.state.outbox(None, LOOK_BACK).await?;
    fitting.retain(|r| r.new.id.starts_with(id));
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        0 => Err(Failure::new(Exit::No, format!("there is no message {id}")).into()),
        n => Err(Failure::new(Exit::Usage, format!("{n} messages begin with {id}")).hint("give more of the id").into()),
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    schema: &'static str,
    messages: &'a [OutboxRow],
}

fn list(rows: Vec<OutboxRow>, format: FormatArg, now: Timestamp) -> anyhow::Result<Exit> {
    if format.is_json() {
        output::json(&Listing { schema: "hypercare.outbox/v1", messages: &rows })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    if rows.is_empty() {
        out.line("Nothing here.")?;
    }
    let channel = rows.iter().map(|r| r.new.channel.len()).max().unwrap_or(0);
    for row in &rows {
        let age = units::prose(now.since(row.new.enqueued_at));
        let head = format!(
            "{}  {} {}  {}  ",
            row.new.id,
            output::pad(&output::paint(tone(row.state), row.state.word()), 9),
            output::pad(&row.new.channel, channel),
            output::pad(&format!("{age} ago"), 15),
        );
        let room = output::width().saturating_sub(output::columns(&head)).max(20);
        out.line(format!("{head}{}", output::cut(&output::clean_line(&row.new.message.headline), room)))?;
        if let Some(error) = row.last_error.as_deref().filter(|_| row.state != OutboxState::Delivered) {
            let text = format!("{} tries, last: {}", row.attempts, output::clean_line(error));
            out.line(format!("    {}", output::paint(Tone::Soft, output::cut(&text, output::width() - 4))))?;
        }
    }
    out.flush()?;
    Ok(Exit::Yes)
}

fn tone(state: OutboxState) -> Tone {
    match state {
        OutboxState::Pending | OutboxState::Leased => Tone::Warn,
        OutboxState::Delivered => Tone::Pass,
        OutboxState::Dead => Tone::Fail,
        OutboxState::Coalesced | OutboxState::Dropped => Tone::Skip,
    }
}

#[derive(Serialize)]
struct One<'a> {
    schema: &'static str,
    message: &'a OutboxRow,
    attempts: &'a [DeliveryAttempt],
}

fn show(row: &OutboxRow, attempts: &[DeliveryAttempt], format: FormatArg) -> anyhow::Result<Exit> {
    if format.is_json() {
        output::json(&One { schema: "hypercare.outbox-message/v1", message: row, attempts })?;
        return Ok(Exit::Yes);
    }
    let new = &row.new;
    let mut facts = vec![
        ("id", new.id.clone()),
        ("state", output::paint(tone(row.state), row.state.word())),
        ("channel", new.channel.clone()),
        ("kind", format!("{} · {} · {}", new.message.kind.word(), new.priority.word(), new.reason.word())),
        ("enqueued", new.enqueued_at.rfc3339()),
    ];
    match row.accepted_at {
        Some(at) => facts.push(("accepted", at.rfc3339())),
        None => {
            facts.push(("next try", new.not_before.rfc3339()));
            facts.push(("gives up", new.give_up_at.rfc3339()));
        }
    }
    if let Some(failover) = &new.failover {
        facts.push(("failover", failover.clone()));
    }
    if let Some(remote) = &row.remote_id {
        facts.push(("remote id", output::clean_line(remote)));
    }
    let mut out = Out::stdout();
    for (label, text) in facts {
        out.line(format!("{} {text}", output::pad(&output::paint(Tone::Soft, label), 10)))?;
    }
    for attempt in attempts {
        out.line(attempt_line(attempt))?;
    }
    out.line("")?;
    let view = crate::notify::message::view(&new.message, &new.id);
    out.text(output::clean(&crate::notify::message::plain(&view)))?;
    out.flush()?;
    Ok(Exit::Yes)
}

/// `✔ delivered  12:04:11  0.2 s  250 2.0.0 queued`
pub fn attempt_line(attempt: &DeliveryAttempt) -> String {
    let (tone, mark) = match attempt.outcome.as_str() {
        "delivered" => (Tone::Pass, "✔"),
        "retry" => (Tone::Warn, "▲"),
        _ => (Tone::Fail, "✘"),
    };
    let took = units::prose(std::time::Duration::from_millis(attempt.duration_ms));
    let head =
        format!("{} {}  {took}  ", output::paint(tone, format!("{mark} {}", attempt.outcome)), attempt.at.rfc3339());
    let indent = output::columns(&head);
    format!("{head}{}", output::hang(&output::clean_line(&attempt.detail), indent, output::width()))
}

/// The store beside the daemon; an error when there is none yet.
pub async fn store(global: &Global, loaded: &Loaded) -> anyhow::Result<Store> {
    let none = || {
        let message = format!("there is no store at {}", loaded.store_dir().display());
        Failure::new(Exit::Unreachable, message).hint("`hypercare run` makes one")
    };
    Ok(existing_store(global, loaded).await?.ok_or_else(none)?)
}

/// The same, `None` when there is none yet.
pub async fn existing_store(global: &Global, loaded: &Loaded) -> anyhow::Result<Option<Store>> {
    let dir = &loaded.store_dir();
    if !dir.join("state.db").exists() {
        return Ok(None);
    }
    Ok(Some(Store::open(dir, Role::Client, global.clock.clone()).await?))
}
