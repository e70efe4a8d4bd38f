//! The HTTP client for sources, channels and gates: reqwest with our own name resolution, redirect rule, body cap and
//! error words. Does not retry, keeps no cookies, knows nothing of budgets (`safety.rs` does).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use url::Url;

use super::address;
use super::body::{Collector, More};
use super::redirect::{self, Next};
use super::tls::Trust;
use crate::domain::gap::GapReason;
use crate::domain::secret::redact;

/// How redirects are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// A 3xx is the answer.
    None,
    /// At most so many, to the same host only.
    SameHost(u8),
    /// At most so many; credentials are dropped when the host changes.
    Follow(u8),
}

/// One request. Header order is kept.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// From connect to last byte.
    pub timeout: Duration,
    /// After decompression. A longer body ends in [`NetError::BodyTooLarge`] unless `truncate`.
    pub body_bytes_limit: usize,
    /// Keep the first `body_bytes_limit` bytes of a longer body instead of failing.
    pub truncate: bool,
    pub redirects: Redirects,
    /// Loopback and private ranges may be reached. Link-local and cloud metadata addresses never are.
    pub allow_private: bool,
}

impl Request {
    /// GET, 10 s, 1 MiB, no redirects, private addresses allowed.
    pub fn get(url: Url) -> Request {
        Request {
            method: "GET".into(),
            url,
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(10),
            body_bytes_limit: 1 << 20,
            truncate: false,
            redirects: Redirects::None,
            allow_private: true,
        }
    }
    pub fn post(url: Url, content_type: &str, body: impl Into<Bytes>) -> Request {
        Request { method: "POST".into(), body: body.into(), ..Request::get(url) }.header("content-type", content_type)
    }
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = timeout;
        self
    }
}

/// Facts about the TLS session, when there was one.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsFacts {
    pub not_before: crate::domain::clock::Timestamp,
    pub not_after: crate::domain::clock::Timestamp,
    pub subject: String,
    pub issuer: String,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// As received: lower-case names, duplicates kept, order kept.
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    pub truncated: bool,
    pub duration: Duration,
    /// After redirects.
    pub url: Url,
    pub tls: Option<TlsFacts>,
}

impl Response {
    /// First value of a header; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    pub fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }
    /// Lossy UTF-8.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Redacted: no query string, no userinfo, no secret in any message.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum NetError {
    #[error("name not found: {0}")]
    Dns(String),
    #[error("cannot connect: {0}")]
    Connect(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the body is longer than {0} bytes")]
    BodyTooLarge(usize),
    #[error("broken HTTP: {0}")]
    Protocol(String),
    /// Refused by the safety engine: exit code 4.
    #[error("refused for safety: {0}")]
    Refused(String),
    /// Budget of the gate is used up, or the circuit breaker is open, or STOP was asked for.
    #[error("stopped: {0}")]
    Stopped(String),
}

impl NetError {
    pub fn gap_reason(&self) -> GapReason {
        match self {
            NetError::Dns(_) => GapReason::Dns,
            NetError::Connect(_) => GapReason::Connect,
            NetError::Tls(_) => GapReason::Tls,
            NetError::Timeout(_) => GapReason::Timeout,
            NetError::BodyTooLarge(_) => GapReason::Limit,
            NetError::Protocol(_) => GapReason::Parse,
            NetError::Refused(_) | NetError::Stopped(_) => GapReason::Disabled,
        }
    }
}

/// Cheap to clone; keeps connections alive between requests.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    trust: Trust,
    /// One reqwest client for each way out, built at its first use.
    direct: OnceLock<reqwest::Client>,
    public_only: OnceLock<reqwest::Client>,
    proxied: OnceLock<reqwest::Client>,
}

/// Idle connections are closed after this time, before most servers and proxies do it (60 to 75 s).
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Idle connections kept per host: a source or a channel uses one or two.
const POOL_IDLE_PER_HOST_MAX: usize = 4;

