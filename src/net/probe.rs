//! Phase-timed HTTP probe: resolve, connect, tls, processing, transfer, each hop timed, a fresh connection each time.
//! Own connector on hyper, because reqwest does not show its phases. Same address and redirect rules as the client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::Url;

use super::body::{Collector, More};
use super::client::{self, NetError, Request, Response};
use super::redirect::{self, Next};
use super::tls::Trust;
use super::{address, tls};
use crate::domain::clock::Timestamp;
use crate::domain::secret::redact;

/// Time per phase, summed over redirects. Names are blackbox_exporter's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Phases {
    pub resolve: Duration,
    pub connect: Duration,
    pub tls: Duration,
    /// Request sent to first byte of the answer.
    pub processing: Duration,
    pub transfer: Duration,
}

impl Phases {
    /// Name and time of each phase, in the order they happen.
    pub fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("resolve", self.resolve),
            ("connect", self.connect),
            ("tls", self.tls),
            ("processing", self.processing),
            ("transfer", self.transfer),
        ]
    }
}

#[derive(Debug, Clone)]
pub struct Probed {
    pub response: Response,
    pub phases: Phases,
    pub redirects: u32,
    pub address: IpAddr,
    /// `TLS 1.3`, when the last hop used TLS.
    pub tls_version: Option<String>,
    /// The earliest end of validity in the chain the server sent.
    pub cert_expiry: Option<Timestamp>,
}

/// Phases measured so far come with the error, so that a slow failure can be told from a fast one.
#[derive(Debug, Clone)]
pub struct ProbeFailed {
    pub error: NetError,
    pub phases: Phases,
}

#[derive(Clone, Copy)]
enum Phase {
    Resolve,
    Connect,
    Tls,
    Processing,
    Transfer,
}

/// A stopwatch with one hand: starting a phase ends the one before.
struct Watch {
    phases: Phases,
    running: Option<(Phase, Instant)>,
}

impl Watch {
    fn start(&mut self, phase: Phase) {
        self.stop();
        self.running = Some((phase, Instant::now()));
    }
    fn stop(&mut self) {
        let Some((phase, since)) = self.running.take() else { return };
        let sum = match phase {
            Phase::Resolve => &mut self.phases.resolve,
            Phase::Connect => &mut self.phases.connect,
            Phase::Tls => &mut self.phases.tls,
            Phase::Processing => &mut self.phases.processing,
            Phase::Transfer => &mut self.phases.transfer,
        };
        *sum += since.elapsed();
    }
}

/// Sends `request` over a new connection, believing the system's roots.
pub async fn probe(request: Request) -> Result<Probed, ProbeFailed> {
    probe_trusting(&Trust::system(), request).await
}

/// [`probe`] with other roots.
pub async fn probe_trusting(trust: &Trust, request: Request) -> Result<Probed, ProbeFailed> {
    super::init();
    let limit = request.timeout;
    let mut watch = Watch { phases: Phases::default(), running: None };
    let ended = tokio::time::timeout(limit, hops(trust, request, &mut watch)).await;
    watch.stop();
    match ended.unwrap_or(Err(NetError::Timeout(limit))) {
        Ok(probed) => Ok(Probed { phases: watch.phases, ..probed }),
        Err(error) => Err(ProbeFailed { error, phases: watch.phases }),
    }
}

async fn hops(trust: &Trust, mut request: Request, watch: &mut Watch) -> Result<Probed, NetError> {
    let started = Instant::now();
    client::move_userinfo(&mut request);
    let mut redirects = 0u8;
    loop {
        let probed = hop(trust, &request, watch, started).await?;
        match redirect::next(&request, probed.response.status, probed.response.header("location"), redirects)? {
            Next::Answer => return Ok(Probed { redirects: redirects.into(), ..probed }),
            Next::Follow(to) => request = *to,
        }
        redirects += 1;
    }
}

async fn hop(trust: &Trust, request: &Request, watch: &mut Watch, started: Instant) -> Result<Probed, NetError> {
    let url = &request.url;
    let secure = match url.scheme() {
        "http" => false,
        "https" => true,
        other => return Err(NetError::Protocol(format!("{other} is not http or https"))),
    };
    watch.start(Phase::Resolve);
    let addresses = address::resolve(url, request.allow_private).await?;
    watch.start(Phase::Connect);
    let stream = connect(url, &addresses).await?;
    let _ = stream.set_nodelay(true);
    let address = stream.peer_addr().map_err(|e| client::failure(&e, url))?.ip();
    if !secure {
        let response = exchange(stream, request, watch, started).await?;
        return Ok(probed(response, address, None, None));
    }
    watch.start(Phase::Tls);
    let name =
        rustls::pki_types::ServerName::try_from(url.host_str().unwrap_or("").trim_matches(['[', ']']).to_string())
            .map_err(|_| NetError::Tls("the host's name cannot be in a certificate".into()))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(trust.client_config(&[b"http/1.1"])));
    let stream = connector.connect(name, stream).await.map_err(|e| client::failure(&e, url))?;
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().map(|v| match v {
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_string(),
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_string(),
        other => format!("{other:?}"),
    });
    let chain: Vec<_> = session.peer_certificates().unwrap_or_default().iter().filter_map(|c| tls::facts(c)).collect();
    let expiry = chain.iter().map(|facts| facts.not_after).min();
    let mut response = exchange(stream, request, watch, started).await?;
    response.tls = chain.into_iter().next();
    Ok(probed(response, address, version, expiry))
}

