//! Which series of an exposition count requests, time them, and show the process; and how they moved between two looks.
//! Pure: expositions in, names and differences out.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::exposition::Exposition;
use crate::domain::metric::{Labels, MetricKind, NAME};

/// Labels that hold an HTTP status, most likely first.
const STATUS_LABELS: [&str; 8] = [
    "code",
    "status",
    "status_code",
    "http_response_status_code",
    "http_status_code",
    "http_status",
    "response_code",
    "statusCode",
];

/// A counter of requests.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Requests {
    /// As on the samples' lines: `http_requests_total`, `http_request_duration_seconds_count`.
    pub name: String,
    /// `None`: no series carries a status.
    pub status_label: Option<String>,
}

/// What plays which part. `None`: nothing does.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Red {
    pub requests: Option<Requests>,
    /// Family of a histogram (or, weaker, a summary) of request durations.
    pub latency: Option<String>,
    /// A summary's quantiles cannot be added up over instances.
    pub latency_is_summary: bool,
    pub cpu: Option<String>,
    pub memory: Option<String>,
    /// A counter of work done: jobs, tasks, messages.
    pub jobs: Option<String>,
}

/// What the user says about the names; `None` is guessed.
#[derive(Debug, Clone, Default)]
pub struct Given<'c> {
    pub requests: Option<&'c str>,
    pub status_label: Option<&'c str>,
    pub latency: Option<&'c str>,
}

pub fn find(exposition: &Exposition, given: &Given<'_>) -> Red {
    Red {
        requests: requests(exposition, given),
        cpu: family(exposition, &["process_cpu", "cpu_usage", "cpu_seconds"], &[]),
        memory: family(
            exposition,
            &[
                "process_resident_memory",
                "memory_used",
                "memory_usage",
                "memstats",
                "heap_size_used",
                "memory_bytes",
                "process_memory",
            ],
            &[],
        ),
        jobs: family(exposition, &["job", "task", "message", "processed", "consumed"], &[MetricKind::Counter]),
        ..latency(exposition, given)
    }
}

fn requests(exposition: &Exposition, given: &Given<'_>) -> Option<Requests> {
    let counts = |kind: MetricKind, name: &str| match kind {
        MetricKind::Counter => !name.ends_with("_created"),
        MetricKind::Histogram | MetricKind::Summary => name.ends_with("_count"),
        MetricKind::Unknown => name.ends_with("_total"),
        _ => false,
    };
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in &exposition.samples {
        let name = sample.labels.name();
        let wanted = match given.requests {
            Some(given) => name == given,
            None => {
                counts(exposition.families[sample.family].kind, name)
                    && name.contains("request")
                    && !name.contains("size")
            }
        };
        if wanted {
            labels.entry(name).or_default().extend(sample.labels.iter().map(|(n, _)| n).filter(|n| *n != NAME));
        }
    }
    let status = |labels: &BTreeSet<&str>| match given.status_label {
        Some(label) => labels.contains(label).then(|| label.to_string()),
        None => STATUS_LABELS.iter().find(|l| labels.contains(**l)).map(|l| l.to_string()),
    };
    // A status first, then HTTP by name, then a plain counter before a histogram's.
    let (name, found) = labels.iter().max_by_key(|(name, l)| {
        (status(l).is_some(), name.contains("http"), name.ends_with("_total"), std::cmp::Reverse(name.len()))
    })?;
    Some(Requests { name: name.to_string(), status_label: status(found) })
}

