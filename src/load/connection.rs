//! One keep-alive HTTP/1.1 connection, plain or TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use url::Url;

use super::LoadError;

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

pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
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

    /// Opens a connection. Its driver runs as a task of the calling runtime and ends with it.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let fail = |fault: Fault, text: String| ConnectError { fault, text };
        let stream = TcpStream::connect(self.address).await.map_err(|e| fail(Fault::Connect, e.to_string()))?;
        // Requests are one small write each: waiting for more would only add Nagle's delay to the figures.
        let _ = stream.set_nodelay(true);
        let sender = match &self.tls {
            None => drive(stream).await,
            Some((connector, name)) => {
                let stream =
                    connector.connect(name.clone(), stream).await.map_err(|e| fail(Fault::Tls, e.to_string()))?;
                drive(stream).await
            }
        };
        sender.map(|sender| Connection { sender }).map_err(|e| fail(Fault::Protocol, e.to_string()))
    }
}

async fn drive<S>(stream: S) -> hyper::Result<SendRequest<Full<Bytes>>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its errors reach whoever waits for the answer.
        let _ = connection.await;
    });
    Ok(sender)
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

impl Connection {
    /// Sends one request and reads the answer to its last byte. After an error the connection is of no more use.
    pub async fn send(&mut self, request: hyper::Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let fault = |e: hyper::Error| if e.is_parse() { Fault::Protocol } else { Fault::Reset };
        self.sender.ready().await.map_err(fault)?;
        let response = self.sender.send_request(request).await.map_err(fault)?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map_err(fault)?.data_ref() {
                bytes += data.len() as u64;
            }
        }
        Ok(Answer { status, bytes })
    }

    /// Did the server close it meanwhile?
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}
