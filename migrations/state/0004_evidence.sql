-- What gates saw, once per content. The text is canonical JSON, so its SHA-256 is its name.
CREATE TABLE evidence (
  digest  TEXT NOT NULL PRIMARY KEY,  -- 'sha256:' and hex
  content TEXT NOT NULL               -- redacted JSON, at most 1 MiB
) STRICT;

-- Append-only; each row carries the hash of the one before.
CREATE TABLE ledger (
  seq       INTEGER NOT NULL PRIMARY KEY,  -- from 1 without holes
  at        INTEGER NOT NULL,              -- ms
  run       TEXT    NOT NULL,              -- gate_run.run
  gate      TEXT    NOT NULL,
  kind      TEXT    NOT NULL,              -- 'headers', 'series', …
  digest    TEXT    NOT NULL,              -- evidence.digest
  rid       TEXT    NOT NULL,              -- release identity, JSON
  prev_hash TEXT    NOT NULL,              -- hex; 64 zeros for the first row
  hash      TEXT    NOT NULL               -- hex
) STRICT;

CREATE INDEX ledger_by_gate ON ledger (gate, seq);
CREATE INDEX ledger_by_run  ON ledger (run, seq);
