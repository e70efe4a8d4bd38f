//! The verdict on what the browser has shown. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value as Json, json};

use super::ABOUT;
use super::errors::{self, Errors};
use super::look::{Case, Fault, MARK, PageSeen, Recovery, Shown};
use crate::domain::verdict::{Confidence, Finding, Outcome, Severity, Tier};
use crate::gates::web;

/// Fewer visible characters are a blank page.
const TEXT_CHARS_MIN: usize = 20;
/// Above this two texts are the same page.
const SAME: f64 = 0.9;

pub(super) struct Seen {
    pub(super) pages: Vec<PageSeen>,
    pub(super) errors: Errors,
    /// Hosts that pages wanted and did not get.
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) trouble: Option<String>,
    pub(super) browser: String,
    /// Where the sources declare an error boundary.
    pub(super) boundary: Option<String>,
    pub(super) pictures: Vec<(String, String)>,
}

/// What one case shows against the whole page. Several may hold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fall {
    Blank,
    Raw,
    Spinner,
    /// Nothing says that anything is wrong, and an error went uncaught.
    Unhandled,
    /// Nothing says that anything is wrong.
    Silent,
    NoWayOn,
    Uncaught,
    NoRole,
}

impl Fall {
    fn rule(self) -> &'static str {
        match self {
            Fall::Blank => "blank-page",
            Fall::Raw => "raw-error",
            Fall::Spinner => "dead-spinner",
            Fall::Unhandled => "unhandled",
            Fall::Silent => "silent",
            Fall::NoWayOn => "no-way-on",
            Fall::Uncaught => "uncaught",
            Fall::NoRole => "no-role",
        }
    }
    fn severity(self) -> Severity {
        match self {
            Fall::Blank | Fall::Raw | Fall::Spinner | Fall::Unhandled => Severity::High,
            Fall::Silent | Fall::NoWayOn | Fall::Uncaught => Severity::Medium,
            Fall::NoRole => Severity::Low,
        }
    }
    fn says(self) -> &'static str {
        match self {
            Fall::Blank => "goes blank",
            Fall::Raw => "shows a raw error",
            Fall::Spinner => "loads for ever",
            Fall::Unhandled => "says nothing and leaves an error uncaught",
            Fall::Silent => "says nothing",
            Fall::NoWayOn => "shows a message without a way on",
            Fall::Uncaught => "leaves an error uncaught",
            Fall::NoRole => "says so, but not to screen readers",
        }
    }
    fn fix(self) -> &'static str {
        match self {
            Fall::Blank => "wrap it in an error boundary with a message and a retry",
            Fall::Raw => "show words of your own; keep stack and body for the log",
            Fall::Spinner => "end the loading state in the error branch, and give each call a timeout",
            Fall::Unhandled | Fall::Silent => "catch the error and say what is wrong, with a retry",
            Fall::NoWayOn => "add a retry, a link home, or a login",
            Fall::Uncaught => "catch it where the message is shown",
            Fall::NoRole => "give the message role=\"alert\" (or status), or move the focus to it",
        }
    }
}

static TELLS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b(?:sorry|oops|error|fail(?:ed|ure)?|unavailable|offline|unable|problem|wrong|retry|maintenance|expired|",
        r"try again|(?:could|can|did)(?:\s?not|n['’]t)|no connection|timed? ?out|not available|unauthori[sz]ed|",
        r"(?:sign|log) ?in|session|fehler|leider|nicht|verbindung|anmelden|erreur|d[ée]sol[ée]|",
        r"impossible|connexion|lo sentimos|errore|spiacenti|helaas|fout)\b"
    ))
    .expect("fixed")
});
static WAY_ON: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)retry|again|reload|refresh|home|back|start|log ?in|sign ?in|support|contact|help|continue|erneut|nochmal|",
        r"neu laden|zur[üu]ck|anmelden|r[ée]essayer|accueil|retour|reintentar|inicio|riprova"
    ))
    .expect("fixed")
});
static LOADING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?im)(?:^|\s)(?:loading|please wait|l[äa]dt|wird geladen|bitte warten|chargement|cargando|caricamento)[^\n]{0,20}(?:…|\.{2,3}|$)")
        .expect("fixed")
});
/// What engines say, where people should read words of ours.
static RAW: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"\b(?:TypeError|SyntaxError|ReferenceError|RangeError|AxiosError|ChunkLoadError)\b|Unexpected (?:token|end of)|",
        r"is not valid JSON|Unterminated string|Cannot read propert|is not a function|\[object \w+\]|Failed to fetch|",
        r"NetworkError when attempting|status code 5\d\d|(?m)^\s+at \S+ \(?https?://"
    ))
    .expect("fixed")
});

