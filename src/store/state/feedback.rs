//! Feedback items and cursors.

use super::{Result, State};
use crate::domain::clock::Timestamp;
use crate::domain::feedback::{Cursor, FeedbackItem, FeedbackPage};

/// How fresh a source is: an empty answer is not "zero complaints".
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct FeedbackFreshness {
    pub source: String,
    pub last_ok_poll: Option<Timestamp>,
    pub last_new_item: Option<Timestamp>,
    pub last_error: Option<String>,
}

impl State {
    /// Items (upserted by source, external id, revision) and cursor in one transaction. Returns how many were new.
    pub async fn save_feedback_page(
        &self,
        _service: &str,
        _source: &str,
        _page: &FeedbackPage,
        _at: Timestamp,
    ) -> Result<u64> {
        unimplemented!()
    }
    pub async fn record_feedback_error(
        &self,
        _service: &str,
        _source: &str,
        _at: Timestamp,
        _error: &str,
    ) -> Result<()> {
        unimplemented!()
    }
    pub async fn feedback_cursor(&self, _source: &str) -> Result<Cursor> {
        unimplemented!()
    }
    /// Newest revision of each item created in `[from, to]`, oldest first.
    pub async fn feedback(&self, _service: &str, _from: Timestamp, _to: Timestamp) -> Result<Vec<FeedbackItem>> {
        unimplemented!()
    }
    pub async fn feedback_freshness(&self, _service: &str) -> Result<Vec<FeedbackFreshness>> {
        unimplemented!()
    }
    /// Deletes items by author hash or (source, external id), leaving a tombstone. Returns how many.
    pub async fn forget_feedback(
        &self,
        _author_hash: Option<&str>,
        _id: Option<(&str, &str)>,
        _actor: &str,
        _at: Timestamp,
    ) -> Result<u64> {
        unimplemented!()
    }
}
