//! Names and units of OpenTelemetry as Prometheus spells them: dots become underscores, the unit and the kind a suffix.
//!
//! Source: the OpenTelemetry specification, "Prometheus and OpenMetrics Compatibility", and Prometheus' default
//! translation strategy `UnderscoreEscapingWithSuffixes`.

/// What a metric's suffix depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    /// A monotonic sum.
    Counter,
    Other,
}

/// UCUM to words.
const UNITS: [(&str, &str); 26] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// What something is counted per.
const PER: [(&str, &str); 7] =
    [("s", "second"), ("m", "minute"), ("h", "hour"), ("d", "day"), ("w", "week"), ("mo", "month"), ("y", "year")];

/// The metric's name for Prometheus; `None` when nothing of it is left.
pub(super) fn metric(name: &str, unit: &str, kind: Kind) -> Option<String> {
    let (main, per) = suffixes(unit);
    let (main, per) = (clean(&main), clean(&per));
    let mut tokens: Vec<&str> = name.split(|c| !is_name_part(c)).filter(|t| !t.is_empty()).collect();
    let per = per.trim_end_matches('_');
    let per = if per == "per" || tokens.contains(&per) { "" } else { per };
    let main = if tokens.contains(&&*main) { "" } else { &main };
    let main = if per.is_empty() { main } else { main.trim_end_matches('_') };
    tokens.extend([main, per].into_iter().filter(|t| !t.is_empty()));
    let mut end_in = |word: &'static str| {
        tokens.retain(|t| *t != word);
        tokens.push(word);
    };
    if kind == Kind::Counter {
        end_in("total");
    }
    // Only gauges: too many counters of things say that their unit is 1.
    if unit == "1" && kind == Kind::Gauge {
        end_in("ratio");
    }
    let joined = tokens.join("_");
    let first = joined.chars().next()?;
    Some(if first.is_ascii_digit() { format!("_{joined}") } else { joined })
}

/// The unit alone, for metadata: `By/s` is `bytes_per_second`.
pub(super) fn unit(unit: &str) -> String {
    let (main, per) = suffixes(unit);
    let parts = [clean(&main), clean(&per)];
    let parts: Vec<&str> = parts.iter().map(|p| p.trim_matches('_')).filter(|p| !p.is_empty()).collect();
    parts.join("_")
}

/// A label's name; `None` when nothing of it is left. Each foreign character becomes one underscore.
pub(super) fn label(name: &str) -> Option<String> {
    let clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if clean.chars().all(|c| c == '_') {
        return None;
    }
    if clean.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("key_{clean}"));
    }
    // A single underscore in front is for what collectors add.
    let own = clean.starts_with('_') && !clean.starts_with("__");
    Some(if own { format!("key{clean}") } else { clean })
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// `By/s` as `bytes` and `per_second`; annotations in braces say nothing.
fn suffixes(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let word = |text: &str, words: &[(&str, &str)]| {
        let text = text.trim();
        if text.contains(['{', '}']) {
            return String::new();
        }
        words.iter().find(|(short, _)| *short == text).map_or(text, |(_, long)| long).to_string()
    };
    let per = word(per, &PER);
    (word(main, &UNITS), if per.is_empty() { per } else { format!("per_{per}") })
}

/// Foreign characters as underscores, never two in a row, none in front.
fn clean(unit: &str) -> String {
    let mut out = String::with_capacity(unit.len());
    for c in unit.chars() {
        match is_name_part(c) {
            true => out.push(c),
            false if out.ends_with('_') || out.is_empty() => {}
            false => out.push('_'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_end_in_unit_and_kind() {
        for (name, unit, kind, expect) in [
            ("http.server.request.duration", "s", Kind::Other, "http_server_request_duration_seconds"),
            ("system.cpu.time", "s", Kind::Counter, "system_cpu_time_seconds_total"),
            ("requests", "1", Kind::Counter, "requests_total"),
            ("requests.total", "", Kind::Counter, "requests_total"),
            ("total.requests", "", Kind::Counter, "requests_total"),
            ("cpu.utilization", "1", Kind::Gauge, "cpu_utilization_ratio"),
            ("queue.size", "{messages}", Kind::Gauge, "queue_size"),
            ("network.io", "By/s", Kind::Gauge, "network_io_bytes_per_second"),
            ("disk.free_bytes", "By", Kind::Gauge, "disk_free_bytes"),
            ("speed", "m/s", Kind::Gauge, "speed_meters_per_second"),
            ("flow", "{request}/s", Kind::Gauge, "flow_per_second"),
            ("odd", "__test $/°C", Kind::Gauge, "odd_test_per_C"),
            ("8.ball", "", Kind::Gauge, "_8_ball"),
            ("a__b..c", "", Kind::Gauge, "a_b_c"),
            ("temperature", "Cel", Kind::Gauge, "temperature_celsius"),
        ] {
            assert_eq!(metric(name, unit, kind).as_deref(), Some(expect), "{name} in {unit}");
        }
        assert_eq!(metric("...", "", Kind::Gauge), None);
        assert_eq!((unit("By/s"), unit("1"), unit("s")), ("bytes_per_second".into(), "".into(), "seconds".into()));
    }

    #[test]
    fn labels_are_plain() {
        for (name, expect) in [
            ("http.route", Some("http_route")),
            ("a..b", Some("a__b")),
            ("1st", Some("key_1st")),
            ("_x", Some("key_x")),
            ("__x", Some("__x")),
            ("käse", Some("k_se")),
            ("..", None),
            ("", None),
        ] {
            assert_eq!(label(name).as_deref(), expect, "{name}");
        }
    }
}
