//! Metric source `host`: this machine, under node_exporter's names: CPU time by mode, memory, file systems, load, pressure,
//! OOM kills, network. Read from `/proc`, so Linux only.
//!
//! In a container the machine's memory is not ours to use: where a cgroup v2 limit is in force, `node_memory_MemTotal`
//! and `MemAvailable` are the limit's, and `container_…` series tell limit, use and throttling.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::collector::Target;
use super::{Collector, Context, MetricSource, Scrape, SourceError, check_labels, check_times, sample, service_of};
use crate::domain::clock::Timestamp;
use crate::domain::gap::GapReason;
use crate::domain::metric::LabelledSample;
use crate::domain::problem::Problem;
use crate::domain::units::Span;

/// File systems that hold no data of anybody.
const PSEUDO: [&str; 24] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "ramfs",
    "efivarfs",
];
/// Mount points below these belong to the system or to containers.
const SYSTEM_MOUNTS: [&str; 6] = ["/dev", "/proc", "/sys", "/run", "/var/lib/docker", "/var/lib/containers"];
/// A machine with more mounts than this (a container host) shows its first ones.
const MOUNTS_MAX: usize = 64;
/// A file in /proc is small; this ends a surprise.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The kernel counts CPU time in these units (USER_HZ), 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;
const CPU_MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const MEMORY_KEYS: [&str; 9] =
    ["MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapTotal", "SwapFree", "Dirty", "Shmem"];

/// `[metric.NAME.from.host]`: this machine.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service that runs on this machine. Default: the only one configured.
    #[serde(default)]
    pub service: Option<String>,
    /// Time between looks. Default: 15 s.
    #[serde(default = "interval_default")]
    pub interval: Span,
    /// Label `instance`. Default: the machine's name.
    #[serde(default)]
    pub instance: Option<String>,
    /// Labels added to every series.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

fn interval_default() -> Span {
    Span::secs(15)
}

/// A configuration without problems.
pub struct Checked(Config);

impl Config {
    /// Finds every problem. Pure.
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        check_times(self.interval, None, &mut problems);
        check_labels(&self.labels, &mut problems);
        if problems.is_empty() { Ok(Checked(self.clone())) } else { Err(problems) }
    }
}

impl Checked {
    pub(super) fn build(self, job: &str, ctx: &Context) -> Result<Vec<Collector>, Vec<Problem>> {
        let Checked(config) = self;
        let machine = Machine { proc: "/proc".into(), cgroup: "/sys/fs/cgroup".into() };
        if !machine.proc.join("stat").exists() {
            let problem = Problem::at(["interval"], "host series are read from /proc, which this system does not have")
                .hint("scrape a node_exporter with from.prometheus instead");
            return Err(vec![problem]);
        }
        let name = || read(&machine.proc.join("sys/kernel/hostname")).map(|n| n.trim().to_string());
        let instance = config.instance.clone().or_else(|| name().ok()).unwrap_or_else(|| "localhost".into());
        let target = Target {
            job,
            only: true,
            instance,
            service: service_of(config.service.as_ref(), ctx)?,
            labels: &config.labels,
            honor_labels: false,
            interval: config.interval.get(),
            // A dead network mount can hold statvfs for minutes.
            timeout: config.interval.get().min(Duration::from_secs(10)),
            sample_limit: 0,
        };
        Ok(vec![Collector::new(target, Box::new(machine), ctx)])
    }
}

/// Where the kernel's files are.
#[derive(Clone)]
struct Machine {
    proc: PathBuf,
    cgroup: PathBuf,
}

impl MetricSource for Machine {
    fn poll<'a>(&'a self, slot: Timestamp) -> BoxFuture<'a, Result<Scrape, SourceError>> {
        let machine = self.clone();
        async move {
            let looked = tokio::task::spawn_blocking(move || machine.look(slot)).await;
            let samples = looked
                .map_err(|e| SourceError::new(GapReason::Parse, e.to_string()))?
                .map_err(|e| SourceError::new(GapReason::Connect, e.to_string()))?;
            Ok(Scrape { samples, ..Scrape::default() })
        }
        .boxed()
    }
}

