-- Batches that left the head before the store elsewhere had them; empty while sending keeps up. Written only while 'meta'
-- has 'sent_batch' (all batches up to this id are there), 'sent_part' (id of the one that is there in part) and
-- 'sent_samples' (how many samples of it are); 'asked_…' say the same of the request that was under way last.
CREATE TABLE outgoing (
  id    INTEGER PRIMARY KEY,  -- what it was in head_batch
  max_t INTEGER NOT NULL,     -- ms, newest sample in the batch
  count INTEGER NOT NULL,     -- samples
  crc   INTEGER NOT NULL,     -- crc32 of blob
  blob  BLOB    NOT NULL      -- samples/batch.rs
) STRICT;
