//! The base branch: what others have agreed on. Signers are always read there; when the change under check is not merged,
//! waivers, attestations and the configuration's targets are too, so that nobody enrols, excuses or redirects himself in
//! the change that is checked.

use super::shelf::Shelf;
use crate::gates::context::Repo;
use crate::gates::facts::git::Git;

/// The change under check is not merged; this is where it wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// A branch as the CI names it, or anything git understands from `--base`. `None`: the CI does not say.
    pub branch: Option<String>,
    /// `--base`, or the variable.
    pub told_by: String,
}

/// The change under check, as the caller has looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub wanted: Wanted,
    /// Where it was found.
    pub base: Base,
    /// Keys of the configuration in which head and base differ.
    pub differs: Vec<String>,
    /// Keys that are not trusted, because the base could not be read.
    pub untrusted: Vec<String>,
}

impl Change {
    /// Blocking.
    pub fn find(repo: &Repo, wanted: Wanted) -> Change {
        let base = Base::find(repo, Some(&wanted));
        Change { wanted, base, differs: Vec::new(), untrusted: Vec::new() }
    }
}

impl Wanted {
    pub fn option(reference: &str) -> Wanted {
        Wanted { branch: Some(reference.to_string()), told_by: OPTION.into() }
    }
}

const OPTION: &str = "--base";

/// Variables that hold the target branch and are set for requests only.
const TARGETS: [&str; 6] = [
    // GitHub, Gitea, Forgejo
    "GITHUB_BASE_REF",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
    "BITBUCKET_PR_DESTINATION_BRANCH",
    // Jenkins
    "CHANGE_TARGET",
    // Azure
    "SYSTEM_PULLREQUEST_TARGETBRANCH",
    "BUILDKITE_PULL_REQUEST_BASE_BRANCH",
];

/// Which variable tells that it is a request, and which holds the target. CircleCI tells no target.
const REQUESTS: [(&str, &str); 6] = [
    ("DRONE_PULL_REQUEST", "DRONE_TARGET_BRANCH"),
    // Woodpecker
    ("CI_COMMIT_PULL_REQUEST", "CI_COMMIT_TARGET_BRANCH"),
    ("TRAVIS_PULL_REQUEST", "TRAVIS_BRANCH"),
    ("APPVEYOR_PULL_REQUEST_NUMBER", "APPVEYOR_REPO_BRANCH"),
    ("CIRCLE_PULL_REQUEST", ""),
    ("CIRCLE_PULL_REQUESTS", ""),
];

/// What the CI says about the change under check; `None`: that it is not one, or that there is no CI.
pub fn told(variable: impl Fn(&str) -> Option<String>) -> Option<Wanted> {
    let set = |name: &str| variable(name).map(|v| v.trim().to_string()).filter(|v| !v.is_empty() && v != "false");
    let target = |name: &str| Some(Wanted { branch: Some(plain(&set(name)?)), told_by: name.into() });
    let request = |(is, target): &(&str, &str)| {
        set(is)?;
        Some(Wanted { branch: set(target).map(|t| plain(&t)), told_by: (*is).into() })
    };
    TARGETS.iter().find_map(|name| target(name)).or_else(|| REQUESTS.iter().find_map(request))
}

fn plain(branch: &str) -> String {
    branch.strip_prefix("refs/heads/").unwrap_or(branch).to_string()
}

/// Where it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    /// As people write it: `origin/main`.
    pub name: String,
    /// `None`: it cannot be read here, or this is no git repository.
    pub commit: Option<String>,
    /// No git: the folder as it is has to do.
    plain_folder: bool,
}