fn is_raw(text: &str) -> bool {
    let json = || text.starts_with(['{', '[']) && serde_json::from_str::<Json>(text).is_ok();
    text.contains(MARK) || RAW.is_match(text) || errors::has_trace(text) || json()
}

/// Does `now` show what the page shows when all is well? Words with digits (times, counts) aside.
pub(super) fn is_whole(whole: &Shown, now: &Shown) -> bool {
    web::similarity(&whole.text, &now.text) >= SAME && now.alerts.len() <= whole.alerts.len()
}

/// Numbers differ from load to load.
fn masked(line: &str) -> String {
    line.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What is wrong with a page under a fault; nothing: it is graceful.
pub(super) fn of_case(whole: &Case, now: &Case, fault: Fault) -> Vec<Fall> {
    let usual: BTreeSet<String> = whole.errors.iter().map(|e| masked(e)).collect();
    let uncaught = now.errors.iter().any(|e| !usual.contains(&masked(e)));
    let shown = &now.shown;
    let text = shown.text.trim();
    if text.chars().count() < TEXT_CHARS_MIN {
        // A page that shows a picture alone is not blank because its text is.
        let always = whole.shown.text.trim().chars().count() < TEXT_CHARS_MIN;
        if !always {
            return vec![Fall::Blank];
        }
    }
    let before: BTreeSet<&str> = whole.shown.text.lines().map(str::trim).collect();
    let news: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty() && !before.contains(l)).collect();
    let news = news.join("\n");
    if is_raw(&news) || now.shown.alerts.iter().any(|a| is_raw(a)) {
        return vec![Fall::Raw];
    }
    let told = shown.alerts.iter().any(|a| !whole.shown.alerts.contains(a) && !LOADING.is_match(a));
    let login = shown.login && !whole.shown.login || (fault == Fault::Unauthorised && shown.url != whole.shown.url);
    let message = told || TELLS.is_match(&news) || login;
    let waits = shown.busy > whole.shown.busy || LOADING.is_match(&news);
    if waits && !message {
        return vec![Fall::Spinner];
    }
    if !message {
        return match (uncaught, is_whole(&whole.shown, shown)) {
            // It does not need what failed.
            (false, true) => Vec::new(),
            (true, true) => vec![Fall::Uncaught],
            (true, false) => vec![Fall::Unhandled],
            (false, false) => vec![Fall::Silent],
        };
    }
    let mut falls = Vec::new();
    let way_on = login
        || shown.buttons.iter().chain(&shown.links).any(|label| WAY_ON.is_match(label))
        || !shown.links.is_empty();
    if !way_on {
        falls.push(Fall::NoWayOn);
    }
    if uncaught {
        falls.push(Fall::Uncaught);
    }
    if !told && !login && !shown.focused {
        falls.push(Fall::NoRole);
    }
    falls
}

fn finding(rule: &str, severity: Severity, path: &str, message: String) -> Finding {
    Finding::new(rule, severity, message).identified_by(&[ABOUT.id, rule, path]).route(format!("GET {path}"))
}

/// `500, 503 or silence`: one finding a page and rule, with every fault that shows it.
fn of_page(page: &PageSeen) -> Vec<Finding> {
    let Ok(whole) = &page.whole else { return Vec::new() };
    let mut out = Vec::new();
    if whole.shown.text.trim().is_empty() && whole.shown.busy == 0 && !whole.errors.is_empty() {
        let what = format!("{} is blank without any fault of ours: {}", page.path, whole.errors[0]);
        out.push(finding("broken-page", Severity::High, &page.path, what).fix("mend the script that throws"));
    } else if let Some(first) = whole.errors.first() {
        let what = format!("{} leaves an error uncaught without any fault of ours: {first}", page.path);
        let note = finding("uncaught-always", Severity::Low, &page.path, what).confidence(Confidence::Medium);
        out.push(note.fix("mend or catch it"));
    }
    let mut by_fall: BTreeMap<Fall, Vec<Fault>> = BTreeMap::new();
    let mut by_recovery: BTreeMap<&str, Vec<Fault>> = BTreeMap::new();
    for (fault, case) in &page.faults {
        let Ok(case) = case else { continue };
        for fall in of_case(whole, case, *fault) {
            by_fall.entry(fall).or_default().push(*fault);
        }
        match case.recovery {
            Some(Recovery::Never) => by_recovery.entry("stuck").or_default().push(*fault),
            Some(Recovery::RetryDead) => by_recovery.entry("retry-dead").or_default().push(*fault),
            _ => {}
        }
    }
    let call = whole.calls.first().map_or("the API", String::as_str);
    let when = |faults: &[Fault]| faults.iter().map(|f| f.words()).collect::<Vec<_>>().join(", ");
    for (fall, faults) in by_fall {
        let what = format!("{} {} when {call} {}", page.path, fall.says(), when(&faults));
        out.push(finding(fall.rule(), fall.severity(), &page.path, what).fix(fall.fix()));
    }
    for (rule, faults) in by_recovery {
        let (severity, says, fix) = match rule {
            "stuck" => (Severity::High, "stays broken once the API is back", "do not keep the failure in storage"),
            _ => {
                (Severity::Medium, "has a retry that does nothing once the API is back", "ask again when it is pressed")
            }
        };
        let what = format!("{} {says} (after: the API {})", page.path, when(&faults));
        out.push(finding(rule, severity, &page.path, what).fix(fix));
    }
    out
}

