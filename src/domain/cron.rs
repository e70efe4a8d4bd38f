//! Cron expressions as people type them, mapped to instants in a zone.
//!
//! Users write five POSIX fields (0 and 7 are Sunday; day of month and day of week, both restricted, mean OR) or
//! `@every 5m`. The `cron` crate reads Quartz fields, has other weekday numbers, ANDs the two day fields and handles the
//! hours that clocks skip or repeat in its own way, so it only matches *naive local* times here; zones are mapped by us:
//! an interval-like job (wildcard or step in its hour field) runs in both passes of a repeated hour and not in a gap; a
//! fixed-time job runs once, at the first valid instant after a gap, and in the first pass of a repeat.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike, LocalResult, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use super::clock::Timestamp;
use super::units::Span;

/// Searching for the next fire gives up after this: `0 0 30 2 *` never comes.
const HORIZON: TimeDelta = TimeDelta::days(366 * 5);

/// A job's schedule.
#[derive(Debug, Clone)]
pub struct Cron {
    text: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Every(Duration),
    /// Any of these matches: one schedule, or two when both day fields are restricted.
    Fields {
        any: Vec<cron::Schedule>,
        interval_like: bool,
    },
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Cron, String> {
        let text = text.trim();
        if let Some(every) = text.strip_prefix("@every ") {
            let span: Span = every.trim().parse()?;
            if span.get() < Duration::from_secs(1) {
                return Err("@every needs at least 1s".into());
            }
            return Ok(Cron { text: text.into(), kind: Kind::Every(span.get()) });
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!(
                "`{text}` has {} fields; write five: minute hour day-of-month month day-of-week, or @every 5m",
                fields.len()
            ));
        };
        let weekday = weekdays(weekday)?;
        // `cron` wants seconds first and a year last; both day fields as `*` when they are not restricted.
        let build = |day: &str, weekday: &str| {
            let quartz = format!("0 {minute} {hour} {day} {month} {weekday} *");
            cron::Schedule::from_str(&quartz).map_err(|e| format!("`{text}`: {e}"))
        };
        let any = if day != "*" && weekday != "*" {
            vec![build(day, "*")?, build("*", &weekday)?]
        } else {
            vec![build(day, &weekday)?]
        };
        let interval_like = hour.contains('*') || hour.contains('/');
        Ok(Cron { text: text.into(), kind: Kind::Fields { any, interval_like } })
    }
}

/// POSIX weekday numbers become names, which mean the same in both dialects.
fn weekdays(field: &str) -> Result<String, String> {
    const NAMES: [&str; 8] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"];
    if field == "*" || field == "?" {
        return Ok("*".into());
    }
    let name = |part: &str| match part.parse::<usize>() {
        Ok(n) => NAMES.get(n).map(|s| s.to_string()).ok_or(format!("day of week {n}: 0 to 7, 0 and 7 are Sunday")),
        Err(_) => Ok(part.to_ascii_uppercase()),
    };
    let mut names = Vec::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
        // Ranges are spelt out: SAT-SUN does not exist for a parser that counts from Sunday.
        let days: Vec<usize> = match range.split_once('-') {
            Some((from, to)) => {
                let number = |p: &str| position(p).ok_or(format!("day of week {p}"));
                let (from, to) = (number(from)?, number(to)?);
                let to = if to < from { to + 7 } else { to };
                (from..=to).collect()
            }
            None if range == "*" => (0..7).collect(),
            None if step.is_some() => (position(range).ok_or(format!("day of week {range}"))?..7).collect(),
            None => {
                names.push(name(range)?);
                continue;
            }
        };
        let step: usize = step.map_or(Ok(1), |s| s.parse().map_err(|_| format!("step /{s}")))?;
        if step == 0 {
            return Err("step /0 never ends".into());
        }
        names.extend(days.into_iter().step_by(step).map(|d| NAMES[d % 7].to_string()));
    }
    names.dedup();
    Ok(names.join(","))
}

fn position(day: &str) -> Option<usize> {
    if let Ok(n) = day.parse::<usize>() {
        return (n <= 7).then_some(n);
    }
    ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"].iter().position(|d| d.eq_ignore_ascii_case(day))
}

impl Cron {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// First fire strictly after `after`, read in `zone`. `None` when it never comes.
    pub fn next_after(&self, after: Timestamp, zone: Tz) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(span) => {
                // On absolute time, so that a restart does not shift the job.
                let step = span.as_millis() as i64;
                Some(Timestamp::from_ms((after.ms().div_euclid(step) + 1) * step))
            }
            Kind::Fields { any, interval_like } => {
                any.iter().filter_map(|s| next_of(s, *interval_like, after.utc(), zone)).min()
            }
        }
    }
}

/// Local times are walked as if they were UTC, then mapped to instants. The search starts a day early because a local
/// time before `after` may map to an instant past it.
fn next_of(schedule: &cron::Schedule, interval_like: bool, after: DateTime<Utc>, zone: Tz) -> Option<Timestamp> {
    let start = after.with_timezone(&zone).naive_local() - TimeDelta::days(1);
    let mut best: Option<DateTime<Utc>> = None;
    for local in schedule.after(&Utc.from_utc_datetime(&start)) {
        let naive = local.naive_utc();
        // Nothing later can map earlier than a day before its own local time.
        if best.is_some_and(|b| naive - TimeDelta::days(1) > b.with_timezone(&zone).naive_local()) {
            break;
        }
        if naive - start > HORIZON || naive.year() > 9000 {
            break;
        }
        let fires = instants(naive, interval_like, zone);
        best = fires.into_iter().filter(|t| *t > after).chain(best).min();
    }
    best.map(|t| Timestamp::from_ms(t.timestamp_millis()))
}

