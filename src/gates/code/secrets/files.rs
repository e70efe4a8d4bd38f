//! How each file is looked at, by its name and first bytes. Pure.

use super::assignment::Form;
use super::scan::{Kind, People, View};
use crate::gates::code::role::Role;

/// Pictures, sounds, fonts: their bytes are noise. Programs are not: what was a constant is still readable there.
const NOISE: &[&str] = &[
    "png", "jpg", "jpeg", "gif", "webp", "avif", "ico", "bmp", "tif", "tiff", "psd", "mp3", "mp4", "m4a", "m4v", "mov",
    "avi", "webm", "ogg", "ogv", "wav", "flac", "woff", "woff2", "ttf", "otf", "eot", "pdf",
];
/// Hashes by the thousand, none of them secret.
pub(super) const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "cargo.lock",
    "go.sum",
    "go.work.sum",
    "composer.lock",
    "gemfile.lock",
    "poetry.lock",
    "pipfile.lock",
    "uv.lock",
    "pdm.lock",
    "flake.lock",
    "mix.lock",
    "pubspec.lock",
    "podfile.lock",
    "packages.lock.json",
    "deno.lock",
    "cartfile.resolved",
    "package.resolved",
    "gradle.lockfile",
];
/// Endings of files whose values need no quotes.
const SETTINGS: &[&str] = &[
    "env",
    "ini",
    "cfg",
    "conf",
    "config",
    "properties",
    "yaml",
    "yml",
    "toml",
    "sh",
    "bash",
    "zsh",
    "fish",
    "bat",
    "cmd",
    "ps1",
    "tfvars",
    "service",
    "reg",
    "plist",
    "cnf",
    "txt",
    "log",
    "credentials",
    "npmrc",
    "s3cfg",
    "boto",
    "netrc",
    "pgpass",
    "sql",
    "make",
    "mk",
    "envrc",
    "dist",
    "local",
];
/// Where programs keep what they log in with.
const KEEPERS: &[&str] = &[
    ".npmrc",
    ".netrc",
    "_netrc",
    ".pgpass",
    "pgpass.conf",
    ".my.cnf",
    ".s3cfg",
    ".boto",
    "credentials",
    ".credentials",
    ".dockercfg",
    "sftp.json",
    "sftp-config.json",
    ".ftpconfig",
    ".remote-sync.json",
    "deployment-config.json",
    "ftp-sync.json",
    "webservers.xml",
    "recentservers.xml",
    "sitemanager.xml",
    "filezilla.xml",
    "robomongo.json",
    "dbeaver-data-sources.xml",
    "data-sources.xml",
    "datasources.local.xml",
    ".esmtprc",
    ".msmtprc",
    ".fetchmailrc",
    "wp-config.php",
    "database.yml",
    "secrets.yml",
    "logins.json",
    ".tugboat",
    ".hub",
    "hub",
    "ventrilo_srv.ini",
    ".git-credentials",
    ".pypirc",
    "kubeconfig",
    "kubeconfig.yaml",
    "kubeconfig.yml",
    "auth.json",
    "local.settings.json",
    "terraform.tfvars",
    "configuration.php",
    "localsettings.php",
    "config.php",
];
/// Endings of prose.
const PROSE: &[&str] =
    &["md", "mdx", "rst", "adoc", "html", "htm", "tex", "po", "pot", "xlf", "xliff", "svg", "css", "scss", "less"];

/// By its name: there is nothing to look for.
pub(super) fn is_noise(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').is_some_and(|(_, ending)| NOISE.contains(&ending.to_ascii_lowercase().as_str()))
}

/// By its ending.
pub(super) fn is_prose(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, ending)| PROSE.contains(&ending.to_ascii_lowercase().as_str()))
}

