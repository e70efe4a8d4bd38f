//! The rules that a Prometheus server really has, and whether they are alive: loaded and healthy, every selector with a
//! series, and not firing all day.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
use url::Url;

use super::read::{Found, Recorded, Rule};
use super::roles;
use super::world::name_of;
use crate::domain::clock::Timestamp;
use crate::domain::metric::{MatchOp, Matcher, NAME};
use crate::domain::verdict::Outcome;
use crate::gates::context::not_asked;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, redact_url};
use crate::promql;

/// Firings of a day that are still worth getting up for.
const FIRINGS_MAX: usize = 6;
/// Selectors that are asked for, per rule.
const SELECTORS_MAX: usize = 12;

/// A server to ask.
pub struct Live<'a> {
    prober: &'a Prober,
    server: Url,
    /// Alerts and recorded series as the server has them.
    pub found: Found,
    /// By alert name: why it is not healthy.
    unhealthy: BTreeMap<String, String>,
}

/// What is wrong with a rule that the server has.
#[derive(Debug, Clone, PartialEq)]
pub struct Trouble {
    pub rule: &'static str,
    pub message: String,
    /// Noise is weak, the rest is dead.
    pub dead: bool,
}

impl<'a> Live<'a> {
    /// Reads all rules. `Err`: the outcome to give.
    pub async fn open(prober: &'a Prober, server: &Url) -> Result<Live<'a>, Box<Outcome>> {
        let mut live = Live { prober, server: server.clone(), found: Found::default(), unhealthy: BTreeMap::new() };
        for kind in ["record", "alert"] {
            let json = live.ask("rules", &[("type", kind), ("exclude_alerts", "true")]).await?;
            let Some(groups) = json["data"]["groups"].as_array() else {
                let message = format!("{} is no Prometheus: no data.groups in the answer", redact_url(server));
                return Err(Box::new(Outcome::error("unreachable", message)));
            };
            for rule in groups.iter().flat_map(|g| g["rules"].as_array().into_iter().flatten()) {
                live.add(rule);
            }
        }
        Ok(live)
    }

    fn add(&mut self, rule: &Json) {
        let word = |key: &str| rule[key].as_str().unwrap_or_default().to_string();
        let (name, text) = (word("name"), word("query"));
        let labels: BTreeMap<String, String> = rule["labels"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(n, v)| Some((n.clone(), v.as_str()?.to_string())))
            .collect();
        if rule["type"] == "recording" {
            if let Ok(expr) = promql::parse(&text) {
                self.found.records.entry(name.clone()).or_default().push(Recorded { name, expr, labels });
            }
            return;
        }
        if rule["health"] == "err" {
            self.unhealthy.insert(name.clone(), word("lastError"));
        }
        self.found.alerts.push(Rule {
            name,
            expr: promql::parse(&text).map_err(|e| e.to_string()),
            text,
            wait: Duration::from_secs_f64(rule["duration"].as_f64().unwrap_or(0.0).clamp(0.0, 1e9)),
            labels,
            file: redact_url(&self.server),
            line: 0,
            templated: false,
        });
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Json, Box<Outcome>> {
        let mut url = self.server.clone();
        url.set_path(&format!("{}/api/v1/{path}", self.server.path().trim_end_matches('/')));
        url.query_pairs_mut().clear().extend_pairs(query);
        let shown = redact_url(&url);
        let answer = self.prober.send(Request::get(url)).await.map_err(|error| {
            Box::new(match &error {
                NetError::BodyTooLarge(_) => {
                    Outcome::error("too-large", format!("the rules of {shown} are too many to read"))
                }
                error => not_asked(error),
            })
        })?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map_err(|e| {
                Box::new(Outcome::error(
                    "unreachable",
                    format!("{shown} is no Prometheus: no JSON at line {}", e.line()),
                ))
            }),
            401 | 403 => Err(Box::new(
                Outcome::error("no-credentials", format!("{shown} asks for credentials"))
                    .hint("name an address of Prometheus that is open to you, such as a forwarded port"),
            )),
            status => Err(Box::new(
                Outcome::error("unreachable", format!("{shown} answered {status}"))
                    .hint("correct prometheus in [gates.monitoring.alerts]"),
            )),
        }
    }

    /// Is the rule alive? `selectors` are what it rests on, recording rules resolved.
    pub async fn troubles(
        &self,
        rule: &Rule,
        selectors: &[Vec<Matcher>],
        now: Timestamp,
    ) -> Result<Vec<Trouble>, Box<Outcome>> {
        let dead = |rule, message| Trouble { rule, message, dead: true };
        let mut out = Vec::new();
        if let Some(why) = self.unhealthy.get(&rule.name) {
            out.push(dead("unhealthy", format!("Prometheus cannot evaluate it: {why}")));
        }
        let mut asked: Vec<String> = selectors.iter().map(|s| without_outcome(s)).collect();
        asked.sort();
        asked.dedup();
        for selector in asked.iter().take(SELECTORS_MAX) {
            let json = self.ask("query", &[("query", &format!("count({selector})"))]).await?;
            if json["data"]["result"].as_array().is_none_or(Vec::is_empty) {
                out.push(dead("dead-selector", format!("{selector} has no series: it can never fire")));
            }
        }
        let firings = self.firings(&rule.name, now).await?;
        if firings > FIRINGS_MAX {
            let message = format!("fired {firings} times in the last 24 hours: nobody will look up any more");
            out.push(Trouble { rule: "noisy", message, dead: false });
        }
        Ok(out)
    }

    /// How often it began to fire within the last day.
    async fn firings(&self, name: &str, now: Timestamp) -> Result<usize, Box<Outcome>> {
        let query = format!("count(ALERTS{{alertname={},alertstate=\"firing\"}})", quoted(name));
        let (end, start) = (now.seconds(), now.seconds() - 86_400.0);
        let (start, end) = (start.to_string(), end.to_string());
        let json =
            self.ask("query_range", &[("query", &query), ("start", &start), ("end", &end), ("step", "60")]).await?;
        let values = json["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
        let times: Vec<f64> = values.iter().filter_map(|v| v[0].as_f64()).collect();
        let again = times.windows(2).filter(|w| w[1] - w[0] > 90.0).count();
        Ok(again + usize::from(!times.is_empty()))
    }
}

/// The selector without what only trouble brings: no service in good health has a series with status 500.
fn without_outcome(matchers: &[Matcher]) -> String {
    let status = roles::status(matchers).map(|(label, _, _)| label.to_string());
    let kept = matchers.iter().filter(|m| m.label != NAME && Some(&m.label) != status.as_ref() && m.label != "reason");
    let parts: Vec<String> = kept
        .map(|m| match &m.op {
            MatchOp::Equal(v) => format!("{}={}", m.label, quoted(v)),
            MatchOp::NotEqual(v) => format!("{}!={}", m.label, quoted(v)),
            MatchOp::Regex(r) => format!("{}=~{}", m.label, quoted(pattern(r.as_str()))),
            MatchOp::NotRegex(r) => format!("{}!~{}", m.label, quoted(pattern(r.as_str()))),
        })
        .collect();
    format!("{}{{{}}}", name_of(matchers).unwrap_or_default(), parts.join(","))
}

/// As it was written: our own anchors taken off.
fn pattern(anchored: &str) -> &str {
    anchored.strip_prefix("^(?s:").and_then(|p| p.strip_suffix(")$")).unwrap_or(anchored)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
