//! `hypercare init`: looks around, writes a commented `hypercare.toml`, and says what it found and what it could not.
//!
//! The text is made by [`draft`], which is pure; what it writes passes `config check`, or nothing is written.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use url::Url;

use super::check::subject;
use super::output::{self, Out, Tone, clean_line, hang, pad, paint};
use super::{Exit, Failure, Global};
use crate::config::{self, Secrets, expand::ProcessEnv};
use crate::domain::service::Profile;
use crate::gates::facts::{Fact, Facts, walk};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hypercare init --repo . --url https://staging.shop.example
  hypercare init --yes                 ask nothing")]
pub struct Args {
    /// Repository to look at
    #[arg(long, value_name = "DIR", default_value = ".")]
    repo: PathBuf,
    /// What the gates probe: the staging URL
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// The service's name [default: the folder's]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Ask nothing; what no file can know becomes a line to confirm
    #[arg(long)]
    yes: bool,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let path = global.flags.config.clone().unwrap_or_else(|| config::DEFAULT_FILE.into());
    if path.is_dir() {
        return Err(Failure::new(Exit::Usage, format!("{} is a folder", path.display())).hint("name a file").into());
    }
    if path.exists() && !args.force {
        let failure = Failure::new(Exit::Usage, format!("{} exists", path.display()));
        return Err(failure.hint("--force overwrites it; --config FILE writes elsewhere").into());
    }
    let folder = args.repo.clone();
    let seen =
        tokio::task::spawn_blocking(move || walk::open(&folder).map(|r| (Facts::look(&r), r.root, r.git.is_some())));
    let (facts, root, git) = seen.await?.map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let name = args
        .service
        .as_deref()
        .map(subject::name)
        .or_else(|| root.file_name().map(|n| subject::name(&n.to_string_lossy())));
    let name = name.filter(|n| !n.is_empty()).unwrap_or_else(|| "service".into());
    let asking = !args.yes && std::io::stdin().is_terminal();
    let url = match args.url {
        None if asking => ask("Where does staging run (a URL; empty: not yet)")?
            .map(|u| u.parse().with_context(|| format!("{u} is not a URL")))
            .transpose()
            .map_err(|e| Failure::new(Exit::Usage, format!("{e:#}")))?,
        given => given,
    };
    let mail = if asking { ask("Who hears of the release (a mail address; empty: nobody yet)")? } else { None };
    let plan = Plan { name, repo: args.repo, url, mail, facts, git };
    let text = draft(&plan);
    // What we write must hold; if it does not, that is our fault and nothing is written.
    config::load_text(&text, &path, Secrets::MayBeMissing, &ProcessEnv)
        .map_err(|e| anyhow::anyhow!("the draft does not hold: {e}"))
        .with_context(|| Failure::new(Exit::Internal, "cannot write a configuration that holds").hint("report this"))?;
    std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    tell(&plan, &path)?;
    Ok(Exit::Yes)
}

fn ask(question: &str) -> anyhow::Result<Option<String>> {
    let mut out = Out::stdout();
    out.text(format!("{question}: "))?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(Some(answer.trim().to_string()).filter(|a| !a.is_empty()))
}

/// What is known when the file is written.
struct Plan {
    name: String,
    repo: PathBuf,
    url: Option<Url>,
    mail: Option<String>,
    facts: Facts,
    git: bool,
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn draft(plan: &Plan) -> String {
    let (profile, because) = plan.facts.profile();
    let name = if plan.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
        plan.name.clone()
    } else {
        quoted(&plan.name)
    };
    let mut out = String::from(
        "# hypercare.toml, written by `hypercare init`. Nothing here is final: `hypercare config example` shows every key,\n\
         # `hypercare config check` finds every mistake. Lines that begin with \"#\" are off.\n\n",
    );
    let mut say = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    say(format!("[service.{name}]"));
    match &plan.url {
        Some(url) => say(format!("url = {}             # what the gates probe: staging", quoted(url.as_str()))),
        None => say("# url = \"https://staging.example/\"      # what the gates probe: staging. Please set it".into()),
    }
    say("# live_url = \"https://shop.example/\"    # what is watched after go-live; default: url".into());
    say(format!("repo = {}", quoted(&plan.repo.to_string_lossy())));
    match profile {
        Profile::WebApp if because == "nothing told otherwise" => {
            say("profile = \"auto\"                        # web-app | web-api | worker | static-site".into());
        }
        _ => say(format!("profile = {}   # because of {}", quoted(profile.word()), comment(&because))),
    }
    say("# owner = \"team-shop\"                   # shown in alerts and reports".into());
    say("# rollback = \"…\"                        # the command that rolls back, shown in alerts, never run".into());
    say("timezone = \"UTC\"                        # default, please confirm".into());

    say("\n# Where gates may do more than look. Loopback needs no entry.".into());
    match &plan.url {
        Some(url) => {
            say("[[gates.target]]\nname = \"staging\"".into());
            say(format!("url = {}", quoted(url.as_str())));
            say("active = false                          # probes that try to break something may run".into());
            say("load = false                            # the load test may run".into());
        }
        None => say("# [[gates.target]]\n# name = \"staging\"\n# url = \"https://staging.example/\"\n# active = true\n# load = true".into()),
    }
    say("\n[gates.performance.load]".into());
    say("target_rps = 10000                      # default, please confirm: the checklist's own number".into());
    say("\n[gates.code.coverage]".into());
    say("minimum = 0.8                           # default, please confirm: the checklist's own number".into());
    say("\n[gates.release.announcement]".into());
    match &plan.mail {
        Some(_) => say("channels = [\"stakeholders\"]             # who hears of the release".into()),
        None => {
            say("# channels = [\"stakeholders\"]           # who hears of the release; needs the channel below".into())
        }
    }
    say("# contact = \"#shop on chat\"             # whom to ask".into());

