//! Facts that a dependency tells: one table of package names, looked for line by line in the manifests of each
//! ecosystem, so that a broken manifest still counts and every fact has its line.

use std::sync::LazyLock;

use regex::Regex;

use super::Fact;
use crate::gates::context::Repo;

/// Manifests are small; a larger one is generated.
const BYTES_MAX: u64 = 512 * 1024;
/// Monorepos have many manifests; the shallow ones describe the product.
const MANIFESTS_MAX: usize = 200;

/// (package names, kind, value); a name ending in `*` is a prefix.
const PACKAGES: &[(&[&str], &str, &str)] = &[
    (&["express"], "framework", "express"),
    (&["fastify"], "framework", "fastify"),
    (&["koa"], "framework", "koa"),
    (&["@nestjs/core"], "framework", "nestjs"),
    (&["@hapi/hapi"], "framework", "hapi"),
    (&["hono"], "framework", "hono"),
    (&["flask"], "framework", "flask"),
    (&["fastapi"], "framework", "fastapi"),
    (&["django"], "framework", "django"),
    (&["starlette"], "framework", "starlette"),
    (&["aiohttp"], "framework", "aiohttp"),
    (&["rails"], "framework", "rails"),
    (&["sinatra"], "framework", "sinatra"),
    (&["laravel/framework"], "framework", "laravel"),
    (&["symfony/framework-bundle"], "framework", "symfony"),
    (&["slim/slim"], "framework", "slim"),
    (&["spring-boot-starter-web", "spring-boot-starter-webflux"], "framework", "spring"),
    (&["axum"], "framework", "axum"),
    (&["actix-web"], "framework", "actix-web"),
    (&["rocket"], "framework", "rocket"),
    (&["warp"], "framework", "warp"),
    (&["github.com/gin-gonic/gin"], "framework", "gin"),
    (&["github.com/go-chi/chi*"], "framework", "chi"),
    (&["github.com/labstack/echo*"], "framework", "echo"),
    (&["github.com/gofiber/fiber*"], "framework", "fiber"),
    (&["next"], "frontend", "next"),
    (&["nuxt"], "frontend", "nuxt"),
    (&["react", "react-dom"], "frontend", "react"),
    (&["vue"], "frontend", "vue"),
    (&["svelte", "@sveltejs/kit"], "frontend", "svelte"),
    (&["@angular/core"], "frontend", "angular"),
    (&["gatsby"], "static-generator", "gatsby"),
    (&["@11ty/eleventy"], "static-generator", "eleventy"),
    (&["@docusaurus/core"], "static-generator", "docusaurus"),
    (&["mkdocs"], "static-generator", "mkdocs"),
    (&["jekyll"], "static-generator", "jekyll"),
    (
        &[
            "pg",
            "postgres",
            "pg-promise",
            "psycopg2*",
            "psycopg*",
            "asyncpg",
            "tokio-postgres",
            "github.com/lib/pq",
            "github.com/jackc/pgx*",
            "postgresql",
        ],
        "database",
        "postgresql",
    ),
    (
        &["mysql", "mysql2", "mysqlclient", "pymysql", "mysql-connector*", "github.com/go-sql-driver/mysql", "mariadb"],
        "database",
        "mysql",
    ),
    (&["sqlite3", "better-sqlite3", "rusqlite", "github.com/mattn/go-sqlite3"], "database", "sqlite"),
    (&["mongodb", "mongoose", "pymongo", "motor", "mongoid", "go.mongodb.org/mongo-driver*"], "database", "mongodb"),
    (
        &[
            "prisma",
            "@prisma/client",
            "sequelize",
            "typeorm",
            "knex",
            "drizzle-orm",
            "sqlalchemy",
            "sqlx",
            "diesel",
            "gorm.io/gorm",
            "activerecord",
            "doctrine/orm",
        ],
        "database",
        "orm",
    ),
    (&["redis", "ioredis", "go-redis", "github.com/redis/go-redis*", "predis/predis", "jedis"], "cache", "redis"),
    (&["memcached", "memjs", "pymemcache", "dalli"], "cache", "memcached"),
    (&["bull", "bullmq"], "queue", "bullmq"),
    (&["celery"], "queue", "celery"),
    (&["rq"], "queue", "rq"),
    (&["dramatiq"], "queue", "dramatiq"),
    (&["sidekiq"], "queue", "sidekiq"),
    (&["amqplib", "pika", "lapin", "bunny", "github.com/rabbitmq/amqp091-go"], "queue", "rabbitmq"),
    (&["kafkajs", "confluent-kafka", "kafka-python", "rdkafka", "github.com/segmentio/kafka-go"], "queue", "kafka"),
    (&["@aws-sdk/client-sqs"], "queue", "sqs"),
    (
        &[
            "@aws-sdk/client-s3",
            "aws-sdk",
            "boto3",
            "minio",
            "multer-s3",
            "rust-s3",
            "aws-sdk-s3",
            "github.com/aws/aws-sdk-go*",
        ],
        "storage",
        "s3",
    ),
    (&["@google-cloud/storage", "google-cloud-storage"], "storage", "gcs"),
    (&["pino"], "logger", "pino"),
    (&["winston"], "logger", "winston"),
    (&["bunyan"], "logger", "bunyan"),
    (&["structlog"], "logger", "structlog"),
    (&["loguru"], "logger", "loguru"),
    (&["tracing"], "logger", "tracing"),
    (&["go.uber.org/zap"], "logger", "zap"),
    (&["github.com/sirupsen/logrus"], "logger", "logrus"),
    (&["github.com/rs/zerolog"], "logger", "zerolog"),
    (&["logback-classic", "log4j-core"], "logger", "logback"),
    (&["monolog/monolog"], "logger", "monolog"),
    (&["lograge"], "logger", "lograge"),
    (&["prom-client", "express-prom-bundle"], "metrics", "prom-client"),
    (
        &[
            "prometheus-client",
            "prometheus_client",
            "prometheus",
            "prometheus-flask-exporter",
            "prometheus-fastapi-instrumentator",
            "django-prometheus",
            "starlette-exporter",
        ],
        "metrics",
        "prometheus",
    ),
    (&["github.com/prometheus/client_golang"], "metrics", "prometheus"),
    (&["micrometer-registry-prometheus"], "metrics", "micrometer"),
    (&["@opentelemetry/*", "opentelemetry*", "go.opentelemetry.io/otel*"], "metrics", "opentelemetry"),
    (
        &[
            "graphql",
            "apollo-server*",
            "@apollo/server",
            "graphql-yoga",
            "strawberry-graphql",
            "graphene",
            "async-graphql",
            "github.com/99designs/gqlgen",
        ],
        "graphql",
        "graphql",
    ),
];

