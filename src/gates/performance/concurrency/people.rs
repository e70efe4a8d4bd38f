//! Who signs in, where, and how an answer tells whose page it is.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value as Json;

use super::Config;
use crate::domain::secret::Revealed;
use crate::domain::units::count;
use crate::domain::verdict::Outcome;
use crate::gates::context::Repo;
use crate::gates::inventory::{Inventory, Operation};
use crate::load::users::{Ask, Tell, Whose};

/// One account.
pub struct Person {
    pub name: String,
    password: Revealed,
}

impl Person {
    pub fn login(&self, config: &Config, path: &str) -> Ask {
        let fields =
            [(config.username_field.as_str(), self.name.as_str()), (&config.password_field, self.password.expose())];
        let (kind, body) = config.format.body(fields);
        Ask { method: "POST", path: path.into(), content_type: Some(kind), body: Bytes::from(body) }
    }
}

/// Where users sign in, see themselves, and sign out.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Routes {
    pub login: Option<String>,
    pub me: Option<String>,
    /// Method and path.
    pub logout: Option<(&'static str, String)>,
}

const LOGINS: [&str; 7] = ["login", "signin", "sign-in", "sign_in", "log-in", "sessions", "authenticate"];
const PAGES: [&str; 8] = ["me", "whoami", "profile", "account", "current-user", "current_user", "userinfo", "session"];
const LOGOUTS: [&str; 5] = ["logout", "signout", "sign-out", "sign_out", "log-out"];

/// As configured; else by the last part of the routes' paths.
pub fn routes(config: &Config, inventory: &Inventory) -> Routes {
    let last = |op: &Operation| op.template.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_ascii_lowercase();
    let find = |words: &[&str], methods: &[&str]| {
        let called = |word: &&str| {
            let fits = |op: &&Operation| {
                last(op) == *word && methods.contains(&op.method.as_str()) && !op.template.contains('{')
            };
            inventory.operations.iter().find(fits)
        };
        words.iter().find_map(called)
    };
    let path = |op: &Operation| op.template.clone();
    let logout = match &config.logout {
        Some(said) => Some(match said.strip_prefix("GET ") {
            Some(path) => ("GET", path.to_string()),
            None => ("POST", said.clone()),
        }),
        None => find(&LOGOUTS, &["POST"])
            .map(|op| ("POST", path(op)))
            .or_else(|| find(&LOGOUTS, &["GET", "ANY"]).map(|op| ("GET", path(op)))),
    };
    Routes {
        login: config.login.clone().or_else(|| find(&LOGINS, &["POST", "ANY"]).map(path)),
        me: config.me.clone().or_else(|| find(&PAGES, &["GET", "ANY"]).map(path)),
        logout,
    }
}

/// Accounts are short; a thousand of them fit many times.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The accounts, each another; none where nobody signs in.
pub fn gather(config: &Config, routes: &Routes, repo: Option<&Repo>) -> Result<Vec<Person>, Box<Outcome>> {
    let wanted = config.users as usize;
    let error = |text: String, hint: &str| Box::new(Outcome::error("no-users", text).hint(hint));
    const HOW: &str = "make accounts hc-user-1 to hc-user-N on staging, then [gates.performance.concurrency] pattern = \
                       \"hc-user-{n}\" and password = \"${env:NAME}\", or file = \"users.csv\"";
    if let Some(file) = &config.file {
        let Some(repo) = repo else { return Err(error(format!("{file}: no repository to find it in"), HOW)) };
        let text = repo.read_text(file, FILE_BYTES_MAX).map_err(|e| {
            error(format!("{file}: {}", e.kind()), "name a file of the repository with one name,password a line")
        })?;
        let mut people = Vec::new();
        let mut known = std::collections::HashSet::new();
        for (row, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let Some((name, password)) = line.split_once(',') else {
                return Err(error(format!("{file}:{}: no comma", row + 1), "write name,password"));
            };
            let (name, password) = (name.trim().trim_matches('"'), password.trim().trim_matches('"'));
            let heading = row == 0 && password.eq_ignore_ascii_case("password");
            if !heading && known.insert(name.to_string()) {
                people.push(Person { name: name.into(), password: Revealed::new(password.into()) });
            }
        }
        if people.len() < wanted {
            let text = format!("{file} names {}, {wanted} are wanted", count(people.len(), "account"));
            return Err(error(text, "add accounts, or lower users"));
        }
        people.truncate(wanted);
        return Ok(people);
    }
    if let (Some(pattern), Some(password)) = (&config.pattern, &config.password) {
        let shown = |e: crate::domain::secret::SecretError| error(format!("password: {e}"), "set what it names");
        let password = password.reveal().map_err(shown)?;
        let one = |n: usize| Person { name: pattern.replace("{n}", &n.to_string()), password: password.clone() };
        return Ok((1..=wanted).map(one).collect());
    }
    match &routes.login {
        Some(path) => Err(error(format!("{path} signs people in, and no accounts are named"), HOW)),
        None => Ok(Vec::new()),
    }
}

/// Tells whose page an answer is by the names that it holds: of JSON whole values count, of a page its words.
pub fn tell(names: &[String]) -> Tell {
    let by_name: HashMap<String, usize> = names.iter().enumerate().map(|(n, name)| (name.to_lowercase(), n)).collect();
    Arc::new(move |user, body| {
        let mut named = Vec::new();
        match serde_json::from_slice::<Json>(body) {
            Ok(json) => leaves(&json, 0, &mut |text| named.extend(by_name.get(&text.to_lowercase()).copied())),
            Err(_) => {
                let text = String::from_utf8_lossy(body).to_lowercase();
                let part = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | '+'));
                named.extend(text.split(part).filter_map(|word| by_name.get(word.trim_matches('.')).copied()));
            }
        }
        match named.iter().find(|n| **n != user) {
            _ if named.contains(&user) => Whose::Own,
            Some(other) => Whose::Other(*other),
            None => Whose::Nobody,
        }
    })
}

/// Deeper than any page that names its user.
const DEPTH_MAX: usize = 8;

fn leaves(json: &Json, depth: usize, each: &mut impl FnMut(&str)) {
    match json {
        Json::String(text) => each(text),
        Json::Number(number) => each(&number.to_string()),
        Json::Array(items) if depth < DEPTH_MAX => items.iter().for_each(|item| leaves(item, depth + 1, each)),
        Json::Object(map) if depth < DEPTH_MAX => map.values().for_each(|item| leaves(item, depth + 1, each)),
        _ => {}
    }
}
