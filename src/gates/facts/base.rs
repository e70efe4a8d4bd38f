//! The commit that a change is compared with: where it left the branch that it will be merged into.

use super::git::Git;

/// What the change grew from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// As people know it: `origin/main`, `HEAD`.
    pub name: String,
    pub commit: String,
}

/// `named`: the target branch of the merge request, as the CI tells it. Else the remote's default branch, else HEAD
/// itself, so that what is not committed yet is still compared. `Ok(None)`: nothing is committed. An error says why
/// there should be a base and is none.
pub fn find(git: &Git, named: Option<&str>) -> Result<Option<Base>, String> {
    let commit = |name: &str| {
        let found = git.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{name}^{{commit}}")]);
        found.ok().map(|c| c.trim().to_string()).filter(|c| !c.is_empty())
    };
    let Some(head) = commit("HEAD") else { return Ok(None) };
    let candidates = match named.map(|name| name.trim_start_matches("refs/heads/")) {
        Some(name) => vec![format!("refs/remotes/origin/{name}"), format!("refs/heads/{name}")],
        None => vec!["refs/remotes/origin/HEAD".to_string()],
    };
    let tip = candidates.iter().find_map(|name| Some((name, commit(name)?)));
    let (name, tip) = match (tip, named) {
        (Some((name, tip)), _) => (name.as_str(), tip),
        (None, Some(name)) => return Err(format!("the base branch {name} is not in this clone")),
        (None, None) => return Ok(Some(Base { name: "HEAD".into(), commit: head })),
    };
    let shown = name.trim_start_matches("refs/remotes/").trim_start_matches("refs/heads/").to_string();
    // What the base branch has learnt since is no growth of this one. A shallow clone may not know where they parted.
    let parted = git.run(&["merge-base", &tip, &head]).ok().map(|c| c.trim().to_string());
    Ok(Some(Base { name: shown, commit: parted.filter(|c| !c.is_empty()).unwrap_or(tip) }))
}

/// The target branch of the merge request that a CI system runs for.
pub fn of_ci(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let names = [
        "GITHUB_BASE_REF",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME",
        "BITBUCKET_PR_DESTINATION_BRANCH",
        "SYSTEM_PULLREQUEST_TARGETBRANCH",
        "CHANGE_TARGET",
        "CI_COMMIT_TARGET_BRANCH",
    ];
    names.iter().find_map(|name| variable(name).filter(|value| !value.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::super::git::scratch::Scratch;
    use super::*;

    #[test]
    fn the_named_branch_then_the_remotes_then_head() {
        let repo = Scratch::new();
        let git = Git::discover(repo.path()).unwrap();
        assert_eq!(find(&git, None), Ok(None), "nothing is committed");
        repo.write("a", "1").commit("first");
        let first = repo.git(&["rev-parse", "HEAD"]);
        assert_eq!(find(&git, None).unwrap().unwrap(), Base { name: "HEAD".into(), commit: first.clone() });
        assert_eq!(find(&git, Some("release")), Err("the base branch release is not in this clone".into()));
        repo.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
        repo.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
        repo.write("a", "2").commit("second");
        let base = find(&git, None).unwrap().unwrap();
        assert_eq!((base.name.as_str(), &base.commit), ("origin/HEAD", &first));
        // The base has moved on: the change is compared with where it left.
        repo.git(&["checkout", "--quiet", "-b", "topic", &first]);
        repo.write("b", "1").commit("topic");
        let base = find(&git, Some("refs/heads/main")).unwrap().unwrap();
        assert_eq!((base.name.as_str(), &base.commit), ("origin/main", &first));
        assert!(find(&git, Some("--upload-pack=x")).is_err());
    }

    #[test]
    fn ci_systems_tell_it() {
        let of = |name: &'static str, value: &'static str| of_ci(move |n| (n == name).then(|| value.to_string()));
        assert_eq!(of("GITHUB_BASE_REF", "main").as_deref(), Some("main"));
        assert_eq!(of("GITHUB_BASE_REF", ""), None, "a push has none");
        assert_eq!(of("OTHER", "main"), None);
    }
}