/// `None`: there is nothing to look for.
pub(super) fn view(path: &str, head: &[u8]) -> Option<View> {
    if is_noise(path) {
        return None;
    }
    let lower = path.to_ascii_lowercase();
    let name = lower.rsplit('/').next().unwrap_or(&lower);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let binary = head.iter().take(8_192).any(|b| *b == 0);
    let minified = name.contains(".min.") || ending == "map" || is_packed(head);
    let role = Role::of_path(path);
    let names = !binary && !minified && !LOCKS.contains(&name) && !matches!(role, Role::Vendored | Role::Generated);
    // A name without an ending says what somebody wants to try, not what a suite has.
    let said =
        if name.contains('.') { lower.as_str() } else { lower.rsplit_once('/').map_or("", |(folders, _)| folders) };
    let of = |parts: &[&str]| parts.iter().any(|part| in_path(said, part));
    // Source sets of Gradle: `src/dockerTest/`.
    let suite = lower.split_once("/src/").or(lower.split_once("src/")).and_then(|(_, rest)| rest.split_once('/'));
    let test = of(&[
        "test",
        "spec",
        "mock",
        "fixture",
        "snapshot",
        "cassette",
        "stub",
        "testutil",
        "testhelper",
        "testlib",
        "testkit",
        "testdata",
    ]) || suite.is_some_and(|(set, _)| set.ends_with("test"))
        || name.starts_with("phpunit.xml")
        || ["t/", "integration/"].iter().any(|folder| lower.starts_with(folder));
    let sample =
        of(&["example", "sample", "demo", "template", "i18n", "locale", "translation", "playground", "benchmark"]);
    let spec = name.starts_with("swagger.") || name.starts_with("openapi.");
    let prose = spec
        || lower.contains(".dist-info/")
        || PROSE.contains(&ending)
        || ["docs", "doc", "tutorial", "license", "licenses", "changelog", "notice", "news"]
            .iter()
            .any(|part| in_path(&lower, part));
    // A guide of the team's own, not the product's documentation.
    let own = ["md", "mdx", "rst", "adoc"].contains(&ending) && !test && !sample && role == Role::Product;
    let people = match role {
        _ if prose && own => People::Prose,
        _ if prose => People::Readers,
        _ if is_pipeline(&lower) => People::Samples,
        Role::Test => People::Tests,
        _ if test => People::Tests,
        Role::Story => People::Samples,
        _ if sample => People::Samples,
        _ => People::Users,
    };
    let state = [".tfstate", ".tfstate.backup", ".kubeconfig", ".env", ".tfvars"].iter().any(|end| name.ends_with(end));
    let keeper = KEEPERS.contains(&name)
        || state
        || lower.ends_with(".kube/config")
        || name.starts_with(".env") && people == People::Users;
    let form = match name {
        ".netrc" | "_netrc" | "dockerfile" => Form::Words,
        _ if name.ends_with(".dockerfile") || name.starts_with("dockerfile.") => Form::Words,
        _ if SETTINGS.contains(&ending) || !name.trim_start_matches('.').contains('.') || name.starts_with(".env") => {
            Form::Settings
        }
        _ => Form::Code,
    };
    let kind = match form {
        _ if keeper => Kind::Keeper,
        Form::Code if !["json", "xml", "jsonc", "tf", "hcl"].contains(&ending) => Kind::Code,
        _ => Kind::Config,
    };
    Some(View { form, names, served: is_served(&lower, ending, people), kind, people })
}

/// The folder of tests in which a file lies: `pkg/testdata` of `pkg/testdata/keys/a.pem`.
pub(super) fn suite(path: &str) -> Option<&str> {
    let mut end = 0;
    for part in path.split_inclusive('/') {
        end += part.len();
        let lower = part.to_ascii_lowercase();
        let folder = lower.strip_suffix('/')?;
        if ["test", "tests", "spec", "testdata", "fixture", "mock"].iter().any(|word| in_path(folder, word)) {
            return Some(&path[..end - 1]);
        }
    }
    None
}

pub(super) fn is_page(path: &str) -> bool {
    [".html", ".htm", ".mhtml"].iter().any(|end| path.to_ascii_lowercase().ends_with(end))
}

/// A pipeline's settings: the databases of its tests have passwords too.
pub(super) fn is_pipeline(lower: &str) -> bool {
    const STARTS: [&str; 7] =
        [".github/", ".gitlab-ci", ".circleci/", "azure-pipelines", ".travis", ".drone", "bitbucket-pipelines"];
    STARTS.iter().any(|start| lower.starts_with(start)) || lower.rsplit('/').next() == Some("jenkinsfile")
}

