//! QA lists that people keep: Markdown with task items (`QA.md`, `docs/qa-checklist.md`) and exports of test-management
//! tools as CSV or JSON (TestRail, Xray, Zephyr, and what a spreadsheet leaves). Text in, items out; decides nothing.

use std::sync::LazyLock;

use chrono::NaiveDate;
use regex::Regex;
use serde::Serialize;
use serde_json::Value as Json;

use crate::gates::import::ImportError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Open,
    Done,
    Failed,
}

/// One item of a list, with what it says about who checked it, when and on what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    pub title: String,
    pub line: u32,
    pub state: State,
    pub by: Option<String>,
    pub on: Option<NaiveDate>,
    /// Commit or version that was looked at.
    pub build: Option<String>,
    pub ticket: Option<String>,
    /// Not the item's own word: written for the whole list.
    #[serde(skip)]
    pub from_head: bool,
}

const TITLE_CHARS_MAX: usize = 160;
const ITEMS_MAX: usize = 5000;

static TICKET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b[A-Z][A-Z0-9]{1,9}-\d{1,6}\b|(?:^|[\s(])#\d{1,6}\b|https?://\S+/(?:issues|browse|-/issues)/[\w-]+")
        .expect("a pattern of ours")
});
static DATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(20\d\d)-(\d\d)-(\d\d)(?:\b|T)").expect("a pattern of ours"));
static BUILD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:build|commit|version|release|revision|sha)\b[\s:*`_#]*(v?\d+\.\d+[\w.+-]*|[0-9a-f]{7,40})\b")
        .expect("a pattern of ours")
});
static BY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)\b(?:(?:tested|checked|verified|signed(?: off)?) by\s*[:*_]*|(?:tester|qa)[*_]*\s*:[*_]*)\s*@?(\p{L}[\p{L}.@-]*(?: \p{L}[\p{L}.-]*){0,2})")
        .expect("a pattern of ours")
});
/// A task item; what stands between the brackets is group 1.
static TASK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(?:[-*+]|\d+[.)])\s+\[([ xX✓✔~!-])\]\s+(.+)$").expect("a pattern of ours"));

fn date(text: &str) -> Option<NaiveDate> {
    let found = DATE.captures(text)?;
    let part = |n: usize| found[n].parse::<u32>().unwrap_or(0);
    NaiveDate::from_ymd_opt(part(1) as i32, part(2), part(3))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect::<String>().trim().to_string()
}

/// Task items of a Markdown file. Empty: it is no checklist. What stands above the first item holds for all.
pub fn markdown(text: &str) -> Vec<Item> {
    let mut out = Vec::new();
    let (mut fenced, mut heading) = (false, String::new());
    let mut head = String::new();
    for (row, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("```") || trimmed.starts_with("~~~") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        if trimmed.starts_with('#') {
            heading = trimmed.trim_start_matches('#').trim().to_string();
        }
        match TASK.captures(line) {
            Some(task) if out.len() < ITEMS_MAX => out.push(task_item(&task[1], &task[2], row as u32 + 1, &heading)),
            Some(_) => break,
            None if out.is_empty() => {
                head.push_str(line);
                head.push('\n');
            }
            None => {}
        }
    }
    let (on, by, build) = (date(&head), name(&head), build(&head));
    for item in &mut out {
        item.from_head = item.on.is_none() && on.is_some();
        item.on = item.on.or(on);
        item.by = item.by.take().or(by.clone());
        item.build = item.build.take().or(build.clone());
    }
    out
}

fn name(text: &str) -> Option<String> {
    BY.captures(text).map(|c| c[1].to_string())
}

fn build(text: &str) -> Option<String> {
    BUILD.captures(text).map(|c| c[1].to_string())
}

