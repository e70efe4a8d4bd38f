//! Approvals that somebody with access to the forge has exported, for a machine that has no token: what `hypercare review
//! export` writes, and what `gh pr list --json` of GitHub's command line does. Each change names the commits that brought
//! it, so the report is bound by itself.
//!
//! Source: the JSON of gh 2 (fields `number,url,author,commits,headRefOid,mergeCommit,mergedBy,reviews`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::ImportError;
use crate::domain::clock::Timestamp;
use crate::gates::forge::{Change, Review};

pub const SCHEMA: &str = "hypercare.reviews/v1";
/// What `gh` is asked for.
pub const FIELDS: &str = "number,url,author,commits,headRefOid,mergeCommit,mergedBy,reviews";
/// More change requests are several releases.
const CHANGES_MAX: usize = 2_000;

/// A change request and the commits of the main line that brought it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    pub commits: Vec<String>,
    pub change: Change,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviews {
    pub changes: Vec<Landed>,
}

#[derive(Deserialize)]
struct Document {
    schema: String,
    changes: Vec<Landed>,
}

pub fn parse(text: &str) -> Result<Reviews, ImportError> {
    let text = text.trim_start_matches('\u{feff}');
    let value: Json = serde_json::from_str(text).map_err(|e| match e.is_eof() {
        true => ImportError::CutShort("the list of changes".into()),
        false => ImportError::at(e.line() as u32, "no JSON"),
    })?;
    let changes = match &value {
        Json::Array(pulls) => pulls.iter().map(of_gh).collect::<Result<Vec<_>, _>>()?,
        Json::Object(_) => {
            let document: Document = serde_json::from_value(value).map_err(|e| ImportError::at(1, e.to_string()))?;
            if document.schema != SCHEMA {
                return Err(ImportError::at(1, format!("schema must be {SCHEMA}")));
            }
            document.changes
        }
        _ => return Err(ImportError::at(1, "neither a list of pull requests nor a document")),
    };
    if changes.is_empty() {
        return Err(ImportError::Empty("change request"));
    }
    if changes.len() > CHANGES_MAX {
        return Err(ImportError::at(
            1,
            format!("more than {CHANGES_MAX} change requests: export those of one release"),
        ));
    }
    if let Some(bad) = changes.iter().find(|l| l.commits.iter().any(|c| !is_hash(c)) || !is_hash(&l.change.head)) {
        return Err(ImportError::at(1, format!("{:?} names a commit that is none", clean(&bad.change.id))));
    }
    Ok(Reviews { changes })
}

