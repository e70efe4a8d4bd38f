//! How the rules stand since their last evaluation, for whoever shows it. The engine writes it down after a tick; readers
//! never wait for an evaluation.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::rulefile::RuleGroup;
use crate::domain::clock::Timestamp;

/// One evaluation, of a rule or of its whole group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    pub at: Timestamp,
    pub took: Duration,
}

/// A group with its schedule; `None` is "not evaluated yet".
#[derive(Debug, Clone)]
pub struct GroupStanding {
    pub group: Arc<RuleGroup>,
    pub interval: Duration,
    pub last: Option<Evaluation>,
    /// In the order of the group's rules.
    pub rules: Vec<RuleStanding>,
}

#[derive(Debug, Clone, Default)]
pub struct RuleStanding {
    pub last: Option<Evaluation>,
    /// Of the last evaluation, when it failed.
    pub error: Option<String>,
}

impl GroupStanding {
    /// A group that was read and never evaluated.
    pub fn fresh(group: Arc<RuleGroup>, interval: Duration) -> GroupStanding {
        let rules = vec![RuleStanding::default(); group.rules.len()];
        GroupStanding { group, interval, last: None, rules }
    }
}

/// Where the engine leaves it. Clones share it; empty until an engine writes.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<RwLock<Arc<Vec<GroupStanding>>>>);

impl Board {
    pub fn read(&self) -> Arc<Vec<GroupStanding>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    pub fn write(&self, groups: Vec<GroupStanding>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(groups);
    }
}
