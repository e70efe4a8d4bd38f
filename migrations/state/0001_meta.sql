-- Small facts about this instance: its key, running numbers.
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,  -- 'instance_key', 'episode_number'
  value ANY  NOT NULL               -- text or integer, as the key says
) STRICT, WITHOUT ROWID;

-- Newest link of each hash chain, so that rows cut from a chain's end are missed too.
CREATE TABLE chain_head (
  chain TEXT    NOT NULL PRIMARY KEY,  -- 'ledger', 'audit'
  seq   INTEGER NOT NULL,              -- sequence number of the newest row
  hash  TEXT    NOT NULL               -- its hash, lower-case hex
) STRICT, WITHOUT ROWID;
