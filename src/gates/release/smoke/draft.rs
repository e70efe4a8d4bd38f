//! A first smoke list from what the sources show: health, version, home, three top GET routes, login and one read after
//! it. Pure; people review it, because only they know what a page must say.

use super::super::shown::{Place, Shown};
use crate::domain::service::Profile;
use crate::gates::release::endpoints;

/// Routes besides the critical ones.
const TOP_ROUTES: usize = 3;

/// The text of the list and the number of its items.
pub fn draft(shown: &Shown, profile: Profile, endpoints: &endpoints::Config) -> (String, usize) {
    let mut items = Vec::new();
    let known = |aliases: &[String]| aliases.iter().find(|p| shown.has_path(p)).cloned();
    let place = |path: &str| {
        let seen = shown.routes.iter().find(|r| r.path.trim_end_matches('/') == path.trim_end_matches('/'));
        seen.map(|r| format!("   # {}", at(&r.place)))
    };
    let unseen = || Some("   # not found in the sources: write the path that answers".to_string());
    let pages = matches!(profile, Profile::WebApp | Profile::StaticSite | Profile::Auto);

    if profile != Profile::StaticSite {
        let path = known(&endpoints.health);
        let note = path.as_deref().map_or_else(unseen, place);
        let path = path.unwrap_or_else(|| "/health".into());
        items.push(item(
            "it is up",
            &path,
            note,
            &[
                "body_not = [\"<html\"]",
                "within = \"1s\"",
                "retry = \"60s\"    # the new instance may still be starting",
            ],
        ));
    }
    let path = known(&endpoints.version);
    let note = path.as_deref().map_or_else(unseen, place);
    let path = path.unwrap_or_else(|| "/version".into());
    items.push(item("this very release answers", &path, note, &["release = true", "retry = \"60s\""]));
    if pages {
        let text = shown.title.as_deref().map_or("</html>".to_string(), |t| t.replace(['"', '\\'], "."));
        let body = format!("body = [\"{text}\"]");
        items.push(item("the home page renders", "/", place("/"), &[&body, "assets = true", "follow = true"]));
    }
    let top: Vec<_> = shown.routes.iter().filter(|r| is_top(&r.path, endpoints)).take(TOP_ROUTES).collect();
    for route in &top {
        let expect: &[&str] = match route.path.starts_with("/api") {
            true => &["json = {}               # name a value that must be there", "body_not = [\"<html\"]"],
            false => &["body = [\"\"]            # a text that only this page has"],
        };
        items.push(item(
            &format!("{} answers", route.path),
            &route.path,
            Some(format!("   # {}", at(&route.place))),
            expect,
        ));
    }
    if let Some(sign) = shown.flows.get("login") {
        items.extend(login(shown, sign));
    }
    let head = "# What is asked right after a deploy, and on staging before it:\n\
                #   hypercare smoke run --url https://staging.example.com\n\
                # Review every line: the texts must be such that only the right page has them. Things that only a person can\n\
                # judge are items too: name, owner, steps. Format: docs/smoke.schema.json\n\
                limit = \"5m\"\n";
    (format!("{head}\n{}", items.join("\n")), items.len())
}

fn at((file, line): &Place) -> String {
    if *line == 0 { file.clone() } else { format!("{file}:{line}") }
}

fn item(name: &str, path: &str, note: Option<String>, lines: &[&str]) -> String {
    let request = format!("request = \"GET {path}\"{}", note.unwrap_or_default());
    format!("[[item]]\nname = \"{name}\"\n{request}\n{}\n", lines.join("\n"))
}

/// A plain page or a list of something: no parameter, no operators' endpoint, nothing that only a machine asks.
fn is_top(path: &str, endpoints: &endpoints::Config) -> bool {
    let operators = [&endpoints.health, &endpoints.ready, &endpoints.status, &endpoints.metrics, &endpoints.version];
    let known = operators.iter().any(|list| list.iter().any(|p| p == path.trim_end_matches('/')));
    let words = [
        "login", "logout", "signin", "sign_in", "signup", "callback", "webhook", "admin", "debug", "static", "favicon",
    ];
    let odd = words.iter().any(|w| path.to_ascii_lowercase().contains(w)) || path.contains('.');
    path.len() > 1 && !known && !odd
}

/// Login with an account made for it, and one read that needs it.
fn login(shown: &Shown, sign: &Place) -> Vec<String> {
    let paths =
        ["/login", "/api/login", "/auth/login", "/api/auth/login", "/users/sign_in", "/accounts/login", "/signin"];
    let path = paths.iter().find(|p| shown.has_path(p)).unwrap_or(&"/login");
    let reads = ["/me", "/api/me", "/account", "/profile", "/api/user", "/dashboard"];
    let read = reads.iter().find(|p| shown.has_path(p)).unwrap_or(&"/account");
    let sign_in = format!(
        "[[item]]\nname = \"somebody can log in\"\nrequest = \"POST {path}\"   # {}\n\
         send_form = {{ username = \"${{env:SMOKE_USER}}\", password = \"${{env:SMOKE_PASSWORD}}\" }}\nstatus = [200, 302, 303]\n\
         leaves = \"a session that ends by itself\"\n",
        at(sign)
    );
    let after = format!(
        "[[item]]\nname = \"who is logged in sees their own page\"\nrequest = \"GET {read}\"   # any page that needs a login\n\
         body = [\"\"]            # a text that only this page has\n"
    );
    vec![sign_in, after]
}

#[cfg(test)]
mod tests {
    use super::super::{Smoke, lines, problems};
    use super::*;
    use crate::gates::release::shown;
    use crate::gates::testing;

    #[test]
    fn what_it_writes_is_a_list() {
        let (_dir, repo) = testing::repo(&[
            (
                "src/app.js",
                "app.get('/healthz', h)\napp.get('/version', v)\napp.get('/api/products', p)\napp.get('/terms', t)\napp.post('/login', l)\napp.get('/api/me', m)\n",
            ),
            ("public/index.html", "<html><title>Tea \"shop\"</title>"),
        ]);
        let (text, count) = draft(&shown::look(&repo), Profile::WebApp, &Default::default());
        let smoke = Smoke::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(smoke.item.len(), count, "{text}");
        let requests: Vec<&str> = smoke.requests().filter_map(|i| i.request.as_deref()).collect();
        assert_eq!(
            requests,
            [
                "GET /healthz",
                "GET /version",
                "GET /",
                "GET /api/me",
                "GET /api/products",
                "GET /terms",
                "POST /login",
                "GET /api/me"
            ]
        );
        assert!(text.contains("request = \"GET /healthz\"   # src/app.js:1"), "{text}");
        let (fails, warns) = problems(&smoke, &lines(&text), "smoke.toml");
        assert!(fails.is_empty(), "{fails:#?}");
        // What only people know is left to them, and the gate says so until they have filled it in.
        assert!(warns.iter().all(|w| w.rule == "status-only"), "{warns:#?}");
    }

    #[test]
    fn nothing_known_is_still_a_list() {
        let (text, count) = draft(&Shown::default(), Profile::WebApi, &Default::default());
        assert_eq!((Smoke::parse(&text).unwrap().item.len(), count), (2, 2), "{text}");
    }
}
