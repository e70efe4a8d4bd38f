//! What a metric stands for: requests, CPU time, free memory, a queue's length. Judged by the metric's name and its
//! matchers, as exporters name things, never by the name of a rule.

use super::Family;
use crate::domain::metric::{MatchOp, Matcher};

/// How a metric behaves in the world that the rules are tried on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Role {
    /// A counter of requests; split by status where a status label is selected.
    Requests,
    /// A counter of failed requests only.
    FailedRequests,
    /// A recorded share of failed requests whose rule is not here.
    ErrorRatio,
    ErrorPercent,
    /// A counter of CPU seconds per mode.
    CpuModes,
    /// A counter of CPU seconds used, of one core.
    CpuSeconds,
    CpuRatio,
    CpuPercent,
    /// Share of the CPU that is idle.
    CpuIdlePercent,
    CpuCapacity(f64),
    MemoryTotal,
    MemoryAvailable,
    MemoryUsed,
    /// Share of what is available: Linux keeps little of it free, and the rest as cache.
    MemoryPart(f64),
    MemoryRatio,
    MemoryPercent,
    /// A counter of kills for want of memory, or of restarts.
    OomCounter,
    /// 1 once a container was killed, absent before.
    OomFlag,
    QueueLength,
    QueueCapacity,
    /// Age of the oldest message, in seconds.
    QueueAge,
    /// Counters of messages that came and went.
    QueueIn,
    QueueOut,
    /// An info metric or one that does not matter here: always 1.
    One,
}

/// Bytes of memory of every machine and container here.
pub const MEMORY_BYTES: f64 = 8e9;

/// Metrics of the platform itself: an alert on the cluster's own API server says nothing of the product.
const PLATFORM: &[&str] = &[
    "apiserver_",
    "etcd_",
    "coredns_",
    "kubelet_",
    "rest_client_",
    "kubeproxy_",
    "workqueue_",
    "scheduler_",
    "prometheus_",
    "alertmanager_",
    "controller_runtime_",
    "otelcol_",
    "promtail_",
    "fluentbit_",
    "fluentd_",
    "aggregator_",
    "cluster_operator_",
    "net_conntrack_",
];
/// Stores have a memory of their own; that it fills up says nothing of the machine's.
const STORES: &[&str] = &[
    "redis_",
    "mysql_",
    "pg_",
    "postgres",
    "mongodb_",
    "memcached_",
    "elasticsearch_",
    "kafka_",
    "rabbitmq_",
    "clickhouse",
    "cassandra_",
    "couchdb_",
    "nats_",
    "minio_",
    "ceph_",
    "zookeeper_",
    "zk_",
    "influxdb",
    "hadoop_",
    "vm_",
    "etcd_",
    "consul_",
    "vault_",
    "pulsar_",
    "solr_",
    "oracledb_",
    "mssql_",
    "patroni_",
    "pgbouncer_",
    "aws_rds_",
    "aws_elasticache_",
    "aws_docdb_",
    "aws_redshift_",
    "aws_es_",
];

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|p| name.starts_with(p))
}

fn has(name: &str, words: &[&str]) -> bool {
    words.iter().any(|w| name.contains(w))
}

/// A job that is the platform's: gRPC's own metrics are named alike everywhere.
fn of_platform(matcher: &Matcher) -> bool {
    let text = match &matcher.op {
        MatchOp::Equal(text) => text.as_str(),
        MatchOp::Regex(regex) => regex.as_str(),
        _ => return false,
    };
    let words = [
        "etcd",
        "apiserver",
        "kubelet",
        "coredns",
        "kube-dns",
        "prometheus",
        "alertmanager",
        "kube-controller",
        "kube-scheduler",
    ];
    // Exporters and containers are scraped under all sorts of jobs.
    matcher.label == "job" && has(&text.to_ascii_lowercase(), &words) && !text.contains("exporter")
}

/// Is there a matcher for `label` that takes `value`?
fn selects(matchers: &[Matcher], label: &str, value: &str) -> bool {
    matchers.iter().any(|m| m.label == label && m.matches_value(value))
}

