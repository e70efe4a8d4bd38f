//! Finding reports of test runs on disk and telling their formats apart. Reports are usually ignored by git, so this asks
//! the disk, and goes around dependencies and caches. Reads no report further than its head.

use std::path::Path;
use std::sync::Arc;

use crate::domain::clock::Timestamp;
use crate::gates::context::Repo;
use crate::gates::facts::disk::Disk;
use crate::gates::import::{junit, xml};
use crate::gates::patterns;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Lcov,
    Cobertura,
    Clover,
    JaCoCo,
    GoCover,
    Istanbul,
    IstanbulSummary,
    CoveragePy,
    LlvmCov,
    SimpleCov,
    JUnit,
    Tap,
    Ctrf,
    Playwright,
    Mocha,
    /// Known by name, but not read: a database of the tool's own.
    Unsupported(&'static str),
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Lcov => "lcov",
            Format::Cobertura => "cobertura",
            Format::Clover => "clover",
            Format::JaCoCo => "jacoco",
            Format::GoCover => "go-cover",
            Format::Istanbul => "istanbul",
            Format::IstanbulSummary => "istanbul-summary",
            Format::CoveragePy => "coverage.py",
            Format::LlvmCov => "llvm-cov",
            Format::SimpleCov => "simplecov",
            Format::JUnit => "junit",
            Format::Tap => "tap",
            Format::Ctrf => "ctrf",
            Format::Playwright => "playwright",
            Format::Mocha => "mocha",
            Format::Unsupported(name) => name,
        }
    }

    /// Tells of tests, not of lines.
    pub fn is_tests(self) -> bool {
        matches!(self, Format::JUnit | Format::Tap | Format::Ctrf | Format::Playwright | Format::Mocha)
    }
}

/// A report on disk. `path` is relative to the root, with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: String,
    pub format: Format,
    pub bytes: u64,
    pub modified: Timestamp,
}

/// The root element stands in the first bytes.
const HEAD_BYTES: u64 = 4096;

/// Beside those that the disk is not asked for.
const SKIPPED_FOLDERS: [&str; 11] = [
    "bower_components",
    ".tox",
    ".nox",
    "__pycache__",
    ".cache",
    ".next",
    ".nuxt",
    ".gradle",
    ".idea",
    "lcov-report",
    "deps",
];

/// All reports of a repository, searched for once: [`find`].
pub struct Reports(pub Vec<Found>);

pub fn of(repo: &Repo, named: &[String]) -> Arc<Reports> {
    repo.once(named, || Reports(find(repo, named)))
}

