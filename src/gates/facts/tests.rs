//! Small repositories of the shapes that public ones have (`tests/fixtures/facts/truth.tsv`), and hostile ones.

use super::git::scratch::Scratch;
use super::*;

fn look(files: &[(&str, &str)]) -> Facts {
    let repo = Scratch::new();
    for (path, text) in files {
        repo.write(path, text);
    }
    Facts::look(&walk::open(repo.path()).unwrap())
}

#[test]
fn an_express_shop() {
    let facts = look(&[
        (
            "package.json",
            "{\n  \"name\": \"shop\",\n  \"version\": \"1.4.0\",\n  \"dependencies\": {\n    \"express\": \"4\",\n    \"pg\": \"8\",\n    \"pino\": \"9\",\n    \"prom-client\": \"15\"\n  }\n}",
        ),
        ("src/app.js", "x"),
        (".github/workflows/ci.yml", "on: push"),
        ("Dockerfile", "FROM node:22\nHEALTHCHECK CMD true\n"),
        ("compose.yaml", "services:\n  db:\n    image: postgres:15\n  cache:\n    image: redis:7\n"),
        ("openapi.yaml", "openapi: 3.1.0"),
    ]);
    for (kind, value, place) in [
        ("framework", "express", "package.json:5"),
        ("database", "postgresql", "package.json:6"),
        ("logger", "pino", "package.json:7"),
        ("metrics", "prom-client", "package.json:8"),
        ("manifest-version", "1.4.0", "package.json:3"),
        ("cache", "redis", "compose.yaml:5"),
        ("ci", "github-actions", ".github/workflows/ci.yml"),
        ("container", "dockerfile", "Dockerfile"),
        ("language", "javascript", "src/app.js"),
        ("openapi", "openapi.yaml", "openapi.yaml:1"),
    ] {
        let found: Vec<String> = facts.of(kind).filter(|f| f.value == value).map(Fact::place).collect();
        assert!(found.contains(&place.to_string()), "{kind} {value}: {found:?}\n{facts:#?}");
    }
    assert_eq!(facts.profile().0, Profile::WebApi);
}

#[test]
fn profiles() {
    let check = |files: &[(&str, &str)], expect: Profile| {
        let facts = look(files);
        assert_eq!(facts.profile().0, expect, "{:?}\n{facts:#?}", facts.profile());
    };
    check(&[("requirements.txt", "flask==3\n"), ("templates/index.html", "<p>")], Profile::WebApp);
    check(&[("requirements.txt", "fastapi\n"), ("app.py", "")], Profile::WebApi);
    check(&[("requirements.txt", "celery[redis]>=5\n"), ("worker.py", "")], Profile::Worker);
    check(&[("index.html", "<p>"), ("style.css", "")], Profile::StaticSite);
    check(&[("package.json", "{\"dependencies\":{\"next\":\"15\",\"react\":\"19\"}}")], Profile::WebApp);
    check(&[("Cargo.toml", "[dependencies]\naxum = \"0.8\"\n")], Profile::WebApi);
    check(&[("README.md", "hello")], Profile::WebApp);
    check(&[("mkdocs.yml", "site_name: x")], Profile::StaticSite);
}

#[test]
fn broken_and_hostile_files_do_not_stop_it() {
    let facts = look(&[
        ("package.json", "{ \"dependencies\": { \"express\" "),
        ("pyproject.toml", "[[["),
        ("compose.yaml", "\t: ]["),
        ("k8s.yaml", "kind: Deployment\napiVersion: apps/v1\n"),
    ]);
    assert!(facts.has("kubernetes", "Deployment"));
}

/// `kind: value value; …` of the facts that people argue about.
fn told(facts: &Facts) -> String {
    let kinds = ["framework", "rpc", "frontend", "static-generator", "docs", "database", "cache", "queue", "container"];
    let values = |kind: &'static str| {
        let mut values: Vec<String> = facts.of(kind).map(|f| f.value.clone()).collect();
        values.dedup();
        (!values.is_empty()).then(|| format!("{kind}: {}", values.join(" ")))
    };
    kinds.into_iter().filter_map(values).collect::<Vec<_>>().join("; ")
}

