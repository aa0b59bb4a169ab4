-- Where anything was ever rejected: what comes from elsewhere cannot have been rejected before. The first 500
-- characters of a location, since an entry of an index holds 2,704 bytes and a topic may be longer.
DROP INDEX store.rejected_passing;
-- Whether it may pass when it comes again, its bytes the same: its time has come, or Postgres takes what it refused.
ALTER TABLE store.rejected ADD COLUMN may_pass boolean NOT NULL DEFAULT false;
UPDATE store.rejected SET may_pass = true
    WHERE EXISTS (SELECT FROM unnest(rules) AS rule WHERE rule LIKE '%.furthest' OR rule = 'load.refused');
CREATE INDEX rejected_location ON store.rejected (dataset, left(location, 500));
CREATE INDEX rejected_passing ON store.rejected (dataset, left(location, 500)) WHERE may_pass;
