//! Issues of a GitHub repository (or GitHub Enterprise): what developers and demanding users report first.
//!
//! `GET /repos/{owner}/{repo}/issues?state=all&since=…&sort=updated&direction=asc&per_page=100`. Traps: the list holds
//! pull requests too; `since` means *updated*; ETags belong to one URL; rate limits answer 403 or 429.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Answer, AuthorKey, BACKFILL, Context, FeedbackError, FeedbackSource, OVERLAP, Raw, judge};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{Cursor, FeedbackKind, FeedbackPage};
use crate::domain::problem::Problem;
use crate::domain::secret::Secret;
use crate::domain::units::Span;
use crate::net::{Client, Request};
use crate::sources::text::Markup;

/// GitHub's largest page.
const PER_PAGE: usize = 100;
/// A page of 100 issues of 64 KiB each, with their JSON around.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// `[feedback.NAME.from.github]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `owner/name`.
    pub repository: String,
    /// Default: the only service.
    #[serde(default)]
    pub service: Option<String>,
    /// A token that may read issues. Without one GitHub allows 60 requests an hour for public repositories.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Only issues with one of these labels. Default: all.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Logins whose issues do not count: the team. Bots never count.
    #[serde(default)]
    pub ignore_authors: Vec<String>,
    /// How often to ask. Default 5m: 12 of the 60 requests an hour.
    #[serde(default = "super::five_minutes")]
    pub interval: Span,
    /// Base of the API: `https://ghe.example/api/v3` for GitHub Enterprise.
    #[serde(default = "github_com")]
    pub api: Url,
}

fn github_com() -> Url {
    Url::parse("https://api.github.com").expect("a fixed URL")
}

/// A configuration without problems.
pub struct Checked {
    owner: String,
    repository: String,
    config: Config,
}

impl Config {
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        let legal = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let parts = self.repository.split_once('/').filter(|(o, r)| legal(o) && legal(r));
        if parts.is_none() {
            problems.push(
                Problem::at(["repository"], format!("`{}` is not a repository", self.repository))
                    .hint("write owner/name, for example acme/shop"),
            );
        }
        if !matches!(self.api.scheme(), "http" | "https") || self.api.cannot_be_a_base() {
            problems.push(Problem::at(["api"], "is not an http(s) address"));
        }
        super::check_interval(self.interval, &mut problems);
        match parts {
            Some((owner, repository)) if problems.is_empty() => {
                Ok(Checked { owner: owner.into(), repository: repository.into(), config: self.clone() })
            }
            _ => Err(problems),
        }
    }
}

impl Checked {
    pub fn build(self, name: &str, author: AuthorKey, ctx: &Context) -> Github {
        Github { name: name.into(), author, client: ctx.client.clone(), checked: self }
    }
}

/// A repository's issues.
pub struct Github {
    name: String,
    author: AuthorKey,
    client: Client,
    checked: Checked,
}

/// The cursor as stored. `etag` was given for exactly this `since`.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
struct Place {
    since: Timestamp,
    page: u32,
    etag: Option<String>,
    /// Latest update seen in this walk: where the next one starts, less the overlap.
    newest: Timestamp,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    title: String,
    #[serde(default)]
    body: Option<String>,
    user: Option<User>,
    created_at: chrono::DateTime<chrono::Utc>,
    updated_at: chrono::DateTime<chrono::Utc>,
    html_url: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct User {
    login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Label {
    #[serde(default)]
    name: String,
}

impl Github {
    fn request(&self, place: &Place) -> Result<Request, FeedbackError> {
        let mut url = self.checked.config.api.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["repos", &self.checked.owner, &self.checked.repository, "issues"]);
        }
        url.query_pairs_mut()
            .append_pair("state", "all")
            .append_pair("sort", "updated")
            .append_pair("direction", "asc")
            .append_pair("per_page", &PER_PAGE.to_string())
            .append_pair("since", &place.since.rfc3339())
            .append_pair("page", &place.page.to_string());
        let mut request = Request::get(url)
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        request.body_bytes_limit = PAGE_BYTES_MAX;
        if let Some(token) = &self.checked.config.token {
            let token = token.reveal().map_err(|e| FeedbackError::Auth(e.to_string()))?;
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some(etag) = &place.etag {
            request = request.header("if-none-match", etag.clone());
        }
        Ok(request)
    }

    async fn page(&self, after: &Cursor, now: Timestamp) -> Result<FeedbackPage, FeedbackError> {
        let start = now.minus(BACKFILL);
        let place: Place = after.0.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Place {
            since: start,
            page: 1,
            etag: None,
            newest: start,
        });
        let response = self.client.send(self.request(&place)?).await?;
        match judge(&response, now)? {
            Answer::NotModified => return Ok(FeedbackPage { next: after.clone(), ..FeedbackPage::default() }),
            Answer::Wait(until) => {
                return Ok(FeedbackPage { next: after.clone(), not_before: Some(until), ..FeedbackPage::default() });
            }
            Answer::Body => {}
        }
        let issues: Vec<Issue> = serde_json::from_slice(&response.body)
            .map_err(|e| FeedbackError::Malformed(format!("not a list of issues: {e}")))?;
        let last = issues.last().map(|i| Timestamp::from_ms(i.updated_at.timestamp_millis()));
        let newest = last.map_or(place.newest, |l| l.max(place.newest));
        let more = response.header("link").is_some_and(|l| l.contains("rel=\"next\""));
        let next = next_place(&place, last, newest, more, response.header("etag"));
        let items = issues.iter().filter(|i| self.counts(i)).map(|i| self.item(i, now)).collect();
        let next = Cursor(serde_json::to_string(&next).ok());
        Ok(FeedbackPage { items, next, more, not_before: None })
    }

