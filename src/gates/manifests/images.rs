//! Public images by their names: which stand behind a product (stores, queues), which around it (proxies, monitoring), and
//! which bring a health check of their own. Registries are not asked.

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

/// For a developer's eyes: mail catchers and consoles of databases.
pub fn is_tool(image: &str) -> bool {
    ["mailhog", "mailpit", "mailcatcher", "maildev", "adminer", "phpmyadmin", "pgadmin4", "mongo-express"]
        .contains(&image_name(image).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(image_name("ghcr.io/acme/Shop:1@sha256:00"), "shop");
        assert!(checks_itself("mattermost/mattermost-team-edition:10") && !checks_itself("acme/server"));
    }
}
