//! `/`: prints the room. `?fragment=1` gives what lies inside `<main>`, which the script swaps in; without scripts the
//! whole page comes again by itself.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tera::{Context, Tera};

use super::problem::{problem, store_failed};
use super::{App, room};
use crate::chart;
use crate::store::StoreError;

const SCRIPT: &str = include_str!("../../templates/web/room.js");
const STYLE: &str = include_str!("../../templates/web/room.css");
const TEMPLATES: [(&str, &str); 3] = [
    ("room.html", include_str!("../../templates/web/room.html")),
    ("main.html", include_str!("../../templates/web/main.html")),
    ("status.html", include_str!("../../templates/web/status.html")),
];

/// Any number of open pages costs one rendering in this time.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Rendered `<main>`s by service, with the instant they were made (monotonic). The lock is held while rendering, so that
/// a crowd waits for one result instead of making many.
#[derive(Default)]
pub(super) struct Cache(tokio::sync::Mutex<BTreeMap<String, (Duration, Arc<str>)>>);

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    service: Option<String>,
    fragment: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("template {0}: {1}")]
    Template(&'static str, String),
}

impl PageError {
    pub(super) fn answer(&self) -> Response {
        match self {
            PageError::Store(error) => store_failed(error),
            PageError::Template(..) => {
                tracing::error!(error = %self, "a page did not render");
                problem(StatusCode::INTERNAL_SERVER_ERROR, "our own fault; the log says more")
            }
        }
    }
}

pub(super) async fn room(State(app): State<App>, Query(wanted): Query<Wanted>) -> Response {
    // A name that nobody configured must not grow the cache.
    let service = wanted.service.filter(|s| app.services.contains_key(s));
    let main = match main_part(&app, service.as_deref()).await {
        Ok(main) => main,
        Err(error) => return error.answer(),
    };
    if wanted.fragment.is_some() {
        return Html(main.to_string()).into_response();
    }
    let title = service.as_deref().or(app.services.keys().next().map(String::as_str)).unwrap_or("hypercare");
    let page = serde_json::json!({"title": title, "main": &*main});
    match print("room.html", &page) {
        Ok(html) => Html(html).into_response(),
        Err(error) => error.answer(),
    }
}

async fn main_part(app: &App, service: Option<&str>) -> Result<Arc<str>, PageError> {
    let key = service.unwrap_or("").to_string();
    let mut pages = app.pages.0.lock().await;
    let now = app.store.clock.monotonic();
    if let Some((made, html)) = pages.get(&key)
        && now.saturating_sub(*made) < FRESH_FOR
    {
        return Ok(html.clone());
    }
    let room = room::read(app, service).await?;
    let html: Arc<str> = render("main.html", &room)?.into();
    pages.insert(key, (now, html.clone()));
    Ok(html)
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", format!("{}\n{STYLE}", chart::TOKENS_CSS))
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT.into())
}

fn asset(mime: &'static str, body: String) -> Response {
    ([(header::CONTENT_TYPE, mime), (header::CACHE_CONTROL, "max-age=60")], body).into_response()
}

/// Prints a document after taking out of its texts what could turn or break a line. Tera escapes the rest.
pub(super) fn render(template: &'static str, document: &impl Serialize) -> Result<String, PageError> {
    let mut json = serde_json::to_value(document).map_err(|e| PageError::Template(template, e.to_string()))?;
    clean(&mut json);
    print(template, &json)
}

fn print(template: &'static str, json: &Json) -> Result<String, PageError> {
    let failed = |error: &dyn std::error::Error| {
        // Tera keeps the cause (which name, which line) in the chain.
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        PageError::Template(template, text)
    };
    static TERA: OnceLock<Result<Tera, String>> = OnceLock::new();
    let tera = TERA
        .get_or_init(|| {
            let mut tera = Tera::default();
            tera.add_raw_templates(TEMPLATES).map_err(|e| e.to_string())?;
            Ok(tera)
        })
        .as_ref()
        .map_err(|why| PageError::Template(template, why.clone()))?;
    let context = Context::from_serialize(json).map_err(|e| failed(&e))?;
    tera.render(template, &context).map_err(|e| failed(&e))
}

/// Control characters and those that turn the direction of text go; our own drawings have line breaks and keep them.
fn clean(value: &mut Json) {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match value {
        Json::String(text) if text.contains(bad) => text.retain(|c| !bad(c)),
        Json::Array(items) => items.iter_mut().for_each(clean),
        Json::Object(map) => map.values_mut().for_each(clean),
        _ => {}
    }
}
