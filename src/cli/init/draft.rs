//! The text of a new `hypercare.toml`: what was found and where, what was not, and every number that a person must confirm.
//! Pure.

use std::path::PathBuf;

use url::Url;

use crate::cli::facts::{LABELS, list, seen};
use crate::cli::output::clean_line;
use crate::gates::facts::{Facts, UNTOLD};

/// What is known when the file is written.
pub(super) struct Plan {
    pub name: String,
    pub repo: PathBuf,
    pub url: Option<Url>,
    pub facts: Facts,
    pub git: bool,
    pub answers: Answers,
}

/// What no file can know. `None`: nobody was asked, or nobody answered.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub mail: Option<String>,
    pub target_rps: Option<f64>,
    pub senior: Vec<String>,
    /// `10m`
    pub rollback: Option<String>,
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// Lines of TOML with their remarks in one column.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Where remarks begin, when the line leaves room.
    const REMARKS_AT: usize = 40;

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
    fn with(&mut self, line: &str, remark: &str) {
        self.line(&format!("{line:<width$} # {}", clean_line(remark), width = Self::REMARKS_AT - 1));
    }
    /// A value that somebody gave, or the default to be confirmed.
    fn number(&mut self, key: &str, given: Option<String>, default: &str, what: &str) {
        match given {
            Some(value) => self.with(&format!("{key} = {value}"), what),
            None => self.with(&format!("{key} = {default}"), &format!("default, please confirm: {what}")),
        }
    }
}

pub(super) fn draft(plan: &Plan) -> String {
    let plain = plan.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let name = if plain { plan.name.clone() } else { quoted(&plan.name) };
    let mut out = Text::default();
    out.line(
        "# hypercare.toml, written by `hypercare init`. Nothing here is final: `hypercare config example` shows every key,\n\
         # `hypercare config check` finds every mistake. Lines that begin with \"#\" are off.",
    );
    found(&mut out, plan);
    service(&mut out, plan, &name);
    gates(&mut out, plan);
    watch(&mut out, plan);
    people(&mut out, plan, &name);
    out.0
}

/// What the file rests on, each with its place, so that a wrong guess can be argued with.
fn found(out: &mut Text, plan: &Plan) {
    out.line("#\n# Found:");
    for (kind, label) in LABELS {
        let text = list(&plan.facts, kind);
        if !text.is_empty() {
            out.line(&format!("#   {label:<12} {text}"));
        }
    }
    let missing = missing(plan);
    if !missing.is_empty() {
        out.line("# Not found:");
        missing.iter().for_each(|text| out.line(&format!("#   {text}")));
    }
    let components = plan.facts.components();
    if components.len() > 1 {
        out.line("# These run by themselves; each may have a [service.…] of its own, with its folder as repo:");
        for component in components {
            let folder = if component.folder.is_empty() { "." } else { &component.folder };
            let why = clean_line(&seen(&component.because));
            out.line(&format!("#   {:<24} {:<12} {why}", clean_line(folder), component.profile.word()));
        }
    }
}

fn service(out: &mut Text, plan: &Plan, name: &str) {
    let (profile, because) = plan.facts.profile();
    out.line(&format!("\n[service.{name}]"));
    match &plan.url {
        Some(url) => out.with(&format!("url = {}", quoted(url.as_str())), "what the gates probe: staging"),
        None => out.with("# url = \"https://staging.example/\"", "what the gates probe: staging. Please set it"),
    }
    out.with("# live_url = \"https://shop.example/\"", "what is watched after go-live; default: url");
    out.line(&format!("repo = {}", quoted(&plan.repo.to_string_lossy())));
    if because.starts_with(UNTOLD) {
        out.with("profile = \"auto\"", &format!("web-app | web-api | worker | static-site; {because}"));
    } else {
        out.with(&format!("profile = {}", quoted(profile.word())), &format!("because of {because}"));
    }
    out.with("# owner = \"team-shop\"", "shown in alerts and reports");
    out.with("# rollback = \"…\"", "the command that rolls back, shown in alerts, never run");
    out.with("timezone = \"UTC\"", "default, please confirm");
}

