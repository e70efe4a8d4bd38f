-- Small facts: 'epoch' grows whenever sealed data changed, so that readers in other processes reload.
CREATE TABLE meta (
  key   TEXT    NOT NULL PRIMARY KEY,  -- 'epoch', 'chunk_samples', 'chunk_bytes'
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('epoch', 0), ('chunk_samples', 0), ('chunk_bytes', 0);

-- One row per label set ever seen and not yet forgotten. Numbers are never given twice.
CREATE TABLE series (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  labels    TEXT    NOT NULL,  -- JSON object, names sorted: canonical
  sealed_to INTEGER            -- ms; samples up to here are in chunks, so replay skips them
) STRICT;
