//! The agreed matrix: a TOML file, a table per role, `allow` and `deny` with routes as the inventory names them. Pure but
//! for reading the file.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Cell;
use crate::gates::context::Repo;
use crate::gates::inventory::shape;

const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    allow: Vec<String>,
    deny: Vec<String>,
}

/// Role → route's method and shape → may it?
#[derive(Debug, Default)]
pub(super) struct Matrix(BTreeMap<String, BTreeMap<String, bool>>);

impl Matrix {
    /// `None`: there is none yet.
    pub(super) fn read(repo: &Repo, path: &str) -> Result<Option<Matrix>, String> {
        match repo.read_text(path, FILE_BYTES_MAX) {
            Ok(text) => Matrix::parse(&text).map(Some),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
        }
    }

    pub(super) fn parse(text: &str) -> Result<Matrix, String> {
        let tables: BTreeMap<String, Table> = toml::from_str(text).map_err(|e| e.to_string().trim().to_string())?;
        let mut out = Matrix::default();
        for (role, table) in tables {
            let cells = out.0.entry(role.clone()).or_default();
            for (routes, may) in [(&table.allow, true), (&table.deny, false)] {
                for route in routes {
                    let key =
                        key(route).ok_or_else(|| format!("[{role}] `{route}` is no route: write GET /path/{{id}}"))?;
                    if cells.insert(key, may).is_some_and(|other| other != may) {
                        return Err(format!("[{role}] both allows and denies {route}"));
                    }
                }
            }
        }
        Ok(out)
    }

    /// `None`: nobody has decided.
    pub(super) fn says(&self, role: &str, route: &str) -> Option<bool> {
        self.0.get(role)?.get(&key(route)?).copied()
    }
}

/// Names of parameters differ between a document and a source.
fn key(route: &str) -> Option<String> {
    let (method, template) = route.trim().split_once(' ')?;
    let template = template.trim();
    let method = if method == "ANY" { "GET" } else { method };
    template.starts_with('/').then(|| format!("{} {}", method.to_ascii_uppercase(), shape(template)))
}

/// What was seen, as a file to read, correct and commit.
pub(super) fn observed(cells: &BTreeMap<String, BTreeMap<String, Cell>>) -> String {
    let mut roles: BTreeMap<&str, [Vec<&str>; 2]> = BTreeMap::new();
    for (route, by_role) in cells {
        for (role, cell) in by_role {
            let lists = roles.entry(role).or_default();
            match cell {
                Cell::Allowed => lists[0].push(route),
                Cell::Denied => lists[1].push(route),
                Cell::Unknown => {}
            }
        }
    }
    let mut out = String::from(
        "# Who may read what, as it was observed. Read every line, correct what is wrong, and commit it: from then on a\n\
         # difference fails security.authz.\n",
    );
    for (role, [allow, deny]) in roles {
        out.push_str(&format!("\n[{}]\n", toml_key(role)));
        for (name, routes) in [("allow", allow), ("deny", deny)] {
            let lines: String = routes.iter().map(|route| format!("  {},\n", toml::Value::from(*route))).collect();
            out.push_str(&format!("{name} = [\n{lines}]\n"));
        }
    }
    out
}

fn toml_key(role: &str) -> String {
    let bare = !role.is_empty() && role.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { role.to_string() } else { toml::Value::from(role).to_string() }
}
