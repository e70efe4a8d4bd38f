//! `hypercare facts`: what detection found in a repository, each fact with its place, so that it can be argued with.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{self, FormatArg, Out, Tone, clean_line, hang, pad, paint};
use super::{Exit, Failure, Global};
use crate::domain::service::Profile;
use crate::domain::units::count;
use crate::gates::facts::{Component, Fact, Facts, walk};
use crate::gates::routes::{self, Inventory};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare facts                      of this folder
  hypercare facts --repo ../shop --format json
  hypercare facts --routes             and every route that the source declares")]
pub struct Args {
    /// Repository to look at
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// The routes that the source declares, too
    #[arg(long)]
    routes: bool,
    #[command(flatten)]
    format: FormatArg,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    profile: Profile,
    because: String,
    components: Vec<Component>,
    facts: Vec<Fact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<Inventory>,
}

pub async fn run(args: Args, _: &Global) -> anyhow::Result<Exit> {
    let folder = args.repo.clone();
    let look = tokio::task::spawn_blocking(move || {
        walk::open(&folder).map(|repo| {
            let facts = Facts::look(&repo);
            let routes = args.routes.then(|| routes::look(&repo, &facts));
            (facts, routes)
        })
    });
    let (facts, routes) = look.await?.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let (profile, because) = facts.profile();
    let components = facts.components();
    if args.format.is_json() {
        let document =
            Document { schema: "hypercare.facts/v1", profile, because, components, facts: facts.facts, routes };
        output::json(&document)?;
        return Ok(Exit::Yes);
    }
    let mut out = Out::stdout();
    let width = output::width();
    out.line(format!("{} because of {}", paint(Tone::Strong, profile.word()), clean_line(&because)))?;
    if components.len() > 1 {
        out.line("")?;
        out.line(paint(Tone::Strong, "components"))?;
        for component in &components {
            let folder = if component.folder.is_empty() { "." } else { &component.folder };
            let head = format!("  {} {}", pad(&clean_line(folder), 24), pad(component.profile.word(), 12));
            out.line(format!("{head} {}", hang(&clean_line(&seen(&component.because)), 40, width)))?;
        }
    }
    out.line("")?;
    out.line(paint(Tone::Strong, "found"))?;
    for (kind, label) in LABELS {
        let text = list(&facts, kind);
        if !text.is_empty() {
            out.line(format!("  {} {}", pad(&paint(Tone::Soft, label), 12), hang(&text, 15, width)))?;
        }
    }
    if let Some(inventory) = &routes {
        tell(&mut out, inventory)?;
    }
    Ok(out.flush().map(|()| Exit::Yes)?)
}

fn tell(out: &mut Out, inventory: &Inventory) -> std::io::Result<()> {
    let Inventory { routes, unread, .. } = inventory;
    out.line("")?;
    let uncertain = routes.iter().filter(|r| !r.certain).count();
    let said = if uncertain > 0 {
        format!(", {uncertain} of them uncertain (?): a prefix may be missing")
    } else {
        String::new()
    };
    out.line(format!("{} {}{said}", paint(Tone::Strong, "routes"), count(routes.len(), "route")))?;
    let wide = routes.iter().map(|r| output::columns(&r.template)).max().unwrap_or(0).min(60);
    for route in routes {
        let template = pad(&clean_line(&route.template), wide);
        let mark = if route.certain { " " } else { "?" };
        let place = clean_line(&format!("{}:{}", route.file, route.line));
        out.line(format!("  {mark} {:<7} {template}  {place} {}", route.method, paint(Tone::Soft, route.source)))?;
    }
    if !unread.is_empty() {
        out.line("")?;
        out.line(paint(Tone::Strong, "not read"))?;
        for one in unread {
            out.line(format!("  {} {}", clean_line(&format!("{}:{}", one.file, one.line)), clean_line(&one.why)))?;
        }
    }
    Ok(())
}

/// Kinds in reading order, with what people call them.
pub(super) const LABELS: [(&str, &str); 33] = [
    ("language", "languages"),
    ("framework", "framework"),
    ("rpc", "RPC"),
    ("frontend", "pages"),
    ("static-generator", "site"),
    ("docs", "manual"),
    ("package", "published"),
    ("database", "database"),
    ("orm", "mapper"),
    ("migrations", "migrations"),
    ("cache", "cache"),
    ("queue", "queue"),
    ("worker", "workers"),
    ("search", "search"),
    ("storage", "storage"),
    ("openapi", "OpenAPI"),
    ("graphql", "GraphQL"),
    ("ci", "CI"),
    ("forge", "forge"),
    ("codeowner", "owners"),
    ("container", "containers"),
    ("kubernetes", "Kubernetes"),
    ("process-manager", "restarts"),
    ("proxy", "proxy"),
    ("prometheus", "Prometheus"),
    ("prometheus-rules", "alert rules"),
    ("alertmanager", "Alertmanager"),
    ("grafana", "Grafana"),
    ("metrics", "metrics"),
    ("logger", "logger"),
    ("coverage-report", "coverage"),
    ("test-report", "test report"),
    ("changelog", "change log"),
];

/// A line that names fifty places helps nobody.
const VALUES_MAX: usize = 12;

/// Each value of a kind once, with its first place; clean for a terminal.
pub(super) fn list(facts: &Facts, kind: &str) -> String {
    let mut values: Vec<&Fact> = Vec::new();
    for fact in facts.of(kind) {
        if !values.iter().any(|v| v.value == fact.value) {
            values.push(fact);
        }
    }
    let more = values.len().saturating_sub(VALUES_MAX);
    let shown: Vec<String> = values.into_iter().take(VALUES_MAX).map(|f| clean_line(&seen(f))).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// `express (package.json:5)`; a fact that is its own place is named once.
pub(super) fn seen(fact: &Fact) -> String {
    if fact.value == fact.file { fact.place() } else { format!("{} ({})", fact.value, fact.place()) }
}
