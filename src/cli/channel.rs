//! `hypercare channel list|test|confirm`: which ways to reach people exist, and do they really reach them.
//!
//! A test goes the way of every message: into the outbox, and out of it by the daemon, or by this command when none
//! runs. A machine's "accepted" is not proof that anybody reads: the code in the message is confirmed by a person.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global, Need, launch, outbox};
use crate::config::{Loaded, Secrets};
use crate::domain::alert::{AlertSeverity, NotifyReason};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::domain::notification::{DeliveryAttempt, Fact, Message, MessageKind, NewOutbox, OutboxRow, OutboxState};
use crate::net::Client;
use crate::notify::channel::{self, Context};
use crate::notify::dispatcher::{Dispatcher, id_at};
use crate::store::state::audit::AuditEntry;
use crate::store::state::outbox::OutboxDepth;
use crate::store::{Role, Store, StoreError};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare channel list                what is configured, what waits, when it was last proved
  hypercare channel test oncall         send a test the way alerts go
  hypercare channel confirm 4F7K2A      I have read it: the code stands in the test message")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the configured channels
    List {
        #[command(flatten)]
        format: FormatArg,
    },
    /// Send a test message through the outbox; exit 0 when it was accepted, 1 refused, 69 not reached
    Test {
        /// Name of the channel: NAME of [channel.NAME]
        name: String,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Record that a person has read the test message with this code
    Confirm {
        /// Six characters from the message
        code: String,
        /// Who confirms [default: the login name]
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
    },
}

/// A test that is older proves nothing about today, and its code is forgotten.
const CODE_VALID: Duration = Duration::from_secs(7 * 86_400);
/// How long the running daemon may take to send: the slowest channel's timeout and its longest sleep.
const DAEMON_WAIT: Duration = Duration::from_secs(160);
/// Between two looks at the row.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Confirmations and test messages that are looked through.
const LOOK_BACK: u32 = 1000;
/// `audit` action of a confirmation.
const CONFIRMED: &str = "channel.confirm";

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.what {
        What::List { format } => list(global, format).await,
        What::Test { name, format } => test(global, &name, format).await,
        What::Confirm { code, actor } => confirm(global, &code, &launch::actor(actor.as_deref())).await,
    }
}

// --- list -----------------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Listing {
    schema: &'static str,
    channels: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    kind: &'static str,
    pending: u64,
    delivered: u64,
    dead: u64,
    confirmed_at: Option<String>,
    confirmed_by: Option<String>,
}

