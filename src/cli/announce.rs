//! `hypercare announce`: tells the people concerned, once per release and channel, through the outbox. The receipts are
//! what the gate `release.announcement` reads.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use super::check::{open, subject};
use super::config::Need;
use super::output::{Out, Tone, clean, clean_line, paint};
use super::{Exit, Failure, Global};
use crate::config::Secrets;
use crate::domain::alert::{AlertSeverity, NotifyReason};
use crate::domain::clock::Timestamp;
use crate::domain::evidence::sha256_hex;
use crate::domain::notification::{Fact, Message, MessageKind, NewOutbox};
use crate::domain::release::ReleaseId;
use crate::domain::secret::redact;
use crate::domain::service::ServiceConfig;
use crate::gates::facts::{rid, walk};
use crate::gates::release::{announcement, changelog};
use crate::store::state::gates::Announcement;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sends the change log's entry of this release with window, contact and commit to the channels in
[gates.release.announcement]. Running it again sends nothing twice; changed text is sent again.

Examples:
  hypercare announce --dry-run      show it
  hypercare announce --yes          send it without asking")]
pub struct Args {
    #[command(flatten)]
    which: subject::Which,
    /// Only to these channels
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    to: Vec<String>,
    /// Show what would be sent, and to whom
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// News of a release is no news after a day.
const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);
/// Announcements are read on phones; the full change log is in the repository.
const BODY_CHARS_MAX: usize = 4000;

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Exit> {
    let loaded = global.config(Need::File, Secrets::MayBeMissing)?;
    let subject = subject::choose(&loaded, &args.which)?;
    let config = &loaded.config.gates.release.announcement;
    let channels = channels(config, &args.to, loaded.config.channel.keys())?;
    let (folder, wanted) = (subject.repo.clone(), loaded.config.gates.version.clone());
    let (rid, news) = tokio::task::spawn_blocking(move || look(folder, wanted.as_deref())).await??;
    if rid.version.is_none() && rid.commit.is_none() {
        let failure = Failure::new(Exit::Usage, "neither version nor commit of the release is known");
        return Err(failure.hint("give --repo DIR, or set [gates] version").into());
    }
    let now = global.clock.now();
    let window = loaded.config.launch.get(&subject.service).map(|l| l.window.to_string());
    let message = compose(&subject.service, &subject.service_config, config, window.as_deref(), &rid, news, now);
    if args.dry_run {
        show(&message, &channels)?;
        return Ok(Exit::Yes);
    }
    if !args.yes && !confirmed(&message, &channels)? {
        return Ok(Exit::No);
    }
    let store = open(&subject::store_dir(&loaded), global).await?;
    let before = store.state.announcements(&subject.service).await?;
    let rows = channels.iter().map(|channel| row(channel, &message, now)).collect();
    store.state.enqueue(rows).await?;
    let actor = std::env::var("HYPERCARE_ACTOR").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "cli".into());
    let title = redact(&message.title);
    store.state.audit(now, &actor, "release.announce", &title, Some(&channels.join(", "))).await?;
    store.close().await;
    tell(&channels, &message, &before)?;
    Ok(Exit::Yes)
}

/// Those of the configuration, or those of `--to` among them.
fn channels<'a>(
    config: &announcement::Config,
    to: &[String],
    known: impl Iterator<Item = &'a String>,
) -> Result<Vec<String>, Failure> {
    let known: Vec<String> = known.cloned().collect();
    if config.channels.is_empty() {
        return Err(Failure::new(Exit::Usage, "no channel is named that hears of releases")
            .hint("set channels in [gates.release.announcement]"));
    }
    if let Err(problems) = config.validate(&known) {
        return Err(Failure::new(Exit::Usage, problems[0].to_string()));
    }
    if let Some(other) = to.iter().find(|t| !config.channels.contains(t)) {
        let failure = Failure::new(Exit::Usage, format!("`{other}` does not hear of releases"));
        return Err(failure.hint(format!("[gates.release.announcement] channels: {}", config.channels.join(", "))));
    }
    Ok(config.channels.iter().filter(|c| to.is_empty() || to.contains(c)).cloned().collect())
}

