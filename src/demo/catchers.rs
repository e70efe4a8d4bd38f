//! A mail catcher (SMTP sink) and a webhook receiver on loopback, so that the demo's messages have somewhere to go.
//! Both keep what they got as files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A mail larger than this is refused, as a real server would.
const MAIL_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What was caught so far, newest last: (subject or type, file).
pub type Caught = Arc<Mutex<Vec<(String, PathBuf)>>>;

/// Accepts any mail and writes it to `dir/NNN.eml`.
pub async fn mail(dir: &Path, shutdown: CancellationToken) -> anyhow::Result<(SocketAddr, Caught)> {
    std::fs::create_dir_all(dir)?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let caught = Caught::default();
    let (kept, dir, number) = (caught.clone(), dir.to_path_buf(), Arc::new(AtomicU64::new(0)));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        tokio::spawn(smtp(stream, dir.clone(), number.clone(), kept.clone()));
                    }
                }
            }
        }
    });
    Ok((address, caught))
}

/// One SMTP conversation: just enough of RFC 5321 for a relay to hand over its mail.
async fn smtp(stream: TcpStream, dir: PathBuf, number: Arc<AtomicU64>, caught: Caught) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(MAIL_BYTES_MAX));
    write.write_all(b"220 hypercare-demo mail catcher\r\n").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let verb = line.trim().to_ascii_uppercase();
        let answer: &[u8] = match verb.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => b"250-hypercare-demo\r\n250 8BITMIME\r\n",
            "QUIT" => {
                return write.write_all(b"221 bye\r\n").await;
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                loop {
                    line.clear();
                    if lines.read_line(&mut line).await? == 0 {
                        return Ok(());
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                let path = dir.join(format!("{:03}.eml", number.fetch_add(1, Ordering::SeqCst) + 1));
                std::fs::write(&path, &mail)?;
                let subject = mail.lines().find_map(|l| l.strip_prefix("Subject: ")).unwrap_or("").to_string();
                caught.lock().unwrap_or_else(|e| e.into_inner()).push((subject, path));
                b"250 2.0.0 kept\r\n"
            }
            _ => b"250 ok\r\n",
        };
        write.write_all(answer).await?;
    }
}

struct Hooks {
    secret: Vec<u8>,
    dir: PathBuf,
    caught: Caught,
}

/// Accepts webhooks whose Standard Webhooks signature is right and appends each body to `dir/webhooks.jsonl`.
/// `secret` is the part after `whsec_`, decoded.
pub async fn webhooks(
    dir: &Path,
    secret: Vec<u8>,
    shutdown: CancellationToken,
) -> anyhow::Result<(SocketAddr, Caught)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let caught = Caught::default();
    let hooks = Arc::new(Hooks { secret, dir: dir.to_path_buf(), caught: caught.clone() });
    let app = Router::new().route("/hook", post(hook)).with_state(hooks);
    tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await });
    Ok((address, caught))
}

async fn hook(State(hooks): State<Arc<Hooks>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let signed = [text("webhook-id").as_bytes(), b".", text("webhook-timestamp").as_bytes(), b".", &body].concat();
    let given = text("webhook-signature").strip_prefix("v1,").unwrap_or_default();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &hooks.secret);
    let Ok(tag) = base64::engine::general_purpose::STANDARD.decode(given) else { return StatusCode::UNAUTHORIZED };
    if ring::hmac::verify(&key, &signed, &tag).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let path = hooks.dir.join("webhooks.jsonl");
    let kind = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|v| v["type"].as_str().map(str::to_string))
        .unwrap_or_default();
    use std::io::Write as _;
    let written = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut f| f.write_all(&[&body[..], b"\n"].concat()));
    if written.is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    hooks.caught.lock().unwrap_or_else(|e| e.into_inner()).push((kind, path));
    StatusCode::NO_CONTENT
}
