//! Detectors that are not an expression: pure statistics over counts and times.

pub mod spike;
