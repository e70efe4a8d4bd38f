//! What an endpoint's answer says: the version it names, the health it claims, the details it gives away. Pure.

use serde_json::Value as Json;

/// What a version endpoint names.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Named {
    pub version: Option<String>,
    pub commit: Option<String>,
}

const VERSION_KEYS: [&str; 7] =
    ["version", "app_version", "appversion", "release", "tag", "build_version", "buildversion"];
const COMMIT_KEYS: [&str; 14] = [
    "commit",
    "sha",
    "git_sha",
    "gitsha",
    "git_commit",
    "gitcommit",
    "commit_sha",
    "commitsha",
    "commit_hash",
    "commithash",
    "revision",
    "git_revision",
    "vcs_ref",
    "build_sha",
];

/// Reads JSON of any nesting (`build.version`, Spring's `git.commit.id`), else `key: value` lines, else a bare word.
pub fn named(body: &str) -> Named {
    let mut out = Named::default();
    match serde_json::from_str::<Json>(body) {
        Ok(Json::String(word)) => bare(&word, &mut out),
        Ok(json) => search(&json, 0, &mut out),
        Err(_) if body.trim_start().starts_with(['<', '{', '[']) => {}
        Err(_) => {
            for line in body.lines().take(50) {
                if let Some((key, value)) = line.split_once([':', '=']) {
                    take(key.trim(), value.trim(), &mut out);
                } else {
                    bare(line.trim(), &mut out);
                }
            }
        }
    }
    out
}

const DEPTH_MAX: usize = 6;
const WORD_CHARS_MAX: usize = 100;

fn search(json: &Json, depth: usize, out: &mut Named) {
    let Some(map) = json.as_object().filter(|_| depth < DEPTH_MAX) else { return };
    for (key, value) in map {
        if let Json::String(text) = value {
            take(key, text, out);
        }
        // Spring: {"git": {"commit": {"id": "…"}}}, where id may be an object again.
        if let Some(id) = value.get("id").filter(|_| key == "commit") {
            let text = id.as_str().or_else(|| id["full"].as_str()).or_else(|| id["abbrev"].as_str());
            out.commit = out.commit.take().or(text.map(str::to_string));
        }
    }
    for value in map.values() {
        search(value, depth + 1, out);
    }
}

fn take(key: &str, value: &str, out: &mut Named) {
    let key = key.trim_matches('"').to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    let value = value.trim().trim_matches(['"', ',']);
    if value.is_empty() || value.chars().count() > WORD_CHARS_MAX {
        return;
    }
    let slot = match () {
        _ if COMMIT_KEYS.contains(&key.as_str()) => &mut out.commit,
        _ if VERSION_KEYS.contains(&key.as_str()) => &mut out.version,
        _ => return,
    };
    slot.get_or_insert_with(|| value.to_string());
}

fn bare(word: &str, out: &mut Named) {
    let is_hash = word.len() >= 7 && word.len() <= 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
    if is_hash {
        out.commit.get_or_insert_with(|| word.to_string());
    } else if word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit())
        && !word.contains(' ')
        && word.len() <= WORD_CHARS_MAX
    {
        out.version.get_or_insert_with(|| word.to_string());
    }
}

/// Abbreviated hashes are the same commit; seven digits are what people abbreviate to.
pub fn same_commit(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    a.len().min(b.len()) >= 7 && (a.starts_with(&b) || b.starts_with(&a))
}

/// `v1.4.0` is `1.4.0`; build metadata after `+` does not make another version.
pub fn same_version(a: &str, b: &str) -> bool {
    let core = |v: &str| v.trim().trim_start_matches(['v', 'V']).split('+').next().unwrap_or_default().to_string();
    core(a) == core(b)
}

/// Does the answer claim trouble although it came with 200? `application/health+json`, Spring, and common words.
pub fn claims_trouble(body: &str) -> Option<String> {
    let json: Json = serde_json::from_str(body).ok()?;
    let status = match &json {
        Json::String(word) => word.clone(),
        other => ["status", "state", "health"].iter().find_map(|k| other[*k].as_str())?.to_string(),
    };
    let bad = ["fail", "failed", "failing", "down", "error", "unhealthy", "critical", "out_of_service", "not ok"];
    bad.contains(&status.to_ascii_lowercase().as_str()).then_some(status)
}

/// Keys that an anonymous caller may read.
const PUBLIC_KEYS: [&str; 14] = [
    "status",
    "state",
    "ok",
    "healthy",
    "health",
    "uptime",
    "timestamp",
    "time",
    "version",
    "releaseid",
    "release",
    "service",
    "name",
    "description",
];

/// What a health answer tells beyond pass or fail: the first key that says more.
pub fn detail(body: &str) -> Option<String> {
    if let Ok(json) = serde_json::from_str::<Json>(body) {
        let map = json.as_object()?;
        return map.keys().find(|k| !PUBLIC_KEYS.contains(&k.to_ascii_lowercase().as_str())).cloned();
    }
    let lower = body.to_ascii_lowercase();
    ["at java.", "traceback (most recent", "stack trace", "node_modules/", "connection refused", "password"]
        .into_iter()
        .find(|w| lower.contains(w))
        .map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, version: Option<&str>, commit: Option<&str>) {
        let expect = Named { version: version.map(Into::into), commit: commit.map(Into::into) };
        assert_eq!(named(body), expect, "{body}");
    }

    #[test]
    fn versions_in_all_shapes() {
        check(r#"{"version":"1.4.0","commit":"9f3c2e1"}"#, Some("1.4.0"), Some("9f3c2e1"));
        check(
            r#"{"build":{"version":"1.4.0"},"git":{"commit":{"id":{"abbrev":"9f3c2e1","full":"9f3c2e1aa"}}}}"#,
            Some("1.4.0"),
            Some("9f3c2e1aa"),
        );
        check(r#"{"git":{"branch":"main","commit":{"id":"9f3c2e1","time":"x"}}}"#, None, Some("9f3c2e1"));
        check("version: 1.4.0\ngit-sha: 9f3c2e1\n", Some("1.4.0"), Some("9f3c2e1"));
        check("v1.4.0\n", Some("v1.4.0"), None);
        check("\"9f3c2e1d\"", None, Some("9f3c2e1d"));
        check("<!doctype html><title>1.4.0</title>", None, None);
        check("{}", None, None);
        check("{\"version\":", None, None);
    }

    #[test]
    fn the_same_release() {
        assert!(
            same_commit("9f3c2e1", "9F3C2E1aabb")
                && !same_commit("9f3", "9f3c2e1")
                && !same_commit("9f3c2e1", "9f3c2e2")
        );
        assert!(same_version("v1.4.0", "1.4.0+build.7") && !same_version("1.4.0", "1.4.1"));
    }

    #[test]
    fn health_claims_and_details() {
        assert_eq!(claims_trouble(r#"{"status":"DOWN"}"#).as_deref(), Some("DOWN"));
        assert_eq!(claims_trouble(r#"{"status":"pass"}"#), None);
        assert_eq!(claims_trouble("ok"), None);
        assert_eq!(detail(r#"{"status":"ok","uptime":3}"#), None);
        assert_eq!(detail(r#"{"status":"ok","db":{"host":"10.0.0.5"}}"#).as_deref(), Some("db"));
        assert_eq!(detail("Traceback (most recent call last)").as_deref(), Some("traceback (most recent"));
    }
}
