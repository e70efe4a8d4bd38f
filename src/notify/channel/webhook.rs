//! Channel `webhook`: Standard Webhooks 1.0.0, signed when a secret is given, or Alertmanager's version-4 payload.
//!
//! The body is the same on every try of a row; only the attempt's time and the signature differ. 2xx is accepted, a
//! redirect is a failure, 404 and 410 say that the receiver is gone. Building the body is pure and tested by snapshot.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use url::Url;

use super::{AttachedFile, Channel, Context, Receipt, SendError};
use crate::domain::alert::AlertState;
use crate::domain::clock::Timestamp;
use crate::domain::notification::{AlertLine, Message, OutboxRow};
use crate::domain::problem::Problem;
use crate::domain::secret::{Secret, redact};
use crate::net::{Client, NetError, Redirects, Request, Response, retry_after};
use crate::notify::bucket::Rate;
use crate::notify::message::{tidy, tidy_line};

/// Connect to last byte.
const TIMEOUT: Duration = Duration::from_secs(20);
const RATE: Rate = Rate { burst: 60, per_second: 10.0 };
/// Groups on their way at once: one slow answer does not hold the others up.
const PARALLEL: u32 = 4;
/// Receivers of Standard Webhooks may refuse more than 20 KB.
const BODY_BYTES_MAX: usize = 20_000;
/// Of the answer; only its beginning is shown.
const ANSWER_BYTES_MAX: usize = 4096;
/// The signing key's length in bytes (Standard Webhooks 1.0.0).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// `[channel.NAME.via.webhook]`
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to POST. Redirects are a failure, never followed.
    pub url: Url,
    /// Signing key by reference: `whsec_` and base64 of 24 to 64 bytes; several, separated by spaces, while the key is
    /// changed. Default: none, and the receiver cannot tell who sent it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// `standard` (Standard Webhooks 1.0.0) or `alertmanager` (its version-4 payload, for receivers that exist).
    #[serde(default)]
    pub mode: Mode,
    /// Private and loopback addresses may be reached. Default: false, so that a URL from elsewhere cannot make
    /// hypercare speak to the inside.
    #[serde(default)]
    pub allow_private: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Standard,
    Alertmanager,
}

impl Config {
    /// Everything wrong with it. Pure.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !matches!(self.url.scheme(), "http" | "https") {
            problems.push(Problem::at(["url"], "must begin with https:// or http://"));
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            problems.push(Problem::at(["url"], "must not hold a login"));
        }
        if let Err(NetError::Refused(why)) = crate::net::address::check_literal(&self.url, self.allow_private) {
            problems.push(Problem::at(["url"], why).hint("allow_private = true, if that is meant"));
        }
        problems
    }

    pub fn build(&self, name: &str, ctx: &Context) -> Result<Webhook, Vec<Problem>> {
        match self.problems() {
            problems if problems.is_empty() => Ok(Webhook {
                name: name.into(),
                config: self.clone(),
                client: ctx.client.clone(),
                clock: ctx.clock.clone(),
            }),
            problems => Err(problems),
        }
    }
}

/// The built channel.
pub struct Webhook {
    name: String,
    config: Config,
    client: Client,
    clock: crate::domain::clock::SharedClock,
}

impl Webhook {
    async fn try_send(&self, row: &OutboxRow) -> Result<Receipt, SendError> {
        let body = match self.config.mode {
            Mode::Standard => standard(&row.new.message, &row.new.id),
            Mode::Alertmanager => alertmanager(row, &self.name),
        };
        let at = self.clock.now().ms() / 1000;
        let id = &row.new.id;
        let mut request = Request::post(self.config.url.clone(), "application/json", body.clone())
            .header("webhook-id", id)
            .header("webhook-timestamp", at.to_string())
            .timeout(TIMEOUT);
        request.body_bytes_limit = ANSWER_BYTES_MAX;
        request.truncate = true;
        request.redirects = Redirects::None;
        request.allow_private = self.config.allow_private;
        if let Some(secret) = &self.config.secret {
            // Read at each send: a rotated key needs no restart.
            let signed = secret.reveal().map_err(|e| e.to_string()).and_then(|s| signatures(s.expose(), id, at, &body));
            let signature =
                signed.map_err(|e| SendError::Retry { detail: redact(&format!("signing: {e}")), after: None })?;
            request = request.header("webhook-signature", signature);
        }
        let answer = self.client.send(request).await.map_err(|e| unsent(&e))?;
        judge(&answer, self.clock.now())
    }
}