fn latency(exposition: &Exposition, given: &Given<'_>) -> Red {
    let times = |name: &str| {
        (name.contains("request") || name.contains("http") || name.contains("response"))
            && ["duration", "latency", "seconds", "time", "_ms"].iter().any(|w| name.contains(w))
            && !name.contains("size")
    };
    let of_kind = |kinds: &[MetricKind]| {
        let wanted = |f: &&crate::domain::metric::Metadata| match given.latency {
            Some(given) => f.family == given.trim_end_matches("_bucket") && kinds.contains(&f.kind),
            None => kinds.contains(&f.kind) && times(&f.family),
        };
        exposition.families.iter().find(wanted).map(|f| f.family.clone())
    };
    match of_kind(&[MetricKind::Histogram]) {
        Some(histogram) => Red { latency: Some(histogram), ..Red::default() },
        None => {
            let summary = of_kind(&[MetricKind::Summary]);
            Red { latency_is_summary: summary.is_some(), latency: summary, ..Red::default() }
        }
    }
}

/// The first family whose name holds one of the words; any kind when `kinds` is empty.
fn family(exposition: &Exposition, words: &[&str], kinds: &[MetricKind]) -> Option<String> {
    let fits = |kind| kinds.is_empty() || kinds.contains(&kind);
    words.iter().find_map(|w| {
        exposition.families.iter().find(|f| fits(f.kind) && f.family.contains(w)).map(|f| f.family.clone())
    })
}

/// Values of one sample name by label set.
pub fn series<'e>(exposition: &'e Exposition, name: &str) -> BTreeMap<&'e Labels, f64> {
    exposition.samples.iter().filter(|s| s.labels.name() == name).map(|s| (&s.labels, s.value)).collect()
}

/// By how much a counter grew between two looks.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Growth {
    /// Over all series with one of the expected statuses.
    pub matching: f64,
    /// The largest growth of a single one of them.
    pub largest: f64,
    /// A series that fell: there are several processes with a registry each, or one was restarted.
    pub backwards: Option<String>,
}

/// `statuses` are those of the answers received; empty, or without a status label, everything matches.
pub fn growth(before: &Exposition, after: &Exposition, requests: &Requests, statuses: &BTreeSet<u16>) -> Growth {
    let (old, new) = (series(before, &requests.name), series(after, &requests.name));
    let mut out = Growth { backwards: backwards(before, after), ..Growth::default() };
    for (labels, value) in new {
        let grown = value - old.get(labels).copied().unwrap_or(0.0);
        let matches = match requests.status_label.as_deref().and_then(|l| labels.get(l)) {
            Some(label) if !statuses.is_empty() => statuses.iter().any(|s| is_status(label, *s)),
            _ => true,
        };
        if matches {
            out.matching += grown;
            out.largest = out.largest.max(grown);
        }
    }
    out
}

/// Any counter that fell, by name.
pub fn backwards(before: &Exposition, after: &Exposition) -> Option<String> {
    let new: BTreeMap<&Labels, f64> = after.samples.iter().map(|s| (&s.labels, s.value)).collect();
    let counters = before.samples.iter().filter(|s| before.families[s.family].kind == MetricKind::Counter);
    counters
        .filter(|s| !s.labels.name().ends_with("_created"))
        .find(|s| new.get(&s.labels).is_some_and(|value| *value < s.value))
        .map(|s| s.labels.name().to_string())
}

/// `200`, or its class `2xx`.
fn is_status(label: &str, status: u16) -> bool {
    label == status.to_string() || label.eq_ignore_ascii_case(&format!("{}xx", status / 100))
}

/// When the process says it was started.
pub fn process_start(exposition: &Exposition) -> Option<f64> {
    exposition.samples.iter().find(|s| s.labels.name() == "process_start_time_seconds").map(|s| s.value)
}

/// Series per family, the largest first; histograms count every bucket.
pub fn sizes(exposition: &Exposition) -> Vec<(String, usize)> {
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for sample in &exposition.samples {
        *sizes.entry(sample.family).or_default() += 1;
    }
    let mut out: Vec<(String, usize)> =
        sizes.into_iter().map(|(family, n)| (exposition.families[family].family.clone(), n)).collect();
    out.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    out
}

