//! The commands that move and annotate a launch: `go`, `no-go`, `rollback`, `abort`, `close`, `extend`, `stage`, `mark`.
//! They write to the store; a running daemon sees it within a second.

use std::time::Duration;

use super::config::Need;
use super::output::{FormatArg, Out, Tone, paint};
use super::{Exit, Failure, Global};
use crate::config::{Loaded, Secrets};
use crate::daemon::Setup;
use crate::daemon::launches::{self, Go, LaunchError, Order};
use crate::domain::clock::Timestamp;
use crate::domain::launch::{Launch, LaunchState};
use crate::domain::marker::MarkerKind;
use crate::domain::units::{Span, prose};
use crate::store::{Role, Store};

/// Which service, and who says so.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The service; not needed when the configuration has one
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Who decides, for the audit trail
    #[arg(long, value_name = "NAME", env = "HYPERCARE_ACTOR")]
    actor: Option<String>,
    #[command(flatten)]
    format: FormatArg,
}

/// Go live: refused while NO-GO, unless every blocker is waived
#[derive(Debug, clap::Args)]
#[command(after_help = "Needs a gate run of the last 24 hours that says GO or GO WITH RISKS.\n\
Freezes the baseline, starts the window, tells the channels in [launch.NAME] notify.")]
pub struct GoArgs {
    #[command(flatten)]
    common: Common,
    /// When it went live, if not just now (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = instant)]
    at: Option<Timestamp>,
    /// Go although blockers stand; the reason is kept for ever
    #[arg(long, requires = "reason")]
    force: bool,
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A move that needs a reason
#[derive(Debug, clap::Args)]
pub struct MoveArgs {
    #[command(flatten)]
    common: Common,
    /// Why; kept in the audit trail and shown in the report
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lengthen the window
#[derive(Debug, clap::Args)]
pub struct ExtendArgs {
    #[command(flatten)]
    common: Common,
    /// By how much: 24h
    #[arg(long, value_name = "DURATION")]
    by: Span,
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Note a stage of the roll-out
#[derive(Debug, clap::Args)]
pub struct StageArgs {
    #[command(flatten)]
    common: Common,
    /// 1%, 10%, 50%, 100%
    stage: String,
}

/// Leave a marker on charts and timeline
#[derive(Debug, clap::Args)]
pub struct MarkArgs {
    #[command(flatten)]
    common: Common,
    /// deploy | config | flag | rollback | scale | migration | incident | maintenance | note
    #[arg(long, default_value = "note", value_parser = kind)]
    kind: MarkerKind,
    /// What happened
    text: String,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write RFC 3339, for example 2026-11-22T10:00:00Z".into())
}

fn kind(text: &str) -> Result<MarkerKind, String> {
    MarkerKind::parse(text).ok_or_else(|| {
        let words: Vec<_> = MarkerKind::ALL.iter().map(|k| k.word()).collect();
        format!("one of {}", words.join(", "))
    })
}

/// What every move needs.
struct Place {
    store: Store,
    setup: Setup,
    service: String,
    order: Order,
    common: Common,
}

impl Place {
    async fn open(common: Common, reason: Option<String>, global: &Global) -> anyhow::Result<Place> {
        let loaded = global.config(Need::File, Secrets::MayBeMissing)?;
        let service = service(common.service.as_deref(), &loaded)?;
        let store = Store::open(&loaded.store_dir(), Role::Client, global.clock.clone()).await?;
        let order = Order::new(actor(common.actor.as_deref()), global.clock.now()).because(reason);
        Ok(Place { store, setup: loaded.setup(false), service, order, common })
    }

    async fn launch(&self) -> anyhow::Result<Launch> {
        let open = self.store.state.open_launch(&self.service).await?;
        open.ok_or_else(|| {
            Failure::new(Exit::No, format!("{} has no open launch", self.service))
                .hint("hypercare run plans one, hypercare go starts one")
                .into()
        })
    }

