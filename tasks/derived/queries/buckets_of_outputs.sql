-- The buckets of a derived table, each with the batch that made it last.
SELECT {bucket} AS bucket, newest.batch FROM (
    SELECT DISTINCT ON (o.bucket) o.bucket, o.batch FROM store.ledger_outputs o
    WHERE o.table_name = $2 AND o.bucket IS NOT NULL ORDER BY o.bucket, o.batch DESC
) newest
