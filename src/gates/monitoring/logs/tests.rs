//! Tests of the room: real files, rotated and cut short; lines as loggers write them; leaks and forged records.

use std::io::Write as _;

use super::canary::{Canary, Leak};
use super::record::{Format, Record, Stamp};
use super::{BYTES_MAX, LINES_MAX, Lines, file};

fn append(path: &std::path::Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn canary() -> Canary {
    Canary::from_random(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210)
}

fn lines(of: &[&str]) -> Lines {
    Lines { lines: of.iter().map(|l| l.to_string()).collect(), cut: false }
}

#[test]
fn a_file_is_read_from_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let before = file::mark(&path).unwrap();
    assert!(file::since(&path, &before).is_err(), "a file that never came is no empty log");
    append(&path, "old\n");
    assert_eq!(file::since(&path, &before).unwrap().lines, ["old"]);
    let mark = file::mark(&path).unwrap();
    append(&path, "one\r\n\ntwo\nhalf a li");
    assert_eq!(file::since(&path, &mark).unwrap(), lines(&["one", "two"]));
    append(&path, "ne\n");
    assert_eq!(file::since(&path, &mark).unwrap().lines, ["one", "two", "half a line"]);
}

#[cfg(unix)]
#[test]
fn rotation_loses_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let (path, old) = (dir.path().join("app.log"), dir.path().join("app.log.1"));
    append(&path, "before\n");
    let mark = file::mark(&path).unwrap();
    append(&path, "one\n");
    std::fs::rename(&path, &old).unwrap();
    append(&path, "two\n");
    assert_eq!(file::since(&path, &mark).unwrap().lines, ["one", "two"]);

    let mark = file::mark(&path).unwrap();
    std::fs::write(&path, "3\n").unwrap();
    assert_eq!(file::since(&path, &mark).unwrap().lines, ["3"], "cut short in place");
}

#[test]
fn reads_are_bounded_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.log");
    let mark = file::mark(&path).unwrap();
    append(&path, &"x\n".repeat(LINES_MAX + 1));
    let many = file::since(&path, &mark).unwrap();
    assert_eq!((many.lines.len(), many.cut), (LINES_MAX, true));
    std::fs::write(&path, vec![b'x'; BYTES_MAX as usize + 10]).unwrap();
    assert!(file::since(&path, &mark).unwrap().cut);
    assert!(file::mark(dir.path()).is_err(), "a folder is no log");
}

#[test]
fn formats_and_times_are_told_apart() {
    let said = |line: &str| {
        let record = Record::parse(line);
        (record.format, record.stamp, record.has_level() && record.has_message())
    };
    // As pino, winston, slog and morgan write.
    assert_eq!(said(r#"{"level":30,"time":1795341600000,"msg":"done"}"#), (Format::Json, Stamp::Zoned, true));
    let winston = r#"{"level":"info","message":"done","timestamp":"2026-11-22T10:00:00.000Z"}"#;
    assert_eq!(said(winston), (Format::Json, Stamp::Zoned, true));
    let local = r#"{"level":"info","message":"done","timestamp":"2026-11-22 10:00:00"}"#;
    assert_eq!(said(local), (Format::Json, Stamp::Unzoned, true));
    assert_eq!(said(r#"{"message":"done"}"#), (Format::Json, Stamp::Missing, false));
    let slog = r#"time=2026-11-22T10:00:00.000+01:00 level=INFO msg="say \"hi\" now" path=/a"#;
    assert_eq!(said(slog), (Format::Logfmt, Stamp::Zoned, true));
    assert_eq!(Record::parse(slog).fields["msg"], "say \"hi\" now");
    assert_eq!(said("GET /a?b=c 200 3.1 ms"), (Format::Text, Stamp::Missing, false));
    assert_eq!(said("[1,2]").0, Format::Text);
    assert_eq!(said("path=/a").0, Format::Text);
    assert_eq!(said("msg=\"never closed").0, Format::Text);
    assert_eq!(Record::parse(r#"{"req":{"url":"/a"}}"#).fields["req.url"], "/a");
}

#[test]
fn requests_are_found_by_their_own_path() {
    let canary = canary();
    let line = |nth: usize| format!(r#"{{"time":1795341600000,"level":30,"url":"{}","msg":"m"}}"#, canary.path(nth));
    let ten = line(10);
    let seen = canary.look(&lines(&[&line(0), &ten, "GET / 200"]), 2);
    assert_eq!((seen.arrived.clone(), seen.json, seen.text, seen.is_complete()), (vec![true, false], 1, 0, false));
    assert!(canary.look(&lines(&[&line(0), &line(1)]), 2).is_complete());
    assert!(!canary.look(&lines(&[]), 0).is_complete(), "nothing sent, nothing shown");
    let text = format!("GET {} 404", canary.path(0));
    assert_eq!((canary.look(&lines(&[&text]), 1).text, canary.look(&lines(&[&text]), 1).without_zone), (1, 1));
}

#[test]
fn leaks_are_named_and_never_shown() {
    let canary = canary();
    let (password, bearer) = (format!("pw={}", canary.password), format!("authorization: Bearer {}", canary.bearer));
    let grouped =
        format!("{}-{}-{}-{}", &canary.card[..4], &canary.card[4..8], &canary.card[8..12], &canary.card[12..]);
    let all = lines(&[&password, &bearer, &canary.card, &grouped, "password=[Redacted]"]);
    let leak = |what, line| Leak { what, line };
    let found = canary.look(&all, 1).leaks;
    assert_eq!(found, [leak("password", 0), leak("bearer", 1), leak("card", 2), leak("card", 3)]);
    let masked: Vec<String> = all.lines.iter().map(|line| canary.mask(line)).collect();
    assert_eq!(masked[..4], ["pw=[password]", "authorization: Bearer [bearer]", "[card]", "[card]"]);
}

#[test]
fn a_line_that_begins_with_what_was_sent_is_forged() {
    let canary = canary();
    let escaped = format!(r#"{{"url":"{}\r\n{}"}}"#, canary.path(0), canary.forged_start());
    let split = format!("{} level=info msg=\"admin logged in\"", canary.forged_start());
    assert_eq!(canary.look(&lines(&[&escaped, &split]), 1).forged, [1]);
}

#[test]
fn the_card_has_a_right_check_digit() {
    // 4111 1111 1111 1111, the card networks' own test number.
    assert_eq!(Canary::from_random(111_111_111).card, "4111111111111111");
    assert_eq!(canary().card.len(), 16);
}
