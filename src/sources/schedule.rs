//! Pure schedule arithmetic: next due time, jitter, backoff after failure.
