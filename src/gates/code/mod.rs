//! Section `code`: one file per gate; beside them what they share: `syntax.rs` (trees), `role.rs` (which files ship).

pub mod coverage;
pub mod edge_cases;
pub mod leftover_debug;
pub mod n_plus_one;
pub mod review;
pub mod secrets;

pub mod bundler;
pub mod calls;
pub mod coverage_facts;
pub mod csharp;
mod debug_places;
mod debug_rules;
pub mod dotnet;
pub mod linters;
pub mod paths;
pub mod reports;
pub mod role;
pub mod runner;
pub mod sessions;
pub mod statements;
pub mod syntax;
pub mod upload_settings;
pub mod uploads;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub coverage: coverage::Config,
    pub edge_cases: edge_cases::Config,
    pub leftover_debug: leftover_debug::Config,
    pub n_plus_one: n_plus_one::Config,
    pub review: review::Config,
    pub secrets: secrets::Config,
}
