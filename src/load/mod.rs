//! The load generator: open model, latency from the scheduled instant.
