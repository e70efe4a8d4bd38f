//! Where a framework's settings put uploads in production: Django's storages, Rails' active storage, Laravel's disks. Read
//! as lines with comments left out; a value that only the environment knows is said to be unknown, never guessed.

use std::sync::LazyLock;

use regex::Regex;

use super::role::Role;
use super::uploads::{Framework, Sign, What};
use crate::gates::context::Repo;
use crate::gates::import::located;

/// Settings are small.
const BYTES_MAX: u64 = 512 * 1024;

/// Signs of `framework`'s settings; none when they leave it to the environment, whose names are the second half.
pub fn look(repo: &Repo, framework: Framework) -> (Vec<Sign>, Vec<String>) {
    match framework {
        Framework::Django => django(repo),
        Framework::Rails => rails(repo),
        Framework::Laravel => laravel(repo),
    }
}

fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static DEFAULT_STORAGE: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"(?m)^\s*(?:DEFAULT_FILE_STORAGE\s*=|["']BACKEND["']\s*:)\s*["']([\w.]+)["']"#));
static STORAGES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(r#"(?s)STORAGES\s*=\s*\{.*?["']default["']\s*:\s*\{[^}]*?["']BACKEND["']\s*:\s*["']([\w.]+)["']"#)
});
/// `STORAGES["default"]["BACKEND"] = "…"`, with what stands before it on its line.
static STORAGE_SET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"(?m)^([ \t]*)STORAGES\[["']default["']\](?:\[["']BACKEND["']\]\s*=\s*|\s*=\s*\{\s*["']BACKEND["']\s*:\s*)["']([\w.]+)["']"#,
    )
});
/// Apps whose whole purpose is that people upload.
static TAKES_UPLOADS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"(?m)^\s*["'](wagtail\.images|wagtail\.documents|filer|easy_thumbnails|ckeditor_uploader|django_summernote|cms)["']\s*,"#,
    )
});
static ROOT: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"(?m)^\s*MEDIA_ROOT\s*=\s*(.+)$"));

fn line_at(text: &str, at: usize) -> u32 {
    text[..at].matches('\n').count() as u32 + 1
}

