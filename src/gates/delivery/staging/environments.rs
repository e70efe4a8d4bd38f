//! What the repository says of staging's and production's surroundings: do they share a database or a cache, do they run
//! the same major versions? Reads settings files and manifests; values leave here as keyed digests only.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;
use url::Url;

use crate::domain::fingerprint::FingerprintKey;
use crate::gates::context::Repo;
use crate::gates::delivery::env_config::{self, Environment, Source};

#[derive(Debug, Default, Serialize)]
pub struct Compared {
    /// Files that describe staging and production.
    pub staging: Vec<String>,
    pub production: Vec<String>,
    pub shared: Vec<Shared>,
    /// Programs that both name with a version.
    pub versions: Vec<Version>,
}

/// A store that both environments name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shared {
    pub kind: Store,
    /// The database's own name, or its number: no secret, and what one looks for.
    pub name: String,
    /// Keyed digest of host and name; `None` without a key.
    pub digest: Option<String>,
    /// `file:line` of both.
    pub staging: String,
    pub production: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    Database,
    Cache,
}

/// Majors of one program on either side, with where they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    pub program: String,
    pub staging: (String, String),
    pub production: (String, String),
}

impl Version {
    pub fn differs(&self) -> bool {
        self.staging.0 != self.production.0
    }
}

pub fn compare(repo: &Repo, config: &env_config::Config, key: Option<&FingerprintKey>) -> Compared {
    let sources = env_config::environments(repo, config);
    let of = |stage: Environment| sources.iter().filter(move |s| s.stage == stage);
    let (ours, theirs) = (stores(of(Environment::Staging)), stores(of(Environment::Production)));
    let mut out = Compared::default();
    for (place, staging) in &ours {
        let Some(production) = theirs.get(place) else { continue };
        out.shared.push(Shared {
            kind: place.kind,
            name: place.name.clone(),
            digest: key.map(|k| k.bind("delivery.staging", format!("{}/{}", place.host, place.name).as_bytes())),
            staging: staging.clone(),
            production: production.clone(),
        });
    }
    let (ours, theirs) = (images(repo, Environment::Staging), images(repo, Environment::Production));
    for (program, staging) in ours {
        let Some(production) = theirs.get(&program).cloned() else { continue };
        out.versions.push(Version { program, staging, production });
    }
    out.staging = of(Environment::Staging).map(|s| s.path.clone()).collect();
    out.production = of(Environment::Production).map(|s| s.path.clone()).collect();
    out
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    kind: Store,
    host: String,
    name: String,
}

/// Each store once, with the first line that names it.
fn stores<'s>(sources: impl Iterator<Item = &'s Source>) -> BTreeMap<Place, String> {
    let mut out = BTreeMap::new();
    for source in sources {
        let at = |line: u32| format!("{}:{line}", source.path);
        for entry in &source.entries {
            if let Some(place) = from_url(entry.value.expose()) {
                out.entry(place).or_insert_with(|| at(entry.line));
            }
        }
        if let Some((place, line)) = from_parts(source) {
            out.entry(place).or_insert_with(|| at(line));
        }
    }
    out
}

fn from_url(value: &str) -> Option<Place> {
    let value = value.trim().trim_start_matches("jdbc:");
    let (scheme, _) = value.split_once("://")?;
    // `postgresql+asyncpg`
    let kind = match scheme.split('+').next()?.to_ascii_lowercase().as_str() {
        "postgres" | "postgresql" | "mysql" | "mariadb" | "mongodb" | "sqlserver" | "oracle" | "cockroachdb" => {
            Store::Database
        }
        "redis" | "rediss" | "memcached" | "valkey" => Store::Cache,
        _ => return None,
    };
    let url = Url::parse(value).ok()?;
    let host = own_host(url.host_str()?)?;
    Some(Place { kind, host, name: url.path().trim_matches('/').to_string() })
}

/// Host and name of a database, when they are variables of their own: `DB_HOST` with `DB_NAME`, `PGHOST` with `PGDATABASE`.
fn from_parts(source: &Source) -> Option<(Place, u32)> {
    let find = |names: &[&str]| source.entries.iter().find(|e| names.contains(&e.name.to_ascii_uppercase().as_str()));
    let host = find(&["DB_HOST", "DATABASE_HOST", "PGHOST", "POSTGRES_HOST", "MYSQL_HOST", "MARIADB_HOST"])?;
    let name = find(&[
        "DB_NAME",
        "DB_DATABASE",
        "DATABASE_NAME",
        "PGDATABASE",
        "POSTGRES_DB",
        "MYSQL_DATABASE",
        "MARIADB_DATABASE",
    ])?;
    let place = Place {
        kind: Store::Database,
        host: own_host(host.value.expose().trim())?,
        name: name.value.expose().trim().to_string(),
    };
    Some((place, host.line))
}

/// A host that means the same machine for everybody: `db` is another one in each network, `127.0.0.1` on each machine.
fn own_host(host: &str) -> Option<String> {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let real = (host.contains('.') || host.contains(':')) && !env_config::is_loopback(&host) && !host.contains("${");
    real.then_some(host)
}

/// Programs whose major version makes a difference, by the name of their image.
const PROGRAMS: [&str; 17] = [
    "postgres",
    "postgis",
    "mysql",
    "mariadb",
    "mongo",
    "redis",
    "valkey",
    "memcached",
    "rabbitmq",
    "elasticsearch",
    "opensearch",
    "node",
    "python",
    "php",
    "ruby",
    "golang",
    "nginx",
];
static IMAGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^\s*(?:-\s*)?image:\s*["']?(?:[\w.\-:]+/)*([a-z0-9_\-]+):v?(\d+)[\w.\-]*["']?\s*(?:#.*)?$"#)
        .expect("a pattern of ours")
});
const MANIFEST_BYTES_MAX: u64 = 256 * 1024;

/// Program to major version and place, from the manifests that name the environment in their path.
fn images(repo: &Repo, stage: Environment) -> BTreeMap<String, (String, String)> {
    let mut out = BTreeMap::new();
    for file in repo.files.iter().filter(|f| f.bytes <= MANIFEST_BYTES_MAX) {
        let lower = file.path.to_ascii_lowercase();
        let words = || lower.split(['/', '.', '-', '_']);
        let named = |list: &[&str]| words().any(|w| list.contains(&w));
        let here = match stage {
            Environment::Production => named(&["prod", "production"]),
            _ => named(&["staging", "stage", "uat", "preprod"]),
        };
        if !here || !(lower.ends_with(".yml") || lower.ends_with(".yaml")) {
            continue;
        }
        let Ok(text) = repo.read_text(&file.path, MANIFEST_BYTES_MAX) else { continue };
        for (row, line) in text.lines().enumerate() {
            let Some(found) = IMAGE.captures(line).filter(|c| PROGRAMS.contains(&&c[1])) else { continue };
            out.entry(found[1].to_string())
                .or_insert_with(|| (found[2].to_string(), format!("{}:{}", file.path, row + 1)));
        }
    }
    out
}
