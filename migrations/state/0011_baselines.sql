-- What was normal before go-live, frozen once per launch.
CREATE TABLE baseline (
  launch    TEXT    NOT NULL PRIMARY KEY,
  frozen_at INTEGER NOT NULL,  -- ms
  from_at   INTEGER NOT NULL,  -- ms
  to_at     INTEGER NOT NULL,  -- ms
  hash      TEXT    NOT NULL,  -- SHA-256 over the series
  series    TEXT    NOT NULL   -- JSON array of BaselineSeries
) STRICT;
