//! The redirect rule, decided in one place for client and probe.

use super::client::{NetError, Redirects, Request};

/// Headers that may travel to another origin: everything else might be a credential under any name.
const TRAVEL: [&str; 6] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "user-agent",
    "x-hypercare-run",
    "x-prometheus-scrape-timeout-seconds",
];

pub(super) enum Next {
    /// This response is the answer.
    Answer,
    Follow(Box<Request>),
}

/// What to do after a response with `status` and `location`; `hops` redirects were followed so far.
pub(super) fn next(request: &Request, status: u16, location: Option<&str>, hops: u8) -> Result<Next, NetError> {
    let (limit, same_host) = match request.redirects {
        Redirects::None => return Ok(Next::Answer),
        Redirects::SameHost(n) => (n, true),
        Redirects::Follow(n) => (n, false),
    };
    let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) else { return Ok(Next::Answer) };
    let url = request
        .url
        .join(location)
        .map_err(|_| NetError::Protocol(format!("status {status} with a broken location header")))?;
    let host_changes = url.host_str() != request.url.host_str();
    if !matches!(url.scheme(), "http" | "https") || (same_host && host_changes) {
        return Ok(Next::Answer);
    }
    if hops >= limit {
        return Err(NetError::Protocol(format!("more than {limit} redirects")));
    }
    let mut to = Request { url, ..request.clone() };
    let changes_method = status == 303 || (matches!(status, 301 | 302) && to.method == "POST");
    if changes_method && to.method != "HEAD" {
        to.method = "GET".into();
        to.body = Default::default();
        to.headers.retain(|(n, _)| !n.to_ascii_lowercase().starts_with("content-"));
    }
    if to.url.origin() != request.url.origin() {
        if !matches!(to.method.as_str(), "GET" | "HEAD") {
            // A body may hold what only the first host was meant to read.
            return Ok(Next::Answer);
        }
        to.headers.retain(|(n, _)| TRAVEL.contains(&n.to_ascii_lowercase().as_str()));
    }
    Ok(Next::Follow(Box::new(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(redirects: Redirects) -> Request {
        Request { redirects, ..Request::get("https://a.example/x".parse().unwrap()) }
            .header("Authorization", "Bearer abc")
            .header("PRIVATE-TOKEN", "abc")
            .header("Accept", "text/html")
    }
    fn followed(request: &Request, status: u16, location: &str, hops: u8) -> Option<Request> {
        match next(request, status, Some(location), hops).unwrap() {
            Next::Answer => None,
            Next::Follow(to) => Some(*to),
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        let from = request(Redirects::Follow(3));
        assert_eq!(followed(&from, 302, "/y", 0).unwrap().headers.len(), 3);
        for elsewhere in ["https://b.example/", "https://a.example:8443/", "http://a.example/x"] {
            let to = followed(&from, 302, elsewhere, 0).unwrap();
            assert_eq!(to.headers, [("Accept".to_string(), "text/html".to_string())], "{elsewhere}");
        }
    }

    #[test]
    fn the_rule_of_the_request_holds() {
        assert!(followed(&request(Redirects::None), 302, "/y", 0).is_none());
        assert!(followed(&request(Redirects::SameHost(3)), 302, "https://b.example/", 0).is_none());
        assert!(followed(&request(Redirects::SameHost(3)), 302, "https://a.example/y", 2).is_some());
        assert!(next(&request(Redirects::Follow(2)), 302, Some("/y"), 2).is_err());
        assert!(followed(&request(Redirects::Follow(2)), 302, "ftp://a.example/", 0).is_none());
        assert!(followed(&request(Redirects::Follow(2)), 200, "/y", 0).is_none());
    }

    #[test]
    fn a_body_is_never_sent_to_another_origin() {
        let mut post = request(Redirects::Follow(3));
        post.method = "POST".into();
        post.body = "secret".into();
        assert!(followed(&post, 307, "https://b.example/", 0).is_none());
        let to = followed(&post, 302, "https://b.example/", 0).unwrap();
        assert_eq!((to.method.as_str(), to.body.len()), ("GET", 0));
        assert_eq!(followed(&post, 307, "/again", 0).unwrap().body, "secret");
    }
}