impl Channel for Webhook {
    fn timeout(&self) -> Duration {
        TIMEOUT
    }
    fn rate(&self) -> Rate {
        RATE
    }
    fn parallel(&self) -> u32 {
        PARALLEL
    }
    fn send<'a>(&'a self, row: &'a OutboxRow, _files: &'a [AttachedFile]) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.try_send(row))
    }
}

fn unsent(error: &NetError) -> SendError {
    let detail = redact(&tidy_line(&error.to_string(), 500));
    match error {
        NetError::Refused(_) => SendError::Permanent { detail, disable: false },
        _ => SendError::Retry { detail, after: None },
    }
}

/// What an answer means.
fn judge(answer: &Response, now: Timestamp) -> Result<Receipt, SendError> {
    let said = tidy_line(&answer.text(), 200);
    let detail = redact(format!("{} {said}", answer.status).trim());
    match answer.status {
        200..=299 => {
            let remote = ["x-request-id", "request-id", "x-amzn-requestid"].iter().find_map(|h| answer.header(h));
            Ok(Receipt { remote_id: remote.map(|r| tidy_line(r, 120)), detail })
        }
        300..=399 => {
            let to = answer.header("location").map(|l| tidy_line(l, 200)).unwrap_or_default();
            let detail = redact(&format!("{} redirects to {to}: never followed", answer.status));
            Err(SendError::Permanent { detail, disable: false })
        }
        404 | 410 => Err(SendError::Permanent { detail, disable: true }),
        408 | 425 | 429 | 500..=599 => Err(SendError::Retry { detail, after: retry_after(answer, now) }),
        _ => Err(SendError::Permanent { detail, disable: false }),
    }
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for each key of `secret`.
fn signatures(secret: &str, id: &str, at: i64, body: &[u8]) -> Result<String, String> {
    let mut out = Vec::new();
    for key in secret.split_whitespace() {
        let coded = key.strip_prefix("whsec_").ok_or("the secret does not begin with whsec_")?;
        let bytes = BASE64.decode(coded).map_err(|_| "what follows whsec_ is not base64")?;
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(format!(
                "the key has {} bytes; {} to {} are asked for",
                bytes.len(),
                KEY_BYTES.start(),
                KEY_BYTES.end()
            ));
        }
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &bytes);
        let mut signer = ring::hmac::Context::with_key(&key);
        signer.update(format!("{id}.{at}.").as_bytes());
        signer.update(body);
        out.push(format!("v1,{}", BASE64.encode(signer.sign())));
    }
    if out.is_empty() {
        return Err("the secret is empty".into());
    }
    Ok(out.join(" "))
}

