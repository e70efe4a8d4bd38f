//! What other scanners were told to overlook, honoured here too: their comments, `.gitleaksignore`, `.secrets.baseline`,
//! and the allow lists of `.gitleaks.toml`.
//!
//! Sources: the README of gitleaks (8.x), detect-secrets (1.5) and TruffleHog (3.x).

use std::collections::HashSet;

use regex::Regex;
use serde::Deserialize;

use crate::domain::evidence::hex;
use crate::gates::context::Repo;

/// Comments on the finding's line.
const COMMENTS: [&str; 4] =
    ["gitleaks:allow", "pragma: allowlist secret", "pragma: whitelist secret", "trufflehog:ignore"];
/// Files of this kind are small.
const BYTES_MAX: u64 = 8 << 20;

/// Everything that the repository says about it.
#[derive(Debug, Default)]
pub(super) struct Allowed {
    /// `path:line` of `.gitleaksignore`; its rules have other names than ours.
    places: HashSet<String>,
    /// SHA-1 of secrets in `.secrets.baseline`, in hex.
    hashes: HashSet<String>,
    lists: Vec<List>,
}

/// One allow list of `.gitleaks.toml`.
#[derive(Debug, Default)]
struct List {
    paths: Vec<Regex>,
    values: Vec<Regex>,
    words: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct GitleaksToml {
    allowlist: Option<AllowList>,
    allowlists: Vec<AllowList>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AllowList {
    paths: Vec<String>,
    regexes: Vec<String>,
    stopwords: Vec<String>,
}

impl Allowed {
    pub fn read(repo: &Repo) -> Allowed {
        let text = |path: &str| repo.read_text(path, BYTES_MAX).unwrap_or_default();
        let mut allowed = Allowed::default();
        for line in text(".gitleaksignore").lines().map(str::trim).filter(|l| !l.starts_with('#')) {
            // `path:rule:line`, with the commit before it or not.
            let parts: Vec<&str> = line.rsplitn(3, ':').collect();
            if let [number, _, path] = parts[..] {
                let commit =
                    path.split_once(':').filter(|(c, _)| c.len() >= 7 && c.bytes().all(|b| b.is_ascii_hexdigit()));
                allowed.places.insert(format!("{}:{number}", commit.map_or(path, |(_, path)| path)));
            }
        }
        let baseline: serde_json::Value = serde_json::from_str(&text(".secrets.baseline")).unwrap_or_default();
        let files = baseline["results"].as_object().into_iter().flat_map(|files| files.values());
        let entries = files.filter_map(serde_json::Value::as_array).flatten();
        allowed.hashes.extend(entries.filter_map(|e| e["hashed_secret"].as_str()).map(str::to_ascii_lowercase));
        let gitleaks: GitleaksToml = toml::from_str(&text(".gitleaks.toml")).unwrap_or_default();
        let regexes = |texts: Vec<String>| texts.iter().filter_map(|t| Regex::new(t).ok()).collect();
        allowed.lists.extend(gitleaks.allowlist.into_iter().chain(gitleaks.allowlists).map(|list| List {
            paths: regexes(list.paths),
            values: regexes(list.regexes),
            words: list.stopwords.iter().map(|w| w.to_lowercase()).collect(),
        }));
        allowed
    }

    /// By what this secret is allowed, in words for the report.
    pub fn by(&self, path: &str, number: u32, line: &str, value: &[u8]) -> Option<String> {
        if let Some(comment) = COMMENTS.iter().find(|c| line.contains(**c)) {
            return Some(format!("{comment} on line {number}"));
        }
        if self.places.contains(&format!("{path}:{number}")) {
            return Some(".gitleaksignore".into());
        }
        if !self.hashes.is_empty() {
            let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, value);
            if self.hashes.contains(&hex(sha1.as_ref())) {
                return Some(".secrets.baseline".into());
            }
        }
        let value = String::from_utf8_lossy(value);
        let lower = value.to_lowercase();
        let listed = self.lists.iter().any(|list| {
            list.paths.iter().any(|r| r.is_match(path))
                || list.values.iter().any(|r| r.is_match(&value))
                || list.words.iter().any(|w| lower.contains(w))
        });
        listed.then(|| "the allow list of .gitleaks.toml".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    #[test]
    fn what_others_were_told() {
        let sha1 = hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, b"v4lue").as_ref());
        let baseline =
            serde_json::json!({"results": {"a.py": [{"hashed_secret": sha1, "line_number": 3}]}}).to_string();
        let (_dir, repo) = testing::repo(&[
            (".gitleaksignore", "# why\nsrc/a.js:generic-api-key:7\nabcdef0123456789:src/b.js:aws:9\n"),
            (".secrets.baseline", &baseline),
            (
                ".gitleaks.toml",
                "[allowlist]\npaths = ['''^fixtures/''']\nstopwords = ['Teapot']\n[[allowlists]]\nregexes = ['^zz']\n",
            ),
        ]);
        let allowed = Allowed::read(&repo);
        let by = |path: &str, number, line: &str, value: &str| allowed.by(path, number, line, value.as_bytes());
        assert_eq!(by("src/a.js", 7, "", "x").as_deref(), Some(".gitleaksignore"));
        assert_eq!(by("src/b.js", 9, "", "x").as_deref(), Some(".gitleaksignore"));
        assert_eq!(by("src/a.js", 8, "", "v4lue").as_deref(), Some(".secrets.baseline"));
        for (path, value) in [("fixtures/a", "x"), ("a", "aTEAPOTb"), ("a", "zz1")] {
            assert_eq!(by(path, 1, "", value).as_deref(), Some("the allow list of .gitleaks.toml"), "{path} {value}");
        }
        assert_eq!(
            by("a", 2, "k = 1 # pragma: allowlist secret", "x").as_deref(),
            Some("pragma: allowlist secret on line 2")
        );
        assert_eq!(by("a", 2, "", "other"), None);
        assert!(
            Allowed::read(&testing::repo(&[(".gitleaks.toml", "[["), (".secrets.baseline", "{")]).1).lists.is_empty()
        );
    }
}