#[test]
fn shapes_of_public_repositories() {
    let check = |what: &str, files: &[(&str, &str)], profile: &str, expect: &str| {
        let facts = look(files);
        let (found, because) = facts.profile();
        let word = if because.starts_with(UNTOLD) { "?" } else { found.word() };
        assert_eq!((word, told(&facts).as_str()), (profile, expect), "{what}: {because}\n{facts:#?}");
    };
    check(
        "a framework's own repository: examples, tests and extras are not its product",
        &[
            (
                "pyproject.toml",
                "[project]\nname = \"Bottle\"\ndependencies = [\"blinker>=1\"]\n[project.optional-dependencies]\nasync = [\"redis\"]\n[dependency-groups]\ndocs = [\"mkdocs\"]\n[build-system]\nrequires = []\n",
            ),
            ("src/bottle/app.py", ""),
            ("examples/celery/pyproject.toml", "[project]\nname = \"e\"\ndependencies = [\"bottle\", \"celery\"]\n"),
            ("examples/shop/templates/index.html", ""),
            ("tests/requirements.txt", "django\npsycopg\n"),
            ("mkdocs.yml", "site_name: x"),
        ],
        "?",
        "docs: mkdocs",
    );
    check(
        "a library for Node: what it is tested with is not what it has",
        &[
            (
                "package.json",
                "{\"name\": \"express\", \"files\": [\"lib/\"], \"dependencies\": {\"accepts\": \"2\", \"pg\": \"8\"}, \"devDependencies\": {\"ioredis\": \"1\", \"koa\": \"2\"}}",
            ),
            ("lib/express.js", ""),
            ("examples/mvc/views/a.ejs", ""),
        ],
        "?",
        "",
    );
    check(
        "a workspace whose members use each other",
        &[
            ("Cargo.toml", "[workspace]\nmembers = [\"*\"]\n[workspace.dependencies]\nsqlx = \"1\"\n"),
            ("axum/Cargo.toml", "[package]\nname = \"axum\"\n"),
            ("axum/src/lib.rs", ""),
            (
                "axum-extra/Cargo.toml",
                "[package]\nname = \"axum-extra\"\n[dependencies]\naxum = { path = \"../axum\" }\n",
            ),
            ("axum-extra/src/lib.rs", ""),
            ("examples/sqlx-postgres/Cargo.toml", "[package]\nname = \"e\"\n[dependencies]\ntokio-postgres = \"1\"\n"),
        ],
        "?",
        "",
    );
    check(
        "a service in Go with pages and a manual: the manual does not make it a site",
        &[
            (
                "go.mod",
                "module x.example/loki\nrequire github.com/gorilla/mux v1\nrequire github.com/aws/aws-sdk-go-v2/service/s3 v1\n",
            ),
            ("cmd/loki/main.go", "package main"),
            ("pkg/a.go", ""),
            ("mkdocs.yml", "site_name: x"),
            ("docs/index.md", ""),
            ("pkg/ui/frontend/package.json", "{\"private\": true, \"dependencies\": {\"react\": \"18\"}}"),
            ("cmd/loki/Dockerfile", "FROM x"),
            ("tools/dev/docker-compose.yml", "services:\n  m:\n    image: mysql\n"),
        ],
        "web-app",
        "framework: gorilla-mux; frontend: react; docs: mkdocs; container: dockerfile",
    );
    check(
        "three services and a database",
        &[
            ("vote/requirements.txt", "Flask\nRedis\n"),
            ("vote/app.py", ""),
            ("vote/templates/index.html", ""),
            ("result/package.json", "{\"main\": \"server.js\", \"dependencies\": {\"express\": \"4\", \"pg\": \"8\"}}"),
            ("result/Dockerfile", ""),
            ("result/server.js", ""),
            (
                "worker/Worker.csproj",
                "<Project Sdk=\"Microsoft.NET.Sdk\">\n<PackageReference Include=\"StackExchange.Redis\" />",
            ),
            ("worker/Dockerfile", ""),
            ("worker/Program.cs", ""),
            (
                "docker-compose.yml",
                "services:\n  db:\n    image: postgres:15\n  x:\n    image: oliver/redis_exporter\n",
            ),
        ],
        "web-app",
        "framework: express flask; frontend: templates; database: postgresql; cache: redis; container: compose dockerfile",
    );
    check(
        "a program for the command line",
        &[
            ("go.mod", "module x.example/leaks\nrequire github.com/spf13/cobra v1\n"),
            ("main.go", "package main"),
            ("testdata/Dockerfile", ""),
        ],
        "?",
        "",
    );
    check(
        "an API and its page",
        &[
            (
                "backend/pyproject.toml",
                "[project]\nname = \"app\"\ndependencies = [\n  \"fastapi[standard]\",\n  \"psycopg[binary]\",\n]\n",
            ),
            ("backend/app/email-templates/src/a.html", ""),
            ("backend/Dockerfile", ""),
            ("frontend/package.json", "{\"private\": true, \"dependencies\": {\"react\": \"19\"}}"),
            ("frontend/index.html", ""),
            (".env", "POSTGRES_SERVER=x\n"),
        ],
        "web-app",
        "framework: fastapi; frontend: react; database: postgresql; container: dockerfile",
    );
    check(
        "a site made by a generator in a workspace",
        &[
            ("package.json", "{\"private\": true, \"workspaces\": [\"plugins/*\"]}"),
            (
                "plugins/site/package.json",
                "{\"name\": \"s\", \"dependencies\": {\"react\": \"18\"}, \"devDependencies\": {\"gatsby\": \"5\"}}",
            ),
            ("plugins/site/gatsby-config.mjs", ""),
        ],
        "static-site",
        "frontend: react; static-generator: gatsby",
    );
    check(
        "a Rails application whose tests need more than it does",
        &[
            ("Gemfile", "gem 'rails'\ngem 'sqlite3'\ngem 'solid_queue'\ngroup :test do\n  gem 'pg'\nend\n"),
            ("app/views/a/b.html.erb", ""),
            ("Dockerfile.dev", ""),
            ("config/database.yml", "production:\n  adapter: trilogy\n"),
        ],
        "web-app",
        "framework: rails; frontend: templates; database: mysql sqlite; queue: solid_queue",
    );
    check(
        "drivers as extras, adapters in the settings, a page compiled from TypeScript",
        &[
            (
                "pyproject.toml",
                "[project]\nname = \"paper\"\ndependencies = [\n \"django~=5\",\n \"celery[redis]\",\n]\n[project.optional-dependencies]\nmariadb = [\"mysqlclient\"]\n",
            ),
            ("src/paper/settings/__init__.py", "X = {\"ENGINE\": \"django.db.backends.sqlite3\"}\n"),
            (
                "src-ui/package.json",
                "{\"name\": \"ui\", \"private\": true, \"dependencies\": {\"@angular/core\": \"20\"}}",
            ),
            (
                "docker/compose/docker-compose.postgres.yml",
                "services:\n  b:\n    image: docker.io/library/redis:8\n  d:\n    image: docker.io/library/postgres:18\n",
            ),
        ],
        "web-app",
        "framework: django; frontend: angular; database: mysql postgresql sqlite; cache: redis; queue: celery; container: compose",
    );
    check(
        "Java with templates; tests in containers and infrastructure in another language",
        &[
            (
                "pom.xml",
                "<artifactId>wrong</artifactId>\n<dependency>\n<artifactId>spring-boot-starter-web</artifactId>\n</dependency>\n<dependency>\n<artifactId>postgresql</artifactId>\n<scope>test</scope>\n</dependency>",
            ),
            ("src/main/java/com/example/shop/App.java", ""),
            ("src/main/resources/templates/a.html", ""),
            ("aws/go.mod", "module aws\nrequire github.com/lib/pq v1\n"),
            ("aws/aws_test.go", ""),
        ],
        "web-app",
        "framework: spring; frontend: templates",
    );
    check(
        "only a compose file: no service of its own, but databases",
        &[(
            "docker-compose.yml",
            "services:\n  d:\n    image: \"clickhouse/clickhouse-server:25\"\n  k:\n    image: confluentinc/cp-kafka:7\n",
        )],
        "?",
        "database: clickhouse; queue: kafka; container: compose",
    );
}