fn look(folder: Option<PathBuf>, wanted: Option<&str>) -> anyhow::Result<(ReleaseId, Option<String>)> {
    let repo = match folder {
        Some(folder) => Some(walk::open(&folder).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?),
        None => None,
    };
    let rid = rid::identify(repo.as_ref(), wanted, Vec::new()).rid;
    let news = repo.as_ref().and_then(|r| changelog::text_of(r, rid.version.as_deref()));
    Ok((rid, news))
}

/// Pure: the same release and configuration give the same text and digest.
fn compose(
    service: &str,
    about: &ServiceConfig,
    config: &announcement::Config,
    launch_window: Option<&str>,
    rid: &ReleaseId,
    news: Option<String>,
    now: Timestamp,
) -> Message {
    let version = rid.version.clone().or_else(|| rid.short_commit().map(String::from)).unwrap_or_default();
    let news = news.unwrap_or_else(|| "No change log entry was written for this release.".into());
    let mut body: String = news.chars().take(BODY_CHARS_MAX).collect();
    if body.len() < news.len() {
        body.push_str("\n…");
    }
    let window =
        config.window.clone().or_else(|| launch_window.map(|w| format!("watched closely for {w} after go-live")));
    let facts = [
        ("Version", rid.version.clone()),
        ("Commit", rid.short_commit().map(String::from)),
        ("Window", window),
        ("Impact", config.impact.clone().or_else(|| Some("see the changes below".into()))),
        ("Contact", config.contact.clone().or_else(|| about.owner.clone())),
    ];
    let facts: Vec<Fact> =
        facts.into_iter().filter_map(|(label, text)| text.map(|t| Fact::new(label, redact(&t)))).collect();
    let title = format!("[{service}] Release {version}");
    let headline = format!("Release {version} of {service}");
    let text: Vec<String> = facts.iter().map(|f| format!("{}: {}", f.label, f.text)).collect();
    let body = redact(&body);
    let digest = sha256_hex(format!("{title}\n{headline}\n{}\n{body}", text.join("\n")).as_bytes());
    Message {
        kind: MessageKind::ReleaseAnnounced,
        service: service.into(),
        severity: AlertSeverity::Info,
        title,
        headline,
        facts,
        alerts: Vec::new(),
        runbook: about.runbook.as_ref().map(url::Url::to_string),
        rollback: about.rollback.clone(),
        thread: None,
        created_at: now,
        timezone: about.timezone.clone().unwrap_or_else(|| "UTC".into()),
        body,
        html: None,
        attachments: Vec::new(),
        data: serde_json::json!({ "version": rid.version, "commit": rid.commit, "digest": digest }),
    }
}

/// The group is release and text: the store refuses a second row of the same group, so repeating is harmless.
fn row(channel: &str, message: &Message, now: Timestamp) -> NewOutbox {
    let part = |key: &str| message.data[key].as_str().unwrap_or("-").to_string();
    let digest = part("digest");
    let group = [part("version"), part("commit"), digest.get(..16).unwrap_or(&digest).to_string()].join(":");
    let (s, ns) = (now.ms().max(0) as u64 / 1000, (now.ms().max(0) as u64 % 1000) as u32 * 1_000_000);
    NewOutbox {
        id: uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, s, ns)).to_string(),
        channel: channel.into(),
        group_key: format!("announce:{}:{group}", message.service),
        seq: 0,
        reason: NotifyReason::First,
        priority: AlertSeverity::Info,
        message: message.clone(),
        not_before: now,
        give_up_at: now.plus(GIVE_UP_AFTER),
        failover: None,
        enqueued_at: now,
    }
}

fn page(message: &Message, channels: &[String]) -> String {
    let mut out = format!("To: {}\nSubject: {}\n\n{}\n\n", channels.join(", "), message.title, message.headline);
    for fact in &message.facts {
        out.push_str(&format!("{:<9} {}\n", format!("{}:", fact.label), fact.text));
    }
    out.push_str(&format!("\n{}\n", message.body));
    clean(&out)
}

fn show(message: &Message, channels: &[String]) -> anyhow::Result<()> {
    let mut out = Out::stdout();
    out.text(page(message, channels))?;
    out.line("")?;
    out.line(paint(Tone::Soft, "nothing was sent: this was a dry run"))?;
    Ok(out.flush()?)
}

