//! Roles: which series play traffic, errors, latency and saturation for a service, and the PromQL of the four signals.
//!
//! Alerts, report, daemon and launch room ask here, so that all of them mean the same by "error ratio". Pure: the caller
//! says which metrics exist. Nothing here evaluates anything; `promql` does.

use std::collections::BTreeMap;

use super::metric::NAME;

/// Names by which common exporters and OpenTelemetry count requests, most likely first.
const REQUEST_COUNTERS: [&str; 8] = [
    "http_requests_total",
    "http_server_requests_total",
    "http_server_requests",
    "http_server_requests_seconds_count",
    "http_server_request_duration_seconds_count",
    "http_request_duration_seconds_count",
    "nginx_http_requests_total",
    "traefik_service_requests_total",
];
const STATUS_LABELS: [&str; 4] = ["code", "status", "status_code", "http_response_status_code"];
const LATENCY_BUCKETS: [&str; 4] = [
    "http_request_duration_seconds_bucket",
    "http_server_requests_seconds_bucket",
    "http_server_request_duration_seconds_bucket",
    "traefik_service_request_duration_seconds_bucket",
];
/// Our own name for queues (`queue_depth{queue}`), then RabbitMQ's and BullMQ's.
const QUEUE_DEPTHS: [&str; 3] = ["queue_depth", "rabbitmq_queue_messages_ready", "bullmq_job_count"];
/// The machine before the process: a share of all cores can be held against a limit, a number of cores cannot.
const CPUS: [&str; 2] = ["node_cpu_seconds_total", "process_cpu_seconds_total"];
const MEMORY_AVAILABLE: &str = "node_memory_MemAvailable_bytes";
const MEMORY_TOTAL: &str = "node_memory_MemTotal_bytes";

/// Selectors of one service, as configured or as guessed. `None`: nothing plays this part, so its signal is blind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// Counter of requests.
    pub requests: Option<String>,
    /// Label of `requests` that holds the HTTP status.
    pub status_label: String,
    /// Classic histogram buckets of request duration in seconds.
    pub latency_bucket: Option<String>,
    pub queue_depth: Option<String>,
    /// A counter of CPU seconds, or a gauge that is already a ratio.
    pub cpu: Option<String>,
    /// Available bytes (node_exporter's name), or a gauge that is already a ratio.
    pub memory: Option<String>,
}

impl Roles {
    /// `config` is `[service.NAME] roles`: keys `http_requests`, `status_label`, `latency`, `queue_depth`, `cpu`,
    /// `memory`; it wins over guesses. `exists` says whether a metric of this name has series, `labels_of` which label
    /// names it carries.
    pub fn resolve(
        config: &BTreeMap<String, String>,
        exists: &dyn Fn(&str) -> bool,
        labels_of: &dyn Fn(&str) -> Vec<String>,
    ) -> Roles {
        Roles::resolve_among(config, None, exists, labels_of)
    }

    /// As [`Roles::resolve`], with guesses narrowed by a matcher, such as `service="shop"`: with two services in one
    /// store, a bare name would add up both. What is configured is taken as written.
    pub fn resolve_among(
        config: &BTreeMap<String, String>,
        matcher: Option<&str>,
        exists: &dyn Fn(&str) -> bool,
        labels_of: &dyn Fn(&str) -> Vec<String>,
    ) -> Roles {
        let given = |keys: &[&str]| keys.iter().find_map(|k| config.get(*k)).map(|s| s.trim().to_string());
        let narrowed = |name: &str| matcher.map_or(name.to_string(), |m| with_matcher(name, m));
        let guess = |names: &[&str]| names.iter().find(|n| exists(n)).map(|n| narrowed(n));
        let requests = given(&["http_requests", "requests"]).or_else(|| guess(&REQUEST_COUNTERS));
        let status_label = given(&["status_label"]).unwrap_or_else(|| {
            let labels = requests.as_deref().map(|r| labels_of(metric_name(r))).unwrap_or_default();
            STATUS_LABELS.iter().find(|l| labels.iter().any(|have| have == *l)).unwrap_or(&STATUS_LABELS[0]).to_string()
        });
        Roles {
            status_label,
            latency_bucket: given(&["latency", "latency_bucket"]).map(bucket).or_else(|| guess(&LATENCY_BUCKETS)),
            queue_depth: given(&["queue_depth", "queue"]).or_else(|| guess(&QUEUE_DEPTHS)),
            cpu: given(&["cpu"]).or_else(|| guess(&CPUS)),
            memory: given(&["memory"]).or_else(|| guess(&[MEMORY_AVAILABLE])),
            requests,
        }
    }

