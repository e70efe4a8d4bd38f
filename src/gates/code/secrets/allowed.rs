//! What other scanners were told to overlook, honoured here too: their comments, `.gitleaksignore`, `.secrets.baseline`,
//! and the allow lists of `.gitleaks.toml`.
//!
//! Sources: the README of gitleaks (8.x), detect-secrets (1.5) and TruffleHog (3.x).

use std::collections::HashSet;

use super::gitleaks::{Asked, Gitleaks};
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
    pub gitleaks: Gitleaks,
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
        allowed.gitleaks = Gitleaks::read(&text);
        allowed
    }

    /// By what this secret is allowed, in words for the report. `number` is the line's.
    pub fn by(&self, asked: &Asked<'_>, number: u32) -> Option<String> {
        let Asked { path, line, secret, .. } = *asked;
        if let Some(comment) = COMMENTS.iter().find(|c| line.contains(**c)) {
            return Some(format!("{comment} on line {number}"));
        }
        if self.places.contains(&format!("{path}:{number}")) {
            return Some(".gitleaksignore".into());
        }
        if !self.hashes.is_empty() {
            let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, secret);
            if self.hashes.contains(&hex(sha1.as_ref())) {
                return Some(".secrets.baseline".into());
            }
        }
        self.gitleaks.overlooks(asked)
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
        let by = |path: &str, number, line: &str, value: &str| {
            allowed.by(&Asked { path, line, secret: value.as_bytes(), ..Asked::default() }, number)
        };
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
        let broken = testing::repo(&[(".gitleaks.toml", "[["), (".secrets.baseline", "{")]);
        assert_eq!(Allowed::read(&broken.1).gitleaks.problems.len(), 1);
    }
}
