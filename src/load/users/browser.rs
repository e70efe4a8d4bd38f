//! What one user has: a connection, a cookie jar, a token. Asks over HTTP/1.1, keeps what answers hand out.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Ask, Shared, Step, StepReport};
use crate::load::connection::{Endpoint, Fault, Stream};
use crate::load::worker::histogram;

/// An answer is read so far; the user's name stands near its beginning.
const BODY_BYTES_MAX: usize = 256 * 1024;
const COOKIES_MAX: usize = 50;

pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// Connection, cookies and token of one user.
#[derive(Default)]
pub struct Browser {
    connection: Option<SendRequest<Full<Bytes>>>,
    cookies: BTreeMap<String, String>,
    token: Option<String>,
}

impl Browser {
    pub async fn ask(&mut self, shared: &Shared, step: Step, ask: &Ask) -> Result<Answer, Fault> {
        let begun = Instant::now();
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let answer = match tokio::time::timeout(shared.plan.timeout, self.exchange(shared, ask)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Timeout),
        };
        if answer.is_err() {
            self.connection = None;
        }
        let mut steps = shared.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, latency) = steps.entry(step).or_insert_with(|| (StepReport::default(), histogram()));
        report.requests += 1;
        match &answer {
            Ok(answer) => {
                *report.by_status.entry(answer.status).or_default() += 1;
                latency.saturating_record((begun.elapsed().as_micros() as u64).max(1));
            }
            Err(fault) => *report.errors.entry(fault.word().to_string()).or_default() += 1,
        }
        answer
    }

    async fn exchange(&mut self, shared: &Shared, ask: &Ask) -> Result<Answer, Fault> {
        // A server may close an idle connection at any time: that is no error of the service, once.
        let idle = self.connection.as_ref().is_some_and(|c| c.is_ready());
        let connection = match self.connection.take().filter(|_| idle) {
            Some(open) => open,
            None => open(&shared.endpoint).await?,
        };
        let connection = self.connection.insert(connection);
        connection.ready().await.map_err(|_| Fault::Reset)?;
        let mut request = hyper::Request::builder()
            .method(ask.method)
            .uri(&ask.path)
            .header(HOST, shared.endpoint.authority())
            .header("accept", "*/*");
        for (name, value) in &shared.plan.headers {
            request = request.header(name, value);
        }
        if let Some(kind) = ask.content_type {
            request = request.header(CONTENT_TYPE, kind);
        }
        if !self.cookies.is_empty() {
            let all: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            request = request.header(COOKIE, all.join("; "));
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(ask.body.clone())).map_err(|_| Fault::Protocol)?;
        let answer = connection.send_request(request).await.map_err(|_| Fault::Reset)?;
        let status = answer.status().as_u16();
        let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let set: Vec<String> = answer.headers().get_all(SET_COOKIE).iter().take(COOKIES_MAX).map(text).collect();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        let body = match body {
            Ok(body) => body.to_bytes(),
            // The rest is left unread, so the connection is of no more use.
            Err(_) => {
                self.connection = None;
                return Err(Fault::Protocol);
            }
        };
        self.keep_cookies(&set);
        Ok(Answer { status, body })
    }

    fn keep_cookies(&mut self, set: &[String]) {
        for line in set {
            let Some((name, value)) = line.split(';').next().and_then(|pair| pair.split_once('=')) else { continue };
            let (name, value) = (name.trim().to_string(), value.trim().to_string());
            let gone = value.is_empty() || line.to_ascii_lowercase().contains("max-age=0");
            match gone {
                true => drop(self.cookies.remove(&name)),
                false if self.cookies.len() < COOKIES_MAX => drop(self.cookies.insert(name, value)),
                false => {}
            }
        }
    }

    pub fn keep_token(&mut self, body: &[u8], pointers: &[String]) {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else { return };
        self.token = pointers.iter().find_map(|p| json.pointer(p)?.as_str()).map(str::to_string);
    }

    pub fn is_signed_in(&self) -> bool {
        self.token.is_some() || !self.cookies.is_empty()
    }

    /// The longest of what was handed out: a language or a theme is shorter than any session.
    pub fn session_id(&self) -> Option<u64> {
        let id = self.token.as_ref().into_iter().chain(self.cookies.values()).max_by_key(|v| v.len())?;
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        Some(hasher.finish())
    }

    pub fn kept(&self) -> (BTreeMap<String, String>, Option<String>) {
        (self.cookies.clone(), self.token.clone())
    }

    pub fn restore(&mut self, (cookies, token): (BTreeMap<String, String>, Option<String>)) {
        (self.cookies, self.token) = (cookies, token);
    }
}

async fn open(endpoint: &Endpoint) -> Result<SendRequest<Full<Bytes>>, Fault> {
    match endpoint.dial().await.map_err(|e| e.fault)? {
        Stream::Plain(stream) => shake(stream).await,
        Stream::Tls(stream) => shake(stream).await,
    }
}

async fn shake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Fault::Protocol)?;
    // Ends with the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
