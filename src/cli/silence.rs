//! `hypercare silence add|list|expire`: alerts by label that are not told for a while. They still fire, and when the
//! silence ends while they do, they are told.

use super::alerts::store;
use super::config::Need;
use super::output::{self, FormatArg, Out, Tone};
use super::{Exit, Failure, Global};
use crate::alerts::silence;
use crate::domain::alert::Silence;
use crate::domain::units::{self, Span};
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare silence add 'alertname=\"CpuHigh\",service=\"shop\"' --for 1h --comment \"backfill runs until noon\"
  hypercare silence list
  hypercare silence expire 0192f7c1          a unique beginning of the id is enough")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Mute alerts whose labels match all of these, for at most 24h
    Add {
        /// LABEL="VALUE",…: exact values only
        matchers: String,
        #[arg(long = "for", value_name = "DURATION")]
        lasts: Span,
        /// Why, for whoever comes next
        #[arg(long, value_name = "TEXT")]
        comment: String,
        /// Who asks for it, for the audit trail [default: the login name]
        #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
        actor: Option<String>,
        #[command(flatten)]
        format: FormatArg,
    },
    /// List silences that have not ended
    List {
        #[command(flatten)]
        format: FormatArg,
    },
    /// End a silence now
    Expire {
        /// The id, or its beginning
        id: String,
        /// Who ends it, for the audit trail [default: the login name]
        #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
        actor: Option<String>,
    },
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let store = store(global, Need::Nothing).await?;
    let result = answer(args.what, global, &store).await;
    store.close().await;
    result
}

async fn answer(what: What, global: &Global, store: &Store) -> anyhow::Result<Exit> {
    let now = global.clock.now();
    let mut out = Out::stdout();
    match what {
        What::Add { matchers, lasts, comment, actor, format } => {
            let actor = super::launch::actor(actor.as_deref());
            let id = uuid::Uuid::new_v4().to_string();
            let silence = silence::new(id, &matchers, lasts.get(), &comment, &actor, now)
                .map_err(|message| Failure::new(Exit::Usage, message))?;
            store.state.add_silence(silence.clone(), &actor).await?;
            if format.is_json() {
                out.json(&serde_json::json!({"schema": "hypercare.silence/v1", "silence": silence}))?;
            } else {
                out.line(format!("silent until {}: {}  {}", silence.until, matchers_text(&silence), silence.id))?;
            }
        }
        What::List { format } => {
            let silences = store.state.silences(now).await?;
            if format.is_json() {
                out.json(&serde_json::json!({"schema": "hypercare.silences/v1", "silences": silences}))?;
            } else if silences.is_empty() {
                out.line("no silences")?;
            }
            for s in silences.iter().filter(|_| !format.is_json()) {
                let id: String = s.id.chars().take(8).collect();
                let rest = units::prose(s.until.since(now));
                out.line(format!("{}  ends in {rest}  {}", output::paint(Tone::Strong, id), matchers_text(s)))?;
                let why = format!("{} ({})", output::clean_line(&s.comment), output::clean_line(&s.author));
                out.line(format!("          {}", output::paint(Tone::Soft, why)))?;
            }
        }
        What::Expire { id, actor } => {
            let silences = store.state.silences(now).await?;
            let found: Vec<&Silence> = silences.iter().filter(|s| !id.is_empty() && s.id.starts_with(&id)).collect();
            let silence = match found.as_slice() {
                [one] => one,
                [] => {
                    let failure = Failure::new(Exit::No, format!("no silence {}", output::clean_line(&id)));
                    return Err(failure.hint("`hypercare silence list` names them").into());
                }
                many => {
                    let message = format!("{} silences begin with {id}; give more of it", many.len());
                    return Err(Failure::new(Exit::Usage, message).into());
                }
            };
            let actor = super::launch::actor(actor.as_deref());
            if !store.state.expire_silence(&silence.id, now, &actor).await? {
                return Err(Failure::new(Exit::No, "it has just ended by itself").into());
            }
            out.line(format!("ended: {}; what still fires is told now", matchers_text(silence)))?;
        }
    }
    out.flush()?;
    Ok(Exit::Yes)
}

fn matchers_text(silence: &Silence) -> String {
    let pairs: Vec<String> = silence.matchers.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
    output::clean_line(&pairs.join(","))
}
