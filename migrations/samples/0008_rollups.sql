-- What stays of raw samples when they go: for a UTC day and some hundred series, how many there were, their sum, least,
-- greatest and last, and what a counter grew by, in buckets of five minutes and of an hour. A part is written while its
-- samples are still there and counts from the transaction on that deletes them; samples that come later make another part
-- of the same day, and readers add both up.
CREATE TABLE rollup_part (
  id    INTEGER PRIMARY KEY AUTOINCREMENT,
  day   INTEGER NOT NULL,  -- ms, start of the day
  first TEXT    NOT NULL,  -- least and greatest family of metrics in it, as samples/page.rs orders them
  last  TEXT    NOT NULL,
  bytes INTEGER NOT NULL,  -- of its bodies and directories
  live  INTEGER NOT NULL   -- 0: being written; 1: its samples are gone
) STRICT;

CREATE TABLE rollup (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  part          INTEGER NOT NULL,  -- rollup_part.id
  resolution_ms INTEGER NOT NULL,  -- length of a bucket: 300000 or 3600000
  field         INTEGER NOT NULL,  -- 0 count, 1 sum, 2 min, 3 max, 4 last, 5 increase; see samples/rollup/pack.rs
  directory     BLOB    NOT NULL,  -- samples/page.rs; a bucket stands at its end
  directory_crc INTEGER NOT NULL,  -- crc32 of the directory
  crc           INTEGER NOT NULL,  -- crc32 of the body
  body          BLOB    NOT NULL   -- samples/page.rs
) STRICT;

CREATE UNIQUE INDEX rollup_by_part ON rollup (part, resolution_ms, field);

-- Of series with rollups: between which samples, and where a counter stood at the newest.
CREATE TABLE rolled_series (
  id      INTEGER PRIMARY KEY,  -- series.id
  from_t  INTEGER NOT NULL,     -- ms, oldest sample ever rolled up
  to_t    INTEGER NOT NULL,     -- ms, newest
  counter INTEGER               -- bits of the newest value that was no NaN
) STRICT;
