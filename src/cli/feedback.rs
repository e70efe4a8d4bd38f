//! `hypercare feedback list|try|add|forget`: what users say. `try` asks a source once and stores nothing.

use std::time::Duration;

use serde::Serialize;

use super::alerts::store;
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{Cursor, FeedbackItem};
use crate::domain::secret::Revealed;
use crate::domain::units::{self, Span};
use crate::net::Client;
use crate::sources::feedback::{self, FeedbackError};
use crate::store::state::feedback::FeedbackFreshness;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare feedback list --since 6h             what users said, newest last, redacted
  hypercare feedback list --cue payment          only what speaks of payments
  hypercare feedback try issues --limit 3        ask a source once; nothing is stored
  hypercare feedback add --title \"call\" \"cannot log in since noon\"
  hypercare feedback forget --author 1f3c…       delete what one person wrote, for ever")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List messages and how fresh each source is
    List {
        /// The service; not needed when the configuration has one
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        /// How far back
        #[arg(long, value_name = "DURATION", default_value = "24h")]
        since: Span,
        /// Only messages with this cue: crash, login, payment, data_loss, security, slow, install, register, accessibility
        #[arg(long, value_name = "CUE", value_parser = crate::sources::text::cues::NAMES)]
        cue: Option<String>,
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Ask a configured source once and show what it would store
    Try {
        /// NAME of [feedback.NAME]
        name: String,
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
        limit: u32,
        #[command(flatten)]
        format: FormatArg,
    },
    /// Add a message by hand: from the telephone, the counter, a chat
    Add {
        text: String,
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        #[arg(long, default_value = "")]
        title: String,
        /// 1 to 5
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5))]
        rating: Option<u8>,
        /// Who said it; stored as a hash only
        #[arg(long, default_value = "")]
        author: String,
    },
    /// Delete messages for ever: all of one author, or one item. They do not come back with the next poll
    #[command(group = clap::ArgGroup::new("whom").required(true).args(["author", "id"]))]
    Forget {
        /// The author's hash, as `list --format json` shows it
        #[arg(long, value_name = "HASH")]
        author: Option<String>,
        /// SOURCE/ID of one item
        #[arg(long, value_name = "SOURCE/ID")]
        id: Option<String>,
        /// Who asks for it, for the audit trail [default: the login name]
        #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
        actor: Option<String>,
    },
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    match args.what {
        What::List { service, since, cue, limit, format } => {
            list(service, since.get(), cue.as_deref(), limit, format, global).await
        }
        What::Try { name, limit, format } => try_source(&name, limit as usize, format, global).await,
        What::Add { text, service, title, rating, author } => {
            add(&text, service, &title, rating, &author, global).await
        }
        What::Forget { author, id, actor } => forget(author, id, actor, global).await,
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    schema: &'static str,
    service: String,
    from: Timestamp,
    to: Timestamp,
    total: usize,
    items: &'a [FeedbackItem],
    /// An empty list is not "zero complaints": this says who was heard.
    sources: Vec<FeedbackFreshness>,
}

async fn list(
    service: Option<String>,
    since: Duration,
    cue: Option<&str>,
    limit: u32,
    format: FormatArg,
    global: &Global,
) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::File, Secrets::MayBeMissing)?;
    let service = super::launch::service(service.as_deref(), &loaded)?;
    let store = store(global, Need::File).await?;
    let now = global.clock.now();
    let from = now.minus(since);
    let read = async {
        let items = store.state.feedback(&service, from, now).await?;
        Ok::<_, anyhow::Error>((items, store.state.feedback_freshness(&service).await?))
    }
    .await;
    store.close().await;
    let (mut items, sources) = read?;
    items.retain(|i| cue.is_none_or(|c| i.cues.iter().any(|k| k.name == c)));
    let total = items.len();
    let newest = &items[total.saturating_sub(limit as usize)..];
    let mut out = Out::stdout();
    if format.is_json() {
        out.json(&Listed { schema: "hypercare.feedback/v1", service, from, to: now, total, items: newest, sources })?;
    } else {
        for item in newest {
            show(&mut out, item)?;
        }
        if newest.len() < total {
            out.line(format!("… and {} older", total - newest.len()))?;
        }
        if total == 0 {
            out.line(format!("no messages since {from}"))?;
        }
        for source in &sources {
            out.line(output::paint(Tone::Soft, freshness(source, now)))?;
        }
        if sources.is_empty() {
            out.line("no source was polled yet: no messages is not \"zero complaints\"")?;
        }
    }
    out.flush()?;
    Ok(Exit::Yes)
}

fn freshness(source: &FeedbackFreshness, now: Timestamp) -> String {
    let ago = |t: Option<Timestamp>| t.map_or("never".to_string(), |t| format!("{} ago", units::prose(now.since(t))));
    let error =
        source.last_error.as_ref().map(|e| format!(", last error: {}", output::clean_line(e))).unwrap_or_default();
    let name = output::clean_line(&source.source);
    format!("{name}: heard {}, last message {}{error}", ago(source.last_ok_poll), ago(source.last_new_item))
}