    /// Prints where the launch is now.
    fn done(&self, launch: &Launch) -> anyhow::Result<Exit> {
        if self.common.format.is_json() {
            let document = serde_json::json!({"schema": "hypercare.launch/v1", "launch": launch});
            super::output::json(&document)?;
            return Ok(Exit::Yes);
        }
        let mut out = Out::stdout();
        let state = paint(Tone::Strong, launch.state.word().replace('_', " ").to_uppercase());
        out.line(format!("{state}  {} {}", launch.service, launch.version.as_deref().unwrap_or("(version unknown)")))?;
        if let (Some(live), Some(end)) = (launch.live_at, launch.window_end)
            && launch.state.is_watching()
        {
            let length = prose(Duration::from_millis(launch.window_ms.max(0) as u64));
            out.line(format!("  live since {live}, watched until {end} ({length})"))?;
        }
        out.line(format!("  {} · rev {}", launch.id, launch.rev))?;
        Ok(Exit::Yes)
    }
}

/// The service that was named, or the only one.
pub fn service(named: Option<&str>, loaded: &Loaded) -> anyhow::Result<String> {
    let known: Vec<&String> = loaded.config.service.keys().collect();
    match (named, known.as_slice()) {
        (Some(name), _) if loaded.config.service.contains_key(name) => Ok(name.to_string()),
        (None, [only]) => Ok((*only).clone()),
        (Some(name), _) => Err(Failure::new(Exit::Usage, format!("no service {name} in the configuration")).into()),
        (None, []) => Err(Failure::new(Exit::Usage, "the configuration has no [service.NAME]").into()),
        (None, many) => {
            let names = many.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", ");
            Err(Failure::new(Exit::Usage, "which service? give --service").hint(format!("one of {names}")).into())
        }
    }
}

/// Who runs the command: `--actor`, else the login name.
pub fn actor(named: Option<&str>) -> String {
    let login = || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|v| std::env::var(v).ok());
    named.map(str::to_string).or_else(login).filter(|n| !n.is_empty()).unwrap_or_else(|| "unknown".into())
}

pub async fn go(args: GoArgs, global: &Global) -> anyhow::Result<Exit> {
    let json = args.common.format.is_json();
    let place = Place::open(args.common, args.reason.clone(), global).await?;
    let wish = Go { force: if args.force { args.reason } else { None }, live_at: args.at };
    match launches::go(&place.store, &place.setup, &place.service, &wish, &place.order).await {
        Ok(launch) => place.done(&launch),
        Err(LaunchError::NotCleared { summary, blockers }) if json => {
            let refused =
                serde_json::json!({"schema": "hypercare.launch/v1", "refused": summary, "blockers": blockers});
            super::output::json(&refused)?;
            Ok(Exit::No)
        }
        Err(LaunchError::NotCleared { summary, blockers }) => {
            let mut out = Out::stdout();
            out.line(format!("{}  {summary}", paint(Tone::Fail, "REFUSED")))?;
            for blocker in blockers.iter().take(BLOCKERS_SHOWN) {
                out.line(format!("  {} {blocker}", paint(Tone::Fail, "✘")))?;
            }
            if blockers.len() > BLOCKERS_SHOWN {
                out.line(format!("  … and {} more", blockers.len() - BLOCKERS_SHOWN))?;
            }
            out.line("        next: hypercare check, then mend or hypercare waive GATE --reason …")?;
            Ok(Exit::No)
        }
        Err(other) => Err(wrong(other)),
    }
}

/// More blockers than this do not help anybody decide.
const BLOCKERS_SHOWN: usize = 8;

fn wrong(error: LaunchError) -> anyhow::Error {
    match error {
        LaunchError::Wrong(why) => Failure::new(Exit::No, why).into(),
        LaunchError::Store(store) => store.into(),
        other => other.into(),
    }
}

async fn step(args: MoveArgs, to: LaunchState, global: &Global) -> anyhow::Result<Exit> {
    let place = Place::open(args.common, Some(args.reason), global).await?;
    let launch = place.launch().await?;
    let moved = launches::step_to(&place.store, &place.setup, &launch, to, &place.order).await.map_err(wrong)?;
    place.done(&moved)
}

pub async fn no_go(args: MoveArgs, global: &Global) -> anyhow::Result<Exit> {
    step(args, LaunchState::NoGo, global).await
}

pub async fn rollback(args: MoveArgs, global: &Global) -> anyhow::Result<Exit> {
    step(args, LaunchState::RolledBack, global).await
}

pub async fn abort(args: MoveArgs, global: &Global) -> anyhow::Result<Exit> {
    step(args, LaunchState::Aborted, global).await
}

pub async fn close(args: MoveArgs, global: &Global) -> anyhow::Result<Exit> {
    step(args, LaunchState::Closing, global).await
}

pub async fn extend(args: ExtendArgs, global: &Global) -> anyhow::Result<Exit> {
    let place = Place::open(args.common, Some(args.reason), global).await?;
    let launch = place.launch().await?;
    let moved = launches::extend(&place.store, &launch, args.by.get(), &place.order).await.map_err(wrong)?;
    place.done(&moved)
}

pub async fn stage(args: StageArgs, global: &Global) -> anyhow::Result<Exit> {
    let place = Place::open(args.common, None, global).await?;
    let launch = place.launch().await?;
    launches::stage(&place.store, &launch, &args.stage, &place.order).await.map_err(wrong)?;
    place.done(&launch)
}

pub async fn mark(args: MarkArgs, global: &Global) -> anyhow::Result<Exit> {
    let place = Place::open(args.common, None, global).await?;
    launches::mark(&place.store, &place.service, args.kind, &args.text, &place.order).await.map_err(wrong)?;
    Out::stdout().line(format!("marked {} at {}: {}", args.kind.word(), place.order.at, args.text))?;
    Ok(Exit::Yes)
}
