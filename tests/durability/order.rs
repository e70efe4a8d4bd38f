//! What is on the disk when: the order of writes and syncs as the kernel saw it.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, wait};

const TRACED: &str = "trace=pwrite64,write,fsync,fdatasync";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    /// File's name and offset; 0 where there is none.
    Write(String, u64),
    Sync(String),
}

/// Calls in the order of their ends, of files in the data folder and of standard output (`out`).
fn events(trace: &Path) -> Vec<Event> {
    let text = std::fs::read_to_string(trace).unwrap();
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let whole = if let Some(first) = call.strip_suffix("<unfinished ...>") {
            begun.insert(pid, first);
            continue;
        } else if call.starts_with("<...") {
            let Some(first) = begun.remove(pid) else { continue };
            format!("{first}{}", call.split_once("resumed>").map_or("", |(_, rest)| rest))
        } else {
            call.to_string()
        };
        let Some((name, rest)) = whole.split_once('(') else { continue };
        let Some((fd, rest)) = rest.split_once('<') else { continue };
        let Some((path, rest)) = rest.split_once('>') else { continue };
        let file = match fd {
            "1" => "out".to_string(),
            _ => path.rsplit('/').next().unwrap_or("").to_string(),
        };
        if !(file == "out" || file.contains(".db")) {
            continue;
        }
        // …, "bytes"..., LENGTH, OFFSET) = LENGTH
        let offset = rest.rsplit_once(')').and_then(|(args, _)| args.rsplit_once(", "));
        events.push(match name {
            "fsync" | "fdatasync" => Event::Sync(file),
            _ => Event::Write(file, offset.and_then(|(_, at)| at.trim().parse().ok()).unwrap_or(0)),
        });
    }
    events
}

/// A database page is written only when the log that brings it is on the disk, and the log is begun anew only when the
/// pages are.
fn check_order(events: &[Event], file: &str) -> usize {
    let log = format!("{file}-wal");
    let (mut log_dirty, mut file_dirty, mut in_wal, mut pages) = (false, false, false, 0);
    for event in events {
        match event {
            Event::Write(f, at) if *f == log => {
                assert!(!(*at == 0 && file_dirty), "{log} was begun anew before {file} was on the disk");
                (log_dirty, in_wal) = (true, true);
            }
            Event::Write(f, _) if f == file && in_wal => {
                assert!(!log_dirty, "{file} was written before {log} was on the disk");
                (file_dirty, pages) = (true, pages + 1);
            }
            Event::Sync(f) if *f == log => log_dirty = false,
            Event::Sync(f) if f == file => file_dirty = false,
            _ => {}
        }
    }
    pages
}

#[test]
fn logs_are_on_the_disk_before_pages_and_state_before_anybody_is_told() {
    let mut daemon = Daemon::new(None, "");
    let trace = daemon.dir.path().join("trace");
    let strace = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", TRACED, "-o", trace.to_str().unwrap()];
    daemon.spawn_by(&strace);
    daemon.wait_ready();
    // More than a log takes before it is written back.
    for n in 0..700 {
        wait("a batch to be taken", || (daemon.send(n) == Some(204)).then_some(()));
    }

    // Beside it a command that changes state: its word is given when the change is on the disk.
    let told = daemon.dir.path().join("told");
    let silence = ["silence", "add", "alertname=\"X\"", "--for", "1h", "--comment", "order"];
    let output = Command::new("strace")
        .args(["-f", "-qq", "-y", "-s", "0", "-e", TRACED, "-o", told.to_str().unwrap()])
        .arg(env!("CARGO_BIN_EXE_hypercare"))
        .args(silence)
        .current_dir(daemon.dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = events(&told);
    let word = said.iter().position(|e| matches!(e, Event::Write(f, _) if f == "out")).expect("it says something");
    let log = |e: &Event| matches!(e, Event::Write(f, _) if f == "state.db-wal");
    let change = said[..word].iter().rposition(log).expect("it writes before it speaks");
    let synced = Event::Sync("state.db-wal".into());
    assert!(said[change..word].contains(&synced), "{:?}", &said[change..=word]);

    daemon.stop();
    let seen = events(&trace);
    let pages = [check_order(&seen, "samples.db"), check_order(&seen, "state.db")];
    assert!(pages.iter().all(|p| *p > 0), "no page was written back: {pages:?}");
}