/// Standard Webhooks' `{"type","timestamp","data"}`, cut from the bottom to 20 KB.
fn standard(message: &Message, id: &str) -> Vec<u8> {
    let facts: Vec<Value> = message
        .facts
        .iter()
        .take(24)
        .map(|f| json!({"label": tidy_line(&f.label, 60), "text": tidy_line(&f.text, 600)}))
        .collect();
    let alerts: Vec<Value> = message.alerts.iter().map(alert_json).collect();
    let mut data = Map::from_iter([
        ("id".to_string(), json!(id)),
        ("service".into(), json!(message.service)),
        ("severity".into(), json!(message.severity.word())),
        ("episode".into(), json!(message.thread.as_ref().map(|t| &t.key))),
        ("title".into(), json!(tidy_line(&message.title, 200))),
        ("headline".into(), json!(tidy_line(&message.headline, 300))),
        ("facts".into(), json!(facts)),
        ("alerts_total".into(), json!(alerts.len())),
        ("alerts".into(), json!(alerts)),
        ("runbook".into(), json!(message.runbook)),
        ("rollback".into(), json!(message.rollback)),
        ("body".into(), json!(tidy(&message.body, 4000))),
    ]);
    if let Value::Object(extra) = &message.data {
        for (key, value) in extra {
            data.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let timestamp = message.created_at.rfc3339();
    let make = |data: &Map<String, Value>| {
        serde_json::to_vec(&json!({"type": message.kind.word(), "timestamp": timestamp, "data": data}))
            .unwrap_or_default()
    };
    let ours = ["id", "service", "severity", "episode", "title", "headline", "alerts_total", "truncated"];
    let mut body = make(&data);
    // Half of the alerts at a time, then whatever is long: what names the episode always stays.
    while body.len() > BODY_BYTES_MAX {
        data.insert("truncated".into(), json!(true));
        match data.get_mut("alerts") {
            Some(Value::Array(list)) if !list.is_empty() => list.truncate(list.len() / 2),
            _ => match data.keys().find(|k| !ours.contains(&k.as_str())).cloned() {
                Some(key) => {
                    data.remove(&key);
                }
                None => break,
            },
        }
        body = make(&data);
    }
    body
}

fn alert_json(alert: &AlertLine) -> Value {
    json!({
        "name": tidy_line(&alert.name, 200),
        "state": alert.state.word(),
        "severity": alert.severity.word(),
        "labels": alert.labels.to_map(),
        "summary": tidy_line(&alert.summary, 600),
        // JSON has no NaN: unknown is null.
        "value": alert.value.filter(|v| v.is_finite()),
        "since": alert.since.rfc3339(),
        "resolved_at": alert.resolved_at.map(|t| t.rfc3339()),
    })
}

/// Alertmanager's webhook payload, version 4. News that is no alert becomes one of severity info, so that receivers
/// show it.
fn alertmanager(row: &OutboxRow, receiver: &str) -> Vec<u8> {
    let message = &row.new.message;
    let mut annotations = Map::from_iter([("summary".to_string(), json!(tidy_line(&message.headline, 300)))]);
    annotations.extend(message.facts.iter().take(24).map(|f| {
        let name: String =
            f.label.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        (name, json!(tidy_line(&f.text, 600)))
    }));
    if let Some(runbook) = &message.runbook {
        annotations.insert("runbook_url".into(), json!(runbook));
    }
    let mut alerts: Vec<Value> = message.alerts.iter().map(alertmanager_alert).collect();
    if alerts.is_empty() {
        alerts.push(json!({
            "status": "firing",
            "labels": {"alertname": message.kind.word(), "service": message.service, "severity": message.severity.word()},
            "annotations": annotations.clone(),
            "startsAt": message.created_at.rfc3339(),
            "endsAt": NEVER,
            "generatorURL": "",
            "fingerprint": format!("{:0>16}", row.new.id.replace('-', "").chars().rev().take(16).collect::<String>()),
        }));
    }
    let common = |alerts: &[Value]| -> Map<String, Value> {
        let mut common = alerts.first().and_then(|a| a["labels"].as_object()).cloned().unwrap_or_default();
        common.retain(|k, v| alerts.iter().all(|a| a["labels"].get(k) == Some(v)));
        common
    };
    let firing = alerts.iter().any(|a| a["status"] == "firing");
    let labels = common(&alerts);
    let group: Map<String, Value> = labels
        .iter()
        .filter(|(k, _)| matches!(k.as_str(), "alertname" | "service"))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let total = alerts.len();
    loop {
        let body = serde_json::to_vec(&json!({
            "version": "4",
            "groupKey": row.new.group_key,
            "truncatedAlerts": total - alerts.len(),
            "status": if firing { "firing" } else { "resolved" },
            "receiver": receiver,
            "groupLabels": group,
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "",
            "alerts": alerts,
        }))
        .unwrap_or_default();
        if body.len() <= BODY_BYTES_MAX || alerts.len() <= 1 {
            return body;
        }
        alerts.truncate(alerts.len() / 2);
    }
}

/// Go's zero time: how Alertmanager says "not yet".
const NEVER: &str = "0001-01-01T00:00:00Z";

fn alertmanager_alert(alert: &AlertLine) -> Value {
    json!({
        "status": if alert.state == AlertState::Resolved { "resolved" } else { "firing" },
        "labels": alert.labels.to_map(),
        "annotations": {"summary": tidy_line(&alert.summary, 600)},
        "startsAt": alert.since.rfc3339(),
        "endsAt": alert.resolved_at.map_or(NEVER.to_string(), |t| t.rfc3339()),
        "generatorURL": "",
        "fingerprint": format!("{:016x}", alert.labels.fingerprint()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::mail::tests::row;
    use crate::notify::message::tests::example;

    // Delivery itself (good, redirect, gone, slow, reset) is tested against a real server in tests/notify.rs.

    #[test]
    fn signs_as_the_specification_says() {
        // The worked value of Standard Webhooks 1.0.0.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let sign =
            |secret: &str| signatures(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b"{\"test\": 2432232314}");
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(secret).unwrap(), one);
        assert_eq!(sign(&format!("{secret} {secret}")).unwrap(), format!("{one} {one}"));
        for bad in ["", "hunter2", "whsec_***", "whsec_c2hvcnQ="] {
            let error = sign(bad).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn bodies() {
        let show = |body: Vec<u8>| serde_json::from_slice::<Value>(&body).unwrap();
        insta::assert_json_snapshot!("standard", show(standard(&example(), "0192-id")));
        insta::assert_json_snapshot!("alertmanager", show(alertmanager(&row(example()), "oncall")));
        let mut news = example();
        news.kind = crate::domain::notification::MessageKind::LaunchStateChanged;
        news.severity = crate::domain::alert::AlertSeverity::Info;
        news.alerts.clear();
        insta::assert_json_snapshot!("alertmanager_news", show(alertmanager(&row(news), "oncall")));
    }

    #[test]
    fn a_body_never_grows_past_its_limit_and_still_names_the_episode() {
        let mut message = example();
        message.alerts = vec![message.alerts[0].clone(); 5000];
        message.data = json!({"huge": "x".repeat(100_000), "id": "not ours"});
        message.body = "y".repeat(100_000);
        for body in [standard(&message, "the-id"), alertmanager(&row(message.clone()), "oncall")] {
            assert!(body.len() <= BODY_BYTES_MAX, "{}", body.len());
        }
        let body: Value = serde_json::from_slice(&standard(&message, "the-id")).unwrap();
        assert_eq!(body["data"]["truncated"], true);
        assert_eq!(body["data"]["alerts_total"], 5000);
        assert_eq!(body["data"]["episode"], "0192-episode");
        assert_eq!(body["data"]["id"], "the-id");
    }

    #[test]
    fn answers_are_told_apart() {
        let now = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
        let check = |status: u16, headers: &[(&str, &str)], expect: &str| {
            let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            let url = "https://h.example".parse().unwrap();
            let answer = Response {
                status,
                headers,
                body: "no\u{1b}[2J".into(),
                truncated: false,
                duration: Duration::ZERO,
                url,
                tls: None,
            };
            let got = match judge(&answer, now) {
                Ok(r) => format!("ok {}", r.remote_id.unwrap_or_default()),
                Err(SendError::Retry { after, .. }) => format!("retry {:?}", after.map(|d| d.as_secs())),
                Err(SendError::Permanent { disable, detail }) => {
                    assert!(!detail.contains('\u{1b}'));
                    format!("permanent {disable}")
                }
            };
            assert_eq!(got, expect, "{status}");
        };
        check(204, &[("x-request-id", "r1")], "ok r1");
        check(302, &[("location", "/login")], "permanent false");
        check(400, &[], "permanent false");
        check(404, &[], "permanent true");
        check(410, &[], "permanent true");
        check(429, &[("retry-after", "7")], "retry Some(7)");
        check(503, &[("retry-after", "Sun, 22 Nov 2026 10:01:30 GMT")], "retry Some(90)");
        check(503, &[("retry-after", "soon")], "retry None");
        check(408, &[], "retry None");
    }

    #[test]
    fn addresses_inside_need_a_yes() {
        let problems = |text: &str| toml::from_str::<Config>(text).unwrap().problems().len();
        assert_eq!(problems("url = 'https://hooks.example/a'"), 0);
        assert_eq!(problems("url = 'http://127.0.0.1:9/a'"), 1);
        assert_eq!(problems("url = 'http://127.0.0.1:9/a'\nallow_private = true"), 0);
        assert_eq!(problems("url = 'http://169.254.169.254/latest'\nallow_private = true"), 1);
        assert_eq!(problems("url = 'ftp://u:p@h.example/a'"), 2);
    }
}
