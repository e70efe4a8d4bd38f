//! The demo: a built-in shop with real metrics and a real database, real traffic, a fault that starts and is mended, a
//! mail catcher and a webhook receiver. It uses hypercare as a user would; only the window is short.
//!
//! `story.rs` tells it in order; the other files are the props.

pub mod catchers;
pub mod repository;
pub mod shop;
pub mod story;
pub mod traffic;

pub use story::{Options, run};