    fn counts(&self, issue: &Issue) -> bool {
        let config = &self.checked.config;
        let user = issue.user.as_ref();
        let ignored = user
            .is_some_and(|u| u.kind == "Bot" || config.ignore_authors.iter().any(|a| a.eq_ignore_ascii_case(&u.login)));
        let labelled = config.labels.is_empty() || issue.labels.iter().any(|l| config.labels.contains(&l.name));
        issue.pull_request.is_none() && !ignored && labelled
    }

    fn item(&self, issue: &Issue, now: Timestamp) -> crate::domain::feedback::FeedbackItem {
        Raw {
            source: &self.name,
            external_id: issue.number.to_string(),
            kind: FeedbackKind::Issue,
            created_at: Timestamp::from_ms(issue.created_at.timestamp_millis()),
            updated_at: Timestamp::from_ms(issue.updated_at.timestamp_millis()),
            fetched_at: now,
            author_hash: self.author.hash(issue.user.as_ref().map_or("", |u| u.login.as_str())),
            rating: None,
            title: &issue.title,
            text: issue.body.as_deref().unwrap_or(""),
            // Markdown may hold HTML: comments from issue templates, <details>, images.
            markup: Markup::Html,
            url: issue.html_url.clone(),
            labels: issue.labels.iter().map(|l| l.name.clone()).collect(),
        }
        .read()
    }
}

/// Walks by `updated_at` rather than by page number, because issues move between pages while we read; only a whole
/// page of one instant needs the next page number.
fn next_place(place: &Place, last: Option<Timestamp>, newest: Timestamp, more: bool, etag: Option<&str>) -> Place {
    match last {
        Some(last) if more && last > place.since => Place { since: last, page: 1, etag: None, newest },
        _ if more => Place { page: place.page + 1, etag: None, newest, ..place.clone() },
        _ => {
            let since = newest.minus(OVERLAP).max(place.since.minus(OVERLAP));
            // The overlap moves `since` back once after a walk; then it stands still and the ETag fits.
            let etag = etag.filter(|_| since == place.since && place.page == 1).map(String::from);
            Place { since, page: 1, etag, newest }
        }
    }
}

