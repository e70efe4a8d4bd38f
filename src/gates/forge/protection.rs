//! How the main branch is guarded on the forge, read only: advice beside the reviews, never a verdict. After the tiers of
//! OpenSSF Scorecard's Branch-Protection: no force pushes, an approval demanded, stale approvals dismissed.
//!
//! Not every token may read every setting: what the forge does not tell stays `None`, and is neither good nor bad.
//! Sources: the REST API pages of GitHub (2022-11-28: branch protection, rules), GitLab (v4: protected branches, approvals),
//! Gitea (v1: branches, branch protections).

use serde::Serialize;
use serde_json::Value as Json;

use super::origin::Kind;
use super::{Forge, ForgeError, text};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Protection {
    pub branch: String,
    pub protected: Option<bool>,
    /// Approvals that are demanded before a merge.
    pub approvals: Option<u64>,
    /// A push takes back the approvals that were given before it.
    pub dismisses_stale: Option<bool>,
    pub force_push: Option<bool>,
}

impl Protection {
    /// What could be better: (rule, words).
    pub fn advice(&self) -> Vec<(&'static str, String)> {
        let branch = &self.branch;
        let mut out = Vec::new();
        if self.protected == Some(false) {
            out.push((
                "branch-unprotected",
                format!("{branch} is not protected: anybody who may write pushes to it unseen"),
            ));
            return out;
        }
        if self.force_push == Some(true) {
            out.push(("force-push", format!("force pushes to {branch} are allowed: they replace what was reviewed")));
        }
        if self.approvals == Some(0) {
            out.push(("approval-not-demanded", format!("{branch} takes changes that nobody has approved")));
        } else if self.dismisses_stale == Some(false) {
            let words = format!("an approval for {branch} outlives later pushes: let a push dismiss it");
            out.push(("stale-approvals-kept", words));
        }
        out
    }
}

impl Forge {
    /// Of the default branch. `None`: the forge does not even tell which that is.
    pub async fn protection(&self) -> Result<Option<Protection>, ForgeError> {
        let (owner, name) = self.path.split_once('/').unwrap_or((self.path.as_str(), ""));
        let repository = match self.kind {
            Kind::GitLab => self.get(&["projects", &self.path], &[]).await?,
            Kind::GitHub | Kind::Gitea => self.get(&["repos", owner, name], &[]).await?,
        };
        let branch = repository.map(|r| text(&r["default_branch"])).unwrap_or_default();
        if branch.is_empty() {
            return Ok(None);
        }
        let found = match self.kind {
            Kind::GitHub => github(self, owner, name, &branch).await,
            Kind::GitLab => gitlab(self, &branch).await,
            Kind::Gitea => gitea(self, owner, name, &branch).await,
        };
        Ok(Some(Protection { branch, ..found }))
    }

    /// `None`: it is not there, or this token may not see it.
    async fn told(&self, parts: &[&str]) -> Option<Json> {
        self.get(parts, &[]).await.ok().flatten()
    }
}

async fn github(forge: &Forge, owner: &str, name: &str, branch: &str) -> Protection {
    let plain = forge.told(&["repos", owner, name, "branches", branch]).await;
    // Every reader may see rule sets; the older settings only administrators.
    let rules = forge.list(&["repos", owner, name, "rules", "branches", branch], &[]).await.unwrap_or_default();
    let classic = forge.told(&["repos", owner, name, "branches", branch, "protection"]).await;
    let pulls = || rules.iter().filter(|r| r["type"] == "pull_request").map(|r| &r["parameters"]);
    let reviews = classic.as_ref().map(|c| &c["required_pull_request_reviews"]);
    let count = |of: &Json| of["required_approving_review_count"].as_u64();
    let demanded = pulls().filter_map(count).chain(reviews.map(|r| count(r).unwrap_or(0))).max();
    let no_force = rules.iter().any(|r| r["type"] == "non_fast_forward");
    let stale = pulls().map(|p| p["dismiss_stale_reviews_on_push"] == true);
    let stale = stale.chain(reviews.filter(|r| r.is_object()).map(|r| r["dismiss_stale_reviews"] == true));
    Protection {
        branch: String::new(),
        protected: match (&classic, rules.is_empty()) {
            (Some(_), _) | (None, false) => Some(true),
            (None, true) => plain.and_then(|p| p["protected"].as_bool()),
        },
        approvals: demanded,
        dismisses_stale: stale.reduce(|a, b| a || b),
        force_push: match &classic {
            _ if no_force => Some(false),
            Some(classic) => Some(classic["allow_force_pushes"]["enabled"] == true),
            None => None,
        },
    }
}