impl Client {
    /// System roots, TLS verified, `User-Agent: hypercare/VERSION`. Cheap: reads nothing, connects to nothing.
    pub fn new() -> Client {
        Client::trusting(Trust::system())
    }

    /// Believes other roots than the system's alone.
    pub fn trusting(trust: Trust) -> Client {
        super::init();
        let (direct, public_only, proxied) = Default::default();
        Client { inner: Arc::new(Inner { trust, direct, public_only, proxied }) }
    }

    /// Sends `request` and reads the answer, from connect to last byte within `request.timeout`, redirects included.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        let limit = request.timeout;
        tokio::time::timeout(limit, self.follow(request)).await.unwrap_or(Err(NetError::Timeout(limit)))
    }

    async fn follow(&self, mut request: Request) -> Result<Response, NetError> {
        let started = tokio::time::Instant::now();
        move_userinfo(&mut request);
        let mut hops = 0;
        loop {
            let received = self.once(&request).await?;
            let location = received.headers().get("location").and_then(|v| v.to_str().ok());
            match redirect::next(&request, received.status().as_u16(), location, hops)? {
                Next::Answer => return finish(received, &request, started).await,
                Next::Follow(to) => request = *to,
            }
            hops += 1;
        }
    }

    async fn once(&self, request: &Request) -> Result<reqwest::Response, NetError> {
        if !matches!(request.url.scheme(), "http" | "https") {
            return Err(NetError::Protocol(format!("{} is not http or https", request.url.scheme())));
        }
        address::check_literal(&request.url, request.allow_private)?;
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| NetError::Protocol("the method is not a token".into()))?;
        let built = self
            .way_out(request)?
            .request(method, request.url.clone())
            .headers(header_map(request)?)
            .body(request.body.clone());
        built.send().await.map_err(|e| failure(&e, &request.url))
    }

    fn way_out(&self, request: &Request) -> Result<&reqwest::Client, NetError> {
        let inner = &*self.inner;
        let (slot, allow_private, proxy) = if !request.allow_private {
            // Never through a proxy: the proxy would resolve the name, and our judgement of its addresses were void.
            (&inner.public_only, false, false)
        } else if address::is_loopback(&request.url) || !proxy_is_set() {
            (&inner.direct, true, false)
        } else {
            (&inner.proxied, true, true)
        };
        if let Some(built) = slot.get() {
            return Ok(built);
        }
        let built = build(&inner.trust, allow_private, proxy)?;
        Ok(slot.get_or_init(|| built))
    }
}

impl Default for Client {
    fn default() -> Self {
        Client::new()
    }
}

/// Does the environment name a proxy? reqwest reads the same variables.
fn proxy_is_set() -> bool {
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()))
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that builds HTTP clients")]
fn build(trust: &Trust, allow_private: bool, proxy: bool) -> Result<reqwest::Client, NetError> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(trust.client_config(&[b"h2", b"http/1.1"]))
        .tls_info(true)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_gzip()
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST_MAX)
        .dns_resolver(Arc::new(Pinned { allow_private }));
    if !proxy {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|e| NetError::Tls(describe(&e)))
}

/// reqwest connects to exactly the addresses this returns.
struct Pinned {
    allow_private: bool,
}

