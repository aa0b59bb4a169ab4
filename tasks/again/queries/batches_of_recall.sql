-- The batches of a number ($1), a path or dataset ($2, $3), a version ($4); null: of any.
SELECT batch FROM store.ledger WHERE (raw_digest IS NOT NULL OR raw_batch IS NOT NULL)
AND ($1::bigint IS NULL OR batch = $1 OR raw_batch = $1)
AND ($2::text IS NULL OR coalesce(raw_batch, batch) IN (
    SELECT batch FROM store.ledger WHERE position ->> 'path' = $2 OR dataset = $3
)) AND ($4::text IS NULL OR transformation_id = $4)
ORDER BY batch