async fn list(global: &Global, format: FormatArg) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::File, Secrets::MayBeMissing)?;
    let (depths, log) = match outbox::existing_store(global, &loaded).await? {
        None => (Vec::new(), Vec::new()),
        Some(store) => (store.state.outbox_depths().await?, store.state.audit_log(LOOK_BACK).await?),
    };
    let channels: Vec<Listed> =
        loaded.config.channel.iter().map(|(name, config)| listed(name, config.via.kind(), &depths, &log)).collect();
    if format.is_json() {
        output::json(&Listing { schema: "hypercare.channels/v1", channels })?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    if channels.is_empty() {
        out.line("No channel is configured: nobody would hear of an alert.")?;
    }
    let width = channels.iter().map(|c| c.name.len()).max().unwrap_or(0);
    for c in &channels {
        let proved = match (&c.confirmed_at, &c.confirmed_by) {
            (Some(at), Some(by)) => output::paint(Tone::Pass, format!("confirmed {at} by {}", output::clean_line(by))),
            _ => output::paint(Tone::Warn, format!("never confirmed: hypercare channel test {}", c.name)),
        };
        let counts = format!("{} waiting, {} delivered, {} dead", c.pending, c.delivered, c.dead);
        out.line(format!(
            "{}  {:<8} {}  {proved}",
            output::pad(&c.name, width),
            c.kind,
            if c.dead > 0 { output::paint(Tone::Fail, counts) } else { output::paint(Tone::Soft, counts) },
        ))?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

fn listed(name: &str, kind: &'static str, depths: &[OutboxDepth], log: &[AuditEntry]) -> Listed {
    let depth = depths.iter().find(|d| d.channel == name);
    let confirmed = log.iter().find(|e| e.action == CONFIRMED && e.subject == name);
    Listed {
        name: name.to_string(),
        kind,
        pending: depth.map_or(0, |d| d.pending),
        delivered: depth.map_or(0, |d| d.delivered),
        dead: depth.map_or(0, |d| d.dead),
        confirmed_at: confirmed.map(|e| e.at.rfc3339()),
        confirmed_by: confirmed.map(|e| e.actor.clone()),
    }
}

// --- test -----------------------------------------------------------------------------------------------------------

#[derive(Serialize)]
struct Tested<'a> {
    schema: &'static str,
    channel: &'a str,
    kind: &'static str,
    id: &'a str,
    code: String,
    /// `daemon` or `command`: who sent it.
    sent_by: &'static str,
    state: &'static str,
    remote_id: Option<&'a str>,
    error: Option<&'a str>,
    attempts: &'a [DeliveryAttempt],
}

async fn test(global: &Global, name: &str, format: FormatArg) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::File, Secrets::MustResolve)?;
    let Some(config) = loaded.config.channel.get(name) else {
        let known: Vec<&str> = loaded.config.channel.keys().map(String::as_str).collect();
        return Err(Failure::new(Exit::Usage, format!("there is no channel `{name}`"))
            .hint(crate::config::check::suggest(name, &known, "channels:"))
            .into());
    };
    let dir = &loaded.store_dir();
    // Whoever holds the folder sends: the daemon if it runs, else this command.
    let (store, alone) = match Store::open(dir, Role::Daemon, global.clock.clone()).await {
        Ok(store) => (store, true),
        Err(StoreError::Locked { .. }) => (Store::open(dir, Role::Client, global.clock.clone()).await?, false),
        Err(e) => return Err(e.into()),
    };
    let new = test_row(&loaded, name, global.clock.now());
    let id = new.id.clone();
    store.state.enqueue(vec![new]).await?;
    let row = match alone {
        true => {
            let context = Context { client: Client::new(), clock: global.clock.clone() };
            let built = channel::build(name, config, &context).map_err(|problems| {
                let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                Failure::new(Exit::Usage, format!("channel {name}: {text}"))
            })?;
            let channels = BTreeMap::from([(name.to_string(), built)]);
            send_alone(&store, &Dispatcher::new(store.clone(), channels, global.clock.clone()), name, &id).await?
        }
        false => wait_for_daemon(global, &store, &id).await?,
    };
    let attempts = store.state.delivery_attempts(&id).await?;
    if row.state != OutboxState::Delivered {
        // A test that failed must not arrive in the middle of the night.
        store.state.drop_outbox(&id, global.clock.now(), &launch::actor(None), "test did not arrive").await?;
    }
    store.close().await;
    let exit = match (row.state, attempts.last().map(|a| a.outcome.as_str())) {
        (OutboxState::Delivered, _) => Exit::Yes,
        (_, Some("permanent")) => Exit::No,
        _ => Exit::Unreachable,
    };
    if format.is_json() {
        output::json(&Tested {
            schema: "hypercare.channel-test/v1",
            channel: name,
            kind: config.via.kind(),
            id: &id,
            code: code_of(&id),
            sent_by: if alone { "command" } else { "daemon" },
            state: row.state.word(),
            remote_id: row.remote_id.as_deref(),
            error: row.last_error.as_deref(),
            attempts: &attempts,
        })?;
        return Ok(exit);
    }
    let mut out = Out::stdout();
    for attempt in &attempts {
        out.line(outbox::attempt_line(attempt))?;
    }
    match (exit, attempts.is_empty()) {
        (Exit::Yes, _) => {
            let remote = row.remote_id.map(|r| format!(" as {}", output::clean_line(&r))).unwrap_or_default();
            out.line(format!("{} {name} accepted the message{remote}", output::paint(Tone::Pass, "✔")))?;
            out.line(format!("  When somebody has read it: hypercare channel confirm {}", code_of(&id)))?;
        }
        (_, true) => out.line(format!(
            "{} the running daemon has not sent it: does it know this channel? Reload it with SIGHUP.",
            output::paint(Tone::Fail, "✘")
        ))?,
        _ => out.line(format!("{} {name} did not take the message", output::paint(Tone::Fail, "✘")))?,
    }
    out.flush()?;
    Ok(exit)
}

