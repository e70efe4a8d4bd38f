-- One launch of one service. All times are UTC milliseconds since 1970 and absolute: a restart moves none of them.
CREATE TABLE launch (
  id          TEXT    NOT NULL PRIMARY KEY,  -- 'shop-20261122-1'
  service     TEXT    NOT NULL,
  version     TEXT,
  commit_id   TEXT,                          -- commit hash, hex
  state       TEXT    NOT NULL,              -- a word of domain/launch.rs
  rev         INTEGER NOT NULL,              -- grows by one with every change; moves are compare-and-set on it
  planned_at  INTEGER NOT NULL,              -- ms
  live_at     INTEGER,                       -- ms, T0
  window_end  INTEGER,                       -- ms
  state_since INTEGER NOT NULL,              -- ms
  window_ms   INTEGER NOT NULL,              -- ms of duration
  tz          TEXT    NOT NULL,              -- IANA zone
  config_hash TEXT    NOT NULL,              -- SHA-256, hex
  gate_run    TEXT                           -- gate_run.run
) STRICT;

-- A service has at most one open launch, whatever two processes try at once.
CREATE UNIQUE INDEX launch_open ON launch (service) WHERE state NOT IN ('closed', 'aborted');

-- Append-only history of a launch.
CREATE TABLE launch_event (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  launch     TEXT    NOT NULL,  -- launch.id
  at         INTEGER NOT NULL,  -- ms
  kind       TEXT    NOT NULL,  -- 'move', 'extend', 'stage', 'force', 'note'
  from_state TEXT,
  to_state   TEXT,
  actor      TEXT    NOT NULL,
  text       TEXT    NOT NULL
) STRICT;

CREATE INDEX launch_event_by_launch ON launch_event (launch, seq);

-- Answers given to a key stay given: a repeated request moves nothing.
CREATE TABLE idempotency (
  key    TEXT    NOT NULL PRIMARY KEY,
  launch TEXT    NOT NULL,  -- launch.id that the first request moved
  at     INTEGER NOT NULL   -- ms
) STRICT, WITHOUT ROWID;
