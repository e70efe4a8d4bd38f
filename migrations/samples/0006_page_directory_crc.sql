-- A damaged directory would file samples under other series; none for pages written before.
ALTER TABLE page ADD COLUMN directory_crc INTEGER;  -- crc32 of the directory
