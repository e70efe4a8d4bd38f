//! Rules written by hand with what a person would say of each. `good` and `weak` may have reasons, `bad` must.

use super::Family::{self, Backlog, Cpu, Errors, Memory};
use super::grade::Standing::{self, Bad, Good, Unproved, Weak};

/// What is to be said of a rule: `None`, that it is not of the family.
type Truth = Option<(Standing, &'static [&'static str])>;

const fn good() -> Truth {
    Some((Good, &[]))
}
const fn weak(reasons: &'static [&'static str]) -> Truth {
    Some((Weak, reasons))
}
const fn bad(reasons: &'static [&'static str]) -> Truth {
    Some((Bad, reasons))
}
const fn unproved(reasons: &'static [&'static str]) -> Truth {
    Some((Unproved, reasons))
}

/// Family, expression, `for`, truth.
pub const RULES: &[(Family, &str, &str, Truth)] = &[
    // Errors that are right.
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        good(),
    ),
    (
        Errors,
        "100 * sum by (job) (rate(http_requests_total{code=~\"5.*\"}[5m])) / sum by (job) (rate(http_requests_total[5m])) > 5",
        "2m",
        good(),
    ),
    (
        Errors,
        "sum by (service) (rate(http_server_requests_seconds_count{outcome=\"SERVER_ERROR\"}[5m])) / sum by (service) (rate(http_server_requests_seconds_count[5m])) > 0.05",
        "5m",
        good(),
    ),
    (
        Errors,
        "sum(rate(haproxy_server_http_responses_total{code=\"5xx\"}[1m])) by (proxy) * 100 / sum(rate(haproxy_server_http_responses_total[1m])) by (proxy) > 5",
        "1m",
        good(),
    ),
    (
        Errors,
        "sum(rate(traefik_service_requests_total{code=~\"5.*\"}[3m])) by (service) / sum(rate(traefik_service_requests_total[3m])) by (service) * 100 > 5",
        "1m",
        good(),
    ),
    (
        Errors,
        "sum(rate(istio_requests_total{reporter=\"destination\",response_code=~\"5.*\"}[5m])) / sum(rate(istio_requests_total{reporter=\"destination\"}[5m])) > 0.05",
        "1m",
        good(),
    ),
    (
        Errors,
        "sum(rate(nginx_ingress_controller_requests{status=~\"5..\",ingress!=\"\"}[2m])) by (ingress) / sum(rate(nginx_ingress_controller_requests[2m])) by (ingress) > 0.02",
        "3m",
        good(),
    ),
    (
        Errors,
        "sum(rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\"}[5m])) / sum(rate(envoy_cluster_upstream_rq_xx[5m])) > 0.05",
        "5m",
        good(),
    ),
    (
        Errors,
        "sum(rate(grpc_server_handled_total{grpc_code=~\"Internal|Unavailable|Unknown\"}[5m])) / sum(rate(grpc_server_handled_total[5m])) > 0.05",
        "5m",
        good(),
    ),
    (Errors, "sum(rate(http_request_errors_total[5m])) / sum(rate(http_requests_total[5m])) > 0.05", "5m", good()),
    (
        Errors,
        "1 - sum(rate(http_requests_total{status!~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        good(),
    ),
    (
        Errors,
        "(sum(rate(http_requests_total{status=~\"5..\"}[5m])) or vector(0)) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        good(),
    ),
    (
        Errors,
        "(sum(rate(http_requests_total{status=~\"5..\"}[1h])) / sum(rate(http_requests_total[1h])) > 14.4 * 0.001 and sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 14.4 * 0.001) or (sum(rate(http_requests_total{status=~\"5..\"}[6h])) / sum(rate(http_requests_total[6h])) > 6 * 0.001 and sum(rate(http_requests_total{status=~\"5..\"}[30m])) / sum(rate(http_requests_total[30m])) > 6 * 0.001)",
        "2m",
        good(),
    ),
    (Errors, "http_requests:error_ratio > 0.05", "5m", good()),
    (Errors, "sum(http_requests:errors) / sum(http_requests:all) > 0.05", "5m", good()),
    (
        Errors,
        "sum without (status) (rate(http_requests_total{status=~\"5..\"}[5m])) / ignoring (status) sum without (status) (rate(http_requests_total[5m])) > 0.05",
        "5m",
        good(),
    ),
    (
        Errors,
        "sum(rate(http_request_duration_seconds_count{status_code=~\"5..\"}[5m])) / sum(rate(http_request_duration_seconds_count[5m])) > 0.01",
        "10m",
        good(),
    ),
    (
        Errors,
        "sum(rate(http_requests_total{result=\"error\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        good(),
    ),
    // Errors that are weak.
    (Errors, "sum(rate(http_requests_total{status=~\"5..\"}[5m])) > 0.5", "5m", weak(&["absolute"])),
    (Errors, "increase(http_requests_total{status=~\"5..\"}[5m]) > 10", "1m", weak(&["absolute"])),
    (
        Errors,
        "sum(rate(http_requests_total{status=\"500\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        weak(&["only-500"]),
    ),
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "30m",
        weak(&["late"]),
    ),
    (Errors, "job:http_error_ratio:now > 0.05", "0s", weak(&["no-for"])),
    // Errors that are wrong.
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 5",
        "5m",
        bad(&["percent-against-ratio"]),
    ),
    (
        Errors,
        "100 * sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        bad(&["fires-when-healthy"]),
    ),
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) < 0.05",
        "5m",
        bad(&["inverted"]),
    ),
    (Errors, "sum(rate(http_requests_total{status=~\"5..\"}[5m])) > 0", "5m", bad(&["fires-when-healthy"])),
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.5",
        "5m",
        bad(&["too-high"]),
    ),
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\",env=\"staging\"}[5m])) / sum(rate(http_requests_total{env=\"staging\"}[5m])) > 0.05",
        "5m",
        bad(&["staging-only"]),
    ),
    (
        Errors,
        "sum by (status) (rate(http_requests_total{status=~\"5..\"}[5m])) / sum by (method) (rate(http_requests_total[5m])) > 0.05",
        "5m",
        bad(&["never-fires"]),
    ),
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "2h",
        bad(&["late"]),
    ),
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) or vector(0) > 0.05",
        "5m",
        bad(&["fires-when-healthy"]),
    ),
    // Not about server errors.
    (
        Errors,
        "sum(rate(http_requests_total{status=~\"4..\"}[5m])) / sum(rate(http_requests_total[5m])) > 0.05",
        "5m",
        None,
    ),
    (Errors, "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) > 1", "5m", None),
    (
        Errors,
        "sum(rate(apiserver_request_total{code=~\"5..\"}[5m])) / sum(rate(apiserver_request_total[5m])) > 0.05",
        "5m",
        None,
    ),
    (Errors, "sum(rate(http_requests_total{status=~\"5..\"}[5m]))", "5m", None),
    (Errors, "up == 0", "5m", None),
    // CPU that is right.
    (Cpu, "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 > 80", "5m", good()),
    (Cpu, "1 - avg by (instance) (irate(node_cpu_seconds_total{mode=\"idle\"}[5m])) > 0.8", "5m", good()),
    (Cpu, "avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) < 0.2", "5m", good()),
    (
        Cpu,
        "sum by (instance) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m])) / count by (instance) (node_cpu_seconds_total{mode=\"idle\"}) > 0.8",
        "5m",
        good(),
    ),
    (
        Cpu,
        "(sum by (instance) (avg by (mode, instance) (rate(node_cpu_seconds_total{mode!~\"idle|iowait\"}[2m]))) > 0.8) * on (instance) group_left (nodename) node_uname_info{nodename=~\".+\"}",
        "2m",
        good(),
    ),
    (
        Cpu,
        "sum by (pod) (rate(container_cpu_usage_seconds_total{container!=\"\"}[5m])) / sum by (pod) (kube_pod_container_resource_limits{resource=\"cpu\"}) > 0.8",
        "5m",
        good(),
    ),
    (
        Cpu,
        "sum(rate(container_cpu_usage_seconds_total{container!=\"\"}[5m])) by (pod, container) / sum(container_spec_cpu_quota{container!=\"\"} / container_spec_cpu_period{container!=\"\"}) by (pod, container) * 100 > 80",
        "2m",
        good(),
    ),
    (Cpu, "rate(process_cpu_seconds_total{job=\"shop\"}[5m]) > 0.8", "5m", good()),
    (Cpu, "100 - (avg by (instance) (rate(windows_cpu_time_total{mode=\"idle\"}[2m])) * 100) > 80", "0s", good()),
    (Cpu, "system_cpu_usage > 0.8", "5m", good()),
    (Cpu, "cpu_usage_percent > 80", "5m", good()),
    (Cpu, "instance:node_cpu:busy > 0.8", "5m", good()),
    // CPU that is weak.
    (
        Cpu,
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 > 50",
        "5m",
        weak(&["too-low"]),
    ),
    (
        Cpu,
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 > 88",
        "5m",
        weak(&["too-high"]),
    ),
    (Cpu, "system_cpu_usage > 0.8", "0s", weak(&["no-for"])),
    (
        Cpu,
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 > 80",
        "40m",
        weak(&["late"]),
    ),
    // CPU that is wrong.
    (
        Cpu,
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 > 90",
        "5m",
        bad(&["too-high"]),
    ),
    (
        Cpu,
        "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) > 80",
        "5m",
        bad(&["percent-against-ratio"]),
    ),
    (
        Cpu,
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 < 80",
        "5m",
        bad(&["inverted"]),
    ),
    (Cpu, "avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) > 0.2", "5m", bad(&["inverted"])),
    (
        Cpu,
        "100 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m])) * 100 > 0.8",
        "5m",
        bad(&["fires-when-healthy"]),
    ),
    (Cpu, "sum by (instance) (rate(node_cpu_seconds_total{mode!=\"idle\"}[5m])) > 3", "5m", bad(&["never-fires"])),
    (Cpu, "system_cpu_usage > 80", "5m", bad(&["percent-against-ratio"])),
    // Not CPU use.
    (Cpu, "avg by (instance) (rate(node_cpu_seconds_total{mode=\"iowait\"}[5m])) * 100 > 10", "5m", None),
    (
        Cpu,
        "rate(container_cpu_cfs_throttled_periods_total[5m]) / rate(container_cpu_cfs_periods_total[5m]) > 0.25",
        "5m",
        None,
    ),
    (Cpu, "node_load1 > 4", "5m", None),
    (Cpu, "redis_cpu_user_seconds_total > 80", "5m", None),
    // Memory that is right.
    (Memory, "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100 < 10", "2m", good()),
    (Memory, "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > 0.9", "5m", good()),
    (
        Memory,
        "100 * (node_memory_MemTotal_bytes - node_memory_MemFree_bytes - node_memory_Buffers_bytes - node_memory_Cached_bytes) / node_memory_MemTotal_bytes > 85",
        "5m",
        good(),
    ),
    (
        Memory,
        "sum by (pod) (container_memory_working_set_bytes{container!=\"\"}) / sum by (pod) (kube_pod_container_resource_limits{resource=\"memory\"}) > 0.9",
        "5m",
        good(),
    ),
    (Memory, "container_memory_working_set_bytes{image!=\"\"} / container_spec_memory_limit_bytes > 0.9", "5m", good()),
    (Memory, "(container_memory_usage_bytes / (container_spec_memory_limit_bytes > 0)) * 100 > 80", "2m", good()),
    (
        Memory,
        "sum by (instance) (jvm_memory_used_bytes{area=\"heap\"}) / sum by (instance) (jvm_memory_max_bytes{area=\"heap\"}) * 100 > 80",
        "2m",
        good(),
    ),
    (Memory, "100 - windows_os_physical_memory_free_bytes / windows_cs_physical_memory_bytes * 100 > 90", "2m", good()),
    // Memory that is weak.
    (Memory, "increase(node_vmstat_oom_kill[1m]) > 0", "0s", weak(&["after-the-fact"])),
    (
        Memory,
        "kube_pod_container_status_last_terminated_reason{reason=\"OOMKilled\"} == 1",
        "0s",
        weak(&["after-the-fact"]),
    ),
    (Memory, "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.03", "5m", weak(&["too-high"])),
    (Memory, "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1", "0s", weak(&["no-for"])),
    (Memory, "process_resident_memory_bytes > 2e9", "5m", unproved(&["absolute"])),
    // Memory that is wrong.
    (Memory, "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > 0.1", "5m", bad(&["inverted"])),
    (Memory, "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 10", "5m", bad(&["fires-when-healthy"])),
    (Memory, "node_memory_MemFree_bytes / node_memory_MemTotal_bytes < 0.2", "5m", bad(&["fires-when-healthy"])),
    (
        Memory,
        "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes > 90",
        "5m",
        bad(&["percent-against-ratio"]),
    ),
    // Not memory in use.
    (Memory, "(1 - node_memory_SwapFree_bytes / node_memory_SwapTotal_bytes) * 100 > 80", "2m", None),
    (Memory, "redis_memory_used_bytes / redis_memory_max_bytes > 0.9", "2m", None),
    (Memory, "increase(kube_pod_container_status_restarts_total[1h]) > 5", "0s", None),
    // Backlogs that are right.
    (Backlog, "rabbitmq_queue_messages_ready > 100 and deriv(rabbitmq_queue_messages_ready[10m]) > 0", "5m", good()),
    (Backlog, "deriv(kafka_consumergroup_lag[10m]) > 0", "5m", good()),
    (Backlog, "delta(sum by (consumergroup) (kafka_consumergroup_lag)[10m:1m]) > 0", "3m", good()),
    (Backlog, "predict_linear(rabbitmq_queue_messages[10m], 3600) > 10000", "2m", good()),
    (
        Backlog,
        "rate(rabbitmq_queue_messages_published_total[5m]) > 1.1 * rate(rabbitmq_queue_messages_delivered_total[5m])",
        "5m",
        good(),
    ),
    (Backlog, "sidekiq_queue_latency_seconds > 300", "2m", good()),
    // Backlogs that are weak.
    (Backlog, "rabbitmq_queue_messages_ready > 1000", "2m", weak(&["fixed-size"])),
    (Backlog, "sum by (consumergroup, topic) (kafka_consumergroup_lag) > 10000", "1m", weak(&["fixed-size"])),
    (Backlog, "bullmq_queue_waiting_jobs > 500", "0s", weak(&["fixed-size", "no-for"])),
    // Backlogs that are wrong.
    (Backlog, "rabbitmq_queue_messages_ready < 1000", "2m", bad(&["inverted"])),
    (Backlog, "rabbitmq_queue_messages_ready > 0", "2m", bad(&["fires-when-healthy"])),
    (Backlog, "rabbitmq_queue_messages_ready > 1e12", "2m", bad(&["never-fires"])),
    // Not a backlog.
    (Backlog, "rabbitmq_queue_consumers == 0", "2m", None),
    (Backlog, "pg_replication_lag_seconds > 30", "2m", None),
    (Backlog, "node_netstat_TcpExt_ListenOverflows > 0", "2m", None),
];

/// Recording rules that some of them rest on.
pub const RECORDS: &[(&str, &str)] = &[
    ("http_requests:errors", "sum by (job) (rate(http_requests_total{status=~\"5..\"}[5m]))"),
    ("http_requests:all", "sum by (job) (rate(http_requests_total[5m]))"),
    ("http_requests:error_ratio", "http_requests:errors / http_requests:all"),
    ("instance:node_cpu:busy", "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m]))"),
];
