//! `package.json` and `composer.json`: strings with their place in the document, whether or not it closes.

use std::sync::LazyLock;

use regex::Regex;

use super::{Around, Manifest, Scope};

/// A string, perhaps a key; or a bracket.
static TOKEN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#""((?:[^"\\\n]|\\.)*)"(\s*:)?|[{}\[\]]|\btrue\b"#).expect("a pattern of ours"));

/// Deeper than any manifest; hostile text nests without end.
const DEPTH_MAX: usize = 64;

/// One `"key": "value"` (or `true`) with the keys above it.
struct Entry<'t> {
    above: Vec<&'t str>,
    key: &'t str,
    value: &'t str,
    line: usize,
}

fn entries(text: &str) -> Vec<Entry<'_>> {
    let (mut out, mut above, mut key): (Vec<Entry>, Vec<&str>, &str) = (Vec::new(), Vec::new(), "");
    let (mut line, mut counted) = (0, 0);
    for found in TOKEN.captures_iter(text) {
        let whole = found.get(0).expect("the match itself");
        line += text[counted..whole.start()].matches('\n').count();
        counted = whole.start();
        match (whole.as_str(), found.get(1), found.get(2)) {
            (_, Some(name), Some(_)) => key = name.as_str(),
            (_, Some(value), None) => {
                out.push(Entry { above: above.clone(), key, value: value.as_str(), line });
            }
            ("true", ..) => out.push(Entry { above: above.clone(), key, value: "true", line }),
            ("{" | "[", ..) if above.len() < DEPTH_MAX => above.push(std::mem::take(&mut key)),
            ("}" | "]", ..) => drop(above.pop()),
            _ => {}
        }
    }
    out
}

/// Settings of tools that turn sources into pages: what a page is made of may be called a development dependency.
const BUNDLERS: [&str; 19] = [
    "index.html",
    "vite.config.js",
    "vite.config.ts",
    "vite.config.mjs",
    "svelte.config.js",
    "nuxt.config.ts",
    "nuxt.config.js",
    "next.config.js",
    "next.config.mjs",
    "next.config.ts",
    "angular.json",
    "vue.config.js",
    "gatsby-config.js",
    "gatsby-config.mjs",
    "gatsby-config.ts",
    "astro.config.mjs",
    "astro.config.ts",
    "eleventy.config.js",
    "ember-cli-build.js",
];

pub fn package_json(_: &str, text: &str, around: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    let (mut private, mut start, mut exports) = (false, false, false);
    let mut commands = None;
    let entries = entries(text);
    for entry in &entries {
        match (entry.above.as_slice(), entry.key) {
            ([""], "name") => manifest.name = Some((entry.value.to_string(), entry.line as u32 + 1)),
            ([""], "private") => private = entry.value == "true",
            ([""], "main" | "module" | "exports" | "types" | "typings") | (["", "exports" | "files", ..], _) => {
                exports = true;
            }
            ([""], "bin") | (["", "bin"], _) => commands = commands.or(Some(entry.line as u32 + 1)),
            (["", "scripts"], "start" | "start:prod" | "serve") => start = true,
            _ => {}
        }
    }
    let published = !private && !start && !around.runs();
    manifest.library = published && exports;
    manifest.commands = commands.filter(|_| published);
    // What is made for a telephone is no page.
    let native = entries.iter().any(|e| e.above.len() == 2 && matches!(e.key, "react-native" | "expo"));
    let page = !manifest.library && BUNDLERS.iter().any(|file| around.beside(file));
    for entry in entries {
        let scope = match entry.above.as_slice() {
            _ if native && makes_pages(entry.key) => Scope::Develops,
            ["", "dependencies"] => Scope::Runs,
            ["", "optionalDependencies"] => Scope::Optional,
            ["", "devDependencies"] if page && makes_pages(entry.key) => Scope::Runs,
            ["", "devDependencies" | "peerDependencies"] => Scope::Develops,
            _ => continue,
        };
        manifest.add(entry.key, entry.line, scope);
    }
    manifest
}

fn makes_pages(package: &str) -> bool {
    super::packages::of(package).any(|(kind, _)| matches!(kind, "frontend" | "static-generator"))
}

pub fn composer_json(_: &str, text: &str, around: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    for entry in entries(text) {
        match (entry.above.as_slice(), entry.key) {
            ([""], "name") => manifest.name = Some((entry.value.to_string(), entry.line as u32 + 1)),
            ([""], "type") => manifest.library = entry.value == "library" && !around.runs(),
            (["", "require"], package) => manifest.add(package, entry.line, Scope::Runs),
            (["", "require-dev"], package) => manifest.add(package, entry.line, Scope::Develops),
            _ => {}
        }
    }
    manifest
}
