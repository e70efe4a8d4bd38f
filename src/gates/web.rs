//! What the gates that look at pages share: errors as outcomes, tags of a page, how alike two bodies are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::domain::verdict::Outcome;
use crate::net::{NetError, Response};

/// Of a page this much is searched: what matters stands in its head.
const PAGE_BYTES_MAX: usize = 512 * 1024;

/// What a gate answers when it could not even look.
pub(crate) fn trouble(error: &NetError) -> Outcome {
    let text = error.to_string();
    match error {
        NetError::Refused(why) => Outcome::error("refused", why.clone()),
        NetError::Stopped(_) => Outcome::error("stopped", text),
        NetError::Timeout(_) => Outcome::error("timeout", text),
        NetError::Dns(_) | NetError::Connect(_) | NetError::Tls(_) => Outcome::error("unreachable", text),
        NetError::BodyTooLarge(_) | NetError::Protocol(_) => Outcome::error("broken-http", text),
    }
}

pub(crate) fn media_type(response: &Response) -> String {
    let value = response.header("content-type").unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

pub(crate) fn is_html(response: &Response) -> bool {
    matches!(media_type(response).as_str(), "text/html" | "application/xhtml+xml")
}

pub(crate) fn is_json(response: &Response) -> bool {
    let kind = media_type(response);
    kind == "application/json" || kind.ends_with("+json")
}

/// Attributes of every `<name …>` of a page, in order. Names in lower case, the few entities that matter resolved.
pub(crate) fn tags(html: &str, name: &str) -> Vec<BTreeMap<String, String>> {
    static TAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?s)<([a-zA-Z][a-zA-Z0-9]*)((?:\s+|"[^"]*"|'[^']*'|[^>"'])*)>"#).expect("fixed")
    });
    static ATTRIBUTE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"([a-zA-Z][a-zA-Z0-9_-]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+)))?"#).expect("fixed")
    });
    TAG.captures_iter(head_of(html))
        .filter(|tag| tag[1].eq_ignore_ascii_case(name))
        .map(|tag| {
            ATTRIBUTE
                .captures_iter(&tag[2])
                .map(|a| {
                    let value = a.get(2).or(a.get(3)).or(a.get(4)).map_or("", |v| v.as_str());
                    (
                        a[1].to_ascii_lowercase(),
                        value.replace("&amp;", "&").replace("&#39;", "'").replace("&quot;", "\""),
                    )
                })
                .collect()
        })
        .collect()
}

/// A form of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// `GET` or `POST`.
    pub method: String,
    pub action: String,
    /// Names of its fields, with the value that a browser would send.
    pub fields: Vec<(String, Option<String>)>,
}

/// The forms of a page, in order.
pub(crate) fn forms(html: &str) -> Vec<Form> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?is)<form\b.*?(?:</form>|\z)").expect("fixed"));
    FORM.find_iter(head_of(html))
        .filter_map(|form| {
            let form = form.as_str();
            let own = tags(form, "form").into_iter().next()?;
            let method = own.get("method").map_or("GET".into(), |m| m.to_ascii_uppercase());
            let mut fields = Vec::new();
            for tag in ["input", "select", "textarea"] {
                for mut field in tags(form, tag) {
                    let kind = field.get("type").map(|t| t.to_ascii_lowercase()).unwrap_or_default();
                    let Some(name) = field.remove("name").filter(|name| !name.is_empty()) else { continue };
                    if !matches!(kind.as_str(), "submit" | "button" | "image" | "reset") {
                        fields.push((name, field.remove("value").filter(|value| !value.is_empty())));
                    }
                }
            }
            let action = own.get("action").cloned().unwrap_or_default();
            Some(Form { method: if method == "POST" { method } else { "GET".into() }, action, fields })
        })
        .collect()
}

/// Title and first heading of a page, without markup; empty when it has neither.
pub(crate) fn heading(html: &str) -> String {
    static HEADING: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?is)<(?:title|h1)\b[^>]*>(.*?)</(?:title|h1)>").expect("fixed"));
    static MARKUP: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"<[^>]*>").expect("fixed"));
    let parts = HEADING.captures_iter(head_of(html)).take(3);
    parts.map(|c| MARKUP.replace_all(&c[1], "").trim().to_string()).collect::<Vec<_>>().join(" ")
}

fn head_of(html: &str) -> &str {
    let mut end = html.len().min(PAGE_BYTES_MAX);
    while !html.is_char_boundary(end) {
        end -= 1;
    }
    &html[..end]
}

/// 0 (nothing in common) to 1 (the same words): the share of words two texts have in common. Words with digits are left
/// out, so that times and request ids do not make a page unlike itself.
pub(crate) fn similarity(a: &str, b: &str) -> f64 {
    let words = |text: &str| -> BTreeSet<String> {
        head_of(text)
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty() && !w.contains(|c: char| c.is_ascii_digit()))
            .map(str::to_lowercase)
            .collect()
    };
    let (a, b) = (words(a), words(b));
    let union = a.union(&b).count();
    if union == 0 {
        return 1.0;
    }
    a.intersection(&b).count() as f64 / union as f64
}

/// The run's id as it may stand in a host name or path.
pub(crate) fn canary(run: &str) -> String {
    let safe: String = run.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    format!("hc-{}", safe.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_however_they_are_written() {
        let page = "<SCRIPT async src='/a.js?x=1&amp;y=2'></SCRIPT><script\n src=https://cdn.example/b.js integrity=\"sha384-x>y\"></script><p>";
        let found = tags(page, "script");
        assert_eq!(found[0]["src"], "/a.js?x=1&y=2");
        assert_eq!(
            (found[1]["src"].as_str(), found[1]["integrity"].as_str()),
            ("https://cdn.example/b.js", "sha384-x>y")
        );
        assert_eq!(heading("<title>A <b>b</b></title><h1 class=x>C</h1>"), "A b C");
    }

    #[test]
    fn forms_tell_where_they_go_and_what_they_send() {
        let page = "<form action='/find'><input name=q value=''><input type=submit name=go></form>\
            <FORM method=post action=\"/cart\"><input type=hidden name=tea value=7><select name='size'></select></FORM>";
        let field = |name: &str, value: Option<&str>| (name.to_string(), value.map(str::to_string));
        assert_eq!(
            forms(page),
            [
                Form { method: "GET".into(), action: "/find".into(), fields: vec![field("q", None)] },
                Form {
                    method: "POST".into(),
                    action: "/cart".into(),
                    fields: vec![field("tea", Some("7")), field("size", None)],
                },
            ]
        );
    }

    #[test]
    fn a_page_is_like_itself_at_another_time() {
        let page = |n: u32| format!("<h1>Not found</h1><p>No page /hc-{n} at 10:0{n}, request 8f{n}a</p>");
        assert!(similarity(&page(1), &page(2)) > 0.9);
        assert!(similarity(&page(1), "ref: refs/heads/main") < 0.2);
        assert_eq!(similarity("", ""), 1.0);
    }
}
