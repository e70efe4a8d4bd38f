//! Error boundaries as the sources declare them: the names that frameworks give theirs.

use std::sync::LazyLock;

use regex::Regex;

use crate::gates::GateContext;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};

/// Files whose very name is the handler (Next, Remix, SvelteKit, Nuxt).
static BY_NAME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?:^|/)(?:(?:global-)?error\.(?:jsx?|tsx?|vue)|\+error\.svelte|_error\.(?:jsx?|tsx?)|layouts/error\.vue)$",
    )
    .expect("fixed")
});
/// React, Vue, Angular, React Router, nginx.
static BY_TEXT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"componentDidCatch|getDerivedStateFromError|react-error-boundary|errorElement\s*[:=]|<ErrorBoundary\b|",
        r"\.config\.errorHandler\b|onErrorCaptured\s*\(|implements\s+ErrorHandler\b|<svelte:boundary|",
        r"(?m)^\s*error_page\s+(?:4|5)\d\d"
    ))
    .expect("fixed")
});
const ENDINGS: [&str; 8] = [".js", ".jsx", ".ts", ".tsx", ".vue", ".svelte", ".conf", ".mjs"];
const FOREIGN: [&str; 7] = ["node_modules/", "vendor/", "dist/", "build/", "test/", "tests/", "__tests__/"];
/// Sources that are looked at; a product has its boundary in one of the first.
const FILES_MAX: usize = 5000;

/// `src/App.jsx:12`, of the first place that declares one.
pub(super) async fn of(ctx: &GateContext) -> Option<String> {
    let repo = ctx.repo.clone()?;
    tokio::task::spawn_blocking(move || find(&repo)).await.ok().flatten()
}

fn find(repo: &Repo) -> Option<String> {
    let own = |path: &str| !FOREIGN.iter().any(|f| path.starts_with(f) || path.contains(&format!("/{f}")));
    let sources = repo.files.iter().filter(|f| ENDINGS.iter().any(|e| f.path.ends_with(e)) && own(&f.path));
    for file in sources.take(FILES_MAX) {
        if BY_NAME.is_match(&file.path) {
            return Some(file.path.clone());
        }
        let Ok(bytes) = repo.read_listed(file, SOURCE_FILE_BYTES_MAX) else { continue };
        let text = String::from_utf8_lossy(&bytes);
        if let Some(found) = BY_TEXT.find(&text) {
            let line = text[..found.start()].matches('\n').count() + 1;
            return Some(format!("{}:{line}", file.path));
        }
    }
    None
}