/// A bundle, its source map, or a page that a web server hands out.
fn is_served(lower: &str, ending: &str, people: People) -> bool {
    const FOLDERS: [&str; 9] = ["dist", "public", "static", "www", "wwwroot", "htdocs", "_next", ".next", "build"];
    let page = ["js", "mjs", "cjs", "map", "css", "html", "htm"].contains(&ending);
    let (folders, _) = lower.rsplit_once('/').unwrap_or_default();
    page && people != People::Tests && folders.split('/').any(|folder| FOLDERS.contains(&folder))
}

/// A folder or a part of the file's name.
fn in_path(lower: &str, part: &str) -> bool {
    lower
        .split(['/', '.', '-', '_'])
        .any(|word| word.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest == "s"))
}

/// Lines as nobody writes them.
fn is_packed(head: &[u8]) -> bool {
    let head = &head[..head.len().min(64 * 1024)];
    head.len() > 5_000 && head.len() / (head.iter().filter(|b| **b == b'\n').count() + 1) > 500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_content() {
        let of = |path: &str, head: &[u8]| view(path, head).map(|v| (v.form, v.names, v.kind, v.people));
        for (path, expect) in [
            ("src/app.ts", (Form::Code, true, Kind::Code, People::Users)),
            (".env.production", (Form::Settings, true, Kind::Keeper, People::Users)),
            ("config/app.yml", (Form::Settings, true, Kind::Config, People::Users)),
            ("config/app.json", (Form::Code, true, Kind::Config, People::Users)),
            (".netrc", (Form::Words, true, Kind::Keeper, People::Users)),
            ("deploy/Dockerfile", (Form::Words, true, Kind::Config, People::Users)),
            ("tests/app.test.ts", (Form::Code, true, Kind::Code, People::Tests)),
            ("docs/setup.md", (Form::Code, true, Kind::Code, People::Readers)),
            ("README.md", (Form::Code, true, Kind::Code, People::Prose)),
            ("notes.txt", (Form::Settings, true, Kind::Config, People::Users)),
            ("api/swagger.yaml", (Form::Settings, true, Kind::Config, People::Readers)),
            ("deploy/prod.env", (Form::Settings, true, Kind::Keeper, People::Users)),
            ("internal/testutil/a.go", (Form::Code, true, Kind::Code, People::Tests)),
            (".env.example", (Form::Settings, true, Kind::Config, People::Samples)),
            ("scripts/deploy.sh", (Form::Settings, true, Kind::Config, People::Users)),
            ("mod/src/dockerTest/resources/a.key", (Form::Code, true, Kind::Code, People::Tests)),
            (".github/workflows/test.yml", (Form::Settings, true, Kind::Config, People::Samples)),
            ("infra/terraform.tfstate", (Form::Code, true, Kind::Keeper, People::Users)),
            (".kube/config", (Form::Settings, true, Kind::Keeper, People::Users)),
            ("general-test", (Form::Settings, true, Kind::Config, People::Users)),
            ("notebooks/train.ipynb", (Form::Code, true, Kind::Code, People::Users)),
            ("yarn.lock", (Form::Code, false, Kind::Code, People::Users)),
            ("static/app.min.js", (Form::Code, false, Kind::Code, People::Users)),
            ("credentials", (Form::Settings, true, Kind::Keeper, People::Users)),
            ("src/contest.py", (Form::Code, true, Kind::Code, People::Users)),
        ] {
            assert_eq!(of(path, b"x"), Some(expect), "{path}");
        }
        for path in ["phpunit.xml", "phpunit.xml.dist"] {
            assert_eq!(of(path, b"x").map(|(.., people)| people), Some(People::Tests), "{path}");
        }
        assert_eq!(suite("pkg/testdata/keys/tests/a.pem"), Some("pkg/testdata"));
        assert_eq!((suite("src/contest/a.js"), suite("src/a.test.js")), (None, None));
        assert_eq!(of("logo.png", b"x"), None);
        assert_eq!(of("data.bin", b"a\0b"), Some((Form::Code, false, Kind::Code, People::Users)));
        assert!(!view("app.js", &b"x=1;".repeat(3000)).unwrap().names);
        for (path, expect) in [
            ("dist/app.js", true),
            ("web/public/app.js.map", true),
            ("src/app.js", false),
            ("public/a.php", false),
            ("test/static/a.js", false),
        ] {
            assert_eq!(view(path, b"x").unwrap().served, expect, "{path}");
        }
    }
}
