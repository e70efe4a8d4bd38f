//! The REST API of Gitea and Forgejo, version 1.

use serde_json::Value as Json;

use super::{Change, CiRun, Forge, ForgeError, Review, RunState, text, time};

pub async fn runs(forge: &Forge, commit: &str) -> Result<Vec<CiRun>, ForgeError> {
    let (owner, name) = halves(forge);
    let answer = forge.get(&["repos", owner, name, "commits", commit, "status"], &[]).await?;
    let statuses = answer.map(|a| a["statuses"].clone()).unwrap_or_default();
    let run = |status: &Json| CiRun {
        name: text(&status["context"]),
        file: None,
        state: match status["status"].as_str().unwrap_or_default() {
            "success" => RunState::Success,
            "pending" => RunState::Open("pending".into()),
            "skipped" => RunState::Neutral,
            other => RunState::Failed(other.to_string()),
        },
        url: text(&status["target_url"]),
        commit: commit.to_string(),
    };
    Ok(statuses.as_array().into_iter().flatten().map(run).collect())
}

/// Gitea tells of one merged pull request for a commit.
pub async fn changes_of(forge: &Forge, commit: &str) -> Result<Vec<Change>, ForgeError> {
    let (owner, name) = halves(forge);
    let Some(pull) = forge.get(&["repos", owner, name, "commits", commit, "pull"], &[]).await? else {
        return Ok(Vec::new());
    };
    let Some(number) = pull["number"].as_u64() else { return Ok(Vec::new()) };
    let commits = forge.list(&["repos", owner, name, "pulls", &number.to_string(), "commits"], &[]).await?;
    let reviews = forge.list(&["repos", owner, name, "pulls", &number.to_string(), "reviews"], &[]).await?;
    let head = text(&pull["head"]["sha"]);
    let mut out: Vec<Review> = Vec::new();
    for review in &reviews {
        let state = review["state"].as_str().unwrap_or_default();
        if !matches!(state, "APPROVED" | "REQUEST_CHANGES") {
            continue;
        }
        let by = text(&review["user"]["login"]);
        let commit = review["commit_id"].as_str().map(str::to_string);
        out.retain(|r| r.by != by);
        out.push(Review {
            name: review["user"]["full_name"].as_str().filter(|n| !n.is_empty()).map(str::to_string),
            is_bot: false,
            approves: state == "APPROVED" && review["dismissed"] != true,
            stale: review["stale"] == true || commit.as_deref().is_some_and(|c| !head.is_empty() && c != head),
            at: time(&review["submitted_at"]),
            commit,
            by,
        });
    }
    Ok(vec![Change {
        id: format!("#{number}"),
        url: text(&pull["html_url"]),
        author: text(&pull["user"]["login"]),
        authors: super::authors(&commits),
        merged: pull["merged"] == true,
        merged_by: pull["merged_by"]["login"].as_str().map(str::to_string),
        reviews: out,
        head,
    }])
}

fn halves(forge: &Forge) -> (&str, &str) {
    forge.path.split_once('/').unwrap_or((forge.path.as_str(), ""))
}
