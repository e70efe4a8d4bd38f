//! Section `meta`: gates about the check itself. They are no lines of the checklist and feed no goal of READY TO GO
//! LIVE; what they find is a risk of the decision, and a finding that escalates stops it.

pub mod suppressions;

use serde::{Deserialize, Serialize};

/// One table per gate.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub suppressions: suppressions::Config,
}
