//! Facts that a configuration file's content tells: compose services, Kubernetes objects, Prometheus rules, Alertmanager,
//! Grafana, databases by URL or adapter, OpenAPI, owners, systemd units, the forge.

use std::sync::LazyLock;

use regex::Regex;

use super::Fact;
use super::own::Own;
use crate::gates::context::Repo;
use crate::gates::forge::origin::Origin;

/// Configuration files are small.
const BYTES_MAX: u64 = 256 * 1024;
/// An OpenAPI document says what it is in its first lines.
const HEAD_BYTES: u64 = 4 * 1024;
/// Only so many YAML files are opened; a repository with more keeps its manifests elsewhere.
const YAML_FILES_MAX: usize = 1000;
/// And so many others of each kind.
const FILES_MAX: usize = 60;

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a pattern of ours"));
    };
}

/// (how an image's name begins, kind, value).
const IMAGES: [(&str, &str, &str); 22] = [
    ("postgres", "database", "postgresql"),
    ("postgis", "database", "postgresql"),
    ("timescaledb", "database", "postgresql"),
    ("mysql", "database", "mysql"),
    ("mariadb", "database", "mysql"),
    ("mongo", "database", "mongodb"),
    ("clickhouse", "database", "clickhouse"),
    ("cassandra", "database", "cassandra"),
    ("elasticsearch", "search", "elasticsearch"),
    ("opensearch", "search", "opensearch"),
    ("meilisearch", "search", "meilisearch"),
    ("redis", "cache", "redis"),
    ("valkey", "cache", "redis"),
    ("keydb", "cache", "redis"),
    ("dragonfly", "cache", "redis"),
    ("memcached", "cache", "memcached"),
    ("rabbitmq", "queue", "rabbitmq"),
    ("kafka", "queue", "kafka"),
    ("nats", "queue", "nats"),
    ("minio", "storage", "s3"),
    ("nginx", "proxy", "nginx"),
    ("caddy", "proxy", "caddy"),
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

/// (how a URL or an adapter's name begins, kind, value).
const SCHEMES: [(&str, &str, &str); 16] = [
    ("postgres", "database", "postgresql"),
    ("pgsql", "database", "postgresql"),
    ("postgis", "database", "postgresql"),
    ("mysql", "database", "mysql"),
    ("trilogy", "database", "mysql"),
    ("mariadb", "database", "mysql"),
    ("mongodb", "database", "mongodb"),
    ("sqlserver", "database", "sqlserver"),
    ("sqlite", "database", "sqlite"),
    ("clickhouse", "database", "clickhouse"),
    ("cockroach", "database", "cockroachdb"),
    ("rediss", "cache", "redis"),
    ("redis", "cache", "redis"),
    ("memcached", "cache", "memcached"),
    ("amqp", "queue", "rabbitmq"),
    ("kafka", "queue", "kafka"),
];

pattern!(IMAGE, r#"^\s*(?:-\s*)?image:\s*["']?([^\s"'#]+)"#);
pattern!(KIND, r"^kind:\s*([A-Za-z]+)\s*$");
pattern!(ALERT, r"^\s*-?\s*alert:\s*\S");
pattern!(
    URL_NAME,
    r#"^[\s#-]*(?:export\s+)?"?([A-Z][A-Z0-9_]*(?:URL|URI|DSN|DATABASE|BROKER|CONNECTION)[A-Z0-9_]*)"?\s*[:=]\s*["']?(?:jdbc:)?([a-z0-9]+)(?:\+[a-z0-9]+)?:"#
);
pattern!(JDBC, r"jdbc:([a-z0-9]+):");
pattern!(
    JOBS,
    r"\b(celery|sidekiq|dramatiq|resque|good_job|solid_queue|delayed_job|huey_consumer|horizon|queue:work|rq worker|messenger:consume)\b"
);
pattern!(OPENAPI, r#"(?m)^\s*["']?(openapi|swagger)["']?\s*:\s*["']?\d"#);
pattern!(OWNER, r"(?:^|\s)(@[A-Za-z0-9][\w./-]*|[\w.+-]+@[\w-]+\.[\w.-]+)");

pub fn look(repo: &Repo, own: &mut Own) -> Vec<Fact> {
    let mut out = Vec::new();
    let yaml = repo.files.iter().filter(|f| {
        f.bytes <= BYTES_MAX
            && [".yml", ".yaml"].iter().any(|e| f.path.ends_with(e))
            && !f.path.starts_with(".github/")
            && !f.path.contains("/locales/")
    });
    let yaml: Vec<&str> = yaml.map(|f| f.path.as_str()).filter(|path| own.has(path)).take(YAML_FILES_MAX).collect();
    for path in yaml {
        if let Ok(text) = repo.read_text(path, BYTES_MAX) {
            of_yaml(path, &text, &mut out);
        }
    }
    let mut left = FILES_MAX;
    for file in repo.files.iter().filter(|f| f.bytes <= BYTES_MAX) {
        let Some(read) = reader(&file.path).filter(|_| left > 0 && own.has(&file.path)) else { continue };
        left -= 1;
        if let Ok(text) = repo.read_text(&file.path, BYTES_MAX) {
            read(&file.path, &text, &mut out);
        }
    }
    out.extend(openapi(repo, own));
    out.extend(owners(repo));
    out.extend(forge(repo));
    out
}

fn of_yaml(path: &str, text: &str, out: &mut Vec<Fact>) {
    let top = |key: &str| text.lines().position(|l| l.starts_with(key)).map(|i| i as u32 + 1);
    let manifest = top("apiVersion:").is_some();
    let (mut groups, mut rules) = (false, false);
    for (i, line) in text.lines().enumerate() {
        let at = Some(i as u32 + 1);
        if let Some(image) = IMAGE.captures(line) {
            let name = image[1].rsplit('/').next().unwrap_or_default().to_lowercase();
            // `redis-exporter` watches one, and is none.
            let helper = ["exporter", "operator", "ingress", "backup", "proxy"].iter().any(|h| name.contains(h));
            let name = name.trim_start_matches("cp-");
            for (_, kind, value) in IMAGES.iter().filter(|(start, _, _)| !helper && name.starts_with(start)) {
                out.push(Fact::new(kind, *value, path, at));
            }
        }
        if let (true, Some(kind)) = (manifest, KIND.captures(line))
            && KINDS.contains(&&kind[1])
        {
            out.push(Fact::new("kubernetes", &kind[1], path, at));
        }
        groups |= line.starts_with("groups:") || line.trim() == "groups:";
        if groups && !rules && ALERT.is_match(line) {
            rules = true;
            out.push(Fact::new("prometheus-rules", path, path, at));
        }
        if line.contains("command:") || line.trim_start().starts_with("- ") {
            worker(path, line, i, out);
        }
        of_line(path, line, i, out);
    }
    if let (Some(line), Some(_)) = (top("route:"), top("receivers:")) {
        out.push(Fact::new("alertmanager", path, path, Some(line)));
    }
    if let Some(line) = top("scrape_configs:") {
        out.push(Fact::new("prometheus", "scrape-config", path, Some(line)));
    }
    if path.contains("provisioning/")
        && let Some(line) = ["datasources:", "providers:", "groups:", "contactPoints:"].into_iter().find_map(top)
    {
        out.push(Fact::new("grafana", "provisioning", path, Some(line)));
    }
}

/// A command that works off jobs.
fn worker(path: &str, line: &str, i: usize, out: &mut Vec<Fact>) {
    if let Some(found) = JOBS.captures(line).filter(|_| line.contains("command:") || line.contains("worker")) {
        let name = match &found[1] {
            "queue:work" => "horizon",
            "rq worker" => "rq",
            other => other,
        };
        out.push(Fact::new("worker", name, path, Some(i as u32 + 1)));
    }
}

/// Addresses of databases: only what they speak, never the address.
fn of_line(path: &str, line: &str, i: usize, out: &mut Vec<Fact>) {
    if !line.contains("://") && !line.contains("jdbc:") {
        return;
    }
    let found =
        URL_NAME.captures(line).map(|c| c[2].to_string()).or_else(|| JDBC.captures(line).map(|c| c[1].to_string()));
    out.extend(found.and_then(|scheme| spoken(&scheme, path, i)));
}

fn spoken(word: &str, path: &str, i: usize) -> Option<Fact> {
    let (_, kind, value) = SCHEMES.iter().find(|(start, _, _)| word.starts_with(start))?;
    Some(Fact::new(kind, *value, path, Some(i as u32 + 1)))
}

type Read = fn(&str, &str, &mut Vec<Fact>);

/// Who reads a file, by its name.
fn reader(path: &str) -> Option<Read> {
    let name = path.rsplit('/').next().unwrap_or(path);
    Some(match name {
        "Procfile" => procfile,
        "schema.prisma" => |path, text, out| adapters(path, text, "provider", out),
        "database.yml" => |path, text, out| adapters(path, text, "adapter", out),
        "settings.py" | "base.py" | "production.py" | "prod.py" => django,
        _ if name.ends_with(".py") && path.contains("settings/") => django,
        "main.go" | "server.go" | "http.go" | "web.go" | "api.go" => go_main,
        "server.js" | "server.ts" | "server.mjs" | "index.js" | "app.js" | "main.js" | "main.ts" => node_main,
        _ if name.ends_with(".service") => unit,
        _ if name.starts_with(".env") || name.ends_with(".env") || name.starts_with("env.") => each_line,
        _ if name.starts_with("application") && name.ends_with(".properties") => each_line,
        "app.json" | ".envrc" => each_line,
        _ => return None,
    })
}

fn each_line(path: &str, text: &str, out: &mut Vec<Fact>) {
    text.lines().enumerate().for_each(|(i, line)| of_line(path, line, i, out));
}

fn procfile(path: &str, text: &str, out: &mut Vec<Fact>) {
    for (i, line) in text.lines().enumerate() {
        if line.split(':').next().is_some_and(|process| process.contains("worker") || process.contains("queue")) {
            let name = JOBS.captures(line).map_or("worker".to_string(), |found| found[1].to_string());
            out.push(Fact::new("worker", name, path, Some(i as u32 + 1)));
        }
    }
}

/// `provider = "postgresql"`, `adapter: postgresql`.
fn adapters(path: &str, text: &str, key: &str, out: &mut Vec<Fact>) {
    for (i, line) in text.lines().enumerate() {
        let Some(value) = line.trim().strip_prefix(key) else { continue };
        let word = value.trim_start_matches([' ', '=', ':', '"', '\'', '<', '%']);
        out.extend(spoken(word, path, i));
    }
}

fn django(path: &str, text: &str, out: &mut Vec<Fact>) {
    for (i, line) in text.lines().enumerate() {
        if let Some((_, engine)) = line.split_once("django.db.backends.").or(line.split_once("gis.db.backends.")) {
            out.extend(spoken(engine, path, i));
        }
        each_cache(path, line, i, out);
    }
}

fn each_cache(path: &str, line: &str, i: usize, out: &mut Vec<Fact>) {
    for (class, value) in [("RedisCache", "redis"), ("PyMemcacheCache", "memcached"), ("MemcachedCache", "memcached")] {
        if line.contains(class) {
            out.push(Fact::new("cache", value, path, Some(i as u32 + 1)));
        }
    }
}

/// Go's own server needs no dependency.
fn go_main(path: &str, text: &str, out: &mut Vec<Fact>) {
    if !text.contains("\"net/http\"") {
        return;
    }
    let listens =
        |l: &str| l.contains("http.ListenAndServe") || l.contains("http.Server{") || l.contains("http.Serve(");
    if let Some(i) = text.lines().position(listens) {
        out.push(Fact::new("framework", "net/http", path, Some(i as u32 + 1)));
    }
}

fn node_main(path: &str, text: &str, out: &mut Vec<Fact>) {
    if let Some(i) = text.lines().position(|l| l.contains("http.createServer(") || l.contains("Bun.serve(")) {
        out.push(Fact::new("framework", "node-http", path, Some(i as u32 + 1)));
    }
}

/// D-Bus has files of the same ending.
fn unit(path: &str, text: &str, out: &mut Vec<Fact>) {
    if let Some(i) = text.lines().position(|l| l.trim() == "[Service]") {
        out.push(Fact::new("process-manager", "systemd", path, Some(i as u32 + 1)));
    }
}

fn openapi(repo: &Repo, own: &mut Own) -> Vec<Fact> {
    let named = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let word = name.split(['.', '-', '_']).any(|part| matches!(part, "openapi" | "swagger"));
        word && [".json", ".yaml", ".yml"].iter().any(|e| name.ends_with(e))
    };
    let paths: Vec<&str> =
        repo.files.iter().map(|f| f.path.as_str()).filter(named).filter(|p| own.has(p)).take(FILES_MAX).collect();
    let found = |path: &str| {
        let text = repo.read_text(path, HEAD_BYTES).ok()?;
        let at = OPENAPI.find(&text).or_else(|| (text.starts_with('{')).then(|| ONE_LINE.find(&text)).flatten())?;
        let line = text[..at.end()].matches('\n').count() as u32 + 1;
        Some(Fact::new("openapi", path, path, Some(line)))
    };
    paths.into_iter().filter_map(found).collect()
}

pattern!(ONE_LINE, r#""(openapi|swagger)"\s*:\s*"\d"#);

/// Enough to ask for reviews.
const OWNERS_MAX: usize = 30;

fn owners(repo: &Repo) -> Vec<Fact> {
    for path in [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"] {
        if repo.files.binary_search_by(|f| f.path.as_str().cmp(path)).is_err() {
            continue;
        }
        let Ok(text) = repo.read_text(path, BYTES_MAX) else { continue };
        let mut out: Vec<Fact> = Vec::new();
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with('#')) {
            for found in OWNER.captures_iter(line.split(" #").next().unwrap_or_default()) {
                if out.len() < OWNERS_MAX && !out.iter().any(|f| f.value == found[1]) {
                    out.push(Fact::new("codeowner", &found[1], path, Some(i as u32 + 1)));
                }
            }
        }
        return out;
    }
    Vec::new()
}

/// From the remote `origin`, by its host alone; credentials in the URL stay out.
fn forge(repo: &Repo) -> Option<Fact> {
    let git = repo.git.as_ref()?;
    let url = git.run(&["config", "--get", "remote.origin.url"]).ok()?;
    let host = Origin::parse(&url)?.host;
    let name = ["github", "gitlab", "bitbucket", "codeberg", "gitea", "forgejo", "sr.ht"]
        .into_iter()
        .find(|name| host.ends_with(name) || host.split(['.', '-', ':']).any(|part| part == *name))?;
    let config = std::fs::read_to_string(git.root().join(".git/config")).unwrap_or_default();
    let mut inside = false;
    let line = config.lines().position(|l| {
        inside = if l.starts_with('[') { l.trim() == "[remote \"origin\"]" } else { inside };
        inside && l.trim_start().starts_with("url")
    });
    let name = if name == "sr.ht" { "sourcehut" } else { name };
    Some(Fact::new("forge", name, ".git/config", line.map(|i| i as u32 + 1)))
}
