//! Ticks: round numbers for values, round clock times of the reader's zone for time.

use chrono::{DateTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;

use crate::domain::clock::Timestamp;

/// 3 to 5 intervals of 1, 2, 2.5 or 5 × 10ⁿ from at most `low` to at least `high`. Returns the tick values.
pub fn nice_ticks(low: f64, high: f64) -> Vec<f64> {
    let span = (high - low).max(f64::MIN_POSITIVE);
    let rough = span / 4.0;
    let power = 10f64.powi(rough.log10().floor() as i32);
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough * 0.999).unwrap_or(power);
    let first = (low / step + 1e-9).floor();
    let last = (high / step - 1e-9).ceil();
    let count = (last - first).clamp(1.0, 8.0) as i32;
    // Multiplied, not summed, and printed through a decimal: 0.1 + 0.2 must not reach the page.
    (0..=count).map(|i| tidy((first + f64::from(i)) * step)).collect()
}

/// 1-2-5 ticks of a logarithmic axis, thinned to at most five.
pub fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let (a, b) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let all = |steps: &[f64]| -> Vec<f64> {
        let raw = (a..=b).flat_map(|p| steps.iter().map(move |m| tidy(m * 10f64.powi(p)))).collect::<Vec<_>>();
        let from = raw.iter().rposition(|v| *v <= low * 1.000_001).unwrap_or(0);
        let to = raw.iter().position(|v| *v >= high * 0.999_999).unwrap_or(raw.len() - 1);
        raw[from..=to.max(from)].to_vec()
    };
    for steps in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
        let ticks = all(steps);
        if (2..=6).contains(&ticks.len()) {
            return ticks;
        }
    }
    all(&[1.0])
}

fn tidy(value: f64) -> f64 {
    format!("{value:.12e}").parse().unwrap_or(value)
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Steps that end on round clock times.
const STEPS: [i64; 22] = [
    SECOND,
    2 * SECOND,
    5 * SECOND,
    10 * SECOND,
    15 * SECOND,
    30 * SECOND,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
];

/// Instants and labels of at most `max` ticks on round local times. A tick at local midnight names the day.
pub fn time_ticks(from: Timestamp, to: Timestamp, zone: Tz, max: usize) -> Vec<(Timestamp, String)> {
    let span = (to.ms() - from.ms()).max(1);
    let step = STEPS.into_iter().find(|s| span / s <= max.max(1) as i64).unwrap_or(span);
    let mut ticks: Vec<(Timestamp, String)> = Vec::new();
    // Walks local clock times and asks the zone for each: a change to summer time inside the window moves ticks, never
    // their labels. A local time that does not exist lands on the next one that does, and is one tick with it.
    let last = to.ms() + offset_ms(to, zone);
    let mut local = (from.ms() + offset_ms(from, zone)).div_euclid(step) * step;
    while local <= last {
        let guess = local - offset_ms(Timestamp::from_ms(local), zone);
        let at = Timestamp::from_ms(local - offset_ms(Timestamp::from_ms(guess), zone));
        if at >= from && at <= to {
            ticks.push((at, tick_label(at, zone, step)));
        }
        local += step;
    }
    ticks.dedup_by_key(|t| t.0);
    ticks
}

fn tick_label(at: Timestamp, zone: Tz, step: i64) -> String {
    let local = local(at, zone);
    if step >= DAY || (step >= HOUR && local.num_seconds_from_midnight() == 0) {
        local.format("%-d %b").to_string()
    } else if step < MINUTE {
        local.format("%H:%M:%S").to_string()
    } else {
        local.format("%H:%M").to_string()
    }
}

fn offset_ms(at: Timestamp, zone: Tz) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&at.utc().naive_utc()).fix().local_minus_utc()) * 1000
}

fn local(at: Timestamp, zone: Tz) -> DateTime<Tz> {
    at.utc().with_timezone(&zone)
}

/// `02:12` in the zone; with seconds when `span_ms` is shorter than twenty minutes, so that short windows tell apart.
pub fn clock_label(at: Timestamp, zone: Tz, span_ms: i64) -> String {
    let format = if span_ms < 20 * MINUTE { "%H:%M:%S" } else { "%H:%M" };
    local(at, zone).format(format).to_string()
}

/// `Sun 22 Nov 2026` in the zone.
pub fn day_label(at: Timestamp, zone: Tz) -> String {
    local(at, zone).format("%a %-d %b %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_ticks_are_round() {
        assert_eq!(nice_ticks(0.0, 640.0), [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert_eq!(nice_ticks(0.0, 0.3), [0.0, 0.1, 0.2, 0.3]);
        assert_eq!(nice_ticks(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(log_ticks(12.0, 900.0), [10.0, 30.0, 100.0, 300.0, 1000.0]);
        for high in [0.001, 7.0, 13.0, 99.0, 1234.0, 5e9] {
            let n = nice_ticks(0.0, high).len();
            assert!((3..=6).contains(&n), "{high}: {n}");
        }
    }

    #[test]
    fn time_ticks_follow_the_zone_and_summer_time() {
        let at = |s: &str| Timestamp::parse(s).unwrap();
        let labels = |from, to, zone| -> Vec<String> {
            time_ticks(at(from), at(to), zone, 8).into_iter().map(|t| t.1).collect()
        };
        let berlin = chrono_tz::Europe::Berlin;
        assert_eq!(
            labels("2026-11-22T09:10:00Z", "2026-11-23T09:10:00Z", berlin),
            ["12:00", "15:00", "18:00", "21:00", "23 Nov", "03:00", "06:00", "09:00"]
        );
        assert_eq!(
            labels("2027-03-27T22:00:00Z", "2027-03-28T05:00:00Z", berlin),
            ["23:00", "28 Mar", "01:00", "03:00", "04:00", "05:00", "06:00", "07:00"]
        );
        assert_eq!(
            labels("2026-11-22T09:00:00Z", "2026-11-22T09:01:00Z", chrono_tz::Asia::Kolkata),
            ["14:30:00", "14:30:10", "14:30:20", "14:30:30", "14:30:40", "14:30:50", "14:31:00"]
        );
    }
}
