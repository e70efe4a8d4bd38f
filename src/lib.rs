//! hypercare is launch day in one binary: gates before go-live, a watch after it, the report at its end.
//!
//! Data goes one way: `config -> gates | sources -> store -> alerts -> notify`, and `store -> report`; `cli` and `web`
//! sit on top. In reading order:

pub mod domain;

pub mod chart;
pub mod load;
pub mod net;
pub mod promql;
pub mod store;
pub mod telemetry;

pub mod alerts;
pub mod gates;
pub mod notify;
pub mod remote;
pub mod report;
pub mod sources;

pub mod daemon;
pub mod web;

pub mod config;

pub mod cli;
pub mod demo;

#[doc(hidden)]
pub mod fuzzing;