impl reqwest::dns::Resolve for Pinned {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = address::resolve_name(name.as_str(), 0, allow_private).await?;
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// `user:password@` in a URL becomes a basic-auth header, so that it follows the rule for credentials.
pub(super) fn move_userinfo(request: &mut Request) {
    let url = &mut request.url;
    if url.username().is_empty() && url.password().is_none() {
        return;
    }
    let plain = format!("{}:{}", percent_decoded(url.username()), percent_decoded(url.password().unwrap_or("")));
    let has_own = request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case("authorization"));
    if !has_own {
        let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
        request.headers.push(("authorization".into(), format!("Basic {encoded}")));
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |i: usize| bytes.get(i).and_then(|b| (*b as char).to_digit(16)).map(|d| d as u8);
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The request's headers, with ours where it names none.
pub(super) fn header_map(request: &Request) -> Result<hyper::HeaderMap, NetError> {
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    let mut map = HeaderMap::with_capacity(request.headers.len() + 3);
    for (name, value) in &request.headers {
        let bad = || NetError::Protocol(format!("header {} cannot be sent", name.escape_debug()));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        map.append(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    for (name, value) in [("user-agent", super::USER_AGENT), ("accept", "*/*"), ("accept-encoding", "gzip")] {
        map.entry(name).or_insert(HeaderValue::from_static(value));
    }
    Ok(map)
}

pub(super) fn plain_headers(map: &hyper::HeaderMap) -> Vec<(String, String)> {
    map.iter().map(|(n, v)| (n.as_str().to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect()
}

async fn finish(
    mut received: reqwest::Response,
    request: &Request,
    started: tokio::time::Instant,
) -> Result<Response, NetError> {
    let tls = received
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .and_then(|info| info.peer_certificate())
        .and_then(super::tls::facts);
    let status = received.status().as_u16();
    let headers = plain_headers(received.headers());
    let encoding = headers.iter().find(|(n, _)| n == "content-encoding").map(|(_, v)| v.as_str());
    let mut collector = Collector::new(encoding, request.body_bytes_limit, request.truncate)?;
    collector.expect(received.content_length());
    while let Some(chunk) = received.chunk().await.map_err(|e| failure(&e, &request.url))? {
        if collector.push(&chunk)? == More::Enough {
            break;
        }
    }
    let (body, truncated) = collector.finish()?;
    Ok(Response { status, headers, body, truncated, duration: started.elapsed(), url: request.url.clone(), tls })
}

/// Maps an error of reqwest or hyper to ours, without the URL's secrets.
pub(super) fn failure(error: &(dyn std::error::Error + 'static), url: &Url) -> NetError {
    if let Some(ours) = find::<NetError>(error) {
        return ours.clone();
    }
    let host = format!(
        "{}:{}",
        url.host_str().unwrap_or("?"),
        url.port_or_known_default().map_or_else(String::new, |p| p.to_string())
    );
    if let Some(tls) = find::<rustls::Error>(error) {
        return NetError::Tls(redact(&format!("{host}: {tls}")));
    }
    let connecting = find::<reqwest::Error>(error).is_some_and(|e| e.is_connect());
    if connecting || find::<std::io::Error>(error).is_some() {
        return NetError::Connect(redact(&format!("{host}: {}", describe(error))));
    }
    NetError::Protocol(redact(&format!("{host}: {}", describe(error))))
}

/// The innermost cause, which is the one people understand ("connection refused (os error 111)").
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string().to_lowercase().chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Looks for a cause by type; also inside `io::Error`, whose `source` skips what it wraps.
fn find<'a, T: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a T> {
    let mut current = Some(error);
    while let Some(e) = current {
        if let Some(found) = e.downcast_ref::<T>() {
            return Some(found);
        }
        let wrapped = e.downcast_ref::<std::io::Error>().and_then(|io| io.get_ref());
        current = match wrapped {
            Some(inner) => Some(inner),
            None => e.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Served, https, serve};
    use super::*;

    fn get(url: &str) -> Request {
        Request::get(url.parse().unwrap())
    }

    #[tokio::test]
    async fn answers_come_back_with_headers_in_plain_form() {
        let server = serve(|request| {
            assert!(request.contains("user-agent: hypercare/"), "{request}");
            Served::text("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 5\r\n\r\nhello")
        })
        .await;
        let response = Client::new().send(get(&server.url("/"))).await.unwrap();
        assert_eq!((response.status, &*response.text(), response.truncated), (200, "hello", false));
        assert_eq!(response.header_all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
        assert_eq!(response.tls, None);
    }

    #[tokio::test]
    async fn hangs_endless_bodies_and_closed_ports_end() {
        let client = Client::new();
        let silent = serve(|_| Served::Hang).await;
        let mut hang = get(&silent.url("/"));
        hang.timeout = Duration::from_millis(200);
        assert_eq!(client.send(hang).await.unwrap_err(), NetError::Timeout(Duration::from_millis(200)));
        let endless = serve(|_| Served::Endless).await;
        let mut request = get(&endless.url("/"));
        request.body_bytes_limit = 100_000;
        assert_eq!(client.send(request.clone()).await.unwrap_err(), NetError::BodyTooLarge(100_000));
        request.truncate = true;
        let cut = client.send(request).await.unwrap();
        assert_eq!((cut.body.len(), cut.truncated), (100_000, true));
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let refused = client.send(get(&format!("http://u:hunter22@{free}/?token=hunter22"))).await.unwrap_err();
        assert!(matches!(&refused, NetError::Connect(text) if text.contains("refused")), "{refused}");
        assert!(!refused.to_string().contains("hunter22"), "{refused}");
        assert!(matches!(client.send(get("http://nowhere.invalid/")).await, Err(NetError::Dns(_))));
        let garbage = serve(|_| Served::text("SSH-2.0-OpenSSH\r\n")).await;
        assert!(matches!(client.send(get(&garbage.url("/"))).await, Err(NetError::Protocol(_))));
    }

    #[tokio::test]
    async fn redirects_follow_their_rule_and_drop_credentials() {
        let other = serve(|request| Served::ok(&format!("{}", request.contains("Basic")))).await;
        let to = other.url("/there").replace("127.0.0.1", "localhost");
        let server = serve(move |request| {
            let location = if request.starts_with("GET /self ") { "/end".into() } else { to.clone() };
            if request.starts_with("GET /end ") {
                return Served::ok(&format!("{}", request.contains("Basic")));
            }
            Served::text(&format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"))
        })
        .await;
        let client = Client::new();
        let with = |path: &str, redirects| Request {
            redirects,
            ..get(&server.url(path).replace("http://", "http://user:secret@"))
        };
        let stays = client.send(with("/self", Redirects::SameHost(2))).await.unwrap();
        assert_eq!((stays.status, &*stays.text(), stays.url.path()), (200, "true", "/end"));
        let leaves = client.send(with("/other", Redirects::Follow(2))).await.unwrap();
        assert_eq!((&*leaves.text(), leaves.url.host_str()), ("false", Some("localhost")));
        assert_eq!(client.send(with("/other", Redirects::SameHost(2))).await.unwrap().status, 302);
        assert_eq!(client.send(with("/other", Redirects::None)).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn private_addresses_need_leave_and_metadata_is_never_reached() {
        let server = serve(|_| Served::ok("x")).await;
        let mut request = get(&server.url("/"));
        request.allow_private = false;
        assert!(matches!(Client::new().send(request.clone()).await, Err(NetError::Refused(_))));
        request.url.set_host(Some("localhost")).unwrap();
        assert!(matches!(Client::new().send(request).await, Err(NetError::Refused(_))));
        assert!(matches!(Client::new().send(get("http://169.254.169.254/")).await, Err(NetError::Refused(_))));
    }

    #[tokio::test]
    async fn certificates_are_verified_and_their_facts_told() {
        let (server, trust) = https(|_| Served::ok("safe")).await;
        let refused = Client::new().send(get(&server.url("/"))).await.unwrap_err();
        assert!(matches!(&refused, NetError::Tls(_)), "{refused:?}");
        let response = Client::trusting(trust).send(get(&server.url("/"))).await.unwrap();
        let facts = response.tls.unwrap();
        assert!(facts.subject.contains("localhost") && facts.not_after > facts.not_before, "{facts:?}");
    }
}