#[test]
fn components_have_profiles_of_their_own() {
    let facts = look(&[
        ("api/package.json", "{\"dependencies\": {\"fastify\": \"5\", \"bullmq\": \"5\"}}"),
        ("api/openapi.json", "{\n  \"openapi\": \"3.1.0\"}"),
        ("jobs/requirements.txt", "celery\n"),
        ("web/package.json", "{\"dependencies\": {\"next\": \"15\"}}"),
    ]);
    let found: Vec<String> =
        facts.components().iter().map(|c| format!("{} {} {}", c.folder, c.profile.word(), c.because.place())).collect();
    assert_eq!(
        found,
        [
            "api web-api api/package.json:1",
            "api worker api/package.json:1",
            "jobs worker jobs/requirements.txt:1",
            "web web-app web/package.json:1"
        ]
    );
}

#[test]
fn settings_and_files_tell_with_their_lines() {
    let facts = look(&[
        (
            ".env.example",
            "# DATABASE_URL=postgres://u:secret@h/d\nBROKER_URL='amqp://x'\nSITE_URL=https://mysql.example\nDB_URL=mysql+pymysql://a\n",
        ),
        ("prisma/schema.prisma", "datasource db {\n  provider = \"mongodb\"\n}"),
        ("deploy/shop.service", "[Unit]\n[Service]\nExecStart=x"),
        ("deploy/bus.service", "[D-BUS Service]\n"),
        ("deploy/alertmanager.yml", "global:\nroute:\n  receiver: a\nreceivers:\n"),
        ("deploy/prometheus.yml", "scrape_configs:\n"),
        ("grafana/provisioning/datasources/a.yml", "apiVersion: 1\ndatasources:\n"),
        ("rules/a.yml", "groups:\n- name: a\n  rules:\n  - alert: Down\n"),
        (".github/CODEOWNERS", "# all\n* @acme/core ada@acme.example # @nobody\n/x @acme/core @bob\n"),
        ("Procfile", "web: x\nworker: bundle exec sidekiq\n"),
        ("src/schema.graphqls", ""),
        ("db/migrate/1_a.rb", ""),
        ("cmd/x/main.go", "import \"net/http\"\nfunc main() { http.ListenAndServe(\":1\", nil) }"),
        ("go.mod", "module x.example/x\n"),
        ("x.go", ""),
    ]);
    for (kind, value, place) in [
        ("database", "postgresql", ".env.example:1"),
        ("queue", "rabbitmq", ".env.example:2"),
        ("database", "mysql", ".env.example:4"),
        ("database", "mongodb", "prisma/schema.prisma:2"),
        ("process-manager", "systemd", "deploy/shop.service:2"),
        ("alertmanager", "deploy/alertmanager.yml", "deploy/alertmanager.yml:2"),
        ("prometheus", "scrape-config", "deploy/prometheus.yml:1"),
        ("grafana", "provisioning", "grafana/provisioning/datasources/a.yml:2"),
        ("prometheus-rules", "rules/a.yml", "rules/a.yml:4"),
        ("codeowner", "@acme/core", ".github/CODEOWNERS:2"),
        ("codeowner", "ada@acme.example", ".github/CODEOWNERS:2"),
        ("codeowner", "@bob", ".github/CODEOWNERS:3"),
        ("worker", "sidekiq", "Procfile:2"),
        ("graphql", "schema", "src/schema.graphqls"),
        ("migrations", "rails", "db/migrate/1_a.rb"),
        ("framework", "net/http", "cmd/x/main.go:2"),
    ] {
        let found: Vec<String> = facts.of(kind).filter(|f| f.value == value).map(Fact::place).collect();
        assert!(found.contains(&place.to_string()), "{kind} {value}: {found:?}\n{facts:#?}");
    }
    let count = |kind: &str| facts.of(kind).count();
    assert_eq!((count("process-manager"), count("database"), count("codeowner")), (2, 3, 3), "{facts:#?}");
    assert!(!format!("{facts:?}").contains("secret"));
}

#[test]
fn the_forge_is_the_host_not_a_word_in_the_path() {
    let repo = Scratch::new();
    repo.write("a.js", "").commit("first");
    for (url, expect) in [
        ("https://gitlab.com/acme/github-tools.git", Some("gitlab")),
        ("git@github.com:acme/gitlab.git", Some("github")),
        ("https://git.sr.ht/~a/b", Some("sourcehut")),
        ("https://example.com/github/x", None),
    ] {
        let config = std::fs::read_to_string(repo.path().join(".git/config")).unwrap();
        let before = config.split("[remote").next().unwrap().to_string();
        std::fs::write(repo.path().join(".git/config"), format!("{before}[remote \"origin\"]\n\turl = {url}\n"))
            .unwrap();
        let facts = Facts::look(&walk::open(repo.path()).unwrap());
        let found = facts.of("forge").next();
        assert_eq!(found.map(|f| f.value.as_str()), expect, "{url}");
        assert!(found.is_none_or(|f| f.line.is_some()), "{url}");
    }
}
