//! Facts that a path alone tells: languages, CI files, container and process manager files, reports.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Fact;
use super::own::Own;
use crate::gates::context::Repo;

/// (extension, language).
const LANGUAGES: [(&str, &str); 24] = [
    ("js", "javascript"),
    ("mjs", "javascript"),
    ("cjs", "javascript"),
    ("jsx", "javascript"),
    ("ts", "typescript"),
    ("tsx", "typescript"),
    ("mts", "typescript"),
    ("py", "python"),
    ("go", "go"),
    ("rs", "rust"),
    ("java", "java"),
    ("kt", "kotlin"),
    ("rb", "ruby"),
    ("php", "php"),
    ("cs", "csharp"),
    ("ex", "elixir"),
    ("exs", "elixir"),
    ("swift", "swift"),
    ("scala", "scala"),
    ("c", "c"),
    ("cpp", "cpp"),
    ("vue", "vue"),
    ("svelte", "svelte"),
    ("html", "html"),
];

/// (how the lower-case path looks, kind, value). `*` stands for one path part, `**` for any number of them.
const PATHS: &[(&str, &str, &str)] = &[
    (".github/workflows/*.yml", "ci", "github-actions"),
    (".github/workflows/*.yaml", "ci", "github-actions"),
    (".gitea/workflows/*.yml", "ci", "gitea-actions"),
    (".gitea/workflows/*.yaml", "ci", "gitea-actions"),
    (".forgejo/workflows/*.yml", "ci", "gitea-actions"),
    (".forgejo/workflows/*.yaml", "ci", "gitea-actions"),
    (".gitlab-ci.yml", "ci", "gitlab-ci"),
    (".circleci/config.yml", "ci", "circleci"),
    ("azure-pipelines*.yml", "ci", "azure-pipelines"),
    (".azure-pipelines/*.yml", "ci", "azure-pipelines"),
    ("bitbucket-pipelines.yml", "ci", "bitbucket"),
    ("jenkinsfile", "ci", "jenkins"),
    (".drone.yml", "ci", "drone"),
    (".woodpecker.yml", "ci", "woodpecker"),
    (".woodpecker.yaml", "ci", "woodpecker"),
    (".woodpecker/*.yml", "ci", "woodpecker"),
    (".woodpecker/*.yaml", "ci", "woodpecker"),
    (".travis.yml", "ci", "travis"),
    (".buildkite/*.yml", "ci", "buildkite"),
    (".cirrus.yml", "ci", "cirrus"),
    ("appveyor.yml", "ci", "appveyor"),
    (".appveyor.yml", "ci", "appveyor"),
    ("cloudbuild.yaml", "ci", "cloud-build"),
    ("buildspec.yml", "ci", "codebuild"),
    (".semaphore/semaphore.yml", "ci", "semaphore"),
    ("**/dockerfile", "container", "dockerfile"),
    ("**/dockerfile.*", "container", "dockerfile"),
    ("**/dockerfile-*", "container", "dockerfile"),
    ("**/dockerfile_*", "container", "dockerfile"),
    ("**/*.dockerfile", "container", "dockerfile"),
    ("**/containerfile", "container", "dockerfile"),
    ("**/docker-compose*.yml", "container", "compose"),
    ("**/docker-compose*.yaml", "container", "compose"),
    ("**/compose.yml", "container", "compose"),
    ("**/compose.yaml", "container", "compose"),
    ("**/compose.*.yml", "container", "compose"),
    ("**/compose.*.yaml", "container", "compose"),
    ("**/chart.yaml", "kubernetes", "helm"),
    ("**/kustomization.yaml", "kubernetes", "kustomize"),
    ("**/kustomization.yml", "kubernetes", "kustomize"),
    ("**/ecosystem.config.js", "process-manager", "pm2"),
    ("**/ecosystem.config.cjs", "process-manager", "pm2"),
    ("**/ecosystem.config.json", "process-manager", "pm2"),
    ("**/ecosystem.json", "process-manager", "pm2"),
    ("**/supervisord*.conf", "process-manager", "supervisor"),
    ("**/supervisor/**/*.conf", "process-manager", "supervisor"),
    ("procfile", "process-manager", "procfile"),
    ("**/nginx*.conf", "proxy", "nginx"),
    ("**/nginx*.conf.template", "proxy", "nginx"),
    ("**/nginx/**/*.conf", "proxy", "nginx"),
    ("**/nginx/**/*.conf.template", "proxy", "nginx"),
    ("**/haproxy*.cfg", "proxy", "haproxy"),
    ("**/caddyfile", "proxy", "caddy"),
    ("**/traefik.y*ml", "proxy", "traefik"),
    ("**/traefik.toml", "proxy", "traefik"),
    ("**/envoy.y*ml", "proxy", "envoy"),
    ("**/lcov.info", "coverage-report", "lcov"),
    ("**/coverage.xml", "coverage-report", "cobertura"),
    ("**/cobertura*.xml", "coverage-report", "cobertura"),
    ("**/jacoco*.xml", "coverage-report", "jacoco"),
    ("**/clover.xml", "coverage-report", "clover"),
    ("**/coverage-final.json", "coverage-report", "istanbul"),
    ("**/coverage-summary.json", "coverage-report", "istanbul-summary"),
    ("**/junit*.xml", "test-report", "junit"),
    ("**/test-results/**/*.xml", "test-report", "junit"),
    ("hugo.toml", "static-generator", "hugo"),
    ("mkdocs.yml", "static-generator", "mkdocs"),
    ("_config.yml", "static-generator", "jekyll"),
    (".eleventy.js", "static-generator", "eleventy"),
    ("docusaurus.config.js", "static-generator", "docusaurus"),
    ("docusaurus.config.ts", "static-generator", "docusaurus"),
    ("**/schema.graphql", "graphql", "schema"),
    ("**/*.graphqls", "graphql", "schema"),
    ("**/templates/**/*.html", "frontend", "templates"),
    ("**/templates/**/*.html.*", "frontend", "templates"),
    ("**/templates/**/*.tmpl", "frontend", "templates"),
    ("**/templates/**/*.jinja", "frontend", "templates"),
    ("**/views/**/*.ejs", "frontend", "templates"),
    ("**/views/**/*.pug", "frontend", "templates"),
    ("**/views/**/*.hbs", "frontend", "templates"),
    ("**/views/**/*.erb", "frontend", "templates"),
    ("**/views/**/*.haml", "frontend", "templates"),
    ("**/views/**/*.slim", "frontend", "templates"),
    ("**/views/**/*.html", "frontend", "templates"),
    ("**/views/**/*.blade.php", "frontend", "templates"),
    ("**/*.heex", "frontend", "templates"),
    ("**/*.gohtml", "frontend", "templates"),
    ("**/*.cshtml", "frontend", "templates"),
    ("**/ui/**/*.html", "frontend", "html"),
    ("**/static/**/index.html", "frontend", "html"),
    ("**/public/**/index.html", "frontend", "html"),
    ("**/wwwroot/**/index.html", "frontend", "html"),
    ("index.html", "frontend", "html"),
    ("**/prisma/migrations/**/*.sql", "migrations", "prisma"),
    ("**/db/migrate/*.rb", "migrations", "rails"),
    ("**/alembic/versions/*.py", "migrations", "alembic"),
    ("**/migrations/versions/*.py", "migrations", "alembic"),
    ("**/migrations/0001_*.py", "migrations", "django"),
    ("**/migrations/*/up.sql", "migrations", "diesel"),
    ("**/db/migration/**/v*.sql", "migrations", "flyway"),
    ("**/database/migrations/*.php", "migrations", "laravel"),
    ("**/migrations/*.php", "migrations", "doctrine"),
    ("**/migrations/*.sql", "migrations", "sql"),
    ("**/migrations/*.js", "migrations", "javascript"),
    ("**/migrations/*.ts", "migrations", "javascript"),
    ("**/priv/repo/migrations/*.exs", "migrations", "ecto"),
];

