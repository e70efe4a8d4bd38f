-- What expositions say about their families.
CREATE TABLE metadata (
  family TEXT NOT NULL PRIMARY KEY,
  kind   TEXT NOT NULL,  -- 'counter', 'gauge', …
  help   TEXT NOT NULL,
  unit   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
