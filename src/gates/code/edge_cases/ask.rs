//! Sends the odd requests, in turns over all operations, and asks again before anything counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::cases::{self, Case};
use super::{ABOUT, Config, leaks};
use crate::domain::secret::redact;
use crate::gates::actors::Headers;
use crate::gates::inventory::{Operation, covers};
use crate::gates::{GateContext, web};
use crate::net::safety::{Intent, Prober, Target};
use crate::net::{NetError, Request, Response, retry_after};

/// What is left of the gate's time when it stops asking.
const RESERVE: Duration = Duration::from_secs(30);
/// Longest wait for a limit to pass, and how often it is waited for.
const PAUSE_MAX: Duration = Duration::from_secs(30);
const PAUSES_MAX: u32 = 3;
/// A refusal takes at most this many times the valid request, and never counts below a second.
const SLOW_TIMES: u32 = 10;
const SLOW_LEAST: Duration = Duration::from_secs(1);
/// Of a body this much stands in the evidence.
const EXCERPT_CHARS: usize = 240;
/// Defects of one operation that are kept.
const DEFECTS_MAX: usize = 20;

/// Everything the verdict rests on.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) operations: Vec<Asked>,
    /// Why the walk ended early.
    pub(super) stopped: Option<NetError>,
    /// Limits, time: said beside the verdict.
    pub(super) cut_short: Option<String>,
    pub(super) requests: u64,
    pub(super) told: Vec<String>,
}

/// One operation and what came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Asked {
    pub(super) name: String,
    pub(super) template: String,
    pub(super) cases: u64,
    /// Why it counts as not exercised.
    pub(super) unasked: Option<String>,
    /// Status of the valid request.
    pub(super) valid: Option<u16>,
    pub(super) defects: Vec<Defect>,
    /// Shapes of refusals, with a case each.
    pub(super) shapes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    ServerError,
    /// 502, 503, 504: of a gateway, perhaps because the process behind it ended.
    Gateway,
    Broken,
    Leak,
    Accepted,
    NoAllow,
    Slow,
    /// The valid request itself is answered 5xx.
    ValidFails,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct Defect {
    pub(super) what: What,
    pub(super) case: String,
    pub(super) part: String,
    pub(super) status: Option<u16>,
    /// What it showed, or how it broke.
    pub(super) detail: String,
    pub(super) excerpt: String,
    pub(super) curl: String,
}

pub(super) async fn ask(ctx: &GateContext, target: &Target, config: &Config) -> Seen {
    let inventory = ctx.inventory().await;
    let mut seen = Seen { told: inventory.told.clone(), ..Seen::default() };
    let plain = ctx.prober(ABOUT.id, Intent::Active);
    let actor = match ctx.actors().first() {
        Some(actor) => match ctx.signed_in(actor).await {
            Ok(headers) => headers,
            Err(why) => {
                seen.cut_short = Some(why);
                Headers::new()
            }
        },
        None => Headers::new(),
    };
    let limit = ABOUT.timeout.saturating_sub(RESERVE);
    let mut walk = Walk {
        provoking: plain.provoking(),
        plain,
        base: &target.url,
        actor,
        ctx,
        until: Instant::now() + limit,
        pauses: 0,
    };
    let canary = web::canary(&ctx.guard.run);
    let known: Vec<&Operation> = inventory
        .operations
        .iter()
        .filter(|o| !matches!(o.method.as_str(), "HEAD" | "OPTIONS") && !covers(&config.ignore, &o.template))
        .collect();
    // What the time allows is shared by all operations alike.
    let affordable = limit.as_secs() * u64::from(ctx.guard.safety.rps) / (known.len() as u64).max(1);
    let most = config.max_cases_per_op.min(affordable.max(4) as usize);
    for (nth, operation) in known.iter().enumerate() {
        (ctx.progress)(ABOUT.id, &format!("{} of {}: {}", nth + 1, known.len(), operation.name()));
        let offered: BTreeSet<&str> =
            known.iter().filter(|o| o.template == operation.template).map(|o| o.method.as_str()).collect();
        let offered: Vec<&str> = offered.into_iter().collect();
        let mut asked = Asked { name: operation.name(), template: operation.template.clone(), ..Asked::default() };
        if seen.stopped.is_some() {
            asked.unasked = Some("the walk ended before".into());
        } else if let Err(error) = walk.operation(operation, &offered, &canary, most, &mut asked).await {
            asked.unasked.get_or_insert_with(|| error.to_string());
            // What stops one operation stops no other, unless nothing can be asked at all.
            let first = seen.operations.is_empty() && !is_of_one_path(&error);
            if matches!(error, NetError::Stopped(_)) || first {
                seen.stopped = Some(error);
            }
        }
        seen.operations.push(asked);
    }
    seen.requests = walk.plain.requests();
    seen
}