/// `limit` is what the rule compares with, for gauges whose unit their name does not tell.
pub fn role(metric: &str, matchers: &[Matcher], limit: Option<f64>) -> Role {
    let name = metric.to_ascii_lowercase();
    let name = name.as_str();
    if starts(name, PLATFORM) || matchers.iter().any(of_platform) {
        return Role::One;
    }
    memory(name, matchers, limit)
        .or_else(|| cpu(name, matchers, limit))
        .or_else(|| queue(name))
        .or_else(|| requests(name, matchers, limit))
        .unwrap_or(Role::One)
}

fn percent(name: &str, limit: Option<f64>) -> bool {
    if has(name, &["percent", "pct"]) {
        return true;
    }
    // A micrometer gauge, and whatever is named a ratio, lies between 0 and 1.
    let ratio = name.contains("ratio") || matches!(name, "system_cpu_usage" | "process_cpu_usage");
    !ratio && limit.is_some_and(|l| l > 1.5)
}

fn memory(name: &str, matchers: &[Matcher], limit: Option<f64>) -> Option<Role> {
    let restarts = name.contains("restarts_total") && name.starts_with("kube_pod");
    if has(name, &["oom_kill", "oom_events", "oomkill", "oom_total"]) || restarts {
        return Some(Role::OomCounter);
    }
    if name.contains("terminated_reason") && selects(matchers, "reason", "OOMKilled") {
        return Some(Role::OomFlag);
    }
    let of_memory = selects(matchers, "resource", "memory") && !selects(matchers, "resource", "cpu");
    if !(has(name, &["memory", "_mem_", "_heap_", "rss_bytes", "workingset"]) || of_memory) {
        return None;
    }
    if starts(name, STORES)
        || has(
            name,
            &[
                "swap",
                "gpu",
                "dcgm",
                "failures",
                "failcnt",
                "kube_resourcequota",
                "objects",
                "slots",
                "timestamp",
                "_requests",
            ],
        )
    {
        return Some(Role::One);
    }
    let linux = name.starts_with("node_memory_");
    let role = if linux && name.contains("memfree") {
        Role::MemoryPart(0.2)
    } else if linux && has(name, &["_cached"]) {
        Role::MemoryPart(0.7)
    } else if linux && has(name, &["_buffers"]) {
        Role::MemoryPart(0.1)
    } else if has(name, &["memavailable", "_free", "available"]) {
        if percent(name, None) {
            return Some(Role::One);
        }
        Role::MemoryAvailable
    } else if has(name, &["cache", "buffers", "sreclaimable", "slab", "committed"]) {
        Role::MemoryPart(0.0)
    } else if has(name, &["percent", "pct", "ratio", "utilisation", "utilization"]) {
        if percent(name, limit) { Role::MemoryPercent } else { Role::MemoryRatio }
    } else if has(
        name,
        &["memtotal", "total_bytes", "limit", "max", "capacity", "allocatable", "physical_memory_bytes", "_total"],
    ) && !name.ends_with("usage_total")
    {
        Role::MemoryTotal
    } else if has(name, &["usage", "used", "working_set", "workingset", "rss", "resident", "memory_bytes", "heap"]) {
        // A bare "usage" next to 90 is a percentage, next to 1e9 it is bytes.
        match limit {
            Some(l) if !name.contains("bytes") && (1.5..=100.0).contains(&l) => Role::MemoryPercent,
            _ => Role::MemoryUsed,
        }
    } else {
        return Some(Role::One);
    };
    Some(role)
}

