-- The buckets in which a table has rows, or had some that were replaced, and their batches.
SELECT {bucket} AS bucket, batch FROM {table}
UNION ALL
SELECT {bucket}, batch FROM {history} WHERE {bucket} IN (
    SELECT o.bucket FROM store.ledger_outputs o WHERE o.table_name = $1 AND o.bucket IS NOT NULL
)