    /// Parts that `other` can play and this cannot. Requests and their status label go together.
    pub fn or(self, other: Roles) -> Roles {
        let status_label = if self.requests.is_some() { self.status_label } else { other.status_label };
        Roles {
            status_label,
            requests: self.requests.or(other.requests),
            latency_bucket: self.latency_bucket.or(other.latency_bucket),
            queue_depth: self.queue_depth.or(other.queue_depth),
            cpu: self.cpu.or(other.cpu),
            memory: self.memory.or(other.memory),
        }
    }

    /// Requests per second. `window` as PromQL writes durations: `5m`.
    pub fn traffic(&self, window: &str) -> Option<String> {
        self.requests.as_deref().map(|r| format!("sum(rate({r}[{window}]))"))
    }

    /// Requests answered with 5xx per second; zero, not absent, while there are requests and none failed.
    pub fn errors(&self, window: &str) -> Option<String> {
        let requests = self.requests.as_deref()?;
        let bad = with_matcher(requests, &format!("{}=~\"5..\"", self.status_label));
        Some(format!("(sum(rate({bad}[{window}])) or 0 * sum(rate({requests}[{window}])))"))
    }

    /// Share of requests answered with 5xx, 0 to 1. Zero when nothing failed, absent without requests (0/0 is dropped).
    pub fn error_ratio(&self, window: &str) -> Option<String> {
        let (errors, traffic) = (self.errors(window)?, self.traffic(window)?);
        Some(format!("{errors} / ({traffic} > 0)"))
    }

    /// Quantile `q` (0 to 1) of request duration in seconds.
    pub fn latency_quantile(&self, q: f64, window: &str) -> Option<String> {
        self.latency_bucket
            .as_deref()
            .map(|bucket| format!("histogram_quantile({q}, sum by (le) (rate({bucket}[{window}])))"))
    }

    /// CPU in use: share of all cores for the machine, cores for a process (1 = one core busy), as is for a gauge.
    pub fn cpu_ratio(&self, window: &str) -> Option<String> {
        let cpu = self.cpu.as_deref()?;
        Some(match metric_name(cpu) {
            "node_cpu_seconds_total" => {
                format!("1 - avg(rate({}[{window}]))", with_matcher(cpu, "mode=\"idle\""))
            }
            name if name.ends_with("_total") => format!("max(rate({cpu}[{window}]))"),
            _ => format!("max({cpu})"),
        })
    }

    /// Memory in use, 0 to 1.
    pub fn memory_ratio(&self) -> Option<String> {
        let memory = self.memory.as_deref()?;
        Some(match metric_name(memory) {
            MEMORY_AVAILABLE => {
                format!("max(1 - {memory} / {})", memory.replacen(MEMORY_AVAILABLE, MEMORY_TOTAL, 1))
            }
            _ => format!("max({memory})"),
        })
    }

    /// Things waiting, over all queues.
    pub fn queue(&self) -> Option<String> {
        self.queue_depth.as_deref().map(|q| format!("sum({q})"))
    }

    /// What saturates first as far as we can see: the queue's own trend is judged elsewhere, so CPU, else memory.
    pub fn saturation(&self, window: &str) -> Option<String> {
        self.cpu_ratio(window).or_else(|| self.memory_ratio())
    }
}

/// The name in `name{…}`, or in `{__name__="…"}`; "" when there is none.
pub fn metric_name(selector: &str) -> &str {
    let (name, rest) = selector.split_once('{').unwrap_or((selector, ""));
    if !name.trim().is_empty() {
        return name.trim();
    }
    let Some((_, after)) = rest.split_once(NAME) else { return "" };
    after.trim_start().strip_prefix('=').and_then(|v| v.trim_start().split('"').nth(1)).unwrap_or("")
}

/// `name{a="b"}` with one more matcher.
pub fn with_matcher(selector: &str, matcher: &str) -> String {
    let selector = selector.trim();
    match selector.strip_suffix('}') {
        Some(open) if open.trim_end().ends_with('{') => format!("{open}{matcher}}}"),
        Some(open) => format!("{},{matcher}}}", open.trim_end().trim_end_matches(',')),
        None => format!("{selector}{{{matcher}}}"),
    }
}

