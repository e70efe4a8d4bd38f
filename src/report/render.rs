//! Model → text through Tera. Templates are embedded, format what they are given and compute nothing; `.html` is
//! escaped by Tera, Markdown by the `md` filter, SVG by `chart`.

use std::sync::OnceLock;

use rust_embed::RustEmbed;
use serde_json::Value as Json;
use tera::{Context, Kwargs, State, Tera};

use super::ReportError;
use super::model::{ChartSection, ReportModel};
use super::postmortem::Postmortem;
use crate::chart;
use crate::domain::evidence::sha256_hex;

#[derive(RustEmbed)]
#[folder = "templates/report"]
struct ReportFiles;

#[derive(RustEmbed)]
#[folder = "templates/postmortem"]
struct PostmortemFiles;

/// Every embedded file of this room, by name: `report/report.html`.
fn files() -> Vec<(String, String)> {
    let read = |folder: &str, names: Vec<String>, get: &dyn Fn(&str) -> Option<Vec<u8>>| -> Vec<(String, String)> {
        names.into_iter().filter_map(|n| Some((format!("{folder}/{n}"), String::from_utf8(get(&n)?).ok()?))).collect()
    };
    let mut all = read("report", ReportFiles::iter().map(|n| n.to_string()).collect(), &|n| {
        ReportFiles::get(n).map(|f| f.data.into_owned())
    });
    all.extend(read("postmortem", PostmortemFiles::iter().map(|n| n.to_string()).collect(), &|n| {
        PostmortemFiles::get(n).map(|f| f.data.into_owned())
    }));
    all.sort();
    all
}

/// SHA-256 over the names and bytes of all templates.
pub fn templates_hash() -> String {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let framed: Vec<String> = files().into_iter().map(|(n, t)| format!("{n}\0{}\0{t}", t.len())).collect();
        sha256_hex(framed.concat().as_bytes())
    })
    .clone()
}

fn tera() -> Result<&'static Tera, ReportError> {
    static TERA: OnceLock<Result<Tera, String>> = OnceLock::new();
    TERA.get_or_init(|| {
        let mut tera = Tera::default();
        tera.register_filter("md", |text: &str, _: Kwargs, _: &State| markdown_text(text));
        // Style sheets go in by value, not as templates: braces there are CSS.
        let templates = files().into_iter().filter(|(n, _)| !n.ends_with(".css"));
        tera.add_raw_templates(templates).map_err(|e| e.to_string())?;
        Ok(tera)
    })
    .as_ref()
    .map_err(|detail| ReportError::Render { template: "templates".into(), detail: detail.clone() })
}

/// Text that Markdown shows as it is: on one line, without links, HTML, mentions or table breaks.
pub fn markdown_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A mention would call people when the report is pasted into a tracker.
            '@' => out.push_str("@\u{200b}"),
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    // A line must not begin a heading, a list or a quote by what came from outside.
    let starts = out.starts_with(['#', '-', '+', '=']);
    if starts { format!("\\{out}") } else { out }
}

/// One spelling of control-free, direction-safe text for everything that is printed.
fn cleaned(value: &mut Json) {
    match value {
        Json::String(s) if s.chars().any(unprintable) => *s = s.chars().filter(|c| !unprintable(*c)).collect(),
        Json::Array(items) => items.iter_mut().for_each(cleaned),
        Json::Object(map) => map.values_mut().for_each(cleaned),
        _ => {}
    }
}

