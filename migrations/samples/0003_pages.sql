-- Sealed samples of many series over one stretch of time, compressed. Rows are written once, in order, and are large:
-- one small row per series and time would waste a quarter of the file.
CREATE TABLE page (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  level     INTEGER NOT NULL,  -- 0: as sealed; 1: all of a closed window, compacted
  slot      INTEGER NOT NULL,  -- ms, start of the window of six hours that it belongs to
  start_t   INTEGER NOT NULL,  -- ms, first sample
  end_t     INTEGER NOT NULL,  -- ms, last sample
  samples   INTEGER NOT NULL,
  directory BLOB    NOT NULL,  -- samples/page.rs: which series, and where in the body
  crc       INTEGER NOT NULL,  -- crc32 of the body
  body      BLOB    NOT NULL   -- samples/page.rs
) STRICT;

CREATE INDEX page_by_age ON page (end_t);
