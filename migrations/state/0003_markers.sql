-- Something that happened at an instant and may explain what came after.
CREATE TABLE marker (
  id          INTEGER PRIMARY KEY,
  service     TEXT    NOT NULL,
  kind        TEXT    NOT NULL,  -- a word of domain/marker.rs
  at          INTEGER NOT NULL,  -- ms, when it happened
  received_at INTEGER NOT NULL,  -- ms, when we heard of it
  source      TEXT    NOT NULL,
  actor       TEXT    NOT NULL,
  text        TEXT    NOT NULL,
  dedup_key   TEXT    NOT NULL,
  UNIQUE (service, dedup_key)
) STRICT;

CREATE INDEX marker_by_time ON marker (service, at);
