//! Compose files: services with restart policy, health check, volumes and replicas. `extends` within the folder is
//! followed; a production file beside the base file is laid over it; what only a developer's machine needs is told apart.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Purpose};
use crate::gates::import::ImportError;
use crate::gates::import::located::{self, Node};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ComposeFile {
    pub file: String,
    pub services: Vec<Service>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Service {
    pub place: Place,
    pub name: String,
    pub image: Option<String>,
    pub build: Option<Build>,
    /// `restart` as written, and its line.
    pub restart: Option<(String, u32)>,
    /// `deploy.restart_policy.condition`; `any` when the policy names none.
    pub deploy_restart: Option<(String, u32)>,
    pub health: Health,
    pub replicas: Option<(i64, u32)>,
    pub volumes: Vec<Mount>,
    /// Started only when asked for by name.
    pub in_profile: bool,
    /// Another service waits until this one has ended.
    pub awaited: bool,
    pub ports: Vec<u32>,
    pub command: String,
    pub environment: Vec<(String, String)>,
    extends: Option<(Option<String>, String)>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Build {
    /// Folder, relative to the repository.
    pub context: String,
    /// Relative to the repository; the context's `Dockerfile` when not given.
    pub dockerfile: String,
    pub target: Option<String>,
}

/// What a service says about its health.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Health {
    #[default]
    Unsaid,
    /// `disable: true` or `test: NONE`.
    Off(u32),
    /// Settings for the check that the image brings.
    OfImage(u32),
    Test {
        line: u32,
        command: Vec<String>,
        interval: Option<String>,
        timeout: Option<String>,
    },
}

/// One entry of `volumes`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// A named volume, a path on the host, or nothing for an anonymous one.
    pub source: Option<String>,
    pub target: String,
    pub tmpfs: bool,
    pub line: u32,
}

/// By a lower-case file name: `compose.yaml`, `docker-compose.prod.yml`, `production.yml` of a compose folder.
pub fn is_one(name: &str) -> bool {
    let stem = name.rsplit_once('.').map_or(name, |(s, _)| s);
    ["docker-compose", "compose", "podman-compose", "docker-stack", "stack"]
        .iter()
        .any(|p| stem == *p || stem.strip_prefix(p).is_some_and(|rest| rest.starts_with(['.', '-', '_'])))
        || stem.ends_with("docker-compose")
        || stem.ends_with(".compose")
}

pub fn parse(path: &str, text: &str) -> Result<ComposeFile, ImportError> {
    let documents = located::documents(text)?;
    let folder = path.rsplit_once('/').map_or("", |(f, _)| f);
    let services = documents.iter().flat_map(|d| d.get("services").entries());
    let mut services: Vec<Service> =
        services.map(|(name, line, node)| service(path, folder, name, *line, node)).collect();
    let awaited: BTreeSet<String> = documents
        .iter()
        .flat_map(|d| d.get("services").entries())
        .flat_map(|(_, _, s)| s.get("depends_on").entries())
        .filter(|(_, _, n)| n.get("condition").text() == Some("service_completed_successfully"))
        .map(|(name, _, _)| name.clone())
        .collect();
    for service in &mut services {
        service.awaited = awaited.contains(&service.name);
    }
    Ok(ComposeFile { file: path.to_string(), services })
}

fn service(path: &str, folder: &str, name: &str, line: u32, node: &Node) -> Service {
    let restart = node.get("restart").text().map(|t| (default_of(t), node.line_of("restart")));
    let deploy = node.get("deploy");
    let policy = deploy.get("restart_policy");
    let condition = || policy.get("condition").text().unwrap_or("any").to_string();
    let replicas = [(deploy, "replicas"), (node, "scale")]
        .into_iter()
        .find_map(|(n, key)| Some((default_of(n.get(key).text()?).parse().ok()?, n.line_of(key))));
    let extends = node.get("extends");
    Service {
        place: Place::new(path, line),
        name: name.to_string(),
        image: node.get("image").text().map(default_of),
        build: node.has("build").then(|| build(folder, node.get("build"))),
        restart,
        deploy_restart: policy.is_there().then(|| (condition(), policy.line_of("condition"))),
        health: health(node),
        replicas,
        volumes: node.get("volumes").items().iter().filter_map(mount).collect(),
        in_profile: node.get("profiles").texts().into_iter().any(|p| !default_of(p).is_empty()),
        awaited: false,
        ports: node.get("ports").items().iter().chain(node.get("expose").items()).filter_map(port).collect(),
        command: [node.get("command"), node.get("entrypoint")].map(|n| n.texts().join(" ")).join(" "),
        environment: environment(node.get("environment")),
        extends: extends.text().map(|s| (None, s.to_string())).or_else(|| {
            Some((extends.get("file").text().map(String::from), extends.get("service").text()?.to_string()))
        }),
    }
}