/// The first series that carries `text` in a label's value: (metric, label).
pub fn label_holding(exposition: &Exposition, text: &str) -> Option<(String, String)> {
    exposition.samples.iter().find_map(|s| {
        let (label, _) = s.labels.iter().find(|(n, v)| *n != NAME && v.contains(text))?;
        Some((s.labels.name().to_string(), label.to_string()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::exposition::parse;

    fn text(body: &str) -> Exposition {
        parse(Some("text/plain"), body.as_bytes()).unwrap()
    }

    const PROM_CLIENT: &str = "\
# TYPE process_cpu_user_seconds_total counter
process_cpu_user_seconds_total 0.1
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 4e7
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le=\"+Inf\",method=\"GET\",route=\"/\",status_code=\"200\"} 3
http_request_duration_seconds_sum{method=\"GET\",route=\"/\",status_code=\"200\"} 0.1
http_request_duration_seconds_count{method=\"GET\",route=\"/\",status_code=\"200\"} 3
";

    #[test]
    fn a_histogram_alone_counts_and_times() {
        let red = find(&text(PROM_CLIENT), &Given::default());
        let requests = red.requests.unwrap();
        assert_eq!(requests.name, "http_request_duration_seconds_count");
        assert_eq!(requests.status_label.as_deref(), Some("status_code"));
        assert_eq!(red.latency.as_deref(), Some("http_request_duration_seconds"));
        assert_eq!(red.cpu.as_deref(), Some("process_cpu_user_seconds_total"));
        assert_eq!(red.memory.as_deref(), Some("process_resident_memory_bytes"));
    }

    #[test]
    fn a_counter_with_a_status_wins() {
        let body = format!(
            "{PROM_CLIENT}# TYPE requests_total counter\nrequests_total 9\n# TYPE http_requests_total counter\nhttp_requests_total{{code=\"200\"}} 9\n"
        );
        let red = find(&text(&body), &Given::default());
        assert_eq!(red.requests.unwrap().name, "http_requests_total");
        let given = Given { requests: Some("requests_total"), ..Given::default() };
        let requests = find(&text(&body), &given).requests.unwrap();
        assert_eq!((requests.name.as_str(), requests.status_label), ("requests_total", None));
    }

    #[test]
    fn a_summary_is_weaker_and_nothing_is_nothing() {
        let summary = "# TYPE http_request_seconds summary\nhttp_request_seconds_sum{code=\"200\"} 1\nhttp_request_seconds_count{code=\"200\"} 2\n";
        let red = find(&text(summary), &Given::default());
        assert!(red.latency_is_summary && red.requests.is_some());
        assert_eq!(find(&text("up 1\n"), &Given::default()), Red::default());
    }

    #[test]
    fn growth_by_status() {
        let requests = Requests { name: "http_requests_total".into(), status_label: Some("code".into()) };
        let look = |ok: u32, bad: u32| {
            text(&format!(
                "# TYPE http_requests_total counter\nhttp_requests_total{{code=\"2xx\"}} {ok}\nhttp_requests_total{{code=\"500\"}} {bad}\n"
            ))
        };
        let statuses = BTreeSet::from([200]);
        let grown = growth(&look(5, 1), &look(25, 4), &requests, &statuses);
        assert_eq!((grown.matching, grown.largest, grown.backwards), (20.0, 20.0, None));
        let fell = growth(&look(5, 1), &look(3, 1), &requests, &statuses);
        assert_eq!(fell.backwards.as_deref(), Some("http_requests_total"));
    }

    #[test]
    fn sizes_and_labels() {
        let body = text("# TYPE a counter\na_total{path=\"/hc-1-2\"} 1\na_total{path=\"/x\"} 1\nb 1\n");
        assert_eq!(sizes(&body)[0].1, 2);
        assert_eq!(label_holding(&body, "hc-1"), Some(("a_total".into(), "path".into())));
        assert_eq!(label_holding(&body, "hc-9"), None);
    }
}
