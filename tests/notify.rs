//! Channels against real servers: aiosmtpd for mail, a receiver with faults for webhooks, and the outbox over both.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use hypercare::domain::alert::{AlertSeverity, NotifyReason};
use hypercare::domain::clock::{Clock as _, ManualClock, SystemClock, Timestamp};
use hypercare::domain::notification::{Fact, Message, MessageKind, NewOutbox, OutboxRow, OutboxState, Thread};
use hypercare::net::Client;
use hypercare::notify::channel::{self, AttachedFile, Channel, Context, SendError};
use hypercare::notify::dispatcher::Dispatcher;
use hypercare::store::{Role, Store};
use support::http::{Answer, Receiver};
use support::smtp::Smtp;

fn message() -> Message {
    Message {
        kind: MessageKind::AlertFiring,
        service: "shop".into(),
        severity: AlertSeverity::Critical,
        title: "[shop] Http5xxHigh".into(),
        headline: "FIRING critical · shop · Http5xxHigh · #1".into(),
        facts: vec![Fact::new("Measured", "5xx ratio 12 % (limit 5 %) — Größe")],
        alerts: vec![],
        runbook: None,
        rollback: None,
        thread: Some(Thread { key: "episode-1".into(), root: true }),
        created_at: Timestamp::parse("2026-11-22T10:00:00Z").unwrap(),
        timezone: "UTC".into(),
        body: String::new(),
        html: None,
        attachments: vec![],
        data: serde_json::Value::Null,
    }
}

fn new_row(id: &str, message: Message) -> NewOutbox {
    NewOutbox {
        id: id.into(),
        channel: "c".into(),
        group_key: "g".into(),
        seq: 1,
        reason: NotifyReason::First,
        priority: AlertSeverity::Critical,
        not_before: message.created_at,
        give_up_at: message.created_at.plus(Duration::from_secs(86_400)),
        failover: None,
        enqueued_at: message.created_at,
        message,
    }
}

fn row(id: &str, message: Message) -> OutboxRow {
    OutboxRow {
        new: new_row(id, message),
        state: OutboxState::Leased,
        attempts: 1,
        lease_until: None,
        accepted_at: None,
        last_error: None,
        remote_id: None,
    }
}

fn build(via: &str) -> Box<dyn Channel> {
    let config: channel::Config = toml::from_str(via).unwrap_or_else(|e| panic!("{via}: {e}"));
    let context = Context { client: Client::new(), clock: SystemClock::shared() };
    channel::build("c", &config, &context).unwrap_or_else(|p| panic!("{p:?}"))
}

fn mailer(port: u16, to: &[&str], more: &str) -> Box<dyn Channel> {
    let text =
        format!("[via.email]\nfrom = 'hypercare@shop.example'\nto = {to:?}\nsmtp = 'smtp://127.0.0.1:{port}'\n{more}");
    build(&text)
}

fn retry(result: Result<channel::Receipt, SendError>) -> (String, Option<u64>) {
    match result {
        Err(SendError::Retry { detail, after }) => (detail, after.map(|d| d.as_secs())),
        other => panic!("expected a retry: {other:?}"),
    }
}

fn permanent(result: Result<channel::Receipt, SendError>) -> (String, bool) {
    match result {
        Err(SendError::Permanent { detail, disable }) => (detail, disable),
        other => panic!("expected a refusal: {other:?}"),
    }
}

