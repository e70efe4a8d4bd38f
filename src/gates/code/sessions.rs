//! Sessions kept in the memory or on the disk of one process: with a second replica, every other request is logged out.
//! Calls come from syntax trees, settings from lines. Knows no verdict.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use super::calls;
use super::role::Role;
use super::syntax::{self, Source};
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX, on_every_core};

/// One place that keeps sessions to itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LocalSessions {
    pub file: String,
    pub line: u32,
    /// `express-session without a store`.
    pub by: String,
}

/// Words without which a file keeps no sessions.
const WORDS: [&str; 6] =
    ["express-session", "MemoryStore", "SESSION_ENGINE", "SESSION_TYPE", "NewFilesystemStore", "memstore.NewStore"];

/// Settings that say so in one line.
static SETTING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"^\s*(?:app\.config\[)?["']?(SESSION_ENGINE|SESSION_TYPE)["']?\]?\s*=\s*["'](django\.contrib\.sessions\.backends\.file|filesystem)["']"#,
    )
    .ok()
});

/// Blocking. Looks into every source file that ships.
pub fn look(repo: &Repo) -> Vec<LocalSessions> {
    let ships = |path: &str| {
        let development = ["dev", "local", "test"]
            .iter()
            .any(|w| path.contains(&format!("/{w}.")) || path.contains(&format!("_{w}.")));
        matches!(Role::of_path(path), Role::Product | Role::Cli | Role::Config) && !development
    };
    let files: Vec<(&str, Source)> = repo
        .files
        .iter()
        .filter(|f| f.bytes <= SOURCE_FILE_BYTES_MAX && ships(&f.path))
        .filter_map(|f| Some((f.path.as_str(), Source::of(&f.path)?)))
        .collect();
    let found = on_every_core(&files, |(path, source)| {
        let Ok(text) = repo.read_text(path, SOURCE_FILE_BYTES_MAX) else { return Vec::new() };
        if !WORDS.iter().any(|w| text.contains(w)) {
            return Vec::new();
        }
        of(path, *source, &text)
    });
    let mut all: Vec<LocalSessions> = found.into_iter().flatten().collect();
    all.sort();
    all.dedup();
    all
}

fn of(path: &str, source: Source, text: &str) -> Vec<LocalSessions> {
    let found = |line: u32, by: String| LocalSessions { file: path.to_string(), line, by };
    let mut out = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if let Some(setting) = SETTING.as_ref().and_then(|r| r.captures(line)) {
            out.push(found(i as u32 + 1, format!("{} = {}", &setting[1], &setting[2])));
        }
    }
    let Some(parsed) = syntax::parse(source, text.as_bytes()) else { return out };
    let express = text.contains("express-session");
    for call in calls::calls(&parsed, text.as_bytes()) {
        let by = match (call.callee.as_str(), call.name()) {
            ("session" | "expressSession", _) if express && call.arguments.starts_with('{') => {
                let store = call.arguments.contains("store:")
                    || call
                        .arguments
                        .split(['{', '}', ','])
                        .any(|p| p.trim() == "store" || p.trim().starts_with("..."));
                (!store || call.arguments.contains("MemoryStore")).then_some("express-session without a shared store")
            }
            ("session.MemoryStore" | "expressSession.MemoryStore", _) => Some("express-session's MemoryStore"),
            (_, "NewFilesystemStore") => Some("sessions.NewFilesystemStore"),
            ("memstore.NewStore", _) => Some("memstore.NewStore"),
            _ => None,
        };
        out.extend(by.map(|by| found(call.line, by.to_string())));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_sessions_to_himself() {
        let import = "const session = require('express-session');\n";
        for (path, text, expect) in [
            ("a.js", format!("{import}app.use(session({{ secret: s }}))"), vec![2]),
            ("a.js", format!("{import}app.use(session({{ secret: s, store: new RedisStore() }}))"), vec![]),
            ("a.js", format!("{import}app.use(session({{ store }}))"), vec![]),
            ("a.js", format!("{import}app.use(session({{ secret: s, store, x }}))"), vec![]),
            ("a.js", "app.use(session({ secret: s }))".into(), vec![]),
            ("a.js", format!("{import}// app.use(session({{ secret: s }}))"), vec![]),
            ("settings.py", "SESSION_ENGINE = 'django.contrib.sessions.backends.file'\n".into(), vec![1]),
            ("settings.py", "SESSION_ENGINE = 'django.contrib.sessions.backends.db'\n".into(), vec![]),
            ("app.py", "app.config['SESSION_TYPE'] = 'filesystem'\n".into(), vec![1]),
            ("a.go", "package a\nvar s = sessions.NewFilesystemStore(\"\", k)\n".into(), vec![2]),
        ] {
            let lines: Vec<u32> = of(path, Source::of(path).unwrap(), &text).iter().map(|s| s.line).collect();
            assert_eq!(lines, expect, "{path}: {text}");
        }
    }
}
