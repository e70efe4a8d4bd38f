//! Which operations must ask who is there: deny by default (OWASP ASVS 5, 8.3.1). Pure.

use crate::gates::inventory::{Operation, covers};

/// Why an operation must be protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::gates::security) enum Why {
    /// Its document asks for credentials.
    Documented,
    /// It changes something.
    Changes,
    /// A word of its path: `admin`, `orders`.
    Word,
}

/// Pages that are for everybody, by the last word of their path.
const PUBLIC_LAST: [&str; 58] = [
    "",
    "health",
    "healthz",
    "livez",
    "live",
    "ready",
    "readyz",
    "readiness",
    "liveness",
    "ping",
    "status",
    "metrics",
    "version",
    "info",
    "login",
    "signin",
    "sign-in",
    "sign_in",
    "logon",
    "register",
    "signup",
    "sign-up",
    "sign_up",
    "reset",
    "forgot",
    "reset-password",
    "forgot-password",
    "password-reset",
    "password_reset",
    "forgot_password",
    "reset_password",
    "logout",
    "signout",
    "sign-out",
    "sign_out",
    "session",
    "sessions",
    "authenticate",
    "authorize",
    "callback",
    "refresh",
    "verify",
    "confirm",
    "csrf",
    "captcha",
    "consent",
    "favicon.ico",
    "robots.txt",
    "sitemap.xml",
    "manifest.json",
    "openapi.json",
    "openapi.yaml",
    "swagger.json",
    "docs",
    "redoc",
    "about",
    "contact",
    "search",
];
/// Everything below is.
const PUBLIC_BELOW: [&str; 13] = [
    ".well-known",
    "oauth",
    "oauth2",
    "static",
    "assets",
    "public",
    "css",
    "js",
    "img",
    "images",
    "fonts",
    "docs",
    "swagger-ui",
];
/// What is not for everybody.
const WORDS: [&str; 29] = [
    "admin",
    "user",
    "account",
    "me",
    "order",
    "invoice",
    "payment",
    "internal",
    "export",
    "upload",
    "setting",
    "tenant",
    "token",
    "profile",
    "customer",
    "billing",
    "member",
    "employee",
    "patient",
    "private",
    "backoffice",
    "dashboard",
    "audit",
    "secret",
    "apikey",
    "role",
    "permission",
    "address",
    "wallet",
];

/// May anybody ask for it? By its document, by the configuration, by what its path is called.
pub(in crate::gates::security) fn is_public(operation: &Operation, public: &[String]) -> bool {
    if covers(public, &operation.template) {
        return true;
    }
    match operation.guarded {
        Some(guarded) => !guarded,
        None => {
            let segments: Vec<String> = operation.template.split('/').map(str::to_ascii_lowercase).collect();
            let last = segments.iter().rev().find(|s| !s.starts_with('{')).map_or("", String::as_str);
            let file = last
                .rsplit_once('.')
                .is_some_and(|(_, end)| matches!(end, "css" | "js" | "png" | "svg" | "ico" | "txt" | "map"));
            let bare = segments.iter().all(|s| !s.starts_with('{'));
            file || bare && PUBLIC_LAST.contains(&last) || segments.iter().any(|s| PUBLIC_BELOW.contains(&s.as_str()))
        }
    }
}

/// `None`: nothing says that it is.
pub(in crate::gates::security) fn why(operation: &Operation, public: &[String]) -> Option<Why> {
    if is_public(operation, public) {
        return None;
    }
    if operation.guarded == Some(true) {
        return Some(Why::Documented);
    }
    if !operation.is_safe() {
        return Some(Why::Changes);
    }
    let words = operation.template.split(['/', '-', '_', '.']).map(str::to_ascii_lowercase);
    let is = |word: &str| WORDS.contains(&word) || word.strip_suffix('s').is_some_and(|one| WORDS.contains(&one));
    words.into_iter().any(|word| is(&word)).then_some(Why::Word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::inventory::Source;

    #[test]
    fn what_changes_or_holds_what_is_private_asks_who_is_there() {
        let why = |method: &str, template: &str, guarded: Option<bool>| {
            let operation = Operation { guarded, ..Operation::new(method, template, Source::Code) };
            super::why(&operation, &["/orders/public/*".to_string()])
        };
        for (method, template, guarded, expect) in [
            ("GET", "/", None, None),
            ("GET", "/teas", None, None),
            ("GET", "/teas", Some(true), Some(Why::Documented)),
            ("POST", "/teas", None, Some(Why::Changes)),
            ("POST", "/teas", Some(false), None),
            ("POST", "/users/login", None, None),
            ("GET", "/users/{id}", None, Some(Why::Word)),
            ("GET", "/api/v1/me", None, Some(Why::Word)),
            ("GET", "/api/v1/admin-panel", None, Some(Why::Word)),
            ("GET", "/menu", None, None),
            ("GET", "/orders/public/x", None, None),
            ("GET", "/static/orders.js", None, None),
            ("DELETE", "/sessions/{id}", None, Some(Why::Changes)),
        ] {
            assert_eq!(why(method, template, guarded), expect, "{method} {template}");
        }
    }
}
