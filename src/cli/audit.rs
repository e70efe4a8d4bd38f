//! `hypercare audit`: who did what, and whether the chain of rows is whole.

use super::config::Need;
use super::output::{FormatArg, Out, Tone, paint};
use super::{Exit, Global};
use crate::config::Secrets;
use crate::store::{Role, Store};

/// Who did what; `audit verify` recomputes the chain
#[derive(Debug, clap::Args)]
pub struct Args {
    /// verify: recompute the hash chain; exit 1 when a row was changed
    #[arg(value_parser = ["verify"])]
    action: Option<String>,
    /// Newest rows to show
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    format: FormatArg,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::Nothing, Secrets::MayBeMissing)?;
    let store = Store::open(&loaded.store_dir(), Role::Client, global.clock.clone()).await?;
    let mut out = Out::stdout();
    if args.action.is_some() {
        let check = store.state.verify_audit().await?;
        let whole = check.broken_at.is_none();
        if args.format.is_json() {
            super::output::json(&serde_json::json!({"schema": "hypercare.audit/v1", "whole": whole, "check": check}))?;
        } else if let Some((seq, why)) = &check.broken_at {
            out.line(format!("{}  row {seq}: {why}", paint(Tone::Fail, "BROKEN")))?;
        } else {
            out.line(format!("{}  {} rows, head {}", paint(Tone::Pass, "WHOLE"), check.rows, check.head))?;
        }
        return Ok(if whole { Exit::Yes } else { Exit::No });
    }
    let rows = store.state.audit_log(args.limit).await?;
    if args.format.is_json() {
        super::output::json(&serde_json::json!({"schema": "hypercare.audit/v1", "rows": rows}))?;
        return Ok(Exit::Yes);
    }
    for row in rows {
        let change = match (&row.before, &row.after) {
            (Some(before), Some(after)) => format!("{before} → {after}"),
            (None, Some(after)) => after.clone(),
            (Some(before), None) => before.clone(),
            (None, None) => String::new(),
        };
        let reason = row.reason.map(|r| format!(" ({r})")).unwrap_or_default();
        out.line(format!("{}  {:<14} {:<16} {} {change}{reason}", row.at, row.actor, row.action, row.subject))?;
    }
    Ok(Exit::Yes)
}
