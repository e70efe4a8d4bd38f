//! `POST /f/NAME`: hands what people write to the feedback form of that name. The one thing outsiders may write.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::App;
use super::problem::problem;

/// Longest body: a long letter with its context.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024;

/// One message as it came in.
#[derive(Debug, Clone)]
pub struct FormRequest {
    pub content_type: String,
    /// The page that sends it, as its browser says.
    pub origin: Option<String>,
    pub remote: IpAddr,
    /// At most 16 KiB.
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormAnswer {
    /// Taken, or refused in silence: a robot learns nothing.
    Thanks,
    /// Pages of this origin may not post here.
    WrongOrigin,
    /// Could not be stored: the sender should try again.
    Failed,
}

/// Reads, redacts and stores one message.
pub type FormHandler = Arc<dyn Fn(FormRequest) -> BoxFuture<'static, FormAnswer> + Send + Sync>;

pub(super) async fn post(
    State(app): State<App>,
    Path(name): Path<String>,
    ConnectInfo(remote): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(handler) = app.forms.get(&name) else {
        return problem(StatusCode::NOT_FOUND, "there is no form of this name");
    };
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_string);
    let request = FormRequest {
        content_type: text(header::CONTENT_TYPE).unwrap_or_default(),
        origin: text(header::ORIGIN),
        remote: remote.ip(),
        body,
    };
    // The page may read its thanks; what it may send was decided by the form.
    let mut response = match handler(request).await {
        FormAnswer::Thanks => {
            let thanks = serde_json::json!({"status": "accepted", "message": "thank you"});
            (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], thanks.to_string()).into_response()
        }
        FormAnswer::WrongOrigin => return problem(StatusCode::FORBIDDEN, "pages of this origin may not post here"),
        FormAnswer::Failed => problem(StatusCode::SERVICE_UNAVAILABLE, "please try again"),
    };
    allow_origin(response.headers_mut(), headers.get(header::ORIGIN));
    response
}

/// A browser asks before it sends JSON across origins. The answer gives nothing away: the form decides about the POST.
pub(super) async fn preflight(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if !app.forms.contains_key(&name) {
        return problem(StatusCode::NOT_FOUND, "there is no form of this name");
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    allow_origin(response.headers_mut(), headers.get(header::ORIGIN));
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    response
}

fn allow_origin(headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
}