fn gates(out: &mut Text, plan: &Plan) {
    let answers = &plan.answers;
    out.line("\n# Where gates may do more than look. Loopback needs no entry.");
    match &plan.url {
        Some(url) => {
            out.line("[[gates.target]]\nname = \"staging\"");
            out.line(&format!("url = {}", quoted(url.as_str())));
            out.with("active = false", "probes that try to break something may run");
            out.with("load = false", "the load test may run");
        }
        None => out.line(
            "# [[gates.target]]\n# name = \"staging\"\n# url = \"https://staging.example/\"\n# active = true\n# load = true",
        ),
    }
    out.line("\n[gates.performance.load]");
    let rps = answers.target_rps.map(|n| n.to_string());
    out.number("target_rps", rps, "10000", "requests a second that must be held");
    out.line("\n[gates.code.coverage]");
    out.number("minimum", None, "0.8", "share of lines that tests run");
    out.line("\n[gates.code.review]");
    let senior: Vec<String> = answers.senior.iter().map(|s| quoted(s)).collect();
    match (senior.is_empty(), plan.facts.of("codeowner").next()) {
        (false, _) => out.with(&format!("senior = [{}]", senior.join(", ")), "whose approval counts"),
        (true, Some(owner)) => {
            out.with("# senior = [\"ada\"]", &format!("whose approval counts; default: {}", owner.file));
        }
        (true, None) => out.with("# senior = [\"ada\"]", "whose approval counts; please name them: no CODEOWNERS says"),
    }
    out.with("min_approvals = 1", "default, please confirm");
    out.line("\n[gates.delivery.rollback]");
    out.number(
        "max_duration",
        answers.rollback.as_deref().map(quoted),
        "\"10m\"",
        "the way back may take so long (RTO)",
    );
    out.line("\n[gates.release.announcement]");
    match &answers.mail {
        Some(_) => out.with("channels = [\"stakeholders\"]", "who hears of the release"),
        None => out.with("# channels = [\"stakeholders\"]", "who hears of the release; needs the channel below"),
    }
    out.with("# contact = \"#shop on chat\"", "whom to ask");
}

fn watch(out: &mut Text, plan: &Plan) {
    out.line("\n# What is watched after go-live.");
    match &plan.url {
        Some(url) => {
            out.line("[metric.home.from.http]");
            out.line(&format!("url = {}\ninterval = \"15s\"", quoted(url.as_str())));
        }
        None => out.line("# [metric.home.from.http]\n# url = \"https://shop.example/\""),
    }
    match (&plan.url, plan.facts.of("metrics").next()) {
        (Some(url), Some(fact)) => {
            let at = url.join("/metrics").map_or_else(|_| url.to_string(), |u| u.to_string());
            out.line("");
            out.with("[metric.app.from.prometheus]", &format!("because of {}", seen(fact)));
            out.line(&format!("targets = [{}]\ninterval = \"15s\"", quoted(&at)));
        }
        _ => out.line("\n# [metric.app.from.prometheus]\n# targets = [\"http://shop.internal:9000/metrics\"]"),
    }
    let rules: Vec<String> = plan.facts.of("prometheus-rules").map(|f| quoted(&f.file)).collect();
    if !rules.is_empty() {
        out.line(&format!("\n# [alerts]\n# rule_files = [{}]", rules.join(", ")));
    }
}

fn people(out: &mut Text, plan: &Plan, name: &str) {
    out.line("\n# Who hears what.");
    let mail = plan.answers.mail.as_deref();
    match mail {
        Some(mail) => {
            out.line(&format!("[channel.stakeholders.via.email]\nto = [{}]", quoted(mail)));
            out.with("# smtp = \"smtps://mail.example:465\"", "default: this machine's mail server");
            out.line("\n[[route]]\nchannels = [\"stakeholders\"]");
        }
        None => out.line(
            "# [channel.stakeholders.via.email]\n# to = [\"cto@shop.example\"]\n# smtp = \"smtps://mail.example:465\"\n\
             # [[route]]\n# channels = [\"stakeholders\"]",
        ),
    }
    out.line(&format!("\n[launch.{name}]"));
    out.with("window = \"24h\"", "how long the watch lasts after go-live");
    match mail {
        Some(_) => out.line("notify = [\"stakeholders\"]\nreport = { to = [\"stakeholders\"] }"),
        None => out.line("# notify = [\"stakeholders\"]\n# report = { to = [\"stakeholders\"] }"),
    }
}

/// What it means that nothing of a kind was found.
const WITHOUT: [(&str, &str); 6] = [
    ("language", "no source code that we know"),
    ("ci", "no CI pipeline: delivery.pipeline will fail"),
    ("coverage-report", "no coverage report: code.coverage needs lcov or Cobertura of this commit"),
    ("changelog", "no change log: release.changelog will fail"),
    ("metrics", "no metrics library: say under [metric] where numbers come from"),
    ("codeowner", "no CODEOWNERS: code.review does not know who is senior"),
];

