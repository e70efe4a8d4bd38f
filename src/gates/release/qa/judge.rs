//! What was seen of the flows, to a verdict: for each flow the best proof there is. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::flows::{Flow, speaks_of, tag};
use super::lists::{Item, State};
use super::look::{Bound, List, Seen, Title};
use crate::domain::units::count;
use crate::domain::verdict::{Finding, Outcome, Severity, Tier};
use crate::gates::import::junit::CaseResult;

/// How a flow stands, from the worst to the best.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "why")]
pub enum Standing {
    Failed(String),
    Open(String),
    /// A test that no report speaks of.
    Untold(String),
    /// Green or ticked, but unsigned, unbound or older.
    Weak(String),
    Proved(String),
}

/// One row of the evidence.
#[derive(Debug, Serialize)]
pub struct Row {
    pub flow: String,
    #[serde(flatten)]
    pub standing: Standing,
    /// Where the sources show the flow, or where it failed.
    pub file: Option<String>,
    pub line: Option<u32>,
    pub ticket: Option<String>,
    /// Paid with play money.
    pub sandbox: bool,
}

/// Pure: what was seen, to a verdict. `wanted`: flows by configuration; none: those that the sources show.
pub fn judge(seen: &Seen, wanted: Option<&[String]>, attested: &BTreeSet<String>) -> Outcome {
    let flows: Vec<String> = match wanted {
        Some(named) => named.to_vec(),
        None => looked_for(seen).filter(|f| seen.shown.has_flow(f)).map(str::to_string).collect(),
    };
    let rows: Vec<Row> = flows.iter().map(|flow| row(seen, flow, attested)).collect();
    let loose = loose_items(seen, &flows);
    if rows.is_empty() && loose.is_empty() && seen.unreadable.is_empty() {
        return nothing(seen);
    }
    let findings: Vec<Finding> = rows.iter().flat_map(finding).chain(loose.iter().map(loose_finding)).collect();
    let of = |want: fn(&Standing) -> bool| -> Vec<&str> {
        rows.iter().filter(|r| want(&r.standing)).map(|r| r.flow.as_str()).collect()
    };
    let failed = of(|s| matches!(s, Standing::Failed(_)));
    let open = of(|s| matches!(s, Standing::Open(_)));
    let untold = of(|s| matches!(s, Standing::Untold(_)));
    let weak = of(|s| matches!(s, Standing::Weak(_)));
    let proved = rows.len() - failed.len() - open.len() - untold.len() - weak.len();
    let bad_items = loose.iter().filter(|l| l.is_bad()).count();

    let outcome = if !failed.is_empty() || !open.is_empty() || bad_items > 0 {
        Outcome::fail(said(seen, &failed, &open, bad_items)).hint(hint(&failed, &open, &loose))
    } else if let Some((path, why)) = seen.unreadable.first() {
        Outcome::error("unreadable-report", format!("{path}: {why}")).hint(format!("make it again: {}", seen.command))
    } else if !untold.is_empty() {
        let text = format!("{} tested by the sources, but no report says that they are green", list(&untold));
        Outcome::error("no-report", text).hint(format!("run: {}", seen.command))
    } else if !weak.is_empty() || !loose.is_empty() {
        Outcome::warn(weakness(&rows, &loose, weak.len())).hint(strengthen(&rows))
    } else {
        Outcome::pass(format!("{} proved for this release: {}", count(proved, "flow"), list(&of(|_| true))))
    };
    let known = rows.len() as u64;
    let outcome = if outcome.reason.is_none() {
        outcome
            .value(proved, rows.len())
            .covered(known.max(loose.len() as u64), known.max(loose.len() as u64))
            .tier(Tier::E2)
    } else {
        outcome
    };
    outcome.findings(findings).evidence("flows", evidence(seen, &rows))
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}

/// The checklist's flows, without the layout of pages where nothing serves any.
fn looked_for(seen: &Seen) -> impl Iterator<Item = &'static str> {
    let pages = !seen.no_pages;
    super::super::shown::FLOWS.into_iter().filter(move |f| pages || *f != "mobile layout")
}

