//! Versions that the files of a repository state: manifests at its root, and the top of the changelog.

use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use super::semver::Version;
use crate::gates::context::Repo;

pub const MANIFEST: &str = "manifest";
pub const CHANGELOG: &str = "changelog";
/// Manifests are small; a larger one is generated.
const BYTES_MAX: u64 = 512 * 1024;

/// One place that states a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// [`MANIFEST`] or [`CHANGELOG`].
    pub kind: &'static str,
    pub version: String,
    pub file: String,
    pub line: u32,
}

/// The version inside a tag's name: `v1.2.3`, `1.2.3`, `release-1.2.3`, `pkg@1.2.3`, `pkg/v1.2.3`.
pub fn of_tag(tag: &str) -> Option<Version> {
    let tail = tag.rsplit(['/', '@']).next().unwrap_or(tag);
    Version::parse(tail).or_else(|| Version::parse(tail.strip_prefix("release-")?))
}

/// Is one of the two the work that leads to the other: `8.5.0.dev1` or `8.5.0-SNAPSHOT` to `8.5.0`?
pub fn is_on_the_way(a: &str, b: &str) -> bool {
    let leads = |work: &str, to: &str| {
        let rest = work.strip_prefix(to).unwrap_or_default().trim_start_matches(['.', '-', '+']).to_ascii_lowercase();
        let word = rest.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        matches!(word, "dev" | "snapshot" | "unreleased" | "next")
    };
    leads(a, b) || leads(b, a)
}

/// The release that a version under work leads to: `8.5.0.dev1` to `8.5.0`.
pub fn leads_to(version: &str) -> &str {
    let end = version.find(".dev").or_else(|| version.find("-SNAPSHOT")).or_else(|| version.find("-dev"));
    end.map_or(version, |end| &version[..end])
}

/// Manifests in the order in which they win, then the changelog.
pub fn of(repo: &Repo) -> Vec<Source> {
    let mut out = Vec::new();
    for (file, read) in READERS {
        if let Ok(text) = repo.read_text(file, BYTES_MAX)
            && let Some((version, line)) = read(&text)
        {
            out.push(Source { kind: MANIFEST, version, file: file.to_string(), line });
        }
    }
    let gemspecs = repo.files.iter().filter(|f| !f.path.contains('/') && f.path.ends_with(".gemspec"));
    for file in gemspecs {
        if let Some((version, line)) = repo.read_text(&file.path, BYTES_MAX).ok().and_then(|text| in_gemspec(&text)) {
            out.push(Source { kind: MANIFEST, version, file: file.path.clone(), line });
        }
    }
    if let Some((file, entries)) = super::rid::changelog_of(repo)
        && let Some(top) = entries.iter().find(|e| !e.is_unreleased())
    {
        let version = top.version.clone().unwrap_or_default();
        out.push(Source { kind: CHANGELOG, version, file, line: top.line });
    }
    out
}

type Reader = fn(&str) -> Option<(String, u32)>;

const READERS: [(&str, Reader); 6] = [
    ("Cargo.toml", |t| in_toml(t, &["package", "workspace.package"])),
    ("package.json", in_package_json),
    ("pyproject.toml", |t| in_toml(t, &["project", "tool.poetry"])),
    ("composer.json", in_package_json),
    ("pom.xml", in_pom),
    ("VERSION", |t| Version::parse(t.trim()).map(|_| (t.trim().to_string(), 1))),
];

static TOML_VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s*version\s*=\s*["']([^"']+)["']"#).expect("a pattern of ours"));

/// Line by line, so that a broken or templated file still tells its version and where.
fn in_toml(text: &str, tables: &[&str]) -> Option<(String, u32)> {
    let mut inside = false;
    for (i, line) in text.lines().enumerate() {
        if let Some(table) = line.trim().strip_prefix('[').and_then(|t| t.split(']').next()) {
            inside = tables.contains(&table.trim());
        } else if let (true, Some(found)) = (inside, TOML_VERSION.captures(line)) {
            // As npm's: what was never given a version.
            return (&found[1] != "0.0.0").then(|| (found[1].to_string(), i as u32 + 1));
        }
    }
    None
}

static GEM_VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"^\s*\w+\.version\s*=\s*["'](\d[^"'#]*)["']"#).expect("a pattern of ours"));

