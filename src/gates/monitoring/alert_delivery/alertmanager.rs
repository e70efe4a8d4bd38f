//! What Prometheus and Alertmanager tell: who is sent to, the configuration in force, silences, counters; and the one
//! thing that is written, the canary. Answers are read defensively.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value as Json, json};
use url::Url;

use super::canary::{self, Canary};
use crate::domain::verdict::Outcome;
use crate::gates::import::yaml;
use crate::gates::web::trouble;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, redact_url};

pub type Labels = BTreeMap<String, String>;

/// What Prometheus tells.
pub struct Told {
    /// Base URLs of the Alertmanagers in use.
    pub active: Vec<Url>,
    /// Labels of the urgent alerts by their names.
    pub alerts: BTreeMap<String, Labels>,
}

/// Alerts that are followed through the routes.
const ALERTS_MAX: usize = 200;
/// Values of `severity` that get somebody up.
const URGENT: [&str; 6] = ["critical", "page", "pager", "high", "sev1", "p1"];

fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query(None);
    url
}

async fn ask(prober: &Prober, url: Url, what: &str) -> Result<Json, Box<Outcome>> {
    let shown = redact_url(&url);
    let answer = prober.send(Request::get(url)).await.map_err(|e| Box::new(trouble(&e)))?;
    let other = |text: String| Box::new(Outcome::error("unreachable", text));
    match answer.status {
        200 => serde_json::from_slice(&answer.body).map_err(|_| other(format!("{shown} is no {what}: no JSON"))),
        401 | 403 => Err(Box::new(
            Outcome::error("no-credentials", format!("{shown} asks for credentials"))
                .hint(format!("name an address of {what} that is open to you, such as a forwarded port")),
        )),
        status => Err(other(format!("{shown} answered {status}: is it {what}?"))),
    }
}

/// The Alertmanagers that a Prometheus sends to, and the labels of its urgent alerts.
pub async fn of_prometheus(prober: &Prober, server: &Url) -> Result<Told, Box<Outcome>> {
    let json = ask(prober, at(server, "/api/v1/alertmanagers"), "Prometheus").await?;
    let urls = json["data"]["activeAlertmanagers"].as_array().into_iter().flatten();
    // `http://host:9093/prefix/api/v2/alerts`
    let base = |row: &Json| {
        let mut url = Url::parse(row["url"].as_str()?).ok()?;
        let path = url.path().split("/api/v").next().unwrap_or_default().to_string();
        url.set_path(&format!("{}/", path.trim_end_matches('/')));
        Some(url)
    };
    let active = urls.filter_map(base).collect();
    let mut url = at(server, "/api/v1/rules");
    url.query_pairs_mut().append_pair("type", "alert");
    let rules = ask(prober, url, "Prometheus").await?;
    let groups = rules["data"]["groups"].as_array().into_iter().flatten();
    let mut alerts = BTreeMap::new();
    for rule in groups.flat_map(|g| g["rules"].as_array().into_iter().flatten()).take(ALERTS_MAX) {
        let name = rule["name"].as_str().unwrap_or_default().to_string();
        let mut labels: Labels = rule["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(n, v)| Some((n.clone(), v.as_str()?.to_string())))
            .collect();
        if labels.get("severity").is_some_and(|s| URGENT.contains(&s.to_ascii_lowercase().as_str())) {
            labels.insert("alertname".into(), name.clone());
            alerts.insert(name, labels);
        }
    }
    Ok(Told { active, alerts })
}

pub struct Alertmanager {
    base: Url,
    pub config: Json,
}

/// Notifications since Alertmanager started, of all integrations.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Counters {
    pub sent: u64,
    pub failed: u64,
    /// (sent, failed) by integration: `webhook`, `email`.
    pub by_integration: BTreeMap<String, (u64, u64)>,
}

impl Counters {
    pub fn since(&self, before: &Counters) -> Counters {
        let mut out = Counters {
            sent: self.sent.saturating_sub(before.sent),
            failed: self.failed.saturating_sub(before.failed),
            ..Counters::default()
        };
        for (name, now) in &self.by_integration {
            let then = before.by_integration.get(name).copied().unwrap_or_default();
            let rise = (now.0.saturating_sub(then.0), now.1.saturating_sub(then.1));
            if rise != (0, 0) {
                out.by_integration.insert(name.clone(), rise);
            }
        }
        out
    }

    /// From `alertmanager_notifications_total{integration="…"} N` and its twin of failures.
    fn read(text: &str) -> Counters {
        let mut out = Counters::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some((name, labels)) = series.split_once('{') else { continue };
            let Some(value) = value.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0) else { continue };
            let integration =
                labels.split("integration=\"").nth(1).and_then(|l| l.split('"').next()).unwrap_or("?").to_string();
            let row = match name {
                "alertmanager_notifications_total" => {
                    out.sent += value as u64;
                    &mut out.by_integration.entry(integration).or_default().0
                }
                "alertmanager_notifications_failed_total" => {
                    out.failed += value as u64;
                    &mut out.by_integration.entry(integration).or_default().1
                }
                _ => continue,
            };
            *row += value as u64;
        }
        out
    }
}

