//! RSS, Atom or JSON Feed: forums, status comments, app-store review feeds, blogs that mention the product.
//!
//! Conditional requests (`ETag`, `Last-Modified`). Ids that are missing become a hash of link, title and date; dates
//! that are missing become the time we first saw the item, remembered in the cursor so that it never looks new again.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Answer, AuthorKey, BACKFILL, Context, FeedbackError, FeedbackSource, Raw, digest, judge};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{Cursor, FeedbackItem, FeedbackKind, FeedbackPage};
use crate::domain::problem::Problem;
use crate::domain::units::Span;
use crate::net::{Client, Redirects, Request};
use crate::sources::text::Markup;

/// A long feed has a few hundred entries of a few KiB.
const FEED_BYTES_MAX: usize = 8 << 20;
/// Entries read of one feed.
const ENTRIES_MAX: usize = 1000;
/// The label of an item that had no date of its own.
pub const UNDATED: &str = "undated";

/// `[feedback.NAME.from.feed]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of the feed.
    pub url: Url,
    /// Default: the only service.
    #[serde(default)]
    pub service: Option<String>,
    /// What its entries are: review | issue | post | ticket | survey | form. Default: post.
    #[serde(default)]
    pub kind: Kind,
    /// Authors whose entries do not count: the team.
    #[serde(default)]
    pub ignore_authors: Vec<String>,
    /// How often to ask.
    #[serde(default = "super::five_minutes")]
    pub interval: Span,
}

/// `FeedbackKind` as users write it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Review,
    Issue,
    #[default]
    Post,
    Ticket,
    Survey,
    Form,
}

impl Kind {
    fn word(self) -> FeedbackKind {
        match self {
            Kind::Review => FeedbackKind::Review,
            Kind::Issue => FeedbackKind::Issue,
            Kind::Post => FeedbackKind::Post,
            Kind::Ticket => FeedbackKind::Ticket,
            Kind::Survey => FeedbackKind::Survey,
            Kind::Form => FeedbackKind::Form,
        }
    }
}

/// A configuration without problems.
pub struct Checked(Config);

impl Config {
    pub fn validate(&self) -> Result<Checked, Vec<Problem>> {
        let mut problems = Vec::new();
        if !matches!(self.url.scheme(), "http" | "https") {
            problems.push(Problem::at(["url"], "is not an http(s) address"));
        }
        super::check_interval(self.interval, &mut problems);
        if problems.is_empty() { Ok(Checked(self.clone())) } else { Err(problems) }
    }
}

impl Checked {
    pub fn build(self, name: &str, author: AuthorKey, ctx: &Context) -> Feed {
        Feed { name: name.into(), author, client: ctx.client.clone(), config: self.0 }
    }
}

/// One feed.
pub struct Feed {
    name: String,
    author: AuthorKey,
    client: Client,
    config: Config,
}

/// The cursor as stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq)]
struct Place {
    etag: Option<String>,
    last_modified: Option<String>,
    /// Entries without a date that the feed still lists → first seen.
    undated: BTreeMap<String, Timestamp>,
}

impl Feed {
    async fn page(&self, after: &Cursor, now: Timestamp) -> Result<FeedbackPage, FeedbackError> {
        let place: Place = after.0.as_deref().and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
        let mut request = Request::get(self.config.url.clone()).header(
            "accept",
            "application/atom+xml, application/rss+xml, application/feed+json, application/json;q=0.8, text/xml;q=0.8",
        );
        request.body_bytes_limit = FEED_BYTES_MAX;
        request.redirects = Redirects::Follow(3);
        for (name, value) in [("if-none-match", &place.etag), ("if-modified-since", &place.last_modified)] {
            if let Some(value) = value {
                request = request.header(name, value.clone());
            }
        }
        let response = self.client.send(request).await?;
        match judge(&response, now)? {
            Answer::NotModified => return Ok(FeedbackPage { next: after.clone(), ..FeedbackPage::default() }),
            Answer::Wait(until) => {
                return Ok(FeedbackPage { next: after.clone(), not_before: Some(until), ..FeedbackPage::default() });
            }
            Answer::Body => {}
        }
        let mut next = Place {
            etag: response.header("etag").map(String::from),
            last_modified: response.header("last-modified").map(String::from),
            undated: BTreeMap::new(),
        };
        let items = self.items(&response.body, &place, &mut next, now)?;
        Ok(FeedbackPage { items, next: Cursor(serde_json::to_string(&next).ok()), more: false, not_before: None })
    }