async fn gitlab(forge: &Forge, branch: &str) -> Protection {
    let project = forge.path.as_str();
    let listed = forge.list(&["projects", project, "protected_branches"], &[]).await.ok();
    let ours = |rule: &&Json| rule["name"].as_str().is_some_and(|pattern| fits(pattern, branch));
    let ours: Option<Vec<&Json>> = listed.as_ref().map(|all| all.iter().filter(ours).collect());
    // Both are of the paid editions; without them nobody can demand an approval.
    let rules = forge.told(&["projects", project, "approval_rules"]).await;
    let settings = forge.told(&["projects", project, "approvals"]).await;
    let about_it = |rule: &&Json| {
        let named = rule["protected_branches"].as_array().filter(|all| !all.is_empty());
        named.is_none_or(|all| all.iter().any(|b| b["name"].as_str().is_some_and(|pattern| fits(pattern, branch))))
    };
    let demanded = |all: &Vec<Json>| {
        all.iter().filter(about_it).filter_map(|r| r["approvals_required"].as_u64()).max().unwrap_or(0)
    };
    Protection {
        branch: String::new(),
        protected: ours.as_ref().map(|all| !all.is_empty()),
        approvals: rules.as_ref().and_then(Json::as_array).map(demanded),
        dismisses_stale: settings.and_then(|s| s["reset_approvals_on_push"].as_bool()),
        // Of several that fit, the one that allows more is in force.
        force_push: ours.filter(|all| !all.is_empty()).map(|all| all.iter().any(|r| r["allow_force_push"] == true)),
    }
}

async fn gitea(forge: &Forge, owner: &str, name: &str, branch: &str) -> Protection {
    let Some(plain) = forge.told(&["repos", owner, name, "branches", branch]).await else {
        return Protection::default();
    };
    let protected = plain["protected"].as_bool();
    let rule = text(&plain["effective_branch_protection_name"]);
    let rule = match (protected, rule.is_empty()) {
        (Some(true), false) => forge.told(&["repos", owner, name, "branch_protections", &rule]).await,
        _ => None,
    };
    let approvals = plain["required_approvals"].as_u64().filter(|_| protected == Some(true));
    Protection {
        branch: String::new(),
        protected,
        approvals,
        dismisses_stale: rule
            .as_ref()
            .map(|r| r["dismiss_stale_approvals"] == true || r["ignore_stale_approvals"] == true),
        // Older ones have no such setting, and refuse them.
        force_push: rule.as_ref().map(|r| r["enable_force_push"] == true),
    }
}

