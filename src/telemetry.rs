//! Tracing setup and hypercare's own counters.
