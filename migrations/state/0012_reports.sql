-- Reports and postmortems as written.
CREATE TABLE report (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  launch     TEXT    NOT NULL,
  kind       TEXT    NOT NULL,  -- 'go_live', 'postmortem'
  format     TEXT    NOT NULL,  -- 'html', 'md', 'json'
  as_of      INTEGER NOT NULL,  -- ms
  input_hash TEXT    NOT NULL,  -- over rows read, config, templates, version
  bytes_hash TEXT    NOT NULL,  -- SHA-256 of bytes
  made_at    INTEGER NOT NULL,  -- ms
  bytes      BLOB    NOT NULL,
  UNIQUE (launch, kind, format, as_of)
) STRICT;
