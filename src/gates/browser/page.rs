//! One tab: opened blank, its requests answered by the interceptor, what it complains of kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use url::Url;

use super::pipe::{Connection, Event};
use super::{Asked, BrowserError, Interceptor, Reply};

/// Complaints of one page that are kept, and of each so much.
const KEPT_MAX: usize = 50;
const COMPLAINT_CHARS_MAX: usize = 300;
/// Requests of one page that wait for their answers at once.
const WAITING_MAX: usize = 256;
/// An expression of ours is over in milliseconds, unless the page never lets go.
const SCRIPT_MS_MAX: u64 = 5000;
/// How often a page's state is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Headers that spoke of bytes on the wire; the browser gets them unpacked.
const OF_THE_WIRE: [&str; 5] = ["content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"];

/// A service worker would make requests that no tab sees, and keep answers of one case for the next.
const BEFORE: &str = "try { delete Navigator.prototype.serviceWorker } catch (e) {}";

#[derive(Default)]
struct Seen {
    errors: Vec<String>,
    console: Vec<String>,
    dialogs: Vec<String>,
    loads: u32,
    waiting: usize,
    calls: u64,
    moved: Option<Instant>,
}

/// A tab; closed with the value.
pub struct Page {
    connection: Arc<Connection>,
    tab: String,
    context: String,
    seen: Arc<Mutex<Seen>>,
    driver: JoinHandle<()>,
}