/// Languages that a service is written in; pages alone need none of them.
pub const SERVES: [&str; 12] =
    ["python", "go", "rust", "java", "kotlin", "ruby", "php", "csharp", "elixir", "scala", "c", "cpp"];

/// Pages that are no part of what users see in a browser.
const NO_PAGES: [&str; 8] = ["mail", "swagger", "redoc", "coverage", "report", "pdf", "sphinx", "test"];

/// Where test tools leave coverage that is usually ignored by git, and so is not in the walk.
const REPORTS: [(&str, &str); 9] = [
    ("coverage/lcov.info", "lcov"),
    ("lcov.info", "lcov"),
    ("coverage.xml", "cobertura"),
    ("cobertura.xml", "cobertura"),
    ("coverage/cobertura-coverage.xml", "cobertura"),
    ("coverage/clover.xml", "clover"),
    ("coverage/coverage-final.json", "istanbul"),
    ("target/site/jacoco/jacoco.xml", "jacoco"),
    ("build/reports/jacoco/test/jacocoTestReport.xml", "jacoco"),
];

/// Enough to know where; the rest of a thousand migrations tells nothing new.
const PER_FACT_MAX: usize = 40;

/// A pattern with what is asked first: how the path must end, and what it must have.
struct Rule {
    tail: &'static str,
    /// The longest part of the pattern without a wildcard.
    part: &'static str,
    pattern: &'static str,
    kind: &'static str,
    value: &'static str,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |&(pattern, kind, value): &(&'static str, &'static str, &'static str)| Rule {
        tail: pattern.rsplit(['*', '/']).next().unwrap_or_default(),
        part: pattern.split('*').map(|p| p.trim_matches('/')).max_by_key(|p| p.len()).unwrap_or_default(),
        pattern,
        kind,
        value,
    };
    PATHS.iter().map(rule).collect()
});

