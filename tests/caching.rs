//! `performance.caching` against a Flask shop, nginx's proxy cache before it, and a real Redis.

#[path = "support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;
use support::gate::{self, Server, says};

const SETTINGS: &str = r#"
[gates]
safety = { rps = 500, concurrency = 16 }
[[gates.actor]]
name = "alice"
role = "user"
bearer = "${env:HC_ALICE}"
[[gates.actor]]
name = "bob"
role = "user"
bearer = "${env:HC_BOB}"
"#;
const USERS: [(&str, &str); 2] = [("HC_ALICE", "token-of-alice-0123456789"), ("HC_BOB", "token-of-bob-01234567890")];

fn check(url: &str) -> Value {
    gate::check("performance.caching", url, SETTINGS, &[], &USERS)
}

/// nginx that caches what the shop allows; `leaky`: everything for a minute, whoever asks.
fn cached(shop: &Server, leaky: bool) -> Server {
    let zone = "proxy_cache_path %ROOT%/cache keys_zone=teas:1m;";
    let ignore = "proxy_ignore_headers Cache-Control Set-Cookie Expires; proxy_cache_valid 200 60s;";
    let location = format!(
        "location / {{ proxy_pass {}; proxy_cache teas; add_header X-Cache-Status $upstream_cache_status; {} }}",
        shop.url,
        if leaky { ignore } else { "" }
    );
    gate::nginx(zone, &location, &[])
}

#[test]
fn a_shared_cache_that_answers_passes_and_one_that_gives_alice_to_bob_blocks() {
    let shop = gate::shop("caching/shop.py", "none");
    let good = check(&cached(&shop, false).url);
    says(&good, "pass", &[]);
    assert!(good["summary"].as_str().unwrap().contains("x-cache-status"), "{good:#}");
    let leaky = check(&cached(&shop, true).url);
    says(&leaky, "fail", &["serves-anothers-answer"]);
    assert_eq!((leaky["findings"][0]["escalate"].as_bool(), leaky["decision"].as_str()), (Some(true), Some("no_go")));
    assert_eq!(leaky["findings"][0]["route"], "GET /me", "{leaky:#}");
}

#[test]
fn headers_that_let_caches_keep_what_is_private_block_although_no_cache_is_there() {
    let public = check(&gate::shop("caching/shop.py", "public").url);
    says(&public, "fail", &["private-answer-cacheable"]);
    assert_eq!(public["decision"], "no_go", "{public:#}");
    let cookie = check(&gate::shop("caching/shop.py", "cookie").url);
    says(&cookie, "fail", &["cookie-on-cacheable"]);
}

#[test]
fn without_a_cache_and_with_careless_assets_it_warns() {
    let none = check(&gate::shop("caching/shop.py", "none").url);
    says(&none, "warn", &[]);
    assert!(none["summary"].as_str().unwrap().contains("no cache was seen"), "{none:#}");
    says(&check(&gate::shop("caching/shop.py", "assets").url), "warn", &["short-lived-hashed"]);
    let stopped = gate::shop("caching/shop.py", "none").url.clone();
    assert_eq!(check(&stopped)["reason"], "unreachable");
}

/// Sends inline commands and reads until as many answers have come.
fn fill(redis: &Server, commands: &str) {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    stream.write_all(format!("AUTH redis-secret-0123\r\n{commands}PING\r\n").as_bytes()).unwrap();
    let (mut got, mut buffer) = (Vec::new(), [0u8; 8192]);
    while !got.ends_with(b"+PONG\r\n") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "redis hung up");
        got.extend_from_slice(&buffer[..n]);
    }
}

#[test]
fn redis_is_judged_by_its_own_counters() {
    let shop = gate::shop("caching/shop.py", "none");
    let settings = format!("{SETTINGS}[gates.performance.caching]\nredis = \"${{env:HC_REDIS}}\"\n");
    let ask = |redis: &Server, password: &str| {
        let url = format!("redis://:{password}@127.0.0.1:{}/", redis.port);
        let env = [USERS[0], USERS[1], ("HC_REDIS", url.as_str())];
        gate::check("performance.caching", &shop.url, &settings, &[], &env)
    };
    let bounded = ["--maxmemory", "16mb", "--maxmemory-policy", "allkeys-lru"];
    let good = gate::redis("redis-secret-0123", &bounded);
    let few = ask(&good, "redis-secret-0123");
    assert!(few["summary"].as_str().unwrap().contains("too few"), "{few:#}");
    fill(&good, &format!("SET tea 1 EX 600\r\n{}{}", "GET tea\r\n".repeat(1900), "GET none\r\n".repeat(100)));
    let row = ask(&good, "redis-secret-0123");
    says(&row, "pass", &[]);
    assert_eq!(row["value"].as_f64(), Some(0.95), "{row:#}");
    let wrong = ask(&good, "not-the-password");
    assert_eq!(
        (wrong["verdict"].as_str(), wrong["reason"].as_str()),
        (Some("error"), Some("redis-unreachable")),
        "{wrong:#}"
    );
    let poor = gate::redis("redis-secret-0123", &["--maxmemory", "0"]);
    fill(&poor, &format!("SET tea 1\r\n{}{}", "GET tea\r\n".repeat(400), "GET none\r\n".repeat(1200)));
    says(&ask(&poor, "redis-secret-0123"), "fail", &["hit-ratio", "no-maxmemory", "keys-without-ttl"]);
}