fn unprintable(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn failed(template: &str, detail: impl std::fmt::Display) -> ReportError {
    ReportError::Render { template: template.into(), detail: detail.to_string() }
}

fn value(template: &str, document: &impl serde::Serialize) -> Result<Json, ReportError> {
    let mut json = serde_json::to_value(document).map_err(|e| failed(template, e))?;
    cleaned(&mut json);
    Ok(json)
}

fn print(template: &str, json: &Json) -> Result<String, ReportError> {
    let mut context = Context::from_serialize(json).map_err(|e| failed(template, e))?;
    context.insert("tokens_css", chart::TOKENS_CSS);
    context.insert(
        "page_css",
        &ReportFiles::get("page.css").map(|f| String::from_utf8_lossy(&f.data).into_owned()).unwrap_or_default(),
    );
    let text = tera()?.render(template, &context).map_err(|e| {
        // Tera keeps the cause (which name, which line) in the chain.
        let mut detail = e.to_string();
        let mut source = std::error::Error::source(&e);
        while let Some(cause) = source {
            detail.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        failed(template, detail)
    })?;
    Ok(text)
}

fn with_drawings(mut json: Json, charts: &[ChartSection]) -> Json {
    if let Some(items) = json.get_mut("charts").and_then(Json::as_array_mut) {
        for (item, chart) in items.iter_mut().zip(charts) {
            item["svg"] = Json::String(chart::figure(&chart.drawing));
        }
    }
    json
}

/// The report as one HTML file: no script, no outside request.
pub fn html(model: &ReportModel) -> Result<String, ReportError> {
    let mut json = with_drawings(value("report.html", model)?, &model.charts);
    if let Some(tiles) = json["scorecard"]["tiles"].as_array_mut() {
        for (item, tile) in tiles.iter_mut().zip(&model.scorecard.tiles) {
            item["svg"] = Json::String(chart::sparkline_svg(&tile.spark));
        }
    }
    print("report/report.html", &json)
}

pub fn markdown(model: &ReportModel) -> Result<String, ReportError> {
    print("report/report.md", &value("report.md", model)?)
}

/// `hypercare.report/v1`.
pub fn json(model: &ReportModel) -> Result<String, ReportError> {
    pretty(model)
}

/// A short HTML body for mail, inline styles only. See [`super::mail_html`].
pub fn mail(model: &ReportModel, plain: bool) -> Result<String, ReportError> {
    print(if plain { "report/mail.txt" } else { "report/mail.html" }, &value("mail", model)?)
}

pub fn postmortem_html(draft: &Postmortem) -> Result<String, ReportError> {
    let mut json = with_drawings(value("postmortem.html", draft)?, &draft.charts);
    disarm(&mut json);
    print("postmortem/google.html", &json)
}

pub fn postmortem_markdown(draft: &Postmortem) -> Result<String, ReportError> {
    let mut json = value("postmortem.md", draft)?;
    disarm(&mut json);
    print("postmortem/google.md", &json)
}

/// Only our own blocks are open questions: what came from outside must not look like one.
fn disarm(value: &mut Json) {
    match value {
        Json::String(s) if s.contains("[[") => *s = s.replace("[[", "[\u{200b}["),
        Json::Array(items) => items.iter_mut().for_each(disarm),
        Json::Object(map) => map.iter_mut().filter(|(key, _)| *key != "block").for_each(|(_, v)| disarm(v)),
        _ => {}
    }
}

/// `hypercare.postmortem/v1`.
pub fn postmortem_json(draft: &Postmortem) -> Result<String, ReportError> {
    pretty(draft)
}

fn pretty(document: &impl serde::Serialize) -> Result<String, ReportError> {
    // Straight from the struct: `schema` comes first and the order is that of the model.
    let mut text = serde_json::to_string_pretty(document).map_err(|e| failed("json", e))?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_keeps_outside_text_text() {
        assert_eq!(
            markdown_text("# [x](javascript:1) <b> @all a|b\n*_`"),
            "\\# \\[x\\](javascript:1) &lt;b&gt; @\u{200b}all a\\|b \\*\\_\\`"
        );
        assert_eq!(markdown_text("plain text, 12.4 %"), "plain text, 12.4 %");
    }

    #[test]
    fn templates_load() {
        assert!(tera().is_ok(), "{:?}", tera().err());
        assert_eq!(templates_hash().len(), 64);
    }
}
