-- Sealed samples of one series, compressed.
CREATE TABLE chunk (
  id        INTEGER PRIMARY KEY,
  series_id INTEGER NOT NULL,  -- series.id
  start_t   INTEGER NOT NULL,  -- ms, first sample
  end_t     INTEGER NOT NULL,  -- ms, last sample
  count     INTEGER NOT NULL,  -- samples
  crc       INTEGER NOT NULL,  -- crc32 of blob
  blob      BLOB    NOT NULL   -- samples/codec.rs, chunk
) STRICT;

CREATE UNIQUE INDEX chunk_by_series ON chunk (series_id, end_t, start_t);
CREATE INDEX chunk_by_age ON chunk (end_t);
