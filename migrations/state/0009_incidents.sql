-- What users may have felt, from first sign to recovery.
CREATE TABLE incident (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  service   TEXT    NOT NULL,
  title     TEXT    NOT NULL,
  sev       INTEGER NOT NULL,  -- 1 to 3
  opened_at INTEGER NOT NULL,  -- ms
  closed_at INTEGER,           -- ms
  episodes  TEXT    NOT NULL,  -- JSON array of alert episodes
  opened_by TEXT    NOT NULL,  -- 'alert', or a person
  UNIQUE (service, opened_at, opened_by, title)
) STRICT;
