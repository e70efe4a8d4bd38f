//! Each family of manifests, by what its readers give up.

use super::*;
use crate::gates::testing;

/// Names by scope: `a b | optional | develops`.
fn read(path: &str, text: &str) -> (String, Manifest) {
    let (_dir, repo) = testing::repo(&[(path, text), ("x.go", "")]);
    let name = path.rsplit('/').next().unwrap().to_lowercase();
    let ecosystem = ECOSYSTEMS.iter().find(|e| (e.file)(path, &name)).unwrap();
    let folder = path.rsplit_once('/').map_or(String::new(), |(f, _)| format!("{f}/"));
    let manifest = (ecosystem.read)(path, text, &Around { folder, repo: &repo });
    let of = |scope: Scope| {
        let names = manifest.dependencies.iter().filter(|d| d.scope == scope);
        names.map(|d| format!("{}:{}", d.name, d.line)).collect::<Vec<_>>().join(" ")
    };
    (format!("{} | {} | {}", of(Scope::Runs), of(Scope::Optional), of(Scope::Develops)), manifest)
}

#[test]
fn each_ecosystem_gives_up_its_names_scopes_and_lines() {
    for (path, text, expect) in [
        ("package.json", r#"{"dependencies":{"@nestjs/core":"1","pg": "8"}}"#, "@nestjs/core:1 pg:1 |  | "),
        (
            "package.json",
            "{\n \"scripts\": {\"express\": \"x }\"},\n \"devDependencies\": {\n  \"celery\": \"1\"\n },\n \"optionalDependencies\": {\"pg\": \"8\"}",
            " | pg:6 | celery:4",
        ),
        (
            "composer.json",
            "{\"require\": {\"slim/slim\": \"4\"}, \"require-dev\": {\"a/b\": \"1\"}}",
            "slim/slim:1 |  | a/b:1",
        ),
        ("requirements.txt", "Flask[async]==3.0\n# note\n-r other.txt\nredis>=5", "flask:1 redis:4 |  | "),
        ("requirements/dev.txt", "celery", " |  | celery:1"),
        (
            "pyproject.toml",
            "[project]\nname = \"x\"\ndependencies = [\n  \"fastapi>=0.1\",\n  # \"flask\",\n  'uvicorn[standard]',\n]\n[project.optional-dependencies]\npg = [\"psycopg[c,pool]==3\"]\ntest = [\"celery\"]\n[dependency-groups]\ndocs = [{ include-group = \"y\" }, \"mkdocs\"]\n",
            "fastapi:4 uvicorn:6 | psycopg:9 | celery:10 mkdocs:12",
        ),
        (
            "pyproject.toml",
            "[tool.poetry.dependencies]\npython = \"^3\"\ncelery = \"^5\"\npg = { version = \"1\", optional = true }\n[tool.poetry.group.dev.dependencies]\nflask = \"*\"\n",
            "celery:3 | pg:4 | flask:6",
        ),
        ("Pipfile", "[packages]\ndjango = \"*\"\n[dev-packages]\nflask = \"*\"", "django:2 |  | flask:4"),
        (
            "setup.py",
            "setup(\n name='x',\n install_requires=[\n  'flask>=1',\n 'rq'],\n extras_require={'a': ['celery']},\n)",
            "flask:4 rq:5 | a:6 celery:6 | ",
        ),
        (
            "setup.cfg",
            "[options]\ninstall_requires =\n    flask>=1\n    rq\n\n[options.extras_require]\nx = y\n",
            "flask:3 rq:4 |  | ",
        ),
        (
            "Cargo.toml",
            "[dependencies]\naxum = \"0.8\"\nsqlx.workspace = true\ndb = { package = \"rusqlite\", optional = true }\n[dependencies.tracing]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\nnix = \"1\"\n[dev-dependencies]\nwarp = \"1\"\n[workspace.dependencies]\nrocket = \"1\"",
            "axum:2 sqlx:3 tracing:5 nix:8 | rusqlite:4 | warp:10",
        ),
        (
            "go.mod",
            "module x.example/y\nrequire github.com/go-chi/chi/v5 v5.0.1\nrequire (\n\tgithub.com/lib/pq v1.10.9\n\tgithub.com/gin-gonic/gin v1 // indirect\n)\nreplace (\n\tgithub.com/a/b v1 => github.com/c/d v1\n)",
            "github.com/go-chi/chi/v5:2 github.com/lib/pq:4 |  | ",
        ),
        (
            "Gemfile",
            "gem 'rails', '~> 8'\ngroup :development, :test do\n  gem 'sidekiq'\nend\ngem 'rq', group: :test\ngem 'pg'\ngroup :production do\n gem 'puma'\nend",
            "rails:1 pg:6 puma:8 |  | sidekiq:3 rq:5",
        ),
        ("x.gemspec", "s.add_dependency 'rack'\ns.add_development_dependency('rails')", "rack:1 |  | rails:2"),
        (
            "pom.xml",
            "<parent>\n<artifactId>boot</artifactId>\n</parent>\n<artifactId>shop</artifactId>\n<dependencies>\n<dependency>\n<artifactId>spring-boot-starter-web</artifactId>\n</dependency>\n<dependency>\n<artifactId>h2</artifactId>\n<scope>test</scope>\n</dependency>\n</dependencies>",
            "spring-boot-starter-web:7 |  | h2:10",
        ),
        (
            "build.gradle",
            "  implementation(\"org.postgresql:postgresql:42\")\n testImplementation 'a.b:h2'",
            "postgresql:1 |  | h2:2",
        ),
        (
            "App.csproj",
            "<Project Sdk=\"Microsoft.NET.Sdk.Web\">\n<PackageReference Include=\"Npgsql\" Version=\"8\" />",
            "Microsoft.NET.Sdk.Web:1 Npgsql:2 |  | ",
        ),
        ("mix.exs", "{:phoenix, \"~> 1.7\"},\n{:credo, \"~> 1\", only: [:dev, :test]}", "phoenix:1 |  | credo:2"),
    ] {
        assert_eq!(read(path, text).0, expect, "{path}\n{text}");
    }
}

#[test]
fn libraries_programs_and_products() {
    let kind = |path: &str, text: &str| {
        let manifest = read(path, text).1;
        (manifest.library, manifest.commands.is_some())
    };
    assert_eq!(kind("package.json", "{\"main\": \"lib/a.js\"}"), (true, false));
    assert_eq!(kind("package.json", "{\"main\": \"app.js\", \"scripts\": {\"start\": \"node .\"}}"), (false, false));
    assert_eq!(kind("package.json", "{\"bin\": {\"x\": \"x.js\"}, \"files\": [\"x\"]}"), (true, true));
    assert_eq!(kind("package.json", "{\"private\": true, \"main\": \"a\"}"), (false, false));
    assert_eq!(kind("pyproject.toml", "[build-system]\n[project]\nname = \"x\"\n"), (true, false));
    assert_eq!(kind("pyproject.toml", "[project]\nname = \"x\"\n"), (false, false));
    assert_eq!(kind("go.mod", "module x.example/y\n"), (true, false));
}

proptest::proptest! {
    #[test]
    fn no_text_stops_a_reader(text in "(\\[[a-z.\\-]{0,12}\\]\n|[\"{}\\[\\]:,=a-z<>/ \n]{0,12}|install_requires=\\[|<dependency>|group :test do\n){0,12}") {
        for path in ["package.json", "pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "Cargo.toml", "go.mod", "Gemfile", "pom.xml", "build.gradle", "a.csproj", "mix.exs"] {
            read(path, &text);
        }
    }
}
