-- Alerts that are alive: one rule and one label set each.
CREATE TABLE alert (
  rule          TEXT    NOT NULL,  -- 'group/alertname'
  fingerprint   TEXT    NOT NULL,  -- sixteen hex digits over the labels
  service       TEXT    NOT NULL,
  state         TEXT    NOT NULL,  -- a word of domain/alert.rs
  active_at     INTEGER,           -- ms
  fired_at      INTEGER,           -- ms
  resolved_at   INTEGER,           -- ms
  last_eval     INTEGER NOT NULL,  -- ms
  data_as_of    INTEGER,           -- ms, newest sample the value rests on
  last_true     INTEGER,           -- ms
  missing_since INTEGER,           -- ms
  value         REAL,              -- NULL when not a number
  labels        TEXT    NOT NULL,  -- JSON object
  annotations   TEXT    NOT NULL,  -- JSON object
  episode       TEXT,              -- uuid
  expr          TEXT    NOT NULL,
  PRIMARY KEY (rule, fingerprint)
) STRICT, WITHOUT ROWID;

-- Append-only history of alerts.
CREATE TABLE alert_transition (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  at          INTEGER NOT NULL,  -- ms
  rule        TEXT    NOT NULL,
  fingerprint TEXT    NOT NULL,
  service     TEXT    NOT NULL,
  from_state  TEXT    NOT NULL,
  to_state    TEXT    NOT NULL,
  episode     TEXT,
  value       REAL,
  reason      TEXT    NOT NULL,  -- 'condition', 'data_missing', 'data_back', 'rule_removed', 'restart'
  text        TEXT    NOT NULL,
  labels      TEXT    NOT NULL   -- JSON object
) STRICT;

CREATE INDEX alert_transition_by_time ON alert_transition (at);

-- Alerts that are told together; body holds the rest of domain/alert.rs NotifGroup.
CREATE TABLE notif_group (
  key        TEXT    NOT NULL PRIMARY KEY,
  service    TEXT    NOT NULL,
  episode    TEXT    NOT NULL,  -- uuid
  number     INTEGER NOT NULL,  -- '#214'
  seq        INTEGER NOT NULL,  -- of its last message
  next_flush INTEGER,           -- ms
  closed_at  INTEGER,           -- ms
  body       TEXT    NOT NULL   -- JSON
) STRICT;

CREATE INDEX notif_group_by_episode ON notif_group (episode);
