//! The demo in order. Every step is a command of hypercare, run as a child process and shown with its output: what the
//! demo does, a user can type.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::catchers::{self, Caught};
use super::repository::{Repository, VERSION};
use super::shop::Shop;
use super::traffic;
use crate::domain::clock::{SharedClock, Timestamp};
use crate::gates::browser::Browser;
use crate::net::{Client, Request};

/// What `hypercare demo` was asked for.
#[derive(Debug, Clone)]
pub struct Options {
    pub out: PathBuf,
    pub window: Duration,
    /// No fault: a launch as one would wish it.
    pub healthy: bool,
    /// Open the launch room and the report in the browser.
    pub open: bool,
    /// Stay up afterwards until Ctrl-C.
    pub keep: bool,
}

/// Customers come before the release does: this long is what the baseline rests on.
const WARM_UP: Duration = Duration::from_secs(25);

/// The fault starts and ends at these parts of the window.
const FAULT_FROM: f64 = 0.20;
const FAULT_TO: f64 = 0.55;

/// How long after the window's end the report may take.
const REPORT_PATIENCE: Duration = Duration::from_secs(60);

/// Tells the story. `Ok` when the documents are written.
pub async fn run(options: &Options, clock: SharedClock, shutdown: CancellationToken) -> anyhow::Result<()> {
    let stage = Stage::set(options, clock, shutdown.clone()).await?;
    let told = tokio::select! {
        told = stage.tell(options) => told,
        () = shutdown.cancelled() => bail!("interrupted"),
    };
    if told.is_ok() && options.keep {
        say(&format!("\nThe launch room stays up at {} until Ctrl-C.", stage.room));
        shutdown.cancelled().await;
    }
    stage.strike().await;
    told
}

/// Everything that stands around hypercare during the demo.
struct Stage {
    dir: PathBuf,
    repository: Repository,
    shop: Shop,
    /// Customers stay away while this is set.
    closed: Arc<AtomicBool>,
    mails: Caught,
    hooks: Caught,
    hook_key: String,
    room: Url,
    client: Client,
    clock: SharedClock,
    daemon: Child,
    props: CancellationToken,
}

impl Stage {
    async fn set(options: &Options, clock: SharedClock, shutdown: CancellationToken) -> anyhow::Result<Stage> {
        crate::net::init();
        let dir = options.out.clone();
        prepare(&dir)?;
        let dir = dir.canonicalize()?;
        let props = shutdown.child_token();

        heading("The shop");
        let repository = Repository::create(&dir.join("shop"), &clock.now().utc().format("%Y-%m-%d").to_string())?;
        let shop_dir = dir.join("shop-data");
        std::fs::create_dir_all(&shop_dir)?;
        let shop = Shop::start(&shop_dir, VERSION, &repository.head()?, props.clone()).await?;
        let (mail_address, mails) = catchers::mail(&dir.join("mail"), props.clone()).await?;
        let mut key = [0u8; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut key)
            .map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
        let (hook_address, hooks) = catchers::webhooks(&dir, key.to_vec(), props.clone()).await?;
        let hook_key = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(key));
        let client = Client::new();
        let closed = Arc::new(AtomicBool::new(false));
        tokio::spawn(traffic::run(Url::parse(&shop.url())?, client.clone(), closed.clone(), props.clone()));

        let room_port = free_port()?;
        let room = Url::parse(&format!("http://127.0.0.1:{room_port}/"))?;
        let config = configuration(options, &shop, mail_address.port(), hook_address.port(), room_port);
        std::fs::write(dir.join("hypercare.toml"), config)?;
        std::fs::write(dir.join("rules.yml"), RULES)?;
        say(&format!(
            "  {}  a tea shop, {} requests a second, repository in {}",
            shop.url(),
            traffic::RATE,
            show(&repository.root)
        ));
        say(&format!("  mail and webhooks are caught in {}", show(&dir)));

