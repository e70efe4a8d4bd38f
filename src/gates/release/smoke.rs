//! `smoke.toml`: what is asked right after a deploy, on staging and at minute 0 of the launch. One list of items, each a
//! request with what must come back, a page for a browser, or a step for a named person.
//!
//! `want.rs` compares answers, `page.rs` looks at what a page names, `walk.rs` asks, `draft.rs` writes a first list.
//! The format's schema is `docs/smoke.schema.json`.

pub mod draft;
mod page;
pub mod walk;
pub mod want;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::domain::units::Span;
use crate::domain::verdict::{Finding, Severity};
use want::Want;

/// The file's usual name.
pub const FILE: &str = "smoke.toml";
/// A list of the length that fits into five minutes is far shorter.
pub const FILE_BYTES_MAX: u64 = 256 * 1024;
const ITEMS_MAX: usize = 200;

/// `smoke.toml`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Smoke {
    /// All items together may take so long. Default: 5m, the checklist's number.
    pub limit: Option<Span>,
    /// In this order; an item may use what an earlier one saved.
    #[serde(default)]
    pub item: Vec<Item>,
}

/// One `[[item]]`: exactly one of `request`, `ui`, or `owner` with `steps`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Item {
    /// What must work, in the users' words.
    pub name: String,
    /// Method and path: `GET /health`. `{run}`, `{version}`, `{commit}` and saved names are filled in, here and in
    /// everything that is sent.
    pub request: Option<String>,
    /// A page that a browser must show: `/cart`.
    pub ui: Option<String>,
    /// The person who does the steps, or who looks at the page where there is no browser.
    pub owner: Option<String>,
    /// What that person does and must see.
    pub steps: Option<String>,
    /// Headers to send. Secrets as `${env:SMOKE_…}`, never as they are.
    pub headers: BTreeMap<String, String>,
    /// JSON to send.
    pub send_json: Option<Json>,
    /// Form fields to send.
    pub send_form: BTreeMap<String, String>,
    /// Follow redirects on the same host. Default: false, a redirect is the answer.
    pub follow: bool,
    /// Statuses that are right. Default: [200].
    pub status: Vec<u16>,
    /// Headers that must be there: a part of the value, or /a regular expression/.
    pub header: BTreeMap<String, String>,
    /// Texts that the body must hold: a part, or /a regular expression/.
    pub body: Vec<String>,
    /// Texts that it must not hold.
    pub body_not: Vec<String>,
    /// Values by their path in the JSON body, `items[0].name`: equal, /matching/, or a table of `min`, `max`, `contains`,
    /// `exists`, `length_min`.
    pub json: BTreeMap<String, Want>,
    /// The body must name the version or the commit that is released.
    pub release: bool,
    /// Every script and style sheet that the page names must be there, and be no page.
    pub assets: bool,
    /// One answer may take so long. Default: 5s, at most 10s.
    pub within: Option<Span>,
    /// Ask again until it is right, for so long. Default: once.
    pub retry: Option<Span>,
    /// Names for later items, by path in the JSON body: `order = "id"`.
    pub save: BTreeMap<String, String>,
    /// The request that takes back what this one made: `DELETE /api/orders/{order}`.
    pub cleanup: Option<String>,
    /// What a request that writes leaves behind although nothing takes it back, and why that is no harm: `a session`.
    pub leaves: Option<String>,
}

const WITHIN: Duration = Duration::from_secs(5);
pub const WITHIN_MAX: Duration = Duration::from_secs(10);
pub const LIMIT: Duration = Duration::from_secs(300);

impl Smoke {
    /// An error names line and reason.
    pub fn parse(text: &str) -> Result<Smoke, String> {
        toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
            format!("line {line}: {}", e.message().lines().next().unwrap_or_default())
        })
    }

    pub fn limit(&self) -> Duration {
        self.limit.map_or(LIMIT, |l| l.get())
    }

    /// The longest that all machine items may take together.
    pub fn longest(&self) -> Duration {
        self.item.iter().filter(|i| i.request.is_some()).map(Item::longest).sum()
    }

    /// Items that the machine asks.
    pub fn requests(&self) -> impl Iterator<Item = &Item> {
        self.item.iter().filter(|i| i.request.is_some())
    }
}

/// Line of each `[[item]]`, from 1.
pub fn lines(text: &str) -> Vec<u32> {
    let begins = |line: &str| line.trim_start().starts_with("[[") && line.replace(' ', "").starts_with("[[item]]");
    text.lines().enumerate().filter(|(_, l)| begins(l.trim_start())).map(|(n, _)| n as u32 + 1).collect()
}