/// GitLab's patterns: `*` for anything, also for a slash.
fn fits(pattern: &str, branch: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = branch.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::forge::tests::{connect, forge};
    use crate::gates::testing;

    async fn of(kind: Kind, replies: &[(&'static str, Json)]) -> Option<Protection> {
        let server = forge(replies.iter().map(|(path, body)| (*path, body.to_string())).collect()).await;
        let (_dir, ctx) = testing::context(|_| {});
        connect(kind, &server, &ctx).protection().await.unwrap()
    }

    fn rules(of: &Protection) -> Vec<&'static str> {
        of.advice().into_iter().map(|(rule, _)| rule).collect()
    }

    #[tokio::test]
    async fn github_tells_by_rules_and_by_the_older_settings() {
        let repo = ("/repos/acme/shop$", serde_json::json!({"default_branch": "main"}));
        let plain = |is: bool| ("/shop/branches/main$", serde_json::json!({"name": "main", "protected": is}));
        let open = of(Kind::GitHub, &[plain(false), repo.clone()]).await.unwrap();
        assert_eq!((open.branch.as_str(), rules(&open)), ("main", vec!["branch-unprotected"]));
        // What administrators alone may see is neither good nor bad.
        let dark = of(Kind::GitHub, &[plain(true), repo.clone()]).await.unwrap();
        assert_eq!((dark.protected, dark.approvals, dark.force_push, rules(&dark).len()), (Some(true), None, None, 0));
        let classic = serde_json::json!({"allow_force_pushes": {"enabled": true}, "required_pull_request_reviews":
            {"required_approving_review_count": 2, "dismiss_stale_reviews": false}});
        let old = of(Kind::GitHub, &[("/branches/main/protection", classic), plain(true), repo.clone()]).await.unwrap();
        assert_eq!((old.approvals, rules(&old)), (Some(2), vec!["force-push", "stale-approvals-kept"]));
        let bare = ("/branches/main/protection", serde_json::json!({"allow_force_pushes": {"enabled": false}}));
        let bare = of(Kind::GitHub, &[bare, plain(true), repo.clone()]).await.unwrap();
        assert_eq!(rules(&bare), ["approval-not-demanded"]);
        let sets = serde_json::json!([{"type": "non_fast_forward"}, {"type": "pull_request", "parameters":
            {"required_approving_review_count": 1, "dismiss_stale_reviews_on_push": true}}]);
        let new = of(Kind::GitHub, &[("/rules/branches/main?", sets), plain(true), repo]).await.unwrap();
        assert_eq!((new.approvals, new.dismisses_stale, new.force_push), (Some(1), Some(true), Some(false)));
        assert_eq!(rules(&new).len(), 0);
        assert_eq!(of(Kind::GitHub, &[]).await, None, "a token that sees nothing");
    }

    #[tokio::test]
    async fn gitlab_tells_by_patterns_and_approval_rules() {
        let project = ("/projects/acme%2Fshop$", serde_json::json!({"default_branch": "main"}));
        let branches = |list: Json| ("/acme%2Fshop/protected_branches?", list);
        let approvals = ("/acme%2Fshop/approvals$", serde_json::json!({"reset_approvals_on_push": false}));
        let demanded = (
            "/acme%2Fshop/approval_rules",
            serde_json::json!([
            {"approvals_required": 3, "protected_branches": [{"name": "release/*"}]},
            {"approvals_required": 1, "protected_branches": []}]),
        );
        let list = serde_json::json!([{"name": "ma*", "allow_force_push": true}, {"name": "other"}]);
        let paid = of(Kind::GitLab, &[branches(list.clone()), demanded, approvals, project.clone()]).await.unwrap();
        assert_eq!((paid.approvals, rules(&paid)), (Some(1), vec!["force-push", "stale-approvals-kept"]));
        let free = of(Kind::GitLab, &[branches(list), project.clone()]).await.unwrap();
        assert_eq!((free.approvals, rules(&free)), (None, vec!["force-push"]));
        let none = of(Kind::GitLab, &[branches(serde_json::json!([{"name": "other"}])), project]).await.unwrap();
        assert_eq!(rules(&none), ["branch-unprotected"]);
    }

    #[tokio::test]
    async fn gitea_tells_of_the_rule_in_force() {
        let repo = ("/repos/acme/shop$", serde_json::json!({"default_branch": "main"}));
        let branch = (
            "/shop/branches/main",
            serde_json::json!({"protected": true, "required_approvals": 1,
            "effective_branch_protection_name": "main"}),
        );
        let rule = |stale: bool| {
            (
                "/branch_protections/main",
                serde_json::json!({"dismiss_stale_approvals": stale, "enable_force_push": false}),
            )
        };
        let good = of(Kind::Gitea, &[rule(true), branch.clone(), repo.clone()]).await.unwrap();
        assert_eq!((good.approvals, good.force_push, rules(&good).len()), (Some(1), Some(false), 0));
        let kept = of(Kind::Gitea, &[rule(false), branch.clone(), repo.clone()]).await.unwrap();
        assert_eq!(rules(&kept), ["stale-approvals-kept"]);
        // Rules themselves are for administrators.
        let dark = of(Kind::Gitea, &[branch, repo]).await.unwrap();
        assert_eq!((dark.dismisses_stale, rules(&dark).len()), (None, 0));
    }

    #[test]
    fn patterns_of_gitlab() {
        for (pattern, branch, expect) in [
            ("main", "main", true),
            ("main", "main2", false),
            ("*", "main", true),
            ("release/*", "release/1.0", true),
            ("release/*", "main", false),
            ("*-stable", "a/b-stable", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
        ] {
            assert_eq!(fits(pattern, branch), expect, "{pattern} {branch}");
        }
    }
}
