//! One connection that is kept: what a client library adds would show in answers of half a millisecond.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use super::Result;

/// For one answer; the slowest peer needs three seconds for the worst question.
const WITHIN: Duration = Duration::from_secs(120);
/// A receiver may say that it has no room just now.
const TRIES: usize = 600;

pub struct Connection {
    port: u16,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub fn to(port: u16) -> Connection {
        Connection { port, sender: None }
    }

    pub async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.ask("GET", path, &[], Bytes::new()).await
    }

    /// A body of remote write.
    pub async fn write(&mut self, body: Vec<u8>) -> Result<()> {
        let headers = [
            ("content-encoding", "snappy"),
            ("content-type", "application/x-protobuf"),
            ("x-prometheus-remote-write-version", "0.1.0"),
        ];
        self.ask("POST", "/api/v1/write", &headers, body.into()).await.map(drop)
    }

    /// The body of a 2xx.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Bytes> {
        for _ in 0..TRIES {
            let (status, answer) = tokio::time::timeout(WITHIN, self.once(method, path, headers, body.clone()))
                .await
                .map_err(|_| format!("{path}: no answer within {} s", WITHIN.as_secs()))??;
            match status {
                200..=299 => return Ok(answer),
                429 | 503 => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => {
                    let start = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
                    return Err(format!("{path}: {status}: {start}").into());
                }
            }
        }
        Err(format!("{path}: no room after {TRIES} tries").into())
    }

    async fn once(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Result<(u16, Bytes)> {
        let mut sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        if sender.ready().await.is_err() {
            // It was idle for long and the server closed it.
            sender = self.connect().await?;
        }
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "127.0.0.1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        self.sender = Some(sender);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
