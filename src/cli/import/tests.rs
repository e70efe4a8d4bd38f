//! The whole command on files, against a store of its own.

use std::io::Write as _;

use super::*;
use crate::cli::GlobalFlags;
use crate::domain::clock::{ManualClock, Timestamp};
use crate::domain::metric::{Matcher, NAME, SeriesReader as _};
use crate::store::{Role, Store};

struct Place {
    dir: tempfile::TempDir,
    global: Global,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("hypercare.toml");
        std::fs::write(&config, "[store]\npath = \"data\"\n").unwrap();
        let flags = GlobalFlags { config: Some(config), quiet: true, ..GlobalFlags::default() };
        let clock = ManualClock::at(Timestamp::from_ms(100_000_000));
        Place { dir, global: Global { flags, clock, shutdown: Default::default() } }
    }
    fn file(&self, name: &str, body: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, body).unwrap();
        path
    }
    async fn import(&self, files: &[PathBuf], dry_run: bool) -> anyhow::Result<Exit> {
        let args = Args { files: files.to_vec(), dry_run, format: FormatArg::default() };
        run(args, &self.global).await
    }
    async fn stored(&self, name: &str) -> Vec<(i64, u64)> {
        let clock = self.global.clock.clone();
        let store = Store::open(&self.dir.path().join("data"), Role::Client, clock).await.unwrap();
        let matchers = [Matcher::equal(NAME, name)];
        let all = store.samples.select(&matchers, Timestamp::from_ms(0), Timestamp::from_ms(i64::MAX), 1 << 20).await;
        store.close().await;
        all.unwrap().iter().flat_map(|s| s.samples.iter().map(|s| (s.t.ms(), s.v.to_bits()))).collect()
    }
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(body).unwrap();
    out.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_and_packed_files_are_stored_once() {
    let place = Place::new();
    let plain = place.file("a.om", b"# TYPE a gauge\na{x=\"1\"} 1 1\na{x=\"1\"} NaN 2\n# EOF\n");
    let packed = place.file("b.om.gz", &gzip(b"a{x=\"1\"} 3 3\n# EOF\n"));
    assert_eq!(place.import(&[plain.clone(), packed.clone()], true).await.unwrap(), Exit::Yes);
    assert!(!place.dir.path().join("data").exists(), "a dry run makes no store");
    assert_eq!(place.import(&[plain.clone(), packed], false).await.unwrap(), Exit::Yes);
    let times: Vec<i64> = place.stored("a").await.iter().map(|s| s.0).collect();
    assert_eq!(times, [1000, 2000, 3000]);
    // Again: all but the newest is older than the newest.
    assert_eq!(place.import(&[plain], false).await.unwrap(), Exit::No);
    assert_eq!(place.stored("a").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_are_known_by_their_first_bytes() {
    let place = Place::new();
    let line = "{\"metric\":{\"__name__\":\"a\",\"x\":\"1\"},\"values\":[0.1,null],\"timestamps\":[1000,2000]}\n";
    let packed = place.file("a.jsonl.gz", &gzip(line.as_bytes()));
    assert_eq!(place.import(&[packed], false).await.unwrap(), Exit::Yes);
    assert_eq!(place.stored("a").await, [(1000, 0.1f64.to_bits()), (2000, crate::domain::metric::STALE_BITS)]);
    let bad = place.file("bad.jsonl", format!("{line}{{}}\n").as_bytes());
    let error = place.import(&[bad], true).await.unwrap_err().to_string();
    assert!(error.contains("bad.jsonl:2:2: expected `\"`"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_named_and_ends_the_import() {
    let place = Place::new();
    let bad = place.file("bad.om", b"a 1 1\nb 1 1\na x 2\n# EOF\n");
    let error = place.import(std::slice::from_ref(&bad), false).await.unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("bad.om:3:3: `x` is not a value"), "{text}");
    assert_eq!(crate::cli::exit::of(&error), Exit::No);
    assert_eq!(place.stored("a").await.len(), 1, "what stood before is stored");
    let missing = place.import(&[place.dir.path().join("none.om")], false).await.unwrap_err();
    assert_eq!(crate::cli::exit::of(&missing), Exit::Io);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_a_daemon_holds_is_left_alone() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    let daemon = Store::open(&data, Role::Daemon, place.global.clock.clone()).await.unwrap();
    let file = place.file("a.om", b"a 1 1\n# EOF\n");
    let error = place.import(&[file], false).await.unwrap_err();
    assert_eq!(crate::cli::exit::of(&error), Exit::TryAgain);
    daemon.close().await;
}

#[test]
fn the_page_says_what_was_left_out() {
    let sum = Sum { files: 2, series: 10, samples: 1_234_567, stored: 1_234_000, out_of_order: 567, ..Sum::default() };
    let text = anstream::adapter::strip_str(&page(&sum, false).join("\n")).to_string();
    let expect =
        "▲ stored 1,234,000 of 1,234,567 samples, 10 series, 2 files\n  567 older than what their series already holds";
    assert_eq!(text, expect);
}