/// People name the histogram itself (`http_request_duration_seconds`) as often as its buckets.
fn bucket(selector: String) -> String {
    let name = metric_name(&selector).to_string();
    if name.is_empty() || name.ends_with("_bucket") {
        selector
    } else {
        selector.replacen(&name, &format!("{name}_bucket"), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(config: &[(&str, &str)], metrics: &[(&str, &[&str])]) -> Roles {
        let config = config.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Roles::resolve(&config, &|name| metrics.iter().any(|(m, _)| *m == name), &|name| {
            let found = metrics.iter().find(|(m, _)| *m == name).map(|(_, l)| *l).unwrap_or_default();
            found.iter().map(|l| l.to_string()).collect()
        })
    }

    #[test]
    fn what_is_configured_wins_and_keeps_its_matchers() {
        let roles = resolve(
            &[
                ("http_requests", r#"shop_requests{job="shop"}"#),
                ("status_label", "status"),
                ("latency", "shop_seconds"),
            ],
            &[("http_requests_total", &["code"])],
        );
        assert_eq!(roles.traffic("5m").unwrap(), r#"sum(rate(shop_requests{job="shop"}[5m]))"#);
        assert_eq!(
            roles.error_ratio("1m").unwrap(),
            r#"(sum(rate(shop_requests{job="shop",status=~"5.."}[1m])) or 0 * sum(rate(shop_requests{job="shop"}[1m]))) / (sum(rate(shop_requests{job="shop"}[1m])) > 0)"#
        );
        assert_eq!(
            roles.latency_quantile(0.95, "5m").unwrap(),
            "histogram_quantile(0.95, sum by (le) (rate(shop_seconds_bucket[5m])))"
        );
    }

    #[test]
    fn guesses_follow_what_exists_and_its_labels() {
        let roles = resolve(
            &[],
            &[
                ("http_server_requests_total", &["method", "status_code"]),
                ("node_cpu_seconds_total", &[]),
                (MEMORY_AVAILABLE, &[]),
            ],
        );
        assert_eq!(roles.requests.as_deref(), Some("http_server_requests_total"));
        assert_eq!(roles.status_label, "status_code");
        assert_eq!(roles.cpu_ratio("5m").unwrap(), r#"1 - avg(rate(node_cpu_seconds_total{mode="idle"}[5m]))"#);
        assert_eq!(
            roles.memory_ratio().unwrap(),
            "max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)"
        );
        assert_eq!((roles.latency_quantile(0.5, "5m"), roles.queue()), (None, None));
    }

    #[test]
    fn guesses_can_be_narrowed_and_what_is_configured_is_not() {
        let config = BTreeMap::from([("latency".to_string(), "shop_seconds_bucket".to_string())]);
        let roles = Roles::resolve_among(&config, Some("service=\"shop\""), &|_| true, &|_| vec!["code".into()]);
        assert_eq!(roles.requests.as_deref(), Some("http_requests_total{service=\"shop\"}"));
        assert_eq!(roles.latency_bucket.as_deref(), Some("shop_seconds_bucket"));
        assert_eq!(
            roles.memory_ratio().unwrap(),
            "max(1 - node_memory_MemAvailable_bytes{service=\"shop\"} / node_memory_MemTotal_bytes{service=\"shop\"})"
        );
    }

    #[test]
    fn nothing_known_gives_nothing() {
        let roles = resolve(&[], &[]);
        assert_eq!((roles.traffic("5m"), roles.error_ratio("5m"), roles.saturation("5m")), (None, None, None));
    }

    #[test]
    fn matchers_are_added_to_any_selector() {
        assert_eq!(with_matcher("up", "a=\"b\""), "up{a=\"b\"}");
        assert_eq!(with_matcher("up{}", "a=\"b\""), "up{a=\"b\"}");
        assert_eq!(with_matcher("up{x=\"}\"}", "a=\"b\""), "up{x=\"}\",a=\"b\"}");
        assert_eq!(metric_name(r#"{__name__="up",job="x"}"#), "up");
        assert_eq!(metric_name("up {job=\"x\"}"), "up");
    }
}