impl Item {
    /// Method and path of the request.
    pub fn method_and_path(&self) -> Option<(&str, &str)> {
        split(self.request.as_deref()?)
    }
    pub fn statuses(&self) -> &[u16] {
        if self.status.is_empty() { &[200] } else { &self.status }
    }
    pub fn within(&self) -> Duration {
        self.within.map_or(WITHIN, |w| w.get())
    }
    pub fn writes(&self) -> bool {
        self.method_and_path().is_some_and(|(method, _)| !matches!(method, "GET" | "HEAD" | "OPTIONS"))
    }
    fn longest(&self) -> Duration {
        let cleanup = if self.cleanup.is_some() { self.within() } else { Duration::ZERO };
        self.retry.map_or(Duration::ZERO, |r| r.get()) + self.within() + cleanup
    }
    /// Does it look at what came back, beyond status and headers?
    pub fn reads_the_body(&self) -> bool {
        // A draft leaves blank what only people know.
        let says = |text: &String| !text.trim().is_empty();
        self.release
            || self.body.iter().any(says)
            || !self.json.is_empty()
            || self.body_not.iter().any(|text| text.contains('<'))
    }
}

/// `GET /health` in two.
fn split(request: &str) -> Option<(&str, &str)> {
    let (method, path) = request.trim().split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    let path = path.trim();
    (is_method && path.starts_with('/') && !path.starts_with("//") && !path.contains([' ', '\\']))
        .then_some((method, path))
}

/// What is wrong with the list itself: (what fails, what warns), each at its item's line in `file`.
pub fn problems(smoke: &Smoke, lines: &[u32], file: &str) -> (Vec<Finding>, Vec<Finding>) {
    let (mut fails, mut warns) = (Vec::new(), Vec::new());
    let place = |nth: usize, finding: Finding| match lines.get(nth) {
        Some(line) => finding.at(file, *line, 1),
        None => finding.in_file(file),
    };
    for (nth, item) in smoke.item.iter().enumerate().take(ITEMS_MAX) {
        let say = |rule: &str, severity, text: &str, fix: &str| {
            let finding = Finding::new(rule, severity, format!("{}: {text}", shown(item))).fix(fix);
            place(nth, finding.identified_by(&[rule, &item.name]))
        };
        let mut fail = |rule: &str, text: &str, fix: &str| fails.push(say(rule, Severity::High, text, fix));
        if item.request.is_none() && item.ui.is_none() && item.owner.as_deref().is_none_or(|o| o.trim().is_empty()) {
            fail(
                "not-executable",
                "neither a request nor a person who does it",
                "write request = \"GET /…\", or owner = \"name\"",
            );
        }
        if item.request.is_some() && item.method_and_path().is_none() {
            fail("not-executable", "the request is not METHOD /path", "write for example request = \"GET /health\"");
        }
        if item.writes() && item.cleanup.is_none() && item.leaves.is_none() {
            let text = "writes, and nothing takes it back: every deploy leaves its data behind";
            fail(
                "no-cleanup",
                text,
                "write cleanup = \"DELETE /…/{id}\", or leaves = \"what stays, and why that is no harm\"",
            );
        }
        if item.cleanup.as_deref().is_some_and(|c| split(c).is_none()) {
            fail(
                "not-executable",
                "cleanup is not METHOD /path",
                "write for example cleanup = \"DELETE /api/orders/{order}\"",
            );
        }
        if let Some(name) = want::foreign_secret(item) {
            let text = format!("asks for the variable {name}");
            fail("foreign-secret", &text, "only variables that begin with SMOKE_ are given to a list in a repository");
        }
        for text in item.body.iter().chain(&item.body_not).chain(item.header.values()) {
            if let Err(why) = want::check(text) {
                fail("not-executable", &format!("`{text}` is no regular expression: {why}"), "mend it");
            }
        }
        let plain_get = item.method_and_path().is_some() && item.statuses().iter().all(|s| (200..300).contains(s));
        if plain_get && !item.reads_the_body() && !item.assets && item.statuses() != [204] {
            let text = "looks at the status alone: a page that answers everything with 200 passes";
            warns.push(say(
                "status-only",
                Severity::Medium,
                text,
                "add body = [\"a text that only this page has\"] or json",
            ));
        }
        if item.within() > WITHIN_MAX {
            warns.push(say(
                "too-patient",
                Severity::Low,
                "waits longer than the 10 s that a request may take",
                "write within = \"10s\" and retry",
            ));
        }
    }
    if smoke.item.is_empty() {
        fails.push(
            Finding::new("empty", Severity::High, "the list has no item")
                .in_file(file)
                .fix("hypercare smoke init --force writes one"),
        );
    }
    if smoke.longest() > smoke.limit() {
        let text = format!("the items may take {} together, more than {}", Span(smoke.longest()), Span(smoke.limit()));
        warns.push(Finding::new("too-long", Severity::Medium, text).in_file(file).fix("shorten within and retry"));
    }
    (fails, warns)
}

