//! Templates of the channels: embedded, a user's folder may override each file. A broken template never loses a
//! message: the built-in one stands in, then the plain text. Templates format; they compute nothing.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tera::{Context, Tera};

use super::message::{View, plain};

#[derive(rust_embed::RustEmbed)]
#[folder = "templates/channel/"]
struct BuiltIn;

/// Gmail clips a mail near 102 KB; what is clipped takes the footer with it.
pub const MAIL_HTML_BYTES_MAX: usize = 90_000;
/// Output of any template, so that a user's loop ends.
const RENDERED_BYTES_MAX: usize = 512 * 1024;
/// A user's template gets this long.
const OVERRIDE_TIME_MAX: Duration = Duration::from_secs(2);
/// A template is typed by a person.
const OVERRIDE_FILE_BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("template {name}: {detail}")]
    Broken { name: String, detail: String },
}

fn broken(name: &str, error: &tera::Error) -> TemplateError {
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    TemplateError::Broken { name: name.into(), detail }
}

/// The built-in templates, parsed once: `email/message.html`, `email/message.txt`.
fn built_in() -> &'static Tera {
    static ENGINE: OnceLock<Tera> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let texts: Vec<(String, String)> = BuiltIn::iter()
            .filter_map(|name| {
                let text = String::from_utf8_lossy(&BuiltIn::get(&name)?.data).into_owned();
                // Escaping follows the suffix: what ends in .html escapes.
                Some((name.strip_suffix(".tera")?.to_string(), text))
            })
            .collect();
        let mut tera = Tera::new();
        if let Err(error) = tera.add_raw_templates(texts) {
            // A test parses them all; should it happen nevertheless, the plain text stands in.
            tracing::error!(%error, "built-in templates are broken");
        }
        tera
    })
}

/// The templates of one channel.
#[derive(Clone, Default)]
pub struct Renderer {
    overrides: Option<Arc<Tera>>,
}

