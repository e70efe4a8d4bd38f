//! Who may ask what: this machine only, reads only (but for what `[web]` opens), from pages of our own only.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::App;
use super::problem::problem;
use super::receive;

/// Everything from ourselves, nothing inline, nobody may frame us.
const CONTENT_POLICY: &str =
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Prometheus' read API takes long queries as POST.
const READS_BY_POST: [&str; 4] = ["/api/v1/query", "/api/v1/query_range", "/api/v1/series", "/api/v1/labels"];

/// Refuses to start where others than this machine could reach us: there are no tokens and no TLS yet.
pub fn check_listen(addr: SocketAddr) -> Result<(), String> {
    if addr.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!("listening on {addr} would let others in, and there are no tokens yet: use 127.0.0.1:{}", addr.port()))
}

/// The first thing every request meets.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&app, &request) {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    harden(response.headers_mut());
    response
}

fn refusal(app: &App, request: &Request) -> Option<Response> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok());
    if !host.is_some_and(|host| app.answers_to(host)) {
        // A name that an attacker points at 127.0.0.1 would make his page our page (DNS rebinding).
        return Some(problem(StatusCode::MISDIRECTED_REQUEST, "ask for this machine by a loopback name or address"));
    }
    let path = request.uri().path();
    let allowed = match *request.method() {
        Method::GET | Method::HEAD => true,
        Method::POST => path.starts_with("/f/") || READS_BY_POST.contains(&path) || app.doors.open.allows(path),
        Method::OPTIONS => path.starts_with("/f/"),
        _ => false,
    };
    let why = match path {
        receive::REMOTE_WRITE => "remote write is closed; [web] remote_write = true opens it",
        receive::OTLP => "OTLP is closed; [web] otlp = true opens it",
        _ => "the web room only reads; use the hypercare command line",
    };
    (!allowed).then(|| problem(StatusCode::FORBIDDEN, why))
}

/// Is this `Host` one by which this machine is meant? `configured` is the host of `[web] external_url`.
pub(super) fn is_local_host(host: &str, listen: IpAddr, configured: Option<&str>) -> bool {
    // `[::1]:9095`, `127.0.0.1:9095`, `localhost`
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if let Ok(ip) = name.parse::<IpAddr>() {
        return ip.to_canonical().is_loopback() || ip == listen;
    }
    name == "localhost" || name.ends_with(".localhost") || configured.is_some_and(|c| c.eq_ignore_ascii_case(&name))
}

fn harden(headers: &mut HeaderMap) {
    // A stored report brings a policy of its own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(CONTENT_POLICY));
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_may_be_listened_on() {
        for good in ["127.0.0.1:9095", "[::1]:9095", "127.9.9.9:1", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(check_listen(good.parse().unwrap()), Ok(()), "{good}");
        }
        for bad in ["0.0.0.0:9095", "[::]:9095", "192.168.1.2:9095", "203.0.113.9:80"] {
            let why = check_listen(bad.parse().unwrap()).unwrap_err();
            assert!(why.contains("127.0.0.1:") && why.contains(bad), "{why}");
        }
    }

    #[test]
    fn names_that_mean_this_machine() {
        let listen = IpAddr::from([127, 0, 0, 1]);
        let is = |host| is_local_host(host, listen, Some("watch.shop.example"));
        for good in
            ["localhost", "LOCALHOST:9095", "127.0.0.1:9095", "[::1]:9095", "a.localhost:1", "watch.shop.example"]
        {
            assert!(is(good), "{good}");
        }
        for bad in
            ["evil.example", "evil.example:9095", "localhost.evil.example", "192.168.0.1", "", "127.0.0.1.evil.example"]
        {
            assert!(!is(bad), "{bad}");
        }
    }
}
