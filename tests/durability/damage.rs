//! Somebody else holds the lock, or wrote where nobody but SQLite writes.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use hypercare::domain::clock::SystemClock;
use hypercare::store::{Role, Store};
use sqlx::Connection as _;

use crate::daemon::{Daemon, EACH, SERIES, batch, block_on, check_whole, integrity, open, read, send, wait};
use crate::support::http::{Answer, Receiver};

/// Longer than SQLite waits by itself.
const HELD: Duration = Duration::from_secs(7);

fn receiver() -> (tokio::runtime::Runtime, Receiver) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let receiver = runtime.block_on(Receiver::start(vec![Answer::Status("204 x\r\n")]));
    (runtime, receiver)
}

/// A figure of `/metrics`.
fn figure(daemon: &Daemon, name: &str) -> Option<f64> {
    daemon.get("/metrics").lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn a_held_lock_delays_samples_and_loses_none() {
    let (_runtime, receiver) = receiver();
    let mut daemon = Daemon::new(Some(&receiver.url), "");
    daemon.start();
    for n in 0..20 {
        assert_eq!(daemon.send(n), Some(204));
    }
    let port = daemon.port;
    let late = block_on(async {
        let mut other = open(&daemon.data().join("samples.db")).await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
        let late = std::thread::spawn(move || send(port, 20));
        let depth = || figure(&daemon, "hypercare_writer_queue_depth{file=\"samples\"}").filter(|d| *d >= 1.0);
        wait("the lag to show", depth);
        tokio::time::sleep(HELD).await;
        assert!(!late.is_finished(), "nobody else may write");
        assert!(daemon.get("/health").starts_with("HTTP/1.1 200"));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        late
    });
    assert_eq!(late.join().unwrap(), Some(204));
    assert_eq!(daemon.send(21), Some(204));
    assert_eq!(receiver.got().len(), 0, "nothing is wrong with anybody");
    daemon.kill_9();
    check_whole(&daemon.data(), 22);
}

#[test]
fn a_file_damaged_under_the_daemon_is_set_aside_and_what_can_be_read_goes_on() {
    let (_runtime, receiver) = receiver();
    let mut daemon = Daemon::new(Some(&receiver.url), "");
    daemon.start();
    let (sealed, all) = (400, 450);
    for n in 0..sealed {
        assert_eq!(daemon.send(n), Some(204));
    }
    // Upkeep at the next start seals them.
    daemon.stop();
    daemon.start();
    let pages = (sealed * EACH * SERIES) as f64;
    wait("samples to be sealed", || figure(&daemon, "hypercare_page_samples").filter(|n| *n >= pages));
    // From the log into the file.
    daemon.stop();
    daemon.start();
    for n in sealed..all {
        assert_eq!(daemon.send(n), Some(204));
    }
    let silence = ["silence", "add", "alertname=\"Nothing\"", "--for", "1h", "--comment", "kept"];
    assert!(daemon.cli(&silence).status.success());

    // Noise in every ninth page of the file, but for the first.
    let file = std::fs::File::options().write(true).open(daemon.data().join("samples.db")).unwrap();
    let mut noise = 0x9e37_79b9u64;
    for page in (1..file.metadata().unwrap().len() / 4096).filter(|p| p % 9 == 5) {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (noise >> 33) as u8
        })
        .take(200)
        .collect();
        file.write_all_at(&bytes, page * 4096 + 1000).unwrap();
    }
    // Whoever reads it finds out.
    let query = "/api/v1/query?query=count_over_time(fed_total%5B3650d%5D)";
    wait("the alert about it", || {
        daemon.get(query);
        receiver.got().iter().any(|m| m.body.contains("SamplesSetAside")).then_some(())
    });
    for n in all..all + 20 {
        wait("a batch to be taken", || (daemon.send(n) == Some(204)).then_some(()));
    }
    assert!(daemon.get("/ready").starts_with("HTTP/1.1 200"));
    daemon.kill_9();

    let aside: Vec<String> = std::fs::read_dir(daemon.data())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.starts_with("samples.db.damaged-") && !n.ends_with("-wal") && !n.ends_with("-shm"))
        .collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
    for file in ["samples.db", "state.db"] {
        assert_eq!(integrity(&daemon.data(), file), "ok", "{file}");
    }
    block_on(async {
        let store = Store::open(&daemon.data(), Role::Client, SystemClock::shared()).await.unwrap();
        let found = read(&store).await;
        let (mut kept, whole) = (0, (all + 20) * EACH * SERIES);
        for (series, (labels, samples)) in found.iter().enumerate() {
            let truth: std::collections::BTreeMap<i64, u64> =
                (0..all + 20).flat_map(|n| batch(n).swap_remove(series).1).map(|s| (s.t.ms(), s.v.to_bits())).collect();
            assert!(samples.iter().all(|(t, v)| truth.get(t) == Some(v)), "{labels}: what is kept is true");
            assert!(samples.is_sorted_by(|a, b| a.0 < b.0), "{labels}: and there once");
            let head = samples.iter().rev().take((70 * EACH) as usize);
            assert_eq!(
                head.map(|s| s.0).min(),
                truth.keys().rev().nth((70 * EACH) as usize - 1).copied(),
                "{labels}: the head is whole"
            );
            kept += samples.len() as u64;
        }
        assert_eq!(found.len() as u64, SERIES);
        assert!(kept < whole, "the damage was there");
        println!("{kept} of {whole} samples outlived the damage");
        assert_eq!(store.state.silences(store.clock.now()).await.unwrap().len(), 1, "state.db is as it was");
        store.close().await;
    });
}
