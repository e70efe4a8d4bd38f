//! What the sources show of the product from outside: routes that can be asked for with a plain GET, and flows that people
//! go through (login, checkout, …). Each with file and line, from text alone: a sign, no proof. Tests, examples and
//! documents do not count.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::LazyLock;

use regex::{Regex, RegexSet};
use serde::{Deserialize, Serialize};

use crate::gates::code::role::Role;
use crate::gates::context::{Repo, SOURCE_FILE_BYTES_MAX, on_every_core};

/// Flows of the checklist, in its order.
pub const FLOWS: [&str; 8] =
    ["login", "logout", "signup", "password reset", "checkout", "error page", "permissions", "mobile layout"];

/// `file:line`; line 0 where the file's name is the sign.
pub type Place = (String, u32);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Route {
    /// Begins with `/`, holds no parameter.
    pub path: String,
    pub place: Place,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Shown {
    /// Sources and templates that ship.
    pub files: usize,
    /// By path, each once, where it was seen first.
    pub routes: Vec<Route>,
    /// Flows of [`FLOWS`] with the first sign of each.
    pub flows: BTreeMap<String, Place>,
    /// Text of the first `<title>` of an `index.html` or a like page.
    pub title: Option<String>,
}

impl Shown {
    pub fn has_path(&self, path: &str) -> bool {
        self.routes.iter().any(|r| r.path.trim_end_matches('/') == path)
    }
    pub fn has_flow(&self, flow: &str) -> bool {
        self.flows.contains_key(flow)
    }
}

const ENDINGS: [&str; 38] = [
    "js", "mjs", "cjs", "jsx", "ts", "tsx", "mts", "vue", "svelte", "astro", "py", "rb", "erb", "haml", "slim", "php",
    "twig", "go", "rs", "java", "kt", "cs", "cshtml", "razor", "html", "htm", "ejs", "hbs", "mustache", "pug", "jinja",
    "jinja2", "j2", "tmpl", "gohtml", "ex", "heex", "scala",
];

/// Routes that a smoke list could hold; more help nobody.
const ROUTES_MAX: usize = 2000;
const LINE_BYTES_MAX: usize = 500;

/// Blocking: reads every source that ships, on all processors, unless an earlier run has.
pub fn look(repo: &Repo) -> Shown {
    repo.known("release.shown", || read(repo))
}

fn read(repo: &Repo) -> Shown {
    let wanted: Vec<&str> =
        repo.files.iter().filter(|f| is_wanted(&f.path, f.bytes)).map(|f| f.path.as_str()).collect();
    let found = on_every_core(&wanted, |path| match repo.read(path, SOURCE_FILE_BYTES_MAX) {
        Ok(bytes) => of_file(path, &String::from_utf8_lossy(&bytes)),
        Err(_) => OfFile::default(),
    });
    let mut shown = Shown { files: wanted.len(), ..Shown::default() };
    for file in found {
        for (flow, place) in file.flows {
            match shown.flows.entry(flow.to_string()) {
                Entry::Vacant(free) => _ = free.insert(place),
                // A page called so says more than a path in some line.
                Entry::Occupied(mut held) if place.1 == 0 && held.get().1 > 0 => _ = held.insert(place),
                Entry::Occupied(_) => {}
            }
        }
        shown.routes.extend(file.routes);
        shown.title = shown.title.or(file.title);
    }
    shown.routes.sort();
    shown.routes.dedup_by(|a, b| a.path == b.path);
    shown.routes.truncate(ROUTES_MAX);
    shown
}

fn is_wanted(path: &str, bytes: u64) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, e)| e);
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    bytes <= SOURCE_FILE_BYTES_MAX && !hidden && ENDINGS.contains(&ending) && Role::of_path(path) == Role::Product
}