    say("\n# What is watched after go-live.".into());
    match &plan.url {
        Some(url) => {
            say("[metric.home.from.http]".into());
            say(format!("url = {}\ninterval = \"15s\"", quoted(url.as_str())));
        }
        None => say("# [metric.home.from.http]\n# url = \"https://shop.example/\"".into()),
    }
    let exporter = plan.facts.of("metrics").next();
    match (&plan.url, exporter) {
        (Some(url), Some(fact)) => {
            let at = url.join("/metrics").map_or_else(|_| url.to_string(), |u| u.to_string());
            say(format!("\n[metric.app.from.prometheus]            # because of {}", comment(&seen(fact))));
            say(format!("targets = [{}]\ninterval = \"15s\"", quoted(&at)));
        }
        _ => say("\n# [metric.app.from.prometheus]\n# targets = [\"http://shop.internal:9000/metrics\"]".into()),
    }
    say("\n# Who hears what.".into());
    match &plan.mail {
        Some(mail) => {
            say(format!("[channel.stakeholders.via.email]\nto = [{}]", quoted(mail)));
            say("# smtp = \"smtps://mail.example:465\"     # default: this machine's mail server".into());
            say("\n[[route]]\nchannels = [\"stakeholders\"]".into());
        }
        None => {
            say("# [channel.stakeholders.via.email]\n# to = [\"cto@shop.example\"]\n# smtp = \"smtps://mail.example:465\"".into());
            say("# [[route]]\n# channels = [\"stakeholders\"]".into());
        }
    }
    say(format!("\n[launch.{name}]"));
    say("window = \"24h\"                          # how long the watch lasts after go-live".into());
    match &plan.mail {
        Some(_) => say("notify = [\"stakeholders\"]\nreport = { to = [\"stakeholders\"] }".into()),
        None => say("# notify = [\"stakeholders\"]\n# report = { to = [\"stakeholders\"] }".into()),
    }
    out
}

/// For a comment: one line, whatever the repository called its files.
fn comment(text: &str) -> String {
    clean_line(text)
}

fn seen(fact: &Fact) -> String {
    format!("{} ({})", fact.value, fact.place())
}

/// Kinds worth a line, and what it means that they are missing (`None`: nothing).
const TOLD: [(&str, &str, Option<&str>); 15] = [
    ("language", "languages", Some("no source code that we know")),
    ("framework", "framework", None),
    ("frontend", "pages", None),
    ("database", "database", None),
    ("cache", "cache", None),
    ("queue", "queue", None),
    ("ci", "CI", Some("no CI pipeline: delivery.pipeline will fail")),
    ("container", "containers", None),
    ("kubernetes", "Kubernetes", None),
    ("process-manager", "restarts", None),
    ("coverage-report", "coverage", Some("no coverage report: code.coverage needs lcov or Cobertura of this commit")),
    ("changelog", "change log", Some("no change log: release.changelog will fail")),
    ("openapi", "OpenAPI", None),
    ("logger", "logger", None),
    ("metrics", "metrics", Some("no metrics library: say under [metric] where numbers come from")),
];

fn tell(plan: &Plan, path: &Path) -> anyhow::Result<()> {
    let mut out = Out::stdout();
    let width = output::width();
    let (profile, because) = plan.facts.profile();
    out.line(paint(Tone::Strong, "found"))?;
    let mut missing: Vec<&str> = Vec::new();
    let line = |out: &mut Out, label: &str, text: &str| {
        out.line(format!("  {} {}", pad(&paint(Tone::Soft, label), 12), hang(&clean_line(text), 15, width)))
    };
    line(&mut out, "profile", &format!("{} because of {because}", profile.word()))?;
    for (kind, label, without) in TOLD {
        let mut values: Vec<String> = Vec::new();
        for fact in plan.facts.of(kind) {
            if !values.iter().any(|v| v.starts_with(&format!("{} (", fact.value))) {
                values.push(seen(fact));
            }
        }
        if values.is_empty() {
            missing.extend(without);
        } else {
            line(&mut out, label, &values.join(", "))?;
        }
    }
    if !plan.git {
        missing.push("not a git repository: naming, review and release identity cannot be told");
    }
    if plan.url.is_none() {
        missing.push("no URL: gates that look at the running service answer `error no-target`");
    }
    if plan.mail.is_none() {
        missing.push("no channel: nobody hears of alerts, announcement and report");
    }
    if !missing.is_empty() {
        out.line("")?;
        out.line(paint(Tone::Strong, "could not find"))?;
        for text in missing {
            out.line(format!("  {} {}", paint(Tone::Warn, "▲"), hang(text, 4, width)))?;
        }
    }
    out.line("")?;
    out.line(format!("{} {}", paint(Tone::Pass, "✔ wrote"), path.display()))?;
    out.line("        next: look for \"please confirm\" in it, then hypercare check")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::facts::git::scratch::Scratch;

    fn plan(files: &[(&str, &str)], url: Option<&str>, mail: Option<&str>) -> Plan {
        let repo = Scratch::new();
        for (path, text) in files {
            repo.write(path, text);
        }
        let facts = Facts::look(&walk::open(repo.path()).unwrap());
        let url = url.map(|u| u.parse().unwrap());
        Plan { name: "shop".into(), repo: ".".into(), url, mail: mail.map(String::from), facts, git: true }
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
    fn the_draft_says_why_and_what_to_confirm() {
        let text = draft(&plan(EXPRESS, Some("https://staging.shop.example/"), None));
        assert!(text.contains("profile = \"web-api\"   # because of express (package.json:2)"), "{text}");
        assert!(text.contains("target_rps = 10000                      # default, please confirm"), "{text}");
    }
}
