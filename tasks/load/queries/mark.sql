-- Marks the buckets that changed, for every reader of the table.
INSERT INTO store.change_marks (reader, table_name, bucket, batch)
SELECT DISTINCT r.reader, r.table_name, CASE WHEN r.bucket LIKE '% minutes'
    THEN date_bin(r.bucket::interval, changed.at, {first}) ELSE date_trunc(r.bucket, changed.at, 'UTC') END,
    changed.batch
FROM store.mark_readers r, {changed} WHERE r.table_name = $1::text
