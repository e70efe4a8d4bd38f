//! What speaks of a flow: a tag (`@password-reset`), the words of a title in any spelling (`testLoginWorks`,
//! `logs_in`), or a route. Pure.

/// Lower-case words: `testLogin-works` → `test login works`, `/password/reset` → `password reset`.
pub fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for c in text.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            out.push(' ');
        }
        match c.is_alphanumeric() {
            true => out.extend(c.to_lowercase()),
            false if !out.ends_with(' ') => out.push(' '),
            false => {}
        }
        before = c;
    }
    out.trim().to_string()
}

/// Other words for the checklist's own flows.
const SAME: [(&str, &[&str]); 8] = [
    ("login", &["login", "log in", "logs in", "logging in", "signin", "sign in", "signs in"]),
    ("logout", &["logout", "log out", "logs out", "logging out", "signout", "sign out", "signs out", "signing out"]),
    (
        "signup",
        &[
            "signup",
            "sign up",
            "signs up",
            "signing up",
            "registration",
            "register user",
            "registers user",
            "register a user",
            "registers a user",
            "register a new user",
            "register account",
            "register an account",
            "registers an account",
            "user registers",
            "user can register",
            "create account",
            "create an account",
            "creates an account",
        ],
    ),
    (
        "password reset",
        &[
            "password reset",
            "reset password",
            "resets password",
            "reset the password",
            "forgot password",
            "forgotten password",
            "password recovery",
            "resets the password",
            "reset their password",
        ],
    ),
    ("checkout", &["checkout", "check out", "checks out", "checking out"]),
    (
        "error page",
        &[
            "error page",
            "error pages",
            "404",
            "page not found",
            "not found page",
            "500",
            "error boundary",
            "error handling",
        ],
    ),
    (
        "permissions",
        &[
            "permission",
            "permissions",
            "forbidden",
            "403",
            "unauthorized",
            "authorization",
            "authorisation",
            "access control",
            "roles",
            "admin only",
            "not allowed",
        ],
    ),
    (
        "mobile layout",
        &[
            "mobile layout",
            "on mobile",
            "mobile view",
            "mobile viewport",
            "mobile screen",
            "mobile menu",
            "mobile nav",
            "mobile navigation",
            "mobile chrome",
            "mobile safari",
            "responsive",
            "small screen",
            "viewport",
            "iphone",
            "pixel 5",
            "phone layout",
        ],
    ),
];

/// Does a title, a tag or a checklist's item speak of the flow?
pub fn speaks_of(text: &str, flow: &str) -> bool {
    Flow::new(flow).is_in(&spoken(text))
}

/// [`words`] with a blank at either end, for [`Flow::is_in`].
pub fn spoken(text: &str) -> String {
    // `login required` is about another page's door.
    format!(" {} ", words(text)).replace(" login required ", " ")
}

/// All that a flow is called, to be looked for in many texts.
pub struct Flow {
    phrases: Vec<String>,
    signup: bool,
}

impl Flow {
    pub fn new(name: &str) -> Flow {
        let own = words(name);
        let same = SAME.iter().filter(|(name, _)| *name == own).flat_map(|(_, same)| *same).map(|s| s.to_string());
        let phrases = same.chain([own.clone()]).filter(|phrase| !phrase.is_empty());
        Flow { signup: own == "signup", phrases: phrases.map(|phrase| format!(" {phrase} ")).collect() }
    }

    pub fn is_in(&self, spoken: &str) -> bool {
        self.phrases.iter().any(|phrase| spoken.contains(phrase.as_str())) || self.signup && registers(spoken)
    }
}

/// `/register`, `registers with …`; but a program registers callbacks, transforms and listeners.
fn registers(spoken: &str) -> bool {
    [" register ", " registers "].iter().any(|word| {
        let rests = spoken.split(word).skip(1);
        rests
            .into_iter()
            .any(|rest| rest.is_empty() || ["with ", "page", "form", "as "].iter().any(|w| rest.starts_with(w)))
    })
}

/// The tag that a flow's tests may carry.
pub fn tag(flow: &str) -> String {
    words(flow).replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_tags_and_routes() {
        for (text, flow) in [
            ("testLoginWorks", "login"),
            ("user logs in with a good password", "login"),
            ("TestSignIn/wrong_password", "login"),
            ("a basket is paid @checkout", "checkout"),
            ("@password-reset mail arrives", "password reset"),
            ("GET /password/reset", "password reset"),
            ("LoginTest should_log_out", "logout"),
            ("shows the 404 page", "error page"),
            ("Gift cards › redeem", "gift cards"),
            ("test_register_user", "signup"),
            ("/register", "signup"),
            ("registers with a good e-mail", "signup"),
            ("shows page not found", "error page"),
        ] {
            assert!(speaks_of(text, flow), "{text}: {flow}");
        }
        for (text, flow) in [
            ("logged in user sees the catalogue", "login"),
            ("blogin", "login"),
            ("resets the counter", "password reset"),
            ("checks the out tray", "checkout"),
            ("anything", ""),
            ("should prevent out-of-order signing in sequential mode", "login"),
            ("test_media_login_required", "login"),
            ("saves the mobile device of a user", "mobile layout"),
            ("can register transforms before updates", "signup"),
            ("test_update_script_module_not_found", "error page"),
        ] {
            assert!(!speaks_of(text, flow), "{text}: {flow}");
        }
        assert_eq!(tag("password reset"), "password-reset");
    }

    proptest::proptest! {
        #[test]
        fn words_are_stable(text in "[a-zA-Z0-9\u{e4}\u{d6} _/@.-]{0,40}") {
            let once = words(&text);
            proptest::prop_assert_eq!(words(&once), once);
        }
    }
}
