//! What kind of thing a repository holds. In doubt it is a web application, because that skips nothing.

use super::{Fact, Facts};
use crate::domain::service::Profile;

/// Frameworks that render pages by default.
const RENDERS_PAGES: [&str; 4] = ["rails", "django", "laravel", "symfony"];

/// The profile and why, in words.
pub fn guess(facts: &Facts) -> (Profile, String) {
    let first = |kind: &'static str| facts.of(kind).min_by_key(|f| f.file.matches('/').count());
    let because = |f: &Fact| format!("{} ({})", f.value, f.place());
    let framework = first("framework");
    if let Some(generator) = first("static-generator").filter(|g| framework.is_none() && !g.file.contains('/')) {
        return (Profile::StaticSite, because(generator));
    }
    if let Some(page) = first("frontend").filter(|f| framework.is_some() || f.value != "html") {
        return (Profile::WebApp, because(page));
    }
    if let Some(framework) = framework {
        let pages = RENDERS_PAGES.contains(&framework.value.as_str()) && first("openapi").is_none();
        return (if pages { Profile::WebApp } else { Profile::WebApi }, because(framework));
    }
    if let Some(api) = first("openapi").or(first("graphql")) {
        return (Profile::WebApi, because(api));
    }
    if let Some(queue) = first("queue") {
        return (Profile::Worker, because(queue));
    }
    let only_assets = facts.of("language").all(|l| matches!(l.value.as_str(), "html" | "javascript"));
    if let Some(page) = first("frontend").filter(|_| only_assets && !facts.any("manifest")) {
        return (Profile::StaticSite, because(page));
    }
    (Profile::WebApp, "nothing told otherwise".into())
}
