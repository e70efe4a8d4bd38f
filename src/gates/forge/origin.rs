//! Where a repository comes from: git's remote URL in all its spellings, and which kind of forge lives there. Pure.

use url::Url;

/// `origin`, without the transport's details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// With a port when an http(s) URL names one. An ssh port says nothing about the web.
    pub host: String,
    /// `owner/name`; GitLab has groups in groups.
    pub path: String,
    /// The remote itself is plain http.
    pub plain: bool,
}

impl Origin {
    /// `https://host/owner/name.git`, `ssh://git@host:22/owner/name`, `git@host:owner/name.git`. `None` for files.
    pub fn parse(remote: &str) -> Option<Origin> {
        let remote = remote.trim();
        if let Ok(url) = Url::parse(remote)
            && url.has_host()
        {
            let web = matches!(url.scheme(), "http" | "https");
            if !web && !matches!(url.scheme(), "ssh" | "git" | "git+ssh" | "ssh+git") {
                return None;
            }
            let host = url.host_str()?;
            let host = match url.port().filter(|_| web) {
                Some(port) => format!("{host}:{port}"),
                None => host.to_string(),
            };
            return Origin::of(host, url.path(), url.scheme() == "http");
        }
        // The short form of ssh: no scheme, a colon before the path.
        let (host, path) = remote.split_once(':').filter(|(host, path)| {
            // One letter is a disk, two slashes a scheme.
            !host.contains('/') && host.len() > 1 && !path.starts_with("//")
        })?;
        let host = host.rsplit('@').next().unwrap_or(host);
        Origin::of(host.trim_matches(['[', ']']).to_string(), path, false)
    }

    fn of(host: String, path: &str, plain: bool) -> Option<Origin> {
        let path = path.trim_matches('/').trim_end_matches(".git").trim_matches('/');
        let known = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '~' | '+');
        let sane = path.contains('/') && path.chars().all(known) && !path.split('/').any(|p| p == ".." || p.is_empty());
        (sane && !host.is_empty()).then(|| Origin { host: host.to_ascii_lowercase(), path: path.to_string(), plain })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    GitHub,
    GitLab,
    /// And Forgejo, whose API is the same.
    Gitea,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::GitHub => "GitHub",
            Kind::GitLab => "GitLab",
            Kind::Gitea => "Gitea",
        }
    }
    /// The environment variable that holds its token.
    pub fn variable(self) -> &'static str {
        match self {
            Kind::GitHub => "GITHUB_TOKEN",
            Kind::GitLab => "GITLAB_TOKEN",
            Kind::Gitea => "GITEA_TOKEN",
        }
    }
}

