-- How far every source was read stands in one table: a partition of Kafka and a file that grows are parts of a dataset, with
-- a mark each; a source without parts has one, of the part ''. A commit advances marks from where its batch begins, so
-- that of two readers one commits and the other begins again from here. To read anew, set a mark back or delete its row.
ALTER TABLE store.progress ADD COLUMN part text NOT NULL DEFAULT '';
ALTER TABLE store.progress ALTER COLUMN part DROP DEFAULT;
ALTER TABLE store.progress DROP CONSTRAINT progress_pkey;
ALTER TABLE store.progress ADD PRIMARY KEY (pipeline, dataset, part);

-- A partition's mark is the offset that comes next. A topic of a named connection was kept as CONNECTION:TOPIC.
INSERT INTO store.progress (pipeline, dataset, part, mark, begun_at, advanced_at)
SELECT pipeline, CASE WHEN topic LIKE '%:%' THEN 'kafka+' ELSE 'kafka:' END || topic, partition::text, next::text,
    advanced_at, advanced_at
FROM store.kafka_offsets;
-- That a topic was ever read is its part '': a partition without a mark is then one that came later. The mark says where
-- its first reader began: earliest, latest, or unknown.
INSERT INTO store.progress (pipeline, dataset, part, mark, begun_at, advanced_at)
SELECT pipeline, CASE WHEN topic LIKE '%:%' THEN 'kafka+' ELSE 'kafka:' END || topic, '', 'unknown',
    started_at, started_at
FROM store.kafka_starts;
DROP TABLE store.kafka_offsets, store.kafka_starts;

-- A file's part is its id, and its mark says what was read of it: BYTES NEXT-LINE SHA-256. One of which nothing was read
-- has none.
INSERT INTO store.progress (pipeline, dataset, part, mark, begun_at, advanced_at)
SELECT f.pipeline, coalesce(last.dataset, 'file:'), f.file::text, concat_ws(' ', f.next, f.line, encode(f.sha256, 'hex')),
    f.begun_at, f.advanced_at
FROM store.followed_files f LEFT JOIN LATERAL (
    SELECT g.dataset FROM store.ledger g WHERE g.position ->> 'file' = f.file::text
    ORDER BY (g.position ->> 'to')::bigint DESC LIMIT 1
) last ON true
WHERE f.next > 0;
ALTER TABLE store.followed_files DROP COLUMN next, DROP COLUMN line, DROP COLUMN sha256, DROP COLUMN advanced_at;