/// `${RESTART:-always}` is `always` unless somebody says otherwise.
fn default_of(text: &str) -> String {
    let mut out = text.to_string();
    while let Some(start) = out.rfind("${") {
        let Some(end) = out[start..].find('}').map(|i| start + i) else { break };
        let inner = &out[start + 2..end];
        let value = inner.split_once(":-").or_else(|| inner.split_once('-')).map_or("", |(_, d)| d).to_string();
        out.replace_range(start..=end, &value);
    }
    out
}

fn build(folder: &str, node: &Node) -> Build {
    let context = node.text().or_else(|| node.get("context").text()).unwrap_or(".");
    let context = within(folder, context);
    let file = node.get("dockerfile").text().unwrap_or("Dockerfile");
    Build { dockerfile: within(&context, file), target: node.get("target").text().map(String::from), context }
}

/// A path relative to `folder`, as one relative to the repository; `..` and `.` are worked off.
pub fn within(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.retain(|p| !p.is_empty());
    parts.join("/")
}

fn health(node: &Node) -> Health {
    let check = node.get("healthcheck");
    let line = node.line_of("healthcheck");
    if !check.is_there() {
        return Health::Unsaid;
    }
    let test = check.get("test");
    let words: Vec<String> = test.texts().into_iter().map(String::from).collect();
    let off =
        check.get("disable").flag() == Some(true) || words.first().is_some_and(|w| w.eq_ignore_ascii_case("none"));
    if off {
        return Health::Off(line);
    }
    if words.is_empty() {
        return Health::OfImage(line);
    }
    let command = match words.first().map(String::as_str) {
        Some("CMD" | "CMD-SHELL") => words[1..].to_vec(),
        _ => words,
    };
    let time = |key: &str| check.get(key).text().map(String::from);
    Health::Test { line, command, interval: time("interval"), timeout: time("timeout") }
}

fn mount(node: &Node) -> Option<Mount> {
    if let Some(text) = node.text() {
        let text = default_of(text);
        let mut parts = text.split(':');
        let first = parts.next()?.to_string();
        let second = parts.next().filter(|s| s.starts_with('/')).map(String::from);
        let (source, target) = match second {
            Some(target) => (Some(first), target),
            None => (None, first),
        };
        return Some(Mount { source, target, tmpfs: false, line: node.line });
    }
    Some(Mount {
        source: node.get("source").text().or(node.get("src").text()).map(default_of),
        target: default_of(node.get("target").text().or(node.get("dst").text())?),
        tmpfs: node.get("type").text() == Some("tmpfs"),
        line: node.line,
    })
}

/// The container's port of `"8080:80/tcp"`, `80`, or `{target: 80}`.
fn port(node: &Node) -> Option<u32> {
    let text = node.text().or_else(|| node.get("target").text())?;
    default_of(text).split('/').next()?.rsplit(':').next()?.split('-').next()?.parse().ok()
}

fn environment(node: &Node) -> Vec<(String, String)> {
    let pairs = node.entries().iter().map(|(k, _, v)| (k.clone(), v.text().unwrap_or_default().to_string()));
    let lines = node.texts().into_iter().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_string(), v.to_string()));
    pairs.chain(lines).collect()
}

impl Mount {
    /// A folder of the host rather than a named volume.
    pub fn is_bind(&self) -> bool {
        self.source.as_deref().is_some_and(|s| s.starts_with(['.', '/', '~']) || s.is_empty())
    }
}

