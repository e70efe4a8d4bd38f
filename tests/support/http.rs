//! A receiver on loopback that answers by script and keeps every request it got, faults included.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// What happens to one connection.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Status line and headers, each ending in CRLF, without the empty line: `"429 Slow\r\nretry-after: 7\r\n"`.
    Status(&'static str),
    /// Reads, then says nothing.
    Hang,
    /// Reads, then resets the connection.
    Reset,
}

/// One request: head as sent (names in lower case) and body.
#[derive(Debug, Clone)]
pub struct Got {
    pub head: String,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    }
}

pub struct Receiver {
    pub url: String,
    got: Arc<Mutex<Vec<Got>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Receiver {
    /// Answers in turn; the last answer repeats.
    pub async fn start(answers: Vec<Answer>) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let kept = got.clone();
        let task = tokio::spawn(async move {
            for turn in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let answer = answers[turn.min(answers.len() - 1)].clone();
                let request = read(&mut stream).await;
                kept.lock().unwrap().push(request);
                match answer {
                    Answer::Status(text) => {
                        let out = format!("HTTP/1.1 {text}connection: close\r\ncontent-length: 0\r\n\r\n");
                        let _ = stream.write_all(out.as_bytes()).await;
                    }
                    Answer::Hang => {
                        // Kept open until the test ends.
                        std::mem::forget(stream);
                    }
                    Answer::Reset => {
                        let _ = stream.set_zero_linger();
                    }
                }
            }
        });
        Receiver { url, got, task }
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Got {
    let mut bytes = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let n = stream.read(&mut buffer).await.unwrap_or(0);
        bytes.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase().replace("\r\n", "\n");
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Got { head, body: body.to_string() };
            }
        }
        if n == 0 {
            return Got { head: text, body: String::new() };
        }
    }
}