impl FeedbackSource for Github {
    fn poll<'a>(&'a self, after: &'a Cursor, now: Timestamp) -> BoxFuture<'a, Result<FeedbackPage, FeedbackError>> {
        Box::pin(self.page(after, now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::context;
    use super::*;
    use std::time::Duration;
    use wiremock::matchers::{header, method, path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-22T12:00:00Z").unwrap()
    }

    fn config(api: &str) -> Config {
        serde_json::from_value(serde_json::json!({"repository": "acme/shop", "api": api, "ignore_authors": ["staff"]}))
            .unwrap()
    }

    fn source(api: &str) -> Github {
        let ctx = context(now());
        let author = AuthorKey::new(ctx.instance_key.clone(), "issues");
        config(api).validate().ok().unwrap().build("issues", author, &ctx)
    }

    fn issue(number: u64, login: &str, title: &str, updated: &str) -> serde_json::Value {
        serde_json::json!({"number": number, "title": title, "body": "mail me: a@b.example", "user": {"login": login, "type": "User"},
            "created_at": updated, "updated_at": updated, "html_url": format!("https://github.com/acme/shop/issues/{number}"),
            "labels": [{"name": "bug"}], "state": "open"})
    }

    async fn serve(server: &MockServer, page: &str, response: ResponseTemplate) {
        Mock::given(method("GET"))
            .and(path("/repos/acme/shop/issues"))
            .and(query_param("page", page))
            .respond_with(response)
            .mount(server)
            .await;
    }

    #[tokio::test]
    async fn reads_issues_without_pull_requests_and_staff_and_stands_still_after() {
        let server = MockServer::start().await;
        let mut pull = issue(2, "ana", "Pull request", "2026-11-22T10:01:00Z");
        pull["pull_request"] = serde_json::json!({"url": "x"});
        let list = serde_json::json!([
            issue(1, "ana", "App crashes on start", "2026-11-22T10:00:00Z"),
            pull,
            issue(3, "Staff", "Internal", "2026-11-22T10:02:00Z"),
        ]);
        serve(&server, "1", ResponseTemplate::new(200).set_body_json(list).insert_header("etag", "\"e1\"")).await;
        let source = source(&server.uri());
        let page = source.poll(&Cursor::default(), now()).await.unwrap();
        assert_eq!(page.items.len(), 1);
        let item = &page.items[0];
        assert_eq!((&*item.external_id, &*item.text, item.redactions), ("1", "mail me: [email]", 1));
        assert_eq!(item.cues[0].name, "crash");
        assert_eq!(item.labels, ["bug"]);
        assert!(!page.more);
        // Second poll: same items, and from now on the URL stands still, so that the ETag is used.
        let second = source.poll(&page.next, now()).await.unwrap();
        assert_eq!(second.items[0].revision, item.revision);
        let place: Place = serde_json::from_str(second.next.0.as_deref().unwrap()).unwrap();
        assert_eq!(place.since.rfc3339(), "2026-11-22T09:52:00Z");
        assert_eq!(place.etag.as_deref(), Some("\"e1\""));
        server.reset().await;
        Mock::given(header("if-none-match", "\"e1\""))
            .respond_with(ResponseTemplate::new(304))
            .expect(1)
            .mount(&server)
            .await;
        let third = source.poll(&second.next, now()).await.unwrap();
        assert_eq!((third.items.len(), third.next), (0, second.next));
    }

    #[test]
    fn a_walk_goes_by_time_and_never_skips_a_page_of_one_instant() {
        let at = |s: i64| Timestamp::from_ms(s * 1000);
        let place = Place { since: at(1000), page: 1, etag: None, newest: at(1000) };
        assert_eq!(next_place(&place, Some(at(1500)), at(1500), true, None).since, at(1500));
        let stuck = next_place(&place, Some(at(1000)), at(1000), true, None);
        assert_eq!((stuck.since, stuck.page), (at(1000), 2));
        let end = next_place(&place, Some(at(5000)), at(5000), false, Some("x"));
        assert_eq!((end.since, end.page, end.etag), (at(4400), 1, None));
    }

    #[tokio::test]
    async fn a_rate_limit_is_patience_not_an_error() {
        let server = MockServer::start().await;
        let reset = (now().ms() / 1000 + 120).to_string();
        let limited = ResponseTemplate::new(403)
            .insert_header("x-ratelimit-remaining", "0")
            .insert_header("x-ratelimit-reset", reset.as_str());
        serve(&server, "1", limited).await;
        let after = Cursor::default();
        let page = source(&server.uri()).poll(&after, now()).await.unwrap();
        assert_eq!((page.not_before, page.next), (Some(now().plus(Duration::from_secs(120))), after));
    }

    #[tokio::test]
    async fn cannot_tell() {
        for (status, body, word) in [
            (401, "{}", "not authorised"),
            (403, "{}", "not authorised"),
            (404, "{}", "no such place"),
            (502, "x", "502"),
            (200, "<html>", "not understood"),
        ] {
            let server = MockServer::start().await;
            serve(&server, "1", ResponseTemplate::new(status).set_body_string(body)).await;
            let error = source(&server.uri()).poll(&Cursor::default(), now()).await.unwrap_err().to_string();
            assert!(error.contains(word), "{status}: {error}");
        }
        let dead = source("http://127.0.0.1:1").poll(&Cursor::default(), now()).await.unwrap_err();
        assert!(matches!(dead, FeedbackError::Unreachable(_)), "{dead:?}");
    }

    #[test]
    fn says_all_that_is_wrong_at_once() {
        let mut bad = config("ftp://x.example");
        bad.repository = "shop".into();
        bad.interval = Span::millis(10);
        let problems = bad.validate().err().unwrap();
        assert_eq!(problems.iter().map(|p| p.path[0].as_str()).collect::<Vec<_>>(), ["repository", "api", "interval"]);
    }
}
