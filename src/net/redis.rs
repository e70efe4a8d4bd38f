//! `INFO` of a Redis (or Valkey, KeyDB), over the protocol's own dozen lines (RESP2). Reads only; bounded in time and bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

use super::NetError;
use super::client::describe;

/// From connect to last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// `INFO` is a few KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// What a cache is judged by, since the server started or its statistics were reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Info {
    pub version: String,
    pub hits: u64,
    pub misses: u64,
    pub evicted: u64,
    pub used_bytes: u64,
    /// 0: without a limit.
    pub max_bytes: u64,
    /// `allkeys-lru`, `noeviction`, …
    pub policy: String,
    pub keys: u64,
    /// Keys that end by themselves.
    pub expiring: u64,
}

/// Asks `redis://[user:password@]host[:port]`. Errors name the host, never the password.
pub async fn info(url: &Url) -> Result<Info, NetError> {
    tokio::time::timeout(TIMEOUT, ask(url)).await.unwrap_or(Err(NetError::Timeout(TIMEOUT)))
}

async fn ask(url: &Url) -> Result<Info, NetError> {
    if url.scheme() != "redis" {
        return Err(NetError::Protocol(format!("{} is not redis://", url.scheme())));
    }
    let host = url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']);
    let port = url.port().unwrap_or(6379);
    let failed = |e: std::io::Error| NetError::Connect(format!("redis {host}:{port}: {}", describe(&e)));
    let mut stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    let decoded = |text: &str| {
        let pair = format!("v={}", text.replace('+', "%2B"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, v)| v.into_owned()).unwrap_or_default()
    };
    if let Some(password) = url.password() {
        let (user, password) = (decoded(url.username()), decoded(password));
        let auth: Vec<&str> = if user.is_empty() { vec!["AUTH", &password] } else { vec!["AUTH", &user, &password] };
        let answer = command(&mut stream, &auth).await?;
        if answer.starts_with('-') {
            return Err(NetError::Protocol(format!("redis {host}:{port} refuses the password")));
        }
    }
    let answer = command(&mut stream, &["INFO"]).await?;
    if let Some(refusal) = answer.strip_prefix('-') {
        let why: String = refusal.chars().filter(|c| !c.is_control()).take(100).collect();
        return Err(NetError::Protocol(format!("redis {host}:{port}: {why}")));
    }
    Ok(read(&answer))
}

/// Sends one command and reads one answer: a line (`+OK`, `-ERR …`), or a bulk string, of which the text is given.
async fn command(stream: &mut TcpStream, words: &[&str]) -> Result<String, NetError> {
    let broken = |e: std::io::Error| NetError::Connect(format!("redis: {}", describe(&e)));
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(out.as_bytes()).await.map_err(broken)?;
    let mut got: Vec<u8> = Vec::new();
    let mut buffer = [0u8; 8192];
    loop {
        let n = stream.read(&mut buffer).await.map_err(broken)?;
        got.extend_from_slice(&buffer[..n]);
        if let Some(end) = got.windows(2).position(|w| w == b"\r\n") {
            let line = String::from_utf8_lossy(&got[..end]).into_owned();
            let Some(length) = line.strip_prefix('$') else { return Ok(line) };
            let length: usize = length.parse().map_err(|_| NetError::Protocol("redis: no bulk string".into()))?;
            if length > ANSWER_BYTES_MAX {
                return Err(NetError::BodyTooLarge(ANSWER_BYTES_MAX));
            }
            if got.len() >= end + 2 + length {
                return Ok(String::from_utf8_lossy(&got[end + 2..end + 2 + length]).into_owned());
            }
        }
        if n == 0 || got.len() > ANSWER_BYTES_MAX + 64 {
            return Err(NetError::Protocol("redis: the answer has no end".into()));
        }
    }
}

fn read(text: &str) -> Info {
    let fields: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.trim().split_once(':')).collect();
    let number = |name: &str| fields.get(name).and_then(|v| v.parse().ok()).unwrap_or(0);
    let word = |name: &str| fields.get(name).map(|v| v.chars().take(40).collect()).unwrap_or_default();
    let databases = fields.iter().filter(|(k, _)| k.strip_prefix("db").is_some_and(|n| n.parse::<u32>().is_ok()));
    let (mut keys, mut expiring) = (0, 0);
    for (_, value) in databases {
        for (name, count) in value.split(',').filter_map(|part| part.split_once('=')) {
            match name {
                "keys" => keys += count.parse().unwrap_or(0),
                "expires" => expiring += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
    Info {
        version: word("redis_version"),
        hits: number("keyspace_hits"),
        misses: number("keyspace_misses"),
        evicted: number("evicted_keys"),
        used_bytes: number("used_memory"),
        max_bytes: number("maxmemory"),
        policy: word("maxmemory_policy"),
        keys,
        expiring,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_over_all_databases() {
        let text = "# Server\r\nredis_version:7.0.15\r\nkeyspace_hits:900\r\nkeyspace_misses:100\r\nmaxmemory:1048576\r\n\
            maxmemory_policy:allkeys-lru\r\n# Keyspace\r\ndb0:keys=10,expires=8,avg_ttl=5\r\ndb1:keys=2,expires=2,avg_ttl=0\r\n";
        let info = read(text);
        assert_eq!((info.hits, info.misses, info.keys, info.expiring), (900, 100, 12, 10));
        assert_eq!((info.max_bytes, info.policy.as_str(), info.version.as_str()), (1_048_576, "allkeys-lru", "7.0.15"));
        assert_eq!(read("").policy, "");
    }

    #[tokio::test]
    async fn who_is_not_there_or_no_redis_is_told() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        assert!(matches!(info(&url("redis://127.0.0.1:1/")).await, Err(NetError::Connect(_))));
        assert!(matches!(info(&url("rediss://127.0.0.1:1/")).await, Err(NetError::Protocol(_))));
    }
}