pub(super) fn judge(seen: &Seen) -> Outcome {
    let mut findings: Vec<Finding> = seen.pages.iter().flat_map(of_page).collect();
    findings.extend(errors::of_pages(&seen.errors));
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    let cases = |page: &PageSeen| 1 + page.faults.len() as u64;
    let ok = |page: &PageSeen| {
        u64::from(page.whole.is_ok()) + page.faults.iter().filter(|(_, case)| case.is_ok()).count() as u64
    };
    let known = 1 + seen.pages.iter().map(cases).sum::<u64>();
    let looked: u64 = seen.pages.iter().map(ok).sum();
    let covered = 1 + looked;
    let evidence = evidence(seen);
    if looked == 0 {
        let why = seen.pages.iter().find_map(|p| p.whole.as_ref().err().cloned());
        let why = seen.trouble.clone().or(why).unwrap_or_else(|| "no page was looked at".into());
        return Outcome::error("not-loaded", format!("no page could be loaded in the browser: {why}"))
            .hint("open the page in a browser by hand, and see what it lacks")
            .findings(findings)
            .evidence("pages", evidence);
    }
    let calling = seen.pages.iter().filter(|p| !p.faults.is_empty()).count();
    let outcome = match findings.iter().map(|f| f.severity).max() {
        Some(Severity::High | Severity::Critical) => Outcome::fail(findings[0].message.clone()),
        Some(Severity::Low | Severity::Medium) => Outcome::warn(findings[0].message.clone()),
        _ if calling == 0 => Outcome::pass(format!(
            "{} pages make no API calls that could fail, and an unknown address gets a page with 404",
            seen.pages.len()
        )),
        _ => Outcome::pass(format!(
            "{calling} of {} pages call an API; each stays usable under {} faults and recovers",
            seen.pages.len(),
            Fault::ALL.len()
        )),
    };
    let outcome = match findings.first() {
        Some(first) => {
            let see = seen.boundary.as_ref().map(|place| format!(", see {place}")).unwrap_or_default();
            outcome.hint(format!("{}: {}{see}", first.message, first.fix))
        }
        None => outcome,
    };
    outcome.covered(covered, known).tier(Tier::E3).findings(findings).evidence("pages", evidence)
}

/// Texts are cut: they are the product's, and only their beginning tells anything.
fn evidence(seen: &Seen) -> Json {
    let cut = |text: &str| text.chars().take(300).collect::<String>();
    let case = |case: &Result<Case, String>| match case {
        Err(why) => json!({ "error": why }),
        Ok(c) => json!({
            "text": cut(&c.shown.text), "chars": c.shown.text.chars().count(), "alerts": c.shown.alerts, "busy": c.shown.busy,
            "buttons": c.shown.buttons, "calls": c.calls, "errors": c.errors, "console": c.console,
            "recovery": c.recovery,
        }),
    };
    let pages: Vec<Json> = seen
        .pages
        .iter()
        .map(|p| {
            let faults: Vec<Json> = p.faults.iter().map(|(f, c)| json!({ "fault": f, "seen": case(c) })).collect();
            json!({ "path": p.path, "whole": case(&p.whole), "faults": faults })
        })
        .collect();
    json!({
        "browser": seen.browser, "pages": pages, "refused_hosts": seen.refused, "trouble": seen.trouble,
        "declared": seen.boundary, "pictures": seen.pictures, "unknown": errors::record(&seen.errors),
    })
}
