-- What users said, after redaction. An edit is a new revision.
CREATE TABLE feedback_item (
  source      TEXT    NOT NULL,
  external_id TEXT    NOT NULL,
  revision    TEXT    NOT NULL,
  service     TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,  -- ms
  updated_at  INTEGER NOT NULL,  -- ms
  fetched_at  INTEGER NOT NULL,  -- ms
  author_hash TEXT    NOT NULL,  -- HMAC, hex; empty when unknown
  body        TEXT    NOT NULL,  -- domain/feedback.rs FeedbackItem, JSON
  PRIMARY KEY (source, external_id, revision)
) STRICT;

CREATE INDEX feedback_by_time   ON feedback_item (service, created_at);
CREATE INDEX feedback_by_author ON feedback_item (author_hash) WHERE author_hash <> '';

-- Where each source goes on, and how fresh it is: an empty answer is not "zero complaints".
CREATE TABLE feedback_source (
  source        TEXT NOT NULL PRIMARY KEY,
  service       TEXT NOT NULL,
  cursor        TEXT,             -- opaque to everybody but the source
  last_ok_poll  INTEGER,          -- ms
  last_new_item INTEGER,          -- ms
  last_error    TEXT              -- redacted; NULL after a good poll
) STRICT;

-- Forgotten items stay forgotten when the source shows them again.
CREATE TABLE feedback_tombstone (
  source      TEXT    NOT NULL,
  external_id TEXT    NOT NULL,
  at          INTEGER NOT NULL,  -- ms
  PRIMARY KEY (source, external_id)
) STRICT, WITHOUT ROWID;
