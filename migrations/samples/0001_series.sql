-- Small facts: 'epoch' grows whenever sealed data changed, so that readers in other processes reload.
CREATE TABLE meta (
  key   TEXT    NOT NULL PRIMARY KEY,  -- 'epoch'
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('epoch', 0);

-- One row per label set ever seen and not yet forgotten. Numbers are never given twice.
CREATE TABLE series (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  labels    TEXT    NOT NULL   -- JSON object, names sorted: canonical
) STRICT;