/// Neither a flow nor an item of a list.
fn nothing(seen: &Seen) -> Outcome {
    if seen.shown.files == 0 {
        return Outcome::skip("no-source", "no source or template of the repository ships");
    }
    Outcome::skip(
        "no-flows",
        format!(
            "none of {} shows in {}, and there is no QA list",
            looked_for(seen).collect::<Vec<_>>().join(", "),
            count(seen.shown.files, "source file")
        ),
    )
}

const TITLES_WEIGHED: usize = 20;

/// The best that speaks for a flow, unless something speaks against it.
fn row(seen: &Seen, flow: &str, attested: &BTreeSet<String>) -> Row {
    let place = seen.shown.flows.iter().find(|(name, _)| *name == flow).map(|(_, place)| place.clone());
    let mut row = Row {
        flow: flow.into(),
        standing: Standing::Open("nothing speaks of it".into()),
        file: place.as_ref().map(|p| p.0.clone()),
        line: place.map(|p| p.1.max(1)),
        ticket: None,
        sandbox: false,
    };
    let mut best: Vec<Standing> = Vec::new();
    if attested.contains(flow) {
        best.push(Standing::Proved("signed by a person with role qa".into()));
    }
    for report in &seen.reports {
        let spoken: Vec<_> = report.cases.iter().filter(|c| speaks_of(&c.title, flow)).collect();
        let Some(first) = spoken.first() else { continue };
        row.sandbox |= spoken.iter().any(|c| is_sandbox(&c.title));
        let green = spoken.iter().find(|c| c.result == CaseResult::Passed);
        let red = spoken.iter().find(|c| c.result == CaseResult::Failed);
        best.push(match (red, green, &report.bound) {
            (Some(case), _, Bound::Old { .. }) => Standing::Open(format!("failed in an older run: {}", case.title)),
            (Some(case), _, _) => {
                row.file = case.file.clone().or(Some(report.path.clone()));
                row.line = None;
                let colon = if case.message.is_empty() { "" } else { ": " };
                Standing::Failed(format!("{}{colon}{}", case.title, case.message))
            }
            (None, Some(case), Bound::Yes { .. }) => {
                let flaky = if spoken.iter().any(|c| c.flaky) { ", at the second try" } else { "" };
                Standing::Proved(format!("{} is green in {}{flaky}", case.title, report.path))
            }
            (None, Some(_), Bound::Unbound) => {
                Standing::Weak(format!("green in {}, which names no commit", report.path))
            }
            (None, Some(_), Bound::Old { why }) => Standing::Weak(format!("green in {}: {why}", report.path)),
            (None, None, _) => Standing::Open(format!("skipped: {}", first.title)),
        });
    }
    for (list, item, bound) in items(seen).filter(|(_, item, _)| speaks_of(&item.title, flow)) {
        row.sandbox |= is_sandbox(&item.title);
        let standing = of_item(list, item, bound);
        if matches!(standing, Standing::Failed(_)) {
            (row.file, row.line) = (Some(list.path.clone()), Some(item.line));
            row.ticket = item.ticket.clone();
        }
        best.push(standing);
    }
    // Of the first few that speak of it, the one with the fewest other words.
    let names = Flow::new(flow);
    let spoken = seen.titles.iter().filter(|title| names.is_in(&title.spoken)).take(TITLES_WEIGHED);
    if let Some(Title { title, place: (file, line), .. }) = spoken.min_by_key(|title| title.title.len()) {
        best.push(Standing::Untold(format!("{title} ({file}:{line})")));
    }
    // A failure is not made good by something else that is green.
    let failed = best.iter().position(|s| matches!(s, Standing::Failed(_)));
    let chosen = failed.map(|at| best.swap_remove(at)).or_else(|| {
        // One open box of many leaves the flow open, unless a run or a person proves it.
        let proved = best.iter().any(|s| matches!(s, Standing::Proved(_)));
        let open = best.iter().position(|s| matches!(s, Standing::Open(_))).filter(|_| !proved);
        let told = best.iter().any(|s| matches!(s, Standing::Weak(_) | Standing::Untold(_)));
        match open {
            Some(at) if !told || is_begun(seen, flow) => Some(best.swap_remove(at)),
            _ => best.into_iter().max(),
        }
    });
    if let Some(standing) = chosen {
        row.standing = standing;
    }
    row
}