/// Comments blanked, so that places stay where they are.
fn without_comments(text: &str, mark: &str) -> String {
    let clean = |l: &str| if l.trim_start().starts_with(mark) { " ".repeat(l.len()) } else { l.to_string() };
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

fn backend(name: &str, dir: &str) -> What {
    let local = ["FileSystemStorage", "OverwriteStorage", "InMemoryStorage"].iter().any(|l| name.ends_with(l));
    if local { What::Disk { dir: dir.to_string() } } else { What::Store { name: name.to_string() } }
}

/// The settings of production, where files are split by environment; all of them otherwise.
fn django(repo: &Repo) -> (Vec<Sign>, Vec<String>) {
    let mut found: Vec<(bool, Sign)> = Vec::new();
    let (mut media, mut root, mut by_environment) = (None, "MEDIA_ROOT".to_string(), Vec::new());
    for file in repo.files.iter().filter(|f| f.bytes <= BYTES_MAX && is_django_settings(&f.path)) {
        let Ok(text) = repo.read_text(&file.path, BYTES_MAX) else { continue };
        let text = without_comments(&text, "#");
        if let Some(found) = ROOT.as_ref().and_then(|r| r.captures(&text)) {
            // What is worked out there nobody wants to read here.
            let worked_out = found[1].contains('(');
            root = if worked_out { "MEDIA_ROOT".into() } else { found[1].trim().chars().take(80).collect() };
            media = found
                .get(0)
                .map(|m| (file.path.clone(), line_at(&text, m.start() + found[0].len() - found[0].trim_start().len())));
        }
        if let Some(set) = STORAGE_SET.as_ref().and_then(|r| r.captures(&text)) {
            let (at, name) = (set.get(0).map_or(0, |m| m.start()), set[2].to_string());
            match condition(&text[..at], set[1].len()) {
                Some(variable) => by_environment.push(variable),
                None => {
                    let production = file.path.to_ascii_lowercase().contains("prod");
                    let what = backend(&name, &root);
                    let line = line_at(&text, at);
                    found
                        .push((production, Sign { file: file.path.clone(), line, what, by: "storage setting".into() }));
                }
            }
            continue;
        }
        let modern = STORAGES.as_ref().and_then(|r| r.captures(&text));
        let old = || {
            DEFAULT_STORAGE.as_ref().and_then(|r| r.captures(&text)).filter(|c| c[0].contains("DEFAULT_FILE_STORAGE"))
        };
        if let Some(name) = modern.or_else(old).and_then(|c| c.get(1)) {
            let production = file.path.to_ascii_lowercase().contains("prod");
            let line = line_at(&text, name.start());
            let sign = Sign {
                file: file.path.clone(),
                line,
                what: backend(name.as_str(), &root),
                by: "storage setting".into(),
            };
            found.push((production, sign));
        }
    }
    if found.iter().any(|(production, _)| *production) {
        found.retain(|(production, _)| *production);
    }
    // What production adds under a condition goes before the base's own.
    if !by_environment.is_empty() && !found.iter().any(|(production, _)| *production) {
        return (Vec::new(), by_environment);
    }
    let signs: Vec<Sign> = found.into_iter().map(|(_, sign)| sign).collect();
    match media {
        // Django's own default.
        Some((file, line)) if signs.is_empty() => (
            vec![Sign {
                file,
                line,
                what: What::Disk { dir: root },
                by: "MEDIA_ROOT, Django's default storage".into(),
            }],
            Vec::new(),
        ),
        None if signs.is_empty() => (Vec::new(), vec!["DEFAULT_FILE_STORAGE".into()]),
        _ => (signs, Vec::new()),
    }
}

/// The variable that the nearest `if` above asks for; `None`: nothing is asked. `depth`: how far the line is indented.
fn condition(before: &str, depth: usize) -> Option<String> {
    let outer = |l: &&str| l.len() - l.trim_start().len() < depth && !l.trim().is_empty();
    let asked = before.lines().rev().filter(|_| depth > 0).find(outer)?.trim_start();
    let name = super::calls::literals(asked).first().map(|l| l.to_string());
    asked.starts_with("if").then(|| name.unwrap_or_else(|| "a condition".into()))
}

/// Settings that switch on an app to which people upload, where the product has no field of its own for it.
pub fn apps(repo: &Repo) -> Vec<Sign> {
    let settings = repo.files.iter().filter(|f| f.bytes <= BYTES_MAX && is_django_settings(&f.path));
    let one = |path: &str| {
        let text = without_comments(&repo.read_text(path, BYTES_MAX).ok()?, "#");
        let found = TAKES_UPLOADS.as_ref()?.captures(&text).filter(|_| text.contains("INSTALLED_APPS"))?;
        let app = found.get(1)?;
        let what = What::Upload { framework: Some(Framework::Django) };
        Some(Sign { file: path.to_string(), line: line_at(&text, app.start()), what, by: app.as_str().to_string() })
    };
    settings.filter_map(|f| one(&f.path)).take(1).collect()
}

fn is_django_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let settings =
        name.ends_with(".py") && (name.contains("settings") || path.contains("settings/") || path.contains("config/"));
    let development =
        name.split(['.', '_', '-']).any(|p| matches!(p, "dev" | "development" | "local" | "test" | "testing" | "ci"));
    settings && !development && !matches!(Role::of_path(path), Role::Test | Role::Vendored)
}

static SERVICE: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"config\.active_storage\.service\s*=\s*(.+)"));

fn rails(repo: &Repo) -> (Vec<Sign>, Vec<String>) {
    let (mut signs, mut unknown) = (Vec::new(), Vec::new());
    for file in repo.files.iter().filter(|f| f.path.ends_with("config/environments/production.rb")) {
        let Ok(text) = repo.read_text(&file.path, BYTES_MAX) else { continue };
        let text = without_comments(&text, "#");
        let Some(found) = SERVICE.as_ref().and_then(|r| r.captures(&text)) else { continue };
        let value = found[1].trim().to_string();
        let Some(name) = value.strip_prefix(':').map(|v| v.trim().to_string()) else {
            unknown.push(value.chars().take(80).collect());
            continue;
        };
        let folder = file.path.trim_end_matches("environments/production.rb");
        let (line, kind, dir) = rails_service(repo, &format!("{folder}storage.yml"), &name);
        let what = match kind.as_deref() {
            Some("Disk") => What::Disk { dir },
            Some(other) => What::Store { name: other.to_string() },
            None => {
                unknown.push(format!("service {name}"));
                continue;
            }
        };
        let place = (format!("{folder}storage.yml"), line);
        signs.push(Sign { file: place.0, line: place.1, what, by: format!("config.active_storage.service = :{name}") });
    }
    if signs.is_empty() && unknown.is_empty() {
        unknown.push("config.active_storage.service".into());
    }
    (signs, unknown)
}

/// Line, kind and folder of a service of `storage.yml`. ERB inside values is text to us.
fn rails_service(repo: &Repo, path: &str, name: &str) -> (u32, Option<String>, String) {
    let text = repo.read_text(path, BYTES_MAX).unwrap_or_default();
    let quoted: String = text.lines().map(erb_out).collect::<Vec<_>>().join("\n");
    let documents = located::documents(&quoted).unwrap_or_default();
    let found = documents.iter().find(|d| d.has(name));
    let service = found.map(|d| d.get(name));
    let kind = service.and_then(|s| s.get("service").text()).map(String::from);
    let line = found.map_or(1, |d| d.line_of(name));
    (line, kind, text_of_root(&text, line).unwrap_or_else(|| "storage".into()))
}

