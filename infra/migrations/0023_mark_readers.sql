-- Which derived table is told of the changes of which table, by which bucket: commits leave marks for these alone.
-- `filled_at`: since when all that was stored before is marked; until then it is not made.
CREATE TABLE store.mark_readers (
    reader        text NOT NULL,
    table_name    text NOT NULL,
    bucket        text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    filled_at     timestamptz,
    PRIMARY KEY (reader, table_name)
);

-- A table was the source of one derived table at most, which took its marks. Which one that was the log says: what fed
-- each hour. Where two did, one after the other, both are filled again from what is stored.
SET LOCAL statement_timeout = 0;
INSERT INTO store.mark_readers (reader, table_name, bucket, filled_at)
SELECT min(reader), table_name, 'hour', clock_timestamp() FROM (
    SELECT DISTINCT substr(l.target_facts->>'dataset', length('postgres:') + 1) AS reader,
        substr(l.source_facts->>'dataset', length('postgres:') + 1) AS table_name
    FROM store.ledger g JOIN store.lineage_log l
        ON l.writer = g.writer AND l.number BETWEEN g.first_entry AND g.last_entry
    WHERE g.way = 'refresh' AND l.relationship_type = 'FEEDS' AND l.target_facts->>'hour' IS NOT NULL
) fed
GROUP BY table_name HAVING count(*) = 1;

ALTER TABLE store.change_marks RENAME COLUMN hour TO bucket;
ALTER TABLE store.change_marks ADD COLUMN reader text;
UPDATE store.change_marks m SET reader = r.reader FROM store.mark_readers r WHERE r.table_name = m.table_name;
DELETE FROM store.change_marks WHERE reader IS NULL;
ALTER TABLE store.change_marks ALTER COLUMN reader SET NOT NULL;
DROP INDEX store.change_marks_hour;
CREATE INDEX change_marks_bucket ON store.change_marks (reader, bucket);
