//! One keep-alive HTTP/1.1 connection, plain or TLS.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::Url;

use super::LoadError;
use super::http1::{Malformed, Reader, Request};

/// What went wrong with one request, as counted in the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Connect,
    Tls,
    Reset,
    Timeout,
    Protocol,
}

impl Fault {
    pub fn word(self) -> &'static str {
        match self {
            Fault::Connect => "connect",
            Fault::Tls => "tls",
            Fault::Reset => "reset",
            Fault::Timeout => "timeout",
            Fault::Protocol => "protocol",
        }
    }
}

/// An error with words, for the one connection that is tried before the load starts.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    pub fault: Fault,
    text: String,
}

/// Where connections go: resolved once, so that a name cannot move the load to another host.
pub struct Endpoint {
    address: SocketAddr,
    host: String,
    port: u16,
    default_port: bool,
    tls: Option<(tokio_rustls::TlsConnector, ServerName<'static>)>,
}

/// An answer as far as load cares.
pub struct Answer {
    pub status: u16,
    pub bytes: u64,
}

pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub struct Connection {
    stream: Stream,
    reader: Reader,
}

/// What is read is looked at and thrown away before anybody else gets a turn, so the connections of a thread share it.
pub type Scratch = RefCell<Box<[u8]>>;

const SCRATCH_BYTES: usize = 64 * 1024;

pub fn scratch() -> Scratch {
    RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice())
}

impl Endpoint {
    pub async fn resolve(base: &Url) -> Result<Endpoint, LoadError> {
        let unreachable = |why: String| LoadError::Unreachable(base.host_str().unwrap_or_default().to_string(), why);
        let host = base.host_str().ok_or_else(|| LoadError::Plan("the URL has no host".into()))?.to_string();
        let port = base.port_or_known_default().ok_or_else(|| LoadError::Plan("the URL has no port".into()))?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_string();
        let address = tokio::net::lookup_host((bare.as_str(), port))
            .await
            .map_err(|e| unreachable(e.to_string()))?
            .next()
            .ok_or_else(|| unreachable("the name has no address".into()))?;
        let tls = match base.scheme() {
            "http" => None,
            "https" => {
                let name = ServerName::try_from(bare).map_err(|e| unreachable(e.to_string()))?;
                Some((tokio_rustls::TlsConnector::from(Arc::new(tls_config()?)), name))
            }
            other => return Err(LoadError::Plan(format!("cannot load {other}: http or https"))),
        };
        Ok(Endpoint { address, host, port, default_port: base.port().is_none(), tls })
    }

    /// `host:port`, without the port when it is the scheme's own.
    pub fn authority(&self) -> String {
        if self.default_port { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Opens a connection.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        Ok(Connection { stream: self.dial().await?, reader: Reader::default() })
    }

    /// Opens a stream, through the TLS handshake where there is one.
    pub async fn dial(&self) -> Result<Stream, ConnectError> {
        let fail = |fault: Fault, text: String| ConnectError { fault, text };
        let stream = TcpStream::connect(self.address).await.map_err(|e| fail(Fault::Connect, e.to_string()))?;
        // Requests are one small write each: waiting for more would only add Nagle's delay to the figures.
        let _ = stream.set_nodelay(true);
        Ok(match &self.tls {
            None => Stream::Plain(stream),
            Some((connector, name)) => {
                let connected = connector.connect(name.clone(), stream).await;
                Stream::Tls(Box::new(connected.map_err(|e| fail(Fault::Tls, e.to_string()))?))
            }
        })
    }
}

fn tls_config() -> Result<rustls::ClientConfig, LoadError> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One unreadable root of the system's many is no reason to stop.
        let _ = roots.add(certificate);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| LoadError::Plan(format!("TLS: {e}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Stream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        let polled = match self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, &mut into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, &mut into),
        };
        polled.map_ok(|()| into.filled().len())
    }

    async fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }
}

impl Connection {
    /// Sends one request and reads the answer to its last byte. After an error the connection is of no more use.
    pub async fn send(&mut self, request: &Request, scratch: &Scratch) -> Result<Answer, Fault> {
        self.stream.write_all(&request.wire).await.map_err(|_| Fault::Reset)?;
        self.reader.start(request.head);
        let Connection { stream, reader } = self;
        poll_fn(|cx| {
            let mut scratch = scratch.borrow_mut();
            loop {
                match ready!(stream.poll_read(cx, &mut scratch)) {
                    Ok(0) if reader.closed() => return Poll::Ready(Ok(())),
                    Ok(0) | Err(_) => return Poll::Ready(Err(Fault::Reset)),
                    Ok(n) => reader.feed(&scratch[..n]).map_err(|Malformed| Fault::Protocol)?,
                }
                if reader.done() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await?;
        Ok(Answer { status: reader.status(), bytes: reader.body_bytes() })
    }

    /// Can it carry another request? Not when the last answer said so, nor when the server has closed it meanwhile or
    /// sent what nobody asked for.
    pub fn is_open(&mut self, scratch: &Scratch) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.reader.keep_alive() && self.stream.poll_read(&mut nobody, &mut scratch.borrow_mut()).is_pending()
    }
}
