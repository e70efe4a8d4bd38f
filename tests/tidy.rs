//! House rules that lints cannot express: rooms import only downwards, every file says what it is for, SQL lives in the
//! store, and what stands in `templates/`, `migrations/` and `config/` is used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Rooms by line, from the top of the house to its ground. A room imports only from lines below its own.
const LINES: &[&[&str]] = &[
    &["main"],
    &["cli", "fuzzing"],
    &["config", "demo"],
    &["web", "daemon"],
    &["gates", "sources", "alerts", "notify", "report", "remote"],
    &["store", "net", "promql", "load", "chart", "telemetry"],
    &["domain"],
];

/// Imports that point the wrong way on purpose, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// Rooms that must not know another although it lies below.
const STRANGERS: &[(&str, &str)] = &[("gates", "store"), ("sources", "store"), ("report", "net")];

/// The demo's shop stands for somebody else's service with a database of its own; `gates/database/` asks the database that is
/// checked.
const SQL_ELSEWHERE: &[&str] = &["demo/shop.rs", "gates/database/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &str, suffix: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, out) } else { out.push(path) }
        }
    }
    let mut paths = Vec::new();
    walk(&root().join(under), &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root().join(under)).unwrap().to_string_lossy().into_owned();
        name.ends_with(suffix).then(|| (name, String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()))
    };
    paths.into_iter().filter_map(read).collect()
}

fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn line(room: &str) -> Option<usize> {
    LINES.iter().position(|rooms| rooms.contains(&room))
}

/// Rooms that `text` names as `crate::ROOM` or inside `use crate::{…}`; comments and tests count like everything else.
fn imports(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()),
            Some(group) => {
                let (mut depth, mut name) = (0, String::new());
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(std::mem::take(&mut name)),
                        _ if depth == 0 => name.push(c),
                        _ => {}
                    }
                }
                found.push(name);
            }
        }
    }
    let first = |name: String| name.trim().split("::").next().unwrap_or_default().trim().to_string();
    found.into_iter().map(first).filter(|n| line(n).is_some()).collect()
}

#[test]
fn rooms_import_only_downwards() {
    let mut wrong = Vec::new();
    for (file, text) in files("src", ".rs") {
        let here = room(&file);
        let Some(own) = line(here) else { continue };
        for there in imports(&text) {
            let excused = EXCEPTIONS.iter().any(|(f, r, _)| *f == file && *r == there);
            let stranger = STRANGERS.contains(&(here, there.as_str()));
            if here != there && !excused && (stranger || line(&there).unwrap() <= own) {
                wrong.push(format!("src/{file}: {here} must not know {there}"));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_import_finder_finds() {
    let text =
        "use crate::domain::x;\nuse crate::{alerts, gates::{self, web}, store::Store};\nlet a = crate::net::init();";
    assert_eq!(imports(text), ["domain", "alerts", "gates", "store", "net"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> =
        files("src", ".rs").into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(file, _)| file).collect();
    assert!(silent.is_empty(), "no //! at the top of: {silent:?}");
}

#[test]
fn sql_lives_in_the_store() {
    let words = ["SELECT ", "INSERT INTO ", "DELETE FROM ", "CREATE TABLE ", "UPDATE SET ", "PRAGMA ", "sqlx::"];
    let speaks = |text: &str| {
        // Gates and their tests talk *about* SQL in prose; only strings that start a statement count.
        words.iter().any(|w| text.contains(&format!("\"{w}")) || (w.ends_with("::") && text.contains(w)))
    };
    let wrong: Vec<String> = files("src", ".rs")
        .into_iter()
        .filter(|(file, text)| {
            room(file) != "store" && !SQL_ELSEWHERE.iter().any(|own| file.starts_with(own)) && speaks(text)
        })
        .map(|(file, _)| file)
        .collect();
    assert!(wrong.is_empty(), "SQL outside src/store: {wrong:?}");
}

#[test]
fn what_is_shipped_is_used() {
    let code: String = files("src", ".rs").into_iter().map(|(_, text)| text).collect();
    let templates: String = files("templates", "").into_iter().map(|(_, text)| text).collect();
    let mut unused = Vec::new();
    for folder in ["templates", "migrations", "config"] {
        for (file, _) in files(folder, "") {
            let name = Path::new(&file).file_name().unwrap().to_string_lossy().into_owned();
            let used = code.contains(&file) || code.contains(&name) || templates.contains(&name);
            // Rules are read by tests and users; a folder that is embedded as a whole names itself.
            let whole = ["config/rules/"].iter().any(|f| format!("{folder}/{file}").starts_with(f));
            if !used && !whole {
                unused.push(format!("{folder}/{file}"));
            }
        }
    }
    assert!(unused.is_empty(), "nobody uses: {unused:?}");
}

#[test]
fn every_sleep_in_a_test_has_company() {
    // A fixed sleep alone proves nothing: files that sleep must also poll for what they wait for.
    let mut lonely = BTreeMap::new();
    for (file, text) in files("tests", ".rs") {
        if file != "tidy.rs"
            && text.contains("thread::sleep")
            && !["wait(", "wait_within"].iter().any(|w| text.contains(w))
        {
            lonely.insert(file, ());
        }
    }
    assert!(lonely.is_empty(), "sleep and hope in: {:?}", lonely.keys());
}
