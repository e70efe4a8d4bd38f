//! What a message says: redaction before storage, severity cues, sentiment.
