-- Recent samples as they came in, one row per append; replayed into memory at start.
CREATE TABLE head_batch (
  id    INTEGER PRIMARY KEY AUTOINCREMENT,
  max_t INTEGER NOT NULL,  -- ms, newest sample in the batch
  count INTEGER NOT NULL,  -- samples
  crc   INTEGER NOT NULL,  -- crc32 of blob
  blob  BLOB    NOT NULL   -- samples/codec.rs, batch
) STRICT;
