//! Python's manifests: requirement files, `pyproject.toml` in its dialects, Pipfile, setup.py and setup.cfg.

use std::sync::LazyLock;

use regex::Regex;

use super::{Around, Manifest, Scope, is_for_developers};

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a pattern of ours"));
    };
}

pattern!(REQUIREMENT, r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)");
pattern!(QUOTED, r#"["']\s*([A-Za-z0-9][A-Za-z0-9._-]*)[^"']*["']"#);
// `{ include-group = "docs" }` names a group, no package.
pattern!(GROUP, r"\{[^}]*include-group[^}]*\}");
pattern!(STRING, r#""[^"]*"|'[^']*'"#);
pattern!(KEY, r#"^\s*["']?([A-Za-z0-9][A-Za-z0-9._-]*)["']?\s*="#);

/// One spelling for `Flask_SQLAlchemy` and `flask-sqlalchemy`.
fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

pub fn is_requirements(path: &str, name: &str) -> bool {
    let folder = path.rsplit('/').nth(1).unwrap_or_default();
    (name.ends_with(".txt") || name.ends_with(".in")) && (name.contains("requirements") || folder == "requirements")
}

pub fn requirements(path: &str, text: &str, around: &Around) -> Manifest {
    let name = path.rsplit('/').next().unwrap_or(path);
    // Compiled from its neighbour: that one says what is meant, this one all that comes with it.
    if name.strip_suffix(".txt").is_some_and(|stem| around.beside(&format!("{stem}.in"))) {
        return Manifest::default();
    }
    let scope = if is_for_developers(name.trim_end_matches(".txt").trim_end_matches(".in")) {
        Scope::Develops
    } else {
        Scope::Runs
    };
    let mut manifest = Manifest::default();
    for (i, line) in text.lines().enumerate() {
        if let Some(found) = REQUIREMENT.captures(line) {
            manifest.add(normal(&found[1]), i, scope);
        }
    }
    manifest
}

/// A list of requirements that may run over several lines.
struct List {
    scope: Scope,
    depth: i32,
}

impl List {
    /// Takes a line's requirements; false once the list has closed.
    fn take(&mut self, line: &str, i: usize, manifest: &mut Manifest) -> bool {
        let line = line.split(" #").next().unwrap_or_default();
        let code = if line.trim_start().starts_with('#') { "" } else { line };
        let code = GROUP.replace_all(code, "");
        for found in QUOTED.captures_iter(&code) {
            manifest.add(normal(&found[1]), i, self.scope);
        }
        let bare = STRING.replace_all(&code, "");
        self.depth += bare.matches('[').count() as i32 - bare.matches(']').count() as i32;
        self.depth > 0
    }
}

pub fn pyproject(_: &str, text: &str, around: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    let (mut section, mut list, mut builds) = (String::new(), None::<List>, false);
    for (i, line) in text.lines().enumerate() {
        if let Some(open) = &mut list {
            if !open.take(line, i, &mut manifest) {
                list = None;
            }
            continue;
        }
        if line.starts_with('[') {
            section = line.trim_matches(|c: char| matches!(c, '[' | ']') || c.is_whitespace()).to_string();
            section = section.split(']').next().unwrap_or_default().to_string();
            builds |= section == "build-system";
            if matches!(section.as_str(), "project.scripts" | "tool.poetry.scripts") {
                manifest.commands = Some(i as u32 + 1);
            }
            continue;
        }
        let Some(key) = KEY.captures(line).map(|k| k[1].to_string()) else { continue };
        let value = line.split_once('=').map_or("", |(_, v)| v.trim());
        match (section.as_str(), key.as_str()) {
            ("project" | "tool.poetry", "name") => {
                manifest.name = Some((normal(value.trim_matches(['"', '\''])), i as u32 + 1));
            }
            ("tool.poetry", "package-mode") => builds &= value != "false",
            _ => {}
        }
        let table = match section.as_str() {
            "tool.poetry.dependencies" if value.contains("optional = true") => Some(Scope::Optional),
            "tool.poetry.dependencies" => Some(Scope::Runs),
            "tool.poetry.dev-dependencies" => Some(Scope::Develops),
            other => other.strip_prefix("tool.poetry.group.").and_then(|g| g.strip_suffix(".dependencies")).map(group),
        };
        if let Some(scope) = table.filter(|_| key != "python") {
            manifest.add(normal(&key), i, scope);
            continue;
        }
        let scope = match (section.as_str(), key.as_str()) {
            ("project", "dependencies") => Scope::Runs,
            ("project.optional-dependencies", extra) if is_for_developers(extra) => Scope::Develops,
            ("project.optional-dependencies", _) => Scope::Optional,
            ("dependency-groups" | "tool.pdm.dev-dependencies", _) | ("tool.uv", "dev-dependencies") => Scope::Develops,
            _ => continue,
        };
        let mut open = List { scope, depth: 0 };
        if open.take(value, i, &mut manifest) {
            list = Some(open);
        }
    }
    manifest.library = builds && manifest.name.is_some() && !around.runs();
    manifest.commands = manifest.commands.filter(|_| manifest.library);
    manifest
}

fn group(name: &str) -> Scope {
    if is_for_developers(name) { Scope::Develops } else { Scope::Runs }
}

pub fn pipfile(_: &str, text: &str, _: &Around) -> Manifest {
    let (mut manifest, mut scope) = (Manifest::default(), None);
    for (i, line) in text.lines().enumerate() {
        match line.trim() {
            "[packages]" => scope = Some(Scope::Runs),
            "[dev-packages]" => scope = Some(Scope::Develops),
            other if other.starts_with('[') => scope = None,
            _ => {
                if let (Some(scope), Some(found)) = (scope, KEY.captures(line)) {
                    manifest.add(normal(&found[1]), i, scope);
                }
            }
        }
    }
    manifest
}

/// `setup.py` and `setup.cfg`: the lists behind the names that setuptools knows.
pub fn setup(_: &str, text: &str, around: &Around) -> Manifest {
    let mut manifest = Manifest { library: !around.runs(), ..Manifest::default() };
    let mut scope = None;
    let mut depth = 0;
    for (i, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let key = trimmed.split(['=', ':', ' ']).next().unwrap_or_default();
        let named = match key {
            "install_requires" | "INSTALL_REQUIRES" => Some(Some(Scope::Runs)),
            "extras_require" | "EXTRAS_REQUIRE" | "[options.extras_require]" => Some(Some(Scope::Optional)),
            "tests_require" | "setup_requires" => Some(Some(Scope::Develops)),
            "console_scripts" | "\"console_scripts\"" | "'console_scripts'" => {
                manifest.commands = Some(i as u32 + 1);
                Some(None)
            }
            "name" if manifest.name.is_none() => {
                let value = trimmed.split_once('=').map_or("", |(_, v)| v.trim());
                manifest.name = Some((normal(value.trim_matches(['"', '\'', ','])), i as u32 + 1));
                None
            }
            _ if trimmed.starts_with('[') && depth == 0 && line.starts_with('[') => Some(None),
            _ => None,
        };
        let bare = STRING.replace_all(line, "");
        let opened = bare.matches(['[', '{', '(']).count() as i32 - bare.matches([']', '}', ')']).count() as i32;
        if let Some(named) = named {
            (scope, depth) = (named, 0);
        }
        let Some(current) = scope else { continue };
        let quoted: Vec<String> = QUOTED.captures_iter(line).map(|c| normal(&c[1])).collect();
        if quoted.is_empty() && named.is_none() && depth == 0 {
            // setup.cfg: indented lines; anything else ends the list.
            match REQUIREMENT.captures(line).filter(|_| line.starts_with([' ', '\t'])) {
                Some(found) => manifest.add(normal(&found[1]), i, current),
                None if !line.trim().is_empty() => scope = None,
                None => {}
            }
            continue;
        }
        quoted.into_iter().for_each(|name| manifest.add(name, i, current));
        depth += opened;
        if depth <= 0 && named.is_none() {
            scope = None;
        }
    }
    manifest
}
