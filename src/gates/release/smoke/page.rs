//! What a page names: scripts and style sheets of its own host. Pure.

use std::sync::LazyLock;

use regex::Regex;
use url::Url;

static TAG: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?is)<(script|link)\b([^>]{0,2000})>").expect("a pattern of ours"));
static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b(src|href|rel)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))"#).expect("a pattern of ours")
});
static COMMENT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)<!--.*?-->").expect("a pattern of ours"));

/// A page with more is a page nobody wants; the first ones tell.
pub const ASSETS_MAX: usize = 40;

/// Addresses on the page's own host, in order, each once.
pub fn assets(html: &str, page: &Url) -> Vec<Url> {
    let html = COMMENT.replace_all(html, "");
    let mut out: Vec<Url> = Vec::new();
    for tag in TAG.captures_iter(&html) {
        let of = |name: &str| {
            ATTRIBUTE
                .captures_iter(&tag[2])
                .find(|a| a[1].eq_ignore_ascii_case(name))
                .and_then(|a| a.iter().skip(2).flatten().next().map(|m| m.as_str().replace("&amp;", "&")))
        };
        let is_script = tag[1].eq_ignore_ascii_case("script");
        let rel = of("rel").unwrap_or_default().to_ascii_lowercase();
        let loads = rel.split_whitespace().any(|r| matches!(r, "stylesheet" | "modulepreload"));
        let named = if is_script { of("src") } else { of("href").filter(|_| loads) };
        let Some(url) = named.and_then(|n| page.join(n.trim()).ok()) else { continue };
        if url.origin() == page.origin() && !out.contains(&url) && out.len() < ASSETS_MAX {
            out.push(url);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_scripts_and_sheets() {
        let page: Url = "http://127.0.0.1:3000/shop/".parse().unwrap();
        let html = r#"<!doctype html><!-- <script src="/old.js"></script> --><head>
            <link rel="stylesheet" href="/a.css?v=1&amp;w=2"><LINK HREF='b.css' REL='preload stylesheet'>
            <link rel="icon" href="/favicon.ico"><link rel=modulepreload href=/c.js>
            <script type="module" crossorigin src="/assets/index-1a2b.js"></script><script>inline()</script>
            <script src="https://cdn.example/x.js"></script><script src="/assets/index-1a2b.js"></script>"#;
        let found: Vec<String> =
            assets(html, &page).iter().map(|u| u.as_str()["http://127.0.0.1:3000".len()..].to_string()).collect();
        assert_eq!(found, ["/a.css?v=1&w=2", "/shop/b.css", "/c.js", "/assets/index-1a2b.js"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[<>a-z\"'= /!-\u{e4}]{0,80}") {
            let _ = assets(&format!("<script {text}"), &"http://h/".parse().unwrap());
        }
    }
}