fn instants(naive: NaiveDateTime, interval_like: bool, zone: Tz) -> Vec<DateTime<Utc>> {
    match zone.from_local_datetime(&naive) {
        LocalResult::Single(t) => vec![t.to_utc()],
        LocalResult::Ambiguous(first, second) if interval_like => vec![first.to_utc(), second.to_utc()],
        LocalResult::Ambiguous(first, _) => vec![first.to_utc()],
        LocalResult::None if interval_like => vec![],
        LocalResult::None => first_valid_after(naive, zone).into_iter().collect(),
    }
}

/// The first instant after a gap that `naive` lies in: gaps start and end on whole minutes.
fn first_valid_after(naive: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    (1..=24 * 60)
        .map(|m| naive + TimeDelta::minutes(m))
        .find_map(|t| zone.from_local_datetime(&t).earliest())
        .map(|t| t.to_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(expr: &str, zone: Tz, from: &str, to: &str) -> Vec<String> {
        let cron: Cron = expr.parse().unwrap();
        let (mut at, end) = (Timestamp::parse(from).unwrap(), Timestamp::parse(to).unwrap());
        let mut out = Vec::new();
        while let Some(next) = cron.next_after(at, zone) {
            if next >= end {
                break;
            }
            out.push(next.rfc3339());
            at = next;
        }
        out
    }

    #[test]
    fn a_fixed_time_in_a_gap_runs_once_after_it_and_in_a_repeat_once_in_its_first_pass() {
        let berlin = chrono_tz::Europe::Berlin;
        // 28 Mar 2027: 02:00 → 03:00. 31 Oct 2027: 03:00 → 02:00.
        assert_eq!(
            fires("30 2 * * *", berlin, "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"),
            ["2027-03-28T01:00:00Z"]
        );
        assert_eq!(
            fires("30 2 * * *", berlin, "2027-10-30T22:00:00Z", "2027-10-31T23:00:00Z"),
            ["2027-10-31T00:30:00Z"]
        );
    }

    #[test]
    fn an_interval_runs_in_both_passes_and_not_in_the_gap() {
        let berlin = chrono_tz::Europe::Berlin;
        // A local day: 23 hours in spring, 25 in autumn. `-1 s` because the search is strictly after.
        let spring = fires("*/30 * * * *", berlin, "2027-03-27T22:59:59Z", "2027-03-28T22:00:00Z");
        let autumn = fires("*/30 * * * *", berlin, "2027-10-30T21:59:59Z", "2027-10-31T23:00:00Z");
        assert_eq!((spring.len(), autumn.len()), (46, 50));
    }

    #[test]
    fn a_gap_at_midnight() {
        let cairo = chrono_tz::Africa::Cairo;
        assert_eq!(fires("0 0 * * *", cairo, "2027-04-29T12:00:00Z", "2027-04-30T12:00:00Z"), ["2027-04-29T22:00:00Z"]);
        assert_eq!(fires("0 0 * * *", cairo, "2027-10-28T12:00:00Z", "2027-10-29T12:00:00Z"), ["2027-10-28T22:00:00Z"]);
        assert_eq!(
            fires("30 23 * * *", cairo, "2027-10-28T12:00:00Z", "2027-10-29T12:00:00Z"),
            ["2027-10-28T20:30:00Z"]
        );
    }

    #[test]
    fn weekdays_are_posix_and_two_day_fields_mean_or() {
        let utc = chrono_tz::UTC;
        // 22 Nov 2026 is a Sunday.
        for sunday in ["0 6 * * 0", "0 6 * * 7", "0 6 * * sun"] {
            let got = fires(sunday, utc, "2026-11-21T00:00:00Z", "2026-11-28T00:00:00Z");
            assert_eq!(got, ["2026-11-22T06:00:00Z"], "{sunday}");
        }
        let weekend = fires("0 6 * * 6-7", utc, "2026-11-20T00:00:00Z", "2026-11-25T00:00:00Z");
        assert_eq!(weekend, ["2026-11-21T06:00:00Z", "2026-11-22T06:00:00Z"]);
        let either = fires("0 6 25 * 1", utc, "2026-11-22T12:00:00Z", "2026-11-26T00:00:00Z");
        assert_eq!(either, ["2026-11-23T06:00:00Z", "2026-11-25T06:00:00Z"]);
    }

    #[test]
    fn every_is_on_absolute_time() {
        let cron: Cron = "@every 5m".parse().unwrap();
        let at = Timestamp::parse("2026-11-22T10:03:00Z").unwrap();
        assert_eq!(cron.next_after(at, chrono_tz::UTC).unwrap().rfc3339(), "2026-11-22T10:05:00Z");
    }

    #[test]
    fn bad_expressions_say_what_is_wrong() {
        for (bad, words) in [
            ("0 6 * *", "4 fields"),
            ("61 * * * *", "61 * * * *"),
            ("* * * * 9", "day of week 9"),
            ("@every 5", "duration"),
        ] {
            let error = bad.parse::<Cron>().unwrap_err();
            assert!(error.contains(words), "{bad}: {error}");
        }
        assert!("0 0 30 2 *".parse::<Cron>().unwrap().next_after(Timestamp::from_ms(0), chrono_tz::UTC).is_none());
    }
}
