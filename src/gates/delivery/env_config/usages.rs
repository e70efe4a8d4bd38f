//! Which environment variables the product's code reads, where, and whether it can do without them. Patterns over lines
//! in JavaScript and TypeScript, Python, Ruby, PHP, Go, Rust, Java, Kotlin and C#, and the schemas that projects
//! validate with. Pure: path and text in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use crate::gates::suppression::is_comment;
use crate::gates::words::Words;

/// How much the code needs a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// It has a default, or the code asks first.
    Optional,
    /// Read, and nothing shows what happens without it.
    Used,
    /// The program stops without it.
    Required,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    pub file: String,
    pub line: u32,
    pub need: Need,
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of ours")
}

/// Group 1 is the name; `strict` reads stop the program when the variable is missing.
struct Read {
    extensions: &'static [&'static str],
    pattern: Regex,
    strict: bool,
}

const JS: &[&str] = &["js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "vue", "svelte"];
const NAME: &str = "([A-Za-z_][A-Za-z0-9_]*)";

static READS: LazyLock<Vec<Read>> = LazyLock::new(|| {
    let read =
        |extensions, text: &str, strict| Read { extensions, pattern: pattern(&text.replace("NAME", NAME)), strict };
    vec![
        read(JS, r#"\b(?:process|Bun|import\.meta)\.env\??\.NAME"#, false),
        read(JS, r#"\b(?:process|Bun|import\.meta)\.env\[["']NAME["']\]"#, false),
        read(JS, r#"\bDeno\.env\.get\(["']NAME["']\)"#, false),
        read(&["py"], r#"\bos\.environ\[["']NAME["']\]"#, true),
        read(&["py"], r#"\b(?:os\.environ\.get|os\.getenv|\bgetenv)\(\s*["']NAME["']"#, false),
        read(&["py"], r#"(?:^|[^.\w])environ\[["']NAME["']\]"#, true),
        read(&["rb", "erb", "ru"], r#"\bENV\.fetch\(\s*["']NAME["']"#, true),
        read(&["rb", "erb", "ru"], r#"\bENV\[["']NAME["']\]"#, false),
        read(&["php"], r#"\b(?:env|getenv)\(\s*["']NAME["']"#, false),
        read(&["php"], r#"\$_ENV\[["']NAME["']\]"#, false),
        read(&["go"], r#"\bos\.Getenv\("NAME"\)"#, false),
        read(&["rs"], r#"\benv::var(?:_os)?\("NAME"\)"#, false),
        read(&["java", "kt", "scala", "groovy"], r#"\bSystem\.getenv\("NAME"\)"#, false),
        read(&["cs"], r#"\bGetEnvironmentVariable\("NAME"\)"#, false),
    ]
});

/// Reads that bring their own answer: known, and never missed.
static OPTIONAL: LazyLock<Vec<Read>> = LazyLock::new(|| {
    let read =
        |extensions, text: &str| Read { extensions, pattern: pattern(&text.replace("NAME", NAME)), strict: false };
    vec![
        read(&["go"], r#"\bos\.LookupEnv\("NAME"\)"#),
        read(&["py"], r#"\bos\.environ\.(?:setdefault|pop)\(\s*["']NAME["']"#),
        read(&["rb"], r#"\bENV\.(?:key\?|has_key\?|include\?)\(?\s*["']NAME["']"#),
        read(&["rs"], r#"\benv\s*=\s*"NAME""#),
        read(&["java", "kt"], r#"\bgetenv\(\)\.(?:getOrDefault|containsKey)\("NAME""#),
    ]
});

static DESTRUCTURED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\{([^{}]{1,4000})\}\s*=\s*(?:process|import\.meta)\.env\b"));
/// envalid, zod and t3-env: `KEY: str()`, `KEY: z.string()`.
static SCHEMA_ROW: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^\s*([A-Z][A-Z0-9_]+)\s*:\s*(?:z\.|v\.|(?:str|num|port|url|bool|email|host|json|makeValidator)\()(.*)$")
});
static PY_CLASS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^class\s+(\w+)\(([^)]*)\)\s*:"));
static SETTINGS_ROW: LazyLock<Regex> = LazyLock::new(|| pattern(r"^    ([A-Za-z_]\w*)\s*:\s*([^=#]+?)\s*(=.*)?$"));
static ENV_PREFIX: LazyLock<Regex> = LazyLock::new(|| pattern(r#"env_prefix\s*=\s*["'](\w*)["']"#));
/// decouple's `config("X")`, environs' and django-environ's `env("X")`, `env.str("X")`.
static PY_HELPER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?:^|[^\w.])(?:config|env(?:\.\w+)?)\(\s*["']([A-Z][A-Z0-9_]*)["']"#));
/// `${NAME}` and `${NAME:default}` in Spring's settings.
static SPRING: LazyLock<Regex> = LazyLock::new(|| pattern(r"\$\{([A-Z][A-Z0-9_]*)(:[^}]*)?\}"));
/// caarlos0/env and envconfig: `env:"NAME,required"`.
static GO_TAG: LazyLock<Regex> = LazyLock::new(|| pattern(r#"\b(?:env|envconfig):"([A-Z][A-Z0-9_]*)((?:,\w+)*)"(.*)"#));

/// Longer files are data.
const USAGES_MAX: usize = 20_000;

/// Without one of these words a text reads no variable: most are done with here.
pub fn speaks_of_them(path: &str, text: &[u8]) -> bool {
    static SPRING: LazyLock<Words> = LazyLock::new(|| Words::new(&["${"]));
    static DOT_ENV: LazyLock<Words> = LazyLock::new(|| Words::new(&[".env"]));
    static OTHERS: LazyLock<Words> = LazyLock::new(|| Words::new(&["env", "ENV", "Env", "config(", "BaseSettings"]));
    let extension = path.rsplit_once('.').map_or("", |(_, e)| e);
    match extension {
        _ if is_spring(path) => SPRING.any_in(text),
        e if JS.contains(&e) => DOT_ENV.any_in(text),
        _ => OTHERS.any_in(text),
    }
}

/// Adds what one file reads.
pub fn collect(path: &str, text: &str, into: &mut BTreeMap<String, Vec<Usage>>) {
    let extension = path.rsplit_once('.').map_or("", |(_, e)| e);
    let mut add = |name: &str, line: u32, need: Need| {
        if is_of_the_platform(name) || into.len() > USAGES_MAX {
            return;
        }
        into.entry(name.to_string()).or_default().push(Usage { file: path.to_string(), line, need });
    };
    if is_spring(path) {
        for (row, line) in text.lines().enumerate().filter(|(_, l)| !is_comment(l)) {
            for found in SPRING.captures_iter(line) {
                let need = if found.get(2).is_some() { Need::Optional } else { Need::Required };
                add(&found[1], row as u32 + 1, need);
            }
        }
        return;
    }
    let reads = |line: &str| ["env", "ENV", "Env"].iter().any(|word| line.contains(word));
    let lines: Vec<&str> = text.lines().collect();
    for (row, line) in lines.iter().enumerate().filter(|(_, l)| reads(l) && !is_comment(l)) {
        let at = row as u32 + 1;
        for read in READS.iter().filter(|r| r.extensions.contains(&extension)) {
            for found in read.pattern.captures_iter(line) {
                let (Some(whole), Some(name)) = (found.get(0), found.get(1)) else { continue };
                let (before, after) = (&line[..whole.start()], &line[whole.end()..]);
                let need = match need(read.strict, before, after) {
                    Some(Need::Used) => asked_later(before, &lines[row + 1..]).or(Some(Need::Used)),
                    told => told,
                };
                if let Some(need) = need {
                    add(name.as_str(), at, need);
                }
            }
        }
        for read in OPTIONAL.iter().filter(|r| r.extensions.contains(&extension)) {
            for found in read.pattern.captures_iter(line) {
                add(&found[1], at, Need::Optional);
            }
        }
    }
    match extension {
        e if JS.contains(&e) => javascript(text, &mut add),
        "py" => python(text, &mut add),
        "go" => {
            for (row, line) in text.lines().enumerate() {
                for found in GO_TAG.captures_iter(line) {
                    let required = found[2].contains("required") || found[3].contains("required:\"true\"");
                    add(&found[1], row as u32 + 1, if required { Need::Required } else { Need::Optional });
                }
            }
        }
        _ => {}
    }
    // `if (process.env.X && isGood(process.env.X))`: who asks once knows that it may be missing.
    for usages in into.values_mut() {
        let mut own: Vec<&mut Usage> = usages.iter_mut().filter(|u| u.file == path).collect();
        if own.iter().any(|u| u.need == Need::Optional) {
            own.iter_mut().filter(|u| u.need == Need::Used).for_each(|u| u.need = Need::Optional);
        }
    }
}

/// Lines behind a read in which its variable is looked at, if anybody does.
const ASKED_WITHIN: usize = 12;

static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| pattern(r"([A-Za-z_]\w*)\s*(?::\s*[\w<>|\[\]? ]+)?:?=\s*$"));

/// `const key = process.env.KEY`, and then `if (!key) return`: the code goes without, or stops itself.
fn asked_later(before: &str, following: &[&str]) -> Option<Need> {
    const STOPS: [&str; 12] =
        ["throw ", "raise ", "panic", "exit(", "die(", "Fatal", "fatal", "abort", "bail", "Err(", "errors.", "Errorf("];
    let variable = ASSIGNED.captures(before)?.get(1)?.as_str();
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let holds = |line: &str| {
        line.match_indices(variable)
            .any(|(at, _)| !line[..at].ends_with(word) && !line[at + variable.len()..].starts_with(word))
    };
    let asks = |line: &str| {
        let code = line.trim_start().trim_start_matches(['}', ' ']);
        let branches = ["if ", "if(", "elif ", "else if", "unless "].iter().any(|w| code.starts_with(w));
        let chooses = [" ?? ", " || ", " && ", " ? ", " or "].iter().any(|w| line.contains(&format!("{variable}{w}")));
        holds(line) && (branches || chooses)
    };
    let at = following.iter().take(ASKED_WITHIN).position(|line| asks(line))?;
    let stops = following[at..].iter().take(3).any(|line| STOPS.iter().any(|s| line.contains(s)));
    Some(if stops { Need::Required } else { Need::Optional })
}

/// From what stands around a read. `None`: it is written, not read.
fn need(strict: bool, before: &str, after: &str) -> Option<Need> {
    let (before, after) = (before.trim_end(), after.trim_start());
    let starts = |list: &[&str]| list.iter().any(|s| after.starts_with(s));
    if (after.starts_with('=') && !starts(&["==", "=>", "=~"])) || before.ends_with("delete") || starts(&["||=", "??="])
    {
        return None;
    }
    let asked = [
        "!",
        "&&",
        "||",
        "??",
        "typeof",
        "if",
        "if (",
        "unless",
        "not",
        " or",
        "if let Ok(",
        "Boolean(",
        "elif",
        "while (",
    ]
    .iter()
    .any(|s| before.ends_with(s))
        || before.contains("if let ")
        || before.trim_start().starts_with("match ");
    // `getenv("X") or …`, `env('X', …)`, `env::var("X").unwrap_or(…)`: behind the closing bracket, too.
    let rest = after.trim_start_matches([')', ' ']);
    let answers = ["||", "??", "?:", "==", "!=", "? ", "?.", "&&", "or ", "is ", "is_ok", "in ", "if "];
    let methods = [
        ".unwrap_or",
        ".ok()",
        ".is_ok",
        ".is_err",
        ".or_else",
        ".map_or",
        ".present?",
        ".nil?",
        ".blank?",
        ".to_s",
        ".presence",
    ];
    let given = after.starts_with(',')
        || (strict && (after.starts_with(") {") || after.starts_with(") do") || after.starts_with("){")))
        || answers.iter().chain(&methods).any(|s| after.starts_with(s) || rest.starts_with(s));
    if asked || given {
        return Some(Need::Optional);
    }
    let insists = (after.starts_with('!') && !after.starts_with("!="))
        || starts(&[".expect(", ".unwrap()", "?;", "?.", "as string"]);
    Some(if strict || insists { Need::Required } else { Need::Used })
}

fn javascript(text: &str, add: &mut impl FnMut(&str, u32, Need)) {
    for found in DESTRUCTURED.captures_iter(text) {
        let Some(names) = found.get(1) else { continue };
        for part in names.as_str().split(',') {
            let name: String = part.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let line = text[..names.start()].matches('\n').count() as u32 + 1;
            if !name.is_empty() && !part.contains("...") {
                add(&name, line, if part.contains('=') { Need::Optional } else { Need::Used });
            }
        }
    }
    if !text.contains(".env") || !["cleanEnv(", "z.object(", "createEnv("].iter().any(|s| text.contains(s)) {
        return;
    }
    for (row, line) in text.lines().enumerate() {
        if let Some(found) = SCHEMA_ROW.captures(line) {
            let optional = ["optional()", "default(", "default:", "nullish()", "nullable()", "devDefault"];
            let need = if optional.iter().any(|o| found[2].contains(o)) { Need::Optional } else { Need::Required };
            add(&found[1], row as u32 + 1, need);
        }
    }
}

fn python(text: &str, add: &mut impl FnMut(&str, u32, Need)) {
    let helper = ["decouple", "environs", "environ"]
        .iter()
        .any(|m| text.contains(&format!("import {m}")) || text.contains(&format!("from {m}")));
    let prefix = ENV_PREFIX.captures(text).map(|c| c[1].to_string()).unwrap_or_default();
    // pydantic's classes of settings, and those of this file that are made from them.
    let (mut settings, mut in_class) = (BTreeSet::from(["BaseSettings"]), false);
    for (row, line) in text.lines().enumerate().filter(|(_, l)| !is_comment(l)) {
        let at = row as u32 + 1;
        if helper {
            for found in PY_HELPER.captures_iter(line) {
                let after = found.get(0).map_or("", |m| &line[m.end()..]);
                let need = if after.trim_start().starts_with(',') { Need::Optional } else { Need::Required };
                add(&found[1], at, need);
            }
        }
        let class = PY_CLASS.captures(line).and_then(|c| Some((c.get(1)?.as_str(), c.get(2)?.as_str())));
        let is_settings = |(_, bases): &(&str, &str)| bases.split([',', '.', ' ']).any(|base| settings.contains(base));
        if let Some((name, _)) = class.filter(is_settings) {
            settings.insert(name);
            in_class = true;
        } else if !line.trim().is_empty() && !line.starts_with(' ') {
            in_class = false;
        } else if let Some(found) = SETTINGS_ROW.captures(line).filter(|_| in_class) {
            let optional = found.get(3).is_some()
                || found[2].contains("None")
                || found[2].contains("Optional")
                || found[2].contains("ClassVar");
            if !matches!(&found[1], "model_config" | "return" | "else" | "try") {
                let name = format!("{prefix}{}", &found[1]).to_uppercase();
                add(&name, at, if optional { Need::Optional } else { Need::Required });
            }
        }
    }
}

pub fn is_spring(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    matches!(extension, "properties" | "yml" | "yaml")
        && (stem == "application" || stem.starts_with("application-prod"))
}

/// Set by the run time, the platform or the shell; nobody writes them into a settings file.
pub fn is_of_the_platform(name: &str) -> bool {
    const NAMES: [&str; 52] = [
        "NODE_ENV",
        "PORT",
        "HOME",
        "PATH",
        "CI",
        "HOSTNAME",
        "USER",
        "USERNAME",
        "PWD",
        "TZ",
        "LANG",
        "SHELL",
        "TERM",
        "EDITOR",
        "TMPDIR",
        "TEMP",
        "TMP",
        "DEBUG",
        "MODE",
        "DEV",
        "PROD",
        "SSR",
        "BASE_URL",
        "NO_COLOR",
        "FORCE_COLOR",
        "COLORTERM",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "DYNO",
        "RAILS_ENV",
        "RACK_ENV",
        "APP_ENV",
        "FLASK_ENV",
        "FLASK_DEBUG",
        "FLASK_APP",
        "DJANGO_SETTINGS_MODULE",
        "GOPATH",
        "GOROOT",
        "RUST_LOG",
        "JAVA_HOME",
        "WINDIR",
        "APPDATA",
        "LOCALAPPDATA",
        "PROGRAMFILES",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "ANALYZE",
        "LD_LIBRARY_PATH",
    ];
    const PREFIXES: [&str; 17] = [
        "npm_",
        "NPM_",
        "VERCEL",
        "GITHUB_",
        "GITLAB_",
        "CI_",
        "NETLIFY",
        "KUBERNETES_",
        "CARGO_",
        "AWS_LAMBDA_",
        "LC_",
        "XDG_",
        "NEXT_RUNTIME",
        "RENDER_",
        "RAILWAY_",
        "FLY_",
        "__",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Need::*;

    fn check(path: &str, text: &str, expect: &[(&str, u32, Need)]) {
        let mut found = BTreeMap::new();
        collect(path, text, &mut found);
        let mut got: Vec<_> =
            found.iter().flat_map(|(n, us)| us.iter().map(move |u| (n.as_str(), u.line, u.need))).collect();
        got.sort_by_key(|(_, line, _)| *line);
        assert_eq!(got, expect, "{path}\n{text}");
    }

    #[test]
    fn javascript_reads() {
        check(
            "src/a.ts",
            "const a = process.env.API_URL\nconst b = process.env.B_URL || 'x'\nconst c = process.env['C_KEY']!\n\
             if (process.env.D_FLAG === 'on') {}\nprocess.env.E = 'x'\n// process.env.F\nconst g = import.meta.env.VITE_G ?? ''\n\
             const h = process.env.NODE_ENV\nif (!process.env.I) {}\nconst j = process.env.J as string\nconst k = z || process.env.K\n",
            &[
                ("API_URL", 1, Used),
                ("B_URL", 2, Optional),
                ("C_KEY", 3, Required),
                ("D_FLAG", 4, Optional),
                ("VITE_G", 7, Optional),
                ("I", 9, Optional),
                ("J", 10, Required),
                ("K", 11, Optional),
            ],
        );
        check(
            "a.js",
            "const {\n  A_URL, B_URL = 'x',\n} = process.env\n",
            &[("A_URL", 1, Used), ("B_URL", 1, Optional)],
        );
        check(
            "env.ts",
            "export const env = z.object({\n  DATABASE_URL: z.string().url(),\n  LOG: z.string().default('info'),\n}).parse(process.env)\n",
            &[("DATABASE_URL", 2, Required), ("LOG", 3, Optional)],
        );
    }

    /// What the code asks for before it uses it is no setting that production must have.
    #[test]
    fn a_variable_that_is_looked_at_first() {
        check(
            "a.ts",
            "const key = process.env.CAPTCHA_KEY;\n\nif (!key) {\n  return;\n}\n",
            &[("CAPTCHA_KEY", 1, Optional)],
        );
        check(
            "a.ts",
            "const key = process.env.API_KEY;\nif (!key) {\n  throw new Error('no key');\n}\n",
            &[("API_KEY", 1, Required)],
        );
        check(
            "a.ts",
            "const key = process.env.API_KEY;\nconst keys = 1;\nif (keys) {}\nuse(key)\n",
            &[("API_KEY", 1, Used)],
        );
        check(
            "a.ts",
            "if (process.env.PROMPT && good(process.env.PROMPT)) {\n  prompt = process.env.PROMPT;\n}\n",
            &[("PROMPT", 1, Optional), ("PROMPT", 1, Optional), ("PROMPT", 2, Optional)],
        );
        check("a.py", "dsn = os.getenv('DSN_URL')\nif dsn:\n    start(dsn)\n", &[("DSN_URL", 1, Optional)]);
        check(
            "a.go",
            "dsn := os.Getenv(\"DSN_URL\")\nif dsn == \"\" {\n\tlog.Fatal(\"no dsn\")\n}\n",
            &[("DSN_URL", 1, Required)],
        );
    }

    #[test]
    fn python_reads() {
        check(
            "a.py",
            "a = os.environ['A_KEY']\nb = os.environ.get('B', 'x')\nc = os.getenv(\"C_URL\")\nd = os.getenv('D') or 'x'\nos.environ['E'] = '1'\n",
            &[("A_KEY", 1, Required), ("B", 2, Optional), ("C_URL", 3, Used), ("D", 4, Optional)],
        );
        check(
            "settings.py",
            "from pydantic_settings import BaseSettings\nclass S(BaseSettings):\n    database_url: str\n    debug: bool = False\n    x: int | None\n\nx: str\nclass T(S):\n    api_key: str\n",
            &[("DATABASE_URL", 3, Required), ("X", 5, Optional), ("API_KEY", 9, Required)],
        );
        check(
            "conf.py",
            "from decouple import config\nA = config('SECRET_KEY')\nB = config('HOSTS', default='')\n",
            &[("SECRET_KEY", 2, Required), ("HOSTS", 3, Optional)],
        );
    }

    #[test]
    fn the_other_languages() {
        check(
            "a.rb",
            "ENV.fetch('A_KEY')\nENV.fetch('B') { 'x' }\nENV.fetch(\"C\", 1)\nENV['D_URL']\nENV['E'] ||= 'x'\nx if ENV['F'].present?\n",
            &[("A_KEY", 1, Required), ("B", 2, Optional), ("C", 3, Optional), ("D_URL", 4, Used), ("F", 6, Optional)],
        );
        check(
            "a.php",
            "<?php\n$a = env('A_KEY');\n$b = env('B', 'x');\n$c = getenv('C') ?: 'x';\n",
            &[("A_KEY", 2, Used), ("B", 3, Optional), ("C", 4, Optional)],
        );
        check(
            "a.go",
            "a := os.Getenv(\"A_URL\")\nb, ok := os.LookupEnv(\"B\")\n",
            &[("A_URL", 1, Used), ("B", 2, Optional)],
        );
        check(
            "b.go",
            "\tHost string `env:\"DB_HOST,required\"`\n\tPort int `env:\"DB_PORT\"`\n",
            &[("DB_HOST", 1, Required), ("DB_PORT", 2, Optional)],
        );
        check(
            "a.rs",
            "let a = env::var(\"A_URL\").expect(\"a\");\nlet b = std::env::var(\"B\").unwrap_or_default();\nif let Ok(c) = env::var(\"C\") {}\nlet d = env::var(\"D_URL\")?;\n",
            &[("A_URL", 1, Required), ("B", 2, Optional), ("C", 3, Optional), ("D_URL", 4, Required)],
        );
        check("A.java", "String a = System.getenv(\"A_URL\");\n", &[("A_URL", 1, Used)]);
        check(
            "A.cs",
            "var a = Environment.GetEnvironmentVariable(\"A_URL\");\nvar b = Environment.GetEnvironmentVariable(\"B\") ?? \"x\";\n",
            &[("A_URL", 1, Used), ("B", 2, Optional)],
        );
        check(
            "src/main/resources/application.yml",
            "url: ${DB_URL}\nuser: ${DB_USER:shop}\n",
            &[("DB_URL", 1, Required), ("DB_USER", 2, Optional)],
        );
    }
}