fn show(out: &mut Out, item: &FeedbackItem) -> std::io::Result<()> {
    let cues: Vec<&str> = item.cues.iter().map(|c| c.name.as_str()).collect();
    let stars = item.rating.map(|r| format!("  {}", "★".repeat(r.into()))).unwrap_or_default();
    let heard = match cues.is_empty() {
        true => String::new(),
        false => format!("  {}", output::paint(Tone::Fail, cues.join(", "))),
    };
    let id = output::paint(Tone::Soft, output::clean_line(&format!("{}/{}", item.source, item.external_id)));
    out.line(format!("{}{stars}{heard}  {id}", item.created_at))?;
    for (tone, text) in [(Tone::Strong, &item.title), (Tone::Soft, &item.text)] {
        if !text.is_empty() {
            let text = output::cut(&output::clean_line(text), 280);
            let text = format!("  {}", output::hang(&text, 2, output::width()));
            out.line(if tone == Tone::Strong { output::paint(tone, text) } else { text })?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Tried<'a> {
    schema: &'static str,
    name: &'a str,
    found: usize,
    more: bool,
    not_before: Option<Timestamp>,
    items: &'a [FeedbackItem],
}

async fn try_source(name: &str, limit: usize, format: FormatArg, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::File, Secrets::MustResolve)?;
    let Some(config) = loaded.config.feedback.get(name) else {
        let known: Vec<&str> = loaded.config.feedback.keys().map(String::as_str).collect();
        let hint = if known.is_empty() {
            "the configuration has none".into()
        } else {
            format!("there are {}", known.join(", "))
        };
        return Err(Failure::new(Exit::Usage, format!("no [feedback.{}]", output::clean_line(name))).hint(hint).into());
    };
    let context = feedback::Context {
        client: Client::new(),
        clock: global.clock.clone(),
        // Hashes of a try mean nothing and are not kept.
        instance_key: Revealed::new(uuid::Uuid::new_v4().to_string()),
        default_service: loaded.config.only_service().map(String::from),
    };
    let built = feedback::build(name, config, &context).map_err(|problems| {
        let text: Vec<String> = problems.into_iter().map(|p| p.under(&["feedback", name]).to_string()).collect();
        Failure::new(Exit::Usage, text.join("\n"))
    })?;
    let Some(source) = &built.source else {
        let hint = format!("it hears by itself: POST /f/{name} on the daemon");
        return Err(Failure::new(Exit::Usage, format!("{name} is not polled")).hint(hint).into());
    };
    let now = global.clock.now();
    let page = source.poll(&Cursor::default(), now).await.map_err(|error| {
        let exit = match error {
            FeedbackError::Unreachable(_) => Exit::Unreachable,
            FeedbackError::Auth(_) | FeedbackError::Malformed(_) => Exit::No,
        };
        Failure::new(exit, format!("{name}: {error}"))
    })?;
    let items = &page.items[page.items.len().saturating_sub(limit)..];
    let mut out = Out::stdout();
    if format.is_json() {
        let (found, more, not_before) = (page.items.len(), page.more, page.not_before);
        out.json(&Tried { schema: "hypercare.feedback_try/v1", name, found, more, not_before, items })?;
    } else {
        for item in items {
            show(&mut out, item)?;
        }
        let more = if page.more { ", and more pages wait" } else { "" };
        out.line(format!("{} messages in the first page{more}; nothing was stored", page.items.len()))?;
        if let Some(until) = page.not_before {
            out.line(format!("the service asks for patience until {until}"))?;
        }
    }
    out.flush()?;
    Ok(Exit::Yes)
}

async fn add(
    text: &str,
    service: Option<String>,
    title: &str,
    rating: Option<u8>,
    author: &str,
    global: &Global,
) -> anyhow::Result<Exit> {
    if text.trim().is_empty() {
        return Err(Failure::new(Exit::Usage, "what was said?").into());
    }
    let loaded = global.config(Need::File, Secrets::MayBeMissing)?;
    let service = super::launch::service(service.as_deref(), &loaded)?;
    let store = store(global, Need::File).await?;
    let now = global.clock.now();
    let saved = async {
        let page = feedback::by_hand(store.state.instance_key().await?, title, text, rating, author, now);
        store.state.save_feedback_page(&service, feedback::BY_HAND, &page, now).await?;
        Ok::<_, anyhow::Error>(page)
    }
    .await;
    store.close().await;
    let mut out = Out::stdout();
    for item in &saved?.items {
        show(&mut out, item)?;
    }
    out.flush()?;
    Ok(Exit::Yes)
}

async fn forget(
    author: Option<String>,
    id: Option<String>,
    actor: Option<String>,
    global: &Global,
) -> anyhow::Result<Exit> {
    let id = match &id {
        None => None,
        Some(text) => Some(text.split_once('/').ok_or_else(|| {
            Failure::new(Exit::Usage, "write SOURCE/ID")
                .hint("`hypercare feedback list` shows it at the end of each first line")
        })?),
    };
    let store = store(global, Need::Nothing).await?;
    let actor = super::launch::actor(actor.as_deref());
    let gone = store.state.forget_feedback(author.as_deref(), id, &actor, global.clock.now()).await;
    store.close().await;
    match gone? {
        0 => Err(Failure::new(Exit::No, "nothing like that is stored").into()),
        n => {
            output::print(&format!("forgot {n} messages; they do not come back\n"))?;
            Ok(Exit::Yes)
        }
    }
}
