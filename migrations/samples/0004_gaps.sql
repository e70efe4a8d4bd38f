-- Time in which a target could not be seen, and why.
CREATE TABLE gap (
  id     INTEGER PRIMARY KEY,
  target TEXT    NOT NULL,
  reason TEXT    NOT NULL,  -- a word of domain/gap.rs
  from_t INTEGER NOT NULL,  -- ms, inclusive
  to_t   INTEGER NOT NULL,  -- ms, exclusive
  detail TEXT    NOT NULL
) STRICT;

CREATE INDEX gap_by_target ON gap (target, reason, to_t);
CREATE INDEX gap_by_time   ON gap (to_t);
