//! Plans the dearest statements and tries indexes for them.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value as Json;

use super::{Config, LARGE_ROWS, SMALL_ROWS};
use crate::gates::database::catalog::Catalog;
use crate::gates::database::plans::{Plan, Proposal, Read, proposals};
use crate::gates::database::reading::reading_part;
use crate::gates::database::statements::{NoCounters, Statement, Traffic};
use crate::gates::database::{DbError, Place, Session};

/// Everything that the verdict rests on.
#[derive(Debug, Clone)]
pub struct Seen {
    pub place: Place,
    pub traffic: Traffic,
    pub catalog: Catalog,
    /// Indexes could be tried.
    pub hypopg: bool,
    /// By total time.
    pub looked: Vec<Looked>,
    /// Statements that were sent.
    pub sent: u64,
}

/// One statement, planned or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    pub statement: Statement,
    /// Of the time of all statements, 0 to 1.
    pub share: f64,
    pub cost: Option<f64>,
    /// Why there is no plan.
    pub unplanned: Option<String>,
    pub gains: Vec<Gain>,
    /// Large tables read whole, where no gain was proven.
    pub scans: Vec<Scan>,
    /// Tables too small to tell, with conditions that no index serves.
    pub small: Vec<String>,
    /// Rows of the largest table that it reads.
    pub largest: f64,
}

impl Looked {
    pub fn is_judged(&self) -> bool {
        self.unplanned.is_none() && self.small.is_empty()
    }
}

/// An index that would halve the cost at least.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    pub index: Proposal,
    pub before: f64,
    pub after: f64,
    #[serde(skip)]
    pub plan_before: Json,
    #[serde(skip)]
    pub plan_after: Json,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scan {
    pub table: String,
    pub rows: f64,
    pub kept: f64,
    pub filter: Option<String>,
}

/// Time for all plans; what is left then counts as not planned.
const TIME_MAX: Duration = Duration::from_secs(200);
/// Indexes tried for one table of one statement.
const PROPOSALS_MAX: usize = 10;
/// HypoPG says nothing about smaller tables.
const TRIED_ROWS_MIN: f64 = 500.0;
/// A plan as cheap as this needs no index.
const COST_MIN: f64 = 100.0;
/// What is left of the cost.
const GAIN_RATIO: f64 = 0.5;
/// Two columns instead of one, only when this much less is left.
const PAIR_RATIO: f64 = 0.8;
/// A scan that keeps less than this share would have liked an index.
const KEPT_RATIO: f64 = 0.05;
/// Or one that is repeated so often.
const LOOPS_MIN: f64 = 1_000.0;

pub async fn look(
    session: &mut Session,
    config: &Config,
    ignored: &[String],
    progress: impl Fn(&str),
) -> Result<Seen, NoCounters> {
    let traffic = session.traffic(ignored).await?;
    let catalog = session.catalog().await?;
    let hypopg = session.extension("hypopg").await?;
    session.plan_generically().await?;
    let total_ms = traffic.total_ms().max(f64::MIN_POSITIVE);
    let counts = |s: &&Statement| s.calls >= config.min_calls || s.mean_ms() >= config.slow_mean_ms;
    let top: Vec<Statement> = traffic.statements.iter().filter(counts).take(config.statements).cloned().collect();
    let (known, began) = (top.len(), Instant::now());
    let mut looked = Vec::with_capacity(known);
    for (nth, statement) in top.into_iter().enumerate() {
        progress(&format!("plans {} of {known} statements", nth + 1));
        let mut one = Looked {
            share: statement.total_ms / total_ms,
            statement,
            cost: None,
            unplanned: None,
            gains: vec![],
            scans: vec![],
            small: vec![],
            largest: 0.0,
        };
        if began.elapsed() > TIME_MAX {
            one.unplanned = Some("there was no time left".into());
        } else if let Err(error) = plan(session, &catalog, hypopg.as_deref(), &mut one).await {
            match error {
                // The server says why; the session goes on.
                DbError::Statement(..) | DbError::TooLarge => one.unplanned = Some(error.to_string()),
                broken => return Err(broken.into()),
            }
        }
        looked.push(one);
    }
    Ok(Seen { place: session.place.clone(), traffic, catalog, hypopg: hypopg.is_some(), looked, sent: session.sent })
}

async fn plan(session: &mut Session, catalog: &Catalog, hypopg: Option<&str>, one: &mut Looked) -> Result<(), DbError> {
    let mut text = one.statement.text.clone();
    let mut plan = session.plan(&text).await;
    // We may only read: then how it finds its rows is looked at.
    if let Err(DbError::Statement(state, _)) = &plan
        && state == "42501"
        && let Some(reading) = reading_part(&text)
    {
        if reading.is_empty() {
            return Ok(());
        }
        plan = session.plan(&reading).await;
        text = reading;
    }
    let plan = plan?;
    one.cost = Some(plan.cost);
    let rows_of = |read: &Read| catalog.table(&read.schema, &read.table).map_or(0.0, |t| t.size());
    one.largest = plan.reads.iter().map(rows_of).fold(0.0, f64::max);
    for read in plan.reads.iter().filter(|r| r.is_scan) {
        let rows = rows_of(read);
        let gain = match hypopg {
            Some(schema) if rows >= TRIED_ROWS_MIN && plan.cost >= COST_MIN => {
                best(session, &text, &plan, read, schema).await?
            }
            _ => None,
        };
        let is_wasteful = (read.filter.is_some() && read.kept < rows * KEPT_RATIO) || read.loops >= LOOPS_MIN;
        let has_condition = !(read.equal.is_empty() && read.range.is_empty()) || read.loops > 1.0;
        if let Some(gain) = gain {
            one.gains.push(gain);
        } else if rows >= LARGE_ROWS && is_wasteful {
            let scan = Scan { table: read.name(), rows, kept: read.kept, filter: read.filter.clone() };
            one.scans.push(scan);
        } else if rows < SMALL_ROWS && has_condition && !is_served(session, &text, read).await? {
            one.small.push(read.name());
        }
    }
    Ok(())
}

/// The index that leaves the least of the cost, if it leaves half at most.
async fn best(
    session: &mut Session,
    text: &str,
    plan: &Plan,
    read: &Read,
    hypopg: &str,
) -> Result<Option<Gain>, DbError> {
    let mut best: Option<Gain> = None;
    for index in proposals(read, PROPOSALS_MAX) {
        let (with, used) = match session.plan_with(text, &index, hypopg).await {
            Ok(tried) => tried,
            // A type without a btree class, for instance.
            Err(DbError::Statement(..)) => continue,
            Err(broken) => return Err(broken),
        };
        let limit = match &best {
            Some(known) if index.columns.len() > known.index.columns.len() => known.after * PAIR_RATIO,
            Some(known) => known.after,
            None => plan.cost * GAIN_RATIO,
        };
        if used && with.cost <= limit && best.as_ref().is_none_or(|b| with.cost < b.after) {
            let (before, after) = (plan.cost, with.cost);
            best = Some(Gain { index, before, after, plan_before: plan.json.clone(), plan_after: with.json });
        }
    }
    Ok(best)
}

/// Would an index that exists serve, if the table were large?
async fn is_served(session: &mut Session, text: &str, read: &Read) -> Result<bool, DbError> {
    let plan = session.plan_by_index(text).await?;
    Ok(plan.reads.iter().any(|r| r.alias == read.alias && r.table == read.table && !r.indexes.is_empty()))
}