impl Alertmanager {
    /// Reads the configuration in force.
    pub async fn open(prober: &Prober, base: &Url) -> Result<Alertmanager, Box<Outcome>> {
        let status = ask(prober, at(base, "/api/v2/status"), "Alertmanager").await?;
        let text = status["config"]["original"].as_str().unwrap_or_default();
        let config = yaml::documents(text).ok().and_then(|mut all| (!all.is_empty()).then(|| all.remove(0)));
        match config.filter(|c| c["route"].is_object()) {
            Some(config) => Ok(Alertmanager { base: base.clone(), config }),
            None => {
                let text = format!("{} tells no configuration with a route", redact_url(base));
                Err(Box::new(Outcome::error("unreachable", text)))
            }
        }
    }

    /// The comment of a silence that keeps these labels down now.
    pub async fn silence(&self, prober: &Prober, labels: &Labels) -> Result<Option<String>, NetError> {
        let answer = prober.get(at(&self.base, "/api/v2/silences")).await?;
        let all: Vec<Json> = serde_json::from_slice(&answer.body).map_err(|_| {
            NetError::Protocol(format!("{} answered {} without JSON", redact_url(&answer.url), answer.status))
        })?;
        let holds = |m: &Json| {
            let (name, wanted) = (m["name"].as_str().unwrap_or_default(), m["value"].as_str().unwrap_or_default());
            let have = labels.get(name).map_or("", String::as_str);
            let same = match m["isRegex"] == true {
                true => crate::domain::metric::anchored(wanted).is_ok_and(|r| r.is_match(have)),
                false => wanted == have,
            };
            // `isEqual` came with 0.22; before, every matcher was one.
            same == m["isEqual"].as_bool().unwrap_or(true)
        };
        let covers = |s: &&Json| {
            s["status"]["state"] == "active"
                && s["matchers"].as_array().is_some_and(|all| !all.is_empty() && all.iter().all(holds))
        };
        let told = |s: &Json| {
            let text = s["comment"].as_str().unwrap_or_default();
            format!("{} (until {})", text, s["endsAt"].as_str().unwrap_or("?")).chars().take(200).collect()
        };
        Ok(all.iter().find(covers).map(told))
    }

    pub async fn counters(&self, prober: &Prober) -> Result<Counters, NetError> {
        let answer = prober.get(at(&self.base, "/metrics")).await?;
        match answer.status {
            200 => Ok(Counters::read(&answer.text())),
            status => Err(NetError::Protocol(format!("{} answered {status}", redact_url(&answer.url)))),
        }
    }

    /// Posts the canary; it ends by itself.
    pub async fn post(&self, prober: &Prober, canary: &Canary, code: &str, service: &str) -> Result<(), Box<Outcome>> {
        let end = canary.posted.plus(canary::LIFE).rfc3339();
        let code = canary::spoken(code);
        let say = format!("hypercare attest {} --code {code}", super::ABOUT.id);
        let alert = json!([{
            "labels": canary.labels,
            "annotations": {
                "summary": format!("TEST of the way to you, {service} is well. Code {code}"),
                "description": format!("Nothing is broken. Give the code back within 30 minutes: {say}"),
                "code": code,
            },
            "startsAt": canary.posted.rfc3339(), "endsAt": end,
        }]);
        let request = Request::post(at(&self.base, "/api/v2/alerts"), "application/json", alert.to_string());
        let answer = prober.send(request.timeout(Duration::from_secs(10))).await.map_err(|e| Box::new(trouble(&e)))?;
        match answer.status {
            200..300 => Ok(()),
            status => {
                let text = format!("{} took no alert: {status}", redact_url(&self.base));
                Err(Box::new(Outcome::error("not-posted", text)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_rise_by_integration() {
        let text = |sent, failed| {
            format!(
                "# TYPE alertmanager_notifications_total counter\n\
                 alertmanager_notifications_total{{integration=\"email\"}} {sent}\n\
                 alertmanager_notifications_total{{integration=\"webhook\"}} 7\n\
                 alertmanager_notifications_failed_total{{integration=\"email\",reason=\"other\"}} {failed}\n\
                 alertmanager_notifications_failed_total{{integration=\"email\",reason=\"serverError\"}} 1\n"
            )
        };
        let rise = Counters::read(&text(5, 1)).since(&Counters::read(&text(3, 0)));
        assert_eq!((rise.sent, rise.failed), (2, 1));
        assert_eq!(rise.by_integration, BTreeMap::from([("email".to_string(), (2, 1))]));
        assert_eq!(Counters::read("nonsense\nalertmanager_notifications_total NaN"), Counters::default());
    }
}