fn erb_out(line: &str) -> String {
    match (line.find("<%"), line.rfind("%>")) {
        (Some(start), Some(end)) if end > start => format!("{}erb{}", &line[..start], &line[end + 2..]),
        _ => line.to_string(),
    }
}

fn text_of_root(text: &str, from: u32) -> Option<String> {
    let line = text.lines().skip(from as usize).take(6).find(|l| l.trim_start().starts_with("root:"))?;
    super::calls::literals(line).first().map(|l| l.to_string())
}

static DISK_DEFAULT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(
        r#"["']default["']\s*=>\s*(?:env\(\s*["'](\w+)["']\s*,\s*)?(?:env\(\s*["'](\w+)["']\s*,\s*)?["']([\w-]+)["']"#,
    )
});
static DISK_DRIVER: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r#"["']([\w-]+)["']\s*=>\s*\[\s*["']driver["']\s*=>\s*["'](\w+)["']"#));

fn laravel(repo: &Repo) -> (Vec<Sign>, Vec<String>) {
    let (mut signs, mut unknown) = (Vec::new(), Vec::new());
    let settings = |path: &str| path.to_ascii_lowercase().ends_with("config/filesystems.php");
    for file in repo.files.iter().filter(|f| settings(&f.path)) {
        let Ok(text) = repo.read_text(&file.path, BYTES_MAX) else { continue };
        let Some(found) = DISK_DEFAULT.as_ref().and_then(|r| r.captures(&text)) else { continue };
        let Some(fallback) = found.get(3) else { continue };
        let variable = found.get(1).map(|m| m.as_str());
        let given = variable.and_then(|v| environment(repo, v));
        let disk = match (variable, &given) {
            (Some(variable), None) => {
                unknown.push(variable.to_string());
                continue;
            }
            (_, Some((_, value))) => value.clone(),
            (None, None) => fallback.as_str().to_string(),
        };
        let drivers = DISK_DRIVER.as_ref().into_iter().flat_map(|r| r.captures_iter(&text));
        let driver = drivers.filter(|c| c[1] == disk).map(|c| c[2].to_string()).next();
        let what = match driver.as_deref().unwrap_or(&disk) {
            "local" | "public" => What::Disk { dir: format!("storage/app (disk {disk})") },
            other => What::Store { name: other.to_string() },
        };
        signs.push(Sign {
            file: file.path.clone(),
            line: line_at(&text, fallback.start()),
            what,
            by: "filesystems.default".into(),
        });
    }
    if signs.is_empty() && unknown.is_empty() {
        unknown.push("FILESYSTEM_DISK".into());
    }
    (signs, unknown)
}

