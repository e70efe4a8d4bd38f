-- A whole run of the gates, as `check --format json` prints it.
CREATE TABLE gate_run (
  run        TEXT    NOT NULL PRIMARY KEY,
  service    TEXT    NOT NULL,
  started_at INTEGER NOT NULL,  -- ms
  decision   TEXT    NOT NULL,  -- 'go', 'go_with_risks', 'no_go', 'undecided'
  body       TEXT    NOT NULL   -- hypercare.check/v1, JSON
) STRICT;

CREATE INDEX gate_run_by_service ON gate_run (service, started_at);