/// All reports on the disk. `named` (gitignore patterns) replaces the search by name; formats are still told apart by
/// content.
fn find(repo: &Repo, named: &[String]) -> Vec<Found> {
    let named = patterns::matcher(&repo.root, named);
    let is_aside = |path: &str| SKIPPED_FOLDERS.iter().any(|skipped| path.contains(skipped) && below(path, skipped));
    let mut out = Vec::new();
    for path in Disk::of(repo).0.iter().filter(|path| !is_aside(path)) {
        if named.as_ref().is_some_and(|named| !named.matched(path, false).is_ignore()) {
            continue;
        }
        let full = repo.root.join(path);
        let Some(format) = format_of(&full, path, named.is_some()) else { continue };
        let Ok(meta) = full.symlink_metadata() else { continue };
        out.push(Found { path: path.clone(), format, bytes: meta.len(), modified: modified(&meta) });
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

/// Does the path lie in a folder of that name?
fn below(path: &str, folder: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(folders, _)| folders.split('/').any(|f| f == folder))
}

/// Modification time in whole milliseconds; the epoch where the file system keeps none.
pub fn modified(meta: &std::fs::Metadata) -> Timestamp {
    let since = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
    Timestamp::from_ms(since.as_millis() as i64)
}

fn format_of(full: &Path, path: &str, named: bool) -> Option<Format> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let lower = name.to_ascii_lowercase();
    if lower.ends_with(".lcov") || matches!(lower.as_str(), "lcov.info" | "lcov.dat" | "coverage.info") {
        return Some(Format::Lcov);
    }
    match lower.as_str() {
        "coverage-final.json" => return Some(Format::Istanbul),
        "coverage-summary.json" => return Some(Format::IstanbulSummary),
        // Several tools use the name; a broken one is coverage.py's to refuse.
        "coverage.json" => return Some(json_format(&head(full)?).unwrap_or(Format::CoveragePy)),
        ".coverage" => return Some(Format::Unsupported("coverage.py data")),
        ".resultset.json" => return Some(Format::SimpleCov),
        _ if lower.starts_with("llvm-cov") && lower.ends_with(".json") => return Some(Format::LlvmCov),
        "coverage.txt" | "c.out" | "profile.cov" => return go_profile(full),
        _ if lower.starts_with("cover") && lower.ends_with(".out") => return go_profile(full),
        _ if lower.ends_with(".coverprofile") => return go_profile(full),
        _ => {}
    }
    if lower.ends_with(".xml") {
        let coverage = ["coverage", "cobertura", "clover", "jacoco"].iter().any(|w| lower.contains(w));
        let tests = ["junit", "test-", "tests", "results", "report"].iter().any(|w| lower.contains(w))
            || ["test-results", "surefire-reports", "junit", "test-reports"].iter().any(|f| folder.contains(f));
        if !coverage && !tests && !named {
            return None;
        }
        let root = head(full).and_then(|h| xml::root(&h));
        return match root.as_ref().map(|(name, _)| name.as_str()) {
            Some("coverage")
                if root.as_ref().is_some_and(|(_, a)| a.contains_key("clover") || a.contains_key("generated")) =>
            {
                Some(Format::Clover)
            }
            Some("coverage") => Some(Format::Cobertura),
            Some("report") if coverage => Some(Format::JaCoCo),
            Some(name) if junit::is_root(name) => Some(Format::JUnit),
            Some(_) => None,
            // Named like a report, but broken from its first byte: let the reader say so.
            None if coverage || named => Some(Format::Cobertura),
            None => lower.contains("junit").then_some(Format::JUnit),
        };
    }
    if lower.ends_with(".tap") {
        return Some(Format::Tap);
    }
    if lower.ends_with(".json") {
        let words = ["report", "results", "ctrf", "playwright", "mocha", "cypress"];
        let told = words.iter().any(|w| lower.contains(w))
            || ["test-results", "playwright-report", "mochawesome-report", "ctrf"].iter().any(|f| folder.contains(f));
        if let Some(format) = (told || named).then(|| tests_json(&head(full)?)).flatten() {
            return Some(format);
        }
    }
    if named {
        let head = head(full)?;
        let told = match () {
            _ if ["TN:", "SF:"].iter().any(|r| head.starts_with(r)) => Some(Format::Lcov),
            _ if head.starts_with("mode:") => Some(Format::GoCover),
            _ if head.starts_with("TAP version") || head.starts_with("1..") => Some(Format::Tap),
            _ => json_format(&head),
        };
        // Whoever names a report is told that it cannot be read.
        let looks = ["json", "xml", "info", "out", "csv"].iter().any(|e| lower.ends_with(&format!(".{e}")));
        return told.or(looks.then_some(Format::Unsupported("in an unknown format")));
    }
    None
}

fn go_profile(full: &Path) -> Option<Format> {
    head(full)?.starts_with("mode:").then_some(Format::GoCover)
}

/// Which report of tests it is, by its first key and what must stand near it.
fn tests_json(head: &str) -> Option<Format> {
    let first = head.trim_start_matches('\u{feff}').trim_start().strip_prefix('{')?.trim_start();
    let holds = |word: &str| head.contains(word);
    match first.strip_prefix('"')?.split('"').next()? {
        "config" if holds("\"configFile\"") || holds("\"rootDir\"") || holds("\"suites\"") => Some(Format::Playwright),
        "stats" if holds("\"tests\"") && holds("\"passes\"") => Some(Format::Mocha),
        "reportFormat" if holds("\"CTRF\"") => Some(Format::Ctrf),
        "results" if holds("\"tool\"") && holds("\"summary\"") => Some(Format::Ctrf),
        _ => None,
    }
}