/// What kind of forge `host` is, and where its API lives. A token goes nowhere that its owner has not named: GITHUB_TOKEN
/// to github.com, or to the host that GH_HOST or GitHub Actions itself names; a self-hosted forge whose name says nothing
/// is told by the one token that is set.
pub fn forge_at(origin: &Origin, variable: &impl Fn(&str) -> Option<String>) -> Option<(Kind, Url)> {
    let set = |name: &str| variable(name).filter(|v| !v.is_empty());
    let host_of = |name: &str| {
        let url = set(name).and_then(|v| Url::parse(&v).ok())?;
        let host = url.host_str()?.to_ascii_lowercase();
        Some(url.port().map_or(host.clone(), |p| format!("{host}:{p}")))
    };
    let host = origin.host.as_str();
    let bare = host.split(':').next().unwrap_or(host);
    let gitea_runner = set("GITEA_ACTIONS").is_some() || set("FORGEJO_ACTIONS").is_some();
    let actions_host = host_of("GITHUB_SERVER_URL").is_some_and(|h| h == host);
    let has = |word: &str| bare.split(['.', '-']).any(|part| part == word);
    let kind = match () {
        _ if bare == "github.com" => Kind::GitHub,
        _ if actions_host && gitea_runner => Kind::Gitea,
        _ if actions_host || set("GH_HOST").is_some_and(|h| h.eq_ignore_ascii_case(host)) => Kind::GitHub,
        _ if has("gitlab") || host_of("CI_SERVER_URL").is_some_and(|h| h == host) => Kind::GitLab,
        _ if bare == "codeberg.org" || has("gitea") || has("forgejo") => Kind::Gitea,
        _ => match (set("GITLAB_TOKEN").is_some(), set("GITEA_TOKEN").is_some()) {
            (true, false) => Kind::GitLab,
            (false, true) => Kind::Gitea,
            _ => return None,
        },
    };
    let scheme = if origin.plain { "http" } else { "https" };
    let named = match kind {
        Kind::GitHub if bare == "github.com" => Some("https://api.github.com".to_string()),
        Kind::GitHub if actions_host => set("GITHUB_API_URL"),
        Kind::GitLab if host_of("CI_SERVER_URL").is_some_and(|h| h == host) => set("CI_API_V4_URL"),
        _ => None,
    };
    let api = named.unwrap_or_else(|| match kind {
        Kind::GitHub => format!("{scheme}://{host}/api/v3"),
        Kind::GitLab => format!("{scheme}://{host}/api/v4"),
        Kind::Gitea => format!("{scheme}://{host}/api/v1"),
    });
    Some((kind, Url::parse(&api).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_origin() {
        let check = |remote: &str, expect: Option<(&str, &str)>| {
            let got = Origin::parse(remote);
            assert_eq!(got.as_ref().map(|o| (o.host.as_str(), o.path.as_str())), expect, "{remote}");
        };
        check("https://github.com/acme/shop.git", Some(("github.com", "acme/shop")));
        check("https://user:secret@GitHub.com/acme/shop/", Some(("github.com", "acme/shop")));
        check("git@github.com:acme/shop.git", Some(("github.com", "acme/shop")));
        check("ssh://git@git.acme.example:2222/group/sub/shop.git", Some(("git.acme.example", "group/sub/shop")));
        check("https://git.acme.example:8443/acme/shop", Some(("git.acme.example:8443", "acme/shop")));
        check("gitlab.com:acme/shop", Some(("gitlab.com", "acme/shop")));
        for none in [
            "/srv/git/shop.git",
            "file:///srv/git/shop",
            "../shop",
            "C:\\shop",
            "",
            "https://github.com/shop",
            "git@h:../x/y",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn a_token_goes_only_where_its_owner_says() {
        let check = |remote: &str, variables: &[(&str, &str)], expect: Option<(Kind, &str)>| {
            let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
            let got = forge_at(&Origin::parse(remote).unwrap(), &variable);
            assert_eq!(got.as_ref().map(|(k, u)| (*k, u.as_str())), expect, "{remote} {variables:?}");
        };
        check("git@github.com:a/b", &[], Some((Kind::GitHub, "https://api.github.com/")));
        check("git@gitlab.com:a/b", &[], Some((Kind::GitLab, "https://gitlab.com/api/v4")));
        check("https://codeberg.org/a/b", &[], Some((Kind::Gitea, "https://codeberg.org/api/v1")));
        check("git@gitlab.acme.example:a/b", &[], Some((Kind::GitLab, "https://gitlab.acme.example/api/v4")));
        check("git@git.acme.example:a/b", &[], None);
        check(
            "git@git.acme.example:a/b",
            &[("GITEA_TOKEN", "x")],
            Some((Kind::Gitea, "https://git.acme.example/api/v1")),
        );
        // A host that only looks like GitHub gets no GitHub token.
        check("git@github.evil.example:a/b", &[("GITHUB_TOKEN", "x")], None);
        check("git@notgitlab.example:a/b", &[], None);
        let actions = [("GITHUB_SERVER_URL", "https://ghe.example"), ("GITHUB_API_URL", "https://ghe.example/api/v3")];
        check("https://ghe.example/a/b", &actions, Some((Kind::GitHub, "https://ghe.example/api/v3")));
        let runner = [("GITHUB_SERVER_URL", "https://git.example"), ("GITEA_ACTIONS", "true")];
        check("https://git.example/a/b", &runner, Some((Kind::Gitea, "https://git.example/api/v1")));
    }

    proptest! {
        #[test]
        fn never_panics(remote in "(https?://|ssh://|git@)?[a-zA-Z0-9.:@/\\-_ %]{0,40}") {
            Origin::parse(&remote);
        }
    }
}