impl Machine {
    /// CPU and memory are there or the look failed; the rest is told as far as it is there.
    fn look(&self, slot: Timestamp) -> std::io::Result<Vec<LabelledSample>> {
        let mut out = Vec::new();
        let mut push = |name: &str, labels: &[(&str, &str)], value: f64| out.push(sample(name, labels, slot, value));
        cpu(&read(&self.proc.join("stat"))?, &mut push);
        let mut memory = meminfo(&read(&self.proc.join("meminfo"))?);
        self.container(&mut memory, &mut push);
        for (key, bytes) in &memory {
            push(&format!("node_memory_{key}_bytes"), &[], *bytes);
        }
        let optional = |name: &str| read(&self.proc.join(name)).unwrap_or_default();
        for (name, value) in ["node_load1", "node_load5", "node_load15"].iter().zip(numbers(&optional("loadavg"))) {
            push(name, &[], value);
        }
        if let Some(kills) = value_of(&optional("vmstat"), "oom_kill") {
            push("node_vmstat_oom_kill", &[], kills);
        }
        for (resource, kinds) in [("cpu", &PRESSURE_CPU[..]), ("memory", &PRESSURE_BOTH), ("io", &PRESSURE_BOTH)] {
            let text = optional(&format!("pressure/{resource}"));
            for (line, word) in kinds {
                if let Some(seconds) = pressure(&text, line) {
                    push(&format!("node_pressure_{resource}_{word}_seconds_total"), &[], seconds);
                }
            }
        }
        for (device, received, sent) in network(&optional("self/net/dev")) {
            push("node_network_receive_bytes_total", &[("device", &device)], received);
            push("node_network_transmit_bytes_total", &[("device", &device)], sent);
        }
        filesystems(&optional("self/mounts"), &mut push);
        Ok(out)
    }

    /// cgroup v2: `memory.max` lies at the root of the tree only inside a container (a host's root has none).
    fn container(&self, memory: &mut BTreeMap<&'static str, f64>, push: &mut impl FnMut(&str, &[(&str, &str)], f64)) {
        let file = |name: &str| read(&self.cgroup.join(name)).unwrap_or_default();
        let stat = file("cpu.stat");
        let (limit, current) = (file("memory.max"), file("memory.current"));
        if limit.is_empty() {
            return;
        }
        for (key, name, scale) in [
            ("usage_usec", "container_cpu_usage_seconds_total", 1e6),
            ("nr_periods", "container_cpu_cfs_periods_total", 1.0),
            ("nr_throttled", "container_cpu_cfs_throttled_periods_total", 1.0),
            ("throttled_usec", "container_cpu_cfs_throttled_seconds_total", 1e6),
        ] {
            if let Some(value) = value_of(&stat, key) {
                push(name, &[], value / scale);
            }
        }
        if let [quota, period] = numbers(&file("cpu.max"))[..] {
            push("container_spec_cpu_limit_cores", &[], quota / period);
        }
        let Ok(current) = current.trim().parse::<f64>() else { return };
        let reclaimable = value_of(&file("memory.stat"), "inactive_file").unwrap_or(0.0);
        let working_set = (current - reclaimable).max(0.0);
        push("container_memory_working_set_bytes", &[], working_set);
        let Ok(limit) = limit.trim().parse::<f64>() else { return };
        push("container_spec_memory_limit_bytes", &[], limit);
        if memory.get("MemTotal").is_some_and(|total| limit < *total) {
            memory.insert("MemTotal", limit);
            memory.insert("MemAvailable", (limit - working_set).max(0.0));
        }
    }
}

const PRESSURE_CPU: [(&str, &str); 1] = [("some", "waiting")];
const PRESSURE_BOTH: [(&str, &str); 2] = [("some", "waiting"), ("full", "stalled")];

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The leading numbers of a line.
fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