/// Does a list that somebody has begun hold an item of the flow?
fn is_begun(seen: &Seen, flow: &str) -> bool {
    items(seen).any(|(list, item, _)| !list.is_template() && speaks_of(&item.title, flow))
}

fn items(seen: &Seen) -> impl Iterator<Item = (&List, &Item, &Bound)> {
    seen.lists.iter().flat_map(|list| list.items.iter().map(move |(item, bound)| (list, item, bound)))
}

fn of_item(list: &List, item: &Item, bound: &Bound) -> Standing {
    let place = format!("{}:{}", list.path, item.line);
    match (item.state, bound) {
        (State::Failed, _) => Standing::Failed(format!("marked as failed in {place}")),
        (State::Open, _) => Standing::Open(format!("open in {place}")),
        (State::Done, Bound::Old { why }) => Standing::Open(format!("{place}: {why}")),
        (State::Done, Bound::Yes { .. }) if list.export && item.by.is_some() && item.on.is_some() => {
            let by = item.by.as_deref().unwrap_or_default();
            Standing::Proved(format!("passed by {by} in {place}"))
        }
        (State::Done, _) => Standing::Weak(format!("ticked in {place}, unsigned")),
    }
}

fn is_sandbox(title: &str) -> bool {
    let lower = title.to_lowercase();
    ["sandbox", "test card", "test mode", "testmode", "play money"].iter().any(|w| lower.contains(w))
}

/// An item of a begun list that speaks of no required flow.
struct Loose<'s> {
    path: &'s str,
    item: &'s Item,
    standing: Standing,
}

impl Loose<'_> {
    fn is_bad(&self) -> bool {
        matches!(self.standing, Standing::Failed(_) | Standing::Open(_))
    }
}

fn loose_items<'s>(seen: &'s Seen, flows: &[String]) -> Vec<Loose<'s>> {
    items(seen)
        .filter(|(list, item, _)| !list.is_template() && !flows.iter().any(|f| speaks_of(&item.title, f)))
        .map(|(list, item, bound)| Loose { path: &list.path, item, standing: of_item(list, item, bound) })
        .filter(|l| !matches!(l.standing, Standing::Proved(_)))
        .collect()
}

fn finding(row: &Row) -> Vec<Finding> {
    let run = format!(
        "run a test tagged @{}, or sign it: hypercare attest release.qa --flow {}",
        tag(&row.flow),
        tag(&row.flow)
    );
    let (rule, severity, text, fix) = match &row.standing {
        Standing::Proved(_) => return Vec::new(),
        Standing::Failed(why) => {
            ("flow-failed", Severity::High, format!("{} fails: {why}", row.flow), "mend it, then run it again".into())
        }
        Standing::Open(why) => ("flow-open", Severity::High, format!("{} is open: {why}", row.flow), run),
        Standing::Untold(why) => {
            ("no-report", Severity::Medium, format!("{} has a test without a report: {why}", row.flow), run)
        }
        Standing::Weak(why) => ("weak-proof", Severity::Medium, format!("{} is {why}", row.flow), run),
    };
    let place = |finding: Finding| match (&row.file, row.line) {
        (Some(file), Some(line)) => finding.at(file.clone(), line, 1),
        (Some(file), None) => finding.in_file(file.clone()),
        _ => finding,
    };
    let mut out = vec![place(Finding::new(rule, severity, text).fix(fix).identified_by(&[rule, &row.flow]))];
    let on_a_list = matches!(&row.standing, Standing::Failed(why) if why.starts_with("marked"));
    if on_a_list && row.ticket.is_none() {
        let finding =
            Finding::new("no-ticket", Severity::Medium, format!("the failure of {} names no ticket", row.flow));
        out.push(place(finding.fix("write its ticket beside it").identified_by(&["no-ticket", &row.flow])));
    }
    out
}