/// Each captures the package's name as group 1.
struct Ecosystem {
    file: fn(&str) -> bool,
    name: &'static str,
    line: &'static LazyLock<Regex>,
}

macro_rules! pattern {
    ($text:literal) => {{
        static PATTERN: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a pattern of ours"));
        &PATTERN
    }};
}

static ECOSYSTEMS: &[Ecosystem] = &[
    Ecosystem {
        file: |n| n == "package.json",
        name: "npm",
        line: pattern!(r#"(?:^|[{,])\s*"([@a-z0-9][@a-z0-9/._-]*)"\s*:\s*""#),
    },
    Ecosystem {
        file: |n| n == "composer.json",
        name: "composer",
        line: pattern!(r#"(?:^|[{,])\s*"([a-z0-9-]+/[a-z0-9._-]+)"\s*:\s*""#),
    },
    Ecosystem {
        file: |n| n.starts_with("requirements") && n.ends_with(".txt"),
        name: "pip",
        line: pattern!(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)"),
    },
    Ecosystem {
        file: |n| n == "pyproject.toml" || n == "setup.cfg" || n == "pipfile",
        name: "python",
        line: pattern!(r#"(?:^\s*|["'\[,]\s*)([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\]\s*)?(?:[=<>~!;"',]|$)"#),
    },
    Ecosystem {
        file: |n| n == "cargo.toml",
        name: "cargo",
        line: pattern!(r"^\s*\[?(?:dependencies\.)?([a-z0-9][a-z0-9_-]*)(?:\.workspace)?\s*(?:=|\])"),
    },
    Ecosystem {
        file: |n| n == "go.mod",
        name: "go",
        line: pattern!(r"^\s*(?:require\s+)?([a-z0-9.-]+\.[a-z]+/[^\s]+)\s+v"),
    },
    Ecosystem { file: |n| n == "gemfile", name: "bundler", line: pattern!(r#"^\s*gem\s+["']([^"']+)["']"#) },
    Ecosystem { file: |n| n == "pom.xml", name: "maven", line: pattern!(r"<artifactId>\s*([^<\s]+)\s*</artifactId>") },
    Ecosystem {
        file: |n| n == "build.gradle" || n == "build.gradle.kts",
        name: "gradle",
        line: pattern!(r#"["'][A-Za-z0-9_.-]+:([A-Za-z0-9_.-]+)(?::[^"']*)?["']"#),
    },
];

pub fn look(repo: &Repo) -> Vec<Fact> {
    let mut manifests: Vec<(&str, &Ecosystem)> = repo
        .files
        .iter()
        .filter_map(|f| {
            let name = f.path.rsplit('/').next().unwrap_or(&f.path).to_lowercase();
            ECOSYSTEMS.iter().find(|e| (e.file)(&name)).map(|e| (f.path.as_str(), e))
        })
        .collect();
    manifests.sort_by_key(|(path, _)| (path.matches('/').count(), *path));
    manifests.truncate(MANIFESTS_MAX);
    let mut out = Vec::new();
    for (path, ecosystem) in manifests {
        out.push(Fact::new("manifest", ecosystem.name, path, None));
        let Ok(text) = repo.read_text(path, BYTES_MAX) else { continue };
        for (i, line) in text.lines().enumerate() {
            for found in ecosystem.line.captures_iter(line) {
                let package = found[1].to_lowercase();
                for (_, kind, value) in PACKAGES.iter().filter(|(names, _, _)| names.iter().any(|n| is(n, &package))) {
                    out.push(Fact::new(kind, *value, path, Some(i as u32 + 1)));
                }
            }
        }
    }
    out
}

fn is(pattern: &str, package: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => package.starts_with(prefix),
        None => package == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ecosystem_gives_up_its_names() {
        let names = |ecosystem: &str, text: &str| -> Vec<String> {
            let e = ECOSYSTEMS.iter().find(|e| e.name == ecosystem).unwrap();
            text.lines().flat_map(|l| e.line.captures_iter(l).map(|c| c[1].to_string()).collect::<Vec<_>>()).collect()
        };
        assert_eq!(names("npm", r#"{"dependencies":{"@nestjs/core":"1","pg": "8"}}"#), ["@nestjs/core", "pg"]);
        assert_eq!(names("pip", "Flask[async]==3.0\n# note\nredis>=5"), ["Flask", "redis"]);
        assert_eq!(
            names("python", "dependencies = [\"fastapi>=0.1\", 'uvicorn[standard]']")[1..],
            ["fastapi", "uvicorn"]
        );
        assert_eq!(names("python", "celery = \"^5\""), ["celery"]);
        assert_eq!(
            names("cargo", "axum = \"0.8\"\nsqlx.workspace = true\n[dependencies.tracing]"),
            ["axum", "sqlx", "tracing"]
        );
        assert_eq!(
            names("go", "require github.com/go-chi/chi/v5 v5.0.1\n\tgithub.com/lib/pq v1.10.9"),
            ["github.com/go-chi/chi/v5", "github.com/lib/pq"]
        );
        assert_eq!(names("bundler", "gem 'rails', '~> 8'"), ["rails"]);
        assert_eq!(names("maven", "<artifactId>spring-boot-starter-web</artifactId>"), ["spring-boot-starter-web"]);
        assert_eq!(names("gradle", "implementation(\"org.postgresql:postgresql:42\")"), ["postgresql"]);
    }
}