/// `key value` on a line of its own.
fn value_of(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn cpu(stat: &str, push: &mut impl FnMut(&str, &[(&str, &str)], f64)) {
    for line in stat.lines() {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim();
        if name == "btime" {
            if let Ok(seconds) = rest.parse() {
                push("node_boot_time_seconds", &[], seconds);
            }
            continue;
        }
        // `cpu` alone is the sum of the others.
        let Some(cpu) = name.strip_prefix("cpu").filter(|n| !n.is_empty()) else { continue };
        for (mode, ticks) in CPU_MODES.iter().zip(numbers(rest)) {
            push("node_cpu_seconds_total", &[("cpu", cpu), ("mode", mode)], ticks / TICKS_PER_SECOND);
        }
    }
}

fn meminfo(text: &str) -> BTreeMap<&'static str, f64> {
    let mut out = BTreeMap::new();
    for line in text.lines() {
        let Some((key, rest)) = line.split_once(':') else { continue };
        let known = MEMORY_KEYS.iter().find(|k| **k == key);
        if let (Some(key), Some(kib)) = (known, numbers(rest).first()) {
            out.insert(*key, kib * 1024.0);
        }
    }
    out
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345` in microseconds.
fn pressure(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(kind))?;
    line.split_once("total=")?.1.trim().parse::<f64>().ok().map(|us| us / 1e6)
}

/// Device, bytes received, bytes sent; without the loopback.
fn network(text: &str) -> Vec<(String, f64, f64)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(device, _)| device.trim() != "lo")
        .filter_map(|(device, rest)| {
            let n = numbers(rest);
            Some((device.trim().to_string(), *n.first()?, *n.get(8)?))
        })
        .collect()
}

/// Device, mount point and type of what may fill up. Spaces in a mount point are written `\040`.
fn mounts(text: &str) -> Vec<(String, String, String)> {
    let mut seen = std::collections::BTreeSet::new();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(|w| w.replace("\\040", " "));
            Some((words.next()?, words.next()?, words.next()?))
        })
        .filter(|(_, at, kind)| {
            let system = |base: &&str| at.strip_prefix(*base).is_some_and(|r| r.is_empty() || r.starts_with('/'));
            !PSEUDO.contains(&kind.as_str()) && !SYSTEM_MOUNTS.iter().any(system)
        })
        .filter(|(_, at, _)| seen.insert(at.clone()))
        .take(MOUNTS_MAX)
        .collect()
}

fn filesystems(text: &str, push: &mut impl FnMut(&str, &[(&str, &str)], f64)) {
    for (device, at, kind) in mounts(text) {
        let Some(space) = space(&at).filter(|s| s.size > 0.0) else { continue };
        let labels = [("device", device.as_str()), ("fstype", &kind), ("mountpoint", &at)];
        push("node_filesystem_size_bytes", &labels, space.size);
        push("node_filesystem_free_bytes", &labels, space.free);
        push("node_filesystem_avail_bytes", &labels, space.avail);
        push("node_filesystem_files", &labels, space.files);
        push("node_filesystem_files_free", &labels, space.files_free);
    }
}

struct Space {
    size: f64,
    free: f64,
    avail: f64,
    files: f64,
    files_free: f64,
}

#[cfg(unix)]
fn space(at: &str) -> Option<Space> {
    let s = rustix::fs::statvfs(at).ok()?;
    let block = s.f_frsize as f64;
    Some(Space {
        size: s.f_blocks as f64 * block,
        free: s.f_bfree as f64 * block,
        avail: s.f_bavail as f64 * block,
        files: s.f_files as f64,
        files_free: s.f_ffree as f64,
    })
}

#[cfg(not(unix))]
fn space(_: &str) -> Option<Space> {
    None
}

#[cfg(test)]
mod tests {
    use super::super::{self as metric, Batch, test_context};
    use super::*;

    fn fixture(cgroup: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine { proc: dir.path().join("proc"), cgroup: dir.path().join("cgroup") };
        let files = [
            (
                "stat",
                "cpu  30 0 0 0 0 0 0 0 0 0\ncpu0 100 2 300 4000 50 6 70 8 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\nbtime 1700000000\n",
            ),
            (
                "meminfo",
                "MemTotal:        8000 kB\nMemFree: 1000 kB\nMemAvailable:    4000 kB\nHugePages_Total:       0\n",
            ),
            ("loadavg", "0.50 0.40 0.30 1/200 1234\n"),
            ("vmstat", "nr_free_pages 1\noom_kill 3\n"),
            (
                "pressure/memory",
                "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n",
            ),
            (
                "self/net/dev",
                "Inter-|   Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\n",
            ),
            (
                "self/mounts",
                "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /run/lock tmpfs rw 0 0\n/dev/sdb /no\\040such ext4 rw 0 0\n",
            ),
        ];
        let all = files.iter().map(|(n, t)| (machine.proc.join(n), t));
        for (path, text) in all.chain(cgroup.iter().map(|(n, t)| (machine.cgroup.join(n), t))) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        (dir, machine)
    }

    fn shown(machine: &Machine) -> BTreeMap<String, f64> {
        let samples = machine.look(Timestamp::from_ms(0)).unwrap();
        samples.into_iter().map(|s| (s.labels.to_string(), s.sample.v)).collect()
    }

    #[test]
    fn series_have_the_names_of_node_exporter() {
        let (_dir, machine) = fixture(&[]);
        let series = shown(&machine);
        for (name, value) in [
            ("node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}", 40.0),
            ("node_cpu_seconds_total{cpu=\"1\",mode=\"steal\"}", 0.08),
            ("node_memory_MemTotal_bytes", 8_192_000.0),
            ("node_memory_MemAvailable_bytes", 4_096_000.0),
            ("node_load5", 0.4),
            ("node_vmstat_oom_kill", 3.0),
            ("node_pressure_memory_stalled_seconds_total", 0.5),
            ("node_network_transmit_bytes_total{device=\"eth0\"}", 200.0),
            ("node_boot_time_seconds", 1_700_000_000.0),
        ] {
            assert_eq!(series.get(name), Some(&value), "{name}");
        }
        assert!(series["node_filesystem_size_bytes{device=\"/dev/sda1\",fstype=\"ext4\",mountpoint=\"/\"}"] > 0.0);
        let mounts = series.keys().filter(|k| k.starts_with("node_filesystem_size_bytes")).count();
        assert_eq!(mounts, 1, "pseudo, system and missing mounts are left out");
        assert_eq!(series.keys().filter(|k| k.contains("\"lo\"") || k.starts_with("container_")).count(), 0);
    }

    #[test]
    fn a_containers_limit_wins_over_the_machine() {
        let (_dir, machine) = fixture(&[
            ("memory.max", "2048000\n"),
            ("memory.current", "1500000\n"),
            ("memory.stat", "anon 1\ninactive_file 500000\n"),
            ("cpu.max", "150000 100000\n"),
            ("cpu.stat", "usage_usec 2000000\nnr_periods 10\nnr_throttled 4\n"),
        ]);
        let series = shown(&machine);
        assert_eq!(series["node_memory_MemTotal_bytes"], 2_048_000.0);
        assert_eq!(series["node_memory_MemAvailable_bytes"], 1_048_000.0);
        assert_eq!(series["container_spec_cpu_limit_cores"], 1.5);
        assert_eq!(series["container_cpu_cfs_throttled_periods_total"], 4.0);
        let (_dir, unlimited) =
            fixture(&[("memory.max", "max\n"), ("memory.current", "5\n"), ("cpu.max", "max 100000\n")]);
        let series = shown(&unlimited);
        assert_eq!(series["node_memory_MemTotal_bytes"], 8_192_000.0);
        assert_eq!(series.get("container_spec_cpu_limit_cores"), None);
    }

    #[tokio::test]
    async fn a_machine_that_cannot_be_read_is_a_gap() {
        let (dir, machine) = fixture(&[]);
        drop(dir);
        let error = machine.poll(Timestamp::from_ms(0)).await.unwrap_err();
        assert_eq!(error.reason, GapReason::Connect);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn this_machine_answers() {
        let config = toml::from_str("[from.host]\n").unwrap();
        let mut collector = metric::build("host", &config, &test_context()).unwrap().remove(0);
        let batch: Batch = collector.collect(Timestamp::from_ms(0)).await;
        assert_eq!(batch.gap, None);
        let total =
            batch.flattened().samples.into_iter().find(|s| s.labels.name() == "node_memory_MemTotal_bytes").unwrap();
        assert!(total.sample.v > 1e6 && total.labels.get("service") == Some("shop"));
    }
}
