//! Tests of the forges: replies written from their public API documentation, served by a real server on loopback.

use super::*;
use crate::gates::testing;
use crate::net::tests_support::{Served, Server, serve};

pub(crate) const TOKEN: &str = "tok-5c1d0e9f7a";
pub(crate) const SHA: &str = "9f3c2e1d0b8a7f6e5d4c3b2a19087f6e5d4c3b2a";

/// A server that answers paths (with query) that contain a key with its value, or end in it where it ends in `$`; 404 for
/// the rest. Asks for the token.
pub(crate) async fn forge(replies: Vec<(&'static str, String)>) -> Server {
    serve(move |request| {
        let line = request.lines().next().unwrap_or_default();
        let path = line.split(' ').nth(1).unwrap_or_default();
        if !request.contains(TOKEN) || !line.starts_with("GET ") {
            return Served::with(401, &[], b"{\"message\": \"Bad credentials\"}");
        }
        // Only the first page of a list holds anything.
        let page = path.split(['?', '&']).find_map(|p| p.strip_prefix("page="));
        if page.is_some_and(|p| p != "1") {
            return Served::typed("application/json", b"[]");
        }
        let fits = |key: &str| key.strip_suffix('$').map_or(path.contains(key), |end| path.ends_with(end));
        match replies.iter().find(|(key, _)| fits(key)) {
            Some((_, body)) => Served::typed("application/json", body.as_bytes()),
            None => Served::with(404, &[], b"{\"message\": \"Not Found\"}"),
        }
    })
    .await
}

/// The variables that make the server at `base` the forge of this kind.
pub(crate) fn variables(kind: Kind, base: &str) -> impl Fn(&str) -> Option<String> {
    let base = base.trim_end_matches('/').to_string();
    move |name| match (kind, name) {
        (Kind::GitHub, "GITHUB_SERVER_URL") | (Kind::GitLab, "CI_SERVER_URL") => Some(base.clone()),
        (Kind::GitHub, "GITHUB_API_URL") => Some(format!("{base}/api")),
        (Kind::GitLab, "CI_API_V4_URL") => Some(format!("{base}/api/v4")),
        (kind, name) if name == kind.variable() => Some(TOKEN.to_string()),
        _ => None,
    }
}

pub(crate) fn connect(kind: Kind, server: &Server, ctx: &GateContext) -> Forge {
    let base = server.url("/");
    Forge::at(&format!("{base}acme/shop.git"), &ctx.guard, "test", variables(kind, &base)).unwrap()
}

fn states(runs: &[CiRun]) -> Vec<(&str, &RunState)> {
    runs.iter().map(|r| (r.name.as_str(), &r.state)).collect()
}

#[tokio::test]
async fn github_runs_and_reviews() {
    let runs = serde_json::json!({"total_count": 2, "workflow_runs": [
        {"id": 2, "name": "CI", "path": ".github/workflows/ci.yml", "head_sha": SHA, "status": "completed",
         "conclusion": "success", "html_url": "https://github.example/acme/shop/actions/runs/2"},
        {"id": 1, "name": "Release", "path": ".github/workflows/release.yml@main", "status": "in_progress", "conclusion": null,
         "html_url": "https://github.example/acme/shop/actions/runs/1"}]});
    let pulls = serde_json::json!([{"number": 7, "html_url": "https://github.example/acme/shop/pull/7",
        "user": {"login": "ann", "type": "User"}, "head": {"sha": "bbbb"}, "merged_at": "2026-11-20T10:00:00Z"}]);
    let review = |who: &str, kind: &str, state: &str, commit: &str| {
        serde_json::json!({"user": {"login": who, "type": kind}, "state": state, "commit_id": commit,
            "submitted_at": "2026-11-20T09:00:00Z"})
    };
    let reviews = serde_json::json!([
        review("bob", "User", "APPROVED", "aaaa"),
        review("bob", "User", "COMMENTED", "bbbb"),
        review("cyd", "User", "CHANGES_REQUESTED", "aaaa"),
        review("cyd", "User", "APPROVED", "bbbb"),
        review("scan[bot]", "Bot", "APPROVED", "bbbb"),
        review("dan", "User", "DISMISSED", "bbbb")
    ]);
    let commits = serde_json::json!([{"sha": "aaaa", "author": {"login": "ann"}, "committer": {"login": "web-flow"},
        "commit": {"author": {"name": "Ann", "email": "Ann@Example.com"}, "committer": {"email": "noreply@github.com"}}}]);
    let server = forge(vec![
        ("/pulls/7/commits", commits.to_string()),
        ("/api/repos/acme/shop/actions/runs?head_sha=", runs.to_string()),
        ("/pulls/7/reviews", reviews.to_string()),
        ("/pulls?", pulls.to_string()),
    ])
    .await;
    let (_dir, ctx) = testing::context(|_| {});
    let forge = connect(Kind::GitHub, &server, &ctx);
    let runs = forge.runs(SHA).await.unwrap();
    let open = RunState::Open("in_progress".into());
    assert_eq!(states(&runs), [("CI", &RunState::Success), ("Release", &open)]);
    assert_eq!(runs[1].file.as_deref(), Some(".github/workflows/release.yml"));
    let change = forge.changes_of(SHA).await.unwrap().remove(0);
    assert_eq!((change.id.as_str(), change.author.as_str(), change.merged), ("#7", "ann", true));
    assert_eq!(change.authors, ["ann", "ann@example.com"]);
    let got: Vec<(&str, bool, bool, bool)> =
        change.reviews.iter().map(|r| (r.by.as_str(), r.approves, r.stale, r.is_bot)).collect();
    let expect = [
        ("bob", true, true, false),
        ("cyd", true, false, false),
        ("scan[bot]", true, false, true),
        ("dan", false, false, false),
    ];
    assert_eq!(got, expect);
}

#[tokio::test]
async fn github_checks_and_statuses_of_other_systems() {
    let checks = serde_json::json!({"check_runs": [{"name": "ci/circleci: unit", "status": "completed",
        "conclusion": "failure", "html_url": "https://circleci.example/1"}]});
    let status = serde_json::json!({"state": "success", "statuses": [{"context": "jenkins", "state": "success",
        "target_url": "https://jenkins.example/2"}]});
    let runs = serde_json::json!({"total_count": 0, "workflow_runs": []}).to_string();
    let server =
        forge(vec![("/actions/runs?", runs), ("/check-runs", checks.to_string()), ("/status", status.to_string())])
            .await;
    let (_dir, ctx) = testing::context(|_| {});
    let runs = connect(Kind::GitHub, &server, &ctx).runs(SHA).await.unwrap();
    let red = RunState::Failed("failure".into());
    assert_eq!(states(&runs), [("ci/circleci: unit", &red), ("jenkins", &RunState::Success)]);
}

#[tokio::test]
async fn gitlab_pipelines_and_approvals() {
    let pipelines =
        serde_json::json!([{"id": 9, "sha": SHA, "status": "canceled", "web_url": "https://gitlab.example/p/9"}]);
    let merges = serde_json::json!([{"iid": 3, "state": "merged", "sha": "bbbb", "author": {"username": "ann"},
        "web_url": "https://gitlab.example/acme/shop/-/merge_requests/3", "merge_user": {"username": "eve"}}]);
    let approvals = serde_json::json!({"approved": true, "approved_by": [
        {"user": {"username": "bob"}, "approved_at": "2026-11-20T09:00:00Z"},
        {"user": {"username": "cyd"}, "approved_at": "2026-11-20T11:00:00Z"},
        {"user": {"username": "project_12_bot_0a"}, "approved_at": "2026-11-20T11:00:00Z"}]});
    let commits = serde_json::json!([{"author_name": "Ann", "author_email": "ann@example.com"}]);
    let versions = serde_json::json!([{"head_commit_sha": "bbbb", "created_at": "2026-11-20T10:00:00.000Z"},
        {"head_commit_sha": "aaaa", "created_at": "2026-11-20T08:00:00.000Z"}]);
    let server = forge(vec![
        ("/api/v4/projects/acme%2Fshop/pipelines?sha=", pipelines.to_string()),
        ("/merge_requests/3/approvals", approvals.to_string()),
        ("/merge_requests/3/versions", versions.to_string()),
        ("/merge_requests/3/commits", commits.to_string()),
        ("/merge_requests?", merges.to_string()),
    ])
    .await;
    let (_dir, ctx) = testing::context(|_| {});
    let forge = connect(Kind::GitLab, &server, &ctx);
    assert_eq!(states(&forge.runs(SHA).await.unwrap()), [("pipeline", &RunState::Failed("canceled".into()))]);
    let change = forge.changes_of(SHA).await.unwrap().remove(0);
    let got: Vec<(&str, bool, bool)> = change.reviews.iter().map(|r| (r.by.as_str(), r.stale, r.is_bot)).collect();
    assert_eq!(got, [("bob", true, false), ("cyd", false, false), ("project_12_bot_0a", false, true)]);
    assert_eq!((change.id.as_str(), change.merged_by.as_deref()), ("!3", Some("eve")));
    assert_eq!(change.authors, ["ann@example.com", "name:ann"]);
}

#[tokio::test]
async fn gitea_statuses_and_reviews() {
    let status = serde_json::json!({"state": "success", "statuses": [{"context": "ci/woodpecker/push", "status": "success",
        "target_url": "https://ci.example/1"}]});
    let pull = serde_json::json!({"number": 4, "merged": true, "head": {"sha": "bbbb"}, "user": {"login": "ann"},
        "html_url": "https://gitea.example/acme/shop/pulls/4"});
    let reviews = serde_json::json!([
        {"user": {"login": "bob"}, "state": "APPROVED", "stale": true, "commit_id": "aaaa"},
        {"user": {"login": "cyd"}, "state": "APPROVED", "stale": false, "dismissed": true, "commit_id": "bbbb"},
        {"user": {"login": "dan"}, "state": "APPROVED", "stale": false, "commit_id": "bbbb"}]);
    let server = forge(vec![
        ("/api/v1/repos/acme/shop/commits/9f3c2e1d0b8a7f6e5d4c3b2a19087f6e5d4c3b2a/status", status.to_string()),
        ("/pulls/4/commits", "[]".to_string()),
        ("/pulls/4/reviews", reviews.to_string()),
        ("/pull", pull.to_string()),
    ])
    .await;
    let (_dir, ctx) = testing::context(|_| {});
    let forge = connect(Kind::Gitea, &server, &ctx);
    assert_eq!(states(&forge.runs(SHA).await.unwrap()), [("ci/woodpecker/push", &RunState::Success)]);
    let change = forge.changes_of(SHA).await.unwrap().remove(0);
    let good: Vec<&str> = change.reviews.iter().filter(|r| r.approves && !r.stale).map(|r| r.by.as_str()).collect();
    assert_eq!(good, ["dan"]);
}

#[tokio::test]
async fn refusals_say_why_and_never_hold_the_token() {
    for (served, expect) in [
        (Served::with(401, &[], b""), "the token is not accepted"),
        (Served::with(403, &[("x-ratelimit-remaining", "0")], b""), "the rate limit is used up"),
        (Served::with(403, &[], b""), "the token may not read this"),
        (Served::with(502, &[], b""), "it is in trouble"),
        (Served::ok("<html>"), "no JSON at line 1"),
        (Served::Close, "cannot connect"),
    ] {
        let server = serve(move |_| served.clone()).await;
        let (dir, ctx) = testing::context(|_| {});
        let error = connect(Kind::GitHub, &server, &ctx).runs(SHA).await.unwrap_err().to_string();
        assert!(error.contains(expect) || expect == "cannot connect", "{error}");
        assert!(!error.contains(TOKEN), "{error}");
        let ledger = std::fs::read_to_string(ctx.guard.run_dir.join("requests.ndjson")).unwrap();
        assert!(ledger.contains("/actions/runs") && !ledger.contains(TOKEN), "{ledger}");
        drop(dir);
    }
}

#[tokio::test]
async fn without_token_or_origin_nobody_is_asked() {
    let (_dir, ctx) = testing::context(|_| {});
    let at = |remote: &str, token: Option<&str>| {
        let token = token.map(str::to_string);
        Forge::at(remote, &ctx.guard, "test", move |name| token.clone().filter(|_| name == "GITHUB_TOKEN"))
            .err()
            .unwrap()
    };
    assert_eq!(at("", Some("x")), NoForge::NoOrigin);
    assert_eq!(at("git@git.acme.example:a/b", Some("x")), NoForge::UnknownKind("git.acme.example".into()));
    let none = at("git@github.com:acme/shop.git", None);
    assert_eq!(none.to_string(), "GITHUB_TOKEN is not set, so GitHub at github.com was not asked");
    let plain =
        Forge::at("http://gitlab.acme.example/a/b", &ctx.guard, "test", |n| (n == "GITLAB_TOKEN").then(|| "x".into()));
    assert_eq!(plain.err(), Some(NoForge::Plain("gitlab.acme.example".into())));
    assert_eq!(ctx.guard.requests_of("test"), 0);
}