/// Which JSON it is, by its first key.
fn json_format(head: &str) -> Option<Format> {
    let first = head.trim_start_matches('\u{feff}').trim_start().strip_prefix('{')?.trim_start();
    match first.strip_prefix('"')?.split('"').next()? {
        "meta" if head.contains("\"simplecov_version\"") => Some(Format::SimpleCov),
        "meta" => Some(Format::CoveragePy),
        "gcovr/format_version" => Some(Format::Unsupported("gcovr's JSON")),
        "data" | "type" => Some(Format::LlvmCov),
        "total" => Some(Format::IstanbulSummary),
        _ => head.contains("\"statementMap\"").then_some(Format::Istanbul),
    }
}

fn head(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(HEAD_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    #[test]
    fn finds_by_name_and_tells_by_content() {
        let (dir, _) = testing::repo(&[
            (".gitignore", "coverage\n"),
            ("coverage/lcov.info", "TN:\n"),
            ("coverage/cobertura-coverage.xml", "<?xml version='1.0'?><coverage line-rate='1'>"),
            ("coverage/clover.xml", "<coverage generated='1' clover='3.2.0'>"),
            ("coverage/coverage-final.json", "{}"),
            ("py/coverage.json", "{\n  \"meta\": {"),
            ("rs/coverage.json", "{\"data\":[{\"files\""),
            ("rb/coverage.json", "{\"meta\":{\"simplecov_version\":\"0.22.0\"}"),
            ("rb/.resultset.json", "{}"),
            ("sol/coverage.json", "{\"a.sol\":{\"path\":\"a.sol\",\"statementMap\":{}"),
            ("build/jacoco.xml", "<report name='a'>"),
            ("junit.xml", "<testsuites/>"),
            ("test-results/all.json", "{\"config\": {\"configFile\": \"p.ts\""),
            ("test-results/other.json", "{\"stats\": {}}"),
            ("cypress/mochawesome.json", "{\"stats\": {\"tests\": 1, \"passes\": 1}"),
            ("ctrf/ctrf-report.json", "{\"results\": {\"tool\": {}, \"summary\": {}"),
            ("unit.tap", "TAP version 13\n"),
            ("sitemap-report.xml", "<urlset/>"),
            ("coverage.xml", ""),
            ("cover.out", "mode: set\n"),
            ("cover-letter.out", "Dear all"),
            ("node_modules/a/lcov.info", "TN:\n"),
            ("odd/name.txt", "SF:a.c\nend_of_record\n"),
        ]);
        let found: Vec<_> = find(&testing::open(dir.path()), &[]).into_iter().map(|f| (f.path, f.format)).collect();
        let expect = [
            ("build/jacoco.xml", Format::JaCoCo),
            ("cover.out", Format::GoCover),
            ("coverage.xml", Format::Cobertura),
            ("coverage/clover.xml", Format::Clover),
            ("coverage/cobertura-coverage.xml", Format::Cobertura),
            ("coverage/coverage-final.json", Format::Istanbul),
            ("coverage/lcov.info", Format::Lcov),
            ("ctrf/ctrf-report.json", Format::Ctrf),
            ("cypress/mochawesome.json", Format::Mocha),
            ("junit.xml", Format::JUnit),
            ("py/coverage.json", Format::CoveragePy),
            ("rb/.resultset.json", Format::SimpleCov),
            ("rb/coverage.json", Format::SimpleCov),
            ("rs/coverage.json", Format::LlvmCov),
            ("sol/coverage.json", Format::Istanbul),
            ("test-results/all.json", Format::Playwright),
            ("unit.tap", Format::Tap),
        ];
        assert_eq!(found, expect.map(|(p, f)| (p.to_string(), f)));
        let named = find(&testing::open(dir.path()), &["odd/*.txt".into()]);
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].format, Format::Lcov);
        let strange = find(&testing::open(dir.path()), &["test-results/other.json".into()]);
        assert_eq!(strange[0].format, Format::Unsupported("in an unknown format"));
    }
}