fn is_hash(text: &str) -> bool {
    (40..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn word(value: &Json) -> String {
    clean(value.as_str().unwrap_or_default())
}

/// One pull request as `gh` writes it.
fn of_gh(pull: &Json) -> Result<Landed, ImportError> {
    let number =
        pull["number"].as_u64().ok_or_else(|| ImportError::at(1, "an entry without a number is no pull request"))?;
    let lacks = |what: &str| ImportError::at(1, format!("#{number} has no {what}: export with --json {FIELDS}"));
    let array = |key: &str| pull[key].as_array().ok_or_else(|| lacks(key));
    let head = pull["headRefOid"].as_str().ok_or_else(|| lacks("headRefOid"))?;
    let authors = array("commits")?.iter().flat_map(|c| c["authors"].as_array().into_iter().flatten());
    let mut names: BTreeSet<String> = BTreeSet::new();
    for author in authors {
        names.extend([word(&author["login"]), word(&author["email"])].map(|name| name.to_lowercase()));
        let name = word(&author["name"]);
        names.extend((!name.is_empty()).then(|| format!("name:{}", name.to_lowercase())));
    }
    names.remove("");
    // The latest word that decides, of each.
    let mut latest: BTreeMap<String, (usize, Review)> = BTreeMap::new();
    for (nth, review) in array("reviews")?.iter().enumerate() {
        let state = word(&review["state"]);
        if !matches!(state.as_str(), "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED") {
            continue;
        }
        let by = word(&review["author"]["login"]);
        let commit = review["commit"]["oid"].as_str();
        if commit.is_none() && state == "APPROVED" {
            let why = format!("#{number}: the approval by {by} names no commit; a newer gh tells it");
            return Err(ImportError::at(1, why));
        }
        let said = Review {
            name: None,
            is_bot: review["author"]["is_bot"] == true || by.ends_with("[bot]"),
            approves: state == "APPROVED",
            stale: commit != Some(head),
            commit: commit.map(clean),
            at: review["submittedAt"].as_str().and_then(Timestamp::parse),
            by: by.clone(),
        };
        latest.insert(by.to_lowercase(), (nth, said));
    }
    let mut reviews: Vec<(usize, Review)> = latest.into_values().collect();
    reviews.sort_by_key(|(nth, _)| *nth);
    let merged = pull["mergeCommit"]["oid"].as_str().map(str::to_ascii_lowercase);
    Ok(Landed {
        change: Change {
            id: format!("#{number}"),
            url: word(&pull["url"]),
            author: word(&pull["author"]["login"]),
            authors: names.into_iter().collect(),
            head: head.to_ascii_lowercase(),
            merged: merged.is_some(),
            merged_by: Some(word(&pull["mergedBy"]["login"])).filter(|by| !by.is_empty()),
            reviews: reviews.into_iter().map(|(_, review)| review).collect(),
        },
        commits: merged.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    const MERGE: &str = "cccccccccccccccccccccccccccccccccccccccc";

    fn gh(reviews: Json) -> String {
        serde_json::json!([{
            "number": 7, "url": "https://github.com/acme/shop/pull/7", "author": {"login": "ann", "is_bot": false},
            "headRefOid": HEAD, "mergeCommit": {"oid": MERGE}, "mergedBy": {"login": "eve"},
            "commits": [{"oid": HEAD, "authors": [{"login": "ann", "email": "Ann@Example.com", "name": "Ann"}]}],
            "reviews": reviews,
        }])
        .to_string()
    }

    fn review(who: &str, state: &str, commit: &str) -> Json {
        serde_json::json!({"author": {"login": who}, "state": state, "commit": {"oid": commit}, "submittedAt": "2026-11-20T09:00:00Z"})
    }

    #[test]
    fn what_gh_lists() {
        let text = gh(serde_json::json!([
            review("bob", "APPROVED", MERGE),
            review("cyd", "CHANGES_REQUESTED", HEAD),
            review("cyd", "APPROVED", HEAD),
            review("Cyd", "COMMENTED", HEAD),
            review("dan", "APPROVED", HEAD),
            review("dan", "DISMISSED", HEAD),
            review("scan[bot]", "APPROVED", HEAD),
        ]));
        let landed = parse(&text).unwrap().changes.remove(0);
        let change = landed.change;
        assert_eq!((landed.commits, change.id.as_str(), change.merged), (vec![MERGE.to_string()], "#7", true));
        assert_eq!(change.authors, ["ann", "ann@example.com", "name:ann"]);
        let got: Vec<(&str, bool, bool, bool)> =
            change.reviews.iter().map(|r| (r.by.as_str(), r.approves, r.stale, r.is_bot)).collect();
        let expect = [
            ("bob", true, true, false),
            ("cyd", true, false, false),
            ("dan", false, false, false),
            ("scan[bot]", true, false, true),
        ];
        assert_eq!(got, expect);
    }

    #[test]
    fn our_own_comes_back_as_it_was() {
        let read = parse(&gh(serde_json::json!([review("cyd", "APPROVED", HEAD)]))).unwrap();
        let own = serde_json::json!({"schema": SCHEMA, "changes": read.changes}).to_string();
        assert_eq!(parse(&own).unwrap(), read);
        assert!(parse(&own.replace("/v1", "/v2")).is_err());
    }

    #[test]
    fn what_does_not_say_enough_is_refused() {
        let said = |text: &str| parse(text).unwrap_err().to_string();
        assert!(said("[]").contains("no change request"));
        assert!(said(&gh(Json::Null)).contains("#7 has no reviews: export with --json number,url"));
        let old = serde_json::json!([{"author": {"login": "cyd"}, "state": "APPROVED"}]);
        assert!(said(&gh(old)).contains("the approval by cyd names no commit"));
        assert!(said(&gh(serde_json::json!([])).replace(HEAD, "main")).contains("names a commit that is none"));
        let whole = gh(serde_json::json!([review("cyd", "APPROVED", HEAD)]));
        for cut in (1..whole.len()).step_by(40) {
            assert!(parse(&whole[..cut]).is_err(), "{cut}");
        }
    }
}
