//! `${env:NAME}`, `${env:NAME:-default}`, `${file:PATH}` and `${cred:NAME}` inside string values. `$${` writes `${`
//! literally; any other `${` stays as it is, because regular expressions and shell fragments have it too.

use std::path::{Path, PathBuf};

/// Where values come from; tests bring their own variables.
pub trait Environment {
    fn var(&self, name: &str) -> Option<String>;
}

/// The process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Environment for ProcessEnv {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for std::collections::BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// A value in the configuration, not a document: `${file:/dev/zero}` must end.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// `text` with every reference replaced; `None` when there was none. Values are not expanded again. The error is one
/// lowercase fragment per reference that could not be read.
pub fn expand(text: &str, dir: &Path, env: &dyn Environment) -> Result<Option<String>, Vec<String>> {
    let (mut out, mut rest, mut changed, mut errors) = (String::new(), text, false, Vec::new());
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        let inner = &from[2..];
        let known = ["env:", "file:", "cred:"].into_iter().any(|kind| inner.starts_with(kind));
        if known && let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            (rest, changed) = (inner, true);
            continue;
        }
        out.push_str(before);
        match inner.find('}').filter(|_| known) {
            Some(end) => {
                match one(&inner[..end], dir, env) {
                    Ok(value) => out.push_str(&value),
                    Err(e) => errors.push(e),
                }
                (rest, changed) = (&inner[end + 1..], true);
            }
            None if known => {
                errors.push(format!("`${{{}` has no closing brace", inner.chars().take(20).collect::<String>()));
                break;
            }
            None => {
                out.push_str("${");
                rest = inner;
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    out.push_str(rest);
    Ok(changed.then_some(out))
}

fn one(reference: &str, dir: &Path, env: &dyn Environment) -> Result<String, String> {
    let (kind, name) = reference.split_once(':').unwrap_or((reference, ""));
    let (name, default) = match (kind, name.split_once(":-")) {
        ("env", Some((name, default))) => (name, Some(default)),
        _ => (name, None),
    };
    if name.is_empty() {
        return Err(format!("`${{{kind}:}}` names nothing"));
    }
    match kind {
        // As in a shell: `:-` also stands in for an empty value.
        "env" => match (env.var(name).filter(|v| default.is_none() || !v.is_empty()), default) {
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.to_string()),
            (None, None) => Err(format!("environment variable {name} is not set")),
        },
        "file" => read(&dir.join(name)),
        _ => match env.var("CREDENTIALS_DIRECTORY") {
            Some(folder) => read(&PathBuf::from(folder).join(name)),
            None => Err(format!("no credential {name}: CREDENTIALS_DIRECTORY is not set")),
        },
    }
}

fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(FILE_BYTES_MAX).read_to_string(&mut text))
        .map_err(|e| format!("file {} could not be read: {e}", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn check(text: &str, expect: Result<Option<&str>, &str>) {
        let env = BTreeMap::from([("A".to_string(), "x".to_string()), ("EMPTY".to_string(), String::new())]);
        let got = expand(text, Path::new("/nonexistent"), &env);
        match expect {
            Ok(value) => assert_eq!(got, Ok(value.map(str::to_string)), "{text}"),
            Err(part) => assert!(got.unwrap_err().join("; ").contains(part), "{text}"),
        }
    }

    #[test]
    fn expands_references_and_leaves_the_rest_alone() {
        check("plain", Ok(None));
        check("a${env:A}b${env:A}", Ok(Some("axbx")));
        check("${env:B:-d}", Ok(Some("d")));
        check("${env:EMPTY:-d}", Ok(Some("d")));
        check("${env:EMPTY}", Ok(Some("")));
        check("$${env:A}", Ok(Some("${env:A}")));
        check("^a${1,2}$ ${x}", Ok(None));
        check("${1}${env:A}", Ok(Some("${1}x")));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        check("${env:NOPE}", Err("environment variable NOPE is not set"));
        check("${env:NOPE} ${env:NADA}", Err("NADA"));
        check("${env:}", Err("names nothing"));
        check("${env:A", Err("no closing brace"));
        check("${file:nope}", Err("/nonexistent/nope could not be read"));
        check("${cred:nope}", Err("CREDENTIALS_DIRECTORY"));
    }

    #[test]
    fn a_files_last_newline_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("host"), "shop.example\n").unwrap();
        let got = expand("https://${file:host}/", dir.path(), &BTreeMap::new());
        assert_eq!(got, Ok(Some("https://shop.example/".into())));
    }
}
