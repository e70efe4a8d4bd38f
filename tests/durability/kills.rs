//! kill -9 while samples come in and are sealed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::daemon::{Daemon, check_whole, integrity, send, wait};

/// HYPERCARE_KILLS asks for more.
const KILLS: u64 = 100;

/// Sends batch after batch until `stop`, each until it is acknowledged: what an agent does. One that was under way when
/// the daemon died may be stored already, and is then refused as old.
fn feed(port: u16, acknowledged: &AtomicU64, stop: &AtomicBool) {
    let mut unanswered = false;
    while !stop.load(Ordering::SeqCst) {
        match send(port, acknowledged.load(Ordering::SeqCst)) {
            Some(204) => unanswered = false,
            Some(400) if unanswered => unanswered = false,
            Some(503) => continue,
            Some(other) => panic!("batch {}: {other}", acknowledged.load(Ordering::SeqCst)),
            None => {
                unanswered = true;
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn what_was_acknowledged_survives_every_kill_once_and_bit_for_bit() {
    let kills = std::env::var("HYPERCARE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut daemon = Daemon::new(None, "");
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    // A fixed seed: the moments are spread, and the same in every run.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let port = daemon.port;
    let (mut sealing, mut pages) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| feed(port, &acknowledged, &stop));
        for kill in 0..kills {
            let before = acknowledged.load(Ordering::SeqCst);
            daemon.spawn();
            // Upkeep seals as soon as it starts: the first moments are as good a time to die as any later.
            let more = || (acknowledged.load(Ordering::SeqCst) > before).then_some(());
            wait("the daemon to take samples", more);
            std::thread::sleep(Duration::from_millis(if kill % 3 == 0 { random(600) } else { random(90) }));
            daemon.kill_9();
            for file in ["samples.db", "state.db"] {
                assert_eq!(integrity(&daemon.data(), file), "ok", "{file} after kill {kill}");
            }
            let found = written_pages(&daemon);
            sealing += u64::from(found != pages);
            pages = found;
        }
        daemon.start();
        stop.store(true, Ordering::SeqCst);
    });
    daemon.kill_9();
    let samples = check_whole(&daemon.data(), acknowledged.load(Ordering::SeqCst));
    println!("{kills} kills, {sealing} of them after pages were written; {samples} samples, each there once");
    assert!(sealing > kills / 4, "pages were written before {sealing} of {kills} kills only");
}

/// Pages ever written, by their numbers.
fn written_pages(daemon: &Daemon) -> i64 {
    crate::daemon::block_on(async {
        let copy = tempfile::tempdir().unwrap();
        for name in ["samples.db", "samples.db-wal"] {
            if daemon.data().join(name).exists() {
                std::fs::copy(daemon.data().join(name), copy.path().join(name)).unwrap();
            }
        }
        let mut connection = crate::daemon::open(&copy.path().join("samples.db")).await;
        sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'page'")
            .fetch_one(&mut connection)
            .await
            .unwrap()
    })
}
