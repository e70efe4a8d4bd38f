//! The demo: a built-in shop, its traffic, its fault; uses hypercare as a user would.
