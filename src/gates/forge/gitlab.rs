//! GitLab's REST API, version 4. A project is named by its whole path, as one part of the URL.

use serde_json::Value as Json;

use super::{Change, CiRun, Forge, ForgeError, Review, RunState, text, time};

pub async fn runs(forge: &Forge, commit: &str) -> Result<Vec<CiRun>, ForgeError> {
    let query = [("sha", commit), ("per_page", "20")];
    let answer = forge.get(&["projects", &forge.path, "pipelines"], &query).await?;
    let run = |run: &Json| CiRun {
        name: "pipeline".into(),
        file: None,
        state: match run["status"].as_str().unwrap_or_default() {
            "success" => RunState::Success,
            "skipped" => RunState::Neutral,
            state @ ("failed" | "canceled" | "canceling") => RunState::Failed(state.to_string()),
            other => RunState::Open(other.to_string()),
        },
        url: text(&run["web_url"]),
        commit: commit.to_string(),
    };
    Ok(answer.as_ref().and_then(Json::as_array).into_iter().flatten().map(run).collect())
}

pub async fn changes_of(forge: &Forge, commit: &str) -> Result<Vec<Change>, ForgeError> {
    let project = forge.path.as_str();
    let mut out = Vec::new();
    for merge in forge.list(&["projects", project, "repository", "commits", commit, "merge_requests"], &[]).await? {
        let Some(number) = merge["iid"].as_u64() else { continue };
        let iid = number.to_string();
        let approvals = forge.get(&["projects", project, "merge_requests", &iid, "approvals"], &[]).await?;
        let commits = forge.list(&["projects", project, "merge_requests", &iid, "commits"], &[]).await?;
        let versions = forge.list(&["projects", project, "merge_requests", &iid, "versions"], &[]).await?;
        // A version is a push; the newest comes first.
        let pushed = versions.iter().filter_map(|v| time(&v["created_at"])).max();
        let approved = approvals.map(|a| a["approved_by"].clone()).unwrap_or_default();
        let review = |entry: &Json| {
            let at = time(&entry["approved_at"]);
            Review {
                by: text(&entry["user"]["username"]),
                name: entry["user"]["name"].as_str().map(str::to_string),
                is_bot: entry["user"]["bot"] == true || entry["user"]["username"].as_str().is_some_and(is_bot_name),
                approves: true,
                commit: None,
                stale: matches!((at, pushed), (Some(at), Some(pushed)) if at < pushed),
                at,
            }
        };
        out.push(Change {
            id: format!("!{number}"),
            url: text(&merge["web_url"]),
            author: text(&merge["author"]["username"]),
            authors: super::authors(&commits),
            head: text(&merge["sha"]),
            merged: merge["state"] == "merged",
            merged_by: merge["merge_user"]["username"].as_str().map(str::to_string),
            reviews: approved.as_array().into_iter().flatten().map(review).collect(),
        });
    }
    Ok(out)
}

/// Users that GitLab makes for access tokens: `project_12_bot_0a1b`, `group_7_bot`.
fn is_bot_name(name: &str) -> bool {
    (name.starts_with("project_") || name.starts_with("group_")) && name.contains("_bot")
}
