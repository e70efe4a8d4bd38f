//! Release identity: what exactly is about to go live. Asked of git and of the files; never guessed.

use super::changelog;
use super::versions::{self, Source};
use crate::domain::release::ReleaseId;
use crate::gates::context::Repo;

/// Where the version was taken from, for `check -v` and for the naming gate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub rid: ReleaseId,
    /// All version sources seen, side by side.
    pub sources: Vec<Source>,
}

/// `wanted`: the configured version, unless it is `auto`. Order: configured, tag on HEAD, manifest, top of the changelog.
pub fn identify(repo: Option<&Repo>, wanted: Option<&str>, targets: Vec<String>) -> Identity {
    let mut rid = ReleaseId { targets, ..ReleaseId::default() };
    let mut sources = Vec::new();
    if let Some(repo) = repo {
        if let Some(git) = &repo.git {
            let seen = git.work_tree();
            rid.commit = seen.commit().map(String::from);
            rid.tree = seen.tree().map(String::from);
            // A repository that cannot say whether it is clean is not clean.
            rid.dirty = seen.changes().map_or(true, |mut all| all.any(|(letters, path)| !is_ours(letters, path)));
            rid.tag = best_tag(seen.tags());
        }
        sources = versions::of(repo);
    }
    let manifest = |kind: &str| sources.iter().find(|s| s.kind == kind).map(|s| s.version.clone());
    rid.version = wanted
        .filter(|w| *w != "auto" && !w.trim().is_empty())
        .map(String::from)
        .or_else(|| rid.tag.clone())
        .or_else(|| manifest(versions::MANIFEST))
        .or_else(|| manifest(versions::CHANGELOG));
    Identity { rid, sources }
}

/// Our own run folder and database in the work tree do not make it dirty.
fn is_ours(letters: &str, path: &str) -> bool {
    letters == "??" && (path.starts_with(".hypercare/") || path.starts_with("hypercare-data/"))
}

/// The highest version among the tags on HEAD, else the last by name.
fn best_tag<'a>(tags: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let versioned = tags
        .clone()
        .filter_map(|t| versions::of_tag(t).map(|v| (v, t)))
        .max_by(|a, b| a.0.precedence(&b.0).then_with(|| a.1.cmp(b.1)));
    versioned.map(|(_, t)| t).or_else(|| tags.max()).map(String::from)
}

/// The changelog of the repository, parsed; `None` without one.
pub fn changelog_of(repo: &Repo) -> Option<(String, Vec<changelog::Entry>)> {
    let path = changelog::find(repo.files.iter().map(|f| f.path.as_str()))?;
    let text = repo.read_text(path, changelog::BYTES_MAX).ok()?;
    Some((path.to_string(), changelog::parse(&text)))
}

#[cfg(test)]
mod tests {
    use super::super::git::scratch::Scratch;
    use super::super::walk;
    use super::*;

    fn rid(repo: &Scratch, wanted: Option<&str>) -> ReleaseId {
        identify(Some(&walk::open(repo.path()).unwrap()), wanted, vec!["http://x/".into()]).rid
    }

    #[test]
    fn the_tag_beats_the_manifest_beats_the_changelog() {
        let repo = Scratch::new();
        repo.write("CHANGELOG.md", "## [1.1.0] - 2026-11-20\n- One\n").commit("first");
        assert_eq!(rid(&repo, None).version.as_deref(), Some("1.1.0"));
        repo.write("package.json", "{\"version\": \"1.2.0\"}").commit("second");
        assert_eq!(rid(&repo, Some("auto")).version.as_deref(), Some("1.2.0"));
        repo.tag("nightly").tag("v1.3.0-rc.1").tag("v1.3.0");
        let seen = rid(&repo, None);
        assert_eq!((seen.version.as_deref(), seen.tag.as_deref()), (Some("v1.3.0"), Some("v1.3.0")));
        assert_eq!(seen.commit.as_deref(), Some(repo.git(&["rev-parse", "HEAD"]).as_str()));
        assert!(seen.tree.is_some() && !seen.dirty);
        assert_eq!(rid(&repo, Some("9.0.0")).version.as_deref(), Some("9.0.0"));
    }

    #[test]
    fn changes_make_it_dirty_our_own_run_folder_does_not() {
        let repo = Scratch::new();
        repo.write("a", "1").commit("first").write(".hypercare/runs/x/requests.ndjson", "");
        assert!(!rid(&repo, None).dirty);
        repo.write("b", "untracked");
        assert!(rid(&repo, None).dirty);
    }

    #[test]
    fn without_git_or_commits_it_knows_nothing_it_cannot_know() {
        let plain = tempfile::tempdir().unwrap();
        std::fs::write(plain.path().join("VERSION"), "2.0.0\n").unwrap();
        let seen = identify(Some(&walk::open(plain.path()).unwrap()), None, vec![]).rid;
        assert_eq!((seen.commit, seen.tree, seen.dirty), (None, None, false));
        assert_eq!(seen.version.as_deref(), Some("2.0.0"));
        let empty = Scratch::new();
        assert_eq!(rid(&empty, None).commit, None);
        assert_eq!(identify(None, None, vec![]).rid, ReleaseId::default());
    }
}
