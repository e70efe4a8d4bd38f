//! Credentials in the addresses of packages: `https://TOKEN@host/…` and `…?token=…` in lock files, and where package managers
//! are told of a registry. Only there: elsewhere a random word in an address is a picture's, a badge's or a page's. Pure.

use super::scan::{Hit, hit};
use super::urls::is_nowhere;
use super::values::{is_placeholder, is_random, is_reference, is_uuid};

/// Besides lock files: what tells a package manager where to look.
const FILES: &[&str] = &[
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "package.json",
    "pipfile",
    "pip.conf",
    "pip.ini",
    "pyproject.toml",
    "poetry.toml",
    "uv.toml",
    "setup.cfg",
    "gemfile",
    "composer.json",
    "nuget.config",
    "dockerfile",
    "containerfile",
    "cargo.toml",
    "config.toml",
];
/// An address in a lock file is short.
const URL_BYTES_MAX: usize = 2_000;
const TOKEN_CHARS_MIN: usize = 16;
/// Parameters that open the door; lower case, without `-` and `_`.
const KEYS: &[&str] = &[
    "token",
    "accesstoken",
    "authtoken",
    "oauthtoken",
    "privatetoken",
    "jobtoken",
    "deploytoken",
    "apikey",
    "apitoken",
    "secret",
    "clientsecret",
    "password",
];

/// Is this a file that says where packages come from?
pub(super) fn is_of_packages(path: &str) -> bool {
    let lower = path.rsplit(['/', '!']).next().unwrap_or(path).to_ascii_lowercase();
    let pip = (lower.starts_with("requirements") || lower.starts_with("constraints"))
        && (lower.ends_with(".txt") || lower.ends_with(".in"));
    pip || super::files::LOCKS.contains(&&*lower) || FILES.contains(&&*lower) || lower.ends_with(".dockerfile")
}

/// `at` is where `://` stands.
pub(super) fn url(text: &[u8], at: usize, path: &str) -> Option<Hit> {
    if !is_of_packages(path) {
        return None;
    }
    let from = at + 3;
    let rest = text.get(from..text.len().min(from + URL_BYTES_MAX))?;
    let ends = |b: &u8| b.is_ascii_whitespace() || b.is_ascii_control() || b"\"'`<>{},;)(\\|".contains(b);
    let rest = std::str::from_utf8(&rest[..rest.iter().position(ends).unwrap_or(rest.len())]).ok()?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() || is_nowhere(&host.to_ascii_lowercase()) {
        return None;
    }
    let found = |value: &str, start: usize| {
        let place = from + start..from + start + value.len();
        hit("url-token", "the registry that it opens", place, value)
    };
    // A user and a password are found everywhere.
    if !user.contains(':') && is_token(user) {
        return Some(found(user, 0));
    }
    let query = rest.find('?')? + 1;
    let end = rest[query..].find('#').map_or(rest.len(), |hash| query + hash);
    let mut start = query;
    for pair in rest[query..end].split('&') {
        if let Some((key, value)) = pair.split_once('=') {
            let key = key.to_ascii_lowercase().replace(['-', '_', '.'], "");
            if KEYS.contains(&&*key) && is_token(value) {
                return Some(found(value, start + pair.len() - value.len()));
            }
        }
        start += pair.len() + 1;
    }
    None
}

