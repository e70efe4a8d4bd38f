-- Who did what; each row carries the hash of the one before.
CREATE TABLE audit (
  seq       INTEGER NOT NULL PRIMARY KEY,  -- from 1 without holes
  at        INTEGER NOT NULL,              -- ms
  actor     TEXT    NOT NULL,
  action    TEXT    NOT NULL,              -- 'launch.move', 'alert.ack', …
  subject   TEXT    NOT NULL,
  before    TEXT,
  after     TEXT,
  reason    TEXT,
  prev_hash TEXT    NOT NULL,              -- hex; 64 zeros for the first row
  hash      TEXT    NOT NULL               -- hex
) STRICT;
