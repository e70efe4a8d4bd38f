-- When each run of the daemon was last alive.
CREATE TABLE liveness (
  boot           TEXT    NOT NULL PRIMARY KEY,  -- one id per start of the daemon
  started_at     INTEGER NOT NULL,              -- ms, first sign of life
  last_at        INTEGER NOT NULL,              -- ms, last sign of life
  clean_shutdown INTEGER NOT NULL DEFAULT 0     -- 1 when it said goodbye
) STRICT;