fn cpu(name: &str, matchers: &[Matcher], limit: Option<f64>) -> Option<Role> {
    let of_cpu = selects(matchers, "resource", "cpu") && !selects(matchers, "resource", "memory");
    if !(name.contains("cpu") || of_cpu) || starts(name, STORES) {
        return None;
    }
    if has(
        name,
        &["vcpu", "throttl", "cfs_periods", "guest", "frequency", "temp", "pressure", "steal", "iowait", "_requests"],
    ) {
        return Some(Role::One);
    }
    Some(
        if name == "node_cpu_seconds_total"
            || name == "node_cpu"
            || name.starts_with("windows_cpu_time")
            || name.starts_with("wmi_cpu_time")
        {
            Role::CpuModes
        } else if name.contains("cpu_quota") || name.contains("cpu_period") {
            Role::CpuCapacity(100_000.0)
        } else if name.contains("cpu_shares") {
            Role::CpuCapacity(1024.0)
        } else if has(name, &["limit", "allocatable", "capacity", "cores", "num_cpu", "cpu_count"]) {
            Role::CpuCapacity(1.0)
        } else if name.contains("seconds") {
            Role::CpuSeconds
        } else if name.contains("idle") {
            Role::CpuIdlePercent
        } else if has(name, &["usage", "used", "util", "percent", "ratio", "load_average", "busy"])
            && !name.contains("load_average")
        {
            if percent(name, limit) { Role::CpuPercent } else { Role::CpuRatio }
        } else {
            Role::One
        },
    )
}

/// Things that are called a queue or a lag and are no backlog of work.
const NO_QUEUES: &[&str] = &[
    "replication",
    "replica",
    "slave",
    "wal_",
    "transmit_queue",
    "network",
    "disk",
    "io_time",
    "hikaricp",
    "threadpool",
    "thread_pool",
    "tcp",
    "listen",
    "accept_queue",
    "node_",
    "container_",
    "windows_",
    "remote_storage",
    "notifications",
    "request_queue",
    "haproxy_",
    "nomad_",
    "queued_connections",
    "query_frontend",
    "query_scheduler",
    "queue_consumers",
    "scrape",
    "compaction",
    "gc_",
    "pod_status_phase",
    "pending_pods",
    "kube_",
];

fn queue(name: &str) -> Option<Role> {
    let words = [
        "queue",
        "backlog",
        "consumer_lag",
        "consumergroup_lag",
        "consumergroup_group_lag",
        "consumer_group_lag",
        "group_lag",
        "_lag_sum",
        "records_lag",
        "messages_ready",
        "messages_unack",
        "messages_visible",
        "num_pending",
        "oldest_message",
        "oldest_job",
        "jobs_waiting",
        "jobs_enqueued",
        "jobs_pending",
        "jobs_queued",
        "_queued",
        "undelivered_messages",
        "jobs_ready",
        "kafka_lag",
        "tasks_pending",
        "pending_messages",
        "pending_jobs",
        "messages_behind",
    ];
    let databases = ["mysql_", "pg_", "postgres", "mongodb_", "clickhouse", "freeradius"];
    if !has(name, &words) || has(name, NO_QUEUES) || starts(name, &databases) || name.contains("timestamp") {
        return None;
    }
    if name.contains("unack") {
        return Some(Role::QueueLength);
    }
    Some(if has(name, &["oldest", "_age", "latency", "wait_time", "delay_seconds", "lag_seconds"]) {
        Role::QueueAge
    } else if has(name, &["published", "enqueued_total", "incoming", "produced", "added_total"]) {
        Role::QueueIn
    } else if has(name, &["delivered", "acked", "_ack_total", "consumed", "processed", "dequeued", "completed"]) {
        Role::QueueOut
    } else if has(name, &["consumers", "fail", "error", "dropped", "duration", "restart"]) {
        Role::One
    } else if has(name, &["capacity", "_max", "limit"]) {
        Role::QueueCapacity
    } else {
        Role::QueueLength
    })
}

fn requests(name: &str, matchers: &[Matcher], limit: Option<f64>) -> Option<Role> {
    let about_requests = has(
        name,
        &[
            "http", "request", "response", "grpc", "_rq_", "rpc", "nginx", "haproxy", "traefik", "istio", "envoy",
            "ingress", "caddy",
        ],
    );
    let counter = has(name, &["total", "count", "bucket", "requests", "responses", "_xx", "errors", "sum", "5xx"]);
    let share = has(name, &["error", "5xx"]) && (has(name, &["ratio", "percent", "error_rate"]) || name.contains(':'));
    if share && !has(name, &["budget", "_total", "_count", "_bucket"]) {
        return Some(if percent(name, limit) { Role::ErrorPercent } else { Role::ErrorRatio });
    }
    if !about_requests || !counter || name.contains("probe_") || has(name, &["bytes", "size"]) {
        return None;
    }
    if name.ends_with("_sum") && !has(name, &["5xx", "5_xx", "count"]) {
        return Some(Role::One);
    }
    let failed = has(name, &["5xx", "5_xx", "_500_", "error", "failed", "failures", "exceptions"]);
    Some(if failed && status(matchers).is_none() { Role::FailedRequests } else { Role::Requests })
}