/// A path that no unsafe method is sent to.
fn is_of_one_path(error: &NetError) -> bool {
    matches!(error, NetError::Refused(why) if why.contains("might pay"))
}

struct Walk<'a> {
    plain: Prober,
    provoking: Prober,
    base: &'a Url,
    actor: Headers,
    ctx: &'a GateContext,
    until: Instant,
    pauses: u32,
}

impl Walk<'_> {
    async fn operation(
        &mut self,
        operation: &Operation,
        offered: &[&str],
        canary: &str,
        most: usize,
        asked: &mut Asked,
    ) -> Result<(), NetError> {
        if !cases::askable(operation) {
            asked.unasked = Some("no request to it is sure to change nothing".into());
            return Ok(());
        }
        let valid_path = cases::valid(operation);
        // An unsafe operation is sent nothing valid: what tells that the host is well is the front page.
        let well = valid_path.clone().unwrap_or_else(|| "/".into());
        let baseline = self.valid(&well).await?;
        asked.valid = valid_path.is_some().then_some(baseline.status);
        if valid_path.is_some() && matches!(baseline.status, 401 | 403) {
            asked.unasked = Some(format!("answers {} to the actor at hand", baseline.status));
            return Ok(());
        }
        if valid_path.is_some() && baseline.status >= 500 {
            if self.valid(&well).await?.status >= 500 {
                let case = Case { what: "a valid request".into(), path: well, ..plain_case(operation) };
                asked.defects.push(self.defect(What::ValidFails, &case, Some(&baseline), String::new()));
            }
            asked.unasked = Some(format!("answers {} to a valid request", baseline.status));
            return Ok(());
        }
        let valid_body = baseline.text().into_owned();
        let mut refused = 0;
        let all = cases::cases(operation, offered, canary, most);
        for case in &all {
            if Instant::now() >= self.until {
                return Err(NetError::Stopped("the time for this gate is used up".into()));
            }
            let answer = match self.send(case).await {
                Ok(answer) => answer,
                Err(NetError::Refused(_)) if case.other_method => continue,
                Err(error @ NetError::Refused(_)) => return Err(error),
                Err(error @ NetError::Stopped(_)) => return Err(error),
                Err(error) => {
                    asked.cases += 1;
                    // Only what breaks twice while the host is well is the route's.
                    let again = self.send(case).await;
                    if self.valid(&well).await?.status < 500 && again.is_err() {
                        asked.defects.push(self.defect(What::Broken, case, None, error.to_string()));
                    }
                    continue;
                }
            };
            asked.cases += 1;
            if matches!(answer.status, 401 | 403) && !operation.is_safe() && !case.other_method {
                refused += 1;
                if refused >= 2 {
                    asked.unasked = Some(format!("answers {} to the actor at hand", answer.status));
                    return Ok(());
                }
            }
            let found = look(case, &answer, &valid_body, baseline.duration);
            if let Some((what, detail)) = found {
                let stands = match what {
                    What::ServerError | What::Gateway | What::Leak | What::Slow => {
                        let well = self.valid(&well).await?.status < 500;
                        let again = self.send(case).await?;
                        well && look(case, &again, &valid_body, baseline.duration).is_some_and(|(kind, _)| kind == what)
                    }
                    _ => true,
                };
                if stands && asked.defects.len() < DEFECTS_MAX {
                    asked.defects.push(self.defect(what, case, Some(&answer), detail));
                }
                if what == What::Accepted && !operation.is_safe() {
                    // It takes what it should refuse: nothing more is sent that it might keep.
                    return Ok(());
                }
            }
            if !case.other_method
                && let Some(shape) = shape(&answer)
            {
                asked.shapes.entry(shape).or_insert_with(|| case.what.clone());
            }
        }
        Ok(())
    }

    fn request(&self, method: &str, path: &str, body: Option<&(&'static str, String)>) -> Result<Request, NetError> {
        let joined = format!("{}{path}", self.base.path().trim_end_matches('/'));
        let url = self.base.join(&joined).map_err(|e| NetError::Protocol(e.to_string()))?;
        let mut request = Request { method: method.into(), truncate: true, ..Request::get(url) };
        request = request.header("accept", "application/json, */*;q=0.5");
        for (name, value) in &self.actor {
            request = request.header(name.as_str(), value.as_str());
        }
        if let Some((media, text)) = body {
            request = request.header("content-type", *media);
            request.body = text.clone().into();
        }
        Ok(request)
    }

    async fn valid(&mut self, path: &str) -> Result<Response, NetError> {
        let request = self.request("GET", path, None)?;
        let prober = self.plain.clone();
        self.patient(&prober, request).await
    }

    async fn send(&mut self, case: &Case) -> Result<Response, NetError> {
        let request = self.request(&case.method, &case.path, case.body.as_ref())?;
        let prober = self.provoking.clone();
        self.patient(&prober, request).await
    }

    /// Waits a few times for a limit to pass.
    async fn patient(&mut self, prober: &Prober, request: Request) -> Result<Response, NetError> {
        loop {
            let answer = prober.send(request.clone()).await?;
            if answer.status != 429 {
                return Ok(answer);
            }
            if self.pauses == PAUSES_MAX {
                return Err(NetError::Stopped("the target's own limit answers 429 again and again".into()));
            }
            self.pauses += 1;
            let asked = retry_after(&answer, self.ctx.clock.now()).unwrap_or(Duration::from_secs(5));
            tokio::time::sleep(asked.clamp(Duration::from_secs(1), PAUSE_MAX)).await;
        }
    }

    fn defect(&self, what: What, case: &Case, answer: Option<&Response>, detail: String) -> Defect {
        let body = answer.map(|a| a.text().into_owned()).unwrap_or_default();
        Defect {
            what,
            case: clean(&case.what, 120),
            part: clean(&case.part, 80),
            status: answer.map(|a| a.status),
            detail: clean(&detail, 160),
            excerpt: redact(&clean(&body, EXCERPT_CHARS)),
            curl: curl(self.base, case, !self.actor.is_empty()),
        }
    }
}