/// A variable's value in the settings nearest to production.
fn environment(repo: &Repo, name: &str) -> Option<(String, String)> {
    [".env.production", ".env.prod", ".env", ".env.example"].into_iter().find_map(|file| {
        let path = &repo.files.iter().find(|f| f.path == file)?.path;
        let text = repo.read_text(path, BYTES_MAX).ok()?;
        let value =
            text.lines().find_map(|l| l.trim().strip_prefix(name)?.trim_start().strip_prefix('=').map(String::from))?;
        let value = value.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']).to_string();
        (!value.is_empty()).then(|| (path.clone(), value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    fn check(framework: Framework, files: &[(&str, &str)], expect: &[(&str, What)], unknown: &[&str]) {
        let (_dir, repo) = testing::repo(files);
        let (signs, open) = look(&repo, framework);
        let seen: Vec<(String, What)> = signs.into_iter().map(|s| (format!("{}:{}", s.file, s.line), s.what)).collect();
        let expect: Vec<(String, What)> = expect.iter().map(|(p, w)| (p.to_string(), w.clone())).collect();
        assert_eq!((seen, open), (expect, unknown.iter().map(|u| u.to_string()).collect::<Vec<_>>()), "{files:?}");
    }

    fn disk(dir: &str) -> What {
        What::Disk { dir: dir.into() }
    }
    fn store(name: &str) -> What {
        What::Store { name: name.into() }
    }

    #[test]
    fn django_storages() {
        let s3 = "storages.backends.s3.S3Storage";
        let modern = format!(
            "MEDIA_ROOT = BASE / 'media'\nSTORAGES = {{\n  'staticfiles': {{'BACKEND': 'x.Y'}},\n  \"default\": {{\n    'BACKEND': '{s3}',\n  }},\n}}\n"
        );
        check(Framework::Django, &[("shop/settings.py", &modern)], &[("shop/settings.py:5", store(s3))], &[]);
        let old = format!("# DEFAULT_FILE_STORAGE = 'a.FileSystemStorage'\nDEFAULT_FILE_STORAGE = '{s3}'\n");
        check(Framework::Django, &[("shop/settings.py", &old)], &[("shop/settings.py:2", store(s3))], &[]);
        check(
            Framework::Django,
            &[("shop/settings.py", "A = 1\nMEDIA_ROOT = '/m'\n")],
            &[("shop/settings.py:2", disk("'/m'"))],
            &[],
        );
        check(Framework::Django, &[("shop/settings.py", "A = 1\n")], &[], &["DEFAULT_FILE_STORAGE"]);
        let base = "DEFAULT_FILE_STORAGE = 'django.core.files.storage.FileSystemStorage'\n";
        let files = [("s/settings/base.py", base), ("s/settings/production.py", old.as_str())];
        check(Framework::Django, &files, &[("s/settings/production.py:2", store(s3))], &[]);
    }

    #[test]
    fn django_storages_by_condition() {
        let s3 = "storages.backends.s3.S3Storage";
        let asked = format!(
            "MEDIA_ROOT = '/m'\n\nif \"BUCKET\" in os.environ:\n    X = 1\n    STORAGES[\"default\"][\"BACKEND\"] = \"{s3}\"\n"
        );
        check(Framework::Django, &[("s/settings/production.py", &asked)], &[], &["BUCKET"]);
        let plain = format!("STORAGES[\"default\"] = {{\"BACKEND\": \"{s3}\"}}\n");
        check(
            Framework::Django,
            &[("s/settings/production.py", &plain)],
            &[("s/settings/production.py:1", store(s3))],
            &[],
        );
        let worked_out = "MEDIA_ROOT = getattr(configuration, 'MEDIA_ROOT', os.path.join(ROOT, 'media')).rstrip('/')\n";
        check(Framework::Django, &[("s/settings.py", worked_out)], &[("s/settings.py:1", disk("MEDIA_ROOT"))], &[]);
    }

    #[test]
    fn apps_that_people_upload_to() {
        let (_dir, repo) = testing::repo(&[("s/settings/base.py", "INSTALLED_APPS = [\n    'wagtail.images',\n]\n")]);
        let found = apps(&repo);
        assert_eq!(
            (found[0].file.as_str(), found[0].line, found[0].by.as_str()),
            ("s/settings/base.py", 2, "wagtail.images")
        );
        let (_dir, repo) = testing::repo(&[("s/settings/base.py", "INSTALLED_APPS = [\n    # 'wagtail.images',\n]\n")]);
        assert!(apps(&repo).is_empty());
    }

    #[test]
    fn rails_services() {
        let production = "Rails.application.configure do\n  # config.active_storage.service = :x\n  config.active_storage.service = :keep\nend\n";
        let storage = |kind: &str| {
            format!("local:\n  service: Disk\nkeep:\n  service: {kind}\n  root: <%= Rails.root.join(\"up\") %>\n")
        };
        let files = |storage: &str| {
            [
                ("config/environments/production.rb".to_string(), production.to_string()),
                ("config/storage.yml".to_string(), storage.to_string()),
            ]
        };
        for (kind, what) in [("Disk", disk("up")), ("S3", store("S3"))] {
            let owned = files(&storage(kind));
            let files: Vec<(&str, &str)> = owned.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            check(Framework::Rails, &files, &[("config/storage.yml:3", what)], &[]);
        }
        let by_env = "config.active_storage.service = ENV.fetch('S').to_sym\n";
        check(Framework::Rails, &[("config/environments/production.rb", by_env)], &[], &["ENV.fetch('S').to_sym"]);
    }

    #[test]
    fn laravel_disks() {
        let config = "<?php return [\n 'default' => env('FILESYSTEM_DISK', 'local'),\n 'disks' => ['local' => ['driver' => 'local'], 'media' => [\n 'driver' => 's3']],\n];";
        check(Framework::Laravel, &[("config/filesystems.php", config)], &[], &["FILESYSTEM_DISK"]);
        let local = [("config/filesystems.php", config), (".env.example", "FILESYSTEM_DISK=local\n")];
        check(Framework::Laravel, &local, &[("config/filesystems.php:2", disk("storage/app (disk local)"))], &[]);
        let s3 = [("config/filesystems.php", config), (".env.production", "FILESYSTEM_DISK=\"media\"\n"), local[1]];
        check(Framework::Laravel, &s3, &[("config/filesystems.php:2", store("s3"))], &[]);
    }
}
