-- What must reach somebody. A row ends delivered, coalesced, dropped or dead; dead rows stay visible.
CREATE TABLE outbox (
  id          TEXT    NOT NULL PRIMARY KEY,  -- uuid v7: the same key on every try
  channel     TEXT    NOT NULL,
  group_key   TEXT    NOT NULL,
  seq         INTEGER NOT NULL,              -- order within (channel, group_key)
  service     TEXT    NOT NULL,
  kind        TEXT    NOT NULL,              -- 'alert.firing', 'release.announced', …
  reason      TEXT    NOT NULL,              -- a word of NotifyReason
  priority    INTEGER NOT NULL,              -- 0 info, 1 warning, 2 critical
  message     TEXT    NOT NULL,              -- frozen context, JSON; rendered at send
  failover    TEXT,                          -- channel
  enqueued_at INTEGER NOT NULL,              -- ms
  not_before  INTEGER NOT NULL,              -- ms
  give_up_at  INTEGER NOT NULL,              -- ms
  state       TEXT    NOT NULL,              -- a word of OutboxState
  attempts    INTEGER NOT NULL DEFAULT 0,    -- tries begun
  lease_until INTEGER,                       -- ms; after it the row may be claimed again
  accepted_at INTEGER,                       -- ms
  last_error  TEXT,                          -- redacted
  remote_id   TEXT,
  UNIQUE (channel, group_key, seq)
) STRICT;

CREATE INDEX outbox_unsettled ON outbox (channel, group_key, seq) WHERE state IN ('pending', 'leased');
CREATE INDEX outbox_by_time   ON outbox (enqueued_at);
CREATE INDEX outbox_by_kind   ON outbox (service, kind);

-- Every try, for latency figures and for people who ask why.
CREATE TABLE delivery_attempt (
  id          INTEGER PRIMARY KEY,
  outbox_id   TEXT    NOT NULL,
  channel     TEXT    NOT NULL,
  at          INTEGER NOT NULL,  -- ms
  duration_ms INTEGER NOT NULL,
  outcome     TEXT    NOT NULL,  -- 'delivered', 'retry', 'permanent'
  detail      TEXT    NOT NULL   -- redacted, at most 1 KiB
) STRICT;

CREATE INDEX delivery_attempt_by_row ON delivery_attempt (outbox_id, id);