impl Renderer {
    /// Reads overrides from `folder` (`message.html.tera`, `message.txt.tera`); every broken one is reported and left
    /// out.
    pub fn with_overrides(kind: &str, folder: &Path) -> (Renderer, Vec<TemplateError>) {
        let (mut tera, mut errors, mut found) = (Tera::new(), Vec::new(), false);
        for name in ["message.html", "message.txt"] {
            let path = folder.join(format!("{name}.tera"));
            let text = match read(&path) {
                Ok(text) => text,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    errors.push(TemplateError::Broken { name: path.display().to_string(), detail: e.to_string() });
                    continue;
                }
            };
            match tera.add_raw_template(&format!("{kind}/{name}"), &text) {
                Ok(()) => found = true,
                Err(e) => errors.push(broken(&path.display().to_string(), &e)),
            }
        }
        (Renderer { overrides: found.then(|| Arc::new(tera)) }, errors)
    }

    /// Renders `name` (`email/message.html`): the override, else the built-in; `None` when neither works.
    pub async fn render(&self, name: &str, view: &View) -> Option<String> {
        if let Some(tera) = self.overrides.clone().filter(|t| t.contains_template(name)) {
            let (owned, view) = (name.to_string(), view.clone());
            let work = tokio::task::spawn_blocking(move || render(&tera, &owned, &view));
            match tokio::time::timeout(OVERRIDE_TIME_MAX, work).await {
                Ok(Ok(Ok(text))) => return Some(text),
                Ok(Ok(Err(error))) => tracing::error!(%error, "template is broken; the built-in one stands in"),
                Ok(Err(error)) => tracing::error!(%error, template = name, "template panicked"),
                Err(_) => tracing::error!(template = name, "template takes too long; the built-in one stands in"),
            }
        }
        match render(built_in(), name, view) {
            Ok(text) => Some(text),
            Err(error) => {
                tracing::error!(%error, "built-in template failed");
                None
            }
        }
    }

    /// Text and HTML of a mail. The text always exists; the HTML may be missing, and is never longer than
    /// [`MAIL_HTML_BYTES_MAX`].
    pub async fn mail(&self, view: &View) -> (String, Option<String>) {
        let text = self.render("email/message.txt", view).await.unwrap_or_else(|| plain(view));
        let mut view = view.clone();
        // A report that brings its whole page is the page.
        if let Some(page) = view.html.as_ref().filter(|h| h.contains("<html")) {
            if page.len() <= MAIL_HTML_BYTES_MAX {
                return (text, Some(page.clone()));
            }
            view.html = None;
        }
        for cut in 0..3 {
            match self.render("email/message.html", &view).await {
                Some(html) if html.len() <= MAIL_HTML_BYTES_MAX => return (text, Some(html)),
                None => return (text, None),
                // Too long: first the report's HTML goes, then the longer text.
                Some(_) if cut == 0 => view.html = None,
                Some(_) => view.body.clear(),
            }
        }
        (text, None)
    }
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(OVERRIDE_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn render(tera: &Tera, name: &str, view: &View) -> Result<String, TemplateError> {
    let context = Context::from_serialize(view).map_err(|e| broken(name, &e))?;
    let mut out = Capped(Vec::new());
    tera.render_to(name, &context, &mut out).map_err(|e| broken(name, &e))?;
    String::from_utf8(out.0).map_err(|e| TemplateError::Broken { name: name.into(), detail: e.to_string() })
}

/// Refuses to grow past [`RENDERED_BYTES_MAX`].
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(io::Error::other(format!("the result is longer than {RENDERED_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Names of the built-in templates, for `tests/tidy.rs` and the documentation.
pub fn built_in_names() -> BTreeMap<String, usize> {
    BuiltIn::iter().filter_map(|n| Some((n.to_string(), BuiltIn::get(&n)?.data.len()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::example;
    use super::super::message::view;
    use super::*;

    #[tokio::test]
    async fn text_template_says_what_plain_says() {
        let view = view(&example(), "0192-id");
        let (text, html) = Renderer::default().mail(&view).await;
        let squeeze = |t: &str| t.lines().filter(|l| !l.is_empty()).map(str::to_string).collect::<Vec<_>>();
        assert_eq!(squeeze(&text), squeeze(&plain(&view)));
        insta::assert_snapshot!("mail_html", html.unwrap());
    }

    #[tokio::test]
    async fn outside_text_stays_text_and_the_page_stays_small() {
        let mut message = example();
        let hostile = format!("<script>alert(1)</script>\"'&{}", "x".repeat(100_000));
        message.title = hostile.clone();
        message.headline = hostile.clone();
        message.body = [hostile.as_str(); 3].join("\n\n");
        message.rollback = Some(hostile.clone());
        message.runbook = Some(format!("https://x.example/\"onmouseover=\"{hostile}"));
        message.facts = (0..100).map(|_| crate::domain::notification::Fact::new(&hostile, &hostile)).collect();
        message.alerts = (0..50)
            .map(|_| {
                let mut a = message.alerts[0].clone();
                a.summary = hostile.clone();
                a.name = hostile.clone();
                a
            })
            .collect();
        let (text, html) = Renderer::default().mail(&view(&message, "id")).await;
        let html = html.unwrap();
        assert!(!html.contains("<script") && !html.contains("\"onmouseover"), "{html}");
        assert!(html.len() <= MAIL_HTML_BYTES_MAX, "{}", html.len());
        assert!(text.contains("<script>alert(1)"), "a text mail is text");
    }

    #[tokio::test]
    async fn a_mail_asks_for_nothing_from_outside_and_styles_inline() {
        let (_, html) = Renderer::default().mail(&view(&example(), "id")).await;
        let html = html.unwrap();
        for forbidden in ["<script", "<img", "<link", "@import", "url(", "src="] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        for open in html.match_indices("<p").chain(html.match_indices("<td")).map(|(i, _)| i) {
            let tag = &html[open..open + html[open..].find('>').unwrap()];
            assert!(tag.contains("style="), "{tag}");
        }
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("max-width:600px"));
    }

    #[tokio::test]
    async fn a_broken_override_never_loses_a_message() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let view = view(&example(), "0192-id");

        write("message.txt.tera", "{{ headline");
        let (renderer, errors) = Renderer::with_overrides("email", dir.path());
        assert_eq!(errors.len(), 1);
        assert!(renderer.mail(&view).await.0.contains("FIRING critical"));

        // Parses, but names what is not there; and one that never ends.
        write("message.txt.tera", "{{ nothing.there }}");
        write("message.html.tera", "{% for a in range(end=100000000) %}{{ headline }}{% endfor %}");
        let (renderer, errors) = Renderer::with_overrides("email", dir.path());
        assert!(errors.is_empty(), "{errors:?}");
        let (text, html) = renderer.mail(&view).await;
        assert!(text.contains("FIRING critical") && html.unwrap().contains("FIRING critical"));

        write("message.txt.tera", "mine: {{ headline }}");
        let (renderer, _) = Renderer::with_overrides("email", dir.path());
        assert!(renderer.mail(&view).await.0.starts_with("mine: FIRING"));
    }
}
