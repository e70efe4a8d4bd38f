//! Proof of control: the operator shows that a host is theirs by serving the project's token on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use crate::net::client::{Client, Request};

/// Where the token is looked for on the host.
pub const PROOF_PATH: &str = "/.well-known/hypercare.txt";

/// The file is a line or two; more is not ours.
const PROOF_BYTES_MAX: usize = 64 * 1024;

/// Shorter tokens could stand in a page by accident.
const TOKEN_LENGTH_MIN: usize = 16;

/// `.hypercare` of the project, from the run's own folder (`.hypercare/runs/ID`); the run's folder when it lies elsewhere.
pub(super) fn project_dir(run_dir: &Path) -> PathBuf {
    let runs = run_dir.parent().filter(|p| p.file_name().is_some_and(|n| n == "runs"));
    runs.and_then(Path::parent).unwrap_or(run_dir).to_path_buf()
}

/// The project's token: `token` in the project's folder, made when missing. `None` when it can be neither read nor made.
pub(super) fn token(project_dir: &Path) -> Option<String> {
    let path = project_dir.join("token");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let token = text.trim();
        return (token.len() >= TOKEN_LENGTH_MIN).then(|| token.to_string());
    }
    let token = format!("hypercare-{}", uuid::Uuid::new_v4().simple());
    std::fs::create_dir_all(project_dir).ok()?;
    std::fs::write(&path, format!("{token}\n")).ok()?;
    Some(token)
}

/// Does the host of `url` serve the token, on a line of its own?
pub(super) async fn is_proved(client: &Client, url: &Url, token: &str) -> bool {
    let Ok(at) = url.join(PROOF_PATH) else { return false };
    let request = Request {
        body_bytes_limit: PROOF_BYTES_MAX,
        truncate: true,
        timeout: Duration::from_secs(10),
        ..Request::get(at)
    };
    match client.send(request).await {
        Ok(answer) => answer.status == 200 && answer.text().lines().any(|line| line.trim() == token),
        Err(_) => false,
    }
}
