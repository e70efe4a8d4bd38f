//! Facts that a configuration file's content tells: compose services, Kubernetes objects, Prometheus rules, the forge.

use std::sync::LazyLock;

use regex::Regex;

use super::Fact;
use crate::gates::context::Repo;

/// Configuration files are small.
const BYTES_MAX: u64 = 256 * 1024;
/// Only so many YAML files are opened; a repository with more keeps its manifests elsewhere.
const YAML_FILES_MAX: usize = 1000;

/// (part of an image's name, kind, value).
const IMAGES: [(&str, &str, &str); 12] = [
    ("postgres", "database", "postgresql"),
    ("postgis", "database", "postgresql"),
    ("mysql", "database", "mysql"),
    ("mariadb", "database", "mysql"),
    ("mongo", "database", "mongodb"),
    ("redis", "cache", "redis"),
    ("valkey", "cache", "redis"),
    ("memcached", "cache", "memcached"),
    ("rabbitmq", "queue", "rabbitmq"),
    ("kafka", "queue", "kafka"),
    ("minio", "storage", "s3"),
    ("nginx", "proxy", "nginx"),
];

/// Objects worth knowing; the rest is noise.
const KINDS: [&str; 10] = [
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "CronJob",
    "Service",
    "Ingress",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "ScaledObject",
    "PrometheusRule",
];

static IMAGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s*(?:-\s*)?image:\s*["']?([^\s"'#]+)"#).expect("a pattern of ours"));
static KIND: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^kind:\s*([A-Za-z]+)\s*$").expect("a pattern of ours"));
static ALERT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*-?\s*alert:\s*\S").expect("a pattern of ours"));

pub fn look(repo: &Repo) -> Vec<Fact> {
    let mut out = Vec::new();
    let yaml = repo
        .files
        .iter()
        .filter(|f| f.bytes <= BYTES_MAX && [".yml", ".yaml"].iter().any(|e| f.path.to_lowercase().ends_with(e)));
    for file in yaml.take(YAML_FILES_MAX) {
        let Ok(text) = repo.read_text(&file.path, BYTES_MAX) else { continue };
        let manifest = text.lines().any(|l| l.starts_with("apiVersion:"));
        let mut groups = false;
        for (i, line) in text.lines().enumerate() {
            let at = Some(i as u32 + 1);
            if let Some(image) = IMAGE.captures(line) {
                let name = image[1].rsplit('/').next().unwrap_or_default().to_lowercase();
                for (_, kind, value) in IMAGES.iter().filter(|(part, _, _)| name.starts_with(part)) {
                    out.push(Fact::new(kind, *value, &file.path, at));
                }
            }
            if let (true, Some(kind)) = (manifest, KIND.captures(line))
                && KINDS.contains(&&kind[1])
            {
                out.push(Fact::new("kubernetes", &kind[1], &file.path, at));
            }
            groups |= line.starts_with("groups:") || line.trim() == "groups:";
            if groups && ALERT.is_match(line) {
                out.push(Fact::new("prometheus-rules", &file.path, &file.path, at));
                break;
            }
        }
    }
    out.extend(forge(repo));
    out
}

/// From the remote `origin`; credentials in the URL stay out.
fn forge(repo: &Repo) -> Option<Fact> {
    let url = repo.git.as_ref()?.run(&["config", "--get", "remote.origin.url"]).ok()?;
    let name = ["github", "gitlab", "bitbucket", "codeberg", "gitea", "forgejo", "sourcehut"]
        .into_iter()
        .find(|name| url.to_lowercase().contains(name))?;
    Some(Fact::new("forge", name, ".git/config", None))
}