impl Base {
    pub fn find(repo: &Repo, wanted: Option<&Wanted>) -> Base {
        let Some(git) = &repo.git else {
            let name = wanted.and_then(|w| w.branch.clone()).unwrap_or_else(|| "this folder".into());
            return Base { name, commit: None, plain_folder: wanted.is_none() };
        };
        let candidates = match wanted {
            None => usual(true),
            Some(Wanted { branch: None, .. }) => usual(false),
            Some(Wanted { branch: Some(name), told_by }) => named(git, name, told_by == OPTION),
        };
        let found = candidates.into_iter().find_map(|name| Some((commit(git, &name)?, name)));
        match (found, wanted) {
            (Some((commit, name)), _) => Base { name: short(&name), commit: Some(commit), plain_folder: false },
            (None, Some(wanted)) => {
                Base { name: wanted.branch.clone().unwrap_or_else(|| "main".into()), ..Base::default() }
            }
            // A branch of another name and no remote: what is checked out.
            (None, None) => Base { name: "HEAD".into(), commit: commit(git, "HEAD"), plain_folder: false },
        }
    }

    /// `.hypercare/` as it is there. `None`: it cannot be read.
    pub fn shelf(&self, repo: &Repo) -> Option<Shelf> {
        match (&self.commit, &repo.git) {
            (Some(commit), Some(git)) => Shelf::of_commit(repo, git, commit).ok(),
            _ if self.plain_folder => Some(Shelf::of_tree(repo)),
            _ => None,
        }
    }
}

fn commit(git: &Git, name: &str) -> Option<String> {
    // A name from outside is no option.
    let found = git.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]);
    found.ok().map(|id| id.trim().to_string()).filter(|id| !id.is_empty())
}

fn usual(local: bool) -> Vec<String> {
    let remote = ["refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master"];
    let own = ["refs/heads/main", "refs/heads/master"];
    remote.into_iter().chain(own.into_iter().filter(|_| local)).map(String::from).collect()
}

/// A local branch of that name may be the change itself (a fork's `main`): it counts only where there is no remote, and
/// not when it is checked out. The operator may name anything.
fn named(git: &Git, name: &str, by_operator: bool) -> Vec<String> {
    let mut out = vec![format!("refs/remotes/origin/{name}")];
    if by_operator {
        out.insert(0, name.to_string());
        return out;
    }
    let no_remote = git.run(&["remote"]).is_ok_and(|list| list.trim().is_empty());
    let local = format!("refs/heads/{name}");
    let checked_out = git.run(&["symbolic-ref", "--quiet", "HEAD"]).is_ok_and(|head| head.trim() == local);
    if no_remote && !checked_out {
        out.push(local);
    }
    out
}

fn short(name: &str) -> String {
    let name = name.strip_prefix("refs/remotes/").or_else(|| name.strip_prefix("refs/heads/")).unwrap_or(name);
    name.strip_suffix("/HEAD").unwrap_or(name).to_string()
}

/// The commit that a change grew from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parted {
    /// As people know the branch: `origin/main`, `HEAD`.
    pub name: String,
    pub commit: String,
}

