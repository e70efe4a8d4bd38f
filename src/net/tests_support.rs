//! Real servers on port 0 of 127.0.0.1 for the tests of this crate: good, hanging, endless, reset, TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::tls::Trust;

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Served {
    /// These bytes, then close.
    Bytes(Vec<u8>),
    /// Keeps the connection open and says nothing.
    Hang,
    /// A body without end.
    Endless,
    /// Closes without a word.
    Close,
}

impl Served {
    pub(crate) fn text(raw: &str) -> Served {
        Served::Bytes(raw.as_bytes().to_vec())
    }
    pub(crate) fn ok(body: &str) -> Served {
        Served::typed("text/plain", body.as_bytes())
    }
    pub(crate) fn typed(content_type: &str, body: &[u8]) -> Served {
        Served::with(200, &[("content-type", content_type)], body)
    }
    pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Served {
        let mut out = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
        for (name, value) in headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut out = format!("{out}\r\n").into_bytes();
        out.extend_from_slice(body);
        Served::Bytes(out)
    }
}

/// Ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `answer` sees the head of the request with header names in lower case.
pub(crate) async fn serve(answer: impl Fn(&str) -> Served + Send + Sync + 'static) -> Server {
    start(answer, None).await
}

/// With the certificate of `tests/fixtures/tls` for `localhost` and 127.0.0.1, and the trust that believes it.
pub(crate) async fn https(answer: impl Fn(&str) -> Served + Send + Sync + 'static) -> (Server, Trust) {
    let file = |name: &str| format!("{}/tests/fixtures/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let chain = vec![CertificateDer::from_pem_file(file("localhost.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("localhost.key")).unwrap();
    super::init();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let root = CertificateDer::from_pem_file(file("ca.pem")).unwrap();
    (start(answer, Some(acceptor)).await, Trust::with(vec![root]))
}

async fn start(
    answer: impl Fn(&str) -> Served + Send + Sync + 'static,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let answer = Arc::new(answer);
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, tls) = (answer.clone(), tls.clone());
            open.spawn(async move {
                match tls {
                    None => answer_one(stream, &*answer).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            answer_one(stream, &*answer).await;
                        }
                    }
                }
            });
        }
    });
    Server { address, scheme, task }
}

async fn answer_one<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &(dyn Fn(&str) -> Served + Sync)) {
    let mut head = Vec::new();
    let mut buffer = [0u8; 4096];
    let end = loop {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return,
        }
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8_lossy(&head[..end + 4]).into_owned();
    let lowered: Vec<String> = text
        .split("\r\n")
        .map(|line| match line.split_once(": ") {
            Some((name, value)) if !name.contains(' ') => format!("{}: {value}", name.to_lowercase()),
            _ => line.to_string(),
        })
        .collect();
    match answer(&lowered.join("\r\n")) {
        Served::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Served::Hang => std::future::pending().await,
        Served::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await;
            while stream.write_all(&[b'x'; 8192]).await.is_ok() {}
        }
        Served::Close => {}
    }
}