// --- mail -----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn mail_arrives_whole_and_followers_join_the_thread() {
    let server = Smtp::start(&[]);
    let channel = mailer(server.port, &["Ops <ops@shop.example>", "cto@shop.example"], "");
    let receipt = channel.send(&row("id-1", message()), &[]).await.unwrap();
    assert_eq!(receipt.detail, "250 2.0.0 queued as T1");
    assert_eq!(receipt.remote_id.as_deref(), Some("<episode-1.c@shop.example>"));

    let mut later = message();
    later.thread = Some(Thread { key: "episode-1".into(), root: false });
    let report = AttachedFile { name: "report.html".into(), mime: "text/html".into(), bytes: b"<p>hi</p>".to_vec() };
    channel.send(&row("id-2", later), &[report]).await.unwrap();

    let mails = server.wait(2);
    assert_eq!(mails[0].to, ["ops@shop.example", "cto@shop.example"]);
    assert_eq!(mails[0].from, "hypercare@shop.example");
    let root = mails[0].header("Message-ID");
    assert_eq!(root.as_deref(), Some("<episode-1.c@shop.example>"));
    assert_eq!(mails[0].header("X-Hypercare-Id").as_deref(), Some("id-1"));
    assert_eq!(mails[0].header("Date").as_deref(), Some("Sun, 22 Nov 2026 10:00:00 +0000"));
    assert_eq!(mails[1].header("In-Reply-To"), root);
    assert_eq!(mails[1].header("References"), root);
    assert_eq!(mails[1].header("Subject").as_deref(), Some("Re: [shop] Http5xxHigh"));
    for part in ["multipart/alternative", "text/plain; charset=utf-8", "text/html; charset=utf-8"] {
        assert!(mails[0].data.contains(part), "{part} in {}", mails[0].data);
    }
    assert!(mails[1].data.contains("multipart/mixed") && mails[1].data.contains("filename=\"report.html\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_a_trusted_authority_and_logs_in_with_a_referenced_password() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "tr0ub4dor-and-3\n").unwrap();
    let login = format!("username = 'hc'\npassword = '${{file:{}}}'", password.display());
    let authority = support::root().join("tests/fixtures/tls/ca.pem");
    let trusted = format!("tls_ca = '{}'\n{login}", authority.display());

    let starttls = Smtp::with_tls("starttls", &["--login", "hc:tr0ub4dor-and-3"]);
    mailer(starttls.port, &["ops@shop.example"], &trusted).send(&row("a", message()), &[]).await.unwrap();
    let mail = &starttls.wait(1)[0];
    assert!(mail.tls && mail.login.as_deref() == Some("hc"), "{mail:?}");

    let implicit = Smtp::with_tls("implicit", &[]);
    let url = |more: &str| {
        build(&format!(
            "[via.email]\nfrom='h@shop.example'\nto=['ops@shop.example']\nsmtp='smtps://localhost:{}'\n{more}",
            implicit.port
        ))
    };
    let ca = format!("tls_ca = '{}'", authority.display());
    url(&ca).send(&row("b", message()), &[]).await.unwrap();
    assert!(implicit.wait(1)[0].tls);
    let (detail, _) = retry(url("").send(&row("c", message()), &[]).await);
    assert!(detail.to_lowercase().contains("certificate"), "{detail}");

    // A wrong password waits for its owner, and is not repeated.
    std::fs::write(&password, "wrong-and-secret").unwrap();
    let channel = mailer(starttls.port, &["ops@shop.example"], &trusted);
    let (detail, after) = retry(channel.send(&row("d", message()), &[]).await);
    assert!(detail.starts_with("login refused") && !detail.contains("wrong-and-secret"), "{detail}");
    assert_eq!(after, Some(300));

    // TLS was asked for and is not offered: nothing is sent.
    let plain = Smtp::start(&[]);
    let channel = mailer(plain.port, &["ops@shop.example"], &ca);
    let (detail, _) = retry(channel.send(&row("e", message()), &[]).await);
    assert!(detail.contains("no STARTTLS"), "{detail}");
    assert!(plain.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_recipient_does_not_hold_the_others_up() {
    let server = Smtp::start(&[]);
    let to = ["ops@shop.example", "refuse@shop.example", "later@shop.example"];
    let channel = mailer(server.port, &to, "");
    let row = row("a", message());
    let (detail, _) = retry(channel.send(&row, &[]).await);
    assert!(detail.starts_with("1 accepted; to come: later@shop.example"), "{detail}");
    let receipt = channel.send(&row, &[]).await.unwrap();
    assert!(receipt.detail.contains("refused for refuse@shop.example"), "{receipt:?}");
    let mails = server.wait(2);
    assert_eq!(mails[0].to, ["ops@shop.example"]);
    assert_eq!(mails[1].to, ["later@shop.example"], "who has it is not sent it again");
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_final_and_busy_servers_are_asked_again() {
    let server = Smtp::start(&[]);
    let (detail, disable) =
        permanent(mailer(server.port, &["refuse@shop.example"], "").send(&row("a", message()), &[]).await);
    assert!(detail.contains("no such mailbox") && !disable, "{detail}");
    let mut busy = row("b", message());
    let channel = mailer(server.port, &["busy@shop.example"], "");
    assert_eq!(retry(channel.send(&busy, &[]).await).1, Some(300), "greylisting wants minutes");
    busy.attempts = 2;
    assert_eq!(retry(channel.send(&busy, &[]).await).1, None);
    let nobody = mailer(1, &["ops@shop.example"], "");
    retry(nobody.send(&row("c", message()), &[]).await);
    assert!(server.mails().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_too_large_to_attach_is_still_news() {
    let server = Smtp::start(&["--size", "30000"]);
    let channel = mailer(server.port, &["ops@shop.example"], "");
    let big = AttachedFile { name: "report.html".into(), mime: "text/html".into(), bytes: vec![b'x'; 60_000] };
    channel.send(&row("a", message()), &[big]).await.unwrap();
    let mail = &server.wait(1)[0];
    assert!(mail.data.contains("too large for the mail server") && !mail.data.contains("filename="), "{}", mail.data);
}

// --- webhook --------------------------------------------------------------------------------------------------------

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn hook(url: &str, more: &str) -> Box<dyn Channel> {
    build(&format!("[via.webhook]\nurl = '{url}'\n{more}"))
}

#[tokio::test]
async fn a_webhook_is_signed_and_says_the_same_on_every_try() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key"), KEY).unwrap();
    let receiver =
        Receiver::start(vec![Answer::Status("503 No\r\n"), Answer::Status("204 Ok\r\nx-request-id: r7\r\n")]).await;
    let secret = format!("allow_private = true\nsecret = '${{file:{}}}'", dir.path().join("key").display());
    let channel = hook(&receiver.url, &secret);
    let row = row("id-1", message());
    retry(channel.send(&row, &[]).await);
    let receipt = channel.send(&row, &[]).await.unwrap();
    assert_eq!(receipt.remote_id.as_deref(), Some("r7"));

    let got = receiver.got();
    assert_eq!(got[0].body, got[1].body);
    for request in &got {
        assert_eq!(request.header("webhook-id"), Some("id-1"));
        let at = request.header("webhook-timestamp").unwrap();
        let key = base64::engine::general_purpose::STANDARD.decode(&KEY[6..]).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let signed = ring::hmac::sign(&key, format!("id-1.{at}.{}", request.body).as_bytes());
        let expect = format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(signed));
        // The head was put into lower case by the receiver.
        assert_eq!(request.header("webhook-signature"), Some(expect.to_lowercase().as_str()));
    }
}

#[tokio::test]
async fn faults_of_a_receiver_are_told_apart() {
    let answer = async |answer: Answer| {
        let receiver = Receiver::start(vec![answer]).await;
        hook(&receiver.url, "allow_private = true").send(&row("a", message()), &[]).await
    };
    assert_eq!(retry(answer(Answer::Status("429 Slow\r\nretry-after: 7\r\n")).await).1, Some(7));
    assert_eq!(retry(answer(Answer::Reset).await).1, None);
    assert!(permanent(answer(Answer::Status("410 Gone\r\n")).await).1);
    assert!(!permanent(answer(Answer::Status("400 Bad\r\n")).await).1);

    let other = Receiver::start(vec![Answer::Status("200 Ok\r\n")]).await;
    let location: &'static str = format!("302 There\r\nlocation: {}\r\n", other.url).leak();
    let (detail, _) = permanent(answer(Answer::Status(location)).await);
    assert!(detail.contains("never followed"), "{detail}");
    assert!(other.got().is_empty());
}

// Time is paused: with nothing to do but wait for the receiver, it jumps to the end of the timeout.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_left() {
    let receiver = Receiver::start(vec![Answer::Hang]).await;
    let (detail, _) = retry(hook(&receiver.url, "allow_private = true").send(&row("a", message()), &[]).await);
    assert!(detail.contains("within 20s"), "{detail}");
}

#[tokio::test]
async fn addresses_inside_are_not_reached_without_a_yes() {
    let receiver = Receiver::start(vec![Answer::Status("200 Ok\r\n")]).await;
    let url = receiver.url.replace("127.0.0.1", "localhost");
    let (detail, _) = permanent(hook(&url, "").send(&row("a", message()), &[]).await);
    assert!(detail.contains("refused for safety"), "{detail}");
    assert!(receiver.got().is_empty());
}

// --- the outbox over a real server ----------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_was_down_gets_the_mail_once_under_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(message().created_at);
    let store = Store::open(dir.path(), Role::Daemon, clock.clone()).await.unwrap();
    store.state.enqueue(vec![new_row("id-1", message())]).await.unwrap();
    // A port that was free a moment ago, and is not listened on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let channels = || BTreeMap::from([("c".to_string(), mailer(port, &["ops@shop.example"], ""))]);

    let dispatcher = Dispatcher::new(store.clone(), channels(), clock.clone());
    for _ in 0..5 {
        dispatcher.tick(clock.now()).await;
        clock.advance(Duration::from_secs(600));
    }
    let waiting = store.state.outbox_row("id-1").await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempts), (OutboxState::Pending, 5));

    let server = Smtp::start(&["--port", &port.to_string()]);
    // After a crash somebody else sends it.
    let dispatcher = Dispatcher::new(store.clone(), channels(), clock.clone());
    dispatcher.tick(clock.now()).await;
    let done = store.state.outbox_row("id-1").await.unwrap().unwrap();
    assert_eq!(done.state, OutboxState::Delivered);
    assert_eq!(dispatcher.tick(clock.now()).await, 0);
    assert_eq!(server.wait(1)[0].header("X-Hypercare-Id").as_deref(), Some("id-1"));
    assert_eq!(server.mails().len(), 1);
    store.close().await;
}
