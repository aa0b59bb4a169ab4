-- Raw batches with chosen rejected records, and the pipeline of each.
SELECT o.*, (SELECT pipeline FROM store.ledger l WHERE l.batch = o.raw_batch) AS pipeline FROM (
    SELECT coalesce(raw_batch, batch) AS raw_batch, dataset,
        array_agg(identity ORDER BY identity) AS identities
    FROM store.rejected WHERE {chosen} GROUP BY 1, 2
) o ORDER BY raw_batch
