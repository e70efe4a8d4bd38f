//! Reading elsewhere: whole expressions go to the HTTP API of Prometheus, which Mimir, Thanos and VictoriaMetrics speak
//! too. Raw samples come as a range selector's answer; it leaves stale markers out.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use url::Url;

use super::answer::{self, Envelope, Fault};
use super::{advice, excerpt, selector, sign};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Labels, Matcher, ReadError, Series, SeriesReader};
use crate::domain::query::{Answered, Listing, QueryEngine, Question, Value, When};
use crate::net::{Client, NetError, Request, Response, redact_url};
use crate::store::Remote;

/// Longest answer: some two million points. Whoever wants more asks the store itself.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Longer ones are read on a thread of their own.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// After a silence as long as a request may take, further ones fail at once for so long: a hundred rules must not wait
/// for a dead address one after the other.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// Times before 1970 or after the year 9999 are not understood everywhere.
const TIME_MAX_MS: i64 = 253_402_300_799_000;

/// Reads from the store elsewhere.
pub struct Reader {
    remote: Remote,
    client: Client,
    heard: Mutex<Heard>,
}

/// When something was last heard, and until when nobody is asked.
#[derive(Default)]
struct Heard {
    last: Option<Instant>,
    silent_until: Option<Instant>,
}

type Pairs = Vec<(&'static str, String)>;

impl Reader {
    pub fn new(remote: &Remote, client: Client) -> Reader {
        Reader { remote: remote.clone(), client, heard: Mutex::default() }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.remote.prometheus.clone();
        url.set_path(&format!("{}/api/v1/{path}", url.path().trim_end_matches('/')));
        url
    }

    async fn post(&self, path: &str, form: Pairs, timeout: Duration) -> Result<Body, ReadError> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let url = self.url(path);
        self.send(Request::post(url, "application/x-www-form-urlencoded", body), timeout).await
    }

    async fn get(&self, path: &str, query: Pairs) -> Result<Body, ReadError> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        self.send(Request::get(url), self.remote.timeout.get()).await
    }

    async fn send(&self, request: Request, timeout: Duration) -> Result<Body, ReadError> {
        let mut asked = request.url.clone();
        asked.set_query(None);
        let at = redact_url(&asked);
        let timeout = timeout.min(self.remote.timeout.get());
        let request = Request { timeout, body_bytes_limit: ANSWER_BYTES_MAX, ..request };
        let signed = sign(&self.remote, request).map_err(|e| ReadError::Elsewhere(format!("{at}: {e}")))?;
        if self.heard().silent_until.is_some_and(|until| Instant::now() < until) {
            return Err(ReadError::Elsewhere(format!(
                "{at} was silent for {timeout:?} a moment ago; not asked again yet"
            )));
        }
        let begun = Instant::now();
        let answered = self.client.send(signed).await;
        let mut heard = self.heard();
        match &answered {
            Err(NetError::Timeout(_)) => {
                // One slow query among others that are answered is no silence.
                if heard.last.is_none_or(|last| last < begun) {
                    heard.silent_until = Some(Instant::now() + SILENT_FOR);
                }
            }
            _ => *heard = Heard { last: Some(Instant::now()), silent_until: None },
        }
        drop(heard);
        judge(&at, answered.map_err(|e| unreachable(&at, e))?)
    }
}

/// A body with `"status":"success"` in it.
struct Body {
    at: String,
    bytes: bytes::Bytes,
}

impl Body {
    /// What `read` makes of the answer.
    async fn read<T, F>(self, read: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&Envelope) -> Result<T, Fault> + Send + 'static,
    {
        let Body { at, bytes } = self;
        let long = bytes.len() > INLINE_BYTES_MAX;
        let work = move || {
            let broken = |e: Fault| match e {
                Fault::TooMany => ReadError::Refused(format!("{at}: the answer has {e}; {LESS}")),
                e => ReadError::Elsewhere(format!("{at} answered with something else than Prometheus would: {e}")),
            };
            let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|e| broken(e.into()))?;
            if envelope.is_partial {
                return Err(ReadError::Elsewhere(format!(
                    "{at} answered with a part only: some of its nodes are away"
                )));
            }
            read(&envelope).map_err(broken)
        };
        if !long {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| ReadError::Elsewhere("reading a long answer panicked".into()))?
    }
}

const LESS: &str = "ask for fewer series, a shorter time or a larger step";

fn unreachable(at: &str, error: NetError) -> ReadError {
    match error {
        NetError::BodyTooLarge(limit) => {
            ReadError::Refused(format!("{at}: the answer is longer than {} MiB; {LESS}", limit >> 20))
        }
        error => ReadError::Elsewhere(format!("{at}: {error}; is it up, and is it what [store] engine should name?")),
    }
}

