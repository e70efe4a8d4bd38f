//! What we hear after go-live: metrics and feedback. Returns samples and items, writes nothing, knows no store.
//!
//! Add a source by adding one file to `metric/` or `feedback/` and one line to its registry.

pub mod feedback;
pub mod metric;
pub mod receive;
pub mod schedule;
pub mod text;
