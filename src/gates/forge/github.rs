//! GitHub's REST API, version 2022-11-28.

use serde_json::Value as Json;

use super::{Change, CiRun, Forge, ForgeError, Review, RunState, text, time};

pub async fn runs(forge: &Forge, commit: &str) -> Result<Vec<CiRun>, ForgeError> {
    let (owner, name) = halves(forge);
    let query = [("head_sha", commit), ("per_page", "100")];
    let answer = forge.get(&["repos", owner, name, "actions", "runs"], &query).await?;
    let listed = answer.map(|a| a["workflow_runs"].clone()).unwrap_or_default();
    let mut out: Vec<CiRun> = listed.as_array().into_iter().flatten().map(|run| workflow_run(run, commit)).collect();
    if out.is_empty() {
        // CI outside of GitHub reports checks, or statuses.
        let query = [("per_page", "100")];
        let checks = forge.get(&["repos", owner, name, "commits", commit, "check-runs"], &query).await?;
        let checks = checks.map(|a| a["check_runs"].clone()).unwrap_or_default();
        out.extend(checks.as_array().into_iter().flatten().map(|check| workflow_run(check, commit)));
        let combined = forge.get(&["repos", owner, name, "commits", commit, "status"], &[]).await?;
        let statuses = combined.map(|a| a["statuses"].clone()).unwrap_or_default();
        out.extend(statuses.as_array().into_iter().flatten().map(|status| CiRun {
            name: text(&status["context"]),
            file: None,
            state: match status["state"].as_str().unwrap_or_default() {
                "success" => RunState::Success,
                "pending" => RunState::Open("pending".into()),
                other => RunState::Failed(other.to_string()),
            },
            url: text(&status["target_url"]),
            commit: commit.to_string(),
        }));
    }
    Ok(out)
}

fn workflow_run(run: &Json, commit: &str) -> CiRun {
    let status = run["status"].as_str().unwrap_or_default();
    let state = match (status, run["conclusion"].as_str()) {
        ("completed", Some("success")) => RunState::Success,
        ("completed", Some("skipped" | "neutral" | "stale")) => RunState::Neutral,
        ("completed", other) => RunState::Failed(other.unwrap_or("without a conclusion").to_string()),
        (open, _) => RunState::Open(open.to_string()),
    };
    // `path` may carry the ref it was read at.
    let file = run["path"].as_str().map(|p| p.split('@').next().unwrap_or(p).to_string());
    CiRun { name: text(&run["name"]), file, state, url: text(&run["html_url"]), commit: commit.to_string() }
}

pub async fn changes_of(forge: &Forge, commit: &str) -> Result<Vec<Change>, ForgeError> {
    let (owner, name) = halves(forge);
    let mut out = Vec::new();
    for pull in forge.list(&["repos", owner, name, "commits", commit, "pulls"], &[]).await? {
        let Some(number) = pull["number"].as_u64() else { continue };
        let number_text = number.to_string();
        let commits = forge.list(&["repos", owner, name, "pulls", &number_text, "commits"], &[]).await?;
        let reviews = forge.list(&["repos", owner, name, "pulls", &number_text, "reviews"], &[]).await?;
        let head = text(&pull["head"]["sha"]);
        out.push(Change {
            id: format!("#{number}"),
            url: text(&pull["html_url"]),
            author: text(&pull["user"]["login"]),
            authors: super::authors(&commits),
            merged: !pull["merged_at"].is_null(),
            merged_by: pull["merged_by"]["login"].as_str().map(str::to_string),
            reviews: latest(&reviews, &head),
            head,
        });
    }
    Ok(out)
}

/// Each reviewer's latest word that decides: a comment takes no approval back, a dismissal does.
fn latest(reviews: &[Json], head: &str) -> Vec<Review> {
    let mut out: Vec<Review> = Vec::new();
    for review in reviews {
        let state = review["state"].as_str().unwrap_or_default();
        if !matches!(state, "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED") {
            continue;
        }
        let by = text(&review["user"]["login"]);
        let commit = review["commit_id"].as_str().map(str::to_string);
        out.retain(|r| r.by != by);
        out.push(Review {
            name: None,
            is_bot: review["user"]["type"] == "Bot",
            approves: state == "APPROVED",
            stale: commit.as_deref().is_some_and(|c| c != head),
            at: time(&review["submitted_at"]),
            commit,
            by,
        });
    }
    out
}

fn halves(forge: &Forge) -> (&str, &str) {
    forge.path.split_once('/').unwrap_or((forge.path.as_str(), ""))
}