/// A version written out; a constant of the gem's code is not followed.
fn in_gemspec(text: &str) -> Option<(String, u32)> {
    text.lines().enumerate().find_map(|(i, l)| Some((GEM_VERSION.captures(l)?[1].to_string(), i as u32 + 1)))
}

/// Top-level `version` of a JSON manifest; npm's `0.0.0` placeholder is no version.
fn in_package_json(text: &str) -> Option<(String, u32)> {
    let value: serde_json::Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
    let version = value.get("version")?.as_str()?.to_string();
    if version == "0.0.0" {
        return None;
    }
    let quoted = serde_json::to_string(&version).ok()?;
    let line = text.lines().position(|l| l.contains("\"version\"") && l.contains(&quoted)).map_or(1, |i| i as u32 + 1);
    Some((version, line))
}

static POM_VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<version>\s*([^<$\s]+)\s*</version>").expect("a pattern of ours"));

/// The project's own version: the first outside `<parent>` and `<dependencies>`.
fn in_pom(text: &str) -> Option<(String, u32)> {
    let mut parent = false;
    for (i, line) in text.lines().enumerate() {
        parent |= line.contains("<parent>");
        if line.contains("<dependencies>") || line.contains("<build>") || line.contains("<dependencyManagement>") {
            return None;
        }
        if let (false, Some(found)) = (parent, POM_VERSION.captures(line)) {
            return Some((found[1].to_string(), i as u32 + 1));
        }
        parent &= !line.contains("</parent>");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_tell_version_and_line() {
        let toml = "[package]\nname = \"x\"\nversion = \"1.2.3\"\n[dependencies]\ny = { version = \"9.9.9\" }\n";
        assert_eq!(in_toml(toml, &["package"]), Some(("1.2.3".into(), 3)));
        assert_eq!(in_toml("[dependencies.x]\nversion = \"9\"\n", &["package"]), None);
        assert_eq!(
            in_toml(
                "[package]\nversion.workspace = true\n[workspace.package]\nversion='2.0.0'",
                &["package", "workspace.package"]
            ),
            Some(("2.0.0".into(), 4))
        );
        assert_eq!(in_toml("[package]\nversion = \"0.0.0\"\n", &["package"]), None);
        let json = "{\n  \"name\": \"x\",\n  \"version\": \"1.4.0\",\n  \"dependencies\": {\"version\": \"1.0.0\"}\n}";
        assert_eq!(in_package_json(json), Some(("1.4.0".into(), 3)));
        assert_eq!(in_package_json("{\"version\": 3}"), None);
        assert_eq!(in_package_json("{"), None);
        let gem = "Gem::Specification.new do |spec|\n  spec.name = 'x'\n  spec.version = \"3.0.0.dev\"\nend\n";
        assert_eq!(in_gemspec(gem), Some(("3.0.0.dev".into(), 3)));
        assert_eq!(in_gemspec("  spec.version = X::VERSION\n  s.required_ruby_version = '>= 3'\n"), None);
        let pom = "<project>\n<parent>\n<version>3.0.0</version>\n</parent>\n<version>1.1.0</version>\n<dependencies>";
        assert_eq!(in_pom(pom), Some(("1.1.0".into(), 5)));
    }

    #[test]
    fn work_leads_to_a_release() {
        for (work, release) in [("8.5.0.dev", "8.5.0"), ("8.5.0.dev3", "8.5.0"), ("4.0.0", "4.0.0-SNAPSHOT")] {
            assert!(is_on_the_way(work, release), "{work} {release}");
        }
        for (a, b) in [("8.5.0", "8.5.0"), ("8.5.0-rc.1", "8.5.0"), ("8.5.1.dev", "8.5.0"), ("8.5", "8.5.0"), ("", "")]
        {
            assert!(!is_on_the_way(a, b), "{a} {b}");
        }
    }

    #[test]
    fn tags_hide_a_version() {
        for (tag, version) in [
            ("v1.2.3", "1.2.3"),
            ("1.2.3-rc.1", "1.2.3-rc.1"),
            ("@acme/x@2.0.0", "2.0.0"),
            ("api/v1.0.0", "1.0.0"),
            ("release-1.0.0", "1.0.0"),
        ] {
            assert_eq!(of_tag(tag).map(|v| v.to_string()).as_deref(), Some(version), "{tag}");
        }
        assert_eq!(of_tag("nightly"), None);
    }
}
