//! What kind of thing a repository holds: its components, each with its own profile, and one for the whole. In doubt it is
//! a web application, because that skips nothing.

use serde::Serialize;

use super::{Fact, Facts, packages};
use crate::domain::service::Profile;

/// Frameworks that render pages by default.
const RENDERS_PAGES: [&str; 5] = ["rails", "django", "laravel", "symfony", "phoenix"];

/// One thing of the repository that runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// Its folder; empty for the repository's root.
    pub folder: String,
    pub profile: Profile,
    /// The fact that decided.
    pub because: Fact,
}

impl Component {
    fn new(folder: &str, profile: Profile, because: &Fact) -> Component {
        Component { folder: folder.to_string(), profile, because: because.clone() }
    }
}

/// Folders with a manifest, the deepest first, and the root.
fn folders(facts: &Facts) -> Vec<&str> {
    let mut folders: Vec<&str> = facts.of("manifest").map(|f| folder(&f.file)).chain([""]).collect();
    folders.sort_by_key(|f| (std::cmp::Reverse(f.len()), *f));
    folders.dedup();
    folders
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn lies_in(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// What runs by itself, in the order of the folders.
pub fn components(facts: &Facts) -> Vec<Component> {
    let folders = folders(facts);
    let home = |fact: &Fact| folders.iter().copied().find(|f| lies_in(&fact.file, f)).unwrap_or_default();
    let mut out: Vec<Component> = Vec::new();
    for here in &folders {
        let part = Facts { facts: facts.facts.iter().filter(|f| home(f) == *here).cloned().collect() };
        out.extend(of_folder(here, &part));
    }
    // Beside a program a generator makes its manual, and one page in a folder is no product.
    if out.iter().any(|c| c.profile != Profile::StaticSite) {
        out.retain(|c| c.profile != Profile::StaticSite || c.because.kind == "static-generator");
    }
    // Beside components that listen, one with image and driver that does not fetches its work.
    if !out.is_empty() {
        let known: Vec<String> = out.iter().map(|c| c.folder.clone()).collect();
        let more = lonely_workers(facts, &folders).into_iter();
        out.extend(more.filter(|c| !c.folder.is_empty() && !known.contains(&c.folder)));
    }
    out.sort_by(|a, b| (&a.folder, a.profile as u8).cmp(&(&b.folder, b.profile as u8)));
    out
}

fn of_folder(here: &str, facts: &Facts) -> Vec<Component> {
    let first = |kind: &'static str| facts.of(kind).min_by_key(|f| f.file.matches('/').count());
    let mut out = Vec::new();
    let framework = first("framework").or(first("rpc"));
    // A library and a command line program bring their own pages at most as a report.
    let published = first("package");
    let page = first("frontend").filter(|f| framework.is_some() || (published.is_none() && f.value != "templates"));
    let made_of_packages = page.filter(|p| framework.is_some() || p.value != "html");
    match (first("static-generator"), made_of_packages, framework) {
        (Some(generator), _, None) => out.push(Component::new(here, Profile::StaticSite, generator)),
        (_, Some(page), _) if published.is_none() => out.push(Component::new(here, Profile::WebApp, page)),
        (_, _, Some(framework)) if published.is_none() => {
            let pages = RENDERS_PAGES.contains(&framework.value.as_str()) && first("openapi").is_none();
            out.push(Component::new(here, if pages { Profile::WebApp } else { Profile::WebApi }, framework));
        }
        _ => {}
    }
    if published.is_some() && framework.is_none() {
        return out;
    }
    let api = first("openapi").or(first("graphql"));
    if let (true, Some(api)) = (out.is_empty() && published.is_none(), api) {
        out.push(Component::new(here, Profile::WebApi, api));
    }
    // A queue's server among the containers is not yet somebody who works it off.
    let depended_on = facts.of("queue").find(|q| facts.of("manifest").any(|m| m.file == q.file));
    let jobs = facts.of("queue").find(|q| packages::RUN_JOBS.contains(&q.value.as_str())).or(first("worker"));
    if let Some(jobs) = jobs.filter(|_| published.is_none()) {
        out.push(Component::new(here, Profile::Worker, jobs));
    } else if let (true, Some(queue)) = (out.is_empty() && published.is_none(), depended_on) {
        out.push(Component::new(here, Profile::Worker, queue));
    }
    let only_pages = !facts.any("language") || facts.of("language").all(|l| is_of_pages(&l.value));
    if let (true, Some(page)) = (out.is_empty() && only_pages && published.is_none(), first("frontend")) {
        out.push(Component::new(here, Profile::StaticSite, page));
    }
    out
}

fn is_of_pages(language: &str) -> bool {
    matches!(language, "html" | "javascript" | "typescript")
}

/// Folders with an image of their own and a driver, beside components that listen.
fn lonely_workers(facts: &Facts, folders: &[&str]) -> Vec<Component> {
    let workers = folders.iter().filter_map(|here| {
        let image = facts.of("container").any(|f| f.value == "dockerfile" && folder(&f.file) == *here);
        let driver = ["queue", "cache"].iter().find_map(|k| facts.of(k).find(|f| folder(&f.file) == *here))?;
        let listens = ["framework", "rpc", "frontend"].iter().any(|k| facts.of(k).any(|f| lies_in(&f.file, here)));
        (image && !listens).then(|| Component::new(here, Profile::Worker, driver))
    });
    workers.collect()
}

/// The profile of the whole and why, in words: what users see decides, then what programs see.
pub fn guess(facts: &Facts) -> (Profile, String) {
    let components = components(facts);
    for profile in [Profile::WebApp, Profile::WebApi, Profile::Worker, Profile::StaticSite] {
        let found = components.iter().filter(|c| c.profile == profile);
        if let Some(found) = found.min_by_key(|c| c.because.file.matches('/').count()) {
            return (profile, format!("{} ({})", found.because.value, found.because.place()));
        }
    }
    let published = facts.of("package").min_by_key(|f| f.file.matches('/').count());
    let nothing = match published {
        Some(package) if package.value == "library" => format!("{UNTOLD}: a library ({})", package.place()),
        Some(package) => format!("{UNTOLD}: a command line program ({})", package.place()),
        None => UNTOLD.to_string(),
    };
    (Profile::WebApp, nothing)
}

/// How the reason begins when it is a guess.
pub const UNTOLD: &str = "nothing told otherwise";