/// Where the change left its base: what the base has learnt since is no growth of it. `Ok(None)`: nothing is committed.
/// An error says why there should be a base and is none.
pub fn parted(repo: &Repo, wanted: Option<&Wanted>) -> Result<Option<Parted>, String> {
    let Some(git) = &repo.git else { return Ok(None) };
    let Some(head) = commit(git, "HEAD") else { return Ok(None) };
    let Base { name, commit: tip, .. } = Base::find(repo, wanted);
    let tip = tip.ok_or_else(|| format!("the base branch {name} is not in this clone"))?;
    // A shallow clone may not know where they parted.
    let parted = git.run(&["merge-base", &tip, &head]).ok().map(|c| c.trim().to_string());
    Ok(Some(Parted { name, commit: parted.filter(|c| !c.is_empty()).unwrap_or(tip) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::facts::git::scratch::Scratch;
    use crate::gates::facts::walk;

    #[test]
    fn each_ci_tells_its_target_for_requests_only() {
        let with = |pairs: &'static [(&str, &str)]| {
            told(|name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string())).map(|w| w.branch)
        };
        let main = Some(Some("main".to_string()));
        assert_eq!(with(&[("GITHUB_BASE_REF", "main")]), main);
        assert_eq!(with(&[("GITHUB_BASE_REF", ""), ("GITHUB_SHA", "c0ffee")]), None, "a push");
        assert_eq!(with(&[("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "main")]), main);
        assert_eq!(with(&[("BITBUCKET_PR_DESTINATION_BRANCH", "main")]), main);
        assert_eq!(with(&[("CHANGE_TARGET", "main")]), main);
        assert_eq!(with(&[("SYSTEM_PULLREQUEST_TARGETBRANCH", "refs/heads/main")]), main);
        assert_eq!(with(&[("DRONE_TARGET_BRANCH", "main")]), None, "set for pushes too");
        assert_eq!(with(&[("DRONE_TARGET_BRANCH", "main"), ("DRONE_PULL_REQUEST", "7")]), main);
        assert_eq!(with(&[("TRAVIS_PULL_REQUEST", "false"), ("TRAVIS_BRANCH", "main")]), None);
        assert_eq!(with(&[("CIRCLE_PULL_REQUEST", "https://x/pull/7")]), Some(None));
        assert_eq!(with(&[]), None);
    }

    #[test]
    fn the_change_itself_is_never_its_own_base() {
        let scratch = Scratch::new();
        scratch.write("a", "1").commit("first");
        scratch.git(&["checkout", "--quiet", "-b", "topic"]);
        scratch.write("a", "2").commit("second");
        let repo = || walk::open(scratch.path()).unwrap();
        let ci = |branch: &str| Some(Wanted { branch: Some(branch.into()), told_by: "GITHUB_BASE_REF".into() });
        let find = |wanted: Option<Wanted>| {
            let base = Base::find(&repo(), wanted.as_ref());
            (base.name.clone(), base.commit.is_some_and(|c| c == scratch.git(&["rev-parse", "main"])))
        };
        assert_eq!(find(None), ("main".into(), true));
        assert_eq!(find(ci("main")), ("main".into(), true));
        assert_eq!(find(Some(Wanted::option("HEAD~1"))), ("HEAD~1".into(), true));
        assert_eq!(find(ci("topic")), ("topic".into(), false), "a branch that is checked out");
        assert_eq!(find(ci("release")), ("release".into(), false), "not here");
        assert_eq!(find(Some(Wanted::option("--output=x"))), ("--output=x".into(), false), "no option");
        // A clone knows the remote's branch; its own of that name may be the change.
        scratch.git(&["remote", "add", "origin", "https://forge.example/a/b"]);
        assert!(!find(ci("main")).1);
        scratch.git(&["update-ref", "refs/remotes/origin/main", "main"]);
        assert_eq!(find(ci("main")), ("origin/main".into(), true));
        assert_eq!(find(Some(Wanted { branch: None, told_by: "CIRCLE_PULL_REQUEST".into() })).0, "origin/main");
    }

    #[test]
    fn a_change_is_compared_with_where_it_left() {
        let scratch = Scratch::new();
        let parted = |wanted: Option<&str>| {
            let repo = walk::open(scratch.path()).unwrap();
            parted(&repo, wanted.map(Wanted::option).as_ref()).map(|p| p.map(|p| (p.name, p.commit)))
        };
        assert_eq!(parted(None), Ok(None), "nothing is committed");
        scratch.write("a", "1").commit("first");
        let first = scratch.git(&["rev-parse", "HEAD"]);
        assert_eq!(parted(None), Ok(Some(("main".into(), first.clone()))));
        assert_eq!(parted(Some("release")), Err("the base branch release is not in this clone".into()));
        scratch.write("a", "2").commit("second");
        scratch.git(&["checkout", "--quiet", "-b", "topic", &first]);
        scratch.write("b", "1").commit("topic");
        assert_eq!(parted(None), Ok(Some(("main".into(), first))));
    }
}