/// Prometheus says in the body what was wrong, whatever the status.
fn judge(at: &str, response: Response) -> Result<Body, ReadError> {
    let Response { status, body, .. } = response;
    if status == 200 {
        return Ok(Body { at: at.to_string(), bytes: body });
    }
    let envelope = serde_json::from_slice::<Envelope>(&body).ok().filter(|e| e.status == "error");
    Err(match envelope {
        Some(e) if matches!(status, 400 | 422) => {
            ReadError::Refused(format!("{at} refused the query: {}", excerpt(e.error.as_bytes())))
        }
        Some(e) => {
            let said = excerpt(e.error.as_bytes());
            ReadError::Elsewhere(format!("{at} answered {status} ({}): {said}", excerpt(e.error_type.as_bytes())))
        }
        None => {
            let more = [advice(status).to_string(), excerpt(&body)].into_iter().find(|t| !t.is_empty());
            ReadError::Elsewhere(format!("{at} answered {status}: {}", more.unwrap_or_default()))
        }
    })
}

/// Epoch seconds to the millisecond.
fn seconds(t: Timestamp) -> String {
    let ms = t.ms().clamp(0, TIME_MAX_MS);
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn ms(duration: Duration) -> String {
    format!("{}ms", duration.as_millis().max(1))
}

impl QueryEngine for Reader {
    fn ask<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Answered, ReadError>> {
        Box::pin(async move {
            let Question { expr, when, lookback, timeout, samples_max } = question;
            let timeout = timeout.min(self.remote.timeout.get());
            let mut form: Pairs = vec![
                ("query", expr.into()),
                ("timeout", ms(timeout)),
                ("lookback_delta", ms(lookback)),
                // VictoriaMetrics: the same by its name; and neither hold back the newest samples nor round the times.
                ("max_lookback", ms(lookback)),
                ("nocache", "1".into()),
                ("latency_offset", "1ms".into()),
                // Thanos, VictoriaMetrics' cluster: half an answer resolves alerts that should not resolve.
                ("partial_response", "false".into()),
                ("deny_partial_response", "1".into()),
            ];
            let path = match when {
                When::At(at) => {
                    form.push(("time", seconds(at)));
                    "query"
                }
                When::Each { start, end, step } => {
                    form.extend([("start", seconds(start)), ("end", seconds(end))]);
                    form.push(("step", format!("{}", step.as_secs_f64())));
                    "query_range"
                }
            };
            self.post(path, form, timeout).await?.read(move |e| answer::value(e, samples_max)).await
        })
    }

    fn label_sets<'a>(&'a self, of: Listing<'a>) -> BoxFuture<'a, Result<Vec<Labels>, ReadError>> {
        Box::pin(async move {
            let body = self.post("series", listing(of), self.remote.timeout.get()).await?;
            let mut found: Vec<Labels> = body.read(list).await?;
            found.sort();
            found.dedup();
            Ok(found)
        })
    }

    fn label_names<'a>(&'a self, of: Listing<'a>) -> BoxFuture<'a, Result<Vec<String>, ReadError>> {
        Box::pin(async move {
            let body = self.post("labels", listing(of), self.remote.timeout.get()).await?;
            sorted(body.read(list).await?)
        })
    }

    fn label_values<'a>(&'a self, name: &'a str, of: Listing<'a>) -> BoxFuture<'a, Result<Vec<String>, ReadError>> {
        Box::pin(async move {
            // The name is one segment of the path, whatever is in it.
            let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
            sorted(self.get(&format!("label/{name}/values"), listing(of)).await?.read(list).await?)
        })
    }
}

fn list<T: serde::de::DeserializeOwned>(envelope: &Envelope) -> Result<Vec<T>, Fault> {
    Ok(serde_json::from_str(envelope.data.ok_or(Fault::Missing("data"))?.get())?)
}

fn sorted(mut names: Vec<String>) -> Result<Vec<String>, ReadError> {
    names.sort();
    Ok(names)
}

fn listing(of: Listing) -> Pairs {
    let mut pairs: Pairs = vec![("start", seconds(of.start)), ("end", seconds(of.end))];
    pairs.extend(of.matches.iter().map(|m| ("match[]", selector::text(m))));
    pairs
}

impl SeriesReader for Reader {
    fn select<'a>(
        &'a self,
        matchers: &'a [Matcher],
        start: Timestamp,
        end: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Series>, ReadError>> {
        Box::pin(async move {
            let (from, to) = (start.ms().clamp(0, TIME_MAX_MS), end.ms().clamp(0, TIME_MAX_MS));
            // One more, because the window is open on the left since Prometheus 3; what that brings too many goes below.
            let window = Duration::from_millis((to - from).max(0) as u64 + 1);
            let expr = format!("{}[{}]", selector::text(matchers), ms(window));
            let question = Question {
                expr: &expr,
                when: When::At(Timestamp::from_ms(to)),
                lookback: Duration::from_secs(300),
                timeout: self.remote.timeout.get(),
                samples_max: limit.saturating_mul(2),
            };
            let Value::Matrix(mut series) = self.ask(question).await?.value else { return Ok(Vec::new()) };
            for one in &mut series {
                one.samples.retain(|s| (from..=to).contains(&s.t.ms()));
            }
            series.retain(|s| !s.samples.is_empty());
            if series.iter().map(|s| s.samples.len()).sum::<usize>() > limit {
                return Err(ReadError::TooManySamples { limit });
            }
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Ok(series)
        })
    }

    fn engine(&self) -> Option<&dyn QueryEngine> {
        Some(self)
    }
}