async fn send_alone(store: &Store, dispatcher: &Dispatcher, name: &str, id: &str) -> anyhow::Result<OutboxRow> {
    // Older rows of the channel may be first in line: they go out on the way.
    loop {
        let tried = dispatcher.send_due(name).await;
        let row = found(store, id).await?;
        if tried == 0 || row.attempts > 0 {
            return Ok(row);
        }
    }
}

async fn wait_for_daemon(global: &Global, store: &Store, id: &str) -> anyhow::Result<OutboxRow> {
    let start = global.clock.monotonic();
    loop {
        let row = found(store, id).await?;
        let answered = !matches!(row.state, OutboxState::Pending | OutboxState::Leased) || row.last_error.is_some();
        if answered || global.clock.monotonic().saturating_sub(start) > DAEMON_WAIT {
            return Ok(row);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn found(store: &Store, id: &str) -> anyhow::Result<OutboxRow> {
    Ok(store.state.outbox_row(id).await?.ok_or_else(|| StoreError::NotFound(format!("outbox row {id}")))?)
}

fn test_row(loaded: &Loaded, name: &str, now: Timestamp) -> NewOutbox {
    let id = id_at(now);
    let service = loaded.config.only_service().unwrap_or("hypercare").to_string();
    let timezone = loaded.config.service.get(&service).and_then(|s| s.timezone.clone());
    NewOutbox {
        channel: name.to_string(),
        group_key: format!("channel.test/{id}"),
        seq: 1,
        reason: NotifyReason::First,
        priority: AlertSeverity::Info,
        message: Message {
            kind: MessageKind::ChannelTest,
            title: format!("[{service}] Test of channel {name}"),
            headline: format!("TEST · {service} · channel {name} · nothing is wrong"),
            service,
            severity: AlertSeverity::Info,
            facts: vec![
                Fact::new("What", format!("hypercare tries whether messages reach you through `{name}`")),
                Fact::new("You read this", format!("hypercare channel confirm {}", code_of(&id))),
            ],
            alerts: Vec::new(),
            runbook: None,
            rollback: None,
            thread: None,
            created_at: now,
            timezone: timezone.unwrap_or_else(|| "UTC".into()),
            body: String::new(),
            html: None,
            attachments: Vec::new(),
            data: serde_json::json!({"code": code_of(&id)}),
        },
        not_before: now,
        give_up_at: now.plus(Duration::from_secs(600)),
        failover: None,
        enqueued_at: now,
        id,
    }
}

/// Six characters that can be read over the telephone, from the row's id.
fn code_of(id: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let hash = sha256_hex(id.as_bytes());
    hash.as_bytes()
        .chunks(2)
        .take(6)
        .map(|pair| {
            let n = u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("0"), 16).unwrap_or(0);
            char::from(ALPHABET[usize::from(n) % ALPHABET.len()])
        })
        .collect()
}

// --- confirm --------------------------------------------------------------------------------------------------------

async fn confirm(global: &Global, code: &str, actor: &str) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let store = outbox::store(global, &loaded).await?;
    let now = global.clock.now();
    let rows = store.state.outbox_between(None, now.minus(CODE_VALID), now).await?;
    let code = code.trim().to_uppercase();
    let tested = rows.iter().rev().find(|r| {
        r.new.message.kind == MessageKind::ChannelTest
            && code_of(&r.new.id) == code
            && r.state == OutboxState::Delivered
    });
    let Some(row) = tested else {
        return Err(Failure::new(Exit::No, format!("no delivered test of the last 7 days has the code {code}"))
            .hint("`hypercare channel test NAME` sends one")
            .into());
    };
    store.state.audit(now, actor, CONFIRMED, &row.new.channel, Some(&row.new.id)).await?;
    store.close().await;
    output::print(&format!(
        "{} channel {} reaches {}\n",
        output::paint(Tone::Pass, "✔"),
        row.new.channel,
        output::clean_line(actor)
    ))?;
    Ok(Exit::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_six_plain_characters_and_differ() {
        let (a, b) = (code_of("0192-a"), code_of("0192-b"));
        assert_eq!(a.len(), 6);
        assert!(a.chars().all(|c| c.is_ascii_alphanumeric() && !"01IO".contains(c)), "{a}");
        assert_ne!(a, b);
    }
}