fn probed(response: Response, address: IpAddr, tls_version: Option<String>, cert_expiry: Option<Timestamp>) -> Probed {
    Probed { response, phases: Phases::default(), redirects: 0, address, tls_version, cert_expiry }
}

/// Tries the addresses in order; the last failure is told.
async fn connect(url: &Url, addresses: &[std::net::SocketAddr]) -> Result<TcpStream, NetError> {
    let mut last = NetError::Connect("no address".into());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => last = client::failure(&e, url),
        }
    }
    Err(last)
}

async fn exchange<S>(stream: S, request: &Request, watch: &mut Watch, started: Instant) -> Result<Response, NetError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let url = &request.url;
    watch.start(Phase::Processing);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| client::failure(&e, url))?;
    // A set aborts its tasks when dropped: no connection outlives its probe.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let mut sent = hyper::Request::new(Full::new(request.body.clone()));
    *sent.method_mut() = hyper::Method::from_bytes(request.method.as_bytes())
        .map_err(|_| NetError::Protocol("the method is not a token".into()))?;
    *sent.uri_mut() = url[url::Position::BeforePath..url::Position::AfterQuery]
        .parse()
        .map_err(|_| NetError::Protocol("the URL's path cannot be sent".into()))?;
    *sent.headers_mut() = client::header_map(request)?;
    let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let host = host.parse().map_err(|_| NetError::Protocol("the URL's host cannot be sent".into()))?;
    sent.headers_mut().entry(hyper::header::HOST).or_insert(host);
    let received = sender.send_request(sent).await.map_err(|e| client::failure(&e, url))?;
    watch.start(Phase::Transfer);
    let status = received.status().as_u16();
    let headers = client::plain_headers(received.headers());
    let encoding = headers.iter().find(|(n, _)| n == "content-encoding").map(|(_, v)| v.as_str());
    let mut collector = Collector::new(encoding, request.body_bytes_limit, request.truncate)?;
    let mut body = received.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| match client::failure(&e, url) {
            NetError::Protocol(text) => NetError::Protocol(redact(&format!("{text}, in the body"))),
            other => other,
        })?;
        if let Some(chunk) = frame.data_ref()
            && collector.push(chunk)? == More::Enough
        {
            break;
        }
    }
    let (body, truncated) = collector.finish()?;
    watch.stop();
    Ok(Response { status, headers, body, truncated, duration: started.elapsed(), url: url.clone(), tls: None })
}

#[cfg(test)]
mod tests {
    use super::super::tests_support::{Served, https, serve};
    use super::*;
    use crate::net::Redirects;

    fn get(url: &str) -> Request {
        Request::get(url.parse().unwrap())
    }

    #[tokio::test]
    async fn a_good_probe_times_its_phases_and_shows_the_certificate() {
        let (server, trust) = https(|request| {
            assert!(request.contains("host: localhost:"), "{request}");
            Served::ok("fine")
        })
        .await;
        let url = server.url("/?a=1").replace("127.0.0.1", "localhost");
        let probed = probe_trusting(&trust, get(&url)).await.unwrap();
        assert_eq!((probed.response.status, &*probed.response.text()), (200, "fine"));
        assert_eq!(probed.tls_version.as_deref(), Some("TLS 1.3"));
        assert_eq!(probed.cert_expiry, probed.response.tls.map(|t| t.not_after));
        assert!(probed.phases.named()[1..4].iter().all(|(_, d)| !d.is_zero()), "{:?}", probed.phases);
        assert!(matches!(probe(get(&url)).await.unwrap_err().error, NetError::Tls(_)));
    }

    #[tokio::test]
    async fn redirects_are_counted_and_summed() {
        let server = serve(|request| match request.split(' ').nth(1) {
            Some("/a") => Served::with(302, &[("location", "/b")], b""),
            _ => Served::ok("end"),
        })
        .await;
        let request = Request { redirects: Redirects::Follow(3), ..get(&server.url("/a")) };
        let probed = probe(request).await.unwrap();
        assert_eq!((probed.redirects, &*probed.response.text(), probed.tls_version), (1, "end", None));
    }

    #[tokio::test]
    async fn a_failure_keeps_the_phases_it_reached() {
        let server = serve(|_| Served::Hang).await;
        let failed = probe(get(&server.url("/")).timeout(Duration::from_millis(200))).await.unwrap_err();
        assert_eq!(failed.error, NetError::Timeout(Duration::from_millis(200)));
        assert!(!failed.phases.processing.is_zero() && failed.phases.transfer.is_zero(), "{:?}", failed.phases);
        let closing = serve(|_| Served::Close).await;
        let closed = probe(get(&closing.url("/"))).await.unwrap_err();
        assert!(matches!(closed.error, NetError::Protocol(_)), "{closed:?}");
        let refused = probe(get("http://169.254.169.254/")).await.unwrap_err();
        assert!(matches!(refused.error, NetError::Refused(_)));
    }
}