#[derive(Default)]
struct OfFile {
    routes: Vec<Route>,
    flows: Vec<(&'static str, Place)>,
    title: Option<String>,
}

/// (flow, names of pages, views and controllers, words of a route's last part, calls and settings of libraries)
const SIGNS: [(&str, &str, &str, &str); 8] = [
    (
        "login",
        "log[-_]?in|sign[-_]?in",
        "log[-_]?in|sign[-_]?in",
        r"\bdevise_for\b|\bLoginView\b|\.formLogin\(|\bNextAuth\(|Auth::routes\(|contrib\.auth\.urls|passport\.authenticate\(|\blogin_user\(",
    ),
    (
        "logout",
        "log[-_]?out|sign[-_]?out",
        "log[-_]?out|sign[-_]?out",
        r"\bdevise_for\b|\bLogoutView\b|\blogout_user\(",
    ),
    (
        "signup",
        "sign[-_]?up|register|registration",
        "sign[-_]?up|register|registration",
        r"\bdevise_for\b|\bUserCreationForm\b",
    ),
    (
        "password reset",
        "(forgot|reset)[-_]?password|password[-_]?reset",
        "(forgot|reset)[-_]?password|password[-_]?reset|password/(reset|forgot|new)|recover[-_]?password",
        r"\bPasswordResetView\b|contrib\.auth\.urls",
    ),
    ("checkout", "checkout", "checkout|check-out", r"checkout\.sessions\.create|\bStripe::Checkout\b"),
    (
        "error page",
        "404|500|_error|error|not[-_]?found|error[-_]?page|error[-_]?boundary|errors",
        "",
        r"\bErrorBoundary\b|\bhandler404\b|\bhandler500\b|\.errorhandler\(|\bsetNotFoundHandler\(|\brescue_from\b|\bexception_handler\(|config\.errorHandler\b|@ControllerAdvice|\berror_page\b",
    ),
    (
        "permissions",
        "",
        "",
        r"@PreAuthorize|\bhasRole\(|\bhasAuthority\(|permission_required|\bPermissionRequiredMixin\b|\bIsAdminUser\b|\binclude Pundit\b|load_and_authorize_resource|\bGate::define\(|\bCanCan\b|\brequireRole\(|\brequire_admin|\brequireAdmin\b|\bis_superuser\b|@RolesGuard|@Roles\(",
    ),
    ("mobile layout", "", "", r#"name=["']viewport["']|:name *=> *["']viewport|name: *["']viewport"#),
];

struct Signs {
    names: Vec<(&'static str, Regex)>,
    /// In the order of `flows`.
    lines: RegexSet,
    flows: Vec<&'static str>,
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of ours")
}

static SIGN: LazyLock<Signs> = LazyLock::new(|| {
    let mut signs = Signs { names: Vec::new(), lines: RegexSet::empty(), flows: Vec::new() };
    let mut lines = Vec::new();
    for (flow, name, route, call) in SIGNS {
        if !name.is_empty() {
            signs.names.push((flow, pattern(&format!("(?i)^({name})s?$"))));
        }
        if !route.is_empty() {
            // A path with a slash, or a bare word in a line that routes.
            lines.push(format!(r#"(?i)["'`(](?:[\w{{}}<>\[\]:.-]*/)+(?:{route})/?(?:\(|["'`)?])"#));
            signs.flows.push(flow);
            lines.push(format!(
                r#"\b(?:path|re_path|url|route|get|post|match|Mapping|any)\b *\(? *["'](?:{route})/?["']"#
            ));
            signs.flows.push(flow);
        }
        lines.push(call.to_string());
        signs.flows.push(flow);
    }
    signs.lines = RegexSet::new(lines).expect("patterns of ours");
    signs
});

/// Folders in which a file's name is the name of a page.
const PAGES: [&str; 11] = [
    "pages",
    "app",
    "views",
    "templates",
    "routes",
    "screens",
    "controllers",
    "resources",
    "components",
    "public",
    "src",
];

/// Each captures a path as group 1 (or 2).
static ROUTE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?x)
        (?: \.(?:get|GET|Get|route|HandleFunc|Handle|MapGet|add_url_rule)\( \s*
          | ::(?:get|view)\( \s*
          | @(?:GetMapping|RequestMapping|Get)\( \s* (?:value\s*=\s*|path\s*=\s*)? \{? \s*
          | ^\s* get \s+
          | ^\s* (?:path|url)\( \s*
        ) ["'`] (?:GET\ )? ( /? [A-Za-z0-9_./-]* ) ["'`]
        "#,
    )
});

/// Devices, hooks and machines register too, which is no page for people.
static NO_SIGNUP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)\b(push|devices?|web-?hooks?|agents?|nodes?|plugins?|services?|runners?|tokens?|clients?)/register")
});

static TITLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)<title>\s*([^<{%#\n]{2,80}?)\s*</title>"));

/// Lines without one of these hold no sign.
static HINTS: LazyLock<aho_corasick::AhoCorasick> = LazyLock::new(|| {
    let words = [
        "login",
        "log-in",
        "log_in",
        "signin",
        "sign-in",
        "sign_in",
        "logout",
        "log-out",
        "log_out",
        "signout",
        "sign-out",
        "sign_out",
        "signup",
        "sign-up",
        "sign_up",
        "register",
        "registration",
        "password",
        "checkout",
        "check-out",
        "errorboundary",
        "handler404",
        "handler500",
        "errorhandler",
        "setnotfoundhandler",
        "rescue_from",
        "exception_handler",
        "@controlleradvice",
        "error_page",
        "@preauthorize",
        "hasrole(",
        "hasauthority(",
        "permission_required",
        "permissionrequired",
        "isadminuser",
        "pundit",
        "load_and_authorize",
        "gate::define",
        "cancan",
        "requirerole(",
        "require_admin",
        "requireadmin",
        "is_superuser",
        "@rolesguard",
        "@roles(",
        "viewport",
        "devise_for",
        "nextauth(",
        "auth::routes",
        "contrib.auth.urls",
        "passport.authenticate",
        "stripe::checkout",
        "usercreationform",
        ".get(",
        ".route(",
        "handlefunc(",
        ".handle(",
        "mapget(",
        "add_url_rule(",
        "::get(",
        "::view(",
        "mapping(",
        "@get(",
        "get '",
        "get \"",
        "path(",
        "url(",
    ];
    aho_corasick::AhoCorasick::builder().ascii_case_insensitive(true).build(words).expect("words of ours")
});

fn of_file(path: &str, text: &str) -> OfFile {
    let mut out = OfFile::default();
    by_name(path, &mut out);
    for (row, line) in text.lines().enumerate().filter(|(_, l)| l.len() <= LINE_BYTES_MAX && HINTS.is_match(*l)) {
        let place = || (path.to_string(), row as u32 + 1);
        let code = line.trim_start();
        if ["//", "#", "*", "<!--", "{#", "{{--"].iter().any(|c| code.starts_with(c)) {
            continue;
        }
        if !line.contains("://") {
            let flows = SIGN.lines.matches(line).into_iter().map(|nth| SIGN.flows[nth]);
            out.flows.extend(flows.filter(|f| *f != "signup" || !NO_SIGNUP.is_match(line)).map(|flow| (flow, place())));
        }
        for found in ROUTE.captures_iter(line) {
            let Some(given) = found.get(1).map(|m| m.as_str()) else { continue };
            // Without a slash it is a route only where frameworks leave it out: Django's path(), Rails' get.
            let bare_allowed = path.ends_with("urls.py") || path.ends_with("routes.rb") || path.contains("/routes/");
            if given.starts_with('/') || bare_allowed {
                out.routes.push(Route { path: format!("/{}", given.trim_start_matches('/')), place: place() });
            }
        }
    }
    if path.ends_with(".html") || path.ends_with(".ejs") || path.ends_with(".erb") {
        out.title = TITLE.captures(text).map(|c| c[1].to_string());
    }
    out
}

/// What a page's place in the tree tells: `app/login/page.tsx`, `templates/404.html`, `sessions_controller.rb`.
fn by_name(path: &str, out: &mut OfFile) {
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default();
    let place = (path.to_string(), 0);
    let Some(at) = parts.iter().position(|p| PAGES.contains(p)) else { return };
    // Next: `app/(shop)/login/page.tsx` is /login.
    let mut below: Vec<&str> = parts[at + 1..].iter().copied().filter(|p| !p.starts_with('(')).collect();
    let is_page = matches!(stem, "page" | "index" | "+page");
    if !is_page {
        below.push(stem);
    }
    let script = ["tsx", "jsx", "ts", "js", "vue", "svelte", "astro"].iter().any(|e| file.ends_with(&format!(".{e}")));
    let next_page =
        script && ((parts.contains(&"pages") && !below.contains(&"api")) || stem == "page" || stem == "+page");
    if next_page && !below.iter().any(|p| p.starts_with(['[', '_', '@'])) {
        out.routes.push(Route { path: format!("/{}", below.join("/")), place: place.clone() });
    }
    if let Some(last) = below.last() {
        let bare = last.strip_suffix("_controller").or(last.strip_suffix("Controller")).unwrap_or(last);
        let bare = bare.strip_suffix("Page").or(bare.strip_suffix("View")).unwrap_or(bare);
        // A component called Error is no page; a file of that name in a folder of pages is.
        let in_pages = parts[at] != "src" && parts[at] != "components";
        for (flow, name) in &SIGN.names {
            if name.is_match(bare) && (in_pages || *flow != "error page") {
                out.flows.push((flow, place.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::testing;

    fn seen(files: &[(&str, &str)]) -> Shown {
        let (_dir, repo) = testing::repo(files);
        look(&repo)
    }

    #[test]
    fn routes_of_the_usual_frameworks() {
        let shown = seen(&[
            ("src/app.js", "app.get('/health', ok)\napp.get('/items/:id', x)\napp.post('/login', y)\n"),
            ("shop/views.py", "@app.route(\"/cart\")\ndef cart(): ...\n"),
            ("shop/urls.py", "urlpatterns = [\n    path('about/', about),\n    path('', home),\n]\n"),
            ("config/routes.rb", "  get 'terms', to: 'pages#terms'\n  get \"/up\" => \"x\"\n"),
            ("src/Web.java", "  @GetMapping(\"/vets\")\n"),
            ("main.go", "mux.HandleFunc(\"GET /version\", v)\n"),
            ("src/main.rs", "Router::new().route(\"/ready\", get(ready))\n"),
            ("routes/web.php", "Route::get('/faq', fn () => 1);\n"),
            ("app/(shop)/sale/page.tsx", "export default 1\n"),
            ("tests/app.js", "app.get('/only-in-a-test', ok)\n"),
            ("src/client.js", "cache.get('key')\nfetch('https://other.example/login')\n"),
        ]);
        let paths: Vec<&str> = shown.routes.iter().map(|r| r.path.as_str()).collect();
        assert_eq!(
            paths,
            ["/", "/about/", "/cart", "/faq", "/health", "/ready", "/sale", "/terms", "/up", "/version", "/vets"]
        );
        assert_eq!(shown.routes[2].place, ("shop/views.py".into(), 1));
    }

    #[test]
    fn flows_need_a_sign() {
        let check = |path: &str, text: &str, expect: &[&str]| {
            let shown = seen(&[(path, text)]);
            let mut expect = expect.to_vec();
            expect.sort_unstable();
            assert_eq!(shown.flows.keys().map(String::as_str).collect::<Vec<_>>(), expect, "{path}: {text}");
        };
        check("src/app.js", "app.post('/login', y)", &["login"]);
        check("src/app.js", "app.post('/api/v1/users/sign_in', y)", &["login"]);
        check("shop/urls.py", "path('logout/', out),", &["logout"]);
        check("config/routes.rb", "  devise_for :users", &["login", "logout", "signup"]);
        check("app/login/page.tsx", "", &["login"]);
        check("templates/404.html", "<p>", &["error page"]);
        check("index.html", "<meta name=\"viewport\" content=\"width=device-width\">", &["mobile layout"]);
        check("src/a.java", "@PreAuthorize(\"hasRole('ADMIN')\")", &["permissions"]);
        check("src/shop.ts", "router.push('/checkout')", &["checkout"]);
        check("app/controllers/password_resets_controller.rb", "", &["password reset"]);
        check("resources/views/auth/reset-password.blade.php", "", &["password reset"]);
        // A word is no flow.
        check("src/github.js", "const author = user.login; log('login failed')", &[]);
        check("src/error.rs", "pub enum Error {}", &[]);
        check("docs/login.html", "<a href='/login'>", &[]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in "[a-z/'\"`.@(){}<>:?=\u{e4}\n -]{0,80}") {
            let _ = of_file("app/x/login/page.tsx", &text);
        }
    }
}