/// Images that are known to bring a health check of their own: `owner/name`.
const SELF_CHECKED: [&str; 9] = [
    "mattermost/mattermost-team-edition",
    "mattermost/mattermost-enterprise-edition",
    "immich-app/immich-server",
    "immich-app/immich-machine-learning",
    "vaultwarden/server",
    "paperless-ngx/paperless-ngx",
    "clamav/clamav",
    "pihole/pihole",
    "plexinc/pms-docker",
];

/// Does a public image bring a health check? Registries are not asked: this is what their recipes say.
pub fn checks_itself(image: &str) -> bool {
    let image = image.split('@').next().unwrap_or(image).to_ascii_lowercase();
    let (path, _) = image.rsplit_once(':').filter(|(_, t)| !t.contains('/')).unwrap_or((&image, ""));
    SELF_CHECKED.iter().any(|known| path == *known || path.strip_suffix(known).is_some_and(|p| p.ends_with('/')))
}

/// Images that stand behind a product, not for it: by the last part of the name.
const BACKING: [&str; 37] = [
    "postgres",
    "postgresql",
    "postgis",
    "pgvector",
    "timescaledb",
    "mysql",
    "mariadb",
    "percona",
    "mongo",
    "mongodb",
    "redis",
    "valkey",
    "keydb",
    "dragonfly",
    "memcached",
    "rabbitmq",
    "kafka",
    "zookeeper",
    "nats",
    "minio",
    "elasticsearch",
    "opensearch",
    "clickhouse",
    "clickhouse-server",
    "influxdb",
    "cassandra",
    "etcd",
    "consul",
    "meilisearch",
    "typesense",
    "solr",
    "couchdb",
    "neo4j",
    "beanstalkd",
    "localstack",
    "snuba-bitnami",
    "azurite",
];
/// Proxies, collectors, tools: part of a deployment, but nobody's product.
const AROUND: [&str; 36] = [
    "nginx",
    "traefik",
    "caddy",
    "haproxy",
    "envoy",
    "httpd",
    "prometheus",
    "grafana",
    "alertmanager",
    "loki",
    "promtail",
    "jaeger",
    "zipkin",
    "tempo",
    "node-exporter",
    "cadvisor",
    "blackbox-exporter",
    "certbot",
    "watchtower",
    "portainer",
    "mailhog",
    "mailpit",
    "mailcatcher",
    "maildev",
    "adminer",
    "phpmyadmin",
    "pgadmin4",
    "mongo-express",
    "autoheal",
    "smtp",
    "docker-gen",
    "nginx-proxy",
    "acme-companion",
    "nginx-proxy-acme",
    "otel-collector",
    "opentelemetry-collector",
];

/// `ghcr.io/acme/shop:1.2@sha256:…` → `shop`.
pub fn image_name(image: &str) -> String {
    let image = image.split('@').next().unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(':').next().unwrap_or(last).to_ascii_lowercase()
}

/// What official images of a store append to its name; `kafka-consumer` is somebody's product.
const VARIANTS: [&str; 12] = [
    "alpine",
    "server",
    "stack",
    "stack-server",
    "cluster",
    "community-server",
    "ha",
    "repmgr",
    "sentinel",
    "native",
    "master",
    "replica",
];

pub fn is_backing(image: &str) -> bool {
    let name = image_name(image);
    let variant =
        |b: &str| name.strip_prefix(b).and_then(|r| r.strip_prefix('-')).is_some_and(|r| VARIANTS.contains(&r));
    let own = |b: &str| name.strip_suffix(b).is_some_and(|r| r.ends_with(['-', '_']));
    name.ends_with("-db") || BACKING.iter().any(|b| name == *b || variant(b) || own(b))
}

/// Monitoring is named in front of or behind a team's own prefix; a proxy may be somebody's front end.
const MONITORING: [&str; 5] = ["prometheus", "grafana", "alertmanager", "loki", "heapster"];