fn loose_finding(loose: &Loose<'_>) -> Finding {
    let (rule, severity) = match loose.standing {
        Standing::Failed(_) => ("item-failed", Severity::High),
        Standing::Open(_) => ("item-open", Severity::High),
        _ => ("unsigned-tick", Severity::Low),
    };
    let why = match &loose.standing {
        Standing::Failed(why)
        | Standing::Open(why)
        | Standing::Untold(why)
        | Standing::Weak(why)
        | Standing::Proved(why) => why,
    };
    Finding::new(rule, severity, format!("{}: {why}", loose.item.title))
        .fix("check it on this build, and write date, build and name beside it")
        .identified_by(&[rule, loose.path, &loose.item.title])
        .at(loose.path, loose.item.line, 1)
}

fn said(seen: &Seen, failed: &[&str], open: &[&str], items: usize) -> String {
    if seen.reports.is_empty() && seen.lists.is_empty() && seen.test_files == 0 {
        return format!("no QA checklist and no tests; the product has: {}", list(open));
    }
    let part = |what: &str, names: &[&str]| (!names.is_empty()).then(|| format!("{what}: {}", list(names)));
    let loose = (items > 0).then(|| format!("{} open or failed in a QA list", count(items, "item")));
    let parts: Vec<String> = [part("failed", failed), part("open", open), loose].into_iter().flatten().collect();
    parts.join("; ")
}

/// The generated list is the hint: what is open, and how to close it.
fn hint(failed: &[&str], open: &[&str], loose: &[Loose<'_>]) -> String {
    let all: Vec<&str> = failed.iter().chain(open).copied().collect();
    match all.first() {
        Some(first) => format!(
            "open: {}. Run the suite with @{} or: hypercare attest release.qa --flow {} --evidence FILE",
            list(&all),
            tag(first),
            tag(first)
        ),
        None => {
            let first = loose.iter().find(|l| l.is_bad());
            format!(
                "close it: {}",
                first.map(|l| format!("{}:{} {}", l.path, l.item.line, l.item.title)).unwrap_or_default()
            )
        }
    }
}

fn weakness(rows: &[Row], loose: &[Loose<'_>], weak: usize) -> String {
    let first = rows.iter().find_map(|r| match &r.standing {
        Standing::Weak(why) => Some(format!("{} is {why}", r.flow)),
        _ => None,
    });
    match first {
        Some(first) if weak > 1 => format!("{weak} of {} have weak proof: {first}", count(rows.len(), "flow")),
        Some(first) => first,
        None => format!("{} ticked, unsigned", count(loose.len(), "item")),
    }
}

fn strengthen(rows: &[Row]) -> String {
    let unbound = rows.iter().any(|r| matches!(&r.standing, Standing::Weak(why) if why.contains("names no commit")));
    if unbound {
        return "run hypercare check in the CI job that ran the tests, or write REPORT.hc.json beside the report: {\"commit\": \"…\"}".into();
    }
    "a tick is not a test: run the flows' tests on this commit, or sign: hypercare attest release.qa --flow NAME --evidence FILE".into()
}

fn evidence(seen: &Seen, rows: &[Row]) -> serde_json::Value {
    let lists = seen.lists.iter().map(|l| {
        serde_json::json!({"list": l, "template": l.is_template(), "items": l.items.iter().take(200)
            .map(|(item, bound)| serde_json::json!({"item": item, "bound": bound})).collect::<Vec<_>>()})
    });
    serde_json::json!({
        "flows": rows,
        "reports": seen.reports.iter().take(200).map(|r| serde_json::json!({"report": r, "tests": r.cases.len()})).collect::<Vec<_>>(),
        "lists": lists.collect::<Vec<_>>(),
        "unreadable": seen.unreadable.iter().take(50).collect::<Vec<_>>(),
        "source_files": seen.shown.files,
        "tests_in_sources": seen.titles.len(),
    })
}
