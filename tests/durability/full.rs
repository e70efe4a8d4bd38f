//! A full disk: a small one of our own, filled to the last byte and freed again under the running daemon.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hypercare::domain::clock::SystemClock;

use crate::daemon::{Daemon, check_whole, integrity, wait};
use crate::support::http::{Answer, Receiver};

/// Mounts it where only the daemon sees it; `sleep` keeps it when the daemon is gone.
const DISK: &str = "mkdir -p data && mount -t tmpfs -o size=160m tmpfs data && { sleep 600 & echo $! > keeper; } \
                    && exec \"$@\"";

/// Fills the disk to its last byte.
fn fill(file: &Path) {
    let mut filler = std::fs::File::create(file).unwrap();
    for size in [1 << 20, 4096, 1] {
        while filler.write_all(&vec![1; size]).is_ok() {}
    }
}

fn messages(receiver: &Receiver, kind: &str, alert: &str) -> usize {
    receiver.got().iter().filter(|m| m.body.contains(kind) && m.body.contains(alert)).count()
}

struct Keeper(u32);

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Containers often forbid it; then `max_page_count` has to do, in the store's own tests.
fn may_mount() -> bool {
    let tried = Command::new("unshare").args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    tried.is_ok_and(|o| o.status.success())
}

#[test]
fn a_full_disk_is_told_and_costs_samples_only_while_it_is_full() {
    if !may_mount() {
        println!("not tested: this machine lets nobody mount a disk of their own");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver = runtime.block_on(Receiver::start(vec![Answer::Status("204 x\r\n")]));
    // It comes true by the clock, while the disk is full: some other alert.
    let due = SystemClock::shared().now().ms() / 1000 + 15;
    let rules = format!(
        "groups:\n- name: other\n  rules:\n  - alert: OtherTrouble\n    expr: vector(time()) > {due}\n    labels: {{ severity: critical }}\n"
    );
    let mut daemon = Daemon::new(Some(&receiver.url), &rules);
    daemon.spawn_by(&["unshare", "-Urm", "sh", "-c", DISK, "sh"]);
    daemon.wait_ready();
    let keeper: u32 =
        wait("the disk", || std::fs::read_to_string(daemon.dir.path().join("keeper")).ok()?.trim().parse().ok());
    let _keeper = Keeper(keeper);
    let inside = PathBuf::from(format!("/proc/{keeper}/root{}", daemon.data().display()));
    assert!(inside.join("samples.db").exists() && !daemon.data().join("samples.db").exists());

    let mut next = 0;
    let mut feed = |many: u64| {
        for _ in 0..many {
            wait("a batch to be taken", || (daemon.send(next) == Some(204)).then_some(()));
            next += 1;
        }
        next
    };
    let stored = feed(50);
    fill(&inside.join("filler"));
    // What the log has room for is still taken.
    let stored = wait("a batch to be refused", || match daemon.send(stored) {
        Some(503) => Some(stored),
        Some(204) => panic!("a full disk took a batch; the log must be new at this time"),
        other => panic!("{other:?}"),
    });
    wait("the alert about it", || (messages(&receiver, "alert.firing", "SamplesNotStored") > 0).then_some(()));
    wait("another alert", || (messages(&receiver, "alert.firing", "OtherTrouble") > 0).then_some(()));
    assert!(daemon.log().contains("the disk is full"), "{}", daemon.log());
    for _ in 0..3 {
        assert_eq!(daemon.send(stored), Some(503), "what the reserve freed is for alerts");
    }
    assert_eq!(messages(&receiver, "alert.resolved", "SamplesNotStored"), 0);

    std::fs::remove_file(inside.join("filler")).unwrap();
    let stored = feed(50);
    assert_eq!(std::fs::metadata(inside.join("reserve")).unwrap().len(), 32 << 20, "for the next time");
    // Alerts' own series are samples too.
    wait("the end of the alert", || (messages(&receiver, "alert.resolved", "SamplesNotStored") > 0).then_some(()));
    daemon.kill_9();
    std::thread::sleep(Duration::from_millis(50));
    for file in ["samples.db", "state.db"] {
        assert_eq!(integrity(&inside, file), "ok", "{file}");
    }
    // SQLite would follow the path to where the disk is not.
    let copy = tempfile::tempdir().unwrap();
    for file in ["samples.db", "samples.db-wal"] {
        std::fs::copy(inside.join(file), copy.path().join(file)).unwrap();
    }
    println!("{} samples, each there once", check_whole(copy.path(), stored));
}
