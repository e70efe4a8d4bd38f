//! Facts that a path alone tells: languages, CI files, container and process manager files, reports.

use std::collections::BTreeMap;

use super::Fact;
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
    (".gitlab-ci.yml", "ci", "gitlab-ci"),
    (".circleci/config.yml", "ci", "circleci"),
    ("azure-pipelines.yml", "ci", "azure-pipelines"),
    ("bitbucket-pipelines.yml", "ci", "bitbucket"),
    ("jenkinsfile", "ci", "jenkins"),
    (".drone.yml", "ci", "drone"),
    (".woodpecker.yml", "ci", "woodpecker"),
    (".woodpecker/*.yml", "ci", "woodpecker"),
    (".travis.yml", "ci", "travis"),
    (".buildkite/*.yml", "ci", "buildkite"),
    ("**/dockerfile", "container", "dockerfile"),
    ("**/dockerfile.*", "container", "dockerfile"),
    ("**/*.dockerfile", "container", "dockerfile"),
    ("**/containerfile", "container", "dockerfile"),
    ("**/docker-compose*.yml", "container", "compose"),
    ("**/docker-compose*.yaml", "container", "compose"),
    ("**/compose*.yml", "container", "compose"),
    ("**/compose*.yaml", "container", "compose"),
    ("**/chart.yaml", "kubernetes", "helm"),
    ("**/kustomization.yaml", "kubernetes", "kustomize"),
    ("**/ecosystem.config.js", "process-manager", "pm2"),
    ("**/ecosystem.config.cjs", "process-manager", "pm2"),
    ("**/ecosystem.config.json", "process-manager", "pm2"),
    ("**/*.service", "process-manager", "systemd"),
    ("**/supervisord.conf", "process-manager", "supervisor"),
    ("procfile", "process-manager", "procfile"),
    ("**/nginx*.conf", "proxy", "nginx"),
    ("**/nginx/**/*.conf", "proxy", "nginx"),
    ("**/haproxy.cfg", "proxy", "haproxy"),
    ("**/caddyfile", "proxy", "caddy"),
    ("**/traefik.y*ml", "proxy", "traefik"),
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
    ("**/templates/**/*.html", "frontend", "templates"),
    ("**/views/**/*.ejs", "frontend", "templates"),
    ("**/views/**/*.pug", "frontend", "templates"),
    ("**/views/**/*.hbs", "frontend", "templates"),
    ("**/views/**/*.erb", "frontend", "templates"),
    ("**/views/**/*.blade.php", "frontend", "templates"),
    ("public/index.html", "frontend", "html"),
    ("index.html", "frontend", "html"),
];

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

pub fn look(repo: &Repo) -> Vec<Fact> {
    let mut out = Vec::new();
    // Of each language the first file near the root stands for all.
    let mut languages: BTreeMap<&str, &str> = BTreeMap::new();
    for file in repo.files.iter() {
        let path = file.path.as_str();
        let lower = path.to_lowercase();
        let name = lower.rsplit('/').next().unwrap_or(&lower);
        if let Some((_, extension)) = name.rsplit_once('.')
            && let Some((_, language)) = LANGUAGES.iter().find(|(e, _)| *e == extension)
        {
            let first = languages.entry(language).or_insert(path);
            if path.matches('/').count() < first.matches('/').count() {
                *first = path;
            }
        }
        for (pattern, kind, value) in PATHS {
            if matches(pattern, &lower) {
                out.push(Fact::new(kind, *value, path, None));
            }
        }
        let stem = name.split('.').next().unwrap_or_default();
        if matches!(stem, "openapi" | "swagger") && [".json", ".yaml", ".yml"].iter().any(|e| name.ends_with(e)) {
            out.push(Fact::new("openapi", path, path, None));
        }
    }
    out.extend(languages.into_iter().map(|(language, file)| Fact::new("language", language, file, None)));
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
    // Most patterns end in a fixed name: look at that before splitting.
    let tail = pattern.rsplit(['*', '/']).next().unwrap_or_default();
    path.ends_with(tail) && parts(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
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
