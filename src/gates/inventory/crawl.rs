//! A crawl of the pages that one host links: anchors, forms, scripts' and images' own addresses. GET only, same origin
//! only, as many pages as allowed; nothing that signs out or changes something is followed. A form is an operation that
//! nobody sends here.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;
use url::Url;

use super::recorded::{Kept, path_of, put_query};
use super::{Body, Operation, Source};
use crate::gates::actors::Headers;
use crate::gates::web;
use crate::net::safety::Prober;
use crate::net::{Request, Response};

/// What is read of one page.
const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Addresses that wait for their turn.
const WAITING_MAX: usize = 500;
/// Pages of one kind (`/teas/1`, `/teas/2`) that are read: they link the same.
const ALIKE_MAX: usize = 2;

/// Following such a link may change something.
const LEAVE: [&str; 9] =
    ["logout", "signout", "sign-out", "log-out", "delete", "remove", "unsubscribe", "cancel", "destroy"];
/// Files, not pages.
const FILES: [&str; 22] = [
    "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "css", "js", "mjs", "map", "woff", "woff2", "ttf", "pdf", "zip",
    "gz", "mp4", "webm", "mp3", "avif", "wasm",
];

pub(super) struct Crawl<'c> {
    pub prober: &'c Prober,
    pub base: &'c Url,
    pub pages_max: usize,
}

impl Crawl<'_> {
    /// The operations that the pages show, and how many pages were read. `actor`: also with these headers.
    pub(super) async fn walk(&self, actor: Option<&[(String, String)]>) -> (Vec<Operation>, usize) {
        let mut kept = Kept::default();
        let mut pages = self.pass(&mut kept, None, self.pages_max).await;
        if let Some(headers) = actor.filter(|_| pages < self.pages_max) {
            pages += self.pass(&mut kept, Some(&headers.to_vec()), self.pages_max - pages).await;
        }
        (kept.out(), pages)
    }

    async fn pass(&self, kept: &mut Kept, headers: Option<&Headers>, pages_max: usize) -> usize {
        let mut waiting = VecDeque::from([self.base.clone()]);
        let mut known: BTreeSet<String> = BTreeSet::from([path_of(self.base)]);
        let mut kinds: std::collections::BTreeMap<String, usize> = Default::default();
        let mut pages = 0;
        while let Some(url) = waiting.pop_front() {
            if pages >= pages_max {
                break;
            }
            let kind = kind(&url);
            let alike = kinds.entry(kind).or_default();
            if *alike >= ALIKE_MAX {
                continue;
            }
            *alike += 1;
            let mut request = Request::get(url.clone()).header("accept", "text/html, application/json;q=0.9");
            request.headers.extend(headers.into_iter().flatten().cloned());
            request.body_bytes_limit = PAGE_BYTES_MAX;
            request.truncate = true;
            let Ok(answer) = self.prober.send(request).await else {
                // Nothing answers at all: the gates will say so.
                if pages == 0 {
                    return 0;
                }
                continue;
            };
            pages += 1;
            // What leads elsewhere takes parameters too.
            if answer.status < 400 {
                kept.take("GET", &path_of(&url), Source::Crawl);
            }
            for next in self.links(&answer, &url) {
                if waiting.len() < WAITING_MAX && known.insert(path_of(&next)) {
                    waiting.push_back(next);
                }
            }
            if web::is_html(&answer) {
                self.forms(&answer, &url, kept);
            }
        }
        pages
    }

    fn links(&self, answer: &Response, at: &Url) -> Vec<Url> {
        let mut out: Vec<String> = answer.header("location").map(str::to_string).into_iter().collect();
        if web::is_html(answer) {
            let page = answer.text();
            for (tag, attribute) in [("a", "href"), ("iframe", "src"), ("link", "href")] {
                out.extend(web::tags(&page, tag).iter().filter_map(|t| t.get(attribute).cloned()));
            }
        }
        out.iter().filter_map(|to| at.join(to).ok()).filter(|url| self.may_follow(url)).collect()
    }

    fn may_follow(&self, url: &Url) -> bool {
        let path = url.path().to_ascii_lowercase();
        let file = path.rsplit('/').next().and_then(|last| last.rsplit_once('.')).map(|(_, end)| end);
        url.origin() == self.base.origin()
            && !LEAVE.iter().any(|word| path_of(url).to_ascii_lowercase().contains(word))
            && !file.is_some_and(|end| FILES.contains(&end))
    }

    /// Forms of a page: where they go, and the names of their fields.
    fn forms(&self, answer: &Response, at: &Url, kept: &mut Kept) {
        for form in web::forms(&answer.text()) {
            let Ok(action) = at.join(&form.action) else { continue };
            if action.origin() != self.base.origin() {
                continue;
            }
            let Some(operation) = kept.take(&form.method, &path_of(&action), Source::Crawl) else { continue };
            if form.method == "GET" {
                form.fields.iter().for_each(|(name, value)| put_query(operation, name, value.clone()));
            } else if operation.body.is_none() {
                let properties: serde_json::Map<_, _> =
                    form.fields.iter().map(|(name, _)| (name.clone(), json!({ "type": "string" }))).collect();
                operation.body = Some(Body {
                    media: "application/x-www-form-urlencoded".into(),
                    schema: json!({ "type": "object", "properties": properties }),
                    required: true,
                    example: None,
                });
                // A form was seen, no request of it.
                operation.seen.clear();
            }
        }
    }
}

/// Pages whose paths differ in ids and whose queries differ in values alone are of one kind.
fn kind(url: &Url) -> String {
    let path: Vec<&str> =
        url.path().split('/').map(|segment| if super::merge::is_id(segment) { "{}" } else { segment }).collect();
    let names: BTreeSet<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    format!("{}?{}", path.join("/"), names.into_iter().collect::<Vec<_>>().join("&"))
}