/// How servers say that it was their fault, and the same label's word for a good answer.
const BAD_AND_GOOD: &[(&str, &str)] = &[
    ("500", "200"),
    ("5xx", "2xx"),
    ("5XX", "2XX"),
    ("5", "2"),
    ("503", "200"),
    ("502", "200"),
    ("504", "200"),
    ("SERVER_ERROR", "SUCCESS"),
    ("Internal", "OK"),
    ("INTERNAL", "OK"),
    ("Unavailable", "OK"),
    ("13", "0"),
    ("error", "success"),
    ("ERROR", "OK"),
    ("STATUS_CODE_ERROR", "STATUS_CODE_UNSET"),
    ("failure", "success"),
    ("failed", "success"),
    ("fail", "success"),
];
/// Labels that tell how a request ended.
const STATUS: &[&str] =
    &["status", "code", "outcome", "result", "response", "class", "error", "success", "state", "rc"];

/// The status a selector asks for, or leaves out: its label, the word for a bad answer and the one for a good answer.
/// `None` when no matcher tells server errors from good answers.
pub fn status(matchers: &[Matcher]) -> Option<(&str, &'static str, &'static str)> {
    matchers.iter().find_map(|m| {
        let label = m.label.to_ascii_lowercase();
        if m.label == crate::domain::metric::NAME || label == "le" || !STATUS.iter().any(|s| label.contains(s)) {
            return None;
        }
        let (bad, good) = BAD_AND_GOOD.iter().find(|(bad, good)| m.matches_value(bad) != m.matches_value(good))?;
        // A gRPC number only where it is one; "5" is a class of HTTP only where it is one.
        let grpc = label.contains("grpc");
        ((*bad != "13" || grpc) && (*bad != "5" || label.contains("class"))).then_some((m.label.as_str(), *bad, *good))
    })
}

/// Does it take one server error only, and so miss those of a dead upstream (502, 503, 504)?
pub fn only_500(matchers: &[Matcher]) -> bool {
    let equal = |m: &Matcher| matches!(&m.op, MatchOp::Equal(v) if v == "500");
    matchers.iter().any(equal)
}

/// Is this selector what makes an alert one of the family? A counter that is not looked at over a range only tells how
/// many series there are.
pub fn triggers(family: Family, role: Role, matchers: &[Matcher], ranged: bool) -> bool {
    match family {
        Family::Errors => match role {
            Role::FailedRequests | Role::ErrorRatio | Role::ErrorPercent => true,
            Role::Requests => status(matchers).is_some(),
            _ => false,
        },
        Family::Cpu => match role {
            // Waiting for disks and stolen time are other troubles.
            Role::CpuModes if ranged => {
                let mode: Vec<&Matcher> = matchers.iter().filter(|m| m.label == "mode").collect();
                ["idle", "user"].iter().any(|v| mode.iter().all(|m| m.matches_value(v)))
            }
            Role::CpuSeconds => ranged,
            Role::CpuRatio | Role::CpuPercent | Role::CpuIdlePercent => true,
            _ => false,
        },
        Family::Memory => {
            matches!(
                role,
                // What is free, not what is cached: it is in every sum of the old kind.
                Role::MemoryPart(0.2)
                    | Role::MemoryAvailable
                    | Role::MemoryUsed
                    | Role::MemoryRatio
                    | Role::MemoryPercent
                    | Role::OomFlag
            ) || (role == Role::OomCounter
                && !matchers.iter().any(|m| matches!(&m.op, MatchOp::Equal(n) if n.contains("restarts"))))
        }
        Family::Backlog => matches!(role, Role::QueueLength | Role::QueueAge | Role::QueueIn | Role::QueueOut),
    }
}
