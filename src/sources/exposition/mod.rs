//! Exposition formats: Prometheus text 0.0.4 / 1.0.0 and OpenMetrics 1.0. Strict, positions in errors, never a panic.