impl Page {
    pub(super) async fn open(
        connection: Arc<Connection>,
        interceptor: Arc<dyn Interceptor>,
    ) -> Result<Page, BrowserError> {
        let text = |value: &Json, key: &str| value[key].as_str().unwrap_or_default().to_string();
        let context = text(&connection.call(None, "Target.createBrowserContext", json!({})).await?, "browserContextId");
        let blank = json!({ "url": "about:blank", "browserContextId": context, "width": 1280, "height": 800 });
        let target = text(&connection.call(None, "Target.createTarget", blank).await?, "targetId");
        let attach = json!({ "targetId": target, "flatten": true });
        let tab = text(&connection.call(None, "Target.attachToTarget", attach).await?, "sessionId");
        let events = connection.listen(&tab);
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let driver = tokio::spawn(drive(events, connection.clone(), tab.clone(), interceptor, seen.clone()));
        let page = Page { connection, tab, context, seen, driver };
        for (method, params) in [
            ("Page.enable", json!({})),
            ("Runtime.enable", json!({})),
            ("Fetch.enable", json!({ "patterns": [{ "urlPattern": "*" }] })),
            ("Page.addScriptToEvaluateOnNewDocument", json!({ "source": BEFORE })),
            ("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })),
        ] {
            page.call(method, params).await?;
        }
        Ok(page)
    }

    async fn call(&self, method: &str, params: Json) -> Result<Json, BrowserError> {
        self.connection.call(Some(&self.tab), method, params).await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to `url`, and waits until it has loaded and is quiet, at most `limit`. `Ok(false)`: it was not quiet by then.
    pub async fn open_url(&self, url: &Url, limit: Duration) -> Result<bool, BrowserError> {
        let before = self.seen().loads;
        let until = Instant::now() + limit;
        // The command answers once the document has; its answer may take as long as the safety engine makes it wait.
        let go = self.call("Page.navigate", json!({ "url": url.as_str() }));
        match tokio::time::timeout_at(until, go).await {
            Ok(Ok(_)) | Ok(Err(BrowserError::Timeout(_))) | Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
        while self.seen().loads == before {
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.quiet(Duration::from_millis(400), until.saturating_duration_since(Instant::now())).await)
    }

    /// Waits until no request has been under way for `pause`, at most `limit`.
    pub async fn quiet(&self, pause: Duration, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let begun = Instant::now();
        loop {
            let (waiting, moved) = {
                let seen = self.seen();
                (seen.waiting, seen.moved.unwrap_or(begun).max(begun))
            };
            if waiting == 0 && moved.elapsed() >= pause {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The value of an expression; promises are waited for.
    pub async fn evaluate(&self, expression: &str) -> Result<Json, BrowserError> {
        let params = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "timeout": SCRIPT_MS_MAX,
            "userGesture": true,
        });
        let mut answer = self.call("Runtime.evaluate", params).await?;
        if let Some(why) = answer.get("exceptionDetails") {
            return Err(BrowserError::Refused("the script".into(), said(why)));
        }
        Ok(answer["result"]["value"].take())
    }

    /// PNG of what is in view.
    pub async fn screenshot(&self) -> Result<Vec<u8>, BrowserError> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" })).await?;
        let data = answer["data"].as_str().unwrap_or_default();
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .map_err(|e| BrowserError::Refused("a screenshot".into(), e.to_string()))
    }

    /// Uncaught errors and rejections, oldest first.
    pub fn errors(&self) -> Vec<String> {
        self.seen().errors.clone()
    }
    /// What the page wrote with `console.error`.
    pub fn console(&self) -> Vec<String> {
        self.seen().console.clone()
    }
    /// Texts of `alert`, `confirm` and `prompt`; each was dismissed.
    pub fn dialogs(&self) -> Vec<String> {
        self.seen().dialogs.clone()
    }
    /// Requests that the page's own code has made so far.
    pub fn calls(&self) -> u64 {
        self.seen().calls
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.driver.abort();
        self.connection.forget(&self.tab);
        self.connection.tell("Target.disposeBrowserContext", json!({ "browserContextId": self.context }));
    }
}

async fn drive(
    mut events: mpsc::Receiver<Event>,
    connection: Arc<Connection>,
    tab: String,
    interceptor: Arc<dyn Interceptor>,
    seen: Arc<Mutex<Seen>>,
) {
    let lock = |seen: &Arc<Mutex<Seen>>, change: &mut dyn FnMut(&mut Seen)| {
        change(&mut seen.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let mut answers = JoinSet::new();
    while let Some(Event { method, params }) = events.recv().await {
        while answers.try_join_next().is_some() {}
        match method.as_str() {
            "Fetch.requestPaused" => {
                let id = params["requestId"].as_str().unwrap_or_default().to_string();
                let asked = asked(&params);
                let call = asked.as_ref().is_some_and(Asked::is_call);
                lock(&seen, &mut |s| {
                    s.waiting += 1;
                    s.calls += u64::from(call);
                    s.moved = Some(Instant::now());
                });
                let crowded = answers.len() >= WAITING_MAX;
                let (connection, tab) = (connection.clone(), tab.clone());
                let (interceptor, seen) = (interceptor.clone(), seen.clone());
                answers.spawn(async move {
                    let reply = match asked {
                        Some(asked) if !crowded => interceptor.answer(asked).await,
                        _ => Reply::Fail("BlockedByClient"),
                    };
                    let (method, params) = command(&id, reply);
                    // A page that has gone on meanwhile no longer knows the request.
                    let _ = connection.call(Some(&tab), method, params).await;
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.waiting = seen.waiting.saturating_sub(1);
                    seen.moved = Some(Instant::now());
                });
            }
            "Page.loadEventFired" => lock(&seen, &mut |s| s.loads += 1),
            "Runtime.exceptionThrown" => lock(&seen, &mut |s| keep(&mut s.errors, said(&params["exceptionDetails"]))),
            "Runtime.consoleAPICalled" if params["type"] == "error" => {
                let parts = params["args"].as_array().into_iter().flatten();
                let word = |arg: &Json| match &arg["value"] {
                    Json::String(text) => text.clone(),
                    Json::Null => arg["description"].as_str().unwrap_or_default().to_string(),
                    other => other.to_string(),
                };
                let line = parts.map(word).collect::<Vec<_>>().join(" ");
                lock(&seen, &mut |s| keep(&mut s.console, line.clone()));
            }
            "Page.javascriptDialogOpening" => {
                let text = params["message"].as_str().unwrap_or_default().to_string();
                lock(&seen, &mut |s| keep(&mut s.dialogs, text.clone()));
                let (connection, tab) = (connection.clone(), tab.clone());
                answers.spawn(async move {
                    let no = json!({ "accept": false });
                    let _ = connection.call(Some(&tab), "Page.handleJavaScriptDialog", no).await;
                });
            }
            _ => {}
        }
    }
}

fn keep(list: &mut Vec<String>, line: String) {
    if list.len() < KEPT_MAX {
        list.push(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(COMPLAINT_CHARS_MAX).collect());
    }
}

/// First line of what was thrown.
fn said(details: &Json) -> String {
    let thrown = details["exception"]["description"].as_str().or_else(|| details["exception"]["value"].as_str());
    let text = thrown.or_else(|| details["text"].as_str()).unwrap_or("unknown error");
    text.lines().next().unwrap_or_default().chars().take(COMPLAINT_CHARS_MAX).collect()
}

fn asked(params: &Json) -> Option<Asked> {
    let request = &params["request"];
    let headers = request["headers"].as_object().into_iter().flatten();
    Some(Asked {
        method: request["method"].as_str()?.to_string(),
        url: request["url"].as_str()?.parse().ok()?,
        headers: headers.filter_map(|(n, v)| Some((n.clone(), v.as_str()?.to_string()))).collect(),
        body: request["postData"].as_str().map(str::to_string),
        kind: params["resourceType"].as_str().unwrap_or("Other").to_string(),
    })
}

fn command(id: &str, reply: Reply) -> (&'static str, Json) {
    match reply {
        Reply::Fail(reason) => ("Fetch.failRequest", json!({ "requestId": id, "errorReason": reason })),
        Reply::Answer { status, headers, body } => {
            let kept = headers.iter().filter(|(n, _)| !OF_THE_WIRE.contains(&n.to_ascii_lowercase().as_str()));
            let headers: Vec<Json> = kept.map(|(n, v)| json!({ "name": n, "value": v })).collect();
            let body = base64::engine::general_purpose::STANDARD.encode(&body);
            let params = json!({ "requestId": id, "responseCode": status, "responseHeaders": headers, "body": body });
            ("Fetch.fulfillRequest", params)
        }
    }
}