/// Asks on a terminal; elsewhere `--yes` must have said it.
fn confirmed(message: &Message, channels: &[String]) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let failure = Failure::new(Exit::Usage, "nobody is there to confirm the announcement");
        return Err(failure.hint("look at it with --dry-run, then send it with --yes").into());
    }
    let mut out = Out::stdout();
    out.text(page(message, channels))?;
    out.text(format!("\nSend this to {}? [y/N] ", channels.join(", ")))?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn tell(channels: &[String], message: &Message, before: &[Announcement]) -> anyhow::Result<()> {
    let mut out = Out::stdout();
    let digest = message.data["digest"].as_str().unwrap_or_default();
    let mut queued = false;
    for channel in channels {
        match before.iter().find(|a| a.channel == *channel && a.digest == digest) {
            Some(a) => {
                out.line(format!("{} {channel}: announced at {} already, {}", paint(Tone::Skip, "○"), a.at, a.state))?
            }
            None => {
                queued = true;
                out.line(format!(
                    "{} {channel}: {} is in the outbox",
                    paint(Tone::Pass, "✔"),
                    clean_line(&message.title)
                ))?;
            }
        }
    }
    if queued {
        out.line(paint(
            Tone::Soft,
            "`hypercare run` delivers it; `hypercare check --only release.announcement` tells when",
        ))?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::store::{Role, Store};

    const NOW: Timestamp = Timestamp::from_ms(1_795_341_600_000);

    fn message(news: &str) -> Message {
        let rid =
            ReleaseId { version: Some("v1.4.0".into()), commit: Some("9f3c2e1aa".into()), ..ReleaseId::default() };
        let config = announcement::Config { contact: Some("#shop".into()), ..announcement::Config::default() };
        compose("shop", &ServiceConfig::default(), &config, Some("1d"), &rid, Some(news.into()), NOW)
    }

    #[test]
    fn says_what_people_need_to_know() {
        let text = page(&message("### Added\n- Pay by card"), &["mail".into(), "chat".into()]);
        let expect = "To: mail, chat\nSubject: [shop] Release v1.4.0\n\nRelease v1.4.0 of shop\n\n\
                      Version:  v1.4.0\nCommit:   9f3c2e1\nWindow:   watched closely for 1d after go-live\n\
                      Impact:   see the changes below\nContact:  #shop\n\n### Added\n- Pay by card\n";
        assert_eq!(text, expect);
        assert!(page(&message("a\u{1b}[2Jb"), &[]).chars().all(|c| !c.is_control() || c == '\n'));
        assert!(message(&"x".repeat(9000)).body.chars().count() <= BODY_CHARS_MAX + 2);
    }

    #[tokio::test]
    async fn once_per_release_channel_and_text() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Role::Client, SystemClock::shared()).await.unwrap();
        let send = async |channel: &str, news: &str| {
            store.state.enqueue(vec![row(channel, &message(news), NOW)]).await.unwrap()
        };
        send("mail", "a").await;
        send("mail", "a").await;
        send("chat", "a").await;
        let sent = store.state.announcements("shop").await.unwrap();
        assert_eq!(sent.len(), 2, "{sent:#?}");
        assert_eq!((sent[0].version.as_deref(), sent[0].state.as_str()), (Some("v1.4.0"), "pending"));
        // Edited text goes out again.
        send("mail", "b").await;
        assert_eq!(store.state.announcements("shop").await.unwrap().len(), 3);
        store.close().await;
    }

    #[test]
    fn only_those_who_are_named_hear_of_it() {
        let config = announcement::Config { channels: vec!["mail".into(), "chat".into()], ..Default::default() };
        let known = ["mail".to_string(), "chat".to_string()];
        let pick = |to: &[&str]| {
            let to: Vec<String> = to.iter().map(|s| s.to_string()).collect();
            channels(&config, &to, known.iter())
        };
        assert_eq!(pick(&[]).unwrap(), ["mail", "chat"]);
        assert_eq!(pick(&["chat"]).unwrap(), ["chat"]);
        assert_eq!(pick(&["pager"]).unwrap_err().exit, Exit::Usage);
        assert!(channels(&Default::default(), &[], known.iter()).is_err());
    }
}
