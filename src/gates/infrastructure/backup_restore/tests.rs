//! Tests of the verdict, the listing and the record. Real dumps and real servers are in `tests/backup.rs`.

use std::time::Duration;

use super::judge::{Checked, Seen, judge, keep, kept};
use super::listing::{Backup, list};
use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::verdict::{Severity, Verdict};
use crate::gates::database::holdings::Holdings;

const NOW: Timestamp = Timestamp::from_ms(1_795_341_600_000);

fn ago(hours: u64) -> Timestamp {
    NOW.minus(Duration::from_secs(hours * 3600))
}

fn backup(name: &str, hours: u64) -> Backup {
    Backup { name: name.into(), bytes: 2048, at: ago(hours), ..Backup::default() }
}

fn holdings(objects: &[&str], rows: &[(&str, u64)]) -> Holdings {
    Holdings {
        objects: objects.iter().map(|o| o.to_string()).collect(),
        rows: rows.iter().map(|(t, n)| (t.to_string(), Some(*n))).collect(),
        behind: Vec::new(),
    }
}

fn good() -> Seen {
    let source = holdings(&["column public.orders.id integer"], &[("public.orders", 100)]);
    let mut checked =
        Checked { backup: backup("shop.dump", 2), took_s: 12.0, lag_s: Some(7200.0), ..Checked::default() };
    checked.compare(&source, &source);
    Seen {
        place: "shop on db:5432".into(),
        artifact: "shop-*.dump".into(),
        backups: vec![backup("shop.dump", 2), backup("old.dump", 200)],
        checked: Some((checked, ago(24))),
        ..Seen::default()
    }
}

fn said(change: impl FnOnce(&mut Seen, &mut Checked), expect: &str) {
    let mut seen = good();
    let (mut checked, at) = seen.checked.take().unwrap();
    change(&mut seen, &mut checked);
    seen.checked = seen.checked.take().or(Some((checked, at)));
    told(&seen, expect);
}

fn told(seen: &Seen, expect: &str) {
    let config = Config { encrypted: Some(true), ..Config::default() };
    let outcome = judge(seen, &config, NOW);
    let noted = outcome.findings.iter().filter(|f| f.severity >= Severity::Low);
    let rules: Vec<&str> = noted.map(|f| f.rule.as_str()).collect();
    let got = format!("{}: {}", outcome.reason.as_deref().unwrap_or(outcome.verdict.word()), rules.join(" "));
    assert_eq!(got.trim_end_matches([' ', ':']), expect, "{outcome:#?}");
}

#[test]
fn each_verdict() {
    said(|_, _| {}, "pass");
    said(|s, _| s.backups.clear(), "fail: no-backup");
    said(|s, _| s.backups = vec![backup("shop.dump", 25)], "fail: stale-backup");
    said(|s, _| s.backups[0].bytes = 0, "fail: empty-backup");
    said(|s, _| s.own_host = true, "warn: same-host");
    said(|_, c| c.stopped = Some("role \"app\" does not exist".into()), "fail: restore-failed");
    said(|_, c| c.took_s = 20_000.0, "fail: over-rto");
    said(|_, c| c.lag_s = Some(90_000.0), "fail: stale-content");
    said(|_, c| c.lag_s = Some(f64::MAX), "fail: stale-content");
    said(|_, c| c.behind = vec!["public.orders_id_seq".into()], "fail: sequence-behind");
    said(|_, c| c.smoke_failed = vec!["`SELECT 1` gives no row".into()], "fail: smoke");
    said(|_, c| c.left_behind = Some("hc_restore_1".into()), "pass: left-behind");
    said(|_, c| c.tables = 0, "warn: empty-source");
    said(|s, c| s.checked = Some((c.clone(), ago(31 * 24))), "warn: old-rehearsal");
    said(|s, _| s.backups[0].bytes = 1000, "warn: shrunk");
    let mut never = good();
    (never.checked, never.why_not) = (None, Some("no scratch server is named"));
    told(&never, "not-rehearsed");
    never.backups[0].bytes = 0;
    told(&never, "fail: empty-backup");
}

#[test]
fn what_came_back_is_compared() {
    let source = holdings(&["a", "b"], &[("orders", 100), ("users", 10)]);
    let of = |objects: &[&str], rows: &[(&str, u64)]| {
        let mut seen = good();
        let (mut checked, at) = seen.checked.take().unwrap();
        checked.compare(&source, &holdings(objects, rows));
        seen.checked = Some((checked, at));
        seen
    };
    told(&of(&["a", "b"], &[("orders", 90), ("users", 10)]), "pass");
    told(&of(&["a"], &[("orders", 100), ("users", 10)]), "warn: schema-differs");
    told(&of(&["a", "b"], &[("orders", 100)]), "fail: missing-table");
    told(&of(&["a", "b"], &[("orders", 40), ("users", 10)]), "fail: missing-rows");
    let mut unread = source.clone();
    unread.rows.insert("orders".into(), None);
    let mut seen = good();
    seen.checked.as_mut().unwrap().0.compare(&unread, &source);
    told(&seen, "warn: not-counted");
}

#[test]
fn the_newest_that_is_whole_counts() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, hours: u64| {
        let path = dir.path().join(name);
        std::fs::write(&path, "x").unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - Duration::from_secs(hours * 3600)).unwrap();
    };
    for (name, hours) in [("shop-1.dump", 50), ("shop-2.dump", 26), ("other.dump", 1)] {
        write(name, hours);
    }
    let now = crate::domain::clock::SystemClock::shared().now();
    let names = || {
        let found = list(&dir.path().join("shop-*.dump"), now).unwrap();
        found.into_iter().map(|b| b.name).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["shop-2.dump", "shop-1.dump"]);
    // Still being written.
    write("shop-3.dump", 0);
    assert_eq!(names()[0], "shop-2.dump");
    write("shop-3.dump", 1);
    assert_eq!(names()[0], "shop-3.dump");
    assert!(list(&dir.path().join("none-*.dump"), now).unwrap().is_empty());
    assert!(list(&dir.path().join("no/such/*.dump"), now).is_err());
}

#[test]
fn a_rehearsal_is_kept_for_its_own_source() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/1");
    let seen = good();
    let checked = seen.checked.clone().unwrap().0;
    keep(&run, &seen, &checked, NOW).unwrap();
    assert_eq!(kept(&run, &seen), Some((checked, NOW)));
    assert_eq!(kept(&run, &Seen { place: "other on db:5432".into(), ..good() }), None);
    assert_eq!(kept(&run, &Seen { artifact: "other.dump".into(), ..good() }), None);
}

#[test]
fn settings_that_cannot_work_are_told() {
    let wrong = |toml: &str| {
        let config: Config = toml::from_str(toml).unwrap();
        config.validate().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(wrong("artifact = \"/mnt/shop-*.dump\"\nclock = \"public.orders.created\""), "");
    assert!(wrong("artifact = \"/mnt/*/shop.dump\"").contains("only the file's name"));
    assert!(wrong("clock = \"orders\"").contains("table.column"));
    assert!(wrong("rpo = \"0s\"").contains("above zero"));
    assert!(wrong("rto = \"2d\"").contains("one day"));
}

#[tokio::test]
async fn without_a_database_there_is_nothing_to_restore() {
    let (_dir, plain) = crate::gates::testing::repo(&[("main.go", "package main\n")]);
    let (_run, ctx) = crate::gates::testing::context(|ctx| ctx.repo = Some(plain));
    let outcome = BackupRestore.check(&ctx).await;
    assert_eq!((outcome.verdict, outcome.reason.as_deref()), (Verdict::Skip, Some("no-db")));
}