pub fn is_around(image: &str) -> bool {
    let name = image_name(image);
    let monitoring = name.split(['-', '_']).any(|p| MONITORING.contains(&p));
    AROUND.contains(&name.as_str()) || monitoring || name.ends_with("-exporter") || name.ends_with("_exporter")
}

impl Service {
    /// A database, a cache, a proxy: not what the team itself writes.
    pub fn is_supporting(&self) -> bool {
        self.build.is_none() && self.image.as_deref().is_some_and(|i| is_backing(i) || is_around(i))
    }

    /// Does its work and ends: a migration, a bucket maker, a certificate tool.
    pub fn is_one_shot(&self) -> bool {
        let words =
            ["migrate", "migration", "migrations", "migrator", "init", "setup", "seed", "bootstrap", "createbuckets"];
        let named = self.name.split(['-', '_', '.']).any(|p| words.contains(&p.to_ascii_lowercase().as_str()));
        let chore = [
            "db:migrate",
            "manage.py migrate",
            "migrate deploy",
            "alembic upgrade",
            "artisan migrate",
            "mc mb",
            "db:prepare",
            "db upgrade",
        ];
        let only_chore =
            chore.iter().any(|c| self.command.contains(c)) && !["&&", ";"].iter().any(|s| self.command.contains(s));
        self.awaited || named || only_chore
    }

    /// The source folder is mounted over the image: somebody edits it while it runs.
    fn is_developers(&self) -> bool {
        let source_mounted = self.build.as_ref().is_some_and(|b| {
            let folder = self.place.file.rsplit_once('/').map_or("", |(f, _)| f);
            self.volumes.iter().filter(|v| v.is_bind()).any(|v| {
                let source = v.source.as_deref().unwrap_or_default();
                // Settings are mounted into production as well.
                source.starts_with('.') && !["/etc", "/config", "/var"].iter().any(|e| v.target.starts_with(e)) && {
                    let source = within(folder, source);
                    source == b.context || ["src", "app", "lib"].iter().any(|s| source == within(&b.context, s))
                }
            })
        });
        let says = |value: &str| matches!(value, "development" | "dev" | "local");
        let variable = |k: &str| {
            matches!(
                k,
                "NODE_ENV" | "RAILS_ENV" | "RACK_ENV" | "APP_ENV" | "FLASK_ENV" | "MIX_ENV" | "ASPNETCORE_ENVIRONMENT"
            )
        };
        let by_environment = self.environment.iter().any(|(k, v)| variable(k) && says(&v.to_ascii_lowercase()));
        let by_target =
            self.build.as_ref().and_then(|b| b.target.as_deref()).is_some_and(|t| says(t) || t.contains("dev"));
        source_mounted || by_environment || by_target
    }

    /// The settings that `base` has and this one lacks.
    fn take_from(&mut self, base: &Service) {
        let own = self.clone();
        *self = base.clone();
        self.lay_over(&own);
    }

    fn lay_over(&mut self, top: &Service) {
        fn over<T: Clone>(under: &mut Option<T>, top: &Option<T>) {
            if top.is_some() {
                under.clone_from(top);
            }
        }
        over(&mut self.image, &top.image);
        over(&mut self.restart, &top.restart);
        over(&mut self.deploy_restart, &top.deploy_restart);
        over(&mut self.replicas, &top.replicas);
        over(&mut self.build, &top.build);
        if top.health != Health::Unsaid {
            self.health = top.health.clone();
        }
        if !top.command.trim().is_empty() {
            self.command.clone_from(&top.command);
        }
        self.volumes.extend(top.volumes.iter().cloned());
        self.ports.extend(&top.ports);
        self.environment.extend(top.environment.iter().cloned());
        self.place = top.place.clone();
        self.name.clone_from(&top.name);
        self.awaited |= top.awaited;
        self.in_profile |= top.in_profile;
    }

    fn is_whole(&self) -> bool {
        self.image.is_some() || self.build.is_some()
    }
}