pub(super) fn missing(plan: &Plan) -> Vec<&'static str> {
    let without = WITHOUT.iter().filter(|(kind, _)| !plan.facts.any(kind)).map(|(_, text)| *text);
    let mut out: Vec<&str> = without.collect();
    if !plan.answers.senior.is_empty() {
        out.retain(|text| !text.contains("CODEOWNERS"));
    }
    if !plan.git {
        out.push("not a git repository: naming, review and release identity cannot be told");
    }
    if plan.url.is_none() {
        out.push("no URL: gates that look at the running service answer `error no-target`");
    }
    if plan.answers.mail.is_none() {
        out.push("no channel: nobody hears of alerts, announcement and report");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Secrets, expand::ProcessEnv};
    use crate::domain::service::Profile;
    use crate::gates::facts::{git::scratch::Scratch, walk};

    fn plan(files: &[(&str, &str)], url: Option<&str>, mail: Option<&str>) -> Plan {
        let repo = Scratch::new();
        for (path, text) in files {
            repo.write(path, text);
        }
        let facts = Facts::look(&walk::open(repo.path()).unwrap());
        let answers = Answers { mail: mail.map(String::from), ..Answers::default() };
        let url = url.map(|u| u.parse().unwrap());
        Plan { name: "shop".into(), repo: ".".into(), url, facts, git: true, answers }
    }

    const EXPRESS: &[(&str, &str)] =
        &[("package.json", "{\"dependencies\": {\n\"express\": \"4\",\n\"prom-client\": \"15\"}}"), ("app.js", "")];

    fn holds(plan: &Plan) -> config::Loaded {
        let text = draft(plan);
        config::load_text(&text, Path::new("hypercare.toml"), Secrets::MustResolve, &ProcessEnv)
            .unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    #[test]
    fn what_it_writes_always_holds() {
        let whole = holds(&plan(EXPRESS, Some("https://staging.shop.example/"), Some("cto@shop.example")));
        assert_eq!(whole.config.service["shop"].profile, Profile::WebApi);
        assert_eq!(whole.config.metric.len(), 2);
        assert_eq!(whole.config.gates.release.announcement.channels, ["stakeholders"]);
        holds(&plan(&[], None, None));
        holds(&plan(EXPRESS, Some("http://127.0.0.1:8080/"), None));
        holds(&plan(&[("mkdocs.yml", "")], None, Some("a@b.example")));
        let odd = Plan { name: "a\"b".into(), repo: "x\\y\"z".into(), ..plan(&[], None, None) };
        let text = draft(&odd);
        assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
    }

    #[test]
    fn answers_stand_in_the_file() {
        let mut asked = plan(EXPRESS, None, None);
        asked.answers = Answers {
            mail: None,
            target_rps: Some(250.0),
            senior: vec!["ada@shop.example".into(), "a\"b".into()],
            rollback: Some("5m".into()),
        };
        let config = holds(&asked).config;
        assert_eq!(config.gates.performance.load.target_rps, 250.0);
        assert_eq!(config.gates.code.review.senior, ["ada@shop.example", "a\"b"]);
        assert_eq!(config.gates.delivery.rollback.max_duration.to_string(), "5m");
    }

    #[test]
    fn the_draft_says_why_and_what_to_confirm() {
        let text = draft(&plan(EXPRESS, Some("https://staging.shop.example/"), None));
        for part in [
            "profile = \"web-api\"                     # because of express (package.json:2)",
            "target_rps = 10000                      # default, please confirm",
            "#   framework    express (package.json:2)",
            "#   no CI pipeline",
            "[metric.app.from.prometheus]            # because of prom-client (package.json:3)",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn names_of_files_stay_in_their_comment() {
        let text =
            draft(&plan(&[("a\nrepo = 1/package.json", "{\"dependencies\": {\"express\": \"1\"}}")], None, None));
        assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
    }

    #[test]
    fn several_components_are_told() {
        let files =
            [("api/package.json", "{\"dependencies\": {\"express\": \"4\"}}"), ("jobs/requirements.txt", "celery\n")];
        let text = draft(&plan(&files, None, None));
        assert!(text.contains("#   jobs                     worker       celery (jobs/requirements.txt:1)"), "{text}");
    }
}
