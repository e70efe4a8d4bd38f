//! Does the build drop console calls? Read from bundler settings: esbuild and Vite `drop`, terser `drop_console`,
//! Next's `removeConsole`, Babel's `transform-remove-console`. Text search with comment lines left out: the settings
//! are programs, and only their result would be proof.

use regex::Regex;

use super::role::Role;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX};

/// A setting that drops calls from what is built out of a folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Drop {
    /// `esbuild drop`, `terser drop_console`, `next removeConsole`, `babel transform-remove-console`.
    pub tool: &'static str,
    pub file: String,
    /// From 1.
    pub line: u32,
    pub console: bool,
    pub debugger: bool,
    /// Ends in `/`, or empty for the whole repository.
    folder: String,
}

impl Drop {
    /// Does the setting reach `path`? Server code is not bundled, except by Next.
    pub fn reaches(&self, path: &str) -> bool {
        let server = path.split('/').any(|s| matches!(s, "server" | "api" | "backend" | "functions" | "worker"));
        path.starts_with(&self.folder) && (!server || self.tool.starts_with("next"))
    }
}

/// All such settings, by path.
pub fn drops(repo: &Repo) -> Vec<Drop> {
    let mut out = Vec::new();
    for file in repo.files.iter().filter(|f| f.bytes <= SOURCE_FILE_BYTES_MAX && may_hold_settings(&f.path)) {
        if let Ok(text) = repo.read_text(&file.path, SOURCE_FILE_BYTES_MAX) {
            out.extend(drops_in(&file.path, &text));
        }
    }
    out
}

fn may_hold_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let script = [".js", ".mjs", ".cjs", ".ts", ".mts"].iter().any(|e| name.ends_with(e));
    let role = Role::of_path(path);
    matches!(name, "package.json" | ".babelrc" | ".babelrc.json" | "babel.config.json") && role != Role::Vendored
        || script && matches!(role, Role::Config | Role::Script)
        || script && !path.contains('/') && (name.contains("build") || name.contains("bundle"))
}

fn drops_in(path: &str, text: &str) -> Vec<Drop> {
    let plain: String =
        text.lines().map(|l| if l.trim_start().starts_with("//") { "" } else { l }).flat_map(|l| [l, "\n"]).collect();
    let folder = path.rsplit_once('/').map_or("", |(f, _)| f);
    // A build script in `scripts/` builds the folder above.
    let folder = folder.strip_suffix("scripts").or_else(|| folder.strip_suffix("build")).unwrap_or(folder);
    let folder = folder.trim_end_matches('/');
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let rules = [
        ("esbuild drop", r"\bdrop\s*:[^\]\n]*\[[^\]]*\]"),
        ("esbuild drop", r"--drop:(console|debugger)"),
        ("terser drop_console", r"\bdrop_console\s*:\s*(true|\[)"),
        ("next removeConsole", r"\bremoveConsole\s*:\s*(true|\{|process)"),
        ("babel transform-remove-console", r"transform-remove-console"),
    ];
    let mut out = Vec::new();
    for (tool, pattern) in rules {
        // A package.json names the Babel plugin when it merely depends on it.
        if tool.starts_with("babel") && path.ends_with("package.json") {
            continue;
        }
        let Ok(pattern) = Regex::new(pattern) else { continue };
        for found in pattern.find_iter(&plain) {
            let (console, debugger) = match tool {
                "esbuild drop" => (found.as_str().contains("console"), found.as_str().contains("debugger")),
                // Where terser drops console calls, it drops debugger statements by default.
                "terser drop_console" => (true, true),
                _ => (true, false),
            };
            if console || debugger {
                let line = plain[..found.start()].matches('\n').count() as u32 + 1;
                out.push(Drop { tool, file: path.into(), line, console, debugger, folder: folder.clone() });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, expect: &[(&str, u32, bool, bool)]) {
        let got: Vec<_> = drops_in(path, text).into_iter().map(|d| (d.tool, d.line, d.console, d.debugger)).collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn reads_the_settings_of_each_tool() {
        check(
            "vite.config.js",
            "export default {\n esbuild: { drop: ['console', 'debugger'] }\n}",
            &[("esbuild drop", 2, true, true)],
        );
        check(
            "vite.config.js",
            "esbuild: { drop: mode === 'production' ? ['debugger'] : [] }",
            &[("esbuild drop", 1, false, true)],
        );
        check(
            "package.json",
            r#"{"scripts":{"build":"esbuild src/a.js --drop:console"}}"#,
            &[("esbuild drop", 1, true, false)],
        );
        check("webpack.prod.js", "compress: { drop_console: true }", &[("terser drop_console", 1, true, true)]);
        check(
            "next.config.js",
            "compiler: { removeConsole: { exclude: ['error'] } }",
            &[("next removeConsole", 1, true, false)],
        );
        check(
            ".babelrc",
            r#"{"plugins":["transform-remove-console"]}"#,
            &[("babel transform-remove-console", 1, true, false)],
        );
        for off in ["// drop: ['console']", "drop_console: false", "removeConsole: false", "drop: []"] {
            check("vite.config.js", off, &[]);
        }
        check("package.json", r#"{"devDependencies":{"babel-plugin-transform-remove-console":"6"}}"#, &[]);
    }

    #[test]
    fn reaches_its_folder_but_not_the_server() {
        let web = &drops_in("web/vite.config.js", "drop: ['console']")[0];
        assert!(web.reaches("web/src/a.js"));
        assert!(!web.reaches("api/a.js") && !web.reaches("web/server/a.js") && !web.reaches("website/a.js"));
        assert!(drops_in("scripts/build.mjs", "drop: ['console']")[0].reaches("src/a.js"));
    }
}