impl ComposeFile {
    /// A file for a developer's machine mounts sources, says so in its environment, or starts nothing but databases.
    pub fn purpose(&self) -> Purpose {
        let whole: Vec<&Service> = self.services.iter().filter(|s| s.is_whole() && !s.in_profile).collect();
        let developers = whole.iter().any(|s| s.is_developers());
        let only_backing = !whole.is_empty()
            && whole
                .iter()
                .all(|s| s.build.is_none() && s.image.as_deref().is_some_and(|i| is_backing(i) || is_tool(i)));
        if developers || only_backing { Purpose::Development } else { Purpose::Product }
    }

    fn folder(&self) -> &str {
        self.file.rsplit_once('/').map_or("", |(f, _)| f)
    }
    fn name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
    }
    fn is_base(&self) -> bool {
        matches!(self.name().rsplit_once('.').map(|(s, _)| s), Some("docker-compose" | "compose" | "podman-compose"))
    }
    fn is_production(&self) -> bool {
        self.name().split(['.', '-', '_']).any(|p| matches!(p, "prod" | "production" | "live"))
    }
}

fn is_tool(image: &str) -> bool {
    ["mailhog", "mailpit", "mailcatcher", "maildev", "adminer", "phpmyadmin", "pgadmin4", "mongo-express"]
        .contains(&image_name(image).as_str())
}

/// Follows `extends`, lays production files over their base, and leaves out partial services of other variants.
pub fn joined(mut files: Vec<ComposeFile>) -> Vec<ComposeFile> {
    let known: BTreeMap<(String, String), Service> =
        files.iter().flat_map(|f| f.services.iter().map(|s| ((f.file.clone(), s.name.clone()), s.clone()))).collect();
    for file in &mut files {
        let folder = file.folder().to_string();
        for service in &mut file.services {
            let Some((other, name)) = service.extends.take() else { continue };
            let path = other.map_or(service.place.file.clone(), |f| within(&folder, &f));
            if let Some(base) = known.get(&(path, name)) {
                service.take_from(base);
            }
        }
    }
    let overlays: Vec<ComposeFile> = files.iter().filter(|f| f.is_production() && !f.is_base()).cloned().collect();
    for base in files.iter_mut().filter(|f| f.is_base()) {
        let folder = base.folder().to_string();
        for overlay in overlays.iter().filter(|o| o.folder() == folder) {
            for top in &overlay.services {
                if let Some(under) = base.services.iter_mut().find(|s| s.name == top.name) {
                    let place = under.place.clone();
                    under.lay_over(top);
                    under.place = place;
                }
            }
        }
    }
    // What a production file says in full about a service of the base has been judged there.
    let bases: BTreeSet<(String, String)> = files
        .iter()
        .filter(|f| f.is_base())
        .flat_map(|f| f.services.iter().map(|s| (f.folder().to_string(), s.name.clone())))
        .collect();
    for file in &mut files {
        let (folder, overlay) = (file.folder().to_string(), file.is_production() && !file.is_base());
        file.services.retain(|s| s.is_whole() && !(overlay && bases.contains(&(folder.clone(), s.name.clone()))));
    }
    files.retain(|f| !f.services.is_empty());
    files
}

