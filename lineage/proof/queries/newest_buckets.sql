-- The newest output of each bucket of a derived table, since batch $1.
SELECT batch, {bucket} AS bucket, {label} AS label FROM (
    SELECT DISTINCT ON (bucket) bucket, batch FROM store.ledger_outputs
    WHERE table_name = {table} AND bucket IS NOT NULL ORDER BY bucket, batch DESC
) newest WHERE batch >= $1
