//! What "not found" looks like here: asked before anything else, because many sites answer 200 to everything.

use serde_json::{Value, json};
use url::Url;

use super::web;
use crate::domain::verdict::Outcome;
use crate::net::safety::Prober;
use crate::net::{NetError, Request, Response};

/// What is read of one answer: fingerprints stand at the beginning.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Above this two answers are the same page.
const SAME: f64 = 0.9;
/// Below this the same path gave two different pages.
const STABLE: f64 = 0.5;

/// Answers to paths that cannot exist: plain, with an extension, nested.
pub(crate) struct NotFound {
    shapes: Vec<(String, Response)>,
}

/// Why nothing can be concluded.
pub(crate) enum Uncertain {
    Net(NetError),
    /// The same unknown path is answered differently each time.
    Unstable(String),
}

impl Uncertain {
    /// What a gate answers that cannot go on without.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Uncertain::Net(error) => web::trouble(&error),
            Uncertain::Unstable(what) => Outcome::error("noisy", what)
                .hint("give unknown paths one stable answer, or look at one instance alone"),
        }
    }
}

/// Asks the three paths, the first one twice.
pub(crate) async fn calibrate(prober: &Prober, base: &Url, canary: &str) -> Result<NotFound, Uncertain> {
    let paths = [
        format!("/{canary}-a7q2"),
        format!("/{canary}-k3x9.txt"),
        format!("/{canary}-p5/{canary}-m8/{canary}-z1"),
        format!("/{canary}-a7q2"),
    ];
    let mut shapes = Vec::new();
    for path in paths {
        let response = get(prober, base, &path).await.map_err(Uncertain::Net)?;
        shapes.push((path, response));
    }
    let (_, again) = shapes.remove(3);
    let (path, first) = &shapes[0];
    let same_page = web::similarity(&first.text(), &again.text()) >= STABLE;
    if first.status != again.status || (first.status == 200 && !same_page) {
        let what = format!("{path} is answered {} and then {}, differently each time", first.status, again.status);
        return Err(Uncertain::Unstable(what));
    }
    Ok(NotFound { shapes })
}

/// One GET, of which the first 64 KiB are read.
pub(crate) async fn get(prober: &Prober, base: &Url, path: &str) -> Result<Response, NetError> {
    let url = base.join(path).map_err(|e| NetError::Protocol(e.to_string()))?;
    let request = Request { body_bytes_limit: BODY_BYTES_MAX, truncate: true, ..Request::get(url) };
    prober.send(request.header("accept", "*/*")).await
}

impl NotFound {
    /// Unknown paths are answered 200.
    pub(crate) fn is_soft(&self) -> bool {
        self.shapes.iter().any(|(_, r)| r.status == 200)
    }
    /// Everything asks for a login first.
    pub(crate) fn is_closed(&self) -> bool {
        self.shapes.iter().all(|(_, r)| matches!(r.status, 401 | 403))
    }
    /// Is this the page that unknown paths get?
    pub(crate) fn is_like(&self, response: &Response) -> bool {
        let soft = self.shapes.iter().filter(|(_, r)| r.status == response.status);
        soft.into_iter().any(|(_, r)| web::similarity(&r.text(), &response.text()) >= SAME)
    }
    pub(crate) fn record(&self) -> Value {
        let one = |(path, r): &(String, Response)| json!({ "path": path, "status": r.status, "bytes": r.body.len(), "type": web::media_type(r), "title": web::heading(&r.text()) });
        self.shapes.iter().map(one).collect()
    }
}