pub fn look(repo: &Repo, own: &mut Own) -> Vec<Fact> {
    let mut out = Vec::new();
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut lower = String::new();
    for file in repo.files.iter() {
        let path = file.path.as_str();
        lower.clear();
        lower.extend(path.chars().map(|c| c.to_ascii_lowercase()));
        for rule in RULES.iter().filter(|r| lower.ends_with(r.tail) && lower.contains(r.part)) {
            let count = seen.entry((rule.kind, rule.value)).or_default();
            let page = rule.kind != "frontend" || !NO_PAGES.iter().any(|word| lower.contains(word));
            if *count < PER_FACT_MAX
                && matches(rule.pattern, &lower)
                && page
                && (rule.kind == "ci" || own.has(path))
                // A chart's templates are YAML, whatever their folder is called.
                && !(rule.kind == "frontend" && lower.contains("charts/"))
                // Laravel's lie deeper than Doctrine's.
                && !(rule.value == "doctrine" && lower.contains("database/migrations/"))
            {
                *count += 1;
                out.push(Fact::new(rule.kind, rule.value, path, None));
            }
        }
    }
    out.extend(languages(repo, own));
    if let Some(path) = super::changelog::find(repo.files.iter().map(|f| f.path.as_str())) {
        out.push(Fact::new("changelog", path, path, None));
    }
    for (path, value) in REPORTS {
        if std::fs::symlink_metadata(repo.root().join(path)).is_ok_and(|m| m.is_file()) {
            out.push(Fact::new("coverage-report", value, path, None));
        }
    }
    out
}

/// One file in so many must be in a language, or one script would name it.
const SHARE_MIN: usize = 50;

/// Each language with its first file near the root. A repository of examples alone is read as what it is.
fn languages(repo: &Repo, own: &mut Own) -> Vec<Fact> {
    let mut all: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut ours = all.clone();
    for file in repo.files.iter() {
        let path = file.path.as_str();
        let Some((_, extension)) = path.rsplit_once('.').filter(|(_, e)| e.len() <= 6 && !e.contains('/')) else {
            continue;
        };
        let Some((_, language)) = LANGUAGES.iter().find(|(e, _)| e.eq_ignore_ascii_case(extension)) else { continue };
        for (languages, counts) in [(&mut all, true), (&mut ours, own.has(path))] {
            if counts {
                let (files, first) = languages.entry(language).or_insert((0, path));
                *files += 1;
                if path.matches('/').count() < first.matches('/').count() {
                    *first = path;
                }
            }
        }
    }
    let chosen = if ours.is_empty() { all } else { ours };
    let total: usize = chosen.values().map(|(files, _)| files).sum();
    let enough = |files: usize| files * SHARE_MIN >= total || files >= 20;
    let chosen = chosen.into_iter().filter(|(_, (files, _))| enough(*files));
    chosen.map(|(language, (_, file))| Fact::new("language", language, file, None)).collect()
}

/// Part by part; `*` inside a part stands for any characters.
fn matches(pattern: &str, path: &str) -> bool {
    fn parts(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=path.len()).any(|skip| parts(rest, &path[skip..])),
            (Some((p, rest)), Some((part, tail))) => word(p, part) && parts(rest, tail),
            _ => false,
        }
    }
    fn word(pattern: &str, text: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == text,
            Some((head, tail)) => text
                .strip_prefix(head)
                .is_some_and(|rest| (0..=rest.len()).any(|i| rest.is_char_boundary(i) && word(tail, &rest[i..]))),
        }
    }
    parts(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, path, expect) in [
            ("**/dockerfile", "dockerfile", true),
            ("**/dockerfile", "a/b/dockerfile", true),
            ("**/dockerfile", "a/xdockerfile", false),
            ("**/dockerfile.*", "dockerfile.dev", true),
            (".github/workflows/*.yml", ".github/workflows/ci.yml", true),
            (".github/workflows/*.yml", ".github/workflows/a/ci.yml", false),
            ("**/views/**/*.ejs", "app/views/x/y.ejs", true),
            ("**/views/**/*.ejs", "views/y.ejs", true),
            ("**/compose*.yml", "compose.prod.yml", true),
            ("index.html", "a/index.html", false),
        ] {
            assert_eq!(matches(pattern, path), expect, "{pattern} {path}");
        }
    }
}