fn task_item(mark: &str, text: &str, line: u32, heading: &str) -> Item {
    let lower = text.to_lowercase();
    let word = |w: &str| lower.split(|c: char| !c.is_alphanumeric()).any(|p| p == w);
    let state = match mark {
        _ if text.contains(['❌', '✗', '✘']) || word("fail") || word("failed") => State::Failed,
        "!" => State::Failed,
        _ if text.contains("TODO") || text.contains("TBD") || text.contains("FIXME") => State::Open,
        " " | "~" | "-" => State::Open,
        _ => State::Done,
    };
    // `Login / with a wrong password`: the heading says which flow it is about.
    let title = if heading.is_empty() { text.to_string() } else { format!("{heading} / {text}") };
    Item {
        title: short(&title),
        line,
        state,
        by: name(text),
        on: date(text),
        build: build(text),
        ticket: TICKET.find(text).map(|m| short(m.as_str())),
        from_head: false,
    }
}

/// Columns and keys by what they hold, in lower case without signs.
const TITLE: &[&str] = &[
    "title",
    "testcase",
    "testcasename",
    "casetitle",
    "testname",
    "name",
    "summary",
    "scenario",
    "flow",
    "test",
    "testkey",
];
const STATUS: &[&str] = &["status", "result", "executionstatus", "testresult", "outcome", "statusid", "teststatus"];
const WHO: &[&str] = &["testedby", "executedby", "tester", "executor", "assignedto", "assignee", "runby"];
const WHEN: &[&str] = &[
    "testedon",
    "executedon",
    "executiondate",
    "date",
    "executeddate",
    "finish",
    "finishedon",
    "finishdate",
    "completedon",
];
const BUILT: &[&str] = &["build", "version", "commit", "revision", "sha", "release", "fixversion"];
const DEFECTS: &[&str] = &["defects", "defect", "bugs", "bug", "ticket", "issue", "issues", "linkedissues"];

fn plain(key: &str) -> String {
    key.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Words of the tools, and TestRail's numbers. `None`: no status at all.
fn status(text: &str) -> Option<State> {
    Some(match plain(text).as_str() {
        "passed" | "pass" | "ok" | "done" | "success" | "successful" | "green" | "1" => State::Done,
        "failed" | "fail" | "failure" | "error" | "blocked" | "red" | "aborted" | "2" | "5" => State::Failed,
        "untested" | "todo" | "open" | "notrun" | "notexecuted" | "unexecuted" | "executing" | "wip" | "inprogress"
        | "retest" | "skipped" | "skip" | "pending" | "na" | "3" | "4" | "" => State::Open,
        _ => return None,
    })
}

/// Every row of a CSV export (commas, semicolons or tabs; quoted as in RFC 4180). A file whose header names no title and
/// no status is no export.
pub fn csv(text: &str) -> Result<Vec<Item>, ImportError> {
    let rows = csv_rows(text.trim_start_matches('\u{feff}'))?;
    let mut rows = rows.into_iter();
    let header: Vec<String> = rows.next().map(|(_, r)| r.iter().map(|c| plain(c)).collect()).unwrap_or_default();
    let column = |names: &[&str]| names.iter().find_map(|n| header.iter().position(|h| h == n));
    let (Some(title), Some(result)) = (column(TITLE), column(STATUS)) else {
        return Err(ImportError::Empty("column with a title and one with a status"));
    };
    let (who, when, built, defects) = (column(WHO), column(WHEN), column(BUILT), column(DEFECTS));
    let mut out = Vec::new();
    for (line, row) in rows.take(ITEMS_MAX) {
        let cell = |at: Option<usize>| at.and_then(|at| row.get(at)).map(|c| c.trim()).filter(|c| !c.is_empty());
        if row.len() < header.len() {
            return Err(ImportError::at(line, format!("{} cells, but {} columns", row.len(), header.len())));
        }
        let Some(name) = cell(Some(title)) else { continue };
        out.push(item(
            name,
            line,
            cell(Some(result)).unwrap_or(""),
            [cell(who), cell(when), cell(built), cell(defects)],
        )?);
    }
    if out.is_empty() { Err(ImportError::Empty("row")) } else { Ok(out) }
}

/// `extra`: who, when, build, defects.
fn item(title: &str, line: u32, said: &str, extra: [Option<&str>; 4]) -> Result<Item, ImportError> {
    let Some(state) = status(said) else {
        return Err(ImportError::at(line, "a status that no test-management tool is known to write"));
    };
    let [by, on, build, ticket] = extra.map(|text| text.map(short));
    let on = on.as_deref().and_then(date);
    Ok(Item { title: short(title), line, state, by, on, build, ticket, from_head: false })
}

/// (line, cells) of every row that is not empty.
fn csv_rows(text: &str) -> Result<Vec<(u32, Vec<String>)>, ImportError> {
    let first = text.lines().next().unwrap_or_default();
    let often = |c: char| first.matches(c).count();
    let comma = [';', '\t'].into_iter().filter(|c| often(*c) > often(',')).max_by_key(|c| often(*c)).unwrap_or(',');
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut line, mut begun) = (false, 1_u32, 1_u32);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += u32::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                cell.push('"');
                chars.next();
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                let done = std::mem::take(&mut row);
                if done.iter().any(|c| !c.is_empty()) {
                    rows.push((begun, done));
                }
                begun = line;
            }
            c if c == comma && !quoted => row.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
        if rows.len() > ITEMS_MAX {
            return Ok(rows);
        }
    }
    if quoted {
        return Err(ImportError::CutShort("a quoted cell".into()));
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push((begun, row));
    }
    Ok(rows)
}

