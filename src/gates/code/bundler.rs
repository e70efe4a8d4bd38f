//! Does the build drop console calls? Read from bundler settings: esbuild and Vite `drop`, terser `drop_console`,
//! Next's `removeConsole`, Babel's `transform-remove-console`. Text search with comment lines left out: the settings
//! are programs, and only their result would be proof.

use std::sync::LazyLock;

use regex::Regex;

use super::role::Role;

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

/// May the file hold such settings? By its name.
pub fn may_hold_settings(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let script = [".js", ".mjs", ".cjs", ".ts", ".mts"].iter().any(|e| name.ends_with(e));
    let role = Role::of_path(path);
    matches!(name, "package.json" | ".babelrc" | ".babelrc.json" | "babel.config.json") && role != Role::Vendored
        || script && matches!(role, Role::Config | Role::Script)
        || script && !path.contains('/') && (name.contains("build") || name.contains("bundle"))
}

/// One tool's way to say it.
struct Way {
    tool: &'static str,
    /// Without it in the text there is nothing to look for.
    word: &'static str,
    pattern: LazyLock<Regex>,
}

macro_rules! way {
    ($tool:literal, $word:literal, $pattern:literal) => {
        Way { tool: $tool, word: $word, pattern: LazyLock::new(|| Regex::new($pattern).expect("a pattern of ours")) }
    };
}

static WAYS: [Way; 5] = [
    way!("esbuild drop", "drop", r"\bdrop\s*:[^\]\n]*\[[^\]]*\]"),
    way!("esbuild drop", "--drop:", r"--drop:(console|debugger)"),
    way!("terser drop_console", "drop_console", r"\bdrop_console\s*:\s*(true|\[)"),
    way!("next removeConsole", "removeConsole", r"\bremoveConsole\s*:\s*(true|\{|process)"),
    way!("babel transform-remove-console", "transform-remove-console", r"transform-remove-console"),
];

/// The settings in one file.
pub fn drops(path: &str, text: &str) -> Vec<Drop> {
    let ways: Vec<&Way> = WAYS.iter().filter(|way| text.contains(way.word)).collect();
    if ways.is_empty() {
        return Vec::new();
    }
    let plain: String =
        text.lines().map(|l| if l.trim_start().starts_with("//") { "" } else { l }).flat_map(|l| [l, "\n"]).collect();
    let folder = path.rsplit_once('/').map_or("", |(f, _)| f);
    // A build script in `scripts/` builds the folder above.
    let folder = folder.strip_suffix("scripts").or_else(|| folder.strip_suffix("build")).unwrap_or(folder);
    let folder = folder.trim_end_matches('/');
    let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut out = Vec::new();
    for Way { tool, pattern, .. } in ways {
        // A package.json names the Babel plugin when it merely depends on it.
        if tool.starts_with("babel") && path.ends_with("package.json") {
            continue;
        }
        for found in pattern.find_iter(&plain) {
            let (console, debugger) = match *tool {
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
        let got: Vec<_> = drops(path, text).into_iter().map(|d| (d.tool, d.line, d.console, d.debugger)).collect();
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
        let web = &drops("web/vite.config.js", "drop: ['console']")[0];
        assert!(web.reaches("web/src/a.js"));
        assert!(!web.reaches("api/a.js") && !web.reaches("web/server/a.js") && !web.reaches("website/a.js"));
        assert!(drops("scripts/build.mjs", "drop: ['console']")[0].reaches("src/a.js"));
    }
}