    /// Entries of the last seven days; older ones were read before or are too old to matter.
    fn items(
        &self,
        body: &[u8],
        place: &Place,
        next: &mut Place,
        now: Timestamp,
    ) -> Result<Vec<FeedbackItem>, FeedbackError> {
        let parser = feed_rs::parser::Builder::new()
            .base_uri(Some(self.config.url.as_str()))
            // Empty marks "none": the id is made below, from parts that never change.
            .id_generator(|_, _, _| String::new())
            .build();
        let feed =
            parser.parse(body).map_err(|e| FeedbackError::Malformed(crate::domain::secret::redact(&e.to_string())))?;
        let mut items = Vec::new();
        for entry in feed.entries.iter().take(ENTRIES_MAX) {
            let stamp = |t: Option<chrono::DateTime<chrono::Utc>>| t.map(|t| Timestamp::from_ms(t.timestamp_millis()));
            let link = entry.links.first().map(|l| l.href.clone());
            let title = entry.title.as_ref().map_or("", |t| t.content.as_str());
            let dated = stamp(entry.published).or(stamp(entry.updated));
            let date = dated.map(Timestamp::rfc3339).unwrap_or_default();
            let id = match entry.id.trim() {
                "" => digest(&[link.as_deref().unwrap_or(""), title, &date]),
                id => id.to_string(),
            };
            let created = dated.unwrap_or_else(|| *place.undated.get(&id).unwrap_or(&now));
            if dated.is_none() {
                next.undated.insert(id.clone(), created);
            }
            let author = entry.authors.first().and_then(|a| a.name.as_deref()).unwrap_or("");
            if created < now.minus(BACKFILL)
                || self.config.ignore_authors.iter().any(|a| a.eq_ignore_ascii_case(author))
            {
                continue;
            }
            let body = entry.content.as_ref().and_then(|c| c.body.as_deref());
            let text = body.or(entry.summary.as_ref().map(|s| s.content.as_str())).unwrap_or("");
            let mut labels: Vec<String> = entry.categories.iter().map(|c| c.term.clone()).collect();
            if dated.is_none() {
                labels.insert(0, UNDATED.into());
            }
            let mut item = Raw {
                source: &self.name,
                external_id: id,
                kind: self.config.kind.word(),
                created_at: created,
                updated_at: stamp(entry.updated).unwrap_or(created),
                fetched_at: now,
                author_hash: self.author.hash(author),
                rating: None,
                title,
                text,
                markup: Markup::Html,
                url: link,
                labels,
            }
            .read();
            // Many feeds repeat the title as the text.
            if item.text == item.title {
                item.text.clear();
            }
            items.push(item);
        }
        Ok(items)
    }
}

impl FeedbackSource for Feed {
    fn poll<'a>(&'a self, after: &'a Cursor, now: Timestamp) -> BoxFuture<'a, Result<FeedbackPage, FeedbackError>> {
        Box::pin(self.page(after, now))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::context;
    use super::*;
    use std::time::Duration;
    use wiremock::matchers::header;
    use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

    const RSS: &str = r#"<?xml version="1.0"?><rss version="2.0"><channel><title>Forum</title><link>https://f.example/</link>
        <item><guid>t-1</guid><title>Checkout crashes</title><author>ana@mail.example</author>
          <description>&lt;p&gt;It &lt;b&gt;crashes&lt;/b&gt; when I pay, call +49 170 1234567&lt;/p&gt;</description>
          <link>https://f.example/t/1?session=9</link><pubDate>Sun, 22 Nov 2026 10:00:00 GMT</pubDate></item>
        <item><title>No id and no date</title><link>https://f.example/t/2</link></item>
        <item><guid>old</guid><title>Old</title><pubDate>Sun, 01 Nov 2026 10:00:00 GMT</pubDate></item>
        </channel></rss>"#;

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-22T12:00:00Z").unwrap()
    }