/// Items of a JSON export: Xray's `tests` with `info`, TestRail's `tests` or `results`, or a plain list of objects.
pub fn json(text: &str) -> Result<Vec<Item>, ImportError> {
    let document: Json = crate::gates::import::json::read(text)?;
    let info = &document["info"];
    let lists = ["tests", "results", "testcases", "cases", "executions", "items"];
    let list = document.as_array().or_else(|| lists.iter().find_map(|key| document[*key].as_array()));
    let Some(list) = list else { return Err(ImportError::Empty("list of tests")) };
    let mut out = Vec::new();
    for test in list.iter().take(ITEMS_MAX) {
        let Some(map) = test.as_object() else { continue };
        let text = |value: &Json| match value {
            Json::String(s) => Some(s.clone()),
            Json::Number(n) => Some(n.to_string()),
            Json::Array(all) => all.first().and_then(Json::as_str).map(str::to_string),
            Json::Object(inner) => {
                ["name", "displayName", "value", "key"].iter().find_map(|k| inner.get(*k)?.as_str().map(str::to_string))
            }
            _ => None,
        };
        let of = |names: &[&str], map: &serde_json::Map<String, Json>| {
            names.iter().find_map(|n| map.iter().find(|(k, _)| plain(k) == *n).and_then(|(_, v)| text(v)))
        };
        let shared = |names: &[&str]| info.as_object().and_then(|map| of(names, map));
        let (Some(title), Some(said)) = (of(TITLE, map), of(STATUS, map)) else { continue };
        let (who, when) = (of(WHO, map).or(shared(WHO)), of(WHEN, map).or(shared(WHEN)));
        let (built, defects) = (of(BUILT, map).or(shared(&["revision", "version"])), of(DEFECTS, map));
        let extra = [who.as_deref(), when.as_deref(), built.as_deref(), defects.as_deref()];
        out.push(item(&title, 1, &said, extra)?);
    }
    if out.is_empty() { Err(ImportError::Empty("test with a title and a status")) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Option<NaiveDate> {
        date(text)
    }

    #[test]
    fn markdown_items() {
        let text = "# QA for 1.4.0\n\nDate: 2026-11-20, build 0123abc, tester: Ann Lee\n\n## Login\n- [x] works\n- [ ] wrong password\n\
                    * [X] remembers me (checked by Ben 2026-11-21)\n## Checkout\n1. [x] pays TODO: with PayPal\n- [x] coupon ❌ SHOP-12\n\
                    - [!] refund\n```\n- [ ] not an item\n```\n";
        let items = markdown(text);
        let short: Vec<_> = items.iter().map(|i| (i.title.as_str(), i.state, i.line)).collect();
        assert_eq!(
            short,
            [
                ("Login / works", State::Done, 6),
                ("Login / wrong password", State::Open, 7),
                ("Login / remembers me (checked by Ben 2026-11-21)", State::Done, 8),
                ("Checkout / pays TODO: with PayPal", State::Open, 10),
                ("Checkout / coupon ❌ SHOP-12", State::Failed, 11),
                ("Checkout / refund", State::Failed, 12),
            ]
        );
        assert_eq!((items[0].on, items[0].by.as_deref()), (day("2026-11-20"), Some("Ann Lee")));
        assert_eq!((items[0].build.as_deref(), items[0].from_head), (Some("0123abc"), true));
        assert_eq!((items[2].on, items[2].by.as_deref()), (day("2026-11-21"), Some("Ben")));
        assert_eq!(items[4].ticket.as_deref(), Some("SHOP-12"));
        assert_eq!(markdown("# Questions and answers\n\n- What is QA?\n"), []);
    }

    #[test]
    fn exports_of_tools() {
        let rail = "ID,Title,Status,Tested By,Tested On,Defects,Version\r\nT1,\"Login, wrong password\",Passed,Ann,2026-11-20,,1.4.0\r\n\
                    T2,Checkout,Failed,Ben,2026-11-20,SHOP-7,1.4.0\r\nT3,Signup,Untested,,,,\r\n";
        let items = csv(rail).unwrap();
        let short: Vec<_> = items.iter().map(|i| (i.title.as_str(), i.state, i.line)).collect();
        assert_eq!(
            short,
            [("Login, wrong password", State::Done, 2), ("Checkout", State::Failed, 3), ("Signup", State::Open, 4)]
        );
        assert_eq!(items[1].ticket.as_deref(), Some("SHOP-7"));
        assert_eq!(csv("Name;Result\nLogin;pass\n").unwrap()[0].state, State::Done);
        let xray = r#"{"testExecutionKey": "SHOP-1", "info": {"revision": "0123abc", "finishDate": "2026-11-20T10:00:00Z"},
            "tests": [{"testKey": "SHOP-2", "summary": "Login", "status": "PASS", "executedBy": "ann"}, {"summary": "Checkout", "status": "TODO"}]}"#;
        let items = json(xray).unwrap();
        assert_eq!((items[0].build.as_deref(), items[0].on), (Some("0123abc"), day("2026-11-20")));
        assert_eq!((items[0].by.as_deref(), items[1].state), (Some("ann"), State::Open));
        let rail =
            r#"{"tests": [{"id": 1, "title": "Login", "status_id": 1}, {"id": 2, "title": "Cart", "status_id": 5}]}"#;
        assert_eq!(json(rail).unwrap().iter().map(|i| i.state).collect::<Vec<_>>(), [State::Done, State::Failed]);
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for bad in ["", "a,b\n1,2\n", "Title,Status\n", "Title,Status\nLogin,perhaps\n", "Title,Status\nLogin\n"] {
            assert!(csv(bad).is_err(), "{bad:?}");
        }
        assert!(csv("Title,Status\n\"Login,Passed\n").is_err(), "cut in a quoted cell");
        for bad in ["", "{}", "[]", "[1]", "{\"tests\": [{\"title\": \"a\"}]}", "{\"tests\": ["] {
            assert!(json(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[-\\[\\]x \"a-z,;#:/0-9\u{e4}\r\n{}]{0,120}") {
            let _ = (markdown(&text), csv(&text), json(&text));
        }
        #[test]
        fn quoted_cells_come_back(cells in proptest::collection::vec("[a-z\",;\n ]{1,12}", 1..4)) {
            let quoted: Vec<String> = cells.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
            let rows = csv_rows(&format!("h,h,h\n{}\n", quoted.join(","))).unwrap();
            proptest::prop_assert_eq!(&rows[1].1, &cells);
        }
    }
}