fn is_token(value: &str) -> bool {
    let real = is_random(value) || is_uuid(value);
    value.len() >= TOKEN_CHARS_MIN && real && !is_placeholder(value) && !is_reference(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::{Outcome, Verdict};
    use crate::gates::code::secrets::shape::Class;
    use crate::gates::code::secrets::tests::{Dice, found as places, run, told};

    fn token() -> String {
        Dice(4242).of(Class::Alnum, 32)
    }

    fn of(path: &str, text: &str) -> (Outcome, Vec<String>) {
        let outcome = run(&[(path, text)]);
        let places = places(&outcome);
        assert!(!told(&outcome).contains(&token()), "{path}");
        (outcome, places)
    }

    #[test]
    fn credentials_in_addresses_of_packages() {
        let token = token();
        for (path, text, expect) in [
            (
                "package-lock.json",
                format!("{{\n  \"resolved\": \"https://npm.acme.io/tea/-/tea-1.0.0.tgz?token={token}\"\n}}\n"),
                "url-token 2:62",
            ),
            (
                "web/yarn.lock",
                format!("tea@^1.0.0:\n  resolved \"https://npm.acme.io/tea.tgz?v=1&auth_token={token}#0f3c2a1b\"\n"),
                "url-token 2:56",
            ),
            (
                "pnpm-lock.yaml",
                format!("  tea:\n    resolution: {{tarball: https://npm.acme.io/tea.tgz?access_token={token}}}\n"),
                "url-token 2:68",
            ),
            (
                "poetry.lock",
                format!("[package.source]\nurl = \"https://{token}@pypi.acme.io/simple\"\n"),
                "url-token 2:16",
            ),
            ("requirements.txt", format!("--index-url https://{token}@pypi.acme.io/simple\n"), "url-token 1:21"),
            (
                "Dockerfile",
                format!("FROM a\nRUN pip install --extra-index-url https://{token}@pypi.acme.io/simple tea\n"),
                "url-token 2:43",
            ),
            (
                "poetry.lock",
                format!("[package.source]\nurl = \"https://ci:{token}@pypi.acme.io/simple\"\n"),
                "url-password 2:19",
            ),
            (
                "pip.conf",
                format!("[global]\nindex-url = https://ci:{token}@pypi.acme.io/simple\n"),
                "url-password 2:24",
            ),
        ] {
            let (outcome, places) = of(path, &text);
            assert_eq!((outcome.verdict, places), (Verdict::Fail, vec![expect.to_string()]), "{path}: {outcome:#?}");
        }
    }

    /// One token, in the address of each of a thousand packages: one secret.
    #[test]
    fn a_lock_file_repeats_itself() {
        let line = format!("    \"resolved\": \"https://npm.acme.io/tea.tgz?token={}\",\n", token());
        let (outcome, places) = of("package-lock.json", &format!("{{\n{}}}\n", line.repeat(50)));
        assert_eq!(places.len(), 1, "{places:?}");
        assert!(outcome.summary.starts_with("1 secret in"), "{}", outcome.summary);
    }

    #[test]
    fn what_lock_files_hold_besides() {
        let sha = "9f3c2e1d0b8a7f6e5d4c3b2a19087f6e5d4c3b2a";
        let sum = "sha512-k2sxqTmSWQVqPB9Kb7XHQRzLZ7MWNXjU0oB1Q8aQVRmZ6cW3p0YH7nB4hUqVxyfZJ2kLw8dTgEoRiS9vAu1mCg==";
        for (path, text) in [
            ("package-lock.json", format!("\"resolved\": \"https://registry.npmjs.org/tea/-/tea-1.0.0.tgz\",\n\"integrity\": \"{sum}\"\n")),
            ("yarn.lock", format!("  resolved \"https://registry.yarnpkg.com/tea/-/tea-1.0.0.tgz#{sha}\"\n  integrity {sum}\n")),
            ("package-lock.json", format!("\"resolved\": \"git+ssh://git@github.com/acme/tea.git#{sha}\"\n")),
            ("Cargo.lock", format!("source = \"git+https://github.com/acme/tea?rev={sha}#{sha}\"\nchecksum = \"{sha}{}\"\n", &sha[..24])),
            ("composer.lock", format!("\"url\": \"https://api.github.com/repos/acme/tea/zipball/{sha}\",\n\"reference\": \"{sha}\"\n")),
            ("requirements.txt", format!("tea @ https://files.pythonhosted.org/packages/{sha}/tea.whl#sha256={sha}\n--hash=sha256:{sha}\n")),
            (".npmrc", "//npm.acme.io/:_authToken=${NPM_TOKEN}\nregistry=https://npm.acme.io/?token=${NPM_TOKEN}\n".to_string()),
            ("pip.conf", "index-url = https://<token>@pypi.acme.io/simple\nextra-index-url = https://example.com/?token=your-token-goes-here\n".to_string()),
            ("package.json", "\"badge\": \"https://codecov.io/gh/acme/tea/graph/badge.svg?token=A1b2C3d4E5\"\n".to_string()),
        ] {
            let (outcome, places) = of(path, &text);
            assert_eq!((outcome.verdict, places.len()), (Verdict::Pass, 0), "{path} {text}: {outcome:#?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[a-z0-9A-Z:/@?&=#.\u{e4}%\" -]{0,120}", at in 0usize..130) {
            let _ = url(text.as_bytes(), at.min(text.len().saturating_sub(3)), "yarn.lock");
        }
    }
}
