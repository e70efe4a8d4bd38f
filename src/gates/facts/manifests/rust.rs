//! `Cargo.toml`.

use std::sync::LazyLock;

use regex::Regex;

use super::{Around, Manifest, Scope};

static KEY: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*([A-Za-z0-9][A-Za-z0-9_-]*)(?:\.workspace)?\s*=").expect("a pattern of ours"));
static PACKAGE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"package\s*=\s*"([A-Za-z0-9_-]+)""#).expect("a pattern of ours"));

pub fn cargo(_: &str, text: &str, around: &Around) -> Manifest {
    let mut manifest = Manifest::default();
    let (mut section, mut bin) = (String::new(), None);
    for (i, line) in text.lines().enumerate() {
        if line.trim_start().starts_with('[') {
            section = line.split('#').next().unwrap_or_default().trim().trim_matches(['[', ']']).to_string();
            if section == "bin" {
                bin = Some(i as u32 + 1);
            }
            // `[dependencies.serde]`
            if let Some((table, name)) = section.rsplit_once('.')
                && let Some(scope) = scope(table)
            {
                manifest.add(name.to_string(), i, scope);
            }
            continue;
        }
        let Some(key) = KEY.captures(line) else { continue };
        if section == "package" && &key[1] == "name" {
            let name = line.split('"').nth(1).unwrap_or_default();
            manifest.name = Some((name.to_string(), i as u32 + 1));
        }
        let Some(scope) = scope(&section) else { continue };
        let name = PACKAGE.captures(line).map_or(key[1].to_string(), |renamed| renamed[1].to_string());
        let optional = line.contains("optional = true") && scope == Scope::Runs;
        manifest.add(name, i, if optional { Scope::Optional } else { scope });
    }
    let name_line = manifest.name.as_ref().map(|(_, line)| *line);
    let main = around.beside("src/main.rs") || around.below("src/bin");
    manifest.library = !main && bin.is_none() && around.beside("src/lib.rs") && !around.runs();
    manifest.commands = bin.or(name_line.filter(|_| main)).filter(|_| !around.runs());
    manifest
}

/// Of the tables whose keys are crates. A workspace's own table only says which version its members would get.
fn scope(section: &str) -> Option<Scope> {
    let table = section.rsplit('.').next().unwrap_or(section);
    match table {
        _ if section.starts_with("workspace") => None,
        "dependencies" => Some(Scope::Runs),
        "dev-dependencies" | "build-dependencies" => Some(Scope::Develops),
        _ => None,
    }
}
