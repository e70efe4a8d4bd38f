-- Mutes alerts whose labels match.
CREATE TABLE silence (
  id       TEXT    NOT NULL PRIMARY KEY,
  matchers TEXT    NOT NULL,  -- JSON object label -> value
  author   TEXT    NOT NULL,
  comment  TEXT    NOT NULL,
  from_at  INTEGER NOT NULL,  -- ms
  until_at INTEGER NOT NULL   -- ms
) STRICT;

-- Acknowledgements of a group's episode.
CREATE TABLE ack (
  id       INTEGER PRIMARY KEY,
  episode  TEXT    NOT NULL,
  by_whom  TEXT    NOT NULL,
  at       INTEGER NOT NULL,  -- ms
  until_at INTEGER NOT NULL,  -- ms
  comment  TEXT    NOT NULL
) STRICT;

CREATE INDEX ack_by_time ON ack (at);