fn shown(item: &Item) -> &str {
    match (&item.name, &item.request) {
        (name, Some(request)) if name.is_empty() => request,
        (name, _) if name.is_empty() => "an item without a name",
        (name, _) => name,
    }
}

/// The JSON Schema of the file, for editors.
pub fn schema() -> Json {
    let mut schema = schemars::schema_for!(Smoke).to_value();
    schema["title"] = "smoke.toml".into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Vec<String> {
        let smoke = Smoke::parse(text).unwrap();
        let (fails, warns) = problems(&smoke, &lines(text), "smoke.toml");
        let row = |word: &'static str| move |f: Finding| format!("{word} {}:{}", f.rule, f.line.unwrap_or(0));
        fails.into_iter().map(row("fail")).chain(warns.into_iter().map(row("warn"))).collect()
    }

    #[test]
    fn a_good_list_has_no_problem() {
        let text = "limit = \"2m\"\n[[item]]\nname = \"health\"\nrequest = \"GET /health\"\njson = { status = \"pass\" }\nretry = \"30s\"\n\
                    [[item]]\nname = \"an order\"\nrequest = \"POST /api/orders\"\nsend_json = { ref = \"hc-{run}\" }\nstatus = [201]\n\
                    json = { id = { exists = true } }\nsave = { order = \"id\" }\ncleanup = \"DELETE /api/orders/{order}\"\n\
                    [[item]]\nname = \"the mail arrives\"\nowner = \"ann\"\nsteps = \"look into the mailbox\"\n\
                    [[item]]\nname = \"cart\"\nui = \"/cart\"\n";
        assert_eq!(rules(text), Vec::<String>::new());
        let smoke = Smoke::parse(text).unwrap();
        assert_eq!(smoke.longest(), Duration::from_secs(30 + 5 + 5 + 5));
        assert_eq!((smoke.requests().count(), smoke.limit()), (2, Duration::from_secs(120)));
    }

    #[test]
    fn every_rule() {
        let check = |item: &str, expect: &str| {
            assert_eq!(rules(&format!("\n[[item]]\nname = \"x\"\n{item}\n")), [expect], "{item}")
        };
        check("", "fail not-executable:2");
        check("owner = \" \"", "fail not-executable:2");
        check("request = \"/health\"", "fail not-executable:2");
        check("request = \"GET http://other.example/\"\nbody = [\"a\"]", "fail not-executable:2");
        check("request = \"POST /api\"\nbody = [\"a\"]", "fail no-cleanup:2");
        check("request = \"GET /\"", "warn status-only:2");
        check("request = \"GET /\"\nheader = { content-type = \"text/html\" }", "warn status-only:2");
        check("request = \"GET /\"\nbody = [\"/(/\"]", "fail not-executable:2");
        check(
            "request = \"GET /\"\nbody = [\"a\"]\nheaders = { authorization = \"${env:AWS_SECRET_ACCESS_KEY}\" }",
            "fail foreign-secret:2",
        );
        check("request = \"GET /\"\nbody = [\"a\"]\nwithin = \"20s\"", "warn too-patient:2");
        assert_eq!(rules(""), ["fail empty:0"]);
        let long = "[[item]]\nname = \"a\"\nrequest = \"GET /\"\nbody = [\"a\"]\nretry = \"10m\"\n";
        assert_eq!(rules(long), ["warn too-long:0"]);
        // Not found is right here, and a shell that answers 200 is caught by it.
        assert_eq!(rules("[[item]]\nname = \"a\"\nrequest = \"GET /no\"\nstatus = [404]\n"), Vec::<String>::new());
    }

    #[test]
    fn mistakes_name_their_line() {
        assert!(Smoke::parse("[[item]]\nnmae = \"x\"\n").unwrap_err().starts_with("line 2: unknown field `nmae`"));
        assert!(Smoke::parse("limit = 5\n").unwrap_err().starts_with("line 1"));
        assert!(Smoke::parse("[[item]\n").is_err());
    }

    #[test]
    fn the_published_schema_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/smoke.schema.json");
        let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("INSTA_UPDATE").is_some_and(|v| v == "always") {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "run again with INSTA_UPDATE=always");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(\\[\\[item\\]\\]\n|(name|request|ui|owner|body|status|within|json) = (\"[A-Z /a-z{}]{0,9}\"|[0-9]{1,4}|\\[\\]|\\{\\})\n|[a-z\u{e4}]{0,4}\n){0,9}") {
            if let Ok(smoke) = Smoke::parse(&text) {
                let _ = problems(&smoke, &lines(&text), "smoke.toml");
            }
        }
    }
}
