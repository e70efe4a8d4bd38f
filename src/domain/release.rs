//! Release identity (RID): what exactly is about to go live. All evidence is bound to one.

use serde::{Deserialize, Serialize};

/// What was looked at. `None` means it could not be told, never "empty".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ReleaseId {
    /// Full commit hash (hex) of HEAD.
    pub commit: Option<String>,
    /// Hash of HEAD's tree.
    pub tree: Option<String>,
    /// Tracked or untracked-unignored changes in the work tree: `unreproducible`.
    pub dirty: bool,
    /// Tag on HEAD, else the manifest's version, else the top entry of the changelog.
    pub version: Option<String>,
    /// Tag that points at HEAD.
    pub tag: Option<String>,
    /// Target URLs in force.
    #[serde(default)]
    pub targets: Vec<String>,
}

impl ReleaseId {
    /// The first seven characters of the commit.
    pub fn short_commit(&self) -> Option<&str> {
        self.commit.as_deref().map(|c| &c[..c.len().min(7)])
    }
}