/// `10s`, `1m30s`, `500ms` in seconds.
pub fn seconds(text: &str) -> Option<f64> {
    let ms = crate::domain::units::duration_ms(text.trim(), u64::MAX).ok()?;
    Some(ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, text: &str) -> ComposeFile {
        parse(path, text).unwrap()
    }

    #[test]
    fn a_service_in_full() {
        let text = "x-all: &all\n  restart: ${RESTART:-always}\nservices:\n  web:\n    <<: *all\n    build: {context: ./web, dockerfile: prod.Dockerfile, target: run}\n    healthcheck: {test: [CMD, wget, -q, x], interval: 10s, timeout: 3s}\n    deploy: {replicas: 3}\n    ports: ['127.0.0.1:80:8080/tcp']\n    volumes:\n      - uploads:/app/uploads\n      - ./conf:/conf:ro\n    depends_on:\n      setup: {condition: service_completed_successfully}\n  setup:\n    image: acme/setup\n";
        let compose = file("deploy/compose.yaml", text);
        let web = &compose.services[0];
        assert_eq!((web.place.line, web.restart.clone()), (4, Some(("always".into(), 2))));
        assert_eq!(web.build.as_ref().unwrap().dockerfile, "deploy/web/prod.Dockerfile");
        assert_eq!((web.replicas, web.ports.clone()), (Some((3, 8)), vec![8080]));
        assert!(matches!(&web.health, Health::Test { line: 7, command, .. } if command[0] == "wget"));
        assert_eq!((web.volumes[0].source.as_deref(), web.volumes[0].is_bind()), (Some("uploads"), false));
        assert!(web.volumes[1].is_bind());
        assert!(compose.services[1].is_one_shot() && !web.is_one_shot());
        assert_eq!(compose.purpose(), Purpose::Product);
    }

    #[test]
    fn developers_files_are_told_apart() {
        for text in [
            "services:\n  web:\n    build: .\n    volumes: ['.:/app']\n",
            "services:\n  web:\n    build: ./web\n    volumes: ['./web/src:/app/src']\n",
            "services:\n  web:\n    image: acme\n    environment: [NODE_ENV=development]\n",
            "services:\n  db:\n    image: postgres:16\n  cache:\n    image: bitnami/redis\n",
        ] {
            assert_eq!(file("compose.yaml", text).purpose(), Purpose::Development, "{text}");
        }
        let text = "services:\n  web:\n    build: .\n    volumes: ['./data:/data', './nginx.conf:/etc/nginx.conf']\n";
        assert_eq!(file("compose.yaml", text).purpose(), Purpose::Product);
    }

    #[test]
    fn production_lies_over_the_base() {
        let base = file("docker-compose.yml", "services:\n  web:\n    image: a\n  db:\n    image: postgres\n");
        let prod = "services:\n  web:\n    restart: always\n    image: b\n  proxy:\n    image: nginx\n";
        let all = joined(vec![base, file("docker-compose.prod.yml", prod)]);
        assert_eq!(all[0].services[0].restart, Some(("always".into(), 3)));
        assert_eq!(all[0].services[0].place.file, "docker-compose.yml");
        assert_eq!(all[1].services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["proxy"]);
    }

    #[test]
    fn extends_is_followed() {
        let base = file("base.compose.yml", "services:\n  app:\n    image: a\n    restart: always\n");
        let top = file(
            "compose.yml",
            "services:\n  web:\n    extends: {file: base.compose.yml, service: app}\n    command: x\n",
        );
        let all = joined(vec![base, top]);
        assert_eq!(all[1].services[0].restart.as_ref().unwrap().0, "always");
        assert_eq!((all[1].services[0].name.as_str(), all[1].services[0].place.line), ("web", 2));
    }

    #[test]
    fn stores_and_tools_by_their_images() {
        for image in
            ["postgres:16", "bitnami/redis", "redis-stack-server", "acme/shop-db", "cp-kafka:7", "heapster_influxdb"]
        {
            assert!(is_backing(image), "{image}");
        }
        for image in ["acme/kafka-consumer", "acme/mongo-sync", "acme/shop", "redis-commander"] {
            assert!(!is_backing(image), "{image}");
        }
        assert!(is_around("gcr.io/x/heapster_grafana:1") && is_around("prom/node-exporter") && !is_around("acme/web"));
        assert!(checks_itself("mattermost/mattermost-team-edition:10") && !checks_itself("acme/server"));
    }

    #[test]
    fn defaults_of_variables() {
        for (text, expect) in [
            ("${A:-b}", "b"),
            ("x${A-b}y", "xby"),
            ("${A}", ""),
            ("plain", "plain"),
            ("${A:-${B:-c}}", "c"),
            ("${A", "${A"),
        ] {
            assert_eq!(default_of(text), expect);
        }
        assert_eq!(within("a/b", "../c/./d"), "a/c/d");
        assert_eq!(image_name("ghcr.io/acme/Shop:1@sha256:00"), "shop");
    }

    proptest! {
        #[test]
        fn never_panics(text in "(services:|restart|healthcheck|test|\\$\\{|:-|\\}|[a-z:{}\\[\\], \n-]){0,60}") {
            if let Ok(f) = parse("compose.yml", &text) { let _ = (f.purpose(), joined(vec![f.clone(), f])); }
        }
    }
}