    fn source(url: &str) -> Feed {
        let ctx = context(now());
        let config: Config = serde_json::from_value(serde_json::json!({"url": url})).unwrap();
        config.validate().ok().unwrap().build("forum", AuthorKey::new(ctx.instance_key.clone(), "forum"), &ctx)
    }

    #[tokio::test]
    async fn reads_entries_and_gives_the_rest_an_id_and_a_date_that_stay() {
        let server = MockServer::start().await;
        let ok = ResponseTemplate::new(200).set_body_raw(RSS, "application/rss+xml").insert_header("etag", "\"v1\"");
        Mock::given(any()).respond_with(ok).mount(&server).await;
        let source = source(&server.uri());
        let page = source.poll(&Cursor::default(), now()).await.unwrap();
        assert_eq!(page.items.len(), 2);
        let (first, second) = (&page.items[0], &page.items[1]);
        assert_eq!((&*first.external_id, &*first.text), ("t-1", "It crashes when I pay, call [phone]"));
        assert_eq!(first.url.as_deref(), Some("https://f.example/t/1?[query]"));
        assert_eq!((second.created_at, &second.labels[0]), (now(), &UNDATED.to_string()));
        let later = now().plus(Duration::from_secs(3600));
        let again = source.poll(&page.next, later).await.unwrap();
        assert_eq!(again.items[1].external_id, second.external_id);
        assert_eq!((again.items[1].created_at, &again.items[1].revision), (now(), &second.revision));
        server.reset().await;
        Mock::given(header("if-none-match", "\"v1\""))
            .respond_with(ResponseTemplate::new(304))
            .expect(1)
            .mount(&server)
            .await;
        assert_eq!(source.poll(&again.next, later).await.unwrap().next, again.next);
    }

    #[tokio::test]
    async fn atom_and_json_feed() {
        let source = source("https://f.example/feed");
        let (place, mut next) = (Place::default(), Place::default());
        let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>x</title><id>f</id><updated>2026-11-22T10:00:00Z</updated>
            <entry><id>e1</id><title>Hi</title><updated>2026-11-22T10:00:00Z</updated><author><name>Bo</name></author><summary>Hi</summary></entry></feed>"#;
        let items = source.items(atom.as_bytes(), &place, &mut next, now()).unwrap();
        assert_eq!((items[0].external_id.as_str(), items[0].text.as_str(), items[0].author_hash.len()), ("e1", "", 32));
        let json = r#"{"version":"https://jsonfeed.org/version/1.1","title":"x","items":[{"id":"j1","content_text":"so slow","date_published":"2026-11-22T11:00:00Z"}]}"#;
        let items = source.items(json.as_bytes(), &place, &mut next, now()).unwrap();
        assert_eq!(items[0].cues[0].name, "slow");
    }

    #[tokio::test]
    async fn cannot_tell_and_slow() {
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(200).set_body_string("<html>not a feed</html>"))
            .mount(&server)
            .await;
        let error = source(&server.uri()).poll(&Cursor::default(), now()).await.unwrap_err();
        assert!(matches!(error, FeedbackError::Malformed(_)), "{error:?}");
        server.reset().await;
        Mock::given(any())
            .respond_with(ResponseTemplate::new(429).insert_header("retry-after", "30"))
            .mount(&server)
            .await;
        let page = source(&server.uri()).poll(&Cursor::default(), now()).await.unwrap();
        assert_eq!(page.not_before, Some(now().plus(Duration::from_secs(30))));
    }
}