fn plain_case(operation: &Operation) -> Case {
    Case {
        what: String::new(),
        part: String::new(),
        method: operation.verb().into(),
        path: String::new(),
        body: None,
        invalid: false,
        other_method: false,
    }
}

/// What one answer has wrong. Pure.
fn look(case: &Case, answer: &Response, valid_body: &str, valid_time: Duration) -> Option<(What, String)> {
    let status = answer.status;
    if let Some(what) = leaks::leak(&answer.text(), valid_body).filter(|_| status >= 400) {
        return Some(if status >= 500 && !matches!(status, 502..=504) {
            (What::ServerError, format!("and shows {what}"))
        } else {
            (What::Leak, what.into())
        });
    }
    match status {
        // RFC 9110, 15.6.2: a method that no resource here knows.
        501 if case.other_method => return None,
        502..=504 => return Some((What::Gateway, String::new())),
        500.. => return Some((What::ServerError, String::new())),
        405 if answer.header("allow").is_none() => return Some((What::NoAllow, String::new())),
        200..=299 if case.invalid && !case.other_method => return Some((What::Accepted, String::new())),
        _ => {}
    }
    let slow = answer.duration > SLOW_LEAST.max(valid_time * SLOW_TIMES);
    slow.then(|| (What::Slow, format!("{} ms", answer.duration.as_millis())))
}

/// How a refusal is written: problem, keys of a JSON object, or its media type. `None` for no refusal by the service itself.
fn shape(answer: &Response) -> Option<String> {
    if !matches!(answer.status, 400 | 404 | 409 | 415 | 422) || answer.body.is_empty() {
        return None;
    }
    let media = web::media_type(answer);
    if media == "application/problem+json" {
        return Some(media);
    }
    if !web::is_json(answer) {
        return Some(media);
    }
    match serde_json::from_slice::<serde_json::Value>(&answer.body).ok()? {
        serde_json::Value::Object(keys) => {
            let keys: Vec<&str> = keys.keys().map(String::as_str).take(12).collect();
            Some(format!("JSON with {}", clean(&keys.join(", "), 120)))
        }
        _ => Some("JSON that is no object".into()),
    }
}

fn clean(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

/// A line that a shell takes; the account's secret stays out.
fn curl(base: &Url, case: &Case, signed_in: bool) -> String {
    let mut shown = base.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut out = String::from("curl -sS -i");
    if case.method != "GET" {
        out.push_str(&format!(" -X {}", case.method));
    }
    if signed_in {
        out.push_str(" -H \"$AUTHORIZATION\"");
    }
    if let Some((media, text)) = &case.body {
        out.push_str(&format!(" -H 'content-type: {media}' --data-binary {}", quote(text)));
    }
    out.push_str(&format!(" {}", quote(&format!("{}{}", shown.as_str().trim_end_matches('/'), case.path))));
    // Ten thousand characters are told by how to make them.
    out.replace(&"a".repeat(10_000), "'$(printf 'a%.0s' $(seq 10000))'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_be_typed_is_whole_and_safe() {
        let case = Case {
            method: "POST".into(),
            path: format!("/teas?x={}", "a".repeat(10_000)),
            body: Some(("application/json", "{\"a\": \"it's\"}".into())),
            ..plain_case(&Operation::new("POST", "/teas", crate::gates::inventory::Source::Code))
        };
        let base = "http://u:hunter22@shop.example/".parse().unwrap();
        let line = curl(&base, &case, true);
        assert_eq!(
            line,
            "curl -sS -i -X POST -H \"$AUTHORIZATION\" -H 'content-type: application/json' --data-binary '{\"a\": \"it'\\''s\"}' 'http://shop.example/teas?x='$(printf 'a%.0s' $(seq 10000))''"
        );
    }
}