        heading("The daemon");
        let daemon = hypercare(&dir, &hook_key)
            .arg("run")
            .stdout(std::fs::File::create(dir.join("daemon.out"))?)
            .stderr(std::fs::File::create(dir.join("daemon.log"))?)
            .kill_on_drop(true)
            .spawn()?;
        say("  $ hypercare run");
        let stage = Stage { dir, repository, shop, closed, mails, hooks, hook_key, room, client, clock, daemon, props };
        stage.wait_ready().await?;
        say(&format!("  launch room: {}", stage.room));
        if options.open {
            open_in_browser(stage.room.as_str());
        }
        Ok(stage)
    }

    async fn tell(&self, options: &Options) -> anyhow::Result<()> {
        let started = self.clock.now();
        heading("1  Ready?");
        say("  the daemon runs the gates of the planned launch");
        self.wait_for_state("awaiting_decision", Duration::from_secs(120)).await?;
        self.show(&["go"], &[1]).await?;

        say("\n  Somebody forgot a console.log. It is removed, the tag moves; what this version of hypercare cannot");
        say("  check yet is waived for this demo, by name and with an end; the teams are told.");
        self.repository.mend()?;
        self.waive_what_cannot_run().await?;
        self.repository.commit_all("Waive what cannot be checked yet")?;
        self.repository.move_tag()?;
        self.shop.deploy(&self.repository.head()?);
        self.show(&["announce", "--yes"], &[0]).await?;
        self.wait_for_mail("Release v", Duration::from_secs(30)).await?;
        self.closed.store(true, Ordering::Relaxed);
        self.show(&["check"], &[0]).await?;
        self.closed.store(false, Ordering::Relaxed);
        say(&format!("\n  customers come for {} s: what is normal before go-live", WARM_UP.as_secs()));
        sleep_until(&self.clock, self.clock.now().plus(WARM_UP)).await;
        self.show(&["go"], &[0]).await?;
        let t0 = self.clock.now();

        heading("2  Watch");
        let at = |part: f64| t0.plus(options.window.mul_f64(part));
        if options.healthy {
            say("  no fault this time");
        } else {
            sleep_until(&self.clock, at(FAULT_FROM)).await;
            say("  ⚡ the payment provider starts to time out: nine checkouts of ten fail");
            self.shop.set_broken(true);
            sleep_until(&self.clock, at(FAULT_FROM + 0.08)).await;
            self.complain().await?;
            let first_alert = self.hooks_of("alert.firing", 1, options.window.mul_f64(FAULT_TO - FAULT_FROM)).await;
            say(if first_alert { "  ✉ an alert reached the webhook and the mailbox" } else { "  no alert yet" });
            if first_alert {
                self.acknowledge().await?;
            }
            sleep_until(&self.clock, at(FAULT_TO)).await;
            say("  ⚒ the provider is back");
            self.shop.set_broken(false);
        }
        self.live_until(at(1.0)).await;

        heading("3  Tell");
        self.wait_for_state("closed", REPORT_PATIENCE).await?;
        self.wait_for_mail("report", REPORT_PATIENCE).await?;
        self.show(&["outbox", "list"], &[0]).await?;
        self.fetch_documents(options).await?;
        self.show(&["report", "verify"], &[0]).await?;
        if options.open {
            open_in_browser(&format!("file://{}", self.dir.join("report.html").display()));
        }
        let took = self.clock.now().since(started);
        say(&format!("\n  {} · everything is kept in {}", crate::domain::units::prose(took), show(&self.dir)));
        Ok(())
    }

    /// Ends the props and the daemon.
    async fn strike(mut self) {
        if let Some(pid) = self.daemon.id() {
            terminate(pid);
        }
        if tokio::time::timeout(Duration::from_secs(15), self.daemon.wait()).await.is_err() {
            let _ = self.daemon.kill().await;
        }
        self.props.cancel();
    }

    /// Runs a command of hypercare, shows it and what it printed; an exit code not in `expected` ends the demo.
    async fn show(&self, args: &[&str], expected: &[i32]) -> anyhow::Result<()> {
        say(&format!("\n  $ hypercare {}", args.join(" ")));
        // Whether colours are shown is decided where they are printed: see `say`.
        let coloured = ["--color", "always"];
        let mut command = hypercare(&self.dir, &self.hook_key);
        let output = command.args(coloured).args(args).env("COLUMNS", "110").output().await?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            say(&format!("  {line}"));
        }
        if args == ["check"] {
            std::fs::write(self.dir.join("checklist.ansi"), &output.stdout)?;
        }
        let code = output.status.code().unwrap_or(-1);
        let errors = String::from_utf8_lossy(&output.stderr);
        if code != 0 || !expected.contains(&code) {
            for line in errors.lines() {
                say(&format!("  {line}"));
            }
        }
        ensure!(expected.contains(&code), "hypercare {} ended with {code}", args.join(" "));
        Ok(())
    }

    async fn json(&self, args: &[&str]) -> anyhow::Result<serde_json::Value> {
        let output = hypercare(&self.dir, &self.hook_key).args(args).args(["--format", "json"]).output().await?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!("hypercare {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())
        })
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let url = self.room.join("ready")?;
        self.wait("the daemon to be ready (see daemon.log)", Duration::from_secs(20), async || {
            Ok(self.client.send(Request::get(url.clone())).await.is_ok_and(|r| r.status == 200))
        })
        .await
    }

    async fn wait_for_state(&self, state: &str, patience: Duration) -> anyhow::Result<()> {
        self.wait(&format!("the launch to be {state}"), patience, async || {
            let status = self.json(&["status"]).await?;
            Ok(status["launches"].as_array().is_some_and(|all| all.iter().any(|l| l["state"] == state)))
        })
        .await
    }

    async fn wait_for_mail(&self, subject: &str, patience: Duration) -> anyhow::Result<()> {
        let there = async || Ok(lock(&self.mails).iter().any(|(s, _)| s.contains(subject)));
        self.wait(&format!("the mail \"{subject}…\""), patience, there).await?;
        // The server has it; the daemon writes that down a moment later.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    /// Did `count` webhooks of `kind` arrive in time?
    async fn hooks_of(&self, kind: &str, count: usize, patience: Duration) -> bool {
        let seen = async || Ok(lock(&self.hooks).iter().filter(|(k, _)| k == kind).count() >= count);
        self.wait("webhooks", patience, seen).await.is_ok()
    }

    async fn wait(
        &self,
        what: &str,
        patience: Duration,
        mut done: impl AsyncFnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let until = self.clock.now().plus(patience);
        while !done().await? {
            ensure!(self.clock.now() < until, "waited {} s in vain for {what}", patience.as_secs());
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        Ok(())
    }

    /// One waiver per gate that cannot run here, as a person would write it: what is not built, pages without a browser, the
    /// canary without an Alertmanager, a log that nobody keeps, a limiter that is not there.
    async fn waive_what_cannot_run(&self) -> anyhow::Result<()> {
        let gates = self.json(&["gates", "list"]).await?;
        let mut waived: Vec<String> = gates["gates"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|g| g["built"] == false)
            .filter_map(|g| g["id"].as_str().map(str::to_string))
            .collect();
        let shown = match Browser::find(None) {
            Ok(program) => Browser::start(&program).await.is_ok(),
            Err(_) => false,
        };
        if !shown {
            waived.push("release.fallback_ui".into());
        }
        // The tea shop's alerts go out by hypercare itself: there is no Alertmanager to send a canary through.
        waived.push("monitoring.alert_delivery".into());
        // Nor does it keep a log.
        waived.extend(["monitoring.logging", "monitoring.log_context"].map(String::from));
        // Everybody may ask it as often as he likes: the load test wants that.
        waived.push("security.rate_limit".into());
        for gate in &waived {
            let args = [
                "waive",
                gate,
                "--reason",
                "accepted for the demo",
                "--requester",
                "demo",
                "--approver",
                "release-manager",
                "--expires",
                "3d",
            ];
            let output = hypercare(&self.dir, &self.hook_key).args(args).output().await?;
            ensure!(output.status.success(), "waive {gate}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        say(&format!("  $ hypercare waive …            ({} gates that cannot run yet)", waived.len()));
        Ok(())
    }

    /// Customers speak: three through the form on the shop's page, one in the forum.
    async fn complain(&self) -> anyhow::Result<()> {
        let url = self.room.join("f/app")?;
        for (author, text) in [
            ("ana@mail.example", "I can't pay, checkout says error 500. My number is +49 170 1234567"),
            ("ben@mail.example", "Payment failed three times now, was I charged twice?"),
            ("cleo@mail.example", "checkout broken since the update"),
        ] {
            let body = serde_json::json!({"text": text, "email": author, "rating": 1}).to_string();
            let sent = self.client.send(Request::post(url.clone(), "application/json", body)).await;
            ensure!(sent.as_ref().is_ok_and(|r| r.status < 300), "the feedback form answered {sent:?}");
        }
        let now = self.clock.now().rfc3339();
        self.shop.post_in_forum(format!(
            "<entry><id>urn:tea:1</id><title>Cannot pay</title><updated>{now}</updated><author><name>dora</name></author><summary>Payment fails with an error since the update</summary></entry>"
        ));
        say("  ☹ four customers complain, three in the form, one in the forum");
        Ok(())
    }

    /// The on-call engineer takes the alert.
    async fn acknowledge(&self) -> anyhow::Result<()> {
        let alerts = self.json(&["alerts"]).await?;
        let number = alerts["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|g| g["closed_at"].is_null())
            .and_then(|g| g["number"].as_i64());
        match number {
            Some(n) => self.show(&["ack", &n.to_string(), "--comment", "looking at the payment provider"], &[0]).await,
            None => Ok(()),
        }
    }

    /// Shows one line of status every few seconds until the window ends.
    async fn live_until(&self, end: Timestamp) {
        while self.clock.now() < end {
            let left = end.since(self.clock.now());
            if let Ok(status) = self.json(&["status"]).await {
                let launch = &status["launches"][0];
                let firing = status["alerts"]["firing"].as_i64().unwrap_or(0);
                say(&format!(
                    "  T+{:>3} s  {}  {firing} firing",
                    launch["t_plus_s"].as_i64().unwrap_or(0),
                    launch["state"].as_str().unwrap_or("?"),
                ));
            }
            tokio::time::sleep(left.min(Duration::from_secs(10))).await;
        }
    }

    /// The documents as the daemon stored and mailed them.
    async fn fetch_documents(&self, options: &Options) -> anyhow::Result<()> {
        let report = self.dir.join("report.html");
        let text = report.display().to_string();
        self.show(&["report", "--out", &text], &[0, 1, 3]).await?;
        ensure!(report.is_file(), "report.html was not written");
        say(&format!("\n  report      {}", show(&report)));
        if !options.healthy {
            let postmortem = self.dir.join("postmortem.html");
            let text = postmortem.display().to_string();
            self.show(&["postmortem", "draft", "--format", "html", "--out", &text], &[0]).await?;
            ensure!(postmortem.is_file(), "postmortem.html was not written");
            say(&format!("  postmortem  {}", show(&postmortem)));
        }
        say(&format!("  {} mails and {} webhooks were delivered", lock(&self.mails).len(), lock(&self.hooks).len()));
        Ok(())
    }
}

fn lock(caught: &Caught) -> std::sync::MutexGuard<'_, Vec<(String, PathBuf)>> {
    caught.lock().unwrap_or_else(|e| e.into_inner())
}

/// A demo folder may be used again, but nobody's files are overwritten.
fn prepare(dir: &Path) -> anyhow::Result<()> {
    const MARK: &str = ".hypercare-demo";
    if dir.exists() {
        let ours = dir.join(MARK).exists();
        let empty = std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?.next().is_none();
        ensure!(ours || empty, "{} is not empty and not a demo folder: choose another --out", dir.display());
        if ours {
            std::fs::remove_dir_all(dir).with_context(|| format!("clearing {}", dir.display()))?;
        }
    }
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join(MARK), "made by hypercare demo; removed at its next run\n")?;
    Ok(())
}

/// This very program, run in the demo's folder.
fn hypercare(dir: &Path, hook_key: &str) -> Command {
    let program = std::env::current_exe().unwrap_or_else(|_| "hypercare".into());
    let mut command = Command::new(program);
    command.current_dir(dir).env("HOOK_SECRET", hook_key).stdin(Stdio::null());
    command.args(["--config", "hypercare.toml"]);
    command
}

#[cfg(unix)]
fn terminate(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_pid: u32) {}

/// A free loopback port. Another process could take it before the daemon does; the daemon then says so.
fn free_port() -> std::io::Result<u16> {
    std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr().map(|a| a.port())
}

fn open_in_browser(what: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let _ = std::process::Command::new(program).arg(what).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

async fn sleep_until(clock: &SharedClock, until: Timestamp) {
    tokio::time::sleep(until.since(clock.now())).await;
}

fn heading(text: &str) {
    say(&format!("\n{text}"));
}

fn say(line: &str) {
    // A reader that goes away (`| head`) must not end the launch.
    let _ = writeln!(anstream::stdout(), "{line}");
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn configuration(options: &Options, shop: &Shop, mail: u16, hook: u16, room: u16) -> String {
    let url = shop.url();
    let window = crate::domain::units::Span(options.window);
    let warm_up = WARM_UP.as_secs();
    format!(
        r#"# Written by `hypercare demo`: the launch of a tea shop, with a window of {window}.
[service.shop]
url = "{url}"
repo = "shop"
owner = "tea-team"
runbook = "https://wiki.tea.example/runbook"
rollback = "./deploy.sh v1.3.2"

[gates]
target = [{{ name = "staging", url = "{url}", ops_url = "{url}", active = true, load = true }}]

[gates.performance.load]                    # a laptop shares its cores with the shop: a small target, a short hold
target_rps = 200
ramp = "2s"
hold = "6s"
mix = ["/", "/api/products"]

[gates.performance.concurrency]
users = 200
ramp = "1s"
hold = "3s"
every = "1s"

[gates.security.exposure]
allow = [{{ path = "/metrics", reason = "the demo has one loopback listener" }}]

[gates.release.announcement]
channels = ["teams"]
lead = "0s"

[gates.release.qa]
flows = ["catalogue", "checkout"]

[metric.shop.from.prometheus]
service = "shop"
targets = ["{url}metrics"]
interval = "1s"
timeout = "1s"

[metric.home.from.http]
service = "shop"
url = "{url}health"
interval = "5s"
timeout = "2s"
expect = {{ status = [200], body = "pass" }}

[metric.machine.from.host]
service = "shop"
interval = "5s"

[feedback.app.from.form]
service = "shop"

[feedback.forum.from.feed]
service = "shop"
url = "{url}forum.atom"
interval = "5s"

[slo.checkout]
service = "shop"
objective = 99.0
period = "1h"
bad = 'http_requests_total{{route="/api/checkout",code=~"5.."}}'
total = 'http_requests_total{{route="/api/checkout"}}'

[alerts]
rule_files = ["rules.yml"]
interval = "1s"
group_wait = "2s"
group_interval = "5s"
critical_group_wait = "1s"
critical_group_interval = "5s"

[channel.teams.via.email]
smtp = "smtp://127.0.0.1:{mail}"
allow_plaintext = true
from = "hypercare@tea.example"
to = ["teams@tea.example"]

[channel.oncall.via.webhook]
url = "http://127.0.0.1:{hook}/hook"
secret = "${{env:HOOK_SECRET}}"
allow_private = true

[[route]]
channels = ["teams", "oncall"]

[launch.shop]
window = "{window}"
settle = "10s"
baseline = "{warm_up}s"
notify = ["teams", "oncall"]
report = {{ to = ["teams"], formats = ["html", "md", "json"], delay = "2s" }}

[web]
listen = "127.0.0.1:{room}"
"#
    )
}

/// Short windows for a short launch; the built-in pack runs beside them with its own.
const RULES: &str = r#"groups:
  - name: demo
    interval: 1s
    rules:
      - alert: CheckoutFailing
        expr: |
          sum(rate(http_requests_total{route="/api/checkout",code=~"5.."}[15s]))
            / sum(rate(http_requests_total{route="/api/checkout"}[15s])) > 0.2
        for: 4s
        keep_firing_for: 3s
        labels: { severity: critical, service: shop }
        annotations:
          summary: "{{ $value | humanizePercentage }} of checkouts fail (limit 20%)"
      - alert: OrdersPileUp
        expr: queue_depth{job="shop"} > 40 and deriv(queue_depth{job="shop"}[15s]) >= 0
        for: 5s
        labels: { severity: warning, service: shop }
        annotations:
          summary: "{{ $value }} orders wait to be shipped"
"#;
